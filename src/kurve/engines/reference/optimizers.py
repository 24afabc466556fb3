"""Optimizers: update weights w from the gradient g.

Gradient descent is w <- w - learning_rate * g. The others also accumulate
earlier gradients in slots, vectors as long as w.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from kurve.ops.formula import Formula, Rule, run

Slots = np.ndarray
Attrs = Mapping[str, float | int | str | bool]


def sgd(
    w: np.ndarray,
    g: np.ndarray,
    s: Slots,
    scalars: np.ndarray,
    lr: float,
    t: int,
    attrs: Attrs,
) -> None:
    """w <- w - lr g; with momentum w <- w + m, m <- momentum m - lr g (Polyak 1964)."""
    momentum = float(attrs["momentum"])
    if momentum == 0.0:
        w -= lr * g
        return
    m = s[0]
    m[:] = momentum * m - lr * g
    w += momentum * m - lr * g if attrs["nesterov"] else m


def rmsprop(
    w: np.ndarray,
    g: np.ndarray,
    s: Slots,
    scalars: np.ndarray,
    lr: float,
    t: int,
    attrs: Attrs,
) -> None:
    """v <- rho v + (1 - rho) g^2; w <- w - lr g / sqrt(v + epsilon).

    Source: Tieleman & Hinton 2012; centered: Graves 2013, equations 38 to 45.
    """
    rho, momentum = float(attrs["rho"]), float(attrs["momentum"])
    slots = iter(s)
    v = next(slots)
    m = next(slots) if momentum > 0.0 else None
    v[:] = rho * v + (1.0 - rho) * g**2
    spread = v
    if attrs["centered"]:
        mean = next(slots)
        mean[:] = rho * mean + (1.0 - rho) * g
        spread = v - mean**2
    increment = lr * g / np.sqrt(spread + float(attrs["epsilon"]))
    if m is not None:
        m[:] = momentum * m + increment
        increment = m
    w -= increment


def adagrad(
    w: np.ndarray,
    g: np.ndarray,
    s: Slots,
    scalars: np.ndarray,
    lr: float,
    t: int,
    attrs: Attrs,
) -> None:
    """a <- a + g^2; w <- w - lr g / sqrt(a + epsilon). Source: Duchi et al. 2011."""
    a = s[0]
    a += g**2
    w -= lr * g / np.sqrt(a + float(attrs["epsilon"]))


def adam(
    w: np.ndarray,
    g: np.ndarray,
    s: Slots,
    scalars: np.ndarray,
    lr: float,
    t: int,
    attrs: Attrs,
) -> None:
    """m <- m + (1 - beta_1) (g - m), v <- v + (1 - beta_2) (g^2 - v), and
    w <- w - alpha m / (sqrt(v) + epsilon) with
    alpha = lr sqrt(1 - beta_2^t) / (1 - beta_1^t), which corrects the bias from
    starting at 0.

    Source: Kingma & Ba 2015, the form with "epsilon hat" at the end of section 2;
    amsgrad: Reddi, Kale & Kumar 2018.
    """
    beta_1, beta_2 = float(attrs["beta_1"]), float(attrs["beta_2"])
    m, v = s[0], s[1]
    m += (g - m) * (1.0 - beta_1)
    v += (g**2 - v) * (1.0 - beta_2)
    if attrs["amsgrad"]:
        s[2] = np.maximum(s[2], v)
        v = s[2]
    alpha = lr * math.sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)
    w -= alpha * m / (np.sqrt(v) + float(attrs["epsilon"]))


def nadam(
    w: np.ndarray,
    g: np.ndarray,
    s: Slots,
    scalars: np.ndarray,
    lr: float,
    t: int,
    attrs: Attrs,
) -> None:
    """Adam that looks one momentum step ahead; `scalars[0]` is the product of the
    momenta u_1 ... u_t. Source: Dozat 2016."""
    beta_1, beta_2 = float(attrs["beta_1"]), float(attrs["beta_2"])
    u, u_next = (beta_1 * (1.0 - 0.5 * 0.96**k) for k in (t, t + 1))
    scalars[0] *= u
    product = float(scalars[0])
    m, v = s[0], s[1]
    m += (g - m) * (1.0 - beta_1)
    v += (g**2 - v) * (1.0 - beta_2)
    m_hat = m * (u_next / (1.0 - product * u_next)) + g * ((1.0 - u) / (1.0 - product))
    v_hat = v / (1.0 - beta_2**t)
    w -= lr * m_hat / (np.sqrt(v_hat) + float(attrs["epsilon"]))


def adamax(
    w: np.ndarray,
    g: np.ndarray,
    s: Slots,
    scalars: np.ndarray,
    lr: float,
    t: int,
    attrs: Attrs,
) -> None:
    """Adam with the largest recent |g| in place of sqrt(v). Source: Kingma & Ba 2015,
    section 7.1."""
    beta_1, beta_2 = float(attrs["beta_1"]), float(attrs["beta_2"])
    m, u = s[0], s[1]
    m += (g - m) * (1.0 - beta_1)
    u[:] = np.maximum(beta_2 * u, np.abs(g))
    w -= lr / (1.0 - beta_1**t) * m / (u + float(attrs["epsilon"]))


OPTIMIZERS: dict[str, Callable[..., None]] = {
    "sgd": sgd,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adam": adam,
    "nadam": nadam,
    "adamax": adamax,
}


def apply_rule(
    rule: Rule,
    w: np.ndarray,
    g: np.ndarray,
    s: Slots,
    lr: float,
    t: int,
) -> None:
    """Update w and the slots with a formula; see `Rule`."""
    shapes = rule.formula.inputs
    flat = [w, g, *(s[k][: math.prod(shapes[2 + i])] for i, k in enumerate(rule.slots))]
    arrays = [x.reshape(form) for x, form in zip(flat, shapes, strict=False)]
    results = run(rule.formula, [*arrays, np.float64(lr), np.float64(t)])
    for x, result in zip([flat[0], *flat[2:]], results, strict=True):
        x[:] = np.ravel(result)


def penalty(formula: Formula, w: np.ndarray) -> list[np.ndarray]:
    """The gradient of a penalty and the penalty itself; see `VariableSpec.penalty`."""
    return run(formula, [w.reshape(formula.inputs[0])])


def clip(gradients: list[np.ndarray], attrs: Attrs) -> None:
    """Clip the gradients of the variables in place, in one of three ways.

    clipvalue: each element to [-c, c]; clipnorm: each variable's gradient to norm c;
    global_clipnorm: all gradients together to norm c. Source: Pascanu et al. 2013.
    Norms are computed in float64, where squares cannot overflow.
    """
    if limit := float(attrs["clipvalue"]):
        for g in gradients:
            np.clip(g, -limit, limit, out=g)
    if limit := float(attrs["clipnorm"]):
        for g in gradients:
            g *= limit / max(math.sqrt(_square(g)), limit)
    if limit := float(attrs["global_clipnorm"]):
        norm = math.sqrt(sum(_square(g) for g in gradients))
        for g in gradients:
            g *= limit / max(norm, limit)


def _square(g: np.ndarray) -> float:
    return float(np.sum(np.square(g, dtype=np.float64)))
