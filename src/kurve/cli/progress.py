"""Progress of `kurve fit`: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from kurve.cli import console
from kurve.core.progress import ProgressBar, format_duration, format_logs
from kurve.estimators.training import progress_callback

LINES = 10
"""Approximate number of log lines per training."""


class EpochProgress:
    """Called after every epoch: progress(done, total, logs).

    A terminal shows one bar, redrawn in place, with the loss and the remaining time; a
    log gets about ten lines. If the stream cannot be written to,
    training continues without progress.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: ProgressBar | None = None
        self._start = time.monotonic()
        self._done = self._written = 0
        self._logs: dict[str, float] = {}

    def __call__(self, done: int, total: int, logs: Mapping[str, float]) -> None:
        if done <= self._done:  # an ensemble member that lags behind
            return
        with self._ignoring_errors():
            self._show(done, total, logs)

    def _show(self, done: int, total: int, logs: Mapping[str, float]) -> None:
        if self._bar is None:
            self._bar = ProgressBar(total, stream=self._stream)
        self._done, self._logs = done, dict(logs)
        if self._bar.wants_updates:
            self._bar.update(done, self._logs)
        elif done - self._written >= max(total // LINES, 1):
            self._line(total)

    def close(self) -> None:
        """End the bar, or write the last epoch's line."""
        if self._bar is None:
            return
        with self._ignoring_errors():
            self._end(self._bar)

    def _end(self, bar: ProgressBar) -> None:
        if bar.wants_updates:
            bar.target = self._done  # training can have stopped early
            bar.finish(self._logs)
            bar.close()
        elif self._written < self._done:
            self._line(bar.target or self._done)

    def cancel(self) -> None:
        """End a half-drawn line after an error."""
        if self._bar is not None:
            with self._ignoring_errors():
                self._bar.close()

    @contextmanager
    def _ignoring_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            console.discard(self._stream)

    def _line(self, total: int) -> None:
        self._written = self._done
        elapsed = format_duration(time.monotonic() - self._start)
        text = f"epoch {self._done}/{total} - {elapsed}{format_logs(self._logs)}"
        self._stream.write(text + "\n")
        self._stream.flush()


@contextmanager
def show_progress(quiet: bool) -> Iterator[None]:
    """Show the progress of estimators' training on standard error, unless quiet."""
    if quiet:
        yield
        return
    progress = EpochProgress(sys.stderr)
    token = progress_callback.set(progress)
    try:
        yield
    except BaseException:
        progress.cancel()
        raise
    finally:
        progress_callback.reset(token)
    progress.close()
