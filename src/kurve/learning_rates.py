"""Finding a learning rate: a sweep from far too small to too large.

Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import rng
from kurve.batching import Division, batch_bounds, check_count
from kurve.engines import Batches
from kurve.errors import NonFiniteError
from kurve.models import Sequential

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUIET = 10
"""Steps at the start, too small to change much, that show how much batches differ."""


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
    watches the loss: flat while steps are too small, then falling, then growing without
    bounds. The model itself and all random numbers to come stay as they are, and the
    same model and data give the same answer.

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
    losses: list[float] = []
    diverged, watch = False, _Watch()
    for step in range(steps):
        totals = np.zeros(program.plan.totals_size)
        try:
            program.train(state, batches, step, step + 1, totals)
        except NonFiniteError:
            diverged = True
            break
        losses.append(float(totals[0] / totals[1]))
        if watch.diverges(losses[-1]):
            diverged = True
            break
    if len(losses) <= QUIET:
        raise ValueError(
            "[lr_find] min_learning_rate must be too small to do harm. Received: "
            f"{min_learning_rate!r}, where the loss grows without bounds at once. "
            "Try min_learning_rate=1e-12, or inputs scaled with layers.Normalization."
        )
    end = float(rates[step]) if diverged else None
    return LearningRateSweep(rates[: len(losses)], np.array(losses), end)


class LearningRateSweep:
    """What `lr_find` saw.

    learning_rates: of the steps, increasing.
    losses: of the steps' batches, before each update.
    smoothed: losses, averaged over neighbouring steps.
    diverged: the learning rate at which the loss grew without bounds, or None.
    suggestion: a learning rate for `fit`.
    steepest: where the loss falls fastest (Smith 2017); usually rather small.
    """

    def __init__(
        self, learning_rates: np.ndarray, losses: np.ndarray, diverged: float | None
    ) -> None:
        self.learning_rates, self.losses = learning_rates, losses
        self.diverged = diverged
        self.smoothed = _smoothed(losses)
        slopes = np.gradient(self.smoothed)
        self.steepest = float(learning_rates[int(slopes.argmin())])
        self.suggestion = self.steepest

    def __repr__(self) -> str:
        low, high = self.learning_rates[0], self.learning_rates[-1]
        end = "" if self.diverged is None else f", diverged at {self.diverged:.2g}"
        return (
            f"<LearningRateSweep suggestion={self.suggestion:.2g}, {len(self.losses)} "
            f"steps from {low:.2g} to {high:.2g}{end}>"
        )


class _Watch:
    """Looks for the loss that grows without bounds.

    It does when a running mean is above its lowest value by three times what it had
    fallen, and by more than batches differ among themselves.
    """

    def __init__(self) -> None:
        self.first: list[float] = []
        self.mean, self.lowest = 0.0, math.inf

    def diverges(self, loss: float) -> bool:
        """Whether it does with this next loss."""
        if len(self.first) < QUIET:
            self.first.append(loss)
            self.mean = self.lowest = float(np.mean(self.first))
            return False
        self.mean += 0.2 * (loss - self.mean)
        self.lowest = min(self.lowest, self.mean)
        start, noise = float(np.mean(self.first)), float(np.std(self.first))
        limit = 3.0 * (start - self.lowest) + 4.0 * noise + 1e-3 * abs(start)
        return self.mean - self.lowest > limit


def _smoothed(losses: np.ndarray) -> np.ndarray:
    """Weighted means over neighbouring steps. What is above the first losses counts as
    they do, so that the end of the sweep does not cast a shadow on what is before."""
    level = float(losses[:QUIET].max())
    reach = np.arange(-9, 10)
    weights = np.exp(-0.5 * (reach / 3.0) ** 2)
    padded = np.pad(np.minimum(losses, level), 9, mode="edge")
    return np.convolve(padded, weights / weights.sum(), mode="valid")


def _copy(model: Sequential, x: np.ndarray) -> Sequential:
    """A model that begins as this one would, and leaves all random numbers to come as
    they are."""
    source = dict(rng._seed_source)
    try:
        twin = model.fresh_copy()
    finally:
        rng._seed_source.clear()
        rng._seed_source.update(source)
    twin._seed = model._seed
    twin._build_for(x)
    state = twin._training_state()
    state.seed = model._seed
    if model.built:
        twin.set_weights(model.get_weights())
    return twin
