"""Operations on images in C: plain loops over planes, channels last."""

from __future__ import annotations

import math

import numpy as np

from kurve.engines.reference.common import number, plane_shape
from kurve.exchange import constants
from kurve.exchange.c_functions import Activations, Arrays, CFunction, repeated
from kurve.exchange.c_text import single
from kurve.plan import Op


def conv(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    """The kernel as (KH, KW, I / groups, O): the innermost loop runs over outputs."""
    _, _, inputs = plane_shape(op.in_shape)
    _, out_width, outputs = plane_shape(op.out_shape)
    groups, size = number(op, "groups"), arrays["kernel"].size
    group_inputs = inputs // groups
    bias = "bias" in arrays
    result = activations.apply(op, "t[o]")
    if groups == 1:
        inner = [
            f"for (c = 0; c < {group_inputs}; c++, k += {outputs})",
            f"    for (o = 0; o < {outputs}; o++) t[o] += s[c] * k[o];",
        ]
    else:
        part = outputs // groups
        inner = [
            f"for (c = 0; c < {inputs}; c++) {{",
            f"    const int g = c / {group_inputs} * {part};",
            f"    const float *r = k + c % {group_inputs} * {outputs} + g;",
            f"    for (o = 0; o < {part}; o++) t[g + o] += s[c] * r[o];",
            "}",
        ]
    body = [
        "int p, q, i, j, c, o;",
        *_over(op, "y"),
        f"    float *t = y + ((long)p * {out_width} + q) * {outputs};",
        f"    for (o = 0; o < {outputs}; o++) t[o] = "
        + (f"w[{size} + o];" if bias else "0.0f;"),
        *("    " + line for line in _windows(op, "kernel")),
        f"        const float *k = w + ((long)i * {number(op, 'kernel_w')} + j) * "
        f"{group_inputs * outputs};",
        *("        " + line for line in inner),
        "    }",
    ]
    if result != "t[o]":
        body.append(f"    for (o = 0; o < {outputs}; o++) t[o] = {result};")
    weights = [("kernel", arrays["kernel"])] + (
        [("bias", arrays["bias"])] if bias else []
    )
    return CFunction(tuple(weights), (*body, "}"))


def conv_transpose(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    """The kernel as (KH, KW, I, O)."""
    _, width, inputs = plane_shape(op.in_shape)
    high, out_width, outputs = plane_shape(op.out_shape)
    rows, columns = number(op, "kernel_h"), number(op, "kernel_w")
    kernel = arrays["kernel"].reshape(rows, columns, outputs, inputs)
    kernel = np.ascontiguousarray(kernel.swapaxes(2, 3))
    bias = "bias" in arrays
    start = f"w[{kernel.size} + i % {outputs}]" if bias else "0.0f"
    total = high * out_width * outputs
    row = f"p * {number(op, 'stride_h')} + i * {number(op, 'dilation_h')}"
    column = f"q * {number(op, 'stride_w')} + j * {number(op, 'dilation_w')}"
    body = [
        "int p, q, i, j, c, o;",
        f"for (i = 0; i < {total}; i++) y[i] = {start};",
        *_over(op, "x"),
        f"    const float *s = x + ((long)p * {width} + q) * {inputs};",
        f"    for (i = 0; i < {rows}; i++) for (j = 0; j < {columns}; j++) {{",
        f"        const int h = {row} - {number(op, 'pad_top')};",
        f"        const int v = {column} - {number(op, 'pad_left')};",
        f"        const float *k = w + ((long)i * {columns} + j) * {inputs * outputs};",
        "        float *t;",
        f"        if (h < 0 || h >= {high} || v < 0 || v >= {out_width}) continue;",
        f"        t = y + ((long)h * {out_width} + v) * {outputs};",
        f"        for (c = 0; c < {inputs}; c++, k += {outputs})",
        f"            for (o = 0; o < {outputs}; o++) t[o] += s[c] * k[o];",
        "    }",
        "}",
    ]
    result = activations.apply(op, "y[i]")
    if result != "y[i]":
        body.append(f"for (i = 0; i < {total}; i++) y[i] = {result};")
    weights = [("kernel", kernel)] + ([("bias", arrays["bias"])] if bias else [])
    return CFunction(tuple(weights), tuple(body))


def pool(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    _, out_width, channels = plane_shape(op.out_shape)
    largest = op.attrs["mode"] == "max"
    take = "t[o] += s[o];"
    if largest:
        take = "t[o] = s[o] > t[o] || isnan(s[o]) ? s[o] : t[o];"
    body = [
        "int p, q, i, j, o;",
        *_over(op, "y"),
        f"    float *t = y + ((long)p * {out_width} + q) * {channels};",
        *([] if largest else ["    int count = 0;"]),
        f"    for (o = 0; o < {channels}; o++) "
        f"t[o] = {'-INFINITY' if largest else '0.0f'};",
        *("    " + line for line in _windows(op, "pool")),
        f"        for (o = 0; o < {channels}; o++) {take}",
        *([] if largest else ["        count++;"]),
        "    }",
    ]
    if not largest:
        body.append(f"    for (o = 0; o < {channels}; o++) t[o] /= (float)count;")
    return CFunction((), (*body, "}"))


def global_pool(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    channels = op.in_shape[-1]
    count = math.prod(op.in_shape[:-1])
    if op.attrs["mode"] == "max":
        inner = [
            "    float t = x[o];",
            f"    for (i = {channels} + o; i < {count * channels}; i += {channels})",
            "        t = x[i] > t || isnan(x[i]) ? x[i] : t;",
            "    y[o] = t;",
        ]
    else:
        inner = [
            "    double t = 0.0;",
            f"    for (i = o; i < {count * channels}; i += {channels})",
            "        t += (double)x[i];",
            f"    y[o] = (float)(t / {count}.0);",
        ]
    return CFunction(
        (), ("int i, o;", f"for (o = 0; o < {channels}; o++) {{", *inner, "}")
    )


def pad(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    height, width, channels = plane_shape(op.in_shape)
    _, out_width, _ = plane_shape(op.out_shape)
    top, left = number(op, "pad_top"), number(op, "pad_left")
    body = (
        "int p, i;",
        f"for (i = 0; i < {math.prod(op.out_shape)}; i++) y[i] = 0.0f;",
        f"y += {(top * out_width + left) * channels};",
        f"for (p = 0; p < {height}; p++)",
        f"    for (i = 0; i < {width * channels}; i++)",
        f"        y[(long)p * {out_width * channels} + i] ="
        f" x[(long)p * {width * channels} + i];",
    )
    return CFunction((), body)


def upsample(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    height, width, channels = plane_shape(op.in_shape)
    _, out_width, _ = plane_shape(op.out_shape)
    size_h, size_w = number(op, "size_h"), number(op, "size_w")
    target = f"float *t = y + ((long)p * {out_width} + q) * {channels};"
    each = f"for (o = 0; o < {channels}; o++)"
    if op.attrs["interpolation"] == "nearest":
        body = [
            "int p, q, o;",
            *_over(op, "y"),
            f"    const float *s = x + (p / {size_h} * {width} + q / {size_w}) * "
            f"{channels};",
            f"    {target}",
            f"    {each} t[o] = s[o];",
            "}",
        ]
        return CFunction((), tuple(body))
    body = ["int p, q, o;", *_over(op, "y")]
    for name, place, size, length in (
        ("h", "p", size_h, height),
        ("v", "q", size_w, width),
    ):
        last = length - 1
        body += [
            f"    const double {name}_raw = ({place} + 0.5) / {size} - 0.5;",
            f"    const double {name}_at = {name}_raw < 0.0 ? 0.0 : "
            f"{name}_raw > {last}.0 ? {last}.0 : {name}_raw;",
            f"    const int {name} = (int){name}_at;",
            f"    const int {name}_next = {name} < {last} ? {name} + 1 : {last};",
            f"    const float {name}_part = (float)({name}_at - {name});",
        ]
    for name, row, column in (
        ("a", "h", "v"),
        ("b", "h", "v_next"),
        ("c", "h_next", "v"),
        ("d", "h_next", "v_next"),
    ):
        body.append(
            f"    const float *{name} = x + ((long){row} * {width} + {column}) * "
            f"{channels};"
        )
    body += [
        f"    {target}",
        f"    {each} {{",
        "        const float upper = a[o] + v_part * (b[o] - a[o]);",
        "        const float lower = c[o] + v_part * (d[o] - c[o]);",
        "        t[o] = upper + h_part * (lower - upper);",
        "    }",
        "}",
    ]
    return CFunction((), tuple(body))


def batch_normalization(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    mean, factor = constants.batch_normalization(op, arrays)
    size = mean.size
    weights = [("mean", mean), ("factor", factor)]
    scaled = f"(x[i] - w[i]) * w[{size} + i]"
    if "beta" in arrays:
        weights.append(("beta", arrays["beta"]))
        scaled += f" + w[{2 * size} + i]"
    body = ["int i;", f"for (i = 0; i < {size}; i++) y[i] = {scaled};"]
    rows = math.prod(op.in_shape) // size
    return CFunction(tuple(weights), repeated(body, rows, size, size))


def layer_normalization(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    """Mean and variance in double."""
    size = number(op, "size")
    weights = [(role, arrays[role]) for role in ("gamma", "beta") if role in arrays]
    epsilon = single(float(op.attrs["epsilon"]))
    value = "(x[i] - (float)mean) * slope"
    for place, (role, _) in enumerate(weights):
        sign = " * " if role == "gamma" else " + "
        value += sign + (f"w[{place * size} + i]" if place else "w[i]")
    body = [
        "double mean = 0.0, variance = 0.0;",
        "float slope;",
        "int i;",
        f"for (i = 0; i < {size}; i++) mean += (double)x[i];",
        f"mean /= {size}.0;",
        f"for (i = 0; i < {size}; i++)",
        "    variance += ((double)x[i] - mean) * ((double)x[i] - mean);",
        f"variance /= {size}.0;",
        f"slope = 1.0f / sqrtf((float)variance + {epsilon});",
        f"for (i = 0; i < {size}; i++) y[i] = {value};",
    ]
    rows = math.prod(op.in_shape) // size
    return CFunction(tuple(weights), repeated(body, rows, size, size))


def scale(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    weights = [(role, arrays[role]) for role in ("scale", "offset") if role in arrays]
    size = weights[0][1].size if weights else math.prod(op.in_shape)
    numbers = {}
    for role in ("scale", "offset"):
        if role in arrays:
            place = [name for name, _ in weights].index(role) * size
            numbers[role] = f"w[{place} + i]" if place else "w[i]"
        else:
            numbers[role] = single(float(op.attrs[role]))
    line = f"y[i] = x[i] * {numbers['scale']} + {numbers['offset']};"
    body = ["int i;", f"for (i = 0; i < {size}; i++) {line}"]
    rows = math.prod(op.in_shape) // size
    return CFunction(tuple(weights), repeated(body, rows, size, size))


def _over(op: Op, plane: str) -> list[str]:
    """The loops over the pixels (p, q) of x or of y."""
    shape = op.in_shape if plane == "x" else op.out_shape
    height, width, _ = plane_shape(shape)
    return [f"for (p = 0; p < {height}; p++) for (q = 0; q < {width}; q++) {{"]


def _windows(op: Op, size: str) -> list[str]:
    """The loops over the positions (i, j) in a window at (p, q); s points at the pixel
    of x there."""
    height, width, channels = plane_shape(op.in_shape)
    lines = []
    for name, place, at, side, axis in (
        ("h", "p", "i", "top", "h"),
        ("v", "q", "j", "left", "w"),
    ):
        dilation = int(op.attrs.get(f"dilation_{axis}", 1))
        start = f"{place} * {number(op, f'stride_{axis}')}"
        pad = number(op, f"pad_{side}")
        lines.append(f"    const int {name} = {start} + {at} * {dilation} - {pad};")
    return [
        f"for (i = 0; i < {number(op, f'{size}_h')}; i++) "
        f"for (j = 0; j < {number(op, f'{size}_w')}; j++) {{",
        *lines,
        "    const float *s;",
        f"    if (h < 0 || h >= {height} || v < 0 || v >= {width}) continue;",
        f"    s = x + ((long)h * {width} + v) * {channels};",
    ]
