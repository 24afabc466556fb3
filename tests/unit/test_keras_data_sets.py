"""Keras's data sets: found, read without executing anything, as Keras gives them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import datasets
from kurve.datasets.pickles import read

NUMBERS = np.random.default_rng(0)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's folder on a machine without any set."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("KURVE_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    folder = tmp_path / "keras" / "datasets"
    folder.mkdir(parents=True)
    return folder


def ragged(count: int, most: int = 40) -> np.ndarray:
    rows = np.empty(count, object)
    rows[:] = [
        NUMBERS.integers(1, most, NUMBERS.integers(2, 9)).tolist() for _ in range(count)
    ]
    return rows


# ------------------------------------------------------------ pickles


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_data(protocol: int) -> None:
    value = {
        b"data": np.arange(12, dtype=np.uint8).reshape(3, 4),
        b"fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        b"labels": [*range(3000), 2**31 - 1, -5],
        b"rows": ragged(5),
        "text": "word",
    }
    found = read(pickle.dumps(value, protocol=protocol))
    assert list(found) == list(value)
    for key in (b"data", b"fortran"):
        np.testing.assert_array_equal(found[key], value[key])
        assert found[key].dtype == value[key].dtype
    assert found[b"labels"] == value[b"labels"]
    assert found[b"rows"].tolist() == value[b"rows"].tolist()
    assert found["text"] == "word"


def test_pickles_of_python_2() -> None:
    """As those of CIFAR: texts of bytes, protocol 2."""
    text = (
        b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x06K\x09eU\x04dataq\x04"
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06"
        b"K\x00\x85U\x01b\x87Rq\x07(K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x08"
        b"U\x02u1K\x00K\x01\x87Rq\x09(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x02\x03\x04tbu."
    )
    found = read(text)
    assert found[b"labels"] == [6, 9]
    np.testing.assert_array_equal(found[b"data"], [[1, 2], [3, 4]])


class Evil:
    def __init__(self, call: Any, *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> Any:
        return self.call, self.args


HOSTILE = {
    "a call": pickle.dumps(Evil(os.system, "touch pwned"), 2),
    "a call, by two texts": pickle.dumps(Evil(os.system, "touch pwned"), 4),
    "eval in an array": pickle.dumps([Evil(eval, "open('pwned', 'w')")], 3),
    "an instance": b"(S'touch pwned'\nios\nsystem\n.",
    "a name of numpy's": b"\x80\x02cnumpy\nload\nX\x05\x00\x00\x00pwned\x85R.",
    "a name inside of numpy": b"\x80\x04\x8c\x05numpy\x8c\x0bf2py.system\x93.",
    "bytes from an array": pickle.dumps(np.zeros(3), 2)[:-30] + b".",
    "a persistent object": b"\x80\x02U\x05pwnedQ.",
    "an extension": b"\x80\x02\x82\x01.",
    "a far memory": b"\x80\x02]r\xff\xff\xff\x7fj\xff\xff\xff\x7f0.",
    "nothing to get": b"\x80\x02h\x05.",
    "a very long text": b"\x80\x02X\xff\xff\xff\x7fab.",
    "a large array": pickle.dumps(np.zeros(3), 2).replace(
        b"K\x03\x85", b"M\xff\xff\x85"
    ),
    "objects as bytes": pickle.dumps(np.zeros(1), 2).replace(b"f8", b"O8"),
    "dictionaries without end": b"\x80\x02}q\x01U\x01ah\x01s.",
    "an empty stack": b"\x80\x02.",
    "no mark": b"\x80\x02e.",
    "no end": pickle.dumps([1, 2, 3], 2)[:-1],
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_do_nothing(name: str, home: Path) -> None:
    with pytest.raises(ValueError):
        read(HOSTILE[name])
    assert not list(Path().iterdir())


def test_damaged_pickles() -> None:
    """Every byte of a good one changed: read, or refused; nothing else happens."""
    good = pickle.dumps({b"data": np.arange(4, dtype=np.uint8), b"labels": [1, 2]}, 2)
    for i in range(len(good)):
        for change in (0x01, 0x80, 0xFF):
            bad = bytearray(good)
            bad[i] ^= change
            with contextlib.suppress(ValueError):
                read(bytes(bad))


# ------------------------------------------------------------ houses


@pytest.mark.parametrize(("name", "columns"), [("boston_housing", 13)] * 1)
def test_houses(home: Path, name: str, columns: int) -> None:
    x, y = NUMBERS.normal(size=(20, columns)), NUMBERS.normal(size=20)
    np.savez(home / f"{name}.npz", x=x, y=y)
    (a, b), (c, d) = datasets.boston_housing.load_data()
    assert a.shape == (16, columns) and c.shape == (4, columns)
    order = np.arange(20)
    np.random.RandomState(113).shuffle(order)
    np.testing.assert_array_equal(np.concatenate([a, c]), x[order])
    np.testing.assert_array_equal(np.concatenate([b, d]), y[order])
    (a, _), (c, _) = datasets.boston_housing.load_data(test_split=0.5, seed=1)
    assert len(a) == len(c) == 10


def test_versions_of_california_housing(home: Path) -> None:
    x, y = NUMBERS.normal(size=(700, 8)), NUMBERS.normal(size=700)
    np.savez(home / "california_housing.npz", x=x, y=y)
    for version, count in (("small", 600), ("large", 700)):
        (a, _), (c, _) = datasets.california_housing.load_data(version)
        assert len(a) + len(c) == count
    with pytest.raises(ValueError, match="unknown version"):
        datasets.california_housing.load_data("huge")


@pytest.mark.parametrize("share", [-0.1, 1.0, "0.2", True])
def test_shares(home: Path, share: Any) -> None:
    with pytest.raises(ValueError, match=r"\[boston_housing\] test_split must be"):
        datasets.boston_housing.load_data(test_split=share)


# ------------------------------------------------------------ texts


def save_texts(path: Path, **arrays: np.ndarray) -> None:
    np.savez(path, allow_pickle=True, **arrays)


def test_imdb(home: Path) -> None:
    x, x_test = ragged(12), ragged(8)
    y, y_test = np.arange(12) % 2, np.arange(8) % 2
    save_texts(home / "imdb.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    (a, b), (c, d) = datasets.imdb.load_data()
    order = np.arange(12)
    np.random.RandomState(113).shuffle(order)
    assert a.dtype == object and c.shape == (8,)
    assert a[0] == [1] + [w + 3 for w in x[order[0]]] or max(max(r) for r in a) >= 42
    np.testing.assert_array_equal(b, y[order])
    assert sorted(d) == sorted(y_test)
    (a, _), _ = datasets.imdb.load_data(num_words=10, skip_top=2)
    assert all(w == 2 or 2 <= w < 10 for row in a for w in row)
    (a, _), _ = datasets.imdb.load_data(num_words=10, oov_char=None, start_char=None)
    assert all(3 < w < 10 for row in a for w in row)
    (a, b), _ = datasets.imdb.load_data(maxlen=6)
    assert all(len(row) < 6 for row in a) and len(a) == len(b)
    with pytest.raises(ValueError, match=r"\[imdb\] maxlen leaves no text"):
        datasets.imdb.load_data(maxlen=1)


def test_reuters(home: Path) -> None:
    x, y = ragged(20), np.arange(20) % 46
    save_texts(home / "reuters.npz", x=x, y=y)
    (a, b), (c, d) = datasets.reuters.load_data(num_words=30, test_split=0.25)
    assert len(a) == len(b) == 15 and len(c) == len(d) == 5
    assert all(row[0] in (1, 2) for row in a)
    names = datasets.reuters.get_label_names()
    assert len(names) == 46 and names[3] == "earn"


def test_word_index(home: Path) -> None:
    (home / "imdb_word_index.json").write_text(json.dumps({"the": 1, "and": 2}))
    assert datasets.imdb.get_word_index() == {"the": 1, "and": 2}
    (home / "reuters_word_index.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="does not give each word a number"):
        datasets.reuters.get_word_index()


def test_texts_that_are_none(home: Path) -> None:
    rows = np.empty(2, object)
    rows[:] = [[1, 2], ["touch"]]
    save_texts(home / "reuters.npz", x=rows, y=np.zeros(2, int))
    with pytest.raises(ValueError, match="its texts are not lists of numbers"):
        datasets.reuters.load_data()
    evil = np.empty(1, object)
    evil[0] = Evil(os.system, "touch pwned")
    save_texts(home / "reuters.npz", x=evil, y=np.zeros(1, int))
    with pytest.raises(ValueError, match=r"the name \w+.system, which no data need"):
        datasets.reuters.load_data()
    assert not Path("pwned").exists()


# ------------------------------------------------------------ pictures


def cifar(count: int, **labels: list[int]) -> bytes:
    data = NUMBERS.integers(0, 256, (count, 3072)).astype(np.uint8)
    named = {key.encode(): value for key, value in labels.items()}
    return pickle.dumps({b"data": data, **named}, protocol=2)


def files_of_cifar10() -> dict[str, bytes]:
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    return {name: cifar(4, labels=[0, 1, 2, 9]) for name in names}


def packed(path: Path, folder: str, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("place", ["keras 3", "keras 2", "archive", "path"])
def test_cifar10(home: Path, place: str) -> None:
    files, path = files_of_cifar10(), None
    folder = home / "cifar-10-batches-py"
    if place in ("archive", "path"):
        target = home if place == "archive" else Path()
        packed(target / "cifar-10-python.tar.gz", "cifar-10-batches-py", files)
        path = None if place == "archive" else "cifar-10-python.tar.gz"
    else:
        if place == "keras 3":
            folder = home / "cifar-10-batches-py-target" / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    before = sorted(home.rglob("*"))
    (x, y), (x_test, y_test) = datasets.cifar10.load_data(path)
    assert sorted(home.rglob("*")) == before  # nothing is unpacked
    assert x.shape == (20, 32, 32, 3) and x_test.shape == (4, 32, 32, 3)
    assert x.dtype == y.dtype == y_test.dtype == np.uint8
    assert y.shape == (20, 1) and y_test.ravel().tolist() == [0, 1, 2, 9]
    given = pickle.loads(files["test_batch"])[b"data"]
    np.testing.assert_array_equal(x_test[1, :, :, 2], given[1].reshape(3, 32, 32)[2])


def test_cifar100(home: Path) -> None:
    labels = {"fine_labels": [5, 99], "coarse_labels": [1, 19]}
    files = {name: cifar(2, **labels) for name in ("train", "test")}
    packed(home / "cifar-100-python.tar.gz", "cifar-100-python", files)
    (_, y), _ = datasets.cifar100.load_data()
    (_, coarse), _ = datasets.cifar100.load_data("coarse")
    assert y.tolist() == [[5], [99]] and coarse.tolist() == [[1], [19]]
    with pytest.raises(ValueError, match="unknown label_mode"):
        datasets.cifar100.load_data("middle")


def test_damaged_archives(home: Path) -> None:
    path = home / "cifar-10-python.tar.gz"
    packed(path, "x", {"data_batch_1": b"\x80\x02cos\nsystem\n."})
    with pytest.raises(ValueError, match=r"the name os.system, which no data need"):
        datasets.cifar10.load_data()
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="does not hold this data set"):
        datasets.cifar10.load_data()


# ------------------------------------------------------------ where they lie


@pytest.mark.parametrize(
    ("load", "origin"),
    [
        (datasets.boston_housing.load_data, "tf-keras-datasets/boston_housing.npz"),
        (datasets.california_housing.load_data, "california_housing.npz"),
        (datasets.imdb.load_data, "tf-keras-datasets/imdb.npz"),
        (datasets.imdb.get_word_index, "imdb_word_index.json"),
        (datasets.reuters.load_data, "tf-keras-datasets/reuters.npz"),
        (datasets.cifar10.load_data, "kriz/cifar-10-python.tar.gz"),
        (datasets.cifar100.load_data, "kriz/cifar-100-python.tar.gz"),
    ],
)
def test_missing_files_say_where_to_get_them(
    home: Path, load: Any, origin: str
) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"nothing is downloaded.* Try to put"
    ) as e:
        load()
    assert origin in str(e.value) and str(home) in str(e.value)


def test_paths(home: Path) -> None:
    x, y = NUMBERS.normal(size=(5, 13)), np.zeros(5)
    np.savez("mine.npz", x=x, y=y)
    assert len(datasets.boston_housing.load_data("mine.npz")[0][0]) == 4
    assert len(datasets.boston_housing.load_data(Path("mine.npz"))[0][0]) == 4
    with pytest.raises(FileNotFoundError):
        datasets.boston_housing.load_data("other/mine.npz")
    with pytest.raises(TypeError, match="path must be a string"):
        datasets.boston_housing.load_data(3)  # type: ignore[arg-type]
    with zipfile.ZipFile("bad.npz", "w") as file:
        file.writestr("x.npy", b"nothing")
    with pytest.raises(ValueError, match="does not hold this data set"):
        datasets.boston_housing.load_data("bad.npz")


def test_shapes_that_files_lie_about(home: Path) -> None:
    """An array as large as a header says would not fit in memory."""
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**13, 13)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile("large.npz", "w") as file:
        file.writestr("x.npy", buffer.getvalue())
    with pytest.raises(ValueError, match="not as long as its shape"):
        datasets.boston_housing.load_data("large.npz")


def test_keras_names_of_files_of_images(home: Path) -> None:
    x, y = np.zeros((3, 4, 4), np.uint8), np.zeros(3, np.uint8)
    np.savez(home / "mnist.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert datasets.mnist.load_data("mnist.npz")[0][0].shape == (3, 4, 4)
    assert datasets.mnist.load_data(path="mnist.npz")[0][0].shape == (3, 4, 4)
