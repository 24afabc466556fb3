"""The plots draw what they were given and refuse what they cannot draw."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kurve import Regressor
from kurve.plots import plot_fit, plot_history, plot_residuals

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

X = np.arange(0, 20, 0.5)


class Sine:
    """A model that has learnt the sine of the sum of its features, and 0.1 more."""

    def predict(self, x: np.ndarray, verbose: int = 1) -> np.ndarray:
        assert verbose == 0
        return np.sin(x.sum(axis=1, keepdims=True)) + 0.1


class Vector:
    """A model of another library: a vector comes out, and `verbose` is unknown."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x[:, 0])


class Two:
    """Two outputs."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.hstack([x, -x])


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    settings = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == settings
    plt.close("all")


def labels(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax: Any, label: str) -> np.ndarray:
    (found,) = (one for one in ax.lines if one.get_label() == label)
    return np.asarray(found.get_xydata())


def panels(ax: Any) -> list[Any]:
    ax.figure.canvas.draw()
    return list(ax.figure.axes)


def test_fit_draws_data_curve_and_residuals() -> None:
    ax = plot_fit(Sine(), X, np.sin(X))
    upper, lower = panels(ax)
    assert upper is ax
    assert labels(ax) == ["data", "prediction"]
    np.testing.assert_array_equal(line(ax, "data"), np.stack([X, np.sin(X)], 1))
    curve = line(ax, "prediction")
    assert len(curve) == 1000
    np.testing.assert_allclose(curve[:, 1], np.sin(curve[:, 0]) + 0.1)
    assert lower.get_ylabel() == "residual"
    np.testing.assert_allclose(lower.lines[-1].get_ydata(), -0.1)


def test_fit_draws_the_truth_in_order() -> None:
    test_x = np.array([3.0, 1.0, 2.0])
    ax = plot_fit(Sine(), X, np.sin(X), test_x, np.sin(test_x))
    assert labels(ax) == ["data", "prediction", "truth"]
    np.testing.assert_array_equal(line(ax, "truth")[:, 0], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(
        line(ax, "prediction")[:, 1], line(ax, "truth")[:, 1] + 0.1
    )
    assert panels(ax)[1].get_ylabel() == "test error"


def test_fit_at_points_without_truth_has_residuals_of_the_data() -> None:
    ax = plot_fit(Sine(), X, np.sin(X), test_x=[1.0, 2.0])
    assert len(line(ax, "prediction")) == 2
    assert len(panels(ax)[1].lines[-1].get_ydata()) == len(X)


def test_fit_of_several_features_is_drawn_against_the_truth() -> None:
    inputs = np.random.default_rng(0).normal(size=(30, 3))
    truth = np.sin(inputs.sum(axis=1))
    ax = plot_fit(Sine(), inputs, truth)
    np.testing.assert_allclose(
        line(ax, "prediction"), np.stack([truth, truth + 0.1], 1)
    )
    assert (ax.get_ylabel(), panels(ax)[1].get_xlabel()) == ("predicted y", "true y")
    ax = plot_fit(Sine(), inputs, truth, inputs[:5], truth[:5])
    assert len(line(ax, "prediction")) == 5


def test_fit_without_residuals_has_one_panel() -> None:
    assert panels(plot_fit(Sine(), X, np.sin(X), residuals=False))[1:] == []


def test_fit_of_several_outputs() -> None:
    ax = plot_fit(Two(), X, np.stack([X, -X], 1), X, np.stack([X, -X], 1))
    assert labels(ax) == ["data", "prediction 1", "prediction 2", "truth"]


def test_fit_takes_models_of_other_libraries() -> None:
    assert labels(plot_fit(Vector(), X, np.sin(X))) == ["data", "prediction"]


@pytest.mark.parametrize("placed", ["subplot", "by hand"])
def test_fit_divides_the_axes_of_the_caller(placed: str) -> None:
    figure = plt.figure()
    if placed == "subplot":
        mine = figure.add_subplot(1, 2, 1)
    else:
        mine = figure.add_axes((0.2, 0.2, 0.6, 0.6))
    before = mine.get_position()
    ax = plot_fit(Sine(), X, np.sin(X), ax=mine)
    assert ax is mine
    upper, lower = (panel.get_position() for panel in panels(ax))
    assert lower.y1 < upper.y0
    np.testing.assert_allclose([upper.y1, lower.y0], [before.y1, before.y0])
    np.testing.assert_allclose([upper.x0, upper.x1], [before.x0, before.x1])


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"model": None}, TypeError, "model must have a predict method. Received: an"),
        ({"x": []}, ValueError, r"x must have at least one row. Received: x.shape="),
        ({"y": X[:3]}, ValueError, "the same number of rows. Received: 40 and 3"),
        ({"y": X * np.nan}, ValueError, r"y must be finite. Received: nan at y\[0\]"),
        ({"x": ["a"] * 40}, TypeError, "x must hold real numbers. Received: x"),
        ({"y": np.ones((40, 2, 2))}, ValueError, r"y must be \(n,\) or \(n, outputs\)"),
        ({"y": np.ones((40, 2))}, ValueError, "one column for each output"),
        ({"test_y": X}, ValueError, "test_y needs test_x"),
        ({"test_x": X, "test_y": X[:3]}, ValueError, "test_x and test_y must have the"),
        (
            {"test_x": np.ones((4, 2))},
            ValueError,
            "test_x must have rows of the same shape",
        ),
        (
            {"test_x": X, "test_y": np.ones((40, 2))},
            ValueError,
            "test_y must have as many columns as y",
        ),
        (
            {"x": np.ones((40, 2)), "test_x": np.ones((4, 2))},
            ValueError,
            "test_x needs test_y where x has several features",
        ),
        ({"ax": "here"}, TypeError, "ax must be a matplotlib Axes. Received: an obj"),
    ],
)
def test_fit_refuses(changed: Any, error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {"model": Sine(), "x": X, "y": np.sin(X)} | changed
    with pytest.raises(error, match=rf"^\[plot_fit\] .*{text}.* Try ") as caught:
        plot_fit(**arguments)
    assert "Received: " in str(caught.value)


def test_history_pairs_training_and_validation() -> None:
    logs = {
        "accuracy": [0.1, 0.8, 0.7],
        "loss": [1.0, 0.1, 0.01],
        "val_accuracy": [0.2, 0.6, 0.5],
        "val_loss": [1.0, 0.2, 0.3],
        "learning_rate": [0.1, 0.1, 0.1],
    }
    ax = plot_history(logs)
    accuracy, loss, rate = panels(ax)
    assert accuracy is ax
    assert labels(accuracy) == ["training", "validation", "best 0.6 (epoch 2)"]
    assert labels(loss) == ["training", "validation", "best 0.2 (epoch 2)"]
    assert labels(rate) == ["learning_rate"]
    assert [panel.get_yscale() for panel in (accuracy, loss, rate)] == [
        "linear",
        "log",
        "linear",
    ]
    np.testing.assert_array_equal(line(loss, "training")[:, 0], [1, 2, 3])


def test_history_object_with_later_epochs_and_rare_validation() -> None:
    history = SimpleNamespace(
        history={"loss": [4.0, 3.0, 2.0, 1.0], "val_loss": [3.5, 1.5]},
        epoch=[4, 5, 6, 7],
    )
    ax = plot_history(history)
    np.testing.assert_array_equal(line(ax, "training")[:, 0], [5, 6, 7, 8])
    np.testing.assert_array_equal(line(ax, "validation")[:, 0], [6, 8])


def test_history_leaves_out_what_is_not_finite() -> None:
    ax = plot_history({"loss": [np.nan, 2.0, np.inf]})
    assert labels(ax) == ["loss", "best 2 (epoch 2)"]
    assert labels(plot_history({"loss": [np.nan]})) == ["loss"]


def test_history_draws_where_told() -> None:
    mine = plt.figure().add_subplot()
    assert plot_history({"loss": [1.0], "mae": [1.0]}, ax=mine) is mine
    assert len(panels(mine)) == 2


@pytest.mark.parametrize(
    ("history", "error", "text"),
    [
        (None, TypeError, "history must be what fit returned"),
        ({}, ValueError, "history must have at least one epoch"),
        ({"loss": []}, ValueError, "history must have at least one epoch"),
    ],
)
def test_history_refuses(history: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=rf"^\[plot_history\] {text}.* Received: .* Try "):
        plot_history(history)


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'Try pip install "kurve\[plot\]"'):
        plot_history({"loss": [1.0]})


class Zero:
    """Knows nothing."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.zeros((len(x), 1))


def test_residuals_of_one_input() -> None:
    y = np.where(X > 10, np.sin(X), 0.0)
    ax = plot_residuals(Zero(), X, y)
    assert len(ax.figure.axes) == 1
    assert ax.get_xlabel() == "x"
    dots = next(one for one in ax.lines if one.get_linestyle() == "None")
    np.testing.assert_allclose(dots.get_xydata(), np.c_[X, y])
    means = line(ax, "mean")
    assert means.shape == (10, 2)
    np.testing.assert_allclose(means[:, 0], X.reshape(10, 4).mean(axis=1))
    np.testing.assert_allclose(means[:, 1], y.reshape(10, 4).mean(axis=1))
    # The end that the diagnosis would name, and no other.
    (region,) = ax.patches
    assert region.get_label() == "not learned"
    assert region.get_x() > 8.0
    assert region.get_x() + region.get_width() == X.max()


def test_residuals_without_a_pattern_have_no_region() -> None:
    noise = np.random.default_rng(0).normal(size=400)
    ax = plot_residuals(Zero(), np.arange(400), noise * np.arange(400))
    assert not ax.patches
    assert labels(ax) == ["mean"]


def test_residuals_of_many_inputs_are_those_that_matter() -> None:
    x = np.random.default_rng(0).normal(size=(300, 9))
    names = [f"input {i}" for i in range(9)]
    y = x[:, 8] + 0.5 * x[:, 2]
    host, place = plt.subplots()
    first = plot_residuals(Zero(), x, y, names, ax=place)
    assert first is place
    assert len(host.axes) == 6
    shown = [panel.get_xlabel() for panel in host.axes]
    assert shown == sorted(shown)
    assert {"input 2", "input 8"} <= set(shown)
    assert len(plot_residuals(Zero(), x[:, :4], y).figure.axes) == 4


def test_residuals_of_two_outputs() -> None:
    ax = plot_residuals(Two(), X, np.c_[X, X])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), 0.0)
    np.testing.assert_allclose(ax.lines[2].get_ydata(), 2.0 * X)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((3, X, X), TypeError, "[plot_residuals] model must have a predict"),
        ((Zero(), X, X[:-1]), ValueError, "[plot_residuals] x and y must have the"),
        ((Zero(), X, X, ["a", "b"]), ValueError, "[plot_residuals] columns must name"),
        (
            (Two(), X, X),
            ValueError,
            "[plot_residuals] y must have one column for each output",
        ),
        ((Zero(), X, X * np.nan), ValueError, "[plot_residuals] y must be finite"),
    ],
)
def test_what_residuals_refuse(
    arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        plot_residuals(*arguments)
    assert str(caught.value).startswith(text)


class Sure:
    """A model with intervals that knows where its data ends."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x[:, 0])

    def predict_interval(self, x: np.ndarray, coverage: float) -> np.ndarray:
        assert coverage == 0.9
        return np.sin(x[:, :1]) + np.array([-0.5, 0.5])

    def extrapolates(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0] > 5.0


def test_interval_and_limits_of_a_model_that_knows_them() -> None:
    x = np.linspace(0.0, 5.0, 20)
    ax = plot_fit(Sure(), x, np.sin(x), test_x=np.linspace(0.0, 8.0, 50))
    band, shade = ax.collections
    assert (band.get_label(), shade.get_label()) == (
        "90 % interval",
        "outside the data",
    )
    assert shade.get_paths()[0].vertices[:, 0].min() > 5.0
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "90 % interval" in texts and "outside the data" in texts


def test_rows_outside_among_several_features() -> None:
    x = np.stack([np.linspace(0.0, 8.0, 20), np.ones(20)], axis=1)
    ax = plot_fit(Sure(), x, np.sin(x[:, 0]))
    marks = {line.get_label(): line for line in ax.lines}
    assert len(marks["outside the data"].get_xdata()) == int((x[:, 0] > 5.0).sum())
    assert len(marks["prediction"].get_xdata()) == int((x[:, 0] <= 5.0).sum())


def test_frames_of_a_regressor() -> None:
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame({"a": np.linspace(0, 1, 40)})
    y = np.sin(x["a"])
    model = Regressor(max_epochs=2, random_state=0).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_fit(model, x, y, test_x=x, test_y=y)
    with pytest.raises(ValueError, match=r"columns of the training data.*\['b'\]"):
        plot_fit(model, x.rename(columns={"a": "b"}), y)
