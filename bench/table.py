"""A contest on real tables: Kurve beside the best of the field, all with defaults.

python -m bench.table                        prints; --write writes table.md
python -m bench.table --sets yacht,german --splits 2 --contenders "Kurve;CatBoost"
python -m bench.table --keep results.jsonl   keeps results, and measures what is missing

19 real tables and the nine UCI sets (`bench.real_tables`), fixed splits, at most 4,000
rows to train with, one thread, processor time of fit and predict. The errors are RMSE
for numbers, log loss for classes. Needs catboost, lightgbm, xgboost, scikit-learn and,
if they shall take part, pytabkit: other contenders are left out where they are missing.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine, real_tables, tables
from bench.rivals import CONTENDERS, probabilities

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "table.md"
LEAST = 1e-12
"""Probabilities are at least this."""

CLEAR = 0.01
"""A set is won or lost by more than this fraction of the error."""


def measure(table: real_tables.RealTable, name: str, split: int) -> dict[str, Any]:
    """Errors and time of one contender on one split."""
    train, test = list(table.splits(split + 1))[split]
    X, y = table.X.iloc[train].reset_index(drop=True), table.y[train]
    T, truth = table.X.iloc[test].reset_index(drop=True), table.y[test]
    found: dict[str, Any] = {"set": table.name, "contender": name, "split": split}
    start = time.process_time()
    model, T = CONTENDERS[name].train(X, y, T, table.classes)
    if table.classes:
        each = probabilities(model, T, table.classes)
        found["seconds"] = time.process_time() - start
        chosen = np.maximum(each[np.arange(len(truth)), truth], LEAST)
        found["loss"] = float(-np.log(chosen).mean())
        found["wrong"] = float((each.argmax(axis=1) != truth).mean())
        return found
    predicted = np.asarray(model.predict(T)).reshape(-1)
    found["seconds"] = time.process_time() - start
    # In units of the standard deviation of y.
    size = float(table.y.std())
    found["loss"] = float(np.sqrt(np.mean((predicted - truth) ** 2))) / size
    if name.startswith("Kurve"):
        mean, std = model.predict(T, return_std=True)
        squares = ((truth - mean) / std) ** 2
        terms = np.log(2 * math.pi) + 2 * np.log(std / size) + squares
        found["nll"] = float(terms.mean() / 2)
        low, high = model.predict_interval(T, coverage=0.9).T
        found["covered"] = float(((low <= truth) & (truth <= high)).mean())
    return found


def collect(
    sets: Sequence[str], contenders: Sequence[str], splits: int, keep: Path | None
) -> list[dict[str, Any]]:
    """All results; those in the file `keep` are not measured again."""
    results: list[dict[str, Any]] = []
    if keep is not None and keep.exists():
        results = [json.loads(line) for line in keep.read_text().splitlines()]
    done = {(r["set"], r["contender"], r["split"]) for r in results}
    for name in sets:
        table = real_tables.load(name)
        for contender in contenders:
            for split in range(splits):
                if (name, contender, split) in done:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        found = measure(table, contender, split)
                    except ImportError as error:
                        print(f"{contender} is left out: {error}")
                        break
                results.append(found)
                if keep is not None:
                    with keep.open("a") as file:
                        file.write(json.dumps(found) + "\n")
    return results


def geometric(values: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(float(np.mean([math.log(max(v, LEAST)) for v in values])))


class Results:
    """Means over the splits."""

    def __init__(self, results: Sequence[dict[str, Any]]) -> None:
        self.sets = list(dict.fromkeys(r["set"] for r in results))
        self.contenders = [
            name for name in CONTENDERS if any(r["contender"] == name for r in results)
        ]
        self.splits = 1 + max(r["split"] for r in results)
        self._cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for r in results:
            self._cells.setdefault((r["set"], r["contender"]), []).append(r)

    def mean(self, name: str, contender: str, what: str) -> float | None:
        """Of one set; None if it was not measured."""
        cell = [r for r in self._cells.get((name, contender), []) if what in r]
        return float(np.mean([r[what] for r in cell])) if cell else None

    def numeric(self, name: str) -> bool:
        return self.mean(name, self.contenders[0], "wrong") is None

    def row(self, contender: str, numeric: bool) -> list[str]:
        """Kurve's error and time as ratios to this contender's."""
        pairs, times = [], []
        for name in self.sets:
            ours = self.mean(name, "Kurve", "loss")
            theirs = self.mean(name, contender, "loss")
            if self.numeric(name) == numeric and ours and theirs:
                pairs.append(ours / theirs)
                ours_s = self.mean(name, "Kurve", "seconds")
                theirs_s = self.mean(name, contender, "seconds")
                assert ours_s is not None and theirs_s is not None
                times.append(ours_s / theirs_s)
        if not pairs:
            return [contender, "–", "–", "–", "–"]
        wins = sum(p < 1 - CLEAR for p in pairs)
        losses = sum(p > 1 + CLEAR for p in pairs)
        return [
            contender,
            f"{geometric(pairs):.3f}",
            f"{float(np.median(pairs)):.3f}",
            f"{wins} / {losses} of {len(pairs)}",
            f"{geometric(times):.2f}",
        ]


def page(found: Results) -> str:
    """The page in Markdown."""
    heads = ["beside", "error", "median", "better / worse", "processor time"]
    rivals = [name for name in found.contenders if name != "Kurve"]
    parts = [
        "# Real tables",
        "Written by `python -m bench.table --write` on "
        f"{machine.describe()['processor']}; {len(found.sets)} sets, "
        f"{found.splits} split{'s' if found.splits > 1 else ''} each.",
        (__doc__ or "").split("\n\n")[-1].strip(),
        "Kurve's error and time divided by each other contender's: geometric means "
        "over the sets, and the median; a set is better or worse by more than 1 %. "
        "Nothing was chosen by looking at a test part.",
    ]
    for numeric, title in (
        (True, "## Numbers (RMSE)"),
        (False, "## Classes (log loss)"),
    ):
        body = [found.row(name, numeric) for name in rivals]
        parts += [title, tables.rows(heads, body)]
        each = []
        for name in found.sets:
            if found.numeric(name) == numeric:
                losses = (found.mean(name, c, "loss") for c in found.contenders)
                each.append([name, *(tables.number(loss) for loss in losses)])
        parts += [
            "RMSE in standard deviations of the target:" if numeric else "Log loss:",
            tables.rows(["set", *found.contenders], each),
        ]
    each = []
    for name in found.sets:
        nll = found.mean(name, "Kurve", "nll")
        covered = found.mean(name, "Kurve", "covered")
        if nll is not None and covered is not None:
            each.append([name, f"{nll:.3f}", f"{100 * covered:.1f} %"])
    if each:
        parts += [
            "## What Kurve says of its errors",
            "Mean negative log likelihood, in standard deviations of the target, and "
            "how many targets lie in the intervals for 90 %.",
            tables.rows(["set", "NLL", "in the interval"], each),
        ]
    seconds = []
    for name in found.contenders:
        times = [found.mean(s, name, "seconds") for s in found.sets]
        known = [t for t in times if t is not None]
        seconds.append([name, f"{float(np.mean(known)):.2f}", f"{max(known):.1f}"])
    heads = ["", "mean", "longest"]
    parts += ["## Processor seconds of one fit", tables.rows(heads, seconds)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--sets", help="names, with commas; by default all")
    parser.add_argument("--contenders", help="names, with semicolons; by default all")
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="file of results")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    sets = options.sets.split(",") if options.sets else real_tables.names()
    names = options.contenders.split(";") if options.contenders else list(CONTENDERS)
    text = page(Results(collect(sets, names, options.splits, options.keep)))
    print(text)
    if options.write:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
