"""Callbacks that save the model during training: to keep it, or to resume after a
crash."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from kurve.callbacks.base import Callback, Logs
from kurve.callbacks.monitor import Monitor
from kurve.errors import path_name
from kurve.legacy.logs import Logs as OldLogs

MODEL_ENDINGS = (".kurve", ".keras", ".h5")
WEIGHTS_ENDINGS = (".weights.kurve", ".weights.h5")
"""File extensions of `save` and `save_weights`."""


class ModelCheckpoint(Monitor):
    """Saves the model after epochs or batches.

    Args:
        filepath: ends in ".kurve", ".keras" or ".h5" or, with save_weights_only, in
            ".weights.kurve" or ".weights.h5"; can contain {epoch}, {batch} and names
            from the logs: "m-{epoch:02d}-{loss}.kurve"
        monitor, mode: what to watch with save_best_only; see EarlyStopping.
        save_best_only: only save if the value is the best so far.
        save_weights_only: save only the weights.
        save_freq: "epoch", "5 epochs", or a number of batches.
        initial_value_threshold: the value to beat for the first save.
        verbose: 1 prints messages.

    Raises:
        ValueError: unknown extension or save_freq.
        KeyError: at `fit`, a name in filepath that is not in the logs.

    Example:
        >>> callback = kurve.callbacks.ModelCheckpoint("model-{epoch}.kurve")
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        >>> kurve.models.load_model("model-3.kurve").output_shape
        (None, 1)
    """

    _remembered = ("best", "_batches", "_epoch", "_epochs")

    writes_files = True

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
        endings = WEIGHTS_ENDINGS if save_weights_only else MODEL_ENDINGS
        ending = endings[0]
        self.filepath = path_name(
            "ModelCheckpoint", "filepath", filepath, f"model{ending}"
        )
        self.verbose, self.save_freq = verbose, save_freq
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.best = initial_value_threshold
        self._batches = 0
        self._epoch = 0
        self._epochs = 0  # epochs since the last save
        every = re.fullmatch(r"([1-9]\d{0,8}) epochs?", str(save_freq))
        self._every = int(every[1]) if every else 1
        only_weights = self.filepath.endswith(WEIGHTS_ENDINGS)
        fits = self.filepath.endswith(endings) and only_weights == save_weights_only
        if not fits and not only_weights and _is_old(self.filepath, save_weights_only):
            fits = True
        if not fits:
            raise ValueError(
                "[ModelCheckpoint] filepath must end in "
                f"{' or '.join(map(repr, endings))} with "
                f"save_weights_only={save_weights_only}. Received: {self.filepath!r}. "
                f"Try {os.path.splitext(self.filepath)[0] + ending!r}."
            )
        if (
            save_freq != "epoch"
            and every is None
            and (not isinstance(save_freq, int) or save_freq is True or save_freq < 1)
        ):
            raise ValueError(
                "[ModelCheckpoint] save_freq must be 'epoch' or a number of batches. "
                f"Received: {save_freq!r}. Try save_freq='epoch'."
            )

    def has_batch_hooks(self, kind: str) -> bool:
        return kind == "train" and not isinstance(self.save_freq, str)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.save_best_only:
            self.check_monitor()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if isinstance(self.save_freq, str):
            return
        self._batches += 1
        if self._batches >= int(self.save_freq):
            self._batches = 0
            self._save({**(logs or {}), "batch": batch + 1})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if isinstance(self.save_freq, str):
            self._epochs += 1
            if self._epochs >= self._every:
                self._epochs = 0
                self._save(logs or {})

    def _save(self, logs: Logs) -> None:
        if self.save_best_only:
            current = self.current(logs)
            if current is None or not self.improves(current, self.best):
                return
            self.best = current
        try:
            values = OldLogs({"epoch": self._epoch + 1, **logs})
            path = self.filepath.format_map(values)
        except KeyError as error:
            raise KeyError(
                f"[ModelCheckpoint] filepath {self.filepath!r} names {error}, which is "
                f"not in the logs. Available: epoch, {', '.join(logs)}."
            ) from None
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        if self.verbose > 0:
            print(f"\nEpoch {self._epoch + 1}: saved the model to {path}")


class BackupAndRestore(Callback):
    """Lets `fit` resume after a crash: `fit(checkpoint=...)` with Keras's name and
    defaults. Otherwise identical, see `fit`.

    Args:
        backup_dir: a folder for one call of `fit`; created if it does not exist.
        save_freq: "epoch", a number of steps, "auto" (see `fit`), or False for only on
            SIGTERM and Ctrl-C.
        double_checkpoint: keep two checkpoints, in case the newest is damaged.
        delete_checkpoint: whether to delete the checkpoints at the end of `fit`; if
            not, repeating the call does not train and returns the same history.

    Raises:
        ValueError: invalid save_freq.
        CheckpointError: at `fit`, the checkpoint belongs to a different call.

    Example:
        >>> callback = kurve.callbacks.BackupAndRestore("backup")
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        >>> len(history.epoch)
        3
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


def _is_old(path: str, weights: bool) -> bool:
    """Whether it is a file name from older Keras versions; warns."""
    from kurve.legacy import files

    name = files.today(path, weights)
    if name is None and path.endswith(".hdf5"):
        name = f"{path.removesuffix('.hdf5')}.h5"
    if name is not None:
        files.warn_of("ModelCheckpoint", path, name)
    return name is not None


def checked_freq(where: str, argument: str, value: Any) -> str | int:
    """Validate how often to write checkpoints."""
    if value is False or value in ("auto", "epoch"):
        return value
    if isinstance(value, (int, np.integer)) and value > 0 and value is not True:
        return int(value)
    raise ValueError(
        f"[{where}] {argument} must be 'auto', 'epoch', a number of steps above 0, or "
        f"False. Received: {value!r}. Try {argument}='epoch'."
    )
