"""Models: graphs of layers from inputs to outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kurve.core import registry, rng
from kurve.core.arguments import check_flag, check_name, is_integer
from kurve.core.entries import entries
from kurve.core.locks import check_unlocked, modifies, reads
from kurve.core.naming import auto_name, unique_name
from kurve.core.overrides import is_own
from kurve.errors import lookup
from kurve.formulas.calls import inferred
from kurve.formulas.tensor import KerasTensor, leaves, replaced
from kurve.layers.base import Layer, Variable, all_layers, assign_all
from kurve.models.calls import Calls
from kurve.training import Trainer
from kurve.training.inputs import check_inputs
from kurve.training.network import Network
from kurve.training.steps import has_own_steps
from kurve.training.structure import Structure


@entries
class Model(Calls):
    """A graph of layers, from one or several inputs to one or several outputs.

    Layers called on symbolic tensors return symbolic tensors; `Model(inputs, outputs)`
    is the graph between them. A layer that is called twice, or used in several models,
    has only one set of weights: what one model learns, the others share. Models can be
    called like layers, inside other models.

    Alternatively, a subclass defines `call`, which computes the outputs for x with
    layers that are attributes of the model:

        class Two(Model):
            def __init__(self):
                super().__init__()
                self.hidden, self.last = Dense(8, "relu"), Dense(1)

            def call(self, x, training=None):
                return self.last(self.hidden(x))

    It is traced on tensors without values when the first x reveals the shapes. Files
    can hold the weights of such a model, but not its code.

    Args:
        inputs: symbolic tensors, as returned by `Input`: one, or a list, tuple or
            dictionary of them.
        outputs: symbolic tensors that depend only on these inputs, in the structure
            that `predict` should return.
        trainable: see the property.
        name: derived from the class by default.

    Raises:
        TypeError: not symbolic tensors.
        ValueError: an output that needs another input, or two layers with the same
            name.

    Example:
        >>> from kurve.layers import Add, Dense
        >>> x = kurve.Input((4,))
        >>> h = Dense(8, "relu")(x)
        >>> y = Dense(1)(Add()([h, Dense(8, "relu")(h)]))
        >>> model = kurve.Model(x, y)
        >>> model.predict(np.zeros((2, 4)), verbose=0).shape
        (2, 1)
    """

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        *,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        where = type(self).__name__
        trainable = check_flag(where, "trainable", trainable)
        own = type(self) is not Model or has_own_steps(type(self))
        if inputs is None and outputs is None and own:
            self._called_later(trainable, name)
            return
        if inputs is None or outputs is None:
            raise TypeError(
                f"[{where}] a model needs inputs and outputs, or a subclass with its "
                f"own call(). Received: inputs={inputs!r}, outputs={outputs!r}. Try "
                "Model(x, y) with x = Input(shape=(1,)) and y = Dense(1)(x)."
            )
        self._start(name)
        structure = Structure(inputs, outputs)
        self._network = Network(rng.next_seed(), trainable, structure)
        self._network.lay_out()

    def _called_later(self, trainable: bool, name: str | None) -> None:
        """Initialize a subclassed model, which is built on the first x."""
        self.ignored = tuple(method for method in self.ignored if method != "call")
        self._start(name)
        self._network = Network(rng.next_seed(), trainable)
        self._network.build_for = self._build_like

    def _trace_call(self, shapes: Any) -> None:
        """Trace call() on symbolic inputs of these shapes, unless already done."""
        network = self._network
        if network.plan is not None or network.build_for is None:
            return
        if not self.has_formula:
            raise NotImplementedError(
                f"[{type(self).__name__}] the model has no call(), which would define "
                "its outputs. Received: a call of the model. "
                "Try def call(self, x): ..., or calling its layers."
            )
        from kurve.models.body import Body, inputs_for

        if self._body is None:
            self._body = Body(self)
        x, compilation = inputs_for(shapes), network.compilation
        network.use(Structure(x, self._body(x)))
        network.lay_out()
        network.set_compilation(compilation)

    @classmethod
    def _of(
        cls,
        structure: Structure | None,
        trainable: bool,
        name: str,
        seed: int | None = None,
    ) -> Any:
        """A model without allocated weights; an empty Sequential if there is no
        structure."""
        model = cls.__new__(cls)
        model._start(name)
        seed = rng.next_seed() if seed is None else seed
        model._network = Network(seed, trainable, structure)
        return model

    def _start(self, name: str | None) -> None:
        """Initialize what all models have, before their network."""
        Trainer.__init__(self)
        where = type(self).__name__
        if name is None:
            name = "functional" if type(self) is Model else None
            self.name = unique_name(name) if name else auto_name(type(self))
        else:
            self.name = check_name(where, name)
        self._inbound_nodes = []
        self._variables = []
        self.given_input_shape = None

    # ---------------------------------------------------------------- structure

    def add_loss(self, loss: Any) -> None:
        """Add a term to the loss: see `Layer.add_loss`. In a functional model it can be
        a symbolic tensor that depends on its inputs.

        Args:
            loss: a tensor; its elements are summed.
        """
        network = self._network
        terms = [leaf for leaf in leaves(loss) if isinstance(leaf, KerasTensor)]
        if not terms or network.structure is None:
            super().add_loss(loss)
            return
        check_unlocked(self, "add_loss")
        old, compilation = network.structure, network.compilation
        network.use(old.with_losses(terms))
        network.lay_out()
        network.set_compilation(compilation)

    @property
    def layers(self) -> list[Layer]:
        """The layers, in the order of their weights; for a subclassed model, those that
        are its attributes."""
        if self._network.build_for is not None:
            return [p for p in super().parts if p is not self._body]
        return list(self._network.layers)

    @property
    def _holders(self) -> list[Any]:
        """The layers that hold the weights: its attributes, if the model has a custom
        training step and call() has not run yet."""
        network = self._network
        if network.plan is None and network.build_for is not None:
            return self.layers
        return network.layers

    @property
    def built(self) -> bool:
        return self._network.plan is not None

    @built.setter
    def built(self, value: bool) -> None:
        """Keras's `build` ends with `self.built = True`; here it has no effect."""

    @property
    def trainable(self) -> bool:
        """Whether training updates the weights. Setting it also sets it for all layers;
        while it is False, no weight is trained, whatever the flags of the layers.

        The first training after `compile` fixes the flags of model and layers. If they
        change later, `fit` requires another `compile`.
        """
        return self._network.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        flag = check_flag("Sequential", "trainable", value)
        self._network.trainable = flag
        for layer in self._holders:
            layer.trainable = flag

    @property
    def inputs(self) -> list[Any]:
        """The symbolic inputs, in a list."""
        return list(self._symbolic("inputs").flat_inputs)

    @property
    def outputs(self) -> list[Any]:
        """The symbolic outputs, in a list."""
        return list(self._symbolic("outputs").flat_outputs)

    @property
    def input(self) -> Any:
        """The symbolic inputs, as passed."""
        return self._symbolic("input").inputs

    @property
    def output(self) -> Any:
        """The symbolic outputs, as passed."""
        return self._symbolic("output").outputs

    def _symbolic(self, name: str) -> Structure:
        structure = self._network.structure
        assert structure is not None, name
        return structure

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, in order."""
        return self._network.input_names

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs, in order: those of the layers that compute them."""
        return self._network.output_names

    @property
    def input_shape(self) -> Any:
        """(None, ...) with the batch axis, in the structure of the inputs."""
        return replaced(self.input, lambda tensor: tensor.shape)

    @property
    def output_shape(self) -> Any:
        """(None, ...) with the batch axis, in the structure of the outputs."""
        return replaced(self.output, lambda tensor: tensor.shape)

    @property
    def built_shape(self) -> Any:  # type: ignore[override]
        """The shape of one sample of the first input; None while it is unknown."""
        return self._network.input_shape

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes of the outputs for inputs of these shapes, with the batch axis."""
        x: Any
        if isinstance(input_shape, dict):
            x = {name: KerasTensor(shape) for name, shape in input_shape.items()}
        elif input_shape and isinstance(input_shape[0], (list, tuple)):
            x = [KerasTensor(shape) for shape in input_shape]
        else:
            x = KerasTensor(input_shape)
        self._build_like(x)
        return replaced(inferred(self.run, (x,), {}), lambda tensor: tensor.shape)

    def build(self, input_shape: Any = None) -> None:
        """Build a subclassed model; functional models are already built.

        Args:
            input_shape: (None, ...), or a list or dictionary of input shapes.
        """
        if input_shape is not None:
            self._trace_call(input_shape)

    def add_weight(self, *args: Any, **kwargs: Any) -> Variable:
        """Add a weight to a subclassed model, see `Layer.add_weight`."""
        if self._network.build_for is None or not self.has_formula:
            raise TypeError(
                f"[{type(self).__name__}] only a model with its own call() has "
                "weights of its own. Received: a call of add_weight. "
                "Try a subclass of Layer with it."
            )
        from kurve.models.body import Body

        if self._body is None:
            self._body = Body(self)
        variable: Variable = self._body.add_weight(*args, **kwargs)
        return variable

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer with that name or index."""
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

    # ---------------------------------------------------------------- weights

    @property
    def variables(self) -> list[Variable]:
        """All variables, including constants."""
        return self._network.variables

    @property
    def weights(self) -> list[Variable]:
        return _unique(all_layers(self._holders), "weights")

    @property
    def trainable_weights(self) -> list[Variable]:
        if not self.trainable:
            return []
        return _unique(self._holders, "trainable_weights")

    @property
    def non_trainable_weights(self) -> list[Variable]:
        if not self.trainable:
            return self.weights
        return _unique(self._holders, "non_trainable_weights")

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @reads
    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, layer by layer: kernel, bias, kernel, ..."""
        self._require_weights("get_weights")
        return [v.numpy() for v in self.weights]

    @modifies
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights, or none if one does not fit.

        Raises:
            RuntimeError: the model is not built.
            ValueError: wrong number or shapes of arrays, or non-finite values.
        """
        self._require_weights("set_weights")
        assign_all(f"model {self.name!r}", self.weights, weights)

    def count_params(self) -> int:
        """Total number of elements in the weights.

        Raises:
            RuntimeError: the model is not built.
        """
        self._require_weights("count_params")
        return sum(layer.count_params() for layer in all_layers(self._holders))

    def _require_weights(self, where: str) -> None:
        holders = self._holders
        if holders is self._network.layers or not all(h.built for h in holders):
            self._network.require_built(where)

    @reads
    def layer_outputs(self, x: Any) -> dict[str, np.ndarray]:
        """The output of every layer for x (n, *input_shape), by layer name, in
        inference mode: float32 (n, *output_shape) each. For a layer called more than
        once, that of the last call.

        Args:
            x: as for `predict`.

        Raises:
            RuntimeError: the model is not built.
            TypeError, ValueError: invalid input.
        """
        self._network.require_built("layer_outputs")
        arrays = check_inputs("layer_outputs", self._network, x)
        plan, _ = self._network.require_built("layer_outputs")  # for unknown sizes
        last = {op.layer: plan.given + i for i, op in enumerate(plan.ops)}
        inputs = arrays if isinstance(arrays, tuple) else (arrays,)
        values = self._network.values(last.values(), inputs)
        return {layer: values[v] for layer, v in last.items()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    # ---------------------------------------------------------------- copies

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` recreates the model without its
        weights. For a subclassed model, its name; a class whose __init__ has other
        arguments must add them."""
        from kurve.models.configs import functional_config

        if self._network.build_for is not None:
            return {"name": self.name, "trainable": self.trainable}
        return functional_config(self)

    def _own_entry(self) -> dict[str, Any]:
        """Class and configuration of a subclassed model; null if it adds nothing to the
        graph around its call."""
        cls, config = type(self), None
        if is_own(cls) and cls.get_config is not Model.get_config:
            config = self.get_config()
            config.pop("layers", None)
        return {"class_name": cls.__name__, "config": config}

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        custom_objects: Mapping[str, type] | None = None,
    ) -> Any:
        """A new model from `get_config`.

        Args:
            custom_objects: custom classes by name.
        """
        from kurve.models.config_reader import (
            GRAPH_KEYS,
            built,
            construct,
            model_from,
        )

        if "layers" not in config and is_own(cls):
            return construct(cls.__new__(cls), config)
        more = {}
        if is_own(cls):  # what a get_config of its own adds
            more = {key: config[key] for key in config if key not in GRAPH_KEYS}
            config = {key: config[key] for key in config if key in GRAPH_KEYS}
        with registry.custom_objects(custom_objects):
            model = model_from(config)
        structure = model._network.structure
        if structure is None:
            return built(model)
        return cls(
            inputs=structure.inputs,
            outputs=structure.outputs,
            trainable=model.trainable,
            name=model.name,
            **more,
        )

    def to_json(self) -> str:
        """The configuration as text, for `kurve.models.model_from_json`; of a
        subclassed model, the graph around its call.

        Raises:
            RuntimeError: a subclassed model that was not called yet.
        """
        import json

        from kurve.models.configs import serialize_operation

        if self._network.build_for is not None:
            self._network.require_built("to_json")
        return json.dumps(serialize_operation(self))

    def clone(self) -> Any:
        """A new model with the same layers and `compile`, if any, and new initial
        weights. What training does not change (the mean and variance of
        `Normalization`) is copied."""
        from kurve.models import cloning

        return cloning.clone(self)

    @reads
    def __getstate__(self) -> dict[str, Any]:
        """For `pickle` and `copy.deepcopy`: configuration, weights, `compile`, the
        optimizer's slots, and the numbers in the history."""
        from kurve.models import cloning

        return cloning.snapshot(self)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        from kurve.models import cloning

        cloning.restore(self, state)


def _unique(layers: Sequence[Any], attribute: str) -> list[Variable]:
    """The weights of layers, without duplicates."""
    found = {id(v): v for layer in layers for v in getattr(layer, attribute)}
    return list(found.values())
