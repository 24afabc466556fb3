"""Callbacks against Keras's: when they act, and what the logs show."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables import dense
from test_fit import Fit, assert_equal_histories, pair, run
from twins import TOLERANCES, Case, call, keras, make

import kurve

RTOL = TOLERANCES["float32"]
FAST = call("optimizers.SGD", learning_rate=0.5, momentum=0.9)
# The validation loss falls, with jumps.
BUMPY = Fit(
    Case([dense(8, "tanh"), dense(2)], "mse", FAST),
    metrics=["mae", call("metrics.R2Score")],
    given={"validation_split": 0.3, "epochs": 14},
)


def halve(epoch: int, rate: float) -> float:
    return rate * 0.5 if epoch % 2 else rate


def by_epoch(epoch: int) -> float:
    return 0.3 / (epoch + 1.0)


def stopping(**arguments: Any) -> Any:
    return call("callbacks.EarlyStopping", **arguments)


def reducing(**arguments: Any) -> Any:
    return call("callbacks.ReduceLROnPlateau", **arguments)


CALLBACKS = {
    "stop": [stopping()],
    "stop, patience": [stopping(patience=2)],
    "stop, best weights": [stopping(patience=3, restore_best_weights=True)],
    "best weights at the end": [stopping(patience=50, restore_best_weights=True)],
    "stop, min_delta": [stopping(patience=1, min_delta=0.05)],
    "stop, baseline": [stopping(patience=3, baseline=0.2)],
    "stop, late": [stopping(patience=0, start_from_epoch=6)],
    "stop, max": [stopping(monitor="val_r2_score", mode="max", patience=2)],
    "stop, auto": [stopping(monitor="val_r2_score", patience=2)],
    "stop, training mae": [stopping(monitor="mae", patience=1)],
    "reduce": [reducing(patience=1)],
    "reduce, half": [reducing(factor=0.5, patience=2, cooldown=1)],
    "reduce, floor": [reducing(factor=0.1, patience=1, min_lr=0.02)],
    "reduce, min_delta": [reducing(factor=0.7, patience=1, min_delta=0.1)],
    "reduce, mae": [reducing(monitor="mae", factor=0.7, patience=1)],
    "reduce and stop": [reducing(factor=0.3, patience=1), stopping(patience=4)],
    "schedule of the rate": [call("callbacks.LearningRateScheduler", schedule=halve)],
    "schedule of the epoch": [
        call("callbacks.LearningRateScheduler", schedule=by_epoch)
    ],
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_callback(name: str, engine: str) -> None:
    """The epoch at which training stops, the learning rates, the final weights."""
    ours, theirs = pair(BUMPY, engine)
    mine, other = make(kurve, CALLBACKS[name]), make(keras, CALLBACKS[name])
    histories = run(BUMPY, ours, callbacks=mine), run(BUMPY, theirs, callbacks=other)
    assert_equal_histories(*histories)
    for first, second in zip(mine, other, strict=True):
        if hasattr(second, "stopped_epoch"):
            assert first.stopped_epoch == second.stopped_epoch
    for w, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.abs(w - expected).max() <= RTOL * np.abs(expected).max()


def test_the_cases_act() -> None:
    """Every stopping callback stops, at various epochs, and every reduction of the rate
    happens: no case above passes because nothing happens."""
    ends, rates = {}, {}
    for name, described in CALLBACKS.items():
        model, _ = pair(BUMPY, "reference")
        history = run(BUMPY, model, callbacks=make(kurve, described)).history
        ends[name] = len(history["loss"])
        rates[name] = len(set(history.get("learning_rate", [])))
    assert all(ends[n] < 14 for n in CALLBACKS if n.startswith("stop"))
    assert len({ends[n] for n in CALLBACKS if n.startswith("stop")}) >= 4
    assert all(rates[n] > 1 for n in CALLBACKS if n.startswith(("reduce", "schedule")))


def test_schedule_of_the_optimizer_in_the_logs(engine: str) -> None:
    """A schedule's rate is that of the next update."""
    schedule = call(
        "optimizers.schedules.ExponentialDecay",
        initial_learning_rate=0.1,
        decay_steps=5,
        decay_rate=0.8,
    )
    optimizer = call("optimizers.SGD", learning_rate=schedule)
    fit = Fit(Case([dense(8, "tanh"), dense(2)], "mse", optimizer))

    for library, model in zip((kurve, keras), pair(fit, engine), strict=True):
        run(fit, model)
        rate = model.optimizer.learning_rate
        if library is kurve:
            rate = model.optimizer.current_learning_rate(model.iterations)
        assert float(rate) == pytest.approx(0.1 * 0.8 ** (16 / 5), rel=1e-6)


HOOKS = [
    f"on_{what}_{when}"
    for what in ("train", "epoch", "test", "train_batch")
    for when in ("begin", "end")
]


def recorder(library: Any, seen: list[Any]) -> Any:
    """A callback of `library` that records each call and the names in its logs."""

    def hook(name: str) -> Any:
        def record(self: Any, *arguments: Any, logs: Any = None) -> None:
            numbers = [a for a in arguments if isinstance(a, int)]
            logs = next((a for a in arguments if isinstance(a, dict)), logs)
            seen.append((name, numbers, sorted(logs or {})))

        return record

    made = type("Recorder", (library.callbacks.Callback,), {h: hook(h) for h in HOOKS})
    return made()


def test_order_of_the_hooks(engine: str) -> None:
    """Which hook is called when, with which indices, and with which names in its
    logs."""
    traces = []
    for library, model in zip((kurve, keras), pair(BUMPY, engine), strict=True):
        seen: list[Any] = []
        run(BUMPY, model, epochs=2, callbacks=[recorder(library, seen)])
        traces.append(seen)
    ours, theirs = traces
    assert [call[:2] for call in ours] == [call[:2] for call in theirs]
    named = ("on_epoch_end", "on_train_batch_end", "on_test_end")
    assert [c for c in ours if c[0] in named] == [c for c in theirs if c[0] in named]


def test_params_and_model(engine: str) -> None:
    """The content of a callback's `self.params`."""
    params = []
    for library, model in zip((kurve, keras), pair(BUMPY, engine), strict=True):
        callback = recorder(library, [])
        run(BUMPY, model, epochs=2, callbacks=[callback])
        assert callback.model is model
        params.append(callback.params)
    assert params[0] == params[1]


def test_csv_logger(tmp_path: Path, engine: str) -> None:
    """The same header and the same numbers."""
    tables = []
    for library, model in zip((kurve, keras), pair(BUMPY, engine), strict=True):
        path = tmp_path / f"{library.__name__}.csv"
        run(BUMPY, model, epochs=3, callbacks=[library.callbacks.CSVLogger(str(path))])
        with path.open(newline="") as file:
            tables.append(list(csv.reader(file)))
    ours, theirs = tables
    assert ours[0] == theirs[0]
    np.testing.assert_allclose(
        np.array(ours[1:], float), np.array(theirs[1:], float), RTOL
    )


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_the_average_in_the_place_of_the_weights(swap_on_epoch: bool) -> None:
    """Validation, evaluation, what callbacks see at the ends of epochs, and the end."""
    random = np.random.default_rng(4)
    x = random.normal(size=(96, 3)).astype(np.float32)
    y = x.sum(axis=1, keepdims=True) ** 2
    start = [random.normal(size=(3, 1)).astype(np.float32), np.zeros(1, np.float32)]
    found: list[Any] = []
    for library in (kurve, keras):
        model = library.Sequential([library.Input((3,)), library.layers.Dense(1)])
        optimizer = library.optimizers.SGD(0.02, use_ema=True, ema_momentum=0.8)
        model.compile(optimizer, "mse")
        model.set_weights(start)
        swap = library.callbacks.SwapEMAWeights(swap_on_epoch)
        seen: list[np.ndarray] = []
        watch = library.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, model=model, seen=seen: seen.append(
                np.asarray(model.get_weights()[0])
            )
        )
        history = model.fit(
            x,
            y,
            epochs=3,
            batch_size=16,
            shuffle=False,
            verbose=0,
            validation_data=(x, y),
            callbacks=[swap, watch],
        ).history
        after = [np.asarray(w) for w in model.get_weights()]
        losses = [*history["loss"], *history["val_loss"]]
        losses.append(model.evaluate(x, y, verbose=0))
        found.append((losses, *seen, *after))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)
