"""Files of estimators: a file of `kurve.saving` with all that prediction and further
training need: parameters, columns, scales, members, folds and what was held out.

    kind         "estimator"
    estimator    the description below, of kind "Regressor" or "Classifier"
    assessed     of `kurve fit`: whether its errors on held-out rows were told

    columns/fills, inputs/..., outputs/..., novelty/..., noise, spread, ...   float64
    history/NAME                    float64
    models/MEMBER/PLACE             float32, the weights of each member
    folds/NUMBER/PLACE              the same of the models of CV+
    training/MEMBER/slots, scalars  after `partial_fit`, whose next call goes on with
                                    them

Reading a file never executes anything: classes come from closed tables or from the
caller, and every array is compared with what the others say before the estimator is
made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from kurve import saving
from kurve.core import registry
from kurve.core.container import writing
from kurve.core.container.reading import Reader, opened
from kurve.core.entries import entry
from kurve.errors import path_name
from kurve.estimators import defaults
from kurve.estimators.arguments import from_plain, plain
from kurve.estimators.base import Estimator
from kurve.estimators.classifier import Classifier
from kurve.estimators.columns import Columns
from kurve.estimators.intervals import Conformal, CrossValidation
from kurve.estimators.novelty import Novelty
from kurve.estimators.parameters import MAX_MEMBERS
from kurve.estimators.regressor import LIKELIHOODS, Regressor
from kurve.estimators.scaling import Scaler
from kurve.layers.base import Variable
from kurve.models import Sequential
from kurve.models import saving as models
from kurve.models.fields import Field

CLASSES: dict[str, type[Regressor | Classifier]] = {
    "Regressor": Regressor,
    "Classifier": Classifier,
}
KINDS = {"U": str, "i": np.int64, "u": np.uint64, "f": np.float64, "b": np.bool_}
"""Kinds of labels and how they are kept."""

_SCALER = ("mean", "deviation", "low", "high")


def save(
    estimator: Estimator,
    filepath: str | os.PathLike[str],
    assessed: bool | None = None,
) -> None:
    """Write a fitted estimator.

    Args:
        assessed: whether it has been; None where nobody says.
    """
    path = saving.checked_ending("save", filepath, ".kurve")
    if type(estimator) not in CLASSES.values():
        raise TypeError(
            f"[save] a file holds one of {', '.join(CLASSES)}. Received: an object of "
            f"type {type(estimator).__name__}. Try pickle."
        )
    info, tensors = _packed(estimator)
    for name, tensor in tensors.items():
        if not name.startswith("history/") and not np.isfinite(tensor).all():
            raise ValueError(
                "[save] all that was learnt must be finite. Received: NaN or infinity "
                f"in {name!r}. Try a lower learning rate, or scale=True."
            )
    if assessed is not None:
        info["assessed"] = assessed
    saving.write(path, info, tensors)


def check(where: str, estimator: Estimator) -> None:
    """Refuse an estimator that a file has no place for.

    Args:
        estimator: all but trained: what training finds out may be anything.
    """
    writing.check(where, *_packed(estimator))


@entry
def load(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, type] | None = None,
) -> Regressor | Classifier:
    """The estimator in a file.

    Raises:
        ModelFileError: the file is damaged or holds no estimator.
    """
    path = path_name("load", "filepath", filepath, "estimator.kurve")
    with registry.custom_objects(custom_objects), opened(path) as file:
        description = models.description(file, "estimator")
        top = description.table("kind", "estimator", optional=("assessed",))
        if "assessed" in top:
            top["assessed"].boolean()
        estimator = _unpacked(top["estimator"], _Arrays(file))
        file.expect_all_claimed()
        return estimator


def _packed(estimator: Estimator) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and arrays of a fitted estimator."""
    with registry.collect_custom():
        described, tensors = _described(estimator)
    return {"kind": "estimator", "estimator": described}, tensors


def _described(
    estimator: Estimator,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    columns, tensors = estimator._columns, _Tensors()
    tensors.scaler("inputs", estimator._inputs)
    tensors["columns/fills"] = columns.fills
    novelty = estimator._novelty
    tensors["novelty/low"], tensors["novelty/high"] = novelty.low, novelty.high
    tensors["novelty/sample"] = novelty.sample
    tensors |= models.history_tensors(estimator.history_)
    folds = getattr(estimator, "_folds", [])
    for kind, networks in (("models", estimator.models_), ("folds", folds)):
        for number, network in enumerate(networks):
            for place, weight in enumerate(network.weights):
                tensors[f"{kind}/{number}/{place}"] = weight.value
    training = None
    if getattr(estimator, "_partial", False):
        training = _training(estimator.models_, tensors)
    described: dict[str, Any] = {
        "class_name": type(estimator).__name__,
        "parameters": {k: plain(k, v) for k, v in estimator.get_params().items()},
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
        "seeds": [network._network.seed for network in [*estimator.models_, *folds]],
        "training": training,
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
            tensors["cross/fold_of"] = estimator._cross.fold_of
    return described, tensors


def _training(
    networks: Sequence[Sequential], tensors: dict[str, np.ndarray]
) -> dict[str, Any]:
    """What the next call of `partial_fit` goes on with."""
    for number, network in enumerate(networks):
        _, state = network._network.require_built("save")
        tensors[f"training/{number}/slots"] = state.slots
        tensors[f"training/{number}/scalars"] = state.scalars
    return {
        "compile": models.compile_entry(networks[0]),
        "steps": [network.iterations for network in networks],
    }


class _Arrays:
    """The arrays of a file, each taken once and compared with what it must be."""

    def __init__(self, file: Reader) -> None:
        self.file = file

    def __contains__(self, name: str) -> bool:
        return name in self.file.entries

    def wrong(self, name: str, what: str) -> saving.ModelFileError:
        return Field(self.file.path, f"tensors.{name}", None).error(what)

    def take(
        self, name: str, *shape: int | None, dtype: Any = np.float64
    ) -> np.ndarray:
        """The array of that name; None in the shape is any size."""
        self.file.claim(name, shape, dtype)
        array = self.file.read(name)
        models.check_finite(self.file, name, array)
        return array

    def scaler(self, name: str, width: int) -> Scaler:
        found = Scaler(*(self.take(f"{name}/{part}", width) for part in _SCALER))
        if not (found.deviation > 0).all():
            raise self.wrong(f"{name}/deviation", "it is not above 0")
        return found


def _unpacked(top: Field, arrays: _Arrays) -> Regressor | Classifier:
    """The estimator that a file describes."""
    regression = ("likelihood", "flat")
    classification = ("classes", "class_kind")
    fields = top.table(
        *("class_name", "parameters", "columns", "model", "members", "folds"),
        *("threshold", "iterations", "outputs", "target_names", "seeds", "training"),
        optional=(*regression, *classification),
    )
    name = fields["class_name"].text()
    if name not in CLASSES:
        raise fields["class_name"].error(f"it is none of {', '.join(CLASSES)}")
    own, others = regression, classification
    if name == "Classifier":
        own, others = others, own
    top.table(*(key for key in fields if key not in others), *own)
    estimator = _estimator(CLASSES[name], fields["parameters"])
    columns = _columns(fields["columns"], arrays)
    wide = columns.outputs
    targets = fields["outputs"].integer(1, 2**31)
    fitted: dict[str, Any] = {
        "_columns": columns,
        "_inputs": arrays.scaler("inputs", wide),
        "_novelty": Novelty(
            arrays.take("novelty/low", wide, dtype=np.float32),
            arrays.take("novelty/high", wide, dtype=np.float32),
            arrays.take("novelty/sample", None, wide, dtype=np.float32),
            fields["threshold"].number(),
        ),
        "history_": models.read_history(arrays.file),
        "n_features_in_": columns.width,
        "n_iter_": fields["iterations"].integer(1, 2**31),
        "n_outputs_": targets,
        "target_names_": _texts(fields["target_names"]),
    }
    if columns.names is not None:
        fitted["feature_names_in_"] = np.array(columns.names, dtype=object)
    members = fields["members"].integer(1, MAX_MEMBERS + 1)
    folds = fields["folds"].integer(0, 10 * MAX_MEMBERS)
    networks = _networks(fields, arrays, wide, members, folds)
    fitted["models_"] = networks[:members]
    if fields["training"].value is not None:
        _read_training(fields["training"], arrays.file, fitted["models_"])
        fitted["_partial"] = True
    shape = networks[0].output_shape
    outputs = shape[-1] if shape is not None and len(shape) == 2 else None
    if isinstance(estimator, Classifier):
        fitted["classes_"] = _classes(fields, outputs)
    else:
        fitted |= _regression(fields, arrays, targets, outputs)
        fitted["_folds"] = networks[members:]
        cross = fitted["_cross"]
        if cross is not None and folds != members * (int(cross.fold_of.max()) + 1):
            raise fields["folds"].error("they do not fit the members")
    if estimator.engine is not None:  # which `compile` says
        _, loss = estimator._head(fitted.get("_likelihood", "none"), fitted)
        for network in networks:
            if network.optimizer is None:
                network.compile(loss=loss, engine=estimator.engine)
    vars(estimator).update(fitted, _learnt=tuple(fitted))
    return estimator


def _estimator(
    cls: type[Regressor | Classifier], parameters: Field
) -> Regressor | Classifier:
    """The estimator before `fit`."""
    given = parameters.table(*cls._parameter_names())
    arguments = {
        name: field.convert(partial(from_plain, name)) for name, field in given.items()
    }

    def make(_: Any) -> Regressor | Classifier:
        estimator = cls(**arguments)
        estimator._check_parameters()
        return estimator

    return parameters.convert(make)


def _classes(fields: Mapping[str, Field], outputs: int | None) -> np.ndarray:
    """The labels of a classifier, proven to fit the networks."""
    given, kind = fields["classes"], fields["class_kind"].text()
    if kind not in KINDS:
        raise fields["class_kind"].error(f"it is none of {', '.join(KINDS)}")
    wanted = {"U": str, "i": int, "u": int, "f": float, "b": bool}[kind]
    labels = [item.value for item in given.items()]
    if not all(type(label) is wanted for label in labels):
        raise given.error("its labels are of another kind")
    if len(labels) < 2 or labels != sorted(set(labels)):
        raise given.error("there must be two or more, in order")
    if outputs is None or outputs != (1 if len(labels) == 2 else len(labels)):
        raise given.error("it does not fit the model")

    def make(_: Any) -> np.ndarray:
        return np.array(labels, dtype=KINDS[kind])

    classes = given.convert(make)
    if len(classes) < 2 or not (classes[1:] > classes[:-1]).all():
        raise given.error("it must hold two labels or more, in order, each once")
    return classes


def _regression(
    fields: Mapping[str, Field], arrays: _Arrays, targets: int, outputs: int | None
) -> dict[str, Any]:
    """What only a regressor has learnt."""
    likelihood = fields["likelihood"].text()
    outputs_per_target = {"none": 1, "gaussian": 2, "quantile": len(defaults.QUANTILES)}
    if (
        likelihood not in LIKELIHOODS
        or outputs_per_target.get(likelihood, 0) * targets != outputs
    ):
        raise fields["likelihood"].error("it does not fit the model")
    fitted: dict[str, Any] = {
        "_likelihood": likelihood,
        "_flat": fields["flat"].boolean() and targets == 1,
        "_outputs": arrays.scaler("outputs", targets),
        "_noise": arrays.take("noise", targets),
        "_spread": arrays.take("spread", targets),
        "_conformal": None,
        "_cross": None,
    }
    if "conformal/scores" in arrays:
        scores = arrays.take("conformal/scores", None, targets)
        weights = arrays.take("conformal/weights", *scores.shape)
        fitted["_conformal"] = Conformal(scores, weights)
    if "cross/scores" in arrays:
        scores = arrays.take("cross/scores", None, targets)
        fold_of = arrays.take("cross/fold_of", len(scores), dtype=np.int64)
        if not len(fold_of) or fold_of.min() < 0:
            raise arrays.wrong("cross/fold_of", "it holds no folds")
        fitted["_cross"] = CrossValidation(scores, fold_of)
    return fitted


def _columns(field: Field, arrays: _Arrays) -> Columns:
    given = field.table(
        *("names", "width", "numeric", "gaps", "levels", "common", "impute")
    )
    width = given["width"].integer(1, 2**31)
    numeric = [c.integer(0, width) for c in given["numeric"].items()]
    gaps = [c.integer(0, width) for c in given["gaps"].items()]
    levels = dict(_pairs(given["levels"], width))
    common = {column: value.value for column, value in _pairs(given["common"], width)}
    listed = {column: [v.value for v in f.items()] for column, f in levels.items()}
    names = _texts(given["names"])
    if sorted([*numeric, *levels]) != list(range(width)):
        raise given["numeric"].error("the columns are not each a number or a category")
    if names is not None and len(names) != width:
        raise given["names"].error(f"there must be {width}")
    if len(set(gaps)) < len(gaps):
        raise given["gaps"].error("a column is there twice")
    for column, values in listed.items():
        if not all(isinstance(v, (str, int, float)) for v in values):
            raise levels[column].error("a level is neither text nor number")
        if common.get(column) not in values:
            raise given["common"].error(f"it is no level of column {column}")
    if set(common) != set(listed):
        raise given["common"].error("it does not fit the levels")
    fills = arrays.take("columns/fills", len(numeric))
    impute = given["impute"].boolean()
    return Columns(names, width, numeric, fills, gaps, listed, common, impute)


def _pairs(field: Field, width: int) -> list[tuple[int, Field]]:
    """[[column, value], ...], no column twice."""
    found: dict[int, Field] = {}
    for item in field.items():
        pair = list(item.items())
        if len(pair) != 2 or pair[0].integer(0, width) in found:
            raise item.error("it is no column with its value")
        found[pair[0].value] = pair[1]
    return list(found.items())


def _texts(field: Field) -> list[str] | None:
    return None if field.value is None else [item.text() for item in field.items()]


def _networks(
    fields: Mapping[str, Field], arrays: _Arrays, wide: int, members: int, folds: int
) -> list[Sequential]:
    """Members and folds, their weights read from the file."""
    places = [f"models/{i}/" for i in range(members)]
    places += [f"folds/{i}/" for i in range(folds)]
    seeds = [seed.integer(below=2**64) for seed in fields["seeds"].items()]
    if len(seeds) != len(places):
        raise fields["seeds"].error(f"there must be {len(places)}")
    made = []
    for prefix, seed in zip(places, seeds, strict=True):

        def names(weights: Sequence[Variable], prefix: str = prefix) -> list[str]:
            return [f"{prefix}{place}" for place in range(len(weights))]

        network = models.read_network(fields["model"], arrays.file, names)
        if network.input_shape != (None, wide):
            raise fields["model"].error("it does not fit the columns")
        network._network.seed = seed
        made.append(network)
    return made


def _read_training(field: Field, file: Reader, networks: Sequence[Sequential]) -> None:
    """Make the members ready for the next call of `partial_fit`."""
    fields = field.table("compile", "steps")
    steps = [step.integer() for step in fields["steps"].items()]
    if len(steps) != len(networks):
        raise fields["steps"].error(f"there must be {len(networks)}")
    for number, (network, step) in enumerate(zip(networks, steps, strict=True)):
        models.compile_from(fields["compile"], network)
        models.read_training(file, network, f"training/{number}/")
        _, state = network._network.require_built("load")
        state.step = step


class _Tensors(dict[str, np.ndarray]):
    """Tensors by name."""

    def scaler(self, name: str, scaler: Scaler) -> None:
        """Put a scaler's arrays in."""
        for part in _SCALER:
            self[f"{name}/{part}"] = getattr(scaler, part)
