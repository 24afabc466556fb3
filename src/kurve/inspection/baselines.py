"""Simple models that a model is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LINE_ROWS = 20_000
MAX_ONE_HOT = 50
WIDE = 300
"""Columns from which the normal equations are solved, which are faster, and less exact
for columns that nearly depend on each other."""


def some_rows(count: int) -> np.ndarray:
    """Evenly spaced rows, enough for a straight line."""
    return np.arange(0, count, max(count // LINE_ROWS, 1))


class LinearBaseline:
    """A straight line (a plane for several features), fitted by least squares;
    categories become indicator columns, missing numbers the mean.

    Source: Legendre 1805.

    Example:
        >>> x = np.arange(10.0)
        >>> line = kurve.assessment.LinearBaseline().fit({"x": x}, 2.0 * x)
        >>> line.predict({"x": np.array([20.0])}).round(3)
        array([40.])
    """

    @np.errstate(over="ignore", invalid="ignore")
    def fit(self, columns: Mapping[str, np.ndarray], y: Any) -> LinearBaseline:
        """Fit to named columns (n,), numbers or objects, and y (n,) or (n, outputs).

        If numbers are too large for float64, the coefficients are NaN.
        """
        targets = np.asarray(y, float)
        rows = some_rows(len(targets))
        sample = {name: values[rows] for name, values in columns.items()}
        self._means: dict[str, tuple[float, float]] = {}
        self._categories: dict[str, list[Any]] = {}
        for name, values in sample.items():
            if values.dtype.kind in "fiub":
                numbers = values.astype(float)
                known = numbers[np.isfinite(numbers)]
                scale = float(known.std()) if len(known) else 0.0
                mean = float(known.mean()) if len(known) else 0.0
                self._means[name] = (mean, scale or 1.0)
            else:
                unique = {v for v in values.tolist() if v is not None}
                self._categories[name] = sorted(unique, key=str)[:MAX_ONE_HOT]
        design = self._design(sample)
        targets = targets[rows]
        self._weights = np.full((design.shape[1], *targets.shape[1:]), np.nan)
        if np.isfinite(design).all() and np.isfinite(targets).all():
            self._weights = _least_squares(design, targets)
        return self

    @np.errstate(over="ignore", invalid="ignore")
    def predict(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n,) or (n, outputs)."""
        return self._design(columns) @ self._weights

    def _design(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = len(next(iter(columns.values())))
        parts = [np.ones(rows)]
        for name, (mean, scale) in self._means.items():
            numbers = columns[name].astype(float)
            numbers = np.where(np.isfinite(numbers), numbers, mean)
            parts.append((numbers - mean) / scale)
        for name, categories in self._categories.items():
            parts += [np.equal(columns[name], value) * 1.0 for value in categories]
        return np.stack(parts, axis=1).astype(float)


def _least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.shape[1] < WIDE:
        return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0])
    gram = x.T @ x
    ridge = 1e-10 * np.trace(gram) * np.eye(len(gram))
    return np.linalg.solve(gram + ridge, x.T @ y)
