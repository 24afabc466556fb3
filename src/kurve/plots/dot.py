"""A model's picture as an object, which Keras's `model_to_dot` gives."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from kurve.utils import plot_model


class Picture:
    """What a graph of Graphviz's is to programs that draw models: `create` and
    `write`. It is drawn by `plot_model`, without Graphviz.

    Args:
        model: to be drawn.
        arguments: of `plot_model`.
    """

    def __init__(self, model: Any, **arguments: Any) -> None:
        self.model, self.arguments = model, arguments

    def write(self, path: Any, prog: Any = None, format: str | None = None) -> bool:
        """Write a file, in the format of its ending if none is given.

        Args:
            path: of the file.
            prog: a program of Graphviz; not needed.
            format: "svg" or "png".
        """
        data = self.create(prog, format or os.path.splitext(path)[1][1:] or "svg")
        with open(path, "wb") as file:
            file.write(data)
        return True

    def create(self, prog: Any = None, format: str = "svg") -> bytes:
        """The bytes of a file.

        Args:
            prog: a program of Graphviz; not needed.
            format: "svg" or "png".
        """
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"model.{format}")
            plot_model(self.model, path, **self.arguments)
            with open(path, "rb") as file:
                return file.read()

    def create_svg(self, prog: Any = None) -> bytes:
        """The bytes of an SVG file."""
        return self.create(prog, "svg")

    def create_png(self, prog: Any = None) -> bytes:
        """The bytes of a PNG file."""
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
    """A model's picture, with the methods `create` and `write` of a graph of Graphviz.

    Args:
        model: to be drawn.
        show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, dpi,
            show_layer_activations, show_trainable: see `plot_model`.
        subgraph, unused: not needed.

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
