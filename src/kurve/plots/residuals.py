"""`plot_residuals`: the residuals of a model against each input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.charts import GREY
from kurve.core.entries import entry
from kurve.plots import drawing
from kurve.plots.arguments import check_columns, check_data, check_model, predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10
"""Number of bins of an input for which the mean residual is drawn."""

MAX_PANELS = 6
"""Maximum number of inputs drawn."""


@entry
def plot_residuals(
    model: Any,
    x: Any,
    y: Any,
    columns: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the residuals (true minus predicted) against each input.

    Dots are rows; the line is their mean in each tenth of the rows. It lies at 0 where
    the model has learned everything that depends on this input, regardless of the
    noise. The region that `model.diagnose` would report is shaded. If there are many
    inputs, the six whose lines deviate most are drawn.

    Args:
        model: anything with `predict(x)`.
        x: inputs (n,) or (n, features, ...).
        y: targets (n,) or (n, outputs).
        columns: a name for each input.
        ax: where to draw; it is subdivided for several inputs. Default: a new figure.

    Returns:
        The Axes of the first panel; the others are in its `.figure.axes`.

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
        >>> figure = kurve.plots.plot_residuals(model, x, y)
    """
    from kurve.diagnosis.fit import worst_region
    from kurve.diagnosis.rows import Rows

    where = "plot_residuals"
    check_model(where, model)
    check_columns(where, model, "x", x)
    inputs, targets = check_data("x", x, "y", y, where)
    table = inputs.reshape(len(inputs), -1)
    names = _check_names(columns, table.shape[1])
    predicted = predict(model, inputs, targets, where)
    errors = targets - predicted
    region = worst_region(
        Rows(inputs, table, targets, targets=targets, predicted=predicted)
    )
    lines = [_binned(values, errors) for values in table.T]
    deviations = [float((means**2).mean(axis=0).max()) for _, means in lines]
    if region is not None:
        deviations[region.column] = np.inf
    shown = sorted(np.argsort(deviations)[::-1][:MAX_PANELS])
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
            panel.axvspan(
                *ends, color=GREY, alpha=0.2, linewidth=0, label="not learned"
            )
        across = np.broadcast_to(values[:, None], errors.shape)
        panel.axhline(0.0, color=drawing.ink(), linewidth=1.0)
        drawing.points(panel, across, errors, None)
        middles, means = lines[column]
        for number in range(errors.shape[1]):
            panel.plot(middles, means[:, number], color=drawing.ink(), linewidth=2.0)
        panel.lines[-1].set_label("mean")
        panel.set_xlabel(names[column])
        drawing.tidy(panel, legend=shaded or panel is ax)
    ax.set_ylabel("residual")
    return ax


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


def _binned(values: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of up to ten bins of an input with equal numbers of rows, and the mean
    error (bins, outputs) in each."""
    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, min(BINS, len(order)))
    middles = np.array([values[part].mean() for part in parts])
    return middles, np.array([errors[part].mean(axis=0) for part in parts])
