"""Files of Keras's that are damaged, or made to do harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kurve import Input, Sequential, optimizers
from kurve.layers import Dense, Dropout, Normalization
from tests.faults.conftest import Promise

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "unit" / "exchange" / "golden"
LIMIT = 2.0  # seconds for one file on a machine that does other things too


def written(folder: Path, name: str) -> Path:
    x = np.random.default_rng(0).normal(size=(20, 3))
    first = Normalization()
    first.adapt(x)
    layers = [Input((3,)), first, Dense(6, "tanh"), Dropout(0.1), Dense(2)]
    model = Sequential(layers)
    model.compile(optimizers.Adam(0.01), "mse", metrics=["mae"])
    model.fit(x, x[:, :2], verbose=0)
    model.save(folder / name)
    return folder / name


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "sequential.h5"])
def test_mutations(name: str, tmp_path: Path, soak: bool, promise: Promise) -> None:
    pytest.importorskip("h5py")
    keras_wrote = name == "sequential.h5"
    path = GOLDEN / name if keras_wrote else written(tmp_path, name)
    tries = 50_000 if soak else 400
    program = str(HERE / "mutate_exchange.py")
    run = subprocess.run(
        [sys.executable, program, str(path), "0", str(tries)],
        capture_output=True,
        text=True,
        timeout=60 + tries * 0.1,
        env={**os.environ, "KURVE_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout)
    assert found["refused"] + found["same"] + found["changed"] == tries
    assert found["refused"] > tries / 10
    assert found["longest"] < LIMIT
    assert found["memory"] <= 2 * found["file"] + (16 << 20)
    if not keras_wrote:  # Keras's own HDF5 files have no checksums
        assert found["changed"] == 0
    who = "Keras's" if keras_wrote else "Kurve's"
    kind = path.suffix
    promise(
        "exchange",
        f"{who} {kind}: {tries:,} mutations, {found['refused']:,} refused, "
        f"{found['changed']:,} read as another model, longest "
        f"{found['longest'] * 1e3:.0f} ms, {found['memory'] / 2**20:.1f} MiB",
    )
