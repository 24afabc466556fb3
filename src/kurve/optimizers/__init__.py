"""Optimizers by name. Names, defaults and formulas are Keras's; the formulas are in
`kurve.engines.reference.optimizers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kurve.core import registry
from kurve.core.entries import entry
from kurve.errors import absent as _absent
from kurve.errors import unknown_name
from kurve.optimizers import schedules as schedules
from kurve.optimizers.adaptive import Adadelta as Adadelta
from kurve.optimizers.adaptive import Ftrl as Ftrl
from kurve.optimizers.adaptive import Lion as Lion
from kurve.optimizers.adaptive import ScheduleFreeAdamW as ScheduleFreeAdamW
from kurve.optimizers.base import Optimizer as Optimizer
from kurve.optimizers.classes import SGD as SGD
from kurve.optimizers.classes import Adagrad as Adagrad
from kurve.optimizers.classes import Adam as Adam
from kurve.optimizers.classes import Adamax as Adamax
from kurve.optimizers.classes import AdamW as AdamW
from kurve.optimizers.classes import Nadam as Nadam
from kurve.optimizers.classes import RMSprop as RMSprop
from kurve.optimizers.scaled import Adafactor as Adafactor
from kurve.optimizers.scaled import Lamb as Lamb
from kurve.optimizers.scaled import Muon as Muon

CLASSES: dict[str, type[Optimizer]] = {
    cls.__name__: cls
    for cls in [
        SGD,
        RMSprop,
        Adagrad,
        Adam,
        AdamW,
        Nadam,
        Adamax,
        Adadelta,
        Ftrl,
        Lion,
        Lamb,
        Adafactor,
        Muon,
        ScheduleFreeAdamW,
    ]
}

_TABLE = CLASSES | {name.lower(): cls for name, cls in CLASSES.items()}


@entry
def get(identifier: str | Mapping[str, Any] | Optimizer | None) -> Any:
    """The optimizer with that name, with Keras's defaults, or of a `serialize`; None
    for None."""
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        if identifier.lower() in _TABLE:
            return _TABLE[identifier.lower()]()  # type: ignore[call-arg]
        raise unknown_name("optimizers", "optimizer", identifier, CLASSES)
    if isinstance(identifier, Mapping) and "class_name" in identifier:
        return deserialize(identifier)
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
    if isinstance(name, str) and name.lower() in _TABLE:
        name = _TABLE[name.lower()].__name__
    cls = registry.find("optimizers", "optimizer", name, CLASSES, Optimizer)
    optimizer: Optimizer = cls.from_config(config.get("config", {}))
    return optimizer


__getattr__ = _absent(__name__)
