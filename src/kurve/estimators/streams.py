"""Training on batches, for data that is larger than memory.

The batches are read twice: for statistics, and to be encoded into a temporary file,
from which each epoch reads the rows in random order, so that the order of the batches
does not matter. Held-out rows are selected by a function of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.arrays import as_array, is_frame, is_series
from kurve.core.progress import ProgressBar
from kurve.core.samples import as_weights, check_same_length
from kurve.core.stopping import Patience
from kurve.estimators import defaults
from kurve.estimators.fitted import Fitted
from kurve.estimators.fitting import FitSession, Sample, Split
from kurve.estimators.frames import Table, read_table
from kurve.estimators.notes import tell
from kurve.estimators.novelty import Novelty
from kurve.estimators.reservoir import Batch, Reservoir, row_keys, take
from kurve.estimators.spool import Spool
from kurve.estimators.statistics import ColumnStatistics
from kurve.estimators.training import Rows, mean_history, progress_callback
from kurve.models import Sequential
from kurve.models.ensembles import Ensemble
from kurve.training.inputs import unpack_data

if TYPE_CHECKING:
    from kurve.estimators.base import Estimator

RESERVOIR = 3000
"""Maximum rows sampled for medians, errors and the range of the data."""


def as_batches(X: Any) -> Iterable[Any] | None:
    """X if its batches can be iterated over repeatedly, a list of them if only once;
    None if it is a table."""
    if X is None or isinstance(X, np.ndarray) or is_frame(X) or is_series(X):
        return None
    if isinstance(X, (list, tuple)):
        return X if X and _is_batch(X[0]) else None
    if not isinstance(X, Iterable) or hasattr(X, "__array__") or hasattr(X, "tocsr"):
        return None
    if isinstance(X, (str, bytes, dict)):
        return None
    return list(X) if iter(X) is X else X


def _is_batch(item: Any) -> bool:
    pair = isinstance(item, tuple) and len(item) in (2, 3)
    return pair and (is_frame(item[0]) or getattr(item[0], "ndim", 0) == 2)


def _read(batches: Iterable[Any]) -> Iterator[Batch]:
    """The batches, each read and checked."""
    number = -1
    for item in batches:
        number += 1
        X, y, weights = unpack_data(
            "fit", f"batch {number}", item, "X", fix="Try yield X, y."
        )
        table = read_table("fit", X)
        y = as_array("fit", "y", y)
        check_same_length("fit", X=table.numbers, y=np.atleast_1d(y))
        if weights is not None:
            weights = as_weights("fit", weights, table.rows, np.float64)
        yield table, y, weights
    if number < 0:
        raise ValueError(
            "[fit] there must be at least one batch. Received: none. Try an iterable "
            "that can be iterated over several times, such as a list or an object with "
            "__iter__."
        )


def fit(
    estimator: Estimator, batches: Iterable[Any], validation_data: Sequence[Any] | None
) -> Any:
    """Train on batches of (X, y) or (X, y, sample_weight)."""
    if getattr(estimator, "interval", None) == "cv+" or estimator.solver in (
        "lm",
        "lbfgs",
    ):
        raise ValueError(
            "[fit] interval='cv+' and the solvers 'lm' and 'lbfgs' need all rows at "
            f"once. Received: batches, with {estimator!r}. "
            "Try interval='conformal' and solver='adam'."
        )
    session = estimator._session(estimator.warm_start)
    fractions = [session.calibration_fraction()]
    if validation_data is None and estimator.early_stopping:
        fractions.append(fractions[0] + estimator.validation_fraction)
    held_out = Reservoir(2 * defaults.STREAM_VALIDATION, fractions[-1])
    # Other ranks, so that its rows differ from those held out.
    reservoir = Reservoir(RESERVOIR, 1.0, 7919.0)
    statistics = ColumnStatistics(estimator.missing != "error")
    for batch in _read(batches):
        statistics.add(batch)
        session.encoder.learn_batch(batch[1], batch[2])
        keys = row_keys(batch[0], batch[1])
        held_out.add(batch, keys)
        reservoir.add(batch, keys)
    rows = reservoir.batch()
    if rows is None:
        raise ValueError(
            "[fit] some sample_weight must be above 0. Received: weights that are all "
            f"zero, for {statistics.rows} rows. Try batches of (X, y)."
        )
    _learn_columns(session, statistics, rows[0])
    y = session.encoder.read("fit", rows[1]).values
    tell("fit", session.encoder.finish_batches(y), estimator.missing)
    sample = _encoded(session, _normalized(rows), 1.0)
    validation = None
    if validation_data is not None:
        validation = session.read_validation(validation_data)
    width = sample.x.shape[1]
    session.setup = estimator._setup(session, statistics.rows, width, True)
    _learn_scales(session, statistics, rows[0], sample.x)
    if reservoir.complete:
        division = _divide_sample(session, reservoir, sample, fractions)
    else:
        division = _divide_by_keys(held_out, fractions)
    calibration = _taken(session, division.batch, division.calibration)
    if validation is None:
        validation = _taken(session, division.batch, division.validation)
    session.make_models(width)
    session.check_file("fit")
    validation_rows = None if validation is None else session.scaled(validation)
    hyper = session.setup.hyperparameters
    mean_weight = statistics.total_weight / statistics.rows
    with Spool() as spool:
        for batch in _read(batches):
            inside = division.training(row_keys(batch[0], batch[1]))
            if len(inside):
                part = _encoded(session, take(batch, inside), mean_weight)
                spool.add(session.scaled(part))
        steps = spool.steps(hyper.batch_size)
        session.setup.compile(session.models, session.loss, steps * hyper.epochs)
        random = np.random.default_rng(session.next_seed())
        history = _train(session, lambda: spool.batches(random), validation_rows)
    z = session.inputs.forward(sample.x)
    novelty = Novelty.learn(z, np.random.default_rng(session.next_seed()))
    novelty.low = session.inputs.forward(session.inputs.low[None])[0]
    novelty.high = session.inputs.forward(session.inputs.high[None])[0]
    scaled = session.scaled(sample)
    split = Split(sample, scaled, validation, validation_rows, calibration)
    fitted: Fitted[Any] = session.fitted(novelty, history, len(history["loss"]))
    estimator._commit(estimator._calibrated(fitted, session, split))
    return estimator


@dataclass
class _Division:
    """The rows held out.

    batch:       the rows to hold out from, or None
    calibration, validation: which of them serve which purpose, bool (n,)
    cut:         rows with smaller keys are not used for training
    excluded:    keys of other rows not used for training
    """

    batch: Batch | None
    calibration: np.ndarray
    validation: np.ndarray
    cut: float
    excluded: np.ndarray

    def training(self, keys: np.ndarray) -> np.ndarray:
        """Positions of the rows to train on."""
        return np.flatnonzero((keys >= self.cut) & ~np.isin(keys, self.excluded))


def _divide_by_keys(held_out: Reservoir, fractions: Sequence[float]) -> _Division:
    """Hold out the rows with the smallest keys."""
    batch, keys, cut = held_out.batch(), held_out.keys, held_out.largest
    calibration = keys < cut * fractions[0] / max(fractions[-1], 1e-300)
    return _Division(batch, calibration, (keys < cut) & ~calibration, cut, keys[:0])


def _divide_sample(
    session: FitSession,
    reservoir: Reservoir,
    sample: Sample,
    fractions: Sequence[float],
) -> _Division:
    """Split all different rows at random, as those of a table in memory: there are few
    of them.

    Args:
        sample: the reservoir's rows, encoded.
    """
    calibration, validation = _split(session, sample, fractions)
    excluded = reservoir.keys[calibration | validation]
    return _Division(reservoir.batch(), calibration, validation, 0.0, excluded)


def _taken(
    session: FitSession, batch: Batch | None, which: np.ndarray
) -> Sample | None:
    """The encoded held-out rows of a batch; None if there are none."""
    if batch is None or not which.any():
        return None
    return _encoded(session, _normalized(take(batch, np.flatnonzero(which))), 1.0)


def _split(
    session: FitSession, known: Sample, fractions: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Which of all different rows are for calibration and which for early stopping:
    bool (n,)."""
    masks = np.zeros((2, len(known)), bool)
    rest = np.arange(len(known))
    each = (fractions[0], 0.0 if len(fractions) < 2 else fractions[1] - fractions[0])
    for mask, fraction, least in zip(
        masks, each, (1, defaults.MIN_VALIDATION), strict=True
    ):
        remaining, taken = session.random_split(known, rest, fraction)
        if fraction and len(taken) >= least:
            rest, mask[taken] = remaining, True
    return masks[0], masks[1]


def _normalized(batch: Batch) -> Batch:
    """The batch with weights of mean 1, None where all are equal."""
    table, y, weights = batch
    if weights is None or (weights == weights[0]).all():
        return table, y, None
    return table, y, weights / weights.mean()


def _learn_columns(
    session: FitSession, statistics: ColumnStatistics, sample: Table
) -> None:
    """Learn the columns, or reuse those of the previous training."""
    previous = session.previous
    if previous is None:
        session.columns = statistics.columns(sample)
        tell("fit", session.columns.notes, session.estimator.missing)
    else:
        session.columns = previous.columns
        name = type(session.estimator).__name__
        session.columns.check_names("fit", sample, name)


def _learn_scales(
    session: FitSession, statistics: ColumnStatistics, sample: Table, x: np.ndarray
) -> None:
    """Learn the scales, or reuse those of the previous training.

    Args:
        x: the sample, encoded.
    """
    if session.previous is not None:
        session.inputs = session.previous.inputs
        return
    scale = bool(session.estimator.scale)
    scaler = statistics.scaler(session.columns, sample, scale)
    session.inputs = session.with_tails(scaler, x)


def _encoded(session: FitSession, batch: Batch, mean_weight: float) -> Sample:
    """The rows of a batch, encoded, their weights relative to the mean."""
    table, y, weights = batch
    matrix, _ = session.columns.encode("fit", table)
    targets = session.encoder.read("fit", y)
    values, weights = session.encoder.without_outliers(targets.values, weights)
    session.targets, session.outputs = targets, values.shape[1]
    scaled = None if weights is None else weights / max(mean_weight, 1e-300)
    scaled = session.encoder.row_weights(values, scaled)
    return Sample(matrix, values, scaled)


@dataclass
class _Member:
    """A model in training, with its weights at the lowest validation loss."""

    model: Sequential
    patience: Patience
    weights: list[np.ndarray] | None = None

    def validate(self, rows: Rows) -> float:
        """The loss of these rows, after an epoch."""
        x, y, weights = rows
        loss = float(
            self.model.evaluate(x, y, batch_size=8192, sample_weight=weights, verbose=0)
        )
        if self.patience.add(loss):
            self.weights = self.model.get_weights()
        return loss


def _train(
    session: FitSession,
    rows: Callable[[], Iterator[Rows]],
    validation: Rows | None,
) -> dict[str, list[float]]:
    """Train epochs over all batches until no member improves on the validation rows;
    return the history."""
    hyper, progress = session.setup.hyperparameters, progress_callback.get()
    members = [_Member(m, Patience(hyper.patience)) for m in session.models]
    history: dict[str, list[float]] = {"loss": []}
    logs: dict[str, float] = {}
    bar = ProgressBar(hyper.epochs, verbose=session.setup.verbose)
    try:
        for epoch in range(hyper.epochs):
            active = [m for m in members if not m.patience.is_over]
            loss = _epoch([m.model for m in active], rows(), hyper.batch_size)
            history["loss"].append(loss)
            logs = {"loss": loss}
            if validation is not None:
                losses = [member.validate(validation) for member in active]
                logs["val_loss"] = float(np.mean(losses))
                history.setdefault("val_loss", []).append(logs["val_loss"])
            if progress is not None:
                progress(epoch + 1, hyper.epochs, logs)
            if bar.wants_updates:
                bar.update(epoch + 1, logs)
            if all(m.patience.is_over for m in members):
                break
        bar.finish(logs)
    finally:
        bar.close()
    for member in members:
        if member.weights is not None:
            member.model.set_weights(member.weights)
    return history


def _epoch(models: list[Sequential], batches: Iterator[Rows], batch_size: int) -> float:
    """Train on all batches once; return the mean loss over rows and models."""
    losses, counts = [], []
    for x, y, weights in batches:
        arguments: dict[str, Any] = {
            "batch_size": min(batch_size, len(x)),
            "sample_weight": weights,
            "verbose": 0,
        }
        if len(models) == 1:
            histories = [models[0].fit(x, y, **arguments)]
        else:
            histories = Ensemble(models).fit(x, y, **arguments)
        losses.append(mean_history(histories)["loss"][0])
        counts.append(len(x))
    return float(np.average(losses, weights=counts))
