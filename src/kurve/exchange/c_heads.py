"""C code before and after the networks of an estimator or an ensemble: scaling, and
the head. All of it is computed in double, as in Kurve."""

from __future__ import annotations

import math

import numpy as np

from kurve.engines.reference.losses import MIN_VARIANCE
from kurve.estimators.defaults import DECILES
from kurve.exchange.c_text import literal, real, table
from kurve.exchange.exported import (
    LARGEST,
    Average,
    Classification,
    ExportedModel,
    Inputs,
    Network,
    Regression,
)

LIMIT = f"{LARGEST:g}"
MAX_SAMPLE = 20_000
"""Maximum number of elements in the rows of a test, unless a single row has more."""


def scaling(name: str, inputs: Inputs, kind: str = "float") -> list[str]:
    """The function from x, of float or double, to scaled inputs z. Rows that the
    estimator would refuse become NaN."""
    count, wide = len(inputs.order), len(inputs.mean)
    tables = [
        *table("double", f"{name}_mean", inputs.mean),
        *table("double", f"{name}_deviation", inputs.deviation),
    ]
    source, indicated = "x[i]", "x[p]"
    if inputs.order != tuple(range(count)):
        tables += table("int", f"{name}_order", inputs.order)
        source, indicated = f"x[{name}_order[i]]", f"x[{name}_order[p]]"
    refuse = ["bad |= !isfinite(t);"]
    if inputs.imputation is not None:
        tables += table("double", f"{name}_imputation", inputs.imputation)
        refuse = ["bad |= isinf(t);", f"if (isnan(t)) t = {name}_imputation[i];"]
    tails = []
    if inputs.tails is not None:
        low, high = f"{name}_low[i]", f"{name}_high[i]"
        tables += table("double", f"{name}_low", inputs.tails[0])
        tables += table("double", f"{name}_high", inputs.tails[1])
        tails = [
            f"if (t < {low}) t = {low} - log1p({low} - t);",
            f"if (t > {high}) t = {high} + log1p(t - {high});",
        ]
    scaled = [
        f"        t = (t - {name}_mean[i]) / {name}_deviation[i];",
        f"        t = t > {LIMIT} ? {LIMIT} : t < -{LIMIT} ? -{LIMIT} : t;",
        *("        " + line for line in tails),
        "        z[i] = (float)t;",
        "    }",
    ]
    body = [
        "    int i, bad = 0;",
        f"    for (i = 0; i < {count}; i++) {{",
        f"        double t = (double){source};",
        *("        " + line for line in refuse),
        *scaled,
    ]
    if inputs.indicators:
        tables += table("int", f"{name}_indicators", inputs.indicators)
        body += [
            f"    for (i = {count}; i < {wide}; i++) {{",
            f"        const int p = {name}_indicators[i - {count}];",
            f"        double t = isnan({indicated}) ? 1.0 : 0.0;",
            *scaled,
        ]
    body.append(f"    if (bad) for (i = 0; i < {wide}; i++) z[i] = NAN;")
    signature = f"static void {name}_scale(const {kind} *x, float *z)"
    return [*tables, "", signature, "{", *body, "}", ""]


def head(name: str, exported: ExportedModel) -> list[str]:
    """The function from the networks' predictions to y."""
    kind = exported.head
    members = len(exported.networks)
    units = math.prod(exported.networks[0].output_shape)
    if isinstance(kind, Average):
        tables, body = [], _average(members, units)
    elif isinstance(kind, Regression):
        tables = [
            *table("double", f"{name}_target_mean", kind.mean),
            *table("double", f"{name}_target_deviation", kind.deviation),
            *table("double", f"{name}_factor", kind.deviation * kind.std_scale),
        ]
        if kind.likelihood == "none":
            tables += table("double", f"{name}_noise", kind.noise)
        tables += _shares(name, kind, members)
        body = _regression(name, kind, members, units)
    else:
        assert isinstance(kind, Classification)
        tables = _shares(name, kind, members)
        body = _classification(name, len(kind.labels), members, units)
    return [
        *tables,
        "",
        f"static void {name}_combine(const float *predictions, float *y)",
        "{",
        *("    " + line for line in body),
        "}",
        "",
    ]


def _shares(name: str, head: Regression | Classification, members: int) -> list[str]:
    """The table of the members' shares."""
    weights = np.full(members, 1.0 / members) if head.weights is None else head.weights
    return table("double", f"{name}_shares", weights)


def _moments(members: int, value: str, share: str) -> list[str]:
    """Mean and variance of `value` over the members m, in double."""
    return [
        f"for (m = 0; m < {members}; m++) mean += {share} * (double){value};",
        f"for (m = 0; m < {members}; m++) {{",
        f"    const double d = (double){value} - mean;",
        f"    variance += {share} * d * d;",
        "}",
    ]


def _average(members: int, units: int) -> list[str]:
    return [
        "int i, m;",
        f"for (i = 0; i < {units}; i++) {{",
        "    double mean = 0.0, variance = 0.0;",
        *(
            "    " + line
            for line in _moments(
                members, f"predictions[m * {units} + i]", f"{1.0 / members!r}"
            )
        ),
        "    y[i] = (float)mean;",
        f"    y[{units} + i] = (float)sqrt(variance);",
        "}",
    ]


def _regression(name: str, head: Regression, members: int, units: int) -> list[str]:
    targets, count = len(head.mean), len(head.levels)
    inner = ["double mean = 0.0, variance = 0.0, noise = 0.0;"]
    declared = "int i, m;"
    value = f"predictions[m * {units} + i]"
    if head.likelihood == "gaussian":
        raw = f"predictions[m * {units} + {targets} + i]"
        inner += [
            f"for (m = 0; m < {members}; m++) {{",
            f"    const double r = (double){raw};",
            f"    noise += {name}_shares[m] * ((r < 0.0 ? 0.0 : r) + "
            f"log1p(exp(-fabs(r))) + {real(MIN_VARIANCE)});",
            "}",
        ]
    elif head.likelihood == "quantile":
        declared = "int i, m, k;"
        low, middle, high = (head.levels.index(q) for q in (0.1, 0.5, 0.9))
        value = "middle[m]"
        each = f"predictions[m * {units} + i * {count} + k]"
        inner += [
            f"double middle[{members}], all[{count}] = {{0.0}};",
            f"for (m = 0; m < {members}; m++) {{",
            f"    double q[{count}], d;",
            f"    for (k = 0; k < {count}; k++) {{",
            f"        q[k] = (double){each};",
            "        all[k] += q[k];",
            "    }",
            f"    {name}_sort(q);",
            f"    middle[m] = q[{middle}];",
            f"    d = (q[{high}] - q[{low}]) / {real(DECILES)};",
            f"    noise += {name}_shares[m] * (d * d + {real(MIN_VARIANCE)});",
            "}",
            f"for (k = 0; k < {count}; k++) all[k] /= {members}.0;",
            f"{name}_sort(all);",
            f"for (k = 0; k < {count}; k++)",
            f"    y[{2 * targets} + i * {count} + k] = (float)(all[k] *",
            f"        {name}_target_deviation[i] + {name}_target_mean[i]);",
        ]
    else:
        inner.append(f"noise = {name}_noise[i];")
    inner += [
        *_moments(members, value, f"{name}_shares[m]"),
        f"y[i] = (float)(mean * {name}_target_deviation[i] + {name}_target_mean[i]);",
        f"y[{targets} + i] = (float)(sqrt(variance + noise) * {name}_factor[i]);",
    ]
    return [
        declared,
        f"for (i = 0; i < {targets}; i++) {{",
        *("    " + line for line in inner),
        "}",
    ]


def sorting(name: str, count: int) -> list[str]:
    """Insertion sort of the quantiles of one target."""
    return [
        f"static void {name}_sort(double *q)",
        "{",
        "    int i, j;",
        f"    for (i = 1; i < {count}; i++) {{",
        "        const double t = q[i];",
        "        for (j = i; j > 0 && q[j - 1] > t; j--) q[j] = q[j - 1];",
        "        q[j] = t;",
        "    }",
        "}",
        "",
    ]


def _classification(name: str, classes: int, members: int, units: int) -> list[str]:
    if classes == 2:
        return [
            "double p = 0.0;",
            "int m;",
            f"for (m = 0; m < {members}; m++)",
            f"    p += {name}_shares[m] / (1.0 + exp(-(double)predictions[m]));",
            "y[0] = (float)(1.0 - p);",
            "y[1] = (float)p;",
        ]
    one = f"predictions[m * {units} + i]"
    return [
        f"double top[{members}], sum[{members}];",
        "int i, m;",
        f"for (m = 0; m < {members}; m++) {{",
        "    sum[m] = 0.0;",
        f"    top[m] = (double)predictions[m * {units}];",
        f"    for (i = 1; i < {units}; i++)",
        f"        top[m] = (double){one} > top[m] ? (double){one} : top[m];",
        f"    for (i = 0; i < {units}; i++) sum[m] += exp((double){one} - top[m]);",
        "}",
        f"for (i = 0; i < {units}; i++) {{",
        "    double p = 0.0;",
        f"    for (m = 0; m < {members}; m++)",
        f"        p += {name}_shares[m] * exp((double){one} - top[m]) / sum[m];",
        "    y[i] = (float)p;",
        "}",
    ]


def label(name: str, head: Classification) -> list[str]:
    """The classes' names, and the function that finds the most probable one."""
    upper, count = name.upper(), len(head.labels)
    return [
        f"const char *const {name}_labels[{upper}_OUTPUTS] = {{",
        *(f"    {literal(str(value))}," for value in head.labels.tolist()),
        "};",
        "",
        f"int {name}_label(const float *y)",
        "{",
        "    int i, best = 0;",
        f"    for (i = 1; i < {count}; i++) best = y[i] > y[best] ? i : best;",
        "    return best;",
        "}",
        "",
    ]


def sample(exported: ExportedModel, rows: int = 4) -> np.ndarray:
    """Rows (n, *input_shape) for testing, within the range of the training data if
    known; float32."""
    rng = np.random.default_rng(20)
    inputs = exported.inputs
    if inputs is None:
        rows = max(1, min(rows, MAX_SAMPLE // math.prod(exported.input_shape)))
        drawn = rng.normal(size=(rows, *exported.input_shape))
        first = exported.networks[0]
        alone = first.plan is None
        if (
            alone
            and first.ops[0].kind == "normalization"
            and not first.ops[0].attrs["invert"]
        ):
            mean, variance = (first.arrays[0][k] for k in ("mean", "variance"))
            drawn = drawn * np.sqrt(variance) + mean
        _number(first, drawn.reshape(rows, -1))
        return drawn.astype(np.float32)
    x = np.empty((rows, len(inputs.order)))
    x[:, list(inputs.order)] = rng.uniform(inputs.low, inputs.high, x.shape)
    if inputs.imputation is not None:
        x[1, inputs.order[inputs.indicators[0] if inputs.indicators else 0]] = np.nan
    return x.astype(np.float32)


def _number(network: Network, rows: np.ndarray) -> None:
    """Write valid indices into the parts of rows that index tables, directly or through
    maps that round."""
    plan = network.plan
    shapes = (network.ops[0].in_shape,) if plan is None else plan.inputs
    ends = np.cumsum([0, *map(math.prod, shapes)])
    for i, op in enumerate(network.ops):
        if op.kind != "embedding":
            continue
        read = 0 if plan is None else plan.reads(i)[0]
        while plan is not None and read >= len(shapes):
            read = plan.reads(read - len(shapes))[0]
        (table,) = network.arrays[i].values()
        part = rows[:, ends[read] : ends[read + 1]]
        part[...] = np.floor(np.abs(part) * 1e4) % len(table)
