"""Model diagrams as SVG, or as PNG with matplotlib."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

CHARACTER, LINE, MARGIN = 7.2, 18.0, 10.0
"""Character width, line height and padding of a box."""


@dataclass
class Box:
    """A layer, or (without text) the bend of an edge that passes its rank.

    frames: the enclosing models, outermost first
    room:   size of its rank, in the direction of the ranks
    """

    lines: list[str]
    kind: str = "layer"
    rank: int = 0
    frames: tuple[int, ...] = ()
    room: float = 0.0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        longest = max((len(line) for line in self.lines), default=0)
        return longest * CHARACTER + 2 * MARGIN if self.lines else 4.0

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + MARGIN if self.lines else 4.0


@dataclass
class Drawing:
    """The boxes of a model, before layout."""

    boxes: list[Box] = field(default_factory=list)
    edges: dict[tuple[int, int], None] = field(default_factory=dict)
    frames: list[str] = field(default_factory=list)


@dataclass
class Picture:
    """Boxes with positions, edges as polylines, and frames of nested models.

    Notebooks display it.
    """

    boxes: list[Box]
    lines: list[list[tuple[float, float]]]
    frames: list[tuple[str, float, float, float, float]]
    size: tuple[float, float]

    def _repr_svg_(self) -> str:
        return svg(self)


FILLS = {
    "input": "#e8f0e4",
    "layer": "#e6eef8",
    "model": "#f3e9f7",
    "function": "#f7f3e3",
}
INK, LINES, FRAME = "#1f2937", "#64748b", "#94a3b8"


def svg(picture: Picture) -> str:
    """The diagram as SVG."""
    width, height = picture.size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.1f} {height:.1f}" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="12">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{LINES}"/>'
        "</marker></defs>",
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="white"/>',
    ]
    for name, x, y, w, h in picture.frames:
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" '
            f'fill="none" stroke="{FRAME}" stroke-dasharray="4 3"/>'
            f'<text x="{x + 5:.1f}" y="{y + 9:.1f}" font-size="9" fill="{LINES}">'
            f"{html.escape(name)}</text>"
        )
    for points in picture.lines:
        path = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(
            f'<path d="M{path}" fill="none" stroke="{LINES}" marker-end="url(#head)"/>'
        )
    for box in picture.boxes:
        left, top = box.x - box.width / 2, box.y - box.height / 2
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
            f'height="{box.height:.1f}" rx="4" fill="{FILLS[box.kind]}" '
            f'stroke="{INK}"/>'
        )
        for i, line in enumerate(box.lines):
            bold = ' font-weight="bold"' if i == 0 else ""
            y = top + MARGIN / 2 + (i + 0.72) * LINE
            parts.append(
                f'<text x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle" '
                f'fill="{INK}"{bold}>{html.escape(line)}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


def png(picture: Picture, dpi: float) -> bytes:
    """The diagram as PNG, drawn by matplotlib."""
    import io

    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyBboxPatch
    except ImportError as error:
        raise ImportError(
            "[plot_model] a .png file is drawn by matplotlib, which is not installed. "
            "Try to_file='model.svg', or pip install 'kurve[plot]'."
        ) from error
    width, height = picture.size
    figure = Figure(figsize=(width / 96, height / 96))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    rounded = "round,pad=0,rounding_size=4"
    for name, x, y, w, h in picture.frames:
        axes.add_patch(
            FancyBboxPatch(
                (x, y),
                w,
                h,
                rounded,
                fill=False,
                edgecolor=FRAME,
                linestyle="--",
                linewidth=0.75,
            )
        )
        axes.text(x + 5, y + 9, name, fontsize=6.5, color=LINES, family="monospace")
    for points in picture.lines:
        *_, before, end = points
        axes.plot(*zip(*points, strict=True), color=LINES, linewidth=0.8)
        axes.annotate(
            "",
            end,
            before,
            arrowprops={
                "arrowstyle": "-|>",
                "color": LINES,
                "lw": 0.8,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
    for box in picture.boxes:
        left, top = box.x - box.width / 2, box.y - box.height / 2
        axes.add_patch(
            FancyBboxPatch(
                (left, top),
                box.width,
                box.height,
                rounded,
                facecolor=FILLS[box.kind],
                edgecolor=INK,
                linewidth=0.75,
                zorder=3,
            )
        )
        for i, line in enumerate(box.lines):
            axes.text(
                box.x,
                top + MARGIN / 2 + (i + 0.5) * LINE,
                line,
                ha="center",
                va="center",
                fontsize=8.6,
                color=INK,
                family="monospace",
                zorder=4,
                weight="bold" if i == 0 else "normal",
            )
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=dpi)
    return memory.getvalue()
