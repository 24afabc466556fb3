"""Shared by the modules of ops: variables, gradients and random streams of a step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor as Tensor

from kurve.core import rng
from kurve.engines.reference.common import number as number
from kurve.engines.reference.common import plane_shape as plane_shape
from kurve.plan import Op, Plan, Shape, VariableSpec

if TYPE_CHECKING:
    from kurve.engines.torch.sharing import Share

Cache = Any  # what an op's forward pass saves for its backward pass
Forward = Callable[[Op, Sequence[Tensor], "Frame"], tuple[Tensor, Cache]]
Backward = Callable[[Op, Tensor, Cache, "Frame"], Sequence["Tensor | None"]]
Pair = tuple[Forward, Backward]
Statistics = Callable[[Op, Cache, Mapping[str, Tensor]], dict[str, Tensor]]

LOW = 0xFFFFFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


class Frame:
    """The context of ops besides their values.

    params, buffers: flat vectors on the device; ops get views of them
    gradient: (P,), which backward passes write; None where there is none
    step: a number, or int64 on the device, so that a captured step draws other numbers
        each time
    wanted: whether anything trainable lies before the op whose backward pass runs
    known: what ops keep from step to step, by their identity
    share: of a step whose rows several processes divide among them
    factors: the type that factors of products are rounded to, if not their own
    members: the axis in front of variables and of sums over a batch, where several
        members run together, see `kurve.engines.torch.members`; else no axis
    """

    members: tuple[int, ...] = ()
    share: Share | None = None
    factors: torch.dtype | None = None

    def __init__(
        self,
        plan: Plan,
        params: Tensor,
        buffers: Tensor,
        seed: int,
        step: Tensor | int,
        training: bool,
        gradient: Tensor | None = None,
    ) -> None:
        self.seed, self.step, self.training = seed, step, training
        self.device, self.dtype = params.device, params.dtype
        self.params, self.buffers = params, buffers
        self.wide = wide(self.device)
        self.wanted = True
        self.known: dict[Any, Any] = {}
        trained = [v for v in plan.params if v.trainable and gradient is not None]
        self._params = self._views(params, plan.params)
        self._buffers = self._views(buffers, plan.buffers)
        self._gradients = self._views(gradient, trained)
        self._written: set[int] = set()

    def _views(
        self, vector: Tensor | None, variables: Sequence[VariableSpec]
    ) -> dict[int, Tensor]:
        """Each variable inside a flat vector, by its offset."""
        return {v.offset: view(vector, v) for v in variables if vector is not None}

    @property
    def slopes(self) -> list[Tensor]:
        """The gradients of all variables."""
        return list(self._gradients.values())

    def param(self, op: Op, role: str) -> Tensor:
        return self._params[op.params[role].offset]

    def value_of(self, variable: VariableSpec) -> Tensor:
        return self._params[variable.offset]

    def slope_of(self, variable: VariableSpec) -> Tensor:
        return self._gradients[variable.offset]

    def buffer(self, op: Op, role: str) -> Tensor:
        return self._buffers[op.buffers[role].offset]

    def add(self, op: Op, role: str, part: Tensor) -> None:
        """Add to the gradient of a variable; the first part overwrites it."""
        offset = op.params[role].offset
        slope = self._gradients.get(offset)
        if slope is None:
            return
        part = part.reshape(slope.shape)
        if offset in self._written:
            slope.add_(part)
        else:
            slope.copy_(part)
            self._written.add(offset)

    def add_sum(self, op: Op, role: str, dy: Tensor) -> None:
        """`add` of the sum of dy (rows, n) over its rows, computed in place."""
        offset = op.params[role].offset
        slope = self._gradients.get(offset)
        if slope is not None and offset not in self._written:
            torch.sum(dy, -2, out=slope.view(*self.members, -1))
            self._written.add(offset)
        elif slope is not None:
            self.add(op, role, dy.sum(-2))

    def add_product(self, op: Op, role: str, a: Tensor, b: Tensor) -> None:
        """`add` of a @ b, computed in place."""
        offset = op.params[role].offset
        slope = self._gradients.get(offset)
        if slope is None:
            return
        slope = slope.view(*self.members, a.shape[-2], b.shape[-1])
        if self.factors is not None:
            self.add(op, role, self.product(a, b))
        elif offset in self._written:
            (slope.baddbmm_ if self.members else slope.addmm_)(a, b)
        else:
            (torch.bmm if self.members else torch.mm)(a, b, out=slope)
            self._written.add(offset)

    def rows(self, x: Tensor, width: int) -> Tensor:
        """A batch as the rows that meet a variable: (R, width)."""
        return x.reshape(*self.members, -1, width)

    def affine(self, op: Op, rows: Tensor, kernel: Tensor) -> Tensor:
        """rows @ kernel + bias."""
        bias = self.param(op, "bias")
        if self.factors is not None:
            return self.product(rows, kernel).add_(bias.view(*self.members, 1, -1))
        return torch.addmm(bias.view(-1), rows, kernel)

    def rounded(self, *factors: Tensor) -> Sequence[Tensor]:
        """The factors of a product, rounded; the result must be cast back to their
        type."""
        if self.factors is None:
            return factors
        return [factor.to(self.factors) for factor in factors]

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """a @ b."""
        if self.factors is None:
            return torch.matmul(a, b)
        return torch.matmul(*self.rounded(a, b)).to(a.dtype)

    def finish(self) -> None:
        """Set gradients that no op has written to 0, and prepare for the next step."""
        for offset, slope in self._gradients.items():
            if offset not in self._written:
                slope.zero_()
        self._written.clear()

    def words(self, op: Op, count: int, each: int) -> Tensor:
        """Words of the op's stream in this step, int64 in [0, 2**32): `each` for a row
        of the batch, 0 where all rows share them."""
        key = halves(int(op.attrs.get("seed", self.seed)))
        purpose = rng.DROPOUT + int(op.attrs["stream"])
        first = 0 if self.share is None else self.share.first * each
        return philox(key, purpose, self._stream(), first, count)

    def _stream(self) -> Tensor:
        return torch.as_tensor(self.step, device=self.device)

    def uniform(self, op: Op, count: int, each: int) -> Tensor:
        """Numbers in (0, 1), see `rng.uniform`."""
        return (self.words(op, count, each).to(self.wide) + 0.5) * 2.0**-32

    def normal(self, op: Op, count: int, each: int) -> Tensor:
        """Standard normal numbers, as `kurve.engines.reference.batch.normal`."""
        half = -(-count // 2)
        u, v = self.uniform(op, 2 * half, each).view(half, 2).unbind(1)
        radius, angle = torch.sqrt(-2.0 * torch.log(u)), 2.0 * np.pi * v
        pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 1)
        return pairs.view(-1)[:count]

    def sum(self, x: Tensor) -> Tensor:
        """The sum of all elements, in the wide type."""
        return x.sum(dtype=self.wide)

    def whole(self, loss: Tensor) -> Tensor:
        """A number that is finite if the loss is."""
        return loss

    def each(self, number: Any, rows: int) -> Any:
        """A number of the batch as one of each of its rows."""
        return number

    # ---------------------------------------------------------------- sharing

    def all_rows(self, rows: int) -> int:
        """The number for all processes together, from that of this one."""
        share = self.share
        return rows if share is None else rows // share.rows * share.batch

    def add_shares(self, sums: Tensor) -> Tensor:
        """Sums over all rows, from sums over the rows of this process."""
        return sums if self.share is None else self.share.add(sums)

    def constant(self, op: Op, name: str, make: Callable[[], Any]) -> Any:
        """Arrays that an op reads in every step, on the device."""
        key = id(op), name
        if key not in self.known:
            made = make()
            parts = made if isinstance(made, tuple) else (made,)
            moved = tuple(torch.as_tensor(a, device=self.device) for a in parts)
            self.known[key] = moved if isinstance(made, tuple) else moved[0]
        return self.known[key]


def halves(key: int) -> tuple[int, int]:
    """The low and the high half of a key of 64 bits."""
    return key & LOW, (key >> 32) & LOW


def single(forward: Any, backward: Any) -> Pair:
    """The pair of an op of one value, from functions of that value."""

    def many_forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
        found: tuple[Tensor, Cache] = forward(op, xs[0], f)
        return found

    def many_backward(
        op: Op, dy: Tensor, cache: Cache, f: Frame
    ) -> Sequence[Tensor | None]:
        return (backward(op, dy, cache, f),)

    return many_forward, many_backward


def view(vector: Tensor, variable: VariableSpec) -> Tensor:
    """One variable inside its flat vector, without a copy."""
    return vector[variable.offset : variable.end].view(variable.shape)


def wide(device: torch.device) -> torch.dtype:
    """The type that sums are computed in: float64, which MPS does not have."""
    return torch.float32 if device.type == "mps" else torch.float64


def total(x: Tensor, axis: int | Sequence[int]) -> Tensor:
    """The sum along axes, accumulated in float64."""
    return x.sum(axis, dtype=wide(x.device)).to(x.dtype)


def philox(
    key: tuple[Any, Any], purpose: int, stream: Tensor, first: int, count: int
) -> Tensor:
    """`kurve.core.rng.philox` in int64, whose products wrap as those of uint64 do;
    `first` is a multiple of 4. The low and the high half of the key are numbers, or
    columns of them for as many rows of words."""
    blocks, start = -(-count // 4), first // 4
    c0 = torch.arange(start, start + blocks, dtype=torch.int64, device=stream.device)
    c1: Any = purpose
    c2, c3 = (stream & LOW).expand(blocks), (stream >> 32).expand(blocks)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0 = ((p1 >> 32) & LOW) ^ (c1 ^ k0)
        c2 = ((p0 >> 32) & LOW) ^ (c3 ^ k1)
        c1, c3 = p1 & LOW, p0 & LOW
        k0, k1 = (k0 + _W0) & LOW, (k1 + _W1) & LOW
    words = torch.stack(torch.broadcast_tensors(c0, c1, c2, c3), -1)
    return words.flatten(-2)[..., :count]


@functools.lru_cache(maxsize=4096)
def scalar(value: float, dtype: torch.dtype) -> Tensor:
    """A number as an operand of any function: on the CPU, which every device can read,
    and created once, so that capturing a step copies nothing."""
    return torch.tensor(value, dtype=dtype)


class _Memory:
    """The memory of an array, even of a read-only one."""

    def __init__(self, array: np.ndarray) -> None:
        interface = array.__array_interface__
        address = (interface["data"][0], False)
        self.__array_interface__ = {**interface, "data": address}
        self.array = array


def tensor_of(array: np.ndarray) -> Tensor:
    """The array's own memory as a tensor; read-only arrays are never written to."""
    if not array.flags.writeable:
        array = np.asarray(_Memory(array))
    return torch.from_numpy(array)


def plane(x: Tensor, shape: Shape) -> Tensor:
    """A batch of samples (H, W, C) or (L, C) as (B, H, W, C)."""
    return x.reshape(len(x), *plane_shape(shape))
