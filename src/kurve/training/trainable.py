"""`compile`, and the properties of a model that follow from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kurve import optimizers
from kurve.core.arguments import check_unused, is_count
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
    """What `make_train_function` and the others have made: from an iterator of batches,
    one or several steps. `compile` sets them to None."""

    name: str
    stop_training: bool
    stop_evaluating = stop_predicting = False
    """Set by a callback, they end `evaluate` and `predict` after the batch."""
    _model_lock = UNLOCKED

    @property
    def _shared_variables(self) -> Sequence[Any]:
        """Those that other models have too."""
        network = self._network
        if not network.shares_variables:
            return ()
        return [v for v in network.variables if v.is_shared]

    _network: Network

    def __init__(self) -> None:
        refuse_overrides(type(self).__name__, self)

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """What a subclass provides."""
        raise NotImplementedError

    @property
    def iterations(self) -> int:
        """Number of updates done since `compile`."""
        if self.optimizer is not None and self.optimizer.applier is not None:
            return int(self.optimizer.iterations)
        state = self._network.state
        return state.step if state is not None else 0

    def count_optimizer_params(self) -> int:
        """Number of values in the optimizer, as Keras counts them: its vectors over the
        trained weights, the step and the learning rate; 0 before the first training."""
        state, plan = self._network.state, self._network.plan
        if state is None or plan is None or not state.step:
            return 0
        assert self.optimizer is not None
        trained = [spec for spec in plan.params if spec.trainable]
        places = self.optimizer.places(trained) if len(state.slots) else []
        vectors = sum(math.prod(shape) for _, _, shape in places)
        return vectors + len(state.scalars) + 2

    @property
    def compiled(self) -> bool:
        return self._network.compilation is not None

    @property
    def optimizer(self) -> Optimizer | None:
        """The one given to `compile`."""
        compilation = self._network.compilation
        if compilation is None:
            return vars(self).get("_own", {}).get("optimizer")
        return compilation.optimizer

    @optimizer.setter
    def optimizer(self, value: Any) -> None:
        self._keep("optimizer", value)

    @property
    def loss(self) -> Any:
        """The one given to `compile`; of several outputs, a list or a dictionary if
        that was given."""
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
        """Keep what a user's model sets under the name of an argument of `compile`,
        until `compile` is called."""
        if self._network.compilation is not None:
            raise AttributeError(
                f"[{type(self).__name__}] {name} is what compile was given. Received: "
                f"{name}={value!r}. Try model.compile(...) again."
            )
        vars(self).setdefault("_own", {})[name] = value

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, "accuracy" resolved once the model is built. A model with steps
        of its own also has the mean of its loss, first, and those that are attributes
        of the model."""
        from kurve.training.steps import has_own_steps, metrics_of

        if has_own_steps(self):
            return metrics_of(self)  # type: ignore[arg-type]
        return list(self._network.metrics)

    @property
    def metrics_names(self) -> list[str]:
        """Names of the values in the list that `evaluate` returns."""
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
        """Choose how to train. Resets the optimizer.

        A model of several outputs is trained to a sum of losses, one for each output
        that has one. "By output" means a list with one value for each output, or a
        dictionary by the outputs' names.

        Args:
            optimizer: name or object of `kurve.optimizers`.
            loss: name or object of `kurve.losses`, for all outputs; or losses by
                output, None for an output without one. A model with a `train_step` or
                `compute_loss` of its own needs none, nor one whose layers add to the
                loss.
            loss_weights: what each loss is multiplied with in the sum: by output, or a
                number for all.
            metrics: names or objects of `kurve.metrics`; each row has weight 1. Of
                several outputs, lists by output.
            weighted_metrics: the same, but each row has its sample weight.
            steps_per_execution: callbacks are called after this many batches instead of
                each one.
            run_eagerly, jit_compile, auto_scale_loss: accepted without effect: the
                engine is always compiled.
            engine: "native", "reference" or an engine; None for the default
                (`kurve.set_engine`).

        Raises:
            TypeError, ValueError: an unknown name, with the nearest known ones; values
                that do not fit the outputs.
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
        if not is_count(steps_per_execution):
            raise ValueError(
                "[compile] steps_per_execution must be an integer of at least 1. "
                f"Received: steps_per_execution={steps_per_execution!r}. Try 1."
            )
        self._network.compile(
            Compilation.of(
                optimizers.get(optimizer),
                loss,
                loss_weights,
                metrics,
                weighted_metrics,
                get_engine(engine) if engine is not None else None,
                int(steps_per_execution),
            )
        )
        self.run_eagerly = bool(run_eagerly)
        self.train_function = self.test_function = self.predict_function = None
