"""Functions of tensors, with the names and the meaning of Keras's `keras.ops`: the
formulas of layers, losses, metrics and models.

Each takes arrays, and computes with NumPy; or symbolic tensors, and records a call in a
model. Axes and shapes count the batch axis.

    x = kurve.Input((3,))
    model = kurve.Model(x, kurve.ops.mean(x**2, axis=-1, keepdims=True))

The modules inside are tables of what engines compute for them, and the derivatives.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from kurve.formulas import functions

    if name not in functions.PUBLIC:
        from kurve.errors import no_attribute

        raise no_attribute("kurve.ops", name, functions.PUBLIC)
    return globals().setdefault(name, getattr(functions, name))


def __dir__() -> list[str]:
    from kurve.formulas import functions

    return [*functions.PUBLIC]
