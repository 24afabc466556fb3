"""The progress bar of `fit`, `evaluate` and `predict`.

A *live* stream (a terminal, a notebook) gets a bar that is redrawn in place; other
streams (log files, pipes) get one finished line per epoch, without carriage returns or
colours.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from kurve.core import processes

WIDTH = 20
"""Width of the bar in characters."""

INTERVAL = 0.1
"""Minimum number of seconds between redraws."""

interactive = [True]
"""Whether progress is printed; otherwise its finished lines go to the log "kurve"."""


def check_verbose(verbose: Any, where: str = "fit") -> int:
    """Return 0, 1 or 2; "auto" means 1.

    Raises:
        ValueError: `verbose` is none of these.
    """
    if isinstance(verbose, str) and verbose == "auto":
        return 1
    if isinstance(verbose, int) and 0 <= verbose <= 2:
        return int(verbose)
    raise ValueError(
        f'[{where}] verbose must be "auto", 0, 1 or 2. Received: {verbose!r}. '
        "Try verbose=0 for silence or verbose=2 for one line per epoch."
    )


def format_value(value: float) -> str:
    """Four decimals, or scientific notation for small numbers."""
    return f"{value:.4f}" if not abs(value) <= 1e-3 else f"{value:.4e}"


def format_logs(logs: Mapping[str, Any]) -> str:
    """Each log after a dash: " - loss: 0.1234 - mae: 0.2345". A metric with several
    numbers shows their mean, as in Keras."""
    values = {key: format_value(mean_of(value)) for key, value in logs.items()}
    return "".join(f" - {key}: {value}" for key, value in values.items())


def mean_of(value: Any) -> float:
    """A log as one number; metrics with several numbers are averaged."""
    return float(value.mean()) if hasattr(value, "mean") else float(value)


def format_step_time(seconds: float) -> str:
    """Time per step: "2s/step", "5ms/step" or "140us/step"."""
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s/step"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.0f}ms/step"
    return f"{seconds * 1e6:.0f}us/step"


def format_duration(seconds: float) -> str:
    """A duration in whole seconds: "12s", "3:05" or "2:03:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest}s"


def can_encode(encoding: str | None, text: str) -> bool:
    """Whether a stream with this encoding can show the text; None means ASCII."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def in_notebook(stream: Any) -> bool:
    """Whether the stream belongs to a Jupyter or Colab kernel. Imports nothing."""
    return type(stream).__module__.startswith("ipykernel.")


class ProgressBar:
    """Progress of one epoch, or of one pass of `evaluate` or `predict`.

        bar = ProgressBar(10, title="Epoch 1/3")
        bar.update(4, {"loss": 0.5})     # only if bar.wants_updates
        bar.finish({"loss": 0.4})
        bar.close()                      # in a `finally`: ends an unfinished line

    Args:
        target: number of steps, or None if unknown.
        verbose: "auto" or 1 (a live bar if the stream supports it, else one line),
            2 (one line), 0 (nothing).
        title: a line above the bar, such as "Epoch 1/3"; part of the line elsewhere.
        stream: where to write; standard output by default.
        watch: also called with the arguments of `update`.

    Raises:
        ValueError: unknown `verbose`.
    """

    def __init__(
        self,
        target: int | None,
        *,
        verbose: int | str = "auto",
        title: str | None = None,
        stream: TextIO | None = None,
        watch: Callable[[int, Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.target = target
        self.title = title
        self._watch = watch
        self._verbose = check_verbose(verbose)
        # sys.stdout is None in a Windows program without a console
        printing: Any = sys.stdout if interactive[0] else _Log()
        self._stream: Any = printing if stream is None else stream
        group = processes.active()
        if self._stream is None or (group is not None and group.rank):
            self._verbose = 0
        self._done = 0
        self._open = False  # whether an unfinished line is displayed
        self._drawn = 0  # length of that line
        self._start = time.monotonic()
        self._last = self._start
        self._notebook = self._terminal = self._colour = False
        if self._verbose == 1:
            self._notebook = in_notebook(self._stream)
            self._terminal = not self._notebook and is_terminal(self._stream)
            self._colour = self._terminal and not os.environ.get("NO_COLOR")
        if self._live and title is not None:
            self._write(title + "\n")

    @property
    def _live(self) -> bool:
        return self._terminal or self._notebook

    @property
    def wants_updates(self) -> bool:
        """Whether `update` shows anything: on a live stream, or to who watches."""
        return self._live or self._watch is not None

    def update(self, done: int, logs: Mapping[str, Any] | None = None) -> None:
        """Draw the bar after `done` steps, at most once every `INTERVAL` seconds."""
        self._done = done
        if not self.wants_updates:
            return
        now = time.monotonic()
        if now - self._last < INTERVAL:
            return
        self._last = now
        if self._live:
            self._draw(done, logs or {}, finished=False)
        if self._watch is not None:
            self._watch(done, logs or {})

    def finish(self, logs: Mapping[str, Any] | None = None) -> None:
        """Write the finished line, as if all `target` steps were done."""
        if self._verbose == 0:
            return
        done = self._done if self.target is None else self.target
        if self._live:
            self._draw(done, logs or {}, finished=True)
            return
        elapsed = time.monotonic() - self._start
        parts = [] if self.title is None else [self.title]
        parts.append(f"{done}/{done if self.target is None else self.target}")
        parts.append(format_duration(elapsed))
        parts.append(format_step_time(elapsed / max(done, 1)))
        self._write(" - ".join(parts) + format_logs(logs or {}) + "\n")

    def close(self) -> None:
        """End an unfinished line. Safe to call at any time and repeatedly."""
        if self._open:
            self._open = False
            self._write("\n")

    def _draw(self, done: int, logs: Mapping[str, Any], finished: bool) -> None:
        elapsed = time.monotonic() - self._start
        step_time = elapsed / max(done, 1)
        left = elapsed
        if not finished and self.target is not None:
            left = step_time * max(self.target - done, 0)
        tail = f" {format_duration(left)} {format_step_time(step_time)}"
        tail += format_logs(logs)
        if self.target is None:
            count, full, empty = f"{done}/Unknown", "", ""
        else:
            count = f"{done:>{len(str(self.target))}}/{self.target} "
            full, empty = self._cells(done / max(self.target, 1))
        plain = count + full + empty + tail
        if self._terminal and not finished:
            import shutil  # imports bz2 and lzma

            # a wrapped line cannot be overwritten
            room = shutil.get_terminal_size().columns - 1
            tail = tail[: max(room - len(count + full + empty), 0)]
            plain = (count + full + empty + tail)[:room]
        padding = " " * (self._drawn - len(plain))
        line = plain
        if self._colour and plain == count + full + empty + tail:
            line = f"\x1b[1m{count}\x1b[0m\x1b[32m{full}\x1b[0m{empty}{tail}"
        start = "\r" if self._open else ""
        self._open, self._drawn = not finished, len(plain)
        self._write(start + line + padding + ("\n" if finished else ""))

    def _cells(self, fraction: float) -> tuple[str, str]:
        """The finished and remaining parts of the bar, in the stream's encoding."""
        count = min(int(WIDTH * fraction), WIDTH)
        if can_encode(getattr(self._stream, "encoding", None), "━─"):
            return "━" * count, "─" * (WIDTH - count)
        return "=" * count, "." * (WIDTH - count)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            if not self._notebook:  # Jupyter kernels flush on their own
                self._stream.flush()
        except BaseException:
            self._open = False  # this line is lost
            raise


class _Log:
    """A stream whose lines are messages of the log "kurve", of level INFO."""

    encoding = "utf-8"

    def write(self, text: str) -> None:
        import logging

        logging.getLogger("kurve").info(text.rstrip("\n"))

    def flush(self) -> None:
        """Nothing is kept."""


def is_terminal(stream: Any) -> bool:
    """Whether the stream is a terminal that supports carriage returns."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # no such method, or a closed file
        return False
