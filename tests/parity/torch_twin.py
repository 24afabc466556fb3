"""The same networks in plain torch, without Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from twins import BATCH, STEPS, Case, Run, data_of, torch, twin_models

F = torch.nn.functional
Tensor = Any

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "relu": torch.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.2),
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "softmax": lambda z: torch.softmax(z, -1),
    "sin": torch.sin,
    "exponential": torch.exp,
    "mish": F.mish,
    "relu6": F.relu6,
    "hard_sigmoid": lambda z: torch.clamp(z + 3.0, 0.0, 6.0) / 6.0,
    "hard_silu": F.hardswish,
    "hard_tanh": F.hardtanh,
    "celu": F.celu,
    "log_sigmoid": F.logsigmoid,
    "hard_shrink": F.hardshrink,
    "soft_shrink": F.softshrink,
    "tanh_shrink": F.tanhshrink,
    "squareplus": lambda z: (z + torch.sqrt(z * z + 4.0)) / 2.0,
    "sparse_plus": lambda z: torch.where(
        z <= -1.0, 0.0 * z, torch.where(z < 1.0, (z + 1.0) ** 2 / 4.0, z)
    ),
    "sparse_sigmoid": lambda z: torch.clamp((z + 1.0) / 2.0, 0.0, 1.0),
    "snake": lambda z: z + torch.sin(z) ** 2,
}


def _smoothed(y: Tensor, share: float) -> Tensor:
    return y * (1.0 - share) + share / y.shape[-1]


def _cross_entropy(y: Tensor, p: Tensor) -> Tensor:
    return -(y * torch.log(p / p.sum(-1, keepdim=True))).sum(-1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    # of y and p (B, O), by the names in `tables.LOSSES`; the mean over rows comes later
    "mse": lambda y, p: (p - y) ** 2,
    "mae": lambda y, p: torch.abs(p - y),
    "huber": lambda y, p: F.huber_loss(p, y, reduction="none"),
    "huber delta": lambda y, p: F.huber_loss(p, y, reduction="none", delta=0.3),
    "log_cosh": lambda y, p: torch.log(torch.cosh(p - y)),
    "binary": lambda y, p: F.binary_cross_entropy(p, y),
    "binary logits": lambda y, p: F.binary_cross_entropy_with_logits(p, y),
    "binary smoothed": lambda y, p: F.binary_cross_entropy(p, 0.9 * y + 0.05),
    "binary logits smoothed": lambda y, p: F.binary_cross_entropy_with_logits(
        p, 0.9 * y + 0.05
    ),
    "categorical": _cross_entropy,
    "categorical of sigmoids": _cross_entropy,
    "categorical logits": lambda y, p: F.cross_entropy(p, y),
    "categorical smoothed": lambda y, p: _cross_entropy(_smoothed(y, 0.1), p),
    "categorical logits smoothed": lambda y, p: F.cross_entropy(
        p, y, label_smoothing=0.1
    ),
    "sparse": lambda y, p: F.nll_loss(torch.log(p), y.long()),
    "sparse of sigmoids": lambda y, p: F.nll_loss(
        torch.log(p / p.sum(-1, keepdim=True)), y.long()
    ),
    "sparse logits": lambda y, p: F.cross_entropy(p, y.long()),
}


def variables_of(case: Case) -> list[Tensor]:
    """The twins' initial weights in float64: kernel, bias, kernel, ..."""
    model, _ = twin_models(case)
    return [
        torch.tensor(w.astype(np.float64), requires_grad=True)
        for w in model.get_weights()
    ]


def loss_of(
    case: Case, loss: str, variables: list[Tensor], x: np.ndarray, y: np.ndarray
) -> Tensor:
    """Mean loss of a batch for a network of `Dense` layers with biases."""
    p = torch.tensor(x.astype(np.float64))
    for layer, kernel, bias in zip(
        case.layers, variables[0::2], variables[1::2], strict=True
    ):
        name = layer.arguments["activation"] or "linear"
        p = ACTIVATIONS[name](p @ kernel + bias)
    return LOSSES[loss](torch.tensor(y.astype(np.float64)), p).mean()


def train_torch(case: Case, loss: str, optimizer: Callable[[Any], Any]) -> Run:
    """STEPS updates by an optimizer of torch, in float64 (NAdam's own numbers too,
    which follow the default)."""
    variables, losses = variables_of(case), []
    torch.set_default_dtype(torch.float64)
    updates = optimizer(variables)
    x, y, _ = data_of(case)
    for step in range(STEPS):
        rows = slice(step * BATCH % len(x), step * BATCH % len(x) + BATCH)
        value = loss_of(case, loss, variables, x[rows], y[rows])
        updates.zero_grad()
        value.backward()
        updates.step()
        losses.append(value.item())
    torch.set_default_dtype(torch.float32)
    return Run(np.array(losses), [v.detach().numpy() for v in variables])
