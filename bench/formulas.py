"""The cost of custom losses, layers and loops relative to the built-in ones.

    python -m bench.formulas

Each pair is measured in turn, in processor time; the median of the ratios is shown.
Both models start from the same weights and see the same batches, and their losses must
be equal to 1e-5 after all steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import kurve
from kurve import layers, losses, ops, optimizers

BATCH, INPUTS, STEPS = 256, 16, 40
SIZES = {"2 x 64": (64, 2), "7 x 256": (256, 7)}


def own_mse(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def own_huber(y_true: Any, y_pred: Any) -> Any:
    error = ops.abs(y_true - y_pred)
    return ops.mean(ops.where(error <= 1.0, 0.5 * error**2, error - 0.5), axis=-1)


def own_focal(y_true: Any, y_pred: Any) -> Any:
    p = ops.clip(y_pred, 1e-7, 1.0 - 1e-7)
    right = y_true * p + (1.0 - y_true) * (1.0 - p)
    return ops.mean(-((1.0 - right) ** 2) * ops.log(right), axis=-1)


class DenseSwish(layers.Layer):
    """activation(x @ kernel + bias), written out."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def build(self, shape: Any) -> None:
        size = (shape[-1], self.units)
        self.kernel = self.add_weight(size, "glorot_uniform", name="kernel")
        self.bias = self.add_weight((self.units,), "zeros", name="bias")

    def call(self, x: Any) -> Any:
        z = ops.matmul(x, self.kernel) + self.bias
        return z * ops.sigmoid(z)


def network(
    size: tuple[int, int], hidden: Callable[[int], Any], last: str | None = None
) -> Any:
    units, count = size
    stack = [hidden(units) for _ in range(count)]
    return kurve.Sequential(
        [kurve.Input((INPUTS,)), *stack, layers.Dense(1, activation=last)]
    )


def relu(units: int) -> Any:
    return layers.Dense(units, "relu")


def swish(units: int) -> Any:
    return layers.Dense(units, "swish")


def fitted(model: Any, loss: Any, x: Any, y: Any) -> Callable[[], float]:
    """An epoch of `fit`; gives the loss."""
    model.compile(optimizers.Adam(1e-3), loss)

    def run() -> float:
        history = model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        return float(history.history["loss"][0])

    return run


def looped(model: Any, x: Any, y: Any) -> Callable[[], float]:
    """The same epoch as a loop around a compiled step."""
    optimizer, loss_fn = optimizers.Adam(1e-3), losses.MeanSquaredError()

    @kurve.function
    def step(x: Any, y: Any) -> Any:
        with kurve.GradientTape() as tape:
            loss = loss_fn(y, model(x, training=True))
        weights = model.trainable_weights
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    def run() -> float:
        found = [
            float(step(x[i : i + BATCH], y[i : i + BATCH]))
            for i in range(0, len(x), BATCH)
        ]
        return float(np.mean(found))

    return run


def pairs(size: tuple[int, int], x: Any, y: Any) -> dict[str, Any]:
    """Name: built-in and own, each of which makes a function that does an epoch."""
    label = (y > 0).astype(np.float32)
    focal = losses.BinaryFocalCrossentropy()
    return {
        "mean squared error": (
            lambda: fitted(network(size, relu), "mse", x, y),
            lambda: fitted(network(size, relu), own_mse, x, y),
        ),
        "Huber": (
            lambda: fitted(network(size, relu), losses.Huber(), x, y),
            lambda: fitted(network(size, relu), own_huber, x, y),
        ),
        "focal": (
            lambda: fitted(network(size, relu, "sigmoid"), focal, x, label),
            lambda: fitted(network(size, relu, "sigmoid"), own_focal, x, label),
        ),
        "Dense + swish": (
            lambda: fitted(network(size, swish), "mse", x, y),
            lambda: fitted(network(size, DenseSwish), "mse", x, y),
        ),
        "a custom loop": (
            lambda: fitted(network(size, relu), "mse", x, y),
            lambda: looped(network(size, relu), x, y),
        ),
    }


def ratio(made: tuple[Any, Any], rounds: int) -> tuple[float, float, float]:
    """Microseconds a step of the built-in one, the ratio, and the difference."""
    runs = []
    for make in made:
        kurve.utils.set_random_seed(1)
        runs.append(make())
    seconds: list[list[float]] = [[], []]
    found = [0.0, 0.0]
    for run in runs:
        run(), run()
    for _ in range(rounds):
        for k, run in enumerate(runs):
            start = time.process_time()
            found[k] = run()
            seconds[k].append(time.process_time() - start)
    each = [b / a for a, b in zip(*seconds, strict=True)]
    difference = abs(found[0] - found[1]) / max(abs(found[0]), 1e-6)
    return (
        statistics.median(seconds[0]) / STEPS * 1e6,
        statistics.median(each),
        difference,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, INPUTS)).astype(np.float32)
    y = np.sin(x.sum(axis=1, keepdims=True))
    print("| | network | built in, us a step | own | difference of losses |")
    print("|---|---|---:|---:|---:|")
    for name, size in SIZES.items():
        for what, made in pairs(size, x, y).items():
            micro, times, difference = ratio(made, rounds)
            print(
                f"| {what} | {name} | {micro:.0f} | {times:.2f} x | {difference:.0e} |"
            )


if __name__ == "__main__":
    main()
