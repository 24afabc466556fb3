"""Errors of formulas that need the values of a whole batch: these run uncompiled, on
arrays."""

from __future__ import annotations


class NeedsArrays(Exception):
    """A formula that no plan can hold, but that arrays can show: it moves the batch
    axis, asks for values, or writes weights.

    rows: how many rows a batch must have, if it says so
    """

    rows: int | None = None


class NeedsBatch(NeedsArrays, ValueError):
    """It moves the batch axis, or mixes samples."""


class NeedsValues(NeedsArrays, TypeError):
    """It asks for values, or writes weights."""
