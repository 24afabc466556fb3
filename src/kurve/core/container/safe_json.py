"""JSON from a source that is not trusted: bounded before anything is made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 32
MAX_TOKENS = 100_000
"""Most commas, colons and brackets. Each value takes memory of its own, up to 200 times
the two bytes that it is written with."""

MAX_DIGITS = 20

_OTHERS = bytes(set(range(256)) - set(b"[]{},:"))
_OPEN = b"[{"
PIECE = 1 << 20
"""Characters that are looked at together."""


def parse(text: bytes | str) -> Any:
    """The value that the text stands for.

    Raises:
        ValueError: not JSON in ASCII; deeper than `MAX_DEPTH`; more than `MAX_TOKENS`;
            a key that is given twice; a number that is not finite or has more than
            `MAX_DIGITS` digits before its point; half of a surrogate pair.
    """
    if not text.isascii():
        raise ValueError("it holds other bytes than ASCII")
    if isinstance(text, bytes):
        text = text.decode("ascii")
    _check_size(text)
    value = json.loads(
        text,
        object_pairs_hook=_once,
        parse_constant=_constant,
        parse_int=_whole,
        parse_float=_finite,
    )
    if "\\u" in text and not _is_text(value):
        raise ValueError("half of a surrogate pair stands alone")
    return value


def _check_size(text: str) -> None:
    """Refuse what nests too deep or holds too many values, from its brackets alone."""
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
                raise ValueError(f"it nests deeper than {MAX_DEPTH}")


def _outside(text: str) -> Iterator[tuple[bytes, int]]:
    """The brackets, commas and colons outside of strings, and the number of quotation
    marks; piece by piece, for a copy of the whole would take memory."""
    begin = inside = 0
    while begin < len(text):
        piece = text[begin : begin + PIECE]
        begin += PIECE
        tail = len(piece) - len(piece.rstrip("\\"))
        if tail % 2 and begin < len(text):  # it ends within an escape
            piece, begin = piece[:-1], begin - 1
        plain = piece.encode().replace(b"\\\\", b"").replace(b'\\"', b"")
        if not plain:
            continue
        parts = plain.split(b'"', MAX_TOKENS * 2 + 1)
        yield b"".join(parts[inside::2]).translate(None, _OTHERS), len(parts) - 1
        inside = (inside + len(parts) - 1) % 2


def _is_text(value: Any) -> bool:
    """Whether all strings in a value can be written in UTF-8."""
    if isinstance(value, dict):
        return all(_is_text(key) and _is_text(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_text, value))
    if isinstance(value, str) and not value.isascii():
        for begin in range(0, len(value), PIECE):
            try:
                value[begin : begin + PIECE].encode()
            except UnicodeEncodeError:
                return False
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"{key[:80]!r} is given twice")
        made[key] = value
    return made


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:MAX_DIGITS]} is out of range")
    return value
