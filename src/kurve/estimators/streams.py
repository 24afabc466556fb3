"""Training on batches, for data that is larger than memory.

The batches are read once for the statistics and then once an epoch, one after the
other; rows are shuffled only within a batch. Which rows are held out is a function of
their values, so that every pass holds out the same ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import data
from kurve.core.arrays import as_array, is_frame, is_series
from kurve.core.progress import ProgressBar
from kurve.estimators import defaults
from kurve.estimators.columns import Columns, check_levels, refuse_bad_values
from kurve.estimators.fitted import Fitted
from kurve.estimators.fitting import FitSession, Sample, Split
from kurve.estimators.frames import Table, read_table
from kurve.estimators.novelty import Novelty
from kurve.estimators.reservoir import Batch, Reservoir, row_keys, take
from kurve.estimators.scaling import Moments, Scaler
from kurve.estimators.training import Rows, mean_history, progress_callback
from kurve.models import Sequential
from kurve.models.ensembles import Ensemble

if TYPE_CHECKING:
    from kurve.estimators.base import Estimator

RESERVOIR = 3000
"""Rows that are sampled for medians, errors and the range of the data."""


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
        if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
            raise TypeError(
                "[fit] every batch must be (X, y) or (X, y, sample_weight). Received: "
                f"batch {number} of type {type(item).__name__}. Try yield X, y."
            )
        table = read_table("fit", item[0])
        y = as_array("fit", "y", item[1])
        data.check_same_length("fit", X=table.numbers, y=np.atleast_1d(y))
        weights = None
        if len(item) == 3 and item[2] is not None:
            weights = data.as_weights("fit", item[2], table.rows, np.float64)
        yield table, y, weights
    if number < 0:
        raise ValueError(
            "[fit] there must be at least one batch. Received: none. Try an iterable "
            "that can be iterated over several times, such as a list or an object with "
            "__iter__."
        )


class _Statistics:
    """What the first pass learns about the columns.

    Args:
        impute: whether missing values are allowed.
    """

    def __init__(self, impute: bool) -> None:
        self.impute = impute
        self.first: Table | None = None
        self.sizes: list[int] = []
        self.total_weight = 0.0
        self.counts: dict[int, Counter[Any]] = {}
        self.missing: Counter[int] = Counter()
        self.moments: list[Moments] = []

    @property
    def rows(self) -> int:
        return sum(self.sizes)

    def add(self, batch: Batch) -> None:
        """Add a batch."""
        table, _, weights = batch
        if self.first is None:
            self.first = table
            self.counts = {c: Counter() for c in table.texts}
            self.moments = [Moments() for _ in table.numeric]
        elif (table.names, table.width, table.numeric) != (
            self.first.names,
            self.first.width,
            self.first.numeric,
        ):
            raise ValueError(
                "[fit] every batch must have the columns of the first one, of the same "
                f"kinds. Received: {table.width} columns, numbers in {table.numeric}, "
                f"names {table.names}; at first {self.first.width}, numbers in "
                f"{self.first.numeric}, names {self.first.names}. Try the same columns."
            )
        refuse_bad_values("fit", table, self.impute)
        self.sizes.append(table.rows)
        self.total_weight += table.rows if weights is None else float(weights.sum())
        for position, column in enumerate(table.numeric):
            values = table.numbers[:, position]
            known = ~np.isnan(values)
            if not known.all():
                self.missing[column] += int((~known).sum())
            if known.any():
                counted = None if weights is None else weights[known]
                self.moments[position].add(values[known, None], counted)
        for column, texts in table.texts.items():
            self.counts[column].update(v for v in texts if v is not None)
            check_levels(
                "fit", table, column, self.counts[column], self.rows, more=True
            )
            missing = sum(v is None for v in texts)
            if missing:
                self.missing[column] += missing

    def columns(self, sample: Table) -> Columns:
        """The columns; medians are those of a sample of the rows."""
        table = self.first
        assert table is not None
        for column, counts in self.counts.items():
            check_levels("fit", table, column, counts, self.rows)
        medians = np.zeros(len(table.numeric))
        for position in range(len(medians) if self.impute else 0):
            values = sample.numbers[:, position]
            known = values[~np.isnan(values)]
            medians[position] = np.median(known) if len(known) else 0.0
        levels = {
            c: sorted(counts, key=lambda v: (str(type(v)), v))
            for c, counts in self.counts.items()
        }
        common = {
            c: min(counts, key=lambda v: (-counts[v], str(v)))
            for c, counts in self.counts.items()
        }
        return Columns(
            table.names,
            table.width,
            list(table.numeric),
            medians,
            sorted(self.missing),
            levels,
            common,
            self.impute,
        )

    def scaler(self, columns: Columns, scale: bool) -> Scaler:
        """The scaler of the matrix that `columns` makes of all rows."""
        numbers = [moments.scaler(scale) for moments in self.moments]
        means = [self.missing[c] / self.rows for c in columns.with_missing]
        for c, levels in columns.levels.items():
            means += [self.counts[c][level] / self.rows for level in levels]
        parts = [[s.mean[0], s.deviation[0], s.low[0], s.high[0]] for s in numbers]
        if scale:
            parts += [[p, np.sqrt(p * (1.0 - p)), 0.0, 1.0] for p in means]
        else:
            parts += [[0.0, 1.0, 0.0, 1.0] for _ in means]
        scaler = Scaler(*np.array(parts, np.float64).T)
        if scale:
            scaler.soften(len(numbers))
        return scaler


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
    # Other ranks, so that its rows are not the ones that are held out.
    reservoir = Reservoir(RESERVOIR, 1.0, 7919.0)
    statistics = _Statistics(estimator.missing == "impute")
    for batch in _read(batches):
        statistics.add(batch)
        session.encoder.learn_batch(batch[1], batch[2])
        keys = row_keys(batch[0], batch[1])
        held_out.add(batch, keys)
        reservoir.add(batch, keys)
    sample = reservoir.batch()
    if sample is None:
        raise ValueError(
            "[fit] some sample_weight must be above 0. Received: weights that are all "
            f"zero, for {statistics.rows} rows. Try batches of (X, y)."
        )
    _learn(session, statistics, sample[0])
    mean_weight = statistics.total_weight / statistics.rows

    def encoded(batch: Batch) -> Sample:
        return _encoded(session, _normalized(batch), 1.0)

    known = encoded(sample)
    session.encoder.finish_batches()
    validation, calibration = None, None
    if validation_data is not None:
        validation = session.read_validation(validation_data)
    session.setup = estimator._setup(session, statistics.rows, known.x.shape[1], True)
    # A few different rows are split as those of a table in memory are, many by keys.
    rest, keys, cut = held_out.batch(), held_out.keys, held_out.largest
    calibrates = keys < cut * fractions[0] / max(fractions[-1], 1e-300)
    validates = keys < cut
    if reservoir.complete:
        rest, keys, cut = sample, reservoir.keys, 0.0
        calibrates, validates = _split(session, known, fractions)
    excluded = keys[calibrates | validates] if reservoir.complete else keys[:0]
    validates &= ~calibrates
    if rest is not None and calibrates.any():
        calibration = encoded(take(rest, np.flatnonzero(calibrates)))
    if rest is not None and validation is None and validates.any():
        validation = encoded(take(rest, np.flatnonzero(validates)))
    session.make_models(known.x.shape[1])
    session.check_file("fit")
    validation_rows = None if validation is None else session.scaled(validation)
    hyper = session.setup.hyperparameters
    steps = sum(-(-size // hyper.batch_size) for size in statistics.sizes)
    session.setup.compile(session.models, session.loss, steps * hyper.epochs)

    def rows() -> Iterator[Rows]:
        for batch in _read(batches):
            keys = row_keys(batch[0], batch[1])
            inside = np.flatnonzero((keys >= cut) & ~np.isin(keys, excluded))
            if len(inside):
                part = _encoded(session, take(batch, inside), mean_weight)
                yield session.scaled(part)

    history = _train(session, rows, validation_rows)
    novelty = Novelty.learn(
        session.inputs.forward(known.x), np.random.default_rng(session.next_seed())
    )
    novelty.low = session.inputs.forward(session.inputs.low[None])[0]
    novelty.high = session.inputs.forward(session.inputs.high[None])[0]
    split = Split(
        known, session.scaled(known), validation, validation_rows, calibration
    )
    fitted: Fitted[Any] = session.fitted(novelty, history, len(history["loss"]))
    estimator._commit(estimator._calibrated(fitted, session, split))
    return estimator


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


def _learn(session: FitSession, statistics: _Statistics, sample: Table) -> None:
    """Columns and scales, or those of the previous training."""
    estimator, previous = session.estimator, session.previous
    if previous is None:
        session.columns = statistics.columns(sample)
        session.inputs = statistics.scaler(session.columns, bool(estimator.scale))
    else:
        session.columns, session.inputs = previous.columns, previous.inputs
        session.columns.check_names("fit", sample, type(estimator).__name__)


def _encoded(session: FitSession, batch: Batch, mean_weight: float) -> Sample:
    """The rows of a batch, encoded, their weights relative to the mean."""
    table, y, weights = batch
    matrix, _ = session.columns.encode("fit", table)
    targets = session.encoder.read("fit", y)
    session.targets, session.outputs = targets, targets.values.shape[1]
    scaled = None if weights is None else weights / max(mean_weight, 1e-300)
    scaled = session.encoder.row_weights(targets.values, scaled)
    return Sample(matrix, targets.values, scaled)


@dataclass
class _Member:
    """A model in training, with its weights at the lowest validation loss.

    wait: epochs without improvement
    """

    model: Sequential
    best: float = np.inf
    weights: list[np.ndarray] | None = None
    wait: int = 0

    def validate(self, rows: Rows) -> float:
        """The loss of these rows, after an epoch."""
        x, y, weights = rows
        loss = float(
            self.model.evaluate(x, y, batch_size=8192, sample_weight=weights, verbose=0)
        )
        self.wait += 1
        if loss < self.best:
            self.best, self.weights, self.wait = loss, self.model.get_weights(), 0
        return loss


def _train(
    session: FitSession,
    rows: Callable[[], Iterator[Rows]],
    validation: Rows | None,
) -> dict[str, list[float]]:
    """Epochs over all batches, until no member improves on the validation rows; the
    history."""
    hyper, progress = session.setup.hyperparameters, progress_callback.get()
    members = [_Member(model) for model in session.models]
    history: dict[str, list[float]] = {"loss": []}
    logs: dict[str, float] = {}
    bar = ProgressBar(hyper.epochs, verbose=session.setup.verbose)
    try:
        for epoch in range(hyper.epochs):
            active = [m for m in members if m.wait <= hyper.patience]
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
            if validation is not None and all(m.wait > hyper.patience for m in members):
                break
        bar.finish(logs)
    finally:
        bar.close()
    for member in members:
        if member.weights is not None:
            member.model.set_weights(member.weights)
    return history


def _epoch(models: list[Sequential], batches: Iterator[Rows], batch_size: int) -> float:
    """Train on all batches once; the mean loss over rows and models."""
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
