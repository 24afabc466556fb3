"""`FeatureSpace`: the columns of a table as numbers, each encoded by its own layer."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.core.arguments import is_count
from kurve.core.naming import unique_name
from kurve.core.results import result
from kurve.formulas.tensor import KerasTensor
from kurve.layers.base import Layer
from kurve.layers.core import Input
from kurve.layers.encoding import CategoryEncoding, Discretization
from kurve.layers.hashing import HashedCrossing, Hashing
from kurve.layers.lookup import IntegerLookup, StringLookup
from kurve.layers.merging import Concatenate
from kurve.layers.normalization import Normalization
from kurve.layers.scaling import Rescaling

MODES = ("concat", "dict")


@dataclass(frozen=True)
class Feature:
    """How a column is encoded.

    dtype:        "float32", "int32" or "string", of the column
    preprocessor: a layer, or None for the numbers as they are
    output_mode:  "float", "int" or "one_hot", of the layer's output
    """

    dtype: str
    preprocessor: Layer | None
    output_mode: str


@dataclass(frozen=True)
class Cross:
    """Columns whose values together are hashed into numbers."""

    feature_names: tuple[str, ...]
    crossing_dim: int
    output_mode: str = "one_hot"

    @property
    def name(self) -> str:
        """Of the cross among the features."""
        return "_X_".join(self.feature_names)


class FeatureSpace:
    """The columns of a table as numbers for a model: texts and categories by
    `StringLookup`, `IntegerLookup` or `Hashing`, numbers by `Normalization`,
    `Rescaling` or `Discretization`; and pairs of columns by `HashedCrossing`.

    Args:
        features: by the columns' names: "float", "float_normalized",
            "float_rescaled", "float_discretized", "integer_categorical",
            "string_categorical", "integer_hashed", "string_hashed", or the results of
            the methods with these names.
        output_mode: "concat" returns one array (B, columns), "dict" one for each
        feature.
        crosses: tuples of names, or results of `cross`.
        crossing_dim, hashing_dim, num_discretization_bins: default sizes of crosses,
            hashes and bins.
        name: generated if None.

    Raises:
        ValueError: no features, an unknown kind, or a cross of other columns.

    Example:
        >>> table = {"size": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"]}
        >>> kinds = {"size": "float_rescaled", "kind": "string_categorical"}
        >>> space = kurve.utils.FeatureSpace(kinds)
        >>> space.adapt(table)
        >>> space(table)
        array([[0., 1., 0., 1.],
               [0., 0., 1., 2.],
               [0., 1., 0., 3.]], dtype=float32)
    """

    def __init__(
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Iterable[Any] | None = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        if not isinstance(features, Mapping) or not features:
            raise ValueError(
                "[FeatureSpace] features must be a dictionary of columns. Received: "
                f"features={features!r}. Try {{'age': 'float_normalized'}}."
            )
        if output_mode not in MODES:
            raise ValueError(
                "[FeatureSpace] output_mode must be 'concat' or 'dict'. Received: "
                f"output_mode={output_mode!r}. Try output_mode='concat'."
            )
        self.name = name or unique_name("feature_space")
        self.output_mode = output_mode
        self.crossing_dim, self.hashing_dim = crossing_dim, hashing_dim
        self.num_discretization_bins = num_discretization_bins
        self.features = {k: self._feature(k, kind) for k, kind in features.items()}
        self.crosses = [self._cross(cross) for cross in crosses or ()]
        self.preprocessors = {k: f.preprocessor for k, f in self.features.items()}
        self.crossers = {
            cross.name: HashedCrossing(cross.crossing_dim, name=cross.name)
            for cross in self.crosses
        }
        self._adapted = not any(map(_learns, self.preprocessors.values()))
        self._columns: tuple[dict[str, Any], Any] | None = None

    def _feature(self, name: str, kind: Any) -> Feature:
        if isinstance(kind, Feature):
            return kind
        of_kind: dict[str, Callable[[], Feature]] = {
            "float": FeatureSpace.float,
            "float_normalized": FeatureSpace.float_normalized,
            "float_rescaled": FeatureSpace.float_rescaled,
            "float_discretized": lambda: FeatureSpace.float_discretized(
                self.num_discretization_bins
            ),
            "integer_categorical": FeatureSpace.integer_categorical,
            "string_categorical": FeatureSpace.string_categorical,
            "integer_hashed": lambda: FeatureSpace.integer_hashed(self.hashing_dim),
            "string_hashed": lambda: FeatureSpace.string_hashed(self.hashing_dim),
        }
        if not isinstance(kind, str) or kind not in of_kind:
            raise ValueError(
                f"[FeatureSpace] the feature {name!r} must be of a known kind. "
                f"Received: {kind!r}. Known: {', '.join(of_kind)}. Try 'float'."
            )
        return of_kind[kind]()

    def _cross(self, given: Any) -> Cross:
        cross = given
        if not isinstance(given, Cross):
            cross = Cross(tuple(given), self.crossing_dim)
        unknown = [n for n in cross.feature_names if n not in self.features]
        if unknown or len(cross.feature_names) < 2:
            raise ValueError(
                "[FeatureSpace] a cross must name at least two of the features. "
                f"Received: {given!r}. Known: {', '.join(self.features)}. "
                "Try ('first', 'second')."
            )
        return cross

    # ---------------------------------------------------------------- kinds

    @classmethod
    def cross(
        cls,
        feature_names: Sequence[str],
        crossing_dim: int,
        output_mode: str = "one_hot",
    ) -> Cross:
        """Columns whose values together are hashed.

        Args:
            feature_names: at least two.
            crossing_dim: number of hash values.
            output_mode: "one_hot" or "int".
        """
        return Cross(tuple(feature_names), crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Layer, output_mode: str) -> Feature:
        """A column with a layer of the user's choice.

        Args:
            dtype: of the column.
            preprocessor: the layer.
            output_mode: of the layer's output: "float", "int", or "one_hot" for
                integers that are to be encoded.
        """
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """Numbers as they are.

        Args:
            name: of the layer.
        """
        return Feature("float32", None, "float")

    @classmethod
    def float_rescaled(
        cls,
        scale: builtins.float = 1.0,
        offset: builtins.float = 0.0,
        name: str | None = None,
    ) -> Feature:
        """Numbers times scale plus offset.

        Args:
            scale, offset: see `Rescaling`.
            name: of the layer.
        """
        layer = Rescaling(scale, offset, name=_layer_name(name))
        return Feature("float32", layer, "float")

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """Numbers with mean 0 and variance 1.

        Args:
            name: of the layer.
        """
        layer = Normalization(axis=-1, name=_layer_name(name))
        return Feature("float32", layer, "float")

    @classmethod
    def float_discretized(
        cls,
        num_bins: int | None,
        bin_boundaries: Sequence[builtins.float] | None = None,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """The bin of each number.

        Args:
            num_bins, bin_boundaries: see `Discretization`.
            output_mode: "one_hot" or "int".
            name: of the layer.
        """
        num_bins = None if bin_boundaries is not None else num_bins
        layer = Discretization(bin_boundaries, num_bins, name=_layer_name(name))
        return Feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Whole numbers that stand for categories.

        Args:
            max_tokens, num_oov_indices: see `IntegerLookup`.
            output_mode: "one_hot" or "int".
            name: of the layer.
        """
        given = max_tokens, num_oov_indices
        layer = IntegerLookup(*given, name=_layer_name(name))
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Texts that stand for categories.

        Args:
            max_tokens, num_oov_indices: see `StringLookup`.
            output_mode: "one_hot" or "int".
            name: of the layer.
        """
        given = max_tokens, num_oov_indices
        layer = StringLookup(*given, name=_layer_name(name))
        return Feature("string", layer, output_mode)

    @classmethod
    def integer_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Whole numbers by their hash.

        Args:
            num_bins: see `Hashing`.
            output_mode: "one_hot" or "int".
            name: of the layer.
        """
        layer = Hashing(num_bins, name=_layer_name(name))
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Texts by their hash.

        Args:
            num_bins: see `Hashing`.
            output_mode: "one_hot" or "int".
            name: of the layer.
        """
        layer = Hashing(num_bins, name=_layer_name(name))
        return Feature("string", layer, output_mode)

    # ---------------------------------------------------------------- use

    def adapt(self, dataset: Any) -> None:
        """Let the layers learn from data.

        Args:
            dataset: a dictionary of columns, a data frame, or batches or rows of such.
        """
        columns = _columns(dataset, self.features)
        for name, layer in self.preprocessors.items():
            if layer is not None and _learns(layer):
                layer.adapt(columns[name])  # type: ignore[attr-defined]
        self._adapted, self._columns = True, None

    def get_inputs(self) -> dict[str, KerasTensor]:
        """The symbolic inputs of a model of raw columns, by name."""
        return self._graph()[0]

    def get_encoded_features(self) -> Any:
        """The symbolic features, for `Model(space.get_inputs(), ...)`."""
        return self._graph()[1]

    def _graph(self) -> tuple[dict[str, Any], Any]:
        if self._columns is None:
            inputs = {
                name: Input((1,), dtype=feature.dtype, name=name)
                for name, feature in self.features.items()
            }
            self._columns = inputs, self._encoded(inputs)
        return self._columns

    def __call__(self, data: Any) -> Any:
        """The features of columns, (B,) or (B, 1) each, or of a single row.

        Args:
            data: by name; a row's values are single numbers or texts.
        """
        if not isinstance(data, Mapping) and not hasattr(data, "columns"):
            raise ValueError(
                "[FeatureSpace] it is called with columns by name. Received: "
                f"an object of type {type(data).__name__}. Try a dictionary."
            )
        columns = {name: np.asarray(data[name]) for name in self.features}
        alone = all(array.ndim == 0 for array in columns.values())
        given = {
            name: array.reshape(-1, 1) if array.ndim < 2 else array
            for name, array in columns.items()
        }
        found = self._encoded(given)
        if isinstance(found, dict):
            return {k: result(v[0] if alone else v) for k, v in found.items()}
        return result(found[0] if alone else found)

    def _encoded(self, columns: Mapping[str, Any]) -> Any:
        if not self._adapted:
            raise ValueError(
                "[FeatureSpace] its layers must learn from data first. Received: a "
                "call before adapt. Try space.adapt(data)."
            )
        made = {}
        for name, column in columns.items():
            layer = self.preprocessors[name]
            if layer is None and isinstance(column, KerasTensor):
                made[name] = column * 1.0
            elif layer is None:
                made[name] = column.astype(np.float32)
            else:
                made[name] = layer(column)
        crossed = {
            cross.name: self.crossers[cross.name](
                tuple(made[n] for n in cross.feature_names)
            )
            for cross in self.crosses
        }
        specs: dict[str, Any] = {n: self.features[n] for n in sorted(made)}
        specs |= {c.name: c for c in sorted(self.crosses, key=lambda c: c.name)}
        found = {
            name: self._one(name, spec, made[name] if name in made else crossed[name])
            for name, spec in specs.items()
        }
        if self.output_mode == "dict":
            return found
        parts = list(found.values())
        if isinstance(parts[0], KerasTensor):
            return Concatenate()(parts) if len(parts) > 1 else parts[0]
        return np.concatenate([np.asarray(p, np.float32) for p in parts], -1)

    def _one(self, name: str, spec: Any, value: Any) -> Any:
        """A feature as it is given out."""
        if spec.output_mode == "one_hot":
            layer: Any = self.preprocessors.get(name) or self.crossers.get(name)
            encode = CategoryEncoding(_count(name, layer), "multi_hot")
            return encode(value)
        if spec.output_mode == "int" and self.output_mode == "concat":
            raise ValueError(
                "[FeatureSpace] integer features cannot be concatenated. Received: "
                f"the feature {name!r} with output_mode='int'. "
                "Try output_mode='dict' of the space."
            )
        return value


def _layer_name(name: str | None) -> str | None:
    return None if name is None else f"{name}_preprocessor"


def _learns(layer: Any) -> bool:
    """Whether a layer has to see data first."""
    if not hasattr(layer, "adapt"):
        return False
    known = {"mean", "bin_boundaries", "vocabulary"}
    return all(not layer.get_config().get(name) for name in known)


def _count(name: str, layer: Any) -> int:
    """How many numbers a layer's integers can be."""
    if hasattr(layer, "vocabulary_size"):
        return int(layer.vocabulary_size())
    if isinstance(layer, Discretization) and layer.num_bins is None:
        return len(layer.bin_boundaries or ()) + 1
    for attribute in ("num_bins", "num_tokens"):
        if is_count(getattr(layer, attribute, None)):
            return int(getattr(layer, attribute))
    raise ValueError(
        f"[FeatureSpace] the feature {name!r} cannot be encoded, because the number "
        f"of its values is unknown. Received: {layer!r}. Try output_mode='int'."
    )


def _columns(data: Any, names: Iterable[str]) -> dict[str, np.ndarray]:
    """All rows of each column, (n, 1)."""
    if isinstance(data, Mapping) or hasattr(data, "columns"):
        parts = [data]
    else:
        parts = [b[0] if isinstance(b, tuple) else b for b in data]
    return {
        name: np.concatenate([np.asarray(p[name]).reshape(-1, 1) for p in parts])
        for name in names
    }
