"""A trained model is on the disk whatever happens afterwards; the command works with
streams that are closed, full or no longer read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click", reason="the command needs click")
pytest.importorskip("pyarrow", reason="the command reads with pyarrow")
pytest.importorskip("narwhals", reason="the command reads through narwhals")

import kurve
from tests.e2e.conftest import FAST, files, fitted

FIT = ("fit", "data.csv", "-t", "y", *FAST)
posix = pytest.mark.skipif(os.name != "posix", reason="a shell and signals")


def assessed(path: str = "data.kurve") -> bool | None:
    """The entry in the file, which must be intact."""
    kurve.estimators.load(path)
    return kurve.saving.read_header(path)[0].get("assessed")


def shell(line: str) -> tuple[int, str, str]:
    """A line of bash with `kurve` in it: status, standard output and errors."""
    root = os.path.dirname(os.path.dirname(kurve.__file__))
    command = f"{sys.executable} -W error -m kurve"
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; kurve() {{ {command} "$@"; }}; {line}'],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        timeout=120,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            ZeroDivisionError("no"),
            1,
            "kurve: internal error, ZeroDivisionError: no. The trained model is in "
            "'data.kurve'. Try KURVE_TRACEBACK=1 to see where it happened.",
        ),
        (
            ValueError("[predict] rule. Received: it. Try not."),
            2,
            "kurve: [predict] rule. Received: it. Try not. The trained model is in "
            "'data.kurve'.",
        ),
        (
            OSError(28, "No space left on device", "r.html"),
            2,
            "kurve: No space left on device: 'r.html'. The trained model is in "
            "'data.kurve'.",
        ),
        (
            MemoryError(),
            2,
            "kurve: there is not enough memory. Try --chunks, or fewer "
            "rows. The trained model is in 'data.kurve'.",
        ),
        (
            KeyboardInterrupt(),
            130,
            "kurve: stopped. The trained model is in 'data.kurve'.",
        ),
    ],
    ids=["fault", "user's", "disk", "memory", "Ctrl-C"],
)
def test_an_assessment_that_fails(
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    message: str,
) -> None:
    from kurve.cli import fitting

    def fail(*arguments: Any) -> None:
        assert assessed() is False
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "assess_predictions", fail)
        done = run(*FIT, "-q")
    assert (done.code, done.out) == (code, "")
    assert done.err.strip() == message
    assert assessed() is False
    assert "assessed   no" in run("inspect", "data.kurve").out
    assert json.loads(run("inspect", "data.kurve", "--json").out)["assessed"] is False
    assert run("predict", "data.kurve", "data.csv").code == 0
    fitted(run, "-q", "--out", "again.kurve")
    assert assessed("again.kurve") is True
    assert "assessed   yes" in run("inspect", "again.kurve").out
    kurve.estimators.load("again.kurve").save("again.kurve")
    assert assessed("again.kurve") is None


def test_a_report_that_fails(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    from kurve.cli import fitting

    def fail(path: str, text: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(fitting, "write_text", fail)
    done = run(*FIT, "--report", "r.html")
    assert done.code == 2 and "RMSE" in done.out
    assert done.out.endswith("model: data.kurve\n")
    assert done.err.splitlines()[-1] == (
        "kurve: Permission denied: 'r.html'. The trained model is in 'data.kurve'."
    )
    assert assessed() is True and not Path("r.html").exists()


def test_numbers_that_no_float_holds(run: Any) -> None:
    """Such as ids and nanoseconds: rounded as in NumPy; copied columns are not."""
    first = 1600000000000000001
    rows = "".join(f"{first + i * 1000003},{i},{2 * i}\n" for i in range(60))
    Path("ids.csv").write_text("id,x,y\n" + rows)
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    words = ("-t", "y", "-q", "--epochs", "2")
    done = run("fit", "ids.csv", *words, "--report", "r.html")
    assert (done.code, done.err) == (0, "")
    done = run("predict", "ids.kurve", "ids.csv", "--keep", "id")
    assert done.out.splitlines()[1].startswith(f"{first},")
    assert run("evaluate", "ids.kurve", "ids.csv").code == 0


@pytest.mark.parametrize("features", ["x", "x,z"])
def test_numbers_too_large_to_be_drawn(run: Any, features: str) -> None:
    """The page says so, and everything else is there."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    rows = (f"{i},{i % 5},{-1.79e308 if i % 10 == 3 else 1.79e308}" for i in range(60))
    Path("h.csv").write_text("\n".join(("x,z,y", *rows)))
    words = ("-t", "y", "--features", features, "-q", "--epochs", "3")
    done = run("fit", "h.csv", *words, "--report", "r.html")
    assert (done.code, done.err) == (0, "") and assessed("h.kurve") is True
    assert "Not drawn: numbers beyond 1e+300." in Path("r.html").read_text()
    assert run("evaluate", "h.kurve", "h.csv").code == 0


@posix
@pytest.mark.parametrize(
    ("words", "end", "status", "message"),
    [
        ("", "| head -1", 0, ""),
        ("--report r.html", "| true", 0, ""),
        ("", ">&-", 0, ""),
        ("", ">/dev/null 2>&-", 0, ""),
        ("", ">&- 2>&- <&-", 0, ""),
        ("", "2>/dev/full", 0, ""),
        ("", ">/dev/full", 2, "kurve: No space left on device: 'standard output'"),
    ],
)
def test_words_that_nobody_hears(
    run: Any, tmp_path: Path, words: str, end: str, status: int, message: str
) -> None:
    if words:
        pytest.importorskip("matplotlib")
        pytest.importorskip("jinja2")
    code, _, err = shell(f"kurve {' '.join(FIT)} {words} {end}")
    told = [line for line in err.splitlines() if not line.startswith("epoch")]
    assert (code, told) == (status, [message] if message else [])
    assert assessed() is True
    wanted = ["data.csv", "data.kurve", *(["r.html"] if words else [])]
    assert files(tmp_path) == wanted


@posix
def test_words_of_the_other_commands(run: Any) -> None:
    fitted(run, "-q")
    closed = "kurve: Bad file descriptor: 'standard output'\n"
    full = "kurve: No space left on device: 'standard output'\n"
    for line, wanted in (
        ("kurve predict data.kurve data.csv | true", (0, "", "")),
        ("kurve predict data.kurve data.csv >/dev/full", (2, "", full)),
        ("kurve predict data.kurve data.csv >&-", (2, "", closed)),
        ("kurve predict data.kurve data.csv -o p.csv >&- 2>&-", (0, "", "")),
        ("kurve evaluate data.kurve data.csv | true", (0, "", "")),
        ("kurve inspect data.kurve >/dev/full", (2, "", full)),
        ("kurve inspect data.kurve >&-", (0, "", "")),
        ("kurve --help | true", (0, "", "")),
        ("kurve predict no.kurve data.csv 2>&-", (2, "", "")),
        ("kurve predict no.kurve data.csv 2>/dev/full", (2, "", "")),
    ):
        assert shell(line) == wanted, line
    assert Path("p.csv").exists()


@posix
def test_a_stream_that_cannot_show_a_letter(run: Any) -> None:
    fitted(run, "-q")
    line = "PYTHONIOENCODING=ascii kurve evaluate data.kurve data.csv"
    code, out, err = shell(line)
    assert (code, err) == (0, "") and "R\\xb2" in out


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_is_assessed(run: Any, number: int) -> None:
    """As a separate process whose assessment waits."""
    root = os.path.dirname(os.path.dirname(kurve.__file__))
    program = (
        "import time\nfrom kurve.cli import fitting, main\n"
        "fitting.assess_predictions = lambda *arguments: time.sleep(60)\n"
        f"main({list(FIT)!r})"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    while not child.stdout.readline().startswith(b"trained"):
        assert child.poll() is None
    time.sleep(0.2)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    if number == signal.SIGINT:
        assert child.returncode == 130
        message = "kurve: stopped. The trained model is in 'data.kurve'."
        assert err.decode().splitlines()[-1] == message
    else:
        assert child.returncode == -signal.SIGTERM
    assert assessed() is False
