"""Optimizers: from the gradient to the next weights, in place on the device.

Formulas are those of `kurve.engines.reference.optimizers`. Numbers that only depend on
the step (the learning rate, Adam's bias correction) are computed for all steps of a
call in advance, and a step reads them from a table on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch

from kurve.engines.reference.losses import Attrs
from kurve.engines.torch.common import Tensor, wide
from kurve.engines.torch.elementwise import run_formula
from kurve.ops.formula import Rule

Numbers = Callable[[np.ndarray, np.ndarray, Attrs, np.ndarray], list[np.ndarray]]
"""From the learning rates and numbers t of updates (steps,), float64, the attributes
and the scalars at the start, to the columns that an update reads."""
Number: TypeAlias = Tensor | float
"""The step number: on the device for a GPU, on the host for the CPU."""
Apply = Callable[[Tensor, Tensor, Sequence[Tensor], Sequence[Number], Attrs], None]
"""Changes w and the slots s by the gradient g and the numbers of the step."""


def _sgd(
    w: Tensor, g: Tensor, s: Sequence[Tensor], n: Sequence[Number], attrs: Attrs
) -> None:
    momentum, step = float(attrs["momentum"]), n[0] * g
    if momentum == 0.0:
        w.sub_(step)
        return
    s[0].mul_(momentum).sub_(step)
    w.add_(momentum * s[0] - step if attrs["nesterov"] else s[0])


def _rmsprop(
    w: Tensor, g: Tensor, s: Sequence[Tensor], n: Sequence[Number], attrs: Attrs
) -> None:
    rho, momentum = float(attrs["rho"]), float(attrs["momentum"])
    slots = iter(s)
    v = next(slots)
    m = next(slots) if momentum > 0.0 else None
    v.mul_(rho).add_((1.0 - rho) * g**2)
    spread = v
    if attrs["centered"]:
        mean = next(slots)
        mean.mul_(rho).add_((1.0 - rho) * g)
        spread = v - mean**2
    increment = n[0] * g / torch.sqrt(spread + float(attrs["epsilon"]))
    if m is not None:
        increment = m.mul_(momentum).add_(increment)
    w.sub_(increment)


def _adagrad(
    w: Tensor, g: Tensor, s: Sequence[Tensor], n: Sequence[Number], attrs: Attrs
) -> None:
    s[0].add_(g**2)
    w.sub_(n[0] * g / torch.sqrt(s[0] + float(attrs["epsilon"])))


def _adam_numbers(
    lr: np.ndarray, t: np.ndarray, attrs: Attrs, scalars: np.ndarray
) -> list[np.ndarray]:
    beta_1, beta_2 = float(attrs["beta_1"]), float(attrs["beta_2"])
    return [lr * np.sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)]


def _adam(
    w: Tensor, g: Tensor, s: Sequence[Tensor], n: Sequence[Number], attrs: Attrs
) -> None:
    rate, rates, change = n[0], None, w
    if isinstance(rate, torch.Tensor) and rate.ndim:  # the update is linear in it
        rate, rates, change = 1.0, rate, torch.zeros_like(w)
    elif isinstance(rate, torch.Tensor) and w.is_cuda:
        rate = rate.to(torch.float32)
    torch._fused_adam_(
        [change],
        [g],
        [s[0]],
        [s[1]],
        [s[2]] if attrs["amsgrad"] else [],
        [_late(w.device)],
        lr=rate,
        beta1=float(attrs["beta_1"]),
        beta2=float(attrs["beta_2"]),
        weight_decay=0.0,
        eps=float(attrs["epsilon"]),
        amsgrad=bool(attrs["amsgrad"]),
        maximize=False,
    )
    if rates is not None:
        w.addcmul_(change, rates)


def _late(device: torch.device) -> Tensor:
    """A step number at which PyTorch's own bias corrections are 1: those of Keras,
    whose epsilon is in a different place, are part of the learning rate."""
    if device not in _LATE:
        _LATE[device] = torch.tensor(1e9, device=device)
    return _LATE[device]


_LATE: dict[torch.device, Tensor] = {}


def _nadam_numbers(
    lr: np.ndarray, t: np.ndarray, attrs: Attrs, scalars: np.ndarray
) -> list[np.ndarray]:
    beta_1, beta_2 = float(attrs["beta_1"]), float(attrs["beta_2"])
    u, u_next = (beta_1 * (1.0 - 0.5 * 0.96**k) for k in (t, t + 1))
    first = np.concatenate([[True], np.diff(t) > 0])  # of the steps of an update
    product = float(scalars[0]) * np.cumprod(np.where(first, u, 1.0))
    by_m, by_g = u_next / (1.0 - product * u_next), (1.0 - u) / (1.0 - product)
    return [lr, by_m, by_g, 1.0 - beta_2**t, product]


def _nadam(
    w: Tensor, g: Tensor, s: Sequence[Tensor], n: Sequence[Number], attrs: Attrs
) -> None:
    (m, v, *_), (lr, by_m, by_g, correction, _) = s, n
    m.add_((g - m) * (1.0 - float(attrs["beta_1"])))
    v.add_((g**2 - v) * (1.0 - float(attrs["beta_2"])))
    m_hat, v_hat = m * by_m + g * by_g, v / correction
    w.sub_(lr * m_hat / (torch.sqrt(v_hat) + float(attrs["epsilon"])))


def _adamax_numbers(
    lr: np.ndarray, t: np.ndarray, attrs: Attrs, scalars: np.ndarray
) -> list[np.ndarray]:
    return [lr / (1.0 - float(attrs["beta_1"]) ** t)]


def _adamax(
    w: Tensor, g: Tensor, s: Sequence[Tensor], n: Sequence[Number], attrs: Attrs
) -> None:
    m, u = s[:2]
    m.add_((g - m) * (1.0 - float(attrs["beta_1"])))
    torch.maximum(u.mul_(float(attrs["beta_2"])), g.abs(), out=u)
    w.sub_(n[0] * m / (u + float(attrs["epsilon"])))


def _rate(
    lr: np.ndarray, t: np.ndarray, attrs: Attrs, scalars: np.ndarray
) -> list[np.ndarray]:
    return [lr]


OPTIMIZERS: dict[str, tuple[Numbers, Apply]] = {
    "sgd": (_rate, _sgd),
    "rmsprop": (_rate, _rmsprop),
    "adagrad": (_rate, _adagrad),
    "adam": (_adam_numbers, _adam),
    "nadam": (_nadam_numbers, _nadam),
    "adamax": (_adamax_numbers, _adamax),
}


def apply_rule(
    rule: Rule, w: Tensor, g: Tensor, s: Sequence[Tensor], *numbers: Number
) -> None:
    """Changes w and the slots by a formula of them, of the learning rate and of the
    number of the update; see `Rule`."""
    lr, t = (torch.as_tensor(x, dtype=wide(w.device)) for x in numbers)
    shapes = rule.formula.inputs
    flat = [w, g]
    for i, k in enumerate(rule.slots):
        size = int(np.prod(shapes[2 + i]))
        flat.append(s[k][:size])
    arrays = [x.view(form) for x, form in zip(flat, shapes, strict=False)]
    # Copies: a result may be a view of memory that is overwritten before it.
    results = [
        r.reshape(-1).clone() for r in run_formula(rule.formula, [*arrays, lr, t])
    ]
    for x, result in zip([flat[0], *flat[2:]], results, strict=True):
        x.copy_(result)


def clip(
    gradient: Tensor, parts: Sequence[Tensor], attrs: Attrs, members: Sequence[int] = ()
) -> None:
    """Clip the gradient (P,) in place; `parts` are those of the trained variables: of
    each of them, those of all members."""
    if limit := float(attrs["clipvalue"]):
        gradient.clamp_(-limit, limit)
    if limit := float(attrs["clipnorm"]):
        for g in parts:
            g.mul_(limit / _norm(g).clamp(min=limit))
    if limit := float(attrs["global_clipnorm"]):
        if not members:
            gradient.mul_(limit / _norm(gradient).clamp(min=limit))
            return
        (count,) = members
        for m in range(count):
            own = parts[m::count]
            norm = _norm(torch.stack([_norm(g) for g in own]))
            for g in own:
                g.mul_(limit / norm.clamp(min=limit))


def _norm(g: Tensor) -> Tensor:
    """In float64, in which no square overflows."""
    precise = torch.float32 if g.device.type == "mps" else torch.float64
    return torch.linalg.vector_norm(g, dtype=precise)
