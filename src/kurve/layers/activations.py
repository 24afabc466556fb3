"""Activation layers with arguments or weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from kurve import initializers, regularizers
from kurve.activations import Activation
from kurve.core.arguments import check_number, from_signature, is_integer
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.plan import Op, Shape, VariableSpec

if TYPE_CHECKING:
    from kurve.constraints import Constraint


class AsLayer(Layer):
    """Base class; instances can also be activations of other layers:
    `Dense(8, activation=ReLU(max_value=6.0))`."""

    built_when_made = True

    _supports_masking = True

    is_activation = takes_scalars = takes_vectors = True

    @property
    def activation(self) -> Activation:
        """The activation that the layer computes."""
        raise NotImplementedError

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        attrs = self.activation.attrs()
        alone = Op("activation", self.name, input_shape, input_shape, attrs=attrs)
        return self.activation.ops(self.name, input_shape) or [alone]


class Identity(AsLayer):
    """y = x.

    Args:
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: an unknown argument.

    Example:
        >>> kurve.layers.Identity()([[1.0, -2.0]])
        array([[ 1., -2.]], dtype=float32)
    """

    def __init__(self, **common: Unpack[LayerArguments]) -> None:
        super().__init__(**common)

    @property
    def activation(self) -> Activation:
        return Activation("linear")


class ReLU(AsLayer):
    """y = x above the threshold, at most max_value; below it, negative_slope times the
    distance from the threshold.

    Source: Nair & Hinton 2010; arguments and defaults follow keras.layers.ReLU.

    Args:
        max_value: None or a number of at least 0.
        negative_slope, threshold: numbers of at least 0.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a number below 0.

    Example:
        >>> kurve.layers.ReLU(max_value=2.0, negative_slope=0.5)([[-2.0, 1.0, 3.0]])
        array([[-1.,  1.,  2.]], dtype=float32)
    """

    arguments = from_signature()

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        self.max_value = (
            None if max_value is None else _not_negative("ReLU", "max_value", max_value)
        )
        self.negative_slope = _not_negative("ReLU", "negative_slope", negative_slope)
        self.threshold = _not_negative("ReLU", "threshold", threshold)

    @property
    def activation(self) -> Activation:
        return Activation(
            "relu",
            max_value=self.max_value,
            negative_slope=self.negative_slope,
            threshold=self.threshold,
        )


class LeakyReLU(AsLayer):
    """y = x for x > 0, negative_slope x below.

    Source: Maas, Hannun & Ng 2013; defaults follow keras.layers.LeakyReLU.

    Args:
        negative_slope: a number of at least 0; also called alpha.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a negative slope, or both spellings given.

    Example:
        >>> kurve.layers.LeakyReLU()([[-2.0, 1.0]])
        array([[-0.6,  1. ]], dtype=float32)
    """

    arguments = ("negative_slope",)

    def __init__(
        self,
        negative_slope: float = 0.3,
        *,
        alpha: float | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        given = negative_slope if alpha is None else alpha
        self.negative_slope = _not_negative("LeakyReLU", "negative_slope", given)

    @property
    def activation(self) -> Activation:
        return Activation("leaky_relu", self.negative_slope)


class ELU(AsLayer):
    """y = x for x > 0, alpha (e^x - 1) below.

    Source: Clevert, Unterthiner & Hochreiter 2016; defaults follow keras.layers.ELU.

    Args:
        alpha: a finite number.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: alpha is not finite.

    Example:
        >>> kurve.layers.ELU(0.5)([[-100.0, 1.0]])
        array([[-0.5,  1. ]], dtype=float32)
    """

    arguments = from_signature()

    def __init__(self, alpha: float = 1.0, **common: Unpack[LayerArguments]) -> None:
        super().__init__(**common)
        self.alpha = Activation("elu", 1.0 if alpha is None else alpha).alpha

    @property
    def activation(self) -> Activation:
        return Activation("elu", self.alpha)


class PReLUArguments(LayerArguments, total=False):
    """Keras arguments of `PReLU`."""

    alpha_constraint: str | Constraint | None


class PReLU(Layer):
    """y = x for x > 0, alpha x below, with a trainable slope alpha.

    Shapes:   x (B, ..., C), alpha (..., C) with 1 along the shared axes -> y as x
    Backward: dx = dy or alpha dy; dalpha = sum of x dy where x < 0
    Source:   He et al. 2015; defaults follow keras.layers.PReLU.

    Args:
        alpha_initializer: name or object of `kurve.initializers`.
        alpha_regularizer: name or object of `kurve.regularizers`.
        alpha_constraint: name or object of `kurve.constraints`.
        shared_axes: axes along which slopes are shared, including the batch axis in the
            count: [1, 2] for one slope per channel of an image.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an axis that samples do not have, or an unknown name.

    Example:
        >>> layer = kurve.layers.PReLU(alpha_initializer="ones", shared_axes=[1, 2])
        >>> layer(np.ones((5, 8, 8, 3))).shape
        (5, 8, 8, 3)
        >>> layer.weights[0].shape
        (1, 1, 3)
    """

    _supports_masking = True

    arguments = from_signature()
    constrained: Mapping[str, str] = {"alpha": "alpha_constraint"}

    def __init__(
        self,
        alpha_initializer: str | initializers.Initializer = "Zeros",
        alpha_regularizer: str | regularizers.Regularizer | None = None,
        shared_axes: int | Sequence[int] | None = None,
        **common: Unpack[PReLUArguments],
    ) -> None:
        super().__init__(**common)
        self.alpha_initializer = initializers.of_weight(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        axes = [shared_axes] if is_integer(shared_axes) else shared_axes
        if axes is not None and (
            not isinstance(axes, (list, tuple)) or not all(map(is_integer, axes))
        ):
            raise ValueError(
                "[PReLU] shared_axes must be None or axes, counted with the batch axis."
                f" Received: shared_axes={shared_axes!r}. Try shared_axes=[1, 2]."
            )
        self.shared_axes = None if axes is None else tuple(map(int, axes))
        self.alpha: Variable

    def alpha_shape(self, input_shape: Shape) -> Shape:
        """Shape of alpha for samples of that shape."""
        axes = self.shared_axes or ()
        if any(not 1 <= axis <= len(input_shape) for axis in axes):
            raise ValueError(
                f"[PReLU] shared_axes must be from 1 to {len(input_shape)} for samples "
                f"of shape {input_shape}. Received: shared_axes={axes}. "
                "Try shared_axes=None."
            )
        return tuple(1 if a in axes else n for a, n in enumerate(input_shape, 1))

    def make_variables(self, input_shape: Shape) -> None:
        self.alpha = self.add_weight(
            self.alpha_shape(input_shape),
            self.alpha_initializer,
            name="alpha",
            regularizer=self.alpha_regularizer,
        )

    def check_input(self, input_shape: Shape) -> None:
        expected = self.alpha.shape
        if self.alpha_shape(input_shape) != expected:
            raise ValueError(
                f"[PReLU] layer {self.name!r} has slopes of shape {expected}, which "
                f"samples must fit. Received: {input_shape}. Try a new layer."
            )

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        from kurve.ops.elementwise import RULES
        from kurve.ops.tape import Builder

        build = Builder(RULES, 2)
        below = build.op("relu", build.op("neg", 0))
        y = build.op("sub", build.op("relu", 0), build.op("mul", 1, below))
        tape = build.finish([y])
        return [Op("map", self.name, input_shape, input_shape, params=slots, tape=tape)]


def _not_negative(where: str, name: str, value: Any) -> float:
    return check_number(where, name, value, 0.1, 0)
