"""The data of a call, on the device."""

from __future__ import annotations

import numpy as np
import torch

from kurve.engines.base import Batches
from kurve.engines.torch.common import Tensor, tensor_of
from kurve.plan import Plan

Target = tuple[Tensor | None, Tensor | None]
"""For each head: y and sample weights, None if there are none."""
Given = tuple[list[Tensor], list[Target]]


class Data:
    """The data of a call, on the device."""

    def __init__(
        self, plan: Plan, batches: Batches, device: torch.device, dtype: torch.dtype
    ) -> None:
        def upload(array: np.ndarray | None) -> Tensor | None:
            if array is None:
                return None
            return tensor_of(np.ascontiguousarray(array)).to(device)

        self.plan, self.dtype, self.device = plan, dtype, device
        self.xs = [upload(x) for x in batches.inputs]
        self.targets = [(upload(y), upload(w)) for y, w in batches.targets]
        self.arrays = [*self.xs, *(t for pair in self.targets for t in pair)]
        self.order = upload(batches.order)
        self.bounds = upload(batches.bounds)
        self.starts: list[int] = batches.bounds.tolist()
        self.counts = np.diff(batches.bounds)
        self.places: dict[tuple[int, int], Tensor] = {}

    def space(self, size: int) -> Given:
        """Memory for a batch of so many rows."""

        def like(array: Tensor | None) -> Tensor | None:
            if array is None:
                return None
            return array.new_empty((size, *array.shape[1:]), dtype=self.dtype)

        xs = [made for x in self.xs if (made := like(x)) is not None]
        return xs, [(like(y), like(w)) for y, w in self.targets]

    def read(self, to: Given, step: int, size: int) -> None:
        """Copy the rows of a step into their buffers."""
        start = self.starts[step]
        rows: Tensor | slice = slice(start, start + size)
        if self.order is not None:
            rows = self.order[rows]
        places = [*to[0], *(t for pair in to[1] for t in pair)]
        for place, array in zip(places, self.arrays, strict=True):
            if place is None or array is None:
                continue
            if isinstance(rows, slice):
                place.copy_(array[rows])
            elif array.dtype == place.dtype:
                torch.index_select(array, 0, rows, out=place)
            else:
                place.copy_(array.index_select(0, rows))

    def tensors(self) -> list[Tensor]:
        """All of them, in one order."""
        return [t for t in (*self.arrays, self.order, self.bounds) if t is not None]

    def fits(self, other: Data) -> bool:
        """Whether other data fits into the memory of this one."""
        layouts = [
            [t if t is None else (t.shape, t.dtype) for t in (*d.xs, d.order, d.bounds)]
            + [t if t is None else t.shape for pair in d.targets for t in pair]
            for d in (self, other)
        ]
        return layouts[0] == layouts[1]

    def fill(self, other: Data) -> None:
        """Copy other data into the memory of this one, which captured steps read."""
        for to, tensor in zip(self.tensors(), other.tensors(), strict=True):
            to.copy_(tensor)
        self.starts, self.counts = other.starts, other.counts

    def batch(self, step: Tensor | int, size: int, first: int = 0) -> Given:
        """Inputs, and y and weights of each head, of a step, a number or (1,) on the
        device: `size` rows of it, from row `first` on."""
        rows: Tensor | slice
        if isinstance(step, int):
            start = self.starts[step] + first
            rows = slice(start, start + size)
            if self.order is not None:
                rows = self.order[rows]
        else:
            place = first, size
            if place not in self.places:
                end = first + size
                self.places[place] = torch.arange(first, end, device=self.device)
            assert self.bounds is not None
            rows = self.bounds.index_select(0, step) + self.places[place]
            if self.order is not None:
                rows = self.order.index_select(0, rows)

        def take(array: Tensor | None) -> Tensor | None:
            if array is None:
                return None
            if isinstance(rows, slice):
                return array[rows].to(self.dtype)
            return array.index_select(0, rows).to(self.dtype)

        xs = [taken for x in self.xs if (taken := take(x)) is not None]
        return xs, [(take(y), take(w)) for y, w in self.targets]
