"""Programs that end while a thread computes.

usage: python -m tests.faults.ending CALL TRIES

Each is a child of its own, forked before any thread has begun, and ends as programs
do: at the end, by sys.exit, by an error. Prints a list: how it ended, its status.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

import kurve
from kurve import Input, Sequential
from kurve.core import rng
from kurve.layers import Dense
from kurve.solvers import curve_fit, lbfgs, levenberg_marquardt

X = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
Y = np.sin(X.sum(axis=1))
ENDLESS = 10**6


def network(width: int) -> Sequential:
    layers = [Dense(width, "tanh"), Dense(width, "relu"), Dense(1)]
    model = Sequential([Input((16,)), *layers])
    model.compile("adam", "mse")
    model.build()
    return model


def _curve(t: np.ndarray, a: float, b: float) -> np.ndarray:
    return a * np.exp(-b * t)


small, wide = network(8), network(200)
several = kurve.ensemble(wide, 3)
seconds = np.linspace(0.0, 4.0, 50)
CALLS: dict[str, Callable[[], Any]] = {
    "fit": lambda: wide.fit(X, Y, epochs=ENDLESS, verbose=0),
    "fit of small steps": lambda: small.fit(X[:64], Y[:64], epochs=ENDLESS, verbose=0),
    "predict": lambda: wide.predict(X, verbose=0),
    "predict of one row": lambda: small.predict(X[:1], verbose=0),
    "evaluate": lambda: wide.evaluate(X, Y, verbose=0),
    "train_on_batch": lambda: small.train_on_batch(X[:20], Y[:20]),
    "lbfgs": lambda: lbfgs(wide, X, Y, max_iterations=ENDLESS),
    "levenberg_marquardt": lambda: levenberg_marquardt(small, X, Y),
    "curve_fit": lambda: curve_fit(_curve, seconds, _curve(seconds, 3.0, 2.0)),
    "ensemble": lambda: several.fit(X, Y, epochs=ENDLESS, verbose=0),
    "Regressor": lambda: kurve.Regressor((64,), max_epochs=ENDLESS).fit(X, Y),
    "permutation": lambda: rng.permutation(1, 2, 10**6),
    "permutation of few": lambda: rng.permutation(1, 2, 10),
}


def _error() -> NoReturn:
    raise RuntimeError("the program ends by an error")


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


# How a program ends, and its status.
ENDS: dict[str, tuple[Callable[[], Any], int]] = {
    "end": (lambda: None, 0),
    "exit": (lambda: sys.exit(3), 3),
    "error": (_error, 1),
    "interrupt": (_interrupt, -2),
}


def child(call: Callable[[], Any], delay: float) -> None:
    """A program whose thread computes for ever."""
    started = threading.Event()

    def compute() -> None:
        started.set()
        while True:
            call()

    threading.Thread(target=compute, daemon=True).start()
    started.wait()
    time.sleep(delay)


def import_all() -> None:
    """Import what is imported when it is first needed, and start no thread: an `exec`,
    which makes data classes, hides an interrupt in another thread."""
    few = slice(0, 40)
    kurve.Regressor((2,), max_epochs=1, engine="reference").fit(X[few], Y[few])
    curve_fit(_curve, seconds, _curve(seconds, 3.0, 2.0))


def main(name: str, tries: int) -> None:
    import_all()
    instants, statuses = random.Random(name), []
    for i in range(tries):
        how, delay = list(ENDS)[i % len(ENDS)], instants.uniform(0.0, 0.04)
        pid = os.fork()
        if pid == 0:
            child(CALLS[name], delay)
            ENDS[how][0]()
            return
        _, status = os.waitpid(pid, 0)
        statuses.append((how, os.waitstatus_to_exitcode(status)))
    print(json.dumps(statuses))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
