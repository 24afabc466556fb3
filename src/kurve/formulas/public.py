"""All functions of `kurve.ops` by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kurve.formulas import (
    alignments,
    creation,
    flow,
    functions,
    image_filters,
    image_sampling,
    images,
    nn,
    only_arrays,
    ordering,
    rearranging,
    segments,
    transforms,
)
from kurve.formulas.operators import FUNCTIONS as FUNCTIONS

PUBLIC: dict[str, Callable[..., Any]] = {
    **{name: call for name, call in FUNCTIONS.items() if name != "mask_of"},
    **only_arrays.ONLY_ARRAYS,
    "ctc_decode": alignments.ctc_decode,
    **{call.__name__: call for call in (*flow.OTHERS, *creation.OTHERS)},
    **{
        name: FUNCTIONS[name]
        for names in (ordering, rearranging, segments, transforms)
        for name in names.NAMES
    },
    "amax": functions.max,
    "amin": functions.min,
    "hard_swish": nn.hard_silu,
    "swish": nn.silu,
}

IMAGE = images.PUBLIC | image_filters.PUBLIC | image_sampling.PUBLIC
"""Functions of `kurve.ops.image`."""
