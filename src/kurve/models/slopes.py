"""Derivatives of a trained model with respect to its inputs, and integrals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.core.arguments import is_integer
from kurve.engines.reference import backward, forward
from kurve.formulas.tensor import pack
from kurve.training.network import Network

MAX_NUMBERS = 1 << 24
"""Maximum number of elements of all values for rows computed at a time."""

NODES = 8
"""Quadrature nodes per piece of an integral."""


def by_inputs(network: Network, inputs: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The derivative of each output element with respect to each input element: float64
    (n, *output, *input), by the reference engine, in inference mode.

    Args:
        inputs: (n, *shape) per input.
    """
    plan, state = network.require_built("gradient")
    plan = plan.predicting().deterministic()
    wide = replace(
        state,
        params=state.params.astype(np.float64),
        buffers=state.buffers.astype(np.float64),
    )
    arrays = [np.asarray(x, np.float64) for x in inputs]
    n = len(arrays[0])
    found = [
        [np.zeros((n, math.prod(head.shape), *x.shape[1:])) for x in arrays]
        for head in plan.heads
    ]
    size = sum(math.prod(op.out_shape) for op in plan.ops) + 1
    step = max(1, MAX_NUMBERS // size)
    for first in range(0, n, step):
        rows = slice(first, first + step)
        given = [x[rows] for x in arrays]
        _, caches = forward(plan, wide, given, False)
        for head, of_head in zip(plan.heads, found, strict=True):
            for k in range(math.prod(head.shape)):
                seed = np.zeros((len(given[0]), math.prod(head.shape)))
                seed[:, k] = 1.0
                seed = seed.reshape(-1, *head.shape)
                _, slopes = backward(plan, wide, {head.value: seed}, caches)
                for i, by_input in enumerate(of_head):
                    if i in slopes:
                        by_input[rows, k] = slopes[i]
    return [
        [
            by_input.reshape(n, *head.shape, *x.shape[1:])
            for by_input, x in zip(of_head, arrays, strict=True)
        ]
        for head, of_head in zip(plan.heads, found, strict=True)
    ]


def packed(structure: Any, values: Sequence[Any]) -> Any:
    """Pack values into a structure of names. Arrays become float32."""
    values = [v.astype(np.float32) if isinstance(v, np.ndarray) else v for v in values]
    return values[0] if structure is None else pack(structure, values)


def integral(
    where: str,
    predict: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    column: int,
    low: Any,
    high: Any,
    pieces: int,
) -> np.ndarray:
    """The integral of a prediction along a column, with the others fixed per row.

    Composite Gauss-Legendre quadrature: 8 nodes in each of `pieces` pieces, exact for
    polynomials up to degree 15.

    Args:
        predict: (rows, columns) -> (rows, ...).
        low, high: numbers, or one per row.
    """
    if not is_integer(pieces) or pieces < 1:
        raise ValueError(
            f"[{where}] pieces must be an integer of at least 1. "
            f"Received: pieces={pieces!r}. Try pieces=16."
        )
    ends = []
    for name, end in (("low", low), ("high", high)):
        values = np.asarray(end, np.float64)
        if values.shape not in ((), (len(x),)) or not np.isfinite(values).all():
            raise ValueError(
                f"[{where}] {name} must be a finite number, or one per row. "
                f"Received: {name} of shape {values.shape} for {len(x)} rows. "
                f"Try {name}=1.0."
            )
        ends.append(np.broadcast_to(values, (len(x),)))
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    places = (np.arange(pieces)[:, None] + 0.5 * (nodes + 1.0)).ravel() / pieces
    width = ends[1] - ends[0]
    total: Any = 0.0
    for place, weight in zip(places, np.tile(weights, pieces), strict=True):
        rows = np.array(x, np.float64)
        rows[:, column] = ends[0] + place * width
        y = np.asarray(predict(rows), np.float64)
        total = total + 0.5 * weight / pieces * y
    return np.asarray(total * width.reshape(-1, *(1,) * (np.ndim(total) - 1)))


def column_number(where: str, column: Any, names: Sequence[str] | None, n: int) -> int:
    """The index of a column, given by name or index.

    Raises:
        ValueError: unknown column.
    """
    if isinstance(column, str) and names is not None and column in names:
        return list(names).index(column)
    if is_integer(column) and -n <= column < n:
        return int(column) % n
    known = ", ".join(map(repr, names[:12])) if names else f"0 to {n - 1}"
    raise ValueError(
        f"[{where}] unknown column. Received: {column!r}. "
        f"Known: {known}. Try {names[0] if names else 0!r}."
    )
