"""Plots of images draw what they are given and reject what they cannot draw."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, layers, plots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

RANDOM = np.random.default_rng(1)
BYTES = RANDOM.integers(0, 256, (30, 6, 5), dtype=np.uint8)
CLASSES = np.arange(30) % 3


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    settings = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == settings
    plt.close("all")


def drawn(ax: Any) -> list[np.ndarray]:
    """The drawn images; the Axes of the scale have none."""
    ax.figure.canvas.draw()
    shown = [panel.images[0] for panel in ax.figure.axes if panel.images]
    return [np.asarray(image.get_array()) for image in shown]


def titles(ax: Any) -> list[str]:
    return [panel.get_title() for panel in ax.figure.axes]


def model(channels: int = 1, filters: int = 4) -> Sequential:
    return Sequential(
        [
            Input((6, 5, channels)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(filters, 3, activation="relu", name="first"),
            layers.Conv2D(2, 2, name="second"),
            layers.Flatten(name="flat"),
        ]
    )


def test_images_with_classes() -> None:
    guess = np.where(np.arange(30) == 1, 0, CLASSES)
    ax = plots.plot_images(BYTES[..., None], CLASSES, guess)
    assert len(drawn(ax)) == 25
    np.testing.assert_array_equal(drawn(ax)[3], BYTES[3])
    assert titles(ax)[:3] == ["0", "1 taken for 0", "2"]
    assert ax.images[0].get_clim() == (0, 255)


def test_images_with_names_and_without() -> None:
    ax = plots.plot_images(BYTES, CLASSES, 2 - CLASSES, ["cat", "dog", "owl"], count=4)
    assert titles(ax) == [
        "cat\ntaken for owl",
        "dog",
        "owl\ntaken for cat",
        "cat\ntaken for owl",
    ]
    assert titles(plots.plot_images(BYTES / 255, CLASSES, count=2)) == ["0", "1"]
    assert titles(plots.plot_images(BYTES, count=1)) == [""]
    colours = RANDOM.uniform(-1, 2, (2, 6, 5, 3))
    np.testing.assert_array_equal(
        drawn(plots.plot_images(colours))[1], np.clip(colours[1], 0, 1)
    )


def test_images_into_a_given_place() -> None:
    _, (left, right) = plt.subplots(1, 2)
    assert plots.plot_images(BYTES, count=4, ax=right) is right
    assert len(right.figure.axes) == 5
    assert not left.images


@pytest.mark.parametrize(
    ("count", "width"), [(1, 1), (2, 2), (3, 3), (4, 2), (25, 5), (32, 8), (64, 8)]
)
def test_rows_are_full(count: int, width: int) -> None:
    ax = plots.plot_images(np.zeros((count, 2, 2)), count=count)
    ax.figure.canvas.draw()
    places = {round(panel.get_position().x0, 3) for panel in ax.figure.axes}
    assert len(places) == width


def test_confusion_matrix() -> None:
    ax = plots.plot_confusion_matrix([[8, 2], [0, 0]], ["cat", "dog"])
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.texts] == ["8", "2"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["cat", "dog"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    shares = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shares**2, [[0.8, 0.2], [0, 0]])
    shares = plots.plot_confusion_matrix(np.array([[0.25, 0.5], [0, 0.25]]))
    assert [text.get_text() for text in shares.texts] == ["0.25", "0.5", "0.25"]


def test_filters() -> None:
    made = model()
    kernel = made.get_layer("first").get_weights()[0]
    found = drawn(plots.plot_filters(made))
    assert len(found) == 4
    np.testing.assert_array_equal(found[2], kernel[:, :, 0, 2])
    assert len(plots.plot_filters(made).figure.axes) == 4 + 1  # with the scale
    ax = plots.plot_filters(made, "second")
    assert titles(ax)[:5] == ["0, 0", "0, 1", "0, 2", "0, 3", "1, 0"]
    colours = drawn(plots.plot_filters(model(3)))
    assert colours[0].shape == (3, 3, 3)
    assert min(map(np.min, colours)) == 0.0
    assert max(map(np.max, colours)) == 1.0


def test_feature_maps() -> None:
    made = model()
    outputs = made.layer_outputs(BYTES[:1, ..., None])
    for image in (BYTES[0], BYTES[0, ..., None]):
        found = drawn(plots.plot_feature_maps(made, image))
        assert len(found) == 4
        np.testing.assert_array_equal(found[3], outputs["first"][0, ..., 3])
    assert len(drawn(plots.plot_feature_maps(made, BYTES[0], "second"))) == 2


WRONG: dict[str, tuple[Any, str]] = {
    "shape": (
        lambda: plots.plot_images(BYTES[0]),
        "[plot_images] images must have shape (n, height, width), or a fourth axis of "
        "1 or 3 channels. Received: shape (6, 5). Try images[None] for a single one.",
    ),
    "none": (
        lambda: plots.plot_images(BYTES[:0]),
        "[plot_images] there must be at least one image. Received: shape (0, 6, 5). "
        "Try images of shape (n, height, width).",
    ),
    "classes": (
        lambda: plots.plot_images(BYTES, np.zeros((30, 10))),
        "[plot_images] y_true must have a class for each of the 30 images. Received: "
        "shape (30, 10). Try y_true.argmax(axis=1) for probabilities.",
    ),
    "matrix": (
        lambda: plots.plot_confusion_matrix([[1, 2]]),
        "[plot_confusion_matrix] matrix must be square, its numbers at least 0. "
        "Received: [[1, 2]]. Try metrics.confusion_matrix(y_true, y_pred).",
    ),
    "names": (
        lambda: plots.plot_confusion_matrix([[1]], ["a", "b"]),
        "[plot_confusion_matrix] class_names must name the 1 classes. Received: 2 "
        "names. Try class_names=None.",
    ),
    "no convolution": (
        lambda: plots.plot_filters(model(), "flat"),
        "[plot_filters] the model must be built and have a convolution 'flat' for "
        "images. Received: layers ",
    ),
    "no map": (
        lambda: plots.plot_feature_maps(model(), BYTES[0], "flat"),
        "[plot_feature_maps] the layer's output must be of shape (height, width, "
        "channels). Received: 'flat', with shape (12,). Try the name of a convolution.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_drawn(name: str) -> None:
    call, text = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(text)):
        call()
