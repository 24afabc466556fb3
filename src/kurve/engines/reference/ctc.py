"""The loss of sequences that are not aligned with their labels: connectionist temporal
classification.

Source: Graves et al. 2006, equations 6 to 16.
"""

from __future__ import annotations

import math

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Arrays, Cache, Gradients
from kurve.plan import Op


def ctc_forward(
    op: Op, xs: Arrays, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = -log p(labels), the sum over all alignments, of logits (..., T, C), labels
    (..., N), numbers of labels (...) and of steps (...). A sequence too short for its
    labels has y = inf; numbers that are not valid labels or lengths give NaN."""
    x, labels, counts, steps = xs
    with np.errstate(all="ignore"):
        sequences = Sequences(op, x, labels, counts, steps)
        y = -sequences.forwards()
        y = np.where(sequences.right, y, np.nan).astype(x.dtype)
    return y.reshape(counts.shape), (sequences, [v.shape for v in xs])


def ctc_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[Arrays, Gradients]:
    """dx = dy (softmax(x) - the probability of each label at each step, given all), 0
    after the steps that count and where y = inf; 0 for the other values."""
    sequences, shapes = cache
    with np.errstate(all="ignore"):
        dx = sequences.backwards() * dy.astype(np.float64).reshape(-1, 1, 1)
    dx[~sequences.right] = np.nan
    found = [np.zeros(shape, dy.dtype) for shape in shapes[1:]]
    return [dx.reshape(shapes[0]).astype(dy.dtype), *found], {}


class Sequences:
    """R sequences with their labels, in float64. The states of one are its labels with
    blanks before, between and after them."""

    def __init__(self, op: Op, x: np.ndarray, labels: np.ndarray, *sizes: np.ndarray):
        self.T, self.C = x.shape[-2:]
        self.N, blank = labels.shape[-1], int(op.attrs["blank"])
        x = x.reshape(-1, self.T, self.C).astype(np.float64)
        R = len(x)
        labels = labels.reshape(R, self.N)
        counts, steps = (size.reshape(R) for size in sizes)
        self.right = (counts >= 0) & (counts < self.N + 1)
        self.right &= (steps >= 0) & (steps < self.T + 1)
        self.counts, self.steps = (
            np.where(self.right, size, 0).astype(np.int64) for size in (counts, steps)
        )
        counted = np.arange(self.N) < self.counts[:, None]
        known = (labels >= 0) & (labels < self.C)
        self.right &= (known | ~counted).all(axis=1)
        self.states = np.full((R, 2 * self.N + 1), blank)
        self.states[:, 1::2] = np.where(known & counted, labels, blank)
        # Alignments leave a blank out between labels that differ.
        self.skips = np.zeros(self.states.shape, bool)
        self.skips[:, 2:] = self.states[:, 2:] != self.states[:, :-2]
        self.inside = np.arange(2 * self.N + 1) <= 2 * self.counts[:, None]
        most = x.max(axis=-1, keepdims=True)
        self.log_p = x - most - np.log(np.exp(x - most).sum(axis=-1, keepdims=True))
        at = np.broadcast_to(self.states[:, None], (R, self.T, 2 * self.N + 1))
        self.emitted = np.take_along_axis(self.log_p, at, axis=2)

    def forwards(self) -> np.ndarray:
        """log p of the labels. alpha_t(k): of the first t + 1 steps, ending in k."""
        R = len(self.states)
        self.alpha = np.full(self.emitted.shape, -math.inf)
        a = np.full(self.states.shape, -math.inf)
        a[:, :2] = 0.0
        for t in range(self.T):
            if t:
                a = np.logaddexp(a, self._moved(a, 1))
                two = np.where(
                    self.skips, self._moved(self.alpha[:, t - 1], 2), -np.inf
                )
                a = np.logaddexp(a, two)
            a = np.where(self.inside, a + self.emitted[:, t], -np.inf)
            self.alpha[:, t] = a
        last = self.alpha[np.arange(R), np.maximum(self.steps - 1, 0)]
        ends = np.stack([2 * self.counts, 2 * self.counts - 1], axis=1)
        parts = np.take_along_axis(last, np.maximum(ends, 0), axis=1)
        parts[:, 1] = np.where(self.counts > 0, parts[:, 1], -np.inf)
        empty = np.where(self.counts > 0, -np.inf, 0.0)
        total = np.logaddexp(parts[:, 0], parts[:, 1])
        self.total: np.ndarray = np.where(self.steps > 0, total, empty)
        return self.total

    def backwards(self) -> np.ndarray:
        """The gradient of -log p. beta_t(k): log p of the steps after t, from k."""
        dx = np.zeros(self.log_p.shape)
        k, ends = np.arange(2 * self.N + 1), 2 * self.counts[:, None]
        last = np.where((k == ends) | (k == ends - 1), 0.0, -np.inf)
        b = np.full(self.states.shape, -math.inf)
        for t in reversed(range(self.T)):
            if t + 1 < self.T:
                c = b + self.emitted[:, t + 1]
                two = np.where(self.skips, c, -np.inf)
                b = np.logaddexp(
                    np.logaddexp(c, self._moved(c, -1)), self._moved(two, -2)
                )
            b = np.where((self.steps - 1 == t)[:, None], last, b)
            p = np.exp(self.alpha[:, t] + b - self.total[:, None])
            dx[:, t] = np.exp(self.log_p[:, t])
            rows = np.broadcast_to(np.arange(len(p))[:, None], p.shape)
            np.subtract.at(dx[:, t], (rows, self.states), np.where(self.inside, p, 0.0))
            dx[(self.steps <= t) | ~np.isfinite(self.total), t] = 0.0
        return dx

    @staticmethod
    def _moved(a: np.ndarray, by: int) -> np.ndarray:
        """The value of the state that is the given number of places before each
        state."""
        found = np.full(a.shape, -math.inf)
        if by > 0:
            found[:, by:] = a[:, :-by]
        else:
            found[:, :by] = a[:, -by:]
        return found
