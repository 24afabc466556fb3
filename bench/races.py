"""The default `kurve.Regressor` on curves and surfaces of many kinds, beside
scikit-learn's regressors.

python -m bench.races            prints Markdown
python -m bench.races --write    writes docs/benchmarks/races.md

Needs scikit-learn. All have their defaults, but for what a user must choose: see
`rivals`. The truth is known, so errors are those on it, without noise.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import kurve
from bench import machine, tables

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "races.md"
NOISE, NEW = 0.05, 2_000
GAUSSIAN_ROWS = 500
"""Rows up to which a Gaussian process takes part."""

Function = Callable[[np.ndarray], np.ndarray]


def sine(periods: float) -> Function:
    return lambda x: np.sin(2 * np.pi * periods * x[:, 0])


def franke(x: np.ndarray) -> np.ndarray:
    """Source: Franke 1979."""
    a, b = 9 * x[:, 0], 9 * x[:, 1]
    return np.asarray(
        0.75 * np.exp(-((a - 2) ** 2 + (b - 2) ** 2) / 4)
        + 0.75 * np.exp(-((a + 1) ** 2) / 49 - (b + 1) / 10)
        + 0.5 * np.exp(-((a - 7) ** 2 + (b - 3) ** 2) / 4)
        - 0.2 * np.exp(-((a - 4) ** 2) - (b - 7) ** 2)
    )


CURVES: dict[str, Function] = {
    "line": lambda x: 2 * x[:, 0] + 1,
    "1 period": sine(1),
    "3 periods": sine(3),
    "6 periods": sine(6),
    "12 periods": sine(12),
    "25 periods": sine(25),
    "trend and 8 periods": lambda x: 5 * x[:, 0] + sine(8)(x),
    "3 and 17.3 periods": lambda x: sine(3)(x) + 0.5 * sine(17.3)(x),
    "chirp": lambda x: sine(12)(x**2),
    "step": lambda x: np.where(x[:, 0] > 0.4, 1.0, 0.0),
    "peak": lambda x: np.exp(-0.5 * ((x[:, 0] - 0.3) / 0.02) ** 2),
    "\\|x\\|": lambda x: 2 * np.abs(x[:, 0] - 0.5),
    "damped": lambda x: np.exp(-4 * x[:, 0]) * sine(10)(x),
    "saturation": lambda x: x[:, 0] / (0.05 + x[:, 0]),
}
SURFACES: dict[str, tuple[int, Function]] = {
    "sin x cos y": (2, lambda x: np.sin(6 * x[:, 0]) * np.cos(6 * x[:, 1])),
    "Franke": (2, franke),
    "ripple": (2, lambda x: np.sin(25 * np.hypot(x[:, 0], x[:, 1]))),
    "checkers": (2, lambda x: ((x[:, 0] > 0.5) ^ (x[:, 1] > 0.3)) * 1.0),
    "Friedman, 5 columns": (
        5,
        lambda x: (
            np.sin(np.pi * x[:, 0] * x[:, 1])
            + 2 * (x[:, 2] - 0.5) ** 2
            + x[:, 3]
            + 0.5 * x[:, 4]
        ),
    ),
}


class Case(NamedTuple):
    name: str
    rows: int
    x: np.ndarray
    y: np.ndarray
    new: np.ndarray
    truth: np.ndarray
    again: np.ndarray


def cases() -> Iterator[Case]:
    """Seeds are the numbers of the cases."""
    several = [(n, 1, f, (500, 1001, 10_000)) for n, f in CURVES.items()]
    several += [(n, d, f, (500, 2000)) for n, (d, f) in SURFACES.items()]
    for number, (name, columns, f, sizes) in enumerate(several):
        for n in sizes:
            rng = np.random.default_rng(1000 * number + n)
            x, new = rng.uniform(size=(n, columns)), rng.uniform(size=(NEW, columns))
            truth = f(new)
            y = f(x) + NOISE * rng.normal(size=n)
            again = truth + NOISE * rng.normal(size=NEW)
            yield Case(name, n, x, y, new, truth, again)


def rivals(case: Case) -> dict[str, Callable[[], Any]]:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    from sklearn.neighbors import KNeighborsRegressor

    made: dict[str, Callable[[], Any]] = {
        "Kurve": lambda: kurve.Regressor(random_state=0),
        "boosted trees": lambda: HistGradientBoostingRegressor(random_state=0),
        "5 neighbours": KNeighborsRegressor,
    }
    if case.rows <= GAUSSIAN_ROWS:
        lengths = np.full(case.x.shape[1], 0.2)
        kernel = ConstantKernel() * RBF(lengths) + WhiteKernel(0.1)
        made["Gaussian process"] = lambda: GaussianProcessRegressor(
            kernel, normalize_y=True, random_state=0
        )
    return made


RIVALS = ["Kurve", "boosted trees", "5 neighbours", "Gaussian process"]


def page() -> str:
    import warnings

    import sklearn

    body, seconds = [], {name: [0.0, 0] for name in RIVALS}
    for case in cases():
        cells = {}
        for name, make in rivals(case).items():
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of an optimizer that stops early
                model = make().fit(case.x, case.y)
            spent = time.process_time() - start
            error = float(np.sqrt(np.mean((model.predict(case.new) - case.truth) ** 2)))
            cells[name] = f"{error:.4f}"
            seconds[name][0] += spent
            seconds[name][1] += 1
            if name == "Kurve":
                low, high = model.predict_interval(case.new).T
                held = np.mean((low <= case.again) & (case.again <= high))
                r2 = 1 - error**2 / case.truth.var()
                ours = [f"{r2:.4f}", f"{100 * held:.0f} %", f"{spent:.2f}"]
        found = [cells.get(name, "–") for name in RIVALS]
        body.append([case.name, f"{case.rows:,}", *found, *ours])
        print(*body[-1], flush=True)
    about = machine.describe()
    means = [[name, f"{total / count:.2f}"] for name, (total, count) in seconds.items()]
    return f"""# Curves and surfaces, all defaults

Written by `python -m bench.races --write` on {datetime.date.today().isoformat()}.

- processor: {about["processor"]}
- cores: {about["cores"]}, shared with other programs; times are those of the processor
- versions: Kurve {kurve.__version__}, NumPy {np.__version__},
  scikit-learn {sklearn.__version__}, Python {about["Python"]}

`kurve.Regressor().fit(x, y)` with nothing set, on functions whose truth is known. Rows
are uniform in [0, 1], the noise is {NOISE}. Errors are root mean squared ones on the
truth at {NEW:,} new points: one of {NOISE} is as large as the noise. The last columns
are Kurve's: R2 on the truth, how many new noisy values lie in its 90 % interval, and
processor seconds of the fit.

The rivals are scikit-learn's: `HistGradientBoostingRegressor`, `KNeighborsRegressor`,
and a Gaussian process with a length per column and noise, for up to {GAUSSIAN_ROWS}
rows.

{tables.rows(["function", "rows", *RIVALS, "R2", "90 %", "s"], body)}

Mean processor seconds of a fit:

{tables.rows(["", "s"], means)}

Which kinds of network race for these curves, and how the choice is made, is in the
[explanation](../explanation.md#a-race-chooses-the-network-for-a-curve).
"""


if __name__ == "__main__":
    tables.show(page, PAGE, __doc__)
