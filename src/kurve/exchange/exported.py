"""A trained model as plain data, the common input of all writers of `export`:

    rows (n, columns)  ->  Inputs  ->  networks  ->  head  ->  outputs by name

`describe` makes it from a `Sequential`, an `Ensemble`, a `Regressor` or a `Classifier`.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.dtypes import FLOAT32_MAX
from kurve.core.entries import warn
from kurve.core.inside import network_of
from kurve.engines.reference.common import view
from kurve.exchange.unrolled import Writes, every, unrolled
from kurve.models import Model
from kurve.models.ensembles import Ensemble
from kurve.plan import Op, Plan, Shape
from kurve.training.description import FIRST

if TYPE_CHECKING:
    from kurve.estimators import Classifier, Estimator, Regressor
    from kurve.estimators.fitted import Fitted
    from kurve.estimators.scaling import Scaler
    from kurve.exchange.tables import TableInputs

LARGEST = 1e30
"""Scaled inputs are clipped to this, as in `kurve.estimators.scaling`."""

ROUNDING = 1e-3
"""Rounding of a column to float32, as a fraction of its standard deviation, beyond
which `describe` warns."""

Predict = Callable[[Any], dict[str, np.ndarray]]
"""From rows, an array or a table, to outputs by name."""


@dataclass(frozen=True)
class Network:
    """Operations in order, and the arrays of each one, by role: float32.

    plan: for a graph, which defines what each operation reads; None if each reads the
        previous one
    """

    ops: tuple[Op, ...]
    arrays: tuple[dict[str, np.ndarray], ...]
    plan: Plan | None = None

    @property
    def output_shape(self) -> Shape:
        return self.ops[-1].out_shape

    @property
    def structure(self) -> tuple[Any, ...]:
        """Equal for networks that differ only in the numbers in their arrays."""
        return tuple(
            (
                op.kind,
                op.in_shape,
                op.out_shape,
                op.tape,
                tuple(sorted(op.attrs.items())),
                tuple((role, array.shape) for role, array in arrays.items()),
            )
            for op, arrays in zip(self.ops, self.arrays, strict=True)
        )


@dataclass(frozen=True)
class Inputs:
    """z = (x - mean) / deviation in float64 of a table's rows, with tails.

    order:      the user's column of each numeric column
    imputation: (C,) values in place of NaN; None if NaN makes the outputs NaN
    indicators: positions in `order` of the columns with a missing indicator, another
                column after all others that is 1 where the value was NaN
    mean, deviation: (C + indicators,) float64
    low, high:  (C,) range of the training data
    tails:      (2, C + indicators) or None; see `estimators.scaling.Scaler`
    """

    order: tuple[int, ...]
    imputation: np.ndarray | None
    indicators: tuple[int, ...]
    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tails: np.ndarray | None = None


@dataclass(frozen=True)
class SingleNetwork:
    """The output of a single network."""


@dataclass(frozen=True)
class Average:
    """Mean and standard deviation of the networks' outputs."""


@dataclass(frozen=True)
class Regression:
    """Mean and standard deviation of the mixture of the networks' distributions, in the
    targets' units; see `Regressor._moments`.

    mean, deviation: (T,) of the targets
    std_scale: (T,) factor of the predicted standard deviation
    noise:     (T,) variance in scaled units if the likelihood is "none"
    levels:    of the quantiles that the networks predict, or empty
    weights:   (networks,) share of each network in the mixture; None if equal
    """

    likelihood: str
    mean: np.ndarray
    deviation: np.ndarray
    std_scale: np.ndarray
    noise: np.ndarray
    levels: tuple[float, ...]
    weights: np.ndarray | None


@dataclass(frozen=True)
class Classification:
    """Mean of the networks' probabilities, from logits; see `Classifier`.

    weights: (networks,) share of each network in the mean; None if equal
    """

    labels: np.ndarray
    weights: np.ndarray | None


OutputHead = SingleNetwork | Average | Regression | Classification


@dataclass(frozen=True)
class ExportedModel:
    """A model ready for export.

    outputs: name and shape of one row of each output, in order
    columns, targets: their names, if they are known
    expected: Kurve's own predictions for float32 rows (n, *input_shape)
    graph_inputs: names and shapes of the inputs of a graph
    table:   for a table whose columns are not all numbers, its columns; `expected` then
        takes a table
    """

    what: str
    input_shape: Shape
    outputs: dict[str, Shape]
    inputs: Inputs | None
    networks: tuple[Network, ...]
    head: OutputHead
    columns: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    expected: Predict
    graph_inputs: dict[str, Shape] | None = None
    table: TableInputs | None = None

    @property
    def numbers(self) -> int:
        """The total number of weights in the networks."""
        return sum(
            array.size
            for network in self.networks
            for arrays in network.arrays
            for array in arrays.values()
        )


def check_operations(network: Network, known: Container[str], format: str) -> None:
    """Refuse an operation that the format has no code for."""
    for op in network.ops:
        if op.kind not in known:
            raise ValueError(
                f"[export] layer {op.layer!r} cannot be written to {format} yet, "
                "because there is no code for the operation. "
                f"Received: {op.kind!r}. Try another format, or no such layer."
            )


def describe(model: Any, writes: Writes) -> ExportedModel:
    """The model as plain data.

    Args:
        writes: which recurrent operations are not unrolled.

    Raises:
        RuntimeError: a model that is not built, an estimator that is not fitted.
        TypeError: not a model of Kurve.
        ValueError: a category of texts and numbers, or numbers beyond float32.
    """
    if isinstance(model, Model):
        network_of(model).require_built("export")
        if network_of(model).encodes:
            names = [layer.name for layer in model.layers if hasattr(layer, FIRST)]
            raise ValueError(
                "[export] layers that read strings cannot be exported. Received: a "
                f"model with {', '.join(map(repr, names))}. Try exporting the model "
                "after them, on the numbers that these layers return."
            )
        network = _network(model, writes)
        if network.plan is None:
            return _of_sequential(model, network)
        return _of_graph(model, network)
    if isinstance(model, Ensemble):
        return _of_ensemble(model)
    from kurve.estimators import Classifier, Regressor

    if isinstance(model, Regressor):
        return _of_regressor(model)
    if isinstance(model, Classifier):
        return _of_classifier(model)
    raise TypeError(
        "[export] only a model, an Ensemble, a Regressor or a Classifier can be "
        f"exported. Received: {model!r} of type {type(model).__name__}."
    )


def _of_graph(model: Any, network: Network) -> ExportedModel:
    """A model whose operations do not form a simple stack."""
    plan, state = network_of(model).require_built("export")
    names = ["output"] if plan.is_stack else model.output_names
    inputs = ["input" if plan.is_stack else n or "input" for n in model.input_names]

    def expected(x: Any) -> dict[str, np.ndarray]:
        program = network_of(model).chosen_engine().compile(plan)
        y = program.predict(state, x)
        return dict(zip(names, y if isinstance(y, tuple) else (y,), strict=True))

    return ExportedModel(
        "Model",
        plan.input_shape,
        {n: head.shape for n, head in zip(names, plan.heads, strict=True)},
        None,
        (network,),
        SingleNetwork(),
        None,
        None,
        expected,
        dict(zip(inputs, plan.inputs, strict=True)),
    )


def _of_sequential(model: Any, network: Network) -> ExportedModel:
    plan, _ = network_of(model).require_built("export")
    return ExportedModel(
        "Sequential",
        plan.input_shape,
        {"output": plan.output_shape},
        None,
        (network,),
        SingleNetwork(),
        None,
        None,
        lambda x: {"output": model.predict(x, verbose=0)},
    )


def _of_ensemble(model: Ensemble) -> ExportedModel:
    for member in model.members:
        if not network_of(member).require_built("export")[0].is_stack:
            raise ValueError(
                "[export] the networks of an ensemble must be stacks of layers. "
                f"Received: {member!r}, a graph. Try exporting one member."
            )
    networks = tuple(_network(member) for member in model.members)
    shape = networks[0].output_shape

    def expected(x: np.ndarray) -> dict[str, np.ndarray]:
        each = model.predict_members(x).astype(np.float64)
        return {"mean": each.mean(axis=0), "deviation": each.std(axis=0)}

    return ExportedModel(
        f"Ensemble of {len(networks)} networks",
        networks[0].ops[0].in_shape,
        {"mean": shape, "deviation": shape},
        None,
        networks,
        Average(),
        None,
        None,
        expected,
    )


def _of_regressor(model: Regressor) -> ExportedModel:
    from kurve.estimators.defaults import QUANTILES

    fitted = _fitted(model)
    inputs, head = _inputs(fitted, fitted.head.outputs), fitted.head
    table = _table_inputs(fitted)
    scaler, targets = head.outputs, head.targets
    outputs: dict[str, Shape] = {"prediction": (targets,), "deviation": (targets,)}
    levels = QUANTILES if head.likelihood == "quantile" else ()
    if levels:
        outputs["quantiles"] = (targets, len(levels))

    def expected(x: np.ndarray) -> dict[str, np.ndarray]:
        predictions = fitted.outputs(_network_inputs(fitted, inputs, x))
        mean, deviation = head.moments(predictions)
        result = {"prediction": mean, "deviation": deviation}
        if levels:
            result["quantiles"] = (
                head.quantiles(predictions) * scaler.deviation[:, None]
                + scaler.mean[:, None]
            )
        return result

    regression = Regression(
        head.likelihood,
        scaler.mean,
        scaler.deviation,
        head.std_scale,
        head.noise,
        levels,
        head.weights,
    )
    return _of_estimator(model, inputs, outputs, regression, expected, table)


def _of_classifier(model: Classifier) -> ExportedModel:
    fitted = _fitted(model)
    inputs = _inputs(fitted)
    outputs: dict[str, Shape] = {"probabilities": (len(fitted.head.classes),)}

    def expected(x: np.ndarray) -> dict[str, np.ndarray]:
        logits = fitted.outputs(_network_inputs(fitted, inputs, x))
        return {"probabilities": fitted.head.probabilities(logits)}

    head = Classification(fitted.head.classes, fitted.head.weights)
    table = _table_inputs(fitted)
    return _of_estimator(model, inputs, outputs, head, expected, table)


def _of_estimator(
    model: Estimator,
    inputs: Inputs,
    outputs: dict[str, Shape],
    head: OutputHead,
    expected: Predict,
    table: TableInputs | None,
) -> ExportedModel:
    names, targets = model.fitted_.columns.names, model.target_names_
    members = len(model.models_)
    return ExportedModel(
        type(model).__name__ + (f" of {members} networks" if members > 1 else ""),
        (len(inputs.order),),
        outputs,
        inputs,
        tuple(_network(member) for member in model.models_),
        head,
        None if names is None else tuple(map(str, names)),
        None if not targets else tuple(map(str, targets)),
        expected,
        table=table,
    )


def _network(model: Any, writes: Writes = every) -> Network:
    plan, state = network_of(model).require_built("export")
    plan = unrolled(plan, writes)
    graph = not plan.is_stack
    copies: dict[tuple[bool, int], np.ndarray] = {}  # shared weights once
    arrays = tuple(
        {
            role: copies.setdefault(
                (vector is state.params, slot.offset), view(vector, slot).copy()
            )
            for vector, slots in (
                (state.params, op.params),
                (state.buffers, op.buffers),
            )
            for role, slot in slots.items()
        }
        for op in plan.ops
    )
    return Network(plan.ops, arrays, plan if graph else None)


def _fitted(model: Estimator) -> Fitted[Any]:
    from kurve.estimators.errors import not_fitted

    if not hasattr(model, "fitted_"):
        raise not_fitted(type(model).__name__, "export")
    return model.fitted_


def _inputs(fitted: Fitted[Any], outputs: Scaler | None = None) -> Inputs:
    """How the estimator scales a row."""
    columns, scaler = fitted.columns, fitted.inputs
    scale, tails = (scaler.mean, scaler.deviation), scaler.tails
    if _table_inputs(fitted) is not None:
        order = tuple(range(columns.matrix_width))
        return Inputs(order, None, (), *scale, scaler.low, scaler.high, tails)
    count = len(columns.numeric)
    place = {column: position for position, column in enumerate(columns.numeric)}
    inputs = Inputs(
        tuple(columns.numeric),
        columns.medians if columns.impute else None,
        tuple(place[column] for column in columns.with_missing),
        *scale,
        scaler.low[:count],
        scaler.high[:count],
        tails,
    )
    _check_range(inputs, columns.names, outputs)
    return inputs


def _table_inputs(fitted: Fitted[Any]) -> TableInputs | None:
    """The columns of a table; None if all of them hold numbers.

    Raises:
        ValueError: a category of both texts and numbers.
    """
    from kurve.exchange.tables import TableInputs

    columns = fitted.columns
    if not (
        columns.levels
        or columns.dates
        or columns.words
        or columns.readers
        or columns.left_out
    ):
        return None
    for column, levels in columns.levels.items():
        if len({isinstance(level, str) for level in levels}) > 1:
            raise ValueError(
                "[export] a category must hold texts or numbers, not both. Received: "
                f"{_column(columns.names, column)}. Try astype(str) on it."
            )
    count = len(columns.numeric)
    return TableInputs(columns, fitted.inputs.low[:count], fitted.inputs.high[:count])


def _network_inputs(fitted: Fitted[Any], inputs: Inputs, x: Any) -> np.ndarray:
    """The scaled inputs of the networks for an array or a table."""
    if isinstance(x, np.ndarray):
        return _scaled(inputs, x)
    return fitted.inputs.forward(fitted.columns.encode("export", x)[0])


def _check_range(
    inputs: Inputs, names: list[str] | None, outputs: Scaler | None
) -> None:
    """Check the float32 range: exported models take and return float32, which cannot
    represent, for example, seconds since 1970 exactly.

    Raises:
        ValueError: numbers beyond float32.
    """
    size = np.maximum(np.abs(inputs.low), np.abs(inputs.high))
    position = int(np.argmax(size))
    what = _column(names, inputs.order[position])
    if size[position] <= FLOAT32_MAX and outputs is not None:
        what = "the targets"
        size = np.append(size, np.abs(outputs.mean) + 8 * outputs.deviation)
    if size.max() > FLOAT32_MAX:
        raise ValueError(
            "[export] an exported model takes and returns float32, at most 3.4e38. "
            f"Received: {size.max():.2g} in {what}. Try other units."
        )
    size = size[: len(inputs.order)]
    lost = np.maximum(size * 2.0**-24, 2.0**-150) / inputs.deviation[: len(size)]
    lost[inputs.low == inputs.high] = 0.0
    position = int(np.argmax(lost))
    if lost[position] > ROUNDING:
        warn(
            "[export] an exported model takes float32, which rounds "
            f"{_column(names, inputs.order[position])} by {lost[position]:.2g} of its "
            "standard deviation. Try training on the column minus its mean.",
            UserWarning,
        )


def _column(names: list[str] | None, position: int) -> str:
    return f"column {position if names is None else repr(names[position])}"


def _scaled(inputs: Inputs, x: np.ndarray) -> np.ndarray:
    """The scaled inputs of the networks, float32: columns in order, missing values
    imputed, indicators added, all scaled."""
    from kurve.estimators.scaling import Scaler

    rows = np.asarray(x, np.float64)[:, list(inputs.order)]
    missing = np.isnan(rows)
    if inputs.imputation is not None:
        rows = np.where(missing, inputs.imputation, rows)
    rows = np.hstack([rows, missing[:, list(inputs.indicators)]])
    ranges = inputs.low, inputs.high
    return Scaler(inputs.mean, inputs.deviation, *ranges, inputs.tails).forward(rows)
