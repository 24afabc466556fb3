"""Attention whose keys and values are shared by groups of heads."""

from __future__ import annotations

import math
from typing import Any, Unpack

from kurve import initializers, regularizers
from kurve.formulas import functions as ops
from kurve.layers.heads import HeadArguments, Heads


class GroupQueryAttention(Heads):
    """`MultiHeadAttention` in which several query heads share one head of keys and
    values.

    Shapes:   query (B, T, D), value (B, S, D), key (B, S, D) -> y (B, T, D)
    Source:   Ainslie et al. 2023; defaults follow keras.layers.GroupQueryAttention.

    Args:
        head_dim, num_query_heads, num_key_value_heads: at least 1; the number of key
            heads must divide that of query heads.
        dropout, use_bias, sliding_window, kernel_initializer, bias_initializer,
            kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint,
            use_gate, seed: see `MultiHeadAttention`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: sizes below 1, or numbers of heads that do not divide.

    Example:
        >>> x = np.ones((2, 5, 4))
        >>> kurve.layers.GroupQueryAttention(3, 4, 2)(x, x).shape
        (2, 5, 4)
    """

    arguments = (
        "head_dim",
        "num_query_heads",
        "num_key_value_heads",
        "dropout",
        "use_bias",
        "sliding_window",
        "kernel_initializer",
        "bias_initializer",
        "kernel_regularizer",
        "bias_regularizer",
        "use_gate",
        "seed",
    )

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        use_gate: bool = False,
        seed: int | None = None,
        **common: Unpack[HeadArguments],
    ) -> None:
        super().__init__(**common)
        self.head_dim = self._count("head_dim", head_dim)
        self.num_query_heads = self._count("num_query_heads", num_query_heads)
        heads = self._count("num_key_value_heads", num_key_value_heads)
        self.num_key_value_heads = heads
        if self.num_query_heads % heads:
            raise ValueError(
                "[GroupQueryAttention] num_key_value_heads must divide "
                f"num_query_heads. Received: {heads} and {num_query_heads}. Try 1."
            )
        self._start(
            dropout,
            use_bias,
            use_gate,
            sliding_window,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            seed,
        )

    def build(  # type: ignore[override]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> None:
        """Create the projections."""
        key_shape = value_shape if key_shape is None else key_shape
        queries = [self.num_query_heads, self.head_dim]
        keys = [self.num_key_value_heads, self.head_dim]
        self._build_projections(
            "abx,xyz->abyz",
            {"query": queries, "key": keys, "gate": queries, "value": keys},
            {"query": query_shape, "key": key_shape, "value": value_shape},
            "abyz,yzu->abu",
            [query_shape[-1]],
        )

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """The forward pass.

        Args:
            query_mask: which queries are valid, (B, T); by default the mask set by
                earlier layers.
            query, value, key, value_mask, key_mask, attention_mask,
                return_attention_scores, use_causal_mask: see `MultiHeadAttention`.
        """
        times = self.num_query_heads // self.num_key_value_heads
        key = value if key is None else key
        q = self._query_dense(query) * (1.0 / math.sqrt(self.head_dim))
        k = ops.repeat(self._key_dense(key), times, 2)
        v = ops.repeat(self._value_dense(value), times, 2)
        scores = ops.einsum("bquh,bkuh->buqk", q, k)
        seen = self.seen(
            query,
            value,
            use_causal_mask,
            attention_mask,
            (query_mask, value_mask, key_mask),
        )
        if seen is not None and len(seen.shape) == 3:
            seen = ops.expand_dims(seen, 1)
        fused = not (self.dropout or return_attention_scores)
        weights = self.shares(scores, seen, fused)
        dropped = self._dropout_layer(weights) if self.dropout else weights
        y = ops.einsum("buqk,bkuh->bquh", dropped, v)
        if self.use_gate:
            y = y * self._gate_dense(query)
        y = self._output_dense(y)
        return (y, weights) if return_attention_scores else y
