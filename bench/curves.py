"""`kurve.curve_fit` and SciPy's on well-behaved curves: times of whole fits.

python -m bench.curves            prints Markdown
python -m bench.curves --write    writes docs/benchmarks/curves.md

Needs SciPy. Where both find the same minimum, Kurve should not take much longer.
"""

from __future__ import annotations

import datetime
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import kurve
from bench import machine, tables
from bench.parts import BUSY

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "curves.md"
SIZES = 200, 20_000
ROUNDS, TURN = 41, 0.01
"""Rounds, and seconds of a contender's turn in each."""

WANTED = 1.5
"""Largest time of a fit, over SciPy's."""


def peak(x: Any, height: Any, place: Any, width: Any) -> Any:
    return height * np.exp(-0.5 * ((x - place) / width) ** 2)


class Case(NamedTuple):
    """A formula, the range of x, the true parameters, and p0 (ones if None)."""

    f: Callable[..., Any]
    low: float
    high: float
    truth: list[float]
    p0: list[float] | None = None


CASES = {
    "line": Case(lambda x, a, b: a * x + b, 0, 10, [2, 1]),
    "exponential": Case(
        lambda x, a, b, c: a * np.exp(-b * x) + c, 0, 4, [2.5, 1.3, 0.5]
    ),
    "Gaussian": Case(peak, -5, 5, [3, 0.5, 1.2]),
    "two Gaussians": Case(
        lambda x, a, m, s, b, n, t: peak(x, a, m, s) + peak(x, b, n, t),
        0,
        10,
        [3, 3, 0.8, 2, 6.5, 1],
        [2, 2.5, 1, 1, 7, 1],
    ),
    "sine": Case(
        lambda x, a, w, s, c: a * np.sin(w * x + s) + c,
        0,
        10,
        [2, 1.5, 0.3, 0.5],
        [1, 1.4, 0, 0],
    ),
    "Michaelis-Menten": Case(lambda x, v, k: v * x / (k + x), 0.1, 10, [10, 1.5]),
}


def fits(case: Case, n: int) -> dict[str, Callable[[], Any]]:
    """Both contenders on the same data, after comparing their answers."""
    from scipy.optimize import curve_fit

    x = np.linspace(case.low, case.high, n)
    noise = 0.05 * np.random.default_rng(0).normal(size=n)
    y = case.f(x, *case.truth) + noise
    made = {
        "Kurve": lambda: kurve.curve_fit(case.f, x, y, case.p0),
        "SciPy": lambda: curve_fit(case.f, x, y, case.p0),
    }
    ours, theirs = (fit() for fit in made.values())
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    return made


def seconds_of(fit: Callable[[], Any]) -> float:
    """Mean time of a fit over one turn."""
    start, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < TURN or not count:
        fit()
        count += 1
    return spent / count


def measured(case: Case, n: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the rounds' ratios."""
    made = fits(case, n)
    ours, theirs = [], []
    for k in range(ROUNDS):
        turns = [(made["Kurve"], ours), (made["SciPy"], theirs)]
        for fit, times in turns if k % 2 else reversed(turns):
            times.append(seconds_of(fit))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return statistics.median(ours), statistics.median(theirs), statistics.median(ratios)


def page() -> str:
    import scipy

    watch, body, most = machine.Watch(), [], 0.0
    for busy in (False, True):
        neighbour = None
        if busy:
            neighbour = subprocess.Popen([sys.executable, "-c", BUSY])
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(neighbour.pid, {min(os.sched_getaffinity(0))})
        try:
            for n in SIZES:
                for name, case in CASES.items():
                    ours, theirs, ratio = measured(case, n)
                    most = max(most, ratio)
                    cells = [tables.number(1e3 * ours), tables.number(1e3 * theirs)]
                    where = "yes" if busy else "no"
                    body.append([name, f"{n:,}", where, *cells, f"{ratio:.2f}"])
        finally:
            if neighbour is not None:
                neighbour.kill()
                neighbour.wait()
    about, others = machine.describe(), watch.shares(())["others"]
    columns = [
        "curve",
        "points",
        "neighbour",
        "Kurve, ms",
        "SciPy, ms",
        "ratio",
    ]
    return f"""# Curves beside SciPy

Written by `python -m bench.curves --write` on {datetime.date.today().isoformat()}.

- processor: {about["processor"]}
- cores: {about["cores"]}
- versions: Kurve {kurve.__version__}, NumPy {np.__version__},
  SciPy {scipy.__version__}, Python {about["Python"]}
- meanwhile other programs, the neighbour among them, used {100 * others:.0f} % of the
  cores' time

Complete calls of `curve_fit` with all defaults, on data with noise of 0.05 that both
fit to the same minimum. Before anything is timed, parameters and covariance must agree
to three digits, SciPy's precision. The contenders take turns; figures are medians of
{ROUNDS} rounds; the ratio (Kurve's time over SciPy's) is the median of the rounds'
ratios. A *neighbour* is a process that computes endlessly on one core.

{tables.rows(columns, body)}

Wanted is a ratio of at most {WANTED}; the largest is {most:.2f}. Kurve's answers have
ten right digits, SciPy's about five ([NIST's problems](nist.md)). Curves without a
formula are another page's ([all defaults](races.md)).
"""


if __name__ == "__main__":
    tables.show(page, PAGE, __doc__)
