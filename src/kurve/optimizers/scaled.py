"""Optimizers that scale steps by norms of variables: Lamb, Adafactor, Muon."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from kurve.core.arguments import check_integer
from kurve.core.dtypes import FLOAT32_MAX
from kurve.optimizers.adam_family import _Moments
from kurve.optimizers.base import (
    ClippingArguments,
    Optimizer,
    OptimizerArguments,
    Rate,
)

if TYPE_CHECKING:
    from kurve.optimizers.updates import Terms


class Lamb(_Moments):
    """Adam with steps scaled to each variable's norm: w <- w - lr |w| / |u| u.

    u = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon), with m and v as in
    `Adam`; if |w| or |u| is 0, the step is lr u.
    Source: You et al. 2020.

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
        >>> kurve.optimizers.Lamb(1e-2).beta_2
        0.999
    """

    kind = "lamb"

    def formula(self, terms: Terms) -> Any:
        w, g, t = terms.value, terms.gradient, terms.step
        m, v = terms.slots["momentum"], terms.slots["velocity"]
        m = m + (g - m) * (1.0 - self.beta_1)
        v = v + (np.square(g) - v) * (1.0 - self.beta_2)
        terms.slots["momentum"], terms.slots["velocity"] = m, v
        root = np.sqrt(v / (1.0 - self.beta_2**t)) + self.epsilon
        u = m / (1.0 - self.beta_1**t) / root
        size, length = (np.sqrt(np.sum(np.square(x))) for x in (w, u))
        both = (size > 0.0) & (length > 0.0)
        ratio = np.where(both, size / length, 1.0)
        return w - ratio * terms.rate * u


class Adafactor(Optimizer):
    """Adam without momentum whose v, for matrices, is computed from row and column
    means: v = r c / mean(r).

    r and c are moving means of the means of g^2 + epsilon_1, with decay 1 - t^decay.
    u = g / sqrt(v) is divided by max(1, rms(u) / clip_threshold), and
    w <- w - max(epsilon_2, rms(w)) min(lr, 1 / sqrt(t)) u.
    Source: Shazeer & Stern 2018.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_2_decay: exponent of t in the decay, at most 0.
        epsilon_1: added to g^2, at least 0.
        epsilon_2: minimum rms of the weights in the step size.
        clip_threshold: maximum rms of u, above 0.
        relative_step: whether a numeric learning rate is limited to 1 / sqrt(t); as in
            Keras, the formula limits it in any case.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.Adafactor(0.05).beta_2_decay
        -0.8
    """

    kind = "adafactor"
    own_slots: Mapping[str, float] = {"r": 0.0, "c": 0.0, "velocity": 0.0}
    attr_names = (
        "beta_2_decay",
        "epsilon_1",
        "epsilon_2",
        "clip_threshold",
        "relative_step",
    )

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **common: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_2_decay: float
        self.epsilon_1: float
        self.epsilon_2: float
        self.clip_threshold: float
        self.relative_step: bool
        self._set(-FLOAT32_MAX, 0.0, beta_2_decay=beta_2_decay)
        self._set(0.0, FLOAT32_MAX, epsilon_1=epsilon_1, epsilon_2=epsilon_2)
        self._set(2.0**-126, FLOAT32_MAX, clip_threshold=clip_threshold)
        self._flag(relative_step=relative_step)

    def slot_shapes(
        self, name: str, shape: tuple[int, ...]
    ) -> dict[str, tuple[int, ...] | None]:
        if len(shape) < 2:
            return {"r": (), "c": (), "velocity": shape}  # Keras stores a 0 for each
        return {"r": shape[:-1], "c": (*shape[:-2], shape[-1]), "velocity": shape}

    def formula(self, terms: Terms) -> Any:
        g, t, slots = terms.gradient, terms.step, terms.slots
        decay = 1.0 - t**self.beta_2_decay
        square = np.square(g) + self.epsilon_1
        if "r" in slots:
            rows, columns = np.mean(square, axis=-1), np.mean(square, axis=-2)
            r = slots["r"] = decay * slots["r"] + (1.0 - decay) * rows
            c = slots["c"] = decay * slots["c"] + (1.0 - decay) * columns
            part = r / np.mean(r, axis=-1, keepdims=True)
            v = part.reshape(*r.shape, 1) * c.reshape(*c.shape[:-1], 1, c.shape[-1])
        else:
            v = decay * slots["velocity"] + (1.0 - decay) * square
        slots["velocity"] = v
        u = g / np.sqrt(v)
        u = u / np.maximum(1.0, _rms(u) / self.clip_threshold)
        rate = np.minimum(terms.rate, 1.0 / np.sqrt(t))
        return terms.value - np.maximum(self.epsilon_2, _rms(terms.value)) * rate * u


def _rms(x: Any) -> Any:
    return np.sqrt(np.mean(np.square(x)))


class Muon(Optimizer):
    """Momentum with orthogonalized steps for matrices, and Adam for other variables.

    m <- momentum m + g; the step's matrix x (g + momentum m with `nesterov`, else m) is
    divided by its norm, and `ns_steps` times x <- a x + (b A + c A A) x with A = x x^T
    brings its singular values near 1 (Newton & Schulz). Then
    w <- w - lr sqrt(max(rows, columns)) rms_rate x.
    Source: Jordan et al. 2024; Liu et al. 2025 (the scale).

    Args:
        learning_rate: a number, a schedule or a function.
        adam_beta_1, adam_beta_2, epsilon: arguments of Adam.
        adam_weight_decay: weight decay of the variables updated by Adam, or None.
        weight_decay: weight decay of the other variables, or None.
        exclude_layers: patterns; variables with a matching name are updated by Adam.
        exclude_embeddings: whether embeddings are updated by Adam.
        muon_a, muon_b, muon_c: a, b and c.
        adam_lr_ratio: ratio of Adam's learning rate to the other one.
        momentum: in [0, 1].
        ns_steps: number of iterations, at least 1.
        nesterov: see above.
        rms_rate: see above; None omits sqrt and rate.
        clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
            name: see `Optimizer`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.

    Example:
        >>> kurve.optimizers.Muon(1e-2).ns_steps
        5
    """

    kind = "muon"
    own_slots: Mapping[str, float] = {"momentum": 0.0, "velocity": 0.0}
    attr_names = (
        "adam_beta_1",
        "adam_beta_2",
        "epsilon",
        "muon_a",
        "muon_b",
        "muon_c",
        "adam_lr_ratio",
        "momentum",
        "ns_steps",
        "nesterov",
        "exclude_embeddings",
    )

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1.0,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **common: Unpack[ClippingArguments],
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **common)
        self.adam_beta_1: float
        self.adam_beta_2: float
        self.epsilon: float
        self.muon_a: float
        self.muon_b: float
        self.muon_c: float
        self.adam_lr_ratio: float
        self.momentum: float
        self.nesterov: bool
        self.exclude_embeddings: bool
        below = 1.0 - 2.0**-24
        self._set(0.0, below, adam_beta_1=adam_beta_1, adam_beta_2=adam_beta_2)
        self._set(0.0, FLOAT32_MAX, epsilon=epsilon, adam_lr_ratio=adam_lr_ratio)
        self._set(-100.0, 100.0, muon_a=muon_a, muon_b=muon_b, muon_c=muon_c)
        self._set(0.0, 1.0, momentum=momentum)
        self._flag(nesterov=nesterov, exclude_embeddings=exclude_embeddings)
        self.adam_weight_decay = self._number(
            "adam_weight_decay", adam_weight_decay, 0.0, FLOAT32_MAX
        )
        self.rms_rate = self._number("rms_rate", rms_rate, 0.0, FLOAT32_MAX)
        check_integer("Muon", "ns_steps", ns_steps, 5, 1, 20)
        self.ns_steps = int(ns_steps)
        self._check_iteration()
        self.exclude_layers = _patterns(exclude_layers)

    def _config(self) -> dict[str, Any]:
        return {
            **super()._config(),
            "exclude_layers": list(self.exclude_layers),
            "adam_weight_decay": self.adam_weight_decay,
            "rms_rate": self.rms_rate,
        }

    def _check_iteration(self) -> None:
        """Refuse coefficients for which singular values up to 1 can grow large."""
        for k in range(1, 21):
            x = k / 20.0
            for _ in range(self.ns_steps):
                x = x * (self.muon_a + x * x * (self.muon_b + x * x * self.muon_c))
                if not -100.0 < x < 100.0:
                    raise ValueError(
                        "[Muon] x (muon_a + muon_b x^2 + muon_c x^4) must stay small "
                        "for x up to 1, over ns_steps iterations. Received: "
                        f"muon_a={self.muon_a}, muon_b={self.muon_b}, "
                        f"muon_c={self.muon_c}. Try Keras's: 3.4445, -4.775, 2.0315."
                    )

    def _is_adam(self, name: str, shape: tuple[int, ...]) -> bool:
        if len(shape) != 2 or (self.exclude_embeddings and "embedding" in name.lower()):
            return True
        return any(re.search(pattern, name) for pattern in self.exclude_layers)

    def decay_of(self, name: str, shape: tuple[int, ...]) -> float | None:
        adam = self._is_adam(name, shape)
        return self.adam_weight_decay if adam else self.weight_decay

    def slot_shapes(
        self, name: str, shape: tuple[int, ...]
    ) -> dict[str, tuple[int, ...] | None]:
        adam = self._is_adam(name, shape)
        return {"momentum": shape, "velocity": shape if adam else None}

    def formula(self, terms: Terms) -> Any:
        g, rate, m = terms.gradient, terms.rate, terms.slots["momentum"]
        if "velocity" in terms.slots:
            return self._adam(terms, rate * self.adam_lr_ratio)
        m = terms.slots["momentum"] = m + (g + m * (self.momentum - 1.0))
        x = g + self.momentum * m if self.nesterov else m
        x = x / (np.sqrt(np.sum(np.square(x))) + 1e-7)
        a, b, c = self.muon_a, self.muon_b, self.muon_c
        rows, columns = terms.shape
        for _ in range(self.ns_steps):
            # The products of the smaller side; A is symmetric.
            square = x.T @ x if rows > columns else x @ x.T
            mixed = b * square + c * (square @ square)
            x = a * x + (x @ mixed if rows > columns else mixed @ x)
        if self.rms_rate is not None:
            rate = rate * (float(np.sqrt(max(rows, columns))) * self.rms_rate)
        return terms.value - rate * x

    def _adam(self, terms: Terms, rate: Any) -> Any:
        g, t = terms.gradient, terms.step
        m, v = terms.slots["momentum"], terms.slots["velocity"]
        beta_1, beta_2 = self.adam_beta_1, self.adam_beta_2
        alpha = rate * np.sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)
        m = m + (g - m) * (1.0 - beta_1)
        v = v + (np.square(g) - v) * (1.0 - beta_2)
        terms.slots["momentum"], terms.slots["velocity"] = m, v
        return terms.value - m * alpha / (np.sqrt(v) + self.epsilon)


def _patterns(given: Any) -> tuple[str, ...]:
    """Validate regular expressions."""
    patterns = () if given is None else given
    listed = isinstance(patterns, (list, tuple))
    try:
        if listed and all(re.compile(p) for p in patterns):
            return tuple(patterns)
    except (re.error, TypeError):
        pass
    raise ValueError(
        "[Muon] exclude_layers must be a list of regular expressions. "
        f"Received: {given!r}. Try exclude_layers=['output']."
    )
