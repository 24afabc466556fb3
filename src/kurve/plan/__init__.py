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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from kurve.plan.kinds import OPERATIONS
from kurve.plan.operations import ALIGNMENT as ALIGNMENT
from kurve.plan.operations import Attr as Attr
from kurve.plan.operations import Body as Body
from kurve.plan.operations import Op as Op
from kurve.plan.operations import Shape as Shape
from kurve.plan.operations import VariableSpec as VariableSpec
from kurve.plan.operations import aligned as aligned
from kurve.plan.operations import vector_size as vector_size

if TYPE_CHECKING:
    from kurve.ops.formula import Update


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
        """Whether Python code computes a part of it; samples may then depend on others
        of their batch."""
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
