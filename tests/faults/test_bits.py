"""The same bits, and those of the last release."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("kurve._core", reason="the compiled engine is not there")

import kurve
from kurve import Input, Sequential, _core
from kurve.engines.base import NUMERICS
from kurve.layers import Dense, Dropout
from tests.faults.conftest import Promise
from tests.faults.golden import FILE, of_instruction_set


def test_threads_batches_and_repeated_runs(promise: Promise) -> None:
    before, seen = kurve.get_threads(), set()
    x = np.random.default_rng(0).normal(size=(700, 9)).astype(np.float32)
    y = np.sin(x.sum(axis=1))
    batches = (1, 2, 5, 41, 64, 257, 700)
    try:
        for threads in (1, 2, 3, 4, 5, 6, 7, 8, 1):
            kurve.set_threads(threads)
            kurve.utils.set_random_seed(5)
            layers = [Dense(300, "gelu"), Dropout(0.2), Dense(270, "tanh"), Dense(2)]
            model = Sequential([Input((9,)), *layers])
            model.compile("adam", "mse", engine="native")
            model.fit(x, np.stack([y, -y], 1), epochs=2, batch_size=150, verbose=0)
            assert model._network.state is not None
            state = (
                model._network.state.params.tobytes()
                + model._network.state.slots.tobytes()
            )
            whole = model.predict(x, verbose=0)
            seen.add((state, whole.tobytes()))
            for size in batches:
                parts = [model(x[i : i + size]) for i in range(0, len(x), size)]
                assert np.concatenate(parts).tobytes() == whole.tobytes()
    finally:
        kurve.set_threads(before)
    assert len(seen) == 1
    promise("bits", f"9 runs on 1 to 8 threads, {len(batches)} batch sizes: equal")


def test_the_bits_of_the_last_release(promise: Promise) -> None:
    """Who changes a bit says so: another number in kurve.engines.base.NUMERICS, then
    `python -m tests.faults.golden --update`."""
    golden = json.loads(FILE.read_text("utf-8"))
    isas = [isa for isa in _core.available_isas() if isa in golden["hashes"]]
    same = all(of_instruction_set(i, 2) == golden["hashes"][i] for i in isas)
    if golden["numerics"] == NUMERICS:
        assert same, (
            "numbers have changed: raise kurve.engines.base.NUMERICS, then run "
            "python -m tests.faults.golden --update"
        )
    else:
        pytest.fail("NUMERICS is new: run python -m tests.faults.golden --update")
    promise("bits", f"golden hashes of numerics {NUMERICS} on {', '.join(isas)}")
