"""Classes of one's own: in files by name only, found again by the caller's hand."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import (
    Input,
    Regressor,
    Sequential,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
)
from kurve.estimators import load
from kurve.optimizers import schedules
from kurve.plan import Op, Shape, VariableSpec
from kurve.saving import ModelFileError

X = np.random.default_rng(3).normal(size=(20, 2))
Y = X.sum(axis=1)


class Twice(layers.Dense):
    """Two units for each that is asked for."""

    def __init__(self, units: int, **common: Any) -> None:
        super().__init__(2 * units, **common)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units // 2}


class Softly(layers.Layer):
    """x / (1 + |x|), from an operation that engines know."""

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        attrs = {"activation": "softsign", "alpha": 0.0}
        return [Op("activation", self.name, input_shape, input_shape, attrs=attrs)]


class Halves(initializers.Initializer):
    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        return np.full(shape, 0.5)


class Strong(regularizers.L1L2):
    def __init__(self) -> None:
        super().__init__(l2=0.3)

    def get_config(self) -> dict[str, float]:
        return {}


class Falling(schedules.LearningRateSchedule):
    def __init__(self, start: float) -> None:
        self.start = start

    def __call__(self, step: Any) -> np.ndarray:
        return self.start / (1.0 + np.asarray(step, np.float64))


class Mine(optimizers.SGD):
    """SGD with other defaults."""


class Wide(losses.Huber):
    """Huber by another name."""


class Root(metrics.RootMeanSquaredError):
    """The root, by another name."""


CUSTOM_OBJECTS: dict[str, type] = {
    cls.__name__: cls
    for cls in (Twice, Softly, Halves, Strong, Falling, Mine, Wide, Root)
}


def made() -> Sequential:
    model = Sequential(
        [
            Input((2,)),
            Twice(2, kernel_initializer=Halves(), kernel_regularizer=Strong()),
            Softly(),
            layers.Dense(1),
        ]
    )
    model.compile(Mine(Falling(0.1)), Wide(0.5), metrics=[Root()])
    model.fit(X, Y, epochs=2, verbose=0)
    return model


def goes_on_as(model: Sequential, again: Sequential) -> None:
    for one in (model, again):
        one.fit(X, Y, epochs=2, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_file_takes_and_gives_them_back(engine: str, tmp_path: Path) -> None:
    model = made()
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve", custom_objects=CUSTOM_OBJECTS)
    assert type(again.layers[0]) is Twice
    assert type(again.optimizer) is Mine
    assert type(again.loss) is Wide
    assert type(again.metrics[0]) is Root
    goes_on_as(model, again)


@pytest.mark.parametrize("name", [n for n in CUSTOM_OBJECTS if n != "Softly"])
def test_a_class_that_is_not_passed_is_asked_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.kurve"
    made().save(path)
    given = {key: cls for key, cls in CUSTOM_OBJECTS.items() if key != name}
    text = rf"{name!r} is a custom class.*Try custom_objects=\{{{name!r}: {name}"
    with pytest.raises(ModelFileError, match=text) as caught:
        models.load_model(path, custom_objects=given)
    assert caught.value.field
    with pytest.raises(ModelFileError, match="must be a subclass of"):
        models.load_model(path, custom_objects=CUSTOM_OBJECTS | {name: dict})


def test_what_is_passed_must_be_classes_by_name(tmp_path: Path) -> None:
    for wrong in ([Twice], {"Twice": "Twice"}, {1: Twice}):
        with pytest.raises(TypeError, match=r"^\[custom_objects\] classes must be"):
            models.load_model(tmp_path / "m.kurve", custom_objects=wrong)  # type: ignore[arg-type]


def test_a_class_of_a_built_in_name_is_not_taken_for_it(tmp_path: Path) -> None:
    """Nor does one that is passed replace a built-in class."""
    mine = type("Dense", (layers.Dense,), {})
    model = Sequential([Input((2,)), mine(3)])
    model.save(tmp_path / "m.kurve")
    plain = models.load_model(tmp_path / "m.kurve")  # what it computes
    assert type(plain.layers[0]) not in (mine, layers.Dense)
    again = models.load_model(tmp_path / "m.kurve", custom_objects={"Dense": mine})
    assert type(again.layers[0]) is mine
    Sequential([Input((2,)), layers.Dense(3)]).save(tmp_path / "b.kurve")
    plain = models.load_model(tmp_path / "b.kurve", custom_objects={"Dense": mine})
    assert type(plain.layers[0]) is layers.Dense
    other = type("Dense", (layers.Dense,), {})
    with pytest.raises(ValueError, match=r"two named 'Dense'"):
        Sequential([Input((2,)), mine(3), other(3)]).save(tmp_path / "c.kurve")


def test_pickle_and_deepcopy(engine: str) -> None:
    for again in (pickle.loads(pickle.dumps(made())), copy.deepcopy(made())):
        assert type(again.layers[0].kernel_initializer) is Halves
    model = made()
    goes_on_as(model, copy.deepcopy(model))
    assert type(model.clone().layers[1]) is Softly


def test_from_config() -> None:
    config = made().get_config()
    with pytest.raises(ValueError, match="'Twice' is a custom class"):
        Sequential.from_config(config)
    assert Sequential.from_config(config, CUSTOM_OBJECTS).get_config() == config


def test_estimators(tmp_path: Path) -> None:
    model = Regressor(
        Sequential([Twice(3), Softly()]), solver=Mine(Falling(0.1)), max_epochs=2
    )
    model.fit(X, Y).save(tmp_path / "m.kurve")
    with pytest.raises(ModelFileError, match="is a custom class"):
        load(tmp_path / "m.kurve")
    again = load(tmp_path / "m.kurve", custom_objects=CUSTOM_OBJECTS)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_an_activation_that_is_not_passed_is_asked_for(tmp_path: Path) -> None:
    def steep(x: Any) -> Any:
        return 3.0 * x

    model = Sequential([Input((2,)), layers.Dense(1, activation=steep)])
    model.save(tmp_path / "m.kurve")
    with pytest.raises(ModelFileError, match=r"Try custom_objects=\{'steep': steep\}"):
        models.load_model(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve", custom_objects={"steep": steep})
    expected = model.predict(X, verbose=0)
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)
