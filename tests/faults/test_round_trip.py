"""What `save` writes, `load` reads: random models and estimators of every kind of
label, name, number and shape. What a file cannot hold is refused before training."""

from __future__ import annotations

import random
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import (
    Classifier,
    Regressor,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
)
from kurve.errors import NonFiniteError
from kurve.estimators import load
from kurve.optimizers import schedules
from tests.faults.conftest import Promise

TEXTS = [
    "",
    " ",
    "a",
    "b",
    "ä",
    "问题",
    "a\0b",
    "a\0",
    "\ud800",
    "x" * 600,
    "a/b",
    "\n",
    '"',
    "\\",
    "__metadata__",
    "nan",
    "1",
    "none",
    "output",
    "é",
    "e\u0301",
]
NUMBERS: list[Any] = [
    0,
    1,
    -1,
    2**31,
    2**53 + 1,
    2**63,
    2**64 - 1,
    2**64,
    2**70,
    10**23,
    0.5,
    -0.0,
    1e-300,
    1e300,
    1e39,
    5e-324,
    float("inf"),
    float("nan"),
    True,
    False,
    np.float32(0.5),
    np.int8(3),
    np.uint64(2**63),
    np.True_,
]
LABELS: list[list[Any]] = [
    [0, 1],
    [0, 1, 2],
    [True, False],
    [np.True_, False],
    [-(2**63), 2**63 - 1],
    [2**64 - 1, 0],
    [2**64, 1],
    [2**63, -1],
    [0.0, 1.0],
    [1e300, -1e300, 0.0],
    [np.float32(1), 2.0],
    [1, 2.0],
    [1, True],
    ["a", 1],
    [b"a", b"b"],
    [Decimal(1), Decimal(2)],
    [np.int8(1), 2**40],
    [2**53, float(2**53) + 2],
]


class Chance(random.Random):
    """Random things."""

    def text(self) -> str:
        return self.choice(TEXTS) + self.choice(["", "", *TEXTS])

    def texts(self, count: int) -> list[str]:
        return list(
            {
                f"{self.text()}{i if self.random() < 0.8 else ''}": 0
                for i in range(count)
            }
        )

    def column(self, rows: int) -> list[Any]:
        """Values of one column."""
        kind = self.randrange(6)
        if kind == 0:
            scale = 10.0 ** self.randint(-305, 305)
            values: list[Any] = [self.gauss(0, 1) * scale for _ in range(rows)]
        elif kind == 1:
            big = self.choice([1, 10, 2**40, 2**61])
            values = [self.randint(-big, big) for _ in range(rows)]
        elif kind == 2:
            values = [self.random() < 0.5 for _ in range(rows)]
        elif kind == 3:
            values = [self.choice([1.5, 1.5, 2]) for _ in range(rows)]
        else:
            levels = self.texts(self.randint(1, 4))
            values = [self.choice(levels) for _ in range(rows)]
        if self.random() < 0.2:
            values[self.randrange(rows)] = None
        return values

    def table(self, rows: int) -> Any:
        """A table in one of the forms that users have."""
        columns = [self.column(rows) for _ in range(self.randint(1, 3))]
        form = self.randrange(4)
        names = self.texts(len(columns))
        columns = columns[: len(names)]
        if form in (1, 2):  # these frames cannot hold every text
            names = [name.replace("\ud800", "") for name in names]
            columns = [
                [v.replace("\ud800", "") if isinstance(v, str) else v for v in column]
                for column in columns
            ]
        if form == 0:
            array = np.empty((rows, len(columns)), object)
            for j, column in enumerate(columns):
                array[:, j] = column
            return array
        if form == 1:
            import pandas

            made = {n: pandas.Series(c) for n, c in zip(names, columns, strict=True)}
            if self.random() < 0.3:
                numbers = self.sample([n for n in NUMBERS if abs(float(n)) < 1e18], 3)
                made["category"] = pandas.Categorical(
                    [numbers[i % 3] for i in range(rows)]
                )
            return pandas.DataFrame(made)
        if form == 2:
            import polars

            made = dict(zip(names, columns, strict=True))
            return polars.DataFrame(made, strict=False)
        return np.array([[self.gauss(0, 1) for _ in columns] for _ in range(rows)])

    def labels(self, rows: int) -> Any:
        """Labels of classes."""
        some = list(self.choice([*LABELS, self.texts(2), self.texts(3)]))
        values = [some[i % len(some)] for i in range(rows)]
        form = self.randrange(4)
        if form == 0:
            array = np.empty(rows, object)
            array[:] = values
            return array
        if form > 1:
            import pandas

            try:
                name = self.text()
                given = pandas.Series(values, name=name)
                return given if form == 2 else pandas.Categorical(values)
            except (OverflowError, UnicodeError):
                return values  # which pandas cannot hold
        return values

    def parameters(self) -> dict[str, Any]:
        """Arguments of an estimator, some of them odd."""
        usual: dict[str, list[Any]] = {
            "members": [1, 2, np.int64(2)],
            "hidden_layer_sizes": [(3,), [2, 2], (), (np.int32(2),), "auto"],
            "activation": ["auto", "relu", "snake", kurve.activations.elu],
            "solver": [
                "auto",
                "adam",
                "sgd",
                "lbfgs",
                optimizers.Nadam(np.float32(0.1)),
            ],
            "batch_size": ["auto", 1, 7, np.int64(7)],
            "learning_rate": ["auto", 0.01, schedules.CosineDecay(0.1, 10)],
            "early_stopping": [True, False, np.True_],
            "validation_fraction": [0.1, 0.5, 0.999, np.float32(0.25)],
            "patience": ["auto", 0, 3],
            "alpha": [0.0, 0.1, np.float64(0.5), 0],
            "dropout": [0.0, 0.5, 0],
            "scale": [True, False],
            "random_state": [0, None, 2**32, np.random.RandomState(0)],
            "engine": [None, "reference", "native"],
        }
        found: dict[str, Any] = {"max_epochs": 2, "missing": "impute"}
        for name in self.sample(sorted(usual), self.randint(0, 5)):
            found[name] = self.choice(usual[name])
            if self.random() < 0.2:
                found[name] = self.choice([*NUMBERS, self.text(), None, []])
        return found


def refused(error: Exception) -> None:
    """A refusal is one clear error: where, rule, what was received."""
    assert isinstance(error, (TypeError, ValueError, NonFiniteError)), repr(error)
    text = str(error)
    names = ("feature names should match", "X does not have valid", "X has feature")
    assert text.startswith("[") or any(name in text for name in names), repr(error)


def one_estimator(chance: Chance, path: Path) -> str:
    rows = chance.randint(1, 60)
    kind: Any = chance.choice([Regressor, Classifier])
    parameters = chance.parameters()
    if kind is Regressor:
        parameters["likelihood"] = chance.choice(["auto", "none", "gaussian"])
        parameters["interval"] = chance.choice(
            ["auto", "gaussian", "quantile", "conformal", "cv+"]
        )
        scale = 10.0 ** chance.randint(-300, 300)
        outputs = chance.choice([0, 0, 1, 2])
        y = np.array([chance.gauss(1, 1) for _ in range(rows * (outputs or 1))]) * scale
        y = y.reshape((rows, outputs) if outputs else rows)
        if chance.random() < 0.1:
            y[:] = y.flat[0]
    else:
        y = chance.labels(rows)
        parameters["class_weight"] = chance.choice([None, None, "balanced"])
    table = chance.table(rows)
    try:
        model = kind(**parameters)
        if chance.random() < 0.1:
            model.partial_fit(table, y)
        model.fit(table, y)
    except Exception as error:
        refused(error)
        return "refused"
    model.save(path)
    again = load(path)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(model.predict(table), again.predict(table))
        if kind is Classifier:
            np.testing.assert_array_equal(
                model.predict_proba(table), again.predict_proba(table)
            )
            assert again.classes_.tolist() == model.classes_.tolist()
    same = ("members", "alpha", "dropout", "batch_size", "validation_fraction", "scale")
    for name in same:
        one, other = getattr(model, name), getattr(again, name)
        assert other == one or other == float(one), name
    again.save(path.with_name("again.kurve"))
    assert path.with_name("again.kurve").read_bytes() == path.read_bytes()
    return "estimators"


def one_layer(chance: Chance, images: bool) -> Any:
    odd = chance.random() < 0.1
    number = chance.choice(NUMBERS if odd else [0.5, 0.1, np.float32(0.25)])
    count = chance.choice([1, 2, 3, np.int64(2), *NUMBERS[: 3 * odd]])
    name = chance.choice([None, None, None, chance.text()])
    activation = chance.choice(["relu", "tanh", "snake", "softmax", None])
    penalty = chance.choice(
        [None, "l2", regularizers.L1L2(0.1, np.float32(0.2)), regularizers.L1(0.1)]
    )
    start = chance.choice(
        [
            "zeros",
            "glorot_uniform",
            initializers.Constant(0.5),
            initializers.RandomNormal(0.0, 0.1, seed=chance.choice([None, 3, 2**63])),
            initializers.TruncatedNormal(stddev=np.float32(0.1)),
        ]
    )
    plain = [
        lambda: layers.Dense(
            count,
            activation,
            kernel_regularizer=penalty,
            kernel_initializer=start,
            name=name,
            use_bias=chance.random() < 0.8,
        ),
        lambda: layers.Activation(activation or "gelu", name=name),
        lambda: layers.Dropout(number, name=name),
        lambda: layers.BatchNormalization(momentum=number, epsilon=1e-3, name=name),
        lambda: layers.LayerNormalization(name=name, epsilon=number),
        lambda: layers.Normalization(mean=number, variance=2.0, name=name),
        lambda: layers.Rescaling(number, name=name),
        lambda: layers.GaussianNoise(number, name=name),
        lambda: layers.FourierFeatures(count, name=name),
    ]
    spatial = [
        lambda: layers.Conv2D(
            count,
            chance.choice([1, 2, (1, 2)]),
            padding="same",
            name=name,
            kernel_regularizer=penalty,
            strides=chance.choice([1, 1, count]),
        ),
        lambda: layers.MaxPooling2D(chance.choice([1, 2]), name=name),
        lambda: layers.ZeroPadding2D(count, name=name),
        lambda: layers.UpSampling2D(count, name=name),
        lambda: layers.Flatten(name=name),
        lambda: layers.GlobalAveragePooling2D(name=name),
        lambda: layers.Conv2DTranspose(count, 2, name=name),
    ]
    return chance.choice(plain + spatial * images)()


def one_model(chance: Chance, path: Path) -> str:
    images = chance.random() < 0.4
    shape = (4, 5, chance.choice([1, 2])) if images else (chance.randint(1, 4),)
    try:
        made = [one_layer(chance, images) for _ in range(chance.randint(1, 4))]
        stack = kurve.Sequential(
            [kurve.Input(shape), *made], name=chance.choice([None, chance.text()])
        )
        rate = chance.choice(
            [
                0.01,
                np.float32(0.1),
                schedules.ExponentialDecay(0.1, 3, 0.9),
                schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2, 0.3]),
            ]
        )
        optimizer = chance.choice(
            [
                optimizers.SGD(rate, momentum=0.9),
                optimizers.Adam(rate, amsgrad=True),
                optimizers.RMSprop(rate, centered=True),
                optimizers.Adam(clipnorm=1),
                optimizers.Adam(epsilon=chance.choice([1e-5, np.float64(1e-3)])),
                "adamw",
            ]
        )
        stack.compile(
            optimizer,
            chance.choice(["mse", "log_cosh", losses.Huber(np.float32(0.3))]),
            metrics=chance.choice([[], ["mae"], [metrics.RootMeanSquaredError()]]),
            engine=chance.choice([None, "reference"]),
        )
        x = np.array([chance.gauss(0, 1) for _ in range(3 * int(np.prod(shape)))])
        x = x.reshape(3, *shape)
        y = stack.predict(x, verbose=0)
        if chance.random() < 0.7:
            stack.fit(x, np.zeros_like(y), epochs=1, verbose=0)
        y = stack.predict(x, verbose=0)
    except Exception as error:
        refused(error)
        return "refused"
    stack.save(path)
    again = models.load_model(path)
    np.testing.assert_array_equal(again.predict(x, verbose=0), y)
    again.save(path.with_name("again.kurve"))
    assert path.with_name("again.kurve").read_bytes() == path.read_bytes()
    return "models"


@pytest.mark.parametrize("kind", ["estimators", "models"])
def test_what_save_writes_load_reads(
    kind: str, soak: bool, tmp_path: Path, promise: Promise
) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    one = one_estimator if kind == "estimators" else one_model
    tries = 10_000 if soak else 60
    done: dict[str, int] = {kind: 0, "refused": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(tries):
            try:
                done[one(Chance(seed), tmp_path / "m.kurve")] += 1
            except BaseException as error:
                error.add_note(f"This is seed {seed} of {kind}.")
                raise
    assert done[kind] > tries / 4
    promise("round-trip", f"{done[kind]:,} {kind}, {done['refused']:,} refused")
