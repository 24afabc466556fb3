"""SIGTERM and Ctrl-C during a checkpointed `fit`: a checkpoint of that instant, and the
same bits in the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kurve import Input, Sequential, callbacks, layers, saving, utils
from tests.faults.conftest import Promise
from tests.faults.test_kill import ENGINES, PROGRAM, errors, result, run_new

pytestmark = pytest.mark.alone

PATIENCE = 2.0


def started(folder: Path) -> int:
    """The newest checkpoint's number of updates; -1 before there is one."""
    found = []
    for path in folder.glob("checkpoints/checkpoint-?.kurve"):
        info, _ = saving.read_header(path)
        found.append((info["sequence"], info["step"]))
    return max(found)[1] if found else -1


@pytest.mark.parametrize("engine", ENGINES)
def test_sigterm(engine: str, tmp_path: Path, soak: bool, promise: Promise) -> None:
    draw, wanted, late, done = random.Random(3), 50 if soak else 3, 0.0, 0
    whole = tmp_path / "whole"
    whole.mkdir()
    assert run_new(120, whole, engine, "long", 1) == "0", errors(whole)
    runs = 0
    while done < wanted:
        folder = tmp_path / str(runs)
        folder.mkdir()
        steps = -1
        stopped, most = 0, 10 if soak else 3
        while True:
            before = {path.stat().st_mtime_ns for path in folder.glob("*/*.kurve")}
            process = subprocess.Popen(
                [sys.executable, PROGRAM, "run", str(folder), engine, "long", "1"]
            )
            while process.poll() is None and steps < 0 and started(folder) < 0:
                time.sleep(0.01)
            # After the first, let it load and take up what there is.
            time.sleep(draw.uniform(0.0, 0.5) + (0.6 if steps >= 0 else 0.0))
            if stopped == most:
                process.wait(120)
            if process.poll() is not None:
                break
            sent = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            status = process.wait(30)
            took = time.perf_counter() - sent
            if status in (0, -signal.SIGTERM):  # had ended, or not taken up the fit yet
                continue
            assert status == 143, errors(folder)
            assert took < PATIENCE
            after = {path.stat().st_mtime_ns for path in folder.glob("*/*.kurve")}
            assert after - before
            assert started(folder) >= max(steps, 0)
            steps, late = started(folder), max(late, took)
            stopped, done = stopped + 1, done + 1
        assert process.returncode == 0, errors(folder)
        assert result(folder) == result(whole)
        runs += 1
    promise(
        "terminate",
        f"{engine} engine: {done} of {done} with status 143 and a new checkpoint, the "
        f"slowest after {late:.2f} s; {runs} trainings ended with the same bits",
    )


SLEEPER = """
import sys, time
import numpy as np
from kurve import Sequential, Input, layers, callbacks

class Sleeper(callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        open(sys.argv[2], "w").close()
        time.sleep(60)

model = Sequential([Input((1,)), layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones(4), np.ones(4), epochs=3, verbose=0, callbacks=[Sleeper()],
          checkpoint=sys.argv[1])
"""


def test_a_callback_that_does_not_return_does_not_hold_sigterm_up(
    tmp_path: Path,
) -> None:
    asleep = tmp_path / "asleep"
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(tmp_path / "folder"), str(asleep)]
    )
    while not asleep.exists():
        assert process.poll() is None
        time.sleep(0.01)
    sent = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert time.perf_counter() - sent < PATIENCE
    info, _ = saving.read(tmp_path / "folder" / "checkpoint-0.kurve")
    assert info["cursor"]["epoch"] == 0


class Send(callbacks.Callback):
    """Sends a signal to this process at the begin or the end of a batch."""

    def __init__(self, number: int, at: int, hook: str) -> None:
        super().__init__()
        self.number, self.at, self.calls = number, at, 0
        setattr(self, hook, self._maybe)

    def _maybe(self, batch: int, logs: object = None) -> None:
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), self.number)

    def get_state(self) -> dict[str, int]:
        return {"calls": self.calls}

    def set_state(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]


X = np.linspace(-1.0, 1.0, 40)


def model_of() -> Sequential:
    utils.set_random_seed(3)
    layer = [Input((1,)), layers.Dense(8, "tanh"), layers.Dropout(0.2), layers.Dense(1)]
    model = Sequential(layer)
    model.compile("adam", "mse")
    return model


def fit(model: Sequential, *used: callbacks.Callback, **options: object) -> list[bytes]:
    model.fit(
        X,
        np.sin(3 * X),
        batch_size=7,
        epochs=4,
        verbose=0,
        validation_split=0.2,
        callbacks=used,
        **options,
    )
    return [w.tobytes() for w in model.get_weights()]


HOOKS = ["on_train_batch_begin", "on_train_batch_end", "on_test_batch_end"]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("at", [1, 3, 4])
def test_sigterm_in_a_callback_waits_for_it(
    engine: str, tmp_path: Path, hook: str, at: int
) -> None:
    whole = fit(model_of(), Send(0, -1, hook))
    with pytest.raises(SystemExit) as caught:
        fit(model_of(), Send(signal.SIGTERM, at, hook), checkpoint=tmp_path)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    infos = [saving.read_header(path)[0] for path in tmp_path.glob("*.kurve")]
    newest = max(infos, key=lambda info: info["sequence"])
    assert newest["callbacks"][0]["calls"] == at
    assert fit(model_of(), Send(0, -1, hook), checkpoint=tmp_path) == whole


def test_ctrl_c_leaves_a_checkpoint_of_a_whole_step(
    engine: str, tmp_path: Path
) -> None:
    """Also in the midst of the engine's own loop."""
    import threading

    def send() -> None:
        time.sleep(0.3)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    x = np.linspace(-1.0, 1.0, 1_000_000)
    sent: list[float] = []
    thread = threading.Thread(target=send)
    model = model_of()
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, x, batch_size=10, epochs=9, verbose=0, checkpoint=tmp_path)
    late = time.perf_counter() - sent[0]
    thread.join()
    assert late < 1.0
    infos = [saving.read_header(path)[0] for path in tmp_path.glob("*.kurve")]
    assert max(info["step"] for info in infos) == model.iterations > 0


def test_a_handler_of_the_program_is_called_and_decides(tmp_path: Path) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        whole = fit(model_of(), Send(0, -1, HOOKS[1]))
        send = Send(signal.SIGTERM, 3, HOOKS[1])
        assert fit(model_of(), send, checkpoint=tmp_path) == whole
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_ignored_sigterm_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        send = Send(signal.SIGTERM, 3, HOOKS[1])
        assert fit(model_of(), send, checkpoint=tmp_path) == fit(model_of(), send)
    finally:
        signal.signal(signal.SIGTERM, before)
