"""The figures of a report, as inline SVG.

Lines and text use the page's text colour (`currentColor`), so they are legible in light
and dark mode; text uses the page's font. Scatter plots with many points are one
embedded image.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.inspection import Calibration, Dependence, Importance, Reliability
from kurve.plots import COLOURS, GREY, plot_history
from kurve.report.decisions import Decisions

if TYPE_CHECKING:
    from markupsafe import Markup

INK = "#010203"
"""Marks what is drawn in currentColor; replaced in the SVG."""

PIXELS_PER_INCH = 104.0
"""Based on the largest figure width on a screen, so that text has the same size on the
whole page."""

RASTERIZED = 400
"""Number of points above which a scatter plot becomes an image."""

MAX_POINTS = 2000
"""Maximum number of points drawn; more only make the plot darker."""

LARGEST = 1e300
"""Largest numbers drawn; beyond, limits and ticks overflow."""

DATA, MODEL, OTHER, WARNING = GREY, COLOURS[0], COLOURS[2], COLOURS[1]


class Canvas:
    """A figure with axes; its settings apply only inside the `with` block."""

    def __init__(self, width: float, height: float, columns: int = 1) -> None:
        self._size, self._count = (width, height), columns

    def __enter__(self) -> Canvas:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        self._settings = matplotlib.rc_context()
        self._settings.__enter__()
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "kurve",
                "text.parse_math": False,
                "font.size": 9.5,
                "axes.titlesize": 10,
                "axes.edgecolor": INK,
                "axes.labelcolor": INK,
                "text.color": INK,
                "xtick.color": INK,
                "ytick.color": INK,
                "axes.linewidth": 0.6,
                "axes.formatter.useoffset": False,
                "savefig.dpi": 150,
            }
        )
        layout = ConstrainedLayoutEngine(wspace=0.07)
        self.figure = Figure(figsize=self._size, layout=layout)
        self.panels = list(self.figure.subplots(1, self._count, squeeze=False)[0])
        return self

    def __exit__(self, *what: Any) -> None:
        self._settings.__exit__(*what)

    def svg(self, description: str) -> Markup:
        """The figure as an HTML element."""
        from markupsafe import Markup, escape

        for ax in self.figure.axes:
            _tidy(ax)
        text = io.StringIO()
        keys = ("Date", "Creator", "Format", "Type")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # missing here, not on the page
            self.figure.savefig(
                text, format="svg", transparent=True, metadata=dict.fromkeys(keys)
            )
        svg = text.getvalue()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
        svg = re.sub(r' id="[A-Za-z_.0-9]+_\d+"', "", svg)
        size = f"max-width:{self._size[0] * PIXELS_PER_INCH:.0f}px"
        svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
        svg = svg.replace(INK, "currentColor")
        start = f'<svg role="img" style="{size}" aria-label="{escape(description)}" '
        return Markup(svg.replace("<svg ", start, 1).strip())


def _if_drawable(draw: Callable[..., Markup]) -> Callable[..., Markup]:
    """The figure, or a sentence if a number is too large to draw."""

    @functools.wraps(draw)
    def drawn(*arguments: Any) -> Markup:
        if any(map(_too_large, arguments)):
            from markupsafe import Markup

            note = "<p class=note>Not drawn: numbers beyond {:g}.</p>"
            return Markup(note).format(LARGEST)
        return draw(*arguments)

    return drawn


def _too_large(value: Any) -> bool:
    if dataclasses.is_dataclass(value):
        return any(map(_too_large, vars(value).values()))
    if isinstance(value, tuple):
        return any(map(_too_large, value))
    if isinstance(value, float | np.ndarray) and np.asarray(value).dtype.kind == "f":
        return bool((np.abs(value) > LARGEST).any())
    return False


@_if_drawable
def curve(
    x: np.ndarray,
    y: np.ndarray,
    test: tuple[np.ndarray, np.ndarray] | None,
    grid: np.ndarray,
    predicted: np.ndarray,
    bounds: np.ndarray | None,
    names: tuple[str, str],
    coverage: float,
) -> Markup:
    """One feature: the data, the curve with its interval, and the region without
    data."""
    with Canvas(7.2, 4.0) as canvas:
        ax = canvas.panels[0]
        low, high = float(np.nanmin(x)), float(np.nanmax(x))
        inside = (grid >= low) & (grid <= high)
        for i, (start, end) in enumerate(((grid[0], low), (high, grid[-1]))):
            label = "outside the data" if i == 0 else None
            ax.axvspan(start, end, color=WARNING, alpha=0.13, linewidth=0, label=label)
        _scatter(ax, x, y, DATA, "training data")
        if test is not None:
            _scatter(ax, *test, OTHER, "held-out data", hollow=True)
        if bounds is not None:
            label = f"{coverage:.0%} interval"
            low_end, high_end = bounds.T
            ax.fill_between(
                grid,
                low_end,
                high_end,
                color=MODEL,
                alpha=0.22,
                linewidth=0,
                label=label,
            )
        ax.plot(grid, predicted, color=MODEL, linewidth=2, label="prediction")
        ax.set(xlabel=names[0], ylabel=names[1], xlim=(grid[0], grid[-1]))
        shown = [y, predicted[inside], *([test[1]] if test is not None else [])]
        others = [predicted, *([] if bounds is None else bounds.T)]
        _keep_in_view(ax, np.concatenate(shown), np.concatenate(others))
        _legend(ax, 3)
        return canvas.svg(f"{names[1]} over {names[0]}: data and fitted curve")


@_if_drawable
def against_truth(
    truth: np.ndarray, predicted: np.ndarray, outside: np.ndarray | None, name: str
) -> Markup:
    """Several features: predicted against true."""
    with Canvas(4.6, 4.5) as canvas:
        ax = canvas.panels[0]
        both = np.concatenate([truth, predicted])
        room = 0.04 * float(np.ptp(both)) or 0.5
        ends = [float(both.min()) - room, float(both.max()) + room]
        ax.plot(ends, ends, color=INK, linewidth=0.9, label="perfect")
        inside = np.ones(len(truth), bool) if outside is None else ~outside
        _scatter(ax, truth[inside], predicted[inside], MODEL, "held-out rows")
        if not inside.all():
            label = "out of range"
            _scatter(ax, truth[~inside], predicted[~inside], WARNING, label)
        ax.set(xlabel=f"true {name}", ylabel=f"predicted {name}", xlim=ends, ylim=ends)
        ax.set_aspect("equal")
        _legend(ax, 3)
        return canvas.svg(f"predicted against true {name}")


@_if_drawable
def residuals(predicted: np.ndarray, errors: np.ndarray, name: str) -> Markup:
    """The residuals against the prediction, and their distribution."""
    with Canvas(7.2, 2.9, columns=2) as canvas:
        left, right = canvas.panels
        left.axhline(0.0, color=INK, linewidth=0.9)
        _scatter(left, predicted, errors, MODEL, None)
        left.set(xlabel=f"predicted {name}", ylabel="true minus predicted")
        bins = int(np.clip(2 * len(errors) ** (1 / 3), 8, 50))
        right.hist(errors, bins, density=True, color=MODEL, alpha=0.55, label="rows")
        mean, deviation = float(errors.mean()), float(errors.std())
        if deviation > 0:
            at = np.linspace(errors.min(), errors.max(), 200)
            bell = np.exp(-0.5 * ((at - mean) / deviation) ** 2)
            bell /= deviation * np.sqrt(2 * np.pi)
            right.plot(at, bell, color=INK, linewidth=1, label="normal distribution")
        right.set(xlabel="true minus predicted", yticks=[])
        _legend(right, 2)
        return canvas.svg(
            f"residuals of {name} against prediction, and their histogram"
        )


def history(curves: Mapping[str, Sequence[float]]) -> Markup:
    """The loss over the epochs."""
    with Canvas(
        6.4, 1.2 + 1.9 * len({n.removeprefix("val_") for n in curves})
    ) as canvas:
        plot_history(curves, ax=canvas.panels[0])
        return canvas.svg("loss over the epochs of training")


@_if_drawable
def importance(found: Importance, names: Sequence[str], most: int = 20) -> Markup:
    """One bar per feature, the most important at the top."""
    order = np.argsort(-found.mean, kind="stable")[:most][::-1]
    with Canvas(7.2, 0.9 + 0.27 * len(order)) as canvas:
        ax = canvas.panels[0]
        ax.barh(
            range(len(order)),
            found.mean[order],
            xerr=found.deviation[order],
            color=MODEL,
            height=0.68,
            error_kw={"ecolor": INK, "elinewidth": 0.9, "capsize": 2},
        )
        ax.axvline(0.0, color=INK, linewidth=0.9)
        ax.set_yticks(range(len(order)), [_short(names[i], 30) for i in order])
        ax.set_xlabel("decrease in score when the column is shuffled")
        return canvas.svg("permutation importance of the features")


@_if_drawable
def dependence(
    found: Dependence,
    data: np.ndarray,
    target: str,
    limits: tuple[float, float] | None = None,
) -> Markup:
    """The mean prediction over one feature, and the location of its data.

    Args:
        data: values of the feature in the training data.
        limits: smallest and largest prediction to show, so that figures can be
            compared.
    """
    with Canvas(2.75, 2.3) as canvas:
        ax = canvas.panels[0]
        several = found.mean.ndim > 1
        if found.grid.dtype.kind in "fiu":
            if not several:
                ax.fill_between(
                    found.grid,
                    found.low,
                    found.high,
                    color=MODEL,
                    alpha=0.18,
                    linewidth=0,
                )
            for k, mean in enumerate(found.mean.reshape(len(found.grid), -1).T):
                ax.plot(found.grid, mean, color=COLOURS[k], linewidth=1.9)
            marks = np.nanquantile(data.astype(float), np.linspace(0, 1, 11))
            across = ax.get_xaxis_transform()
            ax.vlines(marks, 0, 0.05, color=INK, linewidth=0.9, transform=across)
        else:
            places = np.arange(len(found.grid))
            if not several:
                ax.vlines(
                    places, found.low, found.high, color=MODEL, alpha=0.25, linewidth=9
                )
            for k, mean in enumerate(found.mean.reshape(len(places), -1).T):
                ax.plot(places, mean, "o", color=COLOURS[k], markersize=5.5)
            labels = [_short(str(value), 12) for value in found.grid]
            angle = 0 if sum(map(len, labels)) < 26 else 40
            ax.set_xticks(
                places, labels, rotation=angle, ha="right" if angle else "center"
            )
            ax.margins(x=0.15)
        if limits is not None:
            room = 0.06 * (limits[1] - limits[0]) or 0.5
            ax.set_ylim(limits[0] - 1.5 * room, limits[1] + room)
        ax.set(xlabel=_short(found.name, 36), ylabel=_short(target, 24))
        return canvas.svg(f"partial dependence of {target} on {found.name}")


@_if_drawable
def coverage(found: Calibration) -> Markup:
    """Actual against nominal coverage of the intervals."""
    with Canvas(4.4, 3.7) as canvas:
        ax = canvas.panels[0]
        at = 100 * found.levels
        spread = 200 * found.error
        _chance(ax, at, at - spread, at + spread)
        ax.plot(at, at, color=INK, linewidth=0.9, linestyle="--", label="perfect")
        _model_points(ax, at, 100 * found.covered)
        ax.set(xlabel="nominal coverage, %", ylabel="held-out rows inside, %")
        _legend(ax, 3)
        return canvas.svg("coverage of the intervals: nominal and observed")


def reliability(found: Reliability) -> Markup:
    """Observed frequencies against predicted probabilities."""
    with Canvas(4.4, 3.7) as canvas:
        ax = canvas.panels[0]
        ax.plot(
            [0, 1], [0, 1], color=INK, linewidth=0.9, linestyle="--", label="perfect"
        )
        spread = np.sqrt(found.promised * (1 - found.promised) / found.count)
        low = np.clip(found.promised - 2 * spread, 0, 1)
        high = np.clip(found.promised + 2 * spread, 0, 1)
        _chance(ax, found.promised, low, high)
        _model_points(ax, found.promised, found.happened)
        ax.set(xlabel="predicted probability", ylabel="observed frequency")
        _legend(ax, 3)
        return canvas.svg("reliability of the probabilities")


@_if_drawable
def roc(found: Decisions, name: str) -> Markup:
    """The ROC curve of a class."""
    with Canvas(4.4, 3.5) as canvas:
        ax = canvas.panels[0]
        ax.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle="--")
        ax.plot([0, *found.false], [0, *found.recall], color=MODEL, linewidth=1.6)
        ax.set(xlabel="false positive rate", ylabel=f"true positive rate of {name}")
        return canvas.svg("ROC curve")


@_if_drawable
def precision(found: Decisions) -> Markup:
    """Precision against recall of a class."""
    with Canvas(4.4, 3.5) as canvas:
        ax = canvas.panels[0]
        ax.axhline(
            found.share, color=INK, linewidth=0.9, linestyle="--", label="by chance"
        )
        label = f"average precision {found.average_precision:.3f}"
        ax.plot(found.recall, found.precision, color=MODEL, linewidth=1.6, label=label)
        ax.set(xlabel="recall", ylabel="precision", ylim=(0, 1.05))
        _legend(ax, 2)
        return canvas.svg("precision against recall")


def _chance(ax: Any, at: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """The band in which a perfect model lies."""
    label = "what chance allows"
    ax.fill_between(at, low, high, color=DATA, alpha=0.25, linewidth=0, label=label)


def _model_points(ax: Any, at: np.ndarray, values: np.ndarray) -> None:
    ax.plot(
        at, values, "o-", color=MODEL, linewidth=1.6, markersize=5, label="the model"
    )


def _scatter(
    ax: Any,
    x: np.ndarray,
    y: np.ndarray,
    colour: str,
    label: str | None,
    hollow: bool = False,
) -> None:
    step = max(-(-len(x) // MAX_POINTS), 1)
    x, y = x[::step], y[::step]
    many = len(x) > RASTERIZED
    ax.plot(
        x,
        y,
        linestyle="none",
        marker="o",
        color=colour,
        markersize=2.6 if many else 4.5,
        markerfacecolor="none" if hollow else colour,
        markeredgewidth=0.9 if hollow else 0,
        alpha=0.5 if many else 0.75,
        rasterized=many,
        label=label,
    )


def _keep_in_view(ax: Any, values: np.ndarray, others: np.ndarray) -> None:
    """Limits that show all values; the others can be cut off if they are far away."""
    low, high = float(np.min(values)), float(np.max(values))
    room = (high - low) or 1.0
    low = min(low, max(float(np.min(others)), low - 0.4 * room))
    high = max(high, min(float(np.max(others)), high + 0.4 * room))
    ax.set_ylim(low - 0.05 * room, high + 0.05 * room)


def _legend(ax: Any, columns: int) -> None:
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0.2,
        columnspacing=1.3,
        handlelength=1.3,
    )


def _tidy(ax: Any) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color=GREY, alpha=0.22, linewidth=0.6)
    ax.set_axisbelow(True)
    if ax.get_yscale() == "log":
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
