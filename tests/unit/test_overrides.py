"""A method of one's own is called, or it is refused by name: never ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import (
    Input,
    Sequential,
    callbacks,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
    regularizers,
)
from kurve.models import load_model
from kurve.optimizers import SGD, schedules

X, Y = np.ones((4, 2), np.float32), np.zeros((4, 1), np.float32)


class Ten(losses.MeanSquaredError):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return 10.0 * super().call(y_true, y_pred)


class Whole(losses.MeanSquaredError):
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return 1.0


class Formula(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return np.abs(y_true - y_pred).mean(axis=-1)


class NoFormula(losses.Loss): ...


class FortyTwo(metrics.MeanSquaredError):
    def result(self) -> float:
        return 42.0


class Counting(metrics.Metric):
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen = len(y_true)

    def result(self) -> float:
        return float(self.seen)


class NoMetric(metrics.Metric): ...


class Stays(optimizers.SGD):
    def minimize(self, loss: Any) -> None: ...


class NoOptimizer(optimizers.Optimizer):
    def __init__(self) -> None:
        super().__init__(0.1)


class Hundred(regularizers.L2):
    def __call__(self, w: Any) -> float:
        return 100.0


class Double(layers.Dense):
    def call(self, x: Any) -> Any:
        return x


class Mixin:
    def call(self, x: Any) -> Any:
        return x


class Mixed(Mixin, layers.Dense): ...


class Own(layers.Layer):
    def build(self, input_shape: Any) -> None: ...

    def call(self, x: Any) -> Any:
        return 2.0 * x


class Empty(layers.Layer): ...


class Calls(Sequential):
    def call(self, x: Any) -> Any:
        return x


def compiled(**given: Any) -> Sequential:
    model = Sequential([Input((2,)), layers.Dense(1)])
    model.compile(**{"optimizer": "sgd", "loss": "mse"} | given)
    return model


def stack(layer: layers.Layer) -> Sequential:
    return Sequential([Input((2,)), layer])


REFUSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "loss without formula": ("NoFormula", lambda: compiled(loss=NoFormula())),
    "loss as metric": ("Whole.__call__", lambda: compiled(metrics=[Whole()])),
    "metric without formula": ("NoMetric", lambda: compiled(metrics=[NoMetric()])),
    "metric by hand": ("NoMetric without update_state", lambda: NoMetric()(Y, Y)),
    "metric, result": ("NoMetric without result", lambda: NoMetric().result()),
    "optimizer": ("Stays.minimize", lambda: compiled(optimizer=Stays())),
    "optimizer without formula": (
        "NoOptimizer",
        lambda: compiled(optimizer=NoOptimizer()),
    ),
    "regularizer": (
        "Hundred.__call__",
        lambda: layers.Dense(1, kernel_regularizer=Hundred()),
    ),
    "layer without operations": ("Empty", lambda: stack(Empty())),
    "model": ("Calls.call", lambda: Calls([layers.Dense(1)]).predict(X)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_method_that_nobody_would_call_is_refused_by_name(name: str) -> None:
    what, use = REFUSED[name]
    with pytest.raises(NotImplementedError) as caught:
        use()
    text = str(caught.value)
    assert what in text and text.startswith("[")
    assert "Received: " in text and "Try " in text


@pytest.mark.parametrize("method", ["call", "compute_output_shape"])
def test_methods_set_on_a_model(method: str) -> None:
    model = compiled()
    setattr(model, method, lambda *given: None)
    with pytest.raises(NotImplementedError, match=rf"Sequential\.{method} would never"):
        model.fit(X, Y)
    with pytest.raises(NotImplementedError, match=rf"Sequential\.{method} would never"):
        model.predict(X)


def test_by_hand_they_are_called() -> None:
    assert Ten()(Y, Y + 1.0) == 10.0
    assert Formula()(Y, Y + 2.0) == 2.0
    assert FortyTwo()(Y, Y) == 42.0
    assert Counting()(Y, Y) == 4.0

    class Plain(Counting):
        def update_state(self, y_true: Any, y_pred: Any) -> None:  # type: ignore[override]
            self.seen = 3 * len(y_true)

    plain = compiled(metrics=[Plain()]).evaluate(X, Y, verbose=0, batch_size=len(X))
    assert plain[1] == 3 * len(X)
    counted = compiled(metrics=[Counting()]).evaluate(
        X, Y, verbose=0, batch_size=len(X)
    )
    assert counted[1] == len(X)
    assert Hundred()(X) == 100.0


def test_what_is_called_may_be_overridden() -> None:
    """By model and engine: callbacks, schedules, what parts say of themselves."""
    told = []

    class Stepwise(schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return 0.5 if step < 2 else 0.25

    class Tells(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            told.append(self.model.optimizer.current_learning_rate(batch))

    class Wide(layers.Dense):
        def build(self, input_shape: Any) -> None:
            told.append("built")
            super().build(input_shape)

    class Named(losses.MeanSquaredError):
        def get_config(self) -> dict[str, Any]:
            return super().get_config()

    class Quiet(Sequential):
        def fit(self, *given: Any, **more: Any) -> Any:
            return super().fit(*given, **more, verbose=0)

    model = Quiet([Input((2,)), Wide(1)])
    model.compile(optimizers.SGD(Stepwise()), Named())
    model.fit(X, Y, batch_size=1, callbacks=[Tells()])
    assert told == ["built", 0.5, 0.5, 0.25, 0.25]


def test_a_class_in_the_place_of_an_object_is_not_its_base_class() -> None:
    model = Sequential([Input((2,)), layers.Dense(1)])
    model.compile("sgd", Whole)
    with pytest.raises(TypeError, match="must be computed from y_true and y_pred"):
        model.evaluate(X, Y, verbose=0)
    model.compile("sgd", Ten)
    model.set_weights([np.full((2, 1), 2.0), np.zeros(1)])
    assert model.evaluate(X, Y, verbose=0) == 160.0
    model.compile("sgd", "mse", metrics=[FortyTwo])
    assert model.evaluate(X, Y, verbose=0)[1] == 42.0
    model.compile("sgd", losses.Huber, metrics=[metrics.RootMeanSquaredError])
    model.set_weights([np.full((2, 1), 2.0), np.zeros(1)])
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert logs == {"loss": 3.5, "root_mean_squared_error": 4.0}


def test_what_a_loss_returns_when_called_is_the_loss() -> None:
    class Sum(losses.Loss):
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return ops.sum(y_pred)

    class Twice(losses.MeanSquaredError):
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return 2.0 * super().__call__(y_true, y_pred, sample_weight)

    found = {}
    for loss in (Sum, Twice, losses.MeanSquaredError):
        model = compiled(loss=loss(), optimizer=SGD(0.5))
        model.set_weights([np.full((2, 1), 2.0), np.zeros(1)])
        before = model.evaluate(X, Y, verbose=0)
        model.train_on_batch(X, Y)
        found[loss.__name__] = before, model.get_weights()[1] * 2.0
    predictions = X @ np.full((2, 1), 2.0)
    np.testing.assert_allclose(found["Sum"][0], predictions.sum(), rtol=1e-6)
    np.testing.assert_allclose(found["Sum"][1], [-len(X)])
    plain = found["MeanSquaredError"]
    np.testing.assert_allclose(found["Twice"][0], 2 * plain[0], rtol=1e-6)
    np.testing.assert_allclose(found["Twice"][1], 2 * plain[1], rtol=1e-6)


@pytest.mark.parametrize("name", ["model.kurve", "model.keras"])
def test_a_loss_that_is_called_is_saved_by_its_class(name: str, tmp_path: Path) -> None:
    class Root(losses.Loss):
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return ops.sqrt(ops.mean(ops.square(y_true - y_pred)))

    model = compiled(loss=Root())
    expected = model.evaluate(X, Y, verbose=0)
    model.save(tmp_path / name)
    with pytest.raises(ValueError, match="Root"):
        load_model(tmp_path / name)
    loaded = load_model(tmp_path / name, custom_objects={"Root": Root})
    assert loaded.evaluate(X, Y, verbose=0) == pytest.approx(expected)


@pytest.mark.parametrize("first", [[Input((2,))], []])
def test_build_of_ones_own_is_called_once(first: list[Any]) -> None:
    seen = []

    class Tells(Sequential):
        def build(self, input_shape: Any = None) -> None:
            seen.append(input_shape)
            super().build(input_shape)

    model = Tells([*first, layers.Dense(3), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert seen == [(None, 2)]
    assert model.output_shape == (None, 1)
