"""Texts, pictures and data sets as in Keras: the same files, texts and random numbers
into both."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.legacy.preprocessing import image as keras_image
from keras.src.legacy.preprocessing import sequence as keras_sequence
from keras.src.legacy.preprocessing import text as keras_text

import kurve
from kurve.preprocessing import image, sequence, text

NUMBERS = np.random.default_rng(0)
WORDS = [
    "to",
    "be",
    "or",
    "not",
    "that",
    "is",
    "the",
    "question",
    "whether",
    "it",
    "nobler",
    "in",
    "mind",
    "suffer",
]
TEXTS = [
    " ".join(NUMBERS.choice(WORDS, NUMBERS.integers(1, 12))) + "!" for _ in range(30)
]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"num_words": 8},
        {"num_words": 8, "oov_token": "<oov>"},
        {"char_level": True, "lower": False},
        {"filters": "!", "split": "o"},
    ],
    ids=str,
)
def test_tokenizer(given: dict[str, Any]) -> None:
    ours, theirs = text.Tokenizer(**given), keras_text.Tokenizer(**given)
    for one in (ours, theirs):
        one.fit_on_texts(TEXTS[:20])
    assert ours.word_index == theirs.word_index
    assert dict(ours.word_docs) == dict(theirs.word_docs)
    assert dict(ours.index_docs) == dict(theirs.index_docs)
    found = ours.texts_to_sequences(TEXTS)
    assert found == theirs.texts_to_sequences(TEXTS)
    assert ours.sequences_to_texts(found) == theirs.sequences_to_texts(found)
    for mode in ("binary", "count", "tfidf", "freq"):
        np.testing.assert_allclose(
            ours.texts_to_matrix(TEXTS, mode), theirs.texts_to_matrix(TEXTS, mode)
        )
    assert ours.to_json() == theirs.to_json()


@pytest.mark.parametrize("line", ["A, b - c\td\n", "", "aXbXXc", "É ü!x"])
def test_words_and_hashes(line: str) -> None:
    for given in ({}, {"lower": False}, {"filters": "X"}, {"split": "b"}):
        ours = text.text_to_word_sequence(line, **given)
        assert ours == keras_text.text_to_word_sequence(line, **given)
        ours = text.hashing_trick(line, 30, "md5", **given)
        assert ours == keras_text.hashing_trick(line, 30, "md5", **given)
        assert text.one_hot(line, 30, **given) == keras_text.one_hot(line, 30, **given)


CHANGES = {
    "nothing": {},
    "turned": {"rotation_range": 40},
    "moved": {"width_shift_range": 0.3, "height_shift_range": 0.2},
    "moved by pixels": {"width_shift_range": 3, "height_shift_range": [-2, 0, 2]},
    "sheared": {"shear_range": 20},
    "zoomed": {"zoom_range": [0.5, 1.5]},
    "all": {
        "rotation_range": 40,
        "width_shift_range": 0.3,
        "shear_range": 9,
        "zoom_range": 0.3,
        "horizontal_flip": True,
        "vertical_flip": True,
        "channel_shift_range": 30.0,
        "brightness_range": (0.3, 1.4),
        "rescale": 1 / 255,
    },
    "each by itself": {"samplewise_std_normalization": True, "samplewise_center": True},
    "of all": {"featurewise_center": True, "featurewise_std_normalization": True},
    "whitened": {"zca_whitening": True, "zca_epsilon": 0.1},
}


@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect", "wrap"])
@pytest.mark.parametrize("name", CHANGES)
def test_changed_pictures(name: str, fill: str) -> None:
    x = NUMBERS.uniform(0, 255, (8, 7, 6, 3)).astype("float32")
    y = np.arange(8)
    given = {**CHANGES[name], "fill_mode": fill, "cval": 9.0}
    ours = image.ImageDataGenerator(**given)
    theirs = keras_image.ImageDataGenerator(**given)
    if "featurewise_center" in given or "zca_whitening" in given:
        ours.fit(x, seed=1)
        theirs.fit(x, seed=1)
    one = ours.flow(x, y, batch_size=5, seed=3)
    two = theirs.flow(x, y, batch_size=5, seed=3)
    assert len(one) == len(two)
    for i in range(2):
        (a, b), (c, d) = one[i], two[i]
        np.testing.assert_array_equal(b, d)
        np.testing.assert_allclose(a, c, rtol=1e-3, atol=2e-3 * np.abs(c).max())
    kept = ours.get_random_transform((7, 6, 3), seed=4)
    assert kept == theirs.get_random_transform((7, 6, 3), seed=4)


def test_pictures_in_files(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture = NUMBERS.normal(size=(9, 14, 3))
    kurve.utils.save_img(path, picture)
    for mode in ("rgb", "rgba", "grayscale"):
        for kind in ("nearest", "bilinear", "lanczos", "box"):
            for keep in (False, True):
                given = (path, mode, (5, 6), kind, keep)
                np.testing.assert_array_equal(
                    kurve.utils.img_to_array(kurve.utils.load_img(*given)),
                    keras.utils.img_to_array(keras.utils.load_img(*given)),
                )
    for scale in (True, False):
        values = picture * 60 + 100 if not scale else picture
        np.testing.assert_array_equal(
            np.asarray(kurve.utils.array_to_img(values, scale=scale)),
            np.asarray(keras.utils.array_to_img(values, scale=scale)),
        )


@pytest.mark.parametrize("size", [(4, 4), (3, 8), (12, 5)])
def test_smart_resize(size: tuple[int, int]) -> None:
    x = NUMBERS.uniform(0, 255, (9, 14, 3)).astype("float32")
    theirs = keras.preprocessing.image.smart_resize(x, size)
    ours = image.smart_resize(x, size)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_older_windows() -> None:
    series = NUMBERS.normal(size=(50, 2))
    for given in (
        {"length": 4},
        {"length": 6, "sampling_rate": 2, "stride": 3, "reverse": True},
        {"length": 5, "start_index": 7, "end_index": 41, "batch_size": 4},
    ):
        ours = sequence.TimeseriesGenerator(series, series[:, 0], **given)
        theirs = keras_sequence.TimeseriesGenerator(series, series[:, 0], **given)
        assert len(ours) == len(theirs)
        for i in range(len(ours)):
            for a, b in zip(ours[i], theirs[i], strict=True):
                np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------ data sets


def ragged(count: int) -> np.ndarray:
    rows = np.empty(count, object)
    rows[:] = [
        NUMBERS.integers(1, 90, NUMBERS.integers(2, 9)).tolist() for _ in range(count)
    ]
    return rows


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's folder; Keras takes from it what is there, whatever its hash."""
    folder = tmp_path / "datasets"
    folder.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def found(fname: str, *_: Any, **__: Any) -> str:
        return str(folder / fname)

    for name in (
        "boston_housing",
        "california_housing",
        "cifar10",
        "cifar100",
        "imdb",
        "reuters",
    ):
        module = __import__(f"keras.src.datasets.{name}", fromlist=["get_file"])
        monkeypatch.setattr(module, "get_file", found)
    return folder


def same(name: str, **given: Any) -> None:
    ours = getattr(kurve.datasets, name).load_data(**given)
    theirs = getattr(keras.datasets, name).load_data(**given)
    for one, two in zip(ours, theirs, strict=True):
        for a, b in zip(one, two, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            assert a.tolist() == b.tolist()


def test_houses(home: Path) -> None:
    for name, columns in (("boston_housing", 13), ("california_housing", 8)):
        x, y = NUMBERS.normal(size=(700, columns)), NUMBERS.normal(size=700)
        np.savez(home / f"{name}.npz", x=x, y=y)
        same(name)
        same(name, test_split=0.37, seed=5)
    same("california_housing", version="small")


LIMITS = [
    {},
    {"num_words": 40},
    {"num_words": 40, "skip_top": 5},
    {"oov_char": None, "num_words": 30},
    {"start_char": None},
    {"start_char": None, "index_from": 0},
    {"maxlen": 7, "seed": 3},
]


@pytest.mark.parametrize("given", LIMITS, ids=str)
def test_texts(home: Path, given: dict[str, Any]) -> None:
    x, y = ragged(60), NUMBERS.integers(0, 46, 60)
    np.savez(home / "reuters.npz", x=x, y=y)
    same("reuters", **given)
    same("reuters", test_split=0.5, **given)
    np.savez(home / "imdb.npz", x_train=x, y_train=y, x_test=ragged(30), y_test=y[:30])
    same("imdb", **given)
    assert (
        kurve.datasets.reuters.get_label_names()
        == keras.datasets.reuters.get_label_names()
    )


def test_pictures(home: Path) -> None:
    def write(folder: Path, name: str, count: int, **labels: list[int]) -> None:
        data = NUMBERS.integers(0, 256, (count, 3072)).astype(np.uint8)
        named = {key.encode(): value for key, value in labels.items()}
        folder.mkdir(parents=True, exist_ok=True)
        whole = pickle.dumps({b"data": data, **named}, protocol=3)
        (folder / name).write_bytes(whole)

    folder = home / "cifar-100-python-target" / "cifar-100-python"
    for name in ("train", "test"):
        write(folder, name, 3, fine_labels=[7, 8, 99], coarse_labels=[1, 2, 19])
    same("cifar100")
    same("cifar100", label_mode="coarse")
