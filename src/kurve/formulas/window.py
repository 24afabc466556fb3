"""Sliding windows along an axis."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Window:
    """A sliding window: `size` elements, `dilation` apart, moved by `stride`."""

    size: int
    stride: int
    dilation: int = 1

    @property
    def span(self) -> int:
        """Number of elements from first to last."""
        return (self.size - 1) * self.dilation + 1

    def pads(self, length: int, padding: str) -> tuple[int, int]:
        """Number of zeros before and after an axis. "same" follows TensorFlow:
        ceil(length / stride) positions, with the odd zero after the axis."""
        if padding == "valid":
            return 0, 0
        if padding == "causal":
            return self.span - 1, 0
        places = -(-length // self.stride)
        total = max((places - 1) * self.stride + self.span - length, 0)
        return total // 2, total - total // 2

    def places(self, length: int, padding: str) -> int:
        """Number of window positions along an axis; 0 if the axis is too short."""
        room = length + sum(self.pads(length, padding)) - self.span
        return max(room, -self.stride) // self.stride + 1
