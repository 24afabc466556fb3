"""The plan: the typed, shape-checked description of a model that an engine executes.

A plan is plain data. It lists the operations in order with their shapes, states where
each variable lies in the two flat vectors, and names the loss, the metrics and the
optimizer with their parameters. Engines read only plans; they know no layer classes.

Two flat vectors hold the variables of a model, each variable as a view:

* ``params``: variables with gradients (kernels, biases). Optimizer slots (Adam's m and
  v) are vectors of the same length.
* ``buffers``: variables without gradients (the mean and variance of `Normalization`,
  and the moving statistics of `BatchNormalization`, which training updates).

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
    """A variable: its position in a flat vector, and what the update needs.

    penalty: formula from the value to the penalty's gradient and the penalty (1,)
    constraint: formula from the updated value to the constrained value
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
    map            any / any                  (a tape: elementwise over its inputs, then
                                              the params, then the buffers)
    dropout                                   rate, stream (index of the random
                                              stream), seed?, shared?, channels?,
                                              alpha?
    gaussian_noise                            stddev, stream, seed?, multiply?
    normalization  mean (C,), variance (C,)   invert, epsilon
    scale          / scale (C,)?, offset      scale, offset  (numbers, for each one that
    is
                   (C,)?                      not a buffer)
    conv           kernel (h, w, I / groups,  activation, alpha, kernel_*, stride_*,
                   O), bias (O,)?             dilation_*, pad_*, groups
    conv_transpose kernel (h, w, O, I),       activation, alpha, kernel_*, stride_*,
                   bias (O,)?                 dilation_*, pad_*
    conv3d         kernel (d, h, w, I /       activation, alpha, kernel_*, stride_*,
                   groups, O), bias (O,)?     dilation_*, pad_*, groups
    pool                                      mode, pool_*, stride_*, pad_*
    global_pool                               mode  (per channel)
    reshape                                   (row-major)
    pad                                       pad_*
    upsample                                  size_*, interpolation
    batch_         gamma (C,)?, beta (C,)?;   momentum, epsilon, frozen
    normalization  moving_mean (C,),
                   moving_variance (C,)
    masked_batch_  as batch_normalization     (two inputs: the statistics use only the
    normalization                             rows where the second, a mask, is not 0)
    layer_         gamma, beta (the shape     epsilon, size (trailing elements
    normalization  standardized together)?    standardized together)
    reduce                                    mode, axis, count (of axes from there
                                              on, which out_shape may keep as 1)
    cumsum                                    axis, reverse (sum from each element on)
    permute                                   axes (input axes in output order)
    slice, place                              starts, sizes, steps
    affine_image                              what, its ranges, fill_mode, fill_value,
                                              interpolation, stream, seed?
    matmul                                    transpose_a, transpose_b  (two inputs
                                              (..., M, K) and (..., K, N))
    lstm           kernel (F, 4 H),           activation, recurrent_activation, alpha?,
                   recurrent_kernel (H, 4 H), recurrent_alpha?, reverse?, sequences?,
                   bias (4 H,)?               states?, masked?, initial?,
                                              recurrent_dropout?
    gru            kernel (F, 3 H),           as lstm, without states, plus reset_after
                   recurrent_kernel (H, 3 H),
                   bias (2, 3 H)? or (3 H,)?
    simple_rnn     kernel (F, H),             as lstm, without states and
                   recurrent_kernel (H, H),   recurrent_activation
                   bias (H,)?
    states         / state (B, ...)           (row b belongs to sample b of a batch)
    keep_states    / state_0 (B, ...), ...    (outputs its first input; the others
                                              become the states)
    scan           any / any                  turns, moving, carried, reverse,
                                              sequences, states  (a loop, see `Body`)
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
    python         any / any                  code (what computes it, in Python; of the
                                              reference engine only)

    A plane is a sample (H, W, C), or (L, C) treated as height 1. `_*` stands for _h and
    _w, and in pad_* for _top, _bottom, _left and _right: zeros around a plane. For a
    volume (D, H, W, C) also for _d, _front and _back.
    A depthwise kernel (h, w, I, M) shares the memory layout of (h, w, 1, I M), groups =
    I. mode is "max" (padding never wins, and the gradient goes to the first
    maximum in row-major order) or "average" (padding does not count). The pad_* of
    conv_transpose are cropped from its full output, (H - 1) stride + (kernel - 1)
    dilation + 1; negative values at the bottom and right add zeros instead.

    reduce's mode is "sum", "mean", "prod", "logsumexp", "max", "min" (the gradient goes
    to the first) or "argmax" (the index of the first; no gradient). Element i of an
    axis of a slice is x[start + i step], 0 <= i < size; `place` is its adjoint:
    it scatters elements into zeros. Steps can be negative, axes of size 1 omitted.

    Recurrent ops read x (T, F) and the inputs their attrs enable: with masked, mask
    (T,), 0 or 1; with initial, h (H,) and, lstm, c (H,); with recurrent_dropout,
    factors (H,) of the h multiplied by recurrent_kernel, or (gates, H). The output is
    (T, H) with sequences, else (H,), or the width of h and c with states. Gates are in
    Keras's
    order: i f c o; z r h. gru's bias is (2, 3 H) with reset_after. Alpha defaults to 0
    and flags default to off.

    A scan runs its body `turns` times. Of its inputs the first `moving` have an axis of
    turns in front, of which turn t reads element t, or with reverse the t-th from the
    end; the next `carried` are states, which each turn reads as the one before has left
    them; the others are the same in all turns. The output is that of the last turn;
    with sequences those of all turns, in their order; with states a vector, the last
    states behind it. In turn t, `step` counts t 2^32 more for random numbers.

    States go from one batch to the next: `keep_states` writes them after each batch of
    training, of a test and of a prediction, which has B samples each time.

    The random numbers of a step are words of the stream (seed, purpose 0x10000 +
    stream, step), see `kurve.core.rng`; an op with its own seed uses it instead of the
    model's. Element e of a batch takes word e (uniform; dropout: with `shared`
    positions per word, channel c of `channels` in block b of a batch takes word b
    channels + c, blocks are whole samples if channels is not given) or words
    e & ~1 and e | 1 (gaussian_noise and normal: Box & Muller in float64), image b
    words 4 b and 4 b + 1 (affine_image: positions and weights in float64). In
    prediction the batch is all of x. For `variable` and `random`, only the input's
    number of samples matters. Formulas: `kurve.engines.reference`.

    attrs: each an `Attr` or a tuple of integers.
    body: of a scan.
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
    body: Body | None = None

    def with_variables(
        self,
        params: Callable[[VariableSpec], VariableSpec],
        buffers: Callable[[VariableSpec], VariableSpec] = lambda spec: spec,
    ) -> Op:
        """The same with the variables that these functions give for its own."""
        body = self.body and self.body.mapped(
            lambda op: op.with_variables(params, buffers)
        )
        return replace(
            self,
            params={role: params(spec) for role, spec in self.params.items()},
            buffers={role: buffers(spec) for role, spec in self.buffers.items()},
            body=body,
        )

    def predicting(self) -> Op:
        """The same as it acts in prediction, in training too."""
        facts = OPERATIONS[self.kind]
        if facts.training_only:
            return replace(self, kind="reshape", attrs={})
        if facts.updates_buffers:
            return replace(self, attrs={**self.attrs, "frozen": True})
        if self.body is not None:
            return replace(self, body=self.body.mapped(Op.predicting))
        return self

    @property
    def acts_in_training(self) -> bool:
        """Whether it is another one in training than in prediction."""
        facts = OPERATIONS[self.kind]
        inner = () if self.body is None else self.body.ops
        return (
            facts.training_only
            or facts.updates_buffers
            or any(op.acts_in_training for op in inner)
        )

    @property
    def in_shapes(self) -> tuple[Shape, ...]:
        """Shapes of all inputs."""
        return (self.in_shape, *self.more_shapes)


@dataclass(frozen=True)
class Body:
    """What a loop does in each turn: a graph of values as a plan's, with variables of
    the plan that the loop is in.

    inputs:  shapes of what a turn reads: elements of sequences, states, and what is the
             same in all turns
    outputs: numbers of the values that are the turn's output and the new states; ops
             compute them
    """

    inputs: tuple[Shape, ...]
    ops: tuple[Op, ...]
    outputs: tuple[int, ...]

    @cached_property
    def plan(self) -> Plan:
        """The plan of a turn, without variables."""
        return Plan(self.inputs, self.ops, (), (), ())

    def mapped(self, change: Callable[[Op], Op]) -> Body:
        """The same with other ops in the places of its own."""
        return replace(self, ops=tuple(map(change, self.ops)))


@dataclass(frozen=True)
class Spec:
    """A loss, metric or optimizer as engines see it: kind and parameters."""

    kind: str
    attrs: Mapping[str, Attr] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerSpec(Spec):
    """An optimizer that does more than the formula of its kind.

    updates: one for each of the plan's params
    slots:   total number of slot vectors
    every: gradients are accumulated in the last slot for that many steps, then their
             mean is applied
    """

    updates: tuple[Update, ...] = ()
    slots: int = 0
    every: int = 1


@dataclass(frozen=True)
class MetricSpec(Spec):
    """A metric and the number of its float64 accumulators.

    rows: for the metric "rows": the value, computed by ops, that it averages
    of_batch: what a batch adds: "" for all of its rows; otherwise, without weights, one
        number: the "mean" or the "sum" of its rows
    """

    size: int = 2
    weighted: bool = False
    rows: int | None = None
    of_batch: str = ""


@dataclass(frozen=True)
class Head:
    """One output of a plan, and how it is trained.

    value: its index, see `Op.inputs`; each head has its own op
    weight: weight of its loss in the total loss
    rows: for the loss "rows": the value, computed by ops, whose elements are the loss
        of each row. The loss of a batch is the sum of weight x element, divided by the
        number of elements; weights are per sample.
    reduction: "mean": as above; "sum": not divided; "sum_if_weighted": mean without
        weights, sum with them; "mean_with_sample_weight": divided by the sum of the
        weights, if there are any (0 if they sum to 0)
    name: used in messages
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
        """A copy with values renumbered by `place`."""
        metrics = tuple(
            m if m.rows is None else replace(m, rows=place(m.rows))
            for m in self.metrics
        )
        rows = None if self.rows is None else place(self.rows)
        return replace(self, value=place(self.value), metrics=metrics, rows=rows)

    @property
    def read(self) -> set[int]:
        """The values that the prediction, loss and metrics read."""
        found = {self.value, self.loss_value}
        return found | {m.rows for m in self.metrics if m.rows is not None}

    @property
    def loss_value(self) -> int:
        """The value that the loss reads."""
        return self.value if self.rows is None else self.rows


@dataclass(frozen=True)
class Plan:
    """Everything an engine needs to predict and, with a loss and an optimizer, to
    train: a graph of values. Each op reads values computed before it and computes one;
    in a stack, op i reads value i and computes value i + 1.

    inputs: shapes of the input values, for one sample
    targets: shapes of each head's y if ops read them too; empty if only fused losses
        and metrics do
    penalty: index of a value, computed by ops, whose mean over its elements is added to
        the loss; sample weights do not apply to it
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
                "[plan] there must be one target per head, or none. "
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
                    "[plan] only the loss 'rows' must name the value of its "
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
        """A plan whose ops form a chain."""
        head = Head(len(ops), output_shape, loss, metrics)
        return cls((input_shape,), ops, params, buffers, (head,), optimizer)

    def reads(self, index: int) -> tuple[int, ...]:
        """The values that op `index` reads."""
        if self.ops[index].inputs:
            return self.ops[index].inputs
        return (self.given + index - 1 if index else 0,)

    @property
    def given(self) -> int:
        """Number of values that are not computed by ops: inputs and targets."""
        return len(self.inputs) + len(self.targets)

    @property
    def is_stack(self) -> bool:
        """Whether each op reads only the output of the previous one."""
        return (
            self.given == len(self.heads) == 1
            and self.heads[0].value == self.heads[0].loss_value == len(self.ops)
            and all(self.reads(i) == (i,) for i in range(len(self.ops)))
        )

    @cached_property
    def is_python(self) -> bool:
        """Whether code of Python computes a part of it, in which samples may depend on
        the others of their batch."""
        return any(op.kind == "python" for op in self.ops)

    @cached_property
    def rows(self) -> int | None:
        """The number of samples per batch if states carry over between batches; None if
        any number will do."""
        kept = (op for op in self.ops if op.kind == "keep_states")
        return next((s.shape[0] for op in kept for s in op.buffers.values()), None)

    def check_rows(self, rows: int) -> None:
        """Refuse a batch whose number of samples differs from that of the states.

        Raises:
            ValueError: the numbers differ.
        """
        if self.rows not in (None, rows):
            raise ValueError(
                "[states] a batch must have as many rows as the states carried over "
                f"from the previous batch. Received: {rows} rows, and states of "
                f"{self.rows}. Try batch_size={self.rows}, and whole batches."
            )

    @property
    def input_shape(self) -> Shape:
        """Shape of the first input."""
        return self.inputs[0]

    @property
    def output_shape(self) -> Shape:
        """Shape of the first output."""
        return self.heads[0].shape

    @property
    def loss(self) -> Spec | None:
        """Loss of the first output."""
        return self.heads[0].loss

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Metrics of all outputs, in order."""
        return tuple(metric for head in self.heads for metric in head.metrics)

    def trained_with(
        self,
        loss: Spec | None,
        metrics: tuple[MetricSpec, ...] = (),
        optimizer: Spec | None = None,
    ) -> Plan:
        """This single-output plan with another loss, metrics and optimizer."""
        by_ops = loss is not None and loss.kind == "rows"
        by_ops = by_ops or any(metric.rows is not None for metric in metrics)
        plan = self if by_ops or self.penalty is not None else self.predicting()
        (head,) = plan.heads
        head = replace(head, loss=loss, metrics=metrics)
        return replace(plan, heads=(head,), optimizer=optimizer)

    def predicting(self) -> Plan:
        """The plan for prediction: this one or, if ops compute a loss, only the ops
        that the heads' values need, without losses, metrics and optimizer.

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
                    "[plan] outputs must depend only on their own sample. "
                    f"Received: {self.ops[i].layer!r}, which {self.ops[i].kind!r} "
                    "makes depend on the whole batch. Try using it in a loss."
                )
        if needed.intersection(range(len(self.inputs), self.given)):
            raise ValueError(
                "[plan] outputs must not depend on targets, which predict does not "
                "have. Received: an output that does. Try an input instead."
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
        """A copy with the penalty as the loss of an additional head without targets and
        weights, for engines that only know heads."""
        if self.penalty is None:
            return self
        ops, heads, penalty = self.ops, self.heads, self.penalty
        if self.targets:  # each head has one, so later values are renumbered
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
        """A copy without randomness: ops that only act in training are removed, and
        batch normalization uses its moving averages."""
        ops: list[Op] = []
        place = list(range(self.given))  # index of each value in the new plan
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
            if facts.updates_buffers or op.body is not None:
                op = op.predicting()
            place.append(self.given + len(ops))
            ops.append(replace(op, inputs=reads))
        heads = tuple(head.numbered(place.__getitem__) for head in self.heads)
        penalty = None if self.penalty is None else place[self.penalty]
        return replace(self, ops=tuple(ops), heads=heads, penalty=penalty)

    def part(self, first: int, last: int) -> Plan:
        """A plan of operations first..last-1 alone, for prediction with the same
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
        """Length of the accumulator vector: loss (2), the loss of each head if there
        are several (1 each), then the accumulators of each metric."""
        return self.metrics_start + sum(metric.size for metric in self.metrics)

    @property
    def metrics_start(self) -> int:
        """Where the accumulators of metrics start in that vector."""
        losses = len(self.heads) + (self.penalty is not None)
        return 2 + (losses if losses > 1 else 0)


def aligned(offset: int) -> int:
    """The next multiple of `ALIGNMENT` at or after `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def vector_size(slots: tuple[VariableSpec, ...]) -> int:
    """Length of a flat vector of these variables, including final padding."""
    return aligned(slots[-1].end) if slots else 0
