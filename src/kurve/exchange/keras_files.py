"""Keras's files: whole models (.keras, and .h5 of Keras 2) and weights (.weights.h5).

m.keras      a zip of metadata.json, config.json and model.weights.h5 (Keras 3)
m.h5         HDF5: attributes model_config and training_config, groups model_weights and
             optimizer_weights
.weights.h5  HDF5 with only the weights, in either layout

Reading needs neither Keras nor h5py and trusts nothing: sizes are checked before memory
is allocated, compressed data can expand to a few times the file's size at most, classes
come from fixed tables, and no code is run. Writing needs h5py.
"""

from __future__ import annotations

import errno
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import IO, Any

from kurve.core.container import safe_json
from kurve.core.container.errors import MAX_TEXT, ModelFileError
from kurve.core.container.reading import opened_file
from kurve.core.entries import warn
from kurve.core.inside import network_of
from kurve.exchange import keras_parts as parts
from kurve.exchange.hdf5 import MAGIC, Group, Reader
from kurve.exchange.hdf5_messages import HDF5Error
from kurve.exchange.keras_assets import fill_vocabularies, give_assets
from kurve.exchange.keras_compiling import compile_with, compiles_itself
from kurve.exchange.keras_graphs import is_function, model_of, needs_graph
from kurve.exchange.keras_models import (
    Described,
    layers_of,
    merged,
    model_from,
)
from kurve.exchange.keras_states import StateError, arrays_of, restore
from kurve.exchange.keras_training import Compiled, compiled_from
from kurve.exchange.keras_tree import Part, tree_of
from kurve.exchange.keras_weights import first_shape, read_weights
from kurve.exchange.keras_writing import ADDED, checksum
from kurve.exchange.keras_writing import save_model as save_model
from kurve.exchange.keras_writing import save_weights as save_weights
from kurve.exchange.keras_zip import ASSETS, MAX_JSON, ZIP_MAGIC, unzipped
from kurve.layers import Normalization
from kurve.models import Sequential

MAX_CONSTANTS = 1 << 20
"""Maximum constants that layers get from the configuration: the file has no array to
check their number against."""

NO_SHAPE = (
    "it does not have the shape of a sample. "
    "Try saving it with an Input(shape=...) as its first layer."
)

_CORRUPTION = (
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
"""Errors that corrupt files raise in parsing modules."""


# -------------------------------------------------------------------- reading


def load_model(filepath: str | os.PathLike[str], compile: bool = True) -> Sequential:
    """Load a .keras or .h5 file, ready to predict and to continue training.

    Optimizer state that does not match (its form depends on the version of Keras) is
    skipped with one warning.

    Args:
        compile: whether to read the arguments of `compile`, and the optimizer's state.

    Raises:
        ModelFileError: it is corrupt, or contains something that Kurve lacks.
    """
    path = os.fspath(filepath)
    with _opened("load_model", path) as (file, size, magic):
        if magic.startswith(ZIP_MAGIC):
            return _load_zip(file, size, compile)
        return _load_hdf5(file.read(), compile)


def load_weights(
    model: Sequential, filepath: str | os.PathLike[str], skip: bool = False
) -> None:
    """Read the weights of a .weights.h5, .keras or .h5 file into a built model with the
    same layers: all or none, or those that fit, with `skip`."""
    path = os.fspath(filepath)
    network_of(model).require_built("load_weights")
    with _opened("load_weights", path) as (file, size, magic):
        tree = tree_of(model)
        if magic.startswith(ZIP_MAGIC):
            with unzipped(file, size) as members:
                ignoring = suppress(ValueError) if skip else nullcontext()
                with _reading("config"), ignoring:
                    tree = _renamed(tree, _json(members, "config.json"))
                reader = _checked(members["model.weights.h5"](), size)[0]
        else:
            reader = _checked(file.read(), size)[0]
        group = reader.root
        if reader.has("model_weights"):
            group = reader.group("model_weights")
        with _reading("weights"):
            found = read_weights(reader, group, tree, skip)
        for variable in model.weights if skip else ():
            found.setdefault(id(variable), variable.numpy())
        model.set_weights([found[id(v)] for v in model.weights])


def _renamed(tree: list[Part], value: Any) -> list[Part]:
    """The layers of a model with the classes they have in a file of the same layers,
    which can differ: `Activation` can be a ReLU."""
    if any(part.whole for part in tree):
        return tree
    given = [
        entry
        for entry in layers_of(parts.opened(value, "the model")[1])
        if isinstance(entry, Mapping)
        and entry.get("class_name") != "InputLayer"
        and not is_function(entry)
    ]
    own = [part for part in tree if part.cls != "InputLayer"]
    if len(given) != len(own):
        raise ValueError(f"the file has {len(given)} layers, and the model {len(own)}")
    renamed = []
    for part, entry in zip(own, given, strict=True):
        cls, inside = str(entry.get("class_name")), part.inside
        if inside is not None:
            cls, inside = part.cls, _renamed(inside, entry)
        renamed.append(replace(part, cls=cls, inside=inside))
    return renamed


def _load_zip(file: IO[bytes], size: int, compile: bool) -> Sequential:
    with unzipped(file, size) as members:
        metadata = _json(members, "metadata.json")
        config = _json(members, "config.json")
        assets = {k: read() for k, read in members.items() if k.startswith(ASSETS)}
        fill_vocabularies(config, assets)
        described = _described(config, "config")
        reader = _checked(members["model.weights.h5"](), size)[0]
        compiled = _compiled(config.get("compile_config"), compile, described)
    model = _model_of(described, reader, "")
    give_assets(model, assets)
    return _trained(model, compiled, reader, metadata.get(ADDED), zipped=True)


def _load_hdf5(raw: bytes, compile: bool) -> Sequential:
    reader, added = _checked(raw, len(raw))
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
        compiled = _compiled(_object(training), compile, described, version)
    model = _model_of(described, reader, "model_weights")
    return _trained(model, compiled, reader, added)


def _described(config: Any, field: str) -> Any:
    """The model, or its layers; errors explain how to read the weights anyway."""
    with _reading(field):
        try:
            return model_of(config) if needs_graph(config) else model_from(config)
        except (LookupError, TypeError, ValueError) as error:
            if " Try " in str(error):
                raise
            raise ValueError(
                f"{_sentence(error)} Try building a Sequential of Kurve's layers, "
                "and its load_weights(path)."
            ) from error


def _outputs_of(described: Any) -> int:
    """The number of outputs of the model."""
    if not isinstance(described, tuple):
        return 1
    return len(described[0].output_names)


def _sentence(error: Exception) -> str:
    return (str(error).rstrip(".") or type(error).__name__) + "."


def _checked(raw: bytes, size: int) -> tuple[Reader, dict[str, Any]]:
    """A reader for the content of a file of that size, and what Kurve added if it wrote
    the file, which then has a checksum of its content."""
    reader = Reader(raw, size)
    text = reader.text(reader.root, ADDED)
    if text is None:
        if reader.text(reader.root, "backend") == ADDED:
            raise ValueError(f"its attribute {ADDED!r} is missing")
        return reader, {}
    added = _object(text)
    if added.pop("sha256", None) != checksum(reader, added):
        raise ValueError(
            "it has changed since it was written. "
            f"Try an earlier file, or delete its attribute {ADDED!r} if you "
            "changed it"
        )
    return reader, added


def _compiled(
    config: Any, compile: bool, described: Any, version: str = ""
) -> Compiled | dict[str, Any] | None:
    """The arguments of `compile`; as they are for a class that reads them."""
    if not compile or config is None:
        return None
    if not isinstance(config, Mapping):
        raise ValueError("compile_config is not an object")
    if isinstance(described, tuple) and compiles_itself(described[0]):
        return dict(config)
    with _reading("compile_config"), _without_compile():
        return compiled_from(config, _outputs_of(described), version)


@contextmanager
def _without_compile() -> Iterator[None]:
    """Replace the advice in an error by the advice to omit the arguments of `compile`;
    the original advice is for their author."""
    try:
        yield
    except (TypeError, ValueError) as error:
        rule = str(error).partition(" Try ")[0]
        raise ValueError(
            f"{_sentence(ValueError(rule))[:250]} Try load_model(path, compile=False), "
            "then model.compile(...)."
        ) from error


def _model_of(described: Any, reader: Reader, place: str) -> Sequential:
    """The model with the file's weights. A variable gets memory only once the file is
    known to have an array of its shape, and no initial values are drawn."""
    group = reader.group(place) if place else reader.root
    if isinstance(described, tuple):
        model, tree = described
    else:
        model, tree = _stack_of(described, reader, group)
    if not network_of(model).layers:
        return model
    if network_of(model).input_shape is None:
        raise ValueError(NO_SHAPE)
    constants = [v for v in model.variables if v.role == "constant"]
    if sum(math.prod(v.shape) for v in constants) > MAX_CONSTANTS:
        raise ValueError(f"its constants have more than {MAX_CONSTANTS} numbers")
    with _reading("weights"):
        found = read_weights(reader, group, tree)
        if network_of(model).plan is None:
            network_of(model).lay_out(values=False)
        for variable in model.weights:
            variable.assign(found[id(variable)])
    return model


def _stack_of(
    described: Described, reader: Reader, group: Group
) -> tuple[Sequential, list[Part]]:
    """The stack of these layers, without allocated weights; and the layers in the
    file."""
    model = Sequential(name=described.name)
    layers = described.layers
    shape: Any = described.input_shape
    if not layers:
        network_of(model).input_shape = shape
        return model, []
    if shape is None:
        raise ValueError(NO_SHAPE)
    if None in shape and isinstance(layers[0], Normalization):
        # adapt(x) leaves sizes unknown; only the shape of the mean determines them.
        mean = first_shape(reader, group, described.classes)
        leading = (None,) * (len(shape) - len(mean))
        shape = merged(shape, (*leading, *mean))
    network_of(model).put(shape, layers)
    network_of(model).declare(shape)
    classes = [cls for cls in described.classes if cls != "InputLayer"]
    tree = [
        Part(cls, layer.name, None, layer)
        for cls, layer in zip(classes, layers, strict=True)
    ]
    return model, tree


def _trained(
    model: Sequential,
    compiled: Compiled | dict[str, Any] | None,
    reader: Reader,
    added: Any,
    zipped: bool = False,
) -> Sequential:
    """Compile the model and restore its optimizer.

    added: what Kurve added to a file that it wrote: the seed, and how many times direct
        calls have drawn random numbers.
    zipped: whether it is a .keras file, which has optimizer state even before the first
        step.
    """
    is_kurves = isinstance(added, Mapping) and "seed" in added
    if is_kurves:
        seed = added["seed"]
        if type(seed) is not int or not 0 <= seed < 2**64:
            raise ValueError(f"the seed is {seed!r}")
        network_of(model).seed = seed
        drawn = added.get("drawn", 0)
        if type(drawn) is not int or not 0 <= drawn < 2**63:
            raise ValueError(f"the number of random draws is {drawn!r}")
        model.drawn = drawn
    if compiled is None or not model.built:
        return model
    with _reading("compile_config"), _without_compile():
        if isinstance(compiled, dict):
            model.compile_from_config(compiled)
        else:
            compile_with(model, compiled)
    if model.optimizer is None:
        return model
    with _reading("optimizer"):
        first = 0 if isinstance(compiled, dict) else compiled.before_state
        named = arrays_of(reader)[first:]
        try:
            if named:
                restore(reader, named, model)
            elif zipped:  # an .h5 file has none before the first step
                raise StateError("the file has none")
        except StateError as error:
            if is_kurves:
                raise
            warn(
                "[load_model] the state of the optimizer is left out, and a fresh "
                f"{type(model.optimizer).__name__} continues at step "
                f"{model.iterations}: {_sentence(error)} "
                "Try load_model(path, compile=False) and compile(...) for another one."
            )
    return model


def _object(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object from a file."""
    if len(text) > MAX_JSON:
        raise ValueError(f"it is longer than {MAX_JSON} bytes")
    value = safe_json.parse(text.encode() if isinstance(text, str) else text)
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return value


def _json(members: Mapping[str, Callable[[], bytes]], name: str) -> dict[str, Any]:
    with _reading(name):
        try:
            return _object(members[name]())
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


@contextmanager
def _opened(where: str, path: str) -> Iterator[tuple[IO[bytes], int, bytes]]:
    """An open zip or HDF5 file, its size and first bytes. Any error that a corrupt file
    causes in other code becomes a `ModelFileError`."""
    try:
        with opened_file(path) as (file, size):
            magic = file.read(len(MAGIC))
            file.seek(0)
            if not magic.startswith(ZIP_MAGIC) and magic != MAGIC:
                raise ValueError("it is neither a zip nor an HDF5 file")
            yield file, size, magic
    except ModelFileError:
        raise
    except (*_CORRUPTION, OSError) as error:
        # EINVAL: zipfile seeks wherever a corrupt file tells it to.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = _sentence(error)
        if len(reason) > MAX_TEXT:
            reason = f"{reason[:MAX_TEXT]}..."
        if isinstance(error, HDF5Error) and " Try " not in reason:
            other = where == "load_weights" and getattr(error, "field", "") == "weights"
            fix = "a model with the layers that were saved, or " if other else ""
            reason += f" Try {fix}saving it again."
        raise ModelFileError(
            f"[{where}] {path!r} cannot be read: {reason}",
            getattr(error, "field", "file"),
        ) from error


@contextmanager
def _reading(field: str) -> Iterator[None]:
    """Add to errors which part of the file was being read."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, "field"):
            error.field = field  # type: ignore[attr-defined]
        raise
