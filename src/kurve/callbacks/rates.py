"""Callbacks that set the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.callbacks.base import Callback, Logs
from kurve.callbacks.monitor import Monitor
from kurve.optimizers.schedules import LearningRateSchedule


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of each epoch.

    Args:
        schedule: function of (epoch, learning rate), or of (epoch), that returns the
            new learning rate.
        verbose: 1 prints the learning rate.

    Raises:
        TypeError: schedule is not callable.
        ValueError: at `fit`, it returns no learning rate.

    Example:
        >>> schedule = lambda epoch: 0.1 / (1 + epoch)
        >>> callback = kurve.callbacks.LearningRateScheduler(schedule)
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        >>> model.optimizer.learning_rate
        0.03333333333333333
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "[LearningRateScheduler] schedule must be a function of the epoch. "
                f"Received: {schedule!r}. Try lambda epoch: 0.1 * 0.9**epoch."
            )
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


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by `factor` when a value has stopped improving.

    Args:
        monitor, mode, min_delta, verbose: see EarlyStopping.
        factor: below 1.
        patience: epochs without improvement before a reduction.
        cooldown: epochs to wait after a reduction.
        min_lr: lower bound of the learning rate.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> from kurve.callbacks import ReduceLROnPlateau
        >>> callback = ReduceLROnPlateau("loss", patience=0, min_delta=10.0)
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        >>> history.history["learning_rate"][0] > model.optimizer.learning_rate
        True
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
        self.check_numbers(factor=factor, patience=patience)
        self.check_numbers(cooldown=cooldown, min_lr=min_lr)
        if not 0.0 < factor < 1.0:
            raise ValueError(
                "[ReduceLROnPlateau] factor must be between 0 and 1. "
                f"Received: factor={factor!r}. Try factor=0.1."
            )
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self._reset()

    def _reset(self) -> None:
        self.best = None
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.check_monitor()
        self._reset()
        optimizer = getattr(self.model, "optimizer", None)
        rate = getattr(optimizer, "given_rate", None)
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
                    print(f"\nEpoch {epoch + 1}: learning rate reduced to {rate:g}")


def _learning_rate(model: Any) -> float:
    """The learning rate of the model's next update."""
    return float(model.optimizer.current_learning_rate(model.iterations))
