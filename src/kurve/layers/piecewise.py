"""Piecewise-linear features of numbers."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Unpack

import numpy as np

from kurve import initializers
from kurve.core.arguments import check_integer, from_signature
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.plan import Shape

DEVIATION = 0.5
"""Divisor of the centred features, which lie in an interval of length 1."""

OPEN = 1e30
"""Limit of an open bin's feature; the scaled inputs of estimators have the same."""


class PiecewiseLinear(Layer):
    """Append piecewise-linear features of each column: in which bin a number lies, and
    where in it.

    A network of a few smooth units learns steps, kinks and fine resolution in a single
    column only slowly. After this layer they are linear functions of the features:

        t[j] = clip((x - edge[j]) / (edge[j + 1] - edge[j]), 0, 1) for bin j
        y    = [x, (t - mean of t) / 0.5]

    The first bin is open below and the last one above, so a number outside of the data
    continues the lines. The edges are quantiles, which `adapt` finds; before that,
    those of the standard normal distribution. They are not trained. A value shared by
    many rows, such as the zeros of a count, counts for at most one bin, which leaves
    the other bins to the other values.

    Shapes: x (B, ..., C) -> y (B, ..., C + columns * bins)
    Source: Gorishniy, Rubachev & Babenko 2022, section 3.2 ("PLE"), with quantiles.

    Args:
        bins: the number of bins, at least 1.
        columns: how many columns, the first ones, have features; None for all.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: arguments that are not integers.
        ValueError: arguments out of range; samples of fewer columns.

    Example:
        >>> layer = kurve.layers.PiecewiseLinear(bins=2)
        >>> layer.adapt([[0.0], [1.0], [3.0]])
        >>> layer([[0.5], [2.0]]).round(2)
        array([[ 0.5 , -0.33, -0.67],
               [ 2.  ,  0.67,  0.33]], dtype=float32)
    """

    arguments = from_signature()

    def __init__(
        self,
        bins: int = 16,
        columns: int | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        check_integer("PiecewiseLinear", "bins", bins, 16)
        self.bins = int(bins)
        if columns is not None:
            check_integer("PiecewiseLinear", "columns", columns, 1)
        self.columns = None if columns is None else int(columns)
        self.edge: Variable
        self.slope: Variable
        self.shift: Variable
        self.low: Variable
        self.high: Variable

    def build(self, input_shape: Any) -> None:
        """Create the lines, between quantiles of the standard normal distribution."""
        self._check(tuple(input_shape[1:]))
        count = input_shape[-1] if self.columns is None else self.columns
        levels = (np.arange(self.bins + 1) + 0.5) / (self.bins + 1)
        edges = np.array([NormalDist().inv_cdf(float(level)) for level in levels])
        for name, values in zip(_NAMES, _lines(edges, edges[:, None]), strict=True):
            whole = np.broadcast_to(values, (count, self.bins))
            weight = self.add_weight(
                whole.shape, initializers.Constant(whole), name=name, role="buffer"
            )
            setattr(self, name, weight)

    def adapt(self, data: Any) -> None:
        """Take the edges from quantiles of data. Columns of few different values get
        a bin between any two of these; the features of the other bins are 0.

        Args:
            data: (n, ..., C).

        Raises:
            ValueError: data that is not finite, has no columns, or fewer than those
                with features.
        """
        from kurve.core.samples import as_samples

        x = as_samples("adapt", "data", data, None, np.float64)
        if self.built:
            self._check(x.shape[1:])
        else:
            self.build((None, *x.shape[1:]))
            self.built = True
        lines: dict[str, list[np.ndarray]] = {name: [] for name in _NAMES}
        for values in x.reshape(-1, x.shape[-1]).T[: self.slope.shape[0]]:
            edges = _edges(values, self.bins)
            for name, row in zip(_NAMES, _lines(edges, values[:, None]), strict=True):
                filled = np.zeros(self.bins)
                filled[: len(row)] = row
                lines[name].append(filled)
        for name, rows in lines.items():
            getattr(self, name).assign(np.array(rows))

    def _check(self, shape: Shape) -> None:
        least = self.columns or 1
        if self.built:
            least = self.slope.shape[0]
        if not shape or shape[-1] is None or shape[-1] < least:
            raise ValueError(
                f"[PiecewiseLinear] layer {self.name!r} expected the last axis of its "
                f"input to be {least} or more, the columns with features. Received: "
                f"samples of shape {shape}. Try x.reshape(-1, {least})."
            )

    def call(self, x: Any) -> Any:
        """The forward pass."""
        count = self.slope.shape[0]
        part = x if x.shape[-1] == count else x[..., :count]
        lines = (ops.expand_dims(part, -1) - self.edge) * self.slope
        lines = ops.minimum(ops.maximum(lines, self.low), self.high) + self.shift
        features = ops.reshape(lines, (-1, *x.shape[1:-1], count * self.bins))
        return ops.concatenate([x, features], axis=-1)


_NAMES = ("edge", "slope", "shift", "low", "high")


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Edges of at most this many bins for a column (n,), increasing: quantiles of the
    values, each of which counts for at most one bin."""
    different, counts = np.unique(values, return_counts=True)
    if len(different) <= bins + 1:
        edges = different
    else:
        falling = np.sort(counts)[::-1][:bins]
        rest = len(values) - np.cumsum(falling) + falling
        shares = rest / np.arange(bins, 0, -1)  # if all before count for one share
        weights = np.minimum(counts, shares[np.argmax(falling <= shares)])
        middles = np.cumsum(weights) - weights / 2.0
        levels = np.linspace(middles[0], middles[-1], bins + 1)
        edges = np.interp(levels, middles, different)
    return np.unique(edges.astype(np.float32)).astype(np.float64)


def _lines(edges: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of the feature of each bin: lower edge, slope, shift and limits, (bins,) each.

    Args:
        edges: (bins + 1,), increasing.
        values: (n, 1), from which the means are taken.
    """
    bins = len(edges) - 1
    slope = 1.0 / (np.diff(edges) * DEVIATION)
    low, high = np.zeros(bins), np.full(bins, 1.0 / DEVIATION)
    low[:1], high[-1:] = -OPEN, OPEN
    shift = -np.clip((values - edges[:-1]) * slope, low, high).mean(axis=0)
    return edges[:-1], slope, shift, low, high
