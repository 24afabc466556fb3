"""Wrong calls of what stands beside a model's own methods; and all of them counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Regressor, Sequential, callbacks, losses
from kurve.optimizers import schedules
from kurve.solvers import lbfgs, levenberg_marquardt
from tests.faults import test_wrong_data as of_data
from tests.faults import test_wrong_files as of_files
from tests.faults import test_wrong_images as of_images
from tests.faults import test_wrong_models as of_models
from tests.faults.conftest import Promise
from tests.faults.test_wrong_files import trained
from tests.faults.wrong import INF, NAN, X, Y, check, snapshot, with_value, wrong

# Called with a model that is built, compiled and trained.
BESIDE = {
    "solver: NaN": wrong(
        lambda m: levenberg_marquardt(m, with_value(X, (0, 0), NAN), Y),
        ValueError,
        "levenberg_marquardt",
        "x[0, 0] = nan",
    ),
    "solver: no model": wrong(
        lambda m: lbfgs("model", X, Y), TypeError, "lbfgs", "kurve.Sequential"
    ),
    "solver: no iterations": wrong(
        lambda m: levenberg_marquardt(m, X, Y, max_iterations=0),
        ValueError,
        "levenberg_marquardt",
        "max_iterations=0",
    ),
    "solver: patience": wrong(
        lambda m: lbfgs(m, X, Y, patience=1.5), TypeError, "lbfgs", "patience=1.5"
    ),
    "solver: callback": wrong(
        lambda m: lbfgs(m, X, Y, callback=3), TypeError, "lbfgs", "callback", "3"
    ),
    "ensemble of 0": wrong(
        lambda m: kurve.ensemble(m, 0), ValueError, "ensemble", "members=0"
    ),
    "ensemble of 1.5": wrong(
        lambda m: kurve.ensemble(m, 1.5), TypeError, "ensemble", "members=1.5"
    ),
    "lr_find: steps": wrong(
        lambda m: kurve.lr_find(m, X, Y, steps=0), ValueError, "lr_find", "steps=0"
    ),
    "lr_find: NaN": wrong(
        lambda m: kurve.lr_find(m, X, with_value(Y, 2, INF)),
        ValueError,
        "lr_find",
        "y[2",
        "inf",
    ),
    "weights of another number": wrong(
        lambda m: m.set_weights(m.get_weights()[:1]), ValueError, "set_weights"
    ),
    "get_layer": wrong(
        lambda m: m.get_layer("dense_99"), ValueError, "get_layer", "'dense_99'"
    ),
    "a schedule's steps": wrong(
        lambda m: schedules.ExponentialDecay(0.1, decay_steps=0, decay_rate=0.9),
        ValueError,
        "ExponentialDecay",
        "decay_steps",
    ),
    "Huber's delta": wrong(
        lambda m: losses.Huber(delta=-1.0), ValueError, "Huber", "delta", "-1.0"
    ),
    "a mode": wrong(
        lambda m: callbacks.EarlyStopping(mode="up"), ValueError, "EarlyStopping", "up"
    ),
    "set_threads(2**40)": wrong(
        lambda m: kurve.set_threads(2**40), ValueError, "set_threads", "from 1 to 64"
    ),
    "set_threads(0)": wrong(
        lambda m: kurve.set_threads(0), ValueError, "set_threads", "0"
    ),
    "set_engine": wrong(
        lambda m: kurve.set_engine("gpu"), ValueError, "get_engine", "'gpu'"
    ),
    "Regressor: NaN": wrong(
        lambda m: Regressor().fit(X, with_value(Y, 1, NAN)), ValueError, "fit"
    ),
}


@pytest.mark.parametrize("name", BESIDE)
def test_beside_a_model(name: str) -> None:
    model = trained()
    before = snapshot(model)
    check(BESIDE[name], model)
    assert snapshot(model) == before


def test_the_number_of_wrong_calls(promise: Promise) -> None:
    """All tables once, on one model each: what a case says is looked at beside it."""
    model, images = trained(), of_images.trained()
    tables: list[tuple[Any, Sequential | None]] = [
        *((case, model) for case in of_data.CASES.values()),
        *((case, model) for case in of_data.BUILT.values()),
        *((case, model) for case in of_files.FILES.values()),
        *((case, model) for case in of_files.PLOTS.values()),
        *((case, model) for case in BESIDE.values()),
        *((case, images) for case in of_images.CASES.values()),
        *((case, None) for case in of_images.OTHERS.values()),
        *((case, None) for case in of_models.NAMES.values()),
        *((case, None) for case in of_models.KINDS.values()),
        *((case, None) for case in of_models.GRAPHS.values()),
    ]
    before, refused = (snapshot(model), snapshot(images)), 0
    for case, of in tables:
        with pytest.raises(case.kind):
            case.call(*([] if of is None else [of]))
        refused += 1
        assert (snapshot(model), snapshot(images)) == before
    assert refused == len(tables) >= 260
    assert np.isfinite(model.predict(X, verbose=0)).all()
    promise("wrong", f"{refused} of {len(tables)} refused")
