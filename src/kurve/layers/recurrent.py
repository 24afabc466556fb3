"""Recurrent layers: `RNN`, for any cell.

If engines know the cell and its activations, the loop is a single operation; otherwise
it is a loop over the operations of a step. Both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

import numpy as np

from kurve.core.arguments import check_flag, is_count
from kurve.core.registry import collect_custom, custom_objects
from kurve.core.results import result
from kurve.formulas import functions as ops
from kurve.formulas import recurrence as loops
from kurve.formulas.tensor import leaves, replaced
from kurve.initializers import Zeros
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.layers.cells import Cell
from kurve.layers.stacked import (
    StackedRNNCells,
    build_cell,
    check_cell,
    has_one_formula,
    initial_state_of,
    size_of_output,
    step_of,
)
from kurve.layers.wrapping import described, of_description
from kurve.plan import Shape


class RNN(Layer):
    """Runs a cell over the steps of a sequence, passing its states along.

    Shapes:   x (B, T, ...) -> y (B, units), the output of the last step; with
              return_sequences (B, T, units)
    Source:   defaults follow keras.layers.RNN.

    A cell is a layer with `call(inputs, states)`, which returns the output and the new
    states, and with `state_size`, an integer or a list with one per state. It can
    define `output_size`, by default the size of the first state, and
    `get_initial_state(batch_size)`, by default zeros.

    Masked steps keep the states and repeat the previous output.

    Args:
        cell: a cell, or a list of cells to stack.
        return_sequences: whether to return the outputs of all steps.
        return_state: whether to also return the last states, after the output.
        go_backwards: whether to process the steps in reverse; outputs are in processing
            order.
        stateful: whether the last states of row b become the initial states of row b of
            the next batch, in `fit`, `evaluate`, `predict` and direct calls, until
            `reset_state`. All batches then have the same size, which `Input` must
            declare: batch_shape=(32, None, 8).
        unroll: True or False; has no effect.
        zero_output_for_mask: whether outputs of masked steps are 0.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not a cell; samples with fewer than two axes; when called: initial
            states that do not fit the cell, or stateful in a model without a fixed
            batch size.

    Example:
        >>> class Sum(kurve.layers.Layer):
        ...     state_size = 3
        ...
        ...     def call(self, inputs, states):
        ...         total = states[0] + inputs
        ...         return total, [total]
        >>> kurve.layers.RNN(Sum())(np.ones((1, 5, 3)))
        array([[5., 5., 5.]], dtype=float32)
    """

    arguments: tuple[str, ...] = (
        "return_sequences",
        "return_state",
        "go_backwards",
        "stateful",
        "unroll",
        "zero_output_for_mask",
    )
    parts_by_name = True

    def __init__(
        self,
        cell: Layer | Sequence[Layer],
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **common: Unpack[LayerArguments],
    ) -> None:
        where = type(self).__name__
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        checked = check_cell(where, cell)
        super().__init__(**common)
        self.return_sequences = check_flag(where, "return_sequences", return_sequences)
        self.return_state = check_flag(where, "return_state", return_state)
        self.go_backwards = check_flag(where, "go_backwards", go_backwards)
        self.stateful = check_flag(where, "stateful", stateful)
        self._kept: list[Any] | None = None
        self.unroll = check_flag(where, "unroll", unroll)
        self.zero_output_for_mask = check_flag(
            where, "zero_output_for_mask", zero_output_for_mask
        )
        self.cell = checked
        if not self.trainable:
            self.cell.trainable = False

    # ---------------------------------------------------------------- persistent states

    @property
    def states(self) -> list[Any] | None:
        """The persistent states, variables (B, size); None if there are none, or while
        B is unknown."""
        return self._kept

    def reset_state(self) -> None:
        """Reset the persistent states to zeros."""
        for state in leaves(self._kept or []):
            state.write(np.zeros(state.shape, np.float32))

    reset_states = reset_state

    def keep_states(self, rows: int | None) -> None:
        """Create the persistent states for batches of this size.

        Raises:
            ValueError: unknown batch size, or one that differs from the states.
        """
        where = type(self).__name__
        if self._kept is None:
            rows = self.given_batch_size or rows
            if rows is None:
                raise ValueError(
                    f"[{where}] stateful=True needs a fixed number of rows per "
                    f"batch. Received: layer {self.name!r} in a model that takes "
                    "any number. Try Input(batch_shape=(32, None, 8)) for 32 rows."
                )
            self._kept = replaced(self._first_states(), lambda s: self._state(s, rows))
        have = next(leaves(self._kept)).shape[0]
        if rows not in (None, have):
            raise ValueError(
                f"[{where}] batches must have as many rows as the stored states. "
                f"Received: {rows} rows, and states of {have} in layer {self.name!r}. "
                f"Try batches of {have} rows, or a new layer with the same weights."
            )

    def _state(self, first: Any, rows: int | None) -> Variable:
        """Create a state with that many rows."""
        shape = (int(rows or 0), *np.shape(first)[1:])
        state = Variable(f"{self.name}/rnn_state", shape, Zeros(), "state")
        if np.any(first):
            state.write(np.broadcast_to(np.asarray(first, np.float32), shape))
        return state

    @property
    def own_variables(self) -> list[Variable]:
        """The layer's own variables: the persistent states."""
        return [*super().own_variables, *leaves(self._kept or [])]

    def unbuild(self) -> None:
        """Drop the variables after building the model has failed."""
        super().unbuild()
        self._kept = None

    def _eager_call(self, args: Any, named: dict[str, Any], training: bool) -> Any:
        """The output for arrays."""
        if self.stateful:
            args, named = self._split_states(args, named)
            self.keep_states(len(args[0]) if args else None)
        return super()._eager_call(args, named, training)

    @property
    def state_size(self) -> list[Any]:
        """The size of each state."""
        size = self.cell.state_size
        return [size] if is_count(size) else list(size)

    @property
    def single_state(self) -> bool:
        """Whether the cell has one state."""
        return is_count(self.cell.state_size)

    # ---------------------------------------------------------------- shapes

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build the cell."""
        first = sequences_shape
        if isinstance(first, list):  # of x and initial states
            first = first[0]
        self._check_axes(tuple(first))
        build_cell(self.cell, tuple(first[2:]))

    def _check_axes(self, shape: tuple[Any, ...]) -> None:
        if len(shape) < 3 or (type(self) is not RNN and len(shape) != 3):
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} takes samples of shape "
                f"(steps, features). Received: shape {shape}, with the batch axis. "
                "Try x.reshape(len(x), -1, 1) for one feature."
            )

    def output_sample_shape(self, input_shape: Any) -> Shape:
        sample = input_shape[0] if isinstance(input_shape, list) else input_shape
        self._check_axes((None, *sample))
        size = size_of_output(self.cell)
        return (sample[0], size) if self.return_sequences else (size,)

    def compute_output_shape(
        self, sequences_shape: Any, initial_state_shape: Any = None
    ) -> Any:
        """Shape (B, ...) of the output for an input (B, T, ...), and those of the
        states, if they are returned.

        Args:
            sequences_shape: (B, T, ...).
            initial_state_shape: unused.
        """
        if sequences_shape and isinstance(sequences_shape[0], (list, tuple)):
            sequences_shape = sequences_shape[0]
        batch = sequences_shape[0]
        shape = (batch, *self.output_sample_shape(tuple(sequences_shape[1:])))
        if not self.return_state:
            return shape
        return shape, *replaced(self.state_size, lambda size: (batch, size))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the output: that of x if all steps are returned; states have no
        mask.

        Args:
            inputs: unused.
            mask: mask of x, (B, T).
        """
        mask = next(leaves(mask), None)
        mask = mask if self.return_sequences else None
        return [mask, *(None for _ in self.state_size)] if self.return_state else mask

    # ---------------------------------------------------------------- calls

    @property
    def _takes_any(self) -> bool:
        """Whether it can be called with a structure of tensors: x and states."""
        return True

    @property
    def one_formula(self) -> bool:  # type: ignore[override]
        """Whether the cell's formula is the same in training."""
        return has_one_formula(self.cell)

    def _recorded_call(self, args: Any, named: dict[str, Any], training: Any) -> Any:
        args, named = self._split_states(args, named)
        return super()._recorded_call(args, named, training)

    def _split_states(self, args: Any, named: dict[str, Any]) -> Any:
        """The arguments of a call [x, *states] as (x, initial_state=states)."""
        if args and isinstance(args[0], (list, tuple)) and len(args[0]):
            x, *states = args[0]
            if states:
                return (x, *args[1:]), {"initial_state": states, **named}
            return (x, *args[1:]), named
        return args, named

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        """The forward pass.

        Args:
            sequences: x, (B, T, ...), or a list of it and the initial states.
            initial_state: the initial states, (B, size) each; if None, zeros or
                what the cell defines.
            mask: (B, T), True for valid steps.
            training: False disables dropout; True keeps it in prediction, too.
        """
        (x,), rest = self._split_states((sequences,), {})
        given = rest.get("initial_state", initial_state)
        self._check_axes(tuple(x.shape))
        mask = next(leaves(mask), None)
        mask = None if mask is None else self._checked_mask(x, mask)
        initial = None if given is None else self._checked_states(x, given)
        if initial is None and self._kept is not None:
            initial = x.graph.kept(self, self._kept)
        y, states = self._looped(x, initial, mask, training)
        if self._kept is not None:
            keep = x.graph.keep(self, self._kept, states)
            y, states = keep(y), replaced(states, keep) if self.return_state else states
        return (y, *states) if self.return_state else y

    def _checked_mask(self, x: Any, mask: Any) -> Any:
        if tuple(mask.shape) != tuple(x.shape[:2]):
            raise ValueError(
                f"[{type(self).__name__}] mask must have one value per step, shape "
                f"{tuple(x.shape[:2])}. Received: shape {tuple(mask.shape)}. "
                "Try mask=None."
            )
        return loops.as_numbers(mask)

    def _checked_states(self, x: Any, given: Any) -> list[Any]:
        """Initial states, in the structure of the cell's states."""
        states = list(given) if isinstance(given, (list, tuple)) else [given]
        wanted = [np.shape(state)[1:] for state in leaves(self._first_states())]
        found = list(leaves(states))
        shapes = [tuple(state.shape) for state in found]
        fits = len(found) == len(wanted) and all(
            shape in ((None, *own), (1, *own), own)
            for shape, own in zip(shapes, wanted, strict=True)
        )
        plain = is_count(self.cell.state_size) or isinstance(self.cell, Cell)
        if plain and not fits:
            raise ValueError(
                f"[{type(self).__name__}] initial_state must be "
                f"{len(wanted)} of shape {[(None, *own) for own in wanted]}. "
                f"Received: shapes {shapes}. Try initial_state=None for zeros."
            )
        batched = iter([self._batched(x, state) for state in found])
        like = self._initial(x) if len(found) == len(wanted) else states
        return replaced(like, lambda _: next(batched))

    def _batched(self, x: Any, state: Any) -> Any:
        """A state with a batch axis."""
        if getattr(state, "batched", False):
            return state
        shape = tuple(state.shape)
        whole = shape[1:] if len(shape) > 1 and shape[0] in (None, 1) else shape
        return loops.zeros(x, whole) + state

    def _initial(self, x: Any) -> list[Any]:
        """The initial states."""

        def tensor(state: Any) -> Any:
            if isinstance(state, np.ndarray) and not state.any():
                return loops.zeros(x, state.shape[1:])
            return self._batched(x, state)

        return replaced(self._first_states(), tensor)

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """The states before the first step, for a number of samples.

        Args:
            batch_size: number of samples; 1 by default. An array stands for its number
                of rows, and None inside a model for that of the batch; a single row,
                which broadcasts, is then enough.
        """
        rows: Any = 1 if batch_size is None else batch_size
        count = len(rows) if np.ndim(rows) else int(rows)
        return replaced(
            self._first_states(),
            lambda state: result(np.repeat(np.asarray(state)[:1], count, axis=0)),
        )

    def _first_states(self) -> list[Any]:
        """The initial states defined by the cell, (1, size) each."""
        states = initial_state_of(self.cell)
        return list(states) if isinstance(states, (list, tuple)) else [states]

    def _step_by_step(
        self, x: Any, initial: list[Any] | None, mask: Any, training: bool | None
    ) -> tuple[Any, list[Any]]:
        """The output and the last states, by a loop over the cell's formula."""
        states = self._initial(x) if initial is None else initial
        first = ops.get_item(x, (slice(None), 0))
        return loops.stepped(
            type(self).__name__,
            step_of(self.cell, first, states, training),
            x,
            states,
            mask,
            self.go_backwards,
            self.zero_output_for_mask,
            self.return_sequences,
            self.return_state or self._kept is not None,
        )

    def _looped(
        self, x: Any, initial: list[Any] | None, mask: Any, training: bool | None
    ) -> tuple[Any, list[Any]]:
        """The output and the last states, by one operation if engines have it."""
        cell = self.cell
        if not isinstance(cell, Cell) or not loops.is_operation(cell.kind):
            return self._step_by_step(x, initial, mask, training)
        start = loops.zeros(x, (cell.units,)) if initial is None else initial[0]
        first = ops.get_item(x, (slice(None), 0))
        factors = cell.factors(first, start, training)
        loop = cell.loop_of(factors)
        if loop is None:
            return self._step_by_step(x, initial, mask, training)
        of_x, of_h = factors
        if of_x:
            x = x * ops.expand_dims(of_x[0], 1)
        carry = cell.states == 2 and (self.return_state or self._kept is not None)
        y = loops.recurrence(
            x=x,
            mask=mask,
            initial=initial,
            factors=of_h and (of_h[0] if len(of_h) == 1 else ops.stack(of_h, 1)),
            reverse=self.go_backwards,
            sequences=self.return_sequences,
            states=carry,
            **loop,
        )
        last = ops.get_item(y, (slice(None), -1)) if self.return_sequences else y
        states = [cell.gate(last, k) for k in range(1 + carry)] if carry else [last]
        if carry:
            y = ops.get_item(y, (Ellipsis, slice(0, cell.units)))
        if mask is not None and (initial is not None or self.zero_output_for_mask):
            y = self._without_masked(y, mask)
        return y, states

    def _without_masked(self, y: Any, mask: Any) -> Any:
        """The outputs with zeros before the first valid step, or in all masked
        steps."""
        here = ops.flip(mask, 1) if self.go_backwards else mask
        if not self.zero_output_for_mask:
            here = ops.minimum(ops.cumsum(here, 1), 1.0)
        if not self.return_sequences:
            return ops.where(ops.get_item(here, (slice(None), slice(-1, None))), y, 0.0)
        return ops.where(ops.expand_dims(here, -1), y, 0.0)

    # ---------------------------------------------------------------- copies

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        return {**super().get_config(), **self._rows(), "cell": described(self.cell)}

    def _rows(self) -> dict[str, int]:
        """The batch size, if the layer is stateful."""
        rows = self.given_batch_size
        if self._kept:
            rows = next(leaves(self._kept)).shape[0]
        return {"batch_size": rows} if self.stateful and rows else {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a `get_config`."""
        return cls(**{**config, "cell": of_description(config["cell"])})


def copied(layer: Layer, **changes: Any) -> Any:
    """A copy of a layer with some arguments changed."""
    with collect_custom() as own:
        config = layer.get_config()
    with custom_objects(own):
        return type(layer).from_config({**config, **changes})
