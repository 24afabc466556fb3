"""What Keras's `compile` was given, to Kurve's and back: optimizer with its schedule,
loss, metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kurve import losses, metrics, optimizers
from kurve.core.entries import warn
from kurve.exchange import keras_parts as parts
from kurve.exchange.keras_models import check_name, not_in_keras
from kurve.metrics import LossMetric, Metric
from kurve.models import Sequential
from kurve.optimizers import Optimizer, schedules

KURVE_LOSSES = ("GaussianNLL", "Pinball")
KURVE_SCHEDULES = ("OneCycle",)
WRAPPERS = ("LossFunctionWrapper", "MeanMetricWrapper")
"""Keras's classes of losses and metrics that are functions."""

_OPTIMIZER_FIXED: dict[str, tuple[Any, ...]] = {
    "use_ema": (False,),
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
    "dtype": ("float32",),
    "class_aggregation": ("uniform_average",),
    "num_regressors": (0,),
}
_SLOW_NADAM = (
    "[load_model] the optimizer is a Nadam of Keras before 2.11, whose momentum grows "
    "slowly (schedule_decay). Kurve's is Keras's of today, and training goes on with "
    "that. Try compile(...) with another optimizer if this one diverges."
)
_LOSS_NAMES = {"huber_loss": "huber", "BCE": "bce"}
"""Other names of Keras's for losses."""

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


def compiled_from(given: Mapping[str, Any], version: str = "") -> Compiled | None:
    """What a file says of `compile`; None for a model without a loss.

    Args:
        version: of the Keras that wrote the file, where it is known.

    Raises:
        ValueError, TypeError: something that Kurve does not have; the message names it.
    """
    given = dict(given)
    optimizer = given.get("optimizer", given.get("optimizer_config"))
    loss = _of_one_output(given.get("loss"))
    if optimizer is None or loss is None:
        return None
    if _of_one_output(given.get("loss_weights")) not in (None, [], {}, 1, 1.0):
        raise ValueError("loss_weights are not read: there is one output")
    return Compiled(
        optimizer_from(optimizer, version),
        loss_from(loss, "the loss"),
        _metrics_from(given.get("metrics"), "metrics"),
        _metrics_from(given.get("weighted_metrics"), "weighted_metrics"),
    )


def _of_one_output(given: Any) -> Any:
    """What is given in a list, or by the output's name, for the one output."""
    while isinstance(given, list | Mapping) and len(given) == 1:
        given = next(iter(given.values() if isinstance(given, Mapping) else given))
    return given


def optimizer_from(given: Any, version: str = "") -> Optimizer:
    """Kurve's optimizer for a name or an object of the Keras of this version."""
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
    made = optimizers.CLASSES[name]
    for key in _OPTIMIZER_FREE:
        config.pop(key, None)
    if re.fullmatch(r"([01]|2\.[0-3])\..*(?<!-tf)", version) and "clipnorm" in config:
        # Keras itself took it for the length of all gradients together, TensorFlow not.
        config["global_clipnorm"] = config.pop("clipnorm")
    if "lr" in config:
        config["learning_rate"] = config.pop("lr")
    decay = parts.finite(config.pop("decay", None) or 0.0, f"{what} has decay")
    if name == "Nadam":
        # TensorFlow called its schedule_decay so.
        slow = config.pop("schedule_decay", None) or decay
        decay = 0.0
        if slow:
            warn(_SLOW_NADAM)
    known = parts.arguments_of(made) - _OPTIMIZER_FIXED.keys()
    parts.drop(config, what, _OPTIMIZER_FIXED, known)
    if config.get("epsilon", 0.0) is None:  # Keras's default
        del config["epsilon"]
    rate: Any = parts.unwrapped(config.get("learning_rate", 0.001))
    if isinstance(rate, Mapping):
        rate = schedule_from(rate, f"the schedule of {what}")
    else:
        rate = parts.number(config, "learning_rate", 0.001, what)
    if decay:  # of optimizers before Keras 2.11: this very schedule
        if isinstance(rate, schedules.LearningRateSchedule):
            raise ValueError(f"{what} has decay={decay} beside a schedule")
        rate = schedules.InverseTimeDecay(rate, 1, decay)
    return made(**{**config, "learning_rate": rate})


def schedule_from(given: Any, what: str) -> schedules.LearningRateSchedule:
    """Kurve's schedule for an object of Keras."""
    name, config = parts.opened(given, what)
    if name in KURVE_SCHEDULES or name not in schedules.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    made = schedules.CLASSES[name]
    config.pop("name", None)
    parts.drop(config, what, {}, parts.arguments_of(made))
    for key, value in config.items():
        value = parts.unwrapped(value)
        if isinstance(value, list) and key in ("boundaries", "values"):
            config[key] = [parts.finite(v, f"{what} has {key}") for v in value]
        elif value is not None and not isinstance(value, bool):
            config[key] = parts.finite(value, f"{what} has {key}")
    return made(**config)


def loss_from(given: Any, what: str) -> losses.Loss:
    """Kurve's loss for a name, a function's name or an object of Keras."""
    name = parts.function_name(given)
    if name is not None:
        found = losses.as_loss(_LOSS_NAMES.get(name, name))
        if type(found).__name__ in KURVE_LOSSES:
            raise ValueError(f"{what} is {name!r}, which Keras does not have")
        return found
    name, config = parts.opened(given, what)
    return _loss_of(name, config, what)


def _loss_of(name: str, config: dict[str, Any], what: str) -> losses.Loss:
    """The loss of that class; one that wraps a function is the loss of its name."""
    if "fn" in config:
        function = parts.function_name(config.pop("fn"))
        if function is None:
            raise ValueError(f"{what} is a function of one's own")
        found = type(loss_from(function, what)).__name__
        if name not in (*WRAPPERS, found):
            raise ValueError(f"{what} is {name} of the function {function!r}")
        name = found
    if name not in losses.CLASSES or name in KURVE_LOSSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    made = losses.CLASSES[name]
    known = parts.arguments_of(made) - _LOSS_FIXED.keys()
    parts.drop(config, what, _LOSS_FIXED, known)
    return made(**config)


def _metrics_from(given: Any, what: str) -> list[Metric]:
    """A list of metrics, or a list with one list for the one output."""
    given = _of_one_output(given)
    if given is None:
        return []
    given = [given] if isinstance(given, str | Mapping) else given
    if not isinstance(given, list) or len(given) > 1000:
        raise ValueError(f"{what} is not a list of metrics")
    return [metric_from(item, f"{what}[{i}]") for i, item in enumerate(given)]


def metric_from(given: Any, what: str) -> Metric:
    """Kurve's metric for a name, a function's name or an object of Keras."""
    name = parts.function_name(given)
    if name is not None:
        return metrics.as_metric(name)
    name, config = parts.opened(given, what)
    if name in _LOSS_OF_METRIC:
        title = config.pop("name", None)
        config.pop("fn", None)  # that of the class
        return LossMetric(_loss_of(_LOSS_OF_METRIC[name], config, what), title)
    function = parts.function_name(config.get("fn")) if name in WRAPPERS else None
    if function is not None and function not in (*losses.NAMES, *_LOSS_NAMES):
        name = type(metrics.as_metric(function)).__name__
    elif name in losses.CLASSES or name in WRAPPERS:
        return LossMetric(_loss_of(name, config, what))
    config.pop("fn", None)
    if name not in metrics.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    made = metrics.CLASSES[name]
    known = parts.arguments_of(made) - _LOSS_FIXED.keys()
    parts.drop(config, what, _LOSS_FIXED, known)
    return made(**config)


# -------------------------------------------------------------------- writing


def compile_entry(model: Sequential) -> dict[str, Any] | None:
    """What the model's `compile` was given, for Keras; None if it was not called.

    Raises:
        ValueError: something that Keras does not have; the message names it.
    """
    given = model._network.compilation
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
    check_name("the optimizer", optimizer.name)
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
    if isinstance(metric, metrics.FittingAccuracy):
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
