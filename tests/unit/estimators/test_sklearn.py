"""scikit-learn takes the estimators for its own."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Classifier, Regressor
from kurve.estimators import NotFittedError

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = X[:, 0] - X[:, 1] ** 2
FAST: dict[str, Any] = {"max_epochs": 20, "random_state": 0}


def test_what_it_is() -> None:
    assert is_regressor(Regressor()) and is_classifier(Classifier())
    assert sklearn.utils.get_tags(Regressor(missing="impute")).input_tags.allow_nan


def test_pipeline_and_cross_validation(native: str) -> None:
    kurve.set_engine(native)
    pipeline = make_pipeline(StandardScaler(), Regressor(**FAST))
    scores = cross_val_score(pipeline, X, Y, cv=3)
    assert scores.shape == (3,) and scores.min() > 0.5


def test_grid_search_in_two_processes(native: str) -> None:
    search = GridSearchCV(
        Classifier(**FAST), {"hidden_layer_sizes": [(4,), (16,)]}, cv=2, n_jobs=2
    )
    search.fit(X, np.where(Y > 0, "high", "low"))
    assert search.best_score_ > 0.7
    assert set(search.predict(X)) <= {"high", "low"}


def test_clone_has_parameters_and_nothing_learnt() -> None:
    model = Regressor((8,), solver=kurve.optimizers.SGD(0.1), max_epochs=2).fit(X, Y)
    twin = clone(model)
    assert twin.hidden_layer_sizes == (8,)
    assert isinstance(twin.solver, kurve.optimizers.SGD)
    assert not hasattr(twin, "models_")


def test_not_fitted_error_is_also_theirs_and_travels() -> None:
    with pytest.raises(sklearn.exceptions.NotFittedError, match="not fitted") as caught:
        Regressor().predict(X)
    assert isinstance(caught.value, NotFittedError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, NotFittedError) and str(again) == str(caught.value)


def test_joblib_keeps_bits(tmp_path: Any) -> None:
    import joblib

    model = Regressor((8,), max_epochs=2, members=2).fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
