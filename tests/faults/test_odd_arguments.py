"""Every public constructor with odd values: each works, or is refused in one sentence.

What works is used too, so that a value which is taken is not found out in training.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve import (
    Input,
    Sequential,
    activations,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from kurve.optimizers import schedules

ODD: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    1e-320,
    0.5,
    -1,
    0,
    1,
    2**62,
    2**63,
    10**400,
    np.int64(-1),
    np.int64(2),
    np.float32(0.5),
    np.float32(math.nan),
    np.array(1.0),
    np.array([]),
    True,
    False,
    "x",
    "",
    "nan",
    "\ud800",
    b"x",
    1j,
    None,
    object(),
    [],
    (),
    {},
    {"axis": -1},
    [1, 2],
    [None],
    (2**63,),
    lambda x: x,
]
NEEDED: dict[str, Any] = {
    "layers": [layers.RandomFlip(), layers.Rescaling(0.5)],
    **dict.fromkeys(("units", "filters", "kernel_size", "output_size"), 2),
    **dict.fromkeys(("factor", "height_factor", "width_factor", "stddev"), 0.1),
    **dict.fromkeys(("decay_steps", "first_decay_steps", "total_steps"), 10),
    **dict.fromkeys(("initial_learning_rate", "max_learning_rate"), 0.1),
    **{"rate": 0.5, "scale": 0.5, "decay_rate": 0.9, "activation": "relu"},
    **{"target_shape": (-1,), "boundaries": [1], "values": [0.1, 0.2]},
    **{"shape": (2,), "name": "leaky_relu"},
    **{"num_classes": 5, "target_class_ids": [0, 3]},
    **dict.fromkeys(("recall", "precision", "specificity", "sensitivity"), 0.5),
    **{"num_tokens": 3, "num_bins": 3, "height": 3, "width": 3, "n": 2, "dims": (1,)},
}
OTHER_INPUTS = {
    "Attention",
    "AdditiveAttention",
    "Bidirectional",
    "GRUCell",
    "LSTMCell",
    "RNN",
    "SimpleRNNCell",
    "StackedRNNCells",
    "Dot",
    "EinsumDense",
    "Embedding",
    "ReversibleEmbedding",
    "GroupQueryAttention",
    "Lambda",
    "MultiHeadAttention",
    "SpectralNormalization",
    "TimeDistributed",
}
"""Layers that take several inputs, numbers of rows, or a layer."""
BASE = ("name", "trainable", "dtype", "seed", "input_shape", "activity_regularizer")
X = np.random.default_rng(0).normal(size=(4, 6, 6, 4)).astype(np.float32)


def use_layer(layer: Any) -> None:
    """In a model, for samples of as many axes as it takes."""
    if isinstance(layer, layers.InputLayer):
        return
    if isinstance(layer, (layers.MelSpectrogram, layers.STFTSpectrogram)):
        layer.get_config()  # these take long signals
        return
    if hasattr(layer, "transformed"):  # on data before a model
        layer(X)
        layer.get_config()
        return
    for x in (X[:, 0, 0], X[:, 0], X[..., :3] if hasattr(layer, "changed") else X):
        try:
            model = Sequential([Input(x.shape[1:]), layer])
        except ValueError as error:
            other = ("expected samples of shape", "takes samples of")
            if any(text in str(error) for text in other) and x.ndim < 4:
                continue
            raise
        model.compile("sgd", "mse")
        model.fit(x, model.predict(x, verbose=0), verbose=0)
        layer.get_config()
        return


def use_loss(loss: Any) -> None:
    p = (
        X[:, 0, 0, : 2 * loss.outputs_per_target]
        if loss.outputs_per_target > 1
        else X[:, 0, 0]
    )
    loss(
        np.zeros(4)
        if loss.sparse
        else np.zeros((4, p.shape[1] // loss.outputs_per_target)),
        p,
    )
    loss.get_config()


def use_metric(metric: Any) -> None:
    if isinstance(metric, metrics.RowMetric):
        use_loss(metric)
    else:
        metric(X)
    metric.result()
    metric.get_config()


def use_optimizer(optimizer: Any) -> None:
    model = Sequential([Input((4,)), layers.Dense(1)])
    model.compile(optimizer, "mse")
    model.fit(X[:, 0, 0], np.ones(4), verbose=0)
    optimizer.get_config()


def use_schedule(schedule: Any) -> None:
    rates = schedule(np.arange(20))
    assert np.isfinite(rates).all()
    assert (rates >= 0).all()


USES: list[tuple[dict[str, Any], Callable[[Any], Any]]] = [
    ({**layers.CLASSES, "Input": Input, "InputLayer": layers.InputLayer}, use_layer),
    (dict(losses.CLASSES), use_loss),
    # A custom function may raise anything.
    (
        {n: c for n, c in metrics.CLASSES.items() if n != "MeanMetricWrapper"},
        use_metric,
    ),
    (dict(initializers.CLASSES), lambda made: made((2, 3))),
    (dict(regularizers.CLASSES), lambda made: made([1.0, 2.0])),
    (dict(optimizers.CLASSES), use_optimizer),
    (dict(schedules.CLASSES), use_schedule),
    ({"Activation": activations.Activation}, lambda made: made(np.array([1.0, -2.0]))),
]
CASES = [
    (cls, use)
    for table, use in USES
    for cls in table.values()
    if cls.__name__ not in OTHER_INPUTS
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("cls", "use"), CASES, ids=[f"{cls.__module__}.{cls.__name__}" for cls, _ in CASES]
)
def test_odd_values_work_or_are_refused(cls: Any, use: Callable[[Any], Any]) -> None:
    parameters = [
        p
        for p in inspect.signature(cls).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    needed = {p.name: NEEDED[p.name] for p in parameters if p.default is p.empty}
    names = {p.name for p in parameters}
    if isinstance(cls, type) and issubclass(cls, layers.Layer):
        names |= set(BASE) - ({"input_shape"} if "shape" in names else set())
    refused = 0
    for name in sorted(names):
        for value in ODD:
            try:
                use(cls(**{**needed, name: value}))
            except (TypeError, ValueError, NotImplementedError) as error:
                text = str(error)
                shown = f"{name}={str(value)[:40]!r}: {text}"
                assert re.match(r"\[[\w ]+\] ", text), shown
                assert "Received: " in text, shown
                refused += 1
    assert refused > 0 or not names


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda **a: layers.BatchNormalization(**a), "synchronized"),
        (lambda **a: Input((2,), **a), "ragged"),
    ],
)
def test_what_is_not_there_is_named(make: Callable[..., Any], argument: str) -> None:
    """Arguments of Keras's for what Kurve lacks are never ignored."""
    with pytest.raises(
        ValueError,
        match=rf"^\[\w+\] {argument} can only be .* Received: {argument}='x'",
    ):
        make(**{argument: "x"})


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        (lambda: layers.Dense(1, activaton="relu"), "activation"),
        (lambda: Input((2,), nam="x"), "name"),
        (lambda: losses.Huber(detla=1.0), "delta"),
        (lambda: metrics.BinaryAccuracy(treshold=0.5), "threshold"),
        (lambda: optimizers.Adam(learning_rte=0.1), "learning_rate"),
    ],
)
def test_the_nearest_argument(make: Callable[[], Any], meant: str) -> None:
    with pytest.raises(TypeError, match=rf"unknown argument.*Did you mean '{meant}'"):
        make()


class Halves(initializers.Initializer):
    """With the signature of Keras's."""

    def __call__(self, shape: Any, dtype: Any = None) -> np.ndarray:  # type: ignore[override]
        return np.full(shape, 0.5)


class Wrong(initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> np.ndarray:  # type: ignore[override]
        return np.ones(3)


def test_an_initializer_as_keras_calls_it() -> None:
    model = Sequential([Input((4,)), layers.Dense(2, kernel_initializer=Halves())])
    np.testing.assert_array_equal(model.get_weights()[0], np.full((4, 2), 0.5))
    with pytest.raises(ValueError, match=r"^\[Wrong\] the initial values must have sh"):
        Sequential([Input((4,)), layers.Dense(2, kernel_initializer=Wrong())])
    made = initializers.RandomNormal(seed=1)
    np.testing.assert_array_equal(made((2, 2), dtype="float32"), made((2, 2)))
    with pytest.raises(TypeError, match=r"^\[RandomNormal\] seed must be an integer"):
        initializers.RandomNormal(seed=np.random.default_rng(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^\[RandomNormal\] initial values must be f"):
        initializers.RandomNormal(stddev=1e300)((3,))


def test_sizes_beyond_any_memory() -> None:
    with pytest.raises(ValueError, match=r"^\[Dense\] units must be an integer from 1"):
        layers.Dense(2**63)
    with pytest.raises(ValueError, match=r"^\[UpSampling1D\] size must be an integer"):
        layers.UpSampling1D(2**62)
    with pytest.raises(TypeError, match=r"^\[UpSampling1D\] size must be an integer"):
        layers.UpSampling1D(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^\[ZeroPadding2D\] the output must have at"):
        Sequential([Input((3, 3, 1)), layers.ZeroPadding2D(2**30)])
    with pytest.raises(ValueError, match=r"^\[Dense\] the kernel must have at most"):
        Sequential([Input((10**9,)), layers.Dense(10**9)])
    layer = layers.LayerNormalization(axis=np.int64(-1))  # type: ignore[arg-type]
    assert layer(X).shape == X.shape
