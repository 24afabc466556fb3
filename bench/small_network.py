"""A sine by a network of 31 parameters: Kurve's solvers and SciPy's.

python -m bench.small_network            prints Markdown
python -m bench.small_network --write    writes docs/benchmarks/small_network.md

All start from the same weights, minimize the same residuals, and stop as soon as the
mean squared error is 1e-5. For SciPy, the network and its derivatives are written in
NumPy.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kurve
from bench import machine, tables
from kurve import layers, solvers

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "small_network.md"
STARTS, UNITS, GOAL = 50, 10, 1e-5

X = np.arange(0.0, 20.0, 0.1)
Y = np.sin(X)
XN = (X - X.mean()) / X.std()


class Reached(Exception):
    """The goal is reached; raised to leave SciPy's solvers."""


def model_of(seed: int) -> kurve.Sequential:
    kurve.utils.set_random_seed(seed)
    first = layers.Dense(UNITS, activation="tanh")
    return kurve.Sequential([kurve.Input((1,)), first, layers.Dense(1)])


def by_kurve(solver: Any, **options: Any) -> Callable[[int], float]:
    def run(seed: int) -> float:
        result = solver(
            model_of(seed),
            XN,
            Y,
            callback=lambda _, logs: logs["loss"] <= GOAL,
            **options,
        )
        return result.loss

    return run


def residuals(p: np.ndarray) -> np.ndarray:
    """Residuals and Jacobian of the same network in float64; p is kernel, bias, kernel,
    bias."""
    a, b, c = p[:UNITS], p[UNITS : 2 * UNITS], p[2 * UNITS : -1]
    return np.tanh(XN[:, None] * a + b) @ c + p[-1] - Y


def jacobian(p: np.ndarray) -> np.ndarray:
    a, b, c = p[:UNITS], p[UNITS : 2 * UNITS], p[2 * UNITS : -1]
    h = np.tanh(XN[:, None] * a + b)
    slope = (1.0 - h**2) * c
    return np.concatenate(
        [slope * XN[:, None], slope, h, np.ones((len(XN), 1))], axis=1
    )


def start_of(seed: int) -> np.ndarray:
    weights = model_of(seed).get_weights()
    return np.concatenate([w.ravel() for w in weights]).astype(float)


def by_scipy_lm(derivatives: bool) -> Callable[[int], float]:
    from scipy.optimize import least_squares

    def run(seed: int) -> float:
        best = np.inf

        def watched(p: np.ndarray) -> np.ndarray:
            nonlocal best
            r = residuals(p)
            best = min(best, float(r @ r) / len(r))
            if best <= GOAL:
                raise Reached
            return r

        with contextlib.suppress(Reached):
            least_squares(
                watched,
                start_of(seed),
                jacobian if derivatives else "2-point",
                method="lm",
                max_nfev=2000 if derivatives else 2000 * 32,
            )
        return best

    return run


def by_scipy_lbfgs(seed: int) -> float:
    from scipy.optimize import minimize

    best = np.inf

    def loss(p: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best
        r = residuals(p)
        value = float(r @ r) / len(r)
        best = min(best, value)
        if best <= GOAL:
            raise Reached
        return value, 2.0 / len(r) * jacobian(p).T @ r

    with contextlib.suppress(Reached):
        minimize(
            loss,
            start_of(seed),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 3000, "maxfun": 10_000, "maxcor": 20, "ftol": 0.0},
        )
    return best


def page() -> str:
    import scipy

    watch = machine.Watch()
    fits: dict[str, Callable[[int], float]] = {
        "Kurve, `levenberg_marquardt`": by_kurve(solvers.levenberg_marquardt),
        "SciPy, `least_squares(method='lm')`, derivatives given": by_scipy_lm(True),
        "SciPy, `least_squares(method='lm')`": by_scipy_lm(False),
        "Kurve, `lbfgs`": by_kurve(solvers.lbfgs, max_iterations=3000),
        "SciPy, `minimize(method='L-BFGS-B')`, derivatives given": by_scipy_lbfgs,
    }
    model = model_of(0)
    start = start_of(0)
    ours = model.predict(XN, verbose=0)[:, 0] - Y
    assert np.abs(ours - residuals(start)).max() < 1e-5, "not the same network"
    found: dict[str, list[tuple[bool, float]]] = {name: [] for name in fits}
    for seed in range(STARTS):
        for name, fit in fits.items():
            began = time.perf_counter()
            loss = fit(seed)
            found[name].append((loss <= GOAL, 1e3 * (time.perf_counter() - began)))
    body = []
    for name, runs in found.items():
        times = [ms for reached, ms in runs if reached]
        share = f"{100 * len(times) / len(runs):.0f} %"
        spread = np.quantile(times, [0.1, 0.5, 0.9]) if times else [np.nan] * 3
        body.append([name, share, *(tables.number(float(ms)) for ms in spread)])
    busy = watch.shares(())["others"]
    about, today = machine.describe(), datetime.date.today().isoformat()
    table = tables.rows(
        [
            "method",
            "starts that reach it",
            "ms, best tenth",
            "ms, median",
            "ms, worst tenth",
        ],
        body,
    )
    return f"""# The sine by 31 parameters

Written by `python -m bench.small_network --write` on {today}.

- processor: {about["processor"]}
- cores: {about["cores"]}
- versions: Kurve {kurve.__version__}, NumPy {np.__version__},
  SciPy {scipy.__version__}, Python {about["Python"]}
- meanwhile other programs used {100 * busy:.0f} % of the cores' time

`Dense(10, "tanh")`, `Dense(1)`, fitted to sin(x) at the 200 points
`np.arange(0, 20, 0.1)`, x normalised, until the mean squared error is {GOAL:g}, from
{STARTS} random starts, the same for each method. Times run from the untrained model to
the goal, over the starts that reach it.

{table}

Kurve evaluates the network in float32; SciPy's residuals are float64. Below 1e-5 that
begins to matter: L-BFGS, which compares losses, fails from some starts because of it,
and `levenberg_marquardt` stops at 1e-7 in the median, where float64 would go further.
"""


if __name__ == "__main__":
    tables.show(page, PAGE, __doc__)
