"""How a loss that takes any targets, such as one of the user, takes some: row by row,
in operations of a plan, or all rows of a batch together, in a step of Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kurve.core.entries import warn
from kurve.formulas.limits import TooLarge
from kurve.formulas.operators import asks_for_values
from kurve.losses.rows import COMPARED, broadcasting
from kurve.plan import Shape

if TYPE_CHECKING:
    from kurve.losses.base import Loss

TRIAL_ROWS = (97, 32)
"""Numbers of rows that a loss is tried on: one that differs from all other sizes, so
that nothing broadcasts by chance, and one that formulas for batches of a fixed size may
know."""


def infer_target_shape(loss: Loss, target: Shape, output: Shape) -> None:
    """Find out how a loss takes targets of this shape for outputs of that shape, and
    let it remember that. Of a loss that takes them in neither way nothing is known: who
    uses it says what is wrong.

    Args:
        target, output: of one sample.
    """
    if loss.across_rows or output in loss.targets:
        return
    if output in ((*target, 1), target) or target == (*output, 1):
        target = output
    try:
        problem = _problem(loss, target, output)
    except TooLarge:
        return
    if problem is None:
        loss.targets[output] = target
    elif any(_takes(loss, rows, target, output) for rows in TRIAL_ROWS):
        loss.across_rows = True
        if asks_for_values(problem):
            _warn_of_values(loss, problem)


def _warn_of_values(loss: Loss, problem: Exception) -> None:
    """Warn that training will be slow because of what the loss does."""
    rule, _, rest = str(problem).partition(" Received: ")
    received, _, remedy = rest.partition(" Try ")
    warn(
        f"[fit] training runs in Python, batch by batch, which is many times slower "
        f"than a compiled step, because of the loss {loss.name!r}: "
        f"{rule.partition('] ')[2]} Received: {received} Try {remedy}"
    )


def wider_target(loss: Loss, target: Shape, output: Shape) -> Shape | None:
    """The shape of a sample's target that Keras compares with each value of a smaller
    output, by broadcasting, with a trailing axis of 1 added or dropped where ranks
    differ; None for all other targets, and outside of programs for Keras.

    Args:
        target, output: of one sample.
    """
    if not broadcasting[0] or loss.kind not in COMPARED:
        return None
    if len(target) == len(output) - 1 and output[-1] == 1:
        target = (*target, 1)
    elif len(target) == len(output) + 1 and target[-1] == 1:
        target = target[:-1]
    pairs = list(zip(target, output, strict=False))
    fits = len(target) == len(output) and all(t == o or 1 in (t, o) for t, o in pairs)
    return target if fits and any(t > o for t, o in pairs) else None


def is_row_by_row(loss: Loss, target: Shape, output: Shape) -> bool:
    """Whether operations of a plan can compute it.

    Raises:
        TooLarge: they would take too much memory.
    """
    return _problem(loss, target, output) is None


def _problem(loss: Loss, target: Shape, output: Shape) -> Exception | None:
    """Why operations of a plan cannot compute it; None if they can.

    Raises:
        TooLarge: they would take too much memory.
    """
    from kurve.formulas.graph import Graph

    graph = Graph([output], [target])
    try:
        with graph.tracing():
            loss.traced(*graph.targets, *graph.inputs)
    except TooLarge:
        raise
    except Exception as error:
        return error
    return None


def _takes(loss: Loss, rows: int, target: Shape, output: Shape) -> bool:
    """Whether it gives numbers, with a gradient, for a batch of that many rows."""
    from kurve.formulas import functions as ops
    from kurve.gradients import GradientTape

    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, (rows, *target)).astype(np.float32)
    p = generator.uniform(0.1, 0.9, (rows, *output)).astype(np.float32)
    x = ops.convert_to_tensor(p)
    try:
        with GradientTape() as tape, np.errstate(all="ignore"):
            tape.watch(x)
            value = loss(ops.convert_to_tensor(y), x)
        return tape.gradient(value, x) is not None
    except Exception:
        return False
