"""The learning rate of an optimizer: a number, a schedule or a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.core.arguments import is_integer
from kurve.core.dtypes import FLOAT32_MAX
from kurve.core.entries import Entrance, entry
from kurve.core.overrides import is_own
from kurve.formulas.recording import refuse_in_steps
from kurve.optimizers.schedules import LearningRateSchedule

Rate = float | LearningRateSchedule | Callable[[], float]
"""Types of learning rates."""

USUAL = {
    "learning_rate": 0.001,
    "weight_decay": 0.004,
    "clipnorm": 1.0,
    "clipvalue": 1.0,
    "global_clipnorm": 1.0,
    "momentum": 0.9,
    "rho": 0.9,
    "initial_accumulator_value": 0.1,
    "epsilon": 1e-7,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "ema_momentum": 0.99,
    "loss_scale_factor": 1024.0,
    "learning_rate_power": -0.5,
    "l1_regularization_strength": 0.01,
    "l2_regularization_strength": 0.01,
    "l2_shrinkage_regularization_strength": 0.01,
    "beta": 0.1,
    "beta_2_decay": -0.8,
    "epsilon_1": 1e-30,
    "epsilon_2": 1e-3,
    "clip_threshold": 1.0,
    "warmup_steps": 100,
    "adam_beta_1": 0.9,
    "adam_beta_2": 0.999,
    "adam_weight_decay": 0.004,
    "adam_lr_ratio": 1.0,
    "muon_a": 3.4445,
    "muon_b": -4.775,
    "muon_c": 2.0315,
    "rms_rate": 0.2,
}
"""Values that error messages suggest."""


class LearningRates(Entrance):
    """The learning rate of an optimizer, as a number, schedule or function."""

    @property
    def learning_rate(self) -> Any:
        """The current learning rate: of a schedule, that of the next update. It also
        supports Keras's `assign`, `numpy` and `value`, and can be set at any time, to
        a number, a schedule or a function."""
        from kurve.optimizers.values import LearningRate, ScheduledRate

        optimizer: Any = self
        refuse_in_steps("the learning rate")
        rate = self._learning_rate
        if isinstance(rate, float):
            return LearningRate(optimizer, rate)
        if isinstance(rate, LearningRateSchedule):
            now = self.current_learning_rate(int(optimizer.iterations))
            return ScheduledRate(optimizer, now)
        return rate

    @learning_rate.setter
    @entry
    def learning_rate(self, value: Any) -> None:
        refuse_in_steps("a new learning rate")
        if isinstance(value, LearningRateSchedule):
            self._learning_rate: Any = value
            return
        if callable(value) and not isinstance(value, type):
            self._check_function(value)
            self._learning_rate = value
            return
        checked = self._number("learning_rate", value, -FLOAT32_MAX, FLOAT32_MAX)
        if checked is None or checked < 0.0:
            raise ValueError(
                f"[{type(self).__name__}] learning_rate must be at least 0. "
                f"Received: {value!r}. Try learning_rate=0.001."
            )
        self._learning_rate = checked

    @property
    def given_rate(self) -> Any:
        """The learning rate as it was set: a number, a schedule or a function."""
        return self._learning_rate

    @property
    def lr(self) -> Any:
        """Old name of `learning_rate`."""
        from kurve.legacy.names import of_object

        return of_object(self, "lr")

    @lr.setter
    def lr(self, value: Any) -> None:
        from kurve.legacy.names import set_on

        set_on(self, "lr", value)

    def _check_function(self, function: Any) -> None:
        """Refuse a function that needs arguments."""
        try:
            signature = inspect.signature(function)
        except ValueError:  # a C function
            return
        try:
            signature.bind()
        except TypeError as error:
            raise TypeError(
                f"[{type(self).__name__}] a function as learning_rate must take no "
                f"arguments. Received: {name_of(function)}{signature}. Try a custom "
                "schedule: a kurve.optimizers.schedules.LearningRateSchedule."
            ) from error

    def learning_rates(self, first: int, count: int) -> np.ndarray:
        """The learning rates of updates first, first + 1, ...: float32 (count,).

        Raises:
            ValueError: the schedule returns a number that is not finite or is negative.
        """
        schedule: Any = self._learning_rate
        if isinstance(schedule, float):
            rates = np.empty(count, np.float32)
            rates.fill(schedule)  # np.full takes four times as long
            return rates
        where = type(self).__name__
        steps = np.arange(first, first + count)
        if not isinstance(schedule, LearningRateSchedule):  # a function
            rates = np.array([_one(where, schedule()) for _ in steps], np.float64)
        elif is_own(type(schedule)):  # called with a single step, as in Keras
            rates = np.array([_one(where, schedule(s)) for s in steps], np.float64)
        else:
            rates = np.asarray(schedule(steps), np.float64)
        bad = ~np.isfinite(rates) | (rates < 0)
        if rates.shape != (count,) or bad.any():
            shown = rates[bad][0] if rates.shape == (count,) else rates.shape
            raise ValueError(
                f"[{where}] the schedule must return one finite learning "
                f"rate of at least 0 per step. Received: {shown} from "
                f"{name_of(schedule)} at steps {first}.."
                f"{first + count - 1}."
            )
        return rates.astype(np.float32)

    def current_learning_rate(self, step: int) -> float:
        """Learning rate of the update after `step` updates."""
        return float(self.learning_rates(step, 1)[0])

    def _number(
        self, name: str, value: float | None, low: float, high: float
    ) -> float | None:
        """Validate `value` as a float in [low, high], or None."""
        if value is None:
            return None
        if not is_integer(value) and not isinstance(value, (float, np.floating)):
            raise TypeError(
                f"[{type(self).__name__}] {name} must be a number. "
                f"Received: {value!r} of type {type(value).__name__}. "
                f"Try {name}={USUAL[name]}."
            )
        if not low <= value <= high:  # also false for NaN
            limits = (
                f"in [{low:.8g}, {high:.8g}]"
                if high < FLOAT32_MAX
                else "finite in float32"
            )
            limits += (
                f" and at least {low:g}" if low == 0.0 and high == FLOAT32_MAX else ""
            )
            raise ValueError(
                f"[{type(self).__name__}] {name} must be {limits}. "
                f"Received: {value!r}. Try {name}={USUAL[name]}."
            )
        return float(value)


def _one(where: str, rate: Any) -> float:
    """Check the return value of a schedule or function."""
    try:
        return float(np.asarray(rate, np.float64).item())
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"[{where}] a learning rate must be a number. Received: {rate!r} of type "
            f"{type(rate).__name__}, returned by the schedule. Try float(...)."
        ) from error


def name_of(schedule: Any) -> str:
    """Name of a schedule or function, for messages."""
    if isinstance(schedule, LearningRateSchedule):
        return type(schedule).__name__
    return str(getattr(schedule, "__qualname__", type(schedule).__name__))
