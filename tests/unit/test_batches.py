"""Data that give batches: generators, other iterators and iterables, `PyDataset`."""

from __future__ import annotations

import itertools
import pickle
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kurve import Input, Model, Sequential, callbacks, ensemble, set_engine
from kurve.engines import Batches
from kurve.engines.native import NativeEngine
from kurve.errors import ModelBusyError, NonFiniteError
from kurve.layers import Dense, Embedding, Flatten, GlobalAveragePooling1D
from kurve.training import arguments, streams
from kurve.training.batching import Division
from kurve.training.feeds import ArrayFeed
from kurve.utils import PyDataset, set_random_seed
from tests.two_heads import TwoHeads, data

ROWS, SIZE = 42, 8
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True) ** 2
W = np.linspace(0.5, 1.5, ROWS).astype(np.float32)
CUTS = [slice(i, i + SIZE) for i in range(0, ROWS, SIZE)]
STEPS = len(CUTS)


def model_of(built: bool = True, **given: Any) -> Sequential:
    set_random_seed(7)
    model = Sequential([Input((3,))] if built else [])
    for layer in (Dense(4, "tanh"), Dense(1)):
        model.add(layer)
    model.compile(given.pop("optimizer", "adam"), "mse", **given)
    return model


def batches(*arrays: np.ndarray, passes: int = 1) -> Iterator[Any]:
    for _ in range(passes):
        for cut in CUTS:
            yield tuple(array[cut] for array in arrays)


class Iterable:
    """An iterable of batches that is neither a container nor an iterator."""

    def __iter__(self) -> Iterator[Any]:
        return batches(X, Y)


class Numbered(PyDataset):
    """The same by number; remembers what was asked for."""

    def __init__(self, *arrays: np.ndarray, **given: Any) -> None:
        super().__init__(**given)
        self.arrays, self.asked = arrays or (X, Y), list[int]()

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        return tuple(array[CUTS[index]] for array in self.arrays)


ORDERED: dict[str, Any] = {"batch_size": SIZE, "shuffle": False}
QUIET: dict[str, Any] = {"verbose": 0, "shuffle": False}


def expected(epochs: int = 1, **given: Any) -> tuple[Any, list[np.ndarray]]:
    """History and weights of a `fit` with arrays."""
    model = model_of()
    history = model.fit(X, Y, epochs=epochs, verbose=0, **ORDERED, **given).history
    return history, model.get_weights()


def same(model: Sequential, history: Any, wanted: tuple[Any, Any]) -> bool:
    return history == wanted[0] and all(
        map(np.array_equal, model.get_weights(), wanted[1])
    )


SOURCES = {
    "generator": lambda: batches(X, Y, passes=3),
    "iterator": lambda: iter(list(batches(X, Y, passes=3))),
    "iterable": Iterable,
    "dataset": Numbered,
    "dataset, threads": lambda: Numbered(workers=3, max_queue_size=2),
    "lists": lambda: (list(batch) for batch in batches(X, Y, passes=3)),
}


@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
@pytest.mark.parametrize("name", SOURCES)
def test_batches_train_as_arrays_do(engine: str, name: str, built: bool) -> None:
    model, source = model_of(built), SOURCES[name]()
    again = isinstance(source, Iterator)
    history = model.fit(
        source, epochs=3, steps_per_epoch=STEPS if again else None, **QUIET
    )
    if built:
        assert same(model, history.history, expected(3))
    assert history.epoch == [0, 1, 2] and model.iterations == 3 * STEPS


@pytest.mark.parametrize("name", SOURCES)
def test_evaluate_and_predict_from_batches(engine: str, name: str) -> None:
    model, make = model_of(metrics=["mae"]), SOURCES[name]
    steps = STEPS if isinstance(make(), Iterator) else None
    assert model.evaluate(make(), steps=steps, verbose=0) == model.evaluate(
        X, Y, batch_size=SIZE, verbose=0
    )
    assert np.array_equal(
        model.predict(make(), steps=steps, verbose=0), model.predict(X, verbose=0)
    )
    two = model.predict(make(), steps=2, verbose=0)
    assert np.array_equal(two, model.predict(X[: 2 * SIZE], verbose=0))


def test_forms_of_batches_to_predict() -> None:
    whole = model_of(False).predict(X, verbose=0)
    for form in (lambda x: x, lambda x: (x,), lambda x: (x, None), lambda x: [x]):
        model = model_of(False)
        found = model.predict((form(X[cut]) for cut in CUTS), verbose=0)
        assert np.array_equal(found, whole)


def test_weights_and_class_weights() -> None:
    weighted = expected(sample_weight=W)
    for source in (batches(X, Y, W), Numbered(X, Y, W)):
        model = model_of()
        assert same(model, model.fit(source, **QUIET).history, weighted)
    signs, weights = (Y > 1.0).astype(np.float32), {0: 0.25, 1: 2.0}
    first, second = model_of(), model_of()
    given: dict[str, Any] = {"class_weight": weights, "verbose": 0}
    wanted = first.fit(X, signs, **ORDERED, **given).history
    found = second.fit(Numbered(X, signs), shuffle=False, **given).history
    assert found == wanted


def test_several_inputs_and_outputs() -> None:
    x, y = data()
    halves = [slice(0, 12), slice(12, 24)]

    def parts() -> Iterator[Any]:
        for cut in halves:
            yield {k: v[cut] for k, v in x.items()}, [v[cut] for v in y.values()]

    first, second = TwoHeads(), TwoHeads()
    for model in (first, second):
        model.compile("sgd", "mse", metrics=[["mae"], []])
    wanted = first.fit(x, y, batch_size=12, **QUIET).history
    assert second.fit(parts(), **QUIET).history == wanted
    assert second.evaluate(parts(), verbose=0) == second.evaluate(
        x, y, batch_size=12, verbose=0
    )
    for found, whole in zip(
        second.predict(parts(), verbose=0), second.predict(x, verbose=0), strict=True
    ):
        assert np.array_equal(found, whole)


# ---------------------------------------------------------------- epochs and steps


def test_a_generator_goes_on_from_epoch_to_epoch() -> None:
    given = batches(X, Y, passes=2)
    model = model_of()
    model.fit(given, epochs=3, steps_per_epoch=3, **QUIET)
    assert len(list(given)) == 2 * STEPS - 9  # and no batch is lost
    one = model_of()
    one.fit(itertools.islice(batches(X, Y, passes=2), 9), **QUIET)
    assert all(map(np.array_equal, model.get_weights(), one.get_weights()))


@pytest.mark.parametrize("source", [Iterable, Numbered])
def test_windows_of_endless_passes(source: Any) -> None:
    windows = expected(epochs=4, steps_per_epoch=4)
    model = model_of()
    history = model.fit(source(), epochs=4, steps_per_epoch=4, **QUIET).history
    assert same(model, history, windows)


def test_batches_that_run_out() -> None:
    model = model_of()
    with pytest.warns(UserWarning, match=r"\[fit\] x ran out of batches, but more ep"):
        history = model.fit(batches(X, Y), epochs=3, **QUIET)
    assert history.epoch == [0] and model.iterations == STEPS
    with pytest.warns(UserWarning, match=r"ran out of batches, but 4 batches were"):
        history = model.fit(batches(X, Y), epochs=3, steps_per_epoch=4, **QUIET)
    assert history.epoch == [0, 1] and model.iterations == 2 * STEPS
    with pytest.warns(UserWarning, match=r"ran out of batches"):  # at an epoch's end
        history = model.fit(batches(X, Y), epochs=3, steps_per_epoch=3, **QUIET)
    assert history.epoch == [0, 1] and len(history.history["loss"]) == 2
    with pytest.warns(UserWarning, match=r"\[evaluate\] x ran out of batches"):
        model.evaluate(batches(X, Y), steps=STEPS + 1, verbose=0)


def test_an_iterable_may_differ_in_length_from_epoch_to_epoch() -> None:
    class Growing:
        count = 0

        def __iter__(self) -> Iterator[Any]:
            self.count += 1
            return itertools.islice(batches(X, Y), self.count)

    model = model_of()
    model.fit(Growing(), epochs=3, **QUIET)
    assert model.iterations == 1 + 2 + 3


def test_orders_of_a_dataset() -> None:
    model, dataset = model_of(), Numbered()
    model.fit(dataset, epochs=3, verbose=0)
    passes = [dataset.asked[i * STEPS : (i + 1) * STEPS] for i in range(3)]
    assert all(sorted(each) == list(range(STEPS)) for each in passes)
    assert len({tuple(each) for each in passes}) == 3
    threads = Numbered(workers=4)
    again = model_of()
    again.fit(threads, epochs=3, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), again.get_weights()))


def test_hooks_of_a_dataset() -> None:
    class Hooked(Numbered):
        def on_epoch_begin(self) -> None:
            self.asked.append(-1)

        def on_epoch_end(self) -> None:
            self.asked.append(-2)

    dataset, other = Hooked(), Hooked()
    model_of().fit(dataset, epochs=2, validation_data=other, **QUIET)
    once = [-1, *range(STEPS), -2]
    assert dataset.asked == other.asked == 2 * once
    assert list(Numbered()[1][0][0]) == list(X[SIZE])
    assert len(list(Numbered())) == STEPS


def test_a_dataset_without_end() -> None:
    class Endless(PyDataset):
        num_batches = None

        def __getitem__(self, index: int) -> Any:
            return X[:SIZE] + index, Y[:SIZE]

    model = model_of()
    with pytest.raises(ValueError, match=r"\[fit\] steps_per_epoch is needed"):
        model.fit(Endless(), **QUIET)
    model.fit(Endless(), epochs=2, steps_per_epoch=3, **QUIET)
    one = model_of()
    one.fit(((X[:SIZE] + i, Y[:SIZE]) for i in range(6)), **QUIET)
    assert all(map(np.array_equal, model.get_weights(), one.get_weights()))
    assert model.evaluate(Endless(), steps=2, verbose=0) > 0.0
    with pytest.raises(ValueError, match=r"\[evaluate\] steps is needed"):
        model.evaluate(Endless(), verbose=0)


def test_workers_make_batches_in_advance_but_not_too_many() -> None:
    threads, most = set(), 0

    class Slow(Numbered):
        def __getitem__(self, index: int) -> Any:
            nonlocal most
            threads.add(threading.get_ident())
            time.sleep(0.002)
            found = super().__getitem__(index)
            most = max(most, len(self.asked) - taken)
            return found

    taken = 0

    class Count(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            nonlocal taken
            taken += 1

    dataset = Slow(workers=2, max_queue_size=3)
    model_of().fit(dataset, callbacks=[Count()], **QUIET)
    assert 1 <= len(threads) <= 2 and threading.get_ident() not in threads
    assert most <= 5
    assert not [t for t in threading.enumerate() if "kurve-batches" in t.name]


# ---------------------------------------------------------------- validation


def test_validation_with_batches() -> None:
    given: dict[str, Any] = {"epochs": 2, "batch_size": SIZE, **QUIET}
    wanted = model_of().fit(X, Y, validation_data=(X, Y), **given).history
    for source, steps in (
        (Numbered(), None),
        (Iterable(), None),
        (batches(X, Y, passes=2), STEPS),
    ):
        found = model_of().fit(
            X, Y, validation_data=source, validation_steps=steps, **given
        )
        assert found.history == wanted
    given["validation_steps"] = 2
    wanted = model_of().fit(X, Y, validation_data=(X, Y), **given).history
    for again in (Numbered(), Iterable()):  # each validation starts anew
        found = model_of().fit(X, Y, validation_data=again, **given)
        assert found.history == wanted
    del given["validation_steps"]
    with pytest.warns(UserWarning, match=r"validation_data ran out of batches"):
        found = model_of().fit(X, Y, validation_data=batches(X, Y), **given)
    assert len(found.history["val_loss"]) == 1 and len(found.history["loss"]) == 2


# ---------------------------------------------------------------- callbacks


class Calls(callbacks.Callback):
    """The calls of the batch hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.calls.append(("begin", batch))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        assert logs is not None and "loss" in logs
        self.calls.append(("end", batch))

    on_test_batch_begin = on_train_batch_begin
    on_test_batch_end = on_train_batch_end


@pytest.mark.parametrize("steps", [1, 4])
def test_hooks_of_batches(steps: int) -> None:
    firsts = range(0, STEPS, steps)
    wanted = [
        call
        for first in firsts
        for call in (("begin", first), ("end", first + steps - 1))
    ]
    for x, y in ((X, Y), (Numbered(), None)):
        calls, model = Calls(), model_of(steps_per_execution=steps)
        model.fit(x, y, callbacks=[calls], batch_size=SIZE, **QUIET)
        assert calls.calls == wanted
        calls = Calls()
        model.evaluate(x, y, callbacks=[calls], batch_size=SIZE, verbose=0)
        assert calls.calls == wanted
        assert same(model, {}, ({}, expected()[1]))


def test_a_callback_stops_in_the_middle() -> None:
    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 2

    given = batches(X, Y)
    model = model_of()
    model.fit(given, callbacks=[Stop()], **QUIET)
    assert model.iterations == 3
    assert len(list(given)) == STEPS - 3


def test_the_line_of_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of()
    model.fit(batches(X, Y), verbose=2)
    model.fit(Iterable(), epochs=2, verbose=2)
    model.evaluate(Iterable(), verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [f"{STEPS}/{STEPS} - " in line for line in lines] == [True] * 4
    assert lines[2].startswith("Epoch 2/2 - 6/6 - ")


# ---------------------------------------------------------------- errors


WRONG: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "y": (batches(X, Y), {"y": Y}, ValueError, r"y must be part of the batches"),
    "weights": (Numbered(), {"sample_weight": W}, ValueError, "sample_weight must be"),
    "split": (batches(X, Y), {"validation_split": 0.2}, ValueError, "needs rows, not"),
    "empty": (
        iter([]),
        {},
        ValueError,
        "x must produce at least one batch. Received: an",
    ),
    "x alone": (iter([(X,)]), {}, TypeError, r"batch 1 of x\] a batch must be \(x, y"),
    "None": (iter([None]), {}, TypeError, r"Received: a NoneType\. Try yield x, y"),
    "an array": (iter([X]), {}, TypeError, r"Received: a ndarray\. Try yield x, y"),
    "four": (iter([(X, Y, W, W)]), {}, TypeError, "Received: a tuple of 4 values"),
    "shape": (iter([(X, Y[:, :0])]), {}, ValueError, r"\[fit, batch 1 of x\] y must"),
    "rows": (iter([(X, Y[:3])]), {}, ValueError, r"\[fit, batch 1 of x\] x and y must"),
    "validation": (batches(X, Y), {"validation_data": iter([])}, ValueError, "valida"),
}


@pytest.mark.parametrize("name", WRONG)
def test_batches_that_do_not_fit_change_nothing(name: str) -> None:
    source, given, kind, message = WRONG[name]
    for built in (True, False):
        model = model_of(built)
        before = model.get_weights() if built else []
        first, source = (
            itertools.tee(source) if isinstance(source, Iterator) else (source, source)
        )
        with pytest.raises(kind, match=message):
            model.fit(first, **{**QUIET, **given})
        assert model.built is built and model.iterations == 0
        assert all(map(np.array_equal, before, model.get_weights() if built else []))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_the_middle_ends_at_a_whole_step(engine: str, workers: int) -> None:
    class Broken(Numbered):
        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise OSError("the disk")
            return super().__getitem__(index)

    model = model_of()
    with pytest.raises(OSError, match="the disk"):
        model.fit(Broken(workers=workers), **QUIET)
    assert model.iterations == 3
    model.fit(itertools.islice(batches(X, Y), 3, None), **QUIET)
    assert same(model, {}, ({}, expected()[1]))


def test_a_bad_batch_is_named_by_its_number() -> None:
    given = [(X, Y), (X, Y), (X * np.nan, Y)]
    with pytest.raises(ValueError, match=r"^\[fit, batch 3 of x\] x must be finite"):
        model_of().fit(iter(given), **QUIET)
    with pytest.raises(ValueError, match=r"^\[predict, batch 3 of x\] x must be fini"):
        model_of().predict((x for x, _ in given), verbose=0)
    with pytest.raises(ValueError, match=r"\[fit, batch 3 of validation_data\] x must"):
        model_of().fit(X, Y, validation_data=iter(given), **QUIET)
    with pytest.raises(
        ValueError, match=r"\[predict\] x must produce at least one batch"
    ):
        model_of().predict(iter([]), verbose=0)
    with pytest.raises(
        ValueError, match=r"\[evaluate\] x must produce at least one batch"
    ):
        model_of().evaluate(iter([]), verbose=0)


class EngineCalls:
    """Numbers of steps that the engine gets in its calls."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steps: list[int] = []
        set_engine("native")
        train = NativeEngine.train

        def counted(engine: Any, jobs: Any) -> Any:
            self.steps += [job.last - job.first for job in jobs]
            return train(engine, jobs)

        patch.setattr(NativeEngine, "train", counted)
        patch.setattr(streams, "FAST_SOURCE", 1.0)
        patch.setattr(streams, "FAST_STEP", 10.0)


FORMS: dict[str, Any] = {
    "arrays": lambda x, y, w: (x, y, w),
    "doubles, filled again": lambda x, y, w: (x.astype(float), y[:, 0], w),
    "lists": lambda x, y, w: [[x], [y], w],
    "names": lambda x, y, w: ({"last": x}, {"out": y}, w),
    "lists of numbers": lambda x, y, w: (x.tolist(), y.tolist(), w.tolist()),
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("form", FORMS)
def test_fast_batches_share_calls(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bits of arrays, also where a generator fills the same memory again, and
    where batches differ in size."""
    calls = EngineCalls(monkeypatch)
    cuts = [slice(0, 8), slice(8, 16), slice(16, 17), slice(17, 40), slice(40, 42)]
    filled = [np.empty((32, 3)), np.empty((32, 1)), np.empty(32)]

    def given() -> Iterator[Any]:
        for cut in cuts * 9:
            parts = []
            for memory, array in zip(filled, (X, Y, W), strict=True):
                part = memory[: len(array[cut])]
                part[:] = array[cut]
                parts.append(part if "filled" in form else part.astype(np.float32))
            yield FORMS[form](*parts)

    def named() -> Model:
        set_random_seed(7)
        x = Input((3,), name="last")
        model = Model(x, Dense(1, name="out")(Dense(4, "tanh")(x)))
        model.compile("adam", "mse")
        return model

    model, twin = named(), named()
    twin.build()
    history = model.fit(given(), **QUIET).history
    assert sum(calls.steps) == len(cuts) * 9
    assert (len(calls.steps) < 9) is (form != "lists of numbers")
    bounds = np.array([0, 8, 16, 17, 40, 42])
    feed = ArrayFeed(
        Batches(X, Y, W, None, bounds), Division(42, bounds, 45, False, 0, 0)
    )
    monkeypatch.setattr(arguments.EngineCall, "to_train", lambda *given: feed)
    assert twin.fit(X, Y, **QUIET).history == history
    assert same(model, {}, ({}, twin.get_weights()))
    whole = model.evaluate(given(), verbose=0)
    assert whole == pytest.approx(twin.evaluate(X, Y, sample_weight=W, verbose=0))


@pytest.mark.usefixtures("native")
def test_one_form_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that come and go, another dtype, other sizes of an open axis."""
    calls = EngineCalls(monkeypatch)
    x = Input((None, 3))
    mean = GlobalAveragePooling1D()(x)
    models = []
    for _ in range(2):
        set_random_seed(3)
        models.append(Model(x, Dense(1)(mean)))
        models[-1].compile("sgd", "mse")
    long = np.random.default_rng(1).normal(size=(8, 5, 3)).astype(np.float32)
    given: list[Any] = []
    for i in range(24):
        x = long[:, : 4 + i // 6 % 2].astype(np.float64 if i % 8 > 5 else np.float32)
        given.append((x, Y[:8], W[:8]) if i % 5 > 2 else (x, Y[:8]))
    models[0].fit(iter(given), **QUIET)
    assert 24 == sum(calls.steps) > len(calls.steps)
    for batch in given:
        models[1].train_on_batch(*batch)
    assert same(models[0], {}, ({}, models[1].get_weights()))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("at", [0, 1, 2, 7])
def test_a_wrong_batch_among_fast_ones(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All before it are trained with, and it is named by its number."""
    EngineCalls(monkeypatch)
    wrong = {
        "x must be finite": (X * np.nan, Y),
        "y must be finite": (X, Y * np.inf),
        "same number of rows": (X, Y[:-1]),
        "x must have shape": (X[:, :2], Y),
        "Received: a tuple of 5": (X, Y, Y, Y, Y),
    }
    for message, batch in wrong.items():
        given = [(X, Y)] * 8
        given[at] = batch
        model = model_of()
        where = rf"^\[fit, batch {at + 1} of x\] .*{message}"
        with pytest.raises((ValueError, TypeError), match=where):
            model.fit(iter(given), **QUIET)
        assert model.iterations == at
        with pytest.raises(
            (ValueError, TypeError), match=where.replace("fit", "eval.*")
        ):
            model.evaluate(iter(given), verbose=0)


def test_a_generator_sees_every_step_of_a_slow_model_or_of_its_own_calls() -> None:
    model, seen = model_of(), []

    def own() -> Iterator[Any]:
        for _ in range(20):
            seen.append(model.iterations)
            time.sleep(1e-4)
            yield X, Y

    model.fit(own(), **QUIET)
    assert seen == list(range(20))


def test_ctrl_c_in_a_generator(engine: str) -> None:
    def interrupted() -> Iterator[Any]:
        yield from itertools.islice(batches(X, Y), 2)
        raise KeyboardInterrupt

    model = model_of()
    with pytest.raises(KeyboardInterrupt):
        model.fit(interrupted(), **QUIET)
    assert model.iterations == 2
    model.fit(itertools.islice(batches(X, Y), 2, None), **QUIET)
    assert same(model, {}, ({}, expected()[1]))


def test_a_loss_that_is_not_finite() -> None:
    huge = ((X, Y * 1e30) for _ in range(9))
    model = model_of()
    with pytest.raises(NonFiniteError):
        model.fit(huge, **QUIET)
    assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.parametrize(
    ("number", "fix"), [(6, "Embedding(8, ...)"), (-1, "0 for it")]
)
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_a_number_that_an_embedding_does_not_have(
    number: int, fix: str, dtype: str, engine: str
) -> None:
    set_engine(engine)
    words = Embedding(5, 2, name="words")
    model = Sequential([Input((2,), dtype=dtype), words, Flatten(), Dense(1)])
    model.compile("adam", "mse")
    rule = f"'words' needs numbers 0 to 4. Received: {number}. Try {fix}."
    with pytest.raises(NonFiniteError, match=re.escape(rule)) as caught:
        model.fit(np.array([[1, 4], [number, 7]]), np.ones(2), verbose=0)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_generator_may_ask_the_model() -> None:
    model = model_of()

    def own() -> Iterator[Any]:
        for _ in range(4):
            yield X, model.predict(X, verbose=0) + 1.0

    assert model.fit(own(), **QUIET).history["loss"][0] > 0.0

    def busy() -> Iterator[Any]:
        model.train_on_batch(X, Y)
        yield X, Y

    with pytest.raises(ModelBusyError):
        model.fit(busy(), **QUIET)


# ---------------------------------------------------------------- checkpoints


def test_a_dataset_resumes_by_number(tmp_path: Any, engine: str) -> None:
    class Killed(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.model.iterations == STEPS + 2:
                raise KeyboardInterrupt

    given: dict[str, Any] = {"epochs": 3, "verbose": 0, "validation_data": Numbered()}
    whole = model_of()
    history = whole.fit(Numbered(), **given).history
    given |= {"checkpoint": tmp_path, "checkpoint_freq": 1}
    first, second, rest = model_of(), model_of(), Numbered()
    with pytest.raises(KeyboardInterrupt):
        first.fit(Numbered(), callbacks=[Killed()], **given)

    class Idle(Killed):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None: ...

    Idle.__name__ = "Killed"
    found = second.fit(rest, callbacks=[Idle()], **given).history
    assert same(second, found, (history, whole.get_weights()))
    assert len(rest.asked) < 2 * STEPS  # the steps that were done are not done again


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: batches(X, Y), "a generator, whose batches cannot be read again"),
        (Iterable, "a Iterable, whose batches cannot"),
        (
            lambda: type("Own", (Numbered,), {"on_epoch_end": lambda self: None})(),
            "a Own with its own on_epoch_end",
        ),
    ],
)
def test_checkpoints_need_batches_by_number(
    tmp_path: Any, source: Any, message: str
) -> None:
    for given in (
        {"checkpoint": tmp_path / "a"},
        {"callbacks": [callbacks.BackupAndRestore(str(tmp_path / "a"))]},
    ):
        with pytest.raises(
            ValueError, match=rf"^\[fit\] checkpoints need x .*{message}"
        ):
            model_of().fit(source(), **QUIET, **given)
        with pytest.raises(ValueError, match="checkpoints need validation_data to"):
            model_of().fit(X, Y, validation_data=source(), **QUIET, **given)
    assert not list(tmp_path.iterdir())


def test_members_cannot_share_a_generator() -> None:
    committee = ensemble(model_of(), 2)
    with pytest.raises(TypeError, match=r"^\[fit\] members .* cannot share x, whose"):
        committee.fit(batches(X, Y), verbose=0)
    with pytest.raises(TypeError, match=r"cannot share validation_data, whose"):
        committee.fit(X, Y, validation_data=batches(X, Y), verbose=0)
    committee.fit(Numbered(), verbose=0)
    assert all(member.iterations == STEPS for member in committee.members)


def test_a_data_set_of_tensors_without_a_length() -> None:
    """As TensorFlow's: an iterable whose len() raises, of objects that NumPy reads."""

    class Tensor:
        def __init__(self, array: np.ndarray) -> None:
            self.array, self.shape = array, array.shape

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.array(self.array, dtype=dtype)

    class Dataset(Iterable):
        def __len__(self) -> int:
            raise TypeError("The dataset length is unknown.")

        def __iter__(self) -> Iterator[Any]:
            return (tuple(map(Tensor, batch)) for batch in batches(X, Y))

    model = model_of()
    assert same(model, model.fit(Dataset(), epochs=2, **QUIET).history, expected(2))
