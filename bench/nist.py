"""`kurve.curve_fit` and SciPy's on NIST's 27 problems: certified digits and times.

python -m bench.nist            prints Markdown
python -m bench.nist --write    writes docs/benchmarks/nist.md

Needs SciPy and NIST's files (tests/nist/problems.py says where).
"""

from __future__ import annotations

import datetime
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kurve
from bench import machine, tables
from tests.nist.problems import FORMULAS, digits, read

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "nist.md"
ROUNDS = 5
TIGHT = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "maxfev": 100_000}

Fit = Callable[..., tuple[np.ndarray, np.ndarray]]


def contenders() -> dict[str, Fit]:
    import scipy.optimize

    def tight(*arguments: Any) -> Any:
        return scipy.optimize.curve_fit(*arguments, **TIGHT)

    return {
        "Kurve": kurve.curve_fit,
        "SciPy": scipy.optimize.curve_fit,
        "SciPy, tight": tight,
    }


def outcome(fit: Fit, name: str, start: int, dtype: Any = np.float64) -> dict[str, Any]:
    """Digits of the parameters and of their standard deviations, median seconds."""
    problem = read(name, dtype)
    arguments = FORMULAS[name], problem.x, problem.y, problem.starts[start]
    seconds = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(ROUNDS):
            began = time.perf_counter()
            try:
                p, covariance = fit(*arguments)
            except RuntimeError:
                return {"digits": 0.0, "deviations": 0.0, "seconds": None}
            seconds.append(time.perf_counter() - began)
    return {
        "digits": digits(p, problem.values),
        "deviations": digits(np.sqrt(np.diag(covariance)), problem.deviations),
        "seconds": statistics.median(seconds),
    }


def page() -> str:
    import scipy

    fits, watch = contenders(), machine.Watch()
    columns = ["problem", "start"]
    for name in fits:
        columns += [f"{name}: digits", "of deviations", "ms"]
    body, solved = [], dict.fromkeys(fits, 0)
    for name in FORMULAS:
        for start in (0, 1):
            line = [name, str(start + 1)]
            for contender, fit in fits.items():
                found = outcome(fit, name, start)
                solved[contender] += found["digits"] >= 6.0
                if found["seconds"] is None:
                    line += ["no fit", "", ""]
                    continue
                right = [f"{found[key]:.1f}" for key in ("digits", "deviations")]
                line += [*right, tables.number(1e3 * found["seconds"])]
            body.append(line)
    longer = [outcome(kurve.curve_fit, "Lanczos1", k, np.longdouble) for k in (0, 1)]
    about, busy = machine.describe(), watch.shares(())["others"]
    count = ", ".join(f"{name} {n}" for name, n in solved.items())
    return f"""# NIST's nonlinear regression problems

Written by `python -m bench.nist --write` on {datetime.date.today().isoformat()}.

- processor: {about["processor"]}
- cores: {about["cores"]}
- versions: Kurve {kurve.__version__}, NumPy {np.__version__},
  SciPy {scipy.__version__}, Python {about["Python"]}
- meanwhile other programs used {100 * busy:.0f} % of the cores' time

27 problems with certified answers ([Statistical Reference
Datasets](https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml)), each from two
starts, the first of which is far off. *Digits* is the number of correct digits of the
worst parameter (the negative log10 of its relative error, at most 11), *of deviations*
that of the worst standard deviation; times are medians of {ROUNDS} fits. *Kurve* and
*SciPy* are `curve_fit` with all defaults; *SciPy, tight* has
`ftol=xtol=gtol=1e-15, maxfev=100000`. No contender is given derivatives. Kurve takes
longer if it refines to the last digit, or tries other starts because the first attempt
found no well-determined minimum.

Fits with at least 6 digits in all parameters, out of {len(body)}: {count}.

{tables.rows(columns, body)}

Lanczos1's values are up to 2.5 and its residuals 1e-13, so float64 data hold only
three digits of the residuals, and the deviations cannot have more. Read as
`np.longdouble`, the same data give {longer[0]["deviations"]:.1f} and
{longer[1]["deviations"]:.1f} digits from the two starts.
"""


if __name__ == "__main__":
    tables.show(page, PAGE, __doc__)
