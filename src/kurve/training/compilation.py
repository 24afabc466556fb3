"""The arguments of `compile`, resolved for each output of a model."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kurve import losses, metrics
from kurve.core.arguments import is_number
from kurve.core.overrides import refuse_overrides
from kurve.engines import Engine, get_engine
from kurve.losses import Loss
from kurve.losses.rows import broadcasting
from kurve.metrics import RowMetric
from kurve.optimizers import Optimizer
from kurve.plan import Plan
from kurve.training.parts import Parts, flatten

WeightedMetric = tuple[RowMetric, bool]
"""A metric, and whether it uses sample weights."""


class Goal:
    """The training goal of one output.

    loss:    None if it has none
    weight:  weight of its loss in the total loss
    metrics: `metrics`, then `weighted_metrics`
    """

    def __init__(
        self, loss: Loss | None, weight: float, metrics: tuple[WeightedMetric, ...]
    ) -> None:
        self.loss, self.weight, self.metrics = loss, weight, metrics

    @property
    def rule(self) -> Loss | RowMetric | None:
        """The loss or metric that determines which targets are valid; None if there is
        none."""
        if self.loss is not None:
            return self.loss
        fitting = (metric for metric, _ in self.metrics if not metric.counts_itself)
        return next(fitting, None)

    @property
    def summed(self) -> Goal:
        """Without losses that compare rows and metrics that are computed in Python,
        which engines do not support."""
        known = [pair for pair in self.metrics if not pair[0].counts_itself]
        loss = None if self.loss is None or self.loss.across_rows else self.loss
        return Goal(loss, self.weight, tuple(known))

    def resolved(self, shape: tuple[int, ...]) -> list[RowMetric]:
        """The metrics, with "accuracy" resolved for the output."""
        return [metric.resolve(self.loss, shape) for metric, _ in self.metrics]


@dataclass(frozen=True, eq=False)
class Compilation:
    """The arguments of `compile`; pickled and copied as is.

    loss:             for all outputs, or a list or dictionary by output; names are
                      replaced by objects, None means no loss
    metrics, weighted_metrics: a list for a single output, else a list of lists or a
                      dictionary of lists; names are replaced too
    loss_weights:     a number for all outputs, a list or a dictionary; None for 1
    engine:           None for the default one
    steps_per_execution: steps between calls of the batch hooks
    """

    optimizer: Optimizer
    loss: Any
    metrics: Any = None
    weighted_metrics: Any = None
    engine: Engine | None = None
    loss_weights: Any = None
    steps_per_execution: int = 1

    @classmethod
    def of(
        cls,
        optimizer: Optimizer,
        loss: Any,
        loss_weights: Any,
        metrics: Any,
        weighted_metrics: Any,
        engine: Engine | None,
        steps_per_execution: int,
    ) -> Compilation:
        """Create it from arguments, with names replaced by objects.

        Raises:
            TypeError, ValueError, NotImplementedError: an invalid argument.
        """
        if loss is None:
            pass  # a model with a custom training step
        elif not _is_list(loss) and not isinstance(loss, Mapping):
            loss = losses.to_train(loss)
        else:
            loss = _each(loss, lambda one: one if one is None else losses.to_train(one))
        if loss is not None and all(one is None for one in flatten(loss)):
            raise ValueError(
                "[compile] at least one output needs a loss. "
                f"Received: loss={loss!r}. Try loss='mse'."
            )
        for part in (optimizer, *flatten(loss)):
            if part is not None:
                refuse_overrides("compile", part)
            if isinstance(part, Loss) and part.reduction in (None, "none"):
                raise ValueError(
                    f"[compile] {part.name} must be reduced to one number, which "
                    f"training can lower. Received: reduction={part.reduction!r}. "
                    "Try reduction='sum', which has the same gradient."
                )
        _check_weights(loss_weights)
        return cls(
            optimizer,
            loss,
            _metrics("metrics", metrics),
            _metrics("weighted_metrics", weighted_metrics),
            engine,
            loss_weights,
            steps_per_execution,
        )

    def goals(self, outputs: Parts) -> tuple[Goal, ...]:
        """The goal of each output.

        Raises:
            TypeError, ValueError: names or numbers of values that do not match the
                outputs.
        """
        count = len(outputs.names)
        loss = self._losses(outputs)
        weights = self._weights(outputs)
        plain = _of_outputs("metrics", self.metrics, outputs)
        weighted = _of_outputs("weighted_metrics", self.weighted_metrics, outputs)
        goals = []
        for i in range(count):
            pairs = [(metric, False) for metric in plain[i]]
            pairs += [(metric, True) for metric in weighted[i]]
            goals.append(Goal(loss[i], weights[i], tuple(pairs)))
        return tuple(goals)

    def _losses(self, outputs: Parts) -> list[Loss | None]:
        if isinstance(self.loss, Loss) or self.loss is None:
            return [self.loss] * len(outputs.names)
        optional = [isinstance(self.loss, Mapping)] * len(outputs.names)
        return _singles("loss", _split(outputs, "loss", self.loss, optional))

    def _weights(self, outputs: Parts) -> list[float]:
        count, given = len(outputs.names), self.loss_weights
        if given is None or is_number(given):
            return [1.0 if given is None else float(given)] * count
        split = _split(outputs, "loss_weights", given, [True] * count)
        split = _singles("loss_weights", split)
        return [1.0 if weight is None else float(weight) for weight in split]

    def completed(
        self,
        plan: Plan,
        goals: Iterable[Goal],
        resolved: Iterable[Sequence[RowMetric]],
        labels: Iterable[str],
    ) -> Plan:
        """Add losses, metrics and optimizer to a plan.

        Args:
            resolved: the metrics of each output, see `Goal.resolved`.
            labels: names of the outputs.
        """
        heads = []
        for head, goal, chosen, label in zip(
            plan.heads, goals, resolved, labels, strict=True
        ):
            by_ops = iter(head.metrics)
            specs = []
            for metric, (_, weighted) in zip(chosen, goal.metrics, strict=True):
                spec = metric.spec(head.shape, weighted)
                for _ in range(metric.parts):
                    if metric.by_ops:
                        own = next(by_ops)
                        of_batch = metric.of_batch or own.of_batch
                        spec = replace(spec, rows=own.rows, of_batch=of_batch)
                    specs.append(spec)
            loss, reduction = None, "mean"
            if goal.loss is not None:
                loss = head.loss or goal.loss.spec
                reduction = goal.loss.reduction_of(head.reduction)
            head = replace(head, loss=loss, metrics=tuple(specs), weight=goal.weight)
            heads.append(replace(head, reduction=reduction, name=label))
        written = self.optimizer.is_written
        optimizer = None if written else self.optimizer.spec_for(plan.params)
        return replace(plan, heads=tuple(heads), optimizer=optimizer)

    @property
    def has_own_optimizer(self) -> bool:
        """Whether the optimizer must be called, because the engine cannot compute its
        updates."""
        optimizer = self.optimizer
        apply = getattr(optimizer.apply, "__func__", None)
        return optimizer.is_written or apply is not Optimizer.apply

    @functools.cached_property
    def has_own_metrics(self) -> bool:
        """Whether a metric is computed in Python."""
        given = [*flatten(self.metrics or []), *flatten(self.weighted_metrics or [])]
        return any(metric is not None and metric.counts_itself for metric in given)

    @property
    def across_rows(self) -> list[Loss]:
        """The losses that compare rows of a batch."""
        return [loss for loss in flatten(self.loss) if loss and loss.across_rows]

    @property
    def has_unknown_targets(self) -> bool:
        """Whether the form in which a loss takes its targets is still unknown."""
        found = [loss for loss in flatten(self.loss) if loss is not None]
        return any(
            loss.any_targets and not (loss.across_rows or loss.targets)
            for loss in found
        )

    def __getstate__(self) -> dict[str, Any]:
        """Pickle Kurve's engines by name."""
        engine: Any = self.engine
        if engine is not None and type(engine).__module__.startswith("kurve."):
            engine = engine.name
        return {**vars(self), "engine": engine}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        engine = state["engine"]
        if type(engine) is str:
            engine = get_engine(engine)
        vars(self).update({**state, "engine": engine})


class LogNames:
    """The names of losses and metrics in logs, as in Keras.

    losses:  of each output, "" if not shown because there is only one loss
    metrics: of all outputs, in order
    """

    def __init__(self, goals: Sequence[Goal], outputs: Parts) -> None:
        # Metrics with a duplicate name get the prefix "weighted_" or a number appended.
        several = len(goals) > 1
        prefixes = [f"{label}_" if several else "" for label in outputs.labels]
        shown = sum(goal.loss is not None for goal in goals) > 1
        taken = {"loss"}
        names = [
            _free(f"{label}_loss", taken) if shown and goal.loss is not None else ""
            for label, goal in zip(outputs.loss_labels, goals, strict=True)
        ]
        found: dict[tuple[int, int], str] = {}
        # So that weighted metrics are the ones renamed.
        for pass_weighted in (False, True):
            for i, (prefix, goal) in enumerate(zip(prefixes, goals, strict=True)):
                for k, (metric, weighted) in enumerate(goal.metrics):
                    if weighted is pass_weighted:
                        name = prefix + metric.name
                        if weighted and name in taken:
                            name = f"{prefix}weighted_{metric.name}"
                        found[i, k] = _free(name, taken)
        self.losses = tuple(names)
        self.metrics = tuple(found[key] for key in sorted(found))

    @property
    def in_order(self) -> list[str]:
        """The order in which `evaluate` returns the values: the loss, the loss of each
        output, the metrics; those of several outputs sorted by name."""
        several = len(self.losses) > 1
        ordered = sorted(self.metrics) if several else list(self.metrics)
        return ["loss", *filter(None, self.losses), *ordered]


class Goals(tuple[Goal, ...]):
    """The goals of all outputs of a model.

    outputs, log_names: names of the outputs, and in logs
    """

    outputs: Parts
    log_names: LogNames

    def __new__(cls, compilation: Compilation, outputs: Parts) -> Goals:
        goals = super().__new__(cls, compilation.goals(outputs))
        goals.outputs, goals.log_names = outputs, LogNames(goals, outputs)
        return goals


def _free(name: str, taken: set[str]) -> str:
    """The name, with the first free number appended if it is taken."""
    free, number = name, 1
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _each(value: Any, make: Any) -> Any:
    """The structure with each leaf replaced."""
    if isinstance(value, Mapping):
        return {key: _each(one, make) for key, one in value.items()}
    if _is_list(value):
        return [_each(one, make) for one in value]
    return make(value)


def _metrics(argument: str, given: Any) -> Any:
    """The argument with names replaced by objects."""
    if given is None:
        return None
    if isinstance(given, str):
        from kurve.legacy.saying import say

        rule = f"{argument} is a list, or a dictionary by output"
        say("compile", rule, f"{argument}={given!r}", f"{argument}={[given]!r}")
        given = [given]
    if not isinstance(given, (list, tuple, Mapping)):
        raise TypeError(
            f"[compile] {argument} must be a list, or a dictionary by output. "
            f"Received: {given!r}. Try {argument}={[given]!r}."
        )
    found = _each(given, lambda one: None if one is None else metrics.as_metric(one))
    for metric in flatten(found):
        if metric is not None and not metric.counts_itself:
            refuse_overrides("compile", metric)
    return found


def _of_outputs(argument: str, given: Any, outputs: Parts) -> list[list[RowMetric]]:
    """The metrics of each output."""
    count = len(outputs.names)
    if not given or not count:  # a model whose outputs only its call knows
        return [[] for _ in range(count)]
    if count == 1:
        return [[metric for metric in _leaves(given) if metric is not None]]
    plain = _is_list(given) and not any(map(_is_nested, given))
    if broadcasting[0] and plain and len(given) != count:
        from kurve.legacy.saying import say

        rule = f"{argument} of several outputs has one entry for each, since Keras 3"
        say(
            "compile",
            rule,
            f"{len(given)} for {count} outputs",
            f"[{argument}] * {count}",
        )
        given = [given] * count
    split = _split(outputs, argument, given, [True] * count)
    return [[m for m in _leaves(each) if m is not None] for each in split]


def _is_nested(value: Any) -> bool:
    return _is_list(value) or isinstance(value, Mapping)


def _leaves(value: Any) -> list[Any]:
    """All leaves, with dictionaries in insertion order."""
    if isinstance(value, Mapping):
        return [leaf for one in value.values() for leaf in _leaves(one)]
    if _is_list(value):
        return [leaf for one in value for leaf in _leaves(one)]
    return [value]


def _split(
    outputs: Parts, argument: str, given: Any, optional: Sequence[bool]
) -> list[Any]:
    """One value per output; lists must have one entry each."""
    if outputs.names == ("",) and len(given) == 1:  # before the first layer
        return list(given.values()) if isinstance(given, Mapping) else list(given)
    if _is_list(given):
        optional = [False] * len(outputs.names)
    return outputs.split("compile", argument, given, optional)


def _singles(argument: str, values: list[Any]) -> list[Any]:
    """The values of outputs, each optionally wrapped in a list."""
    found = []
    for value in values:
        inner = (
            flatten(value) if _is_list(value) or isinstance(value, Mapping) else [value]
        )
        if len(inner) != 1:
            raise ValueError(
                f"[compile] {argument} must have one value per output. "
                f"Received: {value!r} for one output. Try {argument}=[...] in the "
                "order of the outputs."
            )
        found.append(inner[0])
    return found


def _check_weights(given: Any) -> None:
    for weight in flatten(given):
        if weight is not None and not is_number(weight):
            metric = isinstance(weight, str)
            raise ValueError(
                "[compile] loss_weights must be finite numbers, one per output. "
                f"Received: loss_weights={given!r}. Try "
                f"{f'metrics={given!r}' if metric else 'loss_weights=[1.0, 0.5]'}."
            )
