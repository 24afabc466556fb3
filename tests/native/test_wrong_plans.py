"""The core refuses a malformed plan; it never crashes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kurve import _core

ROOT = Path(__file__).parents[2]


def dense(
    kernel: int = 0,
    inputs: int = 3,
    outputs: int = 2,
    offset: int = 0,
    shape: tuple[int, ...] = (3, 2),
    attrs: dict[str, float | str] | None = None,
) -> _core.Program:
    return _core.Program(
        [[inputs]],
        [
            _core.Op(
                "dense",
                "d",
                [inputs],
                [outputs],
                {"kernel": kernel, "bias": 1},
                {},
                attrs or {"activation": "linear", "alpha": 0.0},
            )
        ],
        [
            _core.VariableSpec("k", shape, offset, True, 0.0, 0.0),
            _core.VariableSpec("b", [2], 16, True, 0.0, 0.0),
        ],
        [],
        [_core.Head(-1, [outputs], _core.Spec("mean_squared_error", {}), [], 1.0)],
        None,
    )


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"kernel": 7}, "the kernel of d of a plan must be one of its variables"),
        ({"kernel": -1}, "the kernel of d of a plan must be one of its variables"),
        ({"outputs": 0}, "an output of a plan must have axes of at least 1"),
        ({"outputs": -2}, "an output of a plan must have axes of at least 1"),
        ({"inputs": 2**62}, "an input of a plan must have axes of at least 1"),
        ({"offset": -(2**40)}, "the variable k of a plan must lie within its vector"),
        ({"offset": 2**62}, "the variable k of a plan must lie within its vector"),
        ({"offset": 12}, "the variable b of a plan must not overlap another variable"),
        ({"shape": (3, 0)}, "the variable k of a plan must have axes of at least 1"),
        ({"shape": (2**31, 2**31)}, "the variable k of a plan must have axes"),
        ({"shape": ()}, "shapes of d do not fit its kernel"),
        ({"attrs": {"activation": "linear"}}, "the plan lacks the number 'alpha'"),
    ],
)
def test_wrong_numbers(wrong: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        dense(**wrong)


def test_a_job_that_is_none() -> None:
    with pytest.raises(ValueError, match="train needs jobs"):
        _core.train([None])


def test_arrays_of_another_size() -> None:
    program, x = dense(), np.zeros((2, 3), np.float32)
    params, none = np.zeros(32, np.float32), np.zeros(0, np.float32)
    y = np.zeros((2, 2), np.float32)
    program.predict(params, none, [x], [y])
    for wrong in (
        (params[:16], none, x, y),
        (params, params, x, y),
        (params, none, x[:, :2].copy(), y),
        (params, none, x, y[:1]),
    ):
        with pytest.raises(ValueError, match="native"):
            program.predict(*wrong)


def test_mutated_plans() -> None:
    """Thousands of plans, each with one to three wrong numbers or parts."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.native.wrong_plans", "0", "4000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, (last, done.stderr[-2000:])
    refused, calls = (int(word) for word in last[0].split() if word.isdigit())
    assert refused > 2000
    assert calls > 2000
