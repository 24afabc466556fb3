"""Recurrent layers: loops as one operation and written out, files, copies, errors."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers, models
from kurve.formulas import functions as ops
from kurve.formulas import recurrence

RNG = np.random.default_rng(0)
STEPS, FEATURES, UNITS = 6, 3, 4
X = RNG.normal(size=(5, STEPS, FEATURES)).astype(np.float32)
HOLES = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 1, 0, 1, 1], [0] * 6, [1] * 6, [0, 1] * 3])


def weighted(layer: Any, x: Any = X) -> Any:
    """The layer with other weights than its first ones: biases that are not 0."""
    layer.build((None, *x.shape[1:]))
    rng = np.random.default_rng(1)
    layer.set_weights([0.5 * rng.normal(size=w.shape) for w in layer.weights])
    return layer


INITIAL = kurve.initializers.RandomUniform(-0.3, 0.3, seed=1)


def flattened(x: Any) -> Any:
    """By a function, which has no say in masks."""
    return ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))


LOOPS: dict[str, Callable[..., Any]] = {
    "LSTM": layers.LSTM,
    "GRU": layers.GRU,
    "GRU before": lambda *a, **k: layers.GRU(*a, reset_after=False, **k),
    "SimpleRNN": layers.SimpleRNN,
    "LSTM without bias": lambda *a, **k: layers.LSTM(*a, use_bias=False, **k),
    "GRU without bias": lambda *a, **k: layers.GRU(*a, use_bias=False, **k),
    "LSTM elu": lambda *a, **k: layers.LSTM(*a, "elu", "softsign", **k),
}


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", LOOPS)
def test_both_ways_agree(
    name: str, masked: bool, initial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One operation, and steps that are written out: outputs and gradients."""
    for sequences, state, back, zero in itertools.product((False, True), repeat=4):
        layer = weighted(
            LOOPS[name](
                UNITS,
                return_sequences=sequences,
                return_state=state,
                go_backwards=back,
                zero_output_for_mask=zero,
            )
        )
        found = []
        for operation in (True, False):
            if not operation:
                monkeypatch.setattr(recurrence, "is_operation", lambda kind: False)
            x, m = Input((STEPS, FEATURES)), Input((STEPS,))
            states = [Input((UNITS,)) for _ in range(2 if "LSTM" in name else 1)]
            given: dict[str, Any] = {"mask": m > 0.5} if masked else {}
            if initial:
                given["initial_state"] = states
            y = layer(layers.Activation("tanh")(x), **given)
            flat = [flattened(part) for part in (y if state else [y])]
            out = layers.Concatenate()([*flat, flat[0]])
            model = Model(
                [x, m, *states], layers.Dense(1, kernel_initializer=INITIAL)(out)
            )
            model.compile(kurve.optimizers.SGD(0.02), "mse", engine="reference")
            before = layer.get_weights()
            data = [X, HOLES, *(0.1 * np.ones((5, UNITS)) for _ in states)]
            predicted = model.predict(data, verbose=0)
            losses = [model.train_on_batch(data, np.ones(5)) for _ in range(3)]
            found.append((predicted, losses, layer.get_weights()))
            layer.set_weights(before)
            monkeypatch.undo()
        (one, losses, weights), (other, others, more) = found
        np.testing.assert_allclose(one, other, 1e-5, 1e-6)
        np.testing.assert_allclose(losses, others, 1e-5)
        for a, b in zip(weights, more, strict=True):
            np.testing.assert_allclose(a, b, 1e-3, 1e-5)


class Leaky(layers.Layer):
    """A cell of one's own, with another formula in training."""

    def __init__(self, units: int, **common: Any) -> None:
        super().__init__(**common)
        self.units = self.state_size = units
        self.inner = layers.Dense(units, "tanh")

    def build(self, input_shape: Any) -> None:
        self.rate = self.add_weight((self.units,), "ones", name="rate")

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        h = 0.5 * states[0] + self.rate * self.inner(inputs)
        return (2.0 * h if training else h), [h]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Noisy(layers.Layer):
    """A cell that draws random numbers, in prediction too."""

    def __init__(self, units: int, **common: Any) -> None:
        super().__init__(**common)
        self.units = self.state_size = units

    def call(self, inputs: Any, states: Any) -> Any:
        h = states[0] + kurve.random.normal((None, self.units)) * inputs
        return h, [h]


def test_a_cell_of_ones_own(tmp_path: Path) -> None:
    """It is built, has two formulas, and comes back from files."""
    layer = layers.RNN(Leaky(2), return_sequences=True, name="loop")
    y = layer(X)
    assert [w.name for w in layer.weights] == [
        "loop/leaky/rate",
        "loop/leaky/inner/kernel",
        "loop/leaky/inner/bias",
    ]
    np.testing.assert_allclose(layer(X, training=True), 2.0 * y, rtol=1e-6)
    h = np.zeros((5, 2))
    for t in range(STEPS):
        h = 0.5 * h + np.asarray(layer.cell.inner(X[:, t]))
        np.testing.assert_allclose(y[:, t], h, 1e-5, 1e-6)
    model = Sequential([Input((STEPS, FEATURES)), layer, layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, np.ones((5, STEPS, 1)), verbose=0)
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve", custom_objects={"Leaky": Leaky})
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_initial_states_that_a_cell_says() -> None:
    class Learned(layers.Layer):
        state_size = 3

        def build(self, input_shape: Any) -> None:
            self.first = self.add_weight((1, 3), "ones", name="first")

        def get_initial_state(self, batch_size: int | None = None) -> Any:
            return [self.first * 2.0]

        def call(self, inputs: Any, states: Any) -> Any:
            return states[0] + inputs, [states[0] + inputs]

    layer = layers.RNN(Learned())
    np.testing.assert_allclose(layer(X), 2.0 + X.sum(1), 1e-5, 1e-5)


def test_states_by_name_and_in_a_list() -> None:
    layer = weighted(layers.LSTM(UNITS))
    h, c = RNG.normal(size=(2, 5, UNITS)).astype(np.float32)
    expected = layer(X, initial_state=[h, c])
    np.testing.assert_array_equal(layer([X, h, c]), expected)
    assert abs(expected - layer(X)).max() > 0.01
    x, a, b = Input((STEPS, FEATURES)), Input((UNITS,)), Input((UNITS,))
    for y in (layer([x, a, b]), layer(x, initial_state=[a, b])):
        model = Model([x, a, b], y)
        np.testing.assert_allclose(model.predict([X, h, c]), expected, 1e-5, 1e-6)
    node = layer._inbound_nodes[0]
    assert list(node.kwargs) == ["initial_state"]


def test_encoder_and_decoder() -> None:
    source, target = Input((None, FEATURES)), Input((None, 2))
    _, *states = layers.LSTM(UNITS, return_state=True)(source)
    y = layers.LSTM(UNITS, return_sequences=True)(target, initial_state=states)
    model = Model([source, target], layers.Dense(2, "softmax")(y))
    model.compile("adam", "categorical_crossentropy")
    for length in (3, 5):
        data = [X, np.ones((5, length, 2))]
        assert model.predict(data, verbose=0).shape == (5, length, 2)
        wanted = np.tile([1.0, 0.0], (5, length, 1))
        assert np.isfinite(model.train_on_batch(data, wanted))


def test_both_directions() -> None:
    """Copies of the layer, called by its name, which stays as it is."""
    layer = layers.LSTM(UNITS, return_sequences=True, name="inner")
    both = layers.Bidirectional(layer, name="both")
    y = both(X)
    assert not layer.built
    assert [w.name for w in both.weights[::3]] == [
        "both/forward_inner/lstm_cell/kernel",
        "both/backward_inner/lstm_cell/kernel",
    ]
    back = both.backward_layer
    assert back.go_backwards and not both.forward_layer.go_backwards
    np.testing.assert_allclose(y[..., :UNITS], both.forward_layer(X), rtol=1e-6)
    np.testing.assert_allclose(y[..., UNITS:], back(X)[:, ::-1], rtol=1e-6)
    given = both.get_weights()
    again = layers.Bidirectional(layer, weights=given)
    np.testing.assert_array_equal(again(X), y)
    both.trainable = False
    assert both.trainable_weights == [] and not back.cell.trainable


@pytest.fixture
def stack() -> Any:
    """One of each."""
    x = Input((None, FEATURES))
    h = layers.Bidirectional(layers.GRU(2, return_sequences=True), "sum")(x)
    h = layers.RNN([layers.LSTMCell(3), Leaky(2)], return_sequences=True)(h)
    h, *states = layers.LSTM(2, return_state=True, recurrent_dropout=0.1)(h)
    y = layers.SimpleRNN(2, name="end")(layers.RepeatVector(2)(h), initial_state=h)
    model = Model(x, layers.Concatenate()([y, *states]))
    model.compile("adam", "mse")
    model.fit(X, np.ones((5, 6)), verbose=0)
    return model


def test_copies(stack: Any, tmp_path: Path) -> None:
    expected = stack.predict(X, verbose=0)
    own = {"Leaky": Leaky}
    stack.save(tmp_path / "m.kurve")
    copies = [
        models.load_model(tmp_path / "m.kurve", custom_objects=own),
        pickle.loads(pickle.dumps(stack)),
        copy.deepcopy(stack),
    ]
    text = stack.to_json()
    for made in (
        models.clone_model(stack),
        models.model_from_json(text, custom_objects=own),
    ):
        made.set_weights(stack.get_weights())
        copies.append(made)
    for made in copies:
        np.testing.assert_array_equal(made.predict(X, verbose=0), expected)
        assert made.get_config() == stack.get_config()
        names = [w.name for w in made.weights]
        assert names == [w.name for w in stack.weights]


def test_summary(stack: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stack.summary(line_length=100)
    printed = capsys.readouterr().out
    for text in ("Bidirectional", "(None, None, 2)", "end (SimpleRNN)", "[(None, 2)"):
        assert text in printed


def test_long_sequences_that_are_written_out() -> None:
    both = layers.LSTM(3, dropout=0.1, recurrent_dropout=0.2)
    model = Sequential([Input((200, 2)), both, layers.Dense(1)])
    model.compile("adam", "mse")
    x = np.ones((4, 200, 2))
    assert np.isfinite(model.train_on_batch(x, np.ones(4)))
    assert model.predict(x, verbose=0).shape == (4, 1)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "GRU before", "SimpleRNN"])
def test_what_is_dropped_is_the_same_in_both_ways(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By gates, in training, as one operation and written out."""
    found = []
    for known in (True, False):
        if not known:
            monkeypatch.setattr(recurrence, "is_operation", lambda kind: False)
        arguments = {"recurrent_dropout": 0.4, "seed": 3, "return_sequences": True}
        layer = weighted(LOOPS[name](UNITS, **arguments))
        model = Sequential([Input((STEPS, FEATURES)), layer, layers.Dense(1)])
        kinds = [op.kind for op in model._network.plan.ops]
        assert (layer.cell.kind in kinds) == known
        model.layers[1].set_weights([np.ones((UNITS, 1)), np.zeros(1)])
        model.compile("sgd", "mse")
        model.train_on_batch(X, np.ones((5, STEPS, 1)))
        found.append([layer(X, training=True), *model.get_weights()])
        assert np.abs(found[-1][0] - layer(X)).max() > 1e-3
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-5)


def test_penalties_and_rules_reach_the_weights() -> None:
    layer = layers.GRU(
        UNITS,
        kernel_regularizer="l2",
        recurrent_constraint="unit_norm",
        activity_regularizer="l1",
        return_sequences=True,
    )
    model = Sequential([Input((STEPS, FEATURES)), layer])
    model.compile("sgd", "mse")
    before = model.evaluate(X, np.zeros((5, STEPS, UNITS)), verbose=0)
    y = model.predict(X, verbose=0)
    kernel = layer.cell.kernel.numpy()
    terms = 0.01 * (kernel**2).sum() + 0.01 * np.abs(y).sum() / len(y)
    assert before == pytest.approx((y**2).mean() + terms, rel=1e-4)
    model.train_on_batch(X, np.ones((5, STEPS, UNITS)))
    norms = np.linalg.norm(layer.cell.recurrent_kernel.numpy(), axis=0)
    np.testing.assert_allclose(norms, 1.0, rtol=1e-5)


def test_first_weights() -> None:
    """The bias of the forget gate is 1, and recurrent kernels are orthogonal."""
    layer = layers.LSTM(UNITS)
    layer.build((None, None, FEATURES))
    bias = layer.get_weights()[2]
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], UNITS))
    recurrent = layer.cell.recurrent_kernel.numpy()
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(UNITS), atol=1e-5)
    other = layers.LSTM(UNITS, unit_forget_bias=False)
    other.build((None, None, FEATURES))
    assert not other.get_weights()[2].any()


def test_masks_go_on() -> None:
    """From Masking through layers that return sequences, in both directions."""
    x = np.where(HOLES[..., None] == 1, X, 0.0)
    inner = weighted(layers.LSTM(UNITS, return_sequences=True))
    last = layers.GRU(UNITS)
    at = Input((STEPS, FEATURES))
    model = Model(at, last(inner(layers.Masking()(at))))
    expected = last(inner(X, mask=HOLES), mask=HOLES)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, 1e-5, 1e-6)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: layers.LSTM(0), ValueError, "[LSTMCell] units must be an integer"),
        (lambda: layers.GRU(2, dropout=1.5), ValueError, "dropout must be in [0, 1]"),
        (lambda: layers.GRU(2, use_cudnn=3), ValueError, "use_cudnn must be 'auto'"),
        (lambda: layers.LSTM(2, implementation=3), ValueError, "can only be"),
        (
            lambda: Sequential([Input((4, 1)), layers.LSTM(2, stateful=True)]),
            ValueError,
            "[LSTM] stateful=True needs a fixed number of rows",
        ),
        (
            lambda: layers.LSTM(2, time_major=True),
            ValueError,
            "batch axis is the first",
        ),
        (lambda: layers.LSTM(2)(X[:, 0]), ValueError, "shape (steps, features)"),
        (lambda: layers.LSTM(2)(X[None]), ValueError, "shape (steps, features)"),
        (
            lambda: layers.LSTM(2)(X, mask=np.ones((5, 2))),
            ValueError,
            "mask must have one value per step",
        ),
        (
            lambda: layers.LSTM(2)(X, initial_state=[X[:, 0]]),
            ValueError,
            "initial_state must be 2 of shape",
        ),
        (
            lambda: layers.GRU(2)(X, initial_state=[X[:, 0]]),
            ValueError,
            "initial_state must be 1 of shape",
        ),
        (
            lambda: Sequential([Input((3, 2)), layers.GRU(2, return_state=True)]),
            ValueError,
            "each layer must have a single output",
        ),
        (lambda: layers.RNN(3), ValueError, "a cell must be a layer"),
        (lambda: layers.RNN(layers.Dense(3)), ValueError, "a cell must be a layer"),
        (lambda: layers.RNN(layers.Lambda(abs)), ValueError, "must have state_size"),
        (lambda: layers.StackedRNNCells([]), ValueError, "cells must be a list"),
        (lambda: layers.Bidirectional(layers.Dense(2)), ValueError, "recurrent layer"),
        (
            lambda: layers.Bidirectional(layers.GRU(2), "max"),
            ValueError,
            "merge_mode must be",
        ),
        (
            lambda: layers.Bidirectional(layers.GRU(2), backward_layer=layers.GRU(2)),
            ValueError,
            "one layer must go forwards",
        ),
        (
            lambda: layers.Bidirectional(
                layers.GRU(2),
                backward_layer=layers.GRU(2, go_backwards=True, return_sequences=True),
            ),
            ValueError,
            "the same return_sequences",
        ),
        (
            lambda: layers.Bidirectional(layers.GRU(2))(X, initial_state=X[:, 0]),
            ValueError,
            "states of both layers",
        ),
        (
            lambda: layers.RNN(Noisy(2))(np.ones((1, 5001, 1), np.float32)),
            ValueError,
            "at most 5000 steps",
        ),
    ],
)
def test_errors(make: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)
    assert str(caught.value).startswith("[") and "Received: " in str(caught.value)


def test_states_that_a_cell_forgets() -> None:
    class Forgetful(layers.Layer):
        state_size = (2, 2)

        def call(self, inputs: Any, states: Any) -> Any:
            return inputs, [ops.tanh(inputs)]

    with pytest.raises(ValueError, match="as many states as it got"):
        layers.RNN(Forgetful())(np.ones((1, 3, 2)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(3, dropout=0.5),
        lambda: layers.GRU(3, dropout=0.3, recurrent_dropout=0.5),
        lambda: layers.Bidirectional(layers.SimpleRNN(3, dropout=0.5)),
        lambda: layers.RNN([layers.LSTMCell(3, dropout=0.5), layers.GRUCell(2)]),
    ],
)
def test_dropout_in_prediction_where_the_call_says_so(make: Any) -> None:
    x = np.ones((4, 5, 2))
    found = {}
    for engine in ("native", "reference"):
        kurve.utils.set_random_seed(7)
        given = Input((5, 2))
        model = Model(given, make()(given, training=True))
        model.compile("sgd", "mse", engine=engine)
        found[engine] = [model.predict(x, verbose=0) for _ in range(2)]
        one, other = found[engine]
        assert not np.array_equal(one, other)
        assert not np.array_equal(one[0], one[1])
        given = Input((5, 2))
        never = Model(given, make()(given, training=False))
        never.compile("sgd", "mse", engine=engine)
        loss = never.evaluate(x, np.zeros_like(one), verbose=0)
        assert never.train_on_batch(x, np.zeros_like(one)) == pytest.approx(loss)
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
