"""Stacks of image layers that the tests of engines share, and data for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kurve import Sequential
from kurve.layers import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    BatchNormalization,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Cropping3D,
    Dense,
    DepthwiseConv1D,
    DepthwiseConv2D,
    Flatten,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    Layer,
    LayerNormalization,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    Rescaling,
    Reshape,
    SeparableConv1D,
    SeparableConv2D,
    SpatialDropout1D,
    SpatialDropout2D,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)
from tests.engines.cases import compiled


class Stack(NamedTuple):
    """Layers to put between two others, and the shape of the first layer's samples."""

    make: Callable[[], list[Layer]]
    shape: tuple[int, ...] = (7, 6, 4)


SEQUENCE, VOLUME = (9, 4), (5, 4, 6, 2)
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
    "transposed": Stack(lambda: [Conv2DTranspose(3, 3, activation="tanh")]),
    "transposed, strides": Stack(lambda: [Conv2DTranspose(3, (2, 3), (3, 2))]),
    "transposed, same": Stack(
        lambda: [Conv2DTranspose(3, (3, 4), 2, "same", activation="silu")]
    ),
    "transposed, small kernel": Stack(lambda: [Conv2DTranspose(2, 1, 3, "same")]),
    "transposed, more": Stack(
        lambda: [Conv2DTranspose(2, 3, (2, 3), "same", (1, 2), use_bias=False)]
    ),
    "transposed, more, valid": Stack(lambda: [Conv2DTranspose(2, 2, 4, "valid", 1)]),
    "transposed, dilation": Stack(
        lambda: [Conv2DTranspose(2, (3, 2), dilation_rate=(1, 2))]
    ),
    "transposed 1-D": Stack(lambda: [Conv1DTranspose(3, 3, 2, "same")], SEQUENCE),
    "conv 3-D": Stack(lambda: [Conv3D(3, (3, 2, 3), activation="tanh")], VOLUME),
    "conv 3-D, same": Stack(
        lambda: [Conv3D(4, (2, 3, 4), (2, 1, 3), "same", activation="gelu")], VOLUME
    ),
    "conv 3-D, dilation": Stack(
        lambda: [Conv3D(3, 2, padding="same", dilation_rate=(3, 1, 2))], VOLUME
    ),
    "conv 3-D, strides": Stack(
        lambda: [Conv3D(3, (1, 2, 2), (3, 2, 4), "same", use_bias=False)], VOLUME
    ),
    "conv 3-D, groups": Stack(
        lambda: [Conv3D(4, 1), Conv3D(6, 3, padding="same", groups=2)], VOLUME
    ),
    "conv 3-D, along one axis": Stack(
        lambda: [Conv3D(2, (1, 1, 3)), Conv3D(2, (1, 3, 1)), Conv3D(2, (3, 1, 1))],
        VOLUME,
    ),
    "conv 3-D, frozen": Stack(
        lambda: [Conv3D(3, 2, trainable=False), Conv3D(3, 2, activation="softmax")],
        VOLUME,
    ),
    "max pooling 3-D": Stack(lambda: [MaxPooling3D()], VOLUME),
    "max pooling 3-D, same": Stack(
        lambda: [MaxPooling3D((2, 3, 3), (1, 2, 1), "same")], VOLUME
    ),
    "average pooling 3-D": Stack(
        lambda: [AveragePooling3D((3, 2, 4), 2, "same")], VOLUME
    ),
    "global max 3-D": Stack(lambda: [GlobalMaxPooling3D(keepdims=True)], VOLUME),
    "global average 3-D": Stack(lambda: [GlobalAveragePooling3D()], VOLUME),
    "cropping 3-D": Stack(lambda: [Cropping3D(((1, 2), (0, 1), (2, 0)))], VOLUME),
    "padding 3-D": Stack(
        lambda: [ZeroPadding3D(((1, 0), (0, 2), (1, 1))), Conv3D(2, 3)], VOLUME
    ),
    "upsampling 3-D": Stack(lambda: [UpSampling3D((2, 1, 3)), Conv3D(2, 3)], VOLUME),
    "padding": Stack(lambda: [ZeroPadding2D(((0, 2), (1, 0))), Conv2D(2, 3)]),
    "padding 1-D": Stack(lambda: [ZeroPadding1D((2, 1)), Conv1D(2, 3)], SEQUENCE),
    "upsampling": Stack(lambda: [UpSampling2D((2, 3)), Conv2D(2, 3)]),
    "upsampling, bilinear": Stack(
        lambda: [UpSampling2D((2, 3), interpolation="bilinear"), Conv2D(2, 3)]
    ),
    "upsampling 1-D": Stack(lambda: [UpSampling1D(3), Conv1D(2, 4)], SEQUENCE),
    "batch normalization": Stack(
        lambda: [BatchNormalization(momentum=0.9), Conv2D(2, 3, activation="tanh")]
    ),
    "batch normalization, bare": Stack(
        lambda: [BatchNormalization(center=False, scale=False), Dense(3, "tanh")]
    ),
    "batch normalization, penalty": Stack(
        lambda: [BatchNormalization(gamma_regularizer="l2", epsilon=0.1)]
    ),
    "batch normalization, frozen": Stack(
        lambda: [
            BatchNormalization(
                moving_mean_initializer="random_normal",
                moving_variance_initializer="he_uniform",
                epsilon=2.0,
                trainable=False,
            )
        ]
    ),
    "batch normalization of rows": Stack(
        lambda: [Flatten(), Dense(5), BatchNormalization(), Dense(3, "tanh")]
    ),
    "layer normalization": Stack(lambda: [LayerNormalization(), Conv2D(2, 2)]),
    "layer normalization of all": Stack(
        lambda: [LayerNormalization((1, 2, 3), 0.01), Conv2D(2, 2)]
    ),
    "layer normalization, bare": Stack(
        lambda: [LayerNormalization((-2, -1), center=False), Conv1D(3, 2)], SEQUENCE
    ),
    "rescaling": Stack(lambda: [Rescaling(0.3, -0.1), Rescaling([1.0, 2, -3, 0.5])]),
    "rescaling, offsets": Stack(lambda: [Rescaling(2.0, [0.1, 0.2, 0.3, -0.4])]),
    "noise": Stack(lambda: [GaussianNoise(0.2), Conv2D(2, 2, activation="tanh")]),
    "spatial dropout": Stack(lambda: [SpatialDropout2D(0.4), Conv2D(2, 2)]),
    "spatial dropout 1-D": Stack(lambda: [SpatialDropout1D(0.4)], SEQUENCE),
    "translation": Stack(lambda: [RandomTranslation(0.3, (-0.1, 0.4))]),
    "translation, nearest": Stack(
        lambda: [RandomTranslation(0.5, 0.5, "wrap", "nearest")]
    ),
    "rotation": Stack(lambda: [RandomRotation(0.2), Conv2D(2, 2)]),
    "rotation, filled": Stack(
        lambda: [RandomRotation((0.1, 0.4), "constant", fill_value=0.7)]
    ),
    "rotation, wrapped": Stack(lambda: [RandomRotation(1.0, "wrap")]),
    "rotation, nearest": Stack(lambda: [RandomRotation(0.3, "nearest", "nearest")]),
    "flip": Stack(lambda: [RandomFlip(), Conv2D(2, 2)]),
    "flip, horizontal": Stack(lambda: [RandomFlip("horizontal"), Conv2D(2, 2)]),
    "flatten": Stack(lambda: [Flatten(), Dense(3, "tanh")]),
    "reshape": Stack(lambda: [Reshape((3, -1, 2)), Conv2D(2, 2)]),
}


def model_of(stack: Stack, engine: str, outputs: int = 2) -> Sequential:
    """The stack between a 1 x 1 convolution, whose gradient shows that of the stack's
    input, and a dense layer."""
    first = {2: Conv1D, 3: Conv2D, 4: Conv3D}[len(stack.shape)]
    head: list[Layer] = [Flatten(), Dense(outputs)]
    layers = [first(stack.shape[-1], 1, activation="tanh"), *stack.make(), *head]
    return compiled(engine, layers, stack.shape)


def samples(stack: Stack, rows: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, *stack.shape)).astype(np.float32)
