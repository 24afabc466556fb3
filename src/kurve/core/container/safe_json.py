"""JSON from an untrusted source: its size is checked before it is parsed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 32
MAX_TOKENS = 100_000
"""Maximum number of commas, colons and brackets. A parsed value can take 200 times the
memory of the two bytes it is written with."""

MAX_DIGITS = 20

_OTHERS = bytes(set(range(256)) - set(b"[]{},:"))
_OPEN = b"[{"
PIECE = 1 << 20
"""Number of characters to scan at a time."""


def parse(text: bytes | str) -> Any:
    """Parse JSON text.

    Raises:
        ValueError: not JSON in ASCII; nested deeper than `MAX_DEPTH`; more than
            `MAX_TOKENS`; a duplicate key; a number that is not finite or has more than
            `MAX_DIGITS` digits before the decimal point; a lone surrogate.
    """
    if not text.isascii():
        raise ValueError("it is not ASCII")
    if isinstance(text, bytes):
        text = text.decode("ascii")
    _check_size(text)
    value = json.loads(
        text,
        object_pairs_hook=_unique,
        parse_constant=_constant,
        parse_int=_integer,
        parse_float=_finite,
    )
    if "\\u" in text and not _is_text(value):
        raise ValueError("it has a lone surrogate")
    return value


def _check_size(text: str) -> None:
    """Refuse text that is nested too deeply or has too many values, by counting
    brackets, commas and colons."""
    quotes = signs = depth = 0
    for outside, count in _outside(text):
        quotes += count
        if quotes > MAX_TOKENS * 2:
            raise ValueError(f"it has more than {MAX_TOKENS * 2} quotation marks")
        signs += len(outside)
        if signs > MAX_TOKENS:
            raise ValueError(f"it has more than {MAX_TOKENS} values")
        for sign in outside.translate(None, b",:"):
            depth += 1 if sign in _OPEN else -1
            if depth > MAX_DEPTH:
                raise ValueError(f"it is nested deeper than {MAX_DEPTH}")


def _outside(text: str) -> Iterator[tuple[bytes, int]]:
    """The brackets, commas and colons outside strings and the number of quotation
    marks, chunk by chunk, to avoid copying the whole text."""
    start = inside = 0
    while start < len(text):
        piece = text[start : start + PIECE]
        start += PIECE
        tail = len(piece) - len(piece.rstrip("\\"))
        if tail % 2 and start < len(text):  # the chunk ends inside an escape sequence
            piece, start = piece[:-1], start - 1
        plain = piece.encode().replace(b"\\\\", b"").replace(b'\\"', b"")
        if not plain:
            continue
        parts = plain.split(b'"', MAX_TOKENS * 2 + 1)
        yield b"".join(parts[inside::2]).translate(None, _OTHERS), len(parts) - 1
        inside = (inside + len(parts) - 1) % 2


def _is_text(value: Any) -> bool:
    """Whether all strings in a value can be encoded in UTF-8."""
    if isinstance(value, dict):
        return all(_is_text(key) and _is_text(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_text, value))
    if isinstance(value, str) and not value.isascii():
        for start in range(0, len(value), PIECE):
            try:
                value[start : start + PIECE].encode()
            except UnicodeEncodeError:
                return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"{key[:80]!r} is a duplicate key")
        table[key] = value
    return table


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:MAX_DIGITS]} is out of range")
    return value
