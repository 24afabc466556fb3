"""Scores with their intervals, beside simple rules."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import kurve
from kurve import assessment
from kurve.assessment import LinearBaseline, as_text, assess_classes, assess_regression
from kurve.inspection import predictions

random = np.random.default_rng(0)
N = 400
X = random.normal(size=(N, 2))
NOISE = random.normal(size=N)
Y = 2 * X[:, 0] - X[:, 1] + 5 + 0.5 * NOISE


def test_scores_of_regression() -> None:
    half = 1.6449 * 0.5
    found = assess_regression(
        Y,
        {"model": Y - 0.5 * NOISE, "mean": np.full(N, Y.mean())},
        np.full(N, 0.5),
        np.stack([Y - 0.5 * NOISE - half, Y - 0.5 * NOISE + half], axis=1),
        coverage=0.9,
    )
    error = 0.5 * NOISE
    wanted = {
        "RMSE": np.sqrt(np.mean(error**2)),
        "MAE": np.abs(error).mean(),
        "R²": 1 - np.mean(error**2) / Y.var(),
        "NLL": np.mean(0.5 * np.log(2 * np.pi * 0.25) + 0.5 * NOISE**2),
        "in 90% interval": np.mean(np.abs(NOISE) < 1.6449),
    }
    assert [score.name for score in found.scores["model"]] == list(wanted)
    for score in found.scores["model"]:
        np.testing.assert_allclose(score.value, wanted[score.name], rtol=1e-9)
        assert score.low < score.value < score.high
    assert [s.name for s in found.scores["mean"]] == ["RMSE", "MAE", "R²"]
    np.testing.assert_allclose(found.value("R²", "mean"), 0.0, atol=1e-12)


def test_intervals_are_those_of_the_normal_limit() -> None:
    """The interval of a mean is about 2 * 1.96 standard errors wide."""
    found = assess_regression(Y, {"model": Y - NOISE})
    score = next(s for s in found.scores["model"] if s.name == "MAE")
    width = 2 * 1.96 * np.abs(NOISE).std() / np.sqrt(N)
    np.testing.assert_allclose(score.high - score.low, width, rtol=0.1)
    again = assess_regression(Y, {"model": Y - NOISE})
    assert again == found


def test_intervals_hold_the_truth() -> None:
    """95 in 100 intervals of samples hold the value of the population."""
    held = 0
    for seed in range(100):
        error = np.random.default_rng(seed).normal(size=80)
        found = assess_regression(error, {"model": np.zeros(80)}, seed=seed)
        score = found.scores["model"][1]  # the mean absolute error of a normal
        held += score.low < np.sqrt(2 / np.pi) < score.high
    assert 87 <= held <= 99


def test_scores_of_classes() -> None:
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    found = assess_classes(["a", "b", "b", "a"], ["a", "b"], {"model": p})
    assert found.value("accuracy") == 0.75
    wanted = -np.log([0.9, 0.4, 0.8, 0.7]).mean()
    np.testing.assert_allclose(found.value("log loss"), wanted)


def test_a_class_that_training_had_not() -> None:
    numbers = assessment.class_numbers(["b", "zebra", "a"], ["a", "b"])
    assert numbers.tolist() == [1, -1, 0]
    assert assessment.class_numbers([3, 7], [3, 5]).tolist() == [0, -1]
    assert assessment.class_numbers([True, False], [False, True]).tolist() == [1, 0]


def test_line_is_least_squares() -> None:
    columns = predictions.columns_of(X)
    predicted = LinearBaseline().fit(columns, Y).predict(columns)
    design = np.column_stack([np.ones(N), X])
    wanted = design @ np.linalg.lstsq(design, Y, rcond=None)[0]
    np.testing.assert_allclose(predicted, wanted, rtol=1e-9)


def test_line_with_categories_and_gaps() -> None:
    city = np.array(["Rome", "Bern", "Oslo"], object)[np.arange(N) % 3]
    effect = np.array([1.0, -2.0, 4.0])[np.arange(N) % 3]
    size = X[:, 0].copy()
    y = 3 * size + effect
    columns = {"size": size, "city": city}
    line = LinearBaseline().fit(columns, y)
    np.testing.assert_allclose(line.predict(columns), y, rtol=1e-8, atol=1e-8)
    size[0] = np.nan
    gap = line.predict(columns)[0]  # as if it were the mean
    np.testing.assert_allclose(gap, 3 * X[:, 0].mean() + effect[0], atol=1e-8)
    city[1] = "Paris"
    assert np.isfinite(line.predict(columns)).all()


def test_columns_of_frames() -> None:
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("narwhals")
    found = predictions.columns_of(
        pa.table({"a": [1, None], "b": ["x", None], "c": [True, False]})
    )
    np.testing.assert_array_equal(found["a"], [1.0, np.nan])
    assert found["b"].tolist() == ["x", None]
    assert found["c"].dtype == bool


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0123456, "0.01235"),
        (12345.6, "12,346"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (1.2e-7, "1.200e-07"),
        (3e9, "3.000e+09"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_for_people(value: float, text: str) -> None:
    assert assessment.number(value) == text


def test_as_text() -> None:
    found = {
        "y": assess_regression([1.0, 2.0, 4.0], {"model": [1, 2, 4], "mean": [2] * 3})
    }
    lines = as_text(found).splitlines()
    assert lines[0].split() == ["y,", "3", "rows", "model", "mean"]
    assert lines[1].split() == ["RMSE", "0", "(0", "to", "0)", "1.291"]
    assert assessment.as_dict(found)["y"]["model"]["MAE"]["value"] == 0.0


@pytest.mark.filterwarnings("error")
def test_numbers_at_the_end_of_float64() -> None:
    """There is no line, and no error either."""
    x = np.array([1e300, -1.7e308, 1.7e308, 2.0] * 5)[:, None]
    y = np.array([1.7e308, -1.7e308] * 10)
    line = assessment.LinearBaseline().fit(predictions.columns_of(x), y)
    assert np.isnan(line.predict(predictions.columns_of(x))).all()
    ids = pa_table(np.array([2**60 + 1, 2**60 + 3]))
    found = predictions.columns_of(ids)["a"]
    assert found.dtype == np.float64 and found.tolist() == [2.0**60, 2.0**60]


def pa_table(values: np.ndarray) -> object:
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("narwhals")
    return pa.table({"a": values})


def test_a_longer_name_is_another_class() -> None:
    classes = np.array(["Rome", "Oslo"])
    assert assessment.class_numbers(["Romeo", "Oslo"], classes).tolist() == [-1, 1]


def test_a_constant_truth_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = assess_regression(np.ones(20), {"model": np.linspace(0.9, 1.1, 20)})
    assert found.value("RMSE") == pytest.approx(np.std(np.linspace(0.9, 1.1, 20)))


def test_the_line_reads_dates_and_local_numbers() -> None:
    """A straight line has the columns of the network, not those of the file."""
    pytest.importorskip("narwhals")
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2020-01-01", periods=200, freq="5D")
    price = 1000.0 + np.arange(200) % 17
    table = pandas.DataFrame(
        {"day": days.strftime("%d.%m.%Y"), "price": [f"{v:,.2f}" for v in price]}
    )
    y = np.arange(200) + 3 * price
    model = kurve.Regressor((4,), max_epochs=2, random_state=0).fit(table, y)
    found = assessment.assess(model, table, y, train=(table, y))
    assert found["y"].value("R²", "straight line") > 0.9999
