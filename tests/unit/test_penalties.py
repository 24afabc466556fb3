"""Penalties that are formulas: their values, their gradients, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, layers, models, regularizers
from kurve.engines import Batches
from kurve.ops.formula import run, trace
from kurve.ops.formula_gradient import with_gradient
from kurve.regularizers import OrthogonalRegularizer, Regularizer

RNG = np.random.default_rng(3)
W = RNG.normal(size=(4, 3))

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sums": lambda w: np.sum(w**4.0) + np.sum(np.abs(w)) / 3.0,
    "mean of rows": lambda w: np.sum(np.square(np.mean(w, axis=1))),
    "norms": lambda w: np.sum(np.sqrt(np.sum(np.square(w), axis=0, keepdims=True))),
    "products": lambda w: np.sum(np.square(w.T @ w)) + np.sum(w @ w.T),
    "a product of products": lambda w: np.sum((w @ (w.T @ w)) * w),
    "a turned product": lambda w: np.sum(np.abs((w.T @ w) @ w.T)),
    "reshape": lambda w: np.sum(np.square(w.reshape(6, 2)).sum(axis=0) ** 1.5),
    "numbers": lambda w: np.sqrt(np.sum(np.square(w))) * np.sum(w) + 2.0,
    "where": lambda w: np.sum(np.where(w > 0.1, w * w, 0.5 * w)),
    "divided": lambda w: np.sum(
        w / (1.0 + np.sum(np.square(w), axis=1, keepdims=True))
    ),
    "orthogonal rows": OrthogonalRegularizer(0.5),
    "orthogonal columns": OrthogonalRegularizer(0.5, "columns"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name: str) -> None:
    """Along a random direction, in float64."""
    formula = with_gradient(trace([(4, 3)], lambda w: (FUNCTIONS[name](w),)))

    def value(w: np.ndarray) -> float:
        return float(run(formula, [w])[1].item())

    direction, h = RNG.normal(size=W.shape), 1e-6
    slope = (value(W + h * direction) - value(W - h * direction)) / (2.0 * h)
    gradient = run(formula, [W])[0]
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-6, abs=1e-8)


class Mine(Regularizer):
    """One of one's own."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, w: Any) -> Any:
        return self.function(w)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_a_model(name: str, engine: str) -> None:
    """Loss and gradient without data are those of the penalty alone."""
    function = FUNCTIONS[name]
    given = function if isinstance(function, Regularizer) else Mine(function)
    model = Sequential(
        [Input((4,)), layers.Dense(3, use_bias=False, kernel_regularizer=given)]
    )
    model.set_weights([W])
    model.compile("sgd", "mse")
    x, y = np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float32)
    program, state = model._network.program(), model._network.training_state()
    batches = Batches(x, y, None, None, np.array([0, 2]))
    loss, gradient = program.gradient(state, batches, 0)
    formula = with_gradient(trace([(4, 3)], lambda w: (function(w),)))
    slope, value = run(formula, [W])
    assert loss == pytest.approx(value.item(), rel=1e-5)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(value.item(), rel=1e-5)
    np.testing.assert_allclose(gradient[:12].reshape(4, 3), slope, rtol=2e-4, atol=2e-6)


def test_orthogonal_weights_cost_nothing() -> None:
    made = OrthogonalRegularizer(1.0)
    assert made(np.eye(3)) == 0.0 == made(np.zeros((3, 2)))
    assert made([[1.0, 1.0], [2.0, 2.0]]) == pytest.approx(1.0)


def test_files(tmp_path: Path) -> None:
    model = Sequential(
        [Input((4,)), layers.Dense(3, kernel_regularizer="orthogonal_regularizer")]
    )
    model.compile("adam", "mse")
    model.fit(W @ W.T, W, verbose=0)
    for name in ("m.kurve", "m.keras"):
        model.save(tmp_path / name)
        found = models.load_model(tmp_path / name).layers[0].kernel_regularizer
        assert found.get_config() == {"factor": 0.01, "mode": "rows"}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: OrthogonalRegularizer(-1.0), "factor must be finite"),
        (lambda: OrthogonalRegularizer(mode="all"), "unknown mode"),
        (lambda: layers.Dense(2, kernel_regularizer=Mine(lambda w: w)), "a scalar"),
        (lambda: layers.Dense(2, bias_regularizer=OrthogonalRegularizer()), "a matrix"),
        (lambda: layers.Dense(2, kernel_regularizer=Mine(np.linalg.det)), "numpy.det"),
    ],
)
def test_what_is_refused(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Sequential([Input((3,)), make()])


def test_solvers_of_squares_refuse_them() -> None:
    from kurve import solvers

    given = {"kernel_regularizer": OrthogonalRegularizer()}
    model = Sequential([Input((4,)), layers.Dense(3, **given)])
    with pytest.raises(ValueError, match="penalties must be quadratic"):
        solvers.levenberg_marquardt(model, W @ W.T, W)
    assert regularizers.get(None) is None
