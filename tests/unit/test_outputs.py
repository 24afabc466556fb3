"""Models of several inputs and outputs: how data, losses and metrics are given."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kurve import Input, Sequential, callbacks, metrics, models
from kurve.exchange import keras_training
from kurve.formulas.tensor import pack
from kurve.layers import Dense
from kurve.models import saved_training
from kurve.models.fields import Field
from kurve.training.parts import Parts, flatten
from tests.two_heads import TwoHeads, data

A, B = data()[0].values()
Z, Y = data()[1].values()
X, T = {"a": A, "b": B}, {"z": Z, "y": Y}


def compiled(loss: Any = "mse", made: TwoHeads | None = None, **given: Any) -> TwoHeads:
    model = made or TwoHeads()
    model.compile(given.pop("optimizer", "sgd"), loss, **given)
    return model


def by_hand(model: TwoHeads) -> tuple[np.ndarray, np.ndarray]:
    """The outputs, in NumPy."""
    kernel, bias, zk, zb, yk, yb = model.get_weights()
    hidden = np.tanh(np.concatenate([A, B], axis=1) @ kernel + bias)
    return hidden @ zk + zb, hidden @ yk + yb


# ---------------------------------------------------------------- structures


@pytest.mark.parametrize(
    ("structure", "leaves"),
    [
        ("one", ["one"]),
        ([1, (2, 3)], [1, 2, 3]),
        ({"b": 1, "a": 2}, [2, 1]),
        (OrderedDict([("b", 1), ("a", 2)]), [1, 2]),
        ([{"b": [1, 2], "a": 3}, 4], [3, 1, 2, 4]),
    ],
)
def test_structures_are_flattened_as_in_keras(structure: Any, leaves: Any) -> None:
    assert flatten(structure) == leaves
    assert flatten(pack(structure, leaves)) == leaves
    assert pack(structure, leaves) == structure


def test_nested_structures_take_values_in_their_form_flat_or_by_name() -> None:
    parts = Parts("input", ("c", "a", "b"), [{"x": "c"}, ("a", "b")])
    for value in ([{"x": 1}, [2, 3]], [1, 2, 3], {"a": 2, "b": 3, "c": 1}):
        assert parts.split("fit", "x", value) == [1, 2, 3]
    with pytest.raises(ValueError, match=r"3 inputs 'c', 'a', 'b'. Received: 2 values"):
        parts.split("fit", "x", [1, 2])


# ---------------------------------------------------------------- data


@pytest.mark.parametrize(
    "x",
    [[A, B], (A, B), X, {"b": B, "a": A}, {"a": A.tolist(), "b": B.astype(np.float32)}],
)
def test_inputs_in_any_structure(engine: str, x: Any) -> None:
    model = compiled()
    z, y = model.predict(x, verbose=0)
    for found, expected in zip((z, y), by_hand(model), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for found in (model.predict(x, batch_size=5, verbose=0), model.predict_on_batch(x)):
        assert isinstance(found, list)
        assert np.array_equal(found[0], z) and np.array_equal(found[1], y)


def test_outputs_in_the_structure_of_the_model() -> None:
    model = compiled(made=TwoHeads(outputs={"second": "z", "third": "y"}))
    found = model.predict(X, verbose=0)
    assert {name: part.shape for name, part in found.items()} == {
        "second": (24, 1),
        "third": (24, 2),
    }
    given = {"third": Y, "second": Z}
    assert model.evaluate(X, given, verbose=0) == model.evaluate(X, T, verbose=0)
    assert model.metrics_names == ["loss", "second_loss", "third_loss"]
    only = compiled({"third": "mse"}, TwoHeads(outputs={"second": "z", "third": "y"}))
    only.fit(X, {"third": Y}, verbose=0)
    assert only.metrics_names == ["loss"]


def test_columns_of_a_frame_are_inputs() -> None:
    frame = pd.DataFrame({"b": [1.0, 2.0], "a": [3.0, 4.0]})
    assert [list(v) for v in Parts("input", ("a", "b")).split("fit", "x", frame)] == [
        [3.0, 4.0],
        [1.0, 2.0],
    ]
    with pytest.raises(ValueError, match="'c' missing and 'b' unknown"):
        Parts("input", ("a", "c")).split("fit", "x", frame)


def test_a_list_or_dictionary_of_one_is_that_one() -> None:
    model = Sequential([Input((3,)), Dense(1, name="out")])
    model.compile("sgd", {"out": "mse"}, metrics={"out": ["mae"]})
    plain = model.evaluate(A, Z, verbose=0)
    weights = np.linspace(0.0, 1.0, 24)
    for y in ([Z], {"out": Z}):
        assert model.evaluate([A], y, verbose=0) == plain
    for given in ([weights], {"out": weights}):
        assert model.evaluate(A, Z, sample_weight=given, verbose=0) == model.evaluate(
            A, Z, sample_weight=weights, verbose=0
        )
    with pytest.raises(ValueError, match="Received: 'other' unknown"):
        model.compile("sgd", {"other": "mse"})
    assert model.metrics_names == ["loss", "mae"]  # nothing was changed


WRONG_DATA = {
    "one array": ((A, T), {}, TypeError, r"\[fit\] x must have one value for each of"),
    "one y": ((X, Z), {}, TypeError, r"\[fit\] y must .* outputs 'z', 'y'. .*ndarray"),
    "too few": (([A], T), {}, ValueError, r"2 inputs 'a', 'b'. Received: 1 values"),
    "names": (
        ({"a": A, "c": B, "d": B}, T),
        {},
        ValueError,
        r"Received: 'b' missing and 'c', 'd' unknown. Try x=\{'a': \.\.\., 'b'",
    ),
    "y's name": ((X, {"z": Z}), {}, ValueError, r"Received: 'y' missing. Try y="),
    "rows of x": (([A, B[:4]], T), {}, ValueError, r"x\['b'\]\)=4.*dropping the same"),
    "rows of y": ((X, [Z, Y[:3]]), {}, ValueError, r"len\(x\)=24.*y\['y'\]\)=3"),
    "columns": (([B, A], T), {}, ValueError, r"\[fit, input 'a'\] x must have shape"),
    "shape of y": ((X, [Y, Z]), {}, ValueError, r"\[fit, output 'z'\] y must have sh"),
    "NaN": (([A * np.nan, B], T), {}, ValueError, r"\[fit, input 'a'\] x must be fin"),
    "class_weight": (
        (X, T),
        {"class_weight": {0: 1.0}},
        ValueError,
        r"\[fit\] class_weight only works for models with one output",
    ),
    "weights": ((X, T), {"sample_weight": {"z": Z[:, 0]}}, ValueError, "'y' missing"),
    "short weights": (
        (X, T),
        {"sample_weight": [Z[:3, 0], None]},
        ValueError,
        r"\[fit, output 'z'\] sample_weight must have shape \(24,\)",
    ),
    "validation": (
        (X, T),
        {"validation_data": (X, Z)},
        TypeError,
        r"\[fit, validation_data\] y must have one value",
    ),
}


@pytest.mark.parametrize("name", WRONG_DATA)
def test_data_that_do_not_fit_change_nothing(name: str) -> None:
    (x, y), given, kind, message = WRONG_DATA[name]
    model = compiled()
    before = [w.copy() for w in model.get_weights()]
    with pytest.raises(kind, match=message):
        model.fit(x, y, verbose=0, **given)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert model.history is None and model.iterations == 0


# ---------------------------------------------------------------- losses and metrics


def test_the_loss_is_the_weighted_sum(engine: str) -> None:
    given: dict[str, Any] = {"loss_weights": [0.5, 3.0]}
    model = compiled({"z": "mse", "y": "mae"}, **given)
    z, y = by_hand(model)
    first, second = np.mean((z - Z) ** 2), np.mean(np.abs(y - Y))
    found = model.evaluate(X, T, verbose=0)
    np.testing.assert_allclose(found, [first / 2 + 3 * second, first, second], 1e-4)
    assert model.metrics_names == ["loss", "z_loss", "y_loss"]
    for weights in ({"y": 3.0, "z": 0.5}, (0.5, 3)):
        model.compile("sgd", ["mse", "mae"], loss_weights=weights)
        assert model.evaluate(X, T, verbose=0) == found
    model.compile("sgd", ["mse", "mae"], loss_weights=2.0)
    np.testing.assert_allclose(
        model.evaluate(X, T, verbose=0)[0], 2 * (first + second), 1e-4
    )


def test_the_weight_of_the_only_loss(engine: str) -> None:
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    plain = model.evaluate(A, Z, verbose=0)
    for weight in (0.25, [0.25]):
        model.compile("sgd", "mse", loss_weights=weight)
        assert model.evaluate(A, Z, verbose=0) == pytest.approx(0.25 * plain, rel=1e-6)


def test_an_output_without_loss(engine: str) -> None:
    model = compiled(["mse", None], metrics=[None, ["mae"]])
    assert model.metrics_names == ["loss", "y_mae"]
    model = compiled(["mse", None])
    kernel = model.get_weights()[4].copy()
    for y in ([Z], [Z, None], {"z": Z}, {"z": Z, "y": None}):
        history = model.fit(X, y, verbose=0).history
        assert list(history) == ["loss"]
    assert np.array_equal(kernel, model.get_weights()[4])
    assert model.iterations == 4


def test_names_of_metrics() -> None:
    model = compiled(
        metrics={"z": ["mae", "mse"], "y": "mse"}, weighted_metrics=[["mae"], ["mae"]]
    )
    logs = model.fit(X, T, verbose=0, validation_data=(X, T)).history
    names = ["loss", "y_loss", "y_mae", "y_mse"]
    names += ["z_loss", "z_mae", "z_mse", "z_weighted_mae"]
    assert list(logs) == sorted([*names, *(f"val_{name}" for name in names)])
    assert list(model.evaluate(X, T, verbose=0, return_dict=True)) == names
    ordered = ["loss", "z_loss", "y_loss"]
    ordered += ["y_mae", "y_mse", "z_mae", "z_mse", "z_weighted_mae"]
    assert model.metrics_names == ordered
    listed = model.evaluate(X, T, verbose=0)
    assert dict(zip(ordered, listed, strict=True)) == model.test_on_batch(
        X, T, return_dict=True
    )
    assert [type(m) for m in compiled(metrics=[["mae"], ["acc"]]).metrics] == [
        metrics.MeanAbsoluteError,
        metrics.FittingAccuracy,
    ]


WRONG_COMPILE: dict[str, tuple[dict[str, Any], str]] = {
    "names of losses": ({"loss": {"z": "mse", "q": "mse"}}, "Received: 'q' unk"),
    "three losses": ({"loss": ["mse"] * 3}, "2 outputs 'z', 'y'. Received: 3 values"),
    "no loss": ({"loss": [None, None]}, "at least one output needs a loss"),
    "metrics of one": ({"metrics": ["mae"]}, "metrics must have one value for each"),
    "metrics of three": (
        {"metrics": [["mae"]] * 3},
        "metrics must have one value for each",
    ),
    "names of metrics": ({"metrics": {"q": ["mae"]}}, "Received: 'q' unknown"),
    "one weight": ({"loss_weights": [1.0]}, "loss_weights must have one value for e"),
    "no number": ({"loss_weights": ["a", 1.0]}, "must be finite numbers"),
    "infinite": ({"loss_weights": {"z": np.inf}}, "must be finite numbers"),
    "steps": ({"steps_per_execution": 0}, "must be an integer of at least 1"),
}


@pytest.mark.parametrize("name", WRONG_COMPILE)
def test_compile_that_does_not_fit_changes_nothing(name: str) -> None:
    given, message = WRONG_COMPILE[name]
    model = compiled(["mse", "mae"])
    before = model._network.compilation
    with pytest.raises(ValueError, match=rf"^\[compile\].*{message}"):
        model.compile(**{"loss": "mse", **given})
    assert model._network.compilation is before


def test_weights_of_rows_by_output(engine: str) -> None:
    model = compiled(weighted_metrics=[["mse"], ["mse"]])
    ones, half = np.ones(24), np.where(np.arange(24) < 12, 1.0, 0.0)
    z, y = by_hand(model)
    rows = np.mean((y - Y) ** 2, axis=1)
    expected = [
        np.mean((z - Z) ** 2),
        np.mean(half * rows),
        np.average(rows, weights=half),
    ]
    for weights in ([ones, half], {"y": half, "z": ones}, [None, half]):
        found = model.evaluate(X, T, sample_weight=weights, verbose=0, return_dict=True)
        np.testing.assert_allclose(
            [found["z_loss"], found["y_loss"], found["y_mse"]], expected, 1e-4
        )
    both = model.evaluate(X, T, sample_weight=half, verbose=0)
    assert both == model.evaluate(X, T, sample_weight=[half, half], verbose=0)
    assert both == model.evaluate(X, T, sample_weight=half.tolist(), verbose=0)


def test_validation_split_takes_the_end_of_all() -> None:
    model, other = compiled(), compiled()
    given: dict[str, Any] = {"verbose": 0, "epochs": 2, "batch_size": 4}
    split = model.fit(X, T, validation_split=0.25, **given).history
    cut = [[part[:18] for part in both.values()] for both in (X, T)]
    rest = tuple([part[18:] for part in both.values()] for both in (X, T))
    assert other.fit(*cut, validation_data=rest, **given).history == split


def test_fit_of_two_heads_stops_and_resumes(tmp_path: Any) -> None:
    whole = compiled(optimizer="adam").fit(X, T, epochs=4, verbose=0).history
    first, second = compiled(optimizer="adam"), compiled(optimizer="adam")
    first.fit(X, T, epochs=2, verbose=0, checkpoint=tmp_path)
    assert second.fit(X, T, epochs=4, verbose=0, checkpoint=tmp_path).history == whole
    changed = {**T, "y": Y + 1.0}
    with pytest.raises(
        ValueError, match=r"a different call.*y\[1\] has different values"
    ):
        second.fit(X, changed, epochs=4, verbose=0, checkpoint=tmp_path)


def test_a_compilation_can_be_copied() -> None:
    model = compiled({"z": "mse", "y": None}, engine="reference")
    again = copy.deepcopy(model._network.compilation)
    assert again is not None and again.engine is model._network.compilation.engine
    assert [goal.loss is None for goal in again.goals(model._network.outputs)] == [
        False,
        True,
    ]


def described(model: Any) -> list[Any]:
    return [
        (
            goal.loss and goal.loss.get_config(),
            goal.weight,
            [(metric.get_config(), weighted) for metric, weighted in goal.metrics],
        )
        for goal in model._network.goals
    ]


GIVEN: dict[str, Any] = {
    "loss_weights": [0.5, 2.0],
    "metrics": [["mae", "acc"], ["mse"]],
    "weighted_metrics": [[], ["mae"]],
}


@pytest.mark.parametrize("loss", [["mse", "mae"], ["mse", None]])
def test_files_hold_what_was_compiled_for_each_output(loss: Any) -> None:
    model = compiled(loss, **GIVEN)
    text = json.loads(json.dumps(saved_training.compile_entry(model)))
    again = TwoHeads()
    saved_training.compile_from(Field("a file", "compile", text), again)
    assert described(again) == described(model)
    text = json.loads(json.dumps(keras_training.compile_entry(model)))
    found = keras_training.compiled_from(text, outputs=2)
    assert found is not None
    again.compile(
        found.optimizer,
        found.loss,
        found.loss_weights,
        found.metrics,
        found.weighted_metrics,
    )
    assert described(again) == described(model)


@pytest.mark.parametrize("file", ["m.kurve", "m.keras", "m.h5"])
def test_files_hold_the_weight_of_the_only_loss(tmp_path: Any, file: str) -> None:
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse", loss_weights=0.25, metrics=["mae"])
    model.save(tmp_path / file)
    again = models.load_model(tmp_path / file)
    assert described(again) == described(model)
    assert again.evaluate(A, Z, verbose=0) == model.evaluate(A, Z, verbose=0)


def test_callbacks_monitor_the_values_of_each_output(tmp_path: Any) -> None:
    model = compiled(metrics=[["mae"], ["acc"]], weighted_metrics=[["mae"], []])
    x, given = (X, T), {"epochs": 2, "verbose": 0, "validation_data": (X, T)}
    for monitor, upwards in (
        ("val_z_loss", False),
        ("y_acc", True),
        ("val_z_weighted_mae", False),
    ):
        stop = callbacks.EarlyStopping(monitor)
        model.fit(*x, callbacks=[stop], **given)
        assert stop._upwards() is upwards
    with pytest.raises(ValueError, match=r"'val_z_acc'.*mean 'val_y_acc'\?"):
        model.fit(*x, callbacks=[callbacks.EarlyStopping("val_z_acc")], **given)
    log = callbacks.CSVLogger(str(tmp_path / "log.csv"))
    model.fit(*x, callbacks=[log], **given)
    header = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert {"epoch", "y_acc", "val_z_weighted_mae"} <= set(header)


def test_a_dictionary_has_losses_for_some_outputs() -> None:
    """As a list that holds None for the others."""
    x = Input((3,))
    model = models.Model(x, [Dense(1, name="z")(x), Dense(2, name="y")(x)])
    rows, targets = np.ones((4, 3)), [np.zeros((4, 1)), np.ones((4, 2))]
    found = []
    for loss in ({"y": "mse"}, [None, "mse"]):
        model.compile("sgd", loss)
        found.append(model.evaluate(rows, targets, verbose=0))
        assert model.evaluate(rows, {"y": targets[1]}, verbose=0) == found[-1]
    assert found[0] == found[1]
