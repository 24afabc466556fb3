"""Random numbers that are a pure function of (seed, purpose, stream, position).

Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as
1, 2, 3") turns a 128-bit counter and a 64-bit key into four 32-bit words. There is no
state to carry: every engine, thread and resumed run computes the same words.

    key     = seed                            (64 bits)
    counter = (block, purpose, stream_low, stream_high)
    word j of a stream is lane j % 4 of block j // 4
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.arguments import is_integer
from kurve.core.entries import entry

PERMUTATION = 1  # stream = index of the pass over the data
INITIALIZER = 2  # stream = index of the variable in the model
RESAMPLE = 3  # stream = 0
GENERATOR = 4  # stream = number of earlier calls of a SeedGenerator
BY_HAND = 5  # stream = number of earlier calls of a SeedGenerator, else 0
DROPOUT = 0x10000  # + index of the op; stream = optimizer step

LARGEST_SEED = 2**53 - 1
"""Largest op index in a plan, whose attributes are float64."""

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(seed: int, purpose: int, stream: int, count: int) -> np.ndarray:
    """The first `count` words of a stream, uint32 (count,)."""
    blocks = -(-count // 4)
    c0 = np.arange(blocks, dtype=np.uint64)
    c1 = np.full(blocks, purpose, dtype=np.uint64)
    c2 = np.full(blocks, stream & 0xFFFFFFFF, dtype=np.uint64)
    c3 = np.full(blocks, stream >> 32, dtype=np.uint64)
    return philox_rounds(c0, c1, c2, c3, seed).reshape(-1)[:count]


def philox_rounds(
    c0: np.ndarray, c1: np.ndarray, c2: np.ndarray, c3: np.ndarray, key: int
) -> np.ndarray:
    """Philox4x32-10 of counters given as uint64 words (blocks,): returns (blocks,
    4)."""
    k0, k1 = key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0 = (p1 >> _32) ^ c1 ^ np.uint64(k0)
        c2 = (p0 >> _32) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def uniform(seed: int, purpose: int, stream: int, count: int) -> np.ndarray:
    """Uniform numbers in (0, 1), float64 with 32 random bits: never 0, never 1."""
    words = philox(seed, purpose, stream, count).astype(np.float64)
    return np.asarray((words + 0.5) * 2.0**-32)


def normal(seed: int, purpose: int, stream: int, count: int) -> np.ndarray:
    """Standard normal numbers, float64 (Box & Muller 1958)."""
    half = -(-count // 2)
    u = uniform(seed, purpose, stream, 2 * half)
    radius, angle = np.sqrt(-2.0 * np.log(u[:half])), 2.0 * np.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def truncated_normal(seed: int, purpose: int, stream: int, count: int) -> np.ndarray:
    """Standard normal numbers within two standard deviations, float64.

    Numbers outside (4.6 %) are redrawn as many times as needed.
    """
    draw = count + count // 8 + 16
    while True:
        values = normal(seed, purpose, stream, draw)
        inside = values[np.abs(values) < 2.0]
        if len(inside) >= count:
            return np.asarray(inside[:count])
        draw *= 2


def permutation(seed: int, number: int, count: int) -> np.ndarray:
    """Permutation `number` of range(count), int64 (count,).

    Sorts the rows by 64-bit random keys; the sort is stable, so that equal keys (one
    pair in 10^7 permutations of a million rows) cannot make the order depend on the
    machine. The compiled engine, if loaded, does the same ten times faster.
    """
    core = sys.modules.get("kurve._core")
    if core is not None:
        permuted: np.ndarray = core.permutation(seed, PERMUTATION, number, count)
        return permuted
    return sorted_rows(philox(seed, PERMUTATION, number, 2 * count))


def sorted_rows(words: np.ndarray) -> np.ndarray:
    """Row numbers (int64) sorted by their keys, two words each."""
    keys = words.astype(np.uint64)
    return np.argsort((keys[0::2] << _32) | keys[1::2], kind="stable").astype(np.int64)


def resample_counts(seed: int, count: int) -> np.ndarray:
    """How often each of `count` rows appears in a bootstrap sample of `count` rows:
    int64 (count,)."""
    drawn = uniform(seed, RESAMPLE, 0, count) * count
    return np.bincount(drawn.astype(np.int64), minlength=count)


def seed_of(pair: Any) -> int:
    """Combine the output of `SeedGenerator.next`, a seed and a call counter, into one
    53-bit seed."""
    first, count = (int(number) for number in np.asarray(pair).ravel())
    low, high = philox(first, GENERATOR, count, 2)
    return (int(low) | int(high) << 32) & LARGEST_SEED


_seed_source: dict[str, int] = {}


def check_seed(where: str, seed: Any) -> int | None:
    """A random seed, or None. A `SeedGenerator`, Kurve's or Keras's, supplies its next
    seed.

    Raises:
        TypeError: none of these.
    """
    if seed is None or is_integer(seed):
        return None if seed is None else int(seed)
    if type(seed).__name__ == "SeedGenerator":
        return seed_of(seed.next())
    raise TypeError(
        f"[{where}] seed must be an integer or None. "
        f"Received: seed={seed!r} of type {type(seed).__name__}. Try seed=1."
    )


@entry
def set_random_seed(seed: int) -> None:
    """Make all subsequent random numbers a function of `seed`.

    Each model draws its own seed from this source on creation; it determines
    initial weights, shuffling and dropout.

    Args:
        seed: an integer in [0, 2**32).

    Raises:
        TypeError, ValueError: not an integer in [0, 2**32).

    Example:
        >>> kurve.utils.set_random_seed(1)
        >>> first = kurve.initializers.GlorotUniform()((2, 2))
        >>> kurve.utils.set_random_seed(1)
        >>> bool((first == kurve.initializers.GlorotUniform()((2, 2))).all())
        True
    """
    if not is_integer(seed):
        raise TypeError(
            "[set_random_seed] seed must be an integer. "
            f"Received: {seed!r} of type {type(seed).__name__}. Try set_random_seed(1)."
        )
    if not 0 <= seed < 2**32:
        raise ValueError(
            "[set_random_seed] seed must be in [0, 2**32). "
            f"Received: {seed}. Try set_random_seed({int(seed) % 2**32})."
        )
    _seed_source.update(seed=int(seed), drawn=0)


def is_seeded() -> bool:
    """Whether random numbers are determined by a seed that the program has set."""
    return bool(_seed_source or os.environ.get("KURVE_SEED"))


def source_state() -> dict[str, int]:
    """The state that determines all seeds drawn from now on; for `set_source_state`."""
    return dict(_seed_source)


def set_source_state(state: Mapping[str, int]) -> None:
    """Continue with the seeds that followed a state."""
    _seed_source.update(state)


def _from_the_system() -> int:
    return int.from_bytes(os.urandom(8), "little")


def next_seed() -> int:
    """A new 64-bit seed from `set_random_seed`, else KURVE_SEED, else the system."""
    if not _seed_source:
        text = os.environ.get("KURVE_SEED")
        if not text:  # an empty variable counts as unset
            return _from_the_system()
        if not text.isdecimal() or int(text) >= 2**32:
            raise ValueError(
                "[kurve] the environment variable KURVE_SEED must be an integer in "
                f"[0, 2**32). Received: {text!r}. Try KURVE_SEED=1."
            )
        set_random_seed(int(text))
    _seed_source["drawn"] += 1
    low, high = philox(_seed_source["seed"], 0, _seed_source["drawn"], 2)
    return int(low) | int(high) << 32
