"""What the solvers for models share: the checked data, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kurve import data, losses
from kurve.engines import Batches, Program, State
from kurve.plan import VariableSpec
from kurve.training.batching import check_count

if TYPE_CHECKING:
    from kurve.losses import Loss
    from kurve.models import Sequential

Watch = Callable[[int, Mapping[str, float]], Any]


@dataclass
class SolverResult:
    """What a solver has done.

    loss:       of the weights that the model has now, penalties included
    iterations: steps done
    converged:  whether a minimum was found, or only the last iteration reached
    message:    why it ended
    history:    from "loss" (and "val_loss") to the values after 0, 1, ... steps
    effective_parameters: how many parameters the data determines, where Bayesian
                regularisation has counted them (MacKay 1992)

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


class Task(NamedTuple):
    """A model, ready to be fitted to data.

    free:  (F,) places in the flat vector of the variables that are trained
    trial: a state of its own, to try parameters in
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
        """All rows as one step."""
        return _one_step(self.x, self.y, self.weights)

    def start(self) -> np.ndarray:
        """The free parameters (F,), float64."""
        return self.state.params[self.free].astype(np.float64)

    def at(self, p: np.ndarray) -> State:
        """A state with free parameters p, until the next call. The model keeps its
        own."""
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
    refuse: Callable[[Task], None] | None = None,
) -> Task:
    """Check everything, then build the model where that is still to be done.

    Args:
        refuse: raises what speaks against a task.

    Raises:
        TypeError, ValueError: a wrong argument; nothing was changed.
    """
    from kurve.models import Sequential

    if not isinstance(model, Sequential):
        raise TypeError(
            f"[{where}] model must be a kurve.Sequential. Received: {model!r}. "
            "Try kurve.Sequential([kurve.layers.Dense(1)])."
        )
    loss = model.loss or losses.MeanSquaredError()
    plan = model._plan
    x, y, weights = _checked(
        where, model, loss, x, y, sample_weight, plan.input_shape if plan else None
    )
    validation = None
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or not (
            2 <= len(validation_data) <= 3
        ):
            raise TypeError(
                f"[{where}] validation_data must be (x, y) or (x, y, sample_weight). "
                f"Received: {type(validation_data).__name__}. "
                "Try validation_data=(x, y)."
            )
        weight = validation_data[2] if len(validation_data) == 3 else None
        validation = _one_step(
            *_checked(
                f"{where}, validation_data", model, loss,
                validation_data[0], validation_data[1], weight, x.shape[1:],
            )
        )  # fmt: skip
    fresh = [layer for layer in model._layers if not layer.built]
    given_shape = model._input_shape
    model._build_for(x)
    try:
        task = _task(where, model, loss, x, y, weights, validation)
        if refuse is not None:
            refuse(task)
    except Exception:
        if plan is None:  # as if nothing had happened
            for layer in fresh:
                layer.unbuild()
            model._plan = model._state = model._program = None
            model._input_shape = given_shape
        raise
    return task


def _task(
    where: str,
    model: Sequential,
    loss: Loss,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    validation: Batches | None,
) -> Task:
    model._obey_trainable()
    assert model._plan is not None and model._state is not None
    # Dropout is for training by batches; here the loss must not change by chance.
    plan = replace(model._plan.deterministic(), loss=loss.spec)
    slots = [slot for slot in plan.params if slot.trainable]
    if not slots:
        raise ValueError(
            f"[{where}] the model has nothing to train. Received: {model!r}. "
            "Try a Dense layer, or trainable=True."
        )
    free = np.concatenate([np.arange(slot.offset, slot.end) for slot in slots])
    program = model.ready_engine().compile(plan)
    trial = replace(model._state, params=model._state.params.copy())
    return Task(
        where, model, loss, program, model._state, x, y, weights, validation, free,
        slots, trial,
    )  # fmt: skip


def _checked(
    where: str,
    model: Sequential,
    loss: Loss,
    x: Any,
    y: Any,
    sample_weight: Any,
    sample_shape: tuple[int, ...] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    x = data.as_samples(where, "x", x, sample_shape)
    output = model.compute_output_shape((None, *x.shape[1:]))[1:]
    y = data.as_targets(where, y, loss, tuple(int(a or 0) for a in output))
    data.check_same_length(where, x=x, y=y)
    if sample_weight is None:
        return x, y, None
    return x, y, data.as_weights(where, sample_weight, len(x))


def _one_step(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Batches:
    return Batches(x, y, weights, None, np.array([0, len(x)], np.int64))


class FitMonitor:
    """Follows a solver: history, the best weights so far, the callback, the lines."""

    def __init__(
        self,
        where: str,
        max_iterations: int,
        patience: int | None,
        callback: Watch | None,
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
        self.max_iterations, self.patience = max_iterations, patience
        self.callback, self.verbose = callback, verbose
        self.history: dict[str, list[float]] = {"loss": []}
        self.best_at, self.end = 0, ""

    def begin(self, task: Task) -> None:
        self.task = task
        if task.validation is not None:
            self.history["val_loss"] = []
        self.best = task.state.params.copy()

    @property
    def iterations(self) -> int:
        return len(self.history["loss"]) - 1

    def add(self, p: np.ndarray, loss: float) -> bool:
        """A new point with its loss, after one more step; whether to stop there."""
        state = self.task.at(p)
        logs = {"loss": loss}
        if self.task.validation is not None:
            logs["val_loss"] = self.task.validation_loss(state)
        for name, value in logs.items():
            self.history[name].append(value)
        watched = self.history["val_loss" if "val_loss" in logs else "loss"]
        lower = not watched[-1] >= min(watched[:-1], default=np.inf)
        if lower or "val_loss" not in logs:
            self.best, self.best_at = state.params.copy(), self.iterations
        self.task.state.params[:] = state.params  # in one go: a signal waits
        if self.verbose:
            shown = " - ".join(f"{name}: {value:.4e}" for name, value in logs.items())
            print(f"Iteration {self.iterations}/{self.max_iterations} - {shown}")
        if self.callback is not None and self.callback(self.iterations, logs):
            self.end = "the callback ended it"
        elif self.patience and self.iterations - self.best_at >= self.patience:
            self.end = f"val_loss has not improved for {self.patience} iterations"
        elif self.iterations >= self.max_iterations:
            self.end = "the last iteration was reached"
        return bool(self.end)

    def keep_best(self) -> None:
        """Give the model the best weights that were seen."""
        self.task.state.params[:] = self.best

    def result(self, converged: bool, message: str) -> SolverResult:
        losses_ = self.history["loss"]
        return SolverResult(
            losses_[self.best_at], self.iterations, converged, message, self.history
        )
