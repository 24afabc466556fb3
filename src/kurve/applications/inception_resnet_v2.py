"""Inception blocks with shortcuts (Szegedy, Ioffe, Vanhoucke, Alemi 2016)."""

from __future__ import annotations

from typing import Any

from kurve.applications.building import STORE, Plan, network
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.applications.imagenet_utils import tf as preprocess_input
from kurve.applications.inception_v3 import Kernel, averaged, chain, stem, unit
from kurve.layers import (
    Activation,
    BatchNormalization,
    Concatenate,
    Conv2D,
    MaxPooling2D,
)
from kurve.layers.merging import Merge

__all__ = ["InceptionResNetV2", "decode_predictions", "preprocess_input"]

BLOCKS: dict[str, tuple[tuple[tuple[int, Kernel], ...], ...]] = {
    "block35": (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3))),
    "block17": (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1)))),
    "block8": (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1)))),
}


class CustomScaleLayer(Merge):
    """x + scale * y, with Keras's name."""

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}

    def merge(self, inputs: list[Any]) -> Any:
        return inputs[0] + inputs[1] * self.scale


def _block(x: Any, kind: str, i: int, scale: float, active: bool = True) -> Any:
    parts = [chain(x, *steps) for steps in BLOCKS[kind]]
    mixed = Concatenate(name=f"{kind}_{i}_mixed")(parts)
    up = Conv2D(x.shape[-1], 1, padding="same", name=f"{kind}_{i}_conv")(mixed)
    x = CustomScaleLayer(scale)([x, up])
    return Activation("relu", name=f"{kind}_{i}_ac")(x) if active else x


def _body(plan: Plan, x: Any) -> Any:
    x = stem(x)
    parts = [unit(x, 96, 1), chain(x, (48, 1), (64, 5))]
    parts += [chain(x, (64, 1), (96, 3), (96, 3)), averaged(x, 64)]
    x = Concatenate(name="mixed_5b")(parts)
    for i in range(1, 11):
        x = _block(x, "block35", i, 0.17)
    parts = [unit(x, 384, 3, 2, "valid")]
    parts += [unit(chain(x, (256, 1), (256, 3)), 384, 3, 2, "valid")]
    x = Concatenate(name="mixed_6a")([*parts, MaxPooling2D(3, strides=2)(x)])
    for i in range(1, 21):
        x = _block(x, "block17", i, 0.1)
    parts = [unit(chain(x, (256, 1)), 384, 3, 2, "valid")]
    parts += [unit(chain(x, (256, 1)), 288, 3, 2, "valid")]
    parts += [unit(chain(x, (256, 1), (288, 3)), 320, 3, 2, "valid")]
    x = Concatenate(name="mixed_7a")([*parts, MaxPooling2D(3, strides=2)(x)])
    for i in range(1, 10):
        x = _block(x, "block8", i, 0.2)
    x = _block(x, "block8", 10, 1.0, active=False)
    x = Conv2D(1536, 1, padding="same", use_bias=False, name="conv_7b")(x)
    x = BatchNormalization(scale=False, name="conv_7b_bn")(x)
    x = Activation("relu", name="conv_7b_ac")(x)
    return plan.top(x) if plan.include_top else plan.pooled(x, named=False)


InceptionResNetV2 = network(
    "InceptionResNetV2",
    "inception_resnet_v2",
    299,
    75,
    f"{STORE}inception_resnet_v2/"
    "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels{}.h5",
    "The network of Szegedy, Ioffe, Vanhoucke, Alemi 2016.",
    _body,
)
