"""Tensors and their dtypes."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from kurve.as_keras.shapes import TensorShape
from kurve.core.results import Number, Values
from kurve.formulas.calls import as_array
from kurve.formulas.graph import Tensor as Traced
from kurve.formulas.graph import is_variable
from kurve.formulas.tensor import KerasTensor, leaves
from kurve.ops.formula import is_symbol

__all__ = [
    "DType",
    "Tensor",
    "TensorShape",
    "TensorSpec",
    "as_dtype",
    "bfloat16",
    "bool",
    "complex64",
    "complex128",
    "double",
    "float16",
    "float32",
    "float64",
    "half",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_symbolic_tensor",
    "is_tensor",
    "is_tf_type",
    "newaxis",
    "string",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]


class DType(str):
    """The dtype of a tensor: a name that NumPy accepts too."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return str(self)

    @property
    def as_numpy_dtype(self) -> Any:
        return np.object_ if self == "string" else np.dtype(self).type

    @property
    def is_floating(self) -> Any:
        return "float" in self

    @property
    def is_integer(self) -> Any:
        return "int" in self

    @property
    def is_bool(self) -> Any:
        return self == "bool"

    @property
    def size(self) -> int:
        return np.dtype(self).itemsize

    @property
    def _range(self) -> Any:
        kind = np.dtype(self)
        return np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)

    @property
    def min(self) -> Any:
        return self._range.min

    @property
    def max(self) -> Any:
        return self._range.max

    def __repr__(self) -> str:
        return f"tf.{self}"


float16 = half = DType("float16")
bfloat16 = DType("bfloat16")
float32 = DType("float32")
float64 = double = DType("float64")
int8, int16, int32, int64 = map(DType, ("int8", "int16", "int32", "int64"))
uint8, uint16, uint32, uint64 = map(DType, ("uint8", "uint16", "uint32", "uint64"))
complex64, complex128 = DType("complex64"), DType("complex128")
bool = DType("bool")
string = DType("string")
newaxis = None


def as_dtype(type_value: Any) -> DType:
    """The dtype for a name or a NumPy or Python type."""
    return type_value if isinstance(type_value, DType) else DType(kind(type_value))


def kind(dtype: Any) -> str:
    """The NumPy name of a dtype."""
    if isinstance(dtype, str):
        return "float32" if dtype == "bfloat16" else str(dtype)
    plain = {float: "float32", int: "int32", complex: "complex128"}
    return str(plain.get(dtype) or np.dtype(dtype).name)


class _Tensors(type):
    def __instancecheck__(cls, instance: Any) -> Any:
        return is_tensor(instance) and not is_variable(instance)


class Tensor(metaclass=_Tensors):
    """For `isinstance(x, tf.Tensor)`: an eager or symbolic tensor."""


def is_tensor(x: Any) -> Any:
    """Whether x is a tensor or variable; NumPy arrays are not."""
    return isinstance(x, (Values, Number, Traced, KerasTensor)) or is_variable(x)


is_tf_type = is_tensor


def is_symbolic_tensor(tensor: Any) -> Any:
    """Whether the tensor is symbolic."""
    return isinstance(tensor, (Traced, KerasTensor)) or is_symbol(tensor)


last_asked: list[weakref.ref[Any]] = []
"""The symbolic tensor whose shape a program has asked for last: a size of None in the
shape of random numbers outside of layers is that of its batch."""


def asked(tensor: Any) -> Any:
    """The symbolic tensor, whose shape a program asks for."""
    last_asked[:] = [weakref.ref(tensor)]
    return tensor


class TensorSpec:
    """Shape and dtype of a tensor."""

    value_type: ClassVar[type] = Tensor

    def __init__(self, shape: Any, dtype: Any = float32, name: Any = None) -> None:
        self.shape = TensorShape(shape)
        self.dtype, self.name = as_dtype(dtype), name

    def __eq__(self, other: object) -> Any:
        return isinstance(other, TensorSpec) and (
            (self.shape, self.dtype) == (other.shape, other.dtype)
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"TensorSpec(shape={tuple(self.shape)}, dtype={self.dtype!r}, name=None)"


def tensor(value: Any, dtype: Any = None) -> Any:
    """Convert a value to a tensor: Python numbers become int32 or float32, arrays keep
    their dtype. Symbolic tensors are returned unchanged."""
    if is_symbolic_tensor(value):
        return value
    if isinstance(value, Values) and (dtype is None or value.dtype == kind(dtype)):
        return value  # the same object, which a gradient tape may watch
    if is_variable(value):
        value = as_array(value)
    array = np.asarray(value, None if dtype is None else kind(dtype))
    if dtype is None and not typed(value):
        small = {"float64": np.float32, "int64": np.int32}.get(array.dtype.name)
        if small is not None and (array.dtype.kind == "f" or fits(array)):
            array = array.astype(small)
    return array.view(Values)


def typed(value: Any) -> Any:
    """Whether a value, or one in a list, has a dtype."""
    return any(isinstance(x, (np.ndarray, np.generic)) for x in _parts(value))


def fits(array: np.ndarray) -> Any:
    """Whether integers fit into 32 bits."""
    return array.size == 0 or np.abs(array).max() < 2**31


def _parts(value: Any) -> Iterator[Any]:
    """The first leaves of nested lists, which determine the dtype."""
    while isinstance(value, (list, tuple)) and len(value):
        if not isinstance(value[0], (list, tuple)):
            yield from value[:8]
            return
        value = value[0]
    yield value


def operands(*values: Any) -> Iterator[Any]:
    """Operands as functions of `kurve.ops` accept them: Python numbers next to arrays
    take on their dtype."""
    others = any(isinstance(v, (np.ndarray, np.generic)) for v in values) or any(
        is_symbolic_tensor(v) or is_variable(v) for v in values
    )
    for value in values:
        number = isinstance(value, (int, float)) and not isinstance(value, Number)
        needs = isinstance(value, (list, tuple, Number)) or (number and not others)
        yield tensor(value) if needs else value


def eager(call: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of a function whose results are tensors."""

    @functools.wraps(call)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        found = call(*args, **kwargs)
        if isinstance(found, (list, tuple)):
            parts = [as_tensor(part) for part in found]
            return (
                type(found)(*parts) if hasattr(found, "_fields") else type(found)(parts)
            )
        return as_tensor(found)

    return wrapped


def as_tensor(value: Any) -> Any:
    """Convert a NumPy array or number to a tensor with a `numpy` method. Tensors stay
    the same objects, because a gradient tape may watch them."""
    if type(value) is np.ndarray or isinstance(value, np.generic):
        return np.asarray(value).view(Values)
    return value


def concrete(where: str, *values: Any) -> Any:
    """Reject symbolic tensors, for a function that cannot be part of a model.

    Raises:
        NotImplementedError: one of the values is symbolic.
    """
    for leaf in leaves(values):
        if is_symbolic_tensor(leaf):
            raise NotImplementedError(
                f"[tf.{where}] it needs values, and cannot be part of a model. "
                f"Received: {leaf!r}. Try it on the data before the model."
            )
    arrays = [np.asarray(tensor(value)) for value in values]
    return arrays[0] if len(arrays) == 1 else arrays
