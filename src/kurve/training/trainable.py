"""`compile`, and the model properties that depend on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kurve import optimizers
from kurve.core.arguments import check_integer, check_unused
from kurve.core.entries import entries
from kurve.core.locks import UNLOCKED, check_unlocked
from kurve.core.overrides import refuse_overrides
from kurve.engines import Engine, get_engine
from kurve.metrics import Metric
from kurve.optimizers import Optimizer
from kurve.training.compilation import Compilation
from kurve.training.network import Network


@entries
class Trainable:
    """A model that can be compiled."""

    ignored: tuple[str, ...] = (
        "call",
        "__call__",
        "compute_output_shape",
        "compute_output_spec",
    )
    instead = "train_step, test_step, predict_step, or callbacks"

    train_function: Any = None
    test_function: Any = None
    predict_function: Any = None
    """The functions made by `make_train_function` and the like, which run one or
    several steps on an iterator of batches. `compile` sets them to None."""

    name: str
    stop_training: bool
    stop_evaluating = stop_predicting = False
    """Callbacks set these to end `evaluate` or `predict` after the batch."""
    _model_lock = UNLOCKED

    @property
    def _shared_variables(self) -> Sequence[Any]:
        """Variables shared with other models."""
        network = self._network
        if not network.shares_variables:
            return ()
        return [v for v in network.variables if v.is_shared]

    _network: Network

    def __init__(self) -> None:
        refuse_overrides(type(self).__name__, self)

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Provided by subclasses."""
        raise NotImplementedError

    @property
    def iterations(self) -> int:
        """Number of updates since `compile`."""
        if self.optimizer is not None and self.optimizer.applier is not None:
            return int(self.optimizer.iterations)
        state = self._network.state
        return state.step if state is not None else 0

    def count_optimizer_params(self) -> int:
        """Number of values in the optimizer, counted as in Keras: its slots for
        trainable weights, the step and the learning rate; 0 before the first
        training, and without an optimizer, as in files written by other programs."""
        state, plan = self._network.state, self._network.plan
        if state is None or plan is None or not state.step or self.optimizer is None:
            return 0
        trained = [spec for spec in plan.params if spec.trainable]
        places = self.optimizer.places(trained) if len(state.slots) else []
        vectors = sum(math.prod(shape) for _, _, shape in places)
        return vectors + len(state.scalars) + 2

    @property
    def compiled(self) -> bool:
        return self._network.compilation is not None

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer passed to `compile`."""
        compilation = self._network.compilation
        if compilation is None:
            return vars(self).get("_own", {}).get("optimizer")
        return compilation.optimizer

    @optimizer.setter
    def optimizer(self, value: Any) -> None:
        self._keep("optimizer", value)

    @property
    def loss(self) -> Any:
        """The loss passed to `compile`; for several outputs, a list or dictionary if
        one was passed."""
        compilation = self._network.compilation
        if compilation is None:
            return vars(self).get("_own", {}).get("loss")
        if len(self._network.output_names) != 1:
            return compilation.loss
        return self._network.goals[0].loss

    @loss.setter
    def loss(self, value: Any) -> None:
        self._keep("loss", value)

    def _keep(self, name: str, value: Any) -> None:
        """Keep an attribute that a user's model sets under the name of an argument of
        `compile`, until `compile` is called."""
        compilation = self._network.compilation
        if compilation is not None and name == "optimizer":
            check_unlocked(self, "optimizer")
            new = replace(compilation, optimizer=optimizers.get(value).trained)
            self._network.compile(new)
            return
        if compilation is not None:
            raise AttributeError(
                f"[{type(self).__name__}] {name} can only be set by compile. Received: "
                f"{name}={value!r}. Try model.compile(...) again."
            )
        vars(self).setdefault("_own", {})[name] = value

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, with "accuracy" resolved once the model is built. A model with
        custom steps also has its mean loss, first, and metrics that are attributes of
        the model."""
        from kurve.training.steps import has_own_steps, metrics_of

        if has_own_steps(self):
            return metrics_of(self)  # type: ignore[arg-type]
        return list(self._network.metrics)

    @property
    def metrics_names(self) -> list[str]:
        """Names of the values in the list returned by `evaluate`."""
        network = self._network
        return (
            ["loss"]
            if network.compilation is None
            else network.goals.log_names.in_order
        )

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int | str = 1,
        jit_compile: str | bool = "auto",
        auto_scale_loss: bool = True,
        engine: str | Engine | None = None,
    ) -> None:
        """Configure training. Resets the optimizer.

        A model with several outputs is trained on a weighted sum of their losses. "By
        output" means a list with one value per output, or a dictionary by output name.

        Args:
            optimizer: name or object of `kurve.optimizers`.
            loss: name or object of `kurve.losses`, for all outputs; or losses by
                output, with None for outputs without one. Not needed if the model has
                its own `train_step` or `compute_loss`, or if its layers add losses.
            loss_weights: weight of each loss in the sum: by output, or one
                number for all.
            metrics: names or objects of `kurve.metrics`; each row has weight 1. For
                several outputs, lists by output.
            weighted_metrics: the same, but rows count with their sample weights.
            steps_per_execution: call callbacks after this many batches instead of
                each one.
            run_eagerly: suppresses the warning for a model that cannot be compiled.
            jit_compile, auto_scale_loss: accepted and ignored: the
                engine is always compiled.
            engine: "native", "reference", "torch" ("torch:cuda" and the like), "auto"
                or an engine; None for the default (`kurve.set_engine`).

        Raises:
            TypeError, ValueError: an unknown name, with the closest matches; values
                that do not match the outputs.
            ModelBusyError: during training.
        """
        check_unlocked(self, "compile")
        check_unused(
            "compile",
            run_eagerly=run_eagerly,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )
        if optimizer is None:
            raise TypeError(
                "[compile] an optimizer is needed. Received: optimizer=None. "
                "Try compile(optimizer='adam', loss='mse')."
            )
        if steps_per_execution in ("auto", None):
            steps_per_execution = 1
        check_integer("compile", "steps_per_execution", steps_per_execution, 1)
        self._network.compile(
            Compilation.of(
                optimizers.get(optimizer).trained,
                loss,
                loss_weights,
                metrics,
                weighted_metrics,
                get_engine(engine) if engine is not None else None,
                int(steps_per_execution),
            )
        )
        self.run_eagerly = self._network.runs_eagerly = bool(run_eagerly)
        self.train_function = self.test_function = self.predict_function = None
