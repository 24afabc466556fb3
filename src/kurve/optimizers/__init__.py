"""Optimizers by name. Names, defaults and formulas are Keras's; the formulas are in
`kurve.engines.reference.optimizers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack, cast

import numpy as np

from kurve.core import registry
from kurve.core.arguments import check_flag, check_name, is_integer, refuse_arguments
from kurve.core.entries import Entrance, entry
from kurve.core.naming import auto_name
from kurve.core.overrides import is_own
from kurve.errors import absent as _absent
from kurve.errors import unknown_name
from kurve.optimizers import schedules as schedules
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
"""What an error suggests."""


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
        weight_decay: fraction of each weight, times the learning rate, that is taken
            off before every update (decoupled: Loshchilov & Hutter 2019); None: none.
        clipnorm: largest length of each variable's gradient.
        clipvalue: largest size of each element of a gradient.
        global_clipnorm: largest length of all gradients together.

    Raises:
        ValueError: a number outside its range, or more than one way of clipping.
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
        given = [c for c in (clipnorm, clipvalue, global_clipnorm) if c is not None]
        if len(given) > 1:
            raise ValueError(
                f"[{type(self).__name__}] only one of clipnorm, clipvalue and "
                f"global_clipnorm can be given. Received: clipnorm={clipnorm}, "
                f"clipvalue={clipvalue}, global_clipnorm={global_clipnorm}. "
                "Try the one that matters most."
            )

    @property
    def learning_rate(self) -> float | LearningRateSchedule:
        """The learning rate or schedule; it can be set at any time."""
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
        """Learning rates of the updates first, first + 1, ...: float32 (count,).

        Raises:
            ValueError: the schedule gives a number that is not finite or is negative.
        """
        if not isinstance(self._learning_rate, LearningRateSchedule):
            rates = np.empty(count, np.float32)
            rates.fill(self._learning_rate)  # np.full takes four times as long
            return rates
        steps = np.arange(first, first + count)
        schedule: Any = self._learning_rate
        if is_own(type(schedule)):  # written for one step, as Keras calls it
            given = np.array([float(schedule(step)) for step in steps], np.float64)
        else:
            given = np.asarray(schedule(steps), np.float64)
        bad = ~np.isfinite(given) | (given < 0)
        if given.shape != (count,) or bad.any():
            shown = given[bad][0] if given.shape == (count,) else given.shape
            raise ValueError(
                f"[{type(self).__name__}] the schedule must give one finite learning "
                f"rate of at least 0 a step. Received: {shown} from "
                f"{type(self._learning_rate).__name__} at steps {first}.."
                f"{first + count - 1}."
            )
        return given.astype(np.float32)

    def current_learning_rate(self, step: int) -> float:
        """Learning rate of the update after `step` updates."""
        return float(self.learning_rates(step, 1)[0])

    def attrs(self) -> dict[str, Attr]:
        """The numbers of the formula, for the plan."""
        return {}

    @property
    def spec(self) -> Spec:
        """What the plan says of this optimizer; 0 stands for "not used"."""
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
        given = [f"{k}={v!r}" for k, v in shown.items() if v not in (None, False)]
        return f"{type(self).__name__}({', '.join(given)})"

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer."""
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


class SGD(Optimizer):
    """Gradient descent: w <- w - lr g; with momentum, m <- momentum m - lr g and
    w <- w + m, or with `nesterov` w <- w + momentum m - lr g.

    Source: Robbins & Monro 1951, Polyak 1964, Nesterov 1983.
    """

    kind = "sgd"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.momentum: float
        self._set(0.0, 1.0, momentum=momentum)
        self.nesterov: bool
        self._flag(nesterov=nesterov)
        self.slot_starts = (0.0,) if self.momentum else ()

    def attrs(self) -> dict[str, Attr]:
        return {"momentum": self.momentum, "nesterov": self.nesterov}


class RMSprop(Optimizer):
    """w <- w - lr g / sqrt(v + epsilon), v the exponential mean of g^2 (less the square
    of the mean of g, if `centered`), with momentum if that is above 0.

    Source: Tieleman & Hinton 2012; Graves 2013.
    """

    kind = "rmsprop"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho: float
        self.momentum: float
        self.epsilon: float
        self._set(0.0, 1.0, rho=rho, momentum=momentum)
        self._set(0.0, LARGEST, epsilon=epsilon)
        self.centered: bool
        self._flag(centered=centered)
        self.slot_starts = (0.0,) * (1 + (self.momentum > 0) + self.centered)

    def attrs(self) -> dict[str, Attr]:
        return {
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }


class Adagrad(Optimizer):
    """a <- a + g^2; w <- w - lr g / sqrt(a + epsilon). Source: Duchi et al. 2011."""

    kind = "adagrad"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.initial_accumulator_value: float
        self.epsilon: float
        self._set(
            0.0,
            LARGEST,
            initial_accumulator_value=initial_accumulator_value,
            epsilon=epsilon,
        )
        self.slot_starts = (self.initial_accumulator_value,)

    def attrs(self) -> dict[str, Attr]:
        return {
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }


class _Moments(Optimizer):
    """Optimizers that follow the mean of g and the size of g."""

    slot_starts: tuple[float, ...] = (0.0, 0.0)

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1: float
        self.beta_2: float
        self.epsilon: float
        self._set(0.0, 1.0 - 2.0**-24, beta_1=beta_1, beta_2=beta_2)
        self._set(0.0, LARGEST, epsilon=epsilon)

    def attrs(self) -> dict[str, Attr]:
        return {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }


class Adam(_Moments):
    """w <- w - alpha m / (sqrt(v) + epsilon), m and v the exponential means of g and
    g^2, alpha = lr sqrt(1 - beta_2^t) / (1 - beta_1^t).

    Source: Kingma & Ba 2015, with epsilon in the place of section 2's epsilon hat, as
    in Keras; amsgrad: Reddi, Kale & Kumar 2018.
    """

    kind = "adam"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **common)
        self.amsgrad: bool
        self._flag(amsgrad=amsgrad)
        self.slot_starts = (0.0,) * (2 + self.amsgrad)

    def attrs(self) -> dict[str, Attr]:
        return {**super().attrs(), "amsgrad": self.amsgrad}


class AdamW(Adam):
    """Adam with decoupled weight decay. Source: Loshchilov & Hutter 2019."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Unpack[ClippingArguments],
    ) -> None:
        if weight_decay is None:
            raise ValueError(
                "[AdamW] weight_decay must be a number. Received: weight_decay=None. "
                "Try Adam, which has none, or weight_decay=0.004."
            )
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay=weight_decay,
            **common,
        )


class Nadam(_Moments):
    """Adam that looks one momentum step ahead. Source: Dozat 2016."""

    kind = "nadam"
    scalar_starts = (1.0,)


class Adamax(_Moments):
    """w <- w - lr / (1 - beta_1^t) m / (u + epsilon), u the largest recent |g|.

    Source: Kingma & Ba 2015, section 7.1.
    """

    kind = "adamax"


CLASSES: dict[str, type[Optimizer]] = {
    cls.__name__: cls for cls in [SGD, RMSprop, Adagrad, Adam, AdamW, Nadam, Adamax]
}

_TABLE = CLASSES | {name.lower(): cls for name, cls in CLASSES.items()}


@entry
def get(identifier: str | Optimizer) -> Optimizer:
    """The optimizer of that name, with Keras's defaults."""
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        if identifier.lower() in _TABLE:
            make: Any = _TABLE[identifier.lower()]
            return cast(Optimizer, make())
        raise unknown_name("optimizers", "optimizer", identifier, CLASSES)
    raise TypeError(
        "[optimizers] an optimizer must be a name or an object of kurve.optimizers. "
        f"Received: {identifier!r}. Try optimizer='adam'."
    )


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """Class and configuration of an optimizer."""
    return registry.entry(optimizer, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Optimizer:
    """The optimizer that `serialize` has described."""
    name = config["class_name"]
    cls = registry.find("optimizers", "optimizer", name, CLASSES, Optimizer)
    made: Optimizer = cls.from_config(config["config"])
    return made


__getattr__ = _absent(__name__)
