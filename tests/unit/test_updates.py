"""Updates that are formulas: resumed, saved, refused and repeated like the others; what
weight decay leaves out; the optimizer's own variables."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential, callbacks, constraints, layers, models, optimizers
from kurve.errors import NonFiniteError
from kurve.optimizers import Optimizer, schedules
from kurve.optimizers.updates import Terms

RNG = np.random.default_rng(4)
X = RNG.normal(size=(48, 3))
Y = np.sin(X[:, :2])

MAKERS: dict[str, Callable[[], Optimizer]] = {
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "ftrl": lambda: optimizers.Ftrl(0.1, l1_regularization_strength=0.01),
    "lion": lambda: optimizers.Lion(weight_decay=0.1),
    "lamb": lambda: optimizers.Lamb(0.01, clipnorm=0.5),
    "adafactor": lambda: optimizers.Adafactor(0.05),
    "muon": lambda: optimizers.Muon(0.01),
    "schedule free": lambda: optimizers.ScheduleFreeAdamW(warmup_steps=4),
    "average": lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=5),
    "accumulated": lambda: optimizers.Nadam(gradient_accumulation_steps=4),
    "both": lambda: optimizers.RMSprop(
        use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=3, momentum=0.5
    ),
}


def model_of(optimizer: Any, seed: int = 1, **dense: Any) -> Sequential:
    kurve.utils.set_random_seed(seed)
    model = Sequential(
        [
            Input((3,)),
            layers.Dense(6, "tanh", name="dense", **dense),
            layers.Dense(2, name="out"),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def trained(model: Sequential, epochs: int = 3, **options: Any) -> list[bytes]:
    model.fit(X, Y, epochs=epochs, batch_size=8, verbose=0, **options)
    return everything(model)


def everything(model: Sequential) -> list[bytes]:
    """All that training changes."""
    state = model._network.state
    assert state is not None
    arrays = [*model.get_weights(), state.slots, state.scalars]
    return [a.tobytes() for a in arrays] + [bytes([state.step])]


class StopAt(callbacks.Callback):
    """Ends the fit by an error after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.iterations == self.steps:
            raise InterruptedError


NEVER = StopAt(-1)


@pytest.mark.parametrize("name", MAKERS)
def test_a_fit_goes_on_where_it_was(engine: str, tmp_path: Path, name: str) -> None:
    dense = {"kernel_constraint": constraints.MaxNorm(0.7)}
    whole = trained(model_of(MAKERS[name](), **dense))
    with pytest.raises(InterruptedError):
        trained(
            model_of(MAKERS[name](), **dense),
            callbacks=[StopAt(8)],
            checkpoint=tmp_path,
            checkpoint_freq=1,
        )
    again = model_of(MAKERS[name](), seed=9, **dense)
    assert trained(again, callbacks=[NEVER], checkpoint=tmp_path) == whole


@pytest.mark.parametrize("name", ["average", "both"])
def test_more_epochs_go_on_from_before_the_average(
    engine: str, tmp_path: Path, name: str
) -> None:
    whole = trained(model_of(MAKERS[name]()), 5)
    trained(model_of(MAKERS[name]()), 2, checkpoint=tmp_path)
    assert trained(model_of(MAKERS[name](), 7), 2, checkpoint=tmp_path) != whole
    assert trained(model_of(MAKERS[name](), 8), 5, checkpoint=tmp_path) == whole


def test_the_same_call_after_the_end(engine: str, tmp_path: Path) -> None:
    whole = trained(model_of(MAKERS["average"]()), 2, checkpoint=tmp_path)
    assert trained(model_of(MAKERS["average"](), 7), 2, checkpoint=tmp_path) == whole


def test_another_formula_is_another_call(tmp_path: Path) -> None:
    trained(model_of("lion", kernel_constraint="non_neg"), checkpoint=tmp_path)
    with pytest.raises(kurve.errors.CheckpointError, match="a different call"):
        trained(model_of("lion"), checkpoint=tmp_path)


@pytest.mark.parametrize("name", MAKERS)
def test_files_and_pickles_go_on(engine: str, tmp_path: Path, name: str) -> None:
    model = model_of(MAKERS[name](), kernel_constraint="max_norm")
    trained(model, 2)
    files = [tmp_path / "m.kurve", tmp_path / "m.keras", tmp_path / "m.h5"]
    for path in files:
        model.save(path)
    others = [models.load_model(path) for path in files]
    others += [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    before = everything(model)
    assert [everything(other) for other in others] == [before] * len(others)
    after = trained(model, shuffle=False)
    assert after != before
    for other in others:
        assert trained(other, shuffle=False) == after


def test_same_bits_for_any_number_of_threads() -> None:
    """With matrices that are large enough for several threads."""
    kurve.set_engine("native")
    x = RNG.normal(size=(40, 150))
    threads = kurve.get_threads()

    def bits(count: int, optimizer: Optimizer) -> list[bytes]:
        kurve.set_threads(count)
        kurve.utils.set_random_seed(1)
        given = {"kernel_constraint": constraints.UnitNorm(1)}
        model = Sequential(
            [Input((150,)), layers.Dense(333, "tanh", **given), layers.Dense(129)]
        )
        model.compile(optimizer, "mse")
        model.fit(x, x[:, :129], epochs=2, verbose=0)
        return [w.tobytes() for w in model.get_weights()]

    try:
        for name in ("muon", "adafactor", "lamb", "both"):
            alone = bits(1, MAKERS[name]())
            assert bits(2, MAKERS[name]()) == bits(5, MAKERS[name]()) == alone
    finally:
        kurve.set_threads(threads)


@pytest.mark.parametrize("name", ["lion", "lamb", "muon", "average", "accumulated"])
def test_an_update_that_is_not_finite_changes_nothing(engine: str, name: str) -> None:
    made = MAKERS[name]()
    model = model_of(made)
    trained(model, 1)
    made.learning_rate = 3e38
    for _ in range(40):  # some need a few steps to get that far
        before = everything(model)
        try:
            model.train_on_batch(X, Y)
        except NonFiniteError:
            break
    else:
        pytest.fail("nothing overflowed")
    assert everything(model) == before


def test_a_constraint_that_is_not_finite_changes_nothing(engine: str) -> None:
    class Reciprocal(constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            return 1.0 / (w * 0.0)

    model = model_of("sgd", kernel_constraint=Reciprocal())
    model._network.training_state()
    before = everything(model)
    with pytest.raises(NonFiniteError, match="the update of dense"):
        model.train_on_batch(X, Y)
    assert everything(model) == before


def test_weight_decay_leaves_out_what_is_excluded(engine: str) -> None:
    """By name and by variable; the others decay as before."""
    results = {}
    for name in ("all", "var_names", "var_list"):
        made = optimizers.SGD(0.1, weight_decay=0.5)
        model = model_of(made, bias_initializer="ones")
        bias = model.layers[0].bias
        if name != "all":
            given = {"var_names": ["bias"], "var_list": [bias]}
            made.exclude_from_weight_decay(**{name: given[name]})
        model.train_on_batch(0.0 * X, np.tile(model.predict(0.0 * X[:1]), (48, 1)))
        results[name] = model.get_weights()
    np.testing.assert_allclose(results["all"][1], 0.95, rtol=1e-6)
    for name in ("var_names", "var_list"):
        np.testing.assert_allclose(results[name][1], 1.0, rtol=1e-6)
        np.testing.assert_array_equal(results[name][0], results["all"][0])


def test_exclusions_that_come_too_late_or_are_wrong() -> None:
    made = optimizers.Lion()
    model = model_of(made)
    with pytest.raises(TypeError, match="var_names must be a list of names"):
        made.exclude_from_weight_decay(var_names="bias")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="var_list must hold variables"):
        made.exclude_from_weight_decay(var_list=[3])
    with pytest.raises(ValueError, match="must be regular expressions"):
        made.exclude_from_weight_decay(var_names=["("])
    trained(model)
    with pytest.raises(ValueError, match="before training starts"):
        made.exclude_from_weight_decay(var_names=["bias"])


def test_schedule_free_weights_lie_between_iterate_and_mean() -> None:
    """The formula of Keras's source, step by step in float64."""
    w = z = x = 1.0
    v, lr, beta_1, beta_2 = 0.0, 0.1, 0.9, 0.999
    for t in range(1, 6):
        g = 2.0 * w
        v += (g * g - v) * (1.0 - beta_2)
        z -= lr * min(t / 3, 1.0) * g / (np.sqrt(v / (1.0 - beta_2**t)) + 1e-8)
        x += (z - x) / t
        w = (1.0 - beta_1) * z + beta_1 * x
    model = Sequential([Input((1,)), layers.Dense(1, use_bias=False)])
    model.set_weights([[[1.0]]])
    model.compile(optimizers.ScheduleFreeAdamW(0.1, warmup_steps=3), "mse")
    for _ in range(5):
        model.train_on_batch([[1.0]], [[0.0]])
    assert model.get_weights()[0].item() == pytest.approx(w, rel=1e-6)


class Signs(Optimizer):
    """An optimizer of one's own."""

    kind = "signs"
    own_slots = {"last": 0.0}  # noqa: RUF012

    def formula(self, terms: Terms) -> Any:
        last = terms.slots["last"]
        terms.slots["last"] = terms.gradient
        return terms.value - terms.rate * np.sign(terms.gradient + last)


def test_an_optimizer_of_ones_own(engine: str) -> None:
    model = model_of(Signs(0.01))
    before = model.get_weights()
    model.train_on_batch(X, Y)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(np.abs(a - b), 0.01, rtol=1e-4)


# -------------------------------------------------------------------- its numbers


def test_the_learning_rate_is_a_number_and_a_variable() -> None:
    made = optimizers.Adam(0.5)
    rate = made.learning_rate
    assert isinstance(rate, float) and rate == 0.5 and json.dumps(rate) == "0.5"
    assert (f"{rate:.2f}", str(rate), repr(rate)) == ("0.50", "0.5", "0.5")
    assert rate * 2 == 1.0 and 1 / rate == 2.0 and -rate == -0.5 and rate < 1
    assert rate.numpy() == np.float32(0.5) and rate.value.dtype == np.float32
    rate.assign(0.25)
    assert made.learning_rate == rate == 0.25 and made.current_learning_rate(0) == 0.25
    made.learning_rate = 0.125
    assert float(rate) == rate + 0 == 0.125
    assert type(pickle.loads(pickle.dumps(rate))) is type(copy.deepcopy(rate)) is float
    with pytest.raises(ValueError, match="learning_rate must be at least 0"):
        rate.assign(-1.0)


def test_iterations_count_updates(engine: str) -> None:
    made = optimizers.Adam(gradient_accumulation_steps=4)
    assert made.iterations == 0 and made.iterations.numpy() == 0
    model = model_of(made)
    count = made.iterations
    trained(model, 1)  # 6 steps
    assert made.iterations == count == 1
    assert made.variables[0].numpy() == model.iterations == 6
    made.iterations.assign(0)
    assert model.iterations == 0
    names = [v.name for v in made.variables]
    assert names[:3] == [
        "iteration",
        "learning_rate",
        "dense_kernel_gradient_accumulator",
    ]
    assert len(names) == 2 + 4 * 3
    value = made.variables[-1]
    value.assign(np.full(value.shape, 3.0))
    assert (made.variables[-1].numpy() == 3.0).all()


def test_a_function_is_called_once_a_step(engine: str) -> None:
    calls: list[float] = []

    def rate() -> float:
        calls.append(0.01)
        return 0.01 * len(calls)

    model = model_of(optimizers.SGD(rate))
    trained(model, 2)
    assert len(calls) == 12
    trained(model, 1, callbacks=[NEVER])
    assert len(calls) == 18
    with pytest.raises(ValueError, match="a function cannot be saved"):
        model.optimizer.get_config()  # type: ignore[union-attr]


def test_a_schedule_of_ones_own_is_called_once_a_step(engine: str) -> None:
    class Falling(schedules.LearningRateSchedule):
        def __init__(self) -> None:
            self.steps: list[int] = []

        def __call__(self, step: Any) -> Any:
            self.steps.append(int(step))
            return np.array([0.1 / (1 + step)])

    schedule = Falling()
    model = model_of(optimizers.SGD(schedule))
    trained(model, 2)
    trained(model, 1, callbacks=[NEVER])
    assert schedule.steps == list(range(18))


def test_get_takes_what_serialize_gives() -> None:
    made = optimizers.Muon(exclude_layers=["output"], rms_rate=None, use_ema=True)
    again = optimizers.get(optimizers.serialize(made))
    assert again.get_config() == made.get_config()
    assert optimizers.get(None) is None
    assert optimizers.get({"class_name": "adam", "config": {}}).learning_rate == 0.001
    with pytest.raises(TypeError, match="an optimizer is needed"):
        model_of(None)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: optimizers.Adam(ema_momentum=1.5), "ema_momentum must be in"),
        (lambda: optimizers.Adam(ema_overwrite_frequency=0), "of at least 1, or None"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=1), "of at least 2"),
        (lambda: optimizers.Lion(beta_1=0.0), "beta_1 must be above 0"),
        (lambda: optimizers.Muon(ns_steps=0), "ns_steps must be an integer"),
        (lambda: optimizers.Muon(exclude_layers=["("]), "regular expressions"),
        (lambda: optimizers.Ftrl(learning_rate_power=0.5), "learning_rate_power must"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
