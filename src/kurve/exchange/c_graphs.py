"""Graphs in C: placement of values, and operations that move, join or reduce elements.

A row of x holds all inputs in order, a row of y all outputs. A value occupies its place
in `scratch` from the operation that computes it to the last one that reads it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.exchange.c_functions import Activations, Arrays, CFunction, repeated
from kurve.exchange.c_text import comment
from kurve.exchange.exported import ExportedModel
from kurve.plan import Op, Plan, Shape


def in_rows(exported: ExportedModel) -> ExportedModel:
    """A graph as a model with one input array, with names valid in C."""
    inputs = exported.graph_inputs
    assert inputs is not None
    ends = np.cumsum([math.prod(shape) for shape in inputs.values()]).tolist()
    names: dict[str, str] = {}
    for name in exported.outputs:
        plain = "output_" + re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40].lower()
        count = sum(other.startswith(plain) for other in names.values())
        names[name] = f"{plain}_{count}" if count else plain

    def expected(rows: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.split(rows, ends[:-1], axis=1)
        given = zip(parts, inputs.values(), strict=True)
        reshaped = (part.reshape(-1, *shape) for part, shape in given)
        xs = tuple(map(np.ascontiguousarray, reshaped))
        found = exported.expected(xs if len(xs) > 1 else xs[0])
        return {names[name]: y for name, y in found.items()}

    listed = ", ".join(f"{comment(n)} ({math.prod(s)})" for n, s in inputs.items())
    return replace(
        exported,
        what=f"Model of {listed}" if len(inputs) > 1 else "Model",
        input_shape=(ends[-1],) if len(inputs) > 1 else next(iter(inputs.values())),
        outputs={names[name]: shape for name, shape in exported.outputs.items()},
        expected=expected,
    )


def places(
    plan: Plan, functions: Sequence[CFunction | None]
) -> tuple[list[str], list[str], int]:
    """The location of each value of a plan: C expressions for all values, lines that
    copy the outputs, and the number of scratch floats needed."""
    roots = list(range(plan.given))
    for i, function in enumerate(functions):
        roots.append(roots[plan.reads(i)[0]] if function is None else plan.given + i)
    last = dict.fromkeys(roots, -1)
    for i, function in enumerate(functions):
        if function is not None:
            last.update((roots[v], i) for v in plan.reads(i))
    last.update((roots[head.value], len(functions)) for head in plan.heads)
    starts = np.cumsum([0, *map(math.prod, plan.inputs)]).tolist()
    at = {v: f"x + {starts[v]}" if starts[v] else "x" for v in range(len(plan.inputs))}
    living: list[tuple[int, int, int]] = []  # start, end, number of the last reader
    size = 0
    for i, function in enumerate(functions):
        if function is None:
            continue
        living = sorted(place for place in living if place[2] >= i)
        start, need = 0, math.prod(plan.ops[i].out_shape)
        for first, end, _ in living:
            if first - start >= need:
                break
            start = max(start, end)
        root = plan.given + i
        living.append((start, start + need, last[root]))
        at[root] = f"scratch + {start}"
        size = max(size, start + need)
    copies, first = [], 0
    for head in plan.heads:
        number = math.prod(head.shape)
        source = f"({at[roots[head.value]]})"
        copies.append(
            f"    for (i = 0; i < {number}; i++) y[{first} + i] = {source}[i];"
        )
        first += number
    return [at.get(root, "x") for root in roots], copies, size


# -------------------------------------------------------------------- operations


def _strides(shape: Shape) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _position(shape: Shape, factors: Sequence[int], offset: int = 0) -> str:
    """The position of element i of an array of that shape in another one, in which its
    axes have these factors."""
    parts = [
        f"i / {stride} % {size} * {factor}"
        for size, stride, factor in zip(shape, _strides(shape), factors, strict=True)
        if size > 1
    ]
    return " + ".join([*parts, *([str(offset)] if offset or not parts else [])])


def _each(size: int, line: str) -> CFunction:
    return CFunction((), ("int i;", f"for (i = 0; i < {size}; i++) {line}"))


def concatenate(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    axis: Any = op.attrs["axis"]
    outer = math.prod(op.out_shape[:axis])
    whole, start = math.prod(op.out_shape[axis:]), 0
    body = ["int i, j;", f"for (i = 0; i < {outer}; i++) {{"]
    for number, shape in enumerate(op.in_shapes):
        size, x = math.prod(shape[axis:]), f"x{number or ''}"
        body.append(f"    for (j = 0; j < {size}; j++)")
        body.append(f"        y[i * {whole} + {start} + j] = {x}[i * {size} + j];")
        start += size
    return CFunction((), (*body, "}"))


_REDUCED: dict[str, tuple[str, str, str]] = {
    "sum": ("0.0", "t += v;", "t"),
    "mean": ("0.0", "t += v;", "t / COUNT"),
    "prod": ("1.0", "t *= v;", "t"),
    "max": ("-INFINITY", "if (v > t || v != v) t = v;", "t"),
    "min": ("INFINITY", "if (v < t || v != v) t = v;", "t"),
    "logsumexp": (
        "-INFINITY, s = 0.0",
        "if (v > t || v != v) { s = s * exp(t - v) + 1.0; t = v; } "
        "else s += v == t ? 1.0 : exp(v - t);",
        "t + log(s)",
    ),
    "argmax": (
        "-INFINITY, s = 0.0",
        "if (v > t || (v != v && t == t)) { t = v; s = k; }",
        "s",
    ),
}
"""The initial value, step and final expression of each reduction."""


def reduce(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    given: Any = op.attrs
    first, count, mode = given["axis"], given["count"], given["mode"]
    if mode not in _REDUCED:
        raise ValueError(
            f"[export] layer {op.layer!r} cannot be written to C yet, because there is "
            f"no code for the reduction. Received: {mode!r}. Try another format."
        )
    start, step, end = _REDUCED[mode]
    size = math.prod(op.in_shape[first : first + count])
    inner = math.prod(op.in_shape[first + count :])
    body = [
        "int j, k;",
        f"for (j = 0; j < {inner}; j++) {{",
        f"    double t = {start};",
        f"    for (k = 0; k < {size}; k++) {{",
        f"        const double v = x[k * {inner} + j];",
        f"        {step}",
        "    }",
        f"    y[j] = (float)({end.replace('COUNT', str(size))});",
        "}",
    ]
    rows = math.prod(op.in_shape[:first])
    return CFunction((), repeated(body, rows, size * inner, inner))


def cumsum(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    axis: Any = op.attrs["axis"]
    size, inner = op.in_shape[axis], math.prod(op.in_shape[axis + 1 :])
    k = f"{size - 1} - k" if op.attrs["reverse"] else "k"
    body = [
        "int j, k;",
        f"for (j = 0; j < {inner}; j++) {{",
        "    double t = 0.0;",
        f"    for (k = 0; k < {size}; k++)",
        f"        y[({k}) * {inner} + j] = (float)(t += x[({k}) * {inner} + j]);",
        "}",
    ]
    rows = math.prod(op.in_shape[:axis])
    return CFunction((), repeated(body, rows, size * inner, size * inner))


def permute(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    axes: Any = op.attrs["axes"]
    strides = _strides(op.in_shape)
    place = _position(op.out_shape, [strides[axis] for axis in axes])
    return _each(math.prod(op.out_shape), f"y[i] = x[{place}];")


def _grid(op: Op, shape: Shape) -> tuple[list[int], int]:
    """Factors and start of the elements of a slice in an array of that shape."""
    given: Any = op.attrs
    strides = _strides(shape)
    factors = [n * step for n, step in zip(strides, given["steps"], strict=True)]
    return factors, sum(n * at for n, at in zip(strides, given["starts"], strict=True))


def cut(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    sizes: Any = op.attrs["sizes"]
    place = _position(tuple(sizes), *_grid(op, op.in_shape))
    return _each(math.prod(op.out_shape), f"y[i] = x[{place}];")


def put(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    """Elements among zeros."""
    sizes: Any = op.attrs["sizes"]
    place = _position(tuple(sizes), *_grid(op, op.out_shape))
    return CFunction(
        (),
        (
            "int i;",
            f"for (i = 0; i < {math.prod(op.out_shape)}; i++) y[i] = 0.0f;",
            f"for (i = 0; i < {math.prod(sizes)}; i++) y[{place}] = x[i];",
        ),
    )


def matmul(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    a, b = op.in_shapes
    (rows, inner), columns = a[-2:], op.out_shape[-1]
    left, right = f"i * {inner} + k", f"k * {columns} + j"
    if op.attrs["transpose_a"]:
        inner, rows = a[-2:]
        left = f"k * {rows} + i"
    if op.attrs["transpose_b"]:
        right = f"j * {inner} + k"
    times = math.prod(op.out_shape[:-2])
    if math.prod(a[:-2]) != times or math.prod(b[:-2]) != times:
        raise ValueError(
            f"[export] layer {op.layer!r} cannot be written to C yet, because its "
            f"matrices are repeated. Received: shapes {a} and {b}. Try another format."
        )
    body = [
        "int m, i, j, k;",
        f"for (m = 0; m < {times}; m++, x += {rows * inner}, x1 += {inner * columns})",
        f"    for (i = 0; i < {rows}; i++, y += {columns})",
        f"        for (j = 0; j < {columns}; j++) {{",
        "            float t = 0.0f;",
        f"            for (k = 0; k < {inner}; k++) t += x[{left}] * x1[{right}];",
        "            y[j] = t;",
        "        }",
    ]
    return CFunction((), tuple(body))


def embedding(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    """Rows of a table; NaN for an invalid index."""
    ((role, table),) = arrays.items()
    rows, size = table.shape
    body = (
        "int i, j;",
        f"for (i = 0; i < {math.prod(op.in_shape)}; i++)",
        f"    for (j = 0; j < {size}; j++)",
        f"        y[i * {size} + j] = x[i] >= 0.0f && x[i] < {rows}.0f",
        f"            ? w[(long)x[i] * {size} + j] : NAN;",
    )
    return CFunction(((role, table),), body)


def variable(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    ((role, array),) = arrays.items()
    lines = ("int i;", "(void)x;", f"for (i = 0; i < {array.size}; i++) y[i] = w[i];")
    return CFunction(((role, array),), lines)


OPS: dict[str, Callable[[Activations, Op, Arrays], CFunction | None]] = {
    "concatenate": concatenate,
    "reduce": reduce,
    "cumsum": cumsum,
    "permute": permute,
    "slice": cut,
    "place": put,
    "matmul": matmul,
    "embedding": embedding,
    "variable": variable,
}
