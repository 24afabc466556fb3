"""Random plans: the native engine agrees with the reference in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kurve.engines.base import Batches, State
from kurve.engines.native import NativeEngine
from kurve.engines.reference import ReferenceEngine
from kurve.plan import MetricSpec, Op, Plan, Spec
from tests.engines.cases import ACTIVATION_NAMES
from tests.native.plans import (
    OPTIMIZERS,
    Builder,
    batches_of,
    copy_of,
    mse,
    optimizer,
    slots_of,
    state_of,
    train,
)

ACTIVATIONS = [name for name in ACTIVATION_NAMES if name != "softmax"]
LOSSES = [
    Spec("mean_squared_error"),
    Spec("mean_absolute_error"),
    Spec("huber", {"delta": 0.7}),
    Spec("log_cosh"),
    Spec("binary_crossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    Spec("binary_crossentropy", {"from_logits": False, "label_smoothing": 0.0}),
    Spec("categorical_crossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    Spec("categorical_crossentropy", {"from_logits": False, "label_smoothing": 0.2}),
    Spec("sparse_categorical_crossentropy", {"from_logits": True}),
    Spec("sparse_categorical_crossentropy", {"from_logits": False}),
]
METRICS = {
    "regression": (
        MetricSpec("mean_absolute_error", weighted=True),
        MetricSpec("root_mean_squared_error"),
    ),
    "binary": (
        MetricSpec("binary_accuracy", {"threshold": 0.5}),
        MetricSpec("mean_squared_error", weighted=True),
    ),
    "categorical": (MetricSpec("categorical_accuracy", weighted=True),),
    "sparse": (MetricSpec("sparse_categorical_accuracy"),),
}
FROZEN = [(), (), ("kernel",), ("bias",), ("kernel", "bias")]
SIZES = st.sampled_from([1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 50, 64, 100])


def metrics_for(loss: Spec, outputs: int) -> tuple[MetricSpec, ...]:
    for word in ("sparse", "categorical", "binary"):
        if word in loss.kind:
            return METRICS[word]
    return (*METRICS["regression"], MetricSpec("r2_score", size=1 + 3 * outputs))


@st.composite
def plans(draw) -> Plan:
    axes = draw(st.sampled_from([(), (), (3,), (2, 2)]))
    builder = Builder(*axes, draw(SIZES))
    if draw(st.booleans()):
        builder.normalization()
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["dense", "dense", "dense", "activation", "other"]))
        if kind == "dense":
            builder.dense(
                draw(SIZES),
                draw(st.sampled_from(ACTIVATIONS)),
                bias=draw(st.booleans()),
                frozen=draw(st.sampled_from(FROZEN)),
                l1=draw(st.sampled_from([0.0, 1e-3])),
                l2=draw(st.sampled_from([0.0, 1e-2])),
            )
        elif kind == "activation":
            builder.activation(draw(st.sampled_from(ACTIVATIONS)))
        elif draw(st.booleans()):
            builder.dropout(draw(st.sampled_from([0.1, 0.5])))
        else:
            builder.softmax()
    loss = draw(st.sampled_from(LOSSES))
    outputs = draw(SIZES)
    probabilities = "entropy" in loss.kind and not loss.attrs["from_logits"]
    if "categorical" in loss.kind:
        builder.dense(max(outputs, 2))
        if probabilities:
            builder.softmax()
    else:
        builder.dense(outputs, "sigmoid" if probabilities else "linear")
        if not probabilities and draw(st.booleans()):
            builder.normalization(invert=True)
    kind = draw(st.sampled_from(sorted(OPTIMIZERS)))
    changes: dict[str, float | bool] = {}
    if "epsilon" in OPTIMIZERS[kind]:
        # A large epsilon, so a gradient of 1e-9 does not determine a whole step.
        changes["epsilon"] = 1e-2
    if "momentum" in OPTIMIZERS[kind]:
        changes["momentum"] = draw(st.sampled_from([0.0, 0.9]))
    for flag in ("nesterov", "centered", "amsgrad"):
        if flag in OPTIMIZERS[kind]:
            changes[flag] = draw(st.booleans())
    clip = draw(st.sampled_from(["", "clipnorm", "clipvalue", "global_clipnorm"]))
    if clip:
        changes[clip] = 0.05
    if draw(st.booleans()):
        changes["weight_decay"] = 0.1
    return builder.plan(
        loss, optimizer(kind, **changes), metrics_for(loss, builder.shape[-1])
    )


def precise(state: State) -> State:
    return replace(
        copy_of(state),
        params=state.params.astype(np.float64),
        buffers=state.buffers.astype(np.float64),
        slots=state.slots.astype(np.float64),
    )


def close(got: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    plan=plans(),
    n=st.integers(1, 60),
    batch=st.sampled_from([1, 7, 20, 64]),
    weights=st.booleans(),
    shuffle=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_reference(plan, n, batch, weights, shuffle, seed):
    batches = batches_of(plan, n, batch, seed, weights, shuffle, rate=1e-2)
    state = state_of(plan, seed)
    truth = precise(state)
    native = NativeEngine().compile(plan)
    reference = ReferenceEngine().compile(plan)

    close(native.predict(state, batches.x), reference.predict(truth, batches.x), 3e-6)

    loss, gradient = native.gradient(state, batches, 0)
    true_loss, true_gradient = reference.gradient(truth, batches, 0)
    close(np.array(loss), np.array(true_loss), 1e-5)
    close(gradient, true_gradient, 1e-5)

    totals, true_totals = (np.zeros(plan.totals_size) for _ in range(2))
    train(NativeEngine(), plan, state, batches, totals=totals)
    train(ReferenceEngine(), plan, truth, batches, totals=true_totals)
    assert state.step == truth.step == batches.steps
    close(state.params, truth.params, 1e-4)
    close(state.slots, truth.slots, 1e-4)
    close(state.scalars, truth.scalars, 1e-12)

    for run in (native, reference):
        ours = run is native
        run.test(state if ours else truth, batches, totals if ours else true_totals)
    accuracies = sum("accuracy" in metric.kind for metric in plan.metrics)
    if not accuracies:  # an accuracy may jump where two outputs are nearly equal
        close(totals, true_totals, 1e-3)
    else:
        close(totals[:2], true_totals[:2], 1e-3)


@pytest.mark.parametrize("batch", [1, 2, 5, 30, 64, 65, 700])
def test_large_layers_equal_reference(batch):
    """Every way in which a product is tiled: rows, panels, depth, and their tails."""
    builder = Builder(3).dense(530, "relu").dense(1043, "tanh").dense(517, "relu")
    plan = builder.dense(70).dense(1).plan(mse())
    state, batches = state_of(plan), batches_of(plan, batch, batch)
    truth = precise(state)
    native = NativeEngine().compile(plan)
    reference = ReferenceEngine().compile(plan)
    close(native.predict(state, batches.x), reference.predict(truth, batches.x), 3e-6)
    _, gradient = native.gradient(state, batches, 0)
    _, true_gradient = reference.gradient(truth, batches, 0)
    for slot in plan.params:
        part = slice(slot.offset, slot.end)
        close(gradient[part], true_gradient[part], 1e-5)


@pytest.mark.parametrize("kind", ["op", "activation", "loss", "metric", "optimizer"])
def test_unsupported_kinds_are_named(kind):
    plan = (
        Builder(2).dense(3).plan(mse(), optimizer(), (MetricSpec("r2_score", size=10),))
    )
    unknown = "strangeness"
    if kind == "op":
        plan = replace(plan, ops=(Op(unknown, "x", (2,), (3,)),))
    elif kind == "activation":
        plan = Builder(2).activation(unknown).plan()
    elif kind == "loss":
        plan = plan.trained_with(Spec(unknown), plan.metrics, plan.optimizer)
    elif kind == "metric":
        plan = plan.trained_with(plan.loss, (MetricSpec(unknown),), plan.optimizer)
    else:
        plan = replace(plan, optimizer=Spec(unknown, plan.optimizer.attrs))
    with pytest.raises(NotImplementedError, match=f"the {kind} 'strangeness'"):
        NativeEngine().compile(plan)


def test_float64_state_is_refused():
    plan = Builder(2).dense(3).plan()
    with pytest.raises(TypeError, match="computes in float32"):
        NativeEngine().compile(plan).predict(precise(state_of(plan)), np.ones((1, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": np.array([0, 1, 99, 3])}, "order must hold row numbers"),
        ({"order": np.array([0, 1, -1, 3])}, "order must hold row numbers"),
        ({"bounds": np.array([0, 2, 5])}, "bounds must increase and stay within"),
        ({"bounds": np.array([0, 3, 2])}, "bounds must increase"),
        ({"weights": np.ones(3, np.float32)}, "weights must have one number"),
        ({"y": np.ones((3, 1), np.float32)}, "batches.y must have as many rows"),
        ({"x": np.ones((4, 3), np.float32)}, "batches.x must have the shape"),
        ({"learning_rates": np.ones(1, np.float32)}, "learning_rates must have"),
    ],
)
def test_wrong_batches_are_refused(change, message):
    plan = Builder(2).dense(1).plan(mse(), optimizer())
    batches: Batches = replace(batches_of(plan, 4, 2), **change)
    state = state_of(plan)
    with pytest.raises(ValueError, match=message):
        train(NativeEngine(), plan, state, batches, 2)
    assert state.step in (0, 1)


def test_nonfinite_stops_before_the_update():
    from kurve.errors import NonFiniteError

    plan = Builder(2).dense(4, "relu").dense(1).plan(mse(), optimizer("sgd"))
    state = state_of(plan)
    batches = batches_of(plan, 40, 10, shuffle=False)
    batches.x[25] = np.inf
    totals = np.zeros(plan.totals_size)
    expected = copy_of(state)
    train(NativeEngine(), plan, expected, batches, 2)
    with pytest.raises(NonFiniteError) as caught:
        train(NativeEngine(), plan, state, batches, 4, totals)
    assert (caught.value.step, caught.value.what) == (2, "the loss")
    assert (state.step, totals[1]) == (2, 20)
    assert state.params.tobytes() == expected.params.tobytes()

    # A finite loss whose gradient overflows.
    state = state_of(plan)
    batches = batches_of(plan, 40, 10, shuffle=False)
    batches.x[5] = 1e25
    state.params[plan.params[2].offset : plan.params[2].end] = 1e-20
    batches.y[:] = 1e18
    with pytest.raises(NonFiniteError, match="the gradient of op_1/kernel"):
        train(NativeEngine(), plan, state, batches, 4, totals)
    assert state.step == 0


def steps(plan: Plan, batch: int, scale: float = 1.0) -> State:
    state, batches = state_of(plan), batches_of(plan, 60, batch)
    batches.x[:] *= np.float32(scale)
    totals = np.zeros(plan.totals_size)
    train(NativeEngine(), plan, state, batches, totals=totals)
    return state


VARIANTS = [(kind, {}) for kind in sorted(OPTIMIZERS)] + [
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("rmsprop", {"momentum": 0.5}),
    ("rmsprop", {"centered": True}),
    ("rmsprop", {"momentum": 0.5, "centered": True}),
    ("adam", {"amsgrad": True}),
]


@pytest.mark.parametrize(("kind", "changes"), VARIANTS)
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_fused_updates_have_the_same_bits(kind, changes, batch):
    """Clipping, even without effect, prevents fusion."""
    builder = Builder(1).dense(300, "relu").dense(37, "tanh").dropout(0.2)
    builder.dense(130, "gelu", bias=False).dense(5, frozen=("kernel", "bias"))
    builder.dense(1)
    plans = [
        builder.plan(
            mse(), optimizer(kind, weight_decay=0.1, clipvalue=clip, **changes)
        )
        for clip in (0.0, 1e30)
    ]
    # Inputs of 1e16 take the checked path, although their gradients are finite.
    for scale in (1.0, 1e16) if kind == "adam" else (1.0,):
        fused, separate = (steps(plan, batch, scale) for plan in plans)
        assert fused.params.tobytes() == separate.params.tobytes()
        assert fused.slots.tobytes() == separate.slots.tobytes()


def test_many_rows_per_sample_are_not_fused():
    builder = Builder(16, 3).dense(5, "tanh").dense(2)
    plan = builder.plan(mse(), optimizer("sgd"))
    state, batches = state_of(plan), batches_of(plan, 100, 100)
    truth = precise(state)
    train(NativeEngine(), plan, state, batches, 1)
    train(ReferenceEngine(), plan, truth, batches, 1)
    close(state.params, truth.params, 1e-6)


def test_frozen_variables_stay():
    builder = (
        Builder(3)
        .dense(40, "tanh")
        .dense(5, "relu", frozen=("kernel", "bias"))
        .dense(2)
    )
    plan = builder.plan(mse(), optimizer(weight_decay=0.1))
    state, batches = state_of(plan), batches_of(plan, 20, 5)
    before = state.params.copy()
    program = NativeEngine().compile(plan)
    _, gradient = program.gradient(state, batches, 0)
    train(NativeEngine(), plan, state, batches, 4)
    for slot in plan.params:
        part = slice(slot.offset, slot.end)
        same = np.array_equal(state.params[part], before[part])
        assert same == (not slot.trainable)
        assert slot.trainable == bool(gradient[part].any())


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_padding_stays_zero(kind):
    changes = {"epsilon": 0.0} if "epsilon" in OPTIMIZERS[kind] else {}
    plan = Builder(3).dense(5, "tanh").dense(1).plan(mse(), optimizer(kind, **changes))
    state, batches = state_of(plan), batches_of(plan, 20, 5)
    train(NativeEngine(), plan, state, batches, 4)
    padding = np.ones(plan.params_size, bool)
    for slot in plan.params:
        padding[slot.offset : slot.end] = False
    assert slots_of(plan.optimizer) == len(state.slots)
    assert not state.params[padding].any()
