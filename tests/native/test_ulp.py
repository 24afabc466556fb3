"""Errors in units in the last place, over every exponent and sign of float32.

The table in docs/explanation.md comes from here: tests/native/cpp/ulp.cpp measures
single functions, and the plans below measure activations as users get them.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from kurve import _core
from kurve.engines.native import NativeEngine
from tests.native.plans import Builder, state_of
from tests.native.proofs import ROOT, check_program

# name -> (bound in ULP, largest |x|, formula in float64)
ACTIVATIONS = {
    "tanh": (2.0, np.inf, np.tanh),
    "sigmoid": (2.5, np.inf, lambda x: 1 / (1 + np.exp(-x))),
    "silu": (3.5, 87.0, lambda x: x / (1 + np.exp(-x))),
    "softplus": (2.5, np.inf, lambda x: np.logaddexp(x, 0)),
    "elu": (1.5, np.inf, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "softsign": (1.5, np.inf, lambda x: x / (1 + np.abs(x))),
    "sin": (2.0, 1e4, np.sin),
    "snake": (5.0, np.inf, lambda x: x + np.sin(x) ** 2),
}


def sweep(each: int = 2048) -> np.ndarray:
    """`each` mantissas of every exponent, both signs; thresholds and special values."""
    random = np.random.default_rng(0)
    step = 2**23 // each
    mantissas = np.arange(each) * step + random.integers(0, step, (255, each))
    mantissas[:, :2], mantissas[:, -2:] = [0, 1], [2**23 - 2, 2**23 - 1]
    words = (np.arange(255)[:, None] << 23 | mantissas).astype(np.uint32)
    near = np.arange(-200_000, 200_001, dtype=np.float32) * np.float32(5.5e-4)
    thresholds = np.float32([0.55, 1, 16.6, 17.33, 87.34, 88.72, 89, 103.97, 104, 1e4])
    around = (thresholds.view(np.uint32)[:, None] + np.arange(-64, 65)).astype("u4")
    quarters = (np.arange(1, 6367) * (np.pi / 2)).astype(np.float32)
    x = np.concatenate(
        [
            words.ravel().view(np.float32),
            near,
            around.ravel().view(np.float32),
            quarters,
            np.nextafter(quarters, np.float32(0)),
            np.nextafter(quarters, np.float32(1e9)),
            np.float32([0.0]),
        ]
    )
    return np.concatenate([x, -x])


def worst(name: str) -> tuple[float, float]:
    """The largest error of an activation in ULP, and where it is."""
    _, limit, formula = ACTIVATIONS[name]
    x = sweep()
    x = x[np.abs(x) <= limit]
    plan = Builder(1).activation(name).plan()
    got = NativeEngine().compile(plan).predict(state_of(plan), x[:, None])[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):
        true = formula(x.astype(np.float64))
        ulp = np.spacing(np.abs(true).astype(np.float32)).astype(np.float64)
    error = np.abs(got - true) / ulp
    at = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    return float(error[at]), float(x[at])


def check_activations() -> None:
    for name, (bound, _, _) in ACTIVATIONS.items():
        error, at = worst(name)
        print(f"{name} {error:.2f} ULP at {at!r}")
        assert error <= bound, f"{name}: {error} ULP at {at!r}"


@pytest.mark.parametrize("isa", _core.available_isas())
def test_activations_meet_their_bounds(isa):
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.native.test_ulp import _core, check_activations\n"
        f"assert _core.isa() == {isa!r}; check_activations()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KURVE_ISA": isa},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("isa", _core.available_isas())
def test_functions_meet_their_bounds(isa, tmp_path):
    check_program("ulp", isa, tmp_path)
