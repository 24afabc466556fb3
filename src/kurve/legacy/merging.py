"""Names that old programs import from `keras.layers.merge`: today kurve.layers"""

from __future__ import annotations

from typing import Any

from kurve.layers.merging import Merge


class _Merge(Merge):
    """Base class of merge layers: today a Layer with call(inputs)

    Subclasses define `_merge_function(inputs)`.
    """

    def merge(self, inputs: list[Any]) -> Any:
        return self._merge_function(inputs)

    def _merge_function(self, inputs: list[Any]) -> Any:
        raise NotImplementedError


def __getattr__(name: str) -> Any:
    from kurve import layers

    return getattr(layers, name)


def __dir__() -> list[str]:
    from kurve import layers

    return sorted([*dir(layers), "_Merge"])
