"""Derivatives of what is computed by hand: `GradientTape`, for custom loops."""

from __future__ import annotations

from kurve.gradients.tape import GradientTape as GradientTape
