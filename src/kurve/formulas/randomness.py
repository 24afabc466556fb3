"""Random numbers in formulas, with the names of `keras.random`.

While the formula of a layer or loss is traced, they are random numbers of each step: a
shape whose first axis is None (that of a tensor with a batch axis) draws them for each
sample, any other shape once for all samples. Otherwise they are arrays.

The numbers are words of Philox4x32-10, see `kurve.core.rng`, and differ from Keras's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.core import rng
from kurve.core.arguments import is_integer
from kurve.core.results import result
from kurve.core.rng import check_seed
from kurve.formulas import functions as ops
from kurve.formulas.calls import function, graph_of
from kurve.formulas.graph import Graph
from kurve.formulas.needs import NeedsValues
from kurve.formulas.recording import active

VALUES = 5  # purpose: numbers drawn outside formulas

Shape = Sequence[int | None]


def _shape(where: str, shape: Any) -> tuple[int | None, ...]:
    axes = (shape,) if is_integer(shape) else tuple(map(_plain, shape))
    if not all(
        (size is None and i == 0) or (is_integer(size) and size >= 0)
        for i, size in enumerate(axes)
    ):
        raise ValueError(
            f"[kurve.random.{where}] shape must be a tuple of integers; in a layer its "
            f"first size can be None, for the batch. Received: shape={shape!r}. "
            f"Try {where}(ops.shape(x))."
        )
    return tuple(None if size is None else int(size) for size in axes)


def _plain(size: Any) -> Any:
    """The number in a 0-d array, such as a size in `ops.shape(x)`."""
    return size.item() if isinstance(size, np.ndarray) and size.ndim == 0 else size


def _sizes(where: str, shape: Any) -> list[int]:
    axes = _shape(where, shape)
    if None in axes:
        raise ValueError(
            f"[kurve.random.{where}] the batch size is only available in a layer or "
            f"a loss. Received: shape={shape!r}. Try it in a layer's call()."
        )
    return [int(size) for size in axes if size is not None]


def _seed(where: str, seed: Any) -> int:
    """A 53-bit seed from an integer, a SeedGenerator or the global source."""
    if hasattr(seed, "next"):
        return rng.seed_of(seed.next())
    given = check_seed(where, seed)
    return (rng.next_seed() if given is None else int(given)) & rng.LARGEST_SEED


def _drawn(where: str, distribution: str, shape: Any, seed: Any) -> Any:
    axes = _shape(where, shape)
    if active.step is not None:  # numbers drawn outside formulas
        sizes = _sizes(where, tuple(s if s is None else int(s) for s in shape))
        return active.step.captured(
            lambda: _numbers(where, distribution, sizes, seed), tuple(sizes)
        )
    graph = in_formula()
    if graph is not None:
        own = seed.initial_seed if hasattr(seed, "initial_seed") else seed
        given = check_seed(where, own)
        key = None if given is None else int(given) & rng.LARGEST_SEED
        return graph.random(distribution, axes, key)
    return result(_numbers(where, distribution, _sizes(where, shape), seed))


def in_formula() -> Graph | None:
    """The graph of the formula that is traced, in which random numbers are those of
    each step; None outside of one, and while a layer makes its weights."""
    graph = Graph.current
    return None if graph is None or graph.runs_once or active.building else graph


def _numbers(where: str, distribution: str, sizes: list[int], seed: Any) -> np.ndarray:
    draw: Callable[..., np.ndarray] = getattr(rng, distribution)
    numbers = draw(_seed(where, seed), VALUES, 0, math.prod(sizes))
    return numbers.reshape(sizes).astype(np.float32)


def normal(
    shape: Shape,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: str | None = None,
    seed: Any = None,
) -> Any:
    """Normally distributed numbers, mean + stddev z.

    Args:
        shape: shape of the result; in a layer the first size can be None, for the
            batch.
        mean, stddev: numbers, or tensors that broadcast.
        dtype: None for float32.
        seed: an integer, a `SeedGenerator`, or None for different numbers at each call.

    Raises:
        TypeError, ValueError: an invalid shape or seed.

    Example:
        >>> kurve.random.normal((2, 3), seed=1).shape
        (2, 3)
    """
    return _typed(mean + stddev * _drawn("normal", "normal", shape, seed), dtype)


def uniform(
    shape: Shape,
    minval: Any = 0.0,
    maxval: Any = 1.0,
    dtype: str | None = None,
    seed: Any = None,
) -> Any:
    """Uniformly distributed numbers between minval and maxval.

    Args, Raises: see `normal`.

    Example:
        >>> x = kurve.random.uniform((100,), -1.0, 1.0, seed=1)
        >>> bool(abs(x).max() < 1)
        True
    """
    u = _drawn("uniform", "uniform", shape, seed)
    if dtype is not None and np.dtype(dtype).kind in "iu":
        return _typed(ops.floor(minval + (maxval - minval) * u), dtype)
    return _typed(minval + (maxval - minval) * u, dtype)


def randint(
    shape: Shape, minval: int, maxval: int, dtype: str = "int32", seed: Any = None
) -> Any:
    """Integers from minval to maxval - 1.

    Args, Raises: see `normal`.

    Example:
        >>> sorted({int(i) for i in kurve.random.randint((100,), 0, 3, seed=1)})
        [0, 1, 2]
    """
    u = _drawn("randint", "uniform", shape, seed)
    return ops.cast(ops.floor(minval + (maxval - minval) * u), dtype)


def truncated_normal(
    shape: Shape,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: str | None = None,
    seed: Any = None,
) -> Any:
    """Normally distributed numbers within two standard deviations of the mean.

    Formula: mean + stddev sqrt(2) erfinv(u), u uniform in (-erf(sqrt 2), erf(sqrt 2))
    Args, Raises: see `normal`.

    Example:
        >>> bool(abs(kurve.random.truncated_normal((1000,), seed=1)).max() <= 2)
        True
    """
    u = _drawn("truncated_normal", "uniform", shape, seed)
    limit = math.erf(math.sqrt(2.0))
    z = ops.clip(math.sqrt(2.0) * ops.erfinv(limit * (2.0 * u - 1.0)), -2.0, 2.0)
    return _typed(mean + stddev * z, dtype)


@function
def dropout(
    inputs: Any, rate: float, noise_shape: Shape | None = None, seed: Any = None
) -> Any:
    """Set each element to 0 with probability `rate`, else divide it by 1 - rate.

    Args:
        inputs: a tensor.
        rate: in [0, 1).
        noise_shape: along an axis of size 1, elements are kept or dropped together.
        seed: see `normal`.

    Raises:
        ValueError: a rate outside [0, 1).

    Example:
        >>> y = kurve.random.dropout(np.ones(1000), 0.5, seed=1)
        >>> sorted({float(v) for v in y})
        [0.0, 2.0]
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(
            "[kurve.random.dropout] rate must be in [0, 1). "
            f"Received: rate={rate!r}. Try 0.5."
        )
    shape = tuple(ops.shape(inputs))
    if noise_shape is not None:
        shape = tuple(
            s if n is None else n for n, s in zip(noise_shape, shape, strict=True)
        )
    kept = _drawn("dropout", "uniform", shape, seed) >= rate
    return ops.where(kept, inputs / (1.0 - rate), 0.0)


@function
def categorical(
    logits: Any, num_samples: int, dtype: str = "int32", seed: Any = None
) -> Any:
    """Draw classes with the probabilities softmax(logits).

    Formula: argmax(logits - log(-log u)), u uniform (Gumbel 1954)
    Shapes:  logits (B, C) -> (B, num_samples)
    Args, Raises: see `normal`.

    Example:
        >>> kurve.random.categorical(np.log([[1e-9, 1.0]]), 3, seed=1)
        array([[1, 1, 1]], dtype=int32)
    """
    batch, classes = ops.shape(logits)
    u = _drawn("categorical", "uniform", (batch, num_samples, classes), seed)
    gumbel = -ops.log(-ops.log(u))
    return ops.cast(ops.argmax(ops.expand_dims(logits, 1) + gumbel, -1), dtype)


@function
def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """Shuffle x along an axis.

    Args:
        x: an array.
        axis: axis along which to shuffle.
        seed: see `normal`.

    Raises:
        NeedsValues: in a layer or a loss, which then runs as it is written.

    Example:
        >>> sorted(int(i) for i in kurve.random.shuffle(np.arange(4), seed=1))
        [0, 1, 2, 3]
    """
    _only_arrays("shuffle", x)
    x = np.asarray(x)
    words = rng.philox(_seed("shuffle", seed), VALUES, 0, 2 * x.shape[axis])
    return np.take(x, rng.sorted_rows(words), axis)


def gamma(
    shape: Shape, alpha: Any, dtype: str | None = None, seed: Any = None
) -> np.ndarray:
    """Gamma-distributed numbers with scale 1.

    Args:
        shape: shape of the result.
        alpha: the distribution's shape parameter, above 0.
        dtype: None for float32.
        seed: see `normal`.

    Raises:
        NeedsValues: in a layer or a loss, which then runs as it is written.

    Example:
        >>> bool((kurve.random.gamma((5,), 2.0, seed=1) > 0).all())
        True
    """
    draw = _generator("gamma", seed).standard_gamma
    return _typed(draw(alpha, _sizes("gamma", shape)), dtype or "float32")


def beta(
    shape: Shape, alpha: Any, beta: Any, dtype: str | None = None, seed: Any = None
) -> np.ndarray:
    """Beta-distributed numbers between 0 and 1.

    Args:
        shape: shape of the result.
        alpha, beta: the distribution's parameters, above 0.
        dtype: None for float32.
        seed: see `normal`.

    Raises:
        NeedsValues: in a layer or a loss, which then runs as it is written.

    Example:
        >>> bool((kurve.random.beta((5,), 2.0, 3.0, seed=1) < 1).all())
        True
    """
    draw = _generator("beta", seed).beta
    return _typed(draw(alpha, beta, _sizes("beta", shape)), dtype or "float32")


def binomial(
    shape: Shape,
    counts: Any,
    probabilities: Any,
    dtype: str | None = None,
    seed: Any = None,
) -> np.ndarray:
    """Binomially distributed numbers of successes.

    Args:
        shape: shape of the result.
        counts: number of trials.
        probabilities: success probability of each trial.
        dtype: None for float32.
        seed: see `normal`.

    Raises:
        NeedsValues: in a layer or a loss, which then runs as it is written.

    Example:
        >>> bool((kurve.random.binomial((5,), 10, 0.5, seed=1) <= 10).all())
        True
    """
    counts = np.asarray(counts).astype(np.int64)
    draw = _generator("binomial", seed).binomial
    drawn = draw(counts, probabilities, _sizes("binomial", shape))
    return _typed(drawn, dtype or "float32")


def _generator(where: str, seed: Any) -> np.random.Generator:
    _only_arrays(where)
    return np.random.Generator(np.random.Philox(key=_seed(where, seed)))


def _only_arrays(where: str, *operands: Any) -> None:
    if in_formula() is not None or graph_of(*operands) is not None:
        raise NeedsValues(
            f"[kurve.random.{where}] a plan of an engine cannot draw such numbers. "
            "Received: a call in a layer or a loss. Try kurve.random.uniform, or "
            f"{where} before the model."
        )


def _typed(x: Any, dtype: str | None) -> Any:
    if dtype is None:
        return result(x.astype(np.float32)) if isinstance(x, np.ndarray) else x
    return ops.cast(x, dtype)


PUBLIC = (
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
)
"""The names in `kurve.random`, besides `SeedGenerator`."""
