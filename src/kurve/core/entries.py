"""Entry points that users call: short tracebacks, and errors that name wrong arguments.

An error in a call to Kurve shows the user's line and one line of Kurve, not the frames
in between; frames of the user's callbacks and formulas stay. See `kurve.config`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from kurve.core.arguments import UNUSED, unpacked, unused_arguments
from kurve.errors import known_arguments, unknown_argument, unknown_name

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

VARIABLE = "KURVE_TRACEBACK_FILTERING"
_HIDDEN = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
    contextlib.__file__,
    functools.__file__,
)
"""Source paths whose frames are hidden."""

_INSTALLED = ("site-packages", "dist-packages")
"""Parts of the source paths of other libraries."""

filtering: list[bool] = [os.environ.get(VARIABLE, "") != "0"]
"""Whether Kurve's frames are hidden from tracebacks."""


def entry(call: Callable[P, R]) -> Callable[P, R]:
    """Decorator for functions and methods that users call."""

    def entered(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (TypeError, ValueError) as error:
            renewed = _renewed(call, args, kwargs)
            if renewed is None:
                problem = None
                if isinstance(error, TypeError):
                    problem = _misfit(call, args, kwargs)
                if problem is not None:
                    raise problem from None
                raise shown(error)  # noqa: B904 - it is the same error
        except BaseException as error:
            raise shown(error)  # noqa: B904
        return entered(*renewed[0], **renewed[1])

    # Like functools.wraps, which is six times slower, and there are hundreds of
    # entries.
    wrapper: Any = entered
    wrapper.__wrapped__, wrapper.__doc__ = call, call.__doc__
    wrapper.__module__, wrapper.__name__ = call.__module__, call.__name__
    wrapper.__qualname__ = call.__qualname__
    wrapper.__annotations__ = call.__annotations__
    if call.__dict__:  # attributes set on the function
        wrapper.__dict__.update(call.__dict__)
    return entered


def entries(cls: C) -> C:
    """Class decorator that turns all public methods of the class into entries."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and name not in ("__init__", "__call__"):
            continue
        if isinstance(member, classmethod):
            setattr(cls, name, classmethod(entry(member.__func__)))
        elif inspect.isfunction(member) and not inspect.isgeneratorfunction(member):
            setattr(cls, name, entry(member))
    return cls


class _Signature:
    """What `inspect.signature` and `help` show for a class: arguments that its
    constructor takes through `Unpack` are listed one by one."""

    def __get__(self, instance: Any, cls: Any) -> inspect.Signature:
        if instance is not None:  # instances have their own call signature
            raise AttributeError("__signature__")
        if cls.__init__ is object.__init__:
            return inspect.Signature()
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        names = unpacked(cls.__init__)
        if names:
            defaults = {
                parameter.name: parameter.default
                for base in cls.__mro__[:-1]
                for parameter in inspect.signature(base.__init__).parameters.values()
                if parameter.name in names
            }
            defaults |= {n: None for n in names if n.endswith("_constraint")}
            defaults |= {name: UNUSED[name][0] for name in names if name in UNUSED}
            parameters[-1:] = [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=defaults[name],
                    annotation=kind,
                )
                for name, kind in sorted(names.items(), key=lambda a: a[0] in UNUSED)
            ]
        return inspect.Signature(parameters)


class Entrance:
    """Base class of classes that users create and call: constructors and `__call__` are
    entries, in subclasses too."""

    __signature__ = _Signature()

    _has_name = False
    """Whether the constructor gives the object a name."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("__init__", "__call__", "adapt"):
            method: Any = vars(cls).get(name)
            if inspect.isfunction(method):
                setattr(cls, name, entry(method))

    if not TYPE_CHECKING:  # so that unknown attributes stay errors to type checkers

        def __getattr__(self, name: str) -> Any:
            if any(name in vars(base) for base in type(self).__mro__):
                return object.__getattribute__(self, name)  # raises its own error
            kind = type(self).__name__
            is_new = self._has_name and "name" not in vars(self)
            if is_new and not name.startswith("__") and not _is_kurve_class(type(self)):
                raise AttributeError(
                    f"[{kind}] super().__init__() must run before the object is used. "
                    f"Received: an object without it, which lacks {name!r}. "
                    f"Try super().__init__() first in {kind}.__init__.",
                    name=name,
                    obj=self,
                )
            raise AttributeError(
                f"{kind!r} object has no attribute {name!r}", name=name, obj=self
            )

    def __repr__(self) -> str:
        """The class name and, if it has `get_config`, its arguments, without the
        default dtype."""
        try:
            config = self.get_config()  # type: ignore[attr-defined]
            given = {k: v for k, v in config.items() if (k, v) != ("dtype", "float32")}
            arguments = [f"{k}={v!r}" for k, v in given.items() if v is not None]
        except (
            AttributeError,
            NotImplementedError,
        ):  # missing, or the user's own fails
            return object.__repr__(self)
        return f"{type(self).__name__}({', '.join(arguments)})"


def shown(error: BaseException) -> BaseException:
    """The error without Kurve's frames. Use `raise shown(error)` in methods so short
    that the overhead of `entry` would matter."""
    if filtering[0]:
        seen: set[int] = set()  # re-raised errors can form a cycle
        link: BaseException | None = error
        while link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = _filtered(link.__traceback__, link is error)
            link = link.__cause__ or link.__context__
    return error


def _filtered(tb: TracebackType | None, empty: bool) -> TracebackType | None:
    """The traceback without Kurve's frames. If no other frames remain, keep the last
    one, or none with `empty`."""
    visible: TracebackType | None = None
    frames = []
    while tb is not None:
        frames.append((tb.tb_frame, tb.tb_lineno))
        tb = tb.tb_next
    for frame, line in reversed(frames):
        hidden = frame.f_code.co_filename.startswith(_HIDDEN)
        if not hidden and not _is_kurve(frame.f_globals):  # and not generated code
            visible = TracebackType(visible, frame, frame.f_lasti, line)
    if visible is None and frames and not empty:
        frame, line = frames[-1]
        visible = TracebackType(None, frame, frame.f_lasti, line)
    return visible


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that points at the user's line, however many Kurve frames lie in
    between."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_kurve(frame.f_back.f_globals):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)


def user_line() -> str:
    """The line of the user's code that is running: "line 3 of program.py"; of a
    library's code only if nothing else runs."""
    frame: FrameType | None = sys._getframe(1)
    found = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if not _is_kurve(frame.f_globals) and not name.startswith(_HIDDEN):
            line = f"line {frame.f_lineno} of {os.path.basename(name)}"
            if not any(place in name for place in _INSTALLED):
                return line
            found = found or line
        frame = frame.f_back
    return found or "an unknown line"


def _is_kurve_class(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "kurve"


def _is_kurve(names: Mapping[str, Any]) -> bool:
    return str(names.get("__name__")).partition(".")[0] == "kurve"


def _renewed(
    call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """A call's arguments translated to current Keras names; None if none is
    outdated."""
    if not kwargs and call.__name__ != "add_weight":
        return None
    from kurve.legacy.arguments import renewed

    return renewed(call, args, kwargs)


def again(call: Callable[..., R], args: tuple[Any, ...], given: dict[str, Any]) -> R:
    """Repeat a call with outdated argument names translated to current ones.

    Raises:
        TypeError: an argument has no current equivalent.
    """
    renewed = _renewed(call, args, given)
    if renewed is None:
        name = call.__name__ if call.__name__ != "__call__" else type(args[0]).__name__
        raise unknown_argument(call, next(iter(given)), name)
    return call(*renewed[0], **renewed[1])


def _misfit(
    call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> TypeError | None:
    """The error for unknown or missing arguments; None if all fit."""
    signature = inspect.signature(call)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        problem = str(error)
    else:
        return None
    where = call.__name__
    if where in ("__init__", "__call__") and args:
        where = type(args[0]).__name__
    known = [p.name for p in signature.parameters.values() if p.kind in _NAMED]
    known = [name for name in known if name != "self"]
    taken = set(known)
    if call.__name__ == "__init__":  # include arguments of base classes
        taken |= known_arguments(type(args[0])) | unused_arguments(type(args[0]))
    for name in kwargs:
        if name not in taken:
            return TypeError(str(unknown_name(where, "argument", name, known)))
    if not known:
        return TypeError(
            f"[{where}] there are no arguments. Received: {problem}. Try {where}()."
        )
    return TypeError(
        f"[{where}] the arguments must be {', '.join(known)}. Received: {problem}. "
        f"Try {where}({', '.join(f'{name}=...' for name in known[:2])})."
    )


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
