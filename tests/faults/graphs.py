"""Graphs of many kinds of ops, with data for them, for tests of faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kurve import Input, Model, Sequential, layers
from kurve.formulas import functions as ops

Arrays = list[np.ndarray]
Made = tuple[Model, Any, list[tuple[int, ...]]]
"""A model, its losses, and the shapes of what its inputs take."""


def merging() -> Made:
    """Every layer that merges, a shared layer, models in a model."""
    a, b = Input((9,), name="a"), Input((5,), name="b")
    shared = layers.Dense(40, "tanh", name="shared")
    inside = Input((40,))
    block = Model(inside, layers.Add()([inside, layers.Dense(40, "relu")(inside)]))
    stack = Sequential([Input((40,)), layers.Dense(40, "gelu"), layers.Dropout(0.2)])
    p = shared(a)
    q = shared(layers.Dense(9)(b))
    values = [p, q, block(p), stack(block(q))]
    joined = [
        layers.Add()(values),
        layers.Subtract()([p, q]),
        layers.Multiply()([values[2], q]),
        layers.Average()(values),
        layers.Maximum()(values),
        layers.Minimum()([p, values[3]]),
    ]
    h = layers.Concatenate()([*joined, layers.Dot(1, normalize=True)([p, q])])
    outputs = [layers.Dense(3, name="y")(h), layers.Dense(1, name="z")(joined[0])]
    return Model([a, b], outputs), ["mse", "mae"], [(9,), (5,)]


def attention() -> Made:
    """Words that ask each other, and a second input that asks them."""
    words, query = Input((12,), name="words"), Input((4, 16), name="query")
    h = layers.Embedding(50, 16)(words)
    h = layers.Add()([h, layers.MultiHeadAttention(2, 8, dropout=0.1)(h, h)])
    h = layers.LayerNormalization()(h)
    h = layers.Add()([h, layers.Dense(16, "gelu")(layers.Dense(32, "relu")(h))])
    asked = layers.Attention(use_scale=True)([query, h])
    asked = layers.EinsumDense("abc,cd->abd", (4, 8), bias_axes="d")(asked)
    y = layers.Dense(3, "softmax", name="y")(layers.GlobalAveragePooling1D()(h))
    z = layers.Dense(2, name="z")(layers.Flatten()(asked))
    model = Model([words, query], [y, z])
    return model, ["categorical_crossentropy", "mse"], [(12,), (4, 16)]


def pictures() -> Made:
    """Convolutions of two pictures, joined and added, with numbers beside them."""
    a, b = Input((12, 12, 3), name="a"), Input((6,), name="b")
    h = layers.RandomFlip()(a)
    h = layers.Conv2D(8, 3, padding="same", activation="relu")(h)
    same = layers.Conv2D(8, 3, padding="same")
    h = layers.Add()([h, same(layers.SpatialDropout2D(0.1)(same(h)))])
    h = layers.BatchNormalization()(h)
    sides = [
        layers.MaxPooling2D()(h),
        layers.AveragePooling2D()(h),
        layers.SeparableConv2D(4, 3, strides=2, padding="same")(h),
    ]
    h = layers.Concatenate()(sides)
    up = layers.Conv2DTranspose(2, 3, strides=2, padding="same", name="up")(h)
    flat = layers.Concatenate()([layers.GlobalMaxPooling2D()(h), b])
    model = Model([a, b], [layers.Dense(2, name="y")(flat), up])
    return model, ["mse", "huber"], [(12, 12, 3), (6,)]


def formulas() -> Made:
    """Functions: elementwise, reductions, products, moves, and random layers."""
    a, b = Input((6, 10), name="a"), Input((10,), name="b")
    h = layers.GaussianNoise(0.1)(layers.Dense(10)(a))
    h = ops.tanh(h) * ops.expand_dims(b, 1) + 1.0 / (1.0 + ops.exp(-h))
    h = ops.where(h > 0.5, h, ops.square(h) - ops.cumsum(h, axis=1))
    products = ops.matmul(h, ops.transpose(h, (0, 2, 1)))
    products = ops.softmax(products / 3.0, axis=-1)
    mixed = ops.einsum("bij,bjk->bik", products, h)
    sums = [
        ops.sum(mixed, axis=1),
        ops.max(mixed, axis=1),
        ops.logsumexp(h, axis=1),
        ops.std(h, axis=1),
        ops.prod(ops.clip(h, -1.0, 1.0), axis=1),
    ]
    s = ops.concatenate([*sums, ops.reshape(products[:, :3, ::2], (-1, 9))], axis=-1)
    s = layers.AlphaDropout(0.1)(layers.GaussianDropout(0.1)(s))
    y = layers.Dense(2, name="y")(s)
    z = layers.Dense(1, name="z")(ops.flip(s, axis=1))
    return Model([a, b], [y, z]), ["log_cosh", "mse"], [(6, 10), (10,)]


def whole_batches() -> Made:
    """Losses that look at all samples of a batch, and a penalty of outputs."""
    x = Input((20,), name="x")
    h = layers.Dense(60, "tanh")(x)
    h = layers.ActivityRegularization(l2=1e-3)(h)
    y = layers.Dense(4, "sigmoid", name="y")(h)
    z = layers.Dense(3, "softmax", name="z")(layers.Multiply()([h, h]))
    from kurve import losses

    return Model(x, [y, z]), [losses.Dice(), losses.Tversky()], [(20,)]


GRAPHS: dict[str, Callable[[], Made]] = {
    "merging": merging,
    "attention": attention,
    "pictures": pictures,
    "formulas": formulas,
    "whole batches": whole_batches,
}


def data(model: Model, shapes: list[tuple[int, ...]], rows: int) -> tuple[Any, Any]:
    """x and y; numbers of words where an input is called so."""
    random = np.random.default_rng(4)
    x = [random.normal(size=(rows, *shape)).astype(np.float32) for shape in shapes]
    for i, name in enumerate(model.input_names):
        if name == "words":
            x[i] = random.integers(0, 50, x[i].shape).astype(np.float32)
    y = []
    for output in model.outputs:
        values = random.uniform(size=(rows, *output.shape[1:]))
        if output.shape[-1] == 3:
            values = np.eye(3)[values.argmax(axis=-1)]
        y.append(values.astype(np.float32))
    return (x if len(x) > 1 else x[0]), (y if len(y) > 1 else y[0])
