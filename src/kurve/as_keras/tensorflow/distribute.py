"""`tf.distribute` on one processor: a strategy's scope has no effect."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

__all__ = [
    "CentralStorageStrategy",
    "MirroredStrategy",
    "OneDeviceStrategy",
    "Strategy",
    "get_strategy",
    "has_strategy",
]


class Strategy:
    """The processor."""

    num_replicas_in_sync = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def scope(self) -> Any:
        """A context without effect."""
        return contextlib.nullcontext(self)

    def run(self, fn: Callable[..., Any], args: Any = (), kwargs: Any = None) -> Any:
        """The result of the function."""
        return fn(*args, **(kwargs or {}))

    def reduce(self, reduce_op: Any, value: Any, axis: Any = None) -> Any:
        """The value, of which there is only one."""
        return value

    def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
        """The data set."""
        return dataset


MirroredStrategy = OneDeviceStrategy = CentralStorageStrategy = Strategy


def get_strategy() -> Strategy:
    """The processor."""
    return Strategy()


def has_strategy() -> bool:
    """False."""
    return False
