"""The Markdown page: machine, claims, then a table for each part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import ceilings, claims
from bench.cases import Case
from bench.claims import median
from bench.contenders import WHAT
from bench.tables import figures, number, over, ratio, rows, versus


def page(results: dict[str, Any]) -> str:
    parts = {letter: write for letter, write in PARTS.items() if letter in results}
    text = [head(results)]
    if results.get("notes"):  # written by hand into results.json
        text.append(
            "## Notes\n\n" + "\n".join(f"- {note}" for note in results["notes"])
        )
    if set(PARTS) <= set(results):
        text += [claims_table(results), losses(results)]
    text.append(ceilings_table(results))
    text += [write(results) for write in parts.values()]
    return "\n\n".join(text) + "\n"


def head(results: dict[str, Any]) -> str:
    machine = "\n".join(
        f"- {name}: {value}" for name, value in results["machine"].items()
    )
    versions = ", ".join(f"{n} {v}" for n, v in sorted(results["versions"].items()))
    watch = results["watch"]
    missing = "".join(
        f"\n- not measured: {name} ({reason})"
        for name, reason in results["unavailable"].items()
        if not name.startswith("ceilings")
    )
    renewed = "".join(
        f"\nPart ({letter}) was measured again later, on {date}."
        for letter, date in results.get("renewed", {}).items()
    )
    return f"""# Benchmarks

Written by `{results["command"]}` on {results["date"]}, in {results["minutes"]:.0f} min.
{renewed}

{machine}
- versions: {versions}
- meanwhile other programs used {watch["others"]:.0%} of the cores' time, and other
  machines on the same host {watch["stolen"]:.0%}; rounds waited
  {results["waited"]:.0f} s for a quieter moment{missing}

Every contender runs in its own process. In each round, every contender gets a turn of
about 0.15 s while the other processes are stopped, so a slow minute affects all alike.
Figures are medians over the rounds; a ratio is the median of the rounds' ratios, rival
over Kurve: above 1, Kurve is faster. Before anything is timed, all get the same weights
and batches, and their predictions must agree: to 1e-5 before training, to 1e-3 after 10
steps of Adam (for the check, PyTorch's epsilon is given Keras's meaning). A contender
that fails the check has no figure.

{rows(["name", "what is timed"], WHAT.items(), numbers=False)}

*1 thread* after a name means a process limited to one thread; all others may use both
cores. The *floor* is the time of the step's operations at the best rate of large
products that any library reached here, plus one read and write of parameters and Adam
state at the rate of copies of that size."""


def claims_table(results: dict[str, Any]) -> str:
    found = [
        [claim, wanted, shown, "yes" if met else "**no**"]
        for claim, wanted, shown, met in claims.judge(results)
    ]
    text = "## Claims\n\n" + rows(["claim", "wanted", "measured", "met"], found)
    for name, times, step, floor in claims.unreachable(results):
        text += (
            f"\n\nOut of reach on this machine: a step at {times} times the speed of "
            f"{name} would take {step * 1e3:.3f} ms, less than the floor of "
            f"{floor * 1e3:.3f} ms."
        )
    return text


def losses(results: dict[str, Any]) -> str:
    """Every point at which a rival is faster by more than 5 %."""
    lines = [
        f"- {where}: {name} takes {found:.2f} of Kurve's time"
        for where, name, found in claims.lost_points(results)
    ]
    title = "## Where Kurve is slower\n\n"
    return title + ("\n".join(lines) or "At no point by more than 5 %.")


def ceilings_table(results: dict[str, Any]) -> str:
    table = []
    for name, row in results["ceilings"].items():
        what = name.replace(",", " on") + (" threads" if name[-1] == "2" else " thread")
        table.append([what, f"{row['median']:.0f}", f"{row['best']:.0f}"])
    return f"""## The machine's ceilings

Products of {ceilings.SIZE} x {ceilings.SIZE} matrices in GFLOP/s, copies in GB/s (bytes
read plus written; the size is per thread), measured between the parts.

{rows(["what", "median", "best"], table)}"""


def part_a(results: dict[str, Any]) -> str:
    found = results["a"]
    case = Case(**found["case"])
    floor = ceilings.floor(case, results["ceilings"])
    single = ceilings.floor(case, results["ceilings"], 1)
    body = []
    for name, times in found["times"].items():
        body.append(
            [name, *figures(times, 1e3), over(times, floor), versus(found, name)]
        )
    picture = "![Milliseconds a step of all contenders](article.png)\n\n"
    columns = ["", "ms a step", "best round", "times the floor", "ratio"]
    text = f"""## (a) The article's model

1 → 7 x 256 relu → 1, batch 20, Adam: {case.flops / 1e6:.0f} MFLOP and
{2 * case.state_bytes / 1e6:.1f} MB a step, so the floor is {floor * 1e3:.2f} ms on two
threads and {single * 1e3:.2f} ms on one.

{picture}{rows(columns, body)}"""
    if trained := found.get("trained"):
        body = [
            [name, *figures(times, 1e3), over(times, floor), versus(trained, name)]
            for name, times in trained["times"].items()
        ]
        text += f"""

The same after each has trained {trained["steps"]:,} steps: many gradients are then
tiny, and units are dead.

{rows(columns, body)}"""
    return text


def part_b(results: dict[str, Any]) -> str:
    names = ["PyTorch", "PyTorch, 1 thread", "JAX"]
    body = []
    for found in results["b"]:
        case, times = Case(**found["case"]), found["times"]
        floor = ceilings.floor(case, results["ceilings"])
        rate = case.flops / median(times["Kurve"]) / 1e9
        body.append(
            [case.width, case.depth, case.batch, number(median(times["Kurve"]) * 1e3)]
            + [f"{rate:.0f}", over(times["Kurve"], floor)]
            + [versus(found, name) for name in names]
        )
    columns = [
        "width",
        "depth",
        "batch",
        "Kurve, ms",
        "GFLOP/s",
        "times the floor",
    ]
    others = sorted(
        {name for found in results["b"] for name in found["times"]} - {"Kurve", *names}
    )
    also = [
        [Case(**found["case"]).label, *(versus(found, name) for name in others)]
        for found in results["b"]
        if others and others[0] in found["times"]
    ]
    text = f"""## (b) Widths, depths, batches

The article's family of networks. The last columns are ratios.

![Operations a second against operations a step](sweep.png)

{rows([*columns, *names], body)}"""
    return text + ("\n\n" + rows(["ratio of", *others], also) if also else "")


def part_c(results: dict[str, Any]) -> str:
    return f"""## (c) Rows

16 → 2 x 64 relu → 1, batch 100, one shuffled epoch; milliseconds, and ratios.

{compared(results["c"], lambda f: f"{f['case']['rows']:,}", "rows", epochs=True)}"""


def part_d(results: dict[str, Any]) -> str:
    def label(found: dict[str, Any]) -> str:
        return f"{Case(**found['case']).network}, {found['rows']:,}"

    return f"""## (d) Prediction

One call from Python, arrays in and out, in milliseconds. Keras is called through
`predict_on_batch`: its `predict` adds bookkeeping.

{compared(results["d"], label, "network, rows")}"""


def part_e(results: dict[str, Any]) -> str:
    single = median(results["e"][0]["times"]["Kurve"])
    body = []
    for found in results["e"]:
        ours = median(found["times"]["Kurve"])
        others = [name for name in found["times"] if name != "Kurve"]
        body.append(
            [found["case"]["members"], number(ours * 1e3), f"{ours / single:.2f}"]
            + [versus(found, name) for name in others]
        )
    columns = ["members", "Kurve, ms a step of all", "times one", *others]
    return f"""## (e) Ensembles

Members of 1 → 2 x 64 relu → 1, batch 32: `kurve.ensemble`, `jax.vmap`, and batched
products in PyTorch.

{rows(columns, body)}"""


def part_f(results: dict[str, Any]) -> str:
    body = []
    for found in results["f"]:
        alone, loaded = found["alone"]["times"], found["loaded"]["times"]
        case = Case(**found["alone"]["case"])
        for name in (name for name in alone if not name.endswith(", 1 thread")):
            one = alone.get(f"{name}, 1 thread", {"seconds": []})
            both, beside = alone[name], loaded[name]
            shown = [figures(times, 1e3)[0] for times in (one, both, beside)]
            slower = number(median(beside) / median(both))
            row = [*shown[:2], ratio(one, both), shown[2], slower]
            body.append([case.label, name, *row])
    columns = ["case", "", "1 thread, ms", "2 threads, ms", "gain"]
    return f"""## (f) Threads, and a neighbour

The neighbour is a process that computes endlessly on the first core.

{rows([*columns, "beside the neighbour, ms", "slower by"], body)}"""


def part_g(results: dict[str, Any]) -> str:
    body = []
    for name, row in results["g"]["programs"].items():
        keys = ("import", "article", "peak MB", "installed MB")
        body.append([name, *(number(row.get(key)) for key in keys)])
    columns = ["", "import, s", "article 10 x 10, s", "its peak memory, MB"]
    return f"""## (g) Whole programs

From the start of Python to its exit: import, building, 100 steps of the article's run,
prediction. On disk: the package and all its requirements. The size of Kurve's wheel is
{results["g"]["wheel MB"]:.2f} MB.

{rows([*columns, "on the disk, MB"], body)}"""


PARTS = {
    "a": part_a,
    "b": part_b,
    "c": part_c,
    "d": part_d,
    "e": part_e,
    "f": part_f,
    "g": part_g,
}


def compared(
    found: Sequence[dict[str, Any]], label: Any, what: str, epochs: bool = False
) -> str:
    """A row for each case: Kurve's milliseconds, and the ratios of all others."""
    names = [name for name in found[0]["times"] if name != "Kurve"]
    body = []
    for one in found:
        scale = 1e3 * (Case(**one["case"]).steps if epochs else 1)
        body.append(
            [label(one), number(median(one["times"]["Kurve"]) * scale)]
            + [versus(one, name) for name in names]
        )
    return rows([what, "Kurve, ms", *names], body)
