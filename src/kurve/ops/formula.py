"""Formulas on whole arrays, for optimizers, constraints and penalties.

A `Formula` is data, like a tape, but its registers have shapes: besides elementwise
operations, which broadcast like NumPy's, it has sums over axes, matrix products and
reshapes. A register of shape () is a number, computed in float64; arrays have the dtype
of the variable.

`trace` records one while a Python function computes with `Symbol`s: operators,
NumPy's elementwise functions, and its `sum`, `mean`, `clip`, `where`, `matmul`.

    >>> twice = trace([(2, 3)], lambda w: (w + np.sum(w),))
    >>> run(twice, [np.ones((2, 3))])[0][0]
    array([7., 7., 7.])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kurve.ops.elementwise import RULES

Shape = tuple[int, ...]

MAX_STEPS = 400
"""Maximum steps in one formula; engines keep a register for each."""


@dataclass(frozen=True)
class Step:
    """An operation: one of `RULES`, or one of the following.

    constant  value
    sum       over the axes in `options`, which are kept with size 1
    matmul    of two matrices, each transposed according to `options`
    reshape   to `shape`
    """

    name: str
    arguments: tuple[int, ...]
    shape: Shape
    value: float = 0.0
    options: tuple[int, ...] = ()


@dataclass(frozen=True)
class Formula:
    """Array operations as data; registers are the inputs, then each step's result."""

    inputs: tuple[Shape, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def shape(self, register: int) -> Shape:
        """The shape of a register."""
        inputs = len(self.inputs)
        if register < inputs:
            return self.inputs[register]
        return self.steps[register - inputs].shape


@dataclass(frozen=True)
class Rule:
    """A formula that changes a variable.

    Its inputs are the variable, the gradient, the variable's part of each of `slots`
    (it may use only the first elements), then two numbers: the learning rate and the
    update number, from 1. Its outputs are the new value and slots.
    """

    formula: Formula
    slots: tuple[int, ...] = ()


@dataclass(frozen=True)
class Update:
    """How the optimizer updates one variable.

    decays: whether weight decay applies
    rule:   a formula that replaces the one of the optimizer's kind
    after:  a formula applied afterwards: averages, constraints
    """

    decays: bool = True
    rule: Rule | None = None
    after: Rule | None = None


def run(formula: Formula, inputs: Sequence[Any]) -> list[Any]:
    """Compute the outputs with NumPy; numbers (shape ()) are float64."""
    arrays = [np.asarray(x) for x, s in zip(inputs, formula.inputs, strict=True) if s]
    dtype = arrays[0].dtype if arrays else np.dtype(np.float64)
    registers = list(inputs)
    for step in formula.steps:
        given = [registers[a] for a in step.arguments]
        if step.name == "constant":
            result: Any = np.float64(step.value)
        elif step.name == "sum":
            total = np.sum(given[0], step.options, np.float64, keepdims=True)
            result = total.reshape(step.shape)
            result = result.astype(dtype) if step.shape else result[()]
        elif step.name == "matmul":
            a, b = (x.T if t else x for x, t in zip(given, step.options, strict=True))
            result = a @ b
        elif step.name == "reshape":
            result = given[0].reshape(step.shape)
        else:
            if step.shape:  # numbers are rounded when combined with an array
                given = [np.asarray(x).astype(dtype, copy=False) for x in given]
            else:
                given = [np.float64(x) for x in given]
            result = RULES[step.name].compute(*given)
            if step.shape:
                result = np.broadcast_to(result, step.shape)
        registers.append(result)
    return [registers[o] for o in formula.outputs]


def trace(inputs: Sequence[Shape], function: Callable[..., Sequence[Any]]) -> Formula:
    """Trace the formula that the function computes, with a `Symbol` per input.

    Raises:
        TypeError: it uses an unsupported operation; the message names it.
    """
    steps: list[Step] = []
    symbols = [Symbol(steps, len(inputs), i, shape) for i, shape in enumerate(inputs)]
    outputs = [_register(steps, len(inputs), x) for x in function(*symbols)]
    if len(steps) > MAX_STEPS:
        raise TypeError(
            f"[formula] a formula must have at most {MAX_STEPS} operations. "
            f"Received: {len(steps)}."
        )
    return Formula(tuple(inputs), tuple(steps), tuple(o.register for o in outputs))


def apply(formula: Formula, symbols: Sequence[Symbol]) -> list[Symbol]:
    """Inline a formula into another one; return its outputs."""
    registers = replayed(formula, symbols)
    return [registers[o] for o in formula.outputs]


def replayed(formula: Formula, symbols: Sequence[Symbol]) -> list[Symbol]:
    """Inline a formula into another one; return all its registers."""
    registers = list(symbols)
    for step in formula.steps:
        given = [registers[a] for a in step.arguments]
        moved = replace(step, arguments=tuple(x.register for x in given))
        registers.append(_add(symbols[0]._steps, symbols[0]._inputs, moved))
    return registers


class Symbol(np.lib.mixins.NDArrayOperatorsMixin):
    """An array or number in a formula while it is traced."""

    dtype = "float32"
    """That of weights; a formula has no other."""

    def __init__(
        self, steps: list[Step], inputs: int, register: int, shape: Shape
    ) -> None:
        self._steps, self._inputs = steps, inputs
        self.register, self.shape = register, shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def step(
        self,
        name: str,
        arguments: Sequence[Any],
        shape: Shape,
        options: tuple[int, ...] = (),
    ) -> Symbol:
        """Append a step and return its result."""
        given = [_register(self._steps, self._inputs, a) for a in arguments]
        registers = tuple(x.register for x in given)
        return _add(
            self._steps, self._inputs, Step(name, registers, shape, 0.0, options)
        )

    def op(self, name: str, *arguments: Any) -> Symbol:
        """Append an elementwise operation from `RULES`."""
        shapes = [getattr(a, "shape", ()) for a in arguments]
        return self.step(name, arguments, np.broadcast_shapes(*shapes))

    def astype(self, dtype: Any) -> Symbol:
        """Returns self: a formula has a single dtype."""
        return self

    def reshape(self, *shape: Any) -> Symbol:
        """The same elements in another shape."""
        given = shape[0] if len(shape) == 1 and not np.isscalar(shape[0]) else shape
        new = np.empty(self.shape, np.int8).reshape(given).shape
        return self.step("reshape", [self], new)

    @property
    def T(self) -> _Transposed:
        """The transpose of a matrix, for use in a product."""
        return _Transposed(self)

    def __matmul__(self, other: Any) -> Symbol:
        return _matmul(self, other)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Symbol:
        """The sum over some axes, or all."""
        axes = range(self.ndim) if axis is None else np.atleast_1d(axis).tolist()
        if not self.shape or any(not -self.ndim <= a < self.ndim for a in axes):
            raise TypeError(
                f"[formula] a sum must be over axes of shape {self.shape}. "
                f"Received: axis={axis}."
            )
        options = tuple(sorted({a % self.ndim for a in axes}))
        kept = tuple(1 if i in options else n for i, n in enumerate(self.shape))
        left = tuple(n for i, n in enumerate(self.shape) if i not in options)
        return self.step("sum", [self], kept if keepdims else left, options)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Symbol:
        """The mean over some axes, or all."""
        total = self.sum(axis, keepdims)
        return total / (self.size / max(total.size, 1))

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **more: Any
    ) -> Symbol:
        name = _UFUNCS.get(ufunc.__name__)
        if ufunc is np.matmul and method == "__call__" and not more:
            return _matmul(*inputs)
        if name is None or method != "__call__" or more:
            raise TypeError(
                f"[formula] numpy.{ufunc.__name__} is not supported in formulas."
            )
        return self.op(name, *inputs)

    def __array_function__(
        self, function: Any, types: Any, args: Any, more: Any
    ) -> Symbol:
        known: dict[Any, Callable[..., Symbol]] = {
            np.sum: lambda x, axis=None, keepdims=False, **_: x.sum(axis, keepdims),
            np.mean: lambda x, axis=None, keepdims=False, **_: x.mean(axis, keepdims),
            np.reshape: lambda x, shape: x.reshape(shape),
            np.transpose: lambda x, axes=None: _transposed(x, axes),
            np.where: lambda c, a, b: self.op("where", c, a, b),
            np.linalg.norm: _norm,
            np.clip: lambda x, low, high: self.op("min", self.op("max", x, low), high),
        }
        if function not in known:
            raise TypeError(
                f"[formula] numpy.{function.__name__} is not supported in formulas."
            )
        return known[function](*args, **more)

    def _elementwise(self, name: str, *operands: Any) -> Symbol:
        """Apply a function of `kurve.ops`."""
        return self.op(name, *operands)

    def __bool__(self) -> bool:
        raise TypeError(
            "[formula] the values in a formula are unknown while it is "
            "traced. Received: `if` or `and` on one. Try numpy.where."
        )

    def __repr__(self) -> str:
        return f"<Symbol of shape {self.shape}>"


class _Transposed:
    """The transpose of a matrix `x`."""

    def __init__(self, x: Symbol) -> None:
        self.x = x
        self.T = x

    def __matmul__(self, other: Any) -> Symbol:
        return _matmul(self, other)

    def _elementwise(self, name: str, *_: Any) -> Symbol:
        raise TypeError(
            "[formula] a transposed matrix can only be used in a matrix "
            f"product. Received: {name}. Try transposing last."
        )


def is_symbol(x: Any) -> bool:
    """Whether x is an array or number of a formula that is traced, or the transpose of
    one."""
    return isinstance(x, (Symbol, _Transposed))


def _transposed(x: Any, axes: Any) -> Any:
    if x.ndim != 2 or (axes is not None and tuple(axes) != (1, 0)):
        raise TypeError(
            "[formula] only matrices can be transposed. "
            f"Received: axes={axes} for shape {x.shape}."
        )
    return x.T


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Symbol:
    """The Euclidean norm."""
    if ord not in (None, 2, "euclidean", "fro"):
        raise TypeError(f"[formula] only Euclidean norms are. Received: ord={ord!r}.")
    norm: Symbol = np.sqrt((x * x).sum(axis, keepdims))
    return norm


def _matmul(a: Any, b: Any) -> Symbol:
    flags = tuple(int(isinstance(x, _Transposed)) for x in (a, b))
    parts = [x.x if isinstance(x, _Transposed) else x for x in (a, b)]
    if not all(isinstance(x, Symbol) and x.ndim == 2 for x in parts):
        raise TypeError("[formula] matmul needs two matrices.")
    left, right = (
        x.shape[::-1] if t else x.shape for x, t in zip(parts, flags, strict=True)
    )
    if left[1] != right[0]:
        raise TypeError(f"[formula] {left} and {right} cannot be multiplied.")
    symbol: Symbol = parts[0]
    return symbol.step("matmul", parts, (left[0], right[1]), flags)


_UFUNCS = {name: name for name in RULES} | {
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "true_divide": "div",
    "negative": "neg",
    "power": "pow",
    "float_power": "pow",
    "remainder": "mod",
    "absolute": "abs",
    "maximum": "max",
    "minimum": "min",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "equal": "eq",
    "not_equal": "ne",
    "logical_and": "and",
    "logical_or": "or",
    "logical_not": "not",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "invert": "not",
    "rint": "round",
}
"""Operations by the name of NumPy's elementwise function."""


def _add(steps: list[Step], inputs: int, step: Step) -> Symbol:
    steps.append(step)
    return Symbol(steps, inputs, inputs + len(steps) - 1, step.shape)


def _register(steps: list[Step], inputs: int, value: Any) -> Symbol:
    """The symbol itself, or a symbol for a constant."""
    if isinstance(value, Symbol):
        if value._steps is steps:
            return value
    elif np.size(value) == 1 and isinstance(
        value, (bool, int, float, np.generic, np.ndarray)
    ):
        value = np.asarray(value).reshape(())
        return _add(steps, inputs, Step("constant", (), (), float(value)))
    raise TypeError(
        "[formula] a formula must use only its own arrays and numbers. "
        f"Received: {value!r}."
    )
