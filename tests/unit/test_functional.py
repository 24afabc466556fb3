"""Models as graphs of layers: structure, sharing, and what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential
from kurve.layers import (
    Add,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Dense,
    Dot,
    Dropout,
    GlobalAveragePooling1D,
    Multiply,
    Subtract,
)

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def residual() -> Model:
    x = Input((4,), name="x")
    h = Dense(6, "tanh", name="hidden")(x)
    return Model(
        x, Dense(1, name="out")(Add(name="sum")([h, Dense(6, name="skip")(x)]))
    )


def test_a_network_with_a_skip_is_its_formula(engine: str) -> None:
    kurve.set_engine(engine)
    model = residual()
    w1, b1, w2, b2, w3, b3 = model.get_weights()
    expected = (np.tanh(X @ w1 + b1) + X @ w2 + b2) @ w3 + b3
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, atol=1e-6)


def test_training_lowers_the_loss_and_copies_go_on_alike(engine: str) -> None:
    kurve.set_engine(engine)
    model, y = residual(), X.sum(axis=1)
    model.compile("adam", "mse")
    losses = model.fit(X, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        other.fit(X, y, epochs=3, verbose=0)
        twin = copy.deepcopy(model)
        twin.fit(X, y, epochs=3, verbose=0)
        for a, b in zip(other.get_weights(), twin.get_weights(), strict=True):
            assert a.tobytes() == b.tobytes()


def test_a_layer_called_twice_has_its_weights_once() -> None:
    x, layer = Input((4,)), Dense(4)
    model = Model(x, layer(layer(x)))
    assert [w.shape for w in model.weights] == [(4, 4), (4,)]
    assert model.count_params() == 20
    w, b = model.get_weights()
    expected = (X @ w + b) @ w + b
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, atol=1e-5)


def test_models_that_share_layers_share_what_they_learn() -> None:
    x = Input((4,))
    code = Dense(2, name="code")(x)
    encoder, autoencoder = Model(x, code), Model(x, Dense(4, name="back")(code))
    autoencoder.compile("sgd", "mse")
    before = encoder.predict(X, verbose=0)
    autoencoder.fit(X, X, epochs=2, verbose=0)
    after = encoder.predict(X, verbose=0)
    assert not np.allclose(before, after)
    inner = Model(x, code)  # made later: the newest weights
    np.testing.assert_array_equal(inner.predict(X, verbose=0), after)
    encoder.compile("sgd", "mse")
    encoder.fit(X, np.ones((8, 2)), epochs=2, verbose=0)
    kernel, bias = autoencoder.get_layer("code").get_weights()
    np.testing.assert_allclose(
        encoder.predict(X, verbose=0), X @ kernel + bias, atol=1e-6
    )
    np.testing.assert_array_equal(encoder.get_weights()[0], kernel)
    autoencoder.set_weights([np.zeros_like(w) for w in autoencoder.get_weights()])
    assert not encoder.predict(X, verbose=0).any()


@pytest.mark.parametrize("own_step", [False, True])
def test_a_shared_layer_averages_its_calls_in_turn(engine: str, own_step: bool) -> None:
    class Own(Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with kurve.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply(gradients, self.trainable_weights)
            return {"loss": loss}

    kurve.set_engine(engine)
    a, b = Input((4,)), Input((4,))
    norm = BatchNormalization(momentum=0.8)
    make = Own if own_step else Model
    model = make([a, b], Dense(1)(Concatenate()([norm(a), norm(b)])))
    model.compile("sgd", "mse")
    model.fit([X, 3 * X + 1], X[:, 0], epochs=2, batch_size=8, verbose=0)
    mean, variance = np.zeros(4), np.ones(4)
    for x in (X, 3 * X + 1) * 2:
        mean = 0.8 * mean + 0.2 * x.mean(axis=0)
        variance = 0.8 * variance + 0.2 * x.var(axis=0)
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-6)


def test_averages_of_a_shared_layer_are_shared() -> None:
    norm = BatchNormalization()
    first = Sequential([Input((4,)), norm, Dense(1)])
    second = Sequential([Input((4,)), norm, Dense(1)])
    first.compile("sgd", "mse")
    first.fit(X, X[:, 0], verbose=0)
    mean = second.get_layer(norm.name).moving_mean.numpy()
    assert mean.any()
    np.testing.assert_array_equal(mean, first.get_weights()[2])


def test_freezing_a_model_freezes_its_layers_in_others() -> None:
    x = Input((4,))
    body = Model(x, Dense(3, "relu")(x), name="body")
    model = Model(x, Dense(1)(body(x)))
    body.trainable = False
    assert len(model.trainable_weights) == 2
    model.compile("sgd", "mse")
    before = [w.numpy() for w in body.weights]
    model.fit(X, X[:, 0], verbose=0)
    for a, b in zip(before, body.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_in_a_stack_and_a_stack_in_a_model() -> None:
    inner = Sequential([Input((4,)), Dense(3, "relu"), Dense(4)], name="inner")
    outer = Sequential([inner, Dense(2)])
    assert outer.output_shape == (None, 2)
    assert len(outer.weights) == 6
    hidden = inner.predict(X, verbose=0)
    w, b = outer.get_weights()[-2:]
    np.testing.assert_allclose(outer.predict(X, verbose=0), hidden @ w + b, atol=1e-6)
    unbuilt = Sequential([Dense(3), Dense(1)])
    x = Input((4,))
    assert Model(x, unbuilt(x)).output_shape == (None, 1)


def test_models_of_what_lies_between() -> None:
    model = Sequential([Input((4,)), Dense(3, "tanh"), Dense(2), Dense(1)])
    middle = Model(model.input, model.layers[1].output)
    np.testing.assert_allclose(
        middle.predict(X, verbose=0),
        list(model.layer_outputs(X).values())[1],
        atol=1e-6,
    )
    graph = residual()
    hidden = Model(graph.input, graph.get_layer("hidden").output)
    assert hidden.output_shape == (None, 6)
    tail = Model(graph.get_layer("sum").output, graph.output)
    np.testing.assert_allclose(
        tail.predict(
            Model(graph.input, graph.get_layer("sum").output).predict(X, verbose=0),
            verbose=0,
        ),
        graph.predict(X, verbose=0),
        atol=1e-6,
    )


def test_operators_and_functions_on_symbolic_tensors(engine: str) -> None:
    kurve.set_engine(engine)
    x = Input((4,))
    y = 2.0 * x[:, :2] - abs(x[:, 2:]) / (1.0 + x[:, :2] ** 2)
    z = np.exp(-(y**2)) + np.where(y > 0.0, y, 0.1 * y)
    model = Model(x, z)
    a = 2.0 * X[:, :2] - np.abs(X[:, 2:]) / (1.0 + X[:, :2] ** 2)
    expected = np.exp(-(a**2)) + np.where(a > 0.0, a, 0.1 * a)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, atol=1e-5)


def test_dropout_that_is_called_twice_drops_twice_differently() -> None:
    x, drop = Input((50,)), Dropout(0.5)
    ones = np.ones((4, 50), np.float32)
    model = Model(x, Concatenate()([drop(x), drop(x)]))
    model.compile(kurve.optimizers.SGD(1.0), "mse")
    assert model.predict(ones, verbose=0).all()
    twice = Model(x, Dense(1, use_bias=False)(model(x)))
    twice.compile(kurve.optimizers.SGD(1.0), "mae")
    twice.set_weights([np.zeros((100, 1))])
    twice.train_on_batch(ones[:1], np.ones((1, 1)))
    kept = twice.get_weights()[0].ravel() != 0
    assert 10 < kept[:50].sum() < 40 and (kept[:50] != kept[50:]).any()


def test_sizes_that_are_left_open() -> None:
    x = Input((None, 3))
    h = Conv1D(4, 3, padding="same", activation="relu")(x)
    model = Model(x, Dense(1)(GlobalAveragePooling1D()(h)))
    assert model.input_shape == (None, None, 3) and h.shape == (None, None, 4)
    model.compile("adam", "mse")
    draw = np.random.default_rng(1)
    for steps in (10, 25, 10):
        data = draw.normal(size=(6, steps, 3))
        model.fit(data, np.ones(6), epochs=2, verbose=0)
        assert model.predict(data, verbose=0).shape == (6, 1)
        alone = model.predict(data[:1], verbose=0)
        assert alone.tobytes() == model.predict(data, verbose=0)[:1].tobytes()
    with pytest.raises(ValueError, match=r"\[predict\] x must have shape"):
        model.predict(draw.normal(size=(6, 10, 2)), verbose=0)


def test_what_python_needs_values_for_says_so() -> None:
    x = Input((2,))
    for call in (bool, float, int, list, np.asarray, len):
        with pytest.raises(
            TypeError, match=r"needs values.*Try functions of kurve\.ops"
        ):
            call(x)


class Careless(kurve.layers.Layer):
    def __init__(self) -> None:
        self.inner = Dense(2)

    def call(self, x: Any) -> Any:
        return self.inner(x)


class MakesInCall(Model):
    def call(self, x: Any) -> Any:
        return Dense(3, name="late")(x)


def test_a_layer_made_in_call_is_refused() -> None:
    model = MakesInCall()
    model.compile("sgd", "mse")
    for use in (model, lambda x: model.fit(x, x[:, :3], verbose=0)):
        with pytest.raises(ValueError, match=r"must be attributes.*late/kernel'"):
            use(X)


def test_an_adapted_layer_outside_a_subclassed_model() -> None:
    """Its statistics are constants of the model."""
    outside = kurve.layers.Normalization()
    outside.adapt(np.array([[1.0, 10.0], [3.0, 30.0]]))

    class Own(kurve.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(outside(x))

    model = Own()
    x = np.array([[3.0, 10.0], [1.0, 20.0]])
    y = model.predict(x, verbose=0)
    assert len(model.weights) == 2
    np.testing.assert_allclose(y, outside(x) @ model.get_weights()[0], rtol=1e-5)
    model.compile("sgd", "mse")
    model.fit(x, y + 1.0, verbose=0)
    np.testing.assert_allclose(outside.mean, [[2.0, 20.0]])


@pytest.mark.parametrize("x", [X, Input((4,))])
def test_a_layer_without_its_base_is_refused(x: Any) -> None:
    with pytest.raises(RuntimeError, match=r"\[Careless\] super\(\).__init__\(\) must"):
        Careless()(x)


def unconnected() -> Any:
    return Model(Input((4,), name="a"), Dense(1)(Input((4,), name="b")))


def two_of_one_name() -> Any:
    x = Input((4,))
    return Model(x, Add()([Dense(2, name="d")(x), Dense(2, name="d")(x)]))


WRONG: dict[str, tuple[str, Callable[[], Any]]] = {
    "input that is missing": (r"\[Model\] an output needs an input.*'b'", unconnected),
    "two layers of one name": (r"layers must have distinct names", two_of_one_name),
    "arrays for tensors": (
        r"\[Model\] inputs must be symbolic tensors",
        lambda: Model(X, Dense(1)(Input((4,)))),
    ),
    "a layer for a tensor": (
        r"\[Model\] outputs must be symbolic tensors",
        lambda: Model(Input((4,)), Dense(1)),
    ),
    "shapes that do not merge": (
        r"\[Add\] the inputs must have shapes that broadcast",
        lambda: Add()([Input((3,)), Input((4,))]),
    ),
    "concatenated along another axis": (
        r"\[concatenate\] shapes must agree",
        lambda: Concatenate(1)([Input((3, 2)), Input((3, 4))]),
    ),
    "one input for a merge": (
        r"\[Add\] the layer takes a list of at least two",
        lambda: Add()(Input((3,))),
    ),
    "two for a layer of one": (
        r"\[Dense\] the layer takes one tensor",
        lambda: Dense(1)([Input((3,)), Input((3,))]),
    ),
    "dot of different sizes": (
        r"\[Dot\] the two axes must have equal sizes",
        lambda: Dot(1)([Input((3,)), Input((4,))]),
    ),
    "another width for a layer's second call": (
        r"\[Dense\] layer .* expected the last axis",
        lambda: [layer(Input((n,))) for layer in [Dense(2)] for n in (3, 4)],
    ),
    "a layer on a layer": (r"a layer\. Try", lambda: Dense(1)(Dense(2))),
    "no outputs": (
        r"\[Model\] a model needs inputs and outputs",
        lambda: Model(Input((3,))),
    ),
    "the same input twice": (
        r"\[Model\] each input must be passed only once",
        lambda: (lambda x: Model([x, x], Multiply()([x, x])))(Input((3,))),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_graphs(name: str) -> None:
    text, make = WRONG[name]
    with pytest.raises(
        (ValueError, TypeError, NotImplementedError), match=text
    ) as caught:
        make()
    assert "Received: " in str(caught.value) and "Try " in str(caught.value)


def test_a_deep_model_is_no_recursion() -> None:
    x = Input((2,))
    y = x
    for _ in range(1500):
        y = Dense(2)(y)
    model = Model(x, y)
    assert len(model.layers) == 1501 and model.predict(np.ones((1, 2))).shape == (1, 2)


def test_a_dictionary_of_one_output(engine: str) -> None:
    kurve.set_engine(engine)
    x = Input((3,), name="a")
    model = Model(x, {"y": Dense(1)(x)})
    model.compile("sgd", {"y": "mse"}, metrics={"y": ["mae"]})
    rows = np.ones((8, 3), np.float32)
    target = {"y": rows[:, :1]}
    logs = model.fit({"a": rows}, target, sample_weight={"y": rows[:, 0]}, verbose=0)
    assert set(logs.history) == {"loss", "mae"}
    one = model.train_on_batch(rows, target, return_dict=True)
    assert set(one) == set(logs.history)
    assert set(model.predict(rows, verbose=0)) == {"y"}
    assert model.evaluate(rows, target, verbose=0) == pytest.approx(
        model.evaluate(rows, rows[:, :1], verbose=0)
    )
    assert model.weights[0].path == model.layers[-1].name + "/kernel"


def test_dictionaries_may_have_more_columns_and_be_nested() -> None:
    x = Input((4,), name="x")
    model = Model({"x": x}, Dense(2)(x))
    more = {"y": X[:, :1], "x": X}
    np.testing.assert_array_equal(model(more), model(X))
    np.testing.assert_array_equal(model.predict(more, verbose=0), model(X))
    a, b, c = Input((1,)), Input((2,)), Input((4,))
    inputs = {"rest": {"c": c, "b": b}, "a": a}
    inner = Model(inputs, Concatenate()([a, b, c]))
    outer = Model(
        inputs,
        inner({"a": a, "rest": {"b": b, "c": c}}),
    )
    data = {"a": X[:, :1], "rest": {"c": X, "b": X[:, 1:3]}}
    right = np.hstack([X[:, :1], X[:, 1:3], X])
    np.testing.assert_array_equal(outer.predict(data, verbose=0), right)


def test_a_nested_model_takes_what_it_reads_by_name() -> None:
    b, a = Input((1,)), Input((1,))
    inner = Model({"b": b, "a": a}, Subtract()([b, a]))
    x, y, z = Input((1,)), Input((1,)), Input((1,))
    outer = Model([x, y, z], inner({"b": x, "a": y, "more": z}))
    one = np.ones((1, 1))
    np.testing.assert_array_equal(
        outer.predict([5 * one, 2 * one, one], verbose=0), [[3.0]]
    )
    with pytest.raises(ValueError, match=r"reads 'b', 'a'.*a dictionary without 'a'"):
        Model([x, z], inner({"b": x, "c": z}))
