"""The engine as WebAssembly trains like the native engine: the same plans, as JSON, the
same weights, rows and seeds in; the same losses, metrics and outputs out."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, models
from kurve.engines.base import Batches, Job, run_job
from kurve.engines.plan_json import plan_json
from kurve.training.batching import Division, pass_bounds
from tests.wasm.engine import WASM, WASM_THREADS, needs_wasm

STEPS = 50

pytestmark = needs_wasm


def article() -> tuple[Any, ...]:
    x = np.arange(0, 20, 0.1)
    model = models.Sequential([layers.Input((1,))])
    for _ in range(7):
        model.add(layers.Dense(256, activation="relu"))
    model.add(layers.Dense(1))
    model.compile(loss="mse", optimizer="adam", metrics=["mae"])
    return model, x[:, None], np.sin(x)[:, None], {"size": 20}


def pictures() -> tuple[Any, ...]:
    """Convolution, pooling, batch normalization and dropout."""
    generator = np.random.default_rng(0)
    x = generator.random((120, 12, 12, 1))
    y = (x[:, 3:9, 3:9].mean((1, 2, 3)) > x.mean((1, 2, 3))).astype(int)
    model = models.Sequential(
        [
            layers.Input((12, 12, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 3, padding="same", activation="gelu"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=kurve.optimizers.SGD(0.05, momentum=0.9),
        metrics=["accuracy"],
    )
    return model, x, y[:, None], {"size": 16}


def sequences() -> tuple[Any, ...]:
    """LSTM, and steps that do not divide the rows."""
    t = np.arange(0, 60, 0.3)
    wave = np.sin(t) + 0.3 * np.sin(2.7 * t)
    x = np.lib.stride_tricks.sliding_window_view(wave[:-1], 20)[..., None]
    model = models.Sequential([layers.Input((20, 1)), layers.LSTM(24), layers.Dense(1)])
    model.compile(loss="huber", optimizer="rmsprop")
    return model, x, wave[20:, None], {"steps": 7}


def formulas() -> tuple[Any, ...]:
    """Penalties, a constraint, a layer of one's own with an infinity."""
    x = np.linspace(-3, 3, 90)[:, None]
    model = models.Sequential(
        [
            layers.Input((1,)),
            layers.Normalization(mean=0.5, variance=2.0),
            layers.Dense(16, activation="swish", kernel_constraint="unit_norm"),
            layers.Dense(16, activation="relu", kernel_regularizer="l1_l2"),
            layers.Lambda(lambda z: z * kurve.ops.minimum(kurve.ops.cos(z), np.inf)),
            layers.Dense(1),
        ]
    )
    model.compile(loss="log_cosh", optimizer=kurve.optimizers.Lion(1e-3))
    return model, x, np.tanh(2 * x), {"size": 32}


CASES = [article, pictures, sequences, formulas]


Results = dict[str, tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cases stand."""
    return tmp_path_factory.mktemp("wasm") / "cases.json"


@pytest.fixture(scope="module")
def results(cases: Path) -> Results:
    """For each case, what native and WebAssembly found."""
    pytest.importorskip("kurve._core")
    written, native = [], {}
    for case in CASES:
        kurve.utils.set_random_seed(7)
        kurve.set_engine("native")
        model, x, y, sizes = case()
        x, y = np.float32(x), np.float32(y)
        program, state = model._network.program(), model._network.state
        model._network.start_slots()
        names = ("params", "buffers", "slots", "scalars")
        given = {name: getattr(state, name).copy() for name in names}
        state = replace(state, **given)
        rates = np.linspace(1e-3, 2e-4, STEPS)
        written.append(
            {
                "plan": plan_json(program.plan),
                "seed": str(state.seed),
                **{name: array.ravel().tolist() for name, array in given.items()},
                "rows": len(x),
                "x": [x.ravel().tolist()],
                "y": [y.ravel().tolist()],
                "batches": sizes,
                "rates": rates.tolist(),
            }
        )
        native[case.__name__] = trained(program, state, x, y, sizes, rates)
    cases.write_text(json.dumps(written))
    found = dict(zip(native, run_cases(cases), strict=True))
    return {name: (native[name], found[name]) for name in native}


def run_cases(file: Path, threads: int | None = None) -> Any:
    """What WebAssembly makes of the cases in a file."""
    script = Path(__file__).with_name("run.mjs")
    given = [WASM] if threads is None else [WASM_THREADS, threads]
    command = ["node", str(script), str(given[0]), str(file), *map(str, given[1:])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def trained(
    program: Any,
    state: Any,
    x: np.ndarray,
    y: np.ndarray,
    sizes: dict[str, int],
    rates: np.ndarray,
) -> dict[str, Any]:
    bounds = pass_bounds(len(x), sizes.get("size"), sizes.get("steps"))
    steps = len(bounds) - 1
    division = Division(len(x), bounds, steps, True, state.seed, 0)
    losses = []
    for step in range(STEPS):
        epoch, first = divmod(step, steps)
        order, bounds = division.epoch(epoch)
        each = np.full(steps, rates[step], np.float32)
        batches = Batches(x, y, None, order, bounds, each)
        totals = np.zeros(program.plan.totals_size)
        run_job(
            kurve.get_engine(), Job(program, state, batches, first, first + 1, totals)
        )
        losses.append(totals[0] / totals[1])
    totals = np.zeros(program.plan.totals_size)
    program.test(state, Batches(x, y, None, None, np.array([0, len(x)])), totals)
    return {"losses": losses, "totals": totals, "outputs": program.predict(state, x)}


@pytest.mark.parametrize("name", [case.__name__ for case in CASES])
def test_losses_and_outputs_are_those_of_the_native_engine(
    results: Results, name: str
) -> None:
    native, found = results[name]
    assert not found["error"]
    assert native["losses"][-1] != native["losses"][0]
    np.testing.assert_allclose(found["losses"], native["losses"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["totals"], native["totals"], rtol=1e-4, atol=1e-4)
    outputs = np.ravel(native["outputs"])
    np.testing.assert_allclose(found["outputs"], outputs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_compute_the_same_bits(
    results: Results, cases: Path, threads: int
) -> None:
    found = run_cases(cases, threads)
    assert found[-1]["threads"] == threads, "not all of them had work"
    for case, (_, alone) in zip(found, results.values(), strict=True):
        assert not case["error"]
        for name in ("losses", "totals", "outputs", "params"):
            assert case[name] == alone[name], name


def run(tmp_path: Path, **changes: Any) -> Any:
    plan = {
        "inputs": [[1]],
        "ops": [],
        "params": [],
        "buffers": [],
        "heads": [],
        **changes.pop("plan", {}),
    }
    case = {"plan": changes.pop("text", json.dumps(plan)), "seed": "0", **changes}
    file = tmp_path / "case.json"
    file.write_text(json.dumps([case]))
    return run_cases(file)[0]


WRONG = {
    "": "plan: it ends too soon",
    "[" * 33: "plan: it is nested deeper than 32",
    '{"inputs": [[1]': "plan: it ends too soon",
    '{"inputs": [[1 2]': (
        "plan: it is not JSON: expected a comma or ] at character 15"
    ),
    "{} {}": "plan: it is not JSON: expected the text to end at character 3",
    '{"inputs": 1, "inputs": 2}': "plan: it has a duplicate key",
    '{"inputs": [[1]]}': "plan: ops is missing",
}
WRONG_PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "inputs": ({"inputs": 3}, "plan.inputs: it must be a list"),
    "axis": (
        {"inputs": [[1.5]]},
        "plan.inputs.0.0: it must be an integer from 1 to 2147483647",
    ),
    "member": ({"loss": {}}, "plan: loss is unknown"),
    "number": (
        {"optimizer": {"kind": "sgd", "attrs": {"momentum": {"number": "much"}}}},
        "plan.optimizer.attrs.momentum: it must be a number",
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_text_is_an_error_that_says_where(tmp_path: Path, text: str) -> None:
    assert run(tmp_path, text=text)["error"] == WRONG[text]


@pytest.mark.parametrize("name", WRONG_PARTS)
def test_a_wrong_part_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    plan, text = WRONG_PARTS[name]
    assert run(tmp_path, plan=plan)["error"] == text


def test_errors_of_the_engine_arrive_with_their_text(tmp_path: Path) -> None:
    op = {
        "kind": "guess",
        "layer": "one",
        "in_shape": [1],
        "out_shape": [1],
        "params": {},
        "buffers": {},
        "attrs": {},
    }
    assert "'guess'" in run(tmp_path, plan={"ops": [op]})["error"]
