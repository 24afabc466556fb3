"""`jvp` of `kurve.ops`: derivatives along a direction.

The gradient with respect to the inputs is a linear function of the weights u of the
outputs; its derivative with respect to u, weighted with the direction, is the
derivative along the direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.core.results import result
from kurve.formulas import functions as ops
from kurve.formulas.graph import Tensor
from kurve.formulas.tensor import leaves, replaced
from kurve.gradients.formulas import back_through
from kurve.gradients.inputs import (
    _check_argument,
    _check_callable,
    _explained,
    _refuse_symbols,
    _traced,
    _watchable,
)
from kurve.gradients.tape import GradientTape
from kurve.gradients.values import TracedValues


def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """A function's value, and its derivative along a direction: J v, where J is the
    Jacobian of fun at the primals and v the tangents.

    Args:
        fun: from tensors or arrays to one tensor, or a list, tuple or dict of them.
        primals: list or tuple of the arguments.
        tangents: list or tuple of arrays, one for each argument, of its shape.
        has_aux: whether fun returns a pair, whose second element is returned as it is.

    Returns:
        (fun(*primals), J v), in the same structure; with has_aux also the second
        element of the pair.

    Raises:
        TypeError: fun is not callable, or an argument is not floating-point.
        ValueError: tangents that do not match the primals.
        NotImplementedError: an operation without a second derivative, or a pair or
            several results in a model.

    Example:
        >>> y, dy = kurve.ops.jvp(kurve.ops.sin, (np.zeros(2),), (np.ones(2),))
        >>> dy
        array([1., 1.])
    """
    _check_callable("jvp", fun)
    _refuse_symbols("jvp", (primals, tangents))
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (list, tuple)):
            raise TypeError(
                f"[jvp] {name} must be a list or tuple with one entry per argument. "
                f"Received: {type(given).__name__}. Try ({name},)."
            )
    shapes = [[_shape(x) for x in leaves(list(g))] for g in (primals, tangents)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "[jvp] there must be one tangent for each primal, of its shape. "
            f"Received: primals of shapes {shapes[0]}, tangents of shapes "
            f"{shapes[1]}. Try ops.ones_like(x)."
        )
    if any(isinstance(x, Tensor) for x in leaves(list(primals))):
        if has_aux:
            raise NotImplementedError(
                "[jvp] in a model, the function must return what is differentiated "
                "alone. Received: has_aux=True. Try a second call for the rest."
            )
        return _of_tensors(fun, primals, tangents)
    for x in leaves(list(primals)):
        _check_argument("jvp", x)
    return _of_arrays(fun, primals, tangents, has_aux)


def _shape(x: Any) -> tuple[Any, ...]:
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def _of_arrays(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Any, has_aux: bool
) -> tuple[Any, ...]:
    xs = replaced(list(primals), _watchable)
    flat = list(leaves(xs))
    with GradientTape(watch_accessed_variables=False) as by_weights:
        with GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(xs)
            given = fun(*xs)
        y, aux = given if has_aux else (given, None)
        ys = list(leaves(y))
        weights = [result(np.ones(np.shape(one), np.asarray(one).dtype)) for one in ys]
        by_weights.watch(weights)
        gradients = tape.gradient(ys, flat, output_gradients=weights)
    pairs = [
        (gradient, np.asarray(v))
        for gradient, v in zip(gradients, leaves(list(tangents)), strict=True)
        if isinstance(gradient, TracedValues)
    ]
    found: list[Any] = [None] * len(ys)
    if pairs:
        moved, along = zip(*pairs, strict=True)
        found = by_weights.gradient(list(moved), weights, list(along))
    slopes = iter(
        result(np.zeros_like(np.asarray(one))) if dy is None else dy
        for one, dy in zip(ys, found, strict=True)
    )
    dy = replaced(y, lambda _: next(slopes))
    return (y, dy, aux) if has_aux else (y, dy)


@_explained
def _of_tensors(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Any, Any]:
    args, total = list(primals), None
    y = fun(*args)
    if not isinstance(y, Tensor):
        raise NotImplementedError(
            "[jvp] in a model, the function must return one tensor. "
            f"Received: {type(y).__name__}. Try one of them, f(x)[0]."
        )
    for k, (x, v) in enumerate(zip(primals, tangents, strict=True)):
        if not isinstance(x, Tensor):
            continue

        def of_one(own: Any, k: int = k) -> Any:
            return fun(*args[:k], own, *args[k + 1 :])

        own, out = _traced(of_one, x)
        graph = x.graph
        weights = ops.ones_like(out)
        seeds = {out.index: weights}
        slope = back_through(graph, seeds, {own.index}).get(own.index)
        if slope is None:
            continue
        v = graph.as_tensor(v)
        part = back_through(graph, {slope.index: v}, {weights.index})
        dy = part.get(weights.index)
        if dy is not None:
            total = dy if total is None else total + dy
    if total is None:
        return y, ops.zeros_like(y)
    return y, Tensor(total.graph, total.index, y.sample, y.batched)
