"""Sequences of different lengths, and windows of a series."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from kurve.errors import absent as _absent
from kurve.utils import pad_sequences as pad_sequences

if _TYPE_CHECKING:
    from kurve.preprocessing.timeseries import (
        TimeseriesGenerator as TimeseriesGenerator,
    )


def __getattr__(name: str) -> object:
    if name == "TimeseriesGenerator":
        from kurve.preprocessing.timeseries import TimeseriesGenerator

        return TimeseriesGenerator
    return _absent(__name__)(name)
