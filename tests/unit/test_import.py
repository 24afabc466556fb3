"""`import kurve` is quick, quiet and light."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import kurve

HEAVY = {
    "IPython",
    "joblib",
    "matplotlib",
    "narwhals",
    "pandas",
    "polars",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
}


def python(code: str, **environment: str) -> str:
    """What a new interpreter prints, with kurve found as it was found here."""
    root = os.path.dirname(os.path.dirname(kurve.__file__))
    environment = {**os.environ, "PYTHONPATH": root, **environment}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_heavy_modules_wait_until_they_are_needed() -> None:
    names = python("import kurve, sys; print(*sys.modules)").split()
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in names)


def test_import_says_nothing() -> None:
    assert python("import kurve") == ""


COUNTED = """
import os, sys
lines = 0
def trace(frame, event, argument):
    global lines
    lines += 1
    return trace
def cost(code):
    global lines
    lines, before = 0, set(sys.modules)
    sys.settrace(trace)
    exec(code, {})
    sys.settrace(None)
    files = [getattr(sys.modules[name], "__file__", None) for name in
             set(sys.modules) - before]
    sources = [file for file in files if file and file.endswith(".py")]
    return lines, sum(os.path.getsize(file) for file in sources)
"""


@pytest.mark.parametrize(
    ("code", "lines", "source"),
    [
        ("import kurve", 0.01, 0.01),
        ("from kurve import layers, models, optimizers", 0.48, 0.48),
    ],
)
def test_import_costs_a_share_of_numpys(code: str, lines: float, source: float) -> None:
    """Lines that Python executes and bytes of the modules it loads, beside those of
    NumPy: counts are the same on every run, where times depend on what else the machine
    does. Today's shares are 0.002 and 0.002, 0.43 and 0.39."""
    output = python(f"{COUNTED}\nprint(*cost('import numpy'), *cost({code!r}))")
    numpys_lines, numpys_source, our_lines, our_source = map(int, output.split())
    assert our_lines < lines * numpys_lines
    assert our_source < source * numpys_source


def test_dir_shows_what_is_public() -> None:
    """Each name with a docstring; none of the modules inside, imported or not."""
    public = [name for name in dir(kurve) if not name.startswith("_")]
    assert {"Sequential", "Input", "layers", "models", "report", "tables"} <= set(
        public
    )
    assert all(getattr(kurve, name).__doc__ for name in public)
    inside = {
        "cli",
        "core",
        "data",
        "engines",
        "exchange",
        "plan",
        "scores",
        "training",
    }
    assert not inside & set(public)
    assert kurve.__version__


@pytest.mark.parametrize(
    "module",
    [
        "assessment",
        "config",
        "datasets",
        "diagnosis",
        "estimators",
        "inspection",
        "plots",
        "report",
        "saving",
        "solvers",
        "tables",
    ],
)
def test_a_module_comes_by_its_name_alone(module: str) -> None:
    assert (
        python(f"import kurve; print(kurve.{module}.__name__)") == f"kurve.{module}\n"
    )


def test_what_networks_do_not_need_comes_when_it_is_asked_for() -> None:
    code = (
        "import kurve, sys; "
        "later = {name: f'kurve.{name}' for name in "
        "('datasets', 'diagnosis', 'estimators', 'plots', 'solvers')}; "
        "later |= {'Classifier': 'kurve.estimators', 'Regressor': 'kurve.estimators', "
        "'curve_fit': 'kurve.solvers', 'ensemble': 'kurve.models.ensembles', "
        "'lr_find': 'kurve.models.learning_rates'}; "
        "assert not set(later.values()) & set(sys.modules); "
        "assert set(later) <= set(dir(kurve)); "
        "things = {name: getattr(kurve, name) for name in later}; "
        "assert set(later.values()) <= set(sys.modules); "
        "assert all(t is getattr(kurve, name) for name, t in things.items()); "
        "from kurve import Regressor; import kurve.estimators; "
        "assert kurve.Regressor is kurve.estimators.Regressor is Regressor; "
        "print(*sys.modules)"
    )
    names = python(code).split()
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in names)
    with pytest.raises(AttributeError, match="mean 'Regressor'"):
        _ = kurve.Regresor
