"""Formulas in float64 (`_core.DoubleTape`) against NumPy in extended precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve.ops.elementwise import RULES

core = pytest.importorskip("kurve._core")

RANGES = {
    "exp": (-708.0, 709.0),
    "expm1": (-40.0, 700.0),
    "log": (1e-300, 1e300),
    "log1p": (-0.999, 1e10),
    "sin": (-9e4, 9e4),
    "cos": (-9e4, 9e4),
    "tan": (-1.5, 1.5),
    "tanh": (-25.0, 25.0),
    "sinh": (-700.0, 700.0),
    "cosh": (-700.0, 700.0),
    "arcsin": (-1.0, 1.0),
    "arccos": (-1.0, 1.0),
    "arccosh": (1.0, 1e9),
    "arctanh": (-0.999, 0.999),
    "sqrt": (0.0, 1e300),
    "rsqrt": (1e-300, 1e300),
}
EXACT = ("neg", "square", "abs", "sign", "floor", "ceil", "round", "relu", "sqrt")


def run(
    code: list[tuple[str, list[int], float]],
    outputs: list[int],
    numbers: Any = (),
    arrays: Any = (),
    n: int = 0,
) -> np.ndarray:
    """The values of a tape; arrays are its instructions "array"."""
    tape = core.DoubleTape(len(numbers), code, outputs)
    values = np.full(n or len(arrays[0]), np.nan)
    tape.run(np.array(numbers, float), list(arrays), values, None)
    return values


def apply(name: str, *arrays: np.ndarray) -> np.ndarray:
    """One operation on arrays."""
    count = len(arrays)
    code = [("array", list[int](), float(i)) for i in range(count)]
    return run([*code, (name, list(range(count)), 0.0)], [count], (), arrays)


def ulps(found: np.ndarray, exact: Any) -> float:
    expected = np.asarray(exact, np.longdouble)
    unit = np.spacing(np.abs(expected.astype(np.float64)))
    return float(np.max(np.abs(found - expected) / unit))


@pytest.mark.parametrize("name", sorted(RULES))
def test_operations_are_accurate(name: str) -> None:
    arity = RULES[name].arity
    if not arity:
        return
    random = np.random.default_rng(0)
    low, high = RANGES.get(name, (-20.0, 20.0))
    arrays = [random.uniform(low, high, 1001) for _ in range(arity)]
    if low > 0:  # over all magnitudes
        arrays = [np.exp(random.uniform(np.log(low), np.log(high), 1001))]
    if name == "pow":
        arrays[0] = np.abs(arrays[0])
    if arity == 1:
        small = random.uniform(-1.0, 1.0, 200) * 10.0 ** random.uniform(-30, 0, 200)
        arrays[0] = np.concatenate([arrays[0], small[(small >= low) & (small <= high)]])
    found = apply(name, *arrays)
    if name == "erf":
        expected: Any = np.array([math.erf(x) for x in arrays[0]])
    else:
        expected = RULES[name].compute(*(a.astype(np.longdouble) for a in arrays))
    limit = 0.5 if name in EXACT else 2.5
    assert ulps(found, expected) <= limit + 1e-9


SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e308, -1e308, 5e-324, 1e22])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", sorted(n for n, r in RULES.items() if r.arity == 1))
def test_operations_are_right_at_the_ends(name: str) -> None:
    if name in ("round", "floor", "ceil", "stop_gradient"):
        np.testing.assert_array_equal(
            apply(name, SPECIAL), RULES[name].compute(SPECIAL)
        )
        return
    expected = np.asarray(RULES[name].compute(SPECIAL), np.float64)
    np.testing.assert_allclose(apply(name, SPECIAL), expected, rtol=1e-15, atol=1e-300)


@pytest.mark.parametrize("name", sorted(n for n, r in RULES.items() if r.arity == 2))
def test_pairs_with_nan_and_ties(name: str) -> None:
    u, v = (
        a.ravel() for a in np.meshgrid([1.0, -2.5, 0.0, np.nan], [1.0, 3.0, np.nan])
    )
    with np.errstate(all="ignore"):
        expected = np.asarray(RULES[name].compute(u, v), np.float64)
    np.testing.assert_allclose(apply(name, u, v), expected, rtol=1e-15)


def decay(numbers: Any, x: np.ndarray, derivatives: np.ndarray | None) -> np.ndarray:
    """a exp(-b x) + a b, and its derivatives by a and b."""
    code = [
        ("array", [], 0.0),  # 2: x
        ("neg", [1], 0.0),
        ("mul", [3, 2], 0.0),
        ("exp", [4], 0.0),
        ("mul", [0, 5], 0.0),  # 6: a exp(-b x)
        ("mul", [0, 1], 0.0),
        ("add", [6, 7], 0.0),  # 8: the value
        ("add", [5, 1], 0.0),  # 9: by a
        ("mul", [6, 2], 0.0),
        ("sub", [0, 10], 0.0),  # 11: by b
    ]
    tape = core.DoubleTape(2, code, [8, 9, 11])
    values = np.empty(len(x))
    tape.run(np.array(numbers, float), [x], values, derivatives)
    return values


@pytest.mark.parametrize("n", [1, 3, 8, 255, 256, 257, 5000, 100_000])
def test_values_and_derivatives_of_any_length(n: int) -> None:
    a, b, x = 2.0, 0.5, np.linspace(0.0, 4.0, n)
    derivatives = np.empty((2, n))
    values = decay((a, b), x, derivatives)
    e = np.exp(-b * x)
    np.testing.assert_allclose(values, a * e + a * b, rtol=1e-15)
    np.testing.assert_allclose(derivatives, [e + b, a - a * x * e], atol=1e-15)
    np.testing.assert_array_equal(decay((a, b), x, None), values)
    some = np.arange(0, n, 7)
    np.testing.assert_array_equal(decay((a, b), x[some].copy(), None), values[some])


def test_what_is_the_same_for_all_elements() -> None:
    code = [("constant", [], 2.0), ("mul", [0, 1], 0.0)]
    np.testing.assert_array_equal(run(code, [2, 1], [3.0], (), 5), np.full(5, 6.0))


@pytest.mark.parametrize(
    ("code", "outputs"),
    [
        ([("exp", [1], 0.0)], [1, 0]),  # of itself
        ([("exp", [-1], 0.0)], [1, 0]),
        ([("add", [0], 0.0)], [1, 0]),
        ([("magic", [0], 0.0)], [1, 0]),
        ([("array", [], -1.0)], [1, 0]),
        ([("array", [], math.nan)], [1, 0]),
        ([("exp", [0], 0.0)], [2, 0]),
        ([("exp", [0], 0.0)], [1]),
    ],
)
def test_wrong_tapes_are_refused(code: Any, outputs: Any) -> None:
    with pytest.raises((ValueError, NotImplementedError, RuntimeError)):
        core.DoubleTape(1, code, outputs)


@pytest.mark.parametrize(
    "call",
    [
        lambda t, x: t.run(np.ones(2), [x], np.empty(4), None),
        lambda t, x: t.run(np.ones(1), [x[:2]], np.empty(4), None),
        lambda t, x: t.run(np.ones(1), [], np.empty(4), None),
        lambda t, x: t.run(np.ones(1), [x], np.empty(4), np.empty((2, 4))),
        lambda t, x: core.TracedFormula(t, [x], np.empty(3), None),
        lambda t, x: core.TracedFormula(t, [x], np.empty(4), np.empty(3)),
    ],
)
def test_wrong_arrays_are_refused(call: Callable[..., Any]) -> None:
    tape = core.DoubleTape(1, [("array", [], 0.0), ("mul", [0, 1], 0.0)], [2, 1])
    with pytest.raises(ValueError, match="must"):
        call(tape, np.ones(4))
