"""Trains fixed networks on this process's instruction set and prints a hash of each.

    python -m tests.faults.golden            print
    python -m tests.faults.golden --update   write bits.json, after raising NUMERICS

Data and first weights are made of whole numbers, so that nothing but the core counts
(and the C library's `pow` in the step sizes of Adam, Nadam and Adamax).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import kurve
from kurve import Input, Sequential, _core
from kurve.engines.base import NUMERICS
from kurve.layers import Dense, Dropout, Normalization

FILE = Path(__file__).parents[1] / "golden" / "bits.json"
ROOT = Path(__file__).parents[2]
CASES: dict[str, tuple[list[tuple[int, str]], Any, str, int]] = {
    "small": ([(16, "relu"), (8, "tanh")], "adam", "mse", 8),
    "wide": ([(300, "gelu"), (130, "silu")], "nadam", "huber", 37),
    "many rows": ([(64, "sigmoid"), (64, "selu")], "rmsprop", "log_cosh", 200),
    "in parts": ([(32, "tanh"), (16, "relu")], "adam", "mse", 3001),
    "one row": ([(33, "sin"), (20, "snake")], "adamax", "mae", 1),
    "momentum": ([(48, "elu")], kurve.optimizers.SGD(0.01, 0.9, True), "mse", 32),
    "clipped": ([(40, "softplus")], kurve.optimizers.Adagrad(clipnorm=0.5), "mse", 16),
}


def whole_numbers(shape: tuple[int, ...], start: int) -> np.ndarray:
    """Multiples of 1 / 512 in [-1, 1)."""
    count = int(np.prod(shape))
    index = np.arange(start, start + count, dtype=np.int64)
    return ((index * 7919 % 1021 - 510) / np.float32(512)).reshape(shape)


def hashes() -> dict[str, str]:
    found = {}
    for name, (widths, optimizer, loss, batch) in CASES.items():
        x = whole_numbers((max(200, batch), 5), 3)
        y = x[:, 0] * x[:, 1] - x[:, 2]
        layers = [Dense(units, activation) for units, activation in widths]
        model = Sequential(
            [
                Input((5,)),
                Normalization(mean=0.125, variance=0.5),
                *layers,
                Dropout(0.25),
                Dense(1),
            ]
        )
        model._network.seed = 11
        model.compile(optimizer, loss, engine="native")
        shapes = [w.shape for w in model.get_weights()]
        model.set_weights([whole_numbers(s, 31 * i) / 8 for i, s in enumerate(shapes)])
        model.fit(x, y, batch_size=batch, epochs=3, verbose=0)
        _, state = model._network.require_built("fit")
        data = state.params.tobytes() + state.slots.tobytes()
        data += model.predict(x, verbose=0).tobytes()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def of_instruction_set(isa: str, threads: int = 1) -> dict[str, str]:
    """The hashes of a process that uses it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.golden"],
        env={**os.environ, "KURVE_ISA": isa, "KURVE_NUM_THREADS": str(threads)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    if "--update" in sys.argv:
        every = {isa: of_instruction_set(isa) for isa in _core.available_isas()}
        golden = {"numerics": NUMERICS, "hashes": every}
        FILE.write_text(json.dumps(golden, indent=1) + "\n", "utf-8")
    else:
        print(json.dumps(hashes()))
