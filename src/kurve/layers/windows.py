"""Layers that slide a window over the axes between batch and channels.

A sample is (length, channels) for a layer with one axis, (height, width, channels) for
one with two and (depth, height, width, channels) for one with three. To engines, a
sequence is an image of height 1, and a volume, except in convolutions, two images: see
`of_volumes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kurve.core.arguments import is_integer
from kurve.core.overrides import is_own
from kurve.formulas.window import Window as Window
from kurve.layers.arguments import check_data_format
from kurve.layers.base import Layer
from kurve.layers.channels import METHODS, in_both_formats
from kurve.plan import Attr, Op, Shape

AXES = {
    1: "length, channels",
    2: "height, width, channels",
    3: "depth, height, width, channels",
}
"""The axes of a sample, by their number without the channels."""

WIDEST = 2**31 - 1
"""The largest size, stride or dilation: engines store them in 32 bits."""

Sizes = int | Sequence[int]
"""One number for all axes, or one per axis."""


class Images(Layer):
    """Base class of layers for samples with `axes` axes and channels. Its subclasses
    are written for channels that come last.

    Args:
        data_format: "channels_last", "channels_first", or None for the first.

    Raises:
        ValueError: another data_format.
    """

    axes = 2

    channels_moved = False
    """Whether a method runs with channels that were moved to the end."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in METHODS:
            if name in vars(cls) and not is_own(cls):
                setattr(cls, name, in_both_formats(name, vars(cls)[name]))

    def __init__(self, data_format: str | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.data_format = check_data_format(type(self), data_format)

    def check_axes(self, input_shape: Shape) -> None:
        """Refuse samples of the wrong rank."""
        if len(input_shape) == self.axes + 1:
            return
        fix = "layers.Reshape before it"
        if len(input_shape) == self.axes:
            fix = "x[..., None], an axis for one channel"
        raise ValueError(
            f"[{type(self).__name__}] layer {self.name!r} expected samples of shape "
            f"({AXES[self.axes]}). Received: samples of shape {input_shape}. "
            f"Try {fix}."
        )

    def check_input(self, input_shape: Shape) -> None:
        """Accept samples of any size; if there are weights, only with the same number
        of channels."""
        self.check_axes(input_shape)
        assert self.built_shape is not None
        place = 0 if self.data_format == "channels_first" else -1
        channels = self.built_shape[place]
        if self._variables and input_shape[place] != channels:
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} was built for samples of "
                f"{channels} channels. Received: {input_shape[place]} channels, in "
                f"samples of shape {input_shape}. Try a new layer."
            )


class Sliding(Images):
    """Base class of convolutions and pooling.

    Args:
        sizes: sizes of the window, under the argument's name.
        strides, padding, dilation_rate: see `Conv2D`.
    """

    paddings: tuple[str, ...] = ("valid", "same")

    def __init__(
        self,
        sizes: tuple[str, Any],
        strides: Any,
        padding: str,
        dilation_rate: Any = 1,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        size = self.numbers(*sizes)
        self.strides = self.numbers("strides", strides)
        self.dilation_rate = self.numbers("dilation_rate", dilation_rate)
        lowered = padding.lower() if isinstance(padding, str) else ""
        if lowered not in self.paddings:
            raise ValueError(
                f"[{type(self).__name__}] padding must be one of "
                f"{', '.join(map(repr, self.paddings))}. Received: {padding!r}. "
                "Try padding='same' to keep the size."
            )
        self.padding = lowered
        self.windows = tuple(
            Window(*numbers)
            for numbers in zip(size, self.strides, self.dilation_rate, strict=True)
        )

    def numbers(self, argument: str, value: Any, low: int = 1) -> tuple[int, ...]:
        """One integer per axis, from a single integer or a sequence."""
        return integers(type(self), argument, value, self.axes, low)

    def places(self, input_shape: Shape) -> Shape:
        """Number of positions of the window along each axis.

        Raises:
            ValueError: wrong rank, or the window is larger than the sample.
        """
        self.check_axes(input_shape)
        found = tuple(
            window.places(length, self.padding)
            for window, length in zip(self.windows, input_shape, strict=False)
        )
        if 0 in found:
            spans = tuple(window.span for window in self.windows)
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} slides a window of "
                f"{_by(spans)} over its samples, which are too small. Received: "
                f"samples of shape {input_shape}. Try padding='same', or fewer "
                "downsampling layers before it."
            )
        return found

    def zeros(self, input_shape: Shape) -> list[tuple[int, int]]:
        """Numbers of zeros before and after each axis."""
        axes = zip(self.windows, input_shape, strict=False)
        return [window.pads(length, self.padding) for window, length in axes]

    def attrs(self, size: str, input_shape: Shape) -> dict[str, Attr]:
        """The window's attributes for the plan, with its size under that name."""
        return plane_attrs(size, self.windows, self.zeros(input_shape))


def plane_attrs(
    size: str, windows: Sequence[Window], pads: Sequence[tuple[int, int]]
) -> dict[str, Attr]:
    """A window and the zeros around it, with at least two axes."""
    if len(windows) == 1:
        windows, pads = [Window(1, 1), *windows], [(0, 0), *pads]
    attrs: dict[str, Attr] = {}
    for axis, window in zip("dhw"[-len(windows) :], windows, strict=True):
        attrs |= {f"{size}_{axis}": window.size, f"stride_{axis}": window.stride}
        if size == "kernel":
            attrs[f"dilation_{axis}"] = window.dilation
    return attrs | pad_attrs(pads)


def pad_attrs(pads: Sequence[tuple[int, int]]) -> dict[str, Attr]:
    """Numbers of elements around a plane or volume; the `pads` of a single axis apply
    to its width."""
    attrs: dict[str, Attr] = {}
    axes = (("front", "back"), ("top", "bottom"), ("left", "right"))
    pads = [(0, 0), *pads] if len(pads) == 1 else pads
    for names, numbers in zip(axes[-len(pads) :], pads, strict=True):
        attrs |= {f"pad_{name}": n for name, n in zip(names, numbers, strict=True)}
    return attrs


def of_volumes(op: Op, width: dict[str, Attr], rest: dict[str, Attr]) -> list[Op]:
    """The ops that apply `op` to volumes (D, H, W, C), one axis group at a time: along
    the width of images (D H, W, C), then along both axes of (D, H, W C).

    Args:
        op: the op, with the shapes of the volumes.
        width, rest: attributes along the width, and along the other two axes.
    """
    (d, h, w, c), across = op.in_shape, op.out_shape[2]
    lines, wide = (d * h, w, c), (d * h, across, c)
    first, last = (d, h, across * c), (*op.out_shape[:2], across * c)

    def part(kind: str, before: Shape, after: Shape, **attrs: Any) -> Op:
        return Op(kind, op.layer, before, after, attrs=attrs)

    return [
        part("reshape", op.in_shape, lines),
        part(op.kind, lines, wide, **op.attrs, **width),
        part("reshape", wide, first),
        part(op.kind, first, last, **op.attrs, **rest),
        part("reshape", last, op.out_shape),
    ]


def integers(
    cls: type, argument: str, value: Any, count: int, low: int = 1
) -> tuple[int, ...]:
    """`count` integers >= `low`, from a single integer or a sequence."""
    numbers = [value] * count if is_integer(value) else value
    if (
        isinstance(numbers, (list, tuple))
        and len(numbers) == count
        and all(is_integer(number) and low <= number <= WIDEST for number in numbers)
    ):
        return tuple(int(number) for number in numbers)
    also = f", or {count} of them" if count > 1 else ""
    fix = max(low, 2)
    raise ValueError(
        f"[{cls.__name__}] {argument} must be an integer of at least {low}{also}. "
        f"Received: {argument}={value!r}. Try {argument}={fix}."
    )


def _by(numbers: Sequence[int]) -> str:
    return " x ".join(map(str, numbers))
