"""Rows reduced by groups: `tf.math.unsorted_segment_sum`, `tf.math.segment_mean`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.reductions import value
from kurve.as_keras.tensorflow.values import concrete, eager
from kurve.formulas.public import PUBLIC

_KINDS = ("max", "mean", "min", "prod", "sum")

__all__ = [f"{first}segment_{kind}" for first in ("", "unsorted_") for kind in _KINDS]


def _segment(name: str, kind: str) -> Callable[..., Any]:
    def call(
        data: Any, segment_ids: Any, num_segments: Any = None, name: Any = None
    ) -> Any:
        ids = np.asarray(concrete(own, segment_ids)).astype(np.int64)
        count = int(ids.max(initial=-1)) + 1
        if num_segments is not None:
            count = int(concrete(own, num_segments))
        x = value(data)
        reduce = PUBLIC[f"segment_{'sum' if kind == 'mean' else kind}"]
        y = reduce(x, ids, count)
        if kind != "mean":
            return y
        rows = np.bincount(ids[(ids >= 0) & (ids < count)], minlength=count)
        axes = (count, *(1,) * (len(x.shape) - 1))
        return y / np.maximum(rows, 1).astype(np.float32).reshape(axes)

    own = name
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"The {kind} of the rows of each group."
    return eager(call)


for _name in __all__:
    setattr(sys.modules[__name__], _name, _segment(_name, _name.rpartition("_")[2]))
