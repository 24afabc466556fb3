"""Optimizers with elementwise formulas: Adadelta, Ftrl, Lion, ScheduleFreeAdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from kurve.core.arguments import MAX_COUNT
from kurve.core.dtypes import FLOAT32_MAX
from kurve.optimizers.base import Optimizer, OptimizerArguments, Rate
from kurve.plan import Attr

if TYPE_CHECKING:
    from kurve.optimizers.updates import Terms


class Adadelta(Optimizer):
    """w <- w + lr d, with d = -sqrt(u + epsilon) / sqrt(a + epsilon) g.

    a and u are the moving means of g^2 and d^2, with u from previous steps.
    Source: Zeiler 2012.

    Args:
        learning_rate: a number, a schedule or a function; 1 in the paper.
        rho: decay of the moving means, in [0, 1].
        epsilon: at least 0.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.Adadelta(1.0).rho
        0.95
    """

    kind = "adadelta"
    own_slots: Mapping[str, float] = {
        "accumulated_grad": 0.0,
        "accumulated_delta_var": 0.0,
    }
    attr_names = ("rho", "epsilon")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho: float
        self.epsilon: float
        self._set(0.0, 1.0, rho=rho)
        self._set(0.0, FLOAT32_MAX, epsilon=epsilon)

    def formula(self, terms: Terms) -> Any:
        g, rho, epsilon = terms.gradient, self.rho, self.epsilon
        a, u = terms.slots["accumulated_grad"], terms.slots["accumulated_delta_var"]
        a = rho * a + (1.0 - rho) * np.square(g)
        d = -(np.sqrt(u + epsilon) * g / np.sqrt(a + epsilon))
        terms.slots["accumulated_grad"] = a
        terms.slots["accumulated_delta_var"] = rho * u + (1.0 - rho) * np.square(d)
        return terms.value + terms.rate * d


class Ftrl(Optimizer):
    """ "Follow the regularized leader": each weight is the minimum of all linear losses
    so far, with penalties.

    With n the sum of g^2 from `initial_accumulator_value` on and s = n^-power:
    z <- z + g + 2 shrinkage w - (s_new - s_old) / lr w, and
    w <- (clip(z, -l1, l1) - z) / (s_new / lr + 2 l2 + beta / lr).
    Source: McMahan et al. 2013.

    Args:
        learning_rate: a number, a schedule or a function.
        learning_rate_power: at most 0; 0 means a fixed learning rate.
        initial_accumulator_value: n before the first step, at least 0.
        l1_regularization_strength, l2_regularization_strength: at least 0.
        l2_shrinkage_regularization_strength: a penalty on the size of the weights, at
            least 0.
        beta: beta of the paper.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.Ftrl(0.1).learning_rate_power
        -0.5
    """

    kind = "ftrl"

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.learning_rate_power: float
        self.initial_accumulator_value: float
        self.l1_regularization_strength: float
        self.l2_regularization_strength: float
        self.l2_shrinkage_regularization_strength: float
        self.beta: float
        self._set(-FLOAT32_MAX, 0.0, learning_rate_power=learning_rate_power)
        self._set(
            0.0,
            FLOAT32_MAX,
            initial_accumulator_value=initial_accumulator_value,
            l1_regularization_strength=l1_regularization_strength,
            l2_regularization_strength=l2_regularization_strength,
            l2_shrinkage_regularization_strength=l2_shrinkage_regularization_strength,
        )
        self._set(-FLOAT32_MAX, FLOAT32_MAX, beta=beta)
        start = self.initial_accumulator_value
        self.own_slots = {"accumulator": start, "linear": 0.0}

    def attrs(self) -> dict[str, Attr]:
        shrinkage = self.l2_shrinkage_regularization_strength
        return {
            "learning_rate_power": self.learning_rate_power,
            "initial_accumulator_value": self.initial_accumulator_value,
            "l1_regularization_strength": self.l1_regularization_strength,
            "l2_regularization_strength": self.l2_regularization_strength,
            "l2_shrinkage_regularization_strength": shrinkage,
            "beta": self.beta,
        }

    def formula(self, terms: Terms) -> Any:
        w, g, moves = terms.value, terms.gradient, terms.rate > 0.0
        rate = np.where(moves, terms.rate, 1.0)
        n, z = terms.slots["accumulator"], terms.slots["linear"]
        l1, power = self.l1_regularization_strength, -self.learning_rate_power
        l2 = self.l2_regularization_strength + self.beta / (2.0 * rate)
        slope = g + 2.0 * self.l2_shrinkage_regularization_strength * w
        after = n + np.square(g)
        z = z + (slope - (after**power - n**power) / rate * w)
        terms.slots["accumulator"], terms.slots["linear"] = after, z
        after = (np.clip(z, -l1, l1) - z) / (after**power / rate + 2.0 * l2)
        return np.where(moves, after, w)  # 0 keeps the value


class Lion(Optimizer):
    """w <- w - lr sign(beta_1 m + (1 - beta_1) g), m <- beta_2 m + (1 - beta_2) g.

    All steps have the same size, so rates are a third to a tenth of Adam's.
    Source: Chen et al. 2023.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1: weight of m in the step, above 0 and at most 1.
        beta_2: decay of m, in [0, 1].
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.Lion(1e-4).beta_2
        0.99
    """

    kind = "lion"
    own_slots: Mapping[str, float] = {"momentum": 0.0}
    attr_names = ("beta_1", "beta_2")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1: float
        self.beta_2: float
        self._set(0.0, 1.0, beta_1=beta_1, beta_2=beta_2)
        if self.beta_1 == 0.0:
            raise ValueError(
                "[Lion] beta_1 must be above 0, because 0 would use only the sign of "
                f"the last gradient. Received: {beta_1!r}. Try beta_1=0.9."
            )

    def formula(self, terms: Terms) -> Any:
        m, g = terms.slots["momentum"], terms.gradient
        direction = np.sign(m * self.beta_1 + g * (1.0 - self.beta_1))
        terms.slots["momentum"] = m * self.beta_2 + g * (1.0 - self.beta_2)
        return terms.value - terms.rate * direction


class ScheduleFreeAdamW(Optimizer):
    """Adam without a schedule: gradients are taken between the iterate z and the mean x
    of all iterates, which converges.

    z <- z - lr g / (sqrt(v / (1 - beta_2^t)) + epsilon), with v the moving mean of g^2;
    x <- x + (z - x) / t; the weights are (1 - beta_1) z + beta_1 x.
    Source: Defazio et al. 2024.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1: fraction of x in the weights, above 0 and at most 1.
        beta_2: decay of v, in [0, 1).
        epsilon: at least 0.
        warmup_steps: number of steps over which the learning rate ramps up.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.ScheduleFreeAdamW(warmup_steps=10).beta_1
        0.9
    """

    kind = "schedule_free_adamw"
    own_slots: Mapping[str, float] = {"momentum": 0.0, "velocity": 0.0}
    attr_names = ("beta_1", "beta_2", "epsilon", "warmup_steps")

    def __init__(
        self,
        learning_rate: Rate = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1: float
        self.beta_2: float
        self.epsilon: float
        self._set(2.0**-24, 1.0, beta_1=beta_1)
        self._set(0.0, 1.0 - 2.0**-24, beta_2=beta_2)
        self._set(0.0, FLOAT32_MAX, epsilon=epsilon)
        self._set(0, MAX_COUNT, warmup_steps=warmup_steps)
        self.warmup_steps = int(warmup_steps)

    def formula(self, terms: Terms) -> Any:
        g, rate, t = terms.gradient, terms.rate, terms.step
        beta_1, beta_2, v = self.beta_1, self.beta_2, terms.slots["velocity"]
        if self.warmup_steps:
            rate = rate * np.minimum(t / float(self.warmup_steps), 1.0)
        # Initialize z with the weights.
        z = np.where(t <= 1.0, terms.undecayed, terms.slots["momentum"])
        x = (terms.value - (1.0 - beta_1) * z) / beta_1
        v = v + (np.square(g) - v) * (1.0 - beta_2)
        z = z - rate * g / (np.sqrt(v / (1.0 - beta_2**t)) + self.epsilon)
        x = (1.0 - 1.0 / t) * x + 1.0 / t * z
        terms.slots["momentum"], terms.slots["velocity"] = z, v
        return (1.0 - beta_1) * z + beta_1 * x
