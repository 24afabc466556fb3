"""Functions of TensorFlow's, with the values and types that TensorFlow 2.16 gave."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve

FACTS = json.loads((Path(__file__).parent / "tensorflow.json").read_text())

pytestmark = pytest.mark.usefixtures("answered")


@pytest.fixture
def names(answered: None) -> dict[str, Any]:
    import tensorflow as tf  # type: ignore[import-not-found]

    kurve.utils.set_random_seed(0)
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    return {"tf": tf, "np": np, "a": a, "D": tf.data.Dataset}


def described(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [described(part) for part in value]
    if isinstance(value, dict):
        return {key: described(part) for key, part in value.items()}
    array = np.asarray(value)
    return [array.dtype.name, np.round(array.astype(float), 4).tolist()]


@pytest.mark.parametrize(("call", "expected"), FACTS)
def test_gives_what_tensorflow_gives(
    call: str, expected: Any, names: dict[str, Any]
) -> None:
    value = eval(call, names)
    found = value if isinstance(value, str) else described(value)
    compare(found, expected)


def compare(found: Any, expected: Any) -> None:
    if isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=2e-4)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            compare(one, other)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            compare(found[key], expected[key])
    else:
        assert found == expected


def test_tensors(names: dict[str, Any]) -> None:
    tf = names["tf"]
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    assert x.dtype == tf.float32 and x.shape.as_list() == [2, 2] and x.shape.rank == 2
    assert isinstance(x, tf.Tensor) and not isinstance(np.ones(2), tf.Tensor)
    assert type(x.numpy()) is np.ndarray and type(x[0, 1].numpy()) is np.float32
    assert isinstance(x[0], tf.Tensor) and isinstance(x + 1, tf.Tensor)
    assert isinstance(tf.keras.Input((3,)), tf.Tensor) and tf.is_tensor(x)
    assert repr(tf.float32) == "tf.float32" and tf.as_dtype(np.int64) == tf.int64


def test_the_code_of_a_function_is_its_source(
    names: dict[str, Any], program: Callable[..., str]
) -> None:
    path = program("def double(x):\n    return x + x\n", "doubling.py")
    found = runpy.run_path(path)["double"]
    tf = names["tf"]
    assert tf.autograph.to_code(found).splitlines()[0] == "def double(x):"
    assert tf.autograph.to_code(tf.function(found)) == tf.autograph.to_code(found)


def test_variables(names: dict[str, Any]) -> None:
    tf = names["tf"]
    v = tf.Variable([1.0, 2.0], name="v")
    v.assign_add([1.0, 1.0])
    v.assign_sub(0.5 * v)
    np.testing.assert_allclose(v.numpy(), [1.0, 1.5])
    assert v.trainable and not isinstance(v, tf.Tensor) and tf.is_tensor(v)
    np.testing.assert_allclose(tf.reduce_sum(v * v), 3.25)
    count = tf.Variable(0, dtype=tf.int64)
    count.assign_add(1)
    assert int(count) == 1 and count.dtype == "int64" and not count.trainable
    with pytest.raises(ValueError, match="finite"):
        v.assign([np.nan, 1.0])


def test_random_numbers_follow_the_seed(names: dict[str, Any]) -> None:
    tf = names["tf"]
    tf.random.set_seed(5)
    first = [tf.random.normal((3,)), tf.random.uniform((3,), 1, 9, tf.int32)]
    tf.random.set_seed(5)
    again = [tf.random.normal((3,)), tf.random.uniform((3,), 1, 9, tf.int32)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], tf.random.normal((3,)))
    many = tf.random.normal((20000,), 2.0, 3.0).numpy()
    assert abs(many.mean() - 2.0) < 0.1 and abs(many.std() - 3.0) < 0.1
    drawn = tf.random.categorical([[0.0, 10.0]], 50).numpy()
    assert drawn.shape == (1, 50) and drawn.mean() > 0.9


def test_a_random_tensor_of_the_batch_in_a_layer(names: dict[str, Any]) -> None:
    tf = names["tf"]
    inputs = tf.keras.Input((2,))
    layer = tf.keras.layers.Lambda(
        lambda t: t * 0 + tf.random.normal((tf.shape(t)[0], 2)) + 10.0
    )
    found = tf.keras.Model(inputs, layer(inputs)).predict(np.ones((500, 2)), verbose=0)
    assert abs(found.mean() - 10.0) < 0.2 and abs(found.std() - 1.0) < 0.1


@pytest.mark.parametrize(
    "name",
    [
        "relu",
        "relu6",
        "elu",
        "selu",
        "softsign",
        "leaky_relu",
        "gelu",
        "silu",
        "softplus",
        "sigmoid",
        "tanh",
        "softmax",
        "log_softmax",
        "l2_normalize",
    ],
)
def test_functions_of_networks_in_models(name: str, names: dict[str, Any]) -> None:
    """Called in a layer, on the results of Input and on values they give the same."""
    tf = names["tf"]
    call = getattr(tf.math if name == "l2_normalize" else tf.nn, name)
    given = {"axis": 1} if name == "l2_normalize" else {}
    inputs = tf.keras.Input((5,))
    inside = tf.keras.layers.Lambda(lambda t: call(t, **given))(inputs)
    model = tf.keras.Model(inputs, [inside, call(inputs, **given)])
    x = np.linspace(-7, 8, 30, dtype=np.float32).reshape(6, 5)
    for found in model.predict(x, verbose=0):
        np.testing.assert_allclose(found, call(x, **given), rtol=2e-5, atol=1e-6)


def test_shuffle(names: dict[str, Any]) -> None:
    dataset = names["D"].range(100)
    passes = dataset.shuffle(100, seed=1)
    one, two = (list(passes.as_numpy_iterator()) for _ in range(2))
    assert sorted(one) == sorted(two) == list(range(100)) and one != two
    fixed = dataset.shuffle(100, seed=1, reshuffle_each_iteration=False)
    assert list(fixed.as_numpy_iterator()) == list(fixed.as_numpy_iterator()) == one
    assert list(dataset.shuffle(100, seed=1).as_numpy_iterator()) == one


def test_cache_and_map_are_lazy(names: dict[str, Any]) -> None:
    calls: list[int] = []
    dataset = names["D"].range(3).map(lambda x: calls.append(int(x)) or x).cache()
    assert not calls
    assert list(dataset.as_numpy_iterator()) == list(dataset.as_numpy_iterator())
    assert calls == [0, 1, 2]


def test_models_take_data_sets(names: dict[str, Any]) -> None:
    tf = names["tf"]
    x, y = np.ones((10, 2), np.float32), np.zeros(10, np.float32)
    weights = np.ones(10, np.float32)
    data = names["D"].from_tensor_slices((x, y, weights)).shuffle(10).batch(4)
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(data, epochs=2, validation_data=data, verbose=0)
    assert model.iterations == 6 and len(history.history["val_loss"]) == 2
    model.fit(data.repeat(), epochs=2, steps_per_epoch=5, verbose=0)
    assert model.iterations == 16
    assert model.predict(data, verbose=0).shape == (10, 1)
    assert isinstance(model.evaluate(data.take(1), verbose=0), float)
    assert model.predict(names["D"].from_tensor_slices(x).batch(3)).shape == (10, 1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("D.from_tensor_slices(([1, 2], [1]))", "the same number of rows"),
        ("D.range(3).batch(0)", "batch_size must be at least 1"),
        ("len(D.range(3).repeat())", "has no end"),
        ("len(D.range(3).filter(lambda x: True))", "is not known"),
        ("list(D.range(4).window(2).batch(2))", "flat_map"),
        ("tf.random.uniform((2,), dtype=tf.int32)", "need a maxval"),
        ("tf.image.resize(a, (2, 2), method='bicubic')", "only bilinear"),
        ("tf.unique(tf.keras.Input((3,)))", "it needs values"),
        ("tf.ensure_shape(a, (2, 2))", "must have shape"),
        ("tf.debugging.assert_equal([1], [2])", "assert_equal"),
    ],
)
def test_errors(call: str, text: str, names: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=text):
        eval(call, names)
