"""Sums of many terms: the rounding error must not grow with their number."""

from __future__ import annotations

import numpy as np
import pytest

from kurve import Input, Sequential, losses, optimizers, regularizers
from kurve.layers import (
    Activation,
    AveragePooling1D,
    AveragePooling2D,
    BatchNormalization,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    Layer,
    LayerNormalization,
    MaxPooling1D,
    MaxPooling2D,
    Reshape,
    UpSampling1D,
)
from tests.engines.cases import one_batch

LIMIT = 2e-6
"""The largest relative error of a sum of positive terms of any length."""

TENTH = np.float32(0.1)
MANY = 10**6


def model_of(
    engine: str, *layers: Layer, loss: object = "mse", **options
) -> Sequential:
    model = Sequential(list(layers))
    model.compile(options.pop("optimizer", "sgd"), loss, engine=engine, **options)
    return model


def gradients(model: Sequential, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of one step with all rows as its batch, (P,)."""
    program, state = model._network.program(), model._network.training_state()
    return program.gradient(state, one_batch(x, y, None), 0)[1].astype(np.float64)


def near(given: object, exact: object, limit: float = LIMIT) -> None:
    given, exact = np.asarray(given, np.float64), np.asarray(exact, np.float64)
    error = np.abs(given - exact).max() / np.abs(exact).max()
    assert error < limit, f"relative error {error:.1e}"


@pytest.mark.parametrize("channels", [1, 3, 17])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (GlobalAveragePooling1D(), (300_000,)),
        (GlobalAveragePooling2D(), (700, 512)),
        (AveragePooling1D(20_000, 10_000), (60_000,)),
        (AveragePooling2D(140, 70, padding="same"), (300, 280)),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, Layer) else "",
)
def test_means_of_pixels(
    engine: str, layer: Layer, shape: tuple[int, ...], channels: int
) -> None:
    if engine == "reference" and isinstance(
        layer, (AveragePooling1D, AveragePooling2D)
    ):
        pytest.skip("the reference engine keeps every window")
    shape = (*shape, channels)
    model = model_of(engine, Input(shape), type(layer).from_config(layer.get_config()))
    near(model.predict(np.full((2, *shape), TENTH), verbose=0), TENTH, 3e-7)
    x = np.random.default_rng(0).uniform(0.1, 1, (1, *shape)).astype(np.float32)
    means = model.predict(x, verbose=0).astype(np.float64)
    if means.size == channels:
        near(
            means.ravel(), x.reshape(-1, channels).mean(axis=0, dtype=np.float64), 3e-7
        )


@pytest.mark.parametrize(
    ("layer", "length", "each"),
    [
        (AveragePooling1D(2000, 1), 4000, 1 / 2001),
        (MaxPooling1D(2000, 1), 4000, 1.0),
        (UpSampling1D(100_000), 3, 1 / 3),
    ],
    ids=["average", "largest", "upsampling"],
)
def test_gradients_of_pixels(
    engine: str, layer: Layer, length: int, each: float
) -> None:
    """Each output adds 1 / outputs, or a fraction of it, to the pixel in the middle."""
    model = model_of(
        engine,
        Input((length, 1)),
        Dense(1, use_bias=False, kernel_initializer="ones"),
        type(layer).from_config(layer.get_config()),
        loss="mae",
    )
    x = np.zeros((1, length, 1), np.float32)
    x[0, length // 2] = 1.0
    y = np.full((1, *model.output_shape[1:]), -10.0, np.float32)
    middle = gradients(model, x, y)[0]
    if isinstance(layer, MaxPooling1D):
        each = float(np.mean(model.predict(x, verbose=0)))
    near(middle, each)


def test_gradients_of_biases(engine: str) -> None:
    """Each row adds 1 / rows."""
    x, y = np.zeros((MANY, 1), np.float32), np.full((MANY, 3), -1.0, np.float32)
    model = model_of(engine, Input((1,)), Dense(3), loss="mae")
    near(gradients(model, x, y)[16:19], 1 / 3)
    model = model_of(engine, Input((MANY, 1)), Conv1D(3, 2, padding="same"), loss="mae")
    bias = model._network.training_state().params.size - 16
    near(gradients(model, x[None], y[None])[bias : bias + 3], 1 / 3)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("classes", [1000, MANY])
def test_classes(engine: str, classes: int, from_logits: bool) -> None:
    g = np.random.default_rng(0)
    logits = g.uniform(0, 1, (2, classes)).astype(np.float32)
    powers = np.exp(logits.astype(np.float64))
    shares = powers / powers.sum(axis=-1, keepdims=True)
    soft = model_of(engine, Input((classes,)), Activation("softmax"))
    near(soft.predict(logits, verbose=0), shares)
    x = logits if from_logits else powers.astype(np.float32)
    y = np.array([3, classes - 1])
    loss = losses.SparseCategoricalCrossentropy(from_logits)
    model = model_of(engine, Input((classes,)), Activation("linear"), loss=loss)
    exact = -np.log(np.maximum(shares[[0, 1], y], 1e-7)).mean()
    near(model.evaluate(x, y, verbose=0), exact)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh"])
def test_losses_over_rows_and_outputs(engine: str, loss: str) -> None:
    y = np.random.default_rng(0).uniform(0.1, 0.9, (MANY, 1)).astype(np.float32)
    wanted = losses.as_loss(loss)(y.astype(np.float64), np.zeros(y.shape))
    model = model_of(engine, Input((1,)), Activation("linear"), loss=loss)
    model.compile("sgd", loss, metrics=[loss, "rmse"], engine=engine)
    for batch in (1000, MANY):
        given = model.evaluate(0 * y, y, batch_size=batch, verbose=0)
        near(given[:2], wanted)
        near(given[2], np.sqrt(np.mean(y.astype(np.float64) ** 2)))
    model = model_of(engine, Input((MANY,)), Activation("linear"), loss=loss)
    near(model.evaluate(0 * y.T, y.T, verbose=0), wanted)


def test_penalties_and_lengths_of_gradients(engine: str) -> None:
    model = model_of(
        engine,
        Input((1000,)),
        Dense(
            1000,
            use_bias=False,
            kernel_initializer="zeros",
            kernel_regularizer=regularizers.L1L2(1.0, 1.0),
        ),
        optimizer=optimizers.SGD(1.0, global_clipnorm=1.0),
    )
    w = np.random.default_rng(0).uniform(0.1, 1, (1000, 1000)).astype(np.float32)
    exact = w.astype(np.float64)
    model.set_weights([w])
    zeros = np.zeros((1, 1000), np.float32)
    near(model.evaluate(zeros, zeros, verbose=0), exact.sum() + (exact**2).sum())
    model.fit(zeros, zeros, verbose=0)
    step = 1 + 2 * exact
    step /= np.sqrt((step**2).sum())
    moved = exact - model.get_weights()[0]
    assert np.abs(moved - step).max() < 1e-7  # the spacing of weights
    assert np.sqrt((moved**2).sum()) == pytest.approx(1.0, rel=1e-6)


def test_moments(engine: str) -> None:
    x = np.random.default_rng(0).uniform(0.1, 1, (MANY, 2)).astype(np.float32)
    model = model_of(engine, Input((2,)), BatchNormalization(momentum=0.0))
    model.fit(x, x, batch_size=MANY, verbose=0)
    mean, variance = model.get_weights()[2:]
    near(mean, x.mean(axis=0, dtype=np.float64), 3e-7)
    near(variance, x.astype(np.float64).var(axis=0), 3e-7)
    row = x[None, :, 0]
    model = model_of(engine, Input((MANY,)), LayerNormalization(epsilon=1e-6))
    exact = row.astype(np.float64)
    exact = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-6)
    near(model.predict(row, verbose=0), exact)


def test_the_gradients_of_scales_and_offsets(engine: str) -> None:
    x = np.random.default_rng(0).uniform(0.1, 1, (MANY, 1)).astype(np.float32)
    y = np.full((MANY, 1), -10.0, np.float32)
    model = model_of(
        engine, Input((1,)), BatchNormalization(trainable=True), loss="mae"
    )
    beta = gradients(model, x, y)[16]
    near(beta, 1.0)
    model = model_of(
        engine, Input((MANY, 1)), Reshape((MANY, 1)), LayerNormalization(), loss="mae"
    )
    near(gradients(model, x[None], y[None])[16], 1.0)


CHAINED = 1e-5
"""The same for matrix products, which add up to some hundred terms in float32; those of
the reference engine are NumPy's, with longer chains."""


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("units", [1, 2, 40])
def test_products_over_many_rows_or_inputs(units: int) -> None:
    engine = "native"
    x = np.full((MANY, 3), TENTH)
    y = np.full((MANY, units), -1.0, np.float32)
    kernel = Dense(units, use_bias=False, kernel_initializer="zeros")
    model = model_of(engine, Input((3,)), kernel, loss="mae")
    near(gradients(model, x, y)[: 3 * units], TENTH / units, CHAINED)
    kernel = Dense(units, use_bias=False, kernel_initializer="ones")
    model = model_of(engine, Input((100_000,)), kernel)
    exact = 1e5 * np.float64(TENTH)
    for rows in (1, 5):
        row = np.full((rows, 100_000), TENTH)
        near(model.predict(row, verbose=0), exact, CHAINED)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv1D(2, 1, strides=2), (200_000, 1)),
        (Conv1D(2, 3, groups=2), (100_000, 2)),
        (Conv2D(20, 3), (300, 300, 2)),
        (Conv2D(4, 3, dilation_rate=2), (300, 300, 2)),
        (DepthwiseConv2D(3), (300, 300, 3)),
        (Conv2DTranspose(2, 3), (300, 300, 3)),
        ([Conv2D(20, 3), MaxPooling2D()], (300, 300, 2)),
        ([Conv2D(20, 3), MaxPooling2D()], (100, 100, 3)),
    ],
    ids=lambda case: case if isinstance(case, str) else None,
)
def test_gradients_of_filters(
    layer: Layer | list[Layer], shape: tuple[int, ...]
) -> None:
    """Every output, or every maximum, adds 1 / outputs times the pixels of its
    window."""
    layers = [type(k).from_config(k.get_config()) for k in np.atleast_1d(layer)]
    model = model_of("native", Input(shape), *layers, loss="mae")
    x = np.full((8, *shape), TENTH)
    y = np.full((8, *model.output_shape[1:]), -100.0, np.float32)
    given = gradients(model, x, y)
    size = layers[0].get_weights()[0].size
    exact = np.float64(TENTH) / model.output_shape[-1]
    if isinstance(layer, Conv2DTranspose):
        exact *= (300 / 302) ** 2
    near(given[:size], exact, CHAINED)
