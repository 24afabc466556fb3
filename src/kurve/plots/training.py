"""Plots of training: the metrics of a `fit`, and the loss against the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.charts import COLOURS, GREY, LOG_RANGE
from kurve.core.entries import entry
from kurve.plots import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RISING = ("acc", "auc", "precision", "recall", "r2", "f1")


@entry
def plot_history(history: Any, ax: Axes | None = None) -> Axes:
    """Plot each metric of a `fit` over the epochs, training and validation together.

    Each metric has a panel; its best epoch (of validation, if there is any) is marked.
    The y axis is logarithmic where a metric is positive and changes by a
    factor of 10 or more.

    Args:
        history: what `fit` returned, or its `.history` dict of lists.
        ax: where to draw; it is subdivided for several metrics. Default: a new figure.

    Returns:
        The Axes of the first panel; the others are in its `.figure.axes`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: `history` is neither of these.
        ValueError: `history` has no epochs.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=2, verbose=0)
        >>> figure = kurve.plots.plot_history(history)
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


@entry
def plot_sweep(sweep: Any, ax: Axes | None = None) -> Axes:
    """Plot the loss against the learning rate from `kurve.lr_find`, with its
    suggestion.

    Args:
        sweep: what `lr_find` returned.
        ax: where to draw; default: a new figure.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: `sweep` is not a result of `lr_find`.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> figure = kurve.plots.plot_sweep(kurve.lr_find(model, x, y, steps=50))
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
    # The divergence after the descent is cut off; it would hide the descent.
    margin = 0.2 * max(start - lowest, 0.0) + 0.01 * abs(start)
    if lowest > 0.0 and start >= LOG_RANGE * lowest:
        ax.set_yscale("log")
        ax.set_ylim(lowest / 1.5, start * 3.0)
    else:
        ax.set_ylim(min(lowest, start) - margin, start + 2.0 * margin)
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


def _check_history(history: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The metrics of a history as arrays, and the number of each epoch, from 1."""
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
            "[plot_history] history must have at least one epoch. "
            f"Received: {dict(logs)}. Try fit(..., epochs=10)."
        )
    epochs = getattr(history, "epoch", None)
    if epochs is None or len(epochs) != count:
        epochs = range(count)
    return curves, np.asarray(epochs) + 1


def _check_curve(name: Any, values: Any) -> np.ndarray:
    """A metric's values, one per epoch."""
    try:
        curve = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        curve = np.zeros(())
    if curve.ndim != 1:
        raise TypeError(
            "[plot_history] history must have a list of numbers for each metric. "
            f"Received: {name!r}: {values!r}. Try the .history of what fit returned."
        )
    return curve


def _draw_metric(
    ax: Axes, name: str, curves: Mapping[str, np.ndarray], epochs: np.ndarray
) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn = [(name, "training" if f"val_{name}" in curves else name, COLOURS[0])]
    if f"val_{name}" in curves:
        drawn.append((f"val_{name}", "validation", COLOURS[1]))
    for key, label, colour in drawn:
        curve = curves[key]
        # with validation_freq=k, only every k-th epoch has a value
        stride = max(len(epochs) // max(len(curve), 1), 1)
        at = epochs[stride - 1 :: stride][: len(curve)]
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
    """Draw a ring at the best epoch, named in the legend."""
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
