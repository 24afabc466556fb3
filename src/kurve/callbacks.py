"""Callbacks: what happens between epochs and batches. Names, arguments and behaviour
are Keras's.

The engine runs a whole epoch in one call. Only a callback with a batch hook of its own
makes `fit` stop after every batch.
"""

from __future__ import annotations

import csv
import math
import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from kurve.errors import lookup, path_name
from kurve.optimizers.schedules import LearningRateSchedule

Logs = dict[str, float]


class Callback:
    """Base class. Override what you need; the model is `self.model`, the arguments of
    `fit` are `self.params` ("epochs", "steps", "verbose", and "resumed", which is true,
    in a `fit` that goes on from a checkpoint).

    A callback that remembers something from one epoch or batch to the next overrides
    `get_state` and `set_state` too, so that checkpoints hold it:

        def get_state(self):
            return {"seen": self.seen}

        def set_state(self, state):
            self.seen = state["seen"]
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None: ...
    def on_train_end(self, logs: Logs | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_test_begin(self, logs: Logs | None = None) -> None: ...
    def on_test_end(self, logs: Logs | None = None) -> None: ...
    def on_predict_begin(self, logs: Logs | None = None) -> None: ...
    def on_predict_end(self, logs: Logs | None = None) -> None: ...
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_end(batch, logs)

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint shall hold of this callback: numbers, text, None, lists,
        tuples, dictionaries and NumPy arrays. Called between whole steps."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` gave, in a new process maybe. Called once, after
        `on_train_begin`; in the middle of an epoch, its `on_epoch_begin` does not come
        again."""

    def has_batch_hooks(self, kind: str) -> bool:
        """Whether "train", "test" or "predict" must stop after every batch for this
        callback."""
        hooks = [f"on_{kind}_batch_begin", f"on_{kind}_batch_end"]
        if kind == "train":
            hooks += ["on_batch_begin", "on_batch_end"]
        return any(overrides(self, hook) for hook in hooks)

    def handles_non_finite(self) -> bool:
        """Whether a loss that is not finite shall end `fit` without an error."""
        return False


def overrides(callback: Callback, hook: str) -> bool:
    """Whether a callback has a hook of its own."""
    return hook in vars(callback) or (
        getattr(type(callback), hook) is not getattr(Callback, hook)
    )


def as_list(
    callbacks: Callback | Iterable[Callback] | None, where: str
) -> list[Callback]:
    """The callbacks given to a method, one, several or none, as a list.

    Raises:
        TypeError: something else than a callback.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        callbacks = [callbacks]
    given = list(callbacks)
    for callback in given:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"[{where}] callbacks must be objects of kurve.callbacks.Callback. "
                f"Received: {callback!r} of type {type(callback).__name__}. "
                "Try callbacks=[EarlyStopping()]."
            )
    return given


class CallbackList:
    """Several callbacks called in order."""

    def __init__(
        self, callbacks: list[Callback], model: Any, params: dict[str, Any]
    ) -> None:
        self.callbacks, self.params = callbacks, params
        self.calling = False
        """Whether a hook is running."""
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)
        self.per_batch = {
            kind
            for kind in ("train", "test", "predict")
            if any(callback.has_batch_hooks(kind) for callback in callbacks)
        }

    def call(self, hook: str, *args: Any) -> None:
        """Call one hook, such as "on_epoch_end", of every callback."""
        self.calling = True
        try:
            for callback in self.callbacks:
                getattr(callback, hook)(*args)
        finally:
            self.calling = False

    def handles_non_finite(self) -> bool:
        return any(c.handles_non_finite() for c in self.callbacks)


class History(Callback):
    """What `fit` returns: `history`, a dictionary from name to the values of each
    epoch, and `epoch`, the numbers of the epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def get_state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "history": self.history}

    def set_state(self, state: dict[str, Any]) -> None:
        self.epoch, self.history = state["epoch"], state["history"]


class LambdaCallback(Callback):
    """A callback made of functions: `LambdaCallback(on_epoch_end=lambda epoch, logs:
    print(logs))`.

    Args:
        on_train_begin, on_train_end: called with (logs).
        on_epoch_begin, on_epoch_end: called with (epoch, logs).
        on_train_batch_begin, on_train_batch_end: called with (batch, logs).
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for hook, function in given.items():
            if function is not None:
                setattr(self, hook, function)


class _Monitor(Callback):
    """A callback that watches one value of the logs for improvement."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        super().__init__()
        lookup(type(self).__name__, "mode", mode, dict.fromkeys(("auto", "min", "max")))
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.best: float | None = None

    def current(self, logs: Logs | None) -> float | None:
        """The watched value, or None with a warning."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"[{type(self).__name__}] the value {self.monitor!r} is not there to "
                f"watch. There are: {', '.join(logs or {})}. "
                "Try validation_split=0.2 for values that begin with val_.",
                RuntimeWarning,
                stacklevel=2,
            )
        return value

    def improves(self, value: float, reference: float | None) -> bool:
        """Whether value is better than reference by more than min_delta; a value that
        is not finite never is."""
        if not math.isfinite(value):
            return False
        if reference is None:
            return True
        if self._upwards():
            return value - self.min_delta > reference
        return value + self.min_delta < reference

    def _upwards(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        for metric in self.model.metrics:
            if metric.name == name:
                return bool(metric.direction == "up")
        if name == "loss":
            return False
        raise ValueError(
            f"[{type(self).__name__}] cannot know whether {self.monitor!r} should go "
            "up or down, because it is neither the loss nor a metric. "
            "Try mode='min' or mode='max'."
        )

    _remembered: tuple[str, ...] = ("best",)
    """Names of what changes from epoch to epoch."""

    def get_state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._remembered}

    def set_state(self, state: dict[str, Any]) -> None:
        for name in self._remembered:
            setattr(self, name, state[name])


class EarlyStopping(_Monitor):
    """Ends training when a value has stopped improving.

    Args:
        monitor: name in the logs.
        min_delta: smallest change that counts.
        patience: epochs without improvement after which training ends.
        verbose: 1 prints what happens.
        mode: "min", "max" or "auto" (from the metric).
        baseline: value that must be beaten for an improvement to count.
        restore_best_weights: whether the model ends with the weights of its best epoch.
        start_from_epoch: first epoch that is watched.
    """

    _remembered = ("best", "wait", "stopped_epoch", "best_epoch", "best_weights")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = None
        self.best_weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self.current(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.improves(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.improves(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose > 0:
                print(
                    f"Restoring the weights of the best epoch: {self.best_epoch + 1}."
                )
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(_Monitor):
    """Saves the model after epochs or batches.

    Args:
        filepath: ends in ".kurve", or in ".weights.kurve" with save_weights_only; may
            hold {epoch}, {batch} and names of the logs: "m-{epoch:02d}-{loss}.kurve"
        monitor, mode: what to watch with save_best_only; see EarlyStopping.
        save_best_only: save only when the value is the best so far.
        save_weights_only: save no configuration and no optimizer.
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: value that must be beaten to save at all.
        verbose: 1 prints what happens.
    """

    _remembered = ("best", "_batches", "_epoch")

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        ending = ".weights.kurve" if save_weights_only else ".kurve"
        self.filepath = path_name(
            "ModelCheckpoint", "filepath", filepath, f"model{ending}"
        )
        self.verbose, self.save_freq = verbose, save_freq
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.best = initial_value_threshold
        self._batches = 0
        self._epoch = 0
        if not self.filepath.endswith(ending):
            raise ValueError(
                f"[ModelCheckpoint] filepath must end in {ending!r} with "
                f"save_weights_only={save_weights_only}. Received: {self.filepath!r}. "
                f"Try {os.path.splitext(self.filepath)[0] + ending!r}."
            )
        if save_freq != "epoch" and (
            not isinstance(save_freq, int) or save_freq is True or save_freq < 1
        ):
            raise ValueError(
                "[ModelCheckpoint] save_freq must be 'epoch' or a number of batches. "
                f"Received: {save_freq!r}. Try save_freq='epoch'."
            )

    def has_batch_hooks(self, kind: str) -> bool:
        return kind == "train" and self.save_freq != "epoch"

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= int(self.save_freq):
            self._batches = 0
            self._save({**(logs or {}), "batch": batch + 1})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(logs or {})

    def _save(self, logs: Logs) -> None:
        if self.save_best_only:
            current = self.current(logs)
            if current is None or not self.improves(current, self.best):
                return
            self.best = current
        try:
            path = self.filepath.format(**{"epoch": self._epoch + 1, **logs})
        except KeyError as error:
            raise KeyError(
                f"[ModelCheckpoint] filepath {self.filepath!r} names {error}, which is "
                f"not in the logs. There are: epoch, {', '.join(logs)}."
            ) from None
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        if self.verbose > 0:
            print(f"\nEpoch {self._epoch + 1}: saved the model to {path}")


class LearningRateScheduler(Callback):
    """Sets the learning rate at the begin of each epoch.

    Args:
        schedule: function of (epoch, learning rate), or of (epoch), giving the new one.
        verbose: 1 prints it.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        import inspect

        accepted = inspect.signature(self.schedule).parameters
        args = (epoch, _learning_rate(self.model)) if len(accepted) > 1 else (epoch,)
        rate = self.schedule(*args)
        if isinstance(rate, bool) or not isinstance(
            rate, (int, float, np.floating, np.integer)
        ):
            raise TypeError(
                "[LearningRateScheduler] the schedule must return a number. "
                f"Received: {rate!r} at epoch {epoch}."
            )
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1}: learning rate {float(rate):g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = _learning_rate(self.model)


class ReduceLROnPlateau(_Monitor):
    """Multiplies the learning rate by `factor` when a value has stopped improving.

    Args:
        monitor, mode, min_delta, verbose: see EarlyStopping.
        factor: below 1.
        patience: epochs without improvement before a cut.
        cooldown: epochs after a cut in which nothing is counted.
        min_lr: the learning rate never falls below it.
    """

    _remembered = ("best", "wait", "cooldown_counter")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0.0 < factor < 1.0:
            raise ValueError(
                "[ReduceLROnPlateau] factor must be between 0 and 1. "
                f"Received: factor={factor!r}. Try factor=0.1."
            )
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best = None
        self.wait = self.cooldown_counter = 0
        optimizer = getattr(self.model, "optimizer", None)
        rate = getattr(optimizer, "learning_rate", None)
        if isinstance(rate, LearningRateSchedule):
            raise TypeError(
                "[ReduceLROnPlateau] the optimizer's learning rate must be a number, "
                f"because a schedule sets it already. Received: {type(rate).__name__}."
            )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        rate = _learning_rate(self.model)
        if logs is not None:
            logs["learning_rate"] = rate
        current = self.current(logs)
        if current is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(current, self.best):
            self.best = current
            self.wait = 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                rate = max(rate * self.factor, self.min_lr)
                self.model.optimizer.learning_rate = rate
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose > 0:
                    print(f"\nEpoch {epoch + 1}: learning rate cut to {rate:g}")


class BackupAndRestore(Callback):
    """Makes `fit` go on where it was after a crash: `fit(checkpoint=...)` with Keras's
    name and habits. What is kept, and what is refused, is the same; see `fit`.

    Args:
        backup_dir: a folder for one call of `fit`; made if it is not there.
        save_freq: "epoch", a number of steps, "auto" (see `fit`), or False for SIGTERM
            and Ctrl-C only.
        double_checkpoint: keep two checkpoints, in case the newest is damaged.
        delete_checkpoint: whether nothing is left after a `fit` that has ended; else
            the same call again trains no more, and gives the same history.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        self.backup_dir = path_name(where, "backup_dir", backup_dir, "checkpoints")
        self.save_freq = checked_freq(where, "save_freq", save_freq)
        self.double_checkpoint = bool(double_checkpoint)
        self.delete_checkpoint = bool(delete_checkpoint)


def checked_freq(where: str, argument: str, value: Any) -> str | int:
    """How often to write checkpoints."""
    if value is False or value in ("auto", "epoch"):
        return value
    if isinstance(value, (int, np.integer)) and value > 0 and value is not True:
        return int(value)
    raise ValueError(
        f"[{where}] {argument} must be 'auto', 'epoch', a number of steps above 0, or "
        f"False. Received: {value!r}. Try {argument}='epoch'."
    )


class TerminateOnNaN(Callback):
    """Ends training without an error when the loss is no longer finite. The model keeps
    its last finite weights; without this callback `fit` raises NonFiniteError."""

    def handles_non_finite(self) -> bool:
        return True


class CSVLogger(Callback):
    """Writes one line an epoch to a file.

    Args:
        filename: path of the file.
        separator: between the columns.
        append: go on with a file that is there.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        separator: str = ",",
        append: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(
                "[CSVLogger] separator must be one character. "
                f"Received: {separator!r}. Try separator=','."
            )
        self.filename = path_name("CSVLogger", "filename", filename, "log.csv")
        self.separator = separator
        self.append = append
        self._columns: list[str] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.params.get("resumed"):
            return
        self._columns = []
        if not self.append or not os.path.exists(self.filename):
            open(self.filename, "w", encoding="utf-8").close()
            return
        with open(self.filename, newline="", encoding="utf-8") as file:
            header = next(csv.reader(file, delimiter=self.separator), [])
        self._columns = header[1:]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        # Opened anew each time: a fit that ends by an error leaves no open file.
        with open(self.filename, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if not self._columns:
                self._columns = sorted(logs)
                if not any(name.startswith("val_") for name in logs):
                    # As in Keras: later epochs may validate, where this one did not.
                    self._columns += [f"val_{name}" for name in self._columns]
                writer.writerow(["epoch", *self._columns])
            writer.writerow([epoch, *(logs.get(name, "NA") for name in self._columns)])

    def get_state(self) -> dict[str, Any]:
        """The lines so far are on the disk once this returns."""
        with open(self.filename, "ab") as file:
            os.fsync(file.fileno())
            return {"columns": self._columns, "size": file.tell()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take away the lines that were written after the checkpoint."""
        self._columns = state["columns"]
        with open(self.filename, "ab") as file:
            if file.tell() < state["size"]:
                warnings.warn(
                    f"[CSVLogger] {self.filename!r} has lost lines since the "
                    "checkpoint; only later epochs will be in it.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            else:
                file.truncate(state["size"])


def _learning_rate(model: Any) -> float:
    """The learning rate of the model's next update."""
    return float(model.optimizer.current_learning_rate(model.iterations))
