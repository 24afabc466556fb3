"""What all tests share: a clean process state and the engines to run on."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator

import pytest

import kurve
from kurve import engines
from kurve.core import naming, rng

# A program that a script starts in the background ignores Ctrl-C, which tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kurve")
    group.addoption(
        "--soak", action="store_true", help="repeat the tests of faults to the full"
    )
    group.addoption(
        "--reliability", metavar="PAGE", help="write what tests/faults measured to PAGE"
    )


def _why_no_native() -> str:
    """Why the compiled engine cannot be tested here; empty where it can."""
    try:
        import kurve._core  # noqa: F401
    except ImportError as error:
        return f"the compiled engine is not there: {error}"
    return ""


NO_NATIVE = _why_no_native()
ENGINES = [
    "reference",
    pytest.param("native", marks=pytest.mark.skipif(bool(NO_NATIVE), reason=NO_NATIVE)),
]


@pytest.fixture(autouse=True)
def clean_state(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """No test sees the seed, engine, names or environment that another one chose. What
    has no seed draws the same numbers whenever the same test runs."""
    drawn = random.Random(request.node.nodeid)
    monkeypatch.setattr(rng, "_from_the_system", lambda: drawn.getrandbits(64))
    for name in [n for n in os.environ if n.startswith(("KURVE_SEED", "KURVE_ENGINE"))]:
        monkeypatch.delenv(name)
    seed, default = dict(rng._seed_source), list(engines._default)
    names = dict(naming._names_given)
    rng._seed_source.clear()
    yield
    rng._seed_source.clear()
    rng._seed_source.update(seed)
    engines._default[:] = default
    naming._names_given.clear()
    naming._names_given.update(names)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, clean_state: None) -> str:
    """The name of each engine in turn, made the default of all models."""
    name: str = request.param
    kurve.set_engine(name)
    return name


@pytest.fixture
def native(clean_state: None) -> str:
    """For what only the compiled engine can show; skipped where it is not there."""
    if NO_NATIVE:
        pytest.skip(NO_NATIVE)
    kurve.set_engine("native")
    return "native"
