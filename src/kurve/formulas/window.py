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

    def crops(self, padding: str, more: int | None) -> tuple[int, int]:
        """The elements that a transposed convolution crops from both ends of its full
        output of length (L - 1) * stride + span; negative numbers add zeros. `more` is
        Keras's output_padding."""
        span, stride = self.span, self.stride
        if padding == "valid":
            return 0, -(max(stride - span, 0) if more is None else more)
        kept = stride + span - 2 if more is None else span + span % 2 - 2 + more
        before = min(kept - kept // 2, span - 1)
        return span - 1 - before, span - 1 - (kept - before)
