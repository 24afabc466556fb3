"""The functions of Keras 2's `keras.backend`: `K.mean`, `K.square`, `K.dot`.

They are functions of tensors under older names, for arrays and in models. Housekeeping
(`K.clear_session`, `K.epsilon`) is in `kurve.backend`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow import arrays, elementwise, nn, reductions
from kurve.as_keras.tensorflow import random as numbers
from kurve.as_keras.tensorflow.values import eager, is_symbolic_tensor, kind, tensor
from kurve.as_keras.tensorflow.variables import Variable
from kurve.formulas import functions as ops
from kurve.formulas.graph import is_variable
from kurve.formulas.tensor import KerasTensor

value = reductions.value

_ONE = {
    "abs": "abs", "cos": "cos", "exp": "exp", "log": "log", "round": "round",
    "sigmoid": "sigmoid", "sign": "sign", "sin": "sin", "softplus": "softplus",
    "square": "square", "stop_gradient": "stop_gradient", "tanh": "tanh",
}  # fmt: skip
_TWO = {
    "equal": "equal", "greater": "greater", "greater_equal": "greater_equal",
    "less": "less", "less_equal": "less_equal", "maximum": "maximum",
    "minimum": "minimum", "not_equal": "not_equal", "pow": "pow",
}  # fmt: skip
_REDUCTIONS = {
    "all": "all", "any": "any", "logsumexp": "logsumexp", "max": "max",
    "mean": "mean", "min": "min", "prod": "prod", "std": "std", "sum": "sum",
    "var": "var",
}  # fmt: skip

__all__ = [
    *_ONE, *_TWO, *_REDUCTIONS,
    *("arange", "argmax", "argmin", "batch_dot", "batch_flatten", "batch_get_value"),
    *("batch_set_value", "binary_crossentropy", "cast", "cast_to_floatx"),
    *("categorical_crossentropy", "clip", "concatenate", "constant", "count_params"),
    *("cumsum", "dot", "dropout", "dtype", "elu", "eval", "expand_dims", "eye"),
    *("flatten", "function", "gather", "get_value", "hard_sigmoid", "identity"),
    *("image_dim_ordering", "set_image_dim_ordering"),
    *("in_top_k", "int_shape", "is_keras_tensor", "l2_normalize", "learning_phase"),
    *("ndim", "one_hot", "ones", "ones_like", "permute_dimensions", "print_tensor"),
    *("random_normal", "random_uniform", "random_normal_variable", "relu", "repeat"),
    *("random_uniform_variable", "repeat_elements", "reset_uids", "reshape", "reverse"),
    *("set_learning_phase", "set_value", "shape", "softmax", "softsign", "squeeze"),
    *("sparse_categorical_crossentropy", "sqrt", "stack", "switch", "tile"),
    *("transpose", "truncated_normal", "update", "update_add", "update_sub"),
    *("variable", "zeros", "zeros_like"),
]  # fmt: skip


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

cast, reverse, stack = arrays.cast, arrays.reverse, arrays.stack
gather, identity, eye = arrays.gather, arrays.identity, arrays.eye
cumsum, in_top_k = reductions.cumsum, reductions.in_top_k
elu, softsign = nn.elu, nn.softsign


@eager
def sqrt(x: Any) -> Any:
    """The square root of x, of 0 where x is below."""
    return ops.sqrt(ops.maximum(value(x), 0.0))


@eager
def clip(x: Any, min_value: Any = None, max_value: Any = None) -> Any:
    """x where it is between the bounds, else the nearer one."""
    low = -np.inf if min_value is None else min_value
    high = np.inf if max_value is None else max_value
    return ops.clip(value(x), low, high)


@eager
def argmax(x: Any, axis: int = -1) -> Any:
    """The position of the first maximum along an axis."""
    return ops.argmax(value(x), axis)


@eager
def argmin(x: Any, axis: int = -1) -> Any:
    """The position of the first minimum along an axis."""
    return ops.argmin(value(x), axis)


@eager
def l2_normalize(x: Any, axis: Any = None) -> Any:
    """x / sqrt(max(sum(x²), 1e-12)) along an axis."""
    return reductions.l2_normalize(x, axis)


@eager
def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) over its sum along an axis."""
    return ops.softmax(value(x), axis)


@eager
def relu(
    x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """x from the threshold (0) on, at most max_value; alpha (x - threshold) below."""
    x = value(x)
    above = ops.where(ops.greater_equal(x, threshold), x, 0.0)
    if max_value is not None:
        above = ops.minimum(above, max_value)
    if not alpha:
        return above
    below = ops.multiply(ops.minimum(ops.subtract(x, threshold), 0.0), alpha)
    return ops.add(above, below)


@eager
def hard_sigmoid(x: Any) -> Any:
    """Keras 2's: 0.2 x + 0.5, within 0 and 1."""
    return ops.clip(ops.add(ops.multiply(value(x), 0.2), 0.5), 0.0, 1.0)


# ---------------------------------------------------------------- products


@eager
def dot(x: Any, y: Any) -> Any:
    """The product of matrices; of more axes, of the last of x and the one before the
    last of y."""
    x, y = value(x), value(y)
    axes = len(ops.shape(y))
    if axes <= 2 or len(ops.shape(x)) <= 2:
        return ops.matmul(x, y)
    return ops.tensordot(x, y, [[len(ops.shape(x)) - 1], [axes - 2]])


@eager
def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """The product of the samples of two batches, along these axes."""
    x, y = value(x), value(y)
    n, m = len(ops.shape(x)), len(ops.shape(y))
    if axes is None:
        axes = (n - 1, m - 2 if m > 2 else m - 1)
    first, second = (axes, axes) if isinstance(axes, int) else axes
    letters = "abcdefghijklmnopqrstuvwxyz"
    one, two = list(letters[:n]), list(letters[n : n + m])
    two[0] = one[0]
    two[second % m] = one[first % n]
    out = one[: first % n] + one[first % n + 1 :]
    out += [c for i, c in enumerate(two) if i not in (0, second % m)]
    y_ = ops.einsum(f"{''.join(one)},{''.join(two)}->{''.join(out)}", x, y)
    return ops.expand_dims(y_, 1) if len(out) == 1 else y_


# ---------------------------------------------------------------- shapes


def shape(x: Any) -> Any:
    """The lengths of the axes; in a model a tuple, None for the batch."""
    return arrays.shape(x)


def int_shape(x: Any) -> Any:
    """The lengths of the axes as a tuple."""
    return tuple(ops.shape(value(x)))


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(ops.shape(value(x)))


def dtype(x: Any) -> str:
    """The name of the type of the numbers."""
    return str(getattr(x.dtype, "name", x.dtype))


def count_params(x: Any) -> int:
    """The number of elements."""
    return int(np.prod(int_shape(x)))


@eager
def reshape(x: Any, shape: Any) -> Any:
    """The elements in another shape; -1 is what is left."""
    return ops.reshape(value(x), arrays.sizes(shape))


@eager
def flatten(x: Any) -> Any:
    """All elements along one axis. In a model the batch axis stays, so that a mean is
    that of each sample, and the mean of these is that of all."""
    return batch_flatten(x) if is_symbolic_tensor(x) else ops.reshape(value(x), (-1,))


@eager
def batch_flatten(x: Any) -> Any:
    """The elements of each sample along one axis."""
    x = value(x)
    return ops.reshape(x, (-1, int(np.prod(ops.shape(x)[1:]))))


@eager
def expand_dims(x: Any, axis: int = -1) -> Any:
    """With a new axis of length 1."""
    return ops.expand_dims(value(x), axis)


@eager
def squeeze(x: Any, axis: int) -> Any:
    """Without an axis of length 1."""
    return ops.squeeze(value(x), axis)


@eager
def permute_dimensions(x: Any, pattern: Any) -> Any:
    """With the axes in another order."""
    return ops.transpose(value(x), tuple(pattern))


@eager
def transpose(x: Any) -> Any:
    """With the axes in reverse order."""
    return ops.transpose(value(x))


@eager
def concatenate(tensors: Any, axis: int = -1) -> Any:
    """Tensors one after the other along an axis."""
    return ops.concatenate([value(t) for t in tensors], axis)


@eager
def repeat(x: Any, n: int) -> Any:
    """(B, F) as (B, n, F)."""
    return ops.repeat(ops.expand_dims(value(x), 1), n, 1)


@eager
def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Each element of an axis so many times."""
    return ops.repeat(value(x), rep, axis)


@eager
def tile(x: Any, n: Any) -> Any:
    """Side by side with itself."""
    return ops.tile(value(x), n if isinstance(n, int) else arrays.sizes(n))


@eager
def one_hot(indices: Any, num_classes: int) -> Any:
    """1 at the place of each number, 0 elsewhere."""
    return ops.one_hot(value(indices), num_classes)


# ---------------------------------------------------------------- making


def constant(value: Any, dtype: Any = None, shape: Any = None, name: Any = None) -> Any:
    """A tensor of these numbers, float32 by default."""
    return arrays.constant(value, dtype or "float32", shape)


def variable(
    value: Any, dtype: Any = None, name: str | None = None, constraint: Any = None
) -> Any:
    """A variable, float32 by default."""
    return Variable(value, dtype=dtype or "float32", name=name, constraint=constraint)


def zeros(shape: Any, dtype: Any = "float32", name: Any = None) -> Any:
    """A variable of 0."""
    return Variable(np.zeros(arrays.sizes(shape), kind(dtype or "float32")))


def ones(shape: Any, dtype: Any = "float32", name: Any = None) -> Any:
    """A variable of 1."""
    return Variable(np.ones(arrays.sizes(shape), kind(dtype or "float32")))


def zeros_like(x: Any, dtype: Any = None, name: Any = None) -> Any:
    """0 for each element."""
    return arrays.zeros_like(x, dtype)


def ones_like(x: Any, dtype: Any = None, name: Any = None) -> Any:
    """1 for each element."""
    return arrays.ones_like(x, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> Any:
    """Numbers from start up to, not including, stop."""
    return arrays.range(start, stop, step, dtype)


def cast_to_floatx(x: Any) -> Any:
    """As float32."""
    return (
        np.asarray(x, np.float32) if isinstance(x, np.ndarray) else cast(x, "float32")
    )


def random_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Normal numbers; in a model new ones in each step."""
    return numbers.normal(shape, mean, stddev, dtype or "float32", seed)


def random_uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None,
    seed: Any = None,
) -> Any:  # fmt: skip
    """Uniform numbers; in a model new ones in each step."""
    return numbers.uniform(shape, minval, maxval, dtype or "float32", seed)


def truncated_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Normal numbers within two standard deviations."""
    return numbers.truncated_normal(shape, mean, stddev, dtype or "float32", seed)


def random_normal_variable(
    shape: Any, mean: float, scale: float, dtype: Any = None, name: Any = None,
    seed: Any = None,
) -> Any:  # fmt: skip
    """A variable of normal numbers."""
    return Variable(random_normal(shape, mean, scale, dtype, seed), name=name)


def random_uniform_variable(
    shape: Any, low: float, high: float, dtype: Any = None, name: Any = None,
    seed: Any = None,
) -> Any:  # fmt: skip
    """A variable of uniform numbers."""
    return Variable(random_uniform(shape, low, high, dtype, seed), name=name)


# ---------------------------------------------------------------- values


def get_value(x: Any) -> Any:
    """The value of a variable, a tensor or a number."""
    return x.numpy() if hasattr(x, "numpy") else x


def set_value(x: Any, value: Any) -> None:
    """Set a variable."""
    x.assign(value)


def batch_get_value(tensors: Any) -> list[Any]:
    """The values of several."""
    return [get_value(x) for x in tensors]


def batch_set_value(tuples: Any) -> None:
    """Set several variables: pairs of a variable and its value."""
    for x, value_ in tuples:
        x.assign(value_)


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
    """x, which is printed if it has a value."""
    if isinstance(x, np.ndarray):
        print(message, np.asarray(x))
    return x


def is_keras_tensor(x: Any) -> bool:
    """Whether it is a symbolic tensor."""
    return isinstance(x, KerasTensor)


def learning_phase() -> int:
    """0: calls by hand predict."""
    return 0


def set_learning_phase(value: Any) -> None:
    """Accept 0; training is an argument of calls.

    Raises:
        ValueError: 1.
    """
    if value:
        raise ValueError(
            "[set_learning_phase] training is an argument of each call. "
            f"Received: {value!r}. Try model(x, training=True)."
        )


def image_dim_ordering() -> str:
    """Keras 1's name of channels last."""
    return "tf"


def set_image_dim_ordering(dim_ordering: str) -> None:
    """Accept Keras 1's name of channels last.

    Raises:
        ValueError: another order.
    """
    if dim_ordering != "tf":
        from kurve.config import set_image_data_format

        set_image_data_format("channels_first")


def reset_uids() -> None:
    """Let names of layers begin again."""
    from kurve.utils import clear_session

    clear_session()


def function(inputs: Any, outputs: Any, updates: Any = None, **_: Any) -> Any:
    """A function of lists of arrays, which computes outputs of a model's graph from
    inputs of it, as in prediction."""
    from kurve.models import Model

    given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    given = [x for x in given if isinstance(x, KerasTensor)]
    several = isinstance(outputs, (list, tuple))
    model = Model(given, list(outputs) if several else [outputs])

    def call(values: Any) -> Any:
        arrays_ = values if isinstance(values, (list, tuple)) else [values]
        arrays_ = [np.asarray(a) for a in arrays_[: len(given)]]
        found = model(arrays_ if len(given) > 1 else arrays_[0])
        parts = found if isinstance(found, (list, tuple)) else [found]
        parts = [np.asarray(part) for part in parts]
        return parts if several else parts[0]

    return call


@eager
def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """The first where the condition holds, the second elsewhere."""
    one, other = (
        e() if callable(e) and not is_variable(e) else e
        for e in (then_expression, else_expression)
    )
    return ops.where(value(condition), value(one), value(other))


@eager
def dropout(x: Any, level: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """x with a share of its elements set to 0, the others scaled up."""
    return nn.dropout(x, level, noise_shape, seed)


# ---------------------------------------------------------------- losses

EPSILON = 1e-7


@eager
def binary_crossentropy(target: Any, output: Any, from_logits: Any = False) -> Any:
    """-y log(p) - (1 - y) log(1 - p), for each element."""
    if from_logits:
        return nn.sigmoid_cross_entropy_with_logits(target, output)
    y, p = value(target), ops.clip(value(output), EPSILON, 1.0 - EPSILON)
    positive = ops.multiply(y, ops.log(p))
    negative = ops.multiply(ops.subtract(1.0, y), ops.log(ops.subtract(1.0, p)))
    return ops.negative(ops.add(positive, negative))


@eager
def categorical_crossentropy(
    target: Any, output: Any, from_logits: Any = False, axis: int = -1
) -> Any:
    """-sum(y log(p)) along an axis, with p made to sum to 1."""
    if from_logits:
        return nn.softmax_cross_entropy_with_logits(target, output, axis)
    p = value(output)
    p = ops.divide(p, ops.sum(p, axis, True))
    p = ops.clip(p, EPSILON, 1.0 - EPSILON)
    return ops.negative(ops.sum(ops.multiply(value(target), ops.log(p)), axis))


@eager
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: Any = False, axis: int = -1
) -> Any:
    """The same for class numbers."""
    y = ops.one_hot(value(target), ops.shape(value(output))[-1])
    return categorical_crossentropy(y, output, from_logits)
