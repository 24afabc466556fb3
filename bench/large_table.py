"""`kurve fit` and scikit-learn's MLPRegressor on a large table, as whole processes.

python -m bench.large_table            prints; --write writes large_table.md
python -m bench.large_table --memory 200000,10000000    memory of kurve fit --chunks

100,000 rows and 20 columns in a CSV file, ten of them noise (Friedman 1991's function
of five, twice). Both read the file, scale the columns, fit with their defaults and
predict 10,000 more rows from a second file. They run in turn; medians.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "large_table.md"
ROWS, MORE, COLUMNS, NOISE = 100_000, 10_000, 20, 1.0
NAMES = [*(f"x{i}" for i in range(COLUMNS)), "y"]
PART = 200_000
MEMORY = "## Files larger than memory"

SKLEARN = """
import sys
import pandas
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
train, test = (pandas.read_csv(path) for path in sys.argv[1:3])
model = make_pipeline(StandardScaler(), MLPRegressor(random_state=0))
model.fit(train.drop(columns="y"), train["y"])
predicted = model.predict(test.drop(columns="y"))
pandas.DataFrame({"y": predicted}).to_csv(sys.argv[3], index=False)
"""


def friedman(x: np.ndarray) -> np.ndarray:
    """Friedman 1991, section 4.3: a smooth function of five columns."""
    waves = 10.0 * np.sin(np.pi * x[:, 0] * x[:, 1])
    return waves + 20.0 * (x[:, 2] - 0.5) ** 2 + 10.0 * x[:, 3] + 5.0 * x[:, 4]


def write_table(path: Path, rows: int, seed: int) -> np.ndarray:
    """Write a CSV file; returns the targets without noise."""
    random = np.random.default_rng(seed)
    x = random.random((rows, COLUMNS))
    truth = friedman(x[:, :5]) + friedman(x[:, 5:10])
    y = truth + NOISE * random.normal(size=rows)
    table = np.column_stack([x, y])
    np.savetxt(path, table, "%.8g", ",", header=",".join(NAMES), comments="")
    return truth


def seconds(*commands: list[str]) -> float:
    start = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def rmse(path: Path, truth: np.ndarray, column: int) -> float:
    predicted = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)[:, column]
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def measure(rounds: int) -> dict[str, tuple[list[float], float]]:
    """Seconds of every round and the error against the truth, for each program."""
    kurve = [sys.executable, "-m", "kurve"]
    found: dict[str, tuple[list[float], float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        train, test, model, out = (
            Path(folder) / name
            for name in ("train.csv", "test.csv", "model.kurve", "out.csv")
        )
        write_table(train, ROWS, 0)
        truth = write_table(test, MORE, 1)
        fit = [*kurve, "fit", str(train), "--target", "y", "--out", str(model)]
        fit += ["--seed", "0", "--quiet"]
        predict = [*kurve, "predict", str(model), str(test), "--out", str(out)]
        other = [sys.executable, "-c", SKLEARN, str(train), str(test), str(out)]
        times: dict[str, list[float]] = {
            "kurve fit, kurve predict": [],
            "MLPRegressor": [],
        }
        errors = {}
        for _ in range(rounds):
            times["kurve fit, kurve predict"].append(seconds(fit, predict))
            errors["kurve fit, kurve predict"] = rmse(out, truth, -1)
            out.unlink()
            times["MLPRegressor"].append(seconds(other))
            errors["MLPRegressor"] = rmse(out, truth, 0)
            out.unlink()
        for name, each in times.items():
            found[name] = each, errors[name]
    return found


def write_large(path: Path, rows: int) -> None:
    """Write the table of so many rows, a part at a time."""
    from pyarrow import csv, table

    random = np.random.default_rng(0)
    writer: Any = None
    for first in range(0, rows, PART):
        x = random.random((min(PART, rows - first), COLUMNS))
        y = friedman(x[:, :5]) + friedman(x[:, 5:10])
        y += NOISE * random.normal(size=len(x))
        columns = dict(zip(NAMES, np.round([*x.T, y], 6), strict=True))
        part = table(columns)
        writer = writer or csv.CSVWriter(path, part.schema)
        writer.write_table(part)
    writer.close()


def memory(rows: int, epochs: int) -> tuple[float, float, float, float]:
    """Megabytes of the file, and of the process at its peak; seconds of processor time;
    RMSE on held-out rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.csv"
        write_large(path, rows)
        words = [sys.executable, "-m", "kurve", "fit", str(path), "-t", "y"]
        words += ["--chunks", "--epochs", str(epochs), "--report", "r.html"]
        with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            text = process.stdout.read().decode()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        error = re.search(r"RMSE +([0-9.]+)", text)
        assert error is not None
        peak = used.ru_maxrss / 1024  # Linux counts in KiB
        seconds = used.ru_utime + used.ru_stime
        return path.stat().st_size / 1e6, peak, seconds, float(error[1])


def memory_section(sizes: list[int], epochs: int) -> str:
    lines = [
        MEMORY,
        "",
        f"`kurve fit large.csv -t y --chunks --epochs {epochs} --report r.html` on "
        "files of the same kind, written by `python -m bench.large_table --memory "
        f"{','.join(map(str, sizes))} --epochs {epochs} --write`: one process at its "
        "peak. The number of epochs changes the time and the error, not the memory.",
        "",
        "| rows | file, MB | memory, MB | processor time, s | RMSE (noise 1) |",
        "|---:|---:|---:|---:|---:|",
    ]
    for rows in sizes:
        size, peak, used, error = memory(rows, epochs)
        lines.append(
            f"| {rows:,} | {size:,.0f} | {peak:,.0f} | {used:.0f} | {error:.3f} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def page(found: dict[str, tuple[list[float], float]]) -> str:
    (ours, _), (theirs, _) = found.values()
    ratio = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
    lines = [
        "# A table of 100,000 rows",
        "",
        "Written by `python -m bench.large_table --write` on "
        f"{machine.describe()['processor']}, {os.cpu_count()} cores.",
        "",
        *(__doc__ or "").split("\n\n")[-1].strip().splitlines(),
        "",
        "| | seconds, whole process | RMSE against the truth |",
        "|---|---:|---:|",
    ]
    for name, (times, error) in found.items():
        shown = f"`{name}`" if name.startswith("kurve") else name
        lines.append(f"| {shown} | {statistics.median(times):.2f} | {error:.3f} |")
    lines += ["", f"Kurve is {ratio:.1f} times as fast (median of {len(ours)} rounds)."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--memory", metavar="ROWS,ROWS", default="")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    before, mark, after = PAGE.read_text().partition(MEMORY)
    if options.memory:
        sizes = [int(rows) for rows in options.memory.split(",")]
        text = f"{before.rstrip()}\n\n{memory_section(sizes, options.epochs)}"
    else:
        text = page(measure(options.rounds)) + (f"\n{mark}{after}" if mark else "")
    print(text)
    if options.write:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
