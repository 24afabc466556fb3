"""Output of the command on its standard streams. Failing output never stops the work: a
closed pipe is not an error, other failures are reported at the end, and output to a
closed stream is dropped."""

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


def prepare() -> None:
    """Before any work: connect closed streams to the null device, and let standard
    output escape what it cannot encode with backslashes."""
    _failed.clear()
    _closed.clear()
    for name in NAMES:  # in descriptor order, so that each gets its own
        if getattr(sys, name) is None:
            _closed.add(name)
            descriptor = os.open(os.devnull, os.O_RDWR)  # stays open
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a line on standard output."""
    with _deferring_errors():
        print(text, flush=True)


def say_nothing(text: str) -> None:
    """Replaces `say` with --quiet."""


def plural(count: int, noun: str) -> str:
    """ "1 row", "2,000 rows"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def printable(text: str) -> str:
    """Text from a file, with control characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_error(text: str) -> None:
    """Print a line on standard error."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        discard(sys.stderr)


def flush() -> None:
    """Write all buffered output.

    Raises:
        OSError: some output could not be written.
    """
    with _deferring_errors():
        sys.stdout.flush()
    if _failed:
        raise _failed[0]


@contextmanager
def standard_output() -> Iterator[Any]:
    """Standard output for data: failures are errors, except for a closed pipe."""
    if "stdout" in _closed:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), NAMES["stdout"])
    try:
        yield sys.stdout.buffer
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise named(error, NAMES["stdout"]) from error


def discard(stream: Any) -> None:
    """Connect a stream to the null device and discard its buffer."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)


@contextmanager
def _deferring_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        _failed.append(named(error, NAMES["stdout"]))
        discard(sys.stdout)
