"""Checks of predictions against targets: baselines, regions of error, new data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kurve.diagnosis.context import GOOD, Context
from kurve.diagnosis.network import NORMALIZE
from kurve.diagnosis.ops import is_linear
from kurve.diagnosis.report import Finding, percent
from kurve.diagnosis.rows import Rows, unexplained


def not_trained(context: Context) -> Iterator[Finding]:
    if context.built and not context.trained:
        yield Finding(
            "not_trained",
            "note",
            "The model has its initial weights; its predictions mean nothing yet.",
            {"steps": 0},
            "model.fit(x, y, epochs=100)",
        )


CONSTANT = 0.01
"""Standard deviation of a prediction over that of its target. R2 is then at most
2 x 0.01 - 0.01^2 = 2 %, whatever is predicted."""


def constant_output(context: Context) -> Iterator[Finding]:
    rows = context.rows
    if not context.finite:
        yield Finding(
            "output_not_finite",
            "serious",
            "The model's output is NaN or infinite on some rows, because training has "
            "diverged.",
            {},
            "model = model.clone()  # and compile with a tenth of the rate",
        )
    if rows.output is None or len(rows) < 2:
        return
    if rows.predicted is not None and rows.targets is not None:
        target_std, output_std = rows.targets.std(axis=0), rows.predicted.std(axis=0)
        flat = (target_std > 0) & (output_std < CONSTANT * target_std)
    elif rows.labels is not None and np.ptp(rows.labels) > 0:
        # Probabilities or logits; those of a useful model differ by far more.
        target_std = np.array([1.0])
        output_std = rows.output.std(axis=0).max(keepdims=True)
        flat = output_std < 0.001
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
                "std of the output": float(output_std[worst]),
                "std of the target": float(target_std[worst]),
            },
            NORMALIZE,
        )


NO_BETTER = 0.05
"""R2 at which the error is still 97 % of that of the mean."""


def no_better_than_mean(context: Context) -> Iterator[Finding]:
    """R2 near 0 or below."""
    left = context.rows.unexplained
    if left is None or not context.trained or np.isnan(left).all():
        return
    worst = int(np.nanargmax(left))
    r2 = 1.0 - float(left[worst])
    if r2 < NO_BETTER:
        of = f"output {worst} of the model" if len(left) > 1 else "the model"
        yield Finding(
            "no_better_than_mean",
            "serious",
            f"On the data it was trained on, {of} is "
            f"{'worse' if r2 < 0 else 'hardly better'} than predicting the mean of y "
            "for every row. Either it has not learned, or x does not determine y.",
            {"R2": r2},
            "model.fit(x, y, epochs=500)  # after fixing the other findings",
        )


def no_better_than_line(context: Context) -> Iterator[Finding]:
    """Linear least squares on the same data is as good: on validation data if there is
    any, else on the training data, where the network should be far ahead."""
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
    by_line, by_network = unexplained(judged.targets, line), judged.unexplained
    known = np.isfinite(by_line) & np.isfinite(by_network)
    if not known.any():
        return
    line_left, network_left = by_line[known].mean(), by_network[known].mean()
    # If both are perfect to five digits, neither is better.
    if line_left > network_left or network_left < 1e-5:
        return
    where = "validation" if judged is not rows else "data"
    yield Finding(
        "no_better_than_line",
        "warning" if line_left < 0.9 * network_left and network_left > GOOD else "note",
        "A straight line by least squares has "
        f"{'a smaller' if line_left < 0.95 * network_left else 'no larger'} error than "
        "the network. Either the network has not learned yet, or y is a linear "
        "function of x and the network is not needed.",
        {
            f"R2 of the line on the {where}": float(1.0 - line_left),
            f"R2 of the network on the {where}": float(1.0 - network_left),
        },
        "np.linalg.lstsq(np.c_[x, np.ones(len(x))], y)",
    )


def _line(x: np.ndarray, y: np.ndarray, new_x: np.ndarray) -> np.ndarray:
    """Predictions of linear least squares on x (n, D) and y (n, T) at new_x (m, D)."""
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(std > 0, std, 1.0)
    z = np.c_[(x - mean) / std, np.ones(len(x))]
    # For standardized columns the normal equations are accurate enough, and cheap.
    weights = np.linalg.pinv(z.T @ z, rcond=1e-10, hermitian=True) @ (z.T @ y)
    return np.asarray(np.c_[(new_x - mean) / std, np.ones(len(new_x))] @ weights)


def no_better_than_majority(context: Context) -> Iterator[Finding]:
    """A classifier no better than always predicting the largest class."""
    rows = context.rows
    if rows.accuracy is None or not context.trained:
        return
    assert rows.labels is not None and rows.predicted_labels is not None
    counts = np.bincount(rows.labels)
    largest = counts.max() / len(rows)
    # Two standard errors: by chance, one useless model in fifty exceeds them.
    margin = 2.0 * np.sqrt(largest * (1.0 - largest) / len(rows))
    if largest == 1.0 or rows.accuracy > largest + margin:
        return
    # Where classes overlap and one is large, the best guess may always be that one, and
    # the probabilities still be informative: then rows of the other classes rank
    # higher.
    auc = _auc(rows)
    useful = auc is not None and auc > 0.7
    yield Finding(
        "no_better_than_majority",
        "note" if useful else "serious",
        f"{percent(rows.accuracy)} of the predicted classes are correct, and always "
        f"naming class {int(counts.argmax())} would give {percent(largest)}."
        + (" Its probabilities do separate the classes." if useful else ""),
        {
            "accuracy": rows.accuracy,
            "frequency of the largest class": float(largest),
            "predicted classes": len(np.unique(rows.predicted_labels)),
        },
        "model.fit(x, y, class_weight={...})"
        if largest > 0.8
        else "model.fit(x, y, epochs=500)  # after fixing the other findings",
    )


def _auc(rows: Rows) -> float | None:
    """Area under the ROC curve, the mean over the classes: the probability that a row
    of a class has a higher output for it than a row of another class."""
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
"""Number of rows to check, number of bins of an input's range, and rows in the smallest
bin."""

RATIO = 2.0
REGION_LEFT = 0.25
PATTERN = 0.3
"""A region's squared error over that elsewhere and over the target's variance, and the
correlation of neighbouring errors, which is 0 +- 1/sqrt(rows) for independent ones.
Noise that grows along an input exceeds the first two, never the third."""


@dataclass(frozen=True)
class Region:
    """One end of an input's range with large errors.

    left, left_elsewhere: mean squared error there and elsewhere, over the target's
        variance
    correlation: correlation of neighbouring errors there
    """

    column: int
    target: int
    beyond: float
    above: bool
    left: float
    left_elsewhere: float
    correlation: float


def errors_by_region(context: Context) -> Iterator[Finding]:
    """Large errors at one end of an input's range that follow a curve, unlike noise."""
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
        "and neighbouring errors are similar: the model has not learned the curve "
        "there yet. Causes: unscaled inputs, too few steps, too few rows there.",
        {
            f"unexplained for {where}": percent(region.left),
            "unexplained elsewhere": percent(region.left_elsewhere),
            "correlation of neighbours": region.correlation,
        },
        NORMALIZE,
    )


def worst_region(rows: Rows) -> Region | None:
    """The worst fitted end of an input's range, if any."""
    if rows.predicted is None or rows.targets is None:
        return None
    total = rows.targets.var(axis=0)
    varied = np.flatnonzero(total > 0)
    stride = max(1, len(rows) // REGION_ROWS)
    errors = (rows.targets - rows.predicted)[::stride, varied] / np.sqrt(total[varied])
    if len(errors) < 4 * BIN_ROWS:
        return None
    regions: list[Region] = []
    for column, values in enumerate(rows.columns[::stride].T):
        across, index, counts = np.unique(
            values, return_inverse=True, return_counts=True
        )
        cuts, before = _cuts(counts), np.append(0, np.cumsum(counts))
        for target, e in zip(varied, errors.T, strict=True):
            # Rows with equal inputs have no order: they count as one, scaled so that
            # independent errors keep their variance.
            merged = np.bincount(index, e) / np.sqrt(counts)
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
                    correlation = _correlation(merged[inside])
                    if correlation > max(PATTERN, 3.0 / np.sqrt(len(merged[inside]))):
                        beyond = float(across[cut - 1] + across[cut]) / 2.0
                        regions.append(
                            Region(
                                column,
                                int(target),
                                beyond,
                                above,
                                left,
                                other,
                                correlation,
                            )
                        )
    return max(regions, key=lambda r: r.left - r.left_elsewhere, default=None)


def _cuts(counts: np.ndarray) -> list[int]:
    """Indices at which an input's distinct values are cut, tenths of the rows apart."""
    before = np.cumsum(counts)
    rows = int(before[-1])
    cuts = {int(np.searchsorted(before, i * rows / BINS)) + 1 for i in range(1, BINS)}
    return sorted(
        cut
        for cut in cuts
        if cut < len(counts) and BIN_ROWS <= before[cut - 1] <= rows - BIN_ROWS
    )


def _correlation(e: np.ndarray) -> float:
    """Correlation of neighbouring errors, without subtracting their mean, so that a
    constant error counts."""
    squares = float((e**2).sum())
    if len(e) < BIN_ROWS or squares == 0.0:
        return 0.0
    return float((e[1:] * e[:-1]).sum() / squares)


GAP = 4.0
GAP_SIGMAS = 3.0
"""Squared error on new rows over that on training rows: the RMSE is doubled; UCI data
sets with 50 units have at most 3.0 (Boston, 455 rows). And by how many standard errors
the two must differ."""


def overfitting(context: Context) -> Iterator[Finding]:
    """New rows are predicted far worse than the training data."""
    rows, other = context.rows, context.validation
    if other is not None and other.output is not None and context.trained:
        yield from _gap(context, rows, other)
        return
    yield from _rising(context)


def _gap(context: Context, rows: Rows, other: Rows) -> Iterator[Finding]:
    old, new = _row_errors(rows), _row_errors(other)
    if old is None or new is None:
        return
    ratio = float(new.mean() / max(old.mean(), 1e-30))
    standard_error = np.sqrt(old.var() / len(old) + new.var() / len(new))
    significant = (new.mean() - old.mean()) > GAP_SIGMAS * standard_error
    left = float(new.mean())
    if ratio < GAP or not significant or left < 0.01:
        return
    what = "wrong classes" if rows.labels is not None else "unexplained"
    yield Finding(
        "overfitting",
        "serious" if left > 0.9 else "warning",
        f"On new rows the error is {ratio:.3g} times that on the training data: the "
        "model has memorized its training data.",
        {
            f"{what} on the training data": percent(float(old.mean())),
            f"{what} on the validation data": percent(left),
        },
        _STOP,
    )


_STOP = (
    "model.fit(x, y, validation_split=0.2, epochs=500, callbacks=[\n"
    "    callbacks.EarlyStopping(patience=20, restore_best_weights=True)])"
)


def _row_errors(rows: Rows) -> np.ndarray | None:
    """Squared error of each row over the variance, or 1 for a wrong class."""
    if rows.labels is not None and rows.predicted_labels is not None:
        return (rows.labels != rows.predicted_labels).astype(np.float64)
    if rows.targets is None or rows.predicted is None:
        return None
    total = rows.targets.var(axis=0)
    known = total > 0
    if not known.any():
        return None
    errors = (rows.targets - rows.predicted)[:, known] ** 2 / total[known]
    return np.asarray(errors.mean(axis=1))


RISE = 1.25
"""The validation loss over its lowest value (medians of 5 epochs). After 200 epochs UCI
data sets have 1.0 to 1.1, and Boston, which overfits, 1.3. Losses that are negligible
on the scale of the targets do not count."""


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
        "fell: from then on the model memorized its training data.",
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
