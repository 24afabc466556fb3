"""Far values of a column, such as errors of typing: neither the row's own prediction
nor those of the other rows are lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Regressor
from kurve.estimators.scaling import Scaler

RNG = np.random.default_rng(11)
X = RNG.normal(size=(600, 6)) * [1.0, 10.0, 0.1, 1.0, 5.0, 1.0] + 3.0
Y = np.tanh(X[:, 0] - 3.0) + 0.05 * X[:, 1] + RNG.normal(size=600) * 0.05
TEST = RNG.normal(size=(200, 6)) * [1.0, 10.0, 0.1, 1.0, 5.0, 1.0] + 3.0
TRUTH = np.tanh(TEST[:, 0] - 3.0) + 0.05 * TEST[:, 1]
SHORT: dict[str, Any] = {"max_epochs": 12, "random_state": 0}


@pytest.fixture(scope="module")
def model() -> Any:
    return Regressor(**SHORT).fit(X, Y)


def test_the_formula() -> None:
    data = np.concatenate([[0.0], np.linspace(1.0, 2.0, 98), [1000.0]])[:, None]
    plain = Scaler.learn(data)
    scaler = plain.with_tails(data, 1)
    assert scaler.tails is not None
    below = np.quantile(data, 0.05, method="higher")
    above = np.quantile(data, 0.95, method="lower")
    end = above + (above - below)
    near = np.clip(data, below - (above - below), end)
    assert scaler.mean[0] == pytest.approx(near.mean())
    assert scaler.deviation[0] == pytest.approx(near.std())
    top = (end - near.mean()) / near.std() + 1.0
    assert scaler.tails[1, 0] == pytest.approx(top)
    straight = (np.array([[1.5], [1000.0], [-9.0]]) - near.mean()) / near.std()
    z = scaler.standardized(np.array([[1.5], [1000.0], [-9.0]]))
    assert z[0] == pytest.approx(straight[0])
    assert z[1, 0] == pytest.approx(top + np.log1p(straight[1, 0] - top))
    low = scaler.tails[0, 0]
    assert z[2, 0] == pytest.approx(low - np.log1p(low - straight[2, 0]))
    np.testing.assert_allclose(scaler.straight(z), straight, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scaler.backward(z)[:, 0], [1.5, 1000.0, -9.0])
    h = 1e-4
    for x in (1.5, 900.0, -7.0):
        one = np.array([[x]])
        slope = scaler.standardized(one + h) - scaler.standardized(one - h)
        assert scaler.slopes(one)[0, 0] == pytest.approx(slope[0, 0] / (2 * h), 1e-4)


def test_columns_without_far_values_keep_their_scale() -> None:
    plain = Scaler.learn(X)
    scaler = plain.with_tails(X, 6)
    np.testing.assert_array_equal(scaler.mean, plain.mean)
    np.testing.assert_array_equal(scaler.deviation, plain.deviation)
    np.testing.assert_array_equal(scaler.forward(X), plain.forward(X))


@pytest.mark.parametrize("far", [1e4, -1e9, 1e300])
def test_a_far_value_to_train_with(model: Any, far: float) -> None:
    """It costs the other rows nothing."""
    x = X.copy()
    x[7, 0] = far
    other = Regressor(**SHORT).fit(x, Y)
    before = np.sqrt(np.mean((model.predict(TEST) - TRUTH) ** 2))
    after = np.sqrt(np.mean((other.predict(TEST) - TRUTH) ** 2))
    assert after < 2.0 * before  # 20 times without tails
    assert abs(other.predict(x[7:8])[0] - Y[7]) < 3.0


@pytest.mark.parametrize("far", [60.0, 1e3, -1e5, 1e30, -1e300])
def test_a_far_value_to_predict(model: Any, far: float) -> None:
    x = TEST[:5].copy()
    x[2, 4] = far  # a column of no effect
    means = model.predict(x)
    assert np.isfinite(means).all()
    reach = Y.max() - Y.min()
    steps = np.log1p(np.abs(far))
    assert abs(means[2] - model.predict(TEST[2:3])[0]) < 0.2 * reach * steps
    np.testing.assert_array_equal(
        np.delete(means, 2), np.delete(model.predict(TEST[:5]), 2)
    )
    assert model.extrapolates(x)[2]


@pytest.mark.parametrize("column", [0, 1, 4])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_intervals_grow_outside(model: Any, column: int, sign: float) -> None:
    distances = np.array([0.0, 1.0, 3.0, 10.0, 100.0, 1e4, 1e8])
    x = np.repeat(TEST[:1], len(distances), axis=0)
    edge = X[:, column].max() if sign > 0 else X[:, column].min()
    x[:, column] = edge + sign * distances * X[:, column].std()
    low, high = model.predict_interval(x).T
    assert (np.diff(high - low) > 0.0).all()


def test_gradient_in_the_tail(model: Any) -> None:
    x = TEST[:1].copy()
    x[0, 1] = 150.0
    slope = model.gradient(x, 1).ravel()[0]
    ends = np.repeat(x, 2, axis=0)
    ends[:, 1] += [-2.0, 2.0]
    low, high = model.predict(ends)
    assert slope == pytest.approx((high - low) / 4.0, rel=0.02)


def test_files_and_exports(model: Any, tmp_path: Path) -> None:
    x = np.concatenate([TEST[:20], TEST[:20] * 1e3, TEST[:20] * -1e7])
    model.save(tmp_path / "m.kurve")
    again = kurve.estimators.load(tmp_path / "m.kurve")
    np.testing.assert_allclose(again.predict(x), model.predict(x), rtol=1e-4)
    np.testing.assert_allclose(
        again.predict_interval(x), model.predict_interval(x), rtol=1e-4
    )
    model.export(tmp_path / "m.c")
    source = (tmp_path / "m.c").read_text()
    assert "log1p" in source
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model.export(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    given = {session.get_inputs()[0].name: x.astype(np.float32)}
    found = session.run(["prediction"], given)[0].ravel()
    np.testing.assert_allclose(found, model.predict(x.astype(np.float32)), rtol=1e-4)


def test_a_file_without_tails(model: Any, tmp_path: Path) -> None:
    """As versions before wrote them."""
    from dataclasses import replace

    plain = replace(model.fitted_.inputs, tails=None)
    old = Regressor(**SHORT)
    old._commit(replace(model.fitted_, inputs=plain))
    old.save(tmp_path / "old.kurve")
    again = kurve.estimators.load(tmp_path / "old.kurve")
    assert again.fitted_.inputs.tails is None
    np.testing.assert_allclose(again.predict(TEST), old.predict(TEST), rtol=1e-4)
