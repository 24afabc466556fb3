"""Layers in a row, with Keras's conventions."""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import layers as layer_classes
from kurve.callbacks import History
from kurve.core import registry, rng
from kurve.core.arguments import check_flag, check_name, is_integer
from kurve.core.entries import entries
from kurve.core.locks import (
    check_readable,
    check_still_readable,
    check_unlocked,
    modifies,
    reads,
)
from kurve.core.naming import auto_name
from kurve.core.overrides import refuse_overrides
from kurve.data import as_samples
from kurve.engines import State, aligned_zeros
from kurve.errors import WrongKindError, lookup
from kurve.layers.base import (
    Layer,
    Variable,
    assign_all,
    check_batch_shape,
    check_shape,
    lower,
)
from kurve.layers.core import InputLayer
from kurve.models.files import format_of
from kurve.plan import Plan, Shape
from kurve.training import Trainer

if TYPE_CHECKING:
    from kurve.diagnosis.report import Diagnosis


@entries
class Sequential(Trainer):
    """Layers in a row: each one's output is the next one's input.

    The weights are made as soon as the input's shape is known: from `Input` or
    `input_shape=` of the first layer, from `build`, or from the data given to `fit`.

    Args:
        layers: layers to add; an `Input` may come first.
        trainable: see the property.
        name: made from the class if None.

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
        self._trainable = check_flag("Sequential", "trainable", trainable)
        self._layers: list[Layer] = []
        self._input_shape: Shape | None = None
        self._seed = rng.next_seed()
        for layer in layers or []:
            self.add(layer)

    # ---------------------------------------------------------------- structure

    @property
    def layers(self) -> list[Layer]:
        """The layers, without `Input`."""
        return list(self._layers)

    @property
    def built(self) -> bool:
        return self._plan is not None

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights. Setting it sets that of all layers too;
        while it is False, no weight is trained, whatever the layers say.

        The first training after `compile` takes the flags of model and layers as they
        are then. Where they have changed since, `fit` asks for another `compile`.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = check_flag("Sequential", "trainable", value)
        for layer in self._layers:
            layer.trainable = self._trainable

    def _trainable_flags(self) -> list[bool]:
        return [self._trainable, *[layer.trainable for layer in self._layers]]

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the batch axis. There is none before the model is built."""
        return (None, *self._shapes("input_shape").input_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the batch axis. There is none before the model is built."""
        return (None, *self._shapes("output_shape").output_shape)

    def _shapes(self, name: str) -> Plan:
        if self._plan is None:
            raise AttributeError(
                f"[Sequential] the model has no {name} yet, because it is not built. "
                f"Received: {self!r}. Try Input(shape=(1,)) as first layer."
            )
        return self._plan

    def add(self, layer: Layer) -> None:
        """Put a layer at the end.

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
        if isinstance(layer, InputLayer):
            if self._layers or self._input_shape is not None:
                raise ValueError(
                    "[Sequential] Input must be the first layer. Received: Input after "
                    f"{len(self._layers)} layers. Try a new model that begins with it."
                )
            self._input_shape = layer.given_input_shape
            return
        if any(layer.name == other.name for other in self._layers):
            raise ValueError(
                "[Sequential] layers must have different names. "
                f"Received: a second {layer.name!r}. Try name='{layer.name}_2'."
            )
        before = self._input_shape
        if before is None and not self._layers:
            self._input_shape = layer.given_input_shape or layer.built_shape
        self._layers.append(layer)
        if self._input_shape is not None:
            try:
                if self.built:
                    self._rebuild(self._input_shape)
                else:
                    self.build((None, *self._input_shape))
            except (TypeError, ValueError):
                self._layers.pop()
                self._input_shape = before
                raise

    def pop(self) -> Layer:
        """Take the last layer away and return it."""
        check_unlocked(self, "pop")
        if not self._layers:
            raise IndexError("[Sequential] there is no layer to pop.")
        layer = self._layers.pop()
        if self._state is not None:
            layer.leave(self._state.params, self._state.buffers)
        if self._layers and self.built:
            self._rebuild(self._shapes("input_shape").input_shape)
        elif not self._layers:
            self._plan = self._state = self._program = None
        return layer

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the weights. Of a model that is built, nothing changes.

        Args:
            input_shape: with the batch axis: (None, 3) for three features.

        Raises:
            ValueError: no layers, no or another input shape, layers that do not fit, or
                a layer whose trained weights lie in another model already. Model and
                layers stay as they were.
        """
        check_readable(self, "build")
        sample = self._input_shape
        if input_shape is not None:
            sample = check_shape(Sequential, tuple(input_shape)[1:])
            if self._input_shape not in (None, sample):
                raise ValueError(
                    f"[build] the model's samples have shape {self._input_shape}. "
                    f"Received: {sample}. Try a new model."
                )
        if not self._layers or sample is None:
            what = "layers" if not self._layers else "an input shape"
            raise ValueError(
                f"[build] the model needs {what}. Received: {self!r}. "
                "Try Sequential([Input(shape=(1,)), Dense(1)])."
            )
        if not self.built:
            self._rebuild(sample)

    def _rebuild(self, sample: Shape) -> None:
        """Give all layers their place in flat vectors, and those that have none yet
        initial weights; the optimizer starts anew."""
        fresh = [layer for layer in self._layers if not layer.built]
        try:
            self._declare(sample)
            self._lay_out(sample)
        except (TypeError, ValueError):
            for layer in fresh:
                layer.unbuild()
            raise

    def _declare(self, input_shape: Shape) -> None:
        """Let the layers say which variables they have, which take no memory yet."""
        shape = input_shape
        for layer in self._layers:
            layer.build((None, *shape))
            shape = layer.output_sample_shape(shape)
            layer.check_owner(self)

    def _lay_out(self, input_shape: Shape, values: bool = True) -> None:
        """Move all variables into two flat vectors; those without a value get one.

        Args:
            values: False if the caller writes all weights itself.
        """
        plan, params, buffers = lower(self._layers, input_shape, self._trainable)
        state = State(
            aligned_zeros((plan.params_size,)),
            aligned_zeros((plan.buffers_size,)),
            aligned_zeros((0, plan.params_size)),
            np.zeros(0),
            0,
            self._seed,
        )
        stream = {id(v): i for i, v in enumerate(self.variables)}
        views = []
        for vector, slots, variables in (
            (state.params, plan.params, params),
            (state.buffers, plan.buffers, buffers),
        ):
            for slot, variable in zip(slots, variables, strict=True):
                view = vector[slot.offset : slot.end].reshape(slot.shape)
                if values or variable.role == "constant":
                    variable.write_to(view, self._seed, stream[id(variable)])
                views.append((variable, view))
        before = None if self._state is None else self._state.buffers
        for variable, view in views:  # only now: an initializer may refuse a shape
            variable.bind(view, before)
        self._plan, self._state, self._program = plan, state, None
        self._planned, self._trained = self._trainable_flags(), None
        self._input_shape = input_shape
        for layer in self._layers:
            layer.owner = weakref.ref(self)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name or index."""
        if index is not None:
            n = len(self._layers)
            if not is_integer(index) or not -n <= index < n:
                raise ValueError(
                    f"[get_layer] index must be an integer from {-n} to {n - 1}, for "
                    f"the {n} layers. Received: index={index!r}. Try model.layers."
                )
            return self._layers[index]
        layer: Layer = lookup(
            "get_layer", "layer", name, {layer.name: layer for layer in self._layers}
        )
        return layer

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Shape of the output for inputs of this shape, (B, ...) or (None, ...), the
        batch axis as given. Builds nothing."""
        batch, sample = check_batch_shape(Sequential, input_shape)
        shape: Sequence[int | None] = sample
        for layer in self._layers:
            _, *shape = layer.compute_output_shape((None, *shape))
        return (batch, *shape)

    def _on_compile(self) -> None:
        """Plan with the flags `trainable` as they are now."""
        if self._plan is not None:
            shape = self._plan.input_shape
            self._plan = lower(self._layers, shape, self._trainable)[0]
            self._planned = self._trainable_flags()

    # ---------------------------------------------------------------- weights

    @property
    def variables(self) -> list[Variable]:
        """All variables, constants included."""
        return [v for layer in self._layers for v in layer.variables]

    @property
    def weights(self) -> list[Variable]:
        return [v for layer in self._layers for v in layer.weights]

    @property
    def trainable_weights(self) -> list[Variable]:
        if not self._trainable:
            return []
        return [v for layer in self._layers for v in layer.trainable_weights]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        if not self._trainable:
            return self.weights
        return [v for layer in self._layers for v in layer.non_trainable_weights]

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @reads
    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, layer after layer: kernel, bias, kernel, ..."""
        self._built("get_weights")
        return [v.numpy() for v in self.weights]

    @modifies
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights, or none if one does not fit.

        Raises:
            RuntimeError: the model is not built.
            ValueError: another number of arrays, another shape, or not finite.
        """
        self._built("set_weights")
        assign_all(f"model {self.name!r}", self.weights, weights)

    def count_params(self) -> int:
        """Number of weights' elements.

        Raises:
            RuntimeError: the model is not built.
        """
        self._built("count_params")
        return sum(layer.count_params() for layer in self._layers)

    @reads
    def layer_outputs(self, x: Any) -> dict[str, np.ndarray]:
        """The output of every layer for x (n, *input_shape), by the layer's name, in
        inference mode: float32 (n, *output_shape) each. The last one is `predict(x)`.

        Raises:
            RuntimeError: the model is not built.
            TypeError, ValueError: bad input.
        """
        plan, state = self._built("layer_outputs")
        x = as_samples("layer_outputs", "x", x, plan.input_shape, keep_bytes=True)
        outputs = {}
        for i, op in enumerate(plan.ops):
            x = self.ready_engine().compile(plan.part(i, i + 1)).predict(state, x)
            outputs[op.layer] = x
        return outputs

    # ---------------------------------------------------------------- looks

    def diagnose(
        self, x: Any, y: Any, validation_data: Sequence[Any] | None = None
    ) -> Diagnosis:
        """What is wrong with the fit, if anything: `print(model.diagnose(x, y))`.

        See `kurve.diagnosis.diagnose`. Changes nothing.

        Args:
            x, y: the data of `fit`.
            validation_data: (x, y) that the model was not trained with.
        """
        from kurve.diagnosis import diagnose

        return diagnose(self, x, y, validation_data)

    def summary(self, line_length: int | None = None, print_fn: Any = None) -> None:
        """Print a table of the layers, their output shapes and numbers of weights.

        Args:
            line_length: characters in a line; None is as many as the table needs.
            print_fn: called with the text instead of `print`.
        """
        from kurve.models.summary import summary_text

        (print_fn or print)(summary_text(self, line_length))

    def _repr_html_(self) -> str:
        from kurve.models.summary import summary_html

        return summary_html(self)

    def __repr__(self) -> str:
        return f"<Sequential name={self.name}, built={self.built}>"

    # ---------------------------------------------------------------- files

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs to make an equal model without weights."""
        flag = {} if self._trainable else {"trainable": False}
        return {
            **flag,
            "name": self.name,
            "input_shape": None if self._input_shape is None else [*self._input_shape],
            "layers": [layer_classes.serialize(layer) for layer in self._layers],
        }

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        custom_objects: Mapping[str, type] | None = None,
    ) -> Sequential:
        """A new model from `get_config`.

        Args:
            custom_objects: classes of one's own by name.
        """
        with registry.custom_objects(custom_objects):
            made = [layer_classes.deserialize(entry) for entry in config["layers"]]
        model = cls(name=config["name"], trainable=config.get("trainable", True))
        model._put(config["input_shape"], made)
        if made and model._input_shape is not None:
            model.build()
        return model

    def _put(self, input_shape: Sequence[int] | None, layers: Sequence[Layer]) -> None:
        """Take in all layers of an empty model at once, to be built then."""
        taken: set[str] = set()
        for layer in layers:
            refuse_overrides("Sequential", layer)
            if layer.name in taken:
                raise ValueError(
                    "[Sequential] layers must have different names. "
                    f"Received: {layer.name!r} twice."
                )
            taken.add(layer.name)
        if input_shape is not None:
            self._input_shape = check_shape(InputLayer, input_shape)
        elif layers:
            self._input_shape = layers[0].given_input_shape or layers[0].built_shape
        self._layers = list(layers)

    def clone(self) -> Sequential:
        """A model with the same layers and, if there is one, `compile`, and with
        initial weights of its own. What no training changes (the mean and variance of
        `Normalization`) is copied."""
        with registry.collect_custom() as own:
            config = self.get_config()
        twin = Sequential.from_config(config, own)
        for mine, its in zip(self._layers, twin._layers, strict=True):
            if mine.built and not its.built:
                its.build(mine.input_shape or ())
            for variable, other in zip(mine.variables, its.variables, strict=True):
                if variable.role == "buffer":
                    other.assign(variable.value)
        given = self._compilation
        if given is not None:
            twin.compile(
                copy.deepcopy(given.optimizer),
                given.loss,
                metrics=[metric for metric, weighted in given.metrics if not weighted],
                weighted_metrics=[
                    metric for metric, weighted in given.metrics if weighted
                ],
                engine=given.engine,
            )
        return twin

    @reads
    def __getstate__(self) -> dict[str, Any]:
        """What `pickle` and `copy.deepcopy` take: configuration, weights, `compile` and
        the optimizer's vectors. Of the history, the numbers."""
        state = self._state
        with registry.collect_custom() as own:
            config = self.get_config()
        return {
            "config": config,
            "custom_objects": own,
            "seed": self._seed,
            "layers": [
                (layer.built_shape, [v.numpy() for v in layer.variables])
                for layer in self._layers
            ],
            "compiled": self._compilation,
            "training": None
            if state is None
            else (state.seed, state.step, state.slots.copy(), state.scalars.copy()),
            "history": None
            if self.history is None
            else (list(self.history.epoch), dict(self.history.history)),
        }

    def __setstate__(self, given: Mapping[str, Any]) -> None:
        Trainer.__init__(self)
        config = given["config"]
        self.name, self._layers, self._input_shape = config["name"], [], None
        self._trainable = config.get("trainable", True)
        self._seed = given["seed"]
        with registry.custom_objects(given["custom_objects"]):
            layers = [layer_classes.deserialize(entry) for entry in config["layers"]]
        for layer, (shape, values) in zip(layers, given["layers"], strict=True):
            if shape is not None:
                layer.build((None, *shape))
            for variable, value in zip(layer.variables, values, strict=True):
                variable.assign(value)
        self._put(config["input_shape"], layers)
        if layers and self._input_shape is not None:
            self.build()
        self._take_up(given["compiled"])
        if given["training"] is not None and self._state is not None:
            seed, step, slots, scalars = given["training"]
            self._seed, self._state.step = seed, step
            self._state.slots = aligned_zeros(slots.shape)
            self._state.slots[...] = slots
            self._state.scalars = scalars.copy()
        if given["history"] is not None:
            self.history = History()
            self.history.epoch, self.history.history = given["history"]
            self.history.set_model(self)

    @reads
    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write configuration, weights and optimizer to a file ending in .kurve, or in
        .keras or .h5 for Keras.

        Args:
            filepath: of the file.

        Raises:
            ValueError: another ending; or Keras does not have something of the model.
        """
        format_of("save", filepath).save_model(self, filepath)

    def export(
        self, filepath: str | os.PathLike[str], format: str | None = None
    ) -> None:
        """Write the model for programs without Kurve: an ONNX model or a C file. See
        `kurve.exchange.export.export`.

        Args:
            filepath: ends in .onnx or .c.
            format: "onnx" or "c", where the ending does not say so.

        Raises:
            RuntimeError: the model is not built.
            ValueError: another ending, or an operation that the format does not know.
            ImportError: onnx is not installed.
        """
        from kurve.exchange.export import export

        lock = check_readable(self, "export")
        export(self, filepath, format)
        check_still_readable(self, "export", lock)

    @reads
    def save_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Write the weights to a file ending in .weights.kurve, or in .weights.h5 for
        Keras.

        Args:
            filepath: of the file.
        """
        format_of("save_weights", filepath).save_weights(self, filepath)

    @modifies
    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Read the weights from a file that `save_weights` or `save` wrote, or Keras.

        Args:
            filepath: of the file.

        Raises:
            ModelFileError: the file is damaged or does not fit; the model keeps its
                weights.
        """
        format_of("load_weights", filepath).load_weights(self, filepath)
