"""The base class of attention with several heads, each with its own projections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import initializers, regularizers
from kurve.core.arguments import check_flag, check_integer, check_seed
from kurve.formulas import functions as ops
from kurve.layers.attention import allowed, both
from kurve.layers.base import Layer, LayerArguments
from kurve.layers.core import Dropout
from kurve.layers.einsum import EinsumDense

if TYPE_CHECKING:
    from kurve.constraints import Constraint


class HeadArguments(LayerArguments, total=False):
    """Keras arguments of both layers."""

    flash_attention: None
    kernel_constraint: str | Constraint | None
    bias_constraint: str | Constraint | None


class Heads(Layer):
    """Shared by both: projections, scores and weighted means."""

    _supports_masking = True

    takes_several = True
    constrained: Mapping[str, str] = {
        "kernel": "kernel_constraint",
        "bias": "bias_constraint",
    }

    _query_dense: EinsumDense
    _key_dense: EinsumDense
    _gate_dense: EinsumDense
    _value_dense: EinsumDense

    def _start(
        self,
        dropout: float,
        use_bias: bool,
        use_gate: bool,
        sliding_window: int | None,
        kernel_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        seed: Any,
    ) -> None:
        where = type(self).__name__
        self.seed = check_seed(where, seed)
        self._dropout_layer = Dropout(dropout, seed=self.seed)
        self.dropout = self._dropout_layer.rate
        self.use_bias = check_flag(where, "use_bias", use_bias)
        self.use_gate = check_flag(where, "use_gate", use_gate)
        check_integer(where, "sliding_window", sliding_window, None, optional=True)
        self.sliding_window = sliding_window
        self.kernel_initializer = initializers.of_weight(kernel_initializer)
        self.bias_initializer = initializers.of_weight(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def _count(self, name: str, value: Any) -> int:
        check_integer(type(self).__name__, name, value, 2)
        return int(value)

    def projection(
        self, equation: str, sizes: Sequence[int], name: str, gate: bool = False
    ) -> EinsumDense:
        """A dense layer with outputs of these last sizes."""
        out = equation.partition("->")[2]
        return EinsumDense(
            equation,
            (*[None] * (len(out) - 1 - len(sizes)), *sizes),
            "sigmoid" if gate else None,
            out[len(out) - len(sizes) :] if self.use_bias else None,
            self.kernel_initializer,
            self.bias_initializer,
            self.kernel_regularizer,
            self.bias_regularizer,
            name=name,
            activity_regularizer=self.activity_regularizer,
            **{name: getattr(self, name) for name in self.constrained.values()},
        )

    def _build_projections(
        self,
        into: str,
        heads: Mapping[str, Sequence[int]],
        shapes: Mapping[str, Any],
        out: str,
        sizes: Sequence[int],
    ) -> None:
        """Create the projections, in the order of the weights.

        Args:
            into, out: equations to heads, and from heads to the output.
            heads: number and size of the heads of query, key, gate and value; those of
                the gate are those of the means, too.
            shapes: of query, key and value.
            sizes: last sizes of the output.
        """
        for name in ("query", "key", "gate", "value"):
            is_gate = name == "gate"
            if is_gate and not self.use_gate:
                continue
            dense = self.projection(into, heads[name], name, is_gate)
            setattr(self, f"_{name}_dense", dense)
            dense.build(shapes["query" if is_gate else name])
        self._output_dense = self.projection(out, sizes, "attention_output")
        self._output_dense.build((*shapes["query"][:-1], *heads["gate"]))

    def seen(
        self, query: Any, value: Any, causal: bool, attention_mask: Any, masks: Any
    ) -> Any:
        """Which keys each query can attend to: a mask that broadcasts to (B, T, S), or
        None for all.

        Args:
            masks: masks of query, value and key: None, (B, T) or (B, S).
        """
        sizes = query.shape[1], value.shape[1]
        found: Any = allowed(*sizes, self.sliding_window, causal)
        if found is not None:
            found = found.astype(np.float32)
        for name, mask, axis, x in zip(
            ("query", "value", "key"),
            masks,
            (-1, -2, -2),
            (query, value, value),
            strict=True,
        ):
            if mask is None:
                continue
            if tuple(mask.shape) != tuple(x.shape[:-1]):
                raise self._misfit(f"{name}_mask", mask, tuple(x.shape[:-1]))
            mask = ops.cast(mask, "bool")
            found = both(found, ops.expand_dims(mask, axis))
        if attention_mask is not None:
            own = tuple(attention_mask.shape)
            pairs = zip(own[-2:], sizes, strict=False)
            if len(own) < 2 or any(a not in (1, b) for a, b in pairs):
                raise self._misfit("attention_mask", attention_mask, (None, *sizes))
            attention_mask = ops.cast(attention_mask, "bool")
            if len(own) == 4 and found is not None and len(found.shape) == 3:
                found = ops.expand_dims(found, 1)
            found = both(attention_mask, found)
        return found

    def _misfit(self, name: str, mask: Any, shape: Any) -> ValueError:
        return ValueError(
            f"[{type(self).__name__}] {name} does not fit the inputs of layer "
            f"{self.name!r}. Received: {name} of shape {tuple(mask.shape)}. Try one of "
            f"shape {shape}."
        )

    def shares(
        self, scores: Any, seen: Any, fused: bool, axes: Sequence[int] = (-1,)
    ) -> Any:
        """The attention weights: softmax of the scores over visible keys.

        Args:
            seen: the mask with as many axes as scores, or None.
            fused: whether Keras uses a fused kernel, in which a query that sees nothing
                attends to everything; otherwise it gets weights of 0.
            axes: axes of the keys.
        """
        if seen is not None:
            scores = ops.where(seen, scores, -1e9)
        if len(axes) == 1:
            y = ops.softmax(scores)
        else:
            y = ops.exp(scores - ops.logsumexp(scores, list(axes), True))
        return y if seen is None or fused else ops.where(seen, y, 0.0)
