"""States that stay from one batch to the next; numbers against Keras are in
tests/parity/test_stateful.py."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import GradientTape, Input, Model, Sequential, callbacks, layers
from kurve.errors import NonFiniteError

ROWS = 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4 * ROWS, 5, 2)).astype(np.float32)
Y = RNG.normal(size=(4 * ROWS, 1)).astype(np.float32)


def model_of(rows: int = ROWS, steps: int | None = 5, seed: int = 1) -> Sequential:
    kurve.utils.set_random_seed(seed)
    model = Sequential(
        [
            Input(batch_shape=(rows, steps, 2)),
            layers.LSTM(4, stateful=True, return_sequences=True, dropout=0.2),
            layers.GRU(3, stateful=True),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def states_of(model: Any) -> list[bytes]:
    return [s.numpy().tobytes() for at in (0, 1) for s in model.layers[at].states]


def test_a_sequence_may_be_cut(engine: str) -> None:
    """Pieces of any length give what the whole gives."""
    x = RNG.normal(size=(ROWS, 12, 2)).astype(np.float32)
    model, whole = model_of(steps=None), model_of(steps=None)
    expected = whole.predict(x, verbose=0)
    for first, last in ((0, 1), (1, 8), (8, 12)):
        found = model.predict(x[:, first:last], verbose=0)
    np.testing.assert_array_equal(found, expected)
    assert states_of(model) == states_of(whole)


class StopAt(callbacks.Callback):
    """Ends a fit in the midst of an epoch, or of a validation, after that many
    batches."""

    def __init__(self, train: int = -1, test: int = -1) -> None:
        super().__init__()
        self.train, self.test, self.tested = train, test, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.iterations == self.train:
            raise KeyboardInterrupt

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.tested += 1
        if self.tested == self.test:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [{"train": 6}, {"test": 6}])
def test_a_fit_goes_on_where_it_was(engine: str, stop: Any, tmp_path: Path) -> None:
    """With the states of that batch: all bits are those of a fit that was not ended."""

    def fit(model: Any, **options: Any) -> Any:
        history = model.fit(
            X,
            Y,
            batch_size=ROWS,
            epochs=3,
            shuffle=False,
            verbose=0,
            validation_data=(X, Y),
            **options,
        )
        weights = [w.tobytes() for w in model.get_weights()]
        return history.history, weights, states_of(model)

    whole = fit(model_of())
    folder = {"checkpoint": tmp_path, "checkpoint_freq": 1}
    with pytest.raises(KeyboardInterrupt):
        fit(model_of(), callbacks=[StopAt(**stop)], **folder)
    assert fit(model_of(seed=9), callbacks=[StopAt()], **folder) == whole


def test_what_leaves_them() -> None:
    """Reading a model does not move its states; training steps that fail do not."""
    model = model_of()
    model.predict(X, verbose=0)
    before = states_of(model)
    model._network.values([2], (X[:ROWS],))
    with pytest.raises(NonFiniteError):
        model.train_on_batch(np.full_like(X[:ROWS], 1e38), Y[:ROWS] * 1e38)
    assert states_of(model) == before
    other = copy.deepcopy(model)
    other.predict(X, verbose=0)
    assert states_of(model) == before != states_of(other)


def test_tapes() -> None:
    """A call that a tape records leaves the states that `predict` leaves."""
    one, other = model_of(), model_of()
    one.predict(X[:ROWS], verbose=0)
    with GradientTape() as tape:
        loss = kurve.ops.mean(other(X[:ROWS]) ** 2)
    assert all(g is not None for g in tape.gradient(loss, other.trainable_weights))
    for a, b in zip(one.layers[1].states, other.layers[1].states, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_a_shared_layer(engine: str) -> None:
    """The second call goes on where the first one ended."""
    shared = layers.GRU(4, stateful=True)
    a, b = Input(batch_shape=(ROWS, 5, 2)), Input(batch_shape=(ROWS, 5, 2))
    model = Model([a, b], [shared(a), shared(b)])
    model.compile("sgd", "mse", engine=engine)
    first, second = model.predict([X[:ROWS], X[ROWS : 2 * ROWS]], verbose=0)
    state = shared.states[0].numpy()
    shared.reset_states()
    np.testing.assert_allclose(shared(X[:ROWS]), first, 1e-5, 1e-6)
    np.testing.assert_allclose(shared(X[ROWS : 2 * ROWS]), second, 1e-5, 1e-6)
    np.testing.assert_allclose(shared.states[0].numpy(), state, 1e-5, 1e-6)


def test_bits_do_not_depend_on_threads() -> None:
    """Of 300 rows, which threads share."""
    x = RNG.normal(size=(300, 4, 2)).astype(np.float32)
    found = []
    before = kurve.get_threads()
    try:
        for threads in (1, 2, 3):
            kurve.set_threads(threads)
            model = model_of(300, 4)
            outputs = [model.predict(x, verbose=0) for _ in range(2)]
            model.fit(x, x[:, 0, :1], batch_size=300, epochs=2, verbose=0)
            found.append([*(y.tobytes() for y in outputs), *states_of(model)])
    finally:
        kurve.set_threads(before)
    assert found[0] == found[1] == found[2]
    alone = model_of(1, 4)  # a row's bits are those that it has by itself
    for _ in range(2):
        row = alone.predict(x[7:8], verbose=0)
    assert row.tobytes() == outputs[1][7:8].tobytes()


def test_models_that_share_a_layer() -> None:
    """Each goes on where the other one ended."""
    inside, alone = model_of(), model_of()
    x = Input(batch_shape=(ROWS, 5, 2))
    around = Model(x, inside(x))
    around.compile("adam", "mse")
    for model in (inside, around, inside, inside, around):
        found = model.predict(X[:ROWS], verbose=0)
        expected = alone.predict(X[:ROWS], verbose=0)
        np.testing.assert_array_equal(found, expected)
    assert states_of(inside) == states_of(alone)


WRONG: list[tuple[Callable[[Any], Any], str]] = [
    (lambda m: m.predict(X[:4], verbose=0), "[predict] each batch must have 3 rows"),
    (lambda m: m.fit(X[:5], Y[:5], verbose=0), "[fit] each batch must have 3 rows"),
    (lambda m: m.fit(X, Y, batch_size=4, verbose=0), "batches of 4, the last one of 4"),
    (lambda m: m.evaluate(X, Y, steps=2, batch_size=2, verbose=0), "[evaluate] each"),
    (lambda m: m.train_on_batch(X[:2], Y[:2]), "2 rows, and states of 3"),
    (lambda m: m.fit(((X[:2], Y[:2]) for _ in range(2)), verbose=0), "states of 3"),
    (lambda m: m(X[:2], training=True), "2 rows, and states of 3"),
    (lambda m: m.layers[0](X[:2]), "[LSTM] batches must have as many rows"),
    (
        lambda m: Sequential([Input(batch_shape=(4, 5, 2)), m.layers[0]]),
        "[LSTM] batches must have as many rows",
    ),
]


@pytest.mark.parametrize(("call", "text"), WRONG)
def test_wrong_sizes(engine: str, call: Any, text: str) -> None:
    model = model_of()
    model.predict(X, verbose=0)
    before = states_of(model)
    with pytest.raises(ValueError) as error:
        call(model)
    assert text in str(error.value)
    assert states_of(model) == before


def test_old_spellings() -> None:
    """As in programs for Keras 2."""
    model = Sequential()
    model.add(layers.LSTM(4, batch_input_shape=(ROWS, 5, 2), stateful=True))
    model.add(layers.Dense(1))
    first = model.predict(X, batch_size=ROWS, verbose=0)
    assert not np.allclose(model.predict(X, batch_size=ROWS, verbose=0), first)
    with pytest.warns(FutureWarning, match="reset_states"):
        model.reset_states()
    np.testing.assert_array_equal(model.predict(X, batch_size=ROWS, verbose=0), first)
