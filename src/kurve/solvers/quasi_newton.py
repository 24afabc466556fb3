"""`lbfgs`: full-batch training of any model, by a quasi-Newton method.

A Newton step needs the matrix of second derivatives. Limited memory BFGS builds the
product of its inverse with a gradient from the last few steps s and changes of the
gradient y, in 4 x memory x P operations (Nocedal & Wright 2006, algorithms 7.4, 7.5).
Each step's length satisfies the strong Wolfe conditions (there, 3.5 and 3.6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kurve.core.arguments import check_count
from kurve.core.entries import entry
from kurve.core.locks import exclusive
from kurve.solvers.base import FitMonitor, IterationCallback, SolverResult, prepare
from kurve.solvers.least_squares import ROUNDING, StopReason

if TYPE_CHECKING:
    from kurve.models import Sequential

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]

SUFFICIENT_DECREASE, FLATTENING = 1e-4, 0.9
"""The constants c1 and c2 of the Wolfe conditions."""

MAX_TRIALS = 40


class Point(NamedTuple):
    """A point with the value and the gradient of the function there."""

    x: np.ndarray
    value: float
    gradient: np.ndarray


@entry
@exclusive("lbfgs")
def lbfgs(
    model: Sequential,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    max_iterations: int = 1000,
    memory: int = 20,
    tolerance: float = 1e-8,
    validation_data: Sequence[Any] | None = None,
    patience: int | None = None,
    callback: IterationCallback | None = None,
    verbose: int = 0,
) -> SolverResult:
    """Train a model by L-BFGS, with all rows at once and no learning rate to choose.

    For small and medium data. A step costs about as much as an Adam step with all
    rows, and far fewer are needed where the loss is smooth (tanh, sin, silu; not relu).

    Args:
        model: built or not; compiled with any loss, or not compiled, which means the
            mean squared error. Regularizers apply; dropout is off.
        x, y, sample_weight: as in `Sequential.fit`.
        max_iterations: maximum number of steps.
        memory: number of steps from which the inverse Hessian is built.
        tolerance: converged if no element of the gradient is larger than this
            fraction of the largest at the start.
        validation_data: (x, y) or (x, y, sample_weight): the model ends with the
            weights that were best on it.
        patience: stop after this many steps without a better validation loss.
        callback: function (iteration, logs), called after each step, when the model has
            the weights of that step. A true result stops the training.
        verbose: 0 silent, 1 one line per step.

    Raises:
        TypeError, ValueError: an invalid argument; nothing was changed.
        KeyboardInterrupt: the model keeps the best weights so far.

    Source: Nocedal 1980; Liu & Nocedal 1989.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> result = kurve.solvers.lbfgs(model, x, 2.0 * x + 1.0)
        >>> round(result.loss, 6)
        0.0
    """
    where = "lbfgs"
    check_count(where, "memory", memory, 1)
    if not 0.0 <= tolerance < np.inf:
        raise ValueError(
            f"[{where}] tolerance must be finite and at least 0. "
            f"Received: {tolerance!r}. Try 1e-8."
        )
    monitor = FitMonitor(where, max_iterations, patience, callback, verbose)
    problem = prepare(where, model, x, y, sample_weight, validation_data)
    batches = problem.batches

    def function(p: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(over="ignore"):
            state = problem.at(p)
        value, gradient = problem.program.gradient(state, batches, 0)
        return value, gradient[problem.free].astype(np.float64)

    start = problem.start()
    value, gradient = function(start)
    if not np.isfinite(value):
        raise ValueError(
            f"[{where}] the loss must be finite. Received: {value} for the model's "
            "weights. Try other initial weights, or layers.Normalization first."
        )
    path = descend(function, start, memory, tolerance * float(np.abs(gradient).max()))
    return monitor.run(problem, path, lambda point: (point.x, point.value))


def descend(
    function: Function, start: np.ndarray, memory: int, tolerance: float
) -> Generator[Point, None, StopReason]:
    """Yield points of falling value, `start` first, so that the caller can inspect them
    between steps and stop at any; return why there is no further point.

    Args:
        function: x (P,) -> value, gradient (P,); not finite if x is not allowed.
        memory: number of steps from which the inverse Hessian is built.
        tolerance: converged if no element of the gradient is larger.
    """
    here = Point(start, *function(start))
    steps: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=memory)
    while True:
        yield here
        if np.abs(here.gradient).max(initial=0.0) <= tolerance:
            return StopReason(True, "the gradient is within the tolerance")
        direction = -inverse_hessian_times(here.gradient, steps)
        if not direction @ here.gradient < 0.0:
            steps.clear()
            direction = -here.gradient
        first = 1.0 if steps else min(1.0, 1.0 / float(np.linalg.norm(here.gradient)))
        there = line_search(function, here, direction, first)
        if there is None and steps:  # they may belong to another region
            steps.clear()
            continue
        if there is None:
            return ROUNDING
        s, change = there.x - here.x, there.gradient - here.gradient
        if s @ change > 1e-10 * float(np.linalg.norm(s) * np.linalg.norm(change)):
            steps.append((s, change))
        here = there


def inverse_hessian_times(
    gradient: np.ndarray, steps: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """H g with H the inverse Hessian that `steps` (s, y) imply, from the initial guess
    s.y / y.y times the identity. Source: Nocedal & Wright 2006, algorithm 7.4."""
    q, alphas = gradient.copy(), []
    for s, y in reversed(steps):
        alpha = float(s @ q) / float(s @ y)
        alphas.append(alpha)
        q -= alpha * y
    if steps:
        s, y = steps[-1]
        q *= float(s @ y) / float(y @ y)
    for (s, y), alpha in zip(steps, reversed(alphas), strict=True):
        q += (alpha - float(y @ q) / float(s @ y)) * s
    return q


def line_search(
    function: Function, here: Point, direction: np.ndarray, first: float
) -> Point | None:
    """A point along `direction` that satisfies the strong Wolfe conditions

        f(a) <= f(0) + SUFFICIENT_DECREASE a f'(0),   |f'(a)| <= FLATTENING |f'(0)|,

    or the best one with a lower value; None if there is none. Steps grow until they
    bracket such a point, then cubic interpolation narrows the bracket. Source: Nocedal
    & Wright 2006, algorithms 3.5 and 3.6, equation 3.59.
    """
    slope = float(direction @ here.gradient)

    def at(length: float) -> Trial:
        x = here.x + length * direction
        value, gradient = function(x)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return Trial(length, np.inf, np.nan, None)
        there = Point(x, value, gradient)
        return Trial(length, value, float(direction @ gradient), there)

    def sufficient(trial: Trial) -> bool:
        limit = here.value + SUFFICIENT_DECREASE * trial.length * slope
        return trial.value <= limit

    low, high = Trial(0.0, here.value, slope, None), None
    length = first
    for _ in range(MAX_TRIALS):
        trial = at(length)
        if not sufficient(trial) or trial.value >= low.value:
            high = trial
        elif abs(trial.slope) <= -FLATTENING * slope:
            return trial.point
        elif high is None and trial.slope < 0.0:
            low, length = trial, extrapolated(low, trial)
            continue
        else:
            # A minimum lies between the better end and the one it slopes down to.
            if high is None or trial.slope * (high.length - low.length) >= 0.0:
                high = low
            low = trial
        if abs(high.length - low.length) * np.abs(direction).max() <= 1e-16:
            break
        length = interpolated(low, high)
    return low.point


class Trial(NamedTuple):
    """A length along a direction, with the value and slope there."""

    length: float
    value: float
    slope: float
    point: Point | None


def extrapolated(before: Trial, now: Trial) -> float:
    """The next length while the function still falls: the minimum of the cubic through
    both, 1.5 to 10 times as long, or 4 times if it has none."""
    guess = cubic_minimum(before, now)
    shortest, longest = 1.5 * now.length, 10.0 * now.length
    if not np.isfinite(guess):
        return 4.0 * now.length
    return min(max(guess, shortest), longest)


def interpolated(low: Trial, high: Trial) -> float:
    """The minimum of the cubic between both, at least a tenth off the ends."""
    width = high.length - low.length
    guess = cubic_minimum(low, high)
    fraction = (guess - low.length) / width if np.isfinite(guess) else 0.5
    return low.length + min(max(fraction, 0.1), 0.9) * width


def cubic_minimum(one: Trial, two: Trial) -> float:
    """The minimum of the cubic with these values and slopes; NaN if it has none.

    Source: Nocedal & Wright 2006, equation 3.59.
    """
    width = np.float64(two.length - one.length)
    with np.errstate(all="ignore"):
        d1 = one.slope + two.slope - 3.0 * (two.value - one.value) / width
        d2 = np.copysign(np.sqrt(d1 * d1 - one.slope * two.slope), width)
        fraction = (two.slope + d2 - d1) / (two.slope - one.slope + 2.0 * d2)
        return float(two.length - width * fraction)
