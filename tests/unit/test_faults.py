"""What goes wrong while training leaves a model that can be used and trained on."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, optimizers, utils
from kurve.callbacks import Callback, EarlyStopping, TerminateOnNaN
from kurve.errors import NonFiniteError
from kurve.layers import Dense, Dropout

X = np.linspace(-1.0, 1.0, 20)
Y = np.sin(3.0 * X)


def model_of(optimizer: Any = "adam") -> Sequential:
    utils.set_random_seed(3)
    layers = [Input((1,)), Dense(8, "tanh"), Dropout(0.2), Dense(1)]
    model = Sequential(layers)
    model.compile(optimizer, "mse")
    return model


def finite(model: Sequential) -> bool:
    return all(np.isfinite(w).all() for w in model.get_weights())


class Break(Callback):
    """Raises at one hook."""

    def __init__(self, hook: str, error: BaseException, at: int = 0) -> None:
        super().__init__()
        self.hook, self.error, self.at = hook, error, at

    def _maybe(self, hook: str, number: int) -> None:
        if hook == self.hook and number == self.at:
            raise self.error

    def on_train_begin(self, logs: Any = None) -> None:
        self._maybe("train_begin", 0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._maybe("epoch_begin", epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._maybe("batch_end", batch)

    def on_test_end(self, logs: Any = None) -> None:
        self._maybe("test_end", 0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._maybe("epoch_end", epoch)


# hook, number, steps that are done when it is called
HOOKS = [
    ("train_begin", 0, 0),
    ("epoch_begin", 1, 4),
    ("batch_end", 0, 1),
    ("batch_end", 2, 3),
    ("test_end", 0, 4),
    ("epoch_end", 1, 8),
]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full")], ids=repr)
@pytest.mark.parametrize(("hook", "at", "steps"), HOOKS)
def test_an_interrupted_fit_leaves_a_whole_step_and_goes_on(
    engine: str, hook: str, at: int, steps: int, error: BaseException
) -> None:
    """The model equals one that took that many steps, and learns on like it."""
    model, twin = model_of(), model_of()
    options: dict[str, Any] = {"batch_size": 5, "shuffle": False, "verbose": 0}
    with pytest.raises(type(error)):
        model.fit(
            X,
            Y,
            epochs=3,
            validation_data=(X, Y),
            callbacks=[Break(hook, error, at)],
            **options,
        )
    assert model.iterations == steps
    for step in range(steps):
        rows = slice(5 * (step % 4), 5 * (step % 4) + 5)
        twin.train_on_batch(X[rows], Y[rows])
    for _ in range(2):
        for ours, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        model.fit(X, Y, **options)
        twin.fit(X, Y, **options)


def diverging() -> Sequential:
    return model_of(optimizers.SGD(1e4))


def test_divergence_keeps_the_last_finite_weights(engine: str) -> None:
    """The update of the failing step is not applied; all before it are."""
    model, twin = diverging(), diverging()
    options: dict[str, Any] = {"batch_size": 5, "shuffle": False, "verbose": 0}
    with pytest.raises(NonFiniteError, match=r"^\[fit\] .*Try a smaller learning") as e:
        model.fit(X, Y, epochs=200, **options)
    error = e.value
    assert isinstance(error, FloatingPointError)
    assert error.step == model.iterations > 0
    assert error.learning_rate == pytest.approx(1e4)
    assert f"at step {error.step + 1} with learning rate 1e+04" in str(error)
    assert error.what == "the loss" or error.what.startswith("the gradient of dense")
    assert finite(model)
    for step in range(error.step):
        rows = slice(5 * (step % 4), 5 * (step % 4) + 5)
        twin.train_on_batch(X[rows], Y[rows])
    for ours, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_gradient_is_named_by_its_variable(engine: str) -> None:
    """The loss is finite here, its slope is not: 1e18^2 against 1e18 x 1e25."""
    model = Sequential([Input((1,)), Dense(1, kernel_initializer="zeros", name="out")])
    model.compile("sgd", "mse")
    with pytest.raises(NonFiniteError, match="the gradient of out/kernel is not") as e:
        model.train_on_batch([1e25], [1e18])
    assert (e.value.step, e.value.what) == (0, "the gradient of out/kernel")
    assert model.get_weights()[0] == 0.0
    assert model.iterations == 0


HUGE = {  # optimizer, and what does not fit into float32: 1e23 as gradient
    "adam": (optimizers.Adam(), "the update of out/kernel"),
    "amsgrad": (optimizers.Adam(amsgrad=True), "the update of out/kernel"),
    "adamw": (optimizers.AdamW(), "the update of out/kernel"),
    "nadam": (optimizers.Nadam(), "the update of out/kernel"),
    "rmsprop": (optimizers.RMSprop(momentum=0.5), "the update of out/kernel"),
    "centered": (optimizers.RMSprop(centered=True), "the update of out/kernel"),
    "adagrad": (optimizers.Adagrad(), "the update of out/kernel"),
    "adamax, lr": (optimizers.Adamax(3e37), "the update of out/kernel"),
    "sgd, lr": (optimizers.SGD(1e38), "the update of out/kernel"),
    "momentum, lr": (optimizers.SGD(1e38, momentum=0.9), "the update of out/kernel"),
    "nesterov": (
        optimizers.SGD(1e38, momentum=0.9, nesterov=True),
        "the update of out/kernel",
    ),
}


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("rows", [1, 300], ids=["few rows", "many rows"])
def test_an_update_that_overflows(engine: str, name: str, rows: int) -> None:
    """The square of a finite gradient above 1.8e19 is not, and Adam's v keeps it."""
    optimizer, what = HUGE[name]
    model = Sequential([Input((1,)), Dense(1, kernel_initializer="ones", name="out")])
    model.compile(type(optimizer).from_config(optimizer.get_config()), "mse")
    model.fit([0.0, 0.0], [0.0, 0.0], verbose=0)
    before = (model.get_weights(), model._network.state.slots.copy())  # type: ignore[union-attr]
    x, y = np.full(rows, 1e5), np.full(rows, 1e18)
    with pytest.raises(NonFiniteError, match=f"{what} is not finite at step 2") as e:
        model.fit(x, y, batch_size=rows, epochs=5, verbose=0)
    assert (e.value.step, e.value.what) == (model.iterations, what) == (1, what)
    for ours, theirs in zip(model.get_weights(), before[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(model._network.state.slots, before[1])  # type: ignore[union-attr]
    model.compile("adam", "mse")
    model.fit([0.0, 1.0], [0.0, 1.0], verbose=0)
    assert model.iterations == 1


@pytest.mark.parametrize("size", [1e13, 1e14, 1e15, 1e16])
@pytest.mark.parametrize("rows", [1, 300], ids=["few rows", "many rows"])
@pytest.mark.parametrize("name", ["adam", "nadam", "rmsprop", "adagrad", "adamax"])
def test_what_is_large_but_does_not_overflow_is_learned_from(
    engine: str, name: str, rows: int, size: float
) -> None:
    """On both sides of the bound from which an update is looked at before it stays."""
    models = [Sequential([Input((1,)), Dense(1, "linear")]) for _ in "ab"]
    weights = [np.ones((1, 1)), np.zeros(1)]
    for model, batch in zip(models, (rows, 1), strict=True):
        model.compile(name, "mse")
        model.set_weights(weights)
        model.fit(
            np.full(batch, 1e2),
            np.full(batch, size),
            batch_size=batch,
            epochs=3,
            verbose=0,
        )
        assert model.iterations == 3
        assert finite(model)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert models[0].get_weights()[0] != weights[0]


def test_a_variance_below_zero_is_noticed(engine: str) -> None:
    """RMSprop's centered form takes a square from another: of a constant gradient,
    little more than their rounding is left, and epsilon may be too small for it."""
    optimizer = optimizers.RMSprop(1e-9, rho=0.5, centered=True, epsilon=1e-30)
    model = Sequential([Input((1,)), Dense(1, use_bias=False)])
    model.compile(optimizer, "mse")
    model.set_weights([[[1.0]]])
    with contextlib.suppress(NonFiniteError):
        model.fit([1.0], [1e6], epochs=200, verbose=0)
    assert finite(model)


@pytest.mark.parametrize("rule", ["clipnorm", "global_clipnorm", "clipvalue"])
def test_clipping_tames_a_huge_gradient(engine: str, rule: str) -> None:
    """Also one whose square is too large for float32."""
    model = Sequential([Input((1,)), Dense(1, kernel_initializer="zeros")])
    model.compile(optimizers.SGD(0.1, **{rule: 1.0}), "mse")
    model.train_on_batch([1e5], [1e18])
    assert model.get_weights()[0] == pytest.approx(0.1, rel=1e-3)


def test_the_model_learns_again_after_divergence(engine: str) -> None:
    model = diverging()
    with pytest.raises(NonFiniteError):
        model.fit(X, Y, epochs=200, verbose=0)
    model.set_weights(model_of().get_weights())
    model.compile(optimizers.SGD(0.01), "mse")
    history = model.fit(X, Y, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_terminate_on_nan_ends_without_an_error(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The epoch shows nan, as in Keras; the weights stay finite, unlike there."""
    model = diverging()
    history = model.fit(X, Y, epochs=200, verbose=0, callbacks=[TerminateOnNaN()])
    assert len(history.epoch) < 200
    assert np.isnan(history.history["loss"][-1])
    assert np.isfinite(history.history["loss"][:-1]).all()
    assert finite(model)
    assert "Training ends early" in capsys.readouterr().out


def test_nan_is_no_improvement(engine: str) -> None:
    stop = EarlyStopping("loss", patience=0, restore_best_weights=True)
    model = diverging()
    model.fit(X, Y, epochs=200, verbose=0, callbacks=[TerminateOnNaN(), stop])
    assert stop.best is not None
    assert np.isfinite(stop.best)
    assert finite(model)


def test_evaluating_a_model_far_out_gives_infinity_not_a_warning(engine: str) -> None:
    model = Sequential([Input((1,)), Dense(1)])
    model.compile("sgd", "mse")
    model.set_weights([[[3e38]], [0.0]])
    assert model.evaluate([1.0], [0.0], verbose=0) == np.inf
    assert model.predict([1.0], verbose=0) == np.float32(3e38)
