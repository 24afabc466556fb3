"""The base class of the optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.arguments import (
    TypedDict,
    check_flag,
    check_name,
    is_integer,
    refuse_arguments,
)
from kurve.core.entries import Entrance, entry
from kurve.core.naming import auto_name
from kurve.core.overrides import is_own
from kurve.optimizers import schedules
from kurve.optimizers.schedules import LearningRateSchedule
from kurve.plan import Attr, Spec

LARGEST = float(np.finfo(np.float32).max)
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
}
"""Values that error messages suggest."""


class UnusedArguments(TypedDict, total=False):
    """Keras's arguments of every optimizer that do nothing here."""

    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: None
    loss_scale_factor: None
    gradient_accumulation_steps: None


class ClippingArguments(UnusedArguments, total=False):
    """Arguments of optimizers with a weight decay of their own."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    name: str | None


class OptimizerArguments(ClippingArguments, total=False):
    """Arguments of every optimizer."""

    weight_decay: float | None


class Optimizer(Entrance):
    """Base class of the optimizers.

    Args:
        learning_rate: a number of at least 0, or a schedule of `optimizers.schedules`.
        weight_decay: fraction of each weight, times the learning rate, that every
            update subtracts first (decoupled: Loshchilov & Hutter 2019); None is none.
        clipnorm: largest norm of each variable's gradient.
        clipvalue: largest absolute value of each element of a gradient.
        global_clipnorm: largest norm of all gradients together.
        name: made from the class if None.

    Raises:
        TypeError: an argument that is not a number.
        ValueError: a number out of range, or more than one way of clipping.
    """

    unused = tuple(UnusedArguments.__annotations__)
    """Keras's arguments that do nothing here, see `kurve.core.arguments.UNUSED`."""

    kind = ""
    ignored = (
        "update_step",
        "build",
        "apply",
        "apply_gradients",
        "stateless_apply",
        "compute_gradients",
        "minimize",
        "learning_rate",
    )
    instead = "an optimizer of kurve.optimizers, or a learning rate schedule"
    slot_starts: tuple[float, ...] = ()
    scalar_starts: tuple[float, ...] = ()

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        refuse_arguments(type(self), unknown)
        where = type(self).__name__
        self.name = auto_name(type(self)) if name is None else check_name(where, name)
        self.learning_rate = learning_rate
        self.weight_decay = self._number("weight_decay", weight_decay, 0.0, LARGEST)
        self.clipnorm = self._number("clipnorm", clipnorm, 0.0, LARGEST)
        self.clipvalue = self._number("clipvalue", clipvalue, 0.0, LARGEST)
        self.global_clipnorm = self._number(
            "global_clipnorm", global_clipnorm, 0.0, LARGEST
        )
        clips = [c for c in (clipnorm, clipvalue, global_clipnorm) if c is not None]
        if len(clips) > 1:
            raise ValueError(
                f"[{type(self).__name__}] only one of clipnorm, clipvalue and "
                f"global_clipnorm can be given. Received: clipnorm={clipnorm}, "
                f"clipvalue={clipvalue}, global_clipnorm={global_clipnorm}. "
                "Try the one that matters most."
            )

    @property
    def learning_rate(self) -> float | LearningRateSchedule:
        """The learning rate or schedule, which can be set at any time."""
        return self._learning_rate

    @learning_rate.setter
    @entry
    def learning_rate(self, value: float | LearningRateSchedule) -> None:
        if isinstance(value, LearningRateSchedule):
            self._learning_rate: float | LearningRateSchedule = value
            return
        checked = self._number("learning_rate", value, -LARGEST, LARGEST)
        if checked is None or checked < 0.0:
            raise ValueError(
                f"[{type(self).__name__}] learning_rate must be at least 0. "
                f"Received: {value!r}. Try learning_rate=0.001."
            )
        self._learning_rate = checked

    def learning_rates(self, first: int, count: int) -> np.ndarray:
        """The learning rates of updates first, first + 1, ...: float32 (count,).

        Raises:
            ValueError: the schedule gives a number that is not finite or is negative.
        """
        if not isinstance(self._learning_rate, LearningRateSchedule):
            rates = np.empty(count, np.float32)
            rates.fill(self._learning_rate)  # np.full takes four times as long
            return rates
        steps = np.arange(first, first + count)
        schedule: Any = self._learning_rate
        if is_own(type(schedule)):  # takes a single step, as Keras calls it
            rates = np.array([float(schedule(step)) for step in steps], np.float64)
        else:
            rates = np.asarray(schedule(steps), np.float64)
        bad = ~np.isfinite(rates) | (rates < 0)
        if rates.shape != (count,) or bad.any():
            shown = rates[bad][0] if rates.shape == (count,) else rates.shape
            raise ValueError(
                f"[{type(self).__name__}] the schedule must give one finite learning "
                f"rate of at least 0 a step. Received: {shown} from "
                f"{type(self._learning_rate).__name__} at steps {first}.."
                f"{first + count - 1}."
            )
        return rates.astype(np.float32)

    def current_learning_rate(self, step: int) -> float:
        """Learning rate of the update after `step` updates."""
        return float(self.learning_rates(step, 1)[0])

    def attrs(self) -> dict[str, Attr]:
        """The parameters of the formula, for the plan."""
        return {}

    @property
    def spec(self) -> Spec:
        """The optimizer in a plan; 0 stands for "not used"."""
        return Spec(
            self.kind,
            {
                **self.attrs(),
                "weight_decay": self.weight_decay or 0.0,
                "clipnorm": self.clipnorm or 0.0,
                "clipvalue": self.clipvalue or 0.0,
                "global_clipnorm": self.global_clipnorm or 0.0,
            },
        )

    def __repr__(self) -> str:
        shown = {**self.get_config(), "learning_rate": self._learning_rate}
        args = [f"{k}={v!r}" for k, v in shown.items() if v not in (None, False)]
        return f"{type(self).__name__}({', '.join(args)})"

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal optimizer."""
        rate: Any = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            rate = schedules.serialize(rate)
        return {
            "learning_rate": rate,
            "name": self.name,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
            **self.attrs(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Optimizer:
        config = dict(config)
        rate = config["learning_rate"]
        if isinstance(rate, dict):
            config["learning_rate"] = schedules.deserialize(rate)
        return cls(**config)

    def _number(
        self, name: str, value: float | None, low: float, high: float
    ) -> float | None:
        """`value` as a float in [low, high], or None."""
        if value is None:
            return None
        if not is_integer(value) and not isinstance(value, (float, np.floating)):
            raise TypeError(
                f"[{type(self).__name__}] {name} must be a number. "
                f"Received: {value!r} of type {type(value).__name__}. "
                f"Try {name}={USUAL[name]}."
            )
        if not low <= value <= high:  # NaN is not
            limits = (
                f"in [{low:.8g}, {high:.8g}]" if high < LARGEST else "finite in float32"
            )
            limits += f" and at least {low:g}" if low == 0.0 and high == LARGEST else ""
            raise ValueError(
                f"[{type(self).__name__}] {name} must be {limits}. "
                f"Received: {value!r}. Try {name}={USUAL[name]}."
            )
        return float(value)

    def _set(self, low: float, high: float, **numbers: float) -> None:
        for name, value in numbers.items():
            if value is None:
                raise TypeError(
                    f"[{type(self).__name__}] {name} must be a number. "
                    f"Received: {name}=None. Try {name}={USUAL[name]}."
                )
            setattr(self, name, self._number(name, value, low, high))

    def _flag(self, **flags: bool) -> None:
        for name, value in flags.items():
            setattr(self, name, check_flag(type(self).__name__, name, value))
