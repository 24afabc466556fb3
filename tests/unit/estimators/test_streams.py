"""fit with batches: data that need never be in memory all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Classifier, Regressor
from kurve.estimators import defaults, spool, statistics
from kurve.estimators.frames import read_table

FAST: dict[str, Any] = {
    "hidden_layer_sizes": (16,),
    "max_epochs": 12,
    "random_state": 0,
    "batch_size": 16,
}
RNG = np.random.default_rng(6)
X = RNG.normal(50.0, 7.0, size=(1200, 2))
Y = np.tanh((X[:, 0] - 50) / 7) * 1000 + X[:, 1]


class Walked:
    """Batches of 100 rows that can be walked over again; counts the walks."""

    def __init__(self, *arrays: Any) -> None:
        self.arrays, self.walks = arrays, 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        self.walks += 1
        for first in range(0, len(self.arrays[0]), 100):
            yield tuple(array[first : first + 100] for array in self.arrays)


def test_one_walk_for_the_statistics_and_one_to_encode() -> None:
    batches = Walked(X, Y)
    model = Regressor(likelihood="none", **FAST, early_stopping=False).fit(batches)
    assert batches.walks == 2 and model.n_iter_ == 12
    assert model.score(X, Y) > 0.95
    whole = Regressor(likelihood="none", **FAST, early_stopping=False).fit(X, Y)
    np.testing.assert_allclose(
        model.fitted_.inputs.mean, whole.fitted_.inputs.mean, rtol=1e-12
    )
    np.testing.assert_allclose(
        model.fitted_.head.outputs.deviation,
        whole.fitted_.head.outputs.deviation,
        rtol=1e-12,
    )
    assert model.models_[0].iterations == 12 * 75  # epochs, steps


def test_sorted_batches_are_mixed() -> None:
    """Batches in the order of x are learned as well as shuffled ones."""
    x = np.linspace(0, 10, 10_000)[:, None]
    y = np.sin(x[:, 0])
    parts = [slice(i, i + 500) for i in range(0, 10_000, 500)]
    options: Any = {"max_epochs": 30, "random_state": 0, "effort": "fast"}
    model = Regressor(**options).fit([(x[p], y[p]) for p in parts])
    assert model.score(x, y) > 0.99


@pytest.mark.parametrize("weighted", [False, True])
def test_the_spool_keeps_every_row(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row once, bit by bit, in another order in each epoch; on disk, too."""
    monkeypatch.setattr(spool, "BLOCK", 16)
    monkeypatch.setattr(spool, "GROUP", 4)
    monkeypatch.setattr(spool, "IN_MEMORY", 1000)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1003, 3)).astype(np.float32)
    y = np.arange(1003, dtype=np.int32)
    weights = rng.uniform(size=1003).astype(np.float32) if weighted else None
    with spool.Spool() as kept:
        for first in range(0, 1003, 100):
            p = slice(first, first + 100)
            kept.add((x[p], y[p], None if weights is None else weights[p]))
        random = np.random.default_rng(1)
        orders = []
        for _ in range(2):
            parts = list(kept.batches(random))
            assert max(len(part[0]) for part in parts) <= 6 * 16
            order = np.concatenate([part[1] for part in parts])
            assert order.dtype == np.int32 and sorted(order) == y.tolist()
            found = np.concatenate([part[0] for part in parts])
            np.testing.assert_array_equal(found, x[order])
            if weights is None:
                assert all(part[2] is None for part in parts)
            else:
                each = np.concatenate([part[2] for part in parts])
                np.testing.assert_array_equal(each, weights[order])
            orders.append(order)
            assert np.abs(order[:64] - np.arange(64)).mean() > 100
        assert (orders[0] != orders[1]).any()


@pytest.mark.parametrize("interval", ["auto", "conformal"])
def test_held_out_rows_stop_training_and_calibrate(interval: str) -> None:
    model = Regressor(likelihood="none", **FAST, interval=interval, members=2).fit(
        Walked(X, Y)
    )
    assert len(model.history_["val_loss"]) == model.n_iter_
    assert model.fitted_.head.conformal is not None
    share = len(model.fitted_.head.conformal.scores) / len(X)
    assert abs(share - (0.2 if interval == "conformal" else 0.1)) < 0.04
    low, high = model.predict_interval(X).T
    assert 0.82 < np.mean((low <= Y) & (high >= Y)) < 0.98
    assert model.extrapolates(X).mean() < 0.04
    assert model.extrapolates([[150.0, 50.0]]).all()


def test_an_iterator_is_read_into_memory() -> None:
    again = Regressor(likelihood="none", **FAST).fit(iter(Walked(X, Y)))
    np.testing.assert_array_equal(
        again.predict(X),
        Regressor(likelihood="none", **FAST).fit(list(Walked(X, Y))).predict(X),
    )


def test_weights_and_validation_data() -> None:
    weights = np.where(X[:, 0] > 50, 2.0, 1.0)
    model = Regressor(likelihood="none", **FAST).fit(
        Walked(X, Y, weights), validation_data=(X[:50], Y[:50])
    )
    assert model.score(X, Y) > 0.9 and "val_loss" in model.history_


def test_levels_and_gaps_from_all_batches() -> None:
    table = np.empty((1200, 2), object)
    table[:, 0], table[:, 1] = X[:, 0], "a"
    table[150:, 1] = np.array(["b", "c"])[(X[150:, 0] > 50).astype(int)]
    table[1000, 0] = None
    labels = np.where(np.arange(1200) < 150, "x", table[:, 1])
    model = Classifier(**FAST, missing="impute", class_weight="balanced")
    model.fit(Walked(table, labels))
    assert model.classes_.tolist() == ["b", "c", "x"]
    assert model.fitted_.columns.levels == {
        1: ["a", "b", "c"]
    } and model.fitted_.columns.with_missing == [0]
    assert model.score(table, labels) > 0.95
    with pytest.raises(ValueError, match="must not have missing values"):
        Classifier(**FAST, missing="error").fit(Walked(table, labels))


@pytest.mark.parametrize(
    ("given", "batches", "text"),
    [
        ({}, Walked(X[:0], Y[:0]), "at least one batch"),
        ({}, [(X, Y), (X[:, :1], Y)], "the columns of the first one"),
        ({}, [(X, Y[:5])], "same number of rows"),
        ({"solver": "lbfgs"}, [(X, Y)], "need all rows at once"),
        ({"interval": "cv+"}, [(X, Y)], "need all rows at once"),
    ],
)
def test_what_is_refused(given: dict[str, Any], batches: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Regressor(**{**FAST, **given}).fit(batches)
    with pytest.raises(TypeError, match="batch 0 must be"):
        Regressor(likelihood="none", **FAST).fit(x for x in [X, Y])


@pytest.mark.parametrize("different", [1, 2, 8, 200])
@pytest.mark.parametrize("interval", ["auto", "conformal"])
def test_rows_that_repeat(different: int, interval: str) -> None:
    """Few different rows, each many times: as of the whole table."""
    x = np.random.default_rng(different).integers(0, different, (3000, 1)) * 1.0
    y = np.tanh(3 * x[:, 0] / different)
    options: Any = {"max_epochs": 20, "random_state": 0, "interval": interval}
    whole = Regressor(solver="adam", **options).fit(x, y)
    model = Regressor(**options).fit([(x[i::3], y[i::3]) for i in range(3)])
    assert whole.extrapolates(x).mean() == model.extrapolates(x).mean() == 0.0
    assert model.extrapolates([[different + 5.0]]).all()
    held = different >= 100  # fewer rows than a validation set must have
    assert ("val_loss" in model.history_) == held == ("val_loss" in whole.history_)
    sizes = [
        None
        if m.fitted_.head.conformal is None
        else len(m.fitted_.head.conformal.scores)
        for m in (whole, model)
    ]
    assert sizes[0] == sizes[1]
    if different != 8:  # of which a fifth is much
        np.testing.assert_allclose(model.predict(x), y, atol=0.3)


def test_every_class_is_trained_with() -> None:
    """A class of one different row is not held out as a whole."""
    x = np.repeat(np.arange(30.0), 20)[:, None]
    y = np.where(x[:, 0] == 7.0, "rare", "often")
    model = Classifier(max_epochs=60, random_state=0).fit([(x, y), (x, y)])
    assert model.predict([[7.0], [20.0]]).tolist() == ["rare", "often"]


def test_weights_count_as_repetitions_do() -> None:
    x, y = np.arange(50.0)[:, None], np.arange(50.0) % 7
    weights = np.where(x[:, 0] > 20, 2.0, 0.0)
    once = Regressor(**FAST).fit([(x, y, weights)])
    twice = Regressor(**FAST).fit([(x[21:], y[21:]), (x[21:], y[21:])])
    np.testing.assert_allclose(
        once.fitted_.head.outputs.mean, twice.fitted_.head.outputs.mean
    )
    np.testing.assert_allclose(
        once.fitted_.inputs.deviation, twice.fitted_.inputs.deviation
    )
    with pytest.raises(ValueError, match="some sample_weight must be above 0"):
        Regressor(**FAST).fit([(x, y, weights * 0)])


@pytest.mark.parametrize("scale", [1e160, 1e307, 1e-200, 1e-310])
def test_columns_and_targets_of_any_size(scale: float) -> None:
    z = np.random.default_rng(0).normal(size=(600, 2))
    y = np.sin(z[:, 0]) + z[:, 1]
    parts = [slice(i, i + 100) for i in range(0, 600, 100)]
    options: Any = {"hidden_layer_sizes": (16,), "max_epochs": 60, "random_state": 0}
    inputs = Regressor(**options).fit([(z[p] * scale, y[p]) for p in parts])
    assert inputs.score(z * scale, y) > 0.98
    targets = Regressor(**options).fit([(z[p], y[p] * scale) for p in parts])
    assert np.corrcoef(targets.predict(z) / scale, y)[0, 1] > 0.99
    whole = Regressor(**options).fit(z, y * scale)
    np.testing.assert_allclose(
        targets.fitted_.head.outputs.deviation,
        whole.fitted_.head.outputs.deviation,
        rtol=0.1,
    )


def test_labels_of_one_kind_in_all_batches() -> None:
    x = np.arange(20.0)[:, None]
    with pytest.raises(TypeError, match=r"all booleans. Received: \['bool', 'int'\]"):
        Classifier(**FAST).fit([(x, x[:, 0] > 9), (x, np.arange(20) % 2)])
    first, second = [2**63, 5] * 10, np.arange(20) % 2
    model = Classifier(**FAST).fit([(x, first), (x, second)])
    assert model.classes_.tolist() == [0, 1, 5, 2**63]


@pytest.mark.parametrize("batches", [False, True])
def test_levels_that_utf8_cannot_write(batches: bool) -> None:
    pandas = pytest.importorskip("pandas")
    levels = pandas.Index(["a", "b", "\ud800"], dtype=object)
    codes = np.arange(60) % 3
    x = pandas.DataFrame({"size": np.arange(60.0)})
    x["city"] = pandas.Categorical.from_codes(codes, categories=levels)
    y = np.arange(60.0)
    data = ([(x, y), (x, y)],) if batches else (x, y)
    with pytest.raises(ValueError) as caught:
        Regressor(max_epochs=1).fit(*data)
    assert str(caught.value) == (
        "[fit] the levels of column 'city' must not contain lone surrogates, which "
        "UTF-8 cannot encode. Received: '\\ud800'. Try replacing it with text that "
        "has none."
    )
    known = x[codes < 2]
    known = known.assign(city=known["city"].astype(object))
    model = Regressor(max_epochs=1).fit(known, y[codes < 2])
    with pytest.raises(ValueError, match=r"not contain lone surrogates\. Received"):
        kurve.inspection.partial_dependence(model, x, "city")


def test_very_many_texts_are_not_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number would grow with the rows; the column is that of the sample."""
    monkeypatch.setattr(statistics, "MOST_TEXTS", 50)
    shop = np.array(["north", "south", "east"])[np.arange(1200) % 3]
    code = np.array([f"row {i}" for i in range(1200)])
    x = np.stack([shop, code], axis=1).astype(object)
    known = statistics.ColumnStatistics(False)
    for first in range(0, 1200, 100):
        part = slice(first, first + 100)
        known.add((read_table("fit", x[part]), Y[part], None))
    assert set(known.counts) == {0} and sum(known.counts[0].values()) == 1200
    with pytest.warns(UserWarning, match="different texts"):
        model = Regressor(**FAST).fit(Walked(x, Y + 900.0 * (shop == "east")))
    assert list(model.fitted_.columns.levels) == [0]
    assert model.score(x, Y + 900.0 * (shop == "east")) > 0.1


def test_batches_grow_with_very_many_rows() -> None:
    """So that an epoch has as many steps, and there are fewer epochs."""
    chosen = [defaults.choose(rows, 20, 1) for rows in (100_000, 200_000, 10**6, 10**7)]
    assert [each.batch_size for each in chosen] == [32, 64, 512, 512]
    assert [each.epochs for each in chosen] == [40, 40, 40, 8]
