"""Model files: a safetensors file with the configuration as JSON in its metadata.

    8 bytes   length of the header, little-endian
    header    JSON: {"__metadata__": {"kurve": JSON text}, tensor: {dtype, shape,
              data_offsets}, ...}
    data      the tensors, float32 or float64, little-endian, one after the other

Reading a file never executes anything: classes come from closed tables, and every size
is compared with the file's before memory is taken.
Format: the safetensors specification, format version 1 of Kurve's metadata.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from kurve import losses, metrics, optimizers
from kurve.files import replacing

if TYPE_CHECKING:
    from kurve.models import Sequential

FORMAT = 1
MAX_HEADER = 1 << 20
MAX_TENSORS = 10_000
MAX_RANK = 8
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
Entries = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""Dtype and shape of each tensor of a file, in their order."""

_NAMES = {"f4": "F32", "f8": "F64"}


class ModelFileError(ValueError):
    """A model file that is damaged, of another format, or does not fit the model."""


def save_model(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Write configuration, weights, optimizer state and seed."""
    path = _checked_ending("save", filepath, ".kurve")
    _, state = model._built("save")
    tensors = _weight_tensors(model)
    info: dict[str, Any] = {
        "format": FORMAT,
        "model": model.get_config(),
        "seed": state.seed,
        "step": state.step,
        "compile": None,
    }
    if model.loss is not None and model.optimizer is not None:
        info["compile"] = {
            "optimizer": _entry(model.optimizer),
            "loss": _loss_entry(model.loss),
            "metrics": [
                {"weighted": weighted, **_metric_entry(metric)}
                for metric, weighted in model._given_metrics
            ],
        }
        if len(state.slots):
            tensors["optimizer/slots"] = state.slots
            tensors["optimizer/scalars"] = state.scalars
    write(path, info, tensors)


def load_model(filepath: str | os.PathLike[str]) -> Sequential:
    """The model in a file, ready to predict and to go on training."""
    from kurve.models import Sequential

    info, tensors = read(filepath)
    if not isinstance(info.get("model"), Mapping):
        raise ModelFileError(
            f"[load_model] {os.fspath(filepath)!r} holds weights only. "
            "Try model.load_weights(...) on a model of the same layers."
        )
    try:
        model = Sequential.from_config(info["model"])
        model._seed = _whole(info, "seed", 64)
        if model.layers and info["model"]["input_shape"] is None:
            raise ValueError("no input shape")
        _assign(model, tensors)
        chosen = info["compile"]
        if chosen is not None:
            model.compile(
                optimizers.CLASSES[chosen["optimizer"]["class_name"]].from_config(
                    chosen["optimizer"]["config"]
                ),
                _loss_from(chosen["loss"]),
                [_metric_from(m) for m in chosen["metrics"] if not m["weighted"]],
                [_metric_from(m) for m in chosen["metrics"] if m["weighted"]],
            )
        _, state = model._built("load_model")
        state.seed, state.step = _whole(info, "seed", 64), _whole(info, "step", 63)
        if "optimizer/slots" in tensors:
            slots = model._training_state().slots
            if tensors["optimizer/slots"].shape != slots.shape:
                raise ValueError("optimizer/slots do not fit the model")
            slots[...] = tensors["optimizer/slots"]
            state.scalars[...] = tensors["optimizer/scalars"]
    except (LookupError, TypeError, ValueError, ArithmeticError, MemoryError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"[load_model] the configuration in {os.fspath(filepath)!r} cannot be "
            f"read: {error}."
        ) from error
    return model


def save_weights(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Write the weights alone."""
    path = _checked_ending("save_weights", filepath, ".weights.kurve")
    model._built("save_weights")
    write(path, {"format": FORMAT, "model": None}, _weight_tensors(model))


def load_weights(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Read the weights into a built model of the same layers."""
    model._built("load_weights")
    _, tensors = read(filepath)
    _assign(model, tensors)


def write(
    path: str, info: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> None:
    """Write a file whole or not at all: to a temporary file, synced, then renamed."""
    header: dict[str, Any] = {"__metadata__": {"kurve": json.dumps(info)}}
    offset = 0
    arrays = []
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
        header[name] = {
            "dtype": _NAMES[array.dtype.str[1:]],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
        arrays.append(array)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays:
            file.write(array.tobytes())


def read(
    filepath: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata and tensors of a file.

    Raises:
        ModelFileError: anything about the file is not as it must be.
    """
    path = os.fspath(filepath)
    with open(path, "rb") as file:
        info, entries = _read_header(path, file)
        tensors: dict[str, np.ndarray] = {}
        for name, (dtype, shape) in entries.items():
            size = math.prod(shape) * dtype.itemsize
            raw = file.read(size)
            if len(raw) != size:
                raise _damaged(path, f"{name} is cut off")
            tensors[name] = np.frombuffer(raw, dtype).reshape(shape)
    return info, tensors


def read_header(filepath: str | os.PathLike[str]) -> tuple[dict[str, Any], Entries]:
    """Metadata of a file, and dtype and shape of its tensors, which are not read.

    Raises:
        ModelFileError: the header, or the size of the file, is not as it must be.
    """
    path = os.fspath(filepath)
    with open(path, "rb") as file:
        return _read_header(path, file)


def _read_header(path: str, file: BinaryIO) -> tuple[dict[str, Any], Entries]:
    """The header of an open file, which then stands at its first tensor."""
    size = os.path.getsize(path)
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise _damaged(path, f"the header's length is {length}")
    try:
        header = json.loads(file.read(length))
        info = json.loads(header.pop("__metadata__")["kurve"])
        names = sorted(header, key=lambda name: header[name]["data_offsets"][0])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise _damaged(path, f"the header cannot be read ({e})") from e
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise _damaged(path, f"it is not of format {FORMAT}")
    if len(names) > MAX_TENSORS:
        raise _damaged(path, f"it has more than {MAX_TENSORS} tensors")
    entries: Entries = {}
    offset = 0
    for name in names:
        dtype, shape, offset = _entry_of(path, name, header[name], offset)
        if 8 + length + offset > size:
            raise _damaged(path, f"{name} ends behind the end of the file")
        entries[name] = dtype, shape
    if 8 + length + offset != size:
        raise _damaged(path, "there are bytes behind the last tensor")
    return info, entries


def _entry_of(
    path: str, name: str, entry: Any, offset: int
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Dtype, shape and end of one tensor, proven to agree with one another."""
    try:
        dtype = _DTYPES[entry["dtype"]]
        shape = tuple(entry["shape"])
        begin, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the entry of {name} cannot be read") from error
    whole = all(type(n) is int and 0 <= n < 2**40 for n in (*shape, begin, end))
    if not whole or len(shape) > MAX_RANK:
        raise _damaged(path, f"the shape of {name} is {shape}")
    if begin != offset or end - begin != math.prod(shape) * dtype.itemsize:
        raise _damaged(path, f"the place of {name} does not fit its shape")
    return dtype, shape, end


def _damaged(path: str, what: str) -> ModelFileError:
    return ModelFileError(
        f"[load] {path!r} is not a whole Kurve model file: {what}. "
        "Try an earlier checkpoint."
    )


def _weight_tensors(model: Sequential) -> dict[str, np.ndarray]:
    return {f"weights/{v.name}": v.value for v in model.weights}


def _assign(model: Sequential, tensors: Mapping[str, np.ndarray]) -> None:
    """Set the model's weights from a file's tensors, all or none. Names must agree in
    order and shape, not in the layers' names, which are counted up in a process."""
    given = {n: t for n, t in tensors.items() if n.startswith("weights/")}
    try:
        model.set_weights(list(given.values()))
    except ValueError as error:
        raise ModelFileError(
            f"[load] the file does not fit the model: {error}"
        ) from error


def _whole(info: Mapping[str, Any], name: str, bits: int) -> int:
    """The unsigned integer of that name."""
    value = info[name]
    if type(value) is not int or not 0 <= value < 2**bits:
        raise ValueError(f"{name} is {value!r}")
    return value


def _checked_ending(where: str, filepath: str | os.PathLike[str], ending: str) -> str:
    path = os.fspath(filepath)
    if not path.endswith(ending):
        raise ValueError(
            f"[{where}] the file's name must end in {ending!r}. "
            f"Received: {path!r}. Try {path + ending!r}."
        )
    return path


def _entry(thing: Any) -> dict[str, Any]:
    return {"class_name": type(thing).__name__, "config": thing.get_config()}


def _loss_entry(loss: losses.Loss) -> dict[str, Any]:
    return {"kind": loss.kind, "config": loss.get_config()}


def _loss_from(entry: Mapping[str, Any]) -> losses.Loss:
    return losses.BY_KIND[entry["kind"]](**entry["config"])


def _metric_entry(metric: metrics.Metric) -> dict[str, Any]:
    if type(metric) is metrics.LossMetric:
        return {"name": metric.name, "loss": _loss_entry(metric._loss)}
    return {"name": metric.name, **_entry(metric)}


def _metric_from(entry: Mapping[str, Any]) -> metrics.Metric:
    if "loss" in entry:
        return metrics.LossMetric(_loss_from(entry["loss"]), entry["name"])
    return metrics.CLASSES[entry["class_name"]](**entry["config"])
