"""Images: the convnet on MNIST in Kurve, PyTorch and Keras; accuracy of Kurve's models.

python -m bench.images            prints Markdown
python -m bench.images --write    writes docs/benchmarks/images.md

Needs mnist.npz (see kurve.datasets), the rivals of bench/requirements.txt and about 20
minutes on two cores: 3 rounds of an epoch of each contender, then 9 fits of Kurve's.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kurve
from bench import digits, machine, processes, tables
from bench.contest import Contest, Times
from bench.digits import Digits
from bench.parts import record
from kurve import datasets, layers, optimizers

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "images.md"
NAMES = (
    "Kurve",
    "PyTorch",
    "PyTorch, channels last",
    "Keras on JAX",
    "Keras on TensorFlow",
    "Keras on PyTorch",
)
ROUNDS, SEEDS = 3, 3


@dataclass(frozen=True)
class Goal:
    """A model, its data, the required accuracy, and how it is trained; as in
    examples/."""

    layers: Callable[[], list[Any]]
    data: Any
    wanted: float
    epochs: int
    batch: int
    rate: float

    @property
    def recipe(self) -> str:
        return f"{self.epochs} x batches of {self.batch}, {self.rate:g}"


def perceptron() -> list[Any]:
    """Two hidden layers of 512 units with a dropout of 0.2."""
    made = [layers.Input((28, 28, 1)), layers.Rescaling(1 / 255), layers.Flatten()]
    for _ in range(2):
        made += [layers.Dense(512, activation="relu"), layers.Dropout(0.2)]
    return [*made, layers.Dense(10, activation="softmax")]


def convnet() -> list[Any]:
    return Digits().layers(layers)


GOALS = {
    "convnet, MNIST": Goal(convnet, datasets.mnist, 0.992, 15, 32, 2e-3),
    "512-512 with dropout, MNIST": Goal(
        perceptron, datasets.mnist, 0.984, 12, 128, 1e-3
    ),
    "convnet, Fashion-MNIST": Goal(convnet, datasets.fashion_mnist, 0.91, 24, 32, 2e-3),
}


def trained(goal: Goal, seed: int) -> tuple[float, float]:
    """Accuracy on the test set, seconds of training."""
    (x, y), (x_test, y_test) = goal.data.load_data()
    kurve.utils.set_random_seed(seed)
    model = kurve.Sequential(goal.layers())
    steps = goal.epochs * math.ceil(len(x) / goal.batch)
    rate = optimizers.schedules.CosineDecay(goal.rate, decay_steps=steps)
    model.compile(optimizers.Adam(rate), Digits.loss, metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(x[..., None], y, batch_size=goal.batch, epochs=goal.epochs, verbose=0)
    seconds = time.perf_counter() - start
    return model.evaluate(x_test[..., None], y_test, verbose=0)[1], seconds


def accuracies() -> list[list[str]]:
    """A row for each goal."""
    body = []
    for name, goal in GOALS.items():
        start = [name, goal.recipe, f"at least {goal.wanted:.1%}"]
        try:
            runs = [trained(goal, seed) for seed in range(SEEDS)]
        except FileNotFoundError as reason:
            body.append([*start, str(reason), "", ""])
            continue
        found, seconds = zip(*runs, strict=True)
        shown = ", ".join(f"{accuracy:.2%}" for accuracy in found)
        met = "yes" if min(found) >= goal.wanted else "**no**"
        body.append([*start, shown, met, f"{np.median(seconds):.0f}"])
        print(*body[-1], sep=" | ", flush=True)
    return body


def page() -> str:
    watch = machine.Watch()
    with Contest(patience=60.0) as contest:
        case = Digits()
        epoch = record(case, contest.steps(case, NAMES, ROUNDS, 1.0))
        x = case.data()[0][:1000]
        calls = predictions(contest, x)
        versions = dict(contest.versions)
    peaks = {}
    for name in NAMES:
        try:
            program = ["-m", "bench.worker", name, "--digits"]
            peaks[name] = processes.run(name, program)[1]
        except RuntimeError as reason:
            print(reason)
    body = []
    for name in NAMES:
        times, call = epoch["times"][name], calls[name].record()
        seconds = tables.figures(times, case.steps)
        peak = tables.number(peaks.get(name))
        milliseconds, _ = tables.figures(call, 1e3)
        body.append([name, *seconds, tables.versus(epoch, name), milliseconds, peak])
    busy = watch.shares(())["others"]
    about, today = machine.describe(), datetime.date.today().isoformat()
    columns = [
        "",
        "s an epoch",
        "best round",
        "ratio",
        "predict 1,000, ms",
        "peak, MB",
    ]
    shown = ", ".join(f"{n} {v}" for n, v in sorted(versions.items()))
    good = ["model, data", "epochs, rate", "wanted", f"{SEEDS} seeds", "met", "s a fit"]
    what = (digits.__doc__ or "").strip()
    return f"""# Pictures

Written by `python -m bench.images --write` on {today}.

- processor: {about["processor"]}
- cores: {about["cores"]}
- versions: {shown}
- meanwhile other programs and the rivals used {100 * busy:.0f} % of the cores' time

{what}

All start from the same weights and take turns of one shuffled epoch of 60,000 images.
Before that, without dropout and shuffling, their predictions must agree to 1e-5, and to
1e-3 after ten steps. A ratio above 1 means that Kurve is faster. The peak memory is
that of a whole program: import, data, an epoch, a prediction.

{tables.rows(columns, body)}

Accuracy on the test set, with Adam and a learning rate that falls to 0 along a cosine;
a goal is met if all seeds reach it:

{tables.rows(good, accuracies())}
"""


def predictions(contest: Contest, x: np.ndarray) -> dict[str, Times]:
    """Seconds of one call with these images, by the trained models."""
    times = {name: Times() for name in NAMES}

    def turn(name: str) -> None:
        times[name].seconds.append(contest.ask(name, "time predict", x, 3) / 3)

    for _ in range(2 * ROUNDS):
        contest._each(times, turn)
    return {name: drop_first(one) for name, one in times.items()}


def drop_first(times: Times) -> Times:
    """The times without the round in which a library compiled."""
    return Times(times.seconds[1:], failure=times.failure)


if __name__ == "__main__":
    tables.show(page, PAGE, __doc__ or "")
