"""Losses standalone, against NumPy formulas written a second time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, losses, optimizers
from kurve.engines.reference.losses import LOSSES
from kurve.layers import Dense

FLOAT32 = 2e-6
"""Relative error of a formula in float32, which losses by hand are computed in."""

RANDOM = np.random.default_rng(4)
N, O = 6, 3  # noqa: E741
E = RANDOM.normal(size=(N, O))  # what to predict
P = RANDOM.normal(size=(N, O))
BITS = RANDOM.integers(0, 2, (N, O)).astype(float)
CLASSES = RANDOM.integers(0, O, N)
ONE_HOT = np.eye(O)[CLASSES]
SHARES = RANDOM.dirichlet(np.ones(O), N)  # rows that sum to 1


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)


def smooth(y: np.ndarray, by: float, classes: int) -> np.ndarray:
    return y * (1.0 - by) + by / classes


def entropy(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -(y * np.log(p)).sum(axis=-1)


def binary_entropy(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -(y * np.log(p) + (1.0 - y) * np.log(1.0 - p)).mean(axis=-1)


def huber(e: np.ndarray, delta: float) -> np.ndarray:
    quadratic = np.minimum(np.abs(e), delta)
    return (0.5 * quadratic**2 + delta * (np.abs(e) - quadratic)).mean(axis=-1)


def gaussian_nll(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    mean, raw = np.split(p, 2, axis=-1)
    deviation = np.sqrt(np.log1p(np.exp(raw)) + 1e-6)
    density = np.exp(-0.5 * ((y - mean) / deviation) ** 2) / deviation
    return -np.log(density / np.sqrt(2.0 * np.pi)).mean(axis=-1)


def pinball(y: np.ndarray, p: np.ndarray, quantiles: list[float]) -> np.ndarray:
    each = []
    for i, q in enumerate(quantiles):
        over = y - p[..., i :: len(quantiles)]
        each.append(np.where(over > 0, q * over, (q - 1.0) * over).mean(axis=-1))
    return np.mean(each, axis=0)


WIDE = RANDOM.normal(size=(N, 2 * O))

Case = tuple[losses.Loss, np.ndarray, np.ndarray, np.ndarray]
CASES: dict[str, Case] = {
    "mse": (losses.MeanSquaredError(), E, P, ((E - P) ** 2).mean(axis=-1)),
    "mae": (losses.MeanAbsoluteError(), E, P, np.abs(E - P).mean(axis=-1)),
    "huber": (losses.Huber(), E, P, huber(E - P, 1.0)),
    "huber 0.2": (losses.Huber(0.2), E, P, huber(E - P, 0.2)),
    "log_cosh": (losses.LogCosh(), E, P, np.log(np.cosh(E - P)).mean(axis=-1)),
    "binary": (losses.BinaryCrossentropy(), BITS, SHARES, binary_entropy(BITS, SHARES)),
    "binary, logits": (
        losses.BinaryCrossentropy(from_logits=True),
        BITS,
        P,
        binary_entropy(BITS, sigmoid(P)),
    ),
    "binary, smooth": (
        losses.BinaryCrossentropy(label_smoothing=0.2),
        BITS,
        SHARES,
        binary_entropy(smooth(BITS, 0.2, 2), SHARES),
    ),
    "categorical": (
        losses.CategoricalCrossentropy(),
        ONE_HOT,
        SHARES,
        entropy(ONE_HOT, SHARES),
    ),
    "categorical, unscaled": (
        losses.CategoricalCrossentropy(),
        ONE_HOT,
        5.0 * SHARES,
        entropy(ONE_HOT, SHARES),
    ),
    "categorical, logits, smooth": (
        losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3),
        ONE_HOT,
        P,
        entropy(smooth(ONE_HOT, 0.3, O), softmax(P)),
    ),
    "sparse": (
        losses.SparseCategoricalCrossentropy(),
        CLASSES,
        SHARES,
        entropy(ONE_HOT, SHARES),
    ),
    "sparse, logits": (
        losses.SparseCategoricalCrossentropy(from_logits=True),
        CLASSES,
        P,
        entropy(ONE_HOT, softmax(P)),
    ),
    "gaussian": (losses.GaussianNLL(), E, WIDE, gaussian_nll(E, WIDE)),
    "pinball": (
        losses.Pinball([0.2, 0.6]),
        E,
        WIDE,
        pinball(E, WIDE, [0.2, 0.6]),
    ),
    "pinball, of three": (
        losses.Pinball(),
        E,
        np.repeat(P, 3, axis=1),
        pinball(E, np.repeat(P, 3, axis=1), [0.05, 0.5, 0.95]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_value_of_a_batch(name: str) -> None:
    """The sum of value x weight divided by the number of rows, as in Keras."""
    loss, y, p, values = CASES[name]
    assert loss(y, p) == pytest.approx(values.mean(), rel=FLOAT32)
    weights = np.linspace(0.0, 2.0, N)
    assert loss(y, p, weights) == pytest.approx(
        (values * weights).sum() / N, rel=FLOAT32
    )


@pytest.mark.parametrize("name", CASES)
def test_function_gives_every_row(name: str) -> None:
    """`losses.mean_squared_error(y, p)` and its kin."""
    loss, y, p, values = CASES[name]
    function: Callable[..., np.ndarray] = getattr(losses, loss.kind)
    options = {k: v for k, v in loss.get_config().items() if k != "name"}
    np.testing.assert_allclose(function(y, p, **options), values, rtol=FLOAT32)
    assert type(losses.as_loss(function)) is type(loss)
    assert losses.get(function) is losses.get(loss.kind) is function
    assert losses.get(loss) is loss


@pytest.mark.parametrize("name", CASES)
def test_axes_between_batch_and_outputs(name: str) -> None:
    """Each position counts as a row of its own, with the weight of its sample."""
    loss, y, p, values = CASES[name]
    y, p = y.reshape(2, 3, *y.shape[1:]), p.reshape(2, 3, -1)
    assert loss(y, p) == pytest.approx(values.mean(), rel=FLOAT32)
    weighted = (values.reshape(2, 3) * [[1.0], [3.0]]).mean()
    assert loss(y, p, [1.0, 3.0]) == pytest.approx(weighted, rel=FLOAT32)


@pytest.mark.parametrize("name", CASES)
def test_config_round_trip(name: str) -> None:
    loss, *_ = CASES[name]
    again = type(loss)(**loss.get_config())
    assert again.spec == loss.spec
    assert again.name == loss.name


@pytest.mark.parametrize("name", losses.NAMES)
def test_names(name: str) -> None:
    """A class's name gives an object, every other name the function, as in Keras."""
    loss = losses.as_loss(name)
    assert type(loss) is losses.CLASSES[losses.NAMES[name]]
    assert loss.name == {"huber": "huber_loss"}.get(loss.kind, loss.kind)
    found = losses.get(name)
    if name in losses.CLASSES:
        assert type(found) is losses.CLASSES[name]
    else:
        assert found is getattr(losses, loss.kind)
    assert losses.get(None) is None


@pytest.mark.parametrize("error", [0.0, 1e-8, 20.0, 1e4])
def test_log_cosh_neither_overflows_nor_cancels(error: float) -> None:
    exact = 0.5 * error**2 if error < 1e-3 else error - np.log(2.0)
    value = losses.LogCosh()([[error]], [[0.0]])
    assert value == pytest.approx(exact, rel=FLOAT32, abs=1e-15)


@pytest.mark.parametrize("logit", [-1e4, -50.0, 50.0, 1e4])
def test_logits_far_out_stay_finite(logit: float) -> None:
    """From logits nothing is clipped: being surely wrong costs the whole logit."""
    wrong = 0.0 if logit > 0 else 1.0
    binary = losses.BinaryCrossentropy(from_logits=True)
    assert binary([[wrong]], [[logit]]) == pytest.approx(abs(logit), rel=FLOAT32)
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True)
    assert sparse([int(logit < 0)], [[0.0, logit]]) == pytest.approx(abs(logit))


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_probabilities_are_kept_off_their_ends(p: float) -> None:
    """1 - 1e-7 is 1 - 2^-23 in float32."""
    ends = {0.0: 1e-7, 1.0: 2.0**-23}
    assert losses.BinaryCrossentropy()([[1.0 - p]], [[p]]) == pytest.approx(
        -np.log(ends[p]), rel=1e-6
    )


@pytest.mark.parametrize(
    ("loss", "y_shape", "p_shape"),
    [
        (losses.MeanSquaredError(), (4,), (4, 3)),
        (losses.MeanSquaredError(), (4, 1), (4, 3)),
        (losses.MeanSquaredError(), (3,), (4, 3)),
        (losses.SparseCategoricalCrossentropy(), (4, 3), (4, 3)),
        (losses.GaussianNLL(), (4, 2), (4, 2)),
        (losses.Pinball(), (4, 1), (4, 6)),
    ],
)
def test_a_loss_never_broadcasts(
    loss: losses.Loss, y_shape: tuple[int, ...], p_shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"y_true must have shape .*Received: y_true"):
        loss(np.zeros(y_shape), np.ones(p_shape))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: losses.Pinball([0.5, 0.5]), r"^\[Pinball\] quantiles must .*Try"),
        (lambda: losses.GaussianNLL(2.0), r"^\[GaussianNLL\] beta must .*2.0. Try"),
        (lambda: losses.Pinball([]), r"^\[Pinball\] quantiles must .*Received: \[\]"),
        (lambda: losses.Pinball([0.0, 0.5]), r"^\[Pinball\] quantiles must .*0.0"),
        (
            lambda: losses.Huber(0.0),
            r"^\[Huber\] delta must .*Received: delta=0.0. Try",
        ),
        (
            lambda: losses.Huber(float("nan")),
            r"^\[Huber\] delta must .*Received: delta=nan",
        ),
        (
            lambda: losses.BinaryCrossentropy(label_smoothing=1.5),
            r"^\[BinaryCrossentropy\] label_smoothing must .*Received: .*1.5. Try",
        ),
    ],
)
def test_wrong_arguments(make: Callable[[], losses.Loss], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_a_network_learns_mean_and_deviation() -> None:
    """The minimum of the Gaussian loss is at the mean and variance of the data."""
    y = np.random.default_rng(5).normal(2.0, 0.5, 4000)
    model = Sequential([Input((1,)), Dense(2)])
    model.compile(optimizers.Adam(0.05), losses.GaussianNLL())
    model.fit(np.ones_like(y), y, batch_size=4000, epochs=400, verbose=0)
    mean, raw = model.predict([1.0], verbose=0)[0]
    assert mean == pytest.approx(y.mean(), abs=0.01)
    assert np.sqrt(np.log1p(np.exp(raw))) == pytest.approx(y.std(), abs=0.01)


def test_beta_weighs_rows_by_their_variance() -> None:
    """The gradient times v^beta; the value stays."""
    y, p = E, WIDE
    plain, slope = LOSSES["gaussian_nll"](y, p, {"beta": 0.0})
    same, weighed = LOSSES["gaussian_nll"](y, p, {"beta": 0.5})
    deviation = np.sqrt(np.log1p(np.exp(p[:, O:])) + 1e-6)
    np.testing.assert_array_equal(same, plain)
    np.testing.assert_allclose(weighed, slope * np.tile(deviation, 2), rtol=1e-12)


def test_a_network_learns_quantiles() -> None:
    y = np.random.default_rng(6).exponential(size=4001)
    model = Sequential([Input((1,)), Dense(3)])
    rate = optimizers.schedules.CosineDecay(0.05, 600)
    model.compile(optimizers.Adam(rate), losses.Pinball([0.1, 0.5, 0.9]))
    model.fit(np.ones_like(y), y, batch_size=4001, epochs=600, verbose=0)
    wanted = np.quantile(y, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(model.predict([1.0], verbose=0)[0], wanted, atol=0.02)


@pytest.mark.parametrize("loss", [losses.GaussianNLL(), losses.Pinball()])
def test_targets_of_several_outputs(loss: losses.Loss) -> None:
    """What is wrong is refused before the first step, with what would be right."""
    name = type(loss).__name__
    model = Sequential([Input((1,)), Dense(4 * loss.outputs_per_target + 1)])
    model.compile("adam", loss)
    with pytest.raises(
        ValueError, match=rf"^\[{name}\] the model needs {loss.outputs_per_target} "
    ):
        model.fit([1.0], [1.0], verbose=0)
    model = Sequential([Input((1,)), Dense(loss.outputs_per_target)])
    model.compile("adam", loss)
    with pytest.raises(
        ValueError, match=rf"Try a last layer of {2 * loss.outputs_per_target} units"
    ):
        model.fit([1.0], [[1.0, 2.0]], verbose=0)
    model.compile("adam", loss, metrics=["mae"])
    with pytest.raises(ValueError, match=r"the metric 'mae' needs 1 outputs"):
        model.fit([1.0], [1.0], verbose=0)
    model.compile("adam", loss, metrics=[loss])
    history = model.fit([1.0], [1.0], verbose=0).history
    assert history[loss.name] == pytest.approx(history["loss"])


def test_gaussian_of_far_outliers_stays_finite() -> None:
    value = losses.GaussianNLL()([[1e6]], [[0.0, -200.0]])
    assert np.isfinite(value) and value > 1e17


def test_what_needs_a_loss_of_each_row_refuses_one_of_all(tmp_path: Path) -> None:
    x, y = np.arange(12.0).reshape(6, 2), np.array([0, 0, 1, 1, 2, 2])
    model = Sequential([Dense(2)])
    model.compile("adam", losses.Circle())
    model.fit(x, y, verbose=0)
    for call in (
        lambda: model.diagnose(x, y),
        lambda: kurve.ensemble(model),
        lambda: kurve.lr_find(model, x, y),
        lambda: kurve.solvers.lbfgs(model, x, y),
    ):
        with pytest.raises(NotImplementedError, match=r"rows of a batch|own training"):
            call()
    model.save(tmp_path / "m.kurve")
    again = kurve.models.load_model(tmp_path / "m.kurve")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
