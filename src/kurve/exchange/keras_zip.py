"""The zip archive of a .keras file, read without trusting its headers."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from kurve.exchange.hdf5 import room
from kurve.exchange.keras_names import MEMBERS

ZIP_MAGIC = b"PK\x03\x04"
MAX_JSON = 1 << 22
"""Maximum bytes of a configuration."""

ASSETS = "assets/"
"""The folder of members that belong to layers, see `kurve.exchange.keras_assets`."""

MAX_LIST = 1 << 16
"""Maximum bytes of a zip's central directory."""


class _Bounded:
    """A file that limits `zipfile` to a short list of members, because the list takes
    ten times its bytes in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.limit = file, MAX_LIST

    def read(self, size: int = -1) -> bytes:
        if size > self.limit:
            raise ValueError(f"its list of members has more than {self.limit} bytes")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def unzipped(file: IO[bytes], size: int) -> Iterator[dict[str, Callable[[], bytes]]]:
    """The members of a .keras file of this size; see `_members`."""
    bounded = _Bounded(file)
    with zipfile.ZipFile(cast(IO[bytes], bounded)) as archive:
        bounded.limit = size
        yield _members(archive, size)


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, Callable[[], bytes]]:
    """Functions that return the bytes of the three members and of files of layers; the
    sum of their sizes is checked against the file's size."""
    members: dict[str, Callable[[], bytes]] = {}
    claimed = 0
    for info in archive.infolist():
        name = info.filename
        if (name not in MEMBERS and not _is_asset(name)) or name in members:
            raise ValueError(f"it has a member {name[:100]!r}")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"the member {name!r} is not a plain file")
        if info.flag_bits & 1:
            raise ValueError(f"the member {name!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"the member {name!r} is compressed in an unknown way")
        claimed += info.file_size
        if claimed > room(size):
            raise ValueError(
                f"the member {name!r} claims {info.file_size} bytes from "
                f"{info.compress_size}, and the file has room for {room(size)}. "
                "Try a file with less compression"
            )
        limit = MAX_JSON if name.endswith(".json") else None
        if limit is not None and info.file_size > limit:
            raise ValueError(f"the member {name!r} has more than {limit} bytes")
        members[name] = lambda info=info: _member(archive, info)  # type: ignore[misc]
    if missing := set(MEMBERS) - set(members):
        raise ValueError(f"it has no member {min(missing)!r}")
    return members


def _is_asset(name: str) -> bool:
    """Whether it is the name of a file below the folder of assets, and of no other."""
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") for part in parts)
    strange = any(c in "\\:" or not c.isprintable() for c in name)
    return name.startswith(ASSETS) and plain and not strange


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member; never more than its declared size."""
    with archive.open(info) as file:
        raw = file.read(info.file_size)
        if len(raw) != info.file_size or file.read(1):
            raise ValueError(f"the member {info.filename!r} is not as long as it says")
    return raw
