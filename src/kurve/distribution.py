"""Training by several processes, on one machine or on many, with Keras's names.

    torchrun --nproc-per-node 4 program.py

    import kurve
    kurve.distribution.set_distribution(kurve.distribution.DataParallel())

The rest of the program stays as it is: every process runs all of it and has all data.
The batch size is that of all processes together. Of each step's rows each process
computes its share; the gradients are added, and batch normalization uses the statistics
of all rows, so that N processes compute what one does, to rounding, and the same bits
whenever N is the same. Needs PyTorch, which connects the processes (gloo, NCCL).

What cannot be divided is computed by each process as a whole: batches of fewer than
four rows for each process, stateful layers, formulas that compare the rows of a batch,
training steps of a program's own, evaluation and prediction; and everything on the
reference engine.
"""

from __future__ import annotations

import os
from typing import Any

from kurve import engines
from kurve.core import processes
from kurve.core.arguments import check_number
from kurve.core.entries import entry
from kurve.core.processes import DistributionError as DistributionError

_current: list[DataParallel] = []

__all__ = [
    "DataParallel",
    "DistributionError",
    "distribution",
    "initialize",
    "list_devices",
    "set_distribution",
]


class DataParallel:
    """Each process computes with a share of each batch's rows.

    Args:
        device_mesh, devices: None: the processes are those that torchrun starts.
        auto_shard_dataset: True: each process gets the whole data set.
        timeout: seconds after which a process that does not answer is an error.

    Raises:
        ValueError: other values.

    Example:
        >>> kurve.distribution.DataParallel().timeout
        60.0
    """

    def __init__(
        self,
        device_mesh: Any = None,
        devices: Any = None,
        auto_shard_dataset: bool = True,
        timeout: float = 60.0,
    ) -> None:
        for name, value in (("device_mesh", device_mesh), ("devices", devices)):
            if value is not None:
                raise ValueError(
                    f"[DataParallel] {name} can only be None, because torchrun starts "
                    f"the processes. Received: {name}={value!r}. Try "
                    "torchrun --nproc-per-node 2 program.py."
                )
        if auto_shard_dataset is not True:
            raise ValueError(
                "[DataParallel] auto_shard_dataset can only be True: each process is "
                f"given all data. Received: {auto_shard_dataset!r}. Try DataParallel()."
            )
        self.timeout = check_number("DataParallel", "timeout", timeout, 60.0, 0.1, 1e6)

    def __repr__(self) -> str:
        return f"DataParallel(timeout={self.timeout:g})"


@entry
def set_distribution(value: DataParallel | None) -> None:
    """Train by the processes that torchrun has started; by one alone where it has not.

    Args:
        value: `DataParallel()`, or None to train alone again.

    Raises:
        TypeError: another object.
        ImportError: there are several processes, and PyTorch is not installed.
        DistributionError: a process did not answer in time; it is named.

    Example:
        >>> kurve.distribution.set_distribution(kurve.distribution.DataParallel())
        >>> kurve.distribution.distribution()
        DataParallel(timeout=60)
        >>> kurve.distribution.set_distribution(None)
    """
    if value is None:
        processes.disconnect()
        _current.clear()
        return
    if not isinstance(value, DataParallel):
        raise TypeError(
            "[set_distribution] value must be a DataParallel or None. Received: an "
            f"object of type {type(value).__name__}. Try DataParallel()."
        )
    processes.connect(value.timeout)
    _share_cores()
    _current[:] = [value]


def _share_cores() -> None:
    """Give each of the processes of this machine its part of the cores."""
    here = processes.from_environment("LOCAL_WORLD_SIZE", 1)
    if here > 1 and "KURVE_NUM_THREADS" not in os.environ:
        engines.set_threads(max(1, engines.get_threads() // here))


def distribution() -> DataParallel | None:
    """What `set_distribution` was called with last; None if nothing.

    Example:
        >>> kurve.distribution.distribution() is None
        True
    """
    return _current[0] if _current else None


def initialize(
    job_addresses: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Say which processes train together, where torchrun does not: sets its environment
    variables.

    Args:
        job_addresses: address and port of the first process, "10.0.0.1:29500".
        num_processes: how many there are.
        process_id: number of this one, from 0.

    Raises:
        ValueError: an address without a port.

    Example:
        >>> kurve.distribution.initialize()
    """
    if job_addresses is not None:
        host, _, port = job_addresses.split(",")[0].rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(
                "[initialize] job_addresses must have a port. Received: "
                f"{job_addresses!r}. Try '10.0.0.1:29500'."
            )
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = host, port
    if num_processes is not None:
        os.environ["WORLD_SIZE"] = str(num_processes)
    if process_id is not None:
        os.environ["RANK"] = str(process_id)


def list_devices(device_type: str | None = None) -> list[str]:
    """One name for each process that trains together.

    Args:
        device_type: "cpu" or None.

    Raises:
        ValueError: another type.

    Example:
        >>> kurve.distribution.list_devices()
        ['cpu:0']
    """
    group = processes.active()
    count = 1 if group is None else group.count
    if device_type not in (None, "cpu"):
        raise ValueError(
            "[list_devices] device_type must be 'cpu' or None. "
            f"Received: {device_type!r}. Try list_devices()."
        )
    return [f"cpu:{i}" for i in range(count)]
