"""Predictions through Kurve's C library from Python, with ctypes and NumPy only.

    make capi
    python examples/c/predict.py build/capi/libkurve.so model.plan.kurve <rows.txt

Any language that can call C does the same: Ruby, Julia, C#, Go, ...
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence

import numpy as np

API_VERSION = 1
OK = 0


class KurveError(Exception):
    """status: of kurve_status in kurve.h"""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Failure(ctypes.Structure):
    """kurve_error"""

    _fields_ = (("status", ctypes.c_int32), ("text", ctypes.c_char * 508))

    def check(self) -> None:
        if self.status != OK:
            raise KurveError(self.status, self.text.decode())


class Library:
    """The functions of the shared library."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.c = ctypes.CDLL(os.fspath(path))
        model, index, pointer = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
        self.c.kurve_version.restype = ctypes.c_char_p
        self.c.kurve_instruction_set.restype = ctypes.c_char_p
        self.c.kurve_load.argtypes = [ctypes.c_char_p, pointer, pointer]
        self.c.kurve_load_memory.argtypes = [ctypes.c_char_p, index, pointer, pointer]
        self.c.kurve_free.argtypes = [model]
        self.c.kurve_free.restype = None
        self.c.kurve_set_threads.argtypes = [ctypes.c_int, pointer]
        self.c.kurve_predict.argtypes = [
            model,
            ctypes.c_int64,
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.POINTER(ctypes.c_void_p),
            pointer,
        ]
        for port in ("input", "output"):
            getattr(self.c, f"kurve_{port}s").argtypes = [model]
            getattr(self.c, f"kurve_{port}s").restype = ctypes.c_size_t
            for what, kind in (
                ("name", ctypes.c_char_p),
                ("rank", ctypes.c_size_t),
                ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("size", ctypes.c_int64),
            ):
                function = getattr(self.c, f"kurve_{port}_{what}")
                function.argtypes, function.restype = [model, index], kind
        if self.c.kurve_api_version() != API_VERSION:
            raise ImportError("the library is of another version than this program")


class Model:
    """A model in a file of model.export("....plan.kurve"), or the file's bytes.

    inputs, outputs: names and shapes of one row
    """

    def __init__(
        self, library: Library, source: str | os.PathLike[str] | bytes
    ) -> None:
        self._c, self._model = library.c, ctypes.c_void_p()
        failure, model = Failure(), ctypes.byref(self._model)
        if isinstance(source, bytes):
            size = len(source)
            self._c.kurve_load_memory(source, size, model, ctypes.byref(failure))
        else:
            path = os.fsencode(source)
            self._c.kurve_load(path, model, ctypes.byref(failure))
        failure.check()
        self.inputs, self.outputs = self._ports("input"), self._ports("output")

    def _ports(self, port: str) -> dict[str, tuple[int, ...]]:
        found = {}
        for i in range(getattr(self._c, f"kurve_{port}s")(self._model)):
            name, rank, shape = (
                getattr(self._c, f"kurve_{port}_{what}")(self._model, i)
                for what in ("name", "rank", "shape")
            )
            found[name.decode()] = tuple(shape[:rank])
        return found

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for one array (rows, *shape) per input. Threads may call it at
        once; ctypes releases the GIL."""
        shapes = list(self.inputs.values())
        x = [np.ascontiguousarray(array, np.float32) for array in inputs]
        rows = len(x[0])
        if [array.shape for array in x] != [(rows, *shape) for shape in shapes]:
            raise ValueError(f"inputs must have the shapes (rows, ...) of {shapes}")
        y = [np.empty((rows, *shape), np.float32) for shape in self.outputs.values()]
        failure = Failure()
        self._c.kurve_predict(
            self._model, rows, _pointers(x), _pointers(y), ctypes.byref(failure)
        )
        failure.check()
        return y

    def __del__(self) -> None:
        if self._model:
            self._c.kurve_free(self._model)


def _pointers(arrays: list[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def main(library: str, path: str) -> None:
    model = Model(Library(library), path)
    print("inputs", model.inputs, "outputs", model.outputs, file=sys.stderr)
    sizes = [int(np.prod(shape)) for shape in model.inputs.values()]
    rows = np.loadtxt(sys.stdin, np.float32, ndmin=2)
    parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
    shapes = model.inputs.values()
    x = [part.reshape(-1, *s) for part, s in zip(parts, shapes, strict=True)]
    for outputs in zip(*model.predict(x), strict=True):
        print(*(f"{value:.9g}" for y in outputs for value in y.reshape(-1)))


if __name__ == "__main__":
    main(*sys.argv[1:])
