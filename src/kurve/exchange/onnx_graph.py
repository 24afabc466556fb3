"""The graph builder interface, and activations in ONNX. The formulas are those of
`kurve.engines.reference.activations`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from kurve.core.dtypes import FLOAT32_MAX
from kurve.engines.reference.activations import SELU_ALPHA, SELU_SCALE
from kurve.exchange.constants import Arrays as Arrays
from kurve.plan import Op


class Graph(Protocol):
    """The graph an operation adds its nodes to."""

    def node(self, kind: str, *inputs: str, **attrs: Any) -> str:
        """Add a node and return the name of its output."""
        ...

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        ...


def _gelu(graph: Graph, z: str, alpha: float) -> str:
    """z (1 + erf(z / sqrt 2)) / 2."""
    root = graph.constant(math.sqrt(2.0))
    part = graph.node("Erf", graph.node("Div", z, root))
    part = graph.node("Add", part, graph.constant(1.0))
    half = graph.node("Mul", z, graph.constant(0.5))
    return graph.node("Mul", half, part)


def _snake(graph: Graph, z: str, alpha: float) -> str:
    """z + sin(alpha z)^2 / alpha."""
    number = graph.constant(alpha)
    phase = graph.node("Mul", z, number)
    ends = (graph.constant(end) for end in (-FLOAT32_MAX, FLOAT32_MAX))
    phase = graph.node("Clip", phase, *ends)
    wave = graph.node("Sin", phase)
    wave = graph.node("Div", graph.node("Mul", wave, wave), number)
    return graph.node("Add", z, wave)


def _node(kind: str, **attrs: float) -> Callable[[Graph, str, float], str]:
    """An activation that is a single ONNX node."""
    return lambda graph, z, alpha: graph.node(kind, z, **attrs)


ACTIVATIONS: dict[str, Callable[[Graph, str, float], str]] = {
    "linear": lambda graph, z, alpha: z,
    "relu": _node("Relu"),
    "leaky_relu": lambda graph, z, alpha: graph.node("LeakyRelu", z, alpha=alpha),
    "elu": lambda graph, z, alpha: graph.node("Elu", z, alpha=alpha),
    "selu": _node("Selu", alpha=SELU_ALPHA, gamma=SELU_SCALE),
    "sigmoid": _node("Sigmoid"),
    "tanh": _node("Tanh"),
    "silu": lambda graph, z, alpha: graph.node("Mul", z, graph.node("Sigmoid", z)),
    "gelu": _gelu,
    "softplus": _node("Softplus"),
    "softsign": _node("Softsign"),
    "sin": _node("Sin"),
    "snake": _snake,
}


def activated(graph: Graph, op: Op, z: str) -> str:
    """Apply the op's activation to z."""
    return ACTIVATIONS[str(op.attrs["activation"])](graph, z, float(op.attrs["alpha"]))
