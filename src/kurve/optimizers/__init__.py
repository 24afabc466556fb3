"""Optimizers by name. Names, defaults and formulas are Keras's; the formulas are in
`kurve.engines.reference.optimizers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from kurve.core import registry
from kurve.core.entries import entry
from kurve.errors import absent as _absent
from kurve.errors import unknown_name
from kurve.optimizers import schedules as schedules
from kurve.optimizers.base import Optimizer as Optimizer
from kurve.optimizers.classes import SGD as SGD
from kurve.optimizers.classes import Adagrad as Adagrad
from kurve.optimizers.classes import Adam as Adam
from kurve.optimizers.classes import Adamax as Adamax
from kurve.optimizers.classes import AdamW as AdamW
from kurve.optimizers.classes import Nadam as Nadam
from kurve.optimizers.classes import RMSprop as RMSprop

CLASSES: dict[str, type[Optimizer]] = {
    cls.__name__: cls for cls in [SGD, RMSprop, Adagrad, Adam, AdamW, Nadam, Adamax]
}

_TABLE = CLASSES | {name.lower(): cls for name, cls in CLASSES.items()}


@entry
def get(identifier: str | Optimizer) -> Optimizer:
    """The optimizer with that name, with Keras's defaults."""
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        if identifier.lower() in _TABLE:
            cls: Any = _TABLE[identifier.lower()]
            return cast(Optimizer, cls())
        raise unknown_name("optimizers", "optimizer", identifier, CLASSES)
    raise TypeError(
        "[optimizers] an optimizer must be a name or an object of kurve.optimizers. "
        f"Received: {identifier!r}. Try optimizer='adam'."
    )


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """Class and configuration of an optimizer."""
    return registry.entry(optimizer, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Optimizer:
    """The optimizer of a `serialize`."""
    name = config["class_name"]
    cls = registry.find("optimizers", "optimizer", name, CLASSES, Optimizer)
    optimizer: Optimizer = cls.from_config(config["config"])
    return optimizer


__getattr__ = _absent(__name__)
