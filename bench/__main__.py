"""Times Kurve and its rivals in turn, after comparing their answers.

python -m bench                 all parts; writes docs/benchmarks
python -m bench --quick         a few cases against PyTorch; prints
python -m bench --parts ad      some parts; prints
python -m bench --renew ad      measures some parts again; the page says so
python -m bench --report        rewrites the page from results.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from pathlib import Path

from bench import machine, pictures, report, tables
from bench.contest import Contest
from bench.parts import Benchmark

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
ALL_PARTS = "abcdefg"


def measure(letters: str, quick: bool, patience: float) -> dict:
    start = time.monotonic()
    with Contest(patience) as contest:
        results = Benchmark(contest, quick).run(letters)
    results["machine"] = machine.describe()
    results["date"] = datetime.date.today().isoformat()
    results["command"] = "make bench-quick" if quick else "make bench"
    results["minutes"] = (time.monotonic() - start) / 60
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", default=ALL_PARTS, help="some of abcdefg")
    parser.add_argument("--renew", default="", help="some of abcdefg")
    parser.add_argument("--report", action="store_true", help="from results.json")
    parser.add_argument(
        "--patience",
        type=float,
        default=None,
        help="seconds, in all, to wait for other programs to leave the cores alone "
        "(300, with --quick 30)",
    )
    options = parser.parse_args()
    if options.patience is None:
        options.patience = 30.0 if options.quick else 300.0
    stored = FOLDER / "results.json"
    if options.report:
        results = json.loads(stored.read_text())
    elif options.renew:
        results = json.loads(stored.read_text())
        later = measure(options.renew, False, options.patience)
        for letter in options.renew:
            results[letter] = later[letter]
            results.setdefault("renewed", {})[letter] = later["date"]
    else:
        results = measure(options.parts, options.quick, options.patience)
    if options.quick or options.parts != ALL_PARTS:
        print("\n" + report.page(results))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    stored.write_text(json.dumps(tables.rounded(results)) + "\n")
    (FOLDER / "README.md").write_text(report.page(results))
    pictures.draw(results, FOLDER)
    print(f"\nwrote {FOLDER} in {results['minutes']:.1f} minutes")


if __name__ == "__main__":
    main()
