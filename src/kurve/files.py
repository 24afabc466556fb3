"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file beside `path` that takes its name once it is whole and on the disk.
    After an error nothing is left of it.

        with replacing("report.html") as file:
            file.write(page)

    Raises:
        OSError: the folder is not there or cannot be written to.
    """
    target = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(target)
    try:
        handle, temporary = tempfile.mkstemp(".tmp", name, folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)  # the new name too is on the disk
    finally:
        os.close(directory)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text, in UTF-8, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def _mode(path: str) -> int:
    """Permissions of the file that is there, or of a new one. A temporary file may be
    read by its owner only."""
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
