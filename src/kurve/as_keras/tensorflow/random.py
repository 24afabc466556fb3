"""Random numbers that depend on `tf.random.set_seed`, but differ from TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.arrays import sizes
from kurve.as_keras.tensorflow.values import concrete, eager, kind, last_asked, tensor
from kurve.core import rng
from kurve.formulas import randomness
from kurve.formulas.calls import recorded
from kurve.formulas.graph import Graph
from kurve.formulas.needs import NeedsValues
from kurve.formulas.operators import Symbolic
from kurve.formulas.recording import active
from kurve.formulas.tensor import FunctionCall, KerasTensor

__all__ = [
    "Generator",
    "categorical",
    "gamma",
    "get_global_generator",
    "normal",
    "poisson",
    "random_normal",
    "random_shuffle",
    "random_uniform",
    "set_random_seed",
    "set_seed",
    "shuffle",
    "stateless_normal",
    "stateless_uniform",
    "truncated_normal",
    "uniform",
]


def set_seed(seed: int) -> None:
    """Seed all later random numbers."""
    rng.set_random_seed(int(seed) % 2**32)


set_random_seed = set_seed


def _source(seed: Any) -> np.random.Generator:
    """The generator of the next stream; with a seed, each call gets the same stream as
    the first call in a new program."""
    return np.random.Generator(np.random.Philox(_number(seed)))


def _number(seed: Any) -> int:
    """A seed: a number, the next value of a `SeedGenerator`, or a new one for None."""
    if hasattr(seed, "next"):
        return rng.seed_of(seed.next())
    return rng.next_seed() if seed is None else int(seed) % 2**63


def _given(seed: Any) -> int | None:
    """The seed of numbers of a model; None for the model's own."""
    return None if seed is None else _number(seed)


def _shape(where: str, shape: Any) -> Any:
    axes = sizes(shape)
    if None in axes:
        raise NotImplementedError(
            f"[tf.random.{where}] the shape must be known, but for the batch in the "
            f"call of a layer. Received: {axes}. Try it in layers.Lambda."
        )
    return axes


def _in_model() -> bool:
    """Whether a formula is traced, so that numbers are drawn anew in each step."""
    return active.step is None and randomness.in_formula() is not None


def _on_arrays(where: str) -> None:
    """Let a layer or a loss that draws such numbers run as it is written."""
    if _in_model():
        raise NeedsValues(
            f"[tf.random.{where}] a plan of an engine cannot draw such numbers. "
            "Received: a call in a layer or a loss. Try tf.random.normal or uniform."
        )


def _beside(where: str, shape: Any, draw: Callable[[Any], Any]) -> Any:
    """Numbers for each row of the symbolic tensor whose shape was asked for, in a model
    that is built without a layer around them: `K.random_normal((K.shape(z)[0], 2))`.

    Args:
        draw: the numbers for a shape.
    """
    asked = last_asked[0]() if last_asked else None
    if not isinstance(asked, KerasTensor) or None in sizes(shape)[1:]:
        return _shape(where, shape)  # says what is wrong
    own = sizes(shape)[1:]

    def drawn(x: Any) -> Any:
        if not isinstance(x, Symbolic):
            return draw((len(x), *own))
        with x.graph.tracing():
            return draw((None, *own))

    drawn.__name__ = f"random_{where}"
    return recorded(FunctionCall(drawn), [asked], {})


def _is_beside(shape: Any) -> bool:
    return Graph.current is None and sizes(shape)[:1] == (None,)


def _meant_for_batch(numbers: Any, again: Callable[[Any], Any]) -> Any:
    """Let numbers that meet a batch be drawn for each of its rows: old programs state
    the batch size, `(batch_size, units)`."""
    axes = tuple(numbers.shape)
    if Graph.current is not None and len(axes) > 1 and axes[0] is not None:
        numbers.of_batch = lambda: again((None, *axes[1:]))
    return numbers


def normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = "float32",
    seed: Any = None,
    name: Any = None,
) -> Any:
    """Normal random numbers; in a layer's call, new ones in each step."""
    if _is_beside(shape):
        return _beside(
            "normal", shape, lambda axes: normal(axes, mean, stddev, seed=seed)
        )
    if _in_model():
        made = randomness.normal(sizes(shape), mean, stddev, seed=_given(seed))
    else:
        drawn = _source(seed).standard_normal(_shape("normal", shape))
        made = tensor(drawn * stddev + mean, dtype)
    return _meant_for_batch(made, lambda axes: normal(axes, mean, stddev))


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = "float32",
    seed: Any = None,
    name: Any = None,
) -> Any:
    """Normal random numbers within two standard deviations; in a layer's call, new ones
    in each step."""
    if _is_beside(shape):
        return _beside(
            "truncated_normal",
            shape,
            lambda axes: truncated_normal(axes, mean, stddev, seed=seed),
        )
    if _in_model():
        given = _given(seed)
        return randomness.truncated_normal(sizes(shape), mean, stddev, seed=given)
    axes = _shape("truncated_normal", shape)
    drawn = rng.truncated_normal(_number(seed), rng.GENERATOR, 0, int(np.prod(axes)))
    return tensor(drawn.reshape(axes) * stddev + mean, dtype)


def uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = "float32",
    seed: Any = None,
    name: Any = None,
) -> Any:
    """Random numbers from minval (0) to maxval (1 for floats), exclusive. In a layer's
    call, new ones in each step."""
    whole = kind(dtype).startswith(("int", "uint"))
    if whole and maxval is None:
        raise ValueError(
            "[tf.random.uniform] integers need a maxval. "
            f"Received: dtype={dtype!r}. Try maxval=10."
        )
    top = 1.0 if maxval is None else maxval
    if _is_beside(shape):
        return _beside(
            "uniform", shape, lambda axes: uniform(axes, minval, top, dtype, seed)
        )
    if _in_model():
        given = kind(dtype) if whole else None
        made = randomness.uniform(sizes(shape), minval, top, given, _given(seed))
    else:
        source, axes = _source(seed), _shape("uniform", shape)
        if whole:
            return tensor(source.integers(minval, int(top), axes), dtype)
        wide = np.asarray(top) - minval
        made = tensor(source.random(axes) * wide + minval, dtype)
    return _meant_for_batch(made, lambda axes: uniform(axes, minval, top, dtype))


random_normal, random_uniform = normal, uniform


def poisson(
    shape: Any, lam: Any, dtype: Any = "float32", seed: Any = None, name: Any = None
) -> Any:
    """Random numbers of the Poisson distribution."""
    _on_arrays("poisson")
    axes = (*_shape("poisson", shape), *np.shape(lam))
    return tensor(_source(seed).poisson(lam, axes), dtype)


def gamma(
    shape: Any,
    alpha: Any,
    beta: Any = None,
    dtype: Any = "float32",
    seed: Any = None,
    name: Any = None,
) -> Any:
    """Random numbers of the gamma distribution with the given shapes and rates."""
    _on_arrays("gamma")
    axes = (
        *_shape("gamma", shape),
        *np.broadcast_shapes(np.shape(alpha), np.shape(beta or 1)),
    )
    drawn = _source(seed).gamma(np.asarray(alpha, float), size=axes)
    return tensor(drawn if beta is None else drawn / np.asarray(beta, float), dtype)


@eager
def shuffle(value: Any, seed: Any = None, name: Any = None) -> Any:
    """Shuffle the rows."""
    _on_arrays("shuffle")
    return _source(seed).permutation(concrete("random.shuffle", value))


random_shuffle = shuffle


@eager
def categorical(
    logits: Any,
    num_samples: int,
    dtype: Any = "int64",
    seed: Any = None,
    name: Any = None,
) -> Any:
    """Classes drawn with probabilities softmax(logits), (B, num_samples)."""
    if _in_model():
        return randomness.categorical(logits, num_samples, kind(dtype), _given(seed))
    scores = concrete("random.categorical", logits).astype(np.float64)
    noise = _source(seed).gumbel(size=(len(scores), int(num_samples), scores.shape[1]))
    return np.argmax(scores[:, None, :] + noise, -1).astype(kind(dtype))


def stateless_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32"
) -> Any:
    """Normal random numbers that depend only on the seed."""
    return normal(shape, mean, stddev, dtype, rng.seed_of(seed))


def stateless_uniform(
    shape: Any, seed: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32"
) -> Any:
    """Uniform random numbers that depend only on the seed."""
    return uniform(shape, minval, maxval, dtype, rng.seed_of(seed))


class Generator:
    """An independent random number generator."""

    def __init__(self, seed: int) -> None:
        self._source = np.random.Generator(np.random.Philox(seed))

    @classmethod
    def from_seed(cls, seed: int, alg: Any = None) -> Generator:
        """A generator with this seed."""
        return cls(int(seed) % 2**63)

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        """A generator with a nondeterministic seed."""
        return cls(rng.next_seed())

    def normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32"
    ) -> Any:
        """Normal random numbers."""
        _on_arrays("Generator.normal")
        return tensor(self._source.standard_normal(sizes(shape)) * stddev + mean, dtype)

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32"
    ) -> Any:
        """Uniform random numbers."""
        _on_arrays("Generator.uniform")
        seed = int(self._source.integers(2**62))
        return uniform(shape, minval, maxval, dtype, seed)


def get_global_generator() -> Generator:
    """The generator that follows `set_seed`."""
    return Generator(rng.next_seed())
