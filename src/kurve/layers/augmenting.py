"""The base of the layers that transform images at random in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from kurve.core import rng
from kurve.core.arguments import is_number
from kurve.core.rng import check_seed
from kurve.formulas import functions as ops
from kurve.formulas.calls import graph_of
from kurve.formulas.operators import Symbolic
from kurve.layers.base import UNSAID, LayerArguments
from kurve.layers.windows import Images
from kurve.plan import Attr

Factor = float | Sequence[float]


def uniforms(x: Any, count: int, seed: int | None) -> Any:
    """Random numbers in (0, 1) for each image and step, (B, count)."""
    graph = graph_of(x)
    assert graph is not None
    attrs: dict[str, Attr] = {"distribution": "uniform", "stream": graph.stream}
    if seed is not None:
        attrs |= {"stream": 0, "seed": seed & rng.LARGEST_SEED}
    return graph.op("random", [x], (count,), attrs=attrs)


def between(u: Any, ends: tuple[float, float]) -> Any:
    """A number between the ends, from one in (0, 1)."""
    low, high = ends
    return u * (high - low) + low


class Pictures(Images):
    """Base class of layers that are called with images as Keras takes them: one image
    (H, W, C), a batch of them, or a dictionary whose "images" are transformed, and
    other entries kept.
    """

    keeps_places = True
    """Whether pixels stay where they are, so that segmentation masks stay valid."""

    def __call__(self, x: Any = UNSAID, *others: Any, **named: Any) -> Any:
        """Transform images x (B, H, W, C), one image (H, W, C), or a dictionary with
        images, labels and masks.

        Raises:
            NotImplementedError: bounding boxes, or masks that would have to move.
        """
        if isinstance(x, Mapping) and "images" in x:
            self._refuse_places(x)
            return self._of_dictionary(dict(x), *others, **named)
        alone = getattr(x, "ndim", None) == 3 and not isinstance(x, Symbolic)
        y = super().__call__(x[None] if alone else x, *others, **named)
        return y[0] if alone else y

    def _of_dictionary(self, x: dict[str, Any], *others: Any, **named: Any) -> Any:
        return {**x, "images": self(np.asarray(x["images"]), *others, **named)}

    def _refuse_places(self, x: Mapping[str, Any]) -> None:
        for name in ("bounding_boxes", "segmentation_masks"):
            if name in x and (name == "bounding_boxes" or not self.keeps_places):
                raise NotImplementedError(
                    f"[{type(self).__name__}] the layer only transforms images, not "
                    f"their boxes and masks. Received: {name!r}. Try a layer that does "
                    "not move pixels, such as RandomBrightness, on the images alone."
                )


class Augmenting(Pictures):
    """Base class: called directly, such a layer transforms images unless
    training=False; layers that mix images also take a dictionary's "labels".
    """

    training_by_default = True

    bounds = (-1.0, 1.0)
    """Limits of factors."""

    def __init__(
        self,
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.seed = check_seed(type(self).__name__, seed)

    def _ends(
        self,
        name: str,
        factor: Any,
        bounds: tuple[float, float] | None = None,
    ) -> tuple[float, float]:
        """(low, high) of a factor; a number x means (-x, x), limited by the lower
        bound."""
        least, most = self.bounds if bounds is None else bounds
        ends = factor
        if is_number(factor) and least <= factor <= most:
            ends = [max(-abs(factor), least), abs(factor)]
        if (
            isinstance(ends, (list, tuple))
            and len(ends) == 2
            and all(is_number(end) and least <= end <= most for end in ends)
        ):
            return float(min(ends)), float(max(ends))
        raise ValueError(
            f"[{type(self).__name__}] {name} must be a number, or a pair of them, in "
            f"[{least:g}, {most:g}]. Received: {name}={factor!r}. "
            f"Try {name}={1 if least == 1 else 0.2}."
        )

    def _values(self, value_range: Any) -> tuple[float, float]:
        """The range of pixel values, (low, high)."""
        if (
            not isinstance(value_range, (list, tuple))
            or len(value_range) != 2
            or not all(map(is_number, value_range))
            or value_range[0] == value_range[1]
        ):
            raise ValueError(
                f"[{type(self).__name__}] value_range must be two different numbers. "
                f"Received: value_range={value_range!r}. Try (0, 255)."
            )
        low, high = sorted(value_range)
        return (low, high)


class Colors(Augmenting):
    """Base class of layers that change colors by formula, with random numbers for each
    image."""

    value_range: tuple[float, float] = (0, 255)

    draws = 1
    """Number of random numbers per image."""

    clips = True
    """Whether results are clipped to the range of pixel values."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        """The images, transformed in training."""
        self.check_axes(tuple(x.shape[1:]))
        if not training:
            return x
        numbers = uniforms(x, self.draws, self.seed)
        y = self.changed(
            x,
            *(
                ops.reshape(
                    ops.get_item(numbers, (slice(None), slice(i, i + 1))),
                    (-1, 1, 1, 1),
                )
                for i in range(self.draws)
            ),
        )
        return self.clipped(y) if self.clips else y

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, each transformed according to numbers in (0, 1)."""
        raise NotImplementedError

    def clipped(self, y: Any) -> Any:
        """Within the range of pixel values."""
        low, high = self.value_range
        return ops.clip(y, float(low), float(high))

    def scaled(self, x: Any, to: float = 1.0) -> Any:
        """The images with values from 0 to `to` in place of those of value_range."""
        low, high = map(float, self.value_range)
        if (low, high) == (0.0, to):
            return x
        return (x - low) / (high - low) * to

    def unscaled(self, y: Any, of: float = 1.0) -> Any:
        """The inverse of `scaled`."""
        low, high = map(float, self.value_range)
        if (low, high) == (0.0, of):
            return y
        return y / of * (high - low) + low

    def check_colors(self, x: Any) -> None:
        """Refuse images without 3 channels."""
        if x.shape[-1] != 3:
            raise ValueError(
                f"[{type(self).__name__}] images must have 3 channels. "
                f"Received: {x.shape[-1]}. Try RandomBrightness, which takes any."
            )
