"""Losses standalone, against NumPy formulas written a second time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kurve import losses

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
}


@pytest.mark.parametrize("name", CASES)
def test_value_of_a_batch(name: str) -> None:
    """The sum of value x weight divided by the number of rows, as in Keras."""
    loss, y, p, values = CASES[name]
    assert loss(y, p) == pytest.approx(values.mean(), rel=1e-9)
    weights = np.linspace(0.0, 2.0, N)
    assert loss(y, p, weights) == pytest.approx((values * weights).sum() / N, rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_function_gives_every_row(name: str) -> None:
    """`losses.mean_squared_error(y, p)` and its kin."""
    loss, y, p, values = CASES[name]
    function: Callable[..., np.ndarray] = getattr(losses, loss.kind)
    np.testing.assert_allclose(function(y, p, **loss.attrs()), values, rtol=1e-9)
    assert type(losses.get(function)) is type(loss)


@pytest.mark.parametrize("name", CASES)
def test_axes_between_batch_and_outputs(name: str) -> None:
    """Each position counts as a row of its own, with the weight of its sample."""
    loss, y, p, values = CASES[name]
    y, p = y.reshape(2, 3, *y.shape[1:]), p.reshape(2, 3, O)
    assert loss(y, p) == pytest.approx(values.mean(), rel=1e-9)
    weighted = (values.reshape(2, 3) * [[1.0], [3.0]]).mean()
    assert loss(y, p, [1.0, 3.0]) == pytest.approx(weighted, rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_config_round_trip(name: str) -> None:
    loss, *_ = CASES[name]
    again = type(loss)(**loss.get_config())
    assert again.spec == loss.spec
    assert again.name == loss.name


@pytest.mark.parametrize("name", losses.NAMES)
def test_names(name: str) -> None:
    assert losses.get(name).kind == losses.NAMES[name].kind
    if losses.get(name).kind in {name, name.lower()}:
        assert losses.get(name).name == losses.get(name).kind


@pytest.mark.parametrize("error", [0.0, 1e-8, 20.0, 1e4])
def test_log_cosh_neither_overflows_nor_cancels(error: float) -> None:
    exact = 0.5 * error**2 if error < 1e-3 else error - np.log(2.0)
    value = losses.LogCosh()([[error]], [[0.0]])
    assert value == pytest.approx(exact, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("logit", [-1e4, -50.0, 50.0, 1e4])
def test_logits_far_out_stay_finite(logit: float) -> None:
    """From logits nothing is clipped: being surely wrong costs the whole logit."""
    wrong = 0.0 if logit > 0 else 1.0
    binary = losses.BinaryCrossentropy(from_logits=True)
    assert binary([[wrong]], [[logit]]) == pytest.approx(abs(logit), rel=1e-12)
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True)
    assert sparse([int(logit < 0)], [[0.0, logit]]) == pytest.approx(abs(logit))


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_probabilities_are_kept_off_their_ends(p: float) -> None:
    assert losses.BinaryCrossentropy()([[1.0 - p]], [[p]]) == pytest.approx(
        -np.log(1e-7), rel=1e-6
    )


@pytest.mark.parametrize(
    ("loss", "y_shape", "p_shape"),
    [
        (losses.MeanSquaredError(), (4,), (4, 3)),
        (losses.MeanSquaredError(), (4, 1), (4, 3)),
        (losses.MeanSquaredError(), (3,), (4, 3)),
        (losses.SparseCategoricalCrossentropy(), (4, 3), (4, 3)),
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
        (lambda: losses.Huber(0.0), r"^\[Huber\] delta must .*Received: 0.0. Try"),
        (lambda: losses.Huber(float("nan")), r"^\[Huber\] delta must .*Received: nan"),
        (
            lambda: losses.BinaryCrossentropy(label_smoothing=1.5),
            r"^\[BinaryCrossentropy\] label_smoothing must .*Received: 1.5. Try",
        ),
    ],
)
def test_wrong_arguments(make: Callable[[], losses.Loss], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
