"""Small charts of lines and points, as SVG and as text; they need no other package.

    chart = Chart("loss", "epoch")
    chart.line([1, 2, 3], [0.9, 0.4, 0.1], "loss")
    chart.svg(360, 220)
    chart.text(40, 8)

Text and grid take the colour of the text around the picture, so it stays readable on a
dark page; the colours of lines and points are readable on both.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

COLOURS = ("#3b8bd4", "#e8743b", "#3fa66b", "#b565c4", "#c9a227", "#d1495b")
GREY = "#8a8f98"

LOG_RANGE = 10.0
"""Positive values that differ by at least this factor get a logarithmic axis."""

MOST = 400
"""Vertices of a drawn line; more are not visible."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 24, 34
_BRAILLE = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


class _Series(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    label: str
    colour: str
    joined: bool


class Chart:
    """Lines and points over common axes. Values that are not finite are left out.

    Args:
        title: above the chart.
        x_label: below it.
        limits: (lowest, highest) of y; by default those of all series.
        logarithmic: whether y gets a logarithmic axis if its values span a large range.
    """

    def __init__(
        self,
        title: str,
        x_label: str,
        limits: tuple[float, float] | None = None,
        logarithmic: bool = False,
    ) -> None:
        self.title, self.x_label = title, x_label
        self._limits, self._logarithmic = limits, logarithmic
        self._series: list[_Series] = []

    def line(self, x: Any, y: Any, label: str = "", colour: int = 0) -> None:
        """Add a line through the points, in their order."""
        self._add(x, y, label, COLOURS[colour % len(COLOURS)], joined=True)

    def points(self, x: Any, y: Any, label: str = "", colour: str = GREY) -> None:
        """Add points."""
        self._add(x, y, label, colour, joined=False)

    def _add(self, x: Any, y: Any, label: str, colour: str, joined: bool) -> None:
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if len(x) > MOST:
            kept = np.linspace(0, len(x) - 1, MOST).astype(int)
            x, y = x[kept], y[kept]
        finite = np.isfinite(x) & np.isfinite(y)
        self._series.append(_Series(x[finite], y[finite], label, colour, joined))

    def _scaled(self) -> tuple[_Axis, _Axis]:
        """The axes."""
        x = np.concatenate([s.x for s in self._series] or [np.zeros(0)])
        y = np.concatenate([s.y for s in self._series] or [np.zeros(0)])
        if self._limits is not None:
            return _Axis(x), _Axis(np.array(self._limits))
        logarithmic = (
            self._logarithmic
            and len(y) > 0
            and y.min() > 0
            and y.max() >= LOG_RANGE * y.min()
        )
        return _Axis(x), _Axis(y, logarithmic)

    # ----------------------------------------------------------------- as SVG

    def svg(self, width: int, height: int) -> str:
        """The chart as an SVG element."""
        across, up = self._scaled()
        w, h = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-size="11" '
            'font-family="system-ui, sans-serif" style="max-width: 100%">'
        ]
        for value, place in across.ticks(max(w // 50, 2)):
            x = _LEFT + place * w
            parts.append(
                f'<path d="M{x:.1f} {_TOP}v{h}" stroke="{GREY}" stroke-opacity=".25"/>'
                f'<text x="{x:.1f}" y="{_TOP + h + 14}" text-anchor="middle" '
                f'fill="currentColor">{value}</text>'
            )
        for value, place in up.ticks(max(h // 40, 2)):
            y = _TOP + (1 - place) * h
            parts.append(
                f'<path d="M{_LEFT} {y:.1f}h{w}" stroke="{GREY}" '
                'stroke-opacity=".25"/>'
                f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" '
                f'fill="currentColor">{value}</text>'
            )
        # an inner SVG cuts off what lies outside
        parts.append(
            f'<svg x="{_LEFT}" y="{_TOP}" width="{w}" height="{h}" fill="none" '
            'stroke-linecap="round" stroke-linejoin="round">'
        )
        parts += [
            _path(s, across.places(s.x) * w, (1 - up.places(s.y)) * h)
            for s in self._series
            if len(s.x)
        ]
        parts.append("</svg>")
        legend = "".join(
            f'<tspan fill="{s.colour}" dx="8">●</tspan>'
            f'<tspan dx="3">{html.escape(s.label)}</tspan>'
            for s in self._series
            if s.label
        )
        parts.append(
            f'<text x="{_LEFT}" y="14" fill="currentColor"><tspan font-weight="600">'
            f"{html.escape(self.title)}</tspan>{legend}</text>"
            f'<text x="{_LEFT + w / 2:.1f}" y="{height - 4}" text-anchor="middle" '
            f'fill="currentColor">{html.escape(self.x_label)}</text></svg>'
        )
        return "".join(parts)

    # ---------------------------------------------------------------- as text

    def text(self, columns: int, rows: int, unicode: bool = True) -> list[str]:
        """The chart as lines of exactly `columns` characters: the title, `rows` of
        dots, and the range of x.

        Args:
            unicode: whether Braille characters can be shown; they hold eight dots each.
        """
        across, up = self._scaled()
        labels = {0: up.written(1.0), rows - 1: up.written(0.0)}
        margin = max(map(len, labels.values())) + 1
        width = max(columns - margin - 1, 4)
        across_by, down_by = (2, 4) if unicode else (1, 1)
        cells: np.ndarray = np.zeros((rows, width), np.int64)
        for number, s in enumerate(self._series):
            x, y = across.places(s.x), up.places(s.y)
            if s.joined and len(x) > 1:
                steps = np.linspace(0, len(x) - 1, 8 * width)
                x = np.interp(steps, np.arange(len(x)), x)
                y = np.interp(steps, np.arange(len(y)), y)
            inside = (y >= 0) & (y <= 1)
            column = np.rint(x[inside] * (across_by * width - 1)).astype(int)
            row = np.rint((1 - y[inside]) * (down_by * rows - 1)).astype(int)
            for c, r in zip(column.tolist(), row.tolist(), strict=True):
                if unicode:
                    dot = _BRAILLE[c % 2][r % 4]
                    cells[r // 4, c // 2] |= dot
                else:
                    cells[r, c] = ord("*o+x"[number % 4] if s.joined else ".")
        base, empty = (0x2800, " ") if unicode else (0, " ")
        bar = "│" if unicode else "|"
        lines = [" " * margin + bar + _plain(self.title)]
        for r in range(rows):
            dots = "".join(chr(base + c) if c else empty for c in cells[r].tolist())
            lines.append(f"{labels.get(r, ''):>{margin}}{bar}{dots}")
        left, right = across.written(0.0), across.written(1.0)
        label = _plain(self.x_label)
        room = max(width - len(left) - len(right), len(label) + 2)
        lines.append(" " * (margin + 1) + left + label.center(room) + right)
        return [line[:columns].ljust(columns) for line in lines]


class _Axis:
    """A linear or logarithmic axis over the range of the values."""

    def __init__(self, values: np.ndarray, logarithmic: bool = False) -> None:
        self.logarithmic = logarithmic
        scaled = np.log10(values) if logarithmic else values
        low, high = (
            (float(scaled.min()), float(scaled.max())) if len(scaled) else (0.0, 1.0)
        )
        if not high - low > 1e-9 * max(abs(low), abs(high)):
            half = 0.5 * abs(low) or 0.5
            low, high = low - half, high + half
        self.low, self.high = low, high

    def places(self, values: np.ndarray) -> np.ndarray:
        """Where the values lie: 0 at the lower end, 1 at the upper."""
        scaled = np.log10(values) if self.logarithmic else values
        return (scaled - self.low) / (self.high - self.low)

    def written(self, place: float) -> str:
        value = self.low + place * (self.high - self.low)
        return f"{10**value if self.logarithmic else value:.3g}"

    def ticks(self, most: int) -> list[tuple[str, float]]:
        """Round values within the axis, as text, and their positions."""
        span = self.high - self.low
        if self.logarithmic:
            step = float(max(1, math.ceil(span / most)))
        else:
            rough = span / most
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        if self.logarithmic and last - first < 1:
            return [(self.written(p), p) for p in (0.0, 1.0)]
        values = [i * step for i in range(first, last + 1)]
        return [
            (f"{10**v if self.logarithmic else v:.6g}", (v - self.low) / span)
            for v in values
        ]


def _path(series: _Series, x: np.ndarray, y: np.ndarray) -> str:
    """A line, or dots, which are lines of no length with round ends."""
    places = np.clip(np.column_stack([x, y]), -1e4, 1e4).round(1).tolist()
    if series.joined and len(places) > 1:
        path = "M" + "L".join(f"{a} {b}" for a, b in places)
        return f'<path d="{path}" stroke="{series.colour}" stroke-width="2"/>'
    path = "".join(f"M{a} {b}h0" for a, b in places)
    return (
        f'<path d="{path}" stroke="{series.colour}" stroke-opacity=".6" '
        'stroke-width="5"/>'
    )


def _plain(text: str) -> str:
    """Without control characters, which could move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def side_by_side(charts: Sequence[list[str]]) -> list[str]:
    """Charts as text, of equal heights, next to each other."""
    return [" ".join(lines).rstrip() for lines in zip(*charts, strict=True)]
