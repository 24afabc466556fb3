"""Custom layers, and what layers of formulas refuse."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import (
    GradientTape,
    Input,
    Model,
    Sequential,
    layers,
    models,
    set_engine,
)
from kurve import ops as public
from kurve.formulas import functions as ops

X = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


class Scale(layers.Layer):
    """x w + shift, through a Dense layer."""

    def __init__(self, units: int, rate: float = 0.5, **common: Any) -> None:
        super().__init__(**common)
        self.units, self.rate = units, rate
        self.inner = [layers.Dense(units), layers.Dropout(rate)]

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(
            shape=(self.units,), initializer="ones", trainable=True, name="w"
        )
        self.shift = self.add_weight((self.units,), "zeros", trainable=False)
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        h = self.inner[1](self.inner[0](x), training=training)
        return h * self.w + self.shift


def test_weights_are_own_ones_first_then_those_of_parts() -> None:
    layer = Scale(3)
    assert layer(X).shape == (8, 3)
    names = [w.name.partition("/")[2] for w in layer.weights]
    assert names == ["w", "variable", "inner_0/kernel", "inner_0/bias"]
    assert [w.shape for w in layer.trainable_weights] == [(3,), (5, 3), (3,)]
    assert layer.count_params() == 3 + 3 + 15 + 3
    layer.trainable = False
    assert layer.trainable_weights == []
    assert not layer.inner[0].trainable


def test_a_layer_is_built_once() -> None:
    layer = Scale(3)
    layer.build((None, 5))
    kernel = layer.inner[0].kernel
    layer.build((None, 5))
    layer(X)
    assert layer.inner[0].kernel is kernel
    assert layer.compute_output_shape((None, 5)) == (None, 3)


def test_a_stack_is_built_from_the_data(engine: str) -> None:
    for first in (Scale(3, rate=0.0), layers.EinsumDense("ab,bc->ac", 3)):
        model = Sequential([first, layers.Dense(1)])
        model.compile("adam", "mse")
        with pytest.raises(ValueError, match="y must have shape"):
            model.fit(X, X, verbose=0)
        assert not model.built and not first.built
        assert all(part.built_shape is None for part in first.parts)
        model.fit(X[:, :4], X[:, 0], verbose=0)
        assert model.predict(X[:, :4], verbose=0).shape == (8, 1)


def test_it_trains_on_both_engines(engine: str) -> None:
    at = Input((5,))
    model = Model(at, layers.Dense(1)(Scale(3, rate=0.0)(at)))
    model.compile("adam", "mse")
    before = model.get_weights()
    first = model.evaluate(X, X[:, :1], verbose=0)
    model.fit(X, X[:, :1], epochs=20, verbose=0)
    assert model.evaluate(X, X[:, :1], verbose=0) < first
    changed = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [True, False, True, True, True, True]


def test_files_copies_and_pickles(tmp_path: Path) -> None:
    """Arguments that are numbers need no get_config."""
    model = Sequential([Input((5,)), Scale(3, rate=0.25), layers.Dense(1)])
    y = model.predict(X, verbose=0)
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve", custom_objects={"Scale": Scale})
    for other in (again, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(X, verbose=0), y)
        assert other.layers[0].rate == 0.25
    assert model.clone().count_params() == model.count_params()


def test_an_argument_that_is_no_number_asks_for_get_config() -> None:
    class Holds(layers.Layer):
        def __init__(self, what: Any, **common: Any) -> None:
            super().__init__(**common)
            self.what = what

        def call(self, x: Any) -> Any:
            return x + 1.0

    with pytest.raises(NotImplementedError, match=r"^\[Holds\] the layer needs a get_"):
        Holds(object()).get_config()


@pytest.mark.filterwarnings("ignore:.*no weights to train")
def test_in_training_another_formula(engine: str) -> None:
    class Twice(layers.Layer):
        def call(self, x: Any, training: bool | None = None) -> Any:
            return x * 2.0 if training else x + 1.0

    np.testing.assert_array_equal(Twice()(X), X + 1)
    np.testing.assert_array_equal(Twice()(X, training=True), X * 2)
    at = Input((5,))
    model = Model(at, Twice()(at))
    model.compile("sgd", "mse")
    np.testing.assert_array_equal(model.predict(X, verbose=0), X + 1)
    zeros = np.zeros_like(X)
    wanted = np.mean((2 * X) ** 2), np.mean((X + 1) ** 2)
    got = model.train_on_batch(X, zeros), model.test_on_batch(X, zeros)
    np.testing.assert_allclose(got, wanted, 1e-5)


def test_what_a_layer_adds_to_the_loss(engine: str) -> None:
    class Adds(layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(0.5 * ops.sum(ops.square(x), 1))
            return x + 0.0

    at = Input((5,))
    model = Model(at, Adds()(layers.Dense(5, activity_regularizer="l2")(at)))
    model.compile("sgd", "mse", metrics=["mae"])
    p = model.predict(X, verbose=0)
    wanted = np.mean(p**2) + 0.5 * np.sum(p**2) + 0.01 * np.sum(p**2) / len(p)
    weights = np.arange(8) / 3.5  # of samples: they do not count for penalties
    loss, mae = model.test_on_batch(X, np.zeros_like(p))
    np.testing.assert_allclose([loss, mae], [wanted, abs(p).mean()], 1e-5)
    loss, _ = model.test_on_batch(X, np.zeros_like(p), sample_weight=weights)
    wanted += np.mean(p**2 * weights[:, None]) - np.mean(p**2)
    np.testing.assert_allclose(loss, wanted, 1e-5)


def asks(what: Callable[[Any], Any]) -> Callable[[], Any]:
    class Asks(layers.Layer):
        def call(self, x: Any) -> Any:
            return what(x)

    return lambda: Asks()(X)


def weighs(*args: Any, **kwargs: Any) -> Callable[[], Any]:
    class Weighs(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(*args, **kwargs)

        def call(self, x: Any) -> Any:
            return x

    return lambda: Weighs()(X)


TIMES = np.ones((2, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (asks(lambda x: x if x > 0 else -x), TypeError, r"\[Asks\.call\] a condition"),
        (asks(float), TypeError, r"\[Asks\.call\] float\(\) needs values"),
        (asks(np.asarray), TypeError, r"\[Asks\.call\] a NumPy array needs values"),
        (weighs((3, None)), ValueError, "must be a tuple of positive integers"),
        (weighs((3,), "seven"), ValueError, "unknown initializer"),
        (weighs((3,), constraint="x"), ValueError, "unknown constraint"),
        (lambda: layers.Layer()(X), NotImplementedError, "its operations"),
        (lambda: layers.Dense(1)(X, key=X), TypeError, "unknown argument"),
        (lambda: layers.Dense(1)(), TypeError, "are called with x"),
        (lambda: layers.Lambda(3), TypeError, "must be a function"),
        (lambda: layers.Lambda(abs).get_config(), NotImplementedError, "be saved"),
        (lambda: layers.Permute((1, 3)), ValueError, "each axis of a sample once"),
        (lambda: layers.Permute((1, 2))(X), ValueError, "takes samples of 2"),
        (lambda: layers.RepeatVector(0), ValueError, "n must be an integer"),
        (lambda: layers.Cropping1D((2, 1))(TIMES), ValueError, "leave part of each"),
        (lambda: layers.Softmax(0.5), TypeError, "axis must be an integer"),
        (lambda: layers.RMSNormalization(3)(X), ValueError, "axis must name axes"),
        (lambda: layers.GroupNormalization(3)(TIMES), ValueError, "divide the chan"),
        (lambda: layers.EinsumDense("ab", 3), ValueError, "equation must name"),
        (
            lambda: layers.EinsumDense("abc,cd->abd", (None, 3))(X),
            ValueError,
            "does not fit its input",
        ),
        (lambda: layers.Embedding(0, 2), ValueError, "input_dim must be"),
        (lambda: layers.Attention()(TIMES), ValueError, "takes .query, value. or"),
        (lambda: layers.Attention(score_mode="x"), ValueError, "'dot' or 'concat'"),
        (
            lambda: layers.MultiHeadAttention(2, 3)(TIMES, TIMES, attention_mask=TIMES),
            ValueError,
            "attention_mask does not fit",
        ),
        (lambda: layers.MultiHeadAttention(0, 3), ValueError, "num_heads must be"),
        (lambda: layers.GroupQueryAttention(2, 3, 2), ValueError, "must divide"),
        (lambda: layers.TimeDistributed(3), ValueError, "layer must be a layer"),
        (
            lambda: layers.TimeDistributed(layers.BatchNormalization())(TIMES),
            NotImplementedError,
            "moving statistics",
        ),
        (
            lambda: layers.Resizing(3, 3, interpolation="bicubic"),
            ValueError,
            "'bilinear' or 'nearest'",
        ),
        (lambda: layers.RandomContrast(2.0), ValueError, r"factor must .* in \[0, 1\]"),
        (
            lambda: layers.MaxNumBoundingBoxes,  # type: ignore[attr-defined]
            AttributeError,
            "there is no MaxNumBoundingBoxes: ",
        ),
    ],
)
def test_refused(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call()


def test_wrappers_are_written_with_the_layer_in_them() -> None:
    layer = layers.TimeDistributed(layers.Dense(3, name="inside"), name="outside")
    config = layers.serialize(layer)
    again: Any = layers.deserialize(config)
    assert again.name == "outside"
    assert again.layer.name == "inside"
    assert layers.serialize(again) == config


def test_random_images_differ_from_each_other_and_from_step_to_step() -> None:
    x = np.full((4, 6, 6, 1), 100.0, np.float32)
    y = layers.RandomBrightness(0.3)(x)
    assert len(np.unique(y)) == 4
    crop = layers.RandomCrop(2, 3)
    places = np.arange(36.0).reshape(1, 6, 6, 1).repeat(64, axis=0)
    y = crop(places)
    first = y[:, 0, 0, 0].astype(int)
    assert set(first // 6) == set(range(5))
    assert set(first % 6) == set(range(4))
    inside = first[:, None, None] + 6 * np.arange(2)[:, None] + np.arange(3)
    np.testing.assert_array_equal(y[..., 0], inside)


@pytest.mark.parametrize("axes", [0, (0, 1)])
def test_softmax_and_logsumexp_over_the_rows_of_a_batch(engine: str, axes: Any) -> None:
    class Shares(layers.Layer):
        def call(self, x: Any) -> Any:
            x = ops.where(x > 1000.0, -np.inf, x)
            total = ops.logsumexp(x, axis=axes, keepdims=True)
            return ops.concatenate([ops.softmax(x, axis=axes), x - total], axis=-1)

    set_engine(engine)
    x = np.random.default_rng(0).normal(0, 30, size=(8, 3)).astype(np.float32)
    x[3, 1] = 2000.0
    model = Sequential([Input((3,)), Shares()])
    z = np.where(x > 1000.0, -np.inf, x.astype(np.float64))
    log_shares = z - z.max() - np.log(np.exp(z - z.max()).sum(axis=axes, keepdims=True))
    right = np.hstack([np.exp(log_shares), log_shares])
    found = model(x)
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)
    trained = Sequential([Input((3,)), layers.Dense(3), Shares(), layers.Dense(1)])
    trained.compile("sgd", "mse")
    z = z[4:] / 30
    losses = trained.fit(z, z[:, 0], epochs=20, batch_size=4, verbose=0)
    assert losses.history["loss"][-1] < losses.history["loss"][0]


class Optional(layers.Layer):
    """x, plus another entry unless that is left out."""

    def call(self, inputs: Any) -> Any:
        extra = inputs["more"]["extra"]
        return inputs["x"] if extra is None else inputs["x"] + extra


def test_an_entry_of_a_nested_input_can_be_none() -> None:
    x = Input((5,))
    left_out = Optional()({"x": x, "more": {"extra": None}})
    added = Optional()({"x": x, "more": {"extra": x}})
    one, two = Model(x, [left_out, added]).predict(X, verbose=0)
    assert np.array_equal(one, X) and np.array_equal(two, X + X)
    assert np.array_equal(Optional()({"x": X, "more": {"extra": None}}), X)


class Doubled(layers.Layer):
    """Its configuration has no name."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}


def test_a_graph_has_a_layer_whose_configuration_has_no_name() -> None:
    x = Input((5,))
    model = Model(x, Doubled(3.0)(x))
    own = {"Doubled": Doubled}
    again = Model.from_config(model.get_config(), custom_objects=own)
    assert [layer.name for layer in again.layers] == [n.name for n in model.layers]
    assert np.array_equal(again.predict(X, verbose=0), 3 * X)


class Neighbours(layers.Layer):
    """Adds to each node what its edges lead to: rows that are chosen by other rows."""

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.dense = layers.Dense(2, kernel_initializer="ones")

    def call(self, inputs: Any) -> Any:
        nodes, edges = inputs
        hidden = self.dense(nodes)
        ends = public.take(hidden, edges, axis=0)
        return public.segment_sum(ends[:, 1], edges[:, 0], num_segments=8) + hidden


def test_rows_chosen_by_rows() -> None:
    """Such a layer runs as it is written, and its gradients are exact."""
    edges, layer = np.array([[0, 1], [1, 2], [1, 3], [7, 0]]), Neighbours()
    sums = X.sum(axis=1)
    expected = sums.copy()
    np.add.at(expected, edges[:, 0], sums[edges[:, 1]])
    with GradientTape() as tape:
        y = layer([X, edges])
        loss = public.sum(y[:, 0])
    np.testing.assert_allclose(y, np.stack([expected] * 2, axis=1), rtol=1e-5)
    (slope, _) = tape.gradient(loss, layer.trainable_variables)
    counts = 1.0 + np.bincount(edges[:, 1], minlength=8)
    np.testing.assert_allclose(slope[:, 0], counts @ X, rtol=1e-4, atol=1e-5)
    assert not np.any(slope[:, 1])
