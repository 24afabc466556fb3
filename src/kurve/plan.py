"""The plan: the typed, shape-checked description of a model that an engine executes.

A plan is plain data. It lists the operations in order with their shapes, says where
each variable lies in the two flat vectors, and names the loss, the metrics and the
optimizer with their numbers. Engines read plans and nothing else: they know no layer
classes.

Two flat vectors hold every variable of a model, each variable a view:

* ``params``: what gradients reach (kernels, biases). Optimizer slots (Adam's m and v)
  are vectors of the same length.
* ``buffers``: what no gradient reaches (the mean and variance of `Normalization`).

Each variable starts at a multiple of `ALIGNMENT` floats (64 bytes); the padding between
variables stays zero for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

ALIGNMENT = 16
"""Variables start at multiples of this many float32 (64 bytes, one cache line)."""

Attr = float | int | str | bool
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Slot:
    """One variable: its place in a flat vector, and what the update needs to know."""

    name: str
    shape: Shape
    offset: int
    trainable: bool = True
    l1: float = 0.0
    l2: float = 0.0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Op:
    """One operation on a batch. Shapes are those of one sample, without the batch axis.

    kind           params / buffers           attrs
    -------------  -------------------------  ----------------------------------------
    dense          kernel (I, O), bias (O,)?  activation, alpha  (elementwise, fused)
    activation                                activation, alpha  (elementwise)
    softmax                                   (over the last axis)
    dropout                                   rate, stream (number of the random stream)
    normalization  mean (C,), variance (C,)   invert, epsilon
    conv           kernel (h, w, I / groups,  activation, alpha, kernel_*, stride_*,
                   O), bias (O,)?             dilation_*, pad_*, groups
    pool                                      mode, pool_*, stride_*, pad_*
    global_pool                               mode  (of each channel)
    reshape                                   (row-major)

    A plane is a sample (H, W, C), or (L, C), which is one of height 1; `_*` stands for
    _h and _w, or of pad_* for _top, _bottom, _left and _right: zeros around a plane.
    A depthwise kernel (h, w, I, M) is the same memory as (h, w, 1, I M), groups = I.
    mode is "max" (padding never wins, the gradient goes to the first largest element,
    row by row) or "average" (padding does not count).
    """

    kind: str
    layer: str
    in_shape: Shape
    out_shape: Shape
    params: Mapping[str, Slot] = field(default_factory=dict)
    buffers: Mapping[str, Slot] = field(default_factory=dict)
    attrs: Mapping[str, Attr] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """A loss, metric or optimizer as engines see it: a kind and its numbers."""

    kind: str
    attrs: Mapping[str, Attr] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricSpec(Spec):
    """A metric and the number of float64 accumulators that it keeps."""

    size: int = 2
    weighted: bool = False


@dataclass(frozen=True)
class Plan:
    """All that an engine needs to predict and, once there is a loss and an optimizer,
    to train."""

    input_shape: Shape
    output_shape: Shape
    ops: tuple[Op, ...]
    params: tuple[Slot, ...]
    buffers: tuple[Slot, ...]
    loss: Spec | None = None
    metrics: tuple[MetricSpec, ...] = ()
    optimizer: Spec | None = None

    def part(self, first: int, last: int) -> Plan:
        """The operations first..last-1 by themselves, to predict with the same
        vectors."""
        ops = self.ops[first:last]
        return Plan(ops[0].in_shape, ops[-1].out_shape, ops, self.params, self.buffers)

    @property
    def params_size(self) -> int:
        """Length of the flat parameter vector, padding included."""
        return vector_size(self.params)

    @property
    def buffers_size(self) -> int:
        return vector_size(self.buffers)

    @property
    def totals_size(self) -> int:
        """Length of the accumulator vector: loss (2), then each metric's share."""
        return 2 + sum(metric.size for metric in self.metrics)


def aligned(offset: int) -> int:
    """The next multiple of `ALIGNMENT` at or after `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def vector_size(slots: tuple[Slot, ...]) -> int:
    """Length of a flat vector that holds `slots`, its last variable padded too."""
    return aligned(slots[-1].end) if slots else 0
