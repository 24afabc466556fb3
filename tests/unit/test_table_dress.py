"""What stands around and inside the cells of tables as people write them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="tables are read with pyarrow")

import kurve
from kurve import tables
from kurve.estimators.kinds import learn_words
from kurve.tables import roles
from kurve.tables.dates import learn_dates, text_of
from kurve.tables.numerals import Numerals, decimal_mark, learn_numerals, unit_of


@pytest.mark.parametrize(
    ("text", "found", "line"),
    [
        ("sep=;\na;y\n1;2\n3;4\n", {"a": [1, 3], "y": [2, 4]}, 4),
        ("# made by x\n# a y\n1 2\n3 4\n", {"a": [1, 3], "y": [2, 4]}, 4),
        ("# one\n# two\na,y\n1,2\n3,4\n", {"a": [1, 3], "y": [2, 4]}, 5),
        ("#a,y\n1,u\n3,v\n", {"a": [1, 3], "y": ["u", "v"]}, 3),
        ("a    y\n1  2.5\n30 4.5\n", {"a": [1, 30], "y": [2.5, 4.5]}, 3),
        ("a;y\n1,5;2\n2,5;1.234\n", {"a": [1.5, 2.5], "y": [2.0, 1234.0]}, 3),
        ("a;y\n1.5;2\n2.5;4\n", {"a": [1.5, 2.5], "y": [2, 4]}, 3),
        ('a,y\n1,"1,234.50"\n2,$5\n', {"a": [1, 2], "y": [1234.5, 5.0]}, 3),
        ("first name\nAda L\nBob M\n", {"first name": ["Ada L", "Bob M"]}, 3),
        (",y\n0,5\n1,6\n", {"": [0, 1], "y": [5, 6]}, 3),
    ],
)
def test_text_files(tmp_path: Path, text: str, found: Any, line: int) -> None:
    (tmp_path / "d.csv").write_text(text)
    file = tables.open_table(tmp_path / "d.csv")
    assert file.read(file.names).to_pydict() == found
    assert file.place(1) == f"line {line}"


def test_json_lines_and_excel(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"a": 1, "y": "u"}\n{"a": 2, "y": null}\n')
    found = tables.read(tmp_path / "d.jsonl").to_pydict()
    assert found == {"a": [1, 2], "y": ["u", None]}
    (tmp_path / "d.jsonl").write_text("a,y\n")
    with pytest.raises(tables.TableError, match="must hold JSON objects"):
        tables.read(tmp_path / "d.jsonl")
    openpyxl = pytest.importorskip("openpyxl", reason="Excel needs openpyxl")
    book = openpyxl.Workbook()
    for row in (["a", "y"], [1, "u"], [2.5, "NA"]):
        book.active.append(row)
    book.save(tmp_path / "d.xlsx")
    assert tables.read(tmp_path / "d.xlsx").to_pydict() == {
        "a": [1.0, 2.5],
        "y": ["u", None],
    }


@pytest.mark.parametrize(
    ("cell", "point", "comma"),
    [
        ("1,234.50", 1234.5, None),
        ("1.234,50", None, 1234.5),
        ("1'234", 1234.0, 1234.0),
        ("1,23,456", 123456.0, None),
        ("12,5 %", None, 12.5),
        ("0,125", None, 0.125),
        ("0.125", 0.125, None),
        ("€ 5", 5.0, 5.0),
        ("(5)", -5.0, -5.0),
        ("$(1,234.50)", -1234.5, None),
        ("(5) %", -5.0, -5.0),
        ("-(5)", None, None),
        ("$(5", None, None),
        ("5)", None, None),
        ("\u22125", -5.0, -5.0),
        ("1.0D+2", 100.0, None),
        ("(5", None, None),
        ("--5", None, None),
        ("3.4.5", None, None),
        ("abc", None, None),
    ],
)
def test_numerals(cell: str, point: float | None, comma: float | None) -> None:
    assert Numerals(".").number(cell) == point
    assert Numerals(",").number(cell) == comma


def test_the_decimal_mark_is_that_which_reads_most() -> None:
    assert learn_numerals(["1,5", "2", "3,25"]) == (Numerals(","), 3)
    assert learn_numerals(["1,234", "5,678"]) == (Numerals("."), 2)
    assert learn_numerals(["1,234", "5,678"], ",") == (Numerals(","), 2)


@pytest.mark.parametrize(
    ("cells", "delimiter", "mark"),
    [
        (["1,234", "5,678"], ";", ","),
        (["1,234", "5,678"], "\t", "."),
        (["1,234", "5.5"], ";", "."),
        (["1.234", "5.678"], ";", "."),
        (["1.234", "5,5"], ";", ","),
        (["0,125"], "\t", ","),
        (["1,234,567", "1,234"], ";", "."),
        (["1.234.567"], ";", ","),
        (["a,b", "01.02.2023"], ";", "."),
    ],
)
def test_the_decimal_mark_of_a_file(
    cells: list[str], delimiter: str, mark: str
) -> None:
    assert decimal_mark(cells, delimiter) == mark


@pytest.mark.parametrize(
    ("cells", "first", "unsure"),
    [
        (["Jan 1 2000", "Feb 1 2000"], "2000-01-01", False),
        (["01.02.2023", "28.02.2023"], "2023-02-01", False),
        (["1/31/24", "2/1/24"], "2024-01-31", False),
        (["31/1/2024", "1/2/2024"], "2024-01-31", False),
        (["1/2/2024", "3/4/2024"], "2024-01-02", True),
        (["2000 Q2"], "2000-04-01", False),
        (["1. März 2020"], "2020-03-01", False),
        (["Sat, 01 Jan 2000 13:00:00 GMT"], "2000-01-01 13:00", False),
        (["5/6/2024 1:05 PM", "13/6/2024 2:00 AM"], "2024-06-05 13:05", False),
    ],
)
def test_dates(cells: list[str], first: str, unsure: bool) -> None:
    reader, maybe = learn_dates(cells)
    assert reader is not None and maybe is unsure
    assert text_of(reader.seconds(cells)[0]) == first


@pytest.mark.parametrize(
    "cell", ["Rome", "may", "1.5", "Village1", "31.02.2020", "25:70"]
)
def test_what_is_no_date(cell: str) -> None:
    assert learn_dates([cell]) == (None, False)


def test_json_as_programs_write_it(tmp_path: Path) -> None:
    """An array of objects; objects in objects; a column of numbers and texts."""
    path = tmp_path / "d.json"
    path.write_text('[{"a": 1, "at": {"x": 2, "y": {"z": 3}}}, {"a": 4, "b": "u"}]')
    table = tables.read(path).to_pydict()
    assert table == {
        "a": [1, 4],
        "at.x": [2, None],
        "at.y.z": [3, None],
        "b": [None, "u"],
    }
    path = tmp_path / "d.jsonl"
    path.write_text('{"a": 1.5}\n{"a": "2.5"}\n\n{"a": null}\n')
    assert tables.read(path).to_pydict() == {"a": ["1.5", "2.5", None]}


@pytest.mark.parametrize(
    ("cells", "unit"),
    [
        (["70.5 kg", "8kg", "1,200 kg"], "kg"),
        (["1 year", "2 years"], "year"),
        (["12.5°", "-3°", "180 °"], "°"),
        (["5 m", "300 cm"], ""),
        (["5 m", "about 6 m"], "m"),
        (["kg", "one kg", "12"], ""),
    ],
)
def test_units_of_measurement(cells: list[str], unit: str) -> None:
    assert unit_of(cells) == unit


def test_numbers_with_a_unit() -> None:
    read = Numerals(".", "kg").number
    assert [read(text) for text in ("70.5 kg", " 8kg", "-3 kgs", "1,200kg", "9")] == [
        70.5,
        8.0,
        -3.0,
        1200.0,
        9.0,
    ]
    assert [read(text) for text in ("kg", "5 g", "one kg", "")] == [None] * 4
    assert Numerals(",", "m").number("1.234,5 m") == 1234.5
    assert Numerals(".").number(".e3") is None


def test_a_column_of_a_unit_is_learned(tmp_path: Path) -> None:
    """And reads the same from the model's file and in C's list of units."""
    random = np.random.default_rng(0)
    weight, doors = random.uniform(40, 120, 200), random.integers(2, 6, 200)
    x = np.array(
        [[f"{w:.1f} kg", f"{d} doors"] for w, d in zip(weight, doors, strict=True)],
        object,
    )
    y = weight / 10 + doors
    model = kurve.Regressor(max_epochs=20, effort="fast", random_state=0).fit(x, y)
    columns = model.fitted_.columns
    assert columns.readers == {0: Numerals(".", "kg")} and list(columns.levels) == [1]
    assert model.score(x, y) > 0.95
    model.save(tmp_path / "m.kurve")
    again = kurve.estimators.load(tmp_path / "m.kurve")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    model.export(tmp_path / "m.c")
    assert '"kg"' in (tmp_path / "m.c").read_text()


def test_times_as_numbers(tmp_path: Path) -> None:
    """A target of durations, whichever way they are written, is in seconds."""
    for first, second in (("2:31:05", "0:00:59"), ("02:31:05", "00:00:59")):
        path = tmp_path / "d.csv"
        path.write_text(f"x,t\n1,{first}\n2,{second}\n3,\n")
        file = tables.open_table(path)
        table = roles.with_numeric_targets(file, file.read(), ["t"])
        assert table["t"].to_pylist() == [9065.0, 59.0, None]
        assert file.notes == ["the times of the target 't' are learned in seconds"]
        found = file.numbers("t", file.read()["t"], "it does", times=True).to_pylist()
        assert found == [9065.0, 59.0, None]


def test_one_word_in_long_texts() -> None:
    """A word that half of the texts contain, among words that all of them do."""
    filler = "the flat has a kitchen and a bath with {} tiles"
    counts = Counter(
        filler.format(number) + (" sauna" if number % 3 == 0 else "")
        for number in range(300)
    )
    words = learn_words(counts)
    assert words is not None and words.words == ("sauna",)
