"""The torch engine: its devices, steps without the host, and what ends a training."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, layers
from kurve.engines import Batches, Job, get_engine
from kurve.errors import NonFiniteError

pytest.importorskip("torch")
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kurve.engines.torch import TorchEngine
from kurve.engines.torch.device import DeviceRun
from kurve.engines.torch.host import HostRun, Step
from kurve.engines.torch.layers import LAYERS
from kurve.engines.torch.program import OPS
from kurve.engines.torch.recording import Recorder
from kurve.engines.torch.training import Run

X = np.random.default_rng(1).normal(size=(40, 6, 6, 2)).astype(np.float32)
Y = (X.sum(axis=(1, 2, 3)) > 0).astype(np.float32)[:, None]


def network(engine: str = "torch:cpu", **compiled: Any) -> Sequential:
    """Something of everything that a step may do."""
    kurve.utils.set_random_seed(3)
    model = Sequential(
        [
            Input((6, 6, 2)),
            layers.RandomFlip(),
            layers.Conv2D(4, 3, padding="same", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Activation("mish"),
            layers.MaxPooling2D(),
            layers.Reshape((9, 4)),
            layers.LSTM(5),
            layers.GaussianNoise(0.1),
            layers.Dropout(0.2),
            layers.Dense(1, "sigmoid"),
        ]
    )
    arguments = {"loss": "binary_crossentropy", "metrics": ["accuracy", "auc", "r2"]}
    chosen = {"optimizer": "nadam", **arguments, **compiled}
    model.compile(**chosen, engine=engine)
    return model


def job_of(model: Sequential, steps: int = 4) -> Job:
    program, state = model._network.program(), model._network.training_state()
    rates = np.full(steps, 0.01, np.float32)
    bounds = np.arange(steps + 1) * 10
    order = np.random.default_rng(2).permutation(40)
    batches = Batches(X, Y, None, order, bounds, rates)
    totals = np.zeros(program.plan.totals_size)
    return Job(program, state, batches, 0, steps, totals)


class NoLooking(TorchDispatchMode):
    """Refuses whatever would make a GPU wait for the host, or the host for it."""

    LOOKS = ("item", "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select")

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        assert function.__name__.split(".")[0] not in self.LOOKS, function
        if function.__name__.split(".")[0] in ("index", "index_put_"):
            indices = [i for i in args[1] if i is not None]
            assert all(i.dtype != torch.bool for i in indices), function
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("clip", [{}, {"global_clipnorm": 0.1}], ids=str)
def test_a_step_never_looks(clip: dict[str, float]) -> None:
    """What the host does not read can be captured, and goes on changing."""
    model = network()
    adam = kurve.optimizers.Adam(weight_decay=0.01, use_ema=True, **clip)
    measured = ["accuracy", "auc", "r2"]
    model.compile(adam, "mse", metrics=measured, engine="torch:cpu")
    job = job_of(model)
    with torch.inference_mode():
        run = DeviceRun(job.program, job)  # type: ignore[arg-type]
        run._load(job)
        run.step(10, True)  # what is made once
        run.commit()
        before = run.live.clone()
        with NoLooking():
            run.step(10, True)
            run.commit()
        assert run.counters.tolist() == [2, 2]
        assert not torch.equal(before, run.live)
        with pytest.raises(AssertionError, match="item"), NoLooking():
            run.alive.item()


def test_ctrl_c_within_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps before it are done, and nothing of it."""
    job, other = job_of(network()), job_of(network(), steps=2)
    get_engine("torch:cpu").train([other])
    update, calls = HostRun._apply, []

    def interrupted(self: HostRun, step: Step) -> None:
        update(self, step)
        calls.append(step)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(HostRun, "_apply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get_engine("torch:cpu").train([job])
    assert job.state.step == other.state.step == 2
    assert job.state.params.tobytes() == other.state.params.tobytes()
    assert job.state.buffers.tobytes() == other.state.buffers.tobytes()
    assert job.totals.tobytes() == other.totals.tobytes()


def unrecorded(self: Recorder, *arguments: object) -> None:
    self.failed = True


@pytest.mark.parametrize(
    ("optimizer", "loss"),
    [
        ("nadam", "binary_crossentropy"),
        (lambda: kurve.optimizers.Adam(weight_decay=0.01, use_ema=True), "mse"),
        (lambda: kurve.optimizers.SGD(0.1, 0.9, nesterov=True, clipnorm=0.1), "huber"),
        (lambda: kurve.optimizers.Lion(gradient_accumulation_steps=2), "poisson"),
    ],
)
def test_recorded_steps_compute_what_others_do(
    monkeypatch: pytest.MonkeyPatch, optimizer: Any, loss: str
) -> None:
    """The same bits, for batches of different sizes, with everything that changes."""

    def trained() -> tuple[bytes, object, list[Step | None]]:
        made = optimizer if isinstance(optimizer, str) else optimizer()
        model = network(optimizer=made, loss=loss)
        history = model.fit(X, Y, batch_size=9, epochs=4, verbose=0).history
        program: Any = model._network.program()
        (run,) = program._idle
        state = model._network.training_state()
        bits = (state.params, state.slots, state.buffers, state.scalars)
        return b"".join(a.tobytes() for a in bits), history, list(run.kinds.values())

    bits, history, kinds = trained()
    assert all(step is not None for step in kinds)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_note", unrecorded)
        others, other_history, kinds = trained()
    assert not any(kinds)
    assert bits == others
    assert history == other_history


def test_a_step_that_is_not_finite_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are looked at together; those before the bad one stay done."""

    def trained(every: int) -> tuple[bytes, int, str]:
        kurve.utils.set_random_seed(2)
        model = Sequential([Input((1,)), layers.Dense(1, name="out")])
        model.compile("adam", "mse", engine="torch:cpu")
        x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
        y = x.copy()
        x[45], y[45] = 1e5, 1e18  # the square of the gradient overflows
        program, state = model._network.program(), model._network.training_state()
        rates = np.full(60, 0.01, np.float32)
        batches = Batches(x, y, None, None, np.arange(61), rates)
        totals = np.zeros(program.plan.totals_size)
        monkeypatch.setattr("kurve.engines.torch.host.KEPT", every)
        job = Job(program, state, batches, 0, 60, totals)
        (error,) = get_engine("torch:cpu").train([job])
        assert error is not None
        assert "the update of out/kernel" in str(error)
        assert totals[1] == 45
        return state.params.tobytes() + state.slots.tobytes(), state.step, str(error)

    assert trained(32) == trained(1)
    assert trained(32)[1] == 45


def test_memory_that_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear error, the model as it was, and it can be trained afterwards."""
    job = job_of(network())
    before = copy.deepcopy(job.state)

    def full(self: Run, due: bool, numbers: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_update", full)
        with pytest.raises(MemoryError, match=r"^\[torch engine\] .*Try a smaller"):
            get_engine("torch:cpu").train([job])
    assert job.state.step == 0
    assert job.state.params.tobytes() == before.params.tobytes()
    assert get_engine("torch:cpu").train([job]) == [None]
    assert job.state.step == 4


@pytest.mark.parametrize(
    ("x", "y", "what"),
    [
        (1.0, np.nan, "the loss"),
        (1e25, 1e18, "the gradient of out/kernel"),
        (1e5, 1e18, "the update of out/kernel"),
    ],
)
def test_what_is_not_finite_is_named(x: float, y: float, what: str) -> None:
    start = "zeros" if "gradient" in what else "ones"
    layer = layers.Dense(1, kernel_initializer=start, name="out")
    model = Sequential([Input((1,)), layer])
    model.compile("adam", "mse", engine="torch:cpu")
    model.fit([0.0], [0.0], verbose=0)
    program, state = model._network.program(), model._network.training_state()
    before = state.params.tobytes() + state.slots.tobytes()
    rows = np.full((2, 1), x, np.float32), np.full((2, 1), y, np.float32)
    rates = np.full(2, 0.1, np.float32)
    batches = Batches(*rows, None, None, np.arange(3), rates)
    totals = np.zeros(program.plan.totals_size)
    (error,) = get_engine("torch:cpu").train(
        [Job(program, state, batches, 0, 2, totals)]
    )
    assert isinstance(error, NonFiniteError)
    assert what in str(error)
    assert (state.step, totals.any()) == (1, False)
    assert before == state.params.tobytes() + state.slots.tobytes()


@pytest.mark.parametrize(("units", "expected"), [(8, 1), (40_000, 2)])
def test_small_steps_use_one_thread(
    monkeypatch: pytest.MonkeyPatch, units: int, expected: int
) -> None:
    """And the program's setting stays, whatever a call ends with."""
    seen: list[int] = []
    pairs, before = LAYERS["dense"], torch.get_num_threads()

    def counted(*given: Any) -> Any:
        seen.append(torch.get_num_threads())
        return pairs[0](*given)

    monkeypatch.setitem(OPS, "dense", (counted, pairs[1]))
    model = Sequential([Input((72,)), layers.Dense(units), layers.Dense(1)])
    model.compile("sgd", "mse", engine="torch:cpu")
    x = X.reshape(40, 72)
    torch.set_num_threads(2)
    try:
        model.fit(x, Y, batch_size=40, verbose=0)
        model.evaluate(x, Y, batch_size=40, verbose=0)
        assert set(seen) == {expected}
        with pytest.raises(NonFiniteError):
            model.fit(x, Y * 1e38, verbose=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_devices() -> None:
    assert TorchEngine("cpu").name == "torch:cpu"
    assert get_engine("torch").name == "torch"
    assert get_engine("torch:cpu") is get_engine("torch:cpu")
    for name in ("gpu", "meta", "cpu:1", "cuda:99"):
        with pytest.raises(ValueError, match=rf"Received: device='{name}'. Try"):
            kurve.set_engine(f"torch:{name}")
    with pytest.raises(ValueError, match=r"unknown engine. Received: 'tosch'"):
        kurve.set_engine("tosch")
    with pytest.raises(ValueError, match="precision must be one of float32, tf32"):
        TorchEngine("cpu", precision="float16")


def test_bfloat16_rounds_the_factors_of_products() -> None:
    def fitted(precision: str) -> tuple[list[float], np.ndarray]:
        kurve.utils.set_random_seed(3)
        x = Input((6, 6, 2))
        h = layers.Conv2D(8, 3, activation="relu")(x)
        h = layers.Conv2DTranspose(4, 2, activation="relu")(h)
        h = layers.Reshape((25, 4))(h)
        h = layers.MultiHeadAttention(2, 4)(h, h)
        y = layers.Dense(1, "sigmoid")(layers.Flatten()(h))
        model = kurve.Model(x, y)
        engine = TorchEngine("cpu", precision=precision)
        model.compile("adam", "binary_crossentropy", engine=engine)
        history = model.fit(X, Y, batch_size=10, epochs=10, verbose=0)
        return history.history["loss"], model.predict(X)

    (losses, predicted), (exact_losses, exact) = map(fitted, ("bfloat16", "float32"))
    assert losses[-1] < 0.97 * losses[0]
    np.testing.assert_allclose(losses, exact_losses, rtol=0.02)
    difference = np.abs(predicted - exact).max()
    assert 1e-5 < difference < 0.05


def test_a_saved_model_opens_where_there_is_no_torch(tmp_path: Path) -> None:
    """Its file does not name the engine, so the default one takes over."""
    model = network()
    model.fit(X, Y, batch_size=16, verbose=0)
    model.save(tmp_path / "m.kurve")
    again = kurve.models.load_model(tmp_path / "m.kurve")
    assert again._network.chosen_engine() is get_engine()
    found, wanted = again.predict(X, verbose=0), model.predict(X, verbose=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_weights_that_come_and_go() -> None:
    """A recorded step without weights does not serve data that have some."""
    x = np.linspace(-1, 1, 64)
    model = Sequential([Input((1,)), layers.Dense(4, "tanh"), layers.Dense(1)])
    model.compile("sgd", "mse", engine="torch:cpu")
    for weights in (None, np.zeros(64), None):
        before = model.get_weights()[0].copy()
        model.fit(x, x, sample_weight=weights, epochs=3, verbose=0)
        assert (before == model.get_weights()[0]).all() == (weights is not None)


def test_auto_chooses_once_for_all_members(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Sequential([Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)])
    model.compile("sgd", "mse", engine="auto")
    members = kurve.ensemble(model, 3)
    calls: list[int] = []
    train = type(get_engine("native")).train

    def counted(self: Any, jobs: Any) -> Any:
        calls.append(len(jobs))
        return train(self, jobs)

    monkeypatch.setattr(type(get_engine("native")), "train", counted)
    seconds = {"native": 1.0, "torch": 2.0}
    monkeypatch.setattr(
        "kurve.engines.auto._seconds_a_step", lambda e, *job: seconds[e.name]
    )
    members.fit(X[:, 0, 0, :1].repeat(3, 1), Y, epochs=2, verbose=0)
    assert capsys.readouterr().err.count("[engine='auto']") == 1
    assert calls == [3, 3]  # all together


def test_auto_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    """And computes what the chosen engine does."""
    model = network("auto")
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    said = capsys.readouterr().err
    assert said.startswith("[engine='auto'] ")
    assert said.count("\n") == 1
    name = said.split()[1]
    assert name in ("native", "torch")
    same = network(name)
    same.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    for mine, other in zip(model.get_weights(), same.get_weights(), strict=True):
        assert mine.tobytes() == other.tobytes()
    assert model.evaluate(X, Y, verbose=0) == same.evaluate(X, Y, verbose=0)
