"""Writing Keras's files. Needs h5py; see `kurve.exchange.keras_files`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kurve.core.files import replacing
from kurve.core.inside import is_model, network_of
from kurve.exchange.hdf5 import Reader
from kurve.exchange.keras_assets import asset_files
from kurve.exchange.keras_compiling import entry_of
from kurve.exchange.keras_entries import model_entry
from kurve.exchange.keras_names import MEMBERS
from kurve.exchange.keras_tree import is_own_model, tree_of
from kurve.exchange.keras_weights import (
    optimizer_arrays,
    write_named_optimizer,
    write_named_weights,
    write_optimizer,
    write_weights,
)
from kurve.formulas.tensor import FunctionCall
from kurve.models import Sequential
from kurve.models.saving import refuse_shared

if TYPE_CHECKING:
    import h5py

WEIGHT_ENDINGS = (".weights.h5", ".weights.hdf5")
KERAS_VERSION = "3.15.1"
"""The Keras version whose format is written; tests read the files with it."""

ADDED = "kurve"
"""Key of Kurve's additions to Keras's content: a checksum and the seed."""

DATE = "1980-01-01@00:00:00"
"""The date in every .keras file and its zip, so that equal models give equal files."""


def checksum(reader: Reader, added: Mapping[str, Any]) -> str:
    """SHA-256 of a file's whole content and of Kurve's additions."""
    text = reader.digest(ADDED) + json.dumps(added, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def save_model(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Write a built model to a .keras or .h5 file: configuration, weights, optimizer.

    Raises:
        ValueError: something Keras does not have; the message names it.
        ImportError: h5py is not installed.
    """
    path = os.fspath(filepath)
    _, state = network_of(model).require_built("save")
    entry = model_entry(model)
    compiled = entry_of(model)
    added = {"seed": state.seed} | ({"drawn": model.drawn} if model.drawn else {})
    if path.endswith(".keras"):
        if not is_own_model(model):
            refuse_shared("save", model)
        metadata = {
            "keras_version": KERAS_VERSION,
            "date_saved": DATE,
            ADDED: added,
        }
        members = (
            json.dumps(metadata).encode(),
            json.dumps({**entry, "compile_config": compiled}).encode(),
            _hdf5(lambda file: _write_layers(file, model)),
        )
        assets = asset_files(model)
        with replacing(path) as target, zipfile.ZipFile(target, "w") as archive:
            for name, raw in zip(MEMBERS, members, strict=True):
                archive.writestr(zipfile.ZipInfo(name), raw)
            for name, raw in assets.items():
                archive.writestr(zipfile.ZipInfo(name), raw)
        return
    if path.endswith(WEIGHT_ENDINGS):
        raise ValueError(
            f"[save] {path!r} is the name of a file of weights. "
            "Try save_weights, or a name such as 'm.keras'."
        )
    if is_own_model(model):
        raise ValueError(
            f"[save] the model {model.name!r} has a call() of its own, which .h5 files "
            "cannot hold. Try a name that ends in '.keras', or save_weights."
        )
    if _has_functions(model):
        raise ValueError(
            f"[save] the model {model.name!r} calls a function, which .h5 files cannot "
            "hold: Keras does not read them again. Try a name that ends in '.keras'."
        )
    raw = _hdf5(lambda file: _write_whole(file, model, entry, compiled), added)
    with replacing(path) as target:
        target.write(raw)


def _has_functions(model: Any) -> bool:
    """Whether a graph calls functions, including in nested models."""
    structure = network_of(model).structure
    operations = model.layers if structure is None else structure.operations
    return any(
        isinstance(o, FunctionCall) or (is_model(o) and _has_functions(o))
        for o in operations
    )


def save_weights(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Write the weights to a .weights.h5 file, as Keras 3 does."""
    path = os.fspath(filepath)
    if not path.endswith(WEIGHT_ENDINGS):
        raise ValueError(
            "[save_weights] the file's name must end in '.weights.h5'. "
            f"Received: {path!r}. Try {os.path.splitext(path)[0] + '.weights.h5'!r}."
        )
    network_of(model).require_built("save_weights")
    with contextlib.suppress(NotImplementedError):  # layers without a configuration
        model_entry(model)  # rejects anything Keras does not have
    raw = _hdf5(lambda file: _write_layers(file, model))
    with replacing(path) as target:
        target.write(raw)


def _hdf5(
    write: Callable[[Any], None], extra: Mapping[str, Any] | None = None
) -> bytes:
    """The bytes of an HDF5 file, with a checksum of what `write` wrote."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "[save] files for Keras are written with h5py, which is not installed. "
            "Try pip install 'kurve[keras]'."
        ) from error
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=("earliest", "v110")) as file:
        write(file)
        file.attrs["backend"] = ADDED
    added = dict(extra or {})
    added["sha256"] = checksum(Reader(memory.getvalue()), added)
    with h5py.File(memory, "r+", libver=("earliest", "v110")) as file:
        file.attrs[ADDED] = json.dumps(added)
    return memory.getvalue()


def _write_layers(file: h5py.Group, model: Sequential) -> None:
    file.require_group("vars").attrs["name"] = model.name
    write_weights(file, tree_of(model))
    if model.optimizer is not None:
        write_optimizer(file, model.optimizer.name, _optimizer_of(model))


def _write_whole(
    file: h5py.Group, model: Sequential, entry: Any, compiled: Any
) -> None:
    file.attrs["keras_version"] = KERAS_VERSION
    config = {"class_name": entry["class_name"], "config": entry["config"]}
    file.attrs["model_config"] = json.dumps(config)
    if compiled is not None:
        training = {k: v for k, v in compiled.items() if k != "optimizer"}
        training["optimizer_config"] = compiled["optimizer"]
        file.attrs["training_config"] = json.dumps(training)
        write_named_optimizer(file, _optimizer_of(model))
    group = file.create_group("model_weights")
    group.attrs["backend"], group.attrs["keras_version"] = ADDED, KERAS_VERSION
    write_named_weights(group, tree_of(model))


def _optimizer_of(model: Sequential) -> list[Any]:
    """The optimizer's arrays; before the first step, their initial values."""
    plan, state = network_of(model).require_built("save")
    assert model.optimizer is not None
    network_of(model).take_memory()
    network_of(model).start_slots()
    return optimizer_arrays(
        model.optimizer, plan, state.step, state.slots, state.scalars
    )
