"""One description, two models: the same network, loss, optimizer, weights and batches
in Kurve and in Keras, and the table of tolerances for what comes out.

A description is data: `call("layers.Dense", units=8)` names a class by its place in
either library and its arguments, so that no test can give the two different ones.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

import kurve
from kurve.engines import Batches, Job, State, get_engine, run_job
from kurve.layers.base import lower
from kurve.losses import targets

REASON = "the parity suite compares with it: pip install 'kurve[parity]'"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch", reason=REASON)
    keras = pytest.importorskip("keras", reason=REASON)

assert keras.backend.backend() == "torch", "conftest.py chooses the backend"
torch.set_num_threads(1)  # the networks here are too small for more

STEPS = 100
BATCH = 16

TOLERANCES = {
    "float32": 1e-5,  # of a loss; of a variable's largest element
    "float64": 1e-12,
    "one float32 value": 1e-6,
    "one float64 value": 1e-12,
    "gradient float64": 1e-10,  # of a variable's largest element
}


@dataclass(frozen=True)
class Call:
    """A class of both libraries and its arguments."""

    path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def call(path: str, **arguments: Any) -> Call:
    return Call(path, arguments)


OURS_ALONE: dict[str, Callable[[Any], Any]] = {
    "sin": keras.ops.sin,
    "snake": lambda z: z + keras.ops.sin(z) ** 2,
}
"""Activations that Keras does not have, written with its operations."""


def make(library: Any, given: Any) -> Any:
    """The object that a description describes, of `library`, kurve or keras."""
    if isinstance(given, Call):
        arguments = {k: make(library, v) for k, v in given.arguments.items()}
        return attrgetter(given.path)(library)(**arguments)
    if isinstance(given, list):
        return [make(library, item) for item in given]
    if library is keras and isinstance(given, str) and given in OURS_ALONE:
        return OURS_ALONE[given]
    return given


@dataclass(frozen=True)
class Case:
    """A training problem.

    input_shape: of one sample.
    layers, loss, optimizer: descriptions.
    target: what y is: "numbers", "signs" (0 or 1), "one-hot" or "classes".
    weights: size of the rows' sample weights, which differ; 0 for none.
    """

    layers: list[Call]
    loss: Any = "mse"
    optimizer: Any = "sgd"
    input_shape: tuple[int, ...] = (3,)
    target: str = "numbers"
    weights: float = 0.0
    class_weight: dict[int, float] | None = None


@dataclass
class Run:
    """The result of a training: the loss of every step and the final weights."""

    losses: np.ndarray
    weights: list[np.ndarray]


def data_of(case: Case, batches: int = 10) -> tuple[np.ndarray, ...]:
    """x, y and the sample weights, the same in every run.

    The targets depend smoothly on x, with noise, so that gradients stay well away from
    zero: there a float32 rounding could decide the direction of a step of Adam.
    """
    rng = np.random.default_rng(7)
    rows = batches * BATCH
    x = rng.normal(size=(rows, *case.input_shape)).astype(np.float32)
    outputs = make(kurve, model_of(case)).output_shape[1:]
    mix = rng.normal(size=(case.input_shape[-1], outputs[-1]))
    scores = np.sin(x @ mix) + 0.3 * rng.normal(size=(rows, *outputs))
    classes = scores.argmax(axis=-1)
    y = {
        "numbers": scores,
        "signs": scores > 0.2,
        "one-hot": np.eye(outputs[-1])[classes],
        "classes": classes,
    }[case.target]
    weights = case.weights * rng.uniform(0.2, 2.0, size=rows)
    return x, np.asarray(y, np.float32), weights.astype(np.float32)


def model_of(case: Case) -> Call:
    layers = [call("Input", shape=case.input_shape), *case.layers]
    return call("Sequential", layers=layers)


def twin_models(case: Case) -> tuple[Any, Any]:
    """A model of either library with the same random weights, including biases."""
    ours, theirs = make(kurve, model_of(case)), make(keras, model_of(case))
    rng = np.random.default_rng(11)
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        for layer in (mine, other):
            if isinstance(layer, (kurve.layers.Dense, keras.layers.Dense)):
                values = [
                    rng.normal(0.0, 0.8 / np.sqrt(w.shape[0]), w.shape)
                    for w in mine.get_weights()
                ]
                break
        else:
            continue
        mine.set_weights([v.astype(np.float32) for v in values])
        other.set_weights([v.astype(np.float32) for v in values])
    return ours, theirs


def _steps(case: Case) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    x, y, weights = data_of(case)
    for step in range(STEPS):
        rows = slice(step * BATCH % len(x), step * BATCH % len(x) + BATCH)
        yield x[rows], y[rows], weights[rows] if case.weights else None


def train_kurve(case: Case, engine: str) -> Run:
    """STEPS updates with `engine`, each through `train_on_batch`."""
    model, _ = twin_models(case)
    model.compile(make(kurve, case.optimizer), make(kurve, case.loss), engine=engine)
    losses = [
        model.train_on_batch(x, y, sample_weight=w, class_weight=case.class_weight)
        for x, y, w in _steps(case)
    ]
    return Run(np.array(losses), model.get_weights())


def train_keras(case: Case) -> Run:
    """The same in Keras, in the precision that is set (`precision`)."""
    _, model = twin_models(case)
    model.compile(make(keras, case.optimizer), make(keras, case.loss))
    losses = []
    for x, y, w in _steps(case):
        model.reset_metrics()
        if w is not None:  # (B,) would be broadcast along the last axis of the rows
            w = w.reshape(-1, *[1] * (len(model.output_shape) - 2))
        given = {"sample_weight": w, "class_weight": case.class_weight}
        losses.append(float(model.train_on_batch(x, y, **given)))
    return Run(np.array(losses), model.get_weights())


def plan_and_state(case: Case, model: Any) -> tuple[Any, State, Any]:
    """The model's plan, its state in float64 and the optimizer, for the reference
    engine to compute in float64."""
    plan, params, buffers = lower(model.layers, case.input_shape)
    optimizer, loss = make(kurve, case.optimizer), make(kurve, case.loss)
    optimizer = kurve.optimizers.get(optimizer)
    spec = optimizer.spec_for(plan.params)
    plan = plan.trained_with(kurve.losses.as_loss(loss).spec, (), spec)

    def gather(slots: Any, variables: Any, size: int) -> np.ndarray:
        vector = np.zeros(size)
        for slot, variable in zip(slots, variables, strict=True):
            vector[slot.offset : slot.end] = variable.value.ravel()
        return vector

    state = State(
        gather(plan.params, params, plan.params_size),
        gather(plan.buffers, buffers, plan.buffers_size),
        np.ones((len(optimizer.slot_starts), plan.params_size))
        * np.array(optimizer.slot_starts).reshape(-1, 1),
        np.array(optimizer.scalar_starts),
        0,
        1,
    )
    return plan, state, optimizer


def train_float64(case: Case) -> Run:
    """The same with the reference engine in float64."""
    model, _ = twin_models(case)
    plan, state, optimizer = plan_and_state(case, model)
    x, y, weights = data_of(case)
    if case.class_weight:
        weights = targets.class_weights("", case.class_weight, y, y.ndim == 1)
    rates = optimizer.learning_rate
    rates = rates(np.arange(STEPS)) if callable(rates) else np.full(STEPS, rates)
    bounds = np.arange(0, STEPS * BATCH + 1, BATCH)
    order = np.arange(STEPS * BATCH) % len(x)
    weighted = case.weights or case.class_weight
    batches = Batches(x, y, weights if weighted else None, order, bounds, rates)
    engine, losses = get_engine("reference"), []
    program = engine.compile(plan)
    for step in range(STEPS):
        totals = np.zeros(plan.totals_size)
        run_job(engine, Job(program, state, batches, step, step + 1, totals))
        losses.append(totals[0] / totals[1])
    return Run(np.array(losses), variables_of(model, plan, state))


def variables_of(model: Any, plan: Any, state: State) -> list[np.ndarray]:
    """A state's variables in the order of `get_weights`."""
    by_name = {s.name: state.params[s.offset : s.end] for s in plan.params}
    by_name |= {s.name: state.buffers[s.offset : s.end] for s in plan.buffers}
    return [by_name[w.name].reshape(w.shape) for w in model.weights]


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """A context in which Keras's models are built and trained in `dtype`.

    Keras's own operations give float32 for float64 with every backend but TensorFlow,
    whatever floatx is; the table that says so is corrected for the time.
    """
    from keras.src.backend.common import dtypes

    def set_precision(name: str, double: str) -> None:
        keras.config.set_floatx(name)
        keras.config.set_dtype_policy(name)
        dtypes.BIT64_TO_BIT32_DTYPE["float64"] = double

    set_precision(dtype, dtype)
    try:
        yield
    finally:
        set_precision("float32", "float32")


def assert_equal_runs(ours: Run, theirs: Run, tolerance: float) -> None:
    """Losses and weights agree; the message names the first that does not."""
    error = np.abs(ours.losses - theirs.losses) / np.abs(theirs.losses)
    worst = int(np.argmax(error))
    assert error[worst] <= tolerance, f"loss of step {worst}: off by {error[worst]:.1e}"
    for i, (mine, other) in enumerate(zip(ours.weights, theirs.weights, strict=True)):
        assert mine.shape == other.shape
        off = np.abs(mine - other).max() / max(np.abs(other).max(), 1e-30)
        assert off <= tolerance, f"weight {i} {mine.shape}: off by {off:.1e}"
