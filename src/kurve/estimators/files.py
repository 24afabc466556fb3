"""Files of estimators: a safetensors file of `kurve.saving` with all that prediction
needs: parameters, columns, scales, members, folds and what was held out.

Reading a file never executes anything: classes come from closed tables, and every array
is compared with what the others say before the estimator is made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve import activations, optimizers, saving
from kurve.estimators import defaults
from kurve.estimators.base import Estimator
from kurve.estimators.classifier import Classifier
from kurve.estimators.columns import Columns
from kurve.estimators.intervals import Conformal, CrossValidation
from kurve.estimators.novelty import Novelty
from kurve.estimators.regressor import LIKELIHOODS, Regressor
from kurve.estimators.scaling import Scaler
from kurve.models import Sequential
from kurve.optimizers import Optimizer, schedules
from kurve.saving import ModelFileError

CLASSES: dict[str, type[Regressor | Classifier]] = {
    "Regressor": Regressor,
    "Classifier": Classifier,
}
KINDS = {"U": str, "i": np.int64, "u": np.uint64, "f": np.float64, "b": np.bool_}
"""Kinds of labels and how they are kept."""


def save(estimator: Estimator, filepath: str | os.PathLike[str]) -> None:
    """Write a fitted estimator."""
    path = saving._checked_ending("save", filepath, ".kurve")
    columns, tensors = estimator._columns, _Tensors()
    tensors.scaler("inputs", estimator._inputs)
    tensors["columns/fills"] = columns.fills
    novelty = estimator._novelty
    tensors["novelty/low"], tensors["novelty/high"] = novelty.low, novelty.high
    tensors["novelty/sample"] = novelty.sample
    for name, values in estimator.history_.items():
        tensors[f"history/{name}"] = np.array(values, np.float64)
    folds = getattr(estimator, "_folds", [])
    for kind, models in (("models", estimator.models_), ("folds", folds)):
        for number, model in enumerate(models):
            for place, weight in enumerate(model.get_weights()):
                tensors[f"{kind}/{number}/{place}"] = weight
    described: dict[str, Any] = {
        "class_name": type(estimator).__name__,
        "parameters": {k: _plain(k, v) for k, v in estimator.get_params().items()},
        "columns": {
            "names": columns.names,
            "width": columns.width,
            "numeric": columns.numeric,
            "gaps": columns.gaps,
            "levels": [[c, levels] for c, levels in columns.levels.items()],
            "common": [[c, level] for c, level in columns.common.items()],
            "impute": columns.impute,
        },
        "model": estimator.models_[0].get_config(),
        "members": len(estimator.models_),
        "folds": len(folds),
        "threshold": novelty.threshold,
        "iterations": estimator.n_iter_,
        "outputs": estimator.n_outputs_,
        "target_names": getattr(estimator, "target_names_", None),
    }
    if isinstance(estimator, Classifier):
        described["classes"] = estimator.classes_.tolist()
        kind = estimator.classes_.dtype.kind
        described["class_kind"] = "U" if kind == "O" else kind
    if isinstance(estimator, Regressor):
        tensors.scaler("outputs", estimator._outputs)
        tensors["noise"] = estimator._noise
        tensors["spread"] = estimator._spread
        described |= {"likelihood": estimator._likelihood, "flat": estimator._flat}
        if estimator._conformal is not None:
            tensors["conformal/scores"] = estimator._conformal.scores
            tensors["conformal/weights"] = estimator._conformal.weights
        if estimator._cross is not None:
            tensors["cross/scores"] = estimator._cross.scores
            tensors["cross/fold_of"] = estimator._cross.fold_of.astype(np.float64)
    info = {"model": None, "estimator": described}
    saving.write(path, info, tensors)


def load(filepath: str | os.PathLike[str]) -> Regressor | Classifier:
    """The estimator in a file.

    Raises:
        ModelFileError: the file is damaged or holds no estimator.
    """
    info, tensors = saving.read(filepath)
    described = info.get("estimator")
    if not isinstance(described, Mapping):
        raise ModelFileError(
            f"[load] {os.fspath(filepath)!r} holds no estimator. "
            "Try kurve.models.load_model for a model."
        )
    try:
        return _made(described, tensors)
    except (LookupError, TypeError, ValueError, ArithmeticError, MemoryError) as error:
        raise ModelFileError(
            f"[load] the estimator in {os.fspath(filepath)!r} cannot be read: {error}."
        ) from error


def _made(described: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Any:
    """The estimator that a file describes."""
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all() and not name.startswith("history/"):
            raise ValueError(f"{name} is not finite")
    cls = CLASSES[described["class_name"]]
    parameters = described["parameters"]
    estimator = cls(**{k: _from_plain(k, v) for k, v in parameters.items()})
    estimator._check_parameters()
    columns = _columns(described["columns"], tensors)
    wide = columns.outputs
    learnt: dict[str, Any] = {
        "_columns": columns,
        "_inputs": _scaler(tensors, "inputs", wide),
        "_novelty": Novelty(
            _array(tensors, "novelty/low", wide),
            _array(tensors, "novelty/high", wide),
            _array(tensors, "novelty/sample", None, wide),
            float(described["threshold"]),
        ),
        "history_": {
            name.removeprefix("history/"): _array(tensors, name, None).tolist()
            for name in tensors
            if name.startswith("history/")
        },
        "n_features_in_": columns.width,
        "n_iter_": _count(described["iterations"]),
        "n_outputs_": _count(described["outputs"]),
        "target_names_": described["target_names"],
    }
    if columns.names is not None:
        learnt["feature_names_in_"] = np.array(columns.names, dtype=object)
    members, folds = _count(described["members"]), _count(described["folds"], 0)
    config = described["model"]
    learnt["models_"] = [
        _model(config, tensors, f"models/{i}/", wide) for i in range(members)
    ]
    outputs = learnt["models_"][0].output_shape[-1]
    if isinstance(estimator, Classifier):
        kind = KINDS[described["class_kind"]]
        classes = np.array(described["classes"])
        if classes.ndim != 1 or outputs != (1 if len(classes) == 2 else len(classes)):
            raise ValueError("the classes do not fit the model")
        learnt["classes_"] = classes.astype(kind)
    else:
        learnt |= _regression(described, tensors, learnt["n_outputs_"], outputs)
        learnt["_folds"] = [
            _model(config, tensors, f"folds/{i}/", wide) for i in range(folds)
        ]
        cross = learnt["_cross"]
        if cross is not None and folds != members * (int(cross.fold_of.max()) + 1):
            raise ValueError("the folds do not fit the members")
    vars(estimator).update(learnt, _learnt=tuple(learnt))
    return estimator


def _regression(
    described: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    targets: int,
    outputs: int,
) -> dict[str, Any]:
    """What only a regressor has learnt."""
    likelihood = described["likelihood"]
    heads = {"none": 1, "gaussian": 2, "quantile": len(defaults.QUANTILES)}[likelihood]
    if likelihood not in LIKELIHOODS or outputs != heads * targets:
        raise ValueError("the likelihood does not fit the model")
    learnt: dict[str, Any] = {
        "_likelihood": likelihood,
        "_flat": bool(described["flat"]) and targets == 1,
        "_outputs": _scaler(tensors, "outputs", targets),
        "_noise": _array(tensors, "noise", targets),
        "_spread": _array(tensors, "spread", targets),
        "_conformal": None,
        "_cross": None,
    }
    if "conformal/scores" in tensors:
        scores = _array(tensors, "conformal/scores", None, targets)
        weights = _array(tensors, "conformal/weights", *scores.shape)
        learnt["_conformal"] = Conformal(scores, weights)
    if "cross/scores" in tensors:
        scores = _array(tensors, "cross/scores", None, targets)
        fold_of = _array(tensors, "cross/fold_of", len(scores)).astype(np.int64)
        if not len(fold_of) or fold_of.min() < 0:
            raise ValueError("cross/fold_of holds no folds")
        learnt["_cross"] = CrossValidation(scores, fold_of)
    return learnt


def _columns(given: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Columns:
    width = _count(given["width"])
    numeric = [_count(c, 0) for c in given["numeric"]]
    gaps = [_count(c, 0) for c in given["gaps"]]
    levels = {_count(c, 0): list(values) for c, values in given["levels"]}
    common = {_count(c, 0): level for c, level in given["common"]}
    names = given["names"]
    if names is not None:
        names = [str(name) for name in names]
    whole = sorted([*numeric, *levels]) == list(range(width))
    known = all(common[c] in values for c, values in levels.items())
    if not whole or not known or (names is not None and len(names) != width):
        raise ValueError("the columns contradict one another")
    if any(c >= width for c in gaps) or len(set(gaps)) < len(gaps):
        raise ValueError("the gaps do not fit the columns")
    for values in levels.values():
        if not all(isinstance(v, (str, int, float)) for v in values):
            raise ValueError("a level is no text or number")
    fills = _array(tensors, "columns/fills", len(numeric))
    return Columns(
        names, width, numeric, fills, gaps, levels, common, bool(given["impute"])
    )


def _model(
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    prefix: str,
    inputs: int,
) -> Sequential:
    """One network, its weights from the file."""
    model = Sequential.from_config(config)
    if model.input_shape != (None, inputs):
        raise ValueError("the model does not fit the columns")
    count = sum(name.startswith(prefix) for name in tensors)
    model.set_weights([tensors[f"{prefix}{place}"] for place in range(count)])
    return model


def _scaler(tensors: Mapping[str, np.ndarray], name: str, width: int) -> Scaler:
    parts = ("mean", "deviation", "low", "high")
    found = Scaler(*(_array(tensors, f"{name}/{part}", width) for part in parts))
    if not (found.deviation > 0).all():
        raise ValueError(f"{name}/deviation is not above 0")
    return found


def _array(
    tensors: Mapping[str, np.ndarray], name: str, *shape: int | None
) -> np.ndarray:
    """The tensor of that name, its shape as it must be; None is any length."""
    tensor = tensors[name]
    fits = tensor.ndim == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"the shape of {name} is {tensor.shape}")
    return tensor


def _count(value: Any, low: int = 1) -> int:
    if type(value) is not int or not low <= value < 2**31:
        raise ValueError(f"{value!r} is no number of things")
    return value


class _Tensors(dict[str, np.ndarray]):
    """Tensors by name."""

    def scaler(self, name: str, scaler: Scaler) -> None:
        """Put a scaler's arrays in."""
        for part in ("mean", "deviation", "low", "high"):
            self[f"{name}/{part}"] = getattr(scaler, part)


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON can hold it."""
    if isinstance(value, Sequential):
        return {"sequential": value.get_config()}
    if isinstance(value, (Optimizer, schedules.LearningRateSchedule)):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    if isinstance(value, activations.Activation):
        return activations.to_config(value)
    if name == "class_weight" and isinstance(value, Mapping):
        return {"pairs": [[_scalar(k), float(w)] for k, w in value.items()]}
    if name == "random_state" and not isinstance(value, (int, np.integer)):
        return None
    if name == "engine" and value is not None and not isinstance(value, str):
        return value.name
    if isinstance(value, (tuple, list)):
        return [int(v) for v in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _from_plain(name: str, value: Any) -> Any:
    """The parameter that `_plain` has written."""
    if name == "hidden_layer_sizes" and isinstance(value, Mapping):
        return Sequential.from_config(value["sequential"])
    if name == "hidden_layer_sizes" and isinstance(value, list):
        return tuple(value)
    if name == "solver" and isinstance(value, Mapping):
        kind = optimizers.CLASSES[value["class_name"]]
        return kind.from_config(value["config"])
    if name == "learning_rate" and isinstance(value, Mapping):
        return schedules.CLASSES[value["class_name"]](**value["config"])
    if name == "activation" and isinstance(value, Mapping):
        return activations.get(value)
    if name == "class_weight" and isinstance(value, Mapping):
        return dict(value["pairs"])
    return value
