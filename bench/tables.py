"""Numbers as the tables show them, and pages of tables."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import claims
from bench.claims import LOST, median


def figures(times: dict[str, Any], scale: float) -> list[str]:
    """Median and best round, or the reason why there are none."""
    if not times["seconds"]:
        return [times.get("failure") or "–", ""]
    return [number(median(times) * scale), number(min(times["seconds"]) * scale)]


def versus(found: dict[str, Any], name: str) -> str:
    """Ratio of a rival; bold where Kurve loses."""
    if name not in found["times"]:
        return ""
    shown = ratio(found["times"][name], found["times"]["Kurve"])
    rival = not name.startswith("Kurve")
    lost = rival and shown != "–" and claims.ratio(found, name) < LOST
    return f"**{shown}**" if lost else shown


def ratio(times: dict[str, Any], ours: dict[str, Any]) -> str:
    if not times["seconds"] or not ours["seconds"]:
        return "–"
    return number(claims.median_ratio(times, ours))


def over(times: dict[str, Any], floor: float) -> str:
    return f"{median(times) / floor:.1f}" if times["seconds"] else "–"


def number(value: float | None) -> str:
    """Three significant digits."""
    if value is None or value != value:  # NaN: not measured
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def rows(
    columns: Sequence[str],
    body: Iterable[Sequence[Any]],
    numbers: bool = True,
) -> str:
    """A Markdown table; numbers are right-aligned."""
    rule = ["---" if i == 0 or not numbers else "---:" for i in range(len(columns))]
    lines = [columns, rule, *body]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def rounded(value: Any) -> Any:
    """The results with six digits, as they are stored."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return value


def show(page: Callable[[], str], target: Path, description: str) -> None:
    """The main program of a page: print it and, with --write, write it."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=plain)
    parser.add_argument("--write", action="store_true", help=f"to {target.name}")
    options = parser.parse_args()
    text = page()
    if options.write:
        target.write_text(text)
    print(text)
