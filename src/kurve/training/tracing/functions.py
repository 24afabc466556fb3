"""`function`: compile a training step as a whole if it can be traced."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import numpy as np

from kurve.core.entries import warn
from kurve.core.results import Values
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.recording import active
from kurve.formulas.tensor import leaves, replaced
from kurve.training.tracing.outside import Outside

if TYPE_CHECKING:
    from kurve.training.tracing.compiled import Compiled

P = ParamSpec("P")
R = TypeVar("R")

MAX_TRACES = 16
"""Maximum traces of one function; beyond that, it runs uncompiled."""
CONFIRMED = 3
"""Equal traces needed before Python is skipped; then traces of calls 4, 8, 16,
... are compared too."""
CHANGES = "changes Python numbers or lists, or computes something different each time"


@overload
def function(func: Callable[P, R]) -> Callable[P, R]: ...


@overload
def function(
    func: None = None,
    input_signature: Any = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def function(
    func: Callable[P, R] | None = None,
    input_signature: Any = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = False,
) -> Any:
    """Decorator that compiles the step of a training loop.

    The first call runs uncompiled. From the second call on, the step is traced, if
    possible, for each combination of shapes: models, losses, gradients and updates
    become programs, each of which runs forward, backward and update in one engine call.
    Once three traces have been equal, Python no longer runs, except in a few later
    calls that compare the trace again.

    A step that cannot be traced runs uncompiled, with the same numbers: if it reads
    values (`if loss > 1:`, `float(loss)`), prints, changes Python numbers or lists,
    draws NumPy random numbers, calls another library, or computes something different
    in each call. The function's `why_not` then gives the reason.

    Args:
        func: a function of arrays with equal numbers of rows.
        input_signature, autograph, jit_compile, reduce_retracing: TensorFlow's
            arguments, without effect.

    Raises:
        TypeError: `func` is not callable.

    Example:
        >>> layer, optimizer = kurve.layers.Dense(1), kurve.optimizers.SGD(0.1)
        >>> @kurve.function
        ... def step(x, y):
        ...     with kurve.GradientTape() as tape:
        ...         loss = kurve.ops.mean((layer(x) - y) ** 2)
        ...     weights = layer.trainable_weights
        ...     optimizer.apply(tape.gradient(loss, weights), weights)
        ...     return loss
        >>> for _ in range(50):
        ...     loss = step(np.ones((4, 2)), np.ones((4, 1)))
        >>> bool(loss < 1e-6), step.why_not
        (True, None)
    """
    if func is None:
        return functools.partial(function)
    if not callable(func):
        raise TypeError(
            "[function] it must decorate a function. "
            f"Received: {func!r}. Try @kurve.function before a def."
        )
    return Function(func)


class Function:
    """A function that is compiled if it can be traced: see `function`.

    why_not: why the last call ran uncompiled; None if it ran compiled
    _is_plain: whether it always runs uncompiled
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        functools.update_wrapper(self, func)
        self._func, self._owner = func, getattr(func, "__self__", None)
        self._traces: dict[Any, Any] = {}
        self._outside: Outside | None = None
        self._has_run = self._is_plain = False
        self.why_not: str | None = "it has not run twice yet"

    def skip_first_run(self) -> None:
        """Trace the first call already, because everything that it would create
        exists."""
        self._has_run = True

    @property
    def python_function(self) -> Callable[..., Any]:
        """The original function."""
        return self._func

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        name = f"_function_{id(self)}"
        bound = vars(instance).get(name)
        if bound is None:
            bound = Function(self._func.__get__(instance))
            vars(instance)[name] = bound
        return bound

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        inside = active.tapes or active.step is not None or Graph.current is not None
        if inside or self._is_plain:
            return self._func(*args, **kwargs)
        arrays: list[np.ndarray] = []
        if self._outside is None:
            self._outside = Outside(self._func)
        outside = self._outside
        key: Any = *_signature(args, kwargs, arrays, outside.seen), outside.now()
        known = self._traces.get(key)
        if known is None or (not isinstance(known, str) and not known.holds()):
            if not self._has_run or not arrays:
                self._has_run = bool(arrays)
                return self._func(*args, **kwargs)
            known = self._traces[key] = self._traced(args, kwargs, arrays)
        elif not isinstance(known, str):
            known.runs += 1
            if known.traces < CONFIRMED or not known.runs & (known.runs - 1):
                known = self._traces[key] = self._traced(args, kwargs, arrays, known)
        if isinstance(known, str):
            self.why_not = known
            return self._func(*args, **kwargs)
        self.why_not = f"it {CHANGES}" if self._is_plain else None
        return known.run(arrays)

    def in_bulk(self, *args: Any) -> Any:
        """A function that runs many steps like one with these arguments; None if the
        step is not traced yet or cannot be run in bulk."""
        if self._outside is None:
            return None
        outside = self._outside
        key = *_signature(args, {}, [], outside.seen), outside.now()
        known = self._traces.get(key)
        if known is None or isinstance(known, str):
            return None
        if known.traces < CONFIRMED or self._is_plain:
            return None
        return known if known.in_bulk and known.holds() else None

    def _traced(
        self,
        args: Any,
        kwargs: Any,
        arrays: list[np.ndarray],
        known: Compiled | None = None,
    ) -> Any:
        """The programs of the step, or a string that says why there are none.

        Args:
            known: programs of earlier traces. If this trace differs, the step depends
                on something invisible, and runs uncompiled after this call.
        """
        if len(self._traces) >= MAX_TRACES:
            self._is_plain = True
            return f"it was traced {MAX_TRACES} times, each for different arguments"
        from kurve.training.tracing.compiled import Compiled
        from kurve.training.tracing.steps import StepGraph

        assert self._outside is not None
        if self._outside.prints:
            self._is_plain = True
            return "it prints"
        rows = next((len(a) for a in arrays if a.ndim), 0)
        if not rows or any(a.ndim and len(a) != rows for a in arrays):
            return "its arrays have different numbers of rows"
        graph = StepGraph(rows, [a.shape[1:] for a in arrays])
        tensors = iter(
            Tensor(graph, i, a.shape[1:], bool(a.ndim), _kind(a))
            for i, a in enumerate(arrays)
        )

        def swap(leaf: Any) -> Any:
            return next(tensors) if isinstance(leaf, np.ndarray) else leaf

        before = self._outside.state()
        try:
            with graph.step():
                out = self._func(*replaced(args, swap), **replaced(dict(kwargs), swap))
            # The programs of this trace are valid for this call in any case.
            if self._outside.state().differs(before):
                self._is_plain = True
            elif known is not None and known.content == graph.content(out):
                known.traces += 1
                return known
            else:
                self._is_plain = known is not None
                if known is not None and known.traces >= CONFIRMED:
                    self._tell(known)
            return Compiled(graph, out)
        except Exception as error:
            why = _place(error) + (str(error) or type(error).__name__)
        except BaseException:
            self._outside.restore(before)
            raise
        self._outside.restore(before)
        return why

    def _tell(self, known: Compiled) -> None:
        """Warn about a step that changed late."""
        name = getattr(self._func, "__qualname__", "the step")
        warn(
            f"[function] {name} {CHANGES}: it runs uncompiled "
            "from now on. Received: a step that was the same in its first calls but "
            f"different in call {known.runs + 1}; calls in between repeated the first. "
            "Try a kurve.Variable, or an argument, for whatever changes."
        )


def _place(error: BaseException) -> str:
    """The line of the user's code that an error comes from."""
    own = os.path.join("training", "tracing", os.path.basename(__file__))
    package = os.path.abspath(__file__).removesuffix(own)
    found = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not os.path.abspath(name).startswith(package):
            found = f"line {trace.tb_lineno} of {os.path.basename(name)}: "
        trace = trace.tb_next
    return found


def _kind(array: np.ndarray) -> str:
    return {"b": "bool", "f": "float32"}.get(array.dtype.kind, "int32")


def arrays_of(*args: Any) -> list[np.ndarray]:
    """The arrays in arguments, in the order of a step's inputs."""
    found: list[np.ndarray] = []
    _signature(args, {}, found)
    return found


def _signature(
    args: Any, kwargs: Any, arrays: list[np.ndarray], seen: Callable[[Any], Any] = id
) -> tuple[Any, ...]:
    """What a trace depends on: shapes, dtypes, and all non-array arguments.

    Args:
        arrays: list to which the arrays are appended.
        seen: what a trace sees of other values.
    """
    found: list[Any] = []
    _look(args, arrays, found, seen)
    if kwargs:
        _look(kwargs, arrays, found, seen)
    return tuple(found)


def _look(
    part: Any, arrays: list[np.ndarray], found: list[Any], seen: Callable[[Any], Any]
) -> None:
    """Append the arrays in a part of the arguments, and what a trace depends on."""
    if type(part) is np.ndarray:
        arrays.append(part)
        found.append((part.shape, part.dtype.char))
    elif isinstance(part, np.ndarray):
        arrays.append(part.view(np.ndarray) if isinstance(part, Values) else part)
        found.append((np.ndarray.shape.__get__(part), part.dtype.char))
    elif isinstance(part, (tuple, list)):
        found.append((type(part), len(part)))
        for item in part:
            _look(item, arrays, found, seen)
    elif isinstance(part, dict):
        found.append(tuple(part))
        for leaf in leaves(part):
            _look(leaf, arrays, found, seen)
    elif part is None or isinstance(part, (bool, int, float, str)):
        found.append((type(part), part))
    else:
        found.append(seen(part))
