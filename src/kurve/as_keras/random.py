"""The functions of `keras.random`. Numbers follow the seed of
`keras.utils.set_random_seed`, or their own; they differ from those of Keras's
backends."""

from __future__ import annotations

from typing import Any

from kurve.as_keras.tensorflow import nn
from kurve.as_keras.tensorflow import random as numbers
from kurve.as_keras.tensorflow.random import categorical as categorical
from kurve.as_keras.tensorflow.random import normal as normal
from kurve.as_keras.tensorflow.random import truncated_normal as truncated_normal
from kurve.as_keras.tensorflow.values import concrete, eager

__all__ = [
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]


def uniform(
    shape: Any,
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Random numbers from minval to maxval, exclusive."""
    return numbers.uniform(shape, minval, maxval, dtype or "float32", seed)


def randint(
    shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None
) -> Any:
    """Random integers from minval to maxval, exclusive."""
    return numbers.uniform(shape, minval, maxval, dtype, seed)


@eager
def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """Shuffle along an axis."""
    array = concrete("random.shuffle", x)
    return numbers._source(seed).permutation(array, axis=axis)


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """x with a fraction of its elements set to 0, the others scaled up."""
    return nn.dropout(inputs, rate, noise_shape, seed)


@eager
def binomial(
    shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None
) -> Any:
    """Random numbers of successes in `counts` trials."""
    drawn = numbers._source(seed).binomial(counts, probabilities, tuple(shape))
    return drawn.astype(dtype or "float32")


@eager
def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Random numbers of the gamma distribution with rate 1."""
    return (
        numbers._source(seed).gamma(alpha, 1.0, tuple(shape)).astype(dtype or "float32")
    )
