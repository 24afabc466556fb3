"""Files where no open file can be renamed or removed, as on Windows: emulated by
refusing both while a descriptor of this process refers to the file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kurve.core import files
from kurve.training.checkpoints import folder as checkpoints

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="looks for open files there"
)


def open_here(path: str | os.PathLike[str]) -> bool:
    wanted = os.path.realpath(path)
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == wanted:
                return True
        except OSError:
            continue
    return False


@pytest.fixture(autouse=True)
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def guarding(*paths: Any) -> Any:
            for path in paths:
                if open_here(path):
                    raise PermissionError(13, "Access is denied", path)
            return call(*paths)

        return guarding

    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(files, "_BUSY_SECONDS", 0.3)
    monkeypatch.setattr(files.os, "replace", guarded(os.replace))
    monkeypatch.setattr(files.os, "unlink", guarded(os.unlink))


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in "first", "second":
        files.check_replaceable(path)
        files.write_text(path, text)
        assert path.read_text() == text
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(TypeError), files.replacing(path) as file:
        file.write("new")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_reader_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    reader = path.open()
    timer = threading.Timer(0.05, reader.close)
    timer.start()
    files.write_text(path, "new")
    timer.join()
    assert path.read_text() == "new"


def test_a_reader_that_stays_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with path.open(), pytest.raises(PermissionError):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_only_old_and_closed_temporary_files_are_removed(tmp_path: Path) -> None:
    old, open_, fresh = (tmp_path / f".kurve-{i}.tmp" for i in range(3))
    for path in old, open_, fresh:
        path.write_text("")
    for path in old, open_:
        os.utime(path, (0, time.time() - 2 * files._LEFT_SECONDS))
    with open_.open():
        files.write_text(tmp_path / "a.txt", "")
    assert not old.exists()
    assert open_.exists() and fresh.exists()


def test_a_checkpoint_folder_is_deleted_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    with checkpoints.Folder(path) as folder:
        folder.write({}, {})
        folder.delete()
    assert not path.exists()
