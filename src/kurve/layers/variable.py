"""The variables of layers: views into the flat vectors of their models."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import initializers
from kurve.core.arrays import as_numbers
from kurve.core.locks import UNLOCKED
from kurve.formulas.graph import Graph
from kurve.formulas.needs import NeedsValues
from kurve.formulas.operators import Operators
from kurve.formulas.recording import active, refuse_in_steps
from kurve.plan import Shape
from kurve.regularizers import Regularizer

if TYPE_CHECKING:
    from kurve.constraints import Constraint


class Variable(Operators):
    """A layer's array. In a built model, it is a view into a flat vector.

    A layer can be in several models (an encoder alone, and with its decoder). Each
    model has a copy of the variable in its own vector; the model trained last has the
    newest value, and the others copy it before using it.

    role: "param" (has a gradient), "statistic" (updated by training, such as the moving
    mean of `BatchNormalization`), "buffer" (neither), "constant" (a buffer that is an
    argument of the layer, not a weight) or "state" (carried over between batches, not a
    weight).
    lock: lock of the last model that trained it, if it is shared
    """

    lock = UNLOCKED

    is_free = False
    """Whether it was created directly, not by `add_weight`: it becomes a weight of a
    layer when assigned to an attribute."""

    frozen = False
    """Whether training skips it, whatever its layer says: in a frozen sublayer of a
    layer that a file stores only as a formula."""

    def __init__(
        self,
        name: str,
        shape: Shape,
        initializer: initializers.Initializer,
        role: str = "param",
        regularizer: Regularizer | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.name, self.shape, self.role = name, shape, role
        self.initializer, self.regularizer = initializer, regularizer
        self.constraint = constraint
        # Its models, with its view in each; the last one has the newest value.
        self._views: list[tuple[weakref.ref[Any] | None, np.ndarray]] = []

    def write_to(self, view: np.ndarray, seed: int, stream: int) -> None:
        """Write the value to `view`, or the initial one if there is no value yet."""
        view[...] = (
            self._views[-1][1]
            if self._views
            else initializers.draw(self.initializer, self.shape, seed, stream)
        )

    def bind(self, owner: Any, view: np.ndarray) -> None:
        """Join a model, with its memory in `view`, which already holds the value."""
        self._views = [
            (ref, other)
            for ref, other in self._views
            if ref is not None and ref() not in (None, owner)
        ]
        self._views.append((weakref.ref(owner), view))
        if len(self._views) > 1:
            for ref, _ in self._views:
                model = None if ref is None else ref()
                if model is not None:
                    model.shares_variables = True

    def leave(self, owner: Any) -> None:
        """Leave a model. If it was the last one, keep the value in separate memory."""
        value = self.numpy()
        self._views = [
            (ref, view)
            for ref, view in self._views
            if ref is None or ref() is not owner
        ] or [(None, value)]

    def pull(self, owner: Any) -> None:
        """Copy the newest value into a model's vector."""
        newest_owner, newest = self._views[-1]
        if newest_owner is not None and newest_owner() is owner:
            return
        for ref, view in self._views:
            if ref is not None and ref() is owner:
                view[...] = newest

    def push(self, owner: Any) -> None:
        """Mark a model's value as the newest one."""
        self._views.sort(key=lambda item: item[0] is not None and item[0]() is owner)

    is_free = False
    """Whether the user has made it, not a layer."""

    def view_in(self, owner: Any) -> np.ndarray | None:
        """Its part of that model's vector; None if it is not in the model."""
        for ref, view in self._views:
            if ref is not None and ref() is owner:
                return view
        return None

    @property
    def owner(self) -> Any:
        """The network whose vector holds it, if there is only one."""
        if len(self._views) != 1 or self._views[0][0] is None:
            return None
        return self._views[0][0]()

    @property
    def is_shared(self) -> bool:
        """Whether several models share it."""
        return len(self._views) > 1

    @property
    def learned(self) -> bool:
        """Whether training updates it."""
        return self.role in ("param", "statistic", "state")

    @property
    def trainable(self) -> bool:
        """Whether it has a gradient; a frozen layer's variables have one too."""
        return self.role == "param"

    @property
    def is_weight(self) -> bool:
        """Whether it is one of a layer's weights."""
        return self.role not in ("constant", "state")

    @property
    def value(self) -> np.ndarray:
        """The array itself, float32; to change it, use `assign`."""
        refuse_in_steps("a variable's value")
        if not self._views:
            drawn = initializers.draw(self.initializer, self.shape)
            self._views.append((None, drawn))
        return self._views[-1][1]

    @property
    def path(self) -> str:
        """The names of the layers that it belongs to, and its own."""
        return self.name

    @property
    def dtype(self) -> str:
        return "float32"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def reshaped(self, shape: Shape) -> Variable:
        """A view of the same memory in another shape."""
        other = Variable(self.name, shape, self.initializer, self.role)
        views = self._views or [(None, self.value)]
        other._views = [(ref, view.reshape(shape)) for ref, view in views]
        return other

    def numpy(self) -> np.ndarray:
        """A copy of the value."""
        return self.value.copy()

    def assign(self, value: Any) -> None:
        """Replace the value with one of the same shape.

        Raises:
            ValueError: another shape, or a value that is not finite.
        """
        self._refuse_in_formulas()
        array = as_numbers(self.name, "the new value", value, np.float32)
        if array.shape != self.shape:
            raise ValueError(
                f"[{self.name}] the new value must have shape {self.shape}. "
                f"Received: shape {array.shape}. Try value.reshape({self.shape})."
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"[{self.name}] the new value must be finite. "
                "Received: NaN or infinity. "
                "Try weights from before training diverged."
            )
        self.write(array)

    def write(self, array: np.ndarray) -> None:
        """`assign` without checks, for an array known to fit."""
        refuse_in_steps("a new value of a variable")
        if active.undo is not None:
            old = self._views[-1][1].copy() if self._views else None
            active.undo.append((self, old))
        if not self._views:  # do not draw initial values in vain
            self._views.append((None, np.empty(self.shape, np.float32)))
        for _, view in self._views:
            view[...] = array

    def borrow(self, array: np.ndarray) -> None:
        """Have another value until `give_back`."""
        self._views.append((None, array))

    def give_back(self) -> None:
        """Restore the value from before `borrow`."""
        self._views.pop()

    def restore(self, array: np.ndarray | None) -> None:
        """Undo `write`. None: there was no value."""
        if array is None:
            self._views = []
        for _, view in self._views:
            view[...] = array

    def _refuse_in_formulas(self) -> None:
        """Refuse assignments while a formula is traced, because tracing happens only
        once.

        Raises:
            NeedsValues: it is; the formula then runs eagerly.
        """
        if Graph.current is not None and active.step is None and not active.building:
            raise NeedsValues(
                f"[{self.name}] a new value of a weight needs values, and a formula "
                "that is traced has none. Received: assign in call(). "
                "Try BatchNormalization, or another layer that has the statistics."
            )

    def assign_add(self, value: Any) -> None:
        """Add to the value.

        Raises:
            ValueError: as `assign`.
        """
        self._refuse_in_formulas()
        self.assign(self.value + as_numbers(self.name, "the value", value, np.float32))

    def assign_sub(self, value: Any) -> None:
        """Subtract from the value.

        Raises:
            ValueError: as `assign`.
        """
        self._refuse_in_formulas()
        self.assign(self.value - as_numbers(self.name, "the value", value, np.float32))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.value, dtype=dtype)

    def __repr__(self) -> str:
        values = np.array2string(self.value, threshold=20, edgeitems=2, precision=4)
        return f"<Variable {self.name}, shape={self.shape}, value={values}>"
