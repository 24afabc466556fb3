"""Mixed precision: Kurve always computes in float32; other policies cause a warning."""

from __future__ import annotations

from typing import Any

from kurve.as_keras.loss_scales import LossScaleOptimizer as LossScaleOptimizer
from kurve.config import DTypePolicy, dtype_policy, set_dtype_policy

__all__ = [
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]

Policy = DTypePolicy


def global_policy() -> DTypePolicy:
    """Always float32."""
    return dtype_policy()


def set_global_policy(policy: Any) -> None:
    """Accept a policy: policies other than "float32" have no effect except a
    warning."""
    set_dtype_policy(policy)
