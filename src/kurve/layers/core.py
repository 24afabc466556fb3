"""Input, Activation and Dropout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from kurve import activations
from kurve.core.arguments import is_number
from kurve.core.entries import entry
from kurve.formulas.tensor import KerasTensor, Node
from kurve.layers.base import (
    Layer,
    LayerArguments,
    UnusedArguments,
    check_shape,
)
from kurve.plan import Op, Shape, VariableSpec


class UnusedInputArguments(UnusedArguments, total=False):
    """Keras's arguments of `Input`, and whether it is trainable."""

    trainable: bool
    batch_size: None
    sparse: bool | None
    ragged: bool | None
    batch_shape: None
    tensor: None
    input_tensor: None
    optional: bool


class InputArguments(UnusedInputArguments, total=False):
    """Arguments of `InputLayer` beside the shape."""

    name: str | None


class InputLayer(Layer):
    """Gives the shape of one sample. It computes nothing and is not in `model.layers`;
    `Input` makes one.
    """

    takes_scalars = True

    def __init__(
        self, shape: Sequence[int] | int, **common: Unpack[InputArguments]
    ) -> None:
        super().__init__(input_shape=check_shape(type(self), shape), **common)
        self.built_shape = self.given_input_shape
        Node(self, (), {}, KerasTensor(self.shape, name=self.name))

    def check_input(self, input_shape: Any) -> None:
        """Any shape: the layer is not called."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        assert self.given_input_shape is not None
        return (None, *self.given_input_shape)


@entry
def Input(
    shape: Sequence[int] | int,
    *,
    name: str | None = None,
    **unused: Unpack[UnusedInputArguments],
) -> KerasTensor:
    """A symbolic tensor: an input of a model.

    Args:
        shape: of one sample, without the batch axis: positive integers, or None for
            a size that may differ from batch to batch.
        name: made from the class if None.
        unused: Keras's other arguments, with their defaults.

    Raises:
        ValueError: not a tuple of positive integers.

    Example:
        >>> model = kurve.Sequential([kurve.Input((3,)), kurve.layers.Dense(1)])
        >>> model.output_shape
        (None, 1)
    """
    tensor: KerasTensor = InputLayer(shape, name=name, **unused).output
    return tensor


class Activation(Layer):
    """y = f(x), element by element; softmax is taken over the last axis.

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

    arguments = ("activation",)

    activation = activations.Chosen()

    def __init__(
        self, activation: str | activations.Activation, **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        self.activation = activation

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        if self.activation.name == "softmax":
            return [Op("softmax", self.name, input_shape, input_shape)]
        attrs = self.activation.attrs()
        return [Op("activation", self.name, input_shape, input_shape, attrs=attrs)]


class DropoutArguments(LayerArguments, total=False):
    """Keras's arguments of `Dropout`."""

    noise_shape: None
    seed: None


class Dropout(Layer):
    """In training, sets each element to 0 with probability `rate` and scales the others
    by 1 / (1 - rate); in prediction it does nothing.

    Which elements are dropped depends only on the model's seed, the layer's position
    and the step, so that a repeated or resumed run drops the same ones.
    Source: Srivastava et al. 2014.

    Args:
        rate: in [0, 1]; with 1 everything is dropped.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: rate outside [0, 1].

    Example:
        >>> x = np.ones((1, 4))
        >>> kurve.layers.Dropout(0.5)(x)
        array([[1., 1., 1., 1.]], dtype=float32)
        >>> set(kurve.layers.Dropout(0.5)(x, training=True).ravel()) <= {0.0, 2.0}
        True
    """

    arguments = ("rate",)

    def __init__(self, rate: float, **common: Unpack[DropoutArguments]) -> None:
        super().__init__(**common)
        self.rate = checked_rate(type(self), rate)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        attrs = {"rate": self.rate, "stream": index}
        return [Op("dropout", self.name, input_shape, input_shape, attrs=attrs)]


def checked_rate(cls: type, rate: Any) -> float:
    """A share of elements to drop, in [0, 1]."""
    if not is_number(rate) or not 0.0 <= rate <= 1.0:
        raise ValueError(
            f"[{cls.__name__}] rate must be in [0, 1]. "
            f"Received: rate={rate!r}. Try {cls.__name__}(0.5)."
        )
    return float(rate)
