"""Gradient descent: SGD, RMSprop and Adagrad. Formulas are Keras's;
`kurve.engines.reference.optimizers` computes them."""

from __future__ import annotations

from typing import Unpack

from kurve.core.dtypes import FLOAT32_MAX
from kurve.optimizers.base import (
    Optimizer,
    OptimizerArguments,
    Rate,
)


class SGD(Optimizer):
    """Gradient descent: w <- w - lr g.

    With momentum, m <- momentum m - lr g and w <- w + m, or with `nesterov`
    w <- w + momentum m - lr g.
    Source: Robbins & Monro 1951, Polyak 1964, Nesterov 1983.

    Args:
        learning_rate: a number, a schedule or a function.
        momentum: in [0, 1].
        nesterov: whether to use Nesterov momentum.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.SGD(0.1, momentum=0.9, nesterov=True).momentum
        0.9
    """

    kind = "sgd"
    attr_names = ("momentum", "nesterov")

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.momentum: float
        self._set(0.0, 1.0, momentum=momentum)
        self.nesterov: bool
        self._flag(nesterov=nesterov)
        self.own_slots = {"momentum": 0.0} if self.momentum else {}


class RMSprop(Optimizer):
    """w <- w - lr g / sqrt(v + epsilon), with v the moving mean of g^2.

    With `centered`, the square of the moving mean of g is subtracted from v.
    Source: Tieleman & Hinton 2012; Graves 2013.

    Args:
        learning_rate: a number, a schedule or a function.
        rho: decay of the moving means, in [0, 1].
        momentum: in [0, 1]; 0 for none.
        epsilon: at least 0.
        centered: whether v is the variance of g.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.RMSprop(1e-3).rho
        0.9
    """

    kind = "rmsprop"
    interleaved = 1
    attr_names = ("rho", "momentum", "epsilon", "centered")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
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
        self._set(0.0, FLOAT32_MAX, epsilon=epsilon)
        self.centered: bool
        self._flag(centered=centered)
        names = ["velocity"]
        names += ["momentum"] * (self.momentum > 0)
        names += ["average_gradient"] * self.centered
        self.own_slots = dict.fromkeys(names, 0.0)


class Adagrad(Optimizer):
    """w <- w - lr g / sqrt(a + epsilon), with a the running sum of g^2.

    Source: Duchi et al. 2011.

    Args:
        learning_rate: a number, a schedule or a function.
        initial_accumulator_value: a before the first step, at least 0.
        epsilon: at least 0.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.Adagrad(0.1).initial_accumulator_value
        0.1
    """

    kind = "adagrad"
    attr_names = ("initial_accumulator_value", "epsilon")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.initial_accumulator_value: float
        self.epsilon: float
        self._set(
            0.0,
            FLOAT32_MAX,
            initial_accumulator_value=initial_accumulator_value,
            epsilon=epsilon,
        )
        self.own_slots = {"accumulator": self.initial_accumulator_value}
