"""Neighbouring operations that become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import Input, Model, Sequential, layers
from kurve import ops as kurve_ops
from kurve.formulas import functions as ops
from kurve.ops.elementwise import RULES
from kurve.ops.tape import MAX_LIVE, Builder, gradient
from kurve.plan import Plan

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def plan_of(model: Any) -> Plan:
    plan = model._network.plan
    assert plan is not None
    return plan


def chain(count: int, step: Any) -> Model:
    x = i = Input((4,))
    for _ in range(count):
        x = step(x, i)
    return Model(i, x)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_long_chain_of_curved_functions(engine: str) -> None:
    """Its gradient needs all values of the chain, which no single tape has room for."""
    model = chain(100, lambda x, _: ops.tanh(x))
    model.compile("sgd", "mse", engine=engine)
    expected = X
    for _ in range(100):
        expected = np.tanh(expected)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5)
    for op in plan_of(model).ops:
        assert op.tape is not None
        backward = gradient(op.tape, RULES, range(op.tape.inputs))
        assert backward.scratch() <= MAX_LIVE
    assert len(plan_of(model).ops) < 10


def test_a_chain_trains_as_in_the_reference() -> None:
    found = []
    for engine in ("native", "reference"):
        i = Input((4,))
        x = layers.Dense(4, kernel_initializer="identity")(i)
        for _ in range(30):
            x = ops.sin(x) * 1.1 + i
        model = Model(i, x)
        model.compile("sgd", "mse", engine=engine)
        model.fit(X, X, epochs=3, batch_size=3, shuffle=False, verbose=0)
        found.append(model.get_weights()[0])
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)


def test_two_chains_that_meet_are_one() -> None:
    i = Input((4,))
    y = ops.exp(ops.sin(i) + 1.0) * ops.tanh(ops.cos(i) - 1.0)
    model = Model(i, y)
    expected = np.exp(np.sin(X) + 1) * np.tanh(np.cos(X) - 1)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5)
    assert [op.kind for op in plan_of(model).ops] == ["map"]


def test_work_grows_with_the_chain_and_not_with_its_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = 0
    add = Builder._add

    def counted(self: Builder, step: Any) -> int:
        nonlocal written
        written += 1
        return add(self, step)

    monkeypatch.setattr(Builder, "_add", counted)
    counts = []
    for length in (250, 500):
        written = 0
        chain(length, lambda x, i: x * 0.9 + i)
        counts.append(written)
    assert counts[1] < 2.2 * counts[0]


class Affine(layers.Layer):
    """x w + b, two maps of one size after the other."""

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((input_shape[-1], 3), "glorot_uniform", name="w")
        self.b = self.add_weight((3,), "ones", name="b")

    def call(self, x: Any) -> Any:
        return ops.matmul(x, self.w) + self.b


def test_a_product_adds_its_bias() -> None:
    layer = Affine()
    model = Sequential([Input((4,)), layer])
    expected = X @ layer.w.value + 1.0
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, 1e-5, 1e-6)
    (op,) = plan_of(model).ops
    assert (op.kind, [*op.params]) == ("dense", ["kernel", "bias"])
    assert layer.weights[1].name.endswith("b")


def test_a_product_that_others_read_keeps_its_value() -> None:
    layer = Affine()
    i = Input((4,))
    model = Model(i, [layer(i), ops.relu(i)])
    z = layer(X)

    class Both(Affine):
        def call(self, x: Any) -> Any:
            product = ops.matmul(x, self.w)
            return product * (product + self.b)

    both = Sequential([Input((4,)), Both()])
    w = both.get_weights()[0]
    product = X @ w
    np.testing.assert_allclose(
        both.predict(X, verbose=0), product * (product + 1), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(model.predict(X, verbose=0)[0], z, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_kernel_of_several_axes(engine: str) -> None:
    """Of a product over axes of the kernel, one kernel serves all samples."""
    x = np.random.default_rng(1).normal(size=(6, 5, 2, 3)).astype(np.float32)
    split = layers.EinsumDense("abx,xyz->abyz", (None, 2, 3), bias_axes="yz")
    merge = layers.EinsumDense("abyz,yzu->abu", (None, 4), bias_axes="u")
    model = Sequential([Input((5, 4)), split, merge])
    model.compile("sgd", "mse", engine=engine)
    given = x.reshape(6, 5, 6)[..., :4]
    split.bias.assign(np.arange(6.0).reshape(2, 3))
    inner = np.einsum("abx,xyz->abyz", given, split.kernel.value) + split.bias.value
    expected = np.einsum("abyz,yzu->abu", inner, merge.kernel.value)
    np.testing.assert_allclose(
        model.predict(given, verbose=0), expected, rtol=1e-4, atol=1e-5
    )
    kinds = [op.kind for op in plan_of(model).ops if op.kind != "reshape"]
    assert kinds == ["dense", "dense"]


def test_as_many_as_there_are() -> None:
    for x in (X, Input((4,))):
        assert len(kurve_ops.top_k(x, 4)) == 2
        for k in (0, 5):
            with pytest.raises(ValueError, match=r"^\[top_k\] k must be from 1 to 4"):
                kurve_ops.top_k(x, k)


class Own(layers.Layer):
    """activation(x @ kernel + bias), written out."""

    def __init__(self, activation: Any) -> None:
        super().__init__()
        self.activation = activation

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight((shape[-1], 5), name="kernel")
        self.bias = self.add_weight((5,), "zeros", name="bias")

    def call(self, x: Any) -> Any:
        return self.activation(kurve_ops.matmul(x, self.kernel) + self.bias)


ACTIVATIONS: dict[str, tuple[Any, Any]] = {
    "relu": (kurve_ops.relu, "relu"),
    "relu, as a layer": (layers.Activation("relu"), "relu"),
    "tanh": (np.tanh, "tanh"),
    "swish": (lambda z: kurve_ops.sigmoid(z) * z, "swish"),
    "selu": (kurve_ops.selu, "selu"),
    "elu": (kurve_ops.elu, "elu"),
    "softsign": (lambda z: z / (abs(z) + 1.0), "softsign"),
    "gelu": (lambda z: kurve_ops.gelu(z, approximate=False), "gelu"),
    "leaky_relu": (
        lambda z: kurve_ops.leaky_relu(z, 0.3),
        layers.LeakyReLU(negative_slope=0.3),
    ),
    "elu with alpha": (lambda z: kurve_ops.elu(z, 0.5), layers.ELU(0.5)),
}


def trained(model: Sequential, engine: str) -> list[np.ndarray]:
    model.compile("adam", "mse", engine=engine)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.fit(
        X,
        X[:, : model.output_shape[-1]],
        epochs=3,
        batch_size=4,
        shuffle=False,
        verbose=0,
    )
    return [*model.get_weights(), model.predict(X, verbose=0)]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_behind_a_product_is_that_of_dense(name: str) -> None:
    own, known = ACTIVATIONS[name]
    for engine in ("native", "reference"):
        found = []
        for hidden in (Own(own), layers.Dense(5, known)):
            model = Sequential([Input((4,)), hidden, layers.Dense(1)])
            found.append(trained(model, engine))
            assert [op.kind for op in plan_of(model).ops] == ["dense", "dense"]
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_product_whose_value_is_read_keeps_it() -> None:
    i = Input((4,))
    z = layers.Dense(3, kernel_initializer="ones")(i)
    both = Model(i, [z, kurve_ops.tanh(z)])
    z_found, y_found = both.predict(X, verbose=0)
    np.testing.assert_allclose(y_found, np.tanh(z_found), rtol=1e-6)
    assert np.abs(z_found).max() > 1.0
    # A tie of maximum shares the gradient: it is no relu.
    model = Sequential([Input((4,)), Own(lambda z: kurve_ops.maximum(z, 0.0))])
    assert [op.kind for op in plan_of(model).ops] == ["dense", "map"]


def test_slopes_kept_by_the_forward_pass() -> None:
    """A formula of one value whose derivative the engine computes beside it."""

    def formula(z: Any) -> Any:
        return kurve_ops.sin(z) * kurve_ops.exp(-(z**2)) + kurve_ops.log(1.5 + z * z)

    found = []
    for engine in ("native", "reference"):
        model = Sequential([Input((4,)), Own(formula), Own(formula), layers.Dense(1)])
        found.append(trained(model, engine))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_formula_of_an_input_and_a_weight() -> None:
    """Only the weight's gradient is asked for."""

    class Scaled(layers.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight((shape[-1],), "ones", name="scale")

        def call(self, x: Any) -> Any:
            return kurve_ops.sin(x * self.scale) * kurve_ops.exp(x * self.scale)

    found = []
    for engine in ("native", "reference"):
        found.append(trained(Sequential([Input((4,)), Scaled(), Scaled()]), engine))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
