"""How the engine is chosen, and what happens where the compiled one is missing."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import kurve
from kurve import Input, Sequential, engines
from kurve.engines.reference import ReferenceEngine
from kurve.layers import Dense


def engine_of(model: Sequential) -> str:
    """The engine that a model's program came from."""
    model.fit([1.0], [1.0], verbose=0)
    return type(model._network.program()).__module__.rpartition(".")[2]


def model_of(**compiled: Any) -> Sequential:
    model = Sequential([Input((1,)), Dense(1)])
    model.compile("sgd", "mse", **compiled)
    return model


def test_set_engine(engine: str) -> None:
    assert kurve.get_engine().name == engine
    assert engine_of(model_of()) == engine


def test_compile_wins_over_the_default(engine: str) -> None:
    assert engine_of(model_of(engine="reference")) == "reference"


def test_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    engines._default.clear()
    monkeypatch.setenv("KURVE_ENGINE", "reference")
    assert kurve.get_engine().name == "reference"
    monkeypatch.setenv("KURVE_ENGINE", "")  # not set
    assert kurve.get_engine().name == "native"
    monkeypatch.setenv("KURVE_ENGINE", "referense")
    with pytest.raises(ValueError, match=r"'referense'. Did you mean 'reference'\?"):
        kurve.get_engine()


def test_missing_extension_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`reference` is used instead."""
    engines._default.clear()
    monkeypatch.setattr(engines, "_loaded", {})
    monkeypatch.setitem(sys.modules, "kurve.engines.native", None)
    with pytest.warns(RuntimeWarning, match=r"reference engine .* is used .*Try"):
        assert engine_of(model_of()) == "reference"
    assert engine_of(model_of()) == "reference", "a second warning would be an error"


def test_set_engine_refuses_what_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"unknown engine. Received: 'fast'"):
        kurve.set_engine("fast")
    for device, meant in (("gpu", "cuda"), ("cuda:1", "cuda:1"), ("mps", "mps")):
        with pytest.raises(ValueError, match=f"Try 'torch:{meant}'"):
            kurve.set_engine(device)
    assert kurve.get_engine().name == "reference"
    with pytest.raises(TypeError, match=r"a name or an object with name and compile"):
        kurve.get_engine(3)  # type: ignore[arg-type]
    own = ReferenceEngine()
    assert kurve.get_engine(own) is own


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_wrong_threads(threads: Any) -> None:
    with pytest.raises(ValueError, match=r"^\[set_threads\] .*Received: .*Try set_thr"):
        kurve.set_threads(threads)


@pytest.mark.usefixtures("native")
def test_threads() -> None:
    before = kurve.get_threads()
    try:
        for threads in (1, 3):
            kurve.set_threads(threads)
            assert kurve.get_threads() == threads
    finally:
        kurve.set_threads(before)
