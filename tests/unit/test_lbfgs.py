"""`solvers.lbfgs`: any loss, all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, losses, regularizers, solvers, utils
from kurve.layers import Dense, Dropout
from kurve.solvers.base import prepare
from kurve.solvers.quasi_newton import (
    Point,
    descend,
    inverse_hessian_times,
    line_search,
)

X = np.random.default_rng(0).normal(size=(120, 3))
TARGET = np.sin(X.sum(axis=1))


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    a, b = x[:-1], x[1:]
    value = np.sum(100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2)
    gradient = np.zeros_like(x)
    gradient[:-1] += -400.0 * a * (b - a**2) - 2.0 * (1.0 - a)
    gradient[1:] += 200.0 * (b - a**2)
    return float(value), gradient


def last(function: Any, start: Any, memory: int = 10) -> tuple[Point, int]:
    """Where the path ends, and how often the function was called."""
    calls = 0

    def counted(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        return function(x)

    values = []
    for point in descend(counted, np.array(start, float), memory, 1e-9):
        values.append(point.value)
    assert (np.diff(values) < 0.0).all()
    return point, calls


@pytest.mark.parametrize("memory", [1, 5, 20])
@pytest.mark.parametrize("start", [[-1.2, 1.0], [-1.2, 1.0] * 10, [3.0, -2.0, 5.0]])
def test_rosenbrock(start: list[float], memory: int) -> None:
    point, calls = last(rosenbrock, start, memory)
    np.testing.assert_allclose(point.x, np.ones(len(start)), atol=1e-8)
    assert calls < (400 if memory > 1 else 2000)


def test_rosenbrock_takes_no_more_calls_than_scipy_does() -> None:
    scipy = pytest.importorskip("scipy.optimize")
    start = np.array([-1.2, 1.0] * 10)
    _, calls = last(rosenbrock, start)
    theirs = scipy.minimize(
        rosenbrock,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 10, "gtol": 1e-9, "ftol": 0.0},
    )
    assert calls <= 1.5 * theirs.nfev


def test_the_inverse_is_that_of_bfgs() -> None:
    """The two loops against the update of the whole matrix (N&W equation 6.17)."""
    random = np.random.default_rng(1)
    root = random.normal(size=(6, 6))
    hessian = root @ root.T + np.eye(6)
    steps = [(s := random.normal(size=6), hessian @ s) for _ in range(4)]
    s, y = steps[-1]
    inverse = np.eye(6) * (s @ y) / (y @ y)
    for s, y in steps:
        left = np.eye(6) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    g = random.normal(size=6)
    np.testing.assert_allclose(inverse_hessian_times(g, steps), inverse @ g, rtol=1e-10)
    # The secant equation.
    np.testing.assert_allclose(inverse_hessian_times(y, steps), s, rtol=1e-9)


@pytest.mark.parametrize("first", [1e-8, 1e-3, 1.0, 1e3, 1e8])
@pytest.mark.parametrize(
    "f",
    [
        lambda t: (t**2 - t, 2 * t - 1),
        lambda t: (-t / (t**2 + 2), (t**2 - 2) / (t**2 + 2) ** 2),  # Moré & Thuente 1
        lambda t: (
            (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,
            5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3,
        ),  # 2
        lambda t: ((t - 1) ** 2 - 0.01 * np.log(2 - t), 2 * t - 2 + 0.01 / (2 - t)),
        lambda t: (np.cosh(t - 3), np.sinh(t - 3)),
    ],
    ids=["parabola", "flat far out", "steep", "infinite beyond", "cosh"],
)
def test_strong_wolfe(f: Any, first: float) -> None:
    shift = 0.5 if f(0.4)[1] > -1.0 and f(0.4)[1] < -0.4 else 0.0

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(all="ignore"):
            value, slope = f(x[0])
        return float(value), np.array([float(slope)])

    start = np.array([shift + 0.01])
    here = Point(start, *function(start))
    direction = -np.sign(here.gradient)
    there = line_search(function, here, direction, first)
    assert there is not None
    slope = float(direction @ here.gradient)
    length = float(np.abs(there.x - here.x)[0])
    assert there.value <= here.value + 1e-4 * length * slope
    if np.isfinite(there.gradient).all():
        assert abs(float(there.gradient @ direction)) <= 0.9 * abs(slope)


def build(
    hidden: Any = "tanh",
    loss: Any = None,
    seed: int = 1,
    outputs: int = 1,
    **options: Any,
) -> Sequential:
    utils.set_random_seed(seed)
    model = Sequential([Input((3,)), Dense(8, hidden), Dense(outputs, **options)])
    if loss is not None:
        model.compile(loss=loss, optimizer="sgd")
    return model


def scipys(model: Sequential, y: Any, iterations: int) -> float:
    """The loss that SciPy's L-BFGS-B reaches from the model's weights, in the same
    arithmetic; the model keeps its weights."""
    scipy = pytest.importorskip("scipy.optimize")
    problem = prepare("test", model, X, y, None, None)

    def function(p: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = problem.program.gradient(problem.at(p), problem.batches, 0)
        return value, gradient[problem.free].astype(float)

    return scipy.minimize(
        function,
        problem.start(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "maxcor": 20},
    ).fun


CLASSES = (X[:, 0] + 0.5 * np.sin(3 * X[:, 1]) > 0).astype(int)


@pytest.mark.parametrize(
    ("loss", "y", "options"),
    [
        (None, TARGET, {}),
        ("huber", TARGET, {}),
        (losses.BinaryCrossentropy(from_logits=True), CLASSES, {}),
        (
            "sparse_categorical_crossentropy",
            CLASSES,
            {"outputs": 2, "activation": "softmax"},
        ),
        ("mse", TARGET, {"kernel_regularizer": regularizers.L2(1e-2)}),
    ],
    ids=["mse", "huber", "binary", "sparse", "l2"],
)
def test_reaches_what_scipy_reaches(
    engine: str, loss: Any, y: Any, options: Any
) -> None:
    """After equally many steps, in the median over starts: which of many valleys a run
    follows is chance. Where there is one minimum only, see the next test."""
    ratios = []
    for seed in range(5):
        model = build("tanh", loss, seed, **options)
        theirs = scipys(model, y, 50)
        ratios.append(solvers.lbfgs(model, X, y, max_iterations=50).loss / theirs)
    assert np.median(ratios) <= 1.2


@pytest.mark.parametrize("loss", ["mse", "log_cosh"])
def test_convex_problems_to_the_minimum(engine: str, loss: str) -> None:
    utils.set_random_seed(0)
    model = Sequential([Input((3,)), Dense(1)])
    model.compile(loss=loss, optimizer="sgd")
    theirs = scipys(model, TARGET, 1000)
    result = solvers.lbfgs(model, X, TARGET)
    assert result.converged and result.iterations < 40
    assert result.loss <= theirs * (1.0 + 1e-6)
    if loss == "mse":
        design = np.concatenate([X, np.ones((len(X), 1))], axis=1)
        exact, *_ = np.linalg.lstsq(design, TARGET)
        np.testing.assert_allclose(
            np.concatenate([w.ravel() for w in model.get_weights()]), exact, atol=1e-4
        )


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_targets_of_any_size(engine: str, scale: float) -> None:
    model = Sequential([Input((3,)), Dense(1)])
    result = solvers.lbfgs(model, X, scale * TARGET)
    design = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    exact, *_ = np.linalg.lstsq(design, scale * TARGET)
    left = float(np.mean((design @ exact - scale * TARGET) ** 2))
    assert result.converged and result.loss == pytest.approx(left, rel=1e-4)


def test_sample_weights_and_dropout(engine: str) -> None:
    """A row of weight 0 does not count; dropout is off, so the loss falls steadily."""
    y = TARGET.copy()
    y[:10] = 100.0
    w = np.ones(len(X))
    w[:10] = 0.0
    model = Sequential([Input((3,)), Dense(8, "tanh"), Dropout(0.5), Dense(1)])
    result = solvers.lbfgs(model, X, y, w, max_iterations=60)
    assert (np.diff(result.history["loss"]) < 0.0).all()
    assert result.loss < 0.02
    model.compile(loss="mse", optimizer="sgd")
    loss = model.evaluate(X, y, sample_weight=w, batch_size=120, verbose=0)
    assert loss == pytest.approx(result.loss, rel=1e-4)


def test_validation_patience_callback_and_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    noisy = TARGET[:30] + 0.5 * np.random.default_rng(5).normal(size=30)
    model = build()
    result = solvers.lbfgs(
        model,
        X[:30],
        noisy,
        validation_data=(X[30:], TARGET[30:]),
        patience=20,
        max_iterations=400,
        verbose=1,
    )
    losses_ = result.history["val_loss"]
    best = int(np.argmin(losses_))
    assert (
        len(losses_) - 1 - best == 20 and "val_loss has not improved" in result.message
    )
    model.compile(loss="mse", optimizer="sgd")
    loss = model.evaluate(X[30:], TARGET[30:], batch_size=90, verbose=0)
    assert loss == pytest.approx(losses_[best], rel=1e-4)
    assert capsys.readouterr().out.count("val_loss: ") == len(losses_)
    stopped = solvers.lbfgs(build(), X, TARGET, callback=lambda i, logs: i == 2)
    assert (
        stopped.iterations == 2
        and stopped.message == "the callback stopped the training"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memory": 0}, "memory"),
        ({"tolerance": np.nan}, "tolerance must be finite and at least 0"),
        ({"max_iterations": 1.5}, "max_iterations"),
        ({"y": TARGET[:3]}, "the same number of rows"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], words: str) -> None:
    model = build()
    before = model.get_weights()
    with pytest.raises((TypeError, ValueError), match=words):
        solvers.lbfgs(**{"model": model, "x": X, "y": TARGET, **change})
    for one, other in zip(before, model.get_weights(), strict=True):
        assert (one == other).all()
