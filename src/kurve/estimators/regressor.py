"""Regressor: from a table to a function with error bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self, overload

import numpy as np

from kurve.core.entries import entries
from kurve.core.samples import as_weights, check_same_length
from kurve.errors import lookup
from kurve.estimators import curves, defaults, intervals, shapes
from kurve.estimators.bags import Held
from kurve.estimators.base import Estimator
from kurve.estimators.calibration import averaging, measured_std_scale
from kurve.estimators.fitted import Fitted, Prediction, RegressionHead
from kurve.estimators.fitting import FitSession, Sample, Split
from kurve.estimators.intervals import Conformal, CrossValidation
from kurve.estimators.targets import RealTargets
from kurve.estimators.training import TrainingSetup
from kurve.metrics import scores

LIKELIHOODS = ("auto", "none", "gaussian", "quantile")
INTERVALS = ("auto", "gaussian", "quantile", "conformal", "cv+")


@entries
class Regressor(Estimator):
    """Networks that predict numbers from a table.

    By default a weighted bag: several networks, half of them with piecewise-linear
    features, each trained without one part of the rows; their out-of-fold predictions
    determine the weights of the mixture (see `kurve.estimators.bags`). Inputs and
    targets are scaled, and predictions scaled back; text and categorical columns become
    one column per level; and "auto" depends on the size of the table (see
    `kurve.estimators.defaults`). The conventions are scikit-learn's.

    For up to 5 columns, and for up to 200 rows of more, "auto" is a race on held-out
    rows between sines and cosines with a prior, which are a straight line if that is
    all there is; a small tanh network by Levenberg-Marquardt; and the bag
    (see `kurve.estimators.curves`). It takes place if
    hidden_layer_sizes, activation, solver, likelihood, learning_rate, batch_size,
    max_epochs and patience are all "auto", without alpha, dropout and known shape.

    Args:
        hidden_layer_sizes: widths of the hidden layers, or a `Sequential` of hidden
            layers, which is copied and never changed; an output layer is added. A first
            layer `FourierFeatures` or `Normalization` that has not been adapted yet is
            adapted to the scaled rows.
        activation: activation of the hidden layers.
        solver: "lm" (Levenberg-Marquardt, for small networks and tables), "lbfgs", or
            the name or an object of an optimizer.
        likelihood: "none" (squared error), "gaussian" (the network learns a mean and a
            variance) or "quantile" (it learns quantiles; `predict` gives the median).
        members: "auto", or the number of equal networks trained in parallel on the
            same rows; the prediction is the mean of their mixture.
        effort: how many networks "auto" trains: "fast": one; "default": a bag of 12;
            "best": a bag of 24 and 8 kernel machines. One network is trained, whatever
            the effort, for fewer than 40 distinct rows and for batches. There is no
            bag, but one network or `members` of them, if you choose anything about the
            networks (hidden_layer_sizes, activation, solver, members, alpha, dropout,
            likelihood, monotone, convex, positive), an interval other than "gaussian",
            or warm_start. Beyond 20,000 rows a bag has half as many networks.
        learning_rate: a number or a schedule; "auto" is a one-cycle schedule.
        batch_size, max_epochs: settings of the optimizer; max_epochs also limits the
            iterations of "lm" and "lbfgs".
        early_stopping: whether an optimizer stops when the loss of held-out rows no
            longer improves, and restores the best weights.
        validation_fraction: fraction of the rows held out for early stopping; networks
            of a bag hold out an eighth instead.
        patience: epochs without improvement after which it stops.
        alpha: alpha * (sum of squared weights) is added to the loss.
        dropout: fraction of the hidden units dropped in training.
        scale: whether to scale inputs and targets.
        missing: "auto" replaces missing values with the median, or the most frequent
            level, adds an indicator column, and warns; "impute" does not warn; "error"
            refuses them.
        interval: how `predict_interval` computes intervals: "gaussian" (from mean and
            standard deviation), "quantile" (learned quantiles), "conformal" (from the
            errors on a held-out fifth of the rows), "cv+" (from the errors of models
            that left out a fold), or "auto": from the errors on the rows held out for
            the race or for early stopping (in a bag, out-of-fold errors), if there are
            enough, else "gaussian". Outside the range of the training data, all widen
            with the distance, except along monotone columns.
        monotone: columns, by name or index, in which the prediction only rises (1)
            or only falls (-1), everywhere and not only at the data: {"size": 1}.
            Such networks have weights of one sign; see `kurve.estimators.shapes`.
        convex: whether the prediction is a convex function of all columns together.
        positive: whether predictions and interval ends are never negative.
        warm_start: whether `fit` continues from the current weights and scales.
        random_state: None, an integer, a RandomState or a Generator.
        verbose: 0 silent, 1 progress bar, 2 one line per epoch.
        engine: "native", "reference", "torch", "auto"; None for the default.

    Attributes:
        models_: the trained networks, in scaled units.
        history_: loss and val_loss of each epoch, averaged over the members.
        n_features_in_, n_outputs_: numbers of columns of X and of targets.
        feature_names_in_: names of the columns, if X had names.
        target_names_: names of the targets, or None.
        n_iter_: number of epochs or iterations.
        fitted_: the complete learned state, as one record (`kurve.estimators.fitted`).

    Raises:
        TypeError, ValueError: at `fit`, an argument of the wrong type or out of range.

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
    fitted_: Fitted[RegressionHead]

    def __init__(
        self,
        hidden_layer_sizes: Any = "auto",
        activation: Any = "auto",
        solver: Any = "auto",
        *,
        likelihood: str = "auto",
        members: int | str = "auto",
        effort: str = "default",
        learning_rate: Any = "auto",
        batch_size: Any = "auto",
        max_epochs: Any = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        patience: Any = "auto",
        alpha: float = 0.0,
        dropout: float = 0.0,
        scale: bool = True,
        missing: str = "auto",
        interval: str = "auto",
        monotone: Mapping[Any, int] | None = None,
        convex: bool = False,
        positive: bool = False,
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
        self.effort = effort
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
        self.monotone = monotone
        self.convex = convex
        self.positive = positive
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
            return_std: whether to also return the standard deviation of y around the
                prediction: that of the mixture of all members, including noise.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: other columns, infinite values.
        """
        prediction = self._prediction("predict", X)
        if not return_std:
            return self._shaped(prediction.mean)
        return self._shaped(prediction.mean), self._shaped(prediction.std)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Intervals that contain a new y with this probability: low and high, float64
        (n, 2), or (n, outputs, 2) if y had several.

        Args:
            X: as in `predict`.
            coverage: between 0 and 1; for each output separately.

        Raises:
            NotFittedError: before `fit`.
            ValueError: too few held-out rows for this coverage.
        """
        coverage = intervals.check_coverage(coverage)
        prediction = self._prediction("predict_interval", X)
        ends = prediction.intervals(coverage)
        return self._shaped(np.maximum(ends, 0.0) if self.positive else ends)

    def gradient(self, X: Any, columns: Any = None) -> np.ndarray:
        """The derivative of the prediction with respect to the columns, at each row of
        X, in units of the table. Computed in float64.

        Args:
            X: as in `predict`.
            columns: names or indices of numeric columns; by default all columns, which
                must be numeric.

        Returns:
            float64 (n, columns), or (n, outputs, columns) if y had several. NaN if a
            value is missing.

        Raises:
            NotFittedError: before `fit`.
            ValueError: a text column, which has no derivative, or an unknown column.

        Example:
            >>> X = np.linspace(-1.0, 1.0, 40)[:, None]
            >>> model = kurve.Regressor((8,), random_state=0).fit(X, X[:, 0] ** 2)
            >>> slope = model.gradient([[0.5]])  # of x squared: about 1
            >>> slope.shape
            (1, 1)
        """
        from kurve.estimators import slopes

        found = slopes.gradient(self, X, columns)
        return found[:, 0] if self.fitted_.head.flat else found

    def integral(
        self, X: Any, column: Any, low: Any, high: Any, pieces: int = 16
    ) -> np.ndarray:
        """The integral of the prediction along a column from low to high, with the
        other columns fixed per row: Gauss-Legendre quadrature with 8 nodes per piece.

        Args:
            X: as in `predict`.
            column: name or index of a numeric column, in units of the table.
            low, high: numbers, or one per row.
            pieces: number of equal pieces; use more for a network with kinks (relu).

        Returns:
            float64 (n,), or (n, outputs) if y had that shape.

        Raises:
            NotFittedError: before `fit`.
            ValueError: a text column, an unknown column, or limits of the wrong shape.
        """
        from kurve.estimators import slopes

        found = slopes.integral(self, X, column, low, high, pieces)
        return self._shaped(found)

    def _prediction(self, where: str, X: Any) -> Prediction:
        z, _ = self._encoded(where, X)
        return Prediction(self.fitted_, z, self.interval)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 of the prediction, averaged over the outputs.

        Args:
            X, y, sample_weight: see `fit`.
        """
        truth = RealTargets().read("score", y).values
        predicted = self.predict(X)
        check_same_length("score", X=predicted, y=truth)
        predicted = predicted.reshape(len(truth), -1)
        weights = None
        if sample_weight is not None:
            weights = as_weights("score", sample_weight, len(truth), np.float64)
        return float(scores.r2(truth, predicted, weights).mean())

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0] if self.fitted_.head.flat else values

    # ---------------------------------------------------------------- training

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one pass over some rows, for data that arrives over time.

        The first call learns columns, levels and scales from its rows, so they should
        be many and typical. The learning rate is constant. Intervals are "gaussian" or
        "quantile", because no rows are held out.

        Args:
            X, y, sample_weight: see `fit`.
        """
        self._check_parameters()
        return self._partial_fit(self._session(True), X, y, sample_weight)

    def _check_specific(self) -> None:
        shapes.check(self)
        lookup("Regressor", "likelihood", self.likelihood, dict.fromkeys(LIKELIHOODS))
        lookup("Regressor", "interval", self.interval, dict.fromkeys(INTERVALS))
        if self.interval == "quantile" and self.likelihood not in ("auto", "quantile"):
            raise ValueError(
                "[Regressor] interval='quantile' needs likelihood='quantile'. "
                f"Received: likelihood={self.likelihood!r}. Try likelihood='auto'."
            )
        if self.solver == "lm" and self.likelihood not in ("auto", "none"):
            raise ValueError(
                "[Regressor] solver='lm' only minimises squared errors. Received: "
                f"likelihood={self.likelihood!r}. Try solver='auto'."
            )
        if self.solver == "lm" and self.interval == "quantile":
            raise ValueError(
                "[Regressor] solver='lm' cannot learn quantiles. "
                "Received: interval='quantile'. Try interval='cv+'."
            )

    def _choose(
        self,
        solver: str,
        rows: int,
        features: int,
        targets: int,
        hidden: tuple[int, ...] | None,
        full_batch: bool,
    ) -> defaults.Hyperparameters:
        likelihood, constrained = self.likelihood, bool(self.monotone or self.convex)
        if constrained and solver == "auto":
            solver = "adam"
        if (constrained or self.positive) and likelihood == "auto":
            likelihood = "quantile" if self.interval == "quantile" else "none"
        hyper = defaults.choose(
            rows,
            features,
            targets,
            False,
            solver,
            likelihood,
            self.interval,
            hidden,
            full_batch,
        )
        if constrained:
            hyper = replace(hyper, activation="softplus" if self.convex else "tanh")
        return hyper

    def _trained(
        self,
        session: FitSession,
        sample: Sample,
        validation: Sample | None,
        executor: Any,
    ) -> Fitted[RegressionHead]:
        if curves.applies(self, session, len(sample), sample.x.shape[1]):
            won = curves.train(session, sample, validation, executor)
            if won is not None:
                return won
        return super()._trained(session, sample, validation, executor)

    def _setup(
        self,
        session: FitSession,
        rows: int,
        features: int,
        in_batches: bool = False,
    ) -> TrainingSetup:
        setup = super()._setup(session, rows, features, in_batches)
        hyper, previous = setup.hyperparameters, session.previous
        if hyper.solver == "lm" and self.solver == "auto" and previous is not None:
            # Networks of the race can have layers that the method does not suit.
            hyper = replace(hyper, solver=None)
            setup = replace(setup, hyperparameters=hyper, optimizer="adam")
        return replace(setup, form=shapes.form_of(self, session.columns))

    def _target_encoder(self, previous: Fitted[RegressionHead] | None) -> RealTargets:
        scaler = None if previous is None else previous.head.outputs
        return RealTargets(bool(self.scale), scaler, bool(self.positive))

    def _head(self, session: FitSession) -> RegressionHead:
        assert isinstance(session.encoder, RealTargets)
        scaler = session.encoder.scaler
        assert scaler is not None
        ones = np.ones(len(scaler.mean))
        head = None if session.previous is None else session.previous.head
        return RegressionHead(
            scaler,
            session.setup.hyperparameters.likelihood,
            ones if head is None else head.noise,
            ones if head is None else head.std_scale,
            session.targets.flat,
            weights=None if head is None else head.weights,
        )

    def _calibrated(
        self, fitted: Fitted[RegressionHead], session: FitSession, split: Split
    ) -> Fitted[RegressionHead]:
        """The record with the noise of a model without a variance, and held-out
        errors."""

        def prediction(sample: Sample) -> Prediction:
            return Prediction(fitted, session.inputs.forward(sample.x))

        def updated(**changes: Any) -> Fitted[RegressionHead]:
            return replace(fitted, head=replace(fitted.head, **changes))

        if fitted.head.likelihood == "none":
            fitted = updated(noise=self._residual_variance(fitted, session, split))
        else:
            fitted = updated(std_scale=np.ones(fitted.targets))
            held_out = split.validation or split.calibration
            if held_out is not None and len(held_out) >= defaults.MIN_VALIDATION:
                known = prediction(held_out)
                std_scale = measured_std_scale(known.mean, known.std, held_out)
                fitted = updated(std_scale=std_scale)
        held_out = split.calibration
        if self.interval == "auto" and split.validation is not None:
            enough = len(split.validation) >= defaults.MIN_CALIBRATION
            held_out = split.validation if enough else None
        if held_out is not None:
            known = prediction(held_out)
            fitted = updated(
                conformal=Conformal.learn(
                    held_out.y, known.mean, known.std, held_out.weights
                )
            )
        if session.folds:
            means, stds = Prediction(fitted, split.train_rows[0]).by_fold
            assert session.fold_of is not None
            at = session.fold_of, np.arange(len(split.train))
            errors = np.abs(intervals.errors(split.train.y, means[at], stds[at]))
            fitted = updated(cross=CrossValidation(errors, session.fold_of))
        return fitted

    def _calibrated_bag(self, head: RegressionHead, held: Held) -> RegressionHead:
        sample = held.sample
        mean, std = head.moments(held.outputs)
        std_scale = measured_std_scale(mean, std, sample)
        known = mean, std * std_scale, sample.weights
        conformal = Conformal.learn(sample.y, *known)
        if held.known is not None:
            std_scale = std_scale * averaging(head, held, mean)
        if self.early_stopping:
            std_scale = std_scale * (1.0 + defaults.STOPPING_ROWS / len(sample))
        return replace(head, std_scale=std_scale, conformal=conformal)

    def _residual_variance(
        self, fitted: Fitted[RegressionHead], session: FitSession, split: Split
    ) -> np.ndarray:
        """Mean squared error of each output, in scaled units: of held-out rows, or of
        the training rows, corrected by the remaining degrees of freedom."""
        held_out = split.calibration or split.validation
        if held_out is not None and len(held_out) >= defaults.MIN_VALIDATION:
            z, t, w = session.scaled(held_out)
            remaining = 1.0
        else:
            z, t, w = split.train_rows
            used = session.effective_parameters
            used = used or float(fitted.members[0].count_params())
            remaining = 1.0 - min(used / session.outputs, len(z) / 2) / len(z)
        means = fitted.outputs(z)
        errors = np.average((t - means.mean(axis=0)) ** 2, axis=0, weights=w)
        return np.asarray(errors / remaining + 1e-12)


def prediction_of(model: Regressor, z: np.ndarray) -> Prediction:
    """Means, stds and intervals for encoded rows, from one pass through the
    networks."""
    return Prediction(model.fitted_, z, model.interval)
