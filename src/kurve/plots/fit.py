"""`plot_fit`: data, truth, prediction and residuals of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.charts import COLOURS, GREY
from kurve.core.entries import entry
from kurve.plots import drawing
from kurve.plots.arguments import (
    call,
    check_array,
    check_columns,
    check_data,
    check_model,
    predict,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = 1000
"""Default number of points of a curve."""


@entry
def plot_fit(
    model: Any,
    x: Any,
    y: Any,
    test_x: Any = None,
    test_y: Any = None,
    ax: Axes | None = None,
    residuals: bool = True,
) -> Axes:
    """Plot a model's fit: data, truth, prediction and residuals.

    With one feature, the prediction is a curve over x. With several, it is plotted
    against the true value, where a perfect model lies on the diagonal. If the model has
    `predict_interval`, its 90 % interval is drawn for one feature and one output; if it
    has `extrapolates`, points outside its training data are marked.

    Args:
        model: anything with `predict(x)`; ideally a `kurve.Regressor`.
        x: training inputs (n,) or (n, features, ...).
        y: training targets (n,) or (n, outputs).
        test_x: where to predict; by default a dense grid over the range of x or, with
            several features, x itself.
        test_y: the true values at test_x.
        ax: where to draw; the residuals take its lower quarter. Default: a new figure.
        residuals: plot true minus predicted below, for the test data if test_y is
            given, else for the training data.

    Returns:
        The Axes of the upper panel; those of the residuals are in `.figure.axes`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: an argument of a wrong type (numbers, a model, Axes).
        ValueError: arrays are empty, not finite, or of shapes that do not match.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=2, verbose=0)
        >>> figure = kurve.plots.plot_fit(model, x, y)
    """
    check_model("plot_fit", model)
    check_columns("plot_fit", model, "x", x)
    check_columns("plot_fit", model, "test_x", test_x)
    inputs, targets = check_data("x", x, "y", y)
    one_feature = inputs[0].size == 1
    points, truth = _check_test(inputs, targets, test_x, test_y, one_feature)
    predicted = predict(model, points, targets)
    known = (inputs, targets) if truth is None else (points, truth)
    fitted = predicted if known[0] is points else predict(model, known[0], targets)

    ax = drawing.axes("plot_fit", ax, (8.0, 4.8 if residuals else 3.8))
    panels = drawing.divide(ax, [3, 1]) if residuals else [ax]
    if one_feature:
        _draw_curve(ax, (inputs, targets), (points, truth, predicted))
        _draw_uncertainty(ax, model, points, single=targets.shape[1] == 1)
        across = np.broadcast_to(known[0].reshape(-1, 1), fitted.shape)
        panels[-1].set_xlabel("x")
    else:
        _draw_against_truth(ax, known[1], fitted, _outside(model, known[0]))
        across = known[1]
        panels[-1].set_xlabel("true y")
    if residuals:
        _draw_residuals(panels[1], across, known[1] - fitted, of_test=truth is not None)
        ax.tick_params(labelbottom=False)
    return ax


def _check_test(
    inputs: np.ndarray,
    targets: np.ndarray,
    test_x: Any,
    test_y: Any,
    one_feature: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The points to predict at, sorted if they form a curve, and their true targets."""
    if test_x is None:
        if test_y is not None:
            raise ValueError(
                "[plot_fit] test_y needs test_x, the points to which it belongs. "
                "Received: test_x=None. Try plot_fit(..., test_x=..., test_y=...)."
            )
        if not one_feature:
            return inputs, None
        grid = np.linspace(inputs.min(), inputs.max(), GRID)
        return grid.reshape(-1, *inputs.shape[1:]), None
    truth = None
    if test_y is not None:
        points, truth = check_data("test_x", test_x, "test_y", test_y)
        if truth.shape[1] != targets.shape[1]:
            raise ValueError(
                "[plot_fit] test_y must have as many columns as y. Received: "
                f"test_y.shape={truth.shape}, y.shape={targets.shape}. "
                "Try the same outputs in both."
            )
    elif one_feature:
        points = check_array("test_x", test_x)
    else:
        raise ValueError(
            "[plot_fit] test_x needs test_y where x has several features, because "
            f"predictions are drawn against the truth. Received: x.shape="
            f"{inputs.shape}, test_y=None. Try plot_fit(..., test_x=..., test_y=...)."
        )
    if points.shape[1:] != inputs.shape[1:]:
        raise ValueError(
            "[plot_fit] test_x must have rows of the same shape as x. Received: "
            f"test_x.shape={points.shape}, x.shape={inputs.shape}. "
            "Try the same features in both."
        )
    if one_feature:
        order = np.argsort(points.reshape(-1), kind="stable")
        points = points[order]
        truth = None if truth is None else truth[order]
    return points, truth


def _draw_curve(
    ax: Axes,
    data: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray | None, np.ndarray],
) -> None:
    (inputs, targets), (points, truth, predicted) = data, test
    count = targets.shape[1]
    dots = ax.plot(
        inputs.reshape(-1),
        targets,
        linestyle="none",
        marker="o",
        markersize=4 if len(inputs) <= 500 else 2,
        color=GREY,
        alpha=0.55 if len(inputs) <= 500 else 0.3,
        markeredgewidth=0,
    )
    dots[0].set_label("data")
    across = points.reshape(-1)
    for number in range(count):
        ax.plot(
            across,
            predicted[:, number],
            color=COLOURS[number % len(COLOURS)],
            linewidth=2.4,
            label=drawing.numbered("prediction", number, count),
        )
    if (
        truth is not None
    ):  # dashed and on top, so that both stay visible in a perfect fit
        lines = ax.plot(
            across, truth, color=drawing.ink(), linewidth=1.1, linestyle="--"
        )
        lines[0].set_label("truth")
    ax.set_ylabel("y")
    drawing.tidy(ax)


def _outside(model: Any, points: np.ndarray) -> np.ndarray:
    """Where the model extrapolates, bool (n,); all False if the model cannot tell."""
    if not callable(getattr(model, "extrapolates", None)):
        return np.zeros(len(points), bool)
    return np.asarray(call(model.extrapolates, points), bool)


def _draw_uncertainty(ax: Axes, model: Any, points: np.ndarray, single: bool) -> None:
    """Draw the prediction interval, and shade where the model extrapolates."""
    across = points.reshape(-1)
    if single and callable(getattr(model, "predict_interval", None)):
        low, high = np.asarray(call(model.predict_interval, points, coverage=0.9)).T
        ax.fill_between(
            across,
            low,
            high,
            color=COLOURS[0],
            alpha=0.2,
            linewidth=0,
            label="90 % interval",
        )
    outside = _outside(model, points)
    if outside.any():
        ax.fill_between(
            across,
            0.0,
            1.0,
            where=outside.tolist(),
            transform=ax.get_xaxis_transform(),
            color=COLOURS[1],
            alpha=0.12,
            linewidth=0,
            label="outside the data",
        )
    drawing.tidy(ax)


def _draw_against_truth(
    ax: Axes, truth: np.ndarray, predicted: np.ndarray, outside: np.ndarray
) -> None:
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    ax.plot(ends, ends, color=drawing.ink(), linewidth=1.0, label="perfect")
    drawing.points(ax, truth[~outside], predicted[~outside], "prediction")
    if outside.any():
        ax.plot(
            truth[outside],
            predicted[outside],
            linestyle="none",
            marker="x",
            markersize=5,
            color=drawing.ink(),
        )
        ax.lines[-1].set_label("outside the data")
    ax.set_ylabel("predicted y")
    drawing.tidy(ax)


def _draw_residuals(
    ax: Axes, across: np.ndarray, errors: np.ndarray, of_test: bool
) -> None:
    ax.axhline(0.0, color=drawing.ink(), linewidth=1.0)
    drawing.points(ax, across, errors, None)
    ax.set_ylabel("test error" if of_test else "residual")
    drawing.tidy(ax, legend=False)
