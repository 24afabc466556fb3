"""Each instruction set computes the same numbers, and none leaks a symbol."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kurve import _core
from kurve.engines.native import NativeEngine
from kurve.engines.reference import ReferenceEngine
from tests.native.plans import Builder, batches_of, mse, optimizer, state_of, train

ROOT = Path(__file__).parents[2]


def steps(engine) -> np.ndarray:
    """The parameters after 20 steps of many kinds of ops."""
    builder = Builder(5).normalization().dense(37, "gelu").dropout(0.3).dense(20, "sin")
    builder.dense(64, "selu").dense(9, "snake").softmax().dense(3, "softplus")
    plan = builder.plan(mse(), optimizer("rmsprop", epsilon=1e-3, clipnorm=1.0))
    state, batches = state_of(plan), batches_of(plan, 200, 10)
    train(engine, plan, state, batches, 20)
    return state.params


def child(isa: str, code: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KURVE_ISA": isa},
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("isa", _core.available_isas())
def test_each_instruction_set_computes_the_same(isa):
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from kurve import _core; from kurve.engines.native import NativeEngine\n"
        "from tests.native.test_isa import steps\n"
        f"params = steps(NativeEngine()); assert _core.isa() == {isa!r}\n"
        "sys.stdout.buffer.write(params.tobytes())"
    )
    result = child(isa, code)
    assert result.returncode == 0, result.stderr.decode()
    got = np.frombuffer(result.stdout, np.float32)
    np.testing.assert_allclose(got, steps(ReferenceEngine()), rtol=0, atol=2e-5)


def test_the_best_instruction_set_is_the_default():
    if not os.environ.get("KURVE_ISA"):
        assert _core.isa() == _core.available_isas()[-1]
    assert len(steps(NativeEngine()))


def test_short_names_and_an_empty_variable():
    best = _core.available_isas()[-1]
    code = "from kurve import _core; print(_core.isa())"
    for name in ("", best, best.removeprefix("x86-64-")):
        result = child(name, code)
        assert (result.returncode, result.stdout.decode().strip()) == (0, best)


def test_an_unknown_instruction_set_is_refused():
    result = child("avx9", "from kurve import _core; _core.isa()")
    assert b"KURVE_ISA must name an instruction set that this CPU has" in result.stderr
    assert b"Received: 'avx9'" in result.stderr


@pytest.mark.skipif(not shutil.which("nm"), reason="nm is not installed")
def test_no_weak_symbol_leaks_from_a_kernel_file(tmp_path):
    """Compiled without optimization, so that nothing is inlined that could leak."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    options = {"x86-64-v2": "v2", "x86-64-v3": "v3", "x86-64-v4": "v4"}
    for isa in _core.available_isas():
        arch = options.get(isa, "neon")
        target = [f"-march={isa}"] if isa in options else []
        kernels = tmp_path / "kernels.o"
        subprocess.run(
            [
                compiler,
                "-std=c++20",
                "-O0",
                "-fPIC",
                "-fno-exceptions",
                "-w",
                "-ffp-contract=fast",
                *target,
                f"-DKURVE_ARCH={arch}",
                "-c",
                str(ROOT / "cpp/kernels/arch.cpp"),
                "-o",
                str(kernels),
            ],
            check=True,
        )
        listing = subprocess.run(
            ["nm", "--defined-only", str(kernels)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        symbols = [line.split()[-2:] for line in listing.splitlines()]
        shared = [name for kind, name in symbols if kind.isupper() or kind in "vwu"]
        assert len(shared) == 1, shared  # the table
        assert f"kernels_{arch}" in shared[0]
