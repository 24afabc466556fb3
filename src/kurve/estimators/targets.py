"""Targets: the numbers that a network is trained on instead of y, and what must be
learned from y to compute them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve import losses
from kurve.core.arrays import as_array, as_numbers, scalar
from kurve.estimators import defaults, far_values
from kurve.estimators.frames import names_of_targets
from kurve.estimators.labels import of_one_kind, read_labels
from kurve.estimators.notes import Note
from kurve.estimators.scaling import Moments, Scaler
from kurve.losses import Loss


@dataclass
class Targets:
    """Targets as numbers.

    values: (n, T) float64; class numbers (n, 1) for a classifier
    flat:   whether they were passed as (n,)
    names:  names of the targets, if any
    """

    values: np.ndarray
    flat: bool
    names: list[str] | None


@dataclass
class Limits:
    """Outliers of targets; see `estimators.far_values`.

    ends:  (2, T) beyond which values are far
    reach: (T,) how far beyond they are outliers; infinite if none is

    both in quarters
    """

    ends: np.ndarray
    reach: np.ndarray

    @classmethod
    def learn(cls, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> Limits | None:
        """The limits of targets; None if no value is an outlier.

        Args:
            y: (n, T) the targets, or a sample.
            low, high: (T,) the range of all.
        """
        ends = far_values.ends(y)
        both = np.vstack([y, low, high]) / 4
        reach = np.array(
            [
                far_values.first_outlier(values, *limits)
                for values, limits in zip(both.T, ends.T, strict=True)
            ]
        )
        return cls(ends, reach) if np.isfinite(reach).any() else None

    @classmethod
    def beyond(cls, scaler: Scaler) -> Limits:
        """The limits of rows that come after those of which this is the scaler."""
        low, high = scaler.low / 4, scaler.high / 4
        span = high - low
        with np.errstate(over="ignore"):
            reach = np.where(span > 0.0, far_values.OUTLIER * span, np.inf)
        return cls(np.stack([low - span, high + span]), reach)

    def _outliers(self, y: np.ndarray) -> np.ndarray:
        quarters = y / 4
        beyond = np.maximum(self.ends[0] - quarters, quarters - self.ends[1])
        return np.asarray(beyond >= self.reach)

    def apply(
        self, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See `TargetEncoder.without_outliers`; in the place of outliers is the nearer
        end, so that nothing overflows."""
        outlying = self._outliers(y)
        if not outlying.any():
            return y, weights
        counted = np.ones(len(y)) if weights is None else weights
        limited = np.where(outlying, np.clip(y / 4, *self.ends) * 4, y)
        return limited, np.where(outlying.any(axis=1), 0.0, counted)

    def notes(self, y: np.ndarray) -> list[Note]:
        """What is to be said of the outliers among y."""
        outlying = self._outliers(y)
        if not outlying.any():
            return []
        text = (
            f"the target holds values more than {far_values.OUTLIER:g} times as far "
            f"away as most others spread, such as {y[outlying][0]:.6g}: these rows "
            "were left out. If the values are right, try the logarithm of the target"
        )
        return [Note(text, "loss")]


class TargetEncoder:
    """Base class of `RealTargets` and `ClassTargets`."""

    def read(self, where: str, y: Any) -> Targets:
        """Convert y to numbers.

        Raises:
            TypeError, ValueError: y that this kind of estimator cannot learn.
        """
        raise NotImplementedError

    def allows_flat_inputs(self, y: Any) -> bool:
        """Whether a one-dimensional X is accepted as one column in `fit`."""
        return False

    def learn_limits(self, where: str, y: np.ndarray) -> list[Note]:
        """Learn from all targets (n, T) which values are outliers; what is to be said
        of them.

        Args:
            where: the method: "partial_fit" goes on with the limits of the first rows.
        """
        return []

    def without_outliers(
        self, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets (n, T) and weights (n,), which are 0 for rows with outliers."""
        return y, weights

    def learn(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Learn whatever scaling needs from all targets (n, T)."""

    def learn_batch(self, y: Any, weights: np.ndarray | None) -> None:
        """Learn from the targets of one of many batches."""
        raise NotImplementedError

    def finish_batches(self, sample: np.ndarray) -> list[Note]:
        """Apply the statistics collected by `learn_batch`; what is to be said of
        outliers.

        Args:
            sample: of the targets (m, T).
        """
        raise NotImplementedError

    def row_weights(
        self, y: np.ndarray, weights: np.ndarray | None
    ) -> np.ndarray | None:
        """The weights of the rows, including class weights."""
        return weights

    def scale(self, y: np.ndarray) -> np.ndarray:
        """Targets (n, T) as the networks are trained on them, float32."""
        raise NotImplementedError

    def output_layer(self, likelihood: str) -> tuple[int, Loss]:
        """Units of the output layer, and the loss.

        Args:
            likelihood: the likelihood of a regressor.
        """
        raise NotImplementedError


class RealTargets(TargetEncoder):
    """Numeric targets, which are scaled.

    Args:
        scale: whether to scale them.
        scaler: scaler of the previous training, if it is continued.
        positive: whether they are never negative: they are then scaled but not shifted.
    """

    def __init__(
        self, scale: bool = True, scaler: Scaler | None = None, positive: bool = False
    ) -> None:
        self._scale, self._moments, self._positive = scale, Moments(), positive
        self._continued = scaler is not None
        self.scaler = scaler
        self._limits: Limits | None = None

    def read(self, where: str, y: Any) -> Targets:
        array = as_array(where, "y", y)
        names = names_of_targets(y)
        if array.dtype.kind in "OUST":
            text = next((v for v in array.flat if isinstance(v, (str, bytes))), None)
            if text is not None:
                text = scalar(text)
                raise ValueError(
                    f"[{where}] y must hold real numbers. Received: {text!r} of type "
                    f"{type(text).__name__}. Try kurve.Classifier for classes."
                )
        array = as_numbers(where, "y", y)
        if array.ndim not in (1, 2) or array.size == 0:
            raise ValueError(
                f"[{where}] y must have shape (n,) or (n, outputs) and not be empty. "
                f"Received: shape {array.shape}. Try y.reshape(len(y), -1)."
            )
        values = np.ascontiguousarray(array.reshape(len(array), -1), np.float64)
        non_finite = ~np.isfinite(values)
        if non_finite.any():
            row, column = (int(i) for i in np.argwhere(non_finite)[0])
            value = values[row, column]
            place = f"y[{row}]" if array.ndim == 1 else f"y[{row}, {column}]"
            kind = "NaN" if value != value else "infinity"
            raise ValueError(
                f"[{where}] y must be finite: Input y contains {kind}. Received: "
                f"{place} = {value} ({int(non_finite.sum())} such values in total). "
                "Try dropping these rows."
            )
        if self._positive and where in ("fit", "partial_fit") and values.min() < 0.0:
            raise ValueError(
                f"[{where}] y must not be negative, because the model is positive. "
                f"Received: a target of {values.min()}. Try positive=False."
            )
        return Targets(values, array.ndim == 1, names)

    def allows_flat_inputs(self, y: Any) -> bool:
        return as_array("fit", "y", y, missing=True).dtype.kind == "f"

    def learn_limits(self, where: str, y: np.ndarray) -> list[Note]:
        if not self._scale:
            return []
        if not self._continued:
            self._limits = Limits.learn(y, y.min(axis=0), y.max(axis=0))
        elif where == "partial_fit" and self.scaler is not None:
            self._limits = Limits.beyond(self.scaler)
        return [] if self._limits is None else self._limits.notes(y)

    def without_outliers(
        self, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        return (y, weights) if self._limits is None else self._limits.apply(y, weights)

    def learn(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        if not self._continued:
            self._keep(Scaler.learn(y, weights, self._scale))

    def learn_batch(self, y: Any, weights: np.ndarray | None) -> None:
        self._moments.add(self.read("fit", y).values, weights)

    def finish_batches(self, sample: np.ndarray) -> list[Note]:
        if self._continued:
            return []
        scaler = self._moments.scaler(self._scale)
        if self._scale:
            self._limits = Limits.learn(sample, scaler.low, scaler.high)
        if self._limits is None:
            self._keep(scaler)
            return []
        self._keep(Scaler.learn(*self._limits.apply(sample, None)))
        return self._limits.notes(np.vstack([sample, scaler.low, scaler.high]))

    def _keep(self, scaler: Scaler) -> None:
        if self._positive and self._scale:
            size = np.hypot(scaler.mean, scaler.deviation)
            scaler = Scaler(
                np.zeros_like(size),
                np.where(size > 0.0, size, 1.0),
                scaler.low,
                scaler.high,
            )
        self.scaler = scaler

    def scale(self, y: np.ndarray) -> np.ndarray:
        assert self.scaler is not None
        return self.scaler.forward(y)

    def output_layer(self, likelihood: str) -> tuple[int, Loss]:
        assert self.scaler is not None
        targets = len(self.scaler.mean)
        if likelihood == "gaussian":
            return 2 * targets, losses.GaussianNLL(defaults.BETA)
        if likelihood == "quantile":
            quantiles = defaults.QUANTILES
            return len(quantiles) * targets, losses.Pinball(quantiles)
        return targets, losses.MeanSquaredError()


class ClassTargets(TargetEncoder):
    """Labels, which become class numbers.

    Args:
        class_weight: the classifier's argument.
        classes: the labels in order, if already known.
    """

    def __init__(self, class_weight: Any, classes: np.ndarray | None = None) -> None:
        self._class_weight = class_weight
        self._known = classes is not None
        self._classes = classes
        self._counts: dict[Any, int] = {}
        self._balance: np.ndarray | None = None

    @property
    def classes(self) -> np.ndarray:
        """The labels, in order."""
        assert self._classes is not None
        return self._classes

    def read(self, where: str, y: Any) -> Targets:
        labels, flat = read_labels(where, y)
        classes = np.unique(labels) if self._classes is None else self._classes
        if len(classes) < 2:
            raise ValueError(
                f"[{where}] y must have at least 2 classes. Received: "
                f"{len(classes)} class, {classes.tolist()[0]!r}. "
                "Try adding rows of other classes."
            )
        kinds = {a.dtype.kind in "UO" for a in (classes, labels)}
        if len(kinds) > 1:
            raise _unknown(where, labels, 0, classes)
        codes = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        unknown = classes[codes] != labels
        if unknown.any():
            raise _unknown(where, labels, int(np.argmax(unknown)), classes)
        self._classes = classes
        return Targets(codes.astype(np.float64)[:, None], flat, names_of_targets(y))

    def learn_batch(self, y: Any, weights: np.ndarray | None) -> None:
        labels, counts = np.unique(read_labels("fit", y)[0], return_counts=True)
        if self._known:
            return
        for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
            self._counts[label] = self._counts.get(label, 0) + count
        before = [] if self._classes is None else self._classes.tolist()
        both = np.array([*before, *labels.tolist()], object)
        self._classes = np.unique(of_one_kind("fit", both))

    def finish_batches(self, sample: np.ndarray) -> list[Note]:
        if not self._known and isinstance(self._class_weight, str):
            counts = np.array([self._counts[c] for c in self.classes.tolist()], float)
            self._balance = counts.sum() / (len(counts) * counts)
        return []

    def row_weights(
        self, y: np.ndarray, weights: np.ndarray | None
    ) -> np.ndarray | None:
        if self._class_weight is None:
            return weights
        codes = y[:, 0].astype(np.int64)
        weighted = self._class_weights(codes, weights)[codes]
        weighted = weighted * (1.0 if weights is None else weights)
        if not weighted.any():
            raise ValueError(
                "[fit] some rows must have a weight above 0. Received: class_weight="
                f"{self._class_weight!r}, which is 0 for every class of y. "
                "Try class_weight='balanced'."
            )
        return np.asarray(weighted)

    def _class_weights(
        self, codes: np.ndarray, weights: np.ndarray | None
    ) -> np.ndarray:
        """The weight of each class (classes,)."""
        if self._balance is not None:
            return self._balance
        classes = self.classes.tolist()
        if isinstance(self._class_weight, str):
            counts = np.bincount(codes, weights, len(classes))
            return np.where(counts > 0, 1.0 / np.maximum(counts, 1e-300), 0.0)
        assert isinstance(self._class_weight, Mapping)
        each = np.ones(len(classes))
        for label, weight in self._class_weight.items():
            if label not in classes:
                raise ValueError(
                    "[fit] class_weight must use classes that occur in y. Received: "
                    f"{label!r}. Known: {classes!r}."
                )
            each[classes.index(label)] = weight
        return each

    def scale(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(y[:, 0] if len(self.classes) > 2 else y, np.float32)

    def output_layer(self, likelihood: str) -> tuple[int, Loss]:
        classes = len(self.classes)
        if classes == 2:
            return 1, losses.BinaryCrossentropy(from_logits=True)
        return classes, losses.SparseCategoricalCrossentropy(from_logits=True)


def _unknown(
    where: str, labels: np.ndarray, row: int, classes: np.ndarray
) -> ValueError:
    return ValueError(
        f"[{where}] y must hold known classes. Received: y[{row}] = "
        f"{labels[row : row + 1].tolist()[0]!r}. Known: {classes.tolist()!r}. "
        "Try fit with all classes."
    )
