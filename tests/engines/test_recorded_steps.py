"""The torch engine on the CPU: recorded steps have the bits of those run one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers, ops
from tests.engines.images import STACKS, model_of, samples

pytest.importorskip("torch")
from kurve.engines.torch.recording import Recorder

ENGINE = "torch:cpu"
RANDOM = np.random.default_rng(1)
ROWS = 6


def sequences(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=(ROWS, *shape)).astype(np.float32)


def attention() -> tuple[Any, np.ndarray]:
    words = Input((5,))
    h = layers.Embedding(7, 4, mask_zero=True)(words)
    h = layers.LayerNormalization()(h + layers.MultiHeadAttention(2, 3)(h, h))
    y = layers.Dense(1)(layers.GlobalAveragePooling1D()(layers.Activation("gelu")(h)))
    return Model(words, y), RANDOM.integers(0, 7, (ROWS, 5)).astype(np.float32)


def recurrent() -> tuple[Any, np.ndarray]:
    x = Input((4, 3))
    h = layers.Masking()(x)
    h = layers.Bidirectional(
        layers.GRU(3, return_sequences=True, recurrent_dropout=0.2, dropout=0.1)
    )(h)
    y = layers.Dense(1)(layers.SimpleRNN(3)(h))
    rows = sequences(4, 3)
    rows[2, 1:] = 0
    return Model(x, y), rows


def turns() -> tuple[Any, np.ndarray]:
    cells = [layers.LSTMCell(3), layers.GRUCell(2, reset_after=False)]
    return Sequential([Input((4, 3)), layers.RNN(cells), layers.Dense(1)]), sequences(
        4, 3
    )


def moved() -> tuple[Any, np.ndarray]:
    x = Input((4, 3))
    sums = ops.cumsum(x, axis=1) / (1.0 + ops.sum(x**2, axis=2, keepdims=True))
    most = ops.max(x[:, ::-1], axis=1) - ops.logsumexp(x, axis=1)
    parts = [layers.Flatten()(sums), most, ops.prod(x, axis=2), 1.0 - ops.min(x, 1)]
    return Model(x, layers.Dense(1)(layers.Concatenate()(parts))), sequences(4, 3)


MODELS: dict[str, Callable[[], tuple[Any, np.ndarray]]] = {
    f.__name__: f for f in (attention, recurrent, turns, moved)
} | {
    name: lambda stack=stack: (model_of(stack, ENGINE), samples(stack, ROWS))
    for name, stack in STACKS.items()
}


def unrecorded(self: Recorder, *arguments: object) -> None:
    self.failed = True


@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def trained() -> tuple[bytes, list[float], list[Any]]:
        global RANDOM
        RANDOM = np.random.default_rng(1)
        kurve.utils.set_random_seed(4)
        model, x = MODELS[name]()
        y = np.full((ROWS, *model.output_shape[1:]), 0.5, np.float32)
        model.compile("adam", "mse", engine=ENGINE)
        losses = model.fit(x, y, batch_size=4, epochs=4, verbose=0).history["loss"]
        state, program = model._network.training_state(), model._network.program()
        (run,) = program._idle
        arrays = state.params, state.slots, state.buffers
        return b"".join(a.tobytes() for a in arrays), losses, list(run.kinds.values())

    bits, losses, steps = trained()
    assert all(step is not None for step in steps)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_note", unrecorded)
        other_bits, other_losses, steps = trained()
    assert not any(steps)
    assert losses == other_losses
    assert bits == other_bits
