"""One C99 file that predicts, and tests itself: weights and functions.

Its preamble is in `kurve.exchange.c_preamble`, single operations in
`kurve.exchange.c_ops`, the code before and after the networks in
`kurve.exchange.c_heads`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from kurve.core.entries import warn
from kurve.exchange import c_graphs, c_heads, c_tables
from kurve.exchange.c_functions import Activations, CFunction
from kurve.exchange.c_ops import OPS
from kurve.exchange.c_preamble import Preamble
from kurve.exchange.c_text import comment, identifier, literal, numbers, table
from kurve.exchange.exported import (
    Classification,
    ExportedModel,
    Network,
    Regression,
    SingleNetwork,
    check_operations,
)
from kurve.plan import Op, Plan

SLOW_TO_COMPILE, MAX_NUMBERS = 2_000_000, 20_000_000
"""Number of weights at which a compiler takes 10 s and 0.6 GB (gcc 12 with -O2), and
the number beyond which a file is refused."""

CLOSE = 1e-5
"""Tolerance of the file's self-test for the rounding of other compilers and
libraries, relative to the largest number of an output."""


def source(exported: ExportedModel, title: str) -> str:
    """The text of a .c file, ASCII.

    Raises:
        ValueError: an operation that cannot be written yet, or more than `MAX_NUMBERS`
            numbers.
    """
    if exported.numbers > MAX_NUMBERS:
        raise ValueError(
            f"[export] a C file holds at most {MAX_NUMBERS:,} numbers, because "
            "compilers need minutes and gigabytes for more. "
            f"Received: {exported.numbers:,} numbers. "
            "Try export('model.onnx')."
        )
    if exported.numbers > SLOW_TO_COMPILE:
        warn(
            f"[export] the C file holds {exported.numbers:,} numbers as text "
            f"({exported.numbers * 16 / 1e6:.0f} MB), for which a compiler takes about "
            f"{exported.numbers * 3e-7:.1g} GB of memory. Try export('model.onnx')."
        )
    return _File(exported, identifier(title)).text()


def _key(network: Network, number: int) -> tuple[Any, ...]:
    """A key that is equal for graph operations with the same arrays."""
    if network.plan is None:
        return (number,)
    arrays = network.arrays[number].values()
    return (network.ops[number].kind, *(id(array) for array in arrays))


class _File:
    """The parts of one file."""

    def __init__(self, exported: ExportedModel, name: str) -> None:
        self.exported, self.name, self.upper = exported, name, name.upper()
        self.activations = Activations(name)
        self.groups: dict[tuple[object, ...], list[Network]] = {}
        for network in exported.networks:
            self.groups.setdefault(network.structure, []).append(network)
        self.networks: list[str] = []
        self.working = 0  # scratch floats of a network besides its input and output
        for number, networks in enumerate(self.groups.values()):
            self.networks += self._group(self._suffix(number), networks)
        self.units = math.prod(exported.networks[0].output_shape)
        self.scaled = 0 if exported.inputs is None else len(exported.inputs.mean)
        single = isinstance(exported.head, SingleNetwork)
        self.predictions = 0 if single else self.units * len(exported.networks)
        self.preamble = Preamble(
            exported, name, self.working + self.scaled + self.predictions
        )

    def text(self) -> str:
        parts = [
            self.preamble.comment(),
            self.preamble.declarations(),
            self.preamble.includes(),
            self.activations.text(),
            self.networks,
            self._scaling_and_head(),
            self._entries(),
            self._test(),
            ["#endif"],
        ]
        return "\n".join(line for part in parts for line in part) + "\n"

    def _suffix(self, number: int) -> str:
        return "" if len(self.groups) == 1 else f"_{number + 1}"

    # ---------------------------------------------------------------- networks

    def _group(self, suffix: str, networks: list[Network]) -> list[str]:
        """Weights and functions of networks with the same structure."""
        network = networks[0]
        steps: list[tuple[str, int, CFunction]] = []  # name, offset of its arrays
        text: list[str] = []
        offset = 0
        shared: dict[tuple[Any, ...], int] = {}  # offsets of shared arrays
        functions = self._functions(network)
        for number, (op, step) in enumerate(zip(network.ops, functions, strict=True)):
            if step is None:
                continue
            function = f"{self.name}_op{number}{suffix}"
            key = _key(network, number)
            at = shared.setdefault(key, offset) if step.arrays else 0
            steps.append((function, at, step))
            text += self._function(function, op, step)
            if at == offset:
                offset += sum(array.size for _, array in step.arrays)
        sizes = [math.prod(op.out_shape) for op in network.ops]
        largest = max(sizes[:-1], default=0)
        extra = max((step.scratch for _, _, step in steps), default=0)
        if network.plan is None:
            self.working = max(self.working, 2 * largest + extra)
        weights: list[str] = []
        if offset:
            name = f"{self.name}_weights{suffix}"
            weights = [f"static const float {name}[{len(networks)}][{offset}] = {{"]
            for member in networks:
                weights += [*self._weights(member), "},"]
            weights += ["};", ""]
        if network.plan is not None:
            body = self._graph_body(network.plan, functions, steps, extra)
            return [*weights, *text, *self._signed(suffix, steps, body)]
        body = self._stack_body(steps, largest, sizes[-1])
        return [*weights, *text, *self._signed(suffix, steps, body)]

    def _functions(self, network: Network) -> list[CFunction | None]:
        """The functions of the operations; None for those without code."""
        check_operations(network, OPS, "C")
        return [
            OPS[op.kind](self.activations, op, arrays)
            for op, arrays in zip(network.ops, network.arrays, strict=True)
        ]

    def _weights(self, network: Network) -> Iterable[str]:
        yield "{"
        written: set[tuple[Any, ...]] = set()
        for number, step in enumerate(self._functions(network)):
            op = network.ops[number]
            if step is None or not step.arrays:
                continue
            key = _key(network, number)
            if key in written:
                continue
            written.add(key)
            for role, array in step.arrays:
                shape = " x ".join(map(str, array.shape))
                yield f"    /* {comment(op.layer)}: {role} {shape} */"
                yield from numbers(array)

    def _function(self, function: str, op: Op, step: CFunction) -> list[str]:
        arguments = [
            f"const float *RESTRICT x{number or ''}"
            for number in range(len(op.in_shapes))
        ]
        arguments.append("float *RESTRICT y")
        if step.arrays:
            arguments.insert(0, "const float *RESTRICT w")
        if step.scratch:
            arguments.append("float *RESTRICT scratch")
        read = set(re.findall(r"\w+", " ".join(step.body)))
        names = (argument.split("RESTRICT ")[1] for argument in arguments)
        unread = [f"    (void){name};" for name in names if name not in read]
        text = [
            f"/* {comment(op.layer)}: {op.kind} */",
            f"static void {function}({', '.join(arguments)})",
            "{",
            *("    " + line for line in step.body),
            *unread,
            "}",
            "",
        ]
        return [line.replace("RESTRICT", f"{self.upper}_RESTRICT") for line in text]

    def _signed(
        self, suffix: str, steps: list[tuple[str, int, CFunction]], body: list[str]
    ) -> list[str]:
        """The function that calls the operations in order."""
        arguments = ["const float *x", "float *y", "float *scratch"]
        if any(step.arrays for _, _, step in steps):
            arguments.insert(0, "const float *w")
        for name in ("scratch", "x"):
            if not any(re.search(rf"\b{name}\b", line) for line in body):
                body.append(f"    (void){name};")
        name = f"{self.name}_network{suffix}"
        return [f"static void {name}({', '.join(arguments)})", "{", *body, "}", ""]

    def _stack_body(
        self, steps: list[tuple[str, int, CFunction]], largest: int, size: int
    ) -> list[str]:
        """Intermediate values alternate between two halves of `scratch`."""
        halves = ("scratch", f"scratch + {largest}")
        body: list[str] = []
        source = "x"
        for number, (function, offset, step) in enumerate(steps):
            last = number == len(steps) - 1
            target = "y" if last else halves[number % 2]
            passed = [f"w + {offset}"] if step.arrays else []
            passed += [source, target]
            if step.scratch:
                passed.append(f"scratch + {2 * largest}")
            body.append(f"    {function}({', '.join(passed)});")
            source = target
        if not steps:
            body = ["    int i;", f"    for (i = 0; i < {size}; i++) y[i] = x[i];"]
        return body

    def _graph_body(
        self,
        plan: Plan,
        functions: list[CFunction | None],
        steps: list[tuple[str, int, CFunction]],
        extra: int,
    ) -> list[str]:
        """Each value has its place in `scratch`."""
        at, copies, size = c_graphs.places(plan, functions)
        self.working = max(self.working, size + extra)
        body, rest = ["    int i;"], iter(steps)
        for number, step in enumerate(functions):
            if step is None:
                continue
            function, offset, _ = next(rest)
            passed = [f"w + {offset}"] if step.arrays else []
            passed += [at[value] for value in plan.reads(number)]
            passed.append(at[plan.given + number])
            if step.scratch:
                passed.append(f"scratch + {size}")
            body.append(f"    {function}({', '.join(passed)});")
        return [*body, *copies]

    # ---------------------------------------------------------------- entries

    def _scaling_and_head(self) -> list[str]:
        exported, name = self.exported, self.name
        text: list[str] = []
        if exported.columns is not None:
            text += [
                f"const char *const {name}_columns[{self.upper}_INPUTS] = {{",
                *(f"    {literal(column)}," for column in self.preamble.columns()),
                "};",
                "",
            ]
        if exported.inputs is not None:
            kind = "float" if exported.table is None else "double"
            if exported.table is not None:
                text += c_tables.encoding(name, exported.table)
            text += c_heads.scaling(name, exported.inputs, kind)
        if isinstance(exported.head, SingleNetwork):
            return text
        if isinstance(exported.head, Regression) and exported.head.levels:
            text += c_heads.sorting(name, len(exported.head.levels))
        text += c_heads.head(name, exported)
        if isinstance(exported.head, Classification):
            text += c_heads.label(name, exported.head)
        return text

    def _entries(self) -> list[str]:
        n, u = self.name, self.upper
        one, batch, *short = self.preamble.signatures()
        text = [one, "{", *("    " + line for line in self._call()), "}", ""]
        x, step = "x", [f"x + i * {u}_INPUTS,"]
        if self.exported.table is not None:
            x = "numbers, texts"
            step = [f"numbers + i * {u}_NUMBERS,", f"texts + i * {u}_TEXTS,"]
        text += [
            batch,
            "{",
            "    size_t i;",
            "    for (i = 0; i < rows; i++)",
            f"        {n}_predict_with({step[0]}",
            *(f"            {line}" for line in step[1:]),
            f"            y + i * {u}_OUTPUTS, scratch);",
            "}",
            "",
        ]
        for signature, call in zip(
            short,
            (f"predict_with({x}, y,", f"predict_batch_with({x}, y, rows,"),
            strict=False,
        ):
            text += [
                signature,
                "{",
                f"    float scratch[{u}_SCRATCH];",
                f"    {n}_{call} scratch);",
                "}",
                "",
            ]
        return text

    def _call(self) -> Iterable[str]:
        """The body of predict_with. Scratch holds the scaled inputs, the predictions of
        the networks, and their working memory."""
        n = self.name
        x, working = "x", self.scaled + self.predictions
        if self.exported.table is not None:
            yield f"double matrix[{self.scaled}];"
            yield f"{n}_encode(numbers, texts, matrix);"
            x = "matrix"
        if self.exported.inputs is not None:
            yield f"{n}_scale({x}, scratch);"
            x = "scratch"
        first = 0
        for number, networks in enumerate(self.groups.values()):
            suffix = self._suffix(number)
            has_weights = any(
                s is not None and s.arrays for s in self._functions(networks[0])
            )
            for member in range(len(networks)):
                weights = f"{n}_weights{suffix}[{member}], " if has_weights else ""
                y = (
                    f"scratch + {self.scaled + first * self.units}"
                    if self.predictions
                    else "y"
                )
                yield f"{n}_network{suffix}({weights}{x}, {y}, scratch + {working});"
                first += 1
        if self.predictions:
            yield f"{n}_combine(scratch + {self.scaled}, y);"

    # ---------------------------------------------------------------- test

    def _sizes(self, part: np.ndarray) -> np.ndarray:
        """The unit for the errors of each number of an output: the output's largest
        number; for a target, its own largest number plus standard deviation."""
        head = self.exported.head
        if isinstance(head, Regression):
            each = part.shape[1] // len(head.deviation)
            return np.abs(part).max(axis=0) + np.repeat(head.deviation, each)
        return np.full(part.shape[1], max(float(np.abs(part).max()), 1e-30))

    def _test(self) -> list[str]:
        n, u = self.name, self.upper
        inputs = self.exported.table
        if inputs is None:
            x = c_heads.sample(self.exported)
            expected = self.exported.expected(x)
            rows, given = table("float", f"{n}_rows", x), f"{n}_rows"
        else:
            sample = inputs.sample()
            expected = self.exported.expected(sample)
            rows = c_tables.cells(n, inputs, sample)
            given = f"{n}_row_numbers, {n}_row_texts"
        count = len(next(iter(expected.values())))
        parts = [
            np.asarray(expected[name], np.float64).reshape(count, -1)
            for name in self.exported.outputs
        ]
        allowed = [CLOSE * self._sizes(part) for part in parts]
        return [
            f"#ifdef {u}_SELF_TEST",
            "#include <stdio.h>",
            "",
            *rows,
            *table("float", f"{n}_expected", np.hstack(parts).astype(np.float32)),
            *table("float", f"{n}_allowed", np.concatenate(allowed)),
            "",
            "int main(void)",
            "{",
            f"    static float y[{count} * {u}_OUTPUTS], scratch[{u}_SCRATCH];",
            "    double worst = 0.0;",
            "    int i, wrong = 0;",
            f"    {n}_predict_batch_with({given}, y, {count}, scratch);",
            f"    for (i = 0; i < {count} * {u}_OUTPUTS; i++) {{",
            "        const double error =",
            f"            fabs((double)y[i] - (double){n}_expected[i]) /",
            f"            (double){n}_allowed[i % {u}_OUTPUTS];",
            "        worst = error > worst ? error : worst;",
            "        wrong += !(error <= 1.0);",
            "    }",
            f'    printf("{n}: {count} rows, %d wrong numbers, largest error %.2g of '
            'what is allowed\\n", wrong, worst);',
            "    return wrong ? 1 : 0;",
            "}",
            "#endif",
        ]
