"""Files with layers, models and small parts of one's own: the same classes, written for
either library, read what the other has written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from own_files import CASES, batch, classes

import kurve
from kurve import ops
from kurve.saving import ModelFileError

OURS = SimpleNamespace(**classes(kurve, ops))
THEIRS = SimpleNamespace(**classes(keras, keras.ops))

LIBRARIES: dict[str, Any] = {"kurve": (kurve, OURS), "keras": (keras, THEIRS)}


def outputs(model: Any, case: str) -> list[Any]:
    found = model.predict(batch(case), verbose=0)
    return found if isinstance(found, list) else [found]


def same(one: Any, other: Any, case: str) -> None:
    for a, b in zip(outputs(one, case), outputs(other, case), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def written(library: str, case: str) -> Any:
    """A model with weights that are not its initial ones."""
    module, own = LIBRARIES[library]
    model = CASES[case](module, own)
    rng = np.random.default_rng(8)
    model.set_weights(
        [w + 0.2 * rng.normal(size=w.shape) ** 2 for w in model.get_weights()]
    )
    return model


@pytest.mark.parametrize("writer", LIBRARIES)
@pytest.mark.parametrize("case", CASES)
def test_each_reads_the_other(writer: str, case: str, tmp_path: Path) -> None:
    """Whole models, and weights alone."""
    model = written(writer, case)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    library, own = LIBRARIES["keras" if writer == "kurve" else "kurve"]
    read = library.models.load_model(tmp_path / "m.keras", custom_objects=vars(own))
    same(model, read, case)
    if type(model).__name__ in ("Two", "Pair"):
        assert type(read) in (own.Two, own.Pair)
    fresh = CASES[case](library, own)
    fresh.load_weights(tmp_path / "m.weights.h5")
    same(model, fresh, case)
    if writer == "kurve":
        same(model, kurve.models.load_model(tmp_path / "m.keras", vars(OURS)), case)


X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X[:, :1] * X[:, 1:2]


@pytest.mark.parametrize("writer", LIBRARIES)
def test_training_goes_on_from_registered_classes(
    writer: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Without custom_objects: both libraries know the names by a registration."""
    package = f"own_{writer}"
    libraries = {
        "kurve": (kurve, SimpleNamespace(**classes(kurve, ops))),
        "keras": (keras, SimpleNamespace(**classes(keras, keras.ops))),
    }
    for library, own in libraries.values():
        for name in ("Linear", "Flat", "Halves", "Between", "steep", "fourth"):
            register = library.saving.register_keras_serializable(package)
            thing = register(getattr(own, name))
            shown = library.saving.get_registered_name(thing)
            assert shown == f"{package}>{name}"
            table = library.saving.get_custom_objects()
            request.addfinalizer(lambda table=table, key=shown: table.pop(key))
    library, own = libraries[writer]
    model = library.Sequential(
        [
            library.Input((3,)),
            own.Linear(4, own.steep, own.Halves(0.3), own.Flat(0.01), own.Between()),
            library.layers.Dense(1),
        ]
    )
    model.compile("adam", own.fourth, metrics=[own.fourth])
    rows = {"epochs": 2, "batch_size": 10, "shuffle": False, "verbose": 0}
    model.fit(X, Y, **rows)
    model.save(tmp_path / "m.keras")
    other = LIBRARIES["keras" if writer == "kurve" else "kurve"][0]
    again = other.models.load_model(tmp_path / "m.keras")
    expected = model.fit(X, Y, **rows).history
    found = again.fit(X, Y, **rows).history
    assert set(found) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-4, err_msg=key)


def test_objects_in_keras_form() -> None:
    """What serialize_keras_object gives is read by the other library."""
    for (one, own), (two, theirs) in (
        (LIBRARIES["kurve"], LIBRARIES["keras"]),
        (LIBRARIES["keras"], LIBRARIES["kurve"]),
    ):
        things = [
            one.layers.Dense(3, "relu", kernel_regularizer="l2"),
            own.Linear(3, own.steep, own.Halves(0.2), own.Flat(0.3)),
            one.initializers.HeNormal(seed=1),
            own.Halves(0.25),
            one.regularizers.L1L2(0.1, 0.2),
            one.constraints.MaxNorm(3.0),
            one.losses.Huber(0.5),
            one.optimizers.Adam(0.01),
            one.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9),
            one.activations.get("gelu"),
            own.steep,
            one.Sequential([one.Input((2,)), one.layers.Dense(1)]),
        ]
        config = one.saving.serialize_keras_object({"things": things, "n": [1, None]})
        read = two.saving.deserialize_keras_object(config, custom_objects=vars(theirs))
        assert read["n"] == [1, None]
        for thing, found in zip(things, read["things"], strict=True):
            name = getattr(thing, "__name__", None) or type(thing).__name__
            assert (getattr(found, "__name__", None) or type(found).__name__) == name


def test_what_is_not_known_is_asked_for(tmp_path: Path) -> None:
    written("keras", "own parts of an own layer").save(tmp_path / "m.keras")
    for name in ("Linear", "Halves", "Flat", "Between", "steep"):
        given = {key: value for key, value in vars(OURS).items() if key != name}
        with pytest.raises(ModelFileError, match=name):
            kurve.models.load_model(tmp_path / "m.keras", custom_objects=given)
