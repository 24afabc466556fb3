"""Multi-head attention, with separate projections per head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from kurve import initializers, regularizers
from kurve.config import is_flash_attention_enabled
from kurve.core.arguments import check_flag, check_integer, is_integer
from kurve.core.rng import check_seed
from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.layers.attention import allowed, both
from kurve.layers.base import Layer, LayerArguments
from kurve.layers.core import Dropout
from kurve.layers.einsum import EinsumDense

if TYPE_CHECKING:
    from kurve.constraints import Constraint


class HeadArguments(LayerArguments, total=False):
    """Keras arguments of both layers."""

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
        flash_attention: Any,
    ) -> None:
        where = type(self).__name__
        if flash_attention is not None:
            check_flag(where, "flash_attention", flash_attention)
        self._flash_attention = bool(flash_attention or is_flash_attention_enabled())
        if self._flash_attention and dropout:
            raise ValueError(
                f"[{where}] flash attention has no dropout. Received: "
                f"flash_attention=True, dropout={dropout!r}. Try dropout=0.0."
            )
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

    def build_projections(
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

    def _compute_attention_mask(
        self,
        query: Any,
        value: Any,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Which keys each query can attend to: a mask that broadcasts to (B, T, S), or
        None for all. Subclasses can override it."""
        sizes = query.shape[1], value.shape[1]
        found: Any = allowed(*sizes, self.sliding_window, use_causal_mask)
        if found is not None:
            found = found.astype(np.float32)
        for name, mask, axis, x in (
            ("query", query_mask, -1, query),
            ("value", value_mask, -2, value),
            ("key", key_mask, -2, value),
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

    def attended(
        self,
        query: Any,
        key: Any,
        value: Any,
        seen: Any,
        training: Any,
        scores: bool,
        axes: Sequence[int] = (1,),
    ) -> tuple[Any, Any]:
        """The outputs of the heads, and the attention weights.

        Args:
            query, key, value: projected: (B, ..., heads, size).
            seen: the mask with as many axes as the weights or fewer, or None.
            scores: whether the caller asked for the weights.
            axes: axes attended over.
        """
        if scores and self._flash_attention:
            raise ValueError(
                f"[{type(self).__name__}] flash attention computes no attention "
                "scores. Received: return_attention_scores=True. Try "
                "flash_attention=False."
            )
        rank = len(query.shape)
        # Axes attended over have different letters in keys and values.
        at_query = "abcdefghijklm"[:rank]
        others = iter("nopqrstuvwxyz")
        at_key = "".join(
            next(others) if i in axes else c for i, c in enumerate(at_query)
        )
        stay = [c for i, c in enumerate(at_query[:-1]) if i not in axes]
        pairs = "".join(
            [*stay, *(at_query[a] for a in axes), *(at_key[a] for a in axes)]
        )
        query = query * (1.0 / math.sqrt(query.shape[-1]))
        products = ops.einsum(f"{at_query},{at_key}->{pairs}", query, key)
        if seen is not None and 2 < len(seen.shape) < len(pairs):
            new = range(len(seen.shape) - 2 * len(axes), len(pairs) - 2 * len(axes))
            seen = ops.expand_dims(seen, list(new))
        # Keras's fused kernel, with which a query that sees nothing attends to
        # everything; otherwise it gets weights of 0.
        fused = not (self.dropout or scores or rank != 4)
        if seen is not None:
            products = ops.where(seen, products, -1e9)
        if len(axes) == 1:
            weights = ops.softmax(products)
        else:
            last = list(range(len(pairs) - len(axes), len(pairs)))
            weights = ops.exp(products - ops.logsumexp(products, last, True))
        if seen is not None and not fused:
            weights = ops.where(seen, weights, 0.0)
        dropped = weights
        if self.dropout:
            dropped = self._dropout_layer(weights, training=training)
        return ops.einsum(f"{pairs},{at_key}->{at_query}", dropped, value), weights


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
        flash_attention: changes no numbers; with True, dropout and attention scores are
            refused, as in Keras.
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
        self.num_heads = self._count("num_heads", num_heads)
        self.key_dim = self._count("key_dim", key_dim)
        value = key_dim if value_dim is None else value_dim
        self.value_dim = self._count("value_dim", value)
        sizes: Any = (output_shape,) if is_integer(output_shape) else output_shape
        if not isinstance(sizes, (list, tuple, type(None))):
            raise ValueError(
                "[MultiHeadAttention] output_shape must be an integer or a tuple of "
                f"integers. Received: output_shape={output_shape!r}. Try None."
            )
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
            flash_attention,
        )

    def build(  # type: ignore[override]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> None:
        """Create the projections."""
        key_shape = value_shape if key_shape is None else key_shape
        rank = len(query_shape)
        axes = self.attention_axes or tuple(range(1, rank - 1))
        self.attention_axes = tuple(a if a >= 0 else rank + a for a in axes)
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
        self.build_projections(
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
        training: Any = None,
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
            training: whether attention weights are dropped; by default, in training.
            use_causal_mask: whether element t attends only to elements up to t.
        """
        key = value if key is None else key
        query_mask = query.mask if isinstance(query, Tensor) else None
        for x in (query, value, key):
            if isinstance(x, Tensor):
                x.mask = None  # as in Keras, for all later readers
        seen = self._compute_attention_mask(
            query,
            value,
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
            use_causal_mask=use_causal_mask,
        )
        y, weights = self._compute_attention(
            self._query_dense(query),
            self._key_dense(key),
            self._value_dense(value),
            seen,
            training,
            return_attention_scores,
        )
        if self.use_gate:
            y = y * self._gate_dense(query)
        y = self._output_dense(y)
        if query_mask is not None:
            y.mask = query_mask
        return (y, weights) if return_attention_scores else y

    @property
    def one_formula(self) -> bool:  # type: ignore[override]
        """Whether only layers inside depend on training."""
        own = type(self)._compute_attention
        return own is MultiHeadAttention._compute_attention

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: Any = None,
        return_attention_scores: bool = False,
    ) -> tuple[Any, Any]:
        """Scores and weighted means of all heads; subclasses can override it.

        Args:
            query, key, value: projected: (B, T, heads, key_dim), (B, S, heads, key_dim)
                and (B, S, heads, value_dim).
            attention_mask: which keys each query attends to, or None.

        Returns:
            The heads, (B, T, heads, value_dim), and the attention weights.
        """
        return self.attended(
            query,
            key,
            value,
            attention_mask,
            training,
            return_attention_scores,
            self.attention_axes or (1,),
        )

    @property
    def query_dense(self) -> EinsumDense:
        """The projection of query."""
        return self._query_dense

    @property
    def key_dense(self) -> EinsumDense:
        """The projection of key."""
        return self._key_dense

    @property
    def value_dense(self) -> EinsumDense:
        """The projection of value."""
        return self._value_dense

    @property
    def output_dense(self) -> EinsumDense:
        """The projection of the concatenated heads."""
        return self._output_dense

    def penalize(self, graph: Graph, y: Any) -> None:
        """Does nothing: the projections apply the penalties."""

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        sizes = self.output_sizes
        shape = None if sizes is None else list(sizes)
        return {**super().get_config(), "output_shape": shape}
