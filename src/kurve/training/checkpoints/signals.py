"""SIGTERM and Ctrl-C during a `fit` with checkpoints: both wait for the end of a step.

The handlers record the signal and return, so no step is interrupted; the fit polls
between steps. While a callback runs, Ctrl-C raises immediately, and SIGTERM gives the
callback some time. A second signal ends everything immediately.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

GRACE_SECONDS = 1.0
"""Grace period for callbacks after SIGTERM."""

EXIT_STATUS = 128 + signal.SIGTERM
"""Exit status of a process ended by SIGTERM, as reported by shells."""


class Signals:
    """A context in which the main thread records both signals. Other threads are not
    affected, nor are programs that ignore a signal or handle Ctrl-C themselves.

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
                signal.signal(number, self._record)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        while self._before:
            number, before = self._before.popitem()
            if signal.getsignal(number) == self._record:  # nobody has replaced it
                signal.signal(number, before)
        self.pending = None

    def deliver(self) -> None:
        """Handle the pending signal, if any. Returns only if the program's own handler
        takes it and returns.

        Raises:
            KeyboardInterrupt, SystemExit: to end the fit.
        """
        number, self.pending = self.pending, None
        if number is None:
            return
        handler = self._before.get(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if not callable(handler):
            raise SystemExit(EXIT_STATUS)
        handler(number, None)

    def _record(self, number: int, frame: FrameType | None) -> None:
        repeated = self.pending is not None
        self.pending = number
        if number == signal.SIGINT and (repeated or self._in_callback()):
            raise KeyboardInterrupt
        if repeated:
            raise SystemExit(EXIT_STATUS)
        if number == signal.SIGTERM and self._in_callback():
            # Not threading.Thread: the program may hold its lock while starting one.
            _thread.start_new_thread(self._resend_after_grace, ())

    def _resend_after_grace(self) -> None:
        time.sleep(GRACE_SECONDS)
        if self.pending is not None and self._in_callback():
            thread = threading.main_thread().ident
            assert thread is not None
            if sys.platform == "win32":
                _thread.interrupt_main(signal.SIGTERM)
            else:  # also interrupts system calls
                signal.pthread_kill(thread, signal.SIGTERM)
