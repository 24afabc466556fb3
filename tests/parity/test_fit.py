"""`fit`, `evaluate` and `predict` against Keras: logs, results and weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from tables import dense, network
from twins import TOLERANCES, Case, call, data_of, keras, make, twin_models

import kurve

RTOL = TOLERANCES["float32"]
SGD = call("optimizers.SGD", learning_rate=0.05, momentum=0.5)
PENALIZED = network(kernel_regularizer=call("regularizers.L2", l2=0.01))


@dataclass
class Fit:
    """A case, its metrics, and how it is fitted."""

    case: Case
    metrics: list[Any] = field(default_factory=list)
    weighted_metrics: list[Any] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    weights: bool = False
    validation: str = ""

    @property
    def repeats(self) -> bool:
        """Whether a metric is requested both with weights and without."""
        return any(metric in self.weighted_metrics for metric in self.metrics)


def regression(layers: Any = None, outputs: int = 2) -> Case:
    return Case(layers or network(outputs=outputs), "mse", SGD)


def classes(target: str, loss: str, last: str, outputs: int) -> Case:
    return Case(network(last, outputs), loss, SGD, target=target)


BINARY = classes("signs", "binary_crossentropy", "sigmoid", 1)
LABELS = classes("signs", "binary_crossentropy", "sigmoid", 3)
ONE_HOT = classes("one-hot", "categorical_crossentropy", "softmax", 4)
SPARSE = classes("classes", "sparse_categorical_crossentropy", "softmax", 4)
RMSE, R2 = call("metrics.RootMeanSquaredError"), call("metrics.R2Score")

FITS = {
    "plain": Fit(regression()),
    "metrics": Fit(regression(), ["mse", "mae", RMSE, R2]),
    "long names": Fit(regression(), ["mean_absolute_error", "root_mean_squared_error"]),
    "weights": Fit(regression(), ["mae"], ["mse", RMSE], weights=True),
    "split": Fit(regression(), ["mae", R2], given={"validation_split": 0.3}),
    "split, weights": Fit(
        regression(), ["mae"], ["mae"], {"validation_split": 0.3}, weights=True
    ),
    "data": Fit(regression(), ["mae"], validation="x, y"),
    "data, weights": Fit(regression(), [], ["mae"], validation="x, y, weights"),
    "data in batches": Fit(
        regression(), [R2], given={"validation_batch_size": 7}, validation="x, y"
    ),
    "some of the data": Fit(
        regression(),
        given={"validation_batch_size": 7, "validation_steps": 2},
        validation="x, y",
    ),
    "penalties": Fit(regression(PENALIZED), ["mse"], given={"validation_split": 0.3}),
    "every second": Fit(regression(), given={"validation_freq": 2}, validation="x, y"),
    "some epochs": Fit(
        regression(), given={"validation_freq": [1, 4]}, validation="x, y"
    ),
    "late": Fit(regression(), given={"initial_epoch": 2}),
    "batch size by default": Fit(regression(), given={"batch_size": None}),
    "steps": Fit(regression(), given={"batch_size": None, "steps_per_epoch": 4}),
    "steps of size": Fit(regression(), given={"batch_size": 10, "steps_per_epoch": 3}),
    "frozen": Fit(regression([dense(9, "tanh", trainable=False), dense(2)])),
    "accuracy of one": Fit(BINARY, ["accuracy"]),
    "binary accuracy": Fit(LABELS, ["binary_accuracy"]),
    "accuracy of labels": Fit(LABELS, ["accuracy"]),
    "accuracy of one-hot": Fit(ONE_HOT, ["accuracy"], ["accuracy"], weights=True),
    "categorical": Fit(ONE_HOT, ["categorical_accuracy", "mse"]),
    "accuracy of classes": Fit(SPARSE, ["accuracy"], given={"validation_split": 0.3}),
    "sparse accuracy": Fit(SPARSE, ["sparse_categorical_accuracy"]),
    "class weights": Fit(
        SPARSE, ["accuracy"], ["accuracy"], {"class_weight": {0: 0.5, 2: 3.0}}
    ),
    "class weights, validation split": Fit(
        SPARSE,
        ["accuracy"],
        ["accuracy"],
        {"class_weight": {0: 0.5, 2: 3.0}, "validation_split": 0.3},
    ),
}


def pair(fit: Fit, engine: str) -> tuple[Any, Any]:
    """The compiled twins."""
    models = twin_models(fit.case)
    for library, model in zip((kurve, keras), models, strict=True):
        more = {"engine": engine} if library is kurve else {}
        model.compile(
            make(library, fit.case.optimizer),
            make(library, fit.case.loss),
            metrics=make(library, fit.metrics),
            weighted_metrics=make(library, fit.weighted_metrics),
            **more,
        )
    return models


def rows(fit: Fit) -> tuple[np.ndarray, ...]:
    """60 rows: with batches of 16 the last one is smaller."""
    return tuple(array[:60] for array in data_of(fit.case))


def run(fit: Fit, model: Any, **more: Any) -> Any:
    x, y, _ = rows(fit)
    weights = np.linspace(0.1, 2.0, len(x), dtype=np.float32)
    given = {"batch_size": 16, "epochs": 4, "shuffle": False, "verbose": 0}
    if fit.weights:
        given["sample_weight"] = weights
    if fit.validation:
        given["validation_data"] = (x[5:30], y[5:30])
    if fit.validation.endswith("weights"):
        given["validation_data"] += (weights[5:30],)
    return model.fit(x, y, **{**given, **fit.given, **more})


def assert_equal_histories(ours: Any, theirs: Any) -> None:
    """The same keys in the same order, and the same values."""
    assert ours.epoch == theirs.epoch
    assert list(ours.history) == list(theirs.history)
    for key, values in theirs.history.items():
        np.testing.assert_allclose(ours.history[key], values, RTOL, 1e-6, err_msg=key)


@pytest.mark.parametrize("name", FITS)
def test_fit(name: str, engine: str) -> None:
    ours, theirs = pair(FITS[name], engine)
    assert_equal_histories(run(FITS[name], ours), run(FITS[name], theirs))
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.abs(mine - other).max() <= RTOL * np.abs(other).max()


@pytest.mark.parametrize("name", FITS)
def test_evaluate_and_predict(name: str, engine: str) -> None:
    """Results in the order of `compile`, as list or dictionary, with and without
    weights."""
    fit = FITS[name]
    ours, theirs = pair(fit, engine)
    x, y, _ = rows(fit)
    weights = np.linspace(0.1, 2.0, len(x), dtype=np.float32)
    for given in ({}, {"sample_weight": weights}, {"batch_size": 60}):
        mine = ours.evaluate(x, y, verbose=0, **given)
        other = theirs.evaluate(x, y, verbose=0, **given)
        assert isinstance(mine, list) == isinstance(other, list)
        if fit.repeats:  # Keras's list then has one of them twice
            mine, other = mine[:2], other[:2]
        np.testing.assert_allclose(mine, other, RTOL, 1e-6)
    mine = ours.evaluate(x, y, verbose=0, return_dict=True)
    other = theirs.evaluate(x, y, verbose=0, return_dict=True)
    assert set(mine) == set(other)
    for key, value in other.items():
        assert mine[key] == pytest.approx(value, rel=RTOL, abs=1e-6)

    mine, other = ours.predict(x, verbose=0), theirs.predict(x, verbose=0)
    assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
    np.testing.assert_allclose(mine, other, RTOL, 1e-6)
    np.testing.assert_allclose(ours.predict_on_batch(x), other, RTOL, 1e-6)


def test_results_of_batches(engine: str) -> None:
    """train_on_batch returns the loss before its update; test_on_batch does not
    update."""
    fit = FITS["metrics"]
    ours, theirs = pair(fit, engine)
    x, y, _ = rows(fit)
    for method in ("train_on_batch", "test_on_batch", "train_on_batch"):
        theirs.reset_metrics()
        mine, other = (getattr(m, method)(x, y) for m in (ours, theirs))
        np.testing.assert_allclose(mine, other, RTOL)


@pytest.mark.filterwarnings("ignore:.*no weights to train")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("part", ["model", "first layer", "layer of a frozen model"])
def test_trainable(part: str, late: bool, engine: str) -> None:
    """For the model or a layer, before `compile` or between it and the first fit."""
    fit = FITS["penalties"]
    ours, theirs = pair(fit, engine)
    for model, more in ((ours, {"engine": engine}), (theirs, {})):
        if part == "first layer":
            model.layers[0].trainable = False
        else:
            model.trainable = False
            model.layers[0].trainable = part != "model"
        if not late:
            model.compile(model.optimizer, "mse", metrics=["mse"], **more)
    for kind in ("trainable_weights", "non_trainable_weights"):
        assert len(getattr(ours, kind)) == len(getattr(theirs, kind))
    assert_equal_histories(run(fit, ours), run(fit, theirs))
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.abs(mine - other).max() <= RTOL * max(np.abs(other).max(), 1e-6)
    ours.layers[0].trainable = theirs.layers[0].trainable = part == "first layer"
    if part == "first layer":  # the JAX backend rejects it, others train as before
        with pytest.raises(ValueError, match="compile"):
            run(fit, ours)


def test_a_second_compile_starts_the_optimizer_anew(engine: str) -> None:
    """The weights are kept; Adam's means restart at zero, as in Keras."""
    fit = Fit(Case(network(), "mse", "adam"))
    ours, theirs = pair(fit, engine)
    for model, more in ((ours, {"engine": engine}), (theirs, {})):
        run(fit, model)
        model.compile("adam", "mse", **more)
        run(fit, model)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.abs(mine - other).max() <= RTOL * np.abs(other).max()


def test_a_second_fit_goes_on(engine: str) -> None:
    """Adam's means and its step are kept."""
    fit = Fit(Case(network(), "mse", "adam"))
    ours, theirs = pair(fit, engine)
    for model in (ours, theirs):
        run(fit, model)
    assert_equal_histories(run(fit, ours), run(fit, theirs))


def test_steps_of_evaluate_without_a_batch_size(engine: str) -> None:
    fit = FITS["plain"]
    ours, theirs = pair(fit, engine)
    x, y, _ = rows(fit)
    mine, other = (m.evaluate(x, y, verbose=0, steps=1) for m in (ours, theirs))
    assert mine == pytest.approx(other, rel=RTOL)


def test_steps_of_evaluate_and_predict(engine: str) -> None:
    fit = FITS["plain"]
    ours, theirs = pair(fit, engine)
    x, y, _ = rows(fit)
    given = {"batch_size": 16, "steps": 2, "verbose": 0}
    mine, other = (m.evaluate(x, y, **given) for m in (ours, theirs))
    assert mine == pytest.approx(other, rel=RTOL)
    mine, other = (m.predict(x, **given) for m in (ours, theirs))
    np.testing.assert_allclose(mine, other, RTOL, 1e-6)
