"""Weights and optimizers in Keras's HDF5 files, both layouts.

Keras 3      layers/<class>_<i>/vars/<j>                 weights of a layer, in order
             optimizer/vars/<j>                          iteration, rate, vectors
Keras 1, 2   attribute layer_names, <layer>/<weight>     named by attribute weight_names
             optimizer_weights/<weight>

Reading needs no h5py. Shapes are those of layers made from the configuration; an array
is read once its shape in the file is found to be the same.
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
from kurve.plan import Plan, Slot

if TYPE_CHECKING:
    import h5py

Arrays = list[np.ndarray]

_OLD_LAYERS = "_layer_checkpoint_dependencies"  # of Keras 2.12 and 2.13
_PAIRS = {"adam": 2, "nadam": 2, "adamax": 2}
"""Optimizers whose first vectors alternate, variable after variable; any others follow
one vector after the other."""

_SLOT_NAMES = {
    "sgd": ("momentum",),
    "rmsprop": ("velocity", "momentum", "average_gradient"),
    "adagrad": ("accumulator",),
    "adam": ("momentum", "velocity", "velocity_hat"),
    "nadam": ("momentum", "velocity"),
    "adamax": ("momentum", "norm"),
}
"""Keras's names of the vectors, in the order of Kurve's slots."""

_SLOT_WORDS = {"m", "v", "vhat", "rms", "mg", "accumulator", "momentum", "velocity"}


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
    """A layer's weights as Keras keeps them: what gradients reach, then the others."""
    return sorted(layer.weights, key=lambda variable: variable.role != "param")


# -------------------------------------------------------------------- reading


def read_weights(
    reader: Reader, group: Group, layers: Sequence[Layer], classes: Sequence[str]
) -> list[Arrays]:
    """The weights of built layers, in the order of `keras_order`, in either layout.

    Args:
        group: where they are: the root, or model_weights of a whole model.
        classes: Keras's class of each entry of the model, an InputLayer too.

    Raises:
        HDF5Error: they are damaged, or do not fit the layers.
    """
    if (names := reader.texts(group, "layer_names")) is not None:
        return _read_named(reader, group, names, layers)
    place = "layers" if "layers" in group.members else _OLD_LAYERS
    groups = [
        name
        for name, cls in zip(group_names(classes), classes, strict=True)
        if cls != "InputLayer"
    ]
    found: list[Arrays] = []
    for layer, name in zip(layers, groups, strict=True):
        variables = keras_order(layer)
        path = f"{place}/{name}/vars"
        if not variables and not reader.has(path, group):
            found.append([])
            continue
        where = reader.group(path, group)
        sets = [_numbered(reader, where, i, v.shape) for i, v in enumerate(variables)]
        if len(where.members) != len(variables):
            raise HDF5Error(
                f"{path!r} has {len(where.members)} weights, and the layer "
                f"{layer.name!r} {len(variables)}"
            )
        found.append(sets)
    extra = len(reader.group(place, group).members) if reader.has(place, group) else 0
    if extra > len(classes):
        raise HDF5Error(f"{place!r} has {extra} layers, and the model {len(classes)}")
    return found


def _numbered(
    reader: Reader, group: Group, i: int, shape: tuple[int, ...]
) -> np.ndarray:
    return reader.array(reader.dataset(group, str(i)), shape)


def _read_named(
    reader: Reader, group: Group, names: Sequence[str], layers: Sequence[Layer]
) -> list[Arrays]:
    """The weights in the layout of Keras 1 and 2: layers by their order."""
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


class OptimizerState:
    """What a file keeps of an optimizer: step, learning rate, vectors, numbers."""

    def __init__(self, reader: Reader, named: list[tuple[str, Dataset]]) -> None:
        self._reader = reader
        self._rest = named
        first = self._scalar()
        if first is None or first.dtype.kind not in "iu" or not 0 <= first < 2**63:
            raise HDF5Error("the optimizer's step is not a whole number of at least 0")
        self.step = int(first)

    def _scalar(self) -> np.ndarray | None:
        """The first of the rest, taken, if it is one number."""
        if not self._rest or self._rest[0][1].shape != ():
            return None
        return self._reader.array(self._rest.pop(0)[1], ())

    def read(
        self, optimizer: Optimizer, plan: Plan, slots: np.ndarray, scalars: np.ndarray
    ) -> bool:
        """Fill the optimizer's vectors and numbers; set its learning rate.

        Returns:
            Whether the file has vectors: not before the first step.
        """
        if isinstance(optimizer.learning_rate, float):
            rate = self._scalar()  # not there in files of Keras up to 2.10
            if rate is not None and np.float32(rate) != np.float32(
                optimizer.learning_rate
            ):
                optimizer.learning_rate = float(rate)
        if not self._rest and (len(slots) or len(scalars)):
            if self.step:
                raise HDF5Error("the optimizer's vectors are missing")
            return False
        trained = [slot for slot in plan.params if slot.trainable]
        places = _places(optimizer.kind, len(slots), trained)
        if len(self._rest) != len(places) + len(scalars):
            raise HDF5Error(
                f"the optimizer has {len(self._rest)} arrays, and must have "
                f"{len(places) + len(scalars)} for {len(trained)} weights"
            )
        if len(slots) > 1 and _one_after_the_other(self._rest):
            places = [(k, slot) for k in range(len(slots)) for slot in trained]
        for (k, slot), (_, dataset) in zip(places, self._rest, strict=False):
            value = self._reader.array(dataset, slot.shape)
            if not np.isfinite(value).all():
                raise HDF5Error(f"{dataset.name!r} is not finite")
            slots[k, slot.offset : slot.end] = value.ravel()
        for i, (_, dataset) in enumerate(self._rest[len(places) :]):
            scalars[i] = self._reader.array(dataset, ())
        if not np.isfinite(scalars).all():
            raise HDF5Error("a number of the optimizer is not finite")
        return True


def optimizer_state(reader: Reader) -> OptimizerState | None:
    """What a file of either layout keeps of the optimizer, if anything."""
    if reader.has("optimizer/vars"):
        group = reader.group("optimizer/vars")
        count = len(group.members)
        named = [(str(i), reader.dataset(group, str(i))) for i in range(count)]
    elif reader.has("optimizer_weights"):
        group = reader.group("optimizer_weights")
        names = reader.texts(group, "weight_names") or []
        named = [(name, reader.dataset(group, name)) for name in names]
    else:
        return None
    return OptimizerState(reader, named) if named else None


def _places(kind: str, count: int, trained: Sequence[Slot]) -> list[tuple[int, Slot]]:
    """Slot and variable of each of the optimizer's arrays, in Keras's order."""
    pair = min(_PAIRS.get(kind, 1), count)
    first = [(k, slot) for slot in trained for k in range(pair)]
    return first + [(k, slot) for k in range(pair, count) for slot in trained]


def _one_after_the_other(named: Sequence[tuple[str, Dataset]]) -> bool:
    """Whether all first vectors come before the second ones, as up to Keras 2.10: the
    first two names then speak of the same vector."""
    words = [
        {word for word in re.split(r"[/:_]", name) if word in _SLOT_WORDS}
        for name, _ in named[:2]
    ]
    return len(words) == 2 and bool(words[0]) and words[0] == words[1]


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
    whole = np.int32 if step < 2**31 else np.int64
    named = [("iteration", np.array(step, whole))]
    if isinstance(optimizer.learning_rate, float):
        named.append(("learning_rate", np.array(optimizer.learning_rate, np.float32)))
    trained = [slot for slot in plan.params if slot.trainable]
    for k, slot in _places(optimizer.kind, len(slots), trained):
        name = f"{slot.name.replace('/', '_')}_{_SLOT_NAMES[optimizer.kind][k]}"
        value = slots[k, slot.offset : slot.end].reshape(slot.shape)
        named.append((name, value))
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
    """A list of texts; in parts if it is too long for one attribute."""
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
    """The value; the count that `Normalization` keeps is a whole number in Keras."""
    whole = variable.role == "buffer" and variable.name.endswith("/count")
    return variable.numpy().astype(np.int32) if whole else variable.numpy()
