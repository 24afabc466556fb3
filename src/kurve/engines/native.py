"""The native engine: plans run by the compiled core, `kurve._core`.

A plan is lowered once; each call then passes the arrays of a `State` and of `Batches`,
and returns after a whole number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kurve import _core
from kurve.engines.base import NUMERICS as NUMERICS
from kurve.engines.base import Batches, Job, State
from kurve.errors import NonFiniteError
from kurve.plan import Op, Plan, Spec, VariableSpec

FLOAT32 = np.dtype(np.float32)


class NativeProgram:
    """A plan lowered to the compiled core. Safe to call from several threads."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._output_shape = plan.output_shape
        self._core = _core.Program(
            list(plan.input_shape),
            list(plan.output_shape),
            [_op(op, plan) for op in plan.ops],
            [_slot(slot) for slot in plan.params],
            [_slot(slot) for slot in plan.buffers],
            None
            if plan.loss is None
            else _core.Spec(plan.loss.kind, _attrs(plan.loss)),
            [
                _core.Metric(metric.kind, _attrs(metric), metric.size, metric.weighted)
                for metric in plan.metrics
            ],
            None
            if plan.optimizer is None
            else _core.Spec(plan.optimizer.kind, _attrs(plan.optimizer)),
        )

    def train(
        self,
        state: State,
        batches: Batches,
        first: int,
        last: int,
        totals: np.ndarray,
    ) -> None:
        (error,) = _train([Job(self, state, batches, first, last, totals)])
        if error is not None:
            raise error

    def test(self, state: State, batches: Batches, totals: np.ndarray) -> None:
        self._core.test(
            _state(state), state.step, state.seed, _batches(batches), totals
        )

    def predict(self, state: State, x: np.ndarray) -> np.ndarray:
        y = np.empty((len(x), *self._output_shape), FLOAT32)
        self._core.predict(_floats(state.params), state.buffers, x, y)
        return y

    def gradient(
        self, state: State, batches: Batches, step: int
    ) -> tuple[float, np.ndarray]:
        gradient = np.empty(self.plan.params_size, np.float32)
        loss = self._core.gradient(
            _state(state), state.step, state.seed, _batches(batches), step, gradient
        )
        return loss, gradient

    def jacobian(self, state: State, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = np.empty((len(x), *self.plan.output_shape), np.float32)
        jacobian = np.empty((y.size, self.plan.params_size), np.float32)
        self._core.jacobian(_state(state), x, y, jacobian)
        return y, jacobian


class NativeEngine:
    """Compiled kernels for this CPU, float32, on `_core.get_threads()` threads."""

    name = "native"

    def compile(self, plan: Plan) -> NativeProgram:
        return NativeProgram(plan)

    def train(self, jobs: Sequence[Job]) -> list[NonFiniteError | None]:
        return _train(jobs)


def _train(jobs: Sequence[Job]) -> list[NonFiniteError | None]:
    starts = [job.state.step for job in jobs]
    # The core sets state.step itself: no signal can come between the two.
    found = _core.train([_job(job) for job in jobs])
    errors: list[NonFiniteError | None] = []
    for job, start, what in zip(jobs, starts, found, strict=True):
        if not what:
            errors.append(None)
            continue
        assert job.batches.learning_rates is not None
        rate = float(job.batches.learning_rates[job.first + job.state.step - start])
        errors.append(NonFiniteError(what, job.state.step, rate))
    return errors


def _job(job: Job) -> _core.Job:
    assert isinstance(job.program, NativeProgram)
    state = job.state
    return _core.Job(
        job.program._core,
        state,
        _state(state),
        state.step,
        state.seed,
        _batches(job.batches),
        job.first,
        job.last,
        job.totals,
    )


def _attrs(spec: Spec | Op) -> dict[str, float | str]:
    return {
        name: value if isinstance(value, str) else float(value)
        for name, value in spec.attrs.items()
    }


def _slot(slot: VariableSpec) -> _core.VariableSpec:
    return _core.VariableSpec(
        slot.name, list(slot.shape), slot.offset, slot.trainable, slot.l1, slot.l2
    )


def _op(op: Op, plan: Plan) -> _core.Op:
    return _core.Op(
        op.kind,
        op.layer,
        list(op.in_shape),
        list(op.out_shape),
        {role: plan.params.index(slot) for role, slot in op.params.items()},
        {role: plan.buffers.index(slot) for role, slot in op.buffers.items()},
        _attrs(op),
    )


def _floats(params: np.ndarray) -> np.ndarray:
    """State.params, refused where this engine cannot take them."""
    if params.dtype != FLOAT32:
        raise TypeError(
            "[native] the native engine computes in float32. "
            f"Received: state.params of dtype {params.dtype}. "
            "Try the reference engine, which also takes float64."
        )
    return params


def _state(state: State) -> _core.State:
    params = _floats(state.params)
    return _core.State(params, state.buffers, state.slots, state.scalars)


def _batches(b: Batches) -> _core.Batches:
    return _core.Batches(b.x, b.y, b.weights, b.order, b.bounds, b.learning_rates)
