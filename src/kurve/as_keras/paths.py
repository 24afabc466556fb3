"""Map paths of Keras and TensorFlow to Kurve modules.

A path is first normalized: `tensorflow.python.keras.layers` and `tf_keras.layers`
become `keras.layers`, `tensorflow.compat.v1.random` becomes `tensorflow.random`. Then
TABLES lists the modules with its names.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from types import ModuleType
from typing import Any

ROOTS = (
    "keras",
    "keras_core",
    "keras_preprocessing",
    "tensorflow",
    "tensorflow_core",
    "tf_keras",
)
"""The packages whose imports are redirected."""

PLAIN = {
    "keras._tf_keras.keras": "keras",
    "keras._tf_keras": "tensorflow",
    "keras.api": "keras",
    "keras.api._v2.keras": "keras",
    "keras.src": "keras",
    "keras_core": "keras",
    "keras_preprocessing": "keras.preprocessing",
    "tensorflow._api.v2": "tensorflow",
    "tensorflow.compat.v1": "tensorflow",
    "tensorflow.compat.v2": "tensorflow",
    "tensorflow.contrib.keras": "keras",
    "tensorflow.keras": "keras",
    "tensorflow.python.keras": "keras",
    "tensorflow_core": "tensorflow",
    "tf_keras": "keras",
}
"""Path prefixes and their replacements, applied repeatedly."""

_OPTIMIZERS = (
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "ftrl",
    "gradient_descent",
    "legacy",
    "nadam",
    "optimizer_v2",
    "rmsprop",
)

_PUBLIC = ("applications", "datasets", "optimizers", "preprocessing")
"""Kurve packages whose modules are public."""

_OWN = "kurve.as_keras."
_TF = f"{_OWN}tensorflow"
_OPTIMIZED = f"kurve.optimizers {_OWN}loss_scales"

KERAS: dict[str, str] = {
    "keras": "kurve kurve.as_keras.facts",
    "keras.config": "kurve.as_keras.backend:set_floatx kurve.config",
    "keras.backend": "kurve.as_keras.backend kurve.as_keras.windows kurve.backend",
    "keras.mixed_precision": "kurve.as_keras.mixed_precision",
    "keras.models": "kurve.models kurve:Input",
    "keras.optimizers": _OPTIMIZED,
    "keras.preprocessing": f"{_OWN}utils kurve.preprocessing",
    "keras.random": "kurve.random kurve.as_keras.random",
    "keras.utils": f"{_OWN}utils kurve.utils",
    **{f"keras.optimizer_v2.{name}": "kurve.optimizers" for name in _OPTIMIZERS},
    "keras.optimizer_v2": "kurve.optimizers",
    "keras.optimizer_v2.learning_rate_schedule": "kurve.optimizers.schedules",
    **{
        f"keras.{name}": f"kurve.{name}"
        for name in (
            "activations",
            "applications",
            "callbacks",
            "constraints",
            "datasets",
            "initializers",
            "layers",
            "losses",
            "metrics",
            "ops",
            "regularizers",
            "saving",
        )
    },
}

TENSORFLOW: dict[str, str] = {
    "tensorflow": f"{_TF}.arrays {_TF}.values {_TF}.elementwise {_TF}.reductions "
    f"{_TF}.products {_TF}.flow {_TF}.sequences {_TF}.settings {_TF}.variables "
    f"{_TF}.initializers "
    f"{_TF}.random:random_normal,random_shuffle,random_uniform,truncated_normal "
    "kurve.gradients.own:custom_gradient kurve:GradientTape,function",
    "tensorflow.autograph": f"{_TF}.flow:do_not_convert,to_code",
    "tensorflow.autograph.experimental": f"{_TF}.flow",
    "tensorflow.compat": "",
    "tensorflow.config": f"{_TF}.devices",
    "tensorflow.config.experimental": f"{_TF}.devices",
    "tensorflow.config.threading": f"{_TF}.devices",
    "tensorflow.data": f"{_TF}.data {_TF}.tables:TextLineDataset",
    "tensorflow.data.experimental": f"{_TF}.data {_TF}.tables",
    "tensorflow.debugging": f"{_TF}.debugging",
    "tensorflow.distribute": f"{_TF}.distribute",
    "tensorflow.dtypes": f"{_TF}.values {_TF}.arrays",
    "tensorflow.experimental": "",
    "tensorflow.experimental.numpy": f"kurve.ops {_TF}.settings {_TF}.values",
    "tensorflow.image": f"{_TF}.image {_TF}.files:decode_bmp,decode_gif,decode_image,"
    "decode_jpeg,decode_png",
    "tensorflow.initializers": "kurve.initializers",
    "tensorflow.io": f"{_TF}.files",
    "tensorflow.linalg": f"{_TF}.linalg {_TF}.products",
    "tensorflow.logging": f"{_TF}.settings",
    "tensorflow.losses": "kurve.losses",
    "tensorflow.math": f"{_TF}.elementwise {_TF}.reductions {_TF}.products "
    f"{_TF}.segments",
    "tensorflow.metrics": "kurve.metrics",
    "tensorflow.nn": f"{_TF}.nn {_TF}.windows {_TF}.reductions",
    "tensorflow.optimizers": _OPTIMIZED,
    "tensorflow.python": "",
    "tensorflow.python.ops": "",
    "tensorflow.python.ops.array_ops": f"{_TF}.arrays",
    "tensorflow.python.ops.math_ops": f"{_TF}.elementwise {_TF}.reductions "
    f"{_TF}.products {_TF}.segments {_TF}.arrays",
    "tensorflow.python.ops.nn": f"{_TF}.nn {_TF}.windows {_TF}.reductions",
    "tensorflow.python.ops.nn_ops": f"{_TF}.nn {_TF}.windows {_TF}.reductions",
    "tensorflow.python.ops.random_ops": f"{_TF}.random",
    "tensorflow.python.ops.summary_ops_v2": f"{_TF}.summary",
    "tensorflow.random": f"{_TF}.random",
    "tensorflow.strings": f"{_TF}.strings",
    "tensorflow.summary": f"{_TF}.summary",
    "tensorflow.test": f"{_TF}.devices",
    "tensorflow.train": f"{_TF}.train",
}
"""Modules that contain the names of a path, in this order, separated by spaces;
"module:a,b" exposes only these names."""

TABLES: list[Mapping[str, str]] = [KERAS, TENSORFLOW]
if importlib.util.find_spec("kurve.legacy") is not None:
    _old: Any = importlib.import_module("kurve.legacy.names")
    TABLES.append({f"keras.{a}": f"kurve.{b}" for a, b in _old.MODULES.items()})
"""All tables. Add an entry for a new one."""


def plain(path: str) -> str:
    """The normalized form of a path."""
    while True:
        parts = path.split(".")
        for count in range(len(parts), 0, -1):
            other = PLAIN.get(".".join(parts[:count]))
            if other is not None:
                path = ".".join([other, *parts[count:]])
                break
        else:
            return path


def homes(path: str) -> list[str] | None:
    """The Kurve modules for a path; None if there are none.

    Example:
        homes("tensorflow.keras.layers") is ["kurve.layers"].
    """
    given, path = path, plain(path)
    for table in TABLES:
        if path in table:
            return table[path].split()
    package, _, name = path.rpartition(".")
    if package.startswith("keras.") and package[6:] in _PUBLIC:
        held = getattr(importlib.import_module(f"kurve.{package[6:]}"), name, None)
        if isinstance(held, ModuleType):
            return [held.__name__]
    # A prefix of another form: keras.api._v2
    return [] if any(form.startswith(f"{given}.") for form in PLAIN) else None


def names(home: str) -> list[str]:
    """The names that a Kurve module exposes to programs."""
    module, _, some = home.partition(":")
    if some:
        return some.split(",")
    there = importlib.import_module(module)
    listed = getattr(there, "__all__", None)
    return [n for n in listed or dir(there) if n[0] != "_" and n != "annotations"]


def held(home: str, name: str) -> Any:
    """The object for a name in a Kurve module.

    Raises:
        AttributeError: unknown name, or not exposed to programs.
    """
    module, _, some = home.partition(":")
    if (some or module.startswith(_OWN)) and name not in names(home):
        raise AttributeError(name)
    return getattr(importlib.import_module(module), name)
