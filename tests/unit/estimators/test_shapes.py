"""Regressors that are monotone, convex or positive, wherever they are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Regressor
from kurve.estimators import load

RNG = np.random.default_rng(4)
X = RNG.uniform(-2.0, 2.0, (160, 3))
Y = np.exp(0.5 * X[:, 0]) - X[:, 1] + np.sin(2.0 * X[:, 2]) + RNG.normal(0, 0.3, 160)
SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (12, 12),
    "max_epochs": 60,
    "batch_size": 16,
    "random_state": 0,
}
FAR = RNG.uniform(-6.0, 6.0, (300, 3))


def rises(model: Regressor, column: int, sign: int) -> None:
    """Predictions and both ends of intervals, also far from the data."""
    for step in (1e-2, 0.5, 4.0):
        moved = FAR.copy()
        moved[:, column] += step
        ends = [model.predict_interval(rows) for rows in (FAR, moved)]
        change = sign * (model.predict(moved) - model.predict(FAR))
        assert change.min() > -1e-5
        assert (sign * (ends[1] - ends[0])).min() > -1e-5
    assert change.max() > 0.1


@pytest.mark.parametrize("interval", ["auto", "quantile"])
def test_monotone_everywhere(interval: str, tmp_path: Path) -> None:
    model = Regressor(monotone={0: 1, 1: -1}, interval=interval, **SMALL).fit(X, Y)
    rises(model, 0, 1)
    rises(model, 1, -1)
    assert (sign := np.sign(model.gradient(FAR)))[:, 0].min() >= 0.0
    assert sign[:, 1].max() <= 0.0
    assert {-1.0, 1.0} <= set(sign[:, 2])  # the free column goes both ways
    assert model.score(X, Y) > 0.8
    model.save(tmp_path / "model.kurve")
    again = load(tmp_path / "model.kurve")
    assert again.get_params() == model.get_params()
    assert (again.predict(FAR) == model.predict(FAR)).all()
    model.export(tmp_path / "model.c")
    onnx = pytest.importorskip("onnx.reference")
    model.export(tmp_path / "model.onnx")
    session = onnx.ReferenceEvaluator(str(tmp_path / "model.onnx"))
    found = session.run(None, {session.input_names[0]: FAR.astype(np.float32)})[0]
    np.testing.assert_allclose(np.ravel(found), model.predict(FAR), atol=1e-4)


def test_by_name_with_categories() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["size", "age", "light"])
    frame["town"] = ["a", "b"] * 80
    model = Regressor(
        monotone={"size": 1}, interval="cv+", **{**SMALL, "max_epochs": 5}
    )
    model.fit(frame, Y)
    larger = frame.assign(size=frame["size"] + 1.0)
    assert (model.predict(larger) - model.predict(frame)).min() > -1e-6
    ends = [model.predict_interval(rows) for rows in (frame, larger)]
    assert (ends[1] - ends[0]).min() > -1e-6
    for columns, text in (
        ({"siez": 1}, r"unknown column. Received: 'siez'"),
        ({"town": 1}, "only works for numeric columns"),
        ({7: 1}, "unknown column. Received: 7"),
    ):
        with pytest.raises(ValueError, match=text):
            Regressor(monotone=columns, **SMALL).fit(frame, Y)


def test_convex_everywhere() -> None:
    y = np.abs(X[:, 0]) + 0.5 * X[:, 1] ** 2
    model = Regressor(convex=True, monotone={2: 1}, **{**SMALL, "max_epochs": 150})
    model.fit(X, y)
    other = RNG.permutation(FAR)
    between = model.predict((FAR + other) / 2.0)
    chord = (model.predict(FAR) + model.predict(other)) / 2.0
    assert (chord - between).min() > -1e-5
    assert (chord - between).max() > 0.5
    assert model.score(X, y) > 0.8
    rises_in_light = FAR.copy()
    rises_in_light[:, 2] += 1.0
    assert (model.predict(rises_in_light) - model.predict(FAR)).min() > -1e-5


@pytest.mark.parametrize("solver", ["adam", "lm"])
def test_positive_everywhere(solver: str) -> None:
    y = np.exp(1.5 * X[:, :2] - 2.0)
    model = Regressor(positive=True, **{**SMALL, "batch_size": "auto"}, solver=solver)
    model.fit(X, y)
    assert model.predict(FAR).min() >= 0.0
    assert model.predict_interval(FAR).min() >= 0.0
    assert model.score(X, y) > 0.5
    with pytest.raises(ValueError, match="y must not be negative"):
        Regressor(positive=True, **SMALL).fit(X, Y)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"monotone": {0: 2}}, "rises .1. or falls"),
        ({"monotone": ["size"]}, "rises .1. or falls"),
        ({"monotone": {0: 1}, "solver": "lm"}, "only optimizers can train"),
        ({"monotone": {0: 1}, "members": 3}, "members=3"),
        ({"monotone": {0: 1}, "activation": "silu"}, "activation='silu'"),
        ({"convex": True, "activation": "tanh"}, "convex and increasing"),
        ({"convex": True, "likelihood": "quantile"}, "likelihood='quantile'"),
        ({"positive": True, "likelihood": "gaussian"}, "likelihood='gaussian'"),
        (
            {"monotone": {0: 1}, "hidden_layer_sizes": kurve.Sequential([])},
            "use their own layers",
        ),
    ],
)
def test_what_does_not_go_together(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Regressor(**arguments).fit(X, Y)
    with pytest.raises(TypeError, match="convex must be True or False"):
        Regressor(convex=1).fit(X, Y)
