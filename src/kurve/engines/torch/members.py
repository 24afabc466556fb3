"""Several members of one plan as one program.

The rows of all members lie one behind another in one batch, so that an op that treats
each row by itself needs to know nothing of members. Variables, and sums over a batch,
have an axis of members in front: a dense layer is one batched product for all. Ops that
have variables and no such form are run for one member after the other.

Of the flat vectors, each variable's part holds that variable of all members, so that
the optimizer's formulas run over them as over those of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kurve.core import rng
from kurve.engines.base import Batches
from kurve.engines.torch.common import Cache, Frame, Pair, Tensor, halves, philox
from kurve.engines.torch.data import Data, Given
from kurve.plan import Op, Plan, VariableSpec

TOGETHER = frozenset(
    ["dense", "batch_normalization", "layer_normalization", "normalization"]
)
"""Ops with variables that are written for an axis of members."""

OF_BATCH = frozenset(["scan", "batch_reduce", "states", "keep_states"])
"""Ops of which more than the row decides, or that have ops of their own."""


@dataclass(eq=False)
class MembersBatches(Batches):
    """The batches of members, whose steps have as many rows; x, y, weights and order
    are in `each`."""

    each: Sequence[Batches] = ()


class MembersFrame(Frame):
    """The frame of all members of a program, whose count is the axis `members`.

    seed: the members' keys, of 64 bits each, the first in the lowest
    """

    def __init__(
        self,
        plan: Plan,
        count: int,
        params: Tensor,
        buffers: Tensor,
        seed: int,
        step: Tensor | int,
        training: bool,
        gradient: Tensor | None = None,
    ) -> None:
        self.members = (count,)
        super().__init__(plan, params, buffers, seed, step, training, gradient)
        keys = [halves(seed >> 64 * m) for m in range(count)]
        columns = torch.tensor(keys, dtype=torch.int64, device=self.device)
        self._keys = columns[:, :1], columns[:, 1:]
        self._members: list[MemberFrame] = []

    def each_member(self) -> list[MemberFrame]:
        """The frames of single members, as if nothing ran together."""
        if not self._members:
            self._members = [MemberFrame(self, m) for m in range(*self.members)]
        return self._members

    def _views(
        self, vector: Tensor | None, variables: Sequence[VariableSpec]
    ) -> dict[int, Tensor]:
        if vector is None:
            return {}
        (count,) = self.members
        parts = {v.offset: vector[count * v.offset : count * v.end] for v in variables}
        return {v.offset: parts[v.offset].view(count, *v.shape) for v in variables}

    @property
    def slopes(self) -> list[Tensor]:
        return [part for g in self._gradients.values() for part in g.unbind(0)]

    def affine(self, op: Op, rows: Tensor, kernel: Tensor) -> Tensor:
        if self.factors is not None:
            return super().affine(op, rows, kernel)
        bias = self.param(op, "bias").reshape(*self.members, 1, -1)
        return torch.baddbmm(bias, rows, kernel)

    def words(self, op: Op, count: int, each: int) -> Tensor:
        own = count // self.members[0]
        given = op.attrs.get("seed")
        key = self._keys if given is None else halves(int(given))
        purpose = rng.DROPOUT + int(op.attrs["stream"])
        words = philox(key, purpose, self._stream(), 0, own)
        return words.expand(*self.members, own).reshape(-1)

    def normal(self, op: Op, count: int, each: int) -> Tensor:
        (members,) = self.members
        own = count // members
        even = own + own % 2  # numbers come in pairs
        drawn = super().normal(op, members * even, each)
        return drawn.view(members, even)[:, :own].reshape(-1)

    def sum(self, x: Tensor) -> Tensor:
        return x.reshape(*self.members, -1).sum(1, dtype=self.wide)

    def whole(self, loss: Tensor) -> Tensor:
        return loss.sum()

    def each(self, number: Any, rows: int) -> Any:
        if not isinstance(number, Tensor):
            return number
        (count,) = self.members
        return number[:, None].expand(count, rows // count).reshape(-1, 1)

    def all_rows(self, rows: int) -> int:
        return rows // self.members[0]


class MemberFrame(Frame):
    """The frame of one of several members."""

    def __init__(self, whole: MembersFrame, number: int) -> None:
        self.seed = whole.seed >> 64 * number
        self.step, self.training = whole.step, whole.training
        self.device, self.dtype, self.wide = whole.device, whole.dtype, whole.wide
        self.params, self.known, self.factors = (
            whole.params,
            whole.known,
            whole.factors,
        )
        self._whole, self._number = whole, number
        self._params = {v: wide[number] for v, wide in whole._params.items()}
        self._buffers = {v: wide[number] for v, wide in whole._buffers.items()}
        self.start()

    def start(self) -> None:
        """What another op of all members wrote, this one adds to."""
        gradients = self._whole._gradients.items()
        self._gradients = {v: wide[self._number] for v, wide in gradients}
        self._written = set(self._whole._written)
        self.wanted = self._whole.wanted


class RowsFrame(MembersFrame):
    """Each row of a batch as a member, with the same variables for all, to find the
    derivatives of each."""

    def __init__(self, plan: Plan, one: Frame, rows: int) -> None:
        self.plan = plan
        super().__init__(plan, rows, one.params, one.buffers, 0, one.step, False)
        self.factors = one.factors

    def _views(
        self, vector: Tensor | None, variables: Sequence[VariableSpec]
    ) -> dict[int, Tensor]:
        if vector is None:
            return {}
        wide = vector.expand(*self.members, vector.shape[-1])
        return {
            v.offset: wide[:, v.offset : v.end].view(*self.members, *v.shape)
            for v in variables
        }

    def write_to(self, gradient: Tensor) -> None:
        """Write gradients of each row there (rows, P)."""
        trained = [v for v in self.plan.params if v.trainable]
        self._gradients = self._views(gradient, trained)

    def affine(self, op: Op, rows: Tensor, kernel: Tensor) -> Tensor:
        return self.product(rows, kernel).add_(
            self.param(op, "bias")[:1].view(1, 1, -1)
        )

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        common = b.ndim == 3 and b.stride(0) == 0
        return super().product(a, b[0] if common else b)

    def add_product(self, op: Op, role: str, a: Tensor, b: Tensor) -> None:
        slope = self._gradients.get(op.params[role].offset)
        new = op.params[role].offset not in self._written
        if slope is not None and new and a.shape[-1] == 1 and self.factors is None:
            torch.mul(a, b, out=slope.view(len(a), a.shape[-2], b.shape[-1]))
            self._written.add(op.params[role].offset)
        else:
            self.add(op, role, self.product(a, b))

    def add_sum(self, op: Op, role: str, dy: Tensor) -> None:
        self.add(op, role, dy.sum(-2))


def in_turn(pair: Pair) -> Pair:
    """The pair of an op of all members, from one that knows a single member."""
    forward, backward = pair

    def all_forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
        assert isinstance(f, MembersFrame)
        frames = f.each_member()
        parts = zip(*(x.chunk(len(frames)) for x in xs), strict=True)
        found = [forward(op, x, own) for x, own in zip(parts, frames, strict=True)]
        return torch.cat([y for y, _ in found]), [cache for _, cache in found]

    def all_backward(
        op: Op, dy: Tensor, cache: Cache, f: Frame
    ) -> Sequence[Tensor | None]:
        assert isinstance(f, MembersFrame)
        frames, found = f.each_member(), []
        for own, part, saved in zip(frames, dy.chunk(len(frames)), cache, strict=True):
            own.start()
            found.append(backward(op, part, saved, own))
        f._written = frames[0]._written
        return [
            None if dx is None else torch.cat([dx, *more])
            for dx, *more in zip(*found, strict=True)
        ]

    return all_forward, all_backward


def runs_together(op: Op) -> bool:
    """Whether an op runs for all members at once."""
    if op.kind in TOGETHER:
        return True
    shared = op.kind == "random" and bool(op.attrs.get("shared"))
    return not (op.params or op.buffers or shared or op.kind in OF_BATCH)


def pairs_of_members(plan: Plan, known: Mapping[str, Pair]) -> list[Pair]:
    """The pairs of a plan's ops for all members."""
    return [
        known[op.kind] if runs_together(op) else in_turn(known[op.kind])
        for op in plan.ops
    ]


class MembersData(Data):
    """The data of members. What they share is there once."""

    def __init__(
        self,
        plan: Plan,
        batches: MembersBatches,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        each, bounds = batches.each, batches.bounds
        given = [[*b.inputs, *(a for pair in b.targets for a in pair)] for b in each]
        columns = list(zip(*given, strict=True))
        self.apart = [not _same_memory(column) for column in columns]
        together = [
            np.concatenate(column) if apart else column[0]
            for column, apart in zip(columns, self.apart, strict=True)
        ]
        inputs, pairs = len(each[0].inputs), iter(together[len(each[0].inputs) :])
        y, weights = zip(*zip(pairs, pairs, strict=True), strict=True)
        last, rows = int(bounds[-1]), [len(b.inputs[0]) for b in each]
        orders = [
            np.arange(last) if b.order is None else b.order[:last].astype(np.int64)
            for b in each
        ]
        order = np.stack(orders)
        super().__init__(
            plan,
            Batches(tuple(together[:inputs]), y, weights, order, bounds),
            device,
            dtype,
        )
        starts = np.cumsum([0, *rows[:-1]])[:, None]
        self.count, self.shifted = len(each), torch.from_numpy(order + starts)
        self.shifted = self.shifted.to(device)

    def space(self, size: int) -> Given:
        return super().space(self.count * size)

    def read(self, to: Given, step: int, size: int) -> None:
        start = self.starts[step]
        columns = slice(start, start + size)
        places = [*to[0], *(t for pair in to[1] for t in pair)]
        rows = self._rows(lambda order: order[:, columns].reshape(-1))
        for place, array, own in zip(places, self.arrays, rows, strict=True):
            if place is None or array is None:
                continue
            if array.dtype == place.dtype:
                torch.index_select(array, 0, own, out=place)
            else:
                place.copy_(array.index_select(0, own))

    def batch(self, step: Tensor | int, size: int, first: int = 0) -> Given:
        if isinstance(step, int):
            given = self.space(size)
            self.read(given, step, size)
            return given
        assert self.bounds is not None
        if (0, size) not in self.places:
            self.places[0, size] = torch.arange(size, device=self.device)
        columns = self.bounds.index_select(0, step) + self.places[0, size]
        rows = self._rows(lambda order: order.index_select(1, columns).view(-1))
        taken = [
            None if array is None else array.index_select(0, own).to(self.dtype)
            for array, own in zip(self.arrays, rows, strict=True)
        ]
        pairs = iter(taken[len(self.xs) :])
        xs = [x for x in taken[: len(self.xs)] if x is not None]
        return xs, list(zip(pairs, pairs, strict=True))

    def _rows(self, of: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The rows of a step in each array."""
        assert self.order is not None
        found = [of(self.order), of(self.shifted)]
        return [found[apart] for apart in self.apart]

    def tensors(self) -> list[Tensor]:
        return [*super().tensors(), self.shifted]

    def fits(self, other: Data) -> bool:
        assert isinstance(other, MembersData)
        return self.apart == other.apart and super().fits(other)


def _same_memory(column: Sequence[np.ndarray | None]) -> bool:
    """Whether all members are given the same array."""
    if column[0] is None:
        return True
    places = {
        (a.__array_interface__["data"][0], a.shape, a.strides, a.dtype.str)
        for a in column
        if a is not None
    }
    return len(places) == 1
