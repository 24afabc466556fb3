"""`kurve.random`: numbers of the right distributions, in formulas and outside."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers, ops, random

N = 40_000


@pytest.mark.parametrize(
    ("draw", "mean", "deviation"),
    [
        (lambda s: random.normal(s, 1.0, 2.0), 1.0, 2.0),
        (lambda s: random.uniform(s, -1.0, 3.0), 1.0, 4 / math.sqrt(12)),
        (lambda s: random.truncated_normal(s), 0.0, 0.87963),
        (lambda s: random.randint(s, 2, 5), 3.0, math.sqrt(2 / 3)),
        (lambda s: random.dropout(ops.ones(s), 0.25), 1.0, math.sqrt(1 / 3)),
    ],
)
@pytest.mark.parametrize("traced", [False, True])
def test_mean_and_deviation(
    draw: Callable[[Any], Any], mean: float, deviation: float, traced: bool, engine: str
) -> None:
    class Draws(layers.Layer):
        def call(self, x: Any) -> Any:
            return draw((ops.shape(x)[0], 4)) + 0.0 * x

    if traced:
        model = Sequential([Input((4,)), Draws()])
        y = model.predict(np.zeros((N // 4, 4)), verbose=0)
    else:
        y = np.asarray(draw((N // 4, 4)))
    assert y.shape == (N // 4, 4)
    assert abs(y.mean() - mean) < 5 * deviation / math.sqrt(N)
    assert abs(y.std() - deviation) < 5 * deviation / math.sqrt(N)


class Several(layers.Layer):
    def call(self, x: Any) -> Any:
        batch = ops.shape(x)[0]
        one, other = random.normal((batch, 3)), random.normal((batch, 3))
        return ops.concatenate([one, other, x * 0.0 + random.uniform((3,))], axis=-1)


def test_calls_in_one_layer_draw_other_numbers_and_engines_the_same() -> None:
    found = []
    for engine in ("native", "reference"):
        kurve.set_engine(engine)
        kurve.utils.set_random_seed(5)
        i = Input((3,))
        shared = Several()
        model = Model(i, [shared(i), shared(i), Several()(i)])
        found.append(model.predict(np.zeros((7, 3)), verbose=0))
        for a, b, c in (np.split(y, 3, 1) for y in found[-1]):
            assert abs(a - b).min() > 0
            assert np.all(c == c[0]), "one for the whole batch"
        first, second, third = found[-1]
        assert abs(first - second).min() > 0
        assert abs(first - third).min() > 0
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-5, 1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_many_calls_of_old_names_in_one_layer_draw_other_numbers() -> None:
    """The sum of 30 has the deviation of independent ones."""
    normal = kurve.backend.random_normal

    def total(x: Any) -> Any:
        drawn = [normal(shape=(ops.shape(x)[0], 1)) for _ in range(30)]
        return sum(drawn) + 0.0 * x

    model = Sequential([Input((1,)), layers.Lambda(total)])
    y = model.predict(np.zeros((20_000, 1)), verbose=0)
    assert y.std() == pytest.approx(math.sqrt(30.0), rel=0.03)


def test_each_step_draws_others(engine: str) -> None:
    seen: list[float] = []

    class Noisy(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + random.normal(ops.shape(x))

    model = Sequential([Input((2,)), Noisy()])
    model.compile("sgd", "mse")
    for _ in range(3):
        x = np.zeros((50, 2))
        seen.append(float(model.fit(x, x, epochs=1, verbose=0).history["loss"][0]))
    assert len(set(seen)) == 3


def test_losses_draw(engine: str) -> None:
    model = Sequential([Input((2,)), layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", lambda y, p: ops.square(p - y + random.normal(ops.shape(y))))
    y = np.zeros((4000, 1))
    loss = model.evaluate(np.ones((4000, 2)), y, batch_size=4000, verbose=0)
    assert abs(loss - 1.0) < 0.15


def test_seeds() -> None:
    seeds = random.SeedGenerator(3)
    assert seeds.state.tolist() == seeds.next().tolist() == [3, 0]
    assert seeds.state.tolist() == [3, 1]
    a, b = random.normal((4,), seed=seeds), random.normal((4,), seed=seeds)
    assert abs(a - b).min() > 0
    np.testing.assert_array_equal(
        random.uniform((4,), seed=7), random.uniform((4,), seed=7)
    )
    kurve.utils.set_random_seed(1)
    first = random.normal((4,))
    kurve.utils.set_random_seed(1)
    np.testing.assert_array_equal(first, random.normal((4,)))


def test_categorical_gamma_beta_binomial_shuffle() -> None:
    drawn = random.categorical(np.log([[0.2, 0.8], [0.5, 0.5]]), N)
    np.testing.assert_allclose(drawn.mean(1), [0.8, 0.5], atol=0.02)
    assert abs(random.gamma((N,), 2.0).mean() - 2.0) < 0.05
    assert abs(random.beta((N,), 2.0, 3.0).mean() - 0.4) < 0.01
    assert abs(random.binomial((N,), 10, 0.3).mean() - 3.0) < 0.05
    rows = np.arange(20).reshape(10, 2)
    mixed = random.shuffle(rows)
    assert sorted(mixed[:, 0]) == sorted(rows[:, 0])
    assert np.all(mixed[:, 1] == mixed[:, 0] + 1)


def test_the_reparametrization_trick_has_gradients(engine: str) -> None:
    """The mean of a normal distribution, learned through its samples."""

    class Sample(layers.Layer):
        def build(self, shape: Any) -> None:
            self.mean = self.add_weight((1,), "zeros", name="mean")

        def call(self, x: Any) -> Any:
            return x * 0.0 + self.mean + 0.1 * random.normal(ops.shape(x))

    model = Sequential([Input((1,)), Sample()])
    model.compile(kurve.optimizers.Adam(0.1), "mse")
    x = np.ones((64, 1))
    model.fit(x, 2.0 * x, epochs=100, batch_size=64, verbose=0)
    assert abs(float(model.get_weights()[0][0]) - 2.0) < 0.05


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: random.normal((2, -1)), "shape must be"),
        (lambda: random.normal((None, 2)), "batch size is only"),
        (lambda: random.uniform((2,), seed="a"), "seed"),
        (lambda: random.dropout(np.ones(3), 1.0), "rate"),
        (lambda: random.nomal((2,)), "mean 'normal'"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], match: str) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError), match=match):
        call()


def test_what_only_arrays_have() -> None:
    class Gamma(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + random.gamma((2,), 1.0)

    model = Sequential([Input((2,)), Gamma()])  # runs as it is written
    first, second = (np.asarray(model(np.ones((3, 2)))) for _ in range(2))
    assert first.shape == (3, 2) and (first != second).any()
