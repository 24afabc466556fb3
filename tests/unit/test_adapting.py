"""`adapt` learns the same from an array as from batches of any source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers

X = np.random.default_rng(0).normal(3.0, 2.0, (30, 4)).astype(np.float32)
CITIES = np.array(["Ulm", "Rom", "Ulm", "Oslo", "Rom", "Ulm"])


class Batches(kurve.utils.PyDataset):
    def __init__(self, x: np.ndarray, labels: bool) -> None:
        super().__init__()
        self.x, self.labels = x, labels

    def __len__(self) -> int:
        return -(-len(self.x) // 8)

    def __getitem__(self, index: int) -> Any:
        x = self.x[8 * index : 8 * index + 8]
        return (x, np.zeros(len(x))) if self.labels else x


def parts(x: np.ndarray, labels: bool = False) -> Iterator[Any]:
    data = Batches(x, labels)
    return (data[i] for i in range(len(data)))


SOURCES: dict[str, Callable[[np.ndarray], Any]] = {
    "list": lambda x: list(parts(x)),
    "list with labels": lambda x: list(parts(x, labels=True)),
    "generator": parts,
    "generator with labels": lambda x: parts(x, labels=True),
    "iterator": lambda x: iter(list(parts(x))),
    "PyDataset": lambda x: Batches(x, labels=False),
    "PyDataset with labels": lambda x: Batches(x, labels=True),
}


@pytest.mark.parametrize("source", SOURCES)
def test_normalization(source: str) -> None:
    whole, layer = layers.Normalization(), layers.Normalization()
    whole.adapt(X)
    layer.adapt(SOURCES[source](X))
    np.testing.assert_array_equal(layer(X), whole(X))


@pytest.mark.parametrize("source", SOURCES)
def test_discretization(source: str) -> None:
    layer = layers.Discretization(num_bins=4)
    layer.adapt(SOURCES[source](X))
    counts = np.bincount(np.ravel(layer(X)), minlength=4)
    assert counts.min() > 20 and len(counts) == 4


@pytest.mark.parametrize("source", SOURCES)
def test_vocabularies(source: str) -> None:
    layer = layers.StringLookup()
    layer.adapt(SOURCES[source](CITIES))
    assert layer.get_vocabulary() == ["[UNK]", "Ulm", "Rom", "Oslo"]
    text = layers.TextVectorization()
    text.adapt(SOURCES[source](CITIES))
    assert text.get_vocabulary() == ["", "[UNK]", "ulm", "rom", "oslo"]


def test_tuples_of_a_list_are_data() -> None:
    layer = layers.StringLookup()
    layer.adapt([("Ulm", "Rom"), ("Ulm", "Oslo")])
    assert layer.get_vocabulary()[:2] == ["[UNK]", "Ulm"]
    assert len(layer.get_vocabulary()) == 4


def test_vectors_of_a_generator_are_samples() -> None:
    layer = layers.Normalization()
    layer.adapt(iter(X))
    whole = layers.Normalization()
    whole.adapt(X)
    np.testing.assert_array_equal(layer(X), whole(X))


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (iter(()), ValueError, "[adapt] data must have at least one batch."),
        (iter([1.0, 2.0]), TypeError, "[adapt] a batch must be an array"),
        (
            iter([X, X[:, :2]]),
            ValueError,
            "[adapt] all batches must hold samples of the same shape. Received: "
            "samples of shapes (2,), (4,).",
        ),
    ],
)
def test_refusals(data: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        layers.Normalization().adapt(data)
    assert str(caught.value).startswith(text)


def test_columns_of_bins() -> None:
    """As many as bins, even if the data fill fewer of them."""
    space = kurve.utils.FeatureSpace({"x": "float_discretized"})
    space.adapt({"x": np.arange(10.0)})
    assert np.shape(space({"x": np.arange(10.0)})) == (10, 32)
