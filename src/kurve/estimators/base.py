"""The base of regressor and classifier: from a table to trained models, and from a
table to predictions.

The conventions are scikit-learn's; scikit-learn itself is imported only when it calls
`__sklearn_tags__`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from kurve import activations
from kurve.core.arrays import as_array, is_frame, is_sparse
from kurve.core.entries import entries
from kurve.core.executors import check_executor
from kurve.core.samples import check_same_length
from kurve.estimators import bags, defaults
from kurve.estimators.errors import not_fitted
from kurve.estimators.fitted import Fitted
from kurve.estimators.fitting import FitSession, Sample, Split
from kurve.estimators.frames import Table, read_table
from kurve.estimators.parameters import SOLVERS, Parameters
from kurve.estimators.targets import TargetEncoder
from kurve.estimators.training import TrainingSetup
from kurve.models import Sequential
from kurve.plan.kinds import ACTIVATIONS


@entries
class Estimator(Parameters):
    """Base class of `Regressor` and `Classifier`."""

    _kind: str
    _estimator_type: str

    # Set by fit.
    fitted_: Fitted[Any]
    models_: list[Sequential]
    history_: dict[str, list[float]]
    n_features_in_: int
    n_iter_: int
    n_outputs_: int
    target_names_: list[str] | None

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fitted_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True),
            input_tags=InputTags(allow_nan=self.missing != "error", categorical=True),
        )

    # ---------------------------------------------------------------- hooks

    def _target_encoder(self, previous: Fitted[Any] | None) -> TargetEncoder:
        """The encoder of the targets.

        Args:
            previous: the result of the previous training, if it is continued.
        """
        raise NotImplementedError

    def _head(self, session: FitSession) -> Any:
        """The head of the record, before it is calibrated."""
        raise NotImplementedError

    def _calibrated(
        self, fitted: Fitted[Any], session: FitSession, split: Split
    ) -> Fitted[Any]:
        """The record, calibrated with the errors of the trained models."""
        return fitted

    def _calibrated_bag(self, head: Any, held: bags.Held) -> Any:
        """The head of a bag, calibrated with rows that the networks have not seen."""
        return head

    def _choose(
        self,
        solver: str,
        rows: int,
        features: int,
        targets: int,
        hidden: tuple[int, ...] | None,
        full_batch: bool,
    ) -> defaults.Hyperparameters:
        """The result of `defaults.choose` for this kind of estimator."""
        raise NotImplementedError

    # ---------------------------------------------------------------- training

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        validation_data: Sequence[Any] | None = None,
        executor: Any = None,
    ) -> Self:
        """Train on a table.

        Rows that are equal in all values count as one row with the sum of their
        weights, and the order of the rows does not matter: a row repeated three times
        and a row of weight 3 give the same bits, and no row is on both sides of the
        split for early stopping.

        Args:
            X: (n, columns): array, list of rows, data frame or Arrow table. Or, without
                y, batches for data that is larger than memory: an iterable of (X, y) or
                (X, y, sample_weight) that can be iterated several times. It is
                read once for statistics, and once to encode the rows into a temporary
                file, which epochs read in random order. An iterator that can be
                consumed only once is read into memory.
            y: (n,) or (n, outputs).
            sample_weight: (n,), at least 0.
            validation_data: (X, y) or (X, y, sample_weight) for early stopping, in
                place of rows of X.
            executor: where to train members, and the folds of "cv+", instead of on the
                cores of this process: anything with the `submit` of
                `concurrent.futures`, or a Dask client. The result is the same.

        Returns:
            The estimator itself.

        Raises:
            TypeError, ValueError: invalid input; the estimator is unchanged.
            NonFiniteError: training diverged; the estimator is unchanged.
        """
        self._check_parameters()
        if executor is not None:
            check_executor("fit", executor)
        if y is None:
            from kurve.estimators import streams  # circular: it imports the estimators

            batches = streams.as_batches(X)
            if batches is not None and executor is not None:
                raise ValueError(
                    "[fit] executor is for tables in memory. Received: batches and an "
                    "executor. Try fit(X, y, executor=executor)."
                )
            if batches is not None:
                return streams.fit(self, batches, validation_data)
        session = self._session(self.warm_start)
        sample = session.read("fit", X, y, sample_weight)
        sample = session.merged(sample)
        validation = None
        if validation_data is not None:
            validation = session.read_validation(validation_data)
        session.setup = self._setup(session, len(sample), sample.x.shape[1])
        self._commit(self._trained(session, sample, validation, executor))
        return self

    def _trained(
        self,
        session: FitSession,
        sample: Sample,
        validation: Sample | None,
        executor: Any,
    ) -> Fitted[Any]:
        """The record of the models trained on these rows, calibrated."""
        size = bags.size_of(self, session.setup, len(sample))
        if size is not None and session.previous is None:
            return bags.train(session, size, sample, validation, executor)
        split = session.split(sample, validation)
        return self._calibrated(session.train(split, executor), session, split)

    def _partial_fit(
        self, session: FitSession, X: Any, y: Any, sample_weight: Any
    ) -> Self:
        """One pass over some rows."""
        sample = session.read("partial_fit", X, y, sample_weight)
        if session.previous is None:
            sample = session.merged(sample)
        session.setup = self._setup(session, len(sample), sample.x.shape[1], True)
        fitted, split = session.train_once(sample)
        self._commit(self._calibrated(fitted, session, split))
        return self

    def _session(self, resume: bool) -> FitSession:
        """A new fit.

        Args:
            resume: whether to continue from the previous one, if there is one.
        """
        previous = getattr(self, "fitted_", None) if resume else None
        return FitSession(self, previous, self._target_encoder(previous))

    def _commit(self, fitted: Fitted[Any]) -> None:
        """Adopt the result of a fit or a file."""
        self.fitted_ = fitted
        self.models_ = fitted.members
        self.history_ = fitted.history
        self.n_iter_ = fitted.iterations
        self.n_outputs_ = fitted.targets
        self.n_features_in_ = fitted.columns.width
        self.target_names_ = fitted.target_names
        names = fitted.columns.names
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _setup(
        self,
        session: FitSession,
        rows: int,
        features: int,
        in_batches: bool = False,
    ) -> TrainingSetup:
        """How to train.

        Args:
            rows: number of distinct training rows.
            features: columns of the encoded table.
            in_batches: whether the rows come in batches, which rules out full-batch
                solvers.
        """
        name = self.solver if isinstance(self.solver, str) else "adam"
        if in_batches and name in SOLVERS:
            name = "adam"
        template, hidden = None, None
        if isinstance(self.hidden_layer_sizes, Sequential):
            template = self.hidden_layer_sizes
        elif not isinstance(self.hidden_layer_sizes, str):
            hidden = tuple(map(int, self.hidden_layer_sizes))
        smooth = self.activation == "auto"
        if not smooth:
            smooth = ACTIVATIONS[activations.get(self.activation).name].second_order
        automatic = isinstance(self.batch_size, str) and isinstance(
            self.learning_rate, str
        )
        full_batch = smooth and template is None and not self.dropout and automatic
        hyper = self._choose(name, rows, features, session.outputs, hidden, full_batch)
        if session.previous is not None:  # the output layer is kept
            likelihood = getattr(session.previous.head, "likelihood", "none")
            hyper = replace(hyper, likelihood=likelihood)
        if hyper.solver == "lm" and hyper.likelihood != "none":
            hyper = replace(hyper, solver=None)
        if self.activation != "auto":
            hyper = replace(hyper, activation=self.activation)
        if self.batch_size != "auto":
            hyper = replace(hyper, batch_size=int(self.batch_size))
        if self.max_epochs != "auto":
            epochs = int(self.max_epochs)
            hyper = replace(hyper, epochs=epochs, iterations=epochs, patience=epochs)
        if self.patience != "auto":
            hyper = replace(hyper, patience=int(self.patience))
        optimizer = None
        if hyper.solver is None:
            optimizer = "adam" if self.solver in SOLVERS else self.solver
        rate = None if isinstance(self.learning_rate, str) else self.learning_rate
        return TrainingSetup(
            hyper,
            template,
            optimizer,
            rate,
            float(self.alpha),
            float(self.dropout),
            self.engine,
            self.verbose,
        )

    # ---------------------------------------------------------------- prediction

    def _encoded(self, where: str, X: Any) -> Any:
        """Scaled inputs (n, D) float32, and which rows have unseen levels (n,). These
        count as average levels, with a warning."""
        self._require_fitted(where)
        columns = self.fitted_.columns
        table = self._table(where, X, columns.width == 1)
        columns.check_names(where, table, type(self).__name__)
        matrix, unseen = columns.encode(where, table)
        if unseen.any() and where != "extrapolates":
            columns.warn_of_unseen(where, table, int(unseen.sum()))
        return self.fitted_.inputs.forward(matrix), unseen

    def encoded(self, where: str, X: Any) -> np.ndarray:
        """The inputs of the networks (n, D): X encoded and scaled.

        Args:
            where: the method, for messages.
            X: as in `predict`.
        """
        return np.asarray(self._encoded(where, X)[0])

    def extrapolates(self, X: Any) -> np.ndarray:
        """Which rows of X lie outside the training data: bool (n,).

        A row is outside if it has a categorical level that was not in the training
        data, if a number lies beyond the training range by more than 5 % of it, or if
        the row is farther from its nearest training rows than 99 % of the training rows
        are from theirs (see `kurve.estimators.novelty`). For new rows from the same
        source, a few percent are flagged.

        Args:
            X: as in `predict`; unseen levels are allowed.
        """
        z, unseen = self._encoded("extrapolates", X)
        return np.asarray(self.fitted_.novelty.outside(z) | unseen)

    def diagnose(self, X: Any, y: Any) -> Any:
        """Diagnose the first member and the data: the findings of `kurve.diagnosis`
        that concern an estimator, in the table's units. What `fit` already takes care
        of, such as scaling and stopping at the best epoch, is not checked.

        Args:
            X, y: see `fit`.
        """
        from kurve.diagnosis.tables import diagnose_table

        z, _ = self._encoded("diagnose", X)
        encoder = self._target_encoder(self.fitted_)
        targets = encoder.read("diagnose", y).values
        check_same_length("diagnose", X=z, y=targets)
        columns, fitted = self.fitted_.columns, self.fitted_
        return diagnose_table(
            self.models_[0],
            z,
            encoder.scale(targets),
            fitted.inputs.backward(z),
            columns.names_out(),
            len(columns.numeric),
            None if self._estimator_type == "classifier" else targets,
            list(getattr(self, "classes_", ())),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that prediction needs to a file ending in .kurve; read it
        with `kurve.estimators.load`.

        Args:
            path: path of the file.

        Raises:
            NotFittedError: before `fit`.
        """
        from kurve.estimators import files

        self._require_fitted("save")
        files.save(self, path)

    def export(
        self, filepath: str | os.PathLike[str], format: str | None = None
    ) -> None:
        """Export the model, including scales, for use without Kurve: an ONNX model
        or a C file. See `kurve.exchange.export.export`.

        Args:
            filepath: ends in .onnx or .c.
            format: "onnx" or "c", if the extension does not tell.

        Raises:
            NotFittedError: before `fit`.
            ValueError: a category of texts and numbers, unknown extension, or an
                operation that the format does not support.
            ImportError: onnx is not installed.
        """
        from kurve.exchange.export import export

        export(self, filepath, format)

    def _require_fitted(self, where: str) -> None:
        if not hasattr(self, "fitted_"):
            raise not_fitted(type(self).__name__, where)

    def _table(self, where: str, X: Any, flat: bool) -> Table:
        """The table X; with `flat`, a one-dimensional X is one column."""
        if flat and not is_frame(X) and not is_sparse(X):
            X = as_array(where, "X", X, missing=True)
            if X.ndim == 1:
                X = X.reshape(-1, 1)
        return read_table(where, X)
