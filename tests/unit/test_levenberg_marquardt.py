"""`solvers.levenberg_marquardt`: small networks by least squares."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, initializers, regularizers, solvers, utils
from kurve.layers import Dense, Dropout, Normalization
from kurve.solvers import networks

X = np.arange(0.0, 20.0, 0.1)
XN = (X - X.mean()) / X.std()
Y = np.sin(X)


def network(units: int = 6, seed: int = 1, **options: Any) -> Sequential:
    utils.set_random_seed(seed)
    return Sequential(
        [Input((1,)), Dense(units, activation="tanh", **options), Dense(1)]
    )


def weights(model: Sequential) -> bytes:
    assert model._network.state is not None
    return model._network.state.params.tobytes()


def few(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    x = np.sort(random.uniform(-2.0, 2.0, n))
    return x, np.sin(2.0 * x) + 0.2 * random.normal(size=n)


@pytest.mark.usefixtures("native")
def test_the_sine_from_random_starts() -> None:
    """31 parameters; at least four of five starts reach 1e-5."""
    kurve.set_engine("native")
    reached = 0
    for seed in range(10):
        model = network(10, seed)
        assert model.count_params() == 31
        result = solvers.levenberg_marquardt(model, XN, Y)
        error = float(np.mean((model.predict(XN, verbose=0)[:, 0] - Y) ** 2))
        assert result.loss == pytest.approx(error, rel=1e-4)
        reached += error <= 1e-5
    assert reached >= 8


def test_engines_reach_the_same(engine: str) -> None:
    model = network()
    x, y = XN[::4], Y[::4]
    result = solvers.levenberg_marquardt(model, x, y, max_iterations=12)
    assert result.iterations == 12 and not result.converged
    assert result.message == "max_iterations was reached"
    losses = result.history["loss"]
    assert len(losses) == 13 and np.diff(losses).max() < 0.0
    assert losses[-1] < 0.5 * losses[0]
    assert result.loss == losses[-1]
    model.compile(loss="mse", optimizer="sgd")
    assert model.evaluate(x, y, verbose=0) == pytest.approx(result.loss, rel=1e-5)


def test_a_linear_model_is_solved(engine: str) -> None:
    """With weights and a ridge, against the normal equations."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(50, 3)), random.normal(size=(50, 2))
    w = random.uniform(0.0, 2.0, 50)
    model = Sequential([Input((3,)), Dense(2, kernel_regularizer=regularizers.L2(0.1))])
    model.compile(loss="mse", optimizer="sgd")
    result = solvers.levenberg_marquardt(model, x, y, w)
    design = np.concatenate([x, np.ones((50, 1))], axis=1)
    ridge = np.diag([0.1 * 100, 0.1 * 100, 0.1 * 100, 0.0])  # times n O
    exact = np.linalg.solve(
        design.T @ (design * w[:, None]) + ridge, design.T @ (y * w[:, None])
    )
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel, exact[:3], atol=1e-5)
    np.testing.assert_allclose(bias, exact[3], atol=1e-5)
    assert result.converged
    assert model.evaluate(x, y, sample_weight=w, batch_size=50, verbose=0) == (
        pytest.approx(result.loss, rel=1e-5)
    )


def test_frozen_layers_and_buffers_stay_and_dropout_is_off(engine: str) -> None:
    normalization = Normalization()
    normalization.adapt(X)
    utils.set_random_seed(2)
    wide = initializers.RandomNormal(stddev=2.0)
    hidden = Dense(
        5, "tanh", kernel_initializer=wide, bias_initializer=wide, trainable=False
    )
    model = Sequential([normalization, hidden, Dropout(0.5), Dense(1)])
    frozen = model.layers[1].get_weights()
    result = solvers.levenberg_marquardt(model, X[::4], Y[::4])
    for before, after in zip(frozen, model.layers[1].get_weights(), strict=True):
        assert (before == after).all()
    assert result.converged  # linear in what is trained, and nothing is random
    model.compile(loss="mse", optimizer="sgd")
    assert model.evaluate(X[::4], Y[::4], verbose=0) == pytest.approx(
        result.loss, rel=1e-3
    )


@pytest.mark.usefixtures("native")
def test_blocks_of_rows_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """J in blocks: steps then get no geodesic correction; the sums over blocks are
    those of the whole J."""
    kurve.set_engine("native")
    x = np.random.default_rng(1).normal(size=(500, 4))
    y = np.stack([np.tanh(x.sum(axis=1)), x[:, 0]], axis=1)
    linearizations = []
    for block in (networks.BLOCK, 12 * 2 * 64 * 37):
        monkeypatch.setattr(networks, "BLOCK", block)
        utils.set_random_seed(1)
        model = Sequential([Input((4,)), Dense(3, "tanh"), Dense(2)])
        fit = solvers.base.prepare("test", model, x, y, None, None)
        problem = networks.NetworkProblem(fit, False)
        linearizations.append(problem.linearize(fit.start()))
        assert problem.one_block == (block == 64 * 2**20)
    one, other = linearizations
    assert one is not None and other is not None
    np.testing.assert_allclose(one.gram, other.gram, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-12, atol=1e-12)
    assert other.jacobian is None
    result = solvers.levenberg_marquardt(model, x, y, max_iterations=60)
    assert result.loss < 1e-4


@pytest.mark.usefixtures("native")
def test_the_same_bits_for_any_number_of_threads() -> None:
    kurve.set_engine("native")
    before, seen = kurve.get_threads(), set()
    try:
        for number in (1, 2, 4):
            kurve.set_threads(number)
            model = network(10)
            solvers.levenberg_marquardt(model, XN, Y, max_iterations=30)
            seen.add(weights(model))
    finally:
        kurve.set_threads(before)
    assert len(seen) == 1


def test_bayesian_regularisation_does_not_follow_the_noise() -> None:
    x, y = few()
    test_x = np.linspace(-2.0, 2.0, 200)
    errors, results = [], []
    for regularization in (None, "bayesian"):
        model = network(20, 0)
        results.append(
            solvers.levenberg_marquardt(
                model, x, y, regularization=regularization, max_iterations=60
            )
        )
        error = model.predict(test_x, verbose=0)[:, 0] - np.sin(2.0 * test_x)
        errors.append(float(np.sqrt(np.mean(error**2))))
    plain, bayesian = results
    assert errors[1] < 0.15 and errors[1] < 0.7 * errors[0]
    assert (
        plain.loss < 0.7 * 0.2**2 < 1.4 * bayesian.loss
    )  # the noise is fitted, or not
    assert plain.effective_parameters is None
    assert 3.0 < bayesian.effective_parameters < 15.0  # of 61


@pytest.mark.usefixtures("native")
def test_evidence_lets_a_network_learn_first() -> None:
    """60 points of three periods: if the evidence counted from the first step, nearly
    all of these networks would end as a constant."""
    kurve.set_engine("native")
    x = np.linspace(-1.7, 1.7, 60)
    y = np.sin(20.0 / 3.4 * (x + 1.7))
    for seed in range(5):
        utils.set_random_seed(seed)
        model = Sequential([Input((1,)), Dense(8, "tanh"), Dense(8, "tanh"), Dense(1)])
        result = solvers.levenberg_marquardt(model, x, y, regularization="bayesian")
        assert result.loss < 1e-3


@pytest.mark.usefixtures("native")
def test_steps_stop_when_the_evidence_stands_still() -> None:
    kurve.set_engine("native")
    noisy = Y + 0.3 * np.random.default_rng(0).normal(size=len(Y))
    model = network(10, 0)
    result = solvers.levenberg_marquardt(model, XN, noisy, regularization="bayesian")
    assert result.converged and result.iterations < 100
    assert result.message == "the cost has stopped falling"
    error = model.predict(XN, verbose=0)[:, 0] - Y
    assert np.mean(error**2) < 0.3 * 0.3**2
    assert result.effective_parameters < 31


def test_bayesian_evidence_of_a_linear_model() -> None:
    """alpha and gamma at their fixed point, computed here by MacKay's formulas."""
    random = np.random.default_rng(2)
    x = random.normal(size=(30, 8))
    y = x @ np.array([1.0, -1.0, 0.5, 0, 0, 0, 0, 0]) + 0.5 * random.normal(size=30)
    model = Sequential([Input((8,)), Dense(1, use_bias=False)])
    result = solvers.levenberg_marquardt(model, x, y, regularization="bayesian")
    ridge = 1.0
    for _ in range(1000):
        w = np.linalg.solve(x.T @ x + ridge * np.eye(8), x.T @ y)
        gamma = 8 - ridge * np.trace(np.linalg.inv(x.T @ x + ridge * np.eye(8)))
        ridge = gamma * np.sum((x @ w - y) ** 2) / (30 - gamma) / np.sum(w**2)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], w, rtol=1e-3, atol=1e-4)
    assert result.effective_parameters == pytest.approx(gamma, rel=1e-3)


def test_validation_keeps_the_best_weights() -> None:
    x, y = few()
    test_x = np.linspace(-2.0, 2.0, 50)
    model = network(15)
    result = solvers.levenberg_marquardt(
        model, x, y, validation_data=(test_x, np.sin(2.0 * test_x)), max_iterations=60
    )
    losses = result.history["val_loss"]
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1
    error = model.predict(test_x, verbose=0)[:, 0] - np.sin(2.0 * test_x)
    assert np.mean(error**2) == pytest.approx(losses[best], rel=1e-4)
    assert result.loss == result.history["loss"][best]


def test_patience() -> None:
    x, y = few()
    test_x = np.linspace(-2.0, 2.0, 50)
    result = solvers.levenberg_marquardt(
        network(15),
        x,
        y,
        patience=3,
        validation_data=(test_x, np.sin(2.0 * test_x), np.ones(50)),
    )
    losses = result.history["val_loss"]
    assert len(losses) - 1 - int(np.argmin(losses)) == 3
    assert result.message == "val_loss has not improved for 3 iterations"


def test_callback_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    model, seen = network(), []

    def watch(iteration: int, logs: Any) -> bool:
        error = model.predict(XN[::4], verbose=0)[:, 0] - Y[::4]
        assert np.mean(error**2) == pytest.approx(logs["loss"], rel=1e-4)
        seen.append(iteration)
        return iteration == 4

    result = solvers.levenberg_marquardt(
        model, XN[::4], Y[::4], callback=watch, verbose=1
    )
    assert seen == [0, 1, 2, 3, 4]
    assert (
        result.message == "the callback stopped the training" and not result.converged
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and lines[4].startswith("Iteration 4/300 - loss: ")


@pytest.mark.parametrize("solver", [solvers.levenberg_marquardt, solvers.lbfgs])
def test_ctrl_c_leaves_the_weights_of_a_step(solver: Any) -> None:
    model, recorded = network(), {}

    def watch(iteration: int, logs: Any) -> None:
        recorded[iteration] = weights(model)
        if iteration == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        solver(model, XN[::4], Y[::4], callback=watch)
    assert weights(model) == recorded[max(recorded)] and max(recorded) >= 3


@pytest.mark.parametrize("solver", [solvers.levenberg_marquardt, solvers.lbfgs])
def test_weights_that_overflow_are_rejected(solver: Any) -> None:
    model = network()
    model.layers[1].set_weights([np.full((6, 1), 3e38), np.full(1, 3e38)])
    before = weights(model)
    with pytest.raises(ValueError, match="must be finite"):
        solver(model, XN, Y)
    assert weights(model) == before


def test_an_unbuilt_model_is_built_from_the_data() -> None:
    model = Sequential([Dense(3, "tanh"), Dense(2)])
    x = np.random.default_rng(0).normal(size=(20, 2))
    solvers.levenberg_marquardt(model, x, np.tanh(x), max_iterations=3)
    assert model.input_shape == (None, 2)
    assert not model.compiled


def test_training_continues_with_another_method() -> None:
    model = network()
    model.compile(loss="mse", optimizer="adam")
    model.fit(XN, Y, epochs=1, verbose=0)
    step = model.iterations
    result = solvers.levenberg_marquardt(model, XN, Y, max_iterations=5)
    assert model.iterations == step
    history = model.fit(XN, Y, epochs=1, batch_size=200, verbose=0).history
    assert history["loss"][0] == pytest.approx(result.loss, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": XN[:5]}, ValueError, "x and y must have the same number of rows"),
        ({"y": np.full(200, np.nan)}, ValueError, "y must be finite"),
        (
            {"sample_weight": -np.ones(200)},
            ValueError,
            "sample_weight must be at least 0",
        ),
        ({"max_iterations": 0}, ValueError, "max_iterations"),
        (
            {"regularization": "l2"},
            ValueError,
            "unknown regularization.*'l2'.*bayesian",
        ),
        ({"validation_data": XN}, TypeError, "validation_data must be"),
        ({"validation_data": (XN, Y[:3])}, ValueError, "validation_data"),
        ({"callback": 3}, TypeError, "callback must be a function"),
        ({"patience": -1}, ValueError, "patience"),
        ({"model": "mlp"}, TypeError, "model must be a kurve.Sequential.*'mlp'"),
    ],
)
def test_wrong_arguments(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    model = Sequential([Dense(3, "tanh"), Dense(1)])
    arguments = {"model": model, "x": XN, "y": Y, **change}
    with pytest.raises(error, match=words):
        solvers.levenberg_marquardt(**arguments)
    assert not model.built


def test_what_the_method_cannot_do() -> None:
    model = network()
    model.compile(loss="mae", optimizer="sgd")
    with pytest.raises(ValueError, match=r"loss must be the mean squared.*lbfgs"):
        solvers.levenberg_marquardt(model, XN, Y)
    with pytest.raises(ValueError, match=r"at most 3,000.*12,001.*1\.1 GiB.*lbfgs"):
        solvers.levenberg_marquardt(network(4000), XN, Y)
    model = network(kernel_regularizer=regularizers.L1(0.1))
    with pytest.raises(ValueError, match=r"penalties must be quadratic.*L1.*dense"):
        solvers.levenberg_marquardt(model, XN, Y)
    frozen = network()
    for layer in frozen.layers:
        layer.trainable = False
    with pytest.raises(ValueError, match="nothing to train"):
        solvers.levenberg_marquardt(frozen, XN, Y)
