"""Recurrent operations in ONNX: the nodes LSTM, GRU and RNN, on (T, N, F). Their gates
are ordered differently from Keras's, and are rows instead of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.exchange.onnx_graph import Arrays, Graph
from kurve.plan import Op

NODES = {"lstm": ("LSTM", (0, 3, 1, 2)), "gru": ("GRU", (0, 1, 2))}
"""The node, and the order of its gates: i o f c; z r h."""

ACTIVATIONS = {
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "relu": "Relu",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "softsign": "Softsign",
    "softplus": "Softplus",
}
"""Activations these nodes support; alpha applies to leaky_relu and elu."""


def has_node(op: Op) -> bool:
    """Whether a node computes the operation: nodes support masks only at the end of
    sequences, and return no states of all steps."""
    names = ["activation"] if op.kind == "simple_rnn" else list(FUNCTIONS)
    return not any(
        op.attrs.get(name) for name in ("masked", "states", "recurrent_dropout")
    ) and all(str(op.attrs[name]) in ACTIVATIONS for name in names)


def recurrent(graph: Graph, op: Op, arrays: Arrays, xs: Sequence[str]) -> str:
    """The output of a cell for all steps or the last one, see `has_node`."""
    attrs = op.attrs
    kind, order = NODES.get(op.kind, ("RNN", (0,)))
    units = arrays["recurrent_kernel"].shape[0]

    def rows(columns: np.ndarray) -> np.ndarray:
        """(1, G H, ...) of (..., G H)."""
        parts = np.split(columns, len(order), axis=-1)
        return np.concatenate([parts[k] for k in order], axis=-1).T[None]

    biases = np.zeros((2, units * len(order)), np.float32)
    if "bias" in arrays:
        biases[: arrays["bias"].reshape(-1, biases.shape[1]).shape[0]] = arrays["bias"]
    W, U = rows(arrays["kernel"]), rows(arrays["recurrent_kernel"])
    b = np.concatenate([rows(biases[k : k + 1])[..., 0] for k in (0, 1)], axis=-1)
    x = graph.node("Transpose", xs[0], perm=[1, 0, 2])
    if attrs.get("reverse"):
        ends = [graph.constant([k], np.int64) for k in (-1, -(2**31), 0, -1)]
        x = graph.node("Slice", x, *ends)
    axis = graph.constant([0], np.int64)
    states = [graph.node("Unsqueeze", state, axis) for state in xs[1:]]
    constants = [graph.constant(np.ascontiguousarray(a)) for a in (W, U, b)]
    more: dict[str, Any] = _functions(op)
    if op.kind == "gru":
        more["linear_before_reset"] = int(attrs["reset_after"])
    y = graph.node(kind, x, *constants, "", *states, hidden_size=units, **more)
    y = graph.node("Squeeze", y, graph.constant([1], np.int64))
    if attrs.get("sequences"):
        return graph.node("Transpose", y, perm=[1, 0, 2])
    return graph.node("Gather", y, graph.constant(np.int64(-1), np.int64), axis=0)


FUNCTIONS = {"recurrent_activation": "recurrent_alpha", "activation": "alpha"}
"""The attributes with the activations of a cell, and those with their alphas."""


def _functions(op: Op) -> dict[str, Any]:
    """The activations of a node, and their alphas."""
    names = list(FUNCTIONS)[op.kind == "simple_rnn" :]
    names += names[-1:] * (op.kind == "lstm")
    functions, alphas = [], []
    for name in names:
        functions.append(ACTIVATIONS[str(op.attrs[name])])
        if functions[-1] in ("LeakyRelu", "Elu"):
            alphas.append(float(op.attrs.get(FUNCTIONS[name], 0.0)))
    return {"activations": functions} | ({"activation_alpha": alphas} if alphas else {})
