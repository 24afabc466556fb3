"""Error classes and helpers. Messages have one form: where, rule, why, received, fix.

    [Dense] expected the last axis of x to be 3, because kernel is (3, 8).
    Received: x.shape=(32, 4). Try Input(shape=(4,)).

Kurve raises built-in exception types: `TypeError` for an argument of the wrong type,
`ValueError` for a wrong value, `RuntimeError` for a call at the wrong time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any


class NonFiniteError(FloatingPointError):
    """A loss, gradient or update became NaN or infinite; the update was not applied.

    what: "the loss", "the gradient of dense/kernel", or "the update of dense/kernel"
        (its new value, or its optimizer state)
    step: number of updates before the one that failed
    learning_rate: learning rate of the failed update
    cause: sentences on the cause and its fix, if known
    """

    def __init__(
        self, what: str, step: int, learning_rate: float, cause: str = ""
    ) -> None:
        self.what, self.step, self.learning_rate = what, step, learning_rate
        self.cause = cause
        super().__init__(
            f"[fit] {what} is not finite at step {step + 1} with learning rate "
            f"{learning_rate:.3g}. The update was not applied: the model keeps its "
            "last finite weights. "
            + (
                cause
                or "Try a smaller learning rate, inputs scaled with "
                "layers.Normalization, or clipnorm=1.0 in the optimizer."
            )
        )

    def because(self, cause: str) -> NonFiniteError:
        """The same error with sentences on its cause."""
        found = NonFiniteError(self.what, self.step, self.learning_rate, cause)
        for note in getattr(self, "__notes__", []):
            found.add_note(note)
        return found

    def __reduce__(self) -> Any:
        return type(self), (self.what, self.step, self.learning_rate, self.cause)


class ModelBusyError(RuntimeError):
    """Another call is training or changing the model; this call changed nothing."""


class WrongKindError(TypeError, ValueError):
    """An argument of the wrong type where Keras raises ValueError."""


class MissingFileError(FileNotFoundError, ValueError):
    """A missing file where Keras raises ValueError."""


class TableError(ValueError):
    """A data file is invalid, or does not fit the request."""


class CheckpointError(ValueError):
    """A checkpoint does not match the `fit` call or cannot be read."""


class CheckpointInUseError(RuntimeError):
    """Another `fit`, possibly in another process, uses the checkpoint folder."""


def unknown_name(where: str, what: str, name: Any, known: Iterable[str]) -> ValueError:
    """The error for an unknown name, suggesting the closest matches."""
    import difflib

    names = sorted(set(known))
    given = str(name).lower()
    by_lower = {candidate.lower(): candidate for candidate in names}
    by_letters = {"".join(sorted(c.lower())): c for c in names}
    by_initials = {"".join(part[:1] for part in c.split("_")): c for c in names}
    near = difflib.get_close_matches(given, list(by_lower), n=1, cutoff=0.5)
    meant = by_letters.get("".join(sorted(given)))  # transposed letters
    meant = meant or (by_lower[near[0]] if near else by_initials.get(given))
    # If the table has both names and classes, show only the names.
    shown = ", ".join(
        [candidate for candidate in names if candidate.islower()] or names
    )
    hint = f"Did you mean {meant!r}? Known: " if meant else "Try one of: "
    fix = f"{hint}{shown}." if shown else f"There is no {what}."
    return ValueError(f"[{where}] unknown {what}. Received: {name!r}. {fix}")


def unknown_argument(
    call: Callable[..., Any], name: str, where: str | None = None
) -> TypeError:
    """The error for an argument that a class or method does not have, suggesting the
    closest match."""
    where = call.__name__ if where is None else where
    known = known_arguments(call)
    return TypeError(str(unknown_name(where, "argument", name, known)))


def known_arguments(call: Callable[..., Any]) -> set[str]:
    """The names of the arguments of a function, or of a class and its bases. Required
    arguments of base classes are excluded: the class passes them itself."""
    import inspect

    calls: dict[Any, Any] = {call: call}
    if isinstance(call, type):
        bases: tuple[Any, ...] = call.__mro__[:-1]
        calls = {base: base.__init__ for base in bases}
    return {
        parameter.name
        for part, function in calls.items()
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and (part is call or parameter.default is not parameter.empty)
    } - {"self"}


def lookup(where: str, what: str, name: Any, table: Mapping[str, Any]) -> Any:
    """`table[name]`, or raise `unknown_name`."""
    if isinstance(name, str) and name in table:
        return table[name]
    raise unknown_name(where, what, name, table)


def path_name(where: str, argument: str, value: Any, example: str) -> str:
    """The path of a file or folder as a string.

    Raises:
        TypeError: the value is not a path.
        ValueError: it is empty.
    """
    if isinstance(value, (str, os.PathLike)) and os.fspath(value):
        return os.fsdecode(value)
    what = "file" if os.path.splitext(example)[1] else "folder"
    kind = ValueError if isinstance(value, str) else WrongKindError
    raise kind(
        f"[{where}] {argument} must name a {what}. Received: {value!r}. "
        f"Try {argument}={example!r}."
    )


def no_attribute(module: str, name: str, more: Iterable[str] = ()) -> AttributeError:
    """The error for a name that is neither in a module nor in `more`."""
    import sys

    if name.startswith("_"):
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    known = [
        other
        for other, value in list(vars(sys.modules[module]).items())
        if str(getattr(value, "__module__", "")).startswith(module)
    ]
    known = [
        other
        for other in (*known, *more)
        if other[0] != "_" and other[0].isupper() == name[0].isupper()
    ]
    return AttributeError(str(unknown_name(module, "name", name, known)))
