"""The progress bar on a terminal, in a log, in a notebook."""

from __future__ import annotations

import io
import re

import pytest

import kurve
from kurve.core import progress
from kurve.core.progress import ProgressBar, check_verbose, format_logs


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Screen(io.TextIOWrapper):
    """A stream that can say it is a terminal; `text` is all that was written."""

    def __init__(self, terminal: bool, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, newline="")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def text(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)


class Kernel(Screen):
    """Stands for the stream of a notebook's kernel, which is known by its module."""


Kernel.__module__ = "ipykernel.iostream"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return clock


def seen(text: str) -> str:
    """What a terminal shows at the end: redrawn lines and colours resolved."""
    text = re.sub(r"\x1b\[\d+m", "", text)
    shown = []
    for line in text.split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        shown.append("".join(cells).rstrip())
    return "\n".join(shown)


def epoch(bar: ProgressBar, clock: Clock) -> None:
    for done in range(1, 11):
        clock.now += 0.05
        bar.update(done, {"loss": 1 / done})
    bar.finish({"loss": 0.1234, "val_loss": 0.00012})
    bar.close()


def test_terminal_shows_keras_line(clock: Clock) -> None:
    screen = Screen(True)
    bar = ProgressBar(10, title="Epoch 1/3", stream=screen)
    assert bar.wants_updates
    epoch(bar, clock)
    assert seen(screen.text) == (
        "Epoch 1/3\n10/10 ━━━━━━━━━━━━━━━━━━━━ 0s 50ms/step"
        " - loss: 0.1234 - val_loss: 1.2000e-04\n"
    )


def test_terminal_redraws_at_most_ten_times_a_second(clock: Clock) -> None:
    screen = Screen(True)
    bar = ProgressBar(1000, stream=screen)
    for done in range(1, 1001):
        clock.now += 0.001
        bar.update(done)
    assert screen.text.count("\r") <= 10


def test_terminal_draws_the_middle_of_an_epoch(clock: Clock) -> None:
    screen = Screen(True)
    bar = ProgressBar(10, stream=screen)
    clock.now += 1.0
    bar.update(5, {"loss": 2.0})
    assert seen(screen.text) == (
        " 5/10 ━━━━━━━━━━────────── 1s 200ms/step - loss: 2.0000"
    )


def test_narrow_terminal_never_wraps_a_line_it_redraws(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    screen = Screen(True)
    bar = ProgressBar(10, stream=screen)
    for done in (3, 6):
        clock.now += 1.0
        bar.update(done, {"loss": 2.0, "mean_absolute_error": 1.0})
    assert max(map(len, re.sub(r"\x1b\[\d+m", "", screen.text).split("\r"))) <= 29


def test_shorter_line_covers_the_longer_one(clock: Clock) -> None:
    screen = Screen(True)
    bar = ProgressBar(2, stream=screen)
    clock.now += 1.0
    bar.update(1, {"loss": 123456.0})
    bar.finish({"loss": 1.0})
    assert seen(screen.text).endswith("- loss: 1.0000\n")


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_terminal_without_colour(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "dumb")
    screen = Screen(True)
    epoch(ProgressBar(10, stream=screen), clock)
    assert "\x1b" not in screen.text
    assert ("\r" in screen.text) == (variable == "NO_COLOR")


@pytest.mark.parametrize("verbose", ["auto", 1, 2, True])
def test_log_gets_one_plain_line_an_epoch(clock: Clock, verbose: int | str) -> None:
    screen = Screen(False)
    bar = ProgressBar(10, verbose=verbose, title="Epoch 1/3", stream=screen)
    assert not bar.wants_updates
    epoch(bar, clock)
    assert screen.text == (
        "Epoch 1/3 - 10/10 - 0s - 50ms/step - loss: 0.1234 - val_loss: 1.2000e-04\n"
    )


def test_two_means_one_line_on_a_terminal_too(clock: Clock) -> None:
    screen = Screen(True)
    bar = ProgressBar(10, verbose=2, stream=screen)
    assert not bar.wants_updates
    epoch(bar, clock)
    assert screen.text.count("\n") == 1
    assert "\r" not in screen.text


def test_zero_writes_nothing(clock: Clock) -> None:
    screen = Screen(True)
    bar = ProgressBar(10, verbose=0, title="Epoch 1/3", stream=screen)
    assert not bar.wants_updates
    epoch(bar, clock)
    assert screen.text == ""


def test_notebook_redraws_without_colour(clock: Clock) -> None:
    screen = Kernel(False)
    bar = ProgressBar(10, title="Epoch 1/3", stream=screen)
    assert bar.wants_updates
    epoch(bar, clock)
    assert "\x1b" not in screen.text
    assert "\r" in screen.text
    assert seen(screen.text).startswith("Epoch 1/3\n10/10 ━━━━━━━━━━━━━━━━━━━━ 0s")


def test_terminal_that_knows_ascii_only(clock: Clock) -> None:
    screen = Screen(True, encoding="ascii")
    bar = ProgressBar(10, stream=screen)
    clock.now += 1.0
    bar.update(5)
    assert seen(screen.text) == " 5/10 ==========.......... 1s 200ms/step"


def test_close_ends_a_half_drawn_line(clock: Clock) -> None:
    screen = Screen(True)
    bar = ProgressBar(10, stream=screen)
    clock.now += 1.0
    bar.update(5)
    bar.close()
    bar.close()
    assert screen.text.endswith("ms/step\n")
    assert screen.text.count("\n") == 1


def test_broken_stream_is_not_written_to_again(clock: Clock) -> None:
    class Broken(Screen):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    bar = ProgressBar(10, stream=Broken(True))
    clock.now += 1.0
    with pytest.raises(BrokenPipeError):
        bar.update(5)
    bar.close()


def test_no_standard_output(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr("sys.stdout", None)
    epoch(ProgressBar(10), clock)


def test_unknown_number_of_steps(clock: Clock) -> None:
    screen = Screen(True)
    bar = ProgressBar(None, stream=screen)
    clock.now += 0.3
    bar.update(3)
    bar.finish()
    assert seen(screen.text) == "3/Unknown 0s 100ms/step\n"


@pytest.mark.parametrize("verbose", [3, -1, "loud", None, 1.5])
def test_unknown_verbose(verbose: object) -> None:
    with pytest.raises(
        ValueError, match=r"\[fit\] verbose must be .* Received: .* Try"
    ):
        check_verbose(verbose)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.1235"),
        (1234.5, "1234.5000"),
        (0.0005, "5.0000e-04"),
        (-0.5, "-0.5000"),
        (0.0, "0.0000e+00"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_look_like_keras_ones(value: float, text: str) -> None:
    assert format_logs({"loss": value}) == f" - loss: {text}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.4, "59s"), (185, "3:05"), (7385, "2:03:05")],
)
def test_durations(seconds: float, text: str) -> None:
    assert progress.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.2, "2s/step"), (0.005, "5ms/step"), (14e-5, "140us/step")]
)
def test_step_times(seconds: float, text: str) -> None:
    assert progress.format_step_time(seconds) == text


def test_without_interactive_logging_lines_go_to_the_log(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = kurve.Sequential([kurve.layers.Dense(1)])
    model.compile("sgd", "mse")
    kurve.utils.disable_interactive_logging()
    try:
        assert not kurve.config.is_interactive_logging_enabled()
        with caplog.at_level("INFO", "kurve"):
            model.fit([[1.0]], [[2.0]], epochs=2)
            model.predict([[1.0]], verbose=2)
    finally:
        kurve.utils.enable_interactive_logging()
    assert not capsys.readouterr().out
    assert [message.split(" - ")[0] for message in caplog.messages] == [
        "Epoch 1/2",
        "Epoch 2/2",
        "1/1",
    ]
    model.evaluate([[1.0]], [[2.0]])
    assert "1/1" in capsys.readouterr().out
