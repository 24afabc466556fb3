"""`kurve.live` and `kurve live`: what is written into the page, and what is refused."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve.cli import main

HOSTILE = '</script><script>alert(1)</script><!-- \u2028 "&quot;'


def given(page: str) -> Any:
    found = re.search(r'id="given">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


def elements(page: str) -> list[str]:
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attributes: Any) -> None:
            found.append(tag)

    Parser().feed(page)
    return found


def test_the_page_holds_everything_and_asks_for_nothing() -> None:
    page = kurve.live().html
    assert len(page) < 2_000_000
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None and policy[1].startswith("default-src 'none'; script-src")
    assert "unsafe-inline" not in policy[1] and "unsafe-eval'" not in policy[1].replace(
        "wasm-unsafe-eval'", ""
    )
    assert "connect-src" not in policy[1]  # so default-src applies
    head = page.split("<script", 1)[0]
    assert not re.search(r'(src|href)="', head)
    assert given(page) is None


def test_arrays_become_its_table() -> None:
    x = np.arange(6.0).reshape(3, 2)
    table = given(kurve.live(x, [0.5, 0.25, 1e-9]).html)
    assert table["table"]["names"] == ["x1", "x2", "y"]
    assert table["table"]["rows"][1] == ["2.0", "3.0", "0.25"]
    assert (table["x"], table["y"]) == ([0, 1], 2)
    labels = given(kurve.live([1, 2, 3], np.array(["a", "b", "a"])).html)
    assert [row[1] for row in labels["table"]["rows"]] == ["a", "b", "a"]


def test_names_and_labels_cannot_leave_their_place() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({HOSTILE: [1.0, 2.0]})
    page = kurve.live(table, pandas.Series([HOSTILE, "b"], name=HOSTILE))
    found = given(page.html)["table"]
    assert found["names"] == [HOSTILE, HOSTILE]
    assert found["rows"][0][1] == HOSTILE
    assert elements(page.html) == elements(kurve.live().html)
    assert elements(page._repr_html_()) == ["iframe"]


@pytest.mark.parametrize(
    ("x", "y", "part"),
    [
        ([1, 2], None, "passed together"),
        ([1, 2, 3], [1, 2], "the same number of rows. Received: 3 and 2"),
        ([1, np.nan], [1, 2], "x must be finite. Received: x[1] = nan"),
        ([1, 2], [1, np.inf], "y must be finite. Received: y[1] = inf"),
        (["a", "b"], [1, 2], "x must be numbers"),
        (np.zeros((2, 2, 2)), [1, 2], "x must have the shape"),
        ([1, 2], np.zeros((2, 2)), "y must have the shape"),
        ([1], [1], "2 to 20000 rows"),
        (np.zeros(20_001), np.zeros(20_001), "Received: 20001 rows"),
    ],
)
def test_what_does_not_fit_is_refused(x: Any, y: Any, part: str) -> None:
    with pytest.raises(ValueError, match=r"^\[live\] ") as error:
        kurve.live(x, y)
    assert part in str(error.value)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["live", *arguments])
    return int(ended.value.code or 0)


def test_the_command_writes_the_page_and_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("click")
    pytest.importorskip("pyarrow")
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: shown.append(url) or True)
    monkeypatch.chdir(tmp_path)
    Path("my data.csv").write_text(
        f'a,"{HOSTILE.replace(chr(34), chr(34) * 2)}",kind\n1,2,x\n3,,y\n5,6,x\n',
        encoding="utf-8",
    )
    assert run("my data.csv") == 0
    found = given(Path("my data.html").read_text(encoding="utf-8"))
    assert found["table"]["names"] == ["a", HOSTILE, "kind"]
    assert found["table"]["rows"][1] == ["3", "", "y"]
    assert shown == [(tmp_path / "my data.html").as_uri()]
    options = ("--target", "a", "--features", HOSTILE.replace(",", ""), "--no-open")
    assert run("my data.csv", *options, "-o", "other.html") == 0
    assert given(Path("other.html").read_text(encoding="utf-8"))["y"] == 1
    assert run("--no-open") == 0 and Path("live.html").exists()
    assert len(shown) == 1
    capsys.readouterr()
    assert run("my data.csv", "--target", "b") == 2
    assert "no such column. Received: 'b'" in capsys.readouterr().err
    assert run("--target", "b") == 2
    assert run("absent.csv") == 2


def test_the_command_takes_some_rows_of_a_long_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("click")
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i},{i % 7}\n" for i in range(50_000))
    Path("long.csv").write_text(f"a,y\n{rows}", encoding="utf-8")
    assert run("long.csv", "--no-open") == 0
    assert "20,000 of 50,000, evenly spread" in capsys.readouterr().out
    kept = given(Path("long.html").read_text(encoding="utf-8"))["table"]["rows"]
    assert len(kept) == 20_000
    assert [int(row[0]) for row in kept[::4000]] == [0, 10000, 20000, 30000, 40000]


def test_a_notebooks_page_has_no_threads() -> None:
    """They cannot run in its frame, and the engine for them is 0.4 MB."""
    page = kurve.live()
    assert len(page.html) - len(page._repr_html_()) > 300_000
    assert "id=&quot;threads&quot;&gt;&lt;" in page._repr_html_()
