"""`LivePlot`: what is drawn, where, how often, and how it behaves beside `fit`."""

from __future__ import annotations

import io
import re
import sys
import types
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers
from kurve.callbacks import LivePlot, live
from kurve.core import charts

X = np.linspace(-1.0, 1.0, 60)
Y = X**2


def model_of(outputs: int = 1, inputs: int = 1, **options: Any) -> kurve.Sequential:
    kurve.utils.set_random_seed(0)
    model = kurve.Sequential(
        [
            kurve.Input((inputs,)),
            layers.Dense(16, activation="tanh"),
            layers.Dense(outputs),
        ]
    )
    model.compile("adam", "mse", **options)
    return model


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, picture: str) -> None:
        self.shown.append(picture)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A stand-in for IPython: the pictures that are displayed, and those that replace
    them."""
    found: dict[str, list[str]] = {"new": [], "updates": []}

    def display(picture: str, display_id: bool) -> Handle:
        assert display_id
        found["new"].append(picture)
        return Handle(found["updates"])

    module: Any = types.ModuleType("IPython")
    module.display = types.SimpleNamespace(display=display, HTML=str)
    monkeypatch.setitem(sys.modules, "IPython", module)
    return found


def svg_of(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture[picture.index("<svg") :])


def test_a_notebook_shows_one_picture_that_is_replaced(
    notebook: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    model = model_of()
    plot = LivePlot(where="notebook")
    model.fit(X, Y, epochs=20, callbacks=[plot], validation_split=0.2)
    assert len(notebook["new"]) == 1
    assert len(notebook["updates"]) >= 20
    last = notebook["updates"][-1]
    root = svg_of(last)
    texts = ["".join(t.itertext()) for t in root.iter() if t.tag.endswith("text")]
    assert {"epoch", "x"} <= set(texts)
    assert any("training" in t and "validation" in t for t in texts)
    assert "Epoch 20/20" in last and "val_loss: " in last
    assert "NaN" not in last and "nan" not in last.partition("<svg")[2]


def test_drawing_is_rare(
    notebook: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five times a second, by a clock of the test."""
    now = [0.0]
    monkeypatch.setattr(live.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(live.time, "process_time", lambda: now[0])

    class Tick(kurve.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            now[0] += 0.01

    model = model_of()
    model.fit(X, Y, epochs=200, callbacks=[Tick(), LivePlot(where="notebook")])
    pictures = len(notebook["new"]) + len(notebook["updates"])
    assert 9 <= pictures <= 2.0 / 0.2 + 1


def test_costly_drawings_are_rarer(
    notebook: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(live.time, "perf_counter", lambda: now[0])
    spent = [0.0]
    monkeypatch.setattr(live.time, "process_time", lambda: now[0] + spent[0])
    draw = LivePlot.to_svg

    def costly(plot: LivePlot) -> str:
        spent[0] += 0.005
        return draw(plot)

    monkeypatch.setattr(LivePlot, "to_svg", costly)

    class Tick(kurve.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            now[0] += 0.01

    model_of().fit(X, Y, epochs=200, callbacks=[Tick(), LivePlot(where="notebook")])
    assert 2 <= len(notebook["new"]) + len(notebook["updates"]) <= 5


def test_long_epochs_are_drawn_within(
    notebook: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    monkeypatch.setattr("kurve.core.progress.INTERVAL", 0.0)
    plot = LivePlot(where="notebook")
    model_of().fit(X, Y, batch_size=1, epochs=1, steps_per_epoch=3000, callbacks=[plot])
    assert len(notebook["new"]) + len(notebook["updates"]) > 2


def test_names_are_escaped(notebook: dict[str, list[str]]) -> None:
    name = "<img src=x onerror=alert(1)>"
    model = model_of(metrics=[kurve.metrics.MeanSquaredError(name)])
    model.fit(X, Y, epochs=2, callbacks=[LivePlot(where="notebook")])
    (picture,) = notebook["new"]
    assert "&lt;img" in picture
    assert "<img" not in picture
    svg_of(picture)


def test_a_terminal_is_redrawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("LINES", "30")
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    model_of().fit(X, Y, epochs=5, callbacks=[LivePlot()])
    text = stream.getvalue()
    assert "━" not in text  # it takes the place of the bar
    first, *others = re.split(r"\x1b\[13A\r", text)
    assert len(others) >= 5
    for drawing in (first, *others):
        assert drawing.count("\n") == 13
        assert all(len(line.replace("\x1b[K", "")) < 90 for line in drawing.split("\n"))
    assert any("\u2800" < character <= "\u28ff" for character in others[-1])


def test_beside_a_bar_that_was_asked_for_a_terminal_gets_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    model_of().fit(X, Y, epochs=3, verbose=1, callbacks=[LivePlot()])
    assert "━" in stream.getvalue()
    assert stream.getvalue().count("loss ") == stream.getvalue().count("│loss")
    assert "A\r" not in stream.getvalue()


def test_a_file_gets_the_lines_of_the_bar_and_no_plot(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model_of().fit(X, Y, epochs=2, callbacks=[LivePlot()])
    text = capsys.readouterr().out
    assert text.startswith("Epoch 1/2 - ")
    assert text.count("\n") == 2


def test_a_file_gets_the_last_plot_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    model_of().fit(X, Y, epochs=2, callbacks=[LivePlot(where="terminal")])
    text = capsys.readouterr().out
    assert text.startswith("Epoch 2/2 - ")
    assert "\x1b" not in text
    assert text.count("loss") == 2


def test_the_weights_are_those_without_it(notebook: dict[str, list[str]]) -> None:
    plain, drawn = model_of(), model_of()
    plain.fit(X, Y, epochs=3, verbose=0)
    drawn.fit(X, Y, epochs=3, callbacks=[LivePlot(where="notebook")])
    assert all(map(np.array_equal, plain.get_weights(), drawn.get_weights()))
    assert plain.history.history == drawn.history.history


def paths(plot: LivePlot) -> int:
    return plot.to_svg().count('stroke-width="2"')


@pytest.mark.parametrize(
    ("x", "y", "outputs", "lines"),
    [
        (X, Y, 1, 2),
        (X[:, None], np.stack([Y, -Y], 1), 2, 3),
        (np.stack([X, X], 1), Y, 1, 1),  # two features
    ],
)
def test_curves_of_models_of_one_feature(
    x: np.ndarray, y: np.ndarray, outputs: int, lines: int
) -> None:
    model = model_of(outputs, 1 if x.ndim == 1 else x.shape[1])
    plot = LivePlot()
    model.fit(x, y, epochs=2, callbacks=[plot], verbose=0)
    assert paths(plot) == 1 if lines == 1 else paths(plot) == lines


def test_a_model_of_words_has_no_curve() -> None:
    model = kurve.Sequential(
        [kurve.Input((1,)), layers.Embedding(5, 3), layers.Flatten(), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    plot = LivePlot()
    words = np.arange(50) % 5
    model.fit(words, words / 5.0, epochs=2, callbacks=[plot], verbose=0)
    assert plot.to_svg().startswith("<svg")


def test_generators_have_no_rows_unless_given() -> None:
    def batches() -> Any:
        while True:
            yield X[:, None], Y

    for data, lines in ((None, 1), ((X, Y), 2)):
        plot = LivePlot(data)
        model_of().fit(
            batches(), steps_per_epoch=3, epochs=2, callbacks=[plot], verbose=0
        )
        assert paths(plot) == lines


def test_own_steps_are_drawn_too() -> None:
    class Own(kurve.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    model = Own()
    model.compile("adam", "mse")
    plot = LivePlot()
    model.fit(X[:, None], Y[:, None], epochs=2, callbacks=[plot], verbose=0)
    assert paths(plot) == 2


def test_a_resumed_training_continues_the_curve() -> None:
    first = LivePlot()
    model_of().fit(X, Y, epochs=3, callbacks=[first], verbose=0)
    second = LivePlot()
    second.set_state(first.get_state())
    assert second.to_svg().count("<path") and second._curves == first._curves


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"where": "paper"}, ValueError, "where"),
        ({"data": X}, TypeError, r"pair \(x, y\)"),
        ({"data": (X, Y[:3])}, ValueError, "60 and 3"),
    ],
)
def test_wrong_arguments(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=rf"^\[LivePlot\] .*{text}"):
        LivePlot(**arguments)


def test_a_notebook_needs_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.raises(ImportError, match="needs IPython"):
        model_of().fit(X, Y, callbacks=[LivePlot(where="notebook")])


# ------------------------------------------------------------------------- the charts


@pytest.mark.parametrize(
    "values",
    [[], [3.0], [2.0, 2.0], [np.nan, 1.0, np.inf, 2.0], [1e-300, 1e300], [0.0, 0.0]],
)
def test_charts_of_odd_values(values: list[float]) -> None:
    chart = charts.Chart("<t>", "x&y", logarithmic=True)
    chart.line(np.arange(len(values)), values, "a<b")
    root = ElementTree.fromstring(chart.svg(300, 200))
    assert "a<b" in "".join(root.itertext()) and "<t>" in "".join(root.itertext())
    lines = chart.text(40, 6)
    assert len(lines) == 8 and {len(line) for line in lines} == {40}
    assert all(ord(c) < 128 for line in chart.text(40, 6, unicode=False) for c in line)


def test_ticks_are_round_and_within() -> None:
    chart = charts.Chart("t", "x")
    chart.line([0.0, 20.0], [-1.0, 1.0])
    texts = re.findall(r">(-?[\d.]+)</text>", chart.svg(400, 250))
    assert texts == ["0", "5", "10", "15", "20", "-1", "-0.5", "0", "0.5", "1"]


def test_a_falling_loss_gets_a_logarithmic_axis() -> None:
    chart = charts.Chart("t", "x", logarithmic=True)
    chart.line([1, 2, 3], [1.0, 0.1, 0.01])
    places = re.findall(
        r"M?([\d.]+) ([\d.]+)", re.findall(r'd="(M[^v"h]+)"', chart.svg(400, 250))[-1]
    )
    y = [float(b) for _, b in places]
    assert y[1] == pytest.approx((y[0] + y[2]) / 2, abs=0.2)


def test_control_characters_do_not_reach_a_terminal() -> None:
    chart = charts.Chart("a\x1b[2Jb", "x")
    assert not any("\x1b" in line for line in chart.text(30, 4))
