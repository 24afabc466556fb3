"""What can be seen in x and y alone: leaks, copies, constant columns, outliers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kurve.diagnosis.context import GOOD, Context
from kurve.diagnosis.report import Finding, listing, share
from kurve.kinds import LOSSES

SORTED_ROWS = 5000
"""Rows that ranks are taken of: the error of a rank correlation of 0.999 is then below
0.0001, and a hundred columns are sorted in a tenth of a second."""

LEAK = 0.999
"""Correlation from which an input counts as a copy of a target. A measurement that
determines the target to 4 % of its deviation has 0.9992. The highest of the nine UCI
sets are 0.948 (power-plant) and, in ranks, 0.9965 (yacht)."""

FEW_ROWS = 10
"""With fewer rows, correlations near 1 come about by chance."""

PAIRS_COLUMNS = 500
"""Columns compared pair by pair: more make a table of over 2 MB of correlations."""

SAME_COLUMN = 1.0 - 1e-9
"""Correlation of two columns that are the same but for unit and zero point, after
rounding in float64; measurements of the same thing by two instruments stay below."""


def leakage(context: Context) -> Iterator[Finding]:
    """An input that is the target in another dress: r or rank correlation near 1, or
    constant within every class. With one input alone that is the very function to be
    learnt, and no leak."""
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
        for each in (lambda a: a, _ranks):
            for i, j in np.argwhere(np.abs(_correlations(each(x), each(y))) > LEAK):
                r = abs(float(_correlations(each(x[:, [i]]), each(y[:, [j]]))[0, 0]))
                leaks[names[i]] = max(leaks.get(names[i], 0.0), r)
    if leaks:
        found = list(leaks)
        yield Finding(
            "leakage",
            "serious",
            f"{listing(found)} {'is' if len(found) == 1 else 'are'} the target in "
            "another form: one input alone tells the answer. If it is not known when "
            "you predict, the model will be of no use then.",
            {f"correlation of {name}": leaks[name] for name in found[:5]},
            f"x = np.delete(x, {sorted(names.index(name) for name in found)}, axis=1)",
        )


def duplicate_rows(context: Context) -> Iterator[Finding]:
    """Rows that are there more than once, answer and all. From 1 % on: below, their
    effect on an error is lost in its own spread."""
    rows = context.rows
    keys = _keys(rows.columns, rows.y)
    copies = len(keys) - len(np.unique(keys))
    part = copies / len(keys)
    # A single input with few values repeats by itself.
    if part >= 0.01 and rows.columns.shape[1] > 1:
        yield Finding(
            "duplicate_rows",
            "warning" if part >= 0.2 else "note",
            f"{share(part)} of the rows are copies of others, answer and all. They "
            "count several times in training, and a random split puts copies of the "
            "same row on both sides, so that the validation error looks too good.",
            {"copies": copies, "rows": len(keys)},
            "kept = np.unique(np.c_[x, y], axis=0, return_index=True)[1]; "
            "x, y = x[kept], y[kept]",
        )
    if context.validation is None:
        return
    other = _keys(context.validation.columns, context.validation.y)
    seen = np.isin(other, keys)
    part = float(seen.mean())
    # Each 1 % of known rows makes the error look 1 % better at most; from half of
    # them on the error says more of memory than of new data.
    if part >= 0.01:
        yield Finding(
            "rows_in_both",
            "serious" if part >= 0.5 else "warning",
            f"{share(part)} of the validation rows are in the training data too. The "
            "validation error looks better than the error on new data will be.",
            {"rows in both": int(seen.sum()), "validation rows": len(other)},
            "new = ~(x_val[:, None] == x).all(axis=-1).any(axis=1); "
            "x_val, y_val = x_val[new], y_val[new]",
        )


def useless_columns(context: Context) -> Iterator[Finding]:
    """Columns with one value, and columns that say what another one says."""
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
            f"{'changes' if len(which) == 1 else 'change'}, so nothing can be learnt "
            f"from {'it' if len(which) == 1 else 'them'}.",
            {"constant columns": len(which), "columns": len(names)},
            f"x = np.delete(x, {which.tolist()[:20]}, axis=1)",
        )
    changing = np.flatnonzero(~constant)
    if len(x) < FEW_ROWS or not 2 <= len(changing) <= PAIRS_COLUMNS:
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
            "Some inputs say the same as others, but for unit and zero point: "
            f"{listing([f'{names[j]} as {names[i]}' for i, j in pairs])}. They cost "
            "time and make the importance of inputs hard to read.",
            {"duplicate columns": len(later), "columns": len(names)},
            f"x = np.delete(x, {later[:20]}, axis=1)",
        )


OUTLIER = 10.0
"""Robust deviations (1.4826 x median of |y - median|) from which a target is an
outlier: a normal distribution does not reach them in any data set."""

OUTLIER_SHARE = 0.2
"""Share of the squared deviations that outliers must hold: then the squared error is
largely about them. 10,000 exponential targets have outliers with 3 %."""


def target_outliers(context: Context) -> Iterator[Finding]:
    """A few targets so far out that the squared error is mostly about them."""
    y = context.rows.targets
    if y is None or len(y) < 2 * FEW_ROWS:
        return
    middle = np.median(y, axis=0)
    away = np.abs(y - middle)
    scale = 1.4826 * np.median(away, axis=0)
    far = away > OUTLIER * np.where(scale > 0, scale, np.inf)
    squares = (y - y.mean(axis=0)) ** 2
    total = squares.sum(axis=0)
    held = (squares * far).sum(axis=0) / np.where(total > 0, total, 1.0)
    # More than one row in twenty is a second kind of rows, not an outlier.
    few = far.mean(axis=0) <= 0.05
    if not (few & (held > OUTLIER_SHARE)).any():
        return
    worst = int(np.argmax(held * few))
    left = context.unexplained
    learnt = left is not None and left < GOOD
    robust = context.loss is not None and LOSSES[context.loss.kind].robust
    count, i = int(far[:, worst].sum()), int(np.argmax(away[:, worst]))
    of = f" of target {worst}" if y.shape[1] > 1 else ""
    yield Finding(
        "target_outliers",
        "note" if robust or learnt else "warning",
        f"{count} of {len(y)} targets{of} lie more than {OUTLIER:g} robust deviations "
        f"from the median and hold {share(held[worst])} of all squared deviations. A "
        "squared error is mostly about them.",
        {
            "farthest": float(y[i, worst]),
            "in row": i,
            "median": float(middle[worst]),
            "robust deviation": float(scale[worst]),
        },
        'model.compile(optimizer="adam", loss="huber")  # y scaled to deviation 1',
    )


IMBALANCE = 10.0
"""Times that the largest class must outnumber the smallest: then always guessing the
largest of two is 91 % right and accuracy says little."""


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
            "of the smallest. Accuracy says little: always guessing the largest is "
            f"{share(counts.max() / len(labels))} right.",
            {"largest": int(counts.max()), "smallest": int(counts.min())},
            f"model.fit(x, y, class_weight={weights})",
        )


def _explained_by_class(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of each column's variance that lies between the classes, for classes with
    at least two rows; 0 for constant columns."""
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(counts) < 2 or (counts < 2).any():
        return np.zeros(x.shape[1])
    means = np.zeros((len(counts), x.shape[1]))
    np.add.at(means, index, x)
    within = (x - (means / counts[:, None])[index]).var(axis=0)
    total = x.var(axis=0)
    share = 1.0 - np.divide(within, total, where=total > 0, out=np.ones_like(total))
    return np.asarray(share)


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r of each column of a (n, A) with each of b (n, B): (A, B); 0 where a
    column is constant."""
    return np.asarray(_unit(a).T @ _unit(b))


def _unit(columns: np.ndarray) -> np.ndarray:
    centred = columns - columns.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    # What is left of a constant column is rounding.
    floor = 1e-12 * np.abs(columns).max(axis=0) * np.sqrt(len(columns))
    return np.asarray(centred / np.where(length > floor, length, np.inf))


def _ranks(columns: np.ndarray) -> np.ndarray:
    """Ranks down each column, equal values sharing the mean of theirs."""
    ranks = np.empty_like(columns)
    for j, column in enumerate(columns.T):
        _, index, counts = np.unique(column, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        ranks[:, j] = (ends - (counts - 1) / 2.0)[index]
    return ranks


def _keys(columns: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A 64-bit hash of the bits of all numbers of a row, -0 as 0: two different rows
    of a million have the same one with probability 3e-8."""
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
