"""The functions of Keras 2's `keras.backend`: `K.mean`, `K.square`, `K.dot`.

They are current tensor functions under other names or with other defaults. Each takes
arrays, and tensors of formulas and models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas import nn
from kurve.formulas.graph import Graph, Tensor, is_variable
from kurve.formulas.tensor import KerasTensor
from kurve.legacy import sessions
from kurve.legacy.sessions import public

SAME = (
    "abs",
    "all",
    "any",
    "arange",
    "cos",
    "cumsum",
    "equal",
    "exp",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "log",
    "logsumexp",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "ndim",
    "not_equal",
    "one_hot",
    "ones_like",
    "prod",
    "round",
    "shape",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "softplus",
    "square",
    "squeeze",
    "stack",
    "std",
    "stop_gradient",
    "sum",
    "tanh",
    "tile",
    "transpose",
    "var",
    "zeros_like",
    "eye",
    "reshape",
    "cast",
)
"""Functions of `kurve.ops` of the same name."""


def names() -> list[str]:
    """All names of the old backend."""
    return sorted({*_own(), *SAME})


def _own() -> dict[str, Any]:
    """The functions that are written here, by name."""
    defined = {**vars(sessions), **globals()}
    return {name: f for name, f in defined.items() if getattr(f, "_k", False)}


def today(name: str) -> str:
    """What to write today."""
    if name in SAME:
        return f"kurve.ops.{name}"
    return str(_own()[name].__doc__).partition("\n")[0].partition(": today ")[2]


def find(name: str) -> Any:
    """The function of that name.

    Raises:
        LookupError: unknown name.
    """
    if name in SAME:
        return getattr(ops, name)
    return _own()[name]


# ---------------------------------------------------------------- one by one


@public
def sqrt(x: Any) -> Any:
    """The square root of x, 0 for negative x: today kurve.ops.sqrt"""
    return ops.sqrt(ops.maximum(x, 0.0))


@public
def pow(x: Any, a: Any) -> Any:
    """x to the power of a: today kurve.ops.power"""
    return ops.power(x, a)


@public
def clip(x: Any, min_value: Any = None, max_value: Any = None) -> Any:
    """x clipped to a range: today kurve.ops.clip"""
    low = -np.inf if min_value is None else min_value
    return ops.clip(x, low, np.inf if max_value is None else max_value)


@public
def relu(
    x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """max(x, 0) and its variants: today kurve.ops.relu"""
    below = ops.multiply(ops.subtract(x, threshold), alpha) if alpha else 0.0
    y = ops.relu(x) if not threshold else ops.where(ops.greater(x, threshold), x, 0.0)
    if alpha:
        y = ops.where(ops.greater(x, threshold), x, below)
    return y if max_value is None else ops.minimum(y, max_value)


@public
def elu(x: Any, alpha: float = 1.0) -> Any:
    """alpha (e^x - 1) below 0: today kurve.activations.elu"""
    return nn.elu(x, alpha)


@public
def softsign(x: Any) -> Any:
    """x / (1 + |x|): today kurve.activations.softsign"""
    return nn.softsign(x)


@public
def hard_sigmoid(x: Any) -> Any:
    """0.2 x + 0.5 clipped to [0, 1]: today kurve.ops.clip(0.2 * x + 0.5, 0, 1)"""
    return ops.clip(ops.add(ops.multiply(x, 0.2), 0.5), 0.0, 1.0)


@public
def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """Select elementwise: today kurve.ops.where"""
    parts = [
        part() if callable(part) and not is_variable(part) else part
        for part in (then_expression, else_expression)
    ]
    return ops.where(condition, *parts)


@public
def identity(x: Any, name: str | None = None) -> Any:
    """x: today x itself"""
    return x


# ---------------------------------------------------------------- along axes


@public
def argmax(x: Any, axis: int = -1) -> Any:
    """Index of the maximum: today kurve.ops.argmax(x, axis=-1)"""
    return ops.argmax(x, axis)


@public
def argmin(x: Any, axis: int = -1) -> Any:
    """Index of the minimum: today kurve.ops.argmin(x, axis=-1)"""
    return ops.argmin(x, axis)


@public
def l2_normalize(x: Any, axis: Any = None) -> Any:
    """x divided by its norm: today kurve.ops.normalize"""
    total = ops.sum(ops.square(x), axis, True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(total, 1e-12)))


@public
def concatenate(tensors: Sequence[Any], axis: int = -1) -> Any:
    """Concatenate tensors: today kurve.ops.concatenate(tensors, axis=-1)"""
    return ops.concatenate(tensors, axis)


@public
def expand_dims(x: Any, axis: int = -1) -> Any:
    """Insert an axis of length 1: today kurve.ops.expand_dims(x, axis=-1)"""
    return ops.expand_dims(x, axis)


@public
def permute_dimensions(x: Any, pattern: Sequence[int]) -> Any:
    """Permute the axes: today kurve.ops.transpose"""
    return ops.transpose(x, tuple(pattern))


@public
def flatten(x: Any) -> Any:
    """Flatten to one axis: today kurve.ops.reshape(x, (-1,))"""
    return ops.reshape(x, (-1,))


@public
def batch_flatten(x: Any) -> Any:
    """(B, ...) as (B, n): today layers.Flatten()(x)"""
    return ops.reshape(x, (-1, math.prod(ops.shape(x)[1:])))


@public
def repeat(x: Any, n: int) -> Any:
    """(B, F) as (B, n, F): today layers.RepeatVector(n)(x)"""
    return ops.repeat(ops.expand_dims(x, 1), n, 1)


@public
def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Repeat each element: today kurve.ops.repeat"""
    return ops.repeat(x, rep, axis)


@public
def reverse(x: Any, axes: Any) -> Any:
    """Reverse axes: today kurve.ops.flip"""
    return ops.flip(x, axes)


@public
def gather(reference: Any, indices: Any) -> Any:
    """Rows by index: today kurve.ops.take(x, indices, axis=0)"""
    return ops.take(reference, indices, 0)


@public
def dot(x: Any, y: Any) -> Any:
    """The matrix product: today kurve.ops.matmul, or tensordot"""
    n, m = len(ops.shape(x)), len(ops.shape(y))
    if n <= 2 or m <= 2:
        return ops.matmul(x, y)
    return ops.tensordot(x, y, [[n - 1], [m - 2]])


@public
def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """Products per sample: today layers.Dot(axes)([x, y]), or kurve.ops.einsum"""
    n, m = len(ops.shape(x)), len(ops.shape(y))
    if axes is None:
        axes = (n - 1, m - 2 if m > 2 else m - 1)
    first, second = (axes, axes) if isinstance(axes, int) else axes
    letters = "abcdefghijkl"
    one, two = list(letters[:n]), list(letters[n : n + m])
    two[0], two[second % m] = one[0], one[first % n]
    out = [c for i, c in enumerate(one) if i != first % n]
    out += [c for i, c in enumerate(two) if i not in (0, second % m)]
    terms = f"{''.join(one)},{''.join(two)}->{''.join(out)}"
    y = ops.einsum(terms, x, y)
    return ops.expand_dims(y, 1) if len(out) == 1 else y


# ---------------------------------------------------------------- shapes and types


@public
def int_shape(x: Any) -> Any:
    """The shape as a tuple: today x.shape"""
    return tuple(ops.shape(x))


@public
def dtype(x: Any) -> str:
    """The name of the dtype: today x.dtype"""
    return str(getattr(x.dtype, "name", x.dtype))


@public
def count_params(x: Any) -> int:
    """The number of elements: today math.prod(x.shape)"""
    return int(math.prod(ops.shape(x)))


@public
def cast_to_floatx(x: Any) -> Any:
    """Cast to float32: today kurve.ops.cast(x, "float32")"""
    plain = isinstance(x, (int, float, list, tuple, np.ndarray))
    return np.asarray(x, np.float32) if plain else ops.cast(x, "float32")


@public
def constant(value: Any, dtype: Any = None, shape: Any = None, name: Any = None) -> Any:
    """An array of numbers: today numpy.array"""
    array = np.asarray(value, dtype or "float32")
    return array if shape is None else np.broadcast_to(array, shape).copy()


@public
def zeros(shape: Any, dtype: Any = None, name: Any = None) -> Any:
    """An array of zeros: today kurve.ops.zeros"""
    return np.zeros(shape, dtype or "float32")


@public
def ones(shape: Any, dtype: Any = None, name: Any = None) -> Any:
    """An array of ones: today kurve.ops.ones"""
    return np.ones(shape, dtype or "float32")


# ---------------------------------------------------------------- random numbers


def _random(
    distribution: str, shape: Any, change: Callable[[Any], Any], seed: Any
) -> Any:
    """New numbers in each step of a model; the shape starts with the batch."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    sizes = tuple(None if isinstance(s, (Tensor, KerasTensor)) else s for s in sizes)
    if sizes and sizes[0] is None:
        graph = Graph.current
        if graph is None:
            raise TypeError(
                "[random_normal] numbers for each row of a batch are part of a formula."
                f" Received: shape={shape!r} outside of one. Try layers.Lambda(f)(x), "
                "where f calls it."
            )
        return change(graph.random(distribution, sizes, None))
    draw = np.random.default_rng(seed)
    numbers = (
        draw.normal(size=sizes) if distribution == "normal" else draw.random(sizes)
    )
    return change(numbers.astype(np.float32))


@public
def random_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Normal random numbers: today layers.GaussianNoise, or numpy.random"""
    return _random(
        "normal", shape, lambda y: ops.add(ops.multiply(y, stddev), mean), seed
    )


@public
def random_uniform(
    shape: Any,
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Uniform random numbers: today layers.Dropout, or numpy.random"""
    width = maxval - minval
    return _random(
        "uniform", shape, lambda y: ops.add(ops.multiply(y, width), minval), seed
    )


# ---------------------------------------------------------------- losses


@public
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """For each element: today losses.binary_crossentropy"""
    return nn.binary_crossentropy(target, output, from_logits)


@public
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """For each row: today losses.categorical_crossentropy"""
    return nn.categorical_crossentropy(target, output, from_logits, axis)


@public
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """For each row: today losses.sparse_categorical_crossentropy"""
    return nn.sparse_categorical_crossentropy(target, output, from_logits, axis)
