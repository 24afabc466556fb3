"""Kurve."""

from __future__ import annotations

from functools import partial

import kurve
from bench import cases


class Contender:
    def __init__(self, engine: str | None = None) -> None:
        self.engine = engine
        self.versions = {"Kurve": kurve.__version__}

    def prepare(self, case: cases.Case) -> None:
        self.case, (self.x, self.y) = case, case.data()
        self.model = case.model(kurve)
        self.model.set_weights(case.weights())
        self.model.compile(loss=case.loss, optimizer="adam", engine=self.engine)
        self.predict = partial(self.model.predict, verbose=0)
        if isinstance(self.y, tuple):
            self.predict = lambda x: cases.side_by_side(
                self.model.predict(x, verbose=0)
            )
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
                    cases.some_rows(self.x, slice(rows)),
                    cases.some_rows(self.y, slice(rows)),
                    batch_size=self.case.batch,
                    epochs=number,
                    shuffle=self.case.shuffle,
                    verbose=0,
                )
