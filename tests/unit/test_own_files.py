"""Files of models with parts of one's own: with the classes, without them, copied in
other ways, and trained on."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import kurve
from kurve import layers, ops
from kurve.saving import ModelFileError

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2]).astype(np.float32)


class Ruled(layers.Layer):
    """Weights with penalties and constraints, and a part that is frozen."""

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.still = layers.Dense(3, "tanh", trainable=False)
        self.inner = layers.Dense(3, kernel_regularizer=kurve.regularizers.L2(0.1))

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(
            (3,), "ones", regularizer="l1", constraint="non_neg", name="w"
        )

    def call(self, x: Any) -> Any:
        return self.inner(self.still(x)) * self.w


RATE = [0.3]
"""Of dropout. A formula without its class draws other numbers than the class."""


class Twin(kurve.Model):
    """A call of its own, with an own layer and dropout in it."""

    def __init__(self, units: int = 4, **common: Any) -> None:
        super().__init__(**common)
        self.units = units
        self.first = layers.Dense(units, "relu")
        self.drop = layers.Dropout(RATE[0])
        self.ruled = [layers.Dense(3), Ruled(), layers.Dense(1)]

    def call(self, x: Any, training: Any = None) -> Any:
        x = self.drop(self.first(x), training=training)
        for layer in self.ruled:
            x = layer(x)
        return x

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "units": self.units}


def cubic(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)


def stack() -> Any:
    return kurve.Sequential([kurve.Input((3,)), Ruled(), layers.Dense(1)])


def graph() -> Any:
    x = kurve.Input((3,))
    twin = Twin(name="twin")
    return kurve.Model(x, layers.Dense(1)(layers.Add()([twin(x), Ruled()(x)])))


def own_call() -> Any:
    model = Twin()
    model(X)
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "stack": stack,
    "graph": graph,
    "call": own_call,
}
CLASSES = {"Ruled": Ruled, "Twin": Twin, "cubic": cubic}


def trained(name: str, loss: Any = "mse") -> Any:
    kurve.utils.set_random_seed(3)
    model = MODELS[name]()
    model.compile(kurve.optimizers.Adam(0.01), loss)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    return model


def goes_on_alike(model: Any, again: Any) -> None:
    """The same bits after further steps."""
    for one in (model, again):
        one.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_training_goes_on(
    name: str,
    classes: bool,
    engine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Penalties, constraints and what is frozen are in the file, the code is not."""
    if not classes:
        monkeypatch.setattr(f"{__name__}.RATE", [0.0])
    model = trained(name)
    model.save(tmp_path / "m.kurve")
    given = CLASSES if classes else None
    again = kurve.models.load_model(tmp_path / "m.kurve", custom_objects=given)
    assert (type(again) is type(model)) or not classes
    frozen = [v.numpy() for v in model.non_trainable_weights]
    goes_on_alike(model, again)
    assert len(frozen) and len(again.trainable_weights) == len(model.trainable_weights)
    for before, after in zip(frozen, again.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def joblibbed(model: Any, tmp_path: Path) -> Any:
    joblib.dump(model, tmp_path / "m.joblib")
    return joblib.load(tmp_path / "m.joblib")


@pytest.mark.parametrize(
    "copied",
    [
        lambda model, _: pickle.loads(pickle.dumps(model)),
        lambda model, _: copy.deepcopy(model),
        joblibbed,
    ],
    ids=["pickle", "deepcopy", "joblib"],
)
@pytest.mark.parametrize("name", MODELS)
def test_copies(name: str, copied: Any, tmp_path: Path) -> None:
    model = trained(name, cubic)
    again = copied(model, tmp_path)
    assert type(again) is type(model)
    goes_on_alike(model, again)


@pytest.mark.parametrize("name", MODELS)
def test_copies_of_what_has_no_classes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers that are formulas of a file are copied as formulas."""
    monkeypatch.setattr(f"{__name__}.RATE", [0.0])
    trained(name).save(tmp_path / "m.kurve")
    model = kurve.models.load_model(tmp_path / "m.kurve")
    goes_on_alike(copy.deepcopy(model), copy.deepcopy(model))
    model.save(tmp_path / "again.kurve")
    again = kurve.models.load_model(tmp_path / "again.kurve", custom_objects=CLASSES)
    goes_on_alike(again, model)


def predicted(model: Any) -> np.ndarray:
    found: np.ndarray = model.predict(X, verbose=0)
    return found


def test_another_process_predicts(native: str) -> None:
    kurve.set_engine(native)
    model = trained("graph")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(predicted, (model,)), predicted(model))


@pytest.mark.parametrize("name", MODELS)
def test_resumed(name: str, tmp_path: Path) -> None:
    """A run that was ended goes on with the same bits from its checkpoint."""
    arguments: Any = {"batch_size": 8, "verbose": 0}
    whole, part, rest = (trained(name, cubic) for _ in range(3))
    whole.fit(X, Y, epochs=4, **arguments)
    arguments["checkpoint"] = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        part.fit(X, Y, epochs=4, callbacks=[Stop(1)], **arguments)
    rest.fit(X, Y, epochs=4, callbacks=[Stop(-1)], **arguments)
    for a, b in zip(whole.get_weights(), rest.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Stop(kurve.callbacks.Callback):
    """Ctrl-C at the end of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_a_loss_of_ones_own_is_asked_for(tmp_path: Path) -> None:
    model = trained("stack", cubic)
    model.save(tmp_path / "m.kurve")
    text = r"needs custom code: compile.loss.*custom_objects=\{'cubic': cubic\}, or "
    with pytest.raises(ModelFileError, match=text + r"load_model\(path, compile=False"):
        kurve.models.load_model(tmp_path / "m.kurve")
    plain = kurve.models.load_model(tmp_path / "m.kurve", compile=False)
    assert plain.optimizer is None and plain.iterations == 0
    np.testing.assert_array_equal(predicted(plain), predicted(model))
    plain.compile("sgd", "mse")
    plain.fit(X, Y, verbose=0)


class Holder(layers.Layer):
    """A layer with a model in it, which its configuration holds."""

    def __init__(self, inner: Any, **common: Any) -> None:
        super().__init__(**common)
        self.inner = inner

    def call(self, x: Any) -> Any:
        return self.inner(x) + self.inner(2.0 * x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inner": layers.serialize(self.inner)}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        return cls(**{**config, "inner": layers.deserialize(config["inner"])})


class Steep(kurve.regularizers.Regularizer):
    """A penalty of one's own."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, w: Any) -> Any:
        return self.factor * ops.sum(ops.abs(w) ** 1.5)

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("functional", [False, True])
def test_a_model_in_a_layer(built: bool, functional: bool, tmp_path: Path) -> None:
    parts = [layers.Dense(4, "tanh", kernel_regularizer=Steep(0.1)), layers.Dense(3)]
    if functional:
        x = kurve.Input((3,))
        inner: Any = kurve.Model(x, parts[1](parts[0](x)))
    else:
        inner = kurve.Sequential([kurve.Input((3,))] * built + parts)
    model = kurve.Sequential([kurve.Input((3,)), Holder(inner), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "m.kurve")
    given = {"Holder": Holder, "Steep": Steep}
    again = kurve.models.load_model(tmp_path / "m.kurve", custom_objects=given)
    twin = kurve.models.clone_model(model)
    twin.set_weights(model.get_weights())
    for one in (again, twin):
        np.testing.assert_array_equal(one.predict(X), model.predict(X))
    for one in (again, model):
        one.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
