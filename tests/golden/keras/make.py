"""Writes the files that real Keras made, for tests that run without it.

    KERAS_BACKEND=torch python tests/golden/keras/make.py

`expected.npz` holds the inputs, Keras's predictions and the losses of the next steps.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np

HERE = Path(__file__).parent


def sequential() -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((3,)),
            layers.Normalization(),
            layers.Dense(5, "relu", kernel_regularizer="l2", name="first"),
            layers.LeakyReLU(0.1),
            layers.Dropout(0.0),
            layers.Dense(4, activation=layers.ELU(0.5), use_bias=False),
            layers.Dense(4, "tanh", trainable=False),
            layers.Dense(1, kernel_initializer=keras.initializers.HeNormal(seed=3)),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(0.02, 60, alpha=0.1)
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0, amsgrad=True),
        "mse",
        metrics=["mae", keras.metrics.RootMeanSquaredError(name="root")],
        weighted_metrics=[keras.losses.LogCosh()],
    )
    return model


def functional() -> keras.Model:
    given = keras.Input((3,))
    hidden = keras.layers.Dense(6, "gelu")(given)
    model = keras.Model(given, keras.layers.Dense(3, "softmax")(hidden))
    model.compile(
        keras.optimizers.Nadam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def graph() -> keras.Model:
    """A shared layer, models inside, several inputs, functions."""
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    inside = keras.Input((3,), name="i")
    bent = keras.layers.Dense(3, "tanh", name="bent")(inside)
    block = keras.Model(inside, keras.layers.Add(name="sum")([inside, bent]), name="k")
    stack = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, name="wide")], name="stack"
    )
    h = keras.layers.Concatenate(name="join")([block(a), stack(b), block(stack(b))])
    h = keras.ops.tanh(keras.ops.reshape(h, (-1, 3, 3))) * 2.0
    h = keras.ops.sum(h, axis=1)
    return keras.Model([a, b], keras.layers.Dense(1, name="last")(h), name="graph")


def write_graph() -> None:
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=(8, n)).astype(np.float32) for n in (3, 2))
    model = graph()
    model.save(HERE / "graph.keras")
    prediction = model.predict([a, b], verbose=0)
    np.savez(HERE / "expected_graph.npz", a=a, b=b, prediction=prediction)


def main() -> None:
    write_graph()
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(24, 3)).astype(np.float32)
    numbers = (x[:, :1] * x[:, 1:2] + x[:, 2:]).astype(np.float32)
    classes = x.argmax(axis=1)
    expected = {"x": x, "numbers": numbers, "classes": classes}
    for name, model, y in (
        ("sequential", sequential(), numbers),
        ("functional", functional(), classes),
    ):
        if name == "sequential":
            model.layers[0].adapt(x)
        steps = {"batch_size": 8, "shuffle": False, "verbose": 0}
        model.fit(x, y, epochs=2, **steps)
        model.save(HERE / f"{name}.keras")
        if name == "sequential":
            model.save(HERE / f"{name}.h5")
            model.save_weights(HERE / f"{name}.weights.h5")
        expected[f"{name}_predictions"] = model.predict(x, verbose=0)
        expected[f"{name}_losses"] = model.fit(x, y, epochs=5, **steps).history["loss"]
    np.savez(HERE / "expected.npz", **expected)


if __name__ == "__main__":
    main()
