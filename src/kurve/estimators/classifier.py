"""Classifier: from a table to classes and their probabilities."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from kurve.core.entries import entries
from kurve.core.samples import as_weights, check_same_length
from kurve.estimators import defaults
from kurve.estimators.base import Estimator
from kurve.estimators.fitted import ClassificationHead, Fitted
from kurve.estimators.fitting import FitSession
from kurve.estimators.labels import read_labels
from kurve.estimators.targets import ClassTargets
from kurve.metrics import scores


@entries
class Classifier(Estimator):
    """Networks that predict classes from a table: by default a weighted bag, as in
    `Regressor`. Labels can be strings, integers or booleans. Two classes use one
    sigmoid output, more use a softmax. Everything else works as in `Regressor`.

    Args:
        hidden_layer_sizes, activation, solver, members, effort, learning_rate,
            batch_size, max_epochs, early_stopping, validation_fraction, patience,
            alpha, dropout, scale, missing, warm_start, random_state, verbose, engine:
            see `Regressor`; solver "lm" only works for regression.
        class_weight: a dictionary from class to weight; "balanced"
            gives all classes the same total weight; None weights all rows equally.

    Attributes:
        classes_: the labels, in order.
        models_: the trained networks; they output logits.
        history_, n_iter_, n_features_in_, feature_names_in_, target_names_: see
            `Regressor`.
        n_outputs_: 1.
        fitted_: the complete learned state, as one record (`kurve.estimators.fitted`).

    Raises:
        TypeError, ValueError: at `fit`, an argument of the wrong type or out of range.

    Example:
        >>> X = np.linspace(-1.0, 1.0, 40)[:, None]
        >>> y = np.where(X[:, 0] > 0.0, "high", "low")
        >>> model = kurve.Classifier((8,), max_epochs=20, random_state=0).fit(X, y)
        >>> model.classes_
        array(['high', 'low'], dtype='<U4')
        >>> model.predict_proba(X).shape
        (40, 2)
    """

    _kind = "classifier"
    _estimator_type = "classifier"
    fitted_: Fitted[ClassificationHead]
    classes_: np.ndarray

    def __init__(
        self,
        hidden_layer_sizes: Any = "auto",
        activation: Any = "auto",
        solver: Any = "auto",
        *,
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
        class_weight: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        engine: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
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
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.engine = engine

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.classifier_tags = ClassifierTags()
        return tags

    # ---------------------------------------------------------------- prediction

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row: (n,), with the dtype of the labels.

        Args:
            X: (n, columns), the columns of the training data.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: other columns, infinite values.
        """
        probabilities = self._probabilities("predict", X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of `classes_`: float64
        (n, classes), averaged over the members.

        Args:
            X: as in `predict`.
        """
        return self._probabilities("predict_proba", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Fraction of the rows whose class is predicted correctly.

        Args:
            X, y, sample_weight: see `fit`.
        """
        labels = read_labels("score", y)[0]
        predicted = self.predict(X)
        check_same_length("score", X=predicted, y=labels)
        weights = None
        if sample_weight is not None:
            weights = as_weights("score", sample_weight, len(labels), np.float64)
        return scores.accuracy(labels, predicted, weights)

    def _probabilities(self, where: str, X: Any) -> np.ndarray:
        z, _ = self._encoded(where, X)
        return self.fitted_.head.probabilities(self.fitted_.outputs(z))

    # ---------------------------------------------------------------- training

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """Train for one pass over some rows, for data that arrives over time.

        The first call learns columns, levels and scales from its rows, so they should
        be many and typical. The learning rate is constant.

        Args:
            X, y, sample_weight: see `fit`.
            classes: all labels that will occur; required in the first call unless its
                rows contain all of them.
        """
        self._check_parameters()
        session = self._session(True)
        if classes is not None:
            labels = np.unique(read_labels("partial_fit", classes)[0])
            before = getattr(self, "classes_", labels)
            if not np.array_equal(labels, before):
                raise ValueError(
                    "[partial_fit] classes must be those of the first call. "
                    f"Received: {labels.tolist()!r} after {before.tolist()!r}. "
                    "Try classes=None."
                )
            session.encoder = ClassTargets(self.class_weight, labels)
        return self._partial_fit(session, X, y, sample_weight)

    def _check_specific(self) -> None:
        if self.solver == "lm":
            raise ValueError(
                "[Classifier] solver='lm' minimises squared errors, which classes do "
                "not have. Received: solver='lm'. Try solver='auto'."
            )
        weights = self.class_weight
        if weights is None or (isinstance(weights, str) and weights == "balanced"):
            return
        valid = isinstance(weights, Mapping) and all(
            isinstance(w, (int, float, np.integer, np.floating))
            and 0 <= w <= sys.float_info.max
            for w in weights.values()
        )
        if not valid:
            raise ValueError(
                "[Classifier] class_weight must be None, 'balanced' or a dictionary "
                "from class to a finite weight of at least 0. "
                f"Received: {weights!r}. Try 'balanced'."
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
        return defaults.choose(
            rows, features, targets, True, solver, hidden=hidden, full_batch=full_batch
        )

    def _target_encoder(
        self, previous: Fitted[ClassificationHead] | None
    ) -> ClassTargets:
        classes = None if previous is None else previous.head.classes
        return ClassTargets(self.class_weight, classes)

    def _head(self, session: FitSession) -> ClassificationHead:
        assert isinstance(session.encoder, ClassTargets)
        weights = None if session.previous is None else session.previous.head.weights
        return ClassificationHead(session.encoder.classes, weights)

    def _commit(self, fitted: Fitted[ClassificationHead]) -> None:
        super()._commit(fitted)
        self.classes_ = fitted.head.classes


def probabilities_of(model: Classifier, z: np.ndarray) -> np.ndarray:
    """Probabilities of encoded rows, (n, classes)."""
    return model.fitted_.head.probabilities(model.fitted_.outputs(z))
