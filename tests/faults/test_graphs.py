"""Graphs keep what is promised: the same bits on any number of threads and in any
batch, threads at once, Ctrl-C, what is not finite."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, layers, utils
from kurve.callbacks import LambdaCallback
from kurve.errors import ModelBusyError, NonFiniteError
from kurve.formulas import functions as ops
from tests.faults.conftest import Promise
from tests.faults.graphs import GRAPHS, data
from tests.faults.test_interrupt import ENDLESS, limit, slowest_end
from tests.faults.test_threads import at_once

pytestmark = pytest.mark.alone

ROWS = 203


@pytest.fixture
def threads() -> Iterator[None]:
    before = kurve.get_threads()
    yield
    kurve.set_threads(before)


def compiled(
    name: str, engine: str = "native", average: bool = True
) -> tuple[Model, Any, Any]:
    """A model with the optimizer that does most, and data.

    Args:
        average: whether fit ends with the mean of the weights.
    """
    utils.set_random_seed(5)
    model, loss, shapes = GRAPHS[name]()
    optimizer = kurve.optimizers.AdamW(
        0.01, use_ema=average, gradient_accumulation_steps=2, global_clipnorm=1.0
    )
    model.compile(optimizer, loss, metrics=[["mae"], ["mae"]], engine=engine)
    return model, *data(model, shapes, ROWS)


def bits(model: Model) -> bytes:
    state = model._network.state
    assert state is not None
    arrays = (state.params, state.buffers, state.slots, state.scalars)
    return b"".join(a.tobytes() for a in arrays)


def flat(outputs: Any) -> list[np.ndarray]:
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def part(x: Any, rows: slice) -> Any:
    return [a[rows] for a in x] if isinstance(x, list) else x[rows]


@pytest.mark.usefixtures("native", "threads")
@pytest.mark.parametrize("name", GRAPHS)
def test_any_number_of_threads(name: str, promise: Promise) -> None:
    seen = set()
    for number in (1, 2, 3):
        kurve.set_threads(number)
        model, x, y = compiled(name)
        history = model.fit(x, y, epochs=2, batch_size=100, verbose=0).history
        found = [a.tobytes() for a in flat(model.predict(x, verbose=0))]
        tested = model.evaluate(x, y, verbose=0)
        seen.add((bits(model), *found, repr(history), repr(tested)))
    assert len(seen) == 1
    assert np.isfinite(np.frombuffer(next(iter(seen))[0], np.float32)).all()
    promise("bits", f"a graph of {name} on 1, 2 and 3 threads: equal")


@pytest.mark.parametrize("name", GRAPHS)
def test_a_row_in_any_batch(name: str, engine: str) -> None:
    model, x, y = compiled(name, engine)
    if engine == "native":
        model.fit(x, y, verbose=0)
    whole = flat(model.predict(x, verbose=0))
    for size in (1, 7, 64, 203) if engine == "native" else (1, 50):
        for i in range(0, min(ROWS, 20 * size), size):
            rows = slice(i, i + size)
            for one, other in zip(
                flat(model.predict(part(x, rows), verbose=0)), whole, strict=True
            ):
                assert one.tobytes() == other[rows].tobytes(), (size, i)
        again = flat(model.predict(x, batch_size=size, verbose=0))
        assert [a.tobytes() for a in again] == [a.tobytes() for a in whole]


@pytest.mark.usefixtures("native")
def test_eight_threads_predict(promise: Promise) -> None:
    model, x, y = compiled("merging")
    model.fit(x, y, verbose=0)
    right = model.predict(x, verbose=0)
    wrong, errors = [0] * 8, []

    def work(index: int) -> None:
        random = np.random.default_rng(index)
        try:
            for _ in range(200):
                first = int(random.integers(ROWS - 40))
                rows = slice(first, first + int(random.integers(1, 40)))
                found = model.predict(part(x, rows), verbose=0)
                for one, other in zip(found, right, strict=True):
                    wrong[index] += one.tobytes() != other[rows].tobytes()
        except Exception as error:
            errors.append(error)

    at_once(8, work)
    assert (errors, sum(wrong)) == ([], 0)
    promise("predict", "a graph, 8 threads x 200 calls: 0 errors, 0 wrong bits")


def test_another_thread_may_not_train(engine: str) -> None:
    model, x, y = compiled("merging", engine)
    go, on = threading.Event(), threading.Event()

    def hold(epoch: int, logs: Any) -> None:
        on.set()
        assert go.wait(60)

    watch = LambdaCallback(on_epoch_end=hold)
    thread = threading.Thread(
        target=lambda: model.fit(x, y, verbose=0, callbacks=[watch])
    )
    thread.start()
    assert on.wait(60)
    try:
        before = bits(model)
        calls = {
            "fit": lambda: model.fit(x, y, verbose=0),
            "predict": lambda: model.predict(x, verbose=0),
            "compile": lambda: model.compile("sgd", "mse"),
            "evaluate": lambda: model.evaluate(x, y, verbose=0),
        }
        for name, call in calls.items():
            with pytest.raises(ModelBusyError, match=rf"^\[{name}\]"):
                call()
        assert bits(model) == before
    finally:
        go.set()
        thread.join()
    model.fit(x, y, verbose=0)


def test_models_that_share_a_layer_may_not_train_at_once(engine: str) -> None:
    """Nor may one of them be asked while another thread trains another one."""
    x = Input((3,))
    shared = layers.Dense(8, "tanh")
    models = [Model(x, layers.Dense(1)(shared(x))) for _ in range(2)]
    alone = Model(x, layers.Dense(1)(layers.Dense(8)(x)))
    given = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = given.sum(axis=1)
    for model in (*models, alone):
        model.compile("sgd", "mse", engine=engine)
        model.fit(given, y, verbose=0)
    one, other = models
    go, on = threading.Event(), threading.Event()
    inside: list[Any] = []

    def hold(epoch: int, logs: Any) -> None:
        inside.append(other.predict(given, verbose=0))  # as of this epoch
        with pytest.raises(ModelBusyError, match=r"^\[fit\] .* from which this call"):
            other.fit(given, y, verbose=0)
        on.set()
        assert go.wait(60)

    thread = threading.Thread(
        target=lambda: one.fit(
            given, y, verbose=0, callbacks=[LambdaCallback(on_epoch_end=hold)]
        )
    )
    thread.start()
    assert on.wait(60)
    try:
        before = bits(alone)
        calls = {
            "fit": lambda: other.fit(given, y, verbose=0),
            "predict": lambda: other.predict(given, verbose=0),
            "evaluate": lambda: other.evaluate(given, y, verbose=0),
            "train_on_batch": lambda: other.train_on_batch(given, y),
            "set_weights": lambda: other.set_weights([]),
        }
        for name, call in calls.items():
            with pytest.raises(ModelBusyError, match=rf"^\[{name}\]"):
                call()
        alone.fit(given, y, verbose=0)
        assert bits(alone) != before
        assert copy.deepcopy(shared).variables[0].lock.active is False
    finally:
        go.set()
        thread.join()
    assert len(inside) == 1
    first = shared.kernel.numpy()
    other.fit(given, y, verbose=0)
    assert (shared.kernel.numpy() != first).any()
    np.testing.assert_array_equal(one.get_weights()[0], other.get_weights()[0])


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("name", GRAPHS)
def test_ctrl_c_leaves_a_whole_step(name: str, soak: bool, promise: Promise) -> None:
    model, x, y = compiled(name, average=False)  # not what ends a fit
    options: dict[str, Any] = {"batch_size": 64, "shuffle": False, "verbose": 0}
    model.fit(x, y, **options)
    late, instants = [], np.random.default_rng(3)
    steps = -(-ROWS // 64)
    for _ in range(20 if soak else 2):
        twin, before = copy.deepcopy(model), model.iterations
        late.append(
            slowest_end(
                instants.uniform(0.02, 0.2),
                lambda: model.fit(x, y, epochs=ENDLESS, **options),
            )
        )
        epochs, rest = divmod(model.iterations - before, steps)
        if epochs:
            twin.fit(x, y, epochs=epochs, **options)
        for i in range(rest):
            rows = slice(64 * i, 64 * (i + 1))
            twin.train_on_batch(part(x, rows), part(y, rows))
        assert bits(model) == bits(twin)
        model.fit(x, y, **options)
        for array in flat(model.predict(x, verbose=0)):
            assert np.isfinite(array).all()
    assert max(late) < limit()
    promise("interrupt", f"a graph of {name}: worst {1000 * max(late):.0f} ms")


def huge_of(name: str) -> tuple[Any, Any]:
    """An input of which one sample takes seconds, and what is computed from it."""
    if name == "matmul":
        x = Input((3000, 3000))
        h = layers.EinsumDense("abc,cd->abd", (3000, 3000))(x)
        h = ops.matmul(h, ops.transpose(h, (0, 2, 1)))
    elif name == "einsum":
        x = Input((40, 200, 200))
        h = layers.EinsumDense("abcd,de->abce", (40, 200, 200))(x)
        h = ops.einsum("bhij,bhkj->bhik", h, h)
        h = ops.einsum("bhij,bgij->bhg", h, h) * 1e-6
    elif name == "embedding":
        x = Input((1_000_000,))
        h = layers.Embedding(50, 48)(x)
    elif name == "reduce":
        x = Input((400, 100, 100))
        h = layers.EinsumDense("abcd,de->abce", (400, 100, 100))(x)
        for axis in (1, 2, 3):
            h = ops.cumsum(h * 1e-2, axis=axis)
            h = h + ops.logsumexp(h, axis=axis, keepdims=True)
    else:
        x = Input((4000, 64))
        h = layers.MultiHeadAttention(2, 32)(x, x)
    return x, h


HUGE = ("matmul", "einsum", "embedding", "reduce", "attention")


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("name", HUGE)
def test_one_huge_sample(name: str, soak: bool, promise: Promise) -> None:
    x, h = huge_of(name)
    mean = ops.reshape(ops.mean(h, axis=tuple(range(1, len(h.shape)))), (-1, 1))
    model = Model(x, [layers.Dense(1, name="y")(mean), layers.Dense(1, name="z")(mean)])
    model.compile(kurve.optimizers.SGD(1e-12), ["mse", "mae"])
    shape = (1, *x.shape[1:])
    given = np.random.default_rng(0).uniform(0.0, 1.0, shape).astype(np.float32)
    if name == "embedding":
        given = np.floor(50 * given)
    y, instants = [np.ones(1), np.ones(1)], np.random.default_rng(10)
    options: dict[str, Any] = {"shuffle": False, "verbose": 0}
    late = [
        slowest_end(delay, call)
        for delay in instants.uniform(0.1, 2.0, 10 if soak else 3)
        for call in (
            lambda: model.fit(given, y, epochs=ENDLESS, **options),
            lambda: [model.predict(given, verbose=0) for _ in range(ENDLESS)],
        )
    ]
    assert max(late) < limit()
    promise("interrupt", f"{name}, one sample: worst {1000 * max(late):.0f} ms")


CHAINS: dict[str, Any] = {
    "formulas": lambda h: ops.flip(ops.sin(h) * 0.5 + ops.tanh(h), axis=1),
    "joined": lambda h: ops.concatenate([h[:, 7:], h[:, :7]], axis=1),
    "interleaved": lambda h: ops.concatenate([h[:, ::2], h[:, 1::2]], axis=1),
    "flipped": lambda h: ops.flip(h, axis=1),
}


@pytest.mark.usefixtures("native", "threads")
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_over_one_huge_sample(name: str, soak: bool, promise: Promise) -> None:
    """No op has a second row, or a second thread, before which it could look. Memory is
    new in each fit, which makes everything slow."""
    kurve.set_threads(1)
    given = np.random.default_rng(0).uniform(0.0, 1.0, (1, 4_000_000))
    given = given.astype(np.float32)
    late = []
    for delay in np.random.default_rng(11).uniform(0.1, 1.0, 10 if soak else 4):
        models = []
        for _ in range(3):
            x = h = Input((4_000_000,))
            for _ in range(12):
                h = CHAINS[name](h)
            models.append(Model(x, layers.Dense(1)(h)))
            models[-1].compile(kurve.optimizers.SGD(1e-12), "mse")
        late.append(
            slowest_end(
                delay,
                lambda: models.pop().fit(  # noqa: B023
                    given, np.ones(1), epochs=ENDLESS, verbose=0
                ),
            )
        )
    assert max(late) < limit()
    promise("interrupt", f"a chain, {name}: worst {1000 * max(late):.0f} ms")


def test_what_is_not_finite_names_the_output(engine: str) -> None:
    x = Input((3,))
    h = layers.Dense(4, "tanh")(x)
    model = Model(x, [layers.Dense(1, name="y")(h), layers.Dense(1, name="z")(h)])
    model.compile("adam", ["mse", "mse"], engine=engine)
    given = np.ones((8, 3), np.float32)
    y = [np.ones((8, 1)), np.ones((8, 1))]
    model.fit(given, y, verbose=0)
    before = bits(model)
    for k, name in enumerate("yz"):
        wrong = list(y)
        wrong[k] = np.full((8, 1), 3e38)
        with pytest.raises(NonFiniteError, match=rf"\[fit\] the loss of {name} is not"):
            model.fit(given, wrong, verbose=0)
        with pytest.raises(NonFiniteError, match=rf"the loss of {name} is not finite"):
            model.train_on_batch(given, wrong)
        assert bits(model) == before


def test_the_last_update_names_the_output(engine: str) -> None:
    """Weights are finite, and the output that they lead to is not."""
    x = Input((3,))
    zeros = [layers.Dense(1, name=n, kernel_initializer="zeros")(x) for n in "yz"]
    model = Model(x, zeros)
    model.compile(kurve.optimizers.SGD(1e23), ["mse", "mse"], engine=engine)
    y = [np.zeros((8, 1)), np.full((8, 1), 1e15)]
    with pytest.raises(NonFiniteError, match=r"\[fit\] the output z is not finite"):
        model.fit(np.ones((8, 3)), y, verbose=0)
