"""MobileNet with inverted residual blocks (Sandler et al. 2018)."""

from __future__ import annotations

from typing import Any

from kurve.applications.building import ARGUMENTS, STORE, Plan, Shape
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.applications.imagenet_utils import tf as preprocess_input
from kurve.applications.mobilenet import side
from kurve.layers import (
    Add,
    BatchNormalization,
    Conv2D,
    DepthwiseConv2D,
    ReLU,
    ZeroPadding2D,
)
from kurve.models import Model

__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]

STAGES = (
    (16, 1, 1),
    (24, 2, 2),
    (32, 3, 2),
    (64, 4, 2),
    (96, 3, 1),
    (160, 3, 2),
    (320, 1, 1),
)
"""Filters, number of blocks, strides of the first."""


def rounded(filters: float, divisor: int = 8) -> int:
    """The closest multiple of the divisor that is at most a tenth smaller."""
    near = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * filters else near


def padding(x: Any, kernel: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zeros around x before a strided convolution, for the size of "same"."""
    half = kernel // 2
    even = [1 if n is None else 1 - n % 2 for n in x.shape[1:3]]
    return (half - even[0], half), (half - even[1], half)


def _normalized(x: Any, name: str) -> Any:
    return BatchNormalization(epsilon=1e-3, momentum=0.999, name=name)(x)


def _pointwise(x: Any, filters: int, name: str, end: str) -> Any:
    x = Conv2D(filters, 1, padding="same", use_bias=False, name=name)(x)
    return _normalized(x, f"{name}{end}")


def _block(x: Any, filters: int, strides: int, widened: bool, name: str) -> Any:
    start, channels = x, x.shape[-1]
    if widened:
        x = _pointwise(x, 6 * channels, f"{name}expand", "_BN")
        x = ReLU(6.0, name=f"{name}expand_relu")(x)
    if strides == 2:
        x = ZeroPadding2D(padding(x, 3), name=f"{name}pad")(x)
    x = DepthwiseConv2D(
        3,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=False,
        name=f"{name}depthwise",
    )(x)
    x = _normalized(x, f"{name}depthwise_BN")
    x = ReLU(6.0, name=f"{name}depthwise_relu")(x)
    x = _pointwise(x, filters, f"{name}project", "_BN")
    if channels == filters and strides == 1:
        return Add(name=f"{name}add")([start, x])
    return x


def MobileNetV2(
    input_shape: Shape | None = None,
    alpha: float = 1.0,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
) -> Model:
    """The network of Sandler et al. 2018; alpha scales the numbers of filters."""
    size = side(input_shape, input_tensor, (96, 128, 160, 192, 224))
    plan = Plan(
        "MobileNetV2",
        size,
        32,
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
        name,
    )
    rows = plan.shape()[0]
    plan.name = name or f"mobilenetv2_{alpha:0.2f}_{size if plan.pretrained else rows}"
    start = plan.start()
    x = Conv2D(
        rounded(32 * alpha),
        3,
        strides=2,
        padding="same",
        use_bias=False,
        name="Conv1",
    )(start)
    x = ReLU(6.0, name="Conv1_relu")(_normalized(x, "bn_Conv1"))
    i = 0
    for filters, depth, strides in STAGES:
        for j in range(depth):
            name_ = f"block_{i}_" if i else "expanded_conv_"
            wide = rounded(int(filters * alpha))
            x = _block(x, wide, strides if j == 0 else 1, i > 0, name_)
            i += 1
    last = rounded(1280 * alpha) if alpha > 1.0 else 1280
    x = Conv2D(last, 1, use_bias=False, name="Conv_1")(x)
    x = ReLU(6.0, name="out_relu")(_normalized(x, "Conv_1_bn"))
    x = plan.ended(x, named=False)
    end = "" if include_top else "_no_top"
    file = f"tf_dim_ordering_tf_kernels_{float(alpha)}_{size}{end}.h5"
    return plan.model(start, x, f"{STORE}mobilenet_v2/mobilenet_v2_weights_{file}")


MobileNetV2.__doc__ = str(MobileNetV2.__doc__) + ARGUMENTS
