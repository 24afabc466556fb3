"""Event files: read back by a reader of the format that knows nothing of the writer."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve.callbacks.tensorboard import TensorBoard, crc32c

X = np.linspace(-1.0, 1.0, 40)


def fields(data: bytes) -> list[tuple[int, Any]]:
    """Number and value of each field of a message."""
    found, at = [], 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        kind = key & 7
        if kind == 0:
            found.append((key >> 3, number()))
        elif kind == 2:
            size = number()
            found.append((key >> 3, data[at : at + size]))
            at += size
        else:
            size = {1: 8, 5: 4}[kind]
            code = "<d" if kind == 1 else "<f"
            found.append((key >> 3, struct.unpack(code, data[at : at + size])[0]))
            at += size
    return found


def events(folder: Path) -> list[tuple[int, str, Any]]:
    """Step, tag and value of everything in a folder."""
    (path,) = folder.iterdir()
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack("<Q", data[at : at + 8])
        body = data[at + 12 : at + 12 + size]
        for part, place in ((data[at : at + 8], at + 8), (body, at + 12 + size)):
            crc = crc32c(part)
            masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
            assert struct.unpack("<I", data[place : place + 4])[0] == masked
        at += 16 + size
        event = dict(fields(body))
        assert event[1] > 1e9  # seconds
        if not found and 3 in event:
            assert event[3] == b"brain.Event:2"
            continue
        for _, value in fields(event[5]):
            summary = dict(fields(value))
            found.append((event[2], summary[1].decode(), summary.get(2, summary)))
    return found


def model() -> Any:
    kurve.utils.set_random_seed(0)
    made = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(2, name="last")])
    made.compile("sgd", "mse", metrics=["mae"])
    return made


def test_checksum_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_logs_of_epochs(tmp_path: Path) -> None:
    callback = TensorBoard(tmp_path / "logs")
    history = model().fit(
        X, np.c_[X, X], epochs=2, validation_split=0.25, verbose=0, callbacks=[callback]
    )
    found = events(tmp_path / "logs" / "train")
    assert [(step, tag) for step, tag, _ in found] == [
        (epoch, f"epoch_{name}")
        for epoch in (0, 1)
        for name in ("loss", "mae", "learning_rate")
    ]
    losses = [value for _, tag, value in found if tag == "epoch_loss"]
    np.testing.assert_allclose(losses, history.history["loss"], rtol=1e-6)
    held_out = events(tmp_path / "logs" / "validation")
    tags = [tag for _, tag, _ in held_out]
    assert "evaluation_loss_vs_iterations" in tags
    losses = [value for _, tag, value in held_out if tag == "epoch_loss"]
    np.testing.assert_allclose(losses, history.history["val_loss"], rtol=1e-6)


def test_histograms(tmp_path: Path) -> None:
    one = model()
    callback = TensorBoard(str(tmp_path), histogram_freq=2)
    one.fit(X, np.c_[X, X], epochs=4, verbose=0, callbacks=[callback])
    found = [e for e in events(tmp_path / "train") if e[1].endswith("/histogram")]
    assert [step for step, *_ in found] == [0, 0, 2, 2]
    assert {tag for _, tag, _ in found} == {
        "last/kernel/histogram",
        "last/bias/histogram",
    }
    facts = dict(fields(found[0][2][5]))
    counts = np.frombuffer(facts[7], "<f8")
    edges = np.frombuffer(facts[6], "<f8")
    assert facts[3] == counts.sum() == 2
    assert facts[1] <= edges[0] and edges[-1] == facts[2]


def test_logs_of_batches(tmp_path: Path) -> None:
    callback = TensorBoard(tmp_path, update_freq=2)
    model().fit(X, np.c_[X, X], batch_size=8, epochs=2, verbose=0, callbacks=[callback])
    steps = [step for step, tag, _ in events(tmp_path / "train") if tag == "batch_loss"]
    assert steps == [2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    "given", [{"update_freq": 0}, {"histogram_freq": -1}, {"histogram_freq": 0.5}]
)
def test_bad_values(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        TensorBoard("logs", **given)
