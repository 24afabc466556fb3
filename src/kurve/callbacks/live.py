"""A plot of the training that is redrawn while it runs."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.callbacks.base import Callback, Logs
from kurve.core import processes
from kurve.core.charts import Chart, side_by_side
from kurve.core.progress import (
    can_encode,
    format_duration,
    format_logs,
    in_notebook,
    is_terminal,
    mean_of,
)
from kurve.errors import lookup

INTERVAL = 0.2
"""Minimum number of seconds between drawings."""

SHARE = 0.01
"""Maximum fraction of the processor time for drawings, except the last one."""

POINTS, GRID = 400, 128
"""Maximum number of data points that are drawn, and number of points of the curve."""


class LivePlot(Callback):
    """Draws the training while it runs: the loss over the epochs and, for a model of
    one input feature, its curve over the data.

    In a notebook the picture is redrawn in place, in a terminal as text, at most five
    times a second, and less often if drawing would take more than 1 % of the processor
    time. It replaces the progress bar, unless `fit` has verbose=1 or 2. If the output
    goes to a file, nothing is drawn.

    Args:
        data: (x, y) to draw the curve over; by default the arrays that `fit` trains on.
        where: "auto", which depends on where the output goes; "notebook", which needs
            IPython; or "terminal", which also writes the last plot into a file.

    Raises:
        TypeError: data is not a pair.
        ValueError: unknown `where`, or x and y of different lengths.
        ImportError: where="notebook" without IPython.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> callback = kurve.callbacks.LivePlot()
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        >>> callback.to_svg().startswith("<svg")
        True
    """

    writes_files = True

    def __init__(self, data: Any = None, where: str = "auto") -> None:
        super().__init__()
        lookup("LivePlot", "where", where, dict.fromkeys(_SCREENS))
        if data is not None and (not isinstance(data, (tuple, list)) or len(data) != 2):
            raise TypeError(
                "[LivePlot] data must be a pair (x, y). Received: an object of type "
                f"{type(data).__name__}. Try LivePlot(data=(x, y))."
            )
        if data is not None and len(data[0]) != len(data[1]):
            raise ValueError(
                "[LivePlot] x and y must have the same number of rows. Received: "
                f"{len(data[0])} and {len(data[1])}. Try data=(x, y) of equal lengths."
            )
        self.data, self.where = data, where
        self._screen: _Screen | None = None
        self._rows: tuple[np.ndarray, np.ndarray] | None = None
        self._grid: np.ndarray | None = None
        self._curve: np.ndarray | None = None
        self._curves: dict[str, tuple[list[float], list[float]]] = {}
        self._position, self._logs = 0.0, Logs()
        self._first = self._start = self._next = 0.0
        self._used = self._epoch_start = 0.0
        self._long_epochs = True

    def shows_progress(self) -> bool:
        return (
            self.where != "auto" or in_notebook(sys.stdout) or is_terminal(sys.stdout)
        )

    # ------------------------------------------------------------- the training

    def _see(self, rows: Any) -> None:
        self._rows = _one_feature(rows if self.data is None else self.data)
        self._grid = self._curve = None
        if self._rows is not None and processes.active() is None:
            x = self._rows[0]
            self._grid = np.linspace(x.min(), x.max(), GRID)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._curves, self._logs = {}, Logs()
        self._position = self._first = -1.0
        self._screen = _SCREENS[self.where](self.params.get("verbose", 0))
        self._start = time.perf_counter()
        self._next = self._start + INTERVAL
        self._used, self._long_epochs = time.process_time() + INTERVAL, True

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch_start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, value in (logs or {}).items():
            if name in ("loss", "val_loss"):
                epochs, values = self._curves.setdefault(name, ([], []))
                epochs.append(epoch + 1.0)
                values.append(mean_of(value))
        self._long_epochs = time.perf_counter() - self._epoch_start > INTERVAL
        self._draw_if_due(epoch + 1.0, logs)

    def _wants_steps(self) -> bool:
        return self._long_epochs

    def _on_steps(self, epoch: float, logs: Mapping[str, Any]) -> None:
        self._draw_if_due(epoch, logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._logs = Logs(logs or {})
        if self._screen is not None:
            self._draw(self._screen.finish)
            self._screen = None

    def get_state(self) -> dict[str, Any]:
        return {"curves": {k: [*map(list, v)] for k, v in self._curves.items()}}

    def set_state(self, state: dict[str, Any]) -> None:
        self._curves = {k: (list(e), list(v)) for k, (e, v) in state["curves"].items()}

    # -------------------------------------------------------------- the drawing

    def _draw_if_due(self, position: float, logs: Mapping[str, Any] | None) -> None:
        if self._first < 0:
            self._first = np.floor(position - 1e-9)
        self._position, self._logs = position, Logs(logs or {})
        if self._screen is None or not self._screen.live:
            return
        before = time.process_time()
        if time.perf_counter() < self._next or before < self._used:
            return
        self._draw(self._screen.draw)
        after = time.process_time()
        self._next = time.perf_counter() + INTERVAL
        self._used = after + (after - before) / SHARE

    def _draw(self, draw: Any) -> None:
        self._predict()
        draw(self)

    def _predict(self) -> None:
        if self._grid is None or self._rows is None:
            return
        try:
            found = self.model.predict(self._grid, batch_size=GRID, verbose=0)
            found = np.asarray(found, np.float64).reshape(len(self._grid), -1)
        except Exception:  # not a function of one number, such as an embedding of words
            self._grid = self._curve = None
            return
        fits = found.shape[1] == self._rows[1].shape[1]
        self._curve = found if fits else None
        if not fits:
            self._grid = None

    def _title(self) -> str:
        """The epoch, the remaining time, and the values."""
        total = self.params.get("epochs") or 0
        done = max(self._position, 0.0)
        parts = [f"Epoch {min(int(np.ceil(done)), total)}/{total}"]
        passed = time.perf_counter() - self._start
        share = done - max(self._first, 0.0)
        if self._screen is not None and share > 0 and done < total:
            parts.append(f"{format_duration(passed * (total - done) / share)} left")
        else:
            parts.append(format_duration(passed))
        return " - ".join(parts) + format_logs(self._logs)

    def _charts(self) -> list[Chart]:
        """The loss and, where there is one, the curve."""
        loss = Chart("loss", "epoch", logarithmic=True)
        for number, name in enumerate(("loss", "val_loss")):
            epochs, values = self._curves.get(name, ([], []))
            if name == "loss" and "loss" in self._logs and self._screen is not None:
                epochs = [*epochs, self._position]
                values = [*values, mean_of(self._logs["loss"])]
            label = "validation" if number else "training"
            if epochs:
                loss.line(epochs, values, label, number)
        if self._curve is None or self._rows is None or self._grid is None:
            return [loss]
        x, y = self._rows
        low, high = float(y.min()), float(y.max())
        margin = 0.1 * (high - low) or 0.5
        fit = Chart("fit", "x", (low - margin, high + margin))
        for column in range(y.shape[1]):
            fit.points(x, y[:, column], "" if column else "data")
        for column in range(y.shape[1]):
            fit.line(
                self._grid, self._curve[:, column], "" if column else "model", column
            )
        return [loss, fit]

    def to_svg(self) -> str:
        """The last picture, as one SVG.

        Example:
            >>> callback = kurve.callbacks.LivePlot()
            >>> callback.to_svg()[:4]
            '<svg'
        """
        charts = self._charts()
        parts = [
            f'<svg x="{i * WIDTH}" width="{WIDTH}" height="{HEIGHT}">'
            f"{chart.svg(WIDTH, HEIGHT)}</svg>"
            for i, chart in enumerate(charts)
        ]
        width = WIDTH * len(charts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" '
            f'width="{width}" height="{HEIGHT}" style="max-width: 100%; height: auto">'
            f"{''.join(parts)}</svg>"
        )

    def __repr__(self) -> str:
        return f"<LivePlot {self._title()}>"


WIDTH, HEIGHT = 400, 250
"""Size of a chart in a notebook, in pixels."""


class _Screen:
    """Where a plot is shown.

    live: whether it can be redrawn
    """

    live = True

    def __init__(self, verbose: int) -> None:
        """Verbose is that of `fit`."""

    def draw(self, plot: LivePlot) -> None:
        """Draw it, or replace what was drawn."""

    def finish(self, plot: LivePlot) -> None:
        """Draw it for the last time."""
        self.draw(plot)


class _Notebook(_Screen):
    def __init__(self, verbose: int) -> None:
        try:
            from IPython import display
        except ImportError as error:
            raise ImportError(
                '[LivePlot] where="notebook" needs IPython, which is not installed. '
                f'Received: {error}. Try where="auto".'
            ) from None
        self._display: Any = display
        self._handle: Any = None

    def draw(self, plot: LivePlot) -> None:
        title = html.escape(plot._title())
        shown: Any = self._display.HTML(f"<div>{title}</div>{plot.to_svg()}")
        if self._handle is None:
            self._handle = self._display.display(shown, display_id=True)
        else:
            self._handle.update(shown)


class _Terminal(_Screen):
    def __init__(self, verbose: int) -> None:
        self._stream: Any = sys.stdout
        # the lines of a progress bar would be overwritten
        self.live = not verbose and is_terminal(self._stream)
        self._drawn = 0

    def draw(self, plot: LivePlot) -> None:
        if self._stream is None:
            return
        import shutil

        size = shutil.get_terminal_size()
        columns = min(size.columns - 1, 110)
        charts = plot._charts()[: 2 if columns >= 60 else 1]
        each = (columns - len(charts) + 1) // len(charts)
        unicode = can_encode(getattr(self._stream, "encoding", None), "⠿│")
        rows = max(min(10, size.lines - 4), 3)
        texts = [chart.text(each, rows, unicode) for chart in charts]
        lines = [plot._title()[:columns], *side_by_side(texts)]
        clear = "\x1b[K" if self.live else ""
        up = f"\x1b[{self._drawn}A\r" if self._drawn else ""
        self._drawn = len(lines) if self.live else 0
        self._stream.write(up + "".join(f"{line}{clear}\n" for line in lines))
        self._stream.flush()


class _Nowhere(_Screen):
    live = False


def _auto(verbose: int) -> _Screen:
    if in_notebook(sys.stdout):
        return _Notebook(verbose)
    return _Terminal(verbose) if is_terminal(sys.stdout) else _Nowhere(verbose)


_SCREENS: dict[str, Any] = {
    "auto": _auto,
    "notebook": _Notebook,
    "terminal": _Terminal,
}


def _one_feature(given: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """At most `POINTS` rows of x (n,) and y (n, outputs), if x is one feature and both
    are numbers."""
    if given is None or any(p is None or isinstance(p, (tuple, dict)) for p in given):
        return None
    x, y = (np.asarray(part) for part in given)
    if x.dtype.kind not in "fiub" or y.dtype.kind not in "fiub" or not len(x):
        return None
    if x[0].size != 1 or y.ndim > 2:
        return None
    kept = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))
    x = x[kept].astype(np.float64).reshape(-1)
    y = y[kept].astype(np.float64).reshape(len(x), -1)
    finite = np.isfinite(x) & np.isfinite(y).all(axis=1)
    return (x[finite], y[finite]) if finite.any() else None
