"""Atomic file writes."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_PREFIX, _SUFFIX = ".kurve-", ".tmp"
WINDOWS = os.name == "nt"
"""Windows can neither rename nor remove an open file."""

_BUSY_SECONDS = 2.0
"""How long a file may be blocked on Windows, for example while a virus scanner reads
it."""

_LEFT_SECONDS = 60.0
"""Age from which a closed temporary file on Windows is considered abandoned."""

_cleaned: set[tuple[int, str]] = set()
"""Folders in which this process has cleaned up after killed processes."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary file that replaces `path` once it is complete and on disk.

        with replacing("report.html") as file:
            file.write(page)

    It is written next to `path` as `.kurve-*.tmp`, synced, then renamed, so that at any
    moment, even in a power failure, either the old or the new file exists. After an
    error, nothing is left behind. The temporary file of a killed process is removed by
    the next process that writes to the folder. Symbolic links are followed, and the
    permissions of an existing file are kept.

    Raises:
        OSError: the folder does not exist or is not writable, the disk is full, or
            `path` is not a file. The old file is unchanged, unless the error came from
            syncing the folder after the new one was in place.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    mode = _mode(target, os.fspath(path))
    directory = _open_folder(folder, os.fspath(path))
    temporary = os.path.join(folder, f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
    try:
        _remove_leftovers(folder)
        with _created(temporary, mode, os.fspath(path)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not WINDOWS:  # still locked, so that no process removes it
                os.replace(temporary, target)
        if WINDOWS:
            _replace_closed(temporary, target)
        if directory is not None:
            _sync_folder(directory)  # makes the rename durable
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if directory is not None:
            os.close(directory)


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Check whether `replacing` could write a file, before doing the work for it;
    leaves nothing behind.

    Raises:
        OSError: it could not.
    """
    target = os.path.realpath(path)
    _mode(target, os.fspath(path))
    name = f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
    temporary = os.path.join(os.path.dirname(target), name)
    _created(temporary, None, os.fspath(path)).close()
    os.unlink(temporary)


def named(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """The system's error with the file name added, which read and write errors lack."""
    if error.errno is None or error.filename is not None:
        return error
    return OSError(error.errno, error.strerror, os.fspath(path))


def is_temporary(name: str) -> bool:
    """Whether `name` is that of a temporary file of `replacing`."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # for undecodable file names


def _mode(target: str, path: str) -> int | None:
    """Permissions of an existing file; None for a new one.

    Raises:
        OSError: it exists and is not a regular file; renaming would destroy it.
    """
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)
    return stat.S_IMODE(mode)


def _created(temporary: str, mode: int | None, path: str) -> BinaryIO:
    """Create the temporary file, locked while it is open.

    Raises:
        OSError: names `path`, the file the user asked to write.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    while True:
        try:
            handle = os.open(temporary, flags, 0o666 if mode is None else 0o600)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        try:
            # Another process may have cleaned it up before it was locked.
            if _locked(handle, wait=True) and os.fstat(handle).st_nlink == 0:
                os.close(handle)
                continue
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(handle, mode)
            return os.fdopen(handle, "wb")
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            raise


def lock(handle: int, wait: bool = False) -> None:
    """Lock an open file until it is closed or the process ends, however it ends.

    Raises:
        OSError: with the errno EWOULDBLOCK or EACCES, another handle has locked it,
            and `wait` is false; with another one, the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _locked(handle: int, wait: bool = False) -> bool:
    """Whether a temporary file could be locked. On Windows, being open is its lock."""
    if not WINDOWS:
        with contextlib.suppress(OSError):
            lock(handle, wait)
            return True
    return False


def _replace_closed(temporary: str, target: str) -> None:
    """Rename a closed file, once no other program has the old one open."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            os.replace(temporary, target)
        except PermissionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _remove_leftovers(folder: str) -> None:
    """Remove the temporary files of dead processes, once for each folder."""
    key = os.getpid(), folder
    if key in _cleaned:
        return
    _cleaned.add(key)
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        names = [entry.name for entry in found]
        for name in names:
            if is_temporary(name):
                _remove_if_left(os.path.join(folder, name))


def _remove_if_left(path: str) -> None:
    """Remove a temporary file that no process has locked."""
    if WINDOWS:
        with contextlib.suppress(OSError):
            if time.time() - os.stat(path).st_mtime > _LEFT_SECONDS:
                os.unlink(path)
        return
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with contextlib.suppress(OSError):
        handle = os.open(path, flags)
        try:
            if _locked(handle):
                os.unlink(path)
        finally:
            os.close(handle)


def _open_folder(folder: str, path: str) -> int | None:
    """Open a folder for syncing; None if that is impossible."""
    try:
        return os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except PermissionError:  # writable but not readable, or Windows
        return None
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def _sync_folder(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported there
            raise
