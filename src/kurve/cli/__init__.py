"""The command `kurve`: fit, predict, evaluate, inspect, export, demo.

    kurve fit data.csv --target y --report report.html
    kurve predict data.kurve new.csv --out predictions.csv

Exit codes: 0 all is well; 2 wrong usage or wrong data, with one line on standard error
and nothing written; 130 after Ctrl-C; 1 for what should not happen.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

WRONG, UNEXPECTED, INTERRUPTED = 2, 1, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code.

    Args:
        arguments: words after `kurve`; those of the process by default.
    """
    try:
        import click
    except ImportError:
        print(
            'kurve: the command needs click. Try pip install "kurve[cli]".',
            file=sys.stderr,
        )
        sys.exit(WRONG)
    from kurve.cli.commands import kurve

    try:
        code = kurve.main(
            args=None if arguments is None else list(arguments),
            prog_name="kurve",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            sys.exit(WRONG)
        name = context.command_path if context is not None else "kurve"
        _fail(name, error.format_message())
    except (click.Abort, KeyboardInterrupt):
        print("\nkurve: stopped.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not is_users(error):
            raise
        _fail("kurve", explained(error))
    sys.exit(code if isinstance(code, int) else 0)


def is_users(error: BaseException) -> bool:
    """Whether the user can mend it: the system's errors about files, and Kurve's own,
    which begin with the place in brackets."""
    return isinstance(error, OSError) or str(error).startswith("[")


def explained(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, OSError) and error.strerror:
        name = error.filename2 or error.filename
        text = error.strerror if name is None else f"{error.strerror}: {name!r}"
    else:
        text = str(error)
    return " ".join(text.split())


def _fail(name: str, text: str) -> None:
    print(f"{name}: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(WRONG)
