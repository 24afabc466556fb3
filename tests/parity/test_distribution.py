"""Processes that train together compute what one process does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from tests.parity import distributed

pytest.importorskip("torch")
pytestmark = pytest.mark.alone
PROGRAM = distributed.__file__


def run(
    processes: int, folder: Path, what: str, *options: str, fails: bool = False
) -> str:
    """The program by so many processes; its output."""
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(processes),
            *options,
            PROGRAM,
            str(folder),
            what,
        ],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        check=False,
    )
    assert (found.returncode != 0) == fails, found.stderr[-3000:]
    return found.stdout + found.stderr


def read(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """What two and three processes learned."""
    folders = {count: tmp_path_factory.mktemp(f"p{count}") for count in (2, 3)}
    for count, folder in folders.items():
        run(count, folder, "models")
    return folders


@pytest.fixture(scope="module")
def trained_by_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same on the torch engine."""
    folders = {count: tmp_path_factory.mktemp(f"t{count}") for count in (2, 3)}
    for count, folder in folders.items():
        run(count, folder, "models.torch:cpu")
    return folders


@pytest.mark.parametrize("name", distributed.MODELS)
def test_equal_to_one_process(trained: dict[int, Path], name: str) -> None:
    check_equal_to_one(trained, name)


@pytest.mark.parametrize("name", distributed.MODELS)
def test_equal_to_one_process_on_torch(
    trained_by_torch: dict[int, Path], name: str
) -> None:
    check_equal_to_one(trained_by_torch, name)


def check_equal_to_one(trained: dict[int, Path], name: str) -> None:
    """Compare with one process, on the native engine."""
    model, history = distributed.train(name)
    for count, folder in trained.items():
        found = [read(folder / f"{name}-{rank}.npz") for rank in range(count)]
        for other in found[1:]:
            for key, array in other.items():
                np.testing.assert_array_equal(array, found[0][key])
        assert found[0].pop("shared_memory") == Path("/dev/shm").is_dir()
        np.testing.assert_allclose(
            found[0].pop("loss"), history.history["loss"], rtol=1e-5
        )
        for ours, theirs in zip(found[0].values(), model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_processes_that_share_no_memory(
    trained: dict[int, Path], tmp_path: Path
) -> None:
    """Two of them get the same bits as two that do."""
    run(2, tmp_path, "apart")
    for path in tmp_path.iterdir():
        theirs = read(trained[2] / path.name)
        for key, array in read(path).items():
            if key == "shared_memory":
                assert not array
            else:
                np.testing.assert_array_equal(array, theirs[key])
    assert len(list(tmp_path.iterdir())) == 4


def test_two_processes_with_one_gpu(
    trained_by_torch: dict[int, Path], tmp_path: Path
) -> None:
    """They exchange gradients through the host; the GPU is simulated."""
    run(2, tmp_path, "one.torch:cuda")
    first, second = (read(tmp_path / f"batch-{rank}.npz") for rank in range(2))
    theirs = read(trained_by_torch[2] / "batch-0.npz")
    for key, array in first.items():
        np.testing.assert_array_equal(array, second[key])
        np.testing.assert_allclose(array, theirs[key], rtol=1e-3, atol=1e-5)


def test_a_killed_process_and_a_restart(
    trained: dict[int, Path], tmp_path: Path
) -> None:
    """torchrun starts all again; they go on from the checkpoint, with the same bits."""
    out = run(2, tmp_path, "restart", "--max-restarts", "1")
    assert (tmp_path / "killed").exists(), out
    for rank in range(2):
        ours = read(tmp_path / f"all-{rank}.npz")
        theirs = read(trained[2] / f"all-{rank}.npz")
        for key, array in theirs.items():
            np.testing.assert_array_equal(ours[key], array)
    # The first process alone writes the log.
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert len(lines) == 1 + 22 and lines[-1].startswith("21,")


def test_a_lost_process_is_an_error_that_says_so(tmp_path: Path) -> None:
    start = time.monotonic()
    run(2, tmp_path, "lost", fails=True)
    assert time.monotonic() - start < 60
    text = (tmp_path / "error-0").read_text()
    assert text.startswith("[distribution] process 0 of 2 lost another one while")
    assert "checkpoint" in text


@pytest.mark.parametrize("what", ["interrupt", "interrupt.torch:cuda"])
def test_ctrl_c_in_one_process_ends_all(tmp_path: Path, what: str) -> None:
    run(2, tmp_path, what)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "interrupted-0",
        "interrupted-1",
    ]


def test_other_models_are_refused(tmp_path: Path) -> None:
    run(2, tmp_path, "other")
    for rank in range(2):
        assert "must do the same" in (tmp_path / f"error-{rank}").read_text()


def test_wrong_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    where = kurve.distribution
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "two")
        with pytest.raises(ValueError, match=r"WORLD_SIZE must be .*Received: 'two'"):
            where.set_distribution(where.DataParallel())
    with pytest.raises(TypeError, match=r"^\[set_distribution\] value must be"):
        where.set_distribution("data parallel")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="devices can only be None"):
        where.DataParallel(devices=["gpu:0"])
    with pytest.raises(ValueError, match=r"^\[initialize\] .*must have a port"):
        where.initialize("10.0.0.1")
    # One process trains as without it.
    where.set_distribution(where.DataParallel())
    try:
        assert where.list_devices() == ["cpu:0"]
        kurve.Sequential([kurve.layers.Dense(1)]).compile("sgd", "mse")
    finally:
        where.set_distribution(None)
    assert where.distribution() is None
