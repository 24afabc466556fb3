"""The engines that the conformance suite runs on.

KURVE_TEST_DEVICE names the device of the torch engine: "cpu", "cuda", or "simulated"
for a GPU that the CPU simulates, see `tests.engines.simulated`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import pytest

import kurve
from tests.conftest import ENGINES

NO_TORCH = "" if importlib.util.find_spec("torch") else "PyTorch is not there"
SIMULATED = os.environ.get("KURVE_TEST_DEVICE") == "simulated"
DEVICE = "cuda" if SIMULATED else os.environ.get("KURVE_TEST_DEVICE", "cpu")
TORCH = pytest.param(
    f"torch:{DEVICE}", marks=pytest.mark.skipif(bool(NO_TORCH), reason=NO_TORCH)
)


@pytest.fixture(scope="session", autouse=True)
def device() -> Iterator[None]:
    """The simulated GPU, if that is asked for."""
    if not SIMULATED:
        yield
        return
    from tests.engines.simulated import gpu

    with pytest.MonkeyPatch.context() as patch, gpu(patch):
        yield


@pytest.fixture(params=[*ENGINES, TORCH])
def engine(request: pytest.FixtureRequest, clean_state: None) -> str:
    """The name of each engine in turn, made the default of all models."""
    name: str = request.param
    kurve.set_engine(name)
    return name


@pytest.fixture(params=[*ENGINES[1:], TORCH])
def fast(request: pytest.FixtureRequest, clean_state: None) -> str:
    """The name of each engine in turn that is compared with the reference engine."""
    name: str = request.param
    return name
