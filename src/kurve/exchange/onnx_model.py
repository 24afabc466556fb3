"""ONNX models: graph, inputs, heads and metadata. What one operation becomes is in
`kurve.exchange.onnx_ops`.

Opset 17 and IR version 8, which onnxruntime reads from 1.13 on.
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
from kurve.exchange.exported import (
    LARGEST,
    Average,
    Classification,
    ExportedModel,
    Inputs,
    Network,
    Regression,
)
from kurve.exchange.onnx_graph import Graph
from kurve.exchange.onnx_ops import OPS

OPSET, IR_VERSION = 17, 8
LARGEST_FILE = 2**31 - 2**20
"""Bytes: protobuf reads no more, and the graph needs some beside the weights."""

BATCH = "N"
"""Name of the free first axis."""


class Builder(Graph):
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.layer = ""

    def node(self, kind: str, *inputs: str, **attrs: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.add(kind, inputs, name, **attrs)
        return name

    def add(
        self, kind: str, inputs: tuple[str, ...], output: str, **attrs: Any
    ) -> None:
        """A node whose output has a given name."""
        label = f"{_plain(self.layer)}/{kind}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, list(inputs), [output], name=label, **attrs)
        )

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def serialized(exported: ExportedModel, title: str) -> bytes:
    """The bytes of an .onnx file, checked with `onnx.checker`.

    Raises:
        ValueError: an operation that has no form in ONNX here, or weights of 2 GiB.
    """
    if exported.numbers * 4 > LARGEST_FILE:
        raise ValueError(
            "[export] an ONNX file holds at most 2 GiB. Received: "
            f"{exported.numbers:,} numbers. Try fewer members or smaller layers."
        )
    graph = Builder()
    source = "X" if exported.inputs is not None else "input"
    rows, guard = source, ""
    graph.layer = "inputs"
    if exported.inputs is not None:
        rows, guard = _scaled(graph, exported.inputs, source)
    predictions = [_network(graph, network, rows) for network in exported.networks]
    graph.layer = "outputs"
    outputs = _head(graph, exported, predictions, guard)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            _plain(title),
            [_value(source, TensorProto.FLOAT, exported.input_shape)],
            outputs,
            initializer=graph.constants,
            doc_string=exported.what,
        ),
        producer_name="Kurve",
        producer_version=kurve.__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, _metadata(exported))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _metadata(exported: ExportedModel) -> dict[str, str]:
    """Names of columns, targets, classes and quantiles, as lists in JSON."""
    found: dict[str, Any] = {"columns": exported.columns, "targets": exported.targets}
    if isinstance(exported.head, Classification):
        found["classes"] = exported.head.labels.tolist()
    if isinstance(exported.head, Regression):
        found["quantiles"] = exported.head.levels or None
    return {
        "kurve.model": exported.what,
        **{f"kurve.{name}": json.dumps(v) for name, v in found.items() if v},
    }


def _plain(text: str) -> str:
    """ASCII that every reader of ONNX shows."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text)


def _value(name: str, kind: int, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor_value_info(name, kind, [BATCH, *shape])


def _scaled(graph: Builder, inputs: Inputs, x: str) -> tuple[str, str]:
    """z as the networks take it, and (N, 1) of zeros, NaN in rows that hold what the
    estimator refuses."""
    if inputs.order != tuple(range(len(inputs.order))):
        x = graph.node("Gather", x, graph.constant(inputs.order, np.int64), axis=1)
    x = graph.node("Cast", x, to=TensorProto.DOUBLE)
    if inputs.fills is not None:
        empty = graph.node("IsNaN", x)
        x = graph.node("Where", empty, graph.constant(inputs.fills, np.float64), x)
    zero = graph.node("Mul", x, graph.constant(0.0, np.float64))
    axis = graph.constant([1], np.int64)
    guard = graph.node("ReduceSum", zero, axis, keepdims=1)
    if inputs.marks:
        marks = graph.constant(inputs.marks, np.int64)
        marked = graph.node("Cast", empty, to=TensorProto.DOUBLE)
        marked = graph.node("Gather", marked, marks, axis=1)
        x = graph.node("Concat", x, marked, axis=1)
    x = graph.node("Sub", x, graph.constant(inputs.mean, np.float64))
    x = graph.node("Div", x, graph.constant(inputs.deviation, np.float64))
    ends = (graph.constant(end, np.float64) for end in (-LARGEST, LARGEST))
    x = graph.node("Clip", x, *ends)
    return graph.node("Cast", x, to=TensorProto.FLOAT), guard


def _network(graph: Builder, network: Network, x: str) -> str:
    for op, arrays in zip(network.ops, network.arrays, strict=True):
        if op.kind not in OPS:
            raise ValueError(
                f"[export] layer {op.layer!r} cannot be written to ONNX yet, because "
                f"nothing is known there for the operation {op.kind!r}. "
                f"Known: {', '.join(sorted(OPS))}."
            )
        graph.layer = op.layer
        x = OPS[op.kind](graph, op, arrays, x)
    return x


def _head(
    graph: Builder, exported: ExportedModel, predictions: list[str], guard: str
) -> list[Any]:
    """The nodes behind the networks; what the graph gives."""
    head = exported.head
    if isinstance(head, Average):
        found = _average(graph, predictions)
    elif isinstance(head, Regression):
        found = _regression(graph, head, predictions)
    elif isinstance(head, Classification):
        found = _classification(graph, head, predictions)
    else:
        found = {"output": predictions[0]}
    values = []
    for name, shape in exported.outputs.items():
        result = found[name]
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
        values.append(_label(graph, head, found["probabilities"]))
    return values


def _stacked(graph: Builder, predictions: list[str]) -> str:
    """The networks' outputs in one tensor of float64, (members, N, ...)."""
    axis = graph.constant([0], np.int64)
    parts = [graph.node("Unsqueeze", x, axis) for x in predictions]
    whole = parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=0)
    return graph.node("Cast", whole, to=TensorProto.DOUBLE)


def _mean(graph: Builder, x: str, keep: int = 0) -> str:
    return graph.node("ReduceMean", x, axes=[0], keepdims=keep)


def _variance(graph: Builder, x: str) -> str:
    """Over the first axis."""
    apart = graph.node("Sub", x, _mean(graph, x, 1))
    return _mean(graph, graph.node("Mul", apart, apart))


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
    found: dict[str, str] = {}
    if head.likelihood == "gaussian":
        raw = part(each, targets, 2 * targets, 2)
        each = part(each, 0, targets, 2)
        low = graph.node("Exp", graph.node("Neg", graph.node("Abs", raw)))
        low = graph.node("Log", graph.node("Add", low, number(1.0)))
        soft = graph.node("Add", graph.node("Max", raw, number(0.0)), low)
        variance = _mean(graph, graph.node("Add", soft, number(MIN_VARIANCE)))
    elif head.likelihood == "quantile":
        count = len(head.levels)
        form = graph.constant([len(predictions), -1, targets, count], np.int64)
        each = graph.node("Reshape", each, form)
        values = _sorted(graph, _mean(graph, each), count)
        wide, shift = number(head.deviation[:, None]), number(head.mean[:, None])
        found["quantiles"] = graph.node("Add", graph.node("Mul", values, wide), shift)
        each = _sorted(graph, each, count)
        low, middle, high = (
            graph.node(
                "Gather", each, graph.constant(head.levels.index(q), np.int64), axis=-1
            )
            for q in (0.1, 0.5, 0.9)
        )
        spread = graph.node("Div", graph.node("Sub", high, low), number(DECILES))
        spread = graph.node("Mul", spread, spread)
        variance = _mean(graph, graph.node("Add", spread, number(MIN_VARIANCE)))
        each = middle
    else:
        variance = number(head.noise)
    total = graph.node("Add", _variance(graph, each), variance)
    factor = number(head.deviation * head.spread)
    found["deviation"] = graph.node("Mul", graph.node("Sqrt", total), factor)
    middle = graph.node("Mul", _mean(graph, each), deviation)
    found["prediction"] = graph.node("Add", middle, mean)
    return found


def _sorted(graph: Builder, x: str, count: int) -> str:
    """In increasing order along the last axis."""
    name = graph.node("Identity", x)
    top, places = f"{name}_sorted", f"{name}_places"
    size = graph.constant([count], np.int64)
    graph.nodes.append(
        helper.make_node("TopK", [x, size], [top, places], axis=-1, largest=0, sorted=1)
    )
    return top


def _classification(
    graph: Builder, head: Classification, predictions: list[str]
) -> dict[str, str]:
    """The formulas of `Classifier._mixed`."""
    each = _stacked(graph, predictions)
    if len(head.labels) == 2:
        one = graph.constant(1.0, np.float64)
        power = graph.node("Exp", graph.node("Neg", each))
        positive = graph.node("Div", one, graph.node("Add", one, power))
        positive = _mean(graph, positive)
        other = graph.node("Sub", one, positive)
        return {"probabilities": graph.node("Concat", other, positive, axis=-1)}
    return {"probabilities": _mean(graph, graph.node("Softmax", each, axis=-1))}


def _label(graph: Builder, head: Classification, probabilities: str) -> Any:
    """The most probable class, of the labels' kind."""
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
