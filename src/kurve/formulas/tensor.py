"""The user's graph: symbolic tensors, and the calls that produced them.

    x = Input((4,))              a KerasTensor, from a node of an InputLayer
    y = Dense(8)(x)              a KerasTensor, from a node of the Dense layer

A layer that is called twice has two nodes that share its weights. `Model(inputs,
outputs)` traces the nodes back from its outputs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kurve.core.arguments import check_unused
from kurve.core.naming import unique_name
from kurve.formulas.operators import FUNCTIONS, Symbolic


class History(NamedTuple):
    """Where a tensor comes from: output `tensor_index` of a node of an operation."""

    operation: Any
    node_index: int
    tensor_index: int

    @property
    def node(self) -> Node:
        node: Node = self.operation._inbound_nodes[self.node_index]
        return node


class KerasTensor(Symbolic):
    """A tensor without values: what a layer will compute from a model's inputs.

    Functions of `kurve.ops`, operators and layers accept and return such tensors.

    Args:
        shape: with the batch axis, (None, ...).
        dtype: "float32", "int32", "bool" or "string".
        sparse, ragged: only False; there are no such tensors.
        record_history: ignored; accepted for compatibility with Keras.
        name: generated if None.
    """

    history: History
    """The call that produced it."""

    mask_sample: tuple[int | None, ...] | None = None
    """The shape of its mask for one sample; None without a mask."""

    _mask: KerasTensor | None = None

    mask: KerasTensor | None = None
    """The mask as Keras computes it, see `kurve.training.masked_order`."""

    of_batch = False
    """Whether it is one value for the whole batch, repeated for each row."""

    rows = (2, 3)
    """The sizes of its batch in trials of formulas that only run on arrays, see
    `kurve.formulas.trials`."""

    @property
    def _keras_history(self) -> History:
        """The same under Keras's name."""
        return self.history

    def __init__(
        self,
        shape: Sequence[int | None],
        dtype: str = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
    ) -> None:
        check_unused("KerasTensor", sparse=bool(sparse), ragged=bool(ragged))
        self.shape = tuple(shape)
        self.dtype = dtype
        self.name = unique_name("keras_tensor") if name is None else name

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def sample(self) -> tuple[int | None, ...]:
        """The shape of one sample."""
        return self.shape[1:]

    @property
    def _keras_mask(self) -> KerasTensor | None:
        """The mask of its time steps, a symbolic tensor of dtype "bool"; None for
        all."""
        if self._mask is None and self.mask_sample is not None:
            self._mask = FUNCTIONS["mask_of"](self)
        return self._mask

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> Any:
        """Element by element with numbers and arrays; with another symbolic tensor,
        whether it is the same one."""
        if isinstance(other, (int, float, np.ndarray, np.generic)):
            return FUNCTIONS["equal"](self, other)
        return self is other

    def __ne__(self, other: object) -> Any:
        if isinstance(other, (int, float, np.ndarray, np.generic)):
            return FUNCTIONS["not_equal"](self, other)
        return self is not other


class Node:
    """One call of an operation (a layer, a model or a function).

    args, kwargs: arguments of the call, including symbolic tensors
    outputs:      the structure of tensors it returned
    seen:         the symbolic tensors among the arguments, with the masks that Keras
                  adds to them; None for no masks
    encodes: whether the operation runs on the model's input arrays before the engine
                  does, for example to turn text into numbers
    """

    encodes = False
    seen: list[KerasTensor] | None = None

    def __init__(
        self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        self.operation, self.outputs = operation, out
        self.args, self.kwargs = tuple(args), dict(kwargs)
        self.input_tensors = list(tensors_in((self.args, self.kwargs)))
        index = len(operation._inbound_nodes)
        operation._inbound_nodes.append(self)
        for i, tensor in enumerate(tensors_in(out)):
            tensor.history = History(operation, index, i)

    @property
    def is_input(self) -> bool:
        return not self.input_tensors

    @property
    def keras_parents(self) -> list[Node]:
        """The nodes that produced the tensors which Keras passes to this call."""
        seen = self.input_tensors if self.seen is None else self.seen
        return [tensor.history.node for tensor in seen]

    @property
    def parents(self) -> list[Node]:
        """The nodes that produced its input tensors."""
        return [tensor.history.node for tensor in self.input_tensors]


class FunctionCall:
    """A function of `kurve.ops` as an operation in a user's graph, without a layer or
    weights."""

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.function = function
        self.name = name or unique_name(function.__name__)
        self._inbound_nodes: list[Node] = []

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the function to tensors of a plan under construction."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Operation {self.function.__name__} name={self.name}>"


_leaf_kinds: set[type] = set()
"""Types known not to be structures, because abstract class checks are slow."""


def is_structure(value: Any) -> bool:
    """Whether `value` is a list, a tuple or a dictionary."""
    kind = type(value)
    if kind in _leaf_kinds:
        return False
    if issubclass(kind, (list, tuple)):
        return True
    if issubclass(kind, Mapping) and not hasattr(kind, "tocsr"):  # SciPy's dok_matrix
        return True
    _leaf_kinds.add(kind)
    return False


def leaves(structure: Any) -> Iterator[Any]:
    """The leaves of nested lists, tuples and dictionaries, in Keras's order."""
    if not is_structure(structure):
        yield structure
    elif isinstance(structure, (list, tuple)):
        for part in structure:
            if type(part) in _leaf_kinds:  # many of them, often
                yield part
            else:
                yield from leaves(part)
    else:
        for key in keys(structure):
            yield from leaves(structure[key])


def keys(structure: Mapping[Any, Any]) -> list[Any]:
    """The keys of a dictionary, sorted; insertion order for OrderedDict."""
    return list(structure if isinstance(structure, OrderedDict) else sorted(structure))


def tensors_in(structure: Any) -> Iterator[KerasTensor]:
    """The symbolic tensors in a nested structure."""
    return (leaf for leaf in leaves(structure) if isinstance(leaf, KerasTensor))


def replaced(structure: Any, replace: Callable[[Any], Any]) -> Any:
    """A copy of a nested structure with its leaves replaced."""
    if not is_structure(structure):
        return replace(structure)
    if isinstance(structure, Mapping):
        pairs = [(key, replaced(structure[key], replace)) for key in keys(structure)]
        return OrderedDict(pairs) if isinstance(structure, OrderedDict) else dict(pairs)
    parts = [replaced(part, replace) for part in structure]
    if isinstance(structure, list):
        return parts
    return type(structure)(*parts) if hasattr(structure, "_fields") else tuple(parts)


def pack(structure: Any, values: Iterable[Any]) -> Any:
    """A copy of a nested structure with new leaves, in the order of `leaves`."""
    rest = iter(values)
    return replaced(structure, lambda _: next(rest))
