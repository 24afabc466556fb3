"""ONNX models predict what Kurve predicts: onnxruntime compared with Kurve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.exchange import cases
from tests.unit.exchange.cases import assert_close

onnx = pytest.importorskip("onnx", reason="ONNX models need onnx")
runtime = pytest.importorskip("onnxruntime", reason="ONNX models run on onnxruntime")


def run(model: Any, x: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """onnxruntime's outputs for x."""
    path = folder / "model.onnx"
    model.export(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(
        zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True)
    )


@pytest.mark.parametrize("name", cases.ACTIVATIONS)
def test_activations(name: str, engine: str, tmp_path: Path) -> None:
    model = cases.of_activation(name)
    x = cases.rows_of(model.input_shape)
    assert_close(run(model, x, tmp_path)["output"], model.predict(x, verbose=0))


@pytest.mark.parametrize("name", cases.SEQUENTIALS)
def test_layers(name: str, engine: str, tmp_path: Path) -> None:
    model = cases.sequential(name)
    x = cases.rows_of(model.input_shape)
    assert_close(run(model, x, tmp_path)["output"], model.predict(x, verbose=0))


@pytest.mark.parametrize("name", cases.PLANES)
def test_images(name: str, tmp_path: Path) -> None:
    model = cases.of_images(name)
    x = cases.rows_of(model.input_shape, 6)
    found = run(model, x, tmp_path)["output"]
    assert_close(found, model.predict(x, verbose=0), cases.IMAGES_CLOSE)


def test_digits(tmp_path: Path) -> None:
    model = cases.digits()
    x = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.float32)
    found = run(model, x, tmp_path)["output"]
    assert_close(found, model.predict(x, verbose=0), cases.IMAGES_CLOSE)


@pytest.mark.parametrize("name", cases.ESTIMATORS)
def test_estimators(name: str, tmp_path: Path) -> None:
    model = cases.estimator(name)
    x = cases.rows_for(model)
    found = run(model, x.astype(np.float32), tmp_path)
    if hasattr(model, "classes_"):
        assert list(found) == ["probabilities", "label"]
        assert_close(found["probabilities"], model.predict_proba(x))
        assert found["label"].tolist() == model.predict(x).tolist()
        return
    mean, deviation = model.predict(x, return_std=True)
    bound = cases.BOUNDS.get(name, cases.CLOSE)
    assert_close(found["prediction"], mean.reshape(len(x), -1), bound)
    assert_close(found["deviation"], deviation.reshape(len(x), -1), bound)
    assert ("quantiles" in found) == (model.fitted_.head.likelihood == "quantile")


def test_quantiles_are_the_ends_of_intervals(tmp_path: Path) -> None:
    model = cases.estimator("quantiles, members")
    x, _ = cases.table()
    quantiles = run(model, x.astype(np.float32), tmp_path)["quantiles"]
    session = onnx.load(tmp_path / "model.onnx")
    levels = json.loads(
        {p.key: p.value for p in session.metadata_props}["kurve.quantiles"]
    )
    assert quantiles.shape == (len(x), 2, len(levels))
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    for low, high in ((0.1, 0.9), (0.025, 0.975)):
        model.set_params(interval="quantile")
        wanted = model.predict_interval(x, coverage=high - low)
        ends = quantiles[:, :, [levels.index(low), levels.index(high)]]
        for target in range(2):  # their units differ by a factor of a million
            assert_close(ends[:, target], wanted[:, target])


def test_a_committee_has_mean_and_deviation(engine: str, tmp_path: Path) -> None:
    committee = cases.committee()
    x = cases.rows_of((None, 3))
    mean, deviation = committee.predict(x, return_std=True)
    found = run(committee, x, tmp_path)
    assert_close(found["mean"], mean)
    assert_close(found["deviation"], deviation)


def test_any_number_of_rows(tmp_path: Path) -> None:
    model = cases.estimator("gaussian, members")
    x, _ = cases.table()
    for count in (1, 2, 160):
        found = run(model, x[:count].astype(np.float32), tmp_path)
        assert_close(found["prediction"], model.predict(x[:count]))


@pytest.mark.parametrize("name", ["squared error", "gaps", "classes"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_the_estimator_refuses_gives_no_number(
    name: str, bad: float, tmp_path: Path
) -> None:
    model = cases.estimator(name)
    x, _ = cases.table(4)
    x = x.astype(np.float32)
    x[2, 1] = bad
    found = next(iter(run(model, x, tmp_path).values()))
    refused = not (name == "gaps" and np.isnan(bad))
    assert np.isnan(found[2]).all() == refused
    assert np.isfinite(np.delete(found, 2, axis=0)).all()


def test_names_are_in_the_metadata(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="names come from a frame")
    pytest.importorskip("narwhals", reason="frames are read through narwhals")
    import kurve

    x, y = cases.table(40)
    frame = pandas.DataFrame(x, columns=["Länge", "b\n*/", "c"])
    target = pandas.Series(y, name="price")
    kurve.Regressor(**cases.FAST).fit(frame, target).export(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    props = {
        p.key: json.loads(p.value) for p in model.metadata_props if "model" not in p.key
    }
    assert props == {
        "kurve.columns": ["Länge", "b\n*/", "c"],
        "kurve.targets": ["price"],
    }
    assert (model.producer_name, model.producer_version) == ("Kurve", kurve.__version__)
    assert [o.version for o in model.opset_import] == [17]
    assert model.ir_version == 8


def test_the_reference_evaluator_agrees(tmp_path: Path) -> None:
    """The same graph in the reference evaluator of the format's authors."""
    from onnx.reference import ReferenceEvaluator

    model = cases.estimator("gaussian, members")
    x, _ = cases.table(20)
    model.export(tmp_path / "m.onnx")
    given = {"X": x.astype(np.float32)}
    found = ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, given)
    for actual, wanted in zip(found, model.predict(x, return_std=True), strict=True):
        assert_close(actual, wanted)
