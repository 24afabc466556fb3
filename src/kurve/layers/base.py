"""The base class of all layers, and their variables."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kurve import activations, initializers, regularizers
from kurve.config import DTypePolicy, dtype_policy
from kurve.core import rng
from kurve.core.arguments import (
    TypedDict,
    check_batch_size,
    check_dtype,
    check_flag,
    check_name,
    check_unused,
    is_count,
    is_integer,
    refuse_arguments,
)
from kurve.core.arrays import as_numbers
from kurve.core.entries import Entrance, entries, entry
from kurve.core.naming import auto_name
from kurve.core.overrides import is_own, refuse_overrides
from kurve.core.results import result
from kurve.errors import unknown_argument
from kurve.formulas.calls import TRIALS, graph_of, inferred, mask_of
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.recording import active, recording
from kurve.formulas.tensor import KerasTensor, Node, is_structure, leaves, replaced
from kurve.layers.free import Variable as FreeVariable
from kurve.layers.masks import (
    attach,
    check_rows,
    hand_over,
    is_for_all,
    is_masked,
)
from kurve.layers.modes import in_both_modes
from kurve.layers.variable import Variable as Variable
from kurve.plan import Op, Plan, Shape, VariableSpec
from kurve.regularizers import L1L2, Regularizer

if TYPE_CHECKING:
    from kurve.constraints import Constraint

MOST_ELEMENTS = 2**48
"""Of one variable or of one sample: far more than any memory holds."""

UNSAID: Any = object()
"""Marks an argument that was not given."""


class UnusedArguments(TypedDict, total=False):
    """Keras's arguments of every layer that do nothing here."""


class NamedArguments(UnusedArguments, total=False):
    """Arguments of layers that say themselves whether they are trainable."""

    name: str | None
    activity_regularizer: str | L1L2 | None
    dtype: Any
    autocast: bool
    input_shape: Sequence[int] | int | None
    input_dim: int | None
    batch_input_shape: Sequence[int | None] | None
    batch_size: int | None


class LayerArguments(NamedArguments, total=False):
    """Arguments of every layer."""

    trainable: bool


@entries
class Layer(Entrance):
    """Base class of the layers: arguments, variables, shapes and operations.

    A layer of one's own has `call`, a formula in functions of `kurve.ops` and in other
    layers, which may be its attributes; and, if it has weights, `build`, which makes
    them by `add_weight`. `call` runs once for each model, on tensors without values:
    it cannot ask for numbers.

    Args:
        name: unique in a model; made from the class if None.
        trainable: whether training changes the weights.
        input_shape: shape of one sample, for the first layer of a model.
        activity_regularizer: name or object of `kurve.regularizers`: a penalty of the
            output, averaged over the samples of a batch, that is added to the loss.
        input_dim: n for input_shape=(n,).
        batch_input_shape: input_shape with the batch axis before it: (None, 3).
        batch_size: None or a positive integer; batches of any size fit.
        dtype: None or "float32", in which engines compute. Another floating-point type
            changes nothing and gets a warning.
        autocast: True or False; no type is ever changed.

    Raises:
        TypeError, ValueError: an unknown argument, or a bad value.

    Example:
        >>> class Scale(kurve.layers.Layer):
        ...     def build(self, input_shape):
        ...         self.w = self.add_weight((input_shape[-1],), "ones", name="w")
        ...
        ...     def call(self, x):
        ...         return x * self.w
        >>> Scale()(np.ones((1, 3)))
        array([[1., 1., 1.]], dtype=float32)
    """

    ignored: tuple[str, ...] = ("__call__",)
    instead = "a layer of kurve.layers, or one of your own with call()"

    arguments: tuple[str, ...] = ()
    """Attributes for `get_config`, by their names in `__init__`."""

    constrained: Mapping[str, str] = MappingProxyType({})
    """Which argument is the constraint of a variable: {"bias": "bias_constraint"}."""

    unused = tuple(UnusedArguments.__annotations__)
    """Keras's arguments that do nothing here, see `kurve.core.arguments.UNUSED`."""

    training_by_default = False
    """`training` in a call without it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        build = vars(cls).get("build")
        if inspect.isfunction(build) and not hasattr(cls, "fit"):
            cls.build = _outer_build(build)  # type: ignore[method-assign]

    _given: tuple[tuple[Any, ...], dict[str, Any]]
    """The arguments of the constructor."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self._given = (args, kwargs)
        return self

    dtype = compute_dtype = variable_dtype = "float32"
    """What engines compute in, and weights are."""

    _losses: list[Any] = []  # noqa: RUF012 - replaced, never changed
    """What the last call by hand has added to the loss."""

    drawn = 0
    """How often a call by hand has drawn random numbers: their step."""

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | int | None = None,
        activity_regularizer: str | L1L2 | None = None,
        input_dim: int | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        autocast: bool = True,
        **unknown: Any,
    ) -> None:
        for argument in self.constrained.values():
            given = unknown.pop(argument, None)
            setattr(self, argument, None if given is None else _constraint(given))
        refuse_arguments(type(self), unknown)
        where = type(self).__name__
        check_dtype(where, dtype)
        check_flag(where, "autocast", autocast)
        check_batch_size(where, batch_size)
        shapes = {
            "input_shape": input_shape,
            "input_dim": input_dim,
            "batch_input_shape": batch_input_shape,
        }
        given = {key: value for key, value in shapes.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                f"[{where}] the shape of a sample must be given once. Received: "
                f"{', '.join(f'{k}={v!r}' for k, v in given.items())}. Try input_shape "
                "alone."
            )
        if batch_input_shape is not None:
            input_shape = check_batch_shape(type(self), batch_input_shape)[1]
        elif input_dim is not None:
            input_shape = check_shape(type(self), (input_dim,))
        self.name = auto_name(type(self)) if name is None else check_name(where, name)
        self.trainable = trainable
        self.activity_regularizer = _of_outputs(where, activity_regularizer)
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
        if self._building:  # by a subclass's build()
            self._make_variables(_sample_of(type(self), input_shape))
        else:
            self._build(_sample_of(type(self), input_shape))

    def _build(
        self, samples: Any, shapes: Mapping[str, Any] | None = None, infer: bool = True
    ) -> None:
        """Make the variables for a sample's shape, or for those of several inputs.

        Args:
            shapes: what a `build` of several arguments takes, by name.
            infer: whether to build the parts by a call with this single input.
        """
        if self.built:
            if infer:  # of several inputs the formula will tell
                self.check_input(samples)
            if self.has_formula:  # the call will tell
                self.built_shape = self.built_shape or samples
                return
        else:
            new = [part for part in self.parts if not part.built]
            try:
                if type(self).build is Layer.build:
                    self._make_variables(samples)
                else:
                    self._build_as_written(samples, shapes)
                new = [part for part in self.parts if not part.built]
                if self.has_formula and new and not shapes and infer:
                    self._inferred(samples)
            except (TypeError, ValueError):
                self.built_shape, self._variables = None, []
                for part in new:
                    if not hasattr(part, "_network"):
                        part.unbuild()
                raise
        if isinstance(samples, tuple) and None not in samples and not shapes and infer:
            if self.has_formula and is_own(type(self)):
                ends = [
                    getattr(t, "sample", ()) for t in leaves(self._inferred(samples))
                ]
            else:
                ends = [self._output_sample(samples)]
            for shape in ends:
                check_size(type(self), "output", shape)
        self.built_shape = samples

    def _make_variables(self, samples: Any) -> None:
        """`make_variables`, with sizes in place of unknown ones: the weights must not
        depend on them."""
        before, found = self._variables, []
        for sizes in trials(samples):
            self._variables = []
            self.make_variables(known(samples, sizes))
            found.append(self._variables)
        self._variables = [*before, *found[-1]]
        if [v.shape for v in found[0]] != [v.shape for v in found[-1]]:
            raise ValueError(
                f"[{type(self).__name__}] the weights of {self.name!r} "
                "depend on an axis whose size is unknown. Received: "
                f"samples of shape {samples}. Try an Input with that size."
            )

    _building = False
    """Whether `build` of a subclass is running."""

    def _build_as_written(
        self, samples: Any, shapes: Mapping[str, Any] | None = None
    ) -> None:
        """Call `build` of a subclass with shapes that have a batch axis."""
        self._building = True
        _inside.append(self)
        try:
            if shapes:
                names = inspect.signature(self.build).parameters
                self.build(**{k: v for k, v in shapes.items() if k in names})
            elif samples is None:
                build: Any = self.build
                build(*[None] * bool(inspect.signature(build).parameters))
            else:
                self.build(replaced_shapes(samples))
        finally:
            self._building = False
            _inside.pop()

    @property
    def parts(self) -> list[Any]:
        """The layers that are attributes of this one, also in lists and dictionaries,
        in order."""
        found: dict[int, Any] = {}
        for _, value in self.attributes:
            if is_structure(value) or isinstance(value, Layer):
                for part in leaves(value):
                    if isinstance(part, Layer) and part is not self:
                        found.setdefault(id(part), part)
        return list(found.values())

    @property
    def attributes(self) -> list[tuple[str, Any]]:
        """Names and values, without what the constructor was given."""
        return [(k, value) for k, value in vars(self).items() if k != "_given"]

    def leave(self, network: Any) -> None:
        """Leave a model, with the weights."""
        for variable in self.variables:
            variable.leave(network)

    def unbuild(self) -> None:
        """Drop the variables, after the model could not be built."""
        self.built_shape, self._variables = None, []
        for part in self.parts:
            if not hasattr(part, "_network"):
                part.unbuild()

    def make_variables(self, input_shape: Shape) -> None:
        """Call `add_weight` for each variable; `input_shape` is that of one sample."""
        if not self.has_formula:
            self.output_sample_shape(input_shape)  # refuses a wrong shape

    def check_input(self, input_shape: Shape) -> None:
        """Refuse samples that do not fit the layer's variables. A layer without any
        takes what a new one would."""
        if type(self).build is not Layer.build and self.has_formula:
            return  # the formula will tell
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
        return inferred(self.run, (_tensors_of(samples),), {})

    @property
    def has_formula(self) -> bool:
        """Whether it is written as a formula, `call`."""
        return type(self).call is not Layer.call

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The formula of the layer, in functions of `kurve.ops`: a subclass may have
        one in place of `lower`."""
        graph = graph_of(args)
        assert graph is not None
        x = graph.as_tensor(args[0])
        mask = kwargs.get("mask", args[1] if len(args) > 1 else None)
        if mask is None or not self.takes_mask:
            return graph.lowered(self, x)
        with graph.within(self):
            return self.call_masked(x, mask)

    def call_masked(self, x: Any, mask: Any) -> Any:
        """The formula for an input with a mask, of a layer that has `lower` for those
        without."""
        raise NotImplementedError

    @property
    def takes_mask(self) -> bool:
        """Whether the output depends on the input's mask."""
        if self.has_formula:
            return takes(self.call, "mask")
        return type(self).call_masked is not Layer.call_masked

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The output for tensors of a plan under construction, to which the layer's
        operations are appended."""
        graph = graph_of(args, kwargs)
        assert graph is not None
        mask = hand_over(self, args, kwargs)
        y = self._called(graph, args, dict(kwargs))
        self.penalize(graph, y)
        return attach(self, graph, args, kwargs, y, mask)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Which steps of the output count: those of the input, unless a subclass says
        otherwise.

        Args:
            inputs: what `call` gets first.
            previous_mask: of `inputs`, in their structure: tensors of dtype "bool",
                mostly (B, T), or None.
        """
        return previous_mask

    _supports_masking: bool | None = None

    @property
    def supports_masking(self) -> bool:
        """Whether outputs get a mask, that of `compute_mask`; by default where a
        subclass has a `compute_mask` of its own."""
        if self._supports_masking is None:
            return type(self).compute_mask is not Layer.compute_mask
        return self._supports_masking

    @supports_masking.setter
    def supports_masking(self, value: bool) -> None:
        where = type(self).__name__
        self._supports_masking = check_flag(where, "supports_masking", value)

    @property
    def makes_masks(self) -> bool:
        """Whether outputs may have a mask though no input has one."""
        overrides = type(self).compute_mask is not Layer.compute_mask
        return overrides and is_own(type(self))

    _warned_of_mask = False
    """Whether it has been said that it drops masks."""

    def penalize(self, graph: Graph, y: Any) -> None:
        """Add the penalty of the output to the loss."""
        if self.activity_regularizer is not None:
            for leaf in leaves(y):
                if isinstance(leaf, Tensor):
                    penalty = self.activity_regularizer
                    graph.penalize(leaf, penalty.l1, penalty.l2)

    def _called(self, graph: Graph, args: Any, kwargs: dict[str, Any]) -> Any:
        """The output of `call`."""
        if not self.has_formula:
            if self._variables:
                self.check_input(args[0].sample)
            first = len(graph.ops)
            y = self.call(*args, **kwargs)
            if kwargs.get("training") is not None:
                from kurve.layers.modes import set_mode

                set_mode(graph, first, bool(kwargs["training"]), self)
            activation = getattr(self, "activation", None)
            if isinstance(activation, activations.FunctionActivation):
                with graph.within(self):
                    y = activation(y)
            return y
        by_mode = takes(self.call, "training")
        if not by_mode or kwargs.get("training", UNSAID) is None:
            kwargs.pop("training", None)
        _inside.append(self)
        try:
            with graph.within(self):
                if by_mode and "training" not in kwargs and not self.one_formula:
                    return in_both_modes(graph, self.call, args, kwargs)
                return self.call(*args, **kwargs)
        finally:
            _inside.pop()

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
        shape: Sequence[int] | int | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
        *,
        role: str | None = None,
    ) -> Variable:
        """Make a weight, in `build`.

        Args:
            shape: of the weight; () is one number.
            initializer: name or object of `kurve.initializers`; by default
                "glorot_uniform", or "zeros" for integers.
            dtype: None or "float32".
            trainable: whether training changes it.
            autocast, aggregation, overwrite_with_gradient: Keras's defaults.
            regularizer: name or object of `kurve.regularizers`, or None.
            constraint: name or object of `kurve.constraints`; None for that which
                `constrained` names, if any.
            name: by default "variable", with a number where there are several.
            role: see `Variable`; it says more than `trainable`.

        Raises:
            TypeError, ValueError: a shape that is none, or an unknown name.
        """
        where = f"{type(self).__name__}.add_weight"
        if isinstance(shape, str):
            raise ValueError(
                f"[{where}] the shape comes first, and the name is given by name. "
                f"Received: add_weight({shape!r}, ...). "
                f"Try add_weight(shape, name={shape!r})."
            )
        check_unused(
            where,
            aggregation=aggregation,
            overwrite_with_gradient=overwrite_with_gradient,
        )
        axes = (shape,) if is_integer(shape) else () if shape is None else tuple(shape)  # type: ignore[arg-type]
        if not all(is_count(axis) for axis in axes):
            raise ValueError(
                f"[{where}] the shape must be a tuple of positive integers. "
                f"Received: shape={shape!r}. Try an Input of known sizes."
            )
        check_size(type(self), name or "weight", axes)  # type: ignore[arg-type]
        if initializer is None and "int" in str(dtype):
            initializer = "zeros"
        if role is None:
            role = "param" if check_flag(where, "trainable", trainable) else "buffer"
        if name is None:
            count = sum("/variable" in v.name for v in self._variables)
            name = f"variable_{count}" if count else "variable"
        if constraint is None:
            constraint = getattr(self, self.constrained.get(name, ""), None)
        outer = [layer for layer in _inside if layer is not self]
        variable = Variable(
            "/".join([*_path([*outer, self]), check_name(where, name)]),
            tuple(int(axis) for axis in axes),  # type: ignore[arg-type]
            initializers.of_weight(initializer),
            role,
            regularizers.get(regularizer),
            None if constraint is None else _constraint(constraint),
        )
        self._variables.append(variable)
        return variable

    def add_loss(self, loss: Any) -> None:
        """Add a term to the loss of models that hold this layer, in `call`.

        Args:
            loss: a tensor; its elements are summed.

        In a formula that is being traced it becomes a part of the formula. Outside, a
        number is kept until the next call, in `losses`.
        """
        graph = Graph.current
        if graph is None:
            self._losses = [*self._losses, *leaves(loss)]
            return
        for part in leaves(loss):
            graph.add_loss(graph.as_tensor(part))

    @property
    def losses(self) -> list[Any]:
        """What the layer and its parts add to the loss: in the last call by hand
        (`add_loss` and penalties of outputs, in one number), and by the penalty of each
        trained weight that has one."""
        owners = [self, *self.parts]
        return [
            *(term for owner in owners for term in owner._losses),
            *(_penalty(w) for w in self.trainable_weights if w.regularizer is not None),
        ]

    def compute_output_shape(self, input_shape: Any, *others: Any, **named: Any) -> Any:
        """Shape (B, ...) of the output for an input (B, ...); B may be None.

        Args:
            input_shape: of several inputs, a list of shapes.
            others, named: shapes of the further arguments of layers that are called
                with several, named as in query_shape=(None, 3, 4).
        """
        known_weights = self.built or type(self).build is Layer.build
        several = bool(others or named) or _are_shapes(input_shape)
        if not several and (known_weights or not self.has_formula):
            batch, sample = check_batch_shape(type(self), input_shape)
            return (batch, *self._output_sample(sample))
        args = [_tensors_for(type(self), shape) for shape in (input_shape, *others)]
        by_name = {
            name.removesuffix("_shape"): _tensors_for(type(self), shape)
            for name, shape in named.items()
        }
        first = input_shape
        while _are_shapes(first):
            first = next(iter(first))
        was_built = self.built
        try:
            out = self.compute_output_spec(*args, **by_name)
        finally:
            if not was_built:
                self.unbuild()
        return replaced(out, lambda tensor: (first[0], *tensor.sample))

    def _output_sample(self, sample: Any) -> tuple[int | None, ...]:
        """Shape of one output sample; sizes that depend on unknown ones are None."""
        infer: Any = self.output_sample_shape
        if self.has_formula and is_own(type(self)):
            infer = functools.partial(Layer.output_sample_shape, self)
        if None not in leaves(sample):
            return infer(sample)
        shapes = [infer(known(sample, t)) for t in trials(sample)]
        return tuple(a if a == b else None for a, b in zip(*shapes, strict=True))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The symbolic output for symbolic tensors, without a call in a model."""
        self._build_for_call(args, kwargs)
        return inferred(self.run, args, kwargs)

    @property
    def built(self) -> bool:
        """Whether it has its weights."""
        return self.built_shape is not None

    @built.setter
    def built(self, value: bool) -> None:
        """Keras's `build` ends with `self.built = True`; here the call of it knows."""

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights."""
        return self._trainable

    @trainable.setter
    @entry
    def trainable(self, value: bool) -> None:
        self._trainable = check_flag(type(self).__name__, "trainable", value)
        for part in self.parts:
            part.trainable = self._trainable

    @property
    def dtype_policy(self) -> DTypePolicy:
        """As Keras's: always float32."""
        return dtype_policy()

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        return None if self.built_shape is None else (None, *self.built_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...] | None:
        if self.built_shape is None:
            return None
        return (None, *self._output_sample(self.built_shape))

    @property
    def own_variables(self) -> list[Variable]:
        """The variables without those of its parts, trainable ones first."""
        free = [v for v in vars(self).values() if isinstance(v, FreeVariable)]
        return sorted([*self._variables, *free], key=lambda v: v.role != "param")

    @property
    def variables(self) -> list[Variable]:
        """All variables, including constants, and those of its parts."""
        if not self.parts:
            return self.own_variables
        found = {id(v): v for v in self.own_variables}
        for part in self.parts:
            found.update((id(v), v) for v in part.variables)
        return list(found.values())

    @property
    def weights(self) -> list[Variable]:
        return [v for v in self.variables if v.role != "constant"]

    @property
    def trainable_weights(self) -> list[Variable]:
        found = {id(v): v for v, trainable in placements([self], True) if trainable}
        return [v for v in found.values() if v.role == "param"]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        trainable = {id(v) for v in self.trainable_weights}
        return [v for v in self.weights if id(v) not in trainable]

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
        if self.activity_regularizer is not None:
            penalty = regularizers.serialize(self.activity_regularizer)
            config["activity_regularizer"] = penalty
        for name in self.arguments:
            config[name] = _plain(getattr(self, name))
        for name in self.constrained.values():
            value = getattr(self, name)
            config[name] = None if value is None else value.serialized()
        if type(self).get_config is Layer.get_config and is_own(type(self)):
            config.update(self._own_arguments(config))
        return config

    def _own_arguments(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that a class without `get_config` was made with."""
        args, kwargs = self._given
        signature = inspect.signature(type(self).__init__)
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        own: dict[str, Any] = {}
        for name, value in list(given.arguments.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD or name in known:
                continue
            if any(not _is_plain(leaf) for leaf in leaves(value)):
                raise NotImplementedError(
                    f"[{type(self).__name__}] the layer needs a get_config, because an "
                    f"argument of it is no number or text. Received: {name}={value!r}. "
                    "Try get_config() with the arguments that it was made with."
                )
            own[name] = _plain(value)
        return own

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
        self,
        x: Any = UNSAID,
        *others: Any,
        training: bool | None = UNSAID,
        mask: Any = None,
        **named: Any,
    ) -> Any:
        """The layer's output for a batch x (B, ...), by the reference engine; or, for a
        symbolic tensor, the symbolic output.

        Args:
            x: (B, ...), or a `KerasTensor`, such as `Input` gives; a list of them for
                layers of several inputs.
            others, named: further inputs and arguments, for layers that take them.
            mask: which steps of x count, True or False, mostly (B, T), for layers whose
                `call` has this argument; by default what the layers before x say.
            training: whether the layer acts as in training; None is False. The default
                is True for layers that move images, and False for the others.

        Raises:
            TypeError: arguments that the layer does not take.
        """
        where = type(self).__name__
        refuse_overrides(where, self)
        for name in named:
            if not takes(self.call, name) or not self.has_formula:
                raise unknown_argument(type(self).call, name, where)
        if others and not self.has_formula:
            raise TypeError(
                f"[{where}] a layer is called with x alone and, by name, training. "
                f"Received: {1 + len(others)} arguments. Try layer(x, training=True)."
            )
        if mask is not None:
            if not self.takes_mask:
                raise TypeError(
                    f"[{where}] the layer takes all steps of its input as they are, "
                    "and has no argument for a mask. Received: a mask. Try it in a "
                    "layer that reduces the steps."
                )
            named["mask"] = mask
        args = others if x is UNSAID else (x, *others)
        if not args and not named:
            raise TypeError(
                f"[{where}] a layer is called with x. Received: no arguments. "
                f"Try {where}(...)(x)."
            )
        for leaf in leaves((args, named)):
            if isinstance(leaf, KerasTensor):
                return self._recorded_call(args, named, training)
            if isinstance(leaf, Tensor):
                self._build_for_call(args, named)
                if training is not UNSAID:
                    named["training"] = training
                return self.run(*args, **named)
        refuse_layers(where, x)
        if Graph.current is not None:  # constants in the formula of another layer
            args, named = _as_constants(args), _as_constants(named)
            if any(isinstance(leaf, Tensor) for leaf in leaves((args, named))):
                return self(*args, training=training, **named)
        if training is UNSAID:
            training = self.training_by_default
        training = training is not None and check_flag(where, "training", training)
        return self._eager_call(args, named, training)

    def _recorded_call(self, args: Any, named: dict[str, Any], training: Any) -> Any:
        """The symbolic output, and a node of the user's graph."""
        if not self.takes_several and not self._takes_any:
            where, x = type(self).__name__, args[0] if args else None
            if args and not isinstance(x, KerasTensor):
                raise TypeError(
                    f"[{where}] the layer takes one tensor. Received: {x!r}. "
                    "Try Concatenate()([a, b]) first."
                )
        self._build_for_call(args, named)
        kwargs = named if training is UNSAID else {**named, "training": training}
        out = inferred(self.run, args, kwargs)
        Node(self, args, kwargs, out)
        return out

    def _build_for_call(
        self, args: Any, named: Mapping[str, Any] | None = None
    ) -> None:
        """Build the layer for these tensors, if it is not built."""
        named = {k: v for k, v in (named or {}).items() if k != "mask"}
        first = args[0] if args else next(iter(named.values()))
        samples = _samples_in(first)
        if samples is None:
            return
        # A formula that reads the mask cannot be tried without it.
        single = len(args) + len(named) == 1 and not is_masked(first)
        if self.built or type(self).build is Layer.build:
            self._build(samples, infer=single)
            return
        parameters = inspect.signature(self.build).parameters
        if len(parameters) < 2:
            self._build(samples, infer=single)
            return
        given = inspect.signature(self.call).bind_partial(*args, **named)
        shapes = {
            f"{name}_shape": replaced_shapes(_samples_in(value))
            for name, value in given.arguments.items()
            if _samples_in(value) is not None
        }
        self._build(samples, shapes)

    @property
    def _takes_any(self) -> bool:
        """Whether it may be called with any structure of tensors: the formula says."""
        return self.has_formula and is_own(type(self))

    one_formula = False
    """Whether `call`, though it takes `training`, is the same while a model is trained
    and when it predicts: what it drops are operations that know the mode."""

    parts_by_name = False
    """Whether weights of its parts are called by the names of the parts, and not of the
    attributes that they are."""

    takes_scalars = False
    """Whether a sample may be a single number, of shape ()."""

    takes_several = False
    """Whether it is called with a list of inputs."""

    def _eager_call(
        self, args: tuple[Any, ...], named: dict[str, Any], training: bool
    ) -> Any:
        """The output for arrays."""
        from kurve.formulas import functions as ops
        from kurve.gradients.segments import Segment, state_of, statistics_of
        from kurve.gradients.tape import followed, remember

        where = type(self).__name__
        arrays: list[np.ndarray] = []
        keys: list[int | None] = []

        masks: dict[int, int] = {}  # number of an array -> that of its mask
        bools: set[int] = set()

        def held(value: Any) -> Any:
            """An argument with the number of an array in the place of each."""
            several = isinstance(value, (list, tuple, Mapping)) and (
                self.takes_several or _holds_arrays(value, self)
            )
            if several:
                return replaced(value, held)
            if self.has_formula and (value is None or isinstance(value, (bool, str))):
                return value
            number = len(arrays)
            arrays.append(as_numbers(where, "x", value, np.float32))
            if getattr(value, "dtype", None) is np.dtype(bool):
                bools.add(number)
            mask = getattr(value, "_keras_mask", None)
            if mask is not None:
                masks[number] = held(np.asarray(mask)).number
            keys.append(getattr(value, "key", None))
            return _Place(number)

        args = tuple(map(held, args))
        fixed = {k: v for k, v in named.items() if is_for_all(k, v, arrays)}
        named = {k: held(v) for k, v in named.items() if k not in fixed}
        check_rows(where, named, arrays)
        named |= {k: np.asarray(v, np.float32) for k, v in fixed.items()}
        for array in arrays:
            if array.ndim < 2 and not self.has_formula:
                raise ValueError(
                    f"[{where}] x must have a batch axis and at least one "
                    f"more. Received: x.shape={array.shape}. Try x.reshape(-1, 1)."
                )
            if not array.ndim:
                raise ValueError(
                    f"[{where}] x must have a batch axis. Received: a number. "
                    "Try an array."
                )
        samples = [a.shape[1:] for a in arrays]
        if not self.has_formula:
            samples = [check_shape(type(self), s) for s in samples]
        graph = Graph(samples)
        tensors = graph.inputs
        for number in bools:
            tensors[number].dtype = "bool"
        for number, mask in masks.items():
            tensors[number].mask = tensors[mask]

        def tensor(leaf: Any) -> Any:
            return tensors[leaf.number] if isinstance(leaf, _Place) else leaf

        args, named = replaced(args, tensor), replaced(named, tensor)
        with recording(()):
            self._build_for_call(args, named)
            place_all(graph, [self], True)
            graph.training = training
            out = self.run(*args, **named, training=training)
            flat = list(leaves(out))
            masked = [i for i, leaf in enumerate(flat) if mask_of(leaf) is not None]
            flat += [flat[i].mask for i in masked]
            plan = graph.finish(flat, penalized=True)
            state = state_of(
                plan, graph.params, graph.buffers, np.float32, self.drawn,
                rng.next_seed(),
            )  # fmt: skip
            self.drawn += training
            segment = Segment(
                plan, graph.params, graph.buffers, state, arrays, training
            )
            for variable, value in statistics_of(segment) if training else ():
                variable.assign(value)
        numbers = [head.value for head in plan.heads]
        for part in self.parts:
            part._losses = []
        if active.tapes:
            found: list[Any] = [followed(segment, number) for number in numbers]
            penalty = plan.penalty
            terms = [] if penalty is None else [followed(segment, penalty)]
            remember(segment, keys)
            self._losses = [ops.mean(rows) for rows in terms]
        else:
            found = [result(segment.value(number)) for number in numbers]
            rows = None if plan.penalty is None else segment.value(plan.penalty)
            self._losses = [] if rows is None else [float(np.mean(rows))]
        for i, mask in zip(masked, found[len(found) - len(masked) :], strict=True):
            found[i]._keras_mask = np.asarray(mask).astype(bool)
        results = iter(found)
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


def _constraint(given: Any) -> Constraint | None:
    """The constraint of an argument."""
    from kurve import constraints

    return constraints.get(given)


def _of_outputs(where: str, given: Any) -> L1L2 | None:
    """The penalty of outputs of an argument."""
    penalty = regularizers.get(given)
    if penalty is None or isinstance(penalty, L1L2):
        return penalty
    raise TypeError(
        f"[{where}] activity_regularizer must be an L1L2 of kurve.regularizers, "
        f"because other penalties are formulas of weights. Received: {penalty!r}. "
        "Try add_loss in call() of a layer of your own."
    )


def _penalty(weight: Variable) -> Any:
    """The penalty of a weight; a value on the tapes that record, if there are any."""
    from kurve.formulas import functions as ops

    rule = weight.regularizer
    assert rule is not None
    if not active.tapes:
        return float(rule(weight.value))
    if not isinstance(rule, L1L2):
        return rule(ops.add(weight, 0.0))
    terms: Any = rule.l1 * ops.sum(ops.absolute(weight)) if rule.l1 else 0.0
    return terms + rule.l2 * ops.sum(ops.square(weight)) if rule.l2 else terms


_inside: list[Layer] = []
"""The layers of one's own whose `build` or `call` is running: their names come before
those of weights that are made there."""


def _path(layers: Sequence[Layer]) -> list[str]:
    """Names for the weights of the last of these layers, each a part of the one before:
    the name of the first, then of attributes, which are the same in each copy."""
    names = [layers[0].name]
    for outer, part in itertools.pairwise(layers):
        names.append(_attribute_of(part, outer) or part.name)
    return names


def _attribute_of(part: Layer, outer: Layer) -> str | None:
    if outer.parts_by_name:
        return None
    for name, value in outer.attributes:
        if isinstance(value, (Layer, list, tuple, Mapping)):
            for place, leaf in enumerate(leaves(value)):
                if leaf is part:
                    name = name.lstrip("_")
                    return name if value is part else f"{name}_{place}"
    return None


class _Place:
    """Stands for the array of that number."""

    def __init__(self, number: int) -> None:
        self.number = number


def _outer_build(build: Any) -> Any:
    """A subclass's `build` as its users call it: it checks, and calls the one written,
    unless the layer has its weights."""

    @functools.wraps(build)
    def outer(self: Layer, *args: Any, **kwargs: Any) -> None:
        if self._building:
            build(self, *args, **kwargs)
            return
        given = inspect.signature(build).bind(self, *args, **kwargs).arguments
        shapes = {k: v for k, v in list(given.items())[1:] if v is not None}
        if not shapes:  # the weights do not depend on any
            if not self.built:
                self._build_as_written(None)
                self.built_shape = ()
            return
        first = _sample_of(type(self), next(iter(shapes.values())))
        several = len(inspect.signature(build).parameters) > 2
        self._build(first, shapes if several else None)

    return outer


def _sample_of(cls: type, input_shape: Any) -> Any:
    """The shape of one sample, or those of several inputs, without the batch axis."""
    if isinstance(input_shape, Mapping):
        return {k: _sample_of(cls, shape) for k, shape in input_shape.items()}
    if input_shape and isinstance(input_shape[0], (tuple, list)):
        return [_sample_of(cls, shape) for shape in input_shape]
    return check_batch_shape(cls, input_shape)[1]


def replaced_shapes(samples: Any) -> Any:
    """Shapes of samples with the batch axis before them."""
    if isinstance(samples, Mapping):
        return {k: replaced_shapes(sample) for k, sample in samples.items()}
    if isinstance(samples, list):
        return [replaced_shapes(sample) for sample in samples]
    return (None, *samples)


def _tensors_of(samples: Any) -> Any:
    """Symbolic tensors of these shapes, in their structure."""
    if isinstance(samples, Mapping):
        return {name: _tensors_of(sample) for name, sample in samples.items()}
    if isinstance(samples, list):
        return [_tensors_of(sample) for sample in samples]
    return KerasTensor((None, *samples))


def _samples_in(value: Any) -> Any:
    """The shapes of the samples of tensors in their structure; None if it has none."""
    if isinstance(value, (Tensor, KerasTensor)):
        return value.sample
    if isinstance(value, Mapping):
        return {k: _samples_in(part) for k, part in value.items()}
    if isinstance(value, (list, tuple)) and value:
        parts = [_samples_in(part) for part in value]
        return None if None in parts else parts
    return None


def _holds_arrays(value: Any, layer: Layer) -> bool:
    """Whether a structure, given to a layer of one's own, is one of arrays."""
    parts = list(leaves(value))
    return (
        (layer._takes_any or isinstance(value, Mapping))
        and bool(parts)
        and all(isinstance(part, np.ndarray) and part.ndim for part in parts)
    )


def _as_constants(value: Any) -> Any:
    """Tensors of the formula that is being traced, in the place of arrays."""
    graph = Graph.current
    assert graph is not None

    def tensor(leaf: Any) -> Any:
        fits = isinstance(leaf, np.ndarray) and leaf.ndim
        return graph.as_tensor(leaf) if fits else leaf

    return replaced(value, tensor)


def _is_plain(value: Any) -> bool:
    """Whether JSON, or `_plain`, can hold an argument."""
    return value is None or isinstance(
        value,
        (
            bool,
            int,
            float,
            str,
            activations.Activation,
            initializers.Initializer,
            Regularizer,
        ),
    )


def takes(call: Any, name: str) -> bool:
    """Whether a function has an argument of that name."""
    parameters = inspect.signature(call).parameters
    return name in parameters or (
        name != "training" and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    )


def trials(samples: Any) -> Sequence[tuple[int, ...]]:
    """Sizes to try for unknown axes; a single one if all are known."""
    return TRIALS if None in leaves(samples) else TRIALS[:1]


def known(samples: Any, sizes: Sequence[int]) -> Any:
    """A shape, or several, with sizes in place of unknown ones."""
    if isinstance(samples, list):
        return [known(sample, sizes) for sample in samples]
    if isinstance(samples, Mapping):
        return {k: known(sample, sizes) for k, sample in samples.items()}
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
    for variable, flag in placements(layers, trainable):
        graph.place(variable, flag)


def placements(
    layers: Iterable[Any], trainable: bool
) -> Iterator[tuple[Variable, bool]]:
    """The variables of layers, models and their parts, and whether they are trained."""
    for layer in layers:
        inner = getattr(layer, "_network", None)
        if inner is not None:
            yield from placements(inner.layers, trainable and inner.trainable)
            continue
        flag = trainable and layer.trainable
        for variable in layer.own_variables:
            yield variable, flag
        yield from placements(layer.parts, flag)


def flags_of(layers: Iterable[Any]) -> list[bool]:
    """The `trainable` flags of layers, models and their parts."""
    flags: list[bool] = []
    for layer in layers:
        inner = getattr(layer, "_network", None)
        if inner is not None:
            flags += [inner.trainable, *flags_of(inner.layers)]
        else:
            flags += [layer.trainable, *flags_of(layer.parts)]
    return flags


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


def _are_shapes(shape: Any) -> bool:
    """Whether it is a list of shapes, or a dictionary of them."""
    return isinstance(shape, Mapping) or (
        isinstance(shape, (list, tuple))
        and bool(shape)
        and isinstance(shape[0], (list, tuple))
    )


def _tensors_for(cls: type, shapes: Any) -> Any:
    """A symbolic tensor for each of these shapes; None for None."""
    if shapes is None:
        return None
    if isinstance(shapes, Mapping):
        return {name: _tensors_for(cls, shape) for name, shape in shapes.items()}
    if _are_shapes(shapes):
        return [_tensors_for(cls, shape) for shape in shapes]
    return KerasTensor((None, *check_batch_shape(cls, shapes)[1]))


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
