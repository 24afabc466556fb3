"""The methods that custom optimizers override and call: `update_step`, and those for
the variables that it needs, with Keras's names and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kurve.layers.free import Variable


class OwnUpdates:
    """The part of an optimizer that its subclasses can write themselves.

    A subclass with an `update_step` runs in Python steps, also in `fit`.
    """

    name: str
    applier: Any
    kind: str
    _made: list[Any]
    _kept: int | None = None

    @property
    def has_formula(self) -> bool:
        """Whether the class has a formula of operations."""
        raise NotImplementedError

    @property
    def is_written(self) -> bool:
        """Whether `update_step` is the user's own."""
        own = getattr(self.update_step, "__func__", None)
        return own is not OwnUpdates.update_step

    by_ops = is_written

    @property
    def built(self) -> bool:
        """Whether it has variables to update."""
        return self.applier is not None

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable, for custom optimizers to override or to call.

        Gradients are clipped and weights decayed before, for all variables. New
        values are assigned: `self.assign_sub(variable, learning_rate * gradient)`.

        Args:
            gradient: its gradient, an array of its shape.
            variable: the variable.
            learning_rate: the rate of this update.

        Raises:
            NotImplementedError: the class has no formula.
        """
        if not self.kind and not self.has_formula:
            name = type(self).__name__
            raise NotImplementedError(
                f"[{name}] an optimizer needs an update_step(gradient, variable, "
                f"learning_rate). Received: {name} without one. "
                "Try a subclass of kurve.optimizers.SGD."
            )
        _update_by_formula(self, gradient, variable, learning_rate)

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A variable of the optimizer, which is saved in files and checkpoints.

        Args:
            shape: its shape.
            initializer: name or object of `kurve.initializers`.
            dtype: None or a float type; values are float32.
            aggregation, layout: Keras's, without effect.
            name: generated if None.
        """
        from kurve.layers.free import Variable

        made = Variable(initializer, tuple(shape), trainable=False, name=name)
        np.asarray(made.value)  # drawn now, in the order of the program
        self._made.append(made)
        return made

    def add_variable_from_reference(
        self,
        reference_variable: Any,
        name: str | None = None,
        initializer: Any = "zeros",
    ) -> Variable:
        """A variable of the optimizer with the shape of a model's.

        Args:
            reference_variable: the model's variable.
            name: last part of its name; "var" if None.
            initializer: name or object of `kurve.initializers`.
        """
        path = str(reference_variable.path).replace("/", "_").replace(":", "_")
        return self.add_variable(
            reference_variable.shape, initializer, name=f"{path}_{name or 'var'}"
        )

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Any], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """A variable of the optimizer for each of a model's: a list, or for several
        names a tuple of lists.

        Args:
            trainable_variables: the model's variables.
            name: last part of the names, or several.
            initializer: for all, or one for each name.

        Raises:
            ValueError: other numbers of names and initializers.
        """
        names = [name] if isinstance(name, str) else list(name)
        starts = initializer
        if not isinstance(initializer, (list, tuple)):
            starts = [initializer] * len(names)
        if len(starts) != len(names):
            raise ValueError(
                f"[{type(self).__name__}] there must be one initializer for each name. "
                f"Received: {len(starts)} for {len(names)} names. "
                "Try initializer='zeros'."
            )
        made: tuple[list[Any], ...] = tuple([] for _ in names)
        for variable in trainable_variables:
            for found, label, start in zip(made, names, starts, strict=True):
                found.append(self.add_variable_from_reference(variable, label, start))
        return made[0] if isinstance(name, str) else made

    def assign(self, variable: Any, value: Any) -> None:
        """Set a variable of the model or of the optimizer.

        Args:
            variable: the variable.
            value: its new value.
        """
        variable.assign(value)

    def assign_add(self, variable: Any, value: Any) -> None:
        """Add to a variable.

        Args:
            variable: the variable.
            value: what is added.
        """
        variable.assign_add(value)

    def assign_sub(self, variable: Any, value: Any) -> None:
        """Subtract from a variable.

        Args:
            variable: the variable.
            value: what is subtracted.
        """
        variable.assign_sub(value)

    def _get_variable_index(self, variable: Any) -> int:
        """The index of a variable among those of `build`, as in Keras."""
        index: int = self.applier.index(type(self).__name__, variable)
        return index


def _update_by_formula(optimizer: Any, gradient: Any, variable: Any, rate: Any) -> None:
    """Update one variable by the formula of the optimizer's class of Kurve, at the step
    that its own `update_step` is at."""
    outer = optimizer.applier
    plain, applier = outer.inner
    plain.learning_rate = float(rate)
    applier.state.step = outer.state.step // (
        optimizer.gradient_accumulation_steps or 1
    )
    applier.state.scalars[...] = outer.scalars
    applier.apply(plain, [gradient], [variable])
