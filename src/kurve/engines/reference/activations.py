"""Elementwise activations and their derivatives, both as functions of z = x @ W + b.

Between two affine maps there must be an activation: (x A + a) B + b = x (A B) + (a B +
b) is again an affine map, so without one a deep network is no better than a single
layer.

`alpha` is the parameter of some activations (the slope of leaky_relu, the scale of elu,
the frequency of snake); all functions accept it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Function = Callable[[np.ndarray, float], np.ndarray]

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _gauss_cdf(z: np.ndarray) -> np.ndarray:
    """P(Z <= z) of a standard normal Z."""
    return (0.5 * (1.0 + _erf(z / math.sqrt(2.0)))).astype(z.dtype)


def _gauss_pdf(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def linear(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = z, f'(z) = 1."""
    return z


def d_linear(z: np.ndarray, alpha: float) -> np.ndarray:
    return np.ones_like(z)


def relu(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = max(0, z), f'(z) = 1 for z > 0, else 0. Source: Nair & Hinton 2010."""
    return np.maximum(z, 0)


def d_relu(z: np.ndarray, alpha: float) -> np.ndarray:
    return (z > 0).astype(z.dtype)


def leaky_relu(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = z for z > 0, alpha z below. Source: Maas, Hannun & Ng 2013."""
    return np.where(z > 0, z, alpha * z)


def d_leaky_relu(z: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(z > 0, 1.0, alpha).astype(z.dtype)


def elu(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = z for z > 0, alpha (e^z - 1) below. Source: Clevert et al. 2016."""
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def d_elu(z: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0))).astype(z.dtype)


def selu(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = scale elu(z), with the constants for which unit variance is a fixed point.
    Source: Klambauer et al. 2017."""
    return SELU_SCALE * elu(z, SELU_ALPHA)


def d_selu(z: np.ndarray, alpha: float) -> np.ndarray:
    return SELU_SCALE * d_elu(z, SELU_ALPHA)


def sigmoid(z: np.ndarray, alpha: float = 0.0) -> np.ndarray:
    """f(z) = 1 / (1 + e^-z), written so that the exponential cannot overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)


def d_sigmoid(z: np.ndarray, alpha: float) -> np.ndarray:
    return sigmoid(z) * sigmoid(-z)


def tanh(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = tanh z, f'(z) = 1 - tanh^2 z."""
    return np.tanh(z)


def d_tanh(z: np.ndarray, alpha: float) -> np.ndarray:
    return 1.0 - np.tanh(z) ** 2


def silu(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = z sigmoid(z). Source: Elfwing, Uchibe & Doya 2018."""
    return z * sigmoid(z)


def d_silu(z: np.ndarray, alpha: float) -> np.ndarray:
    s = sigmoid(z)
    return s * (1.0 + z * sigmoid(-z))


def gelu(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = z P(Z <= z) for standard normal Z. Source: Hendrycks & Gimpel 2016."""
    return z * _gauss_cdf(z)


def d_gelu(z: np.ndarray, alpha: float) -> np.ndarray:
    return _gauss_cdf(z) + z * _gauss_pdf(z)


def softplus(z: np.ndarray, alpha: float = 0.0) -> np.ndarray:
    """f(z) = log(1 + e^z), f'(z) = sigmoid(z). Source: Dugas et al. 2001."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def d_softplus(z: np.ndarray, alpha: float) -> np.ndarray:
    return sigmoid(z)


def softsign(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = z / (1 + |z|), f'(z) = 1 / (1 + |z|)^2."""
    return z / (1.0 + np.abs(z))


def d_softsign(z: np.ndarray, alpha: float) -> np.ndarray:
    return 1.0 / (1.0 + np.abs(z)) ** 2


def sin(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = sin z, f'(z) = cos z. Source: Sitzmann et al. 2020 (SIREN)."""
    return np.sin(z)


def d_sin(z: np.ndarray, alpha: float) -> np.ndarray:
    return np.cos(z)


def _phase(z: np.ndarray, alpha: float) -> np.ndarray:
    """alpha z, clipped to the largest finite number, so that its sine is defined."""
    largest = np.finfo(z.dtype).max
    with np.errstate(over="ignore"):
        return np.clip(alpha * z, -largest, largest)


def snake(z: np.ndarray, alpha: float) -> np.ndarray:
    """f(z) = z + sin(alpha z)^2 / alpha, f'(z) = 1 + sin(2 alpha z): a line and a wave.
    Source: Ziyin, Hartwig & Ueda 2020, "Neural networks fail to learn periodic
    functions and how to fix it", equation 3."""
    return z + np.sin(_phase(z, alpha)) ** 2 / alpha


def d_snake(z: np.ndarray, alpha: float) -> np.ndarray:
    phase = _phase(z, alpha)
    return 1.0 + 2.0 * np.sin(phase) * np.cos(phase)


ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "linear": (linear, d_linear),
    "relu": (relu, d_relu),
    "leaky_relu": (leaky_relu, d_leaky_relu),
    "elu": (elu, d_elu),
    "selu": (selu, d_selu),
    "sigmoid": (sigmoid, d_sigmoid),
    "tanh": (tanh, d_tanh),
    "silu": (silu, d_silu),
    "gelu": (gelu, d_gelu),
    "softplus": (softplus, d_softplus),
    "softsign": (softsign, d_softsign),
    "sin": (sin, d_sin),
    "snake": (snake, d_snake),
}
