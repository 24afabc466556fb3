"""VGG with 19 layers (Simonyan and Zisserman 2014)."""

from __future__ import annotations

from kurve.applications.building import STORE, network
from kurve.applications.imagenet_utils import caffe as preprocess_input
from kurve.applications.imagenet_utils import decode_predictions as decode_predictions
from kurve.applications.vgg16 import vgg

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]

VGG19 = network(
    "VGG19",
    "vgg19",
    224,
    32,
    f"{STORE}vgg19/vgg19_weights_tf_dim_ordering_tf_kernels{{}}.h5",
    "The 19 layers of Simonyan and Zisserman 2014.",
    vgg((2, 2, 4, 4, 4)),
)
