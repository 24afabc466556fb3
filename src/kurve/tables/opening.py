"""Opening a table by its name: formats, pipes, standard input."""

from __future__ import annotations

import difflib
import errno
import os
import stat
import sys
import tempfile
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from kurve.core.entries import entry
from kurve.errors import TableError
from kurve.tables.arrow import ArrowFile
from kurve.tables.delimited import Delimited
from kurve.tables.other_formats import WholeFile
from kurve.tables.table_file import Batches, TableFile

if TYPE_CHECKING:
    import pyarrow

FORMATS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
"""Format by the ending of a file's name; .gz, .bz2 or .zst may follow that of text."""

STANDARD_INPUT = "-"
SPOOLED = 1 << 28
"""Bytes of standard input kept in memory; more go to a temporary file."""


@entry
def read(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    format: str | None = None,
    **options: Any,
) -> pyarrow.Table:
    r"""Read the table in a file.

    Args:
        path: name of the file; "-" is standard input.
        columns: names of the columns to read; all by default.
        format: "csv", "tsv", "parquet", "feather", "excel" or "jsonl"; by the name's
            ending if None.
        options: for text: delimiter, decimal, encoding, header, missing_values,
            comment; see `kurve.tables.Delimited`.

    Raises:
        TableError: the file does not exist, is corrupt or is not a table; there is no
            such column.
        ImportError: pyarrow is not installed.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> kurve.tables.read("data.csv", columns=["y"]).to_pydict()
        {'y': [2, 4]}
    """
    return open_table(path, format=format, **options).read(columns)


def batches(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    format: str | None = None,
    **options: Any,
) -> Batches:
    r"""Read the table in a file as chunks that fit in memory; see `read`.

    This call reads a text file once, to infer the column types.

    Args:
        path, columns, format, options: see `read`.

    Raises:
        TableError, ImportError: as `read`.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> sum(len(table) for table in kurve.tables.batches("data.csv"))
        2
    """
    return Batches(open_table(path, format=format, **options), columns)


@entry
def open_table(
    path: str | os.PathLike[str], *, format: str | None = None, **options: Any
) -> TableFile:
    r"""Open a file and read its header; see `read`.

    Args:
        path, format, options: see `read`.

    Raises:
        TableError, ImportError: as `read`.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> kurve.tables.open_table("data.csv").names
        ['x', 'y']
    """
    path = os.fspath(path)
    require_pyarrow("read")
    stream: Any = None
    name = path
    if path == STANDARD_INPUT:
        name = "standard input"
        if format is None:
            raise TableError(
                "[read] standard input needs a format, because it has no file name. "
                'Received: path="-". Try format="csv".'
            )
        stream = _spooled(sys.stdin.buffer)
    else:
        try:
            stream = _stream_of(path)
        except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
            reason = getattr(error, "strerror", None) or str(error)
            raise TableError(
                f"[read] the file must exist and be readable. Received: {path!r} "
                f"({reason}). {_similar_file(path, reason)}"
            ) from None
    format = format or format_of(path)
    file: TableFile
    if format in ("csv", "tsv"):
        file = Delimited(name, stream, format, **options)
    elif format in ("excel", "jsonl"):
        file = WholeFile(name, stream, format, options.get("missing_values", ()))
    else:
        file = ArrowFile(name, stream, format)
    if stream is not None:
        weakref.finalize(file, stream.close)
    return file


def format_of(path: str) -> str:
    """ "csv", "tsv", "parquet", "feather", "excel" or "jsonl", by the ending of a
    file's name.

    Raises:
        TableError: an unknown ending.
    """
    stem = path.lower()
    for packed in (".gz", ".bz2", ".zst"):
        stem = stem.removesuffix(packed)
    ending = os.path.splitext(stem)[1]
    if ending not in FORMATS:
        raise TableError(
            "[read] the file's name must end in a known format. "
            f'Received: {path!r}. Try one of {", ".join(FORMATS)}, or format="csv".'
        )
    return FORMATS[ending]


def require_pyarrow(where: str) -> None:
    """Raise ImportError, saying what to install, if pyarrow is missing."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"[{where}] tables are read with pyarrow, which is not installed. "
            f'Received: {error}. Try pip install "kurve[data]".'
        ) from None


def _stream_of(path: str) -> Any:
    """None for a regular file, which can be read repeatedly; the spooled bytes of a
    pipe.

    Raises:
        OSError: no such file, or one that cannot be read.
    """
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode):
            return None
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            return _spooled(file)
    raise OSError(errno.EINVAL, "Not a file or pipe")


def _spooled(pipe: BinaryIO) -> BinaryIO:
    """All bytes of a pipe, as a file that can seek."""
    stream = tempfile.SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 (closed with the table)
    while piece := pipe.read(1 << 20):
        stream.write(piece)
    return stream  # type: ignore[return-value]


def _similar_file(path: str, reason: str) -> str:
    """A suggestion for a file that could not be opened."""
    if reason != os.strerror(errno.ENOENT):
        return "Try another file."
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return f"Try another folder than {folder!r}."
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {os.path.join(folder, near[0])!r}?"
    return "Try the name of an existing file."
