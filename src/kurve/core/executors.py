"""Work in other processes or on other machines: any object with the `submit` method of
`concurrent.futures` can run a function there.

    executor.submit(function, shared, items) -> future

Process and thread pools, and the executors of loky, mpi4py and Dask (`Client` and
`Client.get_executor()`) have one. The shared data is published once: memory-mapped
files for processes of this machine, `scatter` for Dask, and sent with each task
otherwise. Tasks hold several items, so that each runs at least for half a second; the
tasks of a lost worker are submitted again.
"""

from __future__ import annotations

import concurrent.futures as cf
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SHORTEST = 0.5
"""Seconds that a task should take at least."""

ATTEMPTS = 3
"""How many times an item is submitted before the loss of its workers is an error."""

LARGE = 1 << 20
"""Minimum bytes of an array that is written to a file for other processes."""

LOST = ("KilledWorker", "CommClosedError", "FutureCancelledError")
"""Dask's errors for a lost worker, besides `BrokenExecutor` and `CancelledError`."""

Task = Callable[[Any, Any], Any]


def check_executor(where: str, executor: Any) -> None:
    """Check that it takes tasks.

    Raises:
        TypeError: it has no `submit`.
    """
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"[{where}] executor must have the submit of concurrent.futures. Received: "
            f"executor of type {type(executor).__name__}. "
            "Try concurrent.futures.ProcessPoolExecutor()."
        )


def map_items(
    executor: Any,
    task: Task,
    shared: Mapping[str, Any],
    items: Sequence[Any],
    on_result: Callable[[int, Any], None],
) -> None:
    """Call `task(shared, item)` for all items elsewhere.

    Args:
        executor: see the module.
        task: a function of a module, or one that the executor can pickle.
        shared: keyword arguments with arrays, which all items need.
        items: one argument each.
        on_result: called here with the number of an item and its result, in the order
            in which they are finished.

    Raises:
        Whatever a task raises. Those that have not begun are cancelled then; the
        results of all that have finished before have been passed on.
    """
    with _published(executor, shared) as (executor, publish, workers):
        _Submissions(executor, task, shared, publish, items, on_result, workers).run()


class _Submissions:
    """The tasks of one call.

    publish: converts the data to the form that tasks get
    workers: about how many run at the same time
    """

    def __init__(
        self,
        executor: Any,
        task: Task,
        shared: Mapping[str, Any],
        publish: Callable[[], Any],
        items: Sequence[Any],
        on_result: Callable[[int, Any], None],
        workers: int,
    ) -> None:
        self.executor, self.task = executor, task
        self.shared, self.publish, self.data = shared, publish, publish()
        self.items, self.on_result, self.workers = items, on_result, workers
        self.attempts = [0] * len(items)
        self.waiting = list(range(len(items)))
        self.running: dict[Any, list[int]] = {}
        self.size = 1

    def run(self) -> None:
        """Run until all tasks are done."""
        try:
            # Single items first, to measure how long one takes.
            for _ in range(min(self.workers, len(self.items))):
                self.submit(self.next())
            while self.running or self.waiting:
                if not self.running:
                    self.submit(self.next())
                    continue
                done, _ = cf.wait(self.running, return_when=cf.FIRST_COMPLETED)
                for future in done:
                    self.receive(future, self.running.pop(future))
        finally:
            for future in self.running:
                future.cancel()

    def next(self) -> list[int]:
        """The items of the next task."""
        numbers, self.waiting = self.waiting[: self.size], self.waiting[self.size :]
        return numbers

    def submit(self, numbers: list[int]) -> None:
        """Submit items as one task; they run here if the executor accepts no tasks."""
        for number in numbers:
            self.attempts[number] += 1
        given = [self.items[number] for number in numbers]
        try:
            future = self.executor.submit(
                _run, self.task, self.data, given, os.getpid()
            )
        except RuntimeError as error:  # BrokenExecutor too
            warnings.warn(
                "[executor] the executor takes no more tasks, so these are done in "
                f"this process. Received: {error}. Try a new executor.",
                RuntimeWarning,
                stacklevel=2,
            )
            for number in numbers:
                self.on_result(number, self.task(self.shared, self.items[number]))
            return
        for needed in ("add_done_callback", "cancel", "result"):
            if not callable(getattr(future, needed, None)):
                raise TypeError(
                    "[executor] submit must return a future of concurrent.futures. "
                    f"Received: an object of type {type(future).__name__}. "
                    "Try concurrent.futures.ProcessPoolExecutor()."
                )
        self.running[future] = numbers

    def receive(self, future: Any, numbers: list[int]) -> None:
        """Pass on the results of a task; submit it again if its worker is lost."""
        try:
            seconds, results = future.result()
        except (Exception, cf.CancelledError) as error:
            lost = isinstance(error, (cf.BrokenExecutor, cf.CancelledError))
            if not lost and type(error).__name__ not in LOST:
                raise
            if max(self.attempts[number] for number in numbers) >= ATTEMPTS:
                error.add_note(
                    f"[executor] {ATTEMPTS} workers were lost with this task. "
                    "Try workers with more memory."
                )
                raise
            self.data = self.publish()  # it may have been lost too
            self.submit(numbers)
            return
        for number, result in zip(numbers, results, strict=True):
            self.on_result(number, result)
        each = -(-len(self.waiting) // self.workers)
        wanted = int(SHORTEST * len(numbers) / max(seconds, 1e-6)) + 1
        self.size = max(1, min(each, wanted))
        while self.waiting:
            self.submit(self.next())


def _run(
    task: Task, data: Any, items: Sequence[Any], parent: int
) -> tuple[float, list[Any]]:
    """Run the items of a task in a worker, and measure the time."""
    if os.getpid() != parent:
        _use_one_thread()
    start, shared = time.perf_counter(), _loaded(data)
    results = [task(shared, item) for item in items]
    return time.perf_counter() - start, results


def _use_one_thread() -> None:
    """Workers run in parallel, so each uses one core."""
    try:
        from kurve import _core
    except ImportError:
        return
    _core.set_threads(1)


class _OnDisk:
    """An array in a file, which is mapped into memory where it is needed."""

    def __init__(self, path: Path, array: np.ndarray) -> None:
        np.save(path, array)
        self.path = str(path)

    def load(self) -> np.ndarray:
        return np.asarray(np.load(self.path, mmap_mode="r"))


def _loaded(value: Any) -> Any:
    """The data with the arrays of its files."""
    if isinstance(value, _OnDisk):
        return value.load()
    if type(value) in (list, tuple):
        return type(value)(map(_loaded, value))
    return {k: _loaded(v) for k, v in value.items()} if type(value) is dict else value


@contextmanager
def _published(
    executor: Any, shared: Mapping[str, Any]
) -> Iterator[tuple[Any, Callable[[], Any], int]]:
    """The executor, a function that publishes the data, and the number of workers."""
    data = dict(shared)
    client: Any = getattr(executor, "_client", executor)
    if hasattr(client, "scatter") and hasattr(client, "ncores"):
        if client is executor:
            executor = client.get_executor(pure=False)

        def scattered() -> Any:
            return client.scatter([data], broadcast=True, hash=False)[0]

        yield executor, scattered, max(1, sum(client.ncores().values()))
        return
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    local = isinstance(executor, cf.ProcessPoolExecutor) or "loky" in (
        type(executor).__module__.split(".")
    )
    if not local:
        yield executor, lambda: data, workers
        return
    with tempfile.TemporaryDirectory(prefix="kurve-") as folder:
        count = 0

        def filed(value: Any) -> Any:
            nonlocal count
            if type(value) in (list, tuple):
                return type(value)(map(filed, value))
            if type(value) is dict:
                return {k: filed(v) for k, v in value.items()}
            large = type(value) is np.ndarray and value.nbytes >= LARGE
            if large and not value.dtype.hasobject:
                count += 1
                return _OnDisk(Path(folder, f"{count}.npy"), value)
            return value

        files = filed(data)
        yield executor, lambda: files, workers
