"""Residual networks (He, Zhang, Ren, Sun 2015)."""

from __future__ import annotations

from typing import Any

from kurve.applications.building import STORE, Network, Plan, network
from kurve.applications.imagenet_utils import caffe as preprocess_input
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    MaxPooling2D,
    ZeroPadding2D,
)

__all__ = ["ResNet50", "ResNet101", "ResNet152", "decode_predictions"]
__all__ += ["preprocess_input"]


def normalized(x: Any, name: str) -> Any:
    """Batch normalization as in these networks."""
    return BatchNormalization(epsilon=1.001e-5, name=name)(x)


def relu(x: Any, name: str) -> Any:
    """An Activation layer."""
    return Activation("relu", name=name)(x)


def stem(x: Any, before: bool) -> Any:
    """The first layers; `before`: normalized in the blocks, before convolutions."""
    x = ZeroPadding2D(3, name="conv1_pad")(x)
    x = Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    if not before:
        x = relu(normalized(x, "conv1_bn"), "conv1_relu")
    x = ZeroPadding2D(1, name="pool1_pad")(x)
    return MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def block(x: Any, filters: int, stride: int, projected: bool, name: str) -> Any:
    """Convolutions 1x1, 3x3, 1x1 beside a shortcut."""
    shortcut = x
    if projected:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = normalized(shortcut, f"{name}_0_bn")
    x = Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = relu(normalized(x, f"{name}_1_bn"), f"{name}_1_relu")
    x = Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = relu(normalized(x, f"{name}_2_bn"), f"{name}_2_relu")
    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = normalized(x, f"{name}_3_bn")
    return relu(Add(name=f"{name}_add")([shortcut, x]), f"{name}_out")


def resnet(layers: int, depths: tuple[int, ...]) -> Network:
    """The function for so many blocks in each of the four stages."""

    def body(plan: Plan, x: Any) -> Any:
        x = stem(x, before=False)
        for stage, depth in enumerate(depths):
            for i in range(1, depth + 1):
                stride = 2 if i == 1 and stage else 1
                name = f"conv{stage + 2}_block{i}"
                x = block(x, 64 * 2**stage, stride, i == 1, name)
        return plan.ended(x)

    return network(
        f"ResNet{layers}",
        f"resnet{layers}",
        224,
        32,
        f"{STORE}resnet/resnet{layers}_weights_tf_dim_ordering_tf_kernels{{}}.h5",
        f"The {layers} layers of He, Zhang, Ren, Sun 2015.",
        body,
    )


ResNet50 = resnet(50, (3, 4, 6, 3))
ResNet101 = resnet(101, (3, 4, 23, 3))
ResNet152 = resnet(152, (3, 8, 36, 3))
