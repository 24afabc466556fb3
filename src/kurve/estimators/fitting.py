"""A fit under way: from a table to trained models, apart from the estimator until
nothing can go wrong any more."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import data
from kurve.core import rng
from kurve.estimators import defaults
from kurve.estimators.columns import Columns
from kurve.estimators.novelty import Novelty
from kurve.estimators.scaling import Scaler, merge_equal_rows
from kurve.estimators.training import Rows, TrainingSetup
from kurve.losses import Loss
from kurve.models import Sequential
from kurve.optimizers import Optimizer
from kurve.training.inputs import unpack_data

if TYPE_CHECKING:
    from kurve.estimators.base import Estimator


@dataclass
class Targets:
    """Targets as numbers.

    values: (n, T) float64; class numbers (n, 1) for a classifier
    flat:   whether they were given as (n,)
    names:  of the targets, if they have any
    """

    values: np.ndarray
    flat: bool
    names: list[str] | None


@dataclass
class Sample:
    """Encoded rows that are not scaled yet: x (n, D), y (n, T), weights (n,) or None,
    all float64."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> Sample:
        """Some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Sample(self.x[rows], self.y[rows], weights)


@dataclass
class Parts:
    """What training uses: scaled rows, those early stopping watches, and rows that
    nothing has seen, kept to measure errors."""

    train: Sample
    rows: Rows
    validation: Sample | None
    watched: Rows | None
    calibration: Sample | None


class FitSession:
    """A fit under way: all that it learns, kept apart from the estimator until nothing
    can go wrong any more.

    Args:
        estimator: whose fit it is.
        before: the estimator again if what it has learnt is gone on with, else None.
    """

    def __init__(self, estimator: Estimator, before: Estimator | None) -> None:
        self.estimator, self.before = estimator, before
        self.fitted: dict[str, Any] = {}
        if before is not None and hasattr(before, "classes_"):
            self.fitted["classes_"] = before.classes_
        self.generator = as_generator(type(estimator).__name__, estimator.random_state)
        self.recipe: TrainingSetup
        self.targets: Targets
        self.outputs = 1
        self.columns: Columns
        self.inputs: Scaler
        self.units = 0
        self.loss: Loss
        self.models: list[Sequential] = []
        self.folds: list[Sequential] = []
        self.fold_of: np.ndarray | None = None
        self.freedom: float | None = None

    def read(self, where: str, X: Any, y: Any, sample_weight: Any) -> Sample:
        """The encoded rows of training data."""
        estimator = self.estimator
        if y is None:
            raise ValueError(
                f"[{where}] {type(estimator).__name__} requires y to be passed, but "
                "the target y is None. Try fit(X, y)."
            )
        before = self.before
        targets = estimator._read_targets(where, y, self.fitted)
        curve = estimator._is_curve(y) if before is None else before.n_features_in_ == 1
        table = estimator._table(where, X, curve)
        if before is None:
            self.columns = Columns.learn(
                where, table, estimator.missing == "impute", where == "partial_fit"
            )
        else:
            self.columns = before._columns
            self.columns.check_names(where, table, type(estimator).__name__)
        matrix, _ = self.columns.encode(where, table)
        data.check_same_length(where, X=matrix, y=targets.values)
        self.targets = targets
        self.outputs = targets.values.shape[1]
        if before is not None and self.outputs != before.n_outputs_:
            raise ValueError(
                f"[{where}] y must have {before.n_outputs_} outputs, because it had in "
                f"the training that is gone on with. Received: {self.outputs}. "
                "Try warm_start=False."
            )
        weights = None
        if sample_weight is not None:
            weights = data.as_weights(where, sample_weight, len(matrix), np.float64)
            if not weights.any():
                raise ValueError(
                    f"[{where}] some sample_weight must be above 0. Received: weights "
                    f"that are all zero, for {len(weights)} rows. "
                    "Try sample_weight=None."
                )
        return Sample(matrix, targets.values, weights)

    def read_validation(self, given: Sequence[Any]) -> Sample:
        """The encoded rows of validation data."""
        X, y, weights = unpack_data("fit", "validation_data", given, "X")
        where = "fit, validation_data"
        table = self.estimator._table(where, X, self.columns.width == 1)
        self.columns.check_names(where, table, type(self.estimator).__name__)
        matrix, _ = self.columns.encode(where, table)
        targets = self.estimator._read_targets(where, y, self.fitted)
        data.check_same_length(where, X=matrix, y=targets.values)
        if targets.values.shape[1] != self.outputs:
            raise ValueError(
                f"[{where}] y must have {self.outputs} outputs as in training. "
                f"Received: {targets.values.shape[1]}. Try the same columns."
            )
        if weights is not None:
            weights = data.as_weights(where, weights, len(matrix), np.float64)
        weights = self.estimator._row_weights(targets.values, weights, self.fitted)
        return Sample(matrix, targets.values, weights)

    def merged(self, sample: Sample) -> Sample:
        """Equal rows as one, in an order of their own, with the final weights."""
        both = np.concatenate([sample.x, sample.y], axis=1)
        order, weights = merge_equal_rows(both, sample.weights)
        y = sample.y[order]
        weights = self.estimator._row_weights(y, weights, self.fitted)
        if weights is not None:
            weights = weights / weights.mean()
        return Sample(sample.x[order], y, weights)

    def divide(self, sample: Sample, given: Sample | None) -> Parts:
        """Scales, and which rows are for what."""
        estimator = self.estimator
        rows = np.arange(len(sample))
        calibration = None
        share = self.calibration_share()
        if share:
            rows, kept = self.split(sample, rows, share)
            calibration = sample.take(kept) if len(kept) else None
        validation = given
        # Levenberg and Marquardt's method has the evidence to keep it from overfitting.
        wanted = estimator.early_stopping and self.recipe.choice.solver != "lm"
        if wanted and validation is None:
            left, kept = self.split(sample, rows, estimator.validation_fraction)
            if len(kept) >= defaults.MIN_VALIDATION:
                rows, validation = left, sample.take(kept)
        if not wanted and given is None:
            validation = None
        train = sample.take(rows)
        if train.weights is not None and not train.weights.any():
            train.weights = None
        self.learn_scales(train)
        return Parts(
            train,
            self.scaled(train),
            validation,
            None if validation is None else self.scaled(validation),
            calibration,
        )

    def calibration_share(self) -> float:
        """Share of the rows to keep for intervals."""
        wanted = getattr(self.estimator, "interval", None) == "conformal"
        return defaults.CALIBRATION if wanted else 0.0

    def split(
        self, sample: Sample, rows: np.ndarray, share: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """`rows` divided at random into most of them and about `share` of them; of
        every class at least one row stays among the first."""
        count = min(round(share * len(rows)), len(rows) - 1)
        order = rows[self.generator.permutation(len(rows))]
        if "classes_" in self.fitted:
            codes = sample.y[order, 0].astype(np.int64)
            # Class after class; every so many-th row is kept, but never a first one.
            by_class = order[np.argsort(codes, kind="stable")]
            codes = sample.y[by_class, 0]
            first = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
            marks = np.floor((np.arange(len(rows)) + 1) * share) > np.floor(
                np.arange(len(rows)) * share
            )
            marks[first] = False
            return by_class[~marks], by_class[marks]
        return order[count:], order[:count]

    def learn_scales(self, train: Sample) -> None:
        """Scales of inputs and targets, or those of the training that is gone on
        with."""
        estimator = self.estimator
        if self.before is not None:
            self.inputs = self.before._inputs
        else:
            self.inputs = Scaler.learn(train.x, train.weights, bool(estimator.scale))
            if estimator.scale:
                self.inputs.soften(len(self.columns.numeric))
        estimator._learn_targets(train, self)

    def scaled(self, sample: Sample) -> Rows:
        """Rows as the network takes them."""
        weights = sample.weights
        return (
            self.inputs.forward(sample.x),
            self.estimator._scale_targets(sample.y, self.fitted),
            None if weights is None else weights.astype(np.float32),
        )

    def train(self, parts: Parts) -> None:
        """Make and train the models, those of the folds of CV+ beside the others."""
        if self.before is None:
            self.recipe.adapt(*parts.rows[:2])
        self.make_models(parts.rows[0].shape[1])
        models, weights = list(self.models), None
        if getattr(self.estimator, "interval", None) == "cv+":
            weights = self.make_folds(parts)
            models += self.folds
        self.check_file("fit")
        outcome = self.recipe.train(
            models, self.loss, parts.rows, parts.watched, weights
        )
        self.freedom = outcome.freedom
        self.fitted.update(history_=outcome.history, n_iter_=outcome.iterations)
        self.fitted["_novelty"] = Novelty.learn(
            self.all_inputs(parts), np.random.default_rng(self.next_seed())
        )

    def all_inputs(self, parts: Parts) -> np.ndarray:
        """Scaled inputs of all rows that were given as X."""
        seen = [parts.rows[0]]
        for sample in (parts.validation, parts.calibration):
            if sample is not None:
                seen.append(self.inputs.forward(sample.x))
        return np.concatenate(seen)

    def make_models(self, inputs: int) -> None:
        """New models, or copies of those that training goes on with."""
        estimator = self.estimator
        self.units, self.loss = estimator._head(
            self.recipe.choice.likelihood, self.fitted
        )
        if self.before is None:
            self.models = self.recipe.build(
                inputs, self.units, [self.next_seed() for _ in range(estimator.members)]
            )
            return
        models = self.before.models_
        if len(models) != estimator.members or models[0].output_shape != (
            None,
            self.units,
        ):
            raise ValueError(
                "[fit] training can go on only with as many members and outputs as "
                f"before. Received: {estimator.members} members with {self.units} "
                f"outputs, after {len(models)} with {models[0].output_shape}. "
                "Try warm_start=False."
            )
        self.recipe.check_same(
            models[0], estimator.hidden_layer_sizes, estimator.activation
        )
        self.models = copy.deepcopy(models)

    def check_file(self, where: str) -> None:
        """Refuse what a file could not hold, before it is trained."""
        from kurve.estimators import files  # files know estimators

        twin = copy.copy(self.estimator)
        plain = np.zeros((1, len(self.inputs.mean)), np.float32)
        vars(twin).update(
            {"history_": {}, "n_iter_": 1, **self.fitted},
            models_=self.models,
            _folds=self.folds,
            _columns=self.columns,
            _inputs=self.inputs,
            _novelty=Novelty(plain[0], plain[0], plain, 0.0),
            n_outputs_=self.outputs,
            _partial=False,
        )
        files.check(where, twin)

    def make_folds(self, parts: Parts) -> np.ndarray:
        """Models of the folds of CV+, and the weights of all models' rows."""
        rows, members = len(parts.train), self.estimator.members
        folds = min(defaults.FOLDS, rows)
        self.fold_of = self.generator.permutation(rows) % folds
        seeds = [self.next_seed() for _ in range(folds * members)]
        inputs = parts.rows[0].shape[1]
        self.folds = self.recipe.build(inputs, self.units, seeds)
        common = np.ones(rows) if parts.rows[2] is None else parts.rows[2]
        weights = np.tile(np.asarray(common, np.float32), (len(self.models), 1))
        for fold in range(folds):
            inside = np.where(self.fold_of == fold, 0.0, common)
            inside = inside * (rows / max(inside.sum(), 1e-12))
            weights = np.concatenate(
                [weights, np.tile(inside.astype(np.float32), (members, 1))]
            )
        return weights

    def train_once(self, sample: Sample) -> None:
        """One pass over a few rows at a constant rate."""
        estimator, before = self.estimator, self.before
        if before is not None:
            weights = estimator._row_weights(sample.y, sample.weights, self.fitted)
            sample = Sample(sample.x, sample.y, weights)
        self.learn_scales(sample)
        self.make_models(sample.x.shape[1])
        x, y, weights32 = self.scaled(sample)
        recipe = self.recipe
        if before is None or not getattr(before, "_partial", False):
            if recipe.rate is None and not isinstance(recipe.optimizer, Optimizer):
                recipe = replace(recipe, rate=defaults.PARTIAL_RATE)
            recipe.compile(self.models, self.loss, 1)
        self.check_file("partial_fit")
        losses = []
        for model in self.models:
            done = model.fit(
                x,
                y,
                batch_size=min(recipe.choice.batch_size, len(x)),
                epochs=1,
                sample_weight=weights32,
                verbose=0,
            )
            losses.append(done.history["loss"][0])
        rows = (x, y, weights32)
        estimator._after_training(self, Parts(sample, rows, None, None, None))
        history: dict[str, list[float]] = {}
        generator = np.random.default_rng(self.next_seed())
        if before is not None:
            history = {"loss": list(before.history_.get("loss", []))}
            novelty = before._novelty.extend(x, generator)
        else:
            novelty = Novelty.learn(x, generator)
        history.setdefault("loss", []).append(float(np.mean(losses)))
        self.fitted.update(
            history_=history,
            n_iter_=1 if before is None else before.n_iter_ + 1,
            _novelty=novelty,
            _partial=True,
        )

    def next_seed(self) -> int:
        """A seed for a model or the like."""
        return int(self.generator.integers(0, 2**63))

    def commit(self) -> None:
        """Give the estimator all that was learnt."""
        estimator, columns = self.estimator, self.columns
        self.fitted.update(
            models_=self.models,
            _columns=columns,
            _inputs=self.inputs,
            n_features_in_=columns.width,
            n_outputs_=self.outputs,
        )
        if columns.names is not None:
            self.fitted["feature_names_in_"] = np.array(columns.names, dtype=object)
        for name in getattr(estimator, "_learnt", ()):
            delattr(estimator, name)
        vars(estimator).update(self.fitted, _learnt=tuple(self.fitted))


def as_generator(where: str, random_state: Any) -> np.random.Generator:
    """A generator from what scikit-learn calls a random state.

    Raises:
        TypeError, ValueError: none of None, an integer of at least 0, a
            numpy.random.RandomState and a numpy.random.Generator.
    """
    if random_state is None:
        return np.random.default_rng(rng.next_seed())
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**31, size=4))
    whole = isinstance(random_state, (int, np.integer))
    if not whole or isinstance(random_state, bool) or not 0 <= random_state < 2**64:
        raise ValueError(
            f"[{where}] random_state must be None, an integer of at least 0 and below "
            f"2**64, a RandomState or a Generator. Received: {random_state!r}. "
            "Try random_state=0."
        )
    return np.random.default_rng(int(random_state))
