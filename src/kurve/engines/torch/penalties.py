"""Penalties on variables: their values and gradients, of each member where several run
together."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from kurve.engines.torch.common import Frame, Tensor
from kurve.engines.torch.elementwise import run_formula
from kurve.ops.formula import Formula
from kurve.plan import VariableSpec


def penalties(variables: Iterable[VariableSpec], f: Frame) -> list[Tensor]:
    found = list[Tensor]()
    for v in variables:
        if not v.trainable:
            continue
        if v.l1:
            found.append(v.l1 * f.sum(f.value_of(v).abs()))
        if v.l2:
            found.append(v.l2 * f.sum(f.value_of(v).to(f.wide).square()))
        if v.penalty is not None:
            _, value = _penalty(v.penalty, f.value_of(v), f)
            found.append(value.reshape(f.members).to(f.wide))
    return found


def add_slopes(variables: Iterable[VariableSpec], f: Frame) -> None:
    """Add the gradients of penalties."""
    for v in variables:
        if not v.trainable or not (v.l1 or v.l2 or v.penalty):
            continue
        w, slope = f.value_of(v), f.slope_of(v)
        if v.l1:
            slope.add_(torch.sign(w), alpha=v.l1)
        if v.l2:
            slope.add_(w, alpha=2.0 * v.l2)
        if v.penalty is not None:
            slope.add_(_penalty(v.penalty, w, f)[0].reshape(w.shape))


def _penalty(formula: Formula, w: Tensor, f: Frame) -> tuple[Tensor, Tensor]:
    each = w.unbind(0) if f.members else (w,)
    found = [run_formula(formula, [part.reshape(formula.inputs[0])]) for part in each]
    gradients, values = zip(*found, strict=True)
    return torch.stack(gradients), torch.stack(values)
