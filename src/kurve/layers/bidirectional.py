"""Bidirectional recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

from kurve.formulas import functions as ops
from kurve.formulas.tensor import leaves
from kurve.layers.base import Layer, LayerArguments
from kurve.layers.recurrent import copied
from kurve.layers.wrapping import described, of_description
from kurve.plan import Shape

MODES = ("sum", "mul", "ave", "concat", None)
SHARED = ("stateful", "return_sequences", "return_state")
"""Arguments that must be equal in both layers."""


class Bidirectional(Layer):
    """A recurrent layer run forwards and a second one, with its own weights, run
    backwards; their outputs are merged.

    Shapes:   x (B, T, F) -> y (B, 2 units), or (B, T, 2 units) if the layer returns
              sequences; (..., units) for merge modes other than "concat"
    Source:   Schuster & Paliwal 1997; defaults follow keras.layers.Bidirectional.

    Args:
        layer: a recurrent layer; both directions are copies of it, named forward_...
            and backward_...
        merge_mode: "concat", "sum", "mul", "ave" (the mean), or None for both outputs.
        weights: initial weights of both layers as a list; None for new ones.
        backward_layer: another layer for the backward direction, with opposite
            go_backwards.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not recurrent layers, or two of the same direction; unknown
            merge_mode.

    Example:
        >>> layer = kurve.layers.Bidirectional(kurve.layers.LSTM(4))
        >>> layer(np.ones((2, 5, 3))).shape
        (2, 8)
        >>> len(layer.weights)
        6
    """

    parts_by_name = True
    one_formula = True
    arguments = ("merge_mode",)

    def __init__(
        self,
        layer: Layer,
        merge_mode: str | None = "concat",
        weights: Sequence[Any] | None = None,
        backward_layer: Layer | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        where = type(self).__name__
        for name, given in (("layer", layer), ("backward_layer", backward_layer)):
            if given is not None or name == "layer":
                _check(where, name, given)
        if not any(merge_mode is mode or merge_mode == mode for mode in MODES):
            raise ValueError(
                f"[{where}] merge_mode must be 'sum', 'mul', 'ave', 'concat' or None. "
                f"Received: merge_mode={merge_mode!r}. Try 'concat'."
            )
        super().__init__(**common)
        self.merge_mode = merge_mode
        name = layer.name.removeprefix("forward_")
        self.forward_layer: Any = copied(layer, name=f"forward_{name}")
        if backward_layer is None:
            name = f"backward_{layer.name.removeprefix('backward_')}"
            backward_layer = copied(layer, name=name, go_backwards=True)
        self.backward_layer: Any = backward_layer
        self._check_both()
        part: Any
        for part in (self.forward_layer, self.backward_layer):
            part.zero_output_for_mask = part.return_sequences
            if not self.trainable:
                part.trainable = False
        self._initial_weights = None if weights is None else list(weights)

    def _check_both(self) -> None:
        where = type(self).__name__
        there, back = self.forward_layer, self.backward_layer
        if there.go_backwards == back.go_backwards:
            raise ValueError(
                f"[{where}] one layer must go forwards and the other backwards. "
                f"Received: go_backwards={there.go_backwards} for both. Try "
                "go_backwards=True only for backward_layer."
            )
        for name in SHARED:
            if getattr(there, name) != getattr(back, name):
                raise ValueError(
                    f"[{where}] both layers must have the same {name}. Received: "
                    f"{getattr(there, name)} and {getattr(back, name)}. "
                    f"Try {name}=True for both."
                )

    @property
    def return_sequences(self) -> bool:
        """The value of both layers."""
        return bool(self.forward_layer.return_sequences)

    @property
    def return_state(self) -> bool:
        """The value of both layers."""
        return bool(self.forward_layer.return_state)

    @property
    def stateful(self) -> bool:
        """The value of both layers."""
        return bool(self.forward_layer.stateful)

    @property
    def states(self) -> tuple[Any, Any] | None:
        """The states of both layers that persist between batches; None if there are
        none."""
        there, back = self.forward_layer.states, self.backward_layer.states
        return None if there is None or back is None else (there, back)

    def reset_state(self) -> None:
        """Reset the states that persist between batches to zeros.

        Raises:
            AttributeError: the layers are not stateful.
        """
        if not self.stateful:
            raise AttributeError(
                f"[{type(self).__name__}] the layer must be stateful to keep "
                "states. Received: stateful=False. Try initial_state in the call."
            )
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def _eager_call(self, args: Any, named: dict[str, Any], training: bool) -> Any:
        """The output for arrays."""
        args, named = self.forward_layer._split_states(args, named)
        for layer in (self.forward_layer, self.backward_layer):
            if layer.stateful:
                layer.keep_states(len(args[0]) if args else None)
        return super()._eager_call(args, named, training)

    reset_states = reset_state

    # ---------------------------------------------------------------- shapes

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build both layers."""
        shape = sequences_shape
        if isinstance(shape, list):  # of x and initial states
            shape = shape[0]
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(tuple(shape))
        if self._initial_weights is not None:
            given, self._initial_weights = self._initial_weights, None
            self.set_weights(given)

    def output_sample_shape(self, input_shape: Any) -> Shape:
        shape: Shape = self.forward_layer.output_sample_shape(input_shape)
        return (*shape[:-1], 2 * shape[-1]) if self.merge_mode == "concat" else shape

    def compute_output_shape(
        self, sequences_shape: Any, initial_state_shape: Any = None
    ) -> Any:
        """Shape (B, ...) of the output for an input (B, T, F), or of all outputs.

        Args:
            sequences_shape: (B, T, F).
            initial_state_shape: unused.
        """
        shape = self.forward_layer.compute_output_shape(sequences_shape)
        states: tuple[Any, ...] = ()
        if self.return_state:
            shape, *rest = shape
            states = tuple(rest)
        if self.merge_mode == "concat":
            shape = (*shape[:-1], 2 * shape[-1])
        if self.merge_mode is None:
            return (shape, shape, *states, *states)
        return (shape, *states, *states) if self.return_state else shape

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the output: that of x if all steps are returned; states have no
        mask.

        Args:
            inputs: unused.
            mask: mask of x, (B, T).
        """
        mask = next(leaves(mask), None)
        mask = mask if self.return_sequences else None
        count = 2 * len(self.forward_layer.state_size) if self.return_state else 0
        masks = [mask] * (1 + (self.merge_mode is None)) + [None] * count
        return masks[0] if len(masks) == 1 else masks

    # ---------------------------------------------------------------- calls

    @property
    def _takes_any(self) -> bool:
        """Whether it can be called with a structure of tensors: x and states."""
        return True

    def _recorded_call(self, args: Any, named: dict[str, Any], training: Any) -> Any:
        args, named = self.forward_layer._split_states(args, named)
        return super()._recorded_call(args, named, training)

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        """The forward pass.

        Args:
            sequences: x, (B, T, F), or a list of it and the initial states.
            initial_state: the initial states: those of the forward layer, then those of
                the backward layer; zeros if None.
            mask: (B, T), True for valid steps.
            training: False disables dropout.
        """
        (x,), rest = self.forward_layer._split_states((sequences,), {})
        states = rest.get("initial_state", initial_state)
        halves: tuple[Any, Any] = (None, None)
        if states is not None:
            if not isinstance(states, (list, tuple)) or len(states) % 2:
                raise ValueError(
                    f"[{type(self).__name__}] initial_state must be a list of the "
                    "states of both layers. Received: "
                    f"initial_state={states!r}. Try initial_state=None for zeros."
                )
            half = len(states) // 2
            halves = states[:half], states[half:]
        named = {} if training is None else {"training": training}
        outputs, last = [], []
        for layer, own in zip(
            (self.forward_layer, self.backward_layer), halves, strict=True
        ):
            y = layer(x, initial_state=own, mask=mask, **named)
            if self.return_state:
                y, *ends = y
                last += ends
            outputs.append(y)
        y = self._merged(*outputs)
        if self.return_state:
            return (*y, *last) if self.merge_mode is None else (y, *last)
        return y

    def _merged(self, there: Any, back: Any) -> Any:
        if self.return_sequences:
            back = ops.flip(back, 1)
        if self.merge_mode is None:
            return there, back
        if self.merge_mode == "concat":
            return ops.concatenate([there, back], -1)
        if self.merge_mode == "mul":
            return there * back
        total = there + back
        return total / 2.0 if self.merge_mode == "ave" else total

    # ---------------------------------------------------------------- copies

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        return {
            **super().get_config(),
            "layer": described(self.forward_layer),
            "backward_layer": described(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a `get_config`."""
        parts = {
            name: of_description(config[name])
            for name in ("layer", "backward_layer")
            if config.get(name) is not None
        }
        return cls(**{**config, **parts})


def _check(where: str, name: str, layer: Any) -> None:
    """Refuse anything but a recurrent layer."""
    needed = ("go_backwards", *SHARED)
    if not isinstance(layer, Layer) or not all(hasattr(layer, n) for n in needed):
        raise ValueError(
            f"[{where}] {name} must be a recurrent layer. Received: {name}={layer!r}. "
            f"Try {where}(LSTM(8))."
        )
