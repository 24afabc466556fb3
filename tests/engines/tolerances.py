"""How much two computations of the same number may differ: one table for all tests.

The units: `relative` is measured against the largest element of what is right, so that
an element that is small by cancellation does not count as wrong; `of_float32` is how
many times the error of NumPy's own float32 run another engine may make, which lets the
tolerance grow where a model amplifies rounding and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tolerance:
    relative: float
    absolute: float
    of_float32: float = 0.0

    def allows(
        self,
        actual: np.ndarray,
        exact: np.ndarray,
        in_float32: np.ndarray | None = None,
    ) -> bool:
        """Whether `actual` is close enough to `exact`."""
        return excess(self, actual, exact, in_float32) <= 0.0


def excess(
    tolerance: Tolerance,
    actual: np.ndarray,
    exact: np.ndarray,
    in_float32: np.ndarray | None = None,
) -> float:
    """By how much the largest error exceeds the tolerance; at most 0 if it does not."""
    actual, exact = np.asarray(actual, np.float64), np.asarray(exact, np.float64)
    assert actual.shape == exact.shape
    if not exact.size:
        return 0.0
    limit = tolerance.absolute + tolerance.relative * float(np.abs(exact).max())
    if in_float32 is not None:
        own = np.asarray(in_float32, np.float64)
        limit += tolerance.of_float32 * float(np.abs(own - exact).max())
    error = float(np.abs(actual - exact).max())
    return error - limit if np.isfinite(error) else np.inf


STEP = 1e-6
"""Half the distance between the two points of a central difference, float64."""

JUMP = 1e-3
"""A derivative that changes by this fraction between those points is at a kink."""

TOLERANCES = {
    # analytic derivative along a direction against the central difference, float64
    "slope": Tolerance(relative=1e-6, absolute=2e-9),
    # one forward pass or one gradient in float32 against float64
    "loss": Tolerance(relative=2e-6, absolute=1e-6, of_float32=4.0),
    "predictions": Tolerance(relative=4e-6, absolute=1e-6, of_float32=4.0),
    "gradient": Tolerance(relative=1e-5, absolute=1e-7, of_float32=4.0),
    # after 20 steps
    "trained losses": Tolerance(relative=1e-5, absolute=1e-5, of_float32=8.0),
    "trained metrics": Tolerance(relative=1e-5, absolute=1e-5, of_float32=8.0),
    "trained weights": Tolerance(relative=1e-5, absolute=1e-5, of_float32=8.0),
    "trained predictions": Tolerance(relative=1e-5, absolute=1e-5, of_float32=8.0),
}
