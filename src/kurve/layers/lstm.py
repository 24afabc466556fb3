"""The recurrent layers with built-in cells: LSTM, GRU and SimpleRNN.

They run like `RNN` with the same cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, Unpack

from kurve import activations, constraints, initializers, regularizers
from kurve.core.arguments import TypedDict
from kurve.core.naming import snake_case
from kurve.layers.base import Layer
from kurve.layers.cells import Cell, SimpleRNNCell
from kurve.layers.gates import GRUCell, LSTMCell
from kurve.layers.recurrent import RNN


class CommonArguments(TypedDict, total=False):
    """Arguments of every layer, except those listed explicitly here."""

    name: str | None
    trainable: bool
    dtype: Any
    autocast: bool
    input_shape: Any
    input_dim: int | None
    batch_input_shape: Any
    batch_size: int | None
    zero_output_for_mask: bool


class GatedArguments(CommonArguments, total=False):
    """Arguments of gated layers."""

    implementation: int


class Recurrent(RNN):
    """The base of layers with a built-in cell, whose arguments they take."""

    cell: Cell

    def _start(self, cell: type[Cell], given: dict[str, Any], **more: Any) -> None:
        """Construct the cell from those of the arguments that it takes, and the loop
        from the others.

        Args:
            given: all arguments, by their names in the constructor.
            more: other arguments of the cell.
        """
        own = {name: given[name] for name in cell.arguments}
        names = [n for n in (*RNN.arguments, "activity_regularizer") if n in given]
        super().__init__(
            cell(**own, **more, name=snake_case(cell.__name__)),
            **{name: given[name] for name in names},
            **given["common"],
        )

    def __getattr__(self, name: str) -> Any:
        """An argument of the cell."""
        if "cell" in vars(self) and name in self.cell.arguments:
            return getattr(self.cell, name)
        raise AttributeError(
            f"[{type(self).__name__}] the layer has no attribute {name!r}. "
            "Received: an unknown name. Try dir(layer)."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        config = {**Layer.get_config(self), **self._rows()}
        config.setdefault("activity_regularizer", None)
        own = self.cell.get_config()
        return {**config, **{k: v for k, v in own.items() if k in self.cell.arguments}}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a `get_config`."""
        return Layer.from_config.__func__(cls, config)  # type: ignore[attr-defined]


def _check_cudnn(where: str, use_cudnn: Any) -> Any:
    if isinstance(use_cudnn, bool) or (
        isinstance(use_cudnn, str) and use_cudnn == "auto"
    ):
        return use_cudnn
    raise ValueError(
        f"[{where}] use_cudnn must be 'auto', True or False; it has no effect. "
        f"Received: use_cudnn={use_cudnn!r}. Try 'auto'."
    )


class LSTM(Recurrent):
    """Long short-term memory: `LSTMCell`, step after step.

    Shapes:   x (B, T, F) -> y (B, units), or with return_sequences (B, T, units); with
              return_state also h and c, (B, units) each. Weights: see `LSTMCell`
    Source:   Hochreiter & Schmidhuber 1997; defaults follow keras.layers.LSTM.

    Args:
        units: at least 1.
        activation, recurrent_activation: name or object of `kurve.activations`, or None
            (identity).
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: name or object of
            `kurve.initializers`.
        unit_forget_bias: whether the bias of the forget gate starts at 1.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: name or object of
            `kurve.regularizers`.
        activity_regularizer: penalty of the output, see `Layer`.
        kernel_constraint, recurrent_constraint, bias_constraint: name or object of
            `kurve.constraints`.
        dropout, recurrent_dropout, seed: see `LSTMCell`.
        return_sequences, return_state, go_backwards, stateful, unroll,
            zero_output_for_mask: see `RNN`.
        use_cudnn: "auto", True or False; has no effect.
        implementation: 1 or 2; has no effect.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError, NotImplementedError: see `LSTMCell` and `RNN`.

    Example:
        >>> x = np.ones((2, 5, 3))
        >>> kurve.layers.LSTM(4)(x).shape
        (2, 4)
        >>> y, h, c = kurve.layers.LSTM(4, return_sequences=True, return_state=True)(x)
        >>> y.shape, h.shape
        ((2, 5, 4), (2, 4))
    """

    def __init__(
        self,
        units: int,
        activation: str | activations.Activation | None = "tanh",
        recurrent_activation: str | activations.Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        recurrent_initializer: str | initializers.Initializer = "orthogonal",
        bias_initializer: str | initializers.Initializer = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: str | regularizers.Regularizer | None = None,
        recurrent_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        activity_regularizer: str | regularizers.L1L2 | None = None,
        kernel_constraint: str | constraints.Constraint | None = None,
        recurrent_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        **common: Unpack[GatedArguments],
    ) -> None:
        self.use_cudnn = _check_cudnn(type(self).__name__, use_cudnn)
        self._start(LSTMCell, locals())


class GRU(Recurrent):
    """Gated recurrent unit: `GRUCell`, step after step.

    Shapes:   x (B, T, F) -> y (B, units), or with return_sequences (B, T, units); with
              return_state also h, (B, units). Weights: see `GRUCell`
    Source:   Cho et al. 2014; defaults follow keras.layers.GRU.

    Args:
        units: at least 1.
        activation, recurrent_activation: name or object of `kurve.activations`, or None
            (identity).
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: name or object of
            `kurve.initializers`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: name or object of
            `kurve.regularizers`.
        activity_regularizer: penalty of the output, see `Layer`.
        kernel_constraint, recurrent_constraint, bias_constraint: name or object of
            `kurve.constraints`.
        dropout, recurrent_dropout, seed: see `GRUCell`.
        return_sequences, return_state, go_backwards, stateful, unroll,
            zero_output_for_mask: see `RNN`.
        reset_after: see `GRUCell`.
        use_cudnn: "auto", True or False; has no effect.
        implementation: 1 or 2; has no effect.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError, NotImplementedError: see `GRUCell` and `RNN`.

    Example:
        >>> kurve.layers.GRU(4, return_sequences=True)(np.ones((2, 5, 3))).shape
        (2, 5, 4)
    """

    def __init__(
        self,
        units: int,
        activation: str | activations.Activation | None = "tanh",
        recurrent_activation: str | activations.Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        recurrent_initializer: str | initializers.Initializer = "orthogonal",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.Regularizer | None = None,
        recurrent_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        activity_regularizer: str | regularizers.L1L2 | None = None,
        kernel_constraint: str | constraints.Constraint | None = None,
        recurrent_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        **common: Unpack[GatedArguments],
    ) -> None:
        self.use_cudnn = _check_cudnn(type(self).__name__, use_cudnn)
        self._start(GRUCell, locals())


class SimpleRNN(Recurrent):
    """`SimpleRNNCell`, step after step.

    Shapes:   x (B, T, F) -> y (B, units), or with return_sequences (B, T, units); with
              return_state also h, (B, units). Weights: see `SimpleRNNCell`
    Source:   Elman 1990; defaults follow keras.layers.SimpleRNN.

    Args:
        units: at least 1.
        activation: name or object of `kurve.activations`, or None (identity).
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: name or object of
            `kurve.initializers`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: name or object of
            `kurve.regularizers`.
        activity_regularizer: penalty of the output, see `Layer`.
        kernel_constraint, recurrent_constraint, bias_constraint: name or object of
            `kurve.constraints`.
        dropout, recurrent_dropout, seed: see `SimpleRNNCell`.
        return_sequences, return_state, go_backwards, stateful, unroll,
            zero_output_for_mask: see `RNN`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError, NotImplementedError: see `SimpleRNNCell` and `RNN`.

    Example:
        >>> kurve.layers.SimpleRNN(4)(np.ones((2, 5, 3))).shape
        (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: str | activations.Activation | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        recurrent_initializer: str | initializers.Initializer = "orthogonal",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.Regularizer | None = None,
        recurrent_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        activity_regularizer: str | regularizers.L1L2 | None = None,
        kernel_constraint: str | constraints.Constraint | None = None,
        recurrent_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **common: Unpack[CommonArguments],
    ) -> None:
        self._start(SimpleRNNCell, locals())

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer, without seed, as in Keras."""
        config = super().get_config()
        if config["seed"] is None:
            del config["seed"]
        return config
