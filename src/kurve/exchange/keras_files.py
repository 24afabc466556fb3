"""Keras's files: whole models (.keras, and .h5 of Keras 2) and weights (.weights.h5).

m.keras      a zip of metadata.json, config.json and model.weights.h5 (Keras 3)
m.h5         HDF5: attributes model_config and training_config, groups model_weights and
             optimizer_weights
.weights.h5  HDF5 with the weights alone, of either layout

Reading needs neither Keras nor h5py and trusts nothing: sizes are proven before memory
is taken, classes come from closed tables, no code is run. Writing needs h5py.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from kurve.exchange.hdf5 import MAGIC, Reader
from kurve.exchange.hdf5_messages import HDF5Error
from kurve.exchange.keras_models import Described, class_names, model_from
from kurve.exchange.keras_training import Compiled, compiled_from
from kurve.exchange.keras_weights import (
    Arrays,
    OptimizerState,
    keras_order,
    optimizer_state,
    read_weights,
)
from kurve.exchange.keras_writing import MEMBERS, OWN, checksum
from kurve.exchange.keras_writing import save_model as save_model
from kurve.exchange.keras_writing import save_weights as save_weights
from kurve.layers import Layer
from kurve.models import Sequential
from kurve.saving import ModelFileError, strict
from kurve.saving.errors import MAX_TEXT

ZIP_MAGIC = b"PK\x03\x04"
MAX_JSON = 1 << 22
"""Bytes of a configuration."""

MAX_CONSTANTS = 1 << 20
"""Numbers that the configuration gives a layer: no array of the file proves them."""

_FAULTS = (
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What damaged files raise in the modules that parse them."""


# -------------------------------------------------------------------- reading


def load_model(filepath: str | os.PathLike[str], compile: bool = True) -> Sequential:
    """The model in a .keras or .h5 file, ready to predict and to go on training.

    Args:
        compile: whether to read what `compile` was given, and the optimizer.

    Raises:
        ModelFileError: it is damaged, or holds something that Kurve does not have.
    """
    path = os.fspath(filepath)
    with _faults_named("load_model", path), open(path, "rb") as file:
        magic = file.read(len(MAGIC))
        file.seek(0)
        if magic.startswith(ZIP_MAGIC):
            return _load_zip(file, compile)
        if magic == MAGIC:
            return _load_hdf5(file.read(), compile)
        raise ValueError("it begins neither as a zip nor as an HDF5 file")


def load_weights(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Read the weights of a .weights.h5, .keras or .h5 file into a built model of the
    same layers, all or none."""
    path = os.fspath(filepath)
    model._built("load_weights")
    with _faults_named("load_weights", path), open(path, "rb") as file:
        magic = file.read(len(MAGIC))
        file.seek(0)
        classes = class_names(model.layers)
        if magic.startswith(ZIP_MAGIC):
            with zipfile.ZipFile(file) as archive:
                members = _members(archive)
                classes = model_from(_json(members, "config.json")).classes
                reader = _checked(members["model.weights.h5"]())[0]
        elif magic == MAGIC:
            reader = _checked(file.read())[0]
        else:
            raise ValueError("it begins neither as a zip nor as an HDF5 file")
        group = reader.root
        if reader.has("model_weights"):
            group = reader.group("model_weights")
        with _reading("weights"):
            arrays = read_weights(reader, group, model.layers, classes)
        by_variable = {
            id(variable): array
            for layer, given in zip(model.layers, arrays, strict=True)
            for variable, array in zip(keras_order(layer), given, strict=True)
        }
        model.set_weights([by_variable[id(v)] for v in model.weights])


def _load_zip(file: IO[bytes], compile: bool) -> Sequential:
    with zipfile.ZipFile(file) as archive:
        members = _members(archive)
        metadata = _json(members, "metadata.json")
        config = _json(members, "config.json")
        with _reading("config"):
            described = model_from(config)
        compiled = _compiled(config.get("compile_config"), compile)
        reader = _checked(members["model.weights.h5"]())[0]
    model = _model_of(described, reader, "")
    state = optimizer_state(reader) if compiled else None
    return _trained(model, compiled, state, metadata.get(OWN))


def _load_hdf5(raw: bytes, compile: bool) -> Sequential:
    reader, own = _checked(raw)
    text = reader.text(reader.root, "model_config")
    if text is None:
        raise ValueError("it holds weights only; try model.load_weights(...)")
    with _reading("model_config"):
        described = model_from(_object(text))
    compiled = None
    training = reader.text(reader.root, "training_config")
    if training is not None:
        compiled = _compiled(_object(training), compile)
    model = _model_of(described, reader, "model_weights")
    state = optimizer_state(reader) if compiled else None
    return _trained(model, compiled, state, own)


def _checked(raw: bytes) -> tuple[Reader, dict[str, Any]]:
    """A reader, and what Kurve has added if the file is of its own: such a file has a
    checksum of all that is in it."""
    reader = Reader(raw)
    own = reader.text(reader.root, OWN)
    if own is None:
        if reader.text(reader.root, "backend") == OWN:
            raise ValueError(f"its attribute {OWN!r} is missing")
        return reader, {}
    added = _object(own)
    if added.pop("sha256", None) != checksum(reader, added):
        raise ValueError(
            "it has changed since it was written. "
            f"Try an earlier file, or delete its attribute {OWN!r} if you changed it"
        )
    return reader, added


def _compiled(given: Any, compile: bool) -> Compiled | None:
    if not compile or given is None:
        return None
    if not isinstance(given, Mapping):
        raise ValueError("compile_config is not an object")
    with _reading("compile_config"):
        try:
            return compiled_from(given)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{error} Try load_model(path, compile=False), then model.compile(...)"
            ) from error


def _model_of(described: Described, reader: Reader, place: str) -> Sequential:
    """The model with the file's weights. No variable gets memory before the file is
    found to have an array of its shape."""
    model = Sequential(name=described.name)
    shape = described.input_shape
    if described.layers and shape is None:
        raise ValueError("it does not say the shape of a sample")
    sample = shape or ()
    for layer in described.layers:
        layer.build((None, *sample))
        sample = layer.output_sample_shape(sample)
    constants = [
        v for x in described.layers for v in x.variables if v.role == "constant"
    ]
    if sum(math.prod(v.shape) for v in constants) > MAX_CONSTANTS:
        raise ValueError(f"its constants have more than {MAX_CONSTANTS} numbers")
    group = reader.group(place) if place else reader.root
    with _reading("weights"):
        arrays = read_weights(reader, group, described.layers, described.classes)
    for layer, given in zip(described.layers, arrays, strict=True):
        _assign(layer, given)
    if shape is not None:
        model._input_shape = shape
    model._layers = list(described.layers)
    if len({layer.name for layer in model.layers}) != len(model.layers):
        raise ValueError("two layers have one name")
    if described.layers:
        model.build()
    return model


def _assign(layer: Layer, arrays: Arrays) -> None:
    for variable, array in zip(keras_order(layer), arrays, strict=True):
        variable.assign(array)


def _trained(
    model: Sequential, compiled: Compiled | None, kept: OptimizerState | None, own: Any
) -> Sequential:
    """The model compiled, with the optimizer as it was.

    own: what Kurve itself has added to a file of its own: the seed.
    """
    if isinstance(own, Mapping) and "seed" in own:
        seed = own["seed"]
        if type(seed) is not int or not 0 <= seed < 2**64:
            raise ValueError(f"the seed is {seed!r}")
        model._seed = seed
    if compiled is None or not model.built:
        return model
    model.compile(
        compiled.optimizer,
        compiled.loss,
        metrics=compiled.metrics,
        weighted_metrics=compiled.weighted_metrics,
    )
    if kept is not None:
        plan, state = model._built("load_model")
        state = model._training_state()
        assert model.optimizer is not None
        with _reading("optimizer"):
            found = kept.read(model.optimizer, plan, state.slots, state.scalars)
        if not found:
            state.slots, state.scalars = state.slots[:0], state.scalars[:0]
        state.step = kept.step
    return model


def _members(archive: zipfile.ZipFile) -> dict[str, Callable[[], bytes]]:
    """Functions that give the bytes of the three members, whose sizes are proven."""
    found: dict[str, Callable[[], bytes]] = {}
    for info in archive.infolist():
        name = info.filename
        if name not in MEMBERS or name in found:
            raise ValueError(f"it has a member {name[:100]!r}")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"the member {name!r} is not a plain file")
        if info.flag_bits & 1:
            raise ValueError(f"the member {name!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"the member {name!r} is compressed in an unknown way")
        if info.file_size > max(4096, 100 * info.compress_size):
            raise ValueError(
                f"the member {name!r} claims {info.file_size} bytes from "
                f"{info.compress_size}"
            )
        limit = MAX_JSON if name.endswith(".json") else None
        if limit is not None and info.file_size > limit:
            raise ValueError(f"the member {name!r} has more than {limit} bytes")
        found[name] = lambda info=info: _member(archive, info)  # type: ignore[misc]
    if missing := set(MEMBERS) - set(found):
        raise ValueError(f"it has no member {min(missing)!r}")
    return found


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member; never more than it claims to have."""
    with archive.open(info) as file:
        raw = file.read(info.file_size)
        if len(raw) != info.file_size or file.read(1):
            raise ValueError(f"the member {info.filename!r} is not as long as it says")
    return raw


def _object(text: str | bytes) -> dict[str, Any]:
    """The table that JSON from a file stands for."""
    if len(text) > MAX_JSON:
        raise ValueError(f"it is longer than {MAX_JSON} bytes")
    found = strict.parse(text.encode() if isinstance(text, str) else text)
    if not isinstance(found, dict):
        raise ValueError("it is not an object")
    return found


def _json(members: Mapping[str, Callable[[], bytes]], name: str) -> dict[str, Any]:
    with _reading(name):
        try:
            return _object(members[name]())
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


@contextmanager
def _faults_named(where: str, path: str) -> Iterator[None]:
    """Turns all that a damaged file may raise into `ModelFileError`."""
    try:
        yield
    except ModelFileError:
        raise
    except (*_FAULTS, OSError) as error:
        # zipfile seeks to wherever a damaged file says.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        said = str(error).rstrip(".") or type(error).__name__
        said = said if len(said) <= MAX_TEXT else f"{said[:MAX_TEXT]}..."
        fix = " Try saving it anew." if isinstance(error, HDF5Error) else ""
        raise ModelFileError(
            f"[{where}] {path!r} cannot be read: {said}.{fix}",
            getattr(error, "field", "file"),
        ) from error


@contextmanager
def _reading(field: str) -> Iterator[None]:
    """Notes on an error what of the file was being read."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, "field"):
            error.field = field  # type: ignore[attr-defined]
        raise
