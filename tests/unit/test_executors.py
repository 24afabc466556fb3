"""Members and folds that are trained by other processes and machines."""

from __future__ import annotations

import concurrent.futures as cf
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib.externals.loky import ProcessPoolExecutor as Loky

import kurve
from kurve.core import executors
from kurve.errors import ModelBusyError, NonFiniteError

X = np.linspace(-3.0, 3.0, 200)[:, None]
Y = np.sin(X)
OPTIONS: dict[str, Any] = {"epochs": 4, "verbose": 0, "validation_split": 0.2}


def committee(seed: int = 1) -> kurve.Ensemble:
    kurve.utils.set_random_seed(seed)
    layers = [kurve.layers.Dense(8, "tanh"), kurve.layers.Dropout(0.1)]
    model = kurve.Sequential([*layers, kurve.layers.Dense(1)])
    model.compile(kurve.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return kurve.ensemble(model, 4)


def callbacks() -> list[Any]:
    return [kurve.callbacks.ReduceLROnPlateau(patience=0, min_delta=10.0)]


def numbers(committee: kurve.Ensemble) -> list[np.ndarray]:
    return [w for member in committee.members for w in member.get_weights()]


def assert_equal(a: kurve.Ensemble, b: kurve.Ensemble) -> None:
    for one, other in zip(numbers(a), numbers(b), strict=True):
        np.testing.assert_array_equal(one, other)


class DieOnce(kurve.callbacks.Callback):
    """Kills its process in the second epoch, if that is not the test's and no other
    process has died."""

    def __init__(self, path: Path, always: bool = False) -> None:
        super().__init__()
        self.path, self.parent, self.always = str(path), os.getpid(), always

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1 and os.getpid() != self.parent:
            if self.always:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Of a Dask cluster with two workers."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


POOLS: dict[str, Callable[[], Any]] = {
    "processes": lambda: cf.ProcessPoolExecutor(2),
    "threads": lambda: cf.ThreadPoolExecutor(2),
    "loky": lambda: Loky(2),
}


@pytest.mark.parametrize("pool", POOLS)
def test_the_bits_are_those_of_this_process(
    pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "LARGE", 100)  # files, memory-mapped
    given = {**OPTIONS, "bootstrap": True}
    here = committee()
    logs = here.fit(X, Y, callbacks=callbacks(), **given)
    there = committee()
    with POOLS[pool]() as executor:
        other = there.fit(X, Y, callbacks=callbacks(), executor=executor, **given)
        assert_equal(here, there)
        assert [h.history for h in other] == [h.history for h in logs]
        assert [h.epoch for h in other] == [h.epoch for h in logs]
        for a, b in zip(here.members, there.members, strict=True):
            assert float(a.optimizer.learning_rate) == float(b.optimizer.learning_rate)
            assert b.history is not None and b.history.model is b
        # The second call continues from there.
        here.fit(X, Y, **OPTIONS)
        there.fit(X, Y, executor=executor, **OPTIONS)
    assert_equal(here, there)


def test_tasks_hold_several_members() -> None:
    sizes: list[int] = []

    class Counting(cf.ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            sizes.append(len(args[2]))
            return super().submit(fn, *args, **kwargs)

    results: dict[int, int] = {}
    with Counting(2) as executor:
        executors.map_items(
            executor, _square, {"add": 1}, range(20), results.__setitem__
        )
    assert results == {i: i * i + 1 for i in range(20)}
    assert sizes == [1, 1, 9, 9]


def _square(shared: Any, item: int) -> int:
    return item * item + int(shared["add"])


def test_a_pool_that_breaks(tmp_path: Path) -> None:
    """Its tasks are done here."""
    here, there = committee(), committee()
    here.fit(X, Y, **OPTIONS)
    die = DieOnce(tmp_path / "x")
    spawned = multiprocessing.get_context("spawn")  # threads may run here by now
    with (
        cf.ProcessPoolExecutor(2, spawned) as executor,
        pytest.warns(RuntimeWarning, match=r"^\[executor\] .* no more tasks"),
    ):
        there.fit(X, Y, executor=executor, callbacks=[die], **OPTIONS)
    assert_equal(here, there)


def test_a_dask_cluster_of_which_a_worker_dies(client: Any, tmp_path: Path) -> None:
    here = committee()
    here.fit(X, Y, **OPTIONS)
    for executor in (client, client.get_executor(pure=False)):
        there = committee()
        die = DieOnce(tmp_path / type(executor).__name__)
        there.fit(X, Y, executor=executor, callbacks=[die], **OPTIONS)
        assert Path(die.path).exists()
        assert_equal(here, there)


def test_searches_and_sweeps_by_dask(client: Any) -> None:
    search = pytest.importorskip("sklearn.model_selection")
    given = {"alpha": [0.0, 1.0]}
    regressor = kurve.Regressor(
        random_state=0, max_epochs=5, solver="adam", engine="reference"
    )
    found = [search.GridSearchCV(regressor, given, cv=2) for _ in range(2)]
    found[0].fit(X, Y[:, 0])
    with joblib.parallel_config(backend="dask"):
        found[1].fit(X, Y[:, 0])
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(
            found[0].cv_results_[key], found[1].cv_results_[key]
        )
    model = committee().members[0]
    sweep = client.submit(kurve.lr_find, model, X, Y, steps=50).result()
    here = kurve.lr_find(model, X, Y, steps=50)
    assert sweep.suggestion == pytest.approx(here.suggestion)


ESTIMATORS: dict[str, Callable[[], Any]] = {
    "members": lambda: kurve.Regressor(members=3, random_state=0),
    "folds": lambda: kurve.Regressor(interval="cv+", solver="adam", random_state=0),
    "solver": lambda: kurve.Regressor(members=2, solver="lbfgs", random_state=0),
    "classes": lambda: kurve.Classifier(members=2, random_state=0),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators(name: str) -> None:
    here, there = ESTIMATORS[name](), ESTIMATORS[name]()
    for one in (here, there):
        one.max_epochs = 5
    y = Y[:, 0] > 0.0 if name == "classes" else Y[:, 0]
    here.fit(X, y)
    with cf.ProcessPoolExecutor(2) as executor:
        there.fit(X, y, executor=executor)
    np.testing.assert_array_equal(here.predict(X), there.predict(X))
    assert here.history_ == there.history_
    if name == "folds":
        np.testing.assert_array_equal(
            here.predict_interval(X), there.predict_interval(X)
        )


def test_wrong_calls_change_nothing() -> None:
    model = committee()
    model.members[0].build((None, 1))
    before = model.members[0].get_weights()
    with pytest.raises(TypeError, match=r"^\[fit\] executor must have the submit"):
        model.fit(X, Y, executor=2, **OPTIONS)
    with pytest.raises(TypeError, match=r"^\[fit\] executor must have the submit"):
        kurve.Regressor().fit(X, Y, executor="dask")
    with pytest.raises(ValueError, match="executor is for tables in memory"):
        kurve.Regressor().fit([(X, Y)], executor=cf.ThreadPoolExecutor(1))
    with (
        cf.ThreadPoolExecutor(1) as executor,
        pytest.raises(ValueError, match=r"^\[fit\] .* rows"),
    ):
        model.fit(X, Y[:5], executor=executor, **OPTIONS)

    class AtOnce:
        def submit(self, fn: Any, /, *args: Any) -> Any:
            return fn(*args)

    with pytest.raises(TypeError, match=r"^\[executor\] submit must return a future"):
        model.fit(X, Y, executor=AtOnce(), **OPTIONS)
    for old, new in zip(before, model.members[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(X, Y, **OPTIONS)  # nothing stays locked


def test_a_member_that_diverges() -> None:
    model = committee()
    model.members[2].optimizer.learning_rate = 1e38
    with (
        cf.ProcessPoolExecutor(1) as executor,
        pytest.raises(NonFiniteError, match="learning rate") as caught,
    ):
        model.fit(X, Y, executor=executor, **OPTIONS)
    assert caught.value.__notes__ == ["This is member 2 of the ensemble."]
    assert model.members[0].built and model.members[2].built


def test_models_are_locked_meanwhile() -> None:
    model = committee()
    model.fit(X, Y, **OPTIONS)

    class Late(cf.ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            with pytest.raises(ModelBusyError):
                model.members[3].fit(X, Y, verbose=0)
            return super().submit(fn, *args, **kwargs)

    with Late(1) as executor:
        model.fit(X, Y, executor=executor, **OPTIONS)
