"""EfficientNet: depth, width and size scaled together (Tan and Le 2019)."""

from __future__ import annotations

import math
from typing import Any

from kurve.applications.building import Network, Plan, network
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.applications.imagenet_utils import unchanged as preprocess_input
from kurve.applications.mobilenet_v2 import padding, rounded
from kurve.initializers import VarianceScaling
from kurve.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    Normalization,
    Rescaling,
    Reshape,
    ZeroPadding2D,
    add,
    multiply,
)

__all__ = [f"EfficientNetB{i}" for i in range(8)]
__all__ += ["decode_predictions", "preprocess_input"]

STAGES = (
    (3, 1, 32, 16, 1, 1),
    (3, 2, 16, 24, 6, 2),
    (5, 2, 24, 40, 6, 2),
    (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1),
    (5, 4, 112, 192, 6, 2),
    (3, 1, 192, 320, 6, 1),
)
"""Kernel, number of blocks, filters in and out, widening, strides of the first."""

DEVIATION = (0.229, 0.224, 0.225)


def _kernels() -> Any:
    return VarianceScaling(2.0, "fan_out", "truncated_normal")


def _pointwise(x: Any, filters: int, name: str) -> Any:
    return Conv2D(
        filters,
        1,
        padding="same",
        use_bias=False,
        kernel_initializer=_kernels(),
        name=name,
    )(x)


def _normalized(x: Any, name: str, active: str | None = None) -> Any:
    x = BatchNormalization(name=name)(x)
    return x if active is None else Activation("swish", name=active)(x)


def _gate(x: Any, name: str, filters: int, activation: str) -> Any:
    return Conv2D(
        filters,
        1,
        padding="same",
        activation=activation,
        kernel_initializer=_kernels(),
        name=name,
    )(x)


def _block(
    x: Any,
    kernel: int,
    within: int,
    filters: int,
    wider: int,
    strides: int,
    rate: float,
    name: str,
) -> Any:
    start, wide = x, within * wider
    if wider != 1:
        x = _pointwise(x, wide, f"{name}expand_conv")
        x = _normalized(x, f"{name}expand_bn", f"{name}expand_activation")
    if strides == 2:
        x = ZeroPadding2D(padding(x, kernel), name=f"{name}dwconv_pad")(x)
    x = DepthwiseConv2D(
        kernel,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=False,
        depthwise_initializer=_kernels(),
        name=f"{name}dwconv",
    )(x)
    x = _normalized(x, f"{name}bn", f"{name}activation")
    gate = GlobalAveragePooling2D(name=f"{name}se_squeeze")(x)
    gate = Reshape((1, 1, wide), name=f"{name}se_reshape")(gate)
    gate = _gate(gate, f"{name}se_reduce", max(1, within // 4), "swish")
    gate = _gate(gate, f"{name}se_expand", wide, "sigmoid")
    x = multiply([x, gate], name=f"{name}se_excite")
    x = _normalized(_pointwise(x, filters, f"{name}project_conv"), f"{name}project_bn")
    if strides == 1 and within == filters:
        if rate > 0:
            x = Dropout(rate, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
        x = add([x, start], name=f"{name}add")
    return x


def efficientnet(i: int, width: float, depth: float, size: int, rate: float) -> Network:
    """The function for one of the eight networks."""

    def body(plan: Plan, x: Any) -> Any:
        x = Normalization(axis=-1)(Rescaling(1.0 / 255.0)(x))
        if plan.pretrained:
            x = Rescaling([1.0 / math.sqrt(d) for d in DEVIATION])(x)
        x = ZeroPadding2D(padding(x, 3), name="stem_conv_pad")(x)
        x = Conv2D(
            rounded(32 * width),
            3,
            strides=2,
            use_bias=False,
            kernel_initializer=_kernels(),
            name="stem_conv",
        )(x)
        x = _normalized(x, "stem_bn", "stem_activation")
        counts = [math.ceil(depth * stage[1]) for stage in STAGES]
        done = 0
        for s, (kernel, _, within, filters, wider, strides) in enumerate(STAGES):
            within, filters = rounded(within * width), rounded(filters * width)
            for j in range(counts[s]):
                x = _block(
                    x,
                    kernel,
                    filters if j else within,
                    filters,
                    wider,
                    1 if j else strides,
                    0.2 * done / sum(counts),
                    f"block{s + 1}{chr(ord('a') + j)}_",
                )
                done += 1
        x = _pointwise(x, rounded(1280 * width), "top_conv")
        x = _normalized(x, "top_bn", "top_activation")
        if not plan.include_top:
            return plan.pooled(x)
        x = GlobalAveragePooling2D(name="avg_pool")(x)
        x = Dropout(rate, name="top_dropout")(x)
        last = VarianceScaling(1.0 / 3.0, "fan_out", "uniform")
        return plan.classifier(x, kernel_initializer=last)

    return network(
        f"EfficientNetB{i}",
        f"efficientnetb{i}",
        size,
        32,
        f"https://storage.googleapis.com/keras-applications/efficientnetb{i}{{}}.h5",
        f"The network B{i} of Tan and Le 2019.",
        body,
    )


EfficientNetB0 = efficientnet(0, 1.0, 1.0, 224, 0.2)
EfficientNetB1 = efficientnet(1, 1.0, 1.1, 240, 0.2)
EfficientNetB2 = efficientnet(2, 1.1, 1.2, 260, 0.3)
EfficientNetB3 = efficientnet(3, 1.2, 1.4, 300, 0.3)
EfficientNetB4 = efficientnet(4, 1.4, 1.8, 380, 0.4)
EfficientNetB5 = efficientnet(5, 1.6, 2.2, 456, 0.4)
EfficientNetB6 = efficientnet(6, 1.8, 2.6, 528, 0.5)
EfficientNetB7 = efficientnet(7, 2.0, 3.1, 600, 0.5)
