"""The checkpoint folder: a lock, and two files written alternately.

Each new checkpoint atomically replaces the older of the two, so one always remains
if the newest is damaged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from kurve.core import files
from kurve.core.container import reading, writing
from kurve.core.container.errors import ModelFileError
from kurve.core.entries import warn
from kurve.core.files import is_temporary, lock
from kurve.core.processes import Processes
from kurve.errors import CheckpointError, CheckpointInUseError

LOCK = "checkpoint.lock"
FILES = ("checkpoint-0.kurve", "checkpoint-1.kurve")

Content = tuple[dict[str, Any], dict[str, np.ndarray]]
"""Metadata and tensors of a file."""


class Folder:
    """A folder used by one `fit` at a time; as a context manager, it holds the lock.

    The system releases the lock when the process ends, however it ends.

    Args:
        path: created if it does not exist.
        generations: 2, or 1 to keep only the newest checkpoint.

    Raises:
        CheckpointInUseError: another fit holds the lock.
        OSError: the folder cannot be created or written to.
    """

    def __init__(self, path: str | os.PathLike[str], generations: int = 2) -> None:
        self.path, self.generations = os.fspath(path), generations
        self._lock = -1
        self._sequence = 0
        self._next = FILES[0]

    def __enter__(self) -> Folder:
        os.makedirs(self.path, exist_ok=True)
        self._lock = _locked(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            with contextlib.suppress(OSError):  # the fit does not depend on it
                os.close(self._lock)
            self._lock = -1

    def newest(self) -> Content | None:
        """The newest intact checkpoint, or None if there is no checkpoint.

        Raises:
            CheckpointError: there are checkpoints, but none can be read.
        """
        found: list[tuple[int, str]] = []
        damaged: list[str] = []
        for name in FILES:
            try:
                info, _ = reading.read_header(self._at(name))
                found.append((int(info["sequence"]), name))
            except FileNotFoundError:
                continue
            except (ModelFileError, OSError, KeyError, TypeError) as error:
                damaged.append(_reason(self._at(name), error))
        for sequence, name in sorted(found, reverse=True):
            try:
                content = reading.read(self._at(name))
            except (ModelFileError, OSError) as error:
                damaged.append(_reason(self._at(name), error))
                continue
            if damaged:
                warn(
                    f"[fit] {damaged[0]}. Training resumes from the previous "
                    "checkpoint.",
                    RuntimeWarning,
                )
            self._sequence, self._next = sequence, self._other(name)
            return content
        if damaged:
            raise CheckpointError(
                f"[fit] no checkpoint in {self.path!r} can be read. "
                f"Received: {'; '.join(damaged)}. "
                "Try another folder, or deleting this one to start over."
            )
        return None

    def write(self, info: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        """Write the next checkpoint over the older one.

        Raises:
            OSError: any operation failed; names the file; both checkpoints are
                unchanged, or the new one is in place but possibly not durable yet.
            ValueError: more than a file can hold.
        """
        content = {**info, "sequence": self._sequence + 1}
        writing.write(self._at(self._next), content, tensors)
        self._sequence += 1
        self._next = self._other(self._next)

    def delete(self) -> None:
        """Remove all files written by `Folder`, and the folder if it is then empty.
        Anything that cannot be removed stays."""
        with contextlib.suppress(OSError):
            left = [n for n in os.listdir(self.path) if is_temporary(n)]
            for name in (*FILES, *left, LOCK):
                if name == LOCK and files.WINDOWS:  # which removes no open file
                    self._release()
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._at(name))
            os.rmdir(self.path)

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _other(self, name: str) -> str:
        return FILES[(FILES.index(name) + 1) % self.generations]


class SharedFolder(Folder):
    """The folder of processes that train together: the first one reads and writes, and
    sends the others what it has read."""

    def __init__(
        self, path: str | os.PathLike[str], generations: int, processes: Processes
    ) -> None:
        super().__init__(path, generations)
        self.processes = processes

    def __enter__(self) -> Folder:
        return super().__enter__() if self.processes.rank == 0 else self

    def newest(self) -> Content | None:
        with tempfile.TemporaryDirectory() as folder:
            path, data = os.path.join(folder, FILES[0]), b""
            content = super().newest() if self.processes.rank == 0 else None
            if content is not None:
                writing.write(path, *content)
                data = Path(path).read_bytes()
            data = self.processes.from_first(data, "reading a checkpoint")
            if self.processes.rank and data:
                Path(path).write_bytes(data)
                content = reading.read(path)
        return content

    def write(self, info: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
        if self.processes.rank == 0:
            super().write(info, tensors)

    def delete(self) -> None:
        if self.processes.rank == 0:
            super().delete()


def _reason(path: str, error: Exception) -> str:
    return f"{path!r} cannot be read ({type(error).__name__}: {error})"


def _locked(folder: str) -> int:
    """Open a file that holds the folder's lock."""
    path = os.path.join(folder, LOCK)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock(handle)
            # The previous holder may have removed the file.
            if _same_file(handle, path):
                return handle
        except OSError as error:
            os.close(handle)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise CheckpointInUseError(
                "[fit] only one fit at a time can use a checkpoint folder. "
                f"Received: {folder!r}, in use by another fit or process. Try another "
                "folder, or wait until it has ended."
            ) from None
        os.close(handle)


def _same_file(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
