"""MobileNet: depthwise and pointwise convolutions (Howard et al. 2017)."""

from __future__ import annotations

from typing import Any

from kurve.applications.building import ARGUMENTS, STORE, Plan, Shape
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.applications.imagenet_utils import tf as preprocess_input
from kurve.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    ReLU,
    Reshape,
    ZeroPadding2D,
)
from kurve.models import Model

__all__ = ["MobileNet", "decode_predictions", "preprocess_input"]

BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
"""Filters and strides."""


def side(shape: Shape | None, tensor: Any, sizes: tuple[int, ...]) -> int:
    """Height and width of the trained network closest to the input."""
    if shape is None and tensor is not None:
        shape = tensor.shape[1:]
    if shape is None or len(shape) != 3 or shape[0] != shape[1]:
        return 224
    rows = shape[0]
    return rows if rows in sizes else 224


def _normalized(x: Any, name: str) -> Any:
    return ReLU(6.0, name=f"{name}_relu")(BatchNormalization(name=f"{name}_bn")(x))


def MobileNet(
    input_shape: Shape | None = None,
    alpha: float = 1.0,
    depth_multiplier: int = 1,
    dropout: float = 1e-3,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
) -> Model:
    """The network of Howard et al. 2017; alpha scales the numbers of filters,
    depth_multiplier those of the depthwise convolutions; dropout is the rate before the
    classifier."""
    size = side(input_shape, None, (128, 160, 192, 224))
    plan = Plan(
        "MobileNet",
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
    plan.name = name or f"mobilenet_{alpha:0.2f}_{size if plan.pretrained else rows}"
    start = plan.start()
    x = Conv2D(
        int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1"
    )(start)
    x = _normalized(x, "conv1")
    for i, (filters, strides) in enumerate(BLOCKS, 1):
        padding = "same"
        if strides == 2:
            x = ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
            padding = "valid"
        x = DepthwiseConv2D(
            3,
            strides=strides,
            padding=padding,
            depth_multiplier=depth_multiplier,
            use_bias=False,
            name=f"conv_dw_{i}",
        )(x)
        x = _normalized(x, f"conv_dw_{i}")
        x = Conv2D(int(filters * alpha), 1, use_bias=False, name=f"conv_pw_{i}")(x)
        x = _normalized(x, f"conv_pw_{i}")
    if include_top:
        x = GlobalAveragePooling2D(keepdims=True)(x)
        x = Dropout(dropout, name="dropout")(x)
        x = Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        x = Reshape((classes,), name="reshape_2")(x)
        x = Activation(classifier_activation, name="predictions")(x)
    else:
        x = plan.pooled(x, named=False)
    tenths, rest = divmod(round(100 * alpha), 10)
    text = "1_0" if alpha == 1.0 else f"{tenths}_{rest}"
    end = "" if include_top else "_no_top"
    return plan.model(start, x, f"{STORE}mobilenet/mobilenet_{text}_{size}_tf{end}.h5")


MobileNet.__doc__ = str(MobileNet.__doc__) + ARGUMENTS
