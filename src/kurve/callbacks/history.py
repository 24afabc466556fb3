"""The logs of epochs: `History` collects them, `CSVLogger` writes them to a file."""

from __future__ import annotations

import os
import warnings
from typing import Any

from kurve.callbacks.base import Callback, Logs
from kurve.core.progress import mean_of
from kurve.errors import path_name
from kurve.legacy.logs import Logs as OldLogs


class History(Callback):
    """The return value of `fit`: `history`, the values of each epoch by name, and
    `epoch`, the epoch numbers.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, verbose=0)
        >>> list(history.history)
        ['loss']
        >>> history.epoch
        [0, 1, 2]
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = OldLogs()

    def __repr__(self) -> str:
        numbers = {name: mean_of(value) for name, value in self.last_logs().items()}
        last = ", ".join(f"{name}={value:.4g}" for name, value in numbers.items())
        return f"<History, epochs={len(self.epoch)}, last=({last})>"

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def last_logs(self) -> Logs:
        return {name: values[-1] for name, values in self.history.items()}

    def get_state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "history": dict(self.history)}

    def set_state(self, state: dict[str, Any]) -> None:
        self.epoch, self.history = state["epoch"], OldLogs(state["history"])


class CSVLogger(Callback):
    """Writes one line per epoch to a file.

    Args:
        filename: path of the file.
        separator: separator between columns.
        append: continue an existing file.

    Raises:
        ValueError: separator is not one character, or an empty filename.

    Example:
        >>> callback = kurve.callbacks.CSVLogger("log.csv")
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        >>> from pathlib import Path
        >>> Path("log.csv").read_text().startswith("epoch,loss")
        True
    """

    writes_files = True

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
        import csv

        with open(self.filename, newline="", encoding="utf-8") as file:
            header = next(csv.reader(file, delimiter=self.separator), [])
        self._columns = header[1:]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        import csv

        logs = logs or {}
        # Open it each time, so that an error in fit leaves no open file.
        with open(self.filename, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if not self._columns:
                self._columns = sorted(logs)
                if not any(name.startswith("val_") for name in logs):
                    # As in Keras: later epochs can validate even if this one did not.
                    self._columns += [f"val_{name}" for name in self._columns]
                writer.writerow(["epoch", *self._columns])
            writer.writerow([epoch, *(logs.get(name, "NA") for name in self._columns)])

    def get_state(self) -> dict[str, Any]:
        """Also flushes the lines written so far to disk."""
        with open(self.filename, "ab") as file:
            os.fsync(file.fileno())
            return {"columns": self._columns, "size": file.tell()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Remove lines written after the checkpoint."""
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
