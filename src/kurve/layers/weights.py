"""The weights of layers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from kurve import initializers, regularizers
from kurve.core.arguments import (
    check_flag,
    check_name,
    check_unused,
    is_count,
    is_integer,
)
from kurve.core.entries import entries, entry, shown
from kurve.core.overrides import custom_members
from kurve.formulas.tensor import leaves
from kurve.layers.arguments import check_size, constraint_of
from kurve.layers.changes import changed
from kurve.layers.formula import LayerFormula
from kurve.layers.placing import assign_all, placements
from kurve.layers.variable import Variable
from kurve.plan import Shape

running: list[LayerWeights] = []
"""The custom layers whose `build` or `call` is running: their names prefix those of
weights created meanwhile."""


_plain: set[type] = {bool, float, int, str, type(None)}
"""Types that are neither layers nor structures."""


def _kinds_in(kind: type, value: Any) -> Iterable[type]:
    """The types of the parts of a list or a tuple; else its own."""
    return map(type, value) if kind is list or kind is tuple else (kind,)


_NO_SETTINGS = frozenset({"trainable", "built", "built_shape", "name"})
"""Attributes that a plan does not depend on, or that are compared anyway."""

SETTINGS = (bool, int, float, str, type(None))
"""Types that are compared by value."""


def _differ(old: Any, new: Any) -> bool:
    """Whether a layer with the new value instead of the old one can be another one."""
    if isinstance(old, SETTINGS) and isinstance(new, SETTINGS):
        return bool(old != new)
    return old is not new


@entries
class LayerWeights(LayerFormula):
    """The weights of a layer and its sublayers."""

    _variables: list[Variable]

    built_shape: Shape | None
    """Sample shapes that the weights were created for."""

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if name[0] == "_" or name in _NO_SETTINGS or own.get("built_shape") is None:
            try:
                object.__setattr__(self, name, value)
            except (TypeError, ValueError) as error:
                raise shown(error)  # noqa: B904 - it is the same error
            return
        place = name if name in own else f"_{name}"
        there, old = place in own, own.get(place)
        object.__setattr__(self, name, value)
        if there and not running and _differ(old, own.get(place)):
            changed(self)

    constrained: Mapping[str, str] = MappingProxyType({})
    """The constraint argument of each variable: {"bias": "bias_constraint"}."""

    @property
    def parts(self) -> list[Any]:
        """The layers that are attributes of this one, including those in lists and
        dictionaries, in order."""
        found: dict[int, Any] = {}
        # Called before each training step: most attributes are recognized by their
        # type.
        for name, value in vars(self).items():
            kind = type(value)
            if kind in _plain or name == "_given":
                continue
            if _plain.issuperset(_kinds_in(kind, value)):
                continue
            for part in leaves(value):
                if not isinstance(part, LayerWeights):
                    _plain.add(type(part))
                elif part is not self:
                    found.setdefault(id(part), part)
        return list(found.values())

    @property
    def attributes(self) -> list[tuple[str, Any]]:
        """Attribute names and values, without constructor arguments."""
        return [(k, value) for k, value in vars(self).items() if k != "_given"]

    def leave(self, network: Any) -> None:
        """Remove the layer and its weights from a model."""
        for variable in self.variables:
            variable.leave(network)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Put the layer's own variables into `store`, by their position: "0", "1", ...

        Args:
            store: a dictionary, or the like.
        """
        for number, variable in enumerate(self._variables):
            store[str(number)] = np.array(variable.value)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Take the values that `save_own_variables` has put into `store`.

        Raises:
            ValueError: another number of variables, or another shape.
        """
        if len(store) != len(self._variables):
            raise ValueError(
                f"[{type(self).__name__}] store must have a value for each of the "
                f"layer's {len(self._variables)} variables. Received: {len(store)} "
                "values. Try the same arguments, and build the layer first."
            )
        for number, variable in enumerate(self._variables):
            variable.assign(store[str(number)])

    built_when_made = False
    """Whether it is built before it knows its shape, as the same layer of Keras is."""

    @property
    def built(self) -> bool:
        """Whether its weights exist. A layer without weights may have them from the
        start, see `built_when_made`."""
        if "built_shape" not in vars(self):
            name = type(self).__name__
            raise RuntimeError(
                f"[{name}] super().__init__() must run before the layer is used. "
                f"Received: a layer without it. Try it first in {name}.__init__."
            )
        if self.built_shape is not None:
            return True
        return self.built_when_made and all(
            "build" not in members for members in custom_members(self)
        )

    @built.setter
    def built(self, value: bool) -> None:
        """Keras's `build` ends with `self.built = True`; here it has no effect."""

    @property
    def trainable(self) -> bool:
        """Whether training updates the weights."""
        return self._trainable

    @trainable.setter
    @entry
    def trainable(self, value: bool) -> None:
        self._trainable = check_flag(type(self).__name__, "trainable", value)
        for part in self.parts:
            part.trainable = self._trainable

    @property
    def own_variables(self) -> list[Variable]:
        """The variables without those of sublayers, trainable ones first."""
        attributes = vars(self).values()
        free = [v for v in attributes if isinstance(v, Variable) and v.is_free]
        found = [*self._variables, *free]
        params = [v for v in found if v.role == "param"]
        return params + [v for v in found if v.role != "param"]

    @property
    def variables(self) -> list[Variable]:
        """All variables, including constants and those of sublayers."""
        if not self.parts:
            return self.own_variables
        found = {id(v): v for v in self.own_variables}
        for part in self.parts:
            found.update((id(v), v) for v in part.variables)
        return list(found.values())

    @property
    def weights(self) -> list[Variable]:
        return [v for v in self.variables if v.is_weight]

    @property
    def trainable_weights(self) -> list[Variable]:
        found = {id(v): v for v, trainable in placements([self], True) if trainable}
        return [v for v in found.values() if v.role == "param"]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        trainable = {id(v) for v in self.trainable_weights}
        return [v for v in self.weights if id(v) not in trainable]

    trainable_variables = trainable_weights

    non_trainable_variables = non_trainable_weights

    def count_params(self) -> int:
        """Number of elements of all weights."""
        return sum(v.value.size for v in self.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights, or none if one does not fit.

        Raises:
            ValueError: wrong number or shapes of arrays.
        """
        assign_all(f"layer {self.name!r}", self.weights, weights)

    def add_weight(
        self,
        shape: Sequence[int] | int | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
        *,
        role: str | None = None,
    ) -> Variable:
        """Create a weight; for use in `build`.

        Args:
            shape: shape of the weight; () is a scalar.
            initializer: name or object of `kurve.initializers`; by default
                "glorot_uniform", or "zeros" for integers.
            dtype: None or "float32".
            trainable: whether training updates it.
            autocast, aggregation, overwrite_with_gradient: Keras's defaults.
            regularizer: name or object of `kurve.regularizers`, or None.
            constraint: name or object of `kurve.constraints`; None for the one listed
                in `constrained`, if any.
            name: by default "variable", with a number if there are several.
            role: see `Variable`; overrides `trainable`.

        Raises:
            TypeError, ValueError: an invalid shape, or an unknown name.
        """
        where = f"{type(self).__name__}.add_weight"
        if isinstance(shape, str):
            raise TypeError(
                f"[{where}] the shape comes first, and name is a keyword argument. "
                f"Received: add_weight({shape!r}, ...). "
                f"Try add_weight(shape, name={shape!r})."
            )
        check_unused(
            where,
            aggregation=aggregation,
            overwrite_with_gradient=overwrite_with_gradient,
        )
        axes = (shape,) if is_integer(shape) else () if shape is None else tuple(shape)  # type: ignore[arg-type]
        if not all(is_count(axis) for axis in axes):
            raise ValueError(
                f"[{where}] the shape must be a tuple of positive integers. "
                f"Received: shape={shape!r}. Try an Input with known sizes."
            )
        check_size(type(self), name or "weight", axes)  # type: ignore[arg-type]
        if initializer is None and "int" in str(dtype):
            initializer = "zeros"
        if role is None:
            role = "param" if check_flag(where, "trainable", trainable) else "buffer"
        if name is None:
            count = sum("/variable" in v.name for v in self._variables)
            name = f"variable_{count}" if count else "variable"
        if constraint is None:
            constraint = getattr(self, self.constrained.get(name, ""), None)
        outer = [layer for layer in running if layer is not self]
        variable = Variable(
            "/".join([*path_of([*outer, self]), check_name(where, name)]),
            tuple(int(axis) for axis in axes),  # type: ignore[arg-type]
            initializers.of_weight(initializer),
            role,
            regularizers.get(regularizer),
            None if constraint is None else constraint_of(constraint),
        )
        self._variables.append(variable)
        return variable


def path_of(layers: Sequence[LayerWeights]) -> list[str]:
    """Names for the weights of the last of these nested layers: the name of the first,
    then names of attributes, which are the same in every copy."""
    names = [layers[0].name]
    for outer, part in itertools.pairwise(layers):
        names.append(_attribute_of(part, outer) or part.name)
    return names


def _attribute_of(part: LayerWeights, outer: LayerWeights) -> str | None:
    if outer.parts_by_name:
        return None
    for name, value in outer.attributes:
        if isinstance(value, (LayerWeights, list, tuple, Mapping)):
            for place, leaf in enumerate(leaves(value)):
                if leaf is part:
                    name = name.lstrip("_")
                    return name if value is part else f"{name}_{place}"
    return None
