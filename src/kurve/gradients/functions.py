"""`function`: the decorator that TensorFlow's programs put before a training step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")


@overload
def function(func: Callable[P, R]) -> Callable[P, R]: ...


@overload
def function(
    func: None = None,
    input_signature: Any = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def function(
    func: Callable[P, R] | None = None,
    input_signature: Any = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = False,
) -> Any:
    """The function itself, under TensorFlow's name for one that is compiled.

    A Kurve program needs no such decorator: the models, layers and optimizers that a
    step calls run compiled anyway, and the Python around them as it is, with values
    that may be printed and compared. Hence all arguments change nothing.

    Args:
        func: to be called with arrays.
        input_signature, autograph, jit_compile, reduce_retracing: TensorFlow's.

    Raises:
        TypeError: `func` cannot be called.

    Example:
        >>> @kurve.function
        ... def double(x):
        ...     return 2.0 * x
        >>> double(3.0)
        6.0
    """
    if func is None:
        return functools.partial(function)
    if not callable(func):
        raise TypeError(
            "[function] it decorates a function. "
            f"Received: {func!r}. Try @kurve.function before a def."
        )
    return func
