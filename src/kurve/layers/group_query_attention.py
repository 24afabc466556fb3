"""Multi-head attention in which several heads share keys and values."""

from __future__ import annotations

from typing import Any, Unpack

from kurve import initializers, regularizers
from kurve.formulas import functions as ops
from kurve.formulas.graph import Tensor
from kurve.layers.multi_head_attention import HeadArguments, Heads


class GroupQueryAttention(Heads):
    """`MultiHeadAttention` in which several query heads share one head of keys and
    values.

    Shapes:   query (B, T, D), value (B, S, D), key (B, S, D) -> y (B, T, D)
    Source:   Ainslie et al. 2023; defaults follow keras.layers.GroupQueryAttention.

    Args:
        head_dim, num_query_heads, num_key_value_heads: at least 1; the number of key
            heads must divide that of query heads.
        dropout, use_bias, sliding_window, flash_attention, kernel_initializer,
            bias_initializer,
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
        flash_attention: bool | None = None,
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
            flash_attention,
        )

    def build(  # type: ignore[override]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> None:
        """Create the projections."""
        key_shape = value_shape if key_shape is None else key_shape
        queries = [self.num_query_heads, self.head_dim]
        keys = [self.num_key_value_heads, self.head_dim]
        self.build_projections(
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
        training: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """The forward pass.

        Args:
            query_mask: which queries are valid, (B, T); by default the mask set by
                earlier layers.
            query, value, key, value_mask, key_mask, attention_mask,
                return_attention_scores, training, use_causal_mask: see
                `MultiHeadAttention`.
        """
        times = self.num_query_heads // self.num_key_value_heads
        self._return_attention_scores = return_attention_scores
        key = value if key is None else key
        seen = self._compute_attention_mask(
            query,
            value,
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
            use_causal_mask=use_causal_mask,
        )
        query, key, value = (  # the projections would warn of a mask that is used above
            x.without_mask() if isinstance(x, Tensor) else x
            for x in (query, key, value)
        )
        y, weights = self._compute_attention(
            self._query_dense(query),
            ops.repeat(self._key_dense(key), times, 2),
            ops.repeat(self._value_dense(value), times, 2),
            attention_mask=seen,
            training=training,
        )
        if self.use_gate:
            y = y * self._gate_dense(query)
        y = self._output_dense(y)
        return (y, weights) if return_attention_scores else y

    @property
    def one_formula(self) -> bool:  # type: ignore[override]
        """Whether only layers inside depend on training."""
        own = type(self)._compute_attention
        return own is GroupQueryAttention._compute_attention

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: Any = None,
    ) -> tuple[Any, Any]:
        """See `MultiHeadAttention`; key and value are repeated for all heads."""
        scores = self._return_attention_scores
        return self.attended(query, key, value, attention_mask, training, scores)
