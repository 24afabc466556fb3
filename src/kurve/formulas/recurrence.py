"""Loops over the steps of a sequence: unrolled, or as one operation.

An unrolled loop works for any cell; it is the specification of the fused one,
which is one operation, for the cells that engines know:

    simple_rnn  h' = f(x W + h U + b)
    lstm        i, f, c, o = x W + h U + b; c' = g(f) c + g(i) f(c); h' = g(o) f(c')
    gru         z, r, h = x W + ..., see `kurve.layers.gates.GRUCell`

A masked step keeps the states, and its output is the previous one:
initially zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.tensor import leaves, replaced
from kurve.kinds import OPERATIONS

Step = Callable[[Tensor, Any], tuple[Any, Any]]
"""A function from a step's input and states to its output and new states."""

MOST_STEPS = 5_000
"""Maximum steps to unroll: building a plan with more takes minutes."""


def zeros(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros of this shape per sample of x."""
    first = ops.get_item(x, (slice(None), *(slice(0, 1),) * len(x.sample)))
    one = ops.reshape(first, (-1, *(1,) * len(shape)))
    return x.graph.map([one], lambda build, _: build.constant(0.0), shape=tuple(shape))


def as_numbers(mask: Any) -> Tensor:
    """A mask (B, T) as numbers: 1 for valid steps, 0 for masked ones."""
    if mask.dtype != "bool":
        mask = ops.not_equal(mask, 0.0)
    return ops.cast(mask, "float32")


def unrolled(
    where: str,
    step: Step,
    x: Tensor,
    states: Any,
    mask: Tensor | None = None,
    reverse: bool = False,
    zero_output: bool = False,
) -> tuple[list[Tensor], Any]:
    """Unroll a cell over all steps: its outputs in processing order, and the last
    states.

    Args:
        where: for messages.
        x: (B, T, ...).
        states: any structure of tensors.
        mask: (B, T) of 0 and 1.
        reverse: whether to go from the last step to the first.
        zero_output: whether outputs of masked steps are 0.

    Raises:
        ValueError: too many steps, or new states with another structure.
    """
    length = x.sample[0]
    if length > MOST_STEPS:
        raise ValueError(
            f"[{where}] a cell that engines do not know is unrolled, for "
            f"at most {MOST_STEPS} steps. Received: {length}. Try shorter sequences, "
            "or LSTM, GRU or SimpleRNN with their default activations."
        )
    outputs: list[Tensor] = []
    times = range(length)
    for t in reversed(times) if reverse else times:
        y, new = step(ops.get_item(x, (slice(None), t)), states)
        news = list(leaves(new))
        if len(news) != len(list(leaves(states))):
            raise ValueError(
                f"[{where}] a cell must return its output and as many states as it "
                f"got. Received: {len(news)} for {len(list(leaves(states)))}. "
                "Try return output, new_states."
            )
        if mask is not None:
            here = ops.get_item(mask, (slice(None), slice(t, t + 1)))
            before = outputs[-1] if outputs and not zero_output else ops.zeros_like(y)
            y = _chosen(here, y, before)
            olds = leaves(states)
            news = [_chosen(here, s, next(olds)) for s in news]
        rest = iter(news)
        states = replaced(states, lambda _, rest=rest: next(rest))  # type: ignore[misc]
        outputs.append(y)
    return outputs, states


def _chosen(here: Tensor, new: Any, old: Any) -> Tensor:
    """new where the step is valid, else old."""
    ones = (1,) * (len(new.sample) - 1)
    return ops.where(ops.reshape(here, (-1, 1, *ones)), new, old)


def is_operation(kind: str) -> bool:
    """Whether engines have this loop as a single operation."""
    return kind in OPERATIONS


def recurrence(
    kind: str,
    x: Tensor,
    weights: Mapping[str, Any],
    activations: Mapping[str, Any],
    *,
    mask: Tensor | None = None,
    initial: Sequence[Tensor] | None = None,
    factors: Tensor | None = None,
    reverse: bool = False,
    sequences: bool = False,
    states: bool = False,
    **more: bool,
) -> Tensor:
    """The loop of a cell that engines know, as a single operation.

    Args:
        kind: "lstm", "gru" or "simple_rnn".
        x: (B, T, F).
        weights: kernel, recurrent_kernel and, if there is one, bias.
        activations: activation and, except for simple_rnn, recurrent_activation, with
            alpha and recurrent_alpha if they have one.
        mask: (B, T) of 0 and 1.
        initial: the initial states (B, H); None for zeros.
        factors: (B, H) factors of the state in its product, in all steps; or one per
            gate, (B, gates, H).
        reverse: from the last step to the first, which also reverses the outputs.
        sequences: whether to return the outputs of all steps, (B, T, H), or the last.
        states: for lstm, whether to append c to h, in 2 H columns.
        more: reset_after for gru.
    """
    graph: Graph = x.graph
    units = weights["recurrent_kernel"].shape[0]
    width = 2 * units if states else units
    inputs = [x, mask, *(initial or ()), factors]
    attrs: dict[str, Any] = {
        **activations,
        "reverse": reverse,
        "sequences": sequences,
        "masked": mask is not None,
        "initial": initial is not None,
        "recurrent_dropout": factors is not None,
        **more,
    }
    if kind == "lstm":
        attrs["states"] = states
    return graph.op(
        kind,
        [tensor for tensor in inputs if tensor is not None],
        (x.sample[0], width) if sequences else (width,),
        {name: graph.place(weight) for name, weight in weights.items()},
        attrs=attrs,
        batched=True,
    )
