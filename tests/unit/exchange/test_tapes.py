"""Every elementwise operation in C and in ONNX, against NumPy, with NaN, infinities
and both zeros."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest

from kurve.exchange import c_tapes
from kurve.exchange.c_functions import Activations
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder, Tape, run
from kurve.plan import Op, VariableSpec
from tests.unit.exchange.test_c import CC, STRICT, compiled

NAMES = [name for name in RULES if name != "constant"]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-7, -1e-7, 0.5, -0.5, 2.5, -1.5]
RANDOM = np.random.default_rng(1).normal(size=40) * 2
VALUES = np.array([*SPECIAL, *RANDOM], np.float32)
NOT_FOR_INFINITIES = {"sin", "cos", "tan", "mod", "pow", "expm1", "arctan2"}
"""NaN or a limit there, by how it is computed."""


def tape(name: str) -> Tape:
    build = Builder(RULES, RULES[name].arity)
    return build.finish([build.op(name, *range(RULES[name].arity))])


def inputs(name: str) -> list[np.ndarray]:
    """All pairs, or triples, of the values."""
    values = VALUES
    if name in NOT_FOR_INFINITIES:
        values = values[np.isfinite(values)]
    if name in ("mod", "arctan2"):  # no zeros, which have a sign
        values = values[values != 0]
    grid = np.meshgrid(*[values] * RULES[name].arity)
    return [np.ascontiguousarray(g.ravel()[:4000]) for g in grid]


def check(name: str, found: np.ndarray, xs: list[np.ndarray]) -> None:
    with np.errstate(all="ignore"):
        (wanted,) = run(tape(name), RULES, xs)
    wanted = np.broadcast_to(wanted, found.shape)
    near = np.isclose(found, wanted, rtol=2e-6, atol=1e-7, equal_nan=True)
    assert near.all(), [(x[~near][:5], found[~near][:5], wanted[~near][:5]) for x in xs]


@pytest.mark.skipif(shutil.which(CC) is None, reason="no compiler")
def test_c(tmp_path: Path) -> None:
    text = ["#include <math.h>", "#include <float.h>"]
    for name in NAMES:
        arity = RULES[name].arity
        lines, (result,) = c_tapes.statements(
            tape(name), [f"x{k}[i]" for k in range(arity)]
        )
        arguments = ", ".join(f"const float *x{k}" for k in range(arity))
        text += [
            f"void f_{name}(long n, float *y, {arguments});",
            f"void f_{name}(long n, float *y, {arguments})",
            "{",
            "    long i;",
            "    for (i = 0; i < n; i++) {",
            *lines,
            f"y[i] = {result};",
            "    }",
            "}",
        ]
    (tmp_path / "f.c").write_text("\n".join(text))
    compiled([*STRICT, "-O2", "-shared", "-fPIC", "f.c", "-o", "f.so"], tmp_path)
    functions = ctypes.CDLL(str(tmp_path / "f.so"))
    pointer = ctypes.POINTER(ctypes.c_float)
    for name in NAMES:
        xs = inputs(name)
        y = np.empty_like(xs[0])
        places = [a.ctypes.data_as(pointer) for a in (y, *xs)]
        getattr(functions, f"f_{name}")(ctypes.c_long(y.size), *places)
        check(name, y, xs)


@pytest.mark.parametrize("name", NAMES)
def test_onnx(name: str) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from kurve.exchange.onnx_model import Builder as Graph
    from kurve.exchange.onnx_tapes import nodes

    graph, xs = Graph(), inputs(name)
    names = [f"x{k}" for k in range(len(xs))]
    (result,) = nodes(graph, tape(name), names)
    graph.add("Identity", (result,), "y")
    value = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "g",
            [value(n, onnx.TensorProto.FLOAT, [None]) for n in names],
            [value("y", onnx.TensorProto.FLOAT, [None])],
            initializer=graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, dict(zip(names, xs, strict=True)))
    check(name, y, xs)


@pytest.mark.parametrize("shape", [(3, 4, 5), (5,), (4, 1), (1, 5), (3, 1, 1), (1,)])
def test_variables_broadcast_in_c(shape: tuple[int, ...]) -> None:
    """The index of a variable's element is NumPy's."""
    whole = (3, 4, 5)
    slot = VariableSpec("alpha", shape, 0)
    op = Op("map", "l", whole, whole, params={"alpha": slot}, tape=tape("mul"))
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    function = c_tapes.map_(Activations("net"), op, {"alpha": array})
    (line,) = [line for line in function.body if "w[" in line]
    index = line.split("w[")[1].split("]")[0].replace("/", "//")
    found = [array.ravel()[eval(index, {"i": i})] for i in range(60)]
    assert (np.array(found) == np.broadcast_to(array, whole).ravel()).all()
