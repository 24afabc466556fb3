"""Structures of tensors, whose leaves can be data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.values import tensor

AUTOTUNE = INFINITE_CARDINALITY = -1
UNKNOWN_CARDINALITY = -2

Structure = Any
"""A tensor, or a tuple or dictionary of structures."""


class Passes:
    """A source of elements, restarted for each pass.

    Args:
        make: starts a pass.
        size: number of elements, -1 if infinite, -2 if unknown.
        batched: whether the last element can have fewer rows than the others.
    """

    def __init__(
        self, make: Callable[[], Iterator[Structure]], size: int, batched: bool = False
    ) -> None:
        self._make, self._size, self._batched = make, size, batched


def structure_of(value: Any) -> Structure:
    """Tuples and dictionaries stay; lists become arrays, data sets are leaves."""
    if isinstance(value, Mapping):
        return {key: structure_of(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(structure_of(part) for part in value)
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a pandas DataFrame
        return np.asarray(value)
    if isinstance(value, list) and value and isinstance(value[0], Passes):
        return tuple(value)
    return value


def leaves(structure: Structure) -> Iterator[Any]:
    if isinstance(structure, Mapping):
        for part in structure.values():
            yield from leaves(part)
    elif isinstance(structure, tuple):
        for part in structure:
            yield from leaves(part)
    else:
        yield structure


def mapped(function: Callable[[Any], Any], structure: Structure) -> Structure:
    """Apply a function to each leaf of a structure."""
    if isinstance(structure, Mapping):
        return {key: mapped(function, part) for key, part in structure.items()}
    if isinstance(structure, tuple):
        return tuple(mapped(function, part) for part in structure)
    return function(structure)


def row_of(structure: Structure, number: int) -> Structure:
    """One row of each tensor."""
    return mapped(lambda part: tensor(part[number]), structure)


def filled(structure: Structure, given: Iterator[Any]) -> Structure:
    """A structure with the same layout and new leaves."""
    return mapped(lambda _: next(given), structure)


def as_element(value: Any) -> Structure:
    """The result of a user function: tensors or data sets."""
    return mapped(
        lambda part: part if isinstance(part, Passes) else tensor(part),
        structure_of(value),
    )


def as_types(element: Any, types: Any) -> Structure:
    """A generator's element, cast to the given dtypes."""
    if isinstance(types, (tuple, list)):
        parts = zip(element, types, strict=True)
        return tuple(as_types(part, kind) for part, kind in parts)
    if isinstance(types, Mapping):
        return {key: as_types(element[key], kind) for key, kind in types.items()}
    return tensor(element, types)


def called(function: Callable[..., Any], element: Structure) -> Any:
    return function(*element) if isinstance(element, tuple) else function(element)


def stacked(parts: list[Any]) -> Any:
    if isinstance(parts[0], Passes):
        raise TypeError(
            "[Dataset.batch] datasets cannot be batched. Received: elements of a "
            "window. Try flat_map(lambda window: window.batch(n))."
        )
    return tensor(np.stack(parts))


def joined(
    join: Callable[..., Any], rows: list[Structure], *along: Structure
) -> Structure:
    """One structure with the results of `join` on the corresponding parts of several;
    extra arguments have the same structure, or are one value for all."""
    first = rows[0]
    if isinstance(first, Mapping):
        return {
            key: joined(join, [r[key] for r in rows], *(part(a, key) for a in along))
            for key in first
        }
    if isinstance(first, tuple):
        return tuple(
            joined(join, [r[i] for r in rows], *(part(a, i) for a in along))
            for i in range(len(first))
        )
    return join(rows, *along)


def part(given: Any, key: Any) -> Any:
    return given[key] if isinstance(given, (tuple, Mapping)) and given else given
