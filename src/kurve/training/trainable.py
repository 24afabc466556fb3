"""`compile`, and the properties of a model that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kurve import losses, metrics, optimizers
from kurve.core.arguments import check_unused
from kurve.core.entries import entries
from kurve.core.locks import UNLOCKED, check_unlocked
from kurve.core.overrides import refuse_overrides
from kurve.engines import Engine, get_engine
from kurve.losses import Loss
from kurve.metrics import Metric
from kurve.optimizers import Optimizer
from kurve.training.network import Compilation, Network


@entries
class Trainable:
    """A model that can be compiled."""

    ignored = (
        "call",
        "__call__",
        "train_step",
        "test_step",
        "predict_step",
        "compute_loss",
        "compute_metrics",
        "get_metrics_result",
        "reset_metrics",
        "make_train_function",
        "make_test_function",
        "make_predict_function",
        "train_function",
        "test_function",
        "predict_function",
        "compute_output_shape",
        "compute_output_spec",
        "compute_mask",
        "metrics",
    )
    instead = "callbacks, or a loop of your own with train_on_batch"

    name: str
    stop_training: bool
    _model_lock = UNLOCKED
    _network: Network

    def __init__(self) -> None:
        refuse_overrides(type(self).__name__, self)

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """What a subclass provides."""
        raise NotImplementedError

    @property
    def iterations(self) -> int:
        """Number of updates done since `compile`."""
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
        return None if compilation is None else compilation.optimizer

    @property
    def loss(self) -> Loss | None:
        """The one given to `compile`."""
        compilation = self._network.compilation
        return None if compilation is None else compilation.loss

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, "accuracy" resolved once the model is built."""
        return list(self._network.metrics)

    @property
    def metrics_names(self) -> list[str]:
        return ["loss", *(metric.name for metric in self._network.metrics)]

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: str | bool = "auto",
        auto_scale_loss: bool = True,
        engine: str | Engine | None = None,
    ) -> None:
        """Choose how to train. Resets the optimizer.

        Args:
            optimizer: name or object of `kurve.optimizers`.
            loss: name or object of `kurve.losses`.
            metrics: names or objects of `kurve.metrics`; each row has weight 1.
            weighted_metrics: the same, but each row has its sample weight.
            loss_weights, run_eagerly, steps_per_execution, jit_compile,
                auto_scale_loss: Keras's; only values without effect are accepted.
            engine: "native", "reference" or an engine; None for the default
                (`kurve.set_engine`).

        Raises:
            ValueError: an unknown name, with the nearest known ones.
            ModelBusyError: during training.
        """
        check_unlocked(self, "compile")
        if loss is None:
            raise ValueError(
                "[compile] a loss is needed. Received: loss=None. "
                "Try compile(optimizer='adam', loss='mse')."
            )
        check_unused(
            "compile",
            loss_weights=loss_weights,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )
        if isinstance(loss, (list, tuple)) and len(loss) == 1:
            loss = loss[0]
        if optimizer is None:
            raise TypeError(
                "[compile] an optimizer is needed. Received: optimizer=None. "
                "Try compile(optimizer='adam', loss='mse')."
            )
        new_optimizer, new_loss = optimizers.get(optimizer), losses.as_loss(loss)
        given = _metric_list("metrics", metrics, False)
        given += _metric_list("weighted_metrics", weighted_metrics, True)
        for part in (new_optimizer, new_loss, *(metric for metric, _ in given)):
            refuse_overrides("compile", part)
        taken = {"loss"}
        for metric, weighted in given:
            if weighted and metric.name in taken:
                metric.name = f"weighted_{metric.name}"
            base, number = metric.name, 1
            while metric.name in taken:
                metric.name, number = f"{base}_{number}", number + 1
            taken.add(metric.name)
        self._network.compile(
            Compilation(
                new_optimizer,
                new_loss,
                tuple(given),
                get_engine(engine) if engine is not None else None,
            )
        )


def _metric_list(
    argument: str, given: Sequence[Any] | None, weighted: bool
) -> list[tuple[Metric, bool]]:
    if given is not None and not isinstance(given, (list, tuple)):
        raise TypeError(
            f"[compile] {argument} must be a list, for the one output of a model. "
            f"Received: {given!r}. "
            f"Try {argument}={['mae'] if isinstance(given, Mapping) else [given]!r}."
        )
    if given and len(given) == 1 and isinstance(given[0], (list, tuple)):
        given = given[0]
    return [(metrics.as_metric(metric), weighted) for metric in given or []]
