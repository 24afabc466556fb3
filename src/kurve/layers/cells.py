"""Cells of recurrent layers: what happens in one step. The simplest one, what all of
Kurve's cells share, and stacks of cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, Unpack

import numpy as np

from kurve import activations, constraints, initializers, regularizers
from kurve.core.arguments import MOST, check_flag, check_seed, is_count
from kurve.formulas import functions as ops
from kurve.formulas.calls import inferred
from kurve.formulas.recurrence import zeros
from kurve.formulas.tensor import KerasTensor, leaves, replaced
from kurve.layers.base import Layer, LayerArguments, Variable, takes
from kurve.layers.core import Dropout, checked_rate
from kurve.layers.wrapping import described, of_description
from kurve.plan import Op, Shape

Step = Callable[[Any, Any], tuple[Any, Any]]

TAPES = ("linear", "relu", "sigmoid", "tanh", "softplus")
"""Activations that are functions of `kurve.ops`, which join their neighbours."""


def activate(activation: activations.Activation, z: Any) -> Any:
    """The activation of a tensor in a formula."""
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
    """What the cells of Kurve share: their weights, and what they drop.

    gates:  in how many parts the columns of the kernels fall
    states: number of the states, each of `units` numbers
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

    def _start(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        initial: Sequence[Any],
        penalties: Sequence[Any],
        rules: Sequence[Any],
        dropout: float,
        recurrent_dropout: float,
        seed: Any,
    ) -> None:
        """Take the arguments. Initializers, penalties and rules are those of kernel,
        recurrent kernel and bias."""
        where = type(self).__name__
        if not is_count(units):
            raise ValueError(
                f"[{where}] units must be an integer from 1 to {MOST}. "
                f"Received: units={units!r}. Try units=32."
            )
        self.units = int(units)
        self.activation = activation
        self.use_bias = check_flag(where, "use_bias", use_bias)
        for name, given, penalty, rule in zip(
            ("kernel", "recurrent", "bias"), initial, penalties, rules, strict=True
        ):
            setattr(self, f"{name}_initializer", initializers.of_weight(given))
            setattr(self, f"{name}_regularizer", regularizers.get(penalty))
            setattr(self, f"{name}_constraint", constraints.get(rule))
        self.dropout = _share(where, "dropout", dropout)
        self.recurrent_dropout = _share(where, "recurrent_dropout", recurrent_dropout)
        self.seed = check_seed(where, seed)
        other = None if self.seed is None else self.seed + 1
        self._dropping = Dropout(self.dropout, seed=self.seed)
        self._recurrent_dropping = Dropout(self.recurrent_dropout, seed=other)
        self.kernel: Variable
        self.recurrent_kernel: Variable
        self.bias: Variable | None = None

    @property
    def state_size(self) -> int | list[int]:
        """Of each state; a number if there is one state."""
        return self.units if self.states == 1 else [self.units] * self.states

    @property
    def output_size(self) -> int:
        return self.units

    def get_initial_state(self, batch_size: int | None = None) -> list[np.ndarray]:
        """Zeros for each state, (batch_size, units)."""
        return [np.zeros((batch_size or 1, self.units), np.float32)] * self.states

    def build(self, input_shape: Any) -> None:
        """Make kernel, recurrent kernel and bias."""
        columns = self.units * self.gates
        for name, own, shape in (
            ("kernel", "kernel", (input_shape[-1], columns)),
            ("recurrent_kernel", "recurrent", (self.units, columns)),
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

    def _bias_shape(self) -> Shape:
        return (self.units * self.gates,)

    def _bias_values(self) -> initializers.Initializer:
        values: initializers.Initializer = self.bias_initializer  # type: ignore[attr-defined]
        return values

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    @property
    def _takes_any(self) -> bool:
        """Whether it is called with any structure of tensors: with x and states."""
        return True

    one_formula = True

    def call(self, inputs: Any, states: Any, training: bool | None = None) -> Any:
        """The output, and the new states in the structure of the old ones.

        Args:
            inputs: (B, F).
            states: (B, units), or a list of them.
            training: False to drop nothing.
        """
        several = isinstance(states, (list, tuple))
        old = list(states) if several else [states]
        y, new = self.step(inputs, old, self.factors(inputs, old[0], training))
        return y, new if several else new[0]

    def factors(self, x: Any, h: Any, training: bool | None = None) -> tuple[Any, Any]:
        """What training multiplies x and h with in all steps: for each, None or a list
        of one factor, or of one for each gate."""
        if training is False:
            return None, None
        count = self.gates if self.recurrent_dropout else 1
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
                drawn = dropping(ones)
                one = [ops.get_item(drawn, (slice(None), i)) for i in range(count)]
            found.append(one)
        return found[0], found[1]

    def product(self, x: Any, kernel: Variable, factors: Any) -> Any:
        """(x factor) kernel, where each gate's columns have a factor of their own."""
        if not factors:
            return ops.matmul(x, kernel)
        parts = [ops.matmul(x * factor, kernel) for factor in factors]
        if len(parts) == 1:
            return parts[0]
        return ops.concatenate([self.gate(part, i) for i, part in enumerate(parts)], -1)

    def gate(self, z: Any, number: int, count: int = 1) -> Any:
        """The columns of some gates."""
        first = number * self.units
        return ops.get_item(z, (slice(None), slice(first, first + count * self.units)))

    def step(self, x: Any, states: list[Any], factors: Any) -> tuple[Any, list[Any]]:
        """The output and the new states."""
        raise NotImplementedError

    kind = ""
    """The operation of a whole loop."""

    def loop_of(self, factors: tuple[Any, Any]) -> dict[str, Any] | None:
        """The arguments of `recurrence` for a loop with this cell; None if only steps
        can do it."""
        by_gates = self.gates > 1 and factors[1]
        if type(self).call is not Cell.call or by_gates:
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
        """The arguments of an equal cell."""
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
        use_bias: whether there is a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: name or object of
            `kurve.initializers`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: name or object of
            `kurve.regularizers`.
        kernel_constraint, recurrent_constraint, bias_constraint: name or object of
            `kurve.constraints`.
        dropout, recurrent_dropout: shares of x and of h that training drops, in [0, 1]:
            the same ones in all steps of a sequence.
        seed: of what is dropped: an integer, or None for the model's.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: units below 1, a share outside [0, 1], or an unknown name.

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
        self._start(
            units,
            activation,
            use_bias,
            (kernel_initializer, recurrent_initializer, bias_initializer),
            (kernel_regularizer, recurrent_regularizer, bias_regularizer),
            (kernel_constraint, recurrent_constraint, bias_constraint),
            dropout,
            recurrent_dropout,
            seed,
        )

    def step(self, x: Any, states: list[Any], factors: Any) -> tuple[Any, list[Any]]:
        """The output and the new state."""
        z = self.product(x, self.kernel, factors[0])
        if self.bias is not None:
            z = z + self.bias
        z = z + self.product(states[0], self.recurrent_kernel, factors[1])
        y = activate(self.activation, z)
        return y, [y]


class StackedRNNCells(Layer):
    """Cells as one: each one's output is the next one's input, in every step.

    Source: defaults follow keras.layers.StackedRNNCells.

    Args:
        cells: a list of cells; its states are the list of theirs.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: something other than a cell.

    Example:
        >>> cells = [kurve.layers.LSTMCell(4), kurve.layers.LSTMCell(2)]
        >>> layer = kurve.layers.RNN(kurve.layers.StackedRNNCells(cells))
        >>> layer(np.ones((5, 6, 3))).shape
        (5, 2)
    """

    parts_by_name = True

    def __init__(
        self, cells: Sequence[Layer], **common: Unpack[LayerArguments]
    ) -> None:
        where = type(self).__name__
        if not isinstance(cells, (list, tuple)) or not cells:
            raise ValueError(
                f"[{where}] cells must be a list of cells. Received: cells={cells!r}. "
                f"Try {where}([LSTMCell(8), LSTMCell(8)])."
            )
        for cell in cells:
            check_cell(where, cell)
        super().__init__(**common)
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """The sizes of each cell's states."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """That of the last cell."""
        return size_of_output(self.cells[-1])

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """The initial states of each cell."""
        return [initial_state_of(cell, batch_size) for cell in self.cells]

    def build(self, input_shape: Any) -> None:
        """Build the cells."""
        for cell in self.cells:
            build_cell(cell, tuple(input_shape[1:]))
            input_shape = (input_shape[0], size_of_output(cell))

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.output_size)

    @property
    def _takes_any(self) -> bool:
        """Whether it is called with any structure of tensors: with x and states."""
        return True

    @property
    def one_formula(self) -> bool:  # type: ignore[override]
        """Whether no cell has another formula in training."""
        return all(has_one_formula(cell) for cell in self.cells)

    def call(self, inputs: Any, states: Any, training: bool | None = None) -> Any:
        """The output of the last cell, and the new states of all.

        Args:
            inputs: (B, F).
            states: a list of each cell's.
            training: False to drop nothing.
        """
        return step_of(self, inputs, states, training)(inputs, states)

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal layer."""
        cells = [described(cell) for cell in self.cells]
        return {**super().get_config(), "cells": cells}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a `get_config`."""
        cells = [of_description(cell) for cell in config["cells"]]
        return cls(**{**config, "cells": cells})


# ---------------------------------------------------------------- any cell


def check_cell(where: str, cell: Any) -> None:
    """Refuse what is no cell."""
    if not isinstance(cell, Layer) or not cell.has_formula:
        raise ValueError(
            f"[{where}] a cell must be a layer with call(inputs, states). "
            f"Received: {cell!r}. Try LSTMCell(8)."
        )
    size = getattr(cell, "state_size", None)
    sizes = [size] if is_count(size) else size
    if not isinstance(sizes, (list, tuple)) or not all(map(is_count, leaves(sizes))):
        raise ValueError(
            f"[{where}] a cell must have state_size, an integer or a list of one for "
            f"each state. Received: state_size={size!r} of {cell!r}. "
            "Try self.state_size = 8 in its __init__."
        )


def size_of_output(cell: Any) -> int:
    """`output_size`, or the size of the first state."""
    size: int = getattr(cell, "output_size", None) or next(leaves([cell.state_size]))
    return size


def has_one_formula(cell: Layer) -> bool:
    """Whether the cell's formula is the same in training."""
    return getattr(cell, "one_formula", False) or not takes(cell.call, "training")


def initial_state_of(cell: Any, batch_size: int | None = None) -> Any:
    """The states before the first step: those that the cell says, or zeros."""
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size or 1)
    if is_count(cell.state_size):
        return np.zeros((batch_size or 1, cell.state_size), np.float32)
    return [np.zeros((batch_size or 1, s), np.float32) for s in cell.state_size]


def build_cell(cell: Layer, sample: Shape) -> None:
    """Build a cell for samples of this shape, and its parts by a step."""
    if cell.built:
        return
    cell._build(sample, infer=False)
    if all(part.built for part in cell.parts if not isinstance(part, Dropout)):
        return
    states = [
        KerasTensor((None, *np.shape(state)[1:]))
        for state in leaves([initial_state_of(cell)])
    ]
    inferred(cell.run, (KerasTensor((None, *sample)), _like(cell, states)), {})


def _like(cell: Layer, states: list[Any]) -> Any:
    """States in the structure that a cell's `call` gets."""
    initial, rest = initial_state_of(cell), iter(states)
    if not isinstance(initial, (list, tuple)):
        initial = [initial]
    return replaced(list(initial), lambda _: next(rest))


def step_of(cell: Layer, x: Any, states: Any, training: bool | None) -> Step:
    """The step of a cell.

    Args:
        x, states: of the first step, from which the shapes of what is dropped come. The
            states are a list.
    """
    if isinstance(cell, StackedRNNCells) and _is_its_own(cell, StackedRNNCells):
        steps: list[Step] = []
        for inner, own in zip(cell.cells, states, strict=True):
            steps.append(step_of(inner, x, _listed(own), training))
            x = zeros(x, (size_of_output(inner),))

        def all_steps(x: Any, states: Any) -> tuple[Any, Any]:
            new = []
            for step, own in zip(steps, states, strict=True):
                x, after = step(x, _listed(own))
                new.append(after)
            return x, new

        return all_steps
    if isinstance(cell, Cell) and _is_its_own(cell, Cell):
        known: Cell = cell
        factors = known.factors(x, states[0], training)
        return lambda x, states: known.step(x, list(states), factors)
    named = {"training": training} if takes(cell.call, "training") else {}
    return lambda x, states: cell(x, states, **named)


def _listed(states: Any) -> list[Any]:
    return list(states) if isinstance(states, (list, tuple)) else [states]


def _is_its_own(cell: Layer, cls: type[Layer]) -> bool:
    return type(cell).call is cls.call
