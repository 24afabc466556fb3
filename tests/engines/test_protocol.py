"""Engines have the same few methods with the same arguments."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from kurve.engines import get_engine
from kurve.engines.base import Engine, Program, UpdatingProgram
from tests.engines.cases import compiled


def methods(cls: type) -> dict[str, inspect.Signature]:
    """The public methods of a class and their arguments."""
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }


def test_the_protocol_is_small() -> None:
    """An engine has at most fifteen methods to implement."""
    assert 0 < len(methods(Engine)) + len(methods(Program)) <= 15


def test_engine_has_the_methods_of_the_protocol(engine: str) -> None:
    made = get_engine(engine)
    assert isinstance(made, Engine)
    assert made.name == engine
    assert methods(type(made)).keys() == methods(Engine).keys()


@pytest.mark.parametrize("name", sorted(methods(Program)))
def test_program_has_the_arguments_of_the_protocol(engine: str, name: str) -> None:
    program = compiled(engine)._network.program()
    own, wanted = methods(type(program)), methods(Program)
    assert own.keys() in (wanted.keys(), methods(UpdatingProgram).keys())
    assert list(own[name].parameters) == list(wanted[name].parameters)
    assert [p.kind for p in own[name].parameters.values()] == [
        p.kind for p in wanted[name].parameters.values()
    ]


def test_what_an_engine_lacks_is_named(engine: str) -> None:
    """A plan of a later version, for instance, is rejected when compiled, not when
    run."""
    plan = compiled(engine)._network.program().plan
    strange = replace(plan.ops[0], kind="wavelet")
    with pytest.raises(NotImplementedError, match="wavelet"):
        get_engine(engine).compile(replace(plan, ops=(strange, *plan.ops[1:])))
