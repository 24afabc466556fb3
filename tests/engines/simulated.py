"""A GPU that is simulated on the CPU, to test what a machine without one can show.

A tensor "on the device" says that it is on cuda:0 and holds one of the CPU, which
computes. Capturing a step notes its calls without effect on memory that was there
before; a replay makes them again, into the same memory. So a number that the host
looks at, or that a capture froze, gives wrong results here as on a GPU, or an error:

* the host reads a number, or copies between the host and the device, during a capture;
* a tensor of the CPU meets one of the device, unless it is a single number that the
  function passes to its kernel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda:0")
CPU = torch.device("cpu")

LOOKS = frozenset(
    ["_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero"]
)
"""The host waits for their results."""

SCALARS = frozenset(
    [
        "add",
        "sub",
        "rsub",
        "mul",
        "div",
        "pow",
        "remainder",
        "fmod",
        "maximum",
        "minimum",
        "atan2",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "logical_and",
        "logical_or",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
    ]
)
"""Functions that take a single number of the CPU as an argument of their kernel."""


class OnDevice(torch.Tensor):  # type: ignore[misc]
    """A tensor of the simulated device; `inner` has its elements."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnDevice:
        made: OnDevice = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device="meta",  # for PyTorch's own code, which knows no other
        )
        made.inner = inner
        return made

    @property
    def device(self) -> torch.device:
        return DEVICE

    @property
    def is_cuda(self) -> bool:
        return True

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise AssertionError(f"{function} outside of the simulation")

    def __repr__(self, **more: Any) -> str:
        return f"OnDevice({self.inner!r})"


class Graph:
    """A captured graph."""

    captured = 0
    replayed = 0

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.kept: list[torch.Tensor] = []

    def replay(self) -> None:
        Graph.replayed += 1
        for call in self.calls:
            call()


class Simulation(TorchDispatchMode):  # type: ignore[misc]
    """In this context there is a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self._graph: Graph | None = None
        self._new: set[int] = set()
        self._kept: list[torch.Tensor] = []
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @contextlib.contextmanager
    def capturing(self, graph: Graph, **options: Any) -> Iterator[None]:
        assert self._graph is None, "two captures at a time"
        self._graph, self._new, self._kept, self._before = graph, set(), [], {}
        try:
            yield
        finally:
            self._graph = None
            for now, before in self._before.values():
                now.copy_(before)
            graph.kept = self._kept
            Graph.captured += 1

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        given = [x for x in tree_leaves([args, kwargs]) if isinstance(x, torch.Tensor)]
        name = function.__name__.split(".")[0]
        own = any(isinstance(x, OnDevice) for x in given)
        to = kwargs.get("device")
        makes = to is not None and torch.device(to).type in ("cuda", "meta")
        if _is_composite(function):
            with self:
                return function.decompose(*args, **kwargs)
        if not own and not makes:
            return function(*args, **kwargs)
        back = own and to is not None and torch.device(to).type == "cpu"
        same = own and makes and kwargs.get("dtype") in (None, given[0].dtype)
        if same and name == "_to_copy":
            return args[0]  # it is there already
        there = makes and bool(given) and not own
        self._check(name.rstrip("_"), given, there or back)
        if to is not None:
            kwargs["device"] = CPU
        inner = [
            tree_map(lambda x: x.inner if isinstance(x, OnDevice) else x, part)
            for part in (args, kwargs)
        ]
        writes, view = _effects(function)
        if self._graph is not None:
            self._protect(function, *inner)
        found = function(*inner[0], **inner[1])
        if self._graph is not None and not view:
            self._note(self._graph, function, inner, found, writes)
        if name in LOOKS - {"masked_select", "nonzero"} or back:
            return found
        if writes:
            changed = kwargs.get("out", args[0])
            if isinstance(changed, OnDevice) or not isinstance(found, torch.Tensor):
                return changed if found is not None else None
            return found
        return tree_map(
            lambda x: OnDevice(x) if isinstance(x, torch.Tensor) else x, found
        )

    def _check(self, name: str, given: list[torch.Tensor], copies: bool) -> None:
        apart = [x for x in given if not isinstance(x, OnDevice)]
        capturing = self._graph is not None
        copies = copies or (name == "copy" and bool(apart))
        if capturing and (name in LOOKS or copies):
            raise AssertionError(f"{name} while a step is captured")
        if name in ("index", "index_put") and capturing:
            for x in given[1:]:
                assert x.dtype != torch.bool, f"{name} by a mask while capturing"
        if apart and not copies:
            assert all(x.ndim == 0 for x in apart), f"{name} of tensors apart"
            assert name in SCALARS, f"{name} with a number of the CPU"

    def _protect(self, function: Any, args: Any, kwargs: Any) -> None:
        """Remember what a call will change that was there before the capture."""
        schema = function._schema.arguments
        for k, argument in enumerate(schema):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            value = args[k] if k < len(args) else kwargs.get(argument.name)
            for x in tree_leaves(value):
                if not isinstance(x, torch.Tensor):
                    continue
                key = x.untyped_storage()._cdata
                if key not in self._new and key not in self._before:
                    whole = torch.empty(0, dtype=x.dtype)
                    whole.set_(x.untyped_storage())
                    self._before[key] = whole, whole.clone()

    def _note(
        self, graph: Graph, function: Any, inner: list[Any], found: Any, writes: bool
    ) -> None:
        results = [x for x in tree_leaves(found) if isinstance(x, torch.Tensor)]
        if writes:
            graph.calls.append(lambda: function(*inner[0], **inner[1]))
            return
        for x in results:
            self._new.add(x.untyped_storage()._cdata)
        self._kept += results

        def again() -> None:
            new = tree_leaves(function(*inner[0], **inner[1]))
            new = [x for x in new if isinstance(x, torch.Tensor)]
            for to, x in zip(results, new, strict=True):
                to.copy_(x)

        graph.calls.append(again)


def _is_composite(function: Any) -> bool:
    """Whether a function consists of others. They come here undivided in inference
    mode."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), key))


def _effects(function: Any) -> tuple[bool, bool]:
    """Whether a function writes to an argument, and whether it returns a view."""
    arguments = [a.alias_info for a in function._schema.arguments]
    writes = any(a is not None and a.is_write for a in arguments)
    returned = [r.alias_info for r in function._schema.returns]
    return writes, not writes and any(r is not None for r in returned)


@contextlib.contextmanager
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch finds one GPU."""
    simulation = Simulation()
    # `torch.tensor(..., device=...)` copies by a call that comes here.
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    for name, value in (
        ("_lazy_init", lambda: None),
        ("is_available", lambda: True),
        ("device_count", lambda: 1),
        ("current_device", lambda: 0),
        ("device", lambda device: contextlib.nullcontext()),
        ("synchronize", lambda device=None: None),
        ("CUDAGraph", Graph),
        ("graph", simulation.capturing),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    Graph.captured = Graph.replayed = 0
    try:
        with simulation:
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
