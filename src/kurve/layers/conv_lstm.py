"""Convolutional LSTM layers: images, step after step."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from kurve import activations, constraints, initializers, regularizers
from kurve.layers.arguments import check_data_format
from kurve.layers.base import Variable
from kurve.layers.convolution import Conv1D, Conv2D, Conv3D
from kurve.layers.gates import LSTMCell
from kurve.layers.lstm import CommonArguments, Recurrent
from kurve.layers.windows import Sizes
from kurve.plan import Shape


class ConvLSTMCell(LSTMCell):
    """An LSTM cell whose products are convolutions: of x with `strides`, `padding` and
    `dilation_rate`, and of h with its size unchanged. The arguments are those of
    `ConvLSTM2D`.
    """

    kind = ""
    arguments = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
        *LSTMCell.arguments[1:],
    )

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes,
        padding: str,
        data_format: str | None,
        dilation_rate: Sizes,
        rank: int,
        where: str,
        **given: Any,
    ) -> None:
        if check_data_format(type(self), data_format) != "channels_last":
            raise ValueError(
                f"[{where}] data_format must be 'channels_last'. Received: "
                f"data_format={data_format!r}. Try layers.Permute."
            )
        self._convolution = (Conv1D, Conv2D, Conv3D)[rank - 1]
        try:
            conv: Any = self._convolution(
                filters,
                kernel_size,
                strides,
                padding,
                data_format=data_format,
                dilation_rate=dilation_rate,
                name="conv",
            )
        except ValueError as error:
            own = str(error).replace(f"[{self._convolution.__name__}]", f"[{where}]")
            raise ValueError(own) from None
        super().__init__(conv.filters, **given)
        self.filters = self.units
        self.rank, self.kernel_size, self.strides = rank, conv.kernel_size, conv.strides
        self.padding, self.dilation_rate = conv.padding, conv.dilation_rate
        self.data_format = "channels_last"
        self._state_sample: Shape = ()

    def build(self, input_shape: Any) -> None:
        """Make kernel, recurrent kernel and bias."""
        self._state_sample = self.output_sample_shape(tuple(input_shape[1:]))
        super().build(input_shape)

    def _kernel_shapes(self, channels: int) -> tuple[Shape, Shape]:
        columns = 4 * self.filters
        return (
            (*self.kernel_size, channels, columns),
            (*self.kernel_size, self.filters, columns),
        )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        shape: Shape = self._conv(True).output_sample_shape(input_shape)
        return (*shape[:-1], self.filters)

    def get_initial_state(self, batch_size: int | None = None) -> list[np.ndarray]:
        """Zeros for both states."""
        return [np.zeros((batch_size or 1, *self._state_sample), np.float32)] * 2

    def _conv(self, of_x: bool) -> Any:
        """The convolution of x, or of h, without its kernel."""
        window: dict[str, Any] = {"strides": 1, "padding": "same"}
        if of_x:
            window = {"strides": self.strides, "padding": self.padding}
            window["dilation_rate"] = self.dilation_rate
        return self._convolution(
            4 * self.filters, self.kernel_size, use_bias=False, name="conv", **window
        )

    def times(self, x: Any, kernel: Variable) -> Any:
        """The convolution of x or of h with its kernel."""
        slots = {"kernel": x.graph.place(kernel)}
        conv = self._conv(kernel is self.kernel)
        return x.graph.chain(conv.lower(x.sample, slots, 0), x)

    @property
    def copies(self) -> int:
        """Each gate drops its own."""
        return self.gates


class _ConvLSTM(Recurrent):
    """See `ConvLSTM2D`."""

    rank = 2

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
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
        **common: Unpack[CommonArguments],
    ) -> None:
        self._start(ConvLSTMCell, locals(), rank=self.rank, where=type(self).__name__)

    def _check_axes(self, shape: tuple[Any, ...]) -> None:
        if len(shape) != self.rank + 3:
            sizes = ("length", "height, width", "depth, height, width")[self.rank - 1]
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} takes samples of shape "
                f"(steps, {sizes}, channels). Received: shape {shape}, with the batch "
                "axis. Try x[..., None] for one channel."
            )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        sample = input_shape[0] if isinstance(input_shape, list) else input_shape
        self._check_axes((None, *sample))
        shape = self.cell.output_sample_shape(tuple(sample[1:]))
        return (sample[0], *shape) if self.return_sequences else shape

    def compute_output_shape(
        self, sequences_shape: Any, initial_state_shape: Any = None
    ) -> Any:
        """Shape (B, T, ...) or (B, ...) of the output for an input (B, T, ...), and
        those of the states, if they are returned.

        Args:
            sequences_shape: (B, T, ..., channels).
            initial_state_shape: not needed.
        """
        if sequences_shape and isinstance(sequences_shape[0], (list, tuple)):
            sequences_shape = sequences_shape[0]
        batch, *sample = sequences_shape
        shape = (batch, *self.output_sample_shape(tuple(sample)))
        state = (batch, *self.cell.output_sample_shape(tuple(sample[1:])))
        return (shape, state, state) if self.return_state else shape


class ConvLSTM1D(_ConvLSTM):
    """An LSTM over sequences of signals, whose products are convolutions:

        i, f, z, o = x * kernel + h * recurrent_kernel + bias
        c' = g(f) c + g(i) a(z)        h' = g(o) a(c')        y = h'

    where * is a convolution.

    Shapes:   x (B, T, L, C) -> y (B, L', filters), or with return_sequences
              (B, T, L', filters); with return_state also h and c. kernel
              (*kernel_size, C, 4 filters), recurrent_kernel (*kernel_size, filters,
              4 filters), bias (4 filters,), in the order i f z o
    Source:   Shi et al. 2015, without connections from c to the gates; defaults follow
              keras.layers.ConvLSTM1D.

    Args: see `ConvLSTM2D`.

    Raises:
        ValueError: an argument is out of range; samples of other axes.

    Example:
        >>> kurve.layers.ConvLSTM1D(4, 3)(np.ones((2, 5, 8, 3))).shape
        (2, 6, 4)
    """

    rank = 1


class ConvLSTM2D(_ConvLSTM):
    """An LSTM over sequences of images, whose products are convolutions:

        i, f, z, o = x * kernel + h * recurrent_kernel + bias
        c' = g(f) c + g(i) a(z)        h' = g(o) a(c')        y = h'

    where * is a convolution.

    Shapes:   x (B, T, H, W, C) -> y (B, H', W', filters), or with return_sequences
              (B, T, H', W', filters); with return_state also h and c. kernel
              (*kernel_size, C, 4 filters), recurrent_kernel (*kernel_size, filters,
              4 filters), bias (4 filters,), in the order i f z o
    Source:   Shi et al. 2015, without connections from c to the gates; defaults follow
              keras.layers.ConvLSTM2D.

    Args:
        filters: channels of the output and of both states, at least 1.
        kernel_size: of both convolutions, an integer or one for each axis.
        strides, padding, dilation_rate: of the convolution of x, see `Conv2D`; h is
            padded so that its size is unchanged.
        data_format: None or "channels_last".
        activation, recurrent_activation, use_bias, kernel_initializer,
            recurrent_initializer, bias_initializer, unit_forget_bias,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, recurrent_constraint,
            bias_constraint: see `LSTM`.
        dropout, recurrent_dropout, seed: see `LSTM`; each gate drops its own.
        return_sequences, return_state, go_backwards, stateful, unroll,
            zero_output_for_mask: see `RNN`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an argument is out of range; samples of other axes.

    Example:
        >>> kurve.layers.ConvLSTM2D(4, 3)(np.ones((2, 5, 8, 8, 3))).shape
        (2, 6, 6, 4)
    """

    rank = 2


class ConvLSTM3D(_ConvLSTM):
    """An LSTM over sequences of volumes, whose products are convolutions:

        i, f, z, o = x * kernel + h * recurrent_kernel + bias
        c' = g(f) c + g(i) a(z)        h' = g(o) a(c')        y = h'

    where * is a convolution.

    Shapes:   x (B, T, D, H, W, C) -> y (B, D', H', W', filters), or with
              return_sequences (B, T, D', H', W', filters); with return_state also h
              and c. kernel
              (*kernel_size, C, 4 filters), recurrent_kernel (*kernel_size, filters,
              4 filters), bias (4 filters,), in the order i f z o
    Source:   Shi et al. 2015, without connections from c to the gates; defaults follow
              keras.layers.ConvLSTM3D.

    Args: see `ConvLSTM2D`.

    Raises:
        ValueError: an argument is out of range; samples of other axes.

    Example:
        >>> kurve.layers.ConvLSTM3D(4, 3)(np.ones((1, 2, 4, 4, 4, 1))).shape
        (1, 2, 2, 2, 4)
    """

    rank = 3
