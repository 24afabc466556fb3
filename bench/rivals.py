"""The contenders of the contest on real tables, each with its defaults.

A contender gets a data frame with texts and gaps as they come, and predicts numbers or
probabilities. Those that cannot read texts or gaps get one column per level and the
median; those that can, read them as categories. One thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _texts(X: Any) -> list[str]:
    return [name for name in X.columns if X[name].dtype.kind not in "iufb"]


def _as_categories(X: Any, T: Any) -> tuple[Any, Any]:
    import pandas

    X, T = X.copy(), T.copy()
    for name in _texts(X):
        levels = pandas.CategoricalDtype(sorted(X[name].dropna().unique()))
        X[name], T[name] = X[name].astype(levels), T[name].astype(levels)
    return X, T


def _as_numbers(X: Any) -> Any:
    """A transformer to numbers without gaps, not fitted."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    texts = _texts(X)
    others = [name for name in X.columns if name not in texts]
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), others),
        (OneHotEncoder(handle_unknown="ignore"), texts),
    )


class Contender:
    """Trains and predicts.

    regressor, classifier: make a model with defaults
    """

    def __init__(
        self,
        regressor: Callable[[], Any],
        classifier: Callable[[], Any],
        prepare: Callable[[Any, Any], tuple[Any, Any]] = lambda X, T: (X, T),
        numbers: bool = False,
        fit: Callable[[Any], dict[str, Any]] = lambda X: {},
    ) -> None:
        self.regressor, self.classifier, self.prepare = regressor, classifier, prepare
        self.numbers, self.fit = numbers, fit

    def train(self, X: Any, y: Any, T: Any, classes: int) -> tuple[Any, Any]:
        """The trained model, and the test rows as it wants them."""
        X, T = self.prepare(X, T)
        model = self.classifier() if classes else self.regressor()
        if self.numbers:
            from sklearn.pipeline import make_pipeline

            model = make_pipeline(_as_numbers(X), model)
        model.fit(X, y, **self.fit(X))
        return model, T


def _kurve(kind: str, **given: Any) -> Callable[[], Any]:
    def make() -> Any:
        import kurve

        return getattr(kurve, kind)(missing="impute", random_state=0, **given)

    return make


def _known(X: Any, T: Any) -> tuple[Any, Any]:
    """Levels that are not in the training rows are gaps."""
    T = T.copy()
    for name in _texts(X):
        T[name] = T[name].where(T[name].isin(X[name].dropna().unique()), None)
    return X, T


def _catboost(kind: str) -> Callable[[], Any]:
    def make() -> Any:
        import catboost

        return getattr(catboost, f"CatBoost{kind}")(
            thread_count=1, verbose=False, allow_writing_files=False
        )

    return make


def _with_text_gaps(X: Any, T: Any) -> tuple[Any, Any]:
    """CatBoost reads gaps of texts as a level."""
    X, T = X.copy(), T.copy()
    for name in _texts(X):
        X[name], T[name] = X[name].fillna("nan"), T[name].fillna("nan")
    return X, T


def _of(module: str, name: str, **given: Any) -> Callable[[], Any]:
    def make() -> Any:
        import importlib

        return getattr(importlib.import_module(module), name)(**given)

    return make


def _pair(module: str, name: str, **given: Any) -> tuple[Any, Any]:
    return (
        _of(module, f"{name}Regressor", **given),
        _of(module, f"{name}Classifier", **given),
    )


def _pytabkit(name: str) -> tuple[Any, Any]:
    given = {"device": "cpu", "n_threads": 1, "random_state": 0}
    return (
        _of("pytabkit", f"{name}_D_Regressor", **given),
        _of("pytabkit", f"{name}_D_Classifier", **given),
    )


CONTENDERS: dict[str, Contender] = {
    "Kurve": Contender(_kurve("Regressor"), _kurve("Classifier"), _known),
    "Kurve, fast": Contender(
        _kurve("Regressor", effort="fast"), _kurve("Classifier", effort="fast"), _known
    ),
    "Kurve, best": Contender(
        _kurve("Regressor", effort="best"), _kurve("Classifier", effort="best"), _known
    ),
    "CatBoost": Contender(
        _catboost("Regressor"),
        _catboost("Classifier"),
        _with_text_gaps,
        fit=lambda X: {"cat_features": _texts(X)},
    ),
    "LightGBM": Contender(
        *_pair("lightgbm", "LGBM", n_jobs=1, verbose=-1), _as_categories
    ),
    "XGBoost": Contender(
        *_pair("xgboost", "XGB", n_jobs=1, enable_categorical=True), _as_categories
    ),
    "HistGradientBoosting": Contender(
        *_pair("sklearn.ensemble", "HistGradientBoosting", random_state=0),
        _as_categories,
    ),
    "ExtraTrees": Contender(
        *_pair("sklearn.ensemble", "ExtraTrees", random_state=0), numbers=True
    ),
    "RealMLP": Contender(*_pytabkit("RealMLP_TD"), _as_categories),
    "TabM": Contender(*_pytabkit("TabM"), _as_categories),
    "ridge": Contender(
        _of("sklearn.linear_model", "RidgeCV"),
        _of("sklearn.linear_model", "LogisticRegression", max_iter=1000),
        numbers=True,
    ),
}


def probabilities(model: Any, T: Any, classes: int) -> np.ndarray:
    """Of all classes, also of those that were not in the training rows."""
    found = np.asarray(model.predict_proba(T))
    whole = np.zeros((len(found), classes))
    whole[:, np.asarray(model.classes_).astype(int)] = found
    return whole
