"""Behaviour of Kurve's own objects only in programs for Keras and TensorFlow: tensor
shapes have TensorFlow's methods, layers have older ones, and a sample's targets apply
to all its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.as_keras.shapes import TensorShape
from kurve.as_keras.tensorflow.values import last_asked
from kurve.core.results import Values
from kurve.formulas.graph import Tensor
from kurve.formulas.tensor import KerasTensor
from kurve.layers.base import Layer
from kurve.legacy.calls import add_variable
from kurve.losses.rows import broadcasting

_plain: Any = vars(Tensor)["shape"].fget


def install() -> None:
    """Install this behaviour."""
    broadcasting[0] = True
    last_asked.clear()
    values: Any = Values
    values.shape = property(_shape, _set_shape)
    values.get_shape = _shape
    values.set_shape = _checked
    symbolic: Any = KerasTensor
    symbolic.shape = symbolic._keras_shape = property(_lengths, _set_lengths)
    symbolic.get_shape = _lengths
    symbolic.set_shape = _checked
    traced: Any = Tensor
    traced.shape = property(_traced)
    traced.get_shape = _traced
    traced.set_shape = _checked
    layer: Any = Layer
    layer.add_variable = add_variable


def uninstall() -> None:
    """Remove what changes the results of calls."""
    broadcasting[0] = False


def _checked(tensor: Any, shape: Any) -> None:
    """TensorFlow's `set_shape`: shapes are known here, so that it only checks them."""
    if shape is not None and not tensor.shape.is_compatible_with(shape):
        raise ValueError(
            "[set_shape] the shape must be one that the tensor can have. "
            f"Received: {shape} for a tensor of shape {tuple(tensor.shape)}. "
            "Try tf.reshape."
        )


def _shape(values: Any) -> TensorShape:
    return TensorShape(np.ndarray.shape.__get__(values))


def _set_shape(values: Any, shape: Any) -> None:
    np.ndarray.shape.__set__(values, shape)  # type: ignore[attr-defined]


def _lengths(tensor: Any) -> TensorShape:
    return TensorShape(vars(tensor)["shape"])


def _set_lengths(tensor: Any, shape: Any) -> None:
    vars(tensor)["shape"] = shape


def _traced(tensor: Any) -> TensorShape:
    return TensorShape(_plain(tensor))
