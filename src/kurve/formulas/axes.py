"""Shared by the functions of `kurve.ops`: axes, dtypes and their errors."""

from __future__ import annotations

import operator
from typing import Any

from kurve.formulas.graph import Tensor
from kurve.formulas.needs import NeedsBatch


def dtype_name(dtype: Any) -> str:
    """The name of a dtype, given as a string, a NumPy dtype or a policy."""
    name = (
        getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    )
    name = {"int": "int32", "float": "float32", "bool_": "bool"}.get(name, name)
    if name != "bool" and name.rstrip("0123456789") not in ("float", "int", "uint"):
        raise ValueError(
            "[ops] unknown dtype. Received: "
            f'dtype={str(dtype)[:80]!r}. Try dtype="float32".'
        )
    return name


def axis_of(axis: int, ndim: int) -> int:
    """Normalize an axis to count from the start."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise ValueError(
            f"[ops] axis must be in [{-ndim}, {ndim}), for {ndim} axes. "
            f"Received: axis={axis}. Try axis=-1."
        )
    return axis % ndim


def sample_axis(x: Tensor, axis: int) -> int:
    """The axis without the batch axis; -1 for the batch axis itself."""
    return axis_of(axis, x.ndim) - x.batched


def no_batch(where: str, x: Any) -> NeedsBatch:
    return NeedsBatch(
        f"[{where}] the batch axis must stay where it is, because samples are computed "
        f"independently. Received: a tensor of shape {x.shape}. "
        "Try one of the other axes."
    )
