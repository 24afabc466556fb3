"""What Kurve claims, and whether the results support it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from bench import ceilings
from bench.cases import Case

Verdict = tuple[str, str, str, bool]
"""Claim, bound, measured value, whether it is met."""

WHERE = {
    "b": "{case.label}",
    "c": "epoch of {case.rows:,} rows",
    "d": "predict {rows:,} rows, {case.network}",
    "e": "ensemble of {case.members}",
}
"""The label of a point of each part."""

ARTICLE = {"Keras on TensorFlow": 12, "PyTorch": 5, "Keras on JAX": 3, "JAX": 2}
"""Claimed speed of the article's step over a rival's."""

LOST = 0.95
"""A rival counts as faster if its ratio is below this."""


def judge(results: dict[str, Any]) -> Iterator[Verdict]:
    yield from _article(results)
    yield from _sweep(results)
    for found, most in ((_call(results, 256), 60.0), (_call(results, 64), 5.0)):
        what = f"predict of one row, {Case(**found['case']).network}"
        yield at_most(what, median(found["times"]["Kurve"]) * 1e6, most, " µs")
    members = {f["case"]["members"]: f["times"]["Kurve"] for f in results["e"]}
    grown = median(members[8]) / median(members[1])
    yield at_most("ensemble of 8 against one model", grown, 4.5, " x")
    slower = max(
        median(f["loaded"]["times"]["Kurve"]) / median(f["alone"]["times"]["Kurve"])
        for f in results["f"]
    )
    yield at_most("slowdown with a neighbour", slower, 2.2, " x")
    times = results["f"][1]["alone"]["times"]
    gain = median_ratio(times["Kurve, 1 thread"], times["Kurve"])
    yield at_least("gain of 2 threads, article at batch 200", gain, 1.6)


def _article(results: dict[str, Any]) -> Iterator[Verdict]:
    found, floor = results["a"], _article_floor(results)
    step = median(found["times"]["Kurve"])
    yield at_most("article's step against the floor", step / floor, 1.6, " x")
    for name, bound in ARTICLE.items():
        if found["times"].get(name, {}).get("seconds"):
            shown = ratio(found, name)
            yield at_least(f"article's step against {name}", shown, bound)
    programs = results["g"]["programs"]
    keras = [
        r["article"] for n, r in programs.items() if "Keras" in n and "article" in r
    ]
    if keras:
        gain = min(keras) / programs["Kurve"]["article"]
        yield at_least("whole program against the fastest Keras", gain, 10)


def _article_floor(results: dict[str, Any]) -> float:
    return ceilings.floor(Case(**results["a"]["case"]), results["ceilings"])


def unreachable(results: dict[str, Any]) -> Iterator[tuple[str, int, float, float]]:
    """Claims that no program could meet on this machine: the rival, the factor, the
    seconds of a step at that speed, and the floor, which is higher."""
    floor = _article_floor(results)
    for name, bound in ARTICLE.items():
        times = results["a"]["times"].get(name)
        if times and median(times) / bound < floor:
            yield name, bound, median(times) / bound, floor


def _sweep(results: dict[str, Any]) -> Iterator[Verdict]:
    ratios = [ratio(f, n) for f in results["b"] for n in _rivals(f)]
    least = min(ratios, default=float("nan"))
    yield at_least("smallest ratio of the sweep", least, LOST)
    rate = ceilings.rates(results["ceilings"], 2)[0]
    parts = []
    for found in results["b"]:
        case = Case(**found["case"])
        if case.width >= 1024 and case.batch >= 1024:
            parts.append(case.flops / median(found["times"]["Kurve"]) / rate)
    if parts:
        what = "fraction of the best sgemm, width and batch >= 1024"
        yield at_least(what, min(parts), 0.85)


def _call(results: dict[str, Any], width: int) -> dict[str, Any]:
    found = (f for f in results["d"] if f["case"]["width"] == width and f["rows"] == 1)
    return next(found)


def lost_points(results: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Where, who, ratio."""
    points = [("article's model", results["a"])]
    for letter, form in WHERE.items():
        for found in results[letter]:
            where = form.format(case=Case(**found["case"]), rows=found.get("rows"))
            points.append((where, found))
    for where, found in points:
        for name in _rivals(found):
            if ratio(found, name) < LOST:
                yield where, name, ratio(found, name)


def _rivals(found: dict[str, Any]) -> list[str]:
    return [
        name
        for name, times in found["times"].items()
        if times["seconds"] and not name.startswith("Kurve")
    ]


def ratio(found: dict[str, Any], name: str) -> float:
    """A rival's time over Kurve's."""
    return median_ratio(found["times"][name], found["times"]["Kurve"])


def median_ratio(times: dict[str, Any], ours: dict[str, Any]) -> float:
    """Median of the rounds' ratios: what slows a whole round cancels."""
    pairs = zip(times["seconds"], ours["seconds"], strict=False)
    return statistics.median(theirs / own for theirs, own in pairs)


def median(times: dict[str, Any]) -> float:
    return statistics.median(times["seconds"]) if times["seconds"] else float("nan")


def at_most(claim: str, value: float, bound: float, unit: str) -> Verdict:
    return claim, f"at most {bound:g}{unit}", f"{value:.3f}{unit}", value <= bound


def at_least(claim: str, value: float, bound: float) -> Verdict:
    return claim, f"at least {bound:g} x", f"{value:.3f} x", value >= bound
