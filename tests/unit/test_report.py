"""The report: one page that loads nothing, escapes everything and says what is so."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="a report has figures")
pytest.importorskip("jinja2", reason="a report is made of templates")
pa = pytest.importorskip("pyarrow", reason="the tables are Arrow's")
pytest.importorskip("narwhals", reason="tables are read through narwhals")

from kurve import report  # noqa: E402
from kurve.assessment import number  # noqa: E402
from kurve.report.figures import INK  # noqa: E402

VOID = {"meta", "br", "img", "input", "hr", "link"}
EVIL = "<script>alert('$x$')</script>&\""
N = 120
random = np.random.default_rng(0)
A, B = random.uniform(0, 10, N), random.normal(size=N)
KIND = np.array(["<b>red", "blue & green", "$grey$"], object)[np.arange(N) % 3]
Y = np.sin(A) + 0.1 * B


class Curve:
    """Knows the truth; its intervals are those of normal noise."""

    def __init__(self) -> None:
        self.history_ = {"loss": [1.0, 0.1, 0.01], "val_loss": [1.0, 0.2, 0.3]}

    def predict(self, x: Any, return_std: bool = False) -> Any:
        mean = np.sin(np.asarray(x.column(0), float))
        return (mean, np.full(len(mean), 0.1)) if return_std else mean

    def predict_interval(self, x: Any, coverage: float) -> np.ndarray:
        half = 0.1 * {0.5: 0.674, 0.6: 0.842, 0.7: 1.036, 0.8: 1.282, 0.9: 1.645}.get(
            coverage, 1.96
        )
        mean = self.predict(x)
        return np.stack([mean - half, mean + half], axis=1)

    def extrapolates(self, x: Any) -> np.ndarray:
        return np.asarray(x.column(0), float) > 9.5


class Pair(Curve):
    """Two outputs."""

    def predict(self, x: Any, return_std: bool = False) -> Any:
        mean = np.sin(np.asarray(x.column(0), float))
        both = np.stack([mean, 2 * mean], axis=1)
        return (both, np.full(both.shape, 0.1)) if return_std else both

    def predict_interval(self, x: Any, coverage: float) -> np.ndarray:
        mean = self.predict(x)
        return np.stack([mean - 0.2, mean + 0.2], axis=2)


class Chooser:
    """A classifier by thresholds."""

    def __init__(self, classes: list[str]) -> None:
        self.classes_ = np.array(classes, object)

    def predict_proba(self, x: Any) -> np.ndarray:
        a = np.asarray(x.column(0), float)[:, None]
        middles = np.linspace(0, 10, len(self.classes_))
        p = np.exp(-((a - middles) ** 2) / 4)
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, x: Any) -> np.ndarray:
        return self.classes_[self.predict_proba(x).argmax(axis=1)]


class Page(HTMLParser):
    """What is in a page: texts, tags, and whether all tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words += data

    def headings(self) -> list[str]:
        return re.findall(r"\n(.+)\n", self.words)


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def check(text: str) -> Page:
    """No resource from elsewhere, no script, well-formed, ids that are unique or mean
    the same, and light and dark ink."""
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/png")), (
                tag,
                value,
            )
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme:dark" in style and "@media print" in style
    assert INK not in text
    assert text.count("<!DOCTYPE html>") == 1
    for _, attributes in page.tags:
        if attributes.get("role") == "img":
            assert attributes["aria-label"]
    return page


def table(**columns: Any) -> Any:
    return pa.table(columns)


def test_one_feature() -> None:
    text = report.make_report(
        Curve(),
        table(time=A[:80]),
        Y[:80],
        table(time=A[80:]),
        Y[80:],
        target="height",
        source="data.csv",
        file="data.kurve",
        settings={"seed": 3},
    )
    page = check(text)
    assert headings(text) == [
        "How good",
        "The fit",
        "What is left over",
        "Can its intervals be trusted",
        "The largest errors",
        "How it was trained",
        "The data",
        "The model",
    ]
    for words in (
        "outside the data",
        "90% interval",
        "held-out data",
        "height",
        "time",
        "straight line",
        "model = load('data.kurve')",
        "seed",
        "data.csv",
        "40",
        "kurve predict data.kurve new.csv",
    ):
        assert words in page.words, words
    rmse = np.sqrt(np.mean((Y[80:] - np.sin(A[80:])) ** 2))
    assert f"misses height by {number(rmse)}" in page.words
    assert text.count("<svg") == 4


def test_several_features_and_hostile_names() -> None:
    x = table(**{EVIL: A, "other $_^": B, "kind": KIND, "flag": B > 0})
    text = report.make_report(
        Curve(),
        x.slice(0, 80),
        Y[:80],
        x.slice(80),
        Y[80:],
        target=EVIL,
        source=EVIL,
        file="a b'.kurve",
        settings={EVIL: EVIL},
    )
    page = check(text)
    assert EVIL in page.words
    assert "<script" not in text and "<b>red" not in text
    assert "out of range" in page.words
    assert {"What it relies on", "How it depends on them"} <= set(headings(text))
    assert "<b>red (34%)" in page.words
    assert "kurve predict 'a b'\"'\"'.kurve'" in page.words


def test_without_held_out_rows() -> None:
    text = report.make_report(Curve(), table(time=A), Y)
    words = check(text).words
    assert "rows that it was trained on" in words
    assert "held out" not in words and "held-out data" not in words


def test_several_targets() -> None:
    x, y = table(time=A, b=B), np.stack([Y, 2 * Y], axis=1)
    text = report.make_report(Pair(), x, y, x, y, target=["up", "down"])
    page = check(text)
    assert page.words.count("predicted down") == 2
    assert "up, down" in page.words


@pytest.mark.parametrize("classes", [["no", "yes"], ["a<", "b", "c"]])
def test_classes(classes: list[str]) -> None:
    model, x = Chooser(classes), table(size=A, noise=B)
    y = model.predict(x)
    y[::10] = classes[0]
    text = report.make_report(model, x, y, x, y, target="kind")
    page = check(text)
    assert headings(text) == [
        "How good",
        "Which classes it takes for which",
        "Can its probabilities be trusted",
        *(["Where to draw the line"] if len(classes) == 2 else []),
        "What it relies on",
        "How it depends on them",
        "The largest errors",
        "The data",
        "The model",
    ]
    right = np.mean(model.predict(x) == y)
    assert f"{right:.1%} of the held-out rows" in page.words
    counts = re.findall(r'<td class="n (?:right|wrong)"[^>]*>([\d,]+)</td>', text)
    assert len(counts) == len(classes) ** 2
    assert sum(map(int, counts)) == N


def test_many_rows_stay_small() -> None:
    """Clouds of many points are images, and there are at most so many points."""
    a = np.linspace(0, 10, 30_000)
    text = report.make_report(Curve(), table(time=a, b=a), np.sin(a))
    check(text)
    assert len(text) < 600_000
    assert "data:image/png" in text


def test_the_same_data_gives_the_same_page() -> None:
    pages = {report.make_report(Curve(), table(time=A, b=B), Y) for _ in range(2)}
    assert len(pages) == 1


def test_settings_of_matplotlib_stay() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    report.make_report(Curve(), table(time=A), Y)
    assert dict(matplotlib.rcParams) == before


def test_arrays_and_other_models() -> None:
    """Anything with `predict` of an array; what it cannot do is left out."""

    class Plain:
        def predict(self, x: Any) -> np.ndarray:
            return np.sin(np.asarray(x)[:, 0])

    text = report.make_report(Plain(), np.stack([A, B], axis=1), Y)
    words = check(text).words
    assert "x1" in words and "NLL" not in words.split("How good")[1].split("On ")[0]
    assert "Can its intervals be trusted" not in headings(text)


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    report.write_report(path, Curve(), table(time=A), Y)
    check(path.read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match="x and y must have the same number of rows"):
        report.write_report(tmp_path / "b.html", Curve(), table(time=A, b=B), Y[1:])
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_findings_are_shown() -> None:
    class Finding:
        name, severity = "dead <units>", "warning"
        message, fix = "half of them", "use <silu>"
        evidence = MappingProxyType({"share": 0.51234, "layer": "a"})

    class Sick(Curve):
        def diagnose(self, x: Any, y: Any) -> list[Finding]:
            assert len(x) == len(y) == N
            return [Finding()]

    words = check(report.make_report(Sick(), table(time=A), Y)).words
    for part in ("dead <units>", "warning", "half of them", "use <silu>", "0.5123"):
        assert part in words


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_a_package(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r'Try pip install "kurve\[report\]"'):
        report.make_report(Curve(), table(time=A), Y)


def test_decisions_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    from kurve.report.decisions import Decisions

    drawn = np.random.default_rng(2)
    p = drawn.uniform(size=200).round(2)  # with ties
    positive = drawn.uniform(size=200) < p**2
    found = Decisions.of(positive, p)
    false, recall, _ = metrics.roc_curve(positive, p, drop_intermediate=False)
    np.testing.assert_allclose(np.append(0, found.false), false)
    np.testing.assert_allclose(np.append(0, found.recall), recall)
    precise, recall, _ = metrics.precision_recall_curve(positive, p)
    np.testing.assert_allclose(found.precision, precise[:-1][::-1])
    average = metrics.average_precision_score(positive, p)
    assert found.average_precision == pytest.approx(average)
    for _, (threshold, *numbers) in found.rows():
        called = p >= threshold
        wanted = [
            metrics.recall_score(positive, called),
            metrics.precision_score(positive, called),
            metrics.f1_score(positive, called),
            metrics.balanced_accuracy_score(positive, called),
        ]
        np.testing.assert_allclose(numbers, wanted)
