"""R2 wherever it is told: of large and small numbers, and of a y that never changes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import kurve
from kurve import assessment, inspection
from kurve.diagnosis.rows import unexplained
from kurve.metrics import scores

RNG = np.random.default_rng(1)
Z = RNG.normal(size=(60, 2))
GUESS = Z + 0.5 * RNG.normal(size=Z.shape)
W = RNG.uniform(0.5, 2.0, 60)


def exact(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    """With fractions, so that nothing overflows or cancels."""
    ys, ps, ws = ([Fraction(float(v)) for v in part] for part in (y, p, w))
    mean = sum(a * b for a, b in zip(ws, ys, strict=True)) / sum(ws)
    left = sum(a * (b - c) ** 2 for a, b, c in zip(ws, ys, ps, strict=True))
    return float(
        1 - left / sum(a * (b - mean) ** 2 for a, b in zip(ws, ys, strict=True))
    )


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e-20, 1.0, 1e20, 1e160, 1e300])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e7])
@pytest.mark.parametrize("weighted", [False, True])
def test_any_size(size: float, offset: float, weighted: bool) -> None:
    y, p = (Z + offset) * size, (GUESS + offset) * size
    w = W if weighted else np.ones(len(y))
    wanted = [exact(y[:, k], p[:, k], w) for k in range(2)]
    found = scores.r2(y, p, w if weighted else None)
    np.testing.assert_allclose(found, wanted, rtol=1e-7)
    if not weighted:
        assert inspection.r2(y, p) == pytest.approx(np.mean(wanted), rel=1e-7)
        np.testing.assert_allclose(unexplained(y, p), 1.0 - np.array(wanted), rtol=1e-7)
        told = assessment.assess_regression(y[:, 0], {"model": p[:, 0]})
        by_name = {s.name: s for s in told.scores["model"]}
        assert by_name["R²"].value == pytest.approx(wanted[0], rel=1e-7)
        assert by_name["R²"].low < wanted[0] < by_name["R²"].high
        error = (y[:, 0] - p[:, 0]) / size
        rmse = float(np.sqrt(np.mean(error**2))) * size
        assert by_name["RMSE"].value == pytest.approx(rmse, rel=1e-6)
        mae = float(np.abs(error).mean()) * size
        assert by_name["MAE"].value == pytest.approx(mae, rel=1e-6)


def test_the_ends_of_float64() -> None:
    y = np.array([[1.7e308], [-1.7e308], [1.7e308]])
    assert scores.r2(y, y)[0] == 1.0
    assert scores.r2(y, np.zeros((3, 1)))[0] == pytest.approx(1.0 - 9.0 / 8.0)
    assert scores.r2(np.array([[1.0], [2.0]]), np.full((2, 1), 1e300))[0] == -np.inf
    assert scores.r2(np.array([[0.0], [1e-300]]), np.ones((2, 1)))[0] == -np.inf


@pytest.mark.parametrize("value", [0.0, 0.1, 1.1, 1e200, -1e-200])
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_a_y_that_never_changes(value: float, rows: int) -> None:
    """It is explained wholly or not at all; the metric has 0 either way."""
    y = np.full((rows, 1), value)
    assert scores.r2(y, y)[0] == 1.0
    assert scores.r2(y, y + 0.1 + abs(value))[0] == 0.0
    assert inspection.r2(y, 2.0 * y + 1.0) == 0.0
    assert np.isnan(unexplained(y, y)).all()
    told = assessment.assess_regression(y[:, 0], {"model": 2.0 * y[:, 0] + 1.0})
    [score] = [s for s in told.scores["model"] if s.name == "R²"]
    assert (score.value, score.low, score.high) == (0.0, 0.0, 0.0)


@pytest.mark.filterwarnings("ignore")
def test_of_an_estimator() -> None:
    x = RNG.normal(size=(60, 2))
    for y in (x.sum(axis=1) * 1e200, np.full(60, 1.1)):
        model = kurve.Regressor((4,), max_epochs=3, random_state=0).fit(x, y)
        p = model.predict(x)
        wanted = scores.r2(y[:, None], p[:, None])[0]
        assert np.isfinite(wanted)
        assert model.score(x, y) == wanted
        [told] = assessment.assess(model, x, y).values()
        assert told.value("R²") == pytest.approx(wanted)
