"""Helpers shared by all plots: colours, Axes, panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.charts import COLOURS, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes(where: str, ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The given Axes, or those of a new figure."""
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError(
            f"[{where}] plots need matplotlib, which is not installed. "
            f'Received: {error}. Try pip install "kurve[plot]".'
        ) from None
    if ax is None:
        return pyplot.subplots(figsize=size, layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(
            f"[{where}] ax must be a matplotlib Axes. Received: an object of type "
            f"{type(ax).__name__}. Try ax=plt.gca()."
        )
    return ax


def divide(ax: Axes, heights: Sequence[float]) -> list[Axes]:
    """Divide the area of `ax` into stacked panels; `ax` is the first."""
    if len(heights) == 1:
        return [ax]
    figure = ax.get_figure()
    assert figure is not None
    grid = _area(ax).subgridspec(len(heights), 1, height_ratios=heights)
    ax.set_subplotspec(grid[0])
    below = range(1, len(heights))
    panels = [ax, *(figure.add_subplot(grid[i], sharex=ax) for i in below)]
    figure.align_ylabels(panels)
    return panels


def grid(ax: Axes, count: int, width: int) -> list[Axes]:
    """Divide the area of `ax` into panels, `width` per row; `ax` is the first."""
    if count == 1:
        return [ax]
    figure = ax.get_figure()
    assert figure is not None
    grid = _area(ax).subgridspec(-(-count // width), width)
    ax.set_subplotspec(grid[0, 0])
    cells = [divmod(i, width) for i in range(1, count)]
    return [ax, *(figure.add_subplot(grid[i, j], sharey=ax) for i, j in cells)]


def _area(ax: Axes) -> Any:
    """The grid cell that contains `ax`."""
    cell = ax.get_subplotspec()
    if cell is not None:
        return cell
    # Manually positioned Axes: a grid over the same rectangle.
    figure, box = ax.get_figure(), ax.get_position()
    assert figure is not None
    sides = {"left": box.x0, "right": box.x1, "bottom": box.y0, "top": box.y1}
    return figure.add_gridspec(1, 1, **sides)[0]


def tidy(ax: Axes, legend: bool = True) -> None:
    """The look of all panels: no box, a faint grid, the legend above the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color=GREY, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    if legend:
        ax.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=3,
            frameon=False,
            borderaxespad=0.2,
            columnspacing=1.4,
            handlelength=1.4,
        )


def ink() -> Any:
    """The text colour of the current style."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def points(ax: Axes, across: np.ndarray, values: np.ndarray, label: str | None) -> None:
    """Draw the points of each output in the colour of its prediction."""
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
            label=None if label is None else numbered(label, number, count),
        )


def numbered(name: str, number: int, count: int) -> str:
    return name if count == 1 else f"{name} {number + 1}"
