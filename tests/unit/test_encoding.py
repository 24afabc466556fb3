"""Encoding layers: TensorFlow's hashes and indices, errors, and configurations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Sequential, layers
from kurve.core.fingerprints import fingerprint, sip_hash
from tests.golden import encoding as golden

FOUND = json.loads(Path(golden.__file__).with_suffix(".json").read_text())


def test_hashes() -> None:
    texts = [text.encode() for text in golden.TEXTS]
    assert [fingerprint(text) % 2**62 for text in texts] == FOUND["fingerprints"]
    hashes = [sip_hash(text, golden.KEY) % 2**62 for text in texts]
    assert hashes == FOUND["sip hashes"]


def test_sip_hash_of_its_authors() -> None:
    """The test vector of appendix A of the paper."""
    key = tuple(int.from_bytes(bytes(range(a, a + 8)), "little") for a in (0, 8))
    assert sip_hash(bytes(range(15)), key) == 0xA129CA6149BE45E5  # type: ignore[arg-type]


@pytest.mark.parametrize("number", range(len(golden.HASHINGS)))
def test_hashing(number: int) -> None:
    found = layers.Hashing(**golden.HASHINGS[number])(golden.WORDS)  # type: ignore[arg-type]
    assert found.ravel().tolist() == FOUND["hashed"][number]


def test_hashing_of_numbers_and_crossing() -> None:
    found = layers.Hashing(7)(np.array([[1, -2, 300]]))
    assert found.ravel().tolist() == FOUND["hashed numbers"]
    assert (layers.Hashing(7)(np.array([[1.9, -2.0, 300.2]])) == found).all()
    words = [["a", "bb", "Zürich"], ["x", "y", "z"]]
    crossed = layers.HashedCrossing(1000)(words)
    assert crossed.tolist() == FOUND["crossed"]
    numbered = layers.HashedCrossing(9)([np.array([1, 2, -3]), words[1]])
    assert numbered.tolist() == FOUND["numbered"]
    hot = layers.HashedCrossing(9, "one_hot")([np.array([1, 2, -3]), words[1]])
    assert hot.argmax(axis=-1).tolist() == numbered.tolist() and hot.shape == (3, 9)


@pytest.mark.parametrize("number", range(len(golden.LOOKUPS)))
def test_lookups(number: int) -> None:
    vocabulary, expected = FOUND["lookups"][number]
    found = golden.lookup(layers, golden.LOOKUPS[number], np.array)
    assert found[0] == vocabulary
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)


def test_inverted() -> None:
    layer = layers.StringLookup(vocabulary=["a", "b"], invert=True, mask_token="")
    assert layer([[0, 1, 2, 3, 9]]).ravel().tolist() == FOUND["inverted"]
    numbers = layers.IntegerLookup(vocabulary=[7, 9], invert=True)
    assert numbers([0, 1, 2, 5]).tolist() == [-1, 7, 9, -1]


def test_batches_and_steps() -> None:
    parts = [np.array(["a", "b"]), np.array(["b"]), np.array(["c", "c", "c"])]
    layer = layers.StringLookup()
    layer.adapt(parts)
    assert layer.get_vocabulary() == ["[UNK]", "c", "b", "a"]
    layer.adapt(iter(parts), steps=2)
    assert layer.get_vocabulary(False) == ["b", "a"] and layer.vocabulary_size() == 3


def test_vocabulary_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("Zürich\nb\n", "utf-8")
    layer = layers.StringLookup(vocabulary=str(tmp_path / "words.txt"))
    assert layer(["b", "Zürich", "c"]).tolist() == [2, 1, 0]
    with pytest.raises(FileNotFoundError, match=r"^\[vocabulary\] no"):
        layers.StringLookup(vocabulary=str(tmp_path / "word.txt"))


def test_special_tokens_before_a_vocabulary() -> None:
    layer = layers.StringLookup(vocabulary=["", "[UNK]", "a"], mask_token="")
    assert layer(["a", "", "x"]).tolist() == [2, 0, 1]


def test_farmhash_of_numbers() -> None:
    """Numbers outside the vocabulary are hashed as text."""
    layer = layers.IntegerLookup(
        vocabulary=[1], num_oov_indices=5, oov_method="farmhash", salt=7
    )
    expected = layers.Hashing(5, salt=7)(np.array([4, 8, 12]))
    assert (layer([4, 8, 12]) == expected).all()


MADE: dict[str, Callable[[], layers.Layer]] = {
    "category": lambda: layers.CategoryEncoding(3, "count"),
    "boundaries": lambda: layers.Discretization([0.0, 1.0], output_mode="one_hot"),
    "hashing": lambda: layers.Hashing(3, salt=(1, 2), mask_value=""),
    "crossing": lambda: layers.HashedCrossing(3, "one_hot"),
    "integers": lambda: layers.IntegerLookup(vocabulary=[4, 2], num_oov_indices=3),
    "texts": lambda: layers.StringLookup(
        vocabulary=["a", "b"], output_mode="tf_idf", idf_weights=[1.0, 2.0]
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_configurations(name: str) -> None:
    made = MADE[name]()
    config = json.loads(json.dumps(made.get_config()))
    again = type(made).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config


@pytest.mark.parametrize("name", ["texts", "hashing"])
def test_refused_inside_a_model(name: str) -> None:
    made = MADE[name]()
    with pytest.raises(ValueError, match="on arrays or inputs of a model"):
        Sequential([layers.Input((2,)), layers.Dense(2), made])


def test_adapted_discretization_in_a_configuration() -> None:
    layer = layers.Discretization(num_bins=3)
    layer.adapt(np.arange(100.0))
    again = layers.Discretization.from_config(layer.get_config())
    assert (again([1.0, 50.0, 99.0]) == [0, 1, 2]).all()


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "mode": (
        lambda: layers.CategoryEncoding(3, "int"),
        "[CategoryEncoding] output_mode must be one of 'one_hot', 'multi_hot', ",
    ),
    "tokens": (
        lambda: layers.CategoryEncoding(0),
        "[CategoryEncoding] num_tokens must",
    ),
    "class": (
        lambda: layers.CategoryEncoding(3)([[1, 3]]),
        "[CategoryEncoding] x must be from 0 to 2. Received: 3. Try num_tokens=4.",
    ),
    "fraction": (
        lambda: layers.CategoryEncoding(3)([[0.5]]),
        "[CategoryEncoding] x must hold whole numbers. Received: 0.5.",
    ),
    "weights": (
        lambda: layers.CategoryEncoding(3)([[1]], count_weights=[[1]]),
        "[CategoryEncoding] count_weights need output_mode='count'.",
    ),
    "shape of weights": (
        lambda: layers.CategoryEncoding(3, "count")([[1]], count_weights=[1]),
        "[CategoryEncoding] count_weights must have the shape of x",
    ),
    "sparse": (
        lambda: layers.CategoryEncoding(3, sparse=True),
        "[CategoryEncoding] sparse can only be None or False",
    ),
    "neither": (lambda: layers.Discretization(), "[Discretization] pass either"),
    "order": (lambda: layers.Discretization([1.0, 0.0]), "[Discretization] bin_bound"),
    "epsilon": (
        lambda: layers.Discretization(num_bins=3, epsilon=0),
        "[Discretization] epsilon must be in (0, 1).",
    ),
    "not adapted": (
        lambda: layers.Discretization(num_bins=3)([1.0]),
        "[Discretization] there are no bins yet.",
    ),
    "adapt": (
        lambda: layers.Discretization([0.0]).adapt([1.0]),
        "[Discretization] adapt needs num_bins",
    ),
    "nan": (
        lambda: layers.Discretization(num_bins=2).adapt(np.array([np.nan])),
        "[adapt] data must be finite numbers.",
    ),
    "bins": (lambda: layers.Hashing(0), "[Hashing] num_bins must be an integer"),
    "salt": (lambda: layers.Hashing(3, salt="x"), "[Hashing] salt must be None"),  # type: ignore[arg-type]
    "mask": (lambda: layers.Hashing(3, mask_value=0.5), "[Hashing] mask_value must"),  # type: ignore[arg-type]
    "one column": (
        lambda: layers.HashedCrossing(3)([["a"]]),
        "[HashedCrossing] x must be two or more arrays of the same shape.",
    ),
    "wide": (
        lambda: layers.HashedCrossing(3)([np.ones((2, 2)), np.ones((2, 2))]),
        "[HashedCrossing] arrays must have the shape (B,) or (B, 1).",
    ),
    "twice": (
        lambda: layers.StringLookup(vocabulary=["a", "b", "a"]),
        "[StringLookup] the vocabulary must hold distinct values. "
        "Received: 'a' twice. Try sorted(set(values)).",
    ),
    "special": (
        lambda: layers.StringLookup(vocabulary=["a", ""], mask_token=""),
        "[StringLookup] special tokens must either come first in",
    ),
    "empty": (
        lambda: layers.StringLookup()(["a"]),
        "[StringLookup] there is no vocabulary yet.",
    ),
    "fixed": (
        lambda: layers.StringLookup(vocabulary=["a"]).adapt(["b"]),
        "[StringLookup] adapt would replace the vocabulary",
    ),
    "unknown": (
        lambda: layers.IntegerLookup(vocabulary=[1], num_oov_indices=0)([1, 2]),
        "[IntegerLookup] all values must be in the vocabulary, because "
        "num_oov_indices=0. Received: 2. Try num_oov_indices=1.",
    ),
    "room": (
        lambda: layers.IntegerLookup(3, vocabulary=[1, 2, 3]),
        "[IntegerLookup] max_tokens=3 leaves room for 2 values. Received: 3 values.",
    ),
    "invert": (
        lambda: layers.IntegerLookup(vocabulary=[1], invert=True, output_mode="count"),
        "[IntegerLookup] invert needs output_mode='int'.",
    ),
    "pad": (
        lambda: layers.IntegerLookup(pad_to_max_tokens=True),
        "[IntegerLookup] pad_to_max_tokens needs max_tokens.",
    ),
    "idf": (
        lambda: layers.IntegerLookup(vocabulary=[1], output_mode="tf_idf"),
        "[IntegerLookup] idf_weights must be passed for output_mode='tf_idf'",
    ),
    "salt of numbers": (
        lambda: layers.IntegerLookup(salt=1),
        "[IntegerLookup] salt needs oov_method='farmhash'.",
    ),
    "size": (lambda: layers.Resizing(0, 3), "[Resizing] height must be an integer"),
    "word": (
        lambda: layers.Resizing(3, 3, "bicubic"),
        "[Resizing] interpolation must be 'bilinear' or 'nearest', ",
    ),
    "both": (
        lambda: layers.Resizing(
            3, 3, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True
        ),
        "[Resizing] only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be",
    ),
    "channels": (
        lambda: layers.CenterCrop(3, 3, "channels_middle"),
        "[CenterCrop] data_format must be 'channels_last' or 'channels_first'.",
    ),
    "no image": (
        lambda: layers.CenterCrop(3, 3, name="center_crop")(np.ones((3, 3))),
        "[CenterCrop] layer 'center_crop' expected samples of shape (height, width, ch",
    ),
    "token": (lambda: layers.StringLookup(mask_token=0), "[StringLookup] mask_token"),  # type: ignore[arg-type]
    "encoding": (
        lambda: layers.StringLookup(encoding="latin-1"),
        "[StringLookup] encoding can only be 'utf-8'.",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    make, text = ERRORS[name]
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Hashing(3)(np.array([1j])),
        lambda: layers.Hashing(3)([None]),
        lambda: layers.HashedCrossing(3)([np.ones(2), np.ones(2)]),
        lambda: layers.StringLookup(vocabulary=["a"])([object()]),
    ],
)
def test_other_types(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="x must hold text or whole numbers"):
        make()
