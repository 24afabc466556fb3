"""The functions of `kurve.ops` that are composed of others: on arrays and in a model,
against Keras's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import kurve

rng = np.random.default_rng(3)
X = rng.normal(size=(4, 3, 6)).astype(np.float32)
Z = rng.normal(size=(4, 3, 6)).astype(np.float32)
SQUARE = rng.normal(size=(4, 5, 5)).astype(np.float32)
P = np.exp(X) / np.exp(X).sum(-1, keepdims=True)
TARGET = np.eye(6, dtype=np.float32)[rng.integers(0, 6, (4, 3))]
IMAGES = rng.normal(size=(2, 7, 6, 4)).astype(np.float32)
RGB = rng.uniform(size=(2, 6, 6, 3)).astype(np.float32)
KERNEL = rng.normal(size=(3, 2, 4, 5)).astype(np.float32)
DEEP = rng.normal(size=(2, 4, 6, 8)).astype(np.float32)
FOLDED = rng.normal(size=(2, 18, 12)).astype(np.float32)
TRANSPOSED = rng.normal(size=(3, 2, 5, 4)).astype(np.float32)
NUMBERS = rng.integers(0, 6, (4, 3, 2))
Q, K, V = rng.normal(size=(3, 2, 5, 2, 4)).astype(np.float32)

NAMES = (
    "relu6",
    "elu",
    "celu",
    "selu",
    "gelu",
    "silu",
    "swish",
    "leaky_relu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "softsign",
    "log_sigmoid",
    "squareplus",
    "sparse_plus",
    "sparse_sigmoid",
    "tanh_shrink",
    "soft_shrink",
    "hard_shrink",
    "glu",
    "fabs",
    "cbrt",
    "exp2",
    "deg2rad",
    "rad2deg",
    "sinc",
    "trunc",
    "nan_to_num",
    "isposinf",
    "isneginf",
    "diff",
    "top_k",
    "layer_normalization",
    "rms_normalization",
)

TABLE: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    **{name: (lambda o, x, name=name: getattr(o, name)(x), (X,)) for name in NAMES},
    "exact gelu": (lambda o, x: o.gelu(x, approximate=False), (X,)),
    "elu 0.3": (lambda o, x: o.elu(x, 0.3), (X,)),
    "threshold": (lambda o, x: o.threshold(x, 0.1, -2.0), (X,)),
    "erfinv": (lambda o, x: o.erfinv(o.tanh(x)), (X,)),
    "binary": (lambda o, x, y: o.binary_crossentropy(y, o.sigmoid(x)), (X, TARGET)),
    "binary of logits": (
        lambda o, x, y: o.binary_crossentropy(y, x, from_logits=True),
        (X, TARGET),
    ),
    "categorical": (lambda o, p, y: o.categorical_crossentropy(y, p), (P, TARGET)),
    "categorical of logits": (
        lambda o, x, y: o.categorical_crossentropy(y, x, from_logits=True),
        (X, TARGET),
    ),
    "sparse": (
        lambda o, x, y: o.sparse_categorical_crossentropy(y, x, from_logits=True),
        (X, TARGET.argmax(-1)),
    ),
    "hypot": (lambda o, x, y: o.hypot(x, y), (X, Z)),
    "heaviside": (lambda o, x: o.heaviside(x, 0.5), (X,)),
    "divide_no_nan": (lambda o, x, y: o.divide_no_nan(x, o.relu(y)), (X, Z)),
    "logaddexp2": (lambda o, x, y: o.logaddexp2(x, y), (X, Z)),
    "logical_xor": (lambda o, x, y: o.logical_xor(x > 0, y > 0), (X, Z)),
    "isclose": (lambda o, x, y: o.isclose(x, y, atol=0.3), (X, Z)),
    "average": (lambda o, x: o.average(x, axis=-1), (X,)),
    "average with weights": (
        lambda o, x: o.average(x, axis=-1, weights=np.arange(6, dtype=np.float32)),
        (X,),
    ),
    "diff twice": (lambda o, x: o.diff(x, 2, axis=1), (X,)),
    "tril": (lambda o, x: o.tril(x, 1), (X,)),
    "triu": (lambda o, x: o.triu(x, -1), (X,)),
    "diagonal": (lambda o, x: o.diagonal(x, 1, -2, -1), (SQUARE,)),
    "trace": (lambda o, x: o.trace(x, 0, 1, 2), (SQUARE,)),
    "roll": (lambda o, x: o.roll(x, 2, axis=-1), (X,)),
    "unstack": (lambda o, x: o.unstack(x, axis=1), (X,)),
    "hstack": (lambda o, x, y: o.hstack([x, y]), (X, Z)),
    "take": (lambda o, x: o.take(x, [2, 1, 0, 0, 5, -1], axis=-1), (X,)),
    "take of a table": (
        lambda o, x: o.take(x, np.array([[0, 2, 4], [1, 1, 1]]), axis=2),
        (X,),
    ),
    "take_along_axis": (
        lambda o, x, i: o.take_along_axis(x, o.cast(i, "int32"), axis=-1),
        (X, NUMBERS),
    ),
    "top_k": (lambda o, x: o.top_k(x, 3), (X,)),
    "sort": (lambda o, x: o.sort(x), (X,)),
    "sort of equal numbers": (lambda o, x: o.sort(o.round(x), axis=1), (X,)),
    "argsort": (lambda o, x: o.argsort(x, axis=1), (X,)),
    "in_top_k": (
        lambda o, x, y: o.in_top_k(o.cast(y, "int32"), x, 2),
        (X[:, 0], TARGET[:, 0].argmax(-1)),
    ),
    "select": (
        lambda o, x, y: o.select([x > 0.5, y > 0.0], [x, y], 7.0),
        (X, Z),
    ),
    "moments": (lambda o, x: o.moments(x, axes=[1, 2]), (X,)),
    "batch_normalization": (
        lambda o, x: o.batch_normalization(
            x,
            np.arange(3, dtype=np.float32),
            np.arange(1, 4, dtype=np.float32),
            1,
            np.ones(3, np.float32),
            np.full(3, 2, np.float32),
        ),
        (X,),
    ),
    "attention": (lambda o, q, k, v: o.dot_product_attention(q, k, v), (Q, K, V)),
    "causal attention": (
        lambda o, q, k, v: o.dot_product_attention(q, k, v, is_causal=True),
        (Q, K, V),
    ),
    "max_pool": (lambda o, x: o.max_pool(x, 2, 1, padding="same"), (IMAGES,)),
    "average_pool": (
        lambda o, x: o.average_pool(x, (2, 3), padding="valid"),
        (IMAGES,),
    ),
    "conv": (lambda o, x: o.conv(x, KERNEL, (2, 1), padding="same"), (IMAGES,)),
    "conv valid": (
        lambda o, x: o.conv(x, KERNEL, padding="valid", dilation_rate=2),
        (IMAGES,),
    ),
    "depthwise_conv": (
        lambda o, x: o.depthwise_conv(x, KERNEL[..., :2], padding="same"),
        (IMAGES,),
    ),
    "separable_conv": (
        lambda o, x: o.separable_conv(
            x, KERNEL[..., :1], KERNEL[:1, :1], padding="valid"
        ),
        (IMAGES,),
    ),
    "patches": (lambda o, x: o.image.extract_patches(x, 2), (RGB,)),
    "patches same": (
        lambda o, x: o.image.extract_patches(x, (3, 2), strides=2, padding="same"),
        (RGB,),
    ),
    "gray": (lambda o, x: o.image.rgb_to_grayscale(x), (RGB,)),
    "resize": (lambda o, x: o.image.resize(x, (3, 9)), (RGB,)),
    "pad images": (lambda o, x: o.image.pad_images(x, 1, 2, 3, 4), (RGB,)),
    "crop images": (
        lambda o, x: o.image.crop_images(x, 1, 2, target_height=3, target_width=3),
        (RGB,),
    ),
    "slice": (lambda o, x: o.slice(x, [0, 1, 2], [4, 2, 3]), (X,)),
    "depth_to_space": (lambda o, x: o.depth_to_space(x, 2), (DEEP,)),
    "depth_to_space first": (
        lambda o, x: o.depth_to_space(x, 2, "channels_first"),
        (DEEP.transpose(0, 3, 1, 2),),
    ),
    "space_to_depth": (lambda o, x: o.space_to_depth(x, 2), (DEEP,)),
    "space_to_depth first": (
        lambda o, x: o.space_to_depth(x, 2, "channels_first"),
        (DEEP.transpose(0, 3, 1, 2),),
    ),
    "unfold": (
        lambda o, x: o.unfold(x, (2, 3), (2, 1), (1, 0), (2, 1)),
        (IMAGES.transpose(0, 3, 1, 2),),
    ),
    "fold": (lambda o, x: o.fold(x, (5, 6), (2, 3), (2, 1), (1, 0), (2, 1)), (FOLDED,)),
    "rearrange": (
        lambda o, x: o.rearrange(x, "b (h k) w c -> b (k c) h w", k=2),
        (DEEP,),
    ),
    "cdist": (lambda o, x, y: o.cdist(x, y), (X, Z[:, :2])),
    "adaptive mean": (lambda o, x: o.adaptive_average_pool(x, (3, 4)), (IMAGES,)),
    "adaptive max": (lambda o, x: o.adaptive_max_pool(x, 4), (IMAGES,)),
    "adaptive max first": (
        lambda o, x: o.adaptive_max_pool(x, 2, "channels_first"),
        (IMAGES,),
    ),
    **{
        f"conv_transpose {s} {p} {d} {e}": (
            lambda o, x, s=s, p=p, d=d, e=e: o.conv_transpose(
                x, TRANSPOSED, s, p, e, dilation_rate=d
            ),
            (IMAGES,),
        )
        for p in ("valid", "same")
        for s, d, e in (
            (1, 1, None),
            (2, 1, None),
            (3, 1, None),
            (2, 1, 1),
            (1, 2, None),
        )
    },
    "fori_loop": (lambda o, x: o.fori_loop(0, 3, lambda i, v: v * 0.5 + i, x), (X,)),
}


def flat(y: Any) -> list[np.ndarray]:
    parts = y if isinstance(y, (tuple, list)) else [y]
    return [np.asarray(keras.ops.convert_to_numpy(part), np.float32) for part in parts]


@pytest.mark.parametrize("name", TABLE)
def test_equals_keras(name: str, engine: str) -> None:
    call, arrays = TABLE[name]
    expected = flat(call(keras.ops, *map(keras.ops.convert_to_tensor, arrays)))
    on_arrays = flat(call(kurve.ops, *arrays))
    if name == "slice":  # whose window along the batch depends on its size
        traced = on_arrays
    else:
        inputs = [kurve.Input(a.shape[1:]) for a in arrays]
        outputs = call(kurve.ops, *inputs)
        many = isinstance(outputs, (tuple, list))
        model = kurve.Model(inputs, list(outputs) if many else outputs)
        predicted = model.predict(list(arrays), verbose=0)
        traced = flat(predicted if not many or len(outputs) > 1 else [predicted])
    for ours in (on_arrays, traced):
        assert [y.shape for y in ours] == [y.shape for y in expected]
        for y, wanted in zip(ours, expected, strict=True):
            np.testing.assert_allclose(y, wanted, 2e-5, 2e-6)


def test_equals_numpy(engine: str) -> None:
    """Where Keras's backends differ from each other, or are wrong."""
    a, b = X[..., :3], Z[..., :3]
    i, j = kurve.Input((3, 3)), kurve.Input((3, 3))
    outputs = [kurve.ops.cross(i, j), kurve.ops.count_nonzero(kurve.ops.relu(i), -1)]
    found = kurve.Model([i, j], outputs).predict([a, b], verbose=0)
    for ours in (found, [kurve.ops.cross(a, b), (a > 0).sum(-1)]):
        np.testing.assert_allclose(ours[0], np.cross(a, b), 1e-5, 1e-6)
        np.testing.assert_array_equal(ours[1], np.count_nonzero(a > 0, -1))
    sparse = kurve.Model(i, kurve.ops.sparsemax(i, 1)).predict(a, verbose=0)
    wanted = kurve.activations.get("sparsemax")(a.swapaxes(1, 2)).swapaxes(1, 2)
    for ours in (sparse, kurve.ops.sparsemax(a, 1)):
        np.testing.assert_allclose(ours, wanted, 1e-5, 1e-6)
        np.testing.assert_allclose(ours.sum(1), 1.0, 1e-5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("argsort", (X,)),
        ("sort", (X,)),
        ("median", (X,)),
        ("cumprod", (X, 1)),
        ("searchsorted", (np.arange(5.0), np.array([1.5, 3.0]))),
        ("segment_sum", (X[:, 0], np.array([0, 1, 1, 2]))),
        ("segment_max", (X[:, 0], np.array([0, 1, 1, 2]))),
        ("scatter", (np.array([[0, 1], [2, 0]]), np.array([3.0, 4.0]), (3, 2))),
        ("det", (SQUARE,)),
        ("inv", (SQUARE,)),
        ("solve", (SQUARE, SQUARE)),
        ("logdet", (SQUARE @ SQUARE.transpose(0, 2, 1) + np.eye(5, dtype="f"),)),
        ("meshgrid", (np.arange(3.0), np.arange(2.0))),
        ("identity", (3,)),
        ("tri", (3, 4, 1)),
        ("logspace", (0.0, 2.0, 5)),
        ("extract_sequences", (X, 3, 2)),
        ("cholesky_inverse", (np.tril(SQUARE) + 3 * np.eye(5, dtype="f"),)),
        ("cholesky_inverse", (np.triu(SQUARE) + 3 * np.eye(5, dtype="f"), True)),
        ("lu_factor", (SQUARE,)),
        ("psnr", (X, Z, 2.0)),
        ("view", (np.array([1, 2, 3], np.int32), "float32")),
        ("view_as_real", (X[..., 0] + 1j * X[..., 1],)),
    ],
)
def test_of_arrays(name: str, arguments: Any) -> None:
    ours = flat(getattr(kurve.ops, name)(*arguments))
    theirs = flat(getattr(keras.ops, name)(*arguments))
    for y, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(y, wanted, 1e-4, 1e-5)


def test_gradients_of_a_convolution_by_ops() -> None:
    """Trained for 10 steps, with the kernel as the weight of a custom layer."""

    def layer_of(library: Any) -> Any:
        class Conv(library.layers.Layer):
            def build(self, shape: Any) -> None:
                self.kernel = self.add_weight(shape=(3, 2, 4, 5), name="kernel")

            def call(self, x: Any) -> Any:
                y = library.ops.conv(x, self.kernel, 1, "same")
                return library.ops.mean(library.ops.gelu(y), axis=[1, 2])

        return Conv()

    losses = []
    for library in (keras, kurve):
        model = library.Sequential([library.Input((7, 6, 4)), layer_of(library)])
        model.set_weights([KERNEL])
        model.compile(library.optimizers.SGD(0.5), "mse")
        y = np.ones((2, 5), np.float32)
        history = model.fit(IMAGES, y, epochs=10, verbose=0).history["loss"]
        losses.append(history)
    np.testing.assert_allclose(losses[1], losses[0], 1e-4)
