"""Functions of `keras.ops` as operations in Keras's graphs: module and class of each,
and which of its parameters are arguments of the call.

`expand_dims(x, 1)` is
{"module": "keras.src.ops.numpy", "class_name": "ExpandDims", "config": {"axis": 1}}
with x as the argument of its call.
"""

from __future__ import annotations

import functools

MODULES = {
    "core": "cast saturate_cast scatter scatter_update slice slice_update "
    "stop_gradient unstack",
    "math": "erf erfc erfinv in_top_k logdet logsumexp rsqrt segment_max segment_min "
    "segment_prod segment_sum top_k fft fft2 ifft2 irfft rfft istft stft",
    "linalg": "cholesky det inv norm pinv solve solve_triangular",
    "image": "crop_images extract_patches pad_images resize",
    "nn": "adaptive_average_pool adaptive_max_pool depth_to_space fold psnr "
    "space_to_depth unfold average_pool binary_crossentropy "
    "categorical_crossentropy celu conv "
    "conv_transpose depthwise_conv dot_product_attention elu gelu glu hard_shrink "
    "hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid log_softmax max_pool "
    "moments multi_hot normalize one_hot polar relu relu6 selu separable_conv sigmoid "
    "silu soft_shrink softmax softplus softsign sparse_categorical_crossentropy "
    "sparse_plus sparse_sigmoid sparsemax squareplus tanh_shrink threshold ctc_loss",
}
"""Keras's modules of functions outside keras.src.ops.numpy."""

CALLED = frozenset(
    {
        "x",
        "x1",
        "x2",
        "xs",
        "condition",
        "indices",
        "key",
        "operands",
        "constant_values",
        "fill_value",
        "target",
        "output",
        "inputs",
        "variable",
        "weights",
        "kernel",
        "depthwise_kernel",
        "pointwise_kernel",
        "a",
        "images",
        "query",
        "value",
        "bias",
        "mask",
        "scale",
        "targets",
        "predictions",
        "rtol",
        "atol",
        "condlist",
        "choicelist",
        "default",
        "start_indices",
        "updates",
        "data",
        "segment_ids",
        "target_length",
        "output_length",
    }
)
"""Parameters of functions that are call arguments in Keras; the others are in the
operation's configuration."""


BY_NAME = frozenset(
    {"constant_values", "weights", "bias", "mask", "scale", "rtol", "atol", "default"}
)
"""Those of them that follow optional ones."""

NO_OPERATIONS = frozenset(
    {
        "batch_normalization",
        "layer_normalization",
        "rms_normalization",
        "categorical",
        "cdist",
        "dropout",
        "shuffle",
        "mask_of",
        "rearrange",
        "rgb_to_grayscale",
    }
)
"""Functions without a Keras operation that takes the same arguments."""


INITIALS = ("fft", "fft2", "ifft2", "irfft", "istft", "psnr", "rfft", "stft")
"""Functions whose class has their name in capitals."""


@functools.cache
def class_of(function: str) -> tuple[str, str]:
    """Keras's module and class of a function."""
    module = next((m for m, names in MODULES.items() if function in names.split()), "")
    name = "".join(part.capitalize() for part in function.split("_"))
    name = function.upper() if function in INITIALS else name.replace("Ctc", "CTC")
    return f"keras.src.ops.{module or 'numpy'}", name
