"""Well-known image networks with Keras's names, layers and arguments.

The networks are built from Kurve's layers with random weights (`weights=None`), or with
the weights of a file: `weights="imagenet"` reads the file that Keras downloads, from
where Keras keeps it. Nothing is downloaded.

    model = applications.MobileNetV2((96, 96, 3), weights=None, classes=4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kurve.core.later import Later
from kurve.errors import no_attribute

if TYPE_CHECKING:
    from kurve.applications.densenet import DenseNet121 as DenseNet121
    from kurve.applications.densenet import DenseNet169 as DenseNet169
    from kurve.applications.densenet import DenseNet201 as DenseNet201
    from kurve.applications.efficientnet import EfficientNetB0 as EfficientNetB0
    from kurve.applications.efficientnet import EfficientNetB1 as EfficientNetB1
    from kurve.applications.efficientnet import EfficientNetB2 as EfficientNetB2
    from kurve.applications.efficientnet import EfficientNetB3 as EfficientNetB3
    from kurve.applications.efficientnet import EfficientNetB4 as EfficientNetB4
    from kurve.applications.efficientnet import EfficientNetB5 as EfficientNetB5
    from kurve.applications.efficientnet import EfficientNetB6 as EfficientNetB6
    from kurve.applications.efficientnet import EfficientNetB7 as EfficientNetB7
    from kurve.applications.inception_resnet_v2 import (
        InceptionResNetV2 as InceptionResNetV2,
    )
    from kurve.applications.inception_v3 import InceptionV3 as InceptionV3
    from kurve.applications.mobilenet import MobileNet as MobileNet
    from kurve.applications.mobilenet_v2 import MobileNetV2 as MobileNetV2
    from kurve.applications.resnet import ResNet50 as ResNet50
    from kurve.applications.resnet import ResNet101 as ResNet101
    from kurve.applications.resnet import ResNet152 as ResNet152
    from kurve.applications.resnet_v2 import ResNet50V2 as ResNet50V2
    from kurve.applications.resnet_v2 import ResNet101V2 as ResNet101V2
    from kurve.applications.resnet_v2 import ResNet152V2 as ResNet152V2
    from kurve.applications.vgg16 import VGG16 as VGG16
    from kurve.applications.vgg19 import VGG19 as VGG19
    from kurve.applications.xception import Xception as Xception

MODULES = (
    "densenet",
    "efficientnet",
    "imagenet_utils",
    "inception_resnet_v2",
    "inception_v3",
    "mobilenet",
    "mobilenet_v2",
    "resnet",
    "resnet50",
    "resnet_v2",
    "vgg16",
    "vgg19",
    "xception",
)
"""The modules, each with its networks, `preprocess_input` and `decode_predictions`."""

ABSENT = ("ConvNeXt", "EfficientNetV2", "MobileNetV3", "NASNet")


def _missing(name: str) -> Any:
    if name in MODULES:
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    if name.startswith(ABSENT):
        raise AttributeError(
            f"[kurve.applications] {name} is not built in. Received: {name!r}. "
            "Try EfficientNetB0 or MobileNetV2."
        )
    raise no_attribute(__name__, name, __dir__())


_later = Later(
    __name__,
    {
        "densenet": "DenseNet121 DenseNet169 DenseNet201",
        "efficientnet": " ".join(f"EfficientNetB{i}" for i in range(8)),
        "inception_resnet_v2": "InceptionResNetV2",
        "inception_v3": "InceptionV3",
        "mobilenet": "MobileNet",
        "mobilenet_v2": "MobileNetV2",
        "resnet": "ResNet50 ResNet101 ResNet152",
        "resnet_v2": "ResNet50V2 ResNet101V2 ResNet152V2",
        "vgg16": "VGG16",
        "vgg19": "VGG19",
        "xception": "Xception",
    },
)


def __getattr__(name: str) -> Any:
    return _later(name) if name in _later.homes else _missing(name)


def __dir__() -> list[str]:
    return sorted({*_later.homes, *MODULES})
