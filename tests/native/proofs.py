"""Builds the programs of tests/native/cpp that include the kernels' functions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def check_program(name: str, isa: str, folder: Path) -> None:
    """Compile a program for an instruction set and run it; it must exit with 0."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    program = folder / name
    command = [
        compiler,
        "-std=c++20",
        "-O3",
        "-ffp-contract=fast",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-Wno-psabi",
        f"-I{ROOT / 'cpp'}",
        str(ROOT / f"tests/native/cpp/{name}.cpp"),
        "-o",
        str(program),
    ]
    if isa.startswith("x86"):
        command.append(f"-march={isa}")
    subprocess.run(command, check=True)
    result = subprocess.run(
        [program], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout
