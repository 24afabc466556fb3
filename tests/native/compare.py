"""Compare the numbers printed by two builds of tests/native/cpp/driver.cpp.

usage: compare.py PRINTED PRINTED
"""

from __future__ import annotations

import sys
from pathlib import Path

TOLERANCE = 1e-5  # relative to the larger of 1 and the number


def read(path: str) -> list[tuple[str, float]]:
    lines = [line.rsplit(" ", 1) for line in Path(path).read_text().splitlines()]
    return [(name, float(n)) for name, n in lines if not name.endswith(" bits")]


def main(first: str, second: str) -> None:
    numbers, others = read(first), read(second)
    if [name for name, _ in numbers] != [name for name, _ in others] or not numbers:
        sys.exit(f"{first} and {second} do not list the same numbers")
    worst, where = 0.0, ""
    for (name, a), (_, b) in zip(numbers, others, strict=True):
        difference = abs(a - b) / max(1.0, abs(a))
        if not difference <= worst:  # NaN counts
            worst, where = difference, f"{name}: {a} and {b}"
    print(f"{len(numbers)} numbers, largest difference {worst:.1e}, at {where}")
    if not worst <= TOLERANCE:
        sys.exit(f"{first} and {second} differ by more than {TOLERANCE}")


if __name__ == "__main__":
    main(*sys.argv[1:])
