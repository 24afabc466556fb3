"""Activations by name. The formulas are in `kurve.ops.activations`; those that engines
fuse into their products are in `kurve.engines.reference.activations`.

Each is an object to pass to a layer, `Dense(8, activation=activations.relu)`, or to
call on an array: `activations.relu(np.array([-1.0, 2.0]))`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import kurve.ops.activation_arguments as _arguments
from kurve.core import registry
from kurve.core.arrays import as_numbers
from kurve.core.entries import entry
from kurve.core.later import absent as _absent
from kurve.core.results import result as of_array
from kurve.errors import unknown_argument, unknown_name
from kurve.ops.activations import FORMULAS, tape_of
from kurve.plan import Attr, Op, Shape
from kurve.plan.kinds import ACTIVATIONS

NAMES = tuple(ACTIVATIONS)

FUSED = frozenset(
    {"linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "sigmoid"}
    | {"tanh", "softplus", "softsign", "sin", "snake"}
)
"""Activations that can be fused into other ops: no arguments, or only alpha."""


class Activation:
    """An activation function: a name and its arguments, compared by value.

    Args:
        name: such as "relu".
        alpha: the slope of leaky_relu, the scale of elu and celu, the frequency of
            snake; ignored by the others.
        arguments: arguments of the Keras function, by name: negative_slope, max_value
            and threshold of relu, approximate of gelu, threshold of the shrinking ones,
            threshold and default_value of threshold, b of squareplus, axis of softmax.

    Raises:
        ValueError: an unknown name; an alpha that is not finite or, for snake, not in
            [1e-30, 1e30]; any other invalid value.
        TypeError: an unknown argument.

    Example:
        >>> kurve.activations.Activation("leaky_relu", 0.1)([-1.0, 2.0])
        array([-0.1,  2. ], dtype=float32)
        >>> kurve.activations.Activation("relu", max_value=1.0)([-1.0, 2.0])
        array([0., 1.], dtype=float32)
    """

    name: str
    arguments: tuple[tuple[str, Any], ...]
    """Arguments that differ from the defaults, in the order of Keras's function."""

    def __init__(self, name: str, alpha: Any = None, **arguments: Any) -> None:
        if not isinstance(name, str) or name not in NAMES:
            raise unknown_name("activations", "activation", name, NAMES)
        known = _arguments.ARGUMENTS.get(name, {})
        if name == "leaky_relu" and "negative_slope" in arguments:
            alpha = arguments.pop("negative_slope")
        if alpha is not None:
            _arguments.check_number(name, "alpha", alpha)
            if "alpha" in known:  # ignored by the others
                arguments["alpha"] = alpha
        for key, value in arguments.items():
            if key not in known:
                raise unknown_argument(_arguments.call_of(known), key, name)
            _arguments.check(name, key, value)
        if name == "relu" and _arguments.is_leaky(arguments):
            name, arguments = "leaky_relu", {"alpha": arguments["negative_slope"]}
            known = _arguments.ARGUMENTS[name]
        object.__setattr__(self, "name", name)
        given = tuple(
            (key, _arguments.plain(arguments[key]))
            for key, default in known.items()
            if key in arguments and not _arguments.is_default(arguments[key], default)
        )
        object.__setattr__(self, "arguments", given)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"[{self.name}] activations are immutable. Received: {name}={value!r}. "
            f"Try Activation({self.name!r}, ...)."
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Activation):
            return NotImplemented
        return (self.name, self.arguments) == (other.name, other.arguments)

    def __hash__(self) -> int:
        return hash((self.name, self.arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        return get, (to_config(self),)

    def __repr__(self) -> str:
        shown = "".join(f", {key}={value!r}" for key, value in self.arguments)
        return f"Activation({self.name!r}{shown})"

    @property
    def __name__(self) -> str:
        """Name of the function, as in Keras."""
        return self.name

    @property
    def alpha(self) -> float:
        """The value or default of alpha; 0 if the activation has none."""
        defaults = _arguments.ARGUMENTS.get(self.name, {})
        return float(dict(self.arguments).get("alpha", defaults.get("alpha", 0.0)))

    def having(self, **arguments: Any) -> Activation:
        """A copy with other arguments."""
        return Activation(self.name, **{**dict(self.arguments), **arguments})

    @property
    def is_fused(self) -> bool:
        """Whether it can be fused into another op."""
        return self.name in FUSED and all(key == "alpha" for key, _ in self.arguments)

    def attrs(self) -> dict[str, Attr]:
        """Attributes of an op with this activation fused, if it can be."""
        if not self.is_fused:
            return linear.attrs()
        return {"activation": self.name, "alpha": self.alpha}

    def ops(self, layer: str, shape: Shape) -> list[Op]:
        """The op that computes it on its own for samples of that shape; none if it is
        fused into the previous op.

        Raises:
            ValueError: an axis other than the last, or a missing argument.
            NotImplementedError: an activation that engines do not support.
        """
        if self.is_fused:
            return []
        if self.name == "softmax":
            axis = dict(self.arguments).get("axis", -1)
            if axis not in (-1, len(shape)):
                raise ValueError(
                    f"[softmax] axis must be the last one of samples of shape {shape}. "
                    f"Received: axis={axis}. Try axis=-1."
                )
            return [Op("softmax", layer, shape, shape)]
        if self.name not in FORMULAS:
            raise NotImplementedError(
                f"[{self.name}] engines do not support this activation yet. "
                f"Received: {self.name!r} in the layer {layer!r}. "
                f"Try activations.{self.name}(x) on an array."
            )
        return [
            Op("map", layer, shape, shape, attrs=self._facts(), tape=self.checked())
        ]

    def _facts(self) -> dict[str, Attr]:
        """What diagnosis needs to know about a formula's op."""
        arguments = {k: v for k, v in self.arguments if v is not None}
        return {"activation": self.name, **arguments}

    def checked(self) -> Any:
        """The traced formula.

        Raises:
            ValueError: an argument is missing.
        """
        given = dict(self.arguments)
        known = FORMULAS[self.name].arguments
        missing = [k for k, v in known.items() if v is ... and k not in given]
        if missing:
            example = ", ".join(f"{key}=0.0" for key in known)
            raise ValueError(
                f"[{self.name}] the arguments {' and '.join(known)} must be given. "
                f"Received: no {missing[0]}. Try Activation({self.name!r}, {example})."
            )
        return tape_of(self.name, tuple(sorted({**known, **given}.items())))

    @entry
    def __call__(self, x: Any, *values: Any, **arguments: Any) -> Any:
        """Apply the activation to every element of x; softmax works along the last
        axis.

        Args:
            x: numbers, or a symbolic tensor as in custom layers.
            values, arguments: arguments of the Keras function, for this call.
        """
        if values or arguments:
            names = list(_arguments.ARGUMENTS.get(self.name, {}))
            if len(values) > len(names):
                raise TypeError(
                    f"[{self.name}] there are {len(names)} arguments besides x. "
                    f"Received: {len(values)}. Try {self.name}(x)."
                )
            given = {**dict(zip(names, values, strict=False)), **arguments}
            result: np.ndarray = self.having(**given)(x)
            return result
        if _is_followed(x):
            return self._formula(x)
        return of_array(self._values(x))

    def _values(self, x: Any) -> np.ndarray:
        """The activation of every element of an array."""
        z = as_numbers(self.name, "x", x)
        if not np.issubdtype(z.dtype, np.floating):
            z = z.astype(np.float32)
        if self.name in _arguments.ALONG_AN_AXIS:
            return _along(self.name, z, dict(self.arguments).get("axis", -1))
        if self.is_fused:
            from kurve.engines.reference.activations import ACTIVATIONS as KERNELS

            return KERNELS[self.name][0](z, self.alpha)
        from kurve.ops.elementwise import RULES
        from kurve.ops.tape import run

        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            return np.asarray(run(self.checked(), RULES, [z])[0])

    def _formula(self, x: Any) -> Any:
        """Apply it to symbolic tensors and to values that gradient tapes watch."""
        from kurve.formulas.public import FUNCTIONS
        from kurve.layers.core import Activation as ActivationLayer

        arguments = {**_arguments.ARGUMENTS.get(self.name, {}), **dict(self.arguments)}
        if self.name == "linear":
            return x
        if self.name == "leaky_relu":
            arguments = {"negative_slope": self.alpha}
        name = "exp" if self.name == "exponential" else self.name
        if name == "relu":
            arguments = {}
        if name in FUNCTIONS and (name != "relu" or not self.arguments):
            return FUNCTIONS[name](x, **arguments)
        return ActivationLayer(self)(x + 0.0)  # reads the value of a variable


class FunctionActivation(Activation):
    """A user's function, which a layer traces as a formula on its output.

    Args:
        function: x -> y of the same shape, written with `kurve.ops` or NumPy functions.
    """

    function: Callable[[Any], Any]

    def __init__(self, function: Callable[[Any], Any]) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "arguments", ())
        object.__setattr__(self, "function", function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionActivation) and (
            self.function is other.function
        )

    def __hash__(self) -> int:
        return hash(self.function)

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionActivation, (self.function,)

    def __repr__(self) -> str:
        return repr(self.function)

    @property
    def is_fused(self) -> bool:
        """Never: it follows the layer's own operations."""
        return False

    def ops(self, layer: str, shape: Shape) -> list[Op]:
        """None: `Layer.run` calls the function."""
        return []

    def __call__(self, x: Any, *values: Any, **arguments: Any) -> Any:
        """Apply the function to x."""
        return self.function(x, *values, **arguments)


def _is_followed(x: Any) -> bool:
    """Whether x is symbolic or a gradient tape is recording."""
    from kurve.formulas.operators import Symbolic
    from kurve.formulas.recording import active

    return isinstance(x, Symbolic) or bool(active.tapes)


def _along(name: str, z: np.ndarray, axis: Any) -> np.ndarray:
    """Apply an activation that is not elementwise along one or more axes of z."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    distinct = {a % max(z.ndim, 1) for a in axes}
    if len(distinct) < len(axes) or not all(-z.ndim <= a < z.ndim for a in axes):
        raise ValueError(
            f"[{name}] axis must be one of x, once. Received: axis={axis} for "
            f"x.shape={z.shape}. Try axis=-1."
        )
    if name == "glu":  # Dauphin et al. 2017
        if z.shape[axis] % 2:
            raise ValueError(
                "[glu] the axis must have an even length to be halved. Received: "
                f"length {z.shape[axis]}. Try an even number of units."
            )
        half, gate = np.split(z, 2, axis)
        return np.asarray(half * sigmoid(gate))
    shifted = z - z.max(axis=axis, keepdims=True)
    if name == "sparsemax":
        return _sparsemax(shifted, axis)
    e = np.exp(shifted)
    total = e.sum(axis=axis, keepdims=True)
    if name == "log_softmax":
        return np.asarray(shifted - np.log(total))
    return np.asarray(e / total)


def _sparsemax(z: np.ndarray, axis: int) -> np.ndarray:
    """The point of the probability simplex nearest to z. Source: Martins &
    Astudillo 2016, algorithm 1."""
    z = np.moveaxis(z, axis, -1)
    ordered = -np.sort(-z, axis=-1)
    number = np.arange(1, z.shape[-1] + 1)
    sums = np.cumsum(ordered, axis=-1)
    count = (1 + number * ordered > sums).sum(axis=-1, keepdims=True)
    level = (np.take_along_axis(sums, count - 1, axis=-1) - 1) / count
    return np.moveaxis(np.maximum(z - level, 0).astype(z.dtype), -1, axis)


linear = Activation("linear")
relu = Activation("relu")
leaky_relu = Activation("leaky_relu")
elu = Activation("elu")
selu = Activation("selu")
gelu = Activation("gelu")
silu = swish = Activation("silu")
sigmoid = Activation("sigmoid")
tanh = Activation("tanh")
softplus = Activation("softplus")
softsign = Activation("softsign")
softmax = Activation("softmax")
sin = Activation("sin")
snake = Activation("snake")
exponential = Activation("exponential")
mish = Activation("mish")
relu6 = Activation("relu6")
hard_sigmoid = Activation("hard_sigmoid")
hard_silu = hard_swish = Activation("hard_silu")
hard_tanh = Activation("hard_tanh")
hard_shrink = Activation("hard_shrink")
soft_shrink = Activation("soft_shrink")
tanh_shrink = Activation("tanh_shrink")
threshold = Activation("threshold")
celu = Activation("celu")
log_sigmoid = Activation("log_sigmoid")
sparse_plus = Activation("sparse_plus")
sparse_sigmoid = Activation("sparse_sigmoid")
squareplus = Activation("squareplus")
log_softmax = Activation("log_softmax")
glu = Activation("glu")
sparsemax = Activation("sparsemax")

_TABLE: dict[str, Activation] = {
    name: globals().setdefault(name, Activation(name)) for name in NAMES
}
_TABLE |= {"swish": silu, "hard_swish": hard_silu}


class Chosen:
    """A layer attribute that passes assigned values through `get`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = f"_{name}"

    def __get__(self, layer: Any, owner: type) -> Any:
        return self if layer is None else getattr(layer, self._key)

    def __set__(self, layer: Any, value: Any) -> None:
        setattr(layer, self._key, get(value))


@entry
def get(identifier: Any) -> Activation:
    """The activation for a name, a `to_config`, an activation layer such as
    `layers.ReLU(max_value=6.0)` or a custom function; None is linear.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor a function.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, Activation):
        return identifier
    if isinstance(identifier, str):
        if identifier in _TABLE:
            return _TABLE[identifier]
        own = registry.known(identifier)
        if own is not None:
            return get(own)
        if identifier.startswith(registry.CUSTOM_PREFIX):
            name = identifier.removeprefix(registry.CUSTOM_PREFIX)
            raise ValueError(
                f"[activations] the activation {name!r} is a custom function, so it "
                "must be passed in custom_objects. Received: no such function. "
                f"Try custom_objects={{{name!r}: {name}}}."
            )
        raise unknown_name("activations", "activation", identifier, _TABLE)
    if isinstance(identifier, Mapping) and "class_name" in identifier:
        from kurve.core.registration import deserialize_keras_object

        return get(deserialize_keras_object(identifier))
    if isinstance(identifier, Mapping) and len(identifier) > 1 and "name" in identifier:
        arguments = {k: v for k, v in identifier.items() if k != "name"}
        return get(identifier["name"]).having(**arguments)
    if getattr(identifier, "is_activation", False):  # a layer
        chosen: Activation = identifier.activation
        return chosen
    is_layer = hasattr(identifier, "add_weight")  # its weights would not be trained
    if callable(identifier) and not isinstance(identifier, type) and not is_layer:
        return FunctionActivation(identifier)
    raise TypeError(
        "[activations] an activation must be a name, an object of kurve.activations "
        f"or a function of one tensor. Received: {identifier!r}. "
        "Try activation='relu'."
    )


def to_config(activation: Activation) -> str | dict[str, Any]:
    """The configuration from which `get` makes an equal activation: its name and
    non-default arguments. A custom function is stored by its name in
    `custom_objects`."""
    if isinstance(activation, FunctionActivation):
        return registry.note(activation.name, activation.function)
    if not activation.arguments:
        return activation.name
    return {"name": activation.name, **dict(activation.arguments)}


serialize = to_config
deserialize = get

__getattr__ = _absent(__name__)
