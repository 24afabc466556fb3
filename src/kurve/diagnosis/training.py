"""Checks of steps and learning rate, from the history and from trials on a copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kurve.diagnosis.context import GOOD, Context
from kurve.diagnosis.network import unscaled_inputs
from kurve.diagnosis.report import Finding, percent

TREND_EPOCHS = 10
"""Minimum number of epochs for a trend in the second half of a history; with fewer,
more epochs are tried."""

FALLING = 0.9
FALLING_LITTLE = 0.8
MEMORIZING = 0.6
MANY_EPOCHS = 50
SIGMAS = 3.0
"""The fraction that the loss must fall to in the second half of training, and by how
many standard errors. The first limit holds where more than half is unexplained, the
second where less is. Over many epochs the training loss falls for as long as noise is
memorized: to between 0.63 and 0.93 in the second half of 80 to 200 epochs, on UCI data
sets whose validation loss was flat or rising. So the third limit holds then, unless the
validation loss was measured."""

TRIAL_EPOCHS = 3
SWEEP_EPOCHS = 2
TRIAL_STEPS = 20
"""A trial of a learning rate takes at least this many steps, but no more epochs than
that. Together with those of `too_few_steps` there are at most 16 short epochs or 11
long ones, and none if the fit is good or the learning rate schedule has ended."""

SWEEP = 10.0
SLOW = (10.0, 100.0, 1000.0)
"""Factors by which the learning rate can be too high or too low."""

TIMES_FASTER = 3.0
"""How much faster log(loss) must fall at a higher rate for the rate to be too low: a
third of the steps would then do."""

EXPLODED = 3.0
"""Loss over that of a model whose output is 0. New networks had at most 1.2; Adam at 30
to 100 times its best rate gave 3 to 2000 in the first epoch."""

NOISE = 0.25
"""Standard deviation of log(loss) from epoch to epoch, over sqrt(2). Well chosen
constant rates gave 0 to 0.19 and, near a perfect fit, 0.24; higher ones up to 0.55."""

ENDED = 0.05
"""Fraction of its highest value at which a learning rate schedule counts as ended."""


def too_few_steps(context: Context) -> Iterator[Finding]:
    """The loss was still falling when training stopped."""
    if not _can_improve(context) or _ended(context):
        return
    left = context.unexplained or 0.0
    losses, of_validation = _losses(context)
    limit = FALLING if left > 0.5 else FALLING_LITTLE
    if len(losses) >= TREND_EPOCHS:
        if len(losses) >= MANY_EPOCHS and left <= 0.5 and not of_validation:
            limit = MEMORIZING
        half = losses[len(losses) // 2 :]
        factor, significant = _trend(_logs(context, half))
        evidence = {
            "loss fell in the second half of the epochs to": percent(factor),
            "epochs": len(losses),
            "last loss": float(losses[-1]),
        }
    else:
        after = context.trial(TRIAL_EPOCHS, context.learning_rate())
        now = _logs(context, context.loss_now)
        # All but the first epoch: one lucky epoch is no trend.
        factor, significant = float(np.exp(_logs(context, max(after[1:])) - now)), True
        evidence = {
            "loss now": context.loss_now,
            f"loss after {TRIAL_EPOCHS} more epochs on a copy": after[-1],
        }
    if not (significant and factor < limit):
        return
    if context.validation is not None and not context.would_gain(TRIAL_EPOCHS):
        return
    yield Finding(
        "too_few_steps",
        "serious" if left > 0.5 else "warning",
        f"Training stopped while the loss was still falling, with {percent(left)} "
        f"{'wrong' if context.rows.labels is not None else 'unexplained'}. More steps "
        "help as long as the validation loss falls too.",
        evidence,
        f"model.fit(x, y, epochs={max(100, 5 * len(losses))}, validation_split=0.2)",
    )


def learning_rate(context: Context) -> Iterator[Finding]:
    """A rate at which the loss jumps or hardly moves, while another rate makes it fall
    immediately."""
    findings = _too_high_by_history(context)
    if findings or not _can_improve(context) or _ended(context):
        yield from findings
        return
    history = context.model.history
    logs = [] if history is None else history.history.get("loss", [])
    rate, now = context.learning_rate(), _logs(context, context.loss_now)
    left = context.unexplained or 0.0

    epochs = int(np.clip(-(-TRIAL_STEPS // context.steps_per_epoch), 1, SWEEP_EPOCHS))

    def fall(factor: float) -> float:
        """The decrease of log(loss) in a trial."""
        return float(now - _logs(context, context.trial(epochs, rate * factor)[-1]))

    same, low = fall(1.0), fall(1.0 / SWEEP)
    tried = {"learning rate": rate, "loss changes to": percent(float(np.exp(-same)))}
    if low - same > np.log(2.0) and low > -np.log(FALLING):
        tried[f"at {rate / SWEEP:.3g} to"] = percent(float(np.exp(-low)))
        yield _too_high(
            context,
            "Steps are too long to get any closer: at a tenth of the learning rate the "
            "loss falls at once.",
            tried,
        )
    elif left > 0.1:
        # If the loss has hardly moved, only a much higher rate can show it.
        stuck = len(logs) < 2 or logs[-1] > FALLING * logs[0]
        for factor in SLOW if stuck and left > 0.5 else SLOW[:1]:
            high = fall(factor)
            if high > max(-np.log(FALLING), TIMES_FASTER * same):
                tried[f"at {rate * factor:.3g} to"] = percent(float(np.exp(-high)))
                yield Finding(
                    "learning_rate_too_low",
                    "serious" if left > 0.5 else "warning",
                    f"Steps are short: at {factor:g} times the learning rate the loss "
                    "falls much faster.",
                    tried,
                    f"model.optimizer.learning_rate = {rate * factor:.3g}",
                )
                return


def _too_high_by_history(context: Context) -> list[Finding]:
    """Signs of too high a rate in the history, without a trial."""
    history, left = context.model.history, context.unexplained
    logs = np.asarray([] if history is None else history.history.get("loss", []))
    if not context.can_train or not context.stepped:
        return []
    if not (np.isfinite(logs).all() and np.isfinite(context.loss_now)):
        epoch = int(np.argmin(np.isfinite(logs))) + 1 if len(logs) else 1
        text = "The loss became NaN or infinite in training."
        return [_too_high(context, text, {"epoch": epoch})]
    if not len(logs) or left is None or left < GOOD:
        return []
    # A new network has large outputs for large inputs, whatever the rate.
    later = logs[1:] if any(unscaled_inputs(context)) else logs
    zero = context.loss_of_zero()
    if zero and len(later) and later.max() > EXPLODED * zero:
        return [
            _too_high(
                context,
                "In training the loss rose far above that of a model whose output is "
                "0: the first steps made the weights too large, and units may have "
                "died.",
                {"highest loss": float(later.max()), "loss of the output 0": zero},
            )
        ]
    half = _logs(context, logs[len(logs) // 2 :])
    if len(half) >= TREND_EPOCHS // 2:
        noise = float(np.std(np.diff(half)) / np.sqrt(2.0))
        if noise > NOISE:
            return [
                _too_high(
                    context,
                    "The loss goes up and down from epoch to epoch by "
                    f"{percent(float(np.expm1(noise)))}.",
                    {"std of log(loss)": noise, "epochs": len(half)},
                )
            ]
    return []


def _too_high(context: Context, message: str, evidence: dict[str, Any]) -> Finding:
    optimizer, left = context.model.optimizer, context.unexplained
    assert optimizer is not None
    lower = context.learning_rate() / SWEEP
    return Finding(
        "learning_rate_too_high",
        _severity(1.0 if left is None else left),
        message,
        {**evidence, "learning rate": context.learning_rate()},
        f'model.compile(optimizers.{type(optimizer).__name__}({lower:.3g}), "'
        f'{context.loss.name if context.loss else "mse"}")  '
        "# or a falling rate: optimizers.schedules.CosineDecay",
    )


def _severity(left: float) -> str:
    return "serious" if left > 0.5 else "warning" if left > 0.1 else "note"


def _can_improve(context: Context) -> bool:
    """Whether the optimizer has trained the model and the loss could still fall."""
    left = context.unexplained
    if not context.can_train or not context.stepped or left is None or left < GOOD:
        return False
    return bool(np.isfinite(context.loss_now))


def _ended(context: Context) -> bool:
    """Whether the learning rate schedule has ended: then steps are small on purpose,
    and more of them do not help."""
    optimizer, steps = context.model.optimizer, context.model.iterations
    assert optimizer is not None
    history = context.model.history
    seen = [] if history is None else history.history.get("learning_rate", [])
    first = optimizer.learning_rates(0, max(1, min(steps, 10_000)))
    highest = max([float(first.max()), *seen])
    return context.learning_rate() <= ENDED * highest


def _losses(context: Context) -> tuple[np.ndarray, bool]:
    """The loss of each epoch, and whether it is the validation loss, which is preferred
    if available."""
    history = context.model.history
    logs = {} if history is None else history.history
    loss, new = logs.get("loss", []), logs.get("val_loss", [])
    of_validation = bool(new) and len(new) == len(loss)
    losses = np.asarray(new if of_validation else loss, np.float64)
    return losses if np.isfinite(losses).all() else losses[:0], of_validation


def _logs(context: Context, loss: object) -> np.ndarray:
    """The logarithm of losses, so that differences are factors. A negative
    log-likelihood is one already: 0.5 log of the squared error, if the predicted
    variance matches."""
    assert context.loss is not None
    values = np.asarray(loss, np.float64)
    if context.loss.kind == "gaussian_nll":
        return 2.0 * values
    return np.log(np.maximum(values, 1e-30))


def _trend(y: np.ndarray) -> tuple[float, bool]:
    """Of the least-squares line through y: exp of its change from end to end, and
    whether its slope is more than `SIGMAS` standard errors below 0."""
    t = np.arange(len(y)) - (len(y) - 1) / 2.0
    slope = float((t * y).sum() / (t**2).sum())
    residuals = y - y.mean() - slope * t
    error = float(np.sqrt((residuals**2).sum() / max(len(y) - 2, 1) / (t**2).sum()))
    return float(np.exp(slope * (len(y) - 1))), -slope > SIGMAS * error


CHECKS = (too_few_steps, learning_rate)
