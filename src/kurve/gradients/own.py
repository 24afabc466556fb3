"""Functions with a custom gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.calls import recorded, watched
from kurve.formulas.graph import Tensor
from kurve.formulas.recording import active, recording
from kurve.formulas.tensor import FunctionCall, KerasTensor, leaves
from kurve.gradients.values import plain, traced


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of a function that returns its result and its gradient:

        @custom_gradient
        def reversed_gradient(x):
            return x, lambda dy: -dy

    On a tape, the gradient is any function of the gradients of the results. In a model
    it must be a factor for each element, gradient(dy) = dy * gradient(1), because its
    formula becomes a part of the model's.

    Args:
        f: returns a tensor (or a list of them) and a function from the gradients of
            these to the gradients of the arguments.

    Raises:
        NotImplementedError: in a model, when called: another gradient.
    """

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        flat = list(leaves((args, kwargs)))
        if any(isinstance(leaf, KerasTensor) for leaf in flat):
            return recorded(FunctionCall(call), args, kwargs)
        if any(isinstance(leaf, Tensor) for leaf in flat):
            return _in_graph(f, args, kwargs)
        if not active.tapes:
            return f(*args, **kwargs)[0]
        args = watched(args)
        with recording(()):
            out, gradient = f(*args, **kwargs)
        parts = list(out) if isinstance(out, (list, tuple)) else [out]
        values = [traced(np.array(plain(part))) for part in parts]
        piece = _Own(gradient, args, values)
        for tape in active.tapes:
            tape.add(piece)
        return type(out)(values) if isinstance(out, (list, tuple)) else values[0]

    return call


class _Own:
    """A call of such a function, as a segment of a tape."""

    params: tuple[Any, ...] = ()
    records_itself = True
    """Whether an outer tape sees the operations of its backward pass."""

    def __init__(self, gradient: Any, args: Sequence[Any], values: Sequence[Any]):
        self.gradient, self.values = gradient, [plain(value) for value in values]
        self.keys = [getattr(arg, "key", None) for arg in args]
        self.outputs = [(i, value.key, False) for i, value in enumerate(values)]

    def backward(self, gradients: Mapping[Any, Any], wanted: Any = ()) -> Any:
        """The gradients that the function returns, for the watched arguments."""
        dys = [
            gradients.get(key, np.zeros_like(value))
            for (_, key, _), value in zip(self.outputs, self.values, strict=True)
        ]
        found = _listed(self.gradient(*map(_value, dys)), len(self.keys))
        pairs = zip(self.keys, found, strict=True)
        return [(k, dx) for k, dx in pairs if k is not None and dx is not None], []


def _value(dy: Any) -> Any:
    return dy if hasattr(dy, "numpy") else ops.convert_to_tensor(dy)


def _listed(found: Any, count: int) -> list[Any]:
    """The gradients of all arguments."""
    parts = list(found) if isinstance(found, (list, tuple)) else [found]
    if len(parts) != count:
        raise ValueError(
            "[custom_gradient] the gradient must return one value for each argument. "
            f"Received: {len(parts)} for {count}. Try None for one that has none."
        )
    return parts


def _in_graph(f: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The result as a formula: y + c (x - x), where the second x is a constant, has the
    value y and the gradient c dy."""
    _check_factors(f, args, kwargs)
    out, gradient = f(*args, **kwargs)
    factors = _listed(gradient(ops.ones_like(out)), len(args))
    y = ops.stop_gradient(out)
    for x, factor in zip(args, factors, strict=True):
        if isinstance(x, Tensor) and factor is not None:
            y = y + ops.stop_gradient(factor) * (x - ops.stop_gradient(x))
    return y


def _check_factors(f: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check with a trial that the gradient is a factor for each element."""
    rng = np.random.default_rng(0)

    def trial(arg: Any) -> Any:
        if not isinstance(arg, Tensor):
            return arg
        shape = (2, *arg.sample) if arg.batched else arg.sample
        return ops.convert_to_tensor(rng.uniform(0.1, 0.9, shape).astype(np.float32))

    fits = False
    with recording(()):
        try:
            out, gradient = f(*map(trial, args), **kwargs)
            dy = rng.normal(size=np.shape(out)).astype(np.float32)
            one = _listed(gradient(ops.ones_like(out)), len(args))
            found = _listed(gradient(ops.convert_to_tensor(dy)), len(args))
            fits = all(
                a is None
                or (
                    np.shape(a) == np.shape(b) == np.shape(dy)
                    and np.allclose(np.asarray(a) * dy, b, rtol=1e-4, atol=1e-6)
                )
                for a, b in zip(one, found, strict=True)
            )
        except (TypeError, AttributeError, NotImplementedError):
            fits = False
    if not fits:
        raise NotImplementedError(
            "[custom_gradient] in a model, the gradient must be a factor for each "
            f"element: dy * gradient(1). Received: {getattr(f, '__name__', f)!r}, "
            "whose gradient is another function of dy. Try it in a GradientTape."
        )
