"""What .keras files hold besides configuration and weights: vocabularies, files of
custom layers, and `compile` and `build` in the words of a custom class."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers, models, ops
from kurve.saving import ModelFileError, deserialize_keras_object

pytest.importorskip("h5py")

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Change the members of a .keras file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)


WORDS = np.array([["the"], ["cat"], ["the"], ["dog"]])
LOOKUPS: dict[str, tuple[Callable[[], Any], np.ndarray, str]] = {
    "words": (lambda: layers.StringLookup(output_mode="one_hot"), WORDS, "string"),
    "numbers": (
        lambda: layers.IntegerLookup(output_mode="one_hot"),
        np.array([[7], [9], [7], [4]]),
        "int64",
    ),
    "texts": (
        lambda: layers.TextVectorization(output_mode="multi_hot"),
        np.array([["the cat"], ["the dog"], ["cat"], ["a"]]),
        "string",
    ),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_a_vocabulary_in_a_file_of_its_own(name: str, tmp_path: Path) -> None:
    """Keras keeps there what a layer has learnt, and null in the configuration."""
    make, data, dtype = LOOKUPS[name]
    layer = make()
    layer.adapt(data)
    x = Input((1,), dtype=dtype)
    model = Model(x, layers.Dense(2)(layer(x)))
    path = tmp_path / "m.keras"
    model.save(path)
    folder = {"words": "string_lookup", "numbers": "integer_lookup"}.get(
        name, "text_vectorization"
    )

    def change(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        entry = config["config"]["layers"][1]["config"]
        words = layer.get_vocabulary()
        entry["vocabulary"], entry["vocabulary_size"] = None, len(words)
        members["config.json"] = json.dumps(config).encode()
        text = "\n".join(map(str, words)).encode()
        members[f"assets/layers/{folder}/vocabulary.txt"] = text

    rewritten(path, change)
    again = models.load_model(path)
    assert np.array_equal(
        again.predict(data, verbose=0), model.predict(data, verbose=0)
    )


@pytest.mark.parametrize(
    "member",
    [
        "assets/../out.txt",
        "assets/layers//x.txt",
        "assets/layers\\x.txt",
        "assets/layers/dense/unread.txt",
        "other/vocabulary.txt",
    ],
)
def test_other_members_are_refused(member: str, tmp_path: Path) -> None:
    model = Sequential([Input((4,)), layers.Dense(2)])
    path = tmp_path / "m.keras"
    model.save(path)
    rewritten(path, lambda members: members.update({member: b"text"}))
    with pytest.raises(ModelFileError, match="it has a member"):
        models.load_model(path)
    assert sorted(tmp_path.iterdir()) == [path]


class Spoken(layers.Dense):
    """Has a text of its own, in a file."""

    def __init__(self, units: int, text: str = "") -> None:
        super().__init__(units)
        self.text = text

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units}

    def save_assets(self, inner_path: str) -> None:
        folder = Path(inner_path, "notes")
        folder.mkdir()
        (folder / "text.txt").write_text(self.text)

    def load_assets(self, inner_path: str) -> None:
        self.text = Path(inner_path, "notes", "text.txt").read_text()


def test_files_of_custom_layers(tmp_path: Path) -> None:
    x = Input((4,))
    inner = Sequential([Input((3,)), Spoken(2, "inner")])
    model = Model(x, inner(Spoken(3, "outer")(x)))
    path = tmp_path / "m.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        assert "assets/layers/spoken/notes/text.txt" in archive.namelist()
    again = models.load_model(path, custom_objects={"Spoken": Spoken})
    assert again.layers[1].text == "outer"
    assert again.layers[2].layers[0].text == "inner"
    assert np.array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


class Started(layers.Layer):
    """Is built with an argument that only its own code knows."""

    def build(self, input_shape: Any, start: str) -> None:
        self.start, self.shape = start, input_shape
        self.w = self.add_weight(shape=(input_shape[-1], 2), initializer=start)

    def call(self, x: Any) -> Any:
        return ops.matmul(x, self.w)

    def get_build_config(self) -> dict[str, Any]:
        return {"start": self.start, "shape": self.shape}

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build(tuple(config["shape"]), config["start"])


@pytest.mark.parametrize("functional", [False, True])
def test_a_layer_that_is_built_in_its_own_way(functional: bool, tmp_path: Path) -> None:
    layer = Started()
    layer.build((None, 4), "ones")
    x = Input((4,))
    model = Model(x, layer(x)) if functional else Sequential([x, layer])
    layer.set_weights([np.arange(8.0).reshape(4, 2)])
    path = tmp_path / "m.keras"
    model.save(path)
    again = models.load_model(path, custom_objects={"Started": Started})
    assert again.layers[-1].start == "ones"
    assert np.array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def distance(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1) / 3


class Chooses(Model):
    """Its `compile` has other arguments than usual."""

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.dense = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def compile(self, optimizer: Any, measure: Any) -> None:  # type: ignore[override]
        super().compile(optimizer, loss=measure)
        self.measure = measure


class Remembers(Chooses):
    def get_compile_config(self) -> dict[str, Any]:
        return {"by": self.optimizer, "measure": self.measure}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        found = deserialize_keras_object(config)
        self.compile(found["by"], measure=found["measure"])


def test_compile_in_the_words_of_a_model(tmp_path: Path) -> None:
    model = Remembers()
    model.compile(kurve.optimizers.Adam(0.25), measure=distance)
    model.fit(X, X[:, :1], epochs=2, verbose=0)
    path = tmp_path / "m.keras"
    model.save(path)
    own = {"Remembers": Remembers, "distance": distance}
    again = models.load_model(path, custom_objects=own)
    assert again.measure is distance
    assert again.optimizer.learning_rate == 0.25 and again.iterations == 2
    for each in (model, again):
        each.fit(X, X[:, :1], epochs=2, verbose=0, shuffle=False)
    assert np.array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))


def test_a_compile_that_is_not_known_is_left_out(tmp_path: Path) -> None:
    model = Chooses()
    model.compile("sgd", measure="mse")
    model.fit(X, X[:, :1], verbose=0)
    path = tmp_path / "m.keras"
    model.save(path)
    with pytest.warns(UserWarning, match="is not compiled"):
        again = models.load_model(path, custom_objects={"Chooses": Chooses})
    assert again.optimizer is None
    assert np.array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_compile_from_the_configuration_of_another_model() -> None:
    model = Sequential([Input((4,)), layers.Dense(1)])
    model.compile(kurve.optimizers.SGD(0.5), "mae", metrics=["mse"])
    other = Sequential([Input((4,)), layers.Dense(1)])
    other.compile_from_config(model.get_compile_config())
    assert other.optimizer.learning_rate == 0.5
    other.set_weights(model.get_weights())
    y = X[:, :1]
    assert other.evaluate(X, y, verbose=0) == model.evaluate(X, y, verbose=0)
