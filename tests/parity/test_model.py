"""Models without training: weights, shapes, names, counts and the summary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tables import STRUCTURES, dense, network
from twins import Case, call, keras, make, model_of, twin_models

import kurve
from kurve.core import naming

MODELS = STRUCTURES | {
    "dropout": Case([dense(6, "relu"), call("layers.Dropout", rate=0.4), dense(2)]),
    "normalization": Case([call("layers.Normalization"), *network()]),
    "normalization of all": Case([call("layers.Normalization", axis=None), *network()]),
    "normalization of two axes": Case(
        [call("layers.Normalization", axis=(-2, -1)), *network()], input_shape=(4, 3)
    ),
    "images": Case(
        [
            call("layers.RandomFlip"),
            call("layers.Conv2D", filters=200, kernel_size=3),
            call("layers.MaxPooling2D"),
            call("layers.BatchNormalization"),
            call("layers.BatchNormalization", center=False, trainable=False),
            call("layers.SeparableConv2D", filters=4, kernel_size=1),
            call("layers.SpatialDropout2D", rate=0.2),
            call("layers.GaussianNoise", stddev=0.1),
            call("layers.Flatten"),
            dense(2),
        ],
        input_shape=(8, 7, 3),
    ),
    "activations": Case(
        [dense(1200), call("layers.Activation", activation="relu"), dense(2)]
    ),
}


def models(name: str) -> tuple[Any, Any]:
    """The twins, named as the first models of a process."""
    keras.utils.clear_session()
    naming._names_given.clear()
    return make(kurve, model_of(MODELS[name])), make(keras, model_of(MODELS[name]))


@pytest.mark.parametrize("name", MODELS)
def test_structure(name: str) -> None:
    ours, theirs = models(name)
    assert ours.name == theirs.name
    assert ours.built == theirs.built
    assert ours.input_shape == theirs.input_shape
    assert ours.output_shape == theirs.output_shape
    assert ours.count_params() == theirs.count_params()
    for kind in ("weights", "trainable_weights", "non_trainable_weights"):
        mine, other = getattr(ours, kind), getattr(theirs, kind)
        assert [tuple(w.shape) for w in mine] == [tuple(w.shape) for w in other]
    assert [w.shape for w in ours.get_weights()] == [
        w.shape for w in theirs.get_weights()
    ]
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        assert mine.name == other.name
        assert type(mine).__name__ == type(other).__name__
        assert mine.count_params() == other.count_params()
        assert mine.trainable == other.trainable
        assert mine.built == other.built
        assert (None, *mine.output_shape[1:]) == tuple(mine.output_shape)
        assert tuple(mine.output_shape) == other.compute_output_shape(
            tuple(mine.input_shape)
        )
    shape = (None, *MODELS[name].input_shape)
    assert ours.compute_output_shape(shape) == theirs.compute_output_shape(shape)


@pytest.mark.parametrize("name", MODELS)
def test_summary(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The table is the same, character for character."""
    monkeypatch.setenv("COLUMNS", "140")  # of which Keras's printer uses what it needs
    ours, theirs = models(name)
    texts: list[str] = []
    theirs.summary(print_fn=lambda text, **_: texts.append(text), line_length=100)
    ours.summary(line_length=100)
    mine, other = capsys.readouterr().out.splitlines(), texts[0].splitlines()
    assert [line.rstrip() for line in mine] == [line.rstrip() for line in other if line]


def test_names_of_layers_and_models() -> None:
    names = []
    for library in (kurve, keras):
        keras.utils.clear_session()
        naming._names_given.clear()
        made = [make(library, call("layers.Dense", units=2)) for _ in range(3)]
        made += [make(library, call("layers.Dropout", rate=0.1)) for _ in range(2)]
        made += [library.Sequential() for _ in range(2)]
        made += [library.layers.Normalization()]
        names.append([thing.name for thing in made])
    assert names[0] == names[1]


def test_lazy_build() -> None:
    """Without an input shape there are no weights until data comes."""
    for library in (kurve, keras):
        model = library.Sequential([library.layers.Dense(4), library.layers.Dense(1)])
        assert not model.built
        model.build((None, 3))
        assert [w.shape for w in model.get_weights()] == [(3, 4), (4,), (4, 1), (1,)]


def test_weights_travel_both_ways(engine: str) -> None:
    """With Keras's weights Kurve predicts what Keras predicts, and vice versa."""
    case = MODELS["normalization"]
    ours, theirs = twin_models(case)
    ours.compile("sgd", "mse", engine=engine)
    x = np.random.default_rng(1).normal(2.0, 3.0, (40, 3)).astype(np.float32)
    theirs.layers[0].adapt(x)
    ours.set_weights(theirs.get_weights())
    expected = theirs.predict(x, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), expected, 1e-5, 1e-6)
    theirs.set_weights([w * 0 for w in theirs.get_weights()])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_array_equal(theirs.predict(x, verbose=0), expected)


NORMALIZATIONS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "features": ({}, (3,)),
    "features of (T, F)": ({}, (4, 3)),
    "all": ({"axis": None}, (4, 3)),
    "two axes": ({"axis": (-2, -1)}, (4, 3)),
    "inverse": ({"invert": True}, (3,)),
    "given": ({"mean": 3.0, "variance": 2.0}, (3,)),
    "given for each": ({"mean": [1.0, 2, 3], "variance": [4.0, 5, 6]}, (3,)),
    "given, inverse": ({"mean": 3.0, "variance": 2.0, "invert": True}, (3,)),
    "given, no variance": ({"mean": 3.0, "variance": 0.0}, (2,)),
}


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalization(name: str, engine: str) -> None:
    """Adapted or given; one feature never changes."""
    arguments, shape = NORMALIZATIONS[name]
    x = np.random.default_rng(2).normal(2.0, 3.0, (50, *shape)).astype(np.float32)
    x[..., 0] = 1.5
    outputs, weights = [], []
    for library in (kurve, keras):
        layer = library.layers.Normalization(**arguments)
        if "mean" not in arguments:
            layer.adapt(x)
        model = library.Sequential([library.Input(shape=shape), layer])
        if library is kurve:
            model.compile("sgd", "mse", engine=engine)
        outputs.append(model.predict(x, verbose=0))
        weights.append(layer.get_weights())
        np.testing.assert_allclose(np.asarray(layer(x)), outputs[-1], 1e-6, 1e-6)
    scale = np.abs(outputs[1]).max()
    np.testing.assert_allclose(outputs[0], outputs[1], 2e-6, 2e-6 * scale)
    for mine, other in zip(*weights, strict=True):
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, 1e-6, 1e-6)
