"""Updates from user-supplied gradients: `optimizer.apply` in custom loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kurve.core.entries import warn
from kurve.formulas.graph import is_variable
from kurve.formulas.recording import active, refuse_in_steps
from kurve.formulas.tensor import leaves
from kurve.optimizers.applier import Applier
from kurve.optimizers.written import WrittenApplier

if TYPE_CHECKING:
    from kurve.engines.base import State
    from kurve.optimizers.base import Optimizer


def applier_of(optimizer: Optimizer, variables: Sequence[Any] | None) -> Applier:
    """The applier of an optimizer, created for the first variables it receives."""
    where = type(optimizer).__name__
    if optimizer.applier is None:
        if not variables:
            raise ValueError(
                f"[{where}] the variables must be passed with the first gradients. "
                "Received: none. Try apply(gradients, model.trainable_weights)."
            )
        for variable in variables:
            if not is_variable(variable):
                raise TypeError(
                    f"[{where}] gradients must be applied to variables. Received: an "
                    f"object of type {type(variable).__name__}. "
                    "Try model.trainable_weights."
                )
        if optimizer.is_written:
            optimizer.applier = WrittenApplier(optimizer, variables)
        else:
            optimizer.applier = Applier(optimizer, variables)
        exchange_memory(optimizer)
    found: Applier = optimizer.applier
    return found


def apply(
    optimizer: Optimizer, gradients: Sequence[Any], variables: Sequence[Any] | None
) -> None:
    """Run one update, see `Optimizer.apply`."""
    where = type(optimizer).__name__
    gradients = list(leaves(gradients))
    if active.step is not None:
        if optimizer.is_written:
            refuse_in_steps(f"{where}.update_step")
        known_ones = None if optimizer.applier is None else applier_of(optimizer, None)
        if variables is None and known_ones is not None:
            variables = known_ones.variables
        active.step.update(optimizer, gradients, list(leaves(variables)))
        return
    if variables is not None:
        variables = list(leaves(variables))
    elif optimizer.applier is not None:
        variables = optimizer.applier.variables
    if variables is not None and len(gradients) != len(variables):
        raise ValueError(
            f"[{where}] there must be one gradient per variable. Received: "
            f"{len(gradients)} gradients for {len(variables)} variables. Try "
            "tape.gradient(loss, variables)."
        )
    known = [g is not None for g in gradients]
    if not any(known) or variables is None or not variables:
        applier_of(optimizer, variables)
        raise ValueError(
            f"[{where}] no variable has a gradient. Received: None for all of them. "
            "Try computing the loss from the model's outputs inside the tape, "
            "without numpy()."
        )
    if not all(known):
        names = [v.name for v, k in zip(variables, known, strict=True) if not k]
        warn(
            f"[{where}] variables without a gradient are not updated. Received: None "
            f"for {', '.join(names)}. Try only the weights that the loss depends on."
        )
    if optimizer.applier is None:
        optimizer.build(variables)
    exchange_memory(optimizer)
    applier_of(optimizer, variables).apply(optimizer, gradients, variables)


def exchange_memory(optimizer: Optimizer) -> None:
    """Synchronize slots and number of updates between the model that an optimizer was
    compiled for and custom steps: those with more updates are newer. Does nothing if
    the optimizer updates variables that the model does not train.
    """
    applier, network = optimizer.applier, optimizer._owner()
    state = None if network is None else network.state
    if applier is None or state is None or applier.state.step == state.step:
        return
    places = network.places()
    found = [places.get(id(variable)) for variable in applier.variables]
    if any(there is None or not there.trainable for there in found):
        return
    pairs = list(zip(found, applier.specs, strict=True))
    own = applier.state
    if own.step > state.step:
        network.start_slots()
        _copy_memory(own, state, [(here, there) for there, here in pairs])
    elif len(state.slots) == len(own.slots):
        _copy_memory(state, own, pairs)


def _copy_memory(
    source: State, target: State, pairs: Sequence[tuple[Any, Any]]
) -> None:
    """Copy slots, scalars and the number of updates.

    Args:
        pairs: where a variable is in both.
    """
    for here, there in pairs if len(source.slots) else ():
        slots = source.slots[:, here.offset : here.end]
        target.slots[:, there.offset : there.end] = slots
    target.step = source.step
    if source.scalars.shape == target.scalars.shape:
        target.scalars = source.scalars.copy()
