"""Models as files: configuration and training in the description, numbers in arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import losses, metrics, optimizers
from kurve.saving.container import read, write
from kurve.saving.errors import ModelFileError

if TYPE_CHECKING:
    from kurve.models import Sequential


def save_model(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Write configuration, weights, optimizer state and seed."""
    path = _checked_ending("save", filepath, ".kurve")
    _, state = model._built("save")
    tensors = _weight_tensors(model)
    info: dict[str, Any] = {
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
    write(path, {"model": None}, _weight_tensors(model))


def load_weights(model: Sequential, filepath: str | os.PathLike[str]) -> None:
    """Read the weights into a built model of the same layers."""
    model._built("load_weights")
    _, tensors = read(filepath)
    _assign(model, tensors)


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
