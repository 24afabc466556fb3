"""Errors of formulas that need the values of a whole batch: these run uncompiled, on
arrays."""

from __future__ import annotations


class NeedsArrays(Exception):
    """Raised for a formula that cannot be a plan, but can run on arrays: it moves the
    batch axis, needs values, or assigns weights.

    rows: the required number of rows of a batch, if fixed
    """

    rows: int | None = None


class NeedsBatch(NeedsArrays, ValueError):
    """It moves the batch axis, or mixes samples."""


class NeedsValues(NeedsArrays, TypeError):
    """It asks for values, or writes weights."""
