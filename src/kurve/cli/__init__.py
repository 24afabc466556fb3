"""The command `kurve`: fit, predict, evaluate, inspect, export, demo.

    kurve fit data.csv --target y --report report.html
    kurve predict data.kurve new.csv --out predictions.csv

Exit codes: 0 all is well; 2 wrong usage, wrong data or a file that cannot be written,
with one line on standard error; 130 after Ctrl-C; 1 for what should not happen. A model
that `fit` has trained is on the disk whatever happens after.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from kurve.cli import words

WRONG, UNEXPECTED, INTERRUPTED = 2, 1, 130

TRACEBACK = "KURVE_TRACEBACK"
"""The environment variable that shows where an unexpected error came from."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code.

    Args:
        arguments: words after `kurve`; those of the process by default.
    """
    words.ready()
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
        )
        words.finish()
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            words.complain(error.format_message())
            sys.exit(WRONG)
        name = context.command_path if context is not None else "kurve"
        _fail(f"{name}: {error.format_message()}")
    except (click.Abort, KeyboardInterrupt) as error:
        interrupt = error.__cause__ or error
        words.complain(f"\n{_line('kurve: stopped.', interrupt)}")
        sys.exit(INTERRUPTED)
    except SystemExit:  # click's, where the reader of a help text has had enough
        words.mute(sys.stdout)
    except MemoryError as error:
        _fail(
            _line(
                "kurve: there is not enough memory. Try --chunks, or fewer rows.", error
            )
        )
    except Exception as error:
        if is_users(error):
            _fail(f"kurve: {explained(error)}")
        if os.environ.get(TRACEBACK):
            raise
        what = f"kurve: a fault of Kurve, {type(error).__name__}: {error}."
        trace = f"Try {TRACEBACK}=1 to see where it happened."
        _fail(f"{_line(what, error)} {trace}", UNEXPECTED)
    sys.exit(code if isinstance(code, int) else 0)


def is_users(error: BaseException) -> bool:
    """Whether the user can mend it: the system's errors about files, and Kurve's own,
    which begin with the place in brackets."""
    return isinstance(error, OSError) or bool(re.match(r"\[[\w. ]+\] ", str(error)))


def explained(error: BaseException) -> str:
    """The error in one line, with what was added to it on its way."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        name = error.filename2 or error.filename
        text = error.strerror if name is None else f"{error.strerror}: {name!r}"
        if getattr(error, "__notes__", None):
            text += "."
    return _line(text, error)


def _line(text: str, error: BaseException) -> str:
    return " ".join(" ".join([text, *getattr(error, "__notes__", [])]).split())


def _fail(text: str, code: int = WRONG) -> None:
    words.complain(" ".join(text.split()))
    sys.exit(code)
