"""Detection of text encodings and binary formats from the first bytes."""

from __future__ import annotations

import codecs

ENCODINGS = (
    "utf-8",
    "latin-1",
    "cp1252",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "mac-roman",
    "cp437",
    "koi8-r",
    "shift-jis",
    "gb18030",
    "euc-kr",
    "big5",
)
"""Encodings suggested in messages."""

_NOT_OF_FILES = (
    "idna",
    "punycode",
    "undefined",
    "unicode-escape",
    "raw-unicode-escape",
)
"""Python codecs that are not file encodings."""

_BINARY = {
    b"PK\x03\x04": "a spreadsheet or zip file",
    b"PAR1": "a Parquet file",
    b"ARROW1": "a Feather file",
    b"\x1f\x8b": "a gzip file",
}


def encoding_of(head: bytes, name: str) -> str | None:
    """The encoding of a text that starts with `head`: that of its byte order mark, or
    the one of that name; None if Python does not know it."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    name = name.lower().replace("_", "-")
    if name in ("utf8", "utf-8", "utf-8-sig", "utf8-sig"):
        return "utf-8"
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):  # ValueError: a name with a zero byte
        return None
    standard = codec.name.replace("_", "-")
    if standard in _NOT_OF_FILES or not codec._is_text_encoding:
        return None
    return standard if standard.startswith(("utf-16", "utf-32")) else name


def has_byte_order_mark(head: bytes) -> bool:
    return head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))


def binary_format(head: bytes) -> str | None:
    """The format of a file that is not text, by its first bytes: "a Parquet file"."""
    for magic, name in _BINARY.items():
        if head.startswith(magic):
            return name
    return None
