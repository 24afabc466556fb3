"""Keras's settings and small helpers: what is accepted, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve import Sequential, backend, config, layers, random, utils
from kurve.core import dtypes


def test_settings_that_are_as_they_are() -> None:
    for module in (config, backend):
        assert module.floatx() == "float32" and module.epsilon() == 1e-7
        assert module.image_data_format() == "channels_last"
        assert module.backend() == "kurve"
        module.set_floatx("float32")
        module.set_epsilon(1e-7)
        module.set_image_data_format("channels_last")
    config.set_dtype_policy("float32")
    assert config.dtype_policy().name == config.dtype_policy().variable_dtype
    layer = layers.Dense(1, dtype=config.DTypePolicy("float32"))
    assert layer.dtype_policy.compute_dtype == layer.dtype == layer.compute_dtype


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "type": (lambda: config.set_floatx("float64"), "[set_floatx] engines compute in"),
    "number": (lambda: config.set_epsilon(1e-5), "[set_epsilon] engines compute with"),
    "order": (
        lambda: config.set_image_data_format("channels_first"),
        "[set_image_data_format] data_format must be 'channels_last'.",
    ),
    "policy": (
        lambda: config.set_dtype_policy("int8"),
        "[set_dtype_policy] dtype must",
    ),
    "unknown": (
        lambda: backend.standardize_dtype("flaot32"),
        "[standardize_dtype] unknown dtype. Received: 'flaot32'. Did you mean",
    ),
    "axis": (lambda: utils.normalize(np.ones(3), 1), "[normalize] axis must be one of"),
    "side": (
        lambda: utils.pad_sequences([[1]], padding="left"),
        "[pad_sequences] padding must be 'pre' or 'post'.",
    ),
    "cut": (
        lambda: utils.pad_sequences([[1]], truncating=None),  # type: ignore[arg-type]
        "[pad_sequences] truncating must be 'pre' or 'post'.",
    ),
    "length": (lambda: utils.pad_sequences([[1]], 0), "[pad_sequences] maxlen must be"),
    "shapes": (
        lambda: utils.pad_sequences([[1], [[1, 2]]]),
        "[pad_sequences] the elements of all sequences must have the same shape. "
        "Received: [(), (2,)].",
    ),
    "parts": (
        lambda: utils.unpack_x_y_sample_weight((1, 2, 3, 4)),
        "[unpack_x_y_sample_weight] data must be x, (x, y) or (x, y, sample_weight).",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, text = REFUSED[name]
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(text)


def test_other_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotImplementedError, match="code in a model file is never run"):
        config.enable_unsafe_deserialization()
    with pytest.raises(TypeError, match="sequences must be a list of sequences"):
        utils.pad_sequences([1, 2])
    monkeypatch.setattr(dtypes, "_warned_of", set())
    with pytest.warns(UserWarning, match="engines compute in float32"):
        config.set_dtype_policy("mixed_float16")


def test_names_begin_again() -> None:
    for clear in (backend.clear_session, utils.clear_session):
        layers.Dense(1)
        assert layers.Dense(1).name != "dense"
        clear()
        assert layers.Dense(1).name == "dense" and Sequential().name == "sequential"


def test_types() -> None:
    names = [bool, int, float, str, None, "uint8", np.float16, np.dtype("int64")]
    found = [backend.standardize_dtype(name) for name in names]
    plain = ["bool", "int32", "float32", "string", "float32"]
    assert found == [*plain, "uint8", "float16", "int64"]
    assert backend.is_float_dtype("bfloat16") and not backend.is_float_dtype("int8")
    assert backend.is_int_dtype("uint16") and not backend.is_int_dtype("bool")
    assert backend.get_uid("a") + 1 == backend.get_uid("a")


def test_padding() -> None:
    given = [[1, 2, 3], [], [4]]
    assert utils.pad_sequences(given).tolist() == [[1, 2, 3], [0, 0, 0], [0, 0, 4]]
    post = utils.pad_sequences(given, 2, "float32", "post", "post", -1.0)
    assert post.tolist() == [[1, 2], [-1, -1], [4, -1]] and post.dtype == np.float32
    assert utils.pad_sequences(given, 2).tolist() == [[2, 3], [0, 0], [0, 4]]
    deep = utils.pad_sequences([[[1, 2]], [[3, 4], [5, 6]]])
    assert deep.tolist() == [[[0, 0], [1, 2]], [[3, 4], [5, 6]]]


def test_tuples_of_data() -> None:
    pack, unpack = utils.pack_x_y_sample_weight, utils.unpack_x_y_sample_weight
    assert unpack(pack(1)) == (1, None, None)
    assert unpack(pack((1, 2))) == ((1, 2), None, None)
    assert unpack(pack(1, 2)) == (1, 2, None)
    assert unpack(pack(1, 2, 3)) == (1, 2, 3)


def test_seed_generators() -> None:
    first, again = random.SeedGenerator(7), random.SeedGenerator(7)
    pairs = [first.next().tolist() for _ in range(3)]
    assert pairs == [[7, 0], [7, 1], [7, 2]]
    assert (again.next() == pairs[0]).all()
    other = random.SeedGenerator.from_config(first.get_config())
    assert other.initial_seed == 7
    assert random.SeedGenerator().next()[0] != random.SeedGenerator().next()[0]
    with pytest.raises(TypeError, match="seed must be an integer"):
        random.SeedGenerator("x")  # type: ignore[arg-type]
