"""Measure which features a fitted model depends on, and how well it is calibrated.

These functions work with anything that has `predict`: models and estimators of Kurve or
scikit-learn. Inputs are arrays (n, features) or dataframes (through narwhals).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.core.arguments import has_lone_surrogate
from kurve.core.arrays import as_array, as_numbers, scalar
from kurve.core.entries import entry
from kurve.core.inside import is_model, network_of
from kurve.inspection.predictions import as_matrix, takes
from kurve.metrics import scores

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Importance:
    """The result of `permutation_importance`.

    Attributes:
        names: names of the features.
        mean, deviation: (features,), mean and standard deviation over the repeats.
        values: (features, repeats), the decrease of the score in each repeat.
        score: score of the model on the original data.
    """

    names: list[str]
    mean: np.ndarray
    deviation: np.ndarray
    values: np.ndarray
    score: float


@dataclass(frozen=True)
class Dependence:
    """The result of `partial_dependence`.

    Attributes:
        name: name of the feature.
        grid: (points,), its values: numbers or categories.
        mean: (points,) or (points, outputs), the mean prediction at each point.
        low, high: same shape, the 10th and 90th percentiles over the rows.
    """

    name: str
    grid: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """The result of `calibration`, per level.

    Attributes:
        levels: (k,), nominal coverage: the fraction of targets expected in the
            intervals.
        covered: (k,), the observed fraction, over all rows and outputs.
        error: (k,), standard error of `covered` for a perfectly calibrated model.
        width: (k,), mean width of the intervals.
    """

    levels: np.ndarray
    covered: np.ndarray
    error: np.ndarray
    width: np.ndarray


@dataclass(frozen=True)
class Reliability:
    """The result of `reliability`, per non-empty bin.

    Attributes:
        promised: (bins,), mean predicted probability.
        happened: (bins,), observed frequency.
        count: (bins,), number of probabilities.
        error: the mean of |promised - happened|, weighted by count (the expected
            calibration error).
    """

    promised: np.ndarray
    happened: np.ndarray
    count: np.ndarray
    error: float


@entry
def permutation_importance(
    model: Any,
    x: Any,
    y: Any,
    *,
    score: Callable[[np.ndarray, np.ndarray], float] | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> Importance:
    """The decrease of a model's score when one feature is shuffled:
    score(y, predict(x)) - score(y, predict(x with a shuffled column)).

    A value near 0 means that the model does not need the feature, or that another
    feature carries the same information.

    Args:
        model: has `predict(x)`.
        x: (n, features), or a dataframe; data that the model was not trained on.
        y: (n,) or (n, outputs), or classes (n,).
        score: function of (y, predicted), where larger is better; by default R2 for
            numbers and accuracy for text or a model with `classes_`.
        repeats: number of shuffles per feature.
        seed: seed of the shuffles.

    Raises:
        TypeError, ValueError: a model without `predict`; sizes that do not match.
    Source: Breiman 2001, Random Forests, section 10.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 64).reshape(32, 2)
        >>> y = x[:, 0] ** 2
        >>> model = kurve.Regressor((4,), max_epochs=5, random_state=0).fit(x, y)
        >>> importance = kurve.inspection.permutation_importance(model, x, y)
        >>> importance.mean.shape
        (2,)
    """
    rows = _Inputs("permutation_importance", model, x)
    truth = as_array("permutation_importance", "y", y)
    if len(truth) != len(rows):
        raise ValueError(
            "[permutation_importance] x and y must have the same number of rows. "
            f"Received: {len(rows)} and {len(truth)}. Try the same rows in both."
        )
    if repeats < 1:
        raise ValueError(
            "[permutation_importance] repeats must be at least 1. "
            f"Received: {repeats!r}. Try repeats=5."
        )
    if score is None:
        classes = hasattr(model, "classes_") or truth.dtype.kind in "OSUb"
        score = accuracy if classes else r2
    base = score(truth, rows.predict())
    values = np.empty((len(rows.names), repeats))
    random = np.random.default_rng(seed)
    for j in range(len(rows.names)):
        for k in range(repeats):
            order = random.permutation(len(rows))
            values[j, k] = base - score(truth, rows.predict(j, order))
    return Importance(
        rows.names, values.mean(axis=1), values.std(axis=1), values, float(base)
    )


@entry
def partial_dependence(
    model: Any,
    x: Any,
    feature: int | str,
    *,
    grid: int | Sequence[Any] = 40,
    method: str = "predict",
) -> Dependence:
    """The mean prediction when one feature is set to the same value in all rows, for
    each value of a grid.

    If the feature is correlated with others, some of these rows are unrealistic;
    interpret the result together with the range of the data.

    Args:
        model: has a method named `method`.
        x: (n, features), or a dataframe: the rows to average over.
        feature: column index or name.
        grid: number of evenly spaced points from the smallest to the largest value (all
            distinct values if there are fewer, and for categories), or the points
            themselves.
        method: "predict", or "predict_proba" for the probability of each class.

    Raises:
        TypeError, ValueError: the model lacks the method; unknown feature.
    Source: Friedman 2001, Greedy Function Approximation, section 8.2.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 64).reshape(32, 2)
        >>> y = x[:, 0] ** 2
        >>> model = kurve.Regressor((4,), max_epochs=5, random_state=0).fit(x, y)
        >>> dependence = kurve.inspection.partial_dependence(model, x, 0, grid=5)
        >>> len(dependence.grid)
        5
    """
    rows = _Inputs("partial_dependence", model, x, method)
    j = rows.index(feature)
    points = _grid(rows.column(j), grid)
    means, lows, highs = [], [], []
    for value in points:
        if isinstance(value, str) and has_lone_surrogate(value):
            raise ValueError(
                f"[partial_dependence] the values of {rows.names[j]!r} must not "
                f"contain lone surrogates. Received: {value!r}. "
                "Try listing the values, grid=[...]."
            )
        predicted = rows.predict(j, value=value)
        if predicted.dtype.kind not in "fiu":
            raise TypeError(
                "[partial_dependence] predictions must be numbers. Received: "
                f"{predicted.dtype}. Try method='predict_proba'."
            )
        means.append(predicted.mean(axis=0))
        low, high = np.quantile(predicted, (0.1, 0.9), axis=0)
        lows.append(low)
        highs.append(high)
    return Dependence(
        rows.names[j], points, np.array(means), np.array(lows), np.array(highs)
    )


@entry
@np.errstate(over="ignore")
def calibration(
    model: Any, x: Any, y: Any, levels: Sequence[float] = LEVELS
) -> Calibration:
    """The observed coverage of prediction intervals at several nominal levels.

    Args:
        model: has `predict_interval(x, coverage)`, (n, 2) or (n, outputs, 2).
        x, y: data that the model was not trained on.
        levels: nominal coverages, each between 0 and 1.

    Raises:
        TypeError: the model has no `predict_interval`.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 64).reshape(32, 2)
        >>> y = x[:, 0] ** 2
        >>> model = kurve.Regressor((4,), max_epochs=5, random_state=0).fit(x, y)
        >>> kurve.inspection.calibration(model, x, y, levels=(0.5, 0.9)).levels
        array([0.5, 0.9])
    """
    if not callable(getattr(model, "predict_interval", None)):
        raise TypeError(
            "[calibration] model must have a method predict_interval. Received: an "
            f"object of type {type(model).__name__}. Try kurve.Regressor()."
        )
    return calibration_of(
        lambda level: model.predict_interval(x, coverage=level), y, levels
    )


@np.errstate(over="ignore")
def calibration_of(
    intervals: Callable[[float], Any], y: Any, levels: Sequence[float] = LEVELS
) -> Calibration:
    """Like `calibration`, from precomputed intervals at each level."""
    truth = as_numbers("calibration", "y", y, np.float64)
    covered, width = [], []
    for level in levels:
        bounds = np.asarray(intervals(level))
        low, high = bounds[..., 0], bounds[..., 1]
        inside = (low <= truth.reshape(low.shape)) & (truth.reshape(low.shape) <= high)
        covered.append(inside.mean())
        width.append((high - low).mean())
    nominal = np.asarray(levels, float)
    error = np.sqrt(nominal * (1 - nominal) / max(truth.shape[0], 1))
    return Calibration(nominal, np.array(covered), error, np.array(width))


@entry
def reliability(probabilities: Any, happened: Any, bins: int = 10) -> Reliability:
    """The observed frequency of events per bin of predicted probability.

    Args:
        probabilities: any shape, values between 0 and 1.
        happened: same shape, whether the event occurred: y[:, None] == classes.
        bins: number of equally wide bins for the probabilities.

    Source: DeGroot & Fienberg 1983; the error follows Guo et al. 2017, equation 3.

    Raises:
        ValueError: arrays of different sizes.

    Example:
        >>> found = kurve.inspection.reliability([0.1, 0.9, 0.8], [False, True, True])
        >>> round(found.error, 3)
        0.133
    """
    p = as_numbers("reliability", "probabilities", probabilities, np.float64)
    p = p.reshape(-1)
    event = as_numbers("reliability", "happened", happened, bool).reshape(-1)
    number = np.clip((p * bins).astype(int), 0, bins - 1)
    count = np.bincount(number, minlength=bins)
    filled = count > 0
    promised = np.bincount(number, p, bins)[filled] / count[filled]
    happened = np.bincount(number, event, bins)[filled] / count[filled]
    gap = np.abs(promised - happened)
    error = float((gap * count[filled]).sum() / max(count.sum(), 1))
    return Reliability(promised, happened, count[filled], error)


def confusion_matrix(y: Any, predicted: Any, classes: Sequence[Any]) -> np.ndarray:
    """Count rows by true class (rows) and predicted class (columns): int (k, k).
    `kurve.metrics.confusion_matrix` has scikit-learn's signature instead.

    Args:
        y: (n,), the true classes.
        predicted: (n,), the predicted classes.
        classes: all classes, in the order of rows and columns.

    Raises:
        ValueError: a class that is not in `classes`.

    Example:
        >>> kurve.inspection.confusion_matrix(["a", "b"], ["a", "a"], ["a", "b"])
        array([[1, 0],
               [1, 0]])
    """
    known = np.asarray(classes).tolist()
    numbers = []
    for name, values in (("y", y), ("predicted", predicted)):
        labels = as_array("confusion_matrix", name, values)
        each = scores.class_numbers(labels, classes)
        if (each < 0).any():
            unknown = labels[int(np.argmax(each < 0))]
            raise ValueError(
                "[confusion_matrix] every value must be one of the classes. Received: "
                f"{scalar(unknown)!r}. Try classes={known}."
            )
        numbers.append(each)
    return scores.count_pairs(numbers[0], numbers[1], len(known))


def r2(y: np.ndarray, predicted: np.ndarray) -> float:
    """1 - sum (y - predicted)^2 / sum (y - mean y)^2, averaged over the outputs.

    Args:
        y: true values, (n,) or (n, outputs).
        predicted: same shape.

    Raises:
        ValueError: arrays of different lengths.

    Example:
        >>> kurve.inspection.r2(np.array([1.0, 3.0]), np.array([1.0, 2.0]))
        0.5
    """
    return float(scores.r2(as_matrix(y), as_matrix(predicted)).mean())


def accuracy(y: np.ndarray, predicted: np.ndarray) -> float:
    """Fraction of correct predictions.

    Args:
        y: (n,), the true classes.
        predicted: (n,), the predicted classes.

    Raises:
        ValueError: arrays of different lengths.

    Example:
        >>> kurve.inspection.accuracy(np.array([1, 0]), np.array([1, 1]))
        0.5
    """
    return scores.accuracy(np.asarray(y), np.asarray(predicted))


def _grid(values: np.ndarray, grid: int | Sequence[Any]) -> np.ndarray:
    if not isinstance(grid, int):
        return np.asarray(grid)
    if values.dtype.kind in "fiu":
        values = values[np.isfinite(values)]
        unique = np.unique(values)
        if len(unique) <= grid:
            return unique
        return np.linspace(values.min(), values.max(), grid)
    known = [value for value in values.tolist() if value is not None]
    return np.array(sorted(set(known)), dtype=values.dtype)


class _Inputs:
    """An array or a dataframe, and predictions for it with one column changed."""

    def __init__(self, where: str, model: Any, x: Any, method: str = "predict") -> None:
        call = getattr(model, method, None)
        if not callable(call):
            raise TypeError(
                f"[{where}] model must have a method {method}. Received: an object of "
                f"type {type(model).__name__}. Try a fitted model."
            )
        if is_model(model):
            network_of(model).require_one_output(where)
        self._where = where
        self._call = call
        self._quiet = {"verbose": 0} if takes(call, "verbose") else {}
        self._frame: Any = None
        if hasattr(x, "columns") or hasattr(x, "column_names"):
            import narwhals.stable.v1 as nw

            self._frame = nw.from_native(x, eager_only=True)
            self.names = list(self._frame.columns)
            self._length = len(self._frame)
            return
        self._array = as_array(where, "x", x)
        if self._array.ndim == 1:
            self._array = self._array[:, None]
        if self._array.ndim != 2 or self._array.size == 0:
            raise ValueError(
                f"[{where}] x must have shape (n, features). "
                f"Received: x.shape={self._array.shape}. Try x.reshape(len(x), -1)."
            )
        self.names = [f"x{j + 1}" for j in range(self._array.shape[1])]
        self._length = len(self._array)

    def __len__(self) -> int:
        return self._length

    def index(self, feature: int | str) -> int:
        """The index of a column."""
        if isinstance(feature, str) and feature in self.names:
            return self.names.index(feature)
        if isinstance(feature, int) and 0 <= feature < len(self.names):
            return feature
        raise ValueError(
            f"[{self._where}] unknown feature. Received: {feature!r}. "
            f"Try one of: {', '.join(self.names)}."
        )

    def column(self, j: int) -> np.ndarray:
        """The values of column j."""
        if self._frame is None:
            return self._array[:, j]
        values = self._frame[self.names[j]].to_numpy()
        return np.asarray(values)

    def predict(
        self, j: int | None = None, order: np.ndarray | None = None, value: Any = None
    ) -> np.ndarray:
        """Predictions for the rows, with column j permuted or constant."""
        if self._frame is None:
            inputs = self._array
            if j is not None:
                inputs = inputs.copy()
                inputs[:, j] = inputs[order, j] if order is not None else value
        elif j is None:
            inputs = self._frame.to_native()
        else:
            import narwhals.stable.v1 as nw

            name = self.names[j]
            old = self._frame[name]
            if order is not None:
                new = old[order.tolist()]
            else:
                new = nw.new_series(
                    name,
                    [scalar(value)] * len(self),
                    None if old.dtype == nw.Categorical else _wide(old.dtype, value),
                    native_namespace=nw.get_native_namespace(self._frame),
                )
            changed = dict(zip(self.names, self._frame.iter_columns(), strict=True))
            inputs = self._frame.with_columns(**{**changed, name: new}).to_native()
        return np.asarray(self._call(inputs, **self._quiet))


def _wide(dtype: Any, value: Any) -> Any:
    """The column's dtype, or float64 for a fraction in an integer column."""
    import narwhals.stable.v1 as nw

    fraction = isinstance(value, float) and dtype.is_integer()
    return nw.Float64 if fraction else dtype
