"""How `fit` divides rows into steps and epochs: counts, sizes and orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from kurve import Sequential, utils
from kurve.callbacks import Callback
from kurve.engines import Job, get_engine
from kurve.engines.reference import ReferenceEngine, ReferenceProgram
from kurve.errors import NonFiniteError
from kurve.layers import Dense


class Recorder(ReferenceEngine):
    """The reference engine, with a note of the rows of every step."""

    name = "recorder"

    def __init__(self) -> None:
        self.steps: list[list[int]] = []

    def train(self, jobs: Sequence[Job]) -> list[NonFiniteError | None]:
        for job in jobs:
            for step in range(job.first, job.last):
                # x holds the number of its row
                numbers = job.batches.x[job.batches.rows(step)]
                self.steps.append(numbers.reshape(-1).astype(int).tolist())
        return super().train(jobs)


def steps_of(rows: int, fits: int = 1, **options: Any) -> list[list[int]]:
    """The rows of every step that `fit` takes."""
    utils.set_random_seed(3)
    recorder = Recorder()
    model = Sequential([Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse", engine=recorder)
    for _ in range(fits):
        model.fit(np.arange(rows), np.zeros(rows), verbose=0, **options)
    return recorder.steps


class Count(Callback):
    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.epochs: list[int] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches.append(batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(epoch)


@pytest.mark.parametrize(("steps", "epochs"), [(10, 10), (30, 30)])
def test_the_article_takes_exactly_100_and_900_steps(
    engine: str, steps: int, epochs: int
) -> None:
    """Older backends ran out of data; here N steps an epoch are always N steps."""
    x = np.arange(0, 20, 0.1)
    model = Sequential([Dense(4, activation="relu", input_shape=(1,)), Dense(1)])
    model.compile(loss="mse", optimizer="adam")
    count = Count()
    history = model.fit(
        x, np.sin(x), steps_per_epoch=steps, epochs=epochs, callbacks=[count], verbose=0
    )
    assert model.iterations == steps * epochs
    assert count.batches == list(range(steps)) * epochs
    assert count.epochs == history.epoch == list(range(epochs))
    assert len(history.history["loss"]) == epochs
    assert count.params == {"epochs": epochs, "steps": steps, "verbose": 0}


@pytest.mark.parametrize(
    ("rows", "steps"), [(200, 30), (200, 10), (7, 7), (10, 3), (5, 1)]
)
def test_steps_per_epoch_divides_as_array_split(rows: int, steps: int) -> None:
    taken = steps_of(rows, steps_per_epoch=steps, shuffle=False)
    assert taken == [part.tolist() for part in np.array_split(np.arange(rows), steps)]


@pytest.mark.parametrize(("options", "size"), [({}, 32), ({"batch_size": 7}, 7)])
def test_batch_size(options: dict[str, int], size: int) -> None:
    """The last batch takes what is left."""
    taken = steps_of(75, shuffle=False, **options)
    assert taken == [list(range(i, min(i + size, 75))) for i in range(0, 75, size)]


def test_both_walk_over_the_rows_again_and_again() -> None:
    """With both given, epochs are windows of endless passes."""
    taken = steps_of(10, batch_size=4, steps_per_epoch=4, epochs=3, shuffle=False)
    one_pass = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert taken == one_pass * 4


def test_both_with_shuffle_use_each_row_once_a_pass() -> None:
    taken = steps_of(10, batch_size=4, steps_per_epoch=2, epochs=6)
    assert [len(rows) for rows in taken] == [4, 4, 2] * 4
    for i in range(0, 12, 3):
        assert sorted(np.concatenate(taken[i : i + 3])) == list(range(10))


def test_shuffle_takes_a_new_order_each_epoch() -> None:
    taken = steps_of(40, batch_size=40, epochs=3)
    assert all(sorted(rows) == list(range(40)) for rows in taken)
    assert taken[0] != taken[1] != taken[2] != list(range(40))


def test_a_second_fit_does_not_repeat_the_orders_of_the_first() -> None:
    taken = steps_of(40, batch_size=40, epochs=2, fits=2)
    assert len(set(map(tuple, taken))) == 4
    assert taken == steps_of(40, batch_size=40, epochs=4)


def test_initial_epoch() -> None:
    """Epochs are numbered on; `epochs` is the last one's number, not how many."""
    model = Sequential([Dense(1)])
    model.compile("sgd", "mse")
    count = Count()
    options: dict[str, Any] = {"callbacks": count, "verbose": 0}
    model.fit([1, 2], [1, 2], initial_epoch=3, epochs=5, **options)
    assert count.epochs == [3, 4]
    history = model.fit([1, 2], [1, 2], initial_epoch=5, epochs=5, **options)
    assert history.epoch == []
    assert model.iterations == 2


def test_more_steps_than_rows_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"steps_per_epoch=6 for 5 rows. Try .*=5, or"):
        steps_of(5, steps_per_epoch=6)


def test_engine_by_object(engine: str) -> None:
    """`compile(engine=...)` wins over the default."""
    model = Sequential([Dense(1)])
    model.compile("sgd", "mse", engine=get_engine("reference"))
    model.fit([1, 2], [1, 2], verbose=0)
    assert type(model._network.program()) is ReferenceProgram
