"""Input requirements of custom layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class InputSpec:
    """The requirements of a layer on its input, as its attribute `input_spec`; calls
    with other inputs are refused.

    Args:
        dtype: accepted; inputs are converted.
        shape: shape including the batch axis; None for any length.
        ndim, max_ndim, min_ndim: number of axes, including the batch axis.
        axes: dict from axis to length.
        allow_last_axis_squeeze: whether a last axis of length 1 can be missing or extra
            compared to `shape`.
        optional: whether the input can be None.

    Raises:
        TypeError: shape is not a sequence, or axes is not a dictionary.

    Example:
        >>> layer = kurve.layers.Dense(2)
        >>> layer.input_spec = kurve.layers.InputSpec(ndim=2, axes={-1: 3})
        >>> layer(kurve.Input((3,))).shape
        (None, 2)
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int] | None = None,
        allow_last_axis_squeeze: bool = False,
        optional: bool = False,
    ) -> None:
        several = shape is None or hasattr(shape, "__iter__")
        if not several or isinstance(shape, str):
            raise TypeError(
                "[InputSpec] shape must be a sequence, with the batch axis. "
                f"Received: shape={shape!r}. Try shape=(None, 3)."
            )
        if axes is not None and not isinstance(axes, Mapping):
            raise TypeError(
                "[InputSpec] axes must be a dictionary from axis to length. "
                f"Received: axes={axes!r}. Try axes={{-1: 3}}."
            )
        self.dtype, self.shape = dtype, None if shape is None else tuple(shape)
        self.ndim = ndim if self.shape is None else len(self.shape)
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = dict(axes or {})
        self.allow_last_axis_squeeze, self.optional = allow_last_axis_squeeze, optional

    def __repr__(self) -> str:
        said = [
            f"{k}={v!r}" for k, v in vars(self).items() if v not in (None, {}, False)
        ]
        return f"InputSpec({', '.join(said)})"

    def check(self, layer: Any, shape: Sequence[int | None]) -> None:
        """Refuse an input that does not meet the spec.

        Args:
            layer: the layer called.
            shape: shape of the input, including the batch axis.

        Raises:
            ValueError: wrong number of axes, or wrong length of an axis.
        """
        given, wanted = tuple(shape), self.shape
        if self.allow_last_axis_squeeze and wanted is not None:
            if given == (*wanted, 1):
                given = given[:-1]
            elif (*given, 1) == wanted:
                given = (*given, 1)
        count = len(given)
        fits = (
            (self.ndim is None or count == self.ndim)
            and (self.max_ndim is None or count <= self.max_ndim)
            and (self.min_ndim is None or count >= self.min_ndim)
        )
        lengths = [*enumerate(wanted or ()), *self.axes.items()]
        for axis, length in lengths if fits else ():
            there = -count <= axis < count
            known = given[axis] if there else -1
            fits = fits and (length is None or known is None or known == length)
        if not fits:
            raise ValueError(
                f"[{type(layer).__name__}] layer {layer.name!r} takes inputs of "
                f"{self!r}. Received: an input of shape {tuple(shape)}. "
                "Try layers.Reshape before it."
            )


def check_inputs(layer: Any, shapes: Any) -> None:
    """Refuse input shapes that do not match the layer's `input_spec`.

    Raises:
        ValueError: an input does not match.
    """
    specs = layer.input_spec
    many = isinstance(specs, (list, tuple))
    if isinstance(shapes, Mapping) or (not many and isinstance(shapes, list)):
        return
    one_by_one = zip(specs, shapes, strict=False) if many else [(specs, shapes)]
    for spec, sample in one_by_one:
        if isinstance(spec, InputSpec) and sample is not None:
            spec.check(layer, (None, *sample))
