"""Automatic differentiation for custom loops: `GradientTape`."""

from __future__ import annotations

from kurve.gradients.tape import GradientTape as GradientTape
