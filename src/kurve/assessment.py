"""How good a model is on unseen data, how certain that is, and how good simple
baselines are: the mean of the training targets, a straight line, the largest class.

Intervals are bootstrap percentiles: rows are resampled with replacement, and the
interval holds 95 % of the scores of these samples. Fractions of rows have Wilson's
interval.
Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.core.arrays import as_array
from kurve.inspection import predictions
from kurve.inspection.baselines import LinearBaseline as LinearBaseline
from kurve.inspection.baselines import some_rows
from kurve.inspection.predictions import as_matrix
from kurve.metrics.scores import Residuals, class_numbers, explained, residuals

SAMPLES = 1000
WORK = 2e7
"""Maximum rows drawn in total: more rows mean fewer samples, but at least 100."""

Measure = Callable[[np.ndarray], np.ndarray]
"""A function from the means of k quantities (k, ...) to scores (...)."""

Terms = tuple[np.ndarray, dict[str, Measure]]
"""The quantities of each row (k, n), and the scores computed from their means."""


@dataclass(frozen=True)
class Score:
    """A measure of error or success, with its 95 % bootstrap interval.

    Args:
        name: name of the measure.
        value: its value on all rows.
        low, high: the ends of the interval.

    Example:
        >>> score = kurve.assessment.Score("RMSE", 0.5, 0.4, 0.6)
        >>> score.value
        0.5
    """

    name: str
    value: float
    low: float
    high: float

    def text(self, value: float, digits: int = 4) -> str:
        """Format a value of this score: fractions as percentages."""
        shares = ("accuracy", "balanced accuracy")
        fraction = self.name in shares or self.name.startswith("in ")
        return f"{value:.1%}" if fraction else number(value, digits)


@dataclass(frozen=True)
class Assessment:
    """Scores of a model and of simple baselines on the same rows.

    Attributes:
        scores: by predictor ("model", "straight line", "mean"), its scores.
        rows: number of rows.

    Example:
        >>> score = kurve.assessment.Score("RMSE", 0.5, 0.4, 0.6)
        >>> kurve.assessment.Assessment({"model": [score]}, 20).rows
        20
    """

    scores: dict[str, list[Score]]
    rows: int

    def value(self, name: str, who: str = "model") -> float:
        """The value of one score."""
        return next(s.value for s in self.scores[who] if s.name == name)


@np.errstate(over="ignore", invalid="ignore")
def assess(
    model: Any,
    x: Any,
    y: Any,
    targets: Sequence[str] = ("y",),
    train: tuple[Any, Any] | None = None,
    coverage: float = 0.9,
    seed: int = 0,
) -> dict[str, Assessment]:
    """Score a fitted model on some rows, per target, along with simple baselines: the
    mean and a straight line, or always the largest class.

    Args:
        model: has `predict`; a classifier also `classes_` and `predict_proba`.
        x, y: rows that the model was not trained on.
        targets: names of the columns of y (n, outputs), or one for y (n,).
        train: x and y of training, from which the baselines learn. Without it, the mean
            is that of `y`, and there is no straight line.
        coverage: nominal coverage of the checked intervals.
        seed: seed of the bootstrap.

    Raises:
        ValueError: invalid data, or a different number of targets.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 64).reshape(32, 2)
        >>> y = x[:, 0] ** 2
        >>> model = kurve.Regressor((4,), max_epochs=5, random_state=0).fit(x, y)
        >>> found = kurve.assessment.assess(model, x, y, train=(x, y))
        >>> list(found["y"].scores)
        ['model', 'straight line', 'mean']
    """
    known = predictions.Predictions(model, x)
    return assess_predictions(known, x, y, targets, train, coverage, seed)


@np.errstate(over="ignore", invalid="ignore")
def assess_predictions(
    known: predictions.Predictions,
    x: Any,
    y: Any,
    targets: Sequence[str],
    train: tuple[Any, Any] | None,
    coverage: float,
    seed: int,
) -> dict[str, Assessment]:
    """Like `assess`, from the model's predictions for x."""
    truth = as_array("assess", "y", y)
    if known.classes is not None:
        p = known.probabilities
        numbers = class_numbers(truth if train is None else train[1], known.classes)
        counts = np.bincount(numbers[numbers >= 0], minlength=len(known.classes))
        largest = np.broadcast_to(counts / max(counts.sum(), 1), p.shape)
        both = {"model": p, "largest class": largest}
        return {targets[0]: assess_classes(truth, known.classes, both, seed)}
    truth = as_matrix(truth)
    predicted, std = known.mean, known.std
    bounds = known.intervals(coverage) if known.has_intervals else None
    line = None
    means = truth.mean(axis=0)
    if train is not None:
        train_y = as_matrix(train[1])
        means = train_y.mean(axis=0)
        rows = some_rows(len(train_y))
        sample = predictions.take_rows(train[0], rows)
        inputs = known.for_rows(sample).inputs
        line = LinearBaseline().fit(inputs, train_y[rows]).predict(known.inputs)
    assessments = {}
    for k, name in enumerate(targets):
        predictors = {"model": predicted[:, k]}
        if line is not None:
            predictors["straight line"] = line[:, k]
        predictors["mean"] = np.full(len(truth), means[k])
        assessments[name] = assess_regression(
            truth[:, k],
            predictors,
            None if std is None else std[:, k],
            None if bounds is None else bounds[:, k],
            coverage,
            seed,
        )
    return assessments


@np.errstate(over="ignore", invalid="ignore")
def assess_regression(
    y: Any,
    predictions: Mapping[str, Any],
    deviation: Any = None,
    bounds: Any = None,
    coverage: float = 0.9,
    seed: int = 0,
) -> Assessment:
    """RMSE, MAE and R2 of one output for each predictor; with the model's standard
    deviation also its negative log likelihood under a normal distribution; with its
    intervals also the fraction of the true values inside them.

    Args:
        y: (n,), the true values.
        predictions: predictions (n,) by predictor.
        deviation: (n,), the standard deviation of "model".
        bounds: (n, 2), the prediction intervals of "model".
        coverage: nominal coverage of the bounds.
        seed: seed of the bootstrap.

    Raises:
        ValueError: arrays of different lengths.

    Example:
        >>> y = np.array([1.0, 2.0, 3.0])
        >>> found = kurve.assessment.assess_regression(y, {"model": y + 0.5})
        >>> found.scores["model"][0].value
        0.5
    """
    truth = np.asarray(y, float).reshape(-1)
    tables: dict[str, Terms] = {}
    for name, values in predictions.items():
        predicted = np.asarray(values, float).reshape(-1)
        error = truth - predicted
        scaled = residuals(truth[:, None], predicted[:, None])
        e, z = scaled.errors[:, 0], scaled.distances[:, 0]
        terms = [e**2, np.abs(e), z, z**2]
        measures = _measures(scaled)
        if deviation is not None and name == "model":
            s = np.maximum(np.asarray(deviation, float).reshape(-1), 1e-12)
            terms.append(0.5 * np.log(2 * np.pi * s**2) + 0.5 * (error / s) ** 2)
            measures["NLL"] = lambda m: m[4]
        if bounds is not None and name == "model":
            low, high = np.asarray(bounds, float).T
            terms.append(((low <= truth) & (truth <= high)).astype(float))
            measures[f"in {coverage:.0%} interval"] = lambda m: m[-1]
        tables[name] = np.stack(terms), measures
    return Assessment(_scores(tables, seed), len(truth))


@np.errstate(over="ignore", invalid="ignore")
def assess_classes(
    y: Any,
    classes: Sequence[Any],
    probabilities: Mapping[str, Any],
    seed: int = 0,
) -> Assessment:
    """Accuracy and mean log loss of each predictor.

    Args:
        y: (n,), classes.
        classes: the k classes in the order of the probabilities' columns.
        probabilities: by predictor, (n, k).
        seed: seed of the bootstrap.

    Raises:
        ValueError: arrays of different lengths.

    Example:
        >>> probabilities = {"model": np.array([[0.9, 0.1], [0.2, 0.8]])}
        >>> found = kurve.assessment.assess_classes([0, 1], [0, 1], probabilities)
        >>> found.scores["model"][0].value
        1.0
    """
    truth = class_numbers(y, classes)
    tables: dict[str, Terms] = {}
    for name, values in probabilities.items():
        p = np.asarray(values, float)
        chosen = p.argmax(axis=1)
        correct = chosen == truth
        known = truth >= 0  # else a class not seen in training
        of_truth = np.where(known, p[np.arange(len(p)), np.maximum(truth, 0)], 0.0)
        loss = -np.log(np.maximum(of_truth, 1e-15))
        terms = [correct.astype(float), loss]
        measures: dict[str, Measure] = {
            "accuracy": lambda m: m[0],
            "log loss": lambda m: m[1],
        }
        present = [c for c in range(p.shape[1]) if (truth == c).any()]
        if 1 < len(present) <= BALANCED_CLASSES:
            first = len(terms)
            terms += [(truth == c).astype(float) for c in present]
            terms += [(correct & (truth == c)).astype(float) for c in present]
            measures["balanced accuracy"] = _balanced(first, len(present))
            if len(present) == p.shape[1] == 2:
                rare = int(np.argmin([(truth == c).sum() for c in (0, 1)]))
                first = len(terms)
                terms += [
                    ((truth == rare) & (chosen == rare)).astype(float),
                    ((truth == rare) ^ (chosen == rare)).astype(float),
                ]
                measures[f"F1 of {classes[rare]}"] = _f1(first)
        tables[name] = np.stack(terms), measures
    scores = _scores(tables, seed)
    for name, values in probabilities.items():
        p = np.asarray(values, float)
        if p.shape[1] == 2 and len(np.unique(truth[truth >= 0])) == 2:
            scores[name].append(_area(truth == 1, p[:, 1]))
        if name == "model" and len(truth) >= CALIBRATED_ROWS:
            error = calibration_error(truth, p)
            scores[name].append(Score("calibration error", error, np.nan, np.nan))
    return Assessment(scores, len(truth))


BALANCED_CLASSES = 20
"""Maximum classes for a balanced accuracy: its bootstrap has two quantities a class."""

CALIBRATED_ROWS = 100
"""Minimum rows for a calibration error: below, it is mostly chance."""

BINS = 10


def calibration_error(truth: np.ndarray, p: np.ndarray) -> float:
    """The expected calibration error: how far, on average, the probability of the
    predicted class is from the fraction of such rows in which it is right, in ten bins
    of equally many rows. Source: Naeini, Cooper & Hauskrecht 2015.

    Args:
        truth: (n,) class numbers.
        p: (n, k) probabilities.

    Example:
        >>> p = np.array([[0.8, 0.2]] * 10)
        >>> truth = np.array([0] * 8 + [1] * 2)
        >>> round(kurve.assessment.calibration_error(truth, p), 3)
        0.0
    """
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
    order = np.argsort(confidence, kind="stable")
    if confidence[order[0]] == confidence[order[-1]]:
        return float(abs(confidence.mean() - right.mean()))
    gaps = [
        len(part) * abs(confidence[part].mean() - right[part].mean())
        for part in np.array_split(order, min(BINS, len(order)))
    ]
    return float(sum(gaps) / len(order))


def _balanced(first: int, count: int) -> Measure:
    def measure(m: np.ndarray) -> np.ndarray:
        rows, right = m[first : first + count], m[first + count : first + 2 * count]
        return np.mean(right / np.where(rows > 0, rows, np.nan), axis=0)

    return measure


def _f1(first: int) -> Measure:
    def measure(m: np.ndarray) -> np.ndarray:
        total = 2.0 * m[first] + m[first + 1]
        return 2.0 * m[first] / np.where(total > 0, total, np.nan)

    return measure


def _area(positive: np.ndarray, score: np.ndarray) -> Score:
    """The area under the ROC curve: how often a positive row has the higher score.
    Its interval is DeLong, DeLong & Clarke-Pearson 1988."""
    high, low = np.sort(score[positive]), np.sort(score[~positive])

    def below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The fraction of the others below each value, ties as half."""
        left = np.searchsorted(others, values, "left")
        return (left + np.searchsorted(others, values, "right")) / (2.0 * len(others))

    one, other = below(high, low), 1.0 - below(low, high)
    area = float(one.mean())
    variance = sum(
        float(v.var(ddof=1)) / len(v) if len(v) > 1 else 0.25 for v in (one, other)
    )
    reach = 1.96 * math.sqrt(variance)
    return Score("AUC", area, max(area - reach, 0.0), min(area + reach, 1.0))


def number(value: float, digits: int = 4) -> str:
    """Format with that many significant digits: "0.01235", "12,346", "1.234e-07"."""
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 1e7 or size < 1e-4:
        return f"{value:.{digits - 1}e}"
    decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_dict(found: dict[str, Assessment]) -> dict[str, Any]:
    """Scores as nested dicts: by target, predictor and score.

    Args:
        found: result of `assess`.

    Example:
        >>> score = kurve.assessment.Score("RMSE", 0.5, 0.4, 0.6)
        >>> found = {"y": kurve.assessment.Assessment({"model": [score]}, 20)}
        >>> sorted(kurve.assessment.as_dict(found)["y"])
        ['model', 'rows']
    """

    def plain(score: Score) -> dict[str, float | None]:
        values = {"value": score.value, "low": score.low, "high": score.high}
        return {k: v if math.isfinite(v) else None for k, v in values.items()}

    return {
        target: {
            "rows": assessment.rows,
            **{
                name: {score.name: plain(score) for score in scores}
                for name, scores in assessment.scores.items()
            },
        }
        for target, assessment in found.items()
    }


def as_text(found: dict[str, Assessment]) -> str:
    """Scores as a text table: one line per score, one column per predictor.

    Args:
        found: result of `assess`.

    Example:
        >>> score = kurve.assessment.Score("RMSE", 0.5, 0.4, 0.6)
        >>> found = {"y": kurve.assessment.Assessment({"model": [score]}, 20)}
        >>> print(kurve.assessment.as_text(found))
        y, 20 rows  model
          RMSE      0.5 (0.4 to 0.6)
    """
    lines = []
    for target, assessment in found.items():
        cells = [[f"{target}, {assessment.rows:,} rows", *assessment.scores]]
        for score in assessment.scores["model"]:
            interval = f" ({score.text(score.low)} to {score.text(score.high)})"
            interval = "" if math.isnan(score.low) else interval
            row = [f"  {score.name}", f"{score.text(score.value)}{interval}"]
            for name in list(assessment.scores)[1:]:
                known = {other.name: other for other in assessment.scores[name]}
                other = known.get(score.name)
                row.append("" if other is None else other.text(other.value))
            cells.append(row)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += [
            "  ".join(f"{c:<{n}}" for c, n in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
    return "\n".join(lines)


def wilson(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a fraction observed in some rows. Unlike the bootstrap, it
    also covers events that did not occur. Source: Wilson 1927.

    Example:
        >>> low, high = kurve.assessment.wilson(1.0, 34)
        >>> round(low, 2), high
        (0.9, 1.0)
    """
    z2 = 1.96**2
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    spread = math.sqrt(share * (1 - share) / rows + z2 / (4 * rows**2))
    reach = 1.96 * spread / (1 + z2 / rows)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def _measures(scaled: Residuals) -> dict[str, Measure]:
    """Scores of one output from the means of e^2, |e|, z and z^2, where e and z are the
    errors and distances in `scaled`. R2 is NaN for a bootstrap sample with constant
    y."""
    unit, ratio, constant = scaled.error_unit[0], scaled.ratio[0], scaled.constant[0]

    def r2(m: np.ndarray) -> np.ndarray:
        if constant:
            return np.where(m[0] == 0.0, 1.0, 0.0)
        return explained(m[0], m[3] - m[2] ** 2, ratio)

    return {
        "RMSE": lambda m: 2.0 * (unit * np.sqrt(m[0])),
        "MAE": lambda m: 2.0 * (unit * m[1]),
        "R²": r2,
    }


def _scores(tables: Mapping[str, Terms], seed: int) -> dict[str, list[Score]]:
    """Each measure of each predictor with its interval, all from the same bootstrap
    samples."""
    terms = np.concatenate([each for each, _ in tables.values()])
    rows = terms.shape[1]
    random = np.random.default_rng(seed)
    samples = np.empty((len(terms), int(np.clip(WORK / max(rows, 1), 100, SAMPLES))))
    for i in range(samples.shape[1]):
        picked = np.bincount(random.integers(0, rows, rows), minlength=rows)
        samples[:, i] = terms @ picked / rows
    scores: dict[str, list[Score]] = {}
    first = 0
    for predictor, (each, measures) in tables.items():
        means, resampled = each.mean(axis=1), samples[first : first + len(each)]
        first += len(each)
        scores[predictor] = []
        for name, measure in measures.items():
            values = measure(resampled)
            known = values[~np.isnan(values)]
            low, high = np.quantile(known if len(known) else np.nan, (0.025, 0.975))
            value = float(measure(means))
            if name == "accuracy" or name.startswith("in "):
                low, high = wilson(value, rows)
            scores[predictor].append(Score(name, value, float(low), float(high)))
    return scores
