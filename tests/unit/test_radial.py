"""The layer `RadialBasis`, and the kernel machines of a bag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Regressor
from kurve.estimators import kernels
from kurve.layers import Dense, RadialBasis

RNG = np.random.default_rng(6)


def test_formula(engine: str) -> None:
    kurve.set_engine(engine)
    layer = RadialBasis(7)
    model = kurve.Sequential([layer, Dense(2)])
    model.build((None, 3))
    model.compile(loss="mse")
    metric, centers = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 7))
    weights, bias = RNG.normal(size=(7, 2)), RNG.normal(size=2)
    layer.set_weights([metric, centers])
    model.layers[1].set_weights([weights, bias])
    x = RNG.normal(size=(20, 3)).astype(np.float32)
    x[0] = np.linalg.solve(metric.T, centers[:, 0])  # at a centre
    distances = np.linalg.norm((x @ metric)[:, :, None] - centers, axis=1)
    expected = np.exp(-distances) @ weights + bias
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=2e-3)
    np.testing.assert_allclose(model.predict(x[1:], verbose=0), expected[1:], atol=2e-5)
    before = layer.get_weights()
    model.fit(x, expected + 1.0, epochs=3, verbose=0)
    for old, new in zip(before, layer.get_weights(), strict=True):
        assert np.isfinite(new).all() and (old != new).any()


@pytest.mark.parametrize("shape", [(None,), (None, 4, None)])
def test_shapes_that_are_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"\[RadialBasis\]"):
        RadialBasis(2).build(shape)


def smooth(rows: int) -> tuple[np.ndarray, np.ndarray]:
    x = RNG.normal(size=(rows, 6))
    turned = (x[:, 0] + x[:, 1]) / 2**0.5
    return x, np.sin(2.0 * turned) + 0.3 * x[:, 2] * x[:, 3]


@pytest.fixture(scope="module")
def model() -> Any:
    x, y = smooth(403)  # folds of two sizes
    return Regressor(effort="best", max_epochs=3, random_state=0).fit(x, y)


def machines(model: Any) -> list[Any]:
    return [m for m in model.models_ if type(m.layers[0]) is RadialBasis]


def test_a_thorough_bag_has_kernel_machines(model: Any) -> None:
    assert len(machines(model)) == 8
    shares = model.fitted_.head.weights
    kinds = [type(m.layers[0]) is RadialBasis for m in model.models_]
    assert shares[kinds].sum() > 0.5  # the networks were hardly trained
    x, y = smooth(400)
    assert np.sqrt(np.mean((model.predict(x) - y) ** 2)) < 0.4 * y.std()
    low, high = model.predict_interval(x, coverage=0.9).T
    assert 0.8 < ((low <= y) & (y <= high)).mean() < 0.98


def test_the_metric_is_learned(model: Any) -> None:
    """Columns 4 and 5 have no effect."""
    metric = machines(model)[0].layers[0].metric.value
    square = metric @ metric.T
    size = np.diag(square)
    assert size[4:].max() < 0.5 * size[:2].min()
    assert square[0, 1] > 0.2 * size[0]


def test_the_default_and_classes_have_none() -> None:
    x, y = smooth(100)
    short: dict[str, Any] = {"max_epochs": 2, "random_state": 0}
    assert not machines(Regressor(**short).fit(x, y))
    assert not machines(kurve.Classifier(effort="best", **short).fit(x, y > 0))


def test_weights_repeats_and_targets() -> None:
    x, y = smooth(120)
    weights = RNG.uniform(0.0, 2.0, 120)
    model = Regressor(effort="best", max_epochs=2, random_state=0)
    model.fit(x, y, sample_weight=weights)
    assert machines(model) and np.isfinite(model.predict(1e9 * x)).all()
    many = Regressor(effort="best", max_epochs=2, random_state=0)
    many.fit(np.repeat(x, 2, axis=0), np.stack([np.repeat(y, 2)] * 2, axis=1))
    assert many.predict(x).shape == (120, 2)


def test_more_rows_than_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CENTERS", 150)
    x, y = smooth(600)
    model = Regressor(effort="best", max_epochs=2, random_state=0).fit(x, y)
    assert machines(model)[0].layers[0].units == 150
    x, y = smooth(300)
    assert np.sqrt(np.mean((model.predict(x) - y) ** 2)) < 0.5 * y.std()


def test_files_and_exports(model: Any, tmp_path: Path) -> None:
    x, _ = smooth(50)
    model.save(tmp_path / "m.kurve")
    again = kurve.estimators.load(tmp_path / "m.kurve")
    np.testing.assert_allclose(again.predict(x), model.predict(x), rtol=1e-4, atol=1e-4)
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model.export(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    given = {session.get_inputs()[0].name: x.astype(np.float32)}
    found = session.run(["prediction"], given)[0].ravel()
    np.testing.assert_allclose(found, model.predict(x), atol=1e-3)
    model.export(tmp_path / "m.c")
    assert "exp(" in (tmp_path / "m.c").read_text()
