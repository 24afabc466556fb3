"""How many of PyTorch's threads a call on the CPU uses: one where steps are small.

PyTorch divides even short sums among its threads, which then wait for each other at
every call: on a busy machine small steps take many times as long with two threads as
with one. What decides is the plan and the number of rows, never a time, so that the
same call adds in the same order in every run.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch

from kurve.plan import Op, Plan

SMALL = 32e6
"""Multiplications of a forward pass below which one thread is used: about a millisecond
of a core."""


def work(plan: Plan) -> float:
    """Multiplications of the forward pass of a row, roughly."""
    return sum(map(_work_of, plan.ops))


def _work_of(op: Op) -> float:
    if op.body is not None:
        return float(op.attrs["turns"]) * sum(map(_work_of, op.body.ops))
    elements = max(math.prod(op.in_shape), math.prod(op.out_shape))
    if op.kind == "matmul":
        return float(math.prod(op.out_shape) * op.in_shape[-1])
    if op.kind == "embedding" or not op.params:
        return float(elements)
    places = max(math.prod(op.in_shape[:-1]), math.prod(op.out_shape[:-1]))
    return float(places * sum(v.size for v in op.params.values()))


@contextlib.contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """One thread for a small step; else those that the program has set. They are set
    again afterwards."""
    before = torch.get_num_threads()
    if before == 1 or multiplications >= SMALL:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
