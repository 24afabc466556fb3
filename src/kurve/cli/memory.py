"""Whether a table fits into the memory that is free, before it is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kurve.tables import TableFile

PER_BYTE = 8
"""Bytes of memory that training takes for each decompressed byte of a file, at most."""

PER_CELL = 64
"""Bytes of memory that training takes for each number of the network's inputs."""


def fits(file: TableFile, columns: Sequence[str]) -> bool:
    """Whether the columns can be read as a whole."""
    room = free() // PER_BYTE
    return file.size(columns, room + 1) <= room


def fits_matrix(rows: int, width: int) -> bool:
    """Whether so many rows of so many inputs can be trained with as a whole."""
    return rows * width * PER_CELL <= free()


def free() -> int:
    """Bytes that this process can still take: of the machine, of its control group and
    of its own limit; very many where that is not known."""
    found = [1 << 62]
    with suppress(OSError, ValueError, AttributeError):
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, ValueError):
        with open("/proc/meminfo") as file:  # with what the system only caches
            lines = dict(line.split(":", 1) for line in file)
        found[1:] = [int(lines["MemAvailable"].split()[0]) << 10]
    with suppress(OSError, ValueError):
        group = "/sys/fs/cgroup/memory."
        with open(group + "max") as most, open(group + "current") as now:
            found.append(int(most.read()) - int(now.read()))
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            with open("/proc/self/statm") as file:
                pages = int(file.read().split()[0])
            found.append(limit - pages * os.sysconf("SC_PAGE_SIZE"))
    return max(min(found), 0)
