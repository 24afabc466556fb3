"""`kurve fit --cv 5`: how much the scores vary between parts of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from kurve.assessment import assess, number
from kurve.cli.splitting import Split


@dataclass(frozen=True)
class Validation:
    """The scores of the models of each fold on the rows of the fold.

    target: the target
    scores: by name, the value of each fold
    """

    target: str
    scores: dict[str, list[float]]

    def text(self) -> str:
        """A table: mean, deviation and the value of each fold."""
        folds = len(next(iter(self.scores.values())))
        rows = [[f"{self.target}, {folds} folds", "mean", "deviation", "each"]]
        for name, values in self.scores.items():
            known = np.array(values, float)
            each = " ".join(number(v, 3) for v in values)
            spread = known.std(ddof=1)
            rows.append([f"  {name}", number(known.mean()), number(spread, 2), each])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(f"{c:<{n}}" for c, n in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def summary(self) -> str:
        """The first scores as mean and deviation."""
        parts = []
        for name, values in list(self.scores.items())[:3]:
            known = np.array(values, float)
            spread = number(known.std(ddof=1), 2)
            parts.append(f"{name} {number(known.mean())} ± {spread}")
        return ", ".join(parts)


def validate(
    make: Callable[[], Any],
    split: Split,
    targets: list[str],
    classes: bool,
    options: Any,
) -> list[Validation]:
    """Train a new model for each fold, on all other rows of the file.

    Args:
        make: makes an estimator that is not fitted.
        split: the rows, of a file that was read at once.
        classes: whether the target is a class.
        options: the command's options.
    """
    import pyarrow

    x, y = split.x, split.y
    groups = split.groups
    if split.test_x is not None and options["test_path"] is None:
        x = pyarrow.concat_tables([x, split.test_x])
        y = np.concatenate([y, split.test_y])
    found: dict[str, dict[str, list[float]]] = {name: {} for name in targets}
    last, seed = options["holdout"][1], options["seed"]
    for train, test in folds(y, options["cv"], seed, classes, groups, last):
        model = make().fit(x.take(train), y[train])
        part = x.take(test), y[test], targets, (x.take(train), y[train])
        for target, each in assess(model, *part, options["coverage"]).items():
            for score in each.scores["model"]:
                found[target].setdefault(score.name, []).append(score.value)
    return [
        Validation(target, {k: v for k, v in scores.items() if len(v) == options["cv"]})
        for target, scores in found.items()
    ]


def folds(
    y: np.ndarray,
    count: int,
    seed: int,
    classes: bool,
    groups: np.ndarray | None,
    last: bool,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The training rows and the test rows of each fold.

    Args:
        classes: keep the shares of the classes in each fold.
        groups: (n,), rows of one group are in one fold.
        last: the test rows of each fold come after its training rows.
    """
    rows = len(y)
    if last:
        ends = np.linspace(0, rows, count + 2).astype(int)[1:]
        for start, stop in pairwise(ends.tolist()):
            yield np.arange(start), np.arange(start, stop)
        return
    random = np.random.default_rng(seed)
    order = random.permutation(rows)
    if groups is not None:
        _, numbers = np.unique(groups.astype(str), return_inverse=True)
        place = random.permutation(numbers.max() + 1) % count
        fold = place[numbers]
    else:
        fold = np.empty(rows, int)
        if classes:
            order = order[np.argsort(y[order].astype(str), kind="stable")]
        fold[order] = np.arange(rows) % count
    for k in range(count):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)
