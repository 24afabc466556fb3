"""The same bits for any number of threads, and as in the version before.

`golden_bits.json` holds, for each version of the numerics and each instruction set,
what training comes to. If a change of the kernels is meant to change bits, raise
`kurve.engines.base.NUMERICS` and write the file anew:

    KURVE_WRITE_BITS=1 python -m pytest tests/faults/test_bits.py
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, layers, optimizers
from kurve.engines.base import NUMERICS
from tests.faults.conftest import Promise

GOLDEN = Path(__file__).parent / "golden_bits.json"

CASES: dict[str, tuple[list[str], object]] = {
    "relu, Adam": (["relu", "relu"], "adam"),
    "gelu and tanh, SGD": (["gelu", "tanh"], optimizers.SGD(0.01, momentum=0.9)),
    "sin and sigmoid, RMSprop": (["sin", "sigmoid"], "rmsprop"),
    "silu and softplus, Nadam": (["silu", "softplus"], optimizers.Nadam(clipnorm=1.0)),
}


@pytest.fixture(autouse=True)
def _restore(native: str) -> Iterator[None]:
    kurve.set_engine(native)
    threads = kurve.get_threads()
    yield
    kurve.set_threads(threads)


def exact(*shape: int) -> np.ndarray:
    """Numbers that every platform makes alike: whole ones by a power of two."""
    size = int(np.prod(shape))
    whole = (np.arange(size, dtype=np.int64) * 7919 + 13) % 509 - 254
    return (whole.reshape(shape) / 1024.0).astype(np.float32)


def trained(case: str, threads: int) -> tuple[str, Sequential]:
    """The hash of weights, optimizer and predictions after 60 steps."""
    kurve.set_threads(threads)
    kurve.utils.set_random_seed(7)
    activations, optimizer = CASES[case]
    first, second = activations
    model = Sequential(
        [
            Input((5,)),
            layers.Dense(130, first),
            layers.Dropout(0.1),
            layers.Dense(67, second),
            layers.Dense(2),
        ]
    )
    model.compile(optimizer, "mse")
    model.set_weights([exact(*w.shape) for w in model.get_weights()])
    x, y = exact(400, 5) * 4, exact(400, 2) * 4
    model.fit(x, y, batch_size=20, epochs=3, verbose=0)
    state = model._state
    assert state is not None
    found = hashlib.sha256()
    for array in (state.params, state.slots, model.predict(x, verbose=0)):
        found.update(array.tobytes())
    return found.hexdigest(), model


def test_threads_batches_and_runs(soak: bool, promise: Promise) -> None:
    counts = range(1, 9) if soak else (1, 2, 3, 8)
    for case in CASES:
        found = {trained(case, threads)[0] for threads in counts}
        assert len(found) == 1, case
    _, model = trained(case, 2)
    x = exact(400, 5) * 4
    whole = model.predict(x, verbose=0)
    for size in (1, 3, 7, 64, 399):
        parts = [model.predict(x[i : i + size], verbose=0) for i in range(0, 400, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
    shown = ", ".join(map(str, counts))
    promise("bits", f"{len(CASES)} trainings, each with {shown} threads: the same bits")


def test_as_in_the_version_before(promise: Promise) -> None:
    from kurve import _core

    isa, version = _core.isa(), str(NUMERICS)
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    found = {case: trained(case, 2)[0] for case in CASES}
    if os.environ.get("KURVE_WRITE_BITS"):
        known.setdefault(version, {})[isa] = found
        GOLDEN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    if isa not in known.get(version, {}):
        pytest.skip(f"no golden bits for {isa}")
    assert known[version][isa] == found, (
        "training gives other bits: raise NUMERICS if that is meant (see above)"
    )
    promise("bits", f"golden hashes of numerics version {version} for {isa} hold")
