"""Functions and classes of one's own in files of Keras: by name, in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve
from kurve import ops
from kurve.saving import ModelFileError

X = np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(70, 2)).astype(np.float32)


def objects(library: Any, o: Any) -> dict[str, Any]:
    """The same, of either library."""

    def steep(x: Any) -> Any:
        return o.tanh(3.0 * x)

    def fourth(y_true: Any, y_pred: Any) -> Any:
        return o.mean(o.square(o.square(y_true - y_pred)), axis=-1)

    def bias(y_true: Any, y_pred: Any) -> Any:
        return o.mean(y_pred - y_true, axis=-1)

    class Scaled(library.losses.Loss):  # type: ignore[misc, name-defined]
        def __init__(
            self,
            factor: float = 2.0,
            name: str = "scaled",
            reduction: str = "sum_over_batch_size",
        ) -> None:
            super().__init__(name=name, reduction=reduction)
            self.factor = factor

        def call(self, y_true: Any, y_pred: Any) -> Any:
            return self.factor * o.mean(o.abs(y_true - y_pred), axis=-1)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "factor": self.factor}

    own = {"steep": steep, "fourth": fourth, "bias": bias, "Scaled": Scaled}
    return {**own, "huber": library.losses.huber, "logcosh": library.losses.log_cosh}


OURS, THEIRS = objects(kurve, ops), objects(keras, keras.ops)
CASES: dict[str, Any] = {
    "a function": lambda own: ("sgd", own["fourth"], [own["bias"], "mae"]),
    "a class": lambda own: ("sgd", own["Scaled"](3.0), [own["fourth"]]),
    "functions": lambda own: ("sgd", "huber", [own["huber"], own["logcosh"], "hinge"]),
    "a class as a metric": lambda own: ("sgd", "mse", [own["Scaled"](0.5), "poisson"]),
}


def made(library: Any, own: dict[str, Any], case: str) -> Any:
    layers = library.layers
    model = library.Sequential(
        [
            library.Input((3,)),
            layers.Dense(4, activation=own["steep"]),
            layers.Dense(2, "sigmoid"),
        ]
    )
    optimizer, loss, metrics = CASES[case](own)
    model.compile(optimizer, loss, metrics=metrics)
    model.fit(X, Y, epochs=1, verbose=0)
    return model


def same(ours: Any, theirs: Any) -> None:
    """Predictions, loss and metrics over batches of different sizes."""
    np.testing.assert_allclose(
        ours.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-4, atol=1e-5
    )
    found = ours.evaluate(X, Y, batch_size=32, verbose=0, return_dict=True)
    wanted = theirs.evaluate(X, Y, batch_size=32, verbose=0, return_dict=True)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], float(value), rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_keras_reads_what_kurve_wrote(case: str, tmp_path: Path) -> None:
    path, model = str(tmp_path / "m.keras"), made(kurve, OURS, case)
    model.save(path)
    same(model, keras.models.load_model(path, custom_objects=THEIRS))
    same(kurve.models.load_model(path, custom_objects=OURS), model)


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_kurve_reads_what_keras_wrote(
    case: str, registered: bool, tmp_path: Path
) -> None:
    own = dict(objects(keras, keras.ops))
    if registered:
        for name in ("steep", "fourth", "bias", "Scaled"):
            value = own[name]
            keras.saving.register_keras_serializable(f"package_{case}")(value)
    path, model = str(tmp_path / "m.keras"), made(keras, own, case)
    model.save(path)
    same(kurve.models.load_model(path, custom_objects=OURS), model)


def test_what_is_not_passed_is_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "m.keras")
    for case, names in (
        ("a function", ("fourth", "bias", "steep")),
        ("a class", ("Scaled",)),
    ):
        made(kurve, OURS, case).save(path)
        for name in names:
            given = {key: value for key, value in OURS.items() if key != name}
            with pytest.raises(ModelFileError, match=name):
                kurve.models.load_model(path, custom_objects=given)
    with pytest.raises(ModelFileError, match="steep"):
        kurve.models.load_model(path)
    with pytest.raises(ModelFileError, match="must be a Loss"):
        kurve.models.load_model(path, custom_objects={**OURS, "Scaled": dict})


def test_which_layers_are_built_from_the_start() -> None:
    """Layers without weights whose class in Keras is built when it is made."""
    compared, other = [], []
    for name in dir(kurve.layers):
        theirs = getattr(keras.layers, name, None)
        if not (isinstance(theirs, type) and issubclass(theirs, keras.layers.Layer)):
            continue
        arguments: list[Any] = [0.5] if "Dropout" in name or "Noise" in name else []
        arguments = ["relu"] if name == "Activation" else arguments
        try:
            layer = theirs(*arguments)
        except Exception:  # it needs other arguments, and weights
            continue
        compared.append(name)
        if layer.built != getattr(kurve.layers, name)(*arguments).built:
            other.append(name)
    assert len(compared) > 70
    assert other == []


@pytest.mark.parametrize("library", [kurve, keras])
def test_a_subclass_with_a_build_is_not_built_from_the_start(library: Any) -> None:
    class Scaled(library.layers.Dropout):  # type: ignore[misc]
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(shape=(), initializer="ones")

    layer = Scaled(0.5)
    assert not layer.built and library.layers.Dropout(0.5).built
    layer.build((None, 3))
    assert len(layer.weights) == 1
