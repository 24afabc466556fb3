"""Matrix and tensor products of `kurve.ops`."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.formulas.axes import axis_of, no_batch
from kurve.formulas.calls import as_array, function, graph_of
from kurve.formulas.elements import multiply
from kurve.formulas.graph import Graph, Tensor, is_variable
from kurve.formulas.reductions import sum
from kurve.formulas.shapes import broadcast_to, expand_dims, reshape, shape, transpose


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
    a, b = graph.as_tensor(x1), graph.as_tensor(x2)
    return _product(graph, _beside(a, b), _beside(b, a))


def _beside(x: Tensor, other: Tensor) -> Tensor:
    """x without an axis of size 1 where the other operand has its batch axis."""
    ones = not x.batched and other.batched and x.ndim > 2 and x.shape[0] == 1
    return reshape(x, x.shape[1:]) if ones and x.ndim == other.ndim else x


def _dense(graph: Graph, x: Tensor, kernel: Any, summed: int = 1) -> Tensor:
    """x @ kernel, as the operation of `Dense`.

    Args:
        summed: how many leading kernel axes together match the last axis of x.
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
        "[matmul] the last axis of x1 must match the second-to-last of x2. "
        f"Received: shapes {tuple(x1.shape)} and {tuple(x2.shape)}. Try ops.transpose."
    )


def _product(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    vector_a, vector_b = (
        len(a.sample) == 1 and a.ndim == 1,
        len(b.sample) == 1 and b.ndim == 1,
    )
    if a.batched and len(a.sample) == 1 and not b.batched:  # one row per sample
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
    """The dot product of matrices or vectors; scalars multiply."""
    if graph_of(x1, x2) is None:
        return np.dot(as_array(x1), as_array(x2))
    if not len(shape(x1)) or not len(shape(x2)):
        return multiply(x1, x2)
    return matmul(x1, x2)


@function
def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein summation of one or two tensors; `...` is not supported.

    Letters shared by both tensors but not in the result are summed by a matrix
    product; the batch axis must stay first.
    """
    graph = graph_of(*operands)
    if graph is None:
        return np.einsum(subscripts, *[as_array(x) for x in operands])
    return _einsum(graph, subscripts, operands)


def _einsum(graph: Graph, subscripts: str, operands: Sequence[Any]) -> Tensor:
    left, _, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) == 2 and not out and sorted(terms[0]) == sorted(terms[1]):
        b = transpose(operands[1], [terms[1].index(c) for c in terms[0]])
        return sum(multiply(operands[0], b))
    if (
        "." in subscripts
        or not out
        or len(terms) != len(operands)
        or len(terms) not in (1, 2)
    ):
        raise NotImplementedError(
            "[einsum] the subscripts must name one or two tensors and a result. "
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
                "[einsum] each axis needs its own letter. "
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
    batches = {t[0] for t, x in tensors if x.batched}
    if batch and (out[0] != batch or len(batches) > 1):
        raise no_batch("einsum", a if a.batched else b)
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
    """The sum as a `Dense` operation, whose kernel is shared by all samples, if
    possible: the kernel's first axes are summed over, the rest are outputs."""
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
    """Sum products over pairs of axes."""
    if graph_of(x1, x2) is None:
        return np.tensordot(as_array(x1), as_array(x2), axes)
    n1, n2 = len(shape(x1)), len(shape(x2))
    if isinstance(axes, int):
        if not 0 <= axes <= min(n1, n2):
            raise ValueError(
                "[tensordot] axes must not exceed the axes of the tensors. "
                f"Received: axes={axes} for {n1} and {n2} axes. Try axes=1."
            )
        first, second = list(range(n1 - axes, n1)), list(range(axes))
    else:
        first, second = ([a] if isinstance(a, int) else list(a) for a in axes)
    letters = "abcdefghijklmnopqrstuvwxyz"
    one, two = list(letters[:n1]), list(letters[n1 : n1 + n2])
    for a, b in zip(first, second, strict=True):
        two[axis_of(b, n2)] = one[axis_of(a, n1)]
    left = [c for i, c in enumerate(one) if i not in {axis_of(a, n1) for a in first}]
    right = [c for i, c in enumerate(two) if i not in {axis_of(b, n2) for b in second}]
    return einsum(f"{''.join(one)},{''.join(two)}->{''.join(left + right)}", x1, x2)
