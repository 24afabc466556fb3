"""How the tests of wrong calls look at an error and at the model it must not change."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from kurve import Sequential
from kurve.errors import WrongKindError


@dataclass(frozen=True)
class Wrong:
    """A wrong call, the kind of its error, and what the text must say."""

    call: Callable[..., Any]
    kind: type[Exception]
    where: str
    parts: tuple[str, ...]


def wrong(
    call: Callable[..., Any], kind: type[Exception], where: str, *parts: str
) -> Wrong:
    return Wrong(call, kind, where, parts)


def snapshot(model: Sequential) -> tuple[Any, ...]:
    """All that a refused call must leave as it was, in bytes."""
    layers = [(layer.built, layer.name) for layer in model.layers]
    state = model._network.state
    if state is None:
        return (model.built, model.compiled, layers)
    arrays = (state.params, state.buffers, state.slots, state.scalars)
    numbers = (state.step, state.seed, model.built, model.compiled)
    optimizer = model.optimizer.get_config() if model.optimizer else None
    return (*[a.tobytes() for a in arrays], *numbers, layers, str(optimizer))


def check(case: Wrong, *arguments: Any) -> None:
    """The error's kind and its text: `[where] rule ... Received: ... Try ...`."""
    with pytest.raises(case.kind) as caught:
        case.call(*arguments)
    kinds = (case.kind, WrongKindError) if case.kind is TypeError else (case.kind,)
    assert type(caught.value) in kinds
    text = str(caught.value)
    assert text.startswith(f"[{case.where}] "), text
    assert re.search(r"Received: \S", text), text
    assert re.search(r"Try \S|Did you mean \S|Known: \S", text), text
    assert text.endswith((".", "?", ")")), text
    for part in case.parts:
        assert part in text, f"{part!r} is not in: {text}"


NAN, INF = float("nan"), float("inf")
X = np.arange(12.0).reshape(6, 2)
Y = X.sum(axis=1)


def with_value(array: Any, position: Any, value: Any) -> np.ndarray:
    """A copy of the array with one element replaced."""
    changed = np.array(array)
    changed[position] = value
    return changed
