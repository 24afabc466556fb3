"""Elementwise formulas in ONNX: one or a few nodes per tape instruction."""

from __future__ import annotations

import math
from collections.abc import Callable

from kurve.exchange.onnx_graph import Arrays, Graph
from kurve.ops.tape import Tape
from kurve.plan import Op

Nodes = Callable[..., str]
FLOAT, BOOL = 1, 9  # codes of onnx.TensorProto


def _node(kind: str) -> Nodes:
    """An operation that is one node."""
    return lambda graph, *inputs: graph.node(kind, *inputs)


def _truth(kind: str) -> Nodes:
    """A comparison: 1.0 or 0.0."""
    return lambda graph, *x: _as_float(graph, graph.node(kind, *x))


def _logic(kind: str) -> Nodes:
    """Logic on values; nonzero is true."""
    return lambda graph, *x: _as_float(
        graph, graph.node(kind, *(graph.node("Cast", one, to=BOOL) for one in x))
    )


def _as_float(graph: Graph, x: str) -> str:
    return graph.node("Cast", x, to=FLOAT)


def _reciprocal_root(graph: Graph, x: str) -> str:
    return graph.node("Reciprocal", graph.node("Sqrt", x))


def _square(graph: Graph, x: str) -> str:
    return graph.node("Mul", x, x)


def _mod(graph: Graph, u: str, v: str) -> str:
    """The remainder with the sign of v; ONNX's Mod has the sign of u for floats."""
    rest, zero = graph.node("Mod", u, v, fmod=1), graph.constant(0.0)
    sides = graph.node("Less", rest, zero), graph.node("Less", v, zero)
    other = graph.node("Xor", *sides)
    wrong = graph.node("And", other, graph.node("Not", graph.node("Equal", rest, zero)))
    return graph.node("Where", wrong, graph.node("Add", rest, v), rest)


def _expm1(graph: Graph, x: str) -> str:
    """tanh(x / 2) (e^x + 1), which loses no digits near 0."""
    half = graph.node("Tanh", graph.node("Mul", x, graph.constant(0.5)))
    sum_ = graph.node("Add", graph.node("Exp", x), graph.constant(1.0))
    return graph.node("Mul", half, sum_)


def _log1p(graph: Graph, x: str) -> str:
    """log(u) x / (u - 1) with u = 1 + x rounded, and x where u is 1. Source: Goldberg
    1991, theorem 4."""
    one = graph.constant(1.0)
    u = graph.node("Add", x, one)
    factor = graph.node("Div", x, graph.node("Sub", u, one))
    value = graph.node("Mul", graph.node("Log", u), factor)
    small = graph.node("Where", graph.node("Equal", u, one), x, value)
    infinite = graph.node("IsInf", x, detect_negative=0)
    return graph.node("Where", infinite, x, small)


def _arctan2(graph: Graph, y: str, x: str) -> str:
    """atan(y / |x|), mirrored where x < 0."""
    zero, turn = graph.constant(0.0), graph.constant(math.pi)
    right = graph.node("Atan", graph.node("Div", y, graph.node("Abs", x)))
    below = graph.node("Less", y, zero)
    side = graph.node("Where", below, graph.node("Neg", turn), turn)
    left = graph.node("Sub", side, right)
    turned = graph.node("Where", graph.node("Less", x, zero), left, right)
    both = graph.node("And", graph.node("Equal", x, zero), graph.node("Equal", y, zero))
    return graph.node("Where", both, zero, turned)


def _where(graph: Graph, condition: str, u: str, v: str) -> str:
    return graph.node("Where", graph.node("Cast", condition, to=BOOL), u, v)


def _isfinite(graph: Graph, x: str) -> str:
    bad = graph.node("Or", graph.node("IsNaN", x), graph.node("IsInf", x))
    return _as_float(graph, graph.node("Not", bad))


NODES: dict[str, Nodes] = {
    "add": _node("Add"),
    "sub": _node("Sub"),
    "mul": _node("Mul"),
    "div": _node("Div"),
    "neg": _node("Neg"),
    "reciprocal": _node("Reciprocal"),
    "square": _square,
    "sqrt": _node("Sqrt"),
    "rsqrt": _reciprocal_root,
    "pow": _node("Pow"),
    "mod": _mod,
    "exp": _node("Exp"),
    "expm1": _expm1,
    "log": _node("Log"),
    "log1p": _log1p,
    "sigmoid": _node("Sigmoid"),
    "softplus": _node("Softplus"),
    "erf": _node("Erf"),
    "sin": _node("Sin"),
    "cos": _node("Cos"),
    "tan": _node("Tan"),
    "tanh": _node("Tanh"),
    "sinh": _node("Sinh"),
    "cosh": _node("Cosh"),
    "arcsin": _node("Asin"),
    "arccos": _node("Acos"),
    "arcsinh": _node("Asinh"),
    "arccosh": _node("Acosh"),
    "arctan": _node("Atan"),
    "arctanh": _node("Atanh"),
    "arctan2": _arctan2,
    "abs": _node("Abs"),
    "sign": _node("Sign"),
    "floor": _node("Floor"),
    "ceil": _node("Ceil"),
    "round": _node("Round"),
    "stop_gradient": lambda graph, x: x,
    "max": _node("Max"),
    "min": _node("Min"),
    "relu": _node("Relu"),
    "where": _where,
    "lt": _truth("Less"),
    "le": _truth("LessOrEqual"),
    "gt": _truth("Greater"),
    "ge": _truth("GreaterOrEqual"),
    "eq": _truth("Equal"),
    "ne": lambda graph, u, v: _as_float(
        graph, graph.node("Not", graph.node("Equal", u, v))
    ),
    "and": _logic("And"),
    "or": _logic("Or"),
    "not": _logic("Not"),
    "isfinite": _isfinite,
    "isnan": _truth("IsNaN"),
}
"""The ONNX nodes for each operation of `kurve.ops.elementwise`."""


def map_(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    """y = f(x, variables); shapes broadcast as in Kurve."""
    assert op.tape is not None
    variables = [graph.constant(arrays[role]) for role in op.params]
    (y,) = nodes(graph, op.tape, [x, *variables])
    return y


def nodes(graph: Graph, tape: Tape, inputs: list[str]) -> list[str]:
    """The names of a tape's outputs, given those of its inputs."""
    names = list(inputs)
    for step in tape.code:
        names.append(
            graph.constant(step.value)
            if step.name == "constant"
            else NODES[step.name](graph, *(names[a] for a in step.arguments))
        )
    return [names[output] for output in tape.outputs]
