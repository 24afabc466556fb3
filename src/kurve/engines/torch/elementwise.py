"""Elementwise functions: the operations of tapes and formulas, and activations.

Their definitions and derivatives are in `kurve.ops.elementwise` and
`kurve.engines.reference.activations`; this module has the equivalent PyTorch functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from kurve.engines.reference.activations import SELU_ALPHA, SELU_SCALE
from kurve.engines.torch.common import Cache, Frame, Pair, Tensor, scalar, total
from kurve.ops.elementwise import RULES
from kurve.ops.formula import Formula
from kurve.ops.tape import Tape, gradient
from kurve.plan import Op

aten = torch.ops.aten

FAR = 40.0
"""Beyond it softplus(x) is x."""


def _truth(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A condition as 1.0 and 0.0 in the type of the first argument."""
    return lambda u, *more: function(u, *more).to(u.dtype)


def _sign(x: Tensor) -> Tensor:
    return torch.where(torch.isnan(x), x, torch.sign(x))


def _where(condition: Tensor, u: Tensor, v: Tensor) -> Tensor:
    device = next((x.device for x in (condition, u, v) if x.ndim), condition.device)
    return torch.where(on(device, condition), on(device, u), on(device, v))


def on(device: torch.device, x: Tensor) -> Tensor:
    """x on the device. A number of the CPU is filled in there rather than copied, which
    a captured step could not repeat."""
    return (
        x
        if x.device == device
        else torch.full((), x.item(), dtype=x.dtype, device=device)
    )


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "square": torch.square,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "pow": torch.pow,
    "mod": torch.remainder,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: F.softplus(x, 1.0, FAR),
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "tanh": torch.tanh,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "arcsin": torch.arcsin,
    "arccos": torch.arccos,
    "arcsinh": torch.arcsinh,
    "arccosh": torch.arccosh,
    "arctan": torch.arctan,
    "arctanh": torch.arctanh,
    "arctan2": torch.arctan2,
    "abs": torch.abs,
    "sign": _sign,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "stop_gradient": lambda x: x,
    "max": torch.maximum,
    "min": torch.minimum,
    "relu": torch.relu,
    "where": lambda c, u, v: _where(c != 0, u, v),
    "lt": _truth(torch.lt),
    "le": _truth(torch.le),
    "gt": _truth(torch.gt),
    "ge": _truth(torch.ge),
    "eq": _truth(torch.eq),
    "ne": _truth(torch.ne),
    "and": _truth(lambda u, v: (u != 0) & (v != 0)),
    "or": _truth(lambda u, v: (u != 0) | (v != 0)),
    "not": _truth(lambda x: x == 0),
    "isfinite": _truth(torch.isfinite),
    "isnan": _truth(torch.isnan),
}


def run(tape: Tape, inputs: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """The outputs of a tape for tensors that broadcast against each other."""
    registers = list(inputs)
    for step in tape.code:
        registers.append(
            scalar(step.value, dtype)
            if step.name == "constant"
            else FUNCTIONS[step.name](*[registers[a] for a in step.arguments])
        )
    return [registers[o] for o in tape.outputs]


def map_forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
    """y = f(x, variables) element by element; shapes broadcast as NumPy's do."""
    assert op.tape is not None
    (y,) = run(op.tape, _inputs(op, xs, f), f.dtype)
    return on(f.device, y.to(f.dtype)).expand(len(xs[0]), *op.out_shape), xs


def map_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Sequence[Tensor]:
    """dx = dy df/dx, summed over the elements to which each number was broadcast."""
    inputs, key = _inputs(op, cache, f), (id(op), "gradient")
    count = len(inputs) - len(op.buffers)
    if key not in f.known:
        assert op.tape is not None
        f.known[key] = gradient(op.tape, RULES, range(count))
    found = run(f.known[key], [*inputs, dy], f.dtype)
    # A constant's input only provides the number of samples and can have any shape.
    parts = [
        unbroadcast(on(f.device, g).expand(dy.shape), a.shape)
        if a.ndim <= dy.ndim
        else torch.zeros_like(a)
        for g, a in zip(found, inputs, strict=False)
    ]
    for role, part in zip(op.params, parts[len(cache) :], strict=True):
        f.add(op, role, part)
    return [p.reshape(x.shape) for p, x in zip(parts, cache, strict=False)]


def _inputs(op: Op, xs: Sequence[Tensor], f: Frame) -> list[Tensor]:
    """The inputs, with axes of size 1 after the batch axis; the variables and the
    constants."""
    rank = len(op.out_shape) + 1
    return [
        *(x.view(len(x), *(1,) * (rank - x.ndim), *x.shape[1:]) for x in _solid(xs)),
        *(f.param(op, role) for role in op.params),
        *(f.buffer(op, role) for role in op.buffers),
    ]


def _solid(xs: Sequence[Tensor]) -> list[Tensor]:
    return [x.contiguous() for x in xs]


def unbroadcast(gradient: Tensor, shape: torch.Size) -> Tensor:
    """The gradient of an array that was broadcast from this shape to that of
    `gradient`."""
    more = gradient.ndim - len(shape)
    axes = [
        *range(more),
        *(
            more + i
            for i, n in enumerate(shape)
            if n == 1 and gradient.shape[more + i] != 1
        ),
    ]
    return (total(gradient, axes) if axes else gradient).reshape(shape)


MAP: Pair = (map_forward, map_backward)


def run_formula(formula: Formula, inputs: Sequence[Tensor]) -> list[Tensor]:
    """`kurve.ops.formula.run`: numbers have the wide type, arrays their own."""
    registers = list(inputs)
    arrays = [x for x, s in zip(inputs, formula.inputs, strict=True) if s]
    dtype = arrays[0].dtype
    device = arrays[0].device
    precise = torch.float32 if device.type == "mps" else torch.float64
    for step in formula.steps:
        given = [registers[a] for a in step.arguments]
        if step.name == "constant":
            result = scalar(step.value, precise)
        elif step.name == "sum":
            result = (
                given[0].sum(step.options, dtype=precise)
                if step.options
                else (given[0].to(precise))
            )
            result = result.reshape(step.shape)
            result = result.to(dtype) if step.shape else result
        elif step.name == "matmul":
            a, b = (x.t() if t else x for x, t in zip(given, step.options, strict=True))
            result = a @ b
        elif step.name == "reshape":
            result = given[0].reshape(step.shape)
        else:  # numbers are rounded when combined with an array
            given = [x.to(dtype if step.shape else precise) for x in given]
            result = FUNCTIONS[step.name](*given)
            if step.shape and result.shape != step.shape:
                result = on(device, result).expand(step.shape)
        registers.append(result)
    return [registers[o] for o in formula.outputs]


Function = Callable[[Tensor, float], Tensor]
Derivative = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""Of dy, z, y = f(z) and alpha: dz = dy f'(z)."""


def _phase(z: Tensor, alpha: float) -> Tensor:
    largest = torch.finfo(z.dtype).max
    return (alpha * z).clamp(-largest, largest)


def _d_snake(dy: Tensor, z: Tensor, y: Tensor, alpha: float) -> Tensor:
    phase = _phase(z, alpha)
    return dy * (1.0 + 2.0 * torch.sin(phase) * torch.cos(phase))


def _cdf(z: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.erf(z / math.sqrt(2.0)))


def _d_gelu(dy: Tensor, z: Tensor, y: Tensor, alpha: float) -> Tensor:
    pdf = torch.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return dy * (_cdf(z) + z * pdf)


def _d_silu(dy: Tensor, z: Tensor, y: Tensor, alpha: float) -> Tensor:
    return dy * torch.sigmoid(z) * (1.0 + z * torch.sigmoid(-z))


ACTIVATIONS: dict[str, tuple[Function, Derivative]] = {
    "linear": (lambda z, a: z, lambda dy, z, y, a: dy),
    "relu": (
        lambda z, a: torch.relu(z),
        lambda dy, z, y, a: aten.threshold_backward(dy, z, 0),
    ),
    "leaky_relu": (
        lambda z, a: torch.where(z > 0, z, a * z),
        lambda dy, z, y, a: torch.where(z > 0, dy, a * dy),
    ),
    "elu": (
        lambda z, a: torch.where(z > 0, z, a * torch.expm1(z.clamp(max=0))),
        lambda dy, z, y, a: torch.where(z > 0, dy, dy * a * torch.exp(z.clamp(max=0))),
    ),
    "selu": (
        lambda z, a: F.selu(z),
        lambda dy, z, y, a: aten.elu_backward(
            dy, SELU_ALPHA, SELU_SCALE, 1.0, False, z
        ),
    ),
    "sigmoid": (
        lambda z, a: torch.sigmoid(z),
        lambda dy, z, y, a: dy * y * torch.sigmoid(-z),
    ),
    "tanh": (
        lambda z, a: torch.tanh(z),
        lambda dy, z, y, a: aten.tanh_backward(dy, y),
    ),
    "silu": (lambda z, a: F.silu(z), _d_silu),
    "gelu": (lambda z, a: z * _cdf(z), _d_gelu),
    "softplus": (
        lambda z, a: F.softplus(z, 1.0, FAR),
        lambda dy, z, y, a: dy * torch.sigmoid(z),
    ),
    "softsign": (
        lambda z, a: F.softsign(z),
        lambda dy, z, y, a: dy / (1.0 + z.abs()) ** 2,
    ),
    "sin": (lambda z, a: torch.sin(z), lambda dy, z, y, a: dy * torch.cos(z)),
    "snake": (lambda z, a: z + torch.sin(_phase(z, a)) ** 2 / a, _d_snake),
}


def activation_of(op: Op) -> tuple[Function, Derivative, float]:
    """The functions that end an op, and their parameter."""
    return *ACTIVATIONS[str(op.attrs["activation"])], float(op.attrs["alpha"])
