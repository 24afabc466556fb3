"""Lowering of formulas to the compiled core: adjacent elementwise steps of one shape
become a tape, which only needs memory for its outputs."""

from __future__ import annotations

from typing import Any

from kurve.ops.elementwise import RULES
from kurve.ops.formula import Formula, Step
from kurve.ops.tape import MOST_LIVE, Builder

_OTHERS = ("constant", "sum", "matmul", "reshape")


def lowered(formula: Formula, core: Any) -> Any:
    """The formula as `core`, a module or its like, expects it."""
    return _Lowering(formula, core).result()


class _Lowering:
    """Maps registers of a formula to registers of the core's formula.

    group: the steps of the current tape, by register; `shape` is their shape
    """

    def __init__(self, formula: Formula, core: Any) -> None:
        self.formula, self.classes = formula, core
        self.core = core.Formula([list(s) for s in formula.inputs])
        self.place = {i: i for i in range(len(formula.inputs))}
        self.group: dict[int, Step] = {}
        self.last_use: dict[int, int] = dict.fromkeys(formula.outputs, 10**9)
        for r, step in enumerate(formula.steps, len(formula.inputs)):
            for a in step.arguments:
                self.last_use[a] = max(r, self.last_use.get(a, 0))

    def result(self) -> Any:
        first = len(self.formula.inputs)
        for register, step in enumerate(self.formula.steps, first):
            if step.shape and step.name not in _OTHERS:
                shapes = [s.shape for s in self.group.values()]
                reads = {a for s in self.group.values() for a in s.arguments}
                many = len({*reads, *self.group, *step.arguments}) > MOST_LIVE - 2
                if shapes and (shapes[0] != step.shape or many):
                    self.close()
                self.group[register] = step
                continue
            if any(a in self.group for a in step.arguments):
                self.close()
            self.add(register, step)
        self.close()
        self.core.finish([self.place[o] for o in self.formula.outputs])
        return self.core

    def add(self, register: int, step: Step) -> None:
        """Add a step that is not part of a tape."""
        given, shape = [self.place[a] for a in step.arguments], list(step.shape)
        if step.name == "sum":
            self.core.sum(given[0], list(step.options), shape)
        elif step.name == "matmul":
            self.core.matmul(given, list(step.options), shape)
        elif step.name == "reshape":
            self.core.reshape(given[0], shape)
        else:
            self.core.number(step.name, given, step.value)
        self.place[register] = len(self.place)

    def close(self) -> None:
        """Finish and add the current tape."""
        if not self.group:
            return
        constants = self._constants()
        inputs: list[int] = []
        for step in self.group.values():
            for a in step.arguments:
                if a not in self.group and a not in constants and a not in inputs:
                    inputs.append(a)
        build = Builder(RULES, len(inputs))
        here: dict[int, int] = {a: i for i, a in enumerate(inputs)}
        for register, step in self.group.items():
            arguments: list[Any] = [
                constants[a] if a in constants else here[a] for a in step.arguments
            ]
            here[register] = build.op(step.name, *arguments)
        last = max(self.group)
        kept = [r for r in self.group if self.last_use.get(r, 0) > last]
        tape = build.finish([here[r] for r in kept])
        code = [(i.name, list(i.arguments), i.value) for i in tape.code]
        shape = list(next(iter(self.group.values())).shape)
        self.core.tape(
            [self.place[a] for a in inputs],
            self.classes.Tape(tape.inputs, code, list(tape.outputs)),
            shape,
        )
        for register in kept:
            self.place[register] = len(self.place)
        self.group = {}

    def _constants(self) -> dict[int, float]:
        """The constants that the tape reads, which become part of it."""
        first = len(self.formula.inputs)
        return {
            a: self.formula.steps[a - first].value
            for step in self.group.values()
            for a in step.arguments
            if a >= first and self.formula.steps[a - first].name == "constant"
        }
