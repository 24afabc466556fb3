"""Metrics that are attributes of layers and models: their values stand in the logs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import kurve

X = (np.arange(24).reshape(8, 3) / 24).astype(np.float32)
Y = X.sum(axis=1, keepdims=True) * 2


def models(lib: Any) -> dict[str, Any]:
    """Models with metrics at each place where one can be."""

    def dense() -> Any:
        return lib.layers.Dense(1, kernel_initializer="ones")

    class Watching(lib.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seen = lib.metrics.Mean(name="seen")

        def call(self, x: Any) -> Any:
            self.seen.update_state(x * 2)
            return x

    class Held(lib.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = dense()
            self._seen = lib.metrics.Mean(name="seen")

        def call(self, x: Any) -> Any:
            y = self.dense(x)
            self._seen.update_state(y)
            return y

    class Nested(lib.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.part, self.watching, self.last = Held(), Watching(), dense()
            self.extra = [lib.metrics.Mean(name="never")]

        def call(self, x: Any) -> Any:
            return self.last(self.watching(self.part(x)))

    x = lib.Input((3,))
    return {
        "sequential": lib.Sequential([lib.Input((3,)), dense(), Watching()]),
        "not built": lib.Sequential([dense(), Watching()]),
        "functional": lib.Model(x, Watching()(dense()(x))),
        "subclass": Held(),
        "nested": Nested(),
    }


@pytest.mark.parametrize("name", models(kurve))
@pytest.mark.filterwarnings("ignore:.*runs eagerly")
def test_held_metrics_stand_in_the_logs(name: str) -> None:
    histories, results, names = [], [], []
    for lib in (keras, kurve):
        model = models(lib)[name]
        model.compile(lib.optimizers.SGD(0.1), "mse", metrics=["mae"])
        options: Any = {"validation_split": 0.5, "shuffle": False, "verbose": 0}
        histories.append(model.fit(X, Y, batch_size=2, epochs=2, **options).history)
        results.append(model.evaluate(X, Y, verbose=0, return_dict=True))
        names.append({m.name for m in model.metrics} - {"compile_metrics", "mae"})
    assert histories[1].keys() == histories[0].keys() >= {"seen", "val_seen"}
    for key, values in histories[0].items():
        assert histories[1][key] == pytest.approx(values, rel=1e-4), key
    assert results[1] == pytest.approx(results[0], rel=1e-4)
    assert names[1] == names[0]
