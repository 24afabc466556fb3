"""Whole programs: start, import, the article's 10 x 10 run; memory; installed size."""

from __future__ import annotations

import importlib.metadata
import io
import os
import re
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from typing import Any

from bench import contenders

ARTICLE = """
import numpy as np
from {package} import layers, models
x = np.arange(0, 20, 0.1)
y = np.sin(x)
model = models.Sequential()
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
for _ in range(6):
    model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(1))
model.compile(loss="mse", optimizer="adam")
model.fit(x, y, {division}, epochs=10, verbose=0)
model.predict(x + 0.05, verbose=0)
"""

PEAK = """
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""
"""Prints the process's peak memory in kB; that of wait4 includes the parent's."""

IMPORTS = {
    "NumPy alone": "import numpy",
    "Kurve": "import kurve",
    "PyTorch": "import torch",
    "JAX": "import jax, jax.numpy, optax",
    "Keras on JAX": "import keras",
    "Keras on TensorFlow": "import keras",
    "Keras on PyTorch": "import keras",
    "scikit-learn": "import sklearn.neural_network",
}

PACKAGES = {
    "NumPy alone": ["numpy"],
    "Kurve": ["kurve"],
    "PyTorch": ["torch"],
    "JAX": ["jax", "optax"],
    "Keras on JAX": ["keras", "jax"],
    "Keras on TensorFlow": ["keras", "tensorflow-cpu"],
    "Keras on PyTorch": ["keras", "torch"],
    "scikit-learn": ["scikit-learn"],
}


def article_program(name: str) -> list[str]:
    """The article's program, or an equivalent one for libraries with another API: it
    builds the model, trains 100 steps of batch 20, and predicts 200 rows."""
    if name == "Kurve":
        program = ARTICLE.format(package="kurve", division="steps_per_epoch=10")
        return ["-c", program + PEAK]
    if name.startswith("Keras"):
        program = ARTICLE.format(package="keras", division="batch_size=20")
        return ["-c", program + PEAK]
    return ["-m", "bench.worker", name, "--article"]


def run(name: str, program: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak memory in MB of a Python process."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if name in contenders.ENTRIES:
        environment |= contenders.entry(name).environment
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"{name}: the program failed: {' '.join(last)}")
    peak = done.stdout.split()[-1:]
    return seconds, float(peak[0]) / 1000 if peak else 0.0


def measure(names: Sequence[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds of the import and of the article's run, peak memory of the latter, and MB
    on disk; None where one is not available."""
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    failed = set()
    for _ in range(rounds):
        for name in names:
            programs = {"import": ["-c", IMPORTS[name]]}
            if name != "NumPy alone":
                programs["article"] = article_program(name)
            for kind, program in programs.items():
                if name in failed:
                    continue
                try:
                    runs.setdefault((name, kind), []).append(run(name, program))
                except RuntimeError as reason:
                    print(reason)
                    failed.add(name)
    table = {}
    for name in names:
        row: dict[str, Any] = {"failed": name in failed}
        for kind in ("import", "article"):
            found = runs.get((name, kind))
            if found:
                row[kind] = statistics.median(seconds for seconds, _ in found)
                if kind == "article":
                    row["peak MB"] = statistics.median(size for _, size in found)
        row["installed MB"] = installed_megabytes(PACKAGES[name])
        table[name] = row
        print(name, row, flush=True)
    return table


def installed_megabytes(packages: Sequence[str]) -> float | None:
    """Of the packages' files and of all that they require."""
    seen: set[str] = set()
    todo, size = list(packages), 0
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in packages:
                return None
            continue  # required on other platforms only
        size += sum(file.size or 0 for file in found.files or ())
        for line in found.requires or ():
            if "extra ==" not in line:
                todo.append(re.match(r"[\w.-]+", line)[0])
    return size / 1e6


def wheel_megabytes() -> float:
    """Size of Kurve's installed files, packed as in a wheel."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in importlib.metadata.distribution("kurve").files or ():
            if not str(file).endswith(".pyc"):
                wheel.write(str(file.locate()), str(file))
    return len(packed.getvalue()) / 1e6
