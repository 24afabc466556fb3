"""What is not finite stops a fit before the update, on both engines."""

from __future__ import annotations

import numpy as np
import pytest

from kurve import Input, Sequential
from kurve.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from kurve.errors import NonFiniteError
from kurve.layers import Dense
from tests.faults.conftest import Promise
from tests.unit.test_faults import HUGE


def test_all_optimizers(engine: str, promise: Promise) -> None:
    """The loss, a gradient, and an update of each optimizer."""
    stopped = 0
    for optimizer, update in HUGE.values():
        for y, what in ((3e38, "the loss"), (1e18, "the gradient"), (1e18, update)):
            start = "zeros" if what == "the gradient" else "ones"
            layers = [Dense(1, kernel_initializer=start, name="out")]
            model = Sequential([Input((1,)), *layers])
            model.compile(
                type(optimizer).from_config(optimizer.get_config()),
                "mae" if what == "the loss" else "mse",
            )
            model.fit([0.0], [0.0], verbose=0)
            assert model._network.state is not None
            before = (
                model._network.state.params.tobytes()
                + model._network.state.slots.tobytes()
            )
            x = {"the loss": 3e38, "the gradient": 1e25}.get(what, 1e5)
            y = -y if what == "the loss" else y
            words = f"^.fit. {what}.* at step 2 with"
            with pytest.raises(NonFiniteError, match=words):
                model.fit([x], [y], verbose=0)
            after = (
                model._network.state.params.tobytes()
                + model._network.state.slots.tobytes()
            )
            assert before == after
            stopped += 1
    promise("finite", f"{engine}: {stopped} of {stopped} stopped, state as before")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_no_improvement(value: float, mode: str) -> None:
    """Neither as first value nor as a later one, whichever way is up."""
    watching: list[Callback] = [
        EarlyStopping("loss", mode=mode),
        ReduceLROnPlateau("loss", mode=mode),
        ModelCheckpoint("m.kurve", "loss", mode=mode, save_best_only=True),
    ]
    model = Sequential([Input((1,)), Dense(1)])
    model.compile("sgd", "mse")
    for callback in watching:
        callback.set_model(model)
        assert not callback.improves(value, None)  # type: ignore[attr-defined]
        assert not callback.improves(value, 1.0)  # type: ignore[attr-defined]
        assert callback.improves(0.5 if mode == "min" else 2.0, 1.0)  # type: ignore[attr-defined]
