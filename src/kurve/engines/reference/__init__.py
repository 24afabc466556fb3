"""The reference engine: pure NumPy, written to be read.

It is the definition of every formula; the fast engines are tested against it. It
computes in the dtype of `state.params`: float32 for comparisons, float64 to check
gradients against finite differences.

* `activations`: relu and the other nonlinear functions.
* `layers`: y = A x + b and the chain rule.
* `convolution`, `transposed`, `pooling`, `padding`, `images`: the same for images.
* `convolution3d`: convolution of volumes.
* `moving`, `reducing`: rearranging elements, and sums along axes.
* `scaling`: standardization by batch and by sample.
* `maps`, `joining`, `products`: formulas, concatenation, matrix products.
* `recurrence`: sequences, step by step.
* `loops`: the ops of a plan, and of a loop of any ops.
* `states`: states carried over to the next batch.
* `tables`, `batch`: variables as values; values of a whole batch, and random numbers.
* `python`: formulas that run eagerly.
* `losses`: the mean squared error and the others.
* `optimizers`: gradient descent, Adam and the others.
* `metrics`: values accumulated over an epoch.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from kurve.engines.base import Batches, Job, State
from kurve.engines.reference.common import Cache, view
from kurve.engines.reference.layers import (
    OPS,
    OPS_OF_SEVERAL,
    STATISTICS,
    statistics_after,
)
from kurve.engines.reference.loops import backward as backward
from kurve.engines.reference.loops import forward as forward
from kurve.engines.reference.losses import LOSSES
from kurve.engines.reference.metrics import KINDS, accumulate
from kurve.engines.reference.optimizers import OPTIMIZERS, apply_rule, clip, penalty
from kurve.errors import NonFiniteError
from kurve.ops.formula import Update
from kurve.plan import OptimizerSpec, Plan, Spec, VariableSpec

Target = tuple[np.ndarray | None, np.ndarray, bool]
"""Targets of a head: y (None if nothing reads it), sample weights, and whether weights
were passed rather than filled in with 1."""


class ReferenceProgram:
    """A plan run in NumPy. Overflows show in the results, not as warnings."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        predicting = plan.predicting()
        self._predictor = self if predicting is plan else ReferenceProgram(predicting)

    @np.errstate(all="ignore")
    def test(self, state: State, batches: Batches, totals: np.ndarray) -> None:
        for step in range(batches.steps):
            xs, targets = self._rows(state, batches, step)
            given = self._given(xs, targets)
            values, caches = self._forward(state, given, training=False)
            loss, losses, _ = self._loss(state, targets, values)
            self._count(loss, losses, targets, values, totals)
            self._keep_states(state, caches)

    @np.errstate(all="ignore")
    def predict(self, state: State, x: Any) -> Any:
        if self._predictor is not self:
            return self._predictor.predict(state, x)
        # Row by row: a matrix product of many rows can round a row differently than the
        # product of that row alone.
        dtype, xs = state.params.dtype, x if isinstance(x, tuple) else (x,)
        heads = self.plan.heads
        outs = [np.empty((len(xs[0]), *head.shape), dtype) for head in heads]
        self.plan.check_rows(len(xs[0]))
        if self.plan.is_python:  # it may mix samples
            values, _ = self._forward(state, [x.astype(dtype) for x in xs], False)
            outs = [values[head.value] for head in heads]
            return outs[0] if len(outs) == 1 else tuple(outs)
        drawn = self._drawn(state, len(xs[0]))
        for i in range(len(xs[0])):
            row = [x[i : i + 1].astype(dtype) for x in xs]
            values, caches = self._forward(state, row, False, _row(drawn, i))
            self._keep_states(state, caches, slice(i, i + 1))
            for out, head in zip(outs, heads, strict=True):
                out[i : i + 1] = values[head.value]
        return outs[0] if len(outs) == 1 else tuple(outs)

    @np.errstate(all="ignore")
    def gradient(
        self, state: State, batches: Batches, step: int
    ) -> tuple[float, np.ndarray]:
        totals = np.zeros(self.plan.totals_size)
        loss, gradient, _ = self._gradient(state, batches, step, totals)
        return loss, gradient

    @np.errstate(all="ignore")
    def jacobian(self, state: State, x: Any) -> tuple[np.ndarray, np.ndarray]:
        if self._predictor is not self:
            return self._predictor.jacobian(state, x)
        # The chain rule from one output of one sample to all variables, repeatedly:
        # the output gradient is 1 there and 0 at all other outputs.
        dtype = state.params.dtype
        xs = [a.astype(dtype) for a in (x if isinstance(x, tuple) else (x,))]
        (head,) = self.plan.heads
        y = np.empty((len(xs[0]), *head.shape), dtype)
        jacobian = np.empty((y.size, len(state.params)), state.params.dtype)
        self.plan.check_rows(len(y))
        rows, drawn = iter(jacobian), self._drawn(state, len(y))
        for i in range(len(y)):
            row = [a[i : i + 1] for a in xs]
            values, caches = self._forward(state, row, False, _row(drawn, i))
            y[i] = values[head.value][0]
            for slope in np.eye(y[i].size, dtype=dtype):
                dy = slope.reshape(1, *head.shape)
                next(rows)[:] = self._backward(state, {head.value: dy}, caches)
        return y, jacobian

    @np.errstate(all="ignore")
    def _train(self, job: Job) -> None:
        state, batches, totals = job.state, job.batches, job.totals
        assert batches.learning_rates is not None
        for step in range(job.first, job.last):
            learning_rate = float(batches.learning_rates[step])
            counted = totals.copy()
            loss, gradient, caches = self._gradient(state, batches, step, counted)
            statistics = statistics_after(self.plan, caches, state)
            self._refuse_non_finite(
                loss, counted, gradient, statistics, state.step, learning_rate
            )
            after = self._updated(state, gradient, learning_rate)
            for slot, value in statistics:
                view(after.buffers, slot)[...] = value.reshape(slot.shape)
            _commit(state, after, totals, counted)

    def _rows(
        self, state: State, batches: Batches, step: int
    ) -> tuple[list[np.ndarray], list[Target]]:
        """The inputs of the batch of one step, and y and weights of each head."""
        rows, dtype = batches.rows(step), state.params.dtype
        self.plan.check_rows(int(batches.bounds[step + 1] - batches.bounds[step]))
        xs = [x[rows].astype(dtype) for x in batches.inputs]
        targets: list[Target] = []
        for y, weights in batches.targets:
            w = np.ones(len(xs[0]), dtype) if weights is None else weights[rows]
            y = None if y is None else y[rows].astype(dtype)
            targets.append((y, w.astype(dtype), weights is not None))
        return xs, targets

    def _given(self, xs: list[np.ndarray], targets: list[Target]) -> list[np.ndarray]:
        """The plan's inputs and targets; NaN for a missing target."""
        n, given = len(xs[0]), list(xs)
        for shape, (y, *_) in zip(self.plan.targets, targets, strict=False):
            y = np.full((n, *shape), np.nan, xs[0].dtype) if y is None else y
            given.append(y.reshape(n, *shape))
        return given

    def _drawn(self, state: State, rows: int) -> dict[int, np.ndarray]:
        """The outputs of ops that read no values, for that many rows: random numbers,
        and states from the previous batch."""
        x = np.zeros(rows, state.params.dtype)
        return {
            i: OPS[op.kind][0](op, x, state, False)[0]
            for i, op in enumerate(self.plan.ops)
            if op.kind in ("random", "states")
        }

    def _keep_states(
        self, state: State, caches: list[Cache], rows: slice = slice(None)
    ) -> None:
        """Store the states for the next batch, for all rows or the given ones."""
        for op, cache in zip(self.plan.ops, caches, strict=True):
            if op.kind == "keep_states":
                for role, value in STATISTICS[op.kind](op, cache, state).items():
                    to = view(state.buffers, op.buffers[role])
                    to[rows] = value.reshape(-1, *to.shape[1:])

    def _forward(
        self,
        state: State,
        given: Sequence[np.ndarray],
        training: bool,
        drawn: Mapping[int, np.ndarray] | None = None,
    ) -> tuple[list[np.ndarray], list[Cache]]:
        """All values, and what each op saves for the backward pass. `drawn` is the
        output of random ops, if these rows are part of a larger batch."""
        return forward(self.plan, state, given, training, drawn)

    def _loss(
        self, state: State, targets: list[Target], values: list[np.ndarray]
    ) -> tuple[float, list[float], dict[int, np.ndarray]]:
        """Loss of a batch, with weights and penalties; the loss of each head; and the
        gradient of the total loss for the values that losses read."""
        loss, losses = 0.0, []
        gradients: dict[int, np.ndarray] = {}
        for head, target in zip(self.plan.heads, targets, strict=True):
            y, weights, _ = target
            if head.loss is None or (y is None and head.rows is None):
                losses.append(0.0)
                continue
            prediction = values[head.loss_value]
            if y is None or head.rows is not None:
                rows = prediction.ravel()
                rows_w = np.repeat(weights, len(rows) // len(weights))
                slope = np.ones((len(rows), 1), prediction.dtype)
            else:
                rows_y, rows_p, rows_w = _as_rows(y, prediction, weights)
                rows, slope = LOSSES[head.loss.kind](rows_y, rows_p, head.loss.attrs)
            divisor = _divisor(head.reduction, target, len(rows))
            losses.append(float(np.sum(rows_w * rows, dtype=np.float64) / divisor))
            loss += head.weight * losses[-1]
            slope = head.weight * slope * rows_w[:, None] / divisor
            dy = slope.astype(prediction.dtype).reshape(prediction.shape)
            gradients[head.loss_value] = gradients.get(head.loss_value, 0.0) + dy
        if self.plan.penalty is not None:
            value = values[self.plan.penalty]
            losses.append(float(np.mean(value, dtype=np.float64)))
            loss += losses[-1]
            dy = np.full_like(value, 1.0 / value.size)
            gradients[self.plan.penalty] = gradients.get(self.plan.penalty, 0.0) + dy
        for slot in (slot for slot in self.plan.params if slot.trainable):
            w = view(state.params, slot)
            if slot.l1:
                loss += slot.l1 * float(np.sum(np.abs(w), dtype=np.float64))
            if slot.l2:
                loss += slot.l2 * float(np.sum(np.square(w, dtype=np.float64)))
            if slot.penalty is not None:
                loss += float(penalty(slot.penalty, w)[1].item())
        return loss, losses, gradients

    def _gradient(
        self, state: State, batches: Batches, step: int, totals: np.ndarray
    ) -> tuple[float, np.ndarray, list[Cache]]:
        """Forward pass, loss and backward pass: the gradient of every variable, and
        what the ops saved."""
        xs, targets = self._rows(state, batches, step)
        values, caches = self._forward(state, self._given(xs, targets), training=True)
        loss, losses, gradients = self._loss(state, targets, values)
        self._count(loss, losses, targets, values, totals)
        gradient = self._backward(state, gradients, caches)
        for slot in (slot for slot in self.plan.params if slot.trainable):
            w, g = view(state.params, slot), view(gradient, slot)
            g += slot.l1 * np.sign(w) + 2.0 * slot.l2 * w
            if slot.penalty is not None:
                g += penalty(slot.penalty, w)[0].reshape(w.shape)
        return loss, gradient, caches

    def _backward(
        self, state: State, gradients: dict[int, np.ndarray], caches: list[Cache]
    ) -> np.ndarray:
        """From the gradients of the values that losses read to the gradient of every
        trainable variable (P,). Gradients add up if a value or variable is used more
        than once."""
        return backward(self.plan, state, gradients, caches)[0]

    def _updated(
        self, state: State, gradient: np.ndarray, learning_rate: float
    ) -> State:
        """The state after clipping, weight decay and the optimizer's step; frozen
        variables stay as they are."""
        optimizer = self.plan.optimizer
        assert optimizer is not None
        attrs = optimizer.attrs
        every, updates = 1, (Update(),) * len(self.plan.params)
        if isinstance(optimizer, OptimizerSpec):
            every, updates = optimizer.every, optimizer.updates
        trained = [
            (slot, slice(slot.offset, slot.end), update)
            for slot, update in zip(self.plan.params, updates, strict=True)
            if slot.trainable
        ]
        params, buffers, slots, scalars = (
            vector.copy()
            for vector in (state.params, state.buffers, state.slots, state.scalars)
        )
        due = (state.step + 1) % every == 0
        numbers = (learning_rate, state.step // every + 1)
        if every > 1:
            slots[-1] += gradient
            if due:
                gradient = slots[-1] / every
                slots[-1] = 0.0
        if due:
            clip([view(gradient, slot) for slot, _, _ in trained], attrs)
        for _, part, update in trained:
            w, g, own = params[part], gradient[part], slots[:, part]
            if due and update.rule is not None:
                apply_rule(update.rule, w, g, own, *numbers)
            elif due:
                if update.decays:
                    w -= w * float(attrs["weight_decay"]) * learning_rate
                # So that every variable sees the same step.
                scalars = state.scalars.copy()
                OPTIMIZERS[optimizer.kind](w, g, own, scalars, *numbers, attrs)
            if update.after is not None:
                apply_rule(update.after, w, g, own, *numbers)
        for vector in (params, *slots):
            self._refuse("update", vector, state.step, learning_rate)
        return State(params, buffers, slots, scalars, state.step + 1, state.seed)

    def _count(
        self,
        loss: float,
        losses: list[float],
        targets: list[Target],
        values: list[np.ndarray],
        totals: np.ndarray,
    ) -> None:
        """Add a batch to the totals of the losses and of every metric."""
        samples = len(values[0])
        totals[0] += loss * samples
        totals[1] += samples
        start = 2
        if len(losses) > 1:
            start += len(losses)
            totals[2:start] += np.multiply(losses, samples)
        for head, (y, weights, _) in zip(self.plan.heads, targets, strict=True):
            if not head.metrics or y is None:
                continue
            rows_y, rows_p, rows_w = _as_rows(y, values[head.value], weights)
            for metric in head.metrics:
                w = rows_w if metric.weighted else None
                part = totals[start : start + metric.size]
                start += metric.size
                if metric.rows is None and not metric.of_batch:
                    accumulate(metric.kind, metric.attrs, rows_y, rows_p, w, part)
                    continue
                own = np.zeros(2)
                if metric.rows is not None:
                    rows = values[metric.rows].ravel()
                    each = np.repeat(weights, len(rows) // len(weights))
                    each = each if metric.weighted else np.ones(len(rows))
                    own += np.dot(rows.astype(np.float64), each), np.sum(each)
                else:
                    accumulate(metric.kind, metric.attrs, rows_y, rows_p, w, own)
                if metric.of_batch and not metric.weighted:
                    own[0] /= 1.0 if metric.of_batch == "sum" else own[1]
                    own[1] = 1.0
                part += own

    def _refuse_non_finite(
        self,
        loss: float,
        counted: np.ndarray,
        gradient: np.ndarray,
        statistics: list[tuple[VariableSpec, np.ndarray]],
        step: int,
        learning_rate: float,
    ) -> None:
        if not np.isfinite(loss):
            raise NonFiniteError(self._name_of_loss(counted), step, learning_rate)
        self._refuse("gradient", gradient, step, learning_rate)
        for slot, value in statistics:
            if not np.isfinite(value).all():
                what = f"the new value of {slot.name}"
                raise NonFiniteError(what, step, learning_rate)

    def _name_of_loss(self, totals: np.ndarray) -> str:
        """Name the first output whose sum of losses is not finite."""
        heads = self.plan.heads
        for head, total in zip(heads, totals[2:], strict=False):
            if len(heads) > 1 and head.name and not np.isfinite(total):
                return f"the loss of {head.name}"
        return "the loss"

    def _refuse(
        self, what: str, vector: np.ndarray, step: int, learning_rate: float
    ) -> None:
        """Raise if the vector (P,) is not finite."""
        if np.isfinite(vector).all():
            return
        for slot in self.plan.params:
            if not np.isfinite(view(vector, slot)).all():
                raise NonFiniteError(f"the {what} of {slot.name}", step, learning_rate)


def _row(drawn: dict[int, np.ndarray], i: int) -> dict[int, np.ndarray]:
    return {op: values[i : i + 1] for op, values in drawn.items()}


def _commit(state: State, after: State, totals: np.ndarray, sums: np.ndarray) -> None:
    """Update `state` and `totals` after a step. A Ctrl-C that arrives between these
    lines takes effect after all of them."""
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            state.params[:], state.slots[:] = after.params, after.slots
            state.buffers[:] = after.buffers
            state.scalars[:], totals[:] = after.scalars, sums
            state.step = after.step
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _has_rules(optimizer: Spec) -> bool:
    """Whether formulas update the variables."""
    return isinstance(optimizer, OptimizerSpec) and any(
        update.rule is not None for update in optimizer.updates
    )


class ReferenceEngine:
    """Runs plans in NumPy; see the module docstring."""

    name = "reference"

    def compile(self, plan: Plan) -> ReferenceProgram:
        used: list[tuple[str, str, Container[str]]] = []
        ops = {**OPS, **OPS_OF_SEVERAL}
        used += [("layer", op.kind, ops) for op in plan.ops]
        fused = [h.loss for h in plan.heads if h.loss and h.rows is None]
        used += [("loss", loss.kind, LOSSES) for loss in fused]
        fused_metrics = [m for m in plan.metrics if m.rows is None]
        used += [("metric", metric.kind, KINDS) for metric in fused_metrics]
        if plan.optimizer is not None and not _has_rules(plan.optimizer):
            used.append(("optimizer", plan.optimizer.kind, OPTIMIZERS))
        for what, kind, known in used:
            if kind not in known:
                raise NotImplementedError(
                    f"[reference engine] the {what} {kind!r} is not implemented."
                )
        return ReferenceProgram(plan)

    def train(self, jobs: Sequence[Job]) -> list[NonFiniteError | None]:
        errors: list[NonFiniteError | None] = []
        for job in jobs:
            assert isinstance(job.program, ReferenceProgram)
            try:
                job.program._train(job)
                errors.append(None)
            except NonFiniteError as error:
                errors.append(error)
        return errors


def _divisor(reduction: str, target: Target, rows: int) -> float:
    """The divisor of a batch's weighted sum of rows, see `Head.reduction`."""
    _, weights, given = target
    if reduction == "sum" or (reduction == "sum_if_weighted" and given):
        return 1
    if reduction == "mean_with_sample_weight" and given:
        return float(np.sum(weights, dtype=np.float64)) or np.inf
    return rows


def _as_rows(
    y: np.ndarray, prediction: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flatten the axes between the batch and the outputs: y to (R, O) or class numbers
    (R, 1), prediction to (R, O), with the weight of its sample for each row (R,)."""
    outputs = prediction.shape[-1] if prediction.ndim > 1 else 1
    rows_p = prediction.reshape(-1, outputs)
    rows_w = np.repeat(weights, len(rows_p) // len(weights))
    return y.reshape(len(rows_p), -1), rows_p, rows_w
