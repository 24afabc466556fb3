"""The base class of all layers, and their variables."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from kurve import activations, initializers, regularizers
from kurve.core import rng
from kurve.core.arguments import (
    TypedDict,
    check_flag,
    check_name,
    is_count,
    is_integer,
    refuse_arguments,
)
from kurve.core.arrays import as_numbers
from kurve.core.entries import Entrance, entries, entry
from kurve.core.naming import auto_name
from kurve.core.overrides import refuse_overrides
from kurve.formulas.calls import TRIALS, graph_of, inferred
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.tensor import KerasTensor, Node, leaves, replaced
from kurve.layers.variable import Variable as Variable
from kurve.plan import Op, Plan, Shape, VariableSpec, aligned
from kurve.regularizers import L1L2

MOST_ELEMENTS = 2**48
"""Of one variable or of one sample: far more than any memory holds."""

UNSAID: Any = object()
"""Marks an argument that was not given."""


class UnusedArguments(TypedDict, total=False):
    """Keras's arguments of every layer that do nothing here."""

    dtype: str | None
    autocast: bool
    activity_regularizer: None


class NamedArguments(UnusedArguments, total=False):
    """Arguments of layers that say themselves whether they are trainable."""

    name: str | None
    input_shape: Sequence[int] | int | None


class LayerArguments(NamedArguments, total=False):
    """Arguments of every layer."""

    trainable: bool


@entries
class Layer(Entrance):
    """Base class of the layers: arguments, variables, shapes and operations.

    A custom layer overrides `lower` and, where they apply, `make_variables` and
    `output_sample_shape`.

    Args:
        name: unique in a model; made from the class if None.
        trainable: whether training changes the weights.
        input_shape: shape of one sample, for the first layer of a model.

    Raises:
        TypeError, ValueError: an unknown argument, or a bad value.
    """

    ignored = (
        "__call__",
        "compute_output_shape",
        "compute_output_spec",
        "compute_mask",
    )
    instead = (
        "a layer of kurve.layers, or a custom one with lower() and make_variables()"
    )

    arguments: tuple[str, ...] = ()
    """Attributes for `get_config`, by their names in `__init__`."""

    unused = tuple(UnusedArguments.__annotations__)
    """Keras's arguments that do nothing here, see `kurve.core.arguments.UNUSED`."""

    training_by_default = False
    """`training` in a call without it."""

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | int | None = None,
        **unknown: Any,
    ) -> None:
        refuse_arguments(type(self), unknown)
        where = type(self).__name__
        self.name = auto_name(type(self)) if name is None else check_name(where, name)
        self.trainable = trainable
        self.given_input_shape = (
            None if input_shape is None else check_shape(type(self), input_shape)
        )
        self.built_shape: Shape | None = None
        self._variables: list[Variable] = []
        self._inbound_nodes: list[Node] = []
        # The stack that it is in, which calls it when its input or output is asked for.
        self._stack: Any = None

    def build(self, input_shape: Sequence[Any]) -> None:
        """Make the variables for inputs of this shape, (None, ...) with the batch axis.

        Args:
            input_shape: of the input; of several inputs, a list of shapes. Axes may be
                None if the weights do not depend on them.

        Raises:
            ValueError: a shape that the layer cannot take, or has no weights for.
        """
        several = bool(input_shape) and isinstance(input_shape[0], (tuple, list))
        shapes = list(input_shape) if several else [input_shape]
        samples = [check_batch_shape(type(self), shape)[1] for shape in shapes]
        self._build(samples if several else samples[0])

    def _build(self, samples: Any) -> None:
        """Make the variables for a sample's shape, or for those of several inputs."""
        if self.built:
            self.check_input(samples)
        else:
            shapes = [known(samples, sizes) for sizes in trials(samples)]
            try:
                for shape in shapes:
                    made, self._variables = self._variables, []
                    self.make_variables(shape)
                    if made and [v.shape for v in made] != [
                        v.shape for v in self._variables
                    ]:
                        raise ValueError(
                            f"[{type(self).__name__}] the weights of {self.name!r} "
                            "depend on an axis whose size is unknown. Received: "
                            f"samples of shape {samples}. Try an Input with that size."
                        )
            except (TypeError, ValueError):
                self.unbuild()
                raise
        if isinstance(samples, tuple) and None not in samples:
            check_size(type(self), "output", self.output_sample_shape(samples))
        self.built_shape = samples

    def leave(self, network: Any) -> None:
        """Leave a model, with the weights."""
        for variable in self._variables:
            variable.leave(network)

    def unbuild(self) -> None:
        """Drop the variables, after the model could not be built."""
        self.built_shape, self._variables = None, []

    def make_variables(self, input_shape: Shape) -> None:
        """Call `add_weight` for each variable; `input_shape` is that of one sample."""
        self.output_sample_shape(input_shape)  # refuses a wrong shape

    def check_input(self, input_shape: Shape) -> None:
        """Refuse samples that do not fit the layer's variables. A layer without any
        takes what a new one would."""
        self.output_sample_shape(known(input_shape, TRIALS[0]))
        if self._variables and not same_shape(input_shape, self.built_shape):
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} was built for samples of "
                f"shape {self.built_shape}. Received: {input_shape}. Try a new layer."
            )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample."""
        if not self.has_formula:
            return input_shape
        out = self._inferred(input_shape)
        if not isinstance(out, KerasTensor):
            raise TypeError(
                f"[{type(self).__name__}] the layer has no single output. "
                f"Received: {out!r}. Try layer(x) with Input(...) as x."
            )
        shape: Any = out.sample
        return shape

    def _inferred(self, samples: Any) -> Any:
        """The symbolic output for inputs of these shapes."""
        several = isinstance(samples, list)
        tensors = [KerasTensor((None, *s)) for s in (samples if several else [samples])]
        return inferred(self.run, (tensors if several else tensors[0],), {})

    @property
    def has_formula(self) -> bool:
        """Whether it is written as a formula, `call`."""
        return type(self).call is not Layer.call

    def call(self, x: Any, **kwargs: Any) -> Any:
        """The formula of the layer, in functions of `kurve.ops`: a subclass may have
        one in place of `lower`."""
        graph = graph_of(x)
        assert graph is not None
        return graph.lowered(self, graph.as_tensor(x))

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The output for tensors of a plan under construction, to which the layer's
        operations are appended."""
        graph = graph_of(args, kwargs)
        assert graph is not None
        if not self.has_formula:
            if self._variables:
                self.check_input(args[0].sample)
            return self.call(*args)
        if not takes(self.call, "training"):
            kwargs.pop("training", None)
        with graph.within(self):
            return self.call(*args, **kwargs)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        """The operations of this layer.

        Args:
            input_shape: of one sample.
            slots: position of each variable, by its short name.
            index: number of the layer in the model (the key of random streams).
        """
        raise NotImplementedError(
            f"[{type(self).__name__}] a layer must say which operations it is made of, "
            f"by lower(). Received: {self!r}. Try {self.instead}."
        )

    def add_weight(
        self,
        name: str,
        shape: Shape,
        initializer: initializers.Initializer,
        role: str = "param",
        regularizer: L1L2 | None = None,
    ) -> Variable:
        """Declare a variable."""
        check_size(type(self), name, shape)
        variable = Variable(
            f"{self.name}/{name}", shape, initializer, role, regularizer
        )
        self._variables.append(variable)
        return variable

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Shape (B, ...) of the output for an input (B, ...); B may be None."""
        batch, sample = check_batch_shape(type(self), input_shape)
        return (batch, *self._output_sample(sample))

    def _output_sample(self, sample: Any) -> tuple[int | None, ...]:
        """Shape of one output sample; sizes that depend on unknown ones are None."""
        if None not in sample:
            return self.output_sample_shape(sample)
        shapes = [self.output_sample_shape(known(sample, t)) for t in trials(sample)]
        return tuple(a if a == b else None for a, b in zip(*shapes, strict=True))

    @property
    def built(self) -> bool:
        return self.built_shape is not None

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights."""
        return self._trainable

    @trainable.setter
    @entry
    def trainable(self, value: bool) -> None:
        self._trainable = check_flag(type(self).__name__, "trainable", value)

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        return None if self.built_shape is None else (None, *self.built_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...] | None:
        if self.built_shape is None:
            return None
        return (None, *self._output_sample(self.built_shape))

    @property
    def variables(self) -> list[Variable]:
        """All variables, including constants."""
        return list(self._variables)

    @property
    def weights(self) -> list[Variable]:
        return [v for v in self._variables if v.role != "constant"]

    @property
    def trainable_weights(self) -> list[Variable]:
        return [v for v in self.weights if v.role == "param" and self.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        return [v for v in self.weights if v.role != "param" or not self.trainable]

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def count_params(self) -> int:
        """Number of elements of all weights."""
        return sum(v.value.size for v in self.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights; if one does not fit, none.

        Raises:
            ValueError: another number of arrays, or another shape.
        """
        assign_all(f"layer {self.name!r}", self.weights, weights)

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal layer, in the types of JSON."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        if self.given_input_shape is not None:
            config["input_shape"] = list(self.given_input_shape)
        for name in self.arguments:
            config[name] = _plain(getattr(self, name))
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a `get_config`. Classes in it come from closed tables."""
        arguments = dict(config)
        for name, value in config.items():
            if isinstance(value, Mapping) and "class_name" in value:
                penalty = name.endswith("_regularizer")
                kind = regularizers if penalty else initializers
                arguments[name] = kind.deserialize(value)
        return cls(**arguments)

    @entry
    def __call__(
        self, x: Any, *others: Any, training: bool | None = UNSAID, mask: None = None
    ) -> Any:
        """The layer's output for a batch x (B, ...), by the reference engine; or, for a
        symbolic tensor, the symbolic output.

        Args:
            x: (B, ...), or a `KerasTensor`, such as `Input` gives; a list of them for
                layers of several inputs.
            others: further inputs, for layers that take them.
            mask: refused.
            training: whether the layer acts as in training; None is False. The default
                is True for layers that move images, and False for the others.

        Raises:
            TypeError: arguments that the layer does not take.
        """
        where = type(self).__name__
        refuse_overrides(where, self)
        if (others and not self.has_formula) or mask is not None:
            raise TypeError(
                f"[{where}] a layer is called with x alone and, by name, training; "
                "there are no masks. Received: "
                f"{'a mask' if mask is not None else f'{1 + len(others)} arguments'}. "
                "Try layer(x, training=True)."
            )
        args = (x, *others)
        for leaf in leaves(args):
            if isinstance(leaf, KerasTensor):
                return self._symbolic_call(args, training)
            if isinstance(leaf, Tensor):
                self._build_for(args)
                return self.run(*args)
        refuse_layers(where, x)
        if training is UNSAID:
            training = self.training_by_default
        training = training is not None and check_flag(where, "training", training)
        return self._eager_call(args, training)

    def _symbolic_call(self, args: tuple[Any, ...], training: Any) -> Any:
        """The symbolic output, and a node of the user's graph."""
        if not self.takes_several:
            where, (x, *_) = type(self).__name__, args
            if not isinstance(x, KerasTensor):
                raise TypeError(
                    f"[{where}] the layer takes one tensor. Received: {x!r}. "
                    "Try Concatenate()([a, b]) first."
                )
        self._build_for(args)
        kwargs = {} if training is UNSAID else {"training": training}
        out = inferred(self.run, args, {})
        Node(self, args, kwargs, out)
        return out

    def _build_for(self, args: tuple[Any, ...]) -> None:
        """Build the layer for these tensors, if it is not built."""
        first = args[0]
        if isinstance(first, (list, tuple)):
            self._build([part.sample for part in leaves(first)])
        elif isinstance(first, (Tensor, KerasTensor)):
            self._build(first.sample)

    takes_scalars = False
    """Whether a sample may be a single number, of shape ()."""

    takes_several = False
    """Whether it is called with a list of inputs."""

    def _eager_call(self, args: tuple[Any, ...], training: bool) -> Any:
        """The output for arrays."""
        from kurve.engines import State
        from kurve.engines.reference import ReferenceProgram
        from kurve.engines.reference.layers import STATISTICS

        where, (first, *others) = type(self).__name__, args
        several = self.takes_several and isinstance(first, (list, tuple))
        parts = [*first, *others] if several else [first, *others]
        arrays = [as_numbers(where, "x", part, np.float32) for part in parts]
        for array in arrays:
            if array.ndim < 2 and not self.has_formula:
                raise ValueError(
                    f"[{where}] x must have a batch axis and at least one "
                    f"more. Received: x.shape={array.shape}. Try x.reshape(-1, 1)."
                )
        samples = [a.shape[1:] for a in arrays]
        if not self.has_formula:
            samples = [check_shape(type(self), s) for s in samples]
        self._build(samples[: len(first)] if several else samples[0])
        graph = Graph(samples)
        tensors = graph.inputs
        if several:
            tensors = [tensors[: len(first)], *tensors[len(first) :]]
        out = self.run(*tensors, training=training)
        plan = graph.finish(list(leaves(out)))
        state = State(
            gathered(plan.params, graph.params),
            gathered(plan.buffers, graph.buffers),
            np.zeros((0, plan.params_size), np.float32),
            np.zeros(0),
            0,
            rng.next_seed(),
        )
        values, caches = ReferenceProgram(plan).forward(state, arrays, training)
        updates: dict[str, np.ndarray] = {}
        for op, cache in zip(plan.ops, caches, strict=True):
            if training and op.kind in STATISTICS:
                moved = STATISTICS[op.kind](op, cache, state)
                updates |= {op.buffers[role].name: v for role, v in moved.items()}
        for variable in graph.buffers:
            if variable.name in updates:
                variable.assign(updates[variable.name])
        results = iter([values[head.value] for head in plan.heads])
        return replaced(out, lambda _: next(results))

    @property
    def input(self) -> Any:
        """The symbolic input of the layer's call in a model."""
        args = self._one_node("input").args
        return args[0] if len(args) == 1 else list(args)

    @property
    def output(self) -> Any:
        """The symbolic output of the layer's call in a model."""
        return self._one_node("output").outputs

    def _one_node(self, what: str) -> Node:
        stack = None if self._stack is None else self._stack()
        if not self._inbound_nodes and stack is not None:
            stack._symbolic(what)
        if not self._inbound_nodes:
            raise AttributeError(
                f"[{type(self).__name__}] the layer {self.name!r} has no {what} yet, "
                f"because no model has called it. Received: {self!r}. Try layer(x) "
                "with x = Input(shape=...)."
            )
        return self._inbound_nodes[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def takes(call: Any, name: str) -> bool:
    """Whether a function has an argument of that name."""
    parameters = inspect.signature(call).parameters
    return name in parameters or any(
        p.kind is p.VAR_KEYWORD for p in parameters.values()
    )


def trials(samples: Any) -> Sequence[tuple[int, ...]]:
    """Sizes to try for unknown axes; a single one if all are known."""
    return TRIALS if None in leaves(samples) else TRIALS[:1]


def known(samples: Any, sizes: Sequence[int]) -> Any:
    """A shape, or several, with sizes in place of unknown ones."""
    if isinstance(samples, list):
        return [known(sample, sizes) for sample in samples]
    spare = iter((*sizes, *sizes, *sizes))
    return tuple(next(spare) if s is None else s for s in samples)


def same_shape(one: Any, other: Any) -> bool:
    """Whether two shapes agree where both are known."""
    if isinstance(one, list) or isinstance(other, list) or other is None:
        return bool(one == other)
    return len(one) == len(other) and all(
        a == b or a is None or b is None for a, b in zip(one, other, strict=True)
    )


def refuse_layers(where: str, x: Any) -> None:
    """Refuse layers in place of data or of tensors."""
    parts = x if isinstance(x, (list, tuple)) else [x]
    if any(isinstance(part, Layer) for part in parts):
        raise TypeError(
            f"[{where}] a layer is called with an array or a symbolic tensor. "
            f"Received: {x!r}, a layer. Try {where}(...)(Input(shape=(1,)))."
        )


def lower(
    layers: Sequence[Any], input_shape: Shape, trainable: bool = True
) -> tuple[Plan, list[Any], list[Any]]:
    """The plan of a stack of built layers, and the variables of its two flat vectors,
    in the order of `plan.params` and `plan.buffers`.

    Args:
        trainable: False freezes the weights of all layers.
    """

    def chain(tensors: list[Tensor]) -> list[Tensor]:
        for layer in layers:
            tensors = [layer.run(*tensors)]
        return tensors

    graph = Graph([input_shape], streams=streams_of(layers))
    place_all(graph, layers, trainable)
    plan = graph.finish(chain(graph.inputs))
    return plan, graph.params, graph.buffers


def all_layers(layers: Iterable[Any]) -> list[Any]:
    """The layers, with those of models in the place of these; each once."""
    found: dict[int, Any] = {}
    for layer in layers:
        inner = getattr(layer, "_network", None)
        for part in [layer] if inner is None else all_layers(inner.layers):
            found.setdefault(id(part), part)
    return list(found.values())


def streams_of(layers: Sequence[Any]) -> dict[int, int]:
    """The number of each layer, by its id: the key of its random streams."""
    return {id(layer): i for i, layer in enumerate(all_layers(layers))}


def place_all(graph: Graph, layers: Iterable[Any], trainable: bool) -> None:
    """Give all variables a place in the flat vectors, layer after layer."""
    for layer in layers:
        inner = getattr(layer, "_network", None)
        if inner is not None:
            place_all(graph, inner.layers, trainable and inner.trainable)
            continue
        for variable in layer.variables:
            graph.place(variable, trainable and layer.trainable)


def assign_all(
    where: str, variables: Sequence[Variable], values: Sequence[Any]
) -> None:
    """Assign each value to its variable, after checking all of them."""
    if not isinstance(values, Iterable):
        raise TypeError(
            f"[set_weights] weights must be a list of arrays. Received: {values!r}. "
            "Try a list such as get_weights() gives."
        )
    arrays = [
        as_numbers("set_weights", f"weights[{i}]", value, np.float32)
        for i, value in enumerate(values)
    ]
    if len(arrays) != len(variables):
        raise ValueError(
            f"[set_weights] {where} has {len(variables)} weights: "
            f"{', '.join(f'{v.name} {v.shape}' for v in variables)}. "
            f"Received: {len(arrays)} arrays. Try a list such as get_weights() gives."
        )
    for variable, array in zip(variables, arrays, strict=True):
        if array.shape != variable.shape:
            raise ValueError(
                f"[set_weights] {variable.name} has shape {variable.shape}. "
                f"Received: shape {array.shape}. "
                "Try a list such as get_weights() gives."
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"[set_weights] weights must be finite. Received: NaN or infinity for "
                f"{variable.name}. Try weights from before training diverged."
            )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def check_shape(cls: type, shape: Any) -> Shape:
    """The shape of one sample as a tuple of positive integers, None where a size is
    unknown."""
    axes = (shape,) if is_integer(shape) else shape
    if (
        not isinstance(axes, (tuple, list))
        or not (axes or getattr(cls, "takes_scalars", False))
        or not all(axis is None or is_count(axis) for axis in axes)
    ):
        raise ValueError(
            f"[{cls.__name__}] the shape of one sample must be a tuple of positive "
            f"integers, without the batch axis. Received: {shape!r}. "
            "Try input_shape=(1,) for one feature."
        )
    return tuple(None if a is None else int(a) for a in axes)  # type: ignore[misc]


def check_batch_shape(cls: type, shape: Any) -> tuple[int | None, Shape]:
    """Batch axis and shape of one sample of a shape (B, ...), B None or positive.

    Raises:
        ValueError: no sequence of them.
    """
    axes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if not axes or not (axes[0] is None or is_count(axes[0])):
        raise ValueError(
            f"[{cls.__name__}] the shape of a batch must be a tuple that begins with "
            f"the batch axis, None or a positive integer. Received: {shape!r}. "
            "Try (None, 1) for one feature."
        )
    return axes[0], check_shape(cls, axes[1:])


def check_size(cls: type, what: str, shape: Shape) -> None:
    """Refuse a shape with more elements than memory can hold."""
    if math.prod(shape) > MOST_ELEMENTS:
        raise ValueError(
            f"[{cls.__name__}] the {what} must have at most {MOST_ELEMENTS} elements. "
            f"Received: {math.prod(shape)}, shape {shape}. Try smaller numbers."
        )


def _plain(value: Any) -> Any:
    """An argument in the types of JSON."""
    if isinstance(value, activations.Activation):
        return activations.to_config(value)
    if isinstance(value, initializers.Initializer):
        return initializers.serialize(value)
    if isinstance(value, L1L2):
        return regularizers.serialize(value)
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def gathered(slots: Sequence[VariableSpec], variables: Sequence[Any]) -> np.ndarray:
    """A flat vector with the values of the variables."""
    vector = np.zeros(aligned(slots[-1].end) if slots else 0, np.float32)
    for slot, variable in zip(slots, variables, strict=True):
        vector[slot.offset : slot.end] = variable.value.ravel()
    return vector
