"""Derivatives of what is computed by hand: `GradientTape`, for loops of one's own."""

from __future__ import annotations

from kurve.gradients.tape import GradientTape as GradientTape
