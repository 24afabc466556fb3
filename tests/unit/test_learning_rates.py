"""The learning rate finder: its suggestion trains, and nothing else is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, layers, losses, optimizers, utils
from kurve.core import rng
from kurve.layers import Dense, Dropout, Normalization
from kurve.models.learning_rates import LearningRateSweep, lr_find
from tests.faults.wrong import snapshot

X = np.arange(0, 20, 0.1)
Y = np.sin(X / 4)
FOLDERS = [folder / "shared/data/uci" for folder in Path(__file__).parents]
UCI = next(filter(Path.exists, FOLDERS), None)


def model_of(
    x: np.ndarray,
    scaled: bool = True,
    optimizer: str | optimizers.Optimizer = "adam",
    activation: str = "tanh",
    **options: Any,
) -> Sequential:
    stack: list[layers.Layer] = []
    if scaled:
        stack.append(Normalization())
        stack[0].adapt(x)  # type: ignore[attr-defined]
    model = Sequential([*stack, Dense(40, activation), Dense(1)])
    model.compile(optimizer, "mse", **options)
    return model


def loss_after(
    model: Sequential, x: Any, y: Any, rate: float, epochs: int = 20
) -> float:
    """What training a copy of the model at a rate leads to; infinite if to nothing."""
    twin = model.clone()
    twin.compile(type(model.optimizer)(rate), model.loss)  # type: ignore[call-arg]
    try:
        twin.fit(x, y, epochs=epochs, verbose=0)
    except kurve.errors.NonFiniteError:
        return float("inf")
    return float(twin.evaluate(x, y, verbose=0))


def assert_good(model: Sequential, x: Any, y: Any, scaled: bool) -> None:
    """Training at the suggestion is about as good as at the best of many rates, and
    better than far below it or where the sweep saw the loss diverge.

    With raw inputs all is left to chance, which relus die, so less is asked."""
    sweep = lr_find(model, x, y)
    before = sweep.start
    reached = loss_after(model, x, y, sweep.suggestion)
    others = [loss_after(model, x, y, float(r)) for r in np.geomspace(1e-7, 1, 15)]
    share = 0.8 if scaled else 0.5
    assert before - reached > share * (before - min(others)), (reached, others)
    assert reached < loss_after(model, x, y, sweep.suggestion / 100)
    if scaled:
        assert sweep.diverged is not None
        assert sweep.suggestion < sweep.diverged
        assert loss_after(model, x, y, 3.0 * sweep.diverged) > 1.2 * reached


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "raw"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_suggestion_trains(native: str, optimizer: str, scaled: bool) -> None:
    kurve.set_engine(native)
    utils.set_random_seed(1)
    x = np.random.default_rng(1).uniform(0, 20, (400, 2))
    y = (0.2 * x[:, 0] - 2) ** 2 + np.tanh(x[:, 1] - 10)
    assert_good(model_of(x, scaled, optimizer, "relu"), x, y, scaled)


@pytest.mark.parametrize("name", ["concrete", "energy", "yacht"])
@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "raw"])
def test_on_real_data(native: str, name: str, scaled: bool) -> None:
    if UCI is None:
        pytest.skip("the UCI sets are not there: shared/data/uci beside the repository")
    folder = UCI / name
    kurve.set_engine(native)
    utils.set_random_seed(1)
    table = np.loadtxt(folder / "data.txt")
    x = table[:, np.loadtxt(folder / "index_features.txt").astype(int)]
    y = table[:, int(np.loadtxt(folder / "index_target.txt"))]
    y = (y - y.mean()) / y.std()
    assert_good(model_of(x, scaled, activation="relu"), x, y, scaled)


def test_what_the_sweep_shows(engine: str) -> None:
    """Flat, down, up: and the numbers say where."""
    utils.set_random_seed(1)
    sweep = lr_find(model_of(X), X, Y)
    rates, seen = sweep.learning_rates, sweep.losses
    assert len(rates) == len(seen)
    np.testing.assert_allclose(np.diff(np.log(rates)), np.log(1e8) / 199)
    assert rates[0] == pytest.approx(1e-7)
    np.testing.assert_allclose(seen[:20], sweep.start, rtol=1e-2)
    assert seen.min() < 0.95 * sweep.start
    assert sweep.diverged is not None
    assert seen[-1] > 4 * sweep.start
    assert rates[-1] <= sweep.diverged <= rates[-1] * 1.1
    assert 1e-4 < sweep.suggestion < 0.5 * sweep.diverged
    assert 1e-6 < sweep.steepest < sweep.diverged
    text = f"suggestion={sweep.suggestion:.2g}, {len(rates)} steps from 1e-07 to"
    assert repr(sweep).startswith(f"<LearningRateSweep {text}")
    assert repr(sweep).endswith(f"diverged at {sweep.diverged:.2g}>")


def test_losses_are_those_of_the_model(engine: str) -> None:
    """The first is what `evaluate` says, and what no update changed stays so."""
    utils.set_random_seed(1)
    model = model_of(X)
    model.build((None, 1))
    weights = np.random.default_rng(1).uniform(0, 2, len(X))
    sweep = lr_find(model, X, Y, weights, steps=50)
    expected = model.evaluate(X, Y, verbose=0, sample_weight=weights, batch_size=999)
    assert sweep.start == pytest.approx(expected, rel=1e-6)
    assert sweep.losses[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("state", ["unbuilt", "built", "trained"])
def test_nothing_is_changed(engine: str, state: str) -> None:
    """Neither the model, nor what it does next, nor any random number to come."""

    def run(with_sweep: bool) -> tuple[Any, ...]:
        utils.set_random_seed(5)
        model = Sequential([Dense(20, "tanh"), Dropout(0.1), Dense(1)])
        schedule = optimizers.schedules.CosineDecay(0.01, 100)
        adam = optimizers.Adam(schedule, name="adam")
        model.compile(adam, "mse", metrics=["mae"])
        if state != "unbuilt":
            model.build((None, 1))
        if state == "trained":
            model.fit(X, Y, verbose=0)
        before = snapshot(model)
        if with_sweep:
            lr_find(model, X, Y)
        assert snapshot(model) == before
        assert model.history is None or state == "trained"
        model.fit(X, Y, verbose=0)
        return (*snapshot(model), rng.next_seed())

    with_sweep, without = run(True), run(False)
    # names of layers count up from run to run
    assert [a for a in with_sweep if not isinstance(a, list)] == [
        a for a in without if not isinstance(a, list)
    ]


def test_without_a_seed_none_is_chosen(engine: str) -> None:
    assert not rng._seed_source
    lr_find(model_of(X), X, Y, steps=50)
    assert not rng._seed_source


def test_the_same_model_gives_the_same_sweep(engine: str) -> None:
    """A copy begins with the weights that the model has or will have."""
    model = model_of(X)
    first, second = lr_find(model, X, Y), lr_find(model, X, Y)
    np.testing.assert_array_equal(first.losses, second.losses)
    assert first.suggestion == second.suggestion
    raw = Sequential([Dense(8, "tanh"), Dense(1)])
    raw.compile("adam", "mse")
    unbuilt = lr_find(raw, X, Y)
    raw.build((None, 1))
    np.testing.assert_array_equal(lr_find(raw, X, Y).losses, unbuilt.losses)


def test_a_trained_model_begins_where_it_is(engine: str) -> None:
    utils.set_random_seed(1)
    model = model_of(X, optimizer=optimizers.Adam(0.01))
    fresh = lr_find(model, X, Y)
    model.fit(X, Y, epochs=100, verbose=0)
    later = lr_find(model, X, Y)
    assert later.start < 0.5 * fresh.start
    assert later.start == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-3)


def test_a_sweep_that_ends_before_anything_diverges(engine: str) -> None:
    sweep = lr_find(model_of(X), X, Y, max_learning_rate=1e-3, steps=60)
    assert sweep.diverged is None
    assert len(sweep.losses) == 60
    assert sweep.learning_rates[-1] == pytest.approx(1e-3)
    assert "diverged" not in repr(sweep)
    assert 1e-7 < sweep.suggestion <= 1e-3


def test_a_loss_below_zero_and_a_bounded_one(engine: str) -> None:
    """Neither the sign nor the size of a loss matters."""
    utils.set_random_seed(1)
    labels = (X > 10).astype(float)
    model = Sequential([Normalization(), Dense(16, "tanh"), Dense(1, "sigmoid")])
    model.layers[0].adapt(X)  # type: ignore[attr-defined]
    model.compile("adam", losses.BinaryCrossentropy())
    sweep = lr_find(model, X, labels)
    assert loss_after(model, X, labels, sweep.suggestion) < 0.5 * sweep.start
    curve = np.concatenate([np.zeros(60), -(np.linspace(0, 2, 60) ** 2)])
    rates = np.geomspace(1e-6, 1, 120)
    made = LearningRateSweep(rates, curve, 0.0, 2.0)
    assert rates[60] < made.suggestion < 2.0


def test_the_batch_size_matters(engine: str) -> None:
    """Small batches make noisy gradients: the sweep does what `fit` would do."""
    one, all_ = (lr_find(model_of(X), X, Y, batch_size=b) for b in (1, 200))
    assert not np.array_equal(one.losses, all_.losses)


def test_plot() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    sweep = lr_find(model_of(X), X, Y)
    ax = sweep.plot()
    assert ax.get_xscale() == "log"
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [
        "loss",
        f"suggestion {sweep.suggestion:.2g}",
        f"diverged {sweep.diverged:.2g}",
    ]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), sweep.losses)
    mine = plt.figure().add_subplot()
    assert kurve.plots.plot_sweep(sweep, ax=mine) is mine
    with pytest.raises(
        TypeError, match=r"^\[plot_sweep\] sweep must be .* Try plot_sw"
    ):
        kurve.plots.plot_sweep({"loss": [1.0]})
    plt.close("all")


def uncompiled() -> Sequential:
    return Sequential([Dense(1)])


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: lr_find(uncompiled(), X, Y), RuntimeError, "must be compiled first.*Try"),
    (lambda: lr_find("model", X, Y), TypeError, "must be a Sequential.*type str.*Try"),
    (lambda: lr_find(model_of(X), X, Y[:-1]), ValueError, "same number of rows"),
    (lambda: lr_find(model_of(X), X, Y * np.nan), ValueError, r"y\[0, 0\] = nan"),
    (lambda: lr_find(model_of(X), X, Y, steps=3), ValueError, "steps must .*steps=3"),
    (lambda: lr_find(model_of(X), X, Y, steps=9.5), TypeError, "steps must .*9.5"),
    (
        lambda: lr_find(model_of(X), X, Y, batch_size=0),
        ValueError,
        "batch_size must .*batch_size=0",
    ),
    (
        lambda: lr_find(
            model_of(X), X, Y, min_learning_rate=1.0, max_learning_rate=1.0
        ),
        ValueError,
        "0 < min_learning_rate < max.*Received: 1.0 and 1.0.*Try",
    ),
    (
        lambda: lr_find(model_of(X), X, Y, min_learning_rate=0.0),
        ValueError,
        "0 < min_learning_rate < max.*Received: 0.0 and 10.0",
    ),
    (
        lambda: lr_find(
            model_of(X, False, "sgd", "linear"), 1e9 * X, Y, min_learning_rate=1e-3
        ),
        ValueError,
        "min_learning_rate is so large that .*0.001.*Try",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), WRONG)
def test_wrong_calls(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=rf"(?s)^\[lr_find\] .*{text}"):
        call()


def test_another_input_shape_changes_nothing() -> None:
    model = Sequential([Input((2,)), Dense(1)])
    model.compile("adam", "mse")
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"^\[lr_find\] x must have shape \(n, 2\)"):
        lr_find(model, X, Y)
    assert snapshot(model) == before
