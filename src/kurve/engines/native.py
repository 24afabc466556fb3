"""The native engine: plans run by the compiled core, `kurve._core`.

Python lowers a plan once; each call then passes the arrays of a `State` and of
`Batches`, and returns after whole steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve import _core
from kurve.engines import lowering
from kurve.engines.base import NUMERICS as NUMERICS
from kurve.engines.base import Batches, Job, State, divides_rows
from kurve.errors import NonFiniteError
from kurve.plan import Plan

FLOAT32 = np.dtype(np.float32)


class NativeProgram:
    """A plan lowered to the compiled core. Safe to call from several threads."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._output_shape = plan.output_shape
        self._core = lowering.program(plan.with_penalty_as_head(), _core)
        predicting = plan.predicting()
        self._predictor = (
            self._core if predicting is plan else lowering.program(predicting, _core)
        )
        self._draws = any(op.kind == "random" for op in predicting.ops)

    def test(self, state: State, batches: Batches, totals: np.ndarray) -> None:
        self._core.test(
            _state(state), state.step, state.seed, _batches(batches, self.plan), totals
        )

    def predict(self, state: State, x: Any) -> Any:
        if self._draws or isinstance(x, tuple) or len(self.plan.heads) > 1:
            xs = x if isinstance(x, tuple) else (x,)
            ys = [np.empty((len(xs[0]), *h.shape), FLOAT32) for h in self.plan.heads]
            params, draws = _floats(state.params), (state.step, state.seed)
            self._predictor.predict(params, state.buffers, list(xs), ys, *draws)
            return ys[0] if len(ys) == 1 else tuple(ys)
        y = np.empty((len(x), *self._output_shape), FLOAT32)
        self._predictor.predict_one(_floats(state.params), state.buffers, x, y)
        return y

    def gradient(
        self, state: State, batches: Batches, step: int
    ) -> tuple[float, np.ndarray]:
        gradient = np.empty(self.plan.params_size, np.float32)
        loss = self._core.gradient(
            _state(state),
            state.step,
            state.seed,
            _batches(batches, self.plan),
            step,
            gradient,
        )
        return loss, gradient

    def update_by(
        self, state: State, gradients: Sequence[np.ndarray | None], rate: float
    ) -> NonFiniteError | None:
        what = self._core.update_by(state, _state(state), state.step, gradients, rate)
        return NonFiniteError(what, state.step, rate) if what else None

    def jacobian(self, state: State, x: Any) -> tuple[np.ndarray, np.ndarray]:
        xs = x if isinstance(x, tuple) else (x,)
        y = np.empty((len(xs[0]), *self.plan.output_shape), np.float32)
        jacobian = np.empty((y.size, self.plan.params_size), np.float32)
        draws = state.step, state.seed
        self._predictor.jacobian(_state(state), list(xs), y, jacobian, *draws)
        return y, jacobian


class NativeEngine:
    """Compiled kernels for this CPU, float32, on `_core.get_threads()` threads."""

    name = "native"

    def compile(self, plan: Plan) -> NativeProgram:
        return NativeProgram(plan)

    def train(self, jobs: Sequence[Job]) -> list[NonFiniteError | None]:
        starts = [job.state.step for job in jobs]
        # The core sets state.step itself, so that no signal can intervene.
        group = jobs[0].processes if len(jobs) == 1 else None
        if group is not None and divides_rows(jobs[0].program.plan):
            share = group.rank, group.count, group.add, group.add_gradient
            non_finite = [_core.train_shared(_job(jobs[0]), *share)]
        else:
            non_finite = _core.train([_job(job) for job in jobs])
        errors: list[NonFiniteError | None] = []
        for job, start, what in zip(jobs, starts, non_finite, strict=True):
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
        _batches(job.batches, job.program.plan),
        job.first,
        job.last,
        job.totals,
    )


def _floats(params: np.ndarray) -> np.ndarray:
    """State.params; raises TypeError if they are not float32."""
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


def _batches(b: Batches, plan: Plan) -> _core.Batches:
    targets = list(b.targets)
    if plan.penalty is not None:
        targets.append((None, None))
    return _core.Batches(
        list(b.inputs),
        [y for y, _ in targets],
        [weights for _, weights in targets],
        b.order,
        b.bounds,
        b.learning_rates,
    )
