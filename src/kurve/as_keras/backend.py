"""The functions of Keras 2's `keras.backend`: `K.mean`, `K.square`, `K.dot`.

Tensor functions under older names, for arrays and in models. State functions
(`K.clear_session`, `K.epsilon`) are in `kurve.backend`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.as_keras.random import uniform as random_uniform
from kurve.as_keras.tensorflow import arrays, elementwise, nn, reductions
from kurve.as_keras.tensorflow import random as numbers
from kurve.as_keras.tensorflow.values import eager, is_symbolic_tensor, kind, tensor
from kurve.as_keras.tensorflow.variables import Variable
from kurve.core.entries import warn
from kurve.formulas import functions as ops
from kurve.formulas.graph import is_variable
from kurve.formulas.tensor import KerasTensor
from kurve.legacy import backend as old

value = reductions.value

_ONE = {
    "abs": "abs",
    "cos": "cos",
    "exp": "exp",
    "log": "log",
    "round": "round",
    "sigmoid": "sigmoid",
    "sign": "sign",
    "sin": "sin",
    "softplus": "softplus",
    "square": "square",
    "stop_gradient": "stop_gradient",
    "tanh": "tanh",
}
_TWO = {
    "equal": "equal",
    "greater": "greater",
    "greater_equal": "greater_equal",
    "less": "less",
    "less_equal": "less_equal",
    "maximum": "maximum",
    "minimum": "minimum",
    "not_equal": "not_equal",
    "pow": "pow",
}
_REDUCTIONS = {
    "all": "all",
    "any": "any",
    "logsumexp": "logsumexp",
    "max": "max",
    "mean": "mean",
    "min": "min",
    "prod": "prod",
    "std": "std",
    "sum": "sum",
    "var": "var",
}

__all__ = [
    "Variable",
    *_ONE,
    *_TWO,
    *_REDUCTIONS,
    "arange",
    "argmax",
    "argmin",
    "batch_dot",
    "batch_flatten",
    "batch_get_value",
    "batch_set_value",
    "binary_crossentropy",
    "cast",
    "cast_to_floatx",
    "categorical_crossentropy",
    "clip",
    "concatenate",
    "constant",
    "count_params",
    "cumsum",
    "dot",
    "dropout",
    "dtype",
    "elu",
    "eval",
    "expand_dims",
    "eye",
    "flatten",
    "function",
    "gather",
    "get_value",
    "hard_sigmoid",
    "identity",
    "image_dim_ordering",
    "set_floatx",
    "set_image_dim_ordering",
    "in_top_k",
    "int_shape",
    "is_keras_tensor",
    "l2_normalize",
    "learning_phase",
    "ndim",
    "one_hot",
    "ones",
    "ones_like",
    "permute_dimensions",
    "print_tensor",
    "random_bernoulli",
    "random_binomial",
    "random_normal",
    "random_uniform",
    "random_normal_variable",
    "relu",
    "repeat",
    "random_uniform_variable",
    "repeat_elements",
    "reset_uids",
    "reshape",
    "reverse",
    "set_learning_phase",
    "set_value",
    "shape",
    "softmax",
    "softsign",
    "squeeze",
    "sparse_categorical_crossentropy",
    "sqrt",
    "stack",
    "switch",
    "tile",
    "transpose",
    "truncated_normal",
    "update",
    "update_add",
    "update_sub",
    "variable",
    "zeros",
    "zeros_like",
]


def _reduction(name: str, own: str) -> Callable[..., Any]:
    def call(x: Any, axis: Any = None, keepdims: Any = False) -> Any:
        x = value(x)
        if own in ("mean", "std", "var") and getattr(x, "dtype", "") == "bool":
            x = ops.cast(x, "float32")
        return getattr(ops, own)(x, axis, bool(keepdims))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = getattr(ops, own).__doc__
    return eager(call)


for _table in (_ONE, _TWO):
    for _name, _own in _table.items():
        setattr(sys.modules[__name__], _name, getattr(elementwise, _own))
for _name, _own in _REDUCTIONS.items():
    setattr(sys.modules[__name__], _name, _reduction(_name, _own))


def _old(name: str, tensors: int = 0) -> Any:
    """The function of `kurve.legacy.backend` with tensors as its first arguments."""
    call = old.find(name)
    first = list(inspect.signature(call).parameters)[:tensors]

    @functools.wraps(call)
    def of_tensors(*args: Any, **kwargs: Any) -> Any:
        args = (*map(value, args[:tensors]), *args[tensors:])
        given = {k: value(v) if k in first else v for k, v in kwargs.items()}
        return call(*args, **given)

    of_tensors.__doc__ = str(call.__doc__).partition(": today ")[0] + "."
    return eager(of_tensors) if tensors else of_tensors


sqrt = _old("sqrt", 1)
clip = _old("clip", 1)
argmax = _old("argmax", 1)
argmin = _old("argmin", 1)
relu = _old("relu", 1)
hard_sigmoid = _old("hard_sigmoid", 1)
int_shape = _old("int_shape", 1)
count_params = _old("count_params", 1)
batch_flatten = _old("batch_flatten", 1)
expand_dims = _old("expand_dims", 1)
permute_dimensions = _old("permute_dimensions", 1)
repeat = _old("repeat", 1)
repeat_elements = _old("repeat_elements", 1)
dot = _old("dot", 2)
batch_dot = _old("batch_dot", 2)
binary_crossentropy = _old("binary_crossentropy", 2)
categorical_crossentropy = _old("categorical_crossentropy", 2)
sparse_categorical_crossentropy = _old("sparse_categorical_crossentropy", 2)
dtype = _old("dtype")
get_value = _old("get_value")
set_value = _old("set_value")
batch_get_value = _old("batch_get_value")
batch_set_value = _old("batch_set_value")
learning_phase = _old("learning_phase")
set_learning_phase = _old("set_learning_phase")
reset_uids = _old("reset_uids")
function = _old("function")

cast, reverse, stack = arrays.cast, arrays.reverse, arrays.stack
gather, identity, eye = arrays.gather, arrays.identity, arrays.eye
cumsum, in_top_k = reductions.cumsum, reductions.in_top_k
elu, softsign = nn.elu, nn.softsign


@eager
def l2_normalize(x: Any, axis: Any = None) -> Any:
    """x / sqrt(max(sum(x²), 1e-12)) along an axis."""
    return reductions.l2_normalize(x, axis)


@eager
def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) divided by its sum along an axis."""
    return ops.softmax(value(x), axis)


# ---------------------------------------------------------------- shapes


def shape(x: Any) -> Any:
    """The shape; in a model a tuple with None for the batch."""
    return arrays.shape(x)


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(ops.shape(value(x)))


@eager
def reshape(x: Any, shape: Any) -> Any:
    """Reshape; -1 is inferred."""
    return ops.reshape(value(x), arrays.sizes(shape))


@eager
def flatten(x: Any) -> Any:
    """Flatten to one axis. In a model the batch axis stays, so a mean is per sample,
    and the mean of these is the overall mean."""
    return batch_flatten(x) if is_symbolic_tensor(x) else ops.reshape(value(x), (-1,))


@eager
def squeeze(x: Any, axis: int) -> Any:
    """Remove an axis of length 1."""
    return ops.squeeze(value(x), axis)


@eager
def transpose(x: Any) -> Any:
    """Reverse the axes."""
    return ops.transpose(value(x))


@eager
def concatenate(tensors: Any, axis: int = -1) -> Any:
    """Concatenate tensors along an axis."""
    return ops.concatenate([value(t) for t in tensors], axis)


@eager
def tile(x: Any, n: Any) -> Any:
    """Repeat along each axis."""
    return ops.tile(value(x), n if isinstance(n, int) else arrays.sizes(n))


@eager
def one_hot(indices: Any, num_classes: int) -> Any:
    """One-hot encode indices."""
    return ops.one_hot(value(indices), num_classes)


# ---------------------------------------------------------------- making


def constant(value: Any, dtype: Any = None, shape: Any = None, name: Any = None) -> Any:
    """A constant tensor, float32 by default."""
    return arrays.constant(value, dtype or "float32", shape)


def variable(
    value: Any, dtype: Any = None, name: str | None = None, constraint: Any = None
) -> Any:
    """A variable, float32 by default."""
    return Variable(value, dtype=dtype or "float32", name=name, constraint=constraint)


def zeros(shape: Any, dtype: Any = "float32", name: Any = None) -> Any:
    """A variable of zeros."""
    return Variable(np.zeros(arrays.sizes(shape), kind(dtype or "float32")))


def ones(shape: Any, dtype: Any = "float32", name: Any = None) -> Any:
    """A variable of ones."""
    return Variable(np.ones(arrays.sizes(shape), kind(dtype or "float32")))


def zeros_like(x: Any, dtype: Any = None, name: Any = None) -> Any:
    """Zeros with the shape of x."""
    return arrays.zeros_like(x, dtype)


def ones_like(x: Any, dtype: Any = None, name: Any = None) -> Any:
    """Ones with the shape of x."""
    return arrays.ones_like(x, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> Any:
    """Numbers from start to stop, exclusive."""
    return arrays.range(start, stop, step, dtype)


def cast_to_floatx(x: Any) -> Any:
    """Cast to float32."""
    return (
        np.asarray(x, np.float32) if isinstance(x, np.ndarray) else cast(x, "float32")
    )


def random_bernoulli(
    shape: Any, p: float = 0.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Random numbers that are 1 with probability p, else 0."""
    drawn = random_uniform(shape, dtype="float32", seed=seed) < p
    return tensor(np.asarray(drawn), dtype or "float32")


random_binomial = random_bernoulli


def random_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Normal random numbers; in a model, new ones in each step."""
    return numbers.normal(shape, mean, stddev, dtype or "float32", seed)


def truncated_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Normal random numbers within two standard deviations."""
    return numbers.truncated_normal(shape, mean, stddev, dtype or "float32", seed)


def random_normal_variable(
    shape: Any,
    mean: float,
    scale: float,
    dtype: Any = None,
    name: Any = None,
    seed: Any = None,
) -> Any:
    """A variable of normal random numbers."""
    return Variable(random_normal(shape, mean, scale, dtype, seed), name=name)


def random_uniform_variable(
    shape: Any,
    low: float,
    high: float,
    dtype: Any = None,
    name: Any = None,
    seed: Any = None,
) -> Any:
    """A variable of uniform random numbers."""
    return Variable(random_uniform(shape, low, high, dtype, seed), name=name)


# ---------------------------------------------------------------- values


def eval(x: Any) -> Any:
    """The value as an array."""
    return np.asarray(tensor(x))[()]


def update(x: Any, new_x: Any) -> Any:
    """Set a variable."""
    return x.assign(new_x)


def update_add(x: Any, increment: Any) -> Any:
    """Add to a variable."""
    return x.assign_add(increment)


def update_sub(x: Any, decrement: Any) -> Any:
    """Subtract from a variable."""
    return x.assign_sub(decrement)


def print_tensor(x: Any, message: str = "", summarize: int = 3) -> Any:
    """Print x if it has a value, and return it."""
    if isinstance(x, np.ndarray):
        print(message, np.asarray(x))
    return x


def is_keras_tensor(x: Any) -> bool:
    """Whether x is a symbolic tensor."""
    return isinstance(x, KerasTensor)


def image_dim_ordering() -> str:
    """Keras 1's name for channels-last."""
    return "tf"


def set_image_dim_ordering(dim_ordering: str) -> None:
    """Accept Keras 1's name for channels-last.

    Raises:
        ValueError: another order.
    """
    if dim_ordering != "tf":
        from kurve.config import set_image_data_format

        set_image_data_format("channels_first")


@eager
def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """The first expression where the condition is true, the second elsewhere."""
    parts = [
        part if callable(part) and not is_variable(part) else value(part)
        for part in (then_expression, else_expression)
    ]
    return old.switch(value(condition), *parts)


@eager
def dropout(x: Any, level: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """x with a fraction of its elements set to 0, the others scaled up."""
    return nn.dropout(x, level, noise_shape, seed)


def set_floatx(dtype: Any) -> None:
    """Continue in float32, with a warning for another type."""
    if kind(dtype) != "float32":
        warn(
            "[set_floatx] engines compute in float32, and so does this program. "
            f"Received: {dtype!r}. Try set_floatx('float32')."
        )
