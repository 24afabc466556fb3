"""The reader of HDF5 compared with h5py; what it refuses."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from kurve.exchange.hdf5 import Reader
from kurve.exchange.hdf5_messages import HDF5Error


def written(write: Callable[[Any], None], **options: Any) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w", **options) as file:
        write(file)
    return memory.getvalue()


def assert_reads_as_h5py(raw: bytes) -> int:
    """Compare every array and text; the number of arrays."""
    reader, count = Reader(raw), 0

    def compare(name: str, thing: Any) -> None:
        nonlocal count
        if isinstance(thing, h5py.Dataset):
            array = reader.array(reader.dataset(reader.root, name), thing.shape)
            assert array.dtype == thing.dtype
            assert np.array_equal(array, thing[()])
            count += 1
            return
        group = reader.group(name)
        assert set(group.members) == set(thing)
        for key, value in thing.attrs.items():
            if isinstance(value, str):
                assert reader.text(group, key) == value
                count += 1

    with h5py.File(io.BytesIO(raw)) as file:
        file.visititems(compare)
    return count


@pytest.mark.parametrize("members", [1, 8, 33, 1000])
def test_groups_of_any_size(members: int) -> None:
    def write(file: Any) -> None:
        group = file.create_group("a/b")
        group.attrs["name"] = "näme"
        for i in range(members):
            group[str(i)] = np.arange(i % 5, dtype=np.float32)

    assert assert_reads_as_h5py(written(write)) == members + 1


@pytest.mark.parametrize(
    "dtype", ["<f2", "<f4", ">f4", "<f8", "i1", "u2", "<i4", ">i8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (5, 3), (2, 3, 4, 2)])
def test_types_and_shapes(dtype: str, shape: tuple[int, ...]) -> None:
    values = (np.random.default_rng(3).normal(size=shape) * 50).astype(dtype)
    assert assert_reads_as_h5py(written(lambda f: f.update({"x": values}))) == 1


@pytest.mark.parametrize("chunks", [(1, 1), (4, 5), (20, 30), True])
@pytest.mark.parametrize("filters", [{}, {"compression": "gzip"}, {"shuffle": True}])
@pytest.mark.parametrize("both", [False, True])
def test_chunks(chunks: Any, filters: dict[str, Any], both: bool) -> None:
    if both:
        filters = {"compression": "gzip", "shuffle": True}
    values = np.random.default_rng(4).normal(size=(20, 30)).astype(np.float32)
    raw = written(
        lambda f: f.create_dataset("x", data=values, chunks=chunks, **filters)
    )
    assert assert_reads_as_h5py(raw) == 1


def test_texts() -> None:
    long = [f"a name that is long {i}" for i in range(300)]

    def write(file: Any) -> None:
        file.attrs["variable"] = "x" * 100_000
        file.attrs["fixed"] = np.bytes_(b"abc")
        file.attrs["list"] = long
        file.attrs["fixed list"] = np.array([b"a", b"bcd"])
        file.attrs["part0"], file.attrs["part1"] = ["a"], ["b", "c"]
        file.attrs["empty"] = np.array([])
        file.attrs["number"] = 3

    reader = Reader(written(write))
    root = reader.root
    assert reader.text(root, "variable") == "x" * 100_000
    assert reader.text(root, "fixed") == "abc"
    assert reader.texts(root, "list") == long
    assert reader.texts(root, "fixed list") == ["a", "bcd"]
    assert reader.texts(root, "part") == ["a", "b", "c"]
    assert reader.texts(root, "empty") == []
    assert reader.text(root, "absent") is None
    with pytest.raises(HDF5Error, match="attribute 'number' of '/' is not text"):
        reader.text(root, "number")


def test_newer_files() -> None:
    """Superblock 3 and headers of version 2 are read, their dense groups are not."""
    values = np.arange(6.0).reshape(2, 3)

    def few(file: Any) -> None:
        file["a/x"], file["a/y"] = values, values + 1
        file["a"].attrs["name"] = "few"

    assert assert_reads_as_h5py(written(few, libver="latest")) == 3

    def many(file: Any) -> None:
        file.update({str(i): values for i in range(20)})

    with pytest.raises(HDF5Error, match="'/' stores its members in a newer form"):
        Reader(written(many, libver="latest"))


def refused(file: Any, kind: str) -> None:
    """Write what must be refused, as x."""
    values = np.arange(100.0)
    if kind == "soft link":
        file["y"], file["x"] = values, h5py.SoftLink("/y")
    elif kind == "external link":
        file["x"] = h5py.ExternalLink("/etc/passwd", "/x")
    elif kind == "external storage":
        file.create_dataset("x", (100,), "f8", external=[("/etc/passwd", 0, 800)])
    elif kind == "virtual dataset":
        layout = h5py.VirtualLayout((100,), "f8")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (100,))
        file.create_virtual_dataset("x", layout)
    elif kind == "never written":
        file.create_dataset("x", (100,), "f8")
    elif kind == "never written chunks":
        file.create_dataset("x", (1 << 40,), "f8", chunks=(1 << 20,))
    elif kind == "reference":
        file["x"] = np.array([file.ref] * 100, h5py.ref_dtype)
    elif kind == "compound":
        file["x"] = np.zeros(100, [("a", "f4"), ("b", "f4")])
    elif kind == "text":
        file["x"] = np.array([b"abc"] * 100)
    elif kind == "lzf":
        file.create_dataset("x", data=values, compression="lzf")
    elif kind == "fletcher32":
        file.create_dataset("x", data=values, fletcher32=True)
    elif kind == "named type":
        file["t"] = np.dtype("f8")
        file.create_dataset("x", data=values, dtype=file["t"])


REFUSED = {
    "soft link": "soft link",
    "external link": "link",
    "external storage": "external storage",
    "virtual dataset": "virtual dataset",
    "never written": "never written",
    "never written chunks": "was never written",
    "reference": "type of class 7",
    "compound": "type of class 6",
    "text": "does not hold numbers",
    "lzf": "filter 32000; only gzip and shuffle",
    "fletcher32": "filter 3; only gzip and shuffle",
    "named type": "shares a message",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str) -> None:
    raw = written(lambda file: refused(file, kind))
    shape = (1 << 40,) if kind == "never written chunks" else (100,)

    def read() -> None:
        reader = Reader(raw)
        reader.array(reader.dataset(reader.root, "x"), shape)

    with pytest.raises(HDF5Error, match=REFUSED[kind]):
        read()


def test_another_shape_is_refused_before_memory_is_taken() -> None:
    def write(file: Any) -> None:
        options = {"chunks": (1 << 16,), "compression": "gzip"}
        file.create_dataset("x", (1 << 30,), "f4", **options)[:9] = 1.0
        file.create_dataset("y", (1 << 20,), "f4", **options)[:9] = 1.0

    reader = Reader(written(write))
    dataset = reader.dataset(reader.root, "x")
    with pytest.raises(HDF5Error, match=r"must have shape \(3, 4\), and has \(1073"):
        reader.array(dataset, (3, 4))
    with pytest.raises(HDF5Error, match="have 4294967296 bytes, and the file has room"):
        reader.array(dataset, (1 << 30,))
    again = Reader(reader._raw)
    with pytest.raises(HDF5Error, match="has 1 of 16 chunks"):
        again.array(again.dataset(again.root, "y"), (1 << 20,))


@pytest.mark.parametrize("keep", [0, 7, 8, 40, 95, 500, -1])
def test_cut_off(keep: int) -> None:
    raw = written(lambda file: file.update({"x": np.arange(1000.0)}))
    with pytest.raises(HDF5Error):
        Reader(raw[:keep])
