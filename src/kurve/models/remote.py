"""Members of an ensemble that are trained elsewhere: only data is sent and returned, so
a member gets the same bits wherever it is trained."""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from kurve.callbacks import Callback, History
from kurve.core.executors import map_items
from kurve.core.locks import exclusive_generator
from kurve.core.progress import ProgressBar
from kurve.engines import aligned_zeros
from kurve.errors import NonFiniteError
from kurve.models.cloning import memory_of, restore, set_memory, snapshot
from kurve.plan import Shape
from kurve.training.inputs import build_for


class Trained(NamedTuple):
    """The state of a model that training changes.

    inputs: shapes of a sample of each input
    values: of its variables
    memory: seed, number of updates, the optimizer's vectors and numbers
    own: the variables of an optimizer with a custom `update_step`
    error:  that ended the training early, if any
    """

    inputs: tuple[Shape, ...]
    values: list[np.ndarray]
    memory: tuple[int, int, np.ndarray, np.ndarray]
    own: list[np.ndarray]
    learning_rate: float | None
    epoch: list[int]
    history: dict[str, list[Any]]
    error: NonFiniteError | None


def sent(model: Any) -> tuple[Any, dict[str, Any]]:
    """A model as data. It is trained by the engine that would be used here."""
    state = copy.deepcopy(snapshot(model))
    engine = model._network.chosen_engine()
    state["compiled"] = replace(state["compiled"], engine=engine)
    return type(model), state


def received(data: tuple[Any, Mapping[str, Any]]) -> Any:
    """The model of what was sent."""
    cls, state = data
    model = cls.__new__(cls)
    restore(model, state)
    return model


def trained(model: Any, error: NonFiniteError | None = None) -> Trained:
    """The state that the training of a received model has changed."""
    network = model._network
    plan, state = network.require_built("fit")
    network.take_memory()
    rate = network.compilation.optimizer.given_rate
    history = model.history or History()
    return Trained(
        plan.inputs,
        [variable.numpy() for variable in network.variables],
        (state.seed, state.step, state.slots.copy(), state.scalars.copy()),
        memory_of(network.compilation),
        None if callable(rate) else float(rate),
        list(history.epoch),
        dict(history.history),
        error,
    )


def take_over(model: Any, result: Trained) -> History:
    """Bring a model to the state of the one that was trained for it."""
    network = model._network
    if network.state is None:
        build_for(model, result.inputs)
    for variable, value in zip(network.variables, result.values, strict=True):
        variable.write(value)
    network.seed, network.state.step, slots, network.state.scalars = result.memory
    network.state.slots = aligned_zeros(slots.shape)
    network.state.slots[...] = slots
    set_memory(model, result.own)
    if result.learning_rate is not None:
        network.compilation.optimizer.learning_rate = result.learning_rate
    history = model.history = History()
    history.set_model(model)
    history.set_state({"epoch": result.epoch, "history": result.history})
    return history


def _fit(shared: Mapping[str, Any], item: Any) -> Trained:
    """Train one member, in a worker."""
    data, arguments, callbacks = item
    model = received(data)
    error = None
    try:
        model.fit(**shared, **arguments, callbacks=callbacks, verbose=0)
    except NonFiniteError as found:
        error = found
    return trained(model, error)


@exclusive_generator("fit")
def _locked(model: Any) -> Generator[None, None, None]:
    yield


def fit(
    members: Sequence[Any],
    each: Sequence[Mapping[str, Any]],
    callbacks: Sequence[Callback],
    executor: Any,
    bar: ProgressBar,
    **shared: Any,
) -> list[History]:
    """Train members by an executor.

    Args:
        each: arguments of `fit` of each member.
        callbacks: copied for each.
        bar: counts members.
        shared: the other arguments of `fit`.

    Raises:
        NonFiniteError: of the first member that had one. Those that have been trained
            keep what they learned.
    """
    items = [
        (sent(member), dict(arguments), copy.deepcopy(list(callbacks)))
        for member, arguments in zip(members, each, strict=True)
    ]
    histories: dict[int, History] = {}
    with ExitStack() as stack:
        for member in members:
            lock = _locked(member)
            stack.callback(lock.close)
            next(lock)

        def on_result(number: int, result: Trained) -> None:
            histories[number] = take_over(members[number], result)
            bar.update(len(histories), histories[number].last_logs())
            if result.error is not None:
                result.error.add_note(f"This is member {number} of the ensemble.")
                raise result.error

        map_items(executor, _fit, shared, items, on_result)
    return [histories[number] for number in range(len(members))]
