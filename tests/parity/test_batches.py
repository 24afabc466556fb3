"""`fit`, `evaluate` and `predict` with batches from generators, data sets by number and
torch's loaders, against Keras; and targets that are no probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tables import network
from test_fit import RTOL, SGD, Fit, assert_equal_histories, pair, regression, rows
from twins import Case, call, keras, torch

import kurve

SIZE = 16
FIT = Fit(regression(), ["mae"], ["mse"])
X, Y, _ = rows(FIT)
W = np.linspace(0.1, 2.0, len(X), dtype=np.float32)
CUTS = [slice(i, i + SIZE) for i in range(0, len(X), SIZE)]


def endless(*arrays: np.ndarray) -> Iterator[Any]:
    while True:
        for cut in CUTS:
            yield tuple(array[cut] for array in arrays)


def dataset(library: Any, *arrays: np.ndarray, **given: Any) -> Any:
    class Numbered(library.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(CUTS)

        def __getitem__(self, index: int) -> Any:
            return tuple(array[CUTS[index]] for array in arrays)

    return Numbered(**given)


def loader(*arrays: np.ndarray) -> Any:
    tensors = [torch.tensor(array) for array in arrays]
    data = torch.utils.data.TensorDataset(*tensors)
    return torch.utils.data.DataLoader(data, batch_size=SIZE)


SOURCES: dict[str, Callable[[Any], Any]] = {
    "generator": lambda library: endless(X, Y),
    "weights": lambda library: endless(X, Y, W),
    "dataset": lambda library: dataset(library, X, Y),
    "dataset, weights": lambda library: dataset(library, X, Y, W),
    "Keras's dataset": lambda library: dataset(keras, X, Y),
    # Keras's own threads start one batch too early.
    "threads": lambda library: dataset(library, X, Y, workers=1 + (library is kurve)),
    "loader": lambda library: loader(X, Y),
    "loader, weights": lambda library: loader(X, Y, W),
}
FITS: dict[str, dict[str, Any]] = {
    "steps": {"steps_per_epoch": len(CUTS)},
    "validation": {"steps_per_epoch": len(CUTS), "validate": True},
    "late": {"steps_per_epoch": len(CUTS), "initial_epoch": 1},
}


@pytest.mark.parametrize("given", FITS)
@pytest.mark.parametrize("name", SOURCES)
def test_fit_with_batches(name: str, given: str, engine: str) -> None:
    models = pair(FIT, engine)
    histories = []
    for library, model in zip((kurve, keras), models, strict=True):
        more: dict[str, Any] = {"epochs": 3, "verbose": 0, "shuffle": False}
        more |= {k: v for k, v in FITS[given].items() if k != "validate"}
        if "validate" in FITS[given]:
            more["validation_data"] = dataset(library, X[:40], Y[:40], W[:40])
            more["validation_steps"] = 2
        if name.startswith(("dataset", "Keras", "threads", "loader")):
            del more["steps_per_epoch"]
        histories.append(model.fit(SOURCES[name](library), **more))
    assert_equal_histories(*histories)
    for mine, other in zip(*(model.get_weights() for model in models), strict=True):
        assert np.abs(mine - other).max() <= RTOL * np.abs(other).max()


@pytest.mark.parametrize("name", SOURCES)
def test_evaluate_and_predict_with_batches(name: str, engine: str) -> None:
    ours, theirs = pair(FIT, engine)
    steps = len(CUTS) if name in ("generator", "weights") else None
    for count in {steps, 2}:
        mine, other = (
            model.evaluate(SOURCES[name](library), steps=count, verbose=0)
            for library, model in ((kurve, ours), (keras, theirs))
        )
        np.testing.assert_allclose(mine, other, RTOL, 1e-6)
        mine, other = (
            model.predict(SOURCES[name](library), steps=count, verbose=0)
            for library, model in ((kurve, ours), (keras, theirs))
        )
        np.testing.assert_allclose(mine, other, RTOL, 1e-6)


def test_batch_hooks(engine: str) -> None:
    """Their numbers and the names in their logs."""
    calls: list[list[Any]] = []
    for library, model in zip((kurve, keras), pair(FIT, engine), strict=True):
        found: list[Any] = []

        class Note(library.callbacks.Callback):  # type: ignore[misc]
            def on_train_batch_begin(
                self, batch: int, logs: Any = None, found: list[Any] = found
            ) -> None:
                found.append(("begin", batch))

            def on_train_batch_end(
                self, batch: int, logs: Any = None, found: list[Any] = found
            ) -> None:
                found.append(("end", batch, sorted(logs)))

        model.fit(endless(X, Y), steps_per_epoch=6, callbacks=[Note()], verbose=0)
        calls.append(found)
    assert calls[0] == calls[1]


FROM_LOGITS = call("losses.BinaryCrossentropy", from_logits=True)
ADVANTAGES = {
    "categorical_crossentropy": Case(
        network("softmax", 4), "categorical_crossentropy", SGD, target="one-hot"
    ),
    "binary_crossentropy": Case(network(outputs=2), FROM_LOGITS, SGD, target="signs"),
}


@pytest.mark.parametrize("loss", ADVANTAGES)
def test_targets_that_are_no_probabilities(loss: str, engine: str) -> None:
    """A policy gradient: the action, one-hot, times its advantage. One warning says
    what is done."""
    fit = Fit(ADVANTAGES[loss])
    ours, theirs = pair(fit, engine)
    x, y, _ = rows(fit)
    y = y * np.random.default_rng(5).normal(size=(len(x), 1)).astype(np.float32)
    given: dict[str, Any] = {"epochs": 3, "batch_size": 16, "shuffle": False}
    with pytest.warns(UserWarning, match=rf"^\[fit\] {loss} has targets outside"):
        mine = ours.fit(x, y, verbose=0, **given)
    ours.train_on_batch(x, y)  # without another one
    other = theirs.fit(x, y, verbose=0, **given)
    theirs.train_on_batch(x, y)
    assert_equal_histories(mine, other)
    for one, two in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.abs(one - two).max() <= RTOL * np.abs(two).max()


def test_weights_below_0(engine: str) -> None:
    """A policy gradient: rows whose loss should grow have a negative weight."""
    fit = Fit(ADVANTAGES["categorical_crossentropy"])
    ours, theirs = pair(fit, engine)
    x, y, _ = rows(fit)
    weights = np.random.default_rng(5).normal(size=len(x)).astype(np.float32)
    assert (weights < 0).any()
    given: dict[str, Any] = {"epochs": 3, "batch_size": 16, "shuffle": False}
    mine = ours.fit(x, y, verbose=0, sample_weight=weights, **given)
    other = theirs.fit(x, y, verbose=0, sample_weight=weights, **given)
    assert_equal_histories(mine, other)
    ours.train_on_batch(x, y, sample_weight=weights)
    theirs.train_on_batch(x, y, sample_weight=weights)
    for one, two in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.abs(one - two).max() <= RTOL * np.abs(two).max()
