"""Wrong calls, numbers that are not finite, and what the checks cost."""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, data, optimizers
from kurve.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from kurve.errors import NonFiniteError
from kurve.layers import Dense
from tests.faults.conftest import Promise
from tests.unit import test_wrong_data, test_wrong_models
from tests.unit.wrong import X, Y, check, snapshot


def built() -> Sequential:
    model = Sequential([Input((2,)), Dense(3, "relu"), Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    return model


def test_wrong_calls(promise: Promise) -> None:
    """Every case of the unit tests once more, on a trained model, counted."""
    on_models = {**test_wrong_data.CASES, **test_wrong_data.BUILT}
    model = built()
    before = snapshot(model)
    for case in on_models.values():
        check(case, model)
        assert snapshot(model) == before
    for loss, case in test_wrong_data.LABELS.values():
        classes = Sequential([Dense(3, "softmax")])
        classes.compile("adam", loss)
        check(case, classes)
        assert not classes.built
    for case in (*test_wrong_models.NAMES.values(), *test_wrong_models.KINDS.values()):
        check(case)
    parts = [len(on_models), len(test_wrong_data.LABELS)]
    parts += [len(test_wrong_models.NAMES), len(test_wrong_models.KINDS)]
    assert sum(parts) >= 60
    promise("wrong", f"{sum(parts)} of {sum(parts)} wrong calls refused")


CHECKS = (data.as_samples, data.as_targets, data.check_same_length)


def test_the_checks_cost_little(native: str, promise: Promise) -> None:
    """Seconds of the checks by themselves, beside those of the fit around them."""
    kurve.set_engine(native)
    random, shares = np.random.default_rng(0), {}
    for name, rows, columns, width, depth, epochs in (
        ("the article's fit", 200, 1, 256, 7, 10),
        ("100,000 rows of 20 numbers, an epoch", 100_000, 20, 64, 2, 1),
    ):
        x = random.normal(size=(rows, columns)).astype(np.float32)
        y = np.sin(x.sum(axis=1))
        model = Sequential([Input((columns,))])
        for _ in range(depth):
            model.add(Dense(width, "relu"))
        model.add(Dense(1))
        model.compile("adam", "mse")
        model.fit(x, y, epochs=epochs, verbose=0)
        found = []
        for _ in range(5):
            start = time.perf_counter()
            model._checked("fit", x, y, None, None)
            middle = time.perf_counter()
            model.fit(x, y, epochs=epochs, verbose=0)
            end = time.perf_counter()
            found.append((middle - start) / (end - middle))
        shares[name] = statistics.median(found)
    assert max(shares.values()) < 0.04
    shown = "; ".join(f"{name}: {share:.2%}" for name, share in shares.items())
    promise("checks", shown)


def test_no_check_is_made_in_a_step(native: str) -> None:
    """The number of calls of the checks does not grow with steps or epochs."""
    kurve.set_engine(native)
    counts = []
    for epochs in (1, 50):
        model, profile = built(), cProfile.Profile()
        profile.runcall(model.fit, X, Y, epochs=epochs, batch_size=1, verbose=0)
        stats: Any = pstats.Stats(profile)
        names = {check.__name__ for check in CHECKS}
        called = [v[0] for (_, _, name), v in stats.stats.items() if name in names]
        counts.append(sum(called))
    assert counts[0] == counts[1] > 0


CASES: list[tuple[str, Any, float, str]] = [
    ("a loss", "sgd", 1e30, "the loss"),
    ("an update", optimizers.SGD(1e38), 1.0, "the update"),
    ("a square of Adam", "adam", 1e19, "the"),
    ("a square of RMSprop", "rmsprop", 1e19, "the"),
    ("a square of Adagrad", "adagrad", 1e19, "the"),
    ("a square of Nadam", "nadam", 1e19, "the"),
]


def test_not_finite(promise: Promise) -> None:
    """By each engine: the step, what, and the learning rate are named, the weights are
    those before the step, and no callback takes it for an improvement."""
    count = 0
    for engine in ("native", "reference"):
        if engine == "native":
            pytest.importorskip("kurve._core", reason="no compiled engine")
        for name, optimizer, scale, what in CASES:
            kurve.utils.set_random_seed(1)
            model = Sequential([Input((2,)), Dense(1, kernel_initializer="zeros")])
            model.compile(optimizer, "mse", engine=engine)
            watching = EarlyStopping(monitor="loss", restore_best_weights=True)
            before = model.get_weights()
            with pytest.raises(NonFiniteError) as caught:
                model.fit(
                    X * scale,
                    Y,
                    epochs=20,
                    verbose=0,
                    callbacks=[watching],
                    batch_size=6,
                )
            error = caught.value
            assert error.what.startswith(what), (name, error)
            assert f"at step {error.step + 1} with learning rate" in str(error)
            assert "Try " in str(error)
            assert error.step == model.iterations
            assert all(np.isfinite(w).all() for w in model.get_weights())
            if not error.step:
                for mine, start in zip(model.get_weights(), before, strict=True):
                    assert mine.tobytes() == start.tobytes()
            count += 1
    for callback in (
        EarlyStopping("loss"),
        ModelCheckpoint("m.kurve", "loss"),
        ReduceLROnPlateau("loss"),
    ):
        assert not callback.improves(float("nan"), None)
        assert not callback.improves(float("-inf"), 1.0)
    promise("finite", f"{count} of {count} cases, {len(CASES)} by each engine")
