"""Keras's files: whole models (.keras, and .h5 of Keras 2) and weights (.weights.h5).

m.keras      a zip of metadata.json, config.json and model.weights.h5 (Keras 3)
m.h5         HDF5: attributes model_config and training_config, groups model_weights and
             optimizer_weights
.weights.h5  HDF5 with the weights alone, of either layout

Reading needs neither Keras nor h5py and trusts nothing: sizes are proven before memory
is taken, what is packed may unpack to a few times the file's size at most, classes come
from closed tables, no code is run. Writing needs h5py.
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
from typing import IO, Any, cast

from kurve.core.container import safe_json
from kurve.core.container.errors import MAX_TEXT, ModelFileError
from kurve.core.container.reading import opened_file
from kurve.core.entries import warn
from kurve.exchange.hdf5 import MAGIC, Reader, room
from kurve.exchange.hdf5_messages import HDF5Error
from kurve.exchange.keras_models import (
    Described,
    SampleShape,
    class_names,
    classes_in,
    merged,
    model_from,
)
from kurve.exchange.keras_states import StateError, arrays_of, restore
from kurve.exchange.keras_training import Compiled, compiled_from
from kurve.exchange.keras_weights import first_shape, keras_order, read_weights
from kurve.exchange.keras_writing import CUSTOM_PREFIX, MEMBERS, checksum
from kurve.exchange.keras_writing import save_model as save_model
from kurve.exchange.keras_writing import save_weights as save_weights
from kurve.layers import Normalization
from kurve.models import Sequential

ZIP_MAGIC = b"PK\x03\x04"
MAX_JSON = 1 << 22
"""Bytes of a configuration."""

MAX_LIST = 1 << 16
"""Bytes of a zip's list of members."""

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

    An optimizer's state that does not fit (each version of Keras keeps its own) is left
    out with one warning.

    Args:
        compile: whether to read what `compile` was given, and the optimizer.

    Raises:
        ModelFileError: it is damaged, or holds something that Kurve does not have.
    """
    path = os.fspath(filepath)
    with _opened("load_model", path) as (file, size, magic):
        if magic.startswith(ZIP_MAGIC):
            return _load_zip(file, size, compile)
        return _load_hdf5(file.read(), compile)


def load_weights(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Read the weights of a .weights.h5, .keras or .h5 file into a built model of the
    same layers, all or none."""
    path = os.fspath(filepath)
    model._network.require_built("load_weights")
    with _opened("load_weights", path) as (file, size, magic):
        classes = class_names(model.layers)
        if magic.startswith(ZIP_MAGIC):
            with _unzipped(file, size) as members:
                with _reading("config"):
                    classes = classes_in(_json(members, "config.json"))
                reader = _checked(members["model.weights.h5"](), size)[0]
        else:
            reader = _checked(file.read(), size)[0]
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


def _load_zip(file: IO[bytes], size: int, compile: bool) -> Sequential:
    with _unzipped(file, size) as members:
        metadata = _json(members, "metadata.json")
        config = _json(members, "config.json")
        described = _described(config, "config")
        compiled = _compiled(config.get("compile_config"), compile)
        reader = _checked(members["model.weights.h5"](), size)[0]
    model = _model_of(described, reader, "")
    return _trained(model, compiled, reader, metadata.get(CUSTOM_PREFIX), zipped=True)


def _load_hdf5(raw: bytes, compile: bool) -> Sequential:
    reader, own = _checked(raw, len(raw))
    text = reader.text(reader.root, "model_config")
    if text is None:
        raise ValueError(
            "it holds weights only. Try model.load_weights(path) on a model of the "
            "same layers."
        )
    described = _described(_object(text), "model_config")
    compiled = None
    training = reader.text(reader.root, "training_config")
    if training is not None:
        version = reader.text(reader.root, "keras_version") or ""
        compiled = _compiled(_object(training), compile, version)
    model = _model_of(described, reader, "model_weights")
    return _trained(model, compiled, reader, own)


def _described(config: Any, field: str) -> Described:
    """The layers; an error says how to come by the weights all the same."""
    with _reading(field):
        try:
            return model_from(config)
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"{_sentence(error)} Try a Sequential of Kurve's layers, built, and "
                "its load_weights(path)."
            ) from error


def _sentence(error: Exception) -> str:
    return (str(error).rstrip(".") or type(error).__name__) + "."


def _checked(raw: bytes, size: int) -> tuple[Reader, dict[str, Any]]:
    """A reader of what a file of that size holds, and what Kurve has added if the file
    is of its own: such a file has a checksum of all that is in it."""
    reader = Reader(raw, size)
    own = reader.text(reader.root, CUSTOM_PREFIX)
    if own is None:
        if reader.text(reader.root, "backend") == CUSTOM_PREFIX:
            raise ValueError(f"its attribute {CUSTOM_PREFIX!r} is missing")
        return reader, {}
    added = _object(own)
    if added.pop("sha256", None) != checksum(reader, added):
        raise ValueError(
            "it has changed since it was written. "
            f"Try an earlier file, or delete its attribute {CUSTOM_PREFIX!r} if you "
            "changed it"
        )
    return reader, added


def _compiled(given: Any, compile: bool, version: str = "") -> Compiled | None:
    if not compile or given is None:
        return None
    if not isinstance(given, Mapping):
        raise ValueError("compile_config is not an object")
    with _reading("compile_config"):
        try:
            return compiled_from(given, version)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{_sentence(error)} Try load_model(path, compile=False), then "
                "model.compile(...)."
            ) from error


def _model_of(described: Described, reader: Reader, place: str) -> Sequential:
    """The model with the file's weights. No variable gets memory before the file is
    found to have an array of its shape, and no initial values are drawn."""
    model = Sequential(name=described.name)
    layers = described.layers
    group = reader.group(place) if place else reader.root
    if not layers:
        if described.input_shape is not None:
            model._network.input_shape = _known(described.input_shape)
        return model
    if described.input_shape is None:
        raise ValueError(
            "it does not say the shape of a sample. "
            "Try saving it with an Input(shape=...) as its first layer."
        )
    shape = described.input_shape
    if None in shape and isinstance(layers[0], Normalization):
        # Its adapt(x) leaves open what only the mean says.
        mean = first_shape(reader, group, described.classes)
        open_ = (None,) * (len(described.input_shape) - len(mean))
        shape = merged(described.input_shape, (*open_, *mean)) or ()
    sample = _known(shape)
    model._network.put(sample, layers)
    model._network.declare(sample)
    constants = [v for v in model.variables if v.role == "constant"]
    if sum(math.prod(v.shape) for v in constants) > MAX_CONSTANTS:
        raise ValueError(f"its constants have more than {MAX_CONSTANTS} numbers")
    with _reading("weights"):
        arrays = read_weights(reader, group, layers, described.classes)
        model._network.lay_out(sample, values=False)
        for layer, given in zip(layers, arrays, strict=True):
            for variable, array in zip(keras_order(layer), given, strict=True):
                variable.assign(array)
    return model


def _known(shape: SampleShape) -> tuple[int, ...]:
    """The shape of one sample.

    Raises:
        ValueError: a size is not known.
    """
    if None in shape:
        raise ValueError(
            f"a sample's shape is {shape}, not all sizes known. "
            "Try saving it with all sizes in its Input(shape=...)."
        )
    return tuple(size for size in shape if size is not None)


def _trained(
    model: Sequential,
    compiled: Compiled | None,
    reader: Reader,
    own: Any,
    zipped: bool = False,
) -> Sequential:
    """The model compiled, with the optimizer as it was.

    own: what Kurve itself has added to a file of its own: the seed.
    zipped: whether it is a .keras file, which has a state even before the first step.
    """
    kept = isinstance(own, Mapping) and "seed" in own
    if kept:
        seed = own["seed"]
        if type(seed) is not int or not 0 <= seed < 2**64:
            raise ValueError(f"the seed is {seed!r}")
        model._network.seed = seed
    if compiled is None or not model.built:
        return model
    model.compile(
        compiled.optimizer,
        compiled.loss,
        metrics=compiled.metrics,
        weighted_metrics=compiled.weighted_metrics,
    )
    with _reading("optimizer"):
        named = arrays_of(reader)
        try:
            if named:
                restore(reader, named, model)
            elif zipped:  # an .h5 file has none before the first step
                raise StateError("the file has none")
        except StateError as error:
            if kept:
                raise
            warn(
                "[load_model] the state of the optimizer is left out, and a fresh "
                f"{type(compiled.optimizer).__name__} goes on at step "
                f"{model.iterations}: {_sentence(error)} "
                "Try load_model(path, compile=False) and compile(...) for another one."
            )
    return model


class _Bounded:
    """A file that `zipfile` reads the list of members of: in a short piece only, for
    each member takes ten times its bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.most = file, MAX_LIST

    def read(self, size: int = -1) -> bytes:
        if size > self.most:
            raise ValueError(f"its list of members has more than {self.most} bytes")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def _unzipped(file: IO[bytes], size: int) -> Iterator[dict[str, Callable[[], bytes]]]:
    """The members of a .keras file of this size; see `_members`."""
    bounded = _Bounded(file)
    with zipfile.ZipFile(cast(IO[bytes], bounded)) as archive:
        bounded.most = size
        yield _members(archive, size)


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, Callable[[], bytes]]:
    """Functions that give the bytes of the three members, whose sizes are proven to be
    those that a file of this size has room for."""
    found: dict[str, Callable[[], bytes]] = {}
    claimed = 0
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
        claimed += info.file_size
        if claimed > room(size):
            raise ValueError(
                f"the member {name!r} claims {info.file_size} bytes from "
                f"{info.compress_size}, and the file has room for {room(size)}. "
                "Try a file that is packed less"
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
    found = safe_json.parse(text.encode() if isinstance(text, str) else text)
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
def _opened(where: str, path: str) -> Iterator[tuple[IO[bytes], int, bytes]]:
    """An open zip or HDF5 file, its size and first bytes. All that a damaged file may
    raise meanwhile is turned into `ModelFileError`."""
    try:
        with opened_file(path) as (file, size):
            magic = file.read(len(MAGIC))
            file.seek(0)
            if not magic.startswith(ZIP_MAGIC) and magic != MAGIC:
                raise ValueError("it begins neither as a zip nor as an HDF5 file")
            yield file, size, magic
    except ModelFileError:
        raise
    except (*_FAULTS, OSError) as error:
        # zipfile seeks to wherever a damaged file says.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        predictions = _sentence(error)
        if len(predictions) > MAX_TEXT:
            predictions = f"{predictions[:MAX_TEXT]}..."
        if isinstance(error, HDF5Error) and " Try " not in predictions:
            predictions += " Try saving it anew."
        raise ModelFileError(
            f"[{where}] {path!r} cannot be read: {predictions}",
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
