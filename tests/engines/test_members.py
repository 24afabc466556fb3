"""Members that the torch engine trains together compute what each would alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers, ops, optimizers
from kurve.engines import Batches, Job, get_engine
from kurve.errors import NonFiniteError
from tests.engines.conftest import DEVICE
from tests.unit.test_torch_engine import NoLooking

pytest.importorskip("torch")
import torch

from kurve.engines.torch import together
from kurve.engines.torch.device import DeviceRun
from kurve.engines.torch.host import HostRun, Step

ENGINE = f"torch:{DEVICE}"
MEMBERS, ROWS = 3, 22


def normal(*shape: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.normal(size=(ROWS, *shape)).astype(np.float32)


def dense() -> tuple[Any, np.ndarray]:
    norm = layers.Normalization()
    norm.adapt(2.0 * normal(3) + 1.0)
    stack = [
        Input((3,)),
        norm,
        layers.Dense(7, "tanh", kernel_regularizer="l2"),
        layers.Dropout(0.2),
        layers.BatchNormalization(),
        layers.Dense(5, "gelu", use_bias=False, bias_regularizer="l1"),
        layers.LayerNormalization(),
        layers.GaussianNoise(0.1),
        layers.Dense(4, "silu", trainable=False),
        layers.PReLU(),
        layers.Dense(1),
    ]
    return Sequential(stack), normal(3)


def inner_axes() -> tuple[Any, np.ndarray]:
    x = Input((4, 3))
    h = layers.Dense(5, "tanh")(x)
    h = layers.SpatialDropout1D(0.3)(h)
    h = layers.LayerNormalization()(h + layers.Dense(5)(h))
    h = ops.matmul(h, ops.transpose(h, (0, 2, 1)))
    y = layers.Dense(1)(layers.Flatten()(layers.BatchNormalization()(h)))
    return Model(x, y), normal(4, 3)


def images() -> tuple[Any, np.ndarray]:
    stack = [
        Input((6, 6, 2)),
        layers.RandomFlip(),
        layers.Conv2D(3, 3, padding="same", activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Conv2DTranspose(2, 2),
        layers.GlobalAveragePooling2D(),
        layers.Dense(1),
    ]
    return Sequential(stack), normal(6, 6, 2)


def recurrent() -> tuple[Any, np.ndarray]:
    x = Input((4, 3))
    h = layers.LSTM(3, return_sequences=True, dropout=0.2)(x)
    h = layers.RNN(layers.GRUCell(2), return_sequences=True)(h)
    return Model(x, layers.Dense(1)(layers.SimpleRNN(3)(h))), normal(4, 3)


def words() -> tuple[Any, np.ndarray]:
    x = Input((5,))
    embedding = layers.Embedding(7, 4)
    h = embedding(x) + layers.Embedding(7, 4)(x)
    h = layers.MultiHeadAttention(2, 3)(h, h)
    y = layers.Dense(1)(layers.GlobalAveragePooling1D()(h))
    return Model(x, y), np.random.default_rng(1).integers(0, 7, (ROWS, 5))


MODELS: dict[str, Callable[[], tuple[Any, np.ndarray]]] = {
    f.__name__: f for f in (dense, inner_axes, images, recurrent, words)
}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "adam": lambda: optimizers.Adam(1e-3, epsilon=1e-3),
    "momentum": lambda: optimizers.SGD(0.01, 0.9, nesterov=True, clipnorm=0.1),
    "nadam": lambda: optimizers.Nadam(1e-3, epsilon=1e-3, global_clipnorm=0.2),
    "formula": lambda: optimizers.Lamb(1e-3, weight_decay=0.1, clipvalue=0.1),
    "average": lambda: optimizers.Adam(
        1e-3, epsilon=1e-3, use_ema=True, gradient_accumulation_steps=2
    ),
}


def committee(
    make: Callable[[], tuple[Any, np.ndarray]], optimizer: Any = "adam", **more: Any
) -> tuple[kurve.models.Ensemble, np.ndarray]:
    kurve.utils.set_random_seed(3)
    model, x = make()
    model.compile(optimizer, **{"loss": "mse", **more}, engine=ENGINE)
    return kurve.ensemble(model, MEMBERS), x


def both(
    monkeypatch: pytest.MonkeyPatch, fit: Callable[[], tuple[Any, list[Any]]]
) -> tuple[tuple[Any, list[Any]], tuple[Any, list[Any]]]:
    """What members found together, and alone."""
    made = fit()
    programs = [m._network.program() for m in made[0].members]
    assert any(p._together is not None for p in programs)
    with monkeypatch.context() as patch:
        patch.setattr(together, "_key", lambda job: None)
        alone = fit()
    assert all(m._network.program()._together is None for m in alone[0].members)
    return made, alone


def close(made: tuple[Any, list[Any]], alone: tuple[Any, list[Any]]) -> None:
    for a, b in zip(made[0].members, alone[0].members, strict=True):
        one, other = a._network.training_state(), b._network.training_state()
        assert one.step == other.step
        for name in ("params", "buffers", "slots", "scalars"):
            found, wanted = getattr(one, name), getattr(other, name)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    for found, wanted in zip(made[1], alone[1], strict=True):
        assert found.history.keys() == wanted.history.keys()
        for key, values in found.history.items():
            np.testing.assert_allclose(values, wanted.history[key], rtol=1e-5)
    states = [m._network.training_state() for m in made[0].members]
    assert not np.allclose(states[0].params, states[1].params)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_way_to_update(monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    def fit() -> tuple[Any, list[Any]]:
        members, x = committee(dense, OPTIMIZERS[optimizer](), metrics=["mae"])
        return members, members.fit(x, x.sum(1), batch_size=5, epochs=3, verbose=0)

    close(*both(monkeypatch, fit))


@pytest.mark.parametrize("optimizer", ["rmsprop", "decays", *OPTIMIZERS])
def test_learning_rates_that_differ(
    monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """After epochs with the same one, and before others."""
    others = {
        "rmsprop": lambda: optimizers.RMSprop(1e-3, momentum=0.5, epsilon=1e-3),
        "decays": lambda: optimizers.AdamW(1e-3, weight_decay=0.1, epsilon=1e-3),
    }

    def fit() -> tuple[Any, list[Any]]:
        members, x = committee(dense, {**others, **OPTIMIZERS}[optimizer]())
        given: dict[str, Any] = {"batch_size": 5, "epochs": 2, "verbose": 0}
        found = list(members.fit(x, x.sum(1), **given))
        for rate, member in zip((3e-3, 1e-3, 1e-4), members.members, strict=True):
            member.optimizer.learning_rate = rate
        found += members.fit(x, x.sum(1), **given)
        for member in members.members:
            member.optimizer.learning_rate = 1e-3
        return members, found + list(members.fit(x, x.sum(1), **given))

    close(*both(monkeypatch, fit))


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_layer(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fit() -> tuple[Any, list[Any]]:
        members, x = committee(MODELS[name], OPTIMIZERS["adam"]())
        y = x.reshape(ROWS, -1).sum(1)
        return members, members.fit(x, y, batch_size=8, epochs=3, verbose=0)

    close(*both(monkeypatch, fit))


@pytest.mark.parametrize(
    ("loss", "measured"),
    [
        ("binary_crossentropy", ["accuracy", "auc", "hinge"]),
        ("huber", ["r2", "mape"]),
        ("poisson", []),
        (lambda y, p: ops.mean(ops.abs(y - p) ** 1.5, axis=-1), ["mse"]),
    ],
    ids=["binary_crossentropy", "huber", "poisson", "formula"],
)
def test_every_kind_of_loss(
    monkeypatch: pytest.MonkeyPatch, loss: Any, measured: list[str]
) -> None:
    """With weights of their own for the members, and validation."""

    def fit() -> tuple[Any, list[Any]]:
        def make() -> tuple[Any, np.ndarray]:
            layer = layers.Dense(1, "sigmoid", activity_regularizer="l2")
            return Sequential([Input((3,)), layers.Dense(4, "tanh"), layer]), normal(3)

        members, x = committee(
            make,
            OPTIMIZERS["adam"](),
            loss=loss,
            metrics=measured,
            weighted_metrics=measured,
        )
        weights = np.random.default_rng(5).uniform(0, 2, (MEMBERS, ROWS))
        y = (x.sum(1) > 0).astype(np.float32)
        histories = members.fit(
            x, y, weights, batch_size=8, epochs=3, validation_split=0.2, verbose=0
        )
        return members, histories

    close(*both(monkeypatch, fit))


def test_inputs_and_heads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two inputs and two heads; the members see other rows."""

    def fit() -> tuple[Any, list[Any]]:
        kurve.utils.set_random_seed(3)
        a, b = Input((3,)), Input((2,))
        h = layers.Dense(5, "tanh")(layers.Concatenate()([a, b]))
        heads = [layers.Dense(1, name="one")(h), layers.Dense(2, name="two")(h)]
        model = Model([a, b], heads)
        model.compile(OPTIMIZERS["adam"](), ["mse", "mae"], engine=ENGINE)
        members = [model, *(model.clone() for _ in range(2))]
        for member in members:
            member.compile(OPTIMIZERS["adam"](), ["mse", "mae"], engine=ENGINE)
        jobs = []
        for m, member in enumerate(members):
            x = (normal(3) + m, normal(2))
            y = (x[0][:, :1] * 3, x[1] + 5.0)
            program, state = member._network.program(), member._network.training_state()
            rates = np.full(4, 0.01, np.float32)
            bounds = np.array([0, 5, 11, 16, 22])
            order = None if m == 2 else np.random.default_rng(m).permutation(ROWS)
            batches = Batches(x, y, None, order, bounds, rates)
            totals = np.zeros(program.plan.totals_size)
            jobs.append(Job(program, state, batches, 0, 4, totals))
        assert get_engine(ENGINE).train(jobs) == [None] * 3
        made = kurve.models.ensembles.Ensemble(members)
        assert [job.totals[1] for job in jobs] == [22.0] * 3
        return made, []

    close(*both(monkeypatch, fit))


def jobs_of(members: Any, x: np.ndarray, rate: float = 0.01) -> list[Job]:
    jobs = []
    for m, member in enumerate(members.members):
        program, state = member._network.program(), member._network.training_state()
        order = np.random.default_rng(m).permutation(ROWS)[:20]
        rates = np.full(5, rate, np.float32)
        batches = Batches(x, x[:, :1].copy(), None, order, np.arange(6) * 4, rates)
        totals = np.zeros(program.plan.totals_size)
        jobs.append(Job(program, state, batches, 0, 5, totals))
    return jobs


def bits(job: Job) -> bytes:
    state = job.state
    arrays = state.params, state.slots, state.buffers, job.totals
    return b"".join(a.tobytes() for a in arrays) + bytes([state.step])


def test_one_that_is_not_finite() -> None:
    """It stops before that step with the error it has alone; the others go on."""
    found = []
    for alone in (False, True):
        jobs = jobs_of(*committee(dense, "sgd"))
        y = np.full((ROWS, 1), 1.0, np.float32)
        order = jobs[1].batches.order
        assert order is not None
        y[order[9]] = 3e38
        jobs[1] = replace(jobs[1], batches=replace(jobs[1].batches, y=y))
        parts = [[job] for job in jobs] if alone else [jobs]
        errors = [e for part in parts for e in get_engine(ENGINE).train(part)]
        assert errors[0] is errors[2] is None
        assert isinstance(errors[1], NonFiniteError)
        found.append((str(errors[1]), jobs))
    (text, ours), (wanted, others) = found
    assert text == wanted
    assert [job.state.step for job in ours] == [5, 2, 5]
    for a, b in zip(ours, others, strict=True):
        assert a.state.step == b.state.step
        np.testing.assert_allclose(a.state.params, b.state.params, atol=1e-5)
        np.testing.assert_allclose(a.totals, b.totals, rtol=1e-5)


@pytest.mark.skipif(DEVICE != "cpu", reason="the host looks after each step")
def test_ctrl_c_within_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """All members have done the steps before it, and nothing of it."""
    jobs, others = jobs_of(*committee(dense)), jobs_of(*committee(dense))
    get_engine(ENGINE).train([replace(job, last=2) for job in others])
    update, calls = HostRun._apply, []

    def interrupted(self: HostRun, step: Step) -> None:
        update(self, step)
        calls.append(step)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(HostRun, "_apply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get_engine(ENGINE).train(jobs)
    assert [job.state.step for job in jobs] == [2] * MEMBERS
    assert [bits(job) for job in jobs] == [bits(job) for job in others]


def test_interrupted_training_goes_on_with_the_same_bits() -> None:
    jobs, others = jobs_of(*committee(dense)), jobs_of(*committee(dense))
    engine = get_engine(ENGINE)
    engine.train(jobs)
    engine.train([replace(job, last=2) for job in others])
    engine.train([replace(job, first=2) for job in others])
    assert [bits(job) for job in jobs] == [bits(job) for job in others]


def test_too_little_memory_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, others = jobs_of(*committee(dense)), jobs_of(*committee(dense))

    def full(self: together.MembersProgram, job: Job) -> None:
        raise MemoryError

    monkeypatch.setattr(together.MembersProgram, "_train", full, raising=False)
    engine = get_engine(ENGINE)
    assert engine.train(jobs) == [None] * MEMBERS
    for job in others:
        engine.train([job])
    assert [bits(job) for job in jobs] == [bits(job) for job in others]


def test_what_goes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = get_engine(ENGINE)
    jobs = jobs_of(*committee(dense))
    assert together._groups(jobs, engine) == [[0, 1, 2]]
    slower = replace(jobs[1].batches, learning_rates=np.full(5, 0.005, np.float32))
    mixed = [jobs[0], replace(jobs[1], batches=slower), jobs[2]]
    assert together._groups(mixed, engine) == [[0, 1, 2]]
    late = copy.copy(jobs[2])
    late.state = replace(late.state, step=7)
    assert together._groups([jobs[0], jobs[1], late], engine) == [[0, 1], [2]]
    monkeypatch.setitem(together.LARGEST, DEVICE, 0)
    assert together._groups(jobs, engine) == [[0], [1], [2]]


@pytest.mark.parametrize("name", MODELS)
def test_a_step_never_looks(name: str) -> None:
    """What the host does not read can be captured, and goes on changing."""
    members, x = committee(MODELS[name], metrics=["mae", "r2"])
    jobs = []
    for job in jobs_of(members, x):
        y = normal(1)
        jobs.append(replace(job, batches=replace(job.batches, y=y)))
    program = together.MembersProgram(jobs[0].program.plan, get_engine(ENGINE), MEMBERS)  # type: ignore[arg-type]
    job = together._job(program, jobs[0].program.plan, jobs)
    with torch.inference_mode():
        run = DeviceRun(program, job)
        run._load(job)
        run.step(4, True)  # what is made once
        run.commit()
        before = run.live.clone()
        with NoLooking():
            run.step(4, True)
            run.commit()
        assert run.counters.tolist() == [2, 2]
        assert not torch.equal(before, run.live)


@pytest.mark.parametrize("name", MODELS)
def test_jacobian_of_every_kind_of_layer(name: str) -> None:
    """All rows at a time, in blocks, against one output of one row at a time."""
    kurve.utils.set_random_seed(3)
    model, x = MODELS[name]()
    model.compile(loss="mse", engine=ENGINE)
    x = np.ascontiguousarray(x[:7], np.float32)
    program, state = model._network.program(), model._network.training_state()
    y, found = program.jacobian(state, x)
    reference, _ = MODELS[name]()
    reference.compile(loss="mse", engine="reference")
    other = reference._network.training_state()
    other.params[...], other.buffers[...] = state.params, state.buffers
    wanted_y, wanted = reference._network.program().jacobian(other, x)
    np.testing.assert_allclose(y, wanted_y, rtol=1e-4, atol=1e-5)
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * scale)
