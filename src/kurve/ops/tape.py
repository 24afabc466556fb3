"""Tapes: sequences of elementwise operations as data.

A tape computes y = f(a, b, ...) element by element. Its registers are the inputs,
followed by the result of each instruction:

    y = a * tanh(a) + 1        0: a
                               1: tanh 0
                               2: mul 0 1
                               3: constant 1.0
                               4: add 2 3

Engines run a tape block by block, so that intermediate results never leave the L1
cache. The derivative of a tape is again a tape (`gradient`), which recomputes what it
needs instead of reading values saved by the forward pass.

The operations are defined in `kurve.ops.elementwise`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_INSTRUCTIONS = 4096
"""Maximum length of a tape: files contain tapes, so their size must be bounded."""

MAX_LIVE = 24
"""Maximum number of registers in use at a time; engines keep a block of each in the L1
cache."""


class _Precision(threading.local):
    dtype: Any = np.float32


precision = _Precision()
"""The type that constants of formulas are rounded to: float32, as engines compute, but
float64 in what the reference engine runs once in float64."""


@contextmanager
def constants_of(dtype: Any) -> Iterator[None]:
    """A context in which constants are rounded to this type."""
    before, precision.dtype = precision.dtype, np.dtype(dtype).type
    try:
        yield
    finally:
        precision.dtype = before


@dataclass(frozen=True)
class Instruction:
    """One operation on registers; `value` is the value of a constant."""

    name: str
    arguments: tuple[int, ...] = ()
    value: float = 0.0


@dataclass(frozen=True)
class Tape:
    """A number of inputs, the code, and the registers of the outputs."""

    inputs: int
    code: tuple[Instruction, ...]
    outputs: tuple[int, ...]

    def checked(self, known: Mapping[str, int]) -> Tape:
        """Return the tape if it is valid.

        Args:
            known: number of arguments of each operation.

        Raises:
            ValueError: an unknown operation, or a register used before it is written.
        """
        if not 0 <= len(self.code) <= MAX_INSTRUCTIONS or not self.outputs:
            raise ValueError(
                f"[tape] a tape must have outputs and at most {MAX_INSTRUCTIONS} "
                f"instructions. Received: {len(self.code)}. Try several operations."
            )
        for register, step in enumerate(self.code, self.inputs):
            if known.get(step.name) != len(step.arguments):
                raise ValueError(
                    "[tape] operations must be known and have the right number of "
                    f"arguments. Received: {step.name!r} of {len(step.arguments)}."
                )
            if not all(0 <= a < register for a in step.arguments):
                raise ValueError(
                    "[tape] arguments must be registers written before. "
                    f"Received: {step.arguments} in register {register}."
                )
        if not all(0 <= o < self.inputs + len(self.code) for o in self.outputs):
            raise ValueError(
                f"[tape] outputs must be registers. Received: {self.outputs}."
            )
        return self

    def live(self) -> int:
        """The maximum number of registers in use, including inputs and constants."""
        last = self._last_reads()
        most = now = sum(1 for i in range(self.inputs) if i in last)
        for i, step in enumerate(self.code):
            now += 1
            most = max(most, now)
            now -= sum(1 for a in set(step.arguments) if last[a] == i)
            now -= self.inputs + i not in last
        return most

    def scratch(self) -> int:
        """The maximum number of registers in use that are neither inputs nor outputs; a
        result can reuse the register of an argument that is no longer needed."""
        last, most, now = self._last_reads(), 0, 0
        outside = {*range(self.inputs), *self.outputs}
        for i, step in enumerate(self.code):
            ended = {a for a in step.arguments if last[a] == i}
            now -= len(ended - outside)
            if self.inputs + i not in outside:
                most = max(most, now + 1)
                now += self.inputs + i in last
        return most

    def _last_reads(self) -> dict[int, int]:
        """For each register, the last instruction that reads it."""
        last = {a: i for i, step in enumerate(self.code) for a in step.arguments}
        return last | dict.fromkeys(self.outputs, len(self.code))


@dataclass(frozen=True)
class Rule:
    """An elementwise operation.

    Args:
        arity: number of arguments.
        compute: the operation on NumPy arrays.
        gradient: (builder, dy, y, *arguments) -> a register for each argument, or None
            if the derivative is zero wherever it exists.
        source: reference for the formula, if it is not a textbook one.
    """

    arity: int
    compute: Callable[..., Any]
    gradient: Callable[..., Sequence[Any]]


@dataclass
class Builder:
    """Builds a tape, reusing equal instructions, folding constants and dropping no-ops.

    rules: the table of operations.
    """

    rules: Mapping[str, Rule]
    inputs: int
    code: list[Instruction] = field(default_factory=list)
    known: dict[Instruction, int] = field(default_factory=dict)

    def constant(self, value: float) -> int:
        return self._add(Instruction("constant", (), float(precision.dtype(value))))

    def value_of(self, register: int) -> float | None:
        """The value of a register that holds a constant, else None."""
        if register < self.inputs:
            return None
        step = self.code[register - self.inputs]
        return step.value if step.name == "constant" else None

    def op(self, name: str, *arguments: int | float) -> int:
        """Append an operation and return its register; numbers become constants."""
        registers = tuple(
            self.constant(a) if isinstance(a, float) else a for a in arguments
        )
        values = [self.value_of(r) for r in registers]
        if registers and None not in values:
            with np.errstate(all="ignore"):
                folded = self.rules[name].compute(*map(precision.dtype, values))
            return self.constant(float(folded))
        same = self._simplified(name, registers, values)
        return self._add(Instruction(name, registers)) if same is None else same

    def _simplified(
        self, name: str, r: tuple[int, ...], v: list[float | None]
    ) -> int | None:
        """An equal register if an argument is neutral: 1 x, x + 0.
        (But not 0 x, which is NaN for infinite x.)"""
        if name == "mul":
            if v[0] == 1.0 or v[1] == 1.0:
                return r[1] if v[0] == 1.0 else r[0]
            if v[0] == -1.0 or v[1] == -1.0:
                return self.op("neg", r[1] if v[0] == -1.0 else r[0])
        if name in ("add", "sub") and v[1] == 0.0:
            return r[0]
        if name == "add" and v[0] == 0.0:
            return r[1]
        if name == "div" and v[1] == 1.0:
            return r[0]
        if name == "neg":
            step = self.code[r[0] - self.inputs] if r[0] >= self.inputs else None
            if step is not None and step.name == "neg":
                return step.arguments[0]
        if name == "pow" and v[1] is not None:
            power = {1.0: "", 2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}
            if v[1] in power:
                return self.op(power[v[1]], r[0]) if power[v[1]] else r[0]
            if v[1] == 3.0:
                return self.op("mul", r[0], self.op("square", r[0]))
        return None

    def _add(self, step: Instruction) -> int:
        if step not in self.known:
            self.known[step] = self.inputs + len(self.code)
            self.code.append(step)
        return self.known[step]

    def inline(self, tape: Tape, arguments: Sequence[int]) -> tuple[int, ...]:
        """Inline a tape with its inputs replaced by `arguments`; return the registers
        of its outputs."""
        registers = list(arguments)
        if not self.code and registers == list(range(self.inputs)):
            # The first tape is copied as is, so that joining a chain takes linear time.
            self.code = list(tape.code)
            self.known = {s: i for i, s in enumerate(self.code, self.inputs)}
            return tape.outputs
        for step in tape.code:
            registers.append(
                self.constant(step.value)
                if step.name == "constant"
                else self.op(step.name, *(registers[a] for a in step.arguments))
            )
        return tuple(registers[o] for o in tape.outputs)

    def finish(self, outputs: Sequence[int]) -> Tape:
        """The finished tape, without dead code."""
        needed = set(outputs)
        for i in reversed(range(len(self.code))):
            if self.inputs + i in needed:
                needed.update(self.code[i].arguments)
        if needed.issuperset(range(self.inputs, self.inputs + len(self.code))):
            return Tape(self.inputs, tuple(self.code), tuple(outputs))
        place = {i: i for i in range(self.inputs)}
        code: list[Instruction] = []
        for i, step in enumerate(self.code, self.inputs):
            if i in needed:
                place[i] = self.inputs + len(code)
                moved = tuple(place[a] for a in step.arguments)
                code.append(Instruction(step.name, moved, step.value))
        return Tape(self.inputs, tuple(code), tuple(place[o] for o in outputs))


def gradient(tape: Tape, rules: Mapping[str, Rule], wanted: Sequence[int]) -> Tape:
    """The gradient of a tape, by the chain rule.

    Args:
        wanted: inputs whose gradients are wanted.

    Returns:
        A tape with the inputs of `tape`, then dL/dy for each of its outputs, and
        with dL/dx as output for each input in `wanted`; a constant 0 if L does not
        depend on it.
    """
    build = Builder(rules, tape.inputs + len(tape.outputs))
    registers = list(range(tape.inputs))
    for step in tape.code:
        registers.append(
            build.constant(step.value)
            if step.name == "constant"
            else build.op(step.name, *(registers[a] for a in step.arguments))
        )
    reached = set(wanted)  # registers that depend on a wanted input
    for i, step in enumerate(tape.code, tape.inputs):
        if reached.intersection(step.arguments):
            reached.add(i)
    adjoint: dict[int, int] = {}

    def add(register: int, part: int) -> None:
        before = adjoint.get(register)
        adjoint[register] = part if before is None else build.op("add", before, part)

    for k, output in enumerate(tape.outputs):
        add(output, tape.inputs + k)
    for i in reversed(range(len(tape.code))):
        here, step = tape.inputs + i, tape.code[i]
        if here not in adjoint or here not in reached:
            continue
        arguments = [registers[a] for a in step.arguments]
        parts = rules[step.name].gradient(
            build, adjoint[here], registers[here], *arguments
        )
        for argument, part in zip(step.arguments, parts, strict=True):
            if part is not None and argument in reached:
                add(argument, part)
    outputs = [adjoint[w] if w in adjoint else build.constant(0.0) for w in wanted]
    return build.finish(outputs)


def with_slope(tape: Tape, rules: Mapping[str, Rule]) -> Tape | None:
    """A tape of y and dy/dx for a tape y = f(x) with one output, so that the backward
    pass need only multiply.

    Returns:
        None if this costs more than to compute dL/dx from x and dL/dy.
    """
    backward = gradient(tape, rules, [0])
    build = Builder(rules, tape.inputs)
    (y,) = build.inline(tape, range(tape.inputs))
    inside = [*range(tape.inputs), build.constant(1.0)]
    (slope,) = build.inline(backward, inside)
    both = build.finish([y, slope])
    one_pass = _cost(both) + 2  # slopes are written and read
    if one_pass >= _cost(tape) + _cost(backward) or both.scratch() > MAX_LIVE:
        return None
    return both


def _cost(tape: Tape) -> int:
    """The time of a tape, in that of an addition."""
    return sum(1 if step.name in _CHEAP else 8 for step in tape.code)


_CHEAP = {
    "constant",
    "add",
    "sub",
    "mul",
    "neg",
    "square",
    "abs",
    "sign",
    "max",
    "min",
    "relu",
    "where",
    "stop_gradient",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "and",
    "or",
    "not",
}


def tangent(tape: Tape, rules: Mapping[str, Rule], moving: Sequence[int]) -> Tape:
    """The forward-mode derivative of a tape.

    Args:
        tape: a tape with one output.
        moving: inputs with tangents.

    Returns:
        A tape with the inputs of `tape`, then its output (so that it is not
        recomputed), then the tangent of each input in `moving`; its output is the
        tangent of the output.
    """
    n = tape.inputs
    build = Builder(rules, n + 1 + len(moving))
    tangents = {k: n + 1 + i for i, k in enumerate(moving)}
    registers = list(range(n))
    (output,) = tape.outputs
    for i, step in enumerate(tape.code):
        arguments = [registers[a] for a in step.arguments]
        if n + i == output:
            registers.append(n)
        elif step.name == "constant":
            registers.append(build.constant(step.value))
        else:
            registers.append(build.op(step.name, *arguments))
        if not any(a in tangents for a in step.arguments):
            continue
        one = build.constant(1.0)
        slopes = rules[step.name].gradient(build, one, registers[-1], *arguments)
        found: int | None = None
        for a, slope in zip(step.arguments, slopes, strict=True):
            if slope is not None and a in tangents:
                part = build.op("mul", slope, tangents[a])
                found = part if found is None else build.op("add", found, part)
        if found is not None:
            tangents[n + i] = found
    zero = build.constant(0.0)
    return build.finish([tangents.get(output, zero)])


def run(tape: Tape, rules: Mapping[str, Rule], inputs: Sequence[Any]) -> list[Any]:
    """Compute the outputs for inputs that broadcast against each other."""
    registers, number = list(inputs), None
    for step in tape.code:
        if step.name == "constant":
            if number is None:
                dtype = np.result_type(*inputs) if inputs else np.dtype(np.float32)
                number = dtype.type
            registers.append(number(step.value))
        else:
            compute = rules[step.name].compute
            registers.append(compute(*[registers[a] for a in step.arguments]))
    return [registers[o] for o in tape.outputs]
