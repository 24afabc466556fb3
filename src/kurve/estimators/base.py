"""What regressor and classifier share: parameters, checks, the way from a table to
trained models and from a table to what they say.

The conventions are scikit-learn's; scikit-learn itself is imported only when it calls
`__sklearn_tags__`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from kurve import activations, data
from kurve.core.arrays import as_array, is_frame
from kurve.core.entries import entries
from kurve.estimators import defaults
from kurve.estimators.columns import Columns
from kurve.estimators.errors import not_fitted
from kurve.estimators.fitting import FitSession, Parts, Sample, Targets
from kurve.estimators.frames import Table, read_table
from kurve.estimators.novelty import Novelty
from kurve.estimators.parameters import SOLVERS, Parameters
from kurve.estimators.scaling import Scaler
from kurve.estimators.training import TrainingSetup
from kurve.losses import Loss
from kurve.models import Sequential


@entries
class Estimator(Parameters):
    """Base class of `Regressor` and `Classifier`."""

    _kind: str
    _estimator_type: str

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

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "models_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True),
            input_tags=InputTags(allow_nan=self.missing == "impute", categorical=True),
        )

    # ---------------------------------------------------------------- hooks

    def _read_targets(self, where: str, y: Any, fitted: dict[str, Any]) -> Targets:
        """The targets as numbers.

        Args:
            learnt: what is known already; what is new (the classes) is put there.
        """
        raise NotImplementedError

    def _head(self, likelihood: str, fitted: dict[str, Any]) -> tuple[int, Loss]:
        """Units of the output layer, and the loss.

        Args:
            likelihood: of a regressor.
            learnt: what is known of the targets.
        """
        raise NotImplementedError

    def _scale_targets(self, y: np.ndarray, fitted: Mapping[str, Any]) -> np.ndarray:
        """Targets (n, T) as the network shall give them, float32.

        Args:
            learnt: what `_learn_targets` has put by.
        """
        raise NotImplementedError

    def _learn_targets(self, sample: Sample, fresh: FitSession) -> None:
        """Whatever must be known of the targets before they can be scaled."""

    def _row_weights(
        self,
        y: np.ndarray,
        weights: np.ndarray | None,
        fitted: Mapping[str, Any],
    ) -> np.ndarray | None:
        """The weights of the rows, weights of classes included."""
        return weights

    def _after_training(self, fresh: FitSession, parts: Parts) -> None:
        """What is learnt from trained models, such as the size of their errors."""

    def _see_targets(
        self, y: Any, weights: np.ndarray | None, fitted: dict[str, Any]
    ) -> None:
        """Learn from the targets of one of many batches."""
        raise NotImplementedError

    def _seen_targets(self, fitted: dict[str, Any]) -> None:
        """Make what `_see_targets` has learnt final."""

    def _choice(
        self,
        solver: str,
        rows: int,
        features: int,
        targets: int,
        hidden: tuple[int, ...] | None,
        full_batch: bool,
    ) -> defaults.Hyperparameters:
        """What `defaults.choose` says for this kind of estimator."""
        raise NotImplementedError

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
            from kurve.estimators import streams  # streams know estimators

            batches = streams.as_batches(X)
            if batches is not None:
                return streams.fit(self, batches, validation_data)
        before = self if self.warm_start and hasattr(self, "models_") else None
        fresh = FitSession(self, before)
        sample = fresh.read("fit", X, y, sample_weight)
        sample = fresh.merged(sample)
        given = None
        if validation_data is not None:
            given = fresh.read_validation(validation_data)
        fresh.recipe = self._recipe(fresh, len(sample), sample.x.shape[1])
        parts = fresh.divide(sample, given)
        fresh.train(parts)
        self._after_training(fresh, parts)
        fresh.commit()
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, **known: Any) -> Self:
        """One pass over some rows.

        Args:
            known: what need not be learnt from them.
        """
        self._check_parameters()
        before = self if hasattr(self, "models_") else None
        fresh = FitSession(self, before)
        fresh.fitted.update(known)
        sample = fresh.read("partial_fit", X, y, sample_weight)
        if before is None:
            sample = fresh.merged(sample)
        fresh.recipe = self._recipe(fresh, len(sample), sample.x.shape[1], True)
        fresh.train_once(sample)
        fresh.commit()
        return self

    def _recipe(
        self,
        fresh: FitSession,
        rows: int,
        features: int,
        in_parts: bool = False,
    ) -> TrainingSetup:
        """How to train.

        Args:
            rows: different rows to train with.
            features: columns of the encoded table.
            in_parts: whether the rows come in parts, which excludes full-batch solvers.
        """
        solver = self.solver
        wanted = solver if isinstance(solver, str) else "adam"
        if in_parts and wanted in SOLVERS:
            wanted = "adam"
        template, hidden = None, None
        if isinstance(self.hidden_layer_sizes, Sequential):
            template = self.hidden_layer_sizes
        elif not isinstance(self.hidden_layer_sizes, str):
            hidden = tuple(map(int, self.hidden_layer_sizes))
        batches = (self.batch_size, self.learning_rate)
        smooth = self.activation == "auto" or activations.get(self.activation).name in (
            "tanh", "sigmoid", "silu", "gelu", "softplus", "sin",
        )  # fmt: skip
        choice = self._choice(
            wanted,
            rows,
            features,
            fresh.outputs,
            hidden,
            smooth
            and template is None
            and not self.dropout
            and all(isinstance(b, str) for b in batches),
        )
        kept = getattr(fresh.before, "_likelihood", choice.likelihood)
        if kept != choice.likelihood:  # the output layer stays
            choice = replace(choice, likelihood=kept)
        if choice.solver == "lm" and choice.likelihood != "none":
            choice = replace(choice, solver=None)
        if self.activation != "auto":
            choice = replace(choice, activation=self.activation)
        if self.batch_size != "auto":
            choice = replace(choice, batch_size=int(self.batch_size))
        if self.max_epochs != "auto":
            epochs = int(self.max_epochs)
            choice = replace(choice, epochs=epochs, iterations=epochs, patience=epochs)
        if self.patience != "auto":
            choice = replace(choice, patience=int(self.patience))
        optimizer = None
        if choice.solver is None:
            optimizer = (
                "adam" if isinstance(solver, str) and solver in SOLVERS else solver
            )
        rate = None if isinstance(self.learning_rate, str) else self.learning_rate
        return TrainingSetup(
            choice, template, optimizer, rate, float(self.alpha), float(self.dropout),
            self.engine, self.verbose, getattr(self, "_watch", None),
        )  # fmt: skip

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
        from kurve.diagnosis import diagnose

        z, _ = self._encoded("diagnose", X)
        targets = self._read_targets("diagnose", y, dict(vars(self)))
        data.check_same_length("diagnose", X=z, y=targets.values)
        t = self._scale_targets(targets.values, vars(self))
        return diagnose(self.models_[0], z, t, columns=self._columns.names_out())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that prediction needs to a file ending in .kurve; read it
        with `kurve.estimators.load`.

        Args:
            path: of the file.

        Raises:
            NotFittedError: before `fit`.
        """
        from kurve.estimators import files

        self._require_fitted("save")
        files.save(self, path)

    def export(
        self, filepath: str | os.PathLike[str], format: str | None = None
    ) -> None:
        """Write the model, scales included, for programs without Kurve: an ONNX model
        or a C file. See `kurve.exchange.export.export`.

        Args:
            filepath: ends in .onnx or .c.
            format: "onnx" or "c", where the ending does not say so.

        Raises:
            NotFittedError: before `fit`.
            ValueError: columns of text, another ending, an operation that the format
                does not know.
            ImportError: onnx is not installed.
        """
        from kurve.exchange.export import export

        export(self, filepath, format)

    def _require_fitted(self, where: str) -> None:
        if not hasattr(self, "models_"):
            raise not_fitted(type(self).__name__, where)

    def _table(self, where: str, X: Any, curve: bool) -> Table:
        """The table X; with `curve`, a one-dimensional X is one column."""
        if curve and not is_frame(X):
            X = as_array(where, "X", X, missing=True)
            if X.ndim == 1:
                X = X.reshape(-1, 1)
        return read_table(where, X)

    def _is_curve(self, y: Any) -> bool:
        """Whether a one-dimensional X may stand for one column in `fit`."""
        return False
