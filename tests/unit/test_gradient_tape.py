"""Gradient tapes: against finite differences, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import GradientTape, layers, losses, ops

RNG = np.random.default_rng(0)
A = RNG.uniform(0.2, 0.9, (4, 3))
B = RNG.uniform(0.2, 0.9, (3, 2))
P = A / A.sum(axis=1, keepdims=True)

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "operators": lambda x: (2.0 * x - 1.0 / x) ** 2 + x @ B.sum(axis=1) @ np.ones(4),
    "numpy's": lambda x: np.exp(x) * np.sin(x) + np.maximum(x, 0.5),
    "in place": lambda x: _in_place(x),
    "methods": lambda x: x.sum(axis=1) * x.mean() + x.reshape(3, 4).T[0, 1] + x.max(),
    "slices": lambda x: x[0] * x[1:3] + x[..., -1:][:1],
    "index arrays": lambda x: x[np.arange(4), np.array([0, 2, 2, 1])] ** 2,
    "a mask": lambda x: x[np.asarray(x) > 0.5] * 3.0,
    "rows": lambda x: sum(row[0] * row[1] for row in x),
    "products": lambda x: ops.matmul(x, B) + ops.einsum("ij,jk->ik", x, B),
    "joined": lambda x: ops.concatenate([x, x * x], axis=0) * ops.stack([x, x])[0, 0],
    "reductions": lambda x: (
        ops.var(x, axis=0) + ops.logsumexp(x, axis=0) + ops.prod(x, axis=0)
    ),
    "softmax": lambda x: ops.softmax(x) * ops.log_softmax(x, axis=0),
    "where": lambda x: ops.where(x > 0.5, x * x, ops.sqrt(x)),
    "taken": lambda x: ops.take(x, np.array([2, 0]), axis=0) * ops.flip(x[:2], 1),
    "moved": lambda x: ops.transpose(ops.pad(x, ((1, 0), (0, 2)))) ** 3,
    "repeated": lambda x: ops.repeat(x, 2, axis=0) * ops.tile(x, (2, 1)),
    "norm": lambda x: ops.norm(x, axis=1) + ops.cumsum(x, axis=1)[:, 1],
    "clipped": lambda x: ops.clip(x, 0.3, 0.8) * ops.stop_gradient(x),
    "one hot": lambda x: ops.one_hot(np.array([0, 2, 1, 1]), 3) * x,
    "a loss": lambda x: losses.MeanSquaredError()(A[::-1], x),
    "a loss of rows": lambda x: losses.mean_squared_error(A[::-1], x),
    "a formula": lambda x: losses.KLDivergence()(P[::-1], x / ops.sum(x, 1, True)),
    "classes": lambda x: losses.SparseCategoricalCrossentropy(from_logits=True)(
        [0, 2, 1, 1], x, sample_weight=[1.0, 0.5, 2.0, 0.0]
    ),
    "densities": lambda x: losses.GaussianNLL()(A[:, :1], x[:, :2]),
    "quantiles": lambda x: losses.Pinball((0.1, 0.5, 0.9))(A[:, :1] + 0.01, x),
}


def _in_place(x: Any) -> Any:
    total = x * 1.0
    total += x * x
    total *= 2.0
    total /= x + 1.0
    return total


def value(function: Callable[[Any], Any], array: np.ndarray) -> tuple[float, Any]:
    x = ops.convert_to_tensor(array)
    with GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        total = ops.sum(y)
    return float(total), tape.gradient(total, x)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_functions(name: str) -> None:
    function, direction = FUNCTIONS[name], RNG.normal(size=A.shape)
    _, slope = value(function, A)
    step = 1e-6
    if name == "clipped":  # stop_gradient: what stands in it is a constant

        def function(x: Any) -> Any:
            return ops.clip(x, 0.3, 0.8) * A

    high = value(function, A + step * direction)[0]
    low = value(function, A - step * direction)[0]
    expected = (high - low) / (2 * step)
    assert float(np.sum(slope * direction)) == pytest.approx(expected, 1e-5, 1e-7)
    plain = function(A) if name not in ("rows", "in place", "methods") else None
    if plain is not None and "loss" not in name:
        taped = value(function, A)[0]
        assert taped == pytest.approx(float(np.sum(np.asarray(plain))), rel=1e-5)


def test_values_stay_what_they_are() -> None:
    x = ops.convert_to_tensor(A)
    with GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(x * 2.0)
        assert type(y.numpy()) is np.float64 and type((x * 1.0).numpy()) is np.ndarray
        assert f"{y:.2f}" == f"{2 * A.sum():.2f}" and bool(y > 0.0)
        unfollowed = np.asarray(x) * 3.0
        assert tape.gradient(ops.sum(unfollowed), x) is None
    assert np.allclose(x + 1.0, A + 1.0) and np.allclose(np.add(A, x), 2.0 * A)
    assert int(ops.argmax(x)) == int(np.argmax(A))


def test_a_source_that_is_not_used() -> None:
    x, z = ops.convert_to_tensor(A), ops.convert_to_tensor(B)
    with GradientTape() as tape:
        tape.watch([x, z])
        y = ops.sum(x)
    found = tape.gradient(y, {"x": x, "z": z}, unconnected_gradients="zero")
    assert (found["x"] == 1.0).all() and (found["z"] == 0.0).all()
    assert found["z"].shape == B.shape


def test_persistent_tapes_and_output_gradients() -> None:
    x = ops.convert_to_tensor(A)
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x
        z = y * y
    assert np.allclose(tape.gradient(z, x), 4.0 * A**3)
    assert np.allclose(tape.gradient(y, x, output_gradients=2.0 * A), 4.0 * A**2)
    assert np.allclose(tape.gradient(z, y), 2.0 * A**2)
    assert np.allclose(tape.gradient([y, z], x), 2.0 * A + 4.0 * A**3)
    tape.reset()
    assert tape.gradient(y, x) is None


def test_jacobian() -> None:
    x = ops.convert_to_tensor(A[0])
    with GradientTape() as tape:
        tape.watch(x)
        y = ops.matmul(ops.reshape(x, (1, 3)), B)[0]
    assert np.allclose(tape.jacobian(y, x), B.T)


def test_only_what_is_watched() -> None:
    layer = layers.Dense(2)
    layer.build((None, 3))
    kernel, _ = layer.trainable_weights
    with GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(kernel)
        y = ops.sum(layer(A))
        with tape.stop_recording():
            z = ops.sum(layer(A))
    assert getattr(z, "key", None) is None
    assert tape.watched_variables() == (kernel,)
    found = tape.gradient([y, z], [kernel])
    assert np.allclose(found[0], A.sum(axis=0)[:, None].repeat(2, axis=1), rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_model_has_the_engines_gradient(training: bool) -> None:
    from kurve.engines import Batches

    kurve.utils.set_random_seed(3)
    model = kurve.Sequential(
        [
            kurve.Input((6, 6, 1)),
            layers.Conv2D(3, 3, activation="tanh", kernel_regularizer="l2"),
            layers.BatchNormalization() if training else layers.Rescaling(0.5),
            layers.Flatten(),
            layers.Dense(4, "softmax", activity_regularizer=kurve.regularizers.L2(0.1)),
        ]
    )
    model.compile("sgd", "categorical_crossentropy")
    x = RNG.normal(size=(8, 6, 6, 1)).astype("float32")
    y = np.eye(4, dtype="float32")[RNG.integers(0, 4, 8)]
    state, program = model._network.training_state(), model._network.program()
    batches = Batches(x, y, None, None, np.array([0, 8]))
    expected, gradient = program.gradient(state, batches, 0)
    watched = ops.convert_to_tensor(x)
    with GradientTape(persistent=True) as tape:
        tape.watch(watched)
        loss = losses.CategoricalCrossentropy()(y, model(watched, training=training))
        loss = loss + sum(model.losses)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    found = tape.gradient(loss, model.trainable_weights)
    for part, spec in zip(found, model._network.plan.params, strict=True):
        want = gradient[spec.offset : spec.end].reshape(spec.shape)
        assert np.allclose(part, want, atol=1e-5), spec.name
    assert tape.gradient(loss, watched).shape == x.shape


@pytest.mark.parametrize(
    "activation", ["tanh", "silu", "gelu", "softplus", "sigmoid", "elu", "selu", "sin"]
)
def test_gradients_of_gradients(activation: str) -> None:
    kurve.utils.set_random_seed(1)
    model = kurve.Sequential(
        [
            kurve.Input((3,)),
            layers.Dense(5, activation),
            layers.LayerNormalization(),
            layers.Dense(4, "softmax"),
            layers.Dense(1),
        ]
    )
    before = [w.astype("float64") for w in model.get_weights()]
    direction = [RNG.normal(size=w.shape) for w in before]

    def slope_squared() -> Any:
        x = ops.convert_to_tensor(A, "float32")
        with GradientTape() as inner:
            inner.watch(x)
            y = model(x)
        return ops.sum(ops.square(inner.gradient(y, x)))

    with GradientTape() as tape:
        total = slope_squared()
    found = tape.gradient(total, model.trainable_weights, unconnected_gradients="zero")
    got = sum(
        float(np.sum(np.asarray(g) * d)) for g, d in zip(found, direction, strict=True)
    )

    def at(step: float) -> float:
        pairs = zip(before, direction, strict=True)
        model.set_weights([w + step * d for w, d in pairs])
        with GradientTape():
            return float(slope_squared())

    assert got == pytest.approx((at(2e-3) - at(-2e-3)) / 4e-3, rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_sources_that_are_outputs_of_the_same_model(
    training: bool, dropout: float
) -> None:
    """As in Grad-CAM: the rest of the model is between the two outputs."""
    kurve.utils.set_random_seed(3)
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype(np.float32)
    entry = kurve.Input((6, 6, 2))
    maps = layers.Conv2D(4, 3, activation="tanh")(entry)
    rest = kurve.Sequential(
        [kurve.Input((4, 4, 4)), layers.Flatten(), layers.Dense(3, "softmax")]
    )
    before = layers.Dropout(dropout)(maps)
    model = kurve.Model(entry, [before, rest(before)])
    with GradientTape(persistent=True) as tape:
        found, scores = model(x, training=training)
        loss = ops.sum(scores[:, 1]) + ops.sum(found**2)
    slopes, weights = tape.gradient(loss, [found, model.trainable_weights])
    again = ops.convert_to_tensor(np.array(found))
    with GradientTape() as tape:
        tape.watch(again)
        loss = ops.sum(rest(again)[:, 1]) + ops.sum(again**2)
    np.testing.assert_allclose(slopes, tape.gradient(loss, again), rtol=1e-5, atol=1e-6)
    assert [w.shape for w in weights] == [w.shape for w in model.trainable_weights]
    kernel = model.trainable_weights[0]
    if not training:
        rows = kernel.numpy()
        unit = np.random.default_rng(1).normal(size=rows.shape)
        values = []
        for step in (1e-2, -1e-2):
            kernel.assign(rows + step * unit)
            found, scores = model(x)
            values.append(np.sum(scores[:, 1]) + np.sum(np.square(found)))
        expected = (values[0] - values[1]) / 2e-2
        assert np.sum(unit * weights[0]) == pytest.approx(expected, rel=1e-2)


def test_variables_as_inputs_of_models_and_layers() -> None:
    """An image that is itself learned."""
    layer = layers.Dense(2, kernel_initializer="ones")
    model = kurve.Sequential([kurve.Input((3,)), layer])
    x = kurve.Variable(np.ones((2, 3), np.float32))
    for call in (layer, model):
        with GradientTape() as tape:
            y = ops.sum(call(x) ** 2)
        np.testing.assert_allclose(tape.gradient(y, x), np.full((2, 3), 12.0))


def test_batch_jacobian() -> None:
    x = ops.convert_to_tensor(np.arange(6.0, dtype=np.float32).reshape(3, 2))
    with GradientTape() as tape:
        tape.watch(x)
        y = ops.stack([x[:, 0] * x[:, 1], x[:, 0] ** 2, x[:, 1]], 1)
    found = tape.batch_jacobian(y, x)
    a, b = np.asarray(x).T
    zero, one = np.zeros(3), np.ones(3)
    expected = [[b, a], [2 * a, zero], [zero, one]]
    np.testing.assert_allclose(found, np.moveaxis(np.array(expected), -1, 0))
    with pytest.raises(RuntimeError, match="only once"):
        tape.batch_jacobian(y, x)
    with GradientTape() as tape:
        tape.watch(x)
        y = x[:2] * 1.0
    with pytest.raises(ValueError, match="same number of samples"):
        tape.batch_jacobian(y, x)


SECOND: dict[str, tuple[Callable[[Any], Any], float]] = {
    "x x x": (lambda x: x * x * x, 9.0),
    "(x x) (x x)": (lambda x: (x * x) * (x * x), 27.0),
    "2 x x": (lambda x: 2.0 * x * x, 4.0),
    "x exp(x)": (lambda x: ops.exp(x) * x, 3.5 * np.exp(1.5)),
    "x square(x)": (lambda x: ops.square(x) * x, 9.0),
    "sin(x) / x": (
        lambda x: ops.sin(x) / x,
        float(2 * np.sin(1.5) / 1.5**3 - 2 * np.cos(1.5) / 1.5**2 - np.sin(1.5) / 1.5),
    ),
}


@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize("kind", ["variable", "value"])
def test_second_derivatives_of_products(name: str, kind: str) -> None:
    """Of a variable too, which operations read in several places."""
    function, expected = SECOND[name]
    x: Any = kurve.Variable(1.5) if kind == "variable" else ops.convert_to_tensor(1.5)
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = function(x)
        slope = inner.gradient(y, x)
    assert float(outer.gradient(slope, x)) == pytest.approx(expected, rel=1e-5)


def test_third_derivatives() -> None:
    x = ops.convert_to_tensor(np.array(0.5))
    with GradientTape() as a:
        a.watch(x)
        with GradientTape() as b:
            b.watch(x)
            with GradientTape() as c:
                c.watch(x)
                y = ops.sin(x * 2.0)
            first = c.gradient(y, x)
        second = b.gradient(first, x)
    assert float(first) == pytest.approx(2 * np.cos(1.0))
    assert float(second) == pytest.approx(-4 * np.sin(1.0))
    assert float(a.gradient(second, x)) == pytest.approx(-8 * np.cos(1.0))


def refused(kind: str) -> None:
    x = ops.convert_to_tensor(A)
    layer = layers.Dense(1)
    with GradientTape() as tape:
        tape.watch(x)
        loss = ops.sum(layer(x))
        if kind == "assigned":
            loss_of_rows = x * 1.0
            loss_of_rows[0] = 1.0
        if kind == "pooled twice":
            image = ops.convert_to_tensor(RNG.normal(size=(1, 4, 4, 1)))
            tape.watch(image)
            with GradientTape() as inner:
                inner.watch(image)
                y = ops.sum(layers.MaxPooling2D()(image) ** 2)
            loss = ops.sum(inner.gradient(y, image) ** 2) + loss
    if kind == "twice":
        tape.gradient(loss, x)
    if kind == "arrays":
        tape.watch(A)
    if kind == "whole numbers":
        tape.watch(ops.convert_to_tensor([1, 2]))
    if kind == "sources":
        tape.gradient(loss, [A])
    if kind == "unconnected":
        tape.gradient(loss, x, unconnected_gradients="nan")
    if kind == "outputs":
        tape.gradient([loss], x, output_gradients=[loss, loss])
    if kind == "pooled twice":
        tape.gradient(loss, image)
    found = tape.gradient(loss, layer.trainable_weights)
    optimizer = kurve.optimizers.SGD(0.1)
    if kind == "fewer":
        optimizer.apply(found[:1], layer.trainable_weights)
    if kind == "shapes":
        optimizer.apply([found[0], found[0]], layer.trainable_weights)
    if kind == "none":
        optimizer.apply([None, None], layer.trainable_weights)
    if kind == "no variables":
        optimizer.apply(found)
    if kind == "no such variable":
        optimizer.apply(found, layer.trainable_weights)
        other = layers.Dense(1)
        other.build((None, 3))
        optimizer.apply(found, other.trainable_weights)
    if kind == "infinite":
        optimizer.apply([found[0] * np.inf, found[1]], layer.trainable_weights)


@pytest.mark.parametrize(
    "kind",
    [
        "assigned",
        "pooled twice",
        "twice",
        "arrays",
        "whole numbers",
        "sources",
        "unconnected",
        "outputs",
        "fewer",
        "shapes",
        "none",
        "no variables",
        "no such variable",
        "infinite",
    ],
)
def test_refusals_say_what_to_do(kind: str) -> None:
    with pytest.raises(
        (
            TypeError,
            ValueError,
            RuntimeError,
            NotImplementedError,
            kurve.errors.NonFiniteError,
        )
    ) as caught:
        refused(kind)
    text = str(caught.value)
    if kind == "infinite":
        assert "the gradient of dense" in text
    else:
        assert text.startswith("[") and "Received: " in text and "Try " in text


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "RMSprop", "Nadam", "Lion", "Muon", "Adafactor", "Lamb"]
)
def test_apply_is_the_step_of_fit(name: str) -> None:
    kurve.utils.set_random_seed(2)
    one = kurve.Sequential(
        [kurve.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)]
    )
    two = one.clone()
    two.set_weights(one.get_weights())
    make = getattr(kurve.optimizers, name)
    arguments = {"learning_rate": 0.01, "global_clipnorm": 0.5, "use_ema": True}
    optimizer = make(**arguments)
    x, y = A.astype("float32"), A.sum(axis=1, keepdims=True)
    two.compile(make(**arguments), "mse")
    two.fit(x, y, epochs=3, batch_size=4, shuffle=False, verbose=0)
    for _ in range(3):
        with GradientTape() as tape:
            loss = ops.mean((one(x, training=True) - y.astype("float32")) ** 2)
        found = tape.gradient(loss, one.trainable_weights)
        optimizer.apply_gradients(zip(found, one.trainable_weights, strict=True))
    optimizer.finalize_variable_values(one.trainable_weights)
    assert optimizer.iterations == two.optimizer.iterations == 3
    assert len(optimizer.variables) == len(two.optimizer.variables)
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_a_variable_without_a_gradient_stays() -> None:
    layer = layers.Dense(1)
    layer.build((None, 3))
    kernel, bias = layer.trainable_weights
    optimizer = kurve.optimizers.Adam(0.1)
    optimizer.build([kernel, bias])
    with pytest.warns(UserWarning, match="without a gradient are not"):
        optimizer.apply([np.ones((3, 1)), None], [kernel, bias])
    assert (bias.numpy() == 0.0).all() and optimizer.iterations == 1
    optimizer.apply([np.ones(1)], [bias])
    assert (bias.numpy() < 0.0).all() and optimizer.iterations == 2


def test_variables_are_counted_up_and_down() -> None:
    layer = layers.Dense(1)
    layer.build((None, 1))
    bias = layer.bias if hasattr(layer, "bias") else layer.trainable_weights[1]
    bias.assign(np.array([1.0]))
    bias.assign_add(np.array([2.0]))
    bias.assign_sub([0.5])
    assert bias.numpy() == 2.5


def test_variables_of_ones_own() -> None:
    w, b = kurve.Variable(np.zeros(3)), kurve.Variable(0.0, name="offset")
    optimizer = kurve.optimizers.SGD(0.3)
    target = A @ [1.0, -2.0, 0.5] + 3.0
    for _ in range(800):
        with GradientTape() as tape:
            loss = ops.mean((ops.sum(A * w, axis=1) + b - target) ** 2)
        optimizer.apply(tape.gradient(loss, [w, b]), [w, b])
    assert float(loss) < 1e-3 and float(np.exp(b)) == pytest.approx(np.exp(float(b)))
    frozen = kurve.Variable("ones", shape=(2,), trainable=False)
    with GradientTape() as tape:
        loss = ops.sum(frozen * 2.0) + b
    assert tape.gradient(loss, [frozen, b])[0] is None
    with pytest.raises(ValueError, match=r"\[Variable\] an initializer needs a shape"):
        kurve.Variable("ones")

    class Scale(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.factor = kurve.Variable(2.0)

        def call(self, x: Any) -> Any:
            return x * self.factor

    model = kurve.Sequential([kurve.Input((3,)), Scale()])
    model.compile(kurve.optimizers.SGD(0.3), "mse")
    model.fit(A, 4.0 * A, epochs=60, verbose=0)
    (factor,) = model.trainable_weights
    assert float(factor) == pytest.approx(4.0, abs=1e-3)


@pytest.mark.parametrize("training", [False, True])
def test_models_of_models_outputs_stay_on_the_engine(
    monkeypatch: pytest.MonkeyPatch, training: bool
) -> None:
    """The gradient by the inputs of a model, too, comes from the engine, and is that of
    the reference engine."""
    pytest.importorskip("kurve._core")
    z = np.random.default_rng(3).normal(size=(9, 4)).astype(np.float32)

    def gradients(engine: str) -> list[np.ndarray]:
        kurve.utils.set_random_seed(4)
        generator = kurve.Sequential(
            [
                kurve.Input((4,)),
                layers.Dense(32, "relu"),
                layers.Reshape((4, 4, 2)),
                layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
                layers.LayerNormalization(),
            ]
        )
        x = kurve.Input((8, 8, 3))
        h = layers.Conv2D(4, 3, strides=2, padding="same", activation="leaky_relu")(x)
        h = layers.Dense(3, "swish")(layers.GlobalAveragePooling2D()(h))
        critic = kurve.Model(x, [layers.Dense(2, "tanh")(h), layers.Dense(1)(h)])
        for model in (generator, critic):
            model.compile("sgd", engine=engine)
        with GradientTape() as tape:
            one, two = critic(generator(z, training=training), training=training)
            loss = ops.mean(ops.softplus(two)) + ops.sum(one[:, 0] * one[:, 1])
        weights = [*generator.trainable_weights, *critic.trainable_weights]
        return tape.gradient(loss, weights)

    expected = gradients("reference")
    run = kurve.gradients.segments.forward

    def forward(plan: Any, *args: Any) -> Any:
        assert not any(op.kind in ("conv", "conv_transpose") for op in plan.ops)
        return run(plan, *args)

    monkeypatch.setattr("kurve.gradients.segments.forward", forward)
    for found, known in zip(gradients("native"), expected, strict=True):
        np.testing.assert_allclose(found, known, atol=2e-6, rtol=2e-5)


def test_a_function_is_traced_once_but_never_repeats_what_changes() -> None:
    """Traces of functions are kept for arguments that are alike."""
    x = ops.convert_to_tensor(np.linspace(0.1, 1.0, 8, dtype=np.float32))
    other = ops.convert_to_tensor(np.linspace(-1.0, 2.0, 8, dtype=np.float32))
    for value, power in ((x, 2.0), (other, 2.0), (x, 3.0), (other, 3.0)):
        with GradientTape() as tape:
            tape.watch(value)
            y = ops.sum(ops.power(value, power) * ops.sum(value * value))
        array, total = np.asarray(value), np.sum(np.square(value))
        expected = power * array ** (power - 1) * total
        expected = expected + 2.0 * array * np.sum(array**power)
        np.testing.assert_allclose(tape.gradient(y, value), expected, rtol=2e-5)
    first, second = kurve.Variable(np.full(8, 2.0)), kurve.Variable(np.full(8, 3.0))
    for variable, expected in ((first, 4.0), (second, 6.0), (first, 4.0)):
        with GradientTape() as tape:
            y = ops.sum(ops.multiply(variable, variable))
        np.testing.assert_allclose(tape.gradient(y, variable), np.full(8, expected))
    # What is drawn, and what an array of whole numbers says, is new in each call.
    masks = set()
    for _ in range(4):
        with GradientTape() as tape:
            tape.watch(x)
            y = ops.sum(kurve.random.dropout(x, 0.5))
        masks.add(np.asarray(tape.gradient(y, x)).tobytes())
    assert len(masks) > 1
    for rows in ([0, 1], [2, 2]):
        with GradientTape() as tape:
            tape.watch(x)
            y = ops.sum(ops.take(x, np.array(rows)))
        wanted = np.bincount(rows, minlength=8)
        np.testing.assert_array_equal(tape.gradient(y, x), wanted)
    # A loss of the user may use anything; that of the library keeps its settings.
    scale = [1.0]

    class Scaled(kurve.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return ops.mean(scale[0] * (y_true - y_pred), axis=-1)

    y_true = np.zeros((8, 1), np.float32)
    p = ops.reshape(x, (8, 1))
    own, huber = Scaled(), kurve.losses.Huber(delta=0.01)
    slopes = []
    for factor in (1.0, 5.0):
        scale[0] = factor
        huber.delta = factor * 0.01
        for loss in (own, huber):
            with GradientTape() as tape:
                tape.watch(p)
                value = loss(y_true, p)
            slopes.append(np.abs(tape.gradient(value, p)).sum())
    np.testing.assert_allclose(slopes, [1.0, 0.01, 5.0, 0.05], rtol=1e-4)
