"""Sine and cosine features of the input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from kurve import activations, initializers
from kurve.core.arguments import check_integer, check_number, is_integer
from kurve.layers.base import Layer, NamedArguments, Variable
from kurve.plan import Op, Shape, VariableSpec

LARGEST_SCALE = 1e30
"""Maximum scale of random frequencies, so that all fit float32."""

LARGEST_PHASE = 2.0**24 * 0.01
"""Maximum phase in radians: beyond it, float32 sines are off by 1 % or more."""


class FourierFeatures(Layer):
    """y = [sin(x @ W), cos(x @ W)] with frequencies W that are found by `adapt`, given,
    or random.

    Outside the data, a relu network continues as a line, and a tanh network as a
    constant. After this layer, a network only sees waves, so what it has learned
    repeats.
    `adapt` finds the frequencies in the data, precisely enough to extrapolate. Random
    frequencies (normal, with standard deviation `scale`) help a network to learn fine
    detail instead, but do not extrapolate.

    Shapes:   x (B, ..., I), W (I, F) -> y (B, ..., 2 F). Stored as kernel = [W, W] and
              bias = [0, pi / 2], because cos(z) = sin(z + pi / 2).
    Backward: as `Dense` with the activation "sin".
    Source:   Rahimi & Recht 2007; Tancik et al. 2020.

    Args:
        frequencies: their number F, or the frequencies themselves in radians per unit
            of x: (F,) for one feature, or (I, F).
        scale: standard deviation of random frequencies; the learned function may change
            substantially over a distance of 1 / scale.
        trainable: whether training updates the frequencies. This works poorly, because
            the loss has a minimum at every number of cycles, so the default is False.
        name, input_shape: see `Layer`.

    Raises:
        TypeError: frequencies of another type.
        ValueError: no or non-finite frequencies, or a scale that is not positive.

    Example:
        >>> x = np.linspace(0.0, 3.0, 200)
        >>> features = kurve.layers.FourierFeatures(1)
        >>> features.adapt(x, np.sin(7.0 * x))
        >>> features.frequencies.round(3)
        array([[7.]], dtype=float32)
        >>> model = kurve.Sequential([features, kurve.layers.Dense(1)])
    """

    _supports_masking = True

    def __init__(
        self,
        frequencies: Any = 16,
        scale: float = 1.0,
        trainable: bool = False,
        **common: Unpack[NamedArguments],
    ) -> None:
        super().__init__(trainable=trainable, **common)
        check_number("FourierFeatures", "scale", scale, 1.0, 0, LARGEST_SCALE, "(]")
        self.scale = float(scale)
        self.given: np.ndarray | None = None
        if is_integer(frequencies):
            check_integer("FourierFeatures", "frequencies", frequencies, 16)
            self.count = int(frequencies)
        else:
            self.given = _checked(frequencies)
            self.count = self.given.shape[1]
        self.kernel: Variable
        self.bias: Variable

    def make_variables(self, input_shape: Shape) -> None:
        waves: initializers.Initializer = initializers.RandomNormal(stddev=self.scale)
        if self.given is not None:
            if len(self.given) != input_shape[-1]:
                raise ValueError(
                    f"[FourierFeatures] frequencies must have shape ({input_shape[-1]}"
                    f", F), one row per feature. Received: {self.given.shape} for "
                    f"samples of shape {input_shape}. Try adapt(x, y)."
                )
            waves = initializers.Constant(self.given)
        shape = (input_shape[-1], 2 * self.count)
        self.kernel = self.add_weight(shape, _Twice(waves), name="kernel")
        self.bias = self.add_weight(shape[1:], _Phases(), name="bias")

    def adapt(self, x: Any, y: Any) -> None:
        """Find the dominant frequencies in y(x).

        Harmonics of a period become exact multiples of its frequency. If fewer
        frequencies stand out than the layer has, the remaining ones are 0 and produce
        the constants 0 and 1. A trend in y is removed first; the layer does not
        reproduce it. If another layer precedes this one, x is the output of that layer.

        Args:
            x: (n, I), or (n,) for one feature; in any order, with any spacing.
            y: (n,) or (n, T), targets with common frequencies.

        Raises:
            TypeError, ValueError: invalid data; data without periods; numbers so
                large that float32 cannot resolve their phases. The layer stays
                unchanged.
        """
        from kurve.core.samples import as_samples, check_same_length
        from kurve.layers.frequencies import find_frequencies

        x = as_samples("adapt", "x", x, None, np.float64)
        y = as_samples("adapt", "y", y, None, np.float64)
        check_same_length("adapt", x=x, y=y)
        if x.ndim != 2:
            raise ValueError(
                "[adapt] x must be (n, features). "
                f"Received: x.shape={x.shape}. Try x.reshape(-1, {x.shape[-1]})."
            )
        if self.built:
            self.check_input(x.shape[1:])
        found = find_frequencies(x, y.reshape(len(y), -1), self.count)
        if not found.size:
            raise ValueError(
                "[adapt] y must contain at least one full period, clearly above "
                f"the noise. Received: {len(x)} rows in which no frequency stands out."
                " Try more rows, or FourierFeatures(16, scale=...) without adapt."
            )
        phase = float((abs(x).max(axis=0) @ abs(found)).max())
        if phase > LARGEST_PHASE:
            raise ValueError(
                "[adapt] x must be small compared to its periods times 27,000, because"
                " float32 cannot resolve larger phases. Received: a phase of "
                f"{phase:.3g} radians. Try x - x.min()."
            )
        waves = np.zeros((x.shape[1], self.count))
        waves[:, : found.shape[1]] = found
        self.given = waves
        if self.built:
            self.kernel.assign(np.hstack([waves, waves]))
            self.bias.assign(_phases(self.count))
        else:
            self.build((None, x.shape[1]))

    @property
    def frequencies(self) -> np.ndarray:
        """The current frequencies: float32 (I, F). If the layer is trainable, those of
        the sines."""
        if not self.built:
            raise RuntimeError(
                "[FourierFeatures] the layer is not built, so it has no frequencies "
                "yet. Try adapt(x, y) first."
            )
        return self.kernel.numpy()[:, : self.count]

    def check_input(self, input_shape: Shape) -> None:
        features = self.kernel.shape[0]
        if input_shape[-1] != features:
            raise ValueError(
                f"[FourierFeatures] layer {self.name!r} expected the last axis of its "
                f"input to be {features}, the features it has frequencies for. "
                f"Received: {input_shape[-1]} in samples of shape {input_shape}. "
                "Try a new layer."
            )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], 2 * self.count)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        attrs = activations.sin.attrs()
        return [Op("dense", self.name, input_shape, shape, slots, attrs=attrs)]

    def get_config(self) -> dict[str, Any]:
        given = self.count if self.given is None else self.given.tolist()
        return {**super().get_config(), "frequencies": given, "scale": self.scale}


class _Twice(initializers.Initializer):
    """The values of another initializer, repeated twice."""

    def __init__(self, once: initializers.Initializer) -> None:
        self.once = once

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        half = self.once.values((*shape[:-1], shape[-1] // 2), seed, stream)
        return np.concatenate([half, half], axis=-1)


class _Phases(initializers.Initializer):
    """The bias: 0 for the sines, then pi / 2 for the cosines."""

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        return _phases(shape[0] // 2)


def _phases(count: int) -> np.ndarray:
    return np.repeat([0.0, 0.5 * math.pi], count)


def _checked(frequencies: Any) -> np.ndarray:
    """Given frequencies as float64 (I, F)."""
    try:
        waves = np.asarray(frequencies, np.float64)
    except (TypeError, ValueError, OverflowError):
        waves = np.array(0.0)
    if not waves.ndim:
        raise TypeError(
            "[FourierFeatures] frequencies must be their number, or an array of them. "
            f"Received: {frequencies!r}. Try FourierFeatures(16)."
        )
    if waves.ndim == 1:
        waves = waves[None, :]
    with np.errstate(over="ignore"):
        rounded = waves.astype(np.float32)
    if waves.ndim != 2 or not waves.size or not np.isfinite(rounded).all():
        raise ValueError(
            "[FourierFeatures] given frequencies must be finite, of shape (F,) or "
            f"(features, F). Received: {frequencies!r}. Try FourierFeatures([1.0])."
        )
    return waves
