"""Reading the pickles that hold some data sets, without executing anything.

A pickle is a program for a stack machine. `read` runs the instructions used in these
files and rejects all others. The only names it knows are those NumPy uses for arrays;
they become `Array`, built here from a shape, a dtype and bytes.

Format: Python's `pickletools`; NumPy's `ndarray.__reduce__`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_ELEMENTS = 1 << 30
"""Maximum elements of one array."""

NUMBERS = re.compile(rb"(?:K.|M..|J....)+", re.DOTALL)
NUMBER = re.compile(rb"K.|M..|J....", re.DOTALL)


class _Numbers(dict[bytes, int]):
    """The integer of each instruction that pushes one."""

    def __missing__(self, code: bytes) -> int:
        number = int.from_bytes(code[1:], "little", signed=code[0] == ord("J"))
        if len(self) < 1 << 20:
            self[code] = number
        return number


class _Name(str):
    """A name that NumPy's arrays are written with."""


class _Made:
    """An array or dtype whose values are not known yet."""

    def __init__(self, kind: str, text: str = "") -> None:
        self.kind, self.text = kind, text
        self.value: Any = None


NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _Name("array"),
    ("numpy._core.multiarray", "_reconstruct"): _Name("array"),
    ("numpy", "ndarray"): _Name("ndarray"),
    ("numpy", "dtype"): _Name("dtype"),
    ("_codecs", "encode"): _Name("encode"),
}
MARK = object()


def read(data: bytes) -> Any:
    """The contents of a pickle of lists, dictionaries, tuples, numbers, strings and
    arrays.

    Args:
        data: the pickle. Python 2 strings are returned as bytes.

    Raises:
        ValueError: an unknown instruction or name, or a truncated pickle.
    """
    machine = _Machine(data)
    try:
        return machine.run()
    except (
        IndexError,
        KeyError,
        TypeError,
        UnicodeDecodeError,
        OverflowError,
    ) as error:
        raise ValueError(
            f"byte {machine.at}: the pickle is damaged ({error!r})"
        ) from error


class _Machine:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.numbers = _Numbers()

    def run(self) -> Any:
        data, steps = self.data, _STEPS
        while self.at < len(data):
            found = NUMBERS.match(data, self.at)
            if found is not None:
                codes = NUMBER.findall(found[0])
                self.stack += map(self.numbers.__getitem__, codes)
                self.at = found.end()
                continue
            code = data[self.at]
            self.at += 1
            if code == ord("."):
                (result,) = self.stack
                return _value(result)
            step = steps.get(code)
            if step is None:
                raise ValueError(
                    f"byte {self.at - 1}: the instruction {bytes([code])!r} is none of "
                    "those that data need"
                )
            step(self)
        raise ValueError("the pickle ends early")

    # ------------------------------------------------------------ reading

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise ValueError("the pickle ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 200)
        if end < 0:
            raise ValueError(f"byte {self.at}: a name without an end")
        text = self.data[self.at : end].decode("ascii")
        self.at = end + 1
        return text

    # ------------------------------------------------------------ the stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise ValueError(f"byte {self.at}: nothing above the mark")
        return value

    def pop_mark(self) -> list[Any]:
        stack = self.stack
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is MARK:
                found = stack[i + 1 :]
                del stack[i:]
                return found
        raise ValueError(f"byte {self.at}: there is no mark")

    def tuple_of(self, count: int) -> None:
        parts = [self.pop() for _ in range(count)]
        self.push(tuple(parts[::-1]))

    def append(self, found: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError(f"byte {self.at}: elements of what is no list")
        target += found

    def set_items(self, found: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(found) % 2:
            raise ValueError(f"byte {self.at}: entries of what is no dictionary")
        for key, value in zip(found[::2], found[1::2], strict=True):
            if not isinstance(key, (bytes, str, int)):
                raise ValueError(f"byte {self.at}: a key that is not text")
            target[key] = value

    def name(self, module: Any, name: Any) -> None:
        known = NAMES.get((module, name))
        if known is None:
            raise ValueError(
                f"byte {self.at}: the name {module}.{name}, which no data need"
            )
        self.push(known)

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Name) or type(arguments) is not tuple:
            raise ValueError(f"byte {self.at}: a call of something else than an array")
        if function == "array":
            if arguments[0] != "ndarray" or not isinstance(arguments[0], _Name):
                raise ValueError(f"byte {self.at}: an array of another class")
            self.push(_Made("array"))
        elif function == "dtype":
            self.push(_Made("dtype", _text(arguments[0])))
        elif function == "encode" and arguments[1:] == ("latin1",):
            self.push(arguments[0].encode("latin1"))
        else:
            raise ValueError(f"byte {self.at}: a call of {function}")

    def build(self) -> None:
        state, made = self.pop(), self.stack[-1]
        if not isinstance(made, _Made) or type(state) is not tuple:
            raise ValueError(f"byte {self.at}: a state of something else than an array")
        if made.kind == "dtype":
            order = _text(state[1])
            text = made.text
            if not re.fullmatch(r"[biufO][1248]?", text) or order not in "<>|=":
                raise ValueError(f"byte {self.at}: numbers of the type {text!r}")
            made.value = np.dtype(text if text[0] == "O" else order + text)
        else:
            made.value = _array(self.at, *state[1:])


def _array(at: int, shape: Any, kind: Any, fortran: Any, data: Any) -> np.ndarray:
    dtype = kind.value if isinstance(kind, _Made) and kind.kind == "dtype" else None
    sizes = [size for size in shape if type(size) is int and 0 <= size <= MAX_ELEMENTS]
    count = math.prod(sizes)
    if (
        dtype is None
        or len(sizes) != len(shape)
        or count > MAX_ELEMENTS
        or len(shape) > 8
    ):
        raise ValueError(f"byte {at}: an array without a shape or type")
    if dtype.kind == "O":
        if type(data) is not list or len(data) != count or len(shape) != 1:
            raise ValueError(f"byte {at}: an array of {count} parts has others")
        objects = np.empty(count, object)
        objects[:] = [_value(part) for part in data] if count else []
        return objects
    if type(data) is str:  # a Python 2 string, written by Python 3
        data = data.encode("latin1")
    if type(data) is not bytes or len(data) != count * dtype.itemsize:
        raise ValueError(f"byte {at}: an array of {count} numbers has others")
    flat = np.frombuffer(data, dtype)
    return flat.reshape(tuple(shape), order="F" if fortran else "C")


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _value(part: Any) -> Any:
    """The part with its placeholders replaced by arrays."""
    if isinstance(part, _Made):
        if part.kind != "array" or part.value is None:
            raise ValueError("an array without values")
        return part.value
    if isinstance(part, _Name) or part is MARK:
        raise ValueError("a name instead of data")
    if type(part) is dict:
        if any(type(value) is dict for value in part.values()):
            raise ValueError("a dictionary in a dictionary")
        return {key: _value(value) for key, value in part.items()}
    return part


def _remember(machine: _Machine, place: int) -> None:
    machine.memo[place] = machine.stack[-1]


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.name(module, name)


_STEPS: dict[int, Callable[[_Machine], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m.take(1),  # the version
        "\x95": lambda m: m.take(8),  # the length of what follows
        "(": lambda m: m.push(MARK),
        ")": lambda m: m.push(()),
        "\x85": lambda m: m.tuple_of(1),
        "\x86": lambda m: m.tuple_of(2),
        "\x87": lambda m: m.tuple_of(3),
        "t": lambda m: m.push(tuple(m.pop_mark())),
        "]": lambda m: m.push([]),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.pop_mark()),
        "}": lambda m: m.push({}),
        "s": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
        "u": lambda m: m.set_items(m.pop_mark()),
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "K": lambda m: m.push(m.number(1)),
        "U": lambda m: m.push(m.take(m.number(1))),
        "T": lambda m: m.push(m.take(m.number(4))),
        "C": lambda m: m.push(m.take(m.number(1))),
        "B": lambda m: m.push(m.take(m.number(4))),
        "\x8e": lambda m: m.push(m.take(m.number(8))),
        "X": lambda m: m.push(m.take(m.number(4)).decode("utf-8")),
        "\x8c": lambda m: m.push(m.take(m.number(1)).decode("utf-8")),
        "q": lambda m: _remember(m, m.number(1)),
        "r": lambda m: _remember(m, m.number(4)),
        "\x94": lambda m: _remember(m, len(m.memo)),
        "h": lambda m: m.push(m.memo[m.number(1)]),
        "j": lambda m: m.push(m.memo[m.number(4)]),
        "c": lambda m: m.name(m.line(), m.line()),
        "\x93": _stack_global,
        "R": lambda m: m.call(),
        "b": lambda m: m.build(),
    }.items()
}
"""The action of each instruction, except those that push integers."""
