"""Xception: depthwise separable convolutions (Chollet 2017)."""

from __future__ import annotations

from typing import Any

from kurve.applications.building import STORE, Plan, network
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.applications.imagenet_utils import tf as preprocess_input
from kurve.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    MaxPooling2D,
    SeparableConv2D,
    add,
)

__all__ = ["Xception", "decode_predictions", "preprocess_input"]


def _plain(x: Any, filters: int, strides: int, name: str) -> Any:
    x = Conv2D(filters, 3, strides=strides, use_bias=False, name=name)(x)
    x = BatchNormalization(name=f"{name}_bn")(x)
    return Activation("relu", name=f"{name}_act")(x)


def _separable(x: Any, filters: int, name: str) -> Any:
    x = SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return BatchNormalization(name=f"{name}_bn")(x)


def _body(plan: Plan, x: Any) -> Any:
    x = _plain(x, 32, 2, "block1_conv1")
    x = _plain(x, 64, 1, "block1_conv2")
    for i, n in ((2, 128), (3, 256), (4, 728)):
        x = _shrunk(x, i, (n, n), first=i == 2)
    for i in range(5, 13):
        shortcut = x
        for j in range(1, 4):
            name = f"block{i}_sepconv{j}"
            x = _separable(Activation("relu", name=f"{name}_act")(x), 728, name)
        x = add([x, shortcut])
    x = _shrunk(x, 13, (728, 1024))
    for j, filters in enumerate((1536, 2048), 1):
        name = f"block14_sepconv{j}"
        x = Activation("relu", name=f"{name}_act")(_separable(x, filters, name))
    return plan.top(x) if plan.include_top else plan.pooled(x, named=False)


def _shrunk(x: Any, i: int, filters: tuple[int, int], first: bool = False) -> Any:
    """Two separable convolutions and pooling, beside a strided 1x1 convolution."""
    last = filters[-1]
    shortcut = Conv2D(last, 1, strides=2, padding="same", use_bias=False)(x)
    shortcut = BatchNormalization()(shortcut)
    for j, n in enumerate(filters, 1):
        name = f"block{i}_sepconv{j}"
        if not (first and j == 1):
            x = Activation("relu", name=f"{name}_act")(x)
        x = _separable(x, n, name)
    x = MaxPooling2D(3, strides=2, padding="same", name=f"block{i}_pool")(x)
    return add([x, shortcut])


Xception = network(
    "Xception",
    "xception",
    299,
    71,
    f"{STORE}xception/xception_weights_tf_dim_ordering_tf_kernels{{}}.h5",
    "The network of Chollet 2017.",
    _body,
)
