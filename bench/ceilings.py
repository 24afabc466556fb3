"""The limits of this machine, measured between the contenders' turns: the rate of large
float32 products, and of copies in the second-level cache, the third-level cache and
memory.

Products are those of NumPy (OpenBLAS), PyTorch (MKL) and JAX (XLA); the best counts.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.cases import Case
from bench.contest import Contest, Unavailable

SIZE = 2048
"""Of the square matrices."""
SETS = {
    "0.5 MB": 2**19,
    "2.4 MB": 2_370_000,  # half of the article's parameters and Adam state
    "12 MB": 12 * 2**20,
    "96 MB": 96 * 2**20,
}
"""Bytes that one thread reads and writes."""
COPY_SECONDS = 0.03


class Contender:
    """The worker that measures the ceilings."""

    def __init__(self) -> None:
        self.versions = {"NumPy": np.__version__}
        self.a, self.b = matrices()
        self.out = np.empty_like(self.a)
        self.arrays = {
            name: np.zeros(size // 4, np.float32) for name, size in SETS.items()
        }

    def gemm(self, threads: int) -> dict[str, float]:
        """Seconds of a product in each library."""
        calls: dict[str, Callable[[], Any]] = {}
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(ImportError):
                from threadpoolctl import threadpool_limits

                stack.enter_context(threadpool_limits(threads, "blas"))
                calls["NumPy"] = lambda: np.matmul(self.a, self.b, out=self.out)
            with contextlib.suppress(ImportError):
                import torch

                a, b, out = map(torch.from_numpy, (self.a, self.b, self.out))
                torch.set_num_threads(threads)
                calls["PyTorch"] = lambda: torch.mm(a, b, out=out)
            return {name: best(call) for name, call in calls.items()}

    def bandwidth(self, name: str) -> float:
        """GB/s, read plus written bytes, on one thread: the better of a copy (half to
        half) and an update in place."""
        array = self.arrays[name]
        half = len(array) // 2

        def copy() -> None:
            np.copyto(array[:half], array[half : 2 * half])

        def update() -> None:
            np.add(array, np.float32(1), out=array)

        rates = []
        for call, moved in ((copy, 8 * half), (update, 8 * len(array))):
            call()
            number, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < COPY_SECONDS:
                call()
                number += 1
            rates.append(moved * number / elapsed / 1e9)
        return max(rates)


def matrices() -> np.ndarray:
    return np.random.default_rng(0).random((2, SIZE, SIZE), np.float32)


def best(call: Callable[[], Any], times: int = 3) -> float:
    call()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


class Ceilings:
    """Collects rounds of two workers, which copy at the same time."""

    def __init__(self, contest: Contest, with_jax: bool) -> None:
        self.ask, self.both = contest.ask, contest.ask_both
        self.with_jax = with_jax
        self.rounds: list[dict[str, float]] = []

    def measure(self) -> None:
        rates = {}
        for threads, jax in ((1, "JAX, 1 thread"), (2, "JAX")):
            seconds = self.ask("ceilings", "gemm", threads)
            if self.with_jax:
                with contextlib.suppress(Unavailable):
                    seconds["JAX"] = self.ask(jax, "gemm", *matrices())
            for library, one in seconds.items():
                rates[f"sgemm {library}, {threads}"] = 2e-9 * SIZE**3 / one
        for name in SETS:
            rates[f"copy {name}, 1"] = self.ask("ceilings", "bandwidth", name)
            rates[f"copy {name}, 2"] = sum(self.both("bandwidth", name))
        self.rounds.append(rates)

    def table(self) -> dict[str, dict[str, float]]:
        """Median and best of every figure."""
        return {
            name: {
                "median": statistics.median(r[name] for r in self.rounds),
                "best": max(r[name] for r in self.rounds),
            }
            for name in self.rounds[0]
        }


def rates(table: dict[str, dict[str, float]], threads: int) -> tuple[float, dict]:
    """FLOP/s of the fastest library, and bytes/s by the size of the data."""
    flops = max(
        row["median"]
        for name, row in table.items()
        if name.startswith("sgemm") and name.endswith(f", {threads}")
    )
    copies = {
        size: table[f"copy {name}, {threads}"]["median"] * 1e9
        for name, size in SETS.items()
    }
    return flops * 1e9, copies


def floor(case: Case, table: dict[str, dict[str, float]], threads: int = 2) -> float:
    """Seconds that a step's operations take at the best rate of large products, plus
    one read and write of parameters and Adam state."""
    flops, copies = rates(table, threads)
    part = case.state_bytes / threads
    size = next((size for size in copies if size >= part), max(copies))
    return case.flops / flops + 2 * case.state_bytes / copies[size]
