"""Models to export: every activation, every kind of layer, every kind of estimator."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import kurve
from kurve import activations, layers, models
from kurve.utils import set_random_seed
from tests.engines.cases import ACTIVATION_NAMES, FORMULA_ACTIVATIONS
from tests.engines.images import STACKS

ACTIVATIONS = {name: activations.get(name) for name in ACTIVATION_NAMES} | {
    "leaky_relu of 0.03": activations.Activation("leaky_relu", 0.03),
    "elu of 0.7": activations.Activation("elu", 0.7),
    "snake of 2.5": activations.Activation("snake", 2.5),
    **{str(chosen): activations.get(chosen) for chosen in FORMULA_ACTIVATIONS},
}


def of_activation(name: str) -> models.Sequential:
    """The activation of a layer, and as a layer."""
    set_random_seed(1)
    chosen = ACTIVATIONS[name]
    model = models.Sequential(
        [
            layers.Dense(12, activation=chosen, input_shape=(3,)),
            layers.Dense(7),
            layers.Activation(chosen),
            layers.Dense(2, activation=chosen),
        ]
    )
    if name == "exponential":  # of an exponential of an exponential
        model.set_weights([w / 5 for w in model.get_weights()])
    return perturbed(model)


def perturbed(model: models.Sequential) -> models.Sequential:
    """The model with nonzero biases."""
    rng = np.random.default_rng(5)
    model.set_weights([w + 0.1 * rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def _normalized() -> models.Sequential:
    rng = np.random.default_rng(2)
    first = layers.Normalization()
    first.adapt(rng.normal(20.0, 3.0, (50, 4)))
    last = layers.Normalization(mean=5.0, variance=4.0, invert=True)
    return models.Sequential(
        [first, layers.Dense(9, "tanh"), layers.Dropout(0.5), layers.Dense(3), last]
    )


def _constant_column() -> models.Sequential:
    first = layers.Normalization(mean=[1.0, 2.0], variance=[0.0, 4.0], input_shape=(2,))
    return models.Sequential([first, layers.Dense(2)])


SEQUENTIALS: dict[str, Callable[[], models.Sequential]] = {
    "no bias": lambda: models.Sequential(
        [
            layers.Dense(5, "relu", use_bias=False, input_shape=(2,)),
            layers.Dense(1, use_bias=False),
        ]
    ),
    "softmax at the end": lambda: models.Sequential(
        [layers.Dense(8, "relu", input_shape=(4,)), layers.Dense(5, "softmax")]
    ),
    "samples of rank 2": lambda: perturbed(
        models.Sequential(
            [
                layers.Normalization(
                    axis=(-2, -1),
                    mean=np.arange(6.0).reshape(3, 2),
                    variance=1 + np.arange(6.0).reshape(3, 2),
                    input_shape=(3, 2),
                ),
                layers.Dense(4, "silu"),
                layers.Dense(2, "softmax"),
            ]
        )
    ),
    "one mean for all": lambda: models.Sequential(
        [
            layers.Normalization(axis=None, mean=2.0, variance=3.0, input_shape=(3,)),
            layers.Dense(2),
        ]
    ),
    "normalization": lambda: perturbed(_normalized()),
    "constant column": _constant_column,
    "waves": lambda: models.Sequential(
        [layers.FourierFeatures(5, input_shape=(2,)), layers.Dense(3)]
    ),
    "nothing but dropout": lambda: models.Sequential(
        [layers.Dropout(0.3, input_shape=(4,))]
    ),
    "one layer": lambda: models.Sequential([layers.Dense(1, input_shape=(1,))]),
    "wide": lambda: models.Sequential(
        [layers.Dense(300, "tanh", input_shape=(17,)), layers.Dense(33)]
    ),
}


def sequential(name: str) -> models.Sequential:
    set_random_seed(1)
    return SEQUENTIALS[name]()


# Volumes are not exported.
PLANES = [name for name, stack in STACKS.items() if len(stack.shape) < 4]


def of_images(name: str) -> models.Sequential:
    """A stack of image layers without the final dense layer, with statistics other than
    0 and 1."""
    set_random_seed(1)
    stack = STACKS[name]
    first = layers.Conv1D if len(stack.shape) == 2 else layers.Conv2D
    start = first(stack.shape[-1], 1, activation="tanh", input_shape=stack.shape)
    model = models.Sequential([start, *stack.make()])
    rng = np.random.default_rng(5)
    weights = [np.abs(w + 0.1 * rng.normal(size=w.shape)) for w in model.get_weights()]
    signs = [rng.choice([-1.0, 1.0], w.shape) for w in weights]
    variances = [v.name.endswith("variance") for v in model.weights]
    model.set_weights(
        [w if v else w * s for w, s, v in zip(weights, signs, variances, strict=True)]
    )
    return model


def digits() -> models.Sequential:
    """The convolutional network of the examples, for images of 28 x 28 bytes."""
    set_random_seed(1)
    return models.Sequential(
        [
            layers.Rescaling(1 / 255, input_shape=(28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


IMAGES_CLOSE = 2e-6
"""Image cases have no final dense layer, which would hide one wrong pixel; a layer that
divides by the standard deviation of few elements amplifies rounding errors."""


def table(rows: int = 160, columns: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Columns on different scales that float32 can hold, and a target from them."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(rows, columns)).astype(np.float32)
    x = (z * [0.01, 5.0, 1.0][:columns] + [0.0, 100.0, -3.0][:columns]).astype(
        np.float32
    )
    y = 1000.0 + 50.0 * np.sin(2 * z[:, 0]) + 30.0 * z[:, 1]
    return x.astype(np.float64), y + 5.0 * rng.normal(size=rows)


def rows_for(model: Any) -> np.ndarray:
    """Rows of the table, with missing values if the estimator imputes them."""
    x, _ = table()
    if model.missing == "impute":
        x[::3, 0] = np.nan  # had no gap in training
        x[::4, 1] = np.nan
    return x


FAST: dict[str, Any] = {
    "hidden_layer_sizes": (8,),
    "solver": "adam",
    "max_epochs": 4,
    "random_state": 0,
}

BAG: dict[str, Any] = {"hidden_layer_sizes": "auto", "solver": "auto"}


def _regressor(**given: Any) -> Any:
    x, y = table()
    return kurve.Regressor(**{**FAST, **given}).fit(x, y)


def _two_targets(**given: Any) -> Any:
    x, y = table()
    targets = np.stack([y, 0.001 * x[:, 0] - 7.0], axis=1)
    return kurve.Regressor(**{**FAST, **given}).fit(x, targets)


def _with_gaps(cls: Any, target: Callable[[np.ndarray], np.ndarray]) -> Any:
    x, y = table()
    x[::5, 1] = np.nan
    x[::7, 2] = np.nan
    return cls(**FAST, missing="impute").fit(x, target(y))


def _classifier(labels: Callable[[np.ndarray], np.ndarray], **given: Any) -> Any:
    x, y = table()
    return kurve.Classifier(**{**FAST, **given}).fit(x, labels(y))


ESTIMATORS: dict[str, Callable[[], Any]] = {
    "squared error": lambda: _regressor(likelihood="none"),
    "squared error, members": lambda: _regressor(likelihood="none", members=3),
    "levenberg": lambda: _regressor(solver="lm", max_epochs=20),
    "gaussian": lambda: _regressor(likelihood="gaussian"),
    "gaussian, members": lambda: _two_targets(likelihood="gaussian", members=3),
    "quantiles": lambda: _regressor(likelihood="quantile"),
    "quantiles, members": lambda: _two_targets(likelihood="quantile", members=2),
    "two targets": lambda: _two_targets(likelihood="none"),
    "unscaled": lambda: _regressor(likelihood="none", scale=False),
    "gaps": lambda: _with_gaps(kurve.Regressor, lambda y: y),
    "two classes": lambda: _classifier(lambda y: y > 1000.0),
    "two classes, members": lambda: _classifier(lambda y: y > 1000.0, members=3),
    "classes": lambda: _classifier(lambda y: np.digitize(y, [980, 1000, 1020]) * 10),
    "classes of text": lambda: _classifier(
        lambda y: np.array(["läg", 'mid"\\??/*/', "high\n"])[
            np.digitize(y, [980, 1020])
        ]
    ),
    "classes, members": lambda: _classifier(
        lambda y: np.digitize(y, [980, 1000, 1020]), members=2
    ),
    "classes of floats": lambda: _classifier(lambda y: (y > 1000.0) * 2.0 - 1.0),
    "bag": lambda: _regressor(**BAG),
    "bag, two targets": lambda: _two_targets(**BAG),
    "bag, two classes": lambda: _classifier(lambda y: y > 1000.0, **BAG),
    "bag, classes": lambda: _classifier(lambda y: np.digitize(y, [980, 1020]), **BAG),
    "gaps of a classifier": lambda: _with_gaps(
        kurve.Classifier, lambda y: np.digitize(y, [980, 1020])
    ),
}


@functools.cache
def estimator(name: str) -> Any:
    """Trained once, with whichever engine is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ESTIMATORS[name]()


def committee(members: int = 3) -> Any:
    set_random_seed(4)
    model = models.Sequential(
        [layers.Dense(6, "tanh", input_shape=(3,)), layers.Dense(2)]
    )
    model.compile(loss="mse", optimizer="adam")
    return kurve.ensemble(model, members=members)


def rows_of(shape: tuple[int | None, ...], count: int = 40) -> np.ndarray:
    """Rows that reach into the tails of every activation."""
    rng = np.random.default_rng(9)
    return (2.0 * rng.normal(size=(count, *shape[1:]))).astype(np.float32)


CLOSE = 1e-6
"""Largest error relative to the largest number of a target: a few rounding errors."""

BOUNDS = {"unscaled": 5e-6}
"""Its first layer sums numbers around 100, whose rounding errors are as large."""


def assert_close(actual: np.ndarray, wanted: np.ndarray, bound: float = CLOSE) -> None:
    """Targets may be on different scales, so each is compared by itself."""
    assert actual.dtype == np.float32
    assert actual.shape == wanted.shape
    size = np.maximum(np.abs(wanted).max(axis=0), 1e-3)
    assert (np.abs(actual - wanted).max(axis=0) <= bound * size).all()
