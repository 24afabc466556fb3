"""The fit of sines and cosines to the rows of a table (see `estimators.waves`), with
what the race of `estimators.curves` needs from it: predictions for held-out rows, and
the weights of the equivalent network."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.estimators import noise
from kurve.estimators.training import Rows, first_of, rows_of
from kurve.estimators.waves import SAMPLE, Search, Solution, Sums, Waves, solve, sums
from kurve.models import Sequential


class WaveFit:
    """Bayesian regression on waves, with the prior that maximizes the evidence.

    Args:
        rows: scaled.
        seed: of random frequencies, and of the rows on which the prior is chosen.
    """

    def __init__(self, rows: Rows, seed: int) -> None:
        z = rows[0]
        self.rows = [rows]
        self.waves = Waves(z, seed)
        search = Search(self.waves, *first_of(rows, SAMPLE))
        self.prior = search.best()
        self.spread = self.waves.spread(self.prior)
        self.frequencies = self.waves.frequencies(self.prior)
        self.total = self._sums(rows)
        self._solve()

    def _solve(self) -> None:
        found = solve(self.total, self.spread)
        assert found is not None  # the search has solved it
        self.solution: Solution = found
        self.noise = found.noise

    def _features(self, z: np.ndarray) -> np.ndarray:
        return self.waves.features(z, self.prior)

    def _sums(self, rows: Rows) -> Sums:
        z, t, weights = rows
        return sums(self._features(z), t, weights)

    def add(self, rows: Rows) -> None:
        """Learn from more rows."""
        self.rows.append(rows)
        more = self._sums(rows)
        self.total = self.total + more
        self._solve()

    def predict(self, z: np.ndarray) -> np.ndarray:
        return _times(self._features(z), self.solution.amplitudes)

    def without_folds(self, fold_of: np.ndarray, tried: int) -> np.ndarray:
        """Predictions for the rows of each fold from the others."""
        z, t, _ = self.rows[0]
        means = np.zeros(t.shape)
        for fold in range(tried):
            inside = fold_of == fold
            part = self._sums(rows_of(self.rows[0], inside))
            found = solve(self.total - part, self.spread)
            found = found or self.solution
            means[inside] = _times(self._features(z[inside]), found.amplitudes)
        return means

    def leave_one_out(self) -> tuple[np.ndarray, float]:
        """Predictions for each row from the others, and the degrees of freedom of the
        noise: the number of rows minus the effective number of parameters."""
        z, t, weights = self.rows[0]
        features = self._features(z)
        covariance = self.solution.covariance()
        leverage = np.einsum("np,np->n", _times(features, covariance), features)
        if weights is not None:
            leverage = leverage * weights
        freedom = len(z) - float(leverage.sum())
        rest = np.maximum(1.0 - leverage, 1e-3)[:, None]
        means = _times(features, self.solution.amplitudes)
        return t - (t - means) / rest, freedom

    def amplitudes(self, member: int, seed: int) -> np.ndarray:
        """Those of a member of an ensemble: the first is the most probable one, the
        others see the rows with random weights.

        Source: Rubin 1981 (the Bayesian bootstrap).
        """
        if not member:
            return self.solution.amplitudes
        rng = np.random.default_rng(seed)
        total: Sums | None = None
        for z, t, weights in self.rows:
            drawn = rng.standard_exponential(len(z))
            drawn = drawn if weights is None else drawn * weights
            part = self._sums((z, t, drawn.astype(np.float32)))
            total = part if total is None else total + part
        assert total is not None
        found = solve(total, self.spread)
        return (found or self.solution).amplitudes


def set_waves(
    model: Sequential, amplitudes: np.ndarray, count: int, extra: noise.Noise | None
) -> None:
    """The weights of the output layer.

    Args:
        amplitudes: (2 count + 1, T): sines, cosines, constant.
        extra: the unequal noise, whose frequencies follow the others.
    """
    output: Any = model.layers[-1]
    inputs, units = output.kernel.shape
    half, targets = inputs // 2, amplitudes.shape[1]
    kernel, bias = np.zeros((inputs, units)), np.zeros(units)
    kernel[:count, :targets] = amplitudes[:count]
    kernel[half : half + count, :targets] = amplitudes[count:-1]
    bias[:targets] = amplitudes[-1]
    if extra is not None:
        sines, cosines = np.split(extra.kernel, 2)
        kernel[count:half, targets:] = sines
        kernel[half + count :, targets:] = cosines
        bias[targets:] = extra.constant
    output.kernel.assign(kernel.astype(np.float32))
    output.bias.assign(bias.astype(np.float32))


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b with the same bits for any number of threads."""
    return np.einsum("np,pt->nt", a, b, dtype=np.float64)
