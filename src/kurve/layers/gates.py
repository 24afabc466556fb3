"""Gated cells, which compute how much of a state to keep."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from kurve import activations, constraints, initializers, regularizers
from kurve.core.arguments import check_flag, from_signature
from kurve.formulas import functions as ops
from kurve.layers.base import LayerArguments
from kurve.layers.cells import Cell, activate
from kurve.plan import Shape


class CellArguments(LayerArguments, total=False):
    """Keras arguments of gated cells."""

    implementation: int


class _Gated(Cell):
    """A cell with a separate activation for its gates."""

    recurrent_activation = activations.Chosen()


class LSTMCell(_Gated):
    """A state h and a carry c: with i, f, z, o = x @ kernel + h @ recurrent_kernel +
    bias, g the recurrent activation and a the activation,

        c' = g(f) c + g(i) a(z)        h' = g(o) a(c')        y = h'

    Shapes:   x (B, F), h and c (B, units) -> y (B, units), [h, c]; kernel (F, 4 units),
              recurrent_kernel (units, 4 units), bias (4 units,)
    Source:   Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000;
              defaults follow keras.layers.LSTMCell.

    Args:
        units: at least 1.
        activation, recurrent_activation: name or object of `kurve.activations`, or None
            (identity).
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: name or object of
            `kurve.initializers`.
        unit_forget_bias: whether the bias of f starts at 1.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: name or object of
            `kurve.regularizers`.
        kernel_constraint, recurrent_constraint, bias_constraint: name or object of
            `kurve.constraints`.
        dropout, recurrent_dropout: fractions of x and h dropped in training, in [0, 1];
            the same elements in all steps of a sequence. With recurrent_dropout, each
            gate has its own mask.
        seed: seed of the dropout: an integer, or None for the model's.
        implementation: 1 or 2; has no effect.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: units below 1, a rate outside [0, 1], or an unknown name.

    Example:
        >>> cell = kurve.layers.LSTMCell(4)
        >>> y, states = cell(np.ones((2, 3)), [np.zeros((2, 4)), np.zeros((2, 4))])
        >>> len(states)
        2
    """

    gates = 4
    states = 2
    kind = "lstm"
    arguments = (
        *Cell.arguments[:2],
        "recurrent_activation",
        "use_bias",
        "unit_forget_bias",
        *Cell.arguments[3:],
    )

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
        kernel_constraint: str | constraints.Constraint | None = None,
        recurrent_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **common: Unpack[CellArguments],
    ) -> None:
        super().__init__(**common)
        self._start(locals())
        self.recurrent_activation = recurrent_activation
        where = type(self).__name__
        self.unit_forget_bias = check_flag(where, "unit_forget_bias", unit_forget_bias)

    def _bias_values(self) -> initializers.Initializer:
        values = super()._bias_values()
        return _ForgetBias(values, self.units) if self.unit_forget_bias else values

    def step(self, x: Any, states: list[Any], factors: Any) -> tuple[Any, list[Any]]:
        """The output and the new states."""
        h, c = states
        z = self.product(x, self.kernel, factors[0])
        if self.bias is not None:
            z = z + self.bias
        z = z + self.product(h, self.recurrent_kernel, factors[1])
        i, f, o = (
            activate(self.recurrent_activation, self.gate(z, k)) for k in (0, 1, 3)
        )
        c = f * c + i * activate(self.activation, self.gate(z, 2))
        h = o * activate(self.activation, c)
        return h, [h, c]


class GRUCell(_Gated):
    """A state h: with z, r, n the columns of kernel, recurrent_kernel and bias, g the
    recurrent activation and a the activation,

        z = g(x W_z + h U_z + b_z)     r = g(x W_r + h U_r + b_r)
        n = a(x W_n + b_n + r (h U_n + d_n))    with reset_after
        n = a(x W_n + b_n + (r h) U_n)          without
        h' = z h + (1 - z) n           y = h'

    Shapes:   x (B, F), h (B, units) -> y (B, units), [y]; kernel (F, 3 units),
              recurrent_kernel (units, 3 units), bias (2, 3 units), of x and of h, or
              without reset_after (3 units,)
    Source:   Cho et al. 2014; defaults follow keras.layers.GRUCell.

    Args:
        units: at least 1.
        activation, recurrent_activation: name or object of `kurve.activations`, or None
            (identity).
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: name or object of
            `kurve.initializers`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: name or object of
            `kurve.regularizers`.
        kernel_constraint, recurrent_constraint, bias_constraint: name or object of
            `kurve.constraints`.
        dropout, recurrent_dropout, seed: see `LSTMCell`.
        reset_after: whether r multiplies the product with h, instead of h itself.
        implementation: 1 or 2; has no effect.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: units below 1, a rate outside [0, 1], or an unknown name.

    Example:
        >>> cell = kurve.layers.GRUCell(4)
        >>> y, states = cell(np.ones((2, 3)), [np.zeros((2, 4))])
        >>> y.shape
        (2, 4)
    """

    gates = 3
    kind = "gru"
    arguments = from_signature()

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
        kernel_constraint: str | constraints.Constraint | None = None,
        recurrent_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **common: Unpack[CellArguments],
    ) -> None:
        super().__init__(**common)
        self._start(locals())
        self.recurrent_activation = recurrent_activation
        self.reset_after = check_flag(type(self).__name__, "reset_after", reset_after)

    def _bias_shape(self) -> Shape:
        columns = 3 * self.units
        return (2, columns) if self.reset_after else (columns,)

    def loop_of(self, factors: tuple[Any, Any]) -> dict[str, Any] | None:
        """The arguments of `recurrence`, see `Cell`."""
        loop = super().loop_of(factors)
        return None if loop is None else {**loop, "reset_after": self.reset_after}

    def step(self, x: Any, states: list[Any], factors: Any) -> tuple[Any, list[Any]]:
        """The output and the new state."""
        (h,) = states
        of_x = self.product(x, self.kernel, factors[0])
        of_h = self.product(h, self.recurrent_kernel, factors[1])
        if self.bias is not None and self.reset_after:
            of_x = of_x + ops.get_item(self.bias, 0)
            of_h = of_h + ops.get_item(self.bias, 1)
        elif self.bias is not None:
            of_x = of_x + self.bias
        z, r = (
            activate(self.recurrent_activation, self.gate(of_x, k) + self.gate(of_h, k))
            for k in (0, 1)
        )
        if self.reset_after:
            of_h = r * self.gate(of_h, 2)
        else:
            kept = r * h if not factors[1] else r * (h * factors[1][-1])
            of_h = self.gate(ops.matmul(kept, self.recurrent_kernel), 2)
        n = activate(self.activation, self.gate(of_x, 2) + of_h)
        h = z * h + (1.0 - z) * n
        return h, [h]


class _ForgetBias(initializers.Initializer):
    """Initial bias values with 1 for the forget gate."""

    def __init__(self, inner: initializers.Initializer, units: int) -> None:
        self.inner, self.units = inner, units

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        n = self.units
        drawn = initializers.draw(self.inner, (3 * n,), seed, stream)
        return np.concatenate([drawn[:n], np.ones(n, np.float32), drawn[n:]])
