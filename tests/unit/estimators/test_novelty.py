"""extrapolates: few false alarms, and what is far away is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import Regressor
from kurve.estimators.novelty import Novelty

FAST: dict[str, Any] = {"hidden_layer_sizes": (4,), "solver": "adam", "max_epochs": 2}


def fitted(x: np.ndarray) -> Novelty:
    z = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    return Novelty.learn(z, np.random.default_rng(0))


@pytest.mark.parametrize("law", ["normal", "uniform", "lognormal", "grid"])
@pytest.mark.parametrize(("rows", "columns"), [(100, 1), (300, 5), (4000, 10)])
def test_few_false_alarms(law: str, rows: int, columns: int) -> None:
    rng = np.random.default_rng(1)
    draw = {
        "normal": rng.standard_normal,
        "uniform": rng.random,
        "lognormal": lambda size: rng.lognormal(size=size),
        "grid": lambda size: rng.integers(0, 5, size=size).astype(float),
    }[law]
    train, new = draw((rows, columns)), draw((2000, columns))
    shift, size = train.mean(axis=0), train.std(axis=0)
    novelty = fitted(train)
    assert novelty.outside(((new - shift) / size).astype(np.float32)).mean() < 0.07


def test_what_is_far_is_found() -> None:
    x = np.linspace(0, 20, 200)
    model = Regressor(**FAST).fit(x, np.sin(x))
    inside = model.extrapolates(np.linspace(0.05, 19.95, 150))
    assert not inside.any()
    assert model.extrapolates([-3.0, 23.0, 40.0, 1e30]).all()


def test_holes_and_broken_relations_are_found() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=500)
    x = np.stack([a, a + 0.05 * rng.normal(size=500)], axis=1)
    model = Regressor(**FAST).fit(x, a)
    assert model.extrapolates([[1.5, -1.5], [-1.0, 1.0]]).all()
    assert not model.extrapolates([[1.0, 1.0], [-1.0, -1.0]]).any()
    ring = rng.uniform(0, 2 * np.pi, 800)
    around = np.stack([np.cos(ring), np.sin(ring)], axis=1)
    model.fit(around, ring)
    assert model.extrapolates([[0.0, 0.0]]).all()
    assert not model.extrapolates([[0.0, 1.0], [-1.0, 0.0]]).any()


def test_partial_fit_widens_what_is_known() -> None:
    x = np.linspace(0, 1, 100)[:, None]
    model = Regressor(**FAST).partial_fit(x, x[:, 0])
    assert model.extrapolates([[3.0]]).all()
    model.partial_fit(x + 2.5, x[:, 0])
    assert not model.extrapolates([[3.0], [0.5]]).any()


def test_constant_columns_and_single_rows() -> None:
    x = np.ones((20, 2))
    x[:, 0] = np.arange(20)
    model = Regressor(**FAST).fit(x, x[:, 0])
    assert model.extrapolates([[5.0, 1.0], [5.0, 2.0]]).tolist() == [False, True]
