"""Training treats numbers below 1.2e-38 as zero, without affecting its caller."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import numpy as np
import pytest

from kurve import _core
from kurve.engines.base import State
from kurve.engines.native import NativeEngine
from tests.native.plans import (
    Builder,
    article,
    batches_of,
    mse,
    optimizer,
    state_of,
    train,
)


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    threads = _core.get_threads()
    yield
    _core.set_threads(threads)


def fading(threads: int) -> tuple[State, np.ndarray]:
    """The state and the momenta of the second layer after 20 steps in which no row
    reaches it; they started near the smallest normal number."""
    plan = Builder(4).dense(256, "relu").dense(256, "relu").dense(1)
    plan = plan.plan(mse(), optimizer())
    state, batches = state_of(plan), batches_of(plan, 640, 32)
    bias, kernel = plan.params[1], plan.params[2]
    state.params[bias.offset : bias.end] = -100
    state.slots[0, kernel.offset : kernel.end] = np.float32(2e-38)
    _core.set_threads(threads)
    train(NativeEngine(), plan, state, batches, 20)
    return state, state.slots[0, kernel.offset : kernel.end]


def test_fading_momenta_never_become_subnormal():
    states = []
    for count in (1, 2, 8):
        state, momenta = fading(count)
        normal = np.abs(momenta) >= np.finfo(np.float32).smallest_normal
        assert ((momenta == 0) | normal).all()
        states.append(state.params.tobytes() + state.slots.tobytes())
    assert len(set(states)) == 1


def test_training_restores_the_float_mode_of_the_caller():
    fading(2)
    small = np.float32(2e-38) * np.ones(1, np.float32)
    assert (small * np.float32(0.25))[0] > 0


def test_a_signal_handler_runs_in_the_usual_float_mode():
    plan = article()
    state, batches = state_of(plan), batches_of(plan, 20_000, 20)
    small, products = np.float32([2e-38]), []

    def handler(number: int, frame: FrameType | None) -> None:
        products.append(float((small * np.float32(0.25))[0]))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    train(NativeEngine(), plan, state, batches)
    signal.signal(signal.SIGALRM, before)
    assert products == [pytest.approx(5e-39)]
