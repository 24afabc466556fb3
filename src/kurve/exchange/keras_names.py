"""Names that differ between Keras and Kurve: classes that only one of them has,
different names for the same class, and arguments without effect."""

from __future__ import annotations

from typing import Any

MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
"""The members of a .keras file."""

# ------------------------------------------------------ only Kurve has these

KURVE_LAYERS = ("FourierFeatures",)
KURVE_ACTIVATIONS = ("sin", "snake")
KURVE_INITIALIZERS = ("SineUniform",)
KURVE_LOSSES = ("GaussianNLL", "Pinball")
KURVE_SCHEDULES = ("OneCycle",)

# ------------------------------------------------------ other names in Keras

ACTIVATION_LAYERS: dict[str, tuple[str, ...]] = {
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "LeakyReLU": ("alpha", "negative_slope"),
    "ELU": ("alpha",),
    "Softmax": ("axis",),
    "Identity": (),
}
"""Layers that can be the activation of another layer, with their arguments."""

WRITTEN_AS = {"GroupQueryAttention": "GroupedQueryAttention"}
"""Classes whose groups of weights are named after another name of the class."""

LOSS_NAMES = {"huber_loss": "huber", "BCE": "bce"}
"""Keras's aliases for losses."""

METRIC_OF_LOSS = {
    "MeanSquaredError": "MeanSquaredError",
    "MeanAbsoluteError": "MeanAbsoluteError",
    "LogCosh": "LogCoshError",
    "BinaryCrossentropy": "BinaryCrossentropy",
    "CategoricalCrossentropy": "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy": "SparseCategoricalCrossentropy",
}
"""Kurve's losses as metrics, with the name of Keras's metric class."""

FUNCTION_WRAPPERS = ("LossFunctionWrapper", "MeanMetricWrapper")
"""Keras's wrapper classes for loss and metric functions."""

INNER_LAYERS = ("layer", "layers", "backward_layer", "cell", "cells")
"""Layer arguments that are layers themselves."""

OTHER_ATTRIBUTES = {
    ("Bidirectional", "layer"): "forward_layer",
    ("MultiHeadAttention", "output_shape"): "output_sizes",
}
"""Attributes whose name differs from the argument's."""

# ------------------------------------------------------ arguments without effect

Values = dict[str, tuple[Any, ...]]
"""Arguments that Kurve does not have, with their values without effect. None, which
means "not requested", never has an effect."""

LAYER_DEFAULTS: Values = {
    "data_format": ("channels_last",),
    "groups": (1,),  # in layers other than Conv1D and Conv2D
    "synchronized": (False,),
    "renorm": (False,),
    "fused": (True, False),
    "rms_scaling": (False,),
    "autocast": (True, False),
    "sparse": (False,),
    "ragged": (False,),
    "oov_method": ("floormod",),  # of lookups
    "salt": (None,),
    "vocabulary_dtype": ("int64", "int32", "string"),
    "optional": (False,),
    "implementation": (0, 1, 2),  # in recurrent layers, without effect
    "time_major": (False,),  # in Keras 2's recurrent layers
}
INITIALIZER_DEFAULTS: Values = {"dtype": ("float32",)}
LOSS_DEFAULTS: Values = {
    "reduction": ("sum_over_batch_size", "auto", "mean"),
    "axis": (-1,),
    "dtype": ("float32",),
}

IGNORED_OF_LAYERS = (
    "batch_input_shape",
    "batch_shape",
    "input_shape",
    "input_dtype",
    "renorm_momentum",
)
"""Arguments that are read elsewhere or irrelevant."""

_KERNEL = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")
IGNORED_OF_LAYER: dict[str, tuple[str, ...]] = {
    "DepthwiseConv1D": _KERNEL,
    "DepthwiseConv2D": _KERNEL,
    "SeparableConv1D": _KERNEL,
    "SeparableConv2D": _KERNEL,
    "RandomRotation": ("value_range",),
    "RandomTranslation": ("value_range",),
    "RandomFlip": ("value_range",),
    "RandomZoom": ("value_range",),
}
"""More such arguments, by layer: Keras writes them but its layer ignores them."""

IGNORED_OF_OPTIMIZERS = (
    "jit_compile",
    "is_legacy_optimizer",
)

NOT_WRITTEN = {
    "Pipeline": ("trainable", "dtype"),
    "SpatialDropout1D": ("trainable", "data_format"),
    "SpatialDropout2D": ("trainable",),
}
"""Arguments of Kurve's layers that Keras's layers reject in a file."""
