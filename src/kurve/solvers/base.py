"""Shared by solvers for models: the checked problem, and the result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from kurve import losses
from kurve.core.arguments import check_count
from kurve.core.inside import network_of
from kurve.core.samples import as_samples, as_weights, check_same_length
from kurve.core.stopping import Patience
from kurve.engines import Batches, Program, State
from kurve.losses.targets import as_targets
from kurve.plan import VariableSpec
from kurve.solvers.least_squares import StopReason
from kurve.training.inputs import unpack_data

if TYPE_CHECKING:
    from kurve.losses import Loss
    from kurve.models import Sequential

IterationCallback = Callable[[int, Mapping[str, float]], Any]

Point = TypeVar("Point")


@dataclass
class SolverResult:
    """The result of a solver.

    loss:       loss of the final weights, including penalties
    iterations: number of steps
    converged:  whether a minimum was found
    message:    why it stopped
    history:    "loss" (and "val_loss"): values after 0, 1, ... steps
    effective_parameters: number of parameters determined by the data; only with
                Bayesian regularization (MacKay 1992)

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> result = kurve.solvers.lbfgs(model, x, 2.0 * x + 1.0)
        >>> result.converged
        True
    """

    loss: float
    iterations: int
    converged: bool
    message: str
    history: dict[str, list[float]] = field(repr=False)
    effective_parameters: float | None = None


class FitProblem(NamedTuple):
    """A model and the data to fit it to.

    free:  (F,) indices of the trainable parameters in the flat vector
    slots: their variables
    trial: scratch state for evaluating other parameters
    """

    where: str
    model: Sequential
    loss: Loss
    program: Program
    state: State
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    validation: Batches | None
    free: np.ndarray
    slots: list[VariableSpec]
    trial: State

    @property
    def batches(self) -> Batches:
        """All rows as a single step."""
        return _one_step(self.x, self.y, self.weights)

    def start(self) -> np.ndarray:
        """The free parameters (F,), float64."""
        return self.state.params[self.free].astype(np.float64)

    def at(self, p: np.ndarray) -> State:
        """A state with free parameters p, valid until the next call; the model's own
        state does not change."""
        self.trial.params[self.free] = p
        return self.trial

    def validation_loss(self, state: State) -> float:
        assert self.validation is not None
        totals = np.zeros(self.program.plan.totals_size)
        self.program.test(state, self.validation, totals)
        return float(totals[0] / totals[1])


def prepare(
    where: str,
    model: Sequential,
    x: Any,
    y: Any,
    sample_weight: Any,
    validation_data: Sequence[Any] | None,
    check: Callable[[FitProblem], None] | None = None,
) -> FitProblem:
    """Check all arguments, then build the model if it is not built yet.

    Args:
        check: raises an error if the solver cannot solve this problem.

    Raises:
        TypeError, ValueError: an invalid argument; nothing was changed.
    """
    from kurve.models import Model

    if not isinstance(model, Model):
        raise TypeError(
            f"[{where}] model must be a kurve.Sequential. Received: {model!r}. "
            "Try kurve.Sequential([kurve.layers.Dense(1)])."
        )
    network_of(model).require_one_output(where)
    network_of(model).refuse_rows_together(where)
    loss = model.loss or losses.MeanSquaredError()
    plan = network_of(model).plan
    x, y, weights = _checked(
        where, model, loss, x, y, sample_weight, plan.input_shape if plan else None
    )
    validation = None
    if validation_data is not None:
        pair = unpack_data(where, "validation_data", validation_data)
        validation = _one_step(
            *_checked(f"{where}, validation_data", model, loss, *pair, x.shape[1:])
        )
    with network_of(model).unbuilt_on_error():
        if plan is None:
            model.build((None, *x.shape[1:]))
        problem = _problem(where, model, loss, x, y, weights, validation)
        if check is not None:
            check(problem)
    return problem


def _problem(
    where: str,
    model: Sequential,
    loss: Loss,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    validation: Batches | None,
) -> FitProblem:
    network = network_of(model)
    network.update_trainable()
    _, state = network.require_built(where)
    # Without dropout: the loss must be a function of the parameters alone.
    plan = network.with_losses([loss]).deterministic()
    spec = plan.heads[0].loss or loss.spec  # whether computed by operations or not
    plan = plan.trained_with(spec, plan.metrics, plan.optimizer)
    (head,) = plan.heads
    head = replace(head, reduction=loss.reduction_of(head.reduction))
    plan = replace(plan, heads=(head,))
    slots = [slot for slot in plan.params if slot.trainable]
    if not slots:
        raise ValueError(
            f"[{where}] the model has nothing to train. Received: {model!r}. "
            "Try a Dense layer, or trainable=True."
        )
    for slot in slots:
        if slot.constraint is not None:
            raise ValueError(
                f"[{where}] weights must not have constraints, which only optimizers "
                f"apply. Received: a constraint on {slot.name}. Try model.fit."
            )
    free = np.concatenate([np.arange(slot.offset, slot.end) for slot in slots])
    program = network.chosen_engine().compile(plan)
    trial = replace(state, params=state.params.copy())
    return FitProblem(
        where,
        model,
        loss,
        program,
        state,
        x,
        y,
        weights,
        validation,
        free,
        slots,
        trial,
    )


def _checked(
    where: str,
    model: Sequential,
    loss: Loss,
    x: Any,
    y: Any,
    sample_weight: Any,
    sample_shape: tuple[int, ...] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    x = as_samples(where, "x", x, sample_shape)
    output = model.compute_output_shape((None, *x.shape[1:]))[1:]
    y = as_targets(where, y, loss, tuple(int(a or 0) for a in output))
    check_same_length(where, x=x, y=y)
    if sample_weight is None:
        return x, y, None
    return x, y, as_weights(where, sample_weight, len(x))


def _one_step(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Batches:
    return Batches(x, y, weights, None, np.array([0, len(x)], np.int64))


class FitMonitor:
    """Monitors a solver's iterations: records the history, keeps the best weights,
    calls the callback, prints progress, and stops early.

    The best weights are those with the lowest val_loss, or without validation data the
    last ones, because solvers lower the loss with every step.
    """

    def __init__(
        self,
        where: str,
        max_iterations: int,
        patience: int | None,
        callback: IterationCallback | None,
        verbose: int,
    ) -> None:
        check_count(where, "max_iterations", max_iterations, 1)
        if patience is not None:
            check_count(where, "patience", patience, 1)
        if callback is not None and not callable(callback):
            raise TypeError(
                f"[{where}] callback must be a function (iteration, logs). "
                f"Received: {callback!r}. Try lambda iteration, logs: print(logs)."
            )
        self.max_iterations, self.patience = max_iterations, Patience(patience)
        self.callback, self.verbose = callback, verbose
        self.history: dict[str, list[float]] = {"loss": []}
        self.best_iteration = 0

    def run(
        self,
        problem: FitProblem,
        path: Generator[Point, None, StopReason],
        parameters_and_loss: Callable[[Point], tuple[np.ndarray, float]],
    ) -> SolverResult:
        """Follow `path` until it ends or is stopped; the model gets the best weights,
        even after an interrupt."""
        self.problem = problem
        if problem.validation is not None:
            self.history["val_loss"] = []
        self.best = problem.state.params.copy()
        stop: StopReason | None = None
        try:
            while stop is None:
                try:
                    point = next(path)
                except StopIteration as end:
                    stop = end.value
                else:
                    stop = self._add(*parameters_and_loss(point))
        finally:
            problem.state.params[:] = self.best
        loss = self.history["loss"][self.best_iteration]
        assert stop is not None
        return SolverResult(loss, self.iterations, *stop, self.history)

    @property
    def iterations(self) -> int:
        return len(self.history["loss"]) - 1

    def _add(self, p: np.ndarray, loss: float) -> StopReason | None:
        """Record a new point with its loss; return a reason to stop there, if any."""
        problem, state = self.problem, self.problem.at(p)
        logs = {"loss": loss}
        if problem.validation is not None:
            logs["val_loss"] = problem.validation_loss(state)
        for name, value in logs.items():
            self.history[name].append(value)
        if "val_loss" not in logs or self.patience.add(logs["val_loss"]):
            self.best, self.best_iteration = state.params.copy(), self.iterations
        # A single copy that no signal can interrupt.
        problem.state.params[:] = state.params
        if self.verbose:
            shown = " - ".join(f"{name}: {value:.4e}" for name, value in logs.items())
            print(f"Iteration {self.iterations}/{self.max_iterations} - {shown}")
        if self.callback is not None and self.callback(self.iterations, logs):
            return StopReason(False, "the callback stopped the training")
        if self.patience.is_over:
            message = f"val_loss has not improved for {self.patience.limit} iterations"
            return StopReason(False, message)
        if self.iterations >= self.max_iterations:
            return StopReason(False, "max_iterations was reached")
        return None
