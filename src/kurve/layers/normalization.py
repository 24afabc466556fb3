"""Standardizing inputs to mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from kurve import initializers
from kurve.core.arguments import check_flag, is_integer
from kurve.layers.adapting import batches
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.layers.scaling import moved_to_the_end
from kurve.layers.softmax import places
from kurve.plan import Op, Shape, VariableSpec

EPSILON = 1e-7
"""Smallest standard deviation to divide by, as in Keras."""


class Normalization(Layer):
    """y = (x - mean) / sqrt(variance), with mean and variance learned by `adapt` or
    passed.

    Networks learn best from numbers of order 1 around 0: if a raw input ranges from 0
    to 20, all relus bend near 0, and the far end needs large weights.

    Shapes: x (B, ..., C) -> y the same; mean and variance (C,) for axis=-1.

    Args:
        axis: the axis or axes with separate means: -1 (each feature), None (one mean
            for all), or a tuple of axes.
        mean, variance: passed instead of `adapt`; numbers, or arrays with the sizes of
            these axes.
        invert: undo the scaling: y = mean + x * sqrt(variance).
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: only one of mean and variance, a negative variance, or an axis that
            samples do not have.

    Example:
        >>> layer = kurve.layers.Normalization()
        >>> layer.adapt([[1.0], [3.0]])
        >>> layer([[1.0], [2.0], [5.0]]).ravel()
        array([-1.,  0.,  3.], dtype=float32)
    """

    _supports_masking = True

    takes_scalars = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        axes = () if axis is None else (axis,) if is_integer(axis) else axis
        if not isinstance(axes, (list, tuple)) or not all(map(is_integer, axes)):
            raise ValueError(
                "[Normalization] axis must be an integer, a tuple of them or None. "
                f"Received: axis={axis!r}. Try axis=-1."
            )
        self.axis: tuple[int, ...] = tuple(int(a) for a in axes)
        self.invert = check_flag("Normalization", "invert", invert)
        if (mean is None) != (variance is None):
            raise ValueError(
                "[Normalization] mean and variance must be passed together. "
                f"Received: mean={mean}, variance={variance}. Try both, or adapt(x)."
            )
        self.given_mean = self._numbers("mean", mean)
        self.given_variance = self._numbers("variance", variance)
        if self.given_variance is not None and not (self.given_variance >= 0).all():
            raise ValueError(
                "[Normalization] variance must be at least 0. "
                f"Received: variance={variance}. Try adapt(x)."
            )
        self.adapt_mean: Variable
        self.adapt_variance: Variable

    @staticmethod
    def _numbers(name: str, value: Any) -> np.ndarray | None:
        try:
            array = None if value is None else np.array(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.array(np.nan)
        with np.errstate(over="ignore"):
            rounded = None if array is None else array.astype(np.float32)
        if rounded is not None and not (rounded.size and np.isfinite(rounded).all()):
            raise ValueError(
                f"[Normalization] {name} must be finite numbers within float32. "
                f"Received: {name}={value!r}. Try adapt(x)."
            )
        return array

    @property
    def mean(self) -> Variable:
        """The mean in the shape it broadcasts from, (1, C) for samples (C,)."""
        return self._shown("mean")

    @property
    def variance(self) -> Variable:
        """The variance in the shape of `mean`."""
        return self._shown("variance")

    def _shown(self, name: str) -> Variable:
        if self.built_shape is None:
            raise AttributeError(
                f"[Normalization] the layer is not built, so it has no {name} yet. "
                "Try adapt(x) first."
            )
        variable: Variable = getattr(self, f"adapt_{name}")
        return variable.reshaped(self._shown_shape(self.built_shape))

    def _shown_shape(self, input_shape: Shape) -> Shape:
        """The shape that broadcasts with a batch of samples of this shape."""
        kept = self._places(input_shape)
        sizes = (n if i in kept else 1 for i, n in enumerate(input_shape))
        return (1, *sizes)

    def make_variables(self, input_shape: Shape) -> None:
        kept = self._kept_shape(input_shape)
        if self.given_mean is not None and self.given_variance is not None:
            mean = self._fitting("mean", self.given_mean, input_shape)
            variance = self._fitting("variance", self.given_variance, input_shape)
            self.adapt_mean = self.add_weight(kept, mean, name="mean", role="constant")
            self.adapt_variance = self.add_weight(
                kept, variance, name="variance", role="constant"
            )
            return
        zeros, ones = initializers.Zeros(), initializers.Ones()
        self.adapt_mean = self.add_weight(kept, zeros, name="mean", role="buffer")
        self.adapt_variance = self.add_weight(
            kept, ones, name="variance", role="buffer"
        )
        # Keras has a third weight that it never uses; keep weight lists compatible.
        self.add_weight((), zeros, name="count", role="buffer")

    def _fitting(
        self, name: str, given: np.ndarray, input_shape: Shape
    ) -> initializers.Constant:
        """The passed numbers in the shape needed for samples of this shape."""
        kept = self._kept_shape(input_shape)
        shown = self._shown_shape(input_shape)
        try:
            fits = given.ndim <= len(kept)
            full = np.broadcast_to(given, kept if fits else shown)
        except ValueError:
            raise ValueError(
                f"[Normalization] {name} must be one number, or have shape {kept} to "
                f"fit samples of shape {input_shape}. Received: {name} of shape "
                f"{given.shape}. Try adapt(x)."
            ) from None
        return initializers.Constant(full.reshape(kept))

    def adapt(self, data: Any) -> None:
        """Compute mean and variance from data (n, ...); 1-D data is one feature.

        Args:
            data: an array, or batches of them: a list, a generator, a `PyDataset` or
                a `tf.data.Dataset`. Of batches (x, y), x is used.

        Raises:
            ValueError: empty or non-finite data, a different shape than before, or
                numbers whose mean or variance overflows float32.
            RuntimeError: mean and variance were passed as arguments.
        """
        from kurve.core.samples import as_samples

        if self.given_mean is not None:
            raise RuntimeError(
                "[Normalization] adapt needs a layer without mean and variance. "
                "Try Normalization()."
            )
        parts = list(batches(data))
        if not parts:
            raise ValueError(
                "[adapt] data must have at least one batch. Received: none. "
                "Try an array, or a generator that yields arrays."
            )
        if parts[0] is not data:
            data = _joined([np.asarray(part) for part in parts], data)
        x = as_samples("adapt", "data", data, None, np.float64)
        kept = self._places(x.shape[1:])
        axes = tuple(a for a in range(x.ndim) if a - 1 not in kept)
        with np.errstate(over="ignore"):
            moments = [
                moment.astype(np.float32)
                for moment in (x.mean(axis=axes), x.var(axis=axes))
            ]
        if not all(np.isfinite(moment).all() for moment in moments):
            raise ValueError(
                "[adapt] data must have a mean and a variance within float32. "
                f"Received: numbers up to {abs(x).max():.3g}. Try data in other units."
            )
        self.build((None, *x.shape[1:]))
        for variable, moment in zip(
            (self.adapt_mean, self.adapt_variance), moments, strict=True
        ):
            variable.assign(moment)

    def check_input(self, input_shape: Shape) -> None:
        kept = self._kept_shape(input_shape)
        if kept != self.adapt_mean.shape:
            raise ValueError(
                f"[Normalization] layer {self.name!r} has a mean of shape "
                f"{self.adapt_mean.shape}. Received: samples of shape {input_shape}, "
                f"which need {kept}. Try a new layer."
            )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self._kept_shape(input_shape)
        return input_shape

    def _places(self, input_shape: Shape) -> list[int]:
        """The sample axes with separate means, in order."""
        if not self.axis:
            return []
        shape = (None, *input_shape)
        return [a - 1 for a in places("Normalization", self.axis, shape)]

    def _kept_shape(self, input_shape: Shape) -> Shape:
        """Shape of the mean."""
        return tuple(input_shape[a] for a in self._places(input_shape))

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        buffers = {role: slots[role] for role in ("mean", "variance")}
        attrs = {"invert": self.invert, "epsilon": EPSILON}

        def at_the_end(shape: Shape) -> list[Op]:
            kind = "normalization"
            return [Op(kind, self.name, shape, shape, buffers=buffers, attrs=attrs)]

        axes = self._places(input_shape)
        return moved_to_the_end(self.name, input_shape, axes, at_the_end)

    def get_config(self) -> dict[str, Any]:
        given_mean, given_variance = self.given_mean, self.given_variance
        return {
            **super().get_config(),
            "axis": list(self.axis),
            "mean": None if given_mean is None else given_mean.tolist(),
            "variance": None if given_variance is None else given_variance.tolist(),
            "invert": self.invert,
        }


def _joined(parts: Sequence[np.ndarray], source: Any) -> np.ndarray:
    """All samples of the batches; vectors are samples, as in Keras, unless their source
    says that it batches numbers."""
    if not parts[0].ndim:
        raise TypeError(
            "[adapt] a batch must be an array with one row per sample. Received: "
            f"{parts[0]!r}. Try batches of shape (n, features)."
        )
    if parts[0].ndim == 1:
        spec = getattr(getattr(source, "element_spec", None), "shape", (0,))
        axis = 1 if tuple(spec) == (None,) else 0
        parts = [np.expand_dims(part, axis) for part in parts]
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise ValueError(
            "[adapt] all batches must hold samples of the same shape. Received: "
            f"samples of shapes {', '.join(map(str, sorted(shapes)))}. Try one array."
        )
    return np.concatenate(parts)
