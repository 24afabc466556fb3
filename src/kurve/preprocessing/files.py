"""Files in Keras's cache folder, and safe unpacking of archives there."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kurve.core.arguments import check_flag
from kurve.core.entries import entry
from kurve.errors import MissingFileError, lookup

ARCHIVES = {"auto": ("tar", "zip"), "tar": ("tar",), "zip": ("zip",), None: ()}


@entry
def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str | os.PathLike[str] = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """The path of a file in Keras's download cache, or its folder after unpacking.
    Nothing is downloaded: an error says where to put the file.

    An archive is unpacked next to itself. Members that would land outside that folder
    are refused, and so are links and devices.

    Args:
        fname: the file's name, by default that in `origin`; an existing path is used
            directly.
        origin: the address of the file; file:// addresses are copied.
        untar: old name of `extract`.
        md5_hash: old name of `file_hash`.
        file_hash: hash of the file, in hexadecimal.
        cache_subdir: folder inside cache_dir.
        hash_algorithm: "auto", "md5" or "sha256".
        extract: whether to unpack it as an archive.
        archive_format: "auto", "tar", "zip" or None for none.
        cache_dir: by default $KERAS_HOME, or .keras in the home folder.
        force_download: accepted and ignored; nothing is downloaded.

    Raises:
        MissingFileError: the file does not exist.
        ValueError: no name, a hash mismatch, or an unsafe archive.

    Example:
        >>> from pathlib import Path
        >>> folder = Path("cache/datasets")
        >>> folder.mkdir(parents=True)
        >>> _ = (folder / "a.csv").write_text("1,2")
        >>> origin = "https://example.org/a.csv"
        >>> kurve.utils.get_file("a.csv", origin, cache_dir="cache")
        'cache/datasets/a.csv'
    """
    extract = check_flag("get_file", "extract", extract or untar)
    check_flag("get_file", "force_download", force_download)
    kinds = lookup_format(archive_format)
    home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    base = os.path.expanduser(os.fspath(home if cache_dir is None else cache_dir))
    folder = os.path.join(base, os.fspath(cache_subdir))
    name = os.fspath(fname or "") or os.path.basename(urlsplit(origin or "").path)
    if not name or os.path.basename(name) in ("", ".", ".."):
        raise ValueError(
            "[get_file] the file needs a name, by fname or in origin. "
            f"Received: fname={fname!r}, origin={origin!r}. Try fname='data.csv'."
        )
    given = fname is not None and os.path.dirname(name) != ""
    stem = name.partition(".")[0]
    if given:
        target, unpacked = name, f"{name}_extracted"
        found = [target]
    elif not extract:
        target = unpacked = os.path.join(folder, name)
        found = [target]
    else:
        dotted = fname is not None and "." in name
        unpacked = os.path.join(folder, f"{stem}_extracted" if dotted else name)
        target = os.path.join(folder, name if dotted else f"{name}_archive")
        found = [
            target,
            os.path.join(folder, os.path.basename(urlsplit(origin or "").path)),
        ]
    there = [path for path in found if os.path.isfile(path)]
    if not there and origin and urlsplit(origin).scheme == "file":
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        source = urlsplit(origin).path
        if os.path.isfile(source):
            shutil.copyfile(source, target)
            there = [target]
    if not there:
        if extract and os.path.isdir(unpacked):
            return unpacked
        raise MissingFileError(
            "[get_file] nothing is downloaded, and the file is not there. Received: "
            f"{target!r}. Try getting it from {origin or 'its author'} and putting it "
            "there."
        )
    expected = file_hash if file_hash is not None else md5_hash
    if expected is not None:
        _check_hash(there[0], expected, hash_algorithm)
    if not extract:
        return there[0]
    if not os.path.isdir(unpacked):
        _unpack(there[0], unpacked, kinds)
    return unpacked


def lookup_format(archive_format: Any) -> tuple[str, ...]:
    """The kinds of archives that can be unpacked."""
    if isinstance(archive_format, (list, tuple)):
        return tuple(kind for one in archive_format for kind in lookup_format(one))
    if archive_format is None:
        return ()
    known = {k: v for k, v in ARCHIVES.items() if k is not None}
    found: tuple[str, ...] = lookup("get_file", "archive_format", archive_format, known)
    return found


def _check_hash(path: str, expected: str, algorithm: str) -> None:
    names = {"auto": "", "md5": "md5", "sha256": "sha256"}
    name = lookup("get_file", "hash_algorithm", algorithm, names)
    name = name or ("sha256" if len(expected) == 64 else "md5")
    with open(path, "rb") as file:
        made = hashlib.new(name, usedforsecurity=False)
        while piece := file.read(1 << 20):
            made.update(piece)
    if made.hexdigest() != expected.lower():
        raise ValueError(
            f"[get_file] the file must have the {name} {expected}. Received: {path!r} "
            f"with {made.hexdigest()}. Try getting it again."
        )


def _unpack(path: str, folder: str, kinds: tuple[str, ...]) -> None:
    """Unpack an archive into a new folder, all or nothing."""
    beside = f"{folder}.{os.getpid()}"
    try:
        if "tar" in kinds and tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                for info in archive:
                    _check_member(path, info.name, info.isfile() or info.isdir())
                    if info.isfile():
                        source: Any = archive.extractfile(info)
                        _write(beside, info.name, source)
        elif "zip" in kinds and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive_:
                for entry_ in archive_.infolist():
                    is_link = entry_.external_attr >> 28 == 0o12
                    _check_member(path, entry_.filename, not is_link)
                    if not entry_.is_dir():
                        _write(beside, entry_.filename, archive_.open(entry_))
        else:
            raise ValueError(
                f"[get_file] the file must be an archive: {' or '.join(kinds)}. "
                f"Received: {path!r}. Try extract=False."
            )
        os.replace(beside, folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(
            f"[get_file] the archive is damaged. Received: {path!r}, but {error}. "
            "Try getting it again."
        ) from error
    finally:
        if os.path.isdir(beside):
            shutil.rmtree(beside)


def _check_member(path: str, name: str, is_plain: bool) -> None:
    parts = Path(name.replace("\\", "/")).parts
    outside = os.path.isabs(name) or ".." in parts or ":" in "".join(parts[:1])
    if outside or not is_plain:
        raise ValueError(
            "[get_file] an archive must only contain files and folders inside its "
            "folder"
            f". Received: {name!r} in {path!r}. Try another copy, from its author."
        )


def _write(folder: str, name: str, source: Any) -> None:
    target = os.path.join(folder, name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with source, open(target, "wb") as file:
        shutil.copyfileobj(source, file)
