"""Wrong images and their labels: refused before anything is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential
from kurve.layers import Conv2D, Dense, Flatten, MaxPooling2D, Rescaling, Reshape
from tests.faults.wrong import NAN, Wrong, check, snapshot, with_value, wrong

IMAGES = np.arange(12 * 8 * 7, dtype=np.uint8).reshape(12, 8, 7, 1)
CLASSES = np.arange(12) % 3
ONE_HOT = np.eye(3)[CLASSES]
FEWER_ROWS = IMAGES[1, :6]


def fit(x: Any = IMAGES, y: Any = CLASSES, **options: Any) -> Any:
    return lambda model: model.fit(x, y, **{"verbose": 0, **options})


def predict(x: Any) -> Any:
    return lambda model: model.predict(x, verbose=0)


def in_an_array(*images: np.ndarray) -> np.ndarray:
    """What np.array makes of images that differ, if it is told to."""
    array = np.empty(len(images), dtype=object)
    array[:] = images
    return array


BUILT = "(n, 8, 7, 1)"

# Called with a network of three classes that is built, compiled and trained.
CASES: dict[str, Wrong] = {
    # --- rank
    "one image": wrong(
        predict(IMAGES[0]), ValueError, "predict", BUILT, "(8, 7, 1)", "Try x[None]"
    ),
    "flat images": wrong(
        fit(IMAGES.reshape(12, -1)),
        ValueError,
        "fit",
        BUILT,
        "(12, 56)",
        "Try x.reshape(-1, 8, 7, 1)",
    ),
    "one axis too many": wrong(
        predict(IMAGES[None]), ValueError, "predict", BUILT, "(1, 12, 8, 7, 1)"
    ),
    # --- channels and size
    "colours": wrong(
        fit(IMAGES.repeat(3, axis=-1)),
        ValueError,
        "fit",
        BUILT,
        "(12, 8, 7, 3)",
        "Try Input(shape=(8, 7, 3))",
    ),
    "channels first": wrong(
        fit(np.moveaxis(IMAGES, -1, 1)),
        ValueError,
        "fit",
        BUILT,
        "(12, 1, 8, 7)",
        "Try x.transpose(0, 2, 3, 1)",
    ),
    "another size": wrong(
        predict(np.zeros((2, 9, 9, 1))), ValueError, "predict", BUILT, "(2, 9, 9, 1)"
    ),
    "mixed sizes": wrong(
        fit([IMAGES[0], FEWER_ROWS], [0, 1]),
        ValueError,
        "fit",
        "images of one shape",
        "x[0].shape=(8, 7, 1)",
        "x[1].shape=(6, 7, 1)",
        "Try scaling or cropping",
    ),
    "mixed sizes in an array": wrong(
        fit(in_an_array(IMAGES[0], IMAGES[1], FEWER_ROWS), [0, 1, 2]),
        ValueError,
        "fit",
        "images of one shape",
        "x[2].shape=(6, 7, 1)",
    ),
    "mixed ranks": wrong(
        predict([IMAGES[0], IMAGES[1, ..., 0]]),
        ValueError,
        "predict",
        "images of one shape",
        "x[1].shape=(8, 7)",
    ),
    # --- nothing, or no number
    "an empty set": wrong(
        fit(IMAGES[:0], CLASSES[:0]),
        ValueError,
        "fit",
        "x must not be empty",
        "(0, 8, 7, 1)",
    ),
    "images without pixels": wrong(
        predict(np.zeros((2, 0, 7, 1))), ValueError, "predict", "x must not be empty"
    ),
    "NaN in a pixel": wrong(
        fit(with_value(IMAGES / 255, (4, 1, 2, 0), NAN)),
        ValueError,
        "fit",
        "x must be finite",
        "x[4, 1, 2, 0] = nan",
    ),
    "a path": wrong(
        fit("pictures/"), TypeError, "fit", "real numbers", "'pictures/'", "str"
    ),
    "a dictionary of images": wrong(
        fit({"x": np.zeros((100, 8, 7, 1))}), TypeError, "fit", "a dict with 'x'"
    ),
    # --- labels
    "a label beyond the outputs": wrong(
        fit(y=CLASSES + 2 * (CLASSES == 2)),
        ValueError,
        "fit",
        "class numbers 0 to 2",
        "y[2] = 4",
        "layer of 5 units",
    ),
    "labels from 1": wrong(
        fit(y=CLASSES + 1), ValueError, "fit", "y[2] = 3", "Try y - 1", "4 units"
    ),
    "a negative label": wrong(
        fit(y=CLASSES - 1), ValueError, "fit", "class numbers 0 to 2", "y[0] = -1"
    ),
    "a label of validation_data": wrong(
        fit(validation_data=(IMAGES, CLASSES + 1)),
        ValueError,
        "fit, validation_data",
        "class numbers 0 to 2",
        "y[2] = 3",
    ),
    "one-hot labels": wrong(
        fit(y=ONE_HOT),
        ValueError,
        "fit",
        "shape (n)",
        "(12, 3)",
        "Try y.argmax(axis=-1)",
        "loss='categorical_crossentropy'",
    ),
    "names as labels": wrong(
        fit(y=["cat", "dog", "owl"] * 4),
        TypeError,
        "fit",
        "y must hold real numbers",
        "y[0] = 'cat'",
    ),
    "too few labels": wrong(
        fit(y=CLASSES[:5]), ValueError, "fit", "len(x)=12, len(y)=5"
    ),
}


def classifier(loss: str = "sparse_categorical_crossentropy") -> Sequential:
    model = Sequential(
        [
            Input((8, 7, 1)),
            Rescaling(1 / 255),
            Conv2D(4, 3, activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dense(3, "softmax"),
        ]
    )
    model.compile("adam", loss)
    return model


def trained() -> Sequential:
    model = classifier()
    model.fit(IMAGES, CLASSES, verbose=0)
    return model


@pytest.mark.parametrize("name", CASES)
def test_images(name: str) -> None:
    model = trained()
    before = snapshot(model)
    check(CASES[name], model)
    assert snapshot(model) == before


def segmenting() -> Sequential:
    model = Sequential([Input((8, 7, 1)), Conv2D(3, 3, padding="same")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def flat_forgotten() -> Sequential:
    model = Sequential([Input((8, 7, 1)), Conv2D(4, 3), Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


OTHERS: dict[str, Wrong] = {
    "class numbers for one-hot": wrong(
        lambda: fit()(classifier("categorical_crossentropy")),
        ValueError,
        "fit",
        "(n, 3)",
        "(12,)",
        "'sparse_categorical_crossentropy'",
    ),
    "Flatten is forgotten": wrong(
        lambda: fit()(flat_forgotten()),
        ValueError,
        "fit",
        "(n, 6, 5)",
        "(12,)",
        "Try layers.Flatten()",
    ),
    "maps of another size": wrong(
        lambda: fit(y=np.zeros((12, 7, 7)))(segmenting()),
        ValueError,
        "fit",
        "(n, 8, 7)",
        "(12, 7, 7)",
    ),
    "a pixel's class": wrong(
        lambda: fit(y=with_value(np.zeros((12, 8, 7)), (3, 2, 1), 3))(segmenting()),
        ValueError,
        "fit",
        "class numbers 0 to 2",
        "y[3, 2, 1] = 3",
    ),
    "images without channels for a new model": wrong(
        lambda: Sequential([Input((8, 7)), Conv2D(4, 3)]),
        ValueError,
        "Conv2D",
        "(height, width, channels)",
        "Try x[..., None]",
    ),
    "flat images for a new model": wrong(
        lambda: Sequential([Input((56,)), Conv2D(4, 3)]),
        ValueError,
        "Conv2D",
        "(height, width, channels)",
        "layers.Reshape",
    ),
    "a window larger than the image": wrong(
        lambda: Sequential([Input((8, 7, 1)), Conv2D(4, 9)]),
        ValueError,
        "Conv2D",
        "9 x 9",
        "(8, 7, 1)",
        "padding='same'",
    ),
    "groups of unequal channels": wrong(
        lambda: Sequential([Input((8, 7, 3)), Conv2D(4, 3, groups=2)]),
        ValueError,
        "Conv2D",
        "2 groups",
        "(8, 7, 3)",
    ),
    "another number of pixels": wrong(
        lambda: Sequential([Input((8, 7, 1)), Reshape((5, 5))]),
        ValueError,
        "Reshape",
        "56 elements as (5, 5)",
    ),
    "padding": wrong(
        lambda: Conv2D(4, 3, padding="sames"), ValueError, "Conv2D", "'sames'"
    ),
    "channels in the middle": wrong(
        lambda: Conv2D(4, 3, data_format="channels_middle"),
        ValueError,
        "Conv2D",
        "data_format",
        "'channels_last'",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_models_of_images(name: str) -> None:
    check(OTHERS[name])


def test_images_in_an_array_of_objects() -> None:
    """Of one size they are taken as if they were stacked."""
    model = trained()
    stacked = model.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(predict(in_an_array(*IMAGES))(model), stacked)
    np.testing.assert_array_equal(predict(list(IMAGES))(model), stacked)
