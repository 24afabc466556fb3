"""Ctrl-C ends whatever goes on within 100 ms, and a fit after a whole step."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, ops
from kurve.core import rng
from kurve.engines import Job, run_job
from kurve.engines.native import NativeEngine
from kurve.estimators import Regressor
from kurve.layers import (
    RNN,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    Layer,
    MaxPooling2D,
    RandomRotation,
    UpSampling2D,
)
from kurve.optimizers import SGD
from kurve.solvers import lbfgs, levenberg_marquardt
from tests.engines.recurrence import Recurrent
from tests.faults.conftest import Promise
from tests.native.plans import article, batches_of, copy_of, state_of

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("native")]
ENDLESS = 10**9


def limit() -> float:
    """Seconds: 0.1, and as many times that as the machine has too much to do."""
    return 0.1 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def interrupted_after(delay: float, call: Callable[[], Any]) -> float:
    """Seconds from Ctrl-C to the KeyboardInterrupt of a call that is long enough."""
    sent: list[float] = []

    def send() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(delay, send)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        try:
            timer.start()
            call()
            time.sleep(60)
        finally:
            late = time.perf_counter() - sent[0] if sent else np.inf
            timer.cancel()  # where the call has failed for another reason
    timer.join()
    return late


def slowest_end(delay: float, call: Callable[[], Any]) -> float:
    """As `interrupted_after`, but a late end counts only if it is late three times.

    What the engine does between two looks at the signal is the same each time; a
    machine that is shared takes the processor away now and then.
    """
    for _ in range(3):
        late = interrupted_after(delay, call)
        if late < limit():
            break
    return late


def network(width: int, depth: int, optimizer: Any = "adam") -> Sequential:
    layers = [Dense(width, "relu") for _ in range(depth)]
    model = Sequential([Input((16,)), *layers, Dropout(0.2), Dense(1)])
    model.compile(optimizer, "mse")
    return model


def data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(rows, 16)).astype(np.float32)
    return x, np.sin(x.sum(axis=1))


def bits(model: Sequential) -> bytes:
    state = model._network.state
    assert state is not None
    arrays = (state.params, state.slots, state.scalars)
    return b"".join(a.tobytes() for a in arrays) + str(state.step).encode()


# engine, width, depth, rows of the one batch, longest delay
MODELS = {
    "steps of 50 us": ("native", 16, 2, 40, 0.1),
    "steps of 10 ms": ("native", 256, 3, 1000, 0.2),
    "steps of a second": ("native", 1024, 3, 6000, 1.0),
    "updates of 10 ms": ("native", 1500, 3, 8, 0.2),
    "reference": ("reference", 64, 2, 40, 0.1),
}


def test_the_model_is_that_of_a_whole_step_and_goes_on(
    soak: bool, promise: Promise
) -> None:
    tries, late, at, instants = 40 if soak else 6, [], 0, np.random.default_rng(8)
    for engine, width, depth, rows, longest in MODELS.values():
        kurve.set_engine(engine)
        (x, y), model = data(rows), network(width, depth)
        options = {"batch_size": rows, "shuffle": False, "verbose": 0}
        model.fit(x, y, **options)
        for _ in range(tries):
            twin, before = copy.deepcopy(model), model.iterations
            late.append(
                slowest_end(
                    instants.uniform(0.0, longest),
                    lambda: model.fit(x, y, epochs=ENDLESS, **options),  # noqa: B023
                )
            )
            if done := model.iterations - before:
                twin.fit(x, y, epochs=done, **options)
            assert bits(model) == bits(twin)
            at += 1
        model.fit(x, y, **options)
        twin.fit(x, y, **options)
        assert bits(model) == bits(twin)
    assert max(late) < limit()
    slowest, usual = 1000 * max(late), 1000 * np.median(late)
    promise(
        "interrupt",
        f"{at} of {at} at random instants in steps of 50 µs to 1 s: whole steps; "
        f"worst {slowest:.0f} ms, median {usual:.1f} ms",
    )


def long_calls() -> dict[str, Callable[[], Any]]:
    """Calls of seconds, most of which is one call of the core."""
    wide, (x, y) = network(1500, 3), data(20_000)
    wide.predict(x[:10], verbose=0)
    small = network(24, 2)
    x2, y2 = data(4000)
    committee = kurve.ensemble(network(1024, 3), members=3)
    order = ENDLESS // 40
    return {
        "fit": lambda: wide.fit(x, y, batch_size=len(x), epochs=ENDLESS, verbose=0),
        "predict": lambda: wide.predict(np.tile(x, (4, 1)), verbose=0),
        "predict, one block": lambda: [wide(x[:64]) for _ in range(ENDLESS)],
        "evaluate": lambda: wide.evaluate(x, y, batch_size=len(x), verbose=0),
        "train_on_batch": lambda: [
            wide.train_on_batch(x[:5000], y[:5000]) for _ in range(9)
        ],
        "ensemble": lambda: committee.fit(
            x, y, batch_size=8192, epochs=ENDLESS, verbose=0
        ),
        "levenberg_marquardt": lambda: levenberg_marquardt(
            small, x2, y2, max_iterations=ENDLESS
        ),
        "lbfgs": lambda: lbfgs(wide, x, y, max_iterations=ENDLESS),
        "permutation": lambda: rng.permutation(1, 2, order),
        "Regressor": lambda: Regressor((1024, 1024), max_epochs=10**6).fit(x, y),
        "lr_find": lambda: kurve.lr_find(wide, x, y, batch_size=len(x)),
    }


def test_long_calls_end(soak: bool, promise: Promise) -> None:
    worst, instants = {}, np.random.default_rng(9)
    for name, call in long_calls().items():
        tries = 10 if soak else 1
        delays = instants.uniform(0.05, 0.4, tries)
        worst[name] = max(slowest_end(d, call) for d in delays)
    assert max(worst.values()) < limit(), worst
    slowest = max(worst, key=lambda name: worst[name])
    promise(
        "interrupt",
        f"{', '.join(worst)}: worst {1000 * worst[slowest]:.0f} ms ({slowest})",
    )


IMAGE, PICTURE, SEQUENCE = (1000, 1000, 16), (3000, 3000, 3), (1_000_000, 16)
VOLUME = (100, 100, 100, 16)
# Samples of which one alone takes the engine seconds.
HUGE: dict[str, tuple[tuple[int, ...], Callable[[], list[Layer]]]] = {
    "convolution": (IMAGE, lambda: [Conv2D(16, 1), Conv2D(16, 11, padding="same")]),
    "pooled": (
        IMAGE,
        lambda: [Conv2D(16, 1), Conv2D(32, 9, activation="relu"), MaxPooling2D()],
    ),
    "depthwise": (IMAGE, lambda: [Conv2D(16, 1), DepthwiseConv2D(15)]),
    "groups": (IMAGE, lambda: [Conv2D(16, 1), Conv2D(16, 9, groups=2)]),
    "transposed": (IMAGE, lambda: [Conv2D(16, 1), Conv2DTranspose(16, 9)]),
    "moved": (
        PICTURE,
        lambda: [
            Conv2D(3, 1),
            RandomRotation(0.2),
            UpSampling2D(2, interpolation="bilinear"),
            MaxPooling2D(7, 2),
        ],
    ),
    "volume": (VOLUME, lambda: [Conv3D(16, 1), Conv3D(16, 5, padding="same")]),
    "sequence": (SEQUENCE, lambda: [Conv1D(16, 1), Conv1D(32, 63, padding="same")]),
}


@pytest.mark.parametrize("name", HUGE)
def test_one_huge_sample(name: str, soak: bool, promise: Promise) -> None:
    shape, make = HUGE[name]
    averages = [GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalAveragePooling3D]
    flat = averages[len(shape) - 2]
    model = Sequential([Input(shape), *make(), flat(), Dense(1)])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    y, instants = np.ones(1), np.random.default_rng(10)
    options = {"shuffle": False, "verbose": 0}
    late = [
        slowest_end(delay, call)
        for delay in instants.uniform(0.1, 2.0, 10 if soak else 3)
        for call in (
            lambda: model.fit(x, y, epochs=ENDLESS, **options),
            lambda: [model.predict(x, verbose=0) for _ in range(ENDLESS)],
        )
    ]
    assert max(late) < limit()
    promise("interrupt", f"{name}, one sample: worst {1000 * max(late):.0f} ms")


class Leaky(Layer):
    """A cell of one's own, whose loop is a scan."""

    state_size = output_size = 40

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((input_shape[-1], 40))
        self.u = self.add_weight((40, 40))

    def call(self, x: Any, states: Any) -> Any:
        h = 0.5 * states[0] + ops.tanh(ops.matmul(x, self.w) + states[0] @ self.u)
        return h, [h]


def test_one_long_scan(soak: bool, promise: Promise) -> None:
    x = Input((150_000, 4))
    model = Model(x, Dense(1)(RNN(Leaky())(x)))
    model.compile(SGD(1e-12), "mse")
    given = np.random.default_rng(3).normal(size=(1, 150_000, 4)).astype(np.float32)
    y, instants = np.ones(1), np.random.default_rng(11)
    late = [
        slowest_end(delay, call)
        for delay in instants.uniform(0.1, 1.0, 10 if soak else 2)
        for call in (
            lambda: model.fit(given, y, epochs=ENDLESS, verbose=0),
            lambda: [model.predict(given, verbose=0) for _ in range(ENDLESS)],
        )
    ]
    assert max(late) < limit()
    promise("interrupt", f"a scan of 150,000 steps: worst {1000 * max(late):.0f} ms")


@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn"])
def test_one_long_sequence(kind: str, soak: bool, promise: Promise) -> None:
    """Of which each step waits for the one before."""
    made = Recurrent(kind, (150_000, 4, 40))
    program, state, batches = (
        NativeEngine().compile(made.plan),
        made.state(),
        made.batches(3),
    )
    instants, (x,) = np.random.default_rng(11), batches.x
    late = [
        slowest_end(delay, call)
        for delay in instants.uniform(0.1, 1.0, 10 if soak else 2)
        for call in (
            lambda: [program.gradient(state, batches, 0) for _ in range(ENDLESS)],
            lambda: [program.predict(state, x) for _ in range(ENDLESS)],
        )
    ]
    assert max(late) < limit()
    promise("interrupt", f"{kind}, long sequences: worst {1000 * max(late):.0f} ms")


def test_a_second_ctrl_c_or_a_handler_of_ones_own() -> None:
    """What a handler raises ends the call; what it does not raise for goes on."""
    model, (x, y) = network(256, 2), data(2000)
    seen: list[int] = []

    def handle(number: int, frame: object) -> None:
        seen.append(model.predict(x[:1], verbose=0).size)  # the core is in use
        if len(seen) == 3:
            raise TimeoutError("three")

    before = signal.signal(signal.SIGUSR1, handle)
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.05):
            os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=send)
    try:
        with pytest.raises(TimeoutError, match="three"):  # noqa: PT012
            thread.start()
            model.fit(x, y, epochs=ENDLESS, verbose=0)
    finally:
        stop.set()
        thread.join()
        time.sleep(0.01)
        signal.signal(signal.SIGUSR1, before)
    assert seen[:3] == [1, 1, 1]
    model.fit(x, y, verbose=0)


@pytest.mark.parametrize("delay", [0.05, 0.11])
def test_the_core_counts_whole_steps(delay: float) -> None:
    """The engine's own state and totals, batch after batch in shuffled order."""
    plan = article()
    state, batches = state_of(plan), batches_of(plan, 200_000, 20)
    start, totals = copy_of(state), np.zeros(plan.totals_size)
    program = NativeEngine().compile(plan)
    job = Job(program, state, batches, 0, batches.steps, totals)
    interrupted_after(delay, lambda: run_job(NativeEngine(), job))
    assert 0 < state.step < batches.steps
    assert totals[1] == 20 * state.step
    again, sums = copy_of(start), np.zeros(plan.totals_size)
    run_job(NativeEngine(), Job(program, again, batches, 0, state.step, sums))
    assert again.params.tobytes() == state.params.tobytes()
    assert again.slots.tobytes() == state.slots.tobytes()
    assert sums.tobytes() == totals.tobytes()
