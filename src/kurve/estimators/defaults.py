"""The hyperparameters chosen by "auto", in one place.

`choose` is a function of what is known before training: the numbers of rows, features
and targets, and the user's choices. Nothing else in the package decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from kurve.activations import Activation
from kurve.optimizers.schedules import CosineDecay, LearningRateSchedule

SMALL_ROWS = 1000
"""Maximum rows for which "auto" means Levenberg-Marquardt, if there are also few
columns."""

SMALL_FEATURES = 4
"""Maximum encoded columns for which "auto" means Levenberg-Marquardt."""

SMALL_NETWORK = 500
"""Maximum parameters for which it does, including those of the outputs for all
targets."""

LM_HIDDEN = (8, 8)
"""Hidden layer widths for Levenberg-Marquardt."""

RACE_FEATURES, RACE_TARGETS = 5, 8
"""Maximum encoded columns, and targets, for which "auto" means a race
(`estimators.curves`)."""

RACE_ROWS, RACE_WIDTH = 200, 50
"""With at most this many rows, it means a race for more columns, too."""

ORDINARY_MIN_ROWS = 100
"""Rows from which the ordinary network takes part if Levenberg-Marquardt does not: with
fewer, it learns the noise."""

LM_MIN_ROWS = 12
"""Rows from which Levenberg-Marquardt takes part."""

LM_ROWS, LM_MAX_ROWS, LM_MORE = 1_000, 10_000, 50
"""For a larger table: rows that Levenberg-Marquardt uses in the race and, if it wins,
to continue, and the number of iterations for that."""

QUANTILES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
"""Quantiles learned by a network; others are interpolated."""

DECILES = 2.5631031
"""Standard deviations from the 10th to the 90th percentile of a normal distribution."""

FOLDS = 5
"""Folds of CV+ (Barber et al. 2021 name 5 to 10)."""

CALIBRATION = 0.2
"""Fraction of rows held out for conformal intervals."""

MIN_VALIDATION = 10
"""Smallest validation set for early stopping. With fewer rows, early stopping would
follow chance, so training runs to the last epoch."""

MIN_CALIBRATION = 30
"""Minimum held-out rows for interval="auto" to trust their residuals more than the
predicted standard deviation."""

PRIOR_ROWS = 10.0
"""Weight of the prior, in rows, when predicted standard deviations are corrected by
held-out errors: that many rows count as having errors of the predicted size."""

STREAM_VALIDATION = 10_000
"""Maximum held-out rows when data comes in batches."""

PARTIAL_RATE = 1e-3
"""Learning rate of `partial_fit`, constant because the end of training is unknown."""

RESTARTS, PLATEAU = 2, 0.05
"""Maximum random restarts of Levenberg-Marquardt, and the loss, in scaled units, below
which there are none."""

BATCH, EPOCHS, ROW_STEPS, MAX_EPOCHS = 32, 40, 60_000, 400
"""Batch size; and epochs: at least EPOCHS, for small tables as many as needed to train
on ROW_STEPS rows in total, but at most MAX_EPOCHS. Measured on the nine UCI sets
(docs/benchmarks/uci.md); the weights of the best epoch are restored."""

MANY_STEPS, LARGEST_BATCH, ROWS_TO_SEE, FEW_EPOCHS = 3_125, 512, 40_000_000, 8
"""For more than BATCH * MANY_STEPS rows: steps of an epoch, for which batches are as
large as necessary, a power of two up to LARGEST_BATCH; and rows to train on in total,
for which there are fewer than EPOCHS epochs, but FEW_EPOCHS at least. On an artificial
table whose noise is 1, 2 million rows have an error of 1.089 with batches of 32, more
than 200,000 do with 1.018, as the loss grows again and again, and 1.003 with 256."""

HIDDEN, ACTIVATION, RATE = (64, 64), "silu", 1e-2
"""For networks that a first-order optimizer trains. RMSE on seven UCI sets relative to
this choice (geometric mean): relu 1.04, tanh 1.05, (32, 32) 0.99, (128, 128) 1.00,
(64, 64, 64) 0.99, (100,) 1.32; half and twice the rate 0.99; five members 0.96."""

BAG_FOLDS, BAG_NETWORKS = 8, {"default": 4, "best": 8}
"""Folds of a bag, and how many of them are left out by networks, by the estimator's
`effort`. Measured on inner folds of the training parts of seven UCI sets (RMSE relative
to one network, and time): 4 networks over 4 folds 0.93 and 7 times, 4 over 8 folds 0.90
and 7 times, 8 over 8 folds 0.89 and 13 times."""

AVERAGING_ROWS = 200
"""Number of held-out rows for which half of the correction is made that accounts for
the error removed by averaging the networks of a bag. On inner parts of eight real
tables (22 splits), intervals for 90 % cover 90.9 %; 92.6 % without the correction (16
tables), and 89.5 % if it does not depend on the rows, least on the smallest tables."""

STOPPING_ROWS = 10
"""The deviations of a bag are larger by this over the number of held-out rows: networks
stop where these rows' errors are smallest. On 28 inner splits of six real tables, 90 %
intervals cover 89.2 % without it; the smallest, diabetes with 265 rows, 84.8 %."""

BAG_ROWS = 40
"""Distinct rows below which only one network is trained: each fold needs MIN_VALIDATION
rows, and each network a fold."""

BAG_GAIN = 0.9
"""Squared error of a bag relative to that of one of its networks, which represents it
in a race: the RMSE is 0.95 of it on 24 tables."""

MANY_ROWS, MANY_FOLDS = 20_000, 10
"""Distinct rows beyond which a bag leaves out fewer and smaller folds: then networks
differ less, and a tenth of the rows is enough to weight them."""

BINS = 16
"""Bins of a number in the encoded networks of a bag."""

GREEDY_STEPS = 20
"""Steps of the greedy selection that weights a bag; the weights are multiples of 1 /
steps."""

BETA = 0.5
"""Of `losses.GaussianNLL`: on the sine of the paper, training gets stuck at a mean
squared error of 0.3 to 0.9 with 0, and reaches 0.002 with 0.5; on UCI's energy set the
RMSE halves."""

WARM_UP, FIRST, LAST = 0.15, 0.05, 1e-3
"""The one-cycle schedule: fraction of the steps with a rising rate; first and last rate
as fractions of the highest. Source: Smith & Topin 2018."""


@dataclass(frozen=True)
class Hyperparameters:
    """How to train a network.

    hidden:        widths of the hidden layers
    activation:    activation of the hidden layers
    solver:        "lm", "lbfgs", or None for a first-order optimizer
    likelihood:    "none", "gaussian" or "quantile"
    learning_rate: the peak of the schedule
    batch_size, epochs, patience: settings of the first-order optimizer
    iterations:    iterations of a full-batch solver
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
    """The hyperparameters for a table of this size.

    Args:
        rows: number of distinct training rows.
        features: columns of the encoded table.
        targets: number of targets or classes.
        classify: whether the targets are classes.
        solver, likelihood, interval: the user's choices; "auto" leaves them open.
        hidden: widths chosen by the user, or None.
        full_batch: whether the other arguments allow a full-batch solver.
    """
    if likelihood == "auto":
        likelihood = "quantile" if interval == "quantile" else "auto"
    if solver == "auto":
        small = rows <= SMALL_ROWS and features <= SMALL_FEATURES
        squared = likelihood in ("auto", "none") and not classify
        widths = (features, *(hidden or LM_HIDDEN), targets)
        size = sum((i + 1) * o for i, o in pairwise(widths))
        small = small and full_batch and size <= SMALL_NETWORK
        solver = "lm" if small and squared else "adam"
    is_full_batch = solver in ("lm", "lbfgs")
    if likelihood == "auto":
        likelihood = "none" if solver == "lm" or classify else "gaussian"
    epochs = min(max(EPOCHS, ROW_STEPS // rows), MAX_EPOCHS)
    epochs = min(epochs, max(ROWS_TO_SEE // rows, FEW_EPOCHS))
    batch = BATCH
    while batch * MANY_STEPS < rows and batch < LARGEST_BATCH:
        batch *= 2
    lm = solver == "lm"
    return Hyperparameters(
        hidden=hidden or (LM_HIDDEN if lm else HIDDEN),
        activation="tanh" if lm else ACTIVATION,
        solver=solver if is_full_batch else None,
        likelihood=likelihood,
        learning_rate=RATE,
        batch_size=batch,
        epochs=epochs,
        patience=epochs,  # the one-cycle schedule runs to its end
        iterations=1000 if solver == "lbfgs" else 200,
    )


def schedule(peak: float, steps: int) -> LearningRateSchedule | float:
    """The one-cycle schedule: a linear rise to the peak, then half a cosine down.

    Args:
        peak: the highest learning rate.
        steps: number of steps of the entire training.
    """
    rising = int(WARM_UP * steps)
    if steps < 4:
        return peak
    return CosineDecay(
        initial_learning_rate=peak * FIRST,
        decay_steps=steps - rising,
        alpha=LAST,
        warmup_target=peak,
        warmup_steps=rising,
    )
