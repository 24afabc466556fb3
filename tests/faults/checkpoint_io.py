"""A fit with checkpoints while the shim makes one call to the system after the other
fail, and the log of one in which none does.

    LD_PRELOAD=shim.so python -m tests.faults.checkpoint_io FOLDER [all]    prints JSON

Runs in a process of its own: see `test_checkpoint_io.py`.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kurve
from kurve import Input, Sequential, callbacks, layers, utils
from kurve.core import files
from kurve.errors import CheckpointError

X = np.linspace(-1.0, 1.0, 20)
KINDS = [(errno.EIO, 0), (errno.ENOSPC, 1), (errno.EIO, 1), (errno.ENOSPC, 0)]
"""What a call fails with, and whether a full disk stays full."""

Bits = tuple[Any, ...]


class StopAt(callbacks.Callback):
    """Ends the fit by an error after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.iterations == self.steps:
            raise InterruptedError


def fresh(seed: int = 1) -> Sequential:
    utils.set_random_seed(seed)
    model = Sequential([Input((1,)), layers.Dense(3, "tanh"), layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def fit(model: Sequential, folder: Path | None, stop: int = -1) -> Bits:
    """What a fit with a checkpoint after each of its 6 steps comes to."""
    history = model.fit(
        X,
        X**2,
        epochs=2,
        batch_size=7,
        verbose=0,
        callbacks=[StopAt(stop)],
        checkpoint=folder,
        checkpoint_freq=1,
    )
    state = model._network.state
    assert state is not None
    arrays = (state.params, state.buffers, state.slots, state.scalars)
    return (repr(history.history), *(a.tobytes() for a in arrays))


def faults(
    folder: Path,
    shim: Any,
    whole: Bits,
    prepare: Callable[[], None],
    everything: bool,
) -> dict[str, int]:
    """Fail each call of a fit that begins with what `prepare` leaves in the folder."""
    count = {"faults": 0, "ended": 0, "refused": 0}
    for error, sticky in KINDS[: None if everything else 2]:
        nth = 0
        while True:
            nth += 1
            shutil.rmtree(folder, ignore_errors=True)
            prepare()
            files._cleaned.clear()
            model = fresh(9 if folder.exists() else 1)
            caught: Exception | None = None
            where = (nth, error, sticky)
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                shim.shim_arm(nth, error, sticky, 0)
                try:
                    found = fit(model, folder)
                except (OSError, CheckpointError) as e:
                    caught = e
                reached = shim.shim_calls() >= nth
                shim.shim_arm(0, 0, 0, 0)
            for warning in warned:
                assert str(folder) in str(warning.message), where
            if caught is None:  # trained to the end, with or without checkpoints
                assert found == whole, where
            else:  # said so before the first step, and the model can be used
                assert model.iterations == 0, (where, caught)
                assert str(folder) in str(caught), where
            count["ended" if caught is None else "refused"] += 1
            # Whatever happened: the same call on a disk that is well again.
            assert fit(fresh(1 if caught else 5), folder) == whole, where
            if not reached:
                assert caught is None and not warned, where
                break
            count["faults"] += 1
    return count


def main(folder: Path, everything: bool) -> None:
    shim = ctypes.CDLL(None)
    kurve.set_engine("reference")
    whole = fit(fresh(), None)

    def midway() -> None:
        try:
            fit(fresh(), folder, stop=4)
        except InterruptedError:
            return

    counts = {
        "new": faults(folder, shim, whole, lambda: None, everything),
        "old": faults(folder, shim, whole, midway, everything),
    }
    shutil.rmtree(folder)
    folder.mkdir()
    os.environ["KURVE_SHIM_LOG"] = f"{folder}.log"
    files._cleaned.clear()
    assert fit(fresh(), folder) == whole
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["all"])
