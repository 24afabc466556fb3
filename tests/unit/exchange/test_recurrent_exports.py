"""Recurrent layers in ONNX and in C, with what ONNX's own nodes lack: masks, states of
all steps, and other activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers
from tests.unit.exchange.test_c_graphs import predicted, pytestmark

runtime = pytest.importorskip("onnxruntime", reason="pip install 'kurve[onnx]'")
pytest.importorskip("onnx", reason="pip install 'kurve[onnx]'")
assert pytestmark  # C files need a compiler

RNG = np.random.default_rng(6)
X = RNG.normal(size=(9, 5, 3)).astype(np.float32)
X[RNG.random((9, 5)) < 0.4] = 0.0
X[0] = 0.0  # wholly masked


def masked() -> Any:
    x = kurve.Input((5, 3))
    return kurve.Model(x, layers.LSTM(4)(layers.Masking()(x)))


def states() -> Any:
    x = kurve.Input((5, 3))
    gru = layers.GRU(4, return_sequences=True, return_state=True, go_backwards=True)
    return kurve.Model(x, gru(layers.Masking()(x)))


def encoder() -> Any:
    x = kurve.Input((5, 3))
    _, h, c = layers.LSTM(4, return_state=True, recurrent_dropout=0.2)(x)
    decoder = layers.LSTM(4, return_sequences=True)
    return kurve.Model(x, decoder(x, initial_state=[h, c]))


def stack() -> Any:
    return kurve.Sequential(
        [
            layers.Input((5, 3)),
            layers.LSTM(4, activation="silu", return_sequences=True, dropout=0.1),
            layers.GRU(3, reset_after=False),
            layers.Dense(2),
        ]
    )


def both_ways() -> Any:
    return kurve.Sequential(
        [
            layers.Input((5, 3)),
            layers.Masking(),
            layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(2)),
        ]
    )


def cells() -> Any:
    x = kurve.Input((5, 3))
    both = layers.StackedRNNCells([layers.LSTMCell(2), layers.GRUCell(3)])
    y = layers.RNN(both, return_sequences=True)(layers.Masking()(x))
    return kurve.Model(x, layers.RNN(layers.LSTMCell(2))(y))


MODELS: list[Callable[[], Any]] = [masked, states, encoder, stack, both_ways, cells]


@pytest.fixture(params=MODELS, ids=lambda make: str(make.__name__))
def model(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.set_weights([0.5 * RNG.normal(size=w.shape) for w in made.get_weights()])
    return made


def expected(model: Any) -> list[np.ndarray]:
    found = model.predict(X, verbose=0)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def test_onnx(model: Any, tmp_path: Path) -> None:
    model.export(tmp_path / "m.onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    session = runtime.InferenceSession(tmp_path / "m.onnx", options, providers)
    found = session.run(None, {session.get_inputs()[0].name: X})
    for y, wanted in zip(found, expected(model), strict=True):
        np.testing.assert_allclose(y, wanted, 1e-5, 1e-6)


def test_c(model: Any, tmp_path: Path) -> None:
    wanted = np.hstack([y.reshape(len(X), -1) for y in expected(model)])
    found = predicted(model, [X], wanted.shape, tmp_path)
    np.testing.assert_allclose(found, wanted, 1e-5, 1e-6)


def test_onnx_keeps_its_nodes(tmp_path: Path) -> None:
    """A layer that a node computes is not unrolled."""
    import onnx

    kurve.Sequential([layers.Input((50, 3)), layers.LSTM(4)]).export(
        tmp_path / "m.onnx"
    )
    nodes = onnx.load(tmp_path / "m.onnx").graph.node
    assert len(nodes) < 10 and "LSTM" in {node.op_type for node in nodes}
