"""The arguments of `compile` between Keras's configurations and Kurve: optimizer with
its schedule, loss, metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kurve import losses, metrics, optimizers
from kurve.core.entries import warn
from kurve.exchange import keras_parts as parts
from kurve.exchange.keras_models import check_name, not_in_keras
from kurve.exchange.keras_names import (
    FUNCTION_WRAPPERS,
    IGNORED_OF_OPTIMIZERS,
    KURVE_LOSSES,
    KURVE_SCHEDULES,
    LOSS_DEFAULTS,
    LOSS_NAMES,
    LOSS_OF_METRIC,
    METRIC_OF_LOSS,
    OPTIMIZER_DEFAULTS,
)
from kurve.metrics import LossMetric, Metric
from kurve.models import Sequential
from kurve.optimizers import Optimizer, schedules

_OLD_NADAM = (
    "[load_model] the optimizer is a Nadam of Keras before 2.11, whose momentum grows "
    "slowly (schedule_decay). Training continues with the Nadam of today's Keras. "
    "Try compile(...) with another optimizer if this one diverges."
)


@dataclass(frozen=True)
class Compiled:
    """The arguments of `compile`."""

    optimizer: Optimizer
    loss: losses.Loss
    metrics: list[Metric]
    weighted_metrics: list[Metric]


# -------------------------------------------------------------------- reading


def compiled_from(config: Mapping[str, Any], version: str = "") -> Compiled | None:
    """The arguments of `compile` in a file; None for a model without a loss.

    Args:
        version: of the Keras that wrote the file, where it is known.

    Raises:
        ValueError, TypeError: something that Kurve does not have; the message names it.
    """
    config = dict(config)
    optimizer = config.get("optimizer", config.get("optimizer_config"))
    loss = _of_one_output(config.get("loss"))
    if optimizer is None or loss is None:
        return None
    if _of_one_output(config.get("loss_weights")) not in (None, [], {}, 1, 1.0):
        raise ValueError("loss_weights are not read: there is one output")
    return Compiled(
        optimizer_from(optimizer, version),
        loss_from(loss, "the loss"),
        _metrics_from(config.get("metrics"), "metrics"),
        _metrics_from(config.get("weighted_metrics"), "weighted_metrics"),
    )


def _of_one_output(entry: Any) -> Any:
    """The value for the one output, which may stand in a list or under its name."""
    while isinstance(entry, list | Mapping) and len(entry) == 1:
        entry = next(iter(entry.values() if isinstance(entry, Mapping) else entry))
    return entry


def optimizer_from(entry: Any, version: str = "") -> Optimizer:
    """Kurve's optimizer for a name or an object of the Keras of this version."""
    if isinstance(entry, str):
        return optimizers.get(entry)
    if isinstance(entry, Mapping) and isinstance(entry.get("class_name"), str):
        # Keras 2.11 to 2.15 counted its own optimizers as custom ones.
        name = entry["class_name"].removeprefix("Custom>")
        registered = entry.get("registered_name")
        if isinstance(registered, str):
            registered = registered.removeprefix("Custom>")
        entry = {**entry, "class_name": name, "registered_name": registered}
    name, config = parts.opened(entry, "the optimizer")
    what = f"the optimizer {name}"
    if name not in optimizers.CLASSES:
        raise ValueError(f"{what} is not one that Kurve has")
    cls = optimizers.CLASSES[name]
    for key in IGNORED_OF_OPTIMIZERS:
        config.pop(key, None)
    if re.fullmatch(r"([01]|2\.[0-3])\..*(?<!-tf)", version) and "clipnorm" in config:
        # Keras itself clipped the norm of all gradients together, TensorFlow of each.
        config["global_clipnorm"] = config.pop("clipnorm")
    if "lr" in config:
        config["learning_rate"] = config.pop("lr")
    decay = parts.finite(config.pop("decay", None) or 0.0, f"{what} has decay")
    if name == "Nadam":
        # TensorFlow's name for schedule_decay.
        old = config.pop("schedule_decay", None) or decay
        decay = 0.0
        if old:
            warn(_OLD_NADAM)
    known = parts.arguments_of(cls) - OPTIMIZER_DEFAULTS.keys()
    parts.drop_defaults(config, what, OPTIMIZER_DEFAULTS, known)
    if config.get("epsilon", 0.0) is None:  # Keras's default
        del config["epsilon"]
    rate: Any = parts.unwrapped(config.get("learning_rate", 0.001))
    if isinstance(rate, Mapping):
        rate = schedule_from(rate, f"the schedule of {what}")
    else:
        rate = parts.number(config, "learning_rate", 0.001, what)
    if decay:  # of optimizers before Keras 2.11, which is this schedule
        if isinstance(rate, schedules.LearningRateSchedule):
            raise ValueError(f"{what} has decay={decay} and a schedule")
        rate = schedules.InverseTimeDecay(rate, 1, decay)
    return cls(**{**config, "learning_rate": rate})


def schedule_from(entry: Any, what: str) -> schedules.LearningRateSchedule:
    """Kurve's schedule for an object of Keras."""
    name, config = parts.opened(entry, what)
    if name in KURVE_SCHEDULES or name not in schedules.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    cls = schedules.CLASSES[name]
    config.pop("name", None)
    parts.drop_defaults(config, what, {}, parts.arguments_of(cls))
    for key, value in config.items():
        value = parts.unwrapped(value)
        if isinstance(value, list) and key in ("boundaries", "values"):
            config[key] = [parts.finite(v, f"{what} has {key}") for v in value]
        elif value is not None and not isinstance(value, bool):
            config[key] = parts.finite(value, f"{what} has {key}")
    return cls(**config)


def loss_from(entry: Any, what: str) -> losses.Loss:
    """Kurve's loss for a name, a function's name or an object of Keras."""
    name = parts.function_name(entry)
    if name is not None:
        loss = losses.as_loss(LOSS_NAMES.get(name, name))
        if type(loss).__name__ in KURVE_LOSSES:
            raise ValueError(f"{what} is {name!r}, which Keras does not have")
        return loss
    name, config = parts.opened(entry, what)
    return _loss_of(name, config, what)


def _loss_of(name: str, config: dict[str, Any], what: str) -> losses.Loss:
    """The loss of that class; one that wraps a function is the loss of its name."""
    if "fn" in config:
        function = parts.function_name(config.pop("fn"))
        if function is None:
            raise ValueError(f"{what} is a custom function")
        wrapped = type(loss_from(function, what)).__name__
        if name not in (*FUNCTION_WRAPPERS, wrapped):
            raise ValueError(f"{what} is {name} of the function {function!r}")
        name = wrapped
    if name not in losses.CLASSES or name in KURVE_LOSSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    cls = losses.CLASSES[name]
    known = parts.arguments_of(cls) - LOSS_DEFAULTS.keys()
    parts.drop_defaults(config, what, LOSS_DEFAULTS, known)
    return cls(**config)


def _metrics_from(entry: Any, what: str) -> list[Metric]:
    """A list of metrics, or of one such list for the one output."""
    entry = _of_one_output(entry)
    if entry is None:
        return []
    entry = [entry] if isinstance(entry, str | Mapping) else entry
    if not isinstance(entry, list) or len(entry) > 1000:
        raise ValueError(f"{what} is not a list of metrics")
    return [metric_from(item, f"{what}[{i}]") for i, item in enumerate(entry)]


def metric_from(entry: Any, what: str) -> Metric:
    """Kurve's metric for a name, a function's name or an object of Keras."""
    name = parts.function_name(entry)
    if name is not None:
        return metrics.as_metric(name)
    name, config = parts.opened(entry, what)
    if name in LOSS_OF_METRIC:
        title = config.pop("name", None)
        config.pop("fn", None)  # the function of the class
        return LossMetric(_loss_of(LOSS_OF_METRIC[name], config, what), title)
    function = (
        parts.function_name(config.get("fn")) if name in FUNCTION_WRAPPERS else None
    )
    if function is not None and function not in (*losses.NAMES, *LOSS_NAMES):
        name = type(metrics.as_metric(function)).__name__
    elif name in losses.CLASSES or name in FUNCTION_WRAPPERS:
        return LossMetric(_loss_of(name, config, what))
    config.pop("fn", None)
    if name not in metrics.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    cls = metrics.CLASSES[name]
    known = parts.arguments_of(cls) - LOSS_DEFAULTS.keys()
    parts.drop_defaults(config, what, LOSS_DEFAULTS, known)
    return cls(**config)


# -------------------------------------------------------------------- writing


def compile_entry(model: Sequential) -> dict[str, Any] | None:
    """The arguments of the model's `compile`, for Keras; None if it is not compiled.

    Raises:
        ValueError: something that Keras does not have; the message names it.
    """
    compilation = model._network.compilation
    if compilation is None:
        return None
    if len(model._network.output_names) > 1:
        warn(
            "[save] the loss and the metrics of a model of several outputs are not "
            f"saved. Received: {model!r}. Try load_model and then compile."
        )
        return None
    entries: dict[bool, list[Any]] = {False: [], True: []}
    for metric, weighted in compilation.metrics:
        entries[weighted].append(metric_entry(metric, model))
    return {
        "optimizer": optimizer_entry(compilation.optimizer),
        "loss": loss_entry(compilation.loss),
        "loss_weights": None,
        "metrics": entries[False] or None,
        "weighted_metrics": entries[True] or None,
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
        if name in METRIC_OF_LOSS:
            return parts.entry("keras.metrics", METRIC_OF_LOSS[name], config)
        if name in KURVE_LOSSES or losses.CLASSES.get(name) is not type(metric._loss):
            raise not_in_keras(f"the metric {metric.name!r} is a {name}")
        return parts.entry("keras.losses", name, config)
    name = type(metric).__name__
    if metrics.CLASSES.get(name) is not type(metric):
        raise not_in_keras(f"the metric {metric.name!r} is a {name}")
    return parts.entry("keras.metrics", name, metric.get_config())
