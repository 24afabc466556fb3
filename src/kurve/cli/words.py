"""What the command says on its standard streams. Words never stop or lose the work: a
reader that has had enough is no error, another failure is told at the end, and a stream
that is closed hears nothing."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kurve.core.files import named

NAMES = {
    "stdin": "standard input",
    "stdout": "standard output",
    "stderr": "standard error",
}
_failed: list[OSError] = []
_closed: set[str] = set()


def ready() -> None:
    """Before any work: closed streams lead nowhere, and what a stream cannot encode is
    written with backslashes."""
    _failed.clear()
    _closed.clear()
    for name in NAMES:  # in the order of their numbers, so that each gets its own
        if getattr(sys, name) is None:
            _closed.add(name)
            number = os.open(os.devnull, os.O_RDWR)  # stays open
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """A line on standard output."""
    with _tolerant():
        print(text, flush=True)


def silent(text: str) -> None:
    """Nothing."""


def plural(count: int, what: str) -> str:
    """ "1 row", "2,000 rows"."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def printable(text: str) -> str:
    """Text from a file, without what a terminal would take for orders."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def complain(text: str) -> None:
    """A line on standard error."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        mute(sys.stderr)


def finish() -> None:
    """Write what is still held back.

    Raises:
        OSError: not all words could be written.
    """
    with _tolerant():
        sys.stdout.flush()
    if _failed:
        raise _failed[0]


@contextmanager
def standard_output() -> Iterator[Any]:
    """Standard output for data: a failure ends the work, unless the reader has had
    enough."""
    if "stdout" in _closed:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), NAMES["stdout"])
    try:
        yield sys.stdout.buffer
        sys.stdout.flush()
    except BrokenPipeError:
        mute(sys.stdout)
    except OSError as error:
        mute(sys.stdout)
        raise named(error, NAMES["stdout"]) from error


def mute(stream: Any) -> None:
    """Lead a stream nowhere, with what it still holds."""
    with suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


@contextmanager
def _tolerant() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        mute(sys.stdout)
    except OSError as error:
        _failed.append(named(error, NAMES["stdout"]))
        mute(sys.stdout)
