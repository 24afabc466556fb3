"""Derivatives by inputs, in formulas and of arrays, against differences and torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, ops
from kurve.formulas.graph import Graph
from kurve.gradients.segments import Segment, plan_of, state_of

RNG = np.random.default_rng(0)
X = RNG.uniform(-1.2, 1.2, (5, 3))
ENGINES = ("native", "reference")

ACTIVATIONS = (
    "linear",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "sigmoid",
    "tanh",
    "silu",
    "swish",
    "gelu",
    "softplus",
    "softsign",
    "sin",
    "snake",
    "exponential",
    "mish",
    "celu",
    "log_sigmoid",
    "squareplus",
    "tanh_shrink",
    "hard_silu",
)


def in_formula(call: Callable[[Any], Any], x: np.ndarray) -> Any:
    """What a formula gives for x, computed in float64 from a plan."""
    graph = Graph([x.shape[1:]])
    with graph.tracing():
        out = call(graph.inputs[0])
    several = out if isinstance(out, tuple) else (out,)
    plan = plan_of(graph)
    state = state_of(plan, graph.params, graph.buffers, np.float64)
    segment = Segment(plan, graph.params, graph.buffers, state, [x], False)
    found = [
        np.broadcast_to(segment.value(t.index), (len(x), *t.sample)) for t in several
    ]
    return tuple(found) if isinstance(out, tuple) else found[0]


def slope(call: Callable[[np.ndarray], Any], x: np.ndarray, column: int) -> Any:
    """The derivative along a column, by central differences."""
    step = np.zeros(x.shape[-1])
    step[column] = 1e-5
    return (np.asarray(call(x + step)) - np.asarray(call(x - step))) / 2e-5


def network(*middle: Any) -> kurve.Sequential:
    kurve.utils.set_random_seed(3)
    return kurve.Sequential([layers.Input((3,)), *middle, layers.Dense(2)])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_three_derivatives_through_each_activation(activation: str) -> None:
    hidden = [layers.Dense(6, activation), layers.Dense(4, activation)]
    model = network(*hidden)

    def along(columns: str) -> Any:
        return lambda x: in_formula(
            lambda t: ops.derivatives(model, t, [columns])[0], x
        )

    for lower, column, whole in (("", 1, "1"), ("1", 2, "12"), ("12", 1, "112")):
        expected = slope(along(lower), X, column)
        scale = 1.0 + np.abs(expected)
        assert (np.abs(along(whole)(X) - expected) / scale).max() < 1e-6
    # The way back, and the way back through the way back, are the same numbers.
    both = in_formula(lambda t: ops.jacobian(model)(t), X)
    np.testing.assert_allclose(both[:, :, 1], along("1")(X), rtol=1e-6, atol=1e-9)
    twice = in_formula(
        lambda t: ops.grad(lambda s: ops.grad(lambda r: model(r)[:, :1])(s)[:, 2])(t),
        X,
    )
    expected = along("12")(X)[:, 0]
    np.testing.assert_allclose(twice[:, 1], expected, rtol=1e-6, atol=1e-9)


def concatenated(x: Any) -> Any:
    h = ops.tanh(x)
    joined = ops.concatenate([h * x, ops.sum(x, -1, True), h[:, ::2]], axis=-1)
    return ops.mean(joined**2, axis=-1) * ops.max(joined, axis=-1)


def products(x: Any) -> Any:
    a = ops.reshape(x, (-1, 3, 1))
    outer = ops.matmul(a, ops.transpose(ops.sin(a), (0, 2, 1)))
    return ops.reshape(ops.matmul(outer, outer), (-1, 9)) + ops.cumsum(
        ops.reshape(outer, (-1, 9)), axis=-1
    )


def normalized(x: Any) -> Any:
    rows = ops.reshape(x, (-1, 3, 1)) * np.array([1.0, 2.0, -1.0, 0.5], np.float32)
    centred = rows - ops.mean(rows, axis=-1, keepdims=True)
    return ops.softmax(centred, axis=-1) + ops.logsumexp(rows, axis=-1, keepdims=True)


def pieces(x: Any) -> Any:
    y = ops.where(x > 0.3, x**3, ops.exp(x)) + ops.maximum(x, ops.sin(3.0 * x))
    return ops.stack([y, ops.flip(y, axis=1)], axis=2) * ops.pad(
        ops.reshape(x[:, :2], (-1, 1, 2)), [[0, 0], [1, 1], [0, 0]]
    )


LAYERS: dict[str, Callable[[], Any]] = {
    "layer_normalization": lambda: network(
        layers.Dense(5, "tanh"), layers.LayerNormalization(), layers.Dense(3, "softmax")
    ),
    "convolution": lambda: network(
        layers.Reshape((3, 1)),
        layers.ZeroPadding1D(2),
        layers.Conv1D(4, 3, activation="gelu", strides=2),
        layers.AveragePooling1D(2),
        layers.Flatten(),
        layers.Dense(4, "sin"),
    ),
    "rescaled": lambda: network(
        layers.Rescaling(2.0, 0.5),
        layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0]),
        layers.Dense(4, "softplus"),
        layers.Dropout(0.5),
        layers.Normalization(mean=[0.3], variance=[0.5], invert=True),
    ),
}


@pytest.mark.parametrize(
    "make",
    [
        lambda: concatenated,
        lambda: products,
        lambda: normalized,
        lambda: pieces,
        *LAYERS.values(),
    ],
    ids=["concatenated", "products", "normalized", "pieces", *LAYERS],
)
def test_both_ways_are_the_slopes(make: Any) -> None:
    """Jacobians forwards and backwards, of traced formulas and on tapes."""
    fun = make()
    expected = np.stack(
        [slope(lambda x: in_formula(fun, x), X, c) for c in range(3)], axis=-1
    )
    whole = in_formula(ops.jacobian(fun), X)
    assert whole.shape == (*in_formula(fun, X).shape, 3)
    np.testing.assert_allclose(whole, expected, atol=1e-7)
    total = in_formula(ops.grad(fun), X)
    axes = tuple(range(1, expected.ndim - 1))
    np.testing.assert_allclose(total, expected.sum(axes), atol=1e-7)
    along = in_formula(lambda t: ops.derivatives(fun, t, ["0", "1", "2"]), X)
    np.testing.assert_allclose(np.stack(along, -1), expected, atol=1e-7)
    second = in_formula(ops.hessian(fun), X)
    expected = np.stack(
        [slope(lambda x: in_formula(ops.jacobian(fun), x), X, c) for c in range(3)],
        axis=-1,
    )
    np.testing.assert_allclose(second, expected, atol=1e-6)


def test_of_arrays_as_in_formulas() -> None:
    x = X.astype(np.float32)
    np.testing.assert_allclose(
        ops.jacobian(products)(x), in_formula(ops.jacobian(products), X), atol=1e-5
    )
    np.testing.assert_allclose(
        ops.hessian(concatenated)(x),
        in_formula(ops.hessian(concatenated), X),
        atol=1e-4,
    )
    u, u_01 = ops.derivatives(concatenated, X, ["", "01"])
    np.testing.assert_allclose(u, in_formula(concatenated, X))
    np.testing.assert_allclose(u_01, in_formula(ops.hessian(concatenated), X)[:, 0, 1])
    assert ops.grad(lambda x: x**3)(2.0) == 12.0
    # By another argument, and of a number of the whole batch.
    found = ops.grad(lambda a, b: ops.sum(a * b**2), 1)(x, x + 1.0)
    np.testing.assert_allclose(found, 2.0 * x * (x + 1.0), rtol=1e-6)
    mean = in_formula(ops.grad(lambda x: ops.mean(x**2)), X)
    np.testing.assert_allclose(mean, 2.0 * X / X.size)
    assert (ops.grad(lambda x: ops.ones_like(x))(x) == 0.0).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch itself
def test_second_derivatives_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    model = network(layers.Dense(7, "gelu"), layers.Dense(5, "silu"))
    weights = [torch.from_numpy(w.astype(np.float64)) for w in model.get_weights()]

    def twin(x: Any) -> Any:
        f = (torch.nn.functional.gelu, torch.nn.functional.silu, lambda z: z)
        for k in range(3):
            x = f[k](x @ weights[2 * k] + weights[2 * k + 1])
        return x

    expected = torch.func.vmap(torch.func.hessian(twin))(torch.from_numpy(X))
    found = in_formula(ops.hessian(model), X)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


class Residual(kurve.Model):
    """u_t + u u_x - 0.1 u_xx, which is 0 where u solves Burgers' equation."""

    def __init__(self, activation: str, way: str) -> None:
        super().__init__()
        self.u = kurve.Sequential(
            [layers.Dense(6, activation), layers.Dense(6, activation), layers.Dense(1)]
        )
        self.way = way

    def call(self, x: Any) -> Any:
        if self.way == "columns":
            u, u_x, u_t, u_xx = ops.derivatives(self.u, x, ["", "0", "1", "00"])
        else:
            slopes = ops.grad(self.u)(x)
            u, u_x, u_t = self.u(x), slopes[:, :1], slopes[:, 1:]
            u_xx = ops.grad(lambda p: ops.grad(self.u)(p)[:, 0])(x)[:, :1]
        return u_t + u * u_x - 0.1 * u_xx


@pytest.mark.parametrize("activation", ["tanh", "sin", "gelu", "softplus", "swish"])
def test_training_through_derivatives(activation: str) -> None:
    """The gradient by weights, of both engines, both ways of writing, against
    differences in float64; and the same weights after steps of Adam."""
    x = RNG.uniform(-1.0, 1.0, (16, 2)).astype(np.float32)
    y = np.zeros((16, 1), np.float32)
    trained = []
    for engine in ("native", "reference"):
        for way in ("columns", "grad"):
            kurve.utils.set_random_seed(1)
            model = Residual(activation, way)
            model.compile(kurve.optimizers.Adam(0.01), "mse", engine=engine)
            model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
            trained.append(model)
    for model in trained[1:]:
        pairs = zip(model.get_weights(), trained[0].get_weights(), strict=True)
        for one, two in pairs:
            np.testing.assert_allclose(one, two, rtol=2e-4, atol=2e-5)
    model = trained[0]
    network = model._network
    plan = network.program().plan
    reference = kurve.get_engine("reference").compile(plan)
    from kurve.engines import Batches

    batches = Batches(x, y, None, None, np.array([0, 16]))
    state = network.state
    wide = type(state)(
        *(
            np.asarray(v, np.float64)
            for v in (state.params, state.buffers, state.slots, state.scalars)
        ),
        state.step,
        state.seed,
    )
    _, gradient = reference.gradient(wide, batches, 0)
    direction = np.zeros_like(gradient)
    for spec in plan.params:
        direction[spec.offset : spec.end] = RNG.normal(size=spec.size)
    losses = []
    for sign in (1.0, -1.0):
        moved = type(state)(
            wide.params + sign * 1e-5 * direction,
            wide.buffers,
            wide.slots,
            wide.scalars,
            wide.step,
            wide.seed,
        )
        losses.append(reference.gradient(moved, batches, 0)[0])
    assert abs((losses[0] - losses[1]) / 2e-5 - gradient @ direction) < 1e-7


def test_refusals_say_what_to_do() -> None:
    class Wrong(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.wide = layers.UpSampling1D(2)

        def call(self, x: Any) -> Any:
            return ops.grad(lambda x: self.wide(ops.reshape(x, (-1, 3, 1))))(x)

    with pytest.raises(NotImplementedError, match="operation 'upsample' by its inputs"):
        Wrong()(X.astype(np.float32))
    with pytest.raises(ValueError, match=r"columns must be from 0 to 2.*'3'"):
        ops.derivatives(concatenated, X, ["3"])
    with pytest.raises(ValueError, match=r"x must be \(B, n\)"):
        ops.derivatives(concatenated, X[0], ["0"])
    with pytest.raises(TypeError, match="must be a list with one entry"):
        ops.derivatives(concatenated, X, "0")
    with pytest.raises(TypeError, match="must be a function, a layer or a model"):
        ops.grad(3)
    with pytest.raises(TypeError, match="must be floating-point"):
        ops.grad(lambda x: x)(np.arange(3))
    with pytest.raises(TypeError, match="must return one tensor"):
        ops.grad(lambda x: (x, x))(X)
    with pytest.raises(ValueError, match="must have the batch axis"):
        ops.jacobian(lambda x: ops.sum(x))(X)
    with pytest.raises(TypeError, match="argnums must be the index"):
        ops.hessian(concatenated, argnums="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an argument 1 to differentiate"):
        ops.grad(concatenated, argnums=1)(X)
    with pytest.raises(TypeError, match="not weights"):
        ops.grad(lambda w: w)(
            (layers.Dense(1)(X[:1]) and None) or kurve.Variable([1.0])
        )
    with pytest.raises(TypeError, match="symbolic tensors cannot be differentiated"):
        ops.grad(concatenated)(kurve.Input((3,)))


class Oscillator(kurve.Model):
    """u'' + 2 d u' + k u, whose weights d and k are in a formula of several values."""

    def __init__(self) -> None:
        super().__init__()
        self.u = kurve.Sequential([layers.Dense(5, "sin"), layers.Dense(1)])
        self.equation = Equation()

    def call(self, t: Any) -> Any:
        return self.equation(*ops.derivatives(self.u, t, ["", "0", "00"]))


class Equation(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.d = self.add_weight((1,), "ones", name="d")
        self.k = self.add_weight((1,), "ones", name="k")

    def call(self, u: Any, u_t: Any, u_tt: Any) -> Any:
        return u_tt + 2.0 * self.d * u_t + self.k * u


def test_each_method_trains_residuals() -> None:
    """The engines' Jacobians agree, and Levenberg and Marquardt find the constants."""
    t = np.linspace(0.0, 2.0, 40, dtype=np.float32)[:, None]
    kurve.utils.set_random_seed(2)
    model = Oscillator()
    model.build((None, 1))
    plan, state = model._network.plan, model._network.state
    assert plan is not None
    found = [kurve.get_engine(e).compile(plan).jacobian(state, t) for e in ENGINES]
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)
    target = np.exp(-t)  # of which residuals there are many, so that all can fit
    losses = {}
    for name in ("adam", "lbfgs", "levenberg_marquardt"):
        kurve.utils.set_random_seed(2)
        model = Oscillator()
        model.build((None, 1))
        model.compile(kurve.optimizers.Adam(0.01), "mse")
        before = model.evaluate(t, target, verbose=0)
        if name == "adam":
            model.fit(t, target, batch_size=40, epochs=100, verbose=0)
        else:
            getattr(kurve.solvers, name)(model, t, target, max_iterations=30)
        losses[name] = model.evaluate(t, target, verbose=0) / before
    assert losses["adam"] < 0.5
    assert losses["lbfgs"] < 0.05
    assert losses["levenberg_marquardt"] < 1e-4


def test_bits_do_not_depend_on_threads() -> None:
    x = RNG.uniform(-1.0, 1.0, (900, 2)).astype(np.float32)
    found, before = [], kurve.get_threads()
    try:
        for count in (1, 2, 3):
            kurve.set_threads(count)
            kurve.utils.set_random_seed(1)
            model = Residual("tanh", "columns")
            model.compile("adam", "mse")
            model.fit(x, np.zeros((900, 1)), batch_size=450, epochs=2, verbose=0)
            found.append([*model.get_weights(), model.predict(x, verbose=0)])
            alone = model.predict(x[7:8], verbose=0)
            assert alone.tobytes() == found[-1][-1][7:8].tobytes()
    finally:
        kurve.set_threads(before)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one.tobytes() == two.tobytes()
