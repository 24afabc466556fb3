"""Weights in Keras's HDF5 files, in both layouts, and writing optimizer states.

Keras 3      layers/<class>_<i>/vars/<j>                 weights of a layer, in order
Keras 1, 2   attribute layer_names, <layer>/<weight>     named by attribute weight_names

Reading does not need h5py. Shapes come from the configured layers; an array is read
only after its shape in the file has been checked.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.entries import warn
from kurve.core.inside import is_model, network_of
from kurve.core.overrides import is_own
from kurve.exchange.hdf5 import Dataset, Group, Reader
from kurve.exchange.hdf5_messages import HDF5Error
from kurve.exchange.keras_names import WRITTEN_AS
from kurve.exchange.keras_tree import Part, is_own_model, old_order, tree_of
from kurve.layers.base import Layer, Variable
from kurve.metrics import Metric
from kurve.optimizers import Optimizer
from kurve.optimizers.values import slot_views
from kurve.plan import Plan
from kurve.random import SeedGenerator

if TYPE_CHECKING:
    import h5py

_OLD_LAYERS = "_layer_checkpoint_dependencies"  # Keras 2.12 and 2.13


def snake_case(name: str) -> str:
    """LeakyReLU -> leaky_re_lu, Conv2D -> conv2d: the names of Keras's groups."""
    spaced = re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name)
    return spaced.lower()


def group_name(cls: str) -> str:
    """The name of the groups of a class."""
    return snake_case(WRITTEN_AS.get(cls, cls))


def group_names(classes: Sequence[str]) -> Iterator[str]:
    """The group of each layer: dense, dense_1, dropout, dense_2, ..."""
    counts: dict[str, int] = {}
    for cls in classes:
        name = group_name(cls)
        number = counts.get(name, 0)
        counts[name] = number + 1
        yield f"{name}_{number}" if number else name


# -------------------------------------------------------------------- reading


def read_weights(
    reader: Reader, group: Group, tree: Sequence[Part], skip: bool = False
) -> dict[int, np.ndarray]:
    """The weights of built layers by variable id, in either layout.

    Args:
        group: the group with the weights: the root, or model_weights for a whole model.
        tree: the layers of the model, including InputLayer.
        skip: whether to leave out layers whose weights have other shapes, with a
            warning.

    Raises:
        HDF5Error: they are corrupt or do not match the layers.
    """
    if (names := reader.texts(group, "layer_names")) is not None:
        return _read_named(reader, group, names, tree, skip)
    found: dict[int, np.ndarray] = {}
    _read_numbered(reader, group, tree, found, set(), skip)
    return found


@contextlib.contextmanager
def _leaving_out(layer: str, skip: bool) -> Iterator[None]:
    """Warn about a layer whose weights do not fit, if `skip`, rather than stop."""
    try:
        yield
    except HDF5Error as error:
        if not skip:
            raise
        warn(
            f"[load_weights] the layer {layer!r} keeps its weights, because the file's "
            f"do not fit: {error}. Received: skip_mismatch=True. Try skip_mismatch="
            "False if all layers should fit."
        )


def _read_numbered(
    reader: Reader,
    group: Group,
    tree: Sequence[Part],
    found: dict[int, np.ndarray],
    seen: set[int],
    skip: bool,
) -> None:
    """Read the weights of a model in the layout of Keras 3. A shared layer is stored
    where it occurs first."""
    tree = [part for part in tree if part.cls != "InputLayer"]
    whole = any(part.whole for part in tree)
    places = [""] if whole else _places(reader, group, [part.cls for part in tree])
    for part, place in zip(tree, places, strict=True):
        if id(part.layer) in seen:
            continue
        if part.inside is not None:
            seen.add(id(part.layer))
            if reader.has(place, group):
                inner = reader.group(place, group)
                _read_numbered(reader, inner, part.inside, found, seen, skip)
            elif any(True for _ in _weights_of(part)):
                with _leaving_out(part.name, skip):
                    raise HDF5Error(f"it has no weights of the model {part.name!r}")
            continue
        inside = dict(places_of(part.layer, place, seen))
        for below, variables in inside.items():
            with _leaving_out(part.name, skip):
                weights = _weights_at(reader, group, below)
                if len(weights) != len(variables):
                    raise HDF5Error(
                        f"{below!r} has {len(weights)} weights, and the layer "
                        f"{part.name!r} {len(variables)}"
                    )
                pairs = list(zip(weights, variables, strict=True))
                found |= {id(v): reader.array(d, v.shape) for d, v in pairs}
        if not whole and not skip:  # its metrics and optimizer have weights there too
            _refuse_others(reader, group, list(inside), part)
    if whole or skip:
        return
    above = places[0].partition("/")[0] if places else "layers"
    there = reader.group(above, group).members if reader.has(above, group) else {}
    for name in there:
        if f"{above}/{name}" not in places and _weights_at(
            reader, group, f"{above}/{name}"
        ):
            raise HDF5Error(f"the model has no layer for the weights of {name!r}")


def places_of(
    layer: Any, place: str, seen: set[int]
) -> Iterator[tuple[str, list[Variable]]]:
    """The groups of a layer's own weights and of its sublayers, see `holders_of`."""
    for below, holder in holders_of(layer, place, seen):
        yield below, [v for v in holder.own_variables if v.is_weight]


def holders_of(layer: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """A layer and its sublayers, each with its group: it is named after the attribute,
    those in a list after their classes. A shared layer is stored where it occurs first.

    Args:
        place: the layer's group; "" for the root.
        seen: ids of the layers already located.
    """
    if id(layer) in seen:
        return
    seen.add(id(layer))
    if is_model(layer) and not is_own_model(layer):
        tree = tree_of(layer)
        for part, name in zip(tree, group_names([p.cls for p in tree]), strict=True):
            yield from holders_of(part.layer, _under(place, f"layers/{name}"), seen)
        return
    yield place, layer
    for name, value in _attributes(layer):
        yield from _in_attribute(value, _under(place, name), seen)


def _under(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _attributes(layer: Any) -> list[tuple[str, Any]]:
    """Names and values of attributes that can hold layers. Keras's own classes have the
    same attributes, in its order, and use the name of a property if there is one; those
    of user classes are visited by name, private ones last, including properties."""
    if not is_own(type(layer)):
        return [(_public(layer, name), value) for name, value in layer.attributes]
    found = dict(layer.attributes)
    for cls in type(layer).__mro__:
        if not is_own(cls):
            break
        for name, member in vars(cls).items():
            if isinstance(member, property):
                with contextlib.suppress(Exception):  # the user's code
                    found.setdefault(name, getattr(layer, name))
    if is_own_model(layer):
        found["layers"] = layer.layers
        found.pop("_body", None)
    return sorted(found.items(), key=lambda item: (item[0][:1] == "_", item[0]))


def _public(layer: Any, name: str) -> str:
    """The name of the property that returns this attribute, or its own name."""
    public = name.lstrip("_")
    return public if hasattr(type(layer), public) else name


def _in_attribute(value: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Layer):
        yield from holders_of(value, place, seen)
    elif isinstance(value, (list, tuple, Mapping)):
        parts = list(value.values()) if isinstance(value, Mapping) else list(value)
        inside = [p for p in parts if isinstance(p, (Layer, list, tuple, Mapping))]
        classes = [_class_of(p) if isinstance(p, Layer) else "" for p in inside]
        for part, name in zip(
            inside, group_names([cls or "Container" for cls in classes]), strict=True
        ):
            yield from _in_attribute(part, f"{place}/{name}", seen)


def _class_of(layer: Any) -> str:
    """The Keras class of a layer or model."""
    if not is_model(layer) or is_own(type(layer)):
        return type(layer).__name__
    return "Sequential" if network_of(layer).structure is None else "Functional"


def _refuse_others(
    reader: Reader, group: Group, places: Sequence[str], part: Part
) -> None:
    """Reject weights of sublayers that a layer does not have, except those of random
    generators and metrics."""
    for place in places:
        for below in reader.groups(place, group):
            inner = f"{place}/{below}"
            if below in ("vars", "seed_generator") or inner in places:
                continue
            held = getattr(part.layer, below, None) if place == places[0] else None
            if isinstance(held, (Metric, SeedGenerator)):
                continue
            if _weights_at(reader, group, inner):
                raise HDF5Error(f"the layer {part.name!r} has no part for {inner!r}")


def _weights_of(part: Part) -> Iterator[Variable]:
    for inner in part.inside or ():
        yield from _weights_of(inner)
    if part.inside is None:
        yield from part.variables()


def _places(reader: Reader, group: Group, classes: Sequence[str]) -> list[str]:
    """The group of each layer. Keras 2.12 counts the layers of one class twice, so only
    the order of the numbers matters."""
    above = "layers" if "layers" in group.members else _OLD_LAYERS
    members = reader.group(above, group).members if reader.has(above, group) else {}
    by_class: dict[str, list[str]] = {}
    for name in sorted(members, key=lambda name: (len(name), name)):
        by_class.setdefault(re.sub(r"_\d+$", "", name), []).append(name)
    places = []
    for cls, name in zip(classes, group_names(classes), strict=True):
        if cls != "InputLayer":
            there = by_class.get(group_name(cls), [])
            places.append(f"{above}/{there.pop(0) if there else name}")
    return places


def _weights_at(reader: Reader, group: Group, place: str) -> list[Dataset]:
    """The weights of the layer in that group, in order."""
    place = _under(place, "vars")
    if not reader.has(place, group):
        return []
    where = reader.group(place, group)
    return [reader.dataset(where, str(i)) for i in range(len(where.members))]


def first_shape(
    reader: Reader, group: Group, classes: Sequence[str]
) -> tuple[int, ...]:
    """Shape of the first weight of the first layer that has one, or ()."""
    if (names := reader.texts(group, "layer_names")) is not None:
        for name in names:
            where = reader.group(name, group)
            if weights := reader.texts(where, "weight_names"):
                return reader.dataset(where, weights[0]).shape
        return ()
    datasets = _weights_at(reader, group, _places(reader, group, classes)[0])
    return datasets[0].shape if datasets else ()


def _read_named(
    reader: Reader,
    group: Group,
    names: Sequence[str],
    tree: Sequence[Part],
    skip: bool,
) -> dict[int, np.ndarray]:
    """The weights in the layout of Keras 1 and 2, which matches layers by order."""
    with_weights = [(part, order) for part in tree if (order := old_order(part))]
    places = []
    for name in names:
        where = reader.group(name, group)
        weights = reader.texts(where, "weight_names") or []
        if weights:
            places.append((where, weights))
    if len(places) != len(with_weights):
        raise HDF5Error(
            f"it has weights of {len(places)} layers, and the model of "
            f"{len(with_weights)}"
        )
    found: dict[int, np.ndarray] = {}
    for (part, variables), (where, weights) in zip(with_weights, places, strict=True):
        with _leaving_out(part.name, skip):
            if len(weights) != len(variables):
                raise HDF5Error(
                    f"{where.name!r} has {len(weights)} weights, and the layer "
                    f"{part.name!r} {len(variables)}"
                )
            pairs = [
                (reader.dataset(where, name), variable)
                for name, variable in zip(weights, variables, strict=True)
            ]
            found |= {id(v): reader.array(d, v.shape) for d, v in pairs}
    return found


# -------------------------------------------------------------------- writing


def write_weights(file: h5py.Group, tree: Sequence[Part]) -> None:
    """Write the weights in the layout of Keras 3."""
    _write_numbered(file, tree, set())


def _write_numbered(file: h5py.Group, tree: Sequence[Part], seen: set[int]) -> None:
    for part, name in zip(tree, group_names([p.cls for p in tree]), strict=True):
        # Shared with another model: stored where it occurs first.
        if id(part.layer) in seen:
            continue
        above = "" if part.whole else f"layers/{name}"
        group = file.require_group(_under(above, "vars"))
        group.attrs["name"] = part.name
        if part.inside is not None:
            seen.add(id(part.layer))
            _write_numbered(file[above], part.inside, seen)
            continue
        for place, variables in places_of(part.layer, above, seen):
            if variables:
                group = file.require_group(_under(place, "vars"))
            for i, variable in enumerate(variables):
                group.create_dataset(str(i), data=_as_keras(variable))


def write_named_weights(group: h5py.Group, tree: Sequence[Part]) -> None:
    """Write the weights in the layout of Keras 1 and 2."""
    _write_names(group, "layer_names", [part.name for part in tree])
    for part in tree:
        where = group.create_group(part.name)
        paths = _paths(part, "")
        named = [(paths[id(v)], _as_keras(v)) for v in old_order(part)]
        _write_arrays(where, named)
    _write_arrays(group.create_group("top_level_model_weights"), [])


def _paths(part: Part, above: str) -> dict[int, str]:
    """The name of each weight, prefixed by the names of its nested models."""
    if part.inside is None:
        return {id(v): above + v.name for v in part.variables()}
    found: dict[int, str] = {}
    for inner in part.inside:
        under = f"{above}{inner.name}/" if inner.inside is not None else above
        found = {**_paths(inner, under), **found}
    return found


def optimizer_arrays(
    optimizer: Optimizer,
    plan: Plan,
    step: int,
    slots: np.ndarray,
    scalars: np.ndarray,
) -> list[tuple[str, np.ndarray]]:
    """Name and value of each optimizer array, in Keras's order."""
    integer = np.int32 if step < 2**31 else np.int64
    named = [("iteration", np.array(step, integer))]
    if isinstance(optimizer.given_rate, float):
        named.append(("learning_rate", np.array(optimizer.learning_rate, np.float32)))
    if optimizer.is_written:
        named += optimizer.applier.named if optimizer.built else []
        return [
            (f"{optimizer.name}/{name}", np.asarray(value)) for name, value in named
        ]
    named += slot_views(optimizer, plan.params, slots)
    named += [(f"variable_{i}", np.array(value)) for i, value in enumerate(scalars)]
    return [(f"{optimizer.name}/{name}", value) for name, value in named]


def write_optimizer(file: h5py.Group, name: str, arrays: Sequence[Any]) -> None:
    """Write the optimizer's arrays in the layout of Keras 3."""
    group = file.create_group("optimizer/vars")
    group.attrs["name"] = name
    for i, (_, value) in enumerate(arrays):
        group.create_dataset(str(i), data=value)


def write_named_optimizer(file: h5py.Group, arrays: Sequence[Any]) -> None:
    """Write the optimizer's arrays in the layout of Keras 1 and 2."""
    _write_arrays(file.create_group("optimizer_weights"), arrays)


def _write_arrays(group: h5py.Group, named: Sequence[tuple[str, np.ndarray]]) -> None:
    _write_names(group, "weight_names", [name for name, _ in named])
    for name, value in named:
        group.create_dataset(name, data=value)


def _write_names(group: h5py.Group, name: str, values: Sequence[str]) -> None:
    """A list of strings, split if it is too long for one attribute."""
    texts = [value.encode() for value in values]
    width = max(map(len, texts), default=1)
    most = max(1, 60_000 // width)
    if len(texts) <= most:
        group.attrs[name] = np.array(texts, f"S{width}")
        return
    for i in range(0, len(texts), most):
        part = np.array(texts[i : i + most], f"S{width}")
        group.attrs[f"{name}{i // most}"] = part


def _as_keras(variable: Variable) -> np.ndarray:
    """The value; `Normalization`'s count is an integer in Keras."""
    is_count = variable.role == "buffer" and variable.name.endswith("/count")
    return variable.numpy().astype(np.int32) if is_count else variable.numpy()
