"""Describes the machine, and how much of it other programs have used."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, str]:
    """Model, cores, caches, memory, system."""
    info = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    flags = info.get("flags", info.get("Features", "")).split()
    wide = [name for name in ("avx2", "avx512f", "asimd") if name in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{info.get('model name', platform.machine())}, family "
        f"{info.get('cpu family', '?')} model {info.get('model', '?')}, "
        f"{' '.join(wide)}",
        "cores": f"{len(os.sched_getaffinity(0))}"
        + (", of a virtual machine" if "hypervisor" in flags else ""),
        "caches": ", ".join(_caches()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }


def _caches() -> Iterable[str]:
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (folder / name).read_text().strip() for name in ("level", "type", "size")
        )
        if kind != "Instruction":
            yield f"L{level} {size}"


def wait_until_quiet(most: float, busy: float = 0.15, sample: float = 0.1) -> float:
    """Wait up to `most` seconds until other programs leave the cores idle (those of low
    priority do not count). Ours must be stopped. Returns the seconds spent waiting."""
    start = time.monotonic()
    while True:
        watch = Watch()
        time.sleep(sample)
        if watch.shares(())["others in earnest"] < busy:
            return time.monotonic() - start - sample
        if time.monotonic() - start > most:
            return time.monotonic() - start


class Watch:
    """Core-seconds of other programs and of the hypervisor since its construction."""

    def __init__(self) -> None:
        self.start = self._now([])

    def shares(self, processes: Iterable[int]) -> dict[str, float]:
        """Fractions of all core-seconds. `processes`: our own, besides this one and
        those that it has waited for."""
        pairs = zip(self._now(processes), self.start, strict=True)
        used = [now - then for now, then in pairs]
        busy, nice, stolen, total, ours = used
        total = max(total, 1 / TICKS)
        return {
            "others": max(0.0, busy + nice - ours) / total,
            "others in earnest": max(0.0, busy - ours) / total,
            "stolen": stolen / total,
        }

    def _now(self, processes: Iterable[int]) -> tuple[float, ...]:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        user, nice, system, idle, wait, irq, soft, stolen = (
            int(field) / TICKS for field in fields
        )
        busy = user + system + irq + soft
        ours = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            ours += usage.ru_utime + usage.ru_stime
        for process in processes:
            after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2]
            ours += sum(map(int, after_name.split()[11:13])) / TICKS
        return busy, nice, stolen, busy + nice + idle + wait + stolen, ours


def check_equal(answers: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Check that the weights of all contenders agree to 1e-5 on average."""
    first = None
    for name, weights in answers.items():
        got = np.concatenate([np.ravel(w) for w in weights])
        first = got if first is None else first
        off = np.abs(got - first).mean()
        assert off < 1e-5, f"{name}: {off}"


def in_turn(
    turns: Mapping[str, Callable[[], None]], steps: int, rounds: int
) -> dict[str, list[float]]:
    """Processor seconds of a step, by contender, one number a round; each turn takes
    so many steps."""
    found: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            start = time.process_time()
            turn()
            found[name].append((time.process_time() - start) / steps)
    return found
