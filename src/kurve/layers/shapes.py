"""Sample shapes, for one or several inputs, possibly with unknown sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kurve.formulas.calls import TRIALS
from kurve.formulas.graph import Tensor
from kurve.formulas.tensor import KerasTensor, leaves
from kurve.layers.arguments import check_batch_shape


def sample_of(cls: type, input_shape: Any) -> Any:
    """Strip the batch axis from one input shape or several."""
    if isinstance(input_shape, Mapping):
        return {k: sample_of(cls, shape) for k, shape in input_shape.items()}
    if input_shape and isinstance(input_shape[0], (tuple, list)):
        return [sample_of(cls, shape) for shape in input_shape]
    return check_batch_shape(cls, input_shape)[1]


def replaced_shapes(samples: Any) -> Any:
    """Sample shapes with a leading batch axis."""
    if isinstance(samples, Mapping):
        return {k: replaced_shapes(sample) for k, sample in samples.items()}
    if isinstance(samples, list):
        return [replaced_shapes(sample) for sample in samples]
    return None if samples is None else (None, *samples)


def tensors_of(samples: Any) -> Any:
    """Symbolic tensors with these sample shapes, in the same structure."""
    if isinstance(samples, Mapping):
        return {name: tensors_of(sample) for name, sample in samples.items()}
    if isinstance(samples, list):
        return [tensors_of(sample) for sample in samples]
    if samples is None:  # an argument that is left out
        return None
    return KerasTensor((None, *samples))


def samples_in(value: Any) -> Any:
    """The sample shapes of tensors in the same structure; None if there are none."""
    if isinstance(value, (Tensor, KerasTensor)):
        return value.sample
    if isinstance(value, Mapping):
        return {k: samples_in(part) for k, part in value.items()}
    if isinstance(value, (list, tuple)) and value:
        parts = [samples_in(part) for part in value]
        return None if None in parts else parts
    return None


def trials(samples: Any) -> Sequence[tuple[int, ...]]:
    """Sizes to try for unknown axes; a single one if all are known."""
    return TRIALS if None in leaves(samples) else TRIALS[:1]


def known(samples: Any, sizes: Sequence[int]) -> Any:
    """One shape or several, with sizes substituted for unknown ones."""
    if isinstance(samples, list):
        return [known(sample, sizes) for sample in samples]
    if isinstance(samples, Mapping):
        return {k: known(sample, sizes) for k, sample in samples.items()}
    if samples is None:
        return None
    spare = iter((*sizes, *sizes, *sizes))
    return tuple(next(spare) if s is None else s for s in samples)


def same_shape(one: Any, other: Any) -> bool:
    """Whether two shapes agree where both are known."""
    if isinstance(one, list) or isinstance(other, list) or other is None:
        return bool(one == other)
    return len(one) == len(other) and all(
        a == b or a is None or b is None for a, b in zip(one, other, strict=True)
    )


def are_shapes(shape: Any) -> bool:
    """Whether `shape` is a list or dictionary of shapes."""
    return isinstance(shape, Mapping) or (
        isinstance(shape, (list, tuple))
        and bool(shape)
        and isinstance(shape[0], (list, tuple))
    )


def tensors_for(cls: type, shapes: Any) -> Any:
    """A symbolic tensor for each of these shapes; None for None."""
    if shapes is None:
        return None
    if isinstance(shapes, Mapping):
        return {name: tensors_for(cls, shape) for name, shape in shapes.items()}
    if are_shapes(shapes):
        return [tensors_for(cls, shape) for shape in shapes]
    return KerasTensor((None, *check_batch_shape(cls, shapes)[1]))
