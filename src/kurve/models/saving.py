"""Model files: configuration and training in the description, numbers in arrays.

kind      "model", or "weights" for weights only
model     model.get_config(), see `kurve.models.configs`
seed      key of all random streams of the model
step      number of updates applied
drawn     how many times direct calls have drawn random numbers; missing if never
formulas  what custom layers compute, by class and name of the
          layer, see `kurve.layers.traced`
own       for a subclassed model: its class and configuration; "model" is
          the graph around its call
compile   null, or optimizer, loss, metrics and engine; "outputs" with loss, weight and
          metrics of each output instead, if there are several or a weight

weights/LAYER/NAME    float32, in the order of `model.weights`; for a nested
                      model, weights/MODEL/LAYER/NAME
optimizer/slots       (K, P) float32, as in `kurve.engines.State`
optimizer/scalars     (J,) float64
optimizer/own/I       instead, for an optimizer with an `update_step` of its own: its
                      variables, then slots and numbers of its class of Kurve
history/NAME          (epochs,) float64, returned by the last `fit`
epochs                (epochs,) int64, epoch numbers
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core import registry
from kurve.core.container.errors import ModelFileError, damaged
from kurve.core.container.reading import Reader, opened
from kurve.core.container.writing import write
from kurve.core.entries import warn
from kurve.errors import path_name
from kurve.layers.base import Variable
from kurve.layers.traced import class_of
from kurve.layers.tracing import formulas_of
from kurve.models.config_reader import model_from, own_model
from kurve.models.configs import functional_config
from kurve.models.fields import Field, difference
from kurve.models.model import Model
from kurve.models.saved_training import (
    check_finite,
    compile_entry,
    compile_from,
    history_tensors,
    read_history,
    read_training,
    written_memory,
)

if TYPE_CHECKING:
    from kurve.models import Sequential

MAX_CONSTANTS = 1 << 20
"""Maximum number of elements in a model's constants (such as a mean passed to
`Normalization`): they are not in the file, so its size does not limit them."""


def save_model(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Save configuration, weights, optimizer state, seed and history."""
    path = checked_ending("save", filepath, ".kurve")
    model._network.require_built("save")
    info, tensors = packed(model)
    write(path, info, tensors)


def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, type] | None = None,
    compile: bool = True,
) -> Sequential:
    """Load a model, ready to predict and to continue training."""
    path = path_name("load_model", "filepath", filepath, "model.kurve")
    with registry.custom_objects(custom_objects), opened(path) as file:
        model = unpacked(description(file, "model"), file, compile)
        file.expect_all_claimed()
        return model


def save_weights(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Save only the weights."""
    path = checked_ending("save_weights", filepath, ".weights.kurve")
    model._network.require_built("save_weights")
    write(path, {"kind": "weights"}, _weight_tensors("save_weights", model))


def load_weights(
    model: Sequential, filepath: str | os.PathLike[str], skip: bool = False
) -> None:
    """Read weights into a built model with the same layers, all or none. Order and
    shapes must agree, but not layer names, which depend on the process. With `skip`,
    only their number must agree, and those of another shape are left out."""
    model._network.require_built("load_weights")
    with opened(filepath) as file:
        description(file, "weights", "model")
        names = [name for name in file.entries if name.startswith("weights/")]
        shapes = [file.entries[name].shape for name in names]
        expected = [variable.shape for variable in model.weights]
        if shapes != expected and not (skip and len(shapes) == len(expected)):
            pairs = zip(names, shapes, [*expected, None], strict=False)
            other = next(((n, s, w) for n, s, w in pairs if s != w), None)
            field, has, need = other or ("tensors", "no more", expected[len(shapes)])
            raise ModelFileError(
                f"[load_weights] {file.path!r} does not fit the model: {field}: the "
                f"file has {has}, the model {need or 'no more'}, after weights that "
                "agree. Try a model with the same layers.",
                f"tensors.{field}",
            )
        arrays = []
        for name, shape, variable in zip(names, shapes, model.weights, strict=True):
            if shape != variable.shape:
                warn(
                    f"[load_weights] {variable.name!r} keeps its value, because the "
                    f"file's has another shape. Received: {shape} for "
                    f"{variable.shape}, skip_mismatch=True. Try skip_mismatch=False "
                    "if all layers should fit."
                )
                arrays.append(variable.numpy())
                continue
            file.claim(name, shape)
            arrays.append(file.read(name))
            check_finite(file, name, arrays[-1])
    model.set_weights(arrays)


def description(file: Reader, *kinds: str) -> Field:
    """The description of a file, checked to be of one of these kinds."""
    top = Field(file.path, "", file.info)
    kind = top.value.get("kind")
    if kind in kinds:
        return top
    hint = {
        "weights": "weights only. Try model.load_weights(...) on a model with the same "
        "layers",
        "estimator": "an estimator. Try kurve.estimators.load",
        "model": "a model. Try kurve.models.load_model",
        "plan": "a plan for the C library, which has no layers. Try the file that "
        "model.save wrote",
    }.get(kind if isinstance(kind, str) else "", f"something else ({str(kind)[:80]!r})")
    raise ModelFileError(
        f"[load] {file.path!r} contains no {kinds[0]} but {hint}.", "kind"
    )


def packed(model: Sequential) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and arrays of a built model.

    Raises:
        ValueError: non-finite weights, or more constants than can be read.
    """
    _, state = model._network.require_built("save")
    model._network.take_memory()
    tensors = _weight_tensors("save", model)
    constants = sum(math.prod(v.shape) for v in _constants(model))
    if constants > MAX_CONSTANTS:
        raise ValueError(
            f"[save] arguments of layers must have at most {MAX_CONSTANTS} numbers. "
            f"Received: {constants}. Try Normalization() and adapt(x)."
        )
    own = getattr(model, "_body", None) is not None
    with registry.collect_custom():
        info: dict[str, Any] = {
            "kind": "model",
            "model": functional_config(model) if own else model.get_config(),
            "seed": state.seed,
            "step": state.step,
            "compile": compile_entry(model),
        }
        if model.drawn:
            info["drawn"] = model.drawn
        if own:
            info["own"] = model._own_entry()
    if formulas := formulas_of(model._network):
        info["formulas"] = formulas
    if info["compile"] is not None and len(state.slots) + len(state.scalars):
        tensors["optimizer/slots"] = state.slots
        tensors["optimizer/scalars"] = state.scalars
    if info["compile"] is not None:
        tensors |= written_memory(model)
    if model.history is not None:
        tensors["epochs"] = np.array(model.history.epoch, np.int64)
        tensors |= history_tensors(model.history.history)
    return info, tensors


def unpacked(top: Field, file: Reader, compile: bool = True) -> Sequential:
    """Create a model from a description and the arrays of its file.

    Args:
        compile: False ignores the arguments of `compile` and the optimizer's slots.
    """
    more = "formulas", "own", "drawn"
    fields = top.table("kind", "model", "seed", "step", "compile", optional=more)
    seed, step = fields["seed"].integer(below=2**64), fields["step"].integer()
    with registry.custom_objects(_traced_classes(fields.get("formulas"))):
        model = read_network(fields["model"], file)
    if "own" in fields:
        model = own_model(fields["own"], model)
    if not compile:
        for name in file.entries:
            if name.startswith("optimizer/"):
                entry = file.entries[name]
                file.claim(name, entry.shape, entry.dtype.newbyteorder("="))
    elif fields["compile"].value is not None:
        try:
            compile_from(fields["compile"], model)
        except ModelFileError as error:
            if "Try custom_objects=" not in error.reason:
                raise
            what = f"{error.reason.rstrip('.')}, or load_model(path, compile=False)"
            raise damaged(file.path, error.field, what) from error
        read_training(file, model, "optimizer/")
    _, state = model._network.require_built("load_model")
    model._network.seed = seed
    state.step = step if compile else 0
    if "drawn" in fields:
        model.drawn = fields["drawn"].integer()
    if "epochs" in file.entries:
        from kurve.callbacks import History

        file.claim("epochs", (None,), np.int64)
        model.history = History()
        model.history.epoch = file.read("epochs").tolist()
        model.history.history = read_history(file)
        model.history.set_model(model)
    return model


def _traced_classes(formulas: Field | None) -> dict[str, type]:
    """Classes for layers whose own classes were not passed."""
    found: dict[str, type] = {}
    if formulas is None:
        return found
    if not isinstance(formulas.value, dict):
        raise formulas.error("it must be an object")
    for name, by_layer in formulas.value.items():
        field = formulas.inner(name, by_layer)
        if not name.isidentifier() or not isinstance(by_layer, dict):
            raise field.error("it must hold the formulas of a class")
        given = registry.known(name)
        if given is None or (isinstance(given, type) and issubclass(given, Model)):
            found[name] = class_of(name, by_layer, given)
    return found


def read_network(
    config: Field,
    file: Reader,
    names: Callable[[Sequence[Variable]], list[str]] | None = None,
) -> Sequential:
    """Create a model from a configuration and read its weights from the file.

    Nothing is allocated before the file is known to have weights of these shapes; they
    are read directly into the state.

    Args:
        names: returns the names of the arrays of all weights, if they differ from those
            in a model file.
    """
    model: Any = model_from(config)
    network = model._network
    if not network.layers:
        raise config.inner("layers", None).error("there are none")
    if network.input_shape is None:
        raise config.inner("input_shape", None).error("it must be known")
    weights = model.weights
    array_names = names(weights) if names else _names_in(file, model)
    for variable, name in zip(weights, array_names, strict=True):
        file.claim(name, variable.shape)
    if sum(math.prod(v.shape) for v in _constants(model)) > MAX_CONSTANTS:
        raise config.inner("layers", None).error("they have too many constants")
    # Nothing in the file is ignored or changed: the model must reproduce it.
    path = config.convert(lambda value: difference(value, model.get_config()))
    if path is not None:
        raise Field(file.path, f"{config.name}{path}", None).error(
            "it does not match the model's own configuration"
        )
    config.convert(lambda _: network.lay_out(values=False))
    for variable, name in zip(weights, array_names, strict=True):
        file.read_into(name, variable.value)
        check_finite(file, name, variable.value)
    found: Sequential = model
    return found


def checked_ending(where: str, filepath: str | os.PathLike[str], ending: str) -> str:
    """The path, checked to have this extension."""
    path = path_name(where, "filepath", filepath, f"model{ending}")
    if not path.endswith(ending):
        raise ValueError(
            f"[{where}] the file's name must end in {ending!r}. "
            f"Received: {path!r}. Try {_stem(path) + ending!r}."
        )
    return path


def _stem(path: str) -> str:
    """The path without its extension, if it has one."""
    stem, ending = os.path.splitext(path)
    return stem.removesuffix(".weights") if ending[1:].isidentifier() else path


def _constants(model: Sequential) -> list[Variable]:
    return [v for v in model.variables if v.role == "constant"]


def _weight_names(model: Any, entries: Container[str] = ()) -> list[str]:
    """The names of the arrays of all weights: those of the weights, after the names of
    the models that their layer is in.

    Args:
        entries: the names in a file. A model inside a custom layer may have been built
            by a call of that layer in one process and separately in the other: only a
            call adds the layer's name to its weights.
    """
    found: dict[int, str] = {}

    def named(layers: Sequence[Any], prefix: str) -> None:
        for layer in layers:
            inner = getattr(layer, "_network", None)
            if inner is not None:
                named(inner.layers, f"{prefix}{layer.name}/")
                continue
            for variable in layer.weights:
                name, own = variable.name, f"{layer.name}/"
                if entries and f"{prefix}{name}" not in entries:
                    inside = name.startswith(own)
                    other = name.removeprefix(own) if inside else own + name
                    name = other if f"{prefix}{other}" in entries else name
                found.setdefault(id(variable), f"{prefix}{name}")

    named(model._network.layers, "weights/")
    return [found[id(variable)] for variable in model.weights]


def _names_in(file: Reader, model: Any) -> list[str]:
    """The names of all weights in a file. Layers created by a custom layer may have
    been named by their number in the program; the file has them in order."""
    names = _weight_names(model, file.entries)
    listed = [name for name in file.entries if name.startswith("weights/")]
    if len(listed) == len(names) and not set(names) <= set(listed):
        known = set(names) & set(listed)
        pairs = list(zip(names, listed, strict=True))
        if all(name == there for name, there in pairs if known & {name, there}):
            return listed
    return names


def _counted(layers: Sequence[Any]) -> int:
    """The number of weights, counted separately in each model."""
    networks = [(layer, getattr(layer, "_network", None)) for layer in layers]
    return sum(
        len(layer.weights) if inner is None else _counted(inner.layers)
        for layer, inner in networks
    )


def refuse_shared(where: str, model: Sequential) -> None:
    """Refuse a layer in two models of a model.

    Raises:
        ValueError: there is one.
    """
    if _counted(model._network.layers) > len(model.weights):
        raise ValueError(
            f"[{where}] a layer must not be in more than one of the "
            f"models in {model.name!r}, because files store each model separately. "
            "Received: weights of two of them. Try wrapping that layer in a model."
        )


def _weight_tensors(where: str, model: Sequential) -> dict[str, np.ndarray]:
    weights = model.weights
    refuse_shared(where, model)
    names = _weight_names(model)
    tensors = dict(zip(names, [v.value for v in weights], strict=True))
    if len(tensors) < len(weights):
        raise ValueError(
            f"[{where}] weights must have distinct names. Received: a duplicate "
            f"among {', '.join(v.name for v in weights)[:200]}. Try other names."
        )
    for name, value in tensors.items():
        if not np.isfinite(value).all():
            raise ValueError(
                f"[{where}] weights must be finite. Received: NaN or infinity in "
                f"{name.removeprefix('weights/')}. Try earlier weights."
            )
    return tensors
