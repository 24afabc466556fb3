"""The base class of all layers, and their variables."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

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
from kurve.plan import Op, Plan, Shape, VariableSpec, aligned
from kurve.regularizers import L1L2, Regularizer

if TYPE_CHECKING:
    from kurve.constraints import Constraint

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


class Variable:
    """An array of a layer. In a built model it is a view into a flat vector.

    role: "param" (has a gradient), "statistic" (training writes it, such as the moving
    mean of `BatchNormalization`), "buffer" (neither) or "constant" (a buffer that is an
    argument of the layer, not one of its weights).
    """

    def __init__(
        self,
        name: str,
        shape: Shape,
        initializer: initializers.Initializer,
        role: str = "param",
        regularizer: Regularizer | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.name, self.shape, self.role = name, shape, role
        self.initializer, self.regularizer = initializer, regularizer
        self.constraint = constraint
        self._views: list[np.ndarray] = []

    def write_to(self, view: np.ndarray, seed: int, stream: int) -> None:
        """Write the value to `view`, or the initial one if there is no value yet."""
        view[...] = (
            self._views[-1]
            if self._views
            else initializers.draw(self.initializer, self.shape, seed, stream)
        )

    def bind(self, view: np.ndarray, instead_of: np.ndarray | None) -> None:
        """Move to `view`, which already holds the value.

        Buffers and constants, which no engine writes, may be in several models;
        `assign` then writes to all of them.

        Args:
            instead_of: the flat vector that the model had before, if any.
        """
        self._views = [] if self.learned else self._views_outside(instead_of)
        self._views.append(view)

    def leave(self, vector: np.ndarray) -> None:
        """Leave the model with that flat vector. If it is in no other model, the
        variable keeps its value in its own memory."""
        self._views = self._views_outside(vector) or [self.numpy()]

    def _views_outside(self, vector: np.ndarray | None) -> list[np.ndarray]:
        """The views into other flat vectors (such views have a base)."""
        excluded = (None, None if vector is None else vector.base)
        return [v for v in self._views if all(v.base is not base for base in excluded)]

    @property
    def learned(self) -> bool:
        """Whether training changes it."""
        return self.role in ("param", "statistic")

    @property
    def value(self) -> np.ndarray:
        """The array itself, float32; to change it, use `assign`."""
        if not self._views:
            self._views.append(initializers.draw(self.initializer, self.shape))
        return self._views[-1]

    def reshaped(self, shape: Shape) -> Variable:
        """A view of the same memory in another shape."""
        other = Variable(self.name, shape, self.initializer, self.role)
        other._views = [v.reshape(shape) for v in self._views or [self.value]]
        return other

    def numpy(self) -> np.ndarray:
        """A copy of the value."""
        return self.value.copy()

    def assign(self, value: Any) -> None:
        """Replace the value by one of the same shape.

        Raises:
            ValueError: another shape, or a value that is not finite.
        """
        array = as_numbers(self.name, "the new value", value, np.float32)
        if array.shape != self.shape:
            raise ValueError(
                f"[{self.name}] the new value must have shape {self.shape}. "
                f"Received: shape {array.shape}. Try value.reshape({self.shape})."
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"[{self.name}] the new value must be finite. "
                "Received: NaN or infinity. "
                "Try weights from before training diverged."
            )
        if not self._views:  # do not draw initial values in vain
            self._views.append(np.empty(self.shape, np.float32))
        for view in self._views:
            view[...] = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.value, dtype=dtype)

    def __repr__(self) -> str:
        values = np.array2string(self.value, threshold=20, edgeitems=2, precision=4)
        return f"<Variable {self.name}, shape={self.shape}, value={values}>"


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
        "call",
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

    constrained: Mapping[str, str] = MappingProxyType({})
    """Which argument is the constraint of a variable: {"bias": "bias_constraint"}."""

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
        for argument in self.constrained.values():
            given = unknown.pop(argument, None)
            setattr(self, argument, None if given is None else _constraint(given))
        refuse_arguments(type(self), unknown)
        where = type(self).__name__
        self.name = auto_name(type(self)) if name is None else check_name(where, name)
        self.trainable = trainable
        self.given_input_shape = (
            None if input_shape is None else check_shape(type(self), input_shape)
        )
        self.built_shape: Shape | None = None
        # The model whose flat vectors hold the variables.
        self.owner: weakref.ref[Any] | None = None
        self._variables: list[Variable] = []

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the variables for inputs of this shape, (None, ...) with the batch axis.

        Raises:
            ValueError: a shape that the layer cannot take, or has no weights for.
        """
        _, sample = check_batch_shape(type(self), input_shape)
        if self.built:
            self.check_input(sample)
        else:
            try:
                self.make_variables(sample)
            except (TypeError, ValueError):
                self.unbuild()
                raise
        check_size(type(self), "output", self.output_sample_shape(sample))
        self.built_shape = sample

    def check_owner(self, model: object) -> None:
        """Refuse a second model whose training would change this layer."""
        owner = self.owner() if self.owner is not None else None
        if owner in (None, model) or not any(v.learned for v in self._variables):
            return
        raise ValueError(
            f"[Sequential] the layer {self.name!r} is in another model already, and a "
            "layer's weights lie in the memory of its one model. Try a new layer and "
            "new_layer.set_weights(layer.get_weights())."
        )

    def leave(self, params: np.ndarray, buffers: np.ndarray) -> None:
        """Leave the model with those flat vectors, with the weights."""
        self.owner = None
        for variable in self._variables:
            variable.leave(params if variable.role == "param" else buffers)

    def unbuild(self) -> None:
        """Drop the variables, after the model could not be built."""
        self.built_shape, self._variables = None, []

    def make_variables(self, input_shape: Shape) -> None:
        """Call `add_weight` for each variable; `input_shape` is that of one sample."""
        self.output_sample_shape(input_shape)  # refuses a wrong shape

    def check_input(self, input_shape: Shape) -> None:
        """Refuse samples that do not fit the layer's variables. A layer without any
        takes what a new one would."""
        self.output_sample_shape(input_shape)
        if self._variables and input_shape != self.built_shape:
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} was built for samples of "
                f"shape {self.built_shape}. Received: {input_shape}. Try a new layer."
            )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample."""
        return input_shape

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
        regularizer: Regularizer | None = None,
    ) -> Variable:
        """Declare a variable."""
        check_size(type(self), name, shape)
        constraint = getattr(self, self.constrained.get(name, ""), None)
        variable = Variable(
            f"{self.name}/{name}", shape, initializer, role, regularizer, constraint
        )
        self._variables.append(variable)
        return variable

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Shape (B, ...) of the output for an input (B, ...); B may be None."""
        batch, sample = check_batch_shape(type(self), input_shape)
        return (batch, *self.output_sample_shape(sample))

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
        return (None, *self.output_sample_shape(self.built_shape))

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
        for name in self.constrained.values():
            value = getattr(self, name)
            config[name] = None if value is None else value.serialized()
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a `get_config`. Classes in it come from closed tables."""
        arguments = dict(config)
        for name, value in config.items():
            if isinstance(value, Mapping) and "class_name" in value:
                if name.endswith("_constraint"):
                    continue  # its own constructor takes it
                penalty = name.endswith("_regularizer")
                kind = regularizers if penalty else initializers
                arguments[name] = kind.deserialize(value)
        return cls(**arguments)

    @entry
    def __call__(
        self, x: Any, *others: Any, training: bool | None = UNSAID, mask: None = None
    ) -> np.ndarray:
        """The layer's output for a batch x (B, ...), by the reference engine.

        Args:
            x: (B, ...).
            others, mask: refused.
            training: whether the layer acts as in training; None is False. The default
                is True for layers that move images, and False for the others.

        Raises:
            TypeError: a second array or a mask.
        """
        from kurve.engines import State
        from kurve.engines.reference.layers import OPS, STATISTICS

        where = type(self).__name__
        refuse_overrides(where, self)
        refuse_graphs(where, x)
        if others or mask is not None:
            raise TypeError(
                f"[{where}] a layer is called with x alone and, by name, training; "
                "there are no masks. Received: "
                f"{'a mask' if mask is not None else f'{1 + len(others)} arguments'}. "
                "Try layer(x, training=True)."
            )
        if training is UNSAID:
            training = self.training_by_default
        training = training is not None and check_flag(where, "training", training)
        y = as_numbers(where, "x", x, np.float32)
        if y.ndim < 2:
            raise ValueError(
                f"[{where}] x must have a batch axis and at least one "
                f"more. Received: x.shape={y.shape}. Try x.reshape(-1, 1)."
            )
        sample = check_shape(type(self), y.shape[1:])
        if self.built:
            self.check_input(sample)
        else:
            self.build((None, *sample))
        plan, params, buffers = lower([self], sample)
        state = State(
            _gather(plan.params, params),
            _gather(plan.buffers, buffers),
            np.zeros((0, plan.params_size), np.float32),
            np.zeros(0),
            0,
            rng.next_seed(),
        )
        updates: dict[str, np.ndarray] = {}
        for op in plan.ops:
            y, cache = OPS[op.kind][0](op, y, state, training)
            if training and op.kind in STATISTICS:
                values = STATISTICS[op.kind](op, cache, state)
                updates |= {op.buffers[role].name: v for role, v in values.items()}
        for variable in buffers:
            if variable.name in updates:
                variable.assign(updates[variable.name])
        return y

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _constraint(given: Any) -> Constraint | None:
    """The constraint of an argument."""
    from kurve import constraints

    return constraints.get(given)


def refuse_graphs(where: str, x: Any) -> None:
    """Refuse layers in place of data, as in Keras's functional API."""
    parts = x if isinstance(x, (list, tuple)) else [x]
    if any(isinstance(part, Layer) for part in parts):
        raise NotImplementedError(
            f"[{where}] models as graphs of layers (the functional API) are not there "
            f"yet; models are stacks. Received: {x!r} in the place of data. "
            "Try Sequential([Input((1,)), Dense(64, 'relu'), Dense(1)])."
        )


def lower(
    layers: Sequence[Layer], input_shape: Shape, trainable: bool = True
) -> tuple[Plan, list[Variable], list[Variable]]:
    """The plan of a stack of built layers, and the variables of its two flat vectors,
    in the order of `plan.params` and `plan.buffers`.

    Args:
        trainable: False freezes the weights of all layers.
    """
    ops: list[Op] = []
    vectors: dict[bool, list[VariableSpec]] = {True: [], False: []}
    variables: dict[bool, list[Variable]] = {True: [], False: []}
    shape = input_shape
    for index, layer in enumerate(layers):
        slots = {}
        for variable in layer.variables:
            is_param = variable.role == "param"
            placed = vectors[is_param]
            penalty, rule = variable.regularizer, variable.constraint
            plain = penalty if isinstance(penalty, L1L2) else L1L2()
            other = None if isinstance(penalty, L1L2) else penalty
            slot = VariableSpec(
                variable.name,
                variable.shape,
                aligned(placed[-1].end) if placed else 0,
                trainable and layer.trainable,
                plain.l1,
                plain.l2,
                None if rule is None else rule.formula_for(variable.shape),
                None if other is None else regularizers.formula(other, variable.shape),
            )
            placed.append(slot)
            variables[is_param].append(variable)
            slots[variable.name.rpartition("/")[2]] = slot
        ops += layer.lower(shape, slots, index)
        shape = layer.output_sample_shape(shape)
    plan = Plan.stack(
        input_shape, shape, tuple(ops), tuple(vectors[True]), tuple(vectors[False])
    )
    return plan, variables[True], variables[False]


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
    """The shape of one sample as a tuple of positive integers."""
    axes = (shape,) if is_integer(shape) else shape
    if not isinstance(axes, (tuple, list)) or not axes or not all(map(is_count, axes)):
        raise ValueError(
            f"[{cls.__name__}] the shape of one sample must be a tuple of positive "
            f"integers, without the batch axis. Received: {shape!r}. "
            "Try input_shape=(1,) for one feature."
        )
    return tuple(int(a) for a in axes)


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
    if isinstance(value, Regularizer):
        return regularizers.serialize(value)
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _gather(slots: Sequence[VariableSpec], variables: Sequence[Variable]) -> np.ndarray:
    """A flat vector with the values of the variables."""
    vector = np.zeros(aligned(slots[-1].end) if slots else 0, np.float32)
    for slot, variable in zip(slots, variables, strict=True):
        vector[slot.offset : slot.end] = variable.value.ravel()
    return vector
