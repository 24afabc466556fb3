"""Pictures: the convnet on MNIST beside PyTorch and Keras; how good Kurve's models get.

python -m bench.images            prints Markdown
python -m bench.images --write    writes docs/benchmarks/images.md
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path

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


def convnet() -> kurve.Sequential:
    """Keras's, with a learning rate that falls."""
    model = kurve.Sequential(Digits().layers(layers))
    rate = optimizers.schedules.CosineDecay(2e-3, decay_steps=12 * Digits().steps)
    model.compile(optimizers.Adam(rate), Digits.loss, metrics=["accuracy"])
    return model


def perceptron() -> kurve.Sequential:
    """Two hidden layers of 512 units, dropout of a fifth."""
    model = kurve.Sequential([layers.Input((28, 28)), layers.Rescaling(1 / 255)])
    model.add(layers.Flatten())
    for _ in range(2):
        model.add(layers.Dense(512, activation="relu"))
        model.add(layers.Dropout(0.2))
    model.add(layers.Dense(10, activation="softmax"))
    rate = optimizers.schedules.CosineDecay(1e-3, decay_steps=12 * Digits().steps)
    model.compile(optimizers.Adam(rate), Digits.loss, metrics=["accuracy"])
    return model


MODELS = {
    "convnet, MNIST": (convnet, datasets.mnist, 0.992),
    "512-512 with dropout, MNIST": (perceptron, datasets.mnist, 0.984),
    "convnet, Fashion-MNIST": (convnet, datasets.fashion_mnist, 0.91),
}
"""Model, data, and the accuracy that it should reach at least."""


def accuracies() -> list[list[str]]:
    """Of the test set after 12 epochs, for some seeds."""
    body = []
    for name, (make, source, wanted) in MODELS.items():
        try:
            (x, y), (x_test, y_test) = source.load_data()
        except FileNotFoundError as reason:
            body.append([name, f"at least {wanted:.1%}", str(reason), "", ""])
            continue
        found, seconds = [], []
        for seed in range(SEEDS):
            kurve.utils.set_random_seed(seed)
            model = make()
            axes = len(model.input_shape or ())
            shaped = [p.reshape(*p.shape, 1) if axes == 4 else p for p in (x, x_test)]
            start = time.perf_counter()
            model.fit(shaped[0], y, batch_size=128, epochs=12, verbose=0)
            seconds.append(time.perf_counter() - start)
            found.append(model.evaluate(shaped[1], y_test, verbose=0)[1])
            print(f"{name}, seed {seed}: {found[-1]:.4f}, {seconds[-1]:.0f} s")
        shown = ", ".join(f"{a:.2%}" for a in found)
        met = "yes" if np.median(found) >= wanted else "**no**"
        row = [name, f"at least {wanted:.1%}", shown, met]
        body.append([*row, f"{np.median(seconds):.0f}"])
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
    heads = ["", "s an epoch", "best round", "ratio", "predict 1,000, ms", "peak, MB"]
    shown = ", ".join(f"{n} {v}" for n, v in sorted(versions.items()))
    good = ["model, data", "wanted", f"accuracy of {SEEDS} seeds", "met", "s a fit"]
    what = (digits.__doc__ or "").strip()
    return f"""# Pictures

Written by `python -m bench.images --write` on {today}.

- processor: {about["processor"]}
- cores: {about["cores"]}
- versions: {shown}
- meanwhile other programs and the rivals used {100 * busy:.0f} % of the cores' time

{what}

All begin with the same weights and take turns of one epoch of 60,000 pictures,
shuffled; before that, without dropout and shuffling, their predictions must agree to
1e-5, and to 1e-3 after ten steps. A ratio above 1 means that Kurve is faster. The peak
is that of a whole program: import, data, an epoch, a prediction.

{tables.rows(heads, body)}

12 epochs of batches of 128, a learning rate of 2e-3 (convnet) or 1e-3 that falls to 0
along a cosine; accuracy of the test set:

{tables.rows(good, accuracies())}
"""


def predictions(contest: Contest, x: np.ndarray) -> dict[str, Times]:
    """Seconds of one call for these pictures, by the models that have been trained."""
    times = {name: Times() for name in NAMES}

    def turn(name: str) -> None:
        times[name].seconds.append(contest.ask(name, "time predict", x, 3) / 3)

    for _ in range(2 * ROUNDS):
        contest._each(times, turn)
    return {name: drop_first(one) for name, one in times.items()}


def drop_first(times: Times) -> Times:
    """Without the round in which a library compiled."""
    return Times(times.seconds[1:], failure=times.failure)


if __name__ == "__main__":
    tables.show(page, PAGE, __doc__ or "")
