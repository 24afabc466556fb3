"""The reference engine: pure NumPy, written to be read.

It is the definition of every formula; the fast engines are tested against it. It
computes in the dtype of `state.params`: float32 for comparisons, float64 to check
gradients against finite differences.

* `activations`: relu and the other nonlinear functions.
* `layers`: y = A x + b and the chain rule.
* `convolution`, `transposed`, `pooling`, `padding`, `images`: the same for images.
* `scaling`: standardization by batch and by sample.
* `losses`: the mean squared error and the others.
* `optimizers`: gradient descent, Adam and the others.
* `metrics`: what is accumulated during an epoch.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from kurve.engines.base import Batches, Job, State
from kurve.engines.reference.common import Cache, view
from kurve.engines.reference.layers import OPS, STATISTICS
from kurve.engines.reference.losses import LOSSES
from kurve.engines.reference.metrics import KINDS, accumulate
from kurve.engines.reference.optimizers import OPTIMIZERS, clip
from kurve.errors import NonFiniteError
from kurve.plan import Plan, VariableSpec


class ReferenceProgram:
    """A plan run in NumPy. An overflow shows in the results, not as a warning."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @np.errstate(all="ignore")
    def test(self, state: State, batches: Batches, totals: np.ndarray) -> None:
        for step in range(batches.steps):
            x, y, weights = self._rows(state, batches, step)
            prediction, _ = self._forward(state, x, training=False)
            loss, _ = self._loss(state, y, prediction, weights)
            self._count(len(x), loss, y, prediction, weights, totals)

    @np.errstate(all="ignore")
    def predict(self, state: State, x: np.ndarray) -> np.ndarray:
        # Row by row: a matrix product of many rows may round a row differently from a
        # product of one row.
        dtype = state.params.dtype
        out = np.empty((len(x), *self.plan.output_shape), dtype)
        for i in range(len(x)):
            row = x[i : i + 1].astype(dtype)
            out[i : i + 1], _ = self._forward(state, row, training=False)
        return out

    @np.errstate(all="ignore")
    def gradient(
        self, state: State, batches: Batches, step: int
    ) -> tuple[float, np.ndarray]:
        totals = np.zeros(self.plan.totals_size)
        loss, gradient, _ = self._gradient(state, batches, step, totals)
        return loss, gradient

    @np.errstate(all="ignore")
    def jacobian(self, state: State, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # One backward pass for each output of each sample: dy is 1 at that output and 0
        # at the others.
        x = x.astype(state.params.dtype, copy=False)
        y = np.empty((len(x), *self.plan.output_shape), state.params.dtype)
        jacobian = np.empty((y.size, len(state.params)), state.params.dtype)
        rows = iter(jacobian)
        for i in range(len(x)):
            y[i : i + 1], caches = self._forward(state, x[i : i + 1], training=False)
            for slope in np.eye(y[i].size, dtype=y.dtype):
                dy = slope.reshape(1, *y.shape[1:])
                next(rows)[:] = self._backward(state, dy, caches)
        return y, jacobian

    @np.errstate(all="ignore")
    def _train(self, job: Job) -> None:
        state, batches, totals = job.state, job.batches, job.totals
        assert batches.learning_rates is not None
        for step in range(job.first, job.last):
            learning_rate = float(batches.learning_rates[step])
            counted = totals.copy()
            loss, gradient, memories = self._gradient(state, batches, step, counted)
            statistics = self._statistics(state, memories)
            self._refuse_non_finite(
                loss, gradient, statistics, state.step, learning_rate
            )
            after = self._updated(state, gradient, learning_rate)
            for slot, value in statistics:
                view(after.buffers, slot)[...] = value
            _commit(state, after, totals, counted)

    def _rows(
        self, state: State, batches: Batches, step: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and the weights of one step's batch."""
        rows, dtype = batches.rows(step), state.params.dtype
        x, y = batches.x[rows].astype(dtype), batches.y[rows].astype(dtype)
        if batches.weights is None:
            return x, y, np.ones(len(x), dtype)
        return x, y, batches.weights[rows].astype(dtype)

    def _forward(
        self, state: State, x: np.ndarray, training: bool
    ) -> tuple[np.ndarray, list[Cache]]:
        """The prediction for x, and what each op saves for the backward pass."""
        caches = []
        for op in self.plan.ops:
            x, cache = OPS[op.kind][0](op, x, state, training)
            caches.append(cache)
        return x, caches

    def _loss(
        self, state: State, y: np.ndarray, prediction: np.ndarray, weights: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Loss of a batch, penalties included, and its derivative with respect to the
        prediction."""
        assert self.plan.loss is not None
        rows_y, rows_p, rows_w = _as_rows(y, prediction, weights)
        values, slope = LOSSES[self.plan.loss.kind](
            rows_y, rows_p, self.plan.loss.attrs
        )
        loss = float(np.sum(rows_w * values, dtype=np.float64) / len(values))
        for slot in (slot for slot in self.plan.params if slot.trainable):
            w = view(state.params, slot)
            if slot.l1:
                loss += slot.l1 * float(np.sum(np.abs(w), dtype=np.float64))
            if slot.l2:
                loss += slot.l2 * float(np.sum(np.square(w, dtype=np.float64)))
        slope = slope * rows_w[:, None] / len(values)
        return loss, slope.astype(prediction.dtype).reshape(prediction.shape)

    def _gradient(
        self, state: State, batches: Batches, step: int, totals: np.ndarray
    ) -> tuple[float, np.ndarray, list[Cache]]:
        """The loss of a step's batch, its gradient, and what the ops have saved:
        forward pass, loss, backward pass, penalties."""
        x, y, weights = self._rows(state, batches, step)
        prediction, caches = self._forward(state, x, training=True)
        loss, dy = self._loss(state, y, prediction, weights)
        self._count(len(x), loss, y, prediction, weights, totals)
        gradient = self._backward(state, dy, caches)
        for slot in (slot for slot in self.plan.params if slot.trainable):
            w, g = view(state.params, slot), view(gradient, slot)
            g += slot.l1 * np.sign(w) + 2.0 * slot.l2 * w
        return loss, gradient, caches

    def _backward(
        self, state: State, dy: np.ndarray, caches: list[Cache]
    ) -> np.ndarray:
        """The backward pass: from dL/d(prediction) to the gradient (P,) of all
        trainable variables."""
        gradient = np.zeros_like(state.params)
        for op, cache in zip(reversed(self.plan.ops), reversed(caches), strict=True):
            dy, parts = OPS[op.kind][1](op, dy, cache, state)
            for role, part in parts.items():
                if op.params[role].trainable:
                    view(gradient, op.params[role])[...] = part
        return gradient

    def _statistics(
        self, state: State, caches: list[Cache]
    ) -> list[tuple[VariableSpec, np.ndarray]]:
        """The buffers that a step writes, with their new values."""
        return [
            (op.buffers[role], value)
            for op, cache in zip(self.plan.ops, caches, strict=True)
            if op.kind in STATISTICS
            for role, value in STATISTICS[op.kind](op, cache, state).items()
        ]

    def _updated(
        self, state: State, gradient: np.ndarray, learning_rate: float
    ) -> State:
        """The state after clipping, weight decay and the optimizer's step; frozen
        variables stay as they are."""
        assert self.plan.optimizer is not None
        attrs = self.plan.optimizer.attrs
        trainable = [slot for slot in self.plan.params if slot.trainable]
        clip([view(gradient, slot) for slot in trainable], attrs)
        params, buffers, slots, scalars = (
            vector.copy()
            for vector in (state.params, state.buffers, state.slots, state.scalars)
        )
        for slot in trainable:
            part = slice(slot.offset, slot.end)
            w = params[part]
            w -= w * float(attrs["weight_decay"]) * learning_rate
            scalars = state.scalars.copy()  # every variable sees the same step
            OPTIMIZERS[self.plan.optimizer.kind](
                w,
                gradient[part],
                slots[:, part],
                scalars,
                learning_rate,
                state.step + 1,
                attrs,
            )
        for vector in (params, *slots):
            self._refuse("update", vector, state.step, learning_rate)
        return State(params, buffers, slots, scalars, state.step + 1, state.seed)

    def _count(
        self,
        samples: int,
        loss: float,
        y: np.ndarray,
        prediction: np.ndarray,
        weights: np.ndarray,
        totals: np.ndarray,
    ) -> None:
        """Add a batch to the totals of the loss and of every metric."""
        totals[0] += loss * samples
        totals[1] += samples
        rows_y, rows_p, rows_w = _as_rows(y, prediction, weights)
        start = 2
        for metric in self.plan.metrics:
            w = rows_w if metric.weighted else np.ones_like(rows_w)
            part = totals[start : start + metric.size]
            accumulate(metric.kind, metric.attrs, rows_y, rows_p, w, part)
            start += metric.size

    def _refuse_non_finite(
        self,
        loss: float,
        gradient: np.ndarray,
        statistics: list[tuple[VariableSpec, np.ndarray]],
        step: int,
        learning_rate: float,
    ) -> None:
        if not np.isfinite(loss):
            raise NonFiniteError("the loss", step, learning_rate)
        self._refuse("gradient", gradient, step, learning_rate)
        for slot, value in statistics:
            if not np.isfinite(value).all():
                what = f"the new value of {slot.name}"
                raise NonFiniteError(what, step, learning_rate)

    def _refuse(
        self, what: str, vector: np.ndarray, step: int, learning_rate: float
    ) -> None:
        """Raise where the vector (P,) is not finite."""
        if np.isfinite(vector).all():
            return
        for slot in self.plan.params:
            if not np.isfinite(view(vector, slot)).all():
                raise NonFiniteError(f"the {what} of {slot.name}", step, learning_rate)


def _commit(state: State, after: State, totals: np.ndarray, sums: np.ndarray) -> None:
    """Update `state` and `totals` after a step. A Ctrl-C that comes between two of
    these lines takes effect after all of them."""
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


class ReferenceEngine:
    """Runs plans in NumPy; see the module."""

    name = "reference"

    def compile(self, plan: Plan) -> ReferenceProgram:
        used: list[tuple[str, str, Container[str]]] = []
        used += [("layer", op.kind, OPS) for op in plan.ops]
        used += [("loss", loss.kind, LOSSES) for loss in [plan.loss] if loss]
        used += [("metric", metric.kind, KINDS) for metric in plan.metrics]
        used += [("optimizer", o.kind, OPTIMIZERS) for o in [plan.optimizer] if o]
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


def _as_rows(
    y: np.ndarray, prediction: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flatten the axes between the batch and the outputs: y (R, O) or (R, 1) class
    numbers, prediction (R, O), and each row the weight of its sample (R,)."""
    rows_p = prediction.reshape(-1, prediction.shape[-1])
    rows_w = np.repeat(weights, len(rows_p) // len(weights))
    return y.reshape(len(rows_p), -1), rows_p, rows_w
