"""A save is old or new: whatever call to the system fails, and wherever power does."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, models
from kurve.core import files
from kurve.layers import Dense
from kurve.saving import ModelFileError
from tests.faults.conftest import Promise, UnderShim
from tests.faults.disk import FSYNC, Operation, operations, states
from tests.faults.fuzz import Loaded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="made for Linux")


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, under_shim: UnderShim
) -> tuple[Path, dict[str, int]]:
    """The folder of `io_faults`, and what it counted."""
    folder = tmp_path_factory.mktemp("saves")
    (folder / "files").mkdir()
    return folder, under_shim("io_faults", folder / "files")


def test_each_call_fails_once(
    run: tuple[Path, dict[str, int]], promise: Promise
) -> None:
    _, counts = run
    saves = counts["save"] + counts["save_weights"] + counts["estimator"]
    loads = counts["load_model"] + counts["load_weights"] + counts["load"]
    assert counts["save"] >= 8 * 9, "open, write, fsync, rename, close each fail"
    assert loads >= 18
    promise(
        "save",
        f"{saves} saves and {loads} loads with a failing system call: old or new "
        "file, no temporary file left, models unchanged",
    )


def outcome(
    done: list[Operation], target: str, old: bytes | None, new: bytes, count: int
) -> Counter[str]:
    """How often the file is the old one, the new one, torn, and what torn ones load
    as, over all prefixes."""
    before = {} if old is None else {target: old}
    found: Counter[str] = Counter()
    rng = random.Random(1)
    scratch = Path(target).parent.parent / "torn.kurve"
    whole = {Loaded(models.load_model(_put(scratch, raw))).content() for raw in (new,)}
    if old is not None:
        whole.add(Loaded(models.load_model(_put(scratch, old))).content())
    for length in range(len(done) + 1):
        for state in states(done[:length], before, rng, count):
            there = state.get(target)
            if there == old:
                found["old"] += 1
            elif there == new:
                found["new"] += 1
            else:
                found["torn"] += 1
                assert there is not None
                try:
                    model = models.load_model(_put(scratch, there))
                except ModelFileError:
                    found["refused"] += 1
                else:
                    assert Loaded(model).content() in whole, "a torn file was taken"
    return found


def _put(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def test_power_fails_anywhere(
    run: tuple[Path, dict[str, int]], soak: bool, promise: Promise
) -> None:
    folder, _ = run
    done = operations((folder / "log").read_bytes())
    target = os.fspath(folder / "files" / "m.kurve")
    old, new = ((folder / f"{n}.kurve").read_bytes() for n in ("old", "new"))
    total, count = 0, 20_000 if soak else 200
    for before in (old, None):
        found = outcome(done, target, before, new, count)
        assert found["torn"] == 0, found
        assert found["old"] > 0 and found["new"] > 0
        total += sum(found.values())
        last = list(
            states(
                done, {} if before is None else {target: before}, random.Random(1), 1
            )
        )
        assert all(state[target] == new for state in last), "a finished save stays"
    # The same disk without syncs: it does tear files, and such files are refused.
    unsynced = [o for o in done if o.op != FSYNC]
    torn = outcome(unsynced, target, old, new, 200)
    assert torn["torn"] > 500 and torn["refused"] == torn["torn"], torn
    promise(
        "save",
        f"{total:,} disk states after a power failure following any of {len(done)} "
        f"calls: 0 torn; without syncs {torn['torn']:,} are, and all are refused",
    )


def test_a_killed_save_leaves_nothing_for_ever(tmp_path: Path) -> None:
    """The next process that writes to the folder removes it; this one keeps what is
    being written."""
    code = (
        "import os, signal, sys\nfrom kurve.core.files import replacing\n"
        "with replacing(sys.argv[1]) as file:\n"
        "    file.write(b'half')\n    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "m.kurve"
    path.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", code, path])
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    files._cleaned.clear()
    with files.replacing(tmp_path / "first") as first:
        first.write(b"1")
        assert len(list(tmp_path.iterdir())) == 2, "the killed one's is gone"
        files._cleaned.clear()
        with files.replacing(tmp_path / "second") as second:
            second.write(b"2")
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["first", "m.kurve", "second"]


def test_a_file_that_grows_too_large(tmp_path: Path) -> None:
    """The system writes what fits and then says no."""
    path = tmp_path / "m.kurve"
    model = Sequential([Input((200,)), Dense(200)])
    model.save(path)
    old = path.read_bytes()
    model.set_weights([w + 1.0 for w in model.get_weights()])
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(OSError, match="File too large") as caught:
            model.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.filename == os.fspath(path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["m.kurve"]


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    real, link = tmp_path / "deep" / "real.kurve", tmp_path / "link.kurve"
    link.symlink_to(real)
    model = Sequential([Input((1,)), Dense(1)])
    model.save(link)
    assert link.is_symlink() and real.is_file()
    real.chmod(0o600)
    model.save(link)
    assert real.stat().st_mode & 0o777 == 0o600
    mask = os.umask(0o027)
    try:
        model.save(tmp_path / "new.kurve")
    finally:
        os.umask(mask)
    assert (tmp_path / "new.kurve").stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileNotFoundError) as caught:
        model.save(tmp_path / "none" / "m.kurve")
    assert caught.value.filename == os.fspath(tmp_path / "none" / "m.kurve")


def test_a_save_beside_training_is_whole(tmp_path: Path) -> None:
    """Another thread may change the weights: the checksums are of what was written."""
    import threading

    model: Any = Sequential([Input((300,)), Dense(300)])
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            model._network.state.params[:] += np.float32(1.0)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            model.save(tmp_path / "m.kurve")
            models.load_model(tmp_path / "m.kurve")
    finally:
        stop.set()
        thread.join()
