"""Optimizers by name. Names, defaults and formulas are Keras's; the formulas are in
`kurve.engines.reference.optimizers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kurve.core import registry
from kurve.core.entries import entry
from kurve.errors import no_attribute, unknown_name
from kurve.optimizers import schedules as schedules
from kurve.optimizers.base import Optimizer as Optimizer
from kurve.optimizers.classes import SGD as SGD
from kurve.optimizers.classes import Adagrad as Adagrad
from kurve.optimizers.classes import Adam as Adam
from kurve.optimizers.classes import Adamax as Adamax
from kurve.optimizers.classes import AdamW as AdamW
from kurve.optimizers.classes import Nadam as Nadam
from kurve.optimizers.classes import RMSprop as RMSprop

if TYPE_CHECKING:
    from kurve.optimizers.adaptive import Adadelta as Adadelta
    from kurve.optimizers.adaptive import Ftrl as Ftrl
    from kurve.optimizers.adaptive import Lion as Lion
    from kurve.optimizers.adaptive import ScheduleFreeAdamW as ScheduleFreeAdamW
    from kurve.optimizers.scaled import Adafactor as Adafactor
    from kurve.optimizers.scaled import Lamb as Lamb
    from kurve.optimizers.scaled import Muon as Muon

_NOW: dict[str, type[Optimizer]] = {
    cls.__name__: cls for cls in [SGD, RMSprop, Adagrad, Adam, AdamW, Nadam, Adamax]
}
_LATER = {
    "Adadelta": "kurve.optimizers.adaptive",
    "Ftrl": "kurve.optimizers.adaptive",
    "Lion": "kurve.optimizers.adaptive",
    "Lamb": "kurve.optimizers.scaled",
    "Adafactor": "kurve.optimizers.scaled",
    "Muon": "kurve.optimizers.scaled",
    "ScheduleFreeAdamW": "kurve.optimizers.adaptive",
}
"""Where the classes live that are imported when they are first used."""


class _Classes(Mapping[str, type[Optimizer]]):
    """All optimizers by name."""

    def __getitem__(self, name: str) -> type[Optimizer]:
        if name in _LATER:
            found: type[Optimizer] = __getattr__(name)
            return found
        return _NOW[name]

    def __iter__(self) -> Iterator[str]:
        yield from _NOW
        yield from _LATER

    def __len__(self) -> int:
        return len(_NOW) + len(_LATER)


CLASSES: Mapping[str, type[Optimizer]] = _Classes()

_NAMES = {name.lower(): name for name in CLASSES}


@entry
def get(identifier: str | Mapping[str, Any] | Optimizer | None) -> Any:
    """The optimizer with that name, with Keras's defaults, or of a `serialize`; None
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
    """The optimizer of a `serialize`."""
    name = config["class_name"]
    if isinstance(name, str):
        name = _NAMES.get(name.lower(), name)
    cls = registry.find("optimizers", "optimizer", name, CLASSES, Optimizer)
    optimizer: Optimizer = cls.from_config(config.get("config", {}))
    return optimizer


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise no_attribute(__name__, name, _LATER)
    import importlib

    found = getattr(importlib.import_module(_LATER[name]), name)
    return globals().setdefault(name, found)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
