"""Text that is safe inside a C file: identifiers, comments, string literals, numbers.

Names come from users: nothing in them may end a comment, a literal or a line.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator

import numpy as np

LONGEST_NAME = 40
"""Characters of the prefix: C99 distinguishes identifiers by 63, externals by 31."""

LONGEST_TEXT = 900
"""Bytes of a literal; C99 promises 4095 characters, and each byte can take four."""

PER_LINE = 8
"""Numbers per line."""


def identifier(title: str) -> str:
    """A C identifier from a file's name: "2x64 net.c" is kurve_2x64_net."""
    stem = os.path.splitext(title)[0]
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")[:LONGEST_NAME].rstrip("_")
    return name if name[:1].isalpha() else f"kurve_{name}".rstrip("_")


def comment(text: str, longest: int = 60) -> str:
    """Text for a comment: printable ASCII without * / \\ and ?."""
    safe = re.sub(r"[^ -~]|[*/\\?]", "_", text)
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


def literal(text: str) -> str:
    """A string literal of the text in UTF-8, cut off after `LONGEST_TEXT` bytes."""
    data = text.encode("utf-8", "replace")[:LONGEST_TEXT]
    data = data.decode("utf-8", "ignore").encode()
    return '"' + "".join(map(_escaped, data)) + '"'


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character.isascii() and (character.isalnum() or character in " _.,:;=+-<>()"):
        return character
    return f"\\{byte:03o}"  # three digits, so that no following digit can join


def real(value: float) -> str:
    """A double, exactly."""
    if math.isnan(value):
        return "NAN"
    return _short(float(value).hex())


def single(value: float) -> str:
    """A float, exactly."""
    return _short(float(np.float32(value)).hex()) + "f"


def _short(text: str) -> str:
    """Python's form without the zeros at the end of the fraction."""
    mantissa, _, exponent = text.partition("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}"


def numbers(values: np.ndarray, double: bool = False) -> Iterator[str]:
    """Lines of numbers, separated by commas."""
    flat = values.ravel()
    texts = list(map(real, flat.tolist())) if double else _singles(flat)
    for first in range(0, len(texts), PER_LINE):
        yield "    " + ", ".join(texts[first : first + PER_LINE]) + ","


def _singles(values: np.ndarray) -> list[str]:
    """`single` of many numbers at once, as integer multiples of a power of 2."""
    missing = np.isnan(values)
    exact = np.where(missing, 0.0, values).astype(np.float64)
    mantissas, exponents = np.frexp(np.abs(exact))
    signs = np.where(np.signbit(exact), "-", "")
    integers = (mantissas * 2**24).astype(np.int64)
    parts = zip(
        signs.tolist(), integers.tolist(), (exponents - 24).tolist(), strict=True
    )
    texts = [f"{sign}0x{mantissa:x}p{power}f" for sign, mantissa, power in parts]
    for i in np.flatnonzero(missing):
        texts[i] = "NAN"
    return texts


def table(kind: str, name: str, values: np.ndarray | Iterable[int]) -> list[str]:
    """A constant array of int, float or double."""
    array = np.asarray(values)
    if kind == "int":
        rows = [f"    {', '.join(map(str, array.tolist()))}"]
    else:
        rows = list(numbers(array, kind == "double"))
    return [f"static const {kind} {name}[{array.size}] = {{", *rows, "};"]
