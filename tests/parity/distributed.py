"""A program that several processes run: trains models, and writes what they learned
to a folder. Arguments: the folder, and what to do."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers

X = np.arange(0.0, 20.0, 0.1, dtype=np.float32)[:, None]
Y = np.sin(X)
RANK = os.environ.get("RANK", "0")


def network(*between: Callable[[], Any], **dense: Any) -> Any:
    """The article's network, smaller, with layers behind each of its layers."""
    model = kurve.Sequential()
    normalization = layers.Normalization()
    normalization.adapt(X)
    model.add(normalization)
    for _ in range(3):
        model.add(layers.Dense(32, "relu", **dense))
        for make in between:
            model.add(make())
    model.add(layers.Dense(1))
    return model


def two_outputs() -> Any:
    x = kurve.Input((1,))
    h = layers.Dense(16, "tanh")(x)
    return kurve.Model(x, [layers.Dense(1, name=name)(h) for name in "ab"])


def masked() -> Any:
    x = kurve.Input((4, 1))
    h = layers.BatchNormalization()(layers.Masking(mask_value=0.0)(x))
    return kurve.Model(x, layers.Dense(1)(layers.GRU(8, dropout=0.2)(h)))


MODELS: dict[str, Callable[[], Any]] = {
    "plain": network,
    "penalty": lambda: network(kernel_regularizer="l2"),
    "dropout": lambda: network(lambda: layers.Dropout(0.1)),
    "noise": lambda: network(lambda: layers.GaussianNoise(0.05)),
    "batch": lambda: network(layers.BatchNormalization),
    "all": lambda: network(
        layers.BatchNormalization,
        lambda: layers.Dropout(0.1),
        lambda: layers.ActivityRegularization(l2=1e-3),
    ),
    "weights": network,
    "sum": network,
    "outputs": two_outputs,
    "masked": masked,
    "few": network,
}


def train(name: str, **more: Any) -> tuple[Any, Any]:
    """Fit one of the models with uneven batches: 200 steps of the one with all layers,
    fewer of the others."""
    kurve.utils.set_random_seed(3)
    model = MODELS[name]()
    loss: Any = "mse"
    if name == "sum":
        loss = kurve.losses.MeanSquaredError("mean_with_sample_weight")
    metrics = [["mae"], ["mae"]] if name == "outputs" else ["mae"]
    model.compile(kurve.optimizers.Adam(1e-3, clipnorm=5.0), loss, metrics=metrics)
    x, y = X, Y
    if name == "masked":
        x = (X.reshape(50, 4, 1) - 10.0) * (np.arange(50) % 3 > 0)[:, None, None]
        y = Y[::4]
    if name == "outputs":
        y = [Y, 2.0 * Y]
    epochs = 22 if name == "all" or more else 3
    given: dict[str, Any] = {"steps_per_epoch": 9, "verbose": 0, **more}
    given["epochs"] = epochs
    if name == "few":
        given |= {"steps_per_epoch": None, "batch_size": 3, "epochs": 2}
    if name in ("weights", "sum"):
        given["sample_weight"] = np.linspace(0.0, 2.0, len(X))
    return model, model.fit(x, y, **given)


def save(folder: str, name: str, model: Any, history: Any) -> None:
    to = Path(folder, f"{name}-{RANK}.npz")
    group = kurve.core.processes.active()
    shared = group is not None and bool(group._memory)
    np.savez(
        to, *model.get_weights(), loss=history.history["loss"], shared_memory=shared
    )


class Kill(kurve.callbacks.Callback):
    """Ends one process the hard way, once."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.mark = Path(folder, "killed")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 5 and RANK == "1" and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Interrupt(kurve.callbacks.Callback):
    """Sends one process a Ctrl-C in the middle of a step's calls."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.model.optimizer.iterations == 20 and RANK == "1":
            group = kurve.core.processes.active()
            assert group is not None
            with group.training():
                os.kill(os.getpid(), signal.SIGINT)


def main(folder: str, what: str) -> None:
    """`what` may end with the name of an engine, behind a point; "torch:cuda" is a GPU
    that the CPU simulates."""
    what, _, engine = what.partition(".")
    if engine == "torch:cuda":
        from tests.engines.simulated import gpu

        with pytest.MonkeyPatch.context() as patch, gpu(patch):
            kurve.set_engine(engine)
            run(folder, what)
        return
    if engine:
        kurve.set_engine(engine)
    run(folder, what)


def run(folder: str, what: str) -> None:
    kurve.distribution.set_distribution(kurve.distribution.DataParallel())
    if what == "models":
        for name in MODELS:
            save(folder, name, *train(name))
    elif what == "one":
        save(folder, "batch", *train("batch"))
    elif what == "apart":  # as on several machines, whose processes share no memory
        kurve.core.processes._Memory.FOLDER = "/nowhere"
        for name in ("all", "weights"):
            save(folder, name, *train(name))
    elif what == "restart":
        logger = kurve.callbacks.CSVLogger(str(Path(folder, "log.csv")))
        callbacks = [Kill(folder), logger]
        checkpoint = str(Path(folder, "checkpoint"))
        save(folder, "all", *train("all", callbacks=callbacks, checkpoint=checkpoint))
    elif what == "interrupt":
        try:
            train("plain", callbacks=[Interrupt()])
        except KeyboardInterrupt:
            Path(folder, f"interrupted-{RANK}").touch()
    elif what == "lost":
        try:
            train("plain", callbacks=[Kill(folder)])
        except kurve.distribution.DistributionError as error:
            Path(folder, f"error-{RANK}").write_text(str(error))
    elif what == "other":
        model = network(layers.BatchNormalization) if RANK == "1" else network()
        model.compile("sgd", "mse")
        try:
            model.fit(X, Y, verbose=0)
        except kurve.distribution.DistributionError as error:
            Path(folder, f"error-{RANK}").write_text(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
