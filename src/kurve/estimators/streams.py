"""Training with batches, for data that is larger than memory.

The batches are walked over once for the statistics and then once an epoch, a batch
after the other; rows are shuffled inside a batch only. Which rows are held out is a
function of the rows' values, so that every walk holds out the same ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import data
from kurve.core.arrays import as_array, is_frame, is_series
from kurve.core.progress import ProgressBar
from kurve.estimators import defaults
from kurve.estimators.columns import Columns, check_levels, refuse_bad_values
from kurve.estimators.fitting import FitSession, Parts, Sample
from kurve.estimators.frames import Table, read_table
from kurve.estimators.novelty import Novelty
from kurve.estimators.reservoir import Batch, Kept, row_keys, take
from kurve.estimators.scaling import Moments, Scaler
from kurve.estimators.training import Rows, mean_history
from kurve.models.ensembles import Ensemble
from kurve.training.inputs import unpack_data

if TYPE_CHECKING:
    from kurve.estimators.base import Estimator

RESERVOIR = 3000
"""Rows kept to learn medians, errors and where the data lies."""


def as_batches(X: Any) -> Iterable[Any] | None:
    """X if it gives batches again and again, a list of them if only once; None if it is
    a table."""
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


def _walk(batches: Iterable[Any]) -> Iterator[Batch]:
    """The batches, read and checked for themselves."""
    number = -1
    for item in batches:
        number += 1
        X, y, weights = unpack_data(
            "fit", f"batch {number}", item, "X", fix="Try yield X, y."
        )
        table = read_table("fit", X)
        y = as_array("fit", "y", y)
        data.check_same_length("fit", X=table.numbers, y=np.atleast_1d(y))
        if weights is not None:
            weights = data.as_weights("fit", weights, table.rows, np.float64)
        yield table, y, weights
    if number < 0:
        raise ValueError(
            "[fit] there must be at least one batch. Received: none. Try something "
            "that can be walked over several times, such as a list or an object with "
            "__iter__."
        )


class _Statistics:
    """What the first walk learns of the columns."""

    def __init__(self, fresh: FitSession) -> None:
        self.fresh = fresh
        self.impute = fresh.estimator.missing == "impute"
        self.first: Table | None = None
        self.sizes: list[int] = []
        self.total_weight = 0.0
        self.counts: dict[int, Counter[Any]] = {}
        self.holes: Counter[int] = Counter()
        self.moments: list[Moments] = []

    @property
    def rows(self) -> int:
        return sum(self.sizes)

    def add(self, batch: Batch) -> None:
        """Take in a batch."""
        table, _, weights = batch
        if self.first is None:
            self.first = table
            self.counts = {c: Counter() for c in table.texts}
            self.moments = [Moments() for _ in table.numeric]
        elif (table.names, table.width, table.numeric) != (
            self.first.names, self.first.width, self.first.numeric
        ):  # fmt: skip
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
                self.holes[column] += int((~known).sum())
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
                self.holes[column] += missing

    def columns(self, sample: Table) -> Columns:
        """The columns; medians are those of a sample of the rows."""
        table = self.first
        assert table is not None
        for column, counts in self.counts.items():
            check_levels("fit", table, column, counts, self.rows)
        fills = np.zeros(len(table.numeric))
        for position in range(len(fills) if self.impute else 0):
            values = sample.numbers[:, position]
            known = values[~np.isnan(values)]
            fills[position] = np.median(known) if len(known) else 0.0
        levels = {
            c: sorted(counts, key=lambda v: (str(type(v)), v))
            for c, counts in self.counts.items()
        }
        common = {
            c: min(counts, key=lambda v: (-counts[v], str(v)))
            for c, counts in self.counts.items()
        }
        return Columns(
            table.names, table.width, list(table.numeric), fills, sorted(self.holes),
            levels, common, self.impute,
        )  # fmt: skip

    def scaler(self, columns: Columns, scale: bool) -> Scaler:
        """The scaler of the matrix that `columns` makes of all rows."""
        numbers = [moments.scaler(scale) for moments in self.moments]
        shares = [self.holes[c] / self.rows for c in columns.gaps]
        for c, levels in columns.levels.items():
            shares += [self.counts[c][level] / self.rows for level in levels]
        share = np.array(shares)
        parts = [[s.mean[0], s.deviation[0], s.low[0], s.high[0]] for s in numbers]
        if scale:
            parts += [[p, np.sqrt(p * (1.0 - p)), 0.0, 1.0] for p in share]
        else:
            parts += [[0.0, 1.0, 0.0, 1.0] for _ in share]
        found = Scaler(*np.array(parts, np.float64).T)
        if scale:
            found.soften(len(numbers))
        return found


def fit(
    estimator: Estimator, batches: Iterable[Any], validation_data: Sequence[Any] | None
) -> Any:
    """Train with batches of (X, y) or (X, y, sample_weight)."""
    if getattr(estimator, "interval", None) == "cv+" or estimator.solver in (
        "lm",
        "lbfgs",
    ):
        raise ValueError(
            "[fit] interval='cv+' and the solvers 'lm' and 'lbfgs' need all rows at "
            f"once. Received: batches, with {estimator!r}. "
            "Try interval='conformal' and solver='adam'."
        )
    going_on = estimator.warm_start and hasattr(estimator, "models_")
    fresh = FitSession(estimator, estimator if going_on else None)
    shares = [fresh.calibration_share()]
    if validation_data is None and estimator.early_stopping:
        shares.append(shares[0] + estimator.validation_fraction)
    held = Kept(2 * defaults.STREAM_VALIDATION, shares[-1])
    # Other ranks, for rows that are not the ones held out.
    reservoir = Kept(RESERVOIR, 1.0, 7919.0)
    statistics = _Statistics(fresh)
    for batch in _walk(batches):
        statistics.add(batch)
        estimator._see_targets(batch[1], batch[2], fresh.fitted)
        keys = row_keys(batch[0], batch[1])
        held.add(batch, keys)
        reservoir.add(batch, keys)
    sample = reservoir.batch()
    if sample is None:
        raise ValueError(
            "[fit] some sample_weight must be above 0. Received: weights that are all "
            f"zero, for {statistics.rows} rows. Try batches of (X, y)."
        )
    _learn(fresh, statistics, sample[0])
    mean_weight = statistics.total_weight / statistics.rows

    def encoded(batch: Batch) -> Sample:
        return _encoded(fresh, _weighed(batch), 1.0)

    known = encoded(sample)
    estimator._learn_targets(known, fresh)
    estimator._seen_targets(fresh.fitted)
    given = None if validation_data is None else fresh.read_validation(validation_data)
    fresh.recipe = estimator._recipe(fresh, statistics.rows, known.x.shape[1], True)
    validation, calibration = given, None
    # Few different rows are divided as those of a table in memory are, many by keys.
    kept, keys, cut = held.batch(), held.keys, held.largest
    own, watching = keys < cut * shares[0] / max(shares[-1], 1e-300), keys < cut
    if reservoir.all_there:
        kept, keys, cut = sample, reservoir.keys, 0.0
        own, watching = _divided(fresh, known, shares)
    out = keys[own | watching] if reservoir.all_there else keys[:0]
    watching &= ~own
    if kept is not None and own.any():
        calibration = encoded(take(kept, np.flatnonzero(own)))
    if kept is not None and validation is None and watching.any():
        validation = encoded(take(kept, np.flatnonzero(watching)))
    fresh.make_models(known.x.shape[1])
    fresh.check_file("fit")
    watched = None if validation is None else fresh.scaled(validation)
    steps = sum(-(-size // fresh.recipe.choice.batch_size) for size in statistics.sizes)
    fresh.recipe.compile(fresh.models, fresh.loss, steps * fresh.recipe.choice.epochs)

    def rows() -> Iterator[Rows]:
        for batch in _walk(batches):
            keys = row_keys(batch[0], batch[1])
            inside = np.flatnonzero((keys >= cut) & ~np.isin(keys, out))
            if len(inside):
                part = _encoded(fresh, take(batch, inside), mean_weight)
                yield fresh.scaled(part)

    _train(fresh, rows, watched)
    novelty = Novelty.learn(
        fresh.inputs.forward(known.x), np.random.default_rng(fresh.next_seed())
    )
    novelty.low = fresh.inputs.forward(fresh.inputs.low[None])[0]
    novelty.high = fresh.inputs.forward(fresh.inputs.high[None])[0]
    fresh.fitted["_novelty"] = novelty
    parts = Parts(known, fresh.scaled(known), validation, watched, calibration)
    estimator._after_training(fresh, parts)
    fresh.commit()
    return estimator


def _divided(
    fresh: FitSession, known: Sample, shares: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Which of all different rows calibrate and which stop the training: bool (n,)."""
    marks = np.zeros((2, len(known)), bool)
    rest = np.arange(len(known))
    wanted = (shares[0], 0.0 if len(shares) < 2 else shares[1] - shares[0])
    for mark, share, least in zip(
        marks, wanted, (1, defaults.MIN_VALIDATION), strict=True
    ):
        left, taken = fresh.split(known, rest, share)
        if share and len(taken) >= least:
            rest, mark[taken] = left, True
    return marks[0], marks[1]


def _weighed(batch: Batch) -> Batch:
    """The same with weights of mean 1, None where all are equal."""
    table, y, weights = batch
    if weights is None or (weights == weights[0]).all():
        return table, y, None
    return table, y, weights / weights.mean()


def _learn(fresh: FitSession, statistics: _Statistics, sample: Table) -> None:
    """Columns and scales, or those of the training that is gone on with."""
    if fresh.before is None:
        fresh.columns = statistics.columns(sample)
        fresh.inputs = statistics.scaler(fresh.columns, bool(fresh.estimator.scale))
    else:
        fresh.columns, fresh.inputs = fresh.before._columns, fresh.before._inputs
        fresh.columns.check_names("fit", sample, type(fresh.estimator).__name__)


def _encoded(fresh: FitSession, batch: Batch, mean_weight: float) -> Sample:
    """The rows of a batch, encoded, their weights relative to the mean."""
    table, y, weights = batch
    matrix, _ = fresh.columns.encode("fit", table)
    targets = fresh.estimator._read_targets("fit", y, fresh.fitted)
    fresh.targets, fresh.outputs = targets, targets.values.shape[1]
    scaled = None if weights is None else weights / max(mean_weight, 1e-300)
    scaled = fresh.estimator._row_weights(targets.values, scaled, fresh.fitted)
    return Sample(matrix, targets.values, scaled)


def _train(fresh: FitSession, rows: Any, watched: Rows | None) -> None:
    """Epochs over all batches, until no member gets better on the watched rows."""
    models, choice = fresh.models, fresh.recipe.choice
    best: list[tuple[float, Any]] = [(np.inf, None)] * len(models)
    wait = [0] * len(models)
    history: dict[str, list[float]] = {"loss": []}
    bar = ProgressBar(choice.epochs, verbose=fresh.recipe.verbose)
    epochs = 0
    try:
        for epoch in range(choice.epochs):
            epochs = epoch + 1
            going = [i for i in range(len(models)) if wait[i] <= choice.patience]
            losses, counts = [], []
            for x, y, weights in rows():
                arguments: dict[str, Any] = {
                    "batch_size": min(choice.batch_size, len(x)),
                    "sample_weight": weights,
                    "verbose": 0,
                }
                if len(going) == 1:
                    histories = [models[going[0]].fit(x, y, **arguments)]
                else:
                    committee = Ensemble([models[i] for i in going])
                    histories = committee.fit(x, y, **arguments)
                losses.append(mean_history(histories)["loss"][0])
                counts.append(len(x))
            history["loss"].append(float(np.average(losses, weights=counts)))
            logs = {"loss": history["loss"][-1]}
            if watched is not None:
                values = []
                for i in going:
                    x, y, weights = watched
                    value = float(
                        models[i].evaluate(
                            x, y, batch_size=8192, sample_weight=weights, verbose=0
                        )
                    )
                    values.append(value)
                    wait[i] += 1
                    if value < best[i][0]:
                        best[i], wait[i] = (value, models[i].get_weights()), 0
                history.setdefault("val_loss", []).append(float(np.mean(values)))
                logs["val_loss"] = history["val_loss"][-1]
            if fresh.recipe.watch is not None:
                fresh.recipe.watch(epoch + 1, choice.epochs, logs)
            if bar.wants_updates:
                bar.update(epoch + 1, logs)
            if watched is not None and all(w > choice.patience for w in wait):
                break
        bar.finish(logs)
    finally:
        bar.close()
    for model, (_, weights_) in zip(models, best, strict=True):
        if weights_ is not None:
            model.set_weights(weights_)
    fresh.fitted.update(history_=history, n_iter_=epochs)
