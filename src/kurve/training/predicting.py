"""`predict` with progress bar and callbacks, on rows or batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.callbacks import Callback, CallbackList
from kurve.callbacks.base import as_list
from kurve.core.progress import ProgressBar
from kurve.formulas.tensor import pack
from kurve.training.batching import evaluation_bounds
from kurve.training.feeds import rows_at_once
from kurve.training.inputs import check_inputs
from kurve.training.network import Network
from kurve.training.rows import count_rows, take
from kurve.training.steps import Ahead

if TYPE_CHECKING:
    from kurve.training.trainer import Trainer

Callbacks = Callback | Iterable[Callback] | None


def predict_rows(
    model: Trainer,
    x: Any,
    batch_size: int | None,
    steps: int | None,
    verbose: int,
    callbacks: Callbacks,
) -> Any:
    """The outputs for checked x, in a single engine call if there are no batch hooks
    and no sparse inputs."""
    rows = model._network.rows
    found = evaluation_bounds(count_rows(x), batch_size, steps, "predict", rows)
    bounds = found.tolist()
    count = len(bounds) - 1
    hooks = CallbackList(as_list(callbacks, "predict"), model, {"steps": count})
    whole = rows is None and not model._network.as_written
    if "predict" not in hooks.per_batch and whole:
        size = rows_at_once(x if isinstance(x, tuple) else (x,))
        bounds = [*range(0, bounds[-1], size), bounds[-1]]
    pieces = (take(x, slice(*pair)) for pair in pairwise(bounds))
    return _predicted(model, pieces, count, verbose, hooks)


def predict_batches(
    model: Trainer, source: Any, steps: int | None, verbose: int, callbacks: Callbacks
) -> Any:
    """The outputs for an iterable of batches."""
    from kurve.training.streams import batches_to_predict

    def pieces() -> Iterator[Any]:
        for number, x in enumerate(batches_to_predict(source, steps), 1):
            where = f"predict, batch {number} of x"
            yield check_inputs(where, model._network, x)

    hooks = CallbackList(as_list(callbacks, "predict"), model, {"steps": steps})
    return _predicted(model, pieces(), steps, verbose, hooks)


def structured(network: Network, y: Any) -> Any:
    """Pack an engine's outputs into the structure of the model's outputs; a list of one
    becomes its element."""
    structure = network.output_structure
    alone = isinstance(structure, (list, tuple)) and len(structure) == 1
    if structure is None or (alone and not isinstance(y, tuple)):
        return y
    return pack(structure, y if isinstance(y, tuple) else (y,))


def _predicted(
    model: Trainer,
    pieces: Iterable[Any],
    steps: int | None,
    verbose: int,
    hooks: CallbackList,
) -> Any:
    """The outputs for checked pieces of x, in order."""
    found = by_batches(
        model,
        Ahead(iter(pieces)),
        lambda source: model._outputs(next(source)),
        steps,
        verbose,
        hooks,
        lambda y: structured(model._network, y),
    )
    if len(found) == 1:
        return found[0]
    if isinstance(found[0], tuple):
        return tuple(map(np.concatenate, zip(*found, strict=True)))
    return np.concatenate(found)


def by_batches(
    model: Trainer,
    source: Ahead,
    outputs_of: Callable[[Ahead], Any],
    steps: int | None,
    verbose: int,
    hooks: CallbackList,
    shown: Callable[[Any], Any] = lambda y: y,
) -> list[Any]:
    """The outputs of each call of a function that takes batches from the source, with
    progress bar and callbacks.

    Args:
        shown: converts outputs to what callbacks get.
    """
    found, by_batch = [], "predict" in hooks.per_batch
    model.stop_predicting = False
    hooks.call("on_predict_begin", {})
    bar = ProgressBar(steps, verbose=verbose, title=None)
    try:
        while source.has_next:
            if by_batch:
                hooks.call("on_predict_batch_begin", source.taken, {})
            found.append(outputs_of(source))
            if by_batch:
                outputs = {"outputs": shown(found[-1])}
                hooks.call("on_predict_batch_end", source.taken - 1, outputs)
            if model.stop_predicting:
                steps = None
                break
            if bar.wants_updates:
                bar.update(source.taken, {})
        if steps is None:
            bar.target = source.taken
        bar.finish({})
    finally:
        bar.close()
    hooks.call("on_predict_end", {})
    return found
