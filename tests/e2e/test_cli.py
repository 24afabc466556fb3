"""The command as users see it: outputs, exact messages, exit codes, and that nothing is
written after an error."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click")
pa = pytest.importorskip("pyarrow", reason="the command reads with pyarrow")
pytest.importorskip("narwhals", reason="the command reads through narwhals")

import kurve  # noqa: E402
from kurve import tables  # noqa: E402
from kurve.cli import main  # noqa: E402
from tests.e2e.conftest import (  # noqa: E402
    FAST,
    A,
    B,
    N,
    Y,
    files,
    fitted,
    process,
)


def test_from_data_to_predictions(run: Any, tmp_path: Path) -> None:
    done = fitted(run, "--out", "m.kurve", "--members", "2", "--seed", "3")
    assert re.match(
        r"data.csv: 135 rows to train, 15 held out, 3 features; read in [\d.]+ s\n"
        r"trained in [\d.]+ s\n"
        r"kept: 2 networks of Dense 8.*\n"
        r"y, 15 rows +model +straight line +mean\n  RMSE +[\d.]+ \([\d.]+ to [\d.]+\)",
        done.out,
    )
    assert done.out.endswith("model: m.kurve\n")
    assert re.findall(r"^epoch (\d)/4 - \d+s - loss: ", done.err, re.M) == list("1234")
    assert "\r" not in done.err and "\x1b" not in done.err

    flags = ("--std", "--interval", "0.8", "--extrapolates", "--keep", "city,y")
    done = run("predict", "m.kurve", "data.csv", *flags)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "city,y,prediction,std,low,high,extrapolates"
    assert len(lines) == N + 1
    model = kurve.estimators.load("m.kurve")
    frame = tables.read("data.csv", ["a", "b", "city"])
    mean, deviation = model.predict(frame, return_std=True)
    written = [line.split(",") for line in lines[1:]]
    assert written[0][0] == '"Rome"'
    np.testing.assert_allclose([float(w[2]) for w in written], mean)
    np.testing.assert_allclose([float(w[3]) for w in written], deviation)
    low, high = model.predict_interval(frame, coverage=0.8).T
    np.testing.assert_allclose([float(w[4]) for w in written], low)
    np.testing.assert_allclose([float(w[5]) for w in written], high)

    for name in ("p.csv", "p.tsv", "p.parquet", "p.feather"):
        assert run("predict", "m.kurve", "data.csv", "--out", name).code == 0
        found = tables.read(name)
        assert found.column_names == ["prediction"]
        np.testing.assert_allclose(found["prediction"].to_numpy(), mean)

    done = run("evaluate", "m.kurve", "data.csv", "--json")
    found = json.loads(done.out)["y"]
    assert found["rows"] == N
    rmse = np.sqrt(np.mean((mean - Y) ** 2))
    np.testing.assert_allclose(found["model"]["RMSE"]["value"], rmse, rtol=1e-6)
    assert found["model"]["RMSE"]["low"] < rmse < found["model"]["RMSE"]["high"]
    assert "R²" in run("evaluate", "m.kurve", "data.csv").out

    done = run("inspect", "m.kurve")
    for part in (
        "m.kurve: Regressor",
        "target     y",
        "a, b",
        "city: Bern, Oslo, Rome",
        "Dense 8 silu -> Dense 2",
        "in each of 2 networks",
        "inputs, targets",
        "max_epochs=4",
    ):
        assert part in done.out
    assert "verified" in run("inspect", "m.kurve", "--verify").out
    found = json.loads(run("inspect", "m.kurve", "--json").out)
    assert found["layers"] == ["Dense 8 silu", "Dense 2"]
    assert found["weights"] == model.models_[0].count_params()
    assert files(tmp_path) == [
        "data.csv",
        "m.kurve",
        "p.csv",
        "p.feather",
        "p.parquet",
        "p.tsv",
    ]


def test_the_same_command_gives_the_same_model(run: Any) -> None:
    raw = []
    for _ in range(2):
        fitted(run, "--out", "m.kurve", "--quiet")
        raw.append(Path("m.kurve").read_bytes())
    assert raw[0] == raw[1]


def test_export(run: Any, tmp_path: Path) -> None:
    fitted(run, "--quiet", "--features", "a,b")
    network = kurve.Sequential([kurve.layers.Dense(1, input_shape=(2,))])
    network.save("network.kurve")
    for model in ("data.kurve", "network.kurve"):
        done = run("export", model, "out.c")
        assert (done.code, done.out, done.err) == (0, "", "")
        assert "void out_predict(" in (tmp_path / "out.c").read_text()
    if importlib.util.find_spec("onnx"):
        assert run("export", "data.kurve", "out.onnx").code == 0
        assert b"Kurve" in (tmp_path / "out.onnx").read_bytes()
    assert run("export", "network.kurve", "network.plan.kurve").code == 0
    shown = run("inspect", "network.plan.kurve")
    assert "inputs     input (2)\n" in shown.out and "weights    3\n" in shown.out
    before = files(tmp_path)
    fitted(run, "--quiet", "--out", "text.kurve")
    for words, message in (
        (
            ("network.kurve", "out.h"),
            "kurve export: OUT must end in .onnx or .c or .plan.kurve. Received: "
            "'out.h'. Try 'out.on",
        ),
        (("network.kurve", "no/out.c"), "kurve export: OUT must be in an existing"),
        (
            ("data.kurve", "out.plan.kurve"),
            "kurve: [export] only a model can be written as a plan, because the work",
        ),
        (("data.csv", "o.c"), "kurve: [load] 'data.csv' is a text file, not a Kurve"),
    ):
        done = run("export", *words)
        assert done.code == 2 and done.err.startswith(message), (words, done.err)
    assert files(tmp_path) == sorted([*before, "text.kurve"])
    assert run("export", "text.kurve", "text.c").code == 0
    assert "texts[0]  city, category" in (tmp_path / "text.c").read_text()


def test_quiet(run: Any, tmp_path: Path) -> None:
    done = fitted(run, "--quiet")
    assert (done.out, done.err) == ("", "")
    assert files(tmp_path) == ["data.csv", "data.kurve"]


def test_report(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    done = fitted(run, "--report", "r.html", "--coverage", "0.8")
    assert done.out.endswith("model: data.kurve\nreport: r.html\n")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    for part in (
        "Function for",
        "in 80% interval",
        "load(&#39;data.kurve&#39;)",
        "What it relies on",
        "Dense 8 silu",
    ):
        assert part in text


def test_classes(run: Any, tmp_path: Path) -> None:
    done = run("fit", "data.csv", "-t", "city", *FAST, "--out", "m.kurve")
    assert done.code == 0, done.err
    assert "3 features, 3 classes; read in" in done.out
    assert "largest class" in done.out and "log loss" in done.out
    done = run("predict", "m.kurve", "data.csv", "--probabilities")
    lines = done.out.splitlines()
    assert lines[0].startswith("prediction,probability_Bern,probability_Oslo,")
    for line in lines[1:5]:
        name, *cells = line.split(",")
        p = list(map(float, cells))
        assert name == ['"Bern"', '"Oslo"', '"Rome"'][int(np.argmax(p))]
        np.testing.assert_allclose(sum(p), 1.0, rtol=1e-6)
    assert json.loads(run("evaluate", "m.kurve", "data.csv", "--json").out)["city"]
    assert "classes    Bern, Oslo, Rome" in run("inspect", "m.kurve").out
    for option in ("--std", "--interval=0.9"):
        wrong = run("predict", "m.kurve", "data.csv", option)
        assert wrong.code == 2
        assert "predicts classes, which have no --" in wrong.err


def test_number_classes(run: Any) -> None:
    lines = ["a,k"] + [f"{a},{int(a > 5)}" for a in A]
    Path("k.csv").write_text("\n".join(lines))
    assert run("fit", "k.csv", "-t", "k", "--classify", *FAST).code == 0
    out = run("predict", "k.kurve", "k.csv").out.splitlines()
    assert set(out[1:]) <= {"0", "1"}


def test_several_targets(run: Any) -> None:
    assert run("fit", "data.csv", "-t", "y,b", "--features", "a", *FAST).code == 0
    out = run("predict", "data.kurve", "data.csv", "--std").out
    assert out.startswith("prediction_y,std_y,prediction_b,std_b\n")
    found = json.loads(run("evaluate", "data.kurve", "data.csv", "--json").out)
    assert list(found) == ["y", "b"]


def test_standard_input(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Given:
        buffer = io.BytesIO(Path("data.csv").read_bytes())

    monkeypatch.setattr(sys, "stdin", Given)
    words = ("--target", "y", *FAST)
    wrong = run("fit", "-", *words)
    assert wrong.code == 2
    assert wrong.err == "kurve fit: standard input needs --format. Try --format csv.\n"
    done = run("fit", "-", "--format", "csv", *words)
    assert done.code == 0
    assert done.out.endswith("model: model.kurve\n")


def test_ways_to_read(run: Any) -> None:
    text = "a;y\n" + "".join(f"{a:.3f};{y:.3f}\n" for a, y in zip(A, Y, strict=True))
    Path("d.csv").write_text(text.replace(".", ",") + "-;1\n")
    done = run(
        "fit",
        "d.csv",
        "-t",
        "y",
        "--decimal",
        ",",
        "--missing-value",
        "-",
        "--missing",
        "drop",
        *FAST,
    )
    assert done.code == 0, done.err
    assert "left out 1 row with missing values" in done.out
    Path("n.csv").write_text("".join(f"{a},{y}\n" for a, y in zip(A, Y, strict=True)))
    assert run("fit", "n.csv", "-t", "x2", "--no-header", *FAST).code == 0
    assert run("predict", "n.kurve", "n.csv", "--no-header").code == 0


def test_missing_values(run: Any) -> None:
    lines = Path("data.csv").read_text().splitlines()
    lines[3] = ",0.5,Rome,1"
    lines[5] = "1,NA,,2"
    lines[7] = "1,0.5,Rome,"
    Path("gaps.csv").write_text("\n".join(lines))
    words = ("fit", "gaps.csv", "-t", "y", *FAST)
    assert "left out 3 rows with missing values" in run(*words, "--missing", "drop").out
    done = run(*words, "--missing", "impute")
    assert "left out 1 row without a target" in done.out
    assert "149" not in done.out and "134 rows to train, 15 held out" in done.out
    assert run("predict", "gaps.kurve", "gaps.csv").code == 0


def test_the_last_rows_and_groups_are_held_out(run: Any) -> None:
    days = [f"2020-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(100)]
    rows = [f"{d},p{i % 10},{i},{i * 2.5}" for i, d in enumerate(days)]
    Path("d.csv").write_text("\n".join(["day,patient,x,y", *rows]))
    for way in ("--no-chunks", "--chunks"):
        done = run("fit", "d.csv", "-t", "y", *FAST, way, "--holdout", "last:0.2")
        assert done.code == 0, done.err
        assert "80 rows to train, 20 held out" in done.out
        (dates,) = kurve.estimators.load("d.kurve").fitted_.columns.dates.values()
        assert dates.last < 86400 * (18262 + 31 + 29 + 31)  # before April
        words = ("--groups", "patient", "--holdout", "0.4")
        done = run("fit", "d.csv", "-t", "y", *FAST, way, *words)
        held = int(re.search(r"(\d+) held out", done.out)[1])  # type: ignore[index]
        assert held % 10 == 0 and 0 < held < 100
        names = kurve.estimators.load("d.kurve").fitted_.columns.names
        assert names == ["day", "x"]
    assert "--holdout last" in run("fit", "d.csv", "-t", "y", *FAST).out
    done = run("fit", "d.csv", "-t", "y", "--holdout", "first")
    assert done.code == 2 and "Try 0.1, last or last:0.2" in done.err


def test_two_numbers_are_classes(run: Any) -> None:
    rows = [f"{i},{int(i > 49)}" for i in range(100)]
    Path("d.csv").write_text("\n".join(["x,y", *rows]))
    done = run("fit", "d.csv", "-t", "y", *FAST)
    assert "'y' holds only 0 and 1, so it is learned as two classes" in done.out
    assert "AUC" in done.out and "balanced accuracy" in done.out
    assert hasattr(kurve.estimators.load("d.kurve"), "classes_")
    assert "RMSE" in run("fit", "d.csv", "-t", "y", *FAST, "--regress").out


def test_findings_speak_of_the_table(run: Any) -> None:
    text = Path("data.csv").read_text().splitlines()
    rows = [f"{line},{2 * float(line.split(',')[3]) + 1}" for line in text[1:]]
    Path("leak.csv").write_text("\n".join([text[0] + ",leak", *rows]))
    done = run("fit", "leak.csv", "-t", "y", *FAST)
    assert "serious: leak is the target in another form" in done.out
    assert "Try --drop leak." in done.out
    assert "serious" not in run("fit", "leak.csv", "-t", "y", *FAST, "-q").out


def test_own_test_file(run: Any) -> None:
    lines = Path("data.csv").read_text().splitlines()
    Path("t.csv").write_text("\n".join([lines[0], *lines[1:21]]))
    done = fitted(run, "--test", "t.csv")
    assert "150 rows to train, 20 held out" in done.out
    done = fitted(run, "--holdout", "0")
    assert "150 rows to train, 0 held out" in done.out
    assert "errors on the training data" in done.out


def test_chunks_keep_few_rows(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept for testing and the report does not grow with the file."""
    from kurve.cli import splitting
    from kurve.tables import delimited

    monkeypatch.setattr(delimited, "BLOCK", 2000)
    monkeypatch.setattr(splitting, "REPORT_ROWS", 40)
    rows = [f"p{i % 20},{i % 31},{i % 31 * 2.5}" for i in range(2000)]
    Path("d.csv").write_text("\n".join(["shop,x,y", *rows]))
    for words in ((), ("--groups", "shop", "--holdout", "0.4")):
        done = run("fit", "d.csv", "-t", "y", *FAST, "--chunks", *words)
        assert done.code == 0, done.err
        train, held = (
            int(text.replace(",", ""))
            for text in re.findall(r"([\d,]+) rows to train, (\d+) held", done.out)[0]
        )
        assert 10 < held < 80 and train > (1000 if words else 1900)


def test_in_chunks(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than a chunk holds; rows are counted and held out chunk by chunk."""
    from kurve.tables import delimited

    monkeypatch.setattr(delimited, "BLOCK", 2000)
    done = fitted(run, "--chunks", "--holdout", "0.2")
    train, test = map(
        int, re.findall(r"(\d+) rows to train, (\d+) held out", done.out)[0]
    )
    assert train + test == N and 15 < test < 45
    whole = run("predict", "data.kurve", "data.csv", "--std", "--no-chunks")
    parts = run("predict", "data.kurve", "data.csv", "--std", "--chunks")
    assert (whole.code, parts.code) == (0, 0)
    assert parts.out == whole.out
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    assert fitted(run, "--chunks", "--report", "r.html").code == 0


GOOD = "a,y\n" + "1,2\n2,3\n" * 10
HEAD = "kurve: [read] d.csv"

WRONG: dict[str, tuple[str | bytes, list[str], str]] = {
    "no such column": (
        GOOD,
        ["-t", "Yy"],
        f"{HEAD}: there must be a column for the target. Received: 'Yy'. Did you mean "
        "'y'? Try one of: a, y.",
    ),
    "no such feature": (
        GOOD,
        ["-t", "y", "--features", "b"],
        f"{HEAD}: there must be a column for the feature. Received: 'b'. "
        "Try one of: a, y.",
    ),
    "text in the target": (
        GOOD + "1,oops\n",
        ["-t", "y"],
        f"{HEAD}, line 22: column 'y' must hold numbers, because most of its cells do. "
        "Received: 'oops'. Try a number or an empty cell there.",
    ),
    "empty": (
        "",
        ["-t", "y"],
        f"{HEAD}: the file must not be empty. Received: 0 bytes. Try a header line.",
    ),
    "header only": (
        "a,y\n",
        ["-t", "y"],
        f"{HEAD}: there must be rows below the header. Received: a header only. "
        "Try a file with data.",
    ),
    "ragged": (
        GOOD + "1,2,3\n",
        ["-t", "y"],
        f"{HEAD}, line 22: each line must have 2 columns, as the first has. Received: "
        "3 columns. Try quotes around cells that hold the delimiter ',', or the "
        "missing cells.",
    ),
    "mixed encodings": (
        "a,n,y\n" + "1,ö,2\n" * 4 + "#",
        ["-t", "y"],
        f"{HEAD}, line 6: all text must be utf-8. Received: byte 0xf6 at offset 36. "
        'Try one encoding for the whole file, or encoding "latin-1".',
    ),
    "no target at all": (
        "a,y\n1,\n2,NA\n",
        ["-t", "y"],
        f"{HEAD}: there must be rows with a target. Received: 'y' missing in all 2 "
        "rows. Try another target.",
    ),
    "target missing in some rows": (
        GOOD + "1,\n2,\n",
        ["-t", "y", "--missing", "error"],
        f"{HEAD}, line 22: target 'y' must have a value in every row. Received: none "
        "(2 such rows in total). Try a value there, or dropping such rows: "
        "--missing drop.",
    ),
    "feature missing in a row": (
        GOOD + ",4\n",
        ["-t", "y", "--missing", "error"],
        f"{HEAD}, line 22: feature 'a' must have a value in every row. Received: none. "
        "Try a value there, or filling in or dropping such rows: --missing impute, "
        "--missing drop.",
    ),
    "dates": (
        "a,y\n2020-01-01,1\n2020-01-02,2\n",
        ["-t", "a"],
        f"{HEAD}: column 'a' must hold numbers, text or true and false to be a "
        "target. Received: date32[day]. Try another target, or a column of the days "
        "since a date.",
    ),
    "fractions as classes": (
        "a,y\n" + "1,1.5\n2,2.5\n" * 10,
        ["-t", "y", "--classify"],
        f"{HEAD}: column 'y' must hold whole numbers or text to be classes. "
        "Received: 1.5. Try leaving out --classify.",
    ),
    "one class": (
        "a,y\n" + "1,x\n2,x\n" * 10,
        ["-t", "y"],
        f"{HEAD}: column 'y' must hold at least 2 different values to be classes. "
        "Received: 1. Try another target.",
    ),
    "two targets of text": (
        "a,y,z\n" + "1,x,u\n2,w,v\n" * 10,
        ["-t", "y,z"],
        "kurve fit: there can be only one column of classes. Received: y, z. "
        "Try --target y.",
    ),
    "wrong ending": (
        GOOD,
        ["-t", "y", "--out", "m.h5"],
        "kurve fit: --out must end in .kurve. Received: 'm.h5'. Try 'm.kurve'.",
    ),
    "no such folder": (
        GOOD,
        ["-t", "y", "--report", "no/r.html"],
        "kurve fit: --report must be in an existing folder. Received: "
        "'no/r.html'. Try mkdir -p 'FOLDER/no'.",
    ),
    "share": (
        GOOD,
        ["-t", "y", "--coverage", "90"],
        "kurve fit: Invalid value for '--coverage': 90.0 is not between 0 and 1. "
        "Try 0.9.",
    ),
    "widths": (
        GOOD,
        ["-t", "y", "--hidden", "64,many"],
        "kurve fit: Invalid value for '--hidden': '64,many' is not a list of widths. "
        "Try 64,64.",
    ),
    "solver": (
        GOOD,
        ["-t", "y", "--solver", "adm"],
        "kurve: [Regressor] unknown solver. Received: 'adm'. Did you mean 'adam'? "
        "Known: ",
    ),
    "no target option": (
        GOOD,
        [],
        "kurve fit: Missing option '--target' / '-t'.",
    ),
    "unknown option": (
        GOOD,
        ["-t", "y", "--epoch", "3"],
        "kurve fit: No such option",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(run: Any, tmp_path: Path, case: str) -> None:
    """One complete line, exit code 2, and no new file; read at once and in chunks."""
    text, words, message = WRONG[case]
    raw = text.encode() if isinstance(text, str) else text
    Path("d.csv").write_bytes(raw.replace(b"#", "1,ö,2\n".encode("latin-1")))
    before = files(tmp_path)
    for way in ("--no-chunks", "--chunks"):
        done = run("fit", "d.csv", *FAST, *words, way)
        if case == "dates" and way == "--chunks":
            continue  # dates are text there
        assert done.code == 2, done.err
        shown = done.err.replace(str(tmp_path), "FOLDER")
        assert shown.startswith(message), shown
        if message.endswith((".", "?", "'-t'")):
            assert shown == message + "\n"
        assert shown.count("\n") == 1
        assert "model:" not in done.out
        assert files(tmp_path) == before


def test_wrong_files(run: Any, tmp_path: Path) -> None:
    fitted(run, "--quiet", "--missing", "error")
    before = files(tmp_path)
    Path("other.csv").write_text("a,b\n1,2\n")
    Path("town.csv").write_text("a,b,city\n1,2,Paris\n")
    Path("text.csv").write_text("a,b,city\nx,2,Rome\n")
    Path("gap.csv").write_text("a,b,city,y\n1,2,Rome,1\n1,,Rome,2\n")
    Path("bad.kurve").write_bytes(Path("data.kurve").read_bytes()[:-5])
    for words, message in (
        (
            ("fit", "date.csv", "-t", "y"),
            "kurve: [read] the file must exist and be readable. Received: 'date.csv' "
            "(No such file or directory). Did you mean 'data.csv'?",
        ),
        (
            ("fit", "data.json", "-t", "y"),
            "kurve: [read] the file must exist and be readable. Received: 'data.json'",
        ),
        (
            ("predict", "no.kurve", "data.csv"),
            "kurve: No such file or directory: 'no.kurve'",
        ),
        (("inspect", "no.kurve"), "kurve: No such file or directory: 'no.kurve'"),
        (
            ("inspect", "data.csv"),
            "kurve: [load] 'data.csv' is a text file, not a Kurve file. Try a "
            "file written by `kurve fit` or `save`.",
        ),
        (
            ("predict", "data.csv", "data.csv"),
            "kurve: [load] 'data.csv' is a text file, not a Kurve file. Try a",
        ),
        (("inspect", "bad.kurve"), "kurve: [load] 'bad.kurve' is corrupt or not a"),
        (
            ("predict", "bad.kurve", "data.csv"),
            "kurve: [load] 'bad.kurve' is corrupt",
        ),
        (
            ("predict", "data.kurve", "other.csv", "-o", "p.csv"),
            "kurve: [read] other.csv: there must be a column for the feature. "
            "Received: 'city'. Try one of: a, b.",
        ),
        (
            (
                "predict",
                "data.kurve",
                "town.csv",
                "-o",
                "p.csv",
                "--unknown",
                "error",
            ),
            "kurve: [read] town.csv, line 2: column 'city' must hold levels that were "
            "in the training data. Received: 'Paris' (1 such row in total). "
            "Known: 'Bern', ",
        ),
        (
            ("predict", "data.kurve", "text.csv", "-o", "p.csv"),
            "kurve: [read] text.csv, line 2: column 'a' must hold numbers, because it "
            "did in the training data. Received: 'x'. Try a number or an empty cell "
            "there.",
        ),
        (
            ("predict", "data.kurve", "gap.csv", "-o", "p.csv"),
            "kurve: [read] gap.csv, line 3: feature 'b' must have a value in every "
            "row. Received: none. Try a value there, or dropping such rows.",
        ),
        (
            ("evaluate", "data.kurve", "gap.csv"),
            "kurve: [read] gap.csv, line 3: feature 'b' must have a value in every "
            "row.",
        ),
        (
            ("predict", "data.kurve", "data.csv", "-o", "p.json"),
            "kurve predict: --out must end in .csv or .tsv or .parquet or .feather.",
        ),
        (
            ("evaluate", "data.kurve", "town.csv"),
            "kurve: [read] town.csv: there must be a column for the target. Received",
        ),
        (("demo", "cosine"), "kurve demo: Invalid value for"),
        (("fitt",), "kurve: No such command 'fitt'."),
    ):
        done = run(*words)
        assert done.code == 2, (words, done.err)
        assert done.err.startswith(message), (words, done.err)
        assert done.err.count("\n") == 1 and done.out == ""
    extra = {"bad.kurve", "gap.csv", "other.csv", "text.csv", "town.csv"}
    assert set(files(tmp_path)) == {*before, *extra}


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_files_of_keras(run: Any, name: str) -> None:
    """One line that says what the file is and how to read it."""
    pytest.importorskip("h5py")
    kurve.Sequential([kurve.layers.Dense(1, input_shape=(2,))]).save(name)
    format = "zip" if name == "m.keras" else "HDF5"
    for words in (("inspect", name), ("predict", name, "data.csv")):
        done = run(*words)
        assert (done.code, done.out) == (2, "")
        assert re.fullmatch(
            rf"kurve: \[load\] '{name}' is an? {format} file, such as a \.\w+ file, "
            r"not a Kurve file\. Try kurve\.models\.load_model\(path\) in Py.+\.\n",
            done.err,
        )


def test_a_write_that_fails_leaves_the_old_file(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(run, "--quiet")
    old = Path("data.kurve").read_bytes()
    Path("p.csv").write_text("old")

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        done = run("fit", "data.csv", "-t", "y", *FAST, "--seed", "5")
        assert (done.code, done.err.splitlines()[-1]) == (
            2,
            "kurve: No space left on device: 'data.kurve'",
        )
        assert run("predict", "data.kurve", "data.csv", "-o", "p.csv").code == 2
    assert Path("data.kurve").read_bytes() == old
    assert Path("p.csv").read_text() == "old"
    assert files(tmp_path) == ["data.csv", "data.kurve", "p.csv"]


def test_internal_errors(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    from kurve.cli import inspecting

    monkeypatch.setattr(inspecting, "facts", lambda path: 1 / 0)
    done = run("inspect", "data.kurve")
    assert (done.code, done.out, done.err) == (
        1,
        "",
        "kurve: internal error, ZeroDivisionError: division by zero. Try "
        "KURVE_TRACEBACK=1 to see where it happened.\n",
    )
    monkeypatch.setenv("KURVE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):  # Python then ends with code 1
        main(["inspect", "data.kurve"])


def test_the_how_to(run: Any, tmp_path: Path) -> None:
    """All commands of the page, in order, except the demo."""
    page = (Path(__file__).parents[2] / "docs" / "how-to.md").read_text()
    section = page.partition("## From the command line")[2].partition("\n## ")[0]
    commands = re.findall(r"^kurve (?:fit|predict|evaluate|inspect) .+$", section, re.M)
    assert len(commands) > 10
    tables = re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S)
    exec(tables[0], {"np": np})
    head, *rows = Path("rents.csv").read_text().splitlines()
    size, age = A[:60], np.round(10 * np.abs(B[:60]))
    numbers = [f"{s:.2f};{a}" for s, a in zip(size, age, strict=True)]
    text = "\n".join(["x;y", *numbers, "?;1"])
    Path("semicolons.csv").write_text(text.replace(".", ","))
    Path("latin.csv").write_text(
        "\n".join(["gr\xf6\xdfe,y", *(n.replace(";", ",") for n in numbers)]), "latin-1"
    )
    Path("bare.csv").write_text("\n".join(f"1{n};2{n}" for n in numbers))
    for command in commands:
        words = command.split()[1:]
        if words[0] == "fit" and "--epochs" not in words:
            words += ["--epochs", "2"]
        done = run(*words)
        assert done.code == 0, (command, done.err)
    made = {"rents.kurve", "rents.html", "predictions.csv", "small.kurve"}
    assert made <= set(files(tmp_path))
    message = section.partition("```text\n")[2].partition("```")[0]
    Path("rents.csv").write_text("\n".join([head, *rows[:15], "1,80,2,gas,80 to 85"]))
    done = run("fit", "rents.csv", "--target", "rent")
    assert done.err == " ".join(message.split()) + "\n"


def test_without_click(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        'kurve: the command needs click. Try pip install "kurve[cli]".\n'
    )


def test_without_pyarrow(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = run("fit", "data.csv", "-t", "y")
    assert done.code == 2
    assert "not installed" in done.err and 'Try pip install "kurve[data]"' in done.err


def test_help(run: Any) -> None:
    out = run("--help").out
    for name in (
        "fit",
        "predict",
        "evaluate",
        "inspect",
        "export",
        "demo",
        "Exit codes",
    ):
        assert name in out
    assert "Commands:" in (alone := run()).err and alone.code == 2
    assert run("--version").out == f"kurve {kurve.__version__}\n"
    for option in ("--target", "--features", "--report", "--coverage", "--missing"):
        assert option in run("fit", "--help").out


def test_progress_on_a_terminal() -> None:
    """One bar, redrawn in place, with the loss and the remaining time."""
    from kurve.cli.progress import EpochProgress

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    stream = Terminal()
    progress = EpochProgress(stream)
    for done in range(1, 6):
        progress(done, 50, {"loss": 1 / done})
        progress(done - 1, 50, {"loss": 9.0})  # a member that is behind
        time.sleep(0.05)
    progress.close()
    text = stream.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n")
    assert "\r" in text and "5/5" in text and "9.0" not in text
    assert re.search(r"/50.* \d+s .*loss: ", text)


# Real processes


def test_pipes(run: Any, tmp_path: Path) -> None:
    """stdin to stdout, and a reader that closes the pipe."""
    fitted(run, "--quiet")
    child = process(
        "predict", "data.kurve", "-", "--format", "csv", stdin=subprocess.PIPE
    )
    out, err = child.communicate(Path("data.csv").read_bytes(), timeout=60)
    assert (child.returncode, err) == (0, b"")
    assert len(out.splitlines()) == N + 1
    head, *rows = Path("data.csv").read_text().splitlines()
    Path("long.csv").write_text("\n".join([head, *rows * 200]))
    child = process("predict", "data.kurve", "long.csv")
    assert child.stdout is not None
    assert child.stdout.readline() == b"prediction\n"
    child.stdout.close()
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_interrupt(run: Any, tmp_path: Path) -> None:
    """Ctrl-C during training: code 130, one line, no file."""
    child = process(
        "fit",
        "data.csv",
        "-t",
        "y",
        "--epochs",
        "1000000",
        "--hidden",
        "64",
        "--solver",
        "adam",
        "--report",
        "r.html",
    )
    assert child.stdout is not None
    assert b"rows to train" in child.stdout.readline()
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert err.decode().splitlines()[-1] == "kurve: stopped."
    assert b"Traceback" not in err
    assert files(tmp_path) == ["data.csv"]


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    child = process("demo", "sine", "--out", "there", cwd=tmp_path)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    rows = re.findall(
        r"^(.+?) {2,}([\d.e+-]+) +([\d.e+-]+) +[\d.]+s$", out.decode(), re.M
    )
    errors = {name: (float(near), float(far)) for name, near, far in rows}
    assert list(errors) == [
        "raw x, 10 epochs of 10 steps",
        "raw x, 30 epochs of 30 steps",
        "kurve.Regressor()",
    ]
    assert errors["raw x, 10 epochs of 10 steps"][1] > 0.2
    assert max(errors["kurve.Regressor()"]) < 1e-3
    assert files(tmp_path / "there") == [
        "report.html",
        "sine.csv",
        "sine.kurve",
        "sine.png",
    ]
    assert (tmp_path / "there" / "sine.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("way", ["plain", "groups", "last", "classes"])
def test_cross_validation(run: Any, tmp_path: Path, way: str) -> None:
    """Each fold's scores are those of a model that was trained on other rows."""
    options = {
        "groups": ["--groups", "city"],
        "last": ["--holdout", "last:0.2"],
        "classes": [],
        "plain": ["--report", "r.html"],
    }[way]
    target = "city" if way == "classes" else "y"
    words = ["data.csv", "--target", target, *FAST, *options]
    done = run("fit", *words, "--cv", "3")
    assert done.code == 0, done.err
    score = "accuracy" if way == "classes" else "RMSE"
    line = next(
        line
        for line in done.out.split("3 folds")[1].splitlines()
        if line.strip().startswith(score)
    )
    mean, deviation, *each = map(float, line.split()[1:])
    assert len(each) == 3
    assert mean == pytest.approx(np.mean(each), rel=0.01)
    assert deviation == pytest.approx(np.std(each, ddof=1), rel=0.1, abs=1e-3)
    if way == "plain":
        page = (tmp_path / "r.html").read_text()
        assert "kurve fit data.csv --target y" in page and "--cv 3" in page
        assert kurve.__version__ in page


def test_cross_validation_in_chunks(run: Any) -> None:
    done = run("fit", "data.csv", "-t", "y", *FAST, "--cv", "3", "--chunks")
    assert done.code == 2
    assert "--cv needs all rows in memory. Try --no-chunks." in done.err


def test_folds() -> None:
    from kurve.cli.validating import folds

    y = np.array(["a"] * 80 + ["b"] * 20)
    groups = np.arange(100) // 5
    for classes, names, last in (
        (True, None, False),
        (False, groups, False),
        (False, None, True),
    ):
        tested = []
        for train, test in folds(y, 4, 0, classes, names, last):
            assert not set(train) & set(test)
            tested += test.tolist()
            if classes:
                assert (y[test] == "b").sum() == 5
            if names is not None:
                assert not set(names[train]) & set(names[test])
            if last:
                assert train.max() < test.min()
        assert len(tested) == len(set(tested)) == (80 if last else 100)


def test_a_report_predicts_each_row_once(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The held-out rows go through the networks once for scores, intervals, residuals
    and coverage; importance and dependence change columns, so they need their own."""
    from kurve.estimators import fitted as module
    from kurve.report import sections

    monkeypatch.setattr(sections, "importance", lambda context: [])
    passes: list[int] = []
    outputs = module.Fitted.outputs

    def counted(self: Any, z: np.ndarray) -> np.ndarray:
        passes.append(len(z))
        return outputs(self, z)

    monkeypatch.setattr(module.Fitted, "outputs", counted)
    fitted(run, "--report", "r.html", "--quiet")
    held_out = N // 10
    assert passes.count(held_out) == 1
