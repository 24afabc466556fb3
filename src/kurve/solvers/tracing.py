"""Exact derivatives of a formula with respect to all its parameters at once.

The formula is called once with parameters that record the operations on them:
operators, NumPy's elementwise functions, and those of `kurve.ops`. The chain rule for
each operation then adds more operations, and one pass over all of them computes the
Jacobian in float64. Formulas that use anything else cannot be traced.

Source: Griewank & Walther 2008, "Evaluating Derivatives", chapter 3.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from kurve.ops.elementwise import RULES
from kurve.ops.formula import _UFUNCS
from kurve.ops.tape import Builder, Instruction
from kurve.solvers import linear

MAX_STEPS = 2000
"""Maximum operations of one formula with its derivatives."""

BLOCK = 4096
"""Rows that are computed together, so that they stay in a cache."""

COSTS = dict.fromkeys(("constant", "array"), 0) | dict.fromkeys(
    ("add", "sub", "mul", "div", "neg", "square", "abs", "min", "max", "where"), 1
)
"""Of operations on arrays; functions cost a multiple."""

NAMES = _UFUNCS | {"expit": "sigmoid", "fabs": "abs"}
"""Operations by the name of the elementwise function."""


class Untraced(Exception):
    """The formula uses other operations."""


class Tape64(Builder):
    """A float64 tape with arrays as instructions."""

    def __init__(self, inputs: int) -> None:
        super().__init__(RULES, inputs)
        self.arrays: list[np.ndarray] = []
        self.by_ops = False

    def constant(self, value: float) -> int:
        return self._add(Instruction("constant", (), float(value)))

    def array(self, array: np.ndarray) -> int:
        """The register of a data array."""
        for k, known in enumerate(self.arrays):
            if known is array:
                return self._add(Instruction("array", (), float(k)))
        self.arrays.append(array)
        return self._add(Instruction("array", (), float(len(self.arrays) - 1)))

    def op(self, name: str, *arguments: int | float) -> int:
        registers = tuple(
            self.constant(a) if isinstance(a, float) else a for a in arguments
        )
        values = [self.value_of(r) for r in registers]
        if len(self.code) > MAX_STEPS:
            raise Untraced
        if name == "where" and values[0] is not None:
            return registers[1] if values[0] else registers[2]
        if None not in values:
            return self.constant(float(RULES[name].compute(*map(np.float64, values))))
        same = self._simplified(name, registers, values)
        return self._add(Instruction(name, registers)) if same is None else same


class Parameter(np.lib.mixins.NDArrayOperatorsMixin):
    """A parameter, or a value computed from it, while the formula is traced."""

    def __init__(self, tape: Tape64, register: int) -> None:
        self._tape, self._register = tape, register

    def _elementwise(self, name: str, *operands: Any) -> Parameter:
        """Apply a function of `kurve.ops`."""
        self._tape.by_ops = True
        return self._computed(name, *operands)

    def _computed(self, name: str, *operands: Any) -> Parameter:
        registers = []
        for operand in operands:
            if isinstance(operand, Parameter):
                registers.append(operand._register)
                continue
            array: Any = np.asarray(operand)
            if array.dtype.kind not in "fiub":
                raise Untraced
            array = operand if array.dtype == np.float64 else array.astype(np.float64)
            number = not np.ndim(array)
            register = self._tape.constant if number else self._tape.array
            registers.append(register(array))
        return Parameter(self._tape, self._tape.op(name, *registers))

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **given: Any
    ) -> Parameter:
        name = NAMES.get(ufunc.__name__)
        if name is None or method != "__call__" or given:
            raise Untraced
        return self._computed(name, *inputs)

    def __array_function__(
        self, function: Any, types: Any, args: Any, kwargs: Any
    ) -> Parameter:
        if function is not np.where or len(args) != 3 or kwargs:
            raise Untraced
        return self._computed("where", *args)

    def _no_values(self, *args: Any, **kwargs: Any) -> Any:
        raise Untraced

    __bool__ = __float__ = __int__ = __array__ = __iter__ = __len__ = _no_values
    __complex__ = __index__ = __getitem__ = _no_values


class Traced:
    """The operations of a formula and of its derivatives.

    is_cheap: whether all derivatives cost less than one difference per parameter
    by_ops: whether functions of `kurve.ops` called it; on arrays they are slower than
        the operations alone
    tape: the same for the compiled core
    """

    def __init__(self, f: Callable[..., Any], x: Any, parameters: int) -> None:
        tape = Tape64(parameters)
        y = f(x, *(Parameter(tape, j) for j in range(parameters)))
        if not isinstance(y, Parameter) or y._tape is not tape:
            raise Untraced
        slopes = _slopes(tape, y._register)
        code = tape.finish([y._register, *slopes])
        self.outputs, self.arrays, self.by_ops = code.outputs, tape.arrays, tape.by_ops
        self.steps: list[tuple[Any, tuple[int, ...], Any]] = []
        for step in code.code:
            if step.name == "constant":
                self.steps.append((None, (), np.float64(step.value)))
            elif step.name == "array":
                self.steps.append((None, (), int(step.value)))
            else:
                self.steps.append((RULES[step.name].compute, step.arguments, None))
        # The values only need the first operations.
        self.values_end = max(0, self.outputs[0] - parameters + 1)
        costs = [COSTS.get(step.name, 8) for step in code.code]
        self.is_cheap = sum(costs) < parameters * sum(costs[: self.values_end])
        self.tape: Any = None
        if linear.COMPILED:
            steps = [(s.name, list(s.arguments), s.value) for s in code.code]
            self.tape = linear.DoubleTape(parameters, steps, list(code.outputs))
            self.is_cheap = True

    def over(self, arrays: Sequence[np.ndarray]) -> Traced:
        """The same of other arrays."""
        found = copy.copy(self)
        found.arrays = list(arrays)
        return found

    def flat(self, shape: tuple[int, ...]) -> list[np.ndarray]:
        """The arrays broadcast to this shape, each as a contiguous vector."""
        same = (
            a if a.shape == shape else np.broadcast_to(a, shape) for a in self.arrays
        )
        return [np.ascontiguousarray(a).reshape(-1) for a in same]

    def value(self, x: Any, *p: Any) -> Any:
        """f at p."""
        steps, output = self.steps[: self.values_end], self.outputs[0]
        n = len(self.arrays[0]) if self.arrays and self.arrays[0].ndim else 0
        in_parts = n > BLOCK and all(a.shape == (n,) for a in self.arrays)
        if not in_parts:
            return self._run(steps, list(p), self.arrays)[output]
        if self.tape is not None and all(type(a) is np.float64 for a in p):
            values = np.empty(n)
            self.tape.run(np.array(p), self.flat((n,)), values, None)
            return values
        values = np.empty(n)
        for first in range(0, n, BLOCK):
            part = slice(first, first + BLOCK)
            arrays = [a[part] for a in self.arrays]
            values[part] = self._run(steps, list(p), arrays)[output]
        return values

    def jacobian(self, p: np.ndarray, out: np.ndarray) -> Any:
        """Write the derivatives with respect to each parameter to the rows of out;
        return f at p, or its first part."""
        n = out.shape[1]
        in_parts = n > BLOCK and all(a.shape == (n,) for a in self.arrays)
        values = None
        for first in range(0, n, BLOCK if in_parts else n):
            part = slice(first, first + BLOCK if in_parts else n)
            arrays = [a[part] for a in self.arrays] if in_parts else self.arrays
            registers = self._run(self.steps, list(p), arrays)
            for row, output in zip(out, self.outputs[1:], strict=True):
                row[part] = np.ravel(registers[output])
            values = registers[self.outputs[0]] if values is None else values
        return values

    @staticmethod
    def _run(
        steps: Sequence[Any], registers: list[Any], arrays: Sequence[np.ndarray]
    ) -> list[Any]:
        add = registers.append
        for compute, places, value in steps:
            if len(places) == 2:
                add(compute(registers[places[0]], registers[places[1]]))
            elif len(places) == 1:
                add(compute(registers[places[0]]))
            elif places:
                add(compute(*(registers[a] for a in places)))
            else:
                add(arrays[value] if type(value) is int else value)
        return registers


def _slopes(tape: Tape64, y: int) -> list[int]:
    """Registers of the derivative with respect to each input."""
    count, adjoint = tape.inputs, {y: tape.constant(1.0)}
    reached, code = set(range(count)), list(tape.code)
    for i, step in enumerate(code, count):
        if reached.intersection(step.arguments):
            reached.add(i)
    for i in reversed(range(len(code))):
        here, step = count + i, code[i]
        if here not in adjoint or here not in reached:
            continue
        parts = RULES[step.name].gradient(tape, adjoint[here], here, *step.arguments)
        for argument, part in zip(step.arguments, parts, strict=True):
            if part is not None and argument in reached:
                known = adjoint.get(argument)
                adjoint[argument] = (
                    part if known is None else tape.op("add", known, part)
                )
    zero = tape.constant(0.0)
    return [adjoint.get(j, zero) for j in range(count)]


EMPTY = np.zeros(0)

_known: WeakKeyDictionary[CodeType, tuple[Any, Traced]] = WeakKeyDictionary()
"""The last trace of formulas that only read x, with the objects they refer to: formulas
are often fitted repeatedly."""


def _references(f: Callable[..., Any]) -> tuple[Any, ...] | None:
    """The objects that a formula refers to, if all of them are modules and functions
    of NumPy and this package, so that its trace depends on nothing else; otherwise
    None."""
    plain = isinstance(f, FunctionType) and not (
        f.__closure__ or f.__defaults__ or f.__kwdefaults__
    )
    if not plain or any(isinstance(c, CodeType) for c in f.__code__.co_consts):
        return None
    names = [name for name in f.__code__.co_names if name in f.__globals__]
    found = tuple(f.__globals__[name] for name in names)
    for one in found:
        is_module = isinstance(one, ModuleType)
        home = getattr(one, "__name__" if is_module else "__module__", None)
        ours = str(home).partition(".")[0] in ("numpy", "kurve")
        if not ((ours and (is_module or callable(one))) or isinstance(one, np.ufunc)):
            return None
    return found


def trace(
    f: Callable[..., Any],
    x: Any,
    shape: tuple[int, ...],
    p: np.ndarray,
    at_p: np.ndarray,
    out: np.ndarray,
) -> Traced | None:
    """The traced operations of a formula, after writing its derivatives at p to out;
    None if it cannot be traced, or if its values differ from the trace.

    Args:
        shape: that of f.
        at_p: f at p, as a vector.
    """

    def fits(found: Traced | None) -> bool:
        if found is None or len(found.outputs) != len(p) + 1:
            return False
        if found.tape is not None and p.dtype == np.float64:
            values = np.empty(at_p.size)
            found.tape.run(p, found.flat(shape), values, out)
        else:
            values = np.ravel(found.jacobian(p, out))
        if len(values) not in (at_p.size, min(at_p.size, BLOCK)):
            return False
        error = np.abs(values - at_p[: len(values)])
        return bool((error <= 1e-12 * np.abs(values) + 1e-300).all())

    alone = isinstance(x, np.ndarray) and x.dtype == np.float64
    references = _references(f) if alone else None
    try:
        found = None
        if references is not None and f.__code__ in _known:
            known_references, known = _known[f.__code__]
            if all(a is b for a, b in zip(references, known_references, strict=True)):
                found = known.over([x] * len(known.arrays))
        if not fits(found):
            found = Traced(f, x, len(p))
            if not fits(found):
                return None
            if references is not None and all(a is x for a in found.arrays):
                kept = found.over([EMPTY] * len(found.arrays))
                _known[f.__code__] = references, kept
    except Exception:  # anything a user's formula raises
        return None
    return found


def calls_ops(f: Callable[..., Any]) -> bool:
    """Whether a formula refers to something in `kurve`, such as `kurve.ops`."""
    code = getattr(f, "__code__", None)
    if code is None:
        return False
    outside: Any = f
    found = [outside.__globals__.get(name) for name in code.co_names]
    found += [getattr(c, "cell_contents", None) for c in outside.__closure__ or ()]
    names = [getattr(v, "__module__", getattr(v, "__name__", "")) for v in found]
    return any(str(name).partition(".")[0] == "kurve" for name in names)
