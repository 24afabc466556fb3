"""Checkpoints of models with steps of their own: a fit that was killed goes on with the
same bits."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, ops
from kurve.callbacks import BackupAndRestore, Callback
from kurve.errors import CheckpointError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 3)).astype("float32") + 1.0
Y = X.sum(axis=1, keepdims=True)
OUTSIDE = kurve.optimizers.Adam(0.01)
"""An optimizer that no model has."""


class Mean(kurve.metrics.Metric):
    """Counts by itself."""

    def __init__(self, name: str = "own", **common: Any) -> None:
        super().__init__(name=name, **common)
        self.total, self.count = self.add_weight(name="t"), self.add_weight(name="c")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(np.abs(np.asarray(y_pred) - np.asarray(y_true)).sum())
        self.count.assign_add(len(y_true))

    def result(self) -> float:
        return float(self.total / self.count)


class Stepping(kurve.Model):
    """A step that is compiled."""

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with kurve.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return self.get_metrics_result()


class GAN(kurve.Model):
    """Two optimizers, and random numbers from everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.d = kurve.Sequential(
            [
                kurve.Input((3,)),
                layers.Dense(6, "relu"),
                layers.Dropout(0.3),
                layers.Dense(1),
            ]
        )
        self.g = kurve.Sequential(
            [
                kurve.Input((2,)),
                layers.Dense(4),
                layers.BatchNormalization(),
                layers.Dense(3),
            ]
        )
        self.seeds = kurve.random.SeedGenerator(5)
        self.steps: list[int] = []
        self.mean = kurve.metrics.Mean(name="d")
        self.rate = kurve.metrics.BinaryAccuracy(name="rate")

    def compile(self, d_optimizer: Any, g_optimizer: Any) -> None:  # type: ignore[override]
        super().compile(optimizer=d_optimizer)
        self.both = {"d": d_optimizer, "g": [g_optimizer]}

    @property
    def metrics(self) -> list[Any]:
        return [self.mean, self.rate]

    def train_step(self, data: Any) -> dict[str, Any]:
        x, n = data[0], len(data[0])
        z = kurve.random.normal((n, 2), seed=self.seeds)
        z = z + kurve.random.normal((n, 2)) + np.random.normal() * random.random()  # noqa: NPY002
        loss_of = kurve.losses.BinaryCrossentropy(from_logits=True)
        with kurve.GradientTape() as tape:
            made = self.d(self.g(z, training=True), training=True)
            loss = loss_of(ops.zeros((n, 1)), made)
            loss = loss + loss_of(ops.ones((n, 1)), self.d(x, training=True))
        weights = self.d.trainable_weights
        self.both["d"].apply(tape.gradient(loss, weights), weights)
        with kurve.GradientTape() as tape:
            found = self.d(self.g(z, training=True), training=True)
            loss = loss_of(ops.ones((n, 1)), found)
        weights = self.g.trainable_weights
        optimizer = OUTSIDE if len(self.steps) % 3 == 0 else self.both["g"][0]
        optimizer.apply(tape.gradient(loss, weights), weights)
        self.mean.update_state(loss)
        self.rate.update_state(ops.ones((n, 1)), found)
        self.steps.append(n)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data: Any) -> dict[str, Any]:
        found = self.d(data[0], training=False)
        self.rate.update_state(ops.ones_like(found), found)
        return {"rate": self.rate.result()}


class Kill(Callback):
    """Ends the process, as it were, after so many steps."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.after -= 1
        if not self.after:
            raise KeyError("killed")


def stepping() -> Any:
    kurve.utils.set_random_seed(3)
    inputs = kurve.Input((3,))
    h = layers.Dropout(0.2)(layers.Dense(6, "tanh")(inputs))
    model = Stepping(inputs, layers.Dense(1)(layers.BatchNormalization()(h)))
    rate = kurve.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9)
    model.compile(kurve.optimizers.Adam(rate, use_ema=True), "mse", metrics=["mae"])
    return model


class Coded(kurve.Model):
    """Layers in `call`, and steps that leave the metrics of `compile` alone."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = layers.Dense(5, "tanh"), layers.Dense(1, "sigmoid")

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(x))

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with kurve.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def coded() -> Any:
    kurve.utils.set_random_seed(5)
    model = Coded()
    model.compile("adam", "mse", metrics=["accuracy"])
    return model


def gan() -> Any:
    kurve.utils.set_random_seed(1)
    np.random.seed(2)  # noqa: NPY002
    random.seed(3)
    OUTSIDE.applier = None
    model = GAN()
    model.compile(kurve.optimizers.Adam(0.01), kurve.optimizers.RMSprop(0.01))
    return model


def measured() -> Any:
    kurve.utils.set_random_seed(4)
    inputs = kurve.Input((3,))
    model = kurve.Model(inputs, layers.Dense(1)(layers.Dense(5, "relu")(inputs)))
    model.compile("rmsprop", "mse", metrics=[Mean()])
    return model


class Signs(kurve.optimizers.Adam):
    """It goes a step of one size now and then."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.signs = self.add_optimizer_variables(variables, "sign")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        sign = self.signs[self._get_variable_index(variable)]
        self.assign(sign, np.sign(gradient) + 0.5 * sign)
        super().update_step(gradient + sign, variable, learning_rate)


def signs() -> Any:
    kurve.utils.set_random_seed(4)
    model = kurve.Sequential([kurve.Input((3,)), layers.Dense(5, "relu")])
    model.add(layers.Dropout(0.2))
    model.add(layers.Dense(1))
    model.compile(Signs(0.01, use_ema=True), "mse")
    return model


def bits(model: Any) -> list[Any]:
    return [w.tobytes() for w in model.get_weights()] + [getattr(model, "steps", 0)]


@pytest.mark.parametrize("make", [stepping, gan, measured, signs, coded])
@pytest.mark.parametrize(("after", "freq"), [(2, 1), (9, 2), (8, "epoch")])
def test_a_killed_fit_goes_on_with_the_same_bits(
    make: Any, after: int, freq: Any, tmp_path: Path
) -> None:
    def run(kill: int, **given: Any) -> tuple[list[Any], Any]:
        model = make()
        history = model.fit(
            X,
            Y,
            batch_size=16,
            epochs=3,
            verbose=0,
            validation_data=(X[:20], Y[:20]),
            callbacks=[Kill(kill)],
            **given,
        )
        return bits(model), history.history

    at_once = run(99, checkpoint=tmp_path / "other")
    given = {"checkpoint": tmp_path / "checkpoints", "checkpoint_freq": freq}
    with pytest.raises(KeyError, match="killed"):
        run(after, **given)
    for _ in range(2):  # the second time nothing is left to train
        learned, logs = run(99, **given)
        assert learned == at_once[0]
        for name, values in at_once[1].items():
            assert logs[name] == pytest.approx(values, rel=1e-7)


def test_backup_and_restore(tmp_path: Path) -> None:
    def fit(*more: Any) -> Any:
        model = stepping()
        model.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[*more])
        return bits(model)

    with pytest.raises(KeyError):
        fit(BackupAndRestore(tmp_path / "a"), Kill(8))
    assert fit(BackupAndRestore(tmp_path / "a"), Kill(99)) == fit(Kill(99))
    assert not list((tmp_path / "a").glob("*.kurve"))


def test_a_log_file_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"

    def fit(*more: Callback) -> None:
        stepping().fit(
            X,
            Y,
            batch_size=16,
            epochs=3,
            verbose=0,
            callbacks=[kurve.callbacks.CSVLogger(path), *more],
            checkpoint=tmp_path / "checkpoints",
            checkpoint_freq=1,
        )

    with pytest.raises(KeyError, match="killed"):
        fit(Kill(12))
    fit(Kill(99))
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == [
        "epoch",
        "0",
        "1",
        "2",
    ]


def test_another_call_is_refused(tmp_path: Path) -> None:
    given = {"epochs": 1, "verbose": 0, "checkpoint": tmp_path / "c"}
    stepping().fit(X, Y, **given)
    with pytest.raises(CheckpointError, match=r"x.*has different values"):
        stepping().fit(X + 1, Y, **given)
    with pytest.raises(CheckpointError, match='model was "Stepping", and is "Model"'):
        measured().fit(X, Y, **given)
    with pytest.raises(ValueError, match="cannot be read again"):
        stepping().fit(iter([(X, Y)]), **given)


def test_weights_of_own_steps_in_files(tmp_path: Path) -> None:
    path = tmp_path / "w-{epoch}.weights.h5"
    saving = kurve.callbacks.ModelCheckpoint(path, save_weights_only=True)
    model = stepping()
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[saving], validation_data=(X, Y))
    again = stepping()
    again.load_weights(tmp_path / "w-2.weights.h5")
    model.load_weights(tmp_path / "w-2.weights.h5")
    assert bits(again) == bits(model)
