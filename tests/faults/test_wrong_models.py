"""Wrong descriptions of models, and calls at the wrong time."""

from __future__ import annotations

from typing import Any

import pytest

from kurve import (
    Input,
    Model,
    Sequential,
    activations,
    callbacks,
    initializers,
    layers,
    losses,
    metrics,
    regularizers,
)
from kurve.layers import Activation, Dense, Dropout, FourierFeatures, Normalization
from kurve.optimizers import SGD, Adam
from tests.faults.wrong import INF, NAN, Wrong, X, Y, check, snapshot, wrong


def compiling(optimizer: Any = "adam", loss: Any = "mse", **options: Any) -> Any:
    return lambda: Sequential([Dense(1)]).compile(optimizer, loss, **options)


def compiled(**options: Any) -> Sequential:
    model = Sequential([Dense(1)])
    model.compile("adam", **options)
    return model


def unknown(call: Any, where: str, name: str, meant: str) -> Wrong:
    """A misspelt name: the error says which one was meant."""
    return wrong(call, ValueError, where, repr(name), f"Did you mean {meant!r}?")


NAMES: dict[str, Wrong] = {
    "optimizer": unknown(compiling("adm"), "optimizers", "adm", "Adam"),
    "loss": unknown(
        compiling(loss="mean_square_error"),
        "losses",
        "mean_square_error",
        "mean_squared_error",
    ),
    "metric": unknown(compiling(metrics=["acuracy"]), "metrics", "acuracy", "accuracy"),
    "engine": unknown(compiling(engine="natve"), "get_engine", "natve", "native"),
    "activation": unknown(lambda: Dense(1, "rellu"), "activations", "rellu", "relu"),
    "activation in capitals": unknown(
        lambda: Dense(1, "ReLU"), "activations", "ReLU", "relu"
    ),
    "activation layer": unknown(
        lambda: Activation("tahn"), "activations", "tahn", "tanh"
    ),
    "initializer": unknown(
        lambda: Dense(1, kernel_initializer="he_unifrom"),
        "initializers",
        "he_unifrom",
        "he_uniform",
    ),
    "bias initializer": unknown(
        lambda: Dense(1, bias_initializer="zeroes"), "initializers", "zeroes", "zeros"
    ),
    "regularizer": unknown(
        lambda: Dense(1, kernel_regularizer="l22"), "regularizers", "l22", "l2"
    ),
    "layer of a model": unknown(
        lambda: Sequential([Dense(1, name="last")]).get_layer("lst"),
        "get_layer",
        "lst",
        "last",
    ),
    "layer class": unknown(
        lambda: Sequential.from_config(
            {
                "name": "m",
                "input_shape": None,
                "layers": [{"class_name": "Densee", "config": {}}],
            }
        ),
        "from_config",
        "Densee",
        "Dense",
    ),
    "mode": unknown(
        lambda: initializers.VarianceScaling(mode="fan-in"),
        "VarianceScaling",
        "fan-in",
        "fan_in",
    ),
}

KINDS: dict[str, Wrong] = {
    # --- layers
    "Dense(0)": wrong(lambda: Dense(0), ValueError, "Dense", "units", "units=0"),
    "Dense(-3)": wrong(lambda: Dense(-3), ValueError, "Dense", "units=-3"),
    "Dense(2.5)": wrong(lambda: Dense(2.5), ValueError, "Dense", "units=2.5"),
    "Dense(True)": wrong(lambda: Dense(True), ValueError, "Dense", "units=True"),
    "Dense('8')": wrong(lambda: Dense("8"), ValueError, "Dense", "units='8'"),
    "Dropout(1.5)": wrong(lambda: Dropout(1.5), ValueError, "Dropout", "rate=1.5"),
    "Dropout(-0.1)": wrong(lambda: Dropout(-0.1), ValueError, "Dropout", "rate=-0.1"),
    "Dropout(nan)": wrong(lambda: Dropout(NAN), ValueError, "Dropout", "rate=nan"),
    "Dropout('half')": wrong(lambda: Dropout("half"), ValueError, "Dropout", "'half'"),
    "a number as initializer": wrong(
        lambda: Dense(1, kernel_initializer=0.5), TypeError, "initializers", "0.5"
    ),
    **{
        f"FourierFeatures({value!r})": wrong(
            lambda value=value: FourierFeatures(value), kind, "FourierFeatures"
        )
        for value, kind in [
            (0, ValueError),
            (-2, ValueError),
            (2.5, TypeError),
            (True, TypeError),
            (None, TypeError),
            ("many", TypeError),
            (["a"], TypeError),
            ([], ValueError),
            ([1.0, NAN], ValueError),
            ([[[1.0]]], ValueError),
        ]
    },
    "scale of frequencies": wrong(
        lambda: FourierFeatures(scale=0.0), ValueError, "FourierFeatures", "scale=0.0"
    ),
    "frequencies of other features": wrong(
        lambda: Sequential([Input((3,)), FourierFeatures([1.0, 2.0])]),
        ValueError,
        "FourierFeatures",
        "(3, F)",
        "(1, 2)",
    ),
    **{
        f"snake({alpha})": wrong(
            lambda alpha=alpha: activations.Activation("snake", alpha),
            ValueError,
            "snake",
            f"alpha={alpha}",
        )
        for alpha in (0.0, -1.0, NAN, INF, 1e-40)
    },
    "mean without variance": wrong(
        lambda: Normalization(mean=1.0), ValueError, "Normalization", "together"
    ),
    "negative variance": wrong(
        lambda: Normalization(mean=1.0, variance=-1.0), ValueError, "Normalization"
    ),
    "adapt to NaN": wrong(
        lambda: Normalization().adapt([1.0, NAN]), ValueError, "adapt", "data[1", "nan"
    ),
    "adapt to nothing": wrong(
        lambda: Normalization().adapt([]), ValueError, "adapt", "data must not be empty"
    ),
    "Input of 0 features": wrong(lambda: Input((0,)), ValueError, "InputLayer", "(0,)"),
    # --- models
    "a class for a layer": wrong(
        lambda: Sequential([Dense]), TypeError, "Sequential", "only layers"
    ),
    "a number for a layer": wrong(
        lambda: Sequential().add(3), TypeError, "Sequential", "3 of type int"
    ),
    "two layers of one name": wrong(
        lambda: Sequential([Dense(1, name="a"), Dense(2, name="a")]),
        ValueError,
        "Sequential",
        "distinct names",
        "'a'",
        "name='a_2'",
    ),
    "Input in the middle": wrong(
        lambda: Sequential([Dense(1), Input((1,))]),
        ValueError,
        "Sequential",
        "Input must be the first",
        "after 1 layers",
    ),
    "build without a shape": wrong(
        lambda: Sequential([Dense(1)]).build(), ValueError, "build", "an input shape"
    ),
    "build without layers": wrong(
        lambda: Sequential().build((None, 3)), ValueError, "build", "needs layers"
    ),
    "build for another shape": wrong(
        lambda: Sequential([Input((2,)), Dense(1)]).build((None, 3)),
        ValueError,
        "build",
        "(2,)",
        "(3,)",
    ),
    # --- compile
    "no loss": wrong(
        lambda: compiled(loss=None).fit([1.0, 2.0], [1.0, 2.0], verbose=0),
        ValueError,
        "fit",
        "loss=None",
        "mse",
    ),
    "a number as optimizer": wrong(compiling(0.1), TypeError, "optimizers", "0.1"),
    "metrics as a number": wrong(
        compiling(metrics=3), TypeError, "compile", "list", "metrics=[3]"
    ),
    "a number as metric": wrong(compiling(metrics=[3]), TypeError, "metrics", "3"),
    "an engine that is none": wrong(
        compiling(engine=3), TypeError, "get_engine", "name and compile"
    ),
    # --- optimizers
    **{
        f"learning_rate={value!r}": wrong(
            lambda value=value: Adam(value), kind, "Adam", "learning_rate", repr(value)
        )
        for value, kind in [
            (-1.0, ValueError),
            (-1, ValueError),
            (NAN, ValueError),
            (INF, ValueError),
            ("fast", TypeError),
            (True, TypeError),
            ([0.1], TypeError),
        ]
    },
    "momentum": wrong(lambda: SGD(momentum=1.5), ValueError, "SGD", "momentum", "1.5"),
    "beta_1": wrong(lambda: Adam(beta_1=1.0), ValueError, "Adam", "beta_1", "1.0"),
    "epsilon": wrong(lambda: Adam(epsilon=-1.0), ValueError, "Adam", "epsilon", "-1.0"),
    "clipnorm": wrong(lambda: SGD(clipnorm=-1.0), ValueError, "SGD", "clipnorm"),
    "two ways of clipping": wrong(
        lambda: SGD(clipnorm=1.0, clipvalue=1.0), ValueError, "SGD", "only one of"
    ),
    "penalty": wrong(lambda: regularizers.L2(-0.1), ValueError, "L2", "l2", "-0.1"),
    "penalty of text": wrong(lambda: regularizers.L1("a"), ValueError, "L1", "'a'"),
    # --- callbacks
    "factor": wrong(
        lambda: callbacks.ReduceLROnPlateau(factor=2.0),
        ValueError,
        "ReduceLROnPlateau",
        "factor=2.0",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_unknown_names(name: str) -> None:
    check(NAMES[name])


@pytest.mark.parametrize("name", KINDS)
def test_wrong_arguments(name: str) -> None:
    check(KINDS[name])


TIMES: dict[str, Wrong] = {
    "fit before compile": wrong(
        lambda m: m.fit(X, Y), RuntimeError, "fit", "compiled first", "model.compile("
    ),
    "evaluate before compile": wrong(
        lambda m: m.evaluate(X, Y), RuntimeError, "evaluate", "compiled first"
    ),
    "train_on_batch before compile": wrong(
        lambda m: m.train_on_batch(X, Y), RuntimeError, "train_on_batch", "compiled"
    ),
    "layer_outputs before build": wrong(
        lambda m: m.layer_outputs(X), RuntimeError, "layer_outputs", "Input(shape="
    ),
    "get_weights before build": wrong(
        lambda m: m.get_weights(), RuntimeError, "get_weights", "not built"
    ),
    "set_weights before build": wrong(
        lambda m: m.set_weights([]), RuntimeError, "set_weights", "not built"
    ),
    "count_params before build": wrong(
        lambda m: m.count_params(), RuntimeError, "count_params", "not built"
    ),
    "save before build": wrong(
        lambda m: m.save("m.kurve"), RuntimeError, "save", "not built"
    ),
}


@pytest.mark.parametrize("name", TIMES)
def test_calls_at_the_wrong_time(name: str) -> None:
    """These have no value to show, so their text has no "Received"."""
    case, model = TIMES[name], Sequential([Dense(2), Dense(1)])
    before = snapshot(model)
    with pytest.raises(case.kind) as caught:
        case.call(model)
    text = str(caught.value)
    assert type(caught.value) is RuntimeError
    assert text.startswith(f"[{case.where}] ")
    assert "Try " in text
    assert all(part in text for part in case.parts)
    assert snapshot(model) == before


A, B = Input((3,), name="a"), Input((2,), name="b")


def joined() -> Any:
    return layers.Concatenate()([A, B])


def heads(loss: Any) -> None:
    Model(A, [Dense(1, name="p")(A), Dense(1, name="q")(A)]).compile(loss=loss)


def reused() -> None:
    dense = Dense(2, name="shared")
    dense(A)
    dense(B)


GRAPHS: dict[str, Wrong] = {
    "an input that is not connected": wrong(
        lambda: Model(A, Dense(1)(joined())), ValueError, "Model", "'b'", "missing"
    ),
    "no symbolic input": wrong(
        lambda: Model(X, Dense(1)(A)), TypeError, "Model", "Input(shape"
    ),
    "no symbolic output": wrong(lambda: Model(A, 5), TypeError, "Model", "outputs=5"),
    "no outputs": wrong(lambda: Model(A, []), TypeError, "Model", "outputs=[]"),
    "two layers of one name": wrong(
        lambda: Model(A, Dense(1, name="d")(Dense(2, name="d")(A))),
        ValueError,
        "Model",
        "two with the name 'd'",
    ),
    "shapes that do not merge": wrong(
        lambda: layers.Add()([A, B]), ValueError, "Add", "(None, 3), (None, 2)"
    ),
    "shapes that do not join": wrong(
        lambda: layers.Concatenate(1)([Input((3, 4)), Input((3, 5))]),
        ValueError,
        "concatenate",
        "(None, 3, 4), (None, 3, 5)",
    ),
    "axes of two sizes in a product": wrong(
        lambda: layers.Dot(1)([A, B]), ValueError, "Dot", "(None, 3) and (None, 2)"
    ),
    "two inputs of a layer that takes one": wrong(
        lambda: Dense(1)([A, B]), TypeError, "Dense", "Concatenate"
    ),
    "one input of a layer that takes two": wrong(
        lambda: layers.Subtract()([A]), ValueError, "Subtract", "2"
    ),
    "a layer for other shapes": wrong(reused, ValueError, "Dense", "'shared'", "(2,)"),
    "a loss for an output that is not there": wrong(
        lambda: heads({"p": "mse", "r": "mae"}), ValueError, "compile", "'r' unknown"
    ),
    "a list of losses for fewer outputs": wrong(
        lambda: heads(["mse"]), ValueError, "compile", "'p', 'q'"
    ),
    "a condition": wrong(lambda: A > 0 and 1, TypeError, "KerasTensor", "ops.where"),
    "a number": wrong(lambda: float(A), TypeError, "KerasTensor", "Model(inputs"),
    "a loop": wrong(lambda: list(A), TypeError, "KerasTensor", "Model(inputs"),
    "no layer of this name": wrong(
        lambda: Model(A, Dense(1, name="d")(A)).get_layer("e"),
        ValueError,
        "get_layer",
        "one of: a, d",
    ),
    "the input of a layer that nobody called": wrong(
        lambda: Dense(2).input, AttributeError, "Dense", "Input(shape"
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_wrong_graphs(name: str) -> None:
    check(GRAPHS[name])


def test_a_wrong_compile_keeps_the_one_before() -> None:
    model = Sequential([Input((2,)), Dense(1)])
    model.compile("adam", "mae", metrics=["mse"])
    model.fit(X, Y, verbose=0)
    before = snapshot(model)
    for options in ({"loss": "msee"}, {"loss": "mse", "metrics": ["no"]}):
        with pytest.raises(ValueError, match="unknown"):
            model.compile("sgd", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown engine"):
        model.compile("sgd", "mse", engine="fast")
    assert snapshot(model) == before
    assert model.loss is not None
    assert model.loss.name == "mean_absolute_error"
    assert model.metrics_names == ["loss", "mse"]


def test_every_public_name_has_a_docstring() -> None:
    """What a user meets in a message can be looked up."""
    for module in (activations, callbacks, initializers, layers, losses, metrics):
        for name, thing in vars(module).items():
            ours = getattr(thing, "__module__", "").startswith("kurve")
            if ours and not name.startswith("_"):
                assert thing.__doc__, f"{module.__name__}.{name}"
