"""Checks of x and y alone: leaks, duplicates, constant columns, outliers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kurve.diagnosis.context import GOOD, Context
from kurve.diagnosis.report import Finding, listing, percent
from kurve.plan.kinds import facts_of_loss

SORTED_ROWS = 5000
"""Number of rows that are ranked: the error of a rank correlation of 0.999 is then
below 0.0001, and a hundred columns are sorted in a tenth of a second."""

LEAK = 0.999
"""Correlation from which an input counts as a copy of a target. A measurement that
determines the target to 4 % of its standard deviation has 0.9992. The highest in nine
UCI data sets are 0.948 (power-plant) and, of ranks, 0.9965 (yacht)."""

FEW_ROWS = 10
"""Minimum rows; with fewer, correlations near 1 occur by chance."""

MAX_PAIRED_COLUMNS = 500
"""Maximum columns for comparing all pairs: their correlations take 2 MB."""

SAME_COLUMN = 1.0 - 1e-9
"""Correlation, after rounding in float64, of two columns that differ in unit and zero
point only; two instruments that measure the same quantity stay below."""


def leakage(context: Context) -> Iterator[Finding]:
    """An input that is the target in another form: with a correlation or rank
    correlation near 1, or constant within every class. A model with only such an input
    has no leak: it is the function to learn."""
    rows, names = context.rows, context.names
    n, count = rows.columns.shape
    if count < 2 or n < FEW_ROWS:
        return
    x = rows.columns[:: max(1, n // SORTED_ROWS)]
    leaks: dict[str, float] = {}
    if rows.labels is not None:
        labels = rows.labels[:: max(1, n // SORTED_ROWS)]
        strength = _explained_by_class(x, labels)
        leaks = {names[i]: float(s) for i, s in enumerate(strength) if s > LEAK**2}
    elif rows.targets is not None:
        y = rows.targets[:: max(1, n // SORTED_ROWS)]
        for transform in (lambda a: a, _ranks):
            u, v = transform(x), transform(y)
            for i, j in np.argwhere(np.abs(_correlations(u, v)) > LEAK):
                r = abs(float(_correlations(u[:, [i]], v[:, [j]])[0, 0]))
                leaks[names[i]] = max(leaks.get(names[i], 0.0), r)
    if leaks:
        inputs = list(leaks)
        yield Finding(
            "leakage",
            "serious",
            f"{listing(inputs)} {'is' if len(inputs) == 1 else 'are'} the target in "
            "another form: one input alone gives the answer. If it is unknown at the "
            "time of prediction, the model will be useless then.",
            {f"correlation of {name}": leaks[name] for name in inputs[:5]},
            f"x = np.delete(x, {sorted(names.index(name) for name in inputs)}, axis=1)",
        )


def duplicate_rows(context: Context) -> Iterator[Finding]:
    """Rows that occur more than once, targets included. From 1 % on: with fewer, their
    effect on an error is below its statistical uncertainty."""
    rows = context.rows
    keys = _keys(rows.columns, rows.y)
    copies = len(keys) - len(np.unique(keys))
    fraction = copies / len(keys)
    # A single input with few values repeats naturally.
    if fraction >= 0.01 and rows.columns.shape[1] > 1:
        yield Finding(
            "duplicate_rows",
            "warning" if fraction >= 0.2 else "note",
            f"{percent(fraction)} of the rows are copies of others, targets included. "
            "They count several times in training, and a random split puts copies of "
            "the same row on both sides, so that the validation error looks too low.",
            {"copies": copies, "rows": len(keys)},
            "kept = np.unique(np.c_[x, y], axis=0, return_index=True)[1]; "
            "x, y = x[kept], y[kept]",
        )
    if context.validation is None:
        return
    other = _keys(context.validation.columns, context.validation.y)
    known = np.isin(other, keys)
    fraction = float(known.mean())
    # Each 1 % of known rows lowers the error by up to 1 %; from half of them on, the
    # error is more about the training data than about new data.
    if fraction >= 0.01:
        yield Finding(
            "rows_in_both",
            "serious" if fraction >= 0.5 else "warning",
            f"{percent(fraction)} of the validation rows are in the training data too. "
            "The validation error is lower than the error on new data will be.",
            {"rows in both": int(known.sum()), "validation rows": len(other)},
            "new = ~(x_val[:, None] == x).all(axis=-1).any(axis=1); "
            "x_val, y_val = x_val[new], y_val[new]",
        )


def useless_columns(context: Context) -> Iterator[Finding]:
    """Columns with a single value, and columns that duplicate others."""
    x, names = context.rows.columns, context.names
    if len(x) < 2:
        return
    constant = x.max(axis=0) == x.min(axis=0)
    if constant.any():
        which = np.flatnonzero(constant)
        yield Finding(
            "constant_columns",
            "serious" if constant.all() else "note",
            f"{listing([names[i] for i in which])} never "
            f"{'changes' if len(which) == 1 else 'change'}, so nothing can be learned "
            f"from {'it' if len(which) == 1 else 'them'}.",
            {"constant columns": len(which), "columns": len(names)},
            f"x = np.delete(x, {which.tolist()[:20]}, axis=1)",
        )
    changing = np.flatnonzero(~constant)
    if len(x) < FEW_ROWS or not 2 <= len(changing) <= MAX_PAIRED_COLUMNS:
        return
    r = np.abs(_correlations(x[:, changing], x[:, changing]))
    pairs = [
        (changing[i], changing[j]) for i, j in np.argwhere(np.triu(r, 1) > SAME_COLUMN)
    ]
    if pairs:
        later = sorted({int(j) for _, j in pairs})
        yield Finding(
            "duplicate_columns",
            "note",
            "Some inputs are the same as others, except for unit and zero point: "
            f"{listing([f'{names[j]} as {names[i]}' for i, j in pairs])}. They cost "
            "time and make the importance of inputs hard to interpret.",
            {"duplicate columns": len(later), "columns": len(names)},
            f"x = np.delete(x, {later[:20]}, axis=1)",
        )


OUTLIER = 10.0
"""Robust standard deviations (1.4826 times the median of |y - median|) from which a
target is an outlier: normal data never reaches them."""

OUTLIER_FRACTION = 0.2
"""Fraction of the sum of squared deviations that outliers must make up: then the
squared error is largely about them. Those of 10,000 exponential targets make up 3 %."""


def target_outliers(context: Context) -> Iterator[Finding]:
    """A few targets so far out that they dominate the squared error."""
    y = context.rows.targets
    if y is None or len(y) < 2 * FEW_ROWS:
        return
    # In units of the largest, so that no square overflows.
    largest = np.abs(y).max(axis=0)
    unit = np.where(largest > 0, largest, 1.0)
    y = y / unit
    middle = np.median(y, axis=0)
    away = np.abs(y - middle)
    scale = 1.4826 * np.median(away, axis=0)
    far = away > OUTLIER * np.where(scale > 0, scale, np.inf)
    squares = (y - y.mean(axis=0)) ** 2
    total = squares.sum(axis=0)
    fraction = (squares * far).sum(axis=0) / np.where(total > 0, total, 1.0)
    # More than one row in twenty is a second population, not outliers.
    few = far.mean(axis=0) <= 0.05
    if not (few & (fraction > OUTLIER_FRACTION)).any():
        return
    worst = int(np.argmax(fraction * few))
    left = context.unexplained
    good = left is not None and left < GOOD
    robust = context.loss is not None and facts_of_loss(context.loss.kind).robust
    count, i = int(far[:, worst].sum()), int(np.argmax(away[:, worst]))
    of = f" of target {worst}" if y.shape[1] > 1 else ""
    yield Finding(
        "target_outliers",
        "note" if robust or good else "warning",
        f"{count} of {len(y)} targets{of} lie more than {OUTLIER:g} robust standard "
        f"deviations from the median and make up {percent(fraction[worst])} of the sum "
        "of squared deviations: a squared error is mostly about them.",
        {
            "farthest": float(y[i, worst] * unit[worst]),
            "in row": i,
            "median": float(middle[worst] * unit[worst]),
            "robust std": float(scale[worst] * unit[worst]),
        },
        'model.compile(optimizer="adam", loss="huber")  # y scaled to std 1',
    )


IMBALANCE = 10.0
"""Factor by which the largest class must outnumber the smallest: of two, always naming
the largest then has an accuracy of 91 %, and accuracy means little."""


def class_imbalance(context: Context) -> Iterator[Finding]:
    labels = context.rows.labels
    if labels is None:
        return
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    if len(counts) > 1 and counts.max() >= IMBALANCE * counts.min():
        full = np.bincount(labels)
        weights = {
            int(c): round(len(labels) / (len(counts) * int(full[c])), 2)
            for c in np.flatnonzero(full)[:10]
        }
        yield Finding(
            "class_imbalance",
            "note",
            f"The largest class has {counts.max() / counts.min():.0f} times the rows "
            "of the smallest. Accuracy means little: always naming the largest gives "
            f"{percent(counts.max() / len(labels))}.",
            {"largest": int(counts.max()), "smallest": int(counts.min())},
            f"model.fit(x, y, class_weight={weights})",
        )


def _explained_by_class(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fraction of each column's variance that lies between the classes, if all classes
    have at least two rows; 0 for constant columns."""
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(counts) < 2 or (counts < 2).any():
        return np.zeros(x.shape[1])
    means = np.zeros((len(counts), x.shape[1]))
    np.add.at(means, index, x)
    within = (x - (means / counts[:, None])[index]).var(axis=0)
    total = x.var(axis=0)
    return 1.0 - np.divide(within, total, where=total > 0, out=np.ones_like(total))


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r of each column of a (n, A) with each of b (n, B): (A, B); 0 where a
    column is constant."""
    return np.asarray(_unit(a).T @ _unit(b))


def _unit(columns: np.ndarray) -> np.ndarray:
    centred = columns - columns.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    # A centred constant column is rounding error.
    floor = 1e-12 * np.abs(columns).max(axis=0) * np.sqrt(len(columns))
    return np.asarray(centred / np.where(length > floor, length, np.inf))


def _ranks(columns: np.ndarray) -> np.ndarray:
    """Ranks within each column; equal values get their mean rank."""
    ranks = np.empty_like(columns)
    for j, column in enumerate(columns.T):
        _, index, counts = np.unique(column, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        ranks[:, j] = (ends - (counts - 1) / 2.0)[index]
    return ranks


def _keys(columns: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each row's numbers, with -0 as 0: among a million rows, two
    different ones have the same hash with probability 3e-8."""
    table = np.c_[columns, y.reshape(len(y), -1).astype(np.float64)] + 0.0
    key = np.zeros(len(table), np.uint64)
    for column in np.ascontiguousarray(table.T).view(np.uint64):
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(32)
        key *= np.uint64(0xD6E8FEB86659FD93)
        key ^= key >> np.uint64(29)
    return key


CHECKS = (
    leakage,
    duplicate_rows,
    useless_columns,
    target_outliers,
    class_imbalance,
)
