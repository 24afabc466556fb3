"""Text files in practice: numbers with unusual spaces, encodings, long lines,
compression, pipes, names that are not UTF-8; read at once and in chunks."""

from __future__ import annotations

import bz2
import gzip
import os
import threading
from pathlib import Path
from typing import Any

import pytest

pa = pytest.importorskip("pyarrow", reason="tables are read with pyarrow")

from kurve import tables  # noqa: E402
from kurve.cli import memory  # noqa: E402
from kurve.tables import TableError, cells, delimited, encodings, lines  # noqa: E402


def both_ways(path: Any, **options: Any) -> Any:
    """The table read at once; in chunks it must be the same, with the same types."""
    table = tables.read(path, **options)
    batches = tables.batches(path, **options)
    parts = pa.concat_tables(batches)
    assert parts.to_pydict() == table.to_pydict()
    assert parts.schema.equals(table.schema)
    assert [batches.types[name] for name in batches.names] == table.schema.types
    return table


def refused(path: Any, **options: Any) -> str:
    """The message, which must be the same at once and in chunks."""
    messages = set()
    for read in (tables.read, lambda *a, **k: list(tables.batches(*a, **k))):
        with pytest.raises(TableError) as caught:
            read(path, **options)
        messages.add(str(caught.value))
    (message,) = messages
    return message


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "d.csv", encoding: str = "utf-8") -> str:
    Path(name).write_bytes(text.encode(encoding))
    return name


@pytest.mark.parametrize("space", list(cells.SPACES))
@pytest.mark.parametrize("number", ["12", "+1.5", "-2e3", ".5", "7."])
def test_spaces_around_a_number(space: str, number: str) -> None:
    quoted = f'"{space}{number}{space}"'
    table = both_ways(write(f"a,b\n{quoted},x\n3,y\n"))
    assert table["a"].to_pylist() == [float(number), 3.0]


@pytest.mark.parametrize("cell", ["\u0661\u0662", "1_0", "++1", "1e", "e1", "1.2.3"])
def test_what_is_no_number(cell: str) -> None:
    table = both_ways(write("a,b\n" + "1,2\n" * 5 + f"{cell},3\n4,5\n"))
    assert table["a"].to_pylist() == ["1"] * 5 + [cell, "4"]


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("\u221215", -15.0),
        ("1 234", 1234.0),
        ("1\xa0234", 1234.0),
        ("12%", 12.0),
        ("$5", 5.0),
        ("-$5", -5.0),
        ("(5)", -5.0),
        ("1.0D+2", 100.0),
        ("1'234.5", 1234.5),
        ('"1,234,567.5"', 1234567.5),
        ("EUR 7", 7.0),
    ],
)
def test_numbers_in_local_dress(cell: str, number: float) -> None:
    table = both_ways(write("a,b\n" + "1,2\n" * 5 + f"{cell},3\n4,5\n"))
    assert table["a"].to_pylist() == [1.0] * 5 + [number, 4.0]


def test_decimal_commas_and_points() -> None:
    path = write("a;b\n1,5;1.5\n+2,5;2.5\n")
    table = both_ways(path, decimal=",")
    assert table.to_pydict() == {"a": [1.5, 2.5], "b": ["1.5", "2.5"]}


@pytest.mark.parametrize(
    ("cells_", "kind"),
    [
        ("true\n\nFALSE", "bool"),
        ("true\n1", "string"),
        ("1\n0x1F", "int64"),
        ("2020-01-01\n 2020-01-02", "date32[day]"),
        ("10:30\n11:30:10", "time32[s]"),
        ("2020-01-01\n2020-01-01 10:00", "timestamp[s]"),
        ("1\nINF", "double"),
        ("2020-01-01 10:00\n2020-01-01T10:00:00.5", "timestamp[ns]"),
        ("2020-01-01T10:00:00Z\n2020-01-01T10:00:00+01:00", "timestamp[s, tz=UTC]"),
        ("2020-01-01\n10:30", "string"),
        ("25:00\n10:30", "string"),
    ],
)
def test_types_are_the_same_in_chunks(
    monkeypatch: pytest.MonkeyPatch, cells_: str, kind: str
) -> None:
    text = "a,b\n" + "".join(f"{cell},z\n" for cell in cells_.split("\n") * 9)
    if kind == "string" and "1" in cells_.split("\n"):
        text = text.replace("1,z\n", "x,z\n", 3)  # else most are numbers
    for block in (64, 1 << 20):
        monkeypatch.setattr(delimited, "BLOCK", block)
        assert str(both_ways(write(text)).schema.field("a").type) == kind


@pytest.mark.parametrize(
    "raw",
    [b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n\r\n", "\n \n".encode("utf-16"), b"\xff\xfe"],
)
def test_a_file_of_nothing(raw: bytes) -> None:
    Path("d.csv").write_bytes(raw)
    assert refused("d.csv").startswith("[read] d.csv: the file must not be empty.")


@pytest.mark.parametrize(
    "name", ["foo", "", "idna", "undefined", "rot13", "hex", "unicode_escape", "a\0b"]
)
def test_unknown_encodings(name: str) -> None:
    message = refused(write("a,b\n1,2\n"), encoding=name)
    assert message == (
        f"[read] d.csv: the encoding must be one that Python knows. Received: {name!r}"
        ". Try one of utf-8, latin-1, cp1252, utf-16, utf-16-le, utf-16-be, mac-roman, "
        "cp437, koi8-r, shift-jis, gb18030, euc-kr, big5."
    )


@pytest.mark.parametrize("name", encodings.ENCODINGS)
def test_known_encodings(name: str) -> None:
    text = "a,b\n1,x\n2,y\n"
    assert both_ways(write(text, encoding=name), encoding=name)["a"].to_pylist() == [
        1,
        2,
    ]


def test_byte_order_marks() -> None:
    for name in ("utf-16", "utf-32", "utf-8-sig"):
        table = both_ways(write("\xe4,b\n1,x\n", encoding=name))
        assert table.to_pydict() == {"\xe4": [1], "b": ["x"]}
    for name in ("utf-16", "utf_32"):
        wide = name.replace("_", "-")
        assert refused(write("a,b\n1,x\n"), encoding=name) == (
            f"[read] d.csv: {wide} text must start with a byte order mark. Received: "
            f'none. Try encoding "{wide}-le" or "{wide}-be".'
        )


def test_long_lines() -> None:
    rows = "".join(
        f"{i},{'a' * (2_500_000 if i == 30 else 3)},{2 * i}\n" for i in range(60)
    )
    path = write("x,note,y\n" + rows)
    assert tables.read(path, ["x", "y"]).to_pydict()["y"] == list(range(0, 120, 2))
    names = [f"column{i}" for i in range(150_000)]
    path = write(",".join(names) + "\n" + "1," * 149_999 + "1\n")
    assert tables.read(path, names[-1:]).to_pydict() == {names[-1]: [1]}


def test_lines_that_are_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "START", 1 << 10)
    monkeypatch.setattr(delimited, "BLOCK", 64)
    path = write("a,b\n" + "1,z\n" * 9 + f"1,{'x' * 5000}\n" + "1,z\n" * 999)
    assert both_ways(path)["b"].to_pylist()[9] == "x" * 5000
    monkeypatch.setattr(delimited, "LIMIT", 1 << 11)
    message = refused(path)
    assert message.startswith("[read] d.csv: each line must fit into ")
    assert message.endswith(
        "Received: a longer one. Try closing a quote that is left open."
    )


def test_names_that_are_not_utf8() -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    try:
        write("a,b\n1,2\n", name)
    except OSError:
        pytest.skip("this disk takes names of UTF-8 only")
    assert both_ways(name).to_pydict() == {"a": [1], "b": [2]}
    for format in ("parquet", "feather"):
        name = os.fsdecode(b"caf\xe9." + format.encode())
        table = pa.table({"a": [1, 2]})
        with open(name, "wb") as file:
            writer = tables.writer(file, table.schema, format)
            writer.write_table(table)
            writer.close()
        assert both_ways(name).to_pydict() == {"a": [1, 2]}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("rows", [1, 50_000])
def test_pipes(rows: int) -> None:
    """A shell's <(...) can be read only once."""
    os.mkfifo("pipe")
    text = "a,b\n" + "1,2\n" * rows
    thread = threading.Thread(target=Path("pipe").write_text, args=(text,))
    thread.start()
    file = tables.open_table("pipe", format="csv")
    thread.join()
    assert len(file.read()) == rows and file.size(["a"], 1 << 30) == len(text)
    assert tables.Batches(file).rows == rows
    if os.path.exists("/dev/null"):
        with pytest.raises(TableError, match=r"'/dev/null' \(Not a file or pipe\)"):
            tables.open_table("/dev/null", format="csv")


def test_compressed_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "START", 1 << 12)
    monkeypatch.setattr(lines, "PIECE", 1 << 12)
    text = b"a,b\n" + b"1,2\n" * 100_000
    for name, raw in (
        ("d.csv.gz", gzip.compress(text)),
        ("d.csv.bz2", bz2.compress(text)),
        ("e.csv.gz", gzip.compress(text[:4]) + gzip.compress(text[4:])),
    ):
        Path(name).write_bytes(raw)
        assert len(both_ways(name)) == 100_000
        assert tables.open_table(name).size(["a"], 1 << 30) == len(text)
        assert tables.open_table(name).size(["a"], 1000) < len(text)
        for damaged in (raw[:-20], raw[: len(raw) // 2], raw[:-9] + b"xy" + raw[-7:]):
            Path(name).write_bytes(damaged)
            message = refused(name)
            assert message.startswith(f"[read] {name}"), message


@pytest.mark.parametrize("format", ["csv", "tsv"])
def test_cells_that_text_cannot_hold(format: str) -> None:
    table = pa.table({"a": [1], "b": [[1, 2]]})
    with open("d", "wb") as sink, pytest.raises(TableError) as caught:
        tables.writer(sink, table.schema, format)
    assert str(caught.value) == (
        f"[write] a column of a {format.upper()} file must hold single values. "
        "Received: 'b' of type list<item: int64>. Try Parquet or Feather."
    )


def test_what_fits_into_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a file's content, not by its compressed size."""
    assert memory.free() > 0
    rows = 1_000_000
    table = pa.table({"x": [1.0] * rows, "y": [1.0] * rows, "t": ["abc"] * rows})
    for format in ("parquet", "feather"):
        with open(f"d.{format}", "wb") as sink:
            writer = tables.writer(sink, table.schema, format)
            writer.write_table(table)
            writer.close()
        file = tables.open_table(f"d.{format}")
        assert file.size(["x", "y"], 1 << 40) == 16 * rows
        assert file.size(["x", "t"], 1 << 40) > 24 * rows
    Path("d.csv.gz").write_bytes(gzip.compress(b"x,y\n" + b"1,1\n" * rows))
    assert os.path.getsize("d.parquet") < rows > 10 * os.path.getsize("d.csv.gz")
    for name, size in (("d.parquet", 16 * rows), ("d.csv.gz", 4 * rows)):
        file = tables.open_table(name)
        for free, fits in ((memory.PER_BYTE * size // 2, False), (20 * size, True)):
            monkeypatch.setattr(memory, "free", lambda free=free: free)
            assert memory.fits(file, ["x", "y"]) is fits


@pytest.mark.parametrize("block", [1 << 20, 40])
def test_rows_of_other_lengths(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Short rows are filled up, empty cells beyond the last column are cut off, and
    lines keep their numbers."""
    monkeypatch.setattr(delimited, "BLOCK", block)
    rows = "1,2,3\n\n4\n" + '5,"six\n6",7,,\n' + "8,9,10\n" * 5
    path = write("a,b,c\n" + rows)
    table = both_ways(path)
    assert table["a"].to_pylist() == [1, 4, 5, 8, 8, 8, 8, 8]
    assert table["b"].to_pylist()[:4] == ["2", None, "six\n6", "9"]
    assert table["c"].to_pylist()[:4] == [3, None, 7, 10]
    file = tables.open_table(path)
    file.read()
    assert file.notes == [
        "1 of 8 rows have fewer cells than the first line, such as line 4: the others "
        "count as missing"
    ]
    assert [file.place(row) for row in (1, 2, 3)] == ["line 4", "line 5", "line 7"]


def test_repeated_names() -> None:
    path = write("a,a.1,a, a ,b\n1,2,3,4,5\n")
    table = both_ways(path)
    assert table.column_names == ["a", "a.1", "a.2", "a.3", "b"]
    assert [column[0].as_py() for column in table.columns] == [1, 2, 3, 4, 5]
    notes = tables.open_table(path).notes
    assert notes[0] == "column 3, a second 'a', is called 'a.2'" and len(notes) == 2
    bare = tables.open_table(write("1,1\n2,3\n"), header=False)
    assert bare.names == ["x1", "x2"] and not bare.notes
