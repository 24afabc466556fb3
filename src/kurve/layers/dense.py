"""The densely connected layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Unpack

from kurve import activations, initializers, regularizers
from kurve.core.arguments import check_flag, check_integer, from_signature
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.plan import Op, Shape, VariableSpec

if TYPE_CHECKING:
    from kurve.constraints import Constraint


class DenseArguments(LayerArguments, total=False):
    """Keras's arguments of `Dense`."""

    kernel_constraint: str | Constraint | None
    bias_constraint: str | Constraint | None
    lora_rank: None
    lora_alpha: None
    quantization_config: None


class Dense(Layer):
    """Affine map and activation: y = activation(x @ kernel + bias).

    Shapes:   x (B, ..., I), kernel (I, O), bias (O,) -> y (B, ..., O)
    Backward: dz = dy * activation'(z); dx = dz @ kernel.T; dkernel = x.T @ dz;
              dbias = sum of dz over B, ...
    Source:   Rumelhart, Hinton & Williams 1986; defaults follow keras.layers.Dense.

    Args:
        units: O, at least 1.
        activation: name or object of `kurve.activations`, or None (identity).
        use_bias: whether to add a bias.
        kernel_initializer, bias_initializer: name or object of `kurve.initializers`.
        kernel_regularizer, bias_regularizer: name or object of `kurve.regularizers`.
        kernel_constraint, bias_constraint: name or object of `kurve.constraints`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: units below 1, or an unknown name.

    Example:
        >>> layer = kurve.layers.Dense(2, activation="relu")
        >>> layer(np.ones((5, 3))).shape
        (5, 2)
        >>> [w.shape for w in layer.weights]
        [(3, 2), (2,)]
    """

    _supports_masking = True

    arguments = from_signature()

    constrained: Mapping[str, str] = {
        "kernel": "kernel_constraint",
        "bias": "bias_constraint",
    }

    activation = activations.Chosen()

    def __init__(
        self,
        units: int,
        activation: str | activations.Activation | None = None,
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        **common: Unpack[DenseArguments],
    ) -> None:
        check_integer("Dense", "units", units, 64)
        super().__init__(**common)
        self.units = int(units)
        self.activation = activation
        self.use_bias = check_flag("Dense", "use_bias", use_bias)
        self.kernel_initializer = initializers.of_weight(kernel_initializer)
        self.bias_initializer = initializers.of_weight(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel: Variable
        self.bias: Variable | None = None

    def make_variables(self, input_shape: Shape) -> None:
        if not input_shape:
            raise ValueError(
                f"[{type(self).__name__}] x must have an axis besides the batch "
                "axis. Received: samples of shape (). Try ops.expand_dims(x, -1)."
            )
        self.kernel = self.add_weight(
            (input_shape[-1], self.units),
            self.kernel_initializer,
            name="kernel",
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,),
                self.bias_initializer,
                name="bias",
                regularizer=self.bias_regularizer,
            )

    def check_input(self, input_shape: Shape) -> None:
        features = self.kernel.shape[0]
        if input_shape[-1] != features:
            raise ValueError(
                f"[Dense] layer {self.name!r} expected the last axis of its input to "
                f"be {features}, because its kernel is {self.kernel.shape}. Received: "
                f"{input_shape[-1]} in samples of shape {input_shape}. Try a new layer."
            )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        attrs = self.activation.attrs()
        dense = Op("dense", self.name, input_shape, shape, slots, attrs=attrs)
        return [dense, *self.activation.ops(self.name, shape)]
