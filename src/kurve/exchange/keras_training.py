"""What Keras's `compile` was given, to Kurve's and back: optimizer with its schedule,
loss, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kurve import losses, metrics, optimizers
from kurve.exchange import keras_parts as parts
from kurve.exchange.keras_models import not_in_keras
from kurve.metrics import LossMetric, Metric
from kurve.models import Sequential
from kurve.optimizers import Optimizer, schedules

KURVE_LOSSES = ("GaussianNLL", "Pinball")
KURVE_SCHEDULES = ("OneCycle",)

_OPTIMIZER_FIXED: dict[str, tuple[Any, ...]] = {
    "use_ema": (False,),
    "loss_scale_factor": (),
    "gradient_accumulation_steps": (),
    "decay": (0, 0.0),
}
_OPTIMIZER_FREE = (
    "ema_momentum",
    "ema_overwrite_frequency",
    "jit_compile",
    "is_legacy_optimizer",
)
_LOSS_FIXED: dict[str, tuple[Any, ...]] = {
    "reduction": ("sum_over_batch_size", "auto", "mean"),
    "axis": (-1,),
    "ignore_class": (),
    "dtype": ("float32",),
    "class_aggregation": ("uniform_average",),
    "num_regressors": (0,),
}
_METRIC_OF_LOSS = {
    "MeanSquaredError": "MeanSquaredError",
    "MeanAbsoluteError": "MeanAbsoluteError",
    "LogCosh": "LogCoshError",
    "BinaryCrossentropy": "BinaryCrossentropy",
    "CategoricalCrossentropy": "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy": "SparseCategoricalCrossentropy",
}
"""Kurve's losses as metrics, with the name of Keras's class of metrics."""

_LOSS_OF_METRIC = {metric: loss for loss, metric in _METRIC_OF_LOSS.items()}
_OTHER_NAMES = {"mean_absolute_percentage_error", "hinge"}  # of Keras, not here


@dataclass(frozen=True)
class Compiled:
    """The arguments of `compile`."""

    optimizer: Optimizer
    loss: losses.Loss
    metrics: list[Metric]
    weighted_metrics: list[Metric]


# -------------------------------------------------------------------- reading


def compiled_from(given: Mapping[str, Any]) -> Compiled | None:
    """What a file says of `compile`; None for a model without a loss.

    Raises:
        ValueError, TypeError: something that Kurve does not have; the message names it.
    """
    given = dict(given)
    optimizer = given.get("optimizer", given.get("optimizer_config"))
    loss = given.get("loss")
    while isinstance(loss, list | tuple) and len(loss) == 1:
        loss = loss[0]
    if optimizer is None or loss is None:
        return None
    if given.get("loss_weights") not in (None, [], 1, 1.0, [1.0]):
        raise ValueError("loss_weights are not read: there is one output")
    return Compiled(
        optimizer_from(optimizer),
        loss_from(loss, "the loss"),
        _metrics_from(given.get("metrics"), "metrics"),
        _metrics_from(given.get("weighted_metrics"), "weighted_metrics"),
    )


def optimizer_from(given: Any) -> Optimizer:
    """Kurve's optimizer for a name or an object of Keras."""
    if isinstance(given, str):
        return optimizers.get(given)
    if isinstance(given, Mapping) and isinstance(given.get("class_name"), str):
        # Keras 2.11 to 2.15 counted its own optimizers as custom ones.
        plain = given["class_name"].removeprefix("Custom>")
        registered = given.get("registered_name")
        if isinstance(registered, str):
            registered = registered.removeprefix("Custom>")
        given = {**given, "class_name": plain, "registered_name": registered}
    name, config = parts.opened(given, "the optimizer")
    what = f"the optimizer {name}"
    if name not in optimizers.CLASSES:
        raise ValueError(f"{what} is not one that Kurve has")
    parts.drop(config, what, _OPTIMIZER_FIXED)
    for key in _OPTIMIZER_FREE:
        config.pop(key, None)
    if "lr" in config:
        config["learning_rate"] = config.pop("lr")
    rate = config.get("learning_rate", 0.001)
    if isinstance(rate, Mapping) and rate.get("class_name") != "__numpy__":
        config["learning_rate"] = schedule_from(rate, f"the schedule of {what}")
    else:
        config["learning_rate"] = parts.number(config, "learning_rate", 0.001, what)
    return optimizers.CLASSES[name](**config)


def schedule_from(given: Any, what: str) -> schedules.LearningRateSchedule:
    """Kurve's schedule for an object of Keras."""
    name, config = parts.opened(given, what)
    if name in KURVE_SCHEDULES or name not in schedules.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    config.pop("name", None)
    for key, value in config.items():
        if isinstance(value, list) and key in ("boundaries", "values"):
            config[key] = [parts.number({key: item}, key, 0.0, what) for item in value]
        elif value is not None and not isinstance(value, bool):
            parts.number(config, key, 0.0, what)
    return schedules.CLASSES[name](**config)


def loss_from(given: Any, what: str) -> losses.Loss:
    """Kurve's loss for a name, a function's name or an object of Keras."""
    name = parts.function_name(given)
    if name is not None:
        found = losses.get(name)
        if type(found).__name__ in KURVE_LOSSES:
            raise ValueError(f"{what} is {name!r}, which Keras does not have")
        return found
    name, config = parts.opened(given, what)
    return _loss_of(name, config, what)


def _loss_of(name: str, config: dict[str, Any], what: str) -> losses.Loss:
    if name in ("LossFunctionWrapper", "MeanMetricWrapper"):
        function = parts.function_name(config.pop("fn", None))
        if function is None:
            raise ValueError(f"{what} is a function of one's own")
        name = type(losses.get(function)).__name__
    if name not in losses.CLASSES or name in KURVE_LOSSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    parts.drop(config, what, _LOSS_FIXED)
    return losses.CLASSES[name](**config)


def _metrics_from(given: Any, what: str) -> list[Metric]:
    """A list of metrics, or a list with one list for the one output."""
    if given is None:
        return []
    given = [given] if isinstance(given, str | Mapping) else given
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], list):
        given = given[0]
    if not isinstance(given, list) or len(given) > 1000:
        raise ValueError(f"{what} is not a list of metrics")
    return [metric_from(item, f"{what}[{i}]") for i, item in enumerate(given)]


def metric_from(given: Any, what: str) -> Metric:
    """Kurve's metric for a name, a function's name or an object of Keras."""
    name = parts.function_name(given)
    if name is not None:
        return metrics.get(name)
    name, config = parts.opened(given, what)
    if name in _LOSS_OF_METRIC:
        title = config.pop("name", None)
        return LossMetric(_loss_of(_LOSS_OF_METRIC[name], config, what), title)
    if name in losses.CLASSES or name == "MeanMetricWrapper":
        return LossMetric(_loss_of(name, config, what))
    # Keras's Accuracy counts equal numbers; Kurve's stands for the name "accuracy".
    if name not in metrics.CLASSES or name == "Accuracy":
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    parts.drop(config, what, _LOSS_FIXED)
    return metrics.CLASSES[name](**config)


# -------------------------------------------------------------------- writing


def compile_entry(model: Sequential) -> dict[str, Any] | None:
    """What the model's `compile` was given, for Keras; None if it was not called.

    Raises:
        ValueError: something that Keras does not have; the message names it.
    """
    given = model._compilation
    if given is None:
        return None
    chosen: dict[bool, list[Any]] = {False: [], True: []}
    for metric, weighted in given.metrics:
        chosen[weighted].append(metric_entry(metric, model))
    return {
        "optimizer": optimizer_entry(given.optimizer),
        "loss": loss_entry(given.loss),
        "loss_weights": None,
        "metrics": chosen[False] or None,
        "weighted_metrics": chosen[True] or None,
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": False,
    }


def optimizer_entry(optimizer: Optimizer) -> dict[str, Any]:
    """The configuration of an optimizer, for Keras."""
    name = type(optimizer).__name__
    if optimizers.CLASSES.get(name) is not type(optimizer):
        raise not_in_keras(f"the optimizer is a {name}")
    config = optimizer.get_config()
    rate = optimizer.learning_rate
    if isinstance(rate, schedules.LearningRateSchedule):
        kind = type(rate).__name__
        if kind in KURVE_SCHEDULES or schedules.CLASSES.get(kind) is not type(rate):
            raise not_in_keras(f"the schedule of the learning rate is a {kind}")
        config["learning_rate"] = parts.entry(
            "keras.optimizers.schedules", kind, rate.get_config()
        )
    return parts.entry("keras.optimizers", name, config)


def loss_entry(loss: losses.Loss) -> dict[str, Any]:
    """The configuration of a loss, for Keras."""
    name = type(loss).__name__
    if name in KURVE_LOSSES or losses.CLASSES.get(name) is not type(loss):
        raise not_in_keras(f"the loss is a {name}")
    config = {**loss.get_config(), "reduction": "sum_over_batch_size"}
    return parts.entry("keras.losses", name, config)


def metric_entry(metric: Metric, model: Sequential) -> Any:
    """The configuration of a metric, for Keras."""
    if isinstance(metric, metrics.Accuracy):
        if metric.name in ("accuracy", "acc"):
            return metric.name
        assert model.loss is not None
        shape = tuple(size for size in model.output_shape[1:] if size is not None)
        metric = metric.resolve(model.loss, shape)
    if isinstance(metric, LossMetric):
        name = type(metric._loss).__name__
        config = {**metric._loss.get_config(), "name": metric.name}
        if name in _METRIC_OF_LOSS:
            return parts.entry("keras.metrics", _METRIC_OF_LOSS[name], config)
        if name in KURVE_LOSSES or losses.CLASSES.get(name) is not type(metric._loss):
            raise not_in_keras(f"the metric {metric.name!r} is a {name}")
        return parts.entry("keras.losses", name, config)
    name = type(metric).__name__
    if metrics.CLASSES.get(name) is not type(metric):
        raise not_in_keras(f"the metric {metric.name!r} is a {name}")
    return parts.entry("keras.metrics", name, metric.get_config())
