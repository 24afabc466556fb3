"""The functions of `kurve.ops`: names and meaning of Keras's.

Each takes arrays, and computes with NumPy; symbolic tensors, and records a call in the
user's graph; or tensors of a plan under construction, to which it appends operations.
Axes and shapes count the batch axis, as in Keras.
"""

from __future__ import annotations

import builtins
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.core.results import Values, result
from kurve.formulas.calls import as_array, elementwise, function, graph_of
from kurve.formulas.graph import MOST_AXES, Graph, Tensor, is_variable
from kurve.formulas.limits import spend
from kurve.formulas.tensor import KerasTensor


def _unary(
    name: str, rule: str, doc: str, dtype: str = "float32"
) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        return elementwise(rule, x, dtype=dtype)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return function(call)


def _binary(
    name: str, rule: str, doc: str, dtype: str = "float32"
) -> Callable[..., Any]:
    def call(x1: Any, x2: Any) -> Any:
        return elementwise(rule, x1, x2, dtype=dtype)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return function(call)


# ---------------------------------------------------------------- element by element

add = _binary("add", "add", "x1 + x2.")
subtract = _binary("subtract", "sub", "x1 - x2.")
multiply = _binary("multiply", "mul", "x1 x2, element by element.")
divide = _binary("divide", "div", "x1 / x2.")
true_divide = _binary("true_divide", "div", "x1 / x2.")
mod = _binary("mod", "mod", "The remainder of x1 / x2, with the sign of x2.")
power = _binary("power", "pow", "x1 to the power of x2.")
maximum = _binary("maximum", "max", "The larger of each pair.")
minimum = _binary("minimum", "min", "The smaller of each pair.")
arctan2 = _binary("arctan2", "arctan2", "The angle of (x2, x1), in radians.")
equal = _binary("equal", "eq", "Whether x1 = x2.", "bool")
not_equal = _binary("not_equal", "ne", "Whether x1 differs from x2.", "bool")
less = _binary("less", "lt", "Whether x1 < x2.", "bool")
less_equal = _binary("less_equal", "le", "Whether x1 <= x2.", "bool")
greater = _binary("greater", "gt", "Whether x1 > x2.", "bool")
greater_equal = _binary("greater_equal", "ge", "Whether x1 >= x2.", "bool")
logical_and = _binary("logical_and", "and", "Whether both are true.", "bool")
logical_or = _binary("logical_or", "or", "Whether one is true.", "bool")

negative = _unary("negative", "neg", "-x.")
absolute = _unary("absolute", "abs", "|x|.")
abs = _unary("abs", "abs", "|x|.")
square = _unary("square", "square", "x squared.")
sqrt = _unary("sqrt", "sqrt", "The square root.")
rsqrt = _unary("rsqrt", "rsqrt", "1 / sqrt(x).")
reciprocal = _unary("reciprocal", "reciprocal", "1 / x.")
exp = _unary("exp", "exp", "e to the power of x.")
expm1 = _unary("expm1", "expm1", "exp(x) - 1.")
log = _unary("log", "log", "The natural logarithm.")
log1p = _unary("log1p", "log1p", "log(1 + x).")
sin = _unary("sin", "sin", "The sine.")
cos = _unary("cos", "cos", "The cosine.")
tan = _unary("tan", "tan", "The tangent.")
arcsin = _unary("arcsin", "arcsin", "The inverse sine.")
arccos = _unary("arccos", "arccos", "The inverse cosine.")
arctan = _unary("arctan", "arctan", "The inverse tangent.")
sinh = _unary("sinh", "sinh", "The hyperbolic sine.")
cosh = _unary("cosh", "cosh", "The hyperbolic cosine.")
tanh = _unary("tanh", "tanh", "The hyperbolic tangent.")
arcsinh = _unary("arcsinh", "arcsinh", "The inverse hyperbolic sine.")
arccosh = _unary("arccosh", "arccosh", "The inverse hyperbolic cosine.")
arctanh = _unary("arctanh", "arctanh", "The inverse hyperbolic tangent.")
sigmoid = _unary("sigmoid", "sigmoid", "1 / (1 + exp(-x)).")
softplus = _unary("softplus", "softplus", "log(1 + exp(x)).")
erf = _unary("erf", "erf", "The error function.")
relu = _unary("relu", "relu", "max(x, 0).")
sign = _unary("sign", "sign", "-1, 0 or 1.")
floor = _unary("floor", "floor", "The largest integer that is not above x.")
ceil = _unary("ceil", "ceil", "The smallest integer that is not below x.")
stop_gradient = _unary("stop_gradient", "stop_gradient", "x, as a constant.")
logical_not = _unary("logical_not", "not", "Whether x is false.", "bool")
isfinite = _unary("isfinite", "isfinite", "Whether x is finite.", "bool")
isnan = _unary("isnan", "isnan", "Whether x is NaN.", "bool")


MOST_JOINED = 64
"""Inputs of one operation, in all engines; more are joined in steps."""


@function
def isinf(x: Any) -> Any:
    """Whether x is infinite."""
    return logical_not(logical_or(isfinite(x), isnan(x)))


@function
def floor_divide(x1: Any, x2: Any) -> Any:
    """floor(x1 / x2)."""
    return floor(divide(x1, x2))


@function
def log2(x: Any) -> Any:
    """The logarithm to base 2."""
    return multiply(log(x), 1.0 / math.log(2.0))


@function
def log10(x: Any) -> Any:
    """The logarithm to base 10."""
    return multiply(log(x), 1.0 / math.log(10.0))


@function
def logaddexp(x1: Any, x2: Any) -> Any:
    """log(exp(x1) + exp(x2))."""
    return add(maximum(x1, x2), softplus(negative(absolute(subtract(x1, x2)))))


@function
def round(x: Any, decimals: int = 0) -> Any:
    """x with this number of decimals."""
    if decimals == 0:
        return elementwise("round", x)
    return divide(elementwise("round", multiply(x, 10.0**decimals)), 10.0**decimals)


@function
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """x where it is between the two bounds, else the nearer one."""
    return minimum(maximum(x, x_min), x_max)


@function
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, x2 elsewhere."""
    return elementwise("where", condition, x1, x2)


_MIDDLE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_TAILS = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


@function
def erfinv(x: Any) -> Any:
    """The inverse of `erf`, to the precision of float32; x in (-1, 1).

    Source: Giles 2012, "Approximating the erfinv function".
    """
    w = negative(log1p(negative(square(x))))
    middle, tail = w - 2.5, sqrt(maximum(w, 5.0)) - 3.0
    low, high = _MIDDLE[0] * middle + _MIDDLE[1], _TAILS[0] * tail + _TAILS[1]
    for a, b in zip(_MIDDLE[2:], _TAILS[2:], strict=True):
        low, high = low * middle + a, high * tail + b
    return where(less(w, 5.0), low, high) * x


@function
def cast(x: Any, dtype: str) -> Any:
    """x as numbers of another type; integers are cut off towards zero."""
    name = dtype_name(dtype)
    graph = graph_of(x)
    if graph is None:
        return np.asarray(as_array(x)).astype(name)
    x = graph.as_tensor(x)
    if name == "bool":
        return x if x.dtype == "bool" else elementwise("ne", x, 0.0, dtype="bool")
    if name.startswith(("int", "uint")) and x.dtype.startswith("float"):
        return graph.map(
            [x],
            lambda b, r: b.op(
                "mul", b.op("sign", r[0]), b.op("floor", b.op("abs", r[0]))
            ),
            name,
        )
    return Tensor(graph, x.index, x.sample, x.batched, name)


@function
def zeros_like(x: Any, dtype: str | None = None) -> Any:
    """0 for each element of x."""
    return full_like(x, 0.0, dtype)


@function
def ones_like(x: Any, dtype: str | None = None) -> Any:
    """1 for each element of x."""
    return full_like(x, 1.0, dtype)


@function
def full_like(x: Any, fill_value: float, dtype: str | None = None) -> Any:
    """`fill_value` for each element of x."""
    graph = graph_of(x)
    if graph is None:
        return np.full_like(as_array(x), fill_value, dtype=dtype)
    return graph.map([graph.as_tensor(x)], lambda b, r: b.constant(float(fill_value)))


# ---------------------------------------------------------------- shapes


def dtype_name(dtype: Any) -> str:
    """The name of a type: of a string, a NumPy type or a policy."""
    name = (
        getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    )
    name = {"int": "int32", "float": "float32", "bool_": "bool"}.get(name, name)
    if name != "bool" and name.rstrip("0123456789") not in ("float", "int", "uint"):
        raise ValueError(
            "[ops] there is no type of that name. Received: "
            f'dtype={str(dtype)[:80]!r}. Try dtype="float32".'
        )
    return name


def _axis(axis: int, ndim: int) -> int:
    """An axis counted from the start."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise ValueError(
            f"[ops] axis must be in [{-ndim}, {ndim}), for {ndim} axes. "
            f"Received: axis={axis}. Try axis=-1."
        )
    return axis % ndim


def _sample_axis(x: Tensor, axis: int) -> int:
    """The axis of a sample; -1 for the batch axis."""
    return _axis(axis, x.ndim) - x.batched


def _no_batch(where: str, x: Any) -> ValueError:
    return ValueError(
        f"[{where}] the batch axis must stay where it is, because samples are computed "
        f"on their own. Received: a tensor of shape {x.shape}. "
        "Try one of the other axes."
    )


@function
def shape(x: Any) -> Any:
    """The shape as a tuple; None for what is unknown."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


@function
def ndim(x: Any) -> int:
    """The number of axes."""
    return len(shape(x))


@function
def size(x: Any) -> Any:
    """The number of elements, None if it is unknown."""
    axes = shape(x)
    return None if None in axes else math.prod(axes)


@function
def reshape(x: Any, newshape: Sequence[int | None]) -> Any:
    """x in another shape, row-major; -1 (or None, for the batch) is what is left."""
    graph = graph_of(x)
    axes = (newshape,) if isinstance(newshape, int) else tuple(newshape)
    if graph is None:
        return np.reshape(as_array(x), tuple(-1 if a is None else a for a in axes))
    x = graph.as_tensor(x)
    sample = axes
    if x.batched:
        if not axes or axes[0] not in (-1, None):
            raise _no_batch("reshape", x)
        sample = axes[1:]
    total, known = (
        math.prod(x.sample),
        math.prod(a for a in sample if a not in (-1, None)),
    )
    out = tuple(
        total // builtins.max(known, 1) if a in (-1, None) else int(a) for a in sample
    )
    if math.prod(out) != total or builtins.sum(a in (-1, None) for a in sample) > 1:
        raise ValueError(
            f"[reshape] the shapes must have equally many elements. Received: "
            f"{x.shape} and {axes}. Try -1 for one axis."
        )
    if out == x.sample:
        return x
    return graph.op("reshape", [x], out, dtype=x.dtype)


@function
def expand_dims(x: Any, axis: int | Sequence[int]) -> Any:
    """x with new axes of size 1."""
    graph = graph_of(x)
    if graph is None:
        return np.expand_dims(as_array(x), axis)
    x = graph.as_tensor(x)
    axes = list(x.shape)
    news = [axis] if isinstance(axis, int) else list(axis)
    if x.ndim + len(news) > MOST_AXES:
        raise ValueError(
            f"[expand_dims] there can be at most {MOST_AXES} axes. Received: "
            f"{len(news)} new ones for shape {x.shape}. Try fewer."
        )
    for new in sorted(_axis(a, x.ndim + len(news)) for a in news):
        if x.batched and new == 0:
            raise _no_batch("expand_dims", x)
        axes.insert(new, 1)
    return reshape(x, axes)


@function
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """x without axes of size 1: these, or all."""
    graph = graph_of(x)
    if graph is None:
        return np.squeeze(as_array(x), axis)
    x = graph.as_tensor(x)
    if axis is None:
        drop = {i for i, s in enumerate(x.shape) if s == 1}
    else:
        drop = {_axis(a, x.ndim) for a in ([axis] if isinstance(axis, int) else axis)}
    if builtins.any(x.shape[i] != 1 for i in drop):
        raise ValueError(
            f"[squeeze] only axes of size 1 can go. Received: shape {x.shape}, "
            f"axis={axis}. Try ops.reshape."
        )
    return reshape(x, [s for i, s in enumerate(x.shape) if i not in drop])


@function
def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """x with its axes in another order, reversed by default."""
    graph = graph_of(x)
    if graph is None:
        return np.transpose(as_array(x), axes)
    x = graph.as_tensor(x)
    order = [_axis(a, x.ndim) for a in axes or reversed(range(x.ndim))]
    if x.batched:
        if order[0] != 0:
            raise _no_batch("transpose", x)
        order = [a - 1 for a in order[1:]]
    if sorted(order) != list(range(len(x.sample))):
        raise ValueError(
            f"[transpose] axes must name each axis once. Received: axes={axes} for "
            f"shape {x.shape}. Try axes={tuple(range(x.ndim))}."
        )
    if order == sorted(order):
        return x
    out = tuple(x.sample[a] for a in order)
    return graph.op("permute", [x], out, attrs={"axes": tuple(order)}, dtype=x.dtype)


@function
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """x with two axes exchanged."""
    order = list(range(len(shape(x))))
    a, b = _axis(axis1, len(order)), _axis(axis2, len(order))
    order[a], order[b] = b, a
    return transpose(x, order)


@function
def moveaxis(x: Any, source: int, destination: int) -> Any:
    """x with one axis at another place."""
    count = len(shape(x))
    order = [i for i in range(count) if i != _axis(source, count)]
    order.insert(_axis(destination, count), _axis(source, count))
    return transpose(x, order)


@function
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """x in reverse order along these axes."""
    count = len(shape(x))
    axes = range(count) if axis is None else [axis] if isinstance(axis, int) else axis
    index = [slice(None)] * count
    for a in axes:
        index[_axis(a, count)] = slice(None, None, -1)
    return get_item(x, tuple(index))


@function
def get_item(x: Any, key: Any) -> Any:
    """x[key], for integers, slices, None and `...`."""
    graph = graph_of(x)
    if graph is None:
        return as_array(x)[key]
    x = graph.as_tensor(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    named = builtins.sum(k is not None and k is not Ellipsis for k in keys)
    if Ellipsis in [k for k in keys if k is None or k is Ellipsis]:
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.ndim - named)
    else:
        keys += [slice(None)] * (x.ndim - named)
    starts, sizes, steps, out, axis = [], [], [], [], 0
    for k in keys:
        if k is None:
            out.append(1)
            continue
        if axis >= x.ndim:
            raise ValueError(
                f"[tensor] there are more indices than axes. Received: {key!r} for "
                f"shape {x.shape}. Try fewer."
            )
        if axis == 0 and x.batched:
            if k != slice(None):
                raise _no_batch("tensor", x)
            out.append(-1)
            axis += 1
            continue
        whole = x.shape[axis]
        assert whole is not None
        if isinstance(k, slice):
            first, stop, step = k.indices(whole)
            count = len(range(first, stop, step))
            if not count:
                raise ValueError(
                    f"[tensor] a slice must not be empty. Received: {key!r} for shape "
                    f"{x.shape}. Try other bounds."
                )
            out.append(count)
        elif isinstance(k, (int, np.integer)):
            first, count, step = _axis(int(k), whole), 1, 1
        else:
            raise TypeError(
                "[tensor] an index must be an integer, a slice, None or `...`. "
                f"Received: {k!r}. Try ops.take."
            )
        starts.append(first)
        sizes.append(count)
        steps.append(step)
        axis += 1
    y = x
    if tuple(sizes) != x.sample or builtins.any(step != 1 for step in steps):
        attrs = {"starts": tuple(starts), "sizes": tuple(sizes), "steps": tuple(steps)}
        y = graph.op("slice", [x], tuple(sizes), attrs=attrs, dtype=x.dtype)
    return reshape(y, out)


@function
def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """The tensors side by side along an axis."""
    graph = graph_of(xs)
    if graph is None:
        return np.concatenate([as_array(x) for x in xs], axis=axis)
    tensors = [graph.as_tensor(x) for x in xs]
    if len(tensors) == 1:
        return tensors[0]
    batched = next((t for t in tensors if t.batched), tensors[0])
    along = _sample_axis(batched, axis)
    if along < 0:
        raise _no_batch("concatenate", batched)
    for tensor in tensors:
        other = [s for i, s in enumerate(tensor.sample) if i != along]
        if len(tensor.sample) != len(batched.sample) or other != [
            s for i, s in enumerate(batched.sample) if i != along
        ]:
            raise ValueError(
                "[concatenate] the shapes must agree in all axes but the one along "
                f"which they are joined. Received: {[t.shape for t in tensors]}, "
                f"axis={axis}. Try ops.reshape, or another axis."
            )
    while len(tensors) > MOST_JOINED:
        tensors = [
            _side_by_side(tensors[i : i + MOST_JOINED], along)
            for i in range(0, len(tensors), MOST_JOINED)
        ]
    return _side_by_side(tensors, along)


def _side_by_side(tensors: Sequence[Any], along: int) -> Any:
    """The tensors along an axis of a sample, as one operation."""
    first = tensors[0]
    if len(tensors) == 1:
        return first
    out = list(first.sample)
    out[along] = builtins.sum(t.sample[along] for t in tensors)
    return first.graph.op("concatenate", tensors, tuple(out), attrs={"axis": along})


@function
def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """The tensors along a new axis."""
    return concatenate([expand_dims(part, axis) for part in x], axis)


@function
def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> Any:
    """x in equal parts, or cut at these positions."""
    count = len(shape(x))
    along = _axis(axis, count)
    whole = shape(x)[along]
    if isinstance(indices_or_sections, int):
        if whole is None or whole % indices_or_sections:
            raise ValueError(
                "[split] the parts must be equal. Received: "
                f"{indices_or_sections} parts of an axis of {whole}. Try positions."
            )
        spend(indices_or_sections)
        step = whole // indices_or_sections
        cuts = list(range(step, whole, step))
    else:
        cuts = list(indices_or_sections)
    edges = [0, *cuts, whole]
    parts = []
    for first, last in itertools.pairwise(edges):
        index = [slice(None)] * count
        index[along] = slice(first, last)
        parts.append(get_item(x, tuple(index)))
    return parts


@function
def broadcast_to(x: Any, shape: Sequence[int | None]) -> Any:
    """x repeated along axes of size 1 to this shape."""
    graph = graph_of(x)
    if graph is None:
        return np.broadcast_to(as_array(x), shape)  # type: ignore[arg-type]
    x = graph.as_tensor(x)
    sample = tuple(shape)[1:] if x.batched else tuple(shape)
    if sample == x.sample:
        return x
    try:
        fits = np.broadcast_shapes(x.sample, sample) == sample  # type: ignore[arg-type]
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            "[broadcast_to] the shapes must broadcast. Received: "
            f"{x.shape} and {tuple(shape)}. Try ops.reshape first."
        )
    out: Any = sample
    return graph.map([x], lambda b, r: r[0], x.dtype, out)


@function
def repeat(x: Any, repeats: int, axis: int | None = None) -> Any:
    """Each element of an axis `repeats` times, one after the other."""
    graph = graph_of(x)
    if graph is None:
        return np.repeat(as_array(x), repeats, axis)
    x = graph.as_tensor(x)
    along = _axis(0 if axis is None else axis, x.ndim)
    if along == 0 and x.batched:
        raise _no_batch("repeat", x)
    axes: list[Any] = list(x.shape)
    wide = broadcast_to(
        expand_dims(x, along + 1), [*axes[: along + 1], repeats, *axes[along + 1 :]]
    )
    axes[along] *= repeats
    return reshape(wide, axes)


@function
def tile(x: Any, repeats: int | Sequence[int]) -> Any:
    """x side by side with itself, `repeats` times along each axis."""
    graph = graph_of(x)
    if graph is None:
        return np.tile(as_array(x), repeats)
    x = graph.as_tensor(x)
    times = [repeats] if isinstance(repeats, int) else list(repeats)
    times = [1] * (x.ndim - len(times)) + times
    for axis, count in enumerate(times):
        if count != 1:
            if axis == 0 and x.batched:
                raise _no_batch("tile", x)
            axes: list[Any] = list(x.shape)
            wide = broadcast_to(
                expand_dims(x, axis), [*axes[:axis], count, *axes[axis:]]
            )
            axes[axis] *= count
            x = reshape(wide, axes)
    return x


@function
def pad(
    x: Any, pad_width: Any, mode: str = "constant", constant_values: float | None = None
) -> Any:
    """x with a margin of zeros, or of `constant_values`, before and after each axis."""
    graph = graph_of(x)
    if graph is None:
        extra = {} if constant_values is None else {"constant_values": constant_values}
        return np.pad(as_array(x), pad_width, mode=mode, **extra)  # type: ignore[call-overload]
    x = graph.as_tensor(x)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    if x.batched:
        if widths[0] != [0, 0]:
            raise _no_batch("pad", x)
        widths = widths[1:]
    if builtins.any(operator.index(w) < 0 for pair in widths for w in pair):
        raise ValueError(
            f"[pad] margins must not be negative. Received: pad_width={pad_width!r}. "
            "Try a slice, x[:, 1:-1]."
        )
    if mode != "constant":
        raise NotImplementedError(
            "[pad] tensors are padded with a constant. "
            f'Received: mode={mode!r}. Try mode="constant".'
        )
    out = tuple(
        s + before + after for s, (before, after) in zip(x.sample, widths, strict=True)
    )
    attrs = {
        "starts": tuple(w[0] for w in widths),
        "sizes": x.sample,
        "steps": (1,) * len(out),
    }
    y = graph.op("place", [x], out, attrs=attrs)
    if constant_values:
        spend(elements=math.prod(out))
        inside = np.zeros(out, np.float32)
        inside[
            tuple(slice(w[0], w[0] + s) for w, s in zip(widths, x.sample, strict=True))
        ] = 1.0
        y = y + float(constant_values) * (1.0 - inside)
    return y


# ---------------------------------------------------------------- reductions


def _reduced(
    mode: str, x: Any, axis: Any, keepdims: bool, dtype: str = "float32"
) -> Any:
    """A reduction over some axes, or over all."""
    graph = graph_of(x)
    assert graph is not None
    x = graph.as_tensor(x)
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    drop = sorted({_axis(a, x.ndim) for a in axes})
    over_batch = bool(x.batched and drop and drop[0] == 0)
    if over_batch:
        drop = drop[1:]
    own = [a - x.batched for a in drop]
    stay = [a for a in range(len(x.sample)) if a not in own]
    kept = tuple(1 if a in own else s for a, s in enumerate(x.sample))
    result = x
    if own:
        if own != list(range(own[0], own[-1] + 1)):
            order = [a + x.batched for a in (*stay, *own)]
            x = transpose(x, ([0] if x.batched else []) + order)
            own = list(range(len(stay), len(x.sample)))
        first, count = own[0], len(own)
        out = x.sample[:first] + x.sample[first + count :]
        attrs: dict[str, Any] = {"mode": mode, "axis": first, "count": count}
        result = graph.op("reduce", [x], out, attrs=attrs, dtype=dtype)
    if over_batch and mode == "min":
        flipped = elementwise("neg", result)
        largest = graph.op(
            "batch_reduce",
            [flipped],
            result.sample,
            attrs={"mode": "max"},
            batched=False,
        )
        result = elementwise("neg", largest)
    elif over_batch:
        if mode not in ("mean", "sum", "max"):
            raise NotImplementedError(
                f"[{mode}] only sums, means, maxima and minima are taken over the "
                f"batch axis. Received: a tensor of shape {x.shape}. Try one of "
                "the other axes."
            )
        result = graph.op(
            "batch_reduce", [result], result.sample, attrs={"mode": mode}, batched=False
        )
    if keepdims:
        target = (1, *kept) if not result.batched and over_batch else kept
        result = reshape(result, (-1, *kept) if result.batched else target)
    return result


def _reduction(name: str, mode: str, doc: str) -> Callable[..., Any]:
    def call(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if graph_of(x) is None:
            return getattr(np, name)(as_array(x), axis=_tuple(axis), keepdims=keepdims)
        return _reduced(mode, x, axis, keepdims)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return function(call)


def _tuple(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


sum = _reduction("sum", "sum", "The sum over these axes, or over all.")
mean = _reduction("mean", "mean", "The mean over these axes, or over all.")
max = _reduction("max", "max", "The maximum over these axes, or over all.")
min = _reduction("min", "min", "The minimum over these axes, or over all.")
prod = _reduction("prod", "prod", "The product over these axes, or over all.")
amax, amin = max, min


@function
def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean squared distance from the mean."""
    if graph_of(x) is None:
        return np.var(as_array(x), axis=_tuple(axis), keepdims=keepdims)
    return mean(square(subtract(x, mean(x, axis, True))), axis, keepdims)


@function
def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The square root of the variance."""
    return sqrt(var(x, axis, keepdims))


@function
def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether one of them is true."""
    if graph_of(x) is None:
        return np.any(as_array(x), axis=_tuple(axis), keepdims=keepdims)
    return cast(max(cast(cast(x, "bool"), "float32"), axis, keepdims), "bool")


@function
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all of them are true."""
    if graph_of(x) is None:
        return np.all(as_array(x), axis=_tuple(axis), keepdims=keepdims)
    return cast(min(cast(cast(x, "bool"), "float32"), axis, keepdims), "bool")


@function
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x)))."""
    if graph_of(x) is not None:
        return _reduced("logsumexp", x, axis, keepdims)
    x = np.asarray(as_array(x))
    most = np.max(x, axis=_tuple(axis), keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0).astype(x.dtype)
    y = np.log(np.sum(np.exp(x - most), axis=_tuple(axis), keepdims=True)) + most
    return y if keepdims else np.squeeze(y, axis=_tuple(axis))


@function
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the first maximum."""
    if graph_of(x) is None:
        return np.argmax(as_array(x), axis=axis, keepdims=keepdims).astype(np.int32)
    return _reduced("argmax", x, axis, keepdims, "int32")


@function
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the first minimum."""
    return argmax(negative(x), axis, keepdims)


@function
def cumsum(x: Any, axis: int | None = None) -> Any:
    """The sums of the first 1, 2, 3, ... elements of an axis."""
    graph = graph_of(x)
    if graph is None:
        return np.cumsum(as_array(x), axis=axis)
    x = graph.as_tensor(x)
    along = _sample_axis(x, axis if axis is not None else 0)
    if along < 0:
        raise _no_batch("cumsum", x)
    return graph.op("cumsum", [x], x.sample, attrs={"axis": along, "reverse": False})


@function
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The Euclidean norm, or with ord=1 or inf the sum or the maximum of |x|."""
    if ord in (None, 2, "fro", "euclidean"):
        return sqrt(sum(square(x), axis, keepdims))
    if ord == 1:
        return sum(absolute(x), axis, keepdims)
    if ord in (math.inf, np.inf):
        return max(absolute(x), axis, keepdims)
    raise NotImplementedError(
        f"[norm] ord must be None, 1, 2 or inf. Received: ord={ord!r}. Try ord=2."
    )


@function
def normalize(
    x: Any, axis: int = -1, order: Any = 2, epsilon: float | None = None
) -> Any:
    """x over its norm along an axis, which counts as at least epsilon (1e-12)."""
    least = 1e-12 if epsilon is None else epsilon
    if order == 2:
        squares = sum(square(x), axis, True)
        return multiply(x, rsqrt(maximum(squares, least**2)))
    return divide(x, maximum(norm(x, order, axis, True), least))


# ---------------------------------------------------------------- products


@function
def matmul(x1: Any, x2: Any) -> Any:
    """The matrix product over the last two axes; leading axes broadcast."""
    graph = graph_of(x1, x2)
    if graph is None:
        return np.matmul(as_array(x1), as_array(x2))
    if (
        is_variable(x2)
        and x2.role == "param"
        and len(x2.shape) == 2
        and isinstance(x1, Tensor)
    ):
        return _dense(graph, x1, x2)
    return _product(graph, graph.as_tensor(x1), graph.as_tensor(x2))


def _dense(graph: Graph, x: Tensor, kernel: Any, summed: int = 1) -> Tensor:
    """x @ kernel, as the operation of `Dense`.

    Args:
        summed: how many axes of the kernel are the last one of x.
    """
    if not x.sample or x.sample[-1] != math.prod(kernel.shape[:summed]):
        raise _unfit(x, kernel)
    return graph.op(
        "dense",
        [x],
        (*x.sample[:-1], math.prod(kernel.shape[summed:])),
        {"kernel": graph.place(kernel)},
        attrs={"activation": "linear", "alpha": 0.0},
    )


def _unfit(x1: Any, x2: Any) -> ValueError:
    return ValueError(
        "[matmul] the last axis of x1 and the one before the last of x2 must agree. "
        f"Received: shapes {tuple(x1.shape)} and {tuple(x2.shape)}. Try ops.transpose."
    )


def _product(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    vector_a, vector_b = (
        len(a.sample) == 1 and a.ndim == 1,
        len(b.sample) == 1 and b.ndim == 1,
    )
    if a.batched and len(a.sample) == 1 and not b.batched:  # rows of a batch
        return reshape(_product(graph, expand_dims(a, 1), b), (-1, b.sample[-1]))
    if vector_a:
        a = reshape(a, (1, -1))
    if vector_b:
        b = reshape(b, (-1, 1))
    if len(a.sample) < 2 or len(b.sample) < 2 or a.sample[-1] != b.sample[-2]:
        raise _unfit(a, b)
    lead = np.broadcast_shapes(a.sample[:-2], b.sample[:-2])
    batched = a.batched or b.batched

    def led(t: Tensor) -> Tensor:
        full = (*lead, *t.sample[-2:])
        if t.sample == full:
            return t
        if len(t.sample) < len(full):
            ones = (1,) * (len(full) - len(t.sample))
            t = reshape(t, ((-1,) if t.batched else ()) + ones + t.sample)
        return broadcast_to(t, ((None,) if t.batched else ()) + full)

    a, b = led(a), led(b)
    out = (*lead, a.sample[-2], b.sample[-1])
    attrs = {"transpose_a": False, "transpose_b": False}
    y = graph.op("matmul", [a, b], out, attrs=attrs, batched=batched)
    if vector_a or vector_b:
        shape = [
            s
            for i, s in enumerate(y.sample)
            if not (vector_a and i == len(y.sample) - 2)
            and not (vector_b and i == len(y.sample) - 1)
        ]
        y = reshape(y, ((-1,) if batched else ()) + tuple(shape))
    return y


@function
def dot(x1: Any, x2: Any) -> Any:
    """The product of matrices or vectors; numbers multiply."""
    if graph_of(x1, x2) is None:
        return np.dot(as_array(x1), as_array(x2))
    if not len(shape(x1)) or not len(shape(x2)):
        return multiply(x1, x2)
    return matmul(x1, x2)


@function
def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein's sum of one or two tensors; `...` is not taken.

    Letters of both tensors that are not in the result are summed over by a matrix
    product; the batch axis must stay first.
    """
    graph = graph_of(*operands)
    if graph is None:
        return np.einsum(subscripts, *[as_array(x) for x in operands])
    return _einsum(graph, subscripts, operands)


def _einsum(graph: Graph, subscripts: str, operands: Sequence[Any]) -> Tensor:
    left, _, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if (
        "." in subscripts
        or not out
        or len(terms) != len(operands)
        or len(terms) not in (1, 2)
    ):
        raise NotImplementedError(
            "[einsum] one or two tensors of named axes and a result are needed. "
            f"Received: {subscripts!r}. Try 'abc,cd->abd'."
        )
    if len(terms) == 2:
        y = _einsum_dense(graph, terms, operands, out)
        if y is not None:
            return y
    tensors = []
    for term, operand in zip(terms, operands, strict=True):
        tensor = graph.as_tensor(operand)
        if len(term) != tensor.ndim or len(set(term)) != len(term):
            raise ValueError(
                "[einsum] each axis needs a letter of its own. "
                f"Received: {term!r} for shape {tensor.shape}. Try other letters."
            )
        alone = [
            i
            for i, c in enumerate(term)
            if c not in out and builtins.sum(c in other for other in terms) == 1
        ]
        if alone:
            tensor = sum(tensor, alone)
            term = "".join(c for i, c in enumerate(term) if i not in alone)
        tensors.append((term, tensor))
    if len(tensors) == 1:
        term, tensor = tensors[0]
        return transpose(tensor, [term.index(c) for c in out])
    (ta, a), (tb, b) = tensors
    batch = next((t[0] for t, x in tensors if x.batched), "")
    if batch and out[0] != batch:
        raise _no_batch("einsum", a if a.batched else b)
    sizes: dict[str, Any] = dict(zip(ta, a.shape, strict=True)) | dict(
        zip(tb, b.shape, strict=True)
    )
    both = [c for c in ta if c in tb and c in out]
    summed = [c for c in ta if c in tb and c not in out]
    only_a = [c for c in ta if c not in tb]
    only_b = [c for c in tb if c not in ta]
    lead = [c for c in both if c != batch]

    def arranged(term: str, x: Tensor, groups: Sequence[Sequence[str]]) -> Tensor:
        own = [batch] if x.batched else []
        order = own + [c for group in groups for c in group if c not in own]
        x = transpose(x, [term.index(c) for c in order])
        flat = [math.prod(sizes[c] for c in g if c not in own) for g in groups[1:]]
        return reshape(
            x, [-1] * x.batched + [sizes[c] for c in groups[0] if c not in own] + flat
        )

    y = _product(
        graph,
        arranged(ta, a, (lead, only_a, summed)),
        arranged(tb, b, (lead, summed, only_b)),
    )
    rows = [c for c in only_a if c != batch]
    columns = [c for c in only_b if c != batch]
    names = ([batch] if y.batched else []) + lead + rows + columns
    y = reshape(y, [-1 if c == batch and y.batched else sizes[c] for c in names])
    return transpose(y, [names.index(c) for c in out])


def _einsum_dense(
    graph: Graph, terms: Sequence[str], operands: Sequence[Any], out: str
) -> Tensor | None:
    """The sum as the operation of `Dense`, which has one kernel for all samples, where
    it is one: the kernel's first axes are summed over, the others are its own."""
    (tx, tk), (x, kernel) = terms, operands
    if is_variable(x):
        tx, tk, x, kernel = tk, tx, kernel, x
    if (
        not (isinstance(x, Tensor) and x.batched and is_variable(kernel))
        or kernel.role != "param"
        or len(tx) != x.ndim
        or len(tk) != len(kernel.shape)
        or len(set(tx + out)) != len({*tx, *tk})
    ):
        return None
    rows = [c for c in tx if c in out]
    summed, own = [c for c in tx if c not in out], [c for c in tk if c in out]
    count = len(summed)
    sizes = dict(zip(tx, x.shape, strict=True)) | dict(
        zip(tk, kernel.shape, strict=True)
    )
    if (
        not (rows and own and summed)
        or rows[0] != tx[0]
        or out[0] != tx[0]
        or set(tk[:count]) != set(summed)
        or list(tk[count:]) != own
        or sorted(out) != sorted(rows + own)
        or math.prod(kernel.shape[:count]) != math.prod(sizes[c] for c in summed)
    ):
        return None
    x = transpose(x, [tx.index(c) for c in [*rows, *tk[:count]]])
    lead = [-1, *(sizes[c] for c in rows[1:])]
    y = _dense(
        graph, reshape(x, [*lead, math.prod(kernel.shape[:count])]), kernel, count
    )
    y = reshape(y, [*lead, *(sizes[c] for c in own)])
    return transpose(y, [(rows + own).index(c) for c in out])


@function
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """The sum of products over pairs of axes."""
    if graph_of(x1, x2) is None:
        return np.tensordot(as_array(x1), as_array(x2), axes)
    n1, n2 = len(shape(x1)), len(shape(x2))
    if isinstance(axes, int):
        if not 0 <= axes <= builtins.min(n1, n2):
            raise ValueError(
                "[tensordot] axes must not be more than the tensors have. "
                f"Received: axes={axes} for {n1} and {n2} axes. Try axes=1."
            )
        first, second = list(range(n1 - axes, n1)), list(range(axes))
    else:
        first, second = ([a] if isinstance(a, int) else list(a) for a in axes)
    letters = "abcdefghijklmnopqrstuvwxyz"
    one, two = list(letters[:n1]), list(letters[n1 : n1 + n2])
    for a, b in zip(first, second, strict=True):
        two[_axis(b, n2)] = one[_axis(a, n1)]
    left = [c for i, c in enumerate(one) if i not in {_axis(a, n1) for a in first}]
    right = [c for i, c in enumerate(two) if i not in {_axis(b, n2) for b in second}]
    return einsum(f"{''.join(one)},{''.join(two)}->{''.join(left + right)}", x1, x2)


# ---------------------------------------------------------------- networks


@function
def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) over its sum along an axis."""
    graph = graph_of(x)
    if graph is None:
        x = np.asarray(as_array(x))
        e = np.exp(x - np.max(x, axis=axis, keepdims=True))
        return e / np.sum(e, axis=axis, keepdims=True)
    x = graph.as_tensor(x)
    if _sample_axis(x, axis) == len(x.sample) - 1:
        return graph.op("softmax", [x], x.sample)
    return moveaxis(softmax(moveaxis(x, axis, -1)), -1, axis)


@function
def log_softmax(x: Any, axis: int = -1) -> Any:
    """x - log(sum(exp(x))) along an axis."""
    return subtract(x, logsumexp(x, axis, True))


@function
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: str | None = None) -> Any:
    """1 at the place of each class number, 0 elsewhere."""
    spend(elements=num_classes)
    classes = np.arange(num_classes)
    y = cast(equal(expand_dims(x, -1), classes.astype(np.float32)), dtype or "float32")
    return y if axis in (-1, len(shape(y)) - 1) else moveaxis(y, -1, axis)


@function
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The rows of x with these numbers: of a table, for indices that are a tensor; or
    of any axis, for a list of integers."""
    if graph_of(x, indices) is None:
        return np.take(
            as_array(x), np.asarray(as_array(indices)).astype(np.int64), axis
        )
    if isinstance(indices, Tensor):
        if axis not in (0, None) or not is_variable(x):
            raise NotImplementedError(
                "[take] indices that are computed choose rows of a weight: axis=0. "
                f"Received: axis={axis} of {x!r}. Try ops.one_hot and ops.matmul."
            )
        graph = indices.graph
        out = (*indices.sample, *x.shape[1:])
        return graph.op("embedding", [indices], out, {"embeddings": graph.place(x)})
    numbers = np.asarray(indices)
    parts = [
        get_item(
            x,
            (
                *[slice(None)] * _axis(axis or 0, len(shape(x))),
                slice(int(i), int(i) + 1 or None),
            ),
        )
        for i in numbers.ravel()
    ]
    y = concatenate(parts, axis or 0)
    return y if numbers.ndim else squeeze(y, axis or 0)


# ---------------------------------------------------------------- arrays


def convert_to_tensor(x: Any, dtype: Any = None) -> Any:
    """x as an array, or as it is if it is symbolic."""
    if isinstance(x, (Tensor, KerasTensor, Values)) or is_variable(x):
        return x if dtype is None else cast(x, dtype)
    return result(np.asarray(x, None if dtype is None else dtype_name(dtype)))


def convert_to_numpy(x: Any) -> np.ndarray:
    """x as a NumPy array."""
    return np.asarray(as_array(x))


def zeros(shape: Sequence[int | None], dtype: str = "float32") -> Any:
    """An array of 0; in a layer or a loss the first size may be None, for the batch."""
    return full(shape, 0, dtype)


def ones(shape: Sequence[int | None], dtype: str = "float32") -> Any:
    """An array of 1; in a layer or a loss the first size may be None, for the batch."""
    return full(shape, 1, dtype)


def full(shape: Sequence[int | None], fill_value: float, dtype: str = "float32") -> Any:
    """An array of one number; in a layer or a loss the first size may be None, for the
    batch."""
    graph = Graph.current
    axes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if graph is not None and axes and axes[0] is None:
        sample = tuple(size for size in axes if size is not None)
        return cast(graph.filled(sample, float(fill_value)), dtype)
    sizes: Any = axes
    return result(np.full(sizes, fill_value, dtype_name(dtype)))


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: Any = None
) -> Any:
    """Numbers from start up to, not including, stop."""
    first, last = (0, start) if stop is None else (start, stop)
    y = np.arange(first, last, step)
    kind = "int32" if y.dtype.kind == "i" else "float32"
    return result(y.astype(dtype_name(dtype) if dtype else kind))


def linspace(start: float, stop: float, num: int = 50, endpoint: bool = True) -> Any:
    """Numbers at equal distances."""
    return result(np.linspace(start, stop, num, endpoint).astype(np.float32))


def eye(N: int, M: int | None = None, k: int = 0, dtype: str = "float32") -> Any:
    """1 on a diagonal, 0 elsewhere."""
    return result(np.eye(N, M, k, dtype_name(dtype)))


OTHERS = (arange, convert_to_numpy, convert_to_tensor, eye, full, linspace, ones, zeros)
"""Functions that are no call in a model."""
