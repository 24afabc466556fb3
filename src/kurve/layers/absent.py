"""Layers of Keras's that are not here, and why."""

from __future__ import annotations

WHY: dict[str, str] = {
    "SpectralNormalization": (
        "its power iteration changes weights in a forward pass. Try "
        "kernel_regularizer='l2'"
    ),
    **dict.fromkeys(
        ("MelSpectrogram", "STFTSpectrogram"),
        "there are no Fourier transforms in a model. Try scipy.signal.stft of the data "
        "before fit",
    ),
    **dict.fromkeys(
        ("JaxLayer", "FlaxLayer", "TorchModuleWrapper", "TFSMLayer"),
        "engines cannot run other libraries. Try a subclass of Layer with call()",
    ),
}
"""By name; each sentence ends without its full stop."""


def refuse(name: str) -> None:
    """Say why Keras has a layer of this name, and Kurve has not.

    Raises:
        AttributeError: it is one of these.
    """
    if name in WHY:
        raise AttributeError(
            f"[kurve.layers] there is no {name}: {WHY[name]}. Received: {name!r}."
        )
