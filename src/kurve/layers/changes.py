"""Arguments of built layers that the user changes, such as `layer.rate = 0.1`: models
make their plans anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kurve.core.inside import inner_network
from kurve.formulas.graph import Graph
from kurve.formulas.recording import active

_count = [0]


def count() -> int:
    """The number of changes so far, of all layers."""
    return _count[0]


def changed(layer: Any) -> None:
    """Note that an argument of a built layer has changed, unless a formula or a step
    that runs has set it, which may do so in each call."""
    if Graph.current is None and active.step is None and not active.building:
        _count[0] += 1
        vars(layer)["_changes"] = vars(layer).get("_changes", 0) + 1


def versions(layers: Iterable[Any]) -> list[int]:
    """The number of changes of each layer and sublayer."""
    found: list[int] = []
    for layer in layers:
        inner = inner_network(layer)
        if inner is None:
            found.append(vars(layer).get("_changes", 0))
        found += versions(layer.parts if inner is None else inner.layers)
    return found
