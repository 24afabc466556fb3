"""Files of every version of the format can be read for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import models, saving
from kurve.core.container import reading
from kurve.estimators import load
from tests.golden.make import FOLDER, TABLE, X, graph, later, network

VERSIONS = ["2"]


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def expected(version: str) -> Any:
    """What the models said when the files were written. BLAS and the processor may
    round differently; the bits of the weights are compared in
    `test_the_weights_are_those_of_the_file`."""
    with np.load(FOLDER / f"expected-{version}.npz") as found:
        return dict(found)


def test_every_version_is_here() -> None:
    names = {path.name.rpartition("-")[2][0] for path in FOLDER.glob("*.kurve")}
    assert sorted(names) == VERSIONS
    assert int(VERSIONS[-1]) == reading.VERSION


def test_models(version: str, expected: Any) -> None:
    model = models.load_model(FOLDER / f"model-{version}.kurve")
    np.testing.assert_allclose(
        model.predict(X, verbose=0), expected["model"], rtol=1e-5, atol=1e-6
    )
    assert model._network.state is not None
    assert model._network.state.seed == int(expected["seed"])
    assert model.iterations == 10
    assert model.metrics_names == ["loss", "mae", "binary_accuracy", "rmse"]
    assert model.history is not None
    assert model.history.epoch == [0, 1]
    assert list(model.history.history) == model.metrics_names
    np.testing.assert_allclose(later(model), expected["later"], rtol=1e-5)


def test_graphs(version: str, tmp_path: Path) -> None:
    with np.load(FOLDER / f"expected-graph-{version}.npz") as found:
        expected = dict(found)
    path = FOLDER / f"graph-{version}.kurve"
    model, other = models.load_model(path), graph()
    other.load_weights(FOLDER / f"graph-{version}.weights.kurve")
    for one in (model, other):
        np.testing.assert_allclose(
            one.predict(X, verbose=0), expected["model"], rtol=1e-5, atol=1e-6
        )
    assert model.get_config() == other.get_config()
    model.save(tmp_path / "again.kurve")
    again = models.load_model(tmp_path / "again.kurve")
    assert again.get_config() == model.get_config()
    np.testing.assert_allclose(later(model), expected["later"], rtol=1e-5)


def test_weights(version: str, expected: Any) -> None:
    """Into a model of the same layers, whatever their names."""
    model = network()
    model.load_weights(FOLDER / f"model-{version}.weights.kurve")
    np.testing.assert_allclose(
        model.predict(X, verbose=0), expected["model"], rtol=1e-5, atol=1e-6
    )


def test_estimators(version: str, expected: Any) -> None:
    regressor = load(FOLDER / f"regressor-{version}.kurve")
    assert isinstance(regressor, kurve.Regressor)
    for name, found in (
        ("regressor", regressor.predict(TABLE)),
        ("interval", regressor.predict_interval(TABLE)),
        (
            "classifier",
            load(FOLDER / f"classifier-{version}.kurve").predict_proba(X),  # type: ignore[union-attr]
        ),
    ):
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-6)


def test_the_weights_are_those_of_the_file(version: str, tmp_path: Path) -> None:
    """Bit by bit, and a file of today has the same ones."""
    path = FOLDER / f"model-{version}.kurve"
    model = models.load_model(path)
    _, tensors = saving.read(path)
    for variable in model.weights:
        stored = tensors[f"weights/{variable.name}"]
        assert stored.tobytes() == variable.value.tobytes()
    model.save(tmp_path / "again.kurve")
    _, again = saving.read(tmp_path / "again.kurve")
    for name, tensor in tensors.items():
        assert tensor.tobytes() == again[name].tobytes(), name


def test_a_file_of_today_has_the_present_versions_form(tmp_path: Path) -> None:
    """A change of it wants a new version and new golden files."""
    path = FOLDER / "model-2.kurve"
    models.load_model(path).save(tmp_path / "m.kurve")
    old, new = saving.read_header(path), saving.read_header(tmp_path / "m.kurve")
    assert list(old[0]) == list(new[0])
    assert old[1] == new[1], "names, shapes and checksums"
