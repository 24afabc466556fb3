"""Input, Activation and Dropout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from kurve import activations
from kurve.core import rng
from kurve.core.arguments import (
    check_batch_size,
    check_flag,
    check_number,
    check_unused,
    from_signature,
    is_count,
)
from kurve.core.dtypes import name_of_dtype
from kurve.core.entries import entry
from kurve.core.rng import check_seed
from kurve.formulas.tensor import KerasTensor, Node
from kurve.layers.activations import AsLayer
from kurve.layers.base import (
    Layer,
    LayerArguments,
    UnusedArguments,
    check_batch_shape,
    check_shape,
)
from kurve.plan import Attr, Op, Shape, VariableSpec


class InputArguments(UnusedArguments, total=False):
    """Arguments of `InputLayer` besides the shape."""

    name: str | None
    trainable: bool
    autocast: bool
    ragged: bool | None
    input_tensor: None
    optional: bool


class InputLayer(Layer):
    """Declares the shape of one sample. It computes nothing and is not in
    `model.layers`; `Input` creates one.

    Args: as for `Input`, with `input_tensor` for `tensor`.

    Raises:
        ValueError: as `Input`.

    Example:
        >>> kurve.layers.InputLayer(batch_shape=(32, 3)).batch_shape
        (32, 3)
    """

    takes_scalars = True

    def __init__(
        self,
        shape: Sequence[int] | int | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        *,
        batch_shape: Sequence[int | None] | None = None,
        input_shape: Sequence[int] | int | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
        **common: Unpack[InputArguments],
    ) -> None:
        check_flag("Input", "sparse", False if sparse is None else sparse)
        shapes = {
            "shape": shape,
            "batch_shape": batch_shape,
            "input_shape": input_shape,
            "batch_input_shape": batch_input_shape,
        }
        given = {key: value for key, value in shapes.items() if value is not None}
        if len(given) != 1 or (batch_size is not None and "batch" in next(iter(given))):
            if batch_size is not None:
                given["batch_size"] = batch_size
            shown = ", ".join(f"{key}={value!r}" for key, value in given.items())
            raise ValueError(
                "[Input] the shape must be passed once, as shape, with or "
                "without batch_size, or as batch_shape. "
                f"Received: {shown or 'no shape'}. Try Input(shape=(1,))."
            )
        (key, value), size = next(iter(given.items())), batch_size
        if "batch" in key:
            size, value = check_batch_shape(type(self), value)
        self.batch_size = check_batch_size("Input", size)
        super().__init__(input_shape=check_shape(type(self), value), **common)
        self.dtype = check_input_dtype(dtype)
        self.given_batch_size = self.batch_size
        self.built_shape = self.given_input_shape
        kind = str(self.dtype)
        Node(self, (), {}, KerasTensor(self.batch_shape, kind, name=self.name))

    def check_input(self, input_shape: Any) -> None:
        """Accepts any shape: the layer is not called."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """(None, ...): batches of any size fit."""
        assert self.given_input_shape is not None
        return (None, *self.given_input_shape)

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """The shape with the batch size, if one was passed."""
        return (self.batch_size, *self.shape[1:])


NUMBERS = ("float", "int", "uint", "bool", "bfloat")


def check_input_dtype(dtype: Any) -> str:
    """The dtype of a model's input: "string" for texts, or a numeric dtype. Numbers are
    converted to float32, uint8 images batch by batch.

    Raises:
        ValueError: another dtype.
    """
    name = name_of_dtype(dtype) or "float32"
    if name != "string" and name.rstrip("0123456789") not in NUMBERS:
        raise ValueError(
            "[Input] dtype must be numeric or 'string'. "
            f"Received: dtype={dtype!r}. Try dtype='float32'."
        )
    return name


@entry
def Input(
    shape: Sequence[int] | int | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: None = None,
    optional: bool = False,
) -> KerasTensor:
    """A symbolic tensor: an input of a model.

    Args:
        shape: of one sample, without the batch axis: positive integers, or None for
            sizes that can differ between batches.
        batch_size: None or the fixed batch size, which only stateful layers need; other
            layers accept batches of any size.
        dtype: dtype of the incoming numbers, which are converted to float32; or
            "string" for texts, to be read by StringLookup, TextVectorization, Hashing
            or HashedCrossing.
        sparse: accepted for compatibility: every input takes sparse matrices.
        ragged: None or False.
        batch_shape: shape with a leading batch axis, instead of both.
        name: derived from the class if None.
        tensor: must be None.
        optional: must be False.

    Raises:
        ValueError: no shape or two, sizes that are not positive, or unsupported values.

    Example:
        >>> model = kurve.Sequential([kurve.Input((3,)), kurve.layers.Dense(1)])
        >>> model.output_shape
        (None, 1)
    """
    check_unused("Input", ragged=ragged, tensor=tensor, optional=optional)
    layer = InputLayer(
        shape, batch_size, dtype, sparse=sparse, batch_shape=batch_shape, name=name
    )
    made: KerasTensor = layer.output
    return made


class Activation(AsLayer):
    """y = f(x), elementwise; softmax works along the last axis.

    Args:
        activation: name or object of `kurve.activations`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an unknown name.
        TypeError: a function, which engines cannot differentiate.

    Example:
        >>> kurve.layers.Activation("relu")([[-1.0, 2.0]])
        array([[0., 2.]], dtype=float32)
    """

    arguments = from_signature()

    activation = activations.Chosen()

    def __init__(
        self, activation: str | activations.Activation, **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        self.activation = activation


class Dropout(Layer):
    """In training, sets each element to 0 with probability `rate` and scales the others
    by 1 / (1 - rate); in prediction it does nothing.

    Which elements are dropped depends only on the model's seed, the layer's position
    and the step, so a repeated or resumed run drops the same ones. With a seed, it
    depends only on the seed and the step (or, when the layer is called directly, on the
    number of training calls): layers with the same seed drop the same elements.
    Source: Srivastava et al. 2014.

    Args:
        rate: in [0, 1]; with 1 everything is dropped.
        noise_shape: shape of the mask, with the batch axis: None or the input's size
            for axes with independent elements, 1 for axes along which the mask is
            shared: (None, 1, 8) drops a feature in all steps. Axes of size 1 must be
            adjacent; the batch axis cannot be one.
        seed: an integer, a `SeedGenerator`, or None for the model's.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: rate outside [0, 1], or a noise_shape that does not fit.
        TypeError: a seed of another type.

    Example:
        >>> x = np.ones((1, 4))
        >>> kurve.layers.Dropout(0.5)(x)
        array([[1., 1., 1., 1.]], dtype=float32)
        >>> set(kurve.layers.Dropout(0.5)(x, training=True).ravel()) <= {0.0, 2.0}
        True
    """

    built_when_made = True

    _supports_masking = takes_scalars = takes_vectors = True

    arguments = from_signature()

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: Any = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        self.rate = checked_rate(type(self), rate)
        self.noise_shape = checked_noise_shape(type(self), noise_shape)
        self.seed = check_seed(type(self).__name__, seed)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        shared_axes(type(self), self.noise_shape, input_shape)
        return input_shape

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shared = shared_axes(type(self), self.noise_shape, input_shape)
        attrs = {"rate": self.rate, **shared, **random_stream(self.seed, index)}
        return [Op("dropout", self.name, input_shape, input_shape, attrs=attrs)]


def checked_noise_shape(cls: type, noise_shape: Any) -> tuple[int | None, ...] | None:
    """Validate a noise_shape: sizes of mask axes, each an integer or None."""
    if noise_shape is None:
        return None
    if not isinstance(noise_shape, (list, tuple)) or not all(
        one is None or is_count(one) for one in noise_shape
    ):
        raise ValueError(
            f"[{cls.__name__}] noise_shape must be None or a sequence of None and "
            f"positive integers, with the batch axis. Received: noise_shape="
            f"{noise_shape!r}. Try noise_shape=(None, 1, 8)."
        )
    return tuple(None if one is None else int(one) for one in noise_shape)


def shared_axes(
    cls: type, noise_shape: tuple[Any, ...] | None, input_shape: Shape
) -> dict[str, Attr]:
    """The attributes `shared` and `channels` of a dropout op with that noise_shape."""
    if noise_shape is None:
        return {}
    rows, *given = noise_shape or (None,)
    fits = rows is None or (is_count(rows) and rows > 1)
    fits = fits and len(given) == len(input_shape)
    sizes = list(zip(given, input_shape, strict=False))
    fits = fits and all(one in (None, 1, size) for one, size in sizes)
    axes = [axis for axis, one in enumerate(given) if one == 1]
    first, last = (axes[0], axes[-1] + 1) if axes else (0, 0)
    if not fits or any(one != 1 and size > 1 for one, size in sizes[first:last]):
        example = (None, *(1 for _ in input_shape[:-1]), input_shape[-1])
        raise ValueError(
            f"[{cls.__name__}] noise_shape must have the batch axis, None, and for "
            "every other axis None, its size, or 1 to share the mask; axes "
            f"of size 1 must be adjacent. Received: noise_shape={noise_shape} for "
            f"samples of shape {input_shape}. Try noise_shape={example}."
        )
    shared = math.prod(input_shape[first:last])
    if shared == 1:
        return {}
    return {"shared": shared, "channels": math.prod(input_shape[last:])}


def random_stream(seed: int | None, index: int) -> dict[str, Attr]:
    """The random stream attributes of the layer at that position in a plan."""
    if seed is None:
        return {"stream": index}
    return {"stream": 0, "seed": seed & rng.LARGEST_SEED}


def checked_rate(cls: type, rate: Any) -> float:
    """A share of elements to drop, in [0, 1]."""
    return check_number(cls.__name__, "rate", rate, 0.5, 0, 1)
