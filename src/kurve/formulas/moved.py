"""Tensors with another axis before the batch axis, as loops over steps need them."""

from __future__ import annotations

from typing import Any

from kurve.formulas.axes import no_batch
from kurve.formulas.graph import Tensor
from kurve.formulas.tensor import leaves


class Moved(Tensor):
    """A tensor (B, T, ...) seen as (T, B, ...).

    Loops, indices and transposition support it; formulas that do anything else with it
    run on arrays, like others that move the batch axis.
    """

    def __init__(self, of: Tensor, where: str) -> None:
        self.graph, self.dtype, self.batched = of.graph, of.dtype, True
        self.of, self._by = of, where

    @property
    def sample(self) -> Any:  # type: ignore[override]
        raise no_batch(self._by, self)

    @property
    def index(self) -> Any:  # type: ignore[override]
        raise no_batch(self._by, self)

    @property
    def shape(self) -> tuple[int | None, ...]:
        steps, *others = self.of.sample
        return (steps, self.graph.rows, *others)


def in_layer(x: Tensor) -> bool:
    """Whether x is a tensor of a layer's call, which can run on arrays instead."""
    return bool(x.graph._layers)


def refuse_moved(y: Any) -> Any:
    """The outputs of a layer, whose first axis must be the batch axis."""
    for leaf in leaves(y):
        if isinstance(leaf, Moved):
            raise no_batch(leaf._by, leaf)
    return y
