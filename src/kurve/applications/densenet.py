"""Densely connected networks (Huang, Liu, van der Maaten, Weinberger 2017)."""

from __future__ import annotations

from typing import Any

from kurve.applications.building import STORE, Network, Plan, network
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.applications.imagenet_utils import torch as preprocess_input
from kurve.applications.resnet import normalized, relu
from kurve.layers import (
    AveragePooling2D,
    Concatenate,
    Conv2D,
    MaxPooling2D,
    ZeroPadding2D,
)

__all__ = ["DenseNet121", "DenseNet169", "DenseNet201", "decode_predictions"]
__all__ += ["preprocess_input"]


def block(x: Any, name: str) -> Any:
    """32 more maps, from all that there are."""
    y = relu(normalized(x, f"{name}_0_bn"), f"{name}_0_relu")
    y = Conv2D(128, 1, use_bias=False, name=f"{name}_1_conv")(y)
    y = relu(normalized(y, f"{name}_1_bn"), f"{name}_1_relu")
    y = Conv2D(32, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(y)
    return Concatenate(name=f"{name}_concat")([x, y])


def halved(x: Any, name: str) -> Any:
    """Half the maps, of half the height and width."""
    x = relu(normalized(x, f"{name}_bn"), f"{name}_relu")
    x = Conv2D(x.shape[-1] // 2, 1, use_bias=False, name=f"{name}_conv")(x)
    return AveragePooling2D(2, name=f"{name}_pool")(x)


def densenet(layers: int, depths: tuple[int, ...]) -> Network:
    """The function for so many blocks in each of the four stages."""

    def body(plan: Plan, x: Any) -> Any:
        x = ZeroPadding2D(3)(x)
        x = Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
        x = relu(normalized(x, "conv1_bn"), "conv1_relu")
        x = MaxPooling2D(3, strides=2, name="pool1")(ZeroPadding2D(1)(x))
        for stage, depth in enumerate(depths, 2):
            for i in range(1, depth + 1):
                x = block(x, f"conv{stage}_block{i}")
            if stage < 5:
                x = halved(x, f"pool{stage}")
        return plan.ended(relu(normalized(x, "bn"), "relu"))

    return network(
        f"DenseNet{layers}",
        f"densenet{layers}",
        224,
        32,
        f"{STORE}densenet/densenet{layers}_weights_tf_dim_ordering_tf_kernels{{}}.h5",
        f"The {layers} layers of Huang, Liu, van der Maaten, Weinberger 2017.",
        body,
    )


DenseNet121 = densenet(121, (6, 12, 24, 16))
DenseNet169 = densenet(169, (6, 12, 32, 32))
DenseNet201 = densenet(201, (6, 12, 48, 32))
