"""Event files: records with right checksums, and what TensorBoard looks for in them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, callbacks
from kurve.core.events import histogram, masked_crc
from kurve.layers import Dense

X = np.linspace(-1.0, 1.0, 32)


def varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at


def fields(data: bytes) -> dict[int, Any]:
    """The fields of a message, the last of each number."""
    found: dict[int, Any] = {}
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        size = {1: 8, 5: 4}.get(key & 7)
        if key & 7 == 0:
            found[key >> 3], at = varint(data, at)
            continue
        if size is None:
            size, at = varint(data, at)
        found[key >> 3], at = data[at : at + size], at + size
    return found


def records(path: Path) -> Iterator[bytes]:
    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        assert struct.unpack_from("<I", data, at + 8)[0] == masked_crc(
            data[at : at + 8]
        )
        body = data[at + 12 : at + 12 + length]
        assert len(body) == length
        (crc,) = struct.unpack_from("<I", data, at + 12 + length)
        assert crc == masked_crc(body)
        yield body
        at += 16 + length


def events(folder: Path) -> dict[str, list[tuple[int, str, Any]]]:
    """Step, plugin and tensor of each value by tag."""
    (path,) = folder.iterdir()
    assert ".tfevents." in path.name
    first, *rest = [fields(body) for body in records(path)]
    assert first[3] == b"brain.Event:2"
    found: dict[str, list[tuple[int, str, Any]]] = {}
    for event in rest:
        value = fields(fields(event[5])[1])
        plugin = fields(fields(value[9])[1])[1].decode()
        tensor = fields(value[8])
        if tensor[1] == 7:
            content: Any = tensor[8].decode()
        else:
            kind = {1: "<f4", 2: "<f8"}[tensor[1]]
            content = np.frombuffer(tensor[4], kind)
        found.setdefault(value[1].decode(), []).append((event[2], plugin, content))
    return found


def test_the_checksum_is_castagnolis() -> None:
    crc = 0xE3069283  # of "123456789", RFC 3720
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    assert masked_crc(b"123456789") == (rotated + 0xA282EAD8) & 0xFFFFFFFF


def test_names_steps_and_values_are_keras(tmp_path: Path) -> None:
    model = Sequential([Input((1,)), Dense(2, name="first"), Dense(1, name="last")])
    model.compile("sgd", "mse", metrics=["mae"])
    callback = callbacks.TensorBoard(tmp_path, histogram_freq=2, update_freq=2)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 8, "verbose": 0}
    history = model.fit(
        X, X, validation_split=0.25, callbacks=[callback], **options
    ).history
    train, validation = events(tmp_path / "train"), events(tmp_path / "validation")
    for name in ("loss", "mae"):
        for found, key in ((train, name), (validation, f"val_{name}")):
            written = found[f"epoch_{name}"]
            assert [(step, plugin) for step, plugin, _ in written] == [
                (epoch, "scalars") for epoch in range(3)
            ]
            values = [float(value[0]) for _, _, value in written]
            assert values == pytest.approx(history[key], rel=1e-6)
        assert [s for s, _, _ in train[f"batch_{name}"]] == [2, 4, 6, 8]
        by_updates = validation[f"evaluation_{name}_vs_iterations"]
        assert [s for s, _, _ in by_updates] == [3, 6, 9]
    assert float(train["epoch_learning_rate"][0][2][0]) == pytest.approx(0.01)
    step, plugin, content = train["keras"][0]
    assert (step, plugin) == (0, "graph_keras_model") and '"Sequential"' in content
    kernels = train["first/kernel/histogram"]
    assert [(s, p) for s, p, _ in kernels] == [(0, "histograms"), (2, "histograms")]
    rows = kernels[-1][2].reshape(30, 3)
    weights = model.layers[0].get_weights()[0]
    assert rows[0, 0] == weights.min() and rows[-1, 1] == weights.max()
    assert rows[:, 2].sum() == 2


def test_an_epoch_only_and_no_graph(tmp_path: Path) -> None:
    model = Sequential([Input((1,)), Dense(1)])
    model.compile("sgd", "mse")
    callback = callbacks.TensorBoard(str(tmp_path / "new" / "logs"), write_graph=False)
    model.fit(X, X, epochs=2, callbacks=callback, verbose=0)
    folder = tmp_path / "new" / "logs"
    assert [path.name for path in folder.iterdir()] == ["train"]
    assert set(events(folder / "train")) == {"epoch_loss", "epoch_learning_rate"}


def test_histograms_of_one_value_and_of_none() -> None:
    rows = histogram(np.full(5, 2.0))
    assert rows[:, 2].sum() == 5 and rows[0, 0] == 1.5 and rows[-1, 1] == 2.5
    assert not histogram(np.array([np.nan])).any()


def test_arguments() -> None:
    with pytest.raises(ValueError, match=r"^\[TensorBoard\] update_freq must be"):
        callbacks.TensorBoard(update_freq="step")
    with pytest.raises(ValueError, match=r"^\[TensorBoard\] histogram_freq must be"):
        callbacks.TensorBoard(histogram_freq=-1)
    with pytest.warns(UserWarning, match="profile_batch is not supported"):
        callbacks.TensorBoard(profile_batch=(2, 4))
    for name in ("RemoteMonitor", "ProgbarLogger"):
        with pytest.raises(AttributeError, match=f"{name} is not supported: .*Try"):
            getattr(callbacks, name)


def test_a_function_for_every_hook() -> None:
    told: list[str] = []
    model = Sequential([Input((1,)), Dense(1)])
    model.compile("sgd", "mse")
    callback = callbacks.LambdaCallback(
        on_train_end=lambda logs: told.append("train"),
        on_test_end=lambda logs: told.append("test"),
        on_predict_begin=lambda logs: told.append("predict"),
    )
    model.fit(X, X, validation_split=0.5, callbacks=callback, verbose=0)
    model.predict(X, callbacks=callback, verbose=0)
    assert told == ["test", "train", "predict"]
    with pytest.raises(TypeError, match=r"^\[LambdaCallback\] unknown argument"):
        callbacks.LambdaCallback(on_epoch_ends=print)
    assert callbacks.LambdaCallback(log=told).log is told  # as in Keras
