"""The data arguments of `fit`, `evaluate` and the others: arrays, lists of one array as
Keras accepts them, and pairs of x and y. Anything else is refused by its kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kurve import data
from kurve.layers.base import refuse_layers
from kurve.plan import Shape
from kurve.training.network import Network


def unpack_data(
    where: str, argument: str, value: Any, x: str = "x", fix: str | None = None
) -> tuple[Any, Any, Any]:
    """x, y and sample_weight (or None) of (x, y) or (x, y, sample_weight).

    Args:
        where, argument, fix: for the message.
        x: its name there.

    Raises:
        TypeError: neither of the two.
    """
    if isinstance(value, (tuple, list)) and len(value) in (2, 3):
        return value[0], value[1], value[2] if len(value) == 3 else None
    raise TypeError(
        f"[{where}] {argument} must be ({x}, y) or ({x}, y, sample_weight). "
        f"Received: {type(value).__name__}. {fix or f'Try {argument}=({x}, y).'}"
    )


def check_data(
    where: str,
    network: Network,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    sample_shape: Shape | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """x, y and weights in the form that engines take. Changes nothing.

    Args:
        network: compiled.
        sample_shape: the shape that an unbuilt network will be built for, if known.
    """
    compilation, plan = network.require_compiled(where), network.plan
    loss = compilation.loss
    if plan is not None:
        sample_shape = plan.input_shape
    x = one_array(where, "x", x, sample_shape)
    x = data.as_samples(where, "x", x, sample_shape, keep_bytes=True)
    if plan is not None:
        output = plan.output_shape
    else:
        output = network.output_shape_for(x.shape[1:])
    y = one_array(where, "y", y, None, len(x))
    y = data.as_targets(where, y, loss, output)
    data.check_same_length(where, x=x, y=y)
    weights = None
    if sample_weight is not None and class_weight is not None:
        raise ValueError(
            f"[{where}] only one of sample_weight and class_weight can be given. "
            "Received: both. Try their product as sample_weight."
        )
    if sample_weight is not None:
        weights = data.as_weights(where, sample_weight, len(x))
    if class_weight is not None:
        weights = data.class_weights(where, class_weight, y, loss.sparse)
    for metric, _ in compilation.metrics:
        metric.check_loss(where, loss)
    return x, y, weights


def one_array(
    where: str,
    argument: str,
    value: Any,
    sample_shape: Shape | None,
    rows: int | None = None,
) -> Any:
    """`value`, or the array of a list of one.

    Args:
        sample_shape: that of one sample; None if unknown.
        rows: number of rows, if that is known rather than the shape.

    Raises:
        TypeError: a dictionary, a generator or a set of batches.
        ValueError: several arrays, for models of one input and one output.
        NotImplementedError: a layer.
    """
    if isinstance(value, (list, tuple)):
        return _part(where, argument, value, sample_shape, rows)
    refuse_layers(where, value)
    if isinstance(value, Mapping):
        names = ", ".join(map(repr, list(value)[:5]))
        raise TypeError(
            f"[{where}] {argument} must be one array, because a model has one input "
            f"and one output. Received: a {type(value).__name__} with {names}. "
            f"Try numpy.column_stack(list({argument}.values())) for columns."
        )
    is_array = any(hasattr(value, n) for n in ("__array__", "__getitem__", "shape"))
    if isinstance(value, Iterable) and not is_array:
        raise TypeError(
            f"[{where}] {argument} must be one array with a row for every sample; "
            "batches from generators and data sets are not supported yet. Received: an "
            f"object of type {type(value).__name__}. Try numpy.concatenate of all "
            "batches, or model.train_on_batch(x, y) for each."
        )
    return value


def _part(
    where: str,
    argument: str,
    value: list[Any] | tuple[Any, ...],
    sample_shape: Shape | None,
    rows: int | None,
) -> Any:
    """The one array of the list, or the list itself if it holds samples."""
    shapes = [getattr(part, "shape", None) for part in value[:8]]
    complete = [
        isinstance(shape, tuple) and _has_all_rows(shape, sample_shape, rows)
        for shape in shapes
    ]
    if len(value) == 1 and complete[0]:
        return value[0]
    if sample_shape is not None and len(value) > 1 and all(complete):
        raise ValueError(
            f"[{where}] {argument} must be one array; models of several inputs are not "
            f"supported yet. Received: a list of {len(value)} arrays of shapes "
            f"{', '.join(map(str, shapes))}. Try numpy.concatenate({argument}) if they "
            "are rows of one table."
        )
    refuse_layers(where, value)
    return value


def _has_all_rows(shape: Shape, sample_shape: Shape | None, rows: int | None) -> bool:
    """Whether an array of this shape holds all samples, not one of them."""
    if rows is not None:
        return len(shape) > (rows == 1) and shape[0] == rows
    if sample_shape is None:
        return len(shape) > 1
    return (shape[1:] or (1,)) == sample_shape
