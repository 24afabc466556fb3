"""`kurve.utils.plot_model`: its arguments, and the contents of its boxes."""

from __future__ import annotations

import os
from typing import Any

from kurve.core.entries import entry


@entry
def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Any:
    """Draw a model as a graph: a box per layer and function, lines for calls.

    Args:
        model: a functional model or a Sequential.
        to_file: file name ending in .svg, or in .png (drawn with matplotlib).
        show_shapes: whether boxes show input and output shapes.
        show_dtype: whether they show dtypes.
        show_layer_names: whether they show layer names, not only classes.
        rankdir: "TB" from top to bottom, "BT", "LR" (from left to right) or "RL".
        expand_nested: whether to draw the inside of nested models.
        dpi: resolution of a .png file.
        show_layer_activations: whether boxes show activations.
        show_trainable: whether boxes show if the weights are trainable.

    Returns:
        The image, which notebooks display.

    Raises:
        TypeError, ValueError: not a model, or an invalid argument.
        ImportError: .png without matplotlib.

    Example:
        >>> x = kurve.Input((3,))
        >>> model = kurve.Model(x, kurve.layers.Dense(1)(x))
        >>> picture = kurve.utils.plot_model(model, "model.svg", show_shapes=True)
    """
    from kurve.plots import graphs

    shown = graphs.Shown(
        show_shapes,
        show_dtype,
        show_layer_names,
        expand_nested,
        show_layer_activations,
        show_trainable,
    )
    return graphs.plot_model(model, to_file, rankdir, dpi, shown)
