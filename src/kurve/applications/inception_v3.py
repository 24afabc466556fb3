"""Inception: convolutions of several sizes side by side (Szegedy et al. 2015)."""

from __future__ import annotations

from typing import Any

from kurve.applications.building import STORE, Plan, network
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.applications.imagenet_utils import tf as preprocess_input
from kurve.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    MaxPooling2D,
    concatenate,
)

__all__ = ["InceptionV3", "decode_predictions", "preprocess_input"]

Kernel = int | tuple[int, int]


def unit(
    x: Any, filters: int, kernel: Kernel, strides: int = 1, padding: str = "same"
) -> Any:
    """A convolution, normalized, and ReLU."""
    x = Conv2D(filters, kernel, strides=strides, padding=padding, use_bias=False)(x)
    return Activation("relu")(BatchNormalization(scale=False)(x))


def chain(x: Any, *steps: tuple[int, Kernel]) -> Any:
    """Such units, one after the other."""
    for filters, kernel in steps:
        x = unit(x, filters, kernel)
    return x


def stem(x: Any) -> Any:
    """The first layers."""
    x = unit(x, 32, 3, 2, "valid")
    x = unit(x, 32, 3, padding="valid")
    x = unit(x, 64, 3)
    x = MaxPooling2D(3, strides=2)(x)
    x = unit(x, 80, 1, padding="valid")
    x = unit(x, 192, 3, padding="valid")
    return MaxPooling2D(3, strides=2)(x)


def averaged(x: Any, filters: int) -> Any:
    """Means of 3x3, and a 1x1 convolution."""
    return unit(AveragePooling2D(3, strides=1, padding="same")(x), filters, 1)


def _body(plan: Plan, x: Any) -> Any:
    x = stem(x)
    for i, pooled in enumerate((32, 64, 64)):
        parts = [unit(x, 64, 1), chain(x, (48, 1), (64, 5))]
        parts += [chain(x, (64, 1), (96, 3), (96, 3)), averaged(x, pooled)]
        x = concatenate(parts, name=f"mixed{i}")
    parts = [unit(x, 384, 3, 2, "valid")]
    parts += [unit(chain(x, (64, 1), (96, 3)), 96, 3, 2, "valid")]
    x = concatenate([*parts, MaxPooling2D(3, strides=2)(x)], name="mixed3")
    for i, n in enumerate((128, 160, 160, 192), 4):
        row, column = (1, 7), (7, 1)
        parts = [unit(x, 192, 1), chain(x, (n, 1), (n, row), (192, column))]
        parts += [chain(x, (n, 1), (n, column), (n, row), (n, column), (192, row))]
        x = concatenate([*parts, averaged(x, 192)], name=f"mixed{i}")
    parts = [unit(chain(x, (192, 1)), 320, 3, 2, "valid")]
    deep = chain(x, (192, 1), (192, (1, 7)), (192, (7, 1)))
    parts += [unit(deep, 192, 3, 2, "valid"), MaxPooling2D(3, strides=2)(x)]
    x = concatenate(parts, name="mixed8")
    for i in range(2):
        parts = [unit(x, 320, 1), unit(x, 384, 1)]
        sides = [unit(parts[1], 384, (1, 3)), unit(parts[1], 384, (3, 1))]
        parts[1] = concatenate(sides, name=f"mixed9_{i}")
        deep = chain(x, (448, 1), (384, 3))
        parts += [concatenate([unit(deep, 384, (1, 3)), unit(deep, 384, (3, 1))])]
        x = concatenate([*parts, averaged(x, 192)], name=f"mixed{9 + i}")
    return plan.top(x) if plan.include_top else plan.pooled(x, named=False)


InceptionV3 = network(
    "InceptionV3",
    "inception_v3",
    299,
    75,
    f"{STORE}inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels{{}}.h5",
    "The network of Szegedy et al. 2015.",
    _body,
)
