"""Losses, metrics and layers called directly, against Keras's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twins import TOLERANCES, keras

import kurve
from kurve.engines.reference.metrics import ROW_VALUES

CLOSE = TOLERANCES["one float32 value"]
RNG = np.random.default_rng(11)
SHAPES = [(4, 3), (4, 5, 3), (4, 2, 5, 3)]
LOSSES = ["mse", "mae", "MSE", "MAE", "bce", "BCE", "huber", "log_cosh"]
LOSSES += [
    name
    for name in kurve.losses.NAMES
    if hasattr(keras.losses, name)
    and kurve.losses.as_loss(name).kind
    not in ("categorical_generalized_cross_entropy", "circle", "ctc")
]
"""Without the one that Keras's `get` does not know."""
METRICS = ["mse", "mae", "MSE", "MAE", "accuracy", "r2_score"]
METRICS += [  # the others are in test_metrics.py
    name
    for name, cls in kurve.metrics.CLASSES.items()
    if getattr(cls, "kind", "") in {*ROW_VALUES, "r2_score"}
]
METRICS += ["BinaryCrossentropy", "CategoricalCrossentropy", "LogCoshError"]
METRICS += ["root_mean_squared_error", "binary_accuracy", "categorical_accuracy"]


def numbers(result: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(result))


def data(shape: tuple[int, ...], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Targets and outputs for a loss or metric."""
    p = RNG.uniform(0.05, 0.95, shape).astype(np.float32)
    if kind.startswith("sparse"):
        return RNG.integers(0, shape[-1], shape[:-1]).astype(np.float32), p
    if kind.startswith(("categorical", "top")):
        classes = RNG.integers(0, shape[-1], shape[:-1])
        return np.eye(shape[-1], dtype=np.float32)[classes], p
    if kind.startswith(("binary", "accuracy")):
        y = RNG.integers(0, 2, shape).astype(np.float32)
        return y, np.where(RNG.random(shape) < 0.3, y, p).astype(np.float32)
    return RNG.normal(size=shape).astype(np.float32), p


def weightings(rows: tuple[int, ...]) -> list[np.ndarray | None]:
    """None, one weight for all, for each sample, for each row."""
    each = [RNG.uniform(0.5, 2.0, rows).astype(np.float32)]
    if len(rows) > 1:
        each.append(RNG.uniform(0.5, 2.0, (rows[0],) + (1,) * (len(rows) - 1)))
    return [None, np.float32(1.5), *each]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_name(name: str, shape: tuple[int, ...]) -> None:
    """`losses.get` returns a function or an object, as Keras does."""
    ours, theirs = kurve.losses.get(name), keras.losses.get(name)
    assert inspect.isfunction(ours) == inspect.isfunction(theirs)
    kind = kurve.losses.as_loss(name).kind
    y, p = data(shape, kind)
    if inspect.isfunction(ours):
        np.testing.assert_allclose(ours(y, p), numbers(theirs(y, p)), CLOSE, CLOSE)
        return
    # Dice and Tversky are quotients of sums in float32 that may nearly cancel.
    close = 1e-5 if name in ("Dice", "Tversky") else CLOSE
    for weights in weightings(shape[:-1]):
        expected = float(theirs(y, p, sample_weight=weights))
        found = ours(y, p, sample_weight=weights)
        assert found == pytest.approx(expected, rel=close, abs=CLOSE)


@pytest.mark.parametrize(
    "name", ["BinaryCrossentropy", "CategoricalCrossentropy", "MeanSquaredError"]
)
def test_losses_at_the_ends(name: str) -> None:
    """Where float32 rounds 1 - 1e-7, and probabilities that do not sum to 1."""
    ours, theirs = getattr(kurve.losses, name)(), getattr(keras.losses, name)()
    ends = [0.0, 1e-8, 1e-7, 2e-7, 0.5, 1.0 - 2e-7, 1.0 - 1e-7, 1.0]
    for first in ends:
        for second in ends[1:]:
            p = np.array([[first, second]], np.float32)
            for y in ([[1.0, 0.0]], [[0.0, 1.0]], [[0.3, 0.7]]):
                y = np.array(y, np.float32)
                expected = float(theirs(y, p))
                assert ours(y, p) == pytest.approx(expected, rel=2e-6, abs=3e-8)


def test_a_loss_of_one_class_warns_as_keras_does() -> None:
    y, p = np.ones((3, 1), np.float32), np.full((3, 1), 0.5, np.float32)
    with pytest.warns(Warning, match="num_classes > 1"):
        theirs = float(keras.losses.CategoricalCrossentropy()(y, p))
    with pytest.warns(UserWarning, match="needs more than one class"):
        ours = kurve.losses.CategoricalCrossentropy()(y, p)
    assert ours == pytest.approx(theirs, rel=CLOSE)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", METRICS)
def test_metrics_by_name(name: str, shape: tuple[int, ...]) -> None:
    ours, theirs = kurve.metrics.get(name), keras.metrics.get(name)
    assert ours is not None
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.name == theirs.name
    if ours.kind == "r2_score" and len(shape) > 2:
        return  # Keras accepts (B, O) only
    if "top_k" in ours.kind:
        shape = (*shape[:-1], 6)  # Keras needs k classes
    y, p = data(shape, ours.kind)
    for weights in weightings(shape[:-1]):
        if np.ndim(weights) == 0 and weights is not None:
            continue  # with a scalar weight Keras sums over all elements
        if ours.kind.startswith(("sparse", "top")) and np.ndim(weights) > 1:
            continue  # Keras flattens the rows of these
        ours.reset_state()
        theirs.reset_state()
        for metric in (ours, theirs):
            metric.update_state(y, p, sample_weight=weights)
        expected = float(theirs.result())
        assert ours.result() == pytest.approx(expected, rel=1e-5, abs=1e-6)


X = RNG.normal(5.0, 10.0, (64, 3)).astype(np.float32)


def test_batch_normalization_moves_its_averages() -> None:
    twins = [lib.layers.BatchNormalization(momentum=0.9) for lib in (kurve, keras)]
    for training in (False, True, True, None):
        ours, theirs = (layer(X, training=training) for layer in twins)
        np.testing.assert_allclose(ours, numbers(theirs), 1e-5, 1e-5)
        for mine, its in zip(*(layer.get_weights() for layer in twins), strict=True):
            np.testing.assert_allclose(mine, its, 1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.layers.RandomTranslation((0.5, 0.5), 0.0, "constant"),
        lambda lib: lib.layers.RandomTranslation(0.0, (-0.25, -0.25), "wrap"),
        lambda lib: lib.layers.RandomRotation((0.25, 0.25)),
    ],
)
@pytest.mark.parametrize("given", [{}, {"training": False}, {"training": None}])
def test_augmentation_without_training(
    make: Callable[[Any], Any], given: dict[str, Any]
) -> None:
    x = RNG.normal(size=(2, 4, 4, 1)).astype(np.float32)
    ours, theirs = make(kurve)(x, **given), numbers(make(keras)(x, **given))
    np.testing.assert_allclose(ours, theirs, 1e-5, 1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.layers.Dropout(0.5),
        lambda lib: lib.layers.GaussianNoise(0.5),
        lambda lib: lib.layers.Activation("tanh"),
        lambda lib: lib.layers.Rescaling(0.5, 1.0),
        lambda lib: lib.layers.Flatten(),
        lambda lib: lib.layers.Reshape((-1, 2)),
        lambda lib: lib.layers.LayerNormalization(axis=(-1,)),
    ],
)
def test_further_calls_with_other_shapes(make: Callable[[Any], Any]) -> None:
    ours, theirs = make(kurve), make(keras)
    for shape in [(2, 3, 4), (2, 5, 4), (3, 1, 4)]:
        x = RNG.normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(ours(x), numbers(theirs(x)), 1e-5, 1e-5)


def test_normalization_shows_the_broadcast_mean() -> None:
    x = RNG.normal(size=(5, 7)).astype(np.float32)
    ours, theirs = kurve.layers.Normalization(), keras.layers.Normalization()
    for layer in (ours, theirs):
        layer.adapt(x)
    for name in ("mean", "variance", "adapt_mean"):
        mine, its = np.asarray(getattr(ours, name)), numbers(getattr(theirs, name))
        assert mine.shape == its.shape
        np.testing.assert_allclose(mine, its, 1e-5)


def test_what_layers_and_losses_take_and_do_not_use() -> None:
    """Arguments with the values that Keras has by default."""
    for lib in (kurve, keras):
        lib.layers.Dense(
            2, kernel_constraint=None, activity_regularizer=None, dtype="float32"
        )
        lib.layers.Dropout(1.0, noise_shape=None, seed=None)
        lib.layers.BatchNormalization(synchronized=False, beta_constraint=None)
        lib.losses.MeanSquaredError("sum_over_batch_size", "mine", "float32")
        lib.losses.Huber(1.0, reduction="sum_over_batch_size")
        lib.losses.BinaryCrossentropy(False, 0.1, -1, "sum_over_batch_size")
        lib.losses.SparseCategoricalCrossentropy(ignore_class=None, axis=-1)
        lib.metrics.BinaryAccuracy("mine", None, 0.3)
        lib.metrics.R2Score("uniform_average", 0, "mine")
        lib.Input((2,), batch_size=None, dtype="float32")
        assert lib.initializers.get(None) is None
        assert lib.regularizers.get("l1l2").get_config() == {"l1": 0.0, "l2": 0.0}
        assert lib.layers.Dense(8).compute_output_shape((1, 4)) == (1, 8)
        np.testing.assert_array_equal(
            numbers(lib.layers.Dropout(1.0)(X, training=True)), 0.0
        )
