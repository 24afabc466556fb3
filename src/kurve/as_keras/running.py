"""Runs a program with Kurve in place of Keras and TensorFlow."""

from __future__ import annotations

import ast
import builtins
import linecache
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType, TracebackType
from typing import Any

from kurve.as_keras.programs import Cell, read
from kurve.core.entries import shown


def run(path: str, arguments: Sequence[str] = ()) -> int:
    """Run a program or notebook as Python would: as `__main__`, with its arguments, and
    with its folder first in the module search path.

    Args:
        path: ends in .ipynb for a notebook, whose cells run in order; the value of a
            cell's last expression is printed.
        arguments: the program's `sys.argv[1:]`.

    Returns:
        The exit code: 0, that of its `sys.exit`, or 1 after an error, which is printed
        with a traceback of the program's lines.

    Raises:
        OSError: file not found.
        ValueError: not a program.
        RuntimeError: Keras or TensorFlow is already imported.
    """
    cells = read(path)
    from kurve.as_keras.importing import install

    install()
    _choose_backend()
    main = ModuleType("__main__")
    main.__file__ = path
    vars(main)["__builtins__"] = builtins
    vars(main)["get_ipython"] = _Shell
    if path.endswith(".ipynb"):
        vars(main)["display"] = print
    before = sys.argv, sys.modules.get("__main__")
    sys.argv = [path, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    sys.modules["__main__"] = main
    try:
        for cell in cells:
            for line, text in cell.skipped:
                place = f"{path}, {cell.place(line)}"
                print(f"kurve: {place}: skipped: {text}", file=sys.stderr)
            _execute(cell, vars(main))
    except SystemExit as error:
        return _code(error)
    except Exception as error:
        _report(error)
        return 1
    finally:
        sys.argv = before[0]
        if before[1] is not None:
            sys.modules["__main__"] = before[1]
    return 0


class _Shell:
    """Stands in for IPython in a notebook saved as a program: each command is skipped,
    with a note."""

    def __getattr__(self, name: str) -> Any:
        def skip(*words: Any) -> None:
            text = " ".join(map(str, words))
            print(f"kurve: skipped: {name} {text}".rstrip(), file=sys.stderr)

        return skip


def _execute(cell: Cell, names: dict[str, Any]) -> None:
    if cell.number:  # tracebacks find no file with the lines
        lines = cell.text.splitlines(keepends=True)
        linecache.cache[cell.name] = (len(cell.text), None, lines, cell.name)
        tree = ast.parse(cell.text, cell.name)
        quiet = cell.text.rstrip().endswith(";")
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not quiet:
            last = ast.Interactive([tree.body.pop()])
            exec(compile(tree, cell.name, "exec"), names)
            exec(compile(last, cell.name, "single"), names)
            return
    exec(compile(cell.text, cell.name, "exec"), names)


def _choose_backend() -> None:
    """Let matplotlib draw without a window if there is no display."""
    screen = sys.platform != "linux" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not screen:
        os.environ.setdefault("MPLBACKEND", "Agg")


def _report(error: Exception) -> None:
    """Print the traceback, starting at the program's first line."""
    frames: TracebackType | None = shown(error).__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    sys.stdout.flush()
    traceback.print_exception(type(error), error, frames)


def _code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    print(error.code, file=sys.stderr)
    return 1
