"""Finding a learning rate: a sweep from far too small to too large.

Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core import rng
from kurve.core.entries import entry
from kurve.engines import Batches
from kurve.errors import NonFiniteError
from kurve.models import Sequential
from kurve.training.batching import Division, batch_bounds, check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 512
"""Rows whose loss is watched. They stay the same, so that the curve shows what the
steps do and not how batches differ."""

GROWTH = 4.0
"""The loss diverges when it is above its lowest value by so many times the first one
(or what it had fallen, if that is more)."""

FEWEST = 10
"""Fewer steps than these before that say nothing."""


@entry
def lr_find(
    model: Sequential,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    min_learning_rate: float = 1e-7,
    max_learning_rate: float = 10.0,
    steps: int = 200,
) -> LearningRateSweep:
    """Find a learning rate for `model.fit(x, y)`.

    Trains a copy of the model, each step with a larger learning rate than the last, and
    watches the loss of some rows: flat while steps are too small, then falling, then
    growing without bounds. The model itself and all random numbers to come stay as they
    are, and the same model and data give the same answer.

        sweep = kurve.lr_find(model, x, y)
        model.optimizer.learning_rate = sweep.suggestion
        sweep.plot()

    Args:
        model: compiled; built or not, trained or not. A schedule in its optimizer is
            left aside.
        x, y, sample_weight: as in `fit`.
        batch_size: rows a step, the number that `fit` will get; a learning rate is good
            for one size of batch.
        min_learning_rate, max_learning_rate: where the sweep begins and ends, if the
            loss does not grow without bounds before.
        steps: number of steps from one to the other, at least 50.

    Raises:
        RuntimeError: the model is not compiled.
        TypeError, ValueError: bad input.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> sweep = kurve.lr_find(model, x, y, steps=50)
        >>> sweep.suggestion > 0.0
        True
    """
    if not isinstance(model, Sequential):
        raise TypeError(
            "[lr_find] model must be a Sequential. Received: an object of type "
            f"{type(model).__name__}. Try lr_find(model, x, y)."
        )
    model._require_compiled("lr_find")
    check_count("lr_find", "steps", steps, 50)
    if not 0.0 < min_learning_rate < max_learning_rate < math.inf:
        raise ValueError(
            "[lr_find] 0 < min_learning_rate < max_learning_rate must hold. Received: "
            f"{min_learning_rate!r} and {max_learning_rate!r}. Try 1e-7 and 10."
        )
    x, y, weights = model._checked("lr_find", x, y, sample_weight, None)
    bounds = batch_bounds(len(x), batch_size, "lr_find")

    twin = _copy(model, x)
    state, program = twin._training_state(), twin._ready_program()
    order, bounds = Division(len(x), bounds, steps, True, state.seed, 0).epoch(0)
    rates = np.geomspace(min_learning_rate, max_learning_rate, steps)
    batches = Batches(x, y, weights, order, bounds, rates.astype(np.float32))
    kept = np.linspace(0, len(x) - 1, min(len(x), ROWS)).astype(np.int64)
    watched = Batches(x, y, weights, kept, np.array([0, len(kept)]))

    def loss_now() -> float:
        totals = np.zeros(program.plan.totals_size)
        program.test(state, watched, totals)
        return float(totals[0] / totals[1])

    start, losses = loss_now(), list[float]()
    diverged: float | None = None
    for step in range(steps):
        try:
            program.train(
                state, batches, step, step + 1, np.zeros(program.plan.totals_size)
            )
            loss = loss_now()
        except NonFiniteError:
            loss = math.inf
        if math.isfinite(loss):
            losses.append(loss)
        lowest = min(losses, default=start)
        if not loss - lowest <= GROWTH * max(abs(start), start - lowest):
            diverged = float(rates[step])
            break
    if len(losses) < FEWEST:
        raise ValueError(
            "[lr_find] min_learning_rate must be too small to do harm. Received: "
            f"{min_learning_rate!r}, and the loss grows without bounds after "
            f"{len(losses)} steps. Try min_learning_rate={min_learning_rate / 1e4:.0e},"
            " or inputs scaled with layers.Normalization."
        )
    return LearningRateSweep(rates[: len(losses)], np.array(losses), start, diverged)


class LearningRateSweep:
    """What `lr_find` saw.

    learning_rates: of the steps, increasing.
    losses: after each step, of the same rows.
    start: the loss before the first step.
    diverged: the learning rate at which the loss grew without bounds, or None.
    steepest: where the loss fell fastest, Smith's suggestion; often rather small.
    suggestion: a learning rate for `fit`, or the largest for `schedules.OneCycle`. The
        geometric mean of two: where four fifths of the fall were done, and a tenth of
        where the loss diverged; but not above the rate of the lowest loss. On 13
        problems (UCI sets and sines, with raw and scaled inputs), 600 steps at it ended
        at 1.4 times the loss of the best of 33 rates (geometric mean), at `steepest` or
        a tenth of the rate of the lowest loss at 2.1 times.
    """

    def __init__(
        self,
        learning_rates: np.ndarray,
        losses: np.ndarray,
        start: float,
        diverged: float | None,
    ) -> None:
        self.learning_rates, self.losses = learning_rates, losses
        self.start, self.diverged = start, diverged
        curve = _smoothed(np.minimum(losses, start))
        self.steepest = float(learning_rates[int(np.gradient(curve).argmin())])
        fallen = curve <= start - 0.8 * (start - curve.min())
        fast = float(learning_rates[int(fallen.argmax())])
        edge = fast if diverged is None else diverged / 10.0
        lowest = float(learning_rates[int(curve.argmin())])
        self.suggestion = min(math.sqrt(fast * edge), lowest)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the loss over the learning rate, with the suggestion marked.

        Args:
            ax: where to draw; a new figure by default.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from kurve.plots import plot_sweep

        return plot_sweep(self, ax)

    def __repr__(self) -> str:
        low, high = self.learning_rates[0], self.learning_rates[-1]
        end = "" if self.diverged is None else f", diverged at {self.diverged:.2g}"
        return (
            f"<LearningRateSweep suggestion={self.suggestion:.2g}, {len(self.losses)} "
            f"steps from {low:.2g} to {high:.2g}{end}>"
        )


def _smoothed(losses: np.ndarray) -> np.ndarray:
    """Means over neighbouring steps, weighted by a Gaussian."""
    reach = np.arange(-9, 10)
    weights = np.exp(-0.5 * (reach / 3.0) ** 2)
    padded = np.pad(losses, len(reach) // 2, mode="edge")
    return np.convolve(padded, weights / weights.sum(), mode="valid")


def _copy(model: Sequential, x: np.ndarray) -> Sequential:
    """A model that begins as this one would, and leaves all random numbers to come as
    they are."""
    source = dict(rng._seed_source)
    try:
        twin = model.clone()
    finally:
        rng._seed_source.clear()
        rng._seed_source.update(source)
    twin._seed = model._seed
    twin._build_for(x)
    twin._training_state()
    if model.built:
        twin.set_weights(model.get_weights())
    return twin
