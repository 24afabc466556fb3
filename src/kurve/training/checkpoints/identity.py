"""Identity of a `fit` call, which must match that of its checkpoint.

Two calls with the same identity compute the same bits from the same state. It does not
contain layer names, initializers and seeds, whose effects are in the state, nor the
number of epochs, which can grow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from kurve.engines.base import NUMERICS
from kurve.ops.formula import Formula
from kurve.ops.tape import Tape
from kurve.plan import Body, OptimizerSpec, Plan, Spec
from kurve.training.feeds import Feed


def identity(
    plan: Plan,
    engine: str,
    data: Feed,
    validation: Feed | None,
    arguments: Mapping[str, Any],
    callbacks: Sequence[object],
) -> dict[str, Any]:
    """The identity of a call, as JSON.

    Args:
        plan: a plan with loss, metrics and optimizer.
        data: the training and validation batches.
        arguments: other arguments of `fit`.
    """
    described = data.described()
    found: dict[str, Any] = {
        "numerics version": NUMERICS,
        "engine": engine,
        "model": _described(plan),
        "data": {k: v for k, v in described.items() if k != "batches"},
        "validation": None if validation is None else validation.described(),
        "arguments": {**arguments, "batches": described["batches"]},
        "callbacks": [type(callback).__name__ for callback in callbacks],
    }
    return plain(found)


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """An identity in the types of JSON."""
    made: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return made


def difference(before: Any, now: Any, place: str = "") -> str | None:
    """Describe the first difference between two identities; None if they are equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*now, *(k for k in before if k not in now)]:
            inner = f"{place}: {key}" if place else str(key)
            if found := difference(before.get(key), now.get(key), inner):
                return found
        return None
    if isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            return f"{place} were {len(before)}, and are {len(now)}"
        for i, (a, b) in enumerate(zip(before, now, strict=True)):
            if found := difference(a, b, f"{place}[{i}]"):
                return found
        return None
    if before == now:
        return None
    hashed = [
        isinstance(side, str) and side.startswith("sha256:") for side in (before, now)
    ]
    if all(hashed):
        return f"{place.removesuffix(': values')} has different values"
    if any(hashed) or before is None or now is None:
        return f"{place} {'is new' if before is None else 'is missing now'}"
    return f"{place} was {_shown(before)}, and is {_shown(now)}"


def _described(plan: Plan) -> dict[str, Any]:
    """The plan without names. Graphs add entries that a plain stack lacks."""
    return {
        **_graph(plan),
        "input shape": plan.input_shape,
        "layers": [
            {
                "kind": op.kind,
                "input": op.in_shape,
                "output": op.out_shape,
                "weights": {
                    role: {
                        "shape": slot.shape,
                        "trainable": slot.trainable,
                        "l1": slot.l1,
                        "l2": slot.l2,
                        **_formula("penalty", slot.penalty),
                        **_formula("constraint", slot.constraint),
                    }
                    for role, slot in {**op.params, **op.buffers}.items()
                },
                **op.attrs,
                **_formula("formula", op.tape),
                **_formula("loop", op.body),
            }
            for op in plan.ops
        ],
        "loss": plan.loss and asdict(plan.loss),
        "metrics": [asdict(metric) for metric in plan.metrics],
        "optimizer": plan.optimizer and _optimizer(plan.optimizer),
    }


def _graph(plan: Plan) -> dict[str, Any]:
    """What the ops read: values, and shared weights."""
    found: dict[str, Any] = {}
    if not plan.is_stack or plan.heads[0].weight != 1.0:
        found = {
            "inputs": plan.inputs,
            "heads": [asdict(replace(head, name="")) for head in plan.heads],
            "reads": [plan.reads(i) for i in range(len(plan.ops))],
        }
    if plan.targets or plan.penalty is not None:
        found |= {"targets": plan.targets, "penalty": plan.penalty}
    for what, of_op in (
        ("parameters", [list(op.params.values()) for op in plan.ops]),
        ("buffers", [list(op.buffers.values()) for op in plan.ops]),
    ):
        places = [[slot.offset for slot in slots] for slots in of_op]
        flat = [place for of_one in places for place in of_one]
        if flat != sorted(set(flat)):
            found[f"positions of the {what}"] = places
    return found


def _formula(name: str, formula: Formula | Tape | Body | None) -> dict[str, str]:
    """The hash of a formula, under that name; nothing where there is none."""
    if formula is None:
        return {}
    return {name: _hash(formula)}


def _hash(formulas: object) -> str:
    return f"sha256:{hashlib.sha256(repr(formulas).encode()).hexdigest()}"


def _optimizer(spec: Spec) -> dict[str, Any]:
    """Kind and numbers of an optimizer, and its additional formulas."""
    found: dict[str, Any] = {"kind": spec.kind, "attrs": dict(spec.attrs)}
    if isinstance(spec, OptimizerSpec):
        found |= {"slots": spec.slots, "every": spec.every}
        found["formulas"] = _hash(spec.updates)
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
