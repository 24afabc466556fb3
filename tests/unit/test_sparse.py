"""Sparse matrices as rows of models: the same bits as the dense rows, a batch at a
time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers
from kurve.callbacks import LambdaCallback
from kurve.core.sparse import ROOM
from kurve.training import feeds

sp = pytest.importorskip("scipy.sparse")

N, COLUMNS = 120, 40
FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr")
SPARSE = sp.random(N, COLUMNS, 0.1, "csr", random_state=0)
DENSE = SPARSE.toarray()
Y = (DENSE.sum(axis=1) > 2).astype(float)
OTHER = np.random.default_rng(1).normal(size=(N, 3))


def stack() -> kurve.Model:
    model = kurve.Sequential(
        [
            kurve.Input((COLUMNS,), sparse=True),
            layers.Dense(8, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    return compiled(model)


class Coded(kurve.Model):
    """A subclass, built by its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = layers.Dense(8, activation="relu")
        self.out = layers.Dense(1, activation="sigmoid")

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(x))


class Stepped(Coded):
    """A subclass with steps of its own."""

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, _ = kurve.utils.unpack_x_y_sample_weight(data)
        with kurve.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}

    def predict_step(self, data: Any) -> Any:
        return 2 * self(data)


def joined() -> kurve.Model:
    one = kurve.Input((COLUMNS,), name="words", sparse=True)
    other = kurve.Input((3,), name="numbers")
    x = layers.Concatenate()([layers.Dense(4, activation="relu")(one), other])
    return compiled(kurve.Model([one, other], layers.Dense(1, "sigmoid")(x)))


def compiled(model: kurve.Model) -> kurve.Model:
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def results(make: Callable[[], kurve.Model], x: Any, **fit: Any) -> list[Any]:
    """What every method that takes rows makes of x."""
    kurve.utils.set_random_seed(5)
    model = make()
    history = model.fit(x, Y, epochs=3, batch_size=7, verbose=0, **fit).history
    return [
        history,
        model.predict(x, verbose=0),
        model.predict(x, batch_size=11, verbose=0),
        model.evaluate(x, Y, verbose=0),
        model.train_on_batch(x, Y),
        model.test_on_batch(x, Y),
        model.predict_on_batch(x),
        np.asarray(model(x)),
        [w.tolist() for w in model.get_weights()],
    ]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    """The same bits, except for the sums of own steps, which are rounded differently
    if other numbers of steps run at a time."""
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_allclose(one[name], other[name], 1e-6)
        elif isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the dense rows of three batches."""
    monkeypatch.setattr("kurve.core.sparse.ROOM", 21 * COLUMNS * 4)


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.usefixtures("little_room")
def test_every_format(kind: str, array: bool) -> None:
    x = getattr(sp, f"{kind}_array")(SPARSE) if array else SPARSE.asformat(kind)
    for make in (stack, lambda: compiled(Coded()), lambda: compiled(Stepped())):
        assert_same(results(make, x), results(make, DENSE))


@pytest.mark.parametrize(
    "fit",
    [
        {"shuffle": False},
        {"validation_split": 0.25},
        {"class_weight": {0: 1.0, 1: 4.0}},
        {"sample_weight": np.linspace(0, 2, N)},
        {"callbacks": [LambdaCallback(on_train_batch_end=lambda batch, logs: None)]},
    ],
    ids=["in order", "split", "class weights", "weights", "batch hooks"],
)
@pytest.mark.usefixtures("little_room")
def test_every_way_to_fit(fit: dict[str, Any]) -> None:
    for make in (stack, lambda: compiled(Stepped())):
        assert_same(results(make, SPARSE, **fit), results(make, DENSE, **fit))


def test_windows_of_steps() -> None:
    def history(x: Any) -> Any:
        kurve.utils.set_random_seed(5)
        steps = {"batch_size": 7, "steps_per_epoch": 5, "validation_steps": 2}
        held_out = x[:30], Y[:30]
        model = stack()
        return model.fit(
            x, Y, epochs=5, verbose=0, validation_data=held_out, **steps
        ).history

    assert history(SPARSE) == history(DENSE)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.uint8, np.float32])
def test_dtypes_and_empty_rows(dtype: Any) -> None:
    x = (SPARSE * 10).astype(dtype).tolil()
    x[3:9] = 0
    x = x.tocsr()
    assert_same(results(stack, x), results(stack, x.toarray()))


def test_entries_that_are_added_up() -> None:
    """A matrix can have several entries for one place, in any order."""
    rows, columns = np.nonzero(DENSE)
    halves = np.concatenate([DENSE[rows, columns] / 2] * 2)
    places = np.tile(rows, 2), np.tile(columns, 2)
    twice = sp.coo_matrix((halves, places), DENSE.shape)
    unsummed = sp.csr_matrix(DENSE.shape)
    order = np.argsort(places[0], kind="stable")[::1]
    ends = np.searchsorted(places[0][order], np.arange(N + 1))
    parts = halves[order], places[1][order], ends
    unsummed = sp.csr_matrix(parts, DENSE.shape)
    assert not unsummed.has_canonical_format
    for x in (twice, unsummed):
        before = x.nnz
        assert_same(results(stack, x), results(stack, x.toarray()))
        assert x.nnz == before


@pytest.mark.usefixtures("little_room")
def test_one_input_of_several() -> None:
    expected = results(joined, [DENSE, OTHER], validation_split=0.25)
    for x in (
        [SPARSE, OTHER],
        {"words": sp.dok_matrix(SPARSE), "numbers": OTHER},
        [SPARSE.tocoo(), sp.csr_matrix(OTHER)],
    ):
        assert_same(results(joined, x, validation_split=0.25), expected)


def test_sparse_targets() -> None:
    """What OneHotEncoder makes of classes."""
    one_hot = np.eye(4)[np.arange(N) % 4]

    def history(x: Any, y: Any) -> Any:
        kurve.utils.set_random_seed(5)
        model = kurve.Sequential([layers.Dense(4, activation="softmax")])
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        held_out = x[:30], y[:30]
        found = model.fit(x, y, epochs=2, verbose=0, validation_data=held_out).history
        return found, model.evaluate(x, y, verbose=0)

    expected = history(DENSE, one_hot)
    for kind in (sp.csr_matrix, sp.lil_array, sp.dok_matrix):
        assert history(SPARSE, kind(one_hot)) == expected


def test_sparse_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame.sparse.from_spmatrix(SPARSE)
    mixed = frame.assign(**{"0": np.arange(N)}).drop(columns=[0])
    assert_same(results(stack, frame), results(stack, DENSE))
    assert_same(results(stack, mixed), results(stack, mixed.to_numpy()))


@pytest.mark.parametrize("make", [Coded, Stepped])
def test_batches_of_generators(make: type[Coded]) -> None:
    def batches(x: Any) -> Iterator[Any]:
        while True:
            for i in range(0, N, 30):
                yield x[i : i + 30], Y[i : i + 30]

    def history(x: Any) -> Any:
        kurve.utils.set_random_seed(5)
        model = compiled(make())
        return model.fit(batches(x), steps_per_epoch=4, epochs=2, verbose=0).history

    assert history(SPARSE) == history(DENSE)


def test_checkpoints(tmp_path: Path) -> None:
    def fit(x: Any, epochs: int) -> list[Any]:
        kurve.utils.set_random_seed(5)
        model = stack()
        folder = tmp_path / "checkpoints"
        model.fit(x, Y, epochs=epochs, verbose=0, checkpoint=folder)
        return [w.tolist() for w in model.get_weights()]

    kurve.utils.set_random_seed(5)
    whole = stack()
    whole.fit(DENSE, Y, epochs=4, verbose=0)
    fit(SPARSE, 2)
    assert fit(SPARSE.copy(), 4) == [w.tolist() for w in whole.get_weights()]
    with pytest.raises(kurve.errors.CheckpointError, match="x"):
        fit(2 * SPARSE, 5)


def test_only_some_rows_are_dense_at_a_time() -> None:
    columns = 30_000
    places = np.random.default_rng(0).integers(0, columns, 3 * 1216)
    x = sp.csr_matrix(
        (np.ones(len(places)), places, np.arange(0, len(places) + 1, 3)),
        (1216, columns),
    )
    y = np.asarray(x[:, :15_000].sum(axis=1)).ravel() > 1.5
    model = kurve.Sequential([kurve.Input((columns,)), layers.Dense(1)])
    model.compile("adam", "mse")
    stepped = compiled(Stepped())
    stepped.fit(x[:64], y[:64], verbose=0)  # compiles the step
    tracemalloc.start()
    try:
        model.fit(x, y, epochs=1, verbose=0, validation_split=0.2)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
        stepped.fit(x, y, epochs=1, verbose=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * ROOM < x.shape[0] * columns * 4


def test_as_many_steps_at_a_time_as_fit(little_room: None) -> None:
    data = feeds.Batches(None, Y, None, None, np.arange(0, N + 1, 6))
    from kurve.core.sparse import SparseRows

    data.x = SparseRows("fit", "x", SPARSE, None, np.float32)
    feed = feeds.feed_of(data)
    feed.begin()
    counts, rows = [], []
    while (piece := feed.take(100)) is not None:
        batches, first, last = piece
        counts.append(last - first)
        rows.append(batches.x)
    assert counts == [3] * 6 + [2]
    np.testing.assert_array_equal(np.concatenate(rows), DENSE.astype(np.float32))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (SPARSE[:, :7], r"x must have shape \(n, 40\).*Received: x.shape=\(120, 7\)"),
        (SPARSE[:0], r"x must not be empty. Received: x.shape=\(0, 40\)"),
        (SPARSE * 1e300, r"must fit into float32 .*Received: x\[0, \d+\] = "),
        (SPARSE.astype(complex), "Complex data not supported"),
        (SPARSE[:60], "must have the same number of rows"),
    ],
    ids=["columns", "no rows", "too large", "complex", "other rows"],
)
def test_what_is_refused(x: Any, message: str) -> None:
    model = stack()
    with pytest.raises(ValueError, match=rf"^\[fit\] .*{message}"):
        model.fit(x, Y, verbose=0)
    assert model.optimizer.iterations == 0


def test_the_place_of_a_missing_value() -> None:
    x = SPARSE.tolil()
    x[17, 5] = np.nan
    x[80, 0] = np.inf
    for given in (x, x.tocsc(), x.tocoo()):
        with pytest.raises(ValueError, match=r"x\[17, 5\] = nan \(2 such values"):
            stack().fit(given, Y, verbose=0)
