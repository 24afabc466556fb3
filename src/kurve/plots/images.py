"""Plots of images, confusion matrices, filters and feature maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.arguments import check_count
from kurve.core.arrays import as_array, as_numbers
from kurve.core.charts import COLOURS
from kurve.core.entries import entry
from kurve.plots.drawing import axes, grid, ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COUNT = 25
"""Number of images that `plot_images` draws by default."""

GREYS = "gray_r"
"""Black on white, as digits are written."""

MAX_MAPS = 64
"""Maximum number of filters or feature maps drawn."""

MAX_NUMBERED = 25
"""Maximum number of classes for which a confusion matrix shows its numbers."""


@entry
def plot_images(
    images: Any,
    y_true: Any = None,
    y_pred: Any = None,
    class_names: Sequence[str] | None = None,
    count: int = COUNT,
    ax: Axes | None = None,
) -> Axes:
    """Plot the first images, each with its true and predicted class.

        wrong = guess != y_test
        plot_images(x_test[wrong], y_test[wrong], guess[wrong])

    Args:
        images: (n, H, W), (n, H, W, 1), or (n, H, W, 3) for RGB; uint8, or in [0, 1].
        y_true, y_pred: class numbers (n,), or None.
        class_names: names of the classes, by index.
        count: maximum number of images to draw.
        ax: where to draw; it is subdivided. Default: a new figure.

    Returns:
        The Axes of the first panel; the others are in its `.figure.axes`.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError, ValueError: no images, a wrong shape or number of classes.

    Example:
        >>> images = np.zeros((4, 8, 8))
        >>> figure = kurve.plots.plot_images(images, y_true=[0, 1, 0, 1], count=4)
    """
    check_count("plot_images", "count", count, 1)
    pictures = _pictures("plot_images", images)[:count]
    class_names = _class_names("plot_images", class_names)
    titles, colours = [""] * len(pictures), [ink()] * len(pictures)
    known = {"y_true": y_true, "y_pred": y_pred}
    classes = {
        name: _classes(name, values, len(images))[: len(pictures)]
        for name, values in known.items()
        if values is not None
    }
    for i in range(len(pictures)):
        names = [_name(numbers[i], class_names) for numbers in classes.values()]
        if len(names) == 2:
            colours[i] = ink() if names[0] == names[1] else COLOURS[5]
            gap = " " if class_names is None else "\n"
            titles[i] = f"{names[0]}{gap}taken for {names[1]}"
            if names[0] == names[1]:
                titles[i] = names[0]
        else:
            titles[i] = "".join(names)
    scale = {"vmin": 0, "vmax": 255} if pictures.dtype == np.uint8 else {}
    if not scale and pictures.ndim == 3:
        scale = {"vmin": pictures.min(), "vmax": pictures.max()}
    return _panels("plot_images", pictures, titles, ax, GREYS, colours, **scale)


@entry
def plot_confusion_matrix(
    matrix: Any, class_names: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Plot a confusion matrix with one row per true class: colours show the fractions
    of a row, the numbers are those of the matrix.

    Args:
        matrix: (k, k) the result of `metrics.confusion_matrix`.
        class_names: names of the k classes; their indices if None.
        ax: where to draw; default: a new figure.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError, ValueError: not a square matrix of nonnegative numbers; names that do
            not match it.

    Example:
        >>> figure = kurve.plots.plot_confusion_matrix([[5, 1], [0, 4]])
    """
    where = "plot_confusion_matrix"
    try:
        numbers = np.asarray(matrix)
    except ValueError:  # rows of different length
        numbers = np.zeros(0)
    if (
        numbers.ndim != 2
        or numbers.shape[0] != numbers.shape[1]
        or not numbers.size
        or numbers.dtype.kind not in "iuf"
        or not (numbers >= 0).all()
    ):
        raise ValueError(
            "[plot_confusion_matrix] matrix must be square, its numbers at least 0. "
            f"Received: {matrix!r}. Try metrics.confusion_matrix(y_true, y_pred)."
        )
    size = len(numbers)
    names = _class_names(where, class_names) or [str(i) for i in range(size)]
    if len(names) != size:
        raise ValueError(
            f"[plot_confusion_matrix] class_names must name the {size} classes. "
            f"Received: {len(names)} names. Try class_names=None."
        )
    side = min(3.0 + 0.45 * size, 12.0)
    ax = axes(where, ax, (side, side))
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    sums = numbers.sum(axis=1, keepdims=True)
    fractions = np.divide(numbers, sums, out=np.zeros(numbers.shape), where=sums > 0)
    colour = to_rgba(COLOURS[0])
    colours = LinearSegmentedColormap.from_list(
        "fractions", [(*colour[:3], 0.0), (*colour[:3], 0.75), colour]
    )
    # The square root, so that 1 in 100 is visible next to 99.
    ax.imshow(np.sqrt(fractions), cmap=colours, vmin=0.0, vmax=1.0)
    upright = max(map(len, names)) <= 3
    ax.set_xticks(range(size), names, rotation=0 if upright else 90)
    ax.set_yticks(range(size), names)
    ax.set(xlabel="predicted", ylabel="true")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if size <= MAX_NUMBERED:
        for (i, j), number in np.ndenumerate(numbers):
            if number:
                text = f"{number:d}" if numbers.dtype.kind in "iu" else f"{number:.2g}"
                shade = "white" if fractions[i, j] > 0.5 else ink()
                ax.text(j, i, text, ha="center", va="center", color=shade, fontsize=8)
    return ax


@entry
def plot_filters(model: Any, layer: str | None = None, ax: Axes | None = None) -> Axes:
    """Plot the kernels of a convolution: the pattern each filter responds to.

    A kernel with 1 or 3 channels (colours) has one panel; otherwise each channel of
    each filter has one.

    Args:
        model: a built Sequential.
        layer: name of a layer with an image kernel; default: the first one.
        ax: where to draw; it is subdivided. Default: a new figure.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: not a model.
        ValueError: unknown layer.

    Example:
        >>> layer = kurve.layers.Conv2D(4, 3)
        >>> model = kurve.Sequential([kurve.Input((8, 8, 1)), layer])
        >>> figure = kurve.plots.plot_filters(model)
    """
    _check_model("plot_filters", model)
    kernel = _convolution("plot_filters", model, layer).get_weights()[0]
    height, width, channels, count = kernel.shape
    if channels == 3:
        low, high = kernel.min(), kernel.max()
        pictures = np.moveaxis((kernel - low) / max(high - low, 1e-30), -1, 0)
        titles = [""] * count
    else:
        pictures = kernel.transpose(3, 2, 0, 1).reshape(-1, height, width)
        titles = (
            [""] * count
            if channels == 1
            else [f"{o}, {i}" for o in range(count) for i in range(channels)]
        )
    largest = float(np.abs(kernel).max())
    return _panels(
        "plot_filters",
        pictures[:MAX_MAPS],
        titles,
        ax,
        "RdBu_r",
        vmin=-largest,
        vmax=largest,
    )


@entry
def plot_feature_maps(
    model: Any, image: Any, layer: str | None = None, ax: Axes | None = None
) -> Axes:
    """Plot the output of each filter of a layer for one image, on a common scale.

    Args:
        model: a built Sequential.
        image: one sample (H, W, C), or (H, W) where C is 1.
        layer: name of a layer whose output is (H, W, C); default: the first
            convolution.
        ax: where to draw; it is subdivided. Default: a new figure.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: not a model, or a non-numeric image.
        ValueError: unknown layer, or an image of the wrong shape.

    Example:
        >>> layer = kurve.layers.Conv2D(4, 3)
        >>> model = kurve.Sequential([kurve.Input((8, 8, 1)), layer])
        >>> figure = kurve.plots.plot_feature_maps(model, np.zeros((8, 8, 1)))
    """
    _check_model("plot_feature_maps", model)
    name = (
        _convolution("plot_feature_maps", model, None).name if layer is None else layer
    )
    picture = as_numbers("plot_feature_maps", "image", image)
    if (None, *picture.shape, 1) == getattr(model, "input_shape", None):
        picture = picture[..., None]
    outputs = model.layer_outputs(picture[None])
    maps = outputs[model.get_layer(name).name][0]
    if maps.ndim != 3:
        raise ValueError(
            "[plot_feature_maps] the layer's output must be of shape (height, width, "
            f"channels). Received: {name!r}, with shape {maps.shape}. "
            "Try the name of a convolution."
        )
    pictures = np.moveaxis(maps, -1, 0)[:MAX_MAPS]
    return _panels(
        "plot_feature_maps",
        pictures,
        [""] * len(pictures),
        ax,
        "viridis",
        vmin=maps.min(),
        vmax=maps.max(),
    )


def _pictures(where: str, images: Any) -> np.ndarray:
    """Images as (n, H, W) or, for RGB, (n, H, W, 3) in [0, 1] or uint8."""
    pictures = as_numbers(where, "images", images)
    if pictures.ndim == 4 and pictures.shape[-1] == 1:
        pictures = pictures[..., 0]
    colours = pictures.ndim == 4 and pictures.shape[-1] == 3
    if not (pictures.ndim == 3 or colours):
        raise ValueError(
            f"[{where}] images must have shape (n, height, width), or a fourth axis of "
            f"1 or 3 channels. Received: shape {pictures.shape}. "
            "Try images[None] for a single one."
        )
    if not pictures.size:
        raise ValueError(
            f"[{where}] there must be at least one image. Received: shape "
            f"{pictures.shape}. Try images of shape (n, height, width)."
        )
    if pictures.dtype == np.uint8:
        return pictures
    return np.clip(pictures, 0.0, 1.0) if colours else pictures.astype(np.float64)


def _classes(name: str, values: Any, count: int) -> np.ndarray:
    classes = as_array("plot_images", name, values)
    if classes.shape == (count, 1):
        classes = classes[:, 0]
    if classes.shape != (count,):
        raise ValueError(
            f"[plot_images] {name} must have a class for each of the {count} images. "
            f"Received: shape {classes.shape}. Try {name}.argmax(axis=1) for "
            "probabilities."
        )
    return classes


def _class_names(where: str, names: Any) -> list[str] | None:
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(
            f"[{where}] class_names must be a list of names. "
            f"Received: {names!r}. Try class_names=None."
        )
    return [str(name) for name in names]


def _name(number: Any, class_names: Sequence[str] | None) -> str:
    if class_names is None:
        return str(number)
    if not 0 <= int(number) < len(class_names):
        raise ValueError(
            "[plot_images] class_names must name every class. Received: "
            f"{len(class_names)} names and class {number}. Try class_names=None."
        )
    return class_names[int(number)]


def _check_model(where: str, model: Any) -> None:
    if not hasattr(model, "layers"):
        raise TypeError(
            f"[{where}] model must be a Sequential. Received: an object of type "
            f"{type(model).__name__}. Try a model with layers.Conv2D."
        )


def _convolution(where: str, model: Any, name: str | None) -> Any:
    """The layer of that name, or the first one with an image kernel."""
    convolutions = [
        layer for layer in model.layers if len(getattr(layer, "kernel_size", ())) == 2
    ]
    if name is not None:
        chosen = model.get_layer(name)
        convolutions = [layer for layer in convolutions if layer is chosen]
    if not convolutions or not model.built:
        raise ValueError(
            f"[{where}] the model must be built and have "
            f"{'a convolution' if name is None else f'a convolution {name!r}'} for "
            "images. Received: layers "
            f"{', '.join(layer.name for layer in model.layers) or 'none'}. "
            "Try a model with layers.Conv2D."
        )
    return convolutions[0]


def _panels(
    where: str,
    pictures: np.ndarray,
    titles: Sequence[str],
    ax: Axes | None,
    colours: str,
    inks: Sequence[Any] | None = None,
    **scale: Any,
) -> Axes:
    """Draw one panel per image, in rows that form roughly a square, with a full last
    row if possible, and a colour bar next to them unless the scale is that of
    pixels."""
    count = len(pictures)
    root = int(np.ceil(np.sqrt(count)))
    width = min(range(root, root + root // 2 + 1), key=lambda width: -count % width)
    rows = -(-count // width)
    lines = max((title.count("\n") + 1 for title in titles if title), default=0)
    tall = 1.0 + 0.15 * lines
    first = axes(where, ax, (min(1.2 * width, 12.0), min(1.2 * tall * rows, 14.0)))
    panels = grid(first, count, width)
    for i, panel in enumerate(panels):
        panel.imshow(pictures[i], cmap=colours, interpolation="nearest", **scale)
        panel.set_axis_off()
        if titles[i]:
            shade = ink() if inks is None else inks[i]
            panel.set_title(titles[i], fontsize=8, color=shade)
    if colours != GREYS and pictures.ndim == 3:
        bar = first.figure.colorbar(first.images[0], ax=panels, shrink=0.6)
        bar.outline.set_visible(False)
    return first
