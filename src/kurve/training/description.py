"""The layers of a network, and the names and shapes of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from kurve.formulas.tensor import replaced
from kurve.layers.base import Variable, all_layers, known, trials
from kurve.plan import Shape
from kurve.training.structure import Structure

FIRST = "encodes_first"
"""Attribute of layers that process arrays before the engine runs."""


class Description:
    """Layers, as a stack or with a structure.

    layers:           layers and models
    structure:        None for a stack
    input_shape:      sample shape of the first input; None while unknown
    given_batch_size: batch size declared by the Input of a stack
    """

    def __init__(self, structure: Structure | None = None) -> None:
        self.layers: list[Any] = []
        self.structure = structure
        # Builds a subclassed model on the first x.
        self.build_for: Callable[[Any], None] | None = None
        self.input_shape: Shape | None = None
        self.given_batch_size: int | None = None
        if structure is not None:
            self.use(structure)

    def use(self, structure: Structure) -> None:
        """Adopt the layers of a structure."""
        self.structure = structure
        self.layers = [o for o in structure.operations if hasattr(o, "variables")]
        self.input_shape = structure.flat_inputs[0].sample

    @property
    def encodes(self) -> bool:
        """Whether inputs are encoded before the engine runs."""
        if self.structure is not None:
            return bool(self.structure.encoding)
        return bool(self.layers) and bool(getattr(self.layers[0], FIRST, False))

    @property
    def encoding(self) -> list[Any]:
        """The layers at the start of a stack that read strings."""
        return list(takewhile(lambda layer: getattr(layer, FIRST, False), self.layers))

    @property
    def variables(self) -> list[Variable]:
        """All variables, including constants, layer by layer, without duplicates."""
        return [v for layer in all_layers(self.layers) for v in layer.variables]

    @property
    def batch_size(self) -> int | None:
        """The batch size, if declared by the model's inputs."""
        if self.structure is not None:
            inputs = [t.history.operation for t in self.structure.flat_inputs]
        else:
            inputs = [self, *self.layers[:1]]
        sizes = (getattr(one, "given_batch_size", None) for one in inputs)
        return next((size for size in sizes if size is not None), None)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        if self.structure is not None:
            return self.structure.input_names
        return [""]

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs: those of the layers that compute them. Unknown
        before the user's call() has been traced."""
        if self.structure is not None:
            return self.structure.output_names
        if self.build_for is not None:
            return []
        return [self.layers[-1].name if self.layers else ""]

    @property
    def input_structure(self) -> Any:
        """None for one input, else a list, tuple or dictionary of names."""
        return self._named(self.structure and self.structure.inputs, self.input_names)

    @property
    def output_structure(self) -> Any:
        """None for one output, else a list, tuple or dictionary of names."""
        return self._named(self.structure and self.structure.outputs, self.output_names)

    def _named(self, structure: Any, names: list[str]) -> Any:
        if not isinstance(structure, (list, tuple, dict)):
            return None
        rest = iter(names)
        return replaced(structure, lambda _: next(rest))

    @property
    def dtypes(self) -> list[str]:
        """The types of what the engine is given."""
        if self.structure is None:
            return ["float32"]
        return [str(tensor.dtype) for tensor in self.structure.entries]

    @property
    def declared(self) -> list[tuple[int | None, ...]]:
        """The sample shapes of everything passed to the engine, with None for unknown
        sizes; for a model that runs eagerly, all sizes, because it can be called with
        others."""
        if self.structure is not None and self.build_for is not None:
            return [(None,) * len(tensor.sample) for tensor in self.structure.entries]
        if self.structure is not None:
            return [tensor.sample for tensor in self.structure.entries]
        if self.input_shape is None:
            return []
        return [self._encoded_shape(self.input_shape)]

    def _encoded_shape(self, sample: Any) -> Any:
        """The shape of a sample after the encoding layers of a stack."""
        for layer in self.encoding:
            _, *sample = layer.encoded_shape((None, *sample))
        return tuple(sample)

    @property
    def has_open_sizes(self) -> bool:
        """Whether sizes of the model's inputs are unknown."""
        if self.structure is not None:
            return self.build_for is not None or self.structure.has_open_sizes
        return any(None in sample for sample in self.declared)

    def samples(self, input_shape: Shape | None = None) -> list[Shape]:
        """The sample shapes of all inputs, with unknown sizes replaced."""
        if self.structure is not None and input_shape is None:
            shapes = [tensor.sample for tensor in self.structure.entries]
        elif self.structure is not None:
            assert input_shape is not None
            others = [tensor.sample for tensor in self.structure.entries[1:]]
            shapes = [input_shape, *others]
        else:
            shapes = [self._encoded_shape(input_shape or self.input_shape or ())]
        found: list[Shape] = known(shapes, trials(shapes)[0])
        return found
