"""Keras's arguments of every layer, of `Input` and of `InputLayer`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, layers
from kurve.core import dtypes


@pytest.mark.parametrize(
    "given",
    [
        {"input_dim": 3},
        {"input_shape": (3,)},
        {"input_shape": 3},
        {"batch_input_shape": (None, 3)},
        {"batch_input_shape": [32, 3]},
        {"input_dim": np.int64(3), "batch_size": 8, "dtype": "float32"},
    ],
    ids=str,
)
def test_the_shape_of_the_first_layer(given: dict[str, Any]) -> None:
    model = Sequential([layers.Dense(2, **given), layers.Dense(1)])
    assert model.input_shape == (None, 3)
    assert Sequential.from_config(model.get_config()).input_shape == (None, 3)


class Policy:
    """Such as Keras's DTypePolicy."""

    def __repr__(self) -> str:
        return "Policy()"

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.mark.parametrize(
    "dtype",
    [
        None,
        "float32",
        np.float32,
        np.dtype("float32"),
        Policy("float32"),
        {"module": "keras", "config": {"name": "float32"}, "name": {"config": {}}},
    ],
    ids=str,
)
def test_float32_is_taken(dtype: Any) -> None:
    if isinstance(dtype, dict):
        dtype = Policy(dtype)  # type: ignore[arg-type]
    assert layers.Dense(1, dtype=dtype)(np.ones((1, 2))).dtype == np.float32


@pytest.mark.parametrize(
    "dtype", ["float64", "float16", Policy("mixed_float16"), np.float64, float]
)
def test_another_float_gets_one_warning(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtypes, "_warned_of", set())
    with pytest.warns(UserWarning, match=r"^\[Dense\] engines compute in float32"):
        layer = layers.Dense(1, dtype=dtype)
    assert layer(np.ones((1, 2))).dtype == np.float32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers.Dropout(0.5, dtype=dtype)


@pytest.mark.parametrize("dtype", ["int32", "bool", "string", np.uint8, 32, "flaot32"])
def test_what_is_no_float_is_refused(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"^\[Dense\] dtype must be a floating-point"):
        layers.Dense(1, dtype=dtype)


WRONG: dict[str, tuple[type[Exception], dict[str, Any], str]] = {
    "two shapes": (
        ValueError,
        {"input_dim": 3, "input_shape": (3,)},
        "Received: input_shape=(3,), input_dim=3. Try input_shape alone.",
    ),
    "shape without batch axis": (
        ValueError,
        {"batch_input_shape": (0.5, 3)},
        "begins with the batch axis",
    ),
    "no features": (ValueError, {"input_dim": 0}, "Received: (0,)"),
    "rows": (ValueError, {"batch_size": 0}, "batch_size must be None or a positive"),
    "autocast": (TypeError, {"autocast": "no"}, "autocast must be True or False"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values(name: str) -> None:
    kind, given, text = WRONG[name]
    with pytest.raises(kind) as error:
        layers.Dense(1, **given)
    assert text in str(error.value) and str(error.value).startswith("[Dense] ")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"shape": (4, 2)}, (None, 4, 2)),
        ({"shape": (4, 2), "batch_size": 5}, (5, 4, 2)),
        ({"batch_shape": (5, 4, 2)}, (5, 4, 2)),
        ({"batch_shape": [None, 4, 2]}, (None, 4, 2)),
        ({"shape": (4, 2), "dtype": "uint8"}, (None, 4, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [Input, layers.InputLayer])
def test_input(make: Any, given: dict[str, Any], shown: Any) -> None:
    first = make(**given, name="data", optional=False, sparse=False)
    layer = first if isinstance(first, layers.InputLayer) else first._keras_history[0]
    assert layer.batch_shape == shown and first.name == "data"
    model = Sequential([first, layers.Flatten(), layers.Dense(1)])
    assert model.input_shape == shown and model.output_shape == (shown[0], 1)
    if isinstance(first, kurve.KerasTensor):
        assert first.shape == shown and layers.Flatten()(first).shape == (shown[0], 8)
    clone = kurve.models.clone_model(model)
    assert clone.input_shape == shown and clone.output_shape == (shown[0], 1)
    assert model.predict(np.ones((3, 4, 2)), verbose=0).shape == (3, 1)


def test_old_names_of_the_shape() -> None:
    for given in ({"input_shape": (3,)}, {"batch_input_shape": (None, 3)}):
        assert layers.InputLayer(**given).shape == (None, 3)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "Received: no shape. Try Input(shape=(1,))."),
        ({"shape": (1,), "batch_shape": (2, 1)}, "the shape must be passed once"),
        ({"batch_shape": (2, 1), "batch_size": 2}, "batch_size=2"),
        ({"shape": (1,), "batch_size": -1}, "Received: batch_size=-1"),
        ({"shape": (1,), "dtype": "complex64"}, "dtype must be numeric"),
        ({"shape": (1,), "ragged": True}, "ragged can only be None or False"),
        ({"shape": (1,), "optional": True}, "optional can only be False"),
        ({"shape": (1,), "tensor": np.ones(1)}, "tensor can only be None"),
    ],
    ids=str,
)
def test_wrong_inputs(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as error:
        Input(**given)
    assert text in str(error.value) and str(error.value).startswith("[Input] ")
