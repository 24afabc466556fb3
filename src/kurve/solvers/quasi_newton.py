"""`lbfgs`: full-batch training of any model, by a quasi-Newton method.

A Newton step needs the matrix of second derivatives. Limited memory BFGS builds the
product of its inverse with a gradient from the last few steps s and changes of the
gradient y, in 4 x memory x P operations (Nocedal & Wright 2006, algorithms 7.4, 7.5).
Each step's length obeys the strong Wolfe conditions (there, 3.5 and 3.6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kurve.core.entries import entry
from kurve.core.locks import exclusive
from kurve.solvers.base import FitMonitor, SolverResult, Watch, prepare
from kurve.solvers.least_squares import StopReason
from kurve.training.batching import check_count

if TYPE_CHECKING:
    from kurve.models import Sequential

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]

SUFFICIENT, FLAT = 1e-4, 0.9
"""Wolfe: f falls by this share of what the slope promises, the slope to that share."""

MOST_TRIALS = 40


class Place(NamedTuple):
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
    callback: Watch | None = None,
    verbose: int = 0,
) -> SolverResult:
    """Train a model by L-BFGS, all rows at once: no learning rate to choose.

    For small and medium data. A step costs about what one of Adam's with all rows
    costs, and far fewer are needed where the loss is smooth (tanh, sin, silu; not
    relu).

    Args:
        model: built or not; compiled with any loss, or not at all, which means the mean
            squared error. Regularizers count; dropout is off.
        x, y, sample_weight: as in `Sequential.fit`.
        max_iterations: most steps.
        memory: how many steps the inverse is built from.
        tolerance: converged where no element of the gradient is larger than this share
            of the largest at the start.
        validation_data: (x, y) or (x, y, sample_weight): the model ends with the
            weights that were best on it.
        patience: stop after this many steps without a better validation loss.
        callback: function (iteration, logs), called after each step; the model has the
            weights of that step. What is true ends the training.
        verbose: 0 silent, 1 one line a step.

    Raises:
        TypeError, ValueError: a wrong argument; nothing was changed.
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
    track = FitMonitor(where, max_iterations, patience, callback, verbose)
    task = prepare(where, model, x, y, sample_weight, validation_data)
    track.begin(task)
    batches = task.batches

    def function(p: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(over="ignore"):
            state = task.at(p)
        value, gradient = task.program.gradient(state, batches, 0)
        return value, gradient[task.free].astype(np.float64)

    start = task.start()
    value, gradient = function(start)
    if not np.isfinite(value):
        raise ValueError(
            f"[{where}] the loss must be finite. Received: {value} for the model's "
            "weights. Try other initial weights, or layers.Normalization first."
        )
    path = descend(function, start, memory, tolerance * float(np.abs(gradient).max()))
    end = StopReason(False, "")
    try:
        while not track.end:
            try:
                place = next(path)
            except StopIteration as stop:
                end = stop.value
                break
            track.add(place.x, place.value)
    finally:
        track.keep_best()
    return track.result(end.converged, track.end or end.message)


def descend(
    function: Function, start: np.ndarray, memory: int, tolerance: float
) -> Generator[Place, None, StopReason]:
    """Places of falling value, `start` first, for the caller to look at between steps.

    Args:
        function: x (P,) -> value, gradient (P,); not finite where x is no good.
        memory: how many steps are remembered.
        tolerance: converged where no element of the gradient is larger.
    """
    here = Place(start, *function(start))
    steps: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=memory)
    while True:
        yield here
        if np.abs(here.gradient).max(initial=0.0) <= tolerance:
            return StopReason(True, "the gradient is zero")
        direction = -inverse_times(here.gradient, steps)
        if not direction @ here.gradient < 0.0:
            steps.clear()
            direction = -here.gradient
        first = 1.0 if steps else min(1.0, 1.0 / float(np.linalg.norm(here.gradient)))
        there = line_search(function, here, direction, first)
        if there is None and steps:  # what is remembered may be of another region
            steps.clear()
            continue
        if there is None:
            return StopReason(True, "rounding hides a lower loss")
        s, change = there.x - here.x, there.gradient - here.gradient
        if s @ change > 1e-10 * float(np.linalg.norm(s) * np.linalg.norm(change)):
            steps.append((s, change))
        here = there


def inverse_times(
    gradient: np.ndarray, steps: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """H g with H the inverse Hessian that `steps` (s, y) imply, from a first guess
    s.y / y.y times the identity. Source: Nocedal & Wright 2006, algorithm 7.4."""
    q, shares = gradient.copy(), []
    for s, y in reversed(steps):
        share = float(s @ q) / float(s @ y)
        shares.append(share)
        q -= share * y
    if steps:
        s, y = steps[-1]
        q *= float(s @ y) / float(y @ y)
    for (s, y), share in zip(steps, reversed(shares), strict=True):
        q += (share - float(y @ q) / float(s @ y)) * s
    return q


def line_search(
    function: Function, here: Place, direction: np.ndarray, first: float
) -> Place | None:
    """A place along `direction` that obeys the strong Wolfe conditions

        f(a) <= f(0) + SUFFICIENT a f'(0),   |f'(a)| <= FLAT |f'(0)|,

    or the best one with a lower value; None if there is none. Steps grow until they
    enclose such a place, then cubic interpolation closes in. Source: Nocedal & Wright
    2006, algorithms 3.5 and 3.6, equation 3.59.
    """
    slope = float(direction @ here.gradient)

    def at(length: float) -> Trial:
        x = here.x + length * direction
        value, gradient = function(x)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return Trial(length, np.inf, np.nan, None)
        there = Place(x, value, gradient)
        return Trial(length, value, float(direction @ gradient), there)

    def falls(trial: Trial) -> bool:
        return trial.value <= here.value + SUFFICIENT * trial.length * slope

    low, high = Trial(0.0, here.value, slope, None), None
    length = first
    for _ in range(MOST_TRIALS):
        trial = at(length)
        if not falls(trial) or trial.value >= low.value:
            high = trial
        elif abs(trial.slope) <= -FLAT * slope:
            return trial.place
        elif high is None and trial.slope < 0.0:
            low, length = trial, grown(low, trial)
            continue
        else:
            # A minimum lies between the better end and the one it slopes down to.
            if high is None or trial.slope * (high.length - low.length) >= 0.0:
                high = low
            low = trial
        if abs(high.length - low.length) * np.abs(direction).max() <= 1e-16:
            break
        length = between(low, high)
    return low.place


class Trial(NamedTuple):
    """A length along a direction, the value and slope there."""

    length: float
    value: float
    slope: float
    place: Place | None


def grown(before: Trial, now: Trial) -> float:
    """The next length where the function still falls: where a cubic through both has
    its minimum, 1.5 to 10 times as long, or 4 times where it has none."""
    guess = cubic_minimum(before, now)
    least, most = 1.5 * now.length, 10.0 * now.length
    return min(max(guess, least), most) if np.isfinite(guess) else 4.0 * now.length


def between(low: Trial, high: Trial) -> float:
    """A length between both, off the ends by a tenth: the minimum of a cubic."""
    width = high.length - low.length
    guess = cubic_minimum(low, high)
    share = (guess - low.length) / width if np.isfinite(guess) else 0.5
    return low.length + min(max(share, 0.1), 0.9) * width


def cubic_minimum(one: Trial, two: Trial) -> float:
    """Where the cubic with these values and slopes is least; NaN if there is none."""
    width = np.float64(two.length - one.length)
    with np.errstate(all="ignore"):
        d1 = one.slope + two.slope - 3.0 * (two.value - one.value) / width
        d2 = np.copysign(np.sqrt(d1 * d1 - one.slope * two.slope), width)
        share = (two.slope + d2 - d1) / (two.slope - one.slope + 2.0 * d2)
        return float(two.length - width * share)
