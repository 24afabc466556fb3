"""The plan: the typed, shape-checked description of a model that an engine executes.

A plan is plain data. It lists the operations in order with their shapes, says where
each variable lies in the two flat vectors, and names the loss, the metrics and the
optimizer with their parameters. Engines read only plans; they know no layer classes.

Two flat vectors hold the variables of a model, each variable a view:

* ``params``: variables with gradients (kernels, biases). Optimizer slots (Adam's m and
  v) are vectors of the same length.
* ``buffers``: variables without (the mean and variance of `Normalization`, and the
  moving ones of `BatchNormalization`, which training updates).

Each variable starts at a multiple of `ALIGNMENT` floats (64 bytes); the padding between
variables always stays zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kurve.kinds import OPERATIONS

ALIGNMENT = 16
"""Variables start at multiples of this many float32 (64 bytes, one cache line)."""

Attr = float | int | str | bool
Shape = tuple[int, ...]


@dataclass(frozen=True)
class VariableSpec:
    """A variable: its position in a flat vector, and what the update needs to know."""

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
    dropout                                   rate, stream (number of the random
                                              stream), shared?
    gaussian_noise                            stddev, stream
    normalization  mean (C,), variance (C,)   invert, epsilon
    scale          / scale (C,)?, offset      scale, offset  (numbers, for each that is
                   (C,)?                      not a buffer)
    conv           kernel (h, w, I / groups,  activation, alpha, kernel_*, stride_*,
                   O), bias (O,)?             dilation_*, pad_*, groups
    conv_transpose kernel (h, w, O, I),       activation, alpha, kernel_*, stride_*,
                   bias (O,)?                 dilation_*, pad_*
    pool                                      mode, pool_*, stride_*, pad_*
    global_pool                               mode  (of each channel)
    reshape                                   (row-major)
    pad                                       pad_*
    upsample                                  size_*, interpolation
    batch_         gamma (C,)?, beta (C,)?;   momentum, epsilon, frozen
    normalization  moving_mean (C,),
                   moving_variance (C,)
    layer_         gamma, beta (the shape     epsilon, size (of the trailing elements
    normalization  standardized together)?    standardized together)
    affine_image                              what, its ranges, fill_mode, fill_value,
                                              interpolation, stream

    A plane is a sample (H, W, C), or (L, C) as one of height 1. `_*` stands for _h and
    _w, and in pad_* for _top, _bottom, _left and _right: zeros around a plane.
    A depthwise kernel (h, w, I, M) is the same memory as (h, w, 1, I M), groups = I.
    mode is "max" (padding is never the maximum, and the gradient goes to the first
    largest element, row by row) or "average" (padding does not count). The pad_* of
    conv_transpose are cropped from its full output, (H - 1) stride + (kernel - 1)
    dilation + 1; at the bottom and right a negative one adds zeros instead.

    Random numbers of a step are words of the stream (seed, purpose 0x10000 + stream,
    step), see `kurve.core.rng`. Element e of a batch takes word e (dropout; with
    `shared` positions for a word, channel c of sample b takes word b C + c) or words e
    & ~1 and e | 1 (gaussian_noise: Box & Muller in float64), image b words 4 b and 4 b
    + 1 (affine_image: positions and weights in float64). Formulas:
    `kurve.engines.reference`.
    """

    kind: str
    layer: str
    in_shape: Shape
    out_shape: Shape
    params: Mapping[str, VariableSpec] = field(default_factory=dict)
    buffers: Mapping[str, VariableSpec] = field(default_factory=dict)
    attrs: Mapping[str, Attr] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """A loss, metric or optimizer for engines: its kind and parameters."""

    kind: str
    attrs: Mapping[str, Attr] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricSpec(Spec):
    """A metric and its number of float64 accumulators."""

    size: int = 2
    weighted: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that an engine needs to predict and, with a loss and an optimizer, to
    train."""

    input_shape: Shape
    output_shape: Shape
    ops: tuple[Op, ...]
    params: tuple[VariableSpec, ...]
    buffers: tuple[VariableSpec, ...]
    loss: Spec | None = None
    metrics: tuple[MetricSpec, ...] = ()
    optimizer: Spec | None = None

    def deterministic(self) -> Plan:
        """The same without randomness: ops that act only in training are left out, and
        batch normalization uses its moving averages."""
        ops = tuple(
            replace(op, attrs={**op.attrs, "frozen": True})
            if OPERATIONS[op.kind].updates_buffers
            else op
            for op in self.ops
            if not OPERATIONS[op.kind].training_only
        )
        return replace(self, ops=ops or self.ops)

    def part(self, first: int, last: int) -> Plan:
        """The operations first..last-1 alone, to predict with the same vectors."""
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
        """Length of the accumulator vector: 2 for the loss, then those of each
        metric."""
        return 2 + sum(metric.size for metric in self.metrics)


def aligned(offset: int) -> int:
    """The next multiple of `ALIGNMENT` at or after `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def vector_size(slots: tuple[VariableSpec, ...]) -> int:
    """Length of a flat vector of these variables, with padding after the last."""
    return aligned(slots[-1].end) if slots else 0
