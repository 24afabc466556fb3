"""Errors of `export` in every format; files are written whole or not at all."""

from __future__ import annotations

import builtins
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, models
from kurve.estimators import NotFittedError
from kurve.exchange import export as export_module
from kurve.exchange.exported import describe
from kurve.exchange.unrolled import every
from tests.unit.exchange import cases


def raises(error: type[BaseException], text: str) -> Any:
    return pytest.raises(error, match=re.escape(text))


@pytest.mark.parametrize("path", ["m", "m.h5", "m.onnx.gz", "folder.c/m"])
def test_other_endings(path: str) -> None:
    model = cases.sequential("one layer")
    with raises(
        ValueError,
        "[export] the file's name must end in '.onnx', '.c' or '.plan.kurve'. "
        f"Received: {path!r}. Try {path + '.onnx'!r}.",
    ):
        model.export(path)


def test_other_formats() -> None:
    with raises(
        ValueError,
        "[export] format must be 'onnx', 'c' or 'plan'. "
        "Received: format='tf_saved_model'. "
        "Try export('model.onnx').",
    ):
        cases.sequential("one layer").export("m", format="tf_saved_model")


def test_format_goes_before_the_ending(tmp_path: Path) -> None:
    cases.sequential("one layer").export(tmp_path / "model.txt", format="c")
    assert "void model_predict(" in (tmp_path / "model.txt").read_text()


def test_endings_in_capitals(tmp_path: Path) -> None:
    cases.sequential("one layer").export(tmp_path / "M.C")
    assert (tmp_path / "M.C").read_text().startswith("/*")


def test_a_model_that_is_not_built(tmp_path: Path) -> None:
    model = models.Sequential([layers.Dense(1)])
    with raises(RuntimeError, "[export] the model is not built, so it has no weights"):
        model.export(tmp_path / "m.c")
    assert os.listdir(tmp_path) == []


def test_an_estimator_that_is_not_fitted(tmp_path: Path) -> None:
    for estimator in (kurve.Regressor(), kurve.Classifier()):
        with pytest.raises(NotFittedError):
            estimator.export(tmp_path / "m.c")


def test_another_thing() -> None:
    with raises(
        TypeError,
        "[export] only a model, an Ensemble, a Regressor or a Classifier can be "
        "exported. Received: 3 of type int.",
    ):
        export_module.export(3, "m.c")


def test_a_category_of_texts_and_numbers(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="categories come from a frame")
    pytest.importorskip("narwhals", reason="frames are read through narwhals")
    x, y = cases.table(30)
    kinds = pandas.Categorical(["Rome", 1, 2] * 10)
    frame = pandas.DataFrame({"rooms": x[:, 0], "kind": kinds})
    model = kurve.Regressor(**cases.FAST).fit(frame, y)
    with raises(
        ValueError,
        "[export] a category must hold texts or numbers, not both. Received: column "
        "'kind'. Try astype(str) on it.",
    ):
        model.export(tmp_path / "m.c")
    assert os.listdir(tmp_path) == []


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    model = models.Sequential([layers.Dense(1, input_shape=(1,), name="last")])
    assert model._network.state is not None
    model._network.state.params[0] = np.nan
    with raises(
        ValueError,
        "[export] all weights must be finite. Received: NaN or infinity in kernel of "
        "layer 'last'. Try training again with a smaller learning rate.",
    ):
        model.export(tmp_path / "m.c")


def test_onnx_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "onnx":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    model = cases.sequential("one layer")
    with raises(
        ImportError,
        "[export] ONNX models need the package onnx. "
        "Try pip install 'kurve[onnx]', or a file ending in .c.",
    ):
        model.export(tmp_path / "m.onnx")
    model.export(tmp_path / "m.c")


@pytest.mark.parametrize("ending", ["c", "onnx"])
def test_an_operation_that_is_not_known(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ending == "onnx":
        pytest.importorskip("onnx")
    from kurve.exchange import c_ops

    tables = [c_ops.OPS]
    if ending == "onnx":
        from kurve.exchange import onnx_ops

        tables = [onnx_ops.OPS]
    monkeypatch.delitem(tables[0], "dropout")
    model = models.Sequential([layers.Dropout(0.5, input_shape=(2,), name="half")])
    name = {"c": "C", "onnx": "ONNX"}[ending]
    with raises(
        ValueError,
        f"[export] layer 'half' cannot be written to {name} yet, because there is "
        "no code for the operation. Received: 'dropout'. Try another format, ",
    ):
        model.export(tmp_path / f"m.{ending}")
    assert os.listdir(tmp_path) == []


def test_an_error_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = cases.sequential("one layer"), tmp_path / "m.c"
    model.export(path)
    before = path.read_text()

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with raises(OSError, "No space left on device"):
        cases.sequential("wide").export(path)
    assert path.read_text() == before
    assert os.listdir(tmp_path) == ["m.c"]


def test_numbers_that_float32_rounds_are_told(tmp_path: Path) -> None:
    x, y = cases.table(60)
    x[:, 1] = 1.7e9 + np.arange(60.0)
    model = kurve.Regressor(**cases.FAST).fit(x, y)
    with pytest.warns(
        UserWarning,
        match=r"float32, which rounds column 1 by 5\.9 of its standard deviation\. "
        "Try training on the column minus its mean",
    ) as caught:
        model.export(tmp_path / "m.c")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("where", ["column 1", "the targets"])
def test_numbers_beyond_float32(where: str, tmp_path: Path) -> None:
    x, y = cases.table(60)
    if where == "column 1":
        x[:, 1] *= 1e60
    else:
        y *= 1e60
    model = kurve.Regressor(**cases.FAST).fit(x, y)
    with raises(ValueError, "takes and returns float32, at most 3.4e38. Received: "):
        model.export(tmp_path / "m.c")
    with raises(ValueError, f" in {where}. Try other units."):
        model.export(tmp_path / "m.c")


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    model = cases.estimator("gaussian, members")
    for ending in ("c", "onnx"):
        if ending == "onnx":
            pytest.importorskip("onnx")
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir(exist_ok=True)
            model.export(tmp_path / folder / f"m.{ending}")
        one, two = (tmp_path / folder / f"m.{ending}" for folder in ("a", "b"))
        assert one.read_bytes() == two.read_bytes()


def test_export_changes_nothing() -> None:
    model = cases.of_activation("tanh")
    x = cases.rows_of(model.input_shape)
    before = model.predict(x, verbose=0)
    exported = describe(model, every)
    exported.networks[0].arrays[0]["kernel"][...] = 0.0
    assert np.array_equal(model.predict(x, verbose=0), before)


def test_every_operation_and_activation_is_known() -> None:
    from kurve.engines.reference.activations import ACTIVATIONS
    from kurve.engines.reference.layers import OPS
    from kurve.exchange import c_functions, c_ops, c_tapes
    from kurve.ops.elementwise import RULES

    assert {*c_functions.ACTIVATIONS, "linear"} == set(ACTIVATIONS)
    # What is refused: a file has no streams of numbers, and no rows to go on with.
    refused = {"batch_reduce", "random", "states", "conv3d"}
    graphs = {"concatenate", "matmul", "map"}  # no operations of one input
    assert set(c_ops.OPS) == {*OPS, *graphs} - refused
    assert c_tapes.EXPRESSIONS.keys() | {"constant"} == RULES.keys()
    pytest.importorskip("onnx")
    from kurve.exchange import onnx_graph, onnx_ops, onnx_tapes

    assert set(onnx_graph.ACTIVATIONS) == set(ACTIVATIONS)
    formulas = {
        "reduce",
        "cumsum",
        "permute",
        "slice",
        "place",
        "embedding",
        "variable",
    }
    assert set(onnx_ops.OPS) == {*OPS, "map"} - refused - formulas
    assert onnx_tapes.NODES.keys() | {"constant"} == RULES.keys()
