"""What users see of an error: their line and one of Kurve's; arguments by name."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import (
    Input,
    Sequential,
    activations,
    callbacks,
    config,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    plots,
    regularizers,
    solvers,
    utils,
)

X, Y = np.ones((8, 2)), np.zeros(8)


@pytest.fixture(autouse=True)
def _filtered() -> Iterator[None]:
    before = config.is_traceback_filtering_enabled()
    config.enable_traceback_filtering()
    yield
    (
        config.enable_traceback_filtering
        if before
        else config.disable_traceback_filtering
    )()


def line() -> Sequential:
    model = Sequential([Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


class Predicts(callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.predict(np.ones((2, 3)), verbose=0)


def broken(x: Any, a: float) -> Any:
    raise KeyError("mine")


FAILING: dict[str, Callable[[], Any]] = {
    "fit": lambda: line().fit(X * np.nan, Y),
    "evaluate": lambda: line().evaluate(X, Y[:3]),
    "predict": lambda: line().predict(X[:, :1]),
    "predict_on_batch": lambda: line().predict_on_batch(X[:, :1]),
    "call of a model": lambda: line()(X[:, :1]),
    "train_on_batch": lambda: line().train_on_batch(X, Y[:3]),
    "compile": lambda: line().compile("adma", "mse"),
    "set_weights": lambda: line().set_weights([]),
    "Sequential": lambda: Sequential([layers.Dense(1), layers.Dense(1, name="a"), 3]),
    "Dense": lambda: layers.Dense(-1),
    "call of a layer": lambda: layers.Dense(1)(np.ones(3)),
    "call of a loss": lambda: losses.Huber()(np.zeros(3), np.zeros((4, 1))),
    "load_model": lambda: models.load_model("not-there.kurve"),
    "lbfgs": lambda: solvers.lbfgs(line(), X, Y[:3]),
    "Regressor": lambda: kurve.Regressor().fit(X, Y[:3]),
    "curve_fit": lambda: kurve.curve_fit(lambda x, a: a * x, [1.0], [1.0, 2.0]),
}


@pytest.mark.parametrize("name", FAILING)
def test_an_error_shows_one_frame_of_kurve(name: str) -> None:
    with pytest.raises(Exception) as caught:
        FAILING[name]()
    frames = traceback.extract_tb(caught.value.__traceback__)
    own = [frame for frame in frames if f"{os.sep}kurve{os.sep}" in frame.filename]
    assert [frame.name for frame in frames[:2]][1] == "<lambda>"
    assert len(own) == 1
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)


@pytest.mark.parametrize(
    ("call", "last"),
    [
        (lambda: line().fit(X, Y, verbose=0, callbacks=[Predicts()]), "on_epoch_end"),
        (lambda: kurve.curve_fit(broken, [1.0, 2.0], [1.0, 2.0], p0=[1.0]), "broken"),
    ],
)
def test_the_users_own_frames_stay(call: Callable[[], Any], last: str) -> None:
    with pytest.raises((ValueError, KeyError)) as caught:
        call()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].name == last
    assert len(frames) == 4


def test_all_frames_without_the_filter() -> None:
    config.disable_traceback_filtering()
    with pytest.raises(ValueError, match="finite") as caught:
        line().fit(X * np.nan, Y)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "fit_steps" in names and "as_samples" in names


@pytest.mark.parametrize(("value", "enabled"), [("0", False), ("1", True), ("", True)])
def test_the_environment_variable(value: str, enabled: bool) -> None:
    code = "import kurve; print(kurve.config.is_traceback_filtering_enabled())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KURVE_TRACEBACK_FILTERING": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(enabled)


def test_causes_and_circles_of_errors() -> None:
    """The cause stays, with the frame that raised it; an error that is raised while it
    is handled ends."""
    first, second = ValueError("first"), KeyError("second")

    class Raises(callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            raise first from second

    first.__context__, second.__context__ = second, first
    with pytest.raises(ValueError, match="first") as caught:
        line().fit(X, Y, verbose=0, callbacks=[Raises()])
    assert caught.value.__cause__ is second


def test_an_interrupt_is_filtered_too() -> None:
    class Stops(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        line().fit(X, Y, verbose=0, callbacks=[Stops()])
    assert len(traceback.extract_tb(caught.value.__traceback__)) == 3


UNKNOWN: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "fit": ("epoch", "epochs", lambda: line().fit(X, Y, epoch=3)),
    "evaluate": ("batchsize", "batch_size", lambda: line().evaluate(X, Y, batchsize=3)),
    "predict": ("batchsize", "batch_size", lambda: line().predict(X, batchsize=3)),
    "compile": ("metric", "metrics", lambda: line().compile("sgd", "mse", metric=[])),
    "Input": ("shap", "shape", lambda: Input(shap=(2,))),
    "Dense": ("activaton", "activation", lambda: layers.Dense(1, activaton="relu")),
    "Huber": ("delt", "delta", lambda: losses.Huber(delt=1.0)),
    "BinaryAccuracy": (
        "treshold",
        "threshold",
        lambda: metrics.BinaryAccuracy(treshold=0.5),
    ),
    "EarlyStopping": (
        "moniter",
        "monitor",
        lambda: callbacks.EarlyStopping(moniter="loss"),
    ),
    "CosineDecay": (
        "decay_step",
        "decay_steps",
        lambda: optimizers.schedules.CosineDecay(0.1, decay_step=3),
    ),
    "Adam": ("learn_rate", "learning_rate", lambda: optimizers.Adam(learn_rate=0.1)),
    "HeNormal": ("sed", "seed", lambda: initializers.HeNormal(sed=1)),
    "L2": ("l3", "l2", lambda: regularizers.L2(l3=0.1)),
    "L1L2": ("l", "l2", lambda: regularizers.L1L2(l=0.1)),
    "Sequential": ("layer", "layers", lambda: Sequential(layer=[])),
    "load_data": ("pathh", "path", lambda: datasets.mnist.load_data(pathh="x")),
    "to_categorical": (
        "num_class",
        "num_classes",
        lambda: utils.to_categorical([0, 1], num_class=3),
    ),
    "set_threads": ("thread", "threads", lambda: kurve.set_threads(thread=1)),
    "get_weights": ("layers", "", lambda: line().get_weights(layers=1)),
    "Zeros": ("value", "", lambda: initializers.Zeros(value=1)),
    "compute_output_shape": (
        "inputs_shape",
        "input_shape",
        lambda: layers.Dense(1).compute_output_shape(inputs_shape=(1, 2)),
    ),
    "plot_history": ("axis", "ax", lambda: plots.plot_history({}, axis=None)),
    "mean_squared_error": (
        "y_tru",
        "y_true",
        lambda: losses.mean_squared_error(y_tru=Y, y_pred=Y),
    ),
    "Activation": ("xx", "x", lambda: activations.relu(xx=X)),
    "adapt": ("datas", "data", lambda: layers.Normalization().adapt(datas=X)),
}


@pytest.mark.parametrize("where", UNKNOWN)
def test_an_unknown_argument_names_the_call_and_the_nearest(where: str) -> None:
    given, meant, call = UNKNOWN[where]
    with pytest.raises(TypeError) as caught:
        call()
    text = str(caught.value)
    assert text.startswith(f"[{where}] unknown argument. Received: {given!r}. ")
    assert (f"Did you mean {meant!r}?" if meant else "There is no argument") in text


def test_an_unknown_argument_of_a_call() -> None:
    for call in (
        lambda: line().predict(X=X),
        lambda: line()(X, trainin=False),
        lambda: line().predict_on_batch(X=X),
        lambda: initializers.HeNormal()((2, 2), dtyp="float32"),
    ):
        with pytest.raises(TypeError, match=r"unknown argument\. .*'(X|train|dt)"):
            call()


def test_known_arguments_are_those_that_can_be_given() -> None:
    with pytest.raises(TypeError) as caught:
        layers.MaxPooling2D(pool=2)
    assert "Did you mean 'pool_size'?" in str(caught.value)
    assert "sizes" not in str(caught.value)


def test_no_arguments_at_all() -> None:
    with pytest.raises(TypeError, match=r"\[get_weights\] there are no arguments\. "):
        line().get_weights(1)


def test_a_missing_argument_beside_known_ones() -> None:
    for options in ({"name": "a"}, {"input_shape": (2,)}, {"dtype": "float32"}):
        with pytest.raises(TypeError, match=r"Received: missing .* 'units'\."):
            layers.Dense(**options)


def test_a_missing_argument() -> None:
    with pytest.raises(TypeError, match=r"^\[Dense\] the arguments must be units, .*"):
        layers.Dense()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (layers, "MaxNumBoundingBoxes"),
        (metrics, "Kappa"),
        (optimizers, "MultiOptimizer"),
        (callbacks, "Tensorboard"),
        (utils, "bounding_boxes"),
    ],
)
def test_a_name_that_is_not_there(module: Any, name: str) -> None:
    assert not hasattr(module, name)
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    text = str(caught.value)
    assert text.startswith(f"[{module.__name__}] ") and f"Received: {name!r}." in text


def test_the_nearest_name_of_a_module() -> None:
    with pytest.raises(AttributeError, match=r"Did you mean 'Conv2D'\?"):
        _ = layers.Con2D
    with pytest.raises(AttributeError, match=r"Did you mean 'layers'\?"):
        _ = kurve.layer


def test_two_letters_that_are_swapped() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'Adam'\?"):
        optimizers.get("adma")


WRONG: dict[str, tuple[str, Callable[[], Any]]] = {
    "set_weights": ("weights must be a list of arrays", lambda: line().set_weights(3)),
    "Sequential": (
        "the shape of a batch must be a tuple",
        lambda: line().compute_output_shape(3),  # type: ignore[arg-type]
    ),
    "LearningRateScheduler": (
        "schedule must be a function of the epoch",
        lambda: callbacks.LearningRateScheduler(0.1),  # type: ignore[arg-type]
    ),
    "summary": (
        "line_length must be at least 40",
        lambda: line().summary(line_length="a"),  # type: ignore[arg-type]
    ),
    "to_categorical": (
        "num_classes must be an integer of at least 1",
        lambda: utils.to_categorical([0, 1], num_classes="a"),  # type: ignore[arg-type]
    ),
    "Dense": (
        "trainable must be True or False",
        lambda: setattr(line().layers[0], "trainable", "no"),
    ),
    "SGD": (
        "learning_rate must be a number",
        lambda: setattr(line().optimizer, "learning_rate", "a"),
    ),
    "L2": ("l2 must be finite", lambda: regularizers.L2("a")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("where", WRONG)
def test_a_wrong_argument_ends_in_one_line_of_kurve(where: str) -> None:
    rule, call = WRONG[where]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value).startswith(f"[{where}] {rule}")
    assert "Received: " in str(caught.value) and " Try " in str(caught.value)
    assert len(traceback.extract_tb(caught.value.__traceback__)) == 3


def test_objects_show_their_arguments() -> None:
    shown = {
        initializers.RandomNormal(stddev=0.1): "RandomNormal(mean=0.0, stddev=0.1)",
        losses.Huber(delta=2.0): "Huber(name='huber_loss', delta=2.0)",
        metrics.R2Score(): "R2Score(name='r2_score', "
        "class_aggregation='uniform_average', num_regressors=0)",
        optimizers.schedules.CosineDecay(0.1, 10): "CosineDecay(",
        layers.Dense(1, name="a"): "<Dense name=a, built=False>",
    }
    for thing, text in shown.items():
        assert repr(thing).startswith(text)
    assert repr(callbacks.EarlyStopping()).startswith("<kurve.callbacks.")
