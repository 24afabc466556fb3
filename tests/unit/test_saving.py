"""Model files: what is written comes back, whatever else is refused with one error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, losses, metrics, models, optimizers, regularizers
from kurve.activations import Activation
from kurve.layers import Activation as ActivationLayer
from kurve.layers import Dense, Dropout, Normalization
from kurve.saving import ModelFileError, read, write

X = np.random.default_rng(1).normal(size=(12, 3))
Y = X.sum(axis=1)


def full_model() -> Sequential:
    """One of everything that a file must hold."""
    first = Normalization()
    first.adapt(X)
    layers = [
        Input((3,)),
        first,
        Dense(
            4, Activation("leaky_relu", 0.05), kernel_regularizer=regularizers.L1(0.1)
        ),
        Dropout(0.25),
        Dense(5, "tanh", use_bias=False, trainable=False),
        ActivationLayer("gelu"),
        Normalization(mean=0.1, variance=2.0, axis=None, invert=True),
        Dense(1, kernel_initializer="he_normal", bias_regularizer="l2", name="last"),
    ]
    model = Sequential(layers, name="full")
    rate = optimizers.schedules.CosineDecay(0.1, 50, warmup_target=0.2, warmup_steps=5)
    model.compile(
        optimizers.Nadam(rate, clipnorm=1.0, weight_decay=0.01),
        losses.Huber(0.7),
        metrics=["mae", metrics.BinaryAccuracy(threshold=0.3), losses.LogCosh()],
        weighted_metrics=["rmse", "accuracy"],
    )
    return model


def equal(a: Sequential, b: Sequential) -> bool:
    """Whether two models are the same in all that a file holds."""
    s, t = a._network.state, b._network.state
    assert s is not None
    assert t is not None
    assert a.optimizer is not None
    assert b.optimizer is not None
    pairs = [
        (s.params, t.params),
        (s.buffers, t.buffers),
        (s.slots, t.slots),
        (s.scalars, t.scalars),
    ]
    return (
        a.get_config() == b.get_config()
        and (s.step, s.seed) == (t.step, t.seed)
        and a.optimizer.get_config() == b.optimizer.get_config()
        and all(np.array_equal(v, w) for v, w in pairs)
    )


@pytest.mark.parametrize("epochs", [0, 2])
def test_round_trip(engine: str, tmp_path: Path, epochs: int) -> None:
    model = full_model()
    model.fit(X, Y, epochs=epochs, verbose=0)
    model.save(tmp_path / "m.kurve")
    loaded = models.load_model(tmp_path / "m.kurve")
    assert equal(model, loaded)
    assert loaded.metrics_names == model.metrics_names
    assert loaded.loss is not None
    assert model.loss is not None
    assert loaded.loss.spec == model.loss.spec
    x = X[:5]
    assert (
        loaded.predict(x, verbose=0).tobytes() == model.predict(x, verbose=0).tobytes()
    )
    options: dict[str, Any] = {"batch_size": 5, "epochs": 2, "verbose": 0}
    assert loaded.fit(X, Y, **options).history == model.fit(X, Y, **options).history
    assert equal(model, loaded)


def test_a_model_that_was_never_compiled(tmp_path: Path) -> None:
    model = Sequential([Input((3,)), Dense(2)])
    model.save(tmp_path / "m.kurve")
    loaded = models.load_model(tmp_path / "m.kurve")
    assert not loaded.compiled
    np.testing.assert_array_equal(loaded(X), model(X))


def test_load_weights(tmp_path: Path) -> None:
    """Into layers of other names; from a weights file and from a model file."""
    model = Sequential([Input((3,)), Dense(2), Dense(1)])
    model.compile("sgd", "mse")
    model.save_weights(tmp_path / "m.weights.kurve")
    model.save(tmp_path / "m.kurve")
    for name in ("m.weights.kurve", "m.kurve"):
        other = Sequential([Input((3,)), Dense(2), Dense(1)])
        other.load_weights(tmp_path / name)
        np.testing.assert_array_equal(other(X), model(X))
    with pytest.raises(ModelFileError, match="weights only"):
        models.load_model(tmp_path / "m.weights.kurve")
    wrong = Sequential([Input((3,)), Dense(2), Dense(2)])
    before = wrong.get_weights()
    with pytest.raises(ModelFileError, match="does not fit the model"):
        wrong.load_weights(tmp_path / "m.weights.kurve")
    for now, old in zip(wrong.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, old)


def test_safetensors_reads_the_file(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    model = full_model()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.kurve")
    tensors = numpy.load_file(tmp_path / "m.kurve")
    np.testing.assert_array_equal(
        tensors["weights/last/kernel"], model.get_layer("last").get_weights()[0]
    )
    assert tensors["optimizer/slots"].shape == model._network.state.slots.shape


def test_the_header_is_that_of_safetensors(tmp_path: Path) -> None:
    """Checked by hand too: offsets without gaps, and text as metadata."""
    path = tmp_path / "m.kurve"
    full_model().save(path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert length % 8 == 0, "tensors start at a multiple of 8 bytes"
    header = json.loads(raw[8 : 8 + length])
    metadata = header.pop("__metadata__")
    assert all(isinstance(value, str) for value in metadata.values())
    end = 0
    for entry in header.values():
        assert entry["data_offsets"][0] == end
        end = entry["data_offsets"][1]
    assert 8 + length + end == len(raw)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m, p: m.save(p / "m.txt"), r"^\[save\] .*'.kurve'.*m.txt.*Try"),
        (lambda m, p: m.save_weights(p / "m.kurve"), r"^\[save_weights\] .*Received"),
    ],
)
def test_wrong_endings(tmp_path: Path, call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call(Sequential([Input((1,)), Dense(1)]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unbuilt_models_have_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^\[save\] the model is not built"):
        Sequential([Dense(1)]).save(tmp_path / "m.kurve")
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no other: what was half written is removed."""
    path = tmp_path / "m.kurve"
    model = Sequential([Input((1,)), Dense(1)])
    model.save(path)
    old = path.read_bytes()
    model.set_weights([w + 1.0 for w in model.get_weights()])
    for broken in ("replace", "fsync"):
        with monkeypatch.context() as patch:

            def fail(*args: Any) -> None:
                raise OSError("disk full")

            patch.setattr(os, broken, fail)
            with pytest.raises(OSError, match="disk full"):
                model.save(path)
        assert path.read_bytes() == old
        assert [file.name for file in tmp_path.iterdir()] == ["m.kurve"]


def test_missing_files_are_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        models.load_model(tmp_path / "no.kurve")


HOSTILE: dict[str, Any] = {
    "more layers than weights": lambda info, t: t.pop(next(iter(t))),
    "another class": lambda info, t: info["model"]["layers"][0].update(
        class_name="os.system"
    ),
    "another loss": lambda info, t: info["compile"]["loss"].update(kind="pickle"),
    "no input shape": lambda info, t: info["model"].update(input_shape=None),
    "huge input shape": lambda info, t: info["model"].update(input_shape=[10**15]),
    "step is no number": lambda info, t: info.update(step="later"),
    "step is a fraction": lambda info, t: info.update(step=1.5),
    "step is negative": lambda info, t: info.update(step=-1),
    "seed is huge": lambda info, t: info.update(seed=2**64),
    "layers are no list": lambda info, t: info["model"].update(layers=3),
    "config is a list": lambda info, t: info["model"]["layers"][0].update(config=[1]),
    "model is a list": lambda info, t: info.update(model=[1, 2]),
    "compile is a list": lambda info, t: info.update(compile=[1, 2]),
    "negative rate": lambda info, t: info["compile"]["optimizer"]["config"].update(
        learning_rate=-1.0
    ),
    "slots of another model": lambda info, t: t.update(
        {"optimizer/slots": np.zeros((2, 5), np.float32)}
    ),
    "NaN weights": lambda info, t: t.update(
        {name: t[name] * np.nan for name in list(t)[:1]}
    ),
}


@pytest.mark.parametrize("change", HOSTILE)
def test_files_that_contradict_themselves(tmp_path: Path, change: str) -> None:
    """Well-formed files whose parts do not fit: one kind of error, whatever it is."""
    path = tmp_path / "m.kurve"
    model = Sequential([Input((3,)), Dense(2), Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.save(path)
    info, tensors = read(path)
    HOSTILE[change](info, tensors)
    write(os.fspath(path), info, tensors)
    with pytest.raises(ModelFileError, match=r"^\[load"):
        models.load_model(path)


def small_file(path: Path) -> bytes:
    kurve.utils.set_random_seed(1)
    model = Sequential([Input((1,)), Dense(1, "tanh", name="a")], name="m")
    model.compile("adam", "mse", metrics=["mae"])
    model.fit([1.0, 2.0], [1.0, 2.0], verbose=0)
    model.save(path)
    return path.read_bytes()


def load_bytes(folder: Path, raw: bytes) -> Sequential:
    """Load a new file each time: a file system may flush one that is overwritten."""
    path = folder / "other.kurve"
    path.write_bytes(raw)
    try:
        return models.load_model(path)
    finally:
        path.unlink()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    raw = small_file(tmp_path / "m.kurve")
    for length in range(len(raw)):
        with pytest.raises(ModelFileError):
            load_bytes(tmp_path, raw[:length])
    with pytest.raises(ModelFileError, match="after the last tensor"):
        load_bytes(tmp_path, raw + b"\0")


def test_what_safetensors_wrote_itself_is_refused(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"w": np.zeros(3, np.float32)}, tmp_path / "m.kurve")
    with pytest.raises(ModelFileError, match="Kurve did not write this file") as caught:
        models.load_model(tmp_path / "m.kurve")
    assert caught.value.field == "__metadata__"


def test_history_comes_back(tmp_path: Path) -> None:
    """But for columns of a callback that are not numbers."""
    model = full_model()
    history = model.fit(X, Y, validation_split=0.25, epochs=3, verbose=0)
    history.history["note"] = ["a", "b", "c"]  # type: ignore[list-item]
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve").history
    assert again is not None
    del history.history["note"]
    assert again.history == history.history
    assert list(again.history) == list(history.history)
    assert again.epoch == [0, 1, 2]


def test_the_engine_comes_back(tmp_path: Path) -> None:
    model = full_model()
    assert model.optimizer is not None
    model.compile(model.optimizer, "mse", engine="reference")
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve")
    assert again._network.chosen_engine() is model._network.chosen_engine()
    assert again._network.chosen_engine().name == "reference"


@pytest.mark.parametrize(
    ("info", "tensors", "error", "text"),
    [
        ({"x": np.inf}, {}, ValueError, "configuration cannot be written"),
        ({"x": {1, 2}}, {}, TypeError, "must consist of numbers, strings"),
        ({"x": [[[]]] * 200_000}, {}, ValueError, "configuration cannot be written"),
        ({"x": "\ud800"}, {}, ValueError, "surrogate"),
        ({}, {"a": np.zeros(2, np.float16)}, TypeError, "float32, float64, int64 or u"),
        ({}, {"a" * 513: np.zeros(2)}, ValueError, "at most 512 characters"),
        ({}, {"\ud800": np.zeros(2)}, ValueError, "names of at most"),
        ({}, {"a": np.zeros((1,) * 9)}, ValueError, "at most 8 axes"),
        ({}, dict.fromkeys(map(str, range(10_001)), np.zeros(0)), ValueError, "10000"),
        ({"x": ["y" * 1000] * 17000}, {}, ValueError, "must fit into 16777216 bytes"),
    ],
)
def test_nothing_is_written_that_could_not_be_read(
    info: Any, tensors: Any, error: type[Exception], text: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=rf"^\[save\] .*{text}"):
        write(tmp_path / "m.kurve", info, tensors)
    assert not list(tmp_path.iterdir())


def test_long_names_of_many_columns(tmp_path: Path) -> None:
    """Each character of Chinese takes seven bytes of the header."""
    names = ["\u95ee\u9898" * 30 + str(i) for i in range(9000)]
    info = {"kind": "weights", "names": names}
    write(tmp_path / "m.kurve", info, {})
    assert (tmp_path / "m.kurve").stat().st_size > 2 << 20
    assert read(tmp_path / "m.kurve") == (info, {})


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = full_model()
    model.get_layer("last").weights[0].value[0] = np.nan
    with pytest.raises(ValueError, match=r"^\[save\] weights must be finite.*last/ker"):
        model.save(tmp_path / "m.kurve")
    assert not list(tmp_path.iterdir())


def test_verify(tmp_path: Path) -> None:
    full_model().save(tmp_path / "m.kurve")
    kurve.saving.verify(tmp_path / "m.kurve")
    raw = bytearray((tmp_path / "m.kurve").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "m.kurve").write_bytes(raw)
    with pytest.raises(ModelFileError, match="its SHA-256 does not match"):
        kurve.saving.verify(tmp_path / "m.kurve")
