"""Shapes of the results of formulas that only run on arrays: they are tried on zeros,
in batches of two sizes, and sizes that differ between the results are unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from kurve.core.results import result
from kurve.formulas.graph import Graph
from kurve.formulas.limits import is_limited, spend
from kurve.formulas.needs import NeedsArrays
from kurve.formulas.recording import active, recording
from kurve.formulas.tensor import KerasTensor, leaves, replaced

SIZES = ((97, 61), (89, 67))
"""Sizes that stand for unknown ones, in turn."""

BOUNDED = frozenset(
    {
        "concatenate",
        "cumsum",
        "expand_dims",
        "flip",
        "get_item",
        "moveaxis",
        "reshape",
        "split",
        "squeeze",
        "stack",
        "swapaxes",
        "transpose",
    }
)
"""Functions whose results are no larger than their arguments: only these are tried for
a model from a file."""


@contextmanager
def trial() -> Iterator[None]:
    """A context in which formulas run on arrays as in prediction, and leave no trace:
    the variables that they assign get their values back."""
    before = active.training, active.undo, Graph.current
    active.training, active.undo, Graph.current = False, [], None
    try:
        with recording(()), np.errstate(all="ignore"):
            yield
    finally:
        undo = active.undo or []
        active.training, active.undo, Graph.current = before
        for variable, value in reversed(undo):
            variable.restore(value)


def tried(run: Callable[..., Any], args: Any, kwargs: Any, error: NeedsArrays) -> Any:
    """The result of a call on symbolic tensors: its structure, with symbolic tensors of
    the right shapes.

    Args:
        error: why it cannot be traced: raised if it cannot be tried either.
    """
    if active.step is not None or (
        is_limited() and getattr(run, "__name__", "") not in BOUNDED
    ):
        raise error
    try:
        results = [_result(run, args, kwargs, k, None) for k in (0, 1)]
    except Exception as cause:
        if error.rows is None:
            raise error from cause
        try:
            results = [_result(run, args, kwargs, k, error.rows) for k in (0, 1)]
        except Exception as second:
            raise error from second
    flat = [list(leaves(out)) for out in results]
    pairs = iter(list(zip(*flat, strict=True)))

    def symbolic(leaf: Any) -> Any:
        pair = next(pairs)
        if not isinstance(leaf, (np.ndarray, float)):
            return leaf
        shapes = [np.shape(one) for one in pair]
        shape = common(shapes)
        if shape[:1] == (error.rows,):
            shape = (None, *shape[1:])
        made = KerasTensor(shape, _kind(np.asarray(leaf)))
        if shapes[0]:
            made.rows = (shapes[0][0], shapes[1][0])
        masks = [getattr(one, "_keras_mask", None) for one in pair]
        if masks[0] is not None:
            made.mask_sample = common([np.shape(np.asarray(m))[1:] for m in masks])
        return made

    return replaced(results[0], symbolic)


def _result(
    run: Callable[..., Any], args: Any, kwargs: Any, k: int, rows: int | None
) -> Any:
    """The result of a call on zeros.

    Args:
        k: which of the two trials.
        rows: of the batch, if fixed.
    """
    arrays: dict[int, Any] = {}
    for leaf in leaves((args, kwargs)):
        if isinstance(leaf, KerasTensor) and id(leaf) not in arrays:
            own = leaf.rows != KerasTensor.rows or rows is None
            arrays[id(leaf)] = _zeros(leaf, k, leaf.rows[k] if own else int(rows or 1))

    def swap(leaf: Any) -> Any:
        return arrays[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

    with trial():
        return run(*replaced(args, swap), **replaced(kwargs, swap))


def _zeros(tensor: KerasTensor, k: int, rows: int) -> Any:
    spare = iter(SIZES[k] * 4)

    def known(sample: Sequence[int | None]) -> tuple[int, ...]:
        return tuple(next(spare) if size is None else size for size in sample)

    shape = (rows, *known(tensor.sample))
    spend(1, math.prod(shape))
    kind = {"b": np.bool_, "i": np.int32, "u": np.int32}.get(
        str(tensor.dtype)[0], np.float32
    )
    array = result(np.zeros(shape, kind))
    if tensor.mask_sample is not None:
        mask = (rows, *known(tensor.mask_sample))
        array._keras_mask = np.ones(mask, bool)
    return array


def _kind(array: np.ndarray) -> str:
    return {"b": "bool", "f": "float32"}.get(array.dtype.kind, "int32")


def common(shapes: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
    """The sizes on which all shapes agree; None for the others."""
    return tuple(
        s if all(s == o for o in others) else None
        for s, *others in zip(*shapes, strict=True)
    )
