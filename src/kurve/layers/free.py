"""Variables created by users: `kurve.Variable`."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve import initializers
from kurve.core.arguments import check_flag
from kurve.core.arrays import as_numbers
from kurve.core.dtypes import check_dtype
from kurve.core.naming import unique_name
from kurve.layers import variable
from kurve.plan import Shape


class Variable(variable.Variable):
    """A number or array trained in a custom loop, like a model's weights:
    `GradientTape` watches it and optimizers update it.

    Args:
        initializer: the initial value, or a name or object of `kurve.initializers`.
        shape: shape, if initializer is not a value.
        dtype: None or "float32".
        trainable: whether tapes watch it.
        name: generated if None.

    Raises:
        ValueError: an initializer without a shape; a value that is not finite.

    Example:
        >>> rate = kurve.Variable(2.0)
        >>> with kurve.GradientTape() as tape:
        ...     loss = (rate - 1.0) ** 2
        >>> float(tape.gradient(loss, rate))
        2.0
    """

    is_free = True

    def __init__(
        self,
        initializer: Any,
        shape: Shape | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        check_dtype("Variable", dtype)
        label = unique_name("variable") if name is None else name
        role = "param" if check_flag("Variable", "trainable", trainable) else "buffer"
        if isinstance(initializer, str) or callable(initializer):
            if shape is None:
                raise ValueError(
                    "[Variable] an initializer needs a shape. Received: "
                    f"{initializer!r} alone. Try Variable(initializer, shape=(3,))."
                )
            draw = initializers.of_weight(initializer)
            super().__init__(label, tuple(shape), draw, role)
            return
        value = as_numbers("Variable", "the value", initializer, np.float32)
        super().__init__(label, value.shape, initializers.of_weight("zeros"), role)
        self.assign(value)

    @property
    def trainable(self) -> bool:
        """Whether tapes watch it."""
        return self.role == "param"

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **given: Any
    ) -> Any:
        from kurve.formulas.operators import FUNCTIONS

        if method == "__call__" and not given and ufunc.__name__ in FUNCTIONS:
            return FUNCTIONS[ufunc.__name__](*inputs)
        plain = [x.value if isinstance(x, variable.Variable) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **given)

    def __float__(self) -> float:
        return float(self.value)
