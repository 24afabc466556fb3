"""Files of estimators hold all that prediction needs, and are distrusted."""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Classifier, Regressor, layers, optimizers, saving
from kurve.estimators import load
from kurve.saving import ModelFileError

RNG = np.random.default_rng(7)
X = np.empty((120, 3), object)
X[:, :2] = RNG.normal(size=(120, 2))
X[:, 2] = RNG.choice(["red", "green"], 120)
X[3, 0] = None
Y = RNG.normal(size=120)
FAST: dict[str, Any] = {"max_epochs": 2, "random_state": 3, "missing": "impute"}
MODELS = {
    "plain": Regressor((4,), solver="adam", **FAST),
    "members": Regressor((4,), members=2, likelihood="none", solver="adam", **FAST),
    "conformal": Regressor((4,), interval="conformal", solver="adam", **FAST),
    "cv+": Regressor((4,), interval="cv+", members=2, solver="adam", **FAST),
    "quantile": Regressor((4,), interval="quantile", **FAST),
    "objects": Regressor(
        kurve.Sequential([layers.Dense(3, "tanh"), layers.Dropout(0.5)]),
        solver=optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)),
        activation=kurve.activations.elu,
        engine="reference",
        **FAST,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_regressors_come_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = MODELS[name].fit(X, Y)
    model.save(tmp_path / "model.kurve")
    again = load(tmp_path / "model.kurve")
    assert isinstance(again, Regressor)
    for a, b in zip(
        model.predict(X, return_std=True),
        again.predict(X, return_std=True),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    for method in ("predict_interval", "extrapolates"):
        np.testing.assert_array_equal(
            getattr(model, method)(X), getattr(again, method)(X)
        )
    assert again.history_ == model.history_ and again.n_iter_ == model.n_iter_
    if name != "objects":
        assert again.get_params() == model.get_params()
    again.partial_fit(X, Y)  # and training can go on


@pytest.mark.parametrize("dtype", [None, object])
@pytest.mark.parametrize(
    "labels",
    [["a", "b"], [3, 1, 2], [True, False], [0.0, 2.0], [2**64 - 1, 0], [-(2**63), 1]],
    ids=str,
)
def test_classifiers_come_back_with_their_labels(
    labels: Any, dtype: Any, tmp_path: Path
) -> None:
    y: Any = [labels[i % len(labels)] for i in range(120)]
    y = y if dtype is None else np.array(y, dtype)
    weights = dict.fromkeys(labels, 2.0)
    model = Classifier((4,), class_weight=weights, **FAST).fit(X, y)
    model.save(tmp_path / "model.kurve")
    again = load(tmp_path / "model.kurve")
    assert isinstance(again, Classifier)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.classes_.tolist() == model.classes_.tolist()
    if dtype is None or isinstance(labels[0], (int, float)):
        assert again.predict(X).dtype == model.predict(X).dtype
    assert again.class_weight == weights


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([b"a", b"b"], "y[0] = b'a' of type bytes. Try y.astype(str)"),
        ([Decimal(1), Decimal(2)], "of type Decimal"),
        ([datetime.date(2024, 1, 2), datetime.date(2024, 1, 3)], "of type date"),
        ([datetime.time(1), datetime.time(2)], "of type time"),
        ([2**70, 0], "must fit into 64 bits. Received: 0 to 1180591620717411303424"),
        ([2**63, -1], "must fit into 64 bits. Received: -1 to 9223372036854775808"),
        (
            [True, 1],
            "all strings, all numbers or all booleans. Received: ['bool', 'int'",
        ),
        ([1, "a"], "all strings, all numbers or all booleans. Received: ['int', 'str'"),
        (["a", "b\0"], "must not end in a zero byte"),
        (["a", "\ud800"], "lone surrogate"),
    ],
    ids=str,
)
def test_labels_that_no_file_holds_are_refused_before_training(
    labels: Any, message: str
) -> None:
    for y in (labels * 60, np.array([*labels * 60, None], object)[:-1]):
        model = Classifier((4,), **FAST)
        with pytest.raises((TypeError, ValueError)) as error:
            model.fit(X, y)
        assert str(error.value).startswith("[fit] ") and message in str(error.value)
        assert not hasattr(model, "models_")


def test_an_engine_that_was_chosen_comes_back(tmp_path: Path) -> None:
    model = Regressor((4,), engine="reference", **FAST).fit(X, Y)
    model.save(tmp_path / "model.kurve")
    again = load(tmp_path / "model.kurve")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_class_of_ones_own_is_not_saved_as_another(tmp_path: Path) -> None:
    class Mine(Regressor):
        pass

    model = Mine((4,), **FAST).fit(X, Y)
    with pytest.raises(TypeError, match=r"type Mine\. Try pickle"):
        model.save(tmp_path / "model.kurve")


@pytest.mark.parametrize("level", [float("inf"), 2**70], ids=str)
def test_levels_that_no_file_holds_are_refused(level: Any) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": pandas.Categorical([level, 1.0] * 60)})
    with pytest.raises(ValueError, match=r"'a' must be finite and below 1e19"):
        Regressor((4,), **FAST).fit(table, Y)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    net = kurve.Sequential([layers.Dense(1, input_shape=(1,))])
    net.save(tmp_path / "net.kurve")
    with pytest.raises(ModelFileError, match="contains no estimator"):
        load(tmp_path / "net.kurve")
    with pytest.raises(ValueError, match=r"must end in '\.kurve'"):
        MODELS["plain"].fit(X, Y).save(tmp_path / "model.pkl")
    with pytest.raises(ValueError, match="not fitted yet"):
        Regressor().save(tmp_path / "model.kurve")


def changed(path: Path, change: Any) -> Path:
    """The file with its description changed, whole in every other way."""
    info, tensors = saving.read(path)
    change(info["estimator"], tensors)
    other = path.with_name("changed.kurve")
    saving.write(str(other), info, tensors)
    return other


def _set(*keys: Any, value: Any) -> Any:
    def change(info: Any, tensors: Any) -> None:
        for key in keys[:-1]:
            info = info[key]
        info[keys[-1]] = value

    return change


def _tensor(name: str, value: Any) -> Any:
    def change(info: Any, tensors: Any) -> None:
        tensors[name] = value(tensors[name])

    return change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (_set("class_name", value="os.system"), r"estimator.class_name"),
        (
            _set("parameters", "solver", value={"class_name": "Evil", "config": {}}),
            r"estimator.parameters.solver",
        ),
        (_set("parameters", "members", value=-1), r"estimator.parameters"),
        (_set("parameters", "colour", value="red"), r"estimator.parameters"),
        (_set("columns", "width", value=4), r"estimator.columns.numeric"),
        (_set("columns", "levels", value=[[2, ["red"]]]), r"estimator.columns.common"),
        (_set("columns", "common", value=[[2, "blue"]]), r"estimator.columns.common"),
        (_set("columns", "gaps", value=[7]), r"estimator.columns.gaps\[0\]"),
        (_set("columns", "numeric", value=[0, 0]), r"estimator.columns.numeric"),
        (_set("model", "layers", value=[]), r"estimator.model.layers"),
        (_set("members", value=2), r"estimator.seeds"),
        (_set("members", value=10**12), r"estimator.members"),
        (_set("likelihood", value="none"), r"estimator.likelihood"),
        (_set("outputs", value=3), r"estimator.likelihood"),
        (_set("threshold", value="far"), r"estimator.threshold"),
        (_tensor("inputs/deviation", lambda t: t * 0), r"tensors.inputs/deviation"),
        (_tensor("inputs/mean", lambda t: t[:-1]), r"tensors.inputs/mean"),
        (_tensor("inputs/mean", lambda t: t * np.nan), r"tensors.inputs/mean"),
        (_tensor("novelty/sample", lambda t: t[:, :-1]), r"tensors.novelty/sample"),
        (_tensor("models/0/0", lambda t: t[:-1]), r"tensors.models/0/0"),
        (_tensor("models/0/0", lambda t: t * np.inf), r"tensors.models/0/0"),
    ],
)
def test_files_that_contradict_themselves_are_refused(
    change: Any, field: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.kurve"
    MODELS["plain"].fit(X, Y).save(path)
    with np.errstate(invalid="ignore"):
        bad = changed(path, change)
    with pytest.raises(ModelFileError, match=f"^\\[load\\] .*: {field}") as caught:
        load(bad)
    assert re.match(field, caught.value.field)


def test_names_that_are_too_long_are_refused_before_training() -> None:
    levels = np.array([["x" * 70_000 + str(i % 250)] for i in range(500)], object)
    with pytest.raises(ValueError, match=r"^\[fit\] names and description must fit in"):
        Regressor((2,), max_epochs=1, solver="adam").fit(levels, np.arange(500.0))


def test_nothing_of_python_is_in_the_file(tmp_path: Path) -> None:
    MODELS["plain"].fit(X, Y).save(tmp_path / "model.kurve")
    raw = (tmp_path / "model.kurve").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    sums = {f"sha256:{name}" for name in header} - {"sha256:__metadata__"}
    assert set(header["__metadata__"]) == {"sha256", "format", "kurve"} | sums
    assert all(e["dtype"] in ("F32", "F64") for n, e in header.items() if n[0] != "_")


@pytest.mark.parametrize("warm", [False, True])
def test_training_goes_on_with_the_same_bits(warm: bool, tmp_path: Path) -> None:
    """`partial_fit` with the optimizer's vectors, `fit` with the members' seeds."""
    options: dict[str, Any] = {**FAST, "members": 2, "dropout": 0.3, "warm_start": warm}
    for model in (
        Regressor((4,), solver="adam", **options),
        Classifier((4,), solver="adam", **options),
    ):
        y: Any = Y if isinstance(model, Regressor) else Y > 0
        go_on = model.fit if warm else model.partial_fit
        go_on(X, y)
        model.save(tmp_path / "m.kurve")
        again = load(tmp_path / "m.kurve")
        for one in (model, again):
            (one.fit if warm else one.partial_fit)(X, y)
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        for a, b in zip(model.models_, again.models_, strict=True):
            for v, w in zip(a.get_weights(), b.get_weights(), strict=True):
                np.testing.assert_array_equal(v, w)
