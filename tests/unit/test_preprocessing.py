"""`kurve.preprocessing` and what of it is in `kurve.utils`: texts, files, pictures,
folders, windows, registered classes."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, utils
from kurve.core import registry
from kurve.preprocessing import sequence, text

NUMBERS = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    yield
    registry.REGISTERED.clear()


# ------------------------------------------------------------ texts

TEXTS = ["The cat sat on the mat.", "The dog -- ate my HOMEWORK!", ""]


def test_words() -> None:
    words = ["the", "dog", "ate", "my", "homework"]
    assert text.text_to_word_sequence(TEXTS[1]) == words
    assert text.text_to_word_sequence("A,b", filters="", lower=False) == ["A,b"]
    assert text.text_to_word_sequence("a,b;c", ";", split=",") == ["a", "b", "c"]
    with pytest.raises(TypeError, match="input_text must be a string"):
        text.text_to_word_sequence(["a"])  # type: ignore[arg-type]


def test_hashes() -> None:
    numbers = [15, 5, 8, 36, 15, 5]
    assert text.hashing_trick("to be or not to be", 50, "md5") == numbers
    assert max(text.one_hot(" ".join(map(str, range(200))), 7)) <= 6
    with pytest.raises(ValueError, match="n must be an integer of at least 2"):
        text.one_hot("a", 1)
    with pytest.raises(ValueError, match="unknown hash_function"):
        text.hashing_trick("a", 5, "md4")


def test_tokenizer() -> None:
    tokenizer = text.Tokenizer(num_words=4, oov_token="?")
    tokenizer.fit_on_texts(TEXTS)
    assert tokenizer.word_index["?"] == 1 and tokenizer.word_index["the"] == 2
    found = tokenizer.texts_to_sequences(["the cat sat down", "Unknown"])
    assert found == [[2, 3, 1, 1], [1]]
    assert tokenizer.sequences_to_texts(found) == ["the cat ? ?", "?"]
    matrix = tokenizer.texts_to_matrix(["the the cat"], "count")
    np.testing.assert_array_equal(matrix, [[0, 0, 2, 1]])
    with pytest.raises(ValueError, match="unknown mode"):
        tokenizer.texts_to_matrix(["a"], "both")
    same = text.tokenizer_from_json(tokenizer.to_json())
    assert same.get_config() == tokenizer.get_config()
    assert same.texts_to_sequences(TEXTS) == tokenizer.texts_to_sequences(TEXTS)
    with pytest.raises(ValueError, match="must be that of a Tokenizer"):
        text.tokenizer_from_json("{}")
    with pytest.raises(ValueError, match="the words must be known"):
        text.Tokenizer().texts_to_matrix(["a"])


# ------------------------------------------------------------ files


def put(name: str, data: bytes) -> Path:
    path = Path("keras/datasets", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_files_in_keras_folder() -> None:
    path = put("a.csv", b"1,2")
    assert Path(utils.get_file("a.csv", "https://x.org/b.csv")).samefile(path)
    assert Path(utils.get_file(origin="https://x.org/a.csv?raw=1")).samefile(path)
    assert utils.get_file(path) == os.fspath(path)
    md5 = hashlib.md5(b"1,2").hexdigest()
    for given in (md5, hashlib.sha256(b"1,2").hexdigest()):
        utils.get_file("a.csv", "https://x.org/b.csv", file_hash=given)
    with pytest.raises(ValueError, match="the file must have the md5"):
        utils.get_file("a.csv", "https://x.org/b.csv", file_hash="0" * 32)
    origin = f"file://{path.absolute()}"
    copy = utils.get_file("copy.csv", origin)
    assert Path(copy).read_bytes() == b"1,2"


def test_files_that_are_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="nothing is downloaded") as error:
        utils.get_file("b.csv", "https://x.org/b.csv")
    assert "Try getting it from https://x.org/b.csv" in str(error.value)
    assert not Path("keras").exists()
    with pytest.raises(ValueError, match="the file needs a name"):
        utils.get_file(origin="https://x.org/")


def tar(*members: tuple[str, bytes | None], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, link
            else:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data or b""))
    return buffer.getvalue()


def packed(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [tar, packed])
def test_archives(kind: Any) -> None:
    put("pets.tar.gz", kind(("pets/cats/1.txt", b"miau"), ("pets/2.txt", b"")))
    origin = "https://x.org/pets.tar.gz"
    folder = utils.get_file("pets.tar.gz", origin, extract=True)
    assert folder.endswith("keras/datasets/pets_extracted")
    assert Path(folder, "pets/cats/1.txt").read_bytes() == b"miau"
    assert utils.get_file("pets.tar.gz", origin, extract=True) == folder
    assert utils.get_file("pets", origin, extract=True).endswith("datasets/pets")


HOSTILE = {
    "above": tar(("../out.txt", b"x")),
    "above, inside": tar(("a/../../out.txt", b"x")),
    "absolute": tar(("/tmp/kurve-out.txt", b"x")),
    "link": tar(("a", None), ("a/out.txt", b"x"), link="../.."),
    "zip above": packed(("../out.txt", b"x")),
    "zip, other slashes": packed(("..\\out.txt", b"x")),
    "zip absolute": packed(("/tmp/kurve-out.txt", b"x")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_write_nothing(name: str) -> None:
    put("a.zip", HOSTILE[name])
    before = sorted(Path().rglob("*"))
    with pytest.raises(ValueError, match="files and folders inside its folder"):
        utils.get_file("a.zip", "https://x.org/a.zip", extract=True)
    assert sorted(Path().rglob("*")) == before
    assert not os.path.exists("/tmp/kurve-out.txt")


def test_damaged_archives() -> None:
    put("a.zip", tar(("a", b"1" * 5000))[:40])
    with pytest.raises(ValueError, match=r"damaged|must be an archive"):
        utils.get_file("a.zip", "https://x.org/a.zip", extract=True)
    put("b.zip", b"text")
    with pytest.raises(ValueError, match="must be an archive"):
        utils.get_file("b.zip", "https://x.org/b.zip", extract=True)


# ------------------------------------------------------------ pictures


@pytest.fixture
def pets() -> Path:
    pytest.importorskip("PIL")
    for name in ("cats", "dogs"):
        Path("pets", name).mkdir(parents=True)
        for i in range(4):
            picture = NUMBERS.integers(0, 256, (6 + i, 9, 3))
            utils.save_img(f"pets/{name}/{i}.png", picture, scale=False)
    Path("pets/notes.txt").write_text("no picture")
    return Path("pets")


def test_pictures(pets: Path) -> None:
    picture = NUMBERS.integers(0, 256, (5, 7, 3)).astype("float32")
    utils.save_img("a.png", picture, scale=False)
    found = utils.load_img("a.png")
    np.testing.assert_array_equal(utils.img_to_array(found), picture)
    assert utils.img_to_array(found, "channels_first").shape == (3, 5, 7)
    assert utils.load_img("a.png", "grayscale", (4, 3)).size == (3, 4)
    assert utils.load_img(Path("a.png"), "rgba").mode == "RGBA"
    assert utils.array_to_img(picture[:, :, :1]).mode == "L"
    with pytest.raises(FileNotFoundError):
        utils.load_img("none.png")
    Path("bad.png").write_bytes(b"\x89PNG no")
    with pytest.raises(ValueError, match="the file must hold a picture"):
        utils.load_img("bad.png")
    with pytest.raises(ValueError, match=r"Try x\[..., None\]"):
        utils.array_to_img(picture[:, :, 0])


def test_folders_of_pictures(pets: Path) -> None:
    def data(**given: Any) -> Any:
        return utils.image_dataset_from_directory(
            pets, image_size=(6, 9), verbose=False, **given
        )

    plain = data(shuffle=False, batch_size=3)
    assert plain.class_names == ["cats", "dogs"] and len(plain) == 3
    batches = list(plain)
    assert [len(x) for x, _ in batches] == [3, 3, 2]
    first = utils.img_to_array(utils.load_img(plain.file_paths[0]))
    np.testing.assert_array_equal(batches[0][0][0], first)
    assert np.concatenate([y for _, y in batches]).tolist() == [0] * 4 + [1] * 4
    rows = data(seed=1, batch_size=8)
    (x1, y1), (x2, y2) = next(iter(rows)), next(iter(rows))
    assert x1.dtype == np.float32 and sorted(y1) == sorted(y2)
    assert (x1 != x2).any()  # another order in each pass
    train, held = data(seed=1, validation_split=0.25, subset="both")
    assert len(train.file_paths) == 6 and len(held.file_paths) == 2
    assert not {*train.file_paths} & {*held.file_paths}
    same = data(seed=1, validation_split=0.25, subset="validation")
    assert same.file_paths == held.file_paths
    assert next(iter(data(label_mode="binary")))[1].shape == (8, 1)
    assert next(iter(data(label_mode="categorical")))[1].shape == (8, 2)
    assert next(iter(data(labels=None))).shape == (8, 6, 9, 3)
    assert next(iter(data(batch_size=None)))[0].shape == (6, 9, 3)
    names = data(class_names=["dogs", "cats"], shuffle=False)
    assert names.file_paths[0].startswith("pets/dogs")
    halves = rows.map(lambda x, y: (x / 2, y)).take(1).prefetch(2).cache()
    assert len(list(halves)) == 1 and len(list(plain.skip(2))) == 1
    for bad in (
        {"validation_split": 0.2},
        {"subset": "training"},
        {"validation_split": 0.2, "subset": "training"},
        {"class_names": ["birds"]},
        {"labels": [1, 2]},
        {"batch_size": 0},
        {"color_mode": "hsv"},
        {"interpolation": "best"},
    ):
        with pytest.raises(ValueError, match=r"^\["):
            list(data(**bad))
    with pytest.raises(FileNotFoundError):
        utils.image_dataset_from_directory("none")


def test_models_take_folders(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = utils.image_dataset_from_directory(pets, image_size=(4, 4), batch_size=4)
    assert capsys.readouterr().out == "Found 8 files belonging to 2 classes.\n"
    model = kurve.Sequential([layers.Flatten(), layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    history = model.fit(data, epochs=2, validation_data=data, verbose=0)
    assert len(history.history["val_loss"]) == 2
    assert model.predict(data, verbose=0).shape == (8, 1)


def test_folders_of_texts() -> None:
    for name, words in (("bad", "so dull"), ("good", "so funny")):
        Path("films", name).mkdir(parents=True)
        Path("films", name, "1.txt").write_text(words)
    data = utils.text_dataset_from_directory("films", max_length=4, shuffle=False)
    texts, y = next(iter(data))
    assert texts.tolist() == ["so d", "so f"] and y.tolist() == [0, 1]


def test_changed_pictures(pets: Path, tmp_path: Path) -> None:
    from kurve.preprocessing.image import ImageDataGenerator

    x = NUMBERS.uniform(0, 255, (10, 6, 6, 3)).astype("float32")
    y = np.arange(10)
    plain = ImageDataGenerator(rescale=0.5)
    batches = plain.flow(x, y, batch_size=4, shuffle=False)
    assert len(batches) == 3
    np.testing.assert_allclose(batches[0][0], x[:4] / 2, rtol=1e-6)
    np.testing.assert_array_equal(batches[2][1], y[8:])
    held = ImageDataGenerator(validation_split=0.2)
    assert held.flow(x, subset="validation").n == 2
    assert held.flow(x, subset="training").n == 8
    changing = ImageDataGenerator(
        rotation_range=30,
        zoom_range=0.2,
        width_shift_range=0.2,
        shear_range=5,
        horizontal_flip=True,
        vertical_flip=True,
        channel_shift_range=9.0,
        brightness_range=(0.5, 1.5),
    )
    one, two = (changing.flow(x, y, 10, seed=5)[0] for _ in range(2))
    np.testing.assert_array_equal(one[0], two[0])
    assert (one[0] != x[one[1]]).any()
    centered = ImageDataGenerator(featurewise_std_normalization=True)
    with pytest.warns(UserWarning, match="Try fit"):
        centered.flow(x)[0]
    centered.fit(x)
    batch = centered.flow(x, batch_size=10, shuffle=False)[0]
    np.testing.assert_allclose(batch.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(batch.std((0, 1, 2)), 1, atol=1e-4)
    files = plain.flow_from_directory(pets, (4, 5), batch_size=3, class_mode="sparse")
    assert files.class_indices == {"cats": 0, "dogs": 1} and files.samples == 8
    assert next(files)[0].shape == (3, 4, 5, 3)
    assert [len(next(files)[0]) for _ in range(4)] == [3, 2, 3, 3]  # without end
    model = kurve.Sequential([layers.Flatten(), layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    assert len(model.fit(files, epochs=2, verbose=0).history["loss"]) == 2
    for bad in ({"fill_mode": "best"}, {"zoom_range": (1, 2, 3)}):
        with pytest.raises(ValueError, match=r"^\[ImageDataGenerator\]"):
            ImageDataGenerator(**bad)  # type: ignore[arg-type]
    plain.flow(x, None, 5, save_to_dir=tmp_path, save_prefix="a", save_format="jpeg")[0]
    written = list(tmp_path.glob("a_*.jpeg"))
    assert {p.name.split("_")[1] for p in written} <= {*map(str, range(len(x)))}
    assert len(written) == min(5, len(x))


# ------------------------------------------------------------ pairs of words


def test_skipgrams() -> None:
    from kurve.preprocessing.sequence import make_sampling_table, skipgrams

    # Keras 2.15 gives these numbers.
    table = make_sampling_table(10)
    assert table[[0, 1, 4, 9]] == pytest.approx(
        [0.00315225, 0.00315225, 0.00912817, 0.0159558], rel=1e-5
    )
    pairs, labels = skipgrams([3, 0, 1, 2], 4, window_size=2, negative_samples=0.5)
    real = {tuple(p) for p, label in zip(pairs, labels, strict=True) if label}
    assert real == {(3, 1), (1, 3), (1, 2), (2, 1)}
    assert labels.count(0) == 2 and all(1 <= p[1] <= 3 for p in pairs)
    assert skipgrams([1, 2], 3, seed=1, categorical=True)[1].count([0, 1]) == 2
    with pytest.raises(ValueError, match="size must be"):
        make_sampling_table(0)


# ------------------------------------------------------------ windows


def test_windows() -> None:
    series = np.arange(20.0)

    def windows(**given: Any) -> Any:
        return utils.timeseries_dataset_from_array(series, **given)

    (x, y), *rest = windows(targets=series[4:], sequence_length=4, batch_size=32)
    assert x.shape == (16, 4) and not rest
    np.testing.assert_array_equal(x[3], [3, 4, 5, 6])
    np.testing.assert_array_equal(y, series[4:])
    for kind in ("tf", "grain"):
        again = windows(targets=series[4:], sequence_length=4, format=kind)
        np.testing.assert_array_equal(next(iter(again))[0], x)
    with pytest.raises(ValueError, match="format must be one of 'tf', 'grain'"):
        windows(targets=None, sequence_length=4, format="torch")
    given = {"sequence_stride": 5, "sampling_rate": 2, "start_index": 1}
    (x,) = windows(targets=None, sequence_length=3, **given)
    np.testing.assert_array_equal(x, [[1, 3, 5], [6, 8, 10], [11, 13, 15]])
    with pytest.raises(ValueError, match="sequence_length must be short enough"):
        windows(targets=None, sequence_length=30)
    made = sequence.TimeseriesGenerator(series, series, 3, batch_size=4, reverse=True)
    assert len(made) == 5
    np.testing.assert_array_equal(made[1][0][0], [6, 5, 4])
    np.testing.assert_array_equal(made[4][1], [19])


# ------------------------------------------------------------ others


def test_split_dataset() -> None:
    x, y = np.arange(10), np.arange(10) * 2
    left, right = utils.split_dataset((x, y), left_size=0.8)
    assert left[0].tolist() == [*range(8)] and right[1].tolist() == [16, 18]
    left, right = utils.split_dataset(x, right_size=3, shuffle=True, seed=1)
    assert sorted([*left, *right]) == x.tolist() and len(right) == 3
    for bad in ({}, {"left_size": 1.5}, {"left_size": 20}, {"left_size": "half"}):
        with pytest.raises(ValueError, match=r"\[split_dataset\] left_size and right"):
            utils.split_dataset(x, **bad)  # type: ignore[arg-type]


def test_progbar(capsys: pytest.CaptureFixture[str]) -> None:
    bar = utils.Progbar(4, stateful_metrics=["acc"])
    for step in range(4):
        bar.update(step + 1, [("loss", float(step)), ("acc", float(step))])
    out = capsys.readouterr().out
    assert "4/4" in out and "loss: 1.5000" in out and "acc: 3.0000" in out


def test_registered_classes() -> None:
    @utils.register_keras_serializable("mine")
    class Twice(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2.0 * x

    model = kurve.Sequential([kurve.Input((1,)), Twice()])
    assert utils.get_registered_name(Twice) == "mine>Twice"
    assert utils.get_registered_object("mine>Twice") is Twice
    model.save("m.kurve")
    assert kurve.models.load_model("m.kurve").predict([1.0], verbose=0) == 2.0
    utils.get_custom_objects().clear()
    plain = kurve.models.load_model("m.kurve")  # by what it computes
    assert type(plain.layers[0]) is not Twice
    assert plain.predict([1.0], verbose=0) == 2.0
    with kurve.saving.custom_object_scope({"Twice": Twice}):
        kurve.models.load_model("m.kurve")
    with pytest.raises(ValueError, match=r"a class needs get_config\(\)"):
        utils.register_keras_serializable()(dict)


def test_functions_by_name() -> None:
    utils.get_custom_objects().update(
        {"double": lambda x: 2.0 * x, "off": lambda a, b: abs(a - b)}
    )
    layer = layers.Dense(1, "double", kernel_initializer="ones", input_shape=(1,))
    model = kurve.Sequential([layer])
    model.compile("sgd", "off")
    assert model.evaluate([1.0], [5.0], verbose=0) == 3.0


@pytest.mark.parametrize("name", ["audio_dataset_from_directory", "bounding_boxes"])
def test_what_is_not_there(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"there is no {name}: .* Try "):
        getattr(utils, name)
