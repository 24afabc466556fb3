"""`kurve inspect`: what the header of a model's file says. No tensor is read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from kurve.cli.words import printable
from kurve.core.container.reading import VERSION, opened
from kurve.models.fields import Field
from kurve.models.summary import format_bytes
from kurve.saving import read_header

SHOWN = 12
"""Categories of a column that are shown."""


def facts(path: str) -> dict[str, Any]:
    """What is in the file, ready for JSON.

    Raises:
        ModelFileError: the file is damaged or no model file, or what it says of itself
            is not as it must be.
    """
    with opened(path) as file:
        info, entries = file.info, file.entries
    top = Field(path, "", info)
    kind = _kind(info)
    found: dict[str, Any] = {
        "file": path,
        "bytes": os.path.getsize(path),
        "format": VERSION,
        "kind": kind,
    }
    config = _part(top, "model")
    if kind == "estimator":
        estimator = top.inner("estimator", info["estimator"])
        found |= _of_estimator(estimator)
        config = _need(estimator, "model")
    if config.value is not None:
        found["layers"] = [_layer(entry) for entry in _need(config, "layers").items()]
    if kind == "checkpoint":
        cursor = top.inner("cursor", info["cursor"])
        found["epoch"] = _need(cursor, "epoch").integer()
    if (step := _part(top, "step")).value is not None:
        found["step"] = step.integer()
    if (compiled := _part(top, "compile")).value is not None:
        optimizer = _need(_need(compiled, "optimizer"), "class_name")
        found["optimizer"] = optimizer.text()
    if "assessed" in info:
        found["assessed"] = _part(top, "assessed").boolean()
    found["tensors"] = {name: list(entry.shape) for name, entry in entries.items()}
    prefix = "models/0/" if kind == "estimator" else "weights/"
    if kind == "checkpoint":
        prefix = "params"
    found["weights"] = sum(
        math.prod(entry.shape)
        for name, entry in entries.items()
        if name.startswith(prefix)
    )
    return found


def _part(field: Field, key: str) -> Field:
    """A value of a table, None if it is not there."""
    if not isinstance(field.value, dict):
        raise field.error("it must be an object")
    return field.inner(key, field.value.get(key))


def _need(field: Field, key: str) -> Field:
    """A value that a table must have."""
    found = _part(field, key)
    if key not in field.value:
        raise found.error("it is missing")
    return found


def holds_estimator(path: str) -> bool:
    """Whether the file is one of `kurve.estimators`.

    Raises:
        ModelFileError: the file is damaged or no model file.
    """
    info, _ = read_header(path)
    return _kind(info) == "estimator"


def _kind(info: Mapping[str, Any]) -> str:
    """What a file holds; checkpoints do not say so."""
    if "estimator" in info:
        return "estimator"
    if "cursor" in info:
        return "checkpoint"
    return "Sequential" if info.get("model") else "weights"


def describe(found: Mapping[str, Any]) -> str:
    """The facts as text for people."""
    lines = [f"{found['file']}: {found['kind']}, {format_bytes(found['bytes'])}"]
    if found.get("targets"):
        lines.append(f"target     {', '.join(found['targets'])}")
    if found.get("classes"):
        lines.append(f"classes    {_listed(found['classes'])}")
    columns = found.get("columns", [])
    plain = [c["name"] for c in columns if c["categories"] is None]
    if plain:
        lines.append(f"numbers    {', '.join(plain)}")
    for column in columns:
        if column["categories"] is not None:
            lines.append(
                f"category   {column['name']}: {_listed(column['categories'])}"
            )
    gaps = [column["name"] for column in columns if column["missing"]]
    if gaps:
        lines.append(f"had gaps   {', '.join(gaps)}")
    if found.get("scaled"):
        lines.append(f"scalers    {', '.join(found['scaled'])}")
    if "layers" in found:
        lines.append(f"layers     {' -> '.join(found['layers']) or 'none'}")
    members = found.get("members", 1)
    each = f" in each of {members} networks" if members > 1 else ""
    lines.append(f"weights    {found['weights']:,}{each}")
    for name in ("likelihood", "iterations", "optimizer", "epoch", "step"):
        if found.get(name) is not None:
            lines.append(f"{name:<11}{found[name]}")
    if found.get("assessed") is not None:
        lines.append(f"assessed   {'yes' if found['assessed'] else 'no'}")
    if found.get("verified"):
        lines.append("verified   every byte is what was written")
    changed = {k: v for k, v in found.get("parameters", {}).items() if v is not None}
    if changed:
        shown = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        lines.append(f"settings   {shown}")
    return "\n".join(map(printable, lines))


def _of_estimator(top: Field) -> dict[str, Any]:
    name = _need(top, "class_name")
    if name.text() not in ("Regressor", "Classifier"):
        raise name.error("it is none of Regressor, Classifier")
    columns = _need(top, "columns")
    width = _need(columns, "width").integer(1, 2**31)
    names = _texts(_need(columns, "names"))
    if names is None:
        known = [*_need(columns, "numeric").items(), *_need(columns, "levels").items()]
        if len(known) != width:
            raise columns.error("its columns are not each a number or a category")
        names = [f"x{i + 1}" for i in range(width)]
    if len(names) != width:
        raise _need(columns, "names").error(f"there must be {width}")
    levels = {}
    for item in _need(columns, "levels").items():
        pair = list(item.items())
        if len(pair) != 2:
            raise item.error("it is no column with its levels")
        levels[pair[0].integer(0, width)] = _labels(pair[1])
    gaps = {gap.integer(0, width) for gap in _need(columns, "gaps").items()}
    parameters = _need(top, "parameters")
    scaled = ["inputs"] if _part(parameters, "scale").value else []
    if scaled and name.value == "Regressor":
        scaled.append("targets")
    classes, likelihood = _part(top, "classes"), _part(top, "likelihood")
    return {
        "kind": name.value,
        "targets": _texts(_need(top, "target_names")) or [],
        "classes": None if classes.value is None else _labels(classes),
        "columns": [
            {"name": name, "categories": levels.get(i), "missing": i in gaps}
            for i, name in enumerate(names)
        ],
        "scaled": scaled,
        "members": _need(top, "members").integer(1),
        "likelihood": None if likelihood.value is None else likelihood.text(),
        "iterations": _need(top, "iterations").integer(),
        "parameters": _changed(name.value, parameters),
    }


def _texts(field: Field) -> list[str] | None:
    return None if field.value is None else [item.text() for item in field.items()]


def _labels(field: Field) -> list[str | int | float | bool]:
    found = []
    for item in field.items():
        if not isinstance(item.value, (str, int, float)):
            raise item.error("it is neither text nor a number")
        found.append(item.value)
    return found


def _changed(name: str, parameters: Field) -> dict[str, Any]:
    """The arguments of the constructor that are not their defaults."""
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
    name, config = _need(entry, "class_name").text(), _need(entry, "config")
    activation = _part(config, "activation").value
    if isinstance(activation, Mapping):
        inner = activation.get("config")
        inner = inner.get("name") if isinstance(inner, Mapping) else None
        activation = activation.get("name") or inner
    parts = [name, config.value.get("units"), activation, config.value.get("rate")]
    return " ".join(str(part) for part in parts if part not in (None, "linear"))


def _listed(values: list[Any]) -> str:
    more = f", {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more
