"""Optimizers by name. Names, defaults and formulas are Keras's; the formulas are in
`kurve.engines.reference.optimizers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kurve.core import registry
from kurve.core.entries import entry
from kurve.core.later import Classes, Later
from kurve.errors import unknown_name
from kurve.optimizers import schedules as schedules
from kurve.optimizers.base import Optimizer as Optimizer

if TYPE_CHECKING:
    from kurve.optimizers.adam_family import Adam as Adam
    from kurve.optimizers.adam_family import Adamax as Adamax
    from kurve.optimizers.adam_family import AdamW as AdamW
    from kurve.optimizers.adam_family import Nadam as Nadam
    from kurve.optimizers.adaptive import Adadelta as Adadelta
    from kurve.optimizers.adaptive import Ftrl as Ftrl
    from kurve.optimizers.adaptive import Lion as Lion
    from kurve.optimizers.adaptive import ScheduleFreeAdamW as ScheduleFreeAdamW
    from kurve.optimizers.gradient_descent import SGD as SGD
    from kurve.optimizers.gradient_descent import Adagrad as Adagrad
    from kurve.optimizers.gradient_descent import RMSprop as RMSprop
    from kurve.optimizers.scaled import Adafactor as Adafactor
    from kurve.optimizers.scaled import Lamb as Lamb
    from kurve.optimizers.scaled import Muon as Muon

__getattr__ = Later(
    __name__,
    {
        "gradient_descent": "SGD RMSprop Adagrad",
        "adam_family": "Adam AdamW Nadam Adamax",
        "adaptive": "Adadelta Ftrl Lion ScheduleFreeAdamW",
        "scaled": "Lamb Adafactor Muon",
    },
)
__dir__ = __getattr__.dir

CLASSES: Classes[Optimizer] = Classes(__name__, __getattr__.classes())

_NAMES = {name.lower(): name for name in CLASSES}


@entry
def get(identifier: str | Mapping[str, Any] | Optimizer | None) -> Any:
    """The optimizer for a name (with Keras's defaults) or a `serialize` result; None
    for None."""
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        if identifier.lower() in _NAMES:
            return CLASSES[_NAMES[identifier.lower()]]()  # type: ignore[call-arg]
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
    """The optimizer from a `serialize` result."""
    name = config["class_name"]
    if isinstance(name, str):
        name = _NAMES.get(name.lower(), name)
    cls = registry.find("optimizers", "optimizer", name, CLASSES, Optimizer)
    optimizer: Optimizer = cls.from_config(config.get("config", {}))
    return optimizer
