"""Graphs in C: compiled, and compared with predict."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, ops

CC = os.environ.get("CC", "cc")
pytestmark = pytest.mark.skipif(shutil.which(CC) is None, reason="there is no cc")

RNG = np.random.default_rng(4)


def branches() -> Any:
    """Merges, a shared layer, a nested model, two inputs and two outputs."""
    a, b = kurve.Input((4,), name="a"), kurve.Input((3,), name="b")
    shared = layers.Dense(5, "tanh")
    x, y = shared(layers.Dense(6)(a)), shared(layers.Dense(6, "relu")(b))
    inner = kurve.Input((5,))
    part = kurve.Model(inner, layers.LayerNormalization()(layers.Dense(5)(inner)))
    merged = [
        layers.Add()([x, y]),
        layers.Multiply()([x, y]),
        layers.Maximum()([part(x), part(y)]),
        layers.Average()([x, y, part(x)]),
        layers.Subtract()([x, x]),
        layers.Dropout(0.5)(x),
    ]
    joined = layers.Concatenate()(merged)
    first = layers.Dense(2, "softmax", name="classes!")(joined)
    return kurve.Model({"a": a, "b": b}, [first, layers.Dense(1)(joined), x])


def two_inputs() -> Any:
    """Rows of two inputs lie beside each other."""
    a, b = kurve.Input((3,)), kurve.Input((4,))
    h = layers.Concatenate()([layers.Dense(5, "tanh")(a), layers.Dense(5)(b)])
    return kurve.Model([a, b], layers.Dense(1)(h))


def formulas() -> Any:
    """Functions that move, join and reduce."""
    x = kurve.Input((4, 6))
    one = ops.transpose(x, (0, 2, 1)) @ x
    parts = [
        ops.sum(x, axis=1),
        ops.mean(x, axis=(1, 2), keepdims=True)[:, 0],
        ops.max(x, axis=2) - ops.min(x, axis=2),
        ops.prod(x[:, ::2, 1:5:3], axis=1),
        ops.reshape(ops.cumsum(x, axis=1)[:, -1, ::-1], (-1, 6)),
        ops.pad(x[:, 1], [[0, 0], [2, 1]]),
        ops.where(x[:, 0] > 0, ops.exp(-x[:, 0]), ops.sqrt(ops.abs(x[:, 1]))),
        ops.reshape(ops.flip(one, axis=2), (-1, 36)),
        ops.std(x, axis=1) * np.arange(6.0),
    ]
    return kurve.Model(x, ops.concatenate(parts, axis=-1))


class Scaled(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((input_shape[-1],), "ones", name="w")
        self.inner = layers.Dense(input_shape[-1], "gelu")

    def call(self, x: Any) -> Any:
        y = self.inner(x) * self.w + x
        return y / ops.sqrt(1.0 + ops.sum(ops.square(y), axis=-1, keepdims=True))


class Own(kurve.Model):
    def __init__(self) -> None:
        super().__init__()
        self.scaled, self.last = Scaled(), layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.last(self.scaled(x) + self.scaled(-x))


def own() -> Any:
    model = Own()
    model(np.zeros((1, 5), np.float32))
    return model


def images() -> Any:
    """Residual convolutions, with values whose places are used again."""
    x = kurve.Input((6, 6, 2))
    h = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    for _ in range(3):
        side = layers.Conv2D(4, 3, padding="same")(layers.BatchNormalization()(h))
        h = layers.Activation("relu")(layers.Add()([h, side]))
    pooled = layers.GlobalAveragePooling2D()(h)
    return kurve.Model(x, [layers.Dense(3)(pooled), h])


def attention() -> Any:
    x = kurve.Input((5, 4))
    h = layers.MultiHeadAttention(2, 3)(x, x)
    return kurve.Model(x, layers.Dense(2)(layers.LayerNormalization()(x + h)))


def words() -> Any:
    x = kurve.Input((4,), dtype="int32")
    table = layers.Embedding(7, 3)
    h = layers.Flatten()(table(x))
    return kurve.Model(x, layers.Dense(2)(layers.Concatenate()([h, h * h])))


def inputs() -> Any:
    """Outputs that are inputs, and one value twice."""
    a, b = kurve.Input((2,)), kurve.Input((3,))
    y = layers.Dense(2)(a)
    return kurve.Model([a, b], [layers.Identity()(b), y, layers.Add()([y, a])])


class Decaying(layers.Layer):
    """A loop of any step, whose turns are written out, with sums of all of them."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight((3, 3), name="kernel")

    def call(self, x: Any) -> Any:
        def step(h: Any, part: Any) -> Any:
            h = ops.tanh(ops.matmul(h, self.kernel) + part)
            return h, ops.sum(h, -1, keepdims=True)

        h, sums = ops.scan(step, x[:, 0], ops.transpose(x, (1, 0, 2)), reverse=True)
        return ops.concatenate([h, ops.transpose(sums, (1, 0, 2))[..., 0]], -1)


def loops() -> Any:
    x = kurve.Input((9, 3))
    cells = layers.RNN([layers.GRUCell(4), layers.LSTMCell(2)], return_sequences=True)
    return kurve.Model(x, [Decaying()(x), cells(layers.Masking()(x))])


MODELS: list[Callable[[], Any]] = [
    loops,
    branches,
    two_inputs,
    formulas,
    own,
    images,
    attention,
    words,
    inputs,
]


def compiled(source: Path, *more: str) -> Path:
    target = source.with_suffix(".so" if "-shared" in more else ".test")
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
    command = [CC, *flags, *more, str(source), "-o", str(target), "-lm"]
    subprocess.run(command, check=True, timeout=120)
    return target


def predicted(model: Any, xs: Any, shape: Any, folder: Path) -> np.ndarray:
    """The outputs of the C file for rows of the inputs, side by side."""
    model.export(folder / "net.c")
    library = ctypes.CDLL(str(compiled(folder / "net.c", "-shared", "-fPIC")))
    count = shape[0]
    rows = np.ascontiguousarray(np.hstack([x.reshape(count, -1) for x in xs]))
    found = np.empty(shape, np.float32)
    scratch = np.empty(1 << 20, np.float32)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (rows, found, scratch)]
    library.net_predict_batch_with(
        pointers[0], pointers[1], ctypes.c_size_t(count), pointers[2]
    )
    return found


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_predictions(make: Callable[[], Any], tmp_path: Path) -> None:
    model = make()
    model.set_weights(
        [w + 0.1 * RNG.normal(size=w.shape) ** 2 for w in model.get_weights()]
    )
    plan, _ = model._network.require_built("test")
    xs = [RNG.normal(size=(9, *shape)).astype(np.float32) for shape in plan.inputs]
    if make is words:
        xs = [RNG.integers(0, 7, (9, 4)).astype(np.float32)]
    expected = model.predict(
        dict(zip(model.input_names, xs, strict=True))
        if make is branches
        else xs
        if len(xs) > 1
        else xs[0],
        verbose=0,
    )
    parts = expected if isinstance(expected, list) else [expected]
    y = np.hstack([part.reshape(9, -1) for part in parts])
    found = predicted(model, xs, y.shape, tmp_path)
    scale = np.maximum(1.0, np.abs(y).max())
    np.testing.assert_allclose(found / scale, y / scale, atol=1e-6, rtol=0)
    if make in (branches, two_inputs, words):
        test = compiled(tmp_path / "net.c", "-DNET_SELF_TEST")
        subprocess.run([str(test)], check=True, timeout=60, capture_output=True)


def test_a_shared_layer_is_written_once(tmp_path: Path) -> None:
    x = kurve.Input((8,))
    dense = layers.Dense(8)
    kurve.Model(x, layers.Add()([x, dense(dense(dense(x)))])).export(tmp_path / "m.c")
    text = (tmp_path / "m.c").read_text()
    assert f"[1][{math.prod((8, 8)) + 8}]" in text


def test_what_has_no_code_is_refused_by_name(tmp_path: Path) -> None:
    x = kurve.Input((4, 3))
    y = layers.GlobalAveragePooling1D()(x)
    z = layers.Dropout(0.5)(x, training=True)
    with pytest.raises(ValueError, match=r"cannot be written to C yet.*'random'"):
        kurve.Model(x, [y, z]).export(tmp_path / "m.c")
    assert not list(tmp_path.iterdir())


class OfUser(layers.Layer):
    """A layer of the user, of one formula, with a weight of that shape."""

    def __init__(self, formula: Callable[..., Any], shape: Any = None) -> None:
        super().__init__()
        self.formula, self.shape = formula, shape

    def build(self, input_shape: Any) -> None:
        self.weight = None
        if self.shape is not None:
            self.weight = self.add_weight(self.shape, "glorot_uniform", name="weight")

    def call(self, x: Any) -> Any:
        return self.formula(x) if self.weight is None else self.formula(x, self.weight)


def _reductions(x: Any) -> Any:
    kinds = (ops.mean, ops.max, ops.min, ops.std, ops.prod, ops.logsumexp)
    return ops.concatenate([kind(x, -1, keepdims=True) for kind in kinds], -1)


def _gram(x: Any) -> Any:
    rows = ops.reshape(x, (-1, 2, 3))
    return ops.matmul(rows, ops.transpose(rows, (0, 2, 1)))


OWN_LAYERS: dict[str, tuple[Callable[..., Any], Any]] = {
    "reductions": (_reductions, None),
    "gather": (lambda x: ops.take(x, [3, 0, 2, 2], axis=1) * x[:, 1:2], None),
    "conditions": (
        lambda x: ops.where(x > 0.2, 2.0 * x, ops.where(x < -1, ops.sin(x), x**2)),
        None,
    ),
    "sums so far": (lambda x: ops.cumsum(x, axis=1) + ops.flip(x, axis=1), None),
    "norms": (lambda x: x / ops.norm(x, axis=-1, keepdims=True), None),
    "softmax": (lambda x: ops.softmax(x / 0.7) - ops.log_softmax(x), None),
    "the largest": (lambda x: ops.one_hot(ops.argmax(x, -1), 6) * x, None),
    "products": (_gram, None),
    "a dense layer": (lambda x, w: ops.tanh(ops.matmul(x, w)) + 1.0, (6, 5)),
    "a table": (
        lambda x, w: ops.take(w, ops.cast(ops.clip(ops.abs(x), 0, 4), "int32"), 0),
        (5, 3),
    ),
}


@pytest.mark.parametrize("name", OWN_LAYERS)
def test_a_layer_of_the_user(name: str, tmp_path: Path) -> None:
    i = kurve.Input((6,))
    model = kurve.Model(i, layers.Flatten()(OfUser(*OWN_LAYERS[name])(i)))
    x = np.random.default_rng(8).normal(size=(7, 6)).astype(np.float32)
    x[0, :3] = x[0].max() + 1.0  # a tie
    wanted = model.predict(x, verbose=0)
    found = predicted(model, [x], wanted.shape, tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    onnxruntime = pytest.importorskip("onnxruntime")
    model.export(tmp_path / "net.onnx", format="onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
