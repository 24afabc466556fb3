"""Residual networks that normalize before each convolution (He et al. 2016)."""

from __future__ import annotations

from typing import Any

from kurve.applications.building import STORE, Network, Plan, network
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.applications.imagenet_utils import tf as preprocess_input
from kurve.applications.resnet import normalized, relu, stem
from kurve.layers import Add, Conv2D, MaxPooling2D, ZeroPadding2D

__all__ = ["ResNet50V2", "ResNet101V2", "ResNet152V2", "decode_predictions"]
__all__ += ["preprocess_input"]


def block(x: Any, filters: int, stride: int, projected: bool, name: str) -> Any:
    """Normalization and ReLU before convolutions 1x1, 3x3, 1x1 beside a shortcut."""
    before = relu(normalized(x, f"{name}_preact_bn"), f"{name}_preact_relu")
    shortcut = x
    if projected:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(before)
    elif stride > 1:
        shortcut = MaxPooling2D(1, strides=stride)(x)
    x = Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(before)
    x = relu(normalized(x, f"{name}_1_bn"), f"{name}_1_relu")
    x = ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = relu(normalized(x, f"{name}_2_bn"), f"{name}_2_relu")
    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return Add(name=f"{name}_out")([shortcut, x])


def resnet(layers: int, depths: tuple[int, ...]) -> Network:
    """The function for so many blocks in each of the four stages."""

    def body(plan: Plan, x: Any) -> Any:
        x = stem(x, before=True)
        for stage, depth in enumerate(depths):
            for i in range(1, depth + 1):
                stride = 2 if i == depth and stage < 3 else 1
                name = f"conv{stage + 2}_block{i}"
                x = block(x, 64 * 2**stage, stride, i == 1, name)
        return plan.ended(relu(normalized(x, "post_bn"), "post_relu"))

    return network(
        f"ResNet{layers}V2",
        f"resnet{layers}v2",
        224,
        32,
        f"{STORE}resnet/resnet{layers}v2_weights_tf_dim_ordering_tf_kernels{{}}.h5",
        f"The {layers} layers of He, Zhang, Ren, Sun 2016.",
        body,
    )


ResNet50V2 = resnet(50, (3, 4, 6, 3))
ResNet101V2 = resnet(101, (3, 4, 23, 3))
ResNet152V2 = resnet(152, (3, 8, 36, 3))
