"""NIST's 27 nonlinear problems: `curve_fit` with its defaults reaches the certified
values from both starts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import kurve
from tests.nist.problems import FOLDER, FORMULAS, digits, formulas, read

pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason=f"NIST's data is not in {FOLDER}; set KURVE_NIST"
)

# Its residuals are 1e-13 and the values 2.5: float64 leaves three digits of them.
BELOW_FLOAT64 = {"Lanczos1"}


@pytest.mark.parametrize("start", [0, 1], ids=["start 1", "start 2"])
@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("jac", [None, "3-point"], ids=["default", "differences"])
def test_certified_digits(name: str, start: int, jac: str | None) -> None:
    problem = read(name)
    p, covariance = kurve.curve_fit(
        FORMULAS[name], problem.x, problem.y, problem.starts[start], jac=jac
    )
    assert digits(p, problem.values) >= 6.0
    deviations = np.sqrt(np.diag(covariance))
    wanted = 2.5 if name in BELOW_FLOAT64 else 5.0
    assert digits(deviations, problem.deviations) >= wanted


@pytest.mark.parametrize("start", [0, 1], ids=["start 1", "start 2"])
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_in_ops(name: str, start: int) -> None:
    """With exact derivatives."""
    problem, f = read(name), formulas(kurve.ops)[name]
    p, covariance = kurve.curve_fit(f, problem.x, problem.y, problem.starts[start])
    assert digits(p, problem.values) >= 6.0
    wanted = 2.5 if name in BELOW_FLOAT64 else 5.0
    assert digits(np.sqrt(np.diag(covariance)), problem.deviations) >= wanted


@pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="no longer float on this machine"
)
@pytest.mark.parametrize("start", [0, 1], ids=["start 1", "start 2"])
@pytest.mark.parametrize("name", sorted(BELOW_FLOAT64))
def test_data_in_more_digits_than_float64_has(name: str, start: int) -> None:
    problem = read(name, np.longdouble)
    p, covariance, info, _, _ = kurve.curve_fit(
        FORMULAS[name], problem.x, problem.y, problem.starts[start], full_output=True
    )
    assert digits(p, problem.values) >= 6.0
    assert digits(np.sqrt(np.diag(covariance)), problem.deviations) >= 5.0
    assert digits(np.sum(info["fvec"] ** 2), problem.sum_of_squares) >= 5.0


def test_no_warnings_on_the_way() -> None:
    """Steps that overflow are the solver's business, not the user's."""
    problem = read("BoxBOD")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kurve.curve_fit(FORMULAS["BoxBOD"], problem.x, problem.y, problem.starts[0])


def test_all_problems_are_there() -> None:
    assert len(FORMULAS) == 27
    assert {path.stem for path in FOLDER.glob("*.dat")} == set(FORMULAS)
