"""Layers one by one: shapes, values, configurations, standing alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, activations, initializers, layers, regularizers
from kurve.layers import (
    Activation,
    Dense,
    Dropout,
    FourierFeatures,
    Layer,
    Normalization,
)

X = np.random.default_rng(1).normal(2.0, 3.0, size=(50, 4)).astype(np.float32)

LAYERS: list[Layer] = [
    Dense(3),
    Dense(
        3,
        activations.Activation("leaky_relu", 0.05),
        use_bias=False,
        kernel_initializer=initializers.HeNormal(seed=3),
        bias_initializer="ones",
        kernel_regularizer=regularizers.L1L2(0.1, 0.2),
        bias_regularizer="l2",
        name="mine",
        trainable=False,
        input_shape=(4,),
    ),
    Dense(2, "softmax", kernel_initializer=initializers.Constant(0.5)),
    Activation("gelu"),
    Dropout(0.25),
    Normalization(),
    Normalization(axis=None, mean=1.0, variance=2.0),
    Normalization(axis=(-2, -1), invert=True),
    Normalization(mean=[1, 2, 3, 4], variance=[1, 2, 3, 4]),
    FourierFeatures(),
    FourierFeatures(5, scale=0.3, trainable=True, name="waves", input_shape=(4,)),
    FourierFeatures([1.0, 2.5]),
    FourierFeatures(np.arange(8.0).reshape(4, 2)),
    Dense(3, "snake", kernel_initializer=initializers.SineUniform(omega=3.0, seed=1)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_config_round_trip(layer: Layer) -> None:
    """By what JSON can hold."""
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    assert json.dumps(again.get_config()) == json.dumps(layer.get_config())
    assert layers.CLASSES[type(layer).__name__] is type(layer)


@pytest.mark.parametrize(
    ("layer", "before", "after"),
    [
        (Dense(3), (None, 4), (None, 3)),
        (Dense(3), (None, 5, 6, 4), (None, 5, 6, 3)),
        (Activation("softmax"), (None, 5, 4), (None, 5, 4)),
        (Dropout(0.1), (None, 5, 4), (None, 5, 4)),
        (Normalization(), (None, 5, 4), (None, 5, 4)),
        (FourierFeatures(3), (None, 5, 4), (None, 5, 6)),
    ],
)
def test_output_shape(layer: Layer, before: tuple, after: tuple) -> None:
    assert layer.compute_output_shape(before) == after
    assert layer.built_shape is None
    assert layer.input_shape is layer.output_shape is None
    layer.build(before)
    assert (layer.input_shape, layer.output_shape) == (before, after)


def test_dense_is_an_affine_map() -> None:
    layer = Dense(3, "tanh", bias_initializer="ones")
    y = layer(X)
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(y, np.tanh(X @ kernel + bias), atol=1e-6)
    assert [w.name for w in layer.weights] == [
        f"{layer.name}/{n}" for n in ("kernel", "bias")
    ]
    assert layer.count_params() == 15
    assert Dense(3, use_bias=False)(X).shape == (50, 3)
    tall = Dense(2)
    y = tall(X.reshape(5, 10, 4))
    kernel, bias = tall.get_weights()
    np.testing.assert_allclose(y, X.reshape(5, 10, 4) @ kernel + bias, atol=1e-5)


def test_dropout_only_in_training() -> None:
    """A share of the elements falls, the others grow: the mean stays."""
    layer, ones = Dropout(0.4), np.ones((100, 100), np.float32)
    np.testing.assert_array_equal(layer(ones), ones)
    dropped = layer(ones, training=True)
    assert set(np.unique(dropped)) == {np.float32(0.0), np.float32(1.0 / 0.6)}
    assert (dropped == 0).mean() == pytest.approx(0.4, abs=0.02)
    assert dropped.mean() == pytest.approx(1.0, abs=0.04)
    np.testing.assert_array_equal(Dropout(0.0)(ones, training=True), ones)


def test_dropout_in_a_model_changes_with_the_step_and_the_layer(engine: str) -> None:
    """Two dropout layers of one model, and two steps, drop different elements."""
    ones = {"kernel_initializer": "ones", "use_bias": False}
    seen = []
    for position in (0, 1):
        stack: list[Layer] = [Dense(64, **ones)]
        stack.insert(position + 1, Dropout(0.5))
        if position:
            stack.insert(1, Dropout(0.0))
        model = Sequential([Input((1,)), *stack])
        model._network.seed = 5
        model.compile("sgd", "mse")
        losses = [model.train_on_batch([1.0], np.zeros((1, 64))) for _ in range(3)]
        seen.append(losses)
    assert len(set(map(str, seen))) == 2
    assert len(set(seen[0])) == 3


@pytest.mark.parametrize("shape", [(50, 4), (10, 5, 4), (10, 5, 2, 2)], ids=str)
@pytest.mark.parametrize("axis", [-1, None, (-2, -1), 1], ids=str)
def test_adapt(shape: tuple[int, ...], axis: Any) -> None:
    x = X.reshape(shape)
    axes = () if axis is None else (axis,) if isinstance(axis, int) else axis
    kept = sorted(a % len(shape) for a in axes)
    if 0 in kept or len(set(kept)) < len(axes):
        with pytest.raises(
            ValueError, match=r"^\[Normalization\] axis must .*Received"
        ):
            Normalization(axis=axis).adapt(x)
        return
    layer = Normalization(axis=axis)
    layer.adapt(x)
    over = tuple(a for a in range(len(shape)) if a not in kept)
    y = layer(x)
    np.testing.assert_allclose(y.mean(axis=over), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.var(axis=over), 1.0, rtol=1e-4)
    mean = x.mean(axis=over, keepdims=True)
    np.testing.assert_allclose(layer.mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_array_equal(layer.adapt_mean.value, layer.mean.value.squeeze())
    layer.mean.assign(mean + 1.0)
    off = 1.0 / x.std(axis=over, keepdims=True)
    np.testing.assert_allclose(layer(x), y - off, atol=1e-4)


def test_normalization_edges() -> None:
    """One feature as 1-D data, a feature that never changes, large offsets, inverse."""
    layer = Normalization()
    layer.adapt(np.arange(5))
    np.testing.assert_allclose(layer(np.arange(5)[:, None]).mean(), 0.0, atol=1e-6)
    flat = Normalization()
    flat.adapt(np.full((5, 2), 3.0))
    assert np.isfinite(flat(np.full((5, 2), 3.0))).all()
    far = Normalization()
    far.adapt(1e6 + np.arange(100.0))  # float32 sums would lose the variance
    assert far.variance.numpy()[0] == pytest.approx(np.arange(100.0).var(), rel=1e-5)
    there, back = (
        Normalization(mean=2.0, variance=9.0, axis=None, invert=invert)
        for invert in (False, True)
    )
    np.testing.assert_allclose(back(there(X)), X, rtol=1e-5)
    np.testing.assert_allclose(there(X), (X - 2.0) / 3.0, rtol=1e-5)


def test_weights_of_normalization() -> None:
    """Keras's three, not trained; given numbers are arguments and no weights."""
    layer = Normalization()
    layer.adapt(X)
    assert [w.shape for w in layer.weights] == [(4,), (4,), ()]
    assert not layer.trainable_weights
    given = Normalization(mean=0.0, variance=1.0, axis=None)
    given(X)
    assert given.weights == []
    assert len(given.variables) == 2


def test_names_count_up() -> None:
    a, b, c = Dense(1), Dense(1), Dropout(0.5)
    base, _, number = a.name.partition("_")
    assert base == "dense"
    assert b.name == f"dense_{int(number or 0) + 1}"
    assert c.name.startswith("dropout")
    assert Dense(1, name="mine").name == "mine"


def test_trainable_splits_the_weights() -> None:
    layer = Dense(2)
    layer.build((None, 3))
    assert len(layer.trainable_weights) == 2
    layer.trainable = False
    assert len(layer.non_trainable_weights) == 2
    assert layer.trainable_variables == []


def test_variables() -> None:
    layer = Dense(2)
    layer.build((None, 3))
    copy = layer.kernel.numpy()
    copy[...] = 7.0
    assert (layer.kernel.numpy() != 7.0).all()
    layer.kernel.assign(copy)
    np.testing.assert_array_equal(np.asarray(layer.kernel), copy)
    with pytest.raises(ValueError, match=r"shape \(3, 2\).*Received: shape \(2, 3\)"):
        layer.kernel.assign(copy.T)
    with pytest.raises(ValueError, match="must be finite"):
        layer.kernel.assign(copy * np.nan)
    np.testing.assert_array_equal(layer.kernel.numpy(), copy)
    assert repr(layer.kernel) == (
        f"<Variable {layer.name}/kernel, shape=(3, 2), value="
        "[[7. 7.]\n [7. 7.]\n [7. 7.]]>"
    )


def test_layer_set_weights_is_all_or_none() -> None:
    layer = Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=r"^\[set_weights\] .*bias.*Received"):
        layer.set_weights([np.ones((3, 2)), np.ones(3)])
    with pytest.raises(ValueError, match=r"has 2 weights.*Received: 1 arrays"):
        layer.set_weights([np.ones((3, 2))])
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])
    layer.set_weights([np.ones((3, 2)), np.ones(2)])
    np.testing.assert_array_equal(layer.get_weights()[1], np.ones(2))


def test_a_layer_alone_wants_a_batch_axis() -> None:
    with pytest.raises(ValueError, match=r"^\[Dense\] x must have a batch axis"):
        Dense(1)([1.0, 2.0])
    layer = Dense(2)
    layer(X)
    with pytest.raises(ValueError, match=r"expected the last axis .* to be 4"):
        layer(X[:, :3])
