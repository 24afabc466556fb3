"""Each callback does what Keras's does."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, callbacks, optimizers, utils
from kurve.layers import Dense
from kurve.models import load_model

X = np.linspace(-1.0, 1.0, 12)
Y = 2.0 * X


class Scripted(callbacks.Callback):
    """Puts values of one's choice into the logs, before the callbacks that watch."""

    def __init__(self, **values: list[float]) -> None:
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs.update({name: value[epoch] for name, value in self.values.items()})


def model_of(optimizer: Any = "sgd", **compiled: Any) -> Sequential:
    utils.set_random_seed(1)
    model = Sequential([Input((1,)), Dense(3, "tanh"), Dense(1)])
    model.compile(optimizer, "mse", **compiled)
    return model


def run(model: Sequential, *used: callbacks.Callback, epochs: int, **options: Any):
    return model.fit(
        X,
        Y,
        epochs=epochs,
        verbose=0,
        callbacks=list(used),
        **{"batch_size": 4, **options},
    )


# What EarlyStopping watches, its arguments, the number of epochs that run.
FALLING = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5]
STOPS = [
    (FALLING, {}, 6),
    ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], {}, 2),
    ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], {"patience": 2}, 3),
    ([3.0, 3.1, 2.0, 2.1, 2.2, 2.3], {"patience": 2}, 5),
    ([5.0, 4.9, 4.8, 4.7, 4.6, 4.5], {"min_delta": 0.5}, 2),
    ([5.0, 4.9, 4.8, 4.7, 4.6, 4.5], {"min_delta": 0.5, "patience": 3}, 4),
    ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], {"mode": "max"}, 6),
    (FALLING, {"mode": "max", "patience": 1}, 2),
    (FALLING, {"baseline": 0.1, "patience": 2}, 6),
    ([3.0, 3.0, 3.0, 3.0, 3.0, 3.0], {"baseline": 1.0, "patience": 2}, 2),
    ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], {"start_from_epoch": 3}, 5),
    ([1.0, np.nan, np.nan, 0.5, 0.4, 0.3], {"patience": 2}, 3),
    ([np.nan, 1.0, 0.9, 0.8, 0.7, 0.6], {"patience": 2}, 6),
]


@pytest.mark.parametrize(("values", "arguments", "epochs"), STOPS)
def test_early_stopping(
    values: list[float], arguments: dict[str, Any], epochs: int
) -> None:
    stop = callbacks.EarlyStopping("watched", **{"mode": "min", **arguments})
    history = run(model_of(), Scripted(watched=values), stop, epochs=6)
    assert len(history.epoch) == epochs
    assert stop.stopped_epoch == (epochs - 1 if epochs < 6 else 0)


@pytest.mark.parametrize("patience", [1, 10])
def test_early_stopping_restores_the_best_weights(engine: str, patience: int) -> None:
    """Whether it stopped or not, as in Keras 3."""
    seen = []
    keep = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(model.get_weights())
    )
    stop = callbacks.EarlyStopping(
        "watched", mode="min", patience=patience, restore_best_weights=True
    )
    model = model_of()
    run(model, Scripted(watched=[3.0, 1.0, 2.0, 2.0]), keep, stop, epochs=4)
    assert stop.best_epoch == 1
    for now, best in zip(model.get_weights(), seen[1], strict=True):
        np.testing.assert_array_equal(now, best)


def test_early_stopping_can_be_used_twice() -> None:
    stop = callbacks.EarlyStopping("watched", mode="min")
    scripted = Scripted(watched=[1.0, 2.0, 3.0])
    assert len(run(model_of(), scripted, stop, epochs=3).epoch) == 2
    assert len(run(model_of(), scripted, stop, epochs=3).epoch) == 2


@pytest.mark.parametrize(
    ("monitor", "upwards"),
    [("loss", False), ("mae", False), ("val_r2", True), ("accuracy", True)],
)
def test_direction_comes_from_the_metric(monitor: str, upwards: bool) -> None:
    model = model_of(metrics=["mae", "r2", "accuracy"])
    values = [1.0, 2.0, 3.0, 4.0] if upwards else [4.0, 3.0, 2.0, 1.0]
    for script, epochs in ((values, 4), (values[::-1], 2)):
        scripted = Scripted(**{monitor: script})
        stop = callbacks.EarlyStopping(monitor)
        assert len(run(model, scripted, stop, epochs=4).epoch) == epochs


def test_unknown_direction_and_missing_value() -> None:
    scripted = Scripted(mine=[1.0, 2.0, 3.0])
    message = r"unknown monitor\. Received: 'mine'.*try mode='min' or mode='max'"
    with pytest.raises(ValueError, match=message):
        run(model_of(), scripted, callbacks.EarlyStopping("mine"), epochs=3)
    with pytest.warns(RuntimeWarning, match=r"no value 'val_loss' to .*ble: loss"):
        run(model_of(), callbacks.EarlyStopping(), epochs=1)


def test_reduce_lr_on_plateau() -> None:
    """Cut after `patience` bad epochs, then rest, and never below min_lr."""
    values = [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 1.0]
    reduce = callbacks.ReduceLROnPlateau(
        "watched", factor=0.5, patience=2, cooldown=1, min_lr=0.2, mode="min"
    )
    model = model_of(optimizers.SGD(0.5))
    history = run(model, Scripted(watched=values), reduce, epochs=8)
    rates = [0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]
    assert history.history["learning_rate"] == pytest.approx(rates)


def test_reduce_lr_counts_small_gains_as_none() -> None:
    reduce = callbacks.ReduceLROnPlateau("watched", patience=1, mode="min")
    values = [1.0, 1.0 - 5e-5, 0.5, 0.4]
    model = model_of(optimizers.SGD(1.0))
    history = run(model, Scripted(watched=values), reduce, epochs=4)
    assert history.history["learning_rate"] == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_reduce_lr_refuses_a_schedule() -> None:
    model = model_of(optimizers.SGD(optimizers.schedules.CosineDecay(0.1, 5)))
    with pytest.raises(TypeError, match=r"must be a number.*Received: CosineDecay"):
        run(model, callbacks.ReduceLROnPlateau(), epochs=1)


@pytest.mark.parametrize("arguments", [1, 2])
def test_learning_rate_scheduler(engine: str, arguments: int) -> None:
    """Functions of (epoch) and of (epoch, rate)."""
    schedule = {
        1: lambda epoch: 0.1 / (epoch + 1),
        2: lambda epoch, rate: rate if epoch == 0 else rate * 0.5,
    }[arguments]
    model = model_of(optimizers.SGD(0.1))
    history = run(model, callbacks.LearningRateScheduler(schedule), epochs=3)
    rates = {1: [0.1, 0.05, 0.1 / 3], 2: [0.1, 0.05, 0.025]}[arguments]
    assert history.history["learning_rate"] == pytest.approx(rates)
    still = model_of(optimizers.SGD(0.1))
    before = still.get_weights()[0]
    run(still, callbacks.LearningRateScheduler(lambda epoch: 1e-30), epochs=1)
    np.testing.assert_array_equal(still.get_weights()[0], before)


@pytest.mark.parametrize(
    ("rate", "error"), [("fast", TypeError), (None, TypeError), (-1.0, ValueError)]
)
def test_learning_rate_scheduler_needs_a_rate(
    rate: Any, error: type[Exception]
) -> None:
    model = model_of(optimizers.SGD(0.1))
    with pytest.raises(error, match="Received: "):
        run(model, callbacks.LearningRateScheduler(lambda epoch: rate), epochs=1)
    assert model.optimizer is not None
    assert model.optimizer.learning_rate == 0.1


def test_csv_logger(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    logger = callbacks.CSVLogger(path)
    history = run(
        model_of(metrics=["mae"]), logger, epochs=2, validation_data=(X, Y)
    ).history
    lines = path.read_text().splitlines()
    assert lines[0] == "epoch,loss,mae,val_loss,val_mae"
    assert len(lines) == 3
    for epoch, row in enumerate(csv.DictReader(lines)):
        assert int(row.pop("epoch")) == epoch
        assert {name: float(v) for name, v in row.items()} == {
            name: values[epoch] for name, values in history.items()
        }
    run(model_of(metrics=["mae"]), logger, epochs=1)
    assert len(path.read_text().splitlines()) == 2, "begun anew"


def test_csv_logger_appends_and_separates(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    logger = callbacks.CSVLogger(path, separator=";", append=True)
    model = model_of()
    run(model, logger, epochs=2)
    run(model, logger, epochs=3, initial_epoch=2)
    rows = list(csv.DictReader(path.read_text().splitlines(), delimiter=";"))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]


def test_csv_logger_keeps_validation_that_starts_late(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    options: dict[str, Any] = {"validation_data": (X, Y), "validation_freq": 2}
    history = run(model_of(), callbacks.CSVLogger(path), epochs=2, **options).history
    first, second = csv.DictReader(path.read_text().splitlines())
    assert first["val_loss"] == "NA"
    assert float(second["val_loss"]) == history["val_loss"][0]


def test_lambda_callback() -> None:
    seen: list[Any] = []
    run(
        model_of(),
        callbacks.LambdaCallback(
            on_train_begin=lambda logs: seen.append("begin"),
            on_train_end=lambda logs: seen.append("end"),
            on_epoch_begin=lambda epoch, logs: seen.append(epoch),
            on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)),
            on_train_batch_begin=lambda batch, logs: seen.append(f"<{batch}"),
            on_train_batch_end=lambda batch, logs: seen.append(f"{batch}>"),
        ),
        epochs=1,
    )
    steps = ["<0", "0>", "<1", "1>", "<2", "2>"]
    assert seen == ["begin", 0, *steps, ["loss"], "end"]


def test_history() -> None:
    model = model_of(metrics=["mae"])
    history = run(model, epochs=3, validation_split=0.25)
    assert history is model.history
    assert history.epoch == [0, 1, 2]
    assert list(history.history) == ["loss", "mae", "val_loss", "val_mae"]
    assert all(len(values) == 3 for values in history.history.values())
    assert all(type(v) is float for values in history.history.values() for v in values)


def test_old_batch_hooks_are_called() -> None:
    """on_batch_begin and on_batch_end, the short names."""

    class Old(callbacks.Callback):
        seen = 0

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seen += 1

    old = Old()
    run(model_of(), old, epochs=2)
    assert old.seen == 6


def test_stop_training_within_an_epoch(engine: str) -> None:
    """The rest of the epoch is not run; its logs are those of the steps done."""

    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 1

    model = model_of()
    history = run(model, Stop(), epochs=5)
    assert model.iterations == 2
    assert history.epoch == [0]
    run(model, epochs=1)
    assert model.iterations == 5, "the next fit starts with a clean flag"


@pytest.mark.parametrize("one", [True, False])
def test_one_callback_or_several(one: bool) -> None:
    stop = callbacks.EarlyStopping("loss")
    model_of().fit(X, Y, verbose=0, callbacks=stop if one else (stop,))
    assert stop.model is not None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: callbacks.ReduceLROnPlateau(factor=1.0), r"factor must .*factor=1.0"),
        (lambda: callbacks.EarlyStopping(mode="up"), "unknown mode. Received: 'up'"),
        (lambda: callbacks.ModelCheckpoint("m.pb"), r"end in '.kurve' or .*m.kurve"),
        (
            lambda: callbacks.ModelCheckpoint("m.kurve", save_weights_only=True),
            r"end in '.weights.kurve' or .*Try 'm.weights.kurve'",
        ),
        (lambda: callbacks.ModelCheckpoint("m.kurve", save_freq=0), "save_freq must"),
        (lambda: callbacks.ModelCheckpoint("m.kurve", save_freq="step"), "'step'"),
    ],
)
def test_wrong_arguments(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^\[\w+\] .*{text}"):
        make()


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (callbacks.EarlyStopping, "patience"),
        (callbacks.EarlyStopping, "min_delta"),
        (callbacks.EarlyStopping, "baseline"),
        (callbacks.EarlyStopping, "start_from_epoch"),
        (callbacks.ReduceLROnPlateau, "patience"),
        (callbacks.ReduceLROnPlateau, "factor"),
        (callbacks.ReduceLROnPlateau, "cooldown"),
        (callbacks.ReduceLROnPlateau, "min_lr"),
    ],
)
def test_numbers_given_as_text(make: Any, argument: str) -> None:
    text = (
        rf"^\[{make.__name__}\] {argument} must be a number. Received: {argument}='2'"
    )
    with pytest.raises(TypeError, match=text):
        make(**{argument: "2"})
    assert callbacks.EarlyStopping(patience=np.inf).patience == np.inf  # type: ignore[arg-type]


class Batches(callbacks.Callback):
    """Writes down the batches of evaluation and prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def on_test_batch_begin(self, batch: int, logs: object = None) -> None:
        self.seen.append(batch)

    def on_test_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.seen.append(logs["loss"])

    def on_predict_batch_end(self, batch: int, logs: dict[str, np.ndarray]) -> None:
        self.seen.append(logs["outputs"])


def test_batches_of_evaluate_and_predict(engine: str) -> None:
    net = Sequential([Input(shape=(1,)), Dense(1)])
    net.compile("sgd", "mse")
    x = np.linspace(0, 1, 10)
    watch = Batches()
    loss = net.evaluate(x, x, batch_size=4, callbacks=watch, verbose=0)
    assert watch.seen[0::2] == [0, 1, 2]
    assert watch.seen[5] == loss == net.evaluate(x, x, batch_size=4, verbose=0)
    watch = Batches()
    y = net.predict(x, batch_size=4, callbacks=watch, verbose=0)
    assert [len(part) for part in watch.seen] == [4, 4, 2]
    np.testing.assert_array_equal(y, net.predict(x, verbose=0))
    watch = Batches()
    net.fit(x, x, validation_split=0.5, callbacks=watch, verbose=0, batch_size=3)
    assert watch.seen[0::2] == [0, 1]


WATCHING: dict[str, Callable[..., callbacks.Callback]] = {
    "EarlyStopping": callbacks.EarlyStopping,
    "ReduceLROnPlateau": callbacks.ReduceLROnPlateau,
    "ModelCheckpoint": lambda **given: callbacks.ModelCheckpoint(
        "m.kurve", save_best_only=True, **given
    ),
}


@pytest.mark.parametrize("kind", WATCHING)
@pytest.mark.parametrize(
    ("monitor", "meant"),
    [("val_los", "val_loss"), ("los", "loss"), ("val_ame", "val_mae")],
)
def test_an_unknown_monitor_is_refused_before_the_first_step(
    kind: str, monitor: str, meant: str
) -> None:
    model = model_of(metrics=["mae"])
    before = model.get_weights()
    message = rf"\[{kind}\] unknown monitor\. Received: '{monitor}'.*mean '{meant}'\?"
    with pytest.raises(ValueError, match=message):
        run(model, WATCHING[kind](monitor=monitor), epochs=3)
    assert model.iterations == 0
    assert all(map(np.array_equal, before, model.get_weights()))
    assert len(run(model, epochs=2).epoch) == 2


def test_the_last_logs_at_the_end_of_training() -> None:
    """Those of the last epoch, with what other callbacks have put in; none before."""
    told: list[Any] = []

    class End(callbacks.Callback):
        def on_train_end(self, logs: Any = None) -> None:
            told.append(dict(logs))

    model = model_of(metrics=["mae"])
    reduce = callbacks.ReduceLROnPlateau("loss")
    history = run(model, reduce, End(), epochs=3, validation_split=0.25)
    assert told.pop() == {name: v[-1] for name, v in history.history.items()}
    assert set(history.history) == {
        "loss",
        "mae",
        "val_loss",
        "val_mae",
        "learning_rate",
    }
    run(model, End(), epochs=0)
    assert told.pop() == {}


@pytest.mark.parametrize("name", ["m.kurve", "m.keras", "m.h5"])
def test_checkpoints_of_all_kinds_of_model_files(name: str, tmp_path: Path) -> None:
    if name != "m.kurve":
        pytest.importorskip("h5py")
    model = model_of()
    best = callbacks.ModelCheckpoint(tmp_path / name, "loss", save_best_only=True)
    run(model, best, epochs=2)
    assert np.array_equal(load_model(tmp_path / name).predict(X), model.predict(X))


@pytest.mark.parametrize("name", ["m.weights.kurve", "m.weights.h5"])
def test_checkpoints_of_all_kinds_of_weights(name: str, tmp_path: Path) -> None:
    if name.endswith("h5"):
        pytest.importorskip("h5py")
    model = model_of()
    kept = callbacks.ModelCheckpoint(tmp_path / name, save_weights_only=True)
    run(model, kept, epochs=2)
    twin = model_of()
    twin.load_weights(tmp_path / name)
    assert all(map(np.array_equal, twin.get_weights(), model.get_weights()))


@pytest.mark.parametrize(
    ("name", "weights"),
    [("m.pkl", False), ("m.weights.h5", False), ("m.pkl", True), ("m.weights", True)],
)
def test_endings_of_checkpoints(name: str, weights: bool) -> None:
    with pytest.raises(ValueError, match=r"\[ModelCheckpoint\] filepath must end in "):
        callbacks.ModelCheckpoint(name, save_weights_only=weights)


def test_what_is_monitored_needs_a_compiled_model() -> None:
    callback = callbacks.EarlyStopping("loss", restore_best_weights=True)
    callback.set_model(Sequential())
    with pytest.raises(
        RuntimeError, match=r"^\[EarlyStopping\] the model must be comp"
    ):
        callback.on_train_begin()


def test_the_average_needs_an_optimizer_that_keeps_one() -> None:
    model = Sequential([Input((2,)), Dense(1)])
    model.compile("sgd", "mse")
    x = np.zeros((4, 2))
    swap = callbacks.SwapEMAWeights()
    with pytest.raises(ValueError, match=r"Try SGD\(use_ema=True\)"):
        model.evaluate(x, x[:, :1], callbacks=[swap], verbose=0)
    with pytest.raises(TypeError, match="swap_on_epoch"):
        callbacks.SwapEMAWeights("yes")  # type: ignore[arg-type]
