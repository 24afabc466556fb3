"""The state of an optimizer in Keras's files: its step, slot vectors and numbers.

Keras 3             optimizer/vars/<i>             step, rate, then the vectors
Keras 2 (.keras)    optimizer/vars/<i>             step, then the vectors
.h5 of any version  optimizer_weights/<name>       the same, or (before 2.11) all first
                                                   vectors, all second vectors, ...
A "vector" is one slot of the optimizer, for all variables. The two slots of Adam and
its relatives alternate, variable by variable; those of other optimizers, and any
further ones, follow each other. Some versions also store vectors that are never used
(the momentum of `SGD` without momentum, a `vhat` of one number), or leave out values
that follow from the step (Nadam's product).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from kurve.core.inside import network_of
from kurve.exchange.hdf5 import Dataset, Reader
from kurve.models import Sequential
from kurve.optimizers import Optimizer
from kurve.plan import VariableSpec

_WORDS = {"m", "v", "u", "vhat", "rms", "mg", "accumulator", "momentum", "velocity"}
_WORDS |= {"norm", "moment"}
"""Words that can occur in the names of vectors in a file."""


class StateError(ValueError):
    """A state that does not match the optimizer; the file can be intact."""


def arrays_of(reader: Reader) -> list[tuple[str, Dataset]]:
    """Name and dataset of each optimizer array, in order."""
    if reader.has("optimizer/vars"):
        group = reader.group("optimizer/vars")
        count = len(group.members)
        return [(str(i), reader.dataset(group, str(i))) for i in range(count)]
    if reader.has("optimizer_weights"):
        group = reader.group("optimizer_weights")
        names = reader.texts(group, "weight_names") or []
        return [(name, reader.dataset(group, name)) for name in names]
    return []


def restore(
    reader: Reader, named: list[tuple[str, Dataset]], model: Sequential
) -> None:
    """Set the step, vectors, numbers and learning rate of a newly compiled model.

    Raises:
        StateError: they do not match. The step is set if the file has it; the vectors
            are left as before the first step.
    """
    plan, state = network_of(model).require_built("load_model")
    optimizer = model.optimizer
    assert optimizer is not None
    numbers = {name: reader.array(d, ()) for name, d in named if d.shape == ()}
    vectors = [(name, dataset) for name, dataset in named if dataset.shape != ()]
    first = numbers.pop(named[0][0], None)
    if first is None or first != np.floor(first) or not 0 <= first < 2**53:
        raise StateError("its step is not an integer of at least 0")
    state.step = int(first)
    _read_rate(optimizer, named, numbers)
    if optimizer.is_written:
        _restore_written(reader, named, model)
        return
    if not vectors and state.step == 0:
        return
    trained = [slot for slot in plan.params if slot.trainable]
    vectors = _used(optimizer, vectors, len(trained))
    order = _order(optimizer, vectors, trained)
    values = [reader.array(dataset, dataset.shape) for _, dataset in vectors]
    for (name, _), value in zip(vectors, values, strict=True):
        if not np.isfinite(value).all():
            raise StateError(f"{name!r} is not finite")
    product = [_product(optimizer, named, numbers, state.step)]
    network_of(model).start_slots()
    for (k, slot, shape), value in zip(order, values, strict=True):
        end = slot.offset + math.prod(shape)
        state.slots[k, slot.offset : end] = value.ravel()
    state.scalars[:] = product[: len(state.scalars)]


def _restore_written(
    reader: Reader, named: list[tuple[str, Dataset]], model: Sequential
) -> None:
    """Make an optimizer with a custom `update_step` create its variables, and set them;
    they are the last ones in the file."""
    optimizer = model.optimizer
    assert optimizer is not None
    known = 1 + isinstance(optimizer.given_rate, float)
    if len(named) <= known:  # it was saved before its first step
        return
    optimizer.build(model.trainable_weights)
    arrays = [array for _, array in optimizer.applier.named]
    have, need = [d.shape for _, d in named[known:]], [a.shape for a in arrays]
    if have != need:
        raise StateError(f"its variables have shapes {have}, and must have {need}")
    values = [reader.array(dataset, dataset.shape) for _, dataset in named[known:]]
    if not all(np.isfinite(value).all() for value in values):
        raise StateError("it is not finite")
    for array, value in zip(arrays, values, strict=True):
        array[...] = value


def _read_rate(
    optimizer: Optimizer,
    named: Sequence[tuple[str, Dataset]],
    numbers: dict[str, np.ndarray],
) -> None:
    """Take the learning rate out of the numbers: it is the one after the step."""
    name = named[1][0] if len(named) > 1 else ""
    if name not in numbers or re.search("cache|schedule", name):
        return
    rate = numbers.pop(name)
    current = optimizer.given_rate
    if isinstance(current, float) and np.float32(rate) != np.float32(current):
        try:
            optimizer.learning_rate = float(rate)
        except ValueError as error:
            raise StateError(str(error)) from error


def _used(
    optimizer: Optimizer, vectors: list[tuple[str, Dataset]], count: int
) -> list[tuple[str, Dataset]]:
    """The vectors without those that Keras writes but never uses."""
    slots = len(optimizer.slot_names)
    if slots == 0 and len(vectors) == count:  # SGD without momentum
        return []
    others = vectors[slots * count :]
    adam = optimizer.kind == "adam"
    if adam and all(dataset.shape == (1,) for _, dataset in others):
        return vectors[: slots * count]  # Keras 2.3: vhat without amsgrad
    return vectors


Places = list[tuple[int, VariableSpec, tuple[int, ...]]]


def _order(
    optimizer: Optimizer,
    vectors: Sequence[tuple[str, Dataset]],
    trained: list[VariableSpec],
) -> Places:
    """Slot, variable and shape of each vector, derived from names and shapes."""
    shapes = [dataset.shape for _, dataset in vectors]
    orders = [optimizer.places(trained), optimizer.places(trained, 1)]
    orders = [[place for place in order if place[2] != ()] for order in orders]
    if _one_after_the_other(vectors):
        orders.reverse()
    for order in orders:
        if [shape for _, _, shape in order] == shapes:
            return order
    raise StateError(
        f"it has {len(vectors)} vectors, and must have {len(orders[0])} of the "
        f"shapes of {len(trained)} weights"
    )


def _one_after_the_other(named: Sequence[tuple[str, Dataset]]) -> bool:
    """Whether all first vectors come before all second ones, as up to Keras 2.10: the
    first two names then belong to the same slot."""
    words = [
        {word for word in re.split(r"[/:_]", name) if word in _WORDS}
        for name, _ in named[:2]
    ]
    return len(words) == 2 and bool(words[0]) and words[0] == words[1]


def _product(
    optimizer: Optimizer,
    named: Sequence[tuple[str, Dataset]],
    numbers: dict[str, np.ndarray],
    step: int,
) -> float:
    """Nadam's product of the momenta of all steps, which Keras up to 3.0 does not store
    (and before 2.11 computed from other momenta)."""
    last = named[-1][0]
    if last in numbers:
        value = float(numbers[last])
        if not math.isfinite(value):
            raise StateError("a number of the optimizer is not finite")
        return value
    beta_1 = getattr(optimizer, "beta_1", 0.0)
    # Beyond some thousand steps it is 0 in float32.
    steps = np.arange(1, min(step, 10_000) + 1)
    return float(np.prod(beta_1 * (1.0 - 0.5 * 0.96**steps)))
