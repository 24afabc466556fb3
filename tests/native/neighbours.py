"""Time training steps while another program takes one of the cores away.

Each line shows a neighbour, the microseconds of a step on one thread and on two (mean
and 99th percentile), and the ratio of the means. A round runs all neighbours in turn;
the medians over the rounds are printed. Needs Linux and two cores; neighbours with
real-time priority, stopped threads or quotas also need root.

usage: neighbours.py DRIVER [ROUNDS] [WORD OF A NEIGHBOUR'S NAME]
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import multiprocessing
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

SECONDS = 0.4
SEIZE, INTERRUPT, CONTINUE, WAIT_ALL = 0x4206, 0x4207, 7, 0x40000000


def real_time(priority: int) -> None:
    """Take priority over other programs, so that only the neighbour interferes."""
    policy = os.SCHED_RR if priority else os.SCHED_OTHER
    os.sched_setscheduler(0, policy, os.sched_param(priority))


def burn(
    core: int,
    on: float,
    off: float,
    priority: int = 50,
    put: Callable[[int], None] = lambda pid: None,
) -> None:
    """Use a core for `on` of every `on + off` seconds."""
    os.sched_setaffinity(0, {core})
    real_time(priority)
    put(os.getpid())
    while True:
        end = time.monotonic() + on
        while time.monotonic() < end:
            pass
        time.sleep(off)


def hold(pid: int, times: Iterable[tuple[float, float]]) -> int:
    """Repeatedly stop all threads that a process has started for the first time of a
    pair and let them run for the second, in seconds, until the process ends.

    Returns:
        How often a thread was stopped.

    Raises:
        PermissionError: where the system does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    end = select.poll()
    end.register(os.pidfd_open(pid))

    def trace(request: int, tid: int) -> bool:
        return libc.ptrace(request, ctypes.c_long(tid), None, None) == 0

    held: set[int] = set()
    stops = 0
    for stopped, free in times:
        if end.poll(0):
            break
        for tid in (
            {int(name) for name in os.listdir(f"/proc/{pid}/task")} - held - {pid}
        ):
            if trace(SEIZE, tid):
                held.add(tid)
            elif ctypes.get_errno() == errno.EPERM:
                raise PermissionError("ptrace")
        for tid in held:
            if trace(INTERRUPT, tid):
                os.waitpid(tid, WAIT_ALL)
                stops += 1
        time.sleep(stopped)
        for tid in held:
            trace(CONTINUE, tid)
        time.sleep(free)
    return stops


@contextlib.contextmanager
def beside(*targets: tuple[Callable[..., None], tuple[object, ...]]) -> Iterator[None]:
    """Processes that run for the duration of a `with` block."""
    processes = [multiprocessing.Process(target=f, args=a) for f, a in targets]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def put(folder: Path, pid: int) -> None:
    (folder / "cgroup.procs").write_text(str(pid))


@contextlib.contextmanager
def group(name: str, cpus: float = 64) -> Iterator[Callable[[int], None]]:
    """A control group with priority over other programs and at most so many CPUs.

    Yields a function that moves a process into it.
    """
    folder = Path("/sys/fs/cgroup/cpu", name)
    limit, share = ("cpu.cfs_quota_us", f"{cpus * 1e5:.0f}"), ("cpu.shares", "262144")
    if not folder.parent.is_dir():
        folder = Path("/sys/fs/cgroup", name)
        limit, share = ("cpu.max", f"{cpus * 1e5:.0f} 100000"), ("cpu.weight", "10000")
    folder.mkdir()
    try:
        for file, text in (limit, share):
            (folder / file).write_text(text)
        yield lambda pid: put(folder, pid)
    finally:
        time.sleep(0.05)  # until the processes have ended
        folder.rmdir()


def steps(
    driver: str,
    threads: int,
    then: Callable[[int], object] = lambda pid: None,
    first: bool = True,
) -> list[float]:
    """Mean, median, 99th percentile and maximum, in microseconds."""
    process = subprocess.Popen(
        [driver, "time", "article", "20", str(threads), str(SECONDS)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: real_time(10 if first else 0),
    )
    then(process.pid)
    out, _ = process.communicate(timeout=120)
    return [float(word) for word in out.split()]


def burner(core: int, on: float, off: float) -> Callable[..., list[float]]:
    def run(driver: str, threads: int) -> list[float]:
        with beside((burn, (core, on / 1000, off / 1000))):
            time.sleep(0.05)  # lets the real-time budget recover
            return steps(driver, threads)

    return run


def holder(stopped: float, free: float) -> Callable[..., list[float]]:
    times = itertools.repeat((stopped / 1000, free / 1000))

    def run(driver: str, threads: int) -> list[float]:
        return steps(
            driver,
            threads,
            lambda pid: multiprocessing.Process(
                target=hold, args=(pid, times), daemon=True
            ).start(),
        )

    return run


def limited(cpus: float) -> Callable[..., list[float]]:
    def run(driver: str, threads: int) -> list[float]:
        with group("kurve", cpus) as put:
            return steps(driver, threads, put, first=False)

    return run


def fair(core: int) -> Callable[..., list[float]]:
    def run(driver: str, threads: int) -> list[float]:
        with (
            group("kurve") as put,
            group("neighbour") as put_other,
            beside((burn, (core, 1000, 0, 0, put_other))),
        ):
            time.sleep(0.05)
            return steps(driver, threads, put, first=False)

    return run


NEIGHBOURS: dict[str, Callable[[str, int], list[float]]] = {
    "none": steps,
    **{
        f"core {core} taken for {on} of {on + off} ms": burner(core, on, off)
        for on, off in ((0.2, 1.8), (5, 5), (20, 80), (400, 100))
        for core in (0, 1)
    },
    **{
        f"stopped for {stopped} ms, free for {free} ms": holder(stopped, free)
        for stopped, free in ((0.2, 2), (1, 1), (5, 5), (10, 1), (20, 80))
    },
    **{f"core {core} shared with another program": fair(core) for core in (0, 1)},
    **{f"a quota of {cpus} CPUs": limited(cpus) for cpus in (1.2, 1.5, 3)},
}


def main(drivers: list[str], rounds: int, word: str) -> None:
    real_time(70)
    for name, neighbour in NEIGHBOURS.items():
        if word not in name:
            continue
        times: dict[tuple[str, int], list[list[float]]] = {}
        for _ in range(rounds):
            for driver in drivers:
                for threads in (1, 2):
                    step = neighbour(driver, threads)
                    times.setdefault((driver, threads), []).append(step)
        for driver in drivers:
            one, two = (
                [statistics.median(x) for x in zip(*times[driver, t], strict=True)]
                for t in (1, 2)
            )
            print(
                f"{name:40} one {one[0]:5.0f} {one[2]:6.0f}   two {two[0]:5.0f} "
                f"{two[2]:6.0f}   {two[0] / one[0]:.2f}  {driver}",
                flush=True,
            )


if __name__ == "__main__":
    main(
        sys.argv[1].split(","),
        int(sys.argv[2]) if len(sys.argv) > 2 else 5,
        sys.argv[3] if len(sys.argv) > 3 else "",
    )
