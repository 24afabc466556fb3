"""Models with custom steps: `train_step`, `test_step`, `compute_loss` and
`compute_metrics` as in Keras, and their default implementations."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.entries import warn
from kurve.core.inside import inner_network
from kurve.core.overrides import is_own
from kurve.formulas.recording import active, recording
from kurve.formulas.tensor import leaves

if TYPE_CHECKING:
    from kurve.metrics import Metric
    from kurve.training.stepping import Stepping
    from kurve.training.trainer import Trainer

STEPS = (
    "train_step",
    "test_step",
    "make_train_function",
    "make_test_function",
    "compute_loss",
    "compute_metrics",
    "metrics",
)
"""Methods that make a model train in Python if a subclass overrides them."""


def has_own_steps(model: Any) -> bool:
    """Whether a model, or a class of the user, overrides a step, holds a metric, was
    compiled with a custom metric or optimizer, or a loss that compares the rows of a
    batch, or is given weights of the steps of sequences."""
    places = [vars(one) for one in _classes(model) if is_own(one)]
    if not isinstance(model, type):
        if model._network.weighs_steps:
            return True
        compilation = model._network.compilation
        if compilation is not None and (
            compilation.has_own_metrics
            or compilation.across_rows
            or compilation.has_own_optimizer
        ):
            return True
        if any(True for _ in held_metrics(model)):
            return True
        places.append(vars(model))
        if function_of(model, "train") or function_of(model, "test"):
            return True
    return any(name in place for place in places for name in STEPS)


class StepOfIterator:
    """The result of `make_train_function` and the like: it runs the step on the next
    batch of an iterator.

    Args:
        model, kind: the model, and "train", "test" or "predict".
    """

    def __init__(self, model: Any, kind: str) -> None:
        self.model, self.kind = model, kind

    def __call__(self, iterator: Iterator[Any]) -> Any:
        return compiled_step(self.model, f"{self.kind}_step")(next(iterator))


def compiled_step(model: Trainer, name: str) -> Callable[[Any], Any]:
    """A step that runs compiled if it can be traced; see `kurve.function`."""
    from kurve.training.tracing.functions import Function

    written: Callable[[Any], Any] = getattr(model, name)
    if model.run_eagerly:
        return written
    known = model._functions.get(name)
    if known is None or known.python_function != written:
        known = model._functions[name] = Function(written)
        if model.iterations:  # continue from the state of a file or a copy
            known.skip_first_run()
    return known


def make_function(model: Any, kind: str, force: bool) -> Any:
    """The function of a model for steps of that kind; a new one if there is none."""
    name = f"{kind}_function"
    if getattr(model, name) is None or force:
        setattr(model, name, StepOfIterator(model, kind))
    return getattr(model, name)


def function_of(model: Any, kind: str) -> Any:
    """The user's own function for steps of that kind, or None."""
    found = vars(model).get(f"{kind}_function")
    return None if isinstance(found, StepOfIterator) else found


def made_function(model: Any, kind: str) -> Any:
    """The same, for models that only create it on request."""
    name = f"make_{kind}_function"
    is_base = getattr(getattr(type(model), name), "__module__", "").startswith("kurve.")
    if is_base and name not in vars(model):
        return function_of(model, kind)
    made = getattr(model, name)()
    made = made if callable(made) else getattr(model, f"{kind}_function")
    return None if isinstance(made, StepOfIterator) else made


class Ahead(Iterator[Any]):
    """An iterator that knows whether there is a next batch.

    taken: how many batches it has returned
    """

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches, self._next, self.taken = batches, _NONE, 0

    @property
    def has_next(self) -> bool:
        if self._next is _NONE:
            self._next = next(self._batches, _NONE)
        return self._next is not _NONE

    def __next__(self) -> Any:
        if not self.has_next:
            raise StopIteration
        batch, self._next = self._next, _NONE
        self.taken += 1
        return batch


_NONE: Any = object()


def _classes(model: Any) -> tuple[type, ...]:
    return model.__mro__ if isinstance(model, type) else type(model).__mro__


def refuse_own_steps(where: str, model: Any) -> None:
    """Refuse a model whose custom steps would not be called."""
    if has_own_steps(model):
        raise NotImplementedError(
            f"[{where}] it only works with the engine's own step. Received: a model "
            "with a custom step, metric or optimizer, or a loss that compares the rows "
            f"of a batch, {type(model).__name__}. Try model.fit."
        )


def with_known_targets(
    model: Any, x: Any, y: Any, weights: Any = None, validation: Any = None
) -> Any:
    """x, once it is known how custom losses take such data, and whether there are
    weights of the steps of sequences; if x is an iterator, its first batch is put back
    in front.

    Args:
        weights, validation: sample_weight and validation_data of the same call.
    """
    from kurve.training.feeds import is_dataset, is_source
    from kurve.training.inputs import DataCheck, unpack_batch
    from kurve.training.streams import END

    network = model._network
    compilation = network.compilation
    network.weighs_steps = False
    if compilation is None or has_own_steps(model):
        return x
    rows = [(x, weights)]
    if isinstance(validation, (list, tuple)) and len(validation) == 3:
        rows.append((validation[0], validation[2]))
    data = x, y
    plan = network.plan
    of_steps = plan is None or any(len(head.shape) > 1 for head in plan.heads)
    if is_source(x) and (of_steps or compilation.has_unknown_targets):
        if is_dataset(x):
            first = x[0]
        else:
            first = next(iter(x), END)
            x = itertools.chain((first,), x) if isinstance(x, Iterator) else x
        if first is END:
            return iter(())
        with contextlib.suppress(TypeError):
            x_, y_, given = unpack_batch("fit", first)
            data, rows[0] = (x_, y_), (x_, given)
    network.weighs_steps = any(_weighs_steps(network, *one) for one in rows)
    if compilation.has_unknown_targets and not network.weighs_steps:
        with contextlib.suppress(Exception):  # who uses the data says what is wrong
            DataCheck("fit", network)(*data)
    return x


def _weighs_steps(network: Any, x: Any, weights: Any) -> bool:
    """Whether these are weights (n, T, ...) of the steps of outputs (n, T, ..., O)."""
    from kurve.training.inputs import check_inputs

    shapes = [np.shape(one) for one in leaves(weights) if hasattr(one, "shape")]
    shapes = [shape[:-1] if shape[-1:] == (1,) else shape for shape in shapes]
    if not any(len(shape) > 1 for shape in shapes):
        return False
    with contextlib.suppress(Exception):  # who uses the data says what is wrong
        if network.plan is not None:
            heads = [head.shape for head in network.plan.heads]
        else:
            found = check_inputs("fit", network, x)
            heads = [network.output_shape_for(found.shape[1:])]
        steps = {head[:-1] for head in heads}
        return all(len(shape) < 2 or shape[1:] in steps for shape in shapes)
    return False


def train_step(model: Stepping, data: Any) -> dict[str, Any]:
    """The default `train_step`: one update."""
    from kurve.gradients import GradientTape
    from kurve.utils import unpack_x_y_sample_weight

    x, y, weights = unpack_x_y_sample_weight(data)
    with GradientTape() as tape:
        y_pred = model(x, training=True)
        loss = loss_of(model, x, y, y_pred, weights, True)
    _track(model, x, loss)
    trained = model.trainable_weights  # type: ignore[attr-defined]
    if trained:
        assert model.optimizer is not None
        model.optimizer.apply(tape.gradient(loss, trained), trained)
    else:
        warn(
            "[fit] the model has no weights to train. Received: none. "
            "Try layer.trainable = True."
        )
    return model.compute_metrics(x, y, y_pred, sample_weight=weights)


def test_step(model: Stepping, data: Any) -> dict[str, Any]:
    """The default `test_step`: loss and metrics of a batch."""
    from kurve.utils import unpack_x_y_sample_weight

    x, y, weights = unpack_x_y_sample_weight(data)
    y_pred = model(x, training=False)
    _track(model, x, loss_of(model, x, y, y_pred, weights, False))
    return model.compute_metrics(x, y, y_pred, sample_weight=weights)


def loss_of(
    model: Stepping, x: Any, y: Any, y_pred: Any, weights: Any, training: bool
) -> Any:
    """Call `compute_loss`; overrides written for older versions lack the argument
    `training`."""
    import inspect

    named: dict[str, Any] = {"x": x, "y": y, "y_pred": y_pred, "sample_weight": weights}
    if "training" in inspect.signature(model.compute_loss).parameters:
        named["training"] = training
    return model.compute_loss(**named)


def compute_loss(model: Stepping, y: Any, y_pred: Any, weights: Any) -> Any:
    """The losses of `compile`, weighted, plus those of layers and weight penalties."""
    from kurve.formulas import functions as ops

    terms = _losses(model, y, y_pred, weights)
    terms += [ops.sum(term) for term in model.losses]  # type: ignore[attr-defined]
    if not terms:
        raise ValueError(
            "[compute_loss] there is no loss to compute. Received: a model compiled "
            "without one. Try compile(loss='mse'), or your own compute_loss."
        )
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _losses(model: Any, y: Any, y_pred: Any, weights: Any) -> list[Any]:
    """The losses of `compile`, each with its weight."""
    network, terms = model._network, []
    if network.compilation is None or network.compilation.loss is None:
        return []
    several = len(network.output_names) > 1
    ys, preds = _split(network, y, y_pred)
    trackers = iter(model._output_trackers())
    per_output = isinstance(weights, (list, tuple, Mapping)) and several
    given = (
        network.outputs.split("compute_loss", "sample_weight", weights)
        if per_output
        else [weights] * len(preds)
    )
    for goal, one, pred, w in zip(network.goals, ys, preds, given, strict=True):
        if goal.loss is not None:
            term = goal.loss(one, pred, w)
            tracker = next(trackers, None)
            if tracker is not None:
                _add_loss(tracker, one, term)
            terms.append(term if goal.weight == 1.0 else term * goal.weight)
    return terms


class CompiledLoss:
    """Keras 2's `model.compiled_loss`: the losses of `compile`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        regularization_losses: Any = (),
    ) -> Any:
        losses = _losses(self._model, y_true, y_pred, sample_weight)
        total = sum([*losses, *(regularization_losses or ())])
        _track(self._model, y_pred, total)
        return total


class CompiledMetrics:
    """Keras 2's `model.compiled_metrics`: the metrics of `compile`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        compute_metrics(self._model, y_true, y_pred, sample_weight)


def compute_metrics(
    model: Stepping, y: Any, y_pred: Any, weights: Any
) -> dict[str, Any]:
    """Add a batch to the metrics of `compile`."""
    network = model._network
    if network.compilation is not None and y is not None:
        goals = network.goals
        if any(goal.metrics for goal in goals):
            resolve_metrics(model)
            found = iter(network.metrics)
            ys, preds = _split(network, y, y_pred)
            for goal, one, pred in zip(goals, ys, preds, strict=True):
                for _, weighted in goal.metrics:
                    # A custom metric may not take weights, and Keras does not pass any.
                    given = (one, pred, weights) if weighted else (one, pred)
                    next(found).update_state(*given)
    return model.get_metrics_result()


def resolve_metrics(model: Stepping) -> None:
    """Replace "accuracy" with the metric that fits the outputs."""
    network = model._network
    if network.plan is None or network.compilation is None:
        return
    key = network.plan.heads, network.compilation
    if model._resolved != key:
        pairs = zip(network.goals, network.plan.heads, strict=True)
        network.metrics = [m for goal, h in pairs for m in goal.resolved(h.shape)]
        model._resolved = key


def metrics_of(model: Stepping) -> list[Metric]:
    """The mean loss, the metrics of `compile`, and metrics that are attributes."""
    resolve_metrics(model)
    found: dict[int, Metric] = {}
    for metric in (
        model.loss_tracker_,
        *model._output_trackers(),
        *model._network.metrics,
        *held_metrics(model),
    ):
        found.setdefault(id(metric), metric)
    return list(found.values())


def held_metrics(model: Any) -> Iterator[Any]:
    """The metrics that are attributes of a model, of custom layers and of models in
    it, which their formulas update."""
    if is_own(type(model)):
        yield from _metrics_of(model)
    yield from _metrics_in(model._network.layers)


def _metrics_in(layers: Iterable[Any]) -> Iterator[Any]:
    for layer in layers:
        inner = inner_network(layer)
        owner = layer if inner is None else getattr(layer, "_model", None) or layer
        if is_own(type(owner)):
            yield from _metrics_of(owner)
        yield from _metrics_in(layer.parts if inner is None else inner.layers)


def _metrics_of(owner: Any) -> Iterator[Any]:
    from kurve.metrics import Metric

    yield from (leaf for leaf in _attributes(owner) if isinstance(leaf, Metric))


def _attributes(model: Any) -> Iterator[Any]:
    from kurve.metrics import Metric

    kinds = (Metric, list, tuple, dict)
    for name, value in vars(model).items():
        if name not in ("_tracker", "_trackers") and isinstance(value, kinds):
            yield from leaves(value)


def metrics_result(model: Stepping) -> dict[str, Any]:
    """Name and value of each metric."""
    found: dict[str, Any] = {}
    metrics = list(model.metrics)
    network, names = model._network, {}
    if network.compilation is not None and network.metrics:
        pairs = zip(network.metrics, network.goals.log_names.metrics, strict=False)
        names = {id(metric): name for metric, name in pairs}
    if model._tracker is not None and not has_own_steps(model):
        metrics.insert(0, model._tracker)  # of a step that was called by hand
    for metric in metrics:
        value = metric.result()
        if isinstance(value, Mapping):
            found.update(value)
        else:
            found[names.get(id(metric), metric.name)] = value
    return found


def as_logs(where: str, logs: Any) -> dict[str, float]:
    """Convert the return value of a step to numbers by name.

    Raises:
        TypeError: it is not a dictionary.
    """
    if not isinstance(logs, Mapping):
        raise TypeError(
            f"[{where}] a step must return a dictionary of numbers by name. Received: "
            f"{type(logs).__name__}. Try return {{m.name: m.result() for m in "
            "self.metrics}."
        )
    found: dict[str, Any] = {}
    for name, value in logs.items():
        if isinstance(value, Mapping):
            found.update(as_logs(where, value))
            continue
        array = np.asarray(value)
        found[str(name)] = float(array) if array.size == 1 else array
    return found


def _track(model: Stepping, x: Any, loss: Any) -> None:
    _add_loss(model.loss_tracker_, x, loss)


def _add_loss(tracker: Metric, x: Any, loss: Any) -> None:
    """Add the loss of a batch to a mean over the rows."""
    with recording(()):
        rows = next((np.shape(a)[0] for a in leaves(x) if np.ndim(a)), 1)
        value = loss if active.step is not None else np.asarray(loss)
        tracker.update_state(value, sample_weight=float(rows))


def _split(network: Any, y: Any, y_pred: Any) -> tuple[list[Any], list[Any]]:
    """y and prediction for each output."""
    if len(network.output_names) <= 1:
        if isinstance(y, (list, tuple)) and len(y) == 1:
            (y,) = y
        return [y], [y_pred]
    optional = [goal.rule is None for goal in network.goals]
    outputs = network.outputs
    return (
        outputs.split("compute_loss", "y", y, optional),
        outputs.split("compute_loss", "y_pred", y_pred),
    )
