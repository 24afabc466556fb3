"""The predictions of a fitted model for some rows, for any kind of model and data:
Kurve estimators or anything with `predict`; arrays or dataframes."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.arrays import as_array, as_numbers

if TYPE_CHECKING:
    from kurve.estimators.fitted import Prediction


class Predictions:
    """Everything a model predicts for some rows. Each result is computed on first use
    and cached; results that the model cannot provide are None.

    Args:
        model: has `predict`; a classifier also `classes_` and `predict_proba`.
        x: rows to predict.
    """

    def __init__(self, model: Any, x: Any) -> None:
        self._model, self._x = model, x

    def for_rows(self, x: Any) -> Predictions:
        """What the same model predicts for other rows."""
        return Predictions(self._model, x)

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """What the model reads: the encoded columns of an estimator of Kurve, else the
        columns of x."""
        if self._encoded is None:
            return columns_of(self._x)
        return {str(number): values for number, values in enumerate(self._encoded.T)}

    @cached_property
    def _encoded(self) -> np.ndarray | None:
        """The inputs of the networks of an estimator of Kurve."""
        from kurve.estimators.base import Estimator

        if not isinstance(self._model, Estimator):
            return None
        return self._model.encoded("predict", self._x)

    @cached_property
    def _of_regressor(self) -> Prediction | None:
        """Results of one pass through the networks of a Regressor."""
        from kurve.estimators.regressor import Regressor, prediction_of

        if type(self._model) is not Regressor:  # a subclass may predict differently
            return None
        assert self._encoded is not None
        return prediction_of(self._model, self._encoded)

    @cached_property
    def classes(self) -> list[Any] | None:
        """The classes of a classifier, in the column order of its probabilities."""
        classes = getattr(self._model, "classes_", None)
        return None if classes is None else list(np.asarray(classes).tolist())

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Class probabilities (n, classes) of a classifier."""
        from kurve.estimators.classifier import Classifier, probabilities_of

        if type(self._model) is Classifier:
            assert self._encoded is not None
            return probabilities_of(self._model, self._encoded)
        return np.asarray(call_quietly(self._model.predict_proba, self._x), float)

    @cached_property
    def labels(self) -> np.ndarray:
        """Classes (n,) predicted by a classifier."""
        from kurve.estimators.classifier import Classifier

        if type(self._model) is Classifier:
            return self._model.classes_[self.probabilities.argmax(axis=1)]
        return np.asarray(call_quietly(self._model.predict, self._x))

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray | None]:
        if self._of_regressor is not None:
            return self._of_regressor.mean, self._of_regressor.std
        if takes(self._model.predict, "return_std"):
            mean, std = self._model.predict(self._x, return_std=True)
            return as_matrix(mean), as_matrix(std)
        return as_matrix(call_quietly(self._model.predict, self._x)), None

    @property
    def mean(self) -> np.ndarray:
        """Mean predictions (n, outputs) of a regressor."""
        return self._moments[0]

    @property
    def std(self) -> np.ndarray | None:
        """Standard deviations (n, outputs) of a regressor."""
        return self._moments[1]

    @property
    def has_intervals(self) -> bool:
        """Whether the model has prediction intervals."""
        return callable(getattr(self._model, "predict_interval", None))

    def intervals(self, coverage: float) -> np.ndarray:
        """Prediction intervals (n, outputs, 2) of a regressor."""
        if self._of_regressor is not None:
            return self._of_regressor.intervals(coverage)
        bounds = np.asarray(self._model.predict_interval(self._x, coverage=coverage))
        return bounds.reshape(len(bounds), -1, 2)

    @cached_property
    def outside(self) -> np.ndarray | None:
        """Which rows lie outside the training data: bool (n,)."""
        if self._of_regressor is not None:
            return self._of_regressor.outside
        call = getattr(self._model, "extrapolates", None)
        return np.asarray(call(self._x), bool) if callable(call) else None


def takes(call: Any, name: str) -> bool:
    """Whether a function has an argument with that name."""
    return name in inspect.signature(call).parameters


def call_quietly(call: Any, x: Any) -> Any:
    """Return call(x) without showing a progress bar."""
    return call(x, verbose=0) if takes(call, "verbose") else call(x)


def as_matrix(values: Any) -> np.ndarray:
    """Convert to float64 (n, outputs); (n,) means one output."""
    array = as_numbers("assess", "y", values, np.float64)
    return array[:, None] if array.ndim == 1 else array


def take_rows(x: Any, rows: np.ndarray) -> Any:
    """Some rows of an array or a dataframe."""
    if hasattr(x, "columns") or hasattr(x, "column_names"):
        import narwhals.stable.v1 as nw

        return nw.from_native(x, eager_only=True)[rows.tolist()].to_native()
    return as_array("assess", "x", x)[rows]


def columns_of(x: Any) -> dict[str, np.ndarray]:
    """The columns of an array (n, k), named x1, x2, ..., or of a dataframe: numbers and
    booleans unchanged, everything else as objects, None where missing."""
    if hasattr(x, "columns") or hasattr(x, "column_names"):
        import narwhals.stable.v1 as nw

        frame = nw.from_native(x, eager_only=True)
        return {name: _as_column(frame[name]) for name in frame.columns}
    array = as_array("assess", "x", x)
    array = array.reshape(len(array), -1)
    return {f"x{j + 1}": array[:, j] for j in range(array.shape[1])}


def _as_column(series: Any) -> np.ndarray:
    if series.dtype.is_numeric():
        missing = series.is_null().to_numpy()
        if not missing.any():  # NumPy rounds integers beyond 2**53, which frames refuse
            return np.asarray(series.to_numpy(), float)
        numbers = np.array(series.fill_null(0).to_numpy(), float)
        numbers[missing] = np.nan
        return numbers
    values = np.asarray(series.to_list(), dtype=object)
    if series.null_count() == 0 and all(type(v) is bool for v in values[:1]):
        return values.astype(bool)
    return values
