"""C files predict what Kurve predicts, compile without warnings, and stay within their
memory."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from tests.unit.exchange import cases
from tests.unit.exchange.cases import assert_close

CC = os.environ.get("CC", "cc")
pytestmark = pytest.mark.skipif(
    shutil.which(CC) is None, reason="C files are compiled with cc, which is not there"
)

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANE = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def compiled(arguments: list[Any], folder: Path, compiler: str = CC) -> None:
    done = subprocess.run(
        [compiler, *map(str, arguments), "-lm"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def self_test(
    source: Path, *flags: str, compiler: str = CC
) -> subprocess.CompletedProcess[str]:
    """The file's own test, compiled and run."""
    program = source.with_suffix(".test")
    macro = source.stem.upper() + "_SELF_TEST"
    compiled([*flags, f"-D{macro}", source, "-o", program], source.parent, compiler)
    return subprocess.run([program], capture_output=True, text=True, timeout=60)


class Library:
    """The compiled file, callable."""

    def __init__(self, model: Any, folder: Path, name: str = "net") -> None:
        self.source, self.name = folder / f"{name}.c", name
        model.export(self.source)
        library = folder / f"{name}.so"
        flags = [*STRICT, "-O2", "-shared", "-fPIC"]
        compiled([*flags, self.source, "-o", library], folder)
        self.functions = ctypes.CDLL(str(library))

    def number(self, macro: str) -> int:
        found = re.search(
            rf"#define {self.name.upper()}_{macro} (\d+)", self.source.read_text()
        )
        assert found
        return int(found[1])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x, np.float32)
        y = np.full((len(x) + 1, self.number("OUTPUTS")), 7.0, np.float32)
        call = getattr(self.functions, f"{self.name}_predict_batch")
        call.restype = None
        call(_pointer(x), _pointer(y), ctypes.c_size_t(len(x)))
        assert (y[-1] == 7.0).all()  # nothing behind the last row
        return y[:-1]


def _pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def check(
    model: Any,
    x: np.ndarray,
    wanted: list[np.ndarray],
    folder: Path,
    bound: float = cases.CLOSE,
) -> Library:
    """Prediction, sanitizers, and the file's own test."""
    library = Library(model, folder)
    y = library(x)
    first = 0
    for values in wanted:
        size = values[0].size
        assert_close(y[:, first : first + size], values.reshape(len(x), size), bound)
        first += size
    assert first == y.shape[1] or library.number("QUANTILES") == first
    done = self_test(library.source, *STRICT, *SANE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.search(
        r"net: 4 rows, 0 wrong numbers, largest error 0?\.?\d", done.stdout
    )
    return library


@pytest.mark.parametrize("name", cases.ACTIVATIONS)
def test_activations(name: str, tmp_path: Path) -> None:
    """NaN stays NaN, and large or infinite values are those of Kurve."""
    model = cases.of_activation(name)
    x = cases.rows_of(model.input_shape)
    library = Library(model, tmp_path)
    assert_close(library(x), model.predict(x, verbose=0))
    cancels = name == "tanh_shrink"  # and loses the digits that the test asks for
    assert self_test(library.source, *STRICT).returncode == int(cancels)
    far = np.array([[np.nan, 1, 1], [1e30, 1, 1], [-1e30, 1, 1]], np.float32)
    y, wanted = library(far), model.predict_on_batch(far[1:])
    assert np.isnan(y[0]).all()
    if name.partition(" ")[0] not in ("sin", "snake"):  # no sine is known out there
        finite = np.isfinite(wanted)
        assert np.allclose(y[1:][finite], wanted[finite], rtol=1e-5)


@pytest.mark.parametrize("name", cases.SEQUENTIALS)
def test_layers(name: str, tmp_path: Path) -> None:
    model = cases.sequential(name)
    x = cases.rows_of(model.input_shape)
    check(model, x, [model.predict(x, verbose=0)], tmp_path)


@pytest.mark.parametrize("name", cases.PLANES)
def test_images(name: str, tmp_path: Path) -> None:
    model = cases.of_images(name)
    x = cases.rows_of(model.input_shape, 6)
    library = Library(model, tmp_path)
    wanted = model.predict(x, verbose=0)
    assert_close(library(x).reshape(wanted.shape), wanted, cases.IMAGES_CLOSE)
    assert self_test(library.source, *STRICT, *SANE).returncode == 0


def test_digits(tmp_path: Path) -> None:
    """Its planes do not fit on the stack, so the caller passes memory."""
    model = cases.digits()
    x = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.float32)
    model.export(tmp_path / "net.c")
    flags = [*STRICT, "-O2", "-shared", "-fPIC"]
    compiled([*flags, "net.c", "-o", "net.so"], tmp_path)
    functions = ctypes.CDLL(str(tmp_path / "net.so"))
    assert not hasattr(functions, "net_predict")
    y, scratch = np.empty((3, 10), np.float32), np.empty(2 * 26 * 26 * 32, np.float32)
    functions.net_predict_batch_with.restype = None
    functions.net_predict_batch_with(
        _pointer(x), _pointer(y), ctypes.c_size_t(3), _pointer(scratch)
    )
    assert_close(y, model.predict(x, verbose=0), cases.IMAGES_CLOSE)
    assert self_test(tmp_path / "net.c", *STRICT, *SANE).returncode == 0


def test_native_engine_agrees_too(native: str, tmp_path: Path) -> None:
    kurve.set_engine(native)
    model = cases.of_activation("gelu")
    x = cases.rows_of(model.input_shape)
    check(model, x, [model.predict(x, verbose=0)], tmp_path)


@pytest.mark.parametrize("name", cases.ESTIMATORS)
def test_estimators(name: str, tmp_path: Path) -> None:
    model = cases.estimator(name)
    x = cases.rows_for(model)
    if hasattr(model, "classes_"):
        library = check(model, x, [model.predict_proba(x)], tmp_path)
        labels = (ctypes.c_char_p * len(model.classes_)).in_dll(
            library.functions, "net_labels"
        )
        y = library(x)
        chosen = [library.functions.net_label(_pointer(row)) for row in y]
        assert [labels[i].decode() for i in chosen] == [
            str(label) for label in model.predict(x).tolist()
        ]
        return
    mean, deviation = model.predict(x, return_std=True)
    bound = cases.BOUNDS.get(name, cases.CLOSE)
    check(model, x, [mean, deviation], tmp_path, bound)


def test_quantiles_are_the_ends_of_intervals(tmp_path: Path) -> None:
    model = cases.estimator("quantiles, members")
    x, _ = cases.table()
    library = Library(model, tmp_path)
    y = library(x)[:, library.number("QUANTILES") :].reshape(len(x), 2, 11)
    assert (np.diff(y, axis=-1) >= 0).all()
    wanted = model.set_params(interval="quantile").predict_interval(x, coverage=0.8)
    assert_close(y[:, 0, [3, 7]], wanted[:, 0])
    assert_close(y[:, 1, [3, 7]], wanted[:, 1])


def test_a_committee_has_mean_and_deviation(tmp_path: Path) -> None:
    committee = cases.committee()
    x = cases.rows_of((None, 3))
    check(committee, x, [*committee.predict(x, return_std=True)], tmp_path)


def test_a_committee_of_unlike_models(tmp_path: Path) -> None:
    """Each structure gets separate functions."""
    from kurve.models.ensembles import Ensemble

    a, b = cases.committee(2).members, cases.of_activation("snake of 2.5")
    committee = Ensemble([*a, b])
    x = cases.rows_of((None, 3))
    check(committee, x, [*committee.predict(x, return_std=True)], tmp_path)


@pytest.mark.parametrize("name", ["squared error", "gaps", "classes"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_the_estimator_refuses_gives_no_number(
    name: str, bad: float, tmp_path: Path
) -> None:
    model = cases.estimator(name)
    x, _ = cases.table(4)
    x[2, 1] = bad
    y = Library(model, tmp_path)(x)
    if np.isnan(bad):  # a gap, which is filled in
        wanted = model.predict_proba(x) if name == "classes" else model.predict(x)
        count = len(np.atleast_1d(wanted[2]))
        np.testing.assert_allclose(y[2][:count], wanted[2], rtol=1e-5)
    else:
        assert np.isnan(y[2]).all()
    assert np.isfinite(np.delete(y, 2, axis=0)).all()


HOSTILE = [
    "*/ int evil; /*",
    "line\nbreak",
    'quote" , evil(), "',
    "what??/",
    "back\\",
    "Länge 長さ",
    "tab\t%d%s",
    "??'??-",
    "",
    " ",
    "\x00\x7f\u2028",
    "\ud800",
    "a" * 400,
]


def test_names_cannot_break_out(tmp_path: Path) -> None:
    """Names of layers, columns, targets and classes come from the user."""
    pandas = pytest.importorskip("pandas", reason="names come from a frame")
    pytest.importorskip("narwhals", reason="frames are read through narwhals")
    named = [name.replace("\ud800", "surrogate") for name in HOSTILE]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5 * len(named), len(named)))
    frame = pandas.DataFrame(x, columns=named)
    y = pandas.Series(
        np.array(named, object)[np.arange(len(x)) % len(named)], name=named[0]
    )
    y = y.where(y != "", "x").where(y != " ", "y")
    model = kurve.Classifier(**cases.FAST).fit(frame, y)
    library = Library(model, tmp_path)
    for array, wanted in (("columns", named), ("labels", model.classes_.tolist())):
        texts = (ctypes.c_char_p * len(wanted)).in_dll(
            library.functions, f"net_{array}"
        )
        for text, name in zip(texts, wanted, strict=True):
            data = name.encode().partition(b"\0")[0]  # where C believes it ends
            assert text == data[:900]
    assert library.source.read_text().isascii()


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "\ud800"])
def test_layer_names_cannot_break_out(name: str, tmp_path: Path) -> None:
    from kurve import layers, models

    model = models.Sequential([layers.Dense(2, "relu", name=name, input_shape=(2,))])
    x = cases.rows_of((None, 2))
    assert_close(Library(model, tmp_path)(x), model.predict(x, verbose=0))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("2 x 64 net", "kurve_2_x_64_net"),
        ("Über-Größe", "ber_Gr_e"),
        ("__init__", "init"),
        ("int", "int"),
        ("a*_/..b", "a_b"),
        ("x" * 99, "x" * 40),
        ("模型", "kurve"),
        ("-", "kurve"),
        ('"; evil', "evil"),
    ],
)
def test_file_names_become_identifiers(title: str, name: str, tmp_path: Path) -> None:
    model = cases.sequential("one layer")
    source = tmp_path / f"{title.replace('/', '')}.c"
    model.export(source)
    assert f"void {name}_predict(const float *x, float *y)" in source.read_text()
    source = source.rename(tmp_path / f"{name}.c")
    assert self_test(source, *STRICT).returncode == 0


def test_a_wrong_number_fails_the_self_test(tmp_path: Path) -> None:
    """The file's own test fails, whatever went wrong."""
    model = cases.of_activation("tanh")
    model.export(tmp_path / "net.c")
    text = (tmp_path / "net.c").read_text()
    first = re.search(r"\{\n\{\n.*\n    (\S+?),", text)
    assert first
    for wrong in ("0x1p-3f", "NAN", "1e38f * 100"):
        before, after = text[: first.start(1)], text[first.end(1) :]
        (tmp_path / "net.c").write_text(before + wrong + after)
        done = self_test(tmp_path / "net.c", "-std=c99")
        assert done.returncode == 1
        assert "0 wrong" not in done.stdout


def test_declarations_for_another_file(tmp_path: Path) -> None:
    """Used as the comment at the top of the file says; and from C++."""
    model = cases.estimator("classes of text")
    model.export(tmp_path / "net.c")
    program = """
#define NET_DECLARE_ONLY
#include "net.c"
#include <stdio.h>
int main(void)
{
    float x[NET_INPUTS] = {0.0f, 100.0f, -3.0f}, y[NET_OUTPUTS];
    net_predict(x, y);
    printf("%s\\n", net_labels[net_label(y)]);
    return 0;
}
"""
    x = np.array([[0.0, 100.0, -3.0]])
    wanted = str(model.predict(x)[0]) + "\n"
    compiled([*STRICT, "-O2", "-c", "net.c"], tmp_path)
    for compiler, name, flags in ((CC, "main.c", STRICT), ("c++", "main.cpp", CPP[2:])):
        if shutil.which(compiler) is None:
            continue
        (tmp_path / name).write_text(program)
        compiled([*flags, name, "net.o", "-o", "main"], tmp_path, compiler)
        done = subprocess.run([tmp_path / "main"], capture_output=True)
        assert done.stdout.decode() == wanted


CPP = ["-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic"]


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("name", ["gaps", "quantiles, members", "classes of text"])
def test_the_file_is_cpp_too(name: str, tmp_path: Path) -> None:
    cases.estimator(name).export(tmp_path / "net.c")
    done = self_test(tmp_path / "net.c", *CPP, compiler="c++")
    assert done.returncode == 0


def test_a_model_too_large_for_the_stack_takes_scratch(tmp_path: Path) -> None:
    from kurve import layers, models

    model = models.Sequential(
        [layers.Dense(1, "relu", input_shape=(9000, 1)), layers.Activation("tanh")]
    )
    model.export(tmp_path / "net.c")
    text = (tmp_path / "net.c").read_text()
    assert "void net_predict_with(" in text
    assert "void net_predict(" not in text
    assert "static float scratch[NET_SCRATCH];    one for each thread" in text
    assert self_test(tmp_path / "net.c", *STRICT, *SANE).returncode == 0


def test_huge_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kurve.exchange import c_source

    model = cases.sequential("wide")
    monkeypatch.setattr(c_source, "SLOW_TO_COMPILE", 1000)
    with pytest.warns(
        UserWarning, match=r"holds 15,333 numbers as text \(0 MB\), "
    ) as w:
        model.export(tmp_path / "net.c")
    assert w[0].filename == __file__
    monkeypatch.setattr(c_source, "MAX_NUMBERS", 2000)
    with pytest.raises(ValueError) as caught:
        model.export(tmp_path / "net.c")
    assert str(caught.value) == (
        "[export] a C file holds at most 2,000 numbers, because compilers need minutes "
        "and gigabytes for more. Received: 15,333 numbers. Try export('model.onnx')."
    )


def test_numbers_are_exact() -> None:
    from kurve.exchange import c_text

    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 3000, np.uint32).view(np.float32)
    values = np.append(bits[np.isfinite(bits)], np.float32([0.0, -0.0, 1e-45, 3.4e38]))
    lines = list(c_text.numbers(values))
    texts = [text for line in lines for text in line.strip(" ,").split(", ")]
    for value, many in zip(values, texts, strict=True):
        text = c_text.single(value)
        assert text.endswith("f") and many.endswith("f")
        assert np.float32(float.fromhex(many[:-1])).tobytes() == value.tobytes()
        assert np.float32(float.fromhex(text[:-1])).tobytes() == value.tobytes()
        assert float.fromhex(c_text.real(float(value) / 3)) == float(value) / 3
