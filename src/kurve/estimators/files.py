"""Estimator files: a `kurve.saving` file with everything that prediction and
continued training need: parameters, columns, scales, members, folds, held-out errors.

    kind         "estimator"
    estimator    the description below, of kind "Regressor" or "Classifier"
    assessed     by `kurve fit`: whether held-out errors were printed

    columns/..., inputs/..., outputs/..., novelty/..., noise, spread, ...   float64
    shares                          float64, of the members of a bag
    history/NAME                    float64
    models/MEMBER/INDEX             float32, the weights of each member
    folds/NUMBER/INDEX              the same for the models of CV+
    training/MEMBER/slots, scalars  optimizer state after `partial_fit`, whose next call
                                    continues from it

Reading a file never executes anything: classes come from closed tables or from the
caller, and every array is checked against the others before the estimator is built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from kurve import saving
from kurve.core import registry
from kurve.core.container import writing
from kurve.core.container.reading import Reader, opened
from kurve.core.entries import entry
from kurve.core.inside import network_of
from kurve.errors import path_name
from kurve.estimators import column_files, defaults
from kurve.estimators.arguments import from_plain, plain
from kurve.estimators.base import Estimator
from kurve.estimators.classifier import Classifier
from kurve.estimators.fitted import ClassificationHead, Fitted, RegressionHead
from kurve.estimators.intervals import Conformal, CrossValidation
from kurve.estimators.novelty import Novelty
from kurve.estimators.parameters import MAX_MEMBERS
from kurve.estimators.regressor import LIKELIHOODS, Regressor
from kurve.estimators.scaling import Scaler
from kurve.layers.base import Variable
from kurve.models import Sequential, saved_training
from kurve.models import saving as models
from kurve.models.fields import Field

CLASSES: dict[str, type[Regressor | Classifier]] = {
    "Regressor": Regressor,
    "Classifier": Classifier,
}
KINDS = {"U": str, "i": np.int64, "u": np.uint64, "f": np.float64, "b": np.bool_}
"""Kinds of labels, and the dtype each is stored as."""

_SCALER = ("mean", "deviation", "low", "high")
_FIELDS = (
    "class_name",
    "parameters",
    "columns",
    "model",
    "members",
    "folds",
    "threshold",
    "iterations",
    "outputs",
    "target_names",
    "seeds",
    "training",
)


LATER = ("convex", "effort", "monotone", "positive")
"""Parameters that files only contain if used."""


def save(
    estimator: Estimator,
    filepath: str | os.PathLike[str],
    assessed: bool | None = None,
) -> None:
    """Write a fitted estimator.

    Args:
        assessed: whether it has been assessed; None if unknown.
    """
    path = saving.checked_ending("save", filepath, ".kurve")
    if type(estimator) not in CLASSES.values():
        raise TypeError(
            f"[save] a file holds one of {', '.join(CLASSES)}. Received: an object of "
            f"type {type(estimator).__name__}. Try pickle."
        )
    fitted = replace(estimator.fitted_, target_names=estimator.target_names_)
    info, tensors = _packed(estimator, fitted)
    for name, tensor in tensors.items():
        if not name.startswith("history/") and not np.isfinite(tensor).all():
            raise ValueError(
                "[save] all learned values must be finite. Received: NaN or infinity "
                f"in {name!r}. Try a lower learning rate, or scale=True."
            )
    if assessed is not None:
        info["assessed"] = assessed
    saving.write(path, info, tensors)


def check(where: str, estimator: Estimator, fitted: Fitted[Any]) -> None:
    """Refuse an estimator that cannot be saved.

    Args:
        fitted: its record before training, with arbitrary numbers.
    """
    writing.check(where, *_packed(estimator, fitted))


@entry
def load(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, type] | None = None,
) -> Regressor | Classifier:
    """Load an estimator from a file.

    Raises:
        ModelFileError: the file is damaged or not an estimator file.
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


def _packed(
    estimator: Estimator, fitted: Fitted[Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and arrays of a fitted estimator."""
    with registry.collect_custom():
        described, tensors = _described(estimator, fitted)
    return {"kind": "estimator", "estimator": described}, tensors


def _described(
    estimator: Estimator, fitted: Fitted[Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    columns, tensors = fitted.columns, _Tensors()
    tensors.scaler("inputs", fitted.inputs)
    tensors |= column_files.tensors(columns)
    novelty = fitted.novelty
    tensors["novelty/low"], tensors["novelty/high"] = novelty.low, novelty.high
    tensors["novelty/sample"] = novelty.sample
    tensors |= saved_training.history_tensors(fitted.history)
    for kind, networks in (("models", fitted.members), ("folds", fitted.folds)):
        for number, network in enumerate(networks):
            for index, weight in enumerate(network.weights):
                tensors[f"{kind}/{number}/{index}"] = weight.value
    training = None
    if fitted.partial:
        training = _training(fitted.members, tensors)
    described: dict[str, Any] = {
        "class_name": type(estimator).__name__,
        "parameters": {
            k: plain(k, v)
            for k, v in estimator.get_params().items()
            if k not in LATER or (v and v != "default")
        },
        "columns": column_files.described(columns),
        "model": fitted.members[0].get_config(),
        **_other_models(fitted.members),
        "members": len(fitted.members),
        "folds": len(fitted.folds),
        "threshold": novelty.threshold,
        "iterations": fitted.iterations,
        "outputs": fitted.targets,
        "target_names": fitted.target_names,
        "seeds": [
            network_of(network).seed for network in [*fitted.members, *fitted.folds]
        ],
        "training": training,
    }
    head = fitted.head
    if head.weights is not None:
        tensors["shares"] = head.weights
    if isinstance(head, ClassificationHead):
        described["classes"] = head.classes.tolist()
        kind = head.classes.dtype.kind
        described["class_kind"] = "U" if kind == "O" else kind
    if isinstance(head, RegressionHead):
        tensors.scaler("outputs", head.outputs)
        tensors["noise"] = head.noise
        tensors["spread"] = head.std_scale
        described |= {"likelihood": head.likelihood, "flat": head.flat}
        if head.conformal is not None:
            tensors["conformal/scores"] = head.conformal.scores
            tensors["conformal/weights"] = head.conformal.weights
        if head.cross is not None:
            tensors["cross/scores"] = head.cross.scores
            tensors["cross/fold_of"] = head.cross.fold_of
    return described, tensors


def _other_models(members: Sequence[Sequential]) -> dict[str, Any]:
    """The members that start another kind of network than the one before: their numbers
    and configurations."""
    others: list[list[Any]] = []
    before = _layers_of(members[0])
    for number, member in enumerate(members[1:], 1):
        layers = _layers_of(member)
        if layers != before:
            others.append([number, member.get_config()])
        before = layers
    return {"other_models": others} if others else {}


def _layers_of(network: Sequential) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]


def _training(
    networks: Sequence[Sequential], tensors: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The state from which `partial_fit` continues."""
    for number, network in enumerate(networks):
        _, state = network_of(network).require_built("save")
        tensors[f"training/{number}/slots"] = state.slots
        tensors[f"training/{number}/scalars"] = state.scalars
    return {
        "compile": saved_training.compile_entry(networks[0]),
        "steps": [network.iterations for network in networks],
    }


class _Arrays:
    """The arrays of a file, each read once and validated."""

    def __init__(self, file: Reader) -> None:
        self.file = file

    def __contains__(self, name: str) -> bool:
        return name in self.file.entries

    def error(self, name: str, problem: str) -> saving.ModelFileError:
        return Field(self.file.path, f"tensors.{name}", None).error(problem)

    def take(
        self, name: str, *shape: int | None, dtype: Any = np.float64
    ) -> np.ndarray:
        """The array with that name; None in the shape matches any size."""
        self.file.claim(name, shape, dtype)
        array = self.file.read(name)
        saved_training.check_finite(self.file, name, array)
        return array

    def scaler(self, name: str, width: int) -> Scaler:
        scaler = Scaler(*(self.take(f"{name}/{part}", width) for part in _SCALER))
        if f"{name}/tails" in self:
            scaler.tails = self.take(f"{name}/tails", 2, width)
            if not (scaler.tails[0] < scaler.tails[1]).all():
                raise self.error(f"{name}/tails", "they are not in order")
        if not (scaler.deviation > 0).all():
            raise self.error(f"{name}/deviation", "it is not above 0")
        return scaler


def _unpacked(top: Field, arrays: _Arrays) -> Regressor | Classifier:
    """The estimator that a file describes."""
    regression = ("likelihood", "flat")
    classification = ("classes", "class_kind")
    optional = (*regression, *classification, "other_models")
    fields = top.table(*_FIELDS, optional=optional)
    name = fields["class_name"].text()
    if name not in CLASSES:
        raise fields["class_name"].error(f"it is not one of {', '.join(CLASSES)}")
    required, others = regression, classification
    if name == "Classifier":
        required, others = others, required
    top.table(*(key for key in fields if key not in others), *required)
    estimator = _estimator(CLASSES[name], fields["parameters"])
    columns = column_files.read(fields["columns"], arrays)
    width = columns.matrix_width
    targets = fields["outputs"].integer(1, 2**31)
    inputs = arrays.scaler("inputs", width)
    novelty = Novelty(
        arrays.take("novelty/low", width, dtype=np.float32),
        arrays.take("novelty/high", width, dtype=np.float32),
        arrays.take("novelty/sample", None, width, dtype=np.float32),
        fields["threshold"].number(),
    )
    history = saved_training.read_history(arrays.file)
    iterations = fields["iterations"].integer(1, 2**31)
    target_names = fields["target_names"].texts()
    members = fields["members"].integer(1, MAX_MEMBERS + 1)
    folds = fields["folds"].integer(0, 10 * MAX_MEMBERS)
    networks = _networks(fields, arrays, width, members, folds)
    partial_fitted = fields["training"].value is not None
    if partial_fitted:
        _read_training(fields["training"], arrays.file, networks[:members])
    shape = networks[0].output_shape
    outputs = shape[-1] if shape is not None and len(shape) == 2 else None
    head: RegressionHead | ClassificationHead
    if isinstance(estimator, Classifier):
        head = ClassificationHead(_classes(fields, outputs))
    else:
        head = _regression(fields, arrays, targets, outputs)
    if "shares" in arrays:
        head = replace(head, weights=_shares(arrays, members))
    if not isinstance(head, ClassificationHead):
        cross = head.cross
        if cross is not None and folds != members * (int(cross.fold_of.max()) + 1):
            raise fields["folds"].error("they do not fit the members")
    fitted: Fitted[Any] = Fitted(
        columns,
        inputs,
        head,
        novelty,
        history,
        iterations,
        targets,
        target_names,
        partial_fitted,
        networks[:members],
        networks[members:],
    )
    # Only `compile` sets the engine; one that may not be here is not asked for.
    if estimator.engine in ("native", "reference"):
        encoder = estimator._target_encoder(fitted)
        _, loss = encoder.output_layer(getattr(head, "likelihood", "none"))
        for network in networks:
            if network.optimizer is None:
                network.compile(loss=loss, engine=estimator.engine)
    estimator._commit(fitted)
    return estimator


def _shares(arrays: _Arrays, members: int) -> np.ndarray:
    """The share of each member in a bag."""
    shares = arrays.take("shares", members)
    if (shares < 0.0).any() or abs(shares.sum() - 1.0) > 1e-6:
        raise arrays.error("shares", "they must be fractions that sum to 1")
    return shares


def _estimator(
    cls: type[Regressor | Classifier], parameters: Field
) -> Regressor | Classifier:
    """The estimator before `fit`."""
    names = cls._parameter_names()
    required = [name for name in names if name not in LATER]
    optional = tuple(name for name in names if name in LATER)
    fields = parameters.table(*required, optional=optional)
    arguments = {
        name: field.convert(partial(from_plain, name)) for name, field in fields.items()
    }

    def make(_: Any) -> Regressor | Classifier:
        estimator = cls(**arguments)
        estimator._check_parameters()
        return estimator

    return parameters.convert(make)


def _classes(fields: Mapping[str, Field], outputs: int | None) -> np.ndarray:
    """The labels of a classifier, checked against the networks."""
    field, kind = fields["classes"], fields["class_kind"].text()
    if kind not in KINDS:
        raise fields["class_kind"].error(f"it is not one of {', '.join(KINDS)}")
    expected = {"U": str, "i": int, "u": int, "f": float, "b": bool}[kind]
    labels = [item.value for item in field.items()]
    if not all(type(label) is expected for label in labels):
        raise field.error("its labels have another type")
    if len(labels) < 2 or labels != sorted(set(labels)):
        raise field.error("there must be two or more, in order")
    if outputs is None or outputs != (1 if len(labels) == 2 else len(labels)):
        raise field.error("it does not fit the model")

    def make(_: Any) -> np.ndarray:
        return np.array(labels, dtype=KINDS[kind])

    classes = field.convert(make)
    if len(classes) < 2 or not (classes[1:] > classes[:-1]).all():
        raise field.error("it must hold two labels or more, in order, each once")
    return classes


def _regression(
    fields: Mapping[str, Field], arrays: _Arrays, targets: int, outputs: int | None
) -> RegressionHead:
    """The head of a regressor."""
    likelihood = fields["likelihood"].text()
    outputs_per_target = {"none": 1, "gaussian": 2, "quantile": len(defaults.QUANTILES)}
    if (
        likelihood not in LIKELIHOODS
        or outputs_per_target.get(likelihood, 0) * targets != outputs
    ):
        raise fields["likelihood"].error("it does not fit the model")
    flat = fields["flat"].boolean() and targets == 1
    scaler = arrays.scaler("outputs", targets)
    noise, std_scale = arrays.take("noise", targets), arrays.take("spread", targets)
    conformal, cross = None, None
    if "conformal/scores" in arrays:
        scores = arrays.take("conformal/scores", None, targets)
        weights = arrays.take("conformal/weights", *scores.shape)
        conformal = Conformal(scores, weights)
    if "cross/scores" in arrays:
        scores = arrays.take("cross/scores", None, targets)
        fold_of = arrays.take("cross/fold_of", len(scores), dtype=np.int64)
        if not len(fold_of) or fold_of.min() < 0:
            raise arrays.error("cross/fold_of", "it holds no folds")
        cross = CrossValidation(scores, fold_of)
    return RegressionHead(scaler, likelihood, noise, std_scale, flat, conformal, cross)


def _networks(
    fields: Mapping[str, Field], arrays: _Arrays, width: int, members: int, folds: int
) -> list[Sequential]:
    """Members and folds, with weights read from the file."""
    prefixes = [f"models/{i}/" for i in range(members)]
    prefixes += [f"folds/{i}/" for i in range(folds)]
    seeds = [seed.integer(below=2**64) for seed in fields["seeds"].items()]
    if len(seeds) != len(prefixes):
        raise fields["seeds"].error(f"there must be {len(prefixes)}")
    others = fields.get("other_models")
    kinds = {} if others is None else column_files.pairs_of(others, members)
    networks: list[Sequential] = []
    model = fields["model"]
    for number, (prefix, seed) in enumerate(zip(prefixes, seeds, strict=True)):
        model = kinds.get(number, model)

        def names(weights: Sequence[Variable], prefix: str = prefix) -> list[str]:
            return [f"{prefix}{index}" for index in range(len(weights))]

        network = models.read_network(model, arrays.file, names)
        if network.input_shape != (None, width):
            raise model.error("it does not fit the columns")
        if networks and network.output_shape != networks[0].output_shape:
            raise model.error("its outputs are not those of the first model")
        network_of(network).seed = seed
        networks.append(network)
    return networks


def _read_training(field: Field, file: Reader, networks: Sequence[Sequential]) -> None:
    """Restore the optimizer state for the next call of `partial_fit`."""
    fields = field.table("compile", "steps")
    steps = [step.integer() for step in fields["steps"].items()]
    if len(steps) != len(networks):
        raise fields["steps"].error(f"there must be {len(networks)}")
    for number, (network, step) in enumerate(zip(networks, steps, strict=True)):
        saved_training.compile_from(fields["compile"], network)
        saved_training.read_training(file, network, f"training/{number}/")
        _, state = network_of(network).require_built("load")
        state.step = step


class _Tensors(dict[str, np.ndarray]):
    """Tensors by name."""

    def scaler(self, name: str, scaler: Scaler) -> None:
        """Add a scaler's arrays."""
        for part in _SCALER:
            self[f"{name}/{part}"] = getattr(scaler, part)
        if scaler.tails is not None:
            self[f"{name}/tails"] = scaler.tails
