"""Graph operations in ONNX: tapes of formulas, and operations that move, join or reduce
elements. Values are (N, *sample); true is 1.0, false 0.0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.exchange.onnx_graph import Arrays, Graph
from kurve.exchange.onnx_recurrence import recurrent
from kurve.plan import Op

Inputs = Sequence[str]


def _one(kind: str) -> Callable[..., str]:
    return lambda graph, *x: graph.node(kind, *x)


def _number(graph: Graph, x: str) -> str:
    """A boolean as a number."""
    return graph.node("Cast", x, to=1)


def _truth(graph: Graph, x: str) -> str:
    return graph.node("Cast", x, to=9)


def _compared(kind: str, negated: bool = False) -> Callable[..., str]:
    def write(graph: Graph, x1: str, x2: str) -> str:
        y = graph.node(kind, x1, x2)
        return _number(graph, graph.node("Not", y) if negated else y)

    return write


def _joined(kind: str) -> Callable[..., str]:
    def write(graph: Graph, *x: str) -> str:
        return _number(graph, graph.node(kind, *[_truth(graph, part) for part in x]))

    return write


def _square(graph: Graph, x: str) -> str:
    return graph.node("Mul", x, x)


def _rsqrt(graph: Graph, x: str) -> str:
    return graph.node("Reciprocal", graph.node("Sqrt", x))


def _mod(graph: Graph, x1: str, x2: str) -> str:
    """The remainder with the sign of x2."""
    rest = graph.node("Mod", x1, x2, fmod=1)
    moved = graph.node("Add", rest, x2)
    zero = graph.constant(0.0)
    signs = graph.node("Less", graph.node("Mul", rest, x2), zero)
    return graph.node("Where", signs, moved, rest)


def _expm1(graph: Graph, x: str) -> str:
    """2 sinh(x / 2) exp(x / 2), which is exact near 0."""
    half = graph.node("Mul", x, graph.constant(0.5))
    wave = graph.node("Mul", graph.node("Sinh", half), graph.constant(2.0))
    return graph.node("Mul", wave, graph.node("Exp", half))


def _log1p(graph: Graph, x: str) -> str:
    """log(1 + x), or for small x the series: log(u) x / (u - 1) with u = 1 + x."""
    one = graph.constant(1.0)
    u = graph.node("Add", x, one)
    less = graph.node("Sub", u, one)
    exact = graph.node("Equal", less, graph.constant(0.0))
    ratio = graph.node("Div", x, graph.node("Where", exact, one, less))
    y = graph.node("Mul", graph.node("Log", u), ratio)
    infinite = graph.node("IsInf", u)
    return graph.node("Where", exact, x, graph.node("Where", infinite, u, y))


def _where(graph: Graph, condition: str, x1: str, x2: str) -> str:
    return graph.node("Where", _truth(graph, condition), x1, x2)


def _isnan(graph: Graph, x: str) -> str:
    return _number(graph, graph.node("IsNaN", x))


def _isfinite(graph: Graph, x: str) -> str:
    either = graph.node("Or", graph.node("IsNaN", x), graph.node("IsInf", x))
    return _number(graph, graph.node("Not", either))


MICRO: dict[str, Callable[..., str]] = {
    **{
        name: _one(kind)
        for name, kind in {
            **{"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg"},
            **{"reciprocal": "Reciprocal", "sqrt": "Sqrt", "pow": "Pow", "exp": "Exp"},
            **{"log": "Log", "sigmoid": "Sigmoid", "softplus": "Softplus"},
            **{"erf": "Erf", "sin": "Sin", "cos": "Cos", "tan": "Tan", "tanh": "Tanh"},
            **{"sinh": "Sinh", "cosh": "Cosh", "arcsin": "Asin", "arccos": "Acos"},
            **{"arcsinh": "Asinh", "arccosh": "Acosh", "arctan": "Atan"},
            **{"arctanh": "Atanh", "abs": "Abs", "sign": "Sign", "floor": "Floor"},
            **{"ceil": "Ceil", "round": "Round", "stop_gradient": "Identity"},
            **{"max": "Max", "min": "Min", "relu": "Relu"},
        }.items()
    },
    "square": _square,
    "rsqrt": _rsqrt,
    "mod": _mod,
    "expm1": _expm1,
    "log1p": _log1p,
    "where": _where,
    "lt": _compared("Less"),
    "le": _compared("LessOrEqual"),
    "gt": _compared("Greater"),
    "ge": _compared("GreaterOrEqual"),
    "eq": _compared("Equal"),
    "ne": _compared("Equal", negated=True),
    "and": _joined("And"),
    "or": _joined("Or"),
    "not": _joined("Not"),
    "isfinite": _isfinite,
    "isnan": _isnan,
}
"""The instructions of tapes; ONNX has no arctan2."""


def formula(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    """A tape, node by node."""
    assert op.tape is not None
    registers = [*xs, *[graph.constant(array) for array in arrays.values()]]
    for step in op.tape.code:
        if step.name == "constant":
            registers.append(graph.constant(np.float32(step.value)))
            continue
        if step.name not in MICRO:
            raise ValueError(
                f"[export] layer {op.layer!r} cannot be written to ONNX, because it "
                f"has no such operation. Received: {step.name!r}. Try another formula."
            )
        registers.append(
            MICRO[step.name](graph, *[registers[a] for a in step.arguments])
        )
    y = registers[op.tape.outputs[0]]
    needed = set(op.tape.outputs)
    for i in reversed(range(len(op.tape.code))):
        if op.tape.inputs + i in needed:
            needed.update(op.tape.code[i].arguments)
    read = [shape for i, shape in enumerate(op.in_shapes) if i in needed]
    if op.out_shape in read:
        return y
    if not read:  # the same for all rows
        return graph.node("Expand", y, _size(graph, xs[0], op))
    return graph.node("Expand", y, graph.constant([1, *op.out_shape], np.int64))


def _size(graph: Graph, x: str, op: Op) -> str:
    """The output shape, with the batch size of x."""
    first = [graph.constant([i], np.int64) for i in (0, 1)]
    rows = graph.node("Slice", graph.node("Shape", x), *first)
    sample = graph.constant(list(op.out_shape), np.int64)
    return graph.node("Concat", rows, sample, axis=0)


def concatenate(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    return graph.node("Concat", *xs, axis=1 + int(op.attrs["axis"]))


def reduce(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    first, count, mode = int(op.attrs["axis"]), int(op.attrs["count"]), op.attrs["mode"]
    axes = list(range(1 + first, 1 + first + count))
    (x,) = xs
    if mode == "argmax":
        sample = op.in_shape
        merged = [-1, *sample[:first], int(np.prod(sample[first : first + count]))]
        x = _reshaped(graph, x, [*merged, *sample[first + count :]])
        y = _number(graph, graph.node("ArgMax", x, axis=1 + first, keepdims=0))
    elif mode == "sum":
        y = graph.node("ReduceSum", x, graph.constant(axes, np.int64), keepdims=0)
    else:
        kinds = {"mean": "Mean", "prod": "Prod", "max": "Max", "min": "Min"}
        kind = f"Reduce{ {**kinds, 'logsumexp': 'LogSumExp'}[str(mode)] }"
        y = graph.node(kind, x, axes=axes, keepdims=0)
    return _reshaped(graph, y, [-1, *op.out_shape])


def _reshaped(graph: Graph, x: str, shape: Sequence[int]) -> str:
    return graph.node("Reshape", x, graph.constant(list(shape), np.int64))


def cumsum(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    axis = graph.constant(np.int64(1 + int(op.attrs["axis"])), np.int64)
    return graph.node("CumSum", *xs, axis, reverse=int(op.attrs["reverse"]))


def permute(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    axes: Any = op.attrs["axes"]
    return graph.node("Transpose", *xs, perm=[0, *[1 + axis for axis in axes]])


def cut(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    """A slice of each axis."""
    given: Any = op.attrs
    starts, sizes, steps = given["starts"], given["sizes"], given["steps"]
    ends = [
        # Before the first element a negative step must not count from the end.
        -(2**31) if start + size * step < 0 else start + size * step
        for start, size, step in zip(starts, sizes, steps, strict=True)
    ]
    axes = [1 + axis for axis in range(len(starts))]
    lists = [
        graph.constant(list(part), np.int64) for part in (starts, ends, axes, steps)
    ]
    return graph.node("Slice", *xs, *lists)


def place(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    """Contiguous elements placed among zeros."""
    given: Any = op.attrs
    if any(step != 1 for step in given["steps"]):
        raise ValueError(
            f"[export] layer {op.layer!r} cannot be written to ONNX yet, because its "
            f"elements stand apart. Received: steps={given['steps']}. Try ops.pad."
        )
    before = [0, *given["starts"]]
    after = [
        out - size - start
        for out, size, start in zip(
            op.out_shape, op.in_shape, given["starts"], strict=True
        )
    ]
    return graph.node("Pad", *xs, graph.constant([*before, 0, *after], np.int64))


def matmul(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    """Matrix products; transposing swaps the last two axes."""
    given = []
    flags = op.attrs["transpose_a"], op.attrs["transpose_b"]
    for x, sample, flag in zip(xs, op.in_shapes, flags, strict=True):
        axes = list(range(1 + len(sample)))
        if flag:
            axes[-2:] = axes[:-3:-1]
            x = graph.node("Transpose", x, perm=axes)
        given.append(x)
    return graph.node("MatMul", *given)


def embedding(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    """Rows of a table; NaN for invalid indices."""
    (table,) = arrays.values()
    (x,) = xs
    low, high = graph.constant(0.0), graph.constant(float(len(table)))
    known = graph.node(
        "And", graph.node("GreaterOrEqual", x, low), graph.node("Less", x, high)
    )
    rows = graph.node("Cast", graph.node("Where", known, x, low), to=7)
    y = graph.node("Gather", graph.constant(table), rows)
    each = _reshaped(graph, _number(graph, known), [-1, *op.in_shape, 1])
    return graph.node("Where", _truth(graph, each), y, graph.constant(float("nan")))


def variable(graph: Graph, op: Op, arrays: Arrays, xs: Inputs) -> str:
    """One of the model's arrays, repeated for all rows."""
    (array,) = arrays.values()
    return graph.node("Expand", graph.constant(array[None]), _size(graph, xs[0], op))


GRAPH_OPS: dict[str, Callable[[Graph, Op, Arrays, Inputs], str]] = {
    "map": formula,
    "concatenate": concatenate,
    "reduce": reduce,
    "cumsum": cumsum,
    "permute": permute,
    "slice": cut,
    "place": place,
    "lstm": recurrent,
    "gru": recurrent,
    "simple_rnn": recurrent,
    "matmul": matmul,
    "embedding": embedding,
    "variable": variable,
}
