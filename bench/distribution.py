"""Data parallel training: time per step of one process and of two, one thread each.

    python -m bench.distribution

Both train the same network on the same batches; their losses are compared first.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTH, LAYERS, BATCH, STEPS, ROUNDS = 512, 4, 1024, 20, 5


def worker(to: str) -> None:
    """Train, and write the losses and the milliseconds of a step."""
    import kurve

    kurve.distribution.set_distribution(kurve.distribution.DataParallel())
    kurve.set_threads(1)
    kurve.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(BATCH * STEPS, 16)).astype(np.float32)
    y = np.sin(x).sum(axis=1, keepdims=True)
    model = kurve.Sequential([kurve.layers.Dense(WIDTH, "relu") for _ in range(LAYERS)])
    model.add(kurve.layers.Dense(1))
    model.compile("adam", "mse")
    times, losses = [], []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        history = model.fit(x, y, batch_size=BATCH, verbose=0)
        times.append((time.perf_counter() - start) / STEPS * 1e3)
        losses += history.history["loss"]
    if os.environ.get("RANK", "0") == "0":
        step = statistics.median(times[1:])
        Path(to).write_text(json.dumps({"losses": losses, "step": step}))


def run(processes: int) -> dict[str, object]:
    """What this number of processes wrote."""
    with tempfile.TemporaryDirectory() as folder:
        to = str(Path(folder, "result.json"))
        start = [sys.executable]
        if processes > 1:
            start += ["-m", "torch.distributed.run", "--standalone"]
            start += ["--nproc-per-node", str(processes)]
        subprocess.run(
            [*start, __file__, to],
            check=True,
            env={**os.environ, "KURVE_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )
        found: dict[str, object] = json.loads(Path(to).read_text())
        return found


def main() -> None:
    one, two = run(1), run(2)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-3)
    ratio = float(one["step"]) / float(two["step"])  # type: ignore[arg-type]
    print(f"{LAYERS} x {WIDTH}, batch {BATCH}, one thread a process, ms a step:")
    print(f"  one process   {one['step']:7.2f}")
    print(f"  two processes {two['step']:7.2f}   {ratio:.2f} times as fast")


if __name__ == "__main__":
    worker(sys.argv[1]) if len(sys.argv) > 1 else main()
