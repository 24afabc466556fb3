"""One C99 file that predicts, and tests itself: weights and functions.

What stands at its top is in `kurve.exchange.c_top`, what one operation becomes in
`kurve.exchange.c_ops`, what stands before and behind the networks in
`kurve.exchange.c_heads`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from kurve.core.entries import warn
from kurve.exchange import c_heads
from kurve.exchange.c_ops import OPS
from kurve.exchange.c_steps import Functions, Step
from kurve.exchange.c_text import comment, identifier, literal, numbers, table
from kurve.exchange.c_top import Preamble
from kurve.exchange.exported import (
    Classification,
    ExportedModel,
    Network,
    Regression,
    SingleNetwork,
)

MANY, MOST = 2_000_000, 20_000_000
"""Numbers from which a compiler takes 10 s and 0.6 GB, and beyond which a file is
refused; gcc 12 with -O2."""

CLOSE = 1e-5
"""Of the largest number of an output: what the file's test allows another compiler's
rounding and library."""


def source(exported: ExportedModel, title: str) -> str:
    """The text of a .c file, ASCII.

    Raises:
        ValueError: an operation that has no form in C here, or more than `MOST`
            numbers.
    """
    if exported.numbers > MOST:
        raise ValueError(
            f"[export] a C file holds at most {MOST:,} numbers, because compilers need "
            f"minutes and gigabytes for more. Received: {exported.numbers:,} numbers. "
            "Try export('model.onnx')."
        )
    if exported.numbers > MANY:
        warn(
            f"[export] the C file holds {exported.numbers:,} numbers as text "
            f"({exported.numbers * 16 / 1e6:.0f} MB), for which a compiler takes about "
            f"{exported.numbers * 3e-7:.1g} GB of memory. Try export('model.onnx')."
        )
    return _File(exported, identifier(title)).text()


class _File:
    """The parts of one file."""

    def __init__(self, exported: ExportedModel, name: str) -> None:
        self.exported, self.name, self.upper = exported, name, name.upper()
        self.functions = Functions(name)
        self.groups: dict[tuple[object, ...], list[Network]] = {}
        for network in exported.networks:
            self.groups.setdefault(network.structure, []).append(network)
        self.bodies: list[str] = []
        self.working = 0  # floats that a network needs beside its input and output
        for number, networks in enumerate(self.groups.values()):
            self.bodies += self._group(self._suffix(number), networks)
        self.units = math.prod(exported.networks[0].output_shape)
        self.wide = 0 if exported.inputs is None else len(exported.inputs.mean)
        plain = isinstance(exported.head, SingleNetwork)
        self.predictions = 0 if plain else self.units * len(exported.networks)
        self.top = Preamble(exported, name, self.working + self.wide + self.predictions)

    def text(self) -> str:
        parts = [
            self.top.comment(),
            self.top.declarations(),
            self.top.includes(),
            self.functions.text(),
            self.bodies,
            self._ends(),
            self._entries(),
            self._test(),
            ["#endif"],
        ]
        return "\n".join(line for part in parts for line in part) + "\n"

    def _suffix(self, number: int) -> str:
        return "" if len(self.groups) == 1 else f"_{number + 1}"

    # ---------------------------------------------------------------- networks

    def _group(self, suffix: str, networks: list[Network]) -> list[str]:
        """Weights and functions of networks of one structure."""
        network = networks[0]
        steps: list[tuple[str, int, Step]] = []  # function, offset of its arrays
        text: list[str] = []
        offset = 0
        for number, (op, step) in enumerate(
            zip(network.ops, self._steps(network), strict=True)
        ):
            if step is None:
                continue
            function = f"{self.name}_op{number}{suffix}"
            steps.append((function, offset, step))
            text += self._function(function, op.kind, op.layer, step)
            offset += sum(array.size for _, array in step.arrays)
        sizes = [math.prod(op.out_shape) for op in network.ops]
        largest = max(sizes[:-1], default=0)
        extra = max((step.scratch for _, _, step in steps), default=0)
        self.working = max(self.working, 2 * largest + extra)
        weights: list[str] = []
        if offset:
            name = f"{self.name}_weights{suffix}"
            weights = [f"static const float {name}[{len(networks)}][{offset}] = {{"]
            for member in networks:
                weights += [*self._weights(member), "},"]
            weights += ["};", ""]
        return [*weights, *text, *self._network(suffix, steps, largest, sizes[-1])]

    def _steps(self, network: Network) -> list[Step | None]:
        for op in network.ops:
            if op.kind not in OPS:
                raise ValueError(
                    f"[export] layer {op.layer!r} cannot be written to C yet, because "
                    f"nothing is known there for the operation {op.kind!r}. "
                    f"Known: {', '.join(sorted(OPS))}."
                )
        return [
            OPS[op.kind](self.functions, op, arrays)
            for op, arrays in zip(network.ops, network.arrays, strict=True)
        ]

    def _weights(self, network: Network) -> Iterable[str]:
        yield "{"
        for op, step in zip(network.ops, self._steps(network), strict=True):
            for role, array in () if step is None else step.arrays:
                shape = " x ".join(map(str, array.shape))
                yield f"    /* {comment(op.layer)}: {role} {shape} */"
                yield from numbers(array)

    def _function(self, function: str, kind: str, layer: str, step: Step) -> list[str]:
        arguments = ["const float *RESTRICT x", "float *RESTRICT y"]
        if step.arrays:
            arguments.insert(0, "const float *RESTRICT w")
        if step.scratch:
            arguments.append("float *RESTRICT scratch")
        text = [
            f"/* {comment(layer)}: {kind} */",
            f"static void {function}({', '.join(arguments)})",
            "{",
            *("    " + line for line in step.body),
            "}",
            "",
        ]
        return [line.replace("RESTRICT", f"{self.upper}_RESTRICT") for line in text]

    def _network(
        self,
        suffix: str,
        steps: list[tuple[str, int, Step]],
        largest: int,
        size: int,
    ) -> list[str]:
        """The function that calls the operations; what lies between them goes to and
        fro between two halves of `scratch`."""
        has_weights = any(step.arrays for _, _, step in steps)
        arguments = ["const float *x", "float *y", "float *scratch"]
        if has_weights:
            arguments.insert(0, "const float *w")
        halves = ("scratch", f"scratch + {largest}")
        body: list[str] = []
        source = "x"
        for number, (function, offset, step) in enumerate(steps):
            last = number == len(steps) - 1
            target = "y" if last else halves[number % 2]
            given = [f"w + {offset}"] if step.arrays else []
            given += [source, target]
            if step.scratch:
                given.append(f"scratch + {2 * largest}")
            body.append(f"    {function}({', '.join(given)});")
            source = target
        if not steps:
            body = ["    int i;", f"    for (i = 0; i < {size}; i++) y[i] = x[i];"]
        if not any("scratch" in line for line in body):
            body.append("    (void)scratch;")
        name = f"{self.name}_network{suffix}"
        return [f"static void {name}({', '.join(arguments)})", "{", *body, "}", ""]

    # ---------------------------------------------------------------- entries

    def _ends(self) -> list[str]:
        exported, name = self.exported, self.name
        text: list[str] = []
        if exported.columns is not None:
            text += [
                f"const char *const {name}_columns[{self.upper}_INPUTS] = {{",
                *(f"    {literal(column)}," for column in exported.columns),
                "};",
                "",
            ]
        if exported.inputs is not None:
            text += c_heads.scaling(name, exported.inputs)
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
        one, batch, *short = self.top.signatures()
        text = [one, "{", *("    " + line for line in self._call()), "}", ""]
        text += [
            batch,
            "{",
            "    size_t i;",
            "    for (i = 0; i < rows; i++)",
            f"        {n}_predict_with(x + i * {u}_INPUTS,",
            f"            y + i * {u}_OUTPUTS, scratch);",
            "}",
            "",
        ]
        for signature, call in zip(
            short,
            ("predict_with(x, y,", "predict_batch_with(x, y, rows,"),
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
        """The body of predict_with. Scratch holds z, what the networks said, and what
        they work with."""
        n = self.name
        x, rest = "x", self.wide + self.predictions
        if self.exported.inputs is not None:
            x = "scratch"
            yield f"{n}_scale(x, scratch);"
        first = 0
        for number, networks in enumerate(self.groups.values()):
            suffix = self._suffix(number)
            has = any(s is not None and s.arrays for s in self._steps(networks[0]))
            for member in range(len(networks)):
                weights = f"{n}_weights{suffix}[{member}], " if has else ""
                y = (
                    f"scratch + {self.wide + first * self.units}"
                    if self.predictions
                    else "y"
                )
                yield f"{n}_network{suffix}({weights}{x}, {y}, scratch + {rest});"
                first += 1
        if self.predictions:
            yield f"{n}_combine(scratch + {self.wide}, y);"

    # ---------------------------------------------------------------- test

    def _sizes(self, part: np.ndarray) -> np.ndarray:
        """What errors of each number of an output are measured by: targets by their own
        deviation, all else by the output's largest number."""
        head = self.exported.head
        if isinstance(head, Regression):
            each = part.shape[1] // len(head.deviation)
            return np.abs(part).max(axis=0) + np.repeat(head.deviation, each)
        return np.full(part.shape[1], max(float(np.abs(part).max()), 1e-30))

    def _test(self) -> list[str]:
        n, u = self.name, self.upper
        x = c_heads.sample(self.exported)
        expected = self.exported.expected(x)
        parts = [
            np.asarray(expected[name], np.float64).reshape(len(x), -1)
            for name in self.exported.outputs
        ]
        allowed = [CLOSE * self._sizes(part) for part in parts]
        return [
            f"#ifdef {u}_SELF_TEST",
            "#include <stdio.h>",
            "",
            *table("float", f"{n}_rows", x),
            *table("float", f"{n}_expected", np.hstack(parts).astype(np.float32)),
            *table("float", f"{n}_allowed", np.concatenate(allowed)),
            "",
            "int main(void)",
            "{",
            f"    static float y[{len(x)} * {u}_OUTPUTS], scratch[{u}_SCRATCH];",
            "    double worst = 0.0;",
            "    int i, wrong = 0;",
            f"    {n}_predict_batch_with({n}_rows, y, {len(x)}, scratch);",
            f"    for (i = 0; i < {len(x)} * {u}_OUTPUTS; i++) {{",
            "        const double error =",
            f"            fabs((double)y[i] - (double){n}_expected[i]) /",
            f"            (double){n}_allowed[i % {u}_OUTPUTS];",
            "        worst = error > worst ? error : worst;",
            "        wrong += !(error <= 1.0);",
            "    }",
            f'    printf("{n}: {len(x)} rows, %d wrong numbers, largest error %.2g of '
            'what is allowed\\n", wrong, worst);',
            "    return wrong ? 1 : 0;",
            "}",
            "#endif",
        ]
