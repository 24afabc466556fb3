"""Pictures of training and of fits. They need matplotlib: pip install "kurve[plot]".

Nothing global is changed: no rcParams, no style. What belongs to the page (text, the
truth, a zero line) takes the colour of the style's text, so that the pictures read on
dark styles too; what belongs to the model has colours that read on both.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import drawing
from kurve.drawing import COLOURS as COLOURS
from kurve.drawing import GREY as GREY
from kurve.image_plots import plot_confusion_matrix as plot_confusion_matrix
from kurve.image_plots import plot_feature_maps as plot_feature_maps
from kurve.image_plots import plot_filters as plot_filters
from kurve.image_plots import plot_images as plot_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = 1000
"""Points of a curve that the caller gave no points for."""

LOG_RANGE = 10.0
"""A metric that changes by this factor or more gets a logarithmic axis."""

TENTHS = 10
"""Parts of an input that have a mean residual of their own."""

MOST_PANELS = 6
"""Inputs that `plot_residuals` draws."""

_RISING = ("acc", "auc", "precision", "recall", "r2", "f1")


def plot_history(history: Any, ax: Axes | None = None) -> Axes:
    """Draw each metric of a `fit` over its epochs, training and validation together.

    Each metric has a panel; the best epoch (of validation, where there is one) is
    marked. The y axis is logarithmic where a metric is positive and changes by a
    factor of 10 or more.

    Args:
        history: what `fit` returned, or its `.history` dict of lists.
        ax: where to draw; it is divided if there are several metrics. A new figure by
            default.

    Returns:
        The Axes of the first panel; the others are in its `.figure.axes`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: `history` is neither of the two.
        ValueError: `history` holds no epoch.
    """
    curves, epochs = _check_history(history)
    names = [name for name in curves if name.removeprefix("val_") == name]
    names += [name for name in curves if name not in names and name[4:] not in names]
    ax = drawing.axes("plot_history", ax, (8.0, 1.6 + 2.2 * len(names)))
    panels = drawing.divide(ax, [1] * len(names))
    for panel, name in zip(panels, names, strict=True):
        _draw_metric(panel, name, curves, epochs)
        panel.tick_params(labelbottom=panel is panels[-1])
    panels[-1].set_xlabel("epoch")
    return ax


def plot_fit(
    model: Any,
    x: Any,
    y: Any,
    test_x: Any = None,
    test_y: Any = None,
    ax: Axes | None = None,
    residuals: bool = True,
) -> Axes:
    """Draw what a model has learnt: data, truth, prediction and what is left over.

    With one feature the prediction is a curve over x. With several it is drawn against
    the true value, where a perfect model is the diagonal. A model that knows how sure
    it is (`predict_interval`) gets its 90 % interval for one feature and one output,
    and one that knows its limits (`extrapolates`) a mark where it guesses.

    Args:
        model: anything with `predict(x)`; best a `kurve.Regressor`.
        x: training inputs (n,) or (n, features, ...).
        y: training targets (n,) or (n, outputs).
        test_x: where to predict; by default a dense grid over the range of x or, with
            several features, x itself.
        test_y: the truth at test_x.
        ax: where to draw; its lower quarter goes to the residuals. A new figure by
            default.
        residuals: draw true minus predicted below, for the test data where test_y is
            given, else for the training data.

    Returns:
        The Axes of the upper panel; the residuals are in its `.figure.axes`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: an argument is not what it should be (numbers, a model, Axes).
        ValueError: arrays are empty, not finite or of shapes that do not fit.
    """
    if not callable(getattr(model, "predict", None)):
        raise TypeError(
            "[plot_fit] model must have a predict method. Received: an object of type "
            f"{type(model).__name__}. Try plot_fit(model, x, y)."
        )
    inputs, targets = _check_data("x", x, "y", y)
    one_feature = inputs[0].size == 1
    points, truth = _check_test(inputs, targets, test_x, test_y, one_feature)
    predicted = _predict(model, points, targets)
    known = (inputs, targets) if truth is None else (points, truth)
    fitted = predicted if known[0] is points else _predict(model, known[0], targets)

    ax = drawing.axes("plot_fit", ax, (8.0, 4.8 if residuals else 3.8))
    panels = drawing.divide(ax, [3, 1]) if residuals else [ax]
    if one_feature:
        _draw_curve(ax, (inputs, targets), (points, truth, predicted))
        _draw_trust(ax, model, points, single=targets.shape[1] == 1)
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


def plot_sweep(sweep: Any, ax: Axes | None = None) -> Axes:
    """Draw the loss over the learning rate of `kurve.lr_find`, with its suggestion.

    Args:
        sweep: what `lr_find` returned.
        ax: where to draw; a new figure by default.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: `sweep` is something else.
    """
    if not hasattr(sweep, "learning_rates"):
        raise TypeError(
            "[plot_sweep] sweep must be what lr_find returned. Received: an object of "
            f"type {type(sweep).__name__}. Try plot_sweep(kurve.lr_find(model, x, y))."
        )
    ax = drawing.axes("plot_sweep", ax, (8.0, 3.8))
    rates, losses = sweep.learning_rates, sweep.losses
    ax.plot(rates, losses, color=COLOURS[0], linewidth=1.6, label="loss")
    ax.set_xscale("log")
    lowest, start = float(losses.min()), sweep.start
    # What comes after the fall is too large to show the fall beside it.
    room = 0.2 * max(start - lowest, 0.0) + 0.01 * abs(start)
    if lowest > 0.0 and start >= LOG_RANGE * lowest:
        ax.set_yscale("log")
        ax.set_ylim(lowest / 1.5, start * 3.0)
    else:
        ax.set_ylim(min(lowest, start) - room, start + 2.0 * room)
    for rate, label, colour, style in [
        (sweep.suggestion, "suggestion", COLOURS[1], "-"),
        (sweep.diverged, "diverged", GREY, "--"),
    ]:
        if rate is not None:
            ax.axvline(rate, color=colour, linestyle=style, label=f"{label} {rate:.2g}")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss")
    drawing.tidy(ax)
    return ax


def plot_residuals(
    model: Any,
    x: Any,
    y: Any,
    columns: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what is left over (true minus predicted) against each input.

    Dots are rows, the line is their mean in each tenth of the rows: it lies at 0 where
    the model has learnt all that follows this input, whatever the noise. The region
    that `model.diagnose` would name is shaded. Of many inputs the six are drawn whose
    lines stray farthest.

    Args:
        model: anything with `predict(x)`.
        x: inputs (n,) or (n, features, ...).
        y: targets (n,) or (n, outputs).
        columns: a name for each input.
        ax: where to draw; it is divided if there are several inputs. A new figure by
            default.

    Returns:
        The Axes of the first panel; the others are in its `.figure.axes`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: an argument is not what it should be (numbers, a model, Axes).
        ValueError: arrays are empty, not finite or of shapes that do not fit.
    """
    from kurve.diagnosis.fit import worst_region
    from kurve.diagnosis.subject import Rows

    where = "plot_residuals"
    if not callable(getattr(model, "predict", None)):
        raise TypeError(
            f"[{where}] model must have a predict method. Received: an object of type "
            f"{type(model).__name__}. Try {where}(model, x, y)."
        )
    inputs, targets = _check_data("x", x, "y", y, where)
    table = inputs.reshape(len(inputs), -1)
    names = _check_names(columns, table.shape[1])
    predicted = _predict(model, inputs, targets, where)
    errors = targets - predicted
    region = worst_region(
        Rows(inputs, table, targets, targets=targets, predicted=predicted)
    )
    lines = [_binned(values, errors) for values in table.T]
    strays = [float((means**2).mean(axis=0).max()) for _, means in lines]
    if region is not None:
        strays[region.column] = np.inf
    shown = sorted(np.argsort(strays)[::-1][:MOST_PANELS])
    width = 2 if len(shown) == 4 else min(len(shown), 3)
    height = -(-len(shown) // width)
    ax = drawing.axes(where, ax, (max(3.2 * width, 6.0), 0.6 + 2.6 * height))
    for panel, column in zip(drawing.grid(ax, len(shown), width), shown, strict=True):
        values = table[:, column]
        shaded = region is not None and region.column == column
        if region is not None and shaded:
            ends = (region.beyond, values.max())
            if not region.above:
                ends = (values.min(), region.beyond)
            panel.axvspan(*ends, color=GREY, alpha=0.2, linewidth=0, label="not learnt")
        across = np.broadcast_to(values[:, None], errors.shape)
        panel.axhline(0.0, color=drawing.ink(), linewidth=1.0)
        _draw_points(panel, across, errors, None)
        middles, means = lines[column]
        for number in range(errors.shape[1]):
            panel.plot(middles, means[:, number], color=drawing.ink(), linewidth=2.0)
        panel.lines[-1].set_label("mean")
        panel.set_xlabel(names[column])
        drawing.tidy(panel, legend=shaded or panel is ax)
    ax.set_ylabel("residual")
    return ax


# What is asked of the arguments


def _check_history(history: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The lists of a history as arrays, and the number of each epoch, from 1."""
    logs = getattr(history, "history", history)
    if not isinstance(logs, Mapping):
        raise TypeError(
            "[plot_history] history must be what fit returned, or its .history dict. "
            f"Received: an object of type {type(history).__name__}. "
            "Try plot_history(model.fit(x, y))."
        )
    curves = {str(name): _check_curve(name, values) for name, values in logs.items()}
    count = max((len(curve) for curve in curves.values()), default=0)
    if count == 0:
        raise ValueError(
            "[plot_history] history must hold at least one epoch. "
            f"Received: {dict(logs)}. Try fit(..., epochs=10)."
        )
    epochs = getattr(history, "epoch", None)
    if epochs is None or len(epochs) != count:
        epochs = range(count)
    return curves, np.asarray(epochs) + 1


def _check_curve(name: Any, values: Any) -> np.ndarray:
    """A metric's values, one an epoch."""
    try:
        curve = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        curve = np.zeros(())
    if curve.ndim != 1:
        raise TypeError(
            "[plot_history] history must hold a list of numbers for each metric. "
            f"Received: {name!r}: {values!r}. Try the .history of what fit returned."
        )
    return curve


def _check_names(columns: Sequence[str] | None, count: int) -> list[str]:
    names = ["x"] if count == 1 else [f"x[:, {i}]" for i in range(count)]
    if isinstance(columns, str) or not isinstance(columns, Iterable | None):
        raise TypeError(
            "[plot_residuals] columns must be a list of names. "
            f"Received: {columns!r}. Try columns=None."
        )
    if columns is not None:
        names = [str(name) for name in columns]
    if len(names) != count:
        raise ValueError(
            "[plot_residuals] columns must name each input. Received: "
            f"{len(names)} names for {count} inputs. Try columns=None."
        )
    return names


def _check_array(name: str, values: Any, where: str = "plot_fit") -> np.ndarray:
    """Finite float64 numbers with at least one row; a vector becomes one column."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"[{where}] {name} must be an array of numbers. Received: an object of "
            f"type {type(values).__name__} ({error}). Try np.asarray({name}, float)."
        ) from None
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"[{where}] {name} must have at least one row. "
            f"Received: {name}.shape={array.shape}. Try a shape of (n,) or (n, k)."
        )
    if not np.isfinite(array).all():
        first = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"[{where}] {name} must be finite. Received: {array[first]} at "
            f"{name}{list(first)}. Try leaving such rows out."
        )
    return array.reshape(-1, 1) if array.ndim == 1 else array


def _check_data(
    x_name: str, x: Any, y_name: str, y: Any, where: str = "plot_fit"
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, ...) and targets (n, outputs)."""
    inputs, targets = _check_array(x_name, x, where), _check_array(y_name, y, where)
    if targets.ndim != 2:
        raise ValueError(
            f"[{where}] {y_name} must be (n,) or (n, outputs). "
            f"Received: {y_name}.shape={targets.shape}. Try one column an output."
        )
    if len(inputs) != len(targets):
        raise ValueError(
            f"[{where}] {x_name} and {y_name} must have as many rows as each other. "
            f"Received: {len(inputs)} and {len(targets)} rows. "
            f"Try {y_name}[:{min(len(inputs), len(targets))}]."
        )
    return inputs, targets


def _check_test(
    inputs: np.ndarray,
    targets: np.ndarray,
    test_x: Any,
    test_y: Any,
    one_feature: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The points to predict at, in order where they make a curve, and their truth."""
    if test_x is None:
        if test_y is not None:
            raise ValueError(
                "[plot_fit] test_y needs test_x, the points where it is the truth. "
                "Received: test_x=None. Try plot_fit(..., test_x=..., test_y=...)."
            )
        if not one_feature:
            return inputs, None
        grid = np.linspace(inputs.min(), inputs.max(), GRID)
        return grid.reshape(-1, *inputs.shape[1:]), None
    truth = None
    if test_y is not None:
        points, truth = _check_data("test_x", test_x, "test_y", test_y)
        if truth.shape[1] != targets.shape[1]:
            raise ValueError(
                "[plot_fit] test_y must have as many columns as y. Received: "
                f"test_y.shape={truth.shape}, y.shape={targets.shape}. "
                "Try the same outputs in both."
            )
    elif one_feature:
        points = _check_array("test_x", test_x)
    else:
        raise ValueError(
            "[plot_fit] test_x needs test_y where x has several features, because "
            f"predictions are drawn against the truth. Received: x.shape="
            f"{inputs.shape}, test_y=None. Try plot_fit(..., test_x=..., test_y=...)."
        )
    if points.shape[1:] != inputs.shape[1:]:
        raise ValueError(
            "[plot_fit] test_x must have rows of the shape of those of x. Received: "
            f"test_x.shape={points.shape}, x.shape={inputs.shape}. "
            "Try the same features in both."
        )
    if one_feature:
        order = np.argsort(points.reshape(-1), kind="stable")
        points = points[order]
        truth = None if truth is None else truth[order]
    return points, truth


def _predict(
    model: Any, points: np.ndarray, targets: np.ndarray, where: str = "plot_fit"
) -> np.ndarray:
    """Predictions (n, outputs)."""
    quiet = "verbose" in inspect.signature(model.predict).parameters
    output = model.predict(points, verbose=0) if quiet else model.predict(points)
    predicted = np.asarray(output, dtype=np.float64)
    if predicted.ndim == 1:
        predicted = predicted.reshape(-1, 1)
    if predicted.shape != (len(points), targets.shape[1]):
        raise ValueError(
            f"[{where}] expected y to have as many columns as the model has outputs. "
            f"Received: y.shape={targets.shape}, predictions of shape "
            f"{predicted.shape}. Try plot_history for a classifier."
        )
    return predicted


# Drawing


def _binned(values: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middles of up to ten parts of an input with equally many rows, and the mean error
    (parts, outputs) in each."""
    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, min(TENTHS, len(order)))
    middles = np.array([values[part].mean() for part in parts])
    return middles, np.array([errors[part].mean(axis=0) for part in parts])


def _numbered(name: str, number: int, count: int) -> str:
    return name if count == 1 else f"{name} {number + 1}"


def _draw_metric(
    ax: Axes, name: str, curves: Mapping[str, np.ndarray], epochs: np.ndarray
) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn = [(name, "training" if f"val_{name}" in curves else name, COLOURS[0])]
    if f"val_{name}" in curves:
        drawn.append((f"val_{name}", "validation", COLOURS[1]))
    for key, label, colour in drawn:
        curve = curves[key]
        # validation_freq=k leaves every k-th epoch
        every = max(len(epochs) // max(len(curve), 1), 1)
        at = epochs[every - 1 :: every][: len(curve)]
        marker = "o" if len(curve) == 1 else None
        ax.plot(at, curve, color=colour, label=label, linewidth=1.6, marker=marker)
    if name not in ("lr", "learning_rate"):
        _mark_best(ax, name, at, curve, colour)
    values = np.concatenate([curves[key] for key, _, _ in drawn])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() >= LOG_RANGE * values.min():
        ax.set_yscale("log")
    ax.set_ylabel(name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    drawing.tidy(ax)


def _mark_best(
    ax: Axes, name: str, epochs: np.ndarray, curve: np.ndarray, colour: str
) -> None:
    """A ring at the best epoch; the legend says which it is."""
    finite = np.isfinite(curve)
    if not finite.any():
        return
    rising = any(part in name.lower() for part in _RISING)
    best = int(np.nanargmax(np.where(finite, curve if rising else -curve, np.nan)))
    ax.plot(
        epochs[best],
        curve[best],
        color=colour,
        label=f"best {curve[best]:.3g} (epoch {epochs[best]})",
        linestyle="none",
        marker="o",
        markersize=8,
        markerfacecolor="none",
        markeredgewidth=1.6,
    )


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
            label=_numbered("prediction", number, count),
        )
    if truth is not None:  # dashed and on top: a perfect fit leaves both visible
        lines = ax.plot(
            across, truth, color=drawing.ink(), linewidth=1.1, linestyle="--"
        )
        lines[0].set_label("truth")
    ax.set_ylabel("y")
    drawing.tidy(ax)


def _outside(model: Any, points: np.ndarray) -> np.ndarray:
    """Where the model says that it guesses: bool (n,), all False if it cannot say."""
    if not callable(getattr(model, "extrapolates", None)):
        return np.zeros(len(points), bool)
    return np.asarray(model.extrapolates(points), bool)


def _draw_trust(ax: Axes, model: Any, points: np.ndarray, single: bool) -> None:
    """The interval of the prediction, and a shade where the model guesses."""
    across = points.reshape(-1)
    if single and callable(getattr(model, "predict_interval", None)):
        low, high = np.asarray(model.predict_interval(points, coverage=0.9)).T
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
    _draw_points(ax, truth[~outside], predicted[~outside], "prediction")
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
    _draw_points(ax, across, errors, None)
    ax.set_ylabel("test error" if of_test else "residual")
    drawing.tidy(ax, legend=False)


def _draw_points(
    ax: Axes, across: np.ndarray, values: np.ndarray, label: str | None
) -> None:
    """One series of dots for each output, in the colour of its prediction."""
    count = values.shape[1]
    for number in range(count):
        ax.plot(
            across[:, number],
            values[:, number],
            linestyle="none",
            marker="o",
            markersize=3.5 if len(values) <= 500 else 2,
            markeredgewidth=0,
            color=COLOURS[number % len(COLOURS)],
            alpha=0.7 if len(values) <= 500 else 0.4,
            label=None if label is None else _numbered(label, number, count),
        )
