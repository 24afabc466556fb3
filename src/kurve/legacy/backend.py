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
from kurve.formulas.needs import NeedsValues
from kurve.formulas.tensor import KerasTensor

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
    """All names in this module."""
    own = [n for n, v in globals().items() if getattr(v, "_k", False)]
    return sorted({*own, *SAME})


def today(name: str) -> str:
    """What to write today."""
    if name in SAME:
        return f"kurve.ops.{name}"
    return str(globals()[name].__doc__).partition("\n")[0].partition(": today ")[2]


def find(name: str) -> Any:
    """The function of that name.

    Raises:
        LookupError: unknown name.
    """
    if name in SAME:
        return getattr(ops, name)
    found = globals().get(name)
    if getattr(found, "_k", False):
        return found
    raise LookupError(name)


def _k(call: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that marks public functions of this module."""
    call._k = True  # type: ignore[attr-defined]
    return call


# ---------------------------------------------------------------- one by one


@_k
def sqrt(x: Any) -> Any:
    """The square root of x, 0 for negative x: today kurve.ops.sqrt"""
    return ops.sqrt(ops.maximum(x, 0.0))


@_k
def pow(x: Any, a: Any) -> Any:
    """x to the power of a: today kurve.ops.power"""
    return ops.power(x, a)


@_k
def clip(x: Any, min_value: Any = None, max_value: Any = None) -> Any:
    """x clipped to a range: today kurve.ops.clip"""
    low = -np.inf if min_value is None else min_value
    return ops.clip(x, low, np.inf if max_value is None else max_value)


@_k
def relu(
    x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """max(x, 0) and its variants: today kurve.ops.relu"""
    below = ops.multiply(ops.subtract(x, threshold), alpha) if alpha else 0.0
    y = ops.relu(x) if not threshold else ops.where(ops.greater(x, threshold), x, 0.0)
    if alpha:
        y = ops.where(ops.greater(x, threshold), x, below)
    return y if max_value is None else ops.minimum(y, max_value)


@_k
def elu(x: Any, alpha: float = 1.0) -> Any:
    """alpha (e^x - 1) below 0: today kurve.activations.elu"""
    return nn.elu(x, alpha)


@_k
def softsign(x: Any) -> Any:
    """x / (1 + |x|): today kurve.activations.softsign"""
    return nn.softsign(x)


@_k
def hard_sigmoid(x: Any) -> Any:
    """0.2 x + 0.5 clipped to [0, 1]: today kurve.ops.clip(0.2 * x + 0.5, 0, 1)"""
    return ops.clip(ops.add(ops.multiply(x, 0.2), 0.5), 0.0, 1.0)


@_k
def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """Select elementwise: today kurve.ops.where"""
    parts = [
        part() if callable(part) and not is_variable(part) else part
        for part in (then_expression, else_expression)
    ]
    return ops.where(condition, *parts)


@_k
def identity(x: Any, name: str | None = None) -> Any:
    """x: today x itself"""
    return x


# ---------------------------------------------------------------- along axes


@_k
def argmax(x: Any, axis: int = -1) -> Any:
    """Index of the maximum: today kurve.ops.argmax(x, axis=-1)"""
    return ops.argmax(x, axis)


@_k
def argmin(x: Any, axis: int = -1) -> Any:
    """Index of the minimum: today kurve.ops.argmin(x, axis=-1)"""
    return ops.argmin(x, axis)


@_k
def l2_normalize(x: Any, axis: Any = None) -> Any:
    """x divided by its norm: today kurve.ops.normalize"""
    total = ops.sum(ops.square(x), axis, True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(total, 1e-12)))


@_k
def concatenate(tensors: Sequence[Any], axis: int = -1) -> Any:
    """Concatenate tensors: today kurve.ops.concatenate(tensors, axis=-1)"""
    return ops.concatenate(tensors, axis)


@_k
def expand_dims(x: Any, axis: int = -1) -> Any:
    """Insert an axis of length 1: today kurve.ops.expand_dims(x, axis=-1)"""
    return ops.expand_dims(x, axis)


@_k
def permute_dimensions(x: Any, pattern: Sequence[int]) -> Any:
    """Permute the axes: today kurve.ops.transpose"""
    return ops.transpose(x, tuple(pattern))


@_k
def flatten(x: Any) -> Any:
    """Flatten to one axis: today kurve.ops.reshape(x, (-1,))"""
    return ops.reshape(x, (-1,))


@_k
def batch_flatten(x: Any) -> Any:
    """(B, ...) as (B, n): today layers.Flatten()(x)"""
    return ops.reshape(x, (-1, math.prod(ops.shape(x)[1:])))


@_k
def repeat(x: Any, n: int) -> Any:
    """(B, F) as (B, n, F): today layers.RepeatVector(n)(x)"""
    return ops.repeat(ops.expand_dims(x, 1), n, 1)


@_k
def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Repeat each element: today kurve.ops.repeat"""
    return ops.repeat(x, rep, axis)


@_k
def reverse(x: Any, axes: Any) -> Any:
    """Reverse axes: today kurve.ops.flip"""
    return ops.flip(x, axes)


@_k
def gather(reference: Any, indices: Any) -> Any:
    """Rows by index: today kurve.ops.take(x, indices, axis=0)"""
    return ops.take(reference, indices, 0)


@_k
def dot(x: Any, y: Any) -> Any:
    """The matrix product: today kurve.ops.matmul, or tensordot"""
    n, m = len(ops.shape(x)), len(ops.shape(y))
    if n <= 2 or m <= 2:
        return ops.matmul(x, y)
    return ops.tensordot(x, y, [[n - 1], [m - 2]])


@_k
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


@_k
def int_shape(x: Any) -> Any:
    """The shape as a tuple: today x.shape"""
    return tuple(ops.shape(x))


@_k
def dtype(x: Any) -> str:
    """The name of the dtype: today x.dtype"""
    return str(getattr(x.dtype, "name", x.dtype))


@_k
def count_params(x: Any) -> int:
    """The number of elements: today math.prod(x.shape)"""
    return int(math.prod(ops.shape(x)))


@_k
def cast_to_floatx(x: Any) -> Any:
    """Cast to float32: today kurve.ops.cast(x, "float32")"""
    plain = isinstance(x, (int, float, list, tuple, np.ndarray))
    return np.asarray(x, np.float32) if plain else ops.cast(x, "float32")


@_k
def constant(value: Any, dtype: Any = None, shape: Any = None, name: Any = None) -> Any:
    """An array of numbers: today numpy.array"""
    array = np.asarray(value, dtype or "float32")
    return array if shape is None else np.broadcast_to(array, shape).copy()


@_k
def zeros(shape: Any, dtype: Any = None, name: Any = None) -> Any:
    """An array of zeros: today kurve.ops.zeros"""
    return np.zeros(shape, dtype or "float32")


@_k
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


@_k
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


@_k
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


# ---------------------------------------------------------------- values


@_k
def get_value(x: Any) -> Any:
    """The value: today x.numpy()"""
    return x.numpy() if hasattr(x, "numpy") else x


@_k
def set_value(x: Any, value: Any) -> None:
    """Set a variable: today x.assign(value)"""
    x.assign(value)


@_k
def batch_get_value(tensors: Any) -> list[Any]:
    """The values of several variables: today [x.numpy() for x in tensors]"""
    return [get_value(x) for x in tensors]


@_k
def batch_set_value(tuples: Any) -> None:
    """Set several variables: today x.assign(value) for each"""
    for x, value in tuples:
        x.assign(value)


@_k
def eval(x: Any) -> Any:
    """The value: today numpy.asarray(x)"""
    return np.asarray(get_value(x))


@_k
def print_tensor(x: Any, message: str = "", summarize: int = 3) -> Any:
    """x, printed: today print(x)"""
    print(message, x)
    return x


@_k
def learning_phase() -> int:
    """0, because direct calls run in inference mode: today the argument training of
    call()"""
    return 0


@_k
def set_learning_phase(value: Any) -> None:
    """Whether to train: today the argument training of call()"""
    if value not in (0, False):
        raise ValueError(
            "[set_learning_phase] training is an argument of each call. "
            f"Received: {value!r}. Try layer(x, training=True)."
        )


@_k
def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """alt, unless training is True: today x if training else alt"""
    chosen = x if training in (1, True) else alt
    return chosen() if callable(chosen) else chosen


@_k
def reset_uids() -> None:
    """Restart automatic names: today kurve.utils.clear_session()"""
    from kurve.utils import clear_session

    clear_session()


@_k
def get_session() -> None:
    """There are no sessions: today nothing takes its place"""


@_k
def _get_available_gpus() -> list[str]:
    """The names of graphics processors, of which none is used: today nothing takes its
    place"""
    return []


@_k
def set_session(session: Any) -> None:
    """There are no sessions: today nothing takes its place"""


@_k
def placeholder(
    shape: Any = None,
    ndim: int | None = None,
    dtype: Any = None,
    name: Any = None,
    sparse: bool = False,
) -> Any:
    """An input: today kurve.Input"""
    from kurve.layers import Input

    if shape is None:
        shape = (None,) * (ndim or 1)
    return Input(tuple(shape)[1:], name=name)


@_k
def function(inputs: Any, outputs: Any, updates: Any = None, **unused: Any) -> Any:
    """A function from arrays to outputs: today kurve.Model(inputs, outputs).predict"""
    from kurve.models import Model

    if updates:
        raise NotImplementedError(
            "[function] updates are made by fit. "
            f"Received: {len(updates)} of them. Try model.train_on_batch(x, y)."
        )
    given = [x for x in _listed(inputs) if isinstance(x, KerasTensor)]
    model = Model(given if len(given) > 1 else given[0], list(_listed(outputs)))

    def call(values: Any) -> Any:
        arrays = [np.asarray(v) for v in _listed(values)[: len(given)]]
        found = model.predict(arrays if len(given) > 1 else arrays[0], verbose=0)
        parts = [np.asarray(part) for part in _listed(found)]
        return parts if isinstance(outputs, (list, tuple)) else parts[0]

    return call


@_k
def gradients(loss: Any, variables: Any) -> Any:
    """The gradients of a tensor of a model by others: today kurve.GradientTape

    Args:
        loss: a symbolic tensor; its elements are summed.
        variables: symbolic tensors that it is computed from, such as `model.input` or a
            layer's output; one, or a list.
    """
    return [_gradient(loss, x) for x in _listed(variables)]


def _gradient(loss: Any, x: Any) -> Any:
    if not isinstance(x, KerasTensor) or not isinstance(loss, KerasTensor):
        what = "loss" if isinstance(x, KerasTensor) else "variables"
        given = loss if isinstance(x, KerasTensor) else x
        raise TypeError(
            f"[gradients] {what} must be a symbolic tensor of a model. "
            f"Received: {given!r}. Try tf.GradientTape for weights and values."
        )
    from kurve.gradients import GradientTape
    from kurve.gradients.inputs import grad
    from kurve.layers import Lambda
    from kurve.models import Model

    others, whole = _inputs_beside(loss, x), _is_of_batch(loss)
    part = Model([x, *others] if others else x, loss)

    def slopes(given: Any) -> Any:
        first, *rest = given if others else [given]

        def total(value: Any) -> Any:
            rows = part([value, *rest] if others else value)
            return ops.mean(rows) if whole else rows

        if isinstance(first, Tensor):
            try:
                return grad(lambda value: ops.sum(total(value)))(first)
            except NotImplementedError as error:  # such as a mean over the batch
                raise NeedsValues(str(error)) from None
        with GradientTape() as tape:
            first = ops.convert_to_tensor(first)
            tape.watch(first)
            found = total(first)
        return tape.gradient(found, first)

    given = [x, *others] if others else x
    return Lambda(slopes, output_shape=x.shape[1:])(given)


def _is_of_batch(loss: KerasTensor) -> bool:
    """Whether it is one number for the batch, which a model repeats for each row."""
    before = loss.history.node.input_tensors
    return loss.of_batch or (bool(before) and all(map(_is_of_batch, before)))


def _inputs_beside(loss: KerasTensor, x: KerasTensor) -> list[Any]:
    """The inputs that the loss is computed from without x."""
    found: list[Any] = []
    waiting, seen = [loss], set[int]()
    while waiting:
        tensor = waiting.pop()
        if tensor is x or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        node = tensor.history.node
        if node.is_input:
            found.append(tensor)
        waiting += node.input_tensors
    return found[::-1]


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


# ---------------------------------------------------------------- losses


@_k
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """For each element: today losses.binary_crossentropy"""
    return nn.binary_crossentropy(target, output, from_logits)


@_k
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """For each row: today losses.categorical_crossentropy"""
    return nn.categorical_crossentropy(target, output, from_logits, axis)


@_k
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """For each row: today losses.sparse_categorical_crossentropy"""
    return nn.sparse_categorical_crossentropy(target, output, from_logits, axis)
