"""Shifting and scaling inputs to mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kurve import initializers
from kurve.layers.base import Layer, Variable
from kurve.plan import Op, Shape, Slot

EPSILON = 1e-7
"""Smallest standard deviation that is divided by, as in Keras."""


class Normalization(Layer):
    """y = (x - mean) / sqrt(variance), with mean and variance learned by `adapt` or
    given.

    Networks learn best from numbers around 0 of size 1: the relus of a raw input in 0
    to 20 all bend near 0, and the far end must be reached through large weights.

    Shapes: x (B, ..., C) -> y the same; mean and variance (C,) for axis=-1.

    Args:
        axis: the axis or axes that keep a mean of their own: -1 (each feature), None
            (one mean for all), or a tuple of trailing axes.
        mean, variance: given instead of `adapt`; numbers, or arrays (C,).
        invert: undo the scaling: y = mean + x * sqrt(variance).

    Raises:
        ValueError: only one of mean and variance, a negative variance, or an axis that
            is not a trailing one.
    """

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        axes = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.axis: tuple[int, ...] = axes
        self.invert = bool(invert)
        if (mean is None) != (variance is None):
            raise ValueError(
                "[Normalization] mean and variance must be given together. "
                f"Received: mean={mean}, variance={variance}. Try both, or adapt(x)."
            )
        self.given_mean = None if mean is None else np.asarray(mean, np.float64)
        self.given_variance = (
            None if variance is None else np.asarray(variance, np.float64)
        )
        if self.given_variance is not None and not (self.given_variance >= 0).all():
            raise ValueError(
                "[Normalization] variance must be at least 0. "
                f"Received: variance={variance}. Try adapt(x)."
            )
        self.mean: Variable
        self.variance: Variable

    def make_variables(self, input_shape: Shape) -> None:
        kept = self._kept_shape(input_shape)
        if self.given_mean is not None:
            constant = initializers.Constant
            self.mean = self.add_weight(
                "mean", kept, constant(self.given_mean), "constant"
            )
            self.variance = self.add_weight(
                "variance", kept, constant(self.given_variance), "constant"
            )
            return
        zeros, ones = initializers.Zeros(), initializers.Ones()
        self.mean = self.add_weight("mean", kept, zeros, "buffer")
        self.variance = self.add_weight("variance", kept, ones, "buffer")
        # Keras keeps a third weight that it never uses; weight lists stay exchangeable.
        self.add_weight("count", (), zeros, "buffer")

    def adapt(self, data: Any) -> None:
        """Take mean and variance from data (n, ...); 1-D data is one feature.

        Raises:
            ValueError: empty or non-finite data, or another shape than before.
            RuntimeError: mean and variance were given as arguments.
        """
        from kurve.data import as_samples

        if self.given_mean is not None:
            raise RuntimeError(
                "[Normalization] adapt needs a layer without mean and variance. "
                "Try Normalization()."
            )
        x = as_samples("adapt", "data", data, None, np.float64)
        self.build((None, *x.shape[1:]))
        kept = len(self._kept_shape(x.shape[1:]))
        over = tuple(range(x.ndim - kept))
        self.mean.assign(x.mean(axis=over))
        self.variance.assign(x.var(axis=over))

    def _kept_shape(self, input_shape: Shape) -> Shape:
        """Shape of the mean. A sample flattened in C order then repeats it."""
        rank = len(input_shape) + 1
        kept = sorted(a % rank for a in self.axis if -rank <= a < rank)
        trailing = list(range(rank - len(kept), rank))
        if len(kept) != len(self.axis) or kept != trailing or 0 in kept:
            raise ValueError(
                "[Normalization] axis must name trailing axes, such as -1 or (-2, -1), "
                f"or be None. Received: axis={self.axis} for samples of shape "
                f"{input_shape}. Try axis=-1 with that axis moved to the end."
            )
        return tuple(input_shape[a - 1] for a in kept)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, Slot], index: int
    ) -> list[Op]:
        buffers = {role: slots[role] for role in ("mean", "variance")}
        attrs = {"invert": self.invert, "epsilon": EPSILON}
        return [
            Op(
                "normalization",
                self.name,
                input_shape,
                input_shape,
                buffers=buffers,
                attrs=attrs,
            )
        ]

    def get_config(self) -> dict[str, Any]:
        given_mean, given_variance = self.given_mean, self.given_variance
        return {
            **super().get_config(),
            "axis": list(self.axis),
            "mean": None if given_mean is None else given_mean.tolist(),
            "variance": None if given_variance is None else given_variance.tolist(),
            "invert": self.invert,
        }
