"""One thread at a time trains a model, and nobody else uses it meanwhile.

A thread that trains or changes a model holds a claim on it. Until that ends

* another call that would train it is refused, from callbacks of `fit` too;
* what reads the model (`predict`, `evaluate`, `save`, ...) is refused from other
  threads, because they might meet half an update; callbacks of `fit` may read it.

Any number of threads may read a model that nobody trains. Where training begins while
another thread predicts, that thread is told so and gets no result.

A claim cannot outlive its call: it is given back by a single assignment in a `finally`,
which no signal can come before. A forked child owes nothing to its parent's threads.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Generator
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from kurve.errors import ModelBusyError


class ModelLock:
    """A call that trains or changes a model, while `active`."""

    __slots__ = ("active", "call", "pid", "thread")

    def __init__(self, call: str) -> None:
        self.call, self.active = call, False
        self.thread, self.pid = threading.get_ident(), os.getpid()

    @property
    def is_ours(self) -> bool:
        return self.thread == threading.get_ident()

    @property
    def is_held(self) -> bool:
        return self.active and self.pid == os.getpid()


UNLOCKED = ModelLock("")


class Lockable(Protocol):
    """What can be claimed."""

    _model_lock: ModelLock


P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=Lockable)
Y = TypeVar("Y")
_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def check_readable(model: Lockable, where: str) -> ModelLock:
    """The claim that is on the model now.

    Raises:
        ModelBusyError: it is another thread's, and holds.
    """
    lock = model._model_lock
    if lock.active and lock.is_held and not lock.is_ours:
        raise _busy(where, lock)
    return lock


def check_still_readable(model: Lockable, where: str, before: ModelLock) -> None:
    """Raise if another thread has started to train since `check_readable`."""
    lock = model._model_lock
    if lock is not before and not lock.is_ours:
        raise _busy(where, lock)


def check_unlocked(model: Lockable, where: str) -> None:
    """Refuse a change of what training goes on with, also from its own callbacks."""
    if model._model_lock.is_held:
        raise _busy(where, model._model_lock)


def _take(model: Lockable, where: str, lock: ModelLock) -> None:
    with _lock:
        check_unlocked(model, where)
        lock.active = True
        model._model_lock = lock


def exclusive(where: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For a function of a model that trains it: no other one goes on meanwhile."""

    def decorate(call: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(call)
        def alone(*args: P.args, **kwargs: P.kwargs) -> R:
            model: Any = args[0] if args else kwargs.get("model")
            if not hasattr(model, "_model_lock"):  # an error, but not one of ours
                return call(*args, **kwargs)
            lock = ModelLock(where)
            try:
                _take(model, where, lock)
                return call(*args, **kwargs)
            finally:
                lock.active = False

        return alone

    return decorate


def exclusive_generator(
    where: str,
) -> Callable[
    [Callable[Concatenate[M, P], Generator[Y, None, R]]],
    Callable[Concatenate[M, P], Generator[Y, None, R]],
]:
    """The same for a generator, from its first step until it is closed."""

    def decorate(
        call: Callable[Concatenate[M, P], Generator[Y, None, R]],
    ) -> Callable[Concatenate[M, P], Generator[Y, None, R]]:
        @functools.wraps(call)
        def alone(
            model: M, /, *args: P.args, **kwargs: P.kwargs
        ) -> Generator[Y, None, R]:
            lock = ModelLock(where)
            try:
                _take(model, where, lock)
                return (yield from call(model, *args, **kwargs))
            finally:
                lock.active = False

        return alone

    return decorate


def modifies(call: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """For a method that replaces weights: callbacks of `fit` may, other threads not."""
    where = call.__name__

    @functools.wraps(call)
    def alone(model: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if model._model_lock.is_held and model._model_lock.is_ours:
            return call(model, *args, **kwargs)
        lock = ModelLock(where)
        try:
            _take(model, where, lock)
            return call(model, *args, **kwargs)
        finally:
            lock.active = False

    return alone


def reads(call: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """For a method that reads the weights."""
    where = call.__name__.strip("_")

    @functools.wraps(call)
    def checked(model: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        before = check_readable(model, where)
        result: Any = call(model, *args, **kwargs)
        check_still_readable(model, where, before)
        return result

    return checked


def _busy(where: str, lock: ModelLock) -> ModelBusyError:
    if lock.is_ours:
        return ModelBusyError(
            f"[{where}] the model is being trained by the {lock.call} that this call "
            f"comes from. Received: {where} from a callback of {lock.call}. Try it "
            "after that has returned, or with a copy: copy.deepcopy(model)."
        )
    return ModelBusyError(
        f"[{where}] the model is being changed by another thread. Received: {where} "
        f"during {lock.call}. Try again when that has returned, or a copy for each "
        "thread: copy.deepcopy(model)."
    )
