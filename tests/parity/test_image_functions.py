"""Functions of `kurve.ops.image` beside Keras's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import kurve

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(0.0, 1.0, (2, 13, 17, 3)).astype("f")
Y = np.clip(X + RANDOM.normal(scale=0.1, size=X.shape), 0.0, 1.0).astype("f")
BLOCKS = RANDOM.normal(size=(2, 6, 9, 7, 2)).astype("f")
TURN = [0.9137, -0.2171, 1.5393, 0.3219, 1.1331, -2.0717, 0.0, 0.0]
OTHER = [1.2, 0.11, -1.31, 0.05, 0.83, 1.01, 0.0, 0.0]
CORNERS = np.array([[0.0, 0], [16, 0], [0, 12], [16, 12]], "f")
MOVED = CORNERS + np.array([[1, 2], [-2, 1], [1.5, 0], [0, -3]], "f")
WHOLE = np.round(255 * X[0, ..., 0]).astype("int32")
PLACES = RANDOM.uniform(-4, 20, (2, 6, 5)).astype("f")

CASES: dict[str, Callable[[Any], Any]] = {
    "rgb_to_hsv": lambda image: image.rgb_to_hsv(X),
    "rgb_to_hsv of grey": lambda image: image.rgb_to_hsv(X[..., :1].repeat(3, -1)),
    "hsv_to_rgb": lambda image: image.hsv_to_rgb(X[0]),
    "gaussian_blur": lambda image: image.gaussian_blur(
        X, (5, 5), (1.5, 0.8), "channels_last"
    ),
    "gaussian_blur of one": lambda image: image.gaussian_blur(
        X[0], data_format="channels_last"
    ),
    "sobel_edges": lambda image: image.sobel_edges(X),
    "ssim": lambda image: image.ssim(X, Y),
    "ssim of one": lambda image: image.ssim(255 * X[0], 255 * Y[0], 255.0, 7, 1.0),
    "extract_patches_3d": lambda image: image.extract_patches_3d(BLOCKS, (3, 4, 2)),
    "extract_patches_3d, same": lambda image: image.extract_patches_3d(
        BLOCKS[0], 2, (2, 3, 1), padding="same"
    ),
}
for fill in ("constant", "nearest", "wrap", "mirror", "reflect"):
    for order in (0, 1):
        CASES[f"map_coordinates {fill} {order}"] = (
            lambda image, fill=fill, order=order: image.map_coordinates(
                X[0, ..., 0], PLACES, order, fill, 0.7
            )
        )
    CASES[f"affine_transform {fill}"] = lambda image, fill=fill: image.affine_transform(
        X, np.array([TURN, OTHER], "f"), fill_mode=fill, fill_value=0.3
    )
CASES["map_coordinates of integers"] = lambda image: image.map_coordinates(
    WHOLE, PLACES, 1, "nearest"
)
CASES["affine_transform, nearest"] = lambda image: image.affine_transform(
    X[0], np.array(TURN, "f"), interpolation="nearest", fill_mode="reflect"
)
CASES["perspective_transform"] = lambda image: image.perspective_transform(
    X, CORNERS[None].repeat(2, 0), MOVED[None].repeat(2, 0)
)
CASES["perspective_transform of one"] = lambda image: image.perspective_transform(
    X[0], CORNERS, MOVED, "nearest", 0.5
)
for method in ("linear", "bicubic", "lanczos3", "lanczos5"):
    for antialias in (True, False):
        CASES[f"scale_and_translate {method} {antialias}"] = (
            lambda image, method=method, antialias=antialias: image.scale_and_translate(
                X,
                (2, 9, 30, 3),
                np.array([0.6, 1.7], "f"),
                np.array([0.5, -1.0], "f"),
                (1, 2),
                method,
                antialias,
            )
        )


@pytest.mark.parametrize("name", CASES)
def test_numbers(name: str) -> None:
    ours = np.asarray(CASES[name](kurve.ops.image))
    theirs = keras.ops.convert_to_numpy(CASES[name](keras.ops.image))
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=2e-5)


def test_the_structural_similarity_is_a_loss() -> None:
    found = {}
    for of in (keras, kurve):

        class Dissimilar(of.losses.Loss):
            def call(self, y_true: Any, y_pred: Any, ops: Any = of.ops) -> Any:
                return 1.0 - ops.image.ssim(y_true, y_pred, filter_size=5)

        x = of.Input((13, 17, 3))
        model = of.Model(x, of.layers.Conv2D(3, 3, padding="same")(x))
        random = np.random.default_rng(1)
        model.set_weights(
            [0.2 * random.normal(size=w.shape) for w in model.get_weights()]
        )
        model.compile("sgd", Dissimilar())
        found[of.__name__] = [model.train_on_batch(X, Y) for _ in range(4)]
    np.testing.assert_allclose(found["kurve"], found["keras"], rtol=2e-4)


def test_elastic_transform() -> None:
    one, other, still = (
        np.asarray(kurve.ops.image.elastic_transform(X, alpha, 2.0, seed=seed))
        for alpha, seed in ((20.0, 1), (20.0, 2), (0.0, 1))
    )
    assert one.shape == X.shape and not np.allclose(one, other)
    np.testing.assert_allclose(still, X, atol=1e-6)
    again = kurve.ops.image.elastic_transform(X, 20.0, 2.0, seed=1)
    np.testing.assert_array_equal(one, again)


def test_wrong_arguments() -> None:
    image = kurve.ops.image
    with pytest.raises(ValueError, match="3 channels"):
        image.rgb_to_hsv(X[..., :2])
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        image.gaussian_blur(X, (2, 3))
    with pytest.raises(ValueError, match="fill_mode must be one of"):
        image.map_coordinates(X[0, ..., 0], PLACES, 1, "far")
    with pytest.raises(ValueError, match="one array per axis"):
        image.map_coordinates(X[0], PLACES, 1)
    with pytest.raises(ValueError, match="images must have 3 axes"):
        image.affine_transform(X[0, 0], TURN)
