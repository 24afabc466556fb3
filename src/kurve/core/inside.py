"""Internal view of a model for packages that work on it: engines, solvers, files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kurve.training.network import Network


def network_of(model: Any) -> Network:
    """The network inside a model."""
    network: Network = model._network
    return network


def is_model(part: Any) -> bool:
    """Whether a part of a model is itself a model, not a layer."""
    return hasattr(part, "_network")


def inner_network(part: Any) -> Network | None:
    """The network of a nested model; None for a layer."""
    return network_of(part) if is_model(part) else None
