"""Reader-writer locks for models that raise instead of waiting.

A call that trains or changes a model holds its lock exclusively. Until it returns:

* another call that would train the model is refused, even from callbacks of `fit`;
* calls that read the model (`predict`, `evaluate`, `save`, ...) are refused in other
  threads, because they could see a partial update; callbacks of `fit` may read it.

Any number of threads may read a model that is not being trained. If training starts
while another thread predicts, that thread gets an error instead of its result.

Models that share layers also share their locks: training one of them locks the
variables that the others use too.

A lock cannot outlive its call: it is released by one assignment in a `finally`, so no
signal can intervene. A forked child ignores locks held by threads of its parent.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Generator
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from kurve.errors import ModelBusyError


class ModelLock:
    """A lock on a model; while `active`, held by the call that trains or changes it."""

    __slots__ = ("active", "call", "pid", "thread")

    def __init__(self, call: str) -> None:
        self.call, self.active = call, False
        self.thread, self.pid = threading.get_ident(), os.getpid()

    def __reduce__(self) -> Any:
        """Copies are unlocked."""
        return _unlocked, ()

    @property
    def is_ours(self) -> bool:
        return self.thread == threading.get_ident()

    @property
    def is_held(self) -> bool:
        return self.active and self.pid == os.getpid()


UNLOCKED = ModelLock("")


def _unlocked() -> ModelLock:
    return UNLOCKED


class Lockable(Protocol):
    """A model."""

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


def _locks(model: Lockable) -> list[ModelLock]:
    """The current locks of the model and of variables shared with other models."""
    shared = getattr(model, "_shared_variables", ())
    return [model._model_lock, *(v.lock for v in shared)]


def check_readable(model: Lockable, where: str) -> list[ModelLock]:
    """The current locks of the model.

    Raises:
        ModelBusyError: another thread holds a lock.
    """
    locks = _locks(model)
    for lock in locks:
        if lock.active and lock.is_held and not lock.is_ours:
            raise _busy(where, lock)
    return locks


def check_still_readable(model: Lockable, where: str, before: list[ModelLock]) -> None:
    """Raise if another thread has started training since `check_readable`."""
    locks = _locks(model)
    if locks == before:
        return
    for lock in locks:
        if lock not in before and not lock.is_ours:
            raise _busy(where, lock)


def check_unlocked(model: Lockable, where: str) -> None:
    """Refuse changes during training, even from its own callbacks."""
    if model._model_lock.is_held:
        raise _busy(where, model._model_lock)


def _take(model: Lockable, where: str, lock: ModelLock, trains: bool = True) -> None:
    with _lock:
        check_unlocked(model, where)
        shared = getattr(model, "_shared_variables", ())
        for variable in shared:
            if variable.lock.is_held and (trains or not variable.lock.is_ours):
                raise _busy(where, variable.lock)
        lock.active = True
        model._model_lock = lock
        for variable in shared:
            if not variable.lock.is_held:
                variable.lock = lock


def exclusive(where: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator for functions that train a model: they hold its lock."""

    def decorate(call: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(call)
        def alone(*args: P.args, **kwargs: P.kwargs) -> R:
            model: Any = args[0] if args else kwargs.get("model")
            if not hasattr(model, "_model_lock"):  # let `call` raise the error
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
    """Like `exclusive` for a generator, which holds the lock from start to end."""

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
    """Decorator for methods that replace weights: they take the lock, or run in a
    callback of the `fit` that holds it."""
    where = call.__name__

    @functools.wraps(call)
    def alone(model: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if model._model_lock.is_held and model._model_lock.is_ours:
            return call(model, *args, **kwargs)
        lock = ModelLock(where)
        try:
            _take(model, where, lock, trains=False)
            return call(model, *args, **kwargs)
        finally:
            lock.active = False

    return alone


def reads(call: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """Decorator for methods that read the weights."""
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
            f"[{where}] the model is being trained by the {lock.call} from which this "
            f"call comes. Received: {where} from a callback of {lock.call}. Try it "
            "after it has returned, or on a copy: copy.deepcopy(model)."
        )
    return ModelBusyError(
        f"[{where}] the model is being changed by another thread. Received: {where} "
        f"during {lock.call}. Try again when it has returned, or use a copy per "
        "thread: copy.deepcopy(model)."
    )
