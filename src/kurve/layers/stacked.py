"""Stacked cells, and helpers of recurrent layers for any cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, Unpack

import numpy as np

from kurve.core.arguments import is_count
from kurve.formulas.calls import inferred
from kurve.formulas.recurrence import zeros
from kurve.formulas.tensor import KerasTensor, leaves, replaced
from kurve.layers.base import Layer, LayerArguments, takes
from kurve.layers.cells import Cell
from kurve.layers.wrapping import described, of_description
from kurve.plan import Shape

Step = Callable[[Any, Any], tuple[Any, Any]]


class StackedRNNCells(Layer):
    """Several cells as one: in every step, each cell feeds the next.

    Source: defaults follow keras.layers.StackedRNNCells.

    Args:
        cells: a list of cells; the states are the list of their states.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not a cell.

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
        """The output size of the last cell."""
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
        """Whether it can be called with a structure of tensors: x and states."""
        return True

    @property
    def one_formula(self) -> bool:  # type: ignore[override]
        """Whether all cells have the same formula in training."""
        return all(has_one_formula(cell) for cell in self.cells)

    def call(self, inputs: Any, states: Any, training: bool | None = None) -> Any:
        """The output of the last cell, and the new states of all cells.

        Args:
            inputs: (B, F).
            states: a list of the states of each cell.
            training: False disables dropout.
        """
        return step_of(self, inputs, states, training)(inputs, states)

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        cells = [described(cell) for cell in self.cells]
        return {**super().get_config(), "cells": cells}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a `get_config`."""
        cells = [of_description(cell) for cell in config["cells"]]
        return cls(**{**config, "cells": cells})


# ---------------------------------------------------------------- any cell


def check_cell(where: str, cell: Any) -> Any:
    """Validate a cell."""
    if not isinstance(cell, Layer) or not cell.has_formula:
        raise ValueError(
            f"[{where}] a cell must be a layer with call(inputs, states). "
            f"Received: {cell!r}. Try LSTMCell(8)."
        )
    size = getattr(cell, "state_size", None)
    sizes = [size] if is_count(size) else size
    if not isinstance(sizes, (list, tuple)) or not all(map(is_count, leaves(sizes))):
        raise ValueError(
            f"[{where}] a cell must have state_size, an integer or a list of one per "
            f"state. Received: state_size={size!r} of {cell!r}. "
            "Try self.state_size = 8 in its __init__."
        )
    return cell


def size_of_output(cell: Any) -> int:
    """`output_size`, or the size of the first state."""
    size: int = getattr(cell, "output_size", None) or next(leaves([cell.state_size]))
    return size


def has_one_formula(cell: Layer) -> bool:
    """Whether the cell's formula is the same in training."""
    return getattr(cell, "one_formula", False) or not takes(cell.call, "training")


def initial_state_of(cell: Any, batch_size: int | None = None) -> Any:
    """The initial states: those defined by the cell, or zeros."""
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size or 1)
    if is_count(cell.state_size):
        return np.zeros((batch_size or 1, cell.state_size), np.float32)
    return [np.zeros((batch_size or 1, s), np.float32) for s in cell.state_size]


def build_cell(cell: Layer, sample: Shape) -> None:
    """Build a cell for samples of this shape, and its sublayers by running a step."""
    if cell.built:
        return
    cell._build(sample, infer=False)
    if all(part.built for part in cell.parts):
        return
    states = [
        KerasTensor((None, *np.shape(state)[1:]))
        for state in leaves([initial_state_of(cell)])
    ]
    inferred(cell.run, (KerasTensor((None, *sample)), _like(cell, states)), {})


def _like(cell: Layer, states: list[Any]) -> Any:
    """States in the structure that a cell's `call` expects."""
    initial, rest = initial_state_of(cell), iter(states)
    if not isinstance(initial, (list, tuple)):
        initial = [initial]
    return replaced(list(initial), lambda _: next(rest))


def step_of(cell: Layer, x: Any, states: Any, training: bool | None) -> Step:
    """The step function of a cell.

    Args:
        x, states: of the first step, which define the shapes of dropout masks. The
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
