"""A model's diagram as an object, as returned by Keras's `model_to_dot`."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from kurve.plots.boxes import plot_model


class Picture:
    """A model's diagram with the `create` and `write` methods of a pydot graph. It is
    drawn by `plot_model`, without Graphviz.

    Args:
        model: the model to draw.
        arguments: see `plot_model`.
    """

    def __init__(self, model: Any, **arguments: Any) -> None:
        self.model, self.arguments = model, arguments

    def write(self, path: Any, prog: Any = None, format: str | None = None) -> bool:
        """Write a file; the default format follows its extension.

        Args:
            path: path of the file.
            prog: a Graphviz program; ignored.
            format: "svg" or "png".
        """
        data = self.create(prog, format or os.path.splitext(path)[1][1:] or "svg")
        with open(path, "wb") as file:
            file.write(data)
        return True

    def create(self, prog: Any = None, format: str = "svg") -> bytes:
        """The diagram as bytes.

        Args:
            prog: a Graphviz program; ignored.
            format: "svg" or "png".
        """
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"model.{format}")
            plot_model(self.model, path, **self.arguments)
            with open(path, "rb") as file:
                return file.read()

    def create_svg(self, prog: Any = None) -> bytes:
        """The diagram as SVG bytes."""
        return self.create(prog, "svg")

    def create_png(self, prog: Any = None) -> bytes:
        """The diagram as PNG bytes."""
        return self.create(prog, "png")

    def write_svg(self, path: Any, prog: Any = None) -> bool:
        """Write an SVG file."""
        return self.write(path, prog, "svg")

    def write_png(self, path: Any, prog: Any = None) -> bool:
        """Write a PNG file."""
        return self.write(path, prog, "png")


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **unused: Any,
) -> Picture:
    """A model's diagram, with the `create` and `write` methods of a pydot graph.

    Args:
        model: the model to draw.
        show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, dpi,
            show_layer_activations, show_trainable: see `plot_model`.
        subgraph, unused: ignored.

    Example:
        >>> from kurve.layers import Dense
        >>> model = kurve.Sequential([kurve.Input((2,)), Dense(1)])
        >>> kurve.utils.model_to_dot(model).create(prog="dot", format="svg")[:4]
        b'<svg'
    """
    return Picture(
        model,
        show_shapes=show_shapes,
        show_dtype=show_dtype,
        show_layer_names=show_layer_names,
        rankdir=rankdir,
        expand_nested=expand_nested,
        dpi=dpi,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
    )
