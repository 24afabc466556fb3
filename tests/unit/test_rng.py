"""Random numbers: the published vectors, then uniformity, then the seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kurve import Sequential, utils
from kurve.core import rng
from kurve.layers import Dense

# Known answers of Philox4x32-10 from the Random123 distribution (kat_vectors).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], answer: str
) -> None:
    block = [np.array([word], np.uint64) for word in counter]
    words = rng.philox_rounds(*block, key[0] | key[1] << 32)
    assert " ".join(f"{int(word):08x}" for word in words[0]) == answer


def test_layout_of_counter_and_key() -> None:
    """Word j of a stream is lane j % 4 of block j // 4, whatever is asked for."""
    seed, purpose, stream = 0x299F31D0A4093822, 3, 5 << 32 | 7
    words = rng.philox(seed, purpose, stream, 12)
    for block in range(3):
        counter = [np.array([c], np.uint64) for c in (block, purpose, 7, 5)]
        expected = rng.philox_rounds(*counter, seed)[0]
        np.testing.assert_array_equal(words[4 * block : 4 * block + 4], expected)
    for count in range(13):
        np.testing.assert_array_equal(
            rng.philox(seed, purpose, stream, count), words[:count]
        )
    assert words.dtype == np.uint32


def test_streams_differ() -> None:
    """Seed, purpose and stream each lead to other numbers."""
    keys = [
        (1, 1, 1),
        (2, 1, 1),
        (1, 2, 1),
        (1, 1, 2),
        (1 << 32, 1, 1),
        (1, 1, 1 << 32),
    ]
    streams = {rng.philox(*key, 8).tobytes() for key in keys}
    assert len(streams) == len(keys)


COUNT = 100_000


def normal_cdf(x: float) -> float:
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


WITHIN_TWO = normal_cdf(2.0) - normal_cdf(-2.0)

# How to draw, mean, variance and cumulative distribution. The variance of a normal
# number within two deviations is 1 - 4 pdf(2) / P(within).
DISTRIBUTIONS = {
    "uniform": (rng.uniform, 0.5, 1.0 / 12.0, lambda x: x),
    "normal": (rng.normal, 0.0, 1.0, normal_cdf),
    "truncated_normal": (
        rng.truncated_normal,
        0.0,
        1.0 - 4.0 * math.exp(-2.0) / math.sqrt(2.0 * math.pi) / WITHIN_TWO,
        lambda x: (normal_cdf(x) - normal_cdf(-2.0)) / WITHIN_TWO,
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions(name: str) -> None:
    """Moments, and the largest distance between the cumulative distributions, which
    exceeds 1.95 / sqrt(n) once in a thousand (Kolmogorov & Smirnov)."""
    draw, mean, variance, cdf = DISTRIBUTIONS[name]
    values = draw(11, 2, 3, COUNT)
    assert values.dtype == np.float64
    assert values.shape == (COUNT,)
    assert abs(values.mean() - mean) < 5.0 * math.sqrt(variance / COUNT)
    assert values.var() == pytest.approx(variance, rel=0.03)
    expected = np.array([cdf(x) for x in np.sort(values)])
    steps = np.arange(COUNT + 1) / COUNT
    distance = max((expected - steps[:-1]).max(), (steps[1:] - expected).max())
    assert distance < 1.95 / math.sqrt(COUNT)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5.0 / math.sqrt(COUNT)


def test_distributions_never_reach_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.abs(rng.truncated_normal(1, 2, 3, COUNT)).max() < 2.0
    ends = np.array([0, 2**32 - 1], np.uint32)
    monkeypatch.setattr(rng, "philox", lambda *key: ends)
    low, high = rng.uniform(1, 2, 3, 2)
    assert 0.0 < low < high < 1.0
    assert np.isfinite(rng.normal(1, 2, 3, 2)).all()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000])
def test_permutations_are_permutations(count: int) -> None:
    order = rng.permutation(3, 0, count)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_permutations_are_uniform() -> None:
    """All 24 orders of four rows equally often, and each row in each place."""
    orders = np.array([rng.permutation(9, number, 4) for number in range(4800)])
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    chi_square = ((counts - 200.0) ** 2 / 200.0).sum()
    assert chi_square < 49.7  # 23 degrees of freedom, exceeded once in a thousand
    means = np.mean([rng.permutation(9, number, 50) for number in range(2000)], axis=0)
    np.testing.assert_allclose(means, 24.5, atol=5 * 14.43 / 2000**0.5)


def first_weights() -> np.ndarray:
    return Sequential([Dense(4, input_shape=(3,))]).get_weights()[0]


def test_set_random_seed_repeats_all_that_follows() -> None:
    utils.set_random_seed(7)
    first, second = first_weights(), first_weights()
    utils.set_random_seed(7)
    np.testing.assert_array_equal(first_weights(), first)
    np.testing.assert_array_equal(first_weights(), second)
    assert (first != second).any()
    utils.set_random_seed(8)
    assert (first_weights() != first).any()


def test_without_a_seed_models_differ() -> None:
    assert (first_weights() != first_weights()).any()


def test_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """KURVE_SEED is set_random_seed before the first model; the call wins over it."""
    utils.set_random_seed(7)
    wanted = first_weights()
    rng._seed_source.clear()
    monkeypatch.setenv("KURVE_SEED", "7")
    np.testing.assert_array_equal(first_weights(), wanted)
    utils.set_random_seed(8)
    assert (first_weights() != wanted).any()
    rng._seed_source.clear()
    monkeypatch.setenv("KURVE_SEED", "")  # not set
    assert (first_weights() != wanted).any() and not rng._seed_source


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", " ", str(2**32)])
def test_wrong_environment_variable(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KURVE_SEED", text)
    with pytest.raises(ValueError, match=r"KURVE_SEED .*Received: .*Try KURVE_SEED=1"):
        first_weights()


@pytest.mark.parametrize(
    ("seed", "error"),
    [(-1, ValueError), (2**32, ValueError), (1.5, TypeError), (True, TypeError)],
)
def test_wrong_seeds(seed: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^\[set_random_seed\] seed must .*Received: "):
        utils.set_random_seed(seed)  # type: ignore[arg-type]
