"""The protocol between models and engines: a plan goes in, a program comes out.

    engine.compile(plan) -> Program
    engine.train(jobs) -> errors           steps of one program, or of many side by side
    program.test(state, batches, totals)   loss and metrics, no update
    program.predict(state, x) -> y
    program.gradient(state, batches, step) -> (loss, gradient)
    program.jacobian(state, x) -> (y, jacobian)

An engine may keep anything inside a program (scratch memory, device copies of the
weights), but the state of a model is held in `State`, in NumPy arrays, and is valid
whenever a call has returned or raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kurve.errors import NonFiniteError
from kurve.plan import ALIGNMENT, Plan
from kurve.plan.kinds import OPERATIONS

NUMERICS = 3
"""Version of the numerical results, increased with every change after which the same
call produces different bits."""


@dataclass(eq=False)
class State:
    """Everything that training changes. Engines update the arrays in place.

    params:  (P,)   trainable and frozen variables, flat; float32 (the reference engine
                    also takes float64)
    buffers: (S,)   variables without gradients, flat; same dtype. Only training
                    writes some of them (the moving statistics of batch
                    normalization), each step at the point where its update is applied
    slots:   (K, P) the optimizer's vectors, in the order of `kurve.optimizers`
    scalars: (J,)   the optimizer's running scalars, float64 (Nadam's product of
                    momenta)
    step:    number of updates applied
    seed:    64-bit key of every random stream of this model
    """

    params: np.ndarray
    buffers: np.ndarray
    slots: np.ndarray
    scalars: np.ndarray
    step: int
    seed: int


def aligned_zeros(shape: tuple[int, ...]) -> np.ndarray:
    """float32 zeros aligned to 64 bytes."""
    size = int(np.prod(shape))
    raw = np.zeros(size + ALIGNMENT, np.float32)
    start = (-raw.ctypes.data // raw.itemsize) % ALIGNMENT
    return raw[start : start + size].reshape(shape)


def aligned_copy(vector: np.ndarray) -> np.ndarray:
    """A copy of a float32 vector, aligned like that of `aligned_zeros`."""
    raw = np.empty(vector.size + ALIGNMENT, np.float32)
    start = (-raw.ctypes.data // raw.itemsize) % ALIGNMENT
    copy = raw[start : start + vector.size]
    copy[:] = vector
    return copy


@dataclass(eq=False)
class Batches:
    """Rows of data, divided into steps.

    x:       (n, *input_shape)   float32 or, for images, uint8, C order; engines convert
                                 a batch of bytes to float32 while gathering it
    y:       (n, *target_shape)  float32, C order; class labels are float32 numbers too;
                                 None where a head has neither loss nor metrics
    weights: (n,) float32 or None: weight of each row's loss

             For plans with several inputs or heads, x, y and weights are tuples.

    order:   (m,) int64 or None: step s uses rows order[bounds[s]:bounds[s + 1]];
             None means arange(n)
    bounds:  (steps + 1,) int64, increasing
    learning_rates: (steps,) float32, or None if nothing is updated
    """

    x: Any
    y: Any
    weights: Any
    order: np.ndarray | None
    bounds: np.ndarray
    learning_rates: np.ndarray | None = None

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """x for each input."""
        return self.x if isinstance(self.x, tuple) else (self.x,)

    @property
    def targets(self) -> tuple[tuple[np.ndarray | None, np.ndarray | None], ...]:
        """y and weights for each head."""
        if not isinstance(self.y, tuple):
            return ((self.y, self.weights),)
        y = self.y
        several = isinstance(self.weights, tuple)
        weights = self.weights if several else (self.weights,) * len(y)
        return tuple(zip(y, weights, strict=True))

    @property
    def steps(self) -> int:
        return len(self.bounds) - 1

    def only(self, step: int, count: int = 1) -> Batches:
        """The batches of `count` steps from `step` on, for testing."""
        bounds = self.bounds[step : step + count + 1]
        return replace(self, bounds=bounds, learning_rates=None)

    def rows(self, step: int) -> np.ndarray | slice:
        """Index of the rows in a step."""
        first, last = int(self.bounds[step]), int(self.bounds[step + 1])
        return slice(first, last) if self.order is None else self.order[first:last]


class Program(Protocol):
    """A compiled plan. `totals` is float64 (plan.totals_size,) and accumulated in
    place: the sum of batch loss x rows, the number of rows, then each metric's
        accumulators."""

    plan: Plan

    def test(self, state: State, batches: Batches, totals: np.ndarray) -> None:
        """Add loss and metrics of every batch, in inference mode, to `totals`."""

    def predict(self, state: State, x: Any) -> Any:
        """Output for x (n, *input_shape), float32 or uint8, in inference mode:
        (n, *output_shape). With several inputs, x is a tuple; with several heads, the
        result is.

        The bits of a row do not depend on the other rows of x.
        """

    def gradient(
        self, state: State, batches: Batches, step: int
    ) -> tuple[float, np.ndarray]:
        """Loss of the batch of one step, in training mode, and its gradient (P,),
        penalties included, before clipping. Has no side effects."""

    def jacobian(self, state: State, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Output for x (n, *input_shape), in inference mode, (n, *output_shape), and
        its derivatives (n * outputs, P): row i * outputs + o is the gradient of output
        o of sample i. Columns of frozen variables and of padding are zero."""


class UpdatingProgram(Program, Protocol):
    """A program that can also update the variables by given gradients; those of other
    engines get them as inputs of a plan, see `kurve.optimizers.applier`."""

    def update_by(
        self, state: State, gradients: Sequence[np.ndarray | None], rate: float
    ) -> NonFiniteError | None:
        """One update by these gradients of the trainable variables, in the order of
        `plan.params`, instead of those of a batch; see `Engine.train`.

        Args:
            gradients: C order, float32.
            rate: the learning rate.
        """


@dataclass(eq=False)
class Job:
    """Training steps to run: first..last-1 of the batches.

    state, totals: updated in place, step by step
    processes:     the processes that train together, see `kurve.core.processes`; an
                   engine may let each compute with a share of the rows
    batches:       the data, with learning rates
    """

    program: Program
    state: State
    batches: Batches
    first: int
    last: int
    totals: np.ndarray
    processes: Any = None


@runtime_checkable
class Engine(Protocol):
    """Compiles and runs plans. With equal arguments, engines compute equal results
    within the tolerance of `tests/engines/tolerances.py`."""

    name: str

    def compile(self, plan: Plan) -> Program:
        """Compile a plan to a program.

        Raises:
            NotImplementedError: the plan has an op, loss, metric or optimizer that
                this engine lacks; the message names it and an engine that has it.
        """

    def train(self, jobs: Sequence[Job]) -> list[NonFiniteError | None]:
        """Run the steps of each job, in parallel if the engine can: forward, loss,
        backward, clip, update.

        Adds each finished step to `state.step` and `totals`. Dropout is keyed by
        `state.step`, so interrupted training resumes with the same bits. All programs
        belong to this engine, and all states and totals are distinct; the bits are
        those of running one job after the other. The torch engine runs jobs of equal
        plans and steps as one, whose products may round otherwise.

        Returns:
            None or, for a job that failed, the error: the loss, a gradient, the new
            value of a moving statistic or the update of a step is NaN or infinite
            (checked in this order, variables in plan order). Nothing of that step is
            applied, not even statistics; all steps before it are.

        Raises:
            KeyboardInterrupt, MemoryError: each job has done a whole number of steps.
        """


def run_job(engine: Engine, job: Job) -> None:
    """Run a single job.

    Raises:
        NonFiniteError: training became non-finite.
    """
    (error,) = engine.train([job])
    if error is not None:
        raise error


def divides_rows(plan: Plan) -> bool:
    """Whether processes can divide the rows of a step among them."""
    return (
        plan.rows is None
        and not any(OPERATIONS[op.kind].mixes_rows for op in plan.ops)
        and not any(metric.of_batch for metric in plan.metrics)
    )
