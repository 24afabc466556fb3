"""Cells of recurrent layers, which compute one time step: the base of Kurve's cells,
and the simplest one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np

from kurve import activations, constraints, initializers, regularizers
from kurve.core.arguments import check_flag, check_integer
from kurve.core.rng import check_seed
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.layers.core import Dropout, checked_rate
from kurve.plan import Op, Shape

Step = Callable[[Any, Any], tuple[Any, Any]]

TAPES = ("linear", "relu", "sigmoid", "tanh", "softplus")
"""Activations available as `kurve.ops` functions, which fuse with adjacent ones."""


def activate(activation: activations.Activation, z: Any) -> Any:
    """Apply an activation to a tensor in a formula."""
    if isinstance(activation, activations.FunctionActivation):
        return activation(z)
    if activation.name in TAPES and activation.is_fused:
        return z if activation.name == "linear" else getattr(ops, activation.name)(z)
    shape, attrs = z.sample, activation.attrs()
    alone = [Op("activation", "", shape, shape, attrs=attrs)]
    for op in activation.ops("activation", shape) or alone:
        z = z.graph.op(op.kind, [z], shape, attrs=op.attrs, tape=op.tape)
    return z


class Cell(Layer):
    """Base of Kurve's cells: their weights and dropout.

    gates:  number of gates, into which the columns of the kernels divide
    states: number of states, each with `units` numbers
    """

    gates = 1
    states = 1

    arguments: tuple[str, ...] = (
        "units",
        "activation",
        "use_bias",
        "kernel_initializer",
        "recurrent_initializer",
        "bias_initializer",
        "kernel_regularizer",
        "recurrent_regularizer",
        "bias_regularizer",
        "kernel_constraint",
        "recurrent_constraint",
        "bias_constraint",
        "dropout",
        "recurrent_dropout",
        "seed",
    )

    activation = activations.Chosen()

    def _start(self, given: Mapping[str, Any]) -> None:
        """Store the arguments common to all cells."""
        where = type(self).__name__
        units = given["units"]
        check_integer(where, "units", units, 32)
        self.units = int(units)
        self.activation = given["activation"]
        self.use_bias = check_flag(where, "use_bias", given["use_bias"])
        for weight in ("kernel", "recurrent", "bias"):
            for what, of in (
                ("initializer", initializers.of_weight),
                ("regularizer", regularizers.get),
                ("constraint", constraints.get),
            ):
                name = f"{weight}_{what}"
                setattr(self, name, of(given[name]))
        self.dropout = _share(where, "dropout", given["dropout"])
        share = given["recurrent_dropout"]
        self.recurrent_dropout = _share(where, "recurrent_dropout", share)
        self.seed = check_seed(where, given["seed"])
        other = None if self.seed is None else self.seed + 1
        self._dropping = Dropout(self.dropout, seed=self.seed)
        self._recurrent_dropping = Dropout(self.recurrent_dropout, seed=other)
        self.kernel: Variable
        self.recurrent_kernel: Variable
        self.bias: Variable | None = None

    @property
    def state_size(self) -> int | list[int]:
        """Size of each state; a single number if there is one state."""
        return self.units if self.states == 1 else [self.units] * self.states

    @property
    def output_size(self) -> int:
        return self.units

    def get_initial_state(self, batch_size: int | None = None) -> list[np.ndarray]:
        """Zeros for each state, (batch_size, units)."""
        return [np.zeros((batch_size or 1, self.units), np.float32)] * self.states

    def build(self, input_shape: Any) -> None:
        """Make kernel, recurrent kernel and bias."""
        of_x, of_h = self._kernel_shapes(input_shape[-1])
        for name, own, shape in (
            ("kernel", "kernel", of_x),
            ("recurrent_kernel", "recurrent", of_h),
            ("bias", "bias", self._bias_shape()),
        ):
            if name != "bias" or self.use_bias:
                weight = self.add_weight(
                    shape,
                    self._bias_values()
                    if name == "bias"
                    else getattr(self, f"{own}_initializer"),
                    name=name,
                    regularizer=getattr(self, f"{own}_regularizer"),
                    constraint=getattr(self, f"{own}_constraint"),
                )
                setattr(self, name, weight)
        for part in (self._dropping, self._recurrent_dropping):
            part.build(input_shape)

    def _kernel_shapes(self, channels: int) -> tuple[Shape, Shape]:
        columns = self.units * self.gates
        return (channels, columns), (self.units, columns)

    def _bias_shape(self) -> Shape:
        return (self.units * self.gates,)

    def _bias_values(self) -> initializers.Initializer:
        values: initializers.Initializer = self.bias_initializer  # type: ignore[attr-defined]
        return values

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    @property
    def _takes_any(self) -> bool:
        """Whether it can be called with a structure of tensors: x and states."""
        return True

    one_formula = True

    def call(self, inputs: Any, states: Any, training: bool | None = None) -> Any:
        """The output, and the new states in the structure of the old ones.

        Args:
            inputs: (B, F).
            states: (B, units), or a list of them.
            training: False disables dropout; True keeps it in prediction, too.
        """
        several = isinstance(states, (list, tuple))
        old = list(states) if several else [states]
        y, new = self.step(inputs, old, self.factors(inputs, old[0], training))
        return y, new if several else new[0]

    def factors(self, x: Any, h: Any, training: bool | None = None) -> tuple[Any, Any]:
        """Dropout factors of x and h, the same in all steps: for each, None or a list
        with one factor, or one per gate."""
        if training is False:
            return None, None
        count = self.copies
        rates = (
            (x, self.dropout, self._dropping),
            (h, self.recurrent_dropout, self._recurrent_dropping),
        )
        found = []
        for tensor, rate, dropping in rates:
            one = None
            if rate and not (self.gates > 1 and rate == 1.0):
                ones = ops.expand_dims(ops.ones_like(tensor), 1)
                if count > 1:
                    ones = ops.broadcast_to(ones, (None, count, *tensor.sample))
                drawn = dropping(ones, training=True) if training else dropping(ones)
                one = [ops.get_item(drawn, (slice(None), i)) for i in range(count)]
            found.append(one)
        return found[0], found[1]

    @property
    def copies(self) -> int:
        """The number of sets of factors: one, or one per gate."""
        return self.gates if self.recurrent_dropout else 1

    def times(self, x: Any, kernel: Variable) -> Any:
        """x or h times its kernel."""
        return ops.matmul(x, kernel)

    def product(self, x: Any, kernel: Variable, factors: Any) -> Any:
        """(x factor) kernel, with a separate factor for the columns of each gate."""
        if not factors:
            return self.times(x, kernel)
        parts = [self.times(x * factor, kernel) for factor in factors]
        if len(parts) == 1:
            return parts[0]
        return ops.concatenate([self.gate(part, i) for i, part in enumerate(parts)], -1)

    def gate(self, z: Any, number: int, count: int = 1) -> Any:
        """The columns of `count` gates."""
        first = number * self.units
        return ops.get_item(z, (Ellipsis, slice(first, first + count * self.units)))

    def step(self, x: Any, states: list[Any], factors: Any) -> tuple[Any, list[Any]]:
        """The output and the new states."""
        raise NotImplementedError

    kind = ""
    """The kind of operation for a whole loop."""

    def loop_of(self, factors: tuple[Any, Any]) -> dict[str, Any] | None:
        """The arguments of `recurrence` for a loop over this cell; None if the loop
        must be unrolled."""
        if type(self).call is not Cell.call or (factors[0] and len(factors[0]) > 1):
            return None
        chosen: dict[str, Any] = {}
        for prefix in ("", "recurrent_"):
            own = getattr(self, f"{prefix}activation", None)
            if own is not None and not own.is_fused:
                return None
            if own is not None:
                chosen[f"{prefix}activation"] = own.name
            if own is not None and own.alpha:
                chosen[f"{prefix}alpha"] = own.alpha
        weights = {"kernel": self.kernel, "recurrent_kernel": self.recurrent_kernel}
        if self.bias is not None:
            weights["bias"] = self.bias
        return {
            "kind": self.kind,
            "weights": weights,
            "activations": chosen,
        }

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this cell."""
        config = super().get_config()
        for name in ("kernel_constraint", "recurrent_constraint", "bias_constraint"):
            rule = getattr(self, name)
            config[name] = None if rule is None else rule.serialized()
        return config


def _share(where: str, name: str, value: Any) -> float:
    try:
        return checked_rate(Dropout, value)
    except ValueError:
        raise ValueError(
            f"[{where}] {name} must be in [0, 1]. Received: {name}={value!r}. "
            f"Try {name}=0.2."
        ) from None


class SimpleRNNCell(Cell):
    """y = activation(x @ kernel + bias + h @ recurrent_kernel), and h is y.

    Shapes:   x (B, F), h (B, units) -> y (B, units), [y]; kernel (F, units),
              recurrent_kernel (units, units), bias (units,)
    Source:   Elman 1990; defaults follow keras.layers.SimpleRNNCell.

    Args:
        units: at least 1.
        activation: name or object of `kurve.activations`, or None (identity).
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: name or object of
            `kurve.initializers`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: name or object of
            `kurve.regularizers`.
        kernel_constraint, recurrent_constraint, bias_constraint: name or object of
            `kurve.constraints`.
        dropout, recurrent_dropout: fractions of x and h dropped in training, in [0, 1];
            the same elements in all steps of a sequence.
        seed: seed of the dropout: an integer, or None for the model's.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: units below 1, a rate outside [0, 1], or an unknown name.

    Example:
        >>> cell = kurve.layers.SimpleRNNCell(4)
        >>> y, states = cell(np.ones((2, 3)), [np.zeros((2, 4))])
        >>> y.shape
        (2, 4)
    """

    kind = "simple_rnn"

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
        kernel_constraint: str | constraints.Constraint | None = None,
        recurrent_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        self._start(locals())

    def step(self, x: Any, states: list[Any], factors: Any) -> tuple[Any, list[Any]]:
        """The output and the new state."""
        z = self.product(x, self.kernel, factors[0])
        if self.bias is not None:
            z = z + self.bias
        z = z + self.product(states[0], self.recurrent_kernel, factors[1])
        y = activate(self.activation, z)
        return y, [y]
