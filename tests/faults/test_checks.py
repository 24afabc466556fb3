"""What the checks of arguments cost beside the training that they guard."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential
from kurve.layers import Dense
from kurve.training.inputs import check_data
from tests.faults.conftest import Promise

pytestmark = pytest.mark.alone


def seconds(call: Callable[[], Any], times: int) -> float:
    """The median."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


# columns, widths, rows, epochs
FITS = {
    "200 rows, 10 epochs of 7 x 256": (1, [256] * 7, 200, 10),
    "100,000 x 20, an epoch of 2 x 64": (20, [64] * 2, 100_000, 1),
}


@pytest.mark.usefixtures("native")
def test_checks_cost_little(promise: Promise) -> None:
    for name, (columns, widths, rows, epochs) in FITS.items():
        layers = [Dense(width, "relu") for width in widths]
        model = Sequential([Input((columns,)), *layers, Dense(1)])
        model.compile("adam", "mse", engine="native")
        # float32, so that no check pays for a conversion, which `fit` needs anyway.
        x = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
        y = x.sum(axis=1)
        checks = seconds(lambda: check_data("fit", model._network, x, y), 15)  # noqa: B023
        fit = seconds(lambda: model.fit(x, y, epochs=epochs, verbose=0), 3)  # noqa: B023
        assert checks < 0.04 * fit  # twice the promise: clocks of a busy machine
        promise("checks", f"{name}: {100 * checks / fit:.2f} % of `fit`")
