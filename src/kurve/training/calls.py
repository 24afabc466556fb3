"""Direct calls of a model in training mode or under a gradient tape: by its engine, or
by the reference engine if dropout and the like are active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.results import result
from kurve.engines import State, aligned_copy
from kurve.formulas import functions as ops
from kurve.formulas.calls import watched
from kurve.formulas.recording import active, recording
from kurve.formulas.tensor import replaced
from kurve.gradients.compiled import CompiledSegment
from kurve.gradients.recorded import followed, remember
from kurve.gradients.segments import Segment, gathered, statistics_of
from kurve.gradients.values import plain
from kurve.ops.tape import constants_of, precision
from kurve.training.inputs import check_inputs

if TYPE_CHECKING:
    from kurve.training.network import Network


def call_by_hand(model: Any, x: Any, training: bool) -> Any:
    """The outputs of a model for arrays x, recorded on active tapes.

    Args:
        x: as for `predict`.
        training: whether layers run in training mode.

    In derivatives of `kurve.ops` by float64 arrays, the reference engine computes in
    float64.
    """
    network, dtype = model._network, precision.dtype
    if active.tapes and active.step is None:
        x = watched(x)
    with recording(()), constants_of(np.float32):
        arrays = check_inputs(type(model).__name__, network, x)
        model._build_for(arrays)
        given = arrays if isinstance(arrays, tuple) else (arrays,)
        parts = _parts(network, x, len(given))
        keys = [getattr(part, "key", None) for part in parts]
        plan, params, buffers, compiled = network.plan_by_hand(training)
        kept = network.state
        assert kept is not None
        floats = [np.asarray(array, np.float32) for array in given]
        if dtype is np.float64 and not network.encodes:
            compiled = None
            weights = kept.params.astype(dtype)
            floats = [
                np.asarray(plain(part), dtype).reshape(array.shape)
                for part, array in zip(parts, given, strict=True)
            ]
        else:
            weights = aligned_copy(kept.params)
        state = State(
            weights,
            gathered(plan.buffers, buffers, weights.dtype),
            kept.slots[:0],
            kept.scalars,
            model.drawn,
            kept.seed,
        )
        given_all = plan, params, buffers, state, floats, training
        segment = (
            Segment(*given_all)
            if compiled is None
            else CompiledSegment(network.chosen_engine(), compiled, *given_all)
        )
        model.drawn += 1
        plan.check_rows(len(floats[0]))
        moved = [] if compiled is not None else statistics_of(segment, training)
        for variable, value in moved:
            variable.assign(value)
    penalty = plan.penalty
    for part in model.parts:
        part._losses = []
    if active.tapes:
        found: list[Any] = [followed(segment, head.value) for head in plan.heads]
        terms = [] if penalty is None else [followed(segment, penalty)]
        remember(segment, keys)
        model._losses = [ops.mean(rows) for rows in terms]
    else:
        found = [result(segment.value(head.value)) for head in plan.heads]
        rows = None if penalty is None else segment.value(penalty)
        model._losses = [] if rows is None else [float(np.mean(rows))]
    structure = network.structure
    if structure is None:
        return found[0]
    results = iter(found)
    return replaced(structure.outputs, lambda _: next(results))


def _parts(network: Network, x: Any, count: int) -> list[Any]:
    """The inputs of a call, as they were given."""
    parts = [x]
    if count > 1 or isinstance(x, (list, tuple, dict)):
        parts = network.inputs.split("call", "x", x) if count > 1 else list(x)[:1]
    return list(parts)
