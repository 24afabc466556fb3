"""The UCI protocol of probabilistic regression; `Regressor()` and scikit-learn.

python -m bench.uci                    both tables; writes docs/benchmarks/uci.md
python -m bench.uci --sets yacht,energy --splits 5    some of it; prints
python -m bench.uci --data FOLDER      where the sets are (default ../shared/data/uci)

Protocol of Hernandez-Lobato & Adams 2015: 20 random splits of 90 % and 10 % (protein
5), one hidden layer of 50 relus, RMSE and mean negative log likelihood on the test part
in the target's units. Published: table 1 of Lakshminarayanan, Pritzel & Blundell 2017
(arXiv:1612.01474), mean and standard error.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine

ROOT = Path(__file__).parents[1]

# name of the folder: (shown, PBP, MC-dropout, deep ensembles), each RMSE, its error,
# NLL and its error.
Figures = tuple[float, float, float, float]
PUBLISHED: dict[str, tuple[str, Figures, Figures, Figures]] = {
    "bostonHousing": (
        "Boston",
        (3.01, 0.18, 2.57, 0.09),
        (2.97, 0.85, 2.46, 0.25),
        (3.28, 1.00, 2.41, 0.25),
    ),
    "concrete": (
        "Concrete",
        (5.67, 0.09, 3.16, 0.02),
        (5.23, 0.53, 3.04, 0.09),
        (6.03, 0.58, 3.06, 0.18),
    ),
    "energy": (
        "Energy",
        (1.80, 0.05, 2.04, 0.02),
        (1.66, 0.19, 1.99, 0.09),
        (2.09, 0.29, 1.38, 0.22),
    ),
    "kin8nm": (
        "Kin8nm",
        (0.10, 0.00, -0.90, 0.01),
        (0.10, 0.00, -0.95, 0.03),
        (0.09, 0.00, -1.20, 0.02),
    ),
    "naval-propulsion-plant": (
        "Naval",
        (0.01, 0.00, -3.73, 0.01),
        (0.01, 0.00, -3.80, 0.05),
        (0.00, 0.00, -5.63, 0.05),
    ),
    "power-plant": (
        "Power",
        (4.12, 0.03, 2.84, 0.01),
        (4.02, 0.18, 2.80, 0.05),
        (4.11, 0.17, 2.79, 0.04),
    ),
    "protein-tertiary-structure": (
        "Protein",
        (4.73, 0.01, 2.97, 0.00),
        (4.36, 0.04, 2.89, 0.01),
        (4.71, 0.06, 2.83, 0.02),
    ),
    "wine-quality-red": (
        "Wine",
        (0.64, 0.01, 0.97, 0.01),
        (0.62, 0.04, 0.93, 0.06),
        (0.64, 0.04, 0.94, 0.12),
    ),
    "yacht": (
        "Yacht",
        (1.02, 0.05, 1.63, 0.02),
        (1.11, 0.38, 1.55, 0.12),
        (1.58, 0.48, 1.18, 0.21),
    ),
}


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Features, target and the number of splits."""
    table = np.loadtxt(folder / "data.txt")
    features = np.loadtxt(folder / "index_features.txt").astype(int).ravel()
    target = int(np.loadtxt(folder / "index_target.txt"))
    return (
        table[:, features],
        table[:, target],
        int(np.loadtxt(folder / "n_splits.txt")),
    )


def splits(rows: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The standard splits: rows to train with, rows to test with."""
    random = np.random.RandomState(1)
    for _ in range(count):
        order = random.choice(range(rows), rows, replace=False)
        kept = round(0.9 * rows)
        yield order[:kept], order[kept:]


@dataclass
class Scores:
    """The results of all splits of one data set."""

    rmse: list[float] = field(default_factory=list)
    nll: list[float] = field(default_factory=list)
    covered: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @staticmethod
    def of(values: list[float]) -> tuple[float, float]:
        """Mean and its standard error."""
        return float(np.mean(values)), float(np.std(values) / math.sqrt(len(values)))


def protocol(x: np.ndarray, y: np.ndarray, count: int) -> Scores:
    """Ensembles of five networks of 50 relus, with defaults otherwise."""
    from kurve import Regressor

    scores = Scores()
    for number, (train, test) in enumerate(splits(len(y), count)):
        start = time.perf_counter()
        model = Regressor(
            hidden_layer_sizes=(50,),
            activation="relu",
            likelihood="gaussian",
            members=5,
            random_state=number,
        ).fit(x[train], y[train])
        mean, deviation = model.predict(x[test], return_std=True)
        low, high = model.predict_interval(x[test], coverage=0.9).T
        scores.seconds += time.perf_counter() - start
        error = y[test] - mean
        scores.rmse.append(math.sqrt(np.mean(error**2)))
        density = np.log(2.0 * math.pi * deviation**2) + (error / deviation) ** 2
        scores.nll.append(float(0.5 * np.mean(density)))
        scores.covered.append(float(np.mean((low <= y[test]) & (y[test] <= high))))
    return scores


def no_worse(mine: tuple[float, float], theirs: tuple[float, float]) -> bool:
    """Whether it is better, or equal within the larger of the two standard errors; the
    published figures are rounded to two decimals."""
    return mine[0] <= theirs[0] + max(mine[1], theirs[1], 0.005)


def by_default(x: np.ndarray, y: np.ndarray, count: int) -> dict[str, Scores]:
    """`Regressor()` and scikit-learn's with defaults, in turn on the same splits."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from kurve import Regressor

    makers: dict[str, Callable[[int], Any]] = {
        "Kurve": lambda seed: Regressor(random_state=seed),
        "MLPRegressor": lambda seed: make_pipeline(
            StandardScaler(), MLPRegressor(random_state=seed)
        ),
        "HistGradientBoosting": lambda seed: HistGradientBoostingRegressor(
            random_state=seed
        ),
    }
    found = {name: Scores() for name in makers}
    for number, (train, test) in enumerate(splits(len(y), count)):
        for name, make in makers.items():
            start = time.perf_counter()
            predicted = make(number).fit(x[train], y[train]).predict(x[test])
            found[name].seconds += time.perf_counter() - start
            error = y[test] - predicted
            found[name].rmse.append(math.sqrt(np.mean(error**2)))
    return found


def shown(value: float, error: float, digits: int = 2) -> str:
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def protocol_table(results: dict[str, Scores]) -> str:
    lines = [
        "| set | RMSE | PBP | MC-dropout | deep ensembles | NLL | PBP | MC-dropout "
        "| deep ensembles | 90 % interval covers | s a split |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    good = {"RMSE": 0, "NLL": 0}
    covered = []
    for name, scores in results.items():
        title, *published = PUBLISHED[name]
        rmse, nll = Scores.of(scores.rmse), Scores.of(scores.nll)
        theirs = published[-1]
        good["RMSE"] += no_worse(rmse, theirs[:2])
        good["NLL"] += no_worse(nll, theirs[2:])
        covered.append(float(np.mean(scores.covered)))
        digits = 4 if rmse[0] < 0.05 else 3 if rmse[0] < 0.5 else 2
        cells = [title, shown(*rmse, digits), *(shown(p[0], p[1]) for p in published)]
        cells += [shown(*nll), *(shown(p[2], p[3]) for p in published)]
        cells += [f"{covered[-1]:.1%}", f"{scores.seconds / len(scores.rmse):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    total = sum(scores.seconds for scores in results.values())
    lines += [
        "",
        "Better than deep ensembles or equal within the standard error: RMSE on "
        f"{good['RMSE']}, NLL on {good['NLL']} of {len(results)} sets. The intervals "
        f"cover {np.mean(covered):.1%} on average. All splits of all sets: "
        f"{total:.0f} s.",
    ]
    return "\n".join(lines)


def default_table(results: dict[str, dict[str, Scores]]) -> str:
    names = list(next(iter(results.values())))
    lines = [
        "| set | " + " | ".join(f"{name}, RMSE | s" for name in names) + " |",
        "|---|" + "---:|" * (2 * len(names)),
    ]
    for name, each in results.items():
        best = min(np.mean(scores.rmse) for scores in each.values())
        cells = [PUBLISHED[name][0]]
        for scores in each.values():
            mean, error = Scores.of(scores.rmse)
            text = shown(mean, error, 4 if mean < 0.05 else 3)
            cells.append(f"**{text}**" if mean == best else text)
            cells.append(f"{scores.seconds / len(scores.rmse):.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = ROOT.parent / "shared" / "data" / "uci"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--sets", default=",".join(PUBLISHED))
    parser.add_argument("--splits", type=int, help="only the first so many")
    parser.add_argument("--default-splits", type=int, default=5)
    parser.add_argument("--only", choices=["protocol", "default"])
    options = parser.parse_args()
    first: dict[str, Scores] = {}
    second: dict[str, dict[str, Scores]] = {}
    for name in options.sets.split(","):
        x, y, count = load(options.data / name)
        count = min(count, options.splits or count)
        if options.only != "default":
            first[name] = protocol(x, y, count)
            print(protocol_table({name: first[name]}).splitlines()[2], flush=True)
        if options.only != "protocol":
            second[name] = by_default(x, y, min(count, options.default_splits))
            print(default_table({name: second[name]}).splitlines()[2], flush=True)
    page = [__doc__.split("\n", 1)[0] if __doc__ else "", ""]
    if first:
        page += ["", protocol_table(first)]
    if second:
        page += ["", default_table(second)]
    print("\n".join(page))
    whole = options.sets == ",".join(PUBLISHED) and not options.splits
    if whole and options.only is None:
        target = ROOT / "docs" / "benchmarks" / "uci.md"
        target.write_text(
            PAGE.format(
                machine=machine.describe()["processor"],
                cores=os.cpu_count(),
                protocol=protocol_table(first),
                default=default_table(second),
                splits=options.default_splits,
            )
        )
        print(f"wrote {target}")


PAGE = """# Regression on nine UCI sets

Written by `python -m bench.uci` on {machine}, {cores} cores.

## With error bars

The protocol of Hernández-Lobato & Adams 2015: 20 random splits (protein 5) of 90 % for
training and 10 % for testing, one hidden layer of 50 relus. Kurve:
`Regressor(hidden_layer_sizes=(50,), activation="relu", likelihood="gaussian",
members=5)` and everything else by default, the same for all sets. The other columns are
table 1 of Lakshminarayanan, Pritzel & Blundell 2017 (arXiv:1612.01474). Means and
standard errors; NLL is the mean negative log likelihood in the target's units.

{protocol}

## By default, beside scikit-learn

`Regressor()` beside `MLPRegressor` (behind a `StandardScaler`) and
`HistGradientBoostingRegressor`, all with their defaults, on the first {splits} splits;
seconds of one fit and prediction. The smallest error is in bold.

{default}
"""


if __name__ == "__main__":
    main()
