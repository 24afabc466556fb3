"""The arguments of `compile` between Keras's configurations and Kurve: optimizer with
its schedule, loss, metrics."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kurve import losses, metrics, optimizers
from kurve.core.entries import warn
from kurve.core.inside import network_of
from kurve.exchange import keras_parts as parts
from kurve.exchange.keras_entries import check_name, not_in_keras
from kurve.exchange.keras_names import (
    FUNCTION_WRAPPERS,
    IGNORED_OF_OPTIMIZERS,
    KURVE_LOSSES,
    KURVE_SCHEDULES,
    LOSS_DEFAULTS,
    LOSS_NAMES,
    METRIC_OF_LOSS,
)
from kurve.exchange.keras_own import class_entry, function_entry, made, own_entry
from kurve.metrics import LossMetric, Metric
from kurve.models import Sequential
from kurve.optimizers import Optimizer, schedules
from kurve.plan import Shape

_OLD_NADAM = (
    "[load_model] the optimizer is a Nadam of Keras before 2.11, whose momentum grows "
    "slowly (schedule_decay). Training continues with the Nadam of today's Keras. "
    "Try compile(...) with another optimizer if this one diverges."
)


LOSS_SCALED = "LossScaleOptimizer"


@dataclass(frozen=True)
class Compiled:
    """The arguments of `compile`; lists or dictionaries for several outputs.

    before_state: how many numbers Keras 3 stores before the optimizer's: those of a
                  `LossScaleOptimizer` around it
    """

    optimizer: Optimizer
    loss: Any
    loss_weights: Any
    metrics: Any
    weighted_metrics: Any
    steps_per_execution: int
    before_state: int = 0


# -------------------------------------------------------------------- reading


def compiled_from(
    config: Mapping[str, Any], outputs: int = 1, version: str = ""
) -> Compiled | None:
    """The arguments of `compile` in a file; None for a model without a loss.

    Args:
        outputs: the model's outputs; the value for a single one can be in a list or
            under its name.
        version: the Keras version that wrote the file, if known.

    Raises:
        ValueError, TypeError: something Kurve does not have; the message names it.
    """
    config = dict(config)
    for key in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        if outputs == 1:
            config[key] = _of_one_output(config.get(key))
    optimizer = config.get("optimizer", config.get("optimizer_config"))
    loss, weights = config.get("loss"), config.get("loss_weights")
    if optimizer is None or loss is None:
        return None
    steps = config.get("steps_per_execution")
    return Compiled(
        optimizer_from(optimizer, version),
        _by_output(loss, loss_from, "the loss"),
        None if weights in ([], {}) else weights,
        _metrics_from(config.get("metrics"), "metrics"),
        _metrics_from(config.get("weighted_metrics"), "weighted_metrics"),
        steps if isinstance(steps, int) else 1,
        0 if _inside_scale(optimizer) is None else 4,
    )


def _by_output(entry: Any, read: Callable[[Any, str], Any], what: str) -> Any:
    """Each value in lists and dictionaries by output, read; None stays."""
    if isinstance(entry, list):
        return [_by_output(one, read, f"{what}[{i}]") for i, one in enumerate(entry)]
    if isinstance(entry, Mapping) and "class_name" not in entry:
        return {
            name: _by_output(one, read, f"{what}[{name!r}]")
            for name, one in entry.items()
        }
    return None if entry is None else read(entry, what)


def _of_one_output(entry: Any) -> Any:
    """The value for the single output, which can be in a list or under its name."""
    while isinstance(entry, list | Mapping) and len(entry) == 1:
        entry = next(iter(entry.values() if isinstance(entry, Mapping) else entry))
    return entry


def optimizer_from(entry: Any, version: str = "") -> Optimizer:
    """Kurve's optimizer for a name or object of this Keras version."""
    if isinstance(entry, str):
        return optimizers.get(entry)
    if isinstance(entry, Mapping) and isinstance(entry.get("class_name"), str):
        # Keras 2.11 to 2.15 registered its own optimizers as custom ones.
        name = entry["class_name"].removeprefix("Custom>")
        registered = entry.get("registered_name")
        if isinstance(registered, str):
            registered = registered.removeprefix("Custom>")
        entry = {**entry, "class_name": name, "registered_name": registered}
        inner = _inside_scale(entry)
        if inner is not None:
            return optimizer_from(inner, version)
    found = parts.own(entry)
    if found is not None:
        own: Optimizer = made(found, _with_schedule(entry), "the optimizer", Optimizer)
        return own
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
    parts.drop_defaults(config, what, {}, parts.arguments_of(cls))
    if config.get("epsilon", 0.0) is None:  # Keras's default
        del config["epsilon"]
    rate: Any = parts.unwrapped(config.get("learning_rate", 0.001))
    if isinstance(rate, Mapping):
        rate = schedule_from(rate, f"the schedule of {what}")
    else:
        rate = parts.number(config, "learning_rate", 0.001, what)
    if decay:  # optimizers before Keras 2.11; equivalent to this schedule
        if isinstance(rate, schedules.LearningRateSchedule):
            raise ValueError(f"{what} has decay={decay} and a schedule")
        rate = schedules.InverseTimeDecay(rate, 1, decay)
    return cls(**{**config, "learning_rate": rate})


def _inside_scale(entry: Any) -> Any:
    """The optimizer inside a `LossScaleOptimizer`, which float32 does not need; None
    for any other."""
    if not isinstance(entry, Mapping) or entry.get("class_name") != LOSS_SCALED:
        return None
    config = entry.get("config")
    return config.get("inner_optimizer") if isinstance(config, Mapping) else None


def _with_schedule(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry of a custom optimizer, its learning rate as Kurve's `deserialize` reads
    it."""
    config = entry.get("config")
    rate = config.get("learning_rate") if isinstance(config, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(rate, Mapping):
        return entry
    found = schedule_from(rate, "the schedule of the optimizer")
    return {**entry, "config": {**config, "learning_rate": schedules.serialize(found)}}


def schedule_from(entry: Any, what: str) -> schedules.LearningRateSchedule:
    """Kurve's schedule for a Keras object."""
    name, config = parts.opened(entry, what)
    if name in KURVE_SCHEDULES or name not in schedules.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    cls = schedules.CLASSES[name]
    label = config.pop("name", None)
    parts.drop_defaults(config, what, {}, parts.arguments_of(cls))
    for key, value in config.items():
        value = parts.unwrapped(value)
        if isinstance(value, list) and key in ("boundaries", "values"):
            config[key] = [parts.finite(v, f"{what} has {key}") for v in value]
        elif value is not None and not isinstance(value, bool):
            config[key] = parts.finite(value, f"{what} has {key}")
    if isinstance(label, str) and label:
        config["name"] = label
    return cls(**config)


def loss_from(entry: Any, what: str) -> losses.Loss:
    """Kurve's loss for a Keras name, function name or object."""
    found, name = parts.own(entry), parts.function_name(entry)
    if name is not None:
        name = LOSS_NAMES.get(name, name)
        if name in losses.FITTING:
            return losses.to_train(name)
        if name not in losses.NAMES:
            if callable(found):
                return losses.as_loss(found)
            parts.refuse_unknown_function(entry, name, what)
        loss = losses.as_loss(name)
        if type(loss).__name__ in KURVE_LOSSES:
            raise ValueError(f"{what} is {name!r}, which Keras does not have")
        return loss
    if found is not None:
        own: losses.Loss = made(found, entry, what, losses.Loss)
        return own
    name, config = parts.opened(entry, what)
    return _loss_of(name, config, what)


def _loss_of(name: str, config: dict[str, Any], what: str) -> losses.Loss:
    """The loss of that class; a function wrapper gives the loss of that name."""
    if "fn" in config:
        entry = config.pop("fn")
        function = parts.function_name(entry)
        if function is None:
            raise ValueError(f"{what} is a custom function")
        loss = loss_from(entry, what)
        if isinstance(loss, losses.FunctionLoss):
            return loss
        wrapped = type(loss).__name__
        if name not in (*FUNCTION_WRAPPERS, wrapped):
            raise ValueError(f"{what} is {name} of the function {function!r}")
        name = wrapped
    if name not in losses.CLASSES or name in KURVE_LOSSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    cls = losses.CLASSES[name]
    if parts.unwrapped(config.get("reduction")) == "auto":  # Keras 2
        del config["reduction"]
    known = parts.arguments_of(cls) - {"dtype"}
    parts.drop_defaults(config, what, LOSS_DEFAULTS, known)
    return cls(**config)


def _metrics_from(entry: Any, what: str) -> Any:
    """A list of metrics; for several outputs, lists by output."""
    if entry is None:
        return []
    if isinstance(entry, str) or (isinstance(entry, Mapping) and "class_name" in entry):
        entry = [entry]
    if not isinstance(entry, list | Mapping) or len(entry) > 1000:
        raise ValueError(f"{what} is not a list of metrics")
    return _by_output(entry, metric_from, what)


def metric_from(entry: Any, what: str) -> Metric:
    """Kurve's metric for a Keras name, function name or object."""
    name = parts.function_name(entry)
    if name is not None:
        return _metric_of_function(entry, name, what)
    found = parts.own(entry)
    if found is not None:
        own = made(found, entry, what, Metric, losses.Loss)
        return metrics.as_metric(own)
    name, config = parts.opened(entry, what)
    fn = config.pop("fn", None) if name in FUNCTION_WRAPPERS else None
    if fn is not None:
        function = parts.function_name(fn)
        if function is None:
            raise ValueError(f"{what} is a custom function")
        metric = _metric_of_function(fn, function, what)
        metric.name = config.get("name", metric.name)
        return metric
    config.pop("fn", None)  # the function of the class
    if name in metrics.CLASSES:
        config.pop("dtype", None)  # accumulators are float64
        cls = metrics.CLASSES[name]
        known = parts.arguments_of(cls) - {"fn", "loss"}
        parts.drop_defaults(config, what, LOSS_DEFAULTS, known)
        return cls(**config)
    return LossMetric(_loss_of(name, config, what), of_batches=True)


def _metric_of_function(entry: Any, name: str, what: str) -> Metric:
    """The metric for a function of Keras or `custom_objects`."""
    name = LOSS_NAMES.get(name, name)
    if name not in (*metrics.NAMES, *losses.NAMES, "accuracy", "acc"):
        found = parts.own(entry)
        if callable(found):
            return metrics.as_metric(found)
        parts.refuse_unknown_function(entry, name, what)
    return metrics.as_metric(name)


# -------------------------------------------------------------------- writing


def compile_entry(model: Sequential) -> dict[str, Any] | None:
    """The model's `compile` arguments, for Keras; None if it is not compiled.

    Raises:
        ValueError: something Keras does not have; the message names it.
    """
    compilation = network_of(model).compilation
    if compilation is None:
        return None
    goals, labels = network_of(model).goals, network_of(model).outputs.labels
    shapes = [head.shape for head in network_of(model).require_built("save")[0].heads]
    loss, listed = [], dict[bool, list[Any]]({False: [], True: []})
    for goal, shape in zip(goals, shapes, strict=True):
        loss.append(None if goal.loss is None else loss_entry(goal.loss))
        for wanted, entries in listed.items():
            found = [m for m, weighted in goal.metrics if weighted is wanted]
            entries.append([metric_entry(m, goal.loss, shape) for m in found])
    weights: Any = [goal.weight for goal in goals]

    def by_output(values: list[Any]) -> Any:
        return values[0] if len(goals) == 1 else dict(zip(labels, values, strict=True))

    return {
        "optimizer": optimizer_entry(compilation.optimizer),
        "loss": by_output(loss),
        "loss_weights": None if set(weights) == {1.0} else by_output(weights),
        "metrics": by_output(listed[False]) if any(listed[False]) else None,
        "weighted_metrics": by_output(listed[True]) if any(listed[True]) else None,
        "run_eagerly": False,
        "steps_per_execution": compilation.steps_per_execution,
        "jit_compile": False,
    }


def optimizer_entry(optimizer: Optimizer) -> dict[str, Any]:
    """The Keras configuration of an optimizer."""
    name = type(optimizer).__name__
    check_name("the optimizer", optimizer.name)
    config = optimizer.get_config()
    rate = optimizer.given_rate
    if isinstance(rate, schedules.LearningRateSchedule):
        kind = type(rate).__name__
        if kind in KURVE_SCHEDULES or schedules.CLASSES.get(kind) is not type(rate):
            raise not_in_keras(f"the schedule of the learning rate is a {kind}")
        config["learning_rate"] = parts.entry(
            "keras.optimizers.schedules", kind, rate.get_config()
        )
    if optimizers.CLASSES.get(name) is not type(optimizer):
        return class_entry(type(optimizer), name, config)
    return parts.entry("keras.optimizers", name, config)


def loss_entry(loss: losses.Loss) -> Any:
    """The Keras configuration of a loss."""
    loss = getattr(loss, "written", loss)
    if isinstance(loss, losses.FittingCrossentropy):
        return loss.kind
    name = type(loss).__name__
    if isinstance(loss, losses.FunctionLoss):
        if loss.reduction != "sum_over_batch_size":
            raise not_in_keras(f"the loss is a function, with {loss.reduction!r}")
        return function_entry(loss.function)
    if name in KURVE_LOSSES and losses.CLASSES.get(name) is type(loss):
        raise not_in_keras(f"the loss is a {name}")
    if losses.CLASSES.get(name) is not type(loss):
        return own_entry(loss)
    config = {"reduction": loss.reduction, **loss.get_config()}
    return parts.entry("keras.losses", name, config)


def metric_entry(metric: Metric, loss: losses.Loss | None, shape: Shape) -> Any:
    """The Keras configuration of a metric for an output with that loss and shape."""
    if isinstance(metric, metrics.FittingAccuracy):
        if metric.name in ("accuracy", "acc"):
            return metric.name
        metric = metric.resolve(loss, shape)
    if type(metric) is LossMetric:
        own, name = metric._loss, type(metric._loss).__name__
        config = {**own.get_config(), "name": metric.name}
        if isinstance(own, losses.FunctionLoss):
            return _wrapper_entry(metric, function_entry(own.function))
        if name in METRIC_OF_LOSS and not metric.of_batch:
            return parts.entry("keras.metrics", METRIC_OF_LOSS[name], config)
        if losses.CLASSES.get(name) is not type(own):
            return own_entry(own)
        if name in KURVE_LOSSES:
            raise not_in_keras(f"the metric {metric.name!r} is a {name}")
        if not metric.of_batch and own.reduction not in (None, "none"):
            # A Keras function whose rows are counted takes no arguments.
            changed = own.get_config() != type(own)().get_config()
            if changed:
                raise not_in_keras(f"the metric {metric.name!r} is a {own!r} of rows")
            function = getattr(losses, own.kind)
            return _wrapper_entry(metric, own_entry(function))
        return parts.entry("keras.losses", name, config)
    name = type(metric).__name__
    if metrics.CLASSES.get(name) is not type(metric):
        return own_entry(metric)
    return parts.entry("keras.metrics", name, metric.get_config())


def _wrapper_entry(metric: Metric, function: dict[str, Any]) -> Any:
    """A function as a metric: the bare function if it has no custom name."""
    if metric.name == function["config"]:
        return function
    config = {"name": metric.name, "dtype": metric.dtype, "fn": function}
    return parts.entry("keras.metrics", "MeanMetricWrapper", config)
