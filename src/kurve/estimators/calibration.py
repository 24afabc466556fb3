"""The ratio of the errors of new rows to the predicted standard deviations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kurve.estimators import defaults, intervals
from kurve.estimators.bags import Held
from kurve.estimators.fitted import RegressionHead
from kurve.estimators.fitting import Sample

TINY = float(np.finfo(np.float64).tiny)


def measured_std_scale(
    mean: np.ndarray, std: np.ndarray, held_out: Sample
) -> np.ndarray:
    """The factor by which held-out errors exceed the predicted stds: the maximum
    likelihood estimate, shrunk towards 1 if there are few rows. A network is
    overconfident about its own training rows."""
    # Keep the sum of squares finite for targets that are constant in most rows.
    errors = intervals.errors(held_out.y, mean, std)
    squares = np.clip(errors, -1e150, 1e150) ** 2
    ratio = np.average(squares, axis=0, weights=held_out.weights)
    rows, prior = len(held_out), defaults.PRIOR_ROWS
    return np.sqrt((rows * ratio + prior) / (rows + prior))


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def averaging(head: RegressionHead, held: Held, mean: np.ndarray) -> np.ndarray:
    """The factor (T,) from the stds of one network of each kind, as measured on the
    held-out rows, to those of the whole bag.

    Averaging the copies of a kind removes their variance from the error, but adds it to
    the predicted std, as disagreement. They disagree less on training rows than on new
    ones, so the intervals remain slightly too wide. With few held-out rows, whose
    errors are too small because of early stopping, the correction is smaller.

    Args:
        head: with the shares of the kinds.
        mean: (n, T) of the held-out rows.
    """
    assert held.known is not None and head.weights is not None
    kinds, copies = held.known.shape[:2]
    size = head.outputs.deviation
    each = [head.moments(held.known[:, copy]) for copy in range(copies)]
    means = np.stack([m for m, _ in each]) / size
    removed = means.var(axis=0).mean(axis=0)
    squares = intervals.errors(held.sample.y, mean, size) ** 2
    error = np.average(squares, axis=0, weights=held.sample.weights)
    left = 1.0 - removed / np.maximum(error, TINY)
    whole = replace(head, weights=np.repeat(head.weights / copies, copies))
    outputs = held.known.reshape(kinds * copies, *held.known.shape[2:])
    one = np.stack([std for _, std in each]).mean(axis=0)
    ratio = (one / whole.moments(outputs)[1]).mean(axis=0)
    factor = np.sqrt(np.clip(left, 0.25, 1.0)) * np.clip(ratio, 0.5, 1.0)
    rows = len(held.sample)
    trust = rows / (rows + defaults.AVERAGING_ROWS)
    return np.where(np.isfinite(factor), 1.0 - trust * (1.0 - factor), 1.0)
