"""Sequences of different lengths, and windows of time series."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from kurve.core.later import absent as _absent
from kurve.utils import pad_sequences as pad_sequences

if _TYPE_CHECKING:
    from kurve.preprocessing.skipgrams import make_sampling_table as make_sampling_table
    from kurve.preprocessing.skipgrams import skipgrams as skipgrams
    from kurve.preprocessing.timeseries import (
        TimeseriesGenerator as TimeseriesGenerator,
    )


def __getattr__(name: str) -> object:
    if name in ("make_sampling_table", "skipgrams"):
        from kurve.preprocessing import skipgrams

        return getattr(skipgrams, name)
    if name == "TimeseriesGenerator":
        from kurve.preprocessing.timeseries import TimeseriesGenerator

        return TimeseriesGenerator
    return _absent(__name__)(name)
