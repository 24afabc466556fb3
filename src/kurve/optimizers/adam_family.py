"""Adam and its relatives: AdamW, Nadam and Adamax. Formulas are Keras's;
`kurve.engines.reference.optimizers` computes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from kurve.core.dtypes import FLOAT32_MAX
from kurve.optimizers.base import (
    ClippingArguments,
    Optimizer,
    OptimizerArguments,
    Rate,
)
from kurve.plan import Attr


class _Moments(Optimizer):
    """Optimizers that track moving means of g and its magnitude."""

    own_slots: Mapping[str, float] = {"momentum": 0.0, "velocity": 0.0}
    attr_names = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
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
        self._set(0.0, FLOAT32_MAX, epsilon=epsilon)


class Adam(_Moments):
    """w <- w - alpha m / (sqrt(v) + epsilon), with m and v the moving means of g and
    g^2.

    alpha = lr sqrt(1 - beta_2^t) / (1 - beta_1^t) at step t. As in Keras, epsilon plays
    the role of epsilon hat in section 2 of the paper.
    Source: Kingma & Ba 2015; amsgrad: Reddi, Kale & Kumar 2018.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1, beta_2: decay of the moving means, in [0, 1).
        epsilon: at least 0.
        amsgrad: whether to use the maximum of v so far.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.Adam(1e-3, clipnorm=1.0).clipnorm
        1.0
    """

    kind = "adam"
    interleaved = 2

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **common)
        self.amsgrad: bool
        self._flag(amsgrad=amsgrad)
        if self.amsgrad:
            self.own_slots = {**_Moments.own_slots, "velocity_hat": 0.0}

    def attrs(self) -> dict[str, Attr]:
        return {**super().attrs(), "amsgrad": self.amsgrad}


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Source: Loshchilov & Hutter 2019.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1, beta_2: decay of the moving means, in [0, 1).
        epsilon: at least 0.
        amsgrad: see `Adam`.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.AdamW(weight_decay=0.01).weight_decay
        0.01
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
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
                "Try Adam without weight decay, or weight_decay=0.004."
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
    """Adam with Nesterov momentum, which looks one momentum step ahead.

    Source: Dozat 2016.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1, beta_2: decay of the moving means, in [0, 1).
        epsilon: at least 0.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.Nadam(1e-3).beta_1
        0.9
    """

    kind = "nadam"
    scalar_starts = (1.0,)


class Adamax(_Moments):
    """w <- w - lr / (1 - beta_1^t) m / (u + epsilon), with u the decayed maximum of
    |g|.

    Source: Kingma & Ba 2015, section 7.1.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1, beta_2: decay of the moving means, in [0, 1).
        epsilon: at least 0.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.Adamax(1e-3).beta_2
        0.999
    """

    kind = "adamax"
    own_slots: Mapping[str, float] = {"momentum": 0.0, "norm": 0.0}
