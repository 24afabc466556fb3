"""Attention layers against Keras, called directly: masks of all kinds, weights and
outputs, and subclasses that override parts of the computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import keras

import kurve

RNG = np.random.default_rng(0)
B, T, S, D = 3, 4, 5, 6
Q = RNG.normal(size=(B, T, D)).astype("float32")
V = RNG.normal(size=(B, S, D)).astype("float32")
K = RNG.normal(size=(B, S, D)).astype("float32")
OF_Q, OF_V = RNG.random((B, T)) < 0.6, RNG.random((B, S)) < 0.6
OF_Q[1] = OF_V[2] = False

LAYERS: dict[str, Any] = {
    "heads": lambda k: k.MultiHeadAttention(2, 3),
    "sizes": lambda k: k.MultiHeadAttention(
        2, 3, value_dim=2, output_shape=(2, 3), use_gate=True
    ),
    "window": lambda k: k.MultiHeadAttention(2, 3, sliding_window=2, use_bias=False),
    "axis": lambda k: k.MultiHeadAttention(2, 3, attention_axes=-2),
    "groups": lambda k: k.GroupQueryAttention(3, 4, 2),
    "groups, gate, window": lambda k: k.GroupQueryAttention(
        3, 4, 1, use_gate=True, sliding_window=3
    ),
}
MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "query": {"query_mask": OF_Q},
    "value": {"value_mask": OF_V},
    "key": {"key_mask": OF_V, "value_mask": np.roll(OF_V, 1, 1)},
    "causal": {"use_causal_mask": True},
    "causal value": {"use_causal_mask": True, "value_mask": OF_V},
    "batch": {"attention_mask": RNG.random((B, T, S)) < 0.5},
    "row": {"attention_mask": (RNG.random((B, 1, S)) < 0.5).astype("int32")},
    "numbers": {"attention_mask": np.tri(T, S), "query_mask": OF_Q},
    "nothing": {"attention_mask": np.zeros((B, T, S))},
    "by head": {"attention_mask": RNG.random((B, 1, T, S)) < 0.5},
}


def numbers(y: Any) -> list[np.ndarray]:
    """Outputs of a layer of either library."""
    many = y if isinstance(y, (tuple, list)) else [y]
    return [np.asarray(v.detach() if hasattr(v, "detach") else v) for v in many]


def twins(make: Any) -> tuple[Any, Any]:
    """The layer of both libraries with equal weights."""
    theirs, ours = make(keras.layers), make(kurve.layers)
    for layer in (theirs, ours):
        layer(Q, V, key=K)
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=w.shape) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    return ours, theirs


def same(ours: Any, theirs: Any) -> None:
    for a, b in zip(numbers(ours), numbers(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_masks_of_arguments(layer: str) -> None:
    """With the weights and without them: rows that see nothing differ in Keras."""
    ours, theirs = twins(LAYERS[layer])
    for named in MASKS.values():
        for scores in (False, True):
            more = {**named, "return_attention_scores": scores}
            same(ours(Q, V, K, **more), theirs(Q, V, K, **more))


@pytest.mark.parametrize("name", ["Attention", "AdditiveAttention"])
@pytest.mark.parametrize("causal", [False, True])
def test_masks_of_inputs(name: str, causal: bool) -> None:
    ours, theirs = (getattr(lib.layers, name)(False) for lib in (kurve, keras))
    for mask in (None, [OF_Q, None], [None, OF_V], [OF_Q, OF_V], [OF_Q, OF_V, OF_V]):
        more = {"mask": mask, "return_attention_scores": True}
        same(
            ours([Q, V, K], use_causal_mask=causal, **more),
            theirs([Q, V, K], use_causal_mask=causal, **more),
        )


def test_parts_that_subclasses_override() -> None:
    def heads(lib: Any) -> Any:
        class Linear(lib.layers.MultiHeadAttention):  # type: ignore[misc]
            def _compute_attention(
                self,
                query: Any,
                key: Any,
                value: Any,
                attention_mask: Any = None,
                training: Any = None,
                return_attention_scores: bool = False,
            ) -> Any:
                products = lib.ops.einsum("bqhd,bkhd->bhqk", query, key)
                if attention_mask is not None:
                    seen = lib.ops.expand_dims(attention_mask, 1)
                    products = products * lib.ops.cast(seen, "float32")
                return lib.ops.einsum("bhqk,bkhd->bqhd", products, value), products

        return Linear

    ours, theirs = twins(lambda k: heads(kurve if k is kurve.layers else keras)(2, 3))
    for named in ({}, {"use_causal_mask": True, "value_mask": OF_V}):
        same(ours(Q, V, K, **named), theirs(Q, V, K, **named))

    def scaled(lib: Any) -> Any:
        class Scaled(lib.layers.Attention):  # type: ignore[misc]
            def _calculate_scores(self, query: Any, key: Any) -> Any:
                return 0.1 * super()._calculate_scores(query, key)

            def _apply_scores(self, scores: Any, value: Any, **named: Any) -> Any:
                y, weights = super()._apply_scores(scores, value, **named)
                return 2.0 * y, weights

        return Scaled()

    mask = [OF_Q, OF_V]
    same(scaled(kurve)([Q, V], mask=mask), scaled(keras)([Q, V], mask=mask))


def test_dropout_of_weights_follows_training() -> None:
    layer = kurve.layers.MultiHeadAttention(2, 3, dropout=0.5, seed=1)
    y = layer(Q, V)
    np.testing.assert_array_equal(layer(Q, V, training=False), y)
    assert not np.array_equal(layer(Q, V, training=True), y)


@pytest.mark.parametrize("layer", ["heads", "groups"])
def test_flash_attention_changes_no_numbers(layer: str) -> None:
    make = LAYERS[layer]
    ours, theirs = twins(make)
    kurve.config.enable_flash_attention()
    try:
        flash = make(kurve.layers)
    finally:
        kurve.config.disable_flash_attention()
    flash(Q, V)
    flash.set_weights(ours.get_weights())
    same(flash(Q, V, K), theirs(Q, V, K))
    with pytest.raises(ValueError, match="flash attention computes no attention"):
        flash(Q, V, return_attention_scores=True)
    with pytest.raises(ValueError, match="flash attention has no dropout"):
        kurve.layers.MultiHeadAttention(2, 3, dropout=0.1, flash_attention=True)


def test_projections_have_names() -> None:
    ours, theirs = twins(LAYERS["heads"])
    assert ours.attention_axes == theirs.attention_axes == (1,)
    for name in ("query_dense", "key_dense", "value_dense", "output_dense"):
        a, b = getattr(ours, name), getattr(theirs, name)
        same(list(a.get_weights()), list(b.get_weights()))
