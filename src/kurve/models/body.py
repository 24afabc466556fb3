"""Subclassed models: their call() becomes a layer of their network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.arrays import is_sparse
from kurve.layers.base import Layer
from kurve.layers.core import InputLayer


class Body(Layer):
    """The layer that represents a model's call(). Its sublayers are the layers that are
    attributes of the model.

    Args:
        model: a model with a call().
    """

    _model: Any = None

    def __init__(self, model: Any) -> None:
        super().__init__(name=model.name)
        self._model, self.built_shape = model, ()

    def _build_for_call(self, args: Any, named: Any = None) -> None:
        """Does nothing: sublayers are built when called."""

    @property
    def call(self) -> Any:
        """Run the model's call()."""
        return self._model.call

    @property
    def loss_owner(self) -> Any:
        """The model."""
        return self if self._model is None else self._model

    @property
    def parts(self) -> list[Any]:
        if self._model is None:
            return []
        found: list[Any] = Layer.parts.fget(self._model)  # type: ignore[attr-defined]
        return [part for part in found if part is not self]

    @property
    def attributes(self) -> list[tuple[str, Any]]:
        """Attributes of the model, which give weights their names."""
        return [] if self._model is None else list(self._model.attributes)

    @property
    def own_variables(self) -> list[Any]:
        """The weights of the model itself, without those of its layers."""
        if self._model is None:
            return []
        own: list[Any] = super().own_variables  # from the model's add_weight
        others = Layer.own_variables.fget(self._model)  # type: ignore[attr-defined]
        return own + [v for v in others if all(v is not mine for mine in own)]

    @property
    def _takes_any(self) -> bool:
        return True

    @property
    def supports_masking(self) -> bool:
        """Whether the model supports masking."""
        return bool(self._model.supports_masking)

    @supports_masking.setter
    def supports_masking(self, value: bool) -> None:
        self._model.supports_masking = value

    @property
    def makes_masks(self) -> bool:
        """Whether the model creates masks."""
        return bool(self._model.makes_masks)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The model's compute_mask."""
        return self._model.compute_mask(inputs, previous_mask)

    _warned_of_mask = True  # its layers warn

    def get_config(self) -> dict[str, Any]:
        where = type(self._model).__name__
        raise NotImplementedError(
            f"[{where}] a subclassed model consists of code, which no file or "
            f"copy can hold. Received: the model {self.name!r}. "
            "Try model.save_weights('m.weights.kurve'), or Model(inputs, outputs)."
        )


def shapes_of(x: Any) -> Any:
    """The shape of a batch, (None, ...), or those of several inputs in the same
    structure, from arrays or symbolic tensors."""
    if isinstance(x, Mapping) and not is_sparse(x):
        return {name: shapes_of(part) for name, part in x.items()}
    if isinstance(x, (list, tuple)) and x and all(hasattr(p, "shape") for p in x):
        shapes = [shapes_of(part) for part in x]
        return tuple(shapes) if isinstance(x, tuple) else shapes
    shape = tuple(x.shape) if hasattr(x, "shape") else np.shape(x)
    return (None, *(shape[1:] or (1,)))


def inputs_for(shapes: Any) -> Any:
    """Symbolic inputs with these shapes, in the same structure."""
    if isinstance(shapes, Mapping):
        return {
            name: InputLayer(batch_shape=shape, name=str(name)).output
            for name, shape in shapes.items()
        }
    if any(isinstance(part, (list, tuple)) for part in shapes):
        inputs = [inputs_for(shape) for shape in shapes]
        return tuple(inputs) if isinstance(shapes, tuple) else inputs
    return InputLayer(batch_shape=(None, *shapes[1:])).output
