"""What the page trains is what its Python program trains, number by number, and what
`load_model` reads from its file."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from tests.wasm.engine import WASM, needs_wasm

pytestmark = needs_wasm

HOSTILE = '</script><img src=x onerror=alert(1)>\n"""; import os #\u2028{{x}}'
LAYERS = [{"units": 12, "activation": "relu"}, {"units": 8, "activation": "tanh"}]
OWN = {"layers": LAYERS, "epochs": 4, "batch": 16, "seed": 11, "rate": 0.01}
TABLE = {
    "names": [HOSTILE, "b", "kind"],
    "rows": [
        [str(i), str((7 * i) % 5 - 2.5), "abc"[i % 3] if i != 4 else ""]
        for i in range(40)
    ],
}
SETTINGS: dict[str, Any] = {
    "article": {"epochs": 2},
    "falling rate": {**OWN, "decay": True, "normalize": True, "steps": 6},
    "noise": {**OWN, "data": {"kind": "sine", "noise": 0.3}},
    "formula": {
        **OWN,
        "data": {
            "kind": "formula",
            "text": "-2^2 + abs(x)*sin(pi x)/3".replace("i x", "i*x"),
        },
        "optimizer": "nadam",
        "l2": 0.01,
    },
    "constant": {**OWN, "data": {"kind": "formula", "text": "1.5"}},
    "points": {
        **OWN,
        "data": {"kind": "points", "points": [[0, 1], [1, -1], [2, 0.25], [3, 1e-9]]},
        "optimizer": "momentum",
    },
    "two classes": {
        **OWN,
        "data": {"kind": "spiral", "noise": 0.1},
        "dropout": 0.25,
        "normalize": True,
        "optimizer": "rmsprop",
    },
    "hills": {**OWN, "data": {"kind": "hills"}, "optimizer": "sgd"},
    "three classes": {
        **OWN,
        "data": {"kind": "table", "table": TABLE, "x": [0, 1], "y": 2},
        "normalize": True,
    },
    "hostile names": {
        **OWN,
        "data": {"kind": "table", "table": TABLE, "x": [1], "y": 0},
    },
    "digits": {
        **OWN,
        "data": {"kind": "digits"},
        "layers": [
            {"kind": "conv", "units": 6, "activation": "relu"},
            {"kind": "conv", "units": 4, "activation": "tanh"},
            *LAYERS,
        ],
        "batch": 64,
        "epochs": 1,
        "l2": 1e-4,
    },
    "only convolutions": {
        **OWN,
        "data": {"kind": "digits"},
        "layers": [{"kind": "conv", "units": 4, "activation": "gelu"}],
        "steps": 10,
        "epochs": 1,
        "dropout": 0.2,
    },
    "digits without convolutions": {**OWN, "data": {"kind": "digits"}, "epochs": 1},
    "clouds": {**OWN, "data": {"kind": "clouds", "noise": 0.2}},
    "plane": {**OWN, "data": {"kind": "plane", "noise": 0.1}},
    "rows held out": {
        **OWN,
        "data": {"kind": "table", "table": TABLE, "x": [0], "y": 1},
        "held": 5,
        "normalize": True,
        "decay": True,
    },
    "classes held out": {**OWN, "data": {"kind": "moons", "noise": 0.2}, "held": 3},
    "no hidden layer": {**OWN, "layers": []},
    **{
        activation: {**OWN, "layers": [{"units": 6, "activation": activation}]}
        for activation in ("sigmoid", "gelu", "silu", "elu", "leaky_relu", "sin")
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("worker") / "settings.json"
    file.write_text(json.dumps(list(SETTINGS.values())))
    script = Path(__file__).with_name("worker.mjs")
    command = ["node", str(script), str(WASM), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(SETTINGS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_program_trains_the_same_model(
    native: None, results: dict[str, Any], name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    found = results[name]
    assert "error" not in found, found
    assert found["file"] == found["again"]  # back in time, and forward
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(found["program"], name, "exec"), scope)
    assert printed.getvalue().startswith("loss: ")
    model, x = scope["model"], scope["x"]
    Path("page.kurve").write_bytes(base64.b64decode(found["file"]))
    loaded = kurve.models.load_model("page.kurve")
    assert loaded._network.state.step == found["steps"] == model._network.state.step
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), expected, rtol=2e-3, atol=2e-3
    )
    for own, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(own, theirs, rtol=5e-3, atol=5e-3)
    assert np.std(found["losses"]) > 0


@pytest.mark.parametrize("name", SETTINGS)
def test_the_estimator_predicts_what_the_page_predicts(
    native: None, results: dict[str, Any], name: str, tmp_path: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    model, x = _model_and_rows(results[name], tmp_path)
    file = tmp_path / "model.kurve"
    file.write_bytes(base64.b64decode(results[name]["estimator"]))
    estimator = kurve.estimators.load(file)
    expected = model.predict(x, verbose=0)
    labels = results[name]["classes"]
    rows = pandas.DataFrame(x, columns=estimator.feature_names_in_)
    if labels is None:
        found = estimator.predict(rows)[:, None]
        low, high = estimator.predict_interval(rows).T
        assert (low < found[:, 0]).all() and (found[:, 0] < high).all()
    else:
        found = estimator.predict_proba(rows)
        found = found[:, 1:] if len(labels) == 2 else found
        assert [str(label) for label in estimator.classes_] == labels
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert estimator.extrapolates(rows + 1e4).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_onnx_predicts_what_the_page_predicts(
    native: None, results: dict[str, Any], name: str, tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model, x = _model_and_rows(results[name], tmp_path)
    file = base64.b64decode(results[name]["onnx"])
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [port.name for port in session.get_inputs()] == ["x"]
    [found] = session.run(["y"], {"x": x})
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")
@pytest.mark.parametrize("name", SETTINGS)
def test_c_predicts_what_the_page_predicts(
    native: None, results: dict[str, Any], name: str, tmp_path: Path
) -> None:
    model, x = _model_and_rows(results[name], tmp_path)
    source, library = tmp_path / "model.c", tmp_path / "model.so"
    source.write_text(results[name]["c"])
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"]
    subprocess.run(
        ["gcc", *strict, "-shared", "-fPIC", source, "-o", library, "-lm"], check=True
    )
    predict = ctypes.CDLL(str(library)).model_predict
    expected = model.predict(x, verbose=0)
    floats = np.ctypeslib.ndpointer(np.float32, flags="C")
    predict.argtypes = [floats, floats]
    found = np.empty_like(expected)
    for row, out in zip(x, found, strict=True):
        predict(row, out)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def _model_and_rows(found: dict[str, Any], folder: Path) -> tuple[Any, np.ndarray]:
    """The model of the page's file, and rows like those it has seen."""
    file = folder / "page.kurve"
    file.write_bytes(base64.b64decode(found["file"]))
    model = kurve.models.load_model(file)
    model.summary()  # trained, and without an optimizer
    inputs = model.input_shape[-1]
    return model, np.random.default_rng(0).uniform(0, 2, (50, inputs)).astype("f4")


def test_wrong_settings_are_errors_in_words(tmp_path: Path) -> None:
    wrong = [
        {"data": {"kind": "formula", "text": text}}
        for text in ("", "sin(", "2 x", "alert(1)", "x.constructor", "1/(x-x)", "y")
    ]
    wrong += [{"data": {"kind": "points", "points": [[1, 2]]}}]
    wrong += [{"data": {"kind": "formula", "text": "x", "from": 3, "to": 3}}]
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(wrong))
    script = Path(__file__).with_name("worker.mjs")
    command = ["node", str(script), str(WASM), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for found in json.loads(done.stdout):
        assert found["error"].endswith(".")
        assert "undefined" not in found["error"] and "TypeError" not in found["error"]
