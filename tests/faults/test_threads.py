"""Threads that share a model, and processes forked from one."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential
from kurve.callbacks import LambdaCallback
from kurve.errors import ModelBusyError
from kurve.layers import Dense
from kurve.solvers import lbfgs
from tests.faults.conftest import Promise

X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
Y = np.sin(X.sum(axis=1))
ENDLESS = 10**9


def network(width: int = 64) -> Sequential:
    model = Sequential([Input((4,)), Dense(width, "relu"), Dense(width), Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    return model


def test_eight_threads_predict(native: str, soak: bool, promise: Promise) -> None:
    kurve.set_engine(native)
    model, calls = network(), 1000 if soak else 150
    right, wrong = model.predict(X, verbose=0), []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(calls):
            first, last = np.sort(random.choice(len(X) + 1, 2, replace=False))
            try:
                y = model.predict(X[first:last], verbose=0)
                if y.tobytes() != right[first:last].tobytes():
                    wrong.append("other bits")
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    promise("predict", f"8 threads x {calls:,} calls: 0 errors, 0 wrong bits")


def test_a_model_that_is_being_trained_is_left_alone(
    native: str, promise: Promise, tmp_path: Path
) -> None:
    """Everything that would train, change or read it from another thread is refused,
    and the fit ends with the bits that it would have had."""
    kurve.set_engine(native)
    model = network()
    twin, model = model, copy.deepcopy(model)
    began, stop, weights = threading.Event(), threading.Event(), model.get_weights()
    model.save_weights(path := tmp_path / "m.weights.kurve")

    def end(epoch: int, logs: Any) -> None:
        began.set()
        if stop.is_set():
            model.stop_training = True

    def work() -> None:
        watcher = LambdaCallback(on_epoch_end=end)
        model.fit(X, Y, epochs=ENDLESS, verbose=0, callbacks=[watcher])

    calls: dict[str, Callable[[], Any]] = {
        "fit": lambda: model.fit(X, Y, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X, Y),
        "compile": lambda: model.compile("sgd", "mse"),
        "add": lambda: model.add(Dense(1)),
        "pop": lambda: model.pop(),
        "set_weights": lambda: model.set_weights(weights),
        "load_weights": lambda: model.load_weights(path),
        "predict": lambda: model.predict(X, verbose=0),
        "evaluate": lambda: model.evaluate(X, Y, verbose=0),
        "save": lambda: model.save(tmp_path / "m.kurve"),
        "get_weights": lambda: model.get_weights(),
        "lbfgs": lambda: lbfgs(model, X, Y),
    }
    thread = threading.Thread(target=work)
    thread.start()
    latest = 0.0
    try:
        assert began.wait(10)
        for name, call in calls.items():
            start = time.perf_counter()
            with pytest.raises(ModelBusyError) as caught:
                call()
            latest = max(latest, time.perf_counter() - start)
            assert str(caught.value) == (
                f"[{name}] the model is being changed by another thread. Received: "
                f"{name} during fit. Try again when that has returned, or a copy for "
                "each thread: copy.deepcopy(model)."
            )
    finally:
        stop.set()
        thread.join()
    epochs = (model.iterations - twin.iterations) // 10
    twin.fit(X, Y, epochs=epochs, verbose=0)
    for mine, others in zip(model.get_weights(), twin.get_weights(), strict=True):
        assert mine.tobytes() == others.tobytes()
    model.predict(X, verbose=0)
    model.compile("sgd", "mse")
    promise(
        "fit-twice",
        f"{len(calls)} of {len(calls)} calls ({', '.join(calls)}) refused, the latest "
        f"after {1000 * latest:.0f} ms; the fit goes on with its bits",
    )


def test_a_callback_reads_its_model_and_trains_it_not(engine: str) -> None:
    model, seen = network(8), []

    def look(epoch: int, logs: Any) -> None:
        seen.append(model.predict(X[:1], verbose=0))
        with pytest.raises(ModelBusyError, match=r"fit from a callback of fit\. Try"):
            model.fit(X, Y, verbose=0)
        with pytest.raises(ModelBusyError, match=r"^\[compile\] "):
            model.compile("sgd", "mse")
        model.set_weights(model.get_weights())

    model.fit(X, Y, epochs=2, verbose=0, callbacks=[LambdaCallback(look)])
    assert len(seen) == 2
    with pytest.raises(ZeroDivisionError):
        model.fit(
            X, Y, verbose=0, callbacks=[LambdaCallback(lambda epoch, logs: 1 // 0)]
        )
    model.fit(X, Y, verbose=0)  # the error has set it free


def test_a_long_predict_lets_other_threads_run(native: str) -> None:
    kurve.set_engine(native)
    model, x = network(1000), np.tile(X, (100, 1))
    counted = 0
    thread = threading.Thread(target=model.predict, args=(x,), kwargs={"verbose": 0})
    thread.start()
    while thread.is_alive():
        counted += 1
        time.sleep(0.001)
    assert counted > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_children_train_and_predict(
    native: str, soak: bool, promise: Promise
) -> None:
    """After a fit, and (every other child) while a thread is within another fit."""
    kurve.set_engine(native)
    model, count = network(200), 100 if soak else 10
    busy, stop = network(), threading.Event()
    twin = copy.deepcopy(model)
    twin.fit(X, Y, verbose=0)
    right = b"".join(w.tobytes() for w in twin.get_weights())
    watcher = LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(busy, "stop_training", stop.is_set())
    )
    thread = threading.Thread(
        target=busy.fit,
        args=(X, Y),
        kwargs={"epochs": ENDLESS, "verbose": 0, "callbacks": [watcher]},
    )
    slowest = 0.0
    try:
        for number in range(count):
            if number == count // 2:
                thread.start()
            start = time.monotonic()
            if (child := os.fork()) == 0:
                status = 1
                try:
                    mine = copy.deepcopy(model)
                    mine.fit(X, Y, verbose=0)
                    mine.predict(X, verbose=0)
                    got = b"".join(w.tobytes() for w in mine.get_weights())
                    status = 0 if got == right else 2
                finally:
                    os._exit(status)
            while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
                assert time.monotonic() < start + 5, "the child hangs"
                time.sleep(0.002)
            assert done[1] == 0
            slowest = max(slowest, time.monotonic() - start)
    finally:
        stop.set()
        if thread.ident:
            thread.join()
    promise(
        "fork",
        f"{count} of {count} children end with the right bits, half of them forked "
        f"during another thread's fit; slowest {slowest:.2f} s",
    )
