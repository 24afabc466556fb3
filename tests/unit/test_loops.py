"""Loops of any cell as one operation: against the turns written out, in both engines,
in files, and differentiated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, layers, models
from kurve.engines import Batches, get_engine
from kurve.engines.reference import ReferenceEngine
from kurve.formulas import functions as ops
from kurve.formulas import recurrence
from kurve.formulas.loops import appended, rewritten

STEPS, FEATURES, UNITS = 8, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, STEPS, FEATURES)).astype(np.float32)
X[1], X[2, 4:], X[3, :3], X[4, 5] = 0.0, 0.0, 0.0, 0.0
Y = RNG.normal(size=(9, 2)).astype(np.float32)


class Cell(layers.Layer):
    """Two states, layers and a constant in it; the output is none of the states."""

    def __init__(self, units: int, rate: float = 0.0, **common: Any) -> None:
        super().__init__(**common)
        self.units, self.rate = units, rate
        self.state_size = [units, units]
        self.inner = layers.Dense(units)
        self.norm = layers.LayerNormalization()
        self.drop = layers.Dropout(rate)

    def build(self, input_shape: Any) -> None:
        self.u = self.add_weight((self.units, self.units), "orthogonal", name="u")
        self.inner.build(input_shape)
        self.norm.build((None, self.units))

    def call(self, inputs: Any, states: Any) -> Any:
        h, c = states
        h = ops.tanh(self.norm(self.inner(inputs) + ops.matmul(h, self.u) + c))
        c = 0.5 * c + self.drop(h) * np.linspace(0.5, 1.0, self.units)
        return h * c, [h, c]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "rate": self.rate}


class Mean(layers.Layer):
    """Over all steps, also those that a mask leaves out."""

    supports_masking = True

    def call(self, x: Any) -> Any:
        return ops.mean(x, 1)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return None


def made(rate: float = 0.0, units: int = UNITS, **flags: Any) -> Any:
    """A compiled model with weights that are always the same."""
    loop = layers.RNN([Cell(units, rate), layers.GRUCell(3)], **flags, name="loop")
    model = Sequential([Input((None, FEATURES)), layers.Masking(), loop])
    if flags.get("return_sequences"):
        model.add(Mean())
    model.add(layers.Dense(2))
    rng = np.random.default_rng(1)
    model.set_weights([0.5 * rng.normal(size=w.shape) for w in model.weights])
    model.compile(kurve.optimizers.SGD(0.2), "mse")
    return model


def kinds(model: Any) -> set[str]:
    return {op.kind for op in model._network.lowered([X.shape[1:]], [None])[0].ops}


FLAGS: list[dict[str, Any]] = [
    {},
    {"return_sequences": True},
    {"return_sequences": True, "go_backwards": True},
    {"return_sequences": True, "zero_output_for_mask": True},
]


@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_a_loop_is_its_turns(
    flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kurve.set_engine("native")
    found = []
    for fewest in (8, 100):
        monkeypatch.setattr(recurrence, "MIN_STEPS", fewest)
        model = made(**flags)
        assert ("scan" in kinds(model)) == (fewest == 8)
        losses = [model.train_on_batch(X, Y) for _ in range(3)]
        found.append([losses, model.predict(X, verbose=0), *model.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, 1e-5, 1e-6)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_torch_engine(flags: dict[str, Any]) -> None:
    """Losses, weights and predictions, with dropout and without it."""
    pytest.importorskip("torch")
    for rate in (0.0, 0.5):
        found = []
        for engine in ("reference", "torch:cpu"):
            kurve.set_engine(engine)
            kurve.utils.set_random_seed(1)
            model = made(rate, **flags)
            losses = [model.train_on_batch(X, Y) for _ in range(3)]
            found.append([losses, model.predict(X, verbose=0), *model.get_weights()])
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(one, other, 1e-4, 1e-5)


def batches(x: np.ndarray, y: np.ndarray) -> Batches:
    return Batches(x, y, None, None, np.array([0, len(x)], np.int64))


def lowered(model: Any, x: np.ndarray) -> Any:
    """The plan with its loss for samples of that length, and the state."""
    plan, _ = model._network.lowered([x.shape[1:]], [None])
    (head,) = plan.heads
    plan = replace(plan, heads=(replace(head, loss=kurve.plan.Spec(MSE)),))
    return plan, model._network.state


MSE = "mean_squared_error"


def test_gradients_against_differences() -> None:
    """In float64, of the loss by all variables; and engines against each other."""
    model = made(return_sequences=True)
    plan, state = lowered(model, X)
    assert any(op.kind == "scan" for op in plan.ops)
    exact = replace(
        state, params=state.params.astype(float), buffers=state.buffers.astype(float)
    )
    program, data = ReferenceEngine().compile(plan), batches(X, Y)
    _, gradient = program.gradient(exact, data, 0)
    used = np.zeros(len(gradient))
    for spec in plan.params:
        used[spec.offset : spec.end] = 1.0
    for seed in range(3):
        way = np.random.default_rng(seed).normal(size=used.shape) * used
        low, high = (
            program.gradient(replace(exact, params=exact.params + h * way), data, 0)[0]
            for h in (-1e-6, 1e-6)
        )
        assert gradient @ way == pytest.approx((high - low) / 2e-6, rel=1e-6)
    _, native = get_engine("native").compile(plan).gradient(state, data, 0)
    np.testing.assert_allclose(native, gradient, 1e-4, 1e-6)


def test_the_jacobian_of_each_sample() -> None:
    model = made()
    plan, state = lowered(model, X)
    plan = plan.trained_with(None)
    y, native = get_engine("native").compile(plan).jacobian(state, X)
    other, reference = ReferenceEngine().compile(plan).jacobian(state, X)
    np.testing.assert_allclose(y, other, 1e-5, 1e-6)
    np.testing.assert_allclose(native, reference, 1e-4, 1e-6)
    assert np.abs(native).max() > 0.1


@pytest.mark.parametrize("steps", [30, 500], ids=["kept", "computed again"])
def test_bits_of_rows_and_threads(steps: int) -> None:
    """A row's prediction does not depend on its batch, nor anything on threads; what
    backward needs of many turns is computed again."""
    from kurve import _core

    kurve.set_engine("native")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(9, steps, FEATURES)).astype(np.float32)
    y = rng.normal(size=(9, 2)).astype(np.float32)
    model = made(units=48)
    whole = model.predict(x, verbose=0)
    np.testing.assert_array_equal(model.predict(x[5:6], verbose=0), whole[5:6])
    np.testing.assert_array_equal(model.predict(x[6:], verbose=0), whole[6:])
    plan, state = lowered(model, x)
    before, found = _core.get_threads(), []
    try:
        for threads in (1, 2, 3):
            _core.set_threads(threads)
            program = get_engine("native").compile(plan)
            found.append(program.gradient(state, batches(x, y), 0))
    finally:
        _core.set_threads(before)
    for loss, gradient in found[1:]:
        assert loss == found[0][0]
        np.testing.assert_array_equal(gradient, found[0][1])
    data = batches(x[:2], y[:2])
    _, turns = ReferenceEngine().compile(plan).gradient(state, data, 0)
    _, native = program.gradient(state, data, 0)
    np.testing.assert_allclose(native, turns, 1e-3, 1e-5)


def test_each_turn_drops_its_own_in_both_engines() -> None:
    model = made(rate=0.5, return_sequences=True)
    plan, state = lowered(model, X)
    data = batches(X, Y)
    one, gradient = get_engine("native").compile(plan).gradient(state, data, 0)
    other, reference = ReferenceEngine().compile(plan).gradient(state, data, 0)
    assert one == pytest.approx(other, rel=1e-5)
    np.testing.assert_allclose(gradient, reference, 1e-4, 1e-6)
    fixed, _ = (
        get_engine("native").compile(plan.deterministic()).gradient(state, data, 0)
    )
    assert abs(one - fixed) > 1e-4


def test_plans_stay_small() -> None:
    """Their size does not depend on the number of steps."""
    kurve.set_engine("native")
    model = made()
    sizes = {
        len(model._network.lowered([(steps, FEATURES)], [None])[0].ops)
        for steps in (10, 20_000)
    }
    assert len(sizes) == 1
    assert np.isfinite(model.predict(np.ones((1, 20_000, FEATURES)), verbose=0)).all()


def test_turns_that_are_written_out_are_a_plan() -> None:
    model = made(return_sequences=True)
    plan, state = lowered(model, X)
    flat = rewritten(plan, appended)
    assert all(op.body is None for op in flat.ops) and len(flat.ops) > 9 * STEPS
    data = batches(X, Y)
    loss, gradient = get_engine("native").compile(plan).gradient(state, data, 0)
    other, expected = get_engine("native").compile(flat).gradient(state, data, 0)
    assert loss == pytest.approx(other, rel=1e-6)
    np.testing.assert_allclose(gradient, expected, 1e-5, 1e-7)


def test_files(tmp_path: Path) -> None:
    """With and without the class of the cell."""
    inputs = Input((STEPS, FEATURES))
    own = layers.RNN(Cell(UNITS), return_sequences=True)

    class Wrapped(layers.Layer):
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.loop = own

        def call(self, x: Any) -> Any:
            return self.loop(x)

    model = kurve.Model(inputs, Wrapped(name="wrapped")(inputs))
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "m.kurve")
    loaded = models.load_model(tmp_path / "m.kurve")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), expected)
    loaded.compile("sgd", "mse")
    assert np.isfinite(loaded.train_on_batch(X, np.zeros_like(expected)))


def test_second_derivatives() -> None:
    """Of a loop's output by its input, against differences."""
    loop = layers.RNN(Cell(UNITS))
    start = X[5:7]
    loop(start)

    def squares(values: np.ndarray, outer: Any = None) -> tuple[Any, Any]:
        """The input, and the sum of the squares of the slopes there."""
        x = ops.convert_to_tensor(values)
        if outer is not None:
            outer.watch(x)
        with kurve.GradientTape() as tape:
            tape.watch(x)
            y = ops.sum(ops.square(loop(x)))
        return x, ops.sum(ops.square(tape.gradient(y, x)))

    with kurve.GradientTape() as outer:
        x, total = squares(start, outer)
    found = np.asarray(outer.gradient(total, x))
    way = np.random.default_rng(3).normal(size=start.shape).astype(np.float32)
    low, high = (float(squares(start + h * way)[1]) for h in (-1e-2, 1e-2))
    assert np.sum(found * way) == pytest.approx((high - low) / 2e-2, rel=2e-3)


def test_what_a_step_keeps_is_not_there_behind_it() -> None:
    class Keeping(layers.Layer):
        state_size = FEATURES

        def call(self, inputs: Any, states: Any) -> Any:
            self.last = inputs + states[0]
            return self.last, [self.last]

    class Outer(layers.Layer):
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.cell = Keeping()
            self.loop = layers.RNN(self.cell)

        def call(self, x: Any) -> Any:
            return self.loop(x) + self.cell.last

    with pytest.raises(ValueError, match="only exists in that step"):
        Outer()(X)
