"""Callbacks that monitor a value: the base class, and those that end training."""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any

import numpy as np

from kurve.callbacks.base import Callback, Logs
from kurve.core.arguments import check_flag
from kurve.core.inside import network_of
from kurve.core.overrides import is_own
from kurve.core.stopping import improves
from kurve.errors import lookup, unknown_name
from kurve.formulas.tensor import leaves
from kurve.metrics import Mean, Sum


class Monitor(Callback):
    """Base class of callbacks that monitor one value of the logs for improvement."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        super().__init__()
        lookup(type(self).__name__, "mode", mode, dict.fromkeys(("auto", "min", "max")))
        self.check_numbers(min_delta=min_delta)
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.best: float | None = None

    def check_numbers(self, **given: Any) -> None:
        """Refuse arguments that are not numbers."""
        for name, value in given.items():
            if not isinstance(value, Real):
                raise TypeError(
                    f"[{type(self).__name__}] {name} must be a number. "
                    f"Received: {name}={value!r}. Try {name}=1."
                )

    def check_monitor(self) -> None:
        """Refuse a value whose direction of improvement is unknown.

        Raises:
            ValueError: neither the loss nor a metric, with mode="auto".
        """
        network = network_of(self.model)
        network.require_compiled(type(self).__name__)
        names = network.goals.log_names.in_order
        if self.monitor.removeprefix("val_") not in names:
            from kurve.legacy import logs

            known = [*names, *(f"val_{name}" for name in names)]
            found = logs.today(self.monitor, known)
            if found is not None:
                logs.warn_of(type(self).__name__, self.monitor, found)
                self.monitor = found
        if self.mode == "auto":
            self._upwards()

    def current(self, logs: Logs | None) -> float | None:
        """The monitored value, or None after a warning."""
        value: Any = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"[{type(self).__name__}] the logs have no value {self.monitor!r} to "
                f"monitor. Available: {', '.join(logs or {})}. "
                "Try validation_split=0.2 for values that start with val_.",
                RuntimeWarning,
                stacklevel=2,
            )
        elif np.ndim(value):
            raise ValueError(
                f"[{type(self).__name__}] the monitored value must be one number. "
                f"Received: {len(value)} for {self.monitor!r}. "
                "Try a metric of all classes together, such as F1Score('macro')."
            )
        return value

    def improves(self, value: float, reference: float | None) -> bool:
        """Whether value improves on reference by more than min_delta; a non-finite
        value never does."""
        comparable = math.isfinite(value) and reference is not None
        upwards = comparable and self._upwards()
        return improves(value, reference, self.min_delta, upwards)

    def _upwards(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name, network = self.monitor.removeprefix("val_"), network_of(self.model)
        network.require_compiled(type(self).__name__)
        in_logs = network.goals.log_names
        for metric, its_name in zip(network.metrics, in_logs.metrics, strict=True):
            if its_name == name:
                return bool(metric.direction == "up")
        if name in ("loss", *in_logs.losses):
            return False
        if self._has_own_step():
            for metric in self._named_metrics():
                if getattr(metric, "name", None) == name:
                    return getattr(metric, "direction", "down") == "up"
            if name.endswith(("acc", "accuracy", "auc")):  # as in Keras
                return True
        names = in_logs.in_order
        known = [*names, *(f"val_{name}" for name in names)]
        raise ValueError(
            str(unknown_name(type(self).__name__, "monitor", self.monitor, known))
            + " For another value of the logs, try mode='min' or mode='max'."
        )

    def _has_own_step(self) -> bool:
        """Whether the model's class chooses what is in the logs."""
        own = [vars(cls) for cls in type(self.model).__mro__ if is_own(cls)]
        return any("train_step" in one or "test_step" in one for one in own)

    def _named_metrics(self) -> list[Any]:
        """The metrics of a model with custom steps, which may be unknown to its
        outputs: those of `compile`, and attributes of the model, except for means of
        anything."""
        compilation = network_of(self.model).compilation
        assert compilation is not None
        given = (compilation.metrics, compilation.weighted_metrics)
        kept = [m for m in self.model.metrics if not isinstance(m, (Mean, Sum))]
        return [*leaves(given), *kept]

    _remembered: tuple[str, ...] = ("best",)
    """Names of attributes that change between epochs."""

    def get_state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._remembered}

    def set_state(self, state: dict[str, Any]) -> None:
        for name in self._remembered:
            setattr(self, name, state[name])


class EarlyStopping(Monitor):
    """Ends training when a value has stopped improving.

    Args:
        monitor: name in the logs.
        min_delta: smallest change that counts as an improvement.
        patience: number of epochs without improvement after which training ends.
        verbose: 1 prints messages.
        mode: "min", "max" or "auto" (from the metric).
        baseline: the value to beat for an improvement to count.
        restore_best_weights: whether to restore the weights of the best epoch at the
            end.
        start_from_epoch: first epoch that is monitored.

    Raises:
        TypeError: an argument that must be a number is not.
        ValueError: an unknown mode; at `fit`, a value whose direction of improvement is
            unknown.

    Example:
        >>> callback = kurve.callbacks.EarlyStopping("loss", patience=1, min_delta=10.0)
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        >>> len(history.epoch)
        2
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
        self.check_numbers(patience=patience)
        self.check_numbers(start_from_epoch=start_from_epoch, baseline=baseline or 0)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.check_monitor()
        self._reset()

    def _reset(self) -> None:
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


class TerminateOnNaN(Callback):
    """Ends training without an error when the loss is no longer finite. The model keeps
    its last finite weights; without this callback `fit` raises NonFiniteError.

    Args:
        raise_error: whether `fit` raises NonFiniteError anyway.

    Raises:
        TypeError: raise_error is neither True nor False.

    Example:
        >>> callback = kurve.callbacks.TerminateOnNaN()
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, y, epochs=3, callbacks=[callback], verbose=0)
        >>> len(history.epoch)
        3
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = check_flag("TerminateOnNaN", "raise_error", raise_error)

    def handles_non_finite(self) -> bool:
        return not self.raise_error
