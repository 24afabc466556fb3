"""Files of layers in a .keras file, under "assets/", each in the folder that has the
layer's place among the weights:

assets/layers/string_lookup/vocabulary.txt    the words a lookup layer has learnt
assets/layers/<class>/...                     what `save_assets` of a custom layer wrote

Vocabularies become part of the configuration before the layers exist. Files of custom
layers are unpacked into a temporary folder for `load_assets`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kurve.core.overrides import is_own
from kurve.exchange import keras_parts as parts
from kurve.exchange.keras_graphs import MAX_DEPTH, is_function
from kurve.exchange.keras_tree import is_own_model, tree_of
from kurve.exchange.keras_weights import group_names, holders_of
from kurve.exchange.keras_zip import ASSETS
from kurve.layers.base import Layer

VOCABULARY = "vocabulary.txt"
LOOKUPS = {"IntegerLookup": int, "StringLookup": str, "TextVectorization": str}
"""Layers with a vocabulary, and the type of its entries."""


def fill_vocabularies(
    entry: Any, assets: dict[str, bytes], place: str = "", depth: int = 0
) -> None:
    """Put the vocabularies of lookup layers, which are removed from `assets`, into the
    configuration of a model.

    Raises:
        ValueError: a vocabulary that is not text, or not of numbers.
    """
    config = entry.get("config") if isinstance(entry, Mapping) else None
    inside = config.get("layers") if isinstance(config, Mapping) else None
    if not isinstance(inside, list) or depth > MAX_DEPTH:
        return
    layers = [e for e in inside if isinstance(e, Mapping) and not is_function(e)]
    names = group_names([str(layer.get("class_name")) for layer in layers])
    for layer, name in zip(layers, names, strict=True):
        below, kind = f"{place}layers/{name}/", layer.get("class_name")
        given = layer.get("config")
        if kind not in LOOKUPS or not isinstance(given, dict) or parts.own(layer):
            fill_vocabularies(layer, assets, below, depth + 1)
            continue
        raw = assets.pop(f"{ASSETS}{below}{VOCABULARY}", None)
        if kind == "TextVectorization":  # once more, of the lookup layer inside
            raw = assets.pop(f"{ASSETS}{below}_lookup_layer/{VOCABULARY}", raw)
        if raw is not None and given.get("vocabulary") is None:
            words = raw.decode().split("\n")
            given["vocabulary"] = [LOOKUPS[kind](word) for word in words]


def asset_files(model: Any) -> dict[str, bytes]:
    """The files that custom layers of a model write, by their names in the zip."""
    found = {}
    for place, layer in _custom(model, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    name = path.relative_to(folder).as_posix()
                    found[f"{ASSETS}{place}/{name}"] = path.read_bytes()
    return found


def give_assets(model: Any, assets: Mapping[str, bytes]) -> None:
    """Let the custom layers of a model read their files.

    Raises:
        ValueError: a file of no such layer.
    """
    left = dict(assets)
    for place, layer in _custom(model, "load_assets"):
        above = f"{ASSETS}{place}/"
        with tempfile.TemporaryDirectory() as folder:
            for name in [name for name in left if name.startswith(above)]:
                path = Path(folder, name.removeprefix(above))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(left.pop(name))
            layer.load_assets(folder)
    if left:
        raise ValueError(f"it has a member {min(left)[:100]!r}, which no layer reads")


def _custom(model: Any, method: str) -> Iterator[tuple[str, Any]]:
    """The layers of a model that have such a method of their own, with their places."""
    tree, seen = tree_of(model), set[int]()
    places = group_names([part.cls for part in tree])
    for part, name in zip(tree, places, strict=True):
        place = "" if is_own_model(model) else f"layers/{name}"
        for below, layer in holders_of(part.layer, place, seen):
            own = is_own(type(layer)) and isinstance(layer, Layer)
            if own and getattr(type(layer), method) is not getattr(Layer, method):
                yield below, layer
