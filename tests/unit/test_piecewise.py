"""The layer `PiecewiseLinear`: its formula, its edges, what it refuses."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import kurve
from kurve import layers
from kurve.layers import PiecewiseLinear

RNG = np.random.default_rng(4)


def by_hand(x: np.ndarray, data: np.ndarray, bins: int) -> np.ndarray:
    """The features of one column, from the definition."""
    edges = np.unique(np.quantile(data, np.linspace(0, 1, bins + 1)))
    columns = []
    for j in range(bins):
        if j >= len(edges) - 1:
            columns.append(np.zeros(len(x)))
            continue

        def feature(v: np.ndarray, j: int = j) -> np.ndarray:
            t = (v - edges[j]) / (edges[j + 1] - edges[j])
            low = -np.inf if j == 0 else 0.0
            return np.clip(t, low, np.inf if j == len(edges) - 2 else 1.0)

        columns.append((feature(x) - feature(data).mean()) / 0.5)
    return np.stack(columns, axis=1)


def test_formula(engine: str) -> None:
    kurve.set_engine(engine)
    data = RNG.normal(size=(200, 3))
    data[:, 1] = data[:, 1] > 0.3  # one bin
    data[:, 2] = 5.0  # none
    data = data.astype(np.float32).astype(np.float64)
    layer = PiecewiseLinear(bins=4)
    layer.adapt(data)
    x = np.concatenate([data[:20], 3.0 * data[:20] + 1.0]).astype(np.float32)
    model = kurve.Sequential([layer])
    model.build((None, 3))
    model.compile(loss="mse")
    expected = np.concatenate(
        [x, *(by_hand(x[:, c].astype(float), data[:, c], 4) for c in range(3))], axis=1
    )
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=2e-5)


def test_the_other_columns_pass() -> None:
    layer = PiecewiseLinear(bins=3, columns=1)
    x = RNG.normal(size=(50, 4)).astype(np.float32)
    layer.adapt(x)
    y = layer(x)
    assert y.shape == (50, 7)
    np.testing.assert_array_equal(y[:, :4], x)


def test_edges_close_to_each_other_are_exact() -> None:
    """The edge is subtracted first, which loses nothing."""
    data = 1.0 + np.arange(17)[:, None] * 1e-6
    data = data.astype(np.float32)
    layer = PiecewiseLinear(bins=16)
    layer.adapt(data)
    y = layer(data)[:, 1:]
    assert np.abs(y).max() <= 2.0 and (np.diff(y, axis=0) >= 0).all()


def test_a_value_of_many_rows_takes_one_share() -> None:
    """Nine of ten rows are 0; the other values have nearly all bins."""
    data = np.concatenate([np.zeros(900), RNG.exponential(size=100)])
    layer = PiecewiseLinear(bins=8)
    layer.adapt(data[:, None])
    edges = layer.get_weights()[0][0]
    assert edges[0] == 0.0 and (np.diff(edges) > 0.0).all()
    levels = [(data[900:] < edge).mean() for edge in edges[1:]]
    np.testing.assert_allclose(levels, (np.arange(1, 8) - 0.5) / 7.5, atol=0.02)


def test_few_values_have_a_bin_between_any_two() -> None:
    data = np.repeat([1.0, 2.0, 5.0, 7.0], [500, 3, 40, 1])[:, None]
    layer = PiecewiseLinear(bins=8)
    layer.adapt(data)
    np.testing.assert_array_equal(layer.get_weights()[0][0][:3], [1.0, 2.0, 5.0])
    assert np.linalg.matrix_rank(layer(data)[:, 1:] @ np.eye(8)) == 3


def test_edges_are_quantiles_of_different_values() -> None:
    data = RNG.normal(size=(301, 1)).astype(np.float32)
    layer = PiecewiseLinear(bins=16)
    layer.adapt(data)
    expected = np.quantile(data.astype(np.float64), np.linspace(0.0, 1.0, 17))
    np.testing.assert_allclose(layer.get_weights()[0][0], expected[:-1], rtol=1e-6)


def test_weights_are_not_trained(tmp_path: Path) -> None:
    layer = PiecewiseLinear(bins=4)
    x = RNG.normal(size=(64, 2)).astype(np.float32)
    layer.adapt(x)
    before = [weight.copy() for weight in layer.get_weights()]
    model = kurve.Sequential([layer, layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, np.abs(x[:, :1]), epochs=3, verbose=0)
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.save(tmp_path / "m.kurve")
    again = kurve.models.load_model(tmp_path / "m.kurve")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_a_kink_is_learnt_by_a_linear_model() -> None:
    x = np.linspace(-1.0, 1.0, 400)[:, None].astype(np.float32)
    layer = PiecewiseLinear(bins=16)
    layer.adapt(x)
    model = kurve.Sequential([layer, layers.Dense(1)])
    model.compile(kurve.optimizers.Adam(0.05), "mse")
    model.fit(x, np.abs(x), epochs=60, verbose=0)
    assert float(model.evaluate(x, np.abs(x), verbose=0)) < 1e-4


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="bins"):
        PiecewiseLinear(bins=0)
    with pytest.raises(ValueError, match="columns"):
        PiecewiseLinear(columns=0)
    with pytest.raises(ValueError, match="the last axis of its input to be 3 or more"):
        PiecewiseLinear(columns=3).adapt(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="finite"):
        PiecewiseLinear().adapt([[np.nan]])


def test_a_thread_adapts_while_another_traces() -> None:
    traces, adapted = threading.Event(), threading.Event()

    class Slow(layers.Layer):
        def call(self, x):  # type: ignore[no-untyped-def]
            traces.set()
            adapted.wait(20.0)
            return 2.0 * x

    def trace() -> None:
        model = kurve.Sequential([Slow()])
        model.build((None, 2))
        model.predict(np.zeros((4, 2)), verbose=0)

    other = threading.Thread(target=trace)
    other.start()
    assert traces.wait(20.0)
    layer = PiecewiseLinear(bins=2)
    layer.adapt([[0.0], [1.0], [3.0]])
    layer.set_weights(layer.get_weights())
    layer.edge.assign_add(np.zeros((1, 2)))
    adapted.set()
    other.join()
    np.testing.assert_array_equal(layer.get_weights()[0], [[0.0, 1.0]])
