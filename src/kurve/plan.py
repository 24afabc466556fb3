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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

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
    dense          kernel (I, O), bias (O,)?  activation, alpha  (elementwise, fused),
                                              transposed? (then the kernel is (O, I))
    activation                                activation, alpha  (elementwise)
    softmax                                   (over the last axis)
    map            any / any                  (a tape: elementwise, of its inputs, then
                                              the params, then the buffers)
    dropout                                   rate, stream (number of the random
                                              stream), seed?, shared?, channels?,
                                              alpha?
    gaussian_noise                            stddev, stream, seed?, multiply?
    normalization  mean (C,), variance (C,)   invert, epsilon
    scale          / scale (C,)?, offset      scale, offset  (numbers, for each that is
                   (C,)?                      not a buffer)
    conv           kernel (h, w, I / groups,  activation, alpha, kernel_*, stride_*,
                   O), bias (O,)?             dilation_*, pad_*, groups
    conv_transpose kernel (h, w, O, I),       activation, alpha, kernel_*, stride_*,
                   bias (O,)?                 dilation_*, pad_*
    conv3d         kernel (d, h, w, I /       activation, alpha, kernel_*, stride_*,
                   groups, O), bias (O,)?     dilation_*, pad_*, groups
    pool                                      mode, pool_*, stride_*, pad_*
    global_pool                               mode  (of each channel)
    reshape                                   (row-major)
    pad                                       pad_*
    upsample                                  size_*, interpolation
    batch_         gamma (C,)?, beta (C,)?;   momentum, epsilon, frozen
    normalization  moving_mean (C,),
                   moving_variance (C,)
    masked_batch_  as batch_normalization     (of two values: the statistics are of the
    normalization                             rows that are not 0 in the second, a mask)
    layer_         gamma, beta (the shape     epsilon, size (of the trailing elements
    normalization  standardized together)?    standardized together)
    reduce                                    mode, axis, count (of axes from there
                                              on, which out_shape may keep as 1)
    cumsum                                    axis, reverse (from each element on)
    permute                                   axes (those of the input, in order)
    slice, place                              starts, sizes, steps
    affine_image                              what, its ranges, fill_mode, fill_value,
                                              interpolation, stream, seed?
    matmul                                    transpose_a, transpose_b  (of two values
                                              (..., M, K) and (..., K, N))
    lstm           kernel (F, 4 H),           activation, recurrent_activation, alpha?,
                   recurrent_kernel (H, 4 H), recurrent_alpha?, reverse?, sequences?,
                   bias (4 H,)?               states?, masked?, initial?,
                                              recurrent_dropout?
    gru            kernel (F, 3 H),           the same but for states, and reset_after
                   recurrent_kernel (H, 3 H),
                   bias (2, 3 H)? or (3 H,)?
    simple_rnn     kernel (F, H),             the same as lstm, but for states and
                   recurrent_kernel (H, H),   recurrent_activation
                   bias (H,)?
    states         / state (B, ...)           (row b of it for sample b of a batch)
    keep_states    / state_0 (B, ...), ...    (the first of its values; the others
                                              become the states)
    ctc                                       blank  (the loss (...) of logits (..., T,
                                              C), labels (..., N), and how many labels
                                              (...) and steps (...) count)
    embedding      embeddings (N, D)          (its rows; NaN for a number that has none)
    variable       any (one) / or any         (the same for each sample)
    batch_reduce                              mode: "mean", "sum", "max"  (over all
                                              samples of the batch, in losses)
    random                                    distribution: "uniform" in (0, 1) or
                                              "normal", stream, seed?, shared? (the same
                                              for each sample; in prediction too)

    A plane is a sample (H, W, C), or (L, C) as one of height 1. `_*` stands for _h and
    _w, and in pad_* for _top, _bottom, _left and _right: zeros around a plane. Those of
    a volume (D, H, W, C) also stand for _d, and for _front and _back.
    A depthwise kernel (h, w, I, M) is the same memory as (h, w, 1, I M), groups = I.
    mode is "max" (padding is never the maximum, and the gradient goes to the first
    largest element, row by row) or "average" (padding does not count). The pad_* of
    conv_transpose are cropped from its full output, (H - 1) stride + (kernel - 1)
    dilation + 1; at the bottom and right a negative one adds zeros instead.

    reduce's mode is "sum", "mean", "prod", "logsumexp", "max", "min" (the gradient goes
    to the first) or "argmax" (the number of the first; no gradient). Element i of an
    axis of a slice is x[start + i step], 0 <= i < size; `place` is its adjoint: there
    its elements stand among zeros. Steps may be negative, axes of 1 be left out.

    Recurrent ops read x (T, F) and what their attrs name: with masked, mask (T,), 0 or
    1; with initial, h (H,) and, lstm, c (H,); with recurrent_dropout, factors (H,) of
    the h that is multiplied with recurrent_kernel, or (gates, H). The output is (T, H)
    with sequences, else (H,), or as wide as h and c with states. Gates are in Keras's
    order: i f c o; z r h. gru's bias is (2, 3 H) with reset_after. An alpha that is not
    given is 0, and a flag off.

    States go from one batch to the next: `keep_states` writes them after each batch of
    training, of a test and of a prediction, which has B samples each time.

    Random numbers of a step are words of the stream (seed, purpose 0x10000 + stream,
    step), see `kurve.core.rng`; an op with a seed takes that in the place of the
    model's. Element e of a batch takes word e (uniform; dropout: with `shared`
    positions to a word, channel c of `channels` in block b of a batch takes word b
    channels + c, the blocks being whole samples where channels is not given) or words
    e & ~1 and e | 1 (gaussian_noise and normal: Box & Muller in float64), picture b
    words 4 b and 4 b + 1 (affine_image: places and weights in float64). In prediction
    the batch is all of x. Of the input of `variable` and `random` only the number of
    samples matters. Formulas: `kurve.engines.reference`.

    attrs: each an `Attr` or a tuple of integers.
    inputs: numbers of the values that it reads: the plan's inputs are the first values,
        then come its targets, then the output of each op. Empty: the output of the op
        before.
    more_shapes: of the inputs behind the first, whose shape is in_shape.
    """

    kind: str
    layer: str
    in_shape: Shape
    out_shape: Shape
    params: Mapping[str, VariableSpec] = field(default_factory=dict)
    buffers: Mapping[str, VariableSpec] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
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
    """A metric and its number of float64 accumulators.

    rows: of the metric "rows", the value whose elements it averages; ops compute it
    of_batch: what a batch adds: "" all of its rows; else, where they are not weighted,
        one number, the "mean" or the "sum" of its rows
    """

    size: int = 2
    weighted: bool = False
    rows: int | None = None
    of_batch: str = ""


@dataclass(frozen=True)
class Head:
    """One output of a plan, and what is done with it in training.

    value: its number, see `Op.inputs`; an op of its own computes each head
    weight: of its loss in the sum of all
    rows: of the loss "rows", the value whose elements are the loss of each row; ops
        compute it, from any values. The loss of a batch is the sum of weight x element,
        divided by the number of elements; a weight is that of a sample.
    reduction: "mean": as above; "sum": not divided; "sum_if_weighted": the one without
        weights, the other with them; "mean_with_sample_weight": divided by the sum of
        the weights, where there are any (0 where they are 0)
    name: for messages
    """

    value: int
    shape: Shape
    loss: Spec | None = None
    metrics: tuple[MetricSpec, ...] = ()
    weight: float = 1.0
    rows: int | None = None
    reduction: str = "mean"
    name: str = ""

    def numbered(self, place: Callable[[int], int]) -> Head:
        """The same where each value has the number that `place` gives."""
        metrics = tuple(
            m if m.rows is None else replace(m, rows=place(m.rows))
            for m in self.metrics
        )
        rows = None if self.rows is None else place(self.rows)
        return replace(self, value=place(self.value), metrics=metrics, rows=rows)

    @property
    def read(self) -> set[int]:
        """The values that the prediction, the loss and the metrics are read from."""
        found = {self.value, self.loss_value}
        return found | {m.rows for m in self.metrics if m.rows is not None}

    @property
    def loss_value(self) -> int:
        """The value that the loss is computed from."""
        return self.value if self.rows is None else self.rows


@dataclass(frozen=True)
class Plan:
    """Everything that an engine needs to predict and, with a loss and an optimizer, to
    train: a graph of values. Each op reads values that were computed before it and
    computes one; a stack is the case where op i reads value i and computes value i + 1.

    inputs: shapes of the values that come from outside, of one sample
    targets: shapes of each head's y, where ops read them too; empty where only fused
        losses and metrics do
    penalty: number of a value that ops compute, whose mean over its elements is added
        to the loss; no weight of a sample counts there
    """

    inputs: tuple[Shape, ...]
    ops: tuple[Op, ...]
    params: tuple[VariableSpec, ...]
    buffers: tuple[VariableSpec, ...]
    heads: tuple[Head, ...]
    optimizer: Spec | None = None
    targets: tuple[Shape, ...] = ()
    penalty: int | None = None

    def __post_init__(self) -> None:
        if self.targets and len(self.targets) != len(self.heads):
            raise ValueError(
                "[plan] there must be a target for each head, or none. "
                f"Received: {len(self.targets)} for {len(self.heads)} heads."
            )
        last = self.given + len(self.ops)
        if self.penalty is not None and not self.given <= self.penalty < last:
            raise ValueError(
                "[plan] an op must compute the penalty. "
                f"Received: penalty={self.penalty}."
            )
        for head in self.heads:
            by_ops = head.loss is not None and head.loss.kind == "rows"
            if by_ops != (head.rows is not None):
                raise ValueError(
                    "[plan] the loss 'rows', and no other, must name the value of its "
                    f"rows. Received: loss={head.loss}, rows={head.rows}."
                )
            if head.rows is not None and not self.given <= head.rows < last:
                raise ValueError(
                    "[plan] an op must compute the rows of a loss. "
                    f"Received: rows={head.rows}."
                )

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
        return (self.given + index - 1 if index else 0,)

    @property
    def given(self) -> int:
        """Number of values that come from outside: the inputs and the targets."""
        return len(self.inputs) + len(self.targets)

    @property
    def is_stack(self) -> bool:
        """Whether each op reads the output of the one before, and nothing else."""
        return (
            self.given == len(self.heads) == 1
            and self.heads[0].value == self.heads[0].loss_value == len(self.ops)
            and all(self.reads(i) == (i,) for i in range(len(self.ops)))
        )

    @cached_property
    def rows(self) -> int | None:
        """The number of samples of each batch, where states go from one to the next;
        None where any number will do."""
        kept = (op for op in self.ops if op.kind == "keep_states")
        return next((s.shape[0] for op in kept for s in op.buffers.values()), None)

    def check_rows(self, rows: int) -> None:
        """Refuse a batch of another number of samples than the states have.

        Raises:
            ValueError: it has.
        """
        if self.rows not in (None, rows):
            raise ValueError(
                "[states] a batch must have as many rows as the states that go from "
                f"one batch to the next. Received: {rows} rows, and states of "
                f"{self.rows}. Try batch_size={self.rows}, and rows that it divides."
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
        by_ops = loss is not None and loss.kind == "rows"
        by_ops = by_ops or any(metric.rows is not None for metric in metrics)
        plan = self if by_ops or self.penalty is not None else self.predicting()
        (head,) = plan.heads
        head = replace(head, loss=loss, metrics=metrics)
        return replace(plan, heads=(head,), optimizer=optimizer)

    def predicting(self) -> Plan:
        """The plan that predicts: this one, or, where ops compute a loss, one of the
        ops that lead to the heads' values, without losses, metrics and optimizer.

        Raises:
            ValueError: a head's value depends on a target or on other samples.
        """
        mixes = any(OPERATIONS[op.kind].mixes_rows for op in self.ops)
        by_ops = self.penalty is not None or any(h.rows is not None for h in self.heads)
        if not (self.targets or mixes or by_ops):
            return self
        needed = {head.value for head in self.heads}
        for i in reversed(range(len(self.ops))):
            if self.given + i not in needed:
                continue
            needed.update(self.reads(i))
            if OPERATIONS[self.ops[i].kind].mixes_rows:
                raise ValueError(
                    "[plan] outputs must depend on their own sample only. "
                    f"Received: {self.ops[i].layer!r}, which {self.ops[i].kind!r} "
                    "makes depend on the whole batch. Try it in a loss."
                )
        if needed.intersection(range(len(self.inputs), self.given)):
            raise ValueError(
                "[plan] outputs must not depend on targets, which a prediction lacks. "
                "Received: an output that does. Try an input in place of the target."
            )
        place = {v: v for v in range(len(self.inputs))}
        ops: list[Op] = []
        for i in range(len(self.ops)):
            if self.given + i in needed:
                place[self.given + i] = len(self.inputs) + len(ops)
                reads = tuple(place[v] for v in self.reads(i))
                ops.append(replace(self.ops[i], inputs=reads))
        heads = tuple(Head(place[head.value], head.shape) for head in self.heads)
        return replace(
            self,
            ops=tuple(ops),
            heads=heads,
            optimizer=None,
            targets=(),
            penalty=None,
        )

    def with_penalty_as_head(self) -> Plan:
        """The same, with the penalty as the loss of a further head, which has neither
        targets nor weights: for engines that know heads only."""
        if self.penalty is None:
            return self
        ops, heads, penalty = self.ops, self.heads, self.penalty
        if self.targets:  # each head has one: values behind it move
            first = self.given
            ops = tuple(
                replace(op, inputs=tuple(v + (v >= first) for v in self.reads(i)))
                for i, op in enumerate(ops)
            )
            heads = tuple(head.numbered(lambda v: v + (v >= first)) for head in heads)
            penalty += 1
        shape = self.ops[self.penalty - self.given].out_shape
        head = Head(penalty, shape, Spec("rows"), rows=penalty)
        targets = (*self.targets, (1,)) if self.targets else ()
        return replace(
            self, ops=ops, heads=(*heads, head), targets=targets, penalty=None
        )

    def deterministic(self) -> Plan:
        """The same without randomness: ops that act only in training are left out, and
        batch normalization uses its moving averages."""
        ops: list[Op] = []
        place = list(range(self.given))  # of each value, in the new plan
        for i, op in enumerate(self.ops):
            reads = tuple(place[v] for v in self.reads(i))
            computed = reads[0] >= self.given
            is_head = len(place) == self.penalty or any(
                len(place) in head.read for head in self.heads
            )
            facts = OPERATIONS[op.kind]
            if facts.training_only and (computed or not is_head):
                place.append(reads[0])
                continue
            if facts.updates_buffers:
                op = replace(op, attrs={**op.attrs, "frozen": True})
            place.append(self.given + len(ops))
            ops.append(replace(op, inputs=reads))
        heads = tuple(head.numbered(place.__getitem__) for head in self.heads)
        penalty = None if self.penalty is None else place[self.penalty]
        return replace(self, ops=tuple(ops), heads=heads, penalty=penalty)

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
        return self.metrics_start + sum(metric.size for metric in self.metrics)

    @property
    def metrics_start(self) -> int:
        """Where the shares of metrics begin in that vector."""
        losses = len(self.heads) + (self.penalty is not None)
        return 2 + (losses if losses > 1 else 0)


def aligned(offset: int) -> int:
    """The next multiple of `ALIGNMENT` at or after `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def vector_size(slots: tuple[VariableSpec, ...]) -> int:
    """Length of a flat vector of these variables, with padding after the last."""
    return aligned(slots[-1].end) if slots else 0
