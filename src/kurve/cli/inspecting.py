"""`kurve inspect`: the header of a model file. No tensors are read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from kurve.cli.console import printable
from kurve.core.container.reading import VERSION, opened
from kurve.models.fields import Field
from kurve.models.summary import format_bytes
from kurve.saving import read_header

SHOWN = 12
"""Maximum number of categories shown per column."""


def facts(path: str) -> dict[str, Any]:
    """The contents of the file, ready for JSON.

    Raises:
        ModelFileError: the file is corrupt or not a model file.
    """
    with opened(path) as file:
        info, entries = file.info, file.entries
    top = Field(path, "", info)
    kind = _kind(info)
    result: dict[str, Any] = {
        "file": path,
        "bytes": os.path.getsize(path),
        "format": VERSION,
        "kind": kind,
    }
    config = _optional(top, "model")
    if kind == "estimator":
        estimator = top.inner("estimator", info["estimator"])
        result |= _of_estimator(estimator)
        config = _required(estimator, "model")
        result["kinds"] = [
            [_layer(layer) for layer in _required(other, "layers").items()]
            for other in _other_models(estimator)
        ]
    if config.value is not None:
        entries_of_layers = _required(config, "layers").items()
        result["layers"] = [_layer(entry) for entry in entries_of_layers]
    if kind == "checkpoint":
        cursor = top.inner("cursor", info["cursor"])
        result["epoch"] = _required(cursor, "epoch").integer()
    if (step := _optional(top, "step")).value is not None:
        result["step"] = step.integer()
    if (compiled := _optional(top, "compile")).value is not None:
        optimizer = _required(_required(compiled, "optimizer"), "class_name")
        result["optimizer"] = optimizer.text()
    if "assessed" in info:
        result["assessed"] = _optional(top, "assessed").boolean()
    result["tensors"] = {name: list(entry.shape) for name, entry in entries.items()}
    if kind == "plan":  # for C
        for ports in ("inputs", "outputs"):
            result[ports] = [_port(item) for item in _required(top, ports).items()]
    prefixes = {
        "estimator": ("models/0/",),
        "checkpoint": ("params",),
        "plan": ("params/", "buffers/"),
    }
    prefix = prefixes.get(kind, ("weights/",))
    if result.get("kinds"):
        prefix = ("models/",)
    result["weights"] = sum(
        math.prod(entry.shape)
        for name, entry in entries.items()
        if name.startswith(prefix)
    )
    return result


def _optional(field: Field, key: str) -> Field:
    """A table's value; None if it is missing."""
    if not isinstance(field.value, dict):
        raise field.error("it must be a table")
    return field.inner(key, field.value.get(key))


def _required(field: Field, key: str) -> Field:
    """A required value of a table."""
    value = _optional(field, key)
    if key not in field.value:
        raise value.error("it is missing")
    return value


def _port(field: Field) -> dict[str, Any]:
    """An input or output of a plan, with the shape of a row."""
    axes = [axis.integer() for axis in _required(field, "shape").items()]
    return {"name": _required(field, "name").text(), "shape": axes}


def holds_estimator(path: str) -> bool:
    """Whether the file contains an estimator.

    Raises:
        ModelFileError: the file is corrupt or not a model file.
    """
    info, _ = read_header(path)
    return _kind(info) == "estimator"


def _kind(info: Mapping[str, Any]) -> str:
    """The kind of file; version 1 and checkpoints have no entry for it."""
    if "estimator" in info:
        return "estimator"
    if "cursor" in info:
        return "checkpoint"
    if info.get("kind") == "plan":
        return "plan"
    return "Sequential" if info.get("model") else "weights"


def describe(facts: Mapping[str, Any]) -> str:
    """The facts as a string."""
    lines = [f"{facts['file']}: {facts['kind']}, {format_bytes(facts['bytes'])}"]
    if facts.get("targets"):
        lines.append(f"target     {', '.join(facts['targets'])}")
    if facts.get("classes"):
        lines.append(f"classes    {_listed(facts['classes'])}")
    columns = facts.get("columns", [])
    for kind in ("numbers", *KINDS.values()):
        plain = [
            c["name"]
            for c in columns
            if c["categories"] is None and c.get("kind", "numbers") == kind
        ]
        if plain:
            lines.append(f"{kind:<11}{', '.join(plain)}")
    for column in columns:
        if column["categories"] is not None:
            lines.append(
                f"category   {column['name']}: {_listed(column['categories'])}"
            )
    missing = [column["name"] for column in columns if column["missing"]]
    if missing:
        lines.append(f"missing    {', '.join(missing)}")
    if facts.get("scaled"):
        lines.append(f"scaled     {', '.join(facts['scaled'])}")
    if "layers" in facts:
        lines.append(f"layers     {' -> '.join(facts['layers']) or 'none'}")
    for ports in ("inputs", "outputs"):
        if ports in facts:
            named = (
                f"{p['name']} ({', '.join(map(str, p['shape']))})" for p in facts[ports]
            )
            lines.append(f"{ports:<11}{', '.join(named)}")
    for layers in facts.get("kinds", []):
        lines.append(f"other      {' -> '.join(layers)}")
    members = facts.get("members", 1)
    one = "all" if facts.get("kinds") else "each"
    each = f" in {one} of {members} networks" if members > 1 else ""
    lines.append(f"weights    {facts['weights']:,}{each}")
    for name in ("likelihood", "iterations", "optimizer", "epoch", "step"):
        if facts.get(name) is not None:
            lines.append(f"{name:<11}{facts[name]}")
    if facts.get("assessed") is not None:
        lines.append(f"assessed   {'yes' if facts['assessed'] else 'no'}")
    if facts.get("verified"):
        lines.append("verified   all checksums match")
    changed = {k: v for k, v in facts.get("parameters", {}).items() if v is not None}
    if changed:
        settings = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        lines.append(f"settings   {settings}")
    return "\n".join(map(printable, lines))


def _other_models(estimator: Field) -> list[Field]:
    """The configurations of the other kinds of networks in a bag."""
    others = _optional(estimator, "other_models")
    if others.value is None:
        return []
    pairs = [list(item.items()) for item in others.items()]
    if not all(len(pair) == 2 for pair in pairs):
        raise others.error("it is not a list of members and models")
    return [pair[1] for pair in pairs]


KINDS = {"dates": "dates", "words": "texts", "left_out": "left out"}
"""Columns that are neither numbers nor categories: names in files, and in words."""


def _listing(columns: Field, kind: str) -> list[Field]:
    field = _optional(columns, kind)
    return [] if field.value is None else list(field.items())


def _of_estimator(top: Field) -> dict[str, Any]:
    name = _required(top, "class_name")
    if name.text() not in ("Regressor", "Classifier"):
        raise name.error("it is neither Regressor nor Classifier")
    columns = _required(top, "columns")
    width = _required(columns, "width").integer(1, 2**31)
    names = _required(columns, "names").texts()
    if names is None:
        known = [
            *_required(columns, "numeric").items(),
            *_required(columns, "levels").items(),
            *(item for kind in KINDS for item in _listing(columns, kind)),
        ]
        if len(known) != width:
            raise columns.error("its columns are not each a number or a category")
        names = [f"x{i + 1}" for i in range(width)]
    if len(names) != width:
        raise _required(columns, "names").error(f"there must be {width}")
    levels = {}
    for item in _required(columns, "levels").items():
        pair = list(item.items())
        if len(pair) != 2:
            raise item.error("it is not a column with its levels")
        levels[pair[0].integer(0, width)] = _labels(pair[1])
    missing = {item.integer(0, width) for item in _required(columns, "gaps").items()}
    kinds = {
        next(iter(item.items())).integer(0, width): label
        for kind, label in KINDS.items()
        for item in _listing(columns, kind)
    }
    parameters = _required(top, "parameters")
    scaled = ["inputs"] if _optional(parameters, "scale").value else []
    if scaled and name.value == "Regressor":
        scaled.append("targets")
    classes, likelihood = _optional(top, "classes"), _optional(top, "likelihood")
    return {
        "kind": name.value,
        "targets": _required(top, "target_names").texts() or [],
        "classes": None if classes.value is None else _labels(classes),
        "columns": [
            {"name": name, "categories": levels.get(i), "missing": i in missing}
            | ({"kind": kinds[i]} if i in kinds else {})
            for i, name in enumerate(names)
        ],
        "scaled": scaled,
        "members": _required(top, "members").integer(1),
        "likelihood": None if likelihood.value is None else likelihood.text(),
        "iterations": _required(top, "iterations").integer(),
        "parameters": _changed(name.value, parameters),
    }


def _labels(field: Field) -> list[str | int | float | bool]:
    labels = []
    for item in field.items():
        if not isinstance(item.value, (str, int, float)):
            raise item.error("it is neither a string nor a number")
        labels.append(item.value)
    return labels


def _changed(name: str, parameters: Field) -> dict[str, Any]:
    """The constructor arguments that differ from their defaults."""
    import inspect

    from kurve import estimators

    known = inspect.signature(getattr(estimators, name)).parameters
    for key in parameters.value:
        if key not in known:
            raise parameters.inner(key[:80], None).error("it is unknown")
    return {
        key: value
        for key, value in parameters.value.items()
        if known[key].default != value
    }


def _layer(entry: Field) -> str:
    """ "Dense 64 relu"."""
    name, config = _required(entry, "class_name").text(), _required(entry, "config")
    activation = _optional(config, "activation").value
    if isinstance(activation, Mapping):
        inner = activation.get("config")
        inner = inner.get("name") if isinstance(inner, Mapping) else None
        activation = activation.get("name") or inner
    parts = [name, config.value.get("units"), activation, config.value.get("rate")]
    return " ".join(str(part) for part in parts if part not in (None, "linear"))


def _listed(values: list[Any]) -> str:
    more = f", {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more
