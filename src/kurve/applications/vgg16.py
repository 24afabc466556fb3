"""VGG: stacks of 3x3 convolutions (Simonyan and Zisserman 2014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kurve.applications.building import STORE, Plan, network
from kurve.applications.imagenet_utils import caffe as preprocess_input
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.layers import Conv2D, Dense, Flatten, MaxPooling2D

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]


def vgg(depths: tuple[int, ...]) -> Callable[[Plan, Any], Any]:
    """The layers, with so many convolutions in each of the five blocks."""

    def body(plan: Plan, x: Any) -> Any:
        for i, (depth, filters) in enumerate(
            zip(depths, (64, 128, 256, 512, 512), strict=True), 1
        ):
            for j in range(1, depth + 1):
                name = f"block{i}_conv{j}"
                x = Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)
            x = MaxPooling2D(2, name=f"block{i}_pool")(x)
        if not plan.include_top:
            return plan.pooled(x, named=False)
        x = Flatten(name="flatten")(x)
        x = Dense(4096, activation="relu", name="fc1")(x)
        return plan.classifier(Dense(4096, activation="relu", name="fc2")(x))

    return body


VGG16 = network(
    "VGG16",
    "vgg16",
    224,
    32,
    f"{STORE}vgg16/vgg16_weights_tf_dim_ordering_tf_kernels{{}}.h5",
    "The 16 layers of Simonyan and Zisserman 2014.",
    vgg((2, 2, 3, 3, 3)),
)
