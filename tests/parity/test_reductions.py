"""Reductions of losses, other axes, ignored classes, and losses and functions as
metrics, against Keras: by hand, in training and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twins import keras

import kurve
from kurve.formulas import functions

RNG = np.random.default_rng(0)
N = 22  # in batches of 8: the last one is smaller
X = RNG.normal(size=(N, 3)).astype(np.float32)
W = RNG.uniform(0.2, 2.0, N).astype(np.float32)
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"]
NUMBERS = RNG.normal(size=(N, 2)).astype(np.float32)
WIDE = RNG.normal(size=(N, 3, 2)).astype(np.float32)
BITS = RNG.integers(0, 2, (N, 4)).astype(np.float32)
ONE_HOT = np.eye(4, dtype=np.float32)[RNG.integers(0, 4, N)]
CLASSES = RNG.integers(0, 4, N)
PLANES = RNG.integers(0, 3, (N, 2))

# name, arguments, targets, outputs, activation
CASES: list[tuple[str, dict[str, Any], Any, tuple[int, ...], str]] = [
    ("MeanSquaredError", {}, NUMBERS, (2,), "linear"),
    ("MeanSquaredError", {}, WIDE, (3, 2), "linear"),
    ("Huber", {"delta": 0.5}, NUMBERS, (2,), "linear"),
    ("LogCosh", {}, NUMBERS, (2,), "linear"),
    ("MeanAbsolutePercentageError", {}, NUMBERS, (2,), "linear"),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, BITS, (4,), "sigmoid"),
    ("CategoricalCrossentropy", {"from_logits": True}, ONE_HOT, (4,), "linear"),
    ("SparseCategoricalCrossentropy", {}, CLASSES, (4,), "softmax"),
    ("Dice", {}, BITS, (4,), "sigmoid"),
    ("Tversky", {"axis": -1}, BITS, (4,), "sigmoid"),
]
ALONG: list[tuple[str, dict[str, Any], Any, tuple[int, ...], str]] = [
    ("SparseCategoricalCrossentropy", {"ignore_class": 2}, CLASSES, (4,), "softmax"),
    (
        "SparseCategoricalCrossentropy",
        {"ignore_class": -1, "from_logits": True},
        CLASSES - 1,
        (4,),
        "linear",
    ),
    (
        "CategoricalCrossentropy",
        {"axis": 1, "from_logits": True},
        WIDE > 0,
        (3, 2),
        "linear",
    ),
    (
        "CategoricalCrossentropy",
        {"axis": 1, "label_smoothing": 0.1},
        WIDE > 0,
        (3, 2),
        "sigmoid",
    ),
    (
        "BinaryCrossentropy",
        {"axis": 1, "from_logits": True},
        WIDE > 0,
        (3, 2),
        "linear",
    ),
]


def twins(
    loss: Any,
    theirs: Any,
    outputs: tuple[int, ...],
    activation: str,
    engine: str = "native",
    **both: Any,
) -> tuple[Any, Any]:
    models = []
    for lib, used in ((kurve, loss), (keras, theirs)):
        layers = lib.layers
        model = lib.Sequential([lib.Input((3,))])
        model.add(layers.Dense(int(np.prod(outputs))))
        model.add(layers.Reshape(outputs))
        model.add(layers.Activation(activation))
        chosen = {k: v[lib is keras] for k, v in both.items()}
        if lib is kurve:
            chosen["engine"] = kurve.engines.get_engine(engine)
        model.compile(lib.optimizers.SGD(0.01), used, **chosen)
        models.append(model)
    models[0].set_weights([np.asarray(w) for w in models[1].get_weights()])
    return models[0], models[1]


def compare(mine: Any, other: Any, y: Any, weights: Any = None) -> None:
    """Two epochs of training, and an evaluation."""
    y = np.asarray(y, np.float32)
    given = {"batch_size": 8, "verbose": 0, "sample_weight": weights}
    a = mine.fit(X, y, epochs=2, shuffle=False, **given).history
    b = other.fit(X, y, epochs=2, shuffle=False, **given).history
    assert set(a) == set(b)
    for name, values in b.items():
        np.testing.assert_allclose(a[name], values, rtol=2e-5, atol=1e-6, err_msg=name)
    for p, q in zip(mine.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(p, q, rtol=2e-4, atol=2e-6)
    a = mine.evaluate(X, y, return_dict=True, **given)
    b = other.evaluate(X, y, return_dict=True, **given)
    for name, value in b.items():
        np.testing.assert_allclose(a[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("reduction", REDUCTIONS[1:])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}{c[3]}")
def test_training(case: Any, reduction: str, engine: str) -> None:
    name, arguments, y, outputs, activation = case
    # Keras takes no weights for one value of the whole batch.
    weighted = name != "Dice"
    used = [
        getattr(lib.losses, name)(reduction=reduction, **arguments)
        for lib in (kurve, keras)
    ]
    weights = W.reshape(-1, *(1,) * (len(outputs) - 1)) if weighted else None
    compare(*twins(*used, outputs, activation, engine), y, weights)


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("case", ALONG, ids=lambda c: f"{c[0]}{c[1]}")
def test_other_axes_and_ignored_classes(case: Any, reduction: str, engine: str) -> None:
    name, arguments, y, outputs, activation = case
    used = [
        getattr(lib.losses, name)(reduction=reduction, **arguments)
        for lib in (kurve, keras)
    ]
    weights = W if len(outputs) == 1 else None
    compare(*twins(*used, outputs, activation, engine), y, weights)


def test_classes_along_another_axis_than_the_last() -> None:
    """As the same with the classes moved to the last axis."""
    p = RNG.uniform(0.1, 1.0, (5, 3, 2)).astype(np.float32)
    y = PLANES[:5]
    last = kurve.losses.SparseCategoricalCrossentropy()
    along = kurve.losses.SparseCategoricalCrossentropy(axis=1)
    assert along(y, p) == pytest.approx(last(y, np.moveaxis(p, 1, -1)), rel=1e-6)
    assert along(y[:, None], p) == along(y, p)
    theirs = keras.losses.CategoricalCrossentropy(axis=1)
    one_hot = np.moveaxis(np.eye(3, dtype=np.float32)[y], -1, 1)
    assert along(y, p) == pytest.approx(float(theirs(one_hot, p)), rel=1e-6)
    model, _ = twins(along, "mse", (3, 2), "sigmoid")
    before = model.evaluate(X, PLANES, verbose=0)
    model.fit(X, PLANES, epochs=3, verbose=0)
    assert model.evaluate(X, PLANES, verbose=0) < before


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "none", None])
@pytest.mark.parametrize("weights", [None, 2.0, "row", "each"])
def test_by_hand(reduction: str | None, weights: Any) -> None:
    y, p = WIDE, np.roll(WIDE, 1, 0)
    given = {"row": W[:, None], "each": RNG.uniform(0, 2, (N, 3))}.get(weights, weights)
    given = None if given is None else np.asarray(given, np.float32)
    for name in ("MeanSquaredError", "CosineSimilarity", "LogCosh"):
        mine = getattr(kurve.losses, name)(reduction=reduction)
        theirs = getattr(keras.losses, name)(reduction=reduction)
        want = keras.ops.convert_to_numpy(theirs(y, p, sample_weight=given))
        np.testing.assert_allclose(mine(y, p, given), want, rtol=2e-5, atol=1e-6)
        assert mine.get_config().get("reduction", REDUCTIONS[0]) == reduction


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ignored_classes_by_hand(reduction: str) -> None:
    p = RNG.uniform(0.1, 1.0, (N, 4)).astype(np.float32)
    arguments = {"ignore_class": 1, "reduction": reduction}
    mine = kurve.losses.SparseCategoricalCrossentropy(**arguments)
    theirs = keras.losses.SparseCategoricalCrossentropy(**arguments)
    for weights in (None, W):
        want = keras.ops.convert_to_numpy(theirs(CLASSES, p, sample_weight=weights))
        np.testing.assert_allclose(mine(CLASSES, p, weights), want, rtol=1e-5)


def own(lib: Any) -> Any:
    ops = functions if lib is kurve else keras.ops

    class Own(lib.losses.Loss):  # type: ignore[misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return ops.mean(ops.square(y_true - y_pred), axis=-1) * 3.0

    return Own


def measures(lib: Any) -> list[Any]:
    ops = functions if lib is kurve else keras.ops

    def by_row(y: Any, p: Any) -> Any:
        return ops.mean(ops.abs(y - p) ** 1.5, axis=-1)

    def of_all(y: Any, p: Any) -> Any:
        return ops.mean(ops.abs(y - p) ** 1.5)

    found = lib.losses
    return [
        by_row,
        of_all,
        found.Dice(),
        found.Tversky(),
        found.Huber(),
        found.MeanSquaredError(reduction="sum", name="total"),
        found.BinaryFocalCrossentropy(),
        own(lib)(name="own"),
    ]


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_losses_and_functions_as_metrics(engine: str) -> None:
    both = {"metrics": (measures(kurve), measures(keras))}
    compare(*twins("mse", "mse", (4,), "sigmoid", engine, **both), BITS)
    weighted = (measures(kurve)[:1], measures(keras)[:1])
    both = {"weighted_metrics": weighted, "metrics": weighted}
    used = own(kurve)(reduction="sum"), own(keras)(reduction="sum")
    compare(*twins(*used, (4,), "sigmoid", engine, **both), BITS, W)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_several_outputs(engine: str) -> None:
    models = []
    for lib in (kurve, keras):
        x = lib.Input((3,))
        a = lib.layers.Dense(2, name="a")(x)
        b = lib.layers.Dense(4, activation="sigmoid", name="b")(x)
        model = lib.Model(x, {"a": a, "b": b})
        chosen = {"engine": kurve.engines.get_engine(engine)} if lib is kurve else {}
        model.compile(
            lib.optimizers.SGD(0.01),
            {
                "a": lib.losses.MeanSquaredError(reduction="sum"),
                "b": lib.losses.BinaryCrossentropy(reduction="mean_with_sample_weight"),
            },
            loss_weights={"a": 0.3, "b": 2.0},
            metrics={"a": measures(lib)[:2], "b": [lib.losses.Dice()]},
            **chosen,
        )
        models.append(model)
    mine, other = models
    mine.set_weights([np.asarray(w) for w in other.get_weights()])
    y, logs = {"a": NUMBERS, "b": BITS}, []
    for model in models:
        fit = model.fit(
            X,
            y,
            sample_weight={"a": W, "b": W},
            batch_size=8,
            epochs=2,
            shuffle=False,
            verbose=0,
        )
        logs.append(fit.history)
    assert set(logs[0]) == set(logs[1])
    for name, values in logs[1].items():
        np.testing.assert_allclose(logs[0][name], values, rtol=3e-5, err_msg=name)


@pytest.mark.parametrize("ending", [".kurve", ".keras", ".h5"])
def test_files(ending: str, tmp_path: Path) -> None:
    loss = kurve.losses.SparseCategoricalCrossentropy(ignore_class=1, reduction="sum")
    model, _ = twins(loss, "mse", (4,), "softmax")
    model.evaluate(X, CLASSES, verbose=0)
    path = str(tmp_path / f"m{ending}")
    model.save(path)
    loaded = kurve.models.load_model(path)
    assert loaded.loss.get_config() == loss.get_config()
    expected = model.evaluate(X, CLASSES, verbose=0)
    assert loaded.evaluate(X, CLASSES, verbose=0) == expected
    if ending == ".keras":
        theirs = keras.models.load_model(path)
        assert theirs.loss.reduction == "sum" and theirs.loss.ignore_class == 1
        y = CLASSES.astype(np.float32)
        got = theirs.evaluate(X, y, verbose=0)
        assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "ord", [None, 1, -1, 2, -2, 3, 0, np.inf, -np.inf, "fro", "nuc"]
)
@pytest.mark.parametrize("axis", [None, -1, 1, (-2, -1)])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_norms_are_those_of_numpy(ord: Any, axis: Any, shape: tuple[int, ...]) -> None:
    """Of vectors and of matrices, for arrays and, row by row, in a model."""
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("f")
    try:
        expected = np.stack([np.linalg.norm(row, ord, axis) for row in x])
    except ValueError as error:
        with pytest.raises(type(error)):
            kurve.ops.norm(x[0], ord, axis)
        return
    found = np.stack([kurve.ops.norm(row, ord, axis) for row in x])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    given = kurve.Input(shape)
    own: Any = tuple(range(1, len(shape) + 1)) if axis is None else axis
    own = own + 1 if isinstance(own, int) and own > 0 else own
    own = own[0] if isinstance(own, tuple) and len(own) == 1 else own
    if isinstance(own, tuple) and ord in (2, -2, "nuc"):
        with pytest.raises(NotImplementedError, match="singular values"):
            kurve.ops.norm(given, ord, own)
        return
    model = kurve.Model(given, kurve.ops.norm(given, ord, own))
    y = model.predict(x, verbose=0)
    np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=1e-4)
