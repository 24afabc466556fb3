"""Constraints: their formulas, where they act, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve import Input, Model, Sequential, constraints, layers, regularizers, solvers
from kurve.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm

W = np.array([[3.0, 0.1], [4.0, -0.1]])


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (Constraint(), W),
        (MaxNorm(1.0), W * [0.2, 1.0]),
        (MaxNorm(1.0, axis=[0, 1]), W / np.linalg.norm(W)),
        (NonNeg(), np.maximum(W, 0.0)),
        (UnitNorm(), W * [0.2, 1.0 / np.hypot(0.1, 0.1)]),
        (UnitNorm(axis=1), W / np.linalg.norm(W, axis=1, keepdims=True)),
        (MinMaxNorm(1.0, 2.0), W * [0.4, 1.0 / np.hypot(0.1, 0.1)]),
        (MinMaxNorm(0.0, 2.0, rate=0.5), W * [0.7, 1.0]),
    ],
    ids=repr,
)
def test_values(constraint: Constraint, expected: Any, engine: str) -> None:
    """Called directly, and as the weights of a layer after an update by 0."""
    np.testing.assert_allclose(constraint(W), expected, rtol=3e-6)
    model = Sequential([Input((2,)), layers.Dense(2, kernel_constraint=constraint)])
    model.set_weights([W, [0.0, 0.0]])
    model.compile("sgd", "mse")
    model.train_on_batch(np.zeros((1, 2)), np.zeros((1, 2)))
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=3e-6)


LAYERS: list[tuple[Callable[..., Any], tuple[int, ...], dict[str, str]]] = [
    (lambda **a: layers.Dense(3, **a), (4,), {"kernel": "kernel", "bias": "bias"}),
    (
        lambda **a: layers.Conv2D(3, 2, **a),
        (4, 4, 2),
        {"kernel": "kernel", "bias": "bias"},
    ),
    (lambda **a: layers.Conv1DTranspose(3, 2, **a), (4, 2), {"kernel": "kernel"}),
    (lambda **a: layers.DepthwiseConv2D(2, **a), (4, 4, 2), {"kernel": "depthwise"}),
    (
        lambda **a: layers.SeparableConv1D(3, 2, **a),
        (4, 2),
        {"depthwise_kernel": "depthwise", "pointwise_kernel": "pointwise"},
    ),
    (lambda **a: layers.BatchNormalization(**a), (4,), {"gamma": "gamma"}),
    (lambda **a: layers.LayerNormalization(**a), (4,), {"beta": "beta"}),
    (lambda **a: layers.Conv3D(3, 2, **a), (3, 3, 3, 2), {"kernel": "kernel"}),
    (lambda **a: layers.PReLU(**a), (4,), {"alpha": "alpha"}),
    (
        lambda **a: layers.GroupNormalization(2, **a),
        (4,),
        {"gamma": "gamma", "beta": "beta"},
    ),
    (
        lambda **a: layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d", **a),
        (2, 4),
        {"kernel": "kernel", "bias": "bias"},
    ),
]


@pytest.mark.parametrize(("make", "shape", "names"), LAYERS)
def test_every_layer(
    make: Callable[..., Any], shape: Any, names: dict[str, str], engine: str
) -> None:
    """Each of the layer's variables stays at 0 or above where it is told to, and else
    does not; its configuration says so."""
    given = {f"{argument}_constraint": "non_neg" for argument in names.values()}
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, *shape))
    for arguments in ({}, given):
        model = Sequential([Input(shape), make(**arguments)])
        layer = model.layers[0]
        for weight in layer.trainable_weights:
            weight.assign(np.full(weight.shape, 0.01))
        model.compile("sgd", "mse")
        model.optimizer.learning_rate = 0.5
        y = 100.0 * rng.normal(size=(8, *model.output_shape[1:])) - 50.0
        model.fit(x, y, verbose=0)
        least = {w.name.rpartition("/")[2]: w.value.min() for w in layer.weights}
        for name in names:
            assert (least[name] >= 0.0) == bool(arguments), name
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        for argument in names.values():
            found = getattr(again, f"{argument}_constraint")
            assert type(found) is (NonNeg if arguments else type(None))


def test_of_an_embedding(engine: str) -> None:
    layer = layers.Embedding(4, 3, embeddings_constraint="unit_norm")
    again = type(layer).from_config(layer.get_config())
    model = Sequential([Input((2,)), again])
    model.compile("sgd", "mse")
    model.train_on_batch(np.array([[0, 3]]), np.ones((1, 2, 3)))
    lengths = np.linalg.norm(again.embeddings.value, axis=0)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)


def shared_twice(**arguments: Any) -> tuple[Any, Any]:
    """A model of two inputs, whose layer is called on both, and that layer."""
    layer = layers.Dense(2, **arguments)
    a, b = Input((2,)), Input((2,))
    return Model([a, b], layers.Add()([layer(a), layer(b)])), layer


def test_a_layer_that_is_called_twice(engine: str) -> None:
    """Once after each update, however many calls there are; so is its penalty."""
    model, layer = shared_twice(
        kernel_constraint=Halved(), kernel_regularizer=regularizers.L2(0.5)
    )
    layer.set_weights([W, [0.0, 0.0]])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 0.0
    zeros = np.zeros((3, 2))
    loss = model.train_on_batch([zeros, zeros], zeros)
    np.testing.assert_allclose(loss, 0.5 * np.sum(W**2), rtol=1e-6)
    np.testing.assert_allclose(layer.kernel.value, [[1.5, 0.1], [2.0, -0.1]])


class Fourth(regularizers.Regularizer):
    """A penalty of one's own."""

    def __call__(self, w: Any) -> Any:
        return 0.1 * np.sum(w**4.0)


def test_a_penalty_of_ones_own_in_a_graph(engine: str) -> None:
    model, layer = shared_twice(kernel_regularizer=Fourth())
    layer.set_weights([W, [0.0, 0.0]])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 0.01
    zeros = np.zeros((3, 2))
    loss = model.train_on_batch([zeros, zeros], zeros)
    np.testing.assert_allclose(loss, 0.1 * np.sum(W**4), rtol=1e-6)
    np.testing.assert_allclose(layer.kernel.value, W - 0.004 * W**3, rtol=1e-6)


def test_attention_hands_them_to_its_parts(engine: str) -> None:
    layer = layers.MultiHeadAttention(2, 3, kernel_constraint="non_neg")
    again = type(layer).from_config(layer.get_config())
    x = Input((3, 4))
    model = Model(x, again(x, x))
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((2, 3, 4)), np.ones((2, 3, 4)))
    kernels = [w for w in again.weights if w.name.endswith("kernel")]
    assert len(kernels) == 4 and min(w.value.min() for w in kernels) >= 0.0


class Weighing(layers.Layer):
    """A custom layer, with a constraint of its weight."""

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(
            (input_shape[-1],), "ones", name="w", constraint="unit_norm"
        )

    def call(self, x: Any) -> Any:
        return x * self.w


def test_of_a_weight_of_ones_own_layer(engine: str) -> None:
    layer = Weighing()
    model = Sequential([Input((4,)), layer])
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 4)))
    np.testing.assert_allclose(layer.w.value, 0.5 * np.ones(4), rtol=1e-6)


def test_frozen_weights_are_left_alone(engine: str) -> None:
    model = Sequential(
        [
            Input((2,)),
            layers.Dense(2, kernel_constraint="unit_norm", trainable=False),
            layers.Dense(1),
        ]
    )
    before = model.get_weights()[0]
    model.compile("adam", "mse")
    model.fit(W, W[:, 0], verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before)


class Halved(Constraint):
    """Of one's own, with NumPy's functions."""

    def __call__(self, w: Any) -> Any:
        return np.where(w > 1.0, 0.5 * w, w) + 0.0 * np.mean(w, axis=0, keepdims=True)


def test_one_of_ones_own(engine: str) -> None:
    model = Sequential([Input((2,)), layers.Dense(2, kernel_constraint=Halved())])
    model.set_weights([W, [0.0, 0.0]])
    model.compile("sgd", "mse")
    model.train_on_batch(np.zeros((1, 2)), np.zeros((1, 2)))
    np.testing.assert_allclose(model.get_weights()[0], [[1.5, 0.1], [2.0, -0.1]])


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda w: w if w.sum() > 0.0 else -w, "Try numpy.where"),
        (lambda w: np.linalg.inv(w), "numpy.inv is not supported in formulas"),
        (lambda w: np.sum(w, axis=0), r"must keep the shape of the weights, \(2, 2\)"),
        (lambda w: w + np.eye(2), "its own arrays and numbers"),
        (lambda w: w.sum(axis=3), r"axis=3"),
    ],
)
def test_what_is_no_formula(function: Callable[[Any], Any], text: str) -> None:
    class Mine(Constraint):
        def __call__(self, w: Any) -> Any:
            return function(w)

    with pytest.raises(ValueError, match=text):
        Sequential([Input((2,)), layers.Dense(2, kernel_constraint=Mine())])


def test_by_name() -> None:
    for name, cls in constraints.CLASSES.items():
        made = constraints.get(name)
        assert type(made) is cls and isinstance(made, Constraint)
        assert constraints.get(made) is made and type(constraints.get(cls)) is cls
        again = constraints.deserialize(constraints.serialize(made))
        assert again.get_config() == made.get_config()
    assert type(constraints.get("max_norm")) is constraints.max_norm is MaxNorm
    assert constraints.get(None) is None
    with pytest.raises(ValueError, match="unknown constraint"):
        constraints.get("norm")
    with pytest.raises(TypeError, match="must be a name or an object"):
        constraints.get(3)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: MaxNorm(-1.0), "max_value must be finite and at least 0"),
        (lambda: UnitNorm(axis="rows"), "axis must be an integer or a list"),
        (lambda: UnitNorm(axis=[]), "axis must be an integer or a list"),
        (lambda: MinMaxNorm(rate=np.nan), "rate must be finite"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_solvers_refuse_them() -> None:
    model = Sequential([Input((1,)), layers.Dense(1, kernel_constraint="non_neg")])
    with pytest.raises(ValueError, match="must not have constraints"):
        solvers.lbfgs(model, W[:, :1], W[:, :1])
