"""Whether a table fits into free memory, checked before reading."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kurve.tables import TableFile

PER_BYTE = 8
"""Upper bound of the memory for training, per decompressed byte of a file."""

PER_CELL = 64
"""Bytes of memory for training, per number in the network's inputs."""


def fits(file: TableFile, columns: Sequence[str]) -> bool:
    """Whether the columns can be read in one go."""
    limit = free() // PER_BYTE
    return file.size(columns, limit + 1) <= limit


def fits_matrix(rows: int, width: int) -> bool:
    """Whether a network can be trained with a matrix of this size in one go."""
    return rows * width * PER_CELL <= free()


def free() -> int:
    """Bytes that this process can still allocate: the minimum over the machine, its
    control group and its own limit, as far as known."""
    limits = [1 << 62]
    for known in "SC_AVPHYS_PAGES", "SC_PHYS_PAGES":  # macOS only knows the latter
        with suppress(OSError, ValueError, AttributeError):
            limits.append(os.sysconf(known) * os.sysconf("SC_PAGE_SIZE"))
            break
    if sys.platform == "win32":
        limits.append(_free_on_windows())
    with suppress(OSError, ValueError):
        with open("/proc/meminfo") as file:  # includes the page cache
            lines = dict(line.split(":", 1) for line in file)
        limits[1:] = [int(lines["MemAvailable"].split()[0]) << 10]
    with suppress(OSError, ValueError):
        group = "/sys/fs/cgroup/memory."
        with open(group + "max") as limit, open(group + "current") as used:
            limits.append(int(limit.read()) - int(used.read()))
    with suppress(ImportError, OSError, ValueError):
        import resource

        address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
        if address_space != resource.RLIM_INFINITY:
            with open("/proc/self/statm") as file:
                pages = int(file.read().split()[0])
            limits.append(address_space - pages * os.sysconf("SC_PAGE_SIZE"))
    return max(min(limits), 0)


if sys.platform == "win32":
    import ctypes

    class _MemoryStatus(ctypes.Structure):
        """MEMORYSTATUSEX."""

        _fields_ = (
            ("dwLength", ctypes.c_uint32),
            ("dwMemoryLoad", ctypes.c_uint32),
            ("ullTotalPhys", ctypes.c_uint64),
            ("ullAvailPhys", ctypes.c_uint64),
            ("others", ctypes.c_uint64 * 5),
        )

    def _free_on_windows() -> int:
        status = _MemoryStatus(dwLength=ctypes.sizeof(_MemoryStatus))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.ullAvailPhys)
