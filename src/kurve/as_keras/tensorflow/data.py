"""Lazily evaluated data sets: `tf.data.Dataset`.

A data set yields elements: tensors, or tuples and dictionaries of tensors. Each method
returns a new data set that reads from the previous one. `fit`, `evaluate` and `predict`
take data sets whose elements are batches.

    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(1000).batch(32)
    model.fit(data, epochs=5)

Elements come in TensorFlow's order; random orders have the same distribution.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.random import _source
from kurve.as_keras.tensorflow.structures import AUTOTUNE as AUTOTUNE
from kurve.as_keras.tensorflow.structures import (
    INFINITE_CARDINALITY as INFINITE_CARDINALITY,
)
from kurve.as_keras.tensorflow.structures import (
    UNKNOWN_CARDINALITY as UNKNOWN_CARDINALITY,
)
from kurve.as_keras.tensorflow.structures import (
    Structure,
    as_element,
    as_types,
    filled,
    leaves,
    mapped,
    row_of,
    structure_of,
)
from kurve.as_keras.tensorflow.transformations import Transformations
from kurve.as_keras.tensorflow.values import TensorSpec, as_dtype, tensor

__all__ = [
    "AUTOTUNE",
    "INFINITE_CARDINALITY",
    "UNKNOWN_CARDINALITY",
    "Dataset",
    "Options",
    "cardinality",
    "prefetch_to_device",
    "sample_from_datasets",
    "unbatch",
]


class Options:
    """Settings of data sets, which run in order on one processor: any attribute can be
    set, and all are ignored."""

    def __init__(self) -> None:
        self.deterministic: bool | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.__dict__.setdefault(name, Options())


class Elements:
    """One pass over a data set.

    Args:
        elements: elements of the pass.
    """

    def __init__(self, elements: Iterator[Structure]) -> None:
        self._elements = elements

    def __iter__(self) -> Elements:
        return self

    def __next__(self) -> Structure:
        return next(self._elements)

    def get_next(self) -> Structure:
        """The next element."""
        return next(self)


class Dataset(Transformations):
    """A sequence of lazily created elements. Create it with one of the `from_` methods
    or with a method of another data set.

    Args:
        make: starts a pass.
        size: number of elements, -1 if infinite, -2 if unknown.
        batched: whether the last element can have fewer rows than the others.
    """

    @staticmethod
    def from_tensor_slices(tensors: Any, name: Any = None) -> Dataset:
        """The rows of arrays of equal length.

        Raises:
            ValueError: their lengths differ.
        """
        whole = mapped(tensor, structure_of(tensors))
        rows = {len(part) for part in leaves(whole)}
        if len(rows) != 1:
            raise ValueError(
                "[from_tensor_slices] all arrays must have the same number of rows. "
                f"Received: {sorted(rows)} rows. Try x[:len(y)]."
            )
        (count,) = rows

        def make() -> Iterator[Structure]:
            for i in builtins.range(count):
                yield row_of(whole, i)

        return Dataset(make, count)

    @staticmethod
    def from_tensors(tensors: Any, name: Any = None) -> Dataset:
        """One element."""
        whole = mapped(tensor, structure_of(tensors))
        return Dataset(lambda: iter([whole]), 1)

    @staticmethod
    def from_generator(
        generator: Callable[..., Iterable[Any]],
        output_types: Any = None,
        output_shapes: Any = None,
        args: Any = None,
        output_signature: Any = None,
        name: Any = None,
    ) -> Dataset:
        """The elements of a generator function, called anew for each pass."""
        types = output_types
        if output_signature is not None:
            types = mapped(lambda spec: spec.dtype, output_signature)

        def make() -> Iterator[Structure]:
            for element in generator(*(args or ())):
                yield as_types(element, types)

        return Dataset(make, UNKNOWN_CARDINALITY)

    @staticmethod
    def list_files(
        file_pattern: Any, shuffle: Any = None, seed: Any = None, name: Any = None
    ) -> Dataset:
        """The paths that match patterns such as "data/*.csv", in random order by
        default.

        Raises:
            ValueError: no file matches.
        """
        import glob

        patterns = np.ravel(np.asarray(file_pattern, str)).tolist()
        paths = sorted(path for one in patterns for path in glob.glob(one))
        if not paths:
            raise ValueError(
                "[list_files] a file must match the pattern. "
                f"Received: {file_pattern!r}. Try 'folder/*.csv'."
            )
        data = Dataset.from_tensor_slices(np.array(paths, str))
        return data if shuffle is False else data.shuffle(len(paths), seed)

    @staticmethod
    def range(*args: Any, output_type: Any = "int64", name: Any = None) -> Dataset:
        """The numbers of Python's `range`."""
        numbers = builtins.range(*(int(a) for a in args))
        return Dataset(lambda: (tensor(n, output_type) for n in numbers), len(numbers))

    @staticmethod
    def zip(*args: Any, datasets: Any = None, name: Any = None) -> Dataset:
        """Tuples with one element per data set, until one ends."""
        structure = datasets if datasets is not None else args
        if len(args) == 1 and not isinstance(args[0], Dataset):
            structure = args[0]
        structure = structure_of(structure)
        parts = list(leaves(structure))

        def make() -> Iterator[Structure]:
            for elements in builtins.zip(*parts, strict=False):
                yield filled(structure, iter(elements))

        sizes = [p._size for p in parts]
        size = UNKNOWN_CARDINALITY
        if UNKNOWN_CARDINALITY not in sizes:
            size = min((s for s in sizes if s >= 0), default=INFINITE_CARDINALITY)
        return Dataset(make, size)

    @staticmethod
    def sample_from_datasets(
        datasets: Sequence[Dataset],
        weights: Any = None,
        seed: Any = None,
        stop_on_empty_dataset: bool = False,
        rerandomize_each_iteration: Any = None,
    ) -> Dataset:
        """Elements of several data sets, each drawn from a random one.

        Args:
            datasets: the data sets.
            weights: their probabilities; equal by default.
            seed: of the draws.
            stop_on_empty_dataset: whether to end with the first that ends, else with
                the last.
        """
        chances = np.ones(len(datasets)) if weights is None else np.asarray(weights)
        chances = chances.astype("float64").ravel() / np.sum(chances)

        def make() -> Iterator[Structure]:
            draw, left = _source(seed), chances.copy()
            passes = [iter(data) for data in datasets]
            while left.sum() > 0:
                chosen = int(draw.choice(len(left), p=left / left.sum()))
                try:
                    yield next(passes[chosen])
                except StopIteration:
                    if stop_on_empty_dataset:
                        return
                    left[chosen] = 0.0

        sizes = [data._size for data in datasets]
        size = UNKNOWN_CARDINALITY if stop_on_empty_dataset else sum(sizes)
        if min(sizes) < 0:
            endless = all(s == INFINITE_CARDINALITY for s in sizes)
            size = INFINITE_CARDINALITY if endless else UNKNOWN_CARDINALITY
        return Dataset(make, size)

    def reduce(self, initial_state: Any, reduce_func: Callable[..., Any]) -> Any:
        """The final state after applying a function of state and element."""
        state = mapped(tensor, structure_of(initial_state))
        for element in self._make():
            state = as_element(reduce_func(state, element))
        return state

    def options(self) -> Options:
        """Settings, which are ignored."""
        return Options()

    def __iter__(self) -> Elements:
        return Elements(self._make())

    def as_numpy_iterator(self) -> Iterator[Structure]:
        """The elements as NumPy arrays and numbers."""
        return (mapped(lambda part: part.numpy(), e) for e in self._make())

    def get_single_element(self, name: Any = None) -> Structure:
        """The only element."""
        (element,) = self._make()
        return element

    def cardinality(self) -> Any:
        """The number of elements; -1 if infinite, -2 if unknown."""
        return tensor(self._size, "int64")

    def __len__(self) -> int:
        if self._size < 0:
            what = (
                "has no end" if self._size == INFINITE_CARDINALITY else "is not known"
            )
            raise TypeError(
                f"[Dataset] the number of elements {what}. Received: {self!r}. "
                "Try take(100)."
            )
        return self._size

    def __bool__(self) -> bool:
        return True

    @property
    def element_spec(self) -> Structure:
        """Shapes and dtypes of an element; the batch size is unknown."""
        for element in self._make():
            return mapped(self._spec, element)
        return None

    def _spec(self, part: Any) -> Any:
        if isinstance(part, Dataset):
            return part
        shape = list(part.shape)
        if self._batched and shape:
            shape[0] = None
        return TensorSpec(shape, as_dtype(part.dtype))

    def __repr__(self) -> str:
        known = {INFINITE_CARDINALITY: "endless", UNKNOWN_CARDINALITY: "unknown"}
        return f"<Dataset elements={known.get(self._size, self._size)}>"


sample_from_datasets = Dataset.sample_from_datasets


def cardinality(dataset: Dataset) -> Any:
    """The number of elements; -1 if infinite, -2 if unknown."""
    return dataset.cardinality()


def unbatch() -> Callable[[Dataset], Dataset]:
    """For `apply`: the rows of each element."""
    return lambda dataset: dataset.unbatch()


def prefetch_to_device(device: Any, buffer_size: Any = None) -> Any:
    """For `apply`: the same elements."""
    return lambda dataset: dataset
