"""A training with checkpoints that may be killed at any instant, for test_kill.py.

    trainee.py run FOLDER ENGINE CASE SEED    trains, or goes on, and writes result.json
    trainee.py serve                          a server that forks such trainings, which
                                              start in no time, and kills them

The server reads lines `delay FOLDER ENGINE CASE SEED` and answers each with the exit
status of the training, or with `killed` if that took longer than `delay` seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import traceback
import warnings
from typing import Any

import numpy as np

import kurve
from kurve import Input, Model, Sequential, callbacks, layers, optimizers, utils
from kurve.training.checkpoints import checkpointer

CASES = ("batches", "epochs", "backup", "time", "graph", "graph-backup", "stateful")


class Batches(callbacks.Callback):
    """A callback of a user's own: hooks in each batch, and a state of many types."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.state: dict[Any, Any] = {"calls": 0, 3: (None, True), "mean": np.zeros(2)}
        self.last = np.float32(0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.state["calls"] += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.losses.append(logs["loss"])
        self.last = np.float32(logs["loss"])
        self.state["mean"] = 0.9 * self.state["mean"] + [logs["mae"], batch]

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.state["calls"] += 100

    def get_state(self) -> dict[str, Any]:
        return {"losses": self.losses, "state": self.state, "last": self.last}

    def set_state(self, state: dict[str, Any]) -> None:
        self.losses, self.state = state["losses"], state["state"]
        self.last = state["last"]


def stack(case: str) -> Sequential:
    model = Sequential(
        [Input((3,)), layers.Dense(12, "tanh"), layers.Dropout(0.2), layers.Dense(1)]
    )
    rate: Any = 0.01
    if case == "epochs":
        rate = optimizers.schedules.CosineDecay(0.02, 250)
    model.compile(optimizers.Nadam(rate), "mse", metrics=["mae", "r2_score"])
    return model


def sequences() -> Sequential:
    """Recurrent layers whose states go from one batch to the next."""
    model = Sequential(
        [
            Input(batch_shape=(12, 9, 3)),
            layers.LSTM(4, stateful=True, return_sequences=True, dropout=0.2),
            layers.RNN(layers.LSTMCell(3, dropout=0.1, recurrent_dropout=0.1)),
            layers.RepeatVector(2),
            layers.GRU(3, stateful=True),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def graph() -> Model:
    """Two inputs, a layer of both, a model inside, two outputs; averages of weights,
    gradients added up over batches."""
    a, b = Input((3,), name="a"), Input((2,), name="b")
    shared = layers.Dense(6, "tanh", kernel_constraint="max_norm")
    inside = Input((6,))
    block = Model(
        inside,
        layers.Add()([inside, layers.Dropout(0.2)(layers.Dense(6, "relu")(inside))]),
    )
    h = [shared(a), block(shared(layers.Dense(3)(b)))]
    h = layers.BatchNormalization()(layers.Concatenate()(h))
    y = layers.Dense(1, name="y")(h)
    z = layers.Dense(2, "softmax", name="z")(layers.GaussianNoise(0.1)(h))
    model = Model([a, b], {"y": y, "z": z})
    model.compile(
        optimizers.AdamW(
            0.01,
            use_ema=True,
            ema_momentum=0.9,
            ema_overwrite_frequency=5,
            gradient_accumulation_steps=3,
            global_clipnorm=1.0,
        ),
        {"y": "mse", "z": "categorical_focal_crossentropy"},
        loss_weights={"y": 0.5, "z": 2.0},
        metrics={"y": ["mae", "r2_score"], "z": ["accuracy"]},
    )
    return model


def train(folder: str, engine: str, case: str, seed: int) -> None:
    """Train to the end and write what came of it.

    Args:
        seed: of the first process; those after it have others.
    """
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", r".*no value 'val_loss'")
    rows = {"native": 200_000, "reference": 2_500}[engine] if case == "long" else 180
    rng = np.random.default_rng(5)
    x = rng.normal(size=(rows, 3))
    y = np.sin(x.sum(axis=1)) + 0.3 * rng.normal(size=rows)
    kurve.set_engine(engine)
    utils.set_random_seed(seed)
    is_graph = case.startswith("graph")
    model: Any = graph() if is_graph else stack(case)
    if case == "stateful":
        model = sequences()
        x = np.stack([np.roll(x, shift, 0) for shift in range(9)], 1)
    used: list[callbacks.Callback] = [
        callbacks.EarlyStopping(patience=4, restore_best_weights=True),
        callbacks.CSVLogger(os.path.join(folder, "log.csv")),
        callbacks.ModelCheckpoint(
            os.path.join(folder, "best.kurve"), save_best_only=True
        ),
    ]
    if is_graph:
        classes = (y > 0).astype(int)
        x = [x, x[:, :2] ** 2]
        y = {"y": y[:, None], "z": np.eye(2)[classes]}
    if case != "epochs":
        used.append(callbacks.ReduceLROnPlateau(patience=1, factor=0.7, min_delta=0.01))
    options: dict[str, Any] = {"epochs": 12, "batch_size": 12, "verbose": 0}
    checkpoint = os.path.join(folder, "checkpoints")
    if case == "batches":  # windows of the rows, a write after every step
        used.append(Batches())
        options |= {"steps_per_epoch": 7, "validation_split": 0.2, "epochs": 6}
        options |= {"checkpoint": checkpoint, "checkpoint_freq": 1}
    elif case in ("graph", "stateful"):
        options |= {"validation_split": 0.2, "epochs": 6}
        options["shuffle"] = case == "graph"
        options |= {"checkpoint": checkpoint, "checkpoint_freq": 1}
    elif case == "epochs":
        weights = rng.uniform(0.5, 2.0, rows)
        options |= {"validation_data": (x[:50], y[:50], weights[:50])}
        options |= {"sample_weight": weights, "epochs": 16}
        options |= {"checkpoint": checkpoint, "checkpoint_freq": "epoch"}
    elif case in ("backup", "graph-backup"):
        options |= {"validation_split": 0.25, "validation_freq": 2}
        used.append(callbacks.BackupAndRestore(checkpoint, save_freq=4))
    elif case == "long":  # without a signal, nothing is written between begin and end
        checkpointer.MIN_SECONDS = 1e9
        options |= {"validation_split": 0.4, "checkpoint": checkpoint}
    else:
        checkpointer.MIN_SECONDS, checkpointer.MAX_FRACTION = 0.0, 0.5
        checkpointer.POLL_SECONDS = 0.001
        options |= {"validation_split": 0.2, "checkpoint": checkpoint}
    history = model.fit(x, y, callbacks=used, **options)
    state = model._network.state
    assert state is not None
    result = {
        "weights": [digest(w) for w in model.get_weights()],
        "states": digest(state.buffers),
        "optimizer": [digest(state.slots), digest(state.scalars), state.step],
        "rate": repr(model.optimizer.get_config()),
        "seed": state.seed,
        "history": repr(history.history) + repr(history.epoch),
        "callbacks": [shown(c.get_state()) for c in used],
        "files": [content(folder, "log.csv"), content(folder, "best.kurve")],
    }
    with open(os.path.join(folder, "result.json"), "w", encoding="utf-8") as file:
        json.dump(result, file)


def shown(value: Any) -> Any:
    """With every bit, and with the types."""
    if isinstance(value, dict):
        return [[shown(k), shown(v)] for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, [shown(v) for v in value]]
    if isinstance(value, (np.ndarray, np.generic)):
        return [type(value).__name__, value.dtype.str, digest(np.asarray(value))]
    return repr(value)


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def content(folder: str, name: str) -> str:
    with open(os.path.join(folder, name), "rb") as file:
        return file.read().hex()


def child(folder: str, engine: str, case: str, seed: str) -> int:
    """The exit status of a training in this process."""
    try:
        train(folder, engine, case, int(seed))
    except Exception:
        with open(os.path.join(folder, "error.txt"), "a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        return 1
    return 0


def serve() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for line in sys.stdin:
        delay, *words = line.split()
        process = os.fork()
        if process == 0:
            os._exit(child(*words))
        killed = signal.sigtimedwait({signal.SIGCHLD}, float(delay)) is None
        if killed:
            os.kill(process, signal.SIGKILL)
            with contextlib.suppress(InterruptedError):
                signal.sigtimedwait({signal.SIGCHLD}, 5.0)
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        print("killed" if code == -signal.SIGKILL else code, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        kurve.set_engine("native")  # what takes time to load
        serve()
    else:
        sys.exit(child(*sys.argv[2:]))
