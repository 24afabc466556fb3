"""Files hold what layers and models of one's own compute, and load without code."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers, models, ops, random
from kurve.core.container.errors import ModelFileError
from kurve.layers.traced import Traced, class_of
from kurve.layers.tracing import formulas_of

X = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
Y = X[:, :1] * 2.0


class Gated(layers.Layer):
    """Weights, a constant, dropout, statistics, a part, two outputs and a loss."""

    def __init__(self, units: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.gate = layers.Dense(units, activation="sigmoid")
        self.scale = layers.BatchNormalization()
        self.drop = layers.Dropout(0.5)

    def build(self, shape: Any) -> None:
        self.w = self.add_weight((shape[-1], self.units), "glorot_uniform", name="w")
        self.c = self.add_weight((self.units,), "ones", trainable=False, name="c")

    def call(self, x: Any) -> Any:
        h = self.drop(self.scale(ops.matmul(x, self.w) + np.arange(self.units)))
        self.add_loss(0.01 * ops.mean(ops.square(h)))
        return {"gated": h * self.gate(x) * self.c, "plain": ops.softmax(h)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Whole(kurve.Model):
    def __init__(self, units: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.inner, self.last = Gated(units), layers.Dense(1)

    def call(self, x: Any) -> Any:
        found = self.inner(x)
        return self.last(found["gated"] + found["plain"])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def graph() -> Model:
    i = Input((6,))
    found = Gated()(layers.Dense(6)(i))
    return Model(i, layers.Dense(1)(layers.Add()([found["gated"], found["plain"]])))


@pytest.mark.parametrize("make", [graph, Whole])
def test_loads_without_the_code(make: Any, engine: str, tmp_path: Path) -> None:
    model = make()
    model.compile(kurve.optimizers.Adam(0.01), "mse")
    model.fit(X, Y, epochs=3, verbose=0)
    model.save(tmp_path / "m.kurve")
    found = models.load_model(tmp_path / "m.kurve")
    assert type(found) is Model
    assert (found.predict(X, verbose=0) == model.predict(X, verbose=0)).all()
    assert [w.shape for w in found.get_weights()] == [
        w.shape for w in model.get_weights()
    ]
    # It learns on, with dropout, statistics, and the loss that the layer adds.
    before = found.evaluate(X, Y, verbose=0)
    assert before == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-6)
    moving = [w.copy() for w in found.get_weights()]
    found.fit(X, Y, epochs=30, verbose=0)
    assert found.evaluate(X, Y, verbose=0) < before
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(moving, found.get_weights(), strict=True)
    ]
    assert sum(changed) == len(changed) - 1, "all but the weight that is not trained"
    found.save(tmp_path / "again.kurve")
    again = models.load_model(tmp_path / "again.kurve")
    assert (again.predict(X, verbose=0) == found.predict(X, verbose=0)).all()


def test_the_class_is_used_where_it_is_given(tmp_path: Path) -> None:
    own = {"Gated": Gated, "Whole": Whole}
    for model in (graph(), Whole(5)):
        model.compile("adam", "mse")
        model.fit(X, Y, verbose=0)
        model.save(tmp_path / "m.kurve")
        found = models.load_model(tmp_path / "m.kurve", custom_objects=own)
        assert type(found) is type(model)
        inner = [part for part in found.layers if isinstance(part, Gated)]
        assert len(inner) == 1
        assert (found.predict(X, verbose=0) == model.predict(X, verbose=0)).all()


def test_random_numbers_of_layers_stay_apart(tmp_path: Path) -> None:
    class Noise(layers.Layer):
        def call(self, x: Any) -> Any:
            return random.normal(ops.shape(x)) + random.normal(ops.shape(x)) * 0.0

    i = Input((3,))
    model = Model(i, [Noise()(i), Noise()(i)])
    model.save(tmp_path / "m.kurve")
    found = models.load_model(tmp_path / "m.kurve")
    one, two = found.predict(X[:, :3], verbose=0)
    assert abs(one - two).min() > 0


def test_what_no_formula_holds_needs_its_class(tmp_path: Path) -> None:
    class Doubled(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2.0 * x

    i = Input((None, 3))
    Model(i, Doubled()(i)).save(tmp_path / "m.kurve")
    with pytest.raises(ModelFileError, match="custom_objects"):
        models.load_model(tmp_path / "m.kurve")
    found = models.load_model(tmp_path / "m.kurve", custom_objects={"Doubled": Doubled})
    assert found.predict(np.ones((1, 4, 3)), verbose=0).shape == (1, 4, 3)


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    model = Sequential([Input((6,)), Whole().inner.gate, Gated2()])
    formulas = json.loads(json.dumps(formulas_of(model._network)))
    cls = class_of("Gated2", formulas["Gated2"])
    (name,) = formulas["Gated2"]
    with pytest.raises(ValueError, match="is for samples of shape"):
        cls.from_config({"name": name})(np.ones((2, 9)))


class Gated2(layers.Layer):
    def build(self, shape: Any) -> None:
        self.w = self.add_weight((shape[-1], 2), name="w")

    def call(self, x: Any) -> Any:
        return ops.tanh(ops.matmul(x, self.w)) + ops.relu(x[:, :2])


def test_wrong_formulas_are_refused() -> None:
    """Each number, text and list of a formula changed in turn: an error or a layer."""
    model = Sequential([Input((4,)), Gated2()])
    formulas = json.loads(json.dumps(formulas_of(model._network)))["Gated2"]
    (name,) = formulas
    rng = np.random.default_rng(0)
    places = list(_places(formulas[name]))
    refused = 0
    for place in places:
        for value in (-1, 10**5, 2**60, "exec", None, [], {}, [[1]], 1.5, True):
            broken = copy.deepcopy(formulas)
            inner = broken[name]
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            try:
                layer: Traced = class_of("Gated2", broken).from_config({"name": name})
                i = Input((4,))
                Model(i, layer(i)).predict(rng.normal(size=(2, 4)), verbose=0)
            except (ValueError, TypeError, NotImplementedError):
                refused += 1
    assert refused > 4 * len(places)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if path:
        yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _places(part, (*path, key))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from _places(part, (*path, i))
