"""The protocol between models and engines: a plan goes in, a program comes out.

    engine.compile(plan) -> Program
    engine.train(jobs) -> errors           steps of one program, or of many side by side
    program.test(state, batches, totals)   loss and metrics, no update
    program.predict(state, x) -> y
    program.gradient(state, batches, step) -> (loss, gradient)
    program.jacobian(state, x) -> (y, jacobian)

An engine may keep anything inside a program (scratch memory, a copy of the weights on a
device), but the state of a model is in `State`, in NumPy arrays, and is correct
whenever a call has returned or raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kurve.errors import NonFiniteError
from kurve.plan import ALIGNMENT, Plan

NUMERICS = 2
"""Version of the numbers, increased with each change after which the same call gives
other bits."""


@dataclass(eq=False)
class State:
    """Everything that training changes. Engines update the arrays in place.

    params:  (P,)   trainable and frozen variables, flat; float32 (the reference engine
                    also takes float64)
    buffers: (S,)   variables that no gradient reaches, flat; same dtype. Training alone
                    writes some of them (the moving statistics of batch
                    normalization), each step at the point where its update is applied
    slots:   (K, P) the optimizer's vectors, in the order `kurve.optimizers` gives
    scalars: (J,)   the optimizer's running numbers, float64 (Nadam's product of
                    momenta)
    step:    number of updates done
    seed:    64-bit key of every random stream of this model
    """

    params: np.ndarray
    buffers: np.ndarray
    slots: np.ndarray
    scalars: np.ndarray
    step: int
    seed: int


def aligned_zeros(shape: tuple[int, ...]) -> np.ndarray:
    """float32 zeros whose memory starts at a multiple of 64 bytes."""
    size = int(np.prod(shape))
    raw = np.zeros(size + ALIGNMENT, np.float32)
    start = (-raw.ctypes.data // raw.itemsize) % ALIGNMENT
    return raw[start : start + size].reshape(shape)


@dataclass(eq=False)
class Batches:
    """Rows of data and the steps that divide them.

    x:       (n, *input_shape)   float32 or, of images, uint8, C order; an engine turns
                                 the bytes of a batch into float32 as it gathers them
    y:       (n, *target_shape)  float32, C order; class labels are float32 numbers too;
                                 None where a head has neither loss nor metrics
    weights: (n,) float32 or None: what each row's loss is multiplied with

             Of plans with several inputs or heads x, y and weights are tuples.

    order:   (m,) int64 or None: step s takes the rows order[bounds[s]:bounds[s + 1]];
             None stands for arange(n)
    bounds:  (steps + 1,) int64, increasing
    learning_rates: (steps,) float32, or None where nothing is updated
    """

    x: Any
    y: Any
    weights: Any
    order: np.ndarray | None
    bounds: np.ndarray
    learning_rates: np.ndarray | None = None

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """x of each input."""
        return self.x if isinstance(self.x, tuple) else (self.x,)

    @property
    def targets(self) -> tuple[tuple[np.ndarray | None, np.ndarray | None], ...]:
        """y and weights of each head."""
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
        """The batches of `count` steps from that step on, to test."""
        bounds = self.bounds[step : step + count + 1]
        return replace(self, bounds=bounds, learning_rates=None)

    def rows(self, step: int) -> np.ndarray | slice:
        """Index of the rows of a step."""
        first, last = int(self.bounds[step]), int(self.bounds[step + 1])
        return slice(first, last) if self.order is None else self.order[first:last]


class Program(Protocol):
    """A plan that is ready to run. `totals` is float64 (plan.totals_size,), added to in
    place: the sum of batch loss x rows, the rows, then each metric's accumulators."""

    plan: Plan

    def test(self, state: State, batches: Batches, totals: np.ndarray) -> None:
        """Add loss and metrics of every batch, in inference mode, to `totals`."""

    def predict(self, state: State, x: Any) -> Any:
        """Output for x (n, *input_shape), float32 or uint8, in inference mode:
        (n, *output_shape). Of several inputs x is a tuple, of several heads the result.

        The bits of a row do not depend on the other rows in x.
        """

    def gradient(
        self, state: State, batches: Batches, step: int
    ) -> tuple[float, np.ndarray]:
        """Loss of one step's batch, in training mode, and its gradient (P,), penalties
        included, before clipping. Changes nothing."""

    def jacobian(self, state: State, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Output for x (n, *input_shape), in inference mode, (n, *output_shape), and
        its derivatives (n * outputs, P): row i * outputs + o is the gradient of output
        o of sample i. Columns of frozen variables and of padding are zero."""


@dataclass(eq=False)
class Job:
    """Training steps to do: first..last-1 of the batches.

    state, totals: updated in place, step by step
    batches:       with learning rates
    """

    program: Program
    state: State
    batches: Batches
    first: int
    last: int
    totals: np.ndarray


@runtime_checkable
class Engine(Protocol):
    """A way to run plans. Given equal arguments, engines compute equal numbers, within
    the tolerance of `tests/engines/tolerances.py`."""

    name: str

    def compile(self, plan: Plan) -> Program:
        """The program of a plan.

        Raises:
            NotImplementedError: the plan holds an op, loss, metric or optimizer that
                this engine does not have; the message names it and an engine that does.
        """

    def train(self, jobs: Sequence[Job]) -> list[NonFiniteError | None]:
        """Do the steps of each job, side by side where the engine can: forward, loss,
        backward, clip, update.

        Adds each finished step to `state.step` and `totals`. Dropout of a step is keyed
        by `state.step`, so training that is interrupted anywhere resumes with the same
        bits. The programs are this engine's, the states and totals all different; the
        bits are those of one job after the other.

        Returns:
            For each job None, or the error that ended it: the loss, a gradient, the new
            value of a moving statistic or the update of a step is NaN or infinite
            (checked in this order, variables in that of the plan). Of that step nothing
            is applied, not even a statistic; all steps before it are.

        Raises:
            KeyboardInterrupt, MemoryError: each job after a whole number of steps.
        """


def run_job(engine: Engine, job: Job) -> None:
    """Do a single job.

    Raises:
        NonFiniteError: the error that ended it.
    """
    (error,) = engine.train([job])
    if error is not None:
        raise error
