"""Control and calls: `tf.cond`, `tf.map_fn`, `tf.print`, `tf.device`, `tf.Module`."""

from __future__ import annotations

import builtins
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.arrays import stack
from kurve.as_keras.tensorflow.values import tensor
from kurve.formulas import functions as ops
from kurve.formulas.graph import is_variable

__all__ = [
    "Module",
    "case",
    "cond",
    "control_dependencies",
    "device",
    "do_not_convert",
    "executing_eagerly",
    "group",
    "init_scope",
    "map_fn",
    "name_scope",
    "no_op",
    "numpy_function",
    "print",
    "py_function",
    "recompute_grad",
    "timestamp",
    "to_code",
    "vectorized_map",
    "while_loop",
]


class Module:
    """Base class of objects that hold variables.

    trainable_variables: variables of the object and its submodules, by attribute
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name or type(self).__name__.lower()

    @property
    def name(self) -> str:
        return self._name

    @property
    def variables(self) -> tuple[Any, ...]:
        return tuple(_variables(vars(self)))

    @property
    def trainable_variables(self) -> tuple[Any, ...]:
        return tuple(v for v in self.variables if getattr(v, "trainable", True))


def _variables(part: Any) -> Iterator[Any]:
    if isinstance(part, dict):
        for key in sorted(part, key=str):
            yield from _variables(part[key])
    elif isinstance(part, (list, tuple)):
        for one in part:
            yield from _variables(one)
    elif is_variable(part):
        yield part
    elif not isinstance(part, np.ndarray) and hasattr(part, "trainable_variables"):
        yield from part.trainable_variables


def cond(
    pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], name: Any = None
) -> Any:
    """The result of one of two functions; only that one is called."""
    return true_fn() if _is_true(pred) else false_fn()


def _is_true(value: Any) -> bool:
    return bool(value() if callable(value) else value)


def case(
    pred_fn_pairs: Any, default: Any = None, exclusive: Any = False, name: Any = None
) -> Any:
    """The result of the function with the first true condition."""
    for condition, call in pred_fn_pairs:
        if _is_true(condition):
            return call()
    return default()


def while_loop(cond: Any, body: Any, loop_vars: Any, *_: Any, **__: Any) -> Any:
    """The values of a loop after its condition has become false."""
    values = list(loop_vars)
    while _is_true(cond(*values)):
        found = body(*values)
        values = list(found) if isinstance(found, (list, tuple)) else [found]
    return values


def map_fn(fn: Any, elems: Any, *_: Any, **__: Any) -> Any:
    """The results of a function of each element of the first axis, as one tensor."""
    several = isinstance(elems, tuple)
    rows = zip(*elems, strict=True) if several else elems
    results = [fn(tuple(map(tensor, r)) if several else tensor(r)) for r in rows]
    if isinstance(results[0], (tuple, list)):
        return type(results[0])(stack(list(c)) for c in zip(*results, strict=True))
    return stack([tensor(r) for r in results])


def vectorized_map(fn: Any, elems: Any, *_: Any, **__: Any) -> Any:
    """See `map_fn`."""
    return map_fn(fn, elems)


def py_function(func: Any, inp: Any, Tout: Any, name: Any = None) -> Any:
    """The result of a Python function as tensors of the given dtypes."""
    return _typed(func(*map(tensor, inp)), Tout)


def numpy_function(func: Any, inp: Any, Tout: Any, *_: Any, **__: Any) -> Any:
    """The result of a NumPy function as tensors of the given dtypes."""
    return _typed(func(*(np.asarray(tensor(x)) for x in inp)), Tout)


def _typed(found: Any, types: Any) -> Any:
    if isinstance(types, (list, tuple)):
        parts = found if isinstance(found, (list, tuple)) else [found]
        return [tensor(p, t) for p, t in zip(parts, types, strict=True)]
    return None if found is None else tensor(found, types)


def print(
    *inputs: Any, output_stream: Any = None, end: str = "\n", sep: str = " ", **_: Any
) -> None:
    """Print the values on standard error."""
    builtins.print(
        *(np.asarray(x) if isinstance(x, np.ndarray) else x for x in inputs),
        file=output_stream if hasattr(output_stream, "write") else sys.stderr,
        end=end,
        sep=sep,
    )


def device(device_name: Any) -> Any:
    """A context without effect: there is one device."""
    return contextlib.nullcontext(device_name)


@contextlib.contextmanager
def name_scope(name: Any = None, *_: Any, **__: Any) -> Iterator[Any]:
    """A context without effect: names come from layers."""
    yield name


def init_scope() -> Any:
    """A context without effect."""
    return contextlib.nullcontext()


def control_dependencies(control_inputs: Any) -> Any:
    """A context without effect: calls run in order."""
    return contextlib.nullcontext()


def group(*inputs: Any, **kwargs: Any) -> None:
    """Has no effect: its arguments have already run."""


def no_op(name: Any = None) -> None:
    """Nothing."""


def executing_eagerly() -> bool:
    """Always True: calls return values immediately."""
    return True


def do_not_convert(func: Any = None) -> Any:
    """The same function."""
    return func if func is not None else lambda f: f


recompute_grad = do_not_convert


def to_code(entity: Any, *_: Any, **__: Any) -> str:
    """The source of a function. It runs unchanged: nothing is converted."""
    import inspect

    found = getattr(entity, "python_function", entity)
    return inspect.getsource(found)


def timestamp(name: Any = None) -> Any:
    """Seconds since 1970."""
    import time

    return ops.convert_to_tensor(np.float64(time.time()))
