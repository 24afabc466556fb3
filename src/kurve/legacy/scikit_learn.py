"""Models in scikit-learn: today kurve.Classifier and kurve.Regressor

`KerasClassifier(build_fn, **arguments)` is a scikit-learn estimator around a function
that returns a compiled model, like in `keras.wrappers.scikit_learn`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, Self

import numpy as np

METHODS = ("fit", "predict", "evaluate")


class _Wrapper:
    """The common base of the two wrappers."""

    def __init__(self, build_fn: Callable[..., Any] | None = None, **sk_params: Any):
        self.build_fn, self.sk_params = build_fn, sk_params
        self._check(sk_params)

    def _builder(self) -> Callable[..., Any]:
        build: Any = type(self).__call__ if self.build_fn is None else self.build_fn
        if inspect.isfunction(build) or inspect.ismethod(build):
            return build
        return build.__call__

    def __call__(self, **arguments: Any) -> Any:
        """Subclasses build the model here if there is no build_fn."""
        raise TypeError(
            f"[{type(self).__name__}] a function that makes a compiled model is "
            f"needed. Received: build_fn={self.build_fn!r}. Try build_fn=make_model."
        )

    def _known(self) -> dict[str, set[str]]:
        from kurve.models import Sequential

        calls = {name: getattr(Sequential, name) for name in METHODS}
        calls["build_fn"] = self._builder()
        return {
            name: {*inspect.signature(call).parameters} - {"self"}
            for name, call in calls.items()
        }

    def _check(self, given: dict[str, Any]) -> None:
        known = set[str]().union(*self._known().values()) | {"nb_epoch"}
        if self.build_fn is None and type(self).__call__ is _Wrapper.__call__:
            self()
        for name in given:
            if name not in known:
                from kurve.errors import unknown_name

                where = type(self).__name__
                raise ValueError(str(unknown_name(where, "argument", name, known)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All constructor arguments."""
        return {**copy.deepcopy(self.sk_params), "build_fn": self.build_fn}

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments."""
        build = params.pop("build_fn", self.build_fn)
        self._check(params)
        self.build_fn = build
        self.sk_params.update(params)
        return self

    def _arguments(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        """The constructor arguments that a method accepts, and those given."""
        known = self._known()[method] | ({"nb_epoch"} if method == "fit" else set())
        chosen = {k: v for k, v in self.sk_params.items() if k in known}
        return {**chosen, **{k: v for k, v in given.items() if k in known}}

    def fit(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Build a model and train it.

        Args:
            x, y: the data.
            kwargs: arguments of the model's `fit`.

        Returns:
            The history.
        """
        build: Any = self.build_fn if self.build_fn is not None else self
        self.model = build(**self._arguments("build_fn", {}))
        return self.model.fit(x, y, **self._arguments("fit", kwargs))

    def _predicted(self, x: Any, given: dict[str, Any]) -> np.ndarray:
        arguments = self._arguments("predict", given)
        return np.asarray(self.model.predict(x, **{"verbose": 0, **arguments}))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import (
            ClassifierTags,
            InputTags,
            RegressorTags,
            Tags,
            TargetTags,
        )

        kind: Any = getattr(self, "_estimator_type", None)
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(),
        )


class KerasClassifier(_Wrapper):
    """A classifier around a function that builds a model: today kurve.Classifier

    Args:
        build_fn: returns a compiled model with a softmax or one sigmoid output.
        sk_params: arguments of `build_fn`, `fit`, `predict` and `evaluate`.
    """

    _estimator_type = "classifier"

    def fit(self, x: Any, y: Any, **kwargs: Any) -> Any:
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            self.classes_ = np.arange(y.shape[1])
        else:
            self.classes_ = np.unique(y)
            y = np.searchsorted(self.classes_, y)
        self.n_classes_ = len(self.classes_)
        build: Any = self.build_fn if self.build_fn is not None else self
        self.model = build(**self._arguments("build_fn", {}))
        if self._is_categorical and y.ndim != 2:
            y = np.eye(self.n_classes_)[y]
        return self.model.fit(x, y, **self._arguments("fit", kwargs))

    @property
    def _is_categorical(self) -> bool:
        return getattr(self.model.loss, "name", "") == "categorical_crossentropy"

    def predict(self, x: Any, **kwargs: Any) -> np.ndarray:
        """The predicted classes."""
        found = self._predicted(x, kwargs)
        if found.shape[-1] > 1:
            return self.classes_[found.argmax(axis=-1)]
        return self.classes_[(found > 0.5).astype("int32")]

    def predict_proba(self, x: Any, **kwargs: Any) -> np.ndarray:
        """The class probabilities: (n, classes)."""
        found = self._predicted(x, kwargs)
        return found if found.shape[1] != 1 else np.hstack([1 - found, found])

    def score(self, x: Any, y: Any, **kwargs: Any) -> float:
        """The accuracy."""
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            y = y.argmax(axis=1)
        return float(np.mean(self.predict(x, **kwargs).reshape(y.shape) == y))


class KerasRegressor(_Wrapper):
    """A regressor around a function that builds a model: today kurve.Regressor

    Args:
        build_fn: returns a compiled model.
        sk_params: arguments of `build_fn`, `fit`, `predict` and `evaluate`.
    """

    _estimator_type = "regressor"

    def predict(self, x: Any, **kwargs: Any) -> np.ndarray:
        """The predictions."""
        return np.squeeze(self._predicted(x, kwargs), -1)

    def score(self, x: Any, y: Any, **kwargs: Any) -> float:
        """The negative loss, so that higher is better."""
        arguments = {"verbose": 0, **self._arguments("evaluate", kwargs)}
        loss = self.model.evaluate(x, y, **arguments)
        return -float(loss[0] if isinstance(loss, list) else loss)
