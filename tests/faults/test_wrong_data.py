"""Wrong calls of fit, evaluate and predict: refused before anything is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, callbacks, optimizers
from kurve.layers import Dense
from tests.faults.wrong import INF, NAN, Wrong, X, Y, check, snapshot, with_value, wrong

ONE_HOT = np.eye(3)[[0, 1, 2, 0, 1, 2]]
CLASSES = np.array([0, 1, 2, 0, 1, 2])
DATES = np.array(["2020-01-01"] * 6, dtype="datetime64[D]")
OBJECTS = np.array([[1.0, None], [2.0, 3.0]] * 3, dtype=object)


def fit(x: Any = X, y: Any = Y, **options: Any) -> Any:
    return lambda model: model.fit(x, y, **{"verbose": 0, **options})


# On a model of two features and one output, whether it is built or not.
CASES: dict[str, Wrong] = {
    # --- x
    "x is missing": wrong(fit(None), TypeError, "fit", "x", "None"),
    "x is empty": wrong(fit([], []), ValueError, "fit", "x must not be empty"),
    "x has no columns": wrong(
        fit(np.zeros((6, 0))), ValueError, "fit", "x must not be empty", "(6, 0)"
    ),
    "x is one number": wrong(fit(3.0), ValueError, "fit", "one row per sample"),
    "NaN in x": wrong(
        fit(with_value(X, (3, 1), NAN)),
        ValueError,
        "fit",
        "x must be finite",
        "x[3, 1] = nan",
        "1 such value",
    ),
    "infinity in x": wrong(
        fit(with_value(X, (0, 1), -INF)), ValueError, "fit", "x[0, 1] = -inf"
    ),
    "x too large for float32": wrong(
        fit(with_value(X, (2, 0), 1e39)),
        ValueError,
        "fit",
        "fit into float32",
        "x[2, 0]",
        "1e+39",
        "scaling",
    ),
    "text in x": wrong(
        fit([["1.5", "2"], ["a", "4"]], [1, 2]),
        TypeError,
        "fit",
        "x must hold real numbers",
        "x[1, 0] = 'a'",
        "str",
    ),
    "numbers as text in x": wrong(
        fit([["1.5", "2"], ["3", "4"]], [1, 2]), TypeError, "fit", "x[0, 0] = '1.5'"
    ),
    "None in x": wrong(fit(OBJECTS), ValueError, "fit", "x[0, 1] = None", "dropping"),
    "rows of different length": wrong(
        fit([[1, 2], [3]], [1, 2]), ValueError, "fit", "x must be rectangular"
    ),
    "complex x": wrong(fit(X + 1j), ValueError, "fit", "x[0, 0] = ", "complex"),
    "masked values in x": wrong(
        fit(np.ma.masked_equal(X, X[2, 1])),
        ValueError,
        "fit",
        "x must not have missing values",
        "x[2, 1] = masked",
    ),
    "masked values in y": wrong(
        fit(X, np.ma.masked_equal(Y, Y[3])), ValueError, "fit", "y[3] = masked"
    ),
    "masked weights": wrong(
        fit(sample_weight=np.ma.masked_equal(np.arange(6.0), 4)),
        ValueError,
        "fit",
        "sample_weight[4] = masked",
    ),
    "integers beyond float64 in x": wrong(
        fit([[10**400, 1]] * 6), ValueError, "fit", "x[0, 0] = an integer of 1329 bits"
    ),
    "a structured array as x": wrong(
        fit(np.zeros(6, [("a", float)])), TypeError, "fit", "the fields 'a'"
    ),
    "durations in x": wrong(
        fit(DATES - DATES[0]), TypeError, "fit", "timedelta64[D]", "the seconds"
    ),
    "dates in x": wrong(fit(DATES), TypeError, "fit", "x[0] = ", "datetime64"),
    "a dictionary as x": wrong(fit({"a": 1}), TypeError, "fit", "dict"),
    # --- y
    "y is missing": wrong(fit(X, None), TypeError, "fit", "y", "None"),
    "y is empty": wrong(fit(X, []), ValueError, "fit", "y must not be empty"),
    "y is shorter": wrong(
        fit(X, Y[:5]), ValueError, "fit", "same number of rows", "len(x)=6, len(y)=5"
    ),
    "y would broadcast": wrong(
        fit(X, np.ones((6, 3))),
        ValueError,
        "fit",
        "shape (n, 1)",
        "y.shape=(6, 3)",
        "never broadcast",
    ),
    "y is one number": wrong(
        fit(X, 1.0), ValueError, "fit", "y must have shape (n, 1)"
    ),
    "NaN in y": wrong(fit(X, with_value(Y, 4, NAN)), ValueError, "fit", "y[4", "nan"),
    "y too large for float32": wrong(
        fit(X, with_value(Y, 1, 1e300)), ValueError, "fit", "float32", "y[1", "1e+300"
    ),
    "text in y": wrong(
        fit(X, list("aabbcc")), TypeError, "fit", "y[0] = 'a'", "numbers for categories"
    ),
    # --- how to divide and how often
    **{
        f"batch_size={value!r}": wrong(
            fit(batch_size=value), kind, "fit", f"batch_size={value!r}"
        )
        for value, kind in [
            (0, ValueError),
            (-1, ValueError),
            (2.5, TypeError),
            (True, TypeError),
            ("8", TypeError),
        ]
    },
    "epochs=-1": wrong(fit(epochs=-1), ValueError, "fit", "epochs=-1"),
    "epochs=1.5": wrong(fit(epochs=1.5), TypeError, "fit", "epochs=1.5"),
    "initial_epoch=-1": wrong(
        fit(initial_epoch=-1), ValueError, "fit", "initial_epoch=-1"
    ),
    "steps_per_epoch > rows": wrong(
        fit(steps_per_epoch=7), ValueError, "fit", "7 for 6 rows", "steps_per_epoch=6"
    ),
    "steps_per_epoch=0": wrong(fit(steps_per_epoch=0), ValueError, "fit", "epoch=0"),
    "verbose": wrong(fit(verbose="loud"), ValueError, "fit", "verbose", "'loud'"),
    # --- validation
    **{
        f"validation_split={value!r}": wrong(
            fit(validation_split=value), ValueError, "fit", "rows on both sides"
        )
        for value in (1.0, -0.1, 0.99, NAN, "a")
    },
    "validation_split of one row": wrong(
        fit(X[:1], Y[:1], validation_split=0.5), ValueError, "fit", "0.5 for 1 rows"
    ),
    "validation_data is an array": wrong(
        fit(validation_data=X), TypeError, "fit", "(x, y) or (x, y, sample_weight)"
    ),
    "validation_data of other features": wrong(
        fit(validation_data=(X[:, :1], Y)),
        ValueError,
        "fit, validation_data",
        "x must have shape (n, 2)",
        "(6, 1)",
    ),
    "validation_data of other length": wrong(
        fit(validation_data=(X, Y[:2])), ValueError, "fit, validation_data", "len(y)=2"
    ),
    "NaN in validation_data": wrong(
        fit(validation_data=(with_value(X, (1, 1), NAN), Y)),
        ValueError,
        "fit, validation_data",
        "x[1, 1] = nan",
    ),
    "validation_freq=0": wrong(
        fit(validation_freq=0), ValueError, "fit", "validation_freq=0"
    ),
    "validation_freq=0.5": wrong(
        fit(validation_freq=0.5), TypeError, "fit", "validation_freq=0.5"
    ),
    "validation_batch_size=0": wrong(
        fit(validation_split=0.5, validation_batch_size=0),
        ValueError,
        "fit",
        "validation_batch_size=0",
    ),
    # --- weights
    "sample_weight of another length": wrong(
        fit(sample_weight=[1.0, 2.0]), ValueError, "fit", "shape (6,)", "shape (2,)"
    ),
    "NaN in sample_weight": wrong(
        fit(sample_weight=with_value(np.ones(6), 5, NAN)),
        ValueError,
        "fit",
        "sample_weight[5] = nan",
    ),
    "sample_weight too large": wrong(
        fit(sample_weight=with_value(np.ones(6), 0, 1e39)), ValueError, "fit", "float32"
    ),
    "class_weight is a list": wrong(
        fit(class_weight=[1.0, 2.0]), TypeError, "fit", "class_weight", "dictionary"
    ),
    "class_weight of text": wrong(
        fit(class_weight={"a": 1.0}), ValueError, "fit", "class numbers", "'a'"
    ),
    "negative class_weight": wrong(
        fit(class_weight={0: -1.0}), ValueError, "fit", "at least 0", "-1.0"
    ),
    "class_weight is no number": wrong(
        fit(class_weight={0: "heavy"}), ValueError, "fit", "'heavy'"
    ),
    "both weights": wrong(
        fit(sample_weight=np.ones(6), class_weight={0: 1.0}),
        ValueError,
        "fit",
        "only one of sample_weight and class_weight",
    ),
    # --- callbacks
    "a callback by name": wrong(
        fit(callbacks="EarlyStopping"), TypeError, "fit", "callbacks.Callback"
    ),
    "a callback's class": wrong(
        fit(callbacks=[callbacks.EarlyStopping]), TypeError, "fit", "EarlyStopping"
    ),
    "a number as callback": wrong(fit(callbacks=3), TypeError, "fit", "3 of type int"),
    # --- the other methods
    "train_on_batch": wrong(
        lambda m: m.train_on_batch(X, Y[:3]), ValueError, "train_on_batch", "len(y)=3"
    ),
    "train_on_batch NaN": wrong(
        lambda m: m.train_on_batch(with_value(X, (0, 0), NAN), Y),
        ValueError,
        "train_on_batch",
        "x[0, 0] = nan",
    ),
}


@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
@pytest.mark.parametrize("name", CASES)
def test_training(name: str, built: bool) -> None:
    """Weights, optimizer and step stay; a model that was not built is not now."""
    model = Sequential([Dense(3, "relu"), Dense(1)])
    model.compile("adam", "mse")
    if built:
        model.fit(X, Y, verbose=0)
    before = snapshot(model)
    check(CASES[name], model)
    assert snapshot(model) == before
    model.fit(np.ones((4, 2)), np.ones(4), verbose=0)


BUILT: dict[str, Wrong] = {
    "too many features": wrong(
        fit(np.ones((6, 5))), ValueError, "fit", "shape (n, 2)", "x.shape=(6, 5)", "5"
    ),
    "one sample without its axis": wrong(
        lambda m: m.predict([1.0, 2.0], verbose=0),
        ValueError,
        "predict",
        "x.shape=(2,)",
        "Try x.reshape(1, -1)",
    ),
    "features in two axes": wrong(
        lambda m: m.predict(np.ones((6, 2, 2)), verbose=0),
        ValueError,
        "predict",
        "x.shape=(6, 2, 2)",
    ),
    "predict NaN": wrong(
        lambda m: m.predict([[1.0, NAN]], verbose=0), ValueError, "predict", "x[0, 1]"
    ),
    "predict nothing": wrong(
        lambda m: m.predict(np.zeros((0, 2)), verbose=0), ValueError, "predict", "empty"
    ),
    "predict in batches of 0": wrong(
        lambda m: m.predict(X, batch_size=0), ValueError, "predict", "batch_size=0"
    ),
    "evaluate other rows": wrong(
        lambda m: m.evaluate(X, Y[:1], verbose=0), ValueError, "evaluate", "len(y)=1"
    ),
    "evaluate 0 steps": wrong(
        lambda m: m.evaluate(X, Y, steps=0, verbose=0), ValueError, "evaluate", "steps"
    ),
    "test_on_batch of uneven rows": wrong(
        lambda m: m.test_on_batch([[1, 2], [3]], [1, 2]),
        ValueError,
        "evaluate",
        "rectangular",
    ),
    "set_weights of NaN": wrong(
        lambda m: m.set_weights([w * NAN for w in m.get_weights()]),
        ValueError,
        "set_weights",
        "finite",
    ),
}


@pytest.mark.parametrize("name", BUILT)
def test_built_models(name: str) -> None:
    model = Sequential([Input((2,)), Dense(3, "relu"), Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    before = snapshot(model)
    check(BUILT[name], model)
    assert snapshot(model) == before


LABELS: dict[str, tuple[str, Wrong]] = {
    "label beyond the outputs": (
        "sparse_categorical_crossentropy",
        wrong(
            fit(X, with_value(CLASSES, 2, 3)),
            ValueError,
            "fit",
            "class numbers 0 to 2",
            "y[2] = 3",
            "3 outputs",
        ),
    ),
    "negative label": (
        "sparse_categorical_crossentropy",
        wrong(fit(X, with_value(CLASSES, 0, -1)), ValueError, "fit", "y[0] = -1"),
    ),
    "label between numbers": (
        "sparse_categorical_crossentropy",
        wrong(fit(X, CLASSES + 0.5), ValueError, "fit", "y[0] = 0.5"),
    ),
    "one-hot for class numbers": (
        "sparse_categorical_crossentropy",
        wrong(fit(X, ONE_HOT), ValueError, "fit", "y.shape=(6, 3)", "(n)"),
    ),
    "class numbers for one-hot": (
        "categorical_crossentropy",
        wrong(fit(X, CLASSES), ValueError, "fit", "sparse_categorical_crossentropy"),
    ),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels(name: str) -> None:
    loss, case = LABELS[name]
    model = Sequential([Dense(3, "softmax")])
    model.compile("adam", loss)
    check(case, model)
    assert not model.built


def test_a_metric_that_cannot_read_the_targets() -> None:
    model = Sequential([Dense(3)])
    model.compile("adam", "mse", metrics=["sparse_categorical_accuracy"])
    with pytest.raises(
        ValueError, match=r"needs class numbers as targets.*Try metrics"
    ):
        model.fit(X, ONE_HOT, verbose=0)
    assert not model.built


ACCEPTED = {
    "lists": ([[1, 2], [3, 4]], [1, 2]),
    "tuples": (((1, 2), (3, 4)), (1, 2)),
    "unsigned": (np.array([[1, 2], [3, 4]], np.uint8), np.array([1, 2], np.uint64)),
    "booleans": (np.array([[True, False], [True, True]]), [True, False]),
    "half precision": (np.ones((2, 2), np.float16), np.ones(2, np.float16)),
    "double precision": (np.ones((2, 2)), np.ones((2, 1))),
    "big-endian": (np.ones((2, 2), ">f8"), np.ones(2, ">i4")),
    "Fortran order": (np.asfortranarray(np.ones((2, 2))), np.ones(2)),
    "every other row": (np.ones((4, 2))[::2], np.ones(4)[::2]),
    "backwards": (np.arange(4.0).reshape(2, 2)[::-1], np.arange(2)[::-1]),
    "objects that are numbers": (np.array([[1, 2.5], [3, 4]], object), [1, 2]),
    "read-only": (np.broadcast_to(np.float32(1), (2, 2)), np.ones(2)),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted(engine: str, name: str) -> None:
    """All that NumPy reads as real numbers, without changing it."""
    x, y = ACCEPTED[name]
    plain = np.array(np.array(x).tolist(), np.float32)
    model = Sequential([Input((2,)), Dense(1, kernel_initializer="ones")])
    model.compile(optimizers.SGD(1e-3), "mse")
    np.testing.assert_allclose(
        model.predict(x, verbose=0), plain.sum(axis=1, keepdims=True)
    )
    before = np.array(x).tolist()
    model.fit(x, y, verbose=0)
    assert np.array(x).tolist() == before
