"""Tensor functions with the names and semantics of `keras.ops`: the building blocks of
layers, losses, metrics and models.

Each function computes with NumPy on arrays, or records a call in a model on symbolic
tensors. Axes and shapes include the batch axis.

    x = kurve.Input((3,))
    model = kurve.Model(x, kurve.ops.mean(x**2, axis=-1, keepdims=True))

The internal modules are tables of what engines compute, with derivatives.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

_SAME = ("linalg", "nn", "numpy")
"""Submodules of `keras.ops` whose names are all in `keras.ops` too."""

_DERIVATIVES = ("custom_gradient", "derivatives", "grad", "hessian", "jacobian", "jvp")
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
        from kurve.gradients import directional, inputs, own

        home: Any = {"custom_gradient": own, "jvp": directional}.get(name, inputs)
        found = getattr(home, name)
    else:
        from kurve.errors import no_attribute

        raise no_attribute("kurve.ops", name, [*public.PUBLIC, *_DERIVATIVES])
    return globals().setdefault(name, found)


def __dir__() -> list[str]:
    from kurve.formulas import public

    return sorted([*public.PUBLIC, *_DERIVATIVES, "image", *_SAME])
