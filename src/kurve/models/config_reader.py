"""Models from configurations; `kurve.models.configs` describes and writes them.

Models are made without allocating their weights (`Layout.lay_out` does that), and
within limits, so that a file cannot demand excessive resources.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kurve import layers as layer_classes
from kurve.core import registry
from kurve.core.container.errors import ModelFileError
from kurve.core.overrides import is_own
from kurve.formulas.calls import recorded
from kurve.formulas.limits import limited
from kurve.formulas.public import FUNCTIONS
from kurve.formulas.tensor import FunctionCall, KerasTensor, leaves
from kurve.layers.base import Layer
from kurve.layers.core import InputLayer
from kurve.models.configs import TENSOR, TUPLE
from kurve.models.fields import Field
from kurve.models.model import Model
from kurve.models.sequential import Sequential
from kurve.training.structure import Structure

GRAPH_KEYS = ("name", "trainable", "layers", "input_layers", "output_layers")
"""The keys of a functional model's configuration."""

MAX_DEPTH = 32
"""Maximum nesting depth of models."""

MAX_OPERATIONS = 50_000
"""Maximum number of operations traced while reading a model: beyond any realistic
model, yet done within seconds."""

MAX_ELEMENTS = 1 << 20
"""Maximum number of array elements created in formulas while reading a model."""


def construct(model: Any, config: Mapping[str, Any]) -> Any:
    """Run the constructor of a user's class with the result of `get_config`; names that
    it does not accept are set as attributes afterwards.

    Raises:
        TypeError: it has other arguments, which `get_config` does not give.
    """
    cls = type(model)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    kinds = {parameter.kind for parameter in parameters}
    taken = {parameter.name for parameter in parameters}
    rest = {}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        rest = {k: config[k] for k in ("name", "trainable", "dtype") if k in config}
        rest = {name: value for name, value in rest.items() if name not in taken}
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.kind in _NAMED and parameter.default is parameter.empty
    ]
    missing = [name for name in needed if name not in config]
    if missing:
        raise TypeError(
            f"[{cls.__name__}] get_config must return the arguments of __init__. "
            f"Received: none for {', '.join(missing)}. Try a get_config() that returns "
            f"{{**super().get_config(), {missing[0]!r}: self.{missing[0]}}}."
        )
    given = {name: value for name, value in config.items() if name not in rest}
    model.__init__(**given)
    if "name" in rest:
        model.name = rest["name"]
    if rest.get("trainable") is False:
        model.trainable = False
    return model


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def own_model(entry: Field, traced: Any) -> Any:
    """The subclassed model, if its class is passed; otherwise the equivalent graph
    `traced`."""
    fields = entry.table("class_name", "config")
    cls, config = registry.known(fields["class_name"].text()), fields["config"].value
    cls = getattr(cls, "given", None) or cls
    if not isinstance(cls, type) or not issubclass(cls, Model):
        return traced

    def made(_: Any) -> Any:
        if config is None:
            model = construct(cls.__new__(cls), {})
        else:
            model = cls.from_config(config)
        model.name = traced.name
        model._build_like(traced._network.structure.inputs)
        if model.layers and traced._network.plan is not None:
            model.set_weights(traced.get_weights())
        model._network.trainable = traced._network.trainable
        return model

    return fields["config"].convert(made)


def model_from(
    config: Field | Mapping[str, Any], depth: int = 0, seed: int | None = None
) -> Model:
    """Create a model from a configuration, without allocating weights.

    Args:
        depth: nesting depth of the model.
        seed: key of its random streams; a new one if None.

    Raises:
        ModelFileError: not the configuration of a model: an unknown class or function,
            a tensor that no node produces, a cycle, mismatched shapes. For a
            configuration not from a file, the error of the layer, or a ValueError.
    """
    if not isinstance(config, Field):
        return _of_no_file(model_from, Field("", "config", config), depth, seed)
    if depth > MAX_DEPTH:
        raise config.error(f"models are nested deeper than {MAX_DEPTH}")
    with limited(MAX_OPERATIONS, MAX_ELEMENTS):
        if isinstance(config.value, Mapping) and "input_layers" in config.value:
            return _functional(config, depth, seed)
        return _stack(config, depth, seed)


def deserialize_operation(entry: Mapping[str, Any]) -> Any:
    """The layer or model from a `serialize_operation` result, for wrapper layers.

    Raises:
        ValueError: not such a result.
    """
    return _of_no_file(_operation, Field("", "layer", entry), 1, None)


def _of_no_file(read: Callable[..., Any], config: Field, *arguments: Any) -> Any:
    """Read a configuration that is not from a file: error messages do not mention
    one."""
    try:
        return read(config, *arguments)
    except ModelFileError as error:
        # For a wrong call, Python's own message: it does not name the argument.
        wrong = (ArithmeticError, AttributeError, AssertionError, RecursionError)
        cause = error.__cause__
        if cause is not None and not isinstance(cause, wrong):
            raise cause from None
        raise ValueError(
            "[from_config] config must be the configuration of a model. Received: "
            f"{error.field}: {error.reason}. Try model.get_config()."
        ) from None


def built(model: Model) -> Model:
    """Allocate and initialize the weights of a model, if the shape of its input is
    known."""
    network = model._network
    if network.layers and network.input_shape is not None and network.plan is None:
        network.lay_out()
    return model


def _stack(config: Field, depth: int, seed: int | None) -> Model:
    fields = config.table("name", "input_shape", "layers", optional=("trainable",))
    trainable = "trainable" not in fields or fields["trainable"].boolean()
    fields["name"].text()
    model: Sequential = fields["name"].convert(
        lambda name: Sequential._of(None, trainable, name, seed)
    )
    shape: Any = None
    if fields["input_shape"].value is not None:
        shape = sample_shape(fields["input_shape"])
    parsed = [_operation(entry, depth, seed) for entry in fields["layers"].items()]
    fields["layers"].convert(lambda _: model._set(shape, parsed))
    return model


def sample_shape(field: Field) -> tuple[int | None, ...]:
    """The shape of a sample; sizes can be unknown."""
    sizes = [
        None if size.value is None else size.integer(1, 2**48) for size in field.items()
    ]
    if len(sizes) > 8:
        raise field.error("it must have at most 8 axes")
    return tuple(sizes)


def _operation(entry: Field, depth: int, seed: int | None) -> Any:
    """The layer, model or function described by {"class_name", "config"}."""
    fields = entry.table("class_name", "config", optional=("own",))
    name, config = fields["class_name"].value, fields["config"]
    if isinstance(config.value, Layer):  # a custom class, from a Keras file
        return config.value
    if name in ("Functional", "Sequential"):
        model = model_from(config, depth + 1, seed)
        if (name == "Sequential") != (model._network.structure is None):
            raise fields["class_name"].error(
                "the configuration belongs to another class"
            )
        return own_model(fields["own"], model) if "own" in fields else model
    return entry.object(layer_classes.deserialize, layer_classes.serialize)


@dataclass
class _Call:
    """A call of an operation to be repeated."""

    operation: Any
    number: int
    args: Field
    kwargs: Field
    needs: set[tuple[str, int, int]] = field(default_factory=set)


def _functional(config: Field, depth: int, seed: int | None) -> Model:
    fields = config.table(
        "name", "layers", "input_layers", "output_layers", optional=("trainable",)
    )
    trainable = "trainable" not in fields or fields["trainable"].boolean()
    fields["name"].text()
    operations: dict[str, Any] = {}
    calls: list[_Call] = []
    made: dict[tuple[str, int, int], KerasTensor] = {}
    for entry in fields["layers"].items():
        parts = entry.table(
            "class_name", "config", "name", "inbound_nodes", optional=("own",)
        )
        name = parts["name"].text()
        operation = _named_operation(entry, parts, depth, seed)
        given = parts["config"].value
        named = isinstance(given, dict) and "name" in given
        if not named and is_own(type(operation)):
            operation.name = name  # its get_config has none
        if operation.name != name or name in operations:
            raise parts["name"].error("it is not the name of one layer")
        operations[name] = operation
        nodes = list(parts["inbound_nodes"].items())
        if isinstance(operation, InputLayer):
            made[name, 0, 0] = operation.output
        if bool(nodes) == isinstance(operation, InputLayer):
            raise parts["inbound_nodes"].error("only inputs must have none")
        for number, node in enumerate(nodes):
            call = node.table("args", "kwargs")
            if not isinstance(call["kwargs"].value, dict):
                raise call["kwargs"].error("it must be an object")
            list(call["args"].items())
            calls.append(_Call(operation, number, call["args"], call["kwargs"]))
    _make(calls, made, fields["layers"])

    def ends(field: Field) -> Any:
        """The tensors of "input_layers" or "output_layers", in the same structure."""
        if isinstance(field.value, dict):
            return {k: ends(field.inner(k, v)) for k, v in field.value.items()}
        parts = list(field.items())
        if len(parts) == 3 and isinstance(parts[0].value, str):
            return _tensor(field, made)
        found = [ends(part) for part in parts]
        return tuple(found) if isinstance(field.value, tuple) else found

    inputs, outputs = ends(fields["input_layers"]), ends(fields["output_layers"])
    return fields["name"].convert(
        lambda name: Model._of(Structure(inputs, outputs), trainable, name, seed)
    )


def _named_operation(
    entry: Field, parts: Mapping[str, Field], depth: int, seed: int | None
) -> Any:
    """The layer, model, function or input described by a graph entry."""
    name, config = parts["class_name"].value, parts["config"]
    if name == "Function":
        function = config.table("function")["function"]
        if function.text() not in FUNCTIONS:
            raise function.error(f"there is no function {function.value!r}")
        return parts["name"].convert(
            lambda name: FunctionCall(FUNCTIONS[function.value], name)
        )
    if name == "InputLayer":
        given = config.table("name", "shape", "dtype", optional=("batch_size",))
        given["name"].text()
        shape: Any = sample_shape(given["shape"])
        return config.convert(
            lambda c: InputLayer(
                shape, c.get("batch_size"), dtype=c["dtype"], name=c["name"]
            )
        )
    bare = {
        key: part.value
        for key, part in parts.items()
        if key in ("class_name", "config", "own")
    }
    return _operation(Field(entry.path, entry.name, bare), depth, seed)


def _make(
    calls: list[_Call], made: dict[tuple[str, int, int], KerasTensor], where: Field
) -> None:
    """Make each call once its inputs and earlier calls of the same operation exist: any
    calls left at the end form a cycle or lack an input."""
    waiting: dict[tuple[str, int, int], list[_Call]] = {}
    ready: deque[_Call] = deque()
    for call in calls:
        places = {*_places(call.args), *_places(call.kwargs)}
        if not places:
            raise call.args.error("they must include a tensor")
        call.needs = places - set(made)
        if call.number:
            call.needs.add((call.operation.name, call.number - 1, -1))
        for need in call.needs:
            waiting.setdefault(need, []).append(call)
        if not call.needs:
            ready.append(call)

    def there(place: tuple[str, int, int]) -> None:
        for call in waiting.pop(place, ()):
            call.needs.discard(place)
            if not call.needs:
                ready.append(call)

    finished = 0
    while ready:
        call = ready.popleft()
        name = call.operation.name
        args = [_read(part, made) for part in call.args.items()]
        kwargs = {
            key: _read(call.kwargs.inner(key, value), made)
            for key, value in call.kwargs.value.items()
        }
        out = call.args.convert(
            lambda _, call=call, args=args, kwargs=kwargs: _called(  # type: ignore[misc]
                call.operation, args, kwargs
            )
        )
        finished += 1
        for position, tensor in enumerate(leaves(out)):
            if isinstance(tensor, KerasTensor):
                made[name, call.number, position] = tensor
                there((name, call.number, position))
        there((name, call.number, -1))
    if finished < len(calls):
        stuck = next(call for call in calls if call.needs)
        raise stuck.args.error("a tensor is used before it is produced")


def _called(operation: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The symbolic result of a call. Models do not allocate their weights."""
    try:
        if hasattr(operation, "_network") or isinstance(operation, FunctionCall):
            return recorded(operation, args, kwargs)
        return operation(*args, **kwargs)
    except MemoryError as error:  # only constants of formulas are created
        raise ValueError("it needs more memory than there is") from error


def _history(field: Field) -> tuple[str, int, int]:
    """The reference to a tensor: layer name, node, tensor."""
    parts = list(field.items())
    if len(parts) != 3:
        raise field.error("it must be [name, node, tensor]")
    return parts[0].text(), parts[1].integer(), parts[2].integer()


def _tensor(field: Field, made: Mapping[Any, KerasTensor]) -> KerasTensor:
    place = _history(field)
    if place not in made:
        raise field.error("no node produces this tensor")
    return made[place]


def _parts(part: Field) -> Iterator[Field]:
    """The elements of a list or object."""
    if isinstance(part.value, list):
        yield from part.items()
    elif isinstance(part.value, dict):
        for key, value in part.value.items():
            yield part.inner(key, value)


def _kept(part: Field) -> Field:
    """The reference to a tensor in an argument."""
    config = part.table("class_name", "config")["config"]
    return config.table("shape", "dtype", "keras_history")["keras_history"]


def _places(part: Field) -> Iterator[tuple[str, int, int]]:
    """The references to all tensors in the arguments of a call."""
    if isinstance(part.value, dict) and part.value.get("class_name") == TENSOR:
        yield _history(_kept(part))
    else:
        for inner in _parts(part):
            yield from _places(inner)


def _read(part: Field, made: Mapping[Any, KerasTensor]) -> Any:
    """An argument of a call, with tensor references resolved."""
    value = part.value
    if isinstance(value, dict):
        name = value.get("class_name")
        if name == TENSOR:
            return _tensor(_kept(part), made)
        if name == TUPLE:
            items = part.table("class_name", "items")["items"]
            return tuple(_read(inner, made) for inner in items.items())
        if name in ("__slice__", "__ellipsis__", "__array__"):
            config = part.table("class_name", "config")["config"]
            return _constant(name, config)
        return {key: _read(part.inner(key, v), made) for key, v in value.items()}
    if isinstance(value, list):
        return [_read(inner, made) for inner in part.items()]
    if type(value) is int and abs(value) >= 2**53:
        raise part.error("it is too large")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise part.error("it must be a number, a string, a list or a tensor")


def _constant(name: str, config: Field) -> Any:
    """A slice, `...` or an array among the arguments of a call."""
    if name == "__ellipsis__":
        config.table()
        return Ellipsis
    if name == "__slice__":
        bounds = config.table("start", "stop", "step")
        return slice(
            *[
                None if bound.value is None else bound.integer(-(2**53))
                for bound in bounds.values()
            ]
        )
    import numpy as np

    value = config.table("value")["value"]
    return value.convert(lambda v: np.asarray(v, np.float32))
