"""Formulas that differ between training and prediction: `call(self, x, training=None)`.

A plan is one for both. Where the two formulas differ, it holds both, and a value that
is 1 in prediction and 0 in training chooses one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.tensor import leaves, replaced
from kurve.kinds import OPERATIONS
from kurve.plan import Op


def in_both_modes(
    graph: Graph, call: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
) -> Any:
    """What a call gives in training while a model is trained, else what it gives in
    prediction."""
    first, outside = graph.mark(), graph.training
    # Attention takes the masks away from its inputs.
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
            graph.ops[i] = replace(op, attrs={**op.attrs, "frozen": True})
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


def set_mode(graph: Graph, first: int, training: bool, layer: Any) -> None:
    """Let operations that act in one way in training, and in another in prediction, act
    in one way always.

    Args:
        first: the first of them: all behind it belong to the layer.
        training: the way.

    Raises:
        NotImplementedError: always as in training.
    """
    if training is graph.training:
        return
    for i in range(first, len(graph.ops)):
        op = graph.ops[i]
        facts = OPERATIONS[op.kind]
        if not facts.training_only and not facts.updates_buffers:
            continue
        if training:
            raise NotImplementedError(
                f"[{type(layer).__name__}] in a model, the layer acts as in training "
                "while the model is trained, and only then. Received: training=True. "
                "Try layer(x) without training."
            )
        if facts.training_only:
            graph.ops[i] = replace(op, kind="reshape", attrs={})
        else:
            graph.ops[i] = replace(op, attrs={**op.attrs, "frozen": True})


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
    return [
        replace(
            op,
            inputs=tuple(v + by if v >= since else v for v in op.inputs),
            attrs={k: v for k, v in op.attrs.items() if k != "stream"},
        )
        for op in part
    ]


def _index(leaf: Any, by: int, since: int = 0) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.index + by if leaf.index >= since else leaf.index
