"""A plan run in PyTorch: forward pass, loss, backward pass, and the calls that use
them."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kurve.engines.base import Batches, Job, State
from kurve.engines.torch.common import (
    Cache,
    Frame,
    Pair,
    Statistics,
    Tensor,
    tensor_of,
)
from kurve.engines.torch.data import Data, Given, Target
from kurve.engines.torch.elementwise import MAP
from kurve.engines.torch.images import IMAGES
from kurve.engines.torch.layers import LAYERS, kept
from kurve.engines.torch.loops import LOSSES_OF_SEQUENCES, loops
from kurve.engines.torch.losses import LOSSES
from kurve.engines.torch.members import RowsFrame, pairs_of_members
from kurve.engines.torch.metrics import accumulate, add_rows
from kurve.engines.torch.penalties import add_slopes, penalties
from kurve.engines.torch.recurrence import RECURRENCE
from kurve.engines.torch.scaling import SCALING, batch_statistics
from kurve.engines.torch.threads import work
from kurve.errors import NonFiniteError
from kurve.plan import Head, MetricSpec, Op, Plan, VariableSpec

if TYPE_CHECKING:
    from kurve.engines.torch import TorchEngine
    from kurve.engines.torch.together import MembersProgram
    from kurve.engines.torch.training import Run

BLOCK = 1 << 22
"""Numbers of a jacobian that are computed at a time."""

OPS: dict[str, Pair] = {"map": MAP, **LAYERS, **IMAGES, **SCALING, **RECURRENCE}
OPS |= {**LOSSES_OF_SEQUENCES, **loops(OPS)}

STATISTICS: dict[str, Statistics] = {
    "batch_normalization": batch_statistics,
    "masked_batch_normalization": batch_statistics,
    "keep_states": kept,
}
"""The new values of the buffers that a training step writes, by kind of op."""


class TorchProgram:
    """A plan run in PyTorch on a device.

    members:   the axis of several members, where it runs them together
    variables: those that may have penalties
    """

    members: tuple[int, ...] = ()

    def __init__(self, plan: Plan, engine: TorchEngine) -> None:
        self.plan, self.engine, self.variables = plan, engine, plan.params
        predicting = plan.predicting()
        same = predicting is plan
        self._predictor = self if same else TorchProgram(predicting, engine)
        self._pairs = [OPS[op.kind] for op in plan.ops]
        self._reads = [plan.reads(i) for i in range(len(plan.ops))]
        self._writes = [i for i, op in enumerate(plan.ops) if op.kind in STATISTICS]
        self._wanted: list[bool] = []
        learned: set[int] = set()  # values that depend on something trainable
        for i, op in enumerate(plan.ops):
            self._wanted.append(not learned.isdisjoint(self._reads[i]))
            if self._wanted[-1] or any(v.trainable for v in op.params.values()):
                learned.add(plan.given + i)
        self._work = work(plan)
        self._together: MembersProgram | None = None
        self._nameless: Plan | None = None
        self._by_row: TorchProgram | None = None
        self._idle: list[Run] = []
        self._lock = threading.Lock()

    def test(self, state: State, batches: Batches, totals: np.ndarray) -> None:
        with self.engine._running(self._work * _largest(batches)):
            f = self._frame(state, training=False)
            data = Data(self.plan, batches, f.device, f.dtype)
            sums = self._upload(totals, f.wide)
            for step, size in enumerate(data.counts):
                self.plan.check_rows(int(size))
                given = data.batch(step, int(size))
                values, caches = self._forward(f, given)
                losses, _ = self._loss(f, given[1], values)
                loss = self._sum(losses, f)
                self._count_losses(loss, losses, int(size), sums)
                self._count_metrics(given[1], values, self._metrics(sums, losses))
                self._keep_states(f, caches, slice(None))
            self._save_states(f, state)
            totals[:] = sums.cpu().numpy()

    def predict(self, state: State, x: Any) -> Any:
        if self._predictor is not self:
            return self._predictor.predict(state, x)
        xs, heads = x if isinstance(x, tuple) else (x,), self.plan.heads
        rows, block = len(xs[0]), self.engine.block
        self.plan.check_rows(rows)
        with self.engine._running(self._work * block):
            f = self._frame(state, training=False)
            shapes = [(rows, *head.shape) for head in heads]
            outs = [torch.empty(s, dtype=f.dtype, device=f.device) for s in shapes]
            drawn = self._drawn(f, rows)
            for start in range(0, rows, block):
                stop = min(start + block, rows)
                part = [
                    _filled(self._upload(x[start:stop], f.dtype), block) for x in xs
                ]
                fixed = {i: _filled(y[start:stop], block) for i, y in drawn.items()}
                values, caches = self._forward(f, (part, []), fixed)
                self._keep_states(f, caches, slice(start, stop))
                for out, head in zip(outs, heads, strict=True):
                    out[start:stop] = values[head.value][: stop - start]
            found = tuple(out.cpu().numpy() for out in outs)
            self._save_states(f, state)
        return found[0] if len(found) == 1 else found

    def gradient(
        self, state: State, batches: Batches, step: int
    ) -> tuple[float, np.ndarray]:
        with self.engine._running(self._work * _largest(batches)):
            gradient = self._zeros(state)
            f = self._frame(state, training=True, gradient=gradient)
            data = Data(self.plan, batches, f.device, f.dtype)
            size = int(data.counts[step])
            self.plan.check_rows(size)
            given = data.batch(step, size)
            values, caches = self._forward(f, given)
            losses, slopes = self._loss(f, given[1], values)
            self._backward(f, slopes, caches)
            add_slopes(self.variables, f)
            return float(self._sum(losses, f)), gradient.cpu().numpy()

    def jacobian(self, state: State, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._predictor is not self:
            return self._predictor.jacobian(state, x)
        xs, (head,) = x if isinstance(x, tuple) else (x,), self.plan.heads
        rows = len(xs[0])
        self.plan.check_rows(rows)
        with self.engine._running(self._work * rows):
            f = self._frame(state, training=False)
            inputs = [self._upload(x, f.dtype) for x in xs]
            outputs, columns = math.prod(head.shape), len(state.params)
            jacobian = np.zeros((rows, outputs, columns), state.params.dtype)
            drawn = self._drawn(f, rows)
            block = max(1, BLOCK // max(outputs * columns, 1))
            for start in range(0, rows, block):
                part = slice(start, start + block)
                own = {op: values[part] for op, values in drawn.items()}
                to = tensor_of(jacobian[part])
                found = to if f.device.type == "cpu" else to.to(f.device)
                self._slopes(f, [a[part] for a in inputs], own, head, found)
                if found is not to:
                    to.copy_(found)
        return self.predict(state, x), jacobian.reshape(rows * outputs, columns)

    def _slopes(
        self,
        f: Frame,
        xs: list[Tensor],
        drawn: Mapping[int, Tensor],
        head: Head,
        to: Tensor,
    ) -> None:
        """Write the derivatives of some rows' outputs to zeros (rows, outputs, P): with
        each row as a member of its own, whose variables are those of all, one pass
        computes an output of all rows."""
        rows, outputs = to.shape[:2]
        if self._by_row is None:
            self._by_row = TorchProgram(self.plan, self.engine)
            self._by_row._pairs = pairs_of_members(self.plan, OPS)
        slopes = torch.eye(outputs, dtype=f.dtype, device=f.device)
        frame = RowsFrame(self.plan, f, rows)
        _, caches = self._by_row._forward(frame, (xs, []), drawn)
        for k in range(outputs):
            dy = slopes[k].expand(rows, outputs).reshape(rows, *head.shape)
            frame.write_to(to[:, k])
            self._by_row._backward(frame, {head.value: dy}, caches)

    def _train(self, job: Job) -> NonFiniteError | None:
        """Do the steps of a job, see `Engine.train`."""
        from kurve.engines.torch.device import DeviceRun
        from kurve.engines.torch.host import HostRun
        from kurve.engines.torch.training import without_subnormals

        rows = _largest(job.batches) * math.prod(self.members)
        with self.engine._running(self._work * rows), without_subnormals():
            with self._lock:
                fitting = [run for run in self._idle if run.fits(job)]
                if fitting:
                    self._idle.remove(fitting[0])
            on_host = self.engine.torch_device.type != "cuda"
            made = HostRun if on_host else DeviceRun
            run: Run = fitting[0] if fitting else made(self, job)
            error = run.train(job)
            with self._lock:
                self._idle[:] = [run]
            return error

    def _forward(
        self, f: Frame, given: Given, drawn: Mapping[int, Tensor] | None = None
    ) -> tuple[list[Tensor], list[Cache]]:
        """All values, and what each op saves for the backward pass. `drawn` is the
        output of random ops, if these rows are part of a larger batch."""
        xs, targets = given
        values, caches = list(xs), []
        for shape, (y, _) in zip(self.plan.targets, targets, strict=False):
            n = len(xs[0])
            if y is None:
                y = torch.full((n, *shape), np.nan, dtype=f.dtype, device=f.device)
            values.append(y.reshape(n, *shape))
        for i, op in enumerate(self.plan.ops):
            read = [values[v] for v in self._reads[i]]
            if drawn and i in drawn:
                y, cache = drawn[i], read[0].shape
            else:
                y, cache = self._pairs[i][0](op, read, f)
            values.append(y)
            caches.append(cache)
        return values, caches

    def _backward(
        self,
        f: Frame,
        gradients: Mapping[int, Tensor],
        caches: Sequence[Cache],
    ) -> None:
        """The chain rule, from some values to every trainable variable; the frame holds
        the gradients afterwards."""
        plan, slopes = self.plan, dict(gradients)
        for i in reversed(range(len(plan.ops))):
            dy = slopes.pop(plan.given + i, None)
            if dy is None:
                continue  # nothing depends on it
            f.wanted = self._wanted[i]
            dxs = self._pairs[i][1](plan.ops[i], dy, caches[i], f)
            if not f.wanted:
                continue
            for value, dx in zip(self._reads[i], dxs, strict=True):
                if dx is not None:
                    slopes[value] = slopes[value] + dx if value in slopes else dx
        f.finish()

    def _loss(
        self, f: Frame, targets: Sequence[Target], values: Sequence[Tensor]
    ) -> tuple[list[Tensor], dict[int, Tensor]]:
        """The loss of each head, followed by the plan's penalty (for a share, the
        contribution of its rows), and the gradient of their weighted sum with respect
        to the values that losses read."""
        losses: list[Tensor] = []
        slopes: dict[int, Tensor] = {}

        def add(value: int, slope: Tensor) -> None:
            slopes[value] = slopes[value] + slope if value in slopes else slope

        for head, (y, weights) in zip(self.plan.heads, targets, strict=True):
            if head.loss is None or (y is None and head.rows is None):
                none = torch.zeros(f.members, dtype=f.wide, device=f.device)
                losses.append(none)
                continue
            prediction = values[head.loss_value]
            if y is None or head.rows is not None:
                rows = prediction.reshape(-1)
                slope = torch.ones_like(rows)[:, None]
            else:
                rows_y, rows_p = as_rows(y, prediction)
                rows, slope = LOSSES[head.loss.kind](rows_y, rows_p, head.loss.attrs)
            divisor: Any = f.all_rows(len(rows))
            weighted = weights is not None
            if head.reduction == "sum" or (
                head.reduction == "sum_if_weighted" and weighted
            ):
                divisor = 1
            elif head.reduction == "mean_with_sample_weight" and weights is not None:
                whole = f.add_shares(f.sum(weights))
                divisor = torch.where(whole == 0, torch.inf, whole)
            rows = rows.to(f.wide)
            if weights is None:
                slope = slope * (head.weight / divisor)
            else:
                each = repeated(weights, len(rows))
                rows = rows * each
                slope = head.weight * slope * each[:, None] / f.each(divisor, len(rows))
            losses.append(f.sum(rows) / divisor)
            add(head.loss_value, slope.to(f.dtype).reshape(prediction.shape))
        if self.plan.penalty is not None:
            value = values[self.plan.penalty]
            count = f.all_rows(value.numel())
            losses.append(f.sum(value) / count)
            add(self.plan.penalty, torch.full_like(value, 1.0 / count))
        return losses, slopes

    def _sum(self, losses: Sequence[Tensor], f: Frame) -> Tensor:
        """The loss of a batch, with penalties."""
        weights = [head.weight for head in self.plan.heads]
        weights += [1.0] * (len(losses) - len(weights))
        parts = [
            loss if weight == 1 else weight * loss
            for weight, loss in zip(weights, losses, strict=True)
        ]
        parts += penalties(self.variables, f)
        whole = parts[0] if parts else torch.zeros((), dtype=f.wide, device=f.device)
        for part in parts[1:]:
            whole = whole + part
        return whole

    def _count_losses(
        self, loss: Tensor, losses: Sequence[Tensor], samples: int, totals: Tensor
    ) -> None:
        """Add a batch to the totals of the losses."""
        totals[..., 0].add_(loss, alpha=samples)
        totals[..., 1].add_(samples)
        if len(losses) > 1:
            each = totals[..., 2 : 2 + len(losses)]
            each.add_(torch.stack(list(losses), -1), alpha=samples)

    def _metrics(self, totals: Tensor, losses: Sequence[Tensor]) -> Tensor:
        """The part of the totals behind those of the losses."""
        return totals[..., 2 + (len(losses) if len(losses) > 1 else 0) :]

    def _count_metrics(
        self, targets: Sequence[Target], values: Sequence[Tensor], totals: Tensor
    ) -> None:
        """Add a batch, or a share of it, to the totals of the metrics."""
        start = 0
        for head, (y, weights) in zip(self.plan.heads, targets, strict=True):
            if not head.metrics or y is None:
                continue
            rows_y, rows_p = as_rows(y, values[head.value])
            for metric in head.metrics:
                part = totals[..., start : start + metric.size]
                start += metric.size
                rows = None if metric.rows is None else values[metric.rows].reshape(-1)
                w = None
                if metric.weighted and weights is not None:
                    w = repeated(weights, len(rows_p if rows is None else rows))
                elif (
                    rows is None and metric.weighted and "ignore_class" in metric.attrs
                ):
                    w = torch.ones_like(rows_p[:, 0])
                self._count_metric(metric, rows_y, rows_p, rows, w, part)

    def _count_metric(
        self,
        metric: MetricSpec,
        y: Tensor,
        p: Tensor,
        rows: Tensor | None,
        weights: Tensor | None,
        totals: Tensor,
    ) -> None:
        """Add the rows of a batch, or the metric's own rows, to its totals."""
        own = torch.zeros_like(totals) if metric.of_batch else totals
        if rows is None:
            accumulate(metric.kind, metric.attrs, y, p, weights, own)
        else:
            add_rows(rows.to(own.dtype), weights, own)
        if metric.of_batch:
            if not metric.weighted:
                divisor = 1.0 if metric.of_batch == "sum" else own[1]
                own = torch.stack([own[0] / divisor, torch.ones_like(own[1])])
            totals.add_(own)

    def _statistics(
        self, f: Frame, caches: Sequence[Cache]
    ) -> list[tuple[VariableSpec, Tensor]]:
        """The buffers that a step writes, with their new values. Operations of a shared
        layer update its moving averages in turn."""
        found: dict[VariableSpec, Tensor] = {}
        for i in self._writes:
            op = self.plan.ops[i]
            before = {r: found.get(v, f.buffer(op, r)) for r, v in op.buffers.items()}
            new = self._new_statistics(op, caches[i], before)
            found |= {op.buffers[role]: value for role, value in new.items()}
        return list(found.items())

    def _new_statistics(
        self, op: Op, cache: Cache, before: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return STATISTICS[op.kind](op, cache, before)

    def _data(self, batches: Batches, dtype: torch.dtype) -> Data:
        return Data(self.plan, batches, self.engine.torch_device, dtype)

    def _training_frame(
        self,
        seed: int,
        params: Tensor,
        buffers: Tensor,
        step: Tensor,
        gradient: Tensor,
    ) -> Frame:
        """The frame of steps that train variables in this memory."""
        return Frame(self.plan, params, buffers, seed, step, True, gradient)

    def _frame(
        self, state: State, training: bool, gradient: Tensor | None = None
    ) -> Frame:
        frame = Frame(
            self.plan,
            self._upload(state.params),
            self._upload(state.buffers),
            state.seed,
            state.step,
            training,
            gradient,
        )
        frame.factors = self.engine.factors
        return frame

    def _upload(self, array: np.ndarray, dtype: torch.dtype | None = None) -> Tensor:
        solid = tensor_of(np.ascontiguousarray(array))
        return solid.to(self.engine.torch_device, dtype)

    def _zeros(self, state: State) -> Tensor:
        return torch.zeros_like(self._upload(state.params))

    def _drawn(self, f: Frame, rows: int) -> dict[int, Tensor]:
        """The outputs of ops that read no values, for that many rows: random numbers,
        and states from the previous batch."""
        x = torch.zeros(rows, dtype=f.dtype, device=f.device)
        return {
            i: self._pairs[i][0](op, [x], f)[0]
            for i, op in enumerate(self.plan.ops)
            if op.kind in ("random", "states")
        }

    def _keep_states(self, f: Frame, caches: Sequence[Cache], rows: slice) -> None:
        """Store the states of these rows for the next batch."""
        for i in self._writes:
            op = self.plan.ops[i]
            if op.kind == "keep_states":
                for role, value in kept(op, caches[i], {}).items():
                    to = f.buffer(op, role)[rows]
                    to.copy_(value[: len(to)].view_as(to))

    def _save_states(self, f: Frame, state: State) -> None:
        """The states on the device become the model's."""
        if f.device.type != "cpu" and self.plan.rows is not None:
            for i in self._writes:
                op = self.plan.ops[i]
                for role in op.buffers if op.kind == "keep_states" else ():
                    v = op.buffers[role]
                    value = f.buffer(op, role).cpu().numpy()
                    state.buffers[v.offset : v.end] = value.reshape(-1)


def _largest(batches: Batches) -> int:
    """The rows of the largest step."""
    return int(np.diff(batches.bounds).max(initial=0))


def as_rows(y: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten the axes between the batch and the outputs: y (R, T), prediction
    (R, O)."""
    outputs = prediction.shape[-1] if prediction.ndim > 1 else 1
    rows = prediction.reshape(-1, outputs)
    return y.reshape(len(rows), -1), rows


def repeated(weights: Tensor, rows: int) -> Tensor:
    """Each row the weight of its sample."""
    times = rows // len(weights)
    if times == 1:
        return weights
    return weights[:, None].expand(-1, times).reshape(-1)


def _filled(x: Tensor, rows: int) -> Tensor:
    """x followed by zeros: a product of another size may round rows differently."""
    if len(x) == rows:
        return x
    return torch.cat([x, x.new_zeros((rows - len(x), *x.shape[1:]))])
