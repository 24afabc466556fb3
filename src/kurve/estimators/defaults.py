"""Every choice that "auto" stands for, in one place.

`choose` is a function of what is known before training: the numbers of rows, features
and targets, and what the user asked for. Nothing else in the package decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from kurve.activations import Activation
from kurve.optimizers.schedules import CosineDecay, LearningRateSchedule

SMALL_ROWS = 1000
"""Rows up to which "auto" takes Levenberg-Marquardt, if the columns are few too."""

SMALL_FEATURES = 4
"""Columns of the encoded table up to which it does."""

SMALL_NETWORK = 500
"""Parameters up to which it does, targets counted."""

LM_HIDDEN = (8, 8)
"""Widths of the network that it trains."""

QUANTILES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
"""What a network of quantiles learns; intervals between them are interpolated."""

DECILES = 2.5631031
"""Deviations of a normal law from its 10th to its 90th percentile."""

FOLDS = 5
"""Folds of CV+ (Barber et al. 2021 name 5 to 10)."""

CALIBRATION = 0.2
"""Share of the rows that is kept for conformal intervals."""

MIN_VALIDATION = 10
"""Rows of a validation set below which early stopping would follow chance: training
then goes on to its last epoch."""

MIN_CALIBRATION = 30
"""Rows that must have been held out before interval="auto" trusts their residuals
rather than the predicted deviation."""

PRIOR_ROWS = 10.0
"""How many rows with errors of just the predicted size are counted with the held-out
ones when deviations are corrected by the errors of these."""

STREAM_VALIDATION = 10_000
"""Most rows that are held out where data comes in batches."""

PARTIAL_RATE = 1e-3
"""Learning rate of `partial_fit`, which cannot know when training will end."""

RESTARTS, PLATEAU = 2, 0.05
"""How often Levenberg-Marquardt begins anew from other weights, and the loss, in scaled
units, below which it need not."""

BATCH, EPOCHS, ROW_STEPS, MOST_EPOCHS = 32, 40, 60_000, 400
"""Rows of a step; passes over the data: at least EPOCHS, and over small tables so many
that ROW_STEPS rows are seen, but no more than MOST_EPOCHS. Measured on the nine UCI
sets (docs/benchmarks/uci.md); the weights of the best epoch stay."""

HIDDEN, ACTIVATION, RATE = (64, 64), "silu", 1e-2
"""Of networks that a first-order optimizer trains. Mean RMSE on seven UCI sets relative
to this choice (geometric mean): relu 1.04, tanh 1.05, (32, 32) 0.99, (128, 128) 1.00,
(64, 64, 64) 0.99, (100,) 1.32; half and twice the rate 0.99; five members 0.96."""

BETA = 0.5
"""Of `losses.GaussianNLL`: with 0 a network of the article's sine stays at 0.3 to 0.9
(mean squared error), with 0.5 it reaches 0.002; on UCI's energy the RMSE halves."""

WARM_UP, FIRST, LAST = 0.15, 0.05, 1e-3
"""The one-cycle schedule: share of the steps that rise, first and last learning rate as
parts of the highest. Source: Smith & Topin 2018."""


@dataclass(frozen=True)
class Hyperparameters:
    """How to train.

    hidden:        widths of the hidden layers
    activation:    of the hidden layers
    solver:        "lm", "lbfgs", or None for a first-order optimizer
    likelihood:    "none", "gaussian" or "quantile"
    learning_rate: the highest of the schedule
    batch_size, epochs, patience: of the first-order optimizer
    iterations:    of a full-batch solver
    """

    hidden: tuple[int, ...]
    activation: str | Activation
    solver: str | None
    likelihood: str
    learning_rate: float
    batch_size: int
    epochs: int
    patience: int
    iterations: int


def choose(
    rows: int,
    features: int,
    targets: int,
    classify: bool = False,
    solver: str = "auto",
    likelihood: str = "auto",
    interval: str = "auto",
    hidden: tuple[int, ...] | None = None,
    full_batch: bool = True,
) -> Hyperparameters:
    """What to do with a table of that size.

    Args:
        rows: different rows to train with.
        features: columns of the encoded table.
        targets: number of targets or classes.
        classify: whether the targets are classes.
        solver, likelihood, interval: what the user asked for; "auto" leaves it open.
        hidden: widths that the user chose, or None.
        full_batch: whether nothing that the user asked for needs small batches.
    """
    if likelihood == "auto":
        likelihood = "quantile" if interval == "quantile" else "auto"
    if solver == "auto":
        small = rows <= SMALL_ROWS and features <= SMALL_FEATURES
        plain = likelihood in ("auto", "none") and not classify
        widths = (features, *(hidden or LM_HIDDEN), targets)
        size = sum((i + 1) * o for i, o in pairwise(widths))
        small = small and full_batch and size <= SMALL_NETWORK
        solver = "lm" if small and plain else "adam"
    whole = solver in ("lm", "lbfgs")
    if likelihood == "auto":
        likelihood = "none" if solver == "lm" or classify else "gaussian"
    epochs = min(max(EPOCHS, ROW_STEPS // rows), MOST_EPOCHS)
    lm = solver == "lm"
    return Hyperparameters(
        hidden=hidden or (LM_HIDDEN if lm else HIDDEN),
        activation="tanh" if lm else ACTIVATION,
        solver=solver if whole else None,
        likelihood=likelihood,
        learning_rate=RATE,
        batch_size=BATCH,
        epochs=epochs,
        patience=epochs,  # the cycle comes to its end
        iterations=1000 if solver == "lbfgs" else 200,
    )


def schedule(peak: float, steps: int) -> LearningRateSchedule | float:
    """One cycle: up to the peak, then down along half a cosine.

    Args:
        peak: the highest learning rate.
        steps: of the whole training.
    """
    warm = int(WARM_UP * steps)
    if steps < 4:
        return peak
    return CosineDecay(
        initial_learning_rate=peak * FIRST,
        decay_steps=steps - warm,
        alpha=LAST,
        warmup_target=peak,
        warmup_steps=warm,
    )
