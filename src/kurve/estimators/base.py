"""What regressor and classifier share: parameters, checks, the way from a table to
trained models and from a table to what they say.

The conventions are scikit-learn's; scikit-learn itself is imported only when it calls
`__sklearn_tags__`.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np

from kurve import data, optimizers, rng
from kurve.batching import check_count
from kurve.errors import lookup
from kurve.estimators import defaults
from kurve.estimators.errors import not_fitted
from kurve.estimators.frames import (
    Columns,
    Table,
    column_of,
    is_frame,
    is_series,
    read_table,
)
from kurve.estimators.novelty import Novelty
from kurve.estimators.scaling import Scaler, merge_equal_rows
from kurve.estimators.training import Recipe, Rows
from kurve.losses import Loss
from kurve.models import Sequential
from kurve.optimizers import Optimizer
from kurve.optimizers.schedules import LearningRateSchedule

SOLVERS = ("auto", "lm", "lbfgs")
BIG_BATCH = 8192


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


class Estimator:
    """Base class of `Regressor` and `Classifier`."""

    _kind: str
    _estimator_type: str

    # Set by __init__ of the subclasses.
    hidden_layer_sizes: Any
    activation: Any
    solver: Any
    members: int
    learning_rate: Any
    batch_size: Any
    max_epochs: Any
    early_stopping: bool
    validation_fraction: float
    patience: Any
    alpha: float
    dropout: float
    scale: bool
    missing: str
    warm_start: bool
    random_state: Any
    verbose: int
    engine: Any

    # Set by fit.
    models_: list[Sequential]
    history_: dict[str, list[float]]
    n_features_in_: int
    n_iter_: int
    n_outputs_: int
    _columns: Columns
    _inputs: Scaler
    _novelty: Novelty
    _learnt: tuple[str, ...]
    """Names of what `fit` has set."""

    # ---------------------------------------------------------------- parameters

    @classmethod
    def _parameter_names(cls) -> list[str]:
        names = list(inspect.signature(cls.__init__).parameters)
        return sorted(names[1:])

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor by name.

        Args:
            deep: as in scikit-learn; no argument has parameters of its own.
        """
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor; they take effect at the next `fit`.

        Raises:
            ValueError: a name that is no argument; nothing is changed.
        """
        known = self._parameter_names()
        for name in params:
            lookup("set_params", "parameter", name, dict.fromkeys(known))
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        usual = inspect.signature(type(self).__init__).parameters
        shown = []
        for name in usual:
            if name != "self":
                value, default = getattr(self, name), usual[name].default
                if value is not default and repr(value) != repr(default):
                    shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "models_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True),
            input_tags=InputTags(
                allow_nan=self.missing == "impute", categorical=True
            ),
        )

    # ---------------------------------------------------------------- hooks

    def _read_targets(self, where: str, y: Any, learnt: dict[str, Any]) -> Targets:
        """The targets as numbers.

        Args:
            learnt: what is known already; what is new (the classes) is put there.
        """
        raise NotImplementedError

    def _head(self, recipe: Recipe, learnt: dict[str, Any]) -> tuple[int, Loss]:
        """Units of the output layer, and the loss.

        Args:
            learnt: what is known of the targets.
        """
        raise NotImplementedError

    def _scale_targets(self, y: np.ndarray, learnt: Mapping[str, Any]) -> np.ndarray:
        """Targets (n, T) as the network shall give them, float32.

        Args:
            learnt: what `_learn_targets` has put by.
        """
        raise NotImplementedError

    def _learn_targets(self, sample: Sample, fresh: Fresh) -> None:
        """Whatever must be known of the targets before they can be scaled."""

    def _row_weights(
        self,
        y: np.ndarray,
        weights: np.ndarray | None,
        learnt: Mapping[str, Any],
    ) -> np.ndarray | None:
        """The weights of the rows, weights of classes included."""
        return weights

    def _after_training(self, fresh: Fresh, parts: Parts) -> None:
        """What is learnt from trained models, such as the size of their errors."""

    def _see_targets(
        self, y: Any, weights: np.ndarray | None, learnt: dict[str, Any]
    ) -> None:
        """Learn from the targets of one of many batches."""
        raise NotImplementedError

    def _seen_targets(self, learnt: dict[str, Any]) -> None:
        """Make what `_see_targets` has learnt final."""

    def _choice(
        self, solver: str, rows: int, features: int, targets: int, weighted: bool
    ) -> defaults.Choice:
        raise NotImplementedError

    def _own_checks(self) -> None:
        """Checks of the subclass's own parameters."""

    # ---------------------------------------------------------------- training

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        validation_data: Sequence[Any] | None = None,
    ) -> Self:
        """Train on a table.

        Rows that are equal in all values count as one row of their common weight, and
        the order of the rows does not matter: a row repeated three times and a row of
        weight 3 give the same bits, and no row lies on both sides of the split that
        early stopping makes.

        Args:
            X: (n, columns): array, list of rows, data frame or Arrow table. Or, without
                y, batches for data that is larger than memory: something that gives
                (X, y) or (X, y, sample_weight) again and again each time it is walked
                over. It is walked over once for the statistics and once an epoch. An
                iterator that can be walked over only once is read into memory.
            y: (n,) or (n, outputs).
            sample_weight: (n,), at least 0.
            validation_data: (X, y) or (X, y, sample_weight) for early stopping, in
                place of rows of X.

        Returns:
            The estimator itself.

        Raises:
            TypeError, ValueError: bad input; the estimator keeps what it had.
            NonFiniteError: training diverged; the estimator keeps what it had.
        """
        self._check_parameters()
        if y is None:
            from kurve.estimators import streams

            batches = streams.as_batches(X)
            if batches is not None:
                return streams.fit(self, batches, validation_data)
        before = self if self.warm_start and hasattr(self, "models_") else None
        fresh = Fresh(self, before)
        sample = fresh.read("fit", X, y, sample_weight)
        sample = fresh.merged(sample)
        given = None
        if validation_data is not None:
            given = fresh.read_validation(validation_data)
        weighted = sample.weights is not None
        fresh.recipe = self._recipe(fresh, len(sample), sample.x.shape[1], weighted)
        parts = fresh.divide(sample, given)
        fresh.train(parts)
        self._after_training(fresh, parts)
        fresh.hand_over()
        return self

    def _partial_fit(
        self, X: Any, y: Any, sample_weight: Any, **known: Any
    ) -> Self:
        """One pass over some rows.

        Args:
            known: what need not be learnt from them.
        """
        self._check_parameters()
        before = self if hasattr(self, "models_") else None
        fresh = Fresh(self, before)
        fresh.learnt.update(known)
        sample = fresh.read("partial_fit", X, y, sample_weight)
        if before is None:
            sample = fresh.merged(sample)
        weighted = sample.weights is not None
        fresh.recipe = self._recipe(
            fresh, len(sample), sample.x.shape[1], weighted, True
        )
        fresh.train_once(sample)
        fresh.hand_over()
        return self

    def _recipe(
        self,
        fresh: Fresh,
        rows: int,
        features: int,
        weighted: bool,
        in_parts: bool = False,
    ) -> Recipe:
        """How to train.

        Args:
            rows: different rows to train with.
            features: columns of the encoded table.
            weighted: whether the rows differ in weight.
            in_parts: whether the rows come in parts, which excludes full-batch solvers.
        """
        solver = self.solver
        wanted = solver if isinstance(solver, str) else "adam"
        if in_parts and wanted in SOLVERS:
            wanted = "adam"
        choice = self._choice(wanted, rows, features, fresh.outputs, weighted)
        kept = getattr(fresh.before, "_likelihood", choice.likelihood)
        if kept != choice.likelihood:  # the output layer stays
            choice = replace(choice, likelihood=kept)
        if choice.solver == "lm" and choice.likelihood != "none":
            choice = replace(choice, solver=None)
        template = None
        if isinstance(self.hidden_layer_sizes, Sequential):
            template = self.hidden_layer_sizes
        elif not isinstance(self.hidden_layer_sizes, str):
            choice = replace(choice, hidden=tuple(map(int, self.hidden_layer_sizes)))
        if self.activation != "auto":
            choice = replace(choice, activation=self.activation)
        if self.batch_size != "auto":
            choice = replace(choice, batch_size=int(self.batch_size))
        if self.max_epochs != "auto":
            patience = min(choice.patience, max(10, int(self.max_epochs) // 4))
            choice = replace(
                choice,
                epochs=int(self.max_epochs),
                iterations=int(self.max_epochs),
                patience=patience,
            )
        if self.patience != "auto":
            choice = replace(choice, patience=int(self.patience))
        optimizer = None
        if choice.solver is None:
            optimizer = "adam" if isinstance(solver, str) and solver in SOLVERS else solver
        rate = None if isinstance(self.learning_rate, str) else self.learning_rate
        return Recipe(
            choice, template, optimizer, rate, float(self.alpha), float(self.dropout),
            self.engine, self.verbose,
        )  # fmt: skip

    def _check_parameters(self) -> None:
        """Refuse arguments of the constructor that make no sense.

        Raises:
            TypeError, ValueError: naming the argument.
        """
        name = type(self).__name__
        sizes = self.hidden_layer_sizes
        if isinstance(sizes, str):
            lookup(name, "hidden_layer_sizes", sizes, {"auto": None})
        elif not isinstance(sizes, Sequential):
            whole = isinstance(sizes, (tuple, list)) and all(
                isinstance(s, (int, np.integer)) and not isinstance(s, bool) and s > 0
                for s in sizes
            )
            if not whole:
                raise ValueError(
                    f"[{name}] hidden_layer_sizes must be a tuple of widths, a "
                    f"Sequential of hidden layers, or 'auto'. Received: {sizes!r}. "
                    "Try (64, 64)."
                )
        if isinstance(self.solver, str):
            known = [*SOLVERS, *(kind.lower() for kind in optimizers.CLASSES)]
            lookup(name, "solver", self.solver, dict.fromkeys(known))
        elif not isinstance(self.solver, Optimizer):
            raise TypeError(
                f"[{name}] solver must be a name or an object of kurve.optimizers. "
                f"Received: {self.solver!r}. Try solver='auto'."
            )
        if self.activation != "auto":
            from kurve import activations

            activations.get(self.activation)
        counts = (
            ("members", 1, False),
            ("batch_size", 1, True),
            ("max_epochs", 1, True),
            ("patience", 0, True),
        )
        for argument, low, automatic in counts:
            value = getattr(self, argument)
            if not (automatic and isinstance(value, str) and value == "auto"):
                check_count(name, argument, value, low)
        for argument, low, high in (
            ("validation_fraction", 0.0, 1.0),
            ("dropout", -1e-300, 1.0),
            ("alpha", -1e-300, math.inf),
        ):
            value = getattr(self, argument)
            number = isinstance(value, (int, float, np.integer, np.floating))
            if not number or isinstance(value, bool) or not low < value < high:
                limits = "above 0 and below 1" if low == 0.0 else "in [0, 1)"
                limits = "finite and at least 0" if high > 1.0 else limits
                raise ValueError(
                    f"[{name}] {argument} must be a number {limits}. "
                    f"Received: {value!r}. Try {argument}="
                    f"{ {'validation_fraction': 0.1}.get(argument, 0.0) }."
                )
        rate = self.learning_rate
        if isinstance(rate, str):
            lookup(name, "learning_rate", rate, {"auto": None})
        elif not isinstance(rate, LearningRateSchedule):
            optimizers.Adam(rate)
        lookup(name, "missing", self.missing, {"error": None, "impute": None})
        self._own_checks()

    # ---------------------------------------------------------------- prediction

    def _encoded(self, where: str, X: Any, strict: bool = True) -> Any:
        """Scaled inputs (n, D) float32 and which rows hold unseen levels (n,)."""
        self._require_fitted(where)
        table = self._table(where, X, self.n_features_in_ == 1)
        self._columns.check_names(where, table, type(self).__name__)
        matrix, unseen = self._columns.encode(where, table, strict)
        return self._inputs.forward(matrix), unseen

    def _outputs_of(self, z: np.ndarray) -> np.ndarray:
        """What every member says of scaled inputs: float64 (members, n, units)."""
        return np.stack(
            [model.predict(z, verbose=0).astype(np.float64) for model in self.models_]
        )

    def extrapolates(self, X: Any) -> np.ndarray:
        """Which rows of X lie outside the training data: bool (n,).

        A row is outside if it holds a level of a category that training has not seen,
        if a number lies beyond the training data's range by more than 5 % of it, or if
        the row is farther from its nearest training rows than 99 % of the training
        rows are from theirs (see `kurve.estimators.novelty`). Of new rows that come
        from where the training data came from, a few in a hundred are called outside.

        Args:
            X: as in `predict`; unseen levels are allowed here.
        """
        z, unseen = self._encoded("extrapolates", X, strict=False)
        return np.asarray(self._novelty.outside(z) | unseen)

    def diagnose(self, X: Any, y: Any) -> Any:
        """What is wrong with the first member or the data: the findings of
        `kurve.diagnosis`, in scaled units.

        Args:
            X, y: see `fit`.
        """
        z, _ = self._encoded("diagnose", X)
        targets = self._read_targets("diagnose", y, dict(vars(self)))
        data.check_same_length("diagnose", X=z, y=targets.values)
        t = self._scale_targets(targets.values, vars(self))
        return cast(Any, self.models_[0]).diagnose(z, t)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that prediction needs to a file ending in .kurve; read it
        with `kurve.estimators.load`.

        Raises:
            NotFittedError: before `fit`.
        """
        from kurve.estimators import files

        self._require_fitted("save")
        files.save(self, path)

    def _require_fitted(self, where: str) -> None:
        if not hasattr(self, "models_"):
            raise not_fitted(type(self).__name__, where)

    def _table(self, where: str, X: Any, curve: bool) -> Table:
        """The table X; with `curve`, a one-dimensional X is one column."""
        if curve and not is_frame(X):
            if is_series(X):
                X = column_of(where, "X", X)
            try:
                array = np.asarray(X)
            except ValueError:  # rows that differ in length: refused below
                return read_table(where, X)
            if array.ndim == 1:
                X = array.reshape(-1, 1)
        return read_table(where, X)

    def _is_curve(self, y: Any) -> bool:
        """Whether a one-dimensional X may stand for one column in `fit`."""
        return False


@dataclass
class Parts:
    """What training uses: scaled rows, those early stopping watches, and rows that
    nothing has seen, kept to measure errors."""

    train: Sample
    rows: Rows
    validation: Sample | None
    watched: Rows | None
    calibration: Sample | None


class Fresh:
    """A fit under way: all that it learns, kept apart from the estimator until nothing
    can go wrong any more.

    Args:
        estimator: whose fit it is.
        before: the estimator again if what it has learnt is gone on with, else None.
    """

    def __init__(self, estimator: Estimator, before: Estimator | None) -> None:
        self.estimator, self.before = estimator, before
        self.learnt: dict[str, Any] = {}
        if hasattr(before, "classes_"):
            self.learnt["classes_"] = before.classes_
        self.generator = as_generator(type(estimator).__name__, estimator.random_state)
        self.recipe: Recipe
        self.targets: Targets
        self.outputs = 1
        self.columns: Columns
        self.inputs: Scaler
        self.units = 0
        self.loss: Loss
        self.models: list[Sequential] = []
        self.folds: list[Sequential] = []
        self.fold_of: np.ndarray | None = None

    def read(self, where: str, X: Any, y: Any, sample_weight: Any) -> Sample:
        """The encoded rows of training data."""
        estimator = self.estimator
        if y is None:
            raise ValueError(
                f"[{where}] {type(estimator).__name__} requires y to be passed, but "
                "the target y is None. Try fit(X, y)."
            )
        before = self.before
        curve = estimator._is_curve(y) if before is None else before.n_features_in_ == 1
        table = estimator._table(where, X, curve)
        if before is None:
            self.columns = Columns.learn(where, table, estimator.missing == "impute")
        else:
            self.columns = before._columns
            self.columns.check_names(where, table, type(estimator).__name__)
        matrix, _ = self.columns.encode(where, table)
        targets = estimator._read_targets(where, y, self.learnt)
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
            given = column_of(where, "sample_weight", sample_weight)
            data.as_weights(where, given, len(matrix))
            weights = np.asarray(given, np.float64).reshape(-1)
            if not weights.any():
                raise ValueError(
                    f"[{where}] some sample_weight must be above 0. Received: weights "
                    f"that are all zero, for {len(weights)} rows. "
                    "Try sample_weight=None."
                )
        return Sample(matrix, targets.values, weights)

    def read_validation(self, given: Sequence[Any]) -> Sample:
        """The encoded rows of validation data."""
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise TypeError(
                "[fit] validation_data must be (X, y) or (X, y, sample_weight). "
                f"Received: {type(given).__name__}. Try validation_data=(X, y)."
            )
        where = "fit, validation_data"
        table = self.estimator._table(where, given[0], self.columns.width == 1)
        self.columns.check_names(where, table, type(self.estimator).__name__)
        matrix, _ = self.columns.encode(where, table)
        targets = self.estimator._read_targets(where, given[1], self.learnt)
        data.check_same_length(where, X=matrix, y=targets.values)
        if targets.values.shape[1] != self.outputs:
            raise ValueError(
                f"[{where}] y must have {self.outputs} outputs as in training. "
                f"Received: {targets.values.shape[1]}. Try the same columns."
            )
        weights = None
        if len(given) == 3 and given[2] is not None:
            weights = np.asarray(
                data.as_weights(where, given[2], len(matrix)), np.float64
            )
        weights = self.estimator._row_weights(
            targets.values, weights, self.learnt
        )
        return Sample(matrix, targets.values, weights)

    def merged(self, sample: Sample) -> Sample:
        """Equal rows as one, in an order of their own, with the final weights."""
        both = np.concatenate([sample.x, sample.y], axis=1)
        order, weights = merge_equal_rows(both, sample.weights)
        y = sample.y[order]
        weights = self.estimator._row_weights(y, weights, self.learnt)
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
        wanted = estimator.early_stopping and self.recipe.choice.solver is None
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
        count = round(share * len(rows))
        order = rows[self.generator.permutation(len(rows))]
        if "classes_" in self.learnt:
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
            self.estimator._scale_targets(sample.y, self.learnt),
            None if weights is None else weights.astype(np.float32),
        )

    def train(self, parts: Parts) -> None:
        """Make and train the models, those of the folds of CV+ beside the others."""
        self.make_models(parts.rows[0].shape[1])
        models, weights = list(self.models), None
        if getattr(self.estimator, "interval", None) == "cv+":
            weights = self.make_folds(parts)
            models += self.folds
        history, iterations = self.recipe.train(
            models, self.loss, parts.rows, parts.watched, weights
        )
        self.learnt.update(history_=history, n_iter_=iterations)
        self.learnt["_novelty"] = Novelty.learn(
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
        self.units, self.loss = estimator._head(self.recipe, self.learnt)
        if self.before is None:
            self.models = self.recipe.build(
                inputs, self.units, [self.next_seed() for _ in range(estimator.members)]
            )
            return
        import copy

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
        self.models = copy.deepcopy(models)

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
            weights = estimator._row_weights(sample.y, sample.weights, self.learnt)
            sample = Sample(sample.x, sample.y, weights)
        self.learn_scales(sample)
        self.make_models(sample.x.shape[1])
        x, y, weights32 = self.scaled(sample)
        recipe = self.recipe
        if before is None or not getattr(before, "_partial", False):
            if recipe.rate is None and not isinstance(recipe.optimizer, Optimizer):
                recipe = replace(recipe, rate=defaults.PARTIAL_RATE)
            recipe.compile(self.models, self.loss, 1)
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
        self.learnt.update(
            history_=history,
            n_iter_=1 if before is None else before.n_iter_ + 1,
            _novelty=novelty,
            _partial=True,
        )

    def next_seed(self) -> int:
        """A seed for a model or the like."""
        return int(self.generator.integers(0, 2**63))

    def hand_over(self) -> None:
        """Give the estimator all that was learnt."""
        estimator, columns = self.estimator, self.columns
        self.learnt.update(
            models_=self.models,
            _columns=columns,
            _inputs=self.inputs,
            n_features_in_=columns.width,
            n_outputs_=self.outputs,
        )
        if columns.names is not None:
            self.learnt["feature_names_in_"] = np.array(columns.names, dtype=object)
        for name in getattr(estimator, "_learnt", ()):
            delattr(estimator, name)
        vars(estimator).update(self.learnt, _learnt=tuple(self.learnt))


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
    if not whole or isinstance(random_state, bool) or random_state < 0:
        raise ValueError(
            f"[{where}] random_state must be None, an integer of at least 0, a "
            f"RandomState or a Generator. Received: {random_state!r}. "
            "Try random_state=0."
        )
    return np.random.default_rng(int(random_state))
