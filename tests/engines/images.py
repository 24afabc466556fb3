"""Stacks of image layers that the tests of engines share, and data for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from kurve import Sequential
from kurve.layers import (
    AveragePooling1D,
    AveragePooling2D,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv1D,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    Layer,
    MaxPooling1D,
    MaxPooling2D,
    Reshape,
    SeparableConv1D,
    SeparableConv2D,
)
from tests.engines.cases import compiled


class Stack(NamedTuple):
    """Layers to put between two others, and the shape of the first one's samples."""

    make: Callable[[], list[Layer]]
    shape: tuple[int, ...] = (7, 6, 4)


SEQUENCE = (9, 4)
STACKS = {
    "conv": Stack(lambda: [Conv2D(5, 3, activation="tanh")]),
    "conv, no bias": Stack(lambda: [Conv2D(5, (2, 3), use_bias=False)]),
    "conv, same": Stack(lambda: [Conv2D(3, (4, 3), padding="same")]),
    "conv, strides": Stack(lambda: [Conv2D(3, 3, (2, 3), "same", activation="silu")]),
    "conv, strides, valid": Stack(lambda: [Conv2D(3, (3, 2), (3, 2))]),
    "conv, dilation": Stack(lambda: [Conv2D(3, 2, dilation_rate=(2, 3))]),
    "conv, same dilation": Stack(
        lambda: [Conv2D(3, 3, padding="same", dilation_rate=(3, 1))]
    ),
    "conv, groups": Stack(lambda: [Conv2D(6, 3, groups=2, activation="gelu")]),
    "conv, one by one": Stack(lambda: [Conv2D(3, 1), Conv2D(4, 1, strides=2)]),
    "conv, softmax": Stack(lambda: [Conv2D(3, 2, activation="softmax")]),
    "conv, penalty": Stack(
        lambda: [Conv2D(3, 2, kernel_regularizer="l2", bias_regularizer="l1")]
    ),
    "conv, frozen": Stack(lambda: [Conv2D(3, 2, trainable=False), Conv2D(3, 2)]),
    "conv 1-D": Stack(lambda: [Conv1D(5, 3, activation="tanh")], SEQUENCE),
    "conv 1-D, causal": Stack(
        lambda: [Conv1D(5, 3, padding="causal", dilation_rate=2)], SEQUENCE
    ),
    "conv 1-D, same": Stack(
        lambda: [Conv1D(4, 4, 2, "same", groups=2, activation="elu")], SEQUENCE
    ),
    "depthwise": Stack(lambda: [DepthwiseConv2D(3, activation="sigmoid")]),
    "depthwise, multiplied": Stack(
        lambda: [DepthwiseConv2D((3, 2), 2, "same", depth_multiplier=3)]
    ),
    "depthwise 1-D": Stack(lambda: [DepthwiseConv1D(3, 2, "same", 2)], SEQUENCE),
    "separable": Stack(lambda: [SeparableConv2D(5, 3, activation="tanh")]),
    "separable, same": Stack(
        lambda: [SeparableConv2D(3, 2, (2, 2), "same", depth_multiplier=2)]
    ),
    "separable 1-D": Stack(
        lambda: [SeparableConv1D(3, 3, padding="same", use_bias=False)], SEQUENCE
    ),
    "max pooling": Stack(lambda: [MaxPooling2D()]),
    "max pooling, overlapping": Stack(lambda: [MaxPooling2D((3, 2), 1, "same")]),
    "max pooling, gaps": Stack(lambda: [MaxPooling2D((2, 1), (3, 2), "same")]),
    "max pooling 1-D": Stack(lambda: [MaxPooling1D(3, 2, "same")], SEQUENCE),
    "average pooling": Stack(lambda: [AveragePooling2D()]),
    "average pooling, same": Stack(lambda: [AveragePooling2D((3, 4), 2, "same")]),
    "average pooling 1-D": Stack(lambda: [AveragePooling1D(2, 3, "same")], SEQUENCE),
    "global max": Stack(lambda: [GlobalMaxPooling2D()]),
    "global max, kept": Stack(lambda: [GlobalMaxPooling2D(keepdims=True)]),
    "global max 1-D": Stack(lambda: [GlobalMaxPooling1D()], SEQUENCE),
    "global average": Stack(lambda: [GlobalAveragePooling2D(keepdims=True)]),
    "global average 1-D": Stack(lambda: [GlobalAveragePooling1D()], SEQUENCE),
    "flatten": Stack(lambda: [Flatten(), Dense(3, "tanh")]),
    "reshape": Stack(lambda: [Reshape((3, -1, 2)), Conv2D(2, 2)]),
}


def model_of(stack: Stack, engine: str, outputs: int = 2) -> Sequential:
    """The stack between a 1 x 1 convolution, through which the gradient of its input is
    seen, and a dense layer."""
    first = Conv1D if len(stack.shape) == 2 else Conv2D
    head: list[Layer] = [Flatten(), Dense(outputs)]
    layers = [first(stack.shape[-1], 1, activation="tanh"), *stack.make(), *head]
    return compiled(engine, layers, stack.shape)


def samples(stack: Stack, rows: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, *stack.shape)).astype(np.float32)


def ready(model: Sequential) -> Sequential:
    """The model; skips the test where its engine does not have one of its layers."""
    try:
        model._ready_program()
    except NotImplementedError as error:
        pytest.skip(str(error))
    return model
