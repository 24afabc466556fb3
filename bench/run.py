"""Times Kurve and its rivals on the article's model, ours and theirs in turn.

    make bench          (installs Keras and PyTorch beside Kurve)

Answers are compared before anything is timed. Figures are medians of rounds in which
every contender runs once, so that a slow minute of the machine hits all alike; read the
ratios, not the milliseconds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")

import kurve
from kurve import layers, models

WIDTH, DEPTH, BATCH = 256, 7, 20
X = np.arange(0, 20, 0.1, dtype=np.float32)[:, None]
Y = np.sin(X)

Contender = Callable[[int], None]
"""Does so many steps of the article's training."""


def kurve_model(engine: str) -> models.Sequential:
    model = models.Sequential([layers.Input(shape=(1,))])
    for _ in range(DEPTH):
        model.add(layers.Dense(WIDTH, activation="relu"))
    model.add(layers.Dense(1))
    model.compile(loss="mse", optimizer="adam", engine=engine)
    return model


def kurve_contender(engine: str, threads: int | None) -> tuple[Contender, Any]:
    model = kurve_model(engine)

    def run(steps: int) -> None:
        if threads:
            kurve.set_threads(threads)
        model.fit(
            X, Y, batch_size=BATCH, steps_per_epoch=steps, shuffle=False, verbose=0
        )

    return run, model


def keras_contender() -> tuple[Contender, Any]:
    import keras

    model = keras.Sequential([keras.layers.Input(shape=(1,))])
    for _ in range(DEPTH):
        model.add(keras.layers.Dense(WIDTH, activation="relu"))
    model.add(keras.layers.Dense(1))
    model.compile(loss="mse", optimizer="adam")

    def run(steps: int) -> None:
        epochs = steps * BATCH // len(X)
        model.fit(X, Y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0)

    return run, model


def torch_contender() -> tuple[Contender, Any]:
    """PyTorch in eager mode with its fused Adam: the loop a careful user writes."""
    import torch

    stack: list[torch.nn.Module] = []
    size = 1
    for _ in range(DEPTH):
        stack += [torch.nn.Linear(size, WIDTH), torch.nn.ReLU()]
        size = WIDTH
    net = torch.nn.Sequential(*stack, torch.nn.Linear(size, 1))
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)

    def run(steps: int) -> None:
        for step in range(steps):
            rows = slice(step * BATCH % len(X), step * BATCH % len(X) + BATCH)
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(net(x[rows]), y[rows])
            loss.backward()
            optimizer.step()

    return run, net


def copy_weights(ours: models.Sequential, rival: Any) -> None:
    """Give a rival our weights; PyTorch keeps its kernels transposed."""
    if hasattr(rival, "set_weights"):
        rival.set_weights(ours.get_weights())
        return
    import torch

    with torch.no_grad():
        for p, w in zip(rival.parameters(), ours.get_weights(), strict=True):
            p.copy_(torch.from_numpy(w.T.copy()))


def predictions(model: Any) -> np.ndarray:
    if hasattr(model, "predict"):
        return np.asarray(model.predict(X, verbose=0))
    import torch

    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(X)))


def compare(
    when: str,
    contenders: dict[str, tuple[Contender, Any]],
    tolerance: float,
    exceptions: dict[str, float] | None = None,
) -> None:
    """Stop unless all predict alike, relative to the largest prediction."""
    answers = {name: predictions(model) for name, (_, model) in contenders.items()}
    wanted = next(iter(answers.values()))
    for name, answer in answers.items():
        difference = np.abs(answer - wanted).max() / np.abs(wanted).max()
        allowed = (exceptions or {}).get(name, tolerance)
        print(f"{when}, {name}: differs by {difference:.1e}")
        assert difference <= allowed, f"{name} gives another answer {when}"
    print()


def steps_table(rounds: int, steps: int) -> None:
    contenders: dict[str, tuple[Contender, Any]] = {}
    for threads in (1, 2):
        label = f"Kurve native, {threads} thread{'s' * (threads > 1)}"
        contenders[label] = kurve_contender("native", threads)
    contenders["Kurve reference (NumPy)"] = kurve_contender("reference", None)
    for name, make in (
        ("Keras on PyTorch", keras_contender),
        ("PyTorch, fused Adam", torch_contender),
    ):
        try:
            contenders[name] = make()
        except ImportError as error:
            print(f"{name}: not measured ({error})")

    first = next(iter(contenders.values()))[1]
    for _, model in contenders.values():
        if model is not first:
            copy_weights(first, model)
    compare("before training", contenders, 1e-5)
    for run, _ in contenders.values():
        run(10)
    # PyTorch's Adam adds its epsilon after the bias correction, which shows where
    # gradients are small; the others add it before, as Keras does.
    compare("after 10 steps", contenders, 1e-3, {"PyTorch, fused Adam": 0.5})

    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (run, _) in contenders.items():
            start = time.perf_counter()
            run(steps)
            times[name].append((time.perf_counter() - start) / steps * 1e3)
    best = min(statistics.median(t) for t in times.values())
    print(f"| 1 -> {DEPTH} x {WIDTH} relu -> 1, batch {BATCH} | ms a step | ratio |")
    print("|---|---:|---:|")
    for name, t in times.items():
        median = statistics.median(t)
        print(f"| {name} | {median:.2f} | {median / best:.1f} |")


ARTICLE = """
import numpy as np
x = np.arange(0, 20, 0.1); y = np.sin(x)
from {package} import layers, models, optimizers
model = models.Sequential()
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
for _ in range(6): model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(1))
model.compile(loss="mse", optimizer="adam")
model.fit(x, y, {division}, epochs=10, verbose=0)
model.predict(x + 0.05, verbose=0)
"""


def process_table(rounds: int) -> None:
    """Whole processes: start, import, the article's 10 x 10 run, prediction."""
    programs = {
        "import numpy": "import numpy",
        "import kurve": "import kurve",
        "article 10 x 10, Kurve": ARTICLE.format(
            package="kurve", division="steps_per_epoch=10"
        ),
    }
    try:
        import keras  # noqa: F401
    except ImportError:
        pass
    else:
        programs["import keras (PyTorch)"] = "import keras"
        programs["article 10 x 10, Keras on PyTorch"] = ARTICLE.format(
            package="keras", division="batch_size=20"
        )
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", program],
                check=True,
                stderr=subprocess.DEVNULL,
            )
            times[name].append(time.perf_counter() - start)
    print("\n| whole process | s |\n|---|---:|")
    for name, t in times.items():
        print(f"| {name} | {statistics.median(t):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    kurve.utils.set_random_seed(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ")
    print(f"Python {platform.python_version()}, NumPy {np.__version__}\n")
    steps_table(options.rounds, options.steps)
    process_table(options.rounds)


if __name__ == "__main__":
    main()
