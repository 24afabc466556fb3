"""Keras, on the backend that KERAS_BACKEND names."""

from __future__ import annotations

import importlib

import keras
import numpy as np

from bench import cases


class Contender:
    def __init__(self, steps_per_execution: int = 1) -> None:
        backend = keras.backend.backend()
        self.steps_per_execution = steps_per_execution
        self.versions = {"Keras": keras.__version__}
        names = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
        version = importlib.import_module(backend).__version__
        self.versions[names[backend]] = version

    def prepare(self, case: cases.Case) -> None:
        keras.utils.clear_session()
        self.case, (self.x, self.y) = case, case.data()
        self.model = case.model(keras)
        self.model.set_weights(case.weights())
        self.model.compile(
            loss=case.loss,
            optimizer="adam",
            steps_per_execution=self.steps_per_execution,
        )

    def train(self, steps: int) -> None:
        epochs, rest = divmod(steps, self.case.steps)
        for rows, number in ((self.case.rows, epochs), (rest * self.case.batch, 1)):
            if rows and number:
                self.model.fit(
                    cases.some_rows(self.x, slice(rows)),
                    cases.some_rows(self.y, slice(rows)),
                    batch_size=self.case.batch,
                    epochs=number,
                    shuffle=self.case.shuffle,
                    verbose=0,
                )

    def predict(self, x: np.ndarray) -> np.ndarray:
        """By `predict_on_batch`: `predict` itself has an overhead of milliseconds."""
        return cases.side_by_side(self.model.predict_on_batch(x))
