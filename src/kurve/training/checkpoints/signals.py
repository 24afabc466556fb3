"""SIGTERM and Ctrl-C during a `fit` with checkpoints: both wait for a whole step.

The handlers note the signal and return, so that no step is torn; the fit looks between
stretches of steps. While a callback runs, Ctrl-C raises at once, and SIGTERM waits for
the callback for a while. A second signal of the kind ends everything at once.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

PATIENCE = 1.0
"""Seconds that SIGTERM waits for a callback."""

EXIT = 128 + signal.SIGTERM
"""Status of a process that SIGTERM has ended, as shells count."""


class Signals:
    """A context in which the main thread notes both signals. Elsewhere, and where the
    program ignores one or has a handler of its own for Ctrl-C, nothing changes.

    Args:
        in_callback: whether a callback is running.
    """

    def __init__(self, in_callback: Callable[[], bool]) -> None:
        self.pending: int | None = None
        self._in_callback = in_callback
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGTERM)
            if before not in (signal.SIG_IGN, None):
                self._before[signal.SIGTERM] = before
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._before[signal.SIGINT] = signal.default_int_handler
            for number in self._before:
                signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        while self._before:
            number, before = self._before.popitem()
            if signal.getsignal(number) == self._note:  # nobody has put in another
                signal.signal(number, before)
        self.pending = None

    def deliver(self) -> None:
        """Do what the pending signal asks for, now that it can be done. Returns if it
        is the program's own handler that takes it, and that returns.

        Raises:
            KeyboardInterrupt, SystemExit: the fit ends.
        """
        number, self.pending = self.pending, None
        if number is None:
            return
        own = self._before.get(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if not callable(own):
            raise SystemExit(EXIT)
        own(number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self.pending is not None
        self.pending = number
        if number == signal.SIGINT and (again or self._in_callback()):
            raise KeyboardInterrupt
        if again:
            raise SystemExit(EXIT)
        if number == signal.SIGTERM and self._in_callback():
            # Not threading.Thread: the program may be amid starting one, with a lock.
            _thread.start_new_thread(self._insist, ())

    def _insist(self) -> None:
        time.sleep(PATIENCE)
        if self.pending is not None and self._in_callback():
            thread = threading.main_thread().ident
            assert thread is not None
            signal.pthread_kill(thread, signal.SIGTERM)
