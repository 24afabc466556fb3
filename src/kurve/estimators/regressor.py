"""Regressor: from a table of numbers to a function with error bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, overload

import numpy as np

from kurve import data, losses, scores
from kurve.core.arrays import as_array, as_numbers
from kurve.core.entries import entries
from kurve.engines.reference.losses import MIN_VARIANCE
from kurve.errors import lookup
from kurve.estimators import defaults, intervals
from kurve.estimators.base import Estimator
from kurve.estimators.fitting import FitSession, Parts, Sample, Targets
from kurve.estimators.frames import names_of_targets
from kurve.estimators.intervals import Conformal, CrossValidation
from kurve.estimators.scaling import Moments, Scaler
from kurve.losses import Loss
from kurve.models import Sequential

LIKELIHOODS = ("auto", "none", "gaussian", "quantile")
INTERVALS = ("auto", "gaussian", "quantile", "conformal", "cv+")


@entries
class Regressor(Estimator):
    """A network, or several, that learns numbers from a table.
    Inputs and targets are scaled and scaled back, text and categorical columns become
    one column a level, and what "auto" stands for depends on the size of the table (see
    `kurve.estimators.defaults`). The conventions are scikit-learn's.

    Args:
        hidden_layer_sizes: widths of the hidden layers, or a `Sequential` of hidden
            layers, which is copied and never changed; an output layer is added. A first
            layer `FourierFeatures` or `Normalization` that has seen no data yet learns
            from the scaled rows.
        activation: of the hidden layers.
        solver: "lm" (Levenberg-Marquardt, for small networks and tables), "lbfgs", or
            the name or an object of an optimizer.
        likelihood: "none" (squared error), "gaussian" (the network learns a mean and a
            variance) or "quantile" (it learns quantiles; `predict` gives the median).
        members: networks that are trained side by side; the prediction is that of
            their mixture.
        learning_rate: a number or a schedule; of the highest rate, "auto" makes a
            one-cycle schedule.
        batch_size, max_epochs: of the optimizer; max_epochs also limits the iterations
            of "lm" and "lbfgs".
        early_stopping: whether an optimizer stops when rows that it does not train with
            are predicted worse again, and goes back to the best weights.
        validation_fraction: share of the rows that are held out for it.
        patience: epochs without improvement after which it stops.
        alpha: alpha * (sum of squared weights) is added to the loss.
        dropout: share of hidden values that are dropped in training.
        scale: whether inputs and targets are scaled.
        missing: "error" refuses missing values; "impute" puts the median, or the most
            frequent level, in their place and adds a column that says so.
        interval: what `predict_interval` gives: "gaussian" (mean and deviation),
            "quantile" (learnt quantiles), "conformal" (from errors of a fifth of the
            rows, held out), "cv+" (from errors of models that left a fold out), or
            "auto": errors of the rows that early stopping held out if there are enough,
            else "gaussian".
        warm_start: whether `fit` goes on from the weights and scales that are there.
        random_state: None, an integer, a RandomState or a Generator.
        verbose: 0 silent, 1 progress bar, 2 one line an epoch.
        engine: "native" or "reference"; None for the default.

    Attributes:
        models_: the trained networks, in scaled units.
        history_: loss and val_loss of every epoch, the mean over the members.
        n_features_in_, n_outputs_: columns of X; targets.
        feature_names_in_: names of the columns, where X had names.
        target_names_: names of the targets, or None.
        n_iter_: epochs or iterations done.

    Raises:
        TypeError, ValueError: at `fit`, an argument of the wrong kind or out of range.

    Example:
        >>> X = np.linspace(-1.0, 1.0, 40)[:, None]
        >>> model = kurve.Regressor((8,), max_epochs=50, random_state=0)
        >>> model = model.fit(X, X[:, 0] ** 2)
        >>> mean, std = model.predict(X, return_std=True)
        >>> model.predict_interval(X, coverage=0.9).shape
        (40, 2)
    """

    _kind = "regressor"
    _estimator_type = "regressor"
    _outputs: Scaler
    _likelihood: str
    _noise: np.ndarray
    _spread: np.ndarray
    """(T,) what deviations are multiplied with so that they fit held-out errors."""
    _conformal: Conformal | None
    _cross: CrossValidation | None
    _folds: list[Sequential]
    _flat: bool
    target_names_: list[str] | None

    def __init__(
        self,
        hidden_layer_sizes: Any = "auto",
        activation: Any = "auto",
        solver: Any = "auto",
        *,
        likelihood: str = "auto",
        members: int = 1,
        learning_rate: Any = "auto",
        batch_size: Any = "auto",
        max_epochs: Any = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        patience: Any = "auto",
        alpha: float = 0.0,
        dropout: float = 0.0,
        scale: bool = True,
        missing: str = "error",
        interval: str = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        engine: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.likelihood = likelihood
        self.members = members
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.alpha = alpha
        self.dropout = dropout
        self.scale = scale
        self.missing = missing
        self.interval = interval
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.engine = engine

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.regressor_tags = RegressorTags()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags

    # ---------------------------------------------------------------- prediction

    @overload
    def predict(self, X: Any, return_std: Literal[False] = False) -> np.ndarray: ...
    @overload
    def predict(
        self, X: Any, return_std: Literal[True]
    ) -> tuple[np.ndarray, np.ndarray]: ...
    def predict(
        self, X: Any, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The prediction for X: float64 (n,), or (n, outputs) if y had that shape.

        Args:
            X: (n, columns), the columns of the training data.
            return_std: give the standard deviation of y around it too: of the mixture
                of all members, noise included.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: other columns, missing values, unseen levels.
        """
        z, _ = self._encoded("predict", X)
        mean, deviation = self._moments(self._outputs_of(z))
        if not return_std:
            return self._shaped(mean)
        return self._shaped(mean), self._shaped(deviation)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Intervals that hold a new y with that probability: low and high, float64
        (n, 2), or (n, outputs, 2) if y had several.

        Args:
            X: as in `predict`.
            coverage: between 0 and 1; for each output by itself.

        Raises:
            NotFittedError: before `fit`.
            ValueError: too few rows were held out for that coverage.
        """
        coverage = intervals.check_coverage(coverage)
        z, _ = self._encoded("predict_interval", X)
        found = self._intervals(z, coverage)
        return found[:, 0] if self._flat else found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 of the prediction, the mean over the outputs.

        Args:
            X, y, sample_weight: see `fit`.
        """
        truth = self._read_targets("score", y, {}).values
        predicted = self.predict(X)
        data.check_same_length("score", X=predicted, y=truth)
        predicted = predicted.reshape(len(truth), -1)
        weights = None
        if sample_weight is not None:
            weights = data.as_weights("score", sample_weight, len(truth), np.float64)
        return float(scores.r2(truth, predicted, weights).mean())

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0] if self._flat else values

    @np.errstate(over="ignore")
    def _moments(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of y (n, T) from the members' outputs (members, n, units).

        The mixture's variance is the mean of the variances and the variance of the
        means. Source: Lakshminarayanan, Pritzel & Blundell 2017, section 2.4.
        """
        means, variances = self._each(outputs)
        total = variances.mean(axis=0) + means.var(axis=0)
        deviation = np.sqrt(total) * self._outputs.deviation * self._spread
        return self._outputs.backward(means.mean(axis=0)), deviation

    def _each(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance that every member names, in scaled units."""
        targets = len(self._outputs.mean)
        if self._likelihood == "gaussian":
            means, raw = outputs[..., :targets], outputs[..., targets:]
            return means, np.logaddexp(0.0, raw) + MIN_VARIANCE
        if self._likelihood == "quantile":
            values = np.sort(outputs.reshape(*outputs.shape[:2], targets, -1), axis=-1)
            levels = defaults.QUANTILES
            low, high = levels.index(0.1), levels.index(0.9)
            spread = (values[..., high] - values[..., low]) / defaults.DECILES
            return values[..., levels.index(0.5)], spread**2 + MIN_VARIANCE
        return outputs, np.broadcast_to(self._noise, outputs.shape)

    def _intervals(self, z: np.ndarray, coverage: float) -> np.ndarray:
        """Intervals (n, T, 2) of scaled inputs."""
        if self._cross is not None:
            means, deviations = self._by_fold(z)
            return self._cross.interval(means, deviations, coverage)
        outputs = self._outputs_of(z)
        method = self._method(coverage)
        if method == "quantile":
            targets = len(self._outputs.mean)
            values = outputs.mean(axis=0).reshape(len(z), targets, -1)
            scaled = intervals.between_quantiles(
                np.sort(values, axis=-1), np.array(defaults.QUANTILES), coverage
            )
            return self._outputs.backward(scaled.swapaxes(1, 2)).swapaxes(1, 2)
        mean, deviation = self._moments(outputs)
        if method == "conformal":
            assert self._conformal is not None
            return self._conformal.interval(mean, deviation, coverage)
        return intervals.gaussian(mean, deviation, coverage)

    def _method(self, coverage: float) -> str:
        """Which kind of interval to give."""
        there = self._conformal is not None
        if self.interval == "auto":
            if (
                there
                and self._conformal is not None
                and self._conformal.enough(coverage)
            ):
                return "conformal"
            return "quantile" if self._likelihood == "quantile" else "gaussian"
        needed = {"conformal": there, "quantile": self._likelihood == "quantile"}
        if self.interval == "cv+" or not needed.get(self.interval, True):
            raise ValueError(
                f"[predict_interval] interval={self.interval!r} must be chosen before "
                f"fit, because training prepares it. Received: a model trained for "
                f"likelihood={self._likelihood!r} without it. Try fit again."
            )
        return self.interval

    def _by_fold(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (folds, n, T) that the models of every fold say."""
        outputs = np.stack(
            [model.predict(z, verbose=0).astype(np.float64) for model in self._folds]
        )
        members = len(self.models_)
        pairs = [
            self._moments(outputs[first : first + members])
            for first in range(0, len(outputs), members)
        ]
        return np.stack([m for m, _ in pairs]), np.stack([d for _, d in pairs])

    # ---------------------------------------------------------------- training

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One pass over some rows, for data that comes bit by bit.

        The first call learns columns, levels and scales from its rows, so let them be
        many and typical. The learning rate is constant. Intervals are "gaussian" or
        "quantile", because no rows are held out.

        Args:
            X, y, sample_weight: see `fit`.
        """
        return self._partial_fit(X, y, sample_weight)

    def _own_checks(self) -> None:
        lookup("Regressor", "likelihood", self.likelihood, dict.fromkeys(LIKELIHOODS))
        lookup("Regressor", "interval", self.interval, dict.fromkeys(INTERVALS))
        if self.interval == "quantile" and self.likelihood not in ("auto", "quantile"):
            raise ValueError(
                "[Regressor] interval='quantile' needs likelihood='quantile'. "
                f"Received: likelihood={self.likelihood!r}. Try likelihood='auto'."
            )
        if self.solver == "lm" and self.likelihood not in ("auto", "none"):
            raise ValueError(
                "[Regressor] solver='lm' minimises squared errors only. Received: "
                f"likelihood={self.likelihood!r}. Try solver='auto'."
            )
        if self.solver == "lm" and self.interval == "quantile":
            raise ValueError(
                "[Regressor] solver='lm' cannot learn quantiles. "
                "Received: interval='quantile'. Try interval='cv+'."
            )

    def _choice(
        self,
        solver: str,
        rows: int,
        features: int,
        targets: int,
        hidden: tuple[int, ...] | None,
        full_batch: bool,
    ) -> defaults.Hyperparameters:
        return defaults.choose(
            rows, features, targets, False, solver, self.likelihood, self.interval,
            hidden, full_batch,
        )  # fmt: skip

    def _see_targets(
        self, y: Any, weights: np.ndarray | None, fitted: dict[str, Any]
    ) -> None:
        moments: Moments = fitted.setdefault("_moments_seen", Moments())
        moments.add(self._read_targets("fit", y, fitted).values, weights)

    def _seen_targets(self, fitted: dict[str, Any]) -> None:
        moments: Moments = fitted.pop("_moments_seen")
        if not self.warm_start or not hasattr(self, "models_"):
            fitted["_outputs"] = moments.scaler(bool(self.scale))

    def _is_curve(self, y: Any) -> bool:
        return as_array("fit", "y", y, missing=True).dtype.kind == "f"

    def _read_targets(self, where: str, y: Any, fitted: dict[str, Any]) -> Targets:
        array = as_array(where, "y", y)
        names = names_of_targets(y)
        if array.dtype.kind in "OUST":
            text = next((v for v in array.flat if isinstance(v, (str, bytes))), None)
            if text is not None:
                text = text.item() if isinstance(text, np.generic) else text
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
        bad_values = ~np.isfinite(values)
        if bad_values.any():
            row, column = (int(i) for i in np.argwhere(bad_values)[0])
            value = values[row, column]
            place = f"y[{row}]" if array.ndim == 1 else f"y[{row}, {column}]"
            kind = "NaN" if value != value else "infinity"
            raise ValueError(
                f"[{where}] y must be finite: Input y contains {kind}. Received: "
                f"{place} = {value} ({int(bad_values.sum())} such values in all). "
                "Try leaving these rows out."
            )
        return Targets(values, array.ndim == 1, names)

    def _head(self, likelihood: str, fitted: dict[str, Any]) -> tuple[int, Loss]:
        targets = len(fitted["_outputs"].mean)
        fitted["_likelihood"] = likelihood
        if likelihood == "gaussian":
            return 2 * targets, losses.GaussianNLL(defaults.BETA)
        if likelihood == "quantile":
            quantiles = defaults.QUANTILES
            return len(quantiles) * targets, losses.Pinball(quantiles)
        return targets, losses.MeanSquaredError()

    def _learn_targets(self, sample: Sample, fresh: FitSession) -> None:
        before = fresh.before
        scaler = (
            Scaler.learn(sample.y, sample.weights, bool(self.scale))
            if before is None
            else before._outputs  # type: ignore[attr-defined]
        )
        fresh.fitted.update(
            _outputs=scaler,
            _flat=fresh.targets.flat,
            _noise=getattr(before, "_noise", np.ones(len(scaler.mean))),
            _spread=getattr(before, "_spread", np.ones(len(scaler.mean))),
            _conformal=None,
            _cross=None,
            _folds=[],
            target_names_=fresh.targets.names,
        )

    def _scale_targets(self, y: np.ndarray, fitted: Mapping[str, Any]) -> np.ndarray:
        scaler: Scaler = fitted["_outputs"]
        return scaler.forward(y)

    def _after_training(self, fresh: FitSession, parts: Parts) -> None:
        """The noise of a model without a variance, and the errors of held-out rows."""
        fitted = Regressor()
        vars(fitted).update(fresh.fitted, models_=fresh.models)
        if fresh.recipe.choice.likelihood == "none":
            noise = self._residual_variance(fitted, fresh, parts)
            fresh.fitted["_noise"] = fitted._noise = noise
        else:
            held = parts.validation or parts.calibration
            spread = self._measured_spread(fitted, fresh, held)
            fresh.fitted["_spread"] = fitted._spread = spread
        held = parts.calibration
        if self.interval == "auto" and parts.validation is not None:
            held = parts.validation
            if len(held) < defaults.MIN_CALIBRATION:
                held = None
        if held is not None:
            mean, deviation = fitted._moments(
                fitted._outputs_of(fresh.inputs.forward(held.x))
            )
            fresh.fitted["_conformal"] = Conformal.learn(
                held.y, mean, deviation, held.weights
            )
        if fresh.folds:
            fitted._folds = fresh.folds
            means, deviations = fitted._by_fold(parts.rows[0])
            assert fresh.fold_of is not None
            rows = np.arange(len(parts.train))
            at = fresh.fold_of, rows
            scores = np.abs(intervals.errors(parts.train.y, means[at], deviations[at]))
            fresh.fitted["_cross"] = CrossValidation(scores, fresh.fold_of)
            fresh.fitted["_folds"] = fresh.folds

    def _measured_spread(
        self, fitted: Regressor, fresh: FitSession, held: Sample | None
    ) -> np.ndarray:
        """By how much the errors of held-out rows exceed the predicted deviations: the
        factor of largest likelihood, drawn towards 1 where there are few rows. What a
        network says of its own training rows is too good."""
        plain = np.ones(fresh.outputs)
        fitted._spread = plain
        if held is None or len(held) < defaults.MIN_VALIDATION:
            return plain
        mean, deviation = fitted._moments(
            fitted._outputs_of(fresh.inputs.forward(held.x))
        )
        # Targets that are constant but in a few rows: squares that still add up.
        errors = intervals.errors(held.y, mean, deviation)
        squares = np.clip(errors, -1e150, 1e150) ** 2
        ratio = np.average(squares, axis=0, weights=held.weights)
        rows, prior = len(held), defaults.PRIOR_ROWS
        return np.sqrt((rows * ratio + prior) / (rows + prior))

    def _residual_variance(
        self, fitted: Regressor, fresh: FitSession, parts: Parts
    ) -> np.ndarray:
        """Mean squared error of each output, in scaled units: of held-out rows, or of
        the training rows divided by the degrees of freedom that are left."""
        held = parts.calibration or parts.validation
        if held is not None and len(held) >= defaults.MIN_VALIDATION:
            z, t, w = fresh.scaled(held)
            freedom = 1.0
        else:
            z, t, w = parts.rows
            used = fresh.freedom or float(fresh.models[0].count_params())
            freedom = 1.0 - min(used / fresh.outputs, len(z) / 2) / len(z)
        means = fitted._outputs_of(z)
        errors = np.average((t - means.mean(axis=0)) ** 2, axis=0, weights=w)
        return np.asarray(errors / freedom + 1e-12)
