"""Batches that the native engine computes in parts, beside the reference engine, which
computes them whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers, ops

ROWS = 5003


def stack() -> Model:
    return Sequential(
        [
            Input((4,)),
            layers.Dense(24, "tanh", kernel_regularizer="l2"),
            layers.Dropout(0.3),
            layers.Dense(24, "gelu"),
            layers.Dense(1),
        ]
    )


def two_heads() -> Model:
    x = Input((4,))
    shared = layers.Dense(16, "relu")
    h = layers.Add()([shared(x), shared(layers.Dense(4, "tanh")(x))])
    return Model(x, [layers.Dense(1, name="a")(h), layers.Dense(2, name="b")(h)])


def residual() -> Model:
    class Residual(Model):
        def __init__(self) -> None:
            super().__init__()
            self.u = Sequential([layers.Dense(20, "tanh"), layers.Dense(1)])

        def call(self, x: Any) -> Any:
            u, u_x, u_xx = ops.derivatives(self.u, x, ["", "0", "00"])
            return u_xx + u * u_x

    return Residual()


def normalized() -> Model:
    """Its rows influence each other: it is not divided."""
    return Sequential([Input((4,)), layers.BatchNormalization(), layers.Dense(1)])


def recurrent() -> Model:
    """Parts of 16 sequences."""
    return Sequential(
        [
            Input((6, 4)),
            layers.Masking(0.0),
            layers.LSTM(12, dropout=0.2, recurrent_dropout=0.2),
            layers.Dense(1),
        ]
    )


def attention() -> Model:
    """Samples so large that parts have four."""
    x = Input((4,))
    h = layers.Reshape((160, 4))(layers.Dense(640, "tanh")(x))
    h = layers.MultiHeadAttention(3, 4, dropout=0.2)(h, h)
    return Model(x, layers.Dense(1)(layers.GlobalMaxPooling1D()(h)))


CASES: dict[str, tuple[Callable[[], Model], dict[str, Any]]] = {
    "stack": (stack, {"loss": "mse", "metrics": ["mae"], "weighted_metrics": ["mse"]}),
    "two_heads": (two_heads, {"loss": ["mse", "huber"], "loss_weights": [1.0, 0.3]}),
    "residual": (residual, {"loss": "mse"}),
    "normalized": (normalized, {"loss": "mse"}),
    "recurrent": (recurrent, {"loss": "mse", "metrics": ["mae"]}),
    "attention": (attention, {"loss": "mse"}),
}
SIZES = {"recurrent": (107, 38), "attention": (26, 11)}
"""Rows and rows of a batch."""


@pytest.fixture
def threads() -> Iterator[None]:
    before = kurve.get_threads()
    yield
    kurve.set_threads(before)


def trained(
    name: str, engine: str, batch: int, weighted: bool = False, steps: int = 4
) -> tuple[list[np.ndarray], dict[str, list[float]]]:
    make, options = CASES[name]
    random = np.random.default_rng(0)
    rows, _ = SIZES.get(name, (ROWS, 0))
    shape = (rows, 6, 4) if name == "recurrent" else (rows, 4)
    x = random.normal(size=shape).astype(np.float32)
    y: Any = np.sin(x.reshape(rows, -1).sum(1, keepdims=True)).astype(np.float32)
    if name == "recurrent":
        x[3::7, 2:] = 0.0
    if name == "two_heads":
        y = [y, np.concatenate([y, y**2], 1)]
    kurve.utils.set_random_seed(3)
    model = make()
    model.build((None, *shape[1:]))
    model.compile("adam", engine=engine, **options)
    weight = random.uniform(0.0, 2.0, rows).astype(np.float32) if weighted else None
    history = model.fit(
        x, y, batch_size=batch, epochs=steps, sample_weight=weight, verbose=0
    )
    return model.get_weights(), history.history


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("whole", [True, False])
def test_parts_equal_the_whole(name: str, weighted: bool, whole: bool) -> None:
    if weighted and name == "two_heads":
        weighted = False
    batch = SIZES.get(name, (ROWS, 2500))[0 if whole else 1]
    native, native_history = trained(name, "native", batch, weighted)
    reference, reference_history = trained(name, "reference", batch, weighted)
    for one, other in zip(native, reference, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)
    assert native_history.keys() == reference_history.keys()
    for key, values in native_history.items():
        np.testing.assert_allclose(values, reference_history[key], rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_parts_have_the_same_bits_for_any_number_of_threads(
    name: str, threads: None
) -> None:
    found = set()
    for count in (1, 2, 3):
        kurve.set_threads(count)
        weights, history = trained(name, "native", SIZES.get(name, (ROWS,))[0])
        found.add(b"".join(w.tobytes() for w in weights) + str(history).encode())
    assert len(found) == 1


def test_a_part_that_is_not_finite_leaves_the_model_as_it_was() -> None:
    model = stack()
    model.compile("sgd", "mse")
    x, y = np.zeros((ROWS, 4), np.float32), np.zeros((ROWS, 1), np.float32)
    before = [w.copy() for w in model.get_weights()]
    model.layers[-1].set_weights([np.full((24, 1), 3e38), np.full(1, 3e38)])
    before[-2:] = model.layers[-1].get_weights()
    y[-1] = -3e38
    with pytest.raises(kurve.errors.NonFiniteError):
        model.fit(x, y, batch_size=ROWS, verbose=0)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
