"""Errors of typing, codes for "unknown" and odd scales, in columns and in targets, cost
the other rows little, whichever way an estimator trains."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from kurve import Classifier, Regressor
from kurve.estimators import far_values

Rows = tuple[np.ndarray, np.ndarray]
RNG = np.random.default_rng(3)
FAST: dict[str, Any] = {"random_state": 0, "effort": "fast"}


def _rows(count: int, columns: int) -> Rows:
    x = RNG.normal(size=(count, columns))
    return x, 2.0 * np.sin(x[:, 0]) + x[:, -1] + RNG.normal(size=count) * 0.1


def _batches(x: np.ndarray, y: np.ndarray) -> Iterator[Rows]:
    for first in range(0, len(x), 100):
        yield x[first : first + 100], y[first : first + 100]


def _fast(x: np.ndarray, y: np.ndarray) -> Any:
    return Regressor(**FAST, max_epochs=60).fit(x, y)


def _auto(x: np.ndarray, y: np.ndarray) -> Any:
    return Regressor(random_state=0).fit(x, y)


def _bag(x: np.ndarray, y: np.ndarray) -> Any:
    return Regressor(random_state=0, max_epochs=15).fit(x, y)


def _lm(x: np.ndarray, y: np.ndarray) -> Any:
    return Regressor(random_state=0, solver="lm").fit(x, y)


def _stream(x: np.ndarray, y: np.ndarray) -> Any:
    return Regressor(random_state=0, max_epochs=60).fit(list(_batches(x, y)))


PATHS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "one network": (_fast, 300, 5),
    "race of few columns": (_auto, 400, 2),
    "race of few rows": (_auto, 120, 5),
    "bag": (_bag, 250, 6),
    "Levenberg-Marquardt": (_lm, 300, 3),
    "batches": (_stream, 400, 6),
}


def _columns(x: np.ndarray, y: np.ndarray) -> None:
    x[len(x) // 3, 0] = 9e15
    x[7, 1], x[9, 1] = 1.7e308, -1.7e308
    x[5] = 1e12


def _codes(x: np.ndarray, y: np.ndarray) -> None:
    x[:, 0] *= 1e-30
    x[::50, 0] = -99999.0


def _targets(x: np.ndarray, y: np.ndarray) -> None:
    y[3], y[4], y[11] = -1e300, 1e300, 9e15
    x[60, 0] = y[60] = 1e10


KINDS = (_columns, _codes, _targets)


@pytest.mark.filterwarnings("ignore:.*target holds values:UserWarning")
@pytest.mark.parametrize("path", PATHS)
def test_other_rows_are_learnt(path: str) -> None:
    train, rows, columns = PATHS[path]
    x, y = _rows(rows, columns)
    tests, truth = _rows(300, columns)
    size = truth.std()

    def error(model: Any, inputs: np.ndarray) -> float:
        return float(np.sqrt(np.mean((model.predict(inputs) - truth) ** 2)) / size)

    before = error(train(x, y), tests)
    assert before < 0.5
    for corrupt in KINDS:
        spoiled_x, spoiled_y = x.copy(), y.copy()
        corrupt(spoiled_x, spoiled_y)
        inputs = tests * [1e-30, *[1.0] * (columns - 1)] if corrupt is _codes else tests
        model = train(spoiled_x, spoiled_y)
        assert error(model, inputs) < 2.0 * before + 0.1, corrupt.__name__
        low, high = model.predict_interval(inputs).T
        inside = float(((low <= truth) & (truth <= high)).mean())
        assert inside > 0.6, corrupt.__name__
        assert np.median(high - low) < 3.0 * size, corrupt.__name__


@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifier(classes: int) -> None:
    x = RNG.normal(size=(300, 4))
    y = np.digitize(x[:, 0], [-0.5, 0.5][: classes - 1])
    x[7, 0], x[8, 1], x[9] = 9e15, -1e300, 1e20
    model = Classifier(**FAST, max_epochs=40).fit(x, y)
    assert model.score(np.delete(x, 7, axis=0), np.delete(y, 7)) > 0.9


@pytest.mark.filterwarnings("ignore:.*target holds values:UserWarning")
def test_partial_fit_with_outliers_in_later_rows() -> None:
    x, y = _rows(300, 3)
    spoiled_x, spoiled_y = x.copy(), y.copy()
    spoiled_x[150, 0], spoiled_x[210, 1], spoiled_y[250] = 9e15, -1e9, 1e300
    models = Regressor(random_state=0), Regressor(random_state=0)
    for model, rows in zip(models, ((x, y), (spoiled_x, spoiled_y)), strict=True):
        for _ in range(8):
            for part in _batches(*rows):
                model.partial_fit(*part)
    before, after = (np.mean((m.predict(x) - y) ** 2) for m in models)
    assert after < 2.0 * before + 0.1 * y.var()


def test_a_line_goes_on_in_a_heavy_tail() -> None:
    x = RNG.lognormal(0.0, 2.0, size=(400, 1))
    y = 3.0 * x[:, 0] + RNG.normal(size=400) * 0.1
    model = Regressor(random_state=0).fit(x, y)
    far = np.array([[x.max() * 1.5]])
    assert model.predict(far)[0] == pytest.approx(3.0 * far[0, 0], rel=0.02)


def test_the_user_hears_of_outliers() -> None:
    x, y = _rows(150, 1)
    y[3] = 9e15
    with pytest.warns(UserWarning, match=r"such as 9e\+15: these rows were left out"):
        Regressor(random_state=0).fit(x, y)
    with pytest.warns(UserWarning, match="left out"):
        Regressor(random_state=0, max_epochs=1).fit(list(_batches(x, y)))


def test_without_scaling_nothing_is_left_out() -> None:
    x, y = _rows(150, 1)
    y[3] = 1e4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Regressor((4,), random_state=0, scale=False, max_epochs=1).fit(x, y)


@pytest.mark.parametrize("count", [10, 15, 400])
def test_what_is_an_outlier(count: int) -> None:
    values = RNG.normal(size=count)
    heavy = np.sign(values) * np.exp(2.0 * np.abs(values))
    for tame in (values, heavy):
        low, high = far_values.ends(tame[:, None])[:, 0]
        assert far_values.first_outlier(tame / 4, low, high) == np.inf
    outlying = np.append(values, 1e5)
    low, high = far_values.ends(outlying[:, None])[:, 0]
    assert far_values.first_outlier(outlying / 4, low, high) == pytest.approx(
        2.5e4, rel=0.01
    )
    tiny = outlying * 1e-30
    low, high = far_values.ends(tiny[:, None])[:, 0]
    assert far_values.first_outlier(tiny / 4, low, high) < 1e-24


def test_a_column_of_mostly_equal_values() -> None:
    values = np.zeros(1000)
    values[:30] = RNG.uniform(1.0, 2.0, 30)
    low, high = far_values.ends(values[:, None])[:, 0]
    assert np.isfinite([low, high]).all()
    assert far_values.first_outlier(values / 4, low, high) == np.inf
    values[500] = 1e7
    low, high = far_values.ends(values[:, None])[:, 0]
    assert far_values.first_outlier(values / 4, low, high) < 1e7
    constant = np.ones((50, 1))
    assert np.isinf(far_values.ends(constant)).all()
