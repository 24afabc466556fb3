"""Exported models read the columns of tables as Kurve does: categories, texts, dates,
local numbers and gaps, in ONNX and in C."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve.tables.dates import DateText
from tests.unit.exchange.cases import FAST
from tests.unit.exchange.test_c import CC, SANE, STRICT, compiled, self_test

pandas = pytest.importorskip("pandas", reason="tables come from pandas")
pytest.importorskip("narwhals", reason="tables are read through narwhals")
pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")

ROWS = 240
COLUMNS = {
    "size": "number",
    "price, local": "local",
    "town": "text",
    "zone": "number",
    "day": "date",
    "Tag": "date",
    "when": "date",
    "clock": "date",
    "lasted": "duration",
    "remark": "text",
    "flag": "text",
}
"""How each column is given."""


def frame(missing: bool = True, rows: int = ROWS) -> Any:
    random = np.random.default_rng(4)
    days = pandas.Timestamp("2020-02-27") + pandas.to_timedelta(
        random.integers(0, 900, rows), "D"
    )
    minutes = random.integers(0, 1440, rows)
    moments = days + pandas.to_timedelta(minutes, "m")
    lasted = random.integers(0, 900_000, rows)
    words = np.array(["alt", "NEU", "Größe", "Über", "x_1", "klein"])
    towns = np.array(["Rome", "Oslo", 'Köln "am" Rhein??/', "Bern"])
    table = pandas.DataFrame(
        {
            "id": np.arange(rows),
            "size": random.normal(50, 9, rows),
            "price, local": [
                f"{v:,.2f}".translate(str.maketrans(",.", ".,"))
                for v in random.uniform(-2000, 5000, rows)
            ],
            "town": random.choice(towns, rows),
            "zone": pandas.Categorical(random.choice([1, 2, 7], rows)),
            "day": moments.astype("datetime64[ns]"),
            "Tag": days.strftime("%d.%m.%Y"),
            "when": moments.strftime("%b %d, %Y %I:%M %p"),
            "clock": [f"{m // 60}:{m % 60:02}" for m in minutes],
            "lasted": [
                f"{s // 86400} days {s // 3600 % 24:02}:{s // 60 % 60:02}:{s % 60:02}"
                for s in lasted
            ],
            "remark": [
                f"{' – '.join(random.choice(words, 3, replace=False))}; {i}."
                for i in range(rows)
            ],
            "flag": random.choice(["yes", "no"], rows),
        }
    )
    if missing:
        for number, name in enumerate(COLUMNS):
            table[name] = table[name].mask(np.arange(rows) % 11 == number)
    return table


def target(table: Any) -> np.ndarray:
    random = np.random.default_rng(1)
    clean = frame(missing=False)
    part = clean["town"].map({"Rome": 3.0, "Oslo": -1.0}).fillna(0.0).to_numpy()
    season = np.sin(2 * np.pi * clean["day"].dt.day_of_year.to_numpy() / 365)
    old = clean["remark"].str.contains("alt").to_numpy() * 2.0
    return (
        0.1 * clean["size"].to_numpy() + part + season + old + random.normal(size=ROWS)
    )


def seconds(table: Any, name: str) -> np.ndarray:
    """Dates as seconds since 1970."""
    if name == "day":
        found = table[name].astype("datetime64[s]").astype("int64").astype(float)
        return found.where(table[name].notna()).to_numpy()
    order = {"Tag": "dmy", "when": "ymd", "clock": "clock"}[name]
    return DateText(order).seconds([None if v != v else v for v in table[name]])


def numbers_of(table: Any, name: str, model: Any) -> np.ndarray:
    columns = model.fitted_.columns
    place = columns.names.index(name)
    if place in columns.readers:
        cells = [None if v != v else v for v in table[name]]
        return columns.readers[place].numbers(cells)
    return np.array(table[name].astype(float), float)


def strange(table: Any) -> Any:
    """The table with levels that no training row had."""
    table = table.copy()
    table.loc[3:5, "town"] = "Kyiv"
    table.loc[7, "flag"] = "perhaps"
    table["zone"] = table["zone"].astype(float)
    table.loc[9, "zone"] = 12.0
    table.loc[12, "remark"] = "GRÖSSE größe; ALT"
    return table


@pytest.fixture(scope="module", params=["regressor", "classifier", "no gaps"])
def model(request: Any) -> Any:
    table = frame(request.param != "no gaps")
    y = target(table)
    if request.param == "classifier":
        labels = np.where(y > np.median(y), "high", "low")
        return kurve.Classifier(**FAST, members=2).fit(table, labels)
    return kurve.Regressor(**FAST, missing="impute").fit(table, y)


def expected(model: Any, table: Any) -> np.ndarray:
    if hasattr(model, "classes_"):
        return np.asarray(model.predict_proba(table))
    return np.stack(model.predict(table, return_std=True), axis=1)


def table_for(model: Any) -> Any:
    """Rows to predict: as in training, with unseen levels."""
    return strange(frame(len(model.fitted_.columns.with_missing) > 0))


def test_kinds(model: Any) -> None:
    columns = model.fitted_.columns
    assert list(columns.left_out) == [0]
    assert len(columns.dates) == 4 and len(columns.words) == 1
    assert len(columns.readers) == 2 and len(columns.levels) == 3


def test_onnx(model: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="ONNX models need onnx")
    runtime = pytest.importorskip("onnxruntime", reason="they run on onnxruntime")
    model.export(tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    table = table_for(model)
    given = {}
    for name, kind in COLUMNS.items():
        if kind == "text":
            cells: Any = table[name].fillna("").to_numpy(object)
        elif kind == "date":
            cells = seconds(table, name)
        else:
            cells = numbers_of(table, name, model)
        given[name] = cells.reshape(-1, 1)
    assert [i.name for i in session.get_inputs()] == list(COLUMNS)
    found = session.run(None, given)
    wanted = expected(model, table)
    if hasattr(model, "classes_"):
        np.testing.assert_allclose(found[0], wanted, atol=2e-6)
        assert found[1].tolist() == model.predict(table).tolist()
    else:
        np.testing.assert_allclose(np.hstack(found), wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.skipif(shutil.which(CC) is None, reason="C files are compiled with cc")
def test_c(model: Any, tmp_path: Path) -> None:
    source = tmp_path / "net.c"
    model.export(source)
    done = self_test(source, *STRICT, "-O2")
    assert done.returncode == 0, done.stdout
    done = self_test(source, *STRICT, *SANE)
    assert done.returncode == 0, done.stdout + done.stderr
    library = tmp_path / "net.so"
    compiled([*STRICT, "-O2", "-shared", "-fPIC", source, "-o", library], tmp_path)
    call = ctypes.CDLL(str(library)).net_predict_batch
    call.restype = None
    table = table_for(model)
    plain = ["size", "zone"]
    texts = [name for name in COLUMNS if name not in plain]
    numbers = np.stack([numbers_of(table, name, model) for name in plain], axis=1)
    cells = [
        None if value != value else str(value).encode()
        for row in table[texts].itertuples(index=False)
        for value in row
    ]
    given = (ctypes.c_char_p * len(cells))(*cells)
    wanted = expected(model, table)
    y = np.zeros(wanted.shape, np.float32)
    pointer = ctypes.c_void_p
    call(
        numbers.ctypes.data_as(pointer),
        given,
        y.ctypes.data_as(pointer),
        ctypes.c_size_t(len(table)),
    )
    np.testing.assert_allclose(y, wanted, rtol=2e-6, atol=2e-6)
