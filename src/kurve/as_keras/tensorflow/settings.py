"""Settings that programs apply at startup."""

from __future__ import annotations

import logging
from typing import Any

from kurve.as_keras.tensorflow.random import set_random_seed as set_random_seed

__all__ = [
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "WARN",
    "disable_eager_execution",
    "disable_resource_variables",
    "disable_v2_behavior",
    "enable_eager_execution",
    "enable_v2_behavior",
    "experimental_enable_numpy_behavior",
    "get_logger",
    "set_random_seed",
    "set_verbosity",
]

DEBUG, INFO, WARN, ERROR, FATAL = 10, 20, 30, 40, 50


def get_logger() -> logging.Logger:
    """TensorFlow's logger; nothing is written to it."""
    return logging.getLogger("tensorflow")


def set_verbosity(v: Any) -> None:
    """Set the level of `get_logger`."""
    get_logger().setLevel(v)


def disable_eager_execution() -> None:
    """Has no effect: models are compiled, and direct calls return values. Sessions are
    rejected by name."""


disable_v2_behavior = disable_resource_variables = disable_eager_execution
enable_eager_execution = enable_v2_behavior = disable_eager_execution


def experimental_enable_numpy_behavior(*settings: Any, **others: Any) -> None:
    """Has no effect: tensors are NumPy arrays."""
