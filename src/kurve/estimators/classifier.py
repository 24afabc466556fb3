"""Classifier: from a table to classes and their probabilities."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from kurve import data, losses
from kurve.core.entries import entries
from kurve.estimators import defaults
from kurve.estimators.base import Estimator
from kurve.estimators.fitting import Targets
from kurve.estimators.frames import names_of_targets
from kurve.estimators.labels import of_one_kind, read_labels
from kurve.losses import Loss


@entries
class Classifier(Estimator):
    """A network, or several, that learns classes from a table.
    Labels may be texts, integers or booleans. Two classes have one sigmoid output, more
    have a softmax. All else is as in `Regressor`.

    Args:
        hidden_layer_sizes, activation, solver, members, learning_rate, batch_size,
            max_epochs, early_stopping, validation_fraction, patience, alpha, dropout,
            scale, missing, warm_start, random_state, verbose, engine: see `Regressor`;
            solver "lm" is for numbers only.
        class_weight: from class to the weight of its rows; "balanced" gives all classes
            the same weight; None: all rows weigh the same.

    Attributes:
        classes_: the labels, in order.
        models_: the trained networks; they give logits.
        history_, n_iter_, n_features_in_, feature_names_in_, target_names_: see
            `Regressor`.
        n_outputs_: 1.

    Raises:
        TypeError, ValueError: at `fit`, an argument of the wrong kind or out of range.

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
    classes_: np.ndarray
    target_names_: list[str] | None

    def __init__(
        self,
        hidden_layer_sizes: Any = "auto",
        activation: Any = "auto",
        solver: Any = "auto",
        *,
        members: int = 1,
        learning_rate: Any = "auto",
        batch_size: Any = "auto",
        max_epochs: Any = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        patience: Any = "auto",
        alpha: float = 0.0,
        dropout: float = 0.0,
        scale: bool = True,
        missing: str = "error",
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
        """The most probable class of every row: (n,), of the kind of the labels.

        Args:
            X: (n, columns), the columns of the training data.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: other columns, missing values, unseen levels.
        """
        probabilities = self._probabilities("predict", X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of every class, in the order of `classes_`: float64
        (n, classes), the mean over the members.

        Args:
            X: as in `predict`.
        """
        return self._probabilities("predict_proba", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the rows whose class is predicted rightly.

        Args:
            X, y, sample_weight: see `fit`.
        """
        labels = read_labels("score", y)[0]
        predicted = self.predict(X)
        data.check_same_length("score", X=predicted, y=labels)
        weights = None
        if sample_weight is not None:
            weights = data.as_weights("score", sample_weight, len(labels), np.float64)
        return float(np.average(predicted == labels, weights=weights))

    def _probabilities(self, where: str, X: Any) -> np.ndarray:
        z, _ = self._encoded(where, X)
        return self._mixed(self._outputs_of(z))

    def _mixed(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes) from the members' outputs (members, n, units)."""
        if logits.shape[-1] == 1:
            positive = np.exp(-np.logaddexp(0.0, -logits[..., 0])).mean(axis=0)
            return np.stack([1.0 - positive, positive], axis=1)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        mean = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=0)
        return np.asarray(mean / mean.sum(axis=1, keepdims=True))

    # ---------------------------------------------------------------- training

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """One pass over some rows, for data that comes bit by bit.

        The first call learns columns, levels and scales from its rows, so let them be
        many and typical. The learning rate is constant.

        Args:
            X, y, sample_weight: see `fit`.
            classes: all labels there will be; needed at the first call unless its rows
                have them all.
        """
        known = {}
        if classes is not None:
            known["classes_"] = np.unique(read_labels("partial_fit", classes)[0])
            before = getattr(self, "classes_", known["classes_"])
            if not np.array_equal(known["classes_"], before):
                raise ValueError(
                    "[partial_fit] classes must stay those of the first call. "
                    f"Received: {known['classes_'].tolist()!r} after "
                    f"{before.tolist()!r}. Try classes=None."
                )
        return self._partial_fit(X, y, sample_weight, **known)

    def _own_checks(self) -> None:
        if self.solver == "lm":
            raise ValueError(
                "[Classifier] solver='lm' minimises squared errors, which classes do "
                "not have. Received: solver='lm'. Try solver='auto'."
            )
        given = self.class_weight
        if given is None or (isinstance(given, str) and given == "balanced"):
            return
        good = isinstance(given, Mapping) and all(
            isinstance(w, (int, float, np.integer, np.floating))
            and 0 <= w <= sys.float_info.max
            for w in given.values()
        )
        if not good:
            raise ValueError(
                "[Classifier] class_weight must be None, 'balanced' or a dictionary "
                "from class to a finite weight of at least 0. "
                f"Received: {given!r}. Try 'balanced'."
            )

    def _choice(
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

    def _see_targets(
        self, y: Any, weights: np.ndarray | None, fitted: dict[str, Any]
    ) -> None:
        labels, counts = np.unique(read_labels("fit", y)[0], return_counts=True)
        if hasattr(self, "classes_") and self.warm_start:
            return
        before, numbers = fitted.get("classes_", labels[:0]), fitted.get("_counts", {})
        for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
            numbers[label] = numbers.get(label, 0) + count
        both = [*before.tolist(), *labels.tolist()]
        fitted["classes_"] = np.unique(of_one_kind("fit", np.array(both, object)))
        fitted["_counts"] = numbers

    def _seen_targets(self, fitted: dict[str, Any]) -> None:
        numbers = fitted.pop("_counts", None)
        if numbers is not None and isinstance(self.class_weight, str):
            counts = np.array([numbers[c] for c in fitted["classes_"].tolist()], float)
            fitted["_balance"] = counts.sum() / (len(counts) * counts)

    def _read_targets(self, where: str, y: Any, fitted: dict[str, Any]) -> Targets:
        labels, flat = read_labels(where, y)
        classes = fitted.get("classes_")
        if classes is None:
            classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(
                f"[{where}] y must have at least 2 classes. Received: "
                f"{len(classes)} class, {classes.tolist()[0]!r}. "
                "Try rows of other classes too."
            )
        kinds = {a.dtype.kind in "UO" for a in (classes, labels)}
        if len(kinds) > 1:
            raise _unknown(where, labels, 0, classes)
        codes = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        wrong = classes[codes] != labels
        if wrong.any():
            raise _unknown(where, labels, int(np.argmax(wrong)), classes)
        fitted["classes_"] = classes
        fitted.setdefault("target_names_", names_of_targets(y))
        return Targets(codes.astype(np.float64)[:, None], flat, None)

    def _row_weights(
        self,
        y: np.ndarray,
        weights: np.ndarray | None,
        fitted: Mapping[str, Any],
    ) -> np.ndarray | None:
        if self.class_weight is None:
            return weights
        classes: np.ndarray = fitted["classes_"]
        codes = y[:, 0].astype(np.int64)
        if "_balance" in fitted:
            each = fitted["_balance"]
        elif isinstance(self.class_weight, str):
            counts = np.bincount(codes, weights, len(classes))
            each = np.where(counts > 0, 1.0 / np.maximum(counts, 1e-300), 0.0)
        else:
            each = np.ones(len(classes))
            labels = classes.tolist()
            for label, weight in self.class_weight.items():
                if label not in labels:
                    raise ValueError(
                        "[fit] class_weight must name classes that y has. Received: "
                        f"{label!r}. Known: {labels!r}."
                    )
                each[labels.index(label)] = weight
        weighed = each[codes] * (1.0 if weights is None else weights)
        if not weighed.any():
            raise ValueError(
                "[fit] some rows must weigh more than 0. Received: class_weight="
                f"{self.class_weight!r}, which is 0 for every class of y. "
                "Try class_weight='balanced'."
            )
        return np.asarray(weighed)

    def _head(self, likelihood: str, fitted: dict[str, Any]) -> tuple[int, Loss]:
        classes = len(fitted["classes_"])
        if classes == 2:
            return 1, losses.BinaryCrossentropy(from_logits=True)
        return classes, losses.SparseCategoricalCrossentropy(from_logits=True)

    def _scale_targets(self, y: np.ndarray, fitted: Mapping[str, Any]) -> np.ndarray:
        many = len(fitted["classes_"]) > 2
        return np.asarray(y[:, 0] if many else y, np.float32)


def _unknown(
    where: str, labels: np.ndarray, row: int, classes: np.ndarray
) -> ValueError:
    return ValueError(
        f"[{where}] y must hold classes that are known. Received: y[{row}] = "
        f"{labels[row : row + 1].tolist()[0]!r}. Known: {classes.tolist()!r}. "
        "Try fit with all classes."
    )
