"""Attention: each element of a sequence takes a weighted mean of the others.

Sources: Vaswani et al. 2017 and Bahdanau et al. 2015; names and defaults follow
Keras.
"""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import check_flag, from_signature
from kurve.core.rng import check_seed
from kurve.formulas import functions as ops
from kurve.formulas.limits import afford
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.layers.core import Dropout


def allowed(queries: int, keys: int, window: int | None, causal: bool) -> Any:
    """Which keys each query can attend to, (queries, keys), or None for all."""
    afford(queries, keys)
    distance = np.arange(queries)[:, None] - np.arange(keys)
    if causal and window is not None:
        return (distance >= 0) & (abs(distance) < window)
    if causal:
        return distance >= 0
    return None if window is None else abs(distance) < window


def both(one: Any, other: Any) -> Any:
    """The conjunction of two masks; None is true everywhere."""
    if one is None or other is None:
        return other if one is None else one
    return ops.logical_and(one, other)


class Attention(Layer):
    """y = softmax(scores) value, with scores = query key^T.

    Values masked out by the mask of the second input get weight 0; queries masked out
    by that of the first give 0, and their mask becomes that of the output.

    Shapes:   [query (B, T, D), value (B, S, V), key (B, S, D)] -> y (B, T, V); without
              a key, the value is used
    Source:   Luong et al. 2015; defaults follow keras.layers.Attention.

    Args:
        use_scale: whether to multiply scores by a trainable weight.
        score_mode: "dot", or "concat" for weight * sum(tanh(query + key)).
        dropout: fraction of attention weights dropped in training, in [0, 1].
        seed: seed of the dropout: an integer, or None for the model's.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: unknown score_mode, or dropout outside [0, 1]; when called: other
            than two or three inputs, or masks that do not match them.

    Example:
        >>> q, v = np.ones((2, 3, 4)), np.ones((2, 5, 4))
        >>> kurve.layers.Attention()([q, v]).shape
        (2, 3, 4)
    """

    takes_several = True
    arguments = from_signature()

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        where = type(self).__name__
        self.use_scale = check_flag(where, "use_scale", use_scale)
        if not isinstance(score_mode, str) or score_mode not in ("dot", "concat"):
            raise ValueError(
                f"[{where}] score_mode must be 'dot' or 'concat'. "
                f"Received: score_mode={score_mode!r}. Try 'dot'."
            )
        self.score_mode = score_mode
        self.seed = check_seed(where, seed)
        self.dropping = Dropout(dropout, seed=self.seed)
        self.dropout = self.dropping.rate
        self.scale: Variable | None = None
        self.concat_score_weight: Variable | None = None

    def build(self, input_shape: Any) -> None:
        """Create the weights of the scores."""
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                (), "ones", name="concat_score_weight"
            )

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Compute attention.

        Args:
            inputs: [query, value] or [query, value, key].
            mask: [query_mask, value_mask], each None or (B, T) and (B, S).
            training: whether attention weights are dropped; by default, in training.
            return_attention_scores: whether to also return the attention weights, after
                dropout.
            use_causal_mask: whether element t attends only to elements up to t.
        """
        where = type(self).__name__
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            raise ValueError(
                f"[{where}] the layer takes [query, value] or [query, value, key]. "
                f"Received: {inputs!r}. Try {where}()([x, x])."
            )
        query, value = inputs[:2]
        key = inputs[2] if len(inputs) == 3 else value
        of_query, of_value = self._checked(inputs, mask)
        scores = self._calculate_scores(query=query, key=key)
        y, weights = self._apply_scores(
            scores=scores,
            value=value,
            scores_mask=self._calculate_score_mask(scores, of_value, use_causal_mask),
            training=training,
        )
        if of_query is not None:
            y = ops.where(ops.expand_dims(of_query, -1), y, 0.0)
        return (y, weights) if return_attention_scores else y

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the query.

        Args:
            inputs: [query, value] or [query, value, key].
            mask: None, or a mask or None for each.
        """
        return self._checked(inputs, mask)[0]

    def _checked(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        """The masks of query and value."""
        if mask is None:
            return None, None
        where = type(self).__name__
        if not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3):
            raise ValueError(
                f"[{where}] mask must be a list, [query_mask, value_mask]. "
                f"Received: mask={mask!r}. Try mask=[None, mask]."
            )
        for x, own in zip(inputs, mask, strict=False):
            if own is not None and tuple(own.shape) != tuple(x.shape[:-1]):
                raise ValueError(
                    f"[{where}] a mask must have the axes of its input except the "
                    f"last. Received: mask of shape {tuple(own.shape)} for an input "
                    f"of shape {tuple(x.shape)}. Try shape {tuple(x.shape[:-1])}."
                )
        return mask[0], mask[1]

    # Subclasses can override the parts of `call`.

    def _calculate_scores(self, query: Any, key: Any) -> Any:
        """Scores of each key for each query, (B, T, S)."""
        if self.score_mode == "dot":
            y = ops.matmul(query, ops.swapaxes(key, -2, -1))
            return y if self.scale is None else y * self.scale
        both = ops.expand_dims(query, -2) + ops.expand_dims(key, -3)
        if self.scale is not None:
            both = both * self.scale
        return ops.sum(ops.tanh(both), -1) * self.concat_score_weight

    def _calculate_score_mask(
        self, scores: Any, v_mask: Any, use_causal_mask: bool
    ) -> Any:
        """Which scores count, or None for all."""
        queries, keys = scores.shape[-2:]
        seen: Any = allowed(queries, keys, None, use_causal_mask)
        if seen is not None:
            seen = seen.astype(np.float32)
        return seen if v_mask is None else both(ops.expand_dims(v_mask, -2), seen)

    def _apply_scores(
        self, scores: Any, value: Any, scores_mask: Any = None, training: Any = None
    ) -> tuple[Any, Any]:
        """The weighted means of the values, and the weights."""
        if scores_mask is not None:
            if len(scores_mask.shape) == 2 and scores_mask.shape[0] is None:
                scores_mask = ops.expand_dims(scores_mask, -2)
            scores = ops.where(scores_mask, scores, scores - 1e9)
        weights = ops.softmax(scores)
        if self.dropout:
            weights = self.dropping(weights, training=training)
        return ops.matmul(weights, value), weights

    @property
    def one_formula(self) -> bool:  # type: ignore[override]
        """Whether only layers inside depend on training."""
        return type(self)._apply_scores is Attention._apply_scores


class AdditiveAttention(Attention):
    """`Attention` with scores = sum(scale * tanh(query + key)).

    Shapes:   as `Attention`, with equal last axes; scale (D,)
    Source:   Bahdanau et al. 2015; defaults follow keras.layers.AdditiveAttention.

    Args:
        use_scale: whether to create the weight `scale`.
        dropout, seed, name, trainable, input_shape: see `Attention`.

    Raises:
        ValueError: see `Attention`.

    Example:
        >>> q, v = np.ones((2, 3, 4)), np.ones((2, 5, 4))
        >>> kurve.layers.AdditiveAttention()([q, v]).shape
        (2, 3, 4)
    """

    arguments = from_signature()

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        seed: int | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(use_scale, "dot", dropout, seed, **common)

    def build(self, input_shape: Any) -> None:
        """Create the scale."""
        if self.use_scale:
            self.scale = self.add_weight(
                (input_shape[0][-1],), "glorot_uniform", name="scale"
            )

    def _calculate_scores(self, query: Any, key: Any) -> Any:
        """Scores of each key for each query, (B, T, S)."""
        both = ops.tanh(ops.expand_dims(query, -2) + ops.expand_dims(key, -3))
        return ops.sum(both if self.scale is None else both * self.scale, -1)
