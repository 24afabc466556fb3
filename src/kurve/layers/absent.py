"""Keras layers that Kurve lacks, and why."""

from __future__ import annotations

WHY: dict[str, str] = {
    **dict.fromkeys(
        ("MaxNumBoundingBoxes",),
        "Kurve has no bounding boxes. Try np.pad on the arrays of the boxes",
    ),
    **dict.fromkeys(
        ("JaxLayer", "FlaxLayer", "TorchModuleWrapper", "TFSMLayer"),
        "engines cannot run other libraries. Try a subclass of Layer with call()",
    ),
}
"""Reasons by name, without a final full stop."""


def refuse(name: str) -> None:
    """Explain why Kurve lacks a Keras layer.

    Raises:
        AttributeError: the name is one of these layers.
    """
    if name in WHY:
        raise AttributeError(
            f"[kurve.layers] there is no {name}: {WHY[name]}. Received: {name!r}."
        )
