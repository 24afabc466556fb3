"""A fit in progress: from a table to trained models, kept separate from the estimator
until nothing can fail."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core import rng
from kurve.core.samples import as_weights, check_same_length
from kurve.estimators import defaults
from kurve.estimators.column_learning import learn_columns
from kurve.estimators.columns import Columns
from kurve.estimators.fitted import Fitted
from kurve.estimators.notes import tell
from kurve.estimators.novelty import Novelty
from kurve.estimators.scaling import BEYOND, LATER, Scaler, merge_equal_rows
from kurve.estimators.targets import ClassTargets, TargetEncoder, Targets
from kurve.estimators.training import Rows, TrainingSetup
from kurve.losses import Loss
from kurve.models import Sequential
from kurve.optimizers import Optimizer
from kurve.training.inputs import unpack_data

if TYPE_CHECKING:
    from kurve.estimators.base import Estimator


@dataclass
class Sample:
    """Encoded, unscaled rows: x (n, D), y (n, T), weights (n,) or None, all float64."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> Sample:
        """A selection of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Sample(self.x[rows], self.y[rows], weights)


@dataclass
class Split:
    """The rows of a fit: for training, for early stopping, and held out to measure
    errors. `train_rows` and `validation_rows` are the scaled ones."""

    train: Sample
    train_rows: Rows
    validation: Sample | None = None
    validation_rows: Rows | None = None
    calibration: Sample | None = None


class FitSession:
    """A fit in progress: everything it learns, kept separate from the estimator until
    nothing can fail.

    Args:
        estimator: the estimator being fitted.
        previous: the previous result, if this fit continues from it.
        encoder: encoder of the targets.
    """

    def __init__(
        self,
        estimator: Estimator,
        previous: Fitted[Any] | None,
        encoder: TargetEncoder,
    ) -> None:
        self.estimator, self.previous, self.encoder = estimator, previous, encoder
        self.generator = as_generator(type(estimator).__name__, estimator.random_state)
        self.setup: TrainingSetup
        self.targets: Targets
        self.outputs = 1
        self.columns: Columns
        self.inputs: Scaler
        self.units = 0
        self.loss: Loss
        self.models: list[Sequential] = []
        self.folds: list[Sequential] = []
        self.fold_of: np.ndarray | None = None
        self.effective_parameters: float | None = None

    @property
    def members(self) -> int:
        """The number of networks, if they are not a bag; a continued training keeps its
        number."""
        given = self.estimator.members
        if not isinstance(given, str):
            return int(given)
        return 1 if self.previous is None else len(self.previous.members)

    # ---------------------------------------------------------------- rows

    def read(self, where: str, X: Any, y: Any, sample_weight: Any) -> Sample:
        """The encoded rows of training data."""
        estimator, previous = self.estimator, self.previous
        name = type(estimator).__name__
        if y is None:
            raise ValueError(
                f"[{where}] {name} requires y to be passed, but "
                "the target y is None. Try fit(X, y)."
            )
        targets = self.encoder.read(where, y)
        if previous is None:
            flat = self.encoder.allows_flat_inputs(y)
        else:
            flat = previous.columns.width == 1
        table = estimator._table(where, X, flat)
        if previous is None:
            self.columns = learn_columns(
                where, table, estimator.missing != "error", where == "partial_fit"
            )
            tell(where, self.columns.notes, estimator.missing)
        else:
            self.columns = previous.columns
            self.columns.check_names(where, table, name)
        matrix, _ = self.columns.encode(where, table, strict=previous is not None)
        check_same_length(where, X=matrix, y=targets.values)
        notes = self.encoder.learn_limits(where, targets.values)
        tell(where, notes, estimator.missing)
        self.targets = targets
        self.outputs = targets.values.shape[1]
        if previous is not None and self.outputs != previous.targets:
            raise ValueError(
                f"[{where}] y must have {previous.targets} outputs, to match the "
                f"previous training. Received: {self.outputs}. Try warm_start=False."
            )
        weights = None
        if sample_weight is not None:
            weights = as_weights(where, sample_weight, len(matrix), np.float64)
            if not weights.any():
                raise ValueError(
                    f"[{where}] some sample_weight must be above 0. Received: weights "
                    f"that are all zero, for {len(weights)} rows. "
                    "Try sample_weight=None."
                )
        values, weights = self.encoder.without_outliers(targets.values, weights)
        return Sample(matrix, values, weights)

    def read_validation(self, validation_data: Sequence[Any]) -> Sample:
        """The encoded rows of validation data."""
        X, y, weights = unpack_data("fit", "validation_data", validation_data, "X")
        where = "fit, validation_data"
        table = self.estimator._table(where, X, self.columns.width == 1)
        self.columns.check_names(where, table, type(self.estimator).__name__)
        matrix, _ = self.columns.encode(where, table)
        targets = self.encoder.read(where, y)
        check_same_length(where, X=matrix, y=targets.values)
        if targets.values.shape[1] != self.outputs:
            raise ValueError(
                f"[{where}] y must have {self.outputs} outputs as in training. "
                f"Received: {targets.values.shape[1]}. Try the same columns."
            )
        if weights is not None:
            weights = as_weights(where, weights, len(matrix), np.float64)
        values, weights = self.encoder.without_outliers(targets.values, weights)
        weights = self.encoder.row_weights(values, weights)
        return Sample(matrix, values, weights)

    def merged(self, sample: Sample) -> Sample:
        """Merge equal rows, in an order that depends only on their values, with final
        weights."""
        both = np.concatenate([sample.x, sample.y], axis=1)
        order, weights = merge_equal_rows(both, sample.weights)
        y = sample.y[order]
        weights = self.encoder.row_weights(y, weights)
        if weights is not None:
            weights = weights / weights.mean()
        return Sample(sample.x[order], y, weights)

    def split(
        self, sample: Sample, validation: Sample | None, straight: bool = False
    ) -> Split:
        """Split rows by purpose, and learn scales from the training rows.

        Args:
            validation: the user's validation rows, or None.
            straight: see `with_tails`.
        """
        estimator = self.estimator
        rows = np.arange(len(sample))
        calibration = None
        fraction = self.calibration_fraction()
        if fraction:
            rows, held_out = self.random_split(sample, rows, fraction)
            calibration = sample.take(held_out) if len(held_out) else None
        # Levenberg-Marquardt avoids overfitting by maximizing the evidence.
        lm = self.setup.hyperparameters.solver == "lm"
        if estimator.early_stopping and not lm and validation is None:
            remaining, held_out = self.random_split(
                sample, rows, estimator.validation_fraction
            )
            if len(held_out) >= defaults.MIN_VALIDATION:
                rows, validation = remaining, sample.take(held_out)
        train = sample.take(rows)
        if train.weights is not None and not train.weights.any():
            train.weights = None
        self.learn_scales(train, straight)
        return Split(
            train,
            self.scaled(train),
            validation,
            None if validation is None else self.scaled(validation),
            calibration,
        )

    def calibration_fraction(self) -> float:
        """Fraction of the rows to hold out for intervals."""
        conformal = getattr(self.estimator, "interval", None) == "conformal"
        return defaults.CALIBRATION if conformal else 0.0

    def random_split(
        self, sample: Sample, rows: np.ndarray, fraction: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Split `rows` at random into the remaining ones and about `fraction` of them;
        at least one row of every class remains."""
        count = min(round(fraction * len(rows)), len(rows) - 1)
        order = rows[self.generator.permutation(len(rows))]
        if isinstance(self.encoder, ClassTargets):
            codes = sample.y[order, 0].astype(np.int64)
            # Sorted by class; rows are taken at a constant stride, but never the first
            # one of a class.
            by_class = order[np.argsort(codes, kind="stable")]
            codes = sample.y[by_class, 0]
            first = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
            taken = np.floor((np.arange(len(rows)) + 1) * fraction) > np.floor(
                np.arange(len(rows)) * fraction
            )
            taken[first] = False
            return by_class[~taken], by_class[taken]
        return order[count:], order[:count]

    def learn_scales(
        self, train: Sample, straight: bool = False, beyond: float = BEYOND
    ) -> None:
        """Learn scales of inputs and targets, or reuse the previous ones.

        Args:
            straight: see `with_tails`.
            beyond: see `Scaler.with_tails`.
        """
        estimator = self.estimator
        if self.previous is not None:
            self.inputs = self.previous.inputs
        else:
            scaler = Scaler.learn(train.x, train.weights, bool(estimator.scale))
            self.inputs = self.with_tails(scaler, train.x, straight, beyond)
        self.encoder.learn(train.y, train.weights)

    def with_tails(
        self,
        scaler: Scaler,
        x: np.ndarray,
        straight: bool = False,
        beyond: float = BEYOND,
    ) -> Scaler:
        """The scaler of a table's numbers with logarithmic tails, and of its columns
        of 0 and 1.

        Columns without an outlier have none for a network of the user's own layers,
        which may be meant to go on beyond the data, and for solvers for smooth curves.

        Args:
            x: the rows, or a sample.
            straight: whether columns without an outlier have none in any case.
            beyond: see `Scaler.with_tails`.
        """
        estimator = self.estimator
        if not estimator.scale:
            return scaler
        own = self.setup.template is not None
        straight = straight or own or self.setup.hyperparameters.solver is not None
        if not getattr(estimator, "convex", False):  # of x, not of its logarithm
            numbers = len(self.columns.numeric)
            scaler = scaler.with_tails(x, numbers, not straight, beyond)
        scaler.soften(self.columns.continuous)
        return scaler

    def scaled(self, sample: Sample) -> Rows:
        """Rows as the network expects them."""
        weights = sample.weights
        return (
            self.inputs.forward(sample.x),
            self.encoder.scale(sample.y),
            None if weights is None else weights.astype(np.float32),
        )

    # ---------------------------------------------------------------- training

    def train(self, split: Split, executor: Any = None) -> Fitted[Any]:
        """Build and train the models: the members, and those of the CV+ folds, in
        parallel.

        Args:
            executor: where to train; see `Ensemble.fit`.
        """
        if self.previous is None:
            self.setup.adapt(*split.train_rows[:2])
        self.make_models(split.train_rows[0].shape[1])
        models, weights = list(self.models), None
        if getattr(self.estimator, "interval", None) == "cv+":
            weights = self.make_folds(split)
            models += self.folds
        self.check_file("fit")
        result = self.setup.train(
            models,
            self.loss,
            split.train_rows,
            split.validation_rows,
            weights,
            executor,
        )
        self.effective_parameters = result.effective_parameters
        novelty = Novelty.learn(
            self.all_inputs(split), np.random.default_rng(self.next_seed())
        )
        return self.fitted(novelty, result.history, result.iterations)

    def fitted(
        self,
        novelty: Novelty,
        history: dict[str, list[float]],
        iterations: int,
        partial: bool = False,
    ) -> Fitted[Any]:
        """The record of this fit, not yet calibrated."""
        return Fitted(
            self.columns,
            self.inputs,
            self.estimator._head(self),
            novelty,
            history,
            iterations,
            self.outputs,
            self.targets.names,
            partial,
            self.models,
            self.folds,
        )

    def all_inputs(self, split: Split) -> np.ndarray:
        """Scaled inputs of all rows that were passed as X."""
        parts = [split.train_rows[0]]
        for sample in (split.validation, split.calibration):
            if sample is not None:
                parts.append(self.inputs.forward(sample.x))
        return np.concatenate(parts)

    def make_models(self, inputs: int) -> None:
        """Create new models, or copies of those whose training continues."""
        estimator = self.estimator
        self.units, self.loss = self.encoder.output_layer(
            self.setup.hyperparameters.likelihood
        )
        if self.previous is None:
            self.models = self.setup.build(
                inputs, self.units, [self.next_seed() for _ in range(self.members)]
            )
            return
        models = self.previous.members
        if len(models) != self.members or models[0].output_shape != (
            None,
            self.units,
        ):
            raise ValueError(
                "[fit] training can continue only with as many members and outputs as "
                f"before. Received: {self.members} members with {self.units} "
                f"outputs, after {len(models)} with {models[0].output_shape}. "
                "Try warm_start=False."
            )
        self.setup.check_same(
            models[0], estimator.hidden_layer_sizes, estimator.activation
        )
        self.models = copy.deepcopy(models)

    def check_file(self, where: str) -> None:
        """Refuse, before training, anything that files cannot store."""
        from kurve.estimators import files  # circular: it imports the estimators

        row = np.zeros((1, len(self.inputs.mean)), np.float32)
        novelty = Novelty(row[0], row[0], row, 0.0)
        files.check(where, self.estimator, self.fitted(novelty, {}, 1))

    def make_folds(self, split: Split) -> np.ndarray:
        """Build the models of the CV+ folds; return the row weights of all models."""
        rows, members = len(split.train), self.members
        folds = min(defaults.FOLDS, rows)
        self.fold_of = self.generator.permutation(rows) % folds
        seeds = [self.next_seed() for _ in range(folds * members)]
        x, _, common = split.train_rows
        self.folds = self.setup.build(x.shape[1], self.units, seeds)
        common = np.ones(rows) if common is None else common
        weights = np.tile(np.asarray(common, np.float32), (len(self.models), 1))
        for fold in range(folds):
            inside = np.where(self.fold_of == fold, 0.0, common)
            inside = inside * (rows / max(inside.sum(), 1e-12))
            weights = np.concatenate(
                [weights, np.tile(inside.astype(np.float32), (members, 1))]
            )
        return weights

    def train_once(self, sample: Sample) -> tuple[Fitted[Any], Split]:
        """Train for one pass over a few rows at a constant learning rate."""
        previous = self.previous
        if previous is not None:
            weights = self.encoder.row_weights(sample.y, sample.weights)
            sample = Sample(sample.x, sample.y, weights)
        self.learn_scales(sample, beyond=LATER)
        self.make_models(sample.x.shape[1])
        x, y, weights32 = rows = self.scaled(sample)
        setup = self.setup
        if previous is None or not previous.partial:
            if setup.learning_rate is None and not isinstance(
                setup.optimizer, Optimizer
            ):
                setup = replace(setup, learning_rate=defaults.PARTIAL_RATE)
            setup.compile(self.models, self.loss, 1)
        self.check_file("partial_fit")
        losses = []
        for model in self.models:
            result = model.fit(
                x,
                y,
                batch_size=min(setup.hyperparameters.batch_size, len(x)),
                epochs=1,
                sample_weight=weights32,
                verbose=0,
            )
            losses.append(result.history["loss"][0])
        generator = np.random.default_rng(self.next_seed())
        loss, iterations = float(np.mean(losses)), 1
        history = {"loss": [loss]}
        if previous is None:
            novelty = Novelty.learn(x, generator)
        else:
            history = {"loss": [*previous.history.get("loss", []), loss]}
            novelty = previous.novelty.extend(x, generator)
            iterations += previous.iterations
        fitted = self.fitted(novelty, history, iterations, partial=True)
        return fitted, Split(sample, rows)

    def next_seed(self) -> int:
        """A new seed for a model or generator."""
        return int(self.generator.integers(0, 2**63))


def as_generator(where: str, random_state: Any) -> np.random.Generator:
    """A generator from scikit-learn's `random_state`.

    Raises:
        TypeError, ValueError: neither None, an integer of at least 0, a
            numpy.random.RandomState nor a numpy.random.Generator.
    """
    if random_state is None:
        return np.random.default_rng(rng.next_seed())
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**31, size=4))
    integer = isinstance(random_state, (int, np.integer))
    if not integer or isinstance(random_state, bool) or not 0 <= random_state < 2**64:
        raise ValueError(
            f"[{where}] random_state must be None, an integer of at least 0 and below "
            f"2**64, a RandomState or a Generator. Received: {random_state!r}. "
            "Try random_state=0."
        )
    return np.random.default_rng(int(random_state))
