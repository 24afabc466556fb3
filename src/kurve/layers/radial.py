"""Radial basis functions."""

from __future__ import annotations

from typing import Any, Unpack

from kurve import initializers
from kurve.core.arguments import check_integer, from_signature
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments, Variable

LEAST = 1e-12
"""Minimum squared distance: at 0, the slope of its square root would be infinite."""


class RadialBasis(Layer):
    """The similarity of the inputs to some centres: the Laplace kernel.

        y[k] = exp(-|x @ metric - centers[k]|)

    Followed by a `Dense` layer, it is a kernel machine; solved by least squares with
    the samples as centres, it is kernel ridge regression. It learns functions from too
    few samples for networks of other layers. The metric determines which directions of
    x matter; it starts as I / sqrt(I) for I columns, and the centres start as random
    normal points.

    Shapes: x (B, ..., I), metric (I, I), centers (I, units) -> y (B, ..., units)
    Source: Powell 1987 (radial basis functions); Radhakrishnan, Beaglehole, Pandit &
        Belkin 2024 (kernels with a learned metric).

    Args:
        units: number of centres, at least 1.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: units that are not an integer.
        ValueError: units below 1; when built: samples without a last axis.

    Example:
        >>> layer = kurve.layers.RadialBasis(2)
        >>> layer.build((None, 1))
        >>> layer.set_weights([[[1.0]], [[0.0, 2.0]]])
        >>> layer([[0.0], [1.0]]).round(3)
        array([[1.   , 0.135],
               [0.368, 0.368]], dtype=float32)
    """

    arguments = from_signature()

    def __init__(self, units: int, **common: Unpack[LayerArguments]) -> None:
        super().__init__(**common)
        check_integer("RadialBasis", "units", units, 16)
        self.units = int(units)
        self.metric: Variable
        self.centers: Variable

    def build(self, input_shape: Any) -> None:
        """Create the metric and the centres."""
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                f"[RadialBasis] layer {self.name!r} expected samples with a last axis "
                f"of known size. Received: samples of shape {tuple(input_shape[1:])}. "
                "Try x.reshape(-1, 1)."
            )
        width = input_shape[-1]
        scale = initializers.Identity(width**-0.5)
        self.metric = self.add_weight((width, width), scale, name="metric")
        self.centers = self.add_weight(
            (width, self.units),
            initializers.RandomNormal(stddev=width**-0.5),
            name="centers",
        )

    def call(self, x: Any) -> Any:
        """The forward pass."""
        z = ops.matmul(x, self.metric)
        squares = ops.sum(ops.square(z), axis=-1, keepdims=True)
        squares = squares + ops.sum(ops.square(self.centers), axis=0)
        squares = squares - 2.0 * ops.matmul(z, self.centers)
        return ops.exp(-ops.sqrt(ops.maximum(squares, LEAST)))
