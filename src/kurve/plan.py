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
from typing import TYPE_CHECKING

from kurve.kinds import OPERATIONS
from kurve.ops.tape import Tape

if TYPE_CHECKING:
    from kurve.ops.formula import Formula, Update

ALIGNMENT = 16
"""Variables start at multiples of this many float32 (64 bytes, one cache line)."""

Attr = float | int | str | bool
Shape = tuple[int, ...]


@dataclass(frozen=True)
class VariableSpec:
    """A variable: its position in a flat vector, and what the update needs to know.

    penalty: from the value to its gradient and the penalty, an array (1,)
    constraint: from the value after an update to the value that it is set to
    """

    name: str
    shape: Shape
    offset: int
    trainable: bool = True
    l1: float = 0.0
    l2: float = 0.0
    constraint: Formula | None = None
    penalty: Formula | None = None

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
    map            any                        (a tape: elementwise, of x and params)
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
    step), see `kurve.core.rng`. Element e of a batch takes word e (dropout; `shared`
    positions to a word, channel c of sample b takes word b C + c) or words e & ~1 and
    e | 1 (gaussian_noise: Box & Muller in float64), picture b words 4 b and 4 b + 1
    (affine_image: places and weights in float64). Formulas: `kurve.engines.reference`.

    inputs: numbers of the values that it reads: the plan's inputs are the first values,
        then comes the output of each op. Empty: the output of the op before.
    more_shapes: of the inputs behind the first, whose shape is in_shape.
    """

    kind: str
    layer: str
    in_shape: Shape
    out_shape: Shape
    params: Mapping[str, VariableSpec] = field(default_factory=dict)
    buffers: Mapping[str, VariableSpec] = field(default_factory=dict)
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    tape: Tape | None = None
    inputs: tuple[int, ...] = ()
    more_shapes: tuple[Shape, ...] = ()

    @property
    def in_shapes(self) -> tuple[Shape, ...]:
        """Shapes of all inputs."""
        return (self.in_shape, *self.more_shapes)


@dataclass(frozen=True)
class Spec:
    """A loss, metric or optimizer for engines: its kind and parameters."""

    kind: str
    attrs: Mapping[str, Attr] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerSpec(Spec):
    """An optimizer that does more than its kind's formula.

    updates: of each of the plan's params
    slots:   number of all of them
    every:   gradients are added up, in the last slot, for that many steps; then their
             mean is applied
    """

    updates: tuple[Update, ...] = ()
    slots: int = 0
    every: int = 1


@dataclass(frozen=True)
class MetricSpec(Spec):
    """A metric and its number of float64 accumulators."""

    size: int = 2
    weighted: bool = False


@dataclass(frozen=True)
class Head:
    """One output of a plan, and what is done with it in training.

    value: its number, see `Op.inputs`; an op of its own computes each head
    weight: of its loss in the sum of all
    """

    value: int
    shape: Shape
    loss: Spec | None = None
    metrics: tuple[MetricSpec, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class Plan:
    """Everything that an engine needs to predict and, with a loss and an optimizer, to
    train: a graph of values. Each op reads values that were computed before it and
    computes one; a stack is the case where op i reads value i and computes value i + 1.

    inputs: shapes of the values that come from outside, of one sample
    """

    inputs: tuple[Shape, ...]
    ops: tuple[Op, ...]
    params: tuple[VariableSpec, ...]
    buffers: tuple[VariableSpec, ...]
    heads: tuple[Head, ...]
    optimizer: Spec | None = None

    @classmethod
    def stack(
        cls,
        input_shape: Shape,
        output_shape: Shape,
        ops: tuple[Op, ...],
        params: tuple[VariableSpec, ...],
        buffers: tuple[VariableSpec, ...],
        loss: Spec | None = None,
        metrics: tuple[MetricSpec, ...] = (),
        optimizer: Spec | None = None,
    ) -> Plan:
        """The plan whose ops follow each other."""
        head = Head(len(ops), output_shape, loss, metrics)
        return cls((input_shape,), ops, params, buffers, (head,), optimizer)

    def reads(self, index: int) -> tuple[int, ...]:
        """The values that an op reads."""
        if self.ops[index].inputs:
            return self.ops[index].inputs
        return (len(self.inputs) + index - 1 if index else 0,)

    @property
    def is_stack(self) -> bool:
        """Whether each op reads the output of the one before, and nothing else."""
        return (
            len(self.inputs) == len(self.heads) == 1
            and self.heads[0].value == len(self.ops)
            and all(self.reads(i) == (i,) for i in range(len(self.ops)))
        )

    @property
    def input_shape(self) -> Shape:
        """Of the first input."""
        return self.inputs[0]

    @property
    def output_shape(self) -> Shape:
        """Of the first output."""
        return self.heads[0].shape

    @property
    def loss(self) -> Spec | None:
        """Of the first output."""
        return self.heads[0].loss

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Of all outputs, one after the other."""
        return tuple(metric for head in self.heads for metric in head.metrics)

    def trained_with(
        self,
        loss: Spec | None,
        metrics: tuple[MetricSpec, ...] = (),
        optimizer: Spec | None = None,
    ) -> Plan:
        """The same plan of one output with another loss, metrics and optimizer."""
        (head,) = self.heads
        head = replace(head, loss=loss, metrics=metrics)
        return replace(self, heads=(head,), optimizer=optimizer)

    def deterministic(self) -> Plan:
        """The same without randomness: ops that act only in training are left out, and
        batch normalization uses its moving averages."""
        ops: list[Op] = []
        place = list(range(len(self.inputs)))  # of each value, in the new plan
        for i, op in enumerate(self.ops):
            reads = tuple(place[v] for v in self.reads(i))
            computed = reads[0] >= len(self.inputs)
            is_head = any(h.value == len(place) for h in self.heads)
            facts = OPERATIONS[op.kind]
            if facts.training_only and (computed or not is_head):
                place.append(reads[0])
                continue
            if facts.updates_buffers:
                op = replace(op, attrs={**op.attrs, "frozen": True})
            place.append(len(self.inputs) + len(ops))
            ops.append(replace(op, inputs=reads))
        heads = tuple(replace(head, value=place[head.value]) for head in self.heads)
        return replace(self, ops=tuple(ops), heads=heads)

    def part(self, first: int, last: int) -> Plan:
        """The operations first..last-1 by themselves, to predict with the same
        vectors."""
        ops = tuple(replace(op, inputs=()) for op in self.ops[first:last])
        shapes = ops[0].in_shape, ops[-1].out_shape
        return Plan.stack(*shapes, ops, self.params, self.buffers)

    @property
    def params_size(self) -> int:
        """Length of the flat parameter vector, padding included."""
        return vector_size(self.params)

    @property
    def buffers_size(self) -> int:
        return vector_size(self.buffers)

    @property
    def totals_size(self) -> int:
        """Length of the accumulator vector: loss (2), the loss of each head where there
        are several (1 each), then each metric's share."""
        losses = len(self.heads) if len(self.heads) > 1 else 0
        return 2 + losses + sum(metric.size for metric in self.metrics)


def aligned(offset: int) -> int:
    """The next multiple of `ALIGNMENT` at or after `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def vector_size(slots: tuple[VariableSpec, ...]) -> int:
    """Length of a flat vector of these variables, with padding after the last."""
    return aligned(slots[-1].end) if slots else 0
