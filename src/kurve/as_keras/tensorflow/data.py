"""Data sets that are made as they are used: `tf.data.Dataset`.

A data set gives elements: tensors, or tuples and dictionaries of tensors. Each of its
methods gives another data set, which asks the one before it. `fit`, `evaluate` and
`predict` take one whose elements are batches.

    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(1000).batch(32)
    model.fit(data, epochs=5)

The order of elements is TensorFlow's; where chance decides, its distribution is.
"""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.values import TensorSpec, as_dtype, tensor
from kurve.core import rng

__all__ = [
    *("AUTOTUNE", "Dataset", "INFINITE_CARDINALITY", "Options", "UNKNOWN_CARDINALITY"),
    *("cardinality", "prefetch_to_device", "unbatch"),
]

AUTOTUNE = INFINITE_CARDINALITY = -1
UNKNOWN_CARDINALITY = -2

Structure = Any
"""A tensor, or a tuple or dictionary of structures."""


class Options:
    """Settings of data sets, which are done in order on one processor: any attribute
    may be set, and none is read."""

    def __init__(self) -> None:
        self.deterministic: bool | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.__dict__.setdefault(name, Options())


class Elements:
    """One pass over a data set.

    Args:
        elements: of the pass.
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


class Dataset:
    """Elements that are made as they are used. It is made by one of the `from_`
    methods, or by a method of another data set.

    Args:
        make: starts a pass.
        size: number of elements, -1 for a data set without end, -2 if it is not known.
        batched: whether the last element may have fewer rows than the others.
    """

    def __init__(
        self, make: Callable[[], Iterator[Structure]], size: int, batched: bool = False
    ) -> None:
        self._make, self._size, self._batched = make, size, batched

    # ------------------------------------------------------------ sources

    @staticmethod
    def from_tensor_slices(tensors: Any, name: Any = None) -> Dataset:
        """The rows of arrays, which have equally many.

        Raises:
            ValueError: they have not.
        """
        whole = _mapped(tensor, _structure(tensors))
        rows = {len(part) for part in _leaves(whole)}
        if len(rows) != 1:
            raise ValueError(
                "[from_tensor_slices] all arrays must have equally many rows. "
                f"Received: {sorted(rows)} rows. Try x[:len(y)]."
            )
        (count,) = rows

        def make() -> Iterator[Structure]:
            for i in builtins.range(count):
                yield _row(whole, i)

        return Dataset(make, count)

    @staticmethod
    def from_tensors(tensors: Any, name: Any = None) -> Dataset:
        """One element."""
        whole = _mapped(tensor, _structure(tensors))
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
        """What a function that makes iterators gives, called anew for each pass."""
        types = output_types
        if output_signature is not None:
            types = _mapped(lambda spec: spec.dtype, output_signature)

        def make() -> Iterator[Structure]:
            for element in generator(*(args or ())):
                yield _as_types(element, types)

        return Dataset(make, UNKNOWN_CARDINALITY)

    @staticmethod
    def range(*args: Any, output_type: Any = "int64", name: Any = None) -> Dataset:
        """The numbers of Python's `range`."""
        numbers = builtins.range(*(int(a) for a in args))
        return Dataset(lambda: (tensor(n, output_type) for n in numbers), len(numbers))

    @staticmethod
    def zip(*args: Any, datasets: Any = None, name: Any = None) -> Dataset:
        """An element of each of several data sets, until one ends."""
        structure = datasets if datasets is not None else args
        if len(args) == 1 and not isinstance(args[0], Dataset):
            structure = args[0]
        structure = _structure(structure)
        parts = list(_leaves(structure))

        def make() -> Iterator[Structure]:
            for elements in builtins.zip(*parts, strict=False):
                yield _filled(structure, iter(elements))

        sizes = [p._size for p in parts]
        size = UNKNOWN_CARDINALITY
        if UNKNOWN_CARDINALITY not in sizes:
            size = min((s for s in sizes if s >= 0), default=INFINITE_CARDINALITY)
        return Dataset(make, size)

    # ------------------------------------------------------------ order and number

    def shuffle(
        self,
        buffer_size: int,
        seed: Any = None,
        reshuffle_each_iteration: Any = True,
        name: Any = None,
    ) -> Dataset:
        """The elements by chance: each is drawn from the next `buffer_size`. Another
        order in each pass, unless `reshuffle_each_iteration` is False."""
        size = self._count_of("shuffle", "buffer_size", buffer_size)
        first = rng.next_seed() if seed is None else int(seed) % 2**63
        passes = itertools.count()
        again = reshuffle_each_iteration is not False

        def make() -> Iterator[Structure]:
            number = next(passes) if again else 0
            source = np.random.Generator(np.random.Philox(key=[first, number]))
            buffer: list[Structure] = []
            for element in self._make():
                if len(buffer) < size:
                    buffer.append(element)
                    continue
                i = int(source.integers(size))
                yield buffer[i]
                buffer[i] = element
            for i in source.permutation(len(buffer)).tolist():
                yield buffer[i]

        return Dataset(make, self._size, self._batched)

    def repeat(self, count: Any = None, name: Any = None) -> Dataset:
        """So many passes one after the other; endless without a number."""
        times = -1 if count is None else int(count)

        def make() -> Iterator[Structure]:
            for _ in itertools.count() if times < 0 else builtins.range(times):
                empty = True
                for element in self._make():
                    empty = False
                    yield element
                if empty:
                    return

        size = self._size
        if times < 0:
            size = 0 if size == 0 else INFINITE_CARDINALITY
        elif size >= 0:
            size *= times
        return Dataset(make, size, self._batched)

    def take(self, count: Any, name: Any = None) -> Dataset:
        """The first elements; all of them for -1."""
        most = int(count)
        if most < 0:
            return self
        size = most if self._size == INFINITE_CARDINALITY else min(most, self._size)
        return Dataset(
            lambda: itertools.islice(self._make(), most),
            size if self._size != UNKNOWN_CARDINALITY else UNKNOWN_CARDINALITY,
            self._batched,
        )

    def skip(self, count: Any, name: Any = None) -> Dataset:
        """All but the first elements; none for -1."""
        few = int(count)
        if few < 0:
            return Dataset(lambda: iter(()), 0)
        size = self._size if self._size < 0 else max(self._size - few, 0)
        return Dataset(
            lambda: itertools.islice(self._make(), few, None), size, self._batched
        )

    def shard(self, num_shards: int, index: int, name: Any = None) -> Dataset:
        """Every so manieth element, from number `index`."""
        size = self._size
        if size >= 0:
            size = len(builtins.range(int(index), size, int(num_shards)))
        return Dataset(
            lambda: itertools.islice(self._make(), int(index), None, int(num_shards)),
            size,
        )

    def concatenate(self, dataset: Dataset, name: Any = None) -> Dataset:
        """The elements of both, one data set after the other."""
        sizes = (self._size, dataset._size)
        size = sum(sizes) if min(sizes) >= 0 else min(sizes)
        if INFINITE_CARDINALITY in sizes:
            size = INFINITE_CARDINALITY
        return Dataset(lambda: itertools.chain(self._make(), dataset._make()), size)

    def enumerate(self, start: Any = 0, name: Any = None) -> Dataset:
        """Each element with its number: (number, element)."""
        return Dataset(
            lambda: (
                (tensor(n, "int64"), element)
                for n, element in builtins.enumerate(self._make(), int(start))
            ),
            self._size,
        )

    # ------------------------------------------------------------ batches

    def batch(
        self,
        batch_size: Any,
        drop_remainder: Any = False,
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        name: Any = None,
    ) -> Dataset:
        """So many elements as one, along a new first axis; fewer in the last one,
        unless it is dropped."""
        count = self._count_of("batch", "batch_size", batch_size)
        drop = bool(drop_remainder)

        def make() -> Iterator[Structure]:
            elements = self._make()
            while rows := list(itertools.islice(elements, count)):
                if len(rows) < count and drop:
                    return
                yield _joined(_stacked, rows)

        size = self._size
        if size >= 0:
            size = size // count if drop else -(-size // count)
        return Dataset(make, size, batched=not drop)

    def padded_batch(
        self,
        batch_size: Any,
        padded_shapes: Any = None,
        padding_values: Any = None,
        drop_remainder: Any = False,
        name: Any = None,
    ) -> Dataset:
        """As `batch`, with shorter elements filled up to the longest of the batch, or
        to `padded_shapes`."""
        count = self._count_of("padded_batch", "batch_size", batch_size)

        def padded(parts: list[Any], shape: Any, fill: Any) -> Any:
            axes = np.max([p.shape for p in parts], axis=0, initial=0).astype(int)
            if shape is not None:
                given = zip_(shape, axes)
                axes = [a if s in (None, -1) else int(s) for s, a in given]
            whole = np.full((len(parts), *axes), fill or 0, parts[0].dtype)
            for row, part in zip_(whole, parts):
                row[tuple(slice(n) for n in part.shape)] = part
            return tensor(whole)

        def make() -> Iterator[Structure]:
            elements = self._make()
            while rows := list(itertools.islice(elements, count)):
                if len(rows) < count and drop_remainder:
                    return
                yield _joined(padded, rows, padded_shapes, padding_values)

        size = self._size
        if size >= 0:
            size = size // count if drop_remainder else -(-size // count)
        return Dataset(make, size, batched=not drop_remainder)

    def rebatch(
        self, batch_size: Any, drop_remainder: Any = False, name: Any = None
    ) -> Dataset:
        """The rows of each element in batches of another size."""
        return self.unbatch().batch(batch_size, drop_remainder)

    def unbatch(self, name: Any = None) -> Dataset:
        """The rows of each element."""

        def make() -> Iterator[Structure]:
            for element in self._make():
                for i in builtins.range(len(next(_leaves(element)))):
                    yield _row(element, i)

        return Dataset(make, UNKNOWN_CARDINALITY)

    def window(
        self,
        size: Any,
        shift: Any = None,
        stride: Any = 1,
        drop_remainder: Any = False,
        name: Any = None,
    ) -> Dataset:
        """Data sets of so many elements, each `shift` elements after the one before;
        of tuples and dictionaries a data set for each part."""
        length, step = int(size), int(stride)
        move = length if shift is None else int(shift)
        span = (length - 1) * step + 1

        def make() -> Iterator[Structure]:
            elements, kept, ahead = self._make(), list[Structure](), 0
            while True:
                for element in itertools.islice(elements, ahead, None):
                    kept.append(element)
                    ahead = 0
                    if len(kept) >= span:
                        break
                if not kept or (drop_remainder and len(kept) < span):
                    return
                rows = kept[:span:step]
                yield _joined(
                    lambda parts: Dataset(lambda: iter(parts), len(parts)), rows
                )
                ahead = max(move - len(kept), 0)
                kept = kept[move:]

        count = self._size
        if count >= 0:
            count = (
                max((count - span) // move + 1, 0)
                if drop_remainder
                else -(-count // move)
            )
        return Dataset(make, count)

    # ------------------------------------------------------------ functions

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        name: Any = None,
        **_: Any,
    ) -> Dataset:
        """A function of each element; of a tuple, its parts are the arguments."""
        return Dataset(
            lambda: (_as_element(_called(map_func, e)) for e in self._make()),
            self._size,
            self._batched,
        )

    def filter(self, predicate: Callable[..., Any], name: Any = None) -> Dataset:
        """The elements for which a function is true."""
        return Dataset(
            lambda: (e for e in self._make() if bool(_called(predicate, e))),
            UNKNOWN_CARDINALITY,
            self._batched,
        )

    def take_while(self, predicate: Callable[..., Any], name: Any = None) -> Dataset:
        """The elements before the first for which a function is false."""
        return Dataset(
            lambda: itertools.takewhile(
                lambda e: bool(_called(predicate, e)), self._make()
            ),
            UNKNOWN_CARDINALITY,
        )

    def flat_map(self, map_func: Callable[..., Dataset], name: Any = None) -> Dataset:
        """The elements of the data sets that a function gives, one after the other."""
        return Dataset(
            lambda: itertools.chain.from_iterable(
                _called(map_func, e)._make() for e in self._make()
            ),
            UNKNOWN_CARDINALITY,
        )

    def interleave(
        self,
        map_func: Callable[..., Dataset],
        cycle_length: Any = None,
        block_length: Any = 1,
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        name: Any = None,
    ) -> Dataset:
        """The elements of the data sets that a function gives: `block_length` of each
        in turn, of `cycle_length` (by default 1) at a time."""
        width = 1 if cycle_length in (None, AUTOTUNE) else int(cycle_length)

        def make() -> Iterator[Structure]:
            sources = (_called(map_func, e)._make() for e in self._make())
            open_: list[Iterator[Structure] | None] = list(
                itertools.islice(sources, width)
            )
            while any(part is not None for part in open_):
                for i, part in builtins.enumerate(open_):
                    if part is None:
                        continue
                    given = 0
                    for element in itertools.islice(part, int(block_length)):
                        given += 1
                        yield element
                    if given < int(block_length):
                        open_[i] = next(sources, None)

        return Dataset(make, UNKNOWN_CARDINALITY)

    def apply(self, transformation_func: Callable[[Dataset], Dataset]) -> Dataset:
        """What a function of data sets gives."""
        return transformation_func(self)

    def reduce(self, initial_state: Any, reduce_func: Callable[..., Any]) -> Any:
        """The state after a function of the state and each element."""
        state = _mapped(tensor, _structure(initial_state))
        for element in self._make():
            state = _as_element(reduce_func(state, element))
        return state

    # ------------------------------------------------------------ memory

    def cache(self, filename: Any = "", name: Any = None) -> Dataset:
        """The elements of the first whole pass, kept in memory for the others."""
        kept: list[list[Structure]] = []

        def make() -> Iterator[Structure]:
            if kept:
                yield from kept[0]
                return
            elements: list[Structure] = []
            for element in self._make():
                elements.append(element)
                yield element
            kept[:] = [elements]

        return Dataset(make, self._size, self._batched)

    def prefetch(self, buffer_size: Any = None, name: Any = None) -> Dataset:
        """The same elements."""
        return self

    def with_options(self, options: Any, name: Any = None) -> Dataset:
        """The same elements."""
        return self

    def options(self) -> Options:
        """Settings, which nothing reads."""
        return Options()

    # ------------------------------------------------------------ reading

    def __iter__(self) -> Elements:
        return Elements(self._make())

    def as_numpy_iterator(self) -> Iterator[Structure]:
        """The elements as arrays and numbers of NumPy's."""
        return (_mapped(lambda part: part.numpy(), e) for e in self._make())

    def get_single_element(self, name: Any = None) -> Structure:
        """The only element."""
        (element,) = self._make()
        return element

    def cardinality(self) -> Any:
        """The number of elements; -1 if there is no end, -2 if it is not known."""
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
        """Shapes and types of an element; the rows of a batch are not known."""
        for element in self._make():
            return _mapped(self._spec, element)
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

    @staticmethod
    def _count_of(where: str, name: str, value: Any) -> int:
        count = int(value)
        if count < 1:
            raise ValueError(
                f"[Dataset.{where}] {name} must be at least 1. "
                f"Received: {name}={value!r}. Try {name}=32."
            )
        return count


zip_ = builtins.zip


def cardinality(dataset: Dataset) -> Any:
    """The number of elements; -1 if there is no end, -2 if it is not known."""
    return dataset.cardinality()


def unbatch() -> Callable[[Dataset], Dataset]:
    """For `apply`: the rows of each element."""
    return lambda dataset: dataset.unbatch()


def prefetch_to_device(device: Any, buffer_size: Any = None) -> Any:
    """For `apply`: the same elements."""
    return lambda dataset: dataset


# ---------------------------------------------------------------- structures


def _structure(value: Any) -> Structure:
    """Tuples and dictionaries as they are; lists are arrays, data sets are leaves."""
    if isinstance(value, Mapping):
        return {key: _structure(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_structure(part) for part in value)
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a table of pandas
        return np.asarray(value)
    if isinstance(value, list) and value and isinstance(value[0], Dataset):
        return tuple(value)
    return value


def _leaves(structure: Structure) -> Iterator[Any]:
    if isinstance(structure, Mapping):
        for part in structure.values():
            yield from _leaves(part)
    elif isinstance(structure, tuple):
        for part in structure:
            yield from _leaves(part)
    else:
        yield structure


def _mapped(function: Callable[[Any], Any], structure: Structure) -> Structure:
    """A structure of the same form."""
    if isinstance(structure, Mapping):
        return {key: _mapped(function, part) for key, part in structure.items()}
    if isinstance(structure, tuple):
        return tuple(_mapped(function, part) for part in structure)
    return function(structure)


def _row(structure: Structure, number: int) -> Structure:
    """A row of each tensor."""
    return _mapped(lambda part: tensor(part[number]), structure)


def _filled(structure: Structure, given: Iterator[Any]) -> Structure:
    """A structure of this form, with other leaves."""
    return _mapped(lambda _: next(given), structure)


def _as_element(value: Any) -> Structure:
    """What a function of the user's gives: tensors, or data sets."""
    return _mapped(
        lambda part: part if isinstance(part, Dataset) else tensor(part),
        _structure(value),
    )


def _as_types(element: Any, types: Any) -> Structure:
    """An element of a generator with types given for its parts."""
    if isinstance(types, (tuple, list)):
        parts = zip_(element, types, strict=True)
        return tuple(_as_types(part, kind) for part, kind in parts)
    if isinstance(types, Mapping):
        return {key: _as_types(element[key], kind) for key, kind in types.items()}
    return tensor(element, types)


def _called(function: Callable[..., Any], element: Structure) -> Any:
    return function(*element) if isinstance(element, tuple) else function(element)


def _stacked(parts: list[Any]) -> Any:
    if isinstance(parts[0], Dataset):
        raise TypeError(
            "[Dataset.batch] data sets cannot be a batch. Received: elements of a "
            "window. Try flat_map(lambda window: window.batch(n))."
        )
    return tensor(np.stack(parts))


def _joined(
    join: Callable[..., Any], rows: list[Structure], *along: Structure
) -> Structure:
    """One structure of what `join` makes of the parts of several; what is given beside
    them has the same form, or is one value for all."""
    first = rows[0]
    if isinstance(first, Mapping):
        return {
            key: _joined(join, [r[key] for r in rows], *(_part(a, key) for a in along))
            for key in first
        }
    if isinstance(first, tuple):
        return tuple(
            _joined(join, [r[i] for r in rows], *(_part(a, i) for a in along))
            for i in builtins.range(len(first))
        )
    return join(rows, *along)


def _part(given: Any, key: Any) -> Any:
    return given[key] if isinstance(given, (tuple, Mapping)) and given else given
