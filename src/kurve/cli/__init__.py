"""The command `kurve`: fit, predict, evaluate, inspect, export, demo, live.

    kurve fit data.csv --target y --report report.html
    kurve predict data.kurve new.csv --out predictions.csv

Exit codes: 0 for success; 2 for wrong usage, wrong data or a file that cannot be
written, with one line on standard error; 130 after Ctrl-C; 1 for an internal error. A
model trained by `fit` is already on disk if something fails afterwards.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from kurve.cli import console

USAGE_ERROR, INTERNAL_ERROR, INTERRUPTED = 2, 1, 130

TRACEBACK = "KURVE_TRACEBACK"
"""The environment variable that enables tracebacks of unexpected errors."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code.

    Args:
        arguments: arguments after `kurve`; default: those of the process.
    """
    console.prepare()
    try:
        import click
    except ImportError:
        _fail('kurve: the command needs click. Try pip install "kurve[cli]".')
    from kurve.cli.commands import kurve

    code: object = 0
    try:
        code = kurve.main(
            args=None if arguments is None else list(arguments),
            prog_name="kurve",
            standalone_mode=False,
            obj=list(sys.argv[1:] if arguments is None else arguments),
        )
        console.flush()
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            console.print_error(error.format_message())
            sys.exit(USAGE_ERROR)
        name = context.command_path if context is not None else "kurve"
        _fail(f"{name}: {error.format_message()}")
    except (click.Abort, KeyboardInterrupt) as error:
        interrupt = error.__cause__ or error
        console.print_error(f"\n{_line('kurve: stopped.', interrupt)}")
        sys.exit(INTERRUPTED)
    except SystemExit:  # by click, if the reader of a help text has closed the pipe
        console.discard(sys.stdout)
    except MemoryError as error:
        _fail(
            _line(
                "kurve: there is not enough memory. Try --chunks, or fewer rows.", error
            )
        )
    except Exception as error:
        if is_user_error(error):
            _fail(f"kurve: {one_line(error)}")
        if os.environ.get(TRACEBACK):
            raise
        text = f"kurve: internal error, {type(error).__name__}: {error}."
        fix = f"Try {TRACEBACK}=1 to see where it happened."
        _fail(f"{_line(text, error)} {fix}", INTERNAL_ERROR)
    sys.exit(code if isinstance(code, int) else 0)


def is_user_error(error: BaseException) -> bool:
    """Whether the user can fix the error: file errors of the system, and Kurve's
    errors, which start with a location in brackets."""
    return isinstance(error, OSError) or bool(re.match(r"\[[\w. ]+\] ", str(error)))


def one_line(error: BaseException) -> str:
    """The error on one line, with its notes."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        name = error.filename2 or error.filename
        text = error.strerror if name is None else f"{error.strerror}: {name!r}"
        if getattr(error, "__notes__", None):
            text += "."
    return _line(text, error)


def _line(text: str, error: BaseException) -> str:
    return " ".join(" ".join([text, *getattr(error, "__notes__", [])]).split())


def _fail(text: str, code: int = USAGE_ERROR) -> None:
    console.print_error(" ".join(text.split()))
    sys.exit(code)
