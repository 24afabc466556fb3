"""Loops over the steps of a sequence: of any step, or of the cells that engines know.

`stepped` supports any cell; it is the specification of the others, which are single
operations:

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
from kurve.formulas.loops import MIN_STEPS, scanned
from kurve.formulas.tensor import leaves, replaced
from kurve.plan.kinds import OPERATIONS

Step = Callable[[Tensor, Any], tuple[Any, Any]]
"""A function from a step's input and states to its output and new states."""

MAX_STEPS = 5_000
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


def stepped(
    where: str,
    step: Step,
    x: Tensor,
    states: Any,
    mask: Tensor | None = None,
    reverse: bool = False,
    zero_output: bool = False,
    sequences: bool = True,
    last: bool = True,
) -> tuple[Tensor, Any]:
    """The outputs of all steps in the order in which they were computed, (B, T, ...),
    or the last one; and the last states. Many steps become one operation, few are
    unrolled.

    Args:
        where: for messages.
        x: (B, T, ...).
        states: any structure of tensors.
        mask: (B, T) of 0 and 1.
        reverse: from the last step to the first.
        zero_output: whether outputs of masked steps are 0; otherwise, they repeat the
            previous output.
        sequences: whether to give all outputs.
        last: whether the last states are needed.

    Raises:
        ValueError: new states of another structure; too many steps of a cell that must
            be written out.
    """
    length = x.sample[0]

    def one(x: Tensor, before: Any, states: Any, here: Any) -> tuple[Tensor, Any]:
        y, new = step(x, states)
        news = list(leaves(new))
        if len(news) != len(list(leaves(states))):
            raise ValueError(
                f"[{where}] a cell must return its output and as many states as it "
                f"got. Received: {len(news)} for {len(list(leaves(states)))}. "
                "Try return output, new_states."
            )
        if here is not None:
            y = _chosen(here, y, ops.zeros_like(y) if before is None else before)
            olds = leaves(states)
            news = [_chosen(here, s, next(olds)) for s in news]
        rest = iter(news)
        return y, replaced(states, lambda _: next(rest))

    if length >= MIN_STEPS:
        found = _as_loop(one, x, states, mask, reverse, zero_output, sequences, last)
        if found is not None:
            return found
    if length > MAX_STEPS:
        raise ValueError(
            f"[{where}] a cell with its own random numbers, statistics or losses is "
            f"unrolled, for at most {MAX_STEPS} steps. Received: {length}. Try "
            "shorter sequences, or the random operations outside the cell."
        )
    outputs: list[Tensor] = []
    times = range(length)
    for t in reversed(times) if reverse else times:
        here = None
        if mask is not None:
            here = ops.get_item(mask, (slice(None), slice(t, t + 1)))
        before = outputs[-1] if outputs and not zero_output else None
        element = ops.get_item(x, (slice(None), t))
        y, states = one(element, before, states, here)
        outputs.append(y)
    return ops.stack(outputs, 1) if sequences else outputs[-1], states


def _as_loop(
    one: Any,
    x: Tensor,
    states: Any,
    mask: Tensor | None,
    reverse: bool,
    zero_output: bool,
    sequences: bool,
    last: bool,
) -> tuple[Tensor, Any] | None:
    """`stepped` as one operation; None if it must be unrolled."""
    holds = mask is not None and not zero_output  # the output before is a state
    first: list[Tensor] = []
    if holds:
        mark = x.graph.mark()
        y, _ = one(ops.get_item(x, (slice(None), 0)), None, states, None)
        if not isinstance(y, Tensor):
            return None
        shape = y.sample
        x.graph.back_to(mark)
        first = [zeros(x, shape)]

    def step(elements: list[Tensor], held: list[Tensor]) -> tuple[Any, list[Any]]:
        own = iter(held[holds:])
        here = elements[1] if mask is not None else None
        if here is not None:
            here = ops.reshape(here, (-1, 1))
        old = replaced(states, lambda _: next(own))
        y, new = one(elements[0], held[0] if holds else None, old, here)
        return y, [*([y] if holds else []), *leaves(new)]

    found = scanned(
        step,
        [x] if mask is None else [x, mask],
        [*first, *leaves(states)],
        x.sample[0],
        reverse=reverse,
        sequences=sequences,
        last=last,
    )
    if found is None:
        return None
    rest = iter(found.states[holds:])
    return found.y, replaced(states, lambda _: next(rest)) if last else states


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
