"""What is trained on images: Keras's "Simple MNIST convnet".

28 x 28 x 1 -> 32 filters 3 x 3 relu -> max pooling 2 x 2 -> 64 filters 3 x 3 relu ->
max pooling 2 x 2 -> dropout 0.5 -> 10 classes; Adam, batches of 128. The images are
uint8; the first layer scales them to 0 to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.cases import glorot
from kurve import datasets

SHAPES = [(3, 3, 1, 32), (3, 3, 32, 64), (1600, 10)]
"""Of the kernels."""


@dataclass(frozen=True)
class Digits:
    """The convnet on the first `rows` images of MNIST."""

    batch: int = 128
    rows: int = 60_000
    dropout: float = 0.5
    shuffle: bool = True
    members: int = 0

    loss = "sparse_categorical_crossentropy"
    network = label = "the convnet"

    @property
    def steps(self) -> int:
        return math.ceil(self.rows / self.batch)

    def model(self, of: Any) -> Any:
        """The model; `of` is a package like keras."""
        return of.Sequential(self.layers(of.layers))

    def layers(self, of: Any) -> list[Any]:
        """The layers; `of` is a module like keras.layers."""
        return [
            of.Input(shape=(28, 28, 1)),
            of.Rescaling(1 / 255),
            of.Conv2D(32, 3, activation="relu"),
            of.MaxPooling2D(2),
            of.Conv2D(64, 3, activation="relu"),
            of.MaxPooling2D(2),
            of.Flatten(),
            of.Dropout(self.dropout),
            of.Dense(10, activation="softmax"),
        ]

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """x (rows, 28, 28, 1) uint8, y (rows,) uint8."""
        (x, y), _ = datasets.mnist.load_data()
        return x[: self.rows, ..., None], y[: self.rows]

    def weights(self, member: int = 0) -> list[np.ndarray]:
        return glorot(SHAPES, member)

    def checked(self, steps: int) -> Digits:
        """A case for comparing answers, without randomness."""
        return replace(self, shuffle=False, dropout=0.0, rows=steps * self.batch)
