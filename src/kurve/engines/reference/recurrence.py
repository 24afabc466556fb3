"""Recurrent cells: each step of a sequence is combined with the states from the
previous step.

The inputs of an op are x (B, T, F) and those that its attrs enable: with `masked`, mask
(B, T), 0 where a step leaves the states unchanged; with `initial`, the initial states
(B, H) each, else zeros; with `recurrent_dropout`, factors (B, H) of the h multiplied by
the recurrent kernel, or (B, G, H), one for each gate. With `reverse`, the last step
comes first. The output of a step is its h (with `states`: h and c, concatenated), in
processing order: all of them (B, T, H) with `sequences`, else the last one (B, H).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.activations import ACTIVATIONS
from kurve.engines.reference.common import (
    Arrays,
    BackwardMany,
    Cache,
    ForwardMany,
    Gradients,
    total,
    view,
)
from kurve.plan import Op

States = tuple[np.ndarray, ...]


class Cell:
    """The data of a cell: its activations f and g and their derivatives; W (F, G
    H), U (H, G H) and b, for its G gates side by side."""

    def __init__(self, op: Op, state: State) -> None:
        self.f, self.df = _functions(op, "activation", "alpha")
        self.g, self.dg = _functions(op, "recurrent_activation", "recurrent_alpha")
        self.W = view(state.params, op.params["kernel"])
        self.U = view(state.params, op.params["recurrent_kernel"])
        self.units = len(self.U)
        self.b: Any = state.params.dtype.type(0)
        if "bias" in op.params:
            self.b = view(state.params, op.params["bias"])

    def gates(self, z: np.ndarray) -> list[np.ndarray]:
        """Split z (B, G H) into G arrays (B, H)."""
        return np.split(z, z.shape[-1] // self.units, axis=-1)

    # h is (B, n, H): the same for all gates (n = 1), or one per gate.

    def recurrent(self, h: np.ndarray, U: np.ndarray) -> np.ndarray:
        """h U, for the first gates of U."""
        if h.shape[1] == 1:
            return h[:, 0] @ U
        pairs = enumerate(self.gates(U))
        return np.concatenate([h[:, k] @ part for k, part in pairs], axis=-1)

    def dU(self, h: np.ndarray, dz: np.ndarray) -> np.ndarray:
        """h^T dz."""
        if h.shape[1] == 1:
            return h[:, 0].T @ dz
        pairs = enumerate(self.gates(dz))
        return np.concatenate([h[:, k].T @ part for k, part in pairs], axis=-1)

    def dh(self, h: np.ndarray, dz: np.ndarray, U: np.ndarray) -> np.ndarray:
        """dz U^T, (B, n, H)."""
        if h.shape[1] == 1:
            return (dz @ U.T)[:, None]
        pairs = zip(self.gates(dz), self.gates(U), strict=True)
        return np.stack([d @ part.T for d, part in pairs], axis=1)


class Found(NamedTuple):
    """The gradients from the backward pass of a step.

    dx, dh: for x, and for the h that was multiplied by U, (B, n, H)
    direct: for the states, without dh
    gradients: for W, U and b
    """

    dx: np.ndarray
    dh: np.ndarray
    direct: States
    gradients: Gradients


Function = Callable[[np.ndarray], np.ndarray]
Step = Callable[[Cell, np.ndarray, np.ndarray, States], tuple[States, Any]]
StepBackward = Callable[[Cell, Any, States], Found]


def simple_step(
    cell: Cell, x: np.ndarray, h: np.ndarray, states: States
) -> tuple[States, Any]:
    """h = f(x W + h' U + b). Source: Elman 1990."""
    z = x @ cell.W + cell.recurrent(h, cell.U) + cell.b
    return (cell.f(z),), (x, h, z)


def simple_step_backward(cell: Cell, saved: Any, dstates: States) -> Found:
    """dz = dh f'(z)."""
    (x, h, z), (dy,) = saved, dstates
    dz = dy * cell.df(z)
    return _of_sum(cell, x, h, dz, (np.zeros_like(dy),))


def lstm_step(
    cell: Cell, x: np.ndarray, h: np.ndarray, states: States
) -> tuple[States, Any]:
    """[i, f, n, o] = x W + h' U + b; c = g(f) c' + g(i) f(n); h = g(o) f(c).
    Source: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000."""
    before = states[1]
    z = x @ cell.W + cell.recurrent(h, cell.U) + cell.b
    i, f, n, o = cell.gates(z)
    c = cell.g(f) * before + cell.g(i) * cell.f(n)
    return (cell.g(o) * cell.f(c), c), (x, h, before, z, c)


def lstm_step_backward(cell: Cell, saved: Any, dstates: States) -> Found:
    """dc += dh g(o) f'(c); dz = [dc f(n) g'(i), dc c' g'(f), dc g(i) f'(n),
    dh f(c) g'(o)]; dc' = dc g(f)."""
    x, h, before, z, c = saved
    dy, dc = dstates
    i, f, n, o = cell.gates(z)
    dc = dc + dy * cell.g(o) * cell.df(c)
    parts = (
        dc * cell.f(n) * cell.dg(i),
        dc * before * cell.dg(f),
        dc * cell.g(i) * cell.df(n),
        dy * cell.f(c) * cell.dg(o),
    )
    dz = np.concatenate(parts, axis=-1)
    return _of_sum(cell, x, h, dz, (np.zeros_like(dy), dc * cell.g(f)))


def gru_step(
    cell: Cell, x: np.ndarray, h: np.ndarray, states: States
) -> tuple[States, Any]:
    """[z, r, n] = x W + b, [z', r', n'] = h' U + b'; h = u h' + (1 - u) f(n + g(r +
    r') n') with u = g(z + z'): the reset gate comes after the product. Source: Cho et
    al. 2014, version 3."""
    (before,) = states
    b, recurrent_b = cell.b if np.ndim(cell.b) else (cell.b, cell.b)
    z, r, n = cell.gates(x @ cell.W + b)
    z_h, r_h, n_h = cell.gates(cell.recurrent(h, cell.U) + recurrent_b)
    z, r = z + z_h, r + r_h
    n = n + cell.g(r) * n_h
    u = cell.g(z)
    return (u * before + (1 - u) * cell.f(n),), (x, h, before, z, r, n, n_h)


def gru_step_backward(cell: Cell, saved: Any, dstates: States) -> Found:
    """dn = dh (1 - u) f'(n); dz = dh (h' - f(n)) g'(z); dr = dn n' g'(r); gradients of
    the product with W are [dz, dr, dn], with U [dz, dr, dn g(r)]; dh' = dh u."""
    (x, h, before, z, r, n, n_h), (dy,) = saved, dstates
    dz, dn = _through_mix(cell, before, z, n, dy)
    dr = dn * n_h * cell.dg(r)
    dz_x = np.concatenate((dz, dr, dn), axis=-1)
    dz_h = np.concatenate((dz, dr, dn * cell.g(r)), axis=-1)
    gradients = {
        "kernel": x.T @ dz_x,
        "recurrent_kernel": cell.dU(h, dz_h),
        "bias": np.stack([total(dz_x, axis=0), total(dz_h, axis=0)]),
    }
    dh = cell.dh(h, dz_h, cell.U)
    return Found(dz_x @ cell.W.T, dh, (dy * cell.g(z),), gradients)


def gru_before_step(
    cell: Cell, x: np.ndarray, h: np.ndarray, states: States
) -> tuple[States, Any]:
    """[z, r] = x W + h' U + b, n = x W + (g(r) h') U + b; h = u h' + (1 - u) f(n) with
    u = g(z): the reset gate comes before the product. Source: Cho et al. 2014."""
    (before,) = states
    two = 2 * cell.units
    z, r, n = cell.gates(x @ cell.W + cell.b)
    z_h, r_h = cell.gates(cell.recurrent(h, cell.U[:, :two]))
    z, r = z + z_h, r + r_h
    n = n + (cell.g(r) * h[:, -1]) @ cell.U[:, two:]
    u = cell.g(z)
    return (u * before + (1 - u) * cell.f(n),), (x, h, before, z, r, n)


def gru_before_step_backward(cell: Cell, saved: Any, dstates: States) -> Found:
    """Like `gru_step_backward`, with d(g(r) h') = dn U^T and dr = d(g(r) h') h'
    g'(r)."""
    (x, h, before, z, r, n), (dy,) = saved, dstates
    two = 2 * cell.units
    dz, dn = _through_mix(cell, before, z, n, dy)
    dreset = dn @ cell.U[:, two:].T
    last = h[:, -1]
    gates = np.concatenate((dz, dreset * last * cell.dg(r)), axis=-1)
    dz_x = np.concatenate((gates, dn), axis=-1)
    recurrent = np.concatenate((cell.dU(h, gates), (cell.g(r) * last).T @ dn), axis=-1)
    gradients = {
        "kernel": x.T @ dz_x,
        "recurrent_kernel": recurrent,
        "bias": total(dz_x, axis=0),
    }
    dh, dlast = cell.dh(h, gates, cell.U[:, :two]), (dreset * cell.g(r))[:, None]
    dh = dh + dlast if h.shape[1] == 1 else np.concatenate((dh, dlast), axis=1)
    return Found(dz_x @ cell.W.T, dh, (dy * cell.g(z),), gradients)


def scan(step: Step, step_backward: StepBackward) -> tuple[ForwardMany, BackwardMany]:
    """Forward and backward functions that run a cell over all steps of a sequence."""

    def forward(
        op: Op, xs: Arrays, state: State, training: bool
    ) -> tuple[np.ndarray, Cache]:
        cell = Cell(op, state)
        x, masks, states, factors = _inputs(op, xs, cell)
        outputs, saves = [], []
        for t in _order(op, x.shape[1]):
            h = states[0][:, None] * factors
            after, saved = step(cell, x[:, t], h, states)
            states = _where(masks[:, t], after, states)
            both = op.attrs.get("states")
            outputs.append(np.concatenate(states, axis=-1) if both else states[0])
            saves.append(saved)
        every = op.attrs.get("sequences")
        return np.stack(outputs, axis=1) if every else outputs[-1], (xs, saves)

    def backward(
        op: Op, dy: np.ndarray, cache: Cache, state: State
    ) -> tuple[Arrays, Gradients]:
        cell = Cell(op, state)
        xs, saves = cache
        x, masks, states, factors = _inputs(op, xs, cell)
        dx, gradients = np.zeros_like(x), dict[str, np.ndarray]()
        dstates: States = tuple(np.zeros_like(s) for s in states)
        steps = list(enumerate(_order(op, x.shape[1])))
        for s, t in reversed(steps):
            if op.attrs.get("sequences") or s == len(steps) - 1:
                of_step = dy[:, s] if op.attrs.get("sequences") else dy
                parts = cell.gates(of_step) if op.attrs.get("states") else [of_step]
                parts += [np.zeros_like(parts[0])] * (len(dstates) - len(parts))
                dstates = tuple(d + p for d, p in zip(dstates, parts, strict=True))
            zeros: States = tuple(np.zeros_like(d) for d in dstates)
            acting = _where(masks[:, t], dstates, zeros)
            found = step_backward(cell, saves[s], acting)
            first, *others = found.direct
            passed = (first + (found.dh * factors).sum(axis=1), *others)
            dstates = _where(masks[:, t], passed, dstates)
            dx[:, t] = found.dx
            for role in op.params:
                part = found.gradients[role]
                gradients[role] = gradients[role] + part if s < len(steps) - 1 else part
        dxs = [dx, *(np.zeros_like(a) for a in xs[1:])]
        if op.attrs.get("initial"):
            first_state = 1 + bool(op.attrs.get("masked"))
            dxs[first_state : first_state + len(dstates)] = dstates
        return dxs, gradients

    return forward, backward


LSTM = scan(lstm_step, lstm_step_backward)
SIMPLE_RNN = scan(simple_step, simple_step_backward)
_AFTER = scan(gru_step, gru_step_backward)
_BEFORE = scan(gru_before_step, gru_before_step_backward)


def gru_forward(
    op: Op, xs: Arrays, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    return (_AFTER if op.attrs["reset_after"] else _BEFORE)[0](op, xs, state, training)


def gru_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[Arrays, Gradients]:
    return (_AFTER if op.attrs["reset_after"] else _BEFORE)[1](op, dy, cache, state)


def _functions(op: Op, name: str, parameter: str) -> tuple[Function, Function]:
    """An activation and its derivative as functions of z."""
    kind = str(op.attrs.get(name, "linear"))
    f, df = ACTIVATIONS[kind]
    alpha = float(op.attrs.get(parameter, 0.0))
    return lambda z: f(z, alpha), lambda z: df(z, alpha)


def _inputs(
    op: Op, xs: Arrays, cell: Cell
) -> tuple[np.ndarray, np.ndarray, States, np.ndarray]:
    """x, the mask (B, T, 1), the initial states, and factors of h (B, n, H), for all
    gates or for each one."""
    x, *others = xs
    rest = iter(others)
    masks = next(rest)[..., None] != 0 if op.attrs.get("masked") else None
    if masks is None:
        masks = np.ones((*x.shape[:2], 1), bool)
    count = 2 if op.kind == "lstm" else 1
    zeros = np.zeros((len(x), cell.units), x.dtype)
    given = op.attrs.get("initial")
    states = tuple(next(rest) if given else zeros for _ in range(count))
    dropped = op.attrs.get("recurrent_dropout")
    factors = next(rest) if dropped else np.ones_like(zeros)
    return x, masks, states, factors.reshape(len(x), -1, cell.units)


def _order(op: Op, steps: int) -> Iterable[int]:
    return reversed(range(steps)) if op.attrs.get("reverse") else range(steps)


def _where(mask: np.ndarray, a: States, b: States) -> States:
    return tuple(np.where(mask, p, q) for p, q in zip(a, b, strict=True))


def _of_sum(
    cell: Cell, x: np.ndarray, h: np.ndarray, dz: np.ndarray, direct: States
) -> Found:
    """For z = x W + h U + b: dx = dz W^T, dh = dz U^T, dW = x^T dz, dU = h^T dz."""
    gradients = {
        "kernel": x.T @ dz,
        "recurrent_kernel": cell.dU(h, dz),
        "bias": total(dz, axis=0),
    }
    return Found(dz @ cell.W.T, cell.dh(h, dz, cell.U), direct, gradients)


def _through_mix(
    cell: Cell, before: np.ndarray, z: np.ndarray, n: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """dz and dn for h = u h' + (1 - u) f(n), u = g(z)."""
    return dy * (before - cell.f(n)) * cell.dg(z), dy * (1 - cell.g(z)) * cell.df(n)
