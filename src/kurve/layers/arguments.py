"""Arguments common to all layers, and their checks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kurve import regularizers
from kurve.core.arguments import TypedDict, is_count, is_integer
from kurve.core.overrides import is_own
from kurve.plan import Shape
from kurve.regularizers import L1L2

if TYPE_CHECKING:
    from kurve.constraints import Constraint


MAX_ELEMENTS = 2**48
"""Maximum number of elements of a variable or sample, far beyond any memory."""

UNSAID: Any = object()
"""Marks an argument that was not passed."""


class UnusedArguments(TypedDict, total=False):
    """Keras's arguments of every layer that have no effect here."""


class NamedArguments(UnusedArguments, total=False):
    """Arguments of layers that define `trainable` themselves."""

    name: str | None
    activity_regularizer: str | L1L2 | None
    dtype: Any
    autocast: bool
    input_shape: Sequence[int] | int | None
    input_dim: int | None
    batch_input_shape: Sequence[int | None] | None
    batch_size: int | None


class LayerArguments(NamedArguments, total=False):
    """Arguments of every layer."""

    trainable: bool


def check_shape(cls: type, shape: Any) -> Shape:
    """The shape of one sample as a tuple of positive integers, with None for unknown
    sizes."""
    axes = (shape,) if is_integer(shape) else shape
    if (
        not isinstance(axes, (tuple, list))
        or not (axes or getattr(cls, "takes_scalars", False))
        or not all(axis is None or is_count(axis) for axis in axes)
    ):
        raise ValueError(
            f"[{cls.__name__}] the shape of one sample must be a tuple of positive "
            f"integers, without the batch axis. Received: {shape!r}. "
            "Try input_shape=(1,) for one feature."
        )
    return tuple(None if a is None else int(a) for a in axes)  # type: ignore[misc]


def check_batch_shape(cls: type, shape: Any) -> tuple[int | None, Shape]:
    """Split a shape (B, ...) into batch size, None or positive, and sample shape.

    Raises:
        ValueError: not a valid shape.
    """
    axes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if not axes or not (axes[0] is None or is_count(axes[0])):
        raise ValueError(
            f"[{cls.__name__}] the shape of a batch must be a tuple that begins with "
            f"the batch axis, None or a positive integer. Received: {shape!r}. "
            "Try (None, 1) for one feature."
        )
    return axes[0], check_shape(cls, axes[1:])


def check_data_format(cls: type, data_format: Any) -> str:
    """Where channels are: "channels_last", also for None, or "channels_first".

    Raises:
        ValueError: any other value.
    """
    if data_format is None:
        return "channels_last"
    known = ("channels_last", "channels_first")
    if isinstance(data_format, str) and data_format in known:
        return data_format
    raise ValueError(
        f"[{cls.__name__}] data_format must be 'channels_last' or 'channels_first'. "
        f"Received: data_format={data_format!r}. Try data_format='channels_last'."
    )


def check_size(cls: type, what: str, shape: Shape) -> None:
    """Refuse a shape with more elements than memory can hold."""
    if math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(
            f"[{cls.__name__}] the {what} must have at most {MAX_ELEMENTS} elements. "
            f"Received: {math.prod(shape)}, shape {shape}. Try smaller numbers."
        )


def takes(call: Any, name: str) -> bool:
    """Whether a function has an argument with that name."""
    parameters = inspect.signature(call).parameters
    return name in parameters or (
        name != "training" and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    )


def constraint_of(given: Any) -> Constraint | None:
    """The constraint passed as an argument."""
    from kurve import constraints

    return constraints.get(given)


def penalty_of(where: str, given: Any) -> Any:
    """The penalty of outputs of an argument."""
    penalty = regularizers.get(given)
    if penalty is None or isinstance(penalty, L1L2) or is_own(type(penalty)):
        return penalty
    raise TypeError(
        f"[{where}] activity_regularizer must be an L1L2 of kurve.regularizers, "
        f"because other penalties are formulas of weights. Received: {penalty!r}. "
        "Try add_loss in call() of a custom layer."
    )
