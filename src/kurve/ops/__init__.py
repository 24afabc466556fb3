"""Functions of tensors, with the names and the meaning of Keras's `keras.ops`: the
formulas of layers, losses, metrics and models.

Each takes arrays, and computes with NumPy; or symbolic tensors, and records a call in a
model. Axes and shapes count the batch axis.

    x = kurve.Input((3,))
    model = kurve.Model(x, kurve.ops.mean(x**2, axis=-1, keepdims=True))

The modules inside are tables of what engines compute for them, and the derivatives.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

_SAME = ("linalg", "nn", "numpy")
"""Modules of `keras.ops` whose names are all in `keras.ops` too."""

_DERIVATIVES = ("derivatives", "grad", "hessian", "jacobian")
"""What a function is differentiated with."""


def __getattr__(name: str) -> Any:
    if name in _SAME:
        return sys.modules[__name__]
    from kurve.formulas import public

    found: Any
    if name == "image":
        found = SimpleNamespace(**public.IMAGE)
    elif name in public.PUBLIC:
        found = public.PUBLIC[name]
    elif name in _DERIVATIVES:
        from kurve.gradients import inputs

        found = inputs.PUBLIC[name]
    else:
        from kurve.errors import no_attribute

        raise no_attribute("kurve.ops", name, [*public.PUBLIC, *_DERIVATIVES])
    return globals().setdefault(name, found)


def __dir__() -> list[str]:
    from kurve.formulas import public

    return sorted([*public.PUBLIC, *_DERIVATIVES, "image", *_SAME])
