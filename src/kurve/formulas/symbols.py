"""The values of a plan under construction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.formulas.needs import NeedsValues
from kurve.formulas.operators import FUNCTIONS, Symbolic
from kurve.plan import Shape

if TYPE_CHECKING:
    from kurve.formulas.graph import Graph


class Tensor(Symbolic):
    """A value of a plan under construction.

    sample:  shape of one sample
    batched: False if all samples share the value, as for weights; the shape then has no
             batch axis
    mask: which time steps count, of dtype "bool", usually (None, T); None for all.
             Results of functions have none: layers set it, see `Layer.compute_mask`
    """

    mask: Tensor | None = None

    _error = NeedsValues

    _remedy = ""

    def __init__(
        self,
        graph: Graph,
        index: int,
        sample: Shape,
        batched: bool = True,
        dtype: str = "float32",
    ) -> None:
        self.graph, self.index, self.sample = graph, index, sample
        self.batched, self.dtype = batched, dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        return (self.graph.rows, *self.sample) if self.batched else self.sample

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def without_mask(self) -> Tensor:
        """The same value as a new tensor without mask."""
        return Tensor(self.graph, self.index, self.sample, self.batched, self.dtype)

    @property
    def _keras_mask(self) -> Tensor | None:
        """`mask` under Keras's name."""
        return self.mask

    @_keras_mask.setter
    def _keras_mask(self, mask: Tensor | None) -> None:
        self.mask = mask

    def __repr__(self) -> str:
        return f"<Tensor shape={self.shape}, dtype={self.dtype}>"

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> Any:
        return FUNCTIONS["equal"](self, other) if _is_operand(other) else False

    def __ne__(self, other: object) -> Any:
        return FUNCTIONS["not_equal"](self, other) if _is_operand(other) else True

    @property
    def _where(self) -> str:
        """The call being traced, for messages."""
        layers = self.graph._layers
        return f"{type(layers[-1]).__name__}.call" if layers else "Tensor"

    def __len__(self) -> int:
        if not self.shape or self.shape[0] is None:
            raise self._no_values("len()")
        return self.shape[0]


def _is_operand(other: object) -> bool:
    """Whether a tensor is compared with it element by element."""
    numbers = isinstance(other, (int, float, np.ndarray, np.generic))
    return numbers or isinstance(other, Tensor) or is_variable(other)


def is_variable(part: Any) -> bool:
    return hasattr(part, "role") and hasattr(part, "regularizer")
