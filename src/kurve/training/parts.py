"""The inputs or outputs of a model: their names, and how values are assigned to them.

Values for several parts come in the structure of the model, as a list in the order of
the parts, or as a dictionary (or data frame columns) by name. Structures are flattened
as in Keras: lists in order, dictionaries by sorted keys, OrderedDicts by insertion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from kurve.core.arrays import is_frame
from kurve.formulas.tensor import keys, leaves


def flatten(structure: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dictionaries."""
    return list(leaves(structure))


def _paths(structure: Any, before: str) -> Iterator[str]:
    """See `Parts.loss_labels`, in the order of `flatten`."""
    by_key = isinstance(structure, Mapping)
    for key in keys(structure) if by_key else range(len(structure)):
        value = structure[key]
        if isinstance(value, (list, tuple, Mapping)):
            yield from _paths(value, f"{before}{key}/")
        else:
            yield f"{before}{key if by_key else value}"


class Parts:
    """The inputs or outputs of a model.

    what:      "input" or "output"
    names:     of each part, in order; "" if unknown
    structure: names in the structure the user passed; None for a single part
    """

    def __init__(
        self, what: str, names: tuple[str, ...], structure: Any = None
    ) -> None:
        self.what, self.names, self.structure = what, names, structure
        self._places: tuple[str, list[str]] = "", []

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names for messages and logs: the keys of a dictionary, else the layer
        names."""
        if self.is_dict:
            return tuple(map(str, keys(self.structure)))
        return self.names

    @cached_property
    def loss_labels(self) -> tuple[str, ...]:
        """Names for losses in logs: those of Keras, the keys that lead to an output in
        nested structures, and its name in place of an index that ends them."""
        if self.is_dict or self.is_flat or self.structure is None:
            return self.labels
        return tuple(_paths(self.structure, ""))

    @cached_property
    def is_flat(self) -> bool:
        """Whether the structure is a list or tuple of the parts themselves."""
        return isinstance(self.structure, (list, tuple)) and not any(
            isinstance(one, (list, tuple, Mapping)) for one in self.structure
        )

    @cached_property
    def is_dict(self) -> bool:
        """Whether the structure is a dictionary with one part per key."""
        return isinstance(self.structure, Mapping) and len(self.structure) == len(
            self.names
        )

    def single(self, value: Any) -> Any:
        """The value of a single part: of a dictionary, that of its name. As in Keras, a
        data set may have more columns than a model reads."""
        if isinstance(value, Mapping) and (self.what == "input" or len(value) == 1):
            for label in (*self.labels, *self.names):
                if label in value:
                    return value[label]
        return value

    def where(self, where: str, index: int) -> str:
        """`where` for a message about one part."""
        if len(self.names) == 1:
            return where
        return f"{where}, {self.what} {self.labels[index]!r}"

    def places(self, where: str) -> list[str]:
        """`where` for each part."""
        if self._places[0] != where:
            count = range(len(self.names))
            self._places = where, [self.where(where, i) for i in count]
        return self._places[1]

    def split(
        self, where: str, argument: str, value: Any, optional: Sequence[bool] = ()
    ) -> list[Any]:
        """One value per part.

        Args:
            where, argument: used in messages.
            optional: which parts can be omitted; their value is then None.

        Raises:
            TypeError: a single value although several are needed.
            ValueError: missing or unknown names, or a wrong number of values.
        """
        if (
            self.is_flat
            and type(value) in (list, tuple)
            and len(value) == len(self.names)
        ):  # fast path: keeps generator batches at microseconds
            return list(value)
        if (
            type(value) is dict
            and len(value) == len(self.names)
            and (self.is_flat or self.is_dict)
            and all(map(value.__contains__, self.labels))
        ):
            return [value[label] for label in self.labels]
        optional = list(optional) or [False] * len(self.names)
        if is_frame(value):
            columns = getattr(value, "columns", None)
            columns = value.column_names if columns is None else columns
            value = {name: value[name] for name in columns}
        if isinstance(value, Mapping):
            return self._by_name(where, argument, value, optional)
        if sum(not free for free in optional) == 1 and hasattr(value, "shape"):
            return [None if free else value for free in optional]
        if not isinstance(value, (list, tuple)):
            raise TypeError(
                f"[{where}] {argument} must have one value for each of the "
                f"{len(self.names)} {self.what}s {self._listed}. Received: an object "
                f"of type {type(value).__name__}. "
                f"Try {argument}={self._form}."
            )
        if self.structure is not None and fits(self.structure, value):
            return up_to(self.structure, value)
        needed = [i for i, one in enumerate(optional) if not one]
        if len(value) == len(self.names):
            return list(value)
        if len(value) == len(needed) and needed:
            found = dict(zip(needed, value, strict=True))
            return [found.get(i) for i in range(len(self.names))]
        raise ValueError(
            f"[{where}] {argument} must have one value for each of the "
            f"{len(self.names)} {self.what}s {self._listed}. Received: "
            f"{len(value)} values. "
            f"Try {argument}={self._form}."
        )

    def _by_name(
        self,
        where: str,
        argument: str,
        value: Mapping[Any, Any],
        optional: Sequence[bool],
    ) -> list[Any]:
        if self.structure is not None and fits(self.structure, value):
            return up_to(self.structure, value)
        labels = self.labels
        if self.is_dict and not set(value) <= set(labels):
            labels = self.names if set(value) <= set(self.names) else labels
        missing = [
            name
            for name, free in zip(labels, optional, strict=True)
            if name not in value and not free
        ]
        # As Keras: a data set may have more columns than a model reads.
        spare = self.what == "input" and self.is_dict and not missing
        unknown = [] if spare else [name for name in value if name not in labels]
        if missing or unknown:
            problem = [
                f"{', '.join(map(repr, names))} {what}"
                for names, what in ((missing, "missing"), (unknown, "unknown"))
                if names
            ]
            raise ValueError(
                f"[{where}] {argument} must have one value for each of the "
                f"{self.what}s {self._listed}. Received: {' and '.join(problem)}. "
                f"Try {argument}={self._form}."
            )
        return [value.get(name) for name in labels]

    @property
    def _form(self) -> str:
        return "{" + ", ".join(f"{label!r}: ..." for label in self.labels) + "}"

    @property
    def _listed(self) -> str:
        return ", ".join(map(repr, self.labels))


def up_to(structure: Any, value: Any) -> list[Any]:
    """The parts of a value at the leaves of the structure."""
    if isinstance(structure, Mapping):
        return [
            leaf
            for key in keys(structure)
            for leaf in up_to(structure[key], value[key])
        ]
    if isinstance(structure, (list, tuple)):
        pairs = zip(structure, value, strict=True)
        return [leaf for one, part in pairs for leaf in up_to(one, part)]
    return [value]


def fits(structure: Any, value: Any) -> bool:
    """Whether a value is nested like the structure; leaves can be anything."""
    if isinstance(structure, Mapping):
        return (
            isinstance(value, Mapping)
            and set(value) == set(structure)
            and all(fits(structure[key], value[key]) for key in structure)
        )
    if isinstance(structure, (list, tuple)):
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(structure)
            and all(map(fits, structure, value))
        )
    return True
