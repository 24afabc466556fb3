"""scikit-learn's MLPRegressor. Its Adam has Keras's form; its loss is half of the mean
squared error, so half of epsilon makes the updates equal."""

from __future__ import annotations

import numpy as np
import sklearn
from sklearn.neural_network import MLPRegressor

from bench import cases


class Contender:
    def __init__(self) -> None:
        self.versions = {"scikit-learn": sklearn.__version__}

    def prepare(self, case: cases.Case) -> None:
        x, y = case.data()
        self.case, self.x, self.y = case, x, y.ravel()
        self.model = MLPRegressor(
            hidden_layer_sizes=(case.width,) * case.depth,
            alpha=0.0,
            batch_size=case.batch,
            shuffle=case.shuffle,
            learning_rate_init=cases.LEARNING_RATE,
            beta_1=cases.BETA_1,
            beta_2=cases.BETA_2,
            epsilon=cases.EPSILON / 2,
        )
        self.model.partial_fit(self.x[: case.batch], self.y[: case.batch])
        values = case.weights()
        variables = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        for variable, value in zip(sum(variables, ()), values, strict=True):
            variable[...] = value
        del self.model._optimizer  # so that the next call restarts Adam

    def train(self, steps: int) -> None:
        epochs, rest = divmod(steps, self.case.steps)
        for _ in range(epochs):
            self.model.partial_fit(self.x, self.y)
        if rest:
            rows = slice(0, rest * self.case.batch)
            self.model.partial_fit(self.x[rows], self.y[rows])

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x)[:, None]
