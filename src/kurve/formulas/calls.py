"""Function calls: on arrays, on symbolic tensors, and while a plan is built."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from kurve.core.results import result
from kurve.formulas.graph import Graph, Tensor, is_variable
from kurve.formulas.needs import NeedsArrays
from kurve.formulas.operators import FUNCTIONS
from kurve.formulas.recording import UNRECORDED, active
from kurve.formulas.tensor import FunctionCall, KerasTensor, Node, leaves, replaced
from kurve.formulas.trials import SIZES, common, tried
from kurve.ops.elementwise import RULES

F = TypeVar("F", bound=Callable[..., Any])


def function(call: F) -> F:
    """Decorator for functions of `kurve.ops`."""

    @functools.wraps(call)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        for leaf in leaves((args, kwargs)):
            if isinstance(leaf, KerasTensor):
                return recorded(
                    FunctionCall(wrapped, kwargs.pop("name", None)), args, kwargs
                )
        if active.tapes and Graph.current is None:
            found = active.tapes[-1].recorded(call, args, kwargs)
            if found is not UNRECORDED:
                return found
        return result(call(*args, **kwargs))

    FUNCTIONS[call.__name__] = wrapped
    return wrapped  # type: ignore[return-value]


def recorded(operation: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """The symbolic result of an operation, which becomes a node of the user's graph."""
    try:
        out = inferred(operation.run, args, kwargs)
    except NeedsArrays as error:
        out = tried(operation.function, args, kwargs, error)
    node = Node(operation, args, kwargs, out)
    if any(t.dtype == "string" for t in node.input_tensors):
        node.encodes = True  # texts are moved before the engine computes
    return out


TRIALS = SIZES
"""Sizes used in turn for unknown ones while shapes are inferred: sizes that differ
between the results are unknown, too."""


def inferred(run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The result of a call on symbolic tensors: its structure, with symbolic tensors of
    the right shapes. The call is traced in a temporary graph."""
    results = []
    given = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, KerasTensor)]
    unknown = any(None in leaf.sample for leaf in given)
    for sizes in TRIALS if unknown else TRIALS[:1]:
        shapes: list[tuple[int, ...]] = []
        order: dict[int, int] = {}
        dtypes: list[str] = []
        masked: list[tuple[int, int]] = []  # indices of a tensor and its mask

        single: set[int] = set()  # indices of values of the whole batch

        def add(
            sample: Any,
            dtype: str,
            sizes: Any = sizes,
            shapes: Any = shapes,
            dtypes: Any = dtypes,
        ) -> int:
            spare = iter(sizes * 4)
            shapes.append(tuple(next(spare) if s is None else s for s in sample))
            dtypes.append(dtype)
            return len(shapes) - 1

        for leaf in leaves((args, kwargs)):
            if isinstance(leaf, KerasTensor) and id(leaf) not in order:
                order[id(leaf)] = add(leaf.sample, leaf.dtype)
                if leaf.of_batch:
                    single.add(order[id(leaf)])
                if leaf.mask_sample is not None:
                    masked.append((order[id(leaf)], add(leaf.mask_sample, "bool")))
        graph = Graph(shapes)
        inputs = graph.inputs
        for tensor, dtype in zip(inputs, dtypes, strict=True):
            tensor.dtype = dtype
        for number in single:
            inputs[number].batched = False
        for number, mask in masked:
            inputs[number].mask = inputs[mask]

        def swap(leaf: Any, inputs: list[Tensor] = inputs, order: Any = order) -> Any:
            return inputs[order[id(leaf)]] if isinstance(leaf, KerasTensor) else leaf

        results.append(run(*replaced(args, swap), **replaced(kwargs, swap)))
    batches = {leaf.shape[0] for leaf in given if leaf.shape and not leaf.of_batch}
    batch = batches.pop() if len(batches) == 1 else None
    flat = [list(leaves(result)) for result in results]
    numbers = iter(range(len(flat[0])))

    def symbolic(leaf: Any) -> Any:
        position = next(numbers)
        if not isinstance(leaf, Tensor):
            return leaf
        shape = common([other[position].shape for other in flat])
        if leaf.batched and shape and shape[0] is None:
            shape = (batch, *shape[1:])
        made = KerasTensor(shape if leaf.batched else (None, *shape), leaf.dtype)
        made.of_batch = not leaf.batched
        if given:
            made.rows = given[0].rows
        if leaf.mask is not None:
            made.mask_sample = common([other[position].mask.sample for other in flat])
        return made

    return replaced(results[0], symbolic)


@function
def mask_of(x: Any) -> Any:
    """The mask of x set by earlier layers; None if there is none.

    Args:
        x: a tensor, or an array returned by a layer.
    """
    return x.mask if isinstance(x, Tensor) else getattr(x, "_keras_mask", None)


def graph_of(*operands: Any) -> Graph | None:
    """The plan under construction that the operands belong to, if any."""
    for leaf in leaves(operands):
        if isinstance(leaf, Tensor):
            return leaf.graph
    if Graph.current is not None and any(
        is_variable(leaf) for leaf in leaves(operands)
    ):
        return Graph.current
    return None


def watched(structure: Any) -> Any:
    """Arguments with the variables that a tape follows as values on that tape."""

    def value(leaf: Any) -> Any:
        if not is_variable(leaf) or not any(t.follows(leaf) for t in active.tapes):
            return leaf
        return FUNCTIONS["multiply"](leaf, 1.0)

    return replaced(structure, value)


def as_array(x: Any) -> Any:
    if is_variable(x):
        return x.value
    if isinstance(x, np.ndarray):
        return x if type(x) is np.ndarray else x.view(np.ndarray)
    if isinstance(x, (int, float, np.generic)) or hasattr(x, "_elementwise"):
        return x
    return np.asarray(x)


def elementwise(name: str, *operands: Any, dtype: str = "float32") -> Any:
    graph = graph_of(*operands)
    if graph is not None:
        return graph.elementwise(name, *operands, dtype=dtype)
    for operand in operands:
        # A symbol of curve_fit, a constraint or a penalty.
        if hasattr(operand, "_elementwise"):
            return operand._elementwise(name, *map(as_array, operands))
    arrays = [as_array(x) for x in operands]
    with np.errstate(all="ignore"):
        if name in INEXACT:
            arrays = [
                a
                if np.issubdtype(np.asarray(a).dtype, np.inexact)
                else np.asarray(a, np.float32)
                for a in arrays
            ]
        result = RULES[name].compute(*arrays)
    return np.asarray(result, bool) if dtype == "bool" else result


INEXACT = frozenset(RULES) - {
    "add",
    "sub",
    "mul",
    "neg",
    "square",
    "abs",
    "sign",
    "max",
    "min",
    "mod",
    "pow",
    "relu",
    "where",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "and",
    "or",
    "not",
    "isfinite",
    "isnan",
    "stop_gradient",
}
"""Operations whose result is never an integer."""
