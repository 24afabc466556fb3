"""Optimizer updates as formulas for engines.

An optimizer that engines do not have defines its formula in `Optimizer.formula`, with
NumPy functions on the `Terms` of one variable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kurve.ops.formula import Rule, Symbol, Update, apply, trace
from kurve.plan import OptimizerSpec, VariableSpec

if TYPE_CHECKING:
    from kurve.optimizers.base import Optimizer


class Terms:
    """The inputs of an optimizer's formula.

    name, shape: name and shape of the variable
    value:       value after weight decay; `undecayed` is the value before
    gradient:    after clipping
    rate, step:  the learning rate, and the update number, from 1
    slots:       slots by name; a formula sets new ones here
    """

    def __init__(
        self,
        spec: VariableSpec,
        value: Any,
        gradient: Any,
        slots: dict[str, Any],
        rate: Any,
        step: Any,
        decay: float | None,
    ) -> None:
        self.name, self.shape = spec.name, spec.shape or (1,)
        self.undecayed, self.gradient = value, gradient
        self.slots, self.rate, self.step = slots, rate, step
        self.value = value - value * decay * rate if decay else value


def spec_of(optimizer: Optimizer, params: Sequence[VariableSpec]) -> OptimizerSpec:
    """The optimizer in a plan with these variables."""
    attrs = dict(optimizer.spec.attrs)
    updates = tuple(
        _update(optimizer, spec) if spec.trainable else Update() for spec in params
    )
    every = optimizer.gradient_accumulation_steps or 1
    slots = len(optimizer.slot_starts)
    return OptimizerSpec(optimizer.kind, attrs, updates, slots, every)


def excluded(optimizer: Optimizer, spec: VariableSpec) -> bool:
    """Whether a variable is excluded from weight decay."""
    short = spec.name.rpartition("/")[2]
    patterns = optimizer.excluded_patterns
    return spec.name in optimizer.excluded_names or any(
        re.search(pattern, short) for pattern in patterns
    )


def _update(optimizer: Optimizer, spec: VariableSpec) -> Update:
    decays = not excluded(optimizer, spec)
    rule = _rule(optimizer, spec, decays) if optimizer.has_formula else None
    return Update(decays, rule, _after(optimizer, spec))


def _rule(optimizer: Optimizer, spec: VariableSpec, decays: bool) -> Rule:
    shape = spec.shape or (1,)
    shapes = optimizer.slot_shapes(spec.name, shape)
    used = {name: k for k, name in enumerate(shapes) if shapes[name]}
    decay = optimizer.decay_of(spec.name, shape) if decays else None

    def formula(value: Symbol, gradient: Symbol, *more: Symbol) -> list[Any]:
        *slots, rate, step = more
        named = dict(zip(used, slots, strict=True))
        terms = Terms(spec, value, gradient, named, rate, step, decay)
        after = optimizer.formula(terms)
        return [after, *(terms.slots[name] for name in used)]

    inputs = [shape, shape, *(shapes[name] or () for name in used), (), ()]
    return Rule(trace(inputs, formula), tuple(used.values()))


def _after(optimizer: Optimizer, spec: VariableSpec) -> Rule | None:
    """The moving average of a variable, and its constraint."""
    if not optimizer.use_ema and spec.constraint is None:
        return None
    shape, momentum = spec.shape or (1,), optimizer.ema_momentum
    frequency, constraint = optimizer.ema_overwrite_frequency, spec.constraint

    def formula(value: Any, gradient: Symbol, *more: Symbol) -> list[Any]:
        *slots, _, step = more
        results: list[Any] = []
        for average in slots:
            factor = momentum * (step > 1.0)
            results.append(factor * average + (1.0 - factor) * value)
            if frequency:
                now = (step % float(frequency)) <= 0.0
                value = value.op("where", now, results[0], value)
        if constraint is not None:
            (value,) = apply(constraint, [value])
        return [value, *results]

    slots = (len(optimizer.own_slots),) if optimizer.use_ema else ()
    inputs = [shape, shape, *(shape for _ in slots), (), ()]
    return Rule(trace(inputs, formula), slots)
