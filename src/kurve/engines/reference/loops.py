"""The ops of a plan in order, and those of a scan, step by step."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Arrays, Cache, Gradients, number, view
from kurve.engines.reference.layers import OPS, OPS_OF_SEVERAL
from kurve.plan import Op, Plan


@np.errstate(all="ignore")
def forward(
    plan: Plan,
    state: State,
    given: Sequence[np.ndarray],
    training: bool,
    drawn: Mapping[int, np.ndarray] | None = None,
) -> tuple[list[np.ndarray], list[Cache]]:
    """All values of a plan for a batch, and what each op saves for `backward`.

    Args:
        given: the values from outside.
        drawn: results of random ops, if these rows are only a part of the batch.
    """
    values, caches = list(given), []
    for i, op in enumerate(plan.ops):
        read = [values[v] for v in plan.reads(i)]
        if drawn and i in drawn:
            y, cache = drawn[i], read[0].shape
        elif op.kind in OPS:
            y, cache = OPS[op.kind][0](op, read[0], state, training)
        else:
            y, cache = OPS_OF_SEVERAL[op.kind][0](op, read, state, training)
        values.append(y)
        caches.append(cache)
    return values, caches


@np.errstate(all="ignore")
def backward(
    plan: Plan,
    state: State,
    gradients: Mapping[int, np.ndarray],
    caches: Sequence[Cache],
    kept: Collection[int] = (),
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The chain rule, from the gradients of some values: the gradient of every
    trainable variable (P,), and those of the values given from outside, and of values
    to keep. Gradients of a value that is read twice, or of a variable that is used
    twice, add up."""
    dvalues, first = dict(gradients), plan.given
    gradient = np.zeros_like(state.params)
    for i in reversed(range(len(plan.ops))):
        op, cache = plan.ops[i], caches[i]
        if first + i not in dvalues:
            continue  # nothing depends on it
        number = first + i
        dy = dvalues[number] if number in kept else dvalues.pop(number)
        if op.kind in OPS:
            dx, parts = OPS[op.kind][1](op, dy, cache, state)
            dxs: Sequence[np.ndarray] = [dx]
        else:
            dxs, parts = OPS_OF_SEVERAL[op.kind][1](op, dy, cache, state)
        for value, dx in zip(plan.reads(i), dxs, strict=True):
            dvalues[value] = dvalues[value] + dx if value in dvalues else dx
        for role, part in parts.items():
            if op.params[role].trainable:
                view(gradient, op.params[role])[...] += part
    return gradient, dvalues


def _at_step(state: State, t: int) -> State:
    """The state that step t sees: each step has its own random numbers."""
    return replace(state, step=state.step + (t << 32))


def _elements(op: Op, t: int) -> int:
    """The element of the sequences that step t reads."""
    return number(op, "turns") - 1 - t if op.attrs["reverse"] else t


def scan_forward(
    op: Op, xs: Arrays, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y_t, h_t = body(x_t, h_(t-1), constants) for each step t; the y_t of all steps or
    the last one, and the last h if requested."""
    assert op.body is not None
    moving, carried = number(op, "moving"), number(op, "carried")
    states, constants = list(xs[moving : moving + carried]), xs[moving + carried :]
    ys, caches = [], []
    for t in range(number(op, "turns")):
        given = [x[:, _elements(op, t)] for x in xs[:moving]] + states + [*constants]
        values, cache = forward(op.body.plan, _at_step(state, t), given, training)
        y, *states = (values[v] for v in op.body.outputs)
        ys.append(y)
        caches.append(cache)
    out = np.stack(ys, 1) if op.attrs["sequences"] else ys[-1]
    if op.attrs["states"]:
        parts = [part.reshape(len(part), -1) for part in (out, *states)]
        out = np.concatenate(parts, 1)
    return out.reshape(len(out), *op.out_shape), (xs, ys[0].shape, caches)


def scan_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[Arrays, Gradients]:
    """The chain rule through the steps, last to first: dh goes from each step to the
    previous one; what all steps read gets the sum."""
    assert op.body is not None
    xs, shape, caches = cache
    moving, carried = number(op, "moving"), number(op, "carried")
    steps, everywhere = len(caches), bool(op.attrs["sequences"])
    size = int(np.prod(shape[1:])) * (steps if everywhere else 1)
    flat = dy.reshape(len(dy), -1)
    of_y = flat[:, :size].reshape(len(dy), -1, *shape[1:])
    dxs = [np.zeros_like(x) for x in xs]
    after = xs[moving : moving + carried]
    dstates = [np.zeros_like(x) for x in after]
    for dstate in dstates if op.attrs["states"] else ():
        width = dstate[0].size
        dstate[...] = flat[:, size : size + width].reshape(dstate.shape)
        size += width
    gradient = np.zeros_like(state.params)
    for t in reversed(range(steps)):
        dvalues: dict[int, np.ndarray] = {}
        here = of_y[:, t if everywhere else 0]
        if not everywhere and t < steps - 1:
            here = np.zeros_like(here)
        for value, dvalue in zip(op.body.outputs, (here, *dstates), strict=True):
            dvalues[value] = dvalues[value] + dvalue if value in dvalues else dvalue
        part, found = backward(op.body.plan, _at_step(state, t), dvalues, caches[t])
        gradient += part
        for k in range(moving):
            dxs[k][:, _elements(op, t)] = found.get(k, 0.0)
        dstates = [
            found.get(moving + k, np.zeros_like(dstate))
            for k, dstate in enumerate(dstates)
        ]
        for k in range(moving + carried, len(xs)):
            dxs[k] += found.get(k, 0.0)
    dxs[moving : moving + carried] = dstates
    parts = {role: view(gradient, spec) for role, spec in op.params.items()}
    return dxs, parts


OPS_OF_SEVERAL["scan"] = scan_forward, scan_backward
