"""Ctrl-C ends a long call soon, after a whole number of steps."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

from kurve.engines.native import NativeEngine
from tests.native.plans import article, batches_of, copy_of, state_of


@pytest.mark.parametrize("delay", [0.05, 0.11, 0.26])
def test_ctrl_c_leaves_a_whole_step_state(delay):
    plan = article()
    state, batches = state_of(plan), batches_of(plan, 200_000, 20)
    start, totals = copy_of(state), np.zeros(plan.totals_size)
    program = NativeEngine().compile(plan)
    sent: list[float] = []

    def send() -> None:
        time.sleep(delay)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        program.train(state, batches, 0, batches.steps, totals)
    late = time.perf_counter() - sent[0]
    thread.join()

    assert late < 0.1
    assert 0 < state.step < batches.steps
    assert totals[1] == 20 * state.step
    again, sums = copy_of(start), np.zeros(plan.totals_size)
    program.train(again, batches, 0, state.step, sums)
    assert again.params.tobytes() == state.params.tobytes()
    assert again.slots.tobytes() == state.slots.tobytes()
    assert sums.tobytes() == totals.tobytes()
