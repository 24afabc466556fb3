"""Formulas that differ between training and prediction: `call(self, x, training=None)`.

A plan serves both modes. If the two formulas differ, it contains both, and a value that
is 1 in prediction and 0 in training selects one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kurve.formulas import functions as ops
from kurve.formulas import randomness as random
from kurve.formulas.fusing import SELU_ALPHA, SELU_SCALE
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.tensor import leaves, replaced
from kurve.layers.weights import running
from kurve.plan import Op
from kurve.plan.kinds import OPERATIONS


def in_both_modes(
    graph: Graph, call: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
) -> Any:
    """The result of a call in training mode while training, and in inference mode
    otherwise."""
    first, outside = graph.mark(), graph.training
    # Attention removes the masks of its inputs.
    masks = [(leaf, leaf.mask) for leaf in leaves((args, kwargs)) if _batched(leaf)]
    try:
        graph.training = True
        trained = call(*args, **kwargs, training=True)
        middle = graph.mark()
        for leaf, mask in masks:
            leaf.mask = mask
        graph.training = False
        predicted = call(*args, **kwargs, training=False)
    finally:
        graph.training = outside
    (start, *_), (cut, *_) = first, middle
    one, two = graph.ops[start:cut], graph.ops[cut:]
    same = _shifted(two, graph.given + cut, start - cut) == _shifted(one, 0, 0)
    if same and [_index(t, 0) for t in leaves(trained)] == [
        _index(t, start - cut, graph.given + cut) for t in leaves(predicted)
    ]:
        graph.back_to(middle)
        return trained
    del graph.losses[middle[2] :]
    for i in range(cut, len(graph.ops)):
        op = graph.ops[i]
        if OPERATIONS[op.kind].updates_buffers:
            graph.ops[i] = op.predicting()
    flag = _is_prediction(graph, next(t for t in leaves((args, kwargs)) if _batched(t)))
    others = iter(list(leaves(predicted)))

    def chosen(t: Any) -> Any:
        other = next(others)
        if not isinstance(t, Tensor) and not isinstance(other, Tensor):
            return t
        t, other = graph.as_tensor(t), graph.as_tensor(other)
        rank = max(len(t.sample), len(other.sample))
        mask = t.mask
        t = ops.where(ops.reshape(flag, (-1, *(1,) * rank)), other, t)
        t.mask = mask
        return t

    return replaced(trained, chosen)


def set_mode(
    graph: Graph, first: Any, training: bool, layer: Any, x: Tensor, y: Any
) -> Any:
    """Force operations whose behaviour depends on the mode to always behave as in
    `training`.

    Args:
        first: mark before the first operation; all later ones belong to the layer.
        training: the mode to use.
        x, y: their input and output.

    A layer whose outputs would then depend on other samples, or which transforms
    images, acts as in training only while the model is trained, as with Keras's `fit`
    and `predict`.

    Raises:
        NotImplementedError: such a layer in the `call` of a custom layer or model,
            where Keras would use training mode in prediction, too.
    """
    if training is graph.training:
        return y
    for i in range(first[0], len(graph.ops)):
        op = graph.ops[i]
        if not op.acts_in_training:
            continue
        if training and op.kind in _ALWAYS and i == first[0] == len(graph.ops) - 1:
            graph.back_to(first)
            with graph.within(layer):
                return _ALWAYS[op.kind](x, op.attrs)
        if training and not running:
            continue  # called by a graph of layers
        if training:
            raise NotImplementedError(
                f"[{type(layer).__name__}] in a model, the layer runs in training mode "
                "only while the model is trained. Received: training=True. "
                "Try layer(x) without training."
            )
        graph.ops[i] = op.predicting()
    return y


def _always_dropped(x: Tensor, attrs: Mapping[str, Any]) -> Any:
    """Dropout in prediction too; see `Dropout` and `AlphaDropout`."""
    rate, shared = attrs["rate"], attrs.get("shared", 1)
    channels = attrs.get("channels", math.prod(x.sample) // shared)
    rows = math.prod(x.sample) // (shared * channels)
    u = random.uniform((None, rows, 1, channels), seed=attrs.get("seed"))
    kept = ops.cast(ops.greater_equal(u, rate), "float32")
    wide = ops.reshape(x, (-1, rows, shared, channels))
    if attrs.get("alpha"):
        low = -SELU_SCALE * SELU_ALPHA
        scale = ((1.0 - rate) * (1.0 + rate * low**2)) ** -0.5
        y = scale * (wide * kept + low * (1.0 - kept) - low * rate)
    else:
        y = wide * (kept / (1.0 - rate) if rate < 1.0 else 0.0 * kept)
    return ops.reshape(y, (-1, *x.sample))


def _always_noisy(x: Tensor, attrs: Mapping[str, Any]) -> Any:
    """Noise in prediction too; see `GaussianNoise` and `GaussianDropout`."""
    z = random.normal((None, *x.sample), seed=attrs.get("seed"))
    noise = attrs["stddev"] * z
    return x * (1.0 + noise) if attrs.get("multiply") else x + noise


_ALWAYS = {"dropout": _always_dropped, "gaussian_noise": _always_noisy}


def _batched(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.batched


def _is_prediction(graph: Graph, x: Tensor) -> Tensor:
    """1 in prediction; 0 in training, where dropout drops everything."""
    one = x
    if x.sample:
        first = (slice(None), *(slice(0, 1),) * len(x.sample))
        one = ops.reshape(ops.get_item(x, first), (-1, 1))
    one = ops.ones_like(one)
    return graph.op("dropout", [one], one.sample, attrs={"rate": 1.0, "stream": 0})


def _shifted(part: list[Op], since: int, by: int) -> list[Op]:
    """Operations that read values from a number on, as if these lay elsewhere; streams
    of random numbers do not count."""

    def without_stream(op: Op) -> Op:
        attrs = {k: v for k, v in op.attrs.items() if k != "stream"}
        body = op.body and op.body.mapped(without_stream)
        return replace(op, attrs=attrs, body=body)

    return [
        replace(
            without_stream(op),
            inputs=tuple(v + by if v >= since else v for v in op.inputs),
        )
        for op in part
    ]


def _index(leaf: Any, by: int, since: int = 0) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.index + by if leaf.index >= since else leaf.index
