"""Names, arguments and defaults: what Kurve has is what Keras has.

What is missing, added or different is written down here; nothing drifts unseen.
"""

from __future__ import annotations

import inspect
from operator import attrgetter
from typing import Any

import pytest
from twins import keras

import kurve

LAYER: list[str] = []

KURVE_ONLY = {
    "layers": ["FourierFeatures"],
    "losses": ["FittingCrossentropy", "GaussianNLL", "Pinball"],
    "initializers": ["SineUniform"],
    "optimizers.schedules": ["OneCycle"],
}
"""What Keras does not have."""


def shared(path: str) -> list[str]:
    """The classes of a module that Keras has, too."""
    names = attrgetter(path)(kurve).CLASSES
    theirs = attrgetter(path)(keras)
    assert not [name for name in KURVE_ONLY.get(path, []) if hasattr(theirs, name)]
    return [name for name in names if name not in KURVE_ONLY.get(path, [])]


LACKING: dict[str, list[str]] = {
    "layers.Dense": [
        *LAYER,
        "lora_rank",
        "lora_alpha",
        "quantization_config",
    ],
    "layers.Activation": LAYER,
    "layers.Dropout": LAYER,
    "layers.Normalization": LAYER,
    "Input": [],
    **{f"optimizers.{name}": [] for name in shared("optimizers")},
    **{f"optimizers.schedules.{name}": [] for name in shared("optimizers.schedules")},
    **{f"losses.{name}": [] for name in shared("losses")},
    **{f"metrics.{name}": [] for name in kurve.metrics.CLASSES},
    **{f"initializers.{name}": [] for name in shared("initializers")},
    **{f"constraints.{name}": [] for name in shared("constraints")},
    **{f"regularizers.{name}": [] for name in kurve.regularizers.CLASSES},
    "callbacks.Callback": [],
    "callbacks.History": [],
    "callbacks.EarlyStopping": [],
    "callbacks.ModelCheckpoint": [],
    "callbacks.ReduceLROnPlateau": ["baseline"],
    "callbacks.LearningRateScheduler": [],
    "callbacks.TerminateOnNaN": [],
    "callbacks.CSVLogger": [],
    "callbacks.BackupAndRestore": [],
    "callbacks.LambdaCallback": [],
    "Sequential": [],
    "Sequential.compile": [],
    "Sequential.fit": [],
    "Sequential.evaluate": [],
    "Sequential.predict": [],
    "Sequential.train_on_batch": [],
    "Sequential.test_on_batch": [],
    "Sequential.predict_on_batch": [],
    "Sequential.build": [],
    "Sequential.add": ["rebuild"],
    "Sequential.pop": ["rebuild"],
    "Sequential.get_layer": [],
    "Sequential.get_weights": [],
    "Sequential.set_weights": [],
    "Sequential.count_params": [],
    "Sequential.summary": [],
    "Sequential.save": ["zipped"],
    "Sequential.save_weights": ["max_shard_size"],
    "Sequential.load_weights": [],
    "layers.Dense.build": [],
    "layers.Normalization.adapt": [],
    "utils.set_random_seed": [],
}

ADDED = {
    "callbacks.LambdaCallback": [  # Keras takes them as **kwargs
        "on_batch_begin",
        "on_batch_end",
        "on_predict_batch_begin",
        "on_predict_batch_end",
        "on_predict_begin",
        "on_predict_end",
        "on_test_batch_begin",
        "on_test_batch_end",
        "on_test_begin",
        "on_test_end",
    ],
    "Sequential.compile": ["engine"],
    "Sequential.fit": ["checkpoint", "checkpoint_freq"],
} | {
    # Keras accepts it too, in **kwargs
    f"layers.{name}": ["batch_input_shape", "batch_size", "input_dim", "input_shape"]
    for name in shared("layers")
}

OTHER_DEFAULTS = {
    "Sequential.predict": ["x"],  # so that a misspelled name can be corrected
    "Sequential.predict_on_batch": ["x"],
}


def arguments(thing: Any) -> dict[str, Any]:
    """Names and defaults, including those that **kwargs pass to base classes."""
    if not inspect.isclass(thing):
        return _parameters(thing)[0]
    found: dict[str, Any] = {}
    for cls in thing.__mro__:
        if "__init__" not in vars(cls) or cls is object:
            continue
        own, hands_on = _parameters(vars(cls)["__init__"])
        found = own | found
        if not hands_on:
            break
    constraints = getattr(thing, "constrained", {}).values()
    return found | dict.fromkeys(constraints)


def _parameters(function: Any) -> tuple[dict[str, Any], bool]:
    parameters = inspect.signature(function).parameters.values()
    named = {
        p.name: p.default
        for p in parameters
        if p.name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


@pytest.mark.parametrize("path", LACKING)
def test_arguments(path: str) -> None:
    ours = arguments(attrgetter(path)(kurve))
    theirs = arguments(attrgetter(path)(keras))
    assert sorted(set(theirs) - set(ours)) == sorted(LACKING[path])
    assert sorted(set(ours) - set(theirs)) == ADDED.get(path, [])
    different = [
        name
        for name in ours
        if name in theirs and name != "name" and ours[name] != theirs[name]
    ]
    assert different == OTHER_DEFAULTS.get(path, [])


@pytest.mark.parametrize("path", sorted(set(LACKING) - {"Sequential"}))
def test_positions(path: str) -> None:
    """Positional arguments mean the same in Keras."""
    ours, theirs = (
        [
            p.name
            for p in inspect.signature(attrgetter(path)(library)).parameters.values()
            if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in ("name", "self")
        ]
        for library in (kurve, keras)
    )
    added = ADDED.get(path, [])
    assert [n for n in ours if n not in added] == [n for n in theirs if n in ours]


def takes_no_arguments(path: str) -> bool:
    parameters = inspect.signature(attrgetter(path)(kurve)).parameters.values()
    return all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in parameters)


NO_ARGUMENTS = [
    *(f"losses.{name}" for name in shared("losses")),
    *filter(takes_no_arguments, (f"metrics.{n}" for n in kurve.metrics.CLASSES)),
]


@pytest.mark.parametrize("path", NO_ARGUMENTS)
def test_names_of_objects(path: str) -> None:
    keras.backend.clear_session()  # forgets the numbers of names
    ours, theirs = (attrgetter(path)(library)() for library in (kurve, keras))
    assert ours.name == theirs.name


METRIC_NAMES = [
    name
    for name, title in kurve.metrics.NAMES.items()
    if name not in kurve.metrics.CLASSES
    and name not in ("rmse", "r2")  # Kurve's alone
    and takes_no_arguments(f"metrics.{title}")
]


@pytest.mark.parametrize("kind", ["optimizers", "losses", "metrics", "initializers"])
def test_all_that_keras_knows_by_name(kind: str) -> None:
    """Each class by its name and by the short names that Keras has."""
    ours, theirs = getattr(kurve, kind), getattr(keras, kind)
    short = {
        "optimizers": [name.lower() for name in shared("optimizers")],
        "losses": ["mse", "mae", "bce", "MSE", "MAE", "huber", "log_cosh"],
        "metrics": [*METRIC_NAMES, "accuracy"],
        "initializers": ["glorot_uniform", "he_normal", "zeros", "normal", "uniform"],
    }
    made = [
        n for n in shared(kind) if kind != "metrics" or f"metrics.{n}" in NO_ARGUMENTS
    ]
    for name in [*made, *short[kind]]:
        if name in (
            "Constant",  # Keras's needs its value
            "CategoricalGeneralizedCrossEntropy",  # Keras does not know its own
            "Lamb",
            "lamb",
        ):
            continue
        other, mine = theirs.get(name), ours.get(name)
        if kind == "losses" and inspect.isfunction(other):
            assert mine.kind == other.__name__
        else:
            assert type(mine).__name__ in (type(other).__name__, "LossMetric")


@pytest.mark.parametrize(
    "name", sorted({*kurve.optimizers.CLASSES, "adam", "rmsprop"} - {"Lamb"})
)
def test_defaults_by_name(name: str) -> None:
    """The hyperparameters of an optimizer made by name."""
    ours = kurve.optimizers.get(name).get_config()
    theirs = keras.optimizers.get(name).get_config()
    for key in set(ours) & set(theirs) - {"name"}:
        expected = theirs[key]
        if isinstance(expected, float):
            expected = pytest.approx(expected, rel=1e-6)
        assert ours[key] == expected, key
