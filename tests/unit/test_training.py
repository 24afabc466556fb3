"""fit, evaluate and their kin: what is learned from what, and what is told to whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, losses, optimizers, utils
from kurve.callbacks import Callback, TerminateOnNaN
from kurve.errors import NonFiniteError
from kurve.layers import BatchNormalization, Dense, Dropout

RANDOM = np.random.default_rng(6)
X, Y = RANDOM.normal(size=(30, 2)), RANDOM.normal(size=(30, 1))
CLASSES = RANDOM.integers(0, 3, 30)
W = RANDOM.uniform(0.0, 2.0, 30)


def model_of(
    units: int = 1, loss: Any = "mse", optimizer: Any = None, **compiled: Any
) -> Sequential:
    """A linear model with the same weights at every call."""
    utils.set_random_seed(2)
    model = Sequential([Input((2,)), Dense(units)])
    model.compile(optimizer or optimizers.SGD(0.1), loss, **compiled)
    return model


def same_weights(a: Sequential, b: Sequential, tolerance: float = 0.0) -> bool:
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return all(np.allclose(v, w, rtol=tolerance, atol=tolerance) for v, w in pairs)


def test_one_step_by_hand(engine: str) -> None:
    """The slope of the mean squared error of a line, times the learning rate."""
    model = model_of()
    kernel, bias = model.get_weights()
    error = X @ kernel + bias - Y
    loss = model.train_on_batch(X, Y)
    assert loss == pytest.approx((error**2).mean(), rel=1e-5)
    new_kernel, new_bias = model.get_weights()
    slope = 2.0 * X.T @ error / len(X)
    np.testing.assert_allclose(new_kernel, kernel - 0.1 * slope, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(new_bias, bias - 0.2 * error.mean(), rtol=1e-4)
    assert model.iterations == 1


def test_validation_split_takes_the_last_rows(engine: str) -> None:
    """Before shuffling, as in Keras: they are never trained on."""
    split, given = model_of(), model_of()
    options: dict[str, Any] = {"epochs": 3, "batch_size": 7, "verbose": 0}
    first = split.fit(X, Y, sample_weight=W, validation_split=0.25, **options)
    kept = int(30 * 0.75)
    data = (X[kept:], Y[kept:], W[kept:])
    second = given.fit(
        X[:kept], Y[:kept], sample_weight=W[:kept], validation_data=data, **options
    )
    assert first.history == second.history
    assert same_weights(split, given)
    assert list(first.history) == ["loss", "val_loss"]
    assert first.history["val_loss"][-1] == split.evaluate(
        *data[:2], batch_size=7, sample_weight=data[2], verbose=0
    )


def test_validation_data_wins_over_the_split(engine: str) -> None:
    model = model_of()
    history = model.fit(
        X, Y, validation_split=0.5, validation_data=(X[:3], Y[:3]), verbose=0
    )
    assert model.iterations == 1
    assert history.history["val_loss"] == [model.evaluate(X[:3], Y[:3], verbose=0)]


@pytest.mark.parametrize(
    ("freq", "epochs"), [(1, [0, 1, 2, 3]), (2, [1, 3]), (3, [2]), ([1, 4], [0, 3])]
)
def test_validation_freq(engine: str, freq: Any, epochs: list[int]) -> None:
    seen: list[int] = []

    class Note(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if "val_loss" in logs:
                seen.append(epoch)

    history = model_of().fit(
        X,
        Y,
        epochs=4,
        validation_data=(X, Y),
        validation_freq=freq,
        callbacks=[Note()],
        verbose=0,
    )
    assert seen == epochs
    assert len(history.history["val_loss"]) == len(epochs)
    assert len(history.history["loss"]) == 4


def test_validation_steps_and_batch_size(engine: str) -> None:
    model = model_of()
    history = model.fit(
        X,
        Y,
        validation_data=(X, Y),
        validation_batch_size=4,
        validation_steps=2,
        verbose=0,
    )
    expected = model.evaluate(X[:8], Y[:8], verbose=0)
    assert history.history["val_loss"] == [pytest.approx(expected, rel=1e-5)]
    assert model.evaluate(X, Y, 4, verbose=0, steps=2) == pytest.approx(expected, 1e-5)
    assert model.predict(X, 4, verbose=0, steps=2).shape == (8, 1)


def test_a_weight_of_zero_leaves_a_row_out(engine: str) -> None:
    """Up to the divisor: the sum of losses is divided by all rows."""
    weights = np.where(np.arange(30) < 20, 1.0, 0.0)
    weighted = model_of(optimizer=optimizers.SGD(0.1))
    left_out = model_of(optimizer=optimizers.SGD(0.1 * 20 / 30))
    loss = weighted.train_on_batch(X, Y, sample_weight=weights)
    assert loss * 30 / 20 == pytest.approx(left_out.train_on_batch(X[:20], Y[:20]))
    assert same_weights(weighted, left_out, 1e-5)


def test_a_weight_of_two_counts_a_row_twice(engine: str) -> None:
    twice, repeated = model_of(), model_of()
    weights = np.ones(30)
    weights[0] = 2.0
    index = np.append(np.arange(30), 0)
    twice.compile(optimizers.SGD(0.1 * 30 / 31), "mse")
    repeated.compile(optimizers.SGD(0.1), "mse")
    twice.train_on_batch(X, Y, sample_weight=weights)
    repeated.train_on_batch(X[index], Y[index])
    assert same_weights(twice, repeated, 1e-5)


@pytest.mark.parametrize("kind", ["sparse", "one-hot", "binary"])
def test_class_weight_is_a_sample_weight(engine: str, kind: str) -> None:
    """Classes that are not named weigh 1."""
    if kind == "binary":
        units, y, loss = 1, (CLASSES > 0).astype(int), "binary_crossentropy"
        rows = np.where(y == 1, 3.0, 1.0)
        given = {1: 3.0}
    else:
        units, given = 3, {0: 0.5, 2: 3.0}
        y = CLASSES if kind == "sparse" else np.eye(3)[CLASSES]
        loss = f"{'sparse_' if kind == 'sparse' else ''}categorical_crossentropy"
        rows = np.array([0.5, 1.0, 3.0])[CLASSES]
    made = losses.CLASSES[losses.NAMES[loss]](from_logits=True)  # type: ignore[call-arg]
    a, b, c = (model_of(units, made) for _ in range(3))
    a.fit(X, y, class_weight=given, epochs=2, verbose=0)
    b.fit(X, y, sample_weight=rows, epochs=2, verbose=0)
    c.fit(X, y, epochs=2, verbose=0)
    assert same_weights(a, b)
    assert not same_weights(a, c, 1e-5)


def test_class_weight_of_targets_between_two_classes(engine: str) -> None:
    """The nearest class, a half to the even one, as in Keras."""
    soft = np.array([0.1, 0.5, 0.9, 1.0, 1.5, 2.4])[:, None]
    a, b = (model_of(1) for _ in range(2))
    a.fit(X[:6], soft, class_weight={0: 3.0, 1: 5.0}, verbose=0)
    b.fit(X[:6], soft, sample_weight=np.array([3.0, 3, 5, 5, 1, 1]), verbose=0)
    assert same_weights(a, b)


def test_train_on_batch_equals_a_fit_of_one_step(engine: str) -> None:
    a, b = (model_of(metrics=["mae"]) for _ in range(2))
    history = a.fit(X, Y, batch_size=30, shuffle=False, verbose=0).history
    logs = b.train_on_batch(X, Y, return_dict=True)
    assert logs == {name: values[0] for name, values in history.items()}
    assert same_weights(a, b)
    assert isinstance(b.train_on_batch(X, Y), list)
    assert isinstance(model_of().train_on_batch(X, Y), float)


def test_test_on_batch_and_evaluate_change_nothing(engine: str) -> None:
    model, untouched = model_of(metrics=["mae"]), model_of()
    values = model.test_on_batch(X, Y)
    assert values == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    named = model.test_on_batch(X, Y, return_dict=True)
    assert list(named) == ["loss", "mae"]
    assert list(named.values()) == values
    assert same_weights(model, untouched)
    assert model.iterations == 0


def test_loss_of_an_epoch_is_the_mean_over_its_rows(engine: str) -> None:
    """Also where the last batch is smaller; measured before each step's update."""
    model = model_of(optimizer=optimizers.SGD(1e-12))
    history = model.fit(X, Y, batch_size=7, verbose=0).history
    expected = losses.MeanSquaredError()(Y, model.predict(X, verbose=0))
    assert history["loss"] == [pytest.approx(expected, rel=1e-5)]


def test_compile_starts_the_optimizer_anew(engine: str) -> None:
    a, b = (model_of(optimizer="adam") for _ in range(2))
    a.fit(X, Y, epochs=3, verbose=0)
    b.set_weights(a.get_weights())
    a.compile("adam", "mse")
    assert a.iterations == 0
    a.train_on_batch(X, Y)
    b.train_on_batch(X, Y)
    assert same_weights(a, b)


def test_schedule_goes_by_the_step(engine: str) -> None:
    schedule = optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 1e-30])
    model, other = model_of(optimizer=optimizers.SGD(schedule)), model_of()
    model.fit(X, Y, batch_size=10, shuffle=False, epochs=2, verbose=0)
    other.fit(X[:20], Y[:20], batch_size=10, shuffle=False, verbose=0)
    assert same_weights(model, other, 1e-6)


HOOKS = [
    "train_begin",
    "epoch_begin 0",
    "batch_begin 0",
    "batch_end 0",
    "batch_begin 1",
    "batch_end 1",
    "test_begin",
    "test_end",
    "epoch_end 0",
    "epoch_begin 1",
    "batch_begin 0",
    "batch_end 0",
    "batch_begin 1",
    "batch_end 1",
    "test_begin",
    "test_end",
    "epoch_end 1",
    "train_end",
]


class Hooks(Callback):
    """Notes every hook in the order of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.logs: dict[str, dict[str, float]] = {}

    def note(self, hook: str, logs: dict[str, float]) -> None:
        self.seen.append(hook)
        self.logs[hook] = dict(logs)

    def on_train_begin(self, logs: Any = None) -> None:
        self.note("train_begin", logs)

    def on_train_end(self, logs: Any = None) -> None:
        self.note("train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.note(f"epoch_begin {epoch}", logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.note(f"epoch_end {epoch}", logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.note(f"batch_begin {batch}", logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.note(f"batch_end {batch}", logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self.note("test_begin", logs)

    def on_test_end(self, logs: Any = None) -> None:
        self.note("test_end", logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self.note("predict_begin", logs)

    def on_predict_end(self, logs: Any = None) -> None:
        self.note("predict_end", logs)


def test_hooks_come_in_the_order_of_keras(engine: str) -> None:
    model, hooks = model_of(metrics=["mae"]), Hooks()
    model.fit(
        X,
        Y,
        epochs=2,
        batch_size=15,
        validation_data=(X, Y),
        callbacks=hooks,
        verbose=0,
    )
    assert hooks.seen == HOOKS
    assert hooks.model is model
    assert list(hooks.logs["batch_end 1"]) == ["loss", "mae"]
    assert list(hooks.logs["test_end"]) == ["loss", "mae"]
    assert list(hooks.logs["epoch_end 1"]) == ["loss", "mae", "val_loss", "val_mae"]
    hooks.seen.clear()
    model.evaluate(X, Y, callbacks=[hooks], verbose=0)
    model.predict(X, callbacks=[hooks], verbose=0)
    assert hooks.seen == ["test_begin", "test_end", "predict_begin", "predict_end"]


def test_batch_logs_run_over_the_epoch(engine: str) -> None:
    """As in Keras, the loss of a batch hook is the mean so far."""
    model, hooks = model_of(), Hooks()
    history = model.fit(X, Y, batch_size=15, callbacks=hooks, verbose=0).history
    assert hooks.logs["batch_end 1"]["loss"] == history["loss"][0]
    assert hooks.logs["batch_end 0"]["loss"] != history["loss"][0]


def test_fit_is_quiet_only_when_asked(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_of()
    model.fit(X, Y, verbose=0)
    assert capsys.readouterr().out == ""
    model.fit(X, Y, epochs=2, verbose=2)
    assert capsys.readouterr().out.count("loss:") == 2
    model.evaluate(X, Y)
    model.predict(X)
    assert capsys.readouterr().out.count("1/1") == 2


def test_class_weights_leave_the_validation_alone(engine: str) -> None:
    """As in Keras, they belong to the training; sample weights go with their rows."""
    softmax = {"loss": "sparse_categorical_crossentropy", "units": 3}
    split, given = model_of(**softmax), model_of(**softmax)
    options: dict[str, Any] = {"class_weight": {0: 9.0, 2: 0.1}, "verbose": 0}
    kept = int(30 * 0.75)
    first = split.fit(X, CLASSES, validation_split=0.25, **options)
    second = given.fit(
        X[:kept], CLASSES[:kept], validation_data=(X[kept:], CLASSES[kept:]), **options
    )
    assert first.history == second.history
    assert same_weights(split, given)
    loss = split.evaluate(X[kept:], CLASSES[kept:], verbose=0)
    assert first.history["val_loss"] == [pytest.approx(loss, rel=1e-6)]


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("batch_size", [30, 10])
def test_a_last_update_that_ruins_the_outputs_is_refused(
    epochs: int, batch_size: int, engine: str
) -> None:
    """As if one step more had been tried: of any number of epochs, the fit that ends
    with weights whose outputs are not finite says so."""
    steps = epochs * 30 // batch_size
    model = Sequential([Input((2,)), Dense(3), Dense(3), Dense(1)])
    weights = model.get_weights()
    rates = [0.0] * (steps - 1) + [1e18]

    class Rates(optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> np.ndarray:
            return np.array([*rates, 0.0])[step]

    model.compile(optimizers.SGD(Rates()), "mse")
    with pytest.raises(
        NonFiniteError, match=rf"the output is not finite at step {steps + 1} "
    ):
        model.fit(X, Y, epochs=epochs, batch_size=batch_size, verbose=0)
    assert model.iterations == steps
    assert all(np.isfinite(w).all() for w in model.get_weights())
    model.set_weights(weights)
    model.compile(optimizers.SGD(Rates()), "mse")
    model.fit(
        X,
        Y,
        epochs=epochs,
        batch_size=batch_size,
        verbose=0,
        callbacks=[TerminateOnNaN()],
    )


def test_lists_of_one_are_their_array(engine: str) -> None:
    """As Keras takes them: of x, y and validation data."""
    plain, listed = model_of(), model_of()
    options: dict[str, Any] = {"epochs": 2, "verbose": 0}
    first = plain.fit(X, Y, validation_data=(X, Y), **options)
    second = listed.fit([X], (Y,), validation_data=([X], [Y]), **options)
    assert first.history == second.history
    assert np.array_equal(plain.predict(X, verbose=0), listed.predict([X], verbose=0))
    assert plain.evaluate(X, Y, verbose=0) == listed.evaluate([X], [Y], verbose=0)
    assert plain.train_on_batch(X, Y) == listed.train_on_batch([X], [Y])
    assert listed.predict([X[0]], verbose=0).shape == (1, 1)  # one row
    assert Sequential([Dense(3)]).predict([X], verbose=0).shape == (30, 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (((X, Y) for _ in range(2)), r"\[fit\] y must be part of the batches"),
        (zip([X], [Y], strict=True), r"\[fit\] y .*beside x of type zip"),
        ({"a": X, "b": X}, r"\[fit\] x must be one array.*'a', 'b'.*column_stack"),
        (
            [X, X],
            r"\[fit\] x .*has one input.*list of 2 arrays .*\(30, 2\), \(30, 2\)",
        ),
    ],
)
def test_what_is_no_array_is_refused_by_what_it_is(x: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        model_of().fit(x, Y)


def test_predict_with_other_columns_says_what_the_model_has() -> None:
    with pytest.raises(ValueError, match=r"Try x with the 2 columns of the model"):
        model_of().predict(X[:, :1])


def test_arguments_of_compile_that_change_nothing() -> None:
    plain = model_of().fit(X, Y, verbose=0).history
    for given in (
        {"loss_weights": None, "run_eagerly": True, "jit_compile": True},
        {"loss_weights": [1.0], "steps_per_execution": 4, "auto_scale_loss": False},
        {"steps_per_execution": "auto", "jit_compile": False},
    ):
        assert model_of(**given).fit(X, Y, verbose=0).history == plain
    assert model_of(loss=["mse"]).fit(X, Y, verbose=0).history == plain
    nested = model_of(metrics=[["mae"]])
    assert nested.metrics_names == ["loss", "mae"]
    for name, value in (
        ("jit_compile", "no"),
        ("run_eagerly", "yes"),
        ("auto_scale_loss", None),
    ):
        with pytest.raises(ValueError, match=rf"\[compile\] {name} can only be"):
            model_of(**{name: value})


@pytest.mark.parametrize(
    ("given", "fix"), [(100.0, 100), ("7", 7), (2.6, 3), (None, 1), (float("nan"), 1)]
)
def test_epochs_that_are_no_integer(given: Any, fix: int) -> None:
    with pytest.raises(TypeError, match=rf"Try epochs={fix}\."):
        model_of().fit(X, Y, epochs=given)


def test_a_learning_rate_of_zero_changes_nothing(engine: str) -> None:
    for made in (
        optimizers.Adam(0),
        optimizers.SGD(0.0, momentum=0.9),
        optimizers.AdamW(0.0),
        optimizers.SGD(optimizers.schedules.ExponentialDecay(0.0, 10, 0.5)),
        optimizers.SGD(optimizers.schedules.PiecewiseConstantDecay([3], [0.0, 0.0])),
    ):
        model = model_of(optimizer=made)
        before = model.get_weights()
        model.fit(X, Y, epochs=2, verbose=0)
        assert all(map(np.array_equal, before, model.get_weights()))


def test_a_model_called_as_in_training() -> None:
    model = model_of()
    assert np.array_equal(model(X, training=False), model(X))
    assert np.allclose(model(X, training=True), model(X), atol=1e-6)
    random = Sequential([Input((3,)), BatchNormalization(), Dropout(0.5)])
    x = np.random.default_rng(0).normal(5.0, 2.0, (64, 3)).astype("float32")
    one, two = random(x, training=True), random(x, training=True)
    assert (one == 0.0).any() and (one != two).any()
    assert random.get_weights()[2].min() > 0.05  # the moving mean has moved
    assert np.array_equal(random(x), random(x, training=False))


def test_reprs_show_values() -> None:
    model = model_of(optimizer=optimizers.Adam(0.5))
    history = model.fit(X, Y, epochs=2, verbose=0)
    assert repr(history).startswith("<History, epochs=2, last=(loss=")
    assert repr(model.optimizer).startswith("Adam(learning_rate=0.5, name='adam")
    assert "value=[" in repr(model.weights[1])
