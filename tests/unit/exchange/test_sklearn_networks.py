"""scikit-learn's networks as models: equal predictions, and equal further steps."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from kurve.models import from_sklearn

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 3))
TARGETS = {
    "numbers": X.sum(axis=1) + 0.1,
    "many numbers": np.stack([X[:, 0], X[:, 1] * X[:, 2], X[:, 2] ** 2], axis=1),
    "two classes": np.where(X[:, 0] > 0.1, "yes", "no"),
    "classes": np.array(["c", "a", "b"])[np.argsort(X, axis=1)[:, 0]],
    "labels": (X > 0.2).astype(int),
}


def fitted(target: str, **arguments: Any) -> Any:
    cls = MLPRegressor if "numbers" in target else MLPClassifier
    given = {"hidden_layer_sizes": (7, 5), "max_iter": 15, "random_state": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cls(**given | arguments).fit(X, TARGETS[target])


def predictions(estimator: Any) -> np.ndarray:
    """The expected outputs of the model."""
    if not hasattr(estimator, "classes_"):
        return np.asarray(estimator.predict(X)).reshape(len(X), -1)
    p = estimator.predict_proba(X)
    two = p.shape[1] == 2 and estimator.out_activation_ == "logistic"
    return p[:, 1:] if two and len(estimator.classes_) == 2 else p


def numbers_of(estimator: Any, target: str) -> np.ndarray:
    """The targets as Kurve takes them."""
    y = TARGETS[target]
    return np.searchsorted(estimator.classes_, y) if y.dtype.kind == "U" else y


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("target", TARGETS)
def test_predictions(target: str, activation: str) -> None:
    estimator = fitted(target, activation=activation)
    model = from_sklearn(estimator)
    expected = predictions(estimator)
    given = model.predict(X, verbose=0)
    assert np.abs(given - expected).max() <= 1e-6 * max(1.0, np.abs(expected).max())


SOLVERS = {
    "adam": {"solver": "adam", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3},
    "sgd": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.02},
    "momentum": {"solver": "sgd", "momentum": 0.7, "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "momentum": 0.7, "learning_rate_init": 0.02},
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", TARGETS)
def test_steps(target: str, solver: str) -> None:
    """Both continue with a fresh solver, a large penalty and the same batches."""
    estimator = fitted(
        target, **SOLVERS[solver], alpha=0.5, batch_size=20, shuffle=False
    )
    model = from_sklearn(estimator)
    before = model.get_weights()
    del estimator._optimizer
    for _ in range(5):
        estimator.partial_fit(X, TARGETS[target])
    y = numbers_of(estimator, target)
    model.fit(X, y, batch_size=20, epochs=5, shuffle=False, verbose=0)
    pairs = zip(estimator.coefs_, estimator.intercepts_, strict=True)
    after = [w for pair in pairs for w in pair]
    for start, mine, other in zip(before, model.get_weights(), after, strict=True):
        moved = np.abs(other - start).max()
        assert moved > 1e-4
        assert np.abs(mine - other).max() <= 1e-4 * moved + 1e-6


def test_penalty_of_batches_as_large_as_the_data() -> None:
    estimator = fitted("numbers", alpha=0.3)  # batch_size="auto": min(200, 60)
    penalty = from_sklearn(estimator).layers[0].kernel_regularizer
    assert penalty.l2 == pytest.approx(0.3 / 60)
    assert from_sklearn(fitted("numbers", alpha=0.0)).layers[0].kernel_regularizer is (
        None
    )


def test_lbfgs_is_not_compiled() -> None:
    estimator = fitted("numbers", solver="lbfgs")
    model = from_sklearn(estimator)
    assert not model.compiled
    expected = predictions(estimator)
    assert np.allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("with_std", [True, False])
def test_scaler(with_mean: bool, with_std: bool) -> None:
    scaler = StandardScaler(with_mean=with_mean, with_std=with_std)
    pipeline = make_pipeline(
        scaler, MLPRegressor(hidden_layer_sizes=(5,), max_iter=300, random_state=1)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(5.0 * X + 3.0, TARGETS["numbers"])
    given = from_sklearn(pipeline).predict(5.0 * X + 3.0, verbose=0)
    expected = pipeline.predict(5.0 * X + 3.0)[:, None]
    assert np.abs(given - expected).max() <= 2e-6 * np.abs(expected).max()


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"\[from_sklearn\] .* must be fitted.*Try"):
        from_sklearn(MLPRegressor())
    with pytest.raises(TypeError, match=r"MLPRegressor or MLPClassifier.*Ridge.*Try"):
        from_sklearn(Ridge())
    pipeline = make_pipeline(
        MinMaxScaler(), MLPRegressor(hidden_layer_sizes=(3,), max_iter=1)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(X, TARGETS["numbers"])
    with pytest.raises(ValueError, match=r"one StandardScaler.*MinMaxScaler.*Try"):
        from_sklearn(pipeline)
    estimator = fitted("numbers")
    estimator.out_activation_ = "exp"
    with pytest.raises(ValueError, match=r"activation 'exp' is not one of identity"):
        from_sklearn(estimator)
