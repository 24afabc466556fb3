"""Logs for TensorBoard."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.callbacks.base import Callback, Logs
from kurve.core.arguments import check_integer, is_count
from kurve.core.entries import warn
from kurve.errors import path_name

if TYPE_CHECKING:
    from kurve.core.events import EventFile


class TensorBoard(Callback):
    """Writes files for TensorBoard: the values of each epoch as
    `epoch_<name>`, and the learning rate, in the folders train and validation of
    log_dir; validation values by update as `evaluation_<name>_vs_iterations`.

    Args:
        log_dir: the folder; created if it does not exist.
        histogram_freq: number of epochs between histograms of all weights; 0 for none.
        write_graph: whether to write the model's configuration.
        write_steps_per_second: whether to write the speed, per epoch and per batch.
        update_freq: "epoch"; or "batch" or a number of batches, to also write values as
            `batch_<name>`.
        write_images, profile_batch, embeddings_freq, embeddings_metadata: Keras
            arguments without effect; non-default values trigger a warning.

    Raises:
        ValueError: invalid histogram_freq or update_freq.
        OSError: at `fit`, the folder is not writable.

    Example:
        >>> callback = kurve.callbacks.TensorBoard("logs")
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        >>> import os
        >>> os.listdir("logs")
        ['train']
    """

    writes_files = True

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        self.log_dir = path_name(where, "log_dir", log_dir, "logs")
        check_integer(where, "histogram_freq", histogram_freq, 1, 0)
        if update_freq not in ("epoch", "batch") and not is_count(update_freq):
            raise ValueError(
                f"[{where}] update_freq must be 'epoch', 'batch' or a number of "
                f"batches. Received: update_freq={update_freq!r}. "
                "Try update_freq='epoch'."
            )
        for name, value in {
            "write_images": write_images,
            "profile_batch": profile_batch,
            "embeddings_freq": embeddings_freq,
            "embeddings_metadata": embeddings_metadata,
        }.items():
            if value:
                warn(
                    f"[{where}] {name} is not supported: only scalars, histograms and "
                    f"the model's configuration are written. Received: "
                    f"{name}={value!r}. Try {where} without {name}."
                )
        self.histogram_freq, self.write_graph = int(histogram_freq), write_graph
        self.write_steps_per_second = bool(write_steps_per_second)
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self._files: dict[str, EventFile] = {}
        self._batches = 0
        self._epoch_start = self._batch_start = 0.0
        self._updates = 0

    def _file(self, part: str) -> EventFile:
        if part not in self._files:
            from kurve.core.events import EventFile

            self._files[part] = EventFile(os.path.join(self.log_dir, part))
        return self._files[part]

    def has_batch_hooks(self, kind: str) -> bool:
        return kind == "train" and self.update_freq != "epoch"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        train = self._file("train")
        if self.write_graph:
            try:
                train.model("keras", self.model.to_json())
            except (
                AttributeError,
                TypeError,
                ValueError,
                NotImplementedError,
            ) as error:
                warn(
                    "[TensorBoard] the model has no Keras configuration, so no "
                    f"graph is written. Reason: {error}"
                )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch_start, self._updates = time.perf_counter(), self.model.iterations

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        self._batch_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.update_freq == "epoch" or self._batches % int(self.update_freq):
            return
        values = {f"batch_{name}": value for name, value in (logs or {}).items()}
        if self.write_steps_per_second:
            seconds = max(time.perf_counter() - self._batch_start, 1e-9)
            values["batch_steps_per_second"] = 1.0 / seconds
        self._write("train", values, self._batches)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = dict(logs or {})
        validation = {
            f"epoch_{name[4:]}": logs.pop(name)
            for name in [name for name in logs if name.startswith("val_")]
        }
        updates = self.model.iterations
        optimizer = self.model.optimizer
        logs["learning_rate"] = float(optimizer.current_learning_rate(updates))
        if self.write_steps_per_second:
            seconds = max(time.perf_counter() - self._epoch_start, 1e-9)
            logs["steps_per_second"] = (updates - self._updates) / seconds
        self._write("train", {f"epoch_{k}": v for k, v in logs.items()}, epoch)
        self._write("validation", validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for layer in self.model.layers:
                for weight in layer.weights:
                    tag = weight.name
                    if not tag.startswith(f"{layer.name}/"):
                        tag = f"{layer.name}/{tag}"
                    values = np.asarray(weight)
                    tag = f"{tag.replace(':', '_')}/histogram"
                    self._file("train").histogram(tag, values, epoch)
        for file in self._files.values():
            file.flush()

    def on_test_end(self, logs: Logs | None = None) -> None:
        values = {
            f"evaluation_{name}_vs_iterations": value
            for name, value in (logs or {}).items()
        }
        self._write("validation", values, self.model.iterations)
        if values:
            self._file("validation").flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    def _write(self, part: str, values: Logs, step: int) -> None:
        numbers = [(name, v) for name, v in values.items() if not np.ndim(v)]
        if numbers:
            self._file(part).scalars(numbers, step)
