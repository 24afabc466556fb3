"""Keras's files without Keras: files of real Keras are read, files of Kurve round-trip,
and everything else is refused with one error."""

from __future__ import annotations

import io
import json
import stat
import sys
import warnings
import zipfile
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
from kurve.saving import ModelFileError

GOLDEN = Path(__file__).parents[2] / "golden" / "keras"
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
        "LeakyReLU",
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
    rate = model.optimizer.get_config()["learning_rate"]
    assert rate["class_name"] == "CosineDecay"
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
            metrics.LogCoshError("log_cosh"),
            losses.Huber(0.3, name="short"),
            metrics.R2Score(),
        ],
        weighted_metrics=["rmse", "accuracy", metrics.Accuracy("right")],
    )
    return model


def state_of(model: Sequential) -> Any:
    state = model._network.state
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
    model._network.training_state()
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


def test_schedules_of_numpy_numbers(tmp_path: Path) -> None:
    schedules = optimizers.schedules
    for rate in (
        schedules.ExponentialDecay(np.float32(0.1), np.int64(5), np.float64(0.5)),
        schedules.PiecewiseConstantDecay(np.array([2, 4]), np.array([0.3, 0.2, 0.1])),
        schedules.CosineDecay(np.float32(0.1), np.int64(9), np.float32(0.01)),
    ):
        model = Sequential([Input((3,)), Dense(2)])
        model.compile(optimizers.Adam(rate, beta_1=np.float32(0.8)), "mse")
        for name in ("m.keras", "m.h5"):
            model.save(tmp_path / name)
            loaded = models.load_model(tmp_path / name)
            assert np.isclose(loaded.optimizer.learning_rate(3), rate(3), 1e-6)


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
    plan, state = model._network.plan, model._network.state
    read = [state.slots[k, s.offset : s.end] for s in plan.params for k in (0, 1)]
    for mine, other in zip(read, vectors, strict=True):
        assert np.array_equal(mine, other.ravel())


# -------------------------------------------------------------------- what is refused


def dense_entry(**changes: Any) -> dict[str, Any]:
    return {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {"name": "dense", "units": 1, "dtype": "float32", **changes},
        "registered_name": None,
    }


def config_of(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The configuration of a Sequential model, as in a .keras file."""
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, 3]}}
    config = {"name": "m", "layers": [first, *(entries or [dense_entry()])]}
    return {"module": "keras", "class_name": "Sequential", "config": config} | changes


def keras_file(
    path: Path, config: Any, kernel: tuple[int, ...] = (3, 1), **more: bytes
) -> Path:
    """A .keras file with one Dense layer's weights and this configuration."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["layers/dense/vars/0"] = np.ones(kernel, np.float32)
        file["layers/dense/vars/1"] = np.ones(kernel[-1:], np.float32)
    text = config if isinstance(config, str) else json.dumps(config)
    members = {"metadata.json": b"{}", "config.json": text.encode()}
    members |= {"model.weights.h5": memory.getvalue()} | more
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return path


def test_the_smallest_file(tmp_path: Path) -> None:
    model = models.load_model(keras_file(tmp_path / "m.keras", config_of()))
    assert np.array_equal(model.predict([[1.0, 2.0, 3.0]]), [[7.0]])


_lambda = {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "l"}}
_own = dense_entry() | {"module": "my.code", "registered_name": "my>Dense"}
_registered = dense_entry() | {"registered_name": "my_package>Dense"}
_boxes = dense_entry() | {"class_name": "MaxNumBoundingBoxes"}
_adam = {"class_name": "Adam", "config": {"name": "adam", "learning_rate": 0.1}}
_code = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}


def compiled(optimizer: Any = "adam", **more: Any) -> dict[str, Any]:
    given = {"optimizer": optimizer, "loss": "mse"} | more
    return config_of(compile_config=given)


def with_adam(**changes: Any) -> dict[str, Any]:
    return {"class_name": "Adam", "config": {**_adam["config"], **changes}}


CONFIGS: dict[str, tuple[Any, str]] = {
    "lambda": (config_of(_lambda), r"layers\[1\] \(Lambda 'l'\) is a Lambda"),
    "custom class": (config_of(_own), "Dense of 'my.code', a custom class"),
    "registered": (config_of(_registered), "'my_package>Dense', a custom class"),
    "unknown layer": (
        config_of(_boxes),
        "MaxNumBoundingBoxes 'dense'.*does not have this class",
    ),
    "only in Kurve": (
        config_of(dense_entry() | {"class_name": "FourierFeatures"}),
        "FourierFeatures 'dense'.*does not have this class",
    ),
    "activation of code": (config_of(dense_entry(activation=_code)), "is a Lambda"),
    "unknown activation": (
        config_of(dense_entry(activation="mush")),
        "unknown activation. Received: 'mush'",
    ),
    "activation of Kurve's": (
        config_of(dense_entry(activation="snake")),
        "'snake', which Keras does not have",
    ),
    "dtype": (config_of(dense_entry(dtype="float16")), "computes in 'float16'"),
    "policy": (
        config_of(
            dense_entry(
                dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
            )
        ),
        "computes in 'mixed_float16'",
    ),
    "constraint": (
        config_of(dense_entry(kernel_constraint={"class_name": "Evil", "config": {}})),
        "kernel_constraint is Evil, which Kurve does not have",
    ),
    "argument": (
        config_of(dense_entry(colour=3)),
        "has colour=3, which Kurve does not have",
    ),
    "units": (config_of(dense_entry(units="3")), "units must be an integer"),
    "units too many": (
        config_of(dense_entry(units=10**12)),
        r"must have shape \(3, 1000000000000\), and has \(3, 1\)",
    ),
    "initializer": (
        config_of(dense_entry(kernel_initializer={"class_name": "Evil", "config": {}})),
        "kernel_initializer is Evil",
    ),
    "subclass": (config_of(class_name="MyModel"), "the model is a MyModel; only"),
    "input": (
        config_of(dense_entry(), **{"build_input_shape": 3}) | {"class_name": "X"},
        "the model is a X",
    ),
    "two of one name": (config_of(dense_entry(), dense_entry()), "distinct names"),
    "loss of code": (compiled(loss=_code), "the loss is a Lambda.*compile=False"),
    "custom loss": (
        compiled(loss="my_loss"),
        r"unknown loss. Received: 'my_loss'. Try load_model\(path, compile=False\), "
        r"then model.compile\(...\).$",
    ),
    "loss of Kurve's": (compiled(loss="pinball"), "'pinball', which Keras does not"),
    "optimizer": (
        compiled({"class_name": "LossScaleOptimizer", "config": {}}),
        "optimizer LossScaleOptimizer",
    ),
    "average": (compiled(with_adam(use_ema=3)), "use_ema must be True or False"),
    "rate": (
        compiled(with_adam(learning_rate=-1.0)),
        "learning_rate must be at least 0",
    ),
    "metric": (compiled(metrics=["kappa"]), "unknown metric"),
    "not JSON": ('{"class_name": ', "config.json: Expecting value"),
    "no object": ("[]", "config.json: it is not an object"),
    "twice": ('{"class_name": "A", "class_name": "B"}', "is a duplicate key"),
    "NaN": ('{"class_name": NaN}', "NaN is not a number"),
    "deep": ('{"a":' * 40 + "1" + "}" * 40, "nested deeper than 32"),
    "empty": ({}, "the model has no class name"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_refused_configurations(name: str, tmp_path: Path) -> None:
    config, message = CONFIGS[name]
    path = keras_file(tmp_path / "m.keras", config)
    with pytest.raises(
        ModelFileError, match=rf"(?s)^\[load_model\] '.*m.keras'.*{message}"
    ):
        models.load_model(path)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("lambda", "config"),
        ("units too many", "weights"),
        ("loss of code", "compile_config"),
        ("deep", "config.json"),
    ],
)
def test_the_error_names_the_field(name: str, field: str, tmp_path: Path) -> None:
    path = keras_file(tmp_path / "m.keras", CONFIGS[name][0])
    with pytest.raises(ModelFileError) as caught:
        models.load_model(path)
    assert caught.value.field == field


def test_long_names_do_not_fill_the_screen(tmp_path: Path) -> None:
    config = config_of(dense_entry(name="x" * 10_000))
    with pytest.raises(ModelFileError) as caught:
        models.load_model(keras_file(tmp_path / "m.keras", config, kernel=(4, 1)))
    assert len(str(caught.value)) < 700


def test_without_compile_a_loss_does_not_matter(tmp_path: Path) -> None:
    path = keras_file(tmp_path / "m.keras", compiled(loss=_code))
    assert not models.load_model(path, compile=False).compiled


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"extra.txt": b"x"}, "it has a member 'extra.txt'"),
        ({"../evil": b"x"}, r"it has a member '../evil'"),
        ({"/etc/passwd": b"x"}, "it has a member '/etc/passwd'"),
        ({"model.weights.h5": b"not HDF5"}, "does not start as an HDF5 file"),
        ({"metadata.json": b"[]"}, "metadata.json: it is not an object"),
    ],
)
def test_refused_members(more: Any, message: str, tmp_path: Path) -> None:
    path = keras_file(tmp_path / "m.keras", config_of(), **more)
    with pytest.raises(ModelFileError, match=message):
        models.load_model(path)


def rewritten(path: Path, change: Any) -> Path:
    """The file with members changed, left out or duplicated."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for info, raw in members:
            for new, data in change(info, raw):
                archive.writestr(new, data, new.compress_type)
    return path


def a_link(info: zipfile.ZipInfo, raw: bytes) -> Any:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return [(info, raw)]


def a_bomb(info: zipfile.ZipInfo, raw: bytes) -> Any:
    info.compress_type = zipfile.ZIP_DEFLATED
    return [(info, raw + b"\0" * (50 << 20) if info.filename.endswith("h5") else raw)]


def no_config(info: zipfile.ZipInfo, raw: bytes) -> Any:
    return [] if info.filename == "config.json" else [(info, raw)]


def bzip2(info: zipfile.ZipInfo, raw: bytes) -> Any:
    info.compress_type = zipfile.ZIP_BZIP2
    return [(info, raw)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (a_link, "'metadata.json' is not a plain file"),
        (a_bomb, r"'model.weights.h5' claims 524\d+ bytes from \d+"),
        (bzip2, "'metadata.json' is compressed in an unknown way"),
        (lambda i, raw: [(i, raw), (i, raw)], "it has a member 'metadata.json'"),
        (no_config, "it has no member 'config.json'"),
        (
            lambda i, raw: [(i, raw + b" " * (5 << 20))],
            "'metadata.json' has more than 4194304 bytes",
        ),
    ],
    ids=["link", "bomb", "bzip2", "twice", "none", "long"],
)
def test_refused_zips(change: Any, message: str, tmp_path: Path) -> None:
    path = rewritten(keras_file(tmp_path / "m.keras", config_of()), change)
    with pytest.raises(ModelFileError, match=message):
        models.load_model(path)


def test_compressed_members_are_read(tmp_path: Path) -> None:
    def deflated(info: zipfile.ZipInfo, raw: bytes) -> Any:
        info.compress_type = zipfile.ZIP_DEFLATED
        return [(info, raw)]

    path = rewritten(keras_file(tmp_path / "m.keras", config_of()), deflated)
    assert models.load_model(path).count_params() == 4


def test_hostile_shapes_take_no_memory(tmp_path: Path) -> None:
    """A constant as large as the input shape in the configuration."""
    scaled = {
        "class_name": "Normalization",
        "config": {"name": "n", "axis": [-1], "mean": 0.0, "variance": 1.0},
    }
    config = config_of(scaled)
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, 10**12]
    with pytest.raises(
        ModelFileError, match="constants have more than 1048576 numbers"
    ):
        models.load_model(keras_file(tmp_path / "m.keras", config))


def test_a_changed_file_of_kurve(tmp_path: Path) -> None:
    full_model().save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file["model_weights/between/between/bias"][0] = 3.0
    with pytest.raises(ModelFileError, match=r"changed since it was written.*'kurve'"):
        models.load_model(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        del file.attrs["kurve"]
    with pytest.raises(ModelFileError, match="its attribute 'kurve' is missing"):
        models.load_model(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        del file.attrs["backend"]
    assert models.load_model(tmp_path / "m.h5").get_weights()[-3][0] == 3.0


def test_graphs_that_are_corrupt(tmp_path: Path) -> None:
    def node(*names: str) -> dict[str, Any]:
        tensors = [
            {
                "class_name": "__keras_tensor__",
                "config": {
                    "shape": [None, 3],
                    "dtype": "float32",
                    "keras_history": [n, 0, 0],
                },
            }
            for n in names
        ]
        return {"args": tensors, "kwargs": {}}

    def layer(name: str, *nodes: Any) -> dict[str, Any]:
        return dense_entry(name=name) | {"name": name, "inbound_nodes": list(nodes)}

    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, 3]}}
    first |= {"name": "i", "inbound_nodes": []}
    outputs = {"input_layers": ["i", 0, 0], "output_layers": ["b", 0, 0]}
    for layers_, message in (
        ([first, layer("a", node("i")), layer("b", node("i"))], "'a' leads to no"),
        ([first, layer("b", node("i", "i"))], "takes one tensor|called with x and"),
        (
            [first, layer("b", node("i"), node("c"))],
            "used before it|no node produces",
        ),
        (
            [first, layer("a", node("i")), {**first, "name": "j"}],
            "used before it|no node produces",
        ),
        (
            [first, layer("b", node("a")), layer("a", node("b"))],
            "used before it|no node produces",
        ),
        ([first, layer("b", node("i")) | {"inbound_nodes": 7}], "no inbound_nodes"),
        ([first, layer("b", {"args": 1, "kwargs": {}})], "arguments are no list"),
        ([first, layer("b", {"args": [{"class_name": "Evil"}], "kwargs": {}})], "Evil"),
        ([first, layer("b", [["i", 0]])], "no list of tensors"),
        ([first, layer("b", [["i", 0, 0, {"mask": 1}]])], "called with"),
    ):
        config = {"name": "m", "layers": layers_, **outputs}
        given = {"module": "keras", "class_name": "Functional", "config": config}
        with pytest.raises(ModelFileError, match=message):
            models.load_model(keras_file(tmp_path / "m.keras", given))


def test_a_graph_of_keras(tmp_path: Path) -> None:
    """Written once by Keras, and kept."""
    with np.load(GOLDEN / "expected_graph.npz") as found:
        a, b, expected = found["a"], found["b"], found["prediction"]
    model = models.load_model(GOLDEN / "graph.keras")
    model.save(tmp_path / "again.keras")
    for one in (model, models.load_model(tmp_path / "again.keras")):
        network = one._network
        program = kurve.get_engine("reference").compile(network.plan)
        y = program.predict(network.state, (a, b))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_graphs_of_keras_2(tmp_path: Path) -> None:
    """Calls as lists, and those of models counted from 1."""

    def entry(cls: str, name: str, nodes: Any, **config: Any) -> dict[str, Any]:
        config = {"name": name, "trainable": True, **config}
        return {
            "class_name": cls,
            "name": name,
            "inbound_nodes": nodes,
            "config": config,
        }

    def dense(name: str, nodes: Any) -> dict[str, Any]:
        return entry("Dense", name, nodes, units=3, activation="tanh", use_bias=True)

    given = {"batch_input_shape": [None, 3], "dtype": "float32"}
    inner = {
        "layers": [
            entry("InputLayer", "i", [], **given),
            dense("d", [[["i", 0, 0, {}]]]),
        ],
        "input_layers": [["i", 0, 0]],
        "output_layers": [["d", 0, 0]],
    }
    outer = [
        entry("InputLayer", "x", [], **given),
        entry("Model", "m", [[["x", 0, 0, {}]], [["e", 0, 0, {}]]], **inner),
        dense("e", [[["m", 1, 0, {}]]]),
        entry("Add", "s", [[["m", 2, 0, {}], ["x", 0, 0, {}]]]),
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["s", 0, 0]]}
    config = {"class_name": "Model", "config": {"name": "o", "layers": outer, **ends}}
    rng = np.random.default_rng(4)
    a, b, c, d = (rng.normal(size=s).astype(np.float32) for s in ((3, 3), 3, (3, 3), 3))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"x", b"m", b"e", b"s"]
        for name, arrays in (("x", ()), ("m", (a, b)), ("e", (c, d)), ("s", ())):
            where = group.create_group(name)
            where.attrs["weight_names"] = [f"w{i}".encode() for i in range(len(arrays))]
            for i, array in enumerate(arrays):
                where[f"w{i}"] = array
    model = models.load_model(tmp_path / "m.h5")
    x = rng.normal(size=(4, 3)).astype(np.float32)
    h = np.tanh(np.tanh(x @ a + b) @ c + d)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), np.tanh(h @ a + b) + x, rtol=1e-5, atol=1e-5
    )


ONLY_IN_KURVE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "layer": (layers.FourierFeatures(4), {}, "is a FourierFeatures"),
    "activation": (Dense(2, "snake"), {}, "has the activation 'snake'"),
    "initializer": (
        Dense(2, kernel_initializer=kurve.initializers.SineUniform()),
        {},
        "has the initializer SineUniform",
    ),
    **{
        f"name {name!r}": (Dense(2, name=name), {}, "the layer is called '.*a slash")
        for name in ("a/b", "a\0b", ".", "é" * 257)
    },
    "optimizer's name": (
        Dense(2),
        {"optimizer": optimizers.SGD(name="a\0b")},
        "the optimizer is called",
    ),
    "loss": (Dense(2), {"loss": losses.Pinball([0.1, 0.9])}, "the loss is a Pinball"),
    "schedule": (
        Dense(2),
        {"optimizer": optimizers.SGD(optimizers.schedules.OneCycle(0.1, 10))},
        "is a OneCycle",
    ),
}


@pytest.mark.parametrize("name", ONLY_IN_KURVE)
@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_only_in_kurve(name: str, file: str, tmp_path: Path) -> None:
    layer, given, message = ONLY_IN_KURVE[name]
    model = Sequential([Input((3,)), type(layer).from_config(layer.get_config())])
    model.compile(**{"optimizer": "sgd", "loss": "mse"} | given)
    with pytest.raises(
        ValueError, match=rf"\[save\] .*{message}.*Try model.save\('m.kurve'"
    ):
        model.save(tmp_path / file)
    assert not list(tmp_path.iterdir())


def test_states_that_do_not_fit(tmp_path: Path) -> None:
    """The model is read, with a fresh optimizer at the same step."""
    model = Sequential([Input((3,)), Dense(2)])
    model.compile(optimizers.Adam(0.01), "mse")
    x = np.ones((8, 3))
    model.fit(x, x[:, :2], epochs=3, verbose=0)
    for name in ("another number", "not finite", "no step"):
        path = tmp_path / "m.h5"
        model.save(path)
        with h5py.File(path, "r+") as file:
            for attribute in ("kurve", "backend"):
                del file.attrs[attribute]
            group = file["optimizer_weights"]
            names = [n.decode() for n in group.attrs["weight_names"]]
            if name == "another number":
                group["extra"] = np.ones(3, np.float32)
                names.append("extra")
            else:
                wrong = names[0] if name == "no step" else names[-1]
                shape = group[wrong].shape
                del group[wrong]
                group[wrong] = np.full(shape, np.nan, np.float32)
            group.attrs["weight_names"] = np.array([n.encode() for n in names])
        with pytest.warns(UserWarning, match=r"left out.*compile=False") as caught:
            loaded = models.load_model(path)
        assert len(caught) == 1 and caught[0].filename == __file__
        assert loaded.iterations == (0 if name == "no step" else 3)
        assert np.array_equal(loaded.predict(x), model.predict(x))
        loaded.fit(x, x[:, :2], verbose=0)


def test_a_saved_model_is_no_file(tmp_path: Path) -> None:
    for name in ("whole", "whole.keras"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_bytes(b"x")
        with pytest.raises(ModelFileError, match=r"SavedModel.*Try model.save\('m.h5"):
            models.load_model(tmp_path / name)


def test_weights_beside_a_layer_that_kurve_does_not_have(tmp_path: Path) -> None:
    """The fix that the error suggests."""
    constraint = {"class_name": "Evil", "config": {}}
    config = config_of(dense_entry(kernel_constraint=constraint))
    path = keras_file(tmp_path / "m.keras", config)
    with pytest.raises(
        ModelFileError, match=r"kernel_constraint is Evil.*load_weights"
    ):
        models.load_model(path)
    model = Sequential([Input((3,)), Dense(1)])
    model.load_weights(path)
    assert np.array_equal(model.get_weights()[0], np.ones((3, 1)))


HARMLESS: dict[str, Any] = {
    "None of a version to come": dense_entry(colour=None),
    "a seed that is an object": dense_entry(
        kernel_initializer={
            "class_name": "GlorotUniform",
            "config": {"seed": {"class_name": "SeedGenerator", "config": {}}},
        }
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_arguments(name: str, tmp_path: Path) -> None:
    model = models.load_model(
        keras_file(tmp_path / "m.keras", config_of(HARMLESS[name]))
    )
    assert model.predict([[1.0, 2.0, 3.0]]) == 7.0


def test_wrong_files(tmp_path: Path) -> None:
    model = Sequential([Input((3,)), Dense(1)])
    (tmp_path / "m.keras").write_bytes(b"PK no zip")
    (tmp_path / "m.h5").write_bytes(b"")
    for name in ("m.keras", "m.h5"):
        with pytest.raises(ModelFileError, match="is neither a zip nor an HDF5"):
            models.load_model(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        models.load_model(tmp_path / "absent.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(
        ModelFileError, match=r"holds weights only\. Try model.load_weights"
    ):
        models.load_model(tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match="is the name of a file of weights"):
        model.save(tmp_path / "m.weights.h5")
    with pytest.raises(
        ValueError, match=r"must end in '.weights.h5'.*Try '.*m.weights.h5'"
    ):
        model.save_weights(tmp_path / "m.keras")
    other = Sequential([Input((3,)), Dense(2)])
    before = other.get_weights()
    with pytest.raises(
        ModelFileError,
        match=r"must have shape \(3, 2\), and has \(3, 1\).*Try a model with",
    ):
        other.load_weights(tmp_path / "m.weights.h5")
    assert all(
        np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True)
    )


def test_diverged_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.full((3, 1), np.nan, np.float32)
        file["layers/dense/vars/1"] = np.zeros(1, np.float32)
    model = Sequential([Input((3,)), Dense(1)])
    with pytest.raises(ModelFileError, match="must be finite"):
        model.load_weights(path)


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading does not need h5py; writing says what to install."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    model = models.load_model(GOLDEN / "sequential.keras")
    with pytest.raises(ImportError, match=r"Try pip install 'kurve\[keras\]'"):
        model.save(tmp_path / "m.keras")


def test_an_alpha_that_is_not_used_is_not_written(tmp_path: Path) -> None:
    activation = kurve.activations.Activation("tanh", 0.5)
    model = Sequential([Input((2,)), layers.Dense(1, activation)])
    model.save(tmp_path / "m.keras")
    again = models.load_model(tmp_path / "m.keras")
    assert again.layers[-1].activation == kurve.activations.get("tanh")
