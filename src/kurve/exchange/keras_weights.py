"""Weights in Keras's HDF5 files, in both layouts, and the writing of optimizer states.

Keras 3      layers/<class>_<i>/vars/<j>                 weights of a layer, in order
Keras 1, 2   attribute layer_names, <layer>/<weight>     named by attribute weight_names

Reading does not need h5py. Shapes come from the layers of the configuration; an array
is read only after its shape in the file was found to be the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.exchange.hdf5 import Dataset, Group, Reader
from kurve.exchange.hdf5_messages import HDF5Error
from kurve.layers.base import Layer, Variable
from kurve.optimizers import Optimizer
from kurve.optimizers.values import slot_views
from kurve.plan import Plan

if TYPE_CHECKING:
    import h5py

Arrays = list[np.ndarray]

_OLD_LAYERS = "_layer_checkpoint_dependencies"  # of Keras 2.12 and 2.13


def snake_case(name: str) -> str:
    """LeakyReLU -> leaky_re_lu, Conv2D -> conv2d: the names of Keras's groups."""
    spaced = re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name)
    return spaced.lower()


def group_names(classes: Sequence[str]) -> Iterator[str]:
    """The group of each layer: dense, dense_1, dropout, dense_2, ..."""
    counts: dict[str, int] = {}
    for cls in classes:
        name = snake_case(cls)
        number = counts.get(name, 0)
        counts[name] = number + 1
        yield f"{name}_{number}" if number else name


def keras_order(layer: Layer) -> list[Variable]:
    """A layer's weights in Keras's order: those with gradients, then the others."""
    return sorted(layer.weights, key=lambda variable: variable.role != "param")


# -------------------------------------------------------------------- reading


def read_weights(
    reader: Reader, group: Group, layers: Sequence[Layer], classes: Sequence[str]
) -> list[Arrays]:
    """The weights of built layers, in the order of `keras_order`, in either layout.

    Args:
        group: that holds them: the root, or model_weights of a whole model.
        classes: Keras's class of each entry of the model, an InputLayer too.

    Raises:
        HDF5Error: they are corrupt, or do not fit the layers.
    """
    if (names := reader.texts(group, "layer_names")) is not None:
        return _read_named(reader, group, names, layers)
    places = _places(reader, group, classes)
    arrays: list[Arrays] = []
    for layer, place in zip(layers, places, strict=True):
        variables = keras_order(layer)
        weights = _weights_at(reader, group, place)
        if len(weights) != len(variables):
            raise HDF5Error(
                f"{place!r} has {len(weights)} weights, and the layer {layer.name!r} "
                f"{len(variables)}"
            )
        pairs = zip(weights, variables, strict=True)
        arrays.append([reader.array(dataset, v.shape) for dataset, v in pairs])
    above = places[0].partition("/")[0] if places else "layers"
    there = reader.group(above, group).members if reader.has(above, group) else {}
    for name in there:
        if f"{above}/{name}" not in places and _weights_at(
            reader, group, f"{above}/{name}"
        ):
            raise HDF5Error(f"the model has no layer for the weights of {name!r}")
    return arrays


def _places(reader: Reader, group: Group, classes: Sequence[str]) -> list[str]:
    """The group of each layer except an InputLayer. Keras 2.12 counts the layers of one
    class twice, so only the order of the numbers means something."""
    above = "layers" if "layers" in group.members else _OLD_LAYERS
    members = reader.group(above, group).members if reader.has(above, group) else {}
    by_class: dict[str, list[str]] = {}
    for name in sorted(members, key=lambda name: (len(name), name)):
        by_class.setdefault(re.sub(r"_\d+$", "", name), []).append(name)
    places = []
    for cls, name in zip(classes, group_names(classes), strict=True):
        if cls != "InputLayer":
            there = by_class.get(snake_case(cls), [])
            places.append(f"{above}/{there.pop(0) if there else name}")
    return places


def _weights_at(reader: Reader, group: Group, place: str) -> list[Dataset]:
    """The weights of the layer in that group, in their order."""
    if not reader.has(f"{place}/vars", group):
        return []
    where = reader.group(f"{place}/vars", group)
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
    reader: Reader, group: Group, names: Sequence[str], layers: Sequence[Layer]
) -> list[Arrays]:
    """The weights in the layout of Keras 1 and 2, whose layers are matched by order."""
    with_weights = [layer for layer in layers if keras_order(layer)]
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
    read: dict[int, Arrays] = {}
    for layer, (where, weights) in zip(with_weights, places, strict=True):
        variables = keras_order(layer)
        if len(weights) != len(variables):
            raise HDF5Error(
                f"{where.name!r} has {len(weights)} weights, and the layer "
                f"{layer.name!r} {len(variables)}"
            )
        read[id(layer)] = [
            reader.array(reader.dataset(where, name), variable.shape)
            for name, variable in zip(weights, variables, strict=True)
        ]
    return [read.get(id(layer), []) for layer in layers]


# -------------------------------------------------------------------- writing


def write_weights(
    file: h5py.Group, layers: Sequence[Layer], classes: list[str]
) -> None:
    """Write the weights in the layout of Keras 3."""
    for layer, name in zip(layers, group_names(classes), strict=True):
        group = file.create_group(f"layers/{name}/vars")
        group.attrs["name"] = layer.name
        for i, variable in enumerate(keras_order(layer)):
            group.create_dataset(str(i), data=_as_keras(variable))


def write_named_weights(group: h5py.Group, layers: Sequence[Layer]) -> None:
    """Write the weights in the layout of Keras 1 and 2."""
    _write_names(group, "layer_names", [layer.name for layer in layers])
    for layer in layers:
        where = group.create_group(layer.name)
        _write_arrays(where, [(v.name, _as_keras(v)) for v in keras_order(layer)])
    _write_arrays(group.create_group("top_level_model_weights"), [])


def optimizer_arrays(
    optimizer: Optimizer,
    plan: Plan,
    step: int,
    slots: np.ndarray,
    scalars: np.ndarray,
) -> list[tuple[str, np.ndarray]]:
    """Name and value of each of the optimizer's arrays, in Keras's order."""
    integer = np.int32 if step < 2**31 else np.int64
    named = [("iteration", np.array(step, integer))]
    if isinstance(optimizer.learning_rate, float):
        named.append(("learning_rate", np.array(optimizer.learning_rate, np.float32)))
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
    """A list of texts, in parts if it is too long for one attribute."""
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
    """The value; the count of `Normalization` is an integer in Keras."""
    is_count = variable.role == "buffer" and variable.name.endswith("/count")
    return variable.numpy().astype(np.int32) if is_count else variable.numpy()
