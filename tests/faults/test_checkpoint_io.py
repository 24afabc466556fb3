"""A disk that fails or loses power never destroys a fit with checkpoints."""

from __future__ import annotations

import itertools
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kurve
from kurve.core.container import writing
from kurve.errors import CheckpointError
from kurve.training.checkpoints.folder import Folder
from tests.faults.checkpoint_io import fit, fresh
from tests.faults.conftest import Promise, UnderShim
from tests.faults.disk import FSYNC, RENAME, Operation, operations, states

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="made for Linux")
RNG = random.Random(2)
Counts = dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, under_shim: UnderShim, soak: bool
) -> Iterator[tuple[Path, Counts]]:
    """The folder of `checkpoint_io`, and what it counted."""
    memory = Path("/dev/shm")  # where syncing takes no time
    where = memory if memory.is_dir() else tmp_path_factory.getbasetemp()
    with tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name) / "files"
        yield folder, under_shim("checkpoint_io", folder, *(["all"] if soak else []))


def test_each_call_fails_once(run: tuple[Path, Counts], promise: Promise) -> None:
    """Before the first step that is an error, later a warning; the model is as it would
    be without, and the same call goes on when the disk is well again."""
    _, counts = run
    for kind in ("new", "old"):
        assert counts[kind]["faults"] > 80
        assert counts[kind]["ended"] > 5 * counts[kind]["refused"] > 0
    promise(
        "kill",
        f"{sum(c['faults'] for c in counts.values())} system calls failed, one "
        "in each fit: fits that had started ended with the same bits, and so did the "
        "same call afterwards",
    )


def test_power_fails_anywhere(
    run: tuple[Path, Counts], soak: bool, tmp_path: Path, promise: Promise
) -> None:
    """After any call, whatever of the writes that were not synced is on the disk: the
    newest checkpoint that was whole by then is found, or one that is newer."""
    folder, _ = run
    kurve.set_engine("reference")
    done = operations(Path(f"{folder}.log").read_bytes())
    whole = fit(fresh(), None)
    seen: dict[tuple[bytes, ...], int] = {}
    ends: set[int] = set()
    total = 0

    def look(state: dict[str, bytes]) -> int:
        """The sequence number of the checkpoint that is found; 0 for none, -1 if there
        is only a damaged one."""
        names = [str(folder / f"checkpoint-{i}.kurve") for i in (0, 1)]
        key = tuple(state.get(name, b"none") for name in names)
        if key in seen:
            return seen[key]
        scratch = tmp_path / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        for path, content in state.items():
            (scratch / Path(path).name).write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                with Folder(scratch) as found:
                    content = found.newest()
                number = 0 if content is None else int(content[0]["sequence"])
            except CheckpointError:
                number = -1
            if number > 0 and number not in ends:
                assert fit(fresh(7), scratch) == whole
                ends.add(number)
        seen[key] = number
        return number

    def durable(length: int) -> int:
        """How many checkpoints are whole after so many calls: the folder was synced
        after their names were given."""
        count, named = 0, 0
        for operation in done[:length]:
            named += operation.op == RENAME
            if operation.op == FSYNC and operation.fd in folders:
                count = named
        return count

    folders = {o.fd for o in done if o.op == 7}
    for length in range(len(done) + 1):
        least = durable(length)
        for state in states(done[:length], {}, random.Random(1), 99 if soak else 3):
            assert least <= look(state) <= least + 1
            total += 1
    assert durable(len(done)) == 8 and ends == set(range(1, 9))
    promise(
        "kill",
        f"{total:,} disk states after a power failure following any of {len(done)} "
        f"calls of {len(ends)} checkpoints: the last complete one, or a newer one, "
        "was found",
    )
    _without_syncs(done, look)


def _without_syncs(
    done: list[Operation], look: Callable[[dict[str, bytes]], int]
) -> None:
    """Such a disk does tear files: then the one before is found, or none, never a wrong
    one (`look` resumes each)."""
    unsynced = [o for o in done if o.op != FSYNC]
    seen = set()
    for length in range(len(unsynced) // 3):
        for state in itertools.islice(states(unsynced[:length], {}, RNG, 1), 2000):
            seen.add(look(state))
    assert {-1, 0, 1} <= seen


def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """The text names the folder, and the next checkpoint is written again."""
    model, calls = fresh(), []
    write = writing.write

    def full(*arguments: object) -> None:
        calls.append(1)
        if 3 <= len(calls) <= 5:
            raise OSError(28, "No space left on device", arguments[0])
        write(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "write", full)
        with pytest.warns(RuntimeWarning) as warned:
            found = fit(model, tmp_path)
    assert found == fit(fresh(), None)
    assert len(warned) == 3
    assert str(warned[0].message) == (
        f"[fit] no checkpoint could be written to {str(tmp_path)!r}: [Errno 28] No "
        f"space left on device: {str(tmp_path / 'checkpoint-0.kurve')!r}. Training "
        "continues; the previous checkpoint is unchanged."
    )
    assert fit(fresh(5), tmp_path) == found
