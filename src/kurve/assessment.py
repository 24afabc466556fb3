"""How good a model is on data that it has not seen, how sure that is, and what simple
rules reach: the mean of the training targets, a straight line, the largest class.

Intervals are of the bootstrap: the rows are drawn again, with replacement, and what 95
in 100 such samples say is the interval.
Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.core.arrays import as_array, as_numbers
from kurve.scores import Residuals, explained, residuals

SAMPLES = 1000
WORK = 2e7
"""Rows drawn in all, at most: fewer samples for many rows, at least 100."""

Measure = Callable[[np.ndarray], np.ndarray]
"""From the means of some parts (k, ...) to a score (...)."""

Parts = tuple[np.ndarray, dict[str, Measure]]
"""What a score is the mean of: (k, n), and the scores that come of it."""

LINE_ROWS = 20_000
MAX_ONE_HOT = 50


@dataclass(frozen=True)
class Score:
    """A measure of error or success, with the interval that holds it in 95 of 100
    samples of the rows.

    Args:
        name: of the measure.
        value: on all rows.
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
        """A value of this score for people: shares in per cent."""
        share = self.name == "accuracy" or self.name.startswith("in ")
        return f"{value:.1%}" if share else number(value, digits)


@dataclass(frozen=True)
class Assessment:
    """Scores of a model and of simple rules on the same rows.

    Attributes:
        scores: by who predicts ("model", "straight line", "mean") the scores.
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
    """How good a fitted model is on some rows, by target, beside simple rules: the mean
    and a straight line, or always the largest class.

    Args:
        model: with `predict`; a classifier has `classes_` and `predict_proba`.
        x, y: rows that it was not trained on.
        targets: names of the columns of y (n, outputs), or one for y (n,).
        train: x and y of training, from which the simple rules learn. Without, the
            mean is that of `y`, and there is no line.
        coverage: of the intervals to count.
        seed: of the bootstrap.

    Raises:
        ValueError: bad data, or other numbers of targets.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 64).reshape(32, 2)
        >>> y = x[:, 0] ** 2
        >>> model = kurve.Regressor((4,), max_epochs=5, random_state=0).fit(x, y)
        >>> found = kurve.assessment.assess(model, x, y, train=(x, y))
        >>> list(found["y"].scores)
        ['model', 'straight line', 'mean']
    """
    truth = as_array("assess", "y", y)
    if hasattr(model, "classes_"):
        classes = np.asarray(model.classes_).tolist()
        p = np.asarray(call_quietly(model.predict_proba, x), float)
        numbers = class_numbers(truth if train is None else train[1], classes)
        counts = np.bincount(numbers[numbers >= 0], minlength=len(classes))
        rule = np.broadcast_to(counts / max(counts.sum(), 1), p.shape)
        both = {"model": p, "largest class": rule}
        return {targets[0]: assess_classes(truth, classes, both, seed)}
    truth = as_matrix(truth)
    predicted = as_matrix(call_quietly(model.predict, x))
    deviation = bounds = line = None
    if takes(model.predict, "return_std"):
        deviation = as_matrix(model.predict(x, return_std=True)[1])
    if callable(getattr(model, "predict_interval", None)):
        bounds = np.asarray(model.predict_interval(x, coverage=coverage))
        bounds = bounds.reshape(*truth.shape, 2)
    means = truth.mean(axis=0)
    if train is not None:
        learnt = as_matrix(train[1])
        means = learnt.mean(axis=0)
        line = LinearBaseline().fit(columns_of(train[0]), learnt).predict(columns_of(x))
    found = {}
    for k, name in enumerate(targets):
        who = {"model": predicted[:, k]}
        if line is not None:
            who["straight line"] = line[:, k]
        who["mean"] = np.full(len(truth), means[k])
        found[name] = assess_regression(
            truth[:, k],
            who,
            None if deviation is None else deviation[:, k],
            None if bounds is None else bounds[:, k],
            coverage,
            seed,
        )
    return found


@np.errstate(over="ignore", invalid="ignore")
def assess_regression(
    y: Any,
    predictions: Mapping[str, Any],
    deviation: Any = None,
    bounds: Any = None,
    coverage: float = 0.9,
    seed: int = 0,
) -> Assessment:
    """RMSE, MAE and R2 of one output for each who predicts; with the model's standard
    deviation, its negative log likelihood under a normal distribution too; with its
    intervals, the share of the truth inside them.

    Args:
        y: (n,), the truth.
        predictions: by who predicts, (n,).
        deviation: (n,) of "model".
        bounds: (n, 2) of "model".
        coverage: that the bounds promise.
        seed: of the bootstrap.

    Raises:
        ValueError: arrays of different lengths.

    Example:
        >>> y = np.array([1.0, 2.0, 3.0])
        >>> found = kurve.assessment.assess_regression(y, {"model": y + 0.5})
        >>> found.scores["model"][0].value
        0.5
    """
    truth = np.asarray(y, float).reshape(-1)
    tables: dict[str, Parts] = {}
    for who, predicted in predictions.items():
        guess = np.asarray(predicted, float).reshape(-1)
        error = truth - guess
        found = residuals(truth[:, None], guess[:, None])
        e, z = found.errors[:, 0], found.distances[:, 0]
        parts = [e**2, np.abs(e), z, z**2]
        measures = _of_errors(found)
        if deviation is not None and who == "model":
            s = np.maximum(np.asarray(deviation, float).reshape(-1), 1e-12)
            parts.append(0.5 * np.log(2 * np.pi * s**2) + 0.5 * (error / s) ** 2)
            measures["NLL"] = lambda m: m[4]
        if bounds is not None and who == "model":
            low, high = np.asarray(bounds, float).T
            parts.append(((low <= truth) & (truth <= high)).astype(float))
            measures[f"in {coverage:.0%} interval"] = lambda m: m[-1]
        tables[who] = np.stack(parts), measures
    return Assessment(_scores(tables, seed), len(truth))


@np.errstate(over="ignore", invalid="ignore")
def assess_classes(
    y: Any,
    classes: Sequence[Any],
    probabilities: Mapping[str, Any],
    seed: int = 0,
) -> Assessment:
    """Share of right answers and mean log loss for each who predicts.

    Args:
        y: (n,), classes.
        classes: the k classes in the order of the probabilities' columns.
        probabilities: by who predicts, (n, k).
        seed: of the bootstrap.

    Raises:
        ValueError: arrays of different lengths.

    Example:
        >>> probabilities = {"model": np.array([[0.9, 0.1], [0.2, 0.8]])}
        >>> found = kurve.assessment.assess_classes([0, 1], [0, 1], probabilities)
        >>> found.scores["model"][0].value
        1.0
    """
    number = class_numbers(y, classes)
    tables: dict[str, Parts] = {}
    for who, given in probabilities.items():
        p = np.asarray(given, float)
        right = p.argmax(axis=1) == number
        known = number >= 0  # a class that was not there in training
        of_truth = np.where(known, p[np.arange(len(p)), np.maximum(number, 0)], 0.0)
        loss = -np.log(np.maximum(of_truth, 1e-15))
        tables[who] = (
            np.stack([right.astype(float), loss]),
            {"accuracy": lambda m: m[0], "log loss": lambda m: m[1]},
        )
    return Assessment(_scores(tables, seed), len(number))


def class_numbers(y: Any, classes: Sequence[Any]) -> np.ndarray:
    """The index of each row's class; -1 where it is none of them."""
    place = {_plain(name): i for i, name in enumerate(classes)}
    values, inverse = np.unique(np.asarray(y), return_inverse=True)
    numbers = np.array([place.get(_plain(value), -1) for value in values])
    return numbers[inverse.reshape(-1)]


def number(value: float, digits: int = 4) -> str:
    """So many significant digits: "0.01235", "12,346", "1.234e-07"."""
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
    """Scores for programs: by target, who predicts and score.

    Args:
        found: what `assess` gives.

    Example:
        >>> score = kurve.assessment.Score("RMSE", 0.5, 0.4, 0.6)
        >>> found = {"y": kurve.assessment.Assessment({"model": [score]}, 20)}
        >>> sorted(kurve.assessment.as_dict(found)["y"])
        ['model', 'rows']
    """

    def plain(score: Score) -> dict[str, float | None]:
        parts = {"value": score.value, "low": score.low, "high": score.high}
        return {k: v if math.isfinite(v) else None for k, v in parts.items()}

    return {
        target: {
            "rows": assessment.rows,
            **{
                who: {score.name: plain(score) for score in scores}
                for who, scores in assessment.scores.items()
            },
        }
        for target, assessment in found.items()
    }


def as_text(found: dict[str, Assessment]) -> str:
    """Scores as a table for people: a line a score, a column for each who predicts.

    Args:
        found: what `assess` gives.

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
            interval = f"({score.text(score.low)} to {score.text(score.high)})"
            row = [f"  {score.name}", f"{score.text(score.value)} {interval}"]
            for who in list(assessment.scores)[1:]:
                known = {other.name: other for other in assessment.scores[who]}
                other = known.get(score.name)
                row.append("" if other is None else other.text(other.value))
            cells.append(row)
        sizes = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += [
            "  ".join(f"{c:<{n}}" for c, n in zip(row, sizes, strict=True)).rstrip()
            for row in cells
        ]
    return "\n".join(lines)


class LinearBaseline:
    """A straight line (a plane, with several features): least squares, a category by an
    indicator of each of its values, a missing number by the mean.

    Source: Legendre 1805.

    Example:
        >>> x = np.arange(10.0)
        >>> line = kurve.assessment.LinearBaseline().fit({"x": x}, 2.0 * x)
        >>> line.predict({"x": np.array([20.0])}).round(3)
        array([40.])
    """

    @np.errstate(over="ignore", invalid="ignore")
    def fit(self, columns: Mapping[str, np.ndarray], y: Any) -> LinearBaseline:
        """Args: columns: by name (n,), numbers or objects; y (n,) or (n, outputs).

        Numbers so large that there is no line in float64 give one of NaN.
        """
        targets = np.asarray(y, float)
        rows = len(targets)
        step = max(rows // LINE_ROWS, 1)
        some = {name: values[::step] for name, values in columns.items()}
        self._means: dict[str, tuple[float, float]] = {}
        self._categories: dict[str, list[Any]] = {}
        for name, values in some.items():
            if values.dtype.kind in "fiub":
                numbers = values.astype(float)
                known = numbers[np.isfinite(numbers)]
                scale = float(known.std()) if len(known) else 0.0
                mean = float(known.mean()) if len(known) else 0.0
                self._means[name] = (mean, scale or 1.0)
            else:
                different = {v for v in values.tolist() if v is not None}
                self._categories[name] = sorted(different, key=str)[:MAX_ONE_HOT]
        design = self._design(some)
        targets = targets[::step]
        self._weights = np.full((design.shape[1], *targets.shape[1:]), np.nan)
        if np.isfinite(design).all() and np.isfinite(targets).all():
            self._weights = np.linalg.lstsq(design, targets, rcond=None)[0]
        return self

    @np.errstate(over="ignore", invalid="ignore")
    def predict(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n,) or (n, outputs)."""
        return self._design(columns) @ self._weights

    def _design(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = len(next(iter(columns.values())))
        parts = [np.ones(rows)]
        for name, (mean, scale) in self._means.items():
            numbers = columns[name].astype(float)
            numbers = np.where(np.isfinite(numbers), numbers, mean)
            parts.append((numbers - mean) / scale)
        for name, categories in self._categories.items():
            parts += [np.equal(columns[name], value) * 1.0 for value in categories]
        return np.stack(parts, axis=1).astype(float)


def columns_of(x: Any) -> dict[str, np.ndarray]:
    """The columns of an array (n, k), named x1, x2, ..., or of a dataframe, by name:
    numbers and booleans as they are, all else as objects with None for missing."""
    if hasattr(x, "columns") or hasattr(x, "column_names"):
        import narwhals.stable.v1 as nw

        frame = nw.from_native(x, eager_only=True)
        return {name: _as_column(frame[name]) for name in frame.columns}
    array = as_array("assess", "x", x)
    array = array.reshape(len(array), -1)
    return {f"x{j + 1}": array[:, j] for j in range(array.shape[1])}


def takes(call: Any, name: str) -> bool:
    """Whether a function has an argument of that name."""
    return name in inspect.signature(call).parameters


def call_quietly(call: Any, x: Any) -> Any:
    """call(x), without a progress bar."""
    return call(x, verbose=0) if takes(call, "verbose") else call(x)


def as_matrix(values: Any) -> np.ndarray:
    """float64 (n, outputs); (n,) is one output."""
    array = as_numbers("assess", "y", values, np.float64)
    return array[:, None] if array.ndim == 1 else array


def _as_column(series: Any) -> np.ndarray:
    if series.dtype.is_numeric():
        gaps = series.is_null().to_numpy()
        if not gaps.any():  # NumPy rounds what is too large to be kept; frames refuse
            return np.asarray(series.to_numpy(), float)
        numbers = np.array(series.fill_null(0).to_numpy(), float)
        numbers[gaps] = np.nan
        return numbers
    values = np.asarray(series.to_list(), dtype=object)
    if series.null_count() == 0 and all(type(v) is bool for v in values[:1]):
        return values.astype(bool)
    return values


def _of_errors(found: Residuals) -> dict[str, Measure]:
    """Scores of one output from the means of e^2, |e|, z and z^2: errors e and
    distances z in the units of `found`. R2 is NaN for rows that happen to have one y
    only, unless all have."""
    unit, ratio, constant = found.error_unit[0], found.ratio[0], found.constant[0]

    def r2(m: np.ndarray) -> np.ndarray:
        if constant:
            return np.where(m[0] == 0.0, 1.0, 0.0)
        return explained(m[0], m[3] - m[2] ** 2, ratio)

    return {
        "RMSE": lambda m: 2.0 * (unit * np.sqrt(m[0])),
        "MAE": lambda m: 2.0 * (unit * m[1]),
        "R²": r2,
    }


def _scores(tables: Mapping[str, Parts], seed: int) -> dict[str, list[Score]]:
    """Each measure of each who predicts, with its interval; all from one set of
    samples."""
    parts = np.concatenate([part for part, _ in tables.values()])
    rows = parts.shape[1]
    random = np.random.default_rng(seed)
    samples = np.empty((len(parts), int(np.clip(WORK / max(rows, 1), 100, SAMPLES))))
    for i in range(samples.shape[1]):
        picked = np.bincount(random.integers(0, rows, rows), minlength=rows)
        samples[:, i] = parts @ picked / rows
    scores: dict[str, list[Score]] = {}
    first = 0
    for who, (part, measures) in tables.items():
        means, spread = part.mean(axis=1), samples[first : first + len(part)]
        first += len(part)
        scores[who] = []
        for name, measure in measures.items():
            found = measure(spread)
            known = found[~np.isnan(found)]
            low, high = np.quantile(known if len(known) else np.nan, (0.025, 0.975))
            value = float(measure(means))
            scores[who].append(Score(name, value, float(low), float(high)))
    return scores


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
