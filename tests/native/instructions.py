"""Count the instructions of one training step and compare them with instructions.json.

The count is the difference between two runs with different numbers of steps, under
callgrind, on one thread, with AVX2 because valgrind has no AVX-512. It depends on the
compiler, so it is compared only for the compiler that made the figures.

usage: instructions.py DRIVER [--update]
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

FIGURES = Path(__file__).with_name("instructions.json")
ISA = "x86-64-v3"
TOLERANCE = 0.03
# name -> (model, batch, steps of the two runs)
STEPS = {
    "1 -> 7 x 256 relu -> 1, Adam, batch 20": ("article", 20, (2, 6)),
    "8 -> 2 x 64 relu -> 1, Adam, batch 32": ("small", 32, (10, 60)),
    "28 x 28, 32 and 64 filters 3 x 3, Adam, batch 8": ("convnet", 8, (2, 6)),
}


def count(driver: str, model: str, batch: int, steps: int) -> int:
    """Instructions of a whole run."""
    result = subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            driver,
            "steps",
            model,
            str(batch),
            str(steps),
        ],
        env={**os.environ, "KURVE_ISA": ISA},
        capture_output=True,
        text=True,
        check=False,
    )
    match = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode or not match:
        sys.exit(f"valgrind failed:\n{result.stdout}{result.stderr}")
    return int(match[1])


def main(driver: str, update: bool) -> None:
    compiler = subprocess.run(
        [driver, "compiler"], capture_output=True, text=True, check=True
    ).stdout.strip()
    counts = {}
    for name, (model, batch, (few, many)) in STEPS.items():
        difference = count(driver, model, batch, many) - count(
            driver, model, batch, few
        )
        counts[name] = round(difference / (many - few))
    if update:
        figures = {"compiler": compiler, "isa": ISA, "instructions": counts}
        FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
    committed = json.loads(FIGURES.read_text())
    same = committed["compiler"] == compiler
    failed = False
    for name, now in counts.items():
        then = committed["instructions"][name]
        change = now / then - 1
        print(f"{name}: {now:,} instructions a step, {change:+.1%} of {then:,}")
        failed = failed or abs(change) > TOLERANCE
    if not same:
        print(
            f"not compared: other compiler, {compiler} here and "
            f"{committed['compiler']} for the figures"
        )
    elif failed:
        sys.exit(
            f"The count changed by more than {TOLERANCE:.0%}. If that is intended, run "
            "make count-update and commit instructions.json with the reason."
        )


if __name__ == "__main__":
    main(sys.argv[1], "--update" in sys.argv[2:])
