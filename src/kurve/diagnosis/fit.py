"""Predictions against targets: constant output, mean, line, regions, new data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kurve.diagnosis.context import GOOD, Context
from kurve.diagnosis.network import NORMALIZE
from kurve.diagnosis.ops import is_linear
from kurve.diagnosis.report import Finding, share
from kurve.diagnosis.rows import Rows, unexplained


def not_trained(context: Context) -> Iterator[Finding]:
    if context.built and not context.trained:
        yield Finding(
            "not_trained",
            "note",
            "The model has its initial weights, so its predictions mean nothing yet.",
            {"steps": 0},
            "model.fit(x, y, epochs=100)",
        )


CONSTANT = 0.01
"""Deviation of a prediction in units of that of its target. With it R2 is at most
2 x 0.01 - 0.01^2 = 2 %, whatever the prediction follows."""


def constant_output(context: Context) -> Iterator[Finding]:
    rows = context.rows
    if not context.finite:
        yield Finding(
            "output_not_finite",
            "serious",
            "The model's output is not a number, or too large for one, on some rows: "
            "training threw the weights far out.",
            {},
            "model = model.clone()  # and compile with a tenth of the rate",
        )
    if rows.output is None or len(rows) < 2:
        return
    if rows.predicted is not None and rows.targets is not None:
        wanted, got = rows.targets.std(axis=0), rows.predicted.std(axis=0)
        flat = (wanted > 0) & (got < CONSTANT * wanted)
    elif rows.labels is not None and np.ptp(rows.labels) > 0:
        # Probabilities or logits; those of a useful model differ by far more.
        wanted, got = np.array([1.0]), rows.output.std(axis=0).max(keepdims=True)
        flat = got < 0.001
    else:
        return
    if flat.any():
        worst = int(np.argmax(flat))
        of = f"Output {worst}" if len(flat) > 1 else "The output"
        yield Finding(
            "constant_output",
            "serious",
            f"{of} is nearly the same for all rows, so the inputs have no effect on "
            "it. Causes: dead or saturated units, unscaled inputs, no training.",
            {
                "deviation of the output": float(got[worst]),
                "deviation of the target": float(wanted[worst]),
            },
            NORMALIZE,
        )


NO_BETTER = 0.05
"""R2 up to which the error is 97 % or more of that of the mean."""


def no_better_than_mean(context: Context) -> Iterator[Finding]:
    """R2 near 0 or below."""
    shares = context.rows.unexplained
    if shares is None or not context.trained or np.isnan(shares).all():
        return
    worst = int(np.nanargmax(shares))
    r2 = 1.0 - float(shares[worst])
    if r2 < NO_BETTER:
        of = f"output {worst} of the model" if len(shares) > 1 else "the model"
        yield Finding(
            "no_better_than_mean",
            "serious",
            f"On the data it was trained with, {of} is "
            f"{'worse' if r2 < 0 else 'hardly better'} than the mean of y for every "
            "row. Either it has not learnt, or x says nothing about y.",
            {"R2": r2},
            "model.fit(x, y, epochs=500)  # after mending what else is found",
        )


def no_better_than_line(context: Context) -> Iterator[Finding]:
    """Linear least squares on the same data is as good: judged on new data where there
    is some, else on the data itself, where the network should be far ahead."""
    rows = context.rows
    if rows.unexplained is None or not context.trained:
        return
    if all(is_linear(op) for op in context.ops):
        return
    n, count = rows.columns.shape
    if n < 2 * (count + 1):
        return
    assert rows.targets is not None
    judged = context.validation or rows
    if judged.targets is None or judged.unexplained is None:
        return
    line = _line(rows.columns, rows.targets, judged.columns)
    of_line = unexplained(judged.targets, line)
    ours = judged.unexplained
    known = np.isfinite(of_line) & np.isfinite(ours)
    if not known.any():
        return
    line_left, our_left = float(of_line[known].mean()), float(ours[known].mean())
    # Both perfect to five digits: nothing to choose.
    if line_left > our_left or our_left < 1e-5:
        return
    where = "validation" if judged is not rows else "data"
    yield Finding(
        "no_better_than_line",
        "warning" if line_left < 0.9 * our_left and our_left > GOOD else "note",
        f"A straight line by least squares has a "
        f"{'smaller' if line_left < 0.95 * our_left else 'no larger'} error than the "
        "network. Either the network has not learnt yet, or y is a linear function of "
        "x and the network is not needed.",
        {
            f"R2 of the line on the {where}": 1.0 - line_left,
            f"R2 of the network on the {where}": 1.0 - our_left,
        },
        "np.linalg.lstsq(np.c_[x, np.ones(len(x))], y)",
    )


def _line(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """What least squares on x (n, D) and y (n, T) predict at (m, D)."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    z = np.c_[(x - mean) / deviation, np.ones(len(x))]
    # Columns of deviation 1: the normal equations are exact enough, and cheap.
    weights = np.linalg.pinv(z.T @ z, rcond=1e-10, hermitian=True) @ (z.T @ y)
    return np.asarray(np.c_[(at - mean) / deviation, np.ones(len(at))] @ weights)


def no_better_than_majority(context: Context) -> Iterator[Finding]:
    """Accuracy of a classifier that always names the largest class, or less."""
    rows = context.rows
    if rows.accuracy is None or not context.trained:
        return
    assert rows.labels is not None and rows.guessed is not None
    counts = np.bincount(rows.labels)
    largest = counts.max() / len(rows)
    # Two standard errors: chance alone lifts one useless model in fifty above them.
    spread = 2.0 * np.sqrt(largest * (1.0 - largest) / len(rows))
    if largest == 1.0 or rows.accuracy > largest + spread:
        return
    # Where classes overlap and one is large, the best guess may always be that one
    # and the probabilities still say much: then the rows of the others rank higher.
    ranked = _auc(rows)
    useful = ranked is not None and ranked > 0.7
    yield Finding(
        "no_better_than_majority",
        "note" if useful else "serious",
        f"{share(rows.accuracy)} of the rows are right, and always naming class "
        f"{int(counts.argmax())} would be right in {share(largest)}."
        + (" Its probabilities do tell the classes apart." if useful else ""),
        {
            "accuracy": rows.accuracy,
            "share of the largest class": float(largest),
            "classes ever named": len(np.unique(rows.guessed)),
        },
        "model.fit(x, y, class_weight={...})"
        if largest > 0.8
        else "model.fit(x, y, epochs=500)  # after mending what else is found",
    )


def _auc(rows: Rows) -> float | None:
    """Probability that a row of a class has a higher output for it than another row,
    the mean over the classes."""
    assert rows.labels is not None and rows.output is not None
    output = rows.output
    if output.shape[1] == 1:
        output = np.c_[-output, output]
    areas = []
    for c in range(output.shape[1]):
        of_class = rows.labels == c
        if 0 < of_class.sum() < len(of_class):
            _, index, counts = np.unique(
                output[:, c], return_inverse=True, return_counts=True
            )
            rank = (np.cumsum(counts) - (counts - 1) / 2.0)[index]
            k, n = int(of_class.sum()), len(of_class)
            areas.append((rank[of_class].mean() - (k + 1) / 2.0) / (n - k))
    return float(np.mean(areas)) if areas else None


REGION_ROWS = 5000
BINS = 10
BIN_ROWS = 8
"""Rows that are looked at, parts that an input is cut into, rows of the smallest."""

RATIO = 2.0
REGION_LEFT = 0.25
PATTERN = 0.3
"""A region's squared error in units of that elsewhere and of the target's variance,
and the correlation of neighbouring errors: independent ones have 0 +- 1/sqrt(rows). The
article's runs have 12 and 130, 1.0 and 0.9, 0.98 and 0.99 beyond x = 4 and x = 6; noise
that grows along an input passes the first two, never the third."""


@dataclass(frozen=True)
class Region:
    """An end of one input's range where the errors are large.

    left, left_elsewhere: mean squared error there and elsewhere, in units of the
    target's variance; pattern: correlation of neighbouring errors there.
    """

    column: int
    target: int
    beyond: float
    above: bool
    left: float
    left_elsewhere: float
    pattern: float


def errors_by_region(context: Context) -> Iterator[Finding]:
    """Errors that grow along an input and follow a curve there, which noise does
    not."""
    region = worst_region(context.rows) if context.trained else None
    if region is None:
        return
    name = context.names[region.column]
    where = f"{name} {'>' if region.above else '<'} {region.beyond:.4g}"
    targets = context.rows.targets
    several = targets is not None and targets.shape[1] > 1
    target = f" of target {region.target}" if several else ""
    yield Finding(
        "errors_by_region",
        "serious" if region.left > 0.5 else "warning",
        f"For {where} the squared error{target} is "
        f"{region.left / max(region.left_elsewhere, 1e-12):.3g} times that elsewhere, "
        "and neighbouring errors are alike: there the model has not learnt the curve "
        "yet. Causes: unscaled inputs, too few steps, too few rows there.",
        {
            f"unexplained for {where}": share(region.left),
            "unexplained elsewhere": share(region.left_elsewhere),
            "correlation of neighbours": region.pattern,
        },
        NORMALIZE,
    )


def worst_region(rows: Rows) -> Region | None:
    """The end of an input's range that the model has learnt worst, if there is one."""
    if rows.predicted is None or rows.targets is None:
        return None
    total = rows.targets.var(axis=0)
    varied = np.flatnonzero(total > 0)
    stride = max(1, len(rows) // REGION_ROWS)
    errors = (rows.targets - rows.predicted)[::stride, varied] / np.sqrt(total[varied])
    if len(errors) < 4 * BIN_ROWS:
        return None
    found: list[Region] = []
    for column, values in enumerate(rows.columns[::stride].T):
        across, index, counts = np.unique(
            values, return_inverse=True, return_counts=True
        )
        cuts, before = _cuts(counts), np.append(0, np.cumsum(counts))
        for target, e in zip(varied, errors.T, strict=True):
            # Rows with equal inputs have no order: they count as one, of the size
            # that independent errors would give it.
            alike = np.bincount(index, e) / np.sqrt(counts)
            squares = np.append(0.0, np.cumsum(np.bincount(index, e**2)))
            for cut in cuts:
                below = float(squares[cut] / before[cut])
                beyond_it = float(
                    (squares[-1] - squares[cut]) / (before[-1] - before[cut])
                )
                for above in (True, False):
                    inside = slice(cut, None) if above else slice(None, cut)
                    left, other = (beyond_it, below) if above else (below, beyond_it)
                    if left < max(REGION_LEFT, RATIO * other):
                        continue
                    pattern = _pattern(alike[inside])
                    if pattern > max(PATTERN, 3.0 / np.sqrt(len(alike[inside]))):
                        beyond = float(across[cut - 1] + across[cut]) / 2.0
                        found.append(
                            Region(
                                column, int(target), beyond, above, left, other, pattern
                            )
                        )
    return max(found, key=lambda r: r.left - r.left_elsewhere, default=None)


def _cuts(counts: np.ndarray) -> list[int]:
    """Places to cut an input's distinct values at, tenths of the rows apart."""
    before = np.cumsum(counts)
    rows = int(before[-1])
    cuts = {int(np.searchsorted(before, i * rows / BINS)) + 1 for i in range(1, BINS)}
    return sorted(
        cut
        for cut in cuts
        if cut < len(counts) and BIN_ROWS <= before[cut - 1] <= rows - BIN_ROWS
    )


def _pattern(e: np.ndarray) -> float:
    """Correlation of neighbouring errors, around 0, so that a constant one counts."""
    squares = float((e**2).sum())
    if len(e) < BIN_ROWS or squares == 0.0:
        return 0.0
    return float((e[1:] * e[:-1]).sum() / squares)


GAP = 4.0
GAP_SIGMAS = 3.0
"""Squared error on new rows in units of that in training: the RMSE is doubled; the UCI
sets with 50 units have at most 3.0 (Boston, 455 rows). And standard errors beyond."""


def overfitting(context: Context) -> Iterator[Finding]:
    """New rows are predicted far worse than those of the training."""
    rows, other = context.rows, context.validation
    if other is not None and other.output is not None and context.trained:
        yield from _gap(context, rows, other)
        return
    yield from _rising(context)


def _gap(context: Context, rows: Rows, other: Rows) -> Iterator[Finding]:
    mine, new = _row_errors(rows), _row_errors(other)
    if mine is None or new is None:
        return
    ratio = float(new.mean() / max(mine.mean(), 1e-30))
    spread = np.sqrt(mine.var() / len(mine) + new.var() / len(new))
    sure = (new.mean() - mine.mean()) > GAP_SIGMAS * spread
    left = float(new.mean())
    if ratio < GAP or not sure or left < 0.01:
        return
    what = "wrong rows" if rows.labels is not None else "unexplained"
    yield Finding(
        "overfitting",
        "serious" if left > 0.9 else "warning",
        f"On new rows the error is {ratio:.3g} times that on the training data: the "
        "model has learnt its rows by heart.",
        {
            f"{what} on the training data": share(float(mine.mean())),
            f"{what} on the validation data": share(left),
        },
        _STOP,
    )


_STOP = (
    "model.fit(x, y, validation_split=0.2, epochs=500, callbacks=[\n"
    "    callbacks.EarlyStopping(patience=20, restore_best_weights=True)])"
)


def _row_errors(rows: Rows) -> np.ndarray | None:
    """Squared error of each row in units of the variance, or whether it is wrong."""
    if rows.labels is not None and rows.guessed is not None:
        return (rows.labels != rows.guessed).astype(np.float64)
    if rows.targets is None or rows.predicted is None:
        return None
    total = rows.targets.var(axis=0)
    known = total > 0
    if not known.any():
        return None
    errors = (rows.targets - rows.predicted)[:, known] ** 2 / total[known]
    return np.asarray(errors.mean(axis=1))


RISE = 1.25
"""Times its lowest value (medians of 5 epochs) that the validation loss must have
reached. After 200 epochs UCI sets have 1.0 to 1.1, and Boston, which overfits, 1.3;
what is next to nothing on the scale of the targets does not count."""


def _rising(context: Context) -> Iterator[Finding]:
    """From the history: the validation loss rises while the training loss falls."""
    history = context.model.history
    logs = {} if history is None else history.history
    loss = np.asarray(logs.get("loss", ()), np.float64)
    new = np.asarray(logs.get("val_loss", ()), np.float64)
    if len(new) < 5 or len(new) != len(loss) or not np.isfinite([loss, new]).all():
        return
    smooth = np.array([np.median(new[max(0, i - 2) : i + 3]) for i in range(len(new))])
    best = int(smooth.argmin())
    last = float(np.median(new[-5:]))
    if smooth[best] <= 0 or last < RISE * smooth[best] or loss[-1] > 0.8 * loss[best]:
        return
    if last < GOOD * (context.loss_of_zero() or new[0]):
        return
    yield Finding(
        "overfitting",
        "serious" if last > 3.0 * smooth[best] else "warning",
        f"The validation loss was lowest in epoch {best + 1} of {len(new)} and has "
        f"risen to {last / smooth[best]:.3g} times that since, while the training loss "
        "fell: from there on the model learnt its rows by heart.",
        {
            "lowest validation loss": float(new.min()),
            "last validation loss": float(new[-1]),
            "last training loss": float(loss[-1]),
        },
        _STOP,
    )


CHECKS = (
    not_trained,
    constant_output,
    no_better_than_mean,
    no_better_than_line,
    no_better_than_majority,
    errors_by_region,
    overfitting,
)
