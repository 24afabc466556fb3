"""Files of Keras's that are damaged, or made to do harm."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kurve import Input, Model, Sequential, models, optimizers
from kurve.formulas import functions as ops
from kurve.layers import Concatenate, Dense, Dropout, Normalization
from kurve.saving import ModelFileError
from tests.faults.conftest import Promise
from tests.faults.test_hostile import SLACK, measured

pytestmark = pytest.mark.alone

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "keras"
LIMIT = 2.0  # seconds for one file on a machine that does other things too


def graph(path: Path) -> Path:
    """Two inputs and outputs, a shared layer, a model inside, functions."""
    a, b = Input((3,), name="a"), Input((3,), name="b")
    shared = Dense(3, "tanh", name="shared")
    inside = Sequential([Input((3,)), Dense(3, name="i")], name="inside")
    h = Concatenate(name="c")([shared(a), inside(shared(b))])
    if path.suffix != ".h5":  # which holds no functions
        h = ops.reshape(ops.tanh(h[:, 1:5]) * 2.0, (-1, 4))
    model = Model([a, b], [Dense(1, name="y")(h), Dense(2, name="z")(h)], name="g")
    model.compile(optimizers.Adam(0.01), ["mse", "mae"], loss_weights=[1.0, 0.5])
    x = np.random.default_rng(0).normal(size=(20, 3))
    model.fit([x, x], [x[:, :1], x[:, :2]], verbose=0)
    model.save(path)
    return path


def written(folder: Path, name: str) -> Path:
    if name.startswith("graph"):
        return graph(folder / name)
    x = np.random.default_rng(0).normal(size=(20, 3))
    first = Normalization()
    first.adapt(x)
    layers = [Input((3,)), first, Dense(6, "tanh"), Dropout(0.1), Dense(2)]
    model = Sequential(layers)
    model.compile(optimizers.Adam(0.01), "mse", metrics=["mae"])
    model.fit(x, x[:, :2], verbose=0)
    model.save(folder / name)
    return folder / name


NAMES = ["m.keras", "graph.keras", "m.h5", "graph.h5", "sequential.h5"]


@pytest.mark.parametrize("name", NAMES)
def test_mutations(name: str, tmp_path: Path, soak: bool, promise: Promise) -> None:
    keras_wrote = name == "sequential.h5"
    path = GOLDEN / name if keras_wrote else written(tmp_path, name)
    tries = 50_000 if soak else 2000 if name == "graph.keras" else 400
    program = str(HERE / "mutate_exchange.py")
    run = subprocess.run(
        [sys.executable, program, str(path), "0", str(tries)],
        capture_output=True,
        text=True,
        timeout=60 + tries * 0.1,
        env={**os.environ, "KURVE_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout)
    assert found["refused"] + found["same"] + found["changed"] == tries
    assert found["refused"] > tries / 10
    assert found["longest"] < LIMIT
    assert found["memory"] <= 2 * found["file"] + (16 << 20)
    if not keras_wrote:  # Keras's own HDF5 files have no checksums
        assert found["changed"] == 0
    who = "Keras's" if keras_wrote else "Kurve's"
    kind = path.suffix + (" of a graph" if name.startswith("graph") else "")
    promise(
        "exchange",
        f"{who} {kind}: {tries:,} mutations, {found['refused']:,} refused, "
        f"{found['changed']:,} read as another model, longest "
        f"{found['longest'] * 1e3:.0f} ms, {found['memory'] / 2**20:.1f} MiB",
    )


# -------------------------------------------------------------------- files that unpack


def network(layers: int, inputs: int, units: int) -> dict[str, str]:
    """The JSON of a .keras file of dense layers."""
    entries: list[Any] = [
        {
            "class_name": "InputLayer",
            "config": {"batch_shape": [None, inputs], "name": "i"},
        }
    ]
    entries += [
        {"class_name": "Dense", "config": {"name": f"d{i}", "units": units}}
        for i in range(layers)
    ]
    config = {"name": "m", "layers": entries}
    whole = {"module": "keras", "class_name": "Sequential", "config": config}
    return {"metadata.json": "{}", "config.json": json.dumps(whole)}


def zipped(path: Path, texts: dict[str, str], weights: bytes, method: int) -> Path:
    with zipfile.ZipFile(path, "w", method, compresslevel=9) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        archive.writestr("model.weights.h5", weights)
    return path


def hdf5(write: Callable[[Any], Any]) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        write(file)
    return memory.getvalue()


def packed(units: int, **options: Any) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        for name, shape in (("0", (units, units)), ("1", (units,))):
            place = f"layers/dense/vars/{name}"
            chunks = tuple(min(256, n) for n in shape)
            file.create_dataset(place, shape, "f4", chunks=chunks, **options)
            for at in range(0, units, 256):
                file[place][at : at + 256] = 0.0

    return write


def linked(file: Any) -> None:
    """The weights of a thousand layers, which are one array."""
    file["layers/dense/vars/0"] = np.zeros((200, 200), np.float32)
    file["layers/dense/vars/1"] = np.zeros(200, np.float32)
    for i in range(1, 1000):
        for name in "01":
            first = file[f"layers/dense/vars/{name}"]
            file[f"layers/dense_{i}/vars/{name}"] = first


def many_members(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(60_000):
            archive.writestr(zipfile.ZipInfo(f"{i:x}"), b"")
    return path


def of_holes(path: Path) -> Path:
    def write(file: Any) -> None:
        file.create_dataset("layers/dense/vars/0", (1 << 14, 1 << 16), "f4")[0, 0] = 1.0
        file["layers/dense/vars/1"] = np.zeros(1 << 16, np.float32)

    with h5py.File(path, "w") as file:
        write(file)
        end = file.id.get_filesize()
    os.truncate(path, max(end, path.stat().st_size))
    return path


def bombs(folder: Path) -> dict[str, Path]:
    """Small files that say they are large."""
    stored, deflated = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
    gzip = {"compression": "gzip", "compression_opts": 9}
    square = network(1, 3000, 3000)
    return {
        "gzip": zipped(folder / "a.keras", square, hdf5(packed(3000, **gzip)), stored),
        "gzip in a zip": zipped(
            folder / "b.keras", square, hdf5(packed(3000, **gzip)), deflated
        ),
        "shuffle": zipped(
            folder / "c.keras",
            square,
            hdf5(packed(3000, shuffle=True, **gzip)),
            deflated,
        ),
        "zip": zipped(
            folder / "d.keras",
            square,
            hdf5(lambda f: f.update({"x": np.zeros(1 << 23, "f4")})),
            deflated,
        ),
        "text": zipped(
            folder / "e.keras",
            {"metadata.json": "{}", "config.json": " " * (1 << 22) + "{}"},
            b"",
            deflated,
        ),
        "links": zipped(
            folder / "f.keras", network(1000, 200, 200), hdf5(linked), stored
        ),
        "members": many_members(folder / "g.keras"),
        "holes": of_holes(folder / "h.h5"),
    }


def test_files_that_unpack_to_more(tmp_path: Path, promise: Promise) -> None:
    slowest, most = 0.0, 0
    files = bombs(tmp_path)
    for name, path in files.items():
        error, seconds, peak = measured(lambda path=path: models.load_model(path))  # type: ignore[misc]
        assert type(error) is ModelFileError, (name, error)
        assert error.field, name
        assert seconds < LIMIT, (name, seconds)
        size = path.stat().st_blocks * 512
        assert peak < 2 * size + SLACK, (name, peak, size)
        slowest, most = max(slowest, seconds), max(most, peak - 2 * size)
    promise(
        "hostile",
        f"{len(files)} kinds of Keras's files that unpack to many times their size, "
        f"each refused within {1000 * slowest:.0f} ms and 2 x file + "
        f"{max(most, 0) / 2**20:.1f} MiB",
    )


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_an_honest_file_takes_no_more_than_it_must(name: str, tmp_path: Path) -> None:
    """No initial values are drawn, and weights are read to where they stay."""
    model = Sequential([Input((1500,)), Dense(1500), Dense(1500)])
    model.save(tmp_path / name)
    size = (tmp_path / name).stat().st_size
    error, _, peak = measured(lambda: models.load_model(tmp_path / name))
    assert error is None
    assert peak < 2 * size + SLACK


# ------------------------------------------------------------------------- graphs


def keras_tensor(name: str, node: int = 0) -> dict[str, Any]:
    config = {"shape": [None, 3], "dtype": "float32", "keras_history": [name, node, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def keras_layer(cls: str, name: str, *reads: Any, **config: Any) -> dict[str, Any]:
    """A layer of a graph that is called once, with these tensors."""
    return {
        "module": "keras.layers",
        "class_name": cls,
        "config": {"name": name, **config},
        "name": name,
        "inbound_nodes": [{"args": [one], "kwargs": {}} for one in reads],
    }


def keras_graph(
    *entries: dict[str, Any], name: str = "g", end: str | None = None
) -> dict[str, Any]:
    """A graph with an input x of three numbers, and the last entry's output."""
    first = keras_layer("InputLayer", "x", batch_shape=[None, 3])
    config = {
        "name": name,
        "layers": [first, *entries],
        "input_layers": ["x", 0, 0],
        "output_layers": [end or entries[-1]["name"], 0, 0],
    }
    module = "keras.src.models.functional"
    return {"module": module, "class_name": "Functional", "config": config}


def keras_function(cls: str, name: str, *args: Any, **config: Any) -> dict[str, Any]:
    module = "keras.src.ops.core" if cls == "Cast" else "keras.src.ops.numpy"
    entry = keras_layer(cls, name, **config)
    entry["inbound_nodes"] = [{"args": list(args), "kwargs": {}}]
    return {**entry, "module": module}


def in_models(depth: int, times: int) -> dict[str, Any]:
    """Each model calls the one in it so many times."""
    x = keras_tensor("x")
    entry = keras_layer("Activation", "a", x, activation="tanh")
    model = keras_graph(entry)
    for level in range(depth):
        name = f"m{level}"
        tensors = [x, *(keras_tensor(name, i) for i in range(times - 1))]
        model["config"]["name"] = name
        nodes = [{"args": [t], "kwargs": {}} for t in tensors]
        outer = keras_graph({**model, "name": name, "inbound_nodes": nodes})
        outer["config"]["output_layers"] = [name, times - 1, 0]
        model = outer
    return model


X = keras_tensor("x")
DENSE = {"units": 3, "activation": "linear"}
HOSTILE: dict[str, Callable[[], dict[str, Any]]] = {
    "a loop": lambda: keras_graph(
        keras_layer("Dense", "a", keras_tensor("b"), **DENSE),
        keras_layer("Dense", "b", keras_tensor("a"), **DENSE),
    ),
    "a layer that reads itself": lambda: keras_graph(
        keras_layer("Dense", "a", keras_tensor("a"), **DENSE)
    ),
    "a tensor that no node makes": lambda: keras_graph(
        keras_layer("Dense", "a", keras_tensor("y"), **DENSE)
    ),
    "an output that nobody makes": lambda: keras_graph(
        keras_layer("Dense", "a", X, **DENSE), end="b"
    ),
    "a call that there is not": lambda: keras_graph(
        keras_layer("Dense", "a", keras_tensor("x", 10**9), **DENSE)
    ),
    "10^12 units": lambda: keras_graph(
        keras_layer("Dense", "a", X, units=10**12), keras_layer("Add", "b", [X, X])
    ),
    "shapes that do not fit": lambda: keras_graph(
        keras_layer("Dense", "a", X, units=7),
        keras_layer("Add", "b", [X, keras_tensor("a")]),
    ),
    "layers of one name": lambda: keras_graph(
        keras_layer("Dense", "a", X, **DENSE), keras_layer("Dense", "a", X, **DENSE)
    ),
    "a million layers": lambda: {
        **keras_graph(keras_layer("Add", "a", [X, X])),
        "config": {"name": "g", "layers": [0] * 1_000_000},
    },
    "a million calls": lambda: keras_graph(
        keras_layer("Activation", "a", *[X] * 20_000, activation="tanh")
    ),
    "a million operands": lambda: keras_graph(keras_layer("Add", "a", [X] * 20_000)),
    "thousands of layers that each read two": lambda: keras_graph(
        *[keras_layer("Add", f"a{i}", [X, X]) for i in range(9_000)]
    ),
    "models in models": lambda: in_models(12, 1),
    "a name of a megabyte": lambda: keras_graph(
        keras_layer("Add", "a" * 1_000_000, [X, X])
    ),
    "a name with a slash": lambda: keras_graph(
        keras_layer("Dense", "../../a", X, **DENSE)
    ),
    "a name that is a number": lambda: keras_graph(
        {**keras_layer("Add", "a", [X, X]), "name": 7}, end="a"
    ),
    "an unknown operation": lambda: keras_graph(keras_function("System", "f", "ls")),
    "a shape of 2^52": lambda: keras_graph(
        keras_function("Repeat", "f", X, repeats=2**52, axis=1)
    ),
    "10^12 classes": lambda: keras_graph(
        {
            **keras_function("OneHot", "f", X, num_classes=10**12),
            "module": "keras.src.ops.nn",
        }
    ),
    "a shape of a thousand axes": lambda: keras_graph(
        keras_function("Reshape", "f", X, newshape=[1] * 1_000)
    ),
    "a function in a Lambda": lambda: keras_graph(
        keras_layer("Lambda", "f", X, function={"class_name": "__lambda__"})
    ),
    "a class of Python": lambda: keras_graph(
        {**keras_layer("system", "f", X), "module": "os"}
    ),
}


def test_hostile_graphs(tmp_path: Path, promise: Promise) -> None:
    """In .keras files, and as text."""
    path, slowest, most = tmp_path / "m.keras", 0.0, 0
    empty = hdf5(lambda file: file.create_group("layers"))
    for name, make in HOSTILE.items():
        text = json.dumps(make())
        texts = {"metadata.json": "{}", "config.json": text}
        zipped(path, texts, empty, zipfile.ZIP_STORED)
        for read, given, kind in (
            (models.load_model, path, ModelFileError),
            (models.model_from_json, text, ValueError),
        ):
            error, seconds, peak = measured(lambda r=read, g=given: r(g))  # type: ignore[misc]
            if read is models.model_from_json and error is None:
                continue  # a model is made, as no file promises its weights
            assert isinstance(error, kind), (name, read, error)
            assert seconds < LIMIT, (name, read, seconds)
            assert peak < 2 * path.stat().st_size + SLACK, (name, read, peak)
            slowest = max(slowest, seconds)
            most = max(most, peak - 2 * path.stat().st_size)
    promise(
        "hostile",
        f"{len(HOSTILE)} kinds of graphs in .keras files and as text, each refused "
        f"within {1000 * slowest:.0f} ms and 2 x file + {max(most, 0) / 2**20:.1f} MiB",
    )


def test_models_in_models_end(tmp_path: Path) -> None:
    """A hundred million calls are refused after some thousands."""
    text = json.dumps(in_models(5, 40))
    empty = hdf5(lambda file: file.create_group("layers"))
    texts = {"metadata.json": "{}", "config.json": text}
    path = zipped(tmp_path / "m.keras", texts, empty, zipfile.ZIP_STORED)
    start = time.thread_time()
    with pytest.raises(ModelFileError, match="more operations"):
        models.load_model(path)
    assert time.thread_time() - start < 10.0
