"""TextVectorization. Numbers are those that Keras documents or computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve.layers import TextVectorization

TEXTS = ["foo bar", "bar baz", "baz bada boom"]


def adapted(**arguments: Any) -> TextVectorization:
    layer = TextVectorization(**arguments)
    layer.adapt(TEXTS)
    return layer


def test_indices() -> None:
    layer = adapted(max_tokens=5000, output_sequence_length=4)
    np.testing.assert_array_equal(
        layer([["foo qux bar"], ["qux baz"]]), [[4, 1, 3, 0], [1, 2, 0, 0]]
    )
    np.testing.assert_array_equal(layer("bar Baz."), [3, 2, 0, 0])
    short = adapted(output_sequence_length=1)
    np.testing.assert_array_equal(short(np.array(["foo bar", ""])), [[4], [0]])
    assert adapted()(["a", "b c"]).shape == (2, 2)
    assert adapted(max_tokens=3).get_vocabulary() == ["", "[UNK]", "baz"]
    given = TextVectorization(vocabulary=["earth", "wind", "and", "fire"])
    assert given.get_vocabulary() == ["", "[UNK]", "earth", "wind", "and", "fire"]
    assert given.get_vocabulary(False) == ["earth", "wind", "and", "fire"]
    assert given.vocabulary_size() == 6


@pytest.mark.parametrize(
    ("mode", "row"),
    [
        ("multi_hot", [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        ("count", [1.0, 2.0, 1.0, 0.0, 0.0, 0.0]),
        ("tf_idf", [0.861, 1.3863, 0.6931, 0.0, 0.0, 0.0]),
    ],
)
def test_rows(mode: str, row: list[float]) -> None:
    """[UNK] baz bar foo boom bada."""
    layer = adapted(output_mode=mode)
    assert layer.get_vocabulary()[:2] == ["[UNK]", "baz"]
    if mode == "tf_idf":
        rest = np.log(1 + 3 / np.array([3, 3, 2, 2, 2]))
        row = [float(np.mean(rest)), 2 * rest[0], rest[1], 0.0, 0.0, 0.0]
    np.testing.assert_allclose(layer(["baz x bar baz"])[0], row, 1e-6)
    padded = adapted(output_mode=mode, max_tokens=9, pad_to_max_tokens=True)
    assert padded(["baz", "x"]).shape == (2, 9)


def test_how_texts_become_words() -> None:
    def words(text: str, **arguments: Any) -> list[str]:
        return TextVectorization(**arguments)._words([text])[0]

    assert words("It's  a\tTEST-case, É!") == ["its", "a", "testcase", "É"]
    assert words("A, b", standardize="lower") == ["a,", "b"]
    assert words("A, b", standardize="strip_punctuation") == ["A", "b"]
    assert words("A, b", standardize=None) == ["A,", "b"]
    assert words("aé b", split="character") == ["a", "é", " ", "b"]
    assert words("a b", split=None) == ["a b"]
    assert words("a b c", ngrams=2) == ["a", "b", "c", "a b", "b c"]
    assert words("a b c", ngrams=(3, 2)) == ["a b c", "a b", "b c"]
    assert words("a-b", standardize=np.char.upper, split=None) == ["A-B"]
    by = [text.split("b") for text in ["a", "c"]]
    assert words("abc", split=lambda texts: [t.split("b") for t in texts]) == ["a", "c"]
    assert by == [["a"], ["c"]]


def test_config_and_batches() -> None:
    for mode in ("int", "count", "tf_idf"):
        layer = adapted(output_mode=mode, ngrams=2)
        again = TextVectorization.from_config(layer.get_config())
        np.testing.assert_array_equal(again(TEXTS), layer(TEXTS))
    batched = TextVectorization()
    batched.adapt(batch for batch in (TEXTS[:1], TEXTS[1:]))
    assert batched.get_vocabulary() == adapted().get_vocabulary()


def test_before_a_model() -> None:
    layer = adapted(output_sequence_length=3)
    model = kurve.Sequential(
        [
            kurve.layers.Embedding(layer.vocabulary_size(), 4, mask_zero=True),
            kurve.layers.GlobalAveragePooling1D(),
            kurve.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    history = model.fit(layer(TEXTS), np.ones(3), epochs=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: TextVectorization(split="lines"), r"\[TextVectorization\] split must"),
        (lambda: TextVectorization(standardize=3), "standardize must be None"),  # type: ignore[arg-type]
        (lambda: TextVectorization(ngrams=0), "ngrams must be None"),
        (lambda: TextVectorization(output_mode="one_hot"), "output_mode must be one"),
        (
            lambda: TextVectorization(output_mode="count", output_sequence_length=3),
            "needs output_mode='int'",
        ),
        (lambda: adapted()([["a", "b"]]), r"must be \(B,\) or \(B, 1\)"),
        (lambda: TextVectorization()(["a"]), "no vocabulary yet"),
        (lambda: TextVectorization(vocabulary=["a"]).adapt(TEXTS), "would replace"),
    ],
)
def test_refused(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
