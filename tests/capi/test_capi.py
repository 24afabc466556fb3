"""The C library of `include/kurve.h`, which `make capi` builds: its predictions have
the bits of `predict`, and no file makes it crash. Called through the example for
ctypes."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import _core, layers, models
from tests.faults.mutants import File, changed_bytes, sealed
from tests.unit.exchange import cases, test_c_graphs

ROOT = Path(__file__).parents[2]
LIBRARY = Path(os.environ.get("KURVE_CAPI", ROOT / "build/capi/libkurve.so"))
EXAMPLE = ROOT / "examples/c"
ARGUMENT, SYSTEM, FILE, UNSUPPORTED, MEMORY = 1, 2, 3, 4, 5
SANITIZED = "KURVE_CAPI" in os.environ
"""Less optimized, the library rounds other sums."""

MUTANTS = int(os.environ.get("KURVE_CAPI_MUTANTS", "2000"))

VALUES: list[Any] = [0, 1, -1, 2, 3, 7, 64, 1000, 2**31 - 1, 2**40, 2**53, 0.5, 1e300]
VALUES += [-0.0, "", "relu", "dense", "conv", "scan", "map", "nan", None, True, [], {}]

pytestmark = pytest.mark.skipif(
    not LIBRARY.exists(), reason=f"{LIBRARY.name} is not built: make capi"
)

spec = importlib.util.spec_from_file_location("kurve_predict", EXAMPLE / "predict.py")
assert spec is not None and spec.loader is not None
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)


@pytest.fixture(scope="module")
def library() -> Any:
    return example.Library(LIBRARY)


def outputs(model: Any, xs: list[np.ndarray]) -> list[np.ndarray]:
    """Of `predict` in Python, in the order of the model's outputs."""
    named = dict(zip(model.input_names, xs, strict=True))
    found = model.predict(named if len(xs) > 1 else xs[0], verbose=0)
    if isinstance(found, dict):
        found = [found[name] for name in model.output_names]
    return found if isinstance(found, list) else [found]


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether the bits are equal; of a sanitized library, nearly all digits."""
    if SANITIZED:
        return np.allclose(found, wanted, 1e-4, 1e-5)
    return np.array_equal(found, wanted)


def assert_equal(found: np.ndarray, wanted: np.ndarray) -> None:
    assert same(found, wanted), np.abs(found - wanted).max()


def assert_same_bits(
    library: Any, model: Any, xs: list[np.ndarray], folder: Path
) -> None:
    path = folder / "model.plan.kurve"
    model.export(path)
    loaded = example.Model(library, path)
    expected = outputs(model, xs)
    assert list(loaded.outputs.values()) == [y.shape[1:] for y in expected]
    for rows in (len(xs[0]), 1):
        found = loaded.predict([x[:rows] for x in xs])
        for mine, wanted in zip(found, expected, strict=True):
            assert_equal(mine, wanted[:rows])


def rows(shape: tuple[int, ...], count: int = 150) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", [*cases.SEQUENTIALS, *cases.ACTIVATIONS])
def test_dense_networks(library: Any, name: str, tmp_path: Path) -> None:
    of_layer = name in cases.SEQUENTIALS
    model = cases.sequential(name) if of_layer else cases.of_activation(name)
    assert_same_bits(library, model, [cases.rows_of(model.input_shape)], tmp_path)


@pytest.mark.parametrize("name", cases.PLANES)
def test_images(library: Any, name: str, tmp_path: Path) -> None:
    model = cases.of_images(name)
    assert_same_bits(library, model, [rows(model.input_shape[1:], 20)], tmp_path)


@pytest.mark.parametrize("make", test_c_graphs.MODELS, ids=lambda make: make.__name__)
def test_graphs(library: Any, make: Callable[[], Any], tmp_path: Path) -> None:
    model = make()
    plan, _ = model._network.require_built("test")
    xs = [rows(shape, 9) for shape in plan.inputs]
    if make is test_c_graphs.words:
        xs = [np.abs(10 * x).round() % 7 for x in xs]
    assert_same_bits(library, model, xs, tmp_path)


def recurrent() -> Any:
    return models.Sequential(
        [
            kurve.Input((12, 3)),
            layers.Masking(),
            layers.Bidirectional(layers.LSTM(8, return_sequences=True)),
            layers.GRU(5),
            layers.Dense(2),
        ]
    )


def test_recurrence(library: Any, tmp_path: Path) -> None:
    assert_same_bits(library, recurrent(), [rows((12, 3))], tmp_path)


def trained() -> Any:
    """A model with a loss, an optimizer and moving averages."""
    kurve.utils.set_random_seed(2)
    model = models.Sequential(
        [
            layers.Dense(16, input_shape=(3,)),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.GaussianNoise(0.1),
            layers.Dense(4, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(rows((3,)), np.arange(150) % 4, epochs=2, verbose=0)
    return model


def test_a_trained_model(library: Any, tmp_path: Path) -> None:
    assert_same_bits(library, trained(), [rows((3,))], tmp_path)


def test_names_and_shapes(library: Any, tmp_path: Path) -> None:
    a, b = kurve.Input((3, 2), name="linksø"), kurve.Input((4,), name="b")
    first = layers.Dense(5, name="first")(layers.Flatten()(a))
    both = layers.Concatenate(name="both")([first, b])
    kurve.Model([a, b], [both, first]).export(tmp_path / "m.plan.kurve")
    model = example.Model(library, tmp_path / "m.plan.kurve")
    assert model.inputs == {"linksø": (3, 2), "b": (4,)}
    assert model.outputs == {"both": (9,), "first": (5,)}
    assert library.c.kurve_input_name(model._model, 2) is None
    assert library.c.kurve_output_size(model._model, 2) == 0


def test_versions(library: Any) -> None:
    assert library.c.kurve_version().decode() == kurve.__version__
    assert library.c.kurve_instruction_set().decode() == _core.isa()


def test_threads_share_a_model(library: Any, tmp_path: Path) -> None:
    model = recurrent()
    model.export(tmp_path / "m.plan.kurve")
    x = rows((12, 3), 400)
    (expected,) = outputs(model, [x])
    shared = example.Model(library, tmp_path / "m.plan.kurve")
    wrong: list[object] = []

    def work(number: int) -> None:
        for i in range(10):
            library.c.kurve_set_threads(1 + (i + number) % 4, None)
            count = 1 + 37 * (i + number) % 400
            try:
                (y,) = shared.predict([x[:count]])
                if not same(y, expected[:count]):
                    wrong.append("other bits")
            except Exception as error:
                wrong.append(error)

    before = threading.stack_size(1 << 20)  # as kurve.h promises
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    threading.stack_size(before)
    assert wrong == []


def test_the_example_in_c(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    if "sanitize" in LIBRARY.parts or "address" in LIBRARY.parts:
        pytest.skip("the program would need the sanitizer")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"]
    where = [f"-I{ROOT / 'include'}", f"-L{LIBRARY.parent}", "-lkurve"]
    command = [compiler, *flags, EXAMPLE / "predict.c", *where]
    subprocess.run([*command, "-o", tmp_path / "predict"], check=True, timeout=60)
    model = test_c_graphs.two_inputs()
    model.export(tmp_path / "m.plan.kurve")
    plan, _ = model._network.require_built("test")
    xs = [rows(shape, 5) for shape in plan.inputs]
    table = np.hstack([x.reshape(5, -1) for x in xs])
    text = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in table)
    wanted = np.hstack([y.reshape(5, -1) for y in outputs(model, xs)])
    programs = (
        [tmp_path / "predict"],
        [sys.executable, EXAMPLE / "predict.py", LIBRARY],
    )
    for program in programs:
        done = subprocess.run(
            [*program, tmp_path / "m.plan.kurve"],
            input=text,
            env={**os.environ, "LD_LIBRARY_PATH": str(LIBRARY.parent)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found = np.array([line.split() for line in done.stdout.splitlines()], float)
        assert_equal(found.astype(np.float32), wanted)


# ------------------------------------------------------------------------------ errors


def refusal(library: Any, source: Any) -> tuple[int, str]:
    with pytest.raises(example.KurveError) as caught:
        example.Model(library, source)
    return caught.value.status, str(caught.value)


def test_other_files(library: Any, tmp_path: Path) -> None:
    model = trained()
    model.save(tmp_path / "m.kurve")
    status, text = refusal(library, tmp_path / "m.kurve")
    assert status == UNSUPPORTED
    assert "kurve.models.load_model(path).export('model.plan.kurve')" in text
    estimator = cases.estimator("two classes")
    estimator.save(tmp_path / "e.kurve")
    status, text = refusal(library, tmp_path / "e.kurve")
    assert status == UNSUPPORTED
    assert "the file of an estimator" in text
    with pytest.raises(TypeError, match="only a model can be written as a plan"):
        estimator.export(tmp_path / "e.plan.kurve")
    model.export(tmp_path / "m.plan.kurve")
    with pytest.raises(kurve.saving.ModelFileError, match="no model but a plan"):
        models.load_model(tmp_path / "m.plan.kurve")
    assert refusal(library, tmp_path / "none.plan.kurve")[0] == SYSTEM
    assert refusal(library, tmp_path)[0] == FILE
    assert refusal(library, b"")[0] == FILE
    assert refusal(library, b"PK\3\4" * 100)[0] == FILE


def test_layers_that_keep_states(tmp_path: Path) -> None:
    model = models.Sequential(
        [layers.Input(batch_shape=(2, 4, 3)), layers.LSTM(5, stateful=True)]
    )
    with pytest.raises(ValueError, match="layers that keep states between calls"):
        model.export(tmp_path / "m.plan.kurve")


def test_wrong_arguments(library: Any, tmp_path: Path) -> None:
    trained().export(tmp_path / "m.plan.kurve")
    model, failure = (
        example.Model(library, tmp_path / "m.plan.kurve"),
        example.Failure(),
    )
    c, to = library.c, example.ctypes.byref(failure)
    assert c.kurve_load(None, example.ctypes.byref(model._model), to) == ARGUMENT
    model = example.Model(library, tmp_path / "m.plan.kurve")
    assert c.kurve_load(b"m", None, to) == ARGUMENT
    assert c.kurve_predict(None, 1, None, None, to) == ARGUMENT
    assert c.kurve_predict(model._model, -1, None, None, to) == ARGUMENT
    assert c.kurve_predict(model._model, 1, None, None, to) == ARGUMENT
    assert failure.text == b"inputs and outputs must not be NULL"
    assert c.kurve_predict(model._model, 1, None, None, None) == ARGUMENT
    assert c.kurve_predict(model._model, 0, None, None, to) == 0
    assert (failure.status, failure.text) == (0, b"")
    assert c.kurve_set_threads(0, to) == ARGUMENT
    c.kurve_free(None)


def changed_values(raw: bytes, random: random.Random) -> bytes:
    """The file with right checksums, but other values in its plan."""
    file = File.parsed(raw)
    for _ in range(random.choice((1, 1, 2, 4))):
        owner, key = random.choice(list(places(file.described)))
        other = owner[random.choice(keys_of(owner))]
        owner[key] = copy.deepcopy(random.choice([*VALUES, other]))
    return sealed(file.header(), file.data)


def keys_of(owner: Any) -> list[Any]:
    return list(owner) if isinstance(owner, dict) else list(range(len(owner)))


def places(owner: Any) -> Any:
    for key in keys_of(owner):
        yield owner, key
        if isinstance(owner[key], dict | list):
            yield from places(owner[key])


def outcome(library: Any, raw: bytes) -> int:
    """The status of loading a file and predicting with it."""
    try:
        model = example.Model(library, raw)
        shapes = [*model.inputs.values(), *model.outputs.values()]
        if sum(map(np.prod, shapes)) < 1e6:
            model.predict([rows(shape, 2) for shape in model.inputs.values()])
    except example.KurveError as error:
        return error.status
    return 0


def test_mutants(library: Any, tmp_path: Path) -> None:
    """A changed byte is found; a plan with other values is refused, or predicts."""
    raws = []
    statuses = set()
    makers = [trained, recurrent, *test_c_graphs.MODELS]
    for i, make in enumerate(makers):
        make().export(tmp_path / f"{i}.plan.kurve")
        raws.append((tmp_path / f"{i}.plan.kurve").read_bytes())
    for number, raw in zip(range(MUTANTS), itertools.cycle(raws), strict=False):
        mutate, generator = random.Random(number), random.Random(number)
        changed = changed_bytes(raw, generator)
        if changed != raw:
            assert refusal(library, changed)[0] in (FILE, UNSUPPORTED)
        (tmp_path / "last").write_bytes(mutant := changed_values(raw, mutate))
        statuses.add(outcome(library, mutant))
    assert {0, FILE} <= statuses <= {0, ARGUMENT, FILE, UNSUPPORTED, MEMORY}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"kind": "plan"', "it ends too soon"),
        ('{"kind": "plan", "kind": "plan"}', "it has a duplicate key"),
        ("", "it ends too soon"),
        ("[" * 33 + "]" * 33, "it is nested deeper than 32"),
        ('{"a":' * 33 + "0" + "}" * 33, "it is nested deeper than 32"),
        ("[" * 32 + "0" + "]" * 32, "it must be an object"),
        ('{"kind": 1e999}', "a number is out of range"),
        ('{"kind": "\\udc00"}', "a lone surrogate"),
        ('{"kind": "\\u0000"}', "a 0 in a string"),
        ('{"kind": "\\ud800x"}', "a lone surrogate"),
        ('{"kind": "\\x"}', "expected an escape sequence at character 11"),
        ('{"kind": 01}', "expected no digits after the first 0 at character 11"),
        ('{"kind": NaN}', "expected a value at character 9"),
        ('{"kind" 1}', "expected a colon at character 8"),
        ('{"kind": [1 2]}', "expected a comma or ] at character 12"),
        ("{} {}", "expected the text to end at character 3"),
        ("[" + "0," * 99_999 + "0]", "it has more than 100000 values"),
        ("[" + "0," * 99_998 + "0]", "it must be an object"),
        ("[" + "[]," * 50_000 + "0]", "it has more than 100000 values"),
        ('{"kind": "plan", "version": 2}', "another version"),
    ],
)
def test_hostile_texts(library: Any, text: str, what: str, tmp_path: Path) -> None:
    trained().export(tmp_path / "m.plan.kurve")
    file = File.parsed((tmp_path / "m.plan.kurve").read_bytes())
    status, found = refusal(library, sealed(file.header(text), file.data))
    assert status in (FILE, UNSUPPORTED)
    assert what in found


def test_numbers_that_json_lacks(library: Any, tmp_path: Path) -> None:
    model = models.Sequential(
        [
            kurve.Input((3,)),
            layers.Lambda(lambda x: kurve.ops.where(x > 1, np.inf, x)),
            layers.Lambda(lambda x: kurve.ops.maximum(-x, -np.inf)),
        ]
    )
    model.export(tmp_path / "m.plan.kurve")
    file = File.parsed((tmp_path / "m.plan.kurve").read_bytes())
    values = [owner[key] for owner, key in places(file.described)]
    assert {"number": "inf"} in values
    assert {"number": "-inf"} in values
    assert_same_bits(library, model, [rows((3,))], tmp_path)


def test_sparse_files(library: Any, tmp_path: Path) -> None:
    trained().export(tmp_path / "m.plan.kurve")
    raw = (tmp_path / "m.plan.kurve").read_bytes()
    file = File.parsed(raw)
    name = next(iter(file.entries))
    size = 1 << 40
    file.entries = {
        name: {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    }
    file.metadata = {
        "format": file.metadata["format"],
        f"sha256:{name}": "0" * 64,
    }
    header = sealed(file.header(json.dumps(file.described)), b"")
    with (tmp_path / "sparse").open("wb") as target:
        target.write(header)
        target.truncate(len(header) + size)
    assert refusal(library, tmp_path / "sparse") == (
        FILE,
        "file: almost all of it is a hole",
    )
