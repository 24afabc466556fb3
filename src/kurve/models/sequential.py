"""A stack of layers, with Keras's conventions."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kurve.core import registry, rng
from kurve.core.arguments import check_flag
from kurve.core.entries import entries
from kurve.core.inside import inner_network
from kurve.core.locks import (
    check_readable,
    check_unlocked,
)
from kurve.core.overrides import refuse_overrides
from kurve.errors import WrongKindError
from kurve.formulas.tensor import KerasTensor
from kurve.layers.base import (
    Layer,
    check_batch_shape,
    check_shape,
)
from kurve.layers.core import InputLayer
from kurve.models.model import Model
from kurve.plan import Shape
from kurve.training.network import Network
from kurve.training.structure import Structure


@entries
class Sequential(Model):
    """A stack of layers: each layer's output is the next layer's input.

    Weights are created as soon as the input shape is known: from `Input` or
    `input_shape=` of the first layer, from `build`, or from the data passed to `fit`.

    Args:
        layers: layers to add, optionally starting with an `Input`.
        trainable: see the property.
        name: derived from the class by default.

    Raises:
        TypeError, ValueError: not a layer, or an invalid name.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> y = x**2
        >>> from kurve.layers import Dense
        >>> model = kurve.Sequential([kurve.Input((1,)), Dense(8, "tanh"), Dense(1)])
        >>> model.compile(optimizer="adam", loss="mse")
        >>> history = model.fit(x, y, epochs=3, verbose=0)
        >>> model.predict(x, verbose=0).shape
        (32, 1)
    """

    takes_scalars = True

    def __init__(
        self,
        layers: Sequence[Any] | None = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        if not (layers is None or isinstance(layers, Iterable)) or isinstance(
            layers, KerasTensor
        ):
            raise WrongKindError(
                "[Sequential] layers must be a list. "
                f"Received: {layers!r}. Try Sequential([Input(shape=(1,)), Dense(1)])."
            )
        self._start(name)
        trainable = check_flag("Sequential", "trainable", trainable)
        self._network = Network(rng.next_seed(), trainable)
        self._tensors: list[Any] = []
        for layer in layers or []:
            self.add(layer)

    # ---------------------------------------------------------------- structure

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the batch axis. Undefined before the model is built."""
        return (self._network.given_batch_size, *self._shapes("input_shape"))

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the batch axis. Undefined before the model is built."""
        sample, plan = self._shapes("output_shape"), self._network.plan
        if plan is None or None in sample:
            shape: tuple[int | None, ...] = self.output.shape
            return shape
        return (self._network.given_batch_size, *plan.output_shape)

    def _shapes(self, name: str) -> Shape:
        """The input or output shape, or an error if it is not known yet."""
        sample = self._network.input_shape
        if self._network.plan is None or sample is None:
            raise AttributeError(
                f"[Sequential] the model has no {name} yet, because it is not built. "
                f"Received: {self!r}. Try Input(shape=(1,)) as first layer."
            )
        return sample

    def _symbolic(self, name: str) -> Structure:
        """The calls of the layers, made on first access."""
        sample, tensors = self._shapes(name), self._tensors
        layers = self._network.layers
        if not tensors:
            dtype = "string" if self._network.encodes else None
            tensors.append(InputLayer(sample, dtype=dtype).output)
        for layer in layers[len(tensors) - 1 :]:
            tensors.append(layer(tensors[-1]))
        return Structure(tensors[0], tensors[len(layers)])

    def add(self, layer: Any) -> None:
        """Append a layer.

        Raises:
            TypeError: not a layer.
            ValueError: a duplicate name, an `Input` that does not come first, or a
                layer that does not fit (see `build`).
            ModelBusyError: during training.
        """
        check_unlocked(self, "add")
        if isinstance(layer, KerasTensor):
            layer = layer.history.operation
        if not isinstance(layer, Layer):
            raise WrongKindError(
                "[Sequential] only layers can be added. "
                f"Received: {layer!r} of type {type(layer).__name__}. Try Dense(1)."
            )
        if contains(layer, self):
            raise ValueError(
                "[Sequential] a model cannot contain itself. "
                f"Received: {layer.name!r} for {self.name!r}. Try a copy: "
                "models.clone_model."
            )
        refuse_overrides("Sequential", layer)
        network = self._network
        if isinstance(layer, InputLayer):
            if network.layers or network.input_shape is not None:
                raise ValueError(
                    "[Sequential] Input must be the first layer. Received: Input after "
                    f"{len(network.layers)} layers. Try a new model that starts with "
                    "it."
                )
            network.input_shape = layer.given_input_shape
            network.given_batch_size = layer.batch_size
            return
        if any(layer.name == other.name for other in network.layers):
            raise ValueError(
                "[Sequential] layers must have distinct names. "
                f"Received: a second {layer.name!r}. Try name='{layer.name}_2'."
            )
        old_shape = network.input_shape
        if old_shape is None and not network.layers:
            network.input_shape = layer.given_input_shape or layer.built_shape
        network.layers.append(layer)
        layer._stack = weakref.ref(self)
        if network.input_shape is not None:
            try:
                if self.built:
                    network.build(network.input_shape)
                else:
                    self.build((None, *network.input_shape))
            except (TypeError, ValueError):
                network.layers.pop()
                network.input_shape = old_shape
                raise

    def pop(self) -> Layer:
        """Remove the last layer and return it."""
        check_unlocked(self, "pop")
        if not self._network.layers:
            raise IndexError("[Sequential] there is no layer to pop.")
        del self._tensors[len(self._network.layers) :]
        return self._network.pop()

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Create the weights. Does nothing if the model is already built.

        Args:
            input_shape: shape with the batch axis: (None, 3) for three features.

        Raises:
            ValueError: there are no layers, the input shape is missing or differs, a
                layer does not fit, or belongs to another model. Model and layers are
                unchanged.
        """
        check_readable(self, "build")
        network = self._network
        sample = network.input_shape
        if input_shape is not None:
            sample = tuple(input_shape)[1:]  # type: ignore[assignment]
            if sample or not network.encodes:  # strings can have no feature axis
                sample = check_shape(Sequential, sample)
            if network.input_shape not in (None, sample):
                raise ValueError(
                    f"[build] the model's samples have shape {network.input_shape}. "
                    f"Received: {sample}. Try a new model."
                )
        if not network.layers or sample is None:
            what = "layers" if not network.layers else "an input shape"
            raise ValueError(
                f"[build] the model needs {what}. Received: {self!r}. "
                "Try Sequential([Input(shape=(1,)), Dense(1)])."
            )
        if not self.built:
            network.build(sample)

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Shape of the output for inputs of this shape, (B, ...) or (None, ...),
        keeping the batch axis as passed. Builds nothing."""
        batch, sample = check_batch_shape(Sequential, input_shape)
        shape: Sequence[int | None] = sample
        for layer in self._network.layers:
            _, *shape = layer.compute_output_shape((None, *shape))
        return (batch, *shape)

    def _build_like(self, x: Any) -> None:
        if self._network.plan is None:
            self.build(x.shape)

    # ---------------------------------------------------------------- copies

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` recreates the model without its
        weights."""
        from kurve.models.configs import serialize_operation

        network = self._network
        shape = network.input_shape
        return {
            **({} if network.trainable else {"trainable": False}),
            "name": self.name,
            "input_shape": None if shape is None else list(shape),
            "layers": [serialize_operation(layer) for layer in network.layers],
        }

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        custom_objects: Mapping[str, type] | None = None,
    ) -> Sequential:
        """A new model from `get_config`.

        Args:
            custom_objects: custom classes by name.
        """
        from kurve.models.config_reader import model_from

        with registry.custom_objects(custom_objects):
            stack = model_from(config)
        model = cls(name=config["name"], trainable=config.get("trainable", True))
        model._put(config["input_shape"], list(stack._network.layers))
        return model

    def _set(self, input_shape: Sequence[int] | None, layers: list[Layer]) -> None:
        """Set all layers, and let them declare their variables if the input shape is
        known."""
        self._put(input_shape, layers, build=False)
        if layers and self._network.input_shape is not None:
            self._network.declare(self._network.input_shape)

    def _put(
        self,
        input_shape: Sequence[int] | None,
        layers: list[Layer],
        build: bool = True,
    ) -> None:
        """Set all layers, and build them if the input shape is known."""
        self._network.put(input_shape, layers)
        self._tensors = []
        for layer in layers:
            layer._stack = weakref.ref(self)
        if build and layers and self._network.input_shape is not None:
            self.build()


def contains(layer: Any, model: Model) -> bool:
    """Whether a layer is the model, or a model in which it occurs."""
    inner = inner_network(layer)
    return layer is model or (
        inner is not None and any(contains(part, model) for part in inner.layers)
    )
