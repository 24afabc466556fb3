"""The arguments of `compile` and the results of training in files: optimizer, losses
and metrics, the optimizer's slots, and the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import losses, metrics, optimizers
from kurve.core.container.reading import Reader
from kurve.models.fields import Field
from kurve.training.compilation import Goal

if TYPE_CHECKING:
    from kurve.models import Sequential


_ENGINES = ("native", "reference")
"""Engines that files can name. A model that was trained on a GPU can be opened
anywhere."""


def compile_from(field: Field, model: Sequential) -> None:
    """Compile the model as described."""
    several = isinstance(field.value, dict) and "outputs" in field.value
    keys = ("outputs",) if several else ("loss", "metrics")
    fields = field.table("optimizer", *keys, "engine")
    optimizer = fields["optimizer"].object(optimizers.deserialize, optimizers.serialize)
    fields["optimizer"].convert(lambda _: optimizer.learning_rates(0, 1))
    engine = fields["engine"].value
    if engine is not None and fields["engine"].text() not in _ENGINES:
        raise fields["engine"].error(f"it is not one of {', '.join(_ENGINES)}")
    if several:
        goals = [_goal_from(item) for item in fields["outputs"].items()]
    else:
        loss = _loss_from(fields["loss"])
        goals = [Goal(loss, 1.0, _metrics_from(fields["metrics"]))]
    by_weighting: dict[bool, list[list[metrics.Metric]]] = {
        wanted: [
            [m for m, weighted in goal.metrics if weighted is wanted] for goal in goals
        ]
        for wanted in (False, True)
    }
    field.convert(
        lambda _: model.compile(
            optimizer,
            None if all(g.loss is None for g in goals) else [g.loss for g in goals],
            loss_weights=[goal.weight for goal in goals],
            metrics=by_weighting[False],
            weighted_metrics=by_weighting[True],
            engine=engine,
        )
    )


def _goal_from(field: Field) -> Goal:
    fields = field.table("loss", "weight", "metrics")
    weight = fields["weight"].number()
    return Goal(_loss_from(fields["loss"]), weight, _metrics_from(fields["metrics"]))


def _loss_from(field: Field) -> losses.Loss | None:
    if field.value is None:
        return None
    return field.object(losses.deserialize, losses.serialize)


def _metrics_from(field: Field) -> Any:
    pairs = []
    for item in field.items():
        entry = item.table("weighted", "metric")
        metric = entry["metric"].object(metrics.deserialize, metrics.serialize)
        pairs.append((metric, entry["weighted"].boolean()))
    return tuple(pairs)


def read_training(file: Reader, model: Sequential, prefix: str) -> None:
    """Read the optimizer's slots, if the file has any."""
    own = [name for name in file.entries if name.startswith(f"{prefix}own/")]
    if own:
        _read_written_memory(file, model, own)
    if f"{prefix}slots" not in file.entries:
        return
    plan, state = model._network.require_built("load_model")
    assert model.optimizer is not None
    starts = np.asarray(model.optimizer.slot_starts, np.float32)
    file.claim(f"{prefix}slots", (len(starts), len(state.params)))
    file.claim(f"{prefix}scalars", (len(model.optimizer.scalar_starts),), np.float64)
    model._network.start_slots()
    slots = state.slots
    file.read_into(f"{prefix}slots", slots)
    end = 0
    for slot in plan.params:  # reset the padding, whatever the file contains
        slots[:, end : slot.offset] = starts[:, None]
        end = slot.end
    slots[:, end:] = starts[:, None]
    state.scalars = file.read(f"{prefix}scalars")


def written_memory(model: Sequential) -> dict[str, np.ndarray]:
    """The state of an optimizer with a custom `update_step`."""
    optimizer = model.optimizer
    assert optimizer is not None
    if not optimizer.is_written or not optimizer.built:
        return {}
    arrays = optimizer.applier.arrays
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(
            "[save] variables of the optimizer must be finite. Received: NaN or "
            f"infinity in {optimizer!r}. Try earlier weights."
        )
    return {f"optimizer/own/{i}": array for i, array in enumerate(arrays)}


def _read_written_memory(file: Reader, model: Sequential, names: Sequence[str]) -> None:
    """Make such an optimizer create its variables, and read their values."""
    optimizer, top = model.optimizer, Field(file.path, "compile.optimizer", None)
    assert optimizer is not None
    if not optimizer.is_written:
        raise top.error("it has no variables of its own, but the file does")
    optimizer.build(model.trainable_weights)
    arrays = optimizer.applier.arrays
    if len(arrays) != len(names):
        raise top.error(f"the file has {len(names)} arrays of it, not {len(arrays)}")
    for i, array in enumerate(arrays):
        name = f"optimizer/own/{i}"
        file.claim(name, array.shape, array.dtype)
        array[...] = file.read(name)
        check_finite(file, name, array)


def history_tensors(history: Mapping[str, Sequence[Any]]) -> dict[str, np.ndarray]:
    """The numeric columns of a history."""
    columns = {}
    for name, values in history.items():
        kinds = (int, float, np.integer, np.floating)
        if isinstance(name, str) and all(isinstance(v, kinds) for v in values):
            columns[f"history/{name}"] = np.array(values, np.float64)
    return columns


def read_history(file: Reader) -> dict[str, list[float]]:
    """The history from the arrays of `history_tensors`."""
    history: dict[str, list[float]] = {}
    for name in file.entries:
        if name.startswith("history/"):
            file.claim(name, (None,), np.float64)
            history[name.removeprefix("history/")] = file.read(name).tolist()
    return history


def check_finite(file: Reader, name: str, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        field = f"tensors.{name[:80]}"
        raise Field(file.path, field, None).error("it contains NaN or infinity")


def compile_entry(model: Sequential) -> dict[str, Any] | None:
    compilation = model._network.compilation
    if compilation is None:
        return None
    name = None if compilation.engine is None else compilation.engine.name
    outputs = [
        {
            "loss": None if goal.loss is None else losses.serialize(goal.loss),
            "weight": goal.weight,
            "metrics": [
                {"weighted": weighted, "metric": metrics.serialize(metric)}
                for metric, weighted in goal.metrics
            ],
        }
        for goal in model._network.goals
    ]
    described: dict[str, Any] = {"outputs": outputs}
    if len(outputs) == 1 and outputs[0]["weight"] == 1.0:
        described = {key: outputs[0][key] for key in ("loss", "metrics")}
    return {
        "optimizer": optimizers.serialize(compilation.optimizer),
        **described,
        "engine": name if name in _ENGINES else None,
    }
