"""Multi-head attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

from kurve import initializers, regularizers
from kurve.core.arguments import is_integer
from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.layers.heads import HeadArguments, Heads


class MultiHeadAttention(Heads):
    """y = out(concatenated heads), where each head is softmax(q k^T / sqrt(key_dim)) v
    with linear projections q, k and v of query, key and value.

    Shapes:   query (B, T, Q), value (B, S, V), key (B, S, K) -> y (B, T, Q); kernels
              query (Q, heads, key_dim), key (K, heads, key_dim), value (V, heads,
              value_dim), attention_output (heads, value_dim, Q)
    Source:   Vaswani et al. 2017; defaults follow keras.layers.MultiHeadAttention.

    Args:
        num_heads, key_dim: at least 1.
        value_dim: key_dim if None.
        dropout: fraction of attention weights dropped in training, in [0, 1].
        use_bias: whether the projections have biases.
        output_shape: last axes of y; by default those of the query.
        attention_axes: axes to attend over; by default all except
            the first and the last.
        sliding_window: maximum distance of visible keys; None for no limit.
        kernel_initializer, bias_initializer: name or object of `kurve.initializers`.
        kernel_regularizer, bias_regularizer: name or object of `kurve.regularizers`.
        kernel_constraint, bias_constraint: name or object of `kurve.constraints`.
        use_gate: whether to multiply heads by the sigmoid of a projection of query.
        seed: seed of the dropout: an integer, or None for the model's.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: sizes below 1; inputs or masks that do not match.

    Example:
        >>> x = np.ones((2, 5, 4))
        >>> layer = kurve.layers.MultiHeadAttention(num_heads=2, key_dim=3)
        >>> layer(x, x).shape
        (2, 5, 4)
        >>> y, scores = layer(x, x, return_attention_scores=True, use_causal_mask=True)
        >>> scores.shape
        (2, 2, 5, 5)
    """

    arguments = (
        "num_heads",
        "key_dim",
        "value_dim",
        "dropout",
        "use_bias",
        "attention_axes",
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
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
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
        self.num_heads = self._count("num_heads", num_heads)
        self.key_dim = self._count("key_dim", key_dim)
        value = key_dim if value_dim is None else value_dim
        self.value_dim = self._count("value_dim", value)
        sizes: Any = (output_shape,) if is_integer(output_shape) else output_shape
        self.output_sizes = (
            None if not sizes else tuple(self._count("output_shape", n) for n in sizes)
        )
        axes: Any = (attention_axes,) if is_integer(attention_axes) else attention_axes
        if axes is not None and not (
            isinstance(axes, (list, tuple)) and all(map(is_integer, axes))
        ):
            raise ValueError(
                "[MultiHeadAttention] attention_axes must be integers. Received: "
                f"attention_axes={attention_axes!r}. Try None."
            )
        self.attention_axes = None if axes is None else tuple(int(a) for a in axes)
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
        rank = len(query_shape)
        if len(value_shape) != rank or value_shape[1:-1] != key_shape[1:-1]:
            raise ValueError(
                "[MultiHeadAttention] query, value and key must have the same number "
                "of axes, and value and key equal ones except the last. Received: "
                f"{query_shape}, {value_shape}, {key_shape}. Try key=value."
            )
        free = "abcdefgh"[: rank - 1]
        into = f"{free}x,xyz->{free}yz"
        keys, values = [self.num_heads, self.key_dim], [self.num_heads, self.value_dim]
        sizes = self.output_sizes or (query_shape[-1],)
        out = "uvw"[: len(sizes)]
        self._build_projections(
            into,
            {"query": keys, "key": keys, "gate": values, "value": values},
            {"query": query_shape, "key": key_shape, "value": value_shape},
            f"{free}yz,yz{out}->{free}{out}",
            sizes,
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
            query, value, key: see the class; key is value if None.
            query_mask: unused: the mask carried by query counts, and becomes the
                output's.
            value_mask, key_mask: which of them are valid, (B, S); by default the masks
                set by earlier layers.
            attention_mask: which keys each query attends to, (B, T, S), (T, S) or, with
                heads, (B, heads, T, S).
            return_attention_scores: whether to also return the attention weights.
            use_causal_mask: whether element t attends only to elements up to t.
        """
        rank = len(query.shape) + 1  # with the axis of heads
        axes = self.attention_axes or tuple(range(1, rank - 2))
        axes = tuple(a if a >= 0 else rank - 1 + a for a in axes)
        key = value if key is None else key
        query_mask = query.mask if isinstance(query, Tensor) else None
        for x in (query, value, key):
            if isinstance(x, Tensor):
                x.mask = None  # as in Keras, for all later readers
        seen = self.seen(
            query,
            value,
            use_causal_mask,
            attention_mask,
            (query_mask, value_mask, key_mask),
        )
        q = self._query_dense(query) * (1.0 / math.sqrt(self.key_dim))
        k, v = self._key_dense(key), self._value_dense(value)
        # Axes attended over have different letters in keys and values.
        at_query = "abcdefghijklm"[:rank]
        others = iter("nopqrstuvwxyz")
        at_key = "".join(
            next(others) if i in axes else c for i, c in enumerate(at_query)
        )
        stay = [c for i, c in enumerate(at_query[:-1]) if i not in axes]
        both = "".join(
            [*stay, *(at_query[a] for a in axes), *(at_key[a] for a in axes)]
        )
        scores = ops.einsum(f"{at_query},{at_key}->{both}", q, k)
        if seen is not None and 2 < len(seen.shape) < len(both):
            new = range(len(seen.shape) - 2 * len(axes), len(both) - 2 * len(axes))
            seen = ops.expand_dims(seen, list(new))
        fused = not (self.dropout or return_attention_scores or rank != 4)
        last = range(len(both) - len(axes), len(both))
        weights = self.shares(scores, seen, fused, last)
        dropped = self._dropout_layer(weights) if self.dropout else weights
        y = ops.einsum(f"{both},{at_key}->{at_query}", dropped, v)
        if self.use_gate:
            y = y * self._gate_dense(query)
        y = self._output_dense(y)
        if query_mask is not None:
            y.mask = query_mask
        return (y, weights) if return_attention_scores else y

    def penalize(self, graph: Graph, y: Any) -> None:
        """Does nothing: the projections have the penalties."""

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        sizes = self.output_sizes
        shape = None if sizes is None else list(sizes)
        return {**super().get_config(), "output_shape": shape}
