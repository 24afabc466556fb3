"""`kurve inspect`: what the header of a model's file says. No tensor is read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from kurve.saving import ModelFileError, read_header
from kurve.saving.container import opened
from kurve.summary import format_bytes

SHOWN = 12
"""Categories of a column that are shown."""


def facts(path: str) -> dict[str, Any]:
    """What is in the file, ready for JSON.

    Raises:
        ModelFileError: the file is damaged or no model file.
    """
    with opened(path) as file:
        info, entries, version = file.info, file.entries, file.version
    found: dict[str, Any] = {
        "file": path,
        "bytes": os.path.getsize(path),
        "format": version,
        "kind": _kind(info),
    }
    estimator = info.get("estimator")
    try:
        config = info.get("model")
        if estimator is not None:
            config = estimator["model"]
            found |= _of_estimator(estimator)
        if config is not None:
            found["layers"] = [_layer(entry) for entry in config["layers"]]
        if found["kind"] == "checkpoint":
            found["epoch"] = info["cursor"]["epoch"]
        if info.get("step") is not None:
            found["step"] = info["step"]
        if info.get("compile") is not None:
            found["optimizer"] = info["compile"]["optimizer"]["class_name"]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ModelFileError(
            f"[inspect] the header of {path!r} cannot be read: {error!r}. "
            "Try an earlier copy.",
            "kurve",
        ) from error
    if info.get("assessed") is not None:
        found["assessed"] = info["assessed"]
    found["tensors"] = {name: list(entry.shape) for name, entry in entries.items()}
    prefix = "models/0/" if estimator is not None else "weights/"
    if found["kind"] == "checkpoint":
        prefix = "params"
    found["weights"] = sum(
        math.prod(entry.shape)
        for name, entry in entries.items()
        if name.startswith(prefix)
    )
    return found


def holds_estimator(path: str) -> bool:
    """Whether the file is one of `kurve.estimators`.

    Raises:
        ModelFileError: the file is damaged or no model file.
    """
    info, _ = read_header(path)
    return _kind(info) == "estimator"


def _kind(info: Mapping[str, Any]) -> str:
    """What a file holds; version 1 and checkpoints do not say so."""
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
    return "\n".join(lines)


def _of_estimator(estimator: Mapping[str, Any]) -> dict[str, Any]:
    columns = estimator["columns"]
    names = columns["names"] or [f"x{i + 1}" for i in range(columns["width"])]
    levels = dict(columns["levels"])
    scaled = ["inputs"] if estimator["parameters"].get("scale") else []
    if scaled and estimator["class_name"] == "Regressor":
        scaled.append("targets")
    return {
        "kind": estimator["class_name"],
        "targets": estimator["target_names"] or [],
        "classes": estimator.get("classes"),
        "columns": [
            {
                "name": name,
                "categories": levels.get(i),
                "missing": i in columns["gaps"],
            }
            for i, name in enumerate(names)
        ],
        "scaled": scaled,
        "members": estimator["members"],
        "likelihood": estimator.get("likelihood"),
        "iterations": estimator["iterations"],
        "parameters": _changed(estimator),
    }


def _changed(estimator: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the constructor that are not their defaults."""
    import inspect

    from kurve import estimators

    known = inspect.signature(getattr(estimators, estimator["class_name"])).parameters
    return {
        name: value
        for name, value in estimator["parameters"].items()
        if name in known and known[name].default != value
    }


def _layer(entry: Mapping[str, Any]) -> str:
    """ "Dense 64 relu"."""
    config = entry["config"]
    activation = config.get("activation")
    if isinstance(activation, Mapping):
        activation = activation.get("name") or activation.get("config", {}).get("name")
    parts = [entry["class_name"], config.get("units"), activation, config.get("rate")]
    return " ".join(str(part) for part in parts if part not in (None, "linear"))


def _listed(values: list[Any]) -> str:
    more = f", {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more
