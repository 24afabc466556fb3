"""How the command reads columns: categories that a model does not know, types that come
from the model, types that are refused, and exact copies."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click")
pa = pytest.importorskip("pyarrow", reason="the command reads with pyarrow")
pytest.importorskip("narwhals", reason="the command reads through narwhals")

import kurve  # noqa: E402
from kurve import tables  # noqa: E402
from kurve.tables import delimited  # noqa: E402
from tests.e2e.conftest import FAST, fitted  # noqa: E402

WAYS = ("--no-chunks", "--chunks")
QUICK = ("-q", "--epochs", "2", "--hidden", "4", "--solver", "adam")


def towns(rows: int = 100) -> list[str]:
    """Six of them occur once."""
    many = ["Rome"] * 40 + ["Oslo"] * 40 + ["Bonn"] * 14
    names = np.array([*many, "Lima", "Nice", "Cork", "Bern", "Kyiv", "Graz"])
    return list(np.random.default_rng(0).permutation(names))


def write(path: str, head: str, *columns: Any) -> None:
    rows = (",".join(map(str, row)) for row in zip(*columns, strict=True))
    Path(path).write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["y", "town"])
def test_what_only_held_out_rows_have(
    run: Any, monkeypatch: pytest.MonkeyPatch, way: str, target: str
) -> None:
    """A category or class of which all rows would be held out is trained on."""
    monkeypatch.setattr(delimited, "BLOCK", 500)
    write("towns.csv", "town,x,y", towns(), range(100), range(0, 200, 2))
    moved = 0
    for seed in range(5):
        done = run(
            "fit",
            "towns.csv",
            "-t",
            target,
            *QUICK[1:],
            way,
            "--holdout",
            "0.3",
            "--seed",
            str(seed),
        )
        assert done.code == 0, done.err
        found = kurve.estimators.load("towns.kurve")
        known = found.fitted_.columns.levels
        levels = known.get(0) if target == "y" else found.classes_
        assert sorted(levels) == sorted(set(towns()))
        moved += "with a category or class that no other row has: not held" in done.out
        first = next(line for line in done.out.splitlines() if "to train" in line)
        counts = [int(word) for word in first.split() if word.isdigit()]
        assert sum(counts[:2]) == 100 and counts[1] > 9
    assert moved >= 3


def test_rows_that_are_all_alone_are_not_held_out(run: Any) -> None:
    names = [f"t{i}" for i in range(30)]
    write("alone.csv", "town,y", names, range(30))
    done = run("fit", "alone.csv", "-t", "y", *QUICK[1:])
    assert done.code == 0, done.err
    assert "30 rows to train, 0 held out" in done.out
    assert "no rows held out; errors on the training data" in done.out


@pytest.mark.parametrize("way", WAYS)
def test_the_only_value_of_a_column_is_not_held_out(run: Any, way: str) -> None:
    cells = [7.5 if i == 5 else "" for i in range(30)]
    write("one.csv", "a,b,y", cells, range(30), range(30))
    for seed in range(4):
        done = run(
            "fit",
            "one.csv",
            "-t",
            "y",
            *QUICK,
            way,
            "--holdout",
            "0.5",
            "--missing",
            "impute",
            "--seed",
            str(seed),
        )
        assert done.code == 0, done.err


def test_a_test_file_with_other_categories(run: Any) -> None:
    write("towns.csv", "town,x,y", towns(), range(100), range(100))
    write("t.csv", "town,x,y", ["Rome", "Pisa", "Oslo", "Pisa"], range(4), range(4))
    for way in WAYS:
        done = run("fit", "towns.csv", "-t", "y", *QUICK[1:], way, "--test", "t.csv")
        assert done.code == 0, done.err
        assert "towns.csv: 100 rows to train, 4 held out," in done.out
        assert kurve.estimators.load("towns.kurve").fitted_.columns.width == 2
    write("t.csv", "town,x,y", ["Pisa"], [1], [1])
    done = run("fit", "towns.csv", "-t", "y", *QUICK, "--test", "t.csv")
    assert done.code == 0, done.err


WORD = (
    "kurve: new.csv, line 3: column 'city' holds 'Pisa', which was not in the training "
    "data. 2 such rows have "
)
AVERAGE = "been predicted with an average level.\n"


@pytest.mark.parametrize("way", WAYS)
def test_predicting_unknown_categories(
    run: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    fitted(run, "-q", "--missing", "impute")
    names = ["Rome", "Pisa", "Oslo", "", "Pisa", "Bern"]
    write("new.csv", "a,b,city,y", [1] * 6, [0] * 6, names, range(6))
    flags = ("--std", "--interval", "0.9", "--extrapolates", "--keep", "city,y")
    done = run("predict", "data.kurve", "new.csv", way, *flags)
    assert (done.code, done.err) == (0, WORD + AVERAGE)
    full = [line.split(",") for line in done.out.splitlines()[1:]]
    assert all(cell for line in full for cell in line[2:])
    assert [line[-1] for line in full] == [
        "true" if name == "Pisa" else "false" for name in names
    ]
    flags = (*flags, "--unknown", "empty")
    done = run("predict", "data.kurve", "new.csv", way, *flags)
    assert (done.code, done.err) == (0, WORD + "no prediction.\n")
    lines = [line.split(",") for line in done.out.splitlines()[1:]]
    assert [line[:2] for line in lines] == [
        [f'"{name}"' if name else "", str(i)] for i, name in enumerate(names)
    ]
    for i in (1, 4):
        assert lines[i][2:] == ["", "", "", "", "true"]
    model = kurve.estimators.load("data.kurve")
    others = [0, 2, 3, 5]
    frame = pa.table(
        {"a": [1.0] * 4, "b": [0.0] * 4, "city": ["Rome", "Oslo", None, "Bern"]}
    )
    found = [float(lines[i][2]) for i in others]
    np.testing.assert_array_equal(found, model.predict(frame))
    done = run(
        "predict", "data.kurve", "new.csv", way, "--unknown", "error", "-o", "p.csv"
    )
    assert done.code == 2 and not Path("p.csv").exists()
    assert done.err.startswith("kurve: [read] new.csv, line 3: column 'city' must hold")
    if way == "--chunks":
        monkeypatch.setattr(delimited, "BLOCK", 64)
        again = run("predict", "data.kurve", "new.csv", way, *flags)
        assert again.err == WORD + "no prediction.\n"
        assert [line.split(",") for line in again.out.splitlines()[1:]] == lines


def test_evaluating_unknown_categories(run: Any) -> None:
    fitted(run, "-q")
    names = ["Rome", "Pisa", "Oslo", "Pisa"]
    write("new.csv", "a,b,city,y", range(4), [0] * 4, names, range(4))
    done = run("evaluate", "data.kurve", "new.csv", "--json")
    assert (done.code, done.err) == (0, WORD + AVERAGE)
    assert json.loads(done.out)["y"]["rows"] == 4
    done = run("fit", "data.csv", "-t", "city", *FAST, "-q", "-o", "c.kurve")
    write("new.csv", "a,b,city,y", [1, 1], [0, 0], ["Romeo", "Rome"], [1, 1])
    found = json.loads(run("evaluate", "c.kurve", "new.csv", "--json").out)["city"]
    assert found["model"]["accuracy"]["value"] in (0.0, 0.5)  # Romeo is not Rome


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("levels", "new"),
    [
        (["007", "A1", "B2"], ["007"]),
        (["True", "x", "y"], ["True"]),
        (["2020-01-01", "x", "y"], ["2020-01-01"]),
        (["1e3", "x", "y"], ["1e3"]),
        (["10:30", "x", "y"], ["10:30"]),
        ([" a", "b", "c"], [" a"]),
    ],
)
def test_kinds_come_from_the_model(
    run: Any, way: str, levels: list[str], new: list[str]
) -> None:
    """Categories that look like numbers are read as the model has them, and in a test
    file as those of the training file."""
    cells = (levels * 20)[:60]
    write("k.csv", "code,x,y", cells, range(60), [len(c) for c in cells])
    write("n.csv", "code,x,y", new, [1], [1])
    done = run("fit", "k.csv", "-t", "y", *QUICK, way, "--test", "n.csv")
    assert (done.code, done.err) == (0, "")
    done = run("predict", "k.kurve", "n.csv", way, "--keep", "code")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1].startswith(f'"{new[0]}",')
    assert run("evaluate", "k.kurve", "n.csv").code == 0
    done = run("fit", "k.csv", "-t", "code", "-o", "c.kurve", *QUICK, way)
    assert done.code == 0, done.err
    found = json.loads(run("evaluate", "c.kurve", "n.csv", "--json").out)
    assert found["code"]["rows"] == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", ["x", "2020-01-01", "10:30", "1.5.1", "\u0661"])
def test_numbers_stay_numbers(run: Any, way: str, cell: str) -> None:
    """The error names the line, even if all cells are of the other type."""
    write("k.csv", "x,y", range(60), range(60))
    assert run("fit", "k.csv", "-t", "y", *QUICK).code == 0
    for rows in ([f'"{cell}"'], ["1", f'"{cell}"', f'"{cell}"']):
        write("n.csv", "x", rows)
        done = run("predict", "k.kurve", "n.csv", way)
        assert done.code == 2
        assert done.err == (
            f"kurve: [read] n.csv, line {len(rows) // 2 + 2}: column 'x' must hold "
            f"numbers, because it did in the training data. Received: '{cell}'. "
            "Try a number or an empty cell there.\n"
        )
    write("n.csv", "x", ["+1", "\u00a02", "3"])
    assert len(run("predict", "k.kurve", "n.csv", way).out.splitlines()) == 4


@pytest.mark.parametrize("way", WAYS)
def test_copies_are_exact(run: Any, way: str) -> None:
    ids = ["007", "12345678901234567890", "1", "00"]
    write(
        "n.csv",
        "a,id,n,t,b,city,y",
        [1.5, 2, 3, 4],
        ids,
        [10, -7, 0, 2**60],
        ["2020-01-01 10:00", "x", "y", "z"],
        ["true", "False", "true", "true"],
        ["Rome"] * 4,
        [1] * 4,
    )
    fitted(run, "-q", "--features", "a,city")
    done = run("predict", "data.kurve", "n.csv", way, "--keep", "id,n,a,t,b")
    assert (done.code, done.err) == (0, "")
    kept = [line.split(",")[:5] for line in done.out.splitlines()]
    assert kept == [
        ["id", "n", "a", "t", "b"],
        ['"007"', "10", "1.5", '"2020-01-01 10:00"', "true"],
        ['"12345678901234567890"', "-7", "2", '"x"', "false"],
        ['"1"', "0", "3", '"y"', "true"],
        ['"00"', str(2**60), "4", '"z"', "true"],
    ]


@pytest.mark.parametrize("flag", ["prediction", "std", "low", "high", "extrapolates"])
def test_a_copy_with_the_name_of_a_prediction(
    run: Any, tmp_path: Path, flag: str
) -> None:
    fitted(run, "-q", "--features", "a")
    write("n.csv", f"a,{flag}", [1], [2])
    words = ("predict", "data.kurve", "n.csv", "--keep", f"a,{flag}", "-o", "p.csv")
    done = run(*words, "--std", "--interval", "0.9", "--extrapolates")
    assert done.code == 2 and not Path("p.csv").exists()
    assert done.err == (
        "kurve predict: --keep must give each column of the output a different name. "
        f"Received: '{flag}', a name of the predictions. Try another name in "
        "n.csv.\n"
    )
    if flag != "prediction":  # a name that is not in this output
        assert run(*words).code == 0
        assert tables.read("p.csv").column_names == ["a", flag, "prediction"]
    done = run("predict", "data.kurve", "n.csv", "--keep", "a,a")
    assert done.code == 2 and "Received: 'a', twice." in done.err


def test_an_output_that_is_an_input(run: Any) -> None:
    fitted(run, "-q", "--features", "a,b")
    before = Path("data.csv").read_bytes()
    Path("link.csv").symlink_to("data.csv")
    for out in ("data.csv", "./data.csv", "link.csv"):
        done = run("predict", "data.kurve", "data.csv", "--out", out)
        assert done.code == 2 and Path("data.csv").read_bytes() == before
        assert done.err == (
            "kurve predict: --out must not be a file that is read. "
            f"Received: '{out}', which is 'data.csv'. Try another name.\n"
        )


@pytest.mark.parametrize("way", WAYS)
def test_types_that_a_model_cannot_use(run: Any, way: str) -> None:
    """Dates are features, but no targets; times are learned in seconds."""
    day = datetime.date(2020, 1, 1)
    odd = {
        "list": [[i] for i in range(60)],
        "struct": [{"a": i % 3} for i in range(60)],
        "date": [day.replace(day=1 + i % 9) for i in range(60)],
        "time": [datetime.time(i % 3) for i in range(60)],
        "span": [datetime.timedelta(days=i) for i in range(60)],
        "bytes": [b"x"] * 60,
    }
    columns = {"x": list(range(60)), **odd}
    with open("odd.feather", "wb") as file:
        writer = tables.writer(file, pa.table(columns).schema, "feather")
        writer.write_table(pa.table(columns))
        writer.close()
    for name in odd:
        for words, role in (
            (("-t", name, "--features", "x"), "target"),
            (("-t", f"x,{name}", "--features", "x"), "feature"),
            (("-t", "x", "--features", name), "feature"),
        ):
            done = run("fit", "odd.feather", *words, *QUICK, way)
            if name in ("date", "time", "span") and role == "feature":
                assert done.code == (2 if "," in words[1] else 0), done.err
                continue
            if name in ("time", "span") and words[1] == name:
                assert done.code == 0, done.err
                continue
            assert done.code == 2 and done.err.count("\n") == 1, done.err
            if "," not in words[1]:
                assert done.err.startswith(
                    f"kurve: [read] odd.feather: column '{name}' must hold numbers, "
                    "text" + (", dates" if role == "feature" else "")
                )
    done = run("fit", "odd.feather", "-t", "x", *QUICK, way)  # all in one message
    assert "columns 'list', 'struct', 'bytes' must hold" in done.err
    assert "Try --drop list,struct,bytes" in done.err


@pytest.mark.parametrize("way", WAYS)
def test_types_that_are_numbers_or_categories_after_all(run: Any, way: str) -> None:
    texts = ["ab"[i % 2] for i in range(60)]
    columns = {
        "decimal": pa.array(range(60)).cast(pa.decimal128(25, 2)),
        "half": pa.array(np.arange(60).astype("f2")),
        "large": pa.array([2**63 + i for i in range(60)], pa.uint64()),
        "view": pa.array(texts, pa.string_view()),
        "words": pa.array(texts, pa.large_string()),
        "category": pa.array(texts).dictionary_encode(),
        "numbered": pa.array([i % 3 * 1.5 for i in range(60)]).dictionary_encode(),
        "y": pa.array(range(60)),
    }
    with open("d.feather", "wb") as file:
        writer = tables.writer(file, pa.table(columns).schema, "feather")
        writer.write_table(pa.table(columns))
        writer.close()
    done = run("fit", "d.feather", "-t", "y", *QUICK, way)
    assert (done.code, done.err) == (0, "")
    done = run("predict", "d.kurve", "d.feather", way, "--keep", "large,category")
    assert done.code == 0, done.err
    assert done.out.splitlines()[2].startswith(f'{2**63 + 1},"b",')
    for name in ("decimal", "half", "view", "category", "numbered"):
        done = run("fit", "d.feather", "-t", name, "--features", "y", *QUICK, way)
        assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("way", WAYS)
def test_lines_are_those_of_the_file(
    run: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Even if earlier rows were left out, held out or read in an earlier chunk."""
    monkeypatch.setattr(delimited, "BLOCK", 100)
    for column, words in (("x", ["--missing", "drop"]), ("y", ["--missing", "impute"])):
        cells = ["" if i < 10 else "inf" if i == 40 else i for i in range(60)]
        other = range(60)
        write("m.csv", "x,y", *((cells, other) if column == "x" else (other, cells)))
        done = run("fit", "m.csv", "-t", "y", *QUICK, *words, way)
        assert done.code == 2
        assert done.err == (
            f"kurve: [read] m.csv, line 42: column '{column}' must hold finite "
            "numbers. Received: inf. Try dropping the row.\n"
        )
    write("g.csv", "x,y", range(60), range(60))
    assert run("fit", "g.csv", "-t", "y", *QUICK).code == 0
    write("m.csv", "x,y", cells[10:], range(50))
    for words in (
        ("predict", "g.kurve", "m.csv", way),
        ("evaluate", "g.kurve", "m.csv"),
    ):
        done = run(*words)
        assert done.code == 2
        assert done.err.startswith("kurve: [read] m.csv, line 32: column 'x' must hold")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "cells",
    [
        ["2020-01-01", "2020-01-02"],
        ["2020-01-01 10:00", "2020-01-02 10:00"],
        ["2020-01-01T10:00:00Z", "2020-01-02T10:00:00Z"],
    ],
)
def test_dates_are_features_and_no_targets(
    run: Any, way: str, cells: list[str]
) -> None:
    write("w.csv", "when,x,y", cells * 30, range(60), range(60))
    done = run("fit", "w.csv", "-t", "y", *QUICK[1:], way)
    assert done.code == 0, done.err
    assert "w.csv: column 'when' holds dates, " in done.out
    done = run("predict", "w.kurve", "w.csv", way)
    assert done.code == 0 and len(done.out.splitlines()) == 61, done.err
    done = run("fit", "w.csv", "-t", "when", *QUICK, way)
    assert done.code == 2
    assert done.err.startswith(
        "kurve: [read] w.csv: column 'when' must hold numbers, text or true and "
        "false to be a target. Received: "
    )


@pytest.mark.parametrize("what", ["fits", "fits_matrix"])
def test_too_large_for_the_memory(
    run: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """By the file's size, or by the number of inputs, which categories increase."""
    from kurve.cli import memory

    monkeypatch.setattr(memory, what, lambda *arguments: False)
    done = fitted(run, "--missing", "impute")
    said = "data.csv: too large to read at once: reading in chunks" in done.out
    assert said is (what == "fits_matrix")
    assert run("predict", "data.kurve", "data.csv").code == 0
    assert fitted(run, "--no-chunks").out.startswith("data.csv: 135 rows to train, 15")
