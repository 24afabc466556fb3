"""Recurrent cells: formulas, inputs and outputs as in
`kurve.engines.reference.recurrence`.

The products with the kernel W, and those of the gradients of W and U, are computed for
all steps of a sequence at once; the loop only contains what depends on the previous
step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from kurve.engines.torch.common import Cache, Frame, Pair, Tensor, total
from kurve.engines.torch.elementwise import ACTIVATIONS
from kurve.plan import Op

States = tuple[Tensor, ...]


class Cell:
    """Activations f and g with df(dy, z) = dy f'(z); W, U and the two biases, of the
    products with W and with U; h is (B, n, H), n = 1 or one for each gate."""

    def __init__(self, op: Op, f: Frame) -> None:
        self.f, self.df = _functions(op, "activation", "alpha")
        self.g, self.dg = _functions(op, "recurrent_activation", "recurrent_alpha")
        self.W, self.U = f.param(op, "kernel"), f.param(op, "recurrent_kernel")
        self.units = self.U.shape[0]
        self.after = op.kind == "gru" and bool(op.attrs["reset_after"])
        self.before = op.kind == "gru" and not op.attrs["reset_after"]
        self.b: Any = 0.0
        self.recurrent_b: Any = 0.0
        if "bias" in op.params:
            bias = f.param(op, "bias")
            self.b, self.recurrent_b = bias.unbind(0) if self.after else (bias, 0.0)

    def gates(self, z: Tensor) -> tuple[Tensor, ...]:
        return torch.split(z, self.units, -1)

    def recurrent(self, h: Tensor, U: Tensor) -> Tensor:
        """h U, for the first gates of U."""
        if h.shape[1] == 1:
            return h[:, 0] @ U
        return torch.cat([h[:, k] @ u for k, u in enumerate(self.gates(U))], -1)

    def dh(self, h: Tensor, dz: Tensor, U: Tensor) -> Tensor:
        """dz U^T, (B, n, H)."""
        if h.shape[1] == 1:
            return (dz @ U.t())[:, None]
        pairs = zip(self.gates(dz), self.gates(U), strict=True)
        return torch.stack([d @ u.t() for d, u in pairs], 1)


class Found(NamedTuple):
    """The results of a step's backward pass: gradients of the products with W and U, of
    h (B, n, H), and of the step's states without that of h."""

    dz_x: Tensor
    dz_h: Tensor
    dh: Tensor
    direct: States


Step = Callable[[Cell, Tensor, Tensor, States], tuple[States, Any]]
StepBackward = Callable[[Cell, Tensor, Any, States], Found]


def simple_step(
    cell: Cell, zx: Tensor, h: Tensor, states: States
) -> tuple[States, Any]:
    z = zx + cell.recurrent(h, cell.U)
    return (cell.f(z),), z


def simple_step_backward(cell: Cell, h: Tensor, saved: Any, d: States) -> Found:
    dz = cell.df(d[0], saved)
    return Found(dz, dz, cell.dh(h, dz, cell.U), (torch.zeros_like(d[0]),))


def lstm_step(cell: Cell, zx: Tensor, h: Tensor, states: States) -> tuple[States, Any]:
    z = zx + cell.recurrent(h, cell.U)
    i, f, n, o = cell.gates(z)
    c = cell.g(f) * states[1] + cell.g(i) * cell.f(n)
    return (cell.g(o) * cell.f(c), c), (states[1], z, c)


def lstm_step_backward(cell: Cell, h: Tensor, saved: Any, d: States) -> Found:
    before, z, c = saved
    dy, dc = d
    i, f, n, o = cell.gates(z)
    dc = dc + cell.df(dy * cell.g(o), c)
    parts = (
        cell.dg(dc * cell.f(n), i),
        cell.dg(dc * before, f),
        cell.df(dc * cell.g(i), n),
        cell.dg(dy * cell.f(c), o),
    )
    dz = torch.cat(parts, -1)
    direct = (torch.zeros_like(dy), dc * cell.g(f))
    return Found(dz, dz, cell.dh(h, dz, cell.U), direct)


def gru_step(cell: Cell, zx: Tensor, h: Tensor, states: States) -> tuple[States, Any]:
    z, r, n = cell.gates(zx)
    if cell.after:
        z_h, r_h, n_h = cell.gates(cell.recurrent(h, cell.U) + cell.recurrent_b)
        z, r = z + z_h, r + r_h
        n = n + cell.g(r) * n_h
    else:
        two = 2 * cell.units
        z_h, r_h = cell.gates(cell.recurrent(h, cell.U[:, :two]))
        z, r = z + z_h, r + r_h
        n_h = cell.g(r) * h[:, -1]  # what is multiplied with U
        n = n + n_h @ cell.U[:, two:]
    u = cell.g(z)
    return (u * states[0] + (1 - u) * cell.f(n),), (states[0], z, r, n, n_h)


def gru_step_backward(cell: Cell, h: Tensor, saved: Any, d: States) -> Found:
    (before, z, r, n, n_h), (dy,) = saved, d
    u, reset = cell.g(z), cell.g(r)
    dz, dn = cell.dg(dy * (before - cell.f(n)), z), cell.df(dy * (1 - u), n)
    if cell.after:
        dr = cell.dg(dn * n_h, r)
        dz_h = torch.cat((dz, dr, dn * reset), -1)
        dh = cell.dh(h, dz_h, cell.U)
        return Found(torch.cat((dz, dr, dn), -1), dz_h, dh, (dy * u,))
    two = 2 * cell.units
    dreset = dn @ cell.U[:, two:].t()
    gates = torch.cat((dz, cell.dg(dreset * h[:, -1], r)), -1)
    dh, dlast = cell.dh(h, gates, cell.U[:, :two]), (dreset * reset)[:, None]
    dh = dh + dlast if h.shape[1] == 1 else torch.cat((dh, dlast), 1)
    all_gates = torch.cat((gates, dn), -1)
    return Found(all_gates, all_gates, dh, (dy * u,))


STEPS: dict[str, tuple[Step, StepBackward]] = {
    "lstm": (lstm_step, lstm_step_backward),
    "gru": (gru_step, gru_step_backward),
    "simple_rnn": (simple_step, simple_step_backward),
}


def forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
    cell, step = Cell(op, f), STEPS[op.kind][0]
    x, masks, states, factors = _inputs(op, xs, cell)
    zx = (x.reshape(-1, x.shape[-1]) @ cell.W + cell.b).view(*x.shape[:2], -1)
    outputs, saves = [], []
    for t in _order(op, x.shape[1]):
        h = states[0][:, None] * factors if factors is not None else states[0][:, None]
        after, saved = step(cell, zx[:, t], h, states)
        states = _where(masks, t, after, states)
        both = op.attrs.get("states")
        outputs.append(torch.cat(states, -1) if both else states[0])
        saves.append((h, saved))
    every = op.attrs.get("sequences")
    return torch.stack(outputs, 1) if every else outputs[-1], (xs, saves)


def backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Sequence[Tensor | None]:
    cell, step_backward = Cell(op, f), STEPS[op.kind][1]
    xs, saves = cache
    x, masks, states, factors = _inputs(op, xs, cell)
    count, every = x.shape[1], op.attrs.get("sequences")
    d: States = tuple(torch.zeros_like(s) for s in states)
    zeros = d
    slopes: list[tuple[Tensor, Tensor]] = []
    order = list(_order(op, count))
    for s in reversed(range(count)):
        if every or s == count - 1:
            of_step = dy[:, s] if every else dy
            parts = cell.gates(of_step) if op.attrs.get("states") else (of_step,)
            d = (*(a + b for a, b in zip(d, parts, strict=False)), *d[len(parts) :])
        h, saved = saves[s]
        found = step_backward(cell, h, saved, _where(masks, order[s], d, zeros))
        dh = found.dh if factors is None else found.dh * factors
        first, *others = found.direct
        d = _where(masks, order[s], (first + dh.sum(1), *others), d)
        slopes.append((found.dz_x, found.dz_h))
    slopes.reverse()
    # In the order of the steps, each (T, B, ...): rows of one product.
    dz_x, dz_h = (torch.cat(parts) for parts in zip(*slopes, strict=True))
    seen = x.movedim(1, 0).flip([0] if op.attrs.get("reverse") else [])
    f.add_product(op, "kernel", seen.reshape(-1, x.shape[-1]).t(), dz_x)
    f.add(op, "recurrent_kernel", _dU(cell, saves, dz_h))
    if "bias" in op.params:
        sums = total(dz_x, 0)
        f.add(op, "bias", torch.stack([sums, total(dz_h, 0)]) if cell.after else sums)
    dx = (dz_x @ cell.W.t()).view(count, len(x), -1).movedim(0, 1)
    dxs = [dx.flip([1] if op.attrs.get("reverse") else [])]
    dxs += [torch.zeros_like(a) for a in xs[1:]]
    if op.attrs.get("initial"):
        first_state = 1 + bool(op.attrs.get("masked"))
        dxs[first_state : first_state + len(d)] = d
    return dxs


def _dU(cell: Cell, saves: list[Any], dz: Tensor) -> Tensor:
    """The sum of h^T dz over the steps, gate by gate where each has its own h."""
    h = torch.cat([h for h, _ in saves])
    if h.shape[1] == 1 and not cell.before:
        return h[:, 0].t() @ dz
    gates = cell.gates(dz)
    hs = [h[:, k % h.shape[1]] for k in range(len(gates))]
    if cell.before:
        hs[-1] = torch.cat([saved[-1] for _, saved in saves])
    return torch.cat([a.t() @ part for a, part in zip(hs, gates, strict=True)], -1)


def _functions(op: Op, name: str, parameter: str) -> tuple[Any, Any]:
    f, derivative = ACTIVATIONS[str(op.attrs.get(name, "linear"))]
    alpha = float(op.attrs.get(parameter, 0.0))
    return lambda z: f(z, alpha), lambda dy, z: derivative(dy, z, f(z, alpha), alpha)


def _inputs(
    op: Op, xs: Sequence[Tensor], cell: Cell
) -> tuple[Tensor, Tensor | None, States, Tensor | None]:
    """x, whether each step counts (B, T, 1), the initial states, and factors of h (B,
    n, H); None if all steps count and nothing is dropped."""
    x, *others = xs
    rest = iter(others)
    masks = next(rest)[..., None] != 0 if op.attrs.get("masked") else None
    zeros = x.new_zeros((len(x), cell.units))
    given = op.attrs.get("initial")
    count = 2 if op.kind == "lstm" else 1
    states = tuple(next(rest) if given else zeros for _ in range(count))
    if not op.attrs.get("recurrent_dropout"):
        return x, masks, states, None
    return x, masks, states, next(rest).reshape(len(x), -1, cell.units)


def _order(op: Op, steps: int) -> range:
    return range(steps - 1, -1, -1) if op.attrs.get("reverse") else range(steps)


def _where(masks: Tensor | None, t: int, a: States, b: States) -> States:
    if masks is None:
        return tuple(a)
    return tuple(torch.where(masks[:, t], p, q) for p, q in zip(a, b, strict=True))


RECURRENCE: dict[str, Pair] = dict.fromkeys(STEPS, (forward, backward))
