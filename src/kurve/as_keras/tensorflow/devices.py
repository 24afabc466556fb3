"""The machine, as `tf.config` and `tf.test` describe it: one processor."""

from __future__ import annotations

from typing import Any, NamedTuple

from kurve.engines import get_threads, set_threads

__all__ = [
    "LogicalDevice",
    "LogicalDeviceConfiguration",
    "PhysicalDevice",
    "VirtualDeviceConfiguration",
    "enable_op_determinism",
    "functions_run_eagerly",
    "get_inter_op_parallelism_threads",
    "get_intra_op_parallelism_threads",
    "get_memory_growth",
    "get_visible_devices",
    "gpu_device_name",
    "is_built_with_cuda",
    "is_gpu_available",
    "list_logical_devices",
    "list_physical_devices",
    "run_functions_eagerly",
    "set_inter_op_parallelism_threads",
    "set_intra_op_parallelism_threads",
    "set_logical_device_configuration",
    "set_memory_growth",
    "set_soft_device_placement",
    "set_virtual_device_configuration",
    "set_visible_devices",
]


class PhysicalDevice(NamedTuple):
    """A CPU."""

    name: str
    device_type: str


LogicalDevice = PhysicalDevice


def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """The CPU; no devices of other types."""
    devices = [PhysicalDevice("/physical_device:CPU:0", "CPU")]
    return [d for d in devices if device_type in (None, d.device_type)]


def list_logical_devices(device_type: str | None = None) -> list[LogicalDevice]:
    """The CPU; no devices of other types."""
    devices = [LogicalDevice("/device:CPU:0", "CPU")]
    return [d for d in devices if device_type in (None, d.device_type)]


get_visible_devices = list_physical_devices


def set_intra_op_parallelism_threads(num_threads: int) -> None:
    """Set the number of threads; 0 keeps the current value."""
    if num_threads:
        set_threads(num_threads)


def get_intra_op_parallelism_threads() -> int:
    """The number of threads."""
    return get_threads()


def set_inter_op_parallelism_threads(num_threads: int) -> None:
    """Has no effect: operations run sequentially."""


def get_inter_op_parallelism_threads() -> int:
    """1."""
    return 1


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Has no effect: there is one CPU, and results are deterministic."""


set_memory_growth = set_visible_devices = set_soft_device_placement = _nothing
set_virtual_device_configuration = set_logical_device_configuration = _nothing
enable_op_determinism = run_functions_eagerly = _nothing


def get_memory_growth(device: Any) -> bool:
    """False."""
    return False


def functions_run_eagerly() -> bool:
    """False."""
    return False


class LogicalDeviceConfiguration(NamedTuple):
    """A memory limit, which is ignored."""

    memory_limit: int | None = None
    experimental_priority: int | None = None


VirtualDeviceConfiguration = LogicalDeviceConfiguration


def is_gpu_available(*args: Any, **kwargs: Any) -> bool:
    """False."""
    return False


def is_built_with_cuda() -> bool:
    """False."""
    return False


def gpu_device_name() -> str:
    """Empty."""
    return ""
