"""Sets of images: found, read, and refused when corrupt."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from kurve import datasets

X = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
Y = np.array([3, 1, 4, 1, 5], np.uint8)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any set; the current folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("KURVE_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(datasets.fashion_mnist, "DEBIAN", tmp_path / "debian")
    return here


def write_npz(path: Path, **changed: np.ndarray) -> Path:
    arrays = {"x_train": X, "y_train": Y, "x_test": X[:2], "y_test": Y[:2]}
    np.savez(path, **{**arrays, **changed})
    return path


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_idx(folder: Path) -> Path:
    folder.mkdir()
    for name, array in zip(datasets.fashion_mnist.FILES, [X, Y, X, Y], strict=True):
        (folder / name).write_bytes(gzip.compress(idx(array)))
    return folder


def check(images: datasets.Images, tests: int) -> None:
    (x, y), (x_test, y_test) = images
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    assert x.dtype == y.dtype == x_test.dtype == y_test.dtype == np.uint8
    assert len(x_test) == len(y_test) == tests


@pytest.mark.parametrize("place", ["path", "here", "KURVE_DATA", "shared", "keras"])
def test_mnist_is_found(
    empty: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = {
        "path": empty / "x",
        "here": empty,
        "KURVE_DATA": empty / "data",
        "shared": empty.parent / "shared" / "data",
        "keras": empty.parent / "keras" / "datasets",
    }[place]
    folder.mkdir(parents=True, exist_ok=True)
    file = write_npz(folder / "mnist.npz")
    if place == "KURVE_DATA":
        monkeypatch.setenv("KURVE_DATA", str(folder))
    path = file if place == "path" else None
    check(datasets.mnist.load_data(path), 2)
    assert datasets.load_images(path)[0] == "MNIST"


def test_fashion_mnist_is_found(empty: Path) -> None:
    folder = write_idx(empty.parent / "debian")
    check(datasets.fashion_mnist.load_data(), 5)
    check(datasets.fashion_mnist.load_data(folder), 5)
    assert datasets.load_images()[0] == "Fashion-MNIST"
    assert datasets.load_images(folder)[0] == "Fashion-MNIST"


def test_digits_have_the_form_of_mnist(empty: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    name, ((x, y), (x_test, y_test)) = datasets.load_images()
    assert name == "scikit-learn's digits"
    assert x.shape == (1347, 28, 28) and x_test.shape == (450, 28, 28)
    assert x.dtype == np.uint8 and x.max() == 255
    assert set(y.tolist()) == set(y_test.tolist()) == set(range(10))


def test_says_where_it_has_looked(empty: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^\[mnist\] no file .*keras"):
        datasets.mnist.load_data()
    with pytest.raises(FileNotFoundError, match=r"path='gone.npz'.*Try load_data"):
        datasets.load_images("gone.npz")
    with pytest.raises(FileNotFoundError, match=r"^\[fashion_mnist\] no file train.*"):
        datasets.load_images(empty)
    with pytest.raises(TypeError, match=r"^\[mnist\] path must be a str.*: 3\. Try"):
        datasets.mnist.load_data(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        {"x_train": X.astype(float)},
        {"x_train": X[0]},
        {"y_train": Y[:3]},
        {"y_test": np.array([{}, {}], dtype=object)},
        {"x_train": X[:0], "y_train": Y[:0]},
        {"x_test": X[:2, 1:]},
        {"y_train": Y + 255.0},
        {"y_train": Y.astype(int) + 255},
        {"y_train": Y.astype(int) - 2},
        {"y_test": np.array(["cat", "dog"])},
    ],
    ids=[
        "not uint8",
        "one image",
        "too few labels",
        "objects",
        "no images",
        "other sizes",
        "labels between",
        "labels above 255",
        "labels below 0",
        "names",
    ],
)
def test_refuses_other_arrays(empty: Path, changed: dict[str, np.ndarray]) -> None:
    file = write_npz(empty / "mnist.npz", **changed)
    with pytest.raises(ValueError, match=r"^\[mnist\] .*Try another copy"):
        datasets.mnist.load_data(file)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"no gzip",
        gzip.compress(b"\0\0\x0d\x01" + bytes(8)),  # floats
        gzip.compress(idx(X)[:-1]),
        gzip.compress(idx(X) + b"1"),
        gzip.compress(idx(X))[:-9],
        gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12),  # says 2^96 bytes
    ],
    ids=["empty", "text", "floats", "short", "long", "cut", "huge"],
)
def test_refuses_damaged_files(empty: Path, damaged: bytes) -> None:
    folder = write_idx(empty / "data")
    (folder / datasets.fashion_mnist.FILES[0]).write_bytes(damaged)
    with pytest.raises(ValueError, match=r"^\[fashion_mnist\] .*Try another copy"):
        datasets.fashion_mnist.load_data(folder)
    npz = empty / "mnist.npz"
    npz.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"^\[mnist\] .*Try another copy"):
        datasets.mnist.load_data(npz)
