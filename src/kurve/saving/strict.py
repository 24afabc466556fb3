"""JSON from a source that is not trusted: bounded before anything is made of it."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 32
MAX_TOKENS = 100_000
"""Most commas, colons and brackets. Each value takes memory of its own, up to 200 times
the two bytes that it is written with."""

MAX_DIGITS = 20

_OTHERS = bytes(set(range(256)) - set(b"[]{},:"))
_OPEN = b"[{"[0], b"[{"[1]
_CLOSE = b"]}"[0], b"]}"[1]


def parse(text: bytes) -> Any:
    """The value that the text stands for.

    Raises:
        ValueError: not JSON in ASCII; deeper than `MAX_DEPTH`; more than `MAX_TOKENS`;
            a key that is given twice; a number that is not finite or has more than
            `MAX_DIGITS` digits before its point; half of a surrogate pair.
    """
    if not text.isascii():
        raise ValueError("it holds other bytes than ASCII")
    _check_size(text)
    value = json.loads(
        text,
        object_pairs_hook=_once,
        parse_constant=_constant,
        parse_int=_whole,
        parse_float=_finite,
    )
    if b"\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair stands alone") from None
    return value


def _check_size(text: bytes) -> None:
    """Refuse what nests too deep or holds too many values, from its brackets alone."""
    if text.count(b'"') > MAX_TOKENS * 2:
        raise ValueError(f"it has more than {MAX_TOKENS * 2} quotation marks")
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(plain.split(b'"')[::2]).translate(None, _OTHERS)
    if len(outside) > MAX_TOKENS:
        raise ValueError(f"it has more than {MAX_TOKENS} values")
    depth = 0
    for sign in outside.translate(None, b",:"):
        if sign in _OPEN:
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"it nests deeper than {MAX_DEPTH}")
        elif sign in _CLOSE:
            depth -= 1


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
