"""Noise whose size depends on the inputs, learned from the errors of held-out rows.

    variance(z) = softplus(c + sum over columns of smooth functions of one column)

It is kept only if the errors say so clearly: of a constant, monotone functions, and
functions that can also curve, the one with the smallest BIC is chosen, and its BIC must
be smaller than that of the constant by `EVIDENCE`. Heavy-tailed errors also look
heteroscedastic, so the gain is divided by the factor that their kurtosis adds.

Source: Davidian & Carroll 1987 (variance functions); Schwarz 1978 (BIC); Koenker 1981
(kurtosis).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.engines.reference.losses import MIN_VARIANCE
from kurve.estimators.waves import LINE
from kurve.solvers.linear import cholesky

if TYPE_CHECKING:
    from kurve.models import Sequential

EVIDENCE = 6.0
"""By how much the BIC must be smaller: then the odds are about 20 to 1."""

MIN_ROWS = 30
"""Minimum rows to look for heteroscedastic noise."""

MAX_ROWS = 20_000
"""Maximum rows to fit the functions to."""

BENDS = (0.7, 1.4)
"""Frequencies of the functions that can curve, per standard deviation of the column."""

CENTRES, GENTLE = (-1.2, 0.0, 1.2), 0.5
"""For a tanh network: centres of its units per column, in standard deviations, and the
weight of the second layer, in whose small range tanh is nearly a line."""

PENALTY = 0.05
"""Weight of the squared coefficients."""

STEPS = 50

MAX_COLUMNS = 10
"""Maximum number of columns: with more, one fits by chance."""


@dataclass(frozen=True)
class Waving:
    """Sines and cosines: lines, and waves of each column."""

    frequencies: np.ndarray

    def __call__(self, z: np.ndarray) -> np.ndarray:
        phases = np.einsum("nd,df->nf", z.astype(np.float64), self.frequencies)
        return np.hstack([np.sin(phases), np.cos(phases)])

    def scales(self) -> np.ndarray:
        """Sizes of the features; 0 for those that are not used."""
        size = np.abs(self.frequencies).max(axis=0)
        line = size <= LINE
        return np.concatenate([np.where(line, 1.0 / LINE, 1.0), np.where(line, 0, 1.0)])


@dataclass(frozen=True)
class Bending:
    """The features that two layers of tanh compute from each column."""

    columns: int

    def __call__(self, z: np.ndarray) -> np.ndarray:
        parts = [np.tanh(z.astype(np.float64) - centre) for centre in CENTRES]
        return np.asarray(np.tanh(GENTLE * np.hstack(parts)))

    def scales(self) -> np.ndarray:
        """Sizes by which features become comparable."""
        return np.full(self.columns * len(CENTRES), 1.0 / GENTLE)


Basis = Waving | Bending


@dataclass(frozen=True)
class Noise:
    """The variance: softplus(features @ kernel + constant).

    basis: of the features; kernel (K, T); constant (T,)
    """

    basis: Basis
    kernel: np.ndarray
    constant: np.ndarray


def learn(
    z: np.ndarray,
    errors: np.ndarray,
    weights: np.ndarray | None,
    bases: Sequence[Basis],
) -> Noise | None:
    """Noise that depends on the inputs, or None if it does not or too little is known.

    Args:
        z: (n, D) scaled inputs of held-out rows.
        errors: (n, T), in scaled units.
        weights: (n,) or None.
        bases: to choose from, simple ones first.
    """
    n = len(z)
    if n < MIN_ROWS or z.shape[1] > MAX_COLUMNS:
        return None
    part = slice(0, MAX_ROWS)
    z, errors = z[part], errors[part]
    counted = np.ones(len(z)) if weights is None else weights[part].astype(float)
    squares = np.maximum(errors**2, 1e-10)
    best: Noise | None = None
    most = EVIDENCE
    for basis in bases:
        features = basis(z) * basis.scales()
        used = int((basis.scales() > 0).sum())
        fits = [_fit(features, s, counted) for s in squares.T]
        gain = sum(gain for _, gain in fits)
        gain -= used * len(fits) * np.log(len(z)) + 2.0 * np.log(len(bases))
        if gain > most:
            coefficients = np.stack([c for c, _ in fits], axis=1)
            kernel = coefficients[:-1] * basis.scales()[:, None]
            best, most = Noise(basis, kernel, coefficients[-1]), gain
    return best


def waving(columns: int) -> list[Basis]:
    """The bases for a network on waves: of one column, and of all."""
    each = list(np.eye(columns)[:, :, None])
    groups = [*each, np.eye(columns)] if columns > 1 else each
    return [
        Waving(np.hstack([LINE * group, *(bend * group for bend in BENDS[:count])]))
        for count in range(len(BENDS) + 1)
        for group in groups
    ]


def _fit(
    features: np.ndarray, squares: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    """Coefficients, the constant last, and twice the gain in log likelihood over a
    constant variance, corrected for heavy tails; by Fisher scoring."""
    rows = np.hstack([features, np.ones((len(features), 1))])
    level = float(np.average(squares, weights=weights))
    start = np.zeros(rows.shape[1])
    start[-1] = _inverse_softplus(level)
    penalty = np.full(len(start), PENALTY)
    penalty[-1] = 0.0

    def cost(c: np.ndarray) -> float:
        v = _variance(rows, c)
        fit = float((weights * (np.log(v) + squares / v)).sum())
        return 0.5 * fit + 0.5 * float((penalty * c**2).sum())

    c, now = start, cost(start)
    first = now
    for _ in range(STEPS):
        raw = np.einsum("nk,k->n", rows, c)
        v = np.logaddexp(0.0, raw) + MIN_VARIANCE
        slope = np.exp(-np.logaddexp(0.0, -raw)) / v
        gradient = np.einsum(
            "nk,n->k", rows, 0.5 * weights * slope * (1.0 - squares / v)
        )
        gradient += penalty * c
        gram = np.einsum("nj,nk->jk", rows * (0.5 * weights * slope**2)[:, None], rows)
        factor = cholesky(gram, penalty + 1e-9 * len(rows))
        if factor is None:
            break
        step = factor.solve(gradient)
        size = 1.0
        while size > 1e-3 and not cost(c - size * step) <= now:
            size /= 2
        if size <= 1e-3:
            break
        c = c - size * step
        before, now = now, cost(c)
        if before - now < 1e-6 * len(rows):
            break
    ratio = squares / _variance(rows, c)
    kurtosis = float(np.average(ratio**2, weights=weights))
    kurtosis /= float(np.average(ratio, weights=weights)) ** 2
    return c, 2.0 * (first - now) / max(1.0, 0.5 * (kurtosis - 1.0))


def _variance(rows: np.ndarray, c: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        raw = np.einsum("nk,k->n", rows, c)
        return np.asarray(np.logaddexp(0.0, raw) + MIN_VARIANCE)


def _inverse_softplus(value: float) -> float:
    value = max(value, 1e-12)
    return value + float(np.log(-np.expm1(-value)))


def join(model: Sequential, mean: Sequential, extra: Noise) -> None:
    """Weights of a tanh network that computes the mean as one network does, and beside
    it the noise.

    Args:
        model: of two hidden layers, each as wide as those of both together; its output
            layer has the units of both.
        mean: the network of the mean.
        extra: of a `Bending` basis.
    """
    assert isinstance(extra.basis, Bending)
    columns = extra.basis.columns
    count = columns * len(CENTRES)
    first = np.tile(np.eye(columns), len(CENTRES))
    centres = -np.repeat(CENTRES, columns)
    blocks: list[tuple[np.ndarray, np.ndarray]] = [
        (first, centres),
        (GENTLE * np.eye(count), np.zeros(count)),
        (extra.kernel, extra.constant),
    ]
    own = mean.get_weights()
    weights: list[np.ndarray] = []
    for number, (kernel, bias) in enumerate(blocks):
        a, b = own[2 * number], own[2 * number + 1]
        if not number:  # both see the inputs
            both = np.hstack([a, kernel])
        else:
            both = np.zeros((len(a) + len(kernel), a.shape[1] + kernel.shape[1]))
            both[: len(a), : a.shape[1]] = a
            both[len(a) :, a.shape[1] :] = kernel
        weights += [both, np.concatenate([b, bias])]
    layered: Any = [w.astype(np.float32) for w in weights]
    model.set_weights(layered)
