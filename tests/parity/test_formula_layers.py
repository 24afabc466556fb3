"""Layers that are formulas, against Keras: predictions, and three steps of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from twins import keras

import kurve
from kurve.formulas import functions

RNG = np.random.default_rng(0)
K = keras.layers if keras is not None else None


def one(layer: Any, x: Any) -> Any:
    return layer(x[0])


def several(layer: Any, x: Any) -> Any:
    return layer(x)


def itself(layer: Any, x: Any) -> Any:
    return layer(x[0], x[0])


def own(lib: Any) -> Any:
    """A custom layer: weights, layers in a list, a penalty, two modes."""
    ops = functions if lib is kurve.layers else keras.ops

    class Own(lib.Layer):  # type: ignore[misc]
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.inner = [lib.Dense(4), lib.Dense(3)]
            self.norm = lib.BatchNormalization()

        def build(self, input_shape: Any) -> None:
            self.shift = self.add_weight(
                shape=(4,), initializer="ones", trainable=False, name="shift"
            )
            self.w = self.add_weight(shape=(3, 2), name="w", regularizer="l2")
            super().build(input_shape)

        def call(self, x: Any, training: bool | None = None) -> Any:
            h = self.inner[1](ops.tanh(self.inner[0](x) + self.shift))
            h = self.norm(h, training=training)
            self.add_loss(0.1 * ops.mean(ops.square(h)))
            if training:
                h = h * 1.5
            return ops.matmul(h, self.w)

    return Own()


class Nested:
    """A layer within a layer within a model."""

    def __call__(self, lib: Any) -> Any:
        models = keras if lib is not kurve.layers else kurve

        class Inner(lib.Layer):  # type: ignore[misc]
            def build(self, input_shape: Any) -> None:
                self.v = self.add_weight(shape=(input_shape[-1],), name="v")
                self.built = True

            def call(self, x: Any) -> Any:
                return x * self.v

        class Outer(lib.Layer):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.stack = models.Sequential(
                    [lib.Dense(4, activation="tanh"), Inner(), lib.Dense(2)]
                )
                self.again = {"inner": Inner()}

            def call(self, x: Any) -> Any:
                return self.again["inner"](self.stack(x))

        return Outer()


Case = tuple[Callable[[Any], Any], list[tuple[int, ...]], Callable[[Any, Any], Any]]


def case(make: Any, *shapes: tuple[int, ...], call: Any = one) -> Case:
    return make, list(shapes), call


QUERY, VALUE, KEY = (3, 4), (5, 2), (5, 4)

CASES: dict[str, Case] = {
    "Permute": case(lambda k: k.Permute((2, 1)), (3, 4)),
    "Permute three": case(lambda k: k.Permute((3, 1, 2)), (3, 4, 2)),
    "RepeatVector": case(lambda k: k.RepeatVector(3), (4,)),
    "Cropping1D": case(lambda k: k.Cropping1D((1, 2)), (6, 3)),
    "Cropping2D": case(lambda k: k.Cropping2D(((1, 0), (2, 1))), (4, 5, 3)),
    "Softmax": case(lambda k: k.Softmax(), (4, 5)),
    "Softmax 1": case(lambda k: k.Softmax(1), (4, 5)),
    "Softmax both": case(lambda k: k.Softmax((1, 2)), (4, 5)),
    "UnitNormalization": case(lambda k: k.UnitNormalization(), (4, 5)),
    "UnitNormalization both": case(lambda k: k.UnitNormalization([1, 2]), (4, 5)),
    "RMSNormalization": case(lambda k: k.RMSNormalization(), (4, 5)),
    "RMSNormalization both": case(lambda k: k.RMSNormalization([1, 2]), (4, 5)),
    "GroupNormalization": case(lambda k: k.GroupNormalization(2), (4, 6)),
    "GroupNormalization 1": case(lambda k: k.GroupNormalization(2, axis=1), (4, 6)),
    "GroupNormalization all": case(lambda k: k.GroupNormalization(-1), (4, 5, 6)),
    "LayerNormalization 1 3": case(lambda k: k.LayerNormalization([1, 3]), (4, 5, 3)),
    "BatchNormalization 1": case(lambda k: k.BatchNormalization(1), (4, 5, 3)),
    "BatchNormalization 2": case(lambda k: k.BatchNormalization(axis=2), (4, 5, 3)),
    "Normalization 1": case(
        lambda k: k.Normalization(1, [1.0, 2.0, 3.0], [1.0, 2.0, 4.0]),
        (3, 4),
    ),
    "EinsumDense": case(
        lambda k: k.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d"), (4, 5)
    ),
    "EinsumDense first": case(
        lambda k: k.EinsumDense("...x,xy->...y", 7, "relu", bias_axes="y"), (4, 5)
    ),
    "EinsumDense last": case(
        lambda k: k.EinsumDense("ab...,bd->ad...", (3,), bias_axes="d"), (4, 5)
    ),
    "EinsumDense two": case(
        lambda k: k.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"), (4, 5)
    ),
    "EinsumDense middle": case(
        lambda k: k.EinsumDense("abc,bd->adc", (3, None), bias_axes="d"), (4, 5)
    ),
    "Lambda": case(lambda k: k.Lambda(lambda x: x * 2 + 1), (4,)),
    "TimeDistributed Dense": case(
        lambda k: k.TimeDistributed(k.Dense(3, activation="relu")), (4, 5)
    ),
    "TimeDistributed Conv2D": case(
        lambda k: k.TimeDistributed(k.Conv2D(3, 2)), (3, 4, 4, 2)
    ),
    "ActivityRegularization": case(lambda k: k.ActivityRegularization(0.1, 0.2), (4,)),
    "Dense with a penalty": case(
        lambda k: k.Dense(3, activity_regularizer="l2"), (4, 2)
    ),
    "Conv1D with a penalty": case(
        lambda k: k.Conv1D(3, 2, activity_regularizer="l1"), (5, 4)
    ),
    "Attention": case(lambda k: k.Attention(), QUERY, KEY, call=several),
    "Attention scale": case(
        lambda k: k.Attention(use_scale=True), QUERY, VALUE, KEY, call=several
    ),
    "Attention concat": case(
        lambda k: k.Attention(True, "concat"), QUERY, VALUE, KEY, call=several
    ),
    "Attention causal": case(
        lambda k: k.Attention(),
        QUERY,
        call=lambda layer, x: layer([x[0], x[0]], use_causal_mask=True),
    ),
    "Attention scores": case(
        lambda k: k.Attention(),
        QUERY,
        KEY,
        call=lambda layer, x: list(layer(x, return_attention_scores=True)),
    ),
    "AdditiveAttention": case(
        lambda k: k.AdditiveAttention(), QUERY, KEY, call=several
    ),
    "MultiHeadAttention": case(
        lambda k: k.MultiHeadAttention(2, 3), (5, 4), call=itself
    ),
    "MultiHeadAttention sizes": case(
        lambda k: k.MultiHeadAttention(2, 3, value_dim=5, output_shape=6),
        (5, 4),
        (3, 2),
        call=lambda layer, x: layer(*x),
    ),
    "MultiHeadAttention key": case(
        lambda k: k.MultiHeadAttention(2, 3, use_bias=False),
        (5, 4),
        (3, 2),
        (3, 7),
        call=lambda layer, x: layer(x[0], value=x[1], key=x[2]),
    ),
    "MultiHeadAttention gate": case(
        lambda k: k.MultiHeadAttention(2, 3, use_gate=True),
        (5, 4),
        call=lambda layer, x: layer(x[0], x[0], use_causal_mask=True),
    ),
    "MultiHeadAttention scores": case(
        lambda k: k.MultiHeadAttention(2, 3),
        (5, 4),
        call=lambda layer, x: list(layer(x[0], x[0], return_attention_scores=True)),
    ),
    "MultiHeadAttention axes": case(
        lambda k: k.MultiHeadAttention(2, 3, attention_axes=(1, 2)),
        (3, 2, 4),
        call=itself,
    ),
    "MultiHeadAttention axis": case(
        lambda k: k.MultiHeadAttention(2, 3, attention_axes=2), (3, 2, 4), call=itself
    ),
    "MultiHeadAttention window": case(
        lambda k: k.MultiHeadAttention(2, 3, sliding_window=2), (5, 4), call=itself
    ),
    "MultiHeadAttention penalty": case(
        lambda k: k.MultiHeadAttention(2, 3, activity_regularizer="l2"),
        (5, 4),
        call=itself,
    ),
    "GroupQueryAttention": case(
        lambda k: k.GroupQueryAttention(3, 4, 2), (5, 4), call=itself
    ),
    "GroupQueryAttention gate": case(
        lambda k: k.GroupQueryAttention(3, 4, 2, use_gate=True),
        (5, 4),
        call=lambda layer, x: layer(x[0], x[0], use_causal_mask=True),
    ),
    "Resizing": case(lambda k: k.Resizing(5, 9), (8, 6, 2)),
    "Resizing nearest": case(
        lambda k: k.Resizing(5, 9, interpolation="nearest"), (8, 6, 2)
    ),
    "Resizing crop": case(
        lambda k: k.Resizing(5, 9, crop_to_aspect_ratio=True), (8, 6, 2)
    ),
    "Resizing pad": case(
        lambda k: k.Resizing(5, 9, pad_to_aspect_ratio=True, fill_value=2.0), (8, 6, 2)
    ),
    "CenterCrop": case(lambda k: k.CenterCrop(5, 4), (8, 7, 2)),
    "CenterCrop wide": case(lambda k: k.CenterCrop(5, 9), (8, 7, 2)),
    "of one's own": case(own, (5,)),
    "nested": case(Nested(), (5,)),
}


def network(lib: Any, made: Case, inputs: Sequence[Any], models: Any) -> Any:
    """A model in which gradients reach the layer's inputs, and pass through."""
    make, _, call = made
    before = [lib.Dense(x.shape[-1])(x) for x in inputs]
    return models.Model(list(inputs), call(make(lib), before))


def weights_of(model: Any) -> list[np.ndarray]:
    """Weights for both, variances above 0."""
    return [
        np.abs(0.5 * RNG.normal(size=w.shape)) + 0.5
        if "variance" in w.path
        else 0.5 * RNG.normal(size=w.shape)
        for w in model.weights
    ]


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("name", CASES)
def test_layer(name: str, engine: str) -> None:
    made = CASES[name]
    shapes = made[1]
    xs = [RNG.normal(size=(6, *s)).astype(np.float32) for s in shapes]
    theirs = network(K, made, [keras.Input(s) for s in shapes], keras)
    ours = network(kurve.layers, made, [kurve.Input(s) for s in shapes], kurve)
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    weights = weights_of(theirs)
    theirs.set_weights(weights)
    ours.set_weights(weights)
    expected, got = theirs.predict(xs, verbose=0), ours.predict(xs, verbose=0)
    if isinstance(expected, list):
        for e, g in zip(expected, got, strict=True):
            np.testing.assert_allclose(g, e, 1e-4, 2e-5)
        return
    np.testing.assert_allclose(got, expected, 1e-4, 2e-5)
    y = RNG.normal(size=expected.shape).astype(np.float32)
    theirs.compile(keras.optimizers.SGD(0.05), "mse")
    ours.compile(kurve.optimizers.SGD(0.05), "mse", engine=engine)
    for _ in range(3):
        wanted = np.ravel(theirs.train_on_batch(xs, y))[0]
        np.testing.assert_allclose(ours.train_on_batch(xs, y), wanted, 1e-4)
    for e, g, w in zip(
        theirs.get_weights(), ours.get_weights(), ours.weights, strict=True
    ):
        np.testing.assert_allclose(g, e, 2e-4, 1e-4, err_msg=w.name)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_embedding(engine: str) -> None:
    x = RNG.integers(0, 5, (6, 4))
    models: list[Any] = []
    for lib, package in ((K, keras), (kurve.layers, kurve)):
        at = package.Input((4,))
        y = lib.Dense(2)(lib.Embedding(5, 3, embeddings_regularizer="l2")(at))
        models.append(package.Model(at, y))
    theirs, ours = models
    ours.set_weights(theirs.get_weights())
    y = RNG.normal(size=(6, 4, 2))
    theirs.compile(keras.optimizers.SGD(0.1), "mse")
    ours.compile(kurve.optimizers.SGD(0.1), "mse", engine=engine)
    for _ in range(3):
        wanted = np.ravel(theirs.train_on_batch(x, y))[0]
        np.testing.assert_allclose(ours.train_on_batch(x, y), wanted, 1e-5)
    for e, g in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(g, e, 1e-4, 1e-5)


def test_get_config() -> None:
    """The arguments of a configuration are Keras's."""
    for name, (make, _, _) in CASES.items():
        ours, theirs = make(kurve.layers), make(K)
        if type(ours).__module__.startswith("kurve") and name != "Lambda":
            extra = set(ours.get_config()) - set(theirs.get_config())
            assert not extra, name


def test_normalization_adapts_along_any_axis() -> None:
    x = RNG.normal(size=(20, 3, 4)).astype(np.float32)
    for axis in (1, -2, (1, 2), None):
        theirs, ours = K.Normalization(axis=axis), kurve.layers.Normalization(axis)
        theirs.adapt(x)
        ours.adapt(x)
        assert ours.mean.shape == tuple(theirs.mean.shape)
        np.testing.assert_allclose(
            ours(x), keras.ops.convert_to_numpy(theirs(x)), 1e-4, 1e-5
        )
