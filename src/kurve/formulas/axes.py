"""What the functions of `kurve.ops` share: axes, types and their errors."""

from __future__ import annotations

import operator
from typing import Any

from kurve.formulas.graph import Tensor
from kurve.formulas.needs import NeedsBatch


def dtype_name(dtype: Any) -> str:
    """The name of a type: of a string, a NumPy type or a policy."""
    name = (
        getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    )
    name = {"int": "int32", "float": "float32", "bool_": "bool"}.get(name, name)
    if name != "bool" and name.rstrip("0123456789") not in ("float", "int", "uint"):
        raise ValueError(
            "[ops] there is no type of that name. Received: "
            f'dtype={str(dtype)[:80]!r}. Try dtype="float32".'
        )
    return name


def axis_of(axis: int, ndim: int) -> int:
    """An axis counted from the start."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise ValueError(
            f"[ops] axis must be in [{-ndim}, {ndim}), for {ndim} axes. "
            f"Received: axis={axis}. Try axis=-1."
        )
    return axis % ndim


def sample_axis(x: Tensor, axis: int) -> int:
    """The axis of a sample; -1 for the batch axis."""
    return axis_of(axis, x.ndim) - x.batched


def no_batch(where: str, x: Any) -> NeedsBatch:
    return NeedsBatch(
        f"[{where}] the batch axis must stay where it is, because samples are computed "
        f"on their own. Received: a tensor of shape {x.shape}. "
        "Try one of the other axes."
    )
