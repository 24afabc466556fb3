"""`levenberg_marquardt`: small networks by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.entries import entry
from kurve.core.locks import exclusive
from kurve.errors import lookup
from kurve.losses import MeanSquaredError
from kurve.solvers.base import FitMonitor, SolverResult, Task, Watch, prepare
from kurve.solvers.least_squares import Options, StopReason, descend
from kurve.solvers.linear import Jacobian, diagonal, dot, factor, quadratic

if TYPE_CHECKING:
    from kurve.models import Sequential

MOST_PARAMETERS = 3000
"""J^T J then has 72 MB, there are up to three such matrices; a step takes seconds."""

BENT_UP_TO = 500
"""Parameters up to which steps are bent: each bend costs one more solution."""

BLOCK = 64 * 2**20
"""Bytes of J that are in memory at a time."""

FIRST_RIDGE = 1e-3
"""Of Bayesian regularisation, as a share of the mean square of J's columns."""

FIRST_STEPS, SLOW = 8, 1e-3
"""Steps during which that ridge stays, unless one lowers the error by less than the
share SLOW: to the evidence a network that has learned nothing yet is one that cannot
learn, and the ridge would keep it so (18 of 20 networks of a sine with 60 points; with
these steps, none)."""

SURPRISE = 0.1
"""By how much 10 steps must change the logarithm of the evidence, (N / 2) log C, while
the ridge follows it: less is nothing that the data could tell. On noisy curves this
saves half the steps, and no error on test data was more than 2 % higher."""

RULES = Options(offset=1e-7, step=3e-8, decrease=1e-9, stall=1e-6, even=True)
"""The engine computes in float32. Many parameters of a network hardly count at times;
damped each by its own column of J, they run away: the sine of docs/benchmarks then
takes twice the steps."""


@entry
@exclusive("levenberg_marquardt")
def levenberg_marquardt(
    model: Sequential,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    max_iterations: int = 300,
    regularization: str | None = None,
    validation_data: Sequence[Any] | None = None,
    patience: int | None = None,
    callback: Watch | None = None,
    verbose: int = 0,
) -> SolverResult:
    """Train a small network by Levenberg and Marquardt's method, all rows at once.

    Where Adam follows the slope of the loss, this solves in every step for the place
    where the linearised network fits best. A step costs rows x parameters^2, so it is
    for up to a few hundred parameters, and thousands at most; there it needs tens of
    steps for what takes Adam thousands.

    Args:
        model: built or not; compiled with the mean squared error or not at all. L2
            regularizers of its layers count; dropout is off.
        x, y, sample_weight: as in `Sequential.fit`.
        max_iterations: most steps.
        regularization: None, or "bayesian": a penalty on large weights whose strength
            follows from the data, step by step, by the evidence, once the first steps
            have shown whether there is something to learn. Where data is scarce or
            noisy, the network then does not follow the noise.
        validation_data: (x, y) or (x, y, sample_weight): the model ends with the
            weights that were best on it.
        patience: stop after this many steps without a better validation loss.
        callback: function (iteration, logs), called after each step; the model has the
            weights of that step. What is true ends the training.
        verbose: 0 silent, 1 one line a step.

    Raises:
        TypeError, ValueError: a wrong argument, another loss, too many parameters;
            nothing was changed.
        KeyboardInterrupt: the model keeps the best weights so far.

    Source: Levenberg 1944; Marquardt 1963; Hagan & Menhaj 1994 (networks); Nielsen 1999
    (damping); MacKay 1992, Foresee & Hagan 1997 (regularization).

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> from kurve.layers import Dense
        >>> model = kurve.Sequential([kurve.Input((1,)), Dense(4, "tanh"), Dense(1)])
        >>> result = kurve.solvers.levenberg_marquardt(model, x, y)
        >>> result.loss < 1e-3
        True
    """
    where = "levenberg_marquardt"
    if regularization is not None:
        lookup(where, "regularization", regularization, {"bayesian": None})
    track = FitMonitor(where, max_iterations, patience, callback, verbose)
    task = prepare(where, model, x, y, sample_weight, validation_data, _refuse)
    track.begin(task)
    problem = Network(task, regularization == "bayesian")
    start = task.start()
    if problem.residuals(start) is None:
        raise ValueError(
            f"[{where}] the model's outputs must be finite. Received: weights for "
            "which they are not. Try other initial weights, or scaled inputs."
        )
    bends = problem.one_block and len(start) <= BENT_UP_TO
    rules = RULES._replace(bends=bends)
    if problem.bayesian:
        rules = rules._replace(stall=max(RULES.stall, SURPRISE / problem.terms))
    path = descend(problem, start, rules)
    end = StopReason(False, "")
    try:
        while not track.end:
            try:
                p = next(path)
            except StopIteration as stop:
                end = stop.value
                break
            track.add(p, problem.loss)
    finally:
        track.keep_best()
    result = track.result(end.converged, track.end or end.message)
    result.effective_parameters = problem.effective
    return result


def _refuse(task: Task) -> None:
    """What this method cannot do."""
    where = task.where
    if not isinstance(task.loss, MeanSquaredError):
        raise ValueError(
            f"[{where}] the loss must be the mean squared error, because the method "
            f"is one of least squares. Received: {task.loss.name}. "
            "Try kurve.solvers.lbfgs, which takes any loss."
        )
    count = len(task.free)
    if count > MOST_PARAMETERS:
        raise ValueError(
            f"[{where}] the model must have at most {MOST_PARAMETERS:,} trainable "
            f"parameters, because each step solves for all of them at once. Received: "
            f"{count:,}, for a matrix of {count**2 * 8 / 2**30:.1f} GiB. "
            "Try kurve.solvers.lbfgs, or fit with Adam."
        )
    for slot in task.slots:
        if slot.l1:
            raise ValueError(
                f"[{where}] penalties must be squares. Received: an L1 regularizer of "
                f"{slot.name}. Try regularizers.L2, or kurve.solvers.lbfgs."
            )


class Network:
    """The problem of `kurve.solvers.least_squares`: r = sqrt(w / (n O)) (prediction -
    y), so that C is half the loss. A ridge stands for L2 penalties and for Bayesian
    regularisation: C = (|r|^2 + sum of ridge p^2) / 2.

    The engine computes predictions and J in float32; sums and solutions are float64.
    Points are rounded to float32, so that what is compared is what the model will be.
    """

    def __init__(self, task: Task, bayesian: bool) -> None:
        self.task, self.bayesian = task, bayesian
        n, outputs = len(task.x), task.y[0].size
        weights = np.ones(n) if task.weights is None else task.weights.astype(float)
        self.terms = max(float(weights.sum()) * outputs, 1.0)
        self.root = np.repeat(np.sqrt(weights / (n * outputs)), outputs)
        self.penalty = np.concatenate([np.full(s.size, s.l2) for s in task.slots])
        self.ridge = self.penalty
        scaled = self.root * task.y.ravel()
        self.rounding = 2e-7 * float(np.sqrt(dot(scaled, scaled)))
        self.effective: float | None = None
        self.steps, self.error = 0, np.inf
        self.loss = np.nan
        self.rows = max(1, BLOCK // (12 * outputs * task.program.plan.params_size))
        self.one_block = n <= self.rows

    @np.errstate(all="ignore")
    def residuals(self, p: np.ndarray) -> np.ndarray | None:
        prediction = self.task.program.predict(self.task.at(p), self.task.x)
        r = self.root * (prediction.astype(np.float64) - self.task.y).ravel()
        return r if np.isfinite(r).all() else None

    def cost(self, p: np.ndarray, residuals: np.ndarray) -> float:
        return 0.5 * (dot(residuals, residuals) + float(self.ridge @ p**2))

    def allows(self, p: np.ndarray) -> bool:
        return True

    def project(self, p: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return p.astype(np.float32).astype(np.float64)

    @np.errstate(all="ignore")
    def linearize(self, p: np.ndarray) -> Tangent | None:
        task, free = self.task, self.task.free
        state, outputs = task.at(p), task.y[0].size
        residuals = np.empty(len(self.root))
        square, back = np.zeros((len(free), len(free))), np.zeros(len(free))
        jacobian = None
        for first in range(0, len(task.x), self.rows):
            rows = slice(first, first + self.rows)
            y, raw = task.program.jacobian(state, task.x[rows])
            part = slice(first * outputs, first * outputs + y.size)
            jacobian = Jacobian(raw, self.root[part], free)
            r = self.root[part] * (y.astype(np.float64) - task.y[rows]).ravel()
            residuals[part] = r
            jacobian.add_square(square)
            back += jacobian.back(r)
        error = dot(residuals, residuals)
        if not np.isfinite(error + diagonal(square).sum() + back.sum()):
            return None
        self.loss = error + float(self.penalty @ p**2)
        if self.bayesian:
            self._weigh_evidence(square, error, p)
        here = Tangent(residuals, square, back, self.ridge, p)
        here.jacobian = jacobian if self.one_block else None
        return here

    def _weigh_evidence(self, square: np.ndarray, error: float, p: np.ndarray) -> None:
        """The ridge that makes data and weights most probable together.

        With E_D = |r|^2 in units of one term and E_W = |p|^2, alpha = gamma / (2 E_W)
        and beta = (N - gamma) / (2 E_D); the ridge is alpha / beta, and gamma = P -
        ridge tr (J^T J + ridge)^-1 counts the parameters that the data determines.
        """
        count = float(len(p))
        falls = error < (1.0 - SLOW) * self.error
        self.steps, self.error = self.steps + 1, error
        if self.effective is not None and self.steps <= FIRST_STEPS and falls:
            return
        if self.effective is None:  # nothing is known: a little holds the first steps
            self.effective = count
            self.ridge = self.penalty + FIRST_RIDGE * float(np.mean(diagonal(square)))
            return
        whole = factor(square, self.ridge)
        if whole is None:
            return
        shares = whole.inverse_diagonal() * (self.ridge - self.penalty)
        self.effective = gamma = min(max(count - float(shares.sum()), 1e-3), count)
        noise = error / max(self.terms - gamma, 1.0)
        self.ridge = self.penalty + gamma * noise / max(float(p @ p), 1e-12)


class Tangent:
    """The linear model by its normal equations: J itself may not fit into memory."""

    jacobian: Jacobian | None

    def __init__(
        self,
        residuals: np.ndarray,
        square: np.ndarray,
        back: np.ndarray,
        ridge: np.ndarray,
        p: np.ndarray,
    ) -> None:
        self.residuals, self.ridge = residuals, ridge
        self.cost = 0.5 * (dot(residuals, residuals) + float(ridge @ p**2))
        self.square, self.gradient = square, back + ridge * p
        diagonal(square)[:] += ridge
        self.norms = np.sqrt(diagonal(square))
        self.damping = np.nan

    def prepare(self, scale: np.ndarray) -> float:
        self.scale = scale
        if not self.cost:
            return 0.0
        # The largest cosine between the residuals and a column of J: a lower bound that
        # costs nothing (Moré 1978).
        slopes = np.abs(self.gradient) / np.where(self.norms > 0.0, self.norms, 1.0)
        return float(slopes.max()) / float(np.sqrt(2.0 * self.cost))

    def step(self, damping: float) -> np.ndarray:
        return self._solve(damping, self.gradient)

    def geodesic_correction(self, damping: float, curvature: np.ndarray) -> np.ndarray:
        assert self.jacobian is not None
        return self._solve(damping, self.jacobian.back(curvature))

    def _solve(self, damping: float, back: np.ndarray) -> np.ndarray:
        if damping != self.damping:
            self.damping = damping
            self.damped = factor(self.square, damping * self.scale**2)
        if self.damped is None:
            return np.full(len(back), np.nan)
        return -self.damped.solve(back)

    def jvp(self, step: np.ndarray) -> np.ndarray:
        assert self.jacobian is not None
        return self.jacobian.times(step)

    def predicted_reduction(self, step: np.ndarray) -> float:
        return -float(self.gradient @ step) - 0.5 * quadratic(self.square, step)
