"""Determinism: results that must be equal to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

import kurve
from kurve import Sequential
from kurve.layers import Dense, Dropout, FourierFeatures, Layer
from tests.engines.cases import compiled

X = np.random.default_rng(1).normal(size=(203, 3)).astype(np.float32)
Y = np.sin(X.sum(axis=1))


def network() -> list[Layer]:
    return [Dense(70, "gelu"), Dropout(0.2), Dense(33, "relu"), Dense(1)]


def waves() -> list[Layer]:
    features = FourierFeatures(35, scale=0.5, trainable=True)
    return [features, Dense(33, "snake"), Dense(20, "sin"), Dense(1)]


def trained(
    engine: str,
    seed: int = 5,
    layers: Callable[[], list[Layer]] = network,
    **options: object,
) -> Sequential:
    model = compiled(engine, layers(), optimizer="adam", seed=seed)
    model.fit(X, Y, **{"verbose": 0, "epochs": 3, **options})
    return model


def bits(model: Sequential) -> bytes:
    """Weights and optimizer, byte for byte."""
    state = model._network.state
    assert state is not None
    return state.params.tobytes() + state.slots.tobytes()


@pytest.fixture
def threads() -> Iterator[None]:
    before = kurve.get_threads()
    yield
    kurve.set_threads(before)


def test_a_repeated_run(engine: str) -> None:
    assert bits(trained(engine)) == bits(trained(engine))
    assert bits(trained(engine)) != bits(trained(engine, seed=6))


@pytest.mark.usefixtures("native", "threads")
@pytest.mark.parametrize("layers", [network, waves])
@pytest.mark.parametrize("batch_size", [1, 7, 32, 203])
def test_one_thread_or_several(
    batch_size: int, layers: Callable[[], list[Layer]]
) -> None:
    runs = []
    for number in (1, 2, 4):
        kurve.set_threads(number)
        assert kurve.get_threads() == number
        model = trained("native", batch_size=batch_size, layers=layers)
        runs.append((bits(model), model.predict(X, verbose=0).tobytes()))
    assert all(a == b for a, b in pairwise(runs))


@pytest.mark.parametrize("layers", [network, waves])
@pytest.mark.parametrize("batch_size", [1, 2, 31, 32, 203, 1000])
def test_a_row_in_any_batch_of_a_prediction(
    engine: str, batch_size: int, layers: Callable[[], list[Layer]]
) -> None:
    model = trained(engine, epochs=1, layers=layers)
    whole = model.predict(X, verbose=0)
    assert model.predict(X, batch_size=batch_size, verbose=1).tobytes() == (
        whole.tobytes()
    )
    parts = [
        model.predict_on_batch(X[i : i + batch_size])
        for i in range(0, len(X), batch_size)
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_callbacks_and_progress_bar_do_not_change_the_run(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Batch hooks split an epoch into several calls of the engine."""

    class EveryBatch(kurve.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None: ...

    plain = trained(engine)
    watched = trained(engine, callbacks=[EveryBatch()], verbose=1)
    assert bits(watched) == bits(plain)
    assert watched.history.history == plain.history.history
    assert "loss" in capsys.readouterr().out


def test_epochs_in_one_fit_or_in_two(engine: str) -> None:
    """A second fit continues where the first stopped: order of rows, dropout, Adam."""
    model = trained(engine, epochs=1)
    model.fit(X, Y, epochs=3, initial_epoch=1, verbose=0)
    assert bits(model) == bits(trained(engine))
