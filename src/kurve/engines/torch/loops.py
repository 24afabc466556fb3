"""Loops over the steps of a body, and the loss of sequences that are not aligned with
their labels. Formulas: `kurve.engines.reference.loops` and `.ctc`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from kurve.engines.torch.common import Cache, Frame, Pair, Tensor, number
from kurve.plan import Op

NEVER = -math.inf


def loops(pairs: Mapping[str, Pair]) -> dict[str, Pair]:
    """The operation "scan", with the forward and backward functions of its body."""

    def turn_forward(
        op: Op, given: Sequence[Tensor], f: Frame
    ) -> tuple[list[Tensor], list[Cache]]:
        assert op.body is not None
        values, caches = list(given), []
        for i, inner in enumerate(op.body.ops):
            read = [values[v] for v in op.body.plan.reads(i)]
            y, cache = pairs[inner.kind][0](inner, read, f)
            values.append(y)
            caches.append(cache)
        return [values[v] for v in op.body.outputs], caches

    def turn_backward(
        op: Op, slopes: dict[int, Tensor], caches: Sequence[Cache], f: Frame
    ) -> dict[int, Tensor]:
        assert op.body is not None
        first = len(op.body.inputs)
        for i in reversed(range(len(op.body.ops))):
            dy = slopes.pop(first + i, None)
            if dy is None:
                continue
            inner = op.body.ops[i]
            f.wanted = True
            dxs = pairs[inner.kind][1](inner, dy, caches[i], f)
            for value, dx in zip(op.body.plan.reads(i), dxs, strict=True):
                if dx is not None:
                    _add(slopes, value, dx)
        return slopes

    def scan_forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
        moving, carried = number(op, "moving"), number(op, "carried")
        states, constants = list(xs[moving : moving + carried]), xs[moving + carried :]
        step, ys, turns = f.step, [], []
        for t in range(number(op, "turns")):
            f.step = step + (t << 32)
            given = [x[:, _element(op, t)] for x in xs[:moving]]
            (y, *states), caches = turn_forward(op, [*given, *states, *constants], f)
            ys.append(y)
            turns.append(caches)
        f.step = step
        out = torch.stack(ys, 1) if op.attrs["sequences"] else ys[-1]
        if op.attrs["states"]:
            parts = [part.reshape(len(part), -1) for part in (out, *states)]
            out = torch.cat(parts, 1)
        return out.reshape(len(out), *op.out_shape), (xs, ys[0].shape, turns)

    def scan_backward(
        op: Op, dy: Tensor, cache: Cache, f: Frame
    ) -> Sequence[Tensor | None]:
        xs, shape, turns = cache
        moving, carried = number(op, "moving"), number(op, "carried")
        steps, everywhere = len(turns), bool(op.attrs["sequences"])
        size = math.prod(shape[1:]) * (steps if everywhere else 1)
        flat, step, wanted = dy.reshape(len(dy), -1), f.step, f.wanted
        of_y = flat[:, :size].reshape(len(dy), -1, *shape[1:])
        dxs = [torch.zeros_like(x) for x in xs]
        dstates = [torch.zeros_like(x) for x in xs[moving : moving + carried]]
        for k, state in enumerate(dstates if op.attrs["states"] else ()):
            width = math.prod(state.shape[1:])
            dstates[k] = flat[:, size : size + width].reshape(state.shape)
            size += width
        for t in reversed(range(steps)):
            f.step = step + (t << 32)
            slopes: dict[int, Tensor] = {}
            last = t == steps - 1
            parts = [of_y[:, t if everywhere else 0] if everywhere or last else None]
            for value, slope in zip(
                op.body.outputs if op.body else (), [*parts, *dstates], strict=True
            ):
                if slope is not None:
                    _add(slopes, value, slope)
            found = turn_backward(op, slopes, turns[t], f)
            for k in range(moving):
                if k in found:
                    dxs[k][:, _element(op, t)] = found[k]
            dstates = [
                found.get(moving + k, torch.zeros_like(state))
                for k, state in enumerate(dstates)
            ]
            for k in range(moving + carried, len(xs)):
                if k in found:
                    dxs[k] += found[k]
        f.step, f.wanted = step, wanted
        dxs[moving : moving + carried] = dstates
        return dxs

    return {"scan": (scan_forward, scan_backward)}


def _element(op: Op, t: int) -> int:
    """The element of the sequences that step t reads."""
    return number(op, "turns") - 1 - t if op.attrs["reverse"] else t


def _add(slopes: dict[int, Tensor], value: int, slope: Tensor) -> None:
    slopes[value] = slopes[value] + slope if value in slopes else slope


def ctc_forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
    x, labels, counts, steps = xs
    sequences = _Sequences(op, x.to(f.wide), labels, counts, steps)
    y = torch.where(sequences.right, -sequences.forwards(), math.nan)
    return y.to(x.dtype).reshape(counts.shape), (sequences, xs)


def ctc_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Sequence[Tensor | None]:
    sequences, xs = cache
    dx = sequences.backwards() * dy.to(f.wide).reshape(-1, 1, 1)
    dx = torch.where(sequences.right[:, None, None], dx, math.nan)
    others = [torch.zeros_like(x) for x in xs[1:]]
    return [dx.to(dy.dtype).reshape(xs[0].shape), *others]


class _Sequences:
    """R sequences with their labels. The states of one are its labels with blanks
    before, between and after them."""

    def __init__(
        self, op: Op, x: Tensor, labels: Tensor, counts: Tensor, steps: Tensor
    ) -> None:
        self.T, C = x.shape[-2:]
        N, blank = labels.shape[-1], number(op, "blank")
        x = x.reshape(-1, self.T, C)
        labels = labels.reshape(len(x), N)
        counts, steps = counts.reshape(-1), steps.reshape(-1)
        self.right = (counts >= 0) & (counts < N + 1)
        self.right &= (steps >= 0) & (steps < self.T + 1)
        self.counts, self.steps = (
            torch.where(self.right, size, 0).long() for size in (counts, steps)
        )
        self.k = torch.arange(2 * N + 1, device=x.device)
        counted = torch.arange(N, device=x.device) < self.counts[:, None]
        known = (labels >= 0) & (labels < C)
        self.right &= (known | ~counted).all(1)
        self.states = torch.full((len(x), 2 * N + 1), blank, device=x.device)
        self.states[:, 1::2] = torch.where(known & counted, labels, blank).long()
        # Alignments leave a blank out between labels that differ.
        self.skips = torch.zeros_like(self.states, dtype=torch.bool)
        self.skips[:, 2:] = self.states[:, 2:] != self.states[:, :-2]
        self.inside = self.k <= 2 * self.counts[:, None]
        self.log_p = torch.log_softmax(x, -1)
        at = self.states[:, None].expand(-1, self.T, -1)
        self.emitted = self.log_p.gather(2, at)

    def forwards(self) -> Tensor:
        """log p of the labels. alpha_t(k): of the first t + 1 steps, ending in k."""
        a = torch.where(self.k < 2, 0.0, NEVER).to(self.emitted.dtype)
        a = a.expand(self.states.shape)
        alphas: list[Tensor] = []
        for t in range(self.T):
            if t:
                two = torch.where(self.skips, _moved(a, 2), NEVER)
                a = torch.logaddexp(torch.logaddexp(a, _moved(a, 1)), two)
            a = torch.where(self.inside, a + self.emitted[:, t], NEVER)
            alphas.append(a)
        self.alpha = torch.stack(alphas, 1)
        rows = torch.arange(len(a), device=a.device)
        last = self.alpha[rows, (self.steps - 1).clamp(min=0)]
        some, ends = self.counts > 0, 2 * self.counts
        one = last.gather(1, ends[:, None])[:, 0]
        other = last.gather(1, (ends - 1).clamp(min=0)[:, None])[:, 0]
        total = torch.logaddexp(one, torch.where(some, other, NEVER))
        empty = torch.where(some, NEVER, 0.0).to(total.dtype)
        self.total = torch.where(self.steps > 0, total, empty)
        return self.total

    def backwards(self) -> Tensor:
        """The gradient of -log p. beta_t(k): log p of the steps after t, from k."""
        ends, parts = 2 * self.counts[:, None], []
        at_end = (self.k == ends) | (self.k == ends - 1)
        last = torch.where(at_end, 0.0, NEVER).to(self.emitted.dtype)
        b = torch.full_like(last, NEVER)
        for t in reversed(range(self.T)):
            if t + 1 < self.T:
                c = b + self.emitted[:, t + 1]
                two = torch.where(self.skips, c, NEVER)
                b = torch.logaddexp(torch.logaddexp(c, _moved(c, -1)), _moved(two, -2))
            b = torch.where((self.steps - 1 == t)[:, None], last, b)
            p = torch.exp(self.alpha[:, t] + b - self.total[:, None])
            d = torch.exp(self.log_p[:, t])
            d = d.scatter_add(1, self.states, -torch.where(self.inside, p, 0.0))
            counts = (self.steps > t) & torch.isfinite(self.total)
            parts.append(torch.where(counts[:, None], d, 0.0))
        return torch.stack(parts[::-1], 1)


def _moved(a: Tensor, by: int) -> Tensor:
    """The value of the state that is the given number of places before each state."""
    found = torch.full_like(a, NEVER)
    if by > 0:
        found[:, by:] = a[:, :-by]
    else:
        found[:, :by] = a[:, -by:]
    return found


LOSSES_OF_SEQUENCES: dict[str, Pair] = {"ctc": (ctc_forward, ctc_backward)}
