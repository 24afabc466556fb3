"""Updates by optimizers with a custom `update_step`: in Python, variable by variable,
in Keras's order.

    g <- clipped g                 by value, by norm, or by the norm of all
    w <- w - decay rate w          except what is excluded
    update_step(g, w, rate)
    average <- m average + (1 - m) w
    w <- constraint(w)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.results import result
from kurve.engines import State, aligned_zeros
from kurve.errors import NonFiniteError
from kurve.formulas.recording import recording
from kurve.optimizers.applier import Applier
from kurve.optimizers.custom import OwnUpdates
from kurve.optimizers.updates import excluded
from kurve.optimizers.values import slot_views

if TYPE_CHECKING:
    from kurve.optimizers.base import Optimizer


class WrittenApplier(Applier):
    """The state of an optimizer with a custom `update_step`.

    scalars: numbers of the class of Kurve before the update
    averages, gathered: the optimizer's variables for moving averages and for
        accumulated gradients; empty if it has none
    """

    def __init__(self, optimizer: Optimizer, variables: Sequence[Any]) -> None:
        self.variables, self.others = list(variables), []
        self._places = {id(v): i for i, v in enumerate(self.variables)}
        self._views = []
        slots, nothing = aligned_zeros((0, 0)), aligned_zeros((0,))
        self.state = State(nothing, nothing, slots, np.zeros(0), 0, 0)
        self._made = optimizer._made
        if optimizer._kept is None:
            optimizer._kept = len(self._made)
        del self._made[optimizer._kept :]  # those of an earlier build
        add = optimizer.add_optimizer_variables
        self.averages = add(self.variables, "average") if optimizer.use_ema else []
        every = optimizer.gradient_accumulation_steps
        self.gathered = add(self.variables, "gradient_accumulator") if every else []
        # The optimizer as its class of Kurve has it, without what is done for all
        # variables, and its memory.
        self.inner: tuple[Any, Applier] | None = None
        if optimizer.kind or optimizer.has_formula:
            plain = copy.copy(optimizer)
            plain.update_step = OwnUpdates.update_step.__get__(plain)  # type: ignore[method-assign]
            plain.weight_decay = plain.clipnorm = plain.clipvalue = None
            plain.global_clipnorm = plain.gradient_accumulation_steps = None
            plain.use_ema = False
            self.inner = plain, Applier(plain, self.variables, False)

    @property
    def specs(self) -> Sequence[Any]:
        return self.variables  # there are no slots to lie in

    @property
    def arrays(self) -> list[np.ndarray]:
        inner = [] if self.inner is None else self.inner[1].arrays
        return [*(variable.value for variable in self._made), *inner]

    @property
    def named(self) -> list[tuple[str, np.ndarray]]:
        """The arrays as Keras's files have them, with their names."""
        found = [(variable.name, variable.value) for variable in self._made]
        if self.inner is not None:
            plain, applier = self.inner
            state = applier.state
            found += slot_views(plain, applier.plan.params, state.slots)
            numbers = enumerate(state.scalars)
            found += [("variable", state.scalars[i, ...]) for i, _ in numbers]
        return found

    def widen(self, others: Sequence[Any]) -> None:
        """Nothing to do: its variables are not in a vector."""

    def apply(
        self, optimizer: Optimizer, gradients: Sequence[Any], variables: Sequence[Any]
    ) -> None:
        """Update these variables; if that fails, none."""
        where, state = type(optimizer).__name__, self.state
        pairs = []
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is not None:
                array = self.fitting(where, gradient, variable)
                self.index(where, variable)
                pairs.append((array, variable))
        rate = np.float32(optimizer.learning_rates(state.step, 1)[0])
        for array, variable in pairs:
            if not np.isfinite(array).all():
                what = f"the gradient of {variable.name}"
                raise NonFiniteError(what, state.step, float(rate))
        if self.inner is not None:
            self.scalars = self.inner[1].state.scalars.copy()
        with recording(()), self._all_or_nothing():
            self._update(optimizer, pairs, rate)
        state.step += 1

    def _update(self, optimizer: Optimizer, pairs: list[Any], rate: np.float32) -> None:
        step, every = self.state.step, optimizer.gradient_accumulation_steps
        where = type(optimizer).__name__
        if every:
            sums = [self.gathered[self.index(where, v)] for _, v in pairs]
            total = [
                (g + kept.value, v) for (g, v), kept in zip(pairs, sums, strict=True)
            ]
            if (step + 1) % every:
                for (g, _), kept in zip(total, sums, strict=True):
                    kept.write(g)
            else:
                self._one(optimizer, [(g / every, v) for g, v in total], rate)
                for kept in self.gathered:
                    kept.write(np.zeros(kept.shape, np.float32))
        else:
            self._one(optimizer, pairs, rate)
        frequency = optimizer.ema_overwrite_frequency
        count = step // (every or 1)
        for variable, average in zip(self.variables, self.averages, strict=False):
            momentum = np.float32(optimizer.ema_momentum if count else 0.0)
            old, new = average.value, variable.value
            average.write(momentum * old + (1 - momentum) * new)
            if frequency and (count + 1) % frequency == 0:
                variable.write(average.value)
        for _, variable in pairs:
            if variable.constraint is not None:
                variable.write(np.asarray(variable.constraint(variable.value)))

    def _one(self, optimizer: Optimizer, pairs: list[Any], rate: np.float32) -> None:
        """Clip, decay and update."""
        found = clipped(optimizer, [g for g, _ in pairs])
        variables = [v for _, v in pairs]
        if optimizer.weight_decay:
            decay = np.float32(optimizer.weight_decay)
            for variable in variables:
                if not excluded(optimizer, variable):
                    variable.write(variable.value - variable.value * decay * rate)
        for gradient, variable in zip(found, variables, strict=True):
            optimizer.update_step(result(gradient), variable, rate)
        for variable in variables:
            if not np.isfinite(variable.value).all():
                what = f"the new value of {variable.name}"
                raise NonFiniteError(what, self.state.step, float(rate))

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """A context after which, if it raises, all variables are as before."""
        kept = [v.value.copy() for v in self.variables]
        before = [array.copy() for array in self.arrays]
        try:
            yield
        except BaseException:
            for variable, value in zip(self.variables, kept, strict=True):
                variable.write(value)
            for array, value in zip(self.arrays, before, strict=False):
                array[...] = value
            raise

    def use_average(self, optimizer: Optimizer, variables: Sequence[Any]) -> None:
        where = type(optimizer).__name__
        for variable in variables if self.state.step else ():
            variable.write(self.averages[self.index(where, variable)].value)


def clipped(optimizer: Optimizer, gradients: list[np.ndarray]) -> list[np.ndarray]:
    """The gradients, clipped according to the optimizer's arguments."""
    if optimizer.clipnorm:
        limit = np.float32(optimizer.clipnorm)
        norms = [np.sqrt(np.sum(np.square(g))) for g in gradients]
        pairs = zip(gradients, norms, strict=True)
        return [g * limit / np.maximum(norm, limit) for g, norm in pairs]
    if optimizer.global_clipnorm:
        limit = np.float32(optimizer.global_clipnorm)
        squares = [np.sum(np.square(g)) for g in gradients]
        norm = np.sqrt(np.sum(np.asarray(squares, np.float32)))
        if norm > limit:
            return [g * (limit / norm) for g in gradients]
    if optimizer.clipvalue:
        limit = np.float32(optimizer.clipvalue)
        return [np.clip(g, -limit, limit) for g in gradients]
    return gradients
