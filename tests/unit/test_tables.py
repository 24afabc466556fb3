"""Reading tables: correct values, and errors that name the line."""

from __future__ import annotations

import io
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="tables are read with pyarrow")

from kurve import tables  # noqa: E402
from kurve.tables import TableError, roles  # noqa: E402


def write(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def both_ways(path: Path, **options: Any) -> Any:
    """The table read at once; in chunks it must be the same."""
    table = tables.read(path, **options)
    parts = list(tables.batches(path, **options))
    assert pa.concat_tables(parts).to_pydict() == table.to_pydict()
    return table


MIXED = """size,colour,age,ok,when
1,red,1.5,true,
2,,NA,false,
3,"a, b",1e3,,
"""


def test_types(tmp_path: Path) -> None:
    table = both_ways(write(tmp_path, MIXED))
    assert table.to_pydict() == {
        "size": [1, 2, 3],
        "colour": ["red", None, "a, b"],
        "age": [1.5, None, 1000.0],
        "ok": [True, False, None],
        "when": [None, None, None],
    }
    kinds = [str(kind) for kind in table.schema.types]
    assert kinds == ["int64", "string", "double", "bool", "null"]


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("a;b\n1,5;x\n2,5;y\n", "d.csv", {"decimal": ","}),
        ("a\tb\n1.5\tx\n2.5\ty\n", "d.tsv", {}),
        ("a\tb\n1.5\tx\n2.5\ty\n", "d.csv", {}),
        ("a|b\n1.5|x\n2.5|y\n", "d.txt", {}),
        ('"a"; "b"\n1.5;x\n2.5;y\n'.replace("; ", ";"), "d.csv", {}),
        ("\ufeffa,b\r\n1.5,x\r\n2.5,y\r\n", "d.csv", {}),
        ("a, b \n 1.5,x\n 2.5,y\n", "d.csv", {}),
        ("a,b\n+1.5,x\n+2.5,y\n", "d.csv", {}),
        ("a,b\n1.5,x\n\n2.5,y\n\n", "d.csv", {}),
        ("a,b\n1.5,x\n2.5,y", "d.csv", {}),
    ],
    ids=[
        "decimal comma",
        "tsv",
        "tabs",
        "bars",
        "quoted",
        "mark",
        "spaces",
        "plus",
        "blank lines",
        "no last newline",
    ],
)
def test_ways_to_write_the_same(
    tmp_path: Path, text: str, name: str, options: dict[str, Any]
) -> None:
    table = both_ways(write(tmp_path, text, name), **options)
    assert table.to_pydict() == {"a": [1.5, 2.5], "b": ["x", "y"]}


def test_encodings(tmp_path: Path) -> None:
    text = "ä,b\n1,é\n2,ü\n"
    wanted = {"ä": [1, 2], "b": ["é", "ü"]}
    latin = write(tmp_path, text.encode("latin-1"))
    assert both_ways(latin, encoding="latin-1").to_pydict() == wanted
    wide = write(tmp_path, text.encode("utf-16"))
    assert both_ways(wide).to_pydict() == wanted


def test_compressed(tmp_path: Path) -> None:
    import gzip

    path = write(tmp_path, gzip.compress(b"a,b\n1,2\n"), "d.csv.gz")
    assert both_ways(path).to_pydict() == {"a": [1], "b": [2]}


def test_quoted_newlines_keep_the_lines_right(tmp_path: Path) -> None:
    text = 'a,b\n"x\ny",1\nz,2\nz,?\nz,4\n'
    assert both_ways(write(tmp_path, text), missing_values=["?"])["b"].to_pylist() == [
        1,
        2,
        None,
        4,
    ]
    file = tables.open_table(write(tmp_path, text))
    with pytest.raises(TableError, match=r"data.csv, line 5: column 'b'"):
        file.numbers("b", file.read()["b"], "it must")


def test_no_header(tmp_path: Path) -> None:
    table = both_ways(write(tmp_path, "1,2\n3,4\n"), header=False)
    assert table.to_pydict() == {"x1": [1, 3], "x2": [2, 4]}


def test_columns_are_chosen_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,c\n1,2,3\n")
    assert tables.read(path, ["c", "a"]).to_pydict() == {"c": [3], "a": [1]}
    assert tables.batches(path, ["c"]).names == ["c"]


def test_types_hold_over_all_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that turns from integers to fractions, or from numbers to text, late in
    the file; chunks of a few rows."""
    from kurve.tables import delimited

    monkeypatch.setattr(delimited, "BLOCK", 64)
    rows = [
        f"{i},{'x' if i < 9 or i > 20 else i},{'' if i < 20 else i}" for i in range(40)
    ]
    rows += ["40.5,y,+1.5"]
    path = write(tmp_path, "\n".join(["a,b,c", *rows]) + "\n")
    batches = tables.batches(path)
    parts = list(batches)
    assert len(parts) > 3
    assert batches.rows == sum(len(part) for part in parts) == 41
    assert {str(part.schema) for part in parts} == {"a: double\nb: string\nc: double"}
    whole = tables.read(path)
    assert pa.concat_tables(parts).to_pydict() == whole.to_pydict()
    assert pa.concat_tables(batches).to_pydict() == whole.to_pydict()


@pytest.mark.parametrize("format", ["parquet", "feather"])
def test_arrow_files(tmp_path: Path, format: str) -> None:
    table = pa.table({"a": [1.5, None], "b": ["x", "y"]})
    path = tmp_path / f"d.{format}"
    with open(path, "wb") as file:
        writer = tables.writer(file, table.schema, format)
        writer.write_table(table)
        writer.close()
    assert both_ways(path).to_pydict() == table.to_pydict()
    assert tables.read(path, ["b"]).to_pydict() == {"b": ["x", "y"]}
    assert tables.batches(path).rows == 2
    with_index = table.append_column("__index_level_0__", pa.array([7, 8]))
    with open(path, "wb") as file:
        writer = tables.writer(file, with_index.schema, format)
        writer.write_table(with_index)
        writer.close()
    assert both_ways(path).to_pydict() == table.to_pydict()
    path.write_bytes(path.read_bytes()[:-9])
    kind = format.capitalize()
    with pytest.raises(
        TableError, match=f"must be a complete {kind} file. Received: .* Try"
    ):
        tables.read(path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Given:
        buffer = io.BytesIO(b"a,b\n1,2\n3,4\n")

    monkeypatch.setattr(sys, "stdin", Given)
    file = tables.open_table("-", format="csv")
    assert file.read().to_pydict() == {"a": [1, 3], "b": [2, 4]}
    assert file.place(1) == "line 3"
    with pytest.raises(TableError, match=r"standard input needs a format.*Try format="):
        tables.open_table("-")


LONG = "a,b\n" + "1,2\n" * 5

WRONG: dict[str, tuple[str | bytes, str]] = {
    "empty": (
        "",
        "[read] data.csv: the file must not be empty. Received: 0 bytes. "
        "Try a header line.",
    ),
    "blank": (
        "\n \n",
        "[read] data.csv: the file must not be empty. Received: 3 bytes. "
        "Try a header line.",
    ),
    "short rows": (
        LONG + "1\n" * 5,
        "[read] data.csv, line 7: each line must have 2 columns, as the first has. "
        "Received: 1 column. Try quotes around cells that hold the delimiter ',', or "
        "the missing cells.",
    ),
    "open quote": (
        LONG + '1,2\n"1,2\n1,2\n',
        "[read] data.csv, line 8: each line must have 2 columns, as the first has. "
        "Received: 1 column. Try quotes around cells that hold the delimiter ',', or "
        "the missing cells.",
    ),
    "long row": (
        LONG + "1,2,3\n",
        "[read] data.csv, line 7: each line must have 2 columns, as the first has. "
        "Received: 3 columns. Try quotes around cells that hold the delimiter ',', or "
        "the missing cells.",
    ),
    "mixed encodings": (
        "a,b\n1,é\n".encode() + "1,é\n".encode("latin-1"),
        "[read] data.csv, line 3: all text must be utf-8. Received: byte 0xe9 at "
        'offset 11. Try one encoding for the whole file, or encoding "latin-1".',
    ),
    "header of another encoding": (
        "a,né\n1,2\n".encode("latin-1"),
        "[read] data.csv, line 1: all text must be utf-8. Received: byte 0xe9 at "
        "offset 3, after 'n'. Try one encoding for the whole file, or "
        'encoding "latin-1".',
    ),
    "no name": (
        ",b\n1,2\n",
        "[read] data.csv: every column must have a name. Received: column 1 without "
        "one. Try naming the columns to use, or a name in the header.",
    ),
    "no header": (
        "1,2\n3,4\n",
        "[read] data.csv, line 1: the first line must hold the columns' names. "
        "Received: numbers only. Try a line of names, or reading without a header.",
    ),
    "spreadsheet": (
        b"PK\x03\x04\x14\x00",
        "[read] data.csv: the file must be text. Received: a spreadsheet or zip file. "
        "Try its own format or CSV.",
    ),
    "bytes": (
        b"a,b\n\x001,2\n",
        "[read] data.csv: the file must be text. Received: byte 0x00 at offset 4. "
        "Try a CSV, TSV, Parquet or Feather file.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    text, message = WRONG[case]
    write(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    for read in (tables.read, lambda path: list(tables.batches(path))):
        with pytest.raises(TableError) as caught:
            read("data.csv")
        assert str(caught.value) == message


def test_wrong_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "price,size\n1,2\n")
    for path, columns, message in (
        (
            "data.csv",
            ["Pirce"],
            "[read] data.csv: there is no such column. Received: "
            "'Pirce'. Did you mean 'price'? Try one of: price, size.",
        ),
        (
            "date.csv",
            None,
            "[read] the file must exist and be readable. Received: "
            "'date.csv' (No such file or directory). Did you mean 'data.csv'?",
        ),
        (
            "data.xlsx",
            None,
            "[read] the file must exist and be readable. Received: "
            "'data.xlsx' (No such file or directory). Did you mean 'data.csv'?",
        ),
    ):
        with pytest.raises(TableError) as caught:
            tables.read(path, columns)
        assert str(caught.value) == message
    write(tmp_path, "a", "data.xml")
    with pytest.raises(TableError, match=r"in a known format.*'data.xml'.*Try"):
        tables.read("data.xml")


def opened(folder: Path, text: str) -> tables.TableFile:
    return tables.open_table(write(folder, text))


def test_roles(tmp_path: Path) -> None:
    file = opened(tmp_path, "id,a,b,y\n1,2,3,4\n")
    assert roles.choose_roles(file, ["y"], None, ["id"]) == (["y"], ["a", "b"])
    assert roles.choose_roles(file, ["y"], ["b"]) == (["y"], ["b"])
    for arguments, text in (
        (
            (["Y"],),
            r"there must be a column for the target. Received: 'Y'. Did you mean",
        ),
        ((["y"], ["c"]), r"for the feature. Received: 'c'. Did you mean|Try one of"),
        ((["y"], ["y"]), r"one role. Received: 'y' as target and feature. Try"),
        ((["y"], ["a", "a"]), r"one role. Received: 'a' as feature twice. Try"),
        ((["y"], None, ["id", "a", "b"]), r"there must be a feature besides.*Try"),
    ):
        with pytest.raises(TableError, match=text):
            roles.choose_roles(file, *arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ("1\ninf\n2\n", r"line 3: column 'a' must hold finite numbers. Received: inf"),
    ],
)
def test_columns_that_are_no_features(tmp_path: Path, cells: str, text: str) -> None:
    rows = "".join(f"{cell},1\n" for cell in cells.split("\n")[:-1])
    file = opened(tmp_path, "a,y\n" + rows)
    with pytest.raises(TableError, match=text):
        roles.check_features(file, file.read(["a"]))


def test_header_only(tmp_path: Path) -> None:
    file = opened(tmp_path, "a,b\n")
    with pytest.raises(TableError, match=r"rows below the header. Received: a header"):
        roles.check_rows(file, len(file.read()))


def test_missing_values(tmp_path: Path) -> None:
    file = opened(tmp_path, "a,b\n1,x\n,y\n3,\n4,z\n")
    table = file.read()
    assert roles.missing_rows(table).tolist() == [False, True, True, False]
    array = roles.target_array(table, ["a"])
    assert roles.missing_rows(array).tolist() == [False, True, False, False]
    texts = roles.target_array(table, ["b"])
    assert roles.missing_rows(texts).tolist() == [False, False, True, False]
    with pytest.raises(TableError) as caught:
        roles.refuse_missing(file, table, "target")
    assert str(caught.value) == (
        f"[read] {tmp_path}/data.csv, line 3: target 'a' must have a value in every "
        "row. Received: none. Try a value there, or dropping such rows."
    )


def test_targets(tmp_path: Path) -> None:
    table = opened(tmp_path, "a,b,c\n1,2.5,true\n3,4.5,false\n").read()
    one = roles.target_array(table, ["a"])
    assert one.dtype == np.int64 and one.tolist() == [1, 3]
    assert roles.target_array(table, ["a", "b"]).tolist() == [[1, 2.5], [3, 4.5]]
    assert roles.target_array(table, ["c"]).dtype == bool


def test_random_mutations(tmp_path: Path) -> None:
    """A file with changed bytes is read, the same at once and in chunks, or refused
    with a TableError; never with another error."""
    good = (MIXED.replace('"a, b"', '"a, ""b"') + '4,x,+2,true,"2020-01-01"\n').encode()
    random = np.random.default_rng(0)
    refused = 0
    for number in range(300):
        raw = bytearray(good)
        for position in random.integers(0, len(raw), random.integers(1, 4)):
            raw[position] = random.choice(list(b'",;\n\r\t 0x.-e\xe9\xff\0'))
        path = write(tmp_path, bytes(raw), f"{number}.csv")
        message = ""
        try:
            whole = tables.read(path)
        except TableError as error:
            message = str(error)
        if message:
            refused += 1
            assert message.startswith(f"[read] {path}")
        else:
            assert whole.column_names
            if not any(pa.types.is_temporal(kind) for kind in whole.schema.types):
                parts = pa.concat_tables(tables.batches(path))
                assert parts.to_pydict() == whole.to_pydict()
    assert 30 < refused < 270


def test_a_parquet_file_in_chunks_is_not_kept(tmp_path: Path) -> None:
    """The bytes that were read do not stay in memory."""
    from pyarrow import parquet

    path = tmp_path / "d.parquet"
    numbers = np.random.default_rng(0).normal(size=200_000)
    table = pa.table({f"x{i}": numbers for i in range(10)})
    parquet.write_table(table, path, row_group_size=20_000, compression="none")
    tracemalloc.start()
    rows = sum(len(part) for part in tables.batches(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 200_000 and most < table.nbytes / 2
