"""Sequential: how it comes into being, what it holds, how it changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kurve import Input, Sequential, utils
from kurve.layers import Dense, Dropout, Normalization

X = np.random.default_rng(1).normal(size=(20, 3))
Y = X.sum(axis=1)


def article_model() -> Sequential:
    """Seven hidden layers of 256 units, one input, one output."""
    model = Sequential()
    model.add(Dense(256, activation="relu", input_shape=(1,)))
    for _ in range(6):
        model.add(Dense(256, activation="relu"))
    model.add(Dense(1))
    return model


def test_the_article_counts_395521_weights() -> None:
    assert article_model().count_params() == 395_521


WAYS: dict[str, Callable[[], Sequential]] = {
    "Input in the list": lambda: Sequential([Input((3,)), Dense(2), Dense(1)]),
    "Input with a number": lambda: Sequential([Input(3), Dense(2), Dense(1)]),
    "input_shape": lambda: Sequential([Dense(2, input_shape=(3,)), Dense(1)]),
    "build": lambda: Sequential([Dense(2), Dense(1)]),
    "data": lambda: Sequential([Dense(2), Dense(1)]),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_build(engine: str, way: str) -> None:
    """The same weights, by whichever way the input's shape becomes known."""
    utils.set_random_seed(4)
    model = WAYS[way]()
    assert model.built == (way not in {"build", "data"})
    if way == "build":
        model.build((None, 3))
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=0, verbose=0)
    assert model.built
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 1))
    utils.set_random_seed(4)
    expected = WAYS["Input in the list"]().get_weights()
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_one_feature_as_1d_data(engine: str) -> None:
    model = Sequential([Dense(4, "tanh"), Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.arange(5), np.arange(5), verbose=0)
    assert model.input_shape == (None, 1)
    assert model.predict([1, 2, 3], verbose=0).shape == (3, 1)
    assert model.predict([1, 2, 3], verbose=0).dtype == np.float32


def test_shapes_without_building() -> None:
    model = Sequential([Dense(4), Dense(2)])
    assert model.compute_output_shape((None, 7, 3)) == (None, 7, 2)
    assert not model.built
    assert model.input_shape is model.output_shape is None


def test_add_after_build_keeps_weights(engine: str) -> None:
    model = Sequential([Input((3,)), Dense(4)])
    before = model.get_weights()
    model.add(Dense(1))
    for kept, old in zip(model.get_weights(), before, strict=False):
        np.testing.assert_array_equal(kept, old)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] != before[0]).any()
    kernel, bias = model.layers[0].get_weights()
    last, last_bias = model.layers[1].get_weights()
    by_hand = (X.astype(np.float32) @ kernel + bias) @ last + last_bias
    np.testing.assert_allclose(model.predict(X, verbose=0), by_hand, atol=1e-5)


def test_pop(engine: str) -> None:
    model = Sequential([Input((3,)), Dense(4), Dense(1)])
    kernel = model.layers[0].get_weights()[0]
    last = model.layers[1].get_weights()[0]
    popped = model.pop()
    assert model.output_shape == (None, 4)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    np.testing.assert_array_equal(popped.get_weights()[0], last)
    other = Sequential([Input((4,)), popped])
    np.testing.assert_array_equal(other.get_weights()[0], last)
    model.pop()
    assert not model.built
    with pytest.raises(IndexError, match="no layer to pop"):
        model.pop()


def test_a_failed_add_changes_nothing(engine: str) -> None:
    """The first layers must not be left in a memory that nobody trains."""
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match="Orthogonal"):
        model.add(Dense(2, bias_initializer="orthogonal"))
    assert len(model.layers) == 1
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] != before[0]).all()


def test_a_failed_build_changes_nothing() -> None:
    model = Sequential([Dense(2), Normalization(axis=7)])
    with pytest.raises(ValueError, match="axis must name trailing axes"):
        model.build((None, 3))
    assert not model.built
    assert not model.layers[0].built
    model.pop()
    model.build((None, 5))
    assert model.input_shape == (None, 5)


def test_names_and_get_layer() -> None:
    model = Sequential([Dense(2, name="a"), Dense(1, name="b")], name="mine")
    assert model.name == "mine"
    assert model.get_layer("b") is model.get_layer(index=1) is model.layers[1]
    with pytest.raises(ValueError, match=r"unknown layer. Received: 'c'"):
        model.get_layer("c")
    assert Sequential().name.startswith("sequential")
    assert repr(model) == "<Sequential name=mine, built=False>"
    model.layers.clear()
    assert len(model.layers) == 2, "the list is a copy"


def test_weight_lists() -> None:
    model = Sequential(
        [Input((3,)), Normalization(), Dense(2), Dense(1, trainable=False)]
    )
    assert [w.shape for w in model.weights] == [
        *((3,), (3,), ()),
        *((3, 2), (2,)),
        *((2, 1), (1,)),
    ]
    assert len(model.trainable_weights) == 2
    assert len(model.non_trainable_weights) == 5
    assert model.count_params() == 7 + 8 + 3


def test_get_weights_are_copies() -> None:
    model = Sequential([Input((3,)), Dense(2)])
    model.get_weights()[0][...] = 99.0
    assert (model.get_weights()[0] != 99.0).all()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda w: w[:3], r"has 4 weights: .*kernel.*Received: 3 arrays"),
        (lambda w: [*w, w[0]], r"has 4 weights: .*Received: 5 arrays"),
        (
            lambda w: [*w[:3], np.ones(2)],
            r"bias has shape \(1,\).*Received: shape \(2,\)",
        ),
        (lambda w: [w[0].T, *w[1:]], r"kernel has shape \(3, 2\).*shape \(2, 3\)"),
        (lambda w: [*w[:3], [np.nan]], r"must be finite.*NaN or infinity for .*bias"),
    ],
)
def test_set_weights_is_all_or_none(wrong: Callable, text: str) -> None:
    model = Sequential([Input((3,)), Dense(2), Dense(1)])
    before = model.get_weights()
    given = wrong([w + 1.0 for w in before])
    with pytest.raises(ValueError, match=rf"^\[set_weights\] .*{text}"):
        model.set_weights(given)
    for now, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, old)


def test_set_weights_reaches_the_engine(engine: str) -> None:
    model = Sequential([Input((3,)), Dense(1)])
    model.set_weights([[[1], [2], [3]], [4]])
    np.testing.assert_allclose(model.predict([[1, 1, 1]], verbose=0), [[10.0]])
    model.layers[0].kernel.assign([[0], [0], [0]])
    np.testing.assert_allclose(model([[1, 1, 1]]), [[4.0]])


def test_seed_repeats_initial_weights_training_and_dropout(engine: str) -> None:
    def run(seed: int) -> list[np.ndarray]:
        utils.set_random_seed(seed)
        model = Sequential([Dense(8, "relu"), Dropout(0.5), Dense(1)])
        model.compile("adam", "mse")
        model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
        return model.get_weights()

    assert all(np.array_equal(a, b) for a, b in zip(run(1), run(1), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(run(1), run(2), strict=True))


def test_frozen_layers_stay(engine: str) -> None:
    """`trainable` takes effect at compile, as in Keras."""
    model = Sequential([Input((3,)), Dense(4, trainable=False), Dense(1)])
    model.compile("adam", "mse")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    after = model.get_weights()
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [
        *(True, True, False, False)
    ]
    model.layers[0].trainable = True
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] != before[0]).any()


def test_normalization_adapted_before_or_in_the_model(engine: str) -> None:
    first = Normalization()
    first.adapt(X)
    model = Sequential([first, Dense(1)])
    assert model.built
    expected = model.predict(X, verbose=0)
    first.adapt(X + 5.0)
    np.testing.assert_allclose(model.predict(X + 5.0, verbose=0), expected, atol=1e-5)


def test_config_round_trip() -> None:
    model = Sequential([Input((3,)), Dense(2, "relu"), Dropout(0.1), Dense(1)])
    again = Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert again.input_shape == model.input_shape
    lazy = Sequential([Dense(2)])
    assert not Sequential.from_config(lazy.get_config()).built


def test_a_shared_normalization_reaches_every_model_that_is_left() -> None:
    norm = Normalization()
    first = Sequential([Input(shape=(1,)), norm, Dense(1)])
    second = Sequential([Input(shape=(1,)), norm])
    for _ in range(5):
        first.add(Dense(1))
    assert len(norm.mean._views) == 2  # one view a model, however often it is built
    second.pop()
    norm.adapt([1.0, 3.0])
    np.testing.assert_array_equal(first.get_weights()[0], [2.0])
