"""Writes the golden files of the present format, with what they must predict.

    PYTHONPATH=src python -m tests.golden.make 2

Files of a format are written once, by the version that introduces it, and then kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import kurve
from kurve import Classifier, Regressor, losses, metrics, optimizers, regularizers
from kurve.formulas import functions
from kurve.layers import (
    Activation,
    Add,
    Concatenate,
    Dense,
    Dropout,
    FourierFeatures,
    Normalization,
)

FOLDER = Path(__file__).parent
RNG = np.random.default_rng(11)
X = RNG.normal(size=(40, 3))
Y = np.sin(X.sum(axis=1))
TABLE = np.empty((40, 3), object)
TABLE[:, :2] = X[:, :2]
TABLE[:, 2] = np.array(["red", "green"])[np.arange(40) % 2]
TABLE[3, 0] = None


def network() -> kurve.Sequential:
    """One of everything that a model's file holds."""
    first = Normalization(name="scale")
    first.adapt(X)
    model = kurve.Sequential(
        [
            kurve.Input((3,)),
            first,
            FourierFeatures(2, name="waves"),
            Dense(
                5,
                kurve.activations.Activation("leaky_relu", 0.05),
                kernel_regularizer=regularizers.L1(0.001),
                name="wide",
            ),
            Dropout(0.25, name="drop"),
            Dense(4, "tanh", use_bias=False, trainable=False, name="frozen"),
            Activation("gelu", name="bend"),
            Dense(1, kernel_initializer="he_normal", name="last"),
        ],
        name="golden",
    )
    rate = optimizers.schedules.CosineDecay(0.01, 50)
    model.compile(
        optimizers.Nadam(rate, clipnorm=1.0, weight_decay=0.01),
        losses.Huber(0.7),
        metrics=["mae", metrics.BinaryAccuracy(threshold=0.3)],
        weighted_metrics=["rmse"],
        engine="reference",
    )
    return model


def graph() -> kurve.Model:
    """A graph: a shared layer, models inside, functions with arguments."""
    x = kurve.Input((3,), name="x")
    inside = kurve.Input((3,), name="i")
    bent = Dense(3, "tanh", name="bent")(inside)
    block = kurve.Model(inside, Add(name="sum")([inside, bent]), name="block")
    stack = kurve.Sequential(
        [kurve.Input((3,)), Dense(2, name="bent"), Dropout(0.25, name="drop")],
        name="stack",
    )
    shared = Dense(3, "relu", name="shared")
    h = Concatenate(name="join")([stack(block(x)), shared(x), shared(block(block(x)))])
    h = functions.reshape(functions.tanh(h[:, 1:7]) * 2.0 + 1.0, (-1, 2, 3))
    h = functions.sum(h, axis=1)
    model = kurve.Model(x, Dense(1, name="last")(h), name="graph")
    model.compile("adam", "mse", metrics=["mae"], engine="reference")
    return model


def write_graph(version: str) -> None:
    kurve.set_engine("reference")
    kurve.utils.set_random_seed(5)
    model = graph()
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    model.save(FOLDER / f"graph-{version}.kurve")
    model.save_weights(FOLDER / f"graph-{version}.weights.kurve")
    prediction = model.predict(X, verbose=0)
    path = FOLDER / f"expected-graph-{version}.npz"
    np.savez(path, model=prediction, later=later(model))


def later(model: Any) -> list[float]:
    """The losses of two more epochs."""
    history = model.fit(X, Y, batch_size=8, epochs=2, verbose=0).history
    return [float(loss) for loss in history["loss"]]


def main(version: str) -> None:
    kurve.set_engine("reference")
    kurve.utils.set_random_seed(5)
    model = network()
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    model.save(FOLDER / f"model-{version}.kurve")
    model.save_weights(FOLDER / f"model-{version}.weights.kurve")
    options: dict[str, Any] = {"max_epochs": 2, "random_state": 3, "solver": "adam"}
    regressor = Regressor((4,), interval="cv+", members=2, missing="impute", **options)
    regressor.fit(TABLE, Y)
    regressor.save(FOLDER / f"regressor-{version}.kurve")
    classifier = Classifier((4,), class_weight={"a": 2.0, "b": 1.0}, **options)
    classifier.fit(X, np.array(["a", "b"])[(Y > 0).astype(int)])
    classifier.save(FOLDER / f"classifier-{version}.kurve")
    np.savez(
        FOLDER / f"expected-{version}.npz",
        model=model.predict(X, verbose=0),
        seed=np.uint64(model._network.state.seed),
        regressor=regressor.predict(TABLE),
        interval=regressor.predict_interval(TABLE),
        classifier=classifier.predict_proba(X),
        later=later(model),
    )
    write_graph(version)


if __name__ == "__main__":
    main(sys.argv[1])
