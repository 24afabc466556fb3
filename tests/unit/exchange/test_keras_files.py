"""Keras's files without Keras: what real Keras wrote is read, what Kurve writes comes
back, and whatever else is refused with one error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, layers, losses, metrics, models, optimizers
from kurve.activations import Activation
from kurve.layers import Dense, Dropout, Normalization
from kurve.regularizers import L1, L1L2

GOLDEN = Path(__file__).parent / "golden"
FILES = ["sequential.keras", "sequential.h5", "functional.keras"]
X = np.random.default_rng(1).normal(size=(24, 3))
Y = X.sum(axis=1)


@pytest.fixture(scope="module")
def expected() -> Any:
    return np.load(GOLDEN / "expected.npz")


# -------------------------------------------------------------------- files of Keras


@pytest.mark.parametrize("file", FILES)
def test_files_of_keras(engine: str, file: str, expected: Any) -> None:
    """Predictions, and the losses of the next 15 steps, are those of Keras."""
    kurve.set_engine(engine)
    name = file.partition(".")[0]
    model = models.load_model(GOLDEN / file)
    x = expected["x"]
    given = model.predict(x, verbose=0)
    assert np.abs(given - expected[f"{name}_predictions"]).max() <= 1e-6
    y = expected["numbers" if name == "sequential" else "classes"]
    history = model.fit(x, y, batch_size=8, epochs=5, shuffle=False, verbose=0)
    error = np.abs(history.history["loss"] / expected[f"{name}_losses"] - 1.0)
    assert error.max() <= 1e-5


def test_what_a_file_of_keras_says() -> None:
    model = models.load_model(GOLDEN / "sequential.keras")
    assert [type(layer).__name__ for layer in model.layers] == [
        "Normalization",
        "Dense",
        "Activation",
        "Dropout",
        "Dense",
        "Dense",
        "Dense",
    ]
    first, slope, elu = model.layers[1], model.layers[2], model.layers[4]
    assert (first.name, first.kernel_regularizer.l2) == ("first", 0.01)
    assert slope.activation == Activation("leaky_relu", 0.1)
    assert elu.activation == Activation("elu", 0.5)
    assert not elu.use_bias
    assert not model.layers[5].trainable
    assert model.layers[6].kernel_initializer.seed == 3
    assert isinstance(model.optimizer.learning_rate, optimizers.schedules.CosineDecay)
    assert (model.optimizer.amsgrad, model.optimizer.clipnorm) == (True, 1.0)
    assert model.iterations == 6
    assert model.metrics_names == ["loss", "mae", "root", "log_cosh"]


@pytest.mark.parametrize("file", [*FILES[:2], "sequential.weights.h5"])
def test_weights_alone(file: str, expected: Any) -> None:
    model = models.load_model(GOLDEN / "sequential.keras", compile=False)
    assert not model.compiled
    kept = model.get_weights()
    model.set_weights([w * 0.0 for w in kept])
    model.load_weights(GOLDEN / file)
    for mine, other in zip(model.get_weights(), kept, strict=True):
        assert np.array_equal(mine, other)


# -------------------------------------------------------------------- round trips


def full_model() -> Sequential:
    """One of everything that a file of Keras can hold."""
    first = Normalization()
    first.adapt(X)
    model = Sequential(
        [
            Input((3,)),
            first,
            Dense(4, Activation("leaky_relu", 0.05), kernel_regularizer=L1(0.1)),
            Dropout(0.25),
            Dense(5, "tanh", use_bias=False, trainable=False),
            layers.Activation(Activation("elu", 0.3)),
            Normalization(mean=0.1, variance=2.0, axis=None, invert=True),
            Dense(3, "gelu", kernel_initializer="orthogonal", name="between"),
            Dense(1, kernel_initializer="he_normal", bias_regularizer=L1L2(0.1, 0.2)),
        ],
        name="full",
    )
    rate = optimizers.schedules.CosineDecay(0.1, 50, warmup_target=0.2, warmup_steps=5)
    model.compile(
        optimizers.Nadam(rate, clipnorm=1.0, weight_decay=0.01),
        losses.Huber(0.7),
        metrics=[
            "mae",
            metrics.BinaryAccuracy(threshold=0.3),
            losses.LogCosh(),
            losses.Huber(0.3, name="short"),
            metrics.R2Score(),
        ],
        weighted_metrics=["rmse", "accuracy", metrics.Accuracy("right")],
    )
    return model


def state_of(model: Sequential) -> Any:
    state = model._state
    assert state is not None
    assert model.optimizer is not None
    arrays = (state.params, state.buffers, state.slots, state.scalars)
    numbers = (state.step, state.seed, model.name, model.metrics_names)
    return numbers, model.optimizer.get_config(), [a.tobytes() for a in arrays]


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
@pytest.mark.parametrize("epochs", [0, 2])
def test_round_trip(file: str, epochs: int, tmp_path: Path) -> None:
    model = full_model()
    model.fit(X, Y, epochs=epochs, batch_size=5, verbose=0)
    model._training_state()
    model.save(tmp_path / file)
    loaded = models.load_model(tmp_path / file)
    assert state_of(loaded) == state_of(model)
    assert loaded.get_config() == model.get_config()
    more = {"epochs": 3, "batch_size": 5, "verbose": 0}
    assert loaded.fit(X, Y, **more).history == model.fit(X, Y, **more).history
    assert state_of(loaded) == state_of(model)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.SGD(0.1),
        optimizers.SGD(0.1, momentum=0.5, nesterov=True),
        optimizers.RMSprop(centered=True, momentum=0.3),
        optimizers.Adagrad(0.1),
        optimizers.Adam(amsgrad=True),
        optimizers.AdamW(),
        optimizers.Nadam(),
        optimizers.Adamax(),
    ],
    ids=lambda optimizer: optimizer.name,
)
@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_round_trip_of_optimizers(
    optimizer: optimizers.Optimizer, file: str, tmp_path: Path
) -> None:
    model = Sequential([Input((3,)), Dense(4, "tanh"), Dense(1)])
    model.compile(optimizer, "mse")
    model.fit(X, Y, epochs=2, batch_size=5, verbose=0)
    model.save(tmp_path / file)
    assert state_of(models.load_model(tmp_path / file)) == state_of(model)


def test_same_bytes(tmp_path: Path) -> None:
    model = full_model()
    for name in ("a.keras", "b.keras", "a.h5", "b.h5"):
        model.save(tmp_path / name)
    for ending in ("keras", "h5"):
        a, b = ((tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
        assert a == b


def test_a_model_without_compile(tmp_path: Path) -> None:
    model = Sequential([Input((3,)), Dense(2)])
    for file in ("m.keras", "m.h5"):
        model.save(tmp_path / file)
        loaded = models.load_model(tmp_path / file)
        assert not loaded.compiled
        assert np.array_equal(loaded.predict(X), model.predict(X))


def test_weights_round_trip(tmp_path: Path) -> None:
    model, other = full_model(), full_model()
    model.save_weights(tmp_path / "m.weights.h5")
    other.load_weights(tmp_path / "m.weights.h5")
    for mine, its in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(mine, its)


def test_kurve_files_without_compile(tmp_path: Path) -> None:
    model = full_model()
    model.save(tmp_path / "m.kurve")
    loaded = models.load_model(tmp_path / "m.kurve", compile=False)
    assert not loaded.compiled
    assert np.array_equal(loaded.predict(X), model.predict(X))


# -------------------------------------------------------------------- Keras 1 and 2


def old_file(path: Path, pairs: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A file as Keras 2 wrote it: fixed texts, names that end in :0, batch_input_shape,
    and Adam's vectors in pairs (2.11 on) or one after the other (before).

    Returns:
        The weights, and Adam's vectors: m, v, m, v, ...
    """
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=s).astype("f4") for s in ((3, 3), (3,), (3, 1), (1,))]
    vectors = [rng.random(w.shape).astype("f4") for w in weights for _ in "mv"]
    names = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    common = {"trainable": True, "dtype": "float32", "use_bias": True}
    zeros = {"class_name": "Zeros", "config": {}}
    dense = {**common, "bias_initializer": zeros, "kernel_constraint": None}
    glorot = {"class_name": "GlorotUniform", "config": {"seed": None}}
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "sequential",
            "layers": [
                {
                    "class_name": "Dense",
                    "config": {
                        **dense,
                        "name": "dense",
                        "units": 3,
                        "activation": "relu",
                        "batch_input_shape": [None, 3],
                        "kernel_initializer": glorot,
                    },
                },
                {
                    "class_name": "LeakyReLU",
                    "config": {"name": "leaky", "trainable": True, "alpha": 0.25},
                },
                {
                    "class_name": "Dense",
                    "config": {
                        **dense,
                        "name": "dense_1",
                        "units": 1,
                        "activation": "linear",
                        "kernel_initializer": glorot,
                    },
                },
            ],
        },
    }
    adam = {"name": "Adam", "learning_rate": 0.01, "decay": 0.0, "amsgrad": False}
    training = {
        "loss": "mse",
        "metrics": [
            [
                {
                    "class_name": "MeanMetricWrapper",
                    "config": {
                        "name": "mae",
                        "dtype": "float32",
                        "fn": "mean_absolute_error",
                    },
                }
            ]
        ],
        "weighted_metrics": None,
        "loss_weights": None,
        "optimizer_config": {
            "class_name": "Custom>Adam" if pairs else "Adam",
            "config": adam,
        },
    }
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = np.bytes_(json.dumps(config))
        file.attrs["training_config"] = np.bytes_(json.dumps(training))
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"dense", b"leaky", b"dense_1"])
        group.create_group("leaky").attrs["weight_names"] = np.array([], "S1")
        for layer in ("dense", "dense_1"):
            given = [i for i, n in enumerate(names) if n.startswith(layer + "/")]
            where = group.create_group(layer)
            where.attrs["weight_names"] = np.array(
                [f"{names[i]}:0".encode() for i in given]
            )
            for i in given:
                where[f"{names[i]}:0"] = weights[i]
        if pairs:
            order = [
                (f"Adam/{s}/{n}:0", k) for n in names for s, k in (("m", 0), ("v", 1))
            ]
        else:
            order = [
                (f"Adam/{n}/{s}:0", k) for s, k in (("m", 0), ("v", 1)) for n in names
            ]
        group = file.create_group("optimizer_weights")
        iteration = "iteration:0" if pairs else "Adam/iter:0"
        titles = [iteration, *(title for title, _ in order)]
        group.attrs["weight_names"] = np.array([t.encode() for t in titles])
        group[iteration] = np.int64(17)
        for title, k in order:
            i = next(i for i, n in enumerate(names) if n in title)
            group[title] = vectors[2 * i + k]
    return weights, vectors


@pytest.mark.parametrize("pairs", [True, False])
def test_files_of_keras_2(pairs: bool, tmp_path: Path) -> None:
    weights, vectors = old_file(tmp_path / "m.h5", pairs)
    model = models.load_model(tmp_path / "m.h5")
    for mine, other in zip(model.get_weights(), weights, strict=True):
        assert np.array_equal(mine, other)
    assert model.layers[1].activation == Activation("leaky_relu", 0.25)
    assert model.metrics_names == ["loss", "mae"]
    assert model.iterations == 17
    assert model.optimizer.learning_rate == 0.01
    plan, state = model._plan, model._state
    read = [state.slots[k, s.offset : s.end] for s in plan.params for k in (0, 1)]
    for mine, other in zip(read, vectors, strict=True):
        assert np.array_equal(mine, other.ravel())
