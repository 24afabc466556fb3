"""The base class of all layers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Self

from kurve import activations, initializers, regularizers
from kurve.config import DTypePolicy, dtype_policy
from kurve.core.arguments import (
    check_batch_size,
    check_flag,
    check_name,
    refuse_arguments,
)
from kurve.core.dtypes import check_dtype
from kurve.core.entries import entries
from kurve.core.naming import auto_name
from kurve.core.overrides import is_own
from kurve.formulas.tensor import Node, leaves
from kurve.layers.arguments import UNSAID as UNSAID
from kurve.layers.arguments import LayerArguments as LayerArguments
from kurve.layers.arguments import NamedArguments as NamedArguments
from kurve.layers.arguments import UnusedArguments as UnusedArguments
from kurve.layers.arguments import check_batch_shape as check_batch_shape
from kurve.layers.arguments import check_shape as check_shape
from kurve.layers.arguments import check_size as check_size
from kurve.layers.arguments import constraint_of, penalty_of
from kurve.layers.arguments import takes as takes
from kurve.layers.building import checked_build
from kurve.layers.calling import LayerCalls
from kurve.layers.calling import refuse_layers as refuse_layers
from kurve.layers.placing import all_layers as all_layers
from kurve.layers.placing import assign_all as assign_all
from kurve.layers.placing import called as called
from kurve.layers.placing import flags_of as flags_of
from kurve.layers.placing import lower as lower
from kurve.layers.placing import place_all as place_all
from kurve.layers.placing import placements as placements
from kurve.layers.placing import streams_of as streams_of
from kurve.layers.shapes import known as known
from kurve.layers.shapes import replaced_shapes as replaced_shapes
from kurve.layers.shapes import same_shape as same_shape
from kurve.layers.shapes import trials as trials
from kurve.layers.variable import Variable as Variable
from kurve.plan import Shape
from kurve.regularizers import L1L2, Regularizer


@entries
class Layer(LayerCalls):
    """Base class of all layers: arguments, variables, shapes and operations.

    A custom layer has `call`, a formula written with functions of `kurve.ops` and other
    layers, which may be its attributes; and, if it has weights, `build`, which creates
    them with `add_weight`. `call` runs once for each model, on tensors without values.
    A `call` that needs values, assigns weights or moves the batch axis runs eagerly,
    for each batch, which is slower: see docs/explanation.md.

    Args:
        name: unique in a model; derived from the class if None.
        trainable: whether training changes the weights.
        input_shape: shape of one sample, for the first layer of a model.
        activity_regularizer: name or object of `kurve.regularizers`: a penalty on the
            output, averaged over the batch and added to the loss.
        input_dim: n for input_shape=(n,).
        batch_input_shape: input_shape with a leading batch axis: (None, 3).
        batch_size: None or the fixed batch size, which only stateful layers need (see
            `RNN`); other layers accept batches of any size.
        dtype: None or "float32", the dtype that engines compute in. Another
            floating-point type has no effect except a warning.
        autocast: True or False; has no effect.

    Raises:
        TypeError, ValueError: an unknown argument or invalid value.

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

    _has_name = True

    arguments: tuple[str, ...] = ()
    """Attributes saved by `get_config`, named as in `__init__`."""

    unused = tuple(UnusedArguments.__annotations__)
    """Keras arguments without effect here, see `kurve.core.arguments.UNUSED`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        _use_as_call(cls)
        super().__init_subclass__(**kwargs)
        build = vars(cls).get("build")
        if inspect.isfunction(build) and not hasattr(cls, "fit"):
            cls.build = checked_build(build)  # type: ignore[method-assign]

    _given: tuple[tuple[Any, ...], dict[str, Any]]
    """The arguments passed to the constructor."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self._given = (args, kwargs)
        return self

    dtype = compute_dtype = variable_dtype = "float32"
    """The dtype of computation and of weights."""

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
            setattr(self, argument, None if given is None else constraint_of(given))
        refuse_arguments(type(self), unknown)
        where = type(self).__name__
        check_dtype(where, dtype)
        self.autocast = check_flag(where, "autocast", autocast)
        check_batch_size(where, batch_size)
        shapes = {
            "input_shape": input_shape,
            "input_dim": input_dim,
            "batch_input_shape": batch_input_shape,
        }
        given = {key: value for key, value in shapes.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                f"[{where}] the shape of a sample must be passed only once. Received: "
                f"{', '.join(f'{k}={v!r}' for k, v in given.items())}. Try input_shape "
                "alone."
            )
        if batch_input_shape is not None:
            input_shape = check_batch_shape(type(self), batch_input_shape)[1]
        elif input_dim is not None:
            input_shape = check_shape(type(self), (input_dim,))
        self.name = auto_name(type(self)) if name is None else check_name(where, name)
        self.trainable = trainable
        self.activity_regularizer = penalty_of(where, activity_regularizer)
        rows = None if batch_input_shape is None else batch_input_shape[0]
        self.given_batch_size: int | None = batch_size if rows is None else rows
        self.given_input_shape = (
            None if input_shape is None else check_shape(type(self), input_shape)
        )
        self.built_shape: Shape | None = None
        self._variables: list[Variable] = []
        self._inbound_nodes: list[Node] = []
        # The Sequential that contains it, which calls it when input or output is
        # accessed.
        self._stack: Any = None

    @property
    def dtype_policy(self) -> DTypePolicy:
        """Always float32."""
        return dtype_policy()

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer, as JSON types."""
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
        """The constructor arguments of a class without `get_config`."""
        args, kwargs = self._given
        signature = inspect.signature(type(self).__init__)
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        own: dict[str, Any] = {}
        for name, value in list(given.arguments.items())[1:]:
            kind = signature.parameters[name].kind
            rest = kind is inspect.Parameter.VAR_POSITIONAL and not value
            if rest or kind is inspect.Parameter.VAR_KEYWORD or name in known:
                continue
            if any(not _is_plain(leaf) for leaf in leaves(value)):
                raise NotImplementedError(
                    f"[{type(self).__name__}] the layer needs a get_config, because an "
                    f"argument is neither a number nor a string. Received: "
                    f"{name}={value!r}. Try a get_config() of its arguments."
                )
            own[name] = _plain(value)
        return own

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Create the layer from `get_config`. Classes in it come from fixed tables."""
        arguments = dict(config)
        for name, value in config.items():
            if isinstance(value, Mapping) and "class_name" in value:
                if name.endswith("_constraint"):
                    continue  # the subclass's constructor takes it
                penalty = name.endswith("_regularizer")
                kind = regularizers if penalty else initializers
                arguments[name] = kind.deserialize(value)
        return cls(**arguments)

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


def _use_as_call(cls: Any) -> None:
    """Use the `__call__` of a class that only overrides `__call__` like a `call`:
    called as a layer, it is also traced, differentiated and trained."""
    own: Any = vars(cls).get("__call__")
    if not is_own(cls) or not inspect.isfunction(own):
        return
    calls_another = "__call__" in own.__code__.co_names
    if calls_another or is_own(cls.call) or getattr(cls, "kind", None):
        return  # it wraps the computation of another class
    cls.call = own
    del cls.__call__


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


def _plain(value: Any) -> Any:
    """An argument in the types of JSON."""
    if isinstance(value, activations.Activation):
        return activations.to_config(value)
    if isinstance(value, initializers.Initializer):
        return initializers.serialize(value)
    if isinstance(value, Regularizer):
        return regularizers.serialize(value)
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
