"""Learning rate schedules. Names and formulas are Keras's; `OneCycle` is torch's.

A schedule is called with a step, the number of updates so far, or an array of steps,
and returns learning rates of the same shape, float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from kurve.core import registry
from kurve.core.arguments import check_flag, check_number, is_number
from kurve.errors import lookup
from kurve.optimizers.schedule import LearningRateSchedule as LearningRateSchedule
from kurve.optimizers.schedule import check_positive


class _Decay(LearningRateSchedule):
    """Schedules that depend on p = step / decay_steps, rounded down with
    `staircase`."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ) -> None:
        check_positive(self, decay_steps=decay_steps)
        check_positive(
            self,
            zero=True,
            initial_learning_rate=initial_learning_rate,
            decay_rate=decay_rate,
        )
        self._label(name)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps, self.decay_rate = decay_steps, decay_rate
        self.staircase = check_flag(type(self).__name__, "staircase", staircase)

    def progress(self, step: Any) -> np.ndarray:
        """p for a step or an array of steps."""
        p = np.asarray(step, dtype=np.float64) / self.decay_steps
        return np.floor(p) if self.staircase else p


class ExponentialDecay(_Decay):
    """initial * decay_rate^(step / decay_steps).

    Args:
        initial_learning_rate: the rate at step 0, at least 0.
        decay_steps: above 0.
        decay_rate: at least 0.
        staircase: whether to round down step / decay_steps.
        name: a label without effect, as in Keras.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> rate = kurve.optimizers.schedules.ExponentialDecay(0.1, 100, 0.5)
        >>> rate([0, 100, 200])
        array([0.1  , 0.05 , 0.025])
    """

    def __call__(self, step: Any) -> np.ndarray:
        rate = self.decay_rate ** self.progress(step)
        return np.asarray(self.initial_learning_rate * rate)


class InverseTimeDecay(_Decay):
    """initial / (1 + decay_rate * step / decay_steps).

    Args:
        initial_learning_rate: the rate at step 0, at least 0.
        decay_steps: above 0.
        decay_rate: at least 0.
        staircase: whether to round down step / decay_steps.
        name: a label without effect, as in Keras.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> rate = kurve.optimizers.schedules.InverseTimeDecay(0.1, 100, 1.0)
        >>> rate([0, 100, 300])
        array([0.1  , 0.05 , 0.025])
    """

    def __call__(self, step: Any) -> np.ndarray:
        divisor = 1.0 + self.decay_rate * self.progress(step)
        return np.asarray(self.initial_learning_rate / divisor)


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and including step boundaries[0], then values[1], and so on.

    Args:
        boundaries: increasing numbers of steps.
        values: learning rates, one more than boundaries.
        name: a label without effect, as in Keras.

    Raises:
        ValueError: wrong number of values, or boundaries that do not increase.

    Example:
        >>> rate = kurve.optimizers.schedules.PiecewiseConstantDecay([100], [0.1, 0.01])
        >>> rate([100, 101])
        array([0.1 , 0.01])
    """

    def __init__(
        self,
        boundaries: Sequence[int],
        values: Sequence[float],
        name: str | None = None,
    ) -> None:
        for argument, numbers in (("boundaries", boundaries), ("values", values)):
            listed = isinstance(numbers, (list, tuple)) or np.ndim(numbers) == 1
            if not listed or not all(map(is_number, numbers)):
                raise ValueError(
                    f"[PiecewiseConstantDecay] {argument} must be a list of finite "
                    f"numbers. Received: {argument}={numbers!r}. "
                    "Try boundaries=[100], values=[1e-3, 1e-4]."
                )
        self._label(name)
        self.boundaries, self.values = list(boundaries), list(values)
        if len(self.boundaries) != len(self.values) - 1:
            raise ValueError(
                "[PiecewiseConstantDecay] there must be one value more than boundaries."
                f" Received: {len(self.boundaries)} boundaries and {len(self.values)} "
                "values. Try boundaries=[100], values=[1e-3, 1e-4]."
            )
        if any(b <= a for a, b in pairwise(self.boundaries)):
            raise ValueError(
                "[PiecewiseConstantDecay] boundaries must increase. "
                f"Received: {self.boundaries}. Try {sorted(set(self.boundaries))}."
            )
        for i, value in enumerate(self.values):
            check_positive(self, zero=True, **{f"values[{i}]": value})

    def __call__(self, step: Any) -> np.ndarray:
        index = np.searchsorted(np.asarray(self.boundaries), step, side="left")
        return np.asarray(self.values, dtype=np.float64)[index]


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate down to alpha times it, after a linear
    warm-up.

    Without `warmup_target`: initial * ((1 - alpha) (1 + cos(pi s)) / 2 + alpha) with
    s = min(step, decay_steps) / decay_steps. With it: first linear from initial to the
    target in `warmup_steps`, then the cosine down from the target.
    Source: Loshchilov & Hutter 2017 (SGDR).

    Args:
        initial_learning_rate: at least 0.
        decay_steps: length of the cosine, above 0.
        alpha: the final rate as a fraction of the highest, at least 0.
        warmup_target: the rate after warm-up; None for no warm-up.
        warmup_steps: length of the warm-up.
        name: a label without effect, as in Keras.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> rate = kurve.optimizers.schedules.CosineDecay(0.1, 100)
        >>> rate([0, 50, 100])
        array([0.1 , 0.05, 0.  ])
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str | None = None,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        check_positive(self, decay_steps=decay_steps)
        check_positive(
            self,
            zero=True,
            initial_learning_rate=initial_learning_rate,
            alpha=alpha,
            warmup_steps=warmup_steps,
            warmup_target=0.0 if warmup_target is None else warmup_target,
        )
        self._label(name)
        self.initial_learning_rate, self.decay_steps = (
            initial_learning_rate,
            decay_steps,
        )
        self.alpha = alpha
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def __call__(self, step: Any) -> np.ndarray:
        step = np.asarray(step, dtype=np.float64)
        peak, warm = self.initial_learning_rate, 0
        if self.warmup_target is not None:
            peak, warm = self.warmup_target, self.warmup_steps
        s = np.clip((step - warm) / self.decay_steps, 0.0, 1.0)
        cosine = 0.5 * (1.0 + np.cos(math.pi * s))
        decayed = peak * ((1.0 - self.alpha) * cosine + self.alpha)
        rise = (peak - self.initial_learning_rate) * step / max(warm, 1)
        return np.where(step < warm, self.initial_learning_rate + rise, decayed)


class OneCycle(LearningRateSchedule):
    """One cycle: up to a large learning rate and down to almost zero.

    The first step has max / divisor, step warmup * total_steps - 1 the maximum, and the
    last step, total_steps - 1, has max / divisor / final_divisor, which is kept from
    then on. From a to b the rate follows half a cosine, b + (a - b) (1 + cos(pi s)) /
    2, or,
    with decay="linear", a + (b - a) s, with s in [0, 1].

    Large rates in the middle cross flat regions and leave narrow minima; small rates at
    the end let the weights settle. `kurve.lr_find` finds a maximum.
    Source: Smith & Topin 2018
    (super-convergence); phases, defaults and numbers are those of
    torch.optim.lr_scheduler.OneCycleLR.

    Args:
        max_learning_rate: the largest rate.
        total_steps: number of updates in the whole training: epochs times batches.
        warmup: fraction of steps before the maximum, in [0, 1].
        divisor: maximum over first rate, at least 1.
        final_divisor: first over last rate, at least 1.
        decay: "cosine" or "linear", up and down.
        name: a label without effect, as in Keras.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> rate = kurve.optimizers.schedules.OneCycle(0.1, total_steps=100)
        >>> rate([0, 29, 99])
        array([4.e-03, 1.e-01, 4.e-07])
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        warmup: float = 0.3,
        divisor: float = 25.0,
        final_divisor: float = 1e4,
        decay: str = "cosine",
        name: str | None = None,
    ) -> None:
        self._label(name)
        check_positive(self, max_learning_rate=max_learning_rate)
        check_positive(self, total_steps=total_steps)
        for name, value in (("divisor", divisor), ("final_divisor", final_divisor)):
            check_number("OneCycle", name, value, 25, 1)
        check_number("OneCycle", "warmup", warmup, 0.3, 0, 1)
        lookup("OneCycle", "decay", decay, _CURVES)
        self.max_learning_rate, self.total_steps = max_learning_rate, total_steps
        self.warmup, self.divisor, self.final_divisor = warmup, divisor, final_divisor
        self.decay = decay

    def __call__(self, step: Any) -> np.ndarray:
        step = np.asarray(step, dtype=np.float64)
        top, end = self.warmup * self.total_steps - 1.0, self.total_steps - 1.0
        highest, first = self.max_learning_rate, self.max_learning_rate / self.divisor
        curve = _CURVES[self.decay]
        up = step / top if top > 0.0 else np.ones_like(step)
        down = np.clip((step - top) / (end - top), 0.0, 1.0) if end > top else 1.0
        return np.where(
            step <= top,
            curve(first, highest, up),
            curve(highest, first / self.final_divisor, down),
        )


class PolynomialDecay(LearningRateSchedule):
    """(initial - end) (1 - step / decay_steps)^power + end, constant from decay_steps
    on.

    With `cycle`, decay_steps is multiplied by the smallest integer for which it reaches
    the step, so that the rate rises again at each multiple.

    Args:
        initial_learning_rate: the rate at step 0, at least 0.
        decay_steps: above 0.
        end_learning_rate: the final rate, at least 0.
        power: at least 0; 1 is a straight line.
        cycle: whether the decay restarts.
        name: a label without effect, as in Keras.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> rate = kurve.optimizers.schedules.PolynomialDecay(0.1, 100, 0.0)
        >>> rate([0, 50, 200])
        array([0.1 , 0.05, 0.  ])
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = None,
    ) -> None:
        check_positive(self, decay_steps=decay_steps)
        check_positive(
            self,
            zero=True,
            initial_learning_rate=initial_learning_rate,
            end_learning_rate=end_learning_rate,
            power=power,
        )
        self._label(name)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps, self.end_learning_rate = decay_steps, end_learning_rate
        self.power = power
        self.cycle = check_flag("PolynomialDecay", "cycle", cycle)

    def __call__(self, step: Any) -> np.ndarray:
        step = np.asarray(step, dtype=np.float64)
        length: Any = self.decay_steps
        if self.cycle:
            length = length * np.maximum(np.ceil(step / length), 1.0)
        else:
            step = np.minimum(step, length)
        fall = self.initial_learning_rate - self.end_learning_rate
        rate = fall * (1.0 - step / length) ** self.power
        return np.asarray(rate + self.end_learning_rate)


class CosineDecayRestarts(LearningRateSchedule):
    """A sequence of half cosines: the first takes `first_decay_steps`; each later one
    takes t_mul times as many and starts at m_mul times the rate.

    rate = initial ((1 - alpha) m_mul^i (1 + cos(pi s)) / 2 + alpha) at the fraction s
    of half cosine i.
    Source: Loshchilov & Hutter 2017 (SGDR).

    Args:
        initial_learning_rate: at least 0.
        first_decay_steps: above 0.
        t_mul: at least 1.
        m_mul: at least 0.
        alpha: the final rate as a fraction of the initial one, at least 0.
        name: a label without effect, as in Keras.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> rate = kurve.optimizers.schedules.CosineDecayRestarts(0.1, 100)
        >>> rate([0, 50, 100, 200, 300])
        array([0.1 , 0.05, 0.1 , 0.05, 0.1 ])
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str | None = None,
    ) -> None:
        check_positive(self, first_decay_steps=first_decay_steps)
        check_positive(
            self,
            zero=True,
            initial_learning_rate=initial_learning_rate,
            m_mul=m_mul,
            alpha=alpha,
        )
        check_number("CosineDecayRestarts", "t_mul", t_mul, 2.0, 1)
        self._label(name)
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self.t_mul, self.m_mul, self.alpha = t_mul, m_mul, alpha

    def __call__(self, step: Any) -> np.ndarray:
        step = np.asarray(step, dtype=np.float64)
        with np.errstate(over="ignore"):
            s = np.minimum(step / self.first_decay_steps, 1e15)
        if self.t_mul == 1.0:
            restarts = np.floor(s)
            s = s - restarts
        else:
            # The first i cosines take (t_mul^i - 1) / (t_mul - 1) times the steps of
            # the first one. Rounding can make an integer logarithm slightly smaller.
            growth = self.t_mul - 1.0
            exact = np.log1p(s * growth) / math.log(self.t_mul)
            restarts = np.floor(exact + 1e-12)
            power = self.t_mul**restarts
            s = np.maximum((s - (power - 1.0) / growth) / power, 0.0)
        cosine = 0.5 * self.m_mul**restarts * (1.0 + np.cos(math.pi * s))
        decayed = (1.0 - self.alpha) * cosine + self.alpha
        return np.asarray(self.initial_learning_rate * decayed)


def _cosine(a: float, b: float, s: Any) -> Any:
    return b + (a - b) * 0.5 * (1.0 + np.cos(math.pi * s))


def _linear(a: float, b: float, s: Any) -> Any:
    return a + (b - a) * s


_CURVES = {"cosine": _cosine, "linear": _linear}

CLASSES: dict[str, type[LearningRateSchedule]] = {
    cls.__name__: cls
    for cls in [
        ExponentialDecay,
        InverseTimeDecay,
        PiecewiseConstantDecay,
        CosineDecay,
        PolynomialDecay,
        CosineDecayRestarts,
        OneCycle,
    ]
}


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """Class and configuration of a schedule."""
    return registry.entry(schedule, CLASSES)


def deserialize(config: Mapping[str, Any]) -> LearningRateSchedule:
    """The schedule from a `serialize` result."""
    cls = registry.find(
        "optimizers", "schedule", config["class_name"], CLASSES, LearningRateSchedule
    )
    schedule: LearningRateSchedule = cls(**config["config"])
    return schedule
