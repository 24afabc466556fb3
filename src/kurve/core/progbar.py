"""Keras's progress bar for custom training loops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from kurve.core.arguments import check_integer
from kurve.core.progress import ProgressBar


class Progbar:
    """A progress bar that shows running means.

    Args:
        target: total number of steps, or None if unknown.
        width, interval: accepted and ignored; the bar has a fixed width and is redrawn
            at most ten times a second.
        verbose: 0 silent, 1 a live bar, 2 one line at the end.
        stateful_metrics: names of values to show as they are; other values are averaged
            over the steps.
        unit_name: accepted and ignored.

    Raises:
        ValueError: invalid target or verbose.

    Example:
        >>> bar = kurve.utils.Progbar(2, verbose=0)
        >>> bar.update(1, [("loss", 2.0)])
        >>> bar.add(1, [("loss", 1.0)])
        >>> bar.means()
        {'loss': 1.5}
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        check_integer("Progbar", "target", target, None, 0, optional=True)
        self.target, self.stateful_metrics = target, {*(stateful_metrics or ())}
        self._bar = ProgressBar(target or None, verbose=verbose)
        self._seen, self._ended = 0, False
        self._values: dict[str, tuple[float, int]] = {}

    def means(self) -> dict[str, float]:
        """The displayed values, by name."""
        return {name: sum_ / count for name, (sum_, count) in self._values.items()}

    def update(
        self,
        current: int,
        values: Iterable[tuple[str, Any]] | None = None,
        finalize: bool | None = None,
    ) -> None:
        """Update the number of finished steps.

        Args:
            current: the number of finished steps.
            values: pairs (name, value) of the latest steps; of an array, its mean.
            finalize: whether this is the last update; by default, at the target.
        """
        steps = max(current - self._seen, 1)
        for name, value in values or ():
            if name in self.stateful_metrics:
                self._values[name] = float(np.mean(value)), 1
                continue
            sum_, count = self._values.get(name, (0.0, 0))
            sum_ += float(np.mean(value)) * steps
            self._values[name] = sum_, count + steps
        self._seen = current
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        if finalize and not self._ended:
            self._ended = True
            if self._bar.target is None:
                self._bar.target = current
            self._bar.finish(self.means())
        elif not finalize and self._bar.wants_updates:
            self._bar.update(current, self.means())

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Advance the bar by n steps.

        Args:
            n: number of steps.
            values: see `update`.
        """
        self.update(self._seen + n, values)
