"""Several layers as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from kurve.formulas.operators import Symbolic
from kurve.formulas.tensor import leaves
from kurve.layers.base import UNSAID, Layer
from kurve.layers.wrapping import described, of_description


class Pipeline(Layer):
    """Layers one after the other, such as those that prepare and augment images. Unlike
    a Sequential model, it is a layer only; on arrays its layers run one by one, as in
    training unless training=False.

    Source: defaults follow keras.layers.Pipeline.

    Args:
        layers: a list of layers.
        name: see `Layer`.

    Raises:
        TypeError: not a list of layers.

    Example:
        >>> layer = kurve.layers.Pipeline(
        ...     [kurve.layers.Rescaling(1 / 255), kurve.layers.CenterCrop(2, 2)])
        >>> layer(np.full((1, 4, 4, 1), 255.0)).ravel()
        array([1., 1., 1., 1.], dtype=float32)
    """

    parts_by_name = True
    training_by_default = True

    def __init__(
        self, layers: Sequence[Layer], name: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        fits = isinstance(layers, (list, tuple)) and layers
        if not fits or not all(isinstance(layer, Layer) for layer in layers):
            raise TypeError(
                f"[Pipeline] layers must be a list of layers. Received: {layers!r}. "
                "Try Pipeline([RandomFlip(), RandomRotation(0.1)])."
            )
        self.layers = list(layers)

    def __call__(self, x: Any = UNSAID, *others: Any, **named: Any) -> Any:
        """Apply the layers to a batch, one sample, or a dictionary, whatever the first
        one takes.

        Raises:
            TypeError: unknown arguments.
        """
        symbolic = any(isinstance(leaf, Symbolic) for leaf in leaves(x))
        if symbolic or x is UNSAID or others or set(named) - {"training"}:
            return super().__call__(x, *others, **named)
        return self._one_by_one(x, named.get("training", True))

    def call(self, x: Any, training: bool | None = None) -> Any:
        """The output of the last layer."""
        return self._one_by_one(x, training)

    def _one_by_one(self, x: Any, training: bool | None) -> Any:
        for layer in self.layers:
            x = layer(x) if training is None else layer(x, training=training)
        return x

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        layers = [described(layer) for layer in self.layers]
        return {"name": self.name, "trainable": self.trainable, "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a `get_config`."""
        layers = [of_description(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})
