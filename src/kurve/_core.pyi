"""The native engine of kurve: kernels, threads and the training loop."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray


def get_threads() -> int:
    """The number of threads that a call may use."""

def set_threads(n: int) -> None:
    """Let calls use up to n threads; results have the same bits for every n."""

def isa() -> str:
    """The instruction set in use."""

def available_isas() -> list[str]:
    """The instruction sets that this CPU supports, slowest first."""

class VariableSpec:
    def __init__(self, name: str, shape: Sequence[int], offset: int, trainable: bool, l1: float, l2: float) -> None: ...

    def set_penalty(self, formula: Formula) -> None:
        """A formula from the value to its gradient and a number."""

class Tape:
    def __init__(self, inputs: int, code: Sequence[tuple[str, Sequence[int], float]], outputs: Sequence[int]) -> None: ...

class Op:
    def __init__(self, kind: str, layer: str, in_shape: Sequence[int], out_shape: Sequence[int], params: Mapping[str, int], buffers: Mapping[str, int], attrs: Mapping[str, float | str | Sequence[int]]) -> None: ...

    def set_inputs(self, inputs: Sequence[int], more_shapes: Sequence[Sequence[int]]) -> None:
        """The values that it reads, and the shapes of all but the first."""

    def set_tape(self, tape: Tape, gradient: Tape, operands: Sequence[int], constants: Sequence[int], wanted: Sequence[int]) -> None:
        """
        For a map: the formula, the params and then the buffers that follow x as inputs, the tape of the gradient, and the inputs it differentiates.
        """

    def set_body(self, inputs: Sequence[Sequence[int]], ops: Sequence[Op], outputs: Sequence[int]) -> None:
        """For a scan: the inputs, ops and outputs of an iteration."""

class Spec:
    def __init__(self, kind: str, attrs: Mapping[str, float | str | Sequence[int]]) -> None: ...

class Metric:
    def __init__(self, kind: str, attrs: Mapping[str, float | str | Sequence[int]], size: int, weighted: bool, rows: int = -1, of_batch: str = '') -> None: ...

class Formula:
    """A formula on whole arrays, step by step."""

    def __init__(self, inputs: Sequence[Sequence[int]]) -> None: ...

    def number(self, name: str, arguments: Sequence[int], value: float) -> None: ...

    def tape(self, arguments: Sequence[int], code: Tape, shape: Sequence[int]) -> None: ...

    def sum(self, of: int, axes: Sequence[int], shape: Sequence[int]) -> None: ...

    def matmul(self, of: Sequence[int], transposed: Sequence[int], shape: Sequence[int]) -> None: ...

    def reshape(self, of: int, shape: Sequence[int]) -> None: ...

    def finish(self, outputs: Sequence[int]) -> None: ...

class Rule:
    def __init__(self, formula: Formula, slots: Sequence[int]) -> None: ...

class Update:
    """How one of the params is updated."""

    def __init__(self, decays: bool, rule: Rule | None, after: Rule | None) -> None: ...

class Head:
    """An output of a plan."""

    def __init__(self, value: int, shape: Sequence[int], loss: Spec | None, metrics: Sequence[Metric], weight: float, rows: int = -1, reduction: str = 'mean', name: str = '') -> None: ...

class State:
    """The arrays of a kurve.engines.base.State."""

    def __init__(self, params: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')], buffers: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')], slots: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], scalars: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')]) -> None: ...

class Batches:
    """The arrays of a kurve.engines.base.Batches."""

    def __init__(self, x: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)] | Annotated[NDArray[numpy.uint8], dict(order='C', device='cpu', writable=False)]], y: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)] | None], weights: Sequence[Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None], order: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, bounds: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], learning_rates: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None) -> None: ...

class Program:
    def __init__(self, inputs: Sequence[Sequence[int]], ops: Sequence[Op], params: Sequence[VariableSpec], buffers: Sequence[VariableSpec], heads: Sequence[Head], optimizer: Spec | None, targets: Sequence[Sequence[int]] = [], updates: Sequence[Update] = [], slots: int = 0, every: int = 1, separable: bool = False) -> None: ...

    def update_by(self, state: object, arrays: State, step: int, gradients: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)] | None], learning_rate: float) -> str:
        """One update by these gradients; return what was not finite, or ''."""

    def test(self, arrays: State, step: int, seed: int, batches: Batches, totals: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')]) -> None: ...

    def predict(self, params: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')], buffers: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')], x: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)] | Annotated[NDArray[numpy.uint8], dict(order='C', device='cpu', writable=False)]], y: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')]], step: int = 0, seed: int = 0) -> None:
        """Write the outputs for x to y; step and seed are those of random ops."""

    def predict_one(self, params: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')], buffers: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')], x: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)] | Annotated[NDArray[numpy.uint8], dict(order='C', device='cpu', writable=False)], y: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')]) -> None:
        """The same for one input and one output."""

    def gradient(self, arrays: State, step: int, seed: int, batches: Batches, which: int, out: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')]) -> float:
        """Loss of one step's batch; its gradient is written to out."""

    def jacobian(self, arrays: State, x: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)] | Annotated[NDArray[numpy.uint8], dict(order='C', device='cpu', writable=False)]], y: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')], out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], step: int = 0, seed: int = 0) -> None:
        """Write the outputs for x to y, their derivatives to out."""

class Job:
    """The steps first..last-1 of a program's training."""

    def __init__(self, program: Program, state: object, arrays: State, step: int, seed: int, batches: Batches, first: int, last: int, totals: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')]) -> None: ...

def train_shared(job: Job, rank: int, processes: int, add: object, add_gradient: object) -> str:
    """
    Run a job whose rows several processes divide; return what was not finite, or ''.
    """

def train(jobs: Sequence[Job]) -> list[str]:
    """Run all jobs at once; return what was not finite in each, or ''."""

def permutation(seed: int, purpose: int, stream: int, count: int) -> Annotated[NDArray[numpy.int64], dict(shape=(None,))]:
    """range(count) in the order of random 64-bit keys, int64."""

class DoubleTape:
    """
    A formula of numbers and of arrays in float64, and its derivatives with respect to each number.
    """

    def __init__(self, inputs: int, code: Sequence[tuple[str, Sequence[int], float]], outputs: Sequence[int]) -> None: ...

    def run(self, inputs: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], arrays: Sequence[Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)]], value: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], derivatives: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')] | None) -> None:
        """Write the values (n,), and the derivatives (inputs, n) unless None."""

class Jacobian:
    """Some columns of rows, times sqrt_weights."""

    def __init__(self, rows: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], sqrt_weights: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], columns: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

    def add_gram(self, gram: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')]) -> None:
        """Add J^T J to the upper triangle."""

    def vjp(self, r: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')]) -> None:
        """Write J^T r to out."""

    def jvp(self, d: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')]) -> None:
        """Write J d to out."""

def dot(x: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], y: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> float:
    """Sum of x y."""

def quadratic_form(a: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], d: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> float:
    """d^T A d; only the upper triangle is read."""

def cholesky(a: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')]) -> int:
    """
    Replace A by R of A = R^T R, upper triangles; returns the first row where A is not positive definite, or the number of rows.
    """

def cholesky_solve(r: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], x: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """Write (R^T R)^-1 x to x."""

def inverse_diagonal(r: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], out: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """Write the diagonal of (R^T R)^-1 to out."""

def qr(columns: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], multipliers: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], norms: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')]) -> None:
    """
    Write R of A = Q R to out and the norms of A's columns to norms. Each row of columns, times its multiplier, is a column of A.
    """

def scaled_svd(r: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], rank_tolerance: float, scale: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], s: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], ur: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], vt: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')]) -> float:
    """
    Write s, U^T Q^T r and V^T of R / scale = U diag(s) V^T; returns the norm of U^T Q^T r over the directions with s above rank_tolerance times the largest.
    """

def trust_region_step(scale: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], s: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], ur: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], vt: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], rank_tolerance: float, radius: float, step: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')]) -> tuple[float, float, float]:
    """
    Write the best step within the radius; returns its length, the predicted reduction of the cost, and the damping.
    """

class ResidualFunction:
    pass

class PythonFormula(ResidualFunction):
    """
    f(x, *p) - y if f returns a float64 vector of array_type, else the result of residuals_of(values). write_jacobian(values) writes the derivatives at point to columns; values are those of f there, or None.
    """

    def __init__(self, f: object, x: object | None, y: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, array_type: object, residuals_of: object, write_jacobian: object, point: object, width_factors: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], columns: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')]) -> None: ...

class TracedFormula(ResidualFunction):
    """(tape(p, arrays) - y) / sigma, with exact derivatives."""

    def __init__(self, tape: object, arrays: Sequence[Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)]], y: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], sigma: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None) -> None: ...

def trust_region(function: ResidualFunction, p: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], residuals: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], columns: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], multipliers: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], r: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], norms: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], scale: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], s: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], ur: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], vt: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], data_norm: float, forward: float, central: float, first_radius: float, approximate_until: float, comparable_until: float, last_offset: float, last_step: float, last_change: float, max_steps: int, max_calls: int) -> tuple[int, float, bool, int, float, float]:
    """
    Minimize from p, which is moved, as kurve.solvers.trust_region and kurve.solvers.attempts do: p and residuals are the result, the other arrays the last linear model. Returns the reason to stop, the relative offset, whether J never changed, the number of calls, the cost, and the rounding error.
    """
