"""Logs for TensorBoard by hand: `tf.summary.scalar` in the context of a writer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.values import concrete
from kurve.core.events import EventFile

__all__ = [
    "SummaryWriter",
    "create_file_writer",
    "flush",
    "histogram",
    "scalar",
    "should_record_summaries",
    "trace_export",
    "trace_off",
    "trace_on",
]

_open: list[SummaryWriter] = []
"""The writers whose contexts are open, the innermost last."""


class SummaryWriter:
    """An event file, which is created when the first value is written."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file: EventFile | None = None
        self.step: Any = None

    @property
    def file(self) -> EventFile:
        """The file itself."""
        if self._file is None:
            self._file = EventFile(self._folder)
        return self._file

    @contextmanager
    def as_default(self, step: Any = None) -> Iterator[SummaryWriter]:
        """A context in which the functions of this module write here."""
        before, self.step = self.step, self.step if step is None else step
        _open.append(self)
        try:
            yield self
        finally:
            _open.remove(self)
            self.step = before
            self.flush()

    def flush(self) -> None:
        """Write what is in memory."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Write and close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def create_file_writer(
    logdir: Any,
    max_queue: Any = None,
    flush_millis: Any = None,
    filename_suffix: Any = None,
    name: Any = None,
) -> SummaryWriter:
    """A writer of a file in this folder."""
    return SummaryWriter(os.fspath(logdir))


def should_record_summaries() -> bool:
    """Whether a writer's context is open."""
    return bool(_open)


def _place(name: str, step: Any) -> tuple[EventFile, int] | None:
    if not _open:
        return None
    step = _open[-1].step if step is None else step
    if step is None:
        raise ValueError(
            f"[tf.summary.{name}] a value needs a step. Received: step=None. "
            "Try step=epoch."
        )
    return _open[-1].file, int(concrete(f"summary.{name}", step))


def scalar(name: str, data: Any, step: Any = None, description: Any = None) -> bool:
    """Write a number; returns whether a writer's context is open."""
    place = _place("scalar", step)
    if place is not None:
        value = float(np.asarray(concrete("summary.scalar", data)))
        place[0].scalars([(name, value)], place[1])
    return place is not None


def histogram(
    name: str, data: Any, step: Any = None, buckets: Any = None, description: Any = None
) -> bool:
    """Write a histogram of numbers; returns whether a writer's context is open."""
    place = _place("histogram", step)
    if place is not None:
        array = np.asarray(concrete("summary.histogram", data))
        place[0].histogram(name, array, place[1])
    return place is not None


def flush(writer: SummaryWriter | None = None, name: Any = None) -> None:
    """Write what is in memory."""
    for one in [writer] if writer is not None else _open[-1:]:
        one.flush()


def trace_on(graph: bool = True, profiler: bool = False, **settings: Any) -> None:
    """Has no effect: functions have no graph of TensorFlow's to write."""


def trace_export(name: str, step: Any = None, profiler_outdir: Any = None) -> None:
    """Has no effect."""


def trace_off() -> None:
    """Has no effect."""
