"""Processes that train one model together, connected by `torch.distributed`.

Each has all data and runs the same program. In each step, every process computes the
gradient for its share of the rows; the gradients are added in the order of the
processes, so all get the same bits and make the same update.
"""

from __future__ import annotations

import atexit
import mmap
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np

from kurve.core import rng

LARGE = 8 << 20
"""Minimum bytes of a gradient that the library sums, instead of gathering it, if the
processes share no memory: this is faster, but the order of the sum also depends on the
size."""

_active: list[Processes] = []


def active() -> Processes | None:
    """The processes that train together, if this is one of several."""
    return _active[0] if _active else None


class DistributionError(RuntimeError):
    """Another process has ended, or runs something else."""


class Processes:
    """This process among those that train together.

    rank:     its number, from 0
    count:    of all
    own_gpus: whether each process has a GPU for itself, so that NCCL connects them
    """

    def __init__(self, rank: int, count: int, timeout: float) -> None:
        import torch
        import torch.distributed as dist
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        self.rank, self.count, self.timeout = rank, count, timeout
        self._torch, self._dist = torch, dist
        self._interrupted = False
        self._memory: _Memory | None = None
        limit = timedelta(seconds=timeout)
        nccl = torch.cuda.is_available() and dist.is_nccl_available()
        with self._named("connecting"):
            store, _, _ = next(rendezvous("env://", timeout=limit))
            # Addresses of processes that ended before a restart are still in it.
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if nccl else "gloo",
                store=PrefixStore(f"kurve-{attempt}", store),
                rank=rank,
                world_size=count,
                timeout=limit,
            )
            dist.monitored_barrier(timeout=limit)
        here = from_environment("LOCAL_WORLD_SIZE", 1)
        enough = np.array([nccl and torch.cuda.device_count() >= here])
        self.own_gpus = bool(self.gather(enough, "connecting").all())

    def close(self) -> None:
        """Leave the group; processes that wait for this one get an error."""
        if self._dist.is_initialized():
            self._dist.destroy_process_group()

    # ---------------------------------------------------------------- exchange

    def gather(self, array: np.ndarray, doing: str) -> np.ndarray:
        """The arrays of all processes, of one shape: (count, *shape)."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        own = self._torch.from_numpy(data)
        found = self._torch.empty((self.count, len(own)), dtype=self._torch.uint8)
        with self._named(doing):
            self._dist.all_gather(list(found.unbind()), own)
        each: np.ndarray = found.numpy().view(array.dtype)
        return each.reshape(self.count, *array.shape)

    def add(self, sums: np.ndarray) -> None:
        """Replace float64 numbers by their sums over all processes."""
        sums[...] = _sum(self.gather(sums, "adding statistics of a batch"))

    def add_gradient(self, sums: np.ndarray, gradient: np.ndarray) -> None:
        """Sum the numbers of a step, and its gradient in float32.

        Raises:
            KeyboardInterrupt: in all processes, if one of them got a Ctrl-C.
        """
        doing = "adding the gradients of a step"
        if self._memory is None or self._memory.size != gradient.size:
            self._memory = _Memory(self, gradient.size)
        memory = self._memory
        flag = np.array([float(self._interrupted)])
        parts = [flag, sums]
        # Of two numbers the sum is the same in either order.
        gathered = not memory and self.count > 2 and gradient.nbytes < LARGE
        if memory:
            memory.put(gradient)
        elif gathered:
            parts.append(gradient)
        sent = np.concatenate([part.view(np.uint8) for part in parts])
        each = self.gather(sent, doing)
        numbers = each[:, : flag.nbytes + sums.nbytes].copy().view(np.float64)
        if numbers[:, 0].any():
            self._interrupted = False
            raise KeyboardInterrupt
        if memory:
            memory.add(gradient)
        elif gathered:
            slopes = each[:, flag.nbytes + sums.nbytes :].copy().view(np.float32)
            gradient[...] = _sum(slopes)
        else:
            with self._named(doing):
                self._dist.all_reduce(self._torch.from_numpy(gradient))
        sums[...] = _sum(numbers[:, 1:])

    def add_on_device(self, sums: Any) -> Any:
        """Replace a tensor on a GPU by the sum over all processes (NCCL)."""
        with self._named("adding numbers on the GPU"):
            if self.count == 2 or sums.nbytes >= LARGE:
                self._dist.all_reduce(sums)
            else:
                each = [self._torch.empty_like(sums) for _ in range(self.count)]
                self._dist.all_gather(each, sums)
                sums.copy_(_sum(each))
        return sums

    def check(self) -> None:
        """Wait until all processes have come as far as this one.

        Raises:
            KeyboardInterrupt: in all processes, if one of them got a Ctrl-C.
        """
        flag = np.array([self._interrupted])
        if self.gather(flag, "starting a step").any():
            self._interrupted = False
            raise KeyboardInterrupt

    def rows_of(self, batch: int) -> tuple[int, int] | None:
        """The number of this process's first row of a batch, and how many it has: whole
        blocks of four, so that random words are those of the undivided batch, as in
        cpp/share.h. None if there are too few for each process to get some."""
        blocks = -(-batch // 4)
        if blocks < self.count:
            return None
        first, end = (
            min(batch, 4 * (blocks * rank // self.count))
            for rank in (self.rank, self.rank + 1)
        )
        return first, end - first

    def broadcast(self, arrays: list[np.ndarray], doing: str) -> None:
        """Replace arrays by those of the first process.

        Raises:
            DistributionError: its arrays have other shapes.
        """
        shapes = np.frombuffer(repr([a.shape for a in arrays]).encode()[:256], np.uint8)
        head = np.zeros(256, np.uint8)
        head[: len(shapes)] = shapes
        each = self.gather(head, doing)
        if (each != each[0]).any():
            raise DistributionError(
                "[distribution] all processes must do the same. Received: arrays of "
                f"other shapes while {doing}. Try the same program in each."
            )
        for array in arrays:
            if array.size:
                own = np.ascontiguousarray(array)
                data = self._torch.from_numpy(own.reshape(-1).view(np.uint8))
                with self._named(doing):
                    self._dist.broadcast(data, 0)
                array[...] = own

    def from_first(self, data: bytes, doing: str) -> bytes:
        """The bytes that the first process passes."""
        size = np.array([len(data)], np.int64)
        self.broadcast([size], doing)
        content = np.zeros(int(size[0]), np.uint8)
        if self.rank == 0:
            content[...] = np.frombuffer(data, np.uint8)
        self.broadcast([content], doing)
        return content.tobytes()

    # ---------------------------------------------------------------- calls

    def synchronize(self, network: Any) -> None:
        """Set the state of a model before training to that of the first process."""
        state = network.state
        seed = np.array([state.seed, state.step], np.uint64)
        arrays = [state.params, state.buffers, state.slots, state.scalars]
        self.broadcast([*arrays, seed], "starting to train")
        network.seed, state.step = int(seed[0]), int(seed[1])

    @contextmanager
    def training(self) -> Iterator[None]:
        """A context in which Ctrl-C takes effect in all processes after the same
        step."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_: Any) -> None:
            self._interrupted = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        except KeyboardInterrupt:
            raise
        except Exception:
            self.close()  # the others would wait for this process
            raise
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def _named(self, doing: str) -> Iterator[None]:
        """Convert the library's errors to one that explains what happened."""
        try:
            yield
        except RuntimeError as error:
            reason = str(error).strip().splitlines()
            raise DistributionError(
                f"[distribution] process {self.rank} of {self.count} lost another one "
                f"while {doing}, or waited for it for {self.timeout:g} s. Received: "
                f"{reason[0] if reason else type(error).__name__}. Try torchrun with "
                "--max-restarts and fit(..., checkpoint=folder), which resumes from "
                "the last checkpoint."
            ) from None


class _Memory:
    """Memory that the processes of one machine share, for gradients of one size; false
    if they share none, because they run on several machines or there is no space.

    It holds two gradients of every process, used alternately. A process overwrites one
    only two exchanges later, when all have read it.
    """

    FOLDER = "/dev/shm"

    def __init__(self, processes: Processes, size: int) -> None:
        self.size, self.rank, self._turn = size, processes.rank, 0
        self._all: np.ndarray | None = None
        shape = (2, processes.count, size)
        path, descriptor = "", -1
        doing = "sharing memory"
        if self.rank == 0:
            path = os.path.join(self.FOLDER, f"kurve-{secrets.token_hex(16)}")
            descriptor = _open(path, 4 * int(np.prod(shape)))
        path = processes.from_first(path.encode(), doing).decode()
        if self.rank > 0:
            descriptor = _open(path)
        try:
            # A file of that name only exists on the machine of the first one.
            opened = processes.gather(np.array([descriptor >= 0]), doing)
            if size and opened.all():
                content = mmap.mmap(descriptor, 0)
                self._all = np.frombuffer(content, np.float32).reshape(shape)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
                if self.rank == 0:
                    os.unlink(path)

    def __bool__(self) -> bool:
        return self._all is not None

    def put(self, gradient: np.ndarray) -> None:
        """Publish this process's gradient."""
        assert self._all is not None
        self._turn ^= 1
        self._all[self._turn, self.rank] = gradient

    def add(self, gradient: np.ndarray) -> None:
        """Replace a gradient by the sum of the gradients of all processes."""
        assert self._all is not None
        each = self._all[self._turn]
        np.add(each[0], each[1], out=gradient)
        for other in each[2:]:
            gradient += other


def _open(path: str, size: int = 0) -> int:
    """A file, of `size` bytes if it is to be made; -1 where that fails."""
    try:
        if not size:
            return os.open(path, os.O_RDWR)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return -1
    try:
        os.posix_fallocate(descriptor, 0, size)  # else writing may fail later
    except (OSError, AttributeError):
        os.close(descriptor)
        os.unlink(path)
        return -1
    return descriptor


def _sum(each: Any) -> Any:
    """The sum over the processes, one after the other."""
    total = each[0]
    for one in each[1:]:
        total = total + one
    return total


def from_environment(name: str, default: int) -> int:
    """A number from an environment variable of torchrun.

    Raises:
        ValueError: the variable holds none.
    """
    text = os.environ.get(name, str(default))
    if text.isdecimal():
        return int(text)
    raise ValueError(
        f"[distribution] the environment variable {name} must be an integer of at "
        f"least 0. Received: {text!r}. Try torchrun, which sets it."
    )


def connect(timeout: float) -> None:
    """Connect to the processes that torchrun has started, if any.

    Raises:
        DistributionError: some of them did not answer in time.
    """
    disconnect()
    count = from_environment("WORLD_SIZE", 1)
    if count == 1:
        return
    processes = Processes(from_environment("RANK", 0), count, timeout)
    if not rng.is_seeded():
        seed = np.array([rng.next_seed() % 2**32], np.uint64)
        processes.broadcast([seed], "agreeing on a seed")
        rng.set_random_seed(int(seed[0]))
    _active[:] = [processes]
    # The library's threads must have ended before the interpreter does, which aborts
    # otherwise.
    atexit.register(disconnect)


def disconnect() -> None:
    """Train alone from now on."""
    for processes in _active:
        processes.close()
    _active.clear()
