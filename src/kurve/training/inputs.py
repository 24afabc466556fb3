"""The data arguments of `fit`, `evaluate` and others: arrays or, for several inputs or
outputs, the structures that Keras accepts. Anything else is refused by type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.arrays import as_array, is_sparse
from kurve.core.samples import as_samples, as_weights, check_lengths
from kurve.core.sparse import SparseRows, sparse_matrix
from kurve.formulas.tensor import pack, replaced
from kurve.layers.base import refuse_layers
from kurve.losses.targets import as_targets, class_weights
from kurve.plan import Shape
from kurve.training.compilation import Goal
from kurve.training.network import Network
from kurve.training.parts import Parts
from kurve.training.rows import Data

if TYPE_CHECKING:
    from kurve.training.trainable import Trainable


def build_for(model: Trainable, shapes: Sequence[Shape]) -> None:
    """Build a model for inputs of these shapes."""
    full: list[Any] = [(None, *shape) for shape in shapes]
    structure = model._network.input_structure
    if structure is not None:
        model.build(pack(structure, full))
    else:
        model.build(full[0] if len(full) == 1 else full)


def unpack_data(
    where: str,
    argument: str,
    value: Any,
    x: str = "x",
    fix: str | None = None,
    alone: bool = False,
) -> tuple[Any, Any, Any]:
    """Unpack (x, y) or (x, y, sample_weight) into x, y and sample_weight or None.

    Args:
        where, argument, fix: used in the message.
        x: its name in the message.
        alone: whether x and (x,) are enough.

    Raises:
        TypeError: none of these.
    """
    if not isinstance(value, (tuple, list)):
        if alone:
            return value, None, None
        what = f"a {type(value).__name__}"
    elif 2 - alone <= len(value) <= 3:
        x_, y, weights = (*value, None, None)[:3]
        return x_, y, weights
    else:
        what = f"a {type(value).__name__} of {len(value)} values"
    form = f"{x}, ({x},), " if alone else ""
    raise TypeError(
        f"[{where}] {argument} must be {form}({x}, y) or ({x}, y, sample_weight). "
        f"Received: {what}. {fix or f'Try {argument}=({x}, y).'}"
    )


def unpack_batch(where: str, batch: Any, alone: bool = False) -> tuple[Any, Any, Any]:
    """`unpack_data` of a batch from a user's iterable."""
    fix = f"Try yield {'(x,)' if alone else 'x, y'}."
    return unpack_data(where, "a batch", batch, fix=fix, alone=alone)


def check_data(
    where: str,
    network: Network,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    shapes: Sequence[Shape] | None = None,
    by_batch: bool = False,
) -> Data:
    """Convert x, y and weights to the form that engines take. Changes nothing.

    Args:
        network: compiled network.
        shapes: sample shape of each input that an unbuilt network will be built for, if
            known.
        by_batch: see `check_inputs`.
    """
    check = DataCheck(where, network, shapes, by_batch)
    return check(x, y, sample_weight, class_weight)


def check_inputs(
    where: str,
    network: Network,
    x: Any,
    shapes: Sequence[Shape] | None = None,
    by_batch: bool = False,
) -> Any:
    """Convert x to the form that engines take: an array, or a tuple for several
    inputs.

    Args:
        by_batch: whether the caller passes batches to the engine, not all rows, so that
            sparse inputs can stay sparse, as `SparseRows`.
    """
    if network.plan is None and network.build_for is not None:
        network.build_for(x)
    if network.encodes:
        return _encoded(where, network, x)
    if network.plan is not None:
        if network.has_open_sizes:
            _adapt(network, x)
        shapes = network.plan.inputs
    inputs = network.inputs
    if type(x) is np.ndarray and inputs.structure is None:
        shape = shapes[0] if shapes else None
        return as_samples(where, "x", x, shape, keep_bytes=True)
    if len(inputs.names) == 1:
        return _input(where, inputs, x, shapes[0] if shapes else None, by_batch)
    given = inputs.split(where, "x", _without_layers(where, x))
    found = []
    known: Sequence[Shape | None] = shapes or [None] * len(given)
    for one, place, shape in zip(given, inputs.places(where), known, strict=True):
        found.append(_samples(place, one, shape, by_batch))
    _check_lengths(where, "x", inputs, found)
    return tuple(found)


def _encoded(where: str, network: Network, x: Any) -> Any:
    """Encode inputs of x that must be encoded before the engine runs."""
    structure, inputs = network.structure, network.inputs
    x = replaced(x, lambda a: as_array(where, "x", a) if is_sparse(a) else a)
    if structure is None:
        (x,) = x if isinstance(x, (list, tuple)) and np.ndim(x[0]) else (x,)
        x = np.asarray(x)
        if network.plan is None:
            network.build(network.input_shape or x.shape[1:])
        if x.ndim == 1 and network.input_shape == (1,):
            x = x[:, None]
        for layer in network.encoding:
            x = layer(x)
        network.adapt_to([x.shape[1:]])
        assert network.plan is not None
        return as_samples(where, "x", x, network.plan.inputs[0], keep_bytes=True)
    if len(inputs.names) > 1 or isinstance(x, Mapping):
        given = list(inputs.split(where, "x", _without_layers(where, x)))
    else:
        single = isinstance(x, (list, tuple)) and len(x) == 1 and np.ndim(x[0]) > 0
        given = [x[0] if single else x]
    for i, tensor in enumerate(structure.flat_inputs):
        array = np.asarray(given[i])
        if array.ndim == 1 and len(tensor.shape) == 2 and tensor.shape[1] == 1:
            array = array[:, None]
        given[i] = array
    found = structure.encoded(given)
    network.adapt_to([np.shape(part)[1:] for part in found])
    shapes = [None] * len(found) if network.plan is None else network.plan.inputs
    for i, tensor in enumerate(structure.entries):
        place = f"{where}, input {tensor.history.operation.name!r}"
        found[i] = as_samples(place, "x", found[i], shapes[i], keep_bytes=True)
    if len({len(part) for part in found}) > 1:
        names = [t.history.operation.name for t in structure.entries]
        pairs = zip(names, found, strict=True)
        check_lengths(where, {f"x[{n!r}]": len(part) for n, part in pairs})
    return found[0] if len(found) == 1 else tuple(found)


def _without_layers(where: str, value: Any) -> Any:
    """Return the value; refuse layers."""
    parts = value.values() if type(value) is dict else value
    if type(value) not in (list, tuple, dict):
        refuse_layers(where, value)
        return value
    for one in parts:
        if type(one) is not np.ndarray:
            refuse_layers(where, value)
            break
    return value


def _adapt(network: Network, x: Any) -> None:
    """Switch to the plan for the sizes of x, if the model has unknown sizes."""
    try:
        count = len(network.inputs.names)
        single = count == 1 and not isinstance(x, Mapping)
        parts = [x] if single else network.inputs.split("fit", "x", x)
        if count == 1 and isinstance(x, (list, tuple)) and len(x) == 1:
            parts = list(x) if np.ndim(x[0]) > len(network.declared[0]) else [x]
        network.adapt_to([np.shape(part)[1:] for part in parts])
    except (TypeError, ValueError):
        return  # later checks report what is wrong


class DataCheck:
    """Checks rows for one network; one object serves all batches of a call.

    Args:
        where: the method, for messages; can be set.
        network: compiled network.
        shapes, by_batch: see `check_data`.
    """

    def __init__(
        self,
        where: str,
        network: Network,
        shapes: Sequence[Shape] | None = None,
        by_batch: bool = False,
    ) -> None:
        network.require_compiled(where)
        self.where, self.network, self.shapes = where, network, shapes
        self.by_batch = by_batch
        self.goals: Sequence[Goal] = ()
        if network.output_names:
            self._find_goals()

    def _find_goals(self) -> None:
        """Loss and metrics of each output."""
        self.goals, self.outputs = self.network.goals, self.network.goals.outputs
        for goal in self.goals:
            for metric, _ in goal.metrics:
                if goal.loss is not None and not metric.counts_itself:
                    metric.check_loss(self.where, goal.loss)

    def __call__(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
    ) -> Data:
        """Convert rows to the form that engines take. Changes nothing."""
        where = self.where
        x = check_inputs(where, self.network, x, self.shapes, self.by_batch)
        if not self.goals:  # they are known now
            self._find_goals()
        goals, outputs = self.goals, self.outputs
        rows = len(x[0]) if isinstance(x, tuple) else len(x)
        if self.network.plan is not None:
            self.network.require_loss(where)
            shapes = [head.shape for head in self.network.plan.heads]
        else:
            shapes = [self.network.output_shape_for(x.shape[1:])]
        if len(goals) == 1 and goals[0].rule is None:
            y = (None,)
        elif len(goals) == 1:
            y = self._target(where, y, goals[0], shapes[0], rows)
            if len(y) != rows:
                check_lengths(where, {"x": rows, "y": len(y)})
        else:
            y = self._targets(y, shapes, rows)
        if sample_weight is None and class_weight is None:
            return Data(x, y, None)
        if sample_weight is not None and class_weight is not None:
            raise ValueError(
                f"[{where}] only one of sample_weight and class_weight can be passed. "
                "Received: both. Try their product as sample_weight."
            )
        if sample_weight is not None:
            return Data(x, y, _weights(where, outputs, sample_weight, rows))
        loss = goals[0].loss
        if len(goals) > 1 or loss is None:
            raise ValueError(
                f"[{where}] class_weight only works for models with one output. "
                f"Received: outputs {', '.join(map(repr, outputs.labels))}. "
                "Try sample_weight."
            )
        assert class_weight is not None
        return Data(x, y, class_weights(where, class_weight, y, loss.sparse))

    def _target(
        self, where: str, y: Any, goal: Goal, shape: Shape, rows: int
    ) -> np.ndarray:
        """y of one output."""
        assert goal.rule is not None
        if y is None and goal.rule.name == "nothing":
            return np.zeros((rows, *shape), np.float32)
        if is_sparse(y):
            y = as_array(where, "y", y)
        elif type(y) is not np.ndarray:
            y = one_array(where, "y", self.outputs.single(y), None, rows)
        if goal.loss is not None and goal.loss.any_targets:
            y = self.network.fit_targets(goal.loss, y, shape)
        elif goal.loss is not None:
            self.network.widen_targets(where, goal.loss, np.shape(y), shape)
        if goal.loss is not None and goal.loss.across_rows:
            raise NotImplementedError(
                f"[{where}] the loss {goal.loss.name!r} compares the rows of a "
                "batch with each other, which a compiled plan cannot do. Received: a "
                "model compiled with it. Try model.fit or model.evaluate, which then "
                "run as Python."
            )
        return as_targets(where, y, goal.rule, shape)

    def _targets(
        self, y: Any, shapes: Sequence[Shape], rows: int
    ) -> tuple[np.ndarray | None, ...]:
        """y for each of several outputs; None if nothing needs it."""
        where, outputs = self.where, self.outputs
        unused = [goal.rule is None for goal in self.goals]
        if y is None and all(
            goal.rule.name == "nothing" for goal in self.goals if goal.rule
        ):
            y = [None] * len(unused)
        given = outputs.split(where, "y", _without_layers(where, y), unused)
        found = [
            None if goal.rule is None else self._target(place, one, goal, shape, rows)
            for place, one, goal, shape in zip(
                outputs.places(where), given, self.goals, shapes, strict=True
            )
        ]
        _check_lengths(where, "y", outputs, found, rows)
        return tuple(found)


def _input(
    where: str, inputs: Parts, x: Any, shape: Shape | None, by_batch: bool
) -> Any:
    """The rows of a single input."""
    if type(x) is not np.ndarray and not is_sparse(x):
        x = inputs.single(x)
    return _samples(where, x, shape, by_batch)


def _samples(where: str, x: Any, shape: Shape | None, by_batch: bool) -> Any:
    """The rows of one input: an array, or `SparseRows`."""
    if isinstance(x, SparseRows):
        return x
    if type(x) is not np.ndarray:
        if not is_sparse(x):
            x = one_array(where, "x", x, shape)
        matrix = sparse_matrix(x)
        if matrix is not None:
            rows = SparseRows(where, "x", matrix, shape, np.float32)
            return rows if by_batch else rows[:]
    return as_samples(where, "x", x, shape, keep_bytes=True)


def _weights(where: str, outputs: Parts, given: Any, rows: int) -> Any:
    """The weights of the rows: one array for all outputs, or a tuple. Negative weights
    reward a larger loss, as in policy gradients."""
    if len(outputs.names) == 1:
        given = outputs.single(given)
        if isinstance(given, (list, tuple)) and len(given) == 1 and np.ndim(given[0]):
            (given,) = given
        return as_weights(where, given, rows, signed=True)
    of_numbers = isinstance(given, (list, tuple)) and not any(
        one is None or np.ndim(one) for one in given
    )
    if of_numbers or not isinstance(given, (list, tuple, Mapping)):
        return as_weights(where, given, rows, signed=True)
    count = len(outputs.names)
    optional = [False] * count
    split = outputs.split(where, "sample_weight", given, optional)
    return tuple(
        None
        if one is None
        else as_weights(outputs.where(where, i), one, rows, signed=True)
        for i, one in enumerate(split)
    )


def _check_lengths(
    where: str,
    argument: str,
    parts: Parts,
    arrays: Sequence[np.ndarray | None],
    rows: int | None = None,
) -> None:
    """Refuse arrays with different numbers of rows.

    Args:
        rows: number of rows of x, if these are targets.
    """
    counts = {len(array) for array in arrays if array is not None}
    if rows is not None:
        counts.add(rows)
    if len(counts) < 2:
        return
    lengths = {
        f"{argument}[{label!r}]": len(array)
        for label, array in zip(parts.labels, arrays, strict=True)
        if array is not None
    }
    if rows is not None:
        lengths = {"x": rows, **lengths}
    check_lengths(where, lengths)


def one_array(
    where: str,
    argument: str,
    value: Any,
    sample_shape: Shape | None,
    rows: int | None = None,
) -> Any:
    """`value`, or the only array in a list.

    Args:
        sample_shape: shape of one sample; None if unknown.
        rows: number of rows, if known instead of the shape.

    Raises:
        TypeError: a dictionary, a generator or an iterable of batches.
        ValueError: several arrays for a model with one input and output.
        NotImplementedError: a layer.
    """
    if isinstance(value, (list, tuple)):
        return _part(where, argument, value, sample_shape, rows)
    refuse_layers(where, value)
    if isinstance(value, Mapping):
        names = ", ".join(map(repr, list(value)[:5]))
        raise TypeError(
            f"[{where}] {argument} must be one array, because the model has one "
            f"{'output' if argument == 'y' else 'input'}. "
            f"Received: a {type(value).__name__} with {names}. "
            f"Try numpy.column_stack(list({argument}.values())) for columns."
        )
    is_array = any(hasattr(value, n) for n in ("__array__", "__getitem__", "shape"))
    if isinstance(value, Iterable) and not is_array:
        raise TypeError(
            f"[{where}] {argument} must be one array with one row per sample. "
            f"Received: an object of type {type(value).__name__}. Try numpy.array of "
            "its parts; fit, evaluate and predict accept generators of batches."
        )
    return value


def _part(
    where: str,
    argument: str,
    value: list[Any] | tuple[Any, ...],
    sample_shape: Shape | None,
    rows: int | None,
) -> Any:
    """The only array in a list, or the list itself if it holds samples."""
    shapes = [getattr(part, "shape", None) for part in value[:8]]
    complete = [
        isinstance(shape, tuple) and _has_all_rows(shape, sample_shape, rows)
        for shape in shapes
    ]
    if len(value) == 1 and complete[0]:
        return value[0]
    if sample_shape is not None and len(value) > 1 and all(complete):
        raise ValueError(
            f"[{where}] {argument} must be one array, because the model has one input. "
            f"Received: a list of {len(value)} arrays of shapes "
            f"{', '.join(map(str, shapes))}. Try numpy.concatenate({argument}) if they "
            "are rows of one table."
        )
    refuse_layers(where, value)
    return value


def _has_all_rows(shape: Shape, sample_shape: Shape | None, rows: int | None) -> bool:
    """Whether an array of this shape holds all samples, not one of them."""
    if rows is not None:
        return len(shape) > (rows == 1) and shape[0] == rows
    if sample_shape is None:
        return len(shape) > 1
    return (shape[1:] or (1,)) == sample_shape
