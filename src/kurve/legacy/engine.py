"""Names that old programs import from `keras.engine`: today kurve.Layer, Model and
Input"""

from __future__ import annotations

import importlib
from typing import Any

HOMES = {
    "Input": "layers",
    "InputLayer": "layers",
    "InputSpec": "layers",
    "Layer": "layers",
    "Merge": "legacy.calls",
    "Model": "models",
    "Sequential": "models",
    "merge": "legacy.calls",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        from kurve.errors import no_attribute

        raise no_attribute(__name__, name, HOMES)
    return getattr(importlib.import_module(f"kurve.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(HOMES)
