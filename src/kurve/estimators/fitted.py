"""What `fit` has learned, as one immutable record, and its predictions.

    Fitted              encoding of the columns, scales, networks, the range of the data
    RegressionHead      from the networks' outputs to means, stds and intervals
    ClassificationHead  from the networks' outputs to probabilities
    Prediction          what a regressor predicts for some rows

An estimator keeps its record in `fitted_`; files, exporters and the command line read
it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from kurve.engines.reference.losses import MIN_VARIANCE
from kurve.estimators import defaults, intervals, outside
from kurve.estimators.columns import Columns
from kurve.estimators.intervals import Conformal, CrossValidation
from kurve.estimators.novelty import Novelty
from kurve.estimators.scaling import Scaler
from kurve.layers import Dense
from kurve.models import Sequential

LARGEST = 1e15
"""Predictions are compared up to this size, in standard deviations of the target."""


@dataclass(frozen=True, eq=False)
class RegressionHead:
    """How the outputs of a regressor's networks become predictions of T targets.

    outputs:    scaler of the targets
    likelihood: "none", "gaussian" or "quantile": what the networks output
    noise:      (T,) variance in scaled units, if the likelihood is "none"
    std_scale:  (T,) factor by which stds are multiplied to match held-out errors
    flat:       whether y had shape (n,)
    conformal:  errors of held-out rows, or None
    cross:      errors of the models of CV+, or None
    weights:    (members,) share of each network in the mixture, of sum 1; None if equal
    """

    outputs: Scaler
    likelihood: str
    noise: np.ndarray
    std_scale: np.ndarray
    flat: bool
    conformal: Conformal | None = None
    cross: CrossValidation | None = None
    weights: np.ndarray | None = None

    @property
    def targets(self) -> int:
        """T, the number of targets."""
        return len(self.outputs.mean)

    @np.errstate(over="ignore")
    def moments(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std of y (n, T) from the members' outputs (members, n, units).

        The mixture's variance is the mean of the variances plus the variance of the
        means. Source: Lakshminarayanan, Pritzel & Blundell 2017, section 2.4.
        """
        means, variances = self._each(outputs)
        mean = average(means, self.weights)
        spread = average((means - mean) ** 2, self.weights)
        total = average(variances, self.weights) + spread
        std = np.sqrt(total) * self.outputs.deviation * self.std_scale
        return self.outputs.backward(mean), std

    def points(self, outputs: np.ndarray) -> np.ndarray:
        """Mean prediction of some networks (n, T), in scaled units."""
        return np.asarray(self._each(outputs)[0].mean(axis=0))

    def loss(
        self, points: np.ndarray, targets: np.ndarray, weights: np.ndarray | None
    ) -> float:
        """Mean squared error of predictions (n, T), in scaled units."""
        errors = (np.clip(points, -LARGEST, LARGEST) - targets) ** 2
        return float(np.average(errors.mean(axis=1), weights=weights))

    def _each(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each member, in scaled units."""
        if self.likelihood == "gaussian":
            means, raw = outputs[..., : self.targets], outputs[..., self.targets :]
            return means, np.logaddexp(0.0, raw) + MIN_VARIANCE
        if self.likelihood == "quantile":
            shape = (*outputs.shape[:2], self.targets, -1)
            values = np.sort(outputs.reshape(shape), axis=-1)
            levels = defaults.QUANTILES
            low, high = levels.index(0.1), levels.index(0.9)
            std = (values[..., high] - values[..., low]) / defaults.DECILES
            return values[..., levels.index(0.5)], std**2 + MIN_VARIANCE
        return outputs, np.broadcast_to(self.noise, outputs.shape)

    def quantiles(self, outputs: np.ndarray) -> np.ndarray:
        """The learned quantiles in scaled units (n, T, Q), averaged over the members,
        in increasing order."""
        n = outputs.shape[1]
        values = outputs.mean(axis=0).reshape(n, self.targets, -1)
        return np.sort(values, axis=-1)

    def interval_method(self, interval: str, coverage: float) -> str:
        """The kind of interval selected by the estimator's argument `interval`.

        Raises:
            ValueError: training did not prepare it.
        """
        calibrated = self.conformal is not None
        quantiles = self.likelihood == "quantile"
        if interval == "auto":
            if self.conformal is not None and self.conformal.enough(coverage):
                return "conformal"
            return "quantile" if quantiles else "gaussian"
        available = {"conformal": calibrated, "quantile": quantiles, "cv+": False}
        if not available.get(interval, True):
            raise ValueError(
                f"[predict_interval] interval={interval!r} must be chosen before "
                f"fit, because training prepares it. Received: a model trained for "
                f"likelihood={self.likelihood!r} without it. Try fit again."
            )
        return interval


@dataclass(frozen=True, eq=False)
class ClassificationHead:
    """How the logits of a classifier's networks become probabilities.

    classes: the labels, in order
    weights: (members,) share of each network in the mixture, of sum 1; None if equal
    """

    classes: np.ndarray
    weights: np.ndarray | None = None

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes), averaged over the members, from the members'
        outputs (members, n, units)."""
        if logits.shape[-1] == 1:
            each = np.exp(-np.logaddexp(0.0, -logits[..., 0]))
            positive = average(each, self.weights)
            return np.stack([1.0 - positive, positive], axis=1)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        each = powers / powers.sum(axis=-1, keepdims=True)
        mean = average(each, self.weights)
        return np.asarray(mean / mean.sum(axis=1, keepdims=True))

    def points(self, outputs: np.ndarray) -> np.ndarray:
        """Mean probabilities of some networks (n, classes)."""
        return replace(self, weights=None).probabilities(outputs)

    def loss(
        self, points: np.ndarray, targets: np.ndarray, weights: np.ndarray | None
    ) -> float:
        """Log loss of probabilities (n, classes).

        Args:
            targets: class numbers, (n,) or (n, 1).
        """
        codes = targets.reshape(-1).astype(np.int64)
        chosen = points[np.arange(len(points)), codes]
        logs = np.log(np.maximum(chosen, np.finfo(np.float64).tiny))
        return float(-np.average(logs, weights=weights))


def average(each: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The mean over the first axis."""
    if weights is None:
        return np.asarray(each.mean(axis=0))
    return np.asarray(np.tensordot(weights, each, 1))


Head = TypeVar("Head")
"""RegressionHead or ClassificationHead."""


@dataclass(frozen=True, eq=False)
class Fitted(Generic[Head]):
    """What `fit` has learned.

    columns:      how a table becomes a matrix
    inputs:       scaler of that matrix
    head:         how the networks' outputs become predictions
    novelty:      location of the training rows
    history:      loss and val_loss of each epoch
    iterations:   epochs or iterations done
    targets:      number of targets
    target_names: names of the targets, if any
    partial:      whether `partial_fit` can continue with the members' optimizers
    members:      the trained networks, in scaled units
    folds:        the networks of CV+, each trained without one fold
    """

    columns: Columns
    inputs: Scaler
    head: Head
    novelty: Novelty
    history: dict[str, list[float]]
    iterations: int
    targets: int
    target_names: list[str] | None
    partial: bool = False
    members: list[Sequential] = field(default_factory=list, repr=False)
    folds: list[Sequential] = field(default_factory=list, repr=False)

    @cached_property
    def slope_spread(self) -> np.ndarray:
        """How much the slopes of a regressor's mean vary; see `outside`."""

        def means(z: np.ndarray) -> np.ndarray:
            scaler = self.head.outputs  # type: ignore[attr-defined]
            found = self.head.moments(self.outputs(z))[0]  # type: ignore[attr-defined]
            return np.asarray((found - scaler.mean) / scaler.deviation)

        return outside.slope_spread(
            means, self.novelty.sample, len(self.columns.numeric)
        )

    @cached_property
    def free_columns(self) -> np.ndarray:
        """Columns along which the prediction may rise and fall, bool (D,); of the
        others, `shapes` knows the direction."""
        first = self.members[0].layers[0]
        if not isinstance(first, Dense) or first.name != "signs":
            return np.ones(len(self.novelty.low), bool)
        return np.count_nonzero(first.kernel.value, axis=1) > 1

    def outputs(self, z: np.ndarray) -> np.ndarray:
        """The members' outputs for scaled inputs z: float64 (members, n, units)."""
        return outputs_of(self.members, z)


def outputs_of(networks: Sequence[Sequential], z: np.ndarray) -> np.ndarray:
    """The networks' outputs for scaled inputs z: float64 (networks, n, units)."""
    return np.stack(
        [network.predict(z, verbose=0).astype(np.float64) for network in networks]
    )


class Prediction:
    """What a regressor predicts for some rows. The networks run only once, on first
    use, no matter how many means, stds and intervals are requested.

    Args:
        fitted: record of the regressor.
        z: scaled inputs (n, D).
        interval: the regressor's argument `interval`.
    """

    def __init__(
        self, fitted: Fitted[RegressionHead], z: np.ndarray, interval: str = "auto"
    ) -> None:
        self._fitted, self._head, self._z = fitted, fitted.head, z
        self._interval = interval

    @cached_property
    def _outputs(self) -> np.ndarray:
        return self._fitted.outputs(self._z)

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return self._head.moments(self._outputs)

    @property
    def mean(self) -> np.ndarray:
        """(n, T)"""
        return self._moments[0]

    @property
    def std(self) -> np.ndarray:
        """(n, T)"""
        return self._moments[1]

    @cached_property
    def by_fold(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and stds (folds, n, T) of the models of each fold of CV+."""
        outputs = outputs_of(self._fitted.folds, self._z)
        members = len(self._fitted.members)
        pairs = [
            self._head.moments(outputs[first : first + members])
            for first in range(0, len(outputs), members)
        ]
        return np.stack([m for m, _ in pairs]), np.stack([s for _, s in pairs])

    @cached_property
    def outside(self) -> np.ndarray:
        """Which rows lie outside the training data: bool (n,)."""
        return self._fitted.novelty.outside(self._z)

    def intervals(self, coverage: float) -> np.ndarray:
        """Low and high ends (n, T, 2); outside the range of the training data, wider
        with the distance (see `outside`).

        Raises:
            ValueError: a coverage that the model cannot provide; see
                `Regressor.predict_interval`.
        """
        ends = self._intervals(coverage)
        fitted = self._fitted
        beyond = self._beyond
        rows = np.flatnonzero(beyond.any(axis=1))
        if len(rows):
            near = self._at_border
            extra = outside.extra_std(beyond[rows], fitted.slope_spread)
            ends[rows] = intervals.widened(
                self.mean[rows],
                ends[rows],
                near.mean,
                near._intervals(coverage),
                extra * fitted.head.outputs.deviation,
                coverage,
            )
        return ends

    @cached_property
    def _beyond(self) -> np.ndarray:
        """By how much the rows lie beyond the training range, (n, D); in z without
        tails, so that the distance grows as that of the values."""
        fitted, known = self._fitted, self._fitted.novelty
        low, high, z = (
            fitted.inputs.straight(np.asarray(part, np.float64))
            for part in (known.low, known.high, self._z)
        )
        # Along the other columns, a bound at the border holds beyond it.
        return np.where(fitted.free_columns, outside.excess(z, low, high), 0.0)

    @cached_property
    def _at_border(self) -> Prediction:
        """The prediction at the point where the rows outside the training range leave
        it."""
        fitted = self._fitted
        low, high = fitted.novelty.low, fitted.novelty.high
        free = fitted.free_columns
        z = self._z[self._beyond.any(axis=1)]
        inside = np.where(free, np.clip(z, low, high), z).astype(np.float32)
        return Prediction(fitted, inside, self._interval)

    def _intervals(self, coverage: float) -> np.ndarray:
        head = self._head
        if head.cross is not None:
            return head.cross.interval(*self.by_fold, coverage)
        method = head.interval_method(self._interval, coverage)
        if method == "quantile":
            scaled = intervals.between_quantiles(
                head.quantiles(self._outputs), np.array(defaults.QUANTILES), coverage
            )
            return head.outputs.backward(scaled.swapaxes(1, 2)).swapaxes(1, 2)
        if method == "conformal":
            assert head.conformal is not None
            return head.conformal.interval(self.mean, self.std, coverage)
        return intervals.gaussian(self.mean, self.std, coverage)
