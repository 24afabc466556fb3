"""What stands in the place of an array in `fit` and its like: lists of one, as Keras
takes them; and what holds no rows, which is refused by what it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kurve.layers.base import refuse_graphs
from kurve.plan import Shape


def unpack_validation(where: str, validation_data: Any) -> Sequence[Any]:
    """x, y and sample_weight (or None) of (x, y) or (x, y, sample_weight).

    Raises:
        TypeError: neither of the two.
    """
    if isinstance(validation_data, (tuple, list)):
        if len(validation_data) == 2:
            return *validation_data, None
        if len(validation_data) == 3:
            return validation_data
    raise TypeError(
        f"[{where}] validation_data must be (x, y) or (x, y, sample_weight). "
        f"Received: {type(validation_data).__name__}. Try validation_data=(x, y)."
    )


def one_array(
    where: str,
    argument: str,
    given: Any,
    sample_shape: Shape | None,
    rows: int | None = None,
) -> Any:
    """`given`, or the one array of a list of one.

    Args:
        sample_shape: that of one sample; None if unknown.
        rows: how many there must be, if that is known rather than the shape.

    Raises:
        TypeError: a dictionary, a generator or a set of batches.
        ValueError: several arrays, for models of one input and one output.
        NotImplementedError: a layer.
    """
    if isinstance(given, (list, tuple)):
        return _part(where, argument, given, sample_shape, rows)
    refuse_graphs(where, given)
    if isinstance(given, Mapping):
        names = ", ".join(map(repr, list(given)[:5]))
        raise TypeError(
            f"[{where}] {argument} must be one array, because a model has one input "
            f"and one output. Received: a {type(given).__name__} with {names}. "
            f"Try numpy.column_stack(list({argument}.values())) for columns."
        )
    is_array = any(hasattr(given, n) for n in ("__array__", "__getitem__", "shape"))
    if isinstance(given, Iterable) and not is_array:
        raise TypeError(
            f"[{where}] {argument} must be one array with a row for every sample; "
            "batches from generators and data sets are not there yet. Received: an "
            f"object of type {type(given).__name__}. Try numpy.concatenate of all "
            "batches, or model.train_on_batch(x, y) for each."
        )
    return given


def _part(
    where: str,
    argument: str,
    given: list[Any] | tuple[Any, ...],
    sample_shape: Shape | None,
    rows: int | None,
) -> Any:
    """The one array of the list, or the list where it is one of samples."""
    shapes = [getattr(part, "shape", None) for part in given[:8]]
    whole = [
        isinstance(shape, tuple) and _is_whole(shape, sample_shape, rows)
        for shape in shapes
    ]
    if len(given) == 1 and whole[0]:
        return given[0]
    if sample_shape is not None and len(given) > 1 and all(whole):
        raise ValueError(
            f"[{where}] {argument} must be one array; models of several inputs are not "
            f"there yet. Received: a list of {len(given)} arrays of shapes "
            f"{', '.join(map(str, shapes))}. Try numpy.concatenate({argument}) if they "
            "are rows of one table."
        )
    refuse_graphs(where, given)
    return given


def _is_whole(shape: Shape, sample_shape: Shape | None, rows: int | None) -> bool:
    """Whether an array of this shape is all samples, not one of them."""
    if rows is not None:
        return len(shape) > (rows == 1) and shape[0] == rows
    if sample_shape is None:
        return len(shape) > 1
    return (shape[1:] or (1,)) == sample_shape
