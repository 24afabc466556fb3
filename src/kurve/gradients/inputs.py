"""Derivatives with respect to inputs: `grad`, `jacobian`, `hessian` and `derivatives`
of `kurve.ops`.

In formulas (a `call`, a loss, a metric) they rewrite the plan: the derivative of a plan
is again a plan, which engines run and differentiate with respect to weights like any
other. For arrays, `GradientTape` computes them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.core.results import result
from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor, is_variable
from kurve.formulas.recording import active, recording
from kurve.formulas.tensor import KerasTensor, leaves
from kurve.gradients.decomposed import computed, is_decomposed
from kurve.gradients.formulas import back_through, reached
from kurve.gradients.recorded import followed, remember
from kurve.gradients.segments import Segment, plan_of, state_of
from kurve.gradients.tangents import TANGENTS
from kurve.gradients.tape import GradientTape
from kurve.gradients.values import TracedValues, float_type, plain
from kurve.ops.tape import constants_of

MAX_ORDER = 6
"""Maximum order of a derivative."""


def grad(fun: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that computes the gradient of `fun` with respect to one argument.

    The sum of all elements of fun's result is differentiated, so that each sample of a
    batch has its own gradient if fun treats samples independently.

    Args:
        fun: from tensors or arrays to one tensor: a formula with `kurve.ops`, a layer
            or a model.
        argnums: index of the argument; its gradient has the argument's shape.

    Raises:
        TypeError: fun is not callable or, when the gradient is called, an argument
            is not a tensor.
        NotImplementedError: when called: an operation without a derivative.

    Example:
        >>> kurve.ops.grad(lambda x: x**3)(np.array([1.0, 2.0]))
        array([ 3., 12.])
    """
    return _derivative("grad", fun, argnums, _grad_of_tensor, _grad_of_array)


def jacobian(fun: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that computes the derivatives of each element of fun's result with
    respect to each element of one argument, per sample.

    Args:
        fun: from (B, *inputs) to (B, *outputs), each sample independently.
        argnums: index of the argument; the derivatives are (B, *outputs, *inputs).

    Raises:
        TypeError, NotImplementedError: see `grad`.
        ValueError: when called: a result without a batch axis.

    Example:
        >>> x = np.array([[1.0, 2.0]])
        >>> kurve.ops.jacobian(lambda x: x**2)(x)
        array([[[2., 0.],
                [0., 4.]]])
    """
    return _derivative(
        "jacobian", fun, argnums, _jacobian_of_tensor, _jacobian_of_array
    )


def hessian(fun: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that computes the second derivatives of each element of fun's result
    with respect to each pair of elements of one argument: the Jacobian of the Jacobian.

    Args:
        fun: from (B, *inputs) to (B, *outputs), each sample independently.
        argnums: index of the argument; the derivatives are (B, *outputs, *inputs,
            *inputs).

    Raises:
        TypeError, ValueError, NotImplementedError: see `jacobian`.

    Example:
        >>> x = np.array([[1.0, 2.0]])
        >>> kurve.ops.hessian(lambda x: x[:, 0] ** 2 * x[:, 1])(x)
        array([[[4., 2.],
                [2., 0.]]])
    """
    return jacobian(jacobian(fun, argnums), argnums)


def derivatives(
    fun: Callable[[Any], Any], x: Any, columns: Sequence[Any]
) -> tuple[Any, ...]:
    """Values and derivatives of a function along columns of x, all at once, as needed
    for the residual of a differential equation.

    Args:
        fun: from x to (B, *outputs), each sample independently: a layer, a model or a
            formula.
        x: (B, n), a tensor or an array.
        columns: for each derivative, the columns along which to differentiate: "" is
            the value, "0" the first derivative along column 0, "00" the second, "01"
            the mixed one; or indices in a tuple, (0, 1).

    Returns:
        For each entry of `columns`, a tensor with the shape of fun's result.

    Raises:
        TypeError: fun is not callable, or x is not a tensor.
        ValueError: columns that x lacks, or more than 6 in one derivative.
        NotImplementedError: an operation without a derivative.

    Example:
        >>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> u = lambda x: x[:, 0] ** 2 * x[:, 1]
        >>> u_0, u_00, u_01 = kurve.ops.derivatives(u, x, ["0", "00", "01"])
        >>> u_0, u_00, u_01
        (array([ 4., 24.]), array([4., 8.]), array([2., 6.]))
    """
    where = "derivatives"
    _check_callable(where, fun)
    _refuse_symbols(where, x)
    if isinstance(x, Tensor):
        return _along_columns(fun, x, columns)
    _check_argument(where, x)
    array = np.asarray(plain(x))
    dtype = float_type(array)
    if array.ndim < 2:
        raise ValueError(
            "[derivatives] x must be (B, n), one row per sample. "
            f"Received: shape {array.shape}. Try x.reshape(-1, 1)."
        )
    graph = Graph([array.shape[1:]])
    with recording(()), graph.tracing(), constants_of(dtype):
        found = _along_columns(fun, graph.inputs[0], columns)
    found = tuple(_as_op(graph, tensor) for tensor in found)
    with recording(()):
        plan = plan_of(graph)
        state = state_of(plan, graph.params, graph.buffers, dtype)
        given = [np.asarray(array, dtype)]
        segment = Segment(plan, graph.params, graph.buffers, state, given, False)
    if active.tapes:
        values = tuple(followed(segment, tensor.index) for tensor in found)
        remember(segment, [getattr(x, "key", None)])
        return values
    return tuple(result(segment.value(tensor.index)) for tensor in found)


# ---------------------------------------------------------------- checks


def _derivative(
    where: str,
    fun: Callable[..., Any],
    argnums: int,
    of_tensor: Callable[..., Any],
    of_array: Callable[..., Any],
) -> Callable[..., Any]:
    _check_callable(where, fun)
    if isinstance(argnums, bool) or not isinstance(argnums, int) or argnums < 0:
        raise TypeError(
            f"[{where}] argnums must be the index of an argument. "
            f"Received: {argnums!r}. Try argnums=0."
        )

    def derivative(*args: Any, **kwargs: Any) -> Any:
        if argnums >= len(args):
            raise TypeError(
                f"[{where}] there must be an argument {argnums} to differentiate. "
                f"Received: {len(args)} arguments. Try argnums=0."
            )
        x = args[argnums]

        def one(x: Any) -> Any:
            y = fun(*args[:argnums], x, *args[argnums + 1 :], **kwargs)
            if len(list(leaves(y))) != 1 or isinstance(y, (list, tuple, dict)):
                raise TypeError(
                    f"[{where}] the function must return one tensor. "
                    f"Received: {type(y).__name__}. Try one of them, f(x)[0]."
                )
            return y

        _refuse_symbols(where, (args, kwargs))
        if isinstance(x, Tensor):
            return of_tensor(one, x)
        _check_argument(where, x)
        # Models and layers in it compute in float64 for arrays of float64.
        with constants_of(float_type(x)):
            return of_array(one, x)

    named = getattr(fun, "__name__", type(fun).__name__)
    derivative.__name__ = f"{where}_of_{named}"
    return derivative


def _check_callable(where: str, fun: Any) -> None:
    if not callable(fun):
        raise TypeError(
            f"[{where}] fun must be a function, a layer or a model. "
            f"Received: an object of type {type(fun).__name__}. "
            "Try a lambda: lambda x: model(x)."
        )


def _check_argument(where: str, x: Any) -> None:
    if is_variable(x):
        raise TypeError(
            f"[{where}] derivatives are with respect to inputs, not weights. "
            f"Received: the weight {x.name!r}. Try GradientTape."
        )
    dtype = getattr(x, "dtype", None) or np.asarray(x).dtype
    if np.dtype(dtype).kind != "f":
        raise TypeError(
            f"[{where}] the argument must be floating-point to be differentiated. "
            f"Received: {type(x).__name__} of type {dtype}. "
            "Try x.astype('float32')."
        )


def _refuse_symbols(where: str, args: Any) -> None:
    if any(isinstance(leaf, KerasTensor) for leaf in leaves(args)):
        raise TypeError(
            f"[{where}] symbolic tensors cannot be differentiated directly. "
            "Received: a tensor of Input(...). Try it in call() of a Layer or a Model, "
            "or in a loss."
        )


def _explained(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a call to report a missing rule as one clear error."""

    @functools.wraps(call)
    def wrapped(*args: Any) -> Any:
        try:
            return call(*args)
        except KeyError as error:
            raise NotImplementedError(
                "[ops] there is no formula for the derivative of the operation "
                f"{error.args[0]!r} by its inputs. Received: a function with it. Try "
                "Dense, convolutions, normalizations and elementwise functions in the "
                "part to differentiate."
            ) from None

    return wrapped


# ---------------------------------------------------------------- arrays


def _grad_of_array(fun: Callable[[Any], Any], x: Any) -> Any:
    x = _watchable(x)
    with GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(x)
        y = fun(x)
    found = tape.gradient(y, x)
    return result(np.zeros(np.shape(x), x.dtype)) if found is None else found


def _jacobian_of_array(fun: Callable[[Any], Any], x: Any) -> Any:
    x = _watchable(x)
    with GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(x)
        y = fun(x)
    if not np.ndim(y) or not np.ndim(x) or len(y) != len(x):
        raise _no_batch_axis(np.shape(y))
    inside, outside = tuple(x.shape[1:]), tuple(y.shape[1:])
    rows = []
    for k in range(math.prod(outside)):
        dy = np.zeros((len(y), math.prod(outside)), y.dtype)
        dy[:, k] = 1.0
        found = tape.gradient(y, x, dy.reshape(y.shape))
        rows.append(result(np.zeros(x.shape, x.dtype)) if found is None else found)
    flat = [ops.reshape(row, (len(x), 1, math.prod(inside))) for row in rows]
    return ops.reshape(ops.concatenate(flat, 1), (len(x), *outside, *inside))


def _watchable(x: Any) -> Any:
    """x as a value that a tape can watch, keeping other tapes that watch it."""
    if isinstance(x, TracedValues) and x.key is not None:
        return ops.multiply(x, 1.0) if active.tapes else result(plain(x).copy())
    return result(np.array(x, copy=True))


def _no_batch_axis(shape: Any) -> ValueError:
    return ValueError(
        "[jacobian] the result must have the batch axis of the argument, because each "
        f"sample has its own derivatives. Received: a result of shape {shape}. Try "
        "ops.grad, or a sum over the other axes."
    )


# ---------------------------------------------------------------- tensors


def _traced(fun: Callable[[Any], Any], x: Tensor) -> tuple[Tensor, Tensor]:
    """A copy of x, and the result for it, made of operations that have rules."""
    graph = x.graph
    own = graph.op("reshape", [x], x.sample, batched=x.batched)
    y = graph.as_tensor(fun(own))
    return own, _recomputed(graph, own, y)


def _recomputed(graph: Graph, x: Tensor, y: Tensor) -> Tensor:
    """The same value, recomputed from x with operations that have rules."""
    depends = reached(graph, {x.index})
    first = x.index - graph.given
    path = [
        i
        for i in range(first, len(graph.ops))
        if depends[graph.given + i] and graph.given + i <= y.index
    ]
    if not any(is_decomposed(graph.ops[i]) for i in path):
        return y
    values: dict[int, Tensor] = {}
    for i in path:
        op = graph.ops[i]
        if not is_decomposed(op) and not any(v in values for v in op.inputs):
            continue
        read = [
            values[v] if v in values else Tensor(graph, v, graph.shapes[v])
            for v in op.inputs
        ]
        values[graph.given + i] = computed(graph, op, read, graph.training is not False)
    found = values.get(y.index, y)
    return Tensor(graph, found.index, y.sample, y.batched, y.dtype)


@_explained
def _grad_of_tensor(fun: Callable[[Any], Any], x: Tensor) -> Tensor:
    own, y = _traced(fun, x)
    graph = x.graph
    if math.prod(own.sample) == 1 and y.batched and own.batched:
        # One column: forward mode, where second derivatives are cheapest.
        dy = _pushed(graph, own, ops.ones_like(own), [y], {})[0]
        if dy is None:
            return ops.zeros_like(own)
        axes = list(range(1, len(y.sample) + 1))
        total = ops.sum(dy, axes) if axes else dy
        return ops.reshape(total, (-1, *own.sample))
    seed = ops.ones_like(y)
    if not y.batched and own.batched:  # a scalar of the whole batch counts once
        rows = ops.ones_like(ops.reshape(own, (-1, math.prod(own.sample)))[:, :1])
        seed = seed / ops.reshape(ops.sum(rows), (1,) * len(y.sample))
    found = back_through(graph, {y.index: seed}, {own.index}).get(own.index)
    if found is None:
        return ops.zeros_like(own)
    return Tensor(graph, found.index, own.sample, own.batched)


@_explained
def _jacobian_of_tensor(fun: Callable[[Any], Any], x: Tensor) -> Tensor:
    own, y = _traced(fun, x)
    graph = x.graph
    if not y.batched or not own.batched:
        raise _no_batch_axis(y.shape)
    inside, outside = math.prod(own.sample), math.prod(y.sample)
    shape = (-1, *y.sample, *own.sample)
    parts: list[Any]
    if inside <= outside:
        known: dict[Any, Any] = {}
        parts = []
        for k in range(inside):
            dy = _pushed(graph, own, _unit(own, k), [y], known.setdefault(k, {}))[0]
            dy = ops.zeros_like(y) if dy is None else dy
            parts.append(ops.reshape(_for_each(dy, y), (-1, outside, 1)))
        return ops.reshape(_side_by_side(parts, 2), shape)
    parts = []
    for k in range(outside):
        seed = _for_each(_unit(y, k), y)
        found = back_through(graph, {y.index: seed}, {own.index}).get(own.index)
        dx = ops.zeros_like(own) if found is None else found
        parts.append(ops.reshape(_for_each(dx, own), (-1, 1, inside)))
    return ops.reshape(_side_by_side(parts, 1), shape)


def _side_by_side(parts: list[Any], axis: int) -> Any:
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis)


def _unit(x: Tensor, k: int) -> Tensor:
    """1 in element k of each sample, 0 in the others."""
    unit = np.zeros(x.sample, np.float32)
    unit.reshape(-1)[k] = 1.0
    return x.graph.as_tensor(unit) if unit.size > 1 else ops.ones_like(x)


def _for_each(x: Tensor, like: Tensor) -> Tensor:
    """Give a value a batch axis, even if all samples share it."""
    if x.batched:
        return x
    return Tensor(x.graph, x.index, like.sample, True)


@_explained
def _along_columns(
    fun: Callable[[Any], Any], x: Tensor, columns: Sequence[Any]
) -> tuple[Tensor, ...]:
    paths = _paths(x, columns)
    own, y = _traced(fun, x)
    if not y.batched:
        raise _no_batch_axis(y.shape)
    graph = x.graph
    known: dict[int, dict[int, Any]] = {}
    found: dict[tuple[int, ...], Any] = {(): y}
    for order in range(1, 1 + max(map(len, paths))):
        for path in sorted({p[:order] for p in paths if len(p) >= order}):
            before, column = found[path[:-1]], path[-1]
            unit, seen = _unit(own, column), known.setdefault(column, {})
            dy = None
            if before is not None:
                dy = _pushed(graph, own, unit, [before], seen)[0]
            found[path] = dy
    return tuple(
        ops.zeros_like(y) if found[p] is None else _for_each(found[p], y) for p in paths
    )


def _paths(x: Tensor, columns: Sequence[Any]) -> list[tuple[int, ...]]:
    if isinstance(columns, str) or not isinstance(columns, Sequence) or not columns:
        raise TypeError(
            "[derivatives] columns must be a list with one entry per derivative. "
            f"Received: {columns!r}. Try ['0', '1', '00']."
        )
    if not x.batched or len(x.sample) != 1:
        raise ValueError(
            "[derivatives] x must be (B, n), one row per sample. "
            f"Received: shape {x.shape}. Try ops.reshape."
        )
    paths = []
    for entry in columns:
        numbers = entry if isinstance(entry, (str, tuple, list)) else (entry,)
        try:
            path = tuple(sorted(int(c) for c in numbers))
        except (TypeError, ValueError):
            path = (-1,)
        if len(path) > MAX_ORDER or not all(0 <= c < x.sample[0] for c in path):
            raise ValueError(
                f"[derivatives] columns must be from 0 to {x.sample[0] - 1}, at most "
                f"{MAX_ORDER} per derivative. Received: {entry!r}. "
                "Try '0', '01' or (0, 1)."
            )
        paths.append(path)
    return paths


def _pushed(
    graph: Graph,
    x: Tensor,
    dx: Tensor,
    targets: Sequence[Tensor],
    known: dict[int, Any],
) -> list[Any]:
    """The tangents of targets as x moves along dx; None for constant ones.

    Args:
        known: tangents along dx so far, by value index.
    """
    known[x.index] = dx
    needed = {target.index for target in targets}
    for i in range(len(graph.ops) - 1, x.index - graph.given, -1):
        if graph.given + i in needed and graph.given + i not in known:
            needed.update(graph.ops[i].inputs)
    for i in range(x.index - graph.given + 1, len(graph.ops)):
        here = graph.given + i
        if here not in needed or here in known:
            continue
        op = graph.ops[i]
        moving = [known.get(v) for v in op.inputs]
        if not any(d is not None for d in moving):
            known[here] = None
            continue
        if is_decomposed(op):
            raise KeyError(op.kind)
        xs = [Tensor(graph, v, graph.shapes[v]) for v in op.inputs]
        y = Tensor(graph, here, op.out_shape)
        known[here] = TANGENTS[op.kind](op, xs, y, moving)
    return [known.get(target.index) for target in targets]


def _as_op(graph: Graph, tensor: Tensor) -> Tensor:
    """The same value, computed by a separate operation."""
    return graph.op("reshape", [tensor], tensor.sample, batched=tensor.batched)
