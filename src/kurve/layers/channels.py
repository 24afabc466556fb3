"""Image layers with data_format="channels_first": they compute with the channels last,
between two operations that move the axis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from kurve.plan import Op, Shape

METHODS = ("output_sample_shape", "lower", "make_variables", "call", "call_masked")
"""Methods that take a shape or a tensor with the channels last."""


def last(shape: Any) -> Any:
    """A sample's shape with the first axis moved to the end."""
    return (*shape[1:], *shape[:1])


def first(shape: Any) -> Any:
    """A sample's shape with the last axis moved to the front."""
    return (*shape[-1:], *shape[:-1])


def in_both_formats(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method written for channels last that also accepts channels first."""

    @functools.wraps(method)
    def outer(self: Any, x: Any, *rest: Any, **named: Any) -> Any:
        if self.data_format == "channels_last" or self.channels_moved:
            return method(self, x, *rest, **named)
        self.channels_moved = True
        try:
            if name in ("call", "call_masked"):
                y = method(self, _moved(x, True), *rest, **named)
                return _moved(y, False) if len(y.shape) == len(x.shape) else y
            y = method(self, last(x), *rest, **named)
        finally:
            self.channels_moved = False
        if name == "lower":
            return _between(self.name, x, y)
        if name == "output_sample_shape" and len(y) == len(x):
            return first(y)
        return y

    return outer


def _moved(x: Any, to_last: bool) -> Any:
    from kurve.formulas import functions as ops

    axes = range(1, len(x.shape))
    return ops.transpose(x, [0, *(last(axes) if to_last else first(axes))])


def _between(layer: str, sample: Shape, ops: list[Op]) -> list[Op]:
    """Operations between two that move the channels."""
    axes = tuple(range(len(sample)))
    before = Op("permute", layer, sample, last(sample), attrs={"axes": last(axes)})
    out = ops[-1].out_shape
    if len(out) < len(sample):
        return [before, *ops]
    after = Op("permute", layer, out, first(out), attrs={"axes": first(axes)})
    return [before, *ops, after]
