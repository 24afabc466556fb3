"""The layout of a model's diagram."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kurve.plots.pictures import Box, Drawing, Picture

ACROSS, ALONG = 26.0, 44.0
"""Space between the boxes of a rank, and between ranks."""


def placed(drawing: Drawing, rankdir: str) -> Picture:
    """The layout: one rank after another; within a rank, each box is near those it is
    connected to. Edges over several ranks get a slot in each."""
    boxes = list(drawing.boxes)
    routes: list[list[int]] = []
    for source, target in drawing.edges:
        route = [source]
        for rank in range(boxes[source].rank + 1, boxes[target].rank):
            frames = _common(boxes[source].frames, boxes[target].frames)
            boxes.append(Box([], "bend", rank, frames))
            route.append(len(boxes) - 1)
        routes.append([*route, target])
    ranks: list[list[int]] = [[] for _ in range(1 + max(b.rank for b in boxes))]
    for i, box in enumerate(boxes):
        ranks[box.rank].append(i)
    above: dict[int, list[int]] = {i: [] for i in range(len(boxes))}
    below: dict[int, list[int]] = {i: [] for i in range(len(boxes))}
    for route in routes:
        for one, other in pairwise(route):
            if boxes[one].rank < boxes[other].rank:
                above[other].append(one)
                below[one].append(other)
    flat = rankdir in ("LR", "RL")

    def across(box: Box) -> float:
        return box.height if flat else box.width

    def along(box: Box) -> float:
        return box.width if flat else box.height

    centre = dict.fromkeys(range(len(boxes)), 0.0)
    for turn in range(6):
        down = turn % 2 == 0
        for members in ranks if down else reversed(ranks):
            near = above if down else below
            wish = {
                i: sum(centre[j] for j in near[i]) / len(near[i])
                if near[i]
                else centre[i]
                for i in members
            }
            members.sort(key=lambda i, wish=wish: (wish[i], boxes[i].frames))  # type: ignore[misc]
            _spread(members, wish, centre, [across(boxes[i]) for i in members])
    depth, start = {}, 0.0
    for number, members in enumerate(ranks):
        thick = max((along(boxes[i]) for i in members), default=0.0)
        depth[number] = start + thick / 2
        for i in members:
            boxes[i].room = thick
        start += thick + ALONG
    low = min(centre[i] - across(b) / 2 for i, b in enumerate(boxes))
    high = max(centre[i] + across(b) / 2 for i, b in enumerate(boxes))
    back = any(boxes[s].rank >= boxes[t].rank for s, t in drawing.edges)
    border = 24.0 + 8.0 * max((len(box.frames) for box in boxes), default=0)
    extent = (high - low + 2 * border + 30.0 * back, start - ALONG + 2 * border)
    for i, box in enumerate(boxes):
        u, v = centre[i] - low + border, depth[box.rank] + border
        if rankdir in ("BT", "RL"):
            v = extent[1] - v
        box.x, box.y = (v, u) if flat else (u, v)
    lines = [_line([boxes[i] for i in route], rankdir) for route in routes]
    size = (extent[1], extent[0]) if flat else extent
    visible = [box for box in boxes if box.lines]
    return Picture(visible, lines, _frames(drawing, visible), size)


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a for a, b in zip(one, other, strict=False) if a == b)


def _spread(
    rank: Sequence[int],
    wish: dict[int, float],
    centre: dict[int, float],
    sizes: Sequence[float],
) -> None:
    """Place the boxes of a rank near their preferred positions without overlap:
    neighbours that would overlap are spread around the mean of those positions."""
    groups: list[tuple[list[int], float, float]] = []  # boxes, centre, size
    for i, size in zip(rank, sizes, strict=True):
        groups.append(([i], wish[i], size + ACROSS))
        while len(groups) > 1:
            (a, x, w), (b, y, v) = groups[-2:]
            if x + w / 2 <= y - v / 2 + 1e-9:
                break
            # The centre nearest to all preferred positions.
            middle = ((x - v / 2) * len(a) + (y + w / 2) * len(b)) / (len(a) + len(b))
            groups[-2:] = [(a + b, middle, w + v)]
    by_box = dict(zip(rank, sizes, strict=True))
    for members, middle, size in groups:
        start = middle - size / 2
        for i in members:
            centre[i] = start + (by_box[i] + ACROSS) / 2
            start += by_box[i] + ACROSS


def _line(route: list[Box], rankdir: str) -> list[tuple[float, float]]:
    """The points of a line from the border of one box to another's."""
    first, last = route[0], route[-1]
    flat = rankdir in ("LR", "RL")
    sign = -1.0 if rankdir in ("BT", "RL") else 1.0
    if first.rank >= last.rank:  # a layer called again: around the side
        if flat:
            side = max(first.y + first.height / 2, last.y + last.height / 2) + 22
            return [
                (first.x, first.y + first.height / 2),
                (first.x, side),
                (last.x - 8, side),
                (last.x - 8, last.y + last.height / 2),
            ]
        side = max(first.x + first.width / 2, last.x + last.width / 2) + 22
        return [
            (first.x + first.width / 2, first.y + 5),
            (side, first.y + 5),
            (side, last.y - 5),
            (last.x + last.width / 2, last.y - 5),
        ]
    bends = []
    for box in route[1:-1]:  # straight through the rank
        for half in (-sign * box.room / 2, sign * box.room / 2):
            bends.append((box.x + half, box.y) if flat else (box.x, box.y + half))
    if flat:
        start = (first.x + sign * first.width / 2, first.y)
        return [start, *bends, (last.x - sign * last.width / 2, last.y)]
    start = (first.x, first.y + sign * first.height / 2)
    return [start, *bends, (last.x, last.y - sign * last.height / 2)]


def _frames(
    drawing: Drawing, boxes: Sequence[Box]
) -> list[tuple[str, float, float, float, float]]:
    frames = []
    for number, name in enumerate(drawing.frames):
        inside = [box for box in boxes if number in box.frames]
        if not inside:
            continue
        deeper = max(len(b.frames) - b.frames.index(number) for b in inside)
        room = 4.0 + 7.0 * deeper
        left = min(b.x - b.width / 2 for b in inside) - room
        top = min(b.y - b.height / 2 for b in inside) - room - 6
        right = max(b.x + b.width / 2 for b in inside) + room
        bottom = max(b.y + b.height / 2 for b in inside) + room
        frames.append((name, left, top, right - left, bottom - top))
    return frames
