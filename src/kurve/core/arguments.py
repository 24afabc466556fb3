"""Argument checks shared by several modules."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kurve.errors import unknown_argument

if TYPE_CHECKING:
    from typing import TypedDict as TypedDict
else:

    class TypedDict:
        """`typing.TypedDict` for type checkers. At run time only its field names are
        needed, and creating a real one takes ten times as long."""

        def __init_subclass__(cls, total: bool = True) -> None: ...


MAX_NAME = 400
"""Maximum length of a layer's name; in files it shares a limit with the variable's."""

MAX_COUNT = 2**40
"""The largest length or count, far beyond any memory."""

UNUSED: dict[str, tuple[Any, ...]] = {
    "aggregation": ("none", None, "mean", "sum", "only_first_replica"),
    "auto_scale_loss": (True, False),
    "axis": (-1,),
    "class_aggregation": ("uniform_average",),
    "num_regressors": (0,),
    "dtype": (None, "float32"),
    "from_sorted_ids": (False,),
    "gptq_unpacked_column_size": (None,),
    "implementation": (2, 1, 0),
    "input_axes": (None,),
    "input_tensor": (None,),
    "lora_alpha": (None,),
    "lora_rank": (None,),
    "optional": (False,),
    "output_axes": (None,),
    "overwrite_with_gradient": (False,),
    "quantization_config": (None,),
    "jit_compile": ("auto", True, False, None),
    "ragged": (None, False),
    "renorm": (False,),
    "renorm_clipping": (None,),
    "renorm_momentum": (0.99,),
    "rms_scaling": (False,),
    "run_eagerly": (False, True, None),
    "sparse": (None, False),
    "synchronized": (False,),
    "tensor": (None,),
}
"""Keras's arguments for features that Kurve lacks, with the values that have no
effect in Keras either: these are accepted, so that calls written for Keras work."""

BATCH_SIZE = 32
"""Default number of rows per step."""


def is_integer(value: Any) -> bool:
    """Whether `value` is a Python or NumPy integer; True and False do not count."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether `value` is a finite real number; True and False do not count."""
    if not is_integer(value) and not isinstance(value, (float, np.floating)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer with more than 308 digits
        return False


def is_count(value: Any, low: int = 1) -> bool:
    """Whether `value` is an integer from `low` to `MAX_COUNT`."""
    return is_integer(value) and low <= value <= MAX_COUNT


def check_number(
    where: str,
    name: str,
    value: Any,
    example: Any,
    low: float = -math.inf,
    high: float = math.inf,
    ends: str = "[]",
) -> float:
    """The value as a float, if it is a finite number from `low` to `high`.

    Args:
        where, name, example: for the message.
        ends: which limits belong to the interval, as in "[)".

    Raises:
        ValueError: any other value.
    """
    if (
        is_number(value)
        and (low < value or (low == value and ends[0] == "["))
        and (value < high or (value == high and ends[1] == "]"))
    ):
        return float(value)
    if low == -math.inf and high == math.inf:
        rule = "a finite number"
    elif high > 1e30:
        rule = f"finite and {'at least' if ends[0] == '[' else 'above'} {low:g}"
    else:
        rule = f"in {ends[0]}{low:g}, {high:g}{ends[1]}"
    raise ValueError(
        f"[{where}] {name} must be {rule}. "
        f"Received: {name}={value!r}. Try {name}={example!r}."
    )


def check_integer(
    where: str,
    name: str,
    value: Any,
    example: Any,
    low: int = 1,
    high: int = MAX_COUNT,
    optional: bool = False,
) -> None:
    """Check that the value is an integer from `low` to `high`, or None if that is
    allowed.

    Args:
        where, name, example: for the message.

    Raises:
        ValueError: any other value.
    """
    if value is None and optional:
        return
    if is_count(value, low) and value <= high:
        return
    unlimited = high == MAX_COUNT and not (is_integer(value) and value > high)
    limits = f"of at least {low}" if unlimited else f"from {low} to {high}"
    limits += " or None" if optional else ""
    raise ValueError(
        f"[{where}] {name} must be an integer {limits}. "
        f"Received: {name}={value!r}. Try {name}={example!r}."
    )


def check_count(where: str, name: str, value: Any, low: int) -> None:
    """Check that the value is an integer from `low`, such as a number of epochs.

    Raises:
        TypeError: not an integer.
        ValueError: it is too small, or does not fit into 64 bits.
    """
    if not is_integer(value):
        raise TypeError(
            f"[{where}] {name} must be an integer. "
            f"Received: {name}={value!r}. Try {name}={_nearest_count(value, low)}."
        )
    if value < low:
        fix = BATCH_SIZE if name.endswith("batch_size") else max(low, 1)
        raise ValueError(
            f"[{where}] {name} must be at least {low}. "
            f"Received: {name}={value}. Try {name}={fix}."
        )
    if value >= 2**63:
        raise ValueError(
            f"[{where}] {name} must be below 2**63. "
            f"Received: an integer of {int(value).bit_length()} bits. "
            f"Try {name}={max(low, BATCH_SIZE)}."
        )


def _nearest_count(value: Any, low: int) -> int:
    """The integer probably meant."""
    try:
        return max(round(float(value)), low, 1)
    except (TypeError, ValueError, OverflowError):
        return max(low, 1)


def check_batch_size(where: str, batch_size: Any) -> int | None:
    """The fixed batch size in a model's description, or None for any.

    Raises:
        ValueError: not a positive integer.
    """
    if batch_size is None or is_count(batch_size):
        return None if batch_size is None else int(batch_size)
    raise ValueError(
        f"[{where}] batch_size must be None or a positive integer. "
        f"Received: batch_size={batch_size!r}. Try batch_size=None."
    )


def check_choice(where: str, name: str, value: Any, known: Iterable[Any]) -> Any:
    """Return `value` if it is one of the strings or numbers in `known`.

    Raises:
        ValueError: anything else; the message lists `known` and suggests the first.
    """
    choices = tuple(known)
    if np.isscalar(value) and value in choices:
        return value
    raise ValueError(
        f"[{where}] {name} must be one of {', '.join(map(repr, choices))}. "
        f"Received: {name}={value!r}. Try {name}={choices[0]!r}."
    )


def check_flag(where: str, name: str, value: Any) -> bool:
    """Return `value` as a bool; 1 and 0 are accepted.

    Raises:
        TypeError: anything else; guessing the truth value of "no" or None is unsafe.
    """
    if isinstance(value, (bool, np.bool_)) or (is_integer(value) and value in (0, 1)):
        return bool(value)
    raise TypeError(
        f"[{where}] {name} must be True or False. "
        f"Received: {name}={value!r}. Try {name}=True."
    )


def check_name(where: str, name: Any) -> str:
    """Check that files can store this name.

    Raises:
        TypeError: not a string.
        ValueError: a lone surrogate, which UTF-8 cannot encode, or too long.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"[{where}] name must be a string. Received: name={name!r} of type "
            f"{type(name).__name__}. Try name='first'."
        )
    if has_lone_surrogate(name):
        raise ValueError(
            f"[{where}] name must not contain lone surrogates, which UTF-8 cannot "
            f"encode. Received: name={name!r}. Try name='first'."
        )
    if len(name) > MAX_NAME:
        raise ValueError(
            f"[{where}] name must have at most {MAX_NAME} characters. "
            f"Received: {name[:80]!r} and {len(name) - 80} more. Try a shorter name."
        )
    return str(name)


def has_lone_surrogate(text: str) -> bool:
    """Whether the text contains a lone surrogate, which UTF-8 cannot encode."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def refuse_arguments(cls: type, given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that a class does not have. Arguments listed in `unused`
    of the class or its bases are accepted if their value is in `UNUSED`.

    Raises:
        TypeError: unknown argument; the message suggests the closest match.
        ValueError: another value of an unused argument.
    """
    for name, value in given.items():
        if name not in unused_arguments(cls):
            raise unknown_argument(cls, name)
        check_unused(cls.__name__, **{name: value})


def unused_arguments(cls: type) -> set[str]:
    """Keras arguments that a class accepts and ignores: those unpacked by the
    constructors of its bases, and those a base class lists in `unused`."""
    bases: tuple[Any, ...] = cls.__mro__
    return UNUSED.keys() & {
        name
        for base in bases
        for name in (*unpacked(base.__init__), *vars(base).get("unused", ()))
    }


def unpacked(function: Callable[..., Any]) -> dict[str, Any]:
    """Names and types of the arguments that a function takes by
    `**arguments: Unpack[Names]`, where Names is a `TypedDict` in its module."""
    for hint in getattr(function, "__annotations__", {}).values():
        if isinstance(hint, str) and hint.startswith("Unpack["):
            module = vars(sys.modules[function.__module__])
            names = module[hint.removeprefix("Unpack[").removesuffix("]")]
            return {
                name: kind
                for cls in reversed(names.__mro__[:-1])
                for name, kind in cls.__annotations__.items()
            }
    return {}


def check_unused(where: str, **given: Any) -> None:
    """Refuse values of unused arguments that are not in `UNUSED`."""
    for name, value in given.items():
        accepted = UNUSED[name]
        if not any(type(value) is type(one) and value == one for one in accepted):
            raise ValueError(
                f"[{where}] {name} can only be {' or '.join(map(repr, accepted))}: "
                f"nothing else is supported yet. Received: {name}={value!r}. "
                f"Try {where} without {name}."
            )


class _FromSignature:
    def __set_name__(self, owner: Any, name: str) -> None:
        code = inspect.unwrap(owner.__init__).__code__
        names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        common = ("name", "trainable", "dtype")
        setattr(owner, name, tuple(n for n in names if n not in common))


def from_signature() -> tuple[str, ...]:
    """For a class attribute: the names of the arguments of the class's `__init__`, but
    for those that every class of its kind has (name, trainable, dtype)."""
    return cast(tuple[str, ...], _FromSignature())
