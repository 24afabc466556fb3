"""Matrix products: `tf.matmul`, `tf.tensordot`."""

from __future__ import annotations

from typing import Any

from kurve.as_keras.tensorflow.reductions import value
from kurve.as_keras.tensorflow.values import eager
from kurve.formulas import functions as ops

__all__ = ["einsum", "matmul", "matvec", "norm", "tensordot"]


def _turned(x: Any, turned: Any) -> Any:
    x = value(x)
    return ops.swapaxes(x, -2, -1) if turned else x


@eager
def matmul(
    a: Any,
    b: Any,
    transpose_a: Any = False,
    transpose_b: Any = False,
    adjoint_a: Any = False,
    adjoint_b: Any = False,
    a_is_sparse: Any = False,
    b_is_sparse: Any = False,
    output_type: Any = None,
    name: Any = None,
) -> Any:
    """The matrix product over the last two axes, with optional transposes."""
    return ops.matmul(
        _turned(a, transpose_a or adjoint_a), _turned(b, transpose_b or adjoint_b)
    )


@eager
def matvec(a: Any, b: Any, transpose_a: Any = False, name: Any = None) -> Any:
    """The product of a matrix and a vector."""
    product = ops.matmul(_turned(a, transpose_a), ops.expand_dims(value(b), -1))
    return ops.squeeze(product, -1)


@eager
def tensordot(a: Any, b: Any, axes: Any, name: Any = None) -> Any:
    """The sum of products over pairs of axes."""
    return ops.tensordot(value(a), value(b), axes)


@eager
def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Any:
    """Einstein summation."""
    return ops.einsum(equation, *(value(x) for x in inputs))


@eager
def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: Any = None,
    name: Any = None,
) -> Any:
    """The Euclidean norm, or with ord=1 or inf the sum or the maximum of |x|."""
    return ops.norm(value(tensor), ord, axis, bool(keepdims))
