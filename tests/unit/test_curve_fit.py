"""`kurve.curve_fit`: SciPy's conventions, bounds, derivatives, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import curve_fit
from kurve.solvers.derivatives import Derivatives

X = np.linspace(0.0, 4.0, 60)
RANDOM = np.random.default_rng(0)
Y = 2.5 * np.exp(-1.3 * X) + 0.5 + 0.02 * RANDOM.normal(size=X.size)
SIGMA = 0.01 + 0.03 * RANDOM.random(X.size)


def decay(x: Any, height: Any, rate: Any, floor: Any) -> Any:
    return height * np.exp(-rate * x) + floor


def d_decay(x: Any, height: float, rate: float, floor: float) -> np.ndarray:
    e = np.exp(-rate * x)
    return np.stack([e, -height * x * e, np.ones_like(x)], axis=1)


def only_real(x: Any, height: float, rate: float, floor: float) -> Any:
    return float(height) * np.exp(-float(rate) * x) + float(floor)


def close(one: Any, other: Any, digits: float = 6.0) -> None:
    np.testing.assert_allclose(one, other, rtol=10.0**-digits, atol=1e-12)


# ------------------------------------------------------------------- as SciPy


COVARIANCE = 0.0004 * (
    np.eye(X.size) + 0.6 * np.eye(X.size, k=1) * 0.5 + 0.6 * np.eye(X.size, k=-1) * 0.5
)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sigma": SIGMA},
        {"sigma": SIGMA, "absolute_sigma": True},
        {"sigma": 0.02, "absolute_sigma": True},
        {"sigma": COVARIANCE},
        {"sigma": COVARIANCE, "absolute_sigma": True},
        {"p0": [1.0, 2.0, 0.0]},
        {"jac": d_decay},
        {"jac": d_decay, "sigma": COVARIANCE},
        {"bounds": (0.0, [2.0, 3.0, 1.0])},
        {"bounds": ([-np.inf, 0.0, 0.6], np.inf)},
        {"bounds": (0.0, [2.0, 3.0, 1.0]), "sigma": SIGMA, "jac": d_decay},
    ],
    ids=lambda options: ", ".join(options) or "defaults",
)
def test_like_scipy(options: dict[str, Any]) -> None:
    scipy = pytest.importorskip("scipy.optimize")
    p, covariance = curve_fit(decay, X, Y, **options)
    method = "trf" if "bounds" in options else "lm"
    theirs, their_covariance = scipy.curve_fit(
        decay, X, Y, **options, method=method, ftol=1e-14, xtol=1e-14, gtol=1e-14
    )
    close(p, theirs, 5.0)
    if "bounds" not in options:
        close(covariance, their_covariance, 4.0)


def test_full_output() -> None:
    p, covariance, info, message, ier = curve_fit(decay, X, Y, full_output=True)
    close(info["fvec"], decay(X, *p) - Y)
    assert covariance.shape == (3, 3) and info["nfev"] > 3
    assert ier in (1, 2, 3, 4) and message


def test_bounds_object_and_a_minimum_at_a_bound() -> None:
    scipy = pytest.importorskip("scipy.optimize")
    bounds = scipy.Bounds([0.0, 0.0, 0.0], [2.0, 5.0, 5.0])
    p, _ = curve_fit(decay, X, Y, bounds=bounds)
    assert p[0] == 2.0
    rest, _ = curve_fit(lambda x, rate, floor: decay(x, 2.0, rate, floor), X, Y)
    close(p[1:], rest)


@pytest.mark.parametrize("seed", range(6))
def test_linear_problems_in_a_box_against_the_optimality_conditions(seed: int) -> None:
    """At the minimum the gradient is zero, or points out of the box at a bound."""
    random = np.random.default_rng(seed)
    a, y = random.normal(size=(30, 5)), random.normal(size=30)
    lower, upper = -0.1 * random.random(5), 0.1 * random.random(5)
    p, _ = curve_fit(
        lambda x, *p: x @ np.array(p), a, y, np.zeros(5), bounds=(lower, upper)
    )
    slope = a.T @ (a @ p - y)
    inside = (p > lower) & (p < upper)
    assert (np.abs(slope[inside]) < 1e-8).all()
    assert (slope[p == lower] >= 0.0).all() and (slope[p == upper] <= 0.0).all()
    assert not inside.all()


def test_parameters_never_leave_the_bounds() -> None:
    seen: list[np.ndarray] = []

    def watched(x: Any, height: float, rate: float, floor: float) -> Any:
        seen.append(np.array([height, rate, floor]))
        return only_real(x, height, rate, floor)

    lower, upper = np.array([0.0, 1.0, 0.1]), np.array([2.0, 3.0, 1.0])
    for jac in ("3-point", "2-point"):
        curve_fit(watched, X, Y, bounds=(lower, upper), jac=jac)
    points = np.array(seen)
    assert ((points >= lower) & (points <= upper)).all()


def test_all_parameters_at_their_bounds() -> None:
    p, _ = curve_fit(lambda x, a, b: a * x + b, X, 3.0 * X + 3.0, bounds=(0.0, 1.0))
    assert (p == 1.0).all()


def test_numbers_near_the_end_of_float64s_range() -> None:
    """Squares that overflow on the way, or everywhere."""
    p, _ = curve_fit(lambda x, a, b: a * np.exp(b * x), X, 2.0 * np.exp(X), [1.0, 40.0])
    close(p, [2.0, 1.0])
    with pytest.raises(RuntimeError, match=r"no minimum was found.*not finite"):
        curve_fit(lambda x, a: a * x, X, 1e200 * X)


def test_xdata_of_any_kind() -> None:
    y = 2.0 * X + 3.0 * X**2
    p, _ = curve_fit(lambda x, a, b: a * x[0] + b * x[1], np.stack([X, X**2]), y)
    close(p, [2.0, 3.0])
    data = {"a": X, "b": X**2}
    p, _ = curve_fit(lambda x, a, b: a * x["a"] + b * x["b"], data, y)
    close(p, [2.0, 3.0])
    p, _ = curve_fit(lambda x, a, b: a * x + b, [0, 1, 2], [1, 3, 5])
    close(p, [2.0, 1.0])


def test_as_many_data_as_parameters() -> None:
    with pytest.warns(RuntimeWarning, match="covariance .* could not be estimated"):
        p, covariance = curve_fit(lambda x, a, b: a * x + b, [0.0, 1.0], [1.0, 3.0])
    close(p, [2.0, 1.0])
    assert np.isinf(covariance).all()


def test_a_parameter_without_influence() -> None:
    with pytest.warns(RuntimeWarning, match="does not determine them all"):
        p, covariance = curve_fit(lambda x, a, b: a * x + 0 * b, X, 3.0 * X)
    close(p[0], 3.0)
    assert np.isinf(covariance).all()


def test_starts_find_a_better_minimum_and_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    y = np.sin(7.0 * X)

    def wave(x: Any, frequency: Any) -> Any:
        return np.sin(frequency * x)

    def left(p: np.ndarray) -> float:
        return float(np.sum((wave(X, *p) - y) ** 2))

    monkeypatch.setattr("kurve.solvers.restarts.GROUPS", 0)
    with pytest.warns(RuntimeWarning, match="explains 0% of the data's variation"):
        alone, _ = curve_fit(wave, X, y, [1.0])
    assert left(alone) > 1.0
    many, _ = curve_fit(wave, X, y, [1.0], starts=30)
    assert left(many) < 1e-12
    assert (many == curve_fit(wave, X, y, [1.0], starts=30)[0]).all()
    boxed, _ = curve_fit(wave, X, y, bounds=(0.0, 10.0), starts=20, seed=3)
    close(boxed, [7.0])


def test_random_starts_rescue_a_fit_that_runs_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From here the frequency goes to 0 and the height to infinity: a straight line."""
    y = np.sin(3.0 * X + 0.5)

    def wave(x: Any, height: Any, frequency: Any, phase: Any) -> Any:
        return height * np.sin(frequency * x + phase)

    _, covariance = curve_fit(wave, X, y, [0.2, 1.46, 0.94])
    assert np.isfinite(covariance).all()
    monkeypatch.setattr("kurve.solvers.attempts.LAST_STARTS", 0)
    monkeypatch.setattr("kurve.solvers.restarts.GROUPS", 0)
    with pytest.raises(RuntimeError, match="no minimum was found"):
        curve_fit(wave, X, y, [0.2, 1.46, 0.94])


def test_logarithms_reach_what_a_product_of_powers_hides() -> None:
    """A start that is wrong by a factor of 1e6 in each parameter."""
    x = np.linspace(1.0, 5.0, 40)
    y = 3e-5 * np.exp(2.0 * x)
    p, _ = curve_fit(lambda x, a, b: a * np.exp(b * x), x, y, [30.0, 1e-3])
    close(p, [3e-5, 2.0])


# ------------------------------------------------------------- terms that cancel


OFFSETS = [0.0, 10.0, 1000.0, 2000.0, 19_723.0, 2_459_000.5, 1.7e9]


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("step", [0.1, 1.0, 30.0])
def test_exact_lines_far_from_zero(offset: float, step: float) -> None:
    """The error is the rounding of a x, not of y: days, years, Julian dates."""
    x = offset + step * np.arange(10.0)
    for a, b in ((1.0, -offset), (2.5, 3.0), (-0.01, 1e3), (1e-4, 0.0)):
        y = a * x + b
        p, covariance = curve_fit(lambda x, a, b: a * x + b, x, y)
        rounding = 4.0 * np.finfo(float).eps * (abs(a) * x.max() + abs(b) + 1.0)
        assert np.abs(p[0] * x + p[1] - y).max() <= 4.0 * rounding
        assert abs(p[0] - a) <= 4.0 * rounding / np.ptp(x)
        assert np.isfinite(covariance).all()


@pytest.mark.parametrize("offset", [0.0, 100.0, 2000.0, 19_723.0])
def test_exact_parabolas_far_from_zero(offset: float) -> None:
    x = offset + np.arange(20.0)
    for y in ((x - offset) ** 2, 0.5 * x**2 + 2.0 * x + 3.0, 1e-3 * x**2 - x + 5.0):
        p, _ = curve_fit(lambda x, a, b, c: a * x**2 + b * x + c, x, y)
        terms = np.abs([p[0] * x**2, p[1] * x, np.full_like(x, p[2])]).max()
        assert np.abs(p[0] * x**2 + p[1] * x + p[2] - y).max() <= 1e-14 * terms
        close(p[0], np.polyfit(x - offset, y, 2)[0], 5.0)


@pytest.mark.parametrize("center", [2000.0, 2_459_000.5])
@pytest.mark.parametrize("jac", [None, "3-point"])
def test_a_peak_far_from_zero(center: float, jac: str | None) -> None:
    """Its position is a million widths: a fraction of it is too wide for
    differences."""
    x = center + np.linspace(-5.0, 5.0, 60)

    def peak(x: Any, height: Any, place: Any, width: Any) -> Any:
        return height * np.exp(-(((x - place) / width) ** 2))

    truth = [3.0, center + 0.7, 1.8]
    y = peak(x, *truth) + 0.01 * np.random.default_rng(0).normal(size=x.size)
    p, covariance = curve_fit(peak, x, y, [1.0, center, 1.0], jac=jac)
    near, near_covariance = curve_fit(peak, x - center, y, [1.0, 0.0, 1.0])
    close(p - [0.0, center, 0.0], near, 6.0)
    close(covariance, near_covariance, 5.0)


# --------------------------------------------------------------- false minima


S = np.linspace(0.1, 10.0, 25)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("half", [*np.arange(0.05, 0.51, 0.05), 1.0, 3.0, 10.0])
def test_steps_across_a_pole(half: float, noise: float) -> None:
    y = 10.0 * S / (half + S) + noise * np.random.default_rng(1).normal(size=25)
    p, _ = curve_fit(lambda s, v, k: v * s / (k + s), S, y)
    close(p, [10.0, half], 7.0 if not noise else 0.5)


@pytest.mark.parametrize("rate", [-3.0, -1.0, -0.3, -0.05, 0.05, 0.3, 0.8])
@pytest.mark.parametrize("height", [10.0, -3.0, 0.01])
def test_exponentials_of_either_sign_from_ones(rate: float, height: float) -> None:
    y = height * np.exp(rate * S)
    p, _ = curve_fit(lambda t, a, b: a * np.exp(b * t), S, y)
    close(p, [height, rate], 7.0)


def test_waves_and_peaks_out_of_reach_of_default_starts() -> None:
    x = np.linspace(0.0, 10.0, 100)
    for frequency in (0.3, 0.7, 1.5, 2.0, 4.0):
        y = 2.0 * np.sin(frequency * x + 0.5)
        p, _ = curve_fit(lambda x, a, w, s: a * np.sin(w * x + s), x, y)
        close(abs(p[1]), frequency, 7.0)
    for place in (3.0, 10.0, 50.0):
        x = place + np.linspace(-6.0, 6.0, 80)
        y = 4.0 * np.exp(-((x - place) ** 2) / 2.0)
        p, _ = curve_fit(
            lambda x, a, m, s: a * np.exp(-((x - m) ** 2) / 2 / s**2), x, y
        )
        close([p[0], p[1], abs(p[2])], [4.0, place, 1.0], 7.0)


def test_a_minimum_that_explains_little_says_so() -> None:
    """A parabola is no wave of fixed height; noise without a pattern is no sign."""
    x = np.linspace(-3.0, 3.0, 80)
    with pytest.warns(RuntimeWarning, match=r"explains .* residuals follow a pattern"):
        curve_fit(lambda x, w: np.cos(w * x), x, x**2)
    curve_fit(lambda x, a, b: a * x + b, x, x**2)  # linear: no other minimum
    noise = np.random.default_rng(0).normal(size=80)
    curve_fit(lambda x, a, b: a * np.exp(b * x), x, noise)


def test_a_formula_may_reject_the_parameters_of_other_attempts() -> None:
    def picky(s: Any, v: Any, k: Any) -> Any:
        if np.real(v) < 0.0:
            raise ArithmeticError("v must be positive")
        return v * s / (k + s)

    p, _ = curve_fit(picky, S, 10.0 * S / (0.3 + S))
    close(p, [10.0, 0.3])


def test_exact_derivatives_are_taken_once() -> None:
    """They cost several times as much as values, and once is enough for all digits."""
    y = decay(X, 2.5, 1.3, 0.5) + 0.05 * np.random.default_rng(0).normal(size=X.size)
    kinds = []

    def watched(x: Any, *p: Any) -> Any:
        kinds.append(np.asarray(p).dtype.kind)
        return decay(x, *p)

    p, covariance = curve_fit(watched, X, y, [1.0, 1.0, 1.0])
    assert kinds.count("c") == 3 and kinds.count("f") <= 40
    again, exact = curve_fit(watched, X, y, p, jac="cs")
    close(again, p, 11.0)
    np.testing.assert_allclose(covariance, exact, rtol=1e-9)


def test_forward_differences_alone_give_half_the_digits() -> None:
    y = decay(X, 2.5, 1.3, 0.5) + 0.05 * np.random.default_rng(0).normal(size=X.size)
    exact, covariance = curve_fit(decay, X, y)
    p, other = curve_fit(decay, X, y, jac="2-point")
    close(p, exact, 6.0)
    np.testing.assert_allclose(other, covariance, rtol=1e-5)


def test_a_fit_that_ends_where_there_are_no_derivatives() -> None:
    """f is finite at 1, the answer, and nowhere beyond."""
    with pytest.raises(RuntimeError, match="no minimum was found"):
        curve_fit(lambda x, a: np.where(float(a) <= 1.0, a, np.nan) * x, X, X, [0.5])


def test_the_order_of_the_data_does_not_matter() -> None:
    """The pattern of residuals is looked for along x."""
    order = np.random.default_rng(0).permutation(25)
    y = 10.0 * S / (0.3 + S)
    p, _ = curve_fit(lambda s, v, k: v * s / (k + s), S[order], y[order])
    close(p, [10.0, 0.3])


# ------------------------------------------------------------------ kinds of data


def makers() -> dict[str, Any]:
    made: dict[str, Any] = {"list": list, "masked": np.ma.array}
    try:
        import pandas as pd

        made |= {"pandas": pd.Series, "Int64": lambda x: pd.Series(x, dtype="Int64")}
        made["index"] = pd.Index
    except ImportError:
        pass
    try:
        import polars as pl

        made["polars"] = pl.Series
    except ImportError:
        pass
    try:
        import pyarrow as pa

        made["arrow"] = pa.array
    except ImportError:
        pass
    return made


@pytest.mark.parametrize("kind", makers())
def test_integers_of_any_kind_become_float64(kind: str) -> None:
    """Squares of int8, cubes of int32 and negative powers are not those of floats."""
    make = makers()[kind]
    for dtype in ("int8", "uint8", "int32", "int64", "float32"):
        if kind == "Int64" and dtype == "float32":
            continue
        x = np.array([1, 2, 3, 40, 100], dtype)
        wide = x.astype(float)
        for power in (1, 2, 3, 7, -2):
            y = 2.0 * wide**power + 1.0
            given = y if kind == "Int64" else make(y)
            p, _ = curve_fit(
                lambda x, a, b, k=power: a * x**k + b, make(x), given, p0=[1.0, 1.0]
            )
            close(p, [2.0, 1.0])


def test_masked_values_count_as_missing() -> None:
    x = np.arange(10.0)
    y = np.ma.masked_equal(np.r_[2.0 * x[:9] + 1.0, -9999.0], -9999.0)
    line = lambda x, a, b: a * x + b  # noqa: E731
    with pytest.raises(ValueError, match=r"ydata must not have missing.*ydata\[9\]"):
        curve_fit(line, x, y)
    with pytest.raises(ValueError, match=r"xdata must not have missing.*xdata\[9\]"):
        curve_fit(line, np.ma.array(x, mask=y.mask), 2.0 * x)
    with pytest.raises(ValueError, match="sigma must not have missing"):
        curve_fit(line, x, 2.0 * x, sigma=np.ma.array(x + 1.0, mask=y.mask))
    with pytest.raises(ValueError, match=r"f must be finite at p0.*value 9 is nan"):
        curve_fit(lambda x, a: a * np.ma.array(x, mask=y.mask), x, 2.0 * x)
    p, _ = curve_fit(line, x[~y.mask], y.compressed())
    close(p, [2.0, 1.0])


def test_complex_numbers_are_rejected() -> None:
    w = np.linspace(0.0, 4.0, 30)

    def wave(w: Any, a: Any, b: Any, c: Any) -> Any:
        return a * np.exp(1j * b * w) + 1j * c

    p0, y = [1.5, 0.6, 1.0], wave(w, 2.0, 0.5, 3.0)
    with pytest.raises(ValueError, match=r"ydata .*Try stacking real and imaginary"):
        curve_fit(wave, w, y, p0)
    with pytest.raises(
        TypeError, match=r"f must return real numbers.*z\.real, z\.imag"
    ):
        curve_fit(wave, w, y.real, p0)
    with pytest.raises(ValueError, match="sigma must hold real numbers"):
        curve_fit(decay, X, Y, sigma=SIGMA + 0j)
    with pytest.raises(ValueError, match="p0 must hold real numbers"):
        curve_fit(decay, X, Y, p0=[1.0, 1j, 0.0])
    with pytest.raises(ValueError, match="jac's result must hold real numbers"):
        curve_fit(decay, X, Y, jac=lambda x, *p: d_decay(x, *p) + 0j)

    def stacked(w: Any, a: Any, b: Any, c: Any) -> Any:
        real, imaginary = a * np.cos(b * w), a * np.sin(b * w) + c
        return np.stack([real, imaginary], -1)

    p, covariance = curve_fit(stacked, w, np.stack([y.real, y.imag], -1), p0)
    close(p, [2.0, 0.5, 3.0])
    assert np.isfinite(covariance).all()


def test_dates_are_rejected() -> None:
    days = np.arange("2024-01-01", "2024-01-11", dtype="datetime64[D]")
    for x, y, name in (
        (days, np.arange(10.0), "xdata"),
        (np.arange(10.0), days, "ydata"),
    ):
        with pytest.raises(TypeError, match=f"{name} must hold real numbers.*the days"):
            curve_fit(lambda x, a, b: a * x + b, x, y)


def test_differences_of_float32_values_are_wider() -> None:
    x = {"x": np.linspace(0.0, 4.0, 60)}

    def single(x: Any, a: Any, b: Any) -> Any:
        return np.float32(a) * np.exp(-np.float32(b) * x["x"].astype(np.float32))

    p, _ = curve_fit(single, x, 2.5 * np.exp(-1.3 * x["x"]))
    close(p, [2.5, 1.3], 4.0)


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda x, a: math.exp(a * x), "Try np.exp and the like instead of math.exp"),
        (lambda x, a: a if x > 1 else -a, r"Try np\.where instead of if"),
    ],
    ids=["math.exp", "if"],
)
def test_formulas_for_single_numbers_get_a_hint(f: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        curve_fit(f, X, Y)


# ------------------------------------------------------------------- derivatives


UNBOUND = np.full(3, -np.inf), np.full(3, np.inf)
P = np.array([2.5, 1.3, -0.5])


@pytest.mark.parametrize(
    ("method", "digits"),
    [(None, 14.0), ("cs", 14.0), ("3-point", 9.0), ("2-point", 6.0)],
)
def test_derivatives(method: str | None, digits: float) -> None:
    result = Derivatives(lambda p: decay(X, *p), *UNBOUND, method)(P, decay(X, *P))
    exact = d_decay(X, *P)
    assert np.abs(result - exact).max() < 10.0**-digits * np.abs(exact).max()


@pytest.mark.parametrize(
    "formula",
    [
        lambda p: only_real(X, *p),
        lambda p: np.abs(p[0]) * np.exp(-p[1] * X) + np.abs(p[2]) * -1.0,
        lambda p: decay(X, *np.real(p)),
        lambda p: decay(X, *(complex(a).real for a in p)),
    ],
    ids=["float()", "abs", "real", "real one by one"],
)
def test_formulas_that_complex_numbers_break(formula: Any) -> None:
    derivatives = Derivatives(formula, *UNBOUND)
    result = derivatives(P, formula(P))
    assert derivatives.method == "3-point"
    np.testing.assert_allclose(result, d_decay(X, *P), rtol=1e-8, atol=1e-9)


def test_differences_at_bounds_keep_inside() -> None:
    lower, upper = np.array([2.5, 0.0, -0.5 - 1e-3]), np.array([3.0, 1.3, -0.5])
    inside: list[bool] = []

    def formula(p: np.ndarray) -> np.ndarray:
        inside.append(bool(((p >= lower) & (p <= upper)).all()))
        return decay(X, *p)

    for method, digits in (("3-point", 7.0), ("2-point", 5.0)):
        result = Derivatives(formula, lower, upper, method)(P, decay(X, *P))
        exact = d_decay(X, *P)
        assert np.abs(result - exact).max() < 10.0**-digits * np.abs(exact).max()
    assert all(inside)


def test_a_formula_that_is_complex_at_p0_only() -> None:
    """At p0 complex steps are right; at the minimum they are not, and are replaced."""

    def bent(x: Any, a: Any, b: Any) -> Any:
        return np.where(np.real(a) > 1.5, np.real(a), a) * x + b

    p, _ = curve_fit(bent, X, 2.0 * X + 1.0, [1.0, 0.0])
    close(p, [2.0, 1.0])


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"method": "trf"}, ValueError, r"method must be 'lm'.*Received: 'trf'"),
        ({"starts": 0}, ValueError, r"starts must be an integer.*Received: 0"),
        ({"maxfev": 1.5}, ValueError, r"maxfev must be an integer.*Received: 1\.5"),
        ({"p0": [1.0, np.nan, 0.0]}, ValueError, "p0 must be finite"),
        ({"p0": [[1.0, 1.0]]}, ValueError, "p0 must be finite numbers, one per"),
        ({"p0": [1.0, -1e4, 0.0]}, ValueError, r"f must be finite at p0.*is inf"),
        ({"bounds": (1.0, 0.0)}, ValueError, r"bounds must be .*lower < upper"),
        ({"bounds": ([0.0, 0.0], 1.0)}, ValueError, "each of the 3 parameters"),
        ({"bounds": 3.0}, ValueError, "bounds must be"),
        (
            {"p0": [3.0, 1.0, 0.0], "bounds": (0.0, 2.0)},
            ValueError,
            r"p0 must lie between the bounds.*p0\[0\] = 3",
        ),
        ({"sigma": np.zeros(X.size)}, ValueError, "sigma must be positive, of shape"),
        ({"sigma": [1.0, 2.0]}, ValueError, r"sigma must be positive.*shape \(2,\)"),
        ({"sigma": -np.eye(X.size)}, ValueError, "sigma must be positive definite"),
        ({"jac": "4-point"}, ValueError, "unknown jac.*Received: '4-point'"),
        (
            {"jac": lambda x, *p: np.ones((3, 60))},
            ValueError,
            r"jac must return an array \(60, 3\).*Received: \(3, 60\)",
        ),
    ],
)
def test_wrong_arguments(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        curve_fit(decay, X, Y, **arguments)


@pytest.mark.parametrize(
    ("f", "x", "y", "error", "words"),
    [
        (
            decay,
            X,
            np.where(X > 2, np.nan, Y),
            ValueError,
            r"ydata must be finite.*nan",
        ),
        (decay, np.where(X > 2, np.inf, X), Y, ValueError, r"xdata must be finite"),
        (decay, X, [], ValueError, "ydata must not be empty"),
        (decay, X, "text", TypeError, "ydata must hold real numbers"),
        (decay, X, Y[:-1], ValueError, r"f must return an array.* of ydata.*\(60,\)"),
        (decay, X[:2], Y[:2], ValueError, "at least as many data points as parameters"),
        (lambda x, *p: x, X, Y, ValueError, "p0 is needed"),
        (lambda x: x, X, Y, ValueError, "p0 is needed"),
        (
            lambda x, a: 3.0,
            X,
            Y,
            ValueError,
            "f must return an array of the shape",
        ),
    ],
)
def test_wrong_data(f: Any, x: Any, y: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        curve_fit(f, x, y)


def test_errors_of_the_formula_come_through() -> None:
    def broken(x: Any, a: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        curve_fit(broken, X, Y)


def test_no_minimum_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kurve.solvers.restarts.GROUPS", 0)
    x = np.linspace(1.0, 2.0, 9)
    with pytest.raises(RuntimeError, match=r"no minimum was found: f was called 40"):
        curve_fit(
            lambda x, a, b, c: a * np.exp(b / (x + c)),
            x,
            1e-4 * x,
            [2.0, 300.0, 100.0],
            maxfev=40,
        )


def in_ops(x: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    wave = kurve.ops.sin(x / (1.0 + c**2)) * kurve.ops.square(b)
    return a * kurve.ops.exp(-b * x) + kurve.ops.where(x > 1.0, wave, d * x)


def in_numpy(x: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    wave = np.sin(x / (1.0 + c**2)) * np.square(b)
    return a * np.exp(-b * x) + np.where(x > 1.0, wave, d * x)


@pytest.mark.parametrize("n", [50, 5000])
def test_formulas_in_ops_are_those_of_numpy(n: int) -> None:
    x = np.linspace(0.0, 3.0, n)
    noise = np.random.default_rng(0).normal(size=n) * 0.01
    y = in_numpy(x, 2.0, 1.3, 0.7, 0.4) + noise
    start = [1.5, 1.0, 0.5, 0.3]
    found, covariance = kurve.curve_fit(in_ops, x, y, start)
    again, _ = kurve.curve_fit(in_ops, x, y + 0.0, start)
    expected, of_numpy = kurve.curve_fit(in_numpy, x, y, start)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_array_equal(found, again)
    np.testing.assert_allclose(covariance, of_numpy, rtol=1e-6)
    with pytest.raises(RuntimeError, match="no minimum"):
        kurve.curve_fit(in_ops, x, y, start, maxfev=1)


def kinked(x: Any, a: Any, b: Any, c: Any) -> Any:
    return np.abs(a) * np.maximum(x - b, 0.0) ** 1.5 + np.minimum(c, x)


def test_the_chain_rule_is_exact_where_complex_numbers_fail() -> None:
    from kurve.solvers.derivatives import Derivatives
    from kurve.solvers.problems import Formula
    from kurve.solvers.tracing import trace

    x = np.linspace(0.0, 3.0, 3000)
    p, out = np.array([-2.0, 1.0, 1.7]), np.empty((3, 3000))
    formula = Formula(kinked, x, x.shape)
    assert trace(kinked, x, x.shape, p, formula(p), out) is not None
    above = np.maximum(x - 1.0, 0.0)
    exact = [-(above**1.5), -3.0 * np.sqrt(above), (x > 1.7).astype(float)]
    np.testing.assert_allclose(out, exact, rtol=1e-13, atol=1e-300)
    unbounded = np.full(3, np.inf)
    derivatives = Derivatives(formula, -unbounded, unbounded)
    derivatives.trace = lambda *given: trace(kinked, x, x.shape, *given)
    derivatives.rows(p, formula(p), out)
    assert derivatives.method == "traced"
    np.testing.assert_allclose(out, exact, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, a: np.interp(x, [0.0, 1.0], [0.0, float(a)]),
        lambda x, a: a * np.sum(np.sin(a * x)) * x,
        lambda x, a: a * x if a > 0.0 else -x,
    ],
)
def test_other_formulas_are_not_traced(f: Any) -> None:
    from kurve.solvers.tracing import trace

    x = np.linspace(0.0, 1.0, 9)
    assert trace(f, x, x.shape, np.ones(1), f(x, 1.0), np.empty((1, 9))) is None
    assert kurve.curve_fit(f, x, f(x, 1.0), [0.9])[0] == pytest.approx(1.0)
