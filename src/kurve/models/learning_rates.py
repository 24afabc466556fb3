"""Finding a learning rate: a sweep from much too small to too large.

Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.arguments import check_count
from kurve.core.entries import entry
from kurve.engines import Batches, Job, run_job
from kurve.errors import NonFiniteError
from kurve.models import Model, Sequential
from kurve.models.cloning import clone
from kurve.training.batching import Division, batch_bounds
from kurve.training.inputs import check_data
from kurve.training.rows import count_rows
from kurve.training.steps import refuse_own_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 512
"""Rows whose loss is monitored. They are fixed, so that the curve shows the effect of
the steps and not of different batches."""

GROWTH = 4.0
"""The loss has diverged when it exceeds its minimum by this many times the initial loss
(or this many times its decrease, if larger)."""

MIN_STEPS = 10
"""Minimum number of steps before divergence; fewer do not allow a suggestion."""


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

    Trains a clone of the model with a larger learning rate in each step and monitors
    the loss of some rows: flat while steps are too small, then falling, then diverging.
    The model itself and later random numbers are not affected, and the same model and
    data give the same result.

        sweep = kurve.lr_find(model, x, y)
        model.optimizer.learning_rate = sweep.suggestion
        sweep.plot()

    Args:
        model: compiled; built or not, trained or not. A schedule in its optimizer is
            ignored.
        x, y, sample_weight: as in `fit`.
        batch_size: rows per step, as in `fit`; a suitable learning rate
            depends on it.
        min_learning_rate, max_learning_rate: start and end of the sweep, unless the
            loss diverges before.
        steps: number of steps in between, at least 50.

    Raises:
        RuntimeError: the model is not compiled.
        TypeError, ValueError: invalid input.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> sweep = kurve.lr_find(model, x, y, steps=50)
        >>> sweep.suggestion > 0.0
        True
    """
    if not isinstance(model, Model):
        raise TypeError(
            "[lr_find] model must be a Sequential. Received: an object of type "
            f"{type(model).__name__}. Try lr_find(model, x, y)."
        )
    model._network.require_one_output("lr_find")
    model._network.require_compiled("lr_find")
    refuse_own_steps("lr_find", model)
    check_count("lr_find", "steps", steps, 50)
    if not 0.0 < min_learning_rate < max_learning_rate < math.inf:
        raise ValueError(
            "[lr_find] 0 < min_learning_rate < max_learning_rate must hold. Received: "
            f"{min_learning_rate!r} and {max_learning_rate!r}. Try 1e-7 and 10."
        )
    x, y, weights = check_data("lr_find", model._network, x, y, sample_weight)
    bounds = batch_bounds(count_rows(x), batch_size, "lr_find")

    trained = _clone(model, x)
    state, program = trained._network.training_state(), trained._network.program()
    engine = trained._network.engine
    assert engine is not None
    order, bounds = Division(count_rows(x), bounds, steps, True, state.seed, 0).epoch(0)
    rates = np.geomspace(min_learning_rate, max_learning_rate, steps)
    batches = Batches(x, y, weights, order, bounds, rates.astype(np.float32))
    rows = np.linspace(0, count_rows(x) - 1, min(count_rows(x), ROWS)).astype(np.int64)
    monitored = Batches(x, y, weights, rows, np.array([0, len(rows)]))

    def loss_now() -> float:
        totals = np.zeros(program.plan.totals_size)
        program.test(state, monitored, totals)
        return float(totals[0] / totals[1])

    start, losses = loss_now(), list[float]()
    diverged: float | None = None
    for step in range(steps):
        try:
            totals = np.zeros(program.plan.totals_size)
            run_job(engine, Job(program, state, batches, step, step + 1, totals))
            loss = loss_now()
        except NonFiniteError:
            loss = math.inf
        if math.isfinite(loss):
            losses.append(loss)
        lowest = min(losses, default=start)
        if not loss - lowest <= GROWTH * max(abs(start), start - lowest):
            diverged = float(rates[step])
            break
    if len(losses) < MIN_STEPS:
        raise ValueError(
            "[lr_find] min_learning_rate is so large that the loss diverges. "
            f"Received: {min_learning_rate!r}, and the loss diverges after "
            f"{len(losses)} steps. Try min_learning_rate={min_learning_rate / 1e4:.0e},"
            " or inputs scaled with layers.Normalization."
        )
    return LearningRateSweep(rates[: len(losses)], np.array(losses), start, diverged)


class LearningRateSweep:
    """The result of `lr_find`.

    learning_rates: learning rate of each step, increasing.
    losses: loss of the monitored rows after each step.
    start: the loss before the first step.
    diverged: the learning rate at which the loss diverged, or None.
    steepest: where the loss fell fastest, Smith's suggestion; often rather small.
    suggestion: a learning rate for `fit`, or the largest for `schedules.OneCycle`. The
        geometric mean of the rate at which four fifths of the decrease were reached and
        a tenth of the rate at which the loss diverged, but at most the rate of the
        lowest loss. On 13 problems (UCI sets and sines, with raw and scaled inputs),
        600 steps at it reached 1.4 times the loss of the best of 33 rates (geometric
        mean); `steepest`, or a tenth of the rate of the lowest loss, reached 2.1 times.
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
        """Plot the loss against the learning rate, with the suggestion marked.

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
    """Gaussian-weighted means over adjacent steps."""
    reach = np.arange(-9, 10)
    weights = np.exp(-0.5 * (reach / 3.0) ** 2)
    padded = np.pad(losses, len(reach) // 2, mode="edge")
    return np.convolve(padded, weights / weights.sum(), mode="valid")


def _clone(model: Sequential, x: np.ndarray) -> Sequential:
    """A built copy with the same seed and the weights that the model has or would
    get."""
    copy = clone(model, model._network.seed)
    copy.build((None, *x.shape[1:]))
    if model.built:
        copy.set_weights(model.get_weights())
    return copy
