"""Compiled training steps: `kurve.function`."""

from __future__ import annotations

from kurve.training.tracing.functions import function as function
