"""Layers that encode categories as numbers, called on arrays or in a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import (
    check_choice,
    check_integer,
    check_number,
    check_unused,
    from_signature,
)
from kurve.core.arrays import as_numbers
from kurve.core.results import result
from kurve.formulas import functions as ops
from kurve.formulas.graph import Tensor
from kurve.formulas.tensor import KerasTensor, Node, leaves
from kurve.layers.adapting import batches
from kurve.layers.base import Layer, NamedArguments
from kurve.plan import Op, Shape, VariableSpec

MODES = ("int", "one_hot", "multi_hot", "count")


class EncodingArguments(NamedArguments, total=False):
    """Arguments of layers called on arrays."""

    trainable: bool
    sparse: bool


class Encoding(Layer):
    """Base class of layers called on arrays: `model.fit(layer(x), y)`. Those with a
    formula also work anywhere in a model, where they cannot check for invalid numbers,
    which then are zero rows. The others can read the inputs of a model: they encode its
    input arrays before the engine runs.
    """

    takes_scalars = True

    def __init__(self, **common: Unpack[EncodingArguments]) -> None:
        check_unused(type(self).__name__, sparse=common.pop("sparse", False))
        super().__init__(**common)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        return self.refuse_model()

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        if not self.has_formula:
            return self.encoded_shape((None, *input_shape))[1:]
        return super().output_sample_shape(input_shape)

    @property
    def encodes_first(self) -> bool:
        """Whether it must come before the numeric layers in a Sequential."""
        return not self.has_formula

    def encoded_shape(self, *shapes: Any) -> Any:
        """The shape of the encoding for inputs of these shapes, with the batch axis."""
        raise NotImplementedError

    def is_symbolic(self, x: Any) -> bool:
        """Whether x is a symbolic tensor of a model."""
        return any(isinstance(leaf, (KerasTensor, Tensor)) for leaf in leaves(x))

    def __call__(self, x: Any, **named: Any) -> Any:  # type: ignore[override]
        """Apply the layer to a tensor of a model: by the formula, if there is one and x
        is numeric; otherwise before the engine."""
        tensors = list(leaves(x))
        known = getattr(self, "num_oov_indices", 1) > 0  # else numbers may be refused
        if (self.has_formula and known) and not any(
            getattr(tensor, "dtype", "") == "string" for tensor in tensors
        ):
            return super().__call__(x, **named)
        if not all(isinstance(tensor, KerasTensor) for tensor in tensors):
            return self.refuse_model()
        shape = self.encoded_shape(*(tensor.shape for tensor in tensors))
        whole = getattr(self, "output_mode", "int") == "int"
        out = KerasTensor(shape, "int32" if whole else "float32")
        Node(self, (x,), {}, out).encodes = True
        return out

    def refuse_model(self) -> Any:
        """Refuse use as a layer inside a model."""
        raise ValueError(
            f"[{type(self).__name__}] this layer can only be called on arrays or "
            f"inputs of a model. Received: the layer {self.name!r} inside a model. "
            "Try it on Input(shape=(1,), dtype='string'), or model.fit(layer(x), y)."
        )

    def mode(self, given: Any, known: Sequence[str] = MODES) -> str:
        """The output_mode, by its current name."""
        given = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(str(given), given)
        return str(check_choice(type(self).__name__, "output_mode", given, known))

    def count(self, name: str, value: Any, low: int = 1) -> int:
        check_integer(type(self).__name__, name, value, 10, low)
        return int(value)


def encoded(
    indices: np.ndarray, mode: str, depth: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Encode integers from 0 to depth - 1: as they are ("int"); as one-hot rows
    ("one_hot"; a last axis of 1 is replaced); or, per sample, as a row with 1 for each
    integer present ("multi_hot") or its number of occurrences ("count"). Other integers
    are ignored.

    Args:
        weights: for "count", the weight of each integer.
    """
    if mode == "int":
        return indices
    if indices.ndim == 0:
        indices = indices[None]
    if mode == "one_hot" and indices.ndim > 1 and indices.shape[-1] == 1:
        indices = indices[..., 0]
    hot = (indices[..., None] == np.arange(depth)).astype(np.float32)
    if mode == "one_hot":
        return hot
    axis = min(1, indices.ndim - 1)
    if mode == "multi_hot":
        return np.asarray(hot.max(axis=axis, initial=0.0))
    if weights is not None:
        hot = hot * weights[..., None]
    return np.asarray(hot.sum(axis=axis, dtype=np.float32))


def shape_of_encoded(shape: Any, mode: str, depth: int) -> tuple[int | None, ...]:
    """The shape of `encoded` for indices of that shape, with the batch axis."""
    shape = tuple(shape)
    if mode == "int":
        return shape
    if mode == "one_hot":
        single = len(shape) > 1 and shape[-1] == 1
        return (*(shape[:-1] if single else shape), depth)
    return (*shape[:1], *shape[2:], depth)


def traced(x: Any, mode: str, depth: int, weights: Any = None) -> Any:
    """`encoded` as a formula, for symbolic tensors."""
    if mode == "int":
        return ops.cast(x, "int32")
    if mode == "one_hot" and x.ndim > 1 and x.shape[-1] == 1:
        x = ops.squeeze(x, -1)
    hot = ops.one_hot(x, depth)
    if mode == "one_hot":
        return hot
    axis = min(1, x.ndim - 1)
    if mode == "multi_hot":
        return ops.max(hot, axis=axis)
    return ops.sum(
        hot if weights is None else hot * ops.expand_dims(weights, -1), axis=axis
    )


def as_integers(where: str, x: Any) -> np.ndarray:
    """Convert integers to int64.

    Raises:
        ValueError: other numbers.
    """
    array = as_numbers(where, "x", x)
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
    if not (whole == array).all():
        raise ValueError(
            f"[{where}] x must hold whole numbers. "
            f"Received: {array[whole != array].flat[0]}. Try x.astype(int)."
        )
    return np.asarray(whole)


class CategoryEncoding(Encoding):
    """Encode class numbers as rows of zeros and ones, or of counts.

    Shapes: x (..., L) -> y (..., num_tokens); "one_hot": x (B, 1) -> y (B,
            num_tokens), and any other x -> y (*x.shape, num_tokens)
    Source: arguments and values follow keras.layers.CategoryEncoding.

    Args:
        num_tokens: number of classes, at least 1.
        output_mode: "one_hot": one row per number; "multi_hot": one row per
            sample, with 1 for each class in it; "count": with the number of
            occurrences.
        sparse: False.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a number that is not a class, or an unknown mode.

    Example:
        >>> kurve.layers.CategoryEncoding(3)([[0, 1], [2, 2]])
        array([[1., 1., 0.],
               [0., 0., 1.]], dtype=float32)
    """

    arguments = from_signature()

    def __init__(
        self,
        num_tokens: int,
        output_mode: str = "multi_hot",
        **common: Unpack[EncodingArguments],
    ) -> None:
        super().__init__(**common)
        self.num_tokens = self.count("num_tokens", num_tokens)
        self.output_mode = self.mode(output_mode, MODES[1:])

    def __call__(  # type: ignore[override]
        self, x: Any, count_weights: Any = None
    ) -> np.ndarray:
        """Encode x.

        Args:
            x: whole numbers from 0 to num_tokens - 1.
            count_weights: with "count", the weight of each number.
        """
        if self.is_symbolic((x, count_weights)):
            given = {} if count_weights is None else {"count_weights": count_weights}
            return super().__call__(x, **given)
        indices, weights = as_integers("CategoryEncoding", x), None
        if ((indices < 0) | (indices >= self.num_tokens)).any():
            wrong = indices[(indices < 0) | (indices >= self.num_tokens)].flat[0]
            raise ValueError(
                f"[CategoryEncoding] x must be from 0 to {self.num_tokens - 1}. "
                f"Received: {wrong}. Try num_tokens={max(wrong + 1, 1)}."
            )
        if count_weights is not None:
            if self.output_mode != "count":
                raise ValueError(
                    "[CategoryEncoding] count_weights need output_mode='count'. "
                    f"Received: output_mode={self.output_mode!r}. "
                    "Try output_mode='count'."
                )
            weights = as_numbers("CategoryEncoding", "count_weights", count_weights)
            if weights.shape != indices.shape:
                raise ValueError(
                    "[CategoryEncoding] count_weights must have the shape of x, "
                    f"{indices.shape}. Received: shape {weights.shape}. "
                    "Try one weight for each number."
                )
        return result(encoded(indices, self.output_mode, self.num_tokens, weights))

    def call(self, x: Any, count_weights: Any = None) -> Any:
        """The forward pass in a model."""
        return traced(x, self.output_mode, self.num_tokens, count_weights)


class Discretization(Encoding):
    """Replace numbers by the indices of their bins.

    y = number of boundaries <= x. `adapt` finds boundaries of bins with about equal
    counts, from a summary with relative error epsilon.

    Source: arguments and values follow keras.layers.Discretization.

    Args:
        bin_boundaries: increasing boundaries between the bins.
        num_bins: number of bins for `adapt` to create; pass one of the two.
        epsilon: the accuracy of `adapt`, in (0, 1).
        output_mode: "int", "one_hot", "multi_hot" or "count", see `CategoryEncoding`.
        sparse: False.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: neither or both of the two, or boundaries that do not increase.

    Example:
        >>> kurve.layers.Discretization([0.0, 1.0])([[-0.5, 0.0, 7.0]])
        array([[0, 1, 2]], dtype=int32)
    """

    arguments = from_signature()

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        **common: Unpack[EncodingArguments],
    ) -> None:
        super().__init__(**common)
        if (bin_boundaries is None) == (num_bins is None):
            raise ValueError(
                "[Discretization] pass either bin_boundaries or num_bins. "
                f"Received: bin_boundaries={bin_boundaries!r}, num_bins={num_bins!r}. "
                "Try num_bins=10 and layer.adapt(x)."
            )
        check_number("Discretization", "epsilon", epsilon, 0.01, 0, 1, "()")
        self.num_bins = None if num_bins is None else self.count("num_bins", num_bins)
        self.epsilon, self.output_mode = float(epsilon), self.mode(output_mode)
        self.bin_boundaries: tuple[float, ...] | None = None
        if bin_boundaries is not None:
            array = as_numbers("Discretization", "bin_boundaries", bin_boundaries)
            if array.ndim != 1 or not (np.diff(array) > 0).all():
                raise ValueError(
                    "[Discretization] bin_boundaries must increase. "
                    f"Received: {bin_boundaries!r}. Try [0.0, 1.0]."
                )
            self.bin_boundaries = tuple(array.tolist())

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Discretization:
        """Create the layer from `get_config`, adapted if it was."""
        given = dict(config)
        if given.get("num_bins") is None or given.get("bin_boundaries") is None:
            return cls(**given)
        boundaries = given.pop("bin_boundaries")
        layer = cls(**given)
        layer.bin_boundaries = tuple(boundaries)
        return layer

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Find the boundaries.

        Args:
            data: an array, or an iterable of batches.
            steps: number of batches to use; None for all.

        Raises:
            ValueError: boundaries were passed, or the data has no finite numbers.
        """
        if self.num_bins is None:
            raise ValueError(
                "[Discretization] adapt needs num_bins instead of bin_boundaries. "
                f"Received: bin_boundaries={self.bin_boundaries}. Try num_bins=10."
            )
        values = np.zeros(0, np.float32)
        weights = values
        for batch in batches(data, steps):
            new = np.sort(as_numbers("adapt", "data", batch, np.float32).ravel())
            if not new.size or not np.isfinite(new).all():
                raise ValueError(
                    "[adapt] data must be finite numbers. Received: an array of shape "
                    f"{new.shape}. Try data without NaN."
                )
            step = max(new.size * self.epsilon, 1.0)
            new = new[int(step - 1) :: int(step)]
            values = np.concatenate([new, values])
            weights = np.concatenate([np.full_like(new, step), weights])
            order = np.argsort(values)
            values, weights = _compressed(values[order], weights[order], self.epsilon)
        boundaries, _ = _compressed(values, weights, 1.0 / self.num_bins)
        self.bin_boundaries = tuple(boundaries[:-1].tolist())

    def __call__(self, x: Any) -> np.ndarray:  # type: ignore[override]
        """The bin indices of x."""
        if self.is_symbolic(x):
            return super().__call__(x)
        bounds = self._check_bins()
        bins = np.digitize(as_numbers("Discretization", "x", x), bounds)
        depth = len(bounds) + 1
        return result(encoded(np.asarray(bins, np.int32), self.output_mode, depth))

    def call(self, x: Any) -> Any:
        """The forward pass in a model."""
        edges = np.asarray(self._check_bins(), np.float32)
        above = ops.greater_equal(ops.expand_dims(x, -1), edges)
        bins = ops.sum(ops.cast(above, "float32"), axis=-1)
        return traced(bins, self.output_mode, len(edges) + 1)

    def _check_bins(self) -> tuple[float, ...]:
        """The boundaries."""
        if self.bin_boundaries is None:
            raise ValueError(
                "[Discretization] there are no bins yet. "
                "Received: a call. Try layer.adapt(x)."
            )
        return self.bin_boundaries


def _compressed(
    values: np.ndarray, weights: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """About 1 / epsilon of the sorted values, at equal steps of cumulative weight."""
    if len(values) * epsilon < 1:
        return values, weights
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    total = weights.cumsum()
    chosen = np.interp(shares, total / total[-1], values)
    reached = np.interp(shares, total / total[-1], total)
    steps = np.diff(reached, prepend=0.0)
    return chosen.astype(np.float32), steps.astype(np.float32)
