"""A step on the CPU as a list of calls with fixed memory.

This is for the CPU what a captured graph is for a GPU: in a small step, dispatching
functions takes longer than running them. A step is recorded while it runs; it is then
repeated by those calls to PyTorch that compute something, each writing to the same
memory as before. Views and constant numbers need no call. As with a graph, values that
change from step to step must be in memory, and the host must not read any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from kurve.engines.torch.common import Tensor

MAX_BYTES = 32 << 20
"""Maximum size of the results of a step, which a recording keeps. If they are larger,
calls take longer than dispatching, and reusing memory soon is faster."""

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
"""Functions whose results do not depend on values in memory."""

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
"""Methods whose result is the tensor itself, or holds its elements in the same
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
"""Functions by which the host depends on values in memory."""

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
    """Records the calls made in this context, in order.

    failed: whether the calls cannot replace the step
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
    """A call that computes the result in place: the first one that gives the same
    bits."""
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
    """Functions with `out` that may compute the same result, and their arguments."""
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
    """Arguments with numbers as tensors, which each call would otherwise create."""
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
    """The id of a tensor's storage, which its views share."""
    return int(tensor.untyped_storage()._cdata)


def run(calls: Sequence[Call]) -> None:
    for call in calls:
        call()
