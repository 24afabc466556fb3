"""Layers that change the values of images at random, beside Keras: with factors whose
two ends are equal both compute the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve

RNG = np.random.default_rng(3)
X = RNG.uniform(0, 255, (3, 6, 5, 3)).astype(np.float32)
X[0, :2] = X[0, 0, 0]  # grey areas and equal values
X[1, 1, 1] = (0.0, 0.0, 0.0)
X[1, 2] = X[1, 2, :, :1]

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "hue": ("RandomHue", {"factor": (0.4, 0.4)}),
    "hue 0": ("RandomHue", {"factor": 0.0}),
    "saturation": ("RandomSaturation", {"factor": (0.3, 0.3)}),
    "saturation 2": ("RandomSaturation", {"factor": (0.8, 0.8)}),
    "grayscale": ("RandomGrayscale", {"factor": 1.0}),
    "grayscale 0": ("RandomGrayscale", {"factor": 0.0}),
    "degeneration": ("RandomColorDegeneration", {"factor": (0.6, 0.6)}),
    "degeneration -": ("RandomColorDegeneration", {"factor": (-0.5, -0.5)}),
    "invert": ("RandomInvert", {"factor": (1.0, 1.0)}),
    "invert 0": ("RandomInvert", {"factor": (0.0, 0.0)}),
    "posterization": ("RandomPosterization", {"factor": (3, 3)}),
    "posterization 1": ("RandomPosterization", {"factor": (1, 1)}),
    "solarization": (
        "Solarization",
        {"addition_factor": (0.0, 0.0), "threshold_factor": (0.0, 0.0)},
    ),
    "contrast": ("AutoContrast", {}),
    "sharpness": ("RandomSharpness", {"factor": (0.9, 0.9)}),
    "smooth": ("RandomSharpness", {"factor": (0.1, 0.1)}),
    "blur": ("RandomGaussianBlur", {"factor": (1.0, 1.0), "sigma": (0.7, 0.7)}),
    "blur 5": (
        "RandomGaussianBlur",
        {"factor": (1.0, 1.0), "kernel_size": 5, "sigma": (1.0, 1.0)},
    ),
    "no blur": ("RandomGaussianBlur", {"factor": (0.0, 0.0)}),
    "erasing": ("RandomErasing", {"factor": (1, 1), "scale": (1, 1), "fill_value": 7}),
    "erasing 3": (
        "RandomErasing",
        {"factor": (1, 1), "scale": (1, 1), "fill_value": (7.0, 8.0, 300.0)},
    ),
    "jitter": (
        "RandomColorJitter",
        {
            "brightness_factor": (0.2, 0.2),
            "saturation_factor": (0.7, 0.7),
            "hue_factor": (0.0, 0.0),
        },
    ),
}
RANGES = [(0, 255), (0, 1), (-1, 1)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("values", RANGES, ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_given_factors(case: str, values: tuple[int, int], data_format: str) -> None:
    name, given = CASES[case]
    low, high = values
    x = (X / 255.0 * (high - low) + low).astype(np.float32)
    given = {**given, "data_format": data_format}
    if name != "RandomGrayscale":
        given["value_range"] = values
    if case.startswith("erasing"):
        given["fill_value"] = np.divide(given["fill_value"], 255 / high).tolist()
    if data_format == "channels_first":
        if name in ("AutoContrast", "RandomColorJitter", "RandomSharpness") or (
            case == "erasing 3"
        ):
            pytest.skip("Keras takes other axes than those of the channels")
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    if name in ("RandomSaturation", "RandomColorJitter") and low < 0:
        pytest.skip("hues of negative values have no meaning")
    theirs = np.asarray(getattr(keras.layers, name)(**given)(x, training=True))
    layer = getattr(kurve.layers, name)(**given)
    ours = layer(x, training=True)
    if case == "hue":  # either way round
        other = [layer(x[i : i + 1]) for i in (0, 1, 2) for _ in range(12)]
        for i in range(3):
            best = min(np.abs(y - theirs[i]).max() for y in other[12 * i : 12 * i + 12])
            assert best < 2e-5 * (high - low)
        return
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * (high - low))
    still = name != "AutoContrast"
    theirs = np.asarray(getattr(keras.layers, name)(**given)(x, training=False))
    np.testing.assert_allclose(layer(x, training=False), theirs, atol=2e-5 * 255)
    assert not still or (layer(x, training=False) == x).all()
    np.testing.assert_allclose(layer(x[0]), ours[0], atol=1e-5 * 255)


@pytest.mark.parametrize("case", CASES)
def test_files_of_keras(case: str, tmp_path: Path) -> None:
    """Both ways, with the same numbers in training."""
    name, given = CASES[case]

    def model(library: Any) -> Any:
        made = library.Sequential(
            [library.Input((6, 5, 3)), getattr(library.layers, name)(**given)]
        )
        made.compile("sgd", "mse")
        return made

    path = str(tmp_path / "m.keras")
    expected = np.asarray(model(keras)(X, training=True))
    for made, read in (
        (model(keras), kurve.models.load_model),
        (model(kurve), keras.models.load_model),
        (model(kurve), kurve.models.load_model),
    ):
        made.save(path)
        again = read(path)
        given_back = again.layers[-1].get_config()
        assert given_back["name"] == made.layers[-1].name
        if case != "hue":
            found = np.asarray(again(X, training=True))
            np.testing.assert_allclose(found, expected, atol=5e-3)


Draw = Callable[[Any, np.ndarray], np.ndarray]


@pytest.mark.parametrize(
    ("name", "given", "least", "most"),
    [
        ("RandomSaturation", {"factor": (0.2, 0.7)}, 0.2, 0.7),
        ("RandomColorDegeneration", {"factor": (0.2, 0.7)}, 0.2, 0.7),
        ("RandomSharpness", {"factor": (0.2, 0.7)}, 0.2, 0.7),
    ],
)
def test_the_factors_drawn(name: str, given: Any, least: float, most: float) -> None:
    """Each image is what Keras computes of it for some factor in the range."""
    x = np.repeat(X[2:3], 40, axis=0)
    layer = getattr(kurve.layers, name)(**given, seed=1)
    found = layer(x)
    assert len(np.unique(found.sum(axis=(1, 2, 3)))) > 20
    theirs = getattr(keras.layers, name)(**given)
    grid = np.linspace(least, most, 2001).astype(np.float32)
    if name == "RandomSaturation":
        grid = grid / (1 - grid + keras.config.epsilon())
    shape = (-1, 1, 1, 1) if name == "RandomColorDegeneration" else (-1,)
    factor = keras.ops.convert_to_tensor(grid.reshape(shape))
    many = keras.ops.convert_to_tensor(np.repeat(x[:1], len(grid), axis=0))
    known = np.asarray(theirs.transform_images(many, {"factor": factor}))
    for y in found:
        assert np.abs(known - y).max(axis=(1, 2, 3)).min() < 0.5


def test_erased_rectangles() -> None:
    """As large as Keras's, anywhere, filled as its are."""
    x = np.full((300, 20, 30, 1), 5.0, np.float32)
    given = {"factor": (0.5, 0.5), "scale": (0.1, 0.4)}
    found = {}
    for library in (kurve, keras):
        y = np.asarray(library.layers.RandomErasing(**given)(x, training=True))
        sizes, filled = [], []
        for image in (y != 5.0)[..., 0]:
            rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
            if len(rows):
                assert np.ptp(rows) < len(rows) + 1
                sizes.append((np.ptp(rows) + 1, np.ptp(columns) + 1))
        filled = y[y != 5.0]
        found[library.__name__] = (
            len(sizes) / 300,
            *np.mean(sizes, 0),
            (filled == 0).mean(),
            (filled == 255).mean(),
        )
    np.testing.assert_allclose(found["kurve"], found["keras"], rtol=0.2, atol=0.02)


@pytest.mark.parametrize("values", [(0, 255), (0, 1)])
@pytest.mark.parametrize("bins", [256, 64])
def test_equalization(values: tuple[int, int], bins: int) -> None:
    x = X / 255.0 * values[1]
    theirs = keras.layers.Equalization(values, bins=bins)(x, training=True)
    ours = kurve.layers.Equalization(values, bins=bins)
    np.testing.assert_allclose(ours(x), np.asarray(theirs), atol=1e-4)
    assert (ours(x, training=False) == x).all()
    flat = np.full((1, 3, 3, 1), 7.0)
    np.testing.assert_allclose(ours(flat), flat, rtol=1e-6)


@pytest.mark.parametrize("fill", ["reflect", "wrap", "constant", "nearest"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_moved_places(fill: str, interpolation: str) -> None:
    """Sheared and seen from elsewhere by given numbers."""
    tensor = keras.ops.convert_to_tensor
    # Not halfway between pixels, where rounding decides.
    factors = np.array([[0.31, -0.23], [0.0, 0.17], [-0.29, 0.0]], np.float32)
    given = {"interpolation": interpolation, "fill_mode": fill, "fill_value": 3.0}
    theirs = keras.layers.RandomShear(0.5, 0.5, **given).transform_images(
        tensor(X), {"shear_factor": tensor(factors)}
    )
    layer = kurve.layers.RandomShear(0.5, 0.5, **given)
    ours = layer.sheared(X, factors[:, 0], factors[:, 1])
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=2e-3)
    found = layer(X)
    assert found.shape == X.shape and (found != X).any()
    del given["fill_mode"]
    moves = RNG.uniform(-0.3, 0.3, (3, 4, 2)).astype(np.float32)
    corners = [[0.0, 0.0], [4.0, 0.0], [0.0, 5.0], [4.0, 5.0]]
    start = np.repeat([corners], 3, axis=0).astype(np.float32)
    transformation = {
        "apply_perspective": tensor(np.array([True, False, True])),
        "start_points": tensor(start),
        "end_points": tensor(start + start * moves),
    }
    theirs = keras.layers.RandomPerspective(**given).transform_images(
        tensor(X), transformation
    )
    ours = kurve.layers.RandomPerspective(**given).moved(X, moves)
    ours = np.where([[[[True]]], [[[False]]], [[[True]]]], ours, X)
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=5e-3)


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_mixed_images(name: str) -> None:
    """By the numbers drawn, what Keras makes of images and labels; of the same
    distribution."""
    labels = np.eye(3, dtype=np.float32)
    layer = getattr(kurve.layers, name)(seed=2)
    images, order, share = layer.mixed(X)
    again = getattr(kurve.layers, name)(seed=2)({"images": X, "labels": labels})
    np.testing.assert_array_equal(again["images"], images)
    tensor = keras.ops.convert_to_tensor
    transformation = {
        "permutation_order": tensor(order),
        "mix_weight": tensor(share.astype(np.float32)),
        "batch_masks": tensor(images != X),
    }
    theirs = getattr(keras.layers, name)()
    np.testing.assert_allclose(
        again["images"],
        np.asarray(theirs.transform_images(tensor(X), transformation)),
        atol=1e-3,
    )
    np.testing.assert_allclose(
        again["labels"],
        np.asarray(theirs.transform_labels(tensor(labels), transformation)),
        atol=1e-6,
    )
    kept = {}
    zeros = np.zeros((400, 12, 12, 1), np.float32)
    for library in (kurve, keras):
        made = getattr(library.layers, name)()
        data = {"images": zeros, "labels": np.arange(400.0)[:, None] ** 0}
        kept[library.__name__] = np.asarray(made(data)["labels"]).mean()
    assert kept["kurve"] == pytest.approx(kept["keras"], abs=1e-5)
    still = layer({"images": X, "labels": labels}, training=False)
    assert (still["images"] == X).all() and (still["labels"] == labels).all()


def test_what_has_no_place() -> None:
    boxes = {"images": X, "bounding_boxes": {"boxes": np.ones((3, 1, 4))}}
    masks = {"images": X, "segmentation_masks": X}
    hue, shear = kurve.layers.RandomHue(0.2), kurve.layers.RandomShear(0.2)
    assert (hue(masks)["segmentation_masks"] == X).all()
    for layer, data in ((hue, boxes), (shear, boxes), (shear, masks)):
        with pytest.raises(NotImplementedError, match="boxes and masks"):
            layer(data)
    with pytest.raises(NotImplementedError, match="cannot be part of a model"):
        shear(kurve.Input((6, 5, 3)))
    with pytest.raises(AttributeError, match="no bounding boxes"):
        kurve.layers.MaxNumBoundingBoxes  # noqa: B018


@pytest.mark.parametrize("limit", [4.0, 0.5, 0.0])
@pytest.mark.parametrize("grid", [(4, 4), (2, 3), (1, 1)])
@pytest.mark.parametrize("values", [(0, 255), (0, 1)])
def test_contrast_by_tiles(
    limit: float, grid: tuple[int, int], values: tuple[int, int]
) -> None:
    """Beside the formula, pixel by pixel, and Keras for a single tile: on PyTorch it
    counts in integers, which changes the limit."""
    x = RNG.uniform(40, 200, (2, 11, 9, 3)).astype(np.float32).round()
    x[0, :5] = 77.0  # one value only
    given = {"value_range": values, "clip_limit": limit, "tile_grid_size": grid}
    name = "ContrastLimitedAdaptiveHistogramEqualization"
    layer, scale = getattr(kurve.layers, name)(**given), values[1] / 255.0
    images = (x * scale).astype(np.float32)
    ours = layer(images) / scale
    np.testing.assert_allclose(
        ours[..., 0], by_pixels(x[..., 0], grid, limit), atol=0.02
    )
    if grid == (1, 1) and limit == 0.0:
        theirs = np.asarray(getattr(keras.layers, name)(**given)(images)) / scale
        np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert np.array_equal(layer(images, training=False), images)
    first = getattr(kurve.layers, name)(**given, data_format="channels_first")
    moved = first(np.moveaxis(images, -1, 1))
    assert np.array_equal(np.moveaxis(moved, 1, -1), layer(images))


def by_pixels(x: np.ndarray, grid: tuple[int, int], limit: float) -> np.ndarray:
    """Contrast by tiles of images (B, H, W)."""
    tile = [-(-n // tiles) for n, tiles in zip(x.shape[1:], grid, strict=True)]
    more = [t * g - n for t, g, n in zip(tile, grid, x.shape[1:], strict=True)]
    wide = np.pad(x, ((0, 0), (0, more[0]), (0, more[1])), "symmetric").astype(int)
    y = np.zeros(x.shape)
    for image, values in enumerate(wide):
        maps = {}
        for i in range(grid[0]):
            for j in range(grid[1]):
                rows, columns = slice(i * tile[0], None), slice(j * tile[1], None)
                part = values[rows, columns][: tile[0], : tile[1]]
                counts = np.array([(part == v).sum() for v in range(256)], float)
                if limit > 0:
                    cut = np.minimum(counts, limit * part.size / 256)
                    counts = cut + (counts - cut).sum() / 256
                total = counts.cumsum()
                span = part.size - total[0]
                maps[i, j] = np.clip((total - total[0]) * 255 / (span or 1.0), 0, 255)
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                at = [i / tile[0] - 0.5, j / tile[1] - 0.5]
                for down in (0, 1):
                    for across in (0, 1):
                        near = np.floor(at).astype(int) + np.array([down, across])
                        weight = np.prod(1 - abs(np.array(at) - near))
                        key = np.clip(near, 0, np.array(grid) - 1)
                        value = maps[tuple(key)][values[i, j]]
                        y[image, i, j] += weight * value
    return y


POLICIES = ("AugMix", "RandAugment", "RandomElasticTransform")


@pytest.mark.parametrize("name", POLICIES)
def test_policies(name: str) -> None:
    """By seed; within the range of values; as far from the images as Keras's."""
    x = np.tile(
        np.linspace(0, 1, 12, dtype=np.float32)[None, :, None, None], (4, 1, 12, 3)
    )
    apart = {}
    for library in (keras, kurve):
        make = getattr(library.layers, name)
        found = [np.asarray(make(value_range=(0, 1), seed=i)(x)) for i in range(60)]
        assert all(y.shape == x.shape and np.isfinite(y).all() for y in found)
        assert all(
            y.min() >= 0 and y.max() <= 1 for y in found if name != "RandAugment"
        )
        apart[library.__name__] = np.mean([abs(y - x).mean() for y in found])
    assert 0.6 < apart["kurve"] / apart["keras"] < 1.7, apart
    make = getattr(kurve.layers, name)
    np.testing.assert_array_equal(make(seed=3)(255 * x), make(seed=3)(255 * x))
    np.testing.assert_array_equal(make(seed=3)(x, training=False), x)
    again = make.from_config(make(seed=3, value_range=(0, 1)).get_config())
    np.testing.assert_array_equal(again(x), make(seed=3, value_range=(0, 1))(x))


def test_no_policy() -> None:
    """Layers that change nothing."""
    for layer in (
        kurve.layers.RandomElasticTransform(factor=0.0),
        kurve.layers.RandomElasticTransform(scale=0.0),
    ):
        np.testing.assert_array_equal(layer(X), X)
    given = {"num_chains": 1, "chain_depth": 1, "all_ops": False}
    grey = RNG.uniform(0, 255, (2, 8, 8, 1)).astype(np.float32)
    assert kurve.layers.AugMix(**given, factor=0.0)(grey).shape == grey.shape


def test_pipeline(tmp_path: Path) -> None:
    """On arrays, in a model of either library, and in a file."""
    parts = [
        ("RandomBrightness", {"factor": (0.2, 0.2)}),
        ("CenterCrop", {"height": 4, "width": 4}),
    ]

    def make(library: Any) -> Any:
        return library.layers.Pipeline(
            [getattr(library.layers, name)(**given) for name, given in parts]
        )

    ours, theirs = make(kurve), make(keras)
    for training in (True, False):
        expected = np.asarray(theirs(X, training=training))
        np.testing.assert_allclose(ours(X, training=training), expected, atol=1e-3)
    np.testing.assert_allclose(ours(X), np.asarray(theirs(X)), atol=1e-3)
    np.testing.assert_array_equal(ours(X[0]), ours(X)[0])
    model = kurve.Sequential([kurve.Input(X.shape[1:]), ours, kurve.layers.Flatten()])
    plain = np.asarray(theirs(X, training=False)).reshape(3, -1)
    np.testing.assert_allclose(model.predict(X, verbose=0), plain, atol=1e-3)
    path = tmp_path / "m.keras"
    model.save(path)
    for library in (keras, kurve):
        again = library.models.load_model(path)
        np.testing.assert_allclose(again.predict(X, verbose=0), plain, atol=1e-3)
