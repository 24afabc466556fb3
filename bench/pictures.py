"""The plots of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import ceilings, claims
from bench.cases import Case

COLOURS = {
    "Kurve": "#c1272d",
    "PyTorch": "#e8871e",
    "JAX": "#2a6f97",
    "Keras on JAX": "#6ba3c4",
    "Keras on TensorFlow": "#7a5195",
    "Keras on PyTorch": "#e9b872",
    "scikit-learn": "#5a8f69",
}
GREY = "#555555"


def draw(results: dict[str, Any], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "legend.frameon": False,
        }
    )
    for name, picture in (("article", article), ("sweep", sweep), ("growth", growth)):
        figure = picture(pyplot, results)
        figure.savefig(folder / f"{name}.png", dpi=130)
        pyplot.close(figure)


def colour(name: str) -> str:
    plain = name.partition(",")[0].removesuffix(" compiled").removesuffix(" (NumPy)")
    return COLOURS.get(plain, COLOURS["Kurve"])


def article(pyplot: Any, results: dict[str, Any]) -> Any:
    """Bars: a step, and the whole program."""
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(10, 4), width_ratios=(1, 1), layout="constrained"
    )
    steps = {
        name: claims.median(times) * 1e3
        for name, times in results["a"]["times"].items()
        if times["seconds"]
    }
    bars(left, steps, "ms")
    floor = ceilings.floor(Case(**results["a"]["case"]), results["ceilings"]) * 1e3
    left.axvline(floor, color=GREY, linestyle=":")
    left.text(floor, -0.8, f" floor {floor:.2f}", color=GREY, ha="left", va="center")
    left.set_title("One step of the article's model", pad=12)
    programs = {
        name: row["article"]
        for name, row in results["g"]["programs"].items()
        if "article" in row
    }
    bars(right, programs, "s")
    right.set_title("Whole program, 100 steps", pad=12)
    return figure


def bars(axes: Any, values: dict[str, float], unit: str) -> None:
    """Horizontal bars, the shortest on top, on a logarithmic axis, with their
    values."""
    ordered = sorted(values.items(), key=lambda item: item[1])
    names = [name for name, _ in ordered]
    lengths = [value for _, value in ordered]
    drawn = axes.barh(names, lengths, color=[colour(n) for n in names], height=0.7)
    for name, bar in zip(names, drawn, strict=True):
        bar.set_alpha(0.55 if "," in name or "(" in name else 1)  # variants
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(lengths) / 2, max(lengths) * 5)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:g}")
    for row, value in enumerate(lengths):
        axes.text(value * 1.05, row, f"{value:.3g} {unit}", va="center")


def sweep(pyplot: Any, results: dict[str, Any]) -> Any:
    """Left: the rate over the size of a step. Right: each rival's ratio."""
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(10, 4), layout="constrained", sharex=True
    )
    points = sorted(results["b"], key=lambda found: Case(**found["case"]).flops)
    points = [
        point | {"times": point["times"] | {"PyTorch": faster_torch(point["times"])}}
        for point in points
    ]
    for name in ("PyTorch", "JAX", "Kurve"):
        having = [p for p in points if p["times"].get(name, {}).get("seconds")]
        flops = [Case(**p["case"]).flops for p in having]
        seconds = [claims.median(p["times"][name]) for p in having]
        rates = [f / s / 1e9 for f, s in zip(flops, seconds, strict=True)]
        left.plot(flops, rates, "o", color=colour(name), markersize=5, label=name)
        if name != "Kurve":
            ratios = [claims.ratio(p, name) for p in having]
            right.plot(flops, ratios, "o", color=colour(name), markersize=5, label=name)
    top = ceilings.rates(results["ceilings"], 2)[0] / 1e9
    left.axhline(top, color=GREY, linestyle=":")
    place = left.get_yaxis_transform()
    left.text(0.02, top * 1.1, "large products", color=GREY, transform=place)
    left.set_title("GFLOP/s of a whole training step")
    right.axhline(1, color=COLOURS["Kurve"])
    right.set_title("Time of a step, rival by Kurve (above 1: Kurve is faster)")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("operations of a step")
        axes.grid(alpha=0.2)
        axes.legend(loc="lower right" if axes is left else "upper right")
    return figure


def faster_torch(times: dict[str, Any]) -> dict[str, Any]:
    """PyTorch on one thread or on two, whichever is faster at this point."""
    both = [times[n] for n in ("PyTorch", "PyTorch, 1 thread") if n in times]
    having = [one for one in both if one["seconds"]]
    return min(having, key=claims.median, default={"seconds": []})


def growth(pyplot: Any, results: dict[str, Any]) -> Any:
    """An epoch over rows, a call of predict over rows, an ensemble's step over
    members."""
    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
    epoch, calls, members = axes
    curves(epoch, results["c"], lambda f: f["case"]["rows"], per_epoch=True)
    epoch.set_title("Shuffled epoch of 2 x 64, ms")
    epoch.set_xlabel("rows")
    article = [f for f in results["d"] if f["case"]["width"] == 256]
    curves(calls, article, lambda f: f["rows"])
    calls.set_title("predict, article's model, ms")
    calls.set_xlabel("rows")
    curves(members, results["e"], lambda f: f["case"]["members"])
    members.set_title("Step of an ensemble of 2 x 64, ms")
    members.set_xlabel("members")
    shown = {}
    for handle, name in zip(*calls.get_legend_handles_labels(), strict=True):
        shown[name] = handle
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown)
    )
    return figure


def curves(axes: Any, found: list[Any], x: Any, per_epoch: bool = False) -> None:
    names = {name: None for one in found for name in one["times"]}
    for name in names:
        having = [one for one in found if one["times"].get(name, {}).get("seconds")]
        scale = [1e3 * (Case(**p["case"]).steps if per_epoch else 1) for p in having]
        values = [
            claims.median(p["times"][name]) * s
            for p, s in zip(having, scale, strict=True)
        ]
        axes.plot(
            [x(p) for p in having],
            values,
            "o-",
            color=colour(name),
            label=name,
            markersize=4,
            linewidth=2 if name == "Kurve" else 1.2,
            zorder=3 if name == "Kurve" else 2,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(alpha=0.2)
