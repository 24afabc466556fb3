"""ONNX models: graph, inputs, heads and metadata. The individual operations are in
`kurve.exchange.onnx_ops`.

Opset 17 and IR version 8, readable by onnxruntime 1.13 and later.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import kurve
from kurve.engines.reference.losses import MIN_VARIANCE
from kurve.estimators.defaults import DECILES
from kurve.exchange import onnx_tables
from kurve.exchange.exported import (
    LARGEST,
    Average,
    Classification,
    ExportedModel,
    Inputs,
    Network,
    Regression,
    check_operations,
)
from kurve.exchange.onnx_formulas import GRAPH_OPS
from kurve.exchange.onnx_graph import Graph
from kurve.exchange.onnx_ops import OPS
from kurve.exchange.tables import TableInputs

OPSET, IR_VERSION = 17, 8
TEXT_IR_VERSION = 9
LARGEST_FILE = 2**31 - 2**20
"""Maximum bytes of weights: protobuf reads at most 2 GiB, including the graph."""

BATCH = "N"
"""Name of the batch axis, whose size is dynamic."""


class Builder(Graph):
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._known: dict[tuple[int, Any], tuple[Any, str]] = {}
        self.layer = ""
        self.opset = OPSET

    def node(self, kind: str, *inputs: str, **attrs: Any) -> str:
        if self.opset > 17 and kind.startswith("Reduce") and "axes" in attrs:
            axes = self.constant(attrs.pop("axes"), np.int64)  # an input since 18
            inputs = (*inputs, axes)
        name = f"t{len(self.nodes)}"
        self.add(kind, inputs, name, **attrs)
        return name

    def add(
        self, kind: str, inputs: tuple[str, ...], output: str, **attrs: Any
    ) -> None:
        """Add a node with the given output name."""
        label = f"{_ascii(self.layer)}/{kind}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, list(inputs), [output], name=label, **attrs)
        )

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        known = self._known.get((id(value), dtype))
        if known is not None:
            return known[1]
        name = f"c{len(self.constants)}"
        if isinstance(value, np.ndarray):  # kept alive so that its id stays unique
            self._known[id(value), dtype] = (value, name)
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def serialized(exported: ExportedModel, title: str) -> bytes:
    """The bytes of an .onnx file, checked with `onnx.checker`.

    Raises:
        ValueError: an operation is not supported yet, or the file exceeds 2 GiB.
    """
    if exported.numbers * 4 > LARGEST_FILE:
        raise ValueError(
            "[export] an ONNX file holds at most 2 GiB. Received: "
            f"{exported.numbers:,} numbers. Try fewer members or smaller layers."
        )
    graph = Builder()
    source = "X" if exported.inputs is not None else "input"
    rows, guard = source, ""
    if exported.graph_inputs is not None:
        return _of_graph(graph, exported, title)
    graph.layer = "inputs"
    given = [_value(source, TensorProto.FLOAT, exported.input_shape)]
    if exported.table is not None:
        graph.opset = dict(_opsets(exported))[""]
        names = onnx_tables.input_names(exported.table)
        given = [
            _column(exported.table, column, name) for column, name in names.items()
        ]
        source = onnx_tables.encoded(graph, exported.table, names)
    if exported.inputs is not None:
        rows, guard = _scaled(graph, exported.inputs, source)
    predictions = [_network(graph, network, rows) for network in exported.networks]
    graph.layer = "outputs"
    outputs = _head(graph, exported, predictions, guard)
    return _finished(graph, exported, title, given, outputs)


def _of_graph(graph: Builder, exported: ExportedModel, title: str) -> bytes:
    """A model with several inputs or outputs, or with branches; inputs and outputs keep
    their names."""
    (network,) = exported.networks
    plan = network.plan
    assert plan is not None and exported.graph_inputs is not None
    check_operations(network, {*OPS, *GRAPH_OPS}, "ONNX")
    names = {name: f"input_{_ascii(name)}" for name in exported.graph_inputs}
    taken = set(exported.outputs)
    names = {name: name if name not in taken else names[name] for name in names}
    values = _values(graph, network, list(names.values()))
    graph.layer = "outputs"
    outputs = []
    for head, (name, shape) in zip(plan.heads, exported.outputs.items(), strict=True):
        graph.add("Identity", (values[head.value],), name)
        outputs.append(_value(name, TensorProto.FLOAT, shape))
    given = [
        _value(names[name], TensorProto.FLOAT, shape)
        for name, shape in exported.graph_inputs.items()
    ]
    return _finished(graph, exported, title, given, outputs)


def _finished(
    graph: Builder, exported: ExportedModel, title: str, given: Any, outputs: Any
) -> bytes:
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            _ascii(title),
            given,
            outputs,
            initializer=graph.constants,
            doc_string=exported.what,
        ),
        producer_name="Kurve",
        producer_version=kurve.__version__,
        opset_imports=[helper.make_opsetid(*each) for each in _opsets(exported)],
        ir_version=_ir_version(exported),
    )
    helper.set_model_props(model, _metadata(exported))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _column(table: TableInputs, column: int, name: str) -> Any:
    """The input of a column."""
    kind = TensorProto.STRING if table.is_text(column) else TensorProto.DOUBLE
    return _value(name, kind, (1,))


def _opsets(exported: ExportedModel) -> list[tuple[str, int]]:
    table = exported.table
    if table is None:
        return [("", OPSET)]
    opset = onnx_tables.TEXT_OPSET if table.columns.words else OPSET
    ml = (onnx_tables.ML_DOMAIN, onnx_tables.ML_OPSET)
    return [("", opset), *([ml] if table.columns.levels else [])]


def _ir_version(exported: ExportedModel) -> int:
    table = exported.table
    return TEXT_IR_VERSION if table is not None and table.columns.words else IR_VERSION


def _metadata(exported: ExportedModel) -> dict[str, str]:
    """Names of columns, targets, classes and quantiles, as lists in JSON."""
    lists: dict[str, Any] = {"columns": exported.columns, "targets": exported.targets}
    if isinstance(exported.head, Classification):
        lists["classes"] = exported.head.labels.tolist()
    if isinstance(exported.head, Regression):
        lists["quantiles"] = exported.head.levels or None
    if exported.table is not None:
        table = exported.table
        lists["columns"] = list(map(table.name, table.used))
        lists["kinds"] = list(map(table.meaning, table.used))
    return {
        "kurve.model": exported.what,
        **{f"kurve.{name}": json.dumps(v) for name, v in lists.items() if v},
    }


def _ascii(text: str) -> str:
    """A name in ASCII, which every ONNX reader can display."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text)


def _value(name: str, kind: int, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor_value_info(name, kind, [BATCH, *shape])


def _scaled(graph: Builder, inputs: Inputs, x: str) -> tuple[str, str]:
    """The scaled inputs of the networks, and a guard (N, 1): 0, or NaN in rows that the
    estimator would reject."""
    if inputs.order != tuple(range(len(inputs.order))):
        x = graph.node("Gather", x, graph.constant(inputs.order, np.int64), axis=1)
    x = graph.node("Cast", x, to=TensorProto.DOUBLE)
    if inputs.imputation is not None:
        missing = graph.node("IsNaN", x)
        x = graph.node(
            "Where", missing, graph.constant(inputs.imputation, np.float64), x
        )
    zero = graph.node("Mul", x, graph.constant(0.0, np.float64))
    axis = graph.constant([1], np.int64)
    guard = graph.node("ReduceSum", zero, axis, keepdims=1)
    if inputs.indicators:
        which = graph.constant(inputs.indicators, np.int64)
        indicators = graph.node("Cast", missing, to=TensorProto.DOUBLE)
        indicators = graph.node("Gather", indicators, which, axis=1)
        x = graph.node("Concat", x, indicators, axis=1)
    x = graph.node("Sub", x, graph.constant(inputs.mean, np.float64))
    x = graph.node("Div", x, graph.constant(inputs.deviation, np.float64))
    ends = (graph.constant(end, np.float64) for end in (-LARGEST, LARGEST))
    x = graph.node("Clip", x, *ends)
    if inputs.tails is not None:
        low, high = (graph.constant(end, np.float64) for end in inputs.tails)
        inside = graph.node("Min", graph.node("Max", x, low), high)
        beyond = graph.node("Sub", x, inside)
        one = graph.constant(1.0, np.float64)
        size = graph.node("Log", graph.node("Add", graph.node("Abs", beyond), one))
        size = graph.node("Mul", size, graph.node("Sign", beyond))
        x = graph.node("Add", inside, size)
    return graph.node("Cast", x, to=TensorProto.FLOAT), guard


def _network(graph: Builder, network: Network, x: str) -> str:
    check_operations(network, {*OPS, *GRAPH_OPS}, "ONNX")
    values = _values(graph, network, [x])
    return values[-1 if network.plan is None else network.plan.heads[0].value]


def _values(graph: Builder, network: Network, values: list[str]) -> list[str]:
    """All values of a network, computed from its inputs."""
    plan = network.plan
    for i, (op, arrays) in enumerate(zip(network.ops, network.arrays, strict=True)):
        graph.layer = op.layer
        xs = values[-1:] if plan is None else [values[v] for v in plan.reads(i)]
        if op.kind in GRAPH_OPS and (plan is not None or op.kind not in OPS):
            values.append(GRAPH_OPS[op.kind](graph, op, arrays, xs))
        else:
            values.append(OPS[op.kind](graph, op, arrays, xs[0]))
    return values


def _head(
    graph: Builder, exported: ExportedModel, predictions: list[str], guard: str
) -> list[Any]:
    """The nodes after the networks; the outputs of the graph."""
    head = exported.head
    if isinstance(head, Average):
        tensors = _average(graph, predictions)
    elif isinstance(head, Regression):
        tensors = _regression(graph, head, predictions)
    elif isinstance(head, Classification):
        tensors = _classification(graph, head, predictions)
    else:
        tensors = {"output": predictions[0]}
    values = []
    for name, shape in exported.outputs.items():
        result = tensors[name]
        if guard:
            wide = guard
            if len(shape) == 2:
                wide = graph.node("Unsqueeze", guard, graph.constant([2], np.int64))
            result = graph.node("Add", result, wide)
        if exported.inputs is None and not isinstance(head, Average):
            graph.add("Identity", (result,), name)
        else:
            graph.add("Cast", (result,), name, to=TensorProto.FLOAT)
        values.append(_value(name, TensorProto.FLOAT, shape))
    if isinstance(head, Classification):
        values.append(_label(graph, head, tensors["probabilities"]))
    return values


def _stacked(graph: Builder, predictions: list[str]) -> str:
    """The networks' outputs in one tensor of float64, (members, N, ...)."""
    axis = graph.constant([0], np.int64)
    parts = [graph.node("Unsqueeze", x, axis) for x in predictions]
    stack = parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=0)
    return graph.node("Cast", stack, to=TensorProto.DOUBLE)


def _mean(
    graph: Builder, x: str, keep: int = 0, weights: np.ndarray | None = None
) -> str:
    """The mean over the first axis, of three."""
    if weights is None:
        return graph.node("ReduceMean", x, axes=[0], keepdims=keep)
    x = graph.node("Mul", x, graph.constant(weights.reshape(-1, 1, 1), np.float64))
    return graph.node("ReduceSum", x, graph.constant([0], np.int64), keepdims=keep)


def _variance(graph: Builder, x: str, weights: np.ndarray | None = None) -> str:
    """The variance over the first axis."""
    centred = graph.node("Sub", x, _mean(graph, x, 1, weights))
    return _mean(graph, graph.node("Mul", centred, centred), 0, weights)


def _average(graph: Builder, predictions: list[str]) -> dict[str, str]:
    each = _stacked(graph, predictions)
    deviation = graph.node("Sqrt", _variance(graph, each))
    return {"mean": _mean(graph, each), "deviation": deviation}


def _regression(
    graph: Builder, head: Regression, predictions: list[str]
) -> dict[str, str]:
    """The formulas of `RegressionHead.moments`."""

    def number(value: Any) -> str:
        return graph.constant(value, np.float64)

    def part(x: str, first: int, last: int, axis: int) -> str:
        ends = (graph.constant([n], np.int64) for n in (first, last, axis))
        return graph.node("Slice", x, *ends)

    each, targets = _stacked(graph, predictions), len(head.mean)
    mean, deviation = number(head.mean), number(head.deviation)
    outputs: dict[str, str] = {}
    if head.likelihood == "gaussian":
        raw = part(each, targets, 2 * targets, 2)
        each = part(each, 0, targets, 2)
        low = graph.node("Exp", graph.node("Neg", graph.node("Abs", raw)))
        low = graph.node("Log", graph.node("Add", low, number(1.0)))
        soft = graph.node("Add", graph.node("Max", raw, number(0.0)), low)
        soft = graph.node("Add", soft, number(MIN_VARIANCE))
        variance = _mean(graph, soft, 0, head.weights)
    elif head.likelihood == "quantile":
        count = len(head.levels)
        form = graph.constant([len(predictions), -1, targets, count], np.int64)
        each = graph.node("Reshape", each, form)
        values = _sorted(graph, _mean(graph, each), count)
        wide, shift = number(head.deviation[:, None]), number(head.mean[:, None])
        outputs["quantiles"] = graph.node("Add", graph.node("Mul", values, wide), shift)
        each = _sorted(graph, each, count)
        low, middle, high = (
            graph.node(
                "Gather", each, graph.constant(head.levels.index(q), np.int64), axis=-1
            )
            for q in (0.1, 0.5, 0.9)
        )
        std = graph.node("Div", graph.node("Sub", high, low), number(DECILES))
        square = graph.node("Mul", std, std)
        variance = _mean(graph, graph.node("Add", square, number(MIN_VARIANCE)))
        each = middle
    else:
        variance = number(head.noise)
    total = graph.node("Add", _variance(graph, each, head.weights), variance)
    factor = number(head.deviation * head.std_scale)
    outputs["deviation"] = graph.node("Mul", graph.node("Sqrt", total), factor)
    middle = graph.node("Mul", _mean(graph, each, 0, head.weights), deviation)
    outputs["prediction"] = graph.node("Add", middle, mean)
    return outputs


def _sorted(graph: Builder, x: str, count: int) -> str:
    """Sort in increasing order along the last axis."""
    name = graph.node("Identity", x)
    values, indices = f"{name}_sorted", f"{name}_indices"
    size = graph.constant([count], np.int64)
    graph.nodes.append(
        helper.make_node(
            "TopK", [x, size], [values, indices], axis=-1, largest=0, sorted=1
        )
    )
    return values


def _classification(
    graph: Builder, head: Classification, predictions: list[str]
) -> dict[str, str]:
    """The formulas of `Classifier._mixed`."""
    each = _stacked(graph, predictions)
    if len(head.labels) == 2:
        one = graph.constant(1.0, np.float64)
        power = graph.node("Exp", graph.node("Neg", each))
        positive = graph.node("Div", one, graph.node("Add", one, power))
        positive = _mean(graph, positive, 0, head.weights)
        other = graph.node("Sub", one, positive)
        return {"probabilities": graph.node("Concat", other, positive, axis=-1)}
    each = graph.node("Softmax", each, axis=-1)
    return {"probabilities": _mean(graph, each, 0, head.weights)}


def _label(graph: Builder, head: Classification, probabilities: str) -> Any:
    """The most probable class, in the labels' own type."""
    place = graph.node("ArgMax", probabilities, axis=-1, keepdims=0)
    labels = head.labels
    if labels.dtype.kind in "iu":
        kind, values = TensorProto.INT64, graph.constant(labels, np.int64)
    elif labels.dtype.kind in "bf":
        kind, values = TensorProto.FLOAT, graph.constant(labels, np.float32)
        if labels.dtype.kind == "b":
            kind = TensorProto.BOOL
    else:
        kind, values = TensorProto.STRING, "labels"
        texts = np.array([str(label) for label in labels], object)
        graph.constants.append(numpy_helper.from_array(texts, values))
    chosen = graph.node("Gather", values, place, axis=0)
    if kind == TensorProto.BOOL:
        graph.add("Cast", (chosen,), "label", to=kind)
    else:
        graph.add("Identity", (chosen,), "label")
    return _value("label", kind, ())
