"""What is trained: sizes, data, initial weights, and the minimum work of a step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

SEED = 20260101
LEARNING_RATE = 1e-3
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""Adam in Keras's form: rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)."""


@dataclass(frozen=True)
class Case:
    """A network of `depth` relu layers of `width` units and a linear output, trained
    with the mean squared error and Adam; or `members` of them, trained together."""

    width: int = 256
    depth: int = 7
    batch: int = 20
    rows: int = 200
    inputs: int = 1
    shuffle: bool = False
    members: int = 0

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        assert self.rows % self.batch == 0
        return self.rows // self.batch

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Of the kernels."""
        sizes = [self.inputs, *[self.width] * self.depth, 1]
        return list(pairwise(sizes))

    @property
    def parameters(self) -> int:
        return sum(i * o + o for i, o in self.shapes) * max(1, self.members)

    @property
    def flops(self) -> int:
        """Of one step: each kernel's product forward, its gradient, and the gradient of
        its input, which the first layer does not need."""
        products = [2 * self.batch * i * o for i, o in self.shapes]
        return (3 * sum(products) - products[0]) * max(1, self.members)

    @property
    def state_bytes(self) -> int:
        """Parameters and Adam's two vectors."""
        return 3 * 4 * self.parameters

    loss = "mse"

    def layers(self, of: Any) -> list[Any]:
        """The layers; `of` is a module like keras.layers."""
        hidden = [of.Dense(self.width, activation="relu") for _ in range(self.depth)]
        return [of.Input(shape=(self.inputs,)), *hidden, of.Dense(1)]

    def model(self, of: Any) -> Any:
        """The model; `of` is a package like keras."""
        return of.Sequential(self.layers(of.layers))

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """x (rows, inputs) and y (rows, 1), float32."""
        if self == article():
            x = np.arange(0, 20, 0.1)[:, None]
        else:  # small, so that ten steps amplify rounding less
            x = np.random.default_rng(SEED).uniform(-1, 1, (self.rows, self.inputs))
        return x.astype(np.float32), np.sin(x.sum(1, keepdims=True)).astype(np.float32)

    def weights(self, member: int = 0) -> list[np.ndarray]:
        """Kernel (I, O), bias (O,), kernel, ...: Glorot uniform, zero biases."""
        return glorot(self.shapes, member)

    def checked(self, steps: int) -> Case:
        """A case for comparing answers: each library shuffles in its own way."""
        if not self.shuffle:
            return self
        return replace(self, shuffle=False, rows=min(self.rows, steps * self.batch))

    @property
    def network(self) -> str:
        return f"{self.depth} x {self.width}"

    @property
    def label(self) -> str:
        members = f"{self.members} of " if self.members else ""
        return f"{members}{self.network}, batch {self.batch}"


def article() -> Case:
    """The article's model and data: sin(x) at 200 points, 10 steps an epoch."""
    return Case()


def swept(width: int, depth: int, batch: int) -> Case:
    """The article's family. An epoch has 100 steps, or fewer long ones."""
    one = Case(width, depth, batch, batch)
    steps = max(2, min(100, int(2e10 / one.flops)))
    return Case(width, depth, batch, batch * steps)


def glorot(shapes: Iterable[tuple[int, ...]], member: int = 0) -> list[np.ndarray]:
    """Kernel (..., I, O), bias (O,), kernel, ...: Glorot uniform, zero biases."""
    rng = np.random.default_rng((SEED, member))
    weights = []
    for *window, i, o in shapes:
        limit = np.sqrt(6 / (math.prod(window) * (i + o)))
        weights.append(rng.uniform(-limit, limit, (*window, i, o)).astype(np.float32))
        weights.append(np.zeros(o, np.float32))
    return weights


def some_rows(x: Any, rows: slice) -> Any:
    """Rows of an array, or of each array of a tuple as a list."""
    return [part[rows] for part in x] if isinstance(x, tuple) else x[rows]


def side_by_side(y: Any) -> np.ndarray:
    """The prediction, or those of several outputs side by side."""
    if isinstance(y, (list, tuple)):
        return np.concatenate([np.asarray(part) for part in y], axis=1)
    return np.asarray(y)
