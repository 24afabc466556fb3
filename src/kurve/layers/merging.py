"""Layers that merge several inputs, and functions that call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

from kurve.core.arguments import check_flag, from_signature, is_integer
from kurve.core.entries import entry
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments
from kurve.layers.masks import either, fitted


class Merge(Layer):
    """Shared by all: a list of at least two inputs.

    Inputs with fewer axes get axes of size 1 after the batch axis; then shapes
    broadcast as in NumPy.
    """

    _supports_masking = True

    takes_several = True
    takes_scalars = True
    most: int | None = None

    def __init__(self, **common: Unpack[LayerArguments]) -> None:
        super().__init__(**common)

    def call(self, inputs: Any) -> Any:
        """Merge several tensors into one output."""
        where = type(self).__name__
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ValueError(
                f"[{where}] the layer takes a list of at least two tensors. "
                f"Received: {inputs!r}. Try {where}()([a, b])."
            )
        if self.most is not None and len(inputs) > self.most:
            raise ValueError(
                f"[{where}] the layer takes {self.most} tensors. "
                f"Received: {len(inputs)}. Try several layers."
            )
        return self.merge(list(inputs))

    def merge(self, inputs: list[Any]) -> Any:
        """The formula for a list of tensors."""
        raise NotImplementedError

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The steps valid in any of the inputs; None if an input has no mask.

        Args:
            inputs: a list of tensors.
            previous_mask: a mask or None for each.
        """
        return either(_listed(type(self).__name__, inputs, previous_mask))

    def masks(self, inputs: list[Any]) -> list[Any]:
        """The mask of each input, with as many axes as it has, or None."""
        where = type(self).__name__
        return [None if x.mask is None else fitted(where, x.mask, x) for x in inputs]

    def check_input(self, input_shape: Any) -> None:
        """Accepts any shapes: the layer has no weights."""

    def one_by_one(self, inputs: list[Any], function: Callable[[Any, Any], Any]) -> Any:
        """function(function(a, b), c)..., after equalizing the number of axes."""
        most = max(len(x.shape) for x in inputs)
        shapes = [x.shape for x in inputs]
        total = None
        for x in inputs:
            for _ in range(most - len(x.shape)):
                x = ops.expand_dims(x, 1)
            try:
                total = x if total is None else function(total, x)
            except ValueError:
                raise ValueError(
                    f"[{type(self).__name__}] the inputs must have shapes that "
                    "broadcast: counted from the last axis, sizes are equal or 1. "
                    f"Received: {', '.join(map(str, shapes))}. "
                    "Try a Dense layer that gives them the same size."
                ) from None
        return total


class _Chosen(Merge):
    """Shared by `Maximum` and `Minimum`."""

    def chosen(self, inputs: list[Any], function: Callable[[Any, Any], Any]) -> Any:
        """Like `one_by_one`, but where an input is masked at a step, the other is
        used."""
        masks = self.masks(inputs)
        if all(mask is None for mask in masks):
            return self.one_by_one(inputs, function)
        y, own = inputs[0], masks[0]
        for x, mask in zip(inputs[1:], masks[1:], strict=True):
            if mask is not None:
                x = ops.where(mask, x, y)
            if own is not None:
                y = ops.where(own, y, x)
            own = either([own, mask])
            y = self.one_by_one([y, x], function)
        return y


class Add(Merge):
    """y = a + b + ..., element by element.

    Args:
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a single input, or shapes that do not broadcast.

    Example:
        >>> kurve.layers.Add()([np.ones((1, 2)), np.ones((1, 2))])
        array([[2., 2.]], dtype=float32)
    """

    def merge(self, inputs: list[Any]) -> Any:
        """The sum."""
        return self.one_by_one(inputs, ops.add)


class Subtract(Merge):
    """y = a - b, of two inputs.

    Args:
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not two inputs, or shapes that do not broadcast.

    Example:
        >>> kurve.layers.Subtract()([np.ones((1, 2)), np.ones((1, 2))])
        array([[0., 0.]], dtype=float32)
    """

    most = 2

    def merge(self, inputs: list[Any]) -> Any:
        """The difference."""
        return self.one_by_one(inputs, ops.subtract)


class Multiply(Merge):
    """y = a b ..., element by element.

    Args:
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a single input, or shapes that do not broadcast.

    Example:
        >>> kurve.layers.Multiply()([np.full((1, 2), 3.0), np.full((1, 2), 2.0)])
        array([[6., 6.]], dtype=float32)
    """

    def merge(self, inputs: list[Any]) -> Any:
        """The product of the unmasked inputs; 0 where all inputs are masked."""
        masks = self.masks(inputs)
        kept = [
            x if mask is None else ops.where(mask, x, 1.0)
            for x, mask in zip(inputs, masks, strict=True)
        ]
        y = self.one_by_one(kept, ops.multiply)
        some = either(masks)
        return y if some is None else ops.where(some, y, 0.0)


class Average(Merge):
    """y = (a + b + ...) / n, element by element.

    Args:
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a single input, or shapes that do not broadcast.

    Example:
        >>> kurve.layers.Average()([np.full((1, 2), 3.0), np.full((1, 2), 2.0)])
        array([[2.5, 2.5]], dtype=float32)
    """

    def merge(self, inputs: list[Any]) -> Any:
        """The mean."""
        return ops.divide(self.one_by_one(inputs, ops.add), float(len(inputs)))


class Maximum(_Chosen):
    """y = max(a, b, ...), element by element; ties split the gradient.

    Args:
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a single input, or shapes that do not broadcast.

    Example:
        >>> kurve.layers.Maximum()([np.full((1, 2), 3.0), np.full((1, 2), 2.0)])
        array([[3., 3.]], dtype=float32)
    """

    def merge(self, inputs: list[Any]) -> Any:
        """The largest of the unmasked inputs."""
        return self.chosen(inputs, ops.maximum)


class Minimum(_Chosen):
    """y = min(a, b, ...), element by element; ties split the gradient.

    Args:
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a single input, or shapes that do not broadcast.

    Example:
        >>> kurve.layers.Minimum()([np.full((1, 2), 3.0), np.full((1, 2), 2.0)])
        array([[2., 2.]], dtype=float32)
    """

    def merge(self, inputs: list[Any]) -> Any:
        """The smallest of the unmasked inputs."""
        return self.chosen(inputs, ops.minimum)


class Concatenate(Merge):
    """Concatenate the inputs along an axis.

    Args:
        axis: axis, counting the batch axis (0), which cannot be used.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: axis is not an integer.
        ValueError: shapes that differ in another axis.

    Example:
        >>> kurve.layers.Concatenate()([np.ones((1, 2)), np.zeros((1, 1))])
        array([[1., 1., 0.]], dtype=float32)
    """

    arguments = from_signature()

    def __init__(self, axis: int = -1, **common: Unpack[LayerArguments]) -> None:
        super().__init__(**common)
        if not is_integer(axis):
            raise TypeError(
                f"[Concatenate] axis must be an integer. Received: axis={axis!r}. "
                "Try axis=-1."
            )
        self.axis = int(axis)

    def merge(self, inputs: list[Any]) -> Any:
        """The inputs concatenated along `axis`."""
        return ops.concatenate(inputs, self.axis)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The concatenated masks; for the last axis, the steps valid in any of the
        inputs. All steps of an input without a mask are valid.

        Args:
            inputs: a list of tensors.
            previous_mask: a mask or None for each.
        """
        masks = _listed("Concatenate", inputs, previous_mask)
        if masks is None or all(mask is None for mask in masks):
            return None
        wide = []
        for x, mask in zip(inputs, masks, strict=True):
            if mask is None:
                wide.append(ops.ones_like(x, "bool"))
            elif len(mask.shape) == len(x.shape):
                wide.append(mask)
            else:
                zeros = ops.zeros_like(x, "bool")
                wide.append(ops.logical_or(fitted("Concatenate", mask, x), zeros))
        return ops.any(ops.concatenate(wide, self.axis), -1)


class Dot(Merge):
    """The dot product of two inputs over one axis of each, per sample: for vectors
    y = sum(a b), (B, 1).

    Args:
        axes: axes, counting the batch axis: one for both inputs, or a pair.
        normalize: whether to L2-normalize the inputs along `axes` first, which gives
            the cosine similarity.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: axes that are not integers.
        ValueError: not two inputs, or axes of different sizes.

    Example:
        >>> kurve.layers.Dot(axes=1)([np.ones((1, 3)), np.full((1, 3), 2.0)])
        array([[6.]], dtype=float32)
    """

    arguments = from_signature()
    most = 2

    def __init__(
        self,
        axes: int | Sequence[int],
        normalize: bool = False,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        pair = (axes, axes) if is_integer(axes) else axes
        if (
            not isinstance(pair, (list, tuple))
            or len(pair) != 2
            or not all(map(is_integer, pair))
        ):
            raise TypeError(
                "[Dot] axes must be an integer or a pair of integers. "
                f"Received: axes={axes!r}. Try axes=1."
            )
        self.axes = axes if is_integer(axes) else tuple(pair)
        self.normalize = check_flag("Dot", "normalize", normalize)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """None: the product combines all steps.

        Args:
            inputs, previous_mask: inputs and masks of the layer.
        """
        return None

    def merge(self, inputs: list[Any]) -> Any:
        """The product over `axes`."""
        pair: Any = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        names = []
        for x, axis in zip(inputs, pair, strict=True):
            count = len(x.shape)
            if not -count <= axis < count or axis % count == 0:
                raise ValueError(
                    "[Dot] axes must be those of the inputs, without the batch axis. "
                    f"Received: axes={self.axes} for shapes "
                    f"{', '.join(str(i.shape) for i in inputs)}. Try axes=-1."
                )
            names.append(axis % count)
        (a, b), (i, j) = inputs, names
        if a.shape[i] != b.shape[j]:
            raise ValueError(
                "[Dot] the two axes must have equal sizes. Received: axes="
                f"{self.axes} of shapes {a.shape} and {b.shape}. Try other axes."
            )
        if self.normalize:
            a, b = ops.normalize(a, i), ops.normalize(b, j)
        first = "abcdefgh"[: len(a.shape)]
        second = "a" + "ijklmnop"[: len(b.shape) - 1]
        second = second[:j] + first[i] + second[j + 1 :]
        rest = first[:i] + first[i + 1 :] + (second[:j] + second[j + 1 :])[1:]
        y = ops.einsum(f"{first},{second}->{rest}", a, b)
        return ops.expand_dims(y, 1) if len(rest) == 1 else y


def _listed(where: str, inputs: Any, masks: Any) -> Any:
    """The masks, one for each input; None for None."""
    if masks is None:
        return None
    if not isinstance(masks, (list, tuple)) or len(masks) != len(inputs):
        raise ValueError(
            f"[{where}] mask must be a list with one mask or None per input. "
            f"Received: {masks!r} for {len(inputs)} inputs. Try [None, mask]."
        )
    return masks


@entry
def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Add()(inputs)`.

    Args:
        inputs: tensors or arrays.
        kwargs: arguments of the layer.
    """
    return Add(**kwargs)(inputs)


@entry
def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Subtract()(inputs)`.

    Args:
        inputs: two tensors or arrays.
        kwargs: arguments of the layer.
    """
    return Subtract(**kwargs)(inputs)


@entry
def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Multiply()(inputs)`.

    Args:
        inputs: tensors or arrays.
        kwargs: arguments of the layer.
    """
    return Multiply(**kwargs)(inputs)


@entry
def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Average()(inputs)`.

    Args:
        inputs: tensors or arrays.
        kwargs: arguments of the layer.
    """
    return Average(**kwargs)(inputs)


@entry
def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Maximum()(inputs)`.

    Args:
        inputs: tensors or arrays.
        kwargs: arguments of the layer.
    """
    return Maximum(**kwargs)(inputs)


@entry
def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Minimum()(inputs)`.

    Args:
        inputs: tensors or arrays.
        kwargs: arguments of the layer.
    """
    return Minimum(**kwargs)(inputs)


@entry
def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate(axis)(inputs)`.

    Args:
        inputs: tensors or arrays.
        axis: see `Concatenate`.
        kwargs: arguments of the layer.
    """
    return Concatenate(axis=axis, **kwargs)(inputs)


@entry
def dot(
    inputs: Sequence[Any],
    axes: int | Sequence[int],
    normalize: bool = False,
    **kwargs: Any,
) -> Any:
    """`Dot(axes, normalize)(inputs)`.

    Args:
        inputs: two tensors or arrays.
        axes, normalize: see `Dot`.
        kwargs: arguments of the layer.
    """
    return Dot(axes=axes, normalize=normalize, **kwargs)(inputs)
