"""A stack of layers, with Keras's conventions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kurve import layers as layer_classes
from kurve.core import registry, rng
from kurve.core.arguments import check_flag, check_name, is_integer
from kurve.core.entries import entries
from kurve.core.locks import (
    check_readable,
    check_unlocked,
    modifies,
    reads,
)
from kurve.core.naming import auto_name
from kurve.core.overrides import refuse_overrides
from kurve.data import as_samples
from kurve.errors import WrongKindError, lookup
from kurve.layers.base import (
    Layer,
    Variable,
    assign_all,
    check_batch_shape,
    check_shape,
)
from kurve.layers.core import InputLayer
from kurve.models.facade import Facade
from kurve.plan import Plan
from kurve.training.network import Network


@entries
class Sequential(Facade):
    """A stack of layers: each one's output is the next one's input.

    The weights are created as soon as the input's shape is known: from `Input` or
    `input_shape=` of the first layer, from `build`, or from the data passed to `fit`.

    Args:
        layers: layers to add; an `Input` may come first.
        trainable: see the property.
        name: by default from the class.

    Raises:
        TypeError, ValueError: something other than a layer, or a bad name.

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

    def __init__(
        self,
        layers: Sequence[Layer] | None = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if layers is not None and not isinstance(layers, Iterable):
            raise WrongKindError(
                "[Sequential] layers must be a list. "
                f"Received: {layers!r}. Try Sequential([Input(shape=(1,)), Dense(1)])."
            )
        self.name = (
            auto_name(type(self)) if name is None else check_name("Sequential", name)
        )
        trainable = check_flag("Sequential", "trainable", trainable)
        self._network = Network(rng.next_seed(), trainable)
        for layer in layers or []:
            self.add(layer)

    # ---------------------------------------------------------------- structure

    @property
    def layers(self) -> list[Layer]:
        """The layers, without `Input`."""
        return list(self._network.layers)

    @property
    def built(self) -> bool:
        return self._network.plan is not None

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights. Setting it also sets it for all layers;
        while it is False, no weight is trained, whatever the layers say.

        The first training after `compile` fixes the flags of model and layers. If they
        change later, `fit` asks for another `compile`.
        """
        return self._network.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        flag = check_flag("Sequential", "trainable", value)
        self._network.trainable = flag
        for layer in self._network.layers:
            layer.trainable = flag

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the batch axis. Undefined before the model is built."""
        return (None, *self._shapes("input_shape").input_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the batch axis. Undefined before the model is built."""
        return (None, *self._shapes("output_shape").output_shape)

    def _shapes(self, name: str) -> Plan:
        plan = self._network.plan
        if plan is None:
            raise AttributeError(
                f"[Sequential] the model has no {name} yet, because it is not built. "
                f"Received: {self!r}. Try Input(shape=(1,)) as first layer."
            )
        return plan

    def add(self, layer: Layer) -> None:
        """Append a layer.

        Raises:
            TypeError: not a layer.
            ValueError: a name that is taken, an `Input` that is not the first, or a
                layer that does not fit (see `build`).
            ModelBusyError: during training.
        """
        check_unlocked(self, "add")
        if not isinstance(layer, Layer):
            raise WrongKindError(
                "[Sequential] only layers can be added. "
                f"Received: {layer!r} of type {type(layer).__name__}. Try Dense(1)."
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
            return
        if any(layer.name == other.name for other in network.layers):
            raise ValueError(
                "[Sequential] layers must have different names. "
                f"Received: a second {layer.name!r}. Try name='{layer.name}_2'."
            )
        old_shape = network.input_shape
        if old_shape is None and not network.layers:
            network.input_shape = layer.given_input_shape or layer.built_shape
        network.layers.append(layer)
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
        return self._network.pop()

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Create the weights. Does nothing if the model is built.

        Args:
            input_shape: with the batch axis: (None, 3) for three features.

        Raises:
            ValueError: there are no layers, the input shape is missing or differs, a
                layer does not fit, or belongs to another model. Model and layers are
                unchanged.
        """
        check_readable(self, "build")
        network = self._network
        sample = network.input_shape
        if input_shape is not None:
            sample = check_shape(Sequential, tuple(input_shape)[1:])
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

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name or index."""
        layers = self._network.layers
        if index is not None:
            n = len(layers)
            if not is_integer(index) or not -n <= index < n:
                raise ValueError(
                    f"[get_layer] index must be an integer from {-n} to {n - 1}, for "
                    f"the {n} layers. Received: index={index!r}. Try model.layers."
                )
            return layers[index]
        layer: Layer = lookup(
            "get_layer", "layer", name, {layer.name: layer for layer in layers}
        )
        return layer

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Shape of the output for inputs of this shape, (B, ...) or (None, ...), the
        batch axis as given. Builds nothing."""
        batch, sample = check_batch_shape(Sequential, input_shape)
        shape: Sequence[int | None] = sample
        for layer in self._network.layers:
            _, *shape = layer.compute_output_shape((None, *shape))
        return (batch, *shape)

    # ---------------------------------------------------------------- weights

    @property
    def variables(self) -> list[Variable]:
        """All variables, constants included."""
        return self._network.variables

    @property
    def weights(self) -> list[Variable]:
        return [v for layer in self._network.layers for v in layer.weights]

    @property
    def trainable_weights(self) -> list[Variable]:
        if not self.trainable:
            return []
        return [v for layer in self._network.layers for v in layer.trainable_weights]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        if not self.trainable:
            return self.weights
        return [
            v for layer in self._network.layers for v in layer.non_trainable_weights
        ]

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @reads
    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, layer after layer: kernel, bias, kernel, ..."""
        self._network.require_built("get_weights")
        return [v.numpy() for v in self.weights]

    @modifies
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights, or none if one does not fit.

        Raises:
            RuntimeError: the model is not built.
            ValueError: another number of arrays, another shape, or not finite.
        """
        self._network.require_built("set_weights")
        assign_all(f"model {self.name!r}", self.weights, weights)

    def count_params(self) -> int:
        """Number of weights' elements.

        Raises:
            RuntimeError: the model is not built.
        """
        self._network.require_built("count_params")
        return sum(layer.count_params() for layer in self._network.layers)

    @reads
    def layer_outputs(self, x: Any) -> dict[str, np.ndarray]:
        """The output of every layer for x (n, *input_shape), by the layer's name, in
        inference mode: float32 (n, *output_shape) each. The last one is `predict(x)`.

        Raises:
            RuntimeError: the model is not built.
            TypeError, ValueError: bad input.
        """
        plan, state = self._network.require_built("layer_outputs")
        x = as_samples("layer_outputs", "x", x, plan.input_shape, keep_bytes=True)
        engine, outputs = self._network.chosen_engine(), {}
        for i, op in enumerate(plan.ops):
            x = engine.compile(plan.part(i, i + 1)).predict(state, x)
            outputs[op.layer] = x
        return outputs

    def __repr__(self) -> str:
        return f"<Sequential name={self.name}, built={self.built}>"

    # ---------------------------------------------------------------- copies

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` makes an equal model without its
        weights."""
        network = self._network
        shape = network.input_shape
        return {
            **({} if network.trainable else {"trainable": False}),
            "name": self.name,
            "input_shape": None if shape is None else list(shape),
            "layers": [layer_classes.serialize(layer) for layer in network.layers],
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
        with registry.custom_objects(custom_objects):
            layers = [layer_classes.deserialize(entry) for entry in config["layers"]]
        model = cls(name=config["name"], trainable=config.get("trainable", True))
        model._put(config["input_shape"], layers)
        return model

    def _put(self, input_shape: Sequence[int] | None, layers: list[Layer]) -> None:
        """Set all layers, and build them if the input shape is known."""
        self._network.put(input_shape, layers)
        if layers and self._network.input_shape is not None:
            self.build()

    def clone(self) -> Sequential:
        """A new model with the same layers and, if there is one, `compile`, and with
        other initial weights. What no training changes (the mean and variance of
        `Normalization`) is copied."""
        from kurve.models import cloning

        return cloning.clone(self)

    @reads
    def __getstate__(self) -> dict[str, Any]:
        """For `pickle` and `copy.deepcopy`: configuration, weights, `compile` and the
        optimizer's vectors. Of the history, the numbers."""
        from kurve.models import cloning

        return cloning.snapshot(self)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        from kurve.models import cloning

        cloning.restore(self, state)
