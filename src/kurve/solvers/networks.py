"""`levenberg_marquardt`: least-squares training of small networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.entries import entry
from kurve.core.inside import network_of
from kurve.core.locks import exclusive
from kurve.errors import lookup
from kurve.losses import MeanSquaredError
from kurve.solvers.base import (
    FitMonitor,
    FitProblem,
    IterationCallback,
    SolverResult,
    prepare,
)
from kurve.solvers.least_squares import Options, descend
from kurve.solvers.linear import Jacobian, cholesky, diagonal, dot, quadratic_form

if TYPE_CHECKING:
    from kurve.models import Sequential

MAX_PARAMETERS = 3000
"""J^T J then takes 72 MB, and there are up to three such matrices; a step takes
seconds."""

ACCELERATED_UP_TO = 500
"""Parameters up to which steps get a geodesic correction, which costs one more
solve."""

BLOCK = 64 * 2**20
"""Maximum bytes of J in memory at a time."""

FIRST_RIDGE = 1e-3
"""Initial ridge of Bayesian regularization, relative to the mean square of J's
columns."""

FIRST_STEPS, SLOW = 8, 1e-3
"""Steps during which that ridge stays, unless one of them lowers the error by less than
the fraction SLOW. By the evidence, a network that has not learned anything yet cannot
be told from one that cannot learn, and the ridge would keep it that way (18 of 20
networks on a sine with 60 points; none with these steps)."""

EVIDENCE_CHANGE = 0.1
"""By how much 10 steps must change the log evidence, (N / 2) log C, while the ridge
follows it: the data cannot resolve smaller changes. On noisy curves this saves
half the steps, at a test error at most 2 % higher."""

OPTIONS = Options(offset=1e-7, step=3e-8, decrease=1e-9, stall=1e-6, uniform=True)
"""The engine computes in float32. Many parameters of a network temporarily have little
influence; if each is damped by its own column of J, they diverge: the sine of
docs/benchmarks then takes twice as many steps."""


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
    callback: IterationCallback | None = None,
    verbose: int = 0,
) -> SolverResult:
    """Train a small network by the Levenberg-Marquardt method, with all rows at once.

    Where Adam follows the gradient of the loss, each step here solves for the weights
    at which the linearized network fits best. A step costs rows x parameters^2, so the
    method is for up to a few hundred parameters, and thousands at most; there it needs
    tens of steps where Adam needs thousands.

    Args:
        model: built or not; compiled with the mean squared error or not at all. L2
            regularizers of its layers count; dropout is off.
        x, y, sample_weight: as in `Sequential.fit`.
        max_iterations: maximum number of steps.
        regularization: None, or "bayesian": a penalty on large weights whose strength
            is inferred from the data at every step, by the evidence, after the first
            steps have shown whether there is something to learn. With scarce or noisy
            data, the network then does not fit the noise.
        validation_data: (x, y) or (x, y, sample_weight): the model ends with the
            weights that were best on it.
        patience: stop after this many steps without a better validation loss.
        callback: function (iteration, logs), called after each step, when the model has
            the weights of that step. A true result stops the training.
        verbose: 0 silent, 1 one line per step.

    Raises:
        TypeError, ValueError: an invalid argument, another loss, too many parameters;
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
    monitor = FitMonitor(where, max_iterations, patience, callback, verbose)
    fit = prepare(where, model, x, y, sample_weight, validation_data, _check)
    problem = NetworkProblem(fit, regularization == "bayesian")
    start = fit.start()
    if problem.residuals(start) is None:
        raise ValueError(
            f"[{where}] the model's outputs must be finite. Received: weights for "
            "which they are not. Try other initial weights, or scaled inputs."
        )
    accelerate = problem.one_block and len(start) <= ACCELERATED_UP_TO
    options = OPTIONS._replace(accelerate=accelerate)
    if problem.bayesian:
        stall = max(options.stall, EVIDENCE_CHANGE / problem.terms)
        options = options._replace(stall=stall)
    path = descend(problem, start, options)
    result = monitor.run(fit, path, lambda p: (p, problem.loss))
    result.effective_parameters = problem.effective
    return result


def _check(fit: FitProblem) -> None:
    """Raise an error if this method cannot solve the problem."""
    where = fit.where
    if not isinstance(fit.loss, MeanSquaredError):
        raise ValueError(
            f"[{where}] the loss must be the mean squared error, because the method "
            f"solves least-squares problems. Received: {fit.loss.name}. "
            "Try kurve.solvers.lbfgs, which takes any loss."
        )
    if network_of(fit.model).penalized:
        raise ValueError(
            f"[{where}] only penalties on weights are supported. Received: a layer "
            "that adds to the loss, such as by activity_regularizer. "
            "Try kurve.solvers.lbfgs."
        )
    if any(network_of(fit.model).masked):
        raise ValueError(
            f"[{where}] the output must not be masked, because the method uses "
            "the residual of every step. Received: an output with a mask. Try "
            "kurve.solvers.lbfgs, or a layer that drops the mask, such as Reshape."
        )
    count = len(fit.free)
    if count > MAX_PARAMETERS:
        raise ValueError(
            f"[{where}] the model must have at most {MAX_PARAMETERS:,} trainable "
            f"parameters, because each step solves for all of them at once. Received: "
            f"{count:,}, for a matrix of {count**2 * 8 / 2**30:.1f} GiB. "
            "Try kurve.solvers.lbfgs, or fit with Adam."
        )
    for slot in fit.slots:
        if slot.l1 or slot.penalty is not None:
            raise ValueError(
                f"[{where}] penalties must be quadratic. Received: an L1 or other "
                f"regularizer of {slot.name}. "
                "Try regularizers.L2, or kurve.solvers.lbfgs."
            )


class NetworkProblem:
    """The problem of `kurve.solvers.least_squares`: r = sqrt(w / (n O)) (prediction -
    y), so that C is half the loss. A ridge stands for L2 penalties and for Bayesian
    regularization: C = (|r|^2 + sum of ridge p^2) / 2.

    The engine computes predictions and J in float32; sums and solutions are float64.
    Points are rounded to float32, so that costs are those of the model's weights.
    """

    def __init__(self, fit: FitProblem, bayesian: bool) -> None:
        self.fit, self.bayesian = fit, bayesian
        n, outputs = len(fit.x), fit.y[0].size
        weights = np.ones(n) if fit.weights is None else fit.weights.astype(float)
        self.terms = max(float(weights.sum()) * outputs, 1.0)
        self.sqrt_weights = np.repeat(np.sqrt(weights / (n * outputs)), outputs)
        self.penalty = np.concatenate([np.full(s.size, s.l2) for s in fit.slots])
        self.ridge = self.penalty
        scaled = self.sqrt_weights * fit.y.ravel()
        self.rounding = 2e-7 * float(np.sqrt(dot(scaled, scaled)))
        self.effective: float | None = None
        self.steps, self.error = 0, np.inf
        self.loss = np.nan
        self.rows = max(1, BLOCK // (12 * outputs * fit.program.plan.params_size))
        self.one_block = n <= self.rows

    @np.errstate(all="ignore")
    def residuals(self, p: np.ndarray) -> np.ndarray | None:
        prediction = self.fit.program.predict(self.fit.at(p), self.fit.x)
        r = self.sqrt_weights * (prediction.astype(np.float64) - self.fit.y).ravel()
        return r if np.isfinite(r).all() else None

    def cost(self, p: np.ndarray, residuals: np.ndarray) -> float:
        return 0.5 * (dot(residuals, residuals) + float(self.ridge @ p**2))

    def allows(self, p: np.ndarray) -> bool:
        return True

    def project(self, p: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return p.astype(np.float32).astype(np.float64)

    @np.errstate(all="ignore")
    def linearize(self, p: np.ndarray) -> NormalEquations | None:
        fit, free = self.fit, self.fit.free
        state, outputs = fit.at(p), fit.y[0].size
        residuals = np.empty(len(self.sqrt_weights))
        gram, gradient = np.zeros((len(free), len(free))), np.zeros(len(free))
        jacobian = None
        for first in range(0, len(fit.x), self.rows):
            rows = slice(first, first + self.rows)
            y, raw = fit.program.jacobian(state, fit.x[rows])
            part = slice(first * outputs, first * outputs + y.size)
            jacobian = Jacobian(raw, self.sqrt_weights[part], free)
            r = self.sqrt_weights[part] * (y.astype(np.float64) - fit.y[rows]).ravel()
            residuals[part] = r
            jacobian.add_gram(gram)
            gradient += jacobian.vjp(r)
        error = dot(residuals, residuals)
        if not np.isfinite(error + diagonal(gram).sum() + gradient.sum()):
            return None
        self.loss = error + float(self.penalty @ p**2)
        if self.bayesian:
            self._update_ridge(gram, error, p)
        here = NormalEquations(residuals, gram, gradient, self.ridge, p)
        here.jacobian = jacobian if self.one_block else None
        return here

    def _update_ridge(self, gram: np.ndarray, error: float, p: np.ndarray) -> None:
        """The ridge that makes data and weights most probable together.

        With E_D = |r|^2 in units of one term and E_W = |p|^2, alpha = gamma / (2 E_W)
        and beta = (N - gamma) / (2 E_D); the ridge is alpha / beta, and gamma = P -
        ridge tr (J^T J + ridge)^-1 counts the parameters that the data determines.

        Source: MacKay 1992, "Bayesian interpolation"; Foresee & Hagan 1997.
        """
        count = float(len(p))
        falls = error < (1.0 - SLOW) * self.error
        self.steps, self.error = self.steps + 1, error
        if self.effective is not None and self.steps <= FIRST_STEPS and falls:
            return
        if self.effective is None:  # nothing is known: a small one for the first steps
            self.effective = count
            self.ridge = self.penalty + FIRST_RIDGE * float(np.mean(diagonal(gram)))
            return
        factor = cholesky(gram, self.ridge)
        if factor is None:
            return
        undetermined = factor.inverse_diagonal() * (self.ridge - self.penalty)
        gamma = min(max(count - float(undetermined.sum()), 1e-3), count)
        self.effective = gamma
        noise = error / max(self.terms - gamma, 1.0)
        self.ridge = self.penalty + gamma * noise / max(float(p @ p), 1e-12)


class NormalEquations:
    """The linear model through J^T J, because J itself may not fit in memory.

    Args:
        residuals, ridge, p: those of the problem.
        gram, gradient: J^T J and J^T r, without the ridge, which is added to both.
    """

    jacobian: Jacobian | None

    def __init__(
        self,
        residuals: np.ndarray,
        gram: np.ndarray,
        gradient: np.ndarray,
        ridge: np.ndarray,
        p: np.ndarray,
    ) -> None:
        self.residuals, self.ridge = residuals, ridge
        self.cost = 0.5 * (dot(residuals, residuals) + float(ridge @ p**2))
        self.gram, self.gradient = gram, gradient + ridge * p
        diagonal(gram)[:] += ridge
        self.norms = np.sqrt(diagonal(gram))
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
        return self._solve(damping, self.jacobian.vjp(curvature))

    def _solve(self, damping: float, gradient: np.ndarray) -> np.ndarray:
        if damping != self.damping:
            self.damping = damping
            self.factor = cholesky(self.gram, damping * self.scale**2)
        if self.factor is None:
            return np.full(len(gradient), np.nan)
        return -self.factor.solve(gradient)

    def jvp(self, step: np.ndarray) -> np.ndarray:
        assert self.jacobian is not None
        return self.jacobian.jvp(step)

    def predicted_reduction(self, step: np.ndarray) -> float:
        return -float(self.gradient @ step) - 0.5 * quadratic_form(self.gram, step)
