"""Helpers that prepare data, and Keras's older place for them."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from kurve.core.later import Later as _Later
from kurve.preprocessing import sequence as sequence

if _TYPE_CHECKING:
    from kurve.preprocessing import image as image
    from kurve.preprocessing import text as text
    from kurve.preprocessing.directories import (
        image_dataset_from_directory as image_dataset_from_directory,
    )
    from kurve.preprocessing.directories import (
        text_dataset_from_directory as text_dataset_from_directory,
    )
    from kurve.preprocessing.timeseries import (
        timeseries_dataset_from_array as timeseries_dataset_from_array,
    )

_LATER = _Later(
    __name__,
    {
        "directories": "image_dataset_from_directory text_dataset_from_directory",
        "timeseries": "timeseries_dataset_from_array",
    },
)
_MODULES = ("image", "text")


def __getattr__(name: str) -> object:
    if name in _MODULES:
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    return _LATER(name)


def __dir__() -> list[str]:
    return sorted({*_LATER.dir(), *_MODULES})
