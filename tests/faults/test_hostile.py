"""Files made to hurt: refused before memory is taken, and soon."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Model, Sequential, models, saving
from kurve.cli import inspecting
from kurve.estimators import load
from kurve.layers import Add, Dense
from kurve.saving import ModelFileError
from tests.faults.conftest import Promise
from tests.faults.mutants import BEGIN, File, sealed

pytestmark = pytest.mark.alone

SLACK = 16 << 20


def whole() -> File:
    """A small model's file in its parts."""
    model = Sequential([Input((3,)), Dense(2, name="a")], name="m")
    model.compile("adam", "mse")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.kurve"
        model.save(path)
        return File.parsed(path.read_bytes())


def described(*keys: Any, value: Any) -> bytes:
    """The file with one value of its description changed."""
    file = whole()
    owner = file.described
    for key in keys[:-1]:
        owner = owner[key]
    owner[keys[-1]] = value
    return sealed(file.header(), file.data)


def layer(name: str, config: dict[str, Any], shape: list[int], count: int = 1) -> bytes:
    """A file with these layers and no arrays."""
    file = whole()
    file.described["model"]["input_shape"] = shape
    file.described["model"]["layers"] = [
        {"class_name": name, "config": {"name": f"n{i}", **config}}
        for i in range(count)
    ]
    file.entries, file.data = {}, b""
    file.metadata = {"format": file.metadata["format"]}
    return sealed(file.header(), b"")


def tensor(name: str, shape: list[int | None], node: int = 0) -> dict[str, Any]:
    config = {"shape": shape, "dtype": "float32", "keras_history": [name, node, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def function(name: str, number: int, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """A call of a function in a graph."""
    return {
        "class_name": "Function",
        "config": {"function": name},
        "name": f"f{number}",
        "inbound_nodes": [{"args": list(args), "kwargs": kwargs}],
    }


X0 = tensor("x", [None, 3])


def called(name: str, config: dict[str, Any], number: int, *args: Any) -> Any:
    """A call of a layer in a graph, of numbers that stand on a long line."""
    entry = {
        "class_name": name,
        "config": {"name": f"f{number}", **config},
        "name": f"f{number}",
    }
    return {**entry, "inbound_nodes": [{"args": list(args), "kwargs": {}}]}


def line(length: int) -> list[Any]:
    """The calls that make such a line of x, (length, 3)."""
    wide = function("repeat", 0, X0, length // 3, 1)
    return [wide, function("reshape", 1, tensor("f0", [None, length]), [-1, length, 1])]


def graph(*calls: dict[str, Any], output: str = "f0") -> bytes:
    """A file with an input x of three numbers and these calls."""
    x = {"name": "x", "shape": [3], "dtype": "float32"}
    entry = {"class_name": "InputLayer", "config": x, "name": "x", "inbound_nodes": []}
    file = whole()
    file.described["model"] = {
        "name": "m",
        "layers": [entry, *calls],
        "input_layers": ["x", 0, 0],
        "output_layers": [output, 0, 0],
    }
    file.described["compile"] = None
    file.entries, file.data = {}, b""
    file.metadata = {"format": file.metadata["format"]}
    return sealed(file.header(), b"")


def regraphed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The file of a small graph, with its configuration changed."""
    x = Input((3,), name="x")
    shared = Dense(3, name="d")
    path = Path("graph.kurve")
    Model(x, Add(name="a")([shared(x), shared(shared(x))]), name="g").save(path)
    file = File.parsed(path.read_bytes())
    change(file.described["model"])
    return sealed(file.header(), file.data)


def put(*keys: Any, value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(config: Any) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return change


def nested(depth: int, times: int) -> bytes:
    """Each model calls the one inside it so many times: times^depth calls."""
    x = {"name": "x", "shape": [3], "dtype": "float32"}
    entry = {"class_name": "InputLayer", "config": x, "name": "x", "inbound_nodes": []}
    calls, output = [function("tanh", 0, X0)], ["f0", 0, 0]
    for level in range(depth):
        config = {
            "name": f"m{level}",
            "layers": [entry, *calls],
            "input_layers": ["x", 0, 0],
            "output_layers": output,
        }
        tensors = [X0, *[tensor(f"m{level}", [None, 3], i) for i in range(times - 1)]]
        nodes = [{"args": [t], "kwargs": {}} for t in tensors]
        model = {"class_name": "Functional", "config": config, "name": f"m{level}"}
        calls, output = [{**model, "inbound_nodes": nodes}], [f"m{level}", times - 1, 0]
    return graph(*calls, output=output[0])  # type: ignore[arg-type]


def entries(change: Callable[[dict[str, Any]], Any]) -> bytes:
    file = whole()
    change(file.entries)
    file.summed()
    return sealed(file.header(), file.data)


def header(text: str) -> bytes:
    """A file whose header goes on so after its checksum."""
    return sealed(BEGIN + b"0" * 64 + b'","format":"kurve 2",' + text.encode(), b"")


def info(text: str) -> bytes:
    return header(f'"kurve":{json.dumps(text)}}}}}')


def many(count: int) -> bytes:
    entry = '"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    rest = ",".join(entry % i for i in range(count))
    return header(f'"kurve":"{{}}"}},{rest}}}')


def overlapping(given: dict[str, Any]) -> None:
    kernel, bias = given["weights/a/kernel"], given["weights/a/bias"]
    bias["data_offsets"] = [
        kernel["data_offsets"][1] - 4,
        kernel["data_offsets"][1] + 4,
    ]


def gap(given: dict[str, Any]) -> None:
    del given["weights/a/kernel"]


def huge(given: dict[str, Any]) -> None:
    given["weights/a/bias"] |= {"shape": [2**30], "data_offsets": [24, 24 + 2**32]}


def rank(given: dict[str, Any]) -> None:
    given["weights/a/bias"]["shape"] = [1] * 8 + [2]


def without_checksums() -> bytes:
    """And a shape of gigabytes."""
    entry = {"dtype": "F32", "shape": [2**33], "data_offsets": [0, 2**35]}
    text = json.dumps({"__metadata__": {"kurve": '{"format": 1}'}, "w": entry}).encode()
    return len(text).to_bytes(8, "little") + text + b"\0" * 1600


FORMS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "seven bytes": lambda: b"\x40\0\0\0\0\0\0",
    "a header of 2^63 bytes": lambda: b"\0" * 7 + b"\x80{}",
    "a header of 16 MiB + 8": lambda: sealed(whole().header().ljust(2**24 + 8), b""),
    "a header of 16 MiB + 1": lambda: (2**24 + 1).to_bytes(8, "little") + b" " * 2**25,
    "zeros": lambda: b"\0" * 10_000,
    "depth 33": lambda: info("[" * 33 + "]" * 33),
    "depth 33 in the header": lambda: header('"kurve":' + "[" * 31 + "]" * 31 + "}}"),
    "depth 500,000": lambda: info("[" * 500_000),
    "lists without end": lambda: info("[" + "[]," * 340_000 + "0]"),
    "tables without end": lambda: info("[" + "{}," * 340_000 + "0]"),
    "quotes without end": lambda: header('"kurve":"' + '\\"' * 500_000),
    "16 MiB of one text": lambda: info('["' + "a" * (2**24 - 2000) + '"'),
    "16 MiB of escapes": lambda: info('["' + "\\u4e2d" * ((2**24 - 2000) // 7) + '"'),
    "16 MiB of backslashes": lambda: info('["' + "\\" * (2**22 - 2000)),
    "16 MiB of half a pair": lambda: info(
        '["' + "\\u4e2d" * 2**20 + "\\ud800" + "\\u4e2d" * 2**20 + '"]'
    ),
    "texts without end": lambda: info("[" + '"a",' * 170_000 + "0]"),
    "numbers without end": lambda: info("[" + "0," * 500_000 + "0]"),
    "a number without end": lambda: info("1" * 1_000_000),
    "keys that are all the same": lambda: info(
        "{" + ",".join(['"a":1'] * 30_000) + "}"
    ),
    "10,001 tensors": lambda: many(10_001),
    "overlapping tensors": lambda: entries(overlapping),
    "a gap": lambda: entries(gap),
    "4 GiB in 1.6 kB": lambda: entries(huge),
    "32 GiB without checksums": without_checksums,
    "rank 9": lambda: entries(rank),
}
"""Files that the form alone gives away."""

STORIES: dict[str, Callable[[], bytes]] = {
    "Dense of 10^12 units": lambda: described(
        "model", "layers", 0, "config", "units", value=10**12
    ),
    "10^12 inputs": lambda: described("model", "input_shape", value=[10**12]),
    "a shape of 50,000 axes": lambda: described(
        "model", "input_shape", value=[2**40] * 50_000
    ),
    "10^10 frequencies": lambda: layer("FourierFeatures", {"frequencies": 10**10}, [3]),
    "10^10 constants": lambda: layer(
        "Normalization", {"mean": 0.0, "variance": 1.0}, [10**10]
    ),
    "layers of one name": lambda: layer(
        "Dropout", {"rate": 0.5, "name": "a"}, [3], 9000
    ),
    "a class of Python": lambda: layer("os.system", {}, [3]),
    "an unknown class of one's own": lambda: layer("custom>Evil", {}, [3]),
    "a loop": lambda: graph(
        function("add", 0, X0, tensor("f1", [None, 3])),
        function("tanh", 1, tensor("f0", [None, 3])),
    ),
    "a tensor that no node makes": lambda: graph(function("tanh", 0, tensor("y", [3]))),
    "an output that nobody makes": lambda: graph(function("tanh", 0, X0), output="f1"),
    "an unknown function": lambda: graph(function("system", 0, "ls")),
    "a function of no tensor": lambda: graph(function("repeat", 0, 1.0, 10**12)),
    "shapes that do not fit": lambda: graph(function("reshape", 0, X0, [-1, 7])),
    "a shape of 2^60": lambda: graph(function("repeat", 0, X0, 2**52, 1)),
    "a shape of 10^5 axes": lambda: graph(function("expand_dims", 0, X0, [1] * 10**4)),
    "10^12 classes": lambda: graph(function("one_hot", 0, X0, 10**12)),
    "10^9 times a million classes": lambda: graph(
        *[function("one_hot", i, X0, 10**6 - i) for i in range(300)]
    ),
    "10^12 parts": lambda: graph(
        function("split", 0, tensor("f1", []), 10**12, -1),
        function("repeat", 1, X0, 10**12, 1),
    ),
    "every place of 10^7 asks every other one": lambda: graph(
        *line(3 * 10**7),
        called(
            "MultiHeadAttention",
            {"num_heads": 1, "key_dim": 2, "sliding_window": 3},
            2,
            tensor("f1", [None, 3 * 10**7, 1]),
            tensor("f1", [None, 3 * 10**7, 1]),
        ),
        output="f2",
    ),
    "a picture of 10^9 columns made smaller": lambda: layer(
        "Resizing", {"height": 5, "width": 10**5}, [5, 10**9, 1]
    ),
    "a transform of 10^9 numbers": lambda: graph(
        *line(3 * 10**8), function("rfft", 2, tensor("f0", [None, 3 * 10**8]))
    ),
    "a call of nothing": lambda: graph(
        called("MultiHeadAttention", {"num_heads": 1, "key_dim": 2}, 0, None, X0)
    ),
    "a margin of 10^12": lambda: graph(
        function("pad", 0, X0, [[0, 0], [10**12, 10**12]], constant_values=1.0)
    ),
    "a negative margin": lambda: graph(function("pad", 0, X0, [[0, 0], [-1, 0]])),
    "10^12 axes": lambda: graph(function("tensordot", 0, X0, X0, 10**12)),
    "an axis of 0.5": lambda: graph(function("sum", 0, X0, 0.5)),
    "a type of text": lambda: graph(function("cast", 0, X0, "evil")),
    "a shape that is a lie": lambda: graph(function("tanh", 0, tensor("x", [None, 4]))),
    "a layer of no calls": lambda: regraphed(
        put("layers", 1, "inbound_nodes", value=[])
    ),
    "an input with calls": lambda: regraphed(
        put("layers", 0, "inbound_nodes", value=[{"args": [X0], "kwargs": {}}])
    ),
    "layers of one name in a graph": lambda: regraphed(
        lambda c: c["layers"].append(c["layers"][1])
    ),
    "the layers in another order": lambda: regraphed(lambda c: c["layers"].reverse()),
    "a graph of 10^12 units": lambda: regraphed(
        put("layers", 1, "config", "units", value=10**12)
    ),
    "calls that are a number": lambda: regraphed(
        put("layers", 1, "inbound_nodes", value=7)
    ),
    "arguments that are a table": lambda: regraphed(
        put("layers", 1, "inbound_nodes", 0, "args", value={})
    ),
    "a node of -1": lambda: regraphed(put("output_layers", 1, value=-1)),
    "inputs that are text": lambda: regraphed(put("input_layers", value="x")),
    "no inputs": lambda: regraphed(put("input_layers", value=[])),
    "no layers": lambda: regraphed(put("layers", value=[])),
    "a name that is a number": lambda: regraphed(put("name", value=1)),
    "a key too many": lambda: regraphed(put("layers", 1, "evil", value=1)),
    "a step of 2^63": lambda: described("step", value=2**63),
    "no epsilon": lambda: described(
        "compile", "optimizer", "config", "epsilon", value=None
    ),
    "a schedule of text": lambda: described(
        "compile",
        "optimizer",
        "config",
        "learning_rate",
        value={
            "class_name": "CosineDecay",
            "config": {
                "initial_learning_rate": 0.1,
                "decay_steps": 9,
                "alpha": "x",
                "warmup_target": None,
                "warmup_steps": 0,
            },
        },
    ),
}


def measured(call: Callable[[], Any]) -> tuple[BaseException | None, float, int]:
    """The error of a call, its seconds and its peak of memory in bytes."""
    caught: BaseException | None = None
    start = time.thread_time()
    with contextlib.suppress(Exception):
        call()
    seconds = time.thread_time() - start
    tracemalloc.start()  # takes time of its own
    try:
        call()
    except Exception as error:
        caught = error
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return caught, seconds, peak


def test_hostile_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promise: Promise
) -> None:
    monkeypatch.chdir(tmp_path)
    model = Sequential([Input((3,)), Dense(2)])
    slowest, most = 0.0, 0
    for name, make in (FORMS | STORIES).items():
        raw = make()
        path = tmp_path / "hostile.kurve"
        path.write_bytes(raw)
        readers: list[Any] = [models.load_model, load]
        if name in FORMS:
            readers += [model.load_weights, saving.verify, inspecting.facts]
        for read in readers:
            error, seconds, peak = measured(lambda read=read, path=path: read(path))  # type: ignore[misc]
            assert type(error) is ModelFileError, (name, read, error)
            assert error.field, name
            assert seconds < 1.0, (name, seconds)
            assert peak < 2 * len(raw) + SLACK, (name, peak)
            slowest = max(slowest, seconds)
            most = max(most, peak - 2 * len(raw))
    promise(
        "hostile",
        f"{len(FORMS | STORIES)} kinds of files, each refused within "
        f"{1000 * slowest:.0f} ms and 2 x file + {max(most, 0) / 2**20:.1f} MiB",
    )


def test_models_in_models_end(tmp_path: Path) -> None:
    """A billion calls are refused after some thousands."""
    path = tmp_path / "nested.kurve"
    path.write_bytes(nested(6, 32))
    start = time.thread_time()
    with pytest.raises(ModelFileError, match="more operations"):
        models.load_model(path)
    assert time.thread_time() - start < 10.0


def test_things_that_are_no_files(tmp_path: Path) -> None:
    """Not waited for, and not opened."""
    os.mkfifo(tmp_path / "pipe.kurve")
    (tmp_path / "folder.kurve").mkdir()
    (tmp_path / "loop.kurve").symlink_to("loop.kurve")
    for path in (tmp_path / "pipe.kurve", tmp_path / "folder.kurve", "/dev/zero"):
        for read in (models.load_model, load, inspecting.facts):
            with pytest.raises(ModelFileError, match="directory, pipe or device"):
                read(path)  # type: ignore[operator]
    with pytest.raises(OSError, match="Too many levels"):
        models.load_model(tmp_path / "loop.kurve")
    model = Sequential([Input((3,)), Dense(2)])
    with pytest.raises(OSError, match="Not a regular file"):
        model.save(tmp_path / "pipe.kurve")
    with pytest.raises(IsADirectoryError):
        model.save(tmp_path / "folder.kurve")


def test_a_file_of_holes(tmp_path: Path, promise: Promise) -> None:
    """8 GiB that take a few kilobytes of the disk."""
    path = tmp_path / "holes.kurve"
    size = 2**33
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    file = File({"kind": "weights"}, {"format": "kurve 2"}, {"weights/w": entry}, b"")
    file.metadata["sha256:weights/w"] = "0" * 64
    raw = sealed(file.header(), b"")
    path.write_bytes(raw)
    os.truncate(path, len(raw) + size)
    if path.stat().st_blocks * 512 > 2**20:
        pytest.skip("this file system knows no holes")
    model = Sequential([Input((3,)), Dense(2)])
    error, seconds, peak = measured(lambda: model.load_weights(path))
    assert isinstance(error, ModelFileError) and "are holes" in str(error)
    assert seconds < 1.0 and peak < SLACK
    promise("hostile", "8 GiB of holes refused unread")


def test_an_honest_file_takes_no_more_than_it_must(tmp_path: Path) -> None:
    """Weights are read to where they stay, and no initial values are drawn."""
    path = tmp_path / "large.kurve"
    model = Sequential([Input((1500,)), Dense(1500), Dense(1500)])
    model.compile("adam", "mse", engine="reference")
    model.save(path)
    for read in (models.load_model, model.load_weights):
        error, _, peak = measured(lambda read=read: read(path))  # type: ignore[misc]
        assert error is None
        assert peak < 2 * path.stat().st_size + SLACK
    model.fit(np.zeros((4, 1500)), np.zeros((4, 1500)), verbose=0)
    model.save(path)
    error, _, peak = measured(lambda: models.load_model(path))
    assert error is None
    assert peak < 1.2 * path.stat().st_size + SLACK
