"""Windows of a time series."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kurve.core.arguments import check_choice, check_flag, is_count
from kurve.core.arrays import as_numbers
from kurve.core.entries import entry
from kurve.core.rng import check_seed
from kurve.preprocessing.batches import FORMATS, Batches
from kurve.utils import PyDataset


def _refuse(where: str, name: str, value: Any, rule: str, fix: str) -> ValueError:
    return ValueError(
        f"[{where}] {name} must be {rule}. "
        f"Received: {name}={value!r}. Try {name}={fix}."
    )


@entry
def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Batches:
    """Batches of windows of a series: x (B, sequence_length, ...) and y (B, ...).

    Window k is rows k s, k s + r, k s + 2 r, ... of the data, with the stride s and the
    sampling rate r; its target is row k s of the targets.

    Args:
        data: (n, ...), one row per time step.
        targets: (m, ...), or None for x alone.
        sequence_length: rows per window.
        sequence_stride: rows from one window to the next.
        sampling_rate: rows between consecutive steps of a window.
        batch_size: None for single windows.
        shuffle: whether to shuffle the windows in each pass.
        seed: seed of the shuffle.
        start_index, end_index: rows before the first, and from the last one on, are not
            used.
        format: "tf" or "grain", as for Keras; the batches are the same.

    Raises:
        ValueError: an argument that does not fit the data.

    Example:
        >>> series = np.arange(6)
        >>> data = kurve.utils.timeseries_dataset_from_array(series, series[3:], 3)
        >>> x, y = next(iter(data))
        >>> x.tolist(), y.tolist()
        ([[0, 1, 2], [1, 2, 3], [2, 3, 4]], [3, 4, 5])
    """
    where = "timeseries_dataset_from_array"
    check_choice(where, "format", format, FORMATS)
    series = as_numbers(where, "data", data)
    y = None if targets is None else as_numbers(where, "targets", targets)
    n = len(series)
    for name, value in (
        ("sequence_length", sequence_length),
        ("sequence_stride", sequence_stride),
        ("sampling_rate", sampling_rate),
    ):
        if not is_count(value):
            raise _refuse(where, name, value, "a positive integer", "1")
        if name != "sequence_length" and value >= n:
            raise _refuse(where, name, value, f"below {n}, the rows of data", "1")
    if batch_size is not None and not is_count(batch_size):
        raise _refuse(where, "batch_size", batch_size, "a positive integer", "32")
    check_flag(where, "shuffle", shuffle)
    first = 0 if start_index is None else start_index
    last = n if end_index is None else end_index
    if not is_count(first, 0) or first >= n:
        raise _refuse(where, "start_index", start_index, f"from 0 to {n - 1}", "0")
    if not is_count(last) or not first < last <= n:
        rule = f"above start_index and at most {n}"
        raise _refuse(where, "end_index", end_index, rule, str(n))
    count = last - first - (sequence_length - 1) * sampling_rate
    count = count if y is None else min(count, len(y) - first)
    starts = np.arange(0, max(count, 0), sequence_stride)
    if not len(starts):
        rule = f"short enough for {last - first} rows"
        raise _refuse(where, "sequence_length", sequence_length, rule, "1")
    steps = np.arange(sequence_length) * sampling_rate

    def make(rows: np.ndarray) -> Any:
        places = starts[rows]
        x = series[first + places[:, None] + steps]
        return x if y is None else (x, y[first + places])

    seed = check_seed(where, seed)
    return Batches(make, len(starts), batch_size, shuffle, seed)


class TimeseriesGenerator(PyDataset):
    """Keras's old windows of a series: x (B, length / sampling_rate, ...), and y, the
    row of the targets after the window.

    Args:
        data: (n, ...), one row per time step.
        targets: (n, ...).
        length: rows per window.
        sampling_rate: rows between consecutive steps of a window.
        stride: rows from one window to the next.
        start_index, end_index: the first and last row used.
        shuffle: whether to draw windows at random, with `numpy.random`.
        reverse: whether to reverse windows in time.
        batch_size: windows at a time.

    Raises:
        ValueError: data and targets with different lengths, or too few rows.

    Example:
        >>> from kurve.preprocessing.sequence import TimeseriesGenerator
        >>> series = np.arange(6)
        >>> x, y = TimeseriesGenerator(series, series, length=2, batch_size=3)[0]
        >>> x.tolist(), y.tolist()
        ([[0, 1], [1, 2], [2, 3]], [2, 3, 4])
    """

    def __init__(
        self,
        data: Any,
        targets: Any,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
    ) -> None:
        super().__init__()
        where = "TimeseriesGenerator"
        self.data, self.targets = np.asarray(data), np.asarray(targets)
        if len(self.data) != len(self.targets):
            raise ValueError(
                f"[{where}] data and targets must have the same number of rows. "
                f"Received: {len(self.data)} and {len(self.targets)}. Try equal ones."
            )
        for name, value in (
            ("length", length),
            ("sampling_rate", sampling_rate),
            ("stride", stride),
            ("batch_size", batch_size),
        ):
            if not is_count(value):
                raise _refuse(where, name, value, "a positive integer", "1")
        self.length, self.sampling_rate, self.stride = length, sampling_rate, stride
        self.start_index = start_index + length
        self.end_index = len(self.data) - 1 if end_index is None else end_index
        self.shuffle, self.reverse, self.batch_size = shuffle, reverse, batch_size
        if self.start_index > self.end_index:
            rule = f"short enough for rows {start_index} to {self.end_index}"
            raise _refuse(where, "length", length, rule, "1")

    def __len__(self) -> int:
        rows = self.end_index - self.start_index + 1
        return math.ceil(rows / (self.batch_size * self.stride))

    def __getitem__(self, index: int) -> Any:
        if self.shuffle:
            rows = np.random.randint(  # noqa: NPY002 - as numpy.random.seed says
                self.start_index, self.end_index + 1, size=self.batch_size
            )
        else:
            first = self.start_index + self.batch_size * self.stride * index
            last = min(first + self.batch_size * self.stride, self.end_index + 1)
            rows = np.arange(first, last, self.stride)
        steps = np.arange(-self.length, 0, self.sampling_rate)
        x = self.data[rows[:, None] + steps]
        return (x[:, ::-1] if self.reverse else x), self.targets[rows]
