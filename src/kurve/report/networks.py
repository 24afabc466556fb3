"""A description of the networks that a fit has kept: their kinds, and their weights."""

from __future__ import annotations

from typing import Any

PLAIN = {
    "FourierFeatures": "waves",
    "PiecewiseLinear": "piecewise linear encoding",
    "RadialBasis": "kernel of centres",
}
"""Descriptions of layers for readers who do not know them."""


def networks(estimator: Any) -> list[str]:
    """Each kind of network that a fitted estimator has kept: "4 networks of Dense 64
    silu, Dense 2, share 85%"."""
    weights = estimator.fitted_.head.weights
    shares: dict[str, list[float]] = {}
    for number, model in enumerate(estimator.models_):
        share = 1.0 / len(estimator.models_) if weights is None else weights[number]
        shares.setdefault(layers(model), []).append(float(share))
    return [
        f"{len(found)} network{'s' if len(found) > 1 else ''} of {kind}"
        + (f", share {sum(found):.0%}" if len(shares) > 1 else "")
        for kind, found in shares.items()
    ]


def layers(model: Any) -> str:
    """The layers of a network: "Dense 64 silu, Dense 1"."""
    return ", ".join(map(_layer, model.layers))


def _layer(layer: Any) -> str:
    name = PLAIN.get(type(layer).__name__, type(layer).__name__)
    units = getattr(layer, "units", None)
    if units is None:
        return name
    activation = getattr(getattr(layer, "activation", None), "name", "")
    return f"{name} {units}" + (f" {activation}" if activation != "linear" else "")
