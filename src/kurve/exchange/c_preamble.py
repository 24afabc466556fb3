"""The preamble of a C file: a comment that explains how to use it, and declarations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import kurve
from kurve.exchange.c_text import comment
from kurve.exchange.exported import Classification, ExportedModel, Regression
from kurve.exchange.tables import TableInputs

STACK = 64 * 1024
"""Maximum stack memory of NAME_predict, in bytes."""

SHOWN = 100
"""Maximum columns listed in the comment."""


@dataclass(frozen=True)
class Preamble:
    """The facts that users of the file need.

    name:    prefix of all names in the file
    scratch: floats of working memory
    """

    exported: ExportedModel
    name: str
    scratch: int

    @property
    def upper(self) -> str:
        return self.name.upper()

    @property
    def outputs(self) -> int:
        return sum(map(math.prod, self.exported.outputs.values()))

    @property
    def on_stack(self) -> bool:
        return self.scratch * 4 <= STACK

    def comment(self) -> list[str]:
        n, u, model = self.name, self.upper, self.exported
        lines = [
            f"{n}.c: a trained model in C99, written by Kurve {kurve.__version__}.",
            "",
            f"{model.what}: {self.inputs} inputs, "
            f"{self.outputs} outputs, {model.numbers} numbers.",
            "",
            f"Compile:  cc -std=c99 -O2 -c {n}.c      and link with -lm",
            f"Test it:  cc -std=c99 -O2 -D{u}_SELF_TEST {n}.c -o {n}_test -lm",
            f"          ./{n}_test",
            "",
            "From another file:",
            "",
            f"    #define {u}_DECLARE_ONLY",
            f'    #include "{n}.c"',
            "",
            *self._declared_inputs(),
        ]
        given = "x" if model.table is None else "numbers, texts"
        if self.on_stack:
            lines.append(f"    {n}_predict({given}, y);")
        else:
            lines += [
                f"    static float scratch[{u}_SCRATCH];    one for each thread",
                f"    {n}_predict_with({given}, y, scratch);",
            ]
        lines += [
            "",
            "x and y must not overlap. No memory is allocated and no state is kept",
            "between calls, so threads may call at the same time.",
            "",
        ]
        if model.table is None:
            lines.append(f"x[{_range(0, self.inputs)}]{self._axes(model.input_shape)}")
            lines += self._columns()
        else:
            lines += self._table_columns(model.table)
        lines.append("")
        first = 0
        for name, shape in model.outputs.items():
            size = math.prod(shape)
            what = f"{name}{self._axes(shape)}{self._meaning(name)}"
            lines.append(f"y[{_range(first, size)}]  {what}")
            first += size
        if model.inputs is not None:
            lines += ["", *self._refused()]
        return ["/*", *(f" * {line}".rstrip() for line in lines), " */", ""]

    @property
    def inputs(self) -> int:
        """Number of values of a row."""
        table = self.exported.table
        return (
            math.prod(self.exported.input_shape) if table is None else len(table.used)
        )

    def columns(self) -> list[str]:
        """The names of a row's values, if they are known."""
        table = self.exported.table
        if table is None:
            return list(self.exported.columns or ())
        return [table.name(c) for c in (*table.numbers, *table.texts)]

    def _declared_inputs(self) -> list[str]:
        u = self.upper
        if self.exported.table is None:
            return [f"    float x[{u}_INPUTS], y[{u}_OUTPUTS];"]
        return [
            f"    double numbers[{max(len(self.exported.table.numbers), 1)}];",
            f"    const char *texts[{max(len(self.exported.table.texts), 1)}];",
            f"    float y[{u}_OUTPUTS];",
        ]

    def _table_columns(self, table: TableInputs) -> Iterable[str]:
        """What a row of a table is."""
        for name, columns in (("numbers", table.numbers), ("texts", table.texts)):
            for number, column in enumerate(columns[:SHOWN]):
                what = f"{comment(table.name(column))}, {table.meaning(column)}"
                yield f"{name}[{number}]  {what}"
            if len(columns) > SHOWN:
                yield f"and {len(columns) - SHOWN} more"
        yield ""
        yield "Texts are UTF-8, written as in the training data; dates may also be"
        yield "written 2000-01-31 or 2000-01-31 12:30."

    def _axes(self, shape: tuple[int, ...]) -> str:
        if len(shape) < 2:
            return ""
        return f" of shape ({', '.join(map(str, shape))}), the last axis fastest"

    def _columns(self) -> Iterable[str]:
        names = self.exported.columns or ()
        for number, name in enumerate(names[:SHOWN]):
            yield f"    x[{number}]  {comment(name)}"
        if len(names) > SHOWN:
            yield f"    and {len(names) - SHOWN} more"

    def _meaning(self, name: str) -> str:
        head, targets = self.exported.head, self.exported.targets
        if name == "quantiles" and isinstance(head, Regression):
            return ": " + ", ".join(f"{level:g}" for level in head.levels)
        if name == "probabilities":
            return f" in the order of {self.name}_labels"
        if targets is None:
            return ""
        return " of " + ", ".join(comment(target) for target in targets[:SHOWN])

    def _refused(self) -> Iterable[str]:
        table = self.exported.table
        if table is not None:
            missing = "NaN, and NULL or an empty text, are missing values."
            if not table.columns.impute:
                missing = "Missing values make all outputs NaN."
            return [missing, "Infinity, and texts that are no dates, make them NaN."]
        if (
            self.exported.inputs is not None
            and self.exported.inputs.imputation is not None
        ):
            return ["NaN in x is a missing value. Infinity makes all outputs NaN."]
        return ["NaN and infinity in x make all outputs NaN."]

    def declarations(self) -> list[str]:
        n, u = self.name, self.upper
        first, macros = 0, []
        for name, shape in self.exported.outputs.items():
            macros.append(f"#define {u}_{name.upper()} {first}")
            first += math.prod(shape)
        sizes = []
        if (table := self.exported.table) is not None:
            sizes = [
                f"#define {u}_NUMBERS {len(table.numbers)}",
                f"#define {u}_TEXTS {len(table.texts)}",
            ]
        signatures = [f"{line};" for line in self.signatures()]
        if self.exported.columns is not None:
            signatures.append(f"extern const char *const {n}_columns[{u}_INPUTS];")
        if isinstance(self.exported.head, Classification):
            signatures += [
                f"extern const char *const {n}_labels[{u}_OUTPUTS];",
                f"int {n}_label(const float *y);",
            ]
        return [
            f"#ifndef {u}_DECLARED",
            f"#define {u}_DECLARED",
            "#include <stddef.h>",
            f"#define {u}_INPUTS {self.inputs}",
            *sizes,
            f"#define {u}_OUTPUTS {self.outputs}",
            *macros,
            f"#define {u}_SCRATCH {max(self.scratch, 1)}",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            *signatures,
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "#endif",
            "",
        ]

    def signatures(self) -> list[str]:
        n, x = self.name, "const float *x"
        if self.exported.table is not None:
            x = "const double *numbers, const char *const *texts"
        lines = [
            f"void {n}_predict_with({x}, float *y, float *scratch)",
            f"void {n}_predict_batch_with({x}, float *y, size_t rows, float *scratch)",
        ]
        if self.on_stack:
            lines += [
                f"void {n}_predict({x}, float *y)",
                f"void {n}_predict_batch({x}, float *y, size_t rows)",
            ]
        return lines

    def includes(self) -> list[str]:
        headers = ["math"]
        if self.exported.table is not None:
            headers = ["locale", "math", "stdlib", "string"]
        return [
            f"#ifndef {self.upper}_DECLARE_ONLY",
            "#include <float.h>",
            *(f"#include <{name}.h>" for name in headers),
            "",
            "#if defined(__cplusplus) || defined(_MSC_VER)",
            f"#define {self.upper}_RESTRICT __restrict",
            "#else",
            f"#define {self.upper}_RESTRICT restrict",
            "#endif",
            "",
        ]


def _range(first: int, size: int) -> str:
    """Indices in the notation of C comments."""
    return f"{first}" if size == 1 else f"{first}..{first + size - 1}"
