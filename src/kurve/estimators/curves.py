"""The race by which "auto" chooses the kind of network if there are few columns or few
rows.

The size of a table does not tell which kind of network suits it: for a sine of 12
periods, a step and a noisy straight line, a different one is best. So up to three kinds
train on some of the rows, and the one with the smallest squared error on the others
wins:

    waves     Bayesian linear regression on sines and cosines (`estimators.waves`),
              which is a straight line if there are no waves
    lm        a small tanh network by Levenberg-Marquardt
    ordinary  the network that "auto" means for larger tables

The winner is trained again on all rows; its intervals come from the errors of held-out
rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.estimators import bags, defaults, far_values, noise
from kurve.estimators.fitted import Fitted, RegressionHead
from kurve.estimators.fitting import FitSession, Sample
from kurve.estimators.intervals import Conformal
from kurve.estimators.novelty import Novelty
from kurve.estimators.training import Rows, first_of, rows_of
from kurve.estimators.wave_fit import WaveFit, set_waves
from kurve.layers import FourierFeatures
from kurve.models import Sequential

if TYPE_CHECKING:
    from kurve.estimators.regressor import Regressor


Outcome = tuple[Fitted[RegressionHead], "HeldOut"] | None
"""The record of a race's winner and its held-out rows."""

MIN_FREEDOM = 3.0
"""Fewest degrees of freedom of the noise, so that it has a variance."""


@dataclass
class HeldOut:
    """The winner's predictions for rows that it was not trained on.

    rows:  the rows, unscaled
    z, t:  their scaled inputs and targets
    means: (m, T) predictions, in scaled units
    freedom: degrees of freedom, the number of rows minus that of the parameters
    """

    rows: Sample
    z: np.ndarray
    t: np.ndarray
    means: np.ndarray
    freedom: float


def applies(model: Regressor, session: FitSession, rows: int, features: int) -> bool:
    """Whether the estimator's arguments and the size of the table allow a race."""
    automatic = (
        model.hidden_layer_sizes,
        model.activation,
        model.solver,
        model.likelihood,
        model.learning_rate,
        model.batch_size,
        model.max_epochs,
        model.patience,
    )
    opened = all(isinstance(value, str) and value == "auto" for value in automatic)
    plain = not (model.alpha or model.dropout or model.monotone or model.convex)
    opened = opened and plain and not model.positive and bool(model.scale)
    opened = opened and model.interval in ("auto", "gaussian", "conformal")
    small = rows <= defaults.RACE_ROWS and features <= defaults.RACE_WIDTH
    few = features <= defaults.RACE_FEATURES or small
    few = few and session.outputs <= defaults.RACE_TARGETS
    return opened and few and session.previous is None and bool(model.early_stopping)


def train(
    session: FitSession, sample: Sample, validation: Sample | None, executor: Any
) -> Fitted[RegressionHead] | None:
    """Train the kinds, and the winner again.

    Args:
        session: at the state before `split`.
        sample, validation: see `FitSession.split`.
        executor: see `FitSession.train`.

    Returns:
        The record, calibrated; None if the ordinary network has won, which is then
        trained as for larger tables. The session is at the same state again.
    """
    setup, race = session.setup, _Race(session, sample, validation, executor)
    found = race.run()
    if found is None:
        session.setup, session.effective_parameters = setup, None
        return None
    interval = getattr(session.estimator, "interval", "auto")
    return calibrated(*found, race.split.calibration, interval)


def calibrated(
    fitted: Fitted[RegressionHead],
    held: HeldOut,
    calibration: Sample | None,
    interval: str,
) -> Fitted[RegressionHead]:
    """The record with noise and intervals from the errors of held-out rows.

    Args:
        calibration: rows held out for interval="conformal", or None.
        interval: the estimator's argument.
    """

    def updated(**changes: Any) -> Fitted[RegressionHead]:
        return replace(fitted, head=replace(fitted.head, **changes))

    errors = held.t - held.means
    scaler, weights = fitted.head.outputs, held.rows.weights
    # The variance of Student's t, whose degrees of freedom are the rows that remain.
    freedom = max(held.freedom, MIN_FREEDOM)
    tails = freedom / (freedom - 2.0)
    if fitted.head.likelihood == "none":
        variance = np.average(errors**2, axis=0, weights=weights) * tails
        if len(errors) < MIN_FREEDOM:  # nothing is known about the noise
            size = np.maximum(np.abs(scaler.mean) / scaler.deviation, 1.0)
            variance = np.maximum(variance, size**2)
        fitted = updated(noise=np.asarray(variance + 1e-12))
    else:
        _, stds = fitted.head.moments(fitted.outputs(held.z))
        ratios = errors / (stds / scaler.deviation)
        scale = np.sqrt(np.average(ratios**2, axis=0, weights=weights) * tails)
        fitted = updated(std_scale=scale)
    known, means = held.rows, scaler.backward(held.means)
    z = held.z
    if calibration is not None:
        known, z = calibration, fitted.inputs.forward(calibration.x)
        means = fitted.head.moments(fitted.outputs(z))[0]
    wanted = interval == "auto" and len(known) >= defaults.MIN_CALIBRATION
    if wanted or calibration is not None:
        _, stds = fitted.head.moments(fitted.outputs(z))
        fitted = updated(conformal=Conformal.learn(known.y, means, stds, known.weights))
    return fitted


class _Race:
    def __init__(
        self,
        session: FitSession,
        sample: Sample,
        validation: Sample | None,
        executor: Any,
    ) -> None:
        self.session, self.executor = session, executor
        self.features = sample.x.shape[1]
        self.rows, self.given = len(sample), validation is not None
        self.many = validation is not None or self.rows > defaults.SMALL_ROWS
        hyper = session.setup.hyperparameters
        if hyper.solver == "lm" and self.many:
            hyper = replace(hyper, solver=None)
        self.ordinary_hyper = hyper
        if self.many:
            session.setup = replace(session.setup, hyperparameters=hyper)
            self.split = session.split(sample, validation, True)
        else:  # all rows, but those of interval="conformal", are for training
            lm = replace(hyper, solver="lm")
            session.setup = replace(session.setup, hyperparameters=lm)
            self.split = session.split(sample, None, True)
        self._choose_scales()
        self.setup = session.setup
        ordinary = replace(session.setup, hyperparameters=self.ordinary_hyper)
        bag = bags.size_of(session.estimator, ordinary, self.rows)
        self.gain = 1.0 if bag is None else defaults.BAG_GAIN

    def _choose_scales(self) -> None:
        """Give columns logarithmic tails if there are far values, and waves predict
        left-out rows better with them: a straight line goes on, most curves do not."""
        session, split = self.session, self.split
        known, x = session.inputs, split.train.x
        ends = far_values.ends(x) * 4
        if not ((known.low < ends[0]) | (known.high > ends[1])).any():
            return
        numbers = len(session.columns.numeric)
        bent = known.with_tails(x, numbers)
        bent.soften(session.columns.continuous)
        errors, seed = [], self._seed()
        for scaler in (known, bent):
            session.inputs = scaler
            rows = first_of(session.scaled(split.train), defaults.LM_ROWS)
            means, _ = WaveFit(rows, seed).leave_one_out()
            errors.append(_error(rows, means))
        if errors[0] <= errors[1]:
            session.inputs = known
        split.train_rows = session.scaled(split.train)
        if split.validation is not None:
            split.validation_rows = session.scaled(split.validation)

    def run(self) -> Outcome:
        """The record of the winner and its held-out rows; None if it is the ordinary
        network."""
        if self.many and self.split.validation is not None:
            return self._with_validation()
        return self._by_folds()

    # ------------------------------------------------------------- many rows

    def _with_validation(self) -> Outcome:
        session, split = self.session, self.split
        assert split.validation is not None and split.validation_rows is not None
        train, held = split.train_rows, split.validation_rows
        waves = WaveFit(train, self._seed())
        means = waves.predict(held[0])
        errors, lines = _errors(held, means), not waves.prior.ratio
        trained: Sequential | None = None
        if self._lm_possible():
            limit = float(errors.mean())
            lm = self._lm(first_of(train, defaults.LM_ROWS), None, limit)
            found = _outputs(lm, held[0])
            if _wins(errors - _errors(held, found), errors, lines):
                means, errors, lines, trained = found, _errors(held, found), False, lm
        session.setup = self.setup
        ordinary = session.train(split, self.executor)
        outputs = ordinary.outputs(held[0]).mean(axis=0)[:, : session.outputs]
        better = errors - self.gain * _errors(held, outputs)
        if _wins(better, errors, lines):
            return None
        if trained is not None:
            again = self._lm(first_of(train, defaults.LM_MAX_ROWS), trained, np.inf)
            found = _outputs(again, held[0])
            if _errors(held, found).mean() < errors.mean():
                trained, means = again, found
        found_out = HeldOut(
            split.validation, held[0], held[1], means, float(len(held[0]))
        )
        if trained is not None:
            return self._lm_record([trained], found_out), found_out
        if not self.given:  # the user's validation rows are not for training
            waves.add(held)
        return self._wave_record(waves, found_out), found_out

    # -------------------------------------------------------------- few rows

    def _by_folds(self) -> Outcome:
        session, split = self.session, self.split
        rows = split.train_rows
        z = rows[0]
        n = len(z)
        waves = WaveFit(rows, self._seed())
        count = min(defaults.FOLDS, n)
        fold_of = session.generator.permutation(n) % count
        tried = _folds_tried(n)
        chosen = fold_of < tried
        means = waves.without_folds(fold_of, tried)
        part = rows_of(rows, chosen)
        error = _errors(part, means[chosen])
        models: list[Sequential] = []
        if self._lm_possible() and n >= defaults.LM_MIN_ROWS:
            others = np.empty_like(means)
            for fold in range(tried):
                inside = fold_of != fold
                limit = float(error.mean())
                model = self._lm(rows_of(rows, inside), None, limit)
                others[~inside] = _outputs(model, z[~inside])
                models.append(model)
            better = error - _errors(part, others[chosen])
            if _wins(better, error, not waves.prior.ratio):
                start = models[0]
                final = self._lm(rows, start, float(error.mean()))
                effective = self.session.effective_parameters or 0.0
                freedom = n - effective / session.outputs
                held = self._held_out(chosen, others, freedom)
                return self._lm_record([final], held), held
        elif self._ordinary_possible():
            others = self._ordinary_by_folds(rows, fold_of, tried)
            better = error - self.gain * _errors(part, others[chosen])
            if _wins(better, error, not waves.prior.ratio):
                return None
        means, freedom = waves.leave_one_out()
        held = self._held_out(np.ones(n, bool), means, freedom)
        return self._wave_record(waves, held), held

    def _held_out(
        self, chosen: np.ndarray, means: np.ndarray, freedom: float
    ) -> HeldOut:
        z, t, _ = self.split.train_rows
        return HeldOut(
            self.split.train.take(np.flatnonzero(chosen)),
            z[chosen],
            t[chosen],
            means[chosen],
            freedom,
        )

    # ---------------------------------------------------------------- kinds

    def _lm_possible(self) -> bool:
        size = (self.features + 1) * 8 + 72 + 9 * self.session.outputs
        few = self.features <= defaults.SMALL_FEATURES
        return few and size <= defaults.SMALL_NETWORK

    def _ordinary_possible(self) -> bool:
        return self.rows >= defaults.ORDINARY_MIN_ROWS

    def _lm(self, rows: Rows, start: Sequential | None, limit: float) -> Sequential:
        """A small network by Levenberg-Marquardt.

        Args:
            start: a network to continue from, or None.
            limit: the loss of another kind, above which other initial weights are
                tried.
        """
        from kurve import solvers  # type: ignore[attr-defined,unused-ignore]

        x, y, weights = rows
        hyper = defaults.choose(
            1, 1, 1, solver="lm", likelihood="none", hidden=defaults.LM_HIDDEN
        )
        setup = replace(self.setup, hyperparameters=hyper, template=None)
        best, loss = start, np.inf
        attempts = 1 if start is not None else 1 + defaults.RESTARTS
        for _ in range(attempts):
            (model,) = setup.build(x.shape[1], y.shape[1], [self._seed()])
            model.compile(loss="mse", engine=setup.engine)
            if start is not None:
                model.set_weights(start.get_weights())
            iterations = defaults.LM_MORE if start is not None else hyper.iterations
            result = solvers.levenberg_marquardt(
                model,
                x,
                y,
                weights,
                max_iterations=iterations,
                regularization="bayesian",
            )
            if best is None or start is not None or result.loss < loss:
                best, loss = model, result.loss
                self.session.effective_parameters = result.effective_parameters
            if loss < max(defaults.PLATEAU, 1.1 * limit):
                break
        assert best is not None
        return best

    def _ordinary_by_folds(
        self, rows: Rows, fold_of: np.ndarray, tried: int
    ) -> np.ndarray:
        """Predictions of ordinary networks trained without each fold."""
        z, t, _ = rows
        means = np.empty(t.shape)
        units, loss = self.session.encoder.output_layer(self.ordinary_hyper.likelihood)
        setup = replace(self.setup, hyperparameters=self.ordinary_hyper)
        for fold in range(tried):
            inside = np.flatnonzero(fold_of != fold)
            stop = max(1, len(inside) // 10)
            (model,) = setup.build(z.shape[1], units, [self._seed()])
            setup.train(
                [model],
                loss,
                rows_of(rows, inside[stop:]),
                rows_of(rows, inside[:stop]),
            )
            outside = fold_of == fold
            means[outside] = _outputs(model, z[outside])[:, : t.shape[1]]
        return means

    # --------------------------------------------------------------- records

    def _wave_record(self, waves: WaveFit, held: HeldOut) -> Fitted[RegressionHead]:
        session = self.session
        extra = self._noise(held, noise.waving(self.features))
        frequencies = waves.frequencies
        if extra is not None:
            assert isinstance(extra.basis, noise.Waving)
            frequencies = np.hstack([frequencies, extra.basis.frequencies])
        self._likelihood("none" if extra is None else "gaussian")
        layer = FourierFeatures(frequencies.astype(np.float32))
        session.setup = replace(session.setup, template=Sequential([layer]))
        session.make_models(self.features)
        for number, model in enumerate(session.models):
            amplitudes = waves.amplitudes(number, self._seed())
            set_waves(model, amplitudes, waves.frequencies.shape[1], extra)
        session.setup = replace(session.setup, template=None)
        return self._record({"loss": [float(waves.noise.mean())]})

    def _lm_record(
        self, models: Sequence[Sequential], held: HeldOut
    ) -> Fitted[RegressionHead]:
        session = self.session
        basis = noise.Bending(self.features)
        extra = self._noise(held, [basis])
        hidden: tuple[int, ...] = defaults.LM_HIDDEN
        if extra is not None:
            hidden = tuple(width + len(basis.scales()) for width in hidden)
        self._likelihood(
            "none" if extra is None else "gaussian", hidden=hidden, activation="tanh"
        )
        session.make_models(self.features)
        rows = self.split.train_rows
        for number, model in enumerate(session.models):
            source = models[0] if not number else self._lm(rows, None, np.inf)
            if extra is None:
                model.set_weights(source.get_weights())
            else:
                noise.join(model, source, extra)
        z, t, _ = rows
        loss = _error(rows, _outputs(session.models[0], z)[:, : t.shape[1]])
        return self._record({"loss": [loss]})

    def _noise(self, held: HeldOut, bases: Sequence[noise.Basis]) -> noise.Noise | None:
        return noise.learn(held.z, held.t - held.means, held.rows.weights, bases)

    def _likelihood(self, likelihood: str, **changes: Any) -> None:
        session = self.session
        hyper = replace(
            session.setup.hyperparameters, likelihood=likelihood, solver=None, **changes
        )
        session.setup = replace(session.setup, hyperparameters=hyper)

    def _record(self, history: dict[str, list[float]]) -> Fitted[RegressionHead]:
        session = self.session
        session.check_file("fit")
        novelty = Novelty.learn(
            session.all_inputs(self.split), np.random.default_rng(self._seed())
        )
        return session.fitted(novelty, history, 1)

    def _seed(self) -> int:
        return self.session.next_seed()


def _folds_tried(rows: int) -> int:
    """How many of the folds train networks."""
    if rows < 100:
        return min(defaults.FOLDS, rows)
    return 3 if rows <= 300 else 1


def _wins(better: np.ndarray, errors: np.ndarray, lines: bool) -> bool:
    """Whether a network beats the waves: clearly, because with few rows a small
    difference may be due to chance.

    Args:
        better: per row, by how much its squared error is smaller.
        errors: those of the waves.
        lines: whether the waves are straight lines, so that a network may have nothing
            to learn but noise.
    """
    n = len(better)
    if n < 2:
        return False
    standard = float(better.std()) / np.sqrt(n)
    doubt = 2.0 if lines else 1.0
    return float(better.mean()) > max(doubt * standard, 0.02 * float(errors.mean()))


def _outputs(model: Sequential, z: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(z, verbose=0), np.float64)


def _errors(rows: Rows, means: np.ndarray) -> np.ndarray:
    """Weighted squared error of each row."""
    errors = ((rows[1] - means) ** 2).mean(axis=1)
    return errors if rows[2] is None else errors * rows[2]


def _error(rows: Rows, means: np.ndarray) -> float:
    return float(_errors(rows, means).mean())
