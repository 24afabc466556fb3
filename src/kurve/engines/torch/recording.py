"""A step on the CPU as a list of calls into memory that stays where it is.

What a GPU gains from a captured graph, the CPU gains from this: the functions of a
small step take longer to choose than to run. A step is recorded while it runs; then it
is done again by the calls to PyTorch that computed something, each writing where it
wrote before. Views need no call, and numbers that never change neither. As with a
graph, whatever changes from step to step must lie in memory, and nothing may be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from kurve.engines.torch.common import Tensor

MAX_BYTES = 32 << 20
"""Of the results of a step, which a recording keeps. Where they are more, calls take
longer than to choose them, and memory that is soon used again is faster."""

CONSTANTS = frozenset(
    [
        "arange",
        "as_tensor",
        "empty",
        "empty_like",
        "eye",
        "full",
        "full_like",
        "linspace",
        "new_empty",
        "new_full",
        "new_ones",
        "new_tensor",
        "new_zeros",
        "ones",
        "ones_like",
        "scalar_tensor",
        "tensor",
        "zeros",
        "zeros_like",
    ]
)
"""Functions whose results do not depend on what is in memory."""

COPIES = frozenset(
    [
        "bool",
        "clone",
        "contiguous",
        "double",
        "flatten",
        "float",
        "int",
        "long",
        "reshape",
        "to",
        "type",
        "type_as",
    ]
)
"""Methods whose result, where it is not the tensor itself, holds its elements in their
order."""

LOOKS = frozenset(
    [
        "__bool__",
        "__contains__",
        "__float__",
        "__index__",
        "__int__",
        "allclose",
        "equal",
        "is_nonzero",
        "item",
        "masked_select",
        "nonzero",
        "numpy",
        "tolist",
        "unique",
        "unique_consecutive",
    ]
)
"""Functions by which the host depends on what is in memory."""

OPERATORS = {
    "__add__": torch.add,
    "__radd__": torch.add,
    "__sub__": torch.sub,
    "__mul__": torch.mul,
    "__rmul__": torch.mul,
    "__truediv__": torch.div,
    "__pow__": torch.pow,
    "__neg__": torch.neg,
    "__lshift__": torch.bitwise_left_shift,
    "__rshift__": torch.bitwise_right_shift,
    "__and__": torch.bitwise_and,
    "__or__": torch.bitwise_or,
    "__xor__": torch.bitwise_xor,
    "__invert__": torch.bitwise_not,
    "__eq__": torch.eq,
    "__ne__": torch.ne,
    "__lt__": torch.lt,
    "__le__": torch.le,
    "__gt__": torch.gt,
    "__ge__": torch.ge,
    "__matmul__": torch.matmul,
}
IN_PLACE = frozenset(
    [
        "__setitem__",
        "__iadd__",
        "__isub__",
        "__imul__",
        "__itruediv__",
        "__iand__",
        "__ior__",
        "__ixor__",
    ]
)

Call = Callable[[], object]


class Recorder(TorchFunctionMode):  # type: ignore[misc]
    """Records the calls made within it, in their order.

    failed: whether they cannot be made again instead of the step
    """

    def __init__(self) -> None:
        super().__init__()
        self.failed = False
        self._calls: list[tuple[Call, Tensor | None]] = []
        self._written: set[int] = set()  # memory changed in place
        self._kept: list[Tensor] = []  # so that no memory is used again
        self._bytes = 0

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        self._note(function, args, kwargs, result)
        return result

    def count(self) -> int:
        """How many calls were made so far."""
        return len(self._calls)

    def calls(self, first: int, last: int) -> list[Call]:
        """What is to be called again, of a part."""
        return [
            call
            for call, constant in self._calls[first:last]
            if constant is None or _memory(constant) in self._written
        ]

    def _note(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        if self.failed:
            return
        name = str(getattr(function, "__name__", ""))
        index = args[1] if name == "__getitem__" else ()
        by_truth = any(i.dtype in (torch.bool, torch.uint8) for i in _tensors(index))
        if name in LOOKS or by_truth:
            self._fail()
            return
        changes = name.endswith("_") and not name.endswith("__")
        if changes or name in IN_PLACE or kwargs.get("out") is not None:
            changed = kwargs.get("out", args[0] if args else None)
            self._written.update(map(_memory, _tensors(changed)))
            self._kept += _tensors([args, kwargs])
            given = _solid(name, args)
            self._calls.append((partial(function, *given, **kwargs), None))
            return
        before = {_memory(t) for t in _tensors([args, kwargs])}
        fresh = [t for t in _tensors(result) if _memory(t) not in before]
        if not fresh:
            return
        self._kept += fresh
        self._bytes += sum(t.untyped_storage().nbytes() for t in fresh)
        if self._bytes > MAX_BYTES:
            self._fail()
            return
        shaped = name.endswith("_like") or name.startswith("new_")  # as args[0]
        read = _tensors([args[1:] if shaped else args, kwargs])
        if name in CONSTANTS and not any(True for _ in read):
            for t in fresh:
                if "empty" not in name:
                    self._calls.append((partial(t.copy_, t.clone()), t))
        elif len(fresh) == 1 and isinstance(result, Tensor):
            self._calls.append((_again(function, name, args, kwargs, result), None))
        else:
            again = partial(function, *args, **kwargs)
            self._calls.append((partial(_into, result, before, again), None))

    def _fail(self) -> None:
        self.failed = True
        self._calls.clear()
        self._kept.clear()


def _again(function: Any, name: str, args: Any, kwargs: Any, result: Tensor) -> Call:
    """A call that computes the result where it is: the first that gives its bits."""
    if name in COPIES:
        source = args[0]
        return partial(result.view(source.shape).copy_, source)
    wanted = _bits(result)
    for writing, given in _writing(function, name, args):
        call = partial(writing, *given, **kwargs, out=result)
        result.fill_(0 if wanted.strip(b"\0") else 1)  # some functions ignore `out`
        try:
            call()
        except (TypeError, RuntimeError):
            continue  # it cannot
        if _bits(result) == wanted:
            return call
    result.copy_(function(*args, **kwargs))
    return partial(_copied, result.copy_, partial(function, *args, **kwargs))


def _writing(function: Any, name: str, args: Any) -> Iterator[tuple[Any, Any]]:
    """Functions with `out` that may compute the same, and their arguments."""
    if name == "relu":
        yield torch.clamp_min, (args[0], args[0].new_zeros(()))
    if name == "threshold_backward":
        yield _threshold_backward, args
    for other in (OPERATORS.get(name), getattr(torch, name, None), function):
        if other is not None:
            yield other, _solid(name, args)


def _threshold_backward(*args: Any, out: Tensor) -> Tensor:
    return _THRESHOLD(*args, grad_input=out)


_THRESHOLD = torch.ops.aten.threshold_backward.grad_input


def _solid(name: str, args: Any) -> Any:
    """Arguments with a number in memory, where else each call would bring it there."""
    if name.strip("_").lstrip("r") in ("add", "sub", "mul", "div", "truediv"):
        first = args[0]
        if isinstance(first, Tensor) and first.is_floating_point():
            return [first.new_tensor(a) if type(a) in (int, float) else a for a in args]
    return args


def _bits(tensor: Tensor) -> bytes:
    """The memory of a tensor's elements."""
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _copied(copy: Callable[[Tensor], object], again: Callable[[], Tensor]) -> None:
    copy(again())


def _into(results: Any, before: set[int], again: Callable[[], Any]) -> None:
    """The same for several results, some of which may be views."""
    for result, new in zip(_tensors(results), _tensors(again()), strict=True):
        if _memory(result) not in before:
            result.copy_(new)


def _tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors among arguments."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from _tensors(part)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))


def _memory(tensor: Tensor) -> int:
    """Of what tensors have in common that are views of one."""
    return int(tensor.untyped_storage()._cdata)


def run(calls: Sequence[Call]) -> None:
    for call in calls:
        call()
