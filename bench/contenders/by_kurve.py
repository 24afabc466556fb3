"""Kurve."""

from __future__ import annotations

from functools import partial

import kurve
from bench import cases
from kurve import layers, models


class Contender:
    def __init__(self, engine: str | None = None) -> None:
        self.engine = engine
        self.versions = {"Kurve": kurve.__version__}

    def prepare(self, case: cases.Case) -> None:
        self.case, (self.x, self.y) = case, case.data()
        self.model = models.Sequential(case.layers(layers))
        self.model.set_weights(case.weights())
        self.model.compile(loss=case.loss, optimizer="adam", engine=self.engine)
        self.predict = partial(self.model.predict, verbose=0)
        if case.members:
            self.model = kurve.ensemble(self.model, members=case.members)
            for number, member in enumerate(self.model.members):
                member.set_weights(case.weights(number))
            self.predict = self.model.predict

    def train(self, steps: int) -> None:
        epochs, rest = divmod(steps, self.case.steps)
        for rows, number in ((self.case.rows, epochs), (rest * self.case.batch, 1)):
            if rows and number:
                self.model.fit(
                    self.x[:rows],
                    self.y[:rows],
                    batch_size=self.case.batch,
                    epochs=number,
                    shuffle=self.case.shuffle,
                    verbose=0,
                )
