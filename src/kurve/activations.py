"""Activations by name. The formulas are in `kurve.engines.reference.activations`.

Each is an object to pass to a layer, `Dense(8, activation=activations.relu)`, or to
call on an array: `activations.relu(np.array([-1.0, 2.0]))`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kurve.core.arguments import is_number
from kurve.core.arrays import as_numbers
from kurve.core.entries import entry
from kurve.errors import absent as _absent
from kurve.errors import unknown_name
from kurve.kinds import ACTIVATIONS
from kurve.plan import Attr

NAMES = tuple(ACTIVATIONS)
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Activation:
    """An activation: a name and a parameter.

    Args:
        name: such as "relu".
        alpha: the slope of leaky_relu, the scale of elu, the frequency of snake; the
            others do not use it.

    Raises:
        ValueError: an unknown name; an alpha that is not finite or, for snake, not in
            [1e-30, 1e30].

    Example:
        >>> kurve.activations.Activation("leaky_relu", 0.1)([-1.0, 2.0])
        array([-0.1,  2. ], dtype=float32)
    """

    name: str
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in NAMES:
            raise unknown_name("activations", "activation", self.name, NAMES)
        if not is_number(self.alpha) or abs(self.alpha) > LARGEST:
            raise ValueError(
                f"[{self.name}] alpha must be a finite number. "
                f"Received: alpha={self.alpha!r}. Try alpha=0.2."
            )
        if self.name == "snake" and not 1e-30 <= self.alpha <= 1e30:
            raise ValueError(
                "[snake] alpha must be in [1e-30, 1e30]: the wave that is added has "
                f"the period pi / alpha. Received: alpha={self.alpha!r}. Try alpha=1.0."
            )

    def attrs(self) -> dict[str, Attr]:
        """The activation in a plan."""
        return {"activation": self.name, "alpha": self.alpha}

    @entry
    def __call__(self, x: Any) -> np.ndarray:
        """The activation of every element of x; softmax goes over the last axis."""
        from kurve.engines.reference.activations import ACTIVATIONS as FORMULAS

        z = as_numbers(self.name, "x", x)
        if not np.issubdtype(z.dtype, np.floating):
            z = z.astype(np.float32)
        if self.name == "softmax":
            e = np.exp(z - z.max(axis=-1, keepdims=True))
            return np.asarray(e / e.sum(axis=-1, keepdims=True))
        return FORMULAS[self.name][0](z, self.alpha)


linear = Activation("linear")
relu = Activation("relu")
leaky_relu = Activation("leaky_relu", 0.2)
elu = Activation("elu", 1.0)
selu = Activation("selu")
gelu = Activation("gelu")
silu = Activation("silu")
sigmoid = Activation("sigmoid")
tanh = Activation("tanh")
softplus = Activation("softplus")
softsign = Activation("softsign")
softmax = Activation("softmax")
sin = Activation("sin")
snake = Activation("snake", 1.0)

_TABLE: dict[str, Activation] = {name: globals()[name] for name in NAMES}
_TABLE["swish"] = silu


class Chosen:
    """An attribute of a layer: `get` of what is assigned to it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = f"_{name}"

    def __get__(self, layer: Any, owner: type) -> Any:
        return self if layer is None else getattr(layer, self._key)

    def __set__(self, layer: Any, value: Any) -> None:
        setattr(layer, self._key, get(value))


@entry
def get(identifier: Any) -> Activation:
    """The activation with that name, or of a `to_config`; None is linear.

    Raises:
        ValueError: an unknown name.
        TypeError: a custom function, which no engine can differentiate.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, Activation):
        return identifier
    if isinstance(identifier, str):
        if identifier in _TABLE:
            return _TABLE[identifier]
        raise unknown_name("activations", "activation", identifier, _TABLE)
    if isinstance(identifier, Mapping) and {"name", "alpha"} <= set(identifier):
        return replace(get(identifier["name"]), alpha=identifier["alpha"])
    raise TypeError(
        "[activations] an activation must be a name or an object of "
        "kurve.activations, because engines need its derivative. "
        f"Received: {identifier!r}. Try activation='relu'."
    )


def to_config(activation: Activation) -> str | dict[str, Any]:
    """What `get` needs for an equal activation: its name, if alpha is the default."""
    if activation == _TABLE[activation.name]:
        return activation.name
    return {"name": activation.name, "alpha": activation.alpha}


__getattr__ = _absent(__name__)
